/* SPDX-License-Identifier: BSD-3-Clause */
/* lib/datagram over networks that lose, delay, reorder and duplicate. */
#include "datagram_net.h"
#include "test_datagram.h"
#include "unit.h"

#include <assert.h>
#include <stdlib.h>

static struct datagram_config config(void) {
    struct datagram_config cfg;
    datagram_config_default(&cfg);
    cfg.epoch = 5;
    return cfg;
}

static void send_tagged(struct net_node *from, const struct net_node *to, size_t len,
                        uint32_t tag) {
    uint8_t *message = malloc(len + 1);
    assert(message != NULL);
    net_fill(message, len, tag);
    CU_ASSERT_TRUE(datagram_send(from->d, to->address, message, len, from->net->now_us));
    free(message);
}

static void one_large(size_t len, uint32_t loss_percent, uint64_t seed) {
    struct net n;
    struct datagram_config cfg = config();
    net_init(&n, seed);
    struct net_node *a = net_add(&n, &cfg), *b = net_add(&n, &cfg);
    n.loss_percent = loss_percent;
    send_tagged(a, b, len, 3);
    net_run(&n, UINT64_MAX);
    CU_ASSERT_EQUAL(b->delivered, 1);
    CU_ASSERT_EQUAL(b->delivered_bytes, len);
    CU_ASSERT_EQUAL(b->wrong, 0);
    CU_ASSERT_EQUAL(net_bytes_held(&n), 0);
    if (loss_percent == 0) {
        uint64_t fragments = (len + DATAGRAM_PAYLOAD_MAX - 1) / DATAGRAM_PAYLOAD_MAX;
        CU_ASSERT_EQUAL(net_counter(a, DATAGRAM_SENT), fragments);
        CU_ASSERT_EQUAL(net_counter(a, DATAGRAM_RESENT), 0);
        // Grants a quarter of a window at a time, and one acknowledgement.
        CU_ASSERT_TRUE(net_counter(b, DATAGRAM_SENT) <= fragments / 16 + 3);
    }
    net_free(&n);
}

void test_large_messages(void) {
    const size_t mib = (size_t)1 << 20;
    one_large(DATAGRAM_SINGLE_MAX_BYTES + 1, 0, 1);
    one_large(DATAGRAM_PAYLOAD_MAX * 16, 0, 2);
    one_large(DATAGRAM_PAYLOAD_MAX * 16 + 1, 0, 3);
    one_large(mib, 0, 4);
    one_large(16 * mib, 0, 5);
    one_large(mib, 30, 6);
    one_large(16 * mib, 5, 7);
}

/* The receiver's window, seen from outside: what the sender has out never exceeds it. */
void test_window_is_kept(void) {
    struct net n;
    struct datagram_config cfg = config();
    net_init(&n, 1);
    struct net_node *a = net_add(&n, &cfg), *b = net_add(&n, &cfg);
    size_t most = 0;
    send_tagged(a, b, 1 << 20, 3);
    CU_ASSERT_EQUAL(n.heap_len, cfg.initial_fragments);
    while (net_bytes_held(&n) > 0 && n.now_us < 60000000) {
        net_run(&n, n.now_us + 1);
        most = n.heap_len > most ? n.heap_len : most;
    }
    CU_ASSERT_EQUAL(b->delivered, 1);
    // Grants are on the way too.
    CU_ASSERT_TRUE(most > cfg.window_fragments / 2);
    CU_ASSERT_TRUE(most <= cfg.window_fragments + 4);
    net_free(&n);
}

#define SEEDS 240u
#define SEED_NODES 3u
#define SEED_MESSAGES 24u

static size_t seed_len(struct net *n) {
    switch (net_random(n, 4)) {
    case 0:
        return NET_TAG_BYTES + net_random(n, DATAGRAM_SINGLE_MAX_BYTES - NET_TAG_BYTES + 1);
    case 1:
        return DATAGRAM_SINGLE_MAX_BYTES + 1 + net_random(n, 5000);
    case 2:
        return DATAGRAM_SINGLE_MAX_BYTES + 1 + net_random(n, 60000);
    default:
        return DATAGRAM_SINGLE_MAX_BYTES + 1 + net_random(n, 300000);
    }
}

/* Returns a fingerprint of the run. */
static uint64_t run_seed(uint64_t seed) {
    struct net n;
    struct datagram_config cfg = config();
    uint32_t times[SEED_MESSAGES] = {0};
    bool large[SEED_MESSAGES];
    net_init(&n, seed);
    n.loss_percent = (uint32_t)net_random(&n, 31);
    n.duplicate_percent = (uint32_t)net_random(&n, 21);
    n.delay_min_us = 20;
    n.delay_max_us = 20 + net_random(&n, 3000);
    cfg.initial_fragments = 1 + (uint32_t)net_random(&n, 20);
    cfg.window_fragments = 1 + (uint32_t)net_random(&n, 80);
    // Nothing but bad luck of 1 in billions ends a transfer here: each must arrive.
    cfg.give_up_us = 60000000;
    for (uint32_t i = 0; i < SEED_NODES; i++) {
        struct net_node *node = net_add(&n, &cfg);
        node->times = times;
        node->times_count = SEED_MESSAGES;
    }
    for (uint32_t tag = 0; tag < SEED_MESSAGES; tag++) {
        uint64_t from = net_random(&n, SEED_NODES);
        uint64_t to = (from + 1 + net_random(&n, SEED_NODES - 1)) % SEED_NODES;
        size_t len = seed_len(&n);
        large[tag] = len > DATAGRAM_SINGLE_MAX_BYTES;
        send_tagged(&n.nodes[from], &n.nodes[to], len, tag);
        net_run(&n, n.now_us + net_random(&n, 2000));
    }
    net_run(&n, UINT64_MAX);
    uint64_t fingerprint = n.emitted * 1000003 + n.now_us;
    for (uint32_t i = 0; i < SEED_NODES; i++) {
        CU_ASSERT_EQUAL(n.nodes[i].wrong, 0);
        CU_ASSERT_EQUAL(net_counter(&n.nodes[i], DATAGRAM_DROP_SEND_TIMEOUT), 0);
        CU_ASSERT_EQUAL(net_counter(&n.nodes[i], DATAGRAM_DROP_MALFORMED), 0);
        CU_ASSERT_EQUAL(net_counter(&n.nodes[i], DATAGRAM_DROP_MAC), 0);
    }
    for (uint32_t tag = 0; tag < SEED_MESSAGES; tag++) {
        if (large[tag])
            CU_ASSERT_EQUAL(times[tag], 1);
        // Fire and forget, but never twice.
        CU_ASSERT_TRUE(times[tag] <= 1);
    }
    CU_ASSERT_EQUAL(net_bytes_held(&n), 0);
    net_free(&n);
    return fingerprint;
}

void test_seeded_networks(void) {
    for (uint64_t seed = 1; seed <= SEEDS; seed++)
        run_seed(seed);
}

void test_runs_repeat(void) {
    for (uint64_t seed = 1; seed <= 5; seed++)
        CU_ASSERT_EQUAL(run_seed(seed), run_seed(seed));
    CU_ASSERT_NOT_EQUAL(run_seed(1), run_seed(2));
}

/* 20 senders of 200 kB each; room for three at the receiver: the others wait for their turn. */
void test_many_peers_little_memory(void) {
    enum { SENDERS = 20, LEN = 200000 };
    struct net n;
    struct datagram_config cfg = config();
    uint32_t times[SENDERS] = {0};
    net_init(&n, 11);
    n.delay_max_us = 500;
    n.loss_percent = 2;
    cfg.message_max_bytes = LEN;
    cfg.reassembly_max_bytes = 3 * datagram_transfer_bytes(LEN);
    cfg.send_max_bytes = (SENDERS + 1) * datagram_transfer_bytes(LEN);
    cfg.give_up_us = 60000000;
    struct net_node *sink = net_add(&n, &cfg);
    sink->times = times;
    sink->times_count = SENDERS;
    for (uint32_t i = 0; i < SENDERS; i++)
        send_tagged(net_add(&n, &cfg), sink, LEN, i);
    while (net_bytes_held(&n) > 0 && n.now_us < UINT64_C(600000000)) {
        net_run(&n, n.now_us + 1000);
        CU_ASSERT_TRUE(datagram_bytes_held(sink->d) <= cfg.reassembly_max_bytes);
    }
    for (uint32_t i = 0; i < SENDERS; i++)
        CU_ASSERT_EQUAL(times[i], 1);
    CU_ASSERT_EQUAL(sink->wrong, 0);
    CU_ASSERT_TRUE(net_counter(sink, DATAGRAM_DROP_REASSEMBLY_LIMIT) > 0);
    CU_ASSERT_EQUAL(net_bytes_held(&n), 0);
    net_free(&n);
}

/*
 * As much memory as there are peers: those that start a message and never go on, as many as they
 * like, do not keep the others' largest messages out.
 */
void test_share_is_guaranteed(void) {
    enum { HOSTILE = 4, LEN = 100000 };
    struct net n;
    struct datagram_config cfg = config();
    net_init(&n, 12);
    cfg.message_max_bytes = LEN;
    cfg.reassembly_max_bytes = (HOSTILE + 1) * datagram_transfer_bytes(LEN);
    cfg.send_max_bytes = 1 << 30;
    struct net_node *sink = net_add(&n, &cfg);
    for (uint32_t i = 0; i <= HOSTILE; i++)
        net_add(&n, &cfg);
    for (uint32_t i = 1; i <= HOSTILE; i++) {
        for (uint32_t k = 0; k < 8; k++)
            send_tagged(&n.nodes[i], sink, LEN - k, 1000 * i + k);
        n.nodes[i].deaf = true;
    }
    net_run(&n, n.now_us + 1000);
    CU_ASSERT_EQUAL(sink->delivered, 0);
    CU_ASSERT_TRUE(datagram_bytes_held(sink->d) > (HOSTILE - 1) * (size_t)LEN);
    uint64_t limited = net_counter(sink, DATAGRAM_DROP_REASSEMBLY_LIMIT);
    CU_ASSERT_TRUE(limited > 0);
    send_tagged(&n.nodes[HOSTILE + 1], sink, LEN, 77);
    net_run(&n, n.now_us + 10000);
    CU_ASSERT_EQUAL(sink->delivered, 1);
    CU_ASSERT_EQUAL(sink->last_from.principal, HOSTILE + 1);
    net_run(&n, UINT64_MAX);
    CU_ASSERT_TRUE(net_counter(sink, DATAGRAM_DROP_REASSEMBLY_TIMEOUT) >= HOSTILE);
    CU_ASSERT_EQUAL(net_bytes_held(&n), 0);
    net_free(&n);
}

/* One sender to four peers, one of which hears nothing. */
void test_deaf_peer_does_not_block(void) {
    enum { ROUNDS = 12, LEN = 100000 };
    struct net n;
    struct datagram_config cfg = config();
    net_init(&n, 13);
    cfg.message_max_bytes = LEN;
    cfg.send_max_bytes = 4 * datagram_transfer_bytes(LEN);
    struct net_node *from = net_add(&n, &cfg);
    struct datagram_address to[4];
    for (uint32_t i = 0; i < 4; i++)
        to[i] = net_add(&n, &cfg)->address;
    n.nodes[4].deaf = true;
    uint8_t *message = malloc(LEN);
    assert(message != NULL);
    for (uint32_t k = 0; k < ROUNDS; k++) {
        net_fill(message, LEN, k);
        bool all = datagram_send_many(from->d, to, 4, message, LEN, n.now_us);
        // The deaf one's share is full from the second round on.
        CU_ASSERT_EQUAL(all, k == 0);
        net_run(&n, n.now_us + 20000);
    }
    for (uint32_t i = 1; i <= 3; i++)
        CU_ASSERT_EQUAL(n.nodes[i].delivered, ROUNDS);
    CU_ASSERT_EQUAL(net_counter(from, DATAGRAM_DROP_SEND_LIMIT), ROUNDS - 1);
    CU_ASSERT_TRUE(datagram_bytes_held(from->d) <= datagram_transfer_bytes(LEN));
    net_run(&n, UINT64_MAX);
    CU_ASSERT_EQUAL(net_counter(from, DATAGRAM_DROP_SEND_TIMEOUT), 1);
    CU_ASSERT_EQUAL(net_bytes_held(&n), 0);
    free(message);
    net_free(&n);
}

/* A receiver that restarts in the middle gets the whole message from the start. */
void test_receiver_restarts(void) {
    struct net n;
    struct datagram_config cfg = config();
    net_init(&n, 14);
    struct net_node *a = net_add(&n, &cfg), *b = net_add(&n, &cfg);
    uint8_t key[CRYPTO_KEY_BYTES];
    send_tagged(b, a, 100, 1);
    send_tagged(a, b, 1 << 20, 2);
    net_run(&n, n.now_us + 1200);
    CU_ASSERT_TRUE(datagram_bytes_held(b->d) > 0);
    CU_ASSERT_TRUE(net_counter(b, DATAGRAM_RECEIVED) > 5 * cfg.window_fragments);
    struct datagram_env env = net_env(b);
    datagram_free(b->d);
    cfg.self = b->address;
    cfg.epoch++;
    b->d = datagram_new(&cfg, &env);
    assert(b->d != NULL);
    net_key(0, 1, key);
    CU_ASSERT_TRUE(datagram_add_peer(b->d, a->address, key));
    net_run(&n, UINT64_MAX);
    CU_ASSERT_EQUAL(b->delivered, 1);
    CU_ASSERT_EQUAL(b->wrong, 0);
    CU_ASSERT_EQUAL(net_counter(a, DATAGRAM_DROP_SEND_TIMEOUT), 0);
    // Sent anew under grants, not dragged over by repairs.
    uint64_t fragments = (1 << 20) / DATAGRAM_PAYLOAD_MAX + 1;
    CU_ASSERT_TRUE(net_counter(a, DATAGRAM_SENT) > fragments);
    CU_ASSERT_TRUE(net_counter(a, DATAGRAM_RESENT) <= cfg.window_fragments);
    CU_ASSERT_EQUAL(net_bytes_held(&n), 0);
    net_free(&n);
}

/* The sender restarts in the middle: what it had begun is dropped, its new messages arrive. */
void test_sender_restarts(void) {
    struct net n;
    struct datagram_config cfg = config();
    net_init(&n, 15);
    n.delay_max_us = 400; // so that datagrams of the two lives mix
    struct net_node *a = net_add(&n, &cfg), *b = net_add(&n, &cfg);
    uint8_t key[CRYPTO_KEY_BYTES];
    send_tagged(a, b, 1 << 20, 2);
    net_run(&n, n.now_us + 700);
    CU_ASSERT_TRUE(datagram_bytes_held(b->d) > 1 << 20);
    struct datagram_env env = net_env(a);
    datagram_free(a->d);
    cfg.self = a->address;
    cfg.epoch++;
    a->d = datagram_new(&cfg, &env);
    assert(a->d != NULL);
    net_key(0, 1, key);
    CU_ASSERT_TRUE(datagram_add_peer(a->d, b->address, key));
    send_tagged(a, b, 50000, 9);
    net_run(&n, n.now_us + 5000);
    CU_ASSERT_EQUAL(net_counter(b, DATAGRAM_DROP_REASSEMBLY_EPOCH), 1);
    CU_ASSERT_TRUE(net_counter(b, DATAGRAM_DROP_EPOCH) > 0);
    CU_ASSERT_EQUAL(b->delivered, 1);
    CU_ASSERT_EQUAL(b->last_len, 50000);
    CU_ASSERT_EQUAL(b->wrong, 0);
    CU_ASSERT_EQUAL(net_bytes_held(&n), 0);
    net_free(&n);
}

/* More transfers at once than the receiver remembers the fates of: the sender refuses, nothing is
 * lost. */
void test_many_transfers_at_once(void) {
    enum { COUNT = 1100, LEN = 2000 };
    struct net n;
    struct datagram_config cfg = config();
    uint32_t times[COUNT] = {0}, accepted = 0;
    uint8_t message[LEN];
    net_init(&n, 16);
    n.loss_percent = 10;
    n.delay_max_us = 2000;
    cfg.give_up_us = 60000000;
    struct net_node *a = net_add(&n, &cfg), *b = net_add(&n, &cfg);
    b->times = times;
    b->times_count = COUNT;
    for (uint32_t i = 0; i < COUNT; i++) {
        net_fill(message, LEN, i);
        accepted += datagram_send(a->d, b->address, message, LEN, n.now_us);
    }
    CU_ASSERT_EQUAL(accepted, 1024);
    CU_ASSERT_EQUAL(net_counter(a, DATAGRAM_DROP_SEND_LIMIT), COUNT - accepted);
    net_run(&n, UINT64_MAX);
    for (uint32_t i = 0; i < COUNT; i++)
        CU_ASSERT_EQUAL(times[i], i < accepted ? 1 : 0);
    CU_ASSERT_EQUAL(net_bytes_held(&n), 0);
    net_free(&n);
}
