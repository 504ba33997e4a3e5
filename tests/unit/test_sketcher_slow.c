/* SPDX-License-Identifier: BSD-3-Clause */
/* The slow path: who joins whom, limits and queue, what becomes of every way agreement can end. */
#include "test_sketcher.h"

#include <stdlib.h>

static void read_x(struct rig *rig, struct rig_request *x) {
    rig_start(rig, x, 0, "GET", "/x", NULL);
    rig_handover(rig, x);
}

static void write_x(struct rig *rig, struct rig_request *x) {
    rig_start(rig, x, 0, "PUT", "/x", "Content-Length: 1\r\n");
    rig_handover(rig, x);
}

static void finish(struct rig *rig, uint32_t nth, enum bft_outcome outcome, bool finished) {
    rig_complete(rig, nth, &(struct bft_completion){.outcome = outcome, .finished = finished});
}

static enum sketcher_outcome outcome_of(const struct rig *rig, const struct rig_request *x) {
    const struct rig_released *out = rig_released_of(rig, x);
    CU_ASSERT_PTR_NOT_NULL_FATAL(out);
    return out->verdict.outcome;
}

/* ---- joining ---- */

static void join_by_arrival(void) {
    static struct rig rig;
    struct rig_request first, early, late, latest;
    rig_open(&rig, NULL);
    rig_start(&rig, &early, 1, "GET", "/x", NULL); // arrives before the first is handed over
    read_x(&rig, &first);
    rig_start(&rig, &late, 1, "GET", "/x", NULL);
    rig_handover(&rig, &early);
    rig_handover(&rig, &late);
    CU_ASSERT_EQUAL(rig.submitted_count, 1);
    CU_ASSERT_EQUAL(rig_slow_count(&rig, SKETCHER_SLOW_JOINED), 1);
    CU_ASSERT_EQUAL(sketcher_slow_operations(rig.slow), 2);
    rig_agree(&rig, 0, 1, "A");
    CU_ASSERT_TRUE(rig_has_verdict(&rig, &first));
    CU_ASSERT_TRUE(rig_has_verdict(&rig, &early));
    CU_ASSERT_FALSE(rig_has_verdict(&rig, &late));
    CU_ASSERT_EQUAL_FATAL(rig.submitted_count, 2);
    rig_start(&rig, &latest, 1, "GET", "/x", NULL); // after the second was handed over
    CU_ASSERT_EQUAL(rig_fail(&rig, &latest, SKETCHER_FAILED_LOCAL), SKETCHER_STEP_REPLICATE);
    rig_handover(&rig, &latest);
    rig_agree(&rig, 1, 2, "A");
    CU_ASSERT_TRUE(rig_has_verdict(&rig, &late));
    CU_ASSERT_FALSE(rig_has_verdict(&rig, &latest));
    rig_agree(&rig, 2, 3, "A");
    CU_ASSERT_TRUE(rig_has_verdict(&rig, &latest));
    CU_ASSERT_EQUAL(rig.submitted_count, 3);
    CU_ASSERT_EQUAL(sketcher_slow_operations(rig.slow), 0);
    rig_close(&rig);
}

/* At the same tick nobody can say who was first: it does not join. */
static void join_not_at_the_same_tick(void) {
    static struct rig rig;
    struct rig_request first, second;
    rig_open(&rig, NULL);
    rig_start(&rig, &first, 0, "GET", "/x", NULL);
    rig_start(&rig, &second, 0, "GET", "/x", NULL);
    second.r.arrived_us = rig.now_us; // of the hand-over that follows
    rig_handover(&rig, &first);
    rig_handover(&rig, &second);
    CU_ASSERT_EQUAL(rig_slow_count(&rig, SKETCHER_SLOW_JOINED), 0);
    CU_ASSERT_EQUAL(sketcher_slow_operations(rig.slow), 2);
    rig_close(&rig);
}

static void join_while_queued(void) {
    static struct rig rig;
    struct rig_request x[5];
    rig_open(&rig, NULL);
    rig.sessions = 0;
    for (int i = 0; i < 5; i++)
        read_x(&rig, &x[i]);
    CU_ASSERT_EQUAL(sketcher_slow_operations(rig.slow), 1);
    CU_ASSERT_EQUAL(rig_slow_count(&rig, SKETCHER_SLOW_JOINED), 4);
    rig.sessions = 1;
    sketcher_slow_kick(rig.slow, rig.now_us++);
    CU_ASSERT_EQUAL_FATAL(rig.submitted_count, 1);
    CU_ASSERT_EQUAL(rig.submitted[0].first.cookie, x[0].ticket.cookie);
    rig_agree(&rig, 0, 1, "A");
    for (int i = 0; i < 5; i++) {
        CU_ASSERT_EQUAL(outcome_of(&rig, &x[i]), SKETCHER_OUT_AGREED);
        CU_ASSERT_EQUAL(rig.released[i].cookie, x[i].ticket.cookie); // in their order
        CU_ASSERT_PTR_NOT_NULL(rig.released[i].result);
        CU_ASSERT_PTR_EQUAL(rig.released[i].result, rig.released[0].result);
    }
    CU_ASSERT_EQUAL(rig_slow_count(&rig, SKETCHER_SLOW_TICKETS), 5);
    CU_ASSERT_EQUAL(rig_slow_count(&rig, SKETCHER_SLOW_OPERATIONS), 1);
    CU_ASSERT_EQUAL(rig_slow_count(&rig, SKETCHER_SLOW_INSTALLED), 1);
    rig_close(&rig);
}

static void join_off(void) {
    static struct rig rig;
    struct rig_options o;
    struct rig_request x[3];
    rig_options_default(&o);
    o.slow.join = false;
    rig_open(&rig, &o);
    for (int i = 0; i < 3; i++)
        rig_start(&rig, &x[i], 0, "GET", "/x", NULL);
    for (int i = 0; i < 3; i++)
        rig_handover(&rig, &x[i]);
    CU_ASSERT_EQUAL(rig.submitted_count, 3);
    CU_ASSERT_EQUAL(rig_slow_count(&rig, SKETCHER_SLOW_JOINED), 0);
    rig_close(&rig);
}

static void join_only_the_same(void) {
    static struct rig rig;
    struct rig_request get, head, other, unordered, cookie;
    rig_open(&rig, NULL);
    rig_start(&rig, &get, 0, "GET", "/x", NULL);
    rig_start(&rig, &head, 0, "HEAD", "/x", NULL);
    rig_start(&rig, &other, 0, "GET", "/y", NULL);
    rig_start(&rig, &unordered, 0, "GET", "/x", NULL);
    rig_start(&rig, &cookie, 0, "GET", "/x", "Cookie: a=b\r\n");
    unordered.r.kind = SKETCHER_UNORDERED_READ;
    rig_handover(&rig, &get);
    rig_handover(&rig, &head);
    rig_handover(&rig, &other);
    rig_handover(&rig, &unordered);
    rig_handover(&rig, &cookie);
    CU_ASSERT_EQUAL(rig.submitted_count, 5);
    CU_ASSERT_EQUAL(rig_slow_count(&rig, SKETCHER_SLOW_JOINED), 0);
    rig_close(&rig);
}

static void join_unordered_by_the_same_rule(void) {
    static struct rig rig;
    struct rig_options o;
    struct rig_request early, first, late;
    uint8_t result[256];
    rig_options_default(&o);
    o.worker.mode = o.slow.mode = SKETCHER_PR_PBFT_RO;
    rig_open(&rig, &o);
    rig_start(&rig, &early, 1, "GET", "/x", NULL);
    read_x(&rig, &first);
    rig_handover(&rig, &early);
    read_x(&rig, &late);
    CU_ASSERT_EQUAL(rig.submitted_count, 1);
    size_t len = rig_canonical(200, NULL, "A", result, sizeof result);
    rig_complete(&rig, 0,
                 &(struct bft_completion){.outcome = BFT_UNORDERED_AGREED,
                                          .finished = true,
                                          .result = result,
                                          .result_len = len});
    CU_ASSERT_EQUAL(outcome_of(&rig, &first), SKETCHER_OUT_UNORDERED);
    CU_ASSERT_EQUAL(outcome_of(&rig, &early), SKETCHER_OUT_UNORDERED);
    CU_ASSERT_FALSE(rig_has_verdict(&rig, &late));
    CU_ASSERT_EQUAL(rig.submitted_count, 2);
    rig_close(&rig);
}

static void writes_are_never_joined(void) {
    static struct rig rig;
    struct rig_request x[3];
    rig_open(&rig, NULL);
    rig.sessions = 0;
    for (int i = 0; i < 3; i++)
        write_x(&rig, &x[i]);
    CU_ASSERT_EQUAL(sketcher_slow_operations(rig.slow), 3);
    rig.sessions = 3;
    sketcher_slow_kick(rig.slow, rig.now_us++);
    CU_ASSERT_EQUAL(rig.submitted_count, 3);
    CU_ASSERT_EQUAL(rig_slow_count(&rig, SKETCHER_SLOW_JOINED), 0);
    rig_close(&rig);
}

/* A read that timed out has ended for those who wait, and for those who come. */
static void timed_out_read_is_not_joined(void) {
    static struct rig rig;
    struct rig_request early, first, held, fresh;
    rig_open(&rig, NULL);
    rig_start(&rig, &early, 1, "GET", "/x", NULL);
    read_x(&rig, &first);
    read_x(&rig, &held);
    finish(&rig, 0, BFT_TIMED_OUT, false);
    CU_ASSERT_EQUAL(outcome_of(&rig, &first), SKETCHER_OUT_TIMED_OUT);
    CU_ASSERT_EQUAL_FATAL(rig.submitted_count, 2); // held's
    rig_handover(&rig, &early);
    CU_ASSERT_EQUAL(rig.submitted_count, 2);
    rig_agree(&rig, 1, 2, "A");
    CU_ASSERT_EQUAL(outcome_of(&rig, &held), SKETCHER_OUT_AGREED);
    CU_ASSERT_EQUAL(outcome_of(&rig, &early), SKETCHER_OUT_AGREED);
    CU_ASSERT_EQUAL(sketcher_slow_operations(rig.slow), 1); // the timed-out one
    rig_start(&rig, &fresh, 0, "GET", "/x", NULL);
    rig_fail(&rig, &fresh, SKETCHER_FAILED_LOCAL);
    rig_handover(&rig, &fresh);
    CU_ASSERT_EQUAL(rig.submitted_count, 3);
    finish(&rig, 0, BFT_ABANDONED, true);
    CU_ASSERT_EQUAL(sketcher_slow_operations(rig.slow), 1);
    CU_ASSERT_EQUAL(rig.released_count, 3);
    rig_close(&rig);
}

/* ---- queue and limits ---- */

/* A session that a timed-out write keeps is not waited for without end. */
static void queue_times_out(void) {
    static struct rig rig;
    struct rig_options o;
    struct rig_request write, early, read, joined, held;
    rig_options_default(&o);
    o.slow.queue_timeout_us = 1000;
    rig_open(&rig, &o);
    rig.sessions = 2;
    write_x(&rig, &write);
    rig_start(&rig, &early, 0, "GET", "/x", NULL);
    rig_handover(&rig, &early);
    rig_start(&rig, &read, 0, "GET", "/y", NULL);
    rig_handover(&rig, &read);
    rig_start(&rig, &joined, 0, "GET", "/y", NULL);
    rig_handover(&rig, &joined);
    uint64_t queued_us = rig.now_us;
    finish(&rig, 0, BFT_TIMED_OUT, false); // it keeps its session
    rig.now_us = queued_us + 900;
    sketcher_slow_kick(rig.slow, rig.now_us);
    CU_ASSERT_FALSE(rig_has_verdict(&rig, &read));
    rig.now_us = queued_us + 1000;
    rig.sessions = 1; // too late
    sketcher_slow_kick(rig.slow, rig.now_us);
    CU_ASSERT_EQUAL(outcome_of(&rig, &read), SKETCHER_OUT_BUSY);
    CU_ASSERT_EQUAL(outcome_of(&rig, &joined), SKETCHER_OUT_BUSY);
    CU_ASSERT_EQUAL(rig.submitted_count, 2);
    CU_ASSERT_EQUAL(rig_slow_count(&rig, SKETCHER_SLOW_DROP_QUEUE_TIMEOUT), 1);
    rig_start(&rig, &held, 0, "GET", "/y", NULL); // the key is free again
    rig_handover(&rig, &held);
    CU_ASSERT_EQUAL(rig.submitted_count, 3);
    rig_agree(&rig, 2, 3, "A");
    CU_ASSERT_EQUAL(outcome_of(&rig, &held), SKETCHER_OUT_AGREED);
    rig_agree(&rig, 1, 2, "A");
    finish(&rig, 0, BFT_ABANDONED, true);
    CU_ASSERT_EQUAL(sketcher_slow_operations(rig.slow), 0);
    rig_close(&rig);
}

static void queue_is_first_in_first_out(void) {
    static struct rig rig;
    struct rig_request x[6];
    char target[16];
    rig_open(&rig, NULL);
    rig.sessions = 1;
    for (int i = 0; i < 6; i++) {
        snprintf(target, sizeof target, "/%d", i);
        rig_start(&rig, &x[i], 0, i % 2 ? "GET" : "DELETE", target, NULL);
        rig_handover(&rig, &x[i]);
    }
    CU_ASSERT_EQUAL(rig.submitted_count, 1);
    CU_ASSERT_EQUAL(sketcher_slow_operations(rig.slow), 6);
    sketcher_slow_kick(rig.slow, rig.now_us++);
    CU_ASSERT_EQUAL(rig.submitted_count, 1);
    for (uint32_t i = 0; i < 6; i++) {
        CU_ASSERT_EQUAL_FATAL(rig.submitted_count, i + 1);
        CU_ASSERT_EQUAL(rig.submitted[i].first.cookie, x[i].ticket.cookie);
        rig_agree(&rig, i, i + 1, "A"); // its session takes the next
        CU_ASSERT_TRUE(rig_has_verdict(&rig, &x[i]));
    }
    CU_ASSERT_EQUAL(sketcher_slow_operations(rig.slow), 0);
    CU_ASSERT_EQUAL(rig_slow_count(&rig, SKETCHER_SLOW_OPERATIONS), 6);
    rig_close(&rig);
}

static void agreement_may_end_inside_submit(void) {
    static struct rig rig;
    struct rig_request x[4];
    rig_open(&rig, NULL);
    rig.complete_inside = true;
    for (int i = 0; i < 4; i++) {
        if (i % 2)
            write_x(&rig, &x[i]);
        else
            read_x(&rig, &x[i]);
        CU_ASSERT_EQUAL(outcome_of(&rig, &x[i]), SKETCHER_OUT_AGREED);
    }
    CU_ASSERT_EQUAL(sketcher_slow_operations(rig.slow), 0);
    CU_ASSERT_EQUAL(rig.submitted_count, 4);
    rig.sessions = 0;
    for (int i = 0; i < 4; i++)
        write_x(&rig, &x[i]);
    rig.sessions = 1;
    sketcher_slow_kick(rig.slow, rig.now_us++);
    CU_ASSERT_EQUAL(rig.submitted_count, 8);
    CU_ASSERT_EQUAL(sketcher_slow_operations(rig.slow), 0);
    rig_close(&rig);
}

static void limit_of_operations(void) {
    static struct rig rig;
    struct rig_options o;
    struct rig_request x[4], joins;
    rig_options_default(&o);
    o.slow.operations_max = 3;
    rig_open(&rig, &o);
    rig.sessions = 1; // in flight and queued count alike
    for (int i = 0; i < 4; i++)
        write_x(&rig, &x[i]);
    CU_ASSERT_EQUAL(rig.released_count, 1);
    CU_ASSERT_EQUAL(outcome_of(&rig, &x[3]), SKETCHER_OUT_BUSY);
    CU_ASSERT_EQUAL(rig_slow_count(&rig, SKETCHER_SLOW_DROP_QUEUE_FULL), 1);
    CU_ASSERT_EQUAL(rig_verdict(&rig, &x[3]), SKETCHER_STEP_FAIL);
    CU_ASSERT_EQUAL(x[3].r.fail_status, 503);
    for (uint32_t i = 0; i < 3; i++)
        rig_agree(&rig, i, i + 1, "A");
    rig.sessions = 0;
    for (int i = 0; i < 3; i++) {
        if (i < 2)
            write_x(&rig, &x[i]);
        else
            read_x(&rig, &x[i]);
    }
    read_x(&rig, &joins); // a full pool is no matter to who joins
    CU_ASSERT_FALSE(rig_has_verdict(&rig, &joins));
    CU_ASSERT_EQUAL(rig_slow_count(&rig, SKETCHER_SLOW_DROP_QUEUE_FULL), 1);
    rig_close(&rig);
}

static void limit_of_waiters(void) {
    static struct rig rig;
    struct rig_options o;
    struct rig_request x[5], y;
    rig_options_default(&o);
    o.slow.waiters_max = 4;
    rig_open(&rig, &o);
    rig.sessions = 0;
    for (int i = 0; i < 5; i++)
        read_x(&rig, &x[i]);
    CU_ASSERT_EQUAL(outcome_of(&rig, &x[4]), SKETCHER_OUT_BUSY);
    write_x(&rig, &y);
    CU_ASSERT_EQUAL(outcome_of(&rig, &y), SKETCHER_OUT_BUSY);
    CU_ASSERT_EQUAL(rig_slow_count(&rig, SKETCHER_SLOW_DROP_QUEUE_FULL), 2);
    CU_ASSERT_EQUAL(sketcher_slow_operations(rig.slow), 1);
    rig.sessions = 1;
    sketcher_slow_kick(rig.slow, rig.now_us++);
    rig_agree(&rig, 0, 1, "A");
    for (int i = 0; i < 4; i++)
        CU_ASSERT_EQUAL(outcome_of(&rig, &x[i]), SKETCHER_OUT_AGREED);
    write_x(&rig, &y);
    CU_ASSERT_EQUAL(rig.submitted_count, 2);
    rig_close(&rig);
}

static void from(struct rig *rig, struct rig_request *x, uint32_t source, const char *target) {
    rig_start(rig, x, 0, "GET", target, NULL);
    if (x->step == SKETCHER_STEP_FAST)
        rig_fail(rig, x, SKETCHER_FAILED_LOCAL);
    x->ticket.source = source;
    rig_handover(rig, x);
}

static void limit_per_source(void) {
    static struct rig rig;
    struct rig_options o;
    struct rig_request x[4], joined, other;
    rig_options_default(&o);
    o.slow.per_source_max = 2;
    rig_open(&rig, &o);
    from(&rig, &x[0], 7, "/0");
    from(&rig, &x[1], 7, "/1");
    from(&rig, &x[2], 7, "/2");
    CU_ASSERT_EQUAL(outcome_of(&rig, &x[2]), SKETCHER_OUT_BUSY);
    from(&rig, &joined, 7, "/0"); // also of one that would only join
    CU_ASSERT_EQUAL(outcome_of(&rig, &joined), SKETCHER_OUT_BUSY);
    from(&rig, &other, 8, "/2");
    CU_ASSERT_FALSE(rig_has_verdict(&rig, &other));
    CU_ASSERT_EQUAL(rig_slow_count(&rig, SKETCHER_SLOW_DROP_SOURCE_LIMIT), 2);
    CU_ASSERT_EQUAL(rig_slow_count(&rig, SKETCHER_SLOW_DROP_QUEUE_FULL), 0);
    rig_agree(&rig, 0, 1, "A");
    from(&rig, &x[3], 7, "/3");
    CU_ASSERT_FALSE(rig_has_verdict(&rig, &x[3]));
    CU_ASSERT_EQUAL(rig.submitted_count, 4);
    rig_close(&rig);
}

/* Tickets come and go from many sources; the counts are those of a plain array. */
static void counts_of_many_sources(void) {
    enum { SOURCES = 97, LIMIT = 3, STEPS = 3000, WAITERS = 128 };
    static struct rig rig;
    struct rig_options o;
    uint32_t tickets[SOURCES] = {0}, waiting = 0, owner[RIG_LOG];
    bool open[RIG_LOG] = {false};
    rig_options_default(&o);
    o.slow.per_source_max = LIMIT;
    o.slow.waiters_max = o.slow.operations_max = WAITERS;
    rig_open(&rig, &o);
    srand(1);
    uint64_t refused = 0, full = 0;
    for (int step = 0; step < STEPS; step++) {
        uint32_t source = (uint32_t)rand() % SOURCES;
        if (rand() % 2) {
            struct rig_request x;
            rig_start(&rig, &x, 0, "DELETE", "/x", NULL);
            x.ticket.source = source * 0x01000193u;
            rig_handover(&rig, &x);
            if (tickets[source] == LIMIT) {
                refused++;
            } else if (waiting == WAITERS) {
                full++;
            } else {
                owner[rig.submitted_count - 1] = source;
                open[rig.submitted_count - 1] = true;
                tickets[source]++;
                waiting++;
            }
        } else if (rig.submitted_count > 0) {
            uint32_t nth = (uint32_t)rand() % rig.submitted_count;
            if (!open[nth])
                continue;
            finish(&rig, nth, BFT_DISAGREED, true);
            open[nth] = false;
            tickets[owner[nth]]--;
            waiting--;
        }
    }
    CU_ASSERT_TRUE(refused > 100);
    CU_ASSERT_EQUAL(rig_slow_count(&rig, SKETCHER_SLOW_DROP_SOURCE_LIMIT), refused);
    CU_ASSERT_EQUAL(rig_slow_count(&rig, SKETCHER_SLOW_DROP_QUEUE_FULL), full);
    CU_ASSERT_EQUAL(sketcher_slow_operations(rig.slow), waiting);
    rig_close(&rig);
}

/* ---- how agreement ends ---- */

static void late_write(void) {
    static struct rig rig;
    struct rig_request write, read;
    struct history_result entry;
    rig_open(&rig, NULL);
    rig_install(&rig, "/x", 5, "old");
    write_x(&rig, &write);
    finish(&rig, 1, BFT_TIMED_OUT, false);
    CU_ASSERT_EQUAL(rig_verdict(&rig, &write), SKETCHER_STEP_FAIL);
    CU_ASSERT_EQUAL(write.r.fail_status, 504);
    CU_ASSERT_EQUAL(sketcher_slow_operations(rig.slow), 1);
    /* It is pending: it may take effect at any later time. */
    rig_start(&rig, &read, 1, "GET", "/x", NULL);
    CU_ASSERT_EQUAL(rig_answer(&rig, &read, "old"), SKETCHER_STEP_RELEASE_FAST);
    rig_complete(&rig, 1,
                 &(struct bft_completion){.outcome = BFT_AGREED_LATE,
                                          .finished = true,
                                          .sigma = BFT_SIGMA(10, 0),
                                          .incarnation = 1});
    CU_ASSERT_EQUAL(rig_lookup(&rig, 1, &read, &entry), HISTORY_TOMBSTONE);
    CU_ASSERT_EQUAL(entry.tombstone, BFT_SIGMA(10, 0));
    CU_ASSERT_EQUAL(rig_slow_count(&rig, SKETCHER_SLOW_LATE_WRITES), 1);
    CU_ASSERT_EQUAL(rig_slow_count(&rig, SKETCHER_SLOW_TOMBSTONES), 1);
    CU_ASSERT_EQUAL(sketcher_slow_operations(rig.slow), 0);
    CU_ASSERT_EQUAL(rig.released_count, 2); // each ticket once
    rig_close(&rig);
}

static void abandoned_write(void) {
    static struct rig rig;
    struct rig_request write, read;
    rig_open(&rig, NULL);
    rig_install(&rig, "/x", 5, "old");
    write_x(&rig, &write);
    finish(&rig, 1, BFT_TIMED_OUT, false);
    finish(&rig, 1, BFT_ABANDONED, true);
    rig_start(&rig, &read, 1, "GET", "/x", NULL); // it may have happened: the group is asked
    CU_ASSERT_EQUAL(read.step, SKETCHER_STEP_REPLICATE);
    CU_ASSERT_EQUAL(rig.released_count, 2);
    CU_ASSERT_EQUAL(outcome_of(&rig, &write), SKETCHER_OUT_TIMED_OUT);
    CU_ASSERT_EQUAL(sketcher_slow_operations(rig.slow), 0);
    CU_ASSERT_EQUAL(rig_slow_count(&rig, SKETCHER_SLOW_LATE_WRITES), 0);
    rig_close(&rig);
}

/* 502 for a write whose result we cannot send; it was executed all the same. */
static void write_without_a_result(void) {
    static const enum bft_outcome ends[] = {BFT_DISAGREED, BFT_TOO_LARGE, BFT_AGREED};
    static struct rig rig;
    struct rig_request write, read;
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        rig_open(&rig, NULL);
        rig_install(&rig, "/x", 5, "old");
        write_x(&rig, &write);
        rig_complete(&rig, 1,
                     &(struct bft_completion){.outcome = ends[i],
                                              .finished = true,
                                              .sigma = BFT_SIGMA(6, 0),
                                              .incarnation = 1,
                                              .result = (const uint8_t *)"not canonical",
                                              .result_len = 13});
        CU_ASSERT_EQUAL(rig_verdict(&rig, &write), SKETCHER_STEP_FAIL);
        CU_ASSERT_EQUAL(write.r.fail_status, 502);
        rig_start(&rig, &read, 1, "GET", "/x", NULL);
        CU_ASSERT_EQUAL(read.step, SKETCHER_STEP_REPLICATE);
        CU_ASSERT_EQUAL(rig_slow_count(&rig, SKETCHER_SLOW_NOT_CANONICAL),
                        ends[i] == BFT_AGREED ? 1 : 0);
        rig_close(&rig);
    }
}

static void agreed_but_not_canonical(void) {
    static struct rig rig;
    struct rig_request x;
    uint8_t result[256];
    rig_open(&rig, NULL);
    size_t len = rig_canonical(200, NULL, "A", result, sizeof result);
    for (size_t cut = 0; cut < len; cut += 3) {
        rig.released_count = rig.submitted_count = 0;
        read_x(&rig, &x);
        rig_complete(&rig, 0,
                     &(struct bft_completion){.outcome = BFT_AGREED,
                                              .finished = true,
                                              .sigma = BFT_SIGMA(1 + cut, 0),
                                              .incarnation = 1,
                                              .result = result,
                                              .result_len = cut});
        CU_ASSERT_EQUAL(outcome_of(&rig, &x), SKETCHER_OUT_DISAGREED);
        CU_ASSERT_PTR_NULL(rig.released[0].result);
    }
    CU_ASSERT_EQUAL(rig_slow_count(&rig, SKETCHER_SLOW_NOT_CANONICAL), (len + 2) / 3);
    CU_ASSERT_EQUAL(rig_slow_count(&rig, SKETCHER_SLOW_INSTALLED), 0);
    rig_close(&rig);
}

static void other_ends(void) {
    static const struct {
        enum bft_outcome end;
        enum sketcher_outcome outcome;
    } rows[] = {
        {BFT_DISAGREED, SKETCHER_OUT_DISAGREED},
        {BFT_TOO_LARGE, SKETCHER_OUT_TOO_LARGE},
        {BFT_TIMED_OUT, SKETCHER_OUT_TIMED_OUT},
        {BFT_ABANDONED, SKETCHER_OUT_TIMED_OUT},
    };
    static struct rig rig;
    struct rig_request x, joined;
    rig_open(&rig, NULL);
    rig_install(&rig, "/x", 5, "A");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        rig.released_count = rig.submitted_count = 0;
        rig_start(&rig, &x, 0, "GET", "/x", NULL);
        rig_start(&rig, &joined, 1, "GET", "/x", NULL);
        rig_answer(&rig, &x, "B");
        rig_answer(&rig, &joined, "B");
        rig_handover(&rig, &x);
        rig_handover(&rig, &joined);
        finish(&rig, 0, rows[i].end, true);
        CU_ASSERT_EQUAL(outcome_of(&rig, &x), rows[i].outcome);
        CU_ASSERT_EQUAL(outcome_of(&rig, &joined), rows[i].outcome);
        CU_ASSERT_TRUE(rig_holds(&rig, &x, 5, "A")); // nothing agreed, nothing changed
    }
    CU_ASSERT_EQUAL(sketcher_slow_operations(rig.slow), 0);
    rig_close(&rig);
}

static void what_is_installed(void) {
    static const struct {
        uint16_t status;
        const char *headers;
        bool installed;
    } rows[] = {
        {200, NULL, true},
        {203, "Vary: Accept-Encoding\r\n", true},
        {301, "Location: /y\r\n", true},
        {307, NULL, true},
        {404, NULL, true},
        {410, NULL, true},
        {400, NULL, false},
        {401, NULL, false},
        {403, NULL, false},
        {429, NULL, false},
        {500, NULL, false},
        {502, NULL, false},
        {503, NULL, false},
        {200, "Vary: *\r\n", false},
        {200, "Vary: Accept\r\nVary: Cookie, *\r\n", false},
    };
    static struct rig rig;
    struct rig_request x;
    struct history_result entry;
    uint8_t result[512];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        rig_open(&rig, NULL);
        rig_install(&rig, "/x", 5, "A");
        rig_start(&rig, &x, 0, "GET", "/x", NULL);
        rig_answer(&rig, &x, "B");
        rig_handover(&rig, &x);
        size_t len = rig_canonical(rows[i].status, rows[i].headers, "B", result, sizeof result);
        rig_complete(&rig, 1,
                     &(struct bft_completion){.outcome = BFT_AGREED,
                                              .finished = true,
                                              .sigma = BFT_SIGMA(10, 3),
                                              .incarnation = 1,
                                              .result = result,
                                              .result_len = len});
        CU_ASSERT_EQUAL(outcome_of(&rig, &x), SKETCHER_OUT_AGREED); // released in any case
        for (uint32_t copy = 0; copy < RIG_COPIES; copy++) {
            CU_ASSERT_EQUAL(rig_lookup(&rig, copy, &x, &entry),
                            rows[i].installed ? HISTORY_HIT : HISTORY_MISS);
            CU_ASSERT_EQUAL(history_sigma(rig.history, copy, &x.r.key, &x.r.url),
                            BFT_SIGMA(10, 3)); // and sigma is raised in any case
        }
        CU_ASSERT_EQUAL(rig_slow_count(&rig, SKETCHER_SLOW_INSTALLED), 1u + rows[i].installed);
        CU_ASSERT_EQUAL(rig_slow_count(&rig, SKETCHER_SLOW_NOT_INSTALLED_STATUS),
                        !rows[i].installed);
        rig_close(&rig);
    }
}

/* The sketch in the verdict is that of the result under the ticket's key: suspicion rests on it. */
static void verdict_holds_the_sketch(void) {
    static struct rig rig;
    struct rig_request x;
    struct sketch_tag want;
    rig_open(&rig, NULL);
    read_x(&rig, &x);
    rig_agree(&rig, 0, 1, "A");
    rig_sketch(&rig, &x.r.key, "A", &want);
    CU_ASSERT_TRUE(sketch_equal(&rig.released[0].verdict.sketch, &want));
    CU_ASSERT_EQUAL(rig.released[0].verdict.sigma, BFT_SIGMA(1, 0));
    rig_close(&rig);
}

static void agree_as(struct rig *rig, struct rig_request *x, uint64_t incarnation) {
    uint8_t result[256];
    size_t len = rig_canonical(200, NULL, "A", result, sizeof result);
    rig_start(rig, x, 0, "DELETE", "/x", NULL);
    rig_handover(rig, x);
    rig_complete(rig, rig->submitted_count - 1,
                 &(struct bft_completion){.outcome = BFT_AGREED,
                                          .finished = true,
                                          .sigma = BFT_SIGMA(1, 0),
                                          .incarnation = incarnation,
                                          .result = result,
                                          .result_len = len});
}

static void former_incarnations(void) {
    static struct rig rig;
    struct rig_request x;
    rig_open(&rig, NULL);
    for (uint64_t incarnation = 1; incarnation <= 17; incarnation++) {
        agree_as(&rig, &x, incarnation);
        CU_ASSERT_EQUAL(outcome_of(&rig, &x), SKETCHER_OUT_AGREED);
    }
    CU_ASSERT_EQUAL(rig_slow_count(&rig, SKETCHER_SLOW_INCARNATION_CHANGES), 16);
    for (uint64_t incarnation = 1; incarnation <= 16; incarnation++) {
        agree_as(&rig, &x, incarnation);
        CU_ASSERT_EQUAL(outcome_of(&rig, &x), SKETCHER_OUT_TIMED_OUT);
    }
    CU_ASSERT_EQUAL(rig_slow_count(&rig, SKETCHER_SLOW_OLD_INCARNATION), 16);
    CU_ASSERT_EQUAL(rig_slow_count(&rig, SKETCHER_SLOW_INCARNATION_CHANGES), 16);
    CU_ASSERT_EQUAL(rig_slow_count(&rig, SKETCHER_SLOW_TOMBSTONES), 17);
    agree_as(&rig, &x, 17);
    CU_ASSERT_EQUAL(outcome_of(&rig, &x), SKETCHER_OUT_AGREED);
    rig_close(&rig);
}

const struct unit_case sketcher_slow_cases[] = {
    {"slow: join by arrival", join_by_arrival},
    {"slow: join not at the same tick", join_not_at_the_same_tick},
    {"slow: join while queued", join_while_queued},
    {"slow: join off", join_off},
    {"slow: join only the same", join_only_the_same},
    {"slow: join unordered by the same rule", join_unordered_by_the_same_rule},
    {"slow: writes are never joined", writes_are_never_joined},
    {"slow: timed-out read is not joined", timed_out_read_is_not_joined},
    {"slow: queue times out", queue_times_out},
    {"slow: queue is first in, first out", queue_is_first_in_first_out},
    {"slow: agreement may end inside submit", agreement_may_end_inside_submit},
    {"slow: limit of operations", limit_of_operations},
    {"slow: limit of waiters", limit_of_waiters},
    {"slow: limit per source", limit_per_source},
    {"slow: counts of many sources", counts_of_many_sources},
    {"slow: late write", late_write},
    {"slow: abandoned write", abandoned_write},
    {"slow: write without a result", write_without_a_result},
    {"slow: agreed but not canonical", agreed_but_not_canonical},
    {"slow: other ends", other_ends},
    {"slow: what is installed", what_is_installed},
    {"slow: verdict holds the sketch", verdict_holds_the_sketch},
    {"slow: former incarnations", former_incarnations},
    {0},
};
