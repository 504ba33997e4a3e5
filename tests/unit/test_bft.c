/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lib/bft: the normal case and its limits, in the cluster of test_bft_cluster.c. Faults are in
 * test_bft_faults.c, the client alone in test_bft_client.c, the codecs in test_bft_codec.c.
 *
 *   test_bft seeds 137     replays one seed
 */
#include "test_bft.h"

static void check_normal(uint32_t n, uint32_t f) {
    struct cluster_options o;
    cluster_options_default(&o, n, f);
    struct cluster *c = cluster_new(&o);
    cluster_run(c, SECOND_US / 100);
    for (uint64_t id = 1; id <= 20; id++) {
        uint64_t cookie = cluster_write(c, 0, id, 10);
        CU_ASSERT_TRUE_FATAL(cluster_settle(c, SECOND_US));
        const struct cluster_request *q = cluster_request(c, cookie);
        CU_ASSERT_EQUAL(q->last, BFT_AGREED);
        CU_ASSERT_EQUAL(q->completions, 1);
        CU_ASSERT_EQUAL(q->sigma, BFT_SIGMA(id, 0));
        CU_ASSERT_EQUAL(q->incarnation, 77);
        check_result(q, id, 10);
    }
    cluster_run(c, SECOND_US);
    for (uint16_t i = 0; i < n; i++) {
        struct bft_replica_status st = cluster_status(c, i);
        CU_ASSERT_EQUAL(c->nodes[i].log_len, 20);
        CU_ASSERT_EQUAL(st.last_executed, 20);
        CU_ASSERT_EQUAL(st.last_stable, 16);
        CU_ASSERT_EQUAL(st.pending, 0);
        CU_ASSERT_FALSE(st.behind);
        CU_ASSERT_EQUAL(cluster_counter(c, i, BFT_REPLICA_EXECUTED), 20);
        CU_ASSERT_EQUAL(cluster_counter(c, i, BFT_REPLICA_CHECKPOINTS_STABLE), 2);
        CU_ASSERT_EQUAL(cluster_counter(c, i, BFT_REPLICA_RETRANSMITTED), 0);
    }
    CU_ASSERT_TRUE(cluster_logs_agree(c));
    CU_ASSERT_EQUAL(cluster_client_counter(c, 0, BFT_CLIENT_RETRANSMITTED), 0);
    CU_ASSERT_EQUAL(cluster_client_counter(c, 0, BFT_CLIENT_REPLIES_WRONG), 0);
    cluster_free(c);
}

static void test_normal_case(void) {
    check_normal(1, 0);
    check_normal(4, 1);
    check_normal(5, 1);
    check_normal(7, 2);
    check_normal(10, 3);
}

/* Hundreds of sessions at once: few batches, each request once, sigma unique. */
static void test_batching(void) {
    struct cluster_options o;
    cluster_options_default(&o, 4, 1);
    o.clients = 2;
    o.client.sessions = 300;
    o.execute_delay_us = 5;
    struct cluster *c = cluster_new(&o);
    for (uint64_t round = 0; round < 3; round++) {
        for (uint32_t client = 0; client < 2; client++)
            for (uint64_t i = 0; i < 300; i++)
                CU_ASSERT_NOT_EQUAL(
                    cluster_write(c, client, 1 + i + 300 * client + 600 * round, 20), UINT64_MAX);
        CU_ASSERT_EQUAL(cluster_write(c, 0, 9999, 1), UINT64_MAX); // no session is free
        CU_ASSERT_TRUE_FATAL(cluster_settle(c, 5 * SECOND_US));
    }
    cluster_run(c, SECOND_US);
    uint64_t batches = cluster_counter(c, 0, BFT_REPLICA_BATCHES);
    CU_ASSERT_TRUE(batches >= 1800 / BFT_BATCH_MAX);
    CU_ASSERT_TRUE(batches < 1800 / 8);
    bool index_seen = false;
    for (uint64_t k = 0; k < 1800; k++) {
        const struct cluster_request *q = cluster_request(c, k);
        CU_ASSERT_EQUAL(q->last, BFT_AGREED);
        check_result(q, k + 1, 20);
        index_seen |= (q->sigma & 0xffff) > 0;
        CU_ASSERT_TRUE(q->sigma >> 16 <= batches);
    }
    CU_ASSERT_TRUE(index_seen);
    CU_ASSERT_TRUE(cluster_logs_agree(c));
    for (uint16_t i = 0; i < 4; i++)
        CU_ASSERT_EQUAL(c->nodes[i].log_len, 1800);
    cluster_free(c);
}

/* Writes of one client, one after the other, and a reader who counts: sigma orders them. */
static void test_linear(void) {
    struct cluster_options o;
    cluster_options_default(&o, 4, 1);
    struct cluster *c = cluster_new(&o);
    uint64_t before = 0;
    for (uint64_t id = 1; id <= 10; id++) {
        uint8_t op[CLUSTER_OP_BYTES];
        uint64_t w = cluster_write(c, 0, id, 4), count;
        CU_ASSERT_TRUE_FATAL(cluster_settle(c, SECOND_US));
        cluster_op(op, sizeof op, CLUSTER_COUNT, 0, 0);
        uint64_t q = cluster_submit(c, 0, BFT_READ, op, sizeof op);
        CU_ASSERT_TRUE_FATAL(cluster_settle(c, SECOND_US));
        CU_ASSERT_TRUE(cluster_request(c, w)->sigma > before);
        CU_ASSERT_TRUE(cluster_request(c, q)->sigma > cluster_request(c, w)->sigma);
        before = cluster_request(c, q)->sigma;
        CU_ASSERT_EQUAL_FATAL(cluster_request(c, q)->result_len, sizeof count);
        memcpy(&count, cluster_request(c, q)->result, sizeof count);
        CU_ASSERT_EQUAL(count, id);
    }
    cluster_free(c);
}

static void test_large(void) {
    struct cluster_options o;
    const uint32_t size = 10u << 20;
    cluster_options_default(&o, 4, 1);
    o.client.retry_us = (uint32_t)SECOND_US; // the network here is not the point
    o.replica.status_us = (uint32_t)SECOND_US;
    struct cluster *c = cluster_new(&o);
    uint8_t *op = malloc(size);
    assert(op != NULL);
    cluster_op(op, size, CLUSTER_WRITE, 5, size);
    uint64_t cookie = cluster_submit(c, 0, 0, op, size);
    CU_ASSERT_TRUE_FATAL(cluster_settle(c, SECOND_US / 2));
    CU_ASSERT_EQUAL(cluster_request(c, cookie)->last, BFT_AGREED);
    check_result(cluster_request(c, cookie), 5, size);
    cluster_run(c, SECOND_US / 2);
    /* Four bodies and one result: digests for the rest. */
    CU_ASSERT_TRUE(c->bytes >= 5 * (uint64_t)size);
    CU_ASSERT_TRUE(c->bytes < 5 * (uint64_t)size + 100000);
    for (uint16_t i = 0; i < 4; i++)
        CU_ASSERT_EQUAL(c->nodes[i].log_len, 1);
    free(op);
    cluster_free(c);
}

static void test_too_large(void) {
    struct cluster_options o;
    cluster_options_default(&o, 4, 1);
    o.replica.group.request_max_bytes = 200;
    o.replica.group.result_max_bytes = 100;
    o.client.group.result_max_bytes = 100;
    struct cluster *c = cluster_new(&o);
    uint64_t cookie = cluster_write(c, 0, 1, 101);
    CU_ASSERT_TRUE_FATAL(cluster_settle(c, SECOND_US));
    CU_ASSERT_EQUAL(cluster_request(c, cookie)->last, BFT_TOO_LARGE);
    CU_ASSERT_EQUAL(cluster_request(c, cookie)->sigma, BFT_SIGMA(1, 0));
    CU_ASSERT_PTR_NULL(cluster_request(c, cookie)->result);
    cookie = cluster_write(c, 0, 2, 100);
    CU_ASSERT_TRUE_FATAL(cluster_settle(c, SECOND_US));
    check_result(cluster_request(c, cookie), 2, 100);
    uint8_t op[201]; // a client that does not know the replicas' limit
    cluster_op(op, sizeof op, CLUSTER_WRITE, 3, 1);
    cookie = cluster_submit(c, 0, 0, op, sizeof op);
    CU_ASSERT_FALSE(cluster_settle(c, SECOND_US));
    for (uint16_t i = 0; i < 4; i++) {
        CU_ASSERT_TRUE(cluster_counter(c, i, BFT_REPLICA_DROP_TOO_LARGE) > 0);
        CU_ASSERT_EQUAL(c->nodes[i].log_len, 2);
    }
    cluster_free(c);
}

/* ------------------------------------------------------------------ exactly once */

/* Keeps copies of what the client sends, to send them again. */
struct recorder {
    uint8_t *data[64];
    size_t len[64];
    uint32_t count;
};

static bool record(struct cluster *c, struct cluster_message *m) {
    struct recorder *rec = c->filter_ctx;
    if (m->from >= c->o.replica.group.n && m->to == 0 && rec->count < 64) {
        rec->data[rec->count] = malloc(m->len);
        assert(rec->data[rec->count] != NULL);
        memcpy(rec->data[rec->count], m->data, m->len);
        rec->len[rec->count++] = m->len;
    }
    return true;
}

static void replay(struct cluster *c, const struct recorder *rec, uint32_t i, uint16_t from) {
    for (uint16_t r = 0; r < c->o.replica.group.n; r++)
        if (r != from)
            cluster_post(c, from, r, rec->data[i], rec->len[i], 10);
    cluster_run(c, SECOND_US / 10);
}

static void recorder_free(struct recorder *rec) {
    for (uint32_t i = 0; i < rec->count; i++)
        free(rec->data[i]);
}

static void test_exactly_once(void) {
    struct cluster_options o;
    struct recorder rec = {0};
    cluster_options_default(&o, 4, 1);
    o.client.sessions = 1;
    struct cluster *c = cluster_new(&o);
    c->filter = record;
    c->filter_ctx = &rec;
    for (uint64_t id = 1; id <= 2; id++) {
        cluster_write(c, 0, id, 10);
        CU_ASSERT_TRUE_FATAL(cluster_settle(c, SECOND_US));
    }
    cluster_run(c, SECOND_US / 10);
    CU_ASSERT_EQUAL_FATAL(rec.count, 2);
    replay(c, &rec, 1, 4); // the last one: answered again, not executed again
    replay(c, &rec, 0, 4); // an older one: dropped
    replay(c, &rec, 1, 3); // relayed by a replica
    for (uint16_t i = 0; i < 4; i++) {
        CU_ASSERT_EQUAL(c->nodes[i].log_len, 2);
        CU_ASSERT_EQUAL(cluster_counter(c, i, BFT_REPLICA_EXECUTED), 2);
        CU_ASSERT_EQUAL(cluster_counter(c, i, BFT_REPLICA_REPLIES_CACHED), 1);
        CU_ASSERT_EQUAL(cluster_counter(c, i, BFT_REPLICA_DROP_OLD_REQUEST), 1);
        CU_ASSERT_EQUAL(cluster_counter(c, i, BFT_REPLICA_REQUESTS_DUPLICATE), i == 3 ? 1 : 2);
    }
    cluster_free(c);
    recorder_free(&rec);
}

/* More sessions than a replica remembers: every replica evicts the same, and nothing runs twice. */
static void test_session_eviction(void) {
    struct cluster_options o;
    struct recorder rec = {0};
    cluster_options_default(&o, 4, 1);
    o.replica.sessions_max = 4;
    o.client.sessions = 16;
    o.delay_min_us = o.delay_max_us =
        100; // in order: else a late request of 16 at once may be too late
    struct cluster *c = cluster_new(&o);
    c->filter = record;
    c->filter_ctx = &rec;
    for (uint64_t id = 1; id <= 16; id++)
        cluster_write(c, 0, id, 10); // one on each session
    CU_ASSERT_TRUE_FATAL(cluster_settle(c, SECOND_US));
    cluster_run(c, SECOND_US / 10);
    CU_ASSERT_EQUAL_FATAL(rec.count, 16);
    for (uint32_t i = 0; i < 16; i++)
        replay(c, &rec, i, 4);
    for (uint16_t i = 0; i < 4; i++) {
        CU_ASSERT_EQUAL(c->nodes[i].log_len, 16);
        CU_ASSERT_EQUAL(cluster_counter(c, i, BFT_REPLICA_SESSIONS_EVICTED), 12);
        CU_ASSERT_EQUAL(cluster_counter(c, i, BFT_REPLICA_DROP_OLD_REQUEST), 12);
    }
    for (uint64_t id = 17; id <= 32; id++) {
        cluster_write(c, 0, id, 10); // and evicted sessions go on
        CU_ASSERT_TRUE_FATAL(cluster_settle(c, SECOND_US));
    }
    cluster_run(c, SECOND_US);
    for (uint16_t i = 0; i < 4; i++) {
        CU_ASSERT_EQUAL(c->nodes[i].log_len, 32);
        CU_ASSERT_TRUE(cluster_counter(c, i, BFT_REPLICA_CHECKPOINTS_STABLE) > 0);
        CU_ASSERT_EQUAL(cluster_counter(c, i, BFT_REPLICA_CHECKPOINT_MISMATCH), 0);
    }
    CU_ASSERT_TRUE(cluster_logs_agree(c));
    cluster_free(c);
    recorder_free(&rec);
}

/* The client starts anew: its former life is over, whatever turns up from it. */
static void test_client_epochs(void) {
    struct cluster_options o;
    struct recorder rec = {0};
    cluster_options_default(&o, 4, 1);
    o.client.sessions = 1;
    struct cluster *c = cluster_new(&o);
    c->filter = record;
    c->filter_ctx = &rec;
    cluster_write(c, 0, 1, 10); // rec 0, of the first life
    CU_ASSERT_TRUE_FATAL(cluster_settle(c, SECOND_US));
    c->o.loss_permille = 1000;
    cluster_replace_client(c, 0, 0x2000);
    cluster_write(c, 0, 2, 10); // rec 1, of a life that nobody hears of
    c->o.loss_permille = 0;
    cluster_replace_client(c, 0, 0x3000);
    cluster_request(c, 1)->finished = true;
    uint64_t cookie = cluster_write(c, 0, 3, 10); // rec 2
    CU_ASSERT_TRUE_FATAL(cluster_settle(c, SECOND_US));
    check_result(cluster_request(c, cookie), 3, 10);
    cluster_run(c, SECOND_US / 10);
    replay(c, &rec, 0, 4);
    for (uint16_t i = 0; i < 4; i++)
        CU_ASSERT_EQUAL(cluster_counter(c, i, BFT_REPLICA_DROP_OLD_REQUEST), 1);
    replay(c, &rec, 1, 3); // kept by a faulty replica: cannot begin an epoch
    cookie = cluster_write(c, 0, 4, 10);
    CU_ASSERT_TRUE_FATAL(cluster_settle(c, SECOND_US));
    check_result(cluster_request(c, cookie), 4, 10);
    cluster_run(c, SECOND_US / 10);
    for (uint16_t i = 0; i < 4; i++) {
        CU_ASSERT_EQUAL(c->nodes[i].log_len, 3);
        CU_ASSERT_EQUAL(cluster_times(c, i, 2), 0);
    }
    cluster_free(c);
    recorder_free(&rec);
}

/* S22 at the replicas: a client of another incarnation is told, and nothing is executed. */
static void test_other_incarnation(void) {
    struct cluster_options o;
    cluster_options_default(&o, 4, 1);
    o.client.group.incarnation = 76;
    struct cluster *c = cluster_new(&o);
    uint64_t write = cluster_write(c, 0, 1, 10), read = cluster_read(c, 0, 0, 2, 10);
    CU_ASSERT_FALSE(cluster_settle(c, SECOND_US));
    CU_ASSERT_EQUAL(cluster_request(c, read)->last, BFT_AGREED);
    CU_ASSERT_EQUAL(cluster_request(c, read)->incarnation, 77);
    CU_ASSERT_FALSE(cluster_request(c, write)->finished);
    for (uint16_t i = 0; i < 4; i++) {
        CU_ASSERT_EQUAL(c->nodes[i].log_len, 0);
        CU_ASSERT_TRUE(cluster_counter(c, i, BFT_REPLICA_DROP_INCARNATION) >= 2);
    }
    write = cluster_write(c, 0, 3, 10);
    cluster_run(c, SECOND_US);
    CU_ASSERT_EQUAL(cluster_request(c, write)->last, BFT_AGREED);
    CU_ASSERT_EQUAL(c->nodes[0].log_len, 1);
    cluster_free(c);
}

/* ------------------------------------------------------------------ reads, limits */

static void test_unordered_reads(void) {
    struct cluster_options o;
    cluster_options_default(&o, 4, 1);
    o.replica.group.read_optimisation = o.client.group.read_optimisation = true;
    struct cluster *c = cluster_new(&o);
    cluster_write(c, 0, 1, 10);
    CU_ASSERT_TRUE_FATAL(cluster_settle(c, SECOND_US));
    cluster_run(c, SECOND_US / 10);
    uint64_t read = cluster_read(c, 0, BFT_UNORDERED, 7, 1000);
    CU_ASSERT_TRUE_FATAL(cluster_settle(c, SECOND_US));
    CU_ASSERT_EQUAL(cluster_request(c, read)->last, BFT_UNORDERED_AGREED);
    CU_ASSERT_EQUAL(cluster_request(c, read)->sigma, 0);
    check_result(cluster_request(c, read), 7, 1000);
    cluster_run(c, SECOND_US / 10);
    for (uint16_t i = 0; i < 4; i++) {
        CU_ASSERT_EQUAL(cluster_counter(c, i, BFT_REPLICA_EXECUTED_UNORDERED), 1);
        CU_ASSERT_EQUAL(cluster_status(c, i).last_executed, 1);
    }
    cluster_free(c);
}

/* Law 9: a flood of reads of one client leaves places for another's. */
static void test_unordered_share(void) {
    struct cluster_options o;
    cluster_options_default(&o, 4, 1);
    o.clients = 2;
    o.replica.group.read_optimisation = o.client.group.read_optimisation = true;
    o.client.sessions = 600;
    o.execute_delay_us = 20000;
    struct cluster *c = cluster_new(&o);
    for (uint64_t id = 0; id < 600; id++)
        cluster_read(c, 0, BFT_UNORDERED, id, 10);
    cluster_run(c, 200); // they have arrived, and hardly one is done
    uint64_t dropped = cluster_counter(c, 1, BFT_REPLICA_DROP_QUEUE_FULL);
    CU_ASSERT_TRUE(dropped >= 70 && dropped <= 600 - 512);
    uint64_t cookie = cluster_read(c, 1, BFT_UNORDERED, 700, 10);
    cluster_run(c, SECOND_US / 20);
    CU_ASSERT_EQUAL(cluster_request(c, cookie)->last, BFT_UNORDERED_AGREED);
    CU_ASSERT_TRUE(cluster_request(c, cookie)->finished);
    CU_ASSERT_TRUE(cluster_settle(c, 60 * SECOND_US));
    check_result(cluster_request(c, 599), 599, 10);
    CU_ASSERT_TRUE(cluster_client_counter(c, 0, BFT_CLIENT_UNORDERED_FAILED) > 0);
    cluster_free(c);
}

/* More requests than may wait: they are dropped, counted, and sent again by their client. */
static void test_pending_limit(void) {
    struct cluster_options o;
    cluster_options_default(&o, 4, 1);
    o.clients = 2;
    o.replica.pending_max = 8; // 4 for each client
    o.replica.batch_max_requests = 2;
    o.replica.pipeline_max = 1;
    o.client.sessions = 40;
    o.client.timeout_us = 60 * (uint32_t)SECOND_US;
    struct cluster *c = cluster_new(&o);
    for (uint32_t client = 0; client < 2; client++) {
        cluster_write(c, client, 200 + client,
                      10); // a replica cannot vouch for the first of a life
        CU_ASSERT_TRUE_FATAL(cluster_settle(c, SECOND_US));
    }
    for (uint64_t id = 1; id <= 40; id++)
        cluster_write(c, 0, id, 10);
    uint64_t other = cluster_write(c, 1, 100, 10);
    cluster_run(c, SECOND_US / 20);                               // before any retry
    CU_ASSERT_EQUAL(cluster_request(c, other)->last, BFT_AGREED); // law 9: untouched by the flood
    CU_ASSERT_TRUE(cluster_request(c, other)->finished);
    CU_ASSERT_TRUE(cluster_counter(c, 0, BFT_REPLICA_DROP_QUEUE_FULL) >= 20);
    CU_ASSERT_TRUE(cluster_settle(c, 60 * SECOND_US));
    CU_ASSERT_TRUE(cluster_logs_agree(c));
    CU_ASSERT_EQUAL(c->nodes[0].log_len, 43);
    cluster_free(c);
}

/* Bodies and replies of 100 KiB in 2 MiB: old ones go, and requests still complete. */
static void test_memory_limit(void) {
    struct cluster_options o;
    const uint32_t size = 100u << 10;
    cluster_options_default(&o, 4, 1);
    o.replica.memory_max_bytes = 2u << 20;
    o.replica.group.request_max_bytes = o.client.group.request_max_bytes = size;
    o.client.sessions = 8;
    o.client.timeout_us = 60 * (uint32_t)SECOND_US;
    struct cluster *c = cluster_new(&o);
    uint8_t *op = malloc(size);
    assert(op != NULL);
    for (uint64_t id = 1; id <= 64; id++) {
        cluster_op(op, size, CLUSTER_WRITE, id, size);
        while (cluster_submit(c, 0, 0, op, size) == UINT64_MAX)
            CU_ASSERT_TRUE_FATAL(cluster_step(c, UINT64_MAX));
    }
    CU_ASSERT_TRUE(cluster_settle(c, 60 * SECOND_US));
    cluster_run(c, SECOND_US);
    for (uint16_t i = 0; i < 4; i++) {
        CU_ASSERT_EQUAL(c->nodes[i].log_len, 64);
        CU_ASSERT_TRUE(cluster_counter(c, i, BFT_REPLICA_BODIES_EVICTED) > 0);
    }
    for (uint64_t k = 0; k < 64; k++)
        check_result(cluster_request(c, k), k + 1, size);
    CU_ASSERT_TRUE(cluster_logs_agree(c));
    free(op);
    cluster_free(c);
}

/* Law 9: the large requests of one client leave room for another's. */
static void test_memory_share(void) {
    struct cluster_options o;
    const uint32_t size = 100u << 10;
    cluster_options_default(&o, 4, 1);
    o.clients = 2;
    o.replica.memory_max_bytes = 2u << 20; // half of it for bodies, half of that for each client
    o.replica.pipeline_max = 1;
    o.replica.batch_max_requests = 1;
    o.client.sessions = 8;
    o.execute_delay_us = 200000;
    struct cluster *c = cluster_new(&o);
    uint8_t *op = malloc(size);
    assert(op != NULL);
    for (uint64_t id = 1; id <= 8; id++) {
        cluster_op(op, size, CLUSTER_WRITE, id, 10);
        CU_ASSERT_NOT_EQUAL(cluster_submit(c, 0, 0, op, size), UINT64_MAX);
    }
    cluster_run(c, SECOND_US / 100);
    CU_ASSERT_EQUAL(cluster_counter(c, 0, BFT_REPLICA_DROP_QUEUE_FULL), 3); // 5 x 100 KiB fit
    CU_ASSERT_EQUAL(cluster_status(c, 0).pending, 5);
    cluster_op(op, size, CLUSTER_WRITE, 9, 10);
    cluster_submit(c, 1, 0, op, size);
    cluster_run(c, SECOND_US / 100);
    CU_ASSERT_EQUAL(cluster_counter(c, 0, BFT_REPLICA_DROP_QUEUE_FULL), 3);
    CU_ASSERT_EQUAL(cluster_status(c, 0).pending, 6);
    CU_ASSERT_TRUE(cluster_settle(c, 60 * SECOND_US));
    CU_ASSERT_EQUAL(c->nodes[0].log_len, 9);
    free(op);
    cluster_free(c);
}

/* A reply that was dropped for memory is answered as a digest; small ones are never dropped. */
static void test_result_eviction(void) {
    struct cluster_options o;
    struct recorder rec = {0};
    cluster_options_default(&o, 4, 1);
    o.client.sessions = 8;
    o.replica.memory_max_bytes = 64u << 10;
    struct cluster *c = cluster_new(&o);
    c->filter = record;
    c->filter_ctx = &rec;
    cluster_write(c, 0, 1, 10);
    for (uint64_t id = 2; id <= 8; id++)
        cluster_write(c, 0, id, 10u << 10);
    CU_ASSERT_TRUE_FATAL(cluster_settle(c, SECOND_US));
    cluster_run(c, SECOND_US / 10);
    CU_ASSERT_EQUAL_FATAL(rec.count, 8);
    CU_ASSERT_EQUAL(cluster_counter(c, 1, BFT_REPLICA_RESULTS_EVICTED), 4); // 3 fit into 32 KiB
    uint64_t before = c->bytes;
    for (uint32_t i = 0; i < 8; i++) {
        rec.data[i][1] = BFT_FULL_REPLY;
        cluster_post(c, 4, 1, rec.data[i], rec.len[i], 10 + i);
    }
    cluster_run(c, 100);
    CU_ASSERT_EQUAL(cluster_counter(c, 1, BFT_REPLICA_REPLIES_CACHED), 8);
    CU_ASSERT_EQUAL(c->bytes - before, 8 * BFT_REPLY_FIXED_BYTES + 10 + 3 * (10u << 10));
    before = c->bytes;
    for (uint32_t i = 0; i < 8; i++)
        cluster_post(c, 4, 1, rec.data[i], rec.len[i], 10 + i); // and large ones not again at once
    cluster_run(c, 100);
    CU_ASSERT_EQUAL(c->bytes - before, 8 * BFT_REPLY_FIXED_BYTES + 10);
    CU_ASSERT_EQUAL(c->nodes[1].log_len, 8);
    cluster_free(c);
    recorder_free(&rec);
}

/* ------------------------------------------------------------------ watermarks, input */

static void post_vote(struct cluster *c, uint16_t from, uint16_t to, uint8_t type, uint64_t view,
                      uint64_t sequence, uint64_t incarnation) {
    uint8_t out[BFT_VOTE_BYTES];
    struct bft_vote_msg m = {.h = {.type = type, .incarnation = incarnation},
                             .view = view,
                             .sequence = sequence,
                             .digest = {1, 2, 3}};
    size_t len = bft_encode_vote(out, sizeof out, &m);
    cluster_post(c, from, to, out, len, 0);
    cluster_run(c, 1);
}

static void test_watermarks(void) {
    struct cluster_options o;
    cluster_options_default(&o, 4, 1);
    struct cluster *c = cluster_new(&o);
    for (uint64_t id = 1; id <= 40; id++) {
        cluster_write(c, 0, id, 1);
        CU_ASSERT_TRUE_FATAL(cluster_settle(c, SECOND_US));
    }
    cluster_run(c, SECOND_US / 10);
    CU_ASSERT_EQUAL(cluster_status(c, 1).last_stable, 40);
    uint64_t before = cluster_counter(c, 1, BFT_REPLICA_DROP_WATERMARK);
    post_vote(c, 3, 1, BFT_MSG_COMMIT, 0, 40, 77); // at the low one
    post_vote(c, 3, 1, BFT_MSG_COMMIT, 0, 73, 77); // above the high one
    post_vote(c, 3, 1, BFT_MSG_COMMIT, 0, UINT64_MAX, 77);
    CU_ASSERT_EQUAL(cluster_counter(c, 1, BFT_REPLICA_DROP_WATERMARK), before + 3);
    post_vote(c, 3, 1, BFT_MSG_COMMIT, 0, 72, 77); // at it
    CU_ASSERT_EQUAL(cluster_counter(c, 1, BFT_REPLICA_DROP_WATERMARK), before + 3);
    post_vote(c, 3, 1, BFT_MSG_PREPARE, 1, 42, 77);
    CU_ASSERT_EQUAL(cluster_counter(c, 1, BFT_REPLICA_DROP_VIEW), 1);
    post_vote(c, 3, 1, BFT_MSG_PREPARE, 0, 42, 78);
    CU_ASSERT_EQUAL(cluster_counter(c, 1, BFT_REPLICA_DROP_INCARNATION), 1);
    CU_ASSERT_EQUAL(cluster_status(c, 1).highest_seen, 40); // one replica's word is none
    post_vote(c, 0, 1, BFT_MSG_PREPARE, 0, 42, 77);         // the primary does not prepare
    post_vote(c, 4, 1, BFT_MSG_PREPARE, 0, 42, 77);         // nor does a client
    CU_ASSERT_EQUAL(cluster_counter(c, 1, BFT_REPLICA_DROP_SENDER), 2);
    uint64_t cookie = cluster_write(c, 0, 41, 1);
    CU_ASSERT_TRUE_FATAL(cluster_settle(c, SECOND_US));
    CU_ASSERT_EQUAL(cluster_request(c, cookie)->last, BFT_AGREED);
    cluster_free(c);
}

/* Without checkpoints that become stable nothing is proposed beyond the window. */
static bool drop_checkpoints(struct cluster *c, struct cluster_message *m) {
    (void)c;
    return m->data[0] != BFT_MSG_CHECKPOINT && m->data[0] != BFT_MSG_STATUS;
}

static void test_window_full(void) {
    struct cluster_options o;
    cluster_options_default(&o, 4, 1);
    struct cluster *c = cluster_new(&o);
    c->filter = drop_checkpoints;
    for (uint64_t id = 1; id <= 32; id++) {
        cluster_write(c, 0, id, 1);
        CU_ASSERT_TRUE_FATAL(cluster_settle(c, SECOND_US));
    }
    uint64_t cookie = cluster_write(c, 0, 33, 1);
    CU_ASSERT_FALSE(cluster_settle(c, SECOND_US));
    for (uint16_t i = 0; i < 4; i++) {
        CU_ASSERT_EQUAL(cluster_status(c, i).last_executed, 32);
        CU_ASSERT_EQUAL(cluster_status(c, i).last_stable, 0);
        CU_ASSERT_EQUAL(cluster_status(c, i).pending, 1);
    }
    c->filter = NULL; // lost checkpoints are sent again
    CU_ASSERT_TRUE(cluster_settle(c, SECOND_US));
    CU_ASSERT_EQUAL(cluster_request(c, cookie)->last, BFT_AGREED);
    CU_ASSERT_EQUAL(cluster_status(c, 0).last_stable, 32);
    cluster_free(c);
}

/* Every truncation of every message of a run goes into a replica that has seen nothing. */
static bool truncate_all(struct cluster *c, struct cluster_message *m) {
    struct bft_replica *victim = c->filter_ctx;
    for (size_t cut = 0; cut < m->len && m->from < c->o.replica.group.n; cut++)
        bft_replica_input(victim, m->from, 0, m->data, cut, c->now_us);
    return true;
}

static void nothing_send(void *ctx, uint16_t principal, uint16_t endpoint, const uint8_t *message,
                         size_t len) {
    (void)principal;
    (void)endpoint;
    (void)message;
    *(size_t *)ctx += len;
}

static void nothing_broadcast(void *ctx, const uint8_t *message, size_t len) {
    nothing_send(ctx, 0, 0, message, len);
}

static void nothing_execute(void *ctx, const struct bft_execution *e) {
    (void)e;
    *(size_t *)ctx += 1;
}

static void test_truncated_input(void) {
    struct cluster_options o;
    cluster_options_default(&o, 4, 1);
    struct cluster *c = cluster_new(&o);
    struct bft_replica_config cfg = o.replica;
    size_t done = 0;
    struct bft_replica_env env = {.ctx = &done,
                                  .send = nothing_send,
                                  .broadcast = nothing_broadcast,
                                  .execute = nothing_execute};
    cfg.self = 3;
    struct bft_replica *victim = bft_replica_new(&cfg, &env, cluster_keys_of(c, 3), 5);
    CU_ASSERT_PTR_NOT_NULL_FATAL(victim);
    c->filter = truncate_all;
    c->filter_ctx = victim;
    for (uint64_t id = 1; id <= 10; id++) {
        cluster_write(c, 0, id, 1);
        CU_ASSERT_TRUE_FATAL(cluster_settle(c, SECOND_US));
    }
    cluster_run(c, 2 * SECOND_US);
    uint64_t counters[BFT_REPLICA_COUNTER_COUNT];
    bft_replica_counters(victim, counters);
    CU_ASSERT_TRUE(counters[BFT_REPLICA_DROP_MALFORMED] > 1000);
    CU_ASSERT_EQUAL(done, 0); // none of it made the replica do anything
    uint64_t unknown = counters[BFT_REPLICA_DROP_TYPE];
    for (uint8_t type = 0; type < 64; type++) {
        const uint8_t message[BFT_HEADER_BYTES] = {type};
        bft_replica_input(victim, 1, 0, message, sizeof message, 0);
    }
    bft_replica_counters(victim, counters);
    CU_ASSERT_EQUAL(counters[BFT_REPLICA_DROP_TYPE] - unknown,
                    64 - 7); // replies too: no client here
    bft_replica_free(victim);
    cluster_free(c);
}

static void test_configuration(void) {
    struct bft_replica_config cfg;
    struct bft_replica_env env = {0};
    static const uint8_t keys[5][CRYPTO_KEY_BYTES];
    bft_replica_config_default(&cfg);
    cfg.group.n = 3; // fewer than 3f + 1
    CU_ASSERT_PTR_NULL(bft_replica_new(&cfg, &env, keys, 5));
    bft_replica_config_default(&cfg);
    cfg.log_window = 2 * cfg.checkpoint_interval - 1;
    CU_ASSERT_PTR_NULL(bft_replica_new(&cfg, &env, keys, 5));
    bft_replica_config_default(&cfg);
    cfg.self = 4;
    CU_ASSERT_PTR_NULL(bft_replica_new(&cfg, &env, keys, 5));
    bft_replica_config_default(&cfg);
    CU_ASSERT_PTR_NULL(bft_replica_new(&cfg, &env, keys, 3)); // a replica without a key
    struct bft_replica *r = bft_replica_new(&cfg, &env, keys, 5);
    CU_ASSERT_PTR_NOT_NULL(r);
    bft_replica_free(r);
    for (uint32_t i = 0; i < BFT_REPLICA_COUNTER_COUNT; i++)
        CU_ASSERT_PTR_NOT_NULL(bft_replica_counter_names[i]);
    for (uint32_t i = 0; i < BFT_CLIENT_COUNTER_COUNT; i++)
        CU_ASSERT_PTR_NOT_NULL(bft_client_counter_names[i]);
}

static const struct unit_case cases[] = {
    {"codec: round trip", test_codec_round_trip},
    {"codec: round trip of votes", test_codec_round_trip_votes},
    {"codec: every truncation", test_codec_truncation},
    {"codec: strict", test_codec_strict},
    {"codec: mutations", test_codec_mutations},
    {"codec: quorum", test_codec_quorum},
    {"client: agreement", test_client_agreement},
    {"client: full result", test_client_full_result},
    {"client: digest lie", test_client_digest_lie},
    {"client: liars", test_client_liars},
    {"client: S11 S24 tentative", test_client_tentative},
    {"client: S15 unordered", test_client_unordered},
    {"client: needed", test_client_needed},
    {"client: disagreement", test_client_disagreement},
    {"client: disagreement by digests", test_client_disagreement_digests},
    {"client: disagreement, one silent", test_client_disagreement_silent},
    {"client: too large", test_client_too_large},
    {"client: read times out", test_client_timeout_read},
    {"client: write times out, agreed late", test_client_timeout_write},
    {"client: abandon", test_client_abandon},
    {"client: retransmission", test_client_retransmission},
    {"client: S22 incarnation", test_client_incarnation},
    {"client: drops", test_client_drops},
    {"client: memory", test_client_memory},
    {"client: resubmit", test_client_resubmit},
    {"client: mutations", test_client_mutations},
    {"configuration", test_configuration},
    {"normal case", test_normal_case},
    {"batching", test_batching},
    {"linear", test_linear},
    {"large", test_large},
    {"too large", test_too_large},
    {"exactly once", test_exactly_once},
    {"session eviction", test_session_eviction},
    {"client epochs", test_client_epochs},
    {"S22 other incarnation", test_other_incarnation},
    {"unordered reads", test_unordered_reads},
    {"unordered share", test_unordered_share},
    {"pending limit", test_pending_limit},
    {"memory limit", test_memory_limit},
    {"memory share", test_memory_share},
    {"result eviction", test_result_eviction},
    {"watermarks", test_watermarks},
    {"window full", test_window_full},
    {"truncated input", test_truncated_input},
    {"seeds", test_seeds},
    {"crashed backups", test_crashed_backups},
    {"silenced within the window", test_silenced_within_window},
    {"silenced beyond the window", test_silenced_beyond_window},
    {"restarted backup", test_restarted_backup},
    {"caught up helps", test_caught_up_helps},
    {"restarted primary", test_restarted_primary},
    {"lying replica", test_lying_replica},
    {"noisy replica", test_noisy_replica},
    {"equivocating primary", test_equivocating_primary},
    {"repeating primary", test_repeating_primary},
    {"vote counts", test_vote_counts},
    {"senders", test_senders},
    {"lost proposal", test_lost_proposal},
    {"bad authenticator at one replica", test_bad_authenticator},
    {"bad authenticators", test_bad_authenticators},
    {"diverged replica", test_diverged_replica},
    {"failing backend", test_failing_backend},
    {"stale replica, unordered", test_stale_replica_unordered},
    {0},
};

int main(int argc, char **argv) {
    if (argc > 2)
        test_only_seed = strtoull(argv[2], NULL, 0);
    return unit_main("bft", cases, argc, argv);
}
