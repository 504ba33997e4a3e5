/* SPDX-License-Identifier: BSD-3-Clause */
/* lib/datagram: the wire format, what is dropped and under which name, limits, life and end of a
 * transfer. */
#include "test_datagram.h"
#include "datagram/header.h"
#include "datagram/window.h"
#include "datagram_net.h"
#include "unit.h"

#include <assert.h>
#include <stdlib.h>

#define EPOCH 5u

/* Two nodes, and a hand that can write datagrams of node a to node b. */
struct pair {
    struct net net;
    struct net_node *a, *b;
    struct crypto_mac *mac; // a to b
    uint64_t counter;
    uint64_t epoch;
};

static struct datagram_config config(void) {
    struct datagram_config cfg;
    datagram_config_default(&cfg);
    cfg.epoch = EPOCH;
    return cfg;
}

static struct crypto_mac *directed(struct datagram_address from, struct datagram_address to) {
    uint8_t pair[CRYPTO_KEY_BYTES], key[CRYPTO_KEY_BYTES];
    const uint8_t context[8] = {
        (uint8_t)(from.principal >> 8), (uint8_t)from.principal,      (uint8_t)(from.endpoint >> 8),
        (uint8_t)from.endpoint,         (uint8_t)(to.principal >> 8), (uint8_t)to.principal,
        (uint8_t)(to.endpoint >> 8),    (uint8_t)to.endpoint,
    };
    net_key(from.principal, to.principal, pair);
    crypto_kdf(pair, "datagram", context, sizeof context, key);
    return crypto_mac_new(key);
}

static void pair_init_with(struct pair *p, const struct datagram_config *cfg) {
    net_init(&p->net, 1);
    p->a = net_add(&p->net, cfg);
    p->b = net_add(&p->net, cfg);
    p->mac = directed(p->a->address, p->b->address);
    assert(p->mac != NULL);
    p->counter = 1000;
    p->epoch = cfg->epoch;
}

static void pair_init(struct pair *p) {
    struct datagram_config cfg = config();
    pair_init_with(p, &cfg);
}

static void pair_free(struct pair *p) {
    CU_ASSERT_EQUAL(net_bytes_held(&p->net), 0);
    crypto_mac_free(p->mac);
    net_free(&p->net);
}

/* A datagram of a to b with any type and body, correctly authenticated. */
static size_t forge(struct pair *p, uint8_t out[DATAGRAM_MAX_BYTES], uint8_t type, const void *body,
                    size_t len) {
    struct datagram_header h = {type, p->a->address, p->b->address, p->epoch, ++p->counter};
    if (len > 0)
        memcpy(out + HEADER_BYTES, body, len);
    return header_seal(p->mac, &h, out, len);
}

static void forge_input(struct pair *p, uint8_t type, const void *body, size_t len) {
    uint8_t out[DATAGRAM_MAX_BYTES];
    size_t n = forge(p, out, type, body, len);
    datagram_input(p->b->d, out, n, p->net.now_us);
}

static void forge_fragment(struct pair *p, uint64_t id, uint32_t message_len, uint32_t index,
                           size_t data_len) {
    uint8_t body[BODY_MAX_BYTES] = {0};
    struct wire_writer w;
    wire_writer_init(&w, body, sizeof body);
    wire_put_u64(&w, id);
    wire_put_u32(&w, message_len);
    wire_put_u32(&w, index);
    assert(data_len + w.len <= sizeof body);
    forge_input(p, DATAGRAM_TYPE_FRAGMENT, body, w.len + data_len);
}

static void forge_grant(struct pair *p, uint64_t id, uint32_t granted, uint32_t base,
                        const void *bitmap, size_t bitmap_len) {
    uint8_t body[BODY_MAX_BYTES] = {0};
    struct wire_writer w;
    wire_writer_init(&w, body, sizeof body);
    wire_put_u64(&w, id);
    wire_put_u32(&w, granted);
    wire_put_u32(&w, base);
    wire_put_bytes(&w, bitmap, bitmap_len);
    assert(!w.failed);
    forge_input(p, DATAGRAM_TYPE_GRANT, body, w.len);
}

/* What a node sent to b, read by type; everything on the way is taken off. */
static uint32_t take_types(struct pair *p, uint32_t by_type[8]) {
    struct net_packet packet;
    uint32_t total = 0;
    memset(by_type, 0, 8 * sizeof *by_type);
    while (net_take(&p->net, &packet)) {
        CU_ASSERT_TRUE(packet.data[3] < 8);
        by_type[packet.data[3] & 7]++;
        total++;
        free(packet.data);
    }
    return total;
}

/* One datagram of a to b, off the network. */
static struct net_packet captured(struct pair *p, const uint8_t *message, size_t len) {
    struct net_packet packet = {0};
    CU_ASSERT_TRUE(datagram_send(p->a->d, p->b->address, message, len, p->net.now_us));
    CU_ASSERT_TRUE_FATAL(net_take(&p->net, &packet));
    return packet;
}

/* Asserts that an input moved exactly counter c, and delivered and answered nothing. */
static void expect_drop(struct pair *p, struct net_node *node, const uint8_t *data, size_t len,
                        enum datagram_counter c) {
    uint64_t before[DATAGRAM_COUNTER_COUNT], after[DATAGRAM_COUNTER_COUNT];
    uint64_t delivered = node->delivered, emitted = p->net.emitted;
    datagram_counters(node->d, before);
    datagram_input(node->d, data, len, p->net.now_us);
    datagram_counters(node->d, after);
    for (uint32_t i = 0; i < DATAGRAM_COUNTER_COUNT; i++) {
        bool moves = i == (uint32_t)c || i == DATAGRAM_RECEIVED;
        CU_ASSERT_EQUAL(after[i] - before[i], moves ? 1 : 0);
    }
    CU_ASSERT_EQUAL(node->delivered, delivered);
    CU_ASSERT_EQUAL(p->net.emitted, emitted);
    CU_ASSERT_EQUAL(datagram_bytes_held(node->d), 0);
}

static void test_wire_format(void) {
    struct pair p;
    uint8_t mac[CRYPTO_MAC_BYTES];
    static const uint8_t head[] = {
        0x50, 0x52, 0x41, 0x01,               // magic, version, type
        0,    0,    0,    7,    0, 1, 0,   7, // from, to
        0,    0,    0,    0,    0, 0, 0,   EPOCH, 0,   0,
        0,    0,    0,    0,    0, 1, 'p', 'r',   'o', 'p', // epoch, counter
    };
    pair_init(&p);
    struct net_packet packet = captured(&p, (const uint8_t *)"prop", 4);
    CU_ASSERT_EQUAL_FATAL(packet.len, sizeof head + CRYPTO_MAC_BYTES);
    // The magic 0x50524 and the version 1 meet in the third octet.
    CU_ASSERT_EQUAL(memcmp(packet.data, head, sizeof head), 0);
    crypto_mac_begin(p.mac);
    crypto_mac_update(p.mac, packet.data, sizeof head);
    crypto_mac_final(p.mac, mac);
    CU_ASSERT_EQUAL(memcmp(packet.data + sizeof head, mac, sizeof mac), 0);
    free(packet.data);
    pair_free(&p);
}

static void test_fragment_format(void) {
    struct pair p;
    uint8_t message[DATAGRAM_SINGLE_MAX_BYTES + 1];
    static const uint8_t body[] = {0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0x05, 0x95, 0, 0, 0, 1};
    struct net_packet packet;
    pair_init(&p);
    net_fill(message, sizeof message, 1);
    packet = captured(&p, message, sizeof message);
    CU_ASSERT_EQUAL(packet.len, DATAGRAM_MAX_BYTES);
    CU_ASSERT_EQUAL(memcmp(packet.data + HEADER_BYTES + 16, message, DATAGRAM_PAYLOAD_MAX), 0);
    free(packet.data);
    CU_ASSERT_TRUE_FATAL(net_take(&p.net, &packet));
    CU_ASSERT_EQUAL(packet.len, 44 + 16 + sizeof message - DATAGRAM_PAYLOAD_MAX);
    CU_ASSERT_EQUAL(memcmp(packet.data + HEADER_BYTES, body, sizeof body), 0);
    free(packet.data);
    net_run(&p.net, UINT64_MAX); // nudges fetch the rest
    CU_ASSERT_EQUAL(p.b->delivered, 1);
    CU_ASSERT_EQUAL(p.b->wrong, 0);
    pair_free(&p);
}

static void test_single_sizes(void) {
    struct pair p;
    uint8_t message[DATAGRAM_SINGLE_MAX_BYTES];
    const size_t sizes[] = {0, 1, 3, 4, 1000, DATAGRAM_SINGLE_MAX_BYTES};
    pair_init(&p);
    for (uint32_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        net_fill(message, sizes[i], i);
        struct net_packet packet = captured(&p, message, sizes[i]);
        CU_ASSERT_EQUAL(packet.len, sizes[i] + DATAGRAM_OVERHEAD_BYTES);
        CU_ASSERT_EQUAL(net_bytes_held(&p.net), 0);
        datagram_input(p.b->d, packet.data, packet.len, p.net.now_us);
        CU_ASSERT_EQUAL(p.b->delivered, i + 1);
        CU_ASSERT_EQUAL(p.b->last_len, sizes[i]);
        CU_ASSERT_PTR_EQUAL(p.b->last, packet.data + HEADER_BYTES); // not a copy
        CU_ASSERT_EQUAL(memcmp(p.b->copy, message, sizes[i]), 0);
        CU_ASSERT_EQUAL(p.b->last_from.principal, p.a->address.principal);
        CU_ASSERT_EQUAL(p.b->last_from.endpoint, p.a->address.endpoint);
        CU_ASSERT_EQUAL(net_bytes_held(&p.net), 0);
        CU_ASSERT_FALSE(net_take(&p.net, &packet));
        free(packet.data);
    }
    CU_ASSERT_EQUAL(datagram_next_deadline(p.a->d), UINT64_MAX);
    CU_ASSERT_EQUAL(datagram_next_deadline(p.b->d), UINT64_MAX);
    pair_free(&p);
}

static void every_truncation(struct pair *p, const struct net_packet *packet) {
    for (size_t len = 0; len < packet->len; len++) {
        // A copy of exact size, so that a read beyond it is seen.
        uint8_t *cut = malloc(len + (len == 0));
        assert(cut != NULL);
        memcpy(cut, packet->data, len);
        expect_drop(p, p->b, cut, len,
                    len < DATAGRAM_OVERHEAD_BYTES ? DATAGRAM_DROP_SHORT : DATAGRAM_DROP_MAC);
        free(cut);
    }
}

/* Which drop a changed bit leads to, by its field. */
static enum datagram_counter drop_of_byte(size_t i) {
    if (i < 3)
        return DATAGRAM_DROP_MAGIC;
    if (i >= 4 && i < 8)
        return DATAGRAM_DROP_PEER;
    if (i >= 8 && i < 12)
        return DATAGRAM_DROP_DESTINATION;
    return DATAGRAM_DROP_MAC;
}

static void every_bit(struct pair *p, const struct net_packet *packet) {
    for (size_t bit = 0; bit < packet->len * 8; bit++) {
        packet->data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        expect_drop(p, p->b, packet->data, packet->len, drop_of_byte(bit / 8));
        packet->data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
    }
}

static void test_truncations_and_flips(void) {
    struct pair p;
    uint8_t message[DATAGRAM_SINGLE_MAX_BYTES + 500], longer[DATAGRAM_MAX_BYTES + 1];
    pair_init(&p);
    net_fill(message, sizeof message, 4);
    struct net_packet whole = captured(&p, message, 200);
    every_truncation(&p, &whole);
    every_bit(&p, &whole);
    // One octet more, and more than any datagram.
    memset(longer, 0, sizeof longer);
    memcpy(longer, whole.data, whole.len);
    expect_drop(&p, p.b, longer, whole.len + 1, DATAGRAM_DROP_MAC);
    expect_drop(&p, p.b, longer, sizeof longer, DATAGRAM_DROP_MALFORMED);
    // It was intact all the time.
    datagram_input(p.b->d, whole.data, whole.len, p.net.now_us);
    CU_ASSERT_EQUAL(p.b->delivered, 1);
    free(whole.data);
    struct net_packet fragment = captured(&p, message, sizeof message);
    every_truncation(&p, &fragment);
    every_bit(&p, &fragment);
    datagram_input(p.b->d, fragment.data, fragment.len, p.net.now_us);
    CU_ASSERT_TRUE(datagram_bytes_held(p.b->d) > sizeof message);
    free(fragment.data);
    net_run(&p.net, UINT64_MAX);
    CU_ASSERT_EQUAL(p.b->delivered, 2);
    pair_free(&p);
}

static void test_replay(void) {
    struct pair p;
    struct net_packet packets[5];
    uint8_t message[8] = "message";
    static const int order[] = {2, 0, 4, 1, 3};
    pair_init(&p);
    for (uint32_t i = 0; i < 5; i++)
        packets[i] = captured(&p, message, sizeof message);
    for (uint32_t i = 0; i < 5; i++) {
        struct net_packet *q = &packets[order[i]];
        datagram_input(p.b->d, q->data, q->len, p.net.now_us);
        CU_ASSERT_EQUAL(p.b->delivered, i + 1);
        for (uint32_t k = 0; k <= i; k++)
            expect_drop(&p, p.b, packets[order[k]].data, packets[order[k]].len,
                        DATAGRAM_DROP_REPLAY);
    }
    for (uint32_t i = 0; i < 5; i++)
        free(packets[i].data);
    pair_free(&p);
}

static void test_replay_window(void) {
    struct replay_window w;
    replay_reset(&w);
    CU_ASSERT_FALSE(replay_accept(&w, 0));
    CU_ASSERT_TRUE(replay_accept(&w, 1));
    CU_ASSERT_FALSE(replay_accept(&w, 1));
    CU_ASSERT_TRUE(replay_accept(&w, 20000));
    CU_ASSERT_TRUE(replay_accept(&w, 20000 - REPLAY_WINDOW_BITS + 1));
    CU_ASSERT_FALSE(replay_accept(&w, 20000 - REPLAY_WINDOW_BITS));
    CU_ASSERT_FALSE(replay_accept(&w, 2));
    CU_ASSERT_TRUE(replay_accept(&w, UINT64_MAX));
    CU_ASSERT_FALSE(replay_accept(&w, UINT64_MAX));
    CU_ASSERT_FALSE(replay_accept(&w, 20001));
    CU_ASSERT_TRUE(replay_accept(&w, UINT64_MAX - 4096));
}

/* Against a plain set: any order within the window, each counter once. */
static void test_replay_window_random(void) {
    enum { SPAN = 60000 };
    static bool seen[SPAN];
    struct replay_window w;
    struct net n;
    uint64_t newest = 0;
    uint32_t accepted = 0;
    memset(seen, 0, sizeof seen);
    net_init(&n, 99);
    replay_reset(&w);
    for (uint64_t i = 1; i + 200 < SPAN; i++) {
        uint64_t c = i + net_random(&n, 200);
        if (net_random(&n, 4) == 0)
            c = i > 9000 ? i - net_random(&n, 9000) : i;
        bool expected = !seen[c] && (c > newest || newest - c < REPLAY_WINDOW_BITS);
        CU_ASSERT_EQUAL(replay_accept(&w, c), expected);
        accepted += expected;
        seen[c] = seen[c] || expected;
        newest = c > newest ? c : newest;
    }
    CU_ASSERT_TRUE(accepted > SPAN / 4);
}

static void test_wrong_addresses(void) {
    struct pair p;
    struct net other;
    struct datagram_config cfg = config();
    pair_init(&p);
    struct net_packet packet = captured(&p, (const uint8_t *)"hello", 5);
    // Reflected to its sender, as it is and with the addresses exchanged.
    expect_drop(&p, p.a, packet.data, packet.len, DATAGRAM_DROP_DESTINATION);
    uint8_t swapped[100];
    memcpy(swapped, packet.data, packet.len);
    memcpy(swapped + 4, packet.data + 8, 4);
    memcpy(swapped + 8, packet.data + 4, 4);
    expect_drop(&p, p.a, swapped, packet.len, DATAGRAM_DROP_MAC);
    // To another endpoint, whatever it says.
    struct net_node *c = net_add(&p.net, &cfg);
    expect_drop(&p, c, packet.data, packet.len, DATAGRAM_DROP_DESTINATION);
    memcpy(swapped, packet.data, packet.len);
    swapped[9] = 2;
    expect_drop(&p, c, swapped, packet.len, DATAGRAM_DROP_MAC);
    // From another peer than it says, and to somebody who knows no peers.
    memcpy(swapped, packet.data, packet.len);
    swapped[5] = 2;
    expect_drop(&p, p.b, swapped, packet.len, DATAGRAM_DROP_MAC);
    net_init(&other, 1);
    struct net_node *lonely = net_add(&other, &cfg);
    swapped[9] = 0;
    expect_drop(&p, lonely, swapped, packet.len, DATAGRAM_DROP_PEER);
    net_free(&other);
    free(packet.data);
    pair_free(&p);
}

static void test_epochs(void) {
    struct pair p;
    uint8_t old[DATAGRAM_MAX_BYTES];
    pair_init(&p);
    size_t len = forge(&p, old, DATAGRAM_TYPE_MESSAGE, "old", 3);
    forge_fragment(&p, 1, 5000, 0, DATAGRAM_PAYLOAD_MAX);
    CU_ASSERT_TRUE(datagram_bytes_held(p.b->d) > 5000);
    // A new life starts its counters again, and what its former one began is over.
    p.epoch++;
    p.counter = 0;
    forge_input(&p, DATAGRAM_TYPE_MESSAGE, "new", 3);
    CU_ASSERT_EQUAL(p.b->delivered, 1);
    CU_ASSERT_EQUAL(net_counter(p.b, DATAGRAM_DROP_REASSEMBLY_EPOCH), 1);
    CU_ASSERT_EQUAL(datagram_bytes_held(p.b->d), 0);
    expect_drop(&p, p.b, old, len, DATAGRAM_DROP_EPOCH);
    // A larger epoch that is not authentic changes nothing.
    memcpy(old + 12, "\xff\xff", 2);
    expect_drop(&p, p.b, old, len, DATAGRAM_DROP_MAC);
    forge_input(&p, DATAGRAM_TYPE_MESSAGE, "new", 3);
    CU_ASSERT_EQUAL(p.b->delivered, 2);
    pair_free(&p);
}

static void expect_malformed(struct pair *p, uint8_t type, const void *body, size_t len) {
    uint8_t out[DATAGRAM_MAX_BYTES];
    size_t n = forge(p, out, type, body, len);
    expect_drop(p, p->b, out, n, DATAGRAM_DROP_MALFORMED);
}

static void expect_bad_fragment(struct pair *p, uint64_t id, uint32_t message_len, uint32_t index,
                                size_t data_len) {
    uint64_t before = net_counter(p->b, DATAGRAM_DROP_MALFORMED), emitted = p->net.emitted;
    forge_fragment(p, id, message_len, index, data_len);
    CU_ASSERT_EQUAL(net_counter(p->b, DATAGRAM_DROP_MALFORMED), before + 1);
    CU_ASSERT_EQUAL(p->net.emitted, emitted);
}

/* An authentic peer that does not keep to the format. */
static void test_malformed(void) {
    struct pair p;
    uint8_t body[BODY_MAX_BYTES] = {0};
    const uint32_t full = DATAGRAM_PAYLOAD_MAX;
    pair_init(&p);
    expect_malformed(&p, 0, body, 8);
    for (uint32_t type = 6; type < 256; type++)
        expect_malformed(&p, (uint8_t)type, body, 8);
    for (size_t len = 0; len < FRAGMENT_HEADER_BYTES; len++) {
        expect_malformed(&p, DATAGRAM_TYPE_FRAGMENT, body, len);
        expect_malformed(&p, DATAGRAM_TYPE_GRANT, body, len);
        if (len != 8) {
            expect_malformed(&p, DATAGRAM_TYPE_FINISHED, body, len);
            expect_malformed(&p, DATAGRAM_TYPE_REFUSED, body, len);
        }
    }
    expect_malformed(&p, DATAGRAM_TYPE_GRANT, body,
                     GRANT_HEADER_BYTES + GRANT_BITMAP_MAX_BYTES + 1);
    expect_bad_fragment(&p, 0, 5000, 0, full);
    expect_bad_fragment(&p, 1, 0, 0, 0);
    expect_bad_fragment(&p, 1, DATAGRAM_SINGLE_MAX_BYTES, 0, full);
    expect_bad_fragment(&p, 1, UINT32_MAX, 0, full);
    expect_bad_fragment(&p, 1, DATAGRAM_MESSAGE_LIMIT_BYTES + 1, 0, full);
    expect_bad_fragment(&p, 1, 5000, 0, full - 1);
    expect_bad_fragment(&p, 1, 5000, 3, 5000 - 3 * full + 1);
    expect_bad_fragment(&p, 1, 5000, 3, 5000 - 3 * full - 1);
    expect_bad_fragment(&p, 1, 5000, 4, full);
    expect_bad_fragment(&p, 1, 5000, UINT32_MAX, full);
    CU_ASSERT_EQUAL(datagram_bytes_held(p.b->d), 0);
    forge_fragment(&p, 1, 5000, 1, full);
    CU_ASSERT_TRUE(datagram_bytes_held(p.b->d) > 5000);
    expect_bad_fragment(&p, 1, 5001, 0, full); // another length than the others said
    for (uint32_t i = 0; i < 4; i++)
        forge_fragment(&p, 1, 5000, i, i < 3 ? full : 5000 - 3 * full);
    CU_ASSERT_EQUAL(net_counter(p.b, DATAGRAM_DROP_DUPLICATE), 1);
    CU_ASSERT_EQUAL(p.b->delivered, 1);
    CU_ASSERT_EQUAL(p.b->last_len, 5000);
    pair_free(&p);
}

static void test_peers(void) {
    struct datagram_config cfg = config();
    struct datagram_env env = {0};
    uint8_t key[CRYPTO_KEY_BYTES] = {1};
    cfg.self = (struct datagram_address){9, 9};
    struct datagram *d = datagram_new(&cfg, &env);
    CU_ASSERT_PTR_NOT_NULL_FATAL(d);
    CU_ASSERT_FALSE(datagram_add_peer(d, cfg.self, key));
    for (uint16_t i = 0; i < DATAGRAM_PEERS_MAX; i++) {
        struct datagram_address a = {(uint16_t)(i / 16), (uint16_t)(i % 16 + 100)};
        CU_ASSERT_TRUE(datagram_add_peer(d, a, key));
        CU_ASSERT_FALSE(datagram_add_peer(d, a, key));
    }
    CU_ASSERT_FALSE(datagram_add_peer(d, (struct datagram_address){77, 0}, key));
    CU_ASSERT_FALSE(datagram_send(d, (struct datagram_address){77, 0}, key, 1, 0));
    datagram_free(d);
    cfg.window_fragments = 0;
    CU_ASSERT_PTR_NULL(datagram_new(&cfg, &env));
    cfg = config();
    cfg.retry_us = 0;
    CU_ASSERT_PTR_NULL(datagram_new(&cfg, &env));
    cfg = config();
    cfg.message_max_bytes = (size_t)DATAGRAM_MESSAGE_LIMIT_BYTES + 1;
    CU_ASSERT_PTR_NULL(datagram_new(&cfg, &env));
    datagram_free(NULL);
}

static void test_counter_names(void) {
    for (uint32_t i = 0; i < DATAGRAM_COUNTER_COUNT; i++) {
        CU_ASSERT_PTR_NOT_NULL_FATAL(datagram_counter_names[i]);
        for (uint32_t k = 0; k < i; k++)
            CU_ASSERT_NOT_EQUAL(strcmp(datagram_counter_names[i], datagram_counter_names[k]), 0);
    }
}

static void test_too_large(void) {
    struct pair p;
    struct datagram_config cfg = config();
    uint32_t types[8];
    cfg.message_max_bytes = 10000;
    pair_init_with(&p, &cfg);
    uint8_t *message = calloc(1, 10001);
    assert(message != NULL);
    CU_ASSERT_TRUE(datagram_send(p.a->d, p.b->address, message, 10000, p.net.now_us));
    CU_ASSERT_FALSE(datagram_send(p.a->d, p.b->address, message, 10001, p.net.now_us));
    CU_ASSERT_EQUAL(net_counter(p.a, DATAGRAM_DROP_TOO_LARGE), 1);
    net_run(&p.net, UINT64_MAX);
    CU_ASSERT_EQUAL(p.b->delivered, 1);
    // A sender with a larger limit is told to forget it, each time it asks.
    for (uint32_t i = 1; i <= 3; i++) {
        forge_fragment(&p, 2, 10001, i - 1, DATAGRAM_PAYLOAD_MAX);
        CU_ASSERT_EQUAL(net_counter(p.b, DATAGRAM_DROP_TOO_LARGE), 1);
        CU_ASSERT_EQUAL(take_types(&p, types), 1);
        CU_ASSERT_EQUAL(types[DATAGRAM_TYPE_REFUSED], 1);
        CU_ASSERT_EQUAL(datagram_bytes_held(p.b->d), 0);
    }
    free(message);
    pair_free(&p);
}

static void test_refusal_ends_transfer(void) {
    struct pair p;
    static const uint8_t first[8] = {0, 0, 0, 0, 0, 0, 0, 1};
    static const uint8_t unknown[8] = {0, 0, 0, 0, 0, 0, 4, 1}; // the same slot
    uint8_t message[5000] = {0};
    pair_init(&p);
    CU_ASSERT_TRUE(datagram_send(p.b->d, p.a->address, message, sizeof message, p.net.now_us));
    size_t held = datagram_bytes_held(p.b->d);
    CU_ASSERT_TRUE(held > sizeof message);
    forge_input(&p, DATAGRAM_TYPE_REFUSED, unknown, sizeof unknown);
    CU_ASSERT_EQUAL(datagram_bytes_held(p.b->d), held);
    forge_input(&p, DATAGRAM_TYPE_REFUSED, first, sizeof first);
    CU_ASSERT_EQUAL(datagram_bytes_held(p.b->d), 0);
    CU_ASSERT_EQUAL(net_counter(p.b, DATAGRAM_DROP_REFUSED), 1);
    forge_input(&p, DATAGRAM_TYPE_REFUSED, first, sizeof first);
    CU_ASSERT_EQUAL(net_counter(p.b, DATAGRAM_DROP_REFUSED), 1);
    pair_free(&p);
}

static void test_memory_is_shared(void) {
    struct net n;
    struct datagram_config cfg = config();
    struct datagram_address to[5];
    enum { LEN = 300000 };
    uint8_t *message = malloc(LEN);
    assert(message != NULL);
    net_fill(message, LEN, 8);
    net_init(&n, 1);
    struct net_node *from = net_add(&n, &cfg);
    for (uint32_t i = 0; i < 4; i++)
        to[i] = net_add(&n, &cfg)->address;
    to[4] = (struct datagram_address){500, 0};
    CU_ASSERT_FALSE(datagram_send_many(from->d, to, 5, message, LEN, n.now_us));
    CU_ASSERT_EQUAL(net_counter(from, DATAGRAM_DROP_PEER), 1);
    CU_ASSERT_EQUAL(net_counter(from, DATAGRAM_MESSAGES_SENT), 4);
    CU_ASSERT_TRUE(datagram_bytes_held(from->d) > LEN);
    CU_ASSERT_TRUE(datagram_bytes_held(from->d) < LEN + 1000);
    memset(message, 0, LEN); // it was only borrowed
    net_run(&n, UINT64_MAX);
    for (uint32_t i = 1; i <= 4; i++) {
        CU_ASSERT_EQUAL(n.nodes[i].delivered, 1);
        CU_ASSERT_EQUAL(n.nodes[i].wrong, 0);
    }
    CU_ASSERT_EQUAL(net_bytes_held(&n), 0);
    free(message);
    net_free(&n);
}

static void test_send_limit(void) {
    struct pair p;
    struct datagram_config cfg = config();
    uint8_t message[20000] = {0};
    cfg.message_max_bytes = 20000;
    cfg.send_max_bytes = datagram_transfer_bytes(sizeof message) - 300;
    pair_init_with(&p, &cfg);
    CU_ASSERT_FALSE(datagram_send(p.a->d, p.b->address, message, sizeof message, p.net.now_us));
    CU_ASSERT_EQUAL(net_counter(p.a, DATAGRAM_DROP_SEND_LIMIT), 1);
    CU_ASSERT_EQUAL(p.net.emitted, 0);
    // What fits one datagram needs no memory.
    CU_ASSERT_TRUE(datagram_send(p.a->d, p.b->address, message, 1000, p.net.now_us));
    CU_ASSERT_TRUE(datagram_send(p.a->d, p.b->address, message, 10000, p.net.now_us));
    CU_ASSERT_FALSE(datagram_send(p.a->d, p.b->address, message, 10000, p.net.now_us));
    net_run(&p.net, UINT64_MAX);
    CU_ASSERT_TRUE(datagram_send(p.a->d, p.b->address, message, 10000, p.net.now_us));
    net_run(&p.net, UINT64_MAX);
    CU_ASSERT_EQUAL(p.b->delivered, 3);
    pair_free(&p);
}

/* A sender that nobody hears nudges at growing intervals and gives up. */
static void test_sender_gives_up(void) {
    struct pair p;
    struct datagram_config cfg = config();
    uint8_t message[100000] = {0};
    uint64_t start;
    pair_init(&p);
    start = p.net.now_us;
    p.b->deaf = true;
    CU_ASSERT_TRUE(datagram_send(p.a->d, p.b->address, message, sizeof message, p.net.now_us));
    CU_ASSERT_EQUAL(net_counter(p.a, DATAGRAM_SENT), cfg.initial_fragments);
    net_run(&p.net, start + cfg.retry_us - 1);
    CU_ASSERT_EQUAL(net_counter(p.a, DATAGRAM_RESENT), 0);
    net_run(&p.net, start + cfg.retry_us + cfg.retry_us / 4);
    CU_ASSERT_EQUAL(net_counter(p.a, DATAGRAM_RESENT), 1);
    net_run(&p.net, start + cfg.give_up_us - 1);
    CU_ASSERT_TRUE(net_counter(p.a, DATAGRAM_RESENT) >= 16);
    CU_ASSERT_TRUE(net_counter(p.a, DATAGRAM_RESENT) <= 24);
    CU_ASSERT_TRUE(datagram_bytes_held(p.a->d) > sizeof message);
    net_run(&p.net, start + cfg.give_up_us + cfg.retry_us);
    CU_ASSERT_EQUAL(net_counter(p.a, DATAGRAM_DROP_SEND_TIMEOUT), 1);
    CU_ASSERT_EQUAL(datagram_next_deadline(p.a->d), UINT64_MAX);
    pair_free(&p);
}

static void test_receiver_gives_up(void) {
    struct pair p;
    struct datagram_config cfg = config();
    uint32_t types[8];
    pair_init(&p);
    uint64_t start = p.net.now_us;
    p.a->deaf = true;
    forge_fragment(&p, 1, 100000, 5, DATAGRAM_PAYLOAD_MAX);
    CU_ASSERT_TRUE(datagram_bytes_held(p.b->d) > 100000);
    net_run(&p.net, start + cfg.give_up_us - 1);
    CU_ASSERT_TRUE(datagram_bytes_held(p.b->d) > 100000);
    net_run(&p.net, start + cfg.give_up_us + cfg.retry_us);
    CU_ASSERT_EQUAL(net_counter(p.b, DATAGRAM_DROP_REASSEMBLY_TIMEOUT), 1);
    CU_ASSERT_EQUAL(datagram_bytes_held(p.b->d), 0);
    CU_ASSERT_EQUAL(datagram_next_deadline(p.b->d), UINT64_MAX);
    take_types(&p, types);
    // It does not come back to life.
    forge_fragment(&p, 1, 100000, 6, DATAGRAM_PAYLOAD_MAX);
    CU_ASSERT_EQUAL(take_types(&p, types), 1);
    CU_ASSERT_EQUAL(types[DATAGRAM_TYPE_REFUSED], 1);
    pair_free(&p);
}

/* One fragment now and then is not progress. */
static void test_dripping_sender(void) {
    struct pair p;
    struct datagram_config cfg = config();
    uint32_t index = 0;
    pair_init(&p);
    uint64_t start = p.net.now_us;
    p.a->deaf = true;
    forge_fragment(&p, 1, 1 << 20, index++, DATAGRAM_PAYLOAD_MAX);
    while (datagram_bytes_held(p.b->d) > 0 && index < 700) {
        net_run(&p.net, p.net.now_us + cfg.give_up_us / 8);
        if (datagram_bytes_held(p.b->d) > 0)
            forge_fragment(&p, 1, 1 << 20, index++, DATAGRAM_PAYLOAD_MAX);
    }
    CU_ASSERT_EQUAL(net_counter(p.b, DATAGRAM_DROP_REASSEMBLY_TIMEOUT), 1);
    CU_ASSERT_TRUE(p.net.now_us <= start + 2 * (uint64_t)cfg.give_up_us);
    pair_free(&p);
}

static void test_late_fragments(void) {
    struct pair p;
    uint32_t types[8];
    pair_init(&p);
    forge_fragment(&p, 1, 2000, 1, 2000 - DATAGRAM_PAYLOAD_MAX);
    forge_fragment(&p, 1, 2000, 0, DATAGRAM_PAYLOAD_MAX);
    CU_ASSERT_EQUAL(p.b->delivered, 1);
    for (uint32_t i = 0; i < 3; i++) {
        take_types(&p, types);
        CU_ASSERT_EQUAL(types[DATAGRAM_TYPE_FINISHED], 1);
        forge_fragment(&p, 1, 2000, 0, DATAGRAM_PAYLOAD_MAX);
        CU_ASSERT_EQUAL(p.b->delivered, 1);
        CU_ASSERT_EQUAL(datagram_bytes_held(p.b->d), 0);
        CU_ASSERT_EQUAL(net_counter(p.b, DATAGRAM_DROP_DUPLICATE), i + 1);
    }
    take_types(&p, types);
    // Numbers far ahead push the old ones out; those are refused, not taken for new.
    forge_fragment(&p, 2, 2000, 0, DATAGRAM_PAYLOAD_MAX);
    forge_fragment(&p, 1026, 2000, 0, DATAGRAM_PAYLOAD_MAX);
    CU_ASSERT_EQUAL(net_counter(p.b, DATAGRAM_DROP_REASSEMBLY_LIMIT), 1);
    forge_fragment(&p, 1, 2000, 0, DATAGRAM_PAYLOAD_MAX);
    forge_fragment(&p, 2, 2000, 1, 2000 - DATAGRAM_PAYLOAD_MAX);
    CU_ASSERT_EQUAL(take_types(&p, types), 2);
    CU_ASSERT_EQUAL(types[DATAGRAM_TYPE_REFUSED], 2);
    forge_fragment(&p, UINT64_MAX, 2000, 0, DATAGRAM_PAYLOAD_MAX);
    forge_fragment(&p, UINT64_MAX, 2000, 1, 2000 - DATAGRAM_PAYLOAD_MAX);
    CU_ASSERT_EQUAL(p.b->delivered, 2);
    pair_free(&p);
}

/* A receiver that asks for more than its due gets a window for each authentic grant at most. */
static void test_greedy_receiver(void) {
    struct pair p;
    struct datagram_config cfg = config();
    uint8_t all[GRANT_BITMAP_MAX_BYTES];
    uint32_t types[8];
    const uint32_t fragments = (4000000 + DATAGRAM_PAYLOAD_MAX - 1) / DATAGRAM_PAYLOAD_MAX;
    uint8_t *message = calloc(1, 4000000);
    assert(message != NULL);
    memset(all, 0xff, sizeof all);
    pair_init(&p);
    p.a->deaf = true;
    CU_ASSERT_TRUE(datagram_send(p.b->d, p.a->address, message, 4000000, p.net.now_us));
    CU_ASSERT_EQUAL(take_types(&p, types), cfg.initial_fragments);
    forge_grant(&p, 1, fragments, 0, NULL, 0);
    CU_ASSERT_EQUAL(take_types(&p, types), cfg.window_fragments);
    forge_grant(&p, 1, fragments, 0, all, sizeof all);
    CU_ASSERT_EQUAL(take_types(&p, types), 2 * cfg.window_fragments);
    CU_ASSERT_EQUAL(net_counter(p.b, DATAGRAM_RESENT), cfg.window_fragments);
    for (uint32_t i = 0; i < 100; i++) // too soon
        forge_grant(&p, 1, 0, 0, all, sizeof all);
    CU_ASSERT_EQUAL(take_types(&p, types), 0);
    forge_grant(&p, 1, fragments + 1, 0, NULL, 0);
    forge_grant(&p, 1, 0, fragments + 1, NULL, 0);
    CU_ASSERT_EQUAL(net_counter(p.b, DATAGRAM_DROP_MALFORMED), 2);
    forge_grant(&p, 1025, fragments, 0, all, sizeof all); // no such transfer
    CU_ASSERT_EQUAL(take_types(&p, types), 0);
    // Repeating itself does not hold the memory beyond the time-out.
    uint64_t start = p.net.now_us;
    while (datagram_bytes_held(p.b->d) > 0 && p.net.now_us < start + 10ull * cfg.give_up_us) {
        net_run(&p.net, p.net.now_us + cfg.retry_us);
        forge_grant(&p, 1, 0, 0, all, sizeof all);
    }
    CU_ASSERT_EQUAL(net_counter(p.b, DATAGRAM_DROP_SEND_TIMEOUT), 1);
    CU_ASSERT_TRUE(p.net.now_us <= start + 2ull * cfg.give_up_us);
    free(message);
    pair_free(&p);
}

/* The exact bits of a repair. */
static void test_repair_names_the_missing(void) {
    struct pair p;
    struct datagram_config cfg = config();
    struct net_packet packet;
    static const uint8_t expected[] = {
        0,    0,    0, 0, 0, 0, 0, 1, 0, 0, 0, 12, 0, 0, 0, 1, // transfer 1, all 12 granted, base 1
        0xb7, 0xe0, // missing: 1, 3, 4, 6, 7, 8, 9, 10, 11
    };
    pair_init(&p);
    forge_fragment(&p, 1, 12 * DATAGRAM_PAYLOAD_MAX, 0, DATAGRAM_PAYLOAD_MAX);
    forge_fragment(&p, 1, 12 * DATAGRAM_PAYLOAD_MAX, 2, DATAGRAM_PAYLOAD_MAX);
    forge_fragment(&p, 1, 12 * DATAGRAM_PAYLOAD_MAX, 5, DATAGRAM_PAYLOAD_MAX);
    CU_ASSERT_FALSE(net_take(&p.net, &packet));
    p.net.now_us += cfg.retry_us + cfg.retry_us / 4;
    datagram_timers(p.b->d, p.net.now_us);
    CU_ASSERT_TRUE_FATAL(net_take(&p.net, &packet));
    CU_ASSERT_EQUAL(packet.len, DATAGRAM_OVERHEAD_BYTES + sizeof expected);
    CU_ASSERT_EQUAL(packet.data[3], DATAGRAM_TYPE_GRANT);
    CU_ASSERT_EQUAL(memcmp(packet.data + HEADER_BYTES, expected, sizeof expected), 0);
    free(packet.data);
    p.a->deaf = true;
    net_run(&p.net, UINT64_MAX);
    pair_free(&p);
}

/* Freed in the middle of everything: nothing leaks (seen by AddressSanitizer). */
static void test_free_while_busy(void) {
    struct pair p;
    uint8_t *message = calloc(1, 1 << 20);
    assert(message != NULL);
    pair_init(&p);
    CU_ASSERT_TRUE(datagram_send(p.a->d, p.b->address, message, 1 << 20, p.net.now_us));
    CU_ASSERT_TRUE(datagram_send(p.b->d, p.a->address, message, 1 << 20, p.net.now_us));
    net_run(&p.net, p.net.now_us + 500);
    CU_ASSERT_TRUE(net_bytes_held(&p.net) > 3 << 20);
    crypto_mac_free(p.mac);
    net_free(&p.net);
    free(message);
}

static const struct unit_case cases[] = {
    {"wire format", test_wire_format},
    {"fragment format", test_fragment_format},
    {"messages of one datagram", test_single_sizes},
    {"truncations and bit flips", test_truncations_and_flips},
    {"replay", test_replay},
    {"replay window", test_replay_window},
    {"replay window at random", test_replay_window_random},
    {"reflected, misdirected, unknown", test_wrong_addresses},
    {"epochs", test_epochs},
    {"malformed but authentic", test_malformed},
    {"peers and configuration", test_peers},
    {"counter names", test_counter_names},
    {"too large", test_too_large},
    {"refusal ends a transfer", test_refusal_ends_transfer},
    {"memory is shared", test_memory_is_shared},
    {"send limit", test_send_limit},
    {"sender gives up", test_sender_gives_up},
    {"receiver gives up", test_receiver_gives_up},
    {"dripping sender", test_dripping_sender},
    {"late fragments", test_late_fragments},
    {"greedy receiver", test_greedy_receiver},
    {"repair names the missing", test_repair_names_the_missing},
    {"free while busy", test_free_while_busy},
    {"network: large messages", test_large_messages},
    {"network: window", test_window_is_kept},
    {"network: seeds", test_seeded_networks},
    {"network: runs repeat", test_runs_repeat},
    {"network: many peers, little memory", test_many_peers_little_memory},
    {"network: guaranteed share", test_share_is_guaranteed},
    {"network: deaf peer", test_deaf_peer_does_not_block},
    {"network: receiver restarts", test_receiver_restarts},
    {"network: sender restarts", test_sender_restarts},
    {"network: many transfers", test_many_transfers_at_once},
    {0},
};

int main(int argc, char **argv) {
    return unit_main("datagram", cases, argc, argv);
}
