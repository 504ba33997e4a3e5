/* SPDX-License-Identifier: BSD-3-Clause */
/* What handshakes negotiate and remember, or do not: timestamps, SYN cookies, limits per source. */
#include "tcp/bytes.h"
#include "tcp/tcp_internal.h"
#include "tcp_cases.h"
#include "tcp_pair.h"
#include "unit.h"

#define PEER_ISN 0xfffff000u
#define PEER_CLOCK 0xffffff00u // its timestamps wrap, too

static struct pair p;
static struct pair_app server;
static struct pair_side *a;
static uint32_t iss, peer, echo; // echo: B's last timestamp

static struct tcp_limits small_limits(void) {
    struct tcp_limits l;
    tcp_limits_default(&l);
    l.conns_max = l.time_wait_max = 64;
    return l;
}

static void init(const struct tcp_limits *limits) {
    struct tcp_limits l = small_limits();
    pair_init(&p, limits != NULL ? limits : &l, 9);
    a = &p.side[0];
    a->by_hand = true;
    tcp_stack_pin_neighbour(p.side[1].stack, 0, PAIR_A, pair_mac[0]);
    pair_app_init(&server, 22, 11);
    p.side[1].accept_app = &server;
}

static void give(const struct hand_tcp *t) {
    uint8_t frame[TCP_FRAME_MAX_BYTES + 100];
    a->seen_count = 0;
    hand_give(&p, 1, frame, hand_tcp_frame(frame, t));
    pair_run_for(&p, 600);
}

/* The options of a SYN: MSS 1460, SACK, timestamps, scale 7. */
static void syn_from(uint16_t port, uint32_t clock) {
    uint8_t options[20] = {2, 4, 0x05, 0xb4, 4, 2, 8, 10, 0, 0, 0, 0, 0, 0, 0, 0, 1, 3, 3, 7};
    store_be32(options + 8, clock);
    give(&(struct hand_tcp){.src_port = port,
                            .dst_port = PAIR_PORT,
                            .seq = PEER_ISN,
                            .flags = TCP_SYN,
                            .window = 60000,
                            .options = options,
                            .option_bytes = 20});
}

static void plain_syn(uint16_t port) {
    give(&(struct hand_tcp){.src_port = port,
                            .dst_port = PAIR_PORT,
                            .seq = PEER_ISN,
                            .flags = TCP_SYN,
                            .window = 60000});
}

static void give_at(uint16_t port, uint8_t flags, uint32_t seq, uint32_t ack, uint32_t clock,
                    const void *data, size_t len) {
    uint8_t options[12] = {1, 1, 8, 10};
    store_be32(options + 4, clock);
    store_be32(options + 8, echo);
    give(&(struct hand_tcp){.src_port = port,
                            .dst_port = PAIR_PORT,
                            .seq = seq,
                            .ack = ack,
                            .flags = flags,
                            .window = 600,
                            .options = options,
                            .option_bytes = 12,
                            .payload = data,
                            .payload_bytes = len});
}

static uint64_t counter(enum tcp_counter id) {
    return pair_counter(&p, 1, id);
}

static const struct pair_frame *only(void) {
    CU_ASSERT_EQUAL_FATAL(a->seen_count, 1);
    return &a->seen[0];
}

static void establish(void) {
    init(NULL);
    syn_from(7000, PEER_CLOCK);
    iss = seen_u32(only(), 38);
    echo = seen_u32(only(), 66);
    peer = PEER_ISN + 1;
    give_at(7000, TCP_ACK, peer, iss + 1, PEER_CLOCK + 1, NULL, 0);
    CU_ASSERT_PTR_NOT_NULL_FATAL(server.c);
}

void test_timestamp_bytes(void) {
    init(NULL);
    syn_from(7000, 0x12345678);
    const struct pair_frame *f = only();
    static const uint8_t head[] = {2, 4, 0x05, 0xb4, 1, 1, 4, 2, 1, 1, 8, 10};
    CU_ASSERT_EQUAL(f->data[46] >> 4, 11); // 24 bytes of options
    CU_ASSERT_EQUAL(memcmp(f->data + 54, head, sizeof head), 0);
    CU_ASSERT_EQUAL(seen_u32(f, 70), 0x12345678);
    iss = seen_u32(f, 38);
    uint32_t clock = seen_u32(f, 66);
    echo = clock;
    server.to_send = 20000;
    give_at(7000, TCP_ACK, PEER_ISN + 1, iss + 1, 0x12345679, NULL, 0);
    CU_ASSERT(a->seen_count >= 2);
    f = &a->seen[0];
    CU_ASSERT_EQUAL(f->len, TCP_FRAME_MAX_BYTES); // 1,448 bytes and the option
    CU_ASSERT_EQUAL(f->data[46] >> 4, 8);
    CU_ASSERT_EQUAL(seen_u32(f, 54), 0x0101080a);
    CU_ASSERT(seen_u32(f, 58) - clock <= 2); // milliseconds
    CU_ASSERT_EQUAL(seen_u32(f, 62), 0x12345679);
    CU_ASSERT_EQUAL(f->data[66], pair_byte(22, 0));
    // A gap: the blocks stand beside the timestamps.
    server.to_send = 0;
    give_at(7000, TCP_ACK, PEER_ISN + 101, iss + 1, 0x1234567a, "x", 1);
    f = &a->seen[a->seen_count - 1];
    CU_ASSERT_EQUAL(f->data[46] >> 4, 11);
    CU_ASSERT_EQUAL(seen_u32(f, 62), 0x12345679); // not that of the segment beyond the gap (4.3)
    CU_ASSERT_EQUAL(seen_u32(f, 66), 0x0101050a);
    CU_ASSERT_EQUAL(seen_u32(f, 70), PEER_ISN + 101);
    CU_ASSERT_EQUAL(seen_u32(f, 74), PEER_ISN + 102);
    pair_free(&p);
    // Who does not ask gets none; and a limit turns it off.
    init(NULL);
    plain_syn(7000);
    CU_ASSERT_EQUAL(only()->data[46] >> 4, 6);
    pair_free(&p);
    struct tcp_limits l = small_limits();
    l.timestamps = false;
    init(&l);
    syn_from(7000, 1);
    CU_ASSERT_EQUAL(only()->data[46] >> 4, 8); // 12 bytes: MSS, SACK, scale
    pair_free(&p);
}

void test_timestamp_offset(void) {
    uint32_t clocks[8];
    init(NULL);
    for (uint16_t i = 0; i < 8; i++) {
        syn_from((uint16_t)(100 + i), 1);
        clocks[i] = seen_u32(only(), 66);
        for (uint16_t k = 0; k < i; k++)
            CU_ASSERT(clocks[i] - clocks[k] + 1000 > 2000); // not the same clock
    }
    syn_from(100, 1); // the same connection: the same clock
    CU_ASSERT(seen_u32(only(), 66) - clocks[0] < 20);
    pair_free(&p);
}

void test_paws(void) {
    establish();
    uint8_t byte[3] = {pair_byte(11, 0), pair_byte(11, 1), pair_byte(11, 2)};
    give_at(7000, TCP_ACK, peer, iss + 1, PEER_CLOCK + 300, byte, 1); // beyond the wrap
    CU_ASSERT_EQUAL(server.received, 1);
    CU_ASSERT_EQUAL(server.c->ts_recent, 300 - 256);
    give_at(7000, TCP_ACK, peer + 1, iss + 1, PEER_CLOCK + 299, byte + 1, 1); // older
    CU_ASSERT_EQUAL(server.received, 1);
    CU_ASSERT_EQUAL(counter(TCP_DROP_TCP_TIMESTAMP), 1);
    CU_ASSERT_EQUAL(seen_u32(only(), 42), peer + 1);                          // answered
    give_at(7000, TCP_ACK, peer + 1, iss + 1, PEER_CLOCK + 300, byte + 1, 1); // the same is fine
    CU_ASSERT_EQUAL(server.received, 2);
    // Without the option: dropped in silence.
    struct hand_tcp bare = {.src_port = 7000,
                            .dst_port = PAIR_PORT,
                            .seq = peer + 2,
                            .ack = iss + 1,
                            .flags = TCP_ACK,
                            .window = 600,
                            .payload = byte + 2,
                            .payload_bytes = 1};
    give(&bare);
    CU_ASSERT_EQUAL(a->seen_count, 0);
    CU_ASSERT_EQUAL(server.received, 2);
    CU_ASSERT_EQUAL(counter(TCP_DROP_TCP_TIMESTAMP), 2);
    // Empty old segments are answered within the limit only.
    unsigned int answers = 0;
    for (unsigned int i = 0; i < 30; i++) {
        give_at(7000, TCP_ACK, peer + 2, iss + 1, PEER_CLOCK, NULL, 0);
        answers += a->seen_count;
    }
    CU_ASSERT(answers >= 5 && answers <= 11);
    // After 24 days of silence the clock may show anything.
    pair_run_for(&p, UINT64_C(26) * 86400 * 1000000);
    give_at(7000, TCP_ACK, peer + 2, iss + 1, PEER_CLOCK - 5000, byte + 2, 1);
    CU_ASSERT_EQUAL(server.received, 3);
    // A reset needs no timestamp.
    bare.flags = TCP_RST;
    bare.seq = peer + 3;
    bare.payload_bytes = 0;
    give(&bare);
    CU_ASSERT_EQUAL(server.why, TCP_CLOSED_RESET);
    pair_free(&p);
}

void test_timestamp_rtt(void) {
    establish();
    server.to_send = 100;
    pair_app_pump(&server);
    a->seen_count = 0;
    while (counter(TCP_RTO_EXPIRED) == 0)
        pair_run_for(&p, 10000);
    pair_run_for(&p, 50000);
    CU_ASSERT(server.c->backoff > 0);
    uint32_t before = server.c->srtt_us8;
    echo = seen_u32(&a->seen[a->seen_count - 1], 58); // of the repetition
    give_at(7000, TCP_ACK, peer, iss + 101, PEER_CLOCK + 2, NULL, 0);
    // 50 to 62 ms, not the time since the first transmission; and no back-off any more (Karn).
    CU_ASSERT_EQUAL(server.c->backoff, 0);
    uint32_t change = server.c->srtt_us8 - (before - before / 8);
    CU_ASSERT(change >= 48000 && change <= 64000);
    pair_free(&p);
    // Without an echo that our clock has shown: Karn.
    establish();
    server.to_send = 100;
    pair_app_pump(&server);
    while (counter(TCP_RTO_EXPIRED) == 0)
        pair_run_for(&p, 10000);
    echo += 0x40000000;
    give_at(7000, TCP_ACK, peer, iss + 101, PEER_CLOCK + 2, NULL, 0);
    CU_ASSERT(server.c->backoff > 0);
    CU_ASSERT_EQUAL(server.sent_events, 1);
    pair_free(&p);
}

void test_timestamp_time_wait(void) {
    establish();
    tcp_close(server.c, false);
    tcp_stack_flush(p.side[1].stack, p.now_us);
    give_at(7000, TCP_ACK | TCP_FIN, peer, iss + 2, PEER_CLOCK + 5, NULL, 0);
    CU_ASSERT_EQUAL_FATAL(tcp_stack_time_waits(p.side[1].stack), 1);
    give_at(7000, TCP_ACK | TCP_FIN, peer, iss + 2, PEER_CLOCK + 6, NULL, 0);
    CU_ASSERT_EQUAL(seen_u32(only(), 54), 0x0101080a); // its answer passes the peer's PAWS
    CU_ASSERT_EQUAL(seen_u32(only(), 62), PEER_CLOCK + 5);
    // RFC 6191: an older clock does not open, a later one does, whatever the sequence number.
    pair_app_init(&server, 22, 11);
    syn_from(7000, PEER_CLOCK + 4);
    CU_ASSERT_EQUAL(only()->data[47], TCP_ACK);
    syn_from(7000, PEER_CLOCK + 100);
    CU_ASSERT_EQUAL(only()->data[47], TCP_SYN | TCP_ACK);
    CU_ASSERT_EQUAL(tcp_stack_time_waits(p.side[1].stack), 0);
    pair_free(&p);
}
