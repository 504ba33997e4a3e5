/* SPDX-License-Identifier: BSD-3-Clause */
/* Networks that lose and reorder, replicas that are silent, restart or lie, clients that cheat. */
#include "test_bft.h"

#define SEEDS 240u

uint64_t test_only_seed;

/* ------------------------------------------------------------------ random runs */

struct run {
    struct cluster *c;
    uint64_t seed;
    uint32_t requests;
    uint64_t settled; // cookies below are taken into highest_sigma
    uint64_t highest_sigma;
    uint64_t *floor; // per cookie: sigma of what had completed before it was submitted
};

static uint64_t between(struct cluster *c, uint64_t low, uint64_t high) {
    return low + cluster_random(c) % (high - low + 1);
}

static struct cluster *random_cluster(uint64_t seed) {
    struct cluster_options o;
    struct cluster draw = {.random = seed * 7919};
    bool seven = between(&draw, 0, 3) == 0;
    cluster_options_default(&o, seven ? 7 : 4, seven ? 2 : 1);
    o.seed = seed;
    o.clients = (uint32_t)between(&draw, 1, 3);
    o.loss_permille = (uint32_t)between(&draw, 0, 2) * (uint32_t)between(&draw, 0, 75);
    o.duplicate_permille = (uint32_t)between(&draw, 0, 200);
    o.delay_max_us = (uint32_t)between(&draw, 100, 5000);
    o.execute_delay_us = between(&draw, 0, 1) == 0 ? 0 : (uint32_t)between(&draw, 1, 400);
    o.replica.checkpoint_interval = between(&draw, 0, 1) == 0 ? 4 : 8;
    o.replica.log_window = o.replica.checkpoint_interval * (uint32_t)between(&draw, 2, 4);
    o.replica.retain_batches = 256;
    o.replica.pipeline_max = (uint32_t)between(&draw, 1, 4);
    o.replica.batch_max_requests = (uint32_t)between(&draw, 1, 8);
    o.replica.sessions_max = 48;
    o.client.sessions = (uint32_t)between(&draw, 1, 16);
    o.client.retry_us = 40000;
    o.client.timeout_us = 600 * (uint32_t)SECOND_US;
    o.client.abandon_us = 600 * (uint32_t)SECOND_US;
    return cluster_new(&o);
}

/* What has completed by now bounds the sigma of what is submitted from now on. */
static void note_completed(struct run *run) {
    for (uint64_t k = 0; k < run->c->request_count; k++) {
        const struct cluster_request *q = cluster_request(run->c, k);
        if (q->finished && q->sigma > run->highest_sigma)
            run->highest_sigma = q->sigma;
    }
}

static bool submit_random(struct run *run, uint64_t id) {
    struct cluster *c = run->c;
    uint32_t client = (uint32_t)(cluster_random(c) % c->o.clients);
    if (bft_client_free_sessions(c->clients[client].client) == 0)
        return false;
    note_completed(run);
    bool read = cluster_random(c) % 4 == 0;
    uint64_t cookie =
        read ? cluster_read(c, client, 0, id, 300) : cluster_write(c, client, id, 300);
    CU_ASSERT_EQUAL_FATAL(cookie, id);
    run->floor[cookie] = run->highest_sigma;
    return true;
}

/* A replica without memory counts as faulty until it has caught up, so only one at a time. */
static bool all_caught_up(const struct cluster *c) {
    uint64_t lowest = UINT64_MAX, highest = 0;
    for (uint16_t i = 0; i < c->o.replica.group.n; i++) {
        struct bft_replica_status st = cluster_status(c, i);
        lowest = st.last_executed < lowest ? st.last_executed : lowest;
        highest = st.highest_seen > highest ? st.highest_seen : highest;
    }
    return lowest + c->o.replica.pipeline_max >= highest;
}

/* Now and then a backup is cut off for a while, at most f at once, or restarts. */
static void disturb(struct run *run) {
    struct cluster *c = run->c;
    uint32_t n = c->o.replica.group.n, silenced = 0;
    uint16_t victim = (uint16_t)between(c, 1, n - 1);
    for (uint32_t i = 0; i < n; i++)
        silenced += c->nodes[i].silenced;
    if (c->nodes[victim].silenced)
        c->nodes[victim].silenced = false;
    else if (silenced < c->o.replica.group.f && between(c, 0, 3) > 0)
        c->nodes[victim].silenced = true;
    else if (silenced == 0 && all_caught_up(c))
        cluster_restart(c, victim);
}

static void heal(struct cluster *c) {
    for (uint32_t i = 0; i < c->o.replica.group.n; i++)
        c->nodes[i].silenced = false;
    c->o.loss_permille = 0;
}

static void check_run(const struct run *run) {
    struct cluster *c = run->c;
    CU_ASSERT_TRUE(cluster_logs_agree(c));
    for (uint16_t i = 0; i < c->o.replica.group.n; i++) {
        struct bft_replica_status st = cluster_status(c, i);
        CU_ASSERT_EQUAL(c->nodes[i].log_len, c->nodes[0].log_len);
        CU_ASSERT_EQUAL(c->nodes[i].executions, run->requests);
        CU_ASSERT_FALSE(st.behind);
        CU_ASSERT_EQUAL(st.pending, 0);
        CU_ASSERT_EQUAL(cluster_counter(c, i, BFT_REPLICA_CHECKPOINT_MISMATCH), 0);
        CU_ASSERT_EQUAL(cluster_counter(c, i, BFT_REPLICA_DROP_CONFLICT), 0);
        CU_ASSERT_EQUAL(cluster_counter(c, i, BFT_REPLICA_DROP_MALFORMED), 0);
        CU_ASSERT_TRUE(st.last_stable + c->o.replica.checkpoint_interval > st.last_executed);
    }
    for (uint64_t k = 0; k < run->requests; k++) {
        const struct cluster_request *q = cluster_request(c, k);
        CU_ASSERT_EQUAL(q->last, BFT_AGREED);
        CU_ASSERT_EQUAL(q->completions, 1);
        CU_ASSERT_TRUE(q->sigma > run->floor[k]); // real time order
        check_result(q, k, 300);
    }
}

static void run_seed(uint64_t seed) {
    struct run run = {.c = random_cluster(seed), .seed = seed, .requests = 120};
    uint64_t floors[120], id = 0;
    unsigned int failures = CU_get_number_of_failures();
    run.floor = floors;
    while (id < run.requests && run.c->now_us < 600 * SECOND_US) {
        if (submit_random(&run, id))
            id++;
        else
            cluster_step(run.c, UINT64_MAX);
        if (cluster_random(run.c) % 400 == 0)
            disturb(&run);
        if (cluster_random(run.c) % 8 == 0)
            cluster_run(run.c, cluster_random(run.c) % 1000);
    }
    bool settled = cluster_settle(run.c, 300 * SECOND_US);
    CU_ASSERT_TRUE(settled);
    heal(run.c);
    cluster_run(run.c, 10 * SECOND_US);
    if (settled)
        check_run(&run);
    if (CU_get_number_of_failures() > failures)
        printf("\n  failed with seed %lu: test_bft seeds %lu\n", seed, seed);
    cluster_free(run.c);
}

void test_seeds(void) {
    for (uint64_t seed = 1; seed <= SEEDS; seed++)
        if (test_only_seed == 0 || test_only_seed == seed)
            run_seed(seed);
    if (test_only_seed > SEEDS)
        run_seed(test_only_seed);
}

/* ------------------------------------------------------------------ silence */

static void write_some(struct cluster *c, uint64_t first, uint64_t last) {
    for (uint64_t id = first; id <= last; id++) {
        uint64_t cookie = cluster_write(c, 0, id, 10);
        CU_ASSERT_TRUE_FATAL(cluster_settle(c, 5 * SECOND_US));
        CU_ASSERT_EQUAL(cluster_request(c, cookie)->last, BFT_AGREED);
        check_result(cluster_request(c, cookie), id, 10);
    }
}

static struct cluster *default_cluster(uint32_t n, uint32_t f) {
    struct cluster_options o;
    cluster_options_default(&o, n, f);
    return cluster_new(&o);
}

void test_crashed_backups(void) {
    for (uint32_t f = 1; f <= 3; f++) {
        struct cluster *c = default_cluster(3 * f + 1, f);
        for (uint32_t i = 0; i < f; i++)
            c->nodes[1 + 2 * i].crashed = true;
        write_some(c, 1, 60);
        CU_ASSERT_EQUAL(cluster_status(c, 0).last_executed, 60);
        cluster_run(c, SECOND_US);
        CU_ASSERT_EQUAL(cluster_status(c, 0).last_stable, 56);
        c->nodes[2].crashed = true; // one too many: nothing more, and nothing wrong
        uint64_t cookie = cluster_write(c, 0, 61, 10);
        CU_ASSERT_FALSE(cluster_settle(c, SECOND_US));
        CU_ASSERT_FALSE(cluster_request(c, cookie)->finished);
        CU_ASSERT_EQUAL(c->nodes[0].log_len, 60);
        CU_ASSERT_TRUE(cluster_logs_agree(c));
        cluster_free(c);
    }
}

void test_silenced_within_window(void) {
    struct cluster *c = default_cluster(4, 1);
    write_some(c, 1, 5);
    c->nodes[3].silenced = true;
    write_some(c, 6, 45); // stable at 40, so the log starts at 9, and 3 has executed 5 ...
    c->nodes[3].silenced = false;
    cluster_run(c, 2 * SECOND_US);
    CU_ASSERT_TRUE(cluster_status(c, 3).behind);
    cluster_free(c);

    c = default_cluster(4, 1);
    write_some(c, 1, 15);
    c->nodes[3].silenced = true;
    write_some(c, 16, 45); // ... but 9 is not more than 16
    CU_ASSERT_TRUE(c->nodes[3].log_len <= 15);
    c->nodes[3].silenced = false;
    cluster_run(c, 2 * SECOND_US);
    CU_ASSERT_FALSE(cluster_status(c, 3).behind);
    CU_ASSERT_EQUAL(c->nodes[3].log_len, 45);
    CU_ASSERT_EQUAL(cluster_status(c, 3).last_stable, 40);
    CU_ASSERT_TRUE(cluster_counter(c, 3, BFT_REPLICA_STATUS_SENT) > 0);
    CU_ASSERT_TRUE(cluster_counter(c, 3, BFT_REPLICA_FETCHES_SENT) >= 30);
    c->nodes[1].crashed = true; // now the group needs it
    write_some(c, 46, 80);
    CU_ASSERT_EQUAL(c->nodes[3].log_len, 80);
    CU_ASSERT_TRUE(cluster_logs_agree(c));
    cluster_free(c);
}

void test_silenced_beyond_window(void) {
    struct cluster *c = default_cluster(4, 1);
    write_some(c, 1, 5);
    cluster_run(c, SECOND_US / 10);
    c->nodes[3].silenced = true;
    write_some(c, 6, 100);
    c->nodes[3].silenced = false;
    cluster_run(c, 2 * SECOND_US);
    struct bft_replica_status st = cluster_status(c, 3);
    CU_ASSERT_TRUE(st.behind);
    CU_ASSERT_EQUAL(st.last_executed, 5);
    CU_ASSERT_TRUE(st.highest_seen >= 96);
    uint64_t sent = c->messages;
    cluster_run(c, 16 * SECOND_US);
    /* It asks now and then, and the others do not send what it cannot use. */
    CU_ASSERT_TRUE(c->messages - sent < 16 * 2 * 12 * 5);
    write_some(c, 101, 150); // the others go on without it
    CU_ASSERT_EQUAL(cluster_status(c, 3).last_executed, 5);
    CU_ASSERT_TRUE(cluster_logs_agree(c));
    cluster_free(c);
}

void test_restarted_backup(void) {
    struct cluster *c = default_cluster(4, 1);
    write_some(c, 1, 30);
    cluster_restart(c, 2);
    cluster_run(c, 2 * SECOND_US);
    CU_ASSERT_FALSE(cluster_status(c, 2).behind);
    CU_ASSERT_EQUAL(c->nodes[2].log_len, 30);
    write_some(c, 31, 100);
    CU_ASSERT_TRUE(cluster_logs_agree(c));
    cluster_run(c, SECOND_US);
    cluster_restart(c, 2);
    cluster_run(c, 2 * SECOND_US);
    CU_ASSERT_TRUE(cluster_status(c, 2).behind);
    CU_ASSERT_EQUAL(c->nodes[2].log_len, 0);
    write_some(c, 101, 120);
    CU_ASSERT_TRUE(cluster_logs_agree(c));
    cluster_free(c);
}

static bool no_proposals_for_3(struct cluster *c, struct cluster_message *m) {
    (void)c;
    return m->from != 0 || m->to != 3 || m->data[0] != BFT_MSG_PRE_PREPARE;
}

/* What replica 3 knows from the others' COMMITs alone, it can pass on to the next one. */
void test_caught_up_helps(void) {
    struct cluster *c = default_cluster(4, 1);
    write_some(c, 1, 20);
    cluster_run(c, SECOND_US / 10);
    cluster_restart(c, 3);
    c->filter = no_proposals_for_3;
    cluster_run(c, 3 * SECOND_US);
    CU_ASSERT_EQUAL(c->nodes[3].log_len, 20);
    c->filter = NULL;
    cluster_restart(c, 2);
    c->nodes[1].silenced = true; // 0 and 3 are left, and 2 itself
    cluster_run(c, 3 * SECOND_US);
    CU_ASSERT_EQUAL(c->nodes[2].log_len, 20);
    write_some(c, 21, 30);
    CU_ASSERT_TRUE(cluster_logs_agree(c));
    cluster_free(c);
}

/* It has to find out what it proposed before it proposes again. */
void test_restarted_primary(void) {
    struct cluster_options o;
    cluster_options_default(&o, 4, 1);
    o.replica.retain_batches = 64;
    struct cluster *c = cluster_new(&o);
    write_some(c, 1, 30);
    cluster_restart(c, 0);
    cluster_run(c, 2 * SECOND_US);
    CU_ASSERT_EQUAL(c->nodes[0].log_len, 30);
    write_some(c, 31, 60);
    cluster_run(c, SECOND_US);
    for (uint16_t i = 0; i < 4; i++) {
        CU_ASSERT_EQUAL(c->nodes[i].log_len, 60);
        CU_ASSERT_EQUAL(cluster_counter(c, i, BFT_REPLICA_DROP_CONFLICT), 0);
    }
    CU_ASSERT_TRUE(cluster_logs_agree(c));
    cluster_restart(c, 0); // and a request comes before it has heard of anything
    write_some(c, 61, 64);
    cluster_run(c, SECOND_US);
    for (uint16_t i = 0; i < 4; i++)
        CU_ASSERT_EQUAL(c->nodes[i].log_len, 64);
    /* One too early, which goes back to the queue, and then the four. */
    CU_ASSERT_EQUAL(cluster_counter(c, 0, BFT_REPLICA_BATCHES), 5);
    CU_ASSERT_TRUE(cluster_logs_agree(c));
    cluster_free(c);
}

/* ------------------------------------------------------------------ replicas that lie */

enum reply_offset {
    REPLY_INCARNATION = 4,
    REPLY_SIGMA = 12 + 8 + 16 + 8,
    REPLY_DIGEST = REPLY_SIGMA + 8,
    REPLY_RESULT = BFT_REPLY_FIXED_BYTES,
};

static bool lie(struct cluster *c, struct cluster_message *m) {
    if (m->from != 3 || m->data[0] != BFT_MSG_REPLY)
        return true;
    bool full = m->len > REPLY_RESULT;
    switch (cluster_random(c) % 5) {
    case 0:
        m->data[REPLY_SIGMA + 3] ^= 1;
        break;
    case 1:
        m->data[REPLY_INCARNATION + 2] ^= 1;
        break;
    case 2:
        m->data[REPLY_DIGEST + 9] ^= 1;
        break;
    case 3:
        m->data[full ? REPLY_RESULT : REPLY_DIGEST] ^= 1; // not what the digest says
        break;
    default:
        if (full)
            m->data[REPLY_RESULT] ^= 1; // a lie with its right digest
        bft_result_digest(c->sha, 0, m->data + REPLY_RESULT, m->len - REPLY_RESULT,
                          m->data + REPLY_DIGEST);
    }
    return true;
}

void test_lying_replica(void) {
    struct cluster *c = default_cluster(4, 1);
    c->filter = lie;
    for (uint64_t id = 1; id <= 100; id++) {
        uint32_t size = id % 2 == 0 ? 10 : 1000; // in full from all, and as digests
        uint64_t cookie = cluster_write(c, 0, id, size);
        CU_ASSERT_TRUE_FATAL(cluster_settle(c, 5 * SECOND_US));
        CU_ASSERT_EQUAL(cluster_request(c, cookie)->last, BFT_AGREED);
        CU_ASSERT_EQUAL(cluster_request(c, cookie)->sigma, BFT_SIGMA(id, 0));
        CU_ASSERT_EQUAL(cluster_request(c, cookie)->incarnation, 77);
        check_result(cluster_request(c, cookie), id, size);
        cluster_run(c, 1000);
    }
    const struct bft_client *client = c->clients[0].client;
    /* Bytes that do not fit a right digest go unseen when nobody needed them. */
    CU_ASSERT_TRUE(bft_client_wrong_replies(client, 3) >= 75);
    CU_ASSERT_EQUAL(bft_client_wrong_replies(client, 0), 0);
    CU_ASSERT_EQUAL(bft_client_wrong_replies(client, 1), 0);
    CU_ASSERT_EQUAL(bft_client_wrong_replies(client, 2), 0);
    CU_ASSERT_TRUE(cluster_client_counter(c, 0, BFT_CLIENT_RETRANSMITTED) > 0); // it was designated
    cluster_free(c);
}

/* Most bytes that replica 3 sends to the others are noise, and it votes for what nobody proposed.
 */
static bool noise(struct cluster *c, struct cluster_message *m) {
    if (m->from == 3)
        for (uint32_t i = 0; i < 2; i++)
            m->data[cluster_random(c) % m->len] ^= (uint8_t)(1u << cluster_random(c) % 8);
    return true;
}

void test_noisy_replica(void) {
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct cluster_options o;
        cluster_options_default(&o, 4, 1);
        o.seed = seed;
        o.client.sessions = 8;
        o.loss_permille = 20;
        o.client.timeout_us = o.client.abandon_us = 600 * (uint32_t)SECOND_US;
        struct cluster *c = cluster_new(&o);
        c->filter = noise;
        for (uint64_t id = 1; id <= 100; id++)
            while (cluster_write(c, 0, id, 10) == UINT64_MAX)
                cluster_step(c, UINT64_MAX);
        CU_ASSERT_TRUE(cluster_settle(c, 100 * SECOND_US));
        for (uint64_t k = 0; k < 100; k++)
            check_result(cluster_request(c, k), k + 1, 10);
        CU_ASSERT_TRUE(cluster_logs_agree(c));
        CU_ASSERT_TRUE(cluster_counter(c, 1, BFT_REPLICA_DROP_MALFORMED) > 0);
        CU_ASSERT_TRUE(cluster_counter(c, 1, BFT_REPLICA_DROP_INCARNATION) > 0);
        cluster_free(c);
    }
}

/* ------------------------------------------------------------------ a primary that lies */

struct forged {
    uint8_t message[256];
    size_t len;
    struct bft_batch_entry entry;
};

/* A write as the client would send it; bit r of bad spoils the MAC for replica r. */
static void forge_request(struct cluster *c, struct forged *f, uint32_t index, uint64_t number,
                          uint64_t id, uint32_t bad) {
    uint16_t n = (uint16_t)c->o.replica.group.n;
    struct bft_request_msg m = {.h = {.type = BFT_MSG_REQUEST, .incarnation = 77},
                                .session = {n, 0, index, 0x1000},
                                .number = number,
                                .op_len = CLUSTER_OP_BYTES};
    size_t head = bft_encode_request_head(f->message, sizeof f->message, &m);
    cluster_op(f->message + head, CLUSTER_OP_BYTES, CLUSTER_WRITE, id, 10);
    f->len = head + CLUSTER_OP_BYTES;
    f->entry = (struct bft_batch_entry){
        .session = m.session, .number = number, .op_len = CLUSTER_OP_BYTES};
    crypto_digest_once(c->sha, f->message + 4, f->len - 4, f->entry.digest);
    for (uint16_t r = 0; r < n; r++, f->len += CRYPTO_MAC_BYTES) {
        uint8_t key[CRYPTO_KEY_BYTES];
        crypto_kdf(cluster_keys_of(c, n)[r], "request", NULL, 0, key);
        struct crypto_mac *mac = crypto_mac_new(key);
        crypto_mac_begin(mac);
        crypto_mac_update(mac, f->entry.digest, sizeof f->entry.digest);
        crypto_mac_final(mac, f->message + f->len);
        crypto_mac_free(mac);
        if ((bad & 1u << r) != 0)
            f->message[f->len] ^= 1;
    }
}

/* What the primary says of a sequence: PRE-PREPARE and COMMIT of one batch. */
static void forge_batch(struct cluster *c, uint16_t to, uint64_t sequence,
                        const struct bft_batch_entry *entries, uint16_t count, bool pre_prepare,
                        bool commit) {
    uint8_t out[1024];
    struct wire_writer w;
    struct bft_pre_prepare_msg m = {.h = {.type = BFT_MSG_PRE_PREPARE, .incarnation = 77},
                                    .sequence = sequence,
                                    .count = count};
    wire_writer_init(&w, out, sizeof out);
    w.len = bft_encode_pre_prepare_head(out, sizeof out, &m);
    for (uint16_t i = 0; i < count; i++)
        bft_put_entry(&w, &entries[i]);
    struct bft_vote_msg vote = {.h = {.type = BFT_MSG_COMMIT, .incarnation = 77},
                                .sequence = sequence};
    crypto_digest_once(c->sha, out + BFT_BATCH_OFFSET, w.len - BFT_BATCH_OFFSET, vote.digest);
    if (pre_prepare)
        cluster_post(c, 0, to, out, w.len, cluster_random(c) % 500);
    size_t len = bft_encode_vote(out, sizeof out, &vote);
    if (commit)
        cluster_post(c, 0, to, out, len, cluster_random(c) % 500);
}

/*
 * The primary tells each backup what it likes, of two batches for each sequence. Never may two
 * backups execute different things.
 */
void test_equivocating_primary(void) {
    uint64_t executed = 0, conflicts = 0;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct cluster_options o;
        cluster_options_default(&o, 4, 1);
        o.seed = seed;
        struct cluster *c = cluster_new(&o);
        c->nodes[0].crashed = true;
        for (uint64_t seq = 1; seq <= 8; seq++) {
            struct forged f[2];
            for (uint32_t k = 0; k < 2; k++) {
                forge_request(c, &f[k], (uint32_t)(2 * seq + k), 2 * seq + k, 2 * seq + k, 0);
                for (uint16_t r = 1; r < 4; r++)
                    cluster_post(c, 4, r, f[k].message, f[k].len, 0);
            }
            for (uint16_t r = 1; r < 4; r++) {
                uint64_t draw = cluster_random(c);
                uint32_t k = draw % 3 == 0; // mostly the same, so that something commits
                forge_batch(c, r, seq, &f[k].entry, 1, true, (draw & 16) != 0);
                forge_batch(c, r, seq, &f[1 - k].entry, 1, (draw & 32) != 0, (draw & 64) != 0);
            }
            cluster_run(c, 2000);
        }
        cluster_run(c, SECOND_US);
        CU_ASSERT_TRUE(cluster_logs_agree(c));
        for (uint16_t r = 1; r < 4; r++) {
            executed += c->nodes[r].log_len;
            conflicts += cluster_counter(c, r, BFT_REPLICA_DROP_CONFLICT);
        }
        cluster_free(c);
    }
    CU_ASSERT_TRUE(executed > 100);
    CU_ASSERT_TRUE(conflicts > 100);
}

static void post_vote(struct cluster *c, uint16_t from, uint16_t to, uint8_t type,
                      const struct forged *f, bool right) {
    uint8_t out[BFT_VOTE_BYTES], batch[2 + BFT_ENTRY_BYTES];
    struct wire_writer w;
    struct bft_vote_msg m = {.h = {.type = type, .incarnation = 77}, .sequence = 1};
    wire_writer_init(&w, batch, sizeof batch);
    wire_put_u16(&w, 1);
    bft_put_entry(&w, &f->entry);
    crypto_digest_once(c->sha, batch, w.len, m.digest);
    m.digest[0] ^= !right;
    size_t len = bft_encode_vote(out, sizeof out, &m);
    cluster_post(c, from, to, out, len, 0);
    cluster_run(c, 1);
}

/* PREPAREs and COMMITs that replica 1 sends. */
struct votes {
    uint32_t prepares, commits;
};

static bool count_votes(struct cluster *c, struct cluster_message *m) {
    struct votes *v = c->filter_ctx;
    v->prepares += m->from == 1 && m->data[0] == BFT_MSG_PREPARE;
    v->commits += m->from == 1 && m->data[0] == BFT_MSG_COMMIT;
    return true;
}

/* One backup alone; the test is everybody else: what each step of the agreement needs, exactly. */
void test_vote_counts(void) {
    struct cluster *c = default_cluster(7, 2);
    struct votes votes = {0};
    struct forged f, other;
    for (uint32_t i = 0; i < 7; i++)
        c->nodes[i].crashed = i != 1;
    c->filter = count_votes;
    c->filter_ctx = &votes;
    forge_request(c, &f, 0, 1, 50, 0);
    forge_request(c, &other, 1, 2, 51, 0);
    cluster_post(c, 7, 1, other.message, other.len, 0);
    forge_batch(c, 1, 1, &f.entry, 1, true, false);
    cluster_run(c, 1000);
    CU_ASSERT_EQUAL(votes.prepares, 0); // not before the request is here
    cluster_post(c, 7, 1, f.message, f.len, 0);
    cluster_run(c, 1);
    CU_ASSERT_EQUAL(votes.prepares, 6); // one, to six
    forge_batch(c, 1, 1, &other.entry, 1, true, false);
    cluster_run(c, 1000);
    CU_ASSERT_EQUAL(cluster_counter(c, 1, BFT_REPLICA_DROP_CONFLICT), 1);
    post_vote(c, 2, 1, BFT_MSG_PREPARE, &f, true);
    post_vote(c, 2, 1, BFT_MSG_PREPARE, &f, true);
    post_vote(c, 3, 1, BFT_MSG_PREPARE, &f, false);
    CU_ASSERT_EQUAL(cluster_counter(c, 1, BFT_REPLICA_DROP_CONFLICT), 1);
    post_vote(c, 3, 1, BFT_MSG_PREPARE, &f, true); // a second vote is none
    CU_ASSERT_EQUAL(cluster_counter(c, 1, BFT_REPLICA_DROP_CONFLICT), 2);
    post_vote(c, 4, 1, BFT_MSG_PREPARE, &f, true);
    CU_ASSERT_EQUAL(votes.commits, 0); // three with its own; 2f is four
    post_vote(c, 5, 1, BFT_MSG_PREPARE, &f, true);
    CU_ASSERT_EQUAL(votes.commits, 6);
    post_vote(c, 0, 1, BFT_MSG_COMMIT, &f, true);
    post_vote(c, 2, 1, BFT_MSG_COMMIT, &f, true);
    post_vote(c, 3, 1, BFT_MSG_COMMIT, &f, true);
    post_vote(c, 3, 1, BFT_MSG_COMMIT, &f, true);
    post_vote(c, 6, 1, BFT_MSG_COMMIT, &f, false);
    CU_ASSERT_EQUAL(c->nodes[1].log_len, 0); // four with its own; 2f+1 is five
    post_vote(c, 4, 1, BFT_MSG_COMMIT, &f, true);
    CU_ASSERT_EQUAL_FATAL(c->nodes[1].log_len, 1);
    CU_ASSERT_EQUAL(c->nodes[1].log[0], 50);
    cluster_free(c);
}

/* Who may send what: batches are the primary's, and a client speaks for itself. */
void test_senders(void) {
    struct cluster_options o;
    cluster_options_default(&o, 4, 1);
    o.clients = 2;
    struct cluster *c = cluster_new(&o);
    struct forged f;
    forge_request(c, &f, 0, 1, 50, 0);
    cluster_post(c, 5, 1, f.message, f.len, 0); // another client's
    f.message[BFT_HEADER_BYTES + 1] = 2;        // a session of replica 2
    cluster_post(c, 2, 1, f.message, f.len, 0);
    f.message[BFT_HEADER_BYTES + 1] = 6; // of nobody
    cluster_post(c, 6, 1, f.message, f.len, 0);
    cluster_run(c, 10);
    CU_ASSERT_EQUAL(cluster_counter(c, 1, BFT_REPLICA_DROP_SENDER), 3);
    CU_ASSERT_EQUAL(cluster_status(c, 1).pending, 0);
    uint8_t out[BFT_BATCH_OFFSET + 2 + BFT_ENTRY_BYTES];
    struct bft_pre_prepare_msg m = {
        .h = {.type = BFT_MSG_PRE_PREPARE, .incarnation = 77}, .sequence = 1, .count = 1};
    struct wire_writer w;
    wire_writer_init(&w, out, sizeof out);
    w.len = bft_encode_pre_prepare_head(out, sizeof out, &m);
    bft_put_entry(&w, &f.entry);
    cluster_post(c, 2, 1, out, w.len, 0); // no primary
    cluster_post(c, 4, 1, out, w.len, 0); // not even a replica
    cluster_run(c, 10);
    CU_ASSERT_EQUAL(cluster_counter(c, 1, BFT_REPLICA_DROP_SENDER), 5);
    CU_ASSERT_EQUAL(cluster_status(c, 1).highest_seen, 0);
    cluster_free(c);
}

static bool lose_first_proposals(struct cluster *c, struct cluster_message *m) {
    uint32_t *lost = c->filter_ctx;
    if (m->data[0] != BFT_MSG_PRE_PREPARE || *lost == 3)
        return true;
    (*lost)++;
    return false;
}

/* Nobody can ask for what nobody has heard of: the primary says it again, well before a heartbeat.
 */
void test_lost_proposal(void) {
    uint32_t lost = 0;
    struct cluster *c = default_cluster(4, 1);
    c->filter = lose_first_proposals;
    c->filter_ctx = &lost;
    cluster_run(c, SECOND_US / 100);
    cluster_write(c, 0, 1, 10);
    CU_ASSERT_TRUE(cluster_settle(c, 3 * (uint64_t)c->o.replica.status_us));
    CU_ASSERT_EQUAL(lost, 3);
    CU_ASSERT_EQUAL(cluster_counter(c, 0, BFT_REPLICA_RETRANSMITTED), 1);
    CU_ASSERT_EQUAL(cluster_counter(c, 0, BFT_REPLICA_BATCHES), 1);
    cluster_free(c);
}

void test_repeating_primary(void) {
    struct cluster *c = default_cluster(4, 1);
    struct forged f[3];
    c->nodes[0].crashed = true;
    forge_request(c, &f[0], 0, 5, 100, 0);
    forge_request(c, &f[1], 0, 4, 101, 0); // an older one of the same session
    forge_request(c, &f[2], 0, 6, 102, 0);
    struct bft_batch_entry twice[4] = {f[0].entry, f[0].entry, f[1].entry, f[2].entry};
    for (uint16_t r = 1; r < 4; r++) {
        for (uint32_t k = 0; k < 3; k++)
            cluster_post(c, 0, r, f[k].message, f[k].len, 600); // relayed: wanted by the batch
        for (uint64_t seq = 1; seq <= 2; seq++)
            forge_batch(c, r, seq, twice, 4, true, true);
    }
    cluster_run(c, 10000);
    /* They began an epoch and came from a replica: the client itself has to say so, or f+1 others.
     */
    CU_ASSERT_EQUAL(c->nodes[1].log_len, 0);
    for (uint16_t r = 1; r < 4; r++)
        for (uint32_t k = 0; k < 3; k++) // the newest first: the older ones are wanted all the same
            cluster_post(c, 4, r, f[2 - k].message, f[2 - k].len, 10 + k);
    cluster_run(c, SECOND_US);
    for (uint16_t r = 1; r < 4; r++) {
        CU_ASSERT_EQUAL(cluster_status(c, r).last_executed, 2);
        CU_ASSERT_EQUAL_FATAL(c->nodes[r].log_len, 2);
        CU_ASSERT_EQUAL(c->nodes[r].log[0], 100);
        CU_ASSERT_EQUAL(c->nodes[r].log[1], 102);
    }
    cluster_free(c);
}

/* ------------------------------------------------------------------ clients that lie */

/* Spoils the MACs of a client's requests for the replicas in *filter_ctx. */
static bool spoil(struct cluster *c, struct cluster_message *m) {
    const uint32_t *bad = c->filter_ctx;
    uint32_t n = c->o.replica.group.n;
    for (uint32_t r = 0; m->from == n && r < n; r++)
        if ((*bad & 1u << r) != 0)
            m->data[m->len - (size_t)(n - r) * CRYPTO_MAC_BYTES] ^= 1;
    return true;
}

/* f+1 others vouch for the request, so that it does not stop the replica that cannot verify it. */
void test_bad_authenticator(void) {
    uint32_t bad = 0;
    struct cluster *c = default_cluster(4, 1);
    c->filter = spoil;
    c->filter_ctx = &bad;
    write_some(c, 1, 3);
    bad = 1u << 2;
    write_some(c, 4, 20);
    cluster_run(c, 2 * SECOND_US);
    CU_ASSERT_TRUE(cluster_counter(c, 2, BFT_REPLICA_DROP_AUTHENTICATOR) >= 17);
    for (uint16_t i = 0; i < 4; i++)
        CU_ASSERT_EQUAL(c->nodes[i].log_len, 20);
    bad = 1u << 2 | 1u << 3; // the primary and one backup are f+1
    write_some(c, 21, 25);
    cluster_run(c, 2 * SECOND_US);
    for (uint16_t i = 0; i < 4; i++)
        CU_ASSERT_EQUAL(c->nodes[i].log_len, 25);
    cluster_free(c);
}

/* The primary's word alone is not enough, and a request that the primary cannot verify is not
 * proposed. */
void test_bad_authenticators(void) {
    uint32_t bad = 1u << 1 | 1u << 2 | 1u << 3;
    struct cluster *c = default_cluster(4, 1);
    c->filter = spoil;
    c->filter_ctx = &bad;
    uint64_t cookie = cluster_write(c, 0, 1, 10);
    CU_ASSERT_FALSE(cluster_settle(c, 3 * SECOND_US));
    CU_ASSERT_FALSE(cluster_request(c, cookie)->finished);
    for (uint16_t i = 0; i < 4; i++)
        CU_ASSERT_EQUAL(c->nodes[i].log_len, 0);
    CU_ASSERT_EQUAL(cluster_counter(c, 0, BFT_REPLICA_BATCHES), 1);
    cluster_free(c);
    c = default_cluster(4, 1);
    bad = 1u << 0;
    c->filter = spoil;
    c->filter_ctx = &bad;
    cookie = cluster_write(c, 0, 1, 10);
    CU_ASSERT_FALSE(cluster_settle(c, 3 * SECOND_US));
    CU_ASSERT_FALSE(cluster_request(c, cookie)->finished);
    CU_ASSERT_EQUAL(cluster_counter(c, 0, BFT_REPLICA_BATCHES), 0);
    CU_ASSERT_TRUE(cluster_counter(c, 0, BFT_REPLICA_DROP_AUTHENTICATOR) >= 2);
    cluster_free(c);
}

/* ------------------------------------------------------------------ services that fail */

void test_diverged_replica(void) {
    struct cluster *c = default_cluster(4, 1);
    write_some(c, 1, 3);
    cluster_run(c, SECOND_US / 10);
    c->nodes[3].chain[0] ^= 1; // a bit of its state
    write_some(c, 4, 40);
    cluster_run(c, SECOND_US);
    CU_ASSERT_TRUE(cluster_counter(c, 3, BFT_REPLICA_CHECKPOINT_MISMATCH) > 0);
    CU_ASSERT_TRUE(cluster_status(c, 3).behind);
    for (uint16_t i = 0; i < 3; i++) {
        CU_ASSERT_EQUAL(cluster_counter(c, i, BFT_REPLICA_CHECKPOINT_MISMATCH), 0);
        CU_ASSERT_FALSE(cluster_status(c, i).behind);
        CU_ASSERT_EQUAL(cluster_status(c, i).last_stable, 40);
    }
    cluster_free(c);
}

static bool fail_results(struct cluster *c, uint16_t node, const struct bft_execution *e,
                         uint8_t **data, size_t *len) {
    const uint32_t *failing = c->filter_ctx;
    (void)e;
    (void)data;
    (void)len;
    return (*failing & 1u << node) == 0;
}

/* design.md 5: a replica whose backend fails stays silent; that is never a reply. */
void test_failing_backend(void) {
    uint32_t failing = 1u << 2;
    struct cluster *c = default_cluster(4, 1);
    c->result = fail_results;
    c->filter_ctx = &failing;
    write_some(c, 1, 10);
    cluster_run(c, SECOND_US);
    CU_ASSERT_EQUAL(cluster_counter(c, 2, BFT_REPLICA_EXECUTE_FAILED), 10);
    CU_ASSERT_EQUAL(cluster_counter(c, 2, BFT_REPLICA_REPLIES), 0);
    CU_ASSERT_EQUAL(cluster_counter(c, 2, BFT_REPLICA_EXECUTED), 10);
    CU_ASSERT_EQUAL(cluster_status(c, 2).last_stable, 8); // the sessions' digest is the same
    CU_ASSERT_EQUAL(cluster_counter(c, 2, BFT_REPLICA_CHECKPOINT_MISMATCH), 0);
    failing = 0xf;
    uint64_t cookie = cluster_write(c, 0, 11, 10);
    cluster_run(c, 6 * SECOND_US);
    CU_ASSERT_EQUAL(cluster_request(c, cookie)->last, BFT_TIMED_OUT);
    CU_ASSERT_EQUAL(cluster_counter(c, 0, BFT_REPLICA_REPLIES_CACHED), 0);
    failing = 0; // the next one is executed and answered by all
    cookie = cluster_write(c, 0, 12, 10);
    cluster_run(c, SECOND_US);
    CU_ASSERT_EQUAL(cluster_request(c, cookie)->last, BFT_AGREED);
    check_result(cluster_request(c, cookie), 12, 10);
    cluster_free(c);
}

/* S15: replicas in different states: the unordered read fails, the ordered one that follows is
 * right. */
void test_stale_replica_unordered(void) {
    struct cluster_options o;
    cluster_options_default(&o, 4, 1);
    o.replica.group.read_optimisation = o.client.group.read_optimisation = true;
    struct cluster *c = cluster_new(&o);
    uint8_t op[CLUSTER_OP_BYTES];
    uint64_t count;
    c->nodes[3].silenced = true;
    write_some(c, 1, 5);
    c->nodes[3].silenced = false;
    c->nodes[2].silenced = true;
    cluster_op(op, sizeof op, CLUSTER_COUNT, 0, 0);
    uint64_t cookie = cluster_submit(c, 0, BFT_READ | BFT_UNORDERED, op, sizeof op);
    CU_ASSERT_TRUE_FATAL(cluster_settle(c, 3 * SECOND_US));
    CU_ASSERT_EQUAL(cluster_request(c, cookie)->last, BFT_AGREED);
    CU_ASSERT_EQUAL(cluster_request(c, cookie)->sigma, BFT_SIGMA(6, 0));
    CU_ASSERT_EQUAL_FATAL(cluster_request(c, cookie)->result_len, sizeof count);
    memcpy(&count, cluster_request(c, cookie)->result, sizeof count);
    CU_ASSERT_EQUAL(count, 5);
    CU_ASSERT_EQUAL(cluster_client_counter(c, 0, BFT_CLIENT_UNORDERED_FAILED), 1);
    CU_ASSERT_EQUAL(cluster_counter(c, 3, BFT_REPLICA_EXECUTED_UNORDERED), 1);
    cluster_free(c);
}
