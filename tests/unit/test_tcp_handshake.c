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

/* B's half-open places are taken; the SYN-ACKs that follow are cookies. */
static void flood(void) {
    struct tcp_limits l = small_limits();
    l.half_open_max = 2;
    init(&l);
    plain_syn(1);
    plain_syn(2);
    CU_ASSERT_EQUAL(tcp_stack_conns(p.side[1].stack), 2);
}

void test_cookies(void) {
    flood();
    for (uint16_t port = 100; port < 1100; port++)
        plain_syn(port);
    CU_ASSERT_EQUAL(counter(TCP_SYN_COOKIES_SENT), 1000);
    CU_ASSERT_EQUAL(tcp_stack_conns(p.side[1].stack), 2); // no state
    CU_ASSERT_EQUAL(tcp_stack_next_deadline(p.side[1].stack) == UINT64_MAX, false);
    syn_from(7000, PEER_CLOCK);
    const struct pair_frame *f = only();
    CU_ASSERT_EQUAL(f->data[47], TCP_SYN | TCP_ACK);
    CU_ASSERT_EQUAL(seen_u32(f, 42), PEER_ISN + 1);
    CU_ASSERT_EQUAL(seen_u32(f, 70), PEER_CLOCK);
    iss = seen_u32(f, 38);
    echo = seen_u32(f, 66);
    CU_ASSERT_EQUAL(iss & 7, 7);        // an MSS of 1460
    CU_ASSERT_EQUAL(echo & 31, 16 + 7); // SACK, and a scale of 7
    // The acknowledgement, with data, opens the connection with all of it.
    uint8_t byte = pair_byte(11, 0);
    server.to_send = 20000;
    give_at(7000, TCP_ACK, PEER_ISN + 1, iss + 1, PEER_CLOCK + 1, &byte, 1);
    CU_ASSERT_PTR_NOT_NULL_FATAL(server.c);
    CU_ASSERT_EQUAL(server.received, 1);
    CU_ASSERT_EQUAL(server.c->mss, 1448);
    CU_ASSERT_EQUAL(server.c->snd_scale, 7);
    CU_ASSERT_EQUAL(server.c->snd_wnd, 600 << 7);
    CU_ASSERT_EQUAL(server.c->flags & (CONN_SACK | CONN_TIMESTAMPS | CONN_SCALES),
                    CONN_SACK | CONN_TIMESTAMPS | CONN_SCALES);
    CU_ASSERT(a->seen_count >= 10);
    CU_ASSERT_EQUAL(seen_u32(&a->seen[0], 38), iss + 1);
    CU_ASSERT(seen_u32(&a->seen[0], 58) - echo < 100); // the clock goes on and never back
    CU_ASSERT_EQUAL(counter(TCP_SYN_COOKIES_ACCEPTED), 1);
    CU_ASSERT_EQUAL(counter(TCP_CONNS_ACCEPTED), 1);
    CU_ASSERT_EQUAL(counter(TCP_DROP_TCP_SYN_LIMIT), 0);
    pair_free(&p);
    // A peer without timestamps gets neither scale nor SACK, but its MSS.
    flood();
    static const uint8_t options[] = {2, 4, 0x05, 0x50, 4, 2, 1, 1, 1, 3, 3, 7}; // 1360
    give(&(struct hand_tcp){.src_port = 7000,
                            .dst_port = PAIR_PORT,
                            .seq = PEER_ISN,
                            .flags = TCP_SYN,
                            .window = 60000,
                            .options = options,
                            .option_bytes = sizeof options});
    CU_ASSERT_EQUAL(only()->data[46] >> 4, 6); // only our MSS
    iss = seen_u32(only(), 38);
    give(&(struct hand_tcp){.src_port = 7000,
                            .dst_port = PAIR_PORT,
                            .seq = PEER_ISN + 1,
                            .ack = iss + 1,
                            .flags = TCP_ACK,
                            .window = 60000});
    CU_ASSERT_PTR_NOT_NULL_FATAL(server.c);
    CU_ASSERT_EQUAL(server.c->mss, 1360);
    CU_ASSERT_EQUAL(server.c->flags & (CONN_SACK | CONN_TIMESTAMPS | CONN_SCALES), 0);
    CU_ASSERT_EQUAL(server.c->snd_wnd, 60000);
    pair_free(&p);
}

static void ack_cookie(uint32_t seq, uint32_t ack) {
    give(&(struct hand_tcp){.src_port = 7000,
                            .dst_port = PAIR_PORT,
                            .seq = seq,
                            .ack = ack,
                            .flags = TCP_ACK,
                            .window = 60000});
}

void test_cookie_forgery(void) {
    flood();
    plain_syn(7000);
    iss = seen_u32(only(), 38);
    uint32_t refused = 0;
    for (uint32_t bit = 0; bit < 32; bit++) { // the hash, the MSS, the peer's number
        ack_cookie(PEER_ISN + 1, (iss ^ 1u << bit) + 1);
        refused += only()->data[47] == TCP_RST;
        ack_cookie((PEER_ISN ^ 1u << bit) + 1, iss + 1);
        refused += only()->data[47] == TCP_RST;
    }
    CU_ASSERT_EQUAL(refused, 64);
    CU_ASSERT_EQUAL(counter(TCP_DROP_TCP_SYN_COOKIE), 64);
    CU_ASSERT_PTR_NULL(server.c);
    pair_run_for(&p, 60000000); // still good after a minute
    ack_cookie(PEER_ISN + 1, iss + 1);
    CU_ASSERT_PTR_NOT_NULL(server.c);
    pair_free(&p);
    flood();
    plain_syn(7000);
    iss = seen_u32(only(), 38);
    pair_run_for(&p, 133500000); // but not after two epochs
    ack_cookie(PEER_ISN + 1, iss + 1);
    CU_ASSERT_EQUAL(only()->data[47], TCP_RST);
    CU_ASSERT_EQUAL(counter(TCP_DROP_TCP_SYN_COOKIE), 1);
    CU_ASSERT_PTR_NULL(server.c);
    pair_run_for(&p, 10000000);
    ack_cookie(PEER_ISN + 1, iss + 1); // nor is it looked at when none was given out of late
    CU_ASSERT_EQUAL(counter(TCP_DROP_TCP_SYN_COOKIE), 1);
    pair_free(&p);
}

void test_source_limit(void) {
    struct pair_app apps[4];
    struct tcp_limits l = small_limits();
    l.conns_per_source_max = 2;
    init(&l);
    for (uint16_t i = 0; i < 3; i++) { // half-open ones do not count: they may be forged
        plain_syn((uint16_t)(100 + i));
        CU_ASSERT_EQUAL(a->seen_count, 1);
        apps[i].established = seen_u32(&a->seen[0], 38);
    }
    for (uint16_t i = 0; i < 3; i++) {
        iss = apps[i].established;
        pair_app_init(&apps[i], 1, 1);
        p.side[1].accept_app = &apps[i];
        give(&(struct hand_tcp){.src_port = (uint16_t)(100 + i),
                                .dst_port = PAIR_PORT,
                                .seq = PEER_ISN + 1,
                                .ack = iss + 1,
                                .flags = TCP_ACK,
                                .window = 60000});
        CU_ASSERT_EQUAL(apps[i].c != NULL, i < 2);
    }
    CU_ASSERT_EQUAL(only()->data[47], TCP_RST | TCP_ACK); // the third was too many
    plain_syn(200);
    CU_ASSERT_EQUAL(a->seen_count, 0);
    CU_ASSERT_EQUAL(counter(TCP_DROP_TCP_SOURCE_LIMIT), 2);
    CU_ASSERT_EQUAL(tcp_stack_conns(p.side[1].stack), 2);
    tcp_abort(apps[0].c);
    pair_run_for(&p, 600);
    plain_syn(201); // a place is free again
    CU_ASSERT_EQUAL(only()->data[47], TCP_SYN | TCP_ACK);
    pair_free(&p);
}

void test_source_table(void) {
    enum { ADDRS = 40, CONNS = 64 };
    struct tcp_limits l = small_limits();
    struct tcp_conn conns[CONNS] = {0};
    uint32_t counts[ADDRS] = {0};
    l.conns_per_source_max = 3;
    init(&l);
    for (unsigned int round = 0; round < 20000; round++) {
        struct tcp_conn *c = &conns[pair_random(&p) % CONNS];
        if ((c->flags & CONN_SOURCE_COUNTED) != 0) {
            source_remove(c);
            counts[c->remote_addr]--;
        } else {
            c->stack = p.side[1].stack;
            c->remote_addr = (uint32_t)(pair_random(&p) % ADDRS);
            bool room = source_has_room(c->stack, c->remote_addr);
            CU_ASSERT_EQUAL(room, counts[c->remote_addr] < 3);
            if (room) {
                source_add(c);
                counts[c->remote_addr]++;
            }
        }
    }
    for (unsigned int i = 0; i < CONNS; i++)
        source_remove(&conns[i]);
    for (uint32_t i = 0; i <= p.side[1].stack->source_mask; i++)
        CU_ASSERT_EQUAL(p.side[1].stack->sources[i].count, 0);
    pair_free(&p);
}
