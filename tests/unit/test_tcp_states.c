/* SPDX-License-Identifier: BSD-3-Clause */
/* The state machine of one instance (B) against segments made by hand, as if from A. */
#include "tcp/bytes.h"
#include "tcp/tcp_internal.h"
#include "tcp_cases.h"
#include "tcp_pair.h"
#include "unit.h"

#include <stdlib.h>

#define PEER_PORT 7000u
#define PEER_ISN 0xfffffff0u // so that every test crosses the wrap of sequence numbers

static struct pair p;
static struct pair_app server;
static uint32_t iss;  // B's initial sequence number
static uint32_t peer; // A's next sequence number
static struct pair_side *a;

static void hand_init(const struct tcp_limits *limits) {
    pair_init(&p, limits, 9);
    a = &p.side[0];
    a->by_hand = true;
    tcp_stack_pin_neighbour(p.side[1].stack, 0, PAIR_A, pair_mac[0]);
    pair_app_init(&server, 22, 11);
    p.side[1].accept_app = &server;
}

/* Gives B a segment and lets its immediate answers arrive. */
static void give_from(uint16_t port, uint8_t flags, uint32_t seq, uint32_t ack, uint16_t window,
                      const void *payload, size_t len) {
    uint8_t frame[TCP_FRAME_MAX_BYTES + 100];
    struct hand_tcp t = {.src_port = port,
                         .dst_port = PAIR_PORT,
                         .seq = seq,
                         .ack = ack,
                         .flags = flags,
                         .window = window,
                         .payload = payload,
                         .payload_bytes = len};
    a->seen_count = 0;
    hand_give(&p, 1, frame, hand_tcp_frame(frame, &t));
    pair_run_for(&p, 600);
}

static void give(uint8_t flags, uint32_t seq, uint32_t ack, uint16_t window, const void *payload,
                 size_t len) {
    give_from(PEER_PORT, flags, seq, ack, window, payload, len);
}

/* Bytes of the pattern that the server expects, from its offset on. */
static void give_data(uint32_t offset, size_t len, uint8_t flags) {
    uint8_t data[1460];
    for (size_t i = 0; i < len; i++)
        data[i] = pair_byte(11, offset + i);
    give(flags | TCP_ACK, peer + offset, iss + 1, 60000, data, len);
}

static uint8_t flags_of(const struct pair_frame *f) {
    return f->data[47];
}
static uint32_t seq_of(const struct pair_frame *f) {
    return seen_u32(f, 38);
}
static uint32_t ack_of(const struct pair_frame *f) {
    return seen_u32(f, 42);
}
static uint16_t window_of(const struct pair_frame *f) {
    return seen_u16(f, 48);
}
static size_t payload_of(const struct pair_frame *f) {
    return f->len - 34u - (size_t)(f->data[46] >> 4) * 4;
}

/* B answered with exactly one segment: flags, and what it acknowledges. */
static void expect_one(uint8_t flags, uint32_t seq, uint32_t ack) {
    CU_ASSERT_EQUAL_FATAL(a->seen_count, 1);
    CU_ASSERT_EQUAL(flags_of(&a->seen[0]), flags);
    CU_ASSERT_EQUAL(seq_of(&a->seen[0]), seq);
    CU_ASSERT_EQUAL(ack_of(&a->seen[0]), ack);
}

static void expect_silence(void) {
    CU_ASSERT_EQUAL(a->seen_count, 0);
}

static uint64_t counter(enum tcp_counter id) {
    return pair_counter(&p, 1, id);
}

static void establish(const struct tcp_limits *limits) {
    hand_init(limits);
    give(TCP_SYN, PEER_ISN, 0, 60000, NULL, 0);
    CU_ASSERT_EQUAL_FATAL(a->seen_count, 1);
    iss = seq_of(&a->seen[0]);
    peer = PEER_ISN + 1;
    give(TCP_ACK, peer, iss + 1, 60000, NULL, 0);
    CU_ASSERT_PTR_NOT_NULL_FATAL(server.c);
    expect_silence();
}

static struct tcp_limits small_limits(void) {
    struct tcp_limits l;
    tcp_limits_default(&l);
    l.conns_max = 64;
    l.time_wait_max = 8;
    return l;
}

void test_handshake_bytes(void) {
    uint8_t frame[200];
    static const uint8_t options[] = {2, 4, 0x05, 0x00, 1, 3, 3, 5}; // MSS 1280, scale 5
    struct hand_tcp t = {.src_port = PEER_PORT,
                         .dst_port = PAIR_PORT,
                         .seq = 77,
                         .flags = TCP_SYN,
                         .window = 1000,
                         .options = options,
                         .option_bytes = sizeof options};
    hand_init(NULL);
    hand_give(&p, 1, frame, hand_tcp_frame(frame, &t));
    pair_run_for(&p, 600);
    CU_ASSERT_EQUAL_FATAL(a->seen_count, 1);
    struct pair_frame *f = &a->seen[0];
    CU_ASSERT_EQUAL(f->len, 14 + 20 + 28);
    CU_ASSERT_EQUAL(memcmp(f->data, pair_mac[0], 6), 0);
    CU_ASSERT_EQUAL(memcmp(f->data + 6, pair_mac[1], 6), 0);
    CU_ASSERT_EQUAL(seen_u16(f, 12), 0x0800);
    CU_ASSERT_EQUAL(f->data[14], 0x45);
    CU_ASSERT_EQUAL(seen_u16(f, 16), 48);
    CU_ASSERT_EQUAL(f->data[23], 6);
    CU_ASSERT_EQUAL(seen_u32(f, 26), PAIR_B);
    CU_ASSERT_EQUAL(seen_u32(f, 30), PAIR_A);
    CU_ASSERT_EQUAL(seen_u16(f, 34), PAIR_PORT);
    CU_ASSERT_EQUAL(seen_u16(f, 36), PEER_PORT);
    CU_ASSERT_EQUAL(ack_of(f), 78);
    CU_ASSERT_EQUAL(f->data[46], 7 << 4);
    CU_ASSERT_EQUAL(flags_of(f), TCP_SYN | TCP_ACK);
    CU_ASSERT_EQUAL(window_of(f), 65535); // 256 KiB are more than an unscaled window says
    static const uint8_t own[] = {2, 4, 0x05, 0xb4, 1, 3, 3, 3};
    CU_ASSERT_EQUAL(memcmp(f->data + 54, own, sizeof own), 0);
    uint8_t checked[200];
    memcpy(checked, f->data, f->len);
    hand_fix_checksums(checked, f->len); // the plain sums agree with those sent
    CU_ASSERT_EQUAL(memcmp(checked, f->data, f->len), 0);
    // The peer's window is scaled, its MSS kept.
    iss = seq_of(f);
    server.to_send = 50000;
    give(TCP_ACK, 78, iss + 1, 100, NULL, 0); // 3,200 bytes
    CU_ASSERT_EQUAL(a->seen_count, 2);
    CU_ASSERT_EQUAL(payload_of(&a->seen[0]), 1280);
    CU_ASSERT_EQUAL(payload_of(&a->seen[1]), 1280);
    CU_ASSERT_EQUAL(window_of(&a->seen[0]), (262144 >> 3)); // ours, scaled
    pair_free(&p);
    // Without the options: MSS 536, no scaling on either side.
    hand_init(NULL);
    give(TCP_SYN, 5, 0, 2000, NULL, 0);
    CU_ASSERT_EQUAL_FATAL(a->seen_count, 1);
    CU_ASSERT_EQUAL(a->seen[0].len, 14 + 20 + 24);
    iss = seq_of(&a->seen[0]);
    server.to_send = 50000;
    give(TCP_ACK, 6, iss + 1, 2000, NULL, 0);
    CU_ASSERT_EQUAL(a->seen_count, 3);
    CU_ASSERT_EQUAL(payload_of(&a->seen[2]), 536);
    CU_ASSERT_EQUAL(window_of(&a->seen[0]), 65535);
    pair_free(&p);
}

void test_no_listener(void) {
    uint8_t frame[200];
    struct hand_tcp t = {.src_port = 1, .dst_port = 81, .seq = 100, .flags = TCP_SYN};
    hand_init(NULL);
    hand_give(&p, 1, frame, hand_tcp_frame(frame, &t));
    pair_run_for(&p, 600);
    expect_one(TCP_RST | TCP_ACK, 0, 101);
    a->seen_count = 0;
    t.flags = TCP_ACK;
    t.ack = 4242;
    hand_give(&p, 1, frame, hand_tcp_frame(frame, &t));
    pair_run_for(&p, 600);
    expect_one(TCP_RST, 4242, 0);
    a->seen_count = 0;
    t.flags = TCP_RST;
    hand_give(&p, 1, frame, hand_tcp_frame(frame, &t));
    pair_run_for(&p, 600);
    expect_silence();
    // A listening port: an ACK is reset, a RST ignored, neither makes a connection.
    give(TCP_ACK, 5, 99, 1, NULL, 0);
    expect_one(TCP_RST, 99, 0);
    give(TCP_RST, 5, 99, 1, NULL, 0);
    expect_silence();
    give(TCP_FIN, 5, 99, 1, NULL, 0);
    expect_silence();
    CU_ASSERT_EQUAL(counter(TCP_DROP_TCP_NO_CONN), 6);
    CU_ASSERT_EQUAL(counter(TCP_RESETS_OUT), 3);
    CU_ASSERT_EQUAL(tcp_stack_conns(p.side[1].stack), 0);
    pair_free(&p);
}

void test_refused_accept(void) {
    hand_init(NULL);
    p.side[1].accept_app = NULL;
    give(TCP_SYN, 5, 0, 2000, NULL, 0);
    iss = seq_of(&a->seen[0]);
    give(TCP_ACK, 6, iss + 1, 2000, NULL, 0);
    expect_one(TCP_RST | TCP_ACK, iss + 1, 6);
    CU_ASSERT_EQUAL(tcp_stack_conns(p.side[1].stack), 0);
    pair_free(&p);
}

void test_connect_refused(void) {
    struct pair_app client;
    struct tcp_stack *b;
    hand_init(NULL);
    b = p.side[1].stack;
    pair_app_init(&client, 1, 1);
    client.c = tcp_connect(b, PAIR_B, 4000, PAIR_A, 9000, &pair_handlers, &client, p.now_us);
    pair_run_for(&p, 600);
    CU_ASSERT_EQUAL_FATAL(a->seen_count, 1);
    CU_ASSERT_EQUAL(flags_of(&a->seen[0]), TCP_SYN);
    iss = seq_of(&a->seen[0]);
    uint8_t frame[200];
    struct hand_tcp t = {.src_port = 9000, .dst_port = 4000, .seq = 50, .flags = TCP_RST};
    // A reset that does not acknowledge our SYN is a forgery; so is an impossible ACK.
    hand_give(&p, 1, frame, hand_tcp_frame(frame, &t));
    t.flags = TCP_RST | TCP_ACK;
    t.ack = iss + 2;
    hand_give(&p, 1, frame, hand_tcp_frame(frame, &t));
    CU_ASSERT_EQUAL(client.closed, 0);
    a->seen_count = 0;
    t.flags = TCP_SYN | TCP_ACK;
    hand_give(&p, 1, frame, hand_tcp_frame(frame, &t));
    pair_run_for(&p, 600);
    expect_one(TCP_RST, iss + 2, 0);
    t.flags = TCP_RST | TCP_ACK;
    t.ack = iss + 1;
    hand_give(&p, 1, frame, hand_tcp_frame(frame, &t));
    CU_ASSERT_EQUAL(client.closed, 1);
    CU_ASSERT_EQUAL(client.why, TCP_CLOSED_REFUSED);
    // Nobody answers: 1 SYN and 5 repetitions, then the end.
    a->seen_count = 0;
    pair_app_init(&client, 1, 1);
    client.c = tcp_connect(b, PAIR_B, 4001, PAIR_A, 9000, &pair_handlers, &client, p.now_us);
    pair_run_for(&p, 120000000);
    CU_ASSERT_EQUAL(a->seen_count, 6);
    CU_ASSERT_EQUAL(client.why, TCP_CLOSED_TIMEOUT);
    CU_ASSERT(a->seen[2].at_us - a->seen[1].at_us >= 2000000); // backing off
    CU_ASSERT(a->seen[5].at_us - a->seen[4].at_us >= 16000000);
    // Closing or aborting before anything came back.
    pair_app_init(&client, 1, 1);
    client.c = tcp_connect(b, PAIR_B, 4002, PAIR_A, 9000, &pair_handlers, &client, p.now_us);
    tcp_close(client.c, false);
    CU_ASSERT_EQUAL(client.why, TCP_CLOSED_ABORTED);
    // Arguments that cannot be.
    CU_ASSERT_PTR_NULL(
        tcp_connect(b, PAIR_A, 1, PAIR_A, 2, &pair_handlers, NULL, p.now_us)); // not our address
    CU_ASSERT_PTR_NULL(tcp_connect(b, PAIR_B, 1, 0xffffffff, 2, &pair_handlers, NULL, p.now_us));
    CU_ASSERT_PTR_NULL(tcp_connect(b, PAIR_B, 1, 0x08080808, 2, &pair_handlers, NULL, p.now_us));
    CU_ASSERT_EQUAL(counter(TCP_DROP_NO_ROUTE), 1);
    pair_free(&p);
}

void test_half_open(void) {
    struct tcp_limits l = small_limits();
    l.half_open_max = 10;
    l.syn_cookies = false;
    hand_init(&l);
    for (uint16_t i = 0; i < 15; i++)
        give_from((uint16_t)(1000 + i), TCP_SYN, 1, 0, 1000, NULL, 0);
    CU_ASSERT_EQUAL(counter(TCP_DROP_TCP_SYN_LIMIT), 5);
    CU_ASSERT_EQUAL(tcp_stack_conns(p.side[1].stack), 10);
    // A repeated SYN gets the same SYN-ACK again.
    give_from(1000, TCP_SYN, 1, 0, 1000, NULL, 0);
    CU_ASSERT_EQUAL_FATAL(a->seen_count, 1);
    CU_ASSERT_EQUAL(flags_of(&a->seen[0]), TCP_SYN | TCP_ACK);
    iss = seq_of(&a->seen[0]);
    // A wrong ACK is reset and does not open; a reset frees the place.
    give_from(1000, TCP_ACK, 2, iss + 2, 1000, NULL, 0);
    expect_one(TCP_RST, iss + 2, 0);
    CU_ASSERT_PTR_NULL(server.c);
    give_from(1001, TCP_RST, 2, 0, 1000, NULL, 0);
    CU_ASSERT_EQUAL(tcp_stack_conns(p.side[1].stack), 9);
    give_from(1000, TCP_ACK, 2, iss + 1, 1000, NULL, 0);
    CU_ASSERT_PTR_NOT_NULL(server.c);
    for (uint16_t i = 20; i < 23; i++)
        give_from((uint16_t)(1000 + i), TCP_SYN, 1, 0, 1000, NULL, 0);
    CU_ASSERT_EQUAL(counter(TCP_DROP_TCP_SYN_LIMIT), 6); // two places were free
    pair_run_for(&p, 120000000);
    CU_ASSERT_EQUAL(tcp_stack_conns(p.side[1].stack), 1); // the half-open ones gave up
    CU_ASSERT_EQUAL(server.closed, 0);
    pair_free(&p);
}

static void syn_with(const uint8_t *options, size_t len, uint16_t port) {
    uint8_t frame[200];
    struct hand_tcp t = {.src_port = port,
                         .dst_port = PAIR_PORT,
                         .seq = 1,
                         .flags = TCP_SYN,
                         .window = 1000,
                         .options = options,
                         .option_bytes = len};
    a->seen_count = 0;
    hand_give(&p, 1, frame, hand_tcp_frame(frame, &t));
    pair_run_for(&p, 600);
}

void test_syn_options(void) {
    static const uint8_t zero_len[] = {8, 0, 1, 1}, one_len[] = {8, 1, 1, 1},
                         too_long[] = {1, 1, 2, 4}, cut[] = {1, 1, 1, 2};
    static const uint8_t unknown[] = {254, 4, 1, 2, 1, 1, 1, 0}, end_first[] = {0, 9, 9, 9},
                         tiny_mss[] = {2, 4, 0, 1, 3, 3, 255, 0}, short_mss[] = {2, 3, 9, 0};
    hand_init(NULL);
    syn_with(zero_len, 4, 1);
    expect_silence();
    syn_with(one_len, 4, 2);
    expect_silence();
    syn_with(too_long, 4, 3);
    expect_silence();
    syn_with(cut, 4, 4);
    expect_silence();
    CU_ASSERT_EQUAL(counter(TCP_DROP_TCP_HEADER), 4);
    syn_with(unknown, 8, 5);
    CU_ASSERT_EQUAL(a->seen_count, 1);
    syn_with(end_first, 4, 6);
    CU_ASSERT_EQUAL(a->seen_count, 1);
    syn_with(short_mss, 4, 7); // an MSS option of the wrong length says nothing
    CU_ASSERT_EQUAL(a->seen_count, 1);
    syn_with(tiny_mss, 8, 8);
    CU_ASSERT_EQUAL_FATAL(a->seen_count, 1);
    iss = seq_of(&a->seen[0]);
    server.to_send = 1000;
    give_from(8, TCP_ACK, 2, iss + 1, 1, NULL, 0); // scale 255 counts as 14: 16,384 bytes
    CU_ASSERT(a->seen_count >= 10);                // initial window of ten
    CU_ASSERT_EQUAL(payload_of(&a->seen[0]), 88);
    pair_free(&p);
}

void test_window_cases(void) {
    struct tcp_limits l = small_limits();
    l.recv_window_bytes = 4000;
    establish(&l);
    server.take_at_most = 0;
    // Case 2, no data, open window: inside is silent, outside is answered with an ACK.
    give(TCP_ACK, peer, iss + 1, 60000, NULL, 0);
    expect_silence();
    give(TCP_ACK, peer + 3999, iss + 1, 60000, NULL, 0);
    expect_silence();
    give(TCP_ACK, peer + 4001, iss + 1, 60000, NULL, 0);
    expect_one(TCP_ACK, iss + 1, peer);
    give(TCP_ACK, peer - 1, iss + 1, 60000, NULL, 0); // a keep-alive of the peer
    expect_one(TCP_ACK, iss + 1, peer);
    CU_ASSERT_EQUAL(counter(TCP_DROP_TCP_SEQUENCE), 2);
    // Case 4, data: beyond the window, and wholly old.
    give(TCP_ACK, peer + 4000, iss + 1, 60000, "x", 1);
    expect_one(TCP_ACK, iss + 1, peer);
    CU_ASSERT_EQUAL(counter(TCP_DROP_TCP_WINDOW), 1);
    give(TCP_ACK, peer - 5, iss + 1, 60000, "hello", 5);
    expect_one(TCP_ACK, iss + 1, peer);
    CU_ASSERT_EQUAL(counter(TCP_DROP_TCP_SEQUENCE), 3);
    // Fill the window: nothing is taken by the owner.
    give_data(0, 1460, 0);
    give_data(1460, 1460, 0);
    CU_ASSERT_EQUAL(window_of(&a->seen[0]), 1080);
    give_data(2920, 1460, 0); // its tail is beyond the window
    pair_run_for(&p, 50000);
    CU_ASSERT_EQUAL(ack_of(&a->seen[0]), peer + 4000);
    CU_ASSERT_EQUAL(window_of(&a->seen[0]), 0);
    // Case 3, data and a closed window: not taken, answered; its ACK is heard.
    server.to_send = 10;
    pair_app_pump(&server);
    tcp_stack_flush(p.side[1].stack, p.now_us);
    pair_run_for(&p, 600);
    give(TCP_ACK, peer + 4000, iss + 11, 60000, "x", 1);
    expect_one(TCP_ACK, iss + 11, peer + 4000);
    CU_ASSERT_EQUAL(server.sent_events, 1);
    CU_ASSERT_EQUAL(counter(TCP_DROP_TCP_WINDOW), 2);
    // Case 1, no data and a closed window: only exactly at RCV.NXT.
    give(TCP_ACK, peer + 4000, iss + 11, 60000, NULL, 0);
    expect_silence();
    give(TCP_ACK, peer + 4001, iss + 11, 60000, NULL, 0);
    expect_one(TCP_ACK, iss + 11, peer + 4000);
    give(TCP_RST, peer + 4001, 0, 0, NULL, 0);
    expect_silence();
    CU_ASSERT_EQUAL(server.closed, 0);
    // The owner reads: the window opens with one update.
    server.take_at_most = SIZE_MAX;
    a->seen_count = 0;
    tcp_recv_resume(server.c);
    pair_run_for(&p, 1000);
    expect_one(TCP_ACK, iss + 11, peer + 4000);
    CU_ASSERT_EQUAL(window_of(&a->seen[0]), 4000);
    CU_ASSERT_EQUAL(server.received, 4000);
    CU_ASSERT_EQUAL(server.wrong, 0);
    pair_free(&p);
}

void test_trimming(void) {
    establish(NULL);
    give_data(0, 10, 0);
    give_data(5, 10, 0);    // half old
    give_data(0, 100, 0);   // old begins it
    give_data(50, 30, 0);   // wholly inside of what is known
    give_data(200, 100, 0); // gap 100..200
    expect_one(TCP_ACK, iss + 1, peer + 100);
    give_data(400, 100, 0);
    give_data(250, 200, 0);  // bridges two islands
    give_data(150, 1000, 0); // covers them all, and begins before
    CU_ASSERT_EQUAL(server.received, 100);
    give_data(90, 70, 0);
    CU_ASSERT_EQUAL(server.received, 1150);
    CU_ASSERT_EQUAL(server.wrong, 0);
    CU_ASSERT_EQUAL(ack_of(&a->seen[0]), peer + 1150);
    CU_ASSERT_EQUAL(p.side[1].pool.in_use, 0);
    pair_free(&p);
    // Islands in every order give the same bytes.
    for (unsigned int seed = 1; seed <= 50; seed++) {
        establish(NULL);
        p.random = seed;
        for (unsigned int i = 0; i < 300; i++) {
            uint32_t off = (uint32_t)(pair_random(&p) % 20000);
            give_data(off, 1 + pair_random(&p) % 1400, 0);
        }
        for (uint32_t off = 0; off < 20000; off += 1000)
            give_data(off, 1000, 0);
        CU_ASSERT(server.received >= 20000);
        CU_ASSERT_EQUAL(server.wrong, 0);
        pair_free(&p);
    }
}

void test_reset_rules(void) {
    establish(NULL);
    give(TCP_RST, peer + 1, 0, 0, NULL, 0); // in the window, not exact
    expect_one(TCP_ACK, iss + 1, peer);
    CU_ASSERT_EQUAL(counter(TCP_CHALLENGE_ACKS), 1);
    give(TCP_RST, peer - 1, 0, 0, NULL, 0); // outside
    expect_silence();
    give(TCP_RST, peer + 1000000, 0, 0, NULL, 0);
    expect_silence();
    give(TCP_SYN, peer + 5, 0, 0, NULL, 0); // in the window
    expect_one(TCP_ACK, iss + 1, peer);
    give(TCP_SYN, peer + 1000000, 0, 0, NULL, 0); // and outside
    expect_one(TCP_ACK, iss + 1, peer);
    give(TCP_SYN | TCP_ACK, peer - 1, iss + 1, 0, NULL, 0);
    expect_one(TCP_ACK, iss + 1, peer);
    CU_ASSERT_EQUAL(counter(TCP_CHALLENGE_ACKS), 4);
    give(0, peer, 0, 0, "no ack", 6);
    expect_silence();
    CU_ASSERT_EQUAL(server.closed, 0);
    CU_ASSERT_EQUAL(server.received, 0);
    give(TCP_RST, peer, 0, 0, NULL, 0);
    expect_silence();
    CU_ASSERT_EQUAL(server.closed, 1);
    CU_ASSERT_EQUAL(server.why, TCP_CLOSED_RESET);
    CU_ASSERT_EQUAL(counter(TCP_RESETS_IN), 1);
    pair_free(&p);
    establish(NULL);
    a->seen_count = 0;
    tcp_abort(server.c);
    pair_run_for(&p, 600);
    expect_one(TCP_RST | TCP_ACK, iss + 1, peer);
    CU_ASSERT_EQUAL(server.why, TCP_CLOSED_ABORTED);
    pair_free(&p);
}

void test_challenge_limit(void) {
    establish(NULL);
    unsigned int answered = 0;
    for (unsigned int i = 0; i < 100; i++) {
        give(TCP_SYN, peer + i, 0, 0, NULL, 0);
        answered += a->seen_count;
    }
    CU_ASSERT_EQUAL(answered, 10);
    CU_ASSERT_EQUAL(counter(TCP_CHALLENGE_ACKS), 10);
    pair_run_for(&p, 5000000);
    give(TCP_SYN, peer, 0, 0, NULL, 0);
    expect_one(TCP_ACK, iss + 1, peer);
    pair_free(&p);
}

void test_ack_rules(void) {
    establish(NULL);
    server.to_send = 100;
    pair_app_pump(&server);
    tcp_stack_flush(p.side[1].stack, p.now_us);
    pair_run_for(&p, 600);
    give(TCP_ACK, peer, iss + 102, 60000, "never sent", 10); // acknowledges what was not sent
    expect_one(TCP_ACK, iss + 101, peer);
    CU_ASSERT_EQUAL(server.received, 0);
    give(TCP_ACK, peer, iss + 1 - 60001, 60000, "too old", 7); // older than any window
    expect_one(TCP_ACK, iss + 101, peer);
    CU_ASSERT_EQUAL(server.received, 0);
    CU_ASSERT_EQUAL(counter(TCP_CHALLENGE_ACKS), 2);
    uint8_t byte = pair_byte(11, 0);
    give(TCP_ACK, peer, iss - 100, 60000, &byte, 1); // merely old: the text counts
    CU_ASSERT_EQUAL(server.received, 1);
    give(TCP_ACK, peer + 1, iss + 101, 60000, NULL, 0);
    CU_ASSERT_EQUAL(server.sent_events, 1);
    pair_free(&p);
}

void test_probe(void) {
    struct tcp_limits l = small_limits();
    establish(&l);
    give(TCP_ACK, peer, iss + 1, 0, NULL, 0); // the peer closes its window
    server.to_send = 100;
    pair_app_pump(&server);
    a->seen_count = 0;
    tcp_stack_flush(p.side[1].stack, p.now_us);
    pair_run_for(&p, 100000);
    expect_silence();
    pair_run_for(&p, 1500000);
    CU_ASSERT(a->seen_count >= 1);
    CU_ASSERT_EQUAL(seq_of(&a->seen[0]), iss + 1);
    CU_ASSERT_EQUAL(payload_of(&a->seen[0]), 1); // a probe carries a byte
    CU_ASSERT_EQUAL(a->seen[0].data[54], pair_byte(22, 0));
    // Answered probes go on for ever, with growing gaps up to the limit.
    for (unsigned int i = 0; i < 40; i++) {
        give(TCP_ACK, peer, iss + 1, 0, NULL, 0);
        pair_run_for(&p, 61000000);
        CU_ASSERT(a->seen_count >= 1 && a->seen_count <= 15);
    }
    CU_ASSERT_EQUAL(server.closed, 0);
    // An ACK that B sends meanwhile stands before the probe's byte.
    give(TCP_ACK, peer, iss + 1, 0, "12345", 5);
    pair_run_for(&p, 41000);
    CU_ASSERT(a->seen_count >= 1);
    for (unsigned int i = 0; i < a->seen_count; i++)
        CU_ASSERT_EQUAL(seq_of(&a->seen[i]), iss + 1);
    // The window opens: everything comes at once, the probe's byte again.
    give(TCP_ACK, peer + 5, iss + 1, 60000, NULL, 0);
    CU_ASSERT_EQUAL_FATAL(a->seen_count, 1);
    CU_ASSERT_EQUAL(seq_of(&a->seen[0]), iss + 1);
    CU_ASSERT_EQUAL(payload_of(&a->seen[0]), 100);
    give(TCP_ACK, peer + 5, iss + 101, 60000, NULL, 0);
    CU_ASSERT_EQUAL(server.sent_events, 1);
    // Unanswered probes end: window closed, then silence.
    give(TCP_ACK, peer + 5, iss + 101, 0, NULL, 0);
    server.to_send = 100;
    pair_app_pump(&server);
    pair_run_for(&p, 1500000000);
    CU_ASSERT_EQUAL(server.why, TCP_CLOSED_TIMEOUT);
    pair_free(&p);
    // Accepted probes, one byte at a time, and a closing owner is not held for ever.
    establish(&l);
    give(TCP_ACK, peer, iss + 1, 0, NULL, 0);
    server.to_send = 3;
    pair_app_pump(&server);
    tcp_close(server.c, false);
    for (uint32_t i = 1; i <= 3; i++) {
        a->seen_count = 0;
        while (a->seen_count == 0)
            pair_run_for(&p, 100000);
        CU_ASSERT_EQUAL(seq_of(&a->seen[0]), iss + i);
        CU_ASSERT_EQUAL(payload_of(&a->seen[0]), 1);
        give(TCP_ACK, peer, iss + 1 + i, 0, NULL, 0);
    }
    a->seen_count = 0;
    while (a->seen_count == 0)
        pair_run_for(&p, 100000);
    CU_ASSERT_EQUAL(flags_of(&a->seen[0]), TCP_FIN | TCP_ACK); // the FIN probes, too
    for (unsigned int i = 0; i < 40 && server.closed == 0; i++) {
        give(TCP_ACK, peer, iss + 4, 0, NULL, 0);
        pair_run_for(&p, 61000000);
    }
    CU_ASSERT_EQUAL(server.why, TCP_CLOSED_TIMEOUT);
    pair_free(&p);
}

/* ICMP "fragmentation needed" that quotes a segment of B. */
static void too_big(uint16_t mtu, uint32_t seq, uint16_t remote_port) {
    uint8_t frame[200], icmp[8 + 20 + 8] = {3, 4};
    icmp[6] = (uint8_t)(mtu >> 8);
    icmp[7] = (uint8_t)mtu;
    uint8_t *ip = icmp + 8;
    ip[0] = 0x45;
    ip[9] = 6;
    store_be32(ip + 12, PAIR_B);
    store_be32(ip + 16, PAIR_A);
    store_be16(ip + 20, PAIR_PORT);
    store_be16(ip + 22, remote_port);
    store_be32(ip + 24, seq);
    a->seen_count = 0;
    hand_give(&p, 1, frame, hand_icmp_frame(frame, icmp, sizeof icmp));
    pair_run_for(&p, 600);
}

void test_path_mtu(void) {
    static const uint8_t mss[] = {2, 4, 5, 0xb4};
    uint8_t frame[200];
    struct hand_tcp t = {.src_port = PEER_PORT,
                         .dst_port = PAIR_PORT,
                         .seq = PEER_ISN,
                         .flags = TCP_SYN,
                         .window = 60000,
                         .options = mss,
                         .option_bytes = 4};
    hand_init(NULL);
    hand_give(&p, 1, frame, hand_tcp_frame(frame, &t));
    pair_run_for(&p, 600);
    iss = seq_of(&a->seen[0]);
    server.to_send = 3000;
    give(TCP_ACK, PEER_ISN + 1, iss + 1, 60000, NULL, 0);
    CU_ASSERT_EQUAL(a->seen_count, 3);
    too_big(1000, iss, PEER_PORT);        // acknowledged long ago
    too_big(1000, iss + 3001, PEER_PORT); // never sent
    too_big(1000, iss + 1, PEER_PORT + 1);
    too_big(1500, iss + 1, PEER_PORT); // nothing smaller
    CU_ASSERT_EQUAL(counter(TCP_DROP_ICMP), 4);
    expect_silence();
    too_big(1000, iss + 1461, PEER_PORT);
    CU_ASSERT_EQUAL(counter(TCP_ICMP_TOO_BIG), 1);
    CU_ASSERT_EQUAL_FATAL(a->seen_count, 4); // 960, 960, 960, 120
    CU_ASSERT_EQUAL(seq_of(&a->seen[0]), iss + 1);
    CU_ASSERT_EQUAL(payload_of(&a->seen[0]), 960);
    CU_ASSERT_EQUAL(payload_of(&a->seen[3]), 120);
    too_big(68, iss + 1, PEER_PORT);
    CU_ASSERT_EQUAL(payload_of(&a->seen[0]), 512); // not below 552 in all
    give(TCP_ACK, PEER_ISN + 1, iss + 3001, 60000, NULL, 0);
    CU_ASSERT_EQUAL(server.sent_events, 1);
    pair_free(&p);
}

void test_silly_window(void) {
    establish(NULL); // MSS 536, as the SYN had no option
    give(TCP_ACK, peer, iss + 1, 0, NULL, 0);
    server.to_send = 5000;
    pair_app_pump(&server);
    tcp_stack_flush(p.side[1].stack, p.now_us);
    give(TCP_ACK, peer, iss + 1, 100, NULL, 0); // not worth a segment
    expect_silence();
    give(TCP_ACK, peer, iss + 1, 700, NULL, 0); // worth one of full size, not the rest
    CU_ASSERT_EQUAL_FATAL(a->seen_count, 1);
    CU_ASSERT_EQUAL(payload_of(&a->seen[0]), 536);
    give(TCP_ACK, peer, iss + 537, 100, NULL, 0);
    expect_silence();
    pair_run_for(&p, 2000000); // the override
    CU_ASSERT(a->seen_count >= 1);
    CU_ASSERT_EQUAL(payload_of(&a->seen[0]), 100);
    CU_ASSERT_EQUAL(seq_of(&a->seen[0]), iss + 537);
    pair_free(&p);
    // A peer whose window is always tiny still gets its halves.
    hand_init(NULL);
    give(TCP_SYN, 5, 0, 200, NULL, 0);
    iss = seq_of(&a->seen[0]);
    server.to_send = 1000;
    give(TCP_ACK, 6, iss + 1, 200, NULL, 0);
    CU_ASSERT_EQUAL_FATAL(a->seen_count, 1);
    CU_ASSERT_EQUAL(payload_of(&a->seen[0]), 200);
    give(TCP_ACK, 6, iss + 201, 100, NULL, 0);
    CU_ASSERT_EQUAL_FATAL(a->seen_count, 1);
    CU_ASSERT_EQUAL(payload_of(&a->seen[0]), 100);
    pair_free(&p);
    // As receiver: crumbs read by the owner do not move the edge.
    struct tcp_limits l = small_limits();
    l.recv_window_bytes = 10000;
    establish(&l);
    server.take_at_most = 0;
    for (uint32_t off = 0; off < 10000; off += 1000)
        give_data(off, 1000, 0);
    server.take_at_most = 100;
    a->seen_count = 0;
    for (unsigned int i = 0; i < 4; i++)
        tcp_recv_resume(server.c);
    pair_run_for(&p, 100000);
    CU_ASSERT(server.received >= 400 && server.received < 1072);
    expect_silence();
    give(TCP_ACK, peer + 9999, iss + 1, 60000, "x", 1); // a probe: still closed
    CU_ASSERT_EQUAL_FATAL(a->seen_count, 1);
    CU_ASSERT_EQUAL(window_of(&a->seen[0]), 0);
    pair_free(&p);
}

void test_retransmit_timer(void) {
    struct tcp_limits l = small_limits();
    establish(&l);
    server.to_send = 10 * 536;
    pair_app_pump(&server);
    a->seen_count = 0;
    tcp_stack_flush(p.side[1].stack, p.now_us);
    pair_run_for(&p, 1000);
    CU_ASSERT_EQUAL(a->seen_count, 10);
    pair_run_for(&p, 190000);
    CU_ASSERT_EQUAL(a->seen_count, 10);
    pair_run_for(&p, 12000000); // 0.2, 0.4, 0.8, 1.6, 3.2, (6.4) seconds
    CU_ASSERT_EQUAL(a->seen_count, 15);
    for (unsigned int i = 10; i < 15; i++) { // only the first segment, again and again
        CU_ASSERT_EQUAL(seq_of(&a->seen[i]), iss + 1);
        CU_ASSERT_EQUAL(payload_of(&a->seen[i]), 536);
    }
    for (unsigned int i = 11; i < 14; i++) {
        uint64_t gap = a->seen[i].at_us - a->seen[i - 1].at_us;
        uint64_t next = a->seen[i + 1].at_us - a->seen[i].at_us;
        CU_ASSERT(next > 2 * gap - 4096 && next < 2 * gap + 4096);
    }
    CU_ASSERT_EQUAL(counter(TCP_RTO_EXPIRED), 5);
    // Slow start again: one acknowledged, two are sent, from where it stopped.
    give(TCP_ACK, peer, iss + 537, 60000, NULL, 0);
    CU_ASSERT_EQUAL_FATAL(a->seen_count, 2);
    CU_ASSERT_EQUAL(seq_of(&a->seen[0]), iss + 537);
    CU_ASSERT_EQUAL(seq_of(&a->seen[1]), iss + 1073);
    // The peer had the rest all along: nothing more is repeated.
    give(TCP_ACK, peer, iss + 1 + 5360, 60000, NULL, 0);
    expect_silence();
    CU_ASSERT_EQUAL(server.sent_events, 1);
    // Karn: the back-off stays until something is timed. Then ten retries and the end.
    server.to_send = 10;
    pair_app_pump(&server);
    a->seen_count = 0;
    pair_run_for(&p, 2000000000);
    CU_ASSERT_EQUAL(server.why, TCP_CLOSED_TIMEOUT);
    CU_ASSERT_EQUAL(a->seen_count, 1 + 10 + 1); // sent, repeated, reset
    CU_ASSERT_EQUAL(flags_of(&a->seen[11]), TCP_RST | TCP_ACK);
    pair_free(&p);
}

void test_recovery(void) {
    const uint32_t mss = 536;
    struct tcp_limits l = small_limits();
    l.congestion_accepted = TCP_CONGESTION_NEWRENO;
    establish(&l);
    server.to_send = 30 * mss;
    pair_app_pump(&server);
    a->seen_count = 0;
    tcp_stack_flush(p.side[1].stack, p.now_us);
    pair_run_for(&p, 600);
    CU_ASSERT_EQUAL(a->seen_count, 10); // the initial window
    // The first two duplicates each let one new segment out (RFC 3042), the third repeats the
    // first.
    for (uint32_t i = 0; i < 2; i++) {
        give(TCP_ACK, peer, iss + 1, 60000, NULL, 0);
        CU_ASSERT_EQUAL_FATAL(a->seen_count, 1);
        CU_ASSERT_EQUAL(seq_of(&a->seen[0]), iss + 1 + (10 + i) * mss);
    }
    give(TCP_ACK, peer, iss + 1, 60000, NULL, 0);
    CU_ASSERT_EQUAL_FATAL(a->seen_count, 1);
    CU_ASSERT_EQUAL(seq_of(&a->seen[0]), iss + 1);
    CU_ASSERT_EQUAL(counter(TCP_FAST_RETRANSMITS), 1);
    // ssthresh is half of the 12 in flight; 6 + 3 + 4 more duplicates exceed the 12.
    for (uint32_t i = 0; i < 3; i++) {
        give(TCP_ACK, peer, iss + 1, 60000, NULL, 0);
        expect_silence();
    }
    give(TCP_ACK, peer, iss + 1, 60000, NULL, 0);
    CU_ASSERT_EQUAL_FATAL(a->seen_count, 1);
    CU_ASSERT_EQUAL(seq_of(&a->seen[0]), iss + 1 + 12 * mss);
    // A partial acknowledgement: the next hole at once, and one new segment for the one that left.
    give(TCP_ACK, peer, iss + 1 + 2 * mss, 60000, NULL, 0);
    CU_ASSERT_EQUAL_FATAL(a->seen_count, 2);
    CU_ASSERT_EQUAL(seq_of(&a->seen[0]), iss + 1 + 2 * mss);
    CU_ASSERT_EQUAL(seq_of(&a->seen[1]), iss + 1 + 13 * mss);
    // All of it: recovery ends with min(ssthresh, flight + 1) = 3 segments; 2 are in flight.
    give(TCP_ACK, peer, iss + 1 + 12 * mss, 60000, NULL, 0);
    CU_ASSERT_EQUAL_FATAL(a->seen_count, 1);
    CU_ASSERT_EQUAL(seq_of(&a->seen[0]), iss + 1 + 14 * mss);
    CU_ASSERT_EQUAL(counter(TCP_RTO_EXPIRED), 0);
    // A data segment or a window update is no duplicate.
    for (uint32_t i = 0; i < 5; i++) {
        give_data(i, 1, 0);
        give(TCP_ACK, peer + i + 1, iss + 1 + 12 * mss, (uint16_t)(59000 - i), NULL, 0);
    }
    CU_ASSERT_EQUAL(counter(TCP_FAST_RETRANSMITS), 1);
    pair_free(&p);
}

/* The time from now until B repeats something; what it sends first must come at once. */
static uint64_t time_to_repeat(void) {
    a->seen_count = 0;
    tcp_stack_flush(p.side[1].stack, p.now_us);
    uint64_t sent = p.now_us;
    pair_run_for(&p, 600);
    CU_ASSERT_EQUAL_FATAL(a->seen_count, 1);
    while (a->seen_count == 1)
        pair_run_for(&p, 1000);
    return a->seen[1].at_us - p.delay_us - sent;
}

static bool about(uint64_t value, uint64_t wanted) {
    return value >= wanted - 2000 &&
           value <= wanted + 4000; // a tick of the wheel, and the steps here
}

void test_rto_value(void) {
    struct tcp_limits l = small_limits();
    l.rto_min_us = 2000;
    hand_init(&l);
    give(TCP_SYN, PEER_ISN, 0, 60000, NULL, 0);
    iss = seq_of(&a->seen[0]);
    peer = PEER_ISN + 1;
    pair_run_for(&p, 100000 - 600); // R = 100 ms: SRTT = 100, RTTVAR = 50 (RFC 6298 2.2)
    give(TCP_ACK, peer, iss + 1, 60000, NULL, 0);
    server.to_send = 1;
    pair_app_pump(&server);
    CU_ASSERT(about(time_to_repeat(), 300000));
    give(TCP_ACK, peer, iss + 2, 60000, NULL, 0); // ambiguous: no sample, the back-off stays
    server.to_send = 1;
    pair_app_pump(&server);
    CU_ASSERT(about(time_to_repeat(), 600000));
    give(TCP_ACK, peer, iss + 3, 60000, NULL, 0);
    server.to_send = 1;
    pair_app_pump(&server);
    tcp_stack_flush(p.side[1].stack, p.now_us);
    pair_run_for(&p, 50000); // R' = 50 ms: RTTVAR = 3/4 50 + 1/4 50, SRTT = 7/8 100 + 1/8 50
    give(TCP_ACK, peer, iss + 4, 60000, NULL, 0);
    server.to_send = 1;
    pair_app_pump(&server);
    CU_ASSERT(about(time_to_repeat(), 293750));
    pair_free(&p);
}

void test_delayed_ack(void) {
    establish(NULL);
    give_data(0, 100, 0);
    expect_silence();
    pair_run_for(&p, 38000);
    expect_silence();
    pair_run_for(&p, 5000);
    expect_one(TCP_ACK, iss + 1, peer + 100);
    give_data(100, 1460, 0);
    expect_silence();
    give_data(1560, 1460, 0); // the second full one
    expect_one(TCP_ACK, iss + 1, peer + 3020);
    pair_free(&p);
}

void test_fin_states(void) {
    // FIN with data; we close later: CLOSE-WAIT, LAST-ACK.
    establish(NULL);
    give_data(0, 10, TCP_FIN);
    expect_one(TCP_ACK, iss + 1, peer + 11);
    CU_ASSERT_EQUAL(server.fins, 1);
    CU_ASSERT_EQUAL(server.received, 10);
    give_data(0, 10, TCP_FIN); // repeated
    expect_one(TCP_ACK, iss + 1, peer + 11);
    CU_ASSERT_EQUAL(server.fins, 1);
    server.to_send = 20; // half closed: we may still send
    pair_app_pump(&server);
    tcp_stack_flush(p.side[1].stack, p.now_us);
    give(TCP_ACK, peer + 11, iss + 21, 60000, NULL, 0);
    CU_ASSERT_EQUAL(server.sent_events, 1);
    a->seen_count = 0;
    tcp_close(server.c, false);
    pair_run_for(&p, 1000);
    expect_one(TCP_FIN | TCP_ACK, iss + 21, peer + 11);
    pair_run_for(&p, 1100000); // the FIN is repeated
    CU_ASSERT(a->seen_count > 1);
    CU_ASSERT_EQUAL(flags_of(&a->seen[1]), TCP_FIN | TCP_ACK);
    CU_ASSERT_EQUAL(tcp_send(server.c, "late", 4), 0);
    give(TCP_ACK, peer + 11, iss + 22, 60000, NULL, 0);
    CU_ASSERT_EQUAL(server.why, TCP_CLOSED_NORMALLY);
    CU_ASSERT_EQUAL(server.closed, 1);
    CU_ASSERT_EQUAL(tcp_stack_time_waits(p.side[1].stack), 0);
    pair_free(&p);
    // We close first: FIN-WAIT-1, FIN-WAIT-2 with data still coming, TIME-WAIT.
    establish(NULL);
    server.to_send = 7;
    server.close_when_sent = true;
    pair_app_pump(&server);
    a->seen_count = 0;
    pair_run_for(&p, 1000);
    expect_one(TCP_FIN | TCP_ACK | TCP_PSH, iss + 1, peer); // data and FIN in one segment
    CU_ASSERT_EQUAL(payload_of(&a->seen[0]), 7);
    give(TCP_ACK, peer, iss + 9, 60000, NULL, 0);
    CU_ASSERT_EQUAL(server.closed, 0);
    uint8_t data[50];
    for (unsigned int i = 0; i < 50; i++)
        data[i] = pair_byte(11, i);
    give(TCP_ACK, peer, iss + 9, 60000, data, 50);
    CU_ASSERT_EQUAL(server.received, 50);
    give(TCP_ACK | TCP_FIN, peer + 50, iss + 9, 60000, NULL, 0);
    expect_one(TCP_ACK, iss + 9, peer + 51);
    CU_ASSERT_EQUAL(server.fins, 1);
    CU_ASSERT_EQUAL(server.why, TCP_CLOSED_NORMALLY);
    CU_ASSERT_EQUAL(tcp_stack_time_waits(p.side[1].stack), 1);
    CU_ASSERT_EQUAL(tcp_stack_conns(p.side[1].stack), 0);
    pair_free(&p);
    // A FIN needs room in the window like everything else.
    establish(NULL);
    give(TCP_ACK, peer, iss + 1, 100, NULL, 0);
    server.to_send = 100;
    server.close_when_sent = true;
    pair_app_pump(&server);
    a->seen_count = 0;
    pair_run_for(&p, 1000);
    expect_one(TCP_ACK | TCP_PSH, iss + 1, peer);
    give(TCP_ACK, peer, iss + 101, 100, NULL, 0);
    expect_one(TCP_ACK | TCP_FIN, iss + 101, peer);
    pair_free(&p);
    // The peer's FIN acknowledges ours: straight to TIME-WAIT.
    establish(NULL);
    tcp_close(server.c, false);
    tcp_stack_flush(p.side[1].stack, p.now_us);
    give(TCP_ACK | TCP_FIN, peer, iss + 2, 60000, NULL, 0);
    CU_ASSERT_EQUAL(server.closed, 1);
    CU_ASSERT_EQUAL(tcp_stack_time_waits(p.side[1].stack), 1);
    pair_free(&p);
    // FINs cross: CLOSING; a reset there is the end.
    establish(NULL);
    tcp_close(server.c, false);
    tcp_stack_flush(p.side[1].stack, p.now_us);
    give(TCP_ACK | TCP_FIN, peer, iss + 1, 60000, NULL, 0);
    CU_ASSERT_EQUAL(server.closed, 0);
    CU_ASSERT_EQUAL(server.fins, 1);
    give(TCP_RST, peer + 1, 0, 0, NULL, 0);
    CU_ASSERT_EQUAL(server.why, TCP_CLOSED_RESET);
    pair_free(&p);
}

void test_fin_out_of_order(void) {
    establish(NULL);
    give_data(100, 50, TCP_FIN);
    expect_one(TCP_ACK, iss + 1, peer);
    CU_ASSERT_EQUAL(server.fins, 0);
    give_data(0, 100, 0);
    CU_ASSERT_EQUAL(server.received, 150);
    CU_ASSERT_EQUAL(server.fins, 1);
    CU_ASSERT_EQUAL(ack_of(&a->seen[0]), peer + 151);
    // A FIN alone, beyond a gap.
    pair_free(&p);
    establish(NULL);
    give(TCP_ACK | TCP_FIN, peer + 10, iss + 1, 60000, NULL, 0);
    expect_one(TCP_ACK, iss + 1, peer);
    give_data(0, 10, 0);
    CU_ASSERT_EQUAL(server.fins, 1);
    CU_ASSERT_EQUAL(ack_of(&a->seen[0]), peer + 11);
    CU_ASSERT_EQUAL(server.wrong, 0);
    pair_free(&p);
}

void test_fin_wait_2(void) {
    establish(NULL);
    tcp_close(server.c, false);
    tcp_stack_flush(p.side[1].stack, p.now_us);
    give(TCP_ACK, peer, iss + 2, 60000, NULL, 0);
    for (uint32_t i = 0; i < 5; i++) { // data that still comes keeps a half-closed connection
        pair_run_for(&p, 50000000);
        uint8_t byte = pair_byte(11, i);
        give(TCP_ACK, peer + i, iss + 2, 60000, &byte, 1);
        CU_ASSERT_EQUAL(server.closed, 0);
    }
    pair_run_for(&p, 61000000);
    CU_ASSERT_EQUAL(server.why, TCP_CLOSED_TIMEOUT);
    CU_ASSERT_EQUAL(server.received, 5);
    pair_free(&p);
    // With linger it does not: an endless upload is cut off.
    establish(NULL);
    tcp_close(server.c, true);
    tcp_stack_flush(p.side[1].stack, p.now_us);
    give(TCP_ACK, peer, iss + 2, 60000, NULL, 0);
    for (uint32_t i = 0; i < 5 && server.closed == 0; i++) {
        pair_run_for(&p, 20000000);
        give(TCP_ACK, peer + i, iss + 2, 60000, "x", 1);
    }
    CU_ASSERT_EQUAL(server.why, TCP_CLOSED_TIMEOUT);
    CU_ASSERT_EQUAL(server.received, 0);
    pair_free(&p);
}

static void close_to_time_wait(void) {
    tcp_close(server.c, false);
    tcp_stack_flush(p.side[1].stack, p.now_us);
    give(TCP_ACK | TCP_FIN, peer, iss + 2, 60000, NULL, 0);
    CU_ASSERT_EQUAL_FATAL(server.closed, 1);
    CU_ASSERT_EQUAL_FATAL(tcp_stack_time_waits(p.side[1].stack), 1);
}

void test_time_wait(void) {
    establish(NULL);
    close_to_time_wait();
    give(TCP_RST, peer + 1, 0, 0, NULL, 0); // RFC 1337
    expect_silence();
    CU_ASSERT_EQUAL(tcp_stack_time_waits(p.side[1].stack), 1);
    give(TCP_ACK, peer + 1, iss + 2, 60000, NULL, 0);
    expect_silence();
    pair_run_for(&p, 50000000);
    give(TCP_ACK | TCP_FIN, peer, iss + 2, 60000, NULL, 0); // our ACK was lost
    expect_one(TCP_ACK, iss + 2, peer + 1);
    pair_run_for(&p, 50000000); // the wait began anew
    CU_ASSERT_EQUAL(tcp_stack_time_waits(p.side[1].stack), 1);
    give(TCP_ACK, peer + 100, iss + 2, 60000, "x", 1);
    expect_one(TCP_ACK, iss + 2, peer + 1);
    give(TCP_SYN, peer, 0, 60000, NULL, 0); // an old duplicate
    expect_one(TCP_ACK, iss + 2, peer + 1);
    pair_run_for(&p, 11000000);
    CU_ASSERT_EQUAL(tcp_stack_time_waits(p.side[1].stack), 0);
    pair_free(&p);
    // A SYN beyond the old sequence numbers opens anew, above ours.
    establish(NULL);
    close_to_time_wait();
    struct pair_app second;
    pair_app_init(&second, 22, 11);
    p.side[1].accept_app = &second;
    uint32_t old_end = iss + 2;
    give(TCP_SYN, peer + 2, 0, 60000, NULL, 0);
    CU_ASSERT_EQUAL_FATAL(a->seen_count, 1);
    CU_ASSERT_EQUAL(flags_of(&a->seen[0]), TCP_SYN | TCP_ACK);
    CU_ASSERT_EQUAL(ack_of(&a->seen[0]), peer + 3);
    iss = seq_of(&a->seen[0]);
    CU_ASSERT((int32_t)(iss - old_end) > 0);
    CU_ASSERT_EQUAL(tcp_stack_time_waits(p.side[1].stack), 0);
    give(TCP_ACK, peer + 3, iss + 1, 60000, NULL, 0);
    CU_ASSERT_PTR_NOT_NULL(second.c);
    pair_free(&p);
    // Also when the old one sent faster than the clock of initial sequence numbers runs.
    establish(NULL);
    server.to_send = 500000;
    server.close_when_sent = true;
    pair_app_pump(&server);
    tcp_stack_flush(p.side[1].stack, p.now_us);
    pair_run_for(&p, 600);
    while (a->seen_count > 0 && (flags_of(&a->seen[a->seen_count - 1]) & TCP_FIN) == 0) {
        const struct pair_frame *last = &a->seen[a->seen_count - 1];
        give(TCP_ACK, peer, seq_of(last) + (uint32_t)payload_of(last), 60000, NULL, 0);
    }
    old_end = iss + 500002;
    give(TCP_ACK | TCP_FIN, peer, old_end, 60000, NULL, 0);
    CU_ASSERT_EQUAL_FATAL(tcp_stack_time_waits(p.side[1].stack), 1);
    give(TCP_SYN, peer + 2, 0, 60000, NULL, 0);
    CU_ASSERT_EQUAL_FATAL(a->seen_count, 1);
    CU_ASSERT((int32_t)(seq_of(&a->seen[0]) - old_end) > 0);
    pair_free(&p);
}

void test_time_wait_limit(void) {
    struct tcp_limits l = small_limits();
    struct pair_app apps[12];
    hand_init(&l);
    for (uint16_t i = 0; i < 12; i++) {
        pair_app_init(&apps[i], 1, 1);
        p.side[1].accept_app = &apps[i];
        give_from((uint16_t)(100 + i), TCP_SYN, 9, 0, 60000, NULL, 0);
        uint32_t isn = seq_of(&a->seen[0]);
        give_from((uint16_t)(100 + i), TCP_ACK, 10, isn + 1, 60000, NULL, 0);
        tcp_close(apps[i].c, false);
        tcp_stack_flush(p.side[1].stack, p.now_us);
        give_from((uint16_t)(100 + i), TCP_ACK | TCP_FIN, 10, isn + 2, 60000, NULL, 0);
        CU_ASSERT_EQUAL(apps[i].closed, 1);
    }
    CU_ASSERT_EQUAL(tcp_stack_time_waits(p.side[1].stack), 8);
    give_from(100, TCP_ACK | TCP_FIN, 10, 1, 60000, NULL, 0); // recycled: unknown now
    CU_ASSERT_EQUAL(flags_of(&a->seen[0]), TCP_RST);
    give_from(111, TCP_ACK | TCP_FIN, 10, 1, 60000, NULL, 0);
    CU_ASSERT_EQUAL(flags_of(&a->seen[0]), TCP_ACK);
    pair_free(&p);
}

void test_out_of_order_limit(void) {
    struct tcp_limits l = small_limits();
    l.ooo_bytes_max = 20000;
    establish(&l);
    for (uint32_t i = 1; i <= 100; i++) // tiny islands would each hold a chunk
        give_data(i * 100, 1, 0);
    CU_ASSERT_EQUAL(p.side[1].pool.in_use, 10);
    CU_ASSERT_EQUAL(counter(TCP_DROP_TCP_OOO_LIMIT), 90);
    for (uint32_t off = 0; off < 10200; off += 100)
        give_data(off, 100, 0);
    CU_ASSERT_EQUAL(server.received, 10200);
    CU_ASSERT_EQUAL(server.wrong, 0);
    CU_ASSERT_EQUAL(p.side[1].pool.in_use, 0);
    // Small neighbours share a chunk.
    for (uint32_t i = 0; i < 200; i++)
        give_data(10300 + i * 10, 10, 0);
    CU_ASSERT_EQUAL(p.side[1].pool.in_use, 1);
    // Small unread pieces share chunks, too, also those that were out of order.
    server.take_at_most = 0;
    give_data(10200, 100, 0);
    for (uint32_t i = 0; i < 200; i++) {
        uint32_t off = 12300 + i * 20;
        give_data(off + 10, 10, 0);
        give_data(off, 10, 0);
    }
    CU_ASSERT(p.side[1].pool.in_use <= 6);
    server.take_at_most = SIZE_MAX;
    tcp_recv_resume(server.c);
    CU_ASSERT_EQUAL(server.received, 16300);
    CU_ASSERT_EQUAL(server.wrong, 0);
    pair_free(&p);
}

void test_unread_at_close(void) {
    // Both FINs are through, but the owner has not read: it still gets all, then on_fin, then the
    // end.
    establish(NULL);
    server.take_at_most = 0;
    give_data(0, 1000, 0);
    tcp_close(server.c, false);
    tcp_stack_flush(p.side[1].stack, p.now_us);
    give(TCP_ACK | TCP_FIN, peer + 1000, iss + 2, 60000, NULL, 0);
    CU_ASSERT_EQUAL(server.closed, 0);
    CU_ASSERT_EQUAL(server.fins, 0);
    server.take_at_most = SIZE_MAX;
    tcp_recv_resume(server.c);
    CU_ASSERT_EQUAL(server.received, 1000);
    CU_ASSERT_EQUAL(server.fins, 1);
    CU_ASSERT_EQUAL(server.why, TCP_CLOSED_NORMALLY);
    CU_ASSERT_EQUAL(tcp_stack_time_waits(p.side[1].stack), 1);
    pair_free(&p);
    // An owner that never reads does not keep it for ever.
    establish(NULL);
    server.take_at_most = 0;
    give_data(0, 1000, TCP_FIN);
    tcp_close(server.c, false);
    tcp_stack_flush(p.side[1].stack, p.now_us);
    give(TCP_ACK, peer + 1001, iss + 2, 60000, NULL, 0);
    CU_ASSERT_EQUAL(server.closed, 0);
    pair_run_for(&p, 61000000);
    CU_ASSERT_EQUAL(server.why, TCP_CLOSED_NORMALLY);
    CU_ASSERT_EQUAL(server.received, 0);
    pair_free(&p);
}
