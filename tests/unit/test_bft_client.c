/* SPDX-License-Identifier: BSD-3-Clause */
/* The client alone: the test is the group, and answers as it likes. */
#include "test_bft.h"

#define N 4u
#define EPOCH 0xe90c
#define INCARNATION 77u
#define SENT_MAX 64u
#define DONE_MAX 16u

struct bare {
    struct bft_client *client;
    struct bft_client_config cfg;
    uint8_t sent[SENT_MAX][512];
    size_t sent_len[SENT_MAX];
    struct bft_request_msg last; // of the newest broadcast
    uint32_t sent_count;
    struct bft_completion done[DONE_MAX];
    uint8_t result[DONE_MAX][512];
    uint32_t done_count;
    uint64_t now_us;
    uint64_t resubmit; // cookie to submit from inside complete; 0: none
};

static void bare_send(void *ctx, uint16_t replica, const uint8_t *message, size_t len) {
    (void)ctx;
    (void)replica;
    (void)message;
    (void)len;
}

static void bare_broadcast(void *ctx, const uint8_t *message, size_t len) {
    struct bare *b = ctx;
    assert(b->sent_count < SENT_MAX && len <= sizeof b->sent[0]);
    memcpy(b->sent[b->sent_count], message, len);
    b->sent_len[b->sent_count] = len;
    bool ok = bft_decode_request(b->sent[b->sent_count], len, N, &b->last);
    assert(ok);
    b->sent_count++;
}

static void bare_complete(void *ctx, const struct bft_completion *c) {
    struct bare *b = ctx;
    assert(b->done_count < DONE_MAX && c->result_len <= sizeof b->result[0]);
    b->done[b->done_count] = *c;
    if (c->result != NULL)
        memcpy(b->result[b->done_count], c->result, c->result_len);
    b->done_count++;
    if (b->resubmit != 0) {
        uint64_t cookie = b->resubmit;
        b->resubmit = 0;
        CU_ASSERT_TRUE(bft_client_submit(b->client, cookie, 0, (const uint8_t *)"y", 1, b->now_us));
    }
}

static void bare_start(struct bare *b) {
    static const uint8_t keys[N][CRYPTO_KEY_BYTES] = {{1}, {2}, {3}, {4}};
    struct bft_client_env env = {
        .ctx = b, .send = bare_send, .broadcast = bare_broadcast, .complete = bare_complete};
    b->client = bft_client_new(&b->cfg, &env, keys);
    assert(b->client != NULL);
}

static void bare_init(struct bare *b) {
    *b = (struct bare){.now_us = 1000};
    bft_client_config_default(&b->cfg);
    b->cfg.group.incarnation = INCARNATION;
    b->cfg.principal = N;
    b->cfg.endpoint = 3;
    b->cfg.epoch = EPOCH;
    b->cfg.sessions = 2;
}

static void submit(struct bare *b, uint64_t cookie, uint32_t flags) {
    CU_ASSERT_TRUE_FATAL(
        bft_client_submit(b->client, cookie, flags, (const uint8_t *)"op", 2, b->now_us));
}

static void run_to(struct bare *b, uint64_t at_us) {
    while (bft_client_next_deadline(b->client) <= at_us) {
        b->now_us = bft_client_next_deadline(b->client);
        bft_client_timers(b->client, b->now_us);
    }
    b->now_us = at_us;
}

static uint64_t counter(const struct bare *b, enum bft_client_counter id) {
    uint64_t counters[BFT_CLIENT_COUNTER_COUNT];
    bft_client_counters(b->client, counters);
    return counters[id];
}

/* A reply to the newest request. */
struct answer {
    uint8_t flags;
    uint64_t view, sigma, incarnation;
    const char *result;
    bool lie; // the digest is not the result's
};

static struct answer plain(const char *result) {
    return (struct answer){.sigma = BFT_SIGMA(9, 1), .incarnation = INCARNATION, .result = result};
}

static size_t encode_answer(const struct bare *b, const struct answer *a, uint8_t *out,
                            size_t cap) {
    struct crypto_digest *sha = crypto_digest_new();
    struct bft_reply_msg m = {
        .h = {.type = BFT_MSG_REPLY, .flags = a->flags, .incarnation = a->incarnation},
        .view = a->view,
        .session = b->last.session,
        .number = b->last.number,
        .sigma = a->sigma};
    uint8_t none = BFT_REPLY_DIGEST_ONLY | BFT_REPLY_TOO_LARGE;
    size_t len = (a->flags & BFT_REPLY_TOO_LARGE) != 0 ? 0 : strlen(a->result);
    bft_result_digest(sha, a->flags, (const uint8_t *)a->result, len, m.digest);
    crypto_digest_free(sha);
    if (a->lie)
        m.digest[5] ^= 1;
    m.result_len = (a->flags & none) != 0 ? 0 : (uint32_t)len;
    size_t head = bft_encode_reply_head(out, cap, &m);
    assert(head > 0 && cap - head >= m.result_len);
    memcpy(out + head, a->result, m.result_len);
    return head + m.result_len;
}

static void answer(struct bare *b, uint16_t replica, struct answer a) {
    uint8_t out[512];
    size_t len = encode_answer(b, &a, out, sizeof out);
    bft_client_input(b->client, replica, out, len, b->now_us);
}

static void digest_answer(struct bare *b, uint16_t replica, struct answer a) {
    a.flags |= BFT_REPLY_DIGEST_ONLY;
    answer(b, replica, a);
}

static void check_done(const struct bare *b, uint32_t i, enum bft_outcome outcome,
                       const char *result) {
    CU_ASSERT_FATAL(i < b->done_count);
    CU_ASSERT_EQUAL(b->done[i].outcome, outcome);
    CU_ASSERT_EQUAL_FATAL(b->done[i].result != NULL, result != NULL);
    if (result != NULL) {
        CU_ASSERT_EQUAL_FATAL(b->done[i].result_len, strlen(result));
        CU_ASSERT_EQUAL(memcmp(b->result[i], result, strlen(result)), 0);
    }
}

void test_client_agreement(void) {
    struct bare b;
    bare_init(&b);
    bare_start(&b);
    submit(&b, 11, 0);
    CU_ASSERT_EQUAL(b.last.session.principal, N);
    CU_ASSERT_EQUAL(b.last.session.endpoint, 3);
    CU_ASSERT_EQUAL(b.last.session.epoch, EPOCH);
    CU_ASSERT_EQUAL(b.last.h.incarnation, INCARNATION);
    CU_ASSERT_EQUAL(b.last.h.flags, 0);
    answer(&b, 2, plain("yes"));
    answer(&b, 2, plain("yes")); // one replica has one vote
    CU_ASSERT_EQUAL(b.done_count, 0);
    digest_answer(&b, 0, plain("yes"));
    check_done(&b, 0, BFT_AGREED, "yes");
    CU_ASSERT_TRUE(b.done[0].finished);
    CU_ASSERT_EQUAL(b.done[0].cookie, 11);
    CU_ASSERT_EQUAL(b.done[0].sigma, BFT_SIGMA(9, 1));
    CU_ASSERT_EQUAL(b.done[0].incarnation, INCARNATION);
    CU_ASSERT_EQUAL(counter(&b, BFT_CLIENT_COMPLETED), 1);
    answer(&b, 1, plain("yes")); // late, and right
    CU_ASSERT_EQUAL(counter(&b, BFT_CLIENT_REPLIES_WRONG), 0);
    answer(&b, 3, plain("no")); // late, and wrong
    CU_ASSERT_EQUAL(bft_client_wrong_replies(b.client, 3), 1);
    CU_ASSERT_EQUAL(b.done_count, 1);
    CU_ASSERT_EQUAL(bft_client_free_sessions(b.client), 2);
    bft_client_free(b.client);
}

/* An empty result is a result; a result that everybody sends as a digest is none. */
void test_client_full_result(void) {
    struct bare b;
    bare_init(&b);
    bare_start(&b);
    submit(&b, 1, 0);
    digest_answer(&b, 0, plain("long"));
    digest_answer(&b, 1, plain("long"));
    digest_answer(&b, 2, plain("long"));
    CU_ASSERT_EQUAL(b.done_count, 0);
    struct answer lie = plain("long");
    lie.result = "false"; // under the digest of "false": outvoted
    answer(&b, 3, lie);
    CU_ASSERT_EQUAL(b.done_count, 0);
    answer(&b, 1, plain("long"));
    check_done(&b, 0, BFT_AGREED, "long");
    CU_ASSERT_EQUAL(bft_client_wrong_replies(b.client, 3), 1);
    submit(&b, 2, 0);
    answer(&b, 1, plain(""));
    answer(&b, 2, plain(""));
    check_done(&b, 1, BFT_AGREED, "");
    bft_client_free(b.client);
}

/* A full result that does not have the digest which it comes with. */
void test_client_digest_lie(void) {
    struct bare b;
    bare_init(&b);
    bare_start(&b);
    submit(&b, 1, 0);
    digest_answer(&b, 0, plain("truth"));
    uint8_t out[512];
    struct answer a = plain("truth");
    size_t len = encode_answer(&b, &a, out, sizeof out);
    out[len - 1] ^= 0x20; // the digest of "truth", but other bytes
    bft_client_input(b.client, 3, out, len, b.now_us);
    CU_ASSERT_EQUAL(b.done_count, 0);
    bft_client_input(b.client, 3, out, len, b.now_us);
    answer(&b, 3, plain("truth")); // it has lost its vote
    CU_ASSERT_EQUAL(b.done_count, 0);
    answer(&b, 2, plain("truth"));
    check_done(&b, 0, BFT_AGREED, "truth");
    CU_ASSERT_EQUAL(bft_client_wrong_replies(b.client, 3), 1);
    CU_ASSERT_EQUAL(counter(&b, BFT_CLIENT_REPLIES_WRONG), 1);
    bft_client_free(b.client);
}

static void check_outvoted(struct answer bad) {
    struct bare b;
    bare_init(&b);
    bare_start(&b);
    submit(&b, 1, 0);
    answer(&b, 3, bad);
    answer(&b, 0, plain("good"));
    CU_ASSERT_EQUAL(b.done_count, 0); // the two do not add up
    answer(&b, 3, plain("good"));     // its second vote does not count
    CU_ASSERT_EQUAL(b.done_count, 0);
    answer(&b, 1, plain("good"));
    check_done(&b, 0, BFT_AGREED, "good");
    CU_ASSERT_EQUAL(b.done[0].sigma, BFT_SIGMA(9, 1));
    CU_ASSERT_EQUAL(bft_client_wrong_replies(b.client, 3), 1);
    bft_client_free(b.client);
}

void test_client_liars(void) {
    struct answer bad = plain("evil");
    check_outvoted(bad);
    bad = plain("good");
    bad.sigma = BFT_SIGMA(9, 2);
    check_outvoted(bad);
    bad = plain("good");
    bad.incarnation = INCARNATION - 1;
    check_outvoted(bad);
    bad = plain("good");
    bad.lie = true;
    check_outvoted(bad);
    bad = plain("good");
    bad.flags = BFT_REPLY_TOO_LARGE;
    check_outvoted(bad);
    bad = plain("good");
    bad.flags = BFT_REPLY_UNORDERED;
    bad.sigma = 0;
    check_outvoted(bad);
}

static struct answer tentative(const char *result, uint64_t view) {
    struct answer a = plain(result);
    a.flags = BFT_REPLY_TENTATIVE;
    a.view = view;
    return a;
}

/* S24: f+1 tentative replies, then a view change rolls them back: they were not enough. S11. */
void test_client_tentative(void) {
    struct bare b;
    bare_init(&b);
    bare_start(&b);
    submit(&b, 1, 0);
    answer(&b, 0, tentative("one", 0));
    answer(&b, 1, tentative("one", 0));
    CU_ASSERT_EQUAL(b.done_count, 0);
    answer(&b, 2, tentative("one", 1)); // of another view
    CU_ASSERT_EQUAL(b.done_count, 0);
    answer(&b, 0, plain("two")); // rolled back: a tentative vote may be replaced
    CU_ASSERT_EQUAL(b.done_count, 0);
    answer(&b, 1, plain("two"));
    check_done(&b, 0, BFT_AGREED, "two");
    submit(&b, 2, 0);
    answer(&b, 0, tentative("one", 4));
    answer(&b, 1, tentative("one", 4));
    answer(&b, 3, tentative("one", 4));
    check_done(&b, 1, BFT_AGREED, "one");
    submit(&b, 3, 0);
    answer(&b, 0, tentative("x", 4));
    answer(&b, 1, tentative("x", 4));
    answer(&b, 3, plain("x")); // committed is more than tentative
    check_done(&b, 2, BFT_AGREED, "x");
    submit(&b, 4, 0);
    answer(&b, 0, plain("c"));
    answer(&b, 0, tentative("d", 5)); // but a committed vote is final
    answer(&b, 1, plain("d"));
    CU_ASSERT_EQUAL(b.done_count, 3);
    answer(&b, 2, plain("d"));
    check_done(&b, 3, BFT_AGREED, "d");
    CU_ASSERT_EQUAL(bft_client_wrong_replies(b.client, 0), 1);
    bft_client_free(b.client);
}

static struct answer unordered(const char *result) {
    struct answer a = plain(result);
    a.flags = BFT_REPLY_UNORDERED;
    a.sigma = 0;
    return a;
}

/* S15: unordered replies of different states agree on nothing, and never yield a sigma. */
void test_client_unordered(void) {
    struct bare b;
    bare_init(&b);
    b.cfg.group.read_optimisation = true;
    bare_start(&b);
    submit(&b, 1, BFT_READ | BFT_UNORDERED);
    CU_ASSERT_EQUAL(b.last.flags, BFT_READ | BFT_UNORDERED);
    answer(&b, 0, unordered("v"));
    answer(&b, 1, unordered("v"));
    CU_ASSERT_EQUAL(b.done_count, 0);
    answer(&b, 2, unordered("v"));
    check_done(&b, 0, BFT_UNORDERED_AGREED, "v");
    CU_ASSERT_EQUAL(b.done[0].sigma, 0);
    submit(&b, 2, BFT_READ | BFT_UNORDERED);
    uint64_t number = b.last.number;
    answer(&b, 0, unordered("v"));
    answer(&b, 1, unordered("w"));
    CU_ASSERT_EQUAL(b.last.number, number);
    answer(&b, 2, unordered("w"));
    CU_ASSERT_EQUAL(b.last.number, number);
    answer(&b, 3, unordered("v")); // two and two: no three can be equal
    CU_ASSERT_TRUE(b.last.number > number);
    CU_ASSERT_EQUAL(b.last.flags, BFT_READ);
    CU_ASSERT_EQUAL(counter(&b, BFT_CLIENT_UNORDERED_FAILED), 1);
    answer(&b, 0, plain("w"));
    answer(&b, 1, plain("w"));
    CU_ASSERT_EQUAL(b.done_count, 1); // with the read optimisation ordered reads need 2f+1 too
    answer(&b, 2, plain("w"));
    check_done(&b, 1, BFT_AGREED, "w");
    CU_ASSERT_EQUAL(b.done[1].sigma, BFT_SIGMA(9, 1));
    CU_ASSERT_EQUAL(counter(&b, BFT_CLIENT_REPLIES_WRONG), 0); // other states are no lies
    submit(&b, 3, BFT_READ | BFT_UNORDERED);
    number = b.last.number;
    answer(&b, 0, unordered("v"));
    run_to(&b, b.now_us + 2 * b.cfg.retry_us);
    CU_ASSERT_TRUE(b.last.number > number);
    CU_ASSERT_EQUAL(b.last.flags, BFT_READ);
    CU_ASSERT_EQUAL(counter(&b, BFT_CLIENT_UNORDERED_FAILED), 2);
    bft_client_free(b.client);
}

void test_client_needed(void) {
    struct bare b;
    bare_init(&b);
    b.cfg.group.unordered_writes = true;
    bare_start(&b);
    submit(&b, 1, BFT_READ | BFT_UNORDERED); // the group does not have the read optimisation
    CU_ASSERT_EQUAL(b.last.flags, BFT_READ);
    answer(&b, 0, plain("r"));
    answer(&b, 1, plain("r"));
    CU_ASSERT_EQUAL(b.done_count, 0);
    answer(&b, 2, plain("r"));
    check_done(&b, 0, BFT_AGREED, "r");
    submit(&b, 2, BFT_UNORDERED); // a write is always ordered
    CU_ASSERT_EQUAL(b.last.flags, 0);
    answer(&b, 0, plain("w"));
    answer(&b, 1, plain("w"));
    check_done(&b, 1, BFT_AGREED, "w");
    bft_client_free(b.client);
}

void test_client_disagreement(void) {
    struct bare b;
    bare_init(&b);
    bare_start(&b);
    submit(&b, 1, 0);
    answer(&b, 0, plain("a"));
    answer(&b, 1, plain("bb"));
    answer(&b, 2, plain("ccc"));
    CU_ASSERT_EQUAL(b.done_count, 0); // the fourth can still agree with one of them
    answer(&b, 3, plain("dddd"));
    check_done(&b, 0, BFT_DISAGREED, NULL);
    CU_ASSERT_TRUE(b.done[0].finished);
    CU_ASSERT_EQUAL(b.done[0].sigma, BFT_SIGMA(9, 1)); // on that they agree
    CU_ASSERT_EQUAL(b.done[0].differing_replica[0], 0);
    CU_ASSERT_EQUAL(b.done[0].differing_replica[1], 1);
    CU_ASSERT_EQUAL(b.done[0].differing_len[0], 1);
    CU_ASSERT_EQUAL(b.done[0].differing_len[1], 2);
    CU_ASSERT_EQUAL(counter(&b, BFT_CLIENT_DISAGREED), 1);
    CU_ASSERT_EQUAL(bft_client_free_sessions(b.client), 2);
    bft_client_free(b.client);
}

/* Digests alone say that there is no agreement, but the record wants two results. */
void test_client_disagreement_digests(void) {
    struct bare b;
    bare_init(&b);
    bare_start(&b);
    submit(&b, 1, 0);
    digest_answer(&b, 0, plain("a"));
    digest_answer(&b, 1, plain("bb"));
    digest_answer(&b, 2, plain("ccc"));
    digest_answer(&b, 3, plain("dddd"));
    CU_ASSERT_EQUAL(b.done_count, 0);
    CU_ASSERT_EQUAL(b.sent_count, 2);
    CU_ASSERT_EQUAL(b.last.h.flags, BFT_FULL_REPLY);
    answer(&b, 2, plain("ccc"));
    CU_ASSERT_EQUAL(b.done_count, 0);
    answer(&b, 0, plain("a"));
    check_done(&b, 0, BFT_DISAGREED, NULL);
    CU_ASSERT_EQUAL(b.done[0].differing_replica[0], 0);
    CU_ASSERT_EQUAL(b.done[0].differing_replica[1], 2);
    submit(&b, 2, 0); // and when they do not come, without
    for (uint16_t i = 0; i < N; i++)
        digest_answer(&b, i, plain(i == 0 ? "a" : i == 1 ? "bb" : i == 2 ? "ccc" : "dddd"));
    run_to(&b, b.now_us + 10 * b.cfg.retry_us);
    check_done(&b, 1, BFT_DISAGREED, NULL);
    CU_ASSERT_PTR_NULL(b.done[1].differing[0]);
    bft_client_free(b.client);
}

/* n - f different answers and one replica silent: a bounded time, then the same. */
void test_client_disagreement_silent(void) {
    struct bare b;
    bare_init(&b);
    bare_start(&b);
    submit(&b, 1, 0);
    answer(&b, 0, plain("a"));
    answer(&b, 1, plain("bb"));
    answer(&b, 2, plain("ccc"));
    run_to(&b, b.now_us + b.cfg.retry_us * 9 / 8);
    CU_ASSERT_EQUAL(b.sent_count, 2); // the first retry only asks
    CU_ASSERT_EQUAL(b.done_count, 0);
    run_to(&b, b.now_us + 4 * b.cfg.retry_us);
    check_done(&b, 0, BFT_DISAGREED, NULL);
    submit(&b, 2, 0); // f+1 silent replicas are not enough for that
    answer(&b, 0, plain("a"));
    answer(&b, 1, plain("bb"));
    run_to(&b, b.now_us + b.cfg.timeout_us);
    check_done(&b, 1, BFT_TIMED_OUT, NULL);
    bft_client_free(b.client);
}

void test_client_too_large(void) {
    struct bare b;
    bare_init(&b);
    b.cfg.group.request_max_bytes = 2;
    b.cfg.group.result_max_bytes = 8;
    bare_start(&b);
    CU_ASSERT_FALSE(bft_client_submit(b.client, 9, 0, (const uint8_t *)"abc", 3, b.now_us));
    submit(&b, 1, 0);
    struct answer a = plain("");
    a.flags = BFT_REPLY_TOO_LARGE;
    answer(&b, 0, a);
    answer(&b, 3, plain("012345678")); // over the limit: not even looked at
    CU_ASSERT_EQUAL(counter(&b, BFT_CLIENT_DROP_TOO_LARGE), 1);
    CU_ASSERT_EQUAL(b.done_count, 0);
    answer(&b, 1, a);
    check_done(&b, 0, BFT_TOO_LARGE, NULL);
    CU_ASSERT_EQUAL(b.done[0].sigma, BFT_SIGMA(9, 1));
    bft_client_free(b.client);
}

void test_client_timeout_read(void) {
    struct bare b;
    bare_init(&b);
    bare_start(&b);
    submit(&b, 1, BFT_READ);
    answer(&b, 0, plain("a"));
    run_to(&b, 1000 + b.cfg.timeout_us);
    check_done(&b, 0, BFT_TIMED_OUT, NULL);
    CU_ASSERT_TRUE(b.done[0].finished);
    CU_ASSERT_EQUAL(bft_client_free_sessions(b.client), 2);
    CU_ASSERT_EQUAL(bft_client_next_deadline(b.client), UINT64_MAX);
    answer(&b, 1, plain("a")); // too late
    CU_ASSERT_EQUAL(b.done_count, 1);
    CU_ASSERT_EQUAL(counter(&b, BFT_CLIENT_DROP_NUMBER), 1);
    bft_client_free(b.client);
}

/* A write that timed out may have been executed: its session stays until that is known. */
void test_client_timeout_write(void) {
    struct bare b;
    bare_init(&b);
    bare_start(&b);
    submit(&b, 1, 0);
    answer(&b, 0, plain("late"));
    run_to(&b, 1000 + b.cfg.timeout_us);
    check_done(&b, 0, BFT_TIMED_OUT, NULL);
    CU_ASSERT_FALSE(b.done[0].finished);
    CU_ASSERT_EQUAL(b.done[0].cookie, 1);
    CU_ASSERT_EQUAL(bft_client_free_sessions(b.client), 1);
    uint32_t sent = b.sent_count;
    run_to(&b, b.now_us + 3 * b.cfg.retry_max_us);
    CU_ASSERT_TRUE(b.sent_count > sent); // it keeps asking
    answer(&b, 1, plain("late"));
    check_done(&b, 1, BFT_AGREED_LATE, "late");
    CU_ASSERT_TRUE(b.done[1].finished);
    CU_ASSERT_EQUAL(b.done[1].sigma, BFT_SIGMA(9, 1));
    CU_ASSERT_EQUAL(bft_client_free_sessions(b.client), 2);
    bft_client_free(b.client);
}

void test_client_abandon(void) {
    struct bare b;
    bare_init(&b);
    b.cfg.sessions = 1;
    b.cfg.abandon_us = 3 * b.cfg.timeout_us;
    bare_start(&b);
    submit(&b, 1, 0);
    uint64_t number = b.last.number;
    run_to(&b, 1000 + b.cfg.abandon_us - 1);
    CU_ASSERT_EQUAL(b.done_count, 1);
    CU_ASSERT_FALSE(bft_client_submit(b.client, 2, 0, (const uint8_t *)"x", 1, b.now_us));
    run_to(&b, 1000 + b.cfg.abandon_us);
    check_done(&b, 1, BFT_ABANDONED, NULL);
    CU_ASSERT_TRUE(b.done[1].finished);
    answer(&b, 0, plain("x"));
    answer(&b, 1, plain("x"));
    CU_ASSERT_EQUAL(b.done_count, 2);
    submit(&b, 3, 0);
    CU_ASSERT_TRUE(b.last.number > number);
    bft_client_free(b.client);
}

void test_client_retransmission(void) {
    struct bare b;
    bare_init(&b);
    bare_start(&b);
    submit(&b, 1, 0);
    uint64_t number = b.last.number, first = bft_client_next_deadline(b.client);
    CU_ASSERT_TRUE(first >= 1000 + b.cfg.retry_us * 7 / 8);
    CU_ASSERT_TRUE(first <= 1000 + b.cfg.retry_us * 9 / 8);
    run_to(&b, 1000 + b.cfg.timeout_us - 1);
    /* 100 ms, then doubling up to 1.6 s, in 5 s: at 0.1, 0.3, 0.7, 1.5, 3.1, 4.7, each 1/8 early or
     * late */
    CU_ASSERT_TRUE(b.sent_count >= 6 && b.sent_count <= 8);
    CU_ASSERT_EQUAL(counter(&b, BFT_CLIENT_RETRANSMITTED), b.sent_count - 1);
    for (uint32_t i = 1; i < b.sent_count; i++) {
        CU_ASSERT_EQUAL(b.sent_len[i], b.sent_len[0]);
        CU_ASSERT_EQUAL(b.sent[i][1], BFT_FULL_REPLY);
        CU_ASSERT_EQUAL(memcmp(b.sent[i] + 2, b.sent[0] + 2, b.sent_len[0] - 2), 0);
    }
    CU_ASSERT_EQUAL(b.last.number, number);
    bft_client_free(b.client);
}

static void notice(struct bare *b, uint16_t replica, uint64_t incarnation) {
    struct answer a = {.flags = BFT_REPLY_INCARNATION | BFT_REPLY_DIGEST_ONLY,
                       .incarnation = incarnation,
                       .result = ""};
    answer(b, replica, a);
}

/* S22: the group is set up anew: f+1 replicas say so. */
void test_client_incarnation(void) {
    struct bare b;
    bare_init(&b);
    bare_start(&b);
    submit(&b, 1, 0);
    uint64_t write = b.last.number;
    struct bft_request_msg write_msg = b.last;
    submit(&b, 2, BFT_READ);
    notice(&b, 3, 99); // f replicas are nobody
    notice(&b, 3, 98);
    CU_ASSERT_EQUAL(b.last.h.incarnation, INCARNATION);
    notice(&b, 1, 98);
    CU_ASSERT_EQUAL(b.last.h.incarnation, 98); // the read is asked again
    CU_ASSERT_EQUAL(b.last.flags, BFT_READ);
    CU_ASSERT_TRUE(b.last.number > write + 1);
    struct answer old = plain("old"), new = plain("new");
    new.incarnation = 98;
    new.sigma = BFT_SIGMA(1, 0); // sigma starts again
    answer(&b, 0, old);
    answer(&b, 1, old);
    CU_ASSERT_EQUAL(b.done_count, 0); // nothing of the former incarnation
    answer(&b, 2, new);
    answer(&b, 3, new);
    check_done(&b, 0, BFT_AGREED, "new");
    CU_ASSERT_EQUAL(b.done[0].incarnation, 98);
    CU_ASSERT_EQUAL(b.done[0].sigma, BFT_SIGMA(1, 0));
    b.last = write_msg;
    answer(&b, 0, new); // the write was never for that incarnation
    answer(&b, 1, new);
    CU_ASSERT_EQUAL(b.done_count, 1);
    run_to(&b, 1000 + b.cfg.timeout_us);
    check_done(&b, 1, BFT_TIMED_OUT, NULL);
    CU_ASSERT_EQUAL(b.last.number, write); // it was not asked again as another request
    submit(&b, 3, 0);
    CU_ASSERT_EQUAL(b.last.h.incarnation, 98);
    bft_client_free(b.client);
}

void test_client_drops(void) {
    struct bare b;
    uint8_t out[512];
    bare_init(&b);
    bare_start(&b);
    submit(&b, 1, 0);
    struct answer a = plain("abc");
    size_t len = encode_answer(&b, &a, out, sizeof out);
    for (size_t cut = 0; cut < len; cut++)
        bft_client_input(b.client, 0, out, cut, b.now_us);
    CU_ASSERT_EQUAL(counter(&b, BFT_CLIENT_DROP_MALFORMED), len);
    bft_client_input(b.client, 0, out, len + 1, b.now_us);
    CU_ASSERT_EQUAL(counter(&b, BFT_CLIENT_DROP_MALFORMED), len + 1);
    bft_client_input(b.client, N, out, len, b.now_us);
    CU_ASSERT_EQUAL(counter(&b, BFT_CLIENT_DROP_SENDER), 1);
    const struct bft_session_id id = b.last.session;
    b.last.session.epoch++; // a former life
    answer(&b, 0, a);
    CU_ASSERT_EQUAL(counter(&b, BFT_CLIENT_DROP_EPOCH), 1);
    b.last.session = id;
    b.last.session.index = 2;
    answer(&b, 0, a);
    b.last.session = id;
    b.last.session.endpoint++;
    answer(&b, 0, a);
    b.last.session = id;
    b.last.session.principal++;
    answer(&b, 0, a);
    CU_ASSERT_EQUAL(counter(&b, BFT_CLIENT_DROP_SESSION), 3);
    b.last.session = id;
    b.last.number++;
    answer(&b, 0, a);
    CU_ASSERT_EQUAL(counter(&b, BFT_CLIENT_DROP_NUMBER), 1);
    CU_ASSERT_EQUAL(counter(&b, BFT_CLIENT_REPLIES_IN), 1);
    b.last.number--;
    answer(&b, 1, a);
    CU_ASSERT_EQUAL(b.done_count, 0); // none of those was a vote
    answer(&b, 2, a);
    check_done(&b, 0, BFT_AGREED, "abc");
    bft_client_free(b.client);
}

/* Law 9: a liar's large results do not take the place of the others'. */
void test_client_memory(void) {
    struct bare b;
    char big[129];
    memset(big, 'x', 128);
    big[128] = 0;
    bare_init(&b);
    b.cfg.memory_max_bytes = 4; // so each replica may hold one result of the largest size
    b.cfg.group.result_max_bytes = 200;
    bare_start(&b);
    submit(&b, 1, 0);
    answer(&b, 3, plain(big)); // wrong, and it fills the share of 3
    struct bft_request_msg first = b.last;
    submit(&b, 2, 0);
    big[0] = 'y';
    answer(&b, 3, plain(big));
    CU_ASSERT_EQUAL(counter(&b, BFT_CLIENT_DROP_TOO_LARGE), 1);
    big[0] = 'z';
    answer(&b, 1, plain(big));
    digest_answer(&b, 2, plain(big));
    check_done(&b, 0, BFT_AGREED, big);
    b.last = first;
    answer(&b, 1, plain(big)); // its share is free again
    digest_answer(&b, 2, plain(big));
    check_done(&b, 1, BFT_AGREED, big);
    CU_ASSERT_EQUAL(counter(&b, BFT_CLIENT_DROP_TOO_LARGE), 1);
    bft_client_free(b.client);
}

void test_client_resubmit(void) {
    struct bare b;
    bare_init(&b);
    b.cfg.sessions = 1;
    bare_start(&b);
    submit(&b, 1, 0);
    uint64_t number = b.last.number;
    b.resubmit = 2;
    answer(&b, 0, plain("a"));
    answer(&b, 1, plain("a"));
    check_done(&b, 0, BFT_AGREED, "a");
    CU_ASSERT_TRUE(b.last.number > number);
    CU_ASSERT_EQUAL(bft_client_free_sessions(b.client), 0);
    answer(&b, 0, plain("b"));
    answer(&b, 1, plain("b"));
    check_done(&b, 1, BFT_AGREED, "b");
    bft_client_free(b.client);
}

/* Whatever bytes come: no crash, and no result that two replicas did not send. */
void test_client_mutations(void) {
    struct bare b;
    uint64_t random = 5;
    uint8_t out[512];
    bare_init(&b);
    bare_start(&b);
    submit(&b, 1, 0);
    for (uint32_t i = 0; i < 200000; i++) {
        struct answer a = plain("result");
        size_t len = encode_answer(&b, &a, out, sizeof out);
        random = random * UINT64_C(6364136223846793005) + 1442695040888963407;
        out[(random >> 33) % len] ^= (uint8_t)(1u << (random >> 61));
        bft_client_input(b.client, 3, out, len, b.now_us);
    }
    CU_ASSERT_EQUAL(b.done_count, 0);
    CU_ASSERT_TRUE(counter(&b, BFT_CLIENT_DROP_MALFORMED) > 1000);
    answer(&b, 0, plain("result"));
    answer(&b, 1, plain("result"));
    check_done(&b, 0, BFT_AGREED, "result");
    bft_client_free(b.client);
}
