/* SPDX-License-Identifier: BSD-3-Clause */
#include "tcp_cases.h"
#include "tcp_pair.h"
#include "unit.h"

#include <stdlib.h>

static struct pair p;

static void transfer(uint64_t up, uint64_t down, uint32_t mixed) {
    struct pair_app client, server;
    pair_init(&p, NULL, up + down);
    pair_app_init(&client, 11, 22);
    pair_app_init(&server, 22, 11);
    client.to_send = up;
    server.to_send = down;
    client.mixed = server.mixed = mixed;
    client.close_when_sent = true;
    server.close_when_sent = true;
    p.side[1].accept_app = &server;
    CU_ASSERT_TRUE_FATAL(pair_connect(&p, &client, 40000));
    pair_run_for(&p, 60000000);
    CU_ASSERT_EQUAL(client.established, 1);
    CU_ASSERT_EQUAL(server.received, up);
    CU_ASSERT_EQUAL(client.received, down);
    CU_ASSERT_EQUAL(server.hash, pair_hash(11, up));
    CU_ASSERT_EQUAL(client.hash, pair_hash(22, down));
    CU_ASSERT_EQUAL(client.fins, 1);
    CU_ASSERT_EQUAL(server.fins, 1);
    CU_ASSERT_EQUAL(client.closed, 1);
    CU_ASSERT_EQUAL(server.closed, 1);
    CU_ASSERT_EQUAL(client.why, TCP_CLOSED_NORMALLY);
    CU_ASSERT_EQUAL(server.why, TCP_CLOSED_NORMALLY);
    CU_ASSERT_EQUAL(tcp_stack_conns(p.side[0].stack), 0);
    CU_ASSERT_EQUAL(tcp_stack_conns(p.side[1].stack), 0);
    CU_ASSERT_EQUAL(p.side[0].pool.in_use, 0);
    CU_ASSERT_EQUAL(p.side[1].pool.in_use, 0);
    CU_ASSERT_EQUAL(pair_counter(&p, 0, TCP_RETRANSMITS), 0);
    CU_ASSERT_EQUAL(pair_counter(&p, 1, TCP_RETRANSMITS), 0);
    pair_free(&p);
}

void test_transfer_sizes(void) {
    static const uint64_t sizes[] = {1, 2, 1459, 1460, 1461, 2920, 65535, 65536, 100000, 1048576};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        transfer(sizes[i], 0, 0);
        transfer(1, sizes[i], 0);
        transfer(sizes[i], sizes[i], 1);
    }
}

void test_transfer_large(void) {
    transfer(16u << 20, 1, 0);
    transfer(1, 16u << 20, 1);
    transfer(16u << 20, 16u << 20, 1);
}

/* Patient limits, so that faults delay and never end a connection. */
static struct tcp_limits patient_limits(void) {
    struct tcp_limits l;
    tcp_limits_default(&l);
    l.conns_max = 16;
    l.time_wait_max = 16;
    l.syn_retries = 30;
    l.data_retries = 40;
    l.rto_max_us = 4000000;
    return l;
}

/* One connection under faults drawn from the seed; every byte and every event must come out right.
 */
static void run_seed(uint64_t seed) {
    struct pair_app client, server;
    struct tcp_limits l = patient_limits();
    struct pair draw = {.random = seed};
    if (pair_random(&draw) % 3 == 0)
        l.recv_window_bytes = 3000 + (uint32_t)(pair_random(&draw) % 60000);
    if (pair_random(&draw) % 3 == 0)
        l.ooo_bytes_max = (uint32_t)(pair_random(&draw) % 20000);
    pair_init(&p, &l, seed);
    p.faults.lose = (unsigned int)(pair_random(&p) % 120);
    p.faults.repeat = (unsigned int)(pair_random(&p) % 100);
    p.faults.delay = (unsigned int)(pair_random(&p) % 300);
    p.faults.truncate = (unsigned int)(pair_random(&p) % 40);
    pair_app_init(&client, seed, seed + 1);
    pair_app_init(&server, seed + 1, seed);
    uint64_t up = pair_random(&p) % (seed % 8 == 0 ? 400000 : 30000);
    uint64_t down = pair_random(&p) % (seed % 7 == 0 ? 400000 : 30000);
    client.to_send = up;
    server.to_send = down;
    client.mixed = (uint32_t)(pair_random(&p) % 2);
    server.mixed = (uint32_t)(pair_random(&p) % 2);
    client.close_when_sent = true;
    server.close_when_sent = true;
    if (pair_random(&p) % 3 == 0)
        client.take_at_most = 1 + pair_random(&p) % 4000;
    p.side[1].accept_app = &server;
    CU_ASSERT_TRUE_FATAL(pair_connect(&p, &client, 40000));
    for (unsigned int i = 0; i < 40000 && client.closed + server.closed < 2; i++) {
        pair_run_for(&p, 20000);
        if (client.c != NULL) // a reader that stops and goes on
            tcp_recv_resume(client.c);
    }
    CU_ASSERT_EQUAL(server.hash, pair_hash(seed, up));
    CU_ASSERT_EQUAL(client.hash, pair_hash(seed + 1, down));
    CU_ASSERT_EQUAL(server.received, up);
    CU_ASSERT_EQUAL(client.received, down);
    CU_ASSERT_EQUAL(client.fins, 1);
    CU_ASSERT_EQUAL(server.fins, 1);
    CU_ASSERT_EQUAL(client.why, TCP_CLOSED_NORMALLY);
    CU_ASSERT_EQUAL(server.why, TCP_CLOSED_NORMALLY);
    CU_ASSERT_EQUAL(tcp_stack_conns(p.side[0].stack) + tcp_stack_conns(p.side[1].stack), 0);
    CU_ASSERT_EQUAL(p.side[0].pool.in_use, 0);
    CU_ASSERT_EQUAL(p.side[1].pool.in_use, 0);
    pair_free(&p);
}

/* TCP_SEED=n replays one seed. */
void test_faults(void) {
    const char *only = getenv("TCP_SEED");
    if (only != NULL) {
        run_seed(strtoull(only, NULL, 10));
        return;
    }
    for (uint64_t seed = 1; seed <= 300; seed++) {
        unsigned int before = CU_get_number_of_failures();
        run_seed(seed);
        if (CU_get_number_of_failures() != before) {
            printf("\nthe first seed that fails: TCP_SEED=%llu\n", (unsigned long long)seed);
            return;
        }
    }
}

/* A connection from A to B that is established and quiet. */
static void open_pair(const struct tcp_limits *l, struct pair_app *client,
                      struct pair_app *server) {
    pair_init(&p, l, 1);
    pair_app_init(client, 11, 22);
    pair_app_init(server, 22, 11);
    p.side[1].accept_app = server;
    CU_ASSERT_TRUE_FATAL(pair_connect(&p, client, 40000));
    pair_run_for(&p, 200000);
    CU_ASSERT_EQUAL_FATAL(client->established, 1);
    CU_ASSERT_PTR_NOT_NULL_FATAL(server->c);
}

void test_slow_reader(void) {
    struct pair_app client, server;
    struct tcp_limits l = patient_limits();
    l.recv_window_bytes = 100000;
    open_pair(&l, &client, &server);
    server.take_at_most = 0;
    client.to_send = 1000000;
    client.close_when_sent = true;
    pair_app_pump(&client);
    CU_ASSERT(client.to_send > 0); // the send queue has its limit, too
    pair_run_for(&p, 300000000);   // five minutes of probes
    CU_ASSERT_EQUAL(server.received, 0);
    CU_ASSERT_EQUAL(client.closed, 0);
    uint32_t held = p.side[1].pool.in_use * BUF_DATA_BYTES;
    CU_ASSERT(held >= 100000 - 1460 && held <= 100000 + 3 * BUF_DATA_BYTES);
    server.take_at_most = 777;
    for (unsigned int i = 0; i < 100000 && server.fins == 0; i++) {
        tcp_recv_resume(server.c);
        pair_run_for(&p, 1000);
    }
    CU_ASSERT_EQUAL(server.received, 1000000);
    CU_ASSERT_EQUAL(server.hash, pair_hash(11, 1000000));
    CU_ASSERT_EQUAL(server.fins, 1);
    CU_ASSERT(client.writable > 0);
    tcp_close(server.c, false);
    pair_run_for(&p, 1000000);
    CU_ASSERT_EQUAL(client.closed, 1);
    CU_ASSERT_EQUAL(server.why, TCP_CLOSED_NORMALLY);
    pair_free(&p);
}

static unsigned int resume_calls;
static size_t resume_data(struct tcp_conn *c, void *user, const uint8_t *data, size_t len) {
    struct pair_app *app = user;
    (void)data;
    resume_calls++;
    tcp_recv_resume(c); // must neither recurse nor loop for ever
    size_t n = len < app->take_at_most ? len : app->take_at_most;
    app->received += n;
    return n;
}

void test_resume_inside_data(void) {
    static const struct tcp_handlers h = {.on_data = resume_data};
    struct pair_app client, server;
    for (size_t take = 0; take <= 1000; take += 500) {
        open_pair(NULL, &client, &server);
        resume_calls = 0;
        client.received = 0;
        struct pair_app mine;
        pair_app_init(&mine, 0, 0);
        mine.take_at_most = take;
        mine.c =
            tcp_connect(p.side[0].stack, PAIR_A, 40001, PAIR_B, PAIR_PORT, &h, &mine, p.now_us);
        struct pair_app second;
        pair_app_init(&second, 22, 11);
        second.to_send = 3000;
        p.side[1].accept_app = &second;
        pair_run_for(&p, 100000);
        CU_ASSERT_EQUAL(mine.received, take == 0 ? 0 : 3000);
        // With no progress each segment is offered at most twice.
        CU_ASSERT(resume_calls > 0 && resume_calls <= (take == 0 ? 6 : 20));
        pair_free(&p);
    }
}

void test_piggyback(void) {
    struct pair_app client, server;
    open_pair(NULL, &client, &server);
    server.echo = true;
    uint64_t before = p.sent_frames;
    client.to_send = 100;
    pair_app_pump(&client);
    pair_run_for(&p, 20000); // less than the delay of an acknowledgement
    CU_ASSERT_EQUAL(client.received, 100);
    CU_ASSERT_EQUAL(p.sent_frames - before, 2); // request; response with the acknowledgement
    pair_run_for(&p, 1000000);
    CU_ASSERT_EQUAL(p.sent_frames - before, 3); // the delayed acknowledgement of the response
    CU_ASSERT_EQUAL(pair_counter(&p, 1, TCP_RETRANSMITS), 0);
    pair_free(&p);
}

void test_every_second_segment(void) {
    struct pair_app client, server;
    open_pair(NULL, &client, &server);
    uint64_t acks = pair_counter(&p, 1, TCP_SEGMENTS_OUT);
    uint64_t data = pair_counter(&p, 1, TCP_SEGMENTS_IN);
    client.to_send = 144800; // all in few bursts, as the wire has a constant delay
    pair_app_pump(&client);
    pair_run_for(&p, 1000000);
    CU_ASSERT_EQUAL(server.received, 144800);
    acks = pair_counter(&p, 1, TCP_SEGMENTS_OUT) - acks;
    data = pair_counter(&p, 1, TCP_SEGMENTS_IN) - data;
    CU_ASSERT_EQUAL(data, 100);
    CU_ASSERT(acks >= 50 && acks <= 55);
    pair_free(&p);
}

static unsigned int tamper_count;
/* Loses the 3rd full segment from A, once. */
static bool lose_third(struct pair *pair, struct pair_frame *f) {
    (void)pair;
    return f->to == 1 && f->len == TCP_FRAME_MAX_BYTES && ++tamper_count == 3;
}

void test_fast_retransmit(void) {
    struct pair_app client, server;
    open_pair(NULL, &client, &server);
    tamper_count = 0;
    p.tamper = lose_third;
    client.to_send = 10 * 1460;
    pair_app_pump(&client);
    pair_run_for(&p, 100000); // no time for a time-out
    CU_ASSERT_EQUAL(server.received, 14600);
    CU_ASSERT_EQUAL(server.wrong, 0);
    CU_ASSERT_EQUAL(pair_counter(&p, 0, TCP_FAST_RETRANSMITS), 1);
    CU_ASSERT_EQUAL(pair_counter(&p, 0, TCP_RETRANSMITS), 1);
    CU_ASSERT_EQUAL(pair_counter(&p, 0, TCP_RTO_EXPIRED), 0);
    CU_ASSERT_EQUAL(pair_counter(&p, 1, TCP_OUT_OF_ORDER), 7);
    pair_free(&p); // and in the midst of a longer transfer
    struct tcp_limits l = patient_limits();
    open_pair(&l, &client, &server);
    tamper_count = 0;
    p.tamper = lose_third;
    client.to_send = 40 * 1460;
    pair_app_pump(&client);
    pair_run_for(&p, 100000);
    CU_ASSERT_EQUAL(server.received, 40 * 1460);
    CU_ASSERT_EQUAL(server.wrong, 0);
    CU_ASSERT_EQUAL(pair_counter(&p, 0, TCP_FAST_RETRANSMITS), 1);
    CU_ASSERT_EQUAL(pair_counter(&p, 0, TCP_RTO_EXPIRED), 0);
    pair_free(&p);
}

void test_no_frames(void) {
    struct pair_app client, server;
    struct tcp_limits l = patient_limits();
    open_pair(&l, &client, &server);
    client.to_send = 200000;
    server.to_send = 100000;
    pair_app_pump(&server);
    for (unsigned int i = 0; i < 2000 && server.received < 200000; i++) {
        p.side[0].frames_left = i % 4; // few at a time, and often none
        p.side[1].frames_left = i % 3;
        pair_app_pump(&client);
        tcp_stack_flush(p.side[0].stack, p.now_us);
        tcp_stack_flush(p.side[1].stack, p.now_us);
        p.side[0].frames_left = p.side[1].frames_left = 2;
        pair_run_for(&p, 3000);
    }
    p.side[0].frames_left = p.side[1].frames_left = UINT32_MAX;
    pair_run_for(&p, 5000000);
    CU_ASSERT_EQUAL(server.hash, pair_hash(11, 200000));
    CU_ASSERT_EQUAL(client.hash, pair_hash(22, 100000));
    CU_ASSERT(pair_counter(&p, 0, TCP_DROP_NO_FRAME) > 0);
    CU_ASSERT(pair_counter(&p, 1, TCP_DROP_NO_FRAME) > 0);
    pair_free(&p);
}

void test_empty_pool(void) {
    struct pair_app client, server;
    open_pair(NULL, &client, &server);
    p.side[0].pool.max_chunks = 0;
    client.to_send = 5000;
    pair_app_pump(&client);
    CU_ASSERT_EQUAL(client.to_send, 5000);
    pair_run_for(&p, 100000);
    CU_ASSERT(client.writable >= 5); // asked again, and refused again
    p.side[0].pool.max_chunks = 10;
    p.side[1].pool.max_chunks = 0; // the receiver needs no chunk for what is taken at once
    pair_run_for(&p, 100000);
    CU_ASSERT_EQUAL(server.received, 5000);
    // ... but what is not taken has no place, is counted, and comes again later.
    server.take_at_most = 0;
    client.to_send = 100;
    pair_app_pump(&client);
    pair_run_for(&p, 500000);
    CU_ASSERT(pair_counter(&p, 1, TCP_DROP_TCP_NO_BUFFER) > 0);
    server.take_at_most = SIZE_MAX;
    p.side[1].pool.max_chunks = 10;
    pair_run_for(&p, 5000000);
    CU_ASSERT_EQUAL(server.received, 5100);
    CU_ASSERT_EQUAL(server.wrong, 0);
    pair_free(&p);
}

/* ---- handlers that abort ---- */
static struct pair_app *victim;
static size_t kill_other(struct tcp_conn *c, void *user, const uint8_t *data, size_t len) {
    (void)user;
    (void)data;
    if (victim->c != NULL)
        tcp_abort(victim->c);
    tcp_send(c, "x", 1);
    return len;
}
static void kill_self(struct tcp_conn *c, void *user) {
    (void)user;
    tcp_send(c, "unsent", 6);
    tcp_abort(c);
}
static void connect_again(struct tcp_conn *c, void *user, enum tcp_close_reason why) {
    struct pair_app *app = user;
    (void)c;
    app->closed++;
    app->why = why;
    app->c = tcp_connect(p.side[0].stack, PAIR_A, 41000, PAIR_B, PAIR_PORT, &pair_handlers, app,
                         p.now_us);
}

void test_abort_in_handlers(void) {
    struct pair_app client, server, other;
    // The connection at hand, from on_data, with unsent references queued.
    open_pair(NULL, &client, &server);
    server.abort_on_data = true;
    server.mixed = 1;
    server.to_send = 50000;
    pair_app_pump(&server);
    client.to_send = 10;
    pair_app_pump(&client);
    pair_run_for(&p, 1000000);
    CU_ASSERT_EQUAL(server.why, TCP_CLOSED_ABORTED);
    CU_ASSERT_EQUAL(server.refs_out, 0);
    CU_ASSERT_EQUAL(client.why, TCP_CLOSED_RESET);
    pair_free(&p);
    // Another one, and a new one from on_closed of the first.
    static const struct tcp_handlers killer = {.on_data = kill_other};
    static const struct tcp_handlers suicide = {.on_established = kill_self,
                                                .on_closed = connect_again};
    open_pair(NULL, &client, &server);
    pair_app_init(&other, 22, 11);
    victim = &client;
    struct tcp_conn *k =
        tcp_connect(p.side[0].stack, PAIR_A, 40002, PAIR_B, PAIR_PORT, &killer, NULL, p.now_us);
    other.to_send = 10;
    p.side[1].accept_app = &other;
    pair_run_for(&p, 100000);
    CU_ASSERT_PTR_NOT_NULL(k);
    CU_ASSERT_EQUAL(client.why, TCP_CLOSED_ABORTED);
    CU_ASSERT_EQUAL(client.closed, 1);
    CU_ASSERT_EQUAL(other.received, 1);
    CU_ASSERT_EQUAL(server.why, TCP_CLOSED_RESET);
    struct pair_app again, accepted;
    pair_app_init(&again, 1, 1);
    pair_app_init(&accepted, 1, 1);
    p.side[1].accept_app = &accepted;
    tcp_connect(p.side[0].stack, PAIR_A, 40003, PAIR_B, PAIR_PORT, &suicide, &again, p.now_us);
    pair_run_for(&p, 600);
    pair_run_for(&p, 400);
    CU_ASSERT_EQUAL(again.closed, 1);
    CU_ASSERT_EQUAL(again.why, TCP_CLOSED_ABORTED);
    CU_ASSERT_PTR_NOT_NULL(again.c);
    pair_run_for(&p, 1000000);
    CU_ASSERT_EQUAL(again.established, 1);
    pair_free(&p);
}

void test_free_with_connections(void) {
    struct pair_app client, server;
    open_pair(NULL, &client, &server);
    server.take_at_most = 100;
    client.mixed = 1;
    client.to_send = 100000;
    pair_app_pump(&client);
    pair_run_for(&p, 10000);
    uint64_t frames = p.sent_frames;
    pair_free(&p); // checks the pools
    CU_ASSERT_EQUAL(p.sent_frames, frames);
    CU_ASSERT_EQUAL(client.why, TCP_CLOSED_ABORTED);
    CU_ASSERT_EQUAL(server.why, TCP_CLOSED_ABORTED);
    CU_ASSERT_EQUAL(client.closed, 1);
    CU_ASSERT_EQUAL(server.closed, 1);
    CU_ASSERT_EQUAL(client.refs_out, 0);
}

void test_linger(void) {
    struct pair_app client, server;
    open_pair(NULL, &client, &server);
    // The server answers an upload that it does not want while it still comes in.
    server.take_at_most = 0;
    client.to_send = 2000000;
    client.close_when_sent = true;
    pair_app_pump(&client);
    pair_run_for(&p, 3000);
    server.to_send = 10000;
    server.close_when_sent = server.linger = true;
    pair_app_pump(&server);
    pair_run_for(&p, 10000000);
    CU_ASSERT_EQUAL(client.hash, pair_hash(22, 10000));
    CU_ASSERT_EQUAL(client.fins, 1);
    CU_ASSERT_EQUAL(client.why, TCP_CLOSED_NORMALLY);
    CU_ASSERT_EQUAL(server.why, TCP_CLOSED_NORMALLY);
    CU_ASSERT_EQUAL(server.received, 0);
    CU_ASSERT_EQUAL(pair_counter(&p, 1, TCP_RESETS_OUT), 0);
    pair_free(&p);
}

void test_simultaneous_close(void) {
    struct pair_app client, server;
    open_pair(NULL, &client, &server);
    tcp_close(client.c, false);
    tcp_close(server.c, false);
    pair_run_for(&p, 1000000);
    CU_ASSERT_EQUAL(client.why, TCP_CLOSED_NORMALLY);
    CU_ASSERT_EQUAL(server.why, TCP_CLOSED_NORMALLY);
    CU_ASSERT_EQUAL(client.closed + server.closed, 2);
    CU_ASSERT_EQUAL(tcp_stack_time_waits(p.side[0].stack), 1); // through CLOSING on both sides
    CU_ASSERT_EQUAL(tcp_stack_time_waits(p.side[1].stack), 1);
    CU_ASSERT_PTR_NULL(tcp_connect(p.side[0].stack, PAIR_A, 40000, PAIR_B, PAIR_PORT,
                                   &pair_handlers, NULL, p.now_us)); // the tuple is in use
    pair_run_for(&p, 61000000);
    CU_ASSERT_EQUAL(tcp_stack_time_waits(p.side[0].stack), 0);
    CU_ASSERT_EQUAL(tcp_stack_time_waits(p.side[1].stack), 0);
    CU_ASSERT_EQUAL(tcp_stack_next_deadline(p.side[0].stack), UINT64_MAX);
    pair_free(&p);
}

void test_simultaneous_open(void) {
    struct pair_app a, b;
    pair_init(&p, NULL, 3);
    pair_app_init(&a, 11, 22);
    pair_app_init(&b, 22, 11);
    a.to_send = 5000;
    b.to_send = 7000;
    // Both know the other's address, so that the SYNs cross.
    tcp_stack_pin_neighbour(p.side[0].stack, 0, PAIR_B, pair_mac[1]);
    tcp_stack_pin_neighbour(p.side[1].stack, 0, PAIR_A, pair_mac[0]);
    a.c = tcp_connect(p.side[0].stack, PAIR_A, 5000, PAIR_B, 6000, &pair_handlers, &a, p.now_us);
    b.c = tcp_connect(p.side[1].stack, PAIR_B, 6000, PAIR_A, 5000, &pair_handlers, &b, p.now_us);
    pair_run_for(&p, 1000000);
    CU_ASSERT_EQUAL(a.established, 1);
    CU_ASSERT_EQUAL(b.established, 1);
    CU_ASSERT_EQUAL(a.hash, pair_hash(22, 7000));
    CU_ASSERT_EQUAL(b.hash, pair_hash(11, 5000));
    pair_free(&p);
}

void test_connection_limit(void) {
    struct pair_app clients[6], server;
    struct tcp_limits l = patient_limits();
    l.conns_max = 3;
    pair_init(&p, &l, 1);
    pair_app_init(&server, 1, 1);
    for (unsigned int i = 0; i < 6; i++) {
        pair_app_init(&clients[i], 1, 1);
        CU_ASSERT_EQUAL(pair_connect(&p, &clients[i], (uint16_t)(1000 + i)), i < 3);
    }
    CU_ASSERT_EQUAL(pair_counter(&p, 0, TCP_DROP_TCP_CONN_LIMIT), 3);
    for (unsigned int i = 0; i < 3; i++)
        tcp_abort(clients[i].c);
    // Freed places can be used again.
    p.side[1].accept_app = &server;
    CU_ASSERT_TRUE(pair_connect(&p, &clients[4], 2000));
    pair_run_for(&p, 5000000); // at first the half-open ones of before fill B
    CU_ASSERT_EQUAL(clients[4].established, 1);
    CU_ASSERT_EQUAL(tcp_stack_conns(p.side[0].stack), 1);
    pair_free(&p);
}

static const struct unit_case cases[] = {
#define TCP_CASE_ENTRY(function, name) {name, function},
    TCP_CASES(TCP_CASE_ENTRY)
#undef TCP_CASE_ENTRY
        {0},
};

int main(int argc, char **argv) {
    return unit_main("tcp", cases, argc, argv);
}
