/* SPDX-License-Identifier: BSD-3-Clause */
/* The interleavings of doc/consistency.md that the request life cycle must survive, by their
 * numbers. */
#include "test_sketcher.h"

#include <math.h>
#include <stdlib.h>

static void open_without_joins(struct rig *rig) {
    struct rig_options o;
    rig_options_default(&o);
    o.slow.join = false;
    rig_open(rig, &o);
}

/* S1: replicated read (5, A) delayed until after (10, B) is installed. */
static void s1_late_read(void) {
    static struct rig rig;
    struct rig_request late, next;
    open_without_joins(&rig);
    rig_start(&rig, &late, 0, "GET", "/x", NULL);
    rig_handover(&rig, &late);
    rig_start(&rig, &next, 1, "GET", "/x", NULL);
    rig_handover(&rig, &next);
    rig_agree(&rig, 1, 10, "B");
    rig_agree(&rig, 0, 5, "A");
    CU_ASSERT_EQUAL(rig_verdict(&rig, &late), SKETCHER_STEP_RELEASE_AGREED);
    CU_ASSERT_EQUAL(rig_verdict(&rig, &next), SKETCHER_STEP_RELEASE_AGREED);
    CU_ASSERT_TRUE(rig_holds(&rig, &late, 10, "B"));
    CU_ASSERT_EQUAL(rig_slow_count(&rig, SKETCHER_SLOW_NOT_INSTALLED_OLDER), 1);
    rig_start(&rig, &next, 1, "GET", "/x", NULL);
    CU_ASSERT_EQUAL(next.step, SKETCHER_STEP_FAST);
    CU_ASSERT_EQUAL(rig_answer(&rig, &next, "A"), SKETCHER_STEP_REPLICATE);
    rig_close(&rig);
}

/* S2: an equal sketch raises sigma, and so a late older one stays out. */
static void s2_equal_sketch_raises_sigma(void) {
    static struct rig rig;
    struct rig_request late;
    open_without_joins(&rig);
    rig_install(&rig, "/x", 3, "A");
    rig_start(&rig, &late, 0, "GET", "/x", NULL);
    rig_fail(&rig, &late, SKETCHER_FAILED_LOCAL);
    rig_handover(&rig, &late);
    uint32_t late_operation = rig.submitted_count - 1;
    rig_install(&rig, "/x", 10, "A");
    rig_agree(&rig, late_operation, 7, "B");
    CU_ASSERT_TRUE(rig_holds(&rig, &late, 10, "A"));
    rig_close(&rig);
}

/* S3: (10, B) is evicted; its sigma stays as the bucket's floor. */
static void s3_eviction_leaves_a_floor(void) {
    static struct rig rig;
    struct rig_request late;
    struct rig_options o;
    struct history_result entry;
    char target[32];
    rig_options_default(&o);
    o.slow.join = false;
    o.history_entries = HISTORY_BUCKET_SLOTS;
    rig_open(&rig, &o);
    rig_start(&rig, &late, 0, "GET", "/x", NULL);
    rig_handover(&rig, &late);
    rig_install(&rig, "/x", 10, "B");
    CU_ASSERT_TRUE(rig_holds(&rig, &late, 10, "B"));
    unsigned int others = 0;
    while (history_sigma(rig.history, 0, &late.r.key, &late.r.url) != 0 && others < 1000) {
        snprintf(target, sizeof target, "/other/%u", others);
        rig_install(&rig, target, 11 + others++, "O");
    }
    CU_ASSERT_EQUAL(history_sigma(rig.history, 0, &late.r.key, &late.r.url), 0);
    rig_agree(&rig, 0, 5, "A");
    for (uint32_t copy = 0; copy < RIG_COPIES; copy++)
        CU_ASSERT_NOT_EQUAL(rig_lookup(&rig, copy, &late, &entry), HISTORY_HIT);
    CU_ASSERT_EQUAL(rig_slow_count(&rig, SKETCHER_SLOW_NOT_INSTALLED_OLDER), 1);
    rig_close(&rig);
}

/* S4: when B is released, no copy holds A any more. */
static void s4_every_copy_before_release(void) {
    static struct rig rig;
    struct rig_request x, waiter;
    struct sketch_tag b;
    rig_open(&rig, NULL);
    rig_install(&rig, "/x", 5, "A");
    rig.sessions = 0;
    rig_start(&rig, &x, 0, "GET", "/x", NULL);
    rig_answer(&rig, &x, "B");
    rig_handover(&rig, &x);
    rig_start(&rig, &waiter, 1, "GET", "/x", NULL);
    rig_answer(&rig, &waiter, "B");
    rig_handover(&rig, &waiter);
    rig.sessions = 1;
    sketcher_slow_kick(rig.slow, rig.now_us++);
    rig_agree(&rig, 1, 10, "B");
    rig_sketch(&rig, &x.r.key, "B", &b);
    const struct rig_released *both[] = {rig_released_of(&rig, &x), rig_released_of(&rig, &waiter)};
    for (int i = 0; i < 2; i++) {
        CU_ASSERT_PTR_NOT_NULL_FATAL(both[i]);
        for (uint32_t copy = 0; copy < RIG_COPIES; copy++) {
            CU_ASSERT_EQUAL(both[i]->found[copy], HISTORY_HIT);
            CU_ASSERT_EQUAL(both[i]->entry[copy].sigma, BFT_SIGMA(10, 0));
            CU_ASSERT_TRUE(sketch_equal(&both[i]->entry[copy].sketch, &b));
        }
    }
    rig_close(&rig);
}

/* S5: the entry moves during the fast read; what it moved from is not accepted, what it moved to
 * is. */
static void s5_second_lookup(void) {
    static struct rig rig;
    struct rig_request y, z;
    rig_open(&rig, NULL);
    rig_install(&rig, "/x", 5, "A");
    rig_start(&rig, &y, 1, "GET", "/x", NULL);
    rig_start(&rig, &z, 1, "GET", "/x", NULL);
    CU_ASSERT_EQUAL(y.step, SKETCHER_STEP_FAST);
    CU_ASSERT_EQUAL(z.step, SKETCHER_STEP_FAST);
    rig_install(&rig, "/x", 10, "B");
    CU_ASSERT_EQUAL_FATAL(rig_answer(&rig, &y, "A"), SKETCHER_STEP_REPLICATE);
    CU_ASSERT_EQUAL(rig_answer(&rig, &z, "B"), SKETCHER_STEP_RELEASE_FAST);
    /* The replica said what was right when it was asked: neither a mismatch nor, later, a
     * suspicion. */
    CU_ASSERT_EQUAL(rig_count(&rig, 1, SKETCHER_FAST_OVERTAKEN), 1);
    CU_ASSERT_EQUAL(rig_count(&rig, 1, SKETCHER_TRANSITIONS), 0);
    CU_ASSERT_EQUAL(rig_replica(&rig, 1, y.r.replica).mismatches, 0);
    rig_handover(&rig, &y);
    rig_agree(&rig, rig.submitted_count - 1, 11, "B");
    rig_verdict(&rig, &y);
    CU_ASSERT_FALSE(y.suspect);
    rig_close(&rig);
}

/* S6: a reader that arrives after an acknowledged write does not join a read sent before it. */
static void s6_no_join_across_a_write(void) {
    static struct rig rig;
    struct rig_request before, after, third;
    rig_open(&rig, NULL);
    rig_start(&rig, &before, 0, "GET", "/x", NULL);
    rig_handover(&rig, &before);
    rig_write(&rig, "/x", 10);
    rig_start(&rig, &after, 1, "GET", "/x", NULL);
    rig_handover(&rig, &after);
    rig_start(&rig, &third, 0, "GET", "/x", NULL);
    rig_handover(&rig, &third);
    CU_ASSERT_EQUAL(rig.submitted_count, 2); // it waits for one more, and the third with it
    rig_agree(&rig, 0, 9, "old");
    CU_ASSERT_TRUE(rig_has_verdict(&rig, &before));
    CU_ASSERT_FALSE(rig_has_verdict(&rig, &after));
    CU_ASSERT_EQUAL_FATAL(rig.submitted_count, 3);
    CU_ASSERT_EQUAL(rig.submitted[2].first.cookie, after.ticket.cookie);
    rig_agree(&rig, 2, 11, "new");
    CU_ASSERT_EQUAL(rig_verdict(&rig, &after), SKETCHER_STEP_RELEASE_AGREED);
    CU_ASSERT_EQUAL(rig_verdict(&rig, &third), SKETCHER_STEP_RELEASE_AGREED);
    CU_ASSERT_EQUAL(rig_released_of(&rig, &after)->verdict.sigma, BFT_SIGMA(11, 0));
    CU_ASSERT_TRUE(rig_holds(&rig, &after, 11, "new"));
    CU_ASSERT_EQUAL(rig_slow_count(&rig, SKETCHER_SLOW_JOINED), 1);
    rig_close(&rig);
}

/* S9: a reload makes a whitelisted key ordinary again. */
static void s9_whitelisted_becomes_ordinary(void) {
    static struct rig rig;
    static struct sketcher_policy white, none;
    struct rig_request x, in_flight;
    struct history_result entry;
    char err[SKETCHER_ERROR_BYTES];
    white = none = (struct sketcher_policy){0};
    CU_ASSERT_TRUE(sketcher_policy_add(&white, SKETCHER_WHITELIST, "GET /static/*", err));
    rig_open(&rig, NULL);
    rig_install(&rig, "/static/x", 5, "A"); // from before it was whitelisted
    for (uint32_t w = 0; w < RIG_COPIES; w++)
        sketcher_worker_set_policy(rig.worker[w], &white);
    for (int i = 0; i < 3; i++) {
        rig_start(&rig, &x, 0, "GET", "/static/x", NULL);
        CU_ASSERT_EQUAL(x.step, SKETCHER_STEP_FAST);
        CU_ASSERT_EQUAL(rig_answer(&rig, &x, "whatever"), SKETCHER_STEP_RELEASE_FAST);
    }
    CU_ASSERT_EQUAL(rig_count(&rig, 0, SKETCHER_WHITELISTED), 3);
    CU_ASSERT_TRUE(rig_holds(&rig, &x, 5, "A")); // unchecked answers left nothing
    rig_start(&rig, &in_flight, 0, "GET", "/static/x", NULL);

    CU_ASSERT_TRUE(sketcher_policy_needs_flush(&white, &none));
    sketcher_slow_flush(rig.slow);
    for (uint32_t w = 0; w < RIG_COPIES; w++)
        sketcher_worker_set_policy(rig.worker[w], &none);
    CU_ASSERT_EQUAL(rig_answer(&rig, &in_flight, "whatever"), SKETCHER_STEP_REPLICATE);
    CU_ASSERT_EQUAL(rig_count(&rig, 0, SKETCHER_FAST_OVERTAKEN), 1);
    rig_start(&rig, &x, 1, "GET", "/static/x", NULL);
    CU_ASSERT_EQUAL(x.step, SKETCHER_STEP_REPLICATE);
    rig_handover(&rig, &x);
    rig_agree(&rig, rig.submitted_count - 1, 4, "late"); // its sigma stayed as a floor
    for (uint32_t copy = 0; copy < RIG_COPIES; copy++)
        CU_ASSERT_NOT_EQUAL(rig_lookup(&rig, copy, &x, &entry), HISTORY_HIT);
    rig_install(&rig, "/static/x", 6, "B");
    CU_ASSERT_TRUE(rig_holds(&rig, &x, 6, "B"));
    rig_close(&rig);
}

/*
 * S10: one keep-alive client, replica 2 stays at the old version. Each read is stale with
 * probability 1/4 whatever came before: of N runs, N / 4^k are k reads long or longer.
 */
static void s10_stale_runs_are_geometric(void) {
    enum { RUNS = 4000, LENGTHS = 8, ENDLESS = 64 };
    static struct rig rig;
    struct rig_request x;
    char bodies[2][32] = {"version 0"};
    uint32_t at_least[LENGTHS] = {0};
    rig_open(&rig, NULL);
    rig_install(&rig, "/x", 1, bodies[0]);
    for (uint32_t run = 1; run <= RUNS; run++) {
        const char *stale = bodies[(run - 1) % 2];
        char *fresh = bodies[run % 2];
        snprintf(fresh, sizeof bodies[0], "version %u", run);
        rig.submitted_count = rig.released_count = 0;
        uint32_t length = 0;
        for (;; length++) {
            rig_start(&rig, &x, 0, "GET", "/x", NULL);
            CU_ASSERT_EQUAL_FATAL(x.step, SKETCHER_STEP_FAST);
            rig_answer(&rig, &x, x.r.replica == 2 ? stale : fresh);
            if (x.step != SKETCHER_STEP_RELEASE_FAST)
                break;
            CU_ASSERT_EQUAL(x.r.replica, 2);
            CU_ASSERT_FATAL(length < ENDLESS);
        }
        rig_handover(&rig, &x);
        rig_agree(&rig, 0, run + 1, fresh);
        rig_verdict(&rig, &x);
        CU_ASSERT_FALSE(x.suspect);
        for (uint32_t k = 0; k < LENGTHS && k <= length; k++)
            at_least[k]++;
    }
    double expected = RUNS;
    for (uint32_t k = 0; k < 5; k++, expected /= 4)
        CU_ASSERT_TRUE(fabs(at_least[k] - expected) <= 4 * sqrt(expected));
    rig_close(&rig);
}

/* Pearson's statistic over equally likely cells. */
static double chi_square(const uint32_t *cells, uint32_t count) {
    double total = 0, sum = 0;
    for (uint32_t i = 0; i < count; i++)
        total += cells[i];
    double expected = total / count;
    for (uint32_t i = 0; i < count; i++)
        sum += (cells[i] - expected) * (cells[i] - expected) / expected;
    return sum;
}

/* S10: the draw is uniform, and independent of the one before. */
static void s10_draws_are_uniform(void) {
    static struct rig rig;
    struct rig_request x;
    uint32_t single[4] = {0}, pair[16] = {0}, three[4] = {0};
    rig_open(&rig, NULL);
    rig_install(&rig, "/x", 1, "A");
    uint32_t last = 0;
    for (int i = 0; i < 40000; i++) {
        rig_start(&rig, &x, 0, "GET", "/x", NULL);
        CU_ASSERT_EQUAL(rig_answer(&rig, &x, "A"), SKETCHER_STEP_RELEASE_FAST);
        single[x.r.replica]++;
        pair[4 * last + x.r.replica]++;
        last = x.r.replica;
    }
    /* 0.999 quantiles for 3, 15 and 2 degrees of freedom; the seed is fixed. */
    CU_ASSERT_TRUE(chi_square(single, 4) < 16.27);
    CU_ASSERT_TRUE(chi_square(pair, 16) < 37.70);
    for (int i = 0; i < 10000 && sketcher_candidate(rig.worker[0], 3); i++) {
        rig_start(&rig, &x, 0, "GET", "/x", NULL);
        if (x.r.replica == 3)
            rig_fail(&rig, &x, SKETCHER_FAILED_CONNECT);
        else
            rig_answer(&rig, &x, "A");
    }
    for (int i = 0; i < 30000; i++) {
        rig_start(&rig, &x, 0, "GET", "/x", NULL);
        three[x.r.replica]++;
        rig_answer(&rig, &x, "A");
    }
    CU_ASSERT_EQUAL(three[3], 0);
    CU_ASSERT_TRUE(chi_square(three, 3) < 13.82);
    rig_close(&rig);
}

/* S12: keys are separate where responses may differ, and the same where the sketcher answers
 * itself. */
static void s12_variants_of_one_url(void) {
    static const struct {
        const char *method, *headers;
        bool same;
    } variants[] = {
        {"GET", "Range: bytes=0-1\r\n", true},
        {"GET", "If-None-Match: \"e\"\r\n", true},
        {"GET", "User-Agent: curl\r\n", true},
        {"HEAD", NULL, false},
        {"GET", "Cookie: a=b\r\n", false},
        {"GET", "Cookie: a=c\r\n", false},
        {"GET", "Accept-Encoding: gzip\r\n", false},
        {"GET", "Accept-Language: de\r\n", false},
        {"GET", "Authorization: Basic eDp5\r\n", false},
    };
    enum { COUNT = sizeof variants / sizeof *variants };
    static struct rig rig;
    static struct rig_request x[COUNT];
    struct rig_request plain;
    rig_open(&rig, NULL);
    rig_install(&rig, "/x", 5, "A");
    rig_start(&rig, &plain, 0, "GET", "/x", NULL);
    for (int i = 0; i < COUNT; i++) {
        rig_start(&rig, &x[i], 0, variants[i].method, "/x", variants[i].headers);
        CU_ASSERT_EQUAL(sketch_equal(&x[i].r.key, &plain.r.key), variants[i].same);
        CU_ASSERT_TRUE(sketch_equal(&x[i].r.url, &plain.r.url));
        CU_ASSERT_EQUAL(x[i].step, variants[i].same ? SKETCHER_STEP_FAST : SKETCHER_STEP_REPLICATE);
        for (int j = 0; j < i; j++)
            if (!variants[i].same)
                CU_ASSERT_FALSE(sketch_equal(&x[i].r.key, &x[j].r.key));
    }
    /* An answer to one variant never passes for another: s(r) covers s(q). */
    struct sketch_tag a, b;
    rig_sketch(&rig, &plain.r.key, "A", &a);
    rig_sketch(&rig, &x[COUNT - 1].r.key, "A", &b);
    CU_ASSERT_FALSE(sketch_equal(&a, &b));
    rig_close(&rig);
}

/* S13: ten mebibytes whose last byte is wrong: the whole answer is refused. */
static void s13_last_byte_wrong(void) {
    enum { BODY = 10 << 20, PIECE = 1 << 16 };
    static struct rig rig;
    struct rig_request x;
    struct http_response r;
    static const struct sketch_names no_names;
    char text[64];
    uint8_t head[256];
    rig_open(&rig, NULL);
    uint8_t *body = malloc(BODY), *canonical = malloc(BODY + 512);
    CU_ASSERT_FATAL(body != NULL && canonical != NULL);
    memset(body, 'x', BODY);
    int len = snprintf(text, sizeof text, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", BODY);
    CU_ASSERT_EQUAL(http_parse_response((const uint8_t *)text, (size_t)len, false, &r), len);
    size_t head_len = sketch_canonical_head(&r, false, &no_names, head, sizeof head);
    size_t all = sketch_canonical_build(head, head_len, body, BODY, canonical, BODY + 512);
    rig_start(&rig, &x, 0, "GET", "/big", NULL);
    rig_handover(&rig, &x);
    rig_complete(&rig, 0,
                 &(struct bft_completion){.outcome = BFT_AGREED,
                                          .finished = true,
                                          .sigma = BFT_SIGMA(1, 0),
                                          .incarnation = 1,
                                          .result = canonical,
                                          .result_len = all});
    for (int wrong = 0; wrong < 2; wrong++) {
        struct sketch *s = sketcher_worker_sketch(rig.worker[0]);
        struct sketch_tag s_r;
        body[BODY - 1] = wrong ? 'y' : 'x';
        rig_start(&rig, &x, 0, "GET", "/big", NULL);
        CU_ASSERT_EQUAL(x.step, SKETCHER_STEP_FAST);
        sketch_response_begin(s, &x.r.key, head, head_len);
        for (size_t at = 0; at < BODY; at += PIECE)
            sketch_response_body(s, body + at, PIECE);
        sketch_response_final(s, BODY, &s_r);
        CU_ASSERT_EQUAL(sketcher_fast_answered(rig.worker[0], &x.r, &s_r, rig.now_us++),
                        wrong ? SKETCHER_STEP_REPLICATE : SKETCHER_STEP_RELEASE_FAST);
    }
    free(body);
    free(canonical);
    rig_close(&rig);
}

/* S15: unordered agreement is released and never installed, whatever it claims. */
static void s15_unordered_is_not_installed(void) {
    static struct rig rig;
    struct rig_request x;
    struct history_result entry;
    uint8_t result[256];
    rig_open(&rig, NULL);
    rig_start(&rig, &x, 0, "GET", "/x", NULL);
    x.r.kind = SKETCHER_UNORDERED_READ;
    rig_handover(&rig, &x);
    size_t len = rig_canonical(200, NULL, "A", result, sizeof result);
    rig_complete(&rig, 0,
                 &(struct bft_completion){.outcome = BFT_UNORDERED_AGREED,
                                          .finished = true,
                                          .sigma = BFT_SIGMA(9, 0),
                                          .incarnation = 1,
                                          .result = result,
                                          .result_len = len});
    CU_ASSERT_EQUAL(rig_released_of(&rig, &x)->verdict.outcome, SKETCHER_OUT_UNORDERED);
    CU_ASSERT_EQUAL(rig_released_of(&rig, &x)->verdict.sigma, 0);
    CU_ASSERT_PTR_EQUAL(rig_released_of(&rig, &x)->result, result);
    CU_ASSERT_EQUAL(rig_verdict(&rig, &x), SKETCHER_STEP_RELEASE_AGREED);
    for (uint32_t copy = 0; copy < RIG_COPIES; copy++)
        CU_ASSERT_EQUAL(rig_lookup(&rig, copy, &x, &entry), HISTORY_MISS);
    CU_ASSERT_EQUAL(rig_slow_count(&rig, SKETCHER_SLOW_INSTALLED), 0);
    rig_close(&rig);
}

/* S16: after an acknowledged write the old body is not accepted, from a read sent before it or
 * after. */
static void s16_read_after_write(void) {
    static struct rig rig;
    struct rig_request before, after, write;
    rig_open(&rig, NULL);
    rig_install(&rig, "/x", 5, "old");
    rig_start(&rig, &before, 1, "GET", "/x", NULL);
    rig_start(&rig, &write, 0, "PUT", "/x", "Content-Length: 3\r\n");
    rig_handover(&rig, &write);
    rig_agree(&rig, 1, 10, "written");
    for (uint32_t copy = 0; copy < RIG_COPIES;
         copy++) // the tombstone stood when the write was released
        CU_ASSERT_EQUAL(rig_released_of(&rig, &write)->entry[copy].tombstone, BFT_SIGMA(10, 0));
    CU_ASSERT_EQUAL(rig_answer(&rig, &before, "old"), SKETCHER_STEP_REPLICATE);
    CU_ASSERT_EQUAL(rig_count(&rig, 1, SKETCHER_FAST_OVERTAKEN), 1);
    CU_ASSERT_EQUAL(rig_count(&rig, 1, SKETCHER_TRANSITIONS), 0);
    rig_start(&rig, &after, 1, "GET", "/x", NULL);
    CU_ASSERT_EQUAL_FATAL(after.step, SKETCHER_STEP_REPLICATE);
    CU_ASSERT_EQUAL(rig_count(&rig, 1, SKETCHER_TOMBSTONED), 1);
    rig_handover(&rig, &after);
    rig_agree(&rig, 2, 11, "new");
    rig_verdict(&rig, &after);
    rig_start(&rig, &after, 1, "GET", "/x", NULL);
    CU_ASSERT_EQUAL(after.step, SKETCHER_STEP_FAST);
    CU_ASSERT_EQUAL(rig_answer(&rig, &after, "old"), SKETCHER_STEP_REPLICATE);
    rig_start(&rig, &after, 1, "GET", "/x", NULL);
    CU_ASSERT_EQUAL(rig_answer(&rig, &after, "new"), SKETCHER_STEP_RELEASE_FAST);
    rig_close(&rig);
}

/* S17: a blacklisted key skips the fast read only; its sigma and sketch are kept up to date. */
static void s17_blacklisted_and_back(void) {
    static struct rig rig;
    static struct sketcher_policy black, none;
    struct rig_request late, x;
    char err[SKETCHER_ERROR_BYTES];
    black = none = (struct sketcher_policy){0};
    CU_ASSERT_TRUE(sketcher_policy_add(&black, SKETCHER_BLACKLIST, "* /x", err));
    open_without_joins(&rig);
    rig_install(&rig, "/x", 5, "A");
    sketcher_worker_set_policy(rig.worker[0], &black);
    rig_start(&rig, &late, 0, "GET", "/x", NULL);
    rig_handover(&rig, &late);
    rig_start(&rig, &x, 0, "GET", "/x", NULL);
    CU_ASSERT_EQUAL(x.step, SKETCHER_STEP_REPLICATE);
    CU_ASSERT_TRUE(x.r.blacklisted);
    CU_ASSERT_EQUAL(x.r.kind, SKETCHER_ORDERED_READ);
    rig_handover(&rig, &x);
    rig_agree(&rig, 2, 10, "B");
    CU_ASSERT_TRUE(rig_holds(&rig, &x, 10, "B"));
    sketcher_worker_set_policy(rig.worker[0], &none);
    rig_agree(&rig, 1, 7, "A");
    CU_ASSERT_TRUE(rig_holds(&rig, &x, 10, "B"));
    rig_start(&rig, &x, 0, "GET", "/x", NULL);
    CU_ASSERT_EQUAL(x.step, SKETCHER_STEP_FAST);
    CU_ASSERT_EQUAL(rig_answer(&rig, &x, "A"), SKETCHER_STEP_REPLICATE);
    CU_ASSERT_EQUAL(rig_count(&rig, 0, SKETCHER_BLACKLISTED), 2);
    rig_close(&rig);
}

/* S18: a write covers every variant of its URL, also one that is installed late. */
static void s18_tombstone_of_the_url(void) {
    static struct rig rig;
    struct rig_request gzip, x;
    struct history_result entry;
    rig_open(&rig, NULL);
    rig_start(&rig, &gzip, 0, "GET", "/x", "Accept-Encoding: gzip\r\n");
    rig_handover(&rig, &gzip);
    rig_write(&rig, "/x", 10);
    rig_agree(&rig, 0, 5, "A");
    for (uint32_t copy = 0; copy < RIG_COPIES; copy++)
        CU_ASSERT_NOT_EQUAL(rig_lookup(&rig, copy, &gzip, &entry), HISTORY_HIT);
    rig_start(&rig, &x, 1, "GET", "/x", "Accept-Encoding: gzip\r\n");
    CU_ASSERT_EQUAL(x.step, SKETCHER_STEP_REPLICATE);
    rig_start(&rig, &x, 1, "GET", "/x?y", NULL); // another URL is not touched
    rig_install(&rig, "/x?y", 7, "Y");
    rig_start(&rig, &x, 1, "GET", "/x?y", NULL);
    CU_ASSERT_EQUAL(x.step, SKETCHER_STEP_FAST);
    rig_close(&rig);
}

/* S19: after a flush a late lower sigma is neither installed nor accepted. */
static void s19_flush_leaves_a_floor(void) {
    static struct rig rig;
    struct rig_request x, during;
    struct history_result entry;
    open_without_joins(&rig);
    rig_start(&rig, &x, 0, "GET", "/x", NULL);
    rig_handover(&rig, &x);
    rig_install(&rig, "/x", 10, "B");
    rig_start(&rig, &during, 1, "GET", "/x", NULL);
    sketcher_slow_flush(rig.slow);
    CU_ASSERT_EQUAL(rig_answer(&rig, &during, "B"), SKETCHER_STEP_REPLICATE);
    CU_ASSERT_EQUAL(rig_count(&rig, 1, SKETCHER_FAST_OVERTAKEN), 1);
    rig_agree(&rig, 0, 5, "A");
    for (uint32_t copy = 0; copy < RIG_COPIES; copy++)
        CU_ASSERT_NOT_EQUAL(rig_lookup(&rig, copy, &x, &entry), HISTORY_HIT);
    CU_ASSERT_EQUAL(rig_slow_count(&rig, SKETCHER_SLOW_NOT_INSTALLED_OLDER), 1);
    rig_install(&rig, "/x", 11, "C");
    CU_ASSERT_TRUE(rig_holds(&rig, &x, 11, "C"));
    rig_close(&rig);
}

/* S20: the update at 12 passes one at 10 that stands between invalidate and install. */
static void s20_overtaken_between_the_steps(void) {
    static struct rig rig;
    struct rig_request x, during;
    struct sketch_tag ten;
    rig_open(&rig, NULL);
    rig_install(&rig, "/x", 5, "A");
    rig_start(&rig, &during, 0, "GET", "/x", NULL);
    rig_start(&rig, &x, 1, "GET", "/x", NULL);
    rig_sketch(&rig, &x.r.key, "ten", &ten);
    CU_ASSERT_TRUE(history_invalidate(rig.history, &x.r.key, &x.r.url, BFT_SIGMA(10, 0)));
    CU_ASSERT_EQUAL(rig_answer(&rig, &during, "A"), SKETCHER_STEP_REPLICATE); // A is dead already
    rig_fail(&rig, &x, SKETCHER_FAILED_LOCAL);
    rig_handover(&rig, &x);
    rig_agree(&rig, 1, 12, "twelve");
    CU_ASSERT_FALSE(history_install(rig.history, &x.r.key, &x.r.url, BFT_SIGMA(10, 0), &ten, 0));
    CU_ASSERT_TRUE(rig_holds(&rig, &x, 12, "twelve"));
    for (uint32_t w = 0; w < RIG_COPIES; w++) {
        rig_start(&rig, &during, w, "GET", "/x", NULL);
        CU_ASSERT_EQUAL(rig_answer(&rig, &during, "ten"), SKETCHER_STEP_REPLICATE);
    }
    rig_close(&rig);
}

/* S21: whatever goes wrong with a fast read, what follows is a replicated one. */
static void s21_never_a_second_draw(void) {
    static struct rig rig;
    struct rig_request x;
    rig_open(&rig, NULL);
    rig_install(&rig, "/x", 5, "A");
    for (int why = SKETCHER_FAILED_CONNECT; why <= SKETCHER_FAILED_LOCAL; why++) {
        rig_start(&rig, &x, 1, "GET", "/x", NULL);
        uint16_t drawn = x.r.replica;
        CU_ASSERT_EQUAL(rig_fail(&rig, &x, (enum sketcher_failure)why), SKETCHER_STEP_REPLICATE);
        CU_ASSERT_EQUAL(x.r.replica, drawn);
    }
    rig_start(&rig, &x, 1, "GET", "/x", NULL);
    CU_ASSERT_EQUAL(rig_answer(&rig, &x, "B"), SKETCHER_STEP_REPLICATE);
    uint64_t asked = 0;
    for (uint32_t replica = 0; replica < 4; replica++)
        asked += rig_replica(&rig, 1, replica).asked;
    CU_ASSERT_EQUAL(asked, 7); // one draw per request
    CU_ASSERT_EQUAL(rig_count(&rig, 1, SKETCHER_FAST_TRIED), 7);
    CU_ASSERT_EQUAL(rig_count(&rig, 1, SKETCHER_FAST_FAILED), 6);
    CU_ASSERT_EQUAL(rig_count(&rig, 1, SKETCHER_TRANSITIONS), 1);
    rig_close(&rig);
}

static void agree_in(struct rig *rig, uint32_t nth, uint64_t incarnation, uint64_t sequence,
                     const char *body) {
    uint8_t result[256];
    size_t len = rig_canonical(200, NULL, body, result, sizeof result);
    rig_complete(rig, nth,
                 &(struct bft_completion){.outcome = BFT_AGREED,
                                          .finished = true,
                                          .sigma = BFT_SIGMA(sequence, 0),
                                          .incarnation = incarnation,
                                          .result = result,
                                          .result_len = len});
}

/* S22: the group is set up anew and sigma starts again. */
static void s22_new_incarnation(void) {
    static struct rig rig;
    struct rig_request x, old, during;
    struct history_result entry;
    open_without_joins(&rig);
    rig_install(&rig, "/x", 100, "A");
    rig_install(&rig, "/other", 101, "O");
    rig_write(&rig, "/y", 102);
    rig_start(&rig, &during, 1, "GET", "/other", NULL);
    rig_start(&rig, &old, 0, "GET", "/x", NULL);
    rig_fail(&rig, &old, SKETCHER_FAILED_LOCAL);
    rig_handover(&rig, &old); // submitted as 3
    rig_start(&rig, &x, 0, "GET", "/x", NULL);
    rig_fail(&rig, &x, SKETCHER_FAILED_LOCAL);
    rig_handover(&rig, &x); // 4
    agree_in(&rig, 4, 2, 1, "B");
    CU_ASSERT_TRUE(rig_holds(&rig, &x, 1, "B"));
    CU_ASSERT_EQUAL(rig_lookup(&rig, 1, &during, &entry), HISTORY_MISS);
    CU_ASSERT_EQUAL(rig_answer(&rig, &during, "O"), SKETCHER_STEP_REPLICATE);
    agree_in(&rig, 3, 1, 104, "A");
    CU_ASSERT_EQUAL(rig_verdict(&rig, &old), SKETCHER_STEP_FAIL);
    CU_ASSERT_EQUAL(old.r.fail_status, 504);
    CU_ASSERT_TRUE(rig_holds(&rig, &x, 1, "B"));
    CU_ASSERT_EQUAL(rig_slow_count(&rig, SKETCHER_SLOW_INCARNATION_CHANGES), 1);
    CU_ASSERT_EQUAL(rig_slow_count(&rig, SKETCHER_SLOW_OLD_INCARNATION), 1);
    rig_close(&rig);
}

/* S23: clients differ in a header outside the key: the replica never sees it. */
static void s23_header_outside_the_key(void) {
    static struct rig rig;
    struct rig_request x[2];
    static const char *headers[2] = {"X-Tenant: a\r\nRange: bytes=0-1\r\nAccept: text/html\r\n",
                                     "Accept: text/html\r\nX-Tenant: b\r\n"};
    uint8_t upstream[2][512];
    struct wire_writer w[2];
    rig_open(&rig, NULL);
    for (int i = 0; i < 2; i++) {
        rig_start(&rig, &x[i], 0, "GET", "/x", headers[i]);
        wire_writer_init(&w[i], upstream[i], sizeof upstream[i]);
        sketch_upstream_read(&w[i], &x[i].q, &rig.key_headers);
        CU_ASSERT_FALSE(w[i].failed);
    }
    CU_ASSERT_TRUE(sketch_equal(&x[0].r.key, &x[1].r.key));
    CU_ASSERT_EQUAL_FATAL(w[0].len, w[1].len);
    CU_ASSERT_EQUAL(memcmp(upstream[0], upstream[1], w[0].len), 0);
    CU_ASSERT_PTR_NULL(memmem(upstream[0], w[0].len, "enant", 5));
    CU_ASSERT_PTR_NULL(memmem(upstream[0], w[0].len, "bytes=", 6));
    CU_ASSERT_PTR_NOT_NULL(memmem(upstream[0], w[0].len, "text/html", 9));
    rig_close(&rig);
}

const struct unit_case sketcher_scenario_cases[] = {
    {"S1. a late read is ignored", s1_late_read},
    {"S2. an equal sketch raises sigma", s2_equal_sketch_raises_sigma},
    {"S3. eviction leaves a floor", s3_eviction_leaves_a_floor},
    {"S4. every copy before release", s4_every_copy_before_release},
    {"S5. second lookup", s5_second_lookup},
    {"S6. no join across a write", s6_no_join_across_a_write},
    {"S9. whitelisted becomes ordinary", s9_whitelisted_becomes_ordinary},
    {"S10. stale runs are geometric", s10_stale_runs_are_geometric},
    {"S10. draws are uniform", s10_draws_are_uniform},
    {"S12. variants of one URL", s12_variants_of_one_url},
    {"S13. last byte wrong", s13_last_byte_wrong},
    {"S15. unordered is not installed", s15_unordered_is_not_installed},
    {"S16. read after write", s16_read_after_write},
    {"S17. blacklisted and back", s17_blacklisted_and_back},
    {"S18. tombstone of the URL", s18_tombstone_of_the_url},
    {"S19. a flush leaves a floor", s19_flush_leaves_a_floor},
    {"S20. overtaken between invalidate and install", s20_overtaken_between_the_steps},
    {"S21. never a second draw", s21_never_a_second_draw},
    {"S22. a new incarnation", s22_new_incarnation},
    {"S23. a header outside the key", s23_header_outside_the_key},
    {0},
};
