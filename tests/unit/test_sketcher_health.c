/* SPDX-License-Identifier: BSD-3-Clause */
/* The candidate set: who is drawn from, who is left out for how long, who is probed back in. */
#include "test_sketcher.h"

/* Draws until it is the replica's turn (others answer), then fails it. */
static void fail_replica(struct rig *rig, uint32_t replica, enum sketcher_failure why) {
    struct rig_request x;
    for (int i = 0; i < 10000; i++) {
        rig_start(rig, &x, 0, "GET", "/x", NULL);
        CU_ASSERT_EQUAL_FATAL(x.step, SKETCHER_STEP_FAST);
        if (x.r.replica == replica) {
            rig_fail(rig, &x, why);
            return;
        }
        rig_answer(rig, &x, "A");
    }
    CU_FAIL_FATAL("never drawn");
}

static void answer_replica(struct rig *rig, uint32_t replica, const char *body) {
    struct rig_request x;
    do {
        rig_start(rig, &x, 0, "GET", "/x", NULL);
        rig_answer(rig, &x, x.r.replica == replica ? body : "A");
    } while (x.r.replica != replica);
}

static void open_health(struct rig *rig, uint32_t replicas, uint32_t f) {
    struct rig_options o;
    rig_options_default(&o);
    o.worker.replicas = replicas;
    o.worker.f = f;
    o.worker.eject_us = 1000000;
    o.worker.eject_max_us = 5000000;
    rig_open(rig, &o);
    rig_install(rig, "/x", 1, "A");
}

static void failures_in_a_row_eject(void) {
    static const enum sketcher_failure kinds[] = {SKETCHER_FAILED_CONNECT, SKETCHER_FAILED_TIMEOUT,
                                                  SKETCHER_FAILED_RESET, SKETCHER_FAILED_MALFORMED};
    static struct rig rig;
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        open_health(&rig, 4, 1);
        CU_ASSERT_EQUAL(sketcher_worker_next_deadline(rig.worker[0]), UINT64_MAX);
        fail_replica(&rig, 1, kinds[k]);
        fail_replica(&rig, 1, kinds[k]);
        answer_replica(&rig, 1, "A"); // the row is broken
        fail_replica(&rig, 1, kinds[k]);
        fail_replica(&rig, 1, kinds[k]);
        CU_ASSERT_TRUE(sketcher_candidate(rig.worker[0], 1));
        fail_replica(&rig, 1, kinds[k]);
        CU_ASSERT_FALSE(sketcher_candidate(rig.worker[0], 1));
        CU_ASSERT_TRUE(sketcher_candidate(rig.worker[1], 1)); // workers share nothing
        struct sketcher_replica_counts c = rig_replica(&rig, 0, 1);
        CU_ASSERT_EQUAL(c.ejections, 1);
        CU_ASSERT_EQUAL(c.timeouts, kinds[k] == SKETCHER_FAILED_TIMEOUT ? 5 : 0);
        CU_ASSERT_EQUAL(c.failures, kinds[k] == SKETCHER_FAILED_TIMEOUT ? 0 : 5);
        rig_close(&rig);
    }
}

static void what_does_not_eject(void) {
    static struct rig rig;
    open_health(&rig, 4, 1);
    for (int i = 0; i < 20; i++) {
        fail_replica(&rig, 2, SKETCHER_FAILED_LOCAL);
        fail_replica(&rig, 2, SKETCHER_FAILED_TOO_LARGE);
        answer_replica(&rig, 2, "lie");
    }
    CU_ASSERT_TRUE(sketcher_candidate(rig.worker[0], 2));
    CU_ASSERT_TRUE(rig_replica(&rig, 0, 2).mismatches >= 20);
    CU_ASSERT_EQUAL(rig_replica(&rig, 0, 2).failures, 0);
    CU_ASSERT_EQUAL(rig_replica(&rig, 0, 2).ejections, 0);
    CU_ASSERT_FALSE(sketcher_candidate(rig.worker[0], 4)); // there is none of that number
    rig_close(&rig);
}

static uint32_t candidates(const struct rig *rig, uint32_t replicas) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < replicas; i++)
        count += sketcher_candidate(rig->worker[0], i);
    return count;
}

static void floor_of_candidates(void) {
    static const uint32_t groups[][2] = {{4, 1}, {7, 2}, {6, 1}, {1, 0}};
    static struct rig rig;
    for (size_t g = 0; g < sizeof groups / sizeof *groups; g++) {
        uint32_t n = groups[g][0], f = groups[g][1];
        open_health(&rig, n, f);
        for (uint32_t replica = 0; replica < n; replica++)
            for (int i = 0; i < 5 && sketcher_candidate(rig.worker[0], replica); i++)
                fail_replica(&rig, replica, SKETCHER_FAILED_TIMEOUT);
        CU_ASSERT_EQUAL(candidates(&rig, n), 2 * f + 1);
        rig_close(&rig);
    }
}

/* One that failed while the set was at its least leaves it as soon as another is back. */
static void floor_then_room(void) {
    static struct rig rig;
    open_health(&rig, 4, 1);
    for (int i = 0; i < 3; i++)
        fail_replica(&rig, 0, SKETCHER_FAILED_TIMEOUT);
    for (int i = 0; i < 3; i++)
        fail_replica(&rig, 1, SKETCHER_FAILED_TIMEOUT);
    CU_ASSERT_FALSE(sketcher_candidate(rig.worker[0], 0));
    CU_ASSERT_TRUE(sketcher_candidate(rig.worker[0], 1));
    rig.now_us += 1000000;
    CU_ASSERT_EQUAL(sketcher_probe_due(rig.worker[0], rig.now_us), 0);
    sketcher_probe_result(rig.worker[0], 0, true, rig.now_us);
    fail_replica(&rig, 1, SKETCHER_FAILED_TIMEOUT);
    CU_ASSERT_TRUE(sketcher_candidate(rig.worker[0], 0));
    CU_ASSERT_FALSE(sketcher_candidate(rig.worker[0], 1));
    rig_close(&rig);
}

static void back_off_doubles(void) {
    static const uint64_t lasts_us[] = {1000000, 2000000, 4000000, 5000000, 5000000};
    static struct rig rig;
    open_health(&rig, 4, 1);
    for (int i = 0; i < 3; i++)
        fail_replica(&rig, 3, SKETCHER_FAILED_CONNECT);
    uint64_t now = rig.now_us - 1; // of the last failure
    for (size_t i = 0; i < sizeof lasts_us / sizeof *lasts_us; i++) {
        uint64_t due = now + lasts_us[i];
        CU_ASSERT_EQUAL(sketcher_worker_next_deadline(rig.worker[0]), due);
        CU_ASSERT_EQUAL(sketcher_probe_due(rig.worker[0], due - 1), -1);
        CU_ASSERT_EQUAL(sketcher_probe_due(rig.worker[0], due), 3);
        CU_ASSERT_EQUAL(sketcher_probe_due(rig.worker[0], due), -1); // once
        now = due + 10;
        sketcher_probe_result(rig.worker[0], 3, false, now);
        CU_ASSERT_FALSE(sketcher_candidate(rig.worker[0], 3));
    }
    sketcher_probe_result(rig.worker[0], 3, true, now);
    CU_ASSERT_TRUE(sketcher_candidate(rig.worker[0], 3));
    CU_ASSERT_EQUAL(sketcher_worker_next_deadline(rig.worker[0]), UINT64_MAX);
    CU_ASSERT_EQUAL(rig_replica(&rig, 0, 3).ejections, 1);
    /* Not one answer since: the next ejection is long at once. After an answer it is short again.
     */
    for (int i = 0; i < 3; i++)
        fail_replica(&rig, 3, SKETCHER_FAILED_CONNECT);
    CU_ASSERT_EQUAL(sketcher_worker_next_deadline(rig.worker[0]), rig.now_us - 1 + 5000000);
    sketcher_probe_result(rig.worker[0], 3, true, now);
    answer_replica(&rig, 3, "A");
    for (int i = 0; i < 3; i++)
        fail_replica(&rig, 3, SKETCHER_FAILED_CONNECT);
    CU_ASSERT_EQUAL(sketcher_worker_next_deadline(rig.worker[0]), rig.now_us - 1 + 1000000);
    rig_close(&rig);
}

/* Answers and failures of requests sent before the ejection change nothing about it. */
static void late_answers(void) {
    static struct rig rig;
    struct rig_request answered, failed;
    open_health(&rig, 7, 2); // room for more ejections
    do
        rig_start(&rig, &answered, 0, "GET", "/x", NULL);
    while (answered.r.replica != 3);
    do
        rig_start(&rig, &failed, 0, "GET", "/x", NULL);
    while (failed.r.replica != 3);
    for (int i = 0; i < 3; i++)
        fail_replica(&rig, 3, SKETCHER_FAILED_RESET);
    uint64_t deadline = sketcher_worker_next_deadline(rig.worker[0]);
    CU_ASSERT_EQUAL(rig_fail(&rig, &failed, SKETCHER_FAILED_RESET), SKETCHER_STEP_REPLICATE);
    CU_ASSERT_EQUAL(rig_answer(&rig, &answered, "A"), SKETCHER_STEP_RELEASE_FAST);
    CU_ASSERT_FALSE(sketcher_candidate(rig.worker[0], 3));
    CU_ASSERT_EQUAL(sketcher_worker_next_deadline(rig.worker[0]), deadline);
    CU_ASSERT_EQUAL(rig_replica(&rig, 0, 3).ejections, 1);
    rig_close(&rig);
}

/* A probe that is never reported comes again instead of leaving the replica out for good. */
static void lost_probe(void) {
    static struct rig rig;
    open_health(&rig, 4, 1);
    for (int i = 0; i < 3; i++)
        fail_replica(&rig, 3, SKETCHER_FAILED_RESET);
    uint64_t due = sketcher_worker_next_deadline(rig.worker[0]);
    CU_ASSERT_EQUAL(sketcher_probe_due(rig.worker[0], due), 3);
    uint64_t again = sketcher_worker_next_deadline(rig.worker[0]);
    CU_ASSERT_TRUE(again > due && again < UINT64_MAX);
    CU_ASSERT_EQUAL(sketcher_probe_due(rig.worker[0], again), 3);
    rig_close(&rig);
}

const struct unit_case sketcher_health_cases[] = {
    {"health: failures in a row eject", failures_in_a_row_eject},
    {"health: what does not eject", what_does_not_eject},
    {"health: floor of 2f+1", floor_of_candidates},
    {"health: floor, then room", floor_then_room},
    {"health: back-off doubles", back_off_doubles},
    {"health: late answers", late_answers},
    {"health: lost probe", lost_probe},
    {0},
};
