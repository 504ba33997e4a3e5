/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lib/datagram under a peer that holds the key and does what it likes, and under anybody else's
 * bytes. The input is a list of acts: raw datagrams, authentic ones with any type and body,
 * fragments and acknowledgements that look right, sends of our own, and time. Limits hold at every
 * step, one datagram never calls forth more than a few windows, and in the end all memory comes
 * back.
 */
#include "datagram/header.h"
#include "fuzz.h"

enum act { ACT_RAW, ACT_SEALED, ACT_FRAGMENT, ACT_GRANT, ACT_ACK, ACT_SEND, ACT_TIME, ACTS };

#define MESSAGE_MAX 20000u
#define WINDOW 8u
#define INITIAL 4u
#define PEERS 3u

struct world {
    struct datagram *d;
    struct datagram_config cfg;
    struct crypto_mac *mac[PEERS]; // peer to self
    uint64_t counter[PEERS];
    uint64_t epoch[PEERS];
    uint64_t now_us;
    uint64_t emitted;
    struct wire_reader in;
    uint8_t message[MESSAGE_MAX];
};

static struct datagram_address peer_address(uint32_t i) {
    return (struct datagram_address){(uint16_t)(i + 1), 3};
}

static void on_emit(void *ctx, struct datagram_address to, const uint8_t *data, size_t len) {
    struct world *w = ctx;
    FUZZ_CHECK(to.principal >= 1 && to.principal <= PEERS && to.endpoint == 3);
    FUZZ_CHECK(len >= DATAGRAM_OVERHEAD_BYTES && len <= DATAGRAM_MAX_BYTES);
    uint8_t *copy = fuzz_copy(data, len);
    free(copy);
    w->emitted++;
}

/* Answers every other message with one of the same length. */
static void on_deliver(void *ctx, struct datagram_address from, const uint8_t *message,
                       size_t len) {
    struct world *w = ctx;
    FUZZ_CHECK(len <= w->cfg.message_max_bytes);
    uint8_t *copy = fuzz_copy(message, len);
    if (len % 2 == 0)
        datagram_send(w->d, from, copy, len, w->now_us);
    free(copy);
}

static void world_new(struct world *w, const uint8_t *data, size_t len) {
    const struct datagram_env env = {w, on_emit, on_deliver};
    memset(w, 0, sizeof *w);
    wire_reader_init(&w->in, data, len);
    datagram_config_default(&w->cfg);
    w->cfg.epoch = 3;
    w->cfg.message_max_bytes = MESSAGE_MAX;
    w->cfg.reassembly_max_bytes = 2 * datagram_transfer_bytes(MESSAGE_MAX);
    w->cfg.send_max_bytes = 2 * datagram_transfer_bytes(MESSAGE_MAX);
    w->cfg.initial_fragments = INITIAL;
    w->cfg.window_fragments = WINDOW;
    w->d = datagram_new(&w->cfg, &env);
    FUZZ_CHECK(w->d != NULL);
    for (uint32_t i = 0; i < PEERS; i++) {
        uint8_t pair[CRYPTO_KEY_BYTES] = {(uint8_t)i}, key[CRYPTO_KEY_BYTES];
        const uint8_t context[8] = {0, (uint8_t)(i + 1), 0, 3, 0, 0, 0, 0};
        FUZZ_CHECK(datagram_add_peer(w->d, peer_address(i), pair));
        crypto_kdf(pair, "datagram", context, sizeof context, key);
        w->mac[i] = crypto_mac_new(key);
        FUZZ_CHECK(w->mac[i] != NULL);
        w->epoch[i] = 1;
    }
}

static void input(struct world *w, const uint8_t *data, size_t len) {
    uint8_t *copy = fuzz_copy(data, len);
    uint64_t before = w->emitted;
    datagram_input(w->d, copy, len, w->now_us);
    // An acknowledgement, a repair and a window, the first fragments of an answer.
    FUZZ_CHECK(w->emitted - before <= 2 * WINDOW + INITIAL + 1);
    free(copy);
}

static uint64_t counter_of(const struct world *w, enum datagram_counter c) {
    uint64_t counters[DATAGRAM_COUNTER_COUNT];
    datagram_counters(w->d, counters);
    return counters[c];
}

static void input_sealed(struct world *w, uint32_t peer, uint8_t type, const uint8_t *body,
                         size_t len) {
    uint8_t out[DATAGRAM_MAX_BYTES];
    struct datagram_header h = {type, peer_address(peer), w->cfg.self, w->epoch[peer],
                                ++w->counter[peer]};
    if (len > 0)
        memcpy(out + HEADER_BYTES, body, len);
    size_t n = header_seal(w->mac[peer], &h, out, len);
    uint64_t bad = counter_of(w, DATAGRAM_DROP_MAC);
    input(w, out, n);
    FUZZ_CHECK(counter_of(w, DATAGRAM_DROP_MAC) == bad);
}

static void act_raw(struct world *w) {
    size_t len = wire_get_u8(&w->in) * 6u;
    if (len > wire_remaining(&w->in))
        len = wire_remaining(&w->in);
    input(w, wire_get_view(&w->in, len), len);
}

static void act_sealed(struct world *w, uint32_t peer) {
    uint8_t type = wire_get_u8(&w->in);
    uint8_t jump = wire_get_u8(&w->in);
    size_t len = wire_get_u8(&w->in);
    if (len > wire_remaining(&w->in))
        len = wire_remaining(&w->in);
    if (jump == 1)
        w->epoch[peer]++;
    else if (jump == 2)
        w->counter[peer] -= w->counter[peer] > 1 ? 2 : 0;
    else if (jump == 3)
        w->counter[peer] += 10000;
    input_sealed(w, peer, type, wire_get_view(&w->in, len), len);
}

static uint64_t get_id(struct world *w) {
    uint8_t v = wire_get_u8(&w->in);
    return v < 250 ? v : v < 253 ? 1000u + v : UINT64_MAX - (255 - v);
}

static uint32_t get_message_len(struct world *w) {
    return wire_get_u16(&w->in) % (MESSAGE_MAX + 2000);
}

static void act_fragment(struct world *w, uint32_t peer) {
    uint8_t body[BODY_MAX_BYTES];
    struct wire_writer out;
    uint64_t id = get_id(w);
    uint32_t len = get_message_len(w), index = wire_get_u8(&w->in) % 16;
    size_t rest = len > index * FRAGMENT_BYTES ? len - index * FRAGMENT_BYTES : 0;
    wire_writer_init(&out, body, sizeof body);
    wire_put_u64(&out, id);
    wire_put_u32(&out, len);
    wire_put_u32(&out, index);
    wire_put_bytes(&out, w->message, rest < FRAGMENT_BYTES ? rest : FRAGMENT_BYTES);
    input_sealed(w, peer, DATAGRAM_TYPE_FRAGMENT, body, out.len);
}

static void act_grant(struct world *w, uint32_t peer) {
    uint8_t body[BODY_MAX_BYTES];
    struct wire_writer out;
    wire_writer_init(&out, body, sizeof body);
    wire_put_u64(&out, get_id(w));
    wire_put_u32(&out, wire_get_u8(&w->in) % 20);
    wire_put_u32(&out, wire_get_u8(&w->in) % 20);
    wire_put_u32(&out, wire_get_u32(&w->in));
    // With and without the bitmap.
    input_sealed(w, peer, DATAGRAM_TYPE_GRANT, body, out.len - wire_get_u8(&w->in) % 5);
}

static void act_ack(struct world *w, uint32_t peer) {
    uint8_t body[ACK_BODY_BYTES];
    struct wire_writer out;
    uint8_t type = wire_get_u8(&w->in) % 2 ? DATAGRAM_TYPE_FINISHED : DATAGRAM_TYPE_REFUSED;
    wire_writer_init(&out, body, sizeof body);
    wire_put_u64(&out, get_id(w));
    input_sealed(w, peer, type, body, out.len);
}

static void act_send(struct world *w) {
    struct datagram_address to[PEERS + 1];
    uint32_t len = get_message_len(w), count = 1 + wire_get_u8(&w->in) % (PEERS + 1);
    for (uint32_t i = 0; i < PEERS + 1; i++)
        to[i] = peer_address(i); // the last one is unknown
    uint8_t *message = calloc(1, len + 1);
    FUZZ_CHECK(message != NULL);
    bool sent = datagram_send_many(w->d, to, count, message, len, w->now_us);
    FUZZ_CHECK(!sent || (len <= MESSAGE_MAX && count <= PEERS));
    free(message);
}

static void act_time(struct world *w) {
    w->now_us += (uint64_t)wire_get_u8(&w->in) * 20000;
    datagram_timers(w->d, w->now_us);
    FUZZ_CHECK(datagram_next_deadline(w->d) > w->now_us);
}

static void act(struct world *w) {
    uint8_t op = wire_get_u8(&w->in);
    uint32_t peer = op / ACTS % PEERS;
    switch ((enum act)(op % ACTS)) {
    case ACT_RAW:
        act_raw(w);
        break;
    case ACT_SEALED:
        act_sealed(w, peer);
        break;
    case ACT_FRAGMENT:
        act_fragment(w, peer);
        break;
    case ACT_GRANT:
        act_grant(w, peer);
        break;
    case ACT_ACK:
        act_ack(w, peer);
        break;
    case ACT_SEND:
        act_send(w);
        break;
    default:
        act_time(w);
    }
}

/* Nothing outlives two time-outs without a word from outside. */
static void drain(struct world *w) {
    uint64_t end = w->now_us + 2ull * w->cfg.give_up_us;
    for (uint64_t next = datagram_next_deadline(w->d); next != UINT64_MAX;
         next = datagram_next_deadline(w->d)) {
        FUZZ_CHECK(next <= end);
        w->now_us = next > w->now_us ? next : w->now_us;
        datagram_timers(w->d, w->now_us);
    }
    FUZZ_CHECK(datagram_bytes_held(w->d) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
    static struct world w;
    world_new(&w, data, len);
    while (wire_remaining(&w.in) > 0) {
        act(&w);
        FUZZ_CHECK(datagram_bytes_held(w.d) <= w.cfg.send_max_bytes + w.cfg.reassembly_max_bytes);
    }
    drain(&w);
    datagram_free(w.d);
    for (uint32_t i = 0; i < PEERS; i++)
        crypto_mac_free(w.mac[i]);
    return 0;
}
