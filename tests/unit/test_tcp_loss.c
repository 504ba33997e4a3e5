/* SPDX-License-Identifier: BSD-3-Clause */
/* SACK, RACK-TLP and proportional rate reduction against a peer made by hand, and between two
 * instances. */
#include "tcp/bytes.h"
#include "tcp/tcp_internal.h"
#include "tcp_cases.h"
#include "tcp_pair.h"
#include "unit.h"

#define PEER_PORT 7000u
#define PEER_ISN 0xfffff000u
#define MSS 1000u

static struct pair p;
static struct pair_app server;
static struct pair_side *a;
static uint32_t iss, peer;
static enum tcp_congestion congestion = TCP_CONGESTION_NEWRENO;

static const struct pair_frame *seen(uint32_t i) {
    CU_ASSERT_FATAL(i < a->seen_count);
    return &a->seen[i];
}
static size_t option_bytes_of(const struct pair_frame *f) {
    return (size_t)(f->data[46] >> 4) * 4 - 20;
}
/* Offset of a data segment in B's stream. */
static uint32_t offset_of(uint32_t i) {
    return seen_u32(seen(i), 38) - iss - 1;
}

static void give_options(uint8_t flags, uint32_t seq, uint32_t ack, const void *payload, size_t len,
                         const uint8_t *options, size_t option_bytes) {
    uint8_t frame[TCP_FRAME_MAX_BYTES + 100];
    struct hand_tcp t = {.src_port = PEER_PORT,
                         .dst_port = PAIR_PORT,
                         .seq = seq,
                         .ack = ack,
                         .flags = flags,
                         .window = 60000,
                         .options = options,
                         .option_bytes = option_bytes,
                         .payload = payload,
                         .payload_bytes = len};
    a->seen_count = 0;
    hand_give(&p, 1, frame, hand_tcp_frame(frame, &t));
    pair_run_for(&p, 600);
}

/* An acknowledgement up to an offset in B's stream, with blocks [from, to) of offsets. */
static void give_sack(uint32_t acked, const uint32_t (*blocks)[2], size_t count) {
    uint8_t options[40] = {1, 1, 5, (uint8_t)(2 + 8 * count)};
    for (size_t i = 0; i < count; i++) {
        store_be32(options + 4 + 8 * i, iss + 1 + blocks[i][0]);
        store_be32(options + 8 + 8 * i, iss + 1 + blocks[i][1]);
    }
    give_options(TCP_ACK, peer, iss + 1 + acked, NULL, 0, options, count == 0 ? 0 : 4 + 8 * count);
}

static void give_data(uint32_t offset, size_t len) {
    uint8_t data[1460];
    for (size_t i = 0; i < len; i++)
        data[i] = pair_byte(11, offset + i);
    give_options(TCP_ACK, peer + offset, iss + 1, data, len, NULL, 0);
}

static uint64_t counter(enum tcp_counter id) {
    return pair_counter(&p, 1, id);
}

static void establish(bool sack) {
    static const uint8_t options[] = {2, 4, MSS >> 8, MSS & 255, 1, 1, 4, 2};
    struct tcp_limits l;
    tcp_limits_default(&l);
    l.conns_max = l.time_wait_max = 16;
    l.congestion_accepted = congestion;
    pair_init(&p, &l, 9);
    a = &p.side[0];
    a->by_hand = true;
    tcp_stack_pin_neighbour(p.side[1].stack, 0, PAIR_A, pair_mac[0]);
    pair_app_init(&server, 22, 11);
    p.side[1].accept_app = &server;
    give_options(TCP_SYN, PEER_ISN, 0, NULL, 0, options, sack ? 8 : 4);
    iss = seen_u32(seen(0), 38);
    peer = PEER_ISN + 1;
}

static void accept_it(void) {
    pair_run_for(&p, 19400); // a round trip of 20 ms
    give_options(TCP_ACK, peer, iss + 1, NULL, 0, NULL, 0);
    CU_ASSERT_PTR_NOT_NULL_FATAL(server.c);
}

/* B sends so many segments, all of the initial window at once. */
static void send_segments(uint32_t count, uint32_t expected) {
    server.to_send = count * MSS;
    pair_app_pump(&server);
    a->seen_count = 0;
    tcp_stack_flush(p.side[1].stack, p.now_us);
    pair_run_for(&p, 600);
    CU_ASSERT_EQUAL_FATAL(a->seen_count, expected);
}

void test_sack_negotiation(void) {
    static const uint8_t with[] = {2, 4, 0x05, 0xb4, 1, 1, 4, 2};
    establish(true);
    CU_ASSERT_EQUAL(option_bytes_of(seen(0)), 8);
    CU_ASSERT_EQUAL(memcmp(seen(0)->data + 54, with, 8), 0);
    pair_free(&p);
    establish(false);
    CU_ASSERT_EQUAL(option_bytes_of(seen(0)), 4);
    accept_it();
    give_data(100, 100); // without permission there are no blocks
    CU_ASSERT_EQUAL(option_bytes_of(seen(0)), 0);
    pair_free(&p);
}

/* The only segment seen acknowledges ack (offset) with these blocks (offsets). */
static void expect_blocks(uint32_t ack, const uint32_t (*blocks)[2], size_t count) {
    CU_ASSERT_EQUAL_FATAL(a->seen_count, 1);
    const struct pair_frame *f = seen(0);
    CU_ASSERT_EQUAL(seen_u32(f, 42), peer + ack);
    CU_ASSERT_EQUAL_FATAL(option_bytes_of(f), count == 0 ? 0 : 4 + 8 * count);
    for (size_t i = 0; i < count; i++) {
        CU_ASSERT_EQUAL(f->data[57], 2 + 8 * count);
        CU_ASSERT_EQUAL(seen_u32(f, 58 + 8 * i), peer + blocks[i][0]);
        CU_ASSERT_EQUAL(seen_u32(f, 62 + 8 * i), peer + blocks[i][1]);
    }
}

void test_sack_blocks(void) {
    establish(true);
    accept_it();
    give_data(100, 100);
    expect_blocks(0, (const uint32_t[][2]){{100, 200}}, 1);
    give_data(300, 100); // the latest first
    expect_blocks(0, (const uint32_t[][2]){{300, 400}, {100, 200}}, 2);
    give_data(200, 50); // grows the older island
    expect_blocks(0, (const uint32_t[][2]){{100, 250}, {300, 400}}, 2);
    give_data(500, 10);
    give_data(600, 10);
    give_data(700, 10); // four fit, the fifth is left out
    CU_ASSERT_EQUAL(option_bytes_of(seen(0)), 36);
    CU_ASSERT_EQUAL(seen_u32(seen(0), 58), peer + 700);
    give_data(320, 20); // a duplicate in an island: RFC 2883 4.2
    CU_ASSERT_EQUAL(seen_u32(seen(0), 58), peer + 320);
    CU_ASSERT_EQUAL(seen_u32(seen(0), 62), peer + 340);
    CU_ASSERT_EQUAL(seen_u32(seen(0), 66), peer + 300);
    CU_ASSERT_EQUAL(seen_u32(seen(0), 70), peer + 400);
    give_data(0, 710);
    expect_blocks(710, (const uint32_t[][2]){{100, 250}}, 1); // what it repeated
    give_data(50, 60);                                        // below the acknowledgement: 4.1
    expect_blocks(710, (const uint32_t[][2]){{50, 110}}, 1);
    pair_run_for(&p, 50000);
    give_data(900, 10); // told once only
    expect_blocks(710, (const uint32_t[][2]){{900, 910}}, 1);
    CU_ASSERT_EQUAL(server.wrong, 0);
    pair_free(&p);
}

void test_sack_holes(void) {
    establish(true);
    accept_it();
    send_segments(30, 10);
    // 1 and 4 are lost. Two blocks of one segment: new data instead (limited transmit).
    give_sack(0, (const uint32_t[][2]){{1000, 2000}}, 1);
    CU_ASSERT_EQUAL(a->seen_count, 1);
    CU_ASSERT_EQUAL(offset_of(0), 10000);
    give_sack(0, (const uint32_t[][2]){{1000, 3000}}, 1);
    CU_ASSERT_EQUAL(a->seen_count, 1);
    CU_ASSERT_EQUAL(offset_of(0), 11000);
    // The third: exactly the first hole.
    give_sack(0, (const uint32_t[][2]){{4000, 5000}, {1000, 3000}}, 2);
    CU_ASSERT_EQUAL(counter(TCP_FAST_RETRANSMITS), 1);
    CU_ASSERT(a->seen_count >= 1);
    CU_ASSERT_EQUAL(offset_of(0), 0);
    uint32_t holes = 1, news = 0;
    for (uint32_t end = 6000; end <= 12000; end += 1000) {
        give_sack(0, (const uint32_t[][2]){{4000, end}, {1000, 3000}}, 2);
        for (uint32_t i = 0; i < a->seen_count; i++) {
            holes += offset_of(i) == 3000;
            news += offset_of(i) >= 12000;
            CU_ASSERT(offset_of(i) == 3000 || offset_of(i) >= 12000);
        }
    }
    CU_ASSERT_EQUAL(holes, 2); // each hole once
    // Proportional: of 12 in flight half may be out again; two of them are the holes.
    CU_ASSERT(news >= 2 && news <= 4);
    give_sack(12000, NULL, 0);
    CU_ASSERT_EQUAL(counter(TCP_RETRANSMITS), 2);
    CU_ASSERT_EQUAL(counter(TCP_FAST_RETRANSMITS), 1);
    CU_ASSERT_EQUAL(counter(TCP_RTO_EXPIRED), 0);
    CU_ASSERT_PTR_NULL(server.c->board); // nothing is missing any more
    CU_ASSERT_EQUAL(server.c->cwnd, server.c->ssthresh);
    pair_free(&p);
}

void test_rack_lost_again(void) {
    establish(true);
    accept_it();
    send_segments(30, 10);
    pair_run_for(&p, 19000);
    give_sack(0, (const uint32_t[][2]){{1000, 5000}}, 1);
    CU_ASSERT_EQUAL(offset_of(0), 0);
    uint32_t first_new = 0;
    give_sack(0, (const uint32_t[][2]){{1000, 10000}}, 1);
    for (uint32_t i = 0; i < a->seen_count; i++)
        first_new = offset_of(i) >= 10000 && first_new == 0 ? offset_of(i) : first_new;
    CU_ASSERT_EQUAL_FATAL(first_new, 10000);
    pair_run_for(&p, 20000); // what was sent after the repetition has arrived, the repetition not
    give_sack(0, (const uint32_t[][2]){{1000, 11000}}, 1);
    CU_ASSERT(a->seen_count >= 1);
    CU_ASSERT_EQUAL(offset_of(0), 0);
    CU_ASSERT_EQUAL(counter(TCP_RETRANSMITS), 2);
    CU_ASSERT_EQUAL(counter(TCP_RTO_EXPIRED), 0);
    CU_ASSERT_EQUAL(counter(TCP_FAST_RETRANSMITS), 1);
    pair_free(&p);
}

void test_rack_reordering(void) {
    establish(true);
    accept_it();
    send_segments(10, 10);
    pair_run_for(&p, 19000);
    // 2 overtakes 1: no repetition, and from now on a little patience.
    give_sack(0, (const uint32_t[][2]){{1000, 2000}}, 1);
    give_sack(2000, NULL, 0);
    CU_ASSERT_EQUAL(server.c->flags & CONN_REORDERED, CONN_REORDERED);
    CU_ASSERT_EQUAL(counter(TCP_RETRANSMITS), 0);
    give_sack(2000, (const uint32_t[][2]){{3000, 9000}}, 1); // six beyond the gap
    CU_ASSERT_EQUAL(counter(TCP_RETRANSMITS), 0);
    pair_run_for(&p, 7000); // a quarter of the round trip, and a tick
    CU_ASSERT_EQUAL(counter(TCP_RETRANSMITS), 1);
    CU_ASSERT_EQUAL(offset_of(a->seen_count - 1), 2000);
    // A repetition that was not needed lengthens the patience.
    give_sack(10000, (const uint32_t[][2]){{2000, 3000}}, 1);
    CU_ASSERT_EQUAL(counter(TCP_DUPLICATE_SACKS), 1);
    CU_ASSERT_EQUAL(server.c->reorder_scale, 2);
    CU_ASSERT_PTR_NULL(server.c->board);
    pair_free(&p);
}

void test_sack_timeout(void) {
    establish(true);
    accept_it();
    send_segments(10, 10);
    give_sack(0, (const uint32_t[][2]){{4000, 5000}}, 1);
    CU_ASSERT_EQUAL(counter(TCP_RETRANSMITS), 0);
    while (counter(TCP_RTO_EXPIRED) == 0)
        pair_run_for(&p, 10000);
    pair_run_for(&p, 1000);
    // Acknowledge what is repeated, one by one: the sacked one is never repeated.
    uint32_t repeated[10] = {0}, acked = 0;
    for (unsigned int i = 0; i < 20 && acked < 10000; i++) {
        for (uint32_t k = 0; k < a->seen_count; k++)
            if (offset_of(k) < 10000)
                repeated[offset_of(k) / 1000]++;
        acked = acked == 3000 ? 5000 : acked + 1000;
        give_sack(acked, NULL, 0);
    }
    for (uint32_t k = 0; k < a->seen_count; k++)
        repeated[offset_of(k) / 1000]++;
    CU_ASSERT_EQUAL(repeated[4], 0);
    CU_ASSERT(repeated[0] >= 1);
    CU_ASSERT_EQUAL(repeated[9], 1);
    CU_ASSERT_EQUAL(server.sent_events, 1);
    CU_ASSERT_PTR_NULL(server.c->board);
    pair_free(&p);
    // A peer that throws away what it has reported (RFC 2018 8).
    establish(true);
    accept_it();
    send_segments(4, 4);
    give_sack(0, (const uint32_t[][2]){{1000, 3000}}, 1);
    give_sack(1000, NULL, 0); // so it does not have 1000 to 3000 after all
    while (counter(TCP_RTO_EXPIRED) == 0)
        pair_run_for(&p, 10000);
    give_sack(2000, NULL, 0);
    give_sack(3000, NULL, 0);
    give_sack(4000, NULL, 0);
    CU_ASSERT_EQUAL(server.sent_events, 1);
    pair_free(&p);
}

void test_sack_nonsense(void) {
    establish(true);
    accept_it();
    send_segments(10, 10);
    give_sack(1000, (const uint32_t[][2]){{5000, 4000}}, 1); // backwards
    give_sack(1000, (const uint32_t[][2]){{9000, 20000}}, 1);
    give_sack(1000, (const uint32_t[][2]){{0x80000000, 0x80000010}}, 1);
    CU_ASSERT_PTR_NULL(server.c->board);
    CU_ASSERT_EQUAL(counter(TCP_RETRANSMITS), 0);
    // With a scoreboard they are counted.
    give_sack(1000, (const uint32_t[][2]){{3000, 4000}, {9000, 20000}}, 2);
    CU_ASSERT_PTR_NOT_NULL(server.c->board);
    CU_ASSERT_EQUAL(counter(TCP_DROP_TCP_SACK), 1);
    // As many islands as there are odd bytes: bounded, counted, and it still ends.
    for (uint32_t i = 0; i < 1000; i++) {
        uint32_t at = 1001 + i * 4;
        give_sack(1000, (const uint32_t[][2]){{at, at + 1}, {at + 2, at + 3}}, 2);
    }
    CU_ASSERT(counter(TCP_DROP_TCP_SACK) > 1);
    CU_ASSERT_PTR_NOT_NULL_FATAL(server.c->board);
    CU_ASSERT(board_of(server.c)->count <= BOARD_RANGES_MAX);
    pair_run_for(&p, 3000000);
    give_sack(10000, NULL, 0);
    CU_ASSERT_EQUAL(server.sent_events, 1);
    CU_ASSERT_PTR_NULL(server.c->board);
    pair_free(&p);
}

void test_tail_loss_probe(void) {
    establish(true);
    accept_it();
    send_segments(3, 3); // and the last two are lost
    give_sack(1000, NULL, 0);
    a->seen_count = 0;
    pair_run_for(&p, 60000);
    CU_ASSERT_EQUAL(counter(TCP_TAIL_LOSS_PROBES), 1);
    CU_ASSERT_EQUAL(counter(TCP_RTO_EXPIRED), 0);
    CU_ASSERT_EQUAL(offset_of(0), 2000); // the last one again
    give_sack(1000, (const uint32_t[][2]){{2000, 3000}}, 1);
    pair_run_for(&p, 30000);
    CU_ASSERT_EQUAL(counter(TCP_RTO_EXPIRED), 0);
    CU_ASSERT_EQUAL(offset_of(a->seen_count - 1), 1000);
    give_sack(3000, NULL, 0);
    CU_ASSERT_EQUAL(server.sent_events, 1);
    pair_free(&p);
    // The probe repairs the only loss: the window pays for it all the same.
    establish(true);
    accept_it();
    send_segments(10, 10);
    give_sack(9000, NULL, 0);
    uint32_t window = server.c->cwnd;
    send_segments(1, 1);
    pair_run_for(&p, 60000);
    CU_ASSERT_EQUAL(counter(TCP_TAIL_LOSS_PROBES), 1);
    give_sack(11000, NULL, 0);
    CU_ASSERT(server.c->cwnd < window);
    pair_free(&p);
}

static bool lose_some(struct pair *pair, struct pair_frame *f) {
    return f->to == 1 && f->len > 1000 && pair_random(pair) % 100 < 5;
}

void test_sack_transfer(void) {
    struct pair_app client;
    uint64_t timeouts = 0, repeats = 0, sent = 0;
    for (uint64_t seed = 1; seed <= 10; seed++) {
        struct tcp_limits l;
        tcp_limits_default(&l);
        l.conns_max = l.time_wait_max = 16;
        pair_init(&p, &l, seed);
        p.delay_us = 5000;
        p.tamper = lose_some;
        pair_app_init(&client, 11, 22);
        pair_app_init(&server, 22, 11);
        client.to_send = 1000000;
        client.close_when_sent = true;
        server.close_on_fin = true;
        p.side[1].accept_app = &server;
        CU_ASSERT_TRUE_FATAL(pair_connect(&p, &client, 40000));
        pair_run_for(&p, 60000000);
        CU_ASSERT_EQUAL(server.hash, pair_hash(11, 1000000));
        CU_ASSERT_EQUAL(client.why, TCP_CLOSED_NORMALLY);
        timeouts += pair_counter(&p, 0, TCP_RTO_EXPIRED);
        repeats += pair_counter(&p, 0, TCP_RETRANSMITS);
        sent += pair_counter(&p, 0, TCP_SEGMENTS_OUT);
        pair_free(&p);
    }
    CU_ASSERT(repeats > 200);            // about 350 of 7,000 segments are lost
    CU_ASSERT(repeats * 100 < sent * 7); // hardly anything is repeated that was not lost
    CU_ASSERT(timeouts <= 10);
}

void test_cube_root(void) {
    for (uint64_t r = 0; r < 2000000; r += 1 + r / 1000) {
        CU_ASSERT_EQUAL(cube_root(r * r * r), r);
        if (r > 0)
            CU_ASSERT_EQUAL(cube_root(r * r * r - 1), r - 1);
    }
}

/* RFC 9438 in floating point: W_cubic in segments at t seconds. */
static double curve(double t, double k, double max) {
    return 0.4 * (t - k) * (t - k) * (t - k) + max;
}

void test_cubic_curve(void) {
    congestion = TCP_CONGESTION_CUBIC;
    establish(true);
    congestion = TCP_CONGESTION_NEWRENO;
    accept_it();
    struct tcp_conn *c = server.c;
    CU_ASSERT_EQUAL(c->flags & CONN_CUBIC, CONN_CUBIC);
    c->ssthresh = 1;
    c->srtt_us8 = 100000 * 8;
    c->cwnd = 200 * MSS;
    CU_ASSERT_EQUAL(cubic_on_loss(c, c->cwnd), 140 * MSS);
    CU_ASSERT_EQUAL(c->cubic.max_window, 200 * MSS);
    c->cwnd = 140 * MSS;
    uint32_t last = c->cwnd;
    double k = 5.313;                                    // cbrt(60 / 0.4)
    for (unsigned int round = 0; round < 100; round++) { // ten seconds of 100 ms each
        for (uint32_t acked = 0, window = c->cwnd; acked < window; acked += MSS)
            congestion_on_ack(c, MSS, c->cwnd);
        double t = (round + 1) * 0.1, want = curve(t, k, 200);
        // Met within 2 %, but for the first second, which begins in the region of 4.3.
        double below = round < 10 ? 0.95 : 0.98;
        CU_ASSERT(c->cwnd >= last);
        CU_ASSERT(c->cwnd > want * MSS * below && c->cwnd < want * MSS * 1.02);
        last = c->cwnd;
        pair_run_for(&p, 100000);
    }
    CU_ASSERT(c->cubic.k_ms > 5303 && c->cubic.k_ms < 5323);
    CU_ASSERT(c->cwnd > 235 * MSS); // well beyond the old maximum
    // A window that is not used does not grow, and its time does not count.
    last = c->cwnd;
    for (unsigned int i = 0; i < 100; i++) {
        congestion_on_ack(c, MSS, 10 * MSS);
        pair_run_for(&p, 100000);
    }
    CU_ASSERT_EQUAL(c->cwnd, last);
    congestion_on_ack(c, MSS, c->cwnd);
    CU_ASSERT(c->cwnd <= last + 2 * MSS);
    // With a short round trip it is as NewReno would be (4.3): 0.53 segments a round.
    c->srtt_us8 = 1000 * 8;
    c->cwnd = 20 * MSS;
    c->cubic = (struct cubic){0};
    cubic_on_loss(c, 20 * MSS);
    c->cwnd = 14 * MSS;
    for (unsigned int round = 0; round < 10; round++) {
        for (uint32_t acked = 0, window = c->cwnd; acked < window; acked += MSS)
            congestion_on_ack(c, MSS, c->cwnd);
        pair_run_for(&p, 1000);
    }
    CU_ASSERT(c->cwnd > 18 * MSS && c->cwnd < 20 * MSS);
    pair_free(&p);
}

void test_cubic_loss(void) {
    congestion = TCP_CONGESTION_CUBIC;
    establish(true);
    congestion = TCP_CONGESTION_NEWRENO;
    accept_it();
    send_segments(30, 10);
    give_sack(0, (const uint32_t[][2]){{1000, 5000}}, 1);
    CU_ASSERT_EQUAL(counter(TCP_FAST_RETRANSMITS), 1);
    CU_ASSERT_EQUAL(server.c->ssthresh, 7 * MSS); // 0.7 of the 10 in flight
    CU_ASSERT_EQUAL(server.c->cubic.max_window, 10 * MSS);
    // Fast convergence: the next loss comes earlier.
    CU_ASSERT_EQUAL(cubic_on_loss(server.c, 8 * MSS), 5600);
    CU_ASSERT_EQUAL(server.c->cubic.max_window, 6800);
    // A time-out forgets the maximum.
    while (counter(TCP_RTO_EXPIRED) == 0)
        pair_run_for(&p, 10000);
    CU_ASSERT_EQUAL(server.c->cubic.max_window, 0);
    CU_ASSERT_EQUAL(server.c->cwnd, MSS);
    pair_free(&p);
}
