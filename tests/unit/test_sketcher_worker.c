/* SPDX-License-Identifier: BSD-3-Clause */
/* Algorithm 1 on the worker: modes, lists, kinds of request, failures, verdicts, suspicion. */
#include "test_sketcher.h"

#include <math.h>

static void open_mode(struct rig *rig, enum sketcher_mode mode) {
    struct rig_options o;
    rig_options_default(&o);
    o.worker.mode = o.slow.mode = mode;
    rig_open(rig, &o);
}

static void prophecy_mode(void) {
    static struct rig rig;
    struct rig_request x;
    rig_open(&rig, NULL);
    rig_start(&rig, &x, 0, "GET", "/x", NULL);
    CU_ASSERT_EQUAL(x.step, SKETCHER_STEP_REPLICATE);
    CU_ASSERT_EQUAL(x.r.kind, SKETCHER_ORDERED_READ);
    CU_ASSERT_EQUAL(x.r.state, SKETCHER_REPLICATED_SENT);
    CU_ASSERT_EQUAL(x.r.arrived_us, 1000000);
    rig_handover(&rig, &x);
    rig_agree(&rig, 0, 1, "A");
    CU_ASSERT_EQUAL(rig_verdict(&rig, &x), SKETCHER_STEP_RELEASE_AGREED);
    rig_start(&rig, &x, 0, "GET", "/x", NULL);
    CU_ASSERT_EQUAL(x.step, SKETCHER_STEP_FAST);
    CU_ASSERT_TRUE(x.r.checked);
    CU_ASSERT_EQUAL(x.r.state, SKETCHER_FAST_SENT);
    CU_ASSERT_EQUAL(rig_answer(&rig, &x, "A"), SKETCHER_STEP_RELEASE_FAST);
    CU_ASSERT_EQUAL(x.r.state, SKETCHER_DONE);
    static const struct {
        enum sketcher_counter id;
        uint64_t want;
    } counts[] = {
        {SKETCHER_REQUESTS, 2},   {SKETCHER_READS, 2},      {SKETCHER_WRITES, 0},
        {SKETCHER_FAST_READS, 1}, {SKETCHER_FAST_TRIED, 1}, {SKETCHER_REPLICATED, 1},
        {SKETCHER_MISSES, 1},     {SKETCHER_AGREED, 1},     {SKETCHER_TRANSITIONS, 0},
    };
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        CU_ASSERT_EQUAL(rig_count(&rig, 0, counts[i].id), counts[i].want);
    CU_ASSERT_EQUAL(rig_replica(&rig, 0, x.r.replica).asked, 1);
    CU_ASSERT_EQUAL(rig_replica(&rig, 0, x.r.replica).answers, 1);
    rig_close(&rig);
}

static void balance_mode(void) {
    static struct rig rig;
    struct rig_request x;
    uint32_t drawn[4] = {0};
    open_mode(&rig, SKETCHER_BALANCE);
    for (int i = 0; i < 400; i++) {
        rig_start(&rig, &x, 0, i % 2 ? "GET" : "PUT", "/x", i % 2 ? NULL : "Content-Length: 1\r\n");
        CU_ASSERT_EQUAL(x.step, SKETCHER_STEP_FAST);
        CU_ASSERT_FALSE(x.r.checked);
        drawn[x.r.replica]++;
        x.step = sketcher_fast_answered(rig.worker[0], &x.r, NULL, rig.now_us++);
        CU_ASSERT_EQUAL(x.step, SKETCHER_STEP_RELEASE_FAST);
    }
    for (int i = 0; i < 4; i++)
        CU_ASSERT_TRUE(drawn[i] > 50);
    CU_ASSERT_EQUAL(rig_count(&rig, 0, SKETCHER_BALANCED), 400);
    CU_ASSERT_EQUAL(rig_count(&rig, 0, SKETCHER_FAST_READS), 200);
    CU_ASSERT_EQUAL(rig_count(&rig, 0, SKETCHER_REPLICATED), 0);
    static const struct {
        enum sketcher_failure why;
        uint16_t status;
        enum sketcher_counter counted;
    } failures[] = {
        {SKETCHER_FAILED_CONNECT, 502, SKETCHER_BAD_GATEWAY},
        {SKETCHER_FAILED_TIMEOUT, 504, SKETCHER_TIMED_OUT},
        {SKETCHER_FAILED_RESET, 502, SKETCHER_BAD_GATEWAY},
        {SKETCHER_FAILED_MALFORMED, 502, SKETCHER_BAD_GATEWAY},
        {SKETCHER_FAILED_TOO_LARGE, 502, SKETCHER_TOO_LARGE},
        {SKETCHER_FAILED_LOCAL, 503, SKETCHER_BUSY},
    };
    for (size_t i = 0; i < sizeof failures / sizeof *failures; i++) {
        uint64_t before = rig_count(&rig, 0, failures[i].counted);
        rig_start(&rig, &x, 0, "GET", "/x", NULL);
        CU_ASSERT_EQUAL(rig_fail(&rig, &x, failures[i].why), SKETCHER_STEP_FAIL);
        CU_ASSERT_EQUAL(x.r.fail_status, failures[i].status);
        CU_ASSERT_EQUAL(rig_count(&rig, 0, failures[i].counted), before + 1);
    }
    rig_close(&rig);
}

static void pr_pbft_modes(void) {
    static struct rig rig;
    struct rig_request x;
    struct history_result entry;
    for (int ro = 0; ro < 2; ro++) {
        open_mode(&rig, ro ? SKETCHER_PR_PBFT_RO : SKETCHER_PR_PBFT);
        for (int i = 0; i < 2; i++) {
            rig_start(&rig, &x, 0, "GET", "/x", NULL);
            CU_ASSERT_EQUAL(x.step, SKETCHER_STEP_REPLICATE);
            CU_ASSERT_EQUAL(x.r.kind, ro ? SKETCHER_UNORDERED_READ : SKETCHER_ORDERED_READ);
            rig_handover(&rig, &x);
            rig_agree(&rig, rig.submitted_count - 1, 1 + (uint64_t)i, "A");
            CU_ASSERT_EQUAL(rig_verdict(&rig, &x), SKETCHER_STEP_RELEASE_AGREED);
            CU_ASSERT_EQUAL(rig_lookup(&rig, 0, &x, &entry), HISTORY_MISS); // only prophecy writes
        }
        rig_start(&rig, &x, 0, "DELETE", "/x", NULL);
        CU_ASSERT_EQUAL(x.r.kind, SKETCHER_ORDERED_WRITE);
        rig_handover(&rig, &x);
        rig_agree(&rig, rig.submitted_count - 1, 3, "gone");
        CU_ASSERT_EQUAL(rig_slow_count(&rig, SKETCHER_SLOW_TOMBSTONES), 0);
        CU_ASSERT_EQUAL(rig_count(&rig, 0, SKETCHER_FAST_TRIED), 0);
        rig_close(&rig);
    }
}

static void reads_and_writes(void) {
    static const struct {
        const char *method, *target, *headers;
        bool read;
    } requests[] = {
        {"GET", "/x", NULL, true},
        {"HEAD", "/x", NULL, true},
        {"GET", "/x", "Content-Length: 0\r\n", true},
        {"GET", "/x", "Content-Length: 1\r\n", false},
        {"HEAD", "/x", "Transfer-Encoding: chunked\r\n", false},
        {"POST", "/x", "Content-Length: 0\r\n", false},
        {"PUT", "/x", "Content-Length: 9\r\n", false},
        {"DELETE", "/x", NULL, false},
        {"PATCH", "/x", NULL, false},
        {"OPTIONS", "*", NULL, false},
        {"PURGE", "/x", NULL, false},
        {"get", "/x", NULL, false},
        {"GET", "/cgi/count", NULL, false}, // on the write list
        {"GET", "/cg%69/count?x", NULL, false},
    };
    static struct rig rig;
    static struct sketcher_policy writes;
    struct rig_request x;
    char err[SKETCHER_ERROR_BYTES];
    writes = (struct sketcher_policy){0};
    CU_ASSERT_TRUE(sketcher_policy_add(&writes, SKETCHER_WRITELIST, "GET /cgi/*", err));
    rig_open(&rig, NULL);
    sketcher_worker_set_policy(rig.worker[0], &writes);
    uint64_t reads = 0, count = sizeof requests / sizeof *requests;
    for (size_t i = 0; i < count; i++) {
        rig_start(&rig, &x, 0, requests[i].method, requests[i].target, requests[i].headers);
        CU_ASSERT_EQUAL(x.step, SKETCHER_STEP_REPLICATE);
        CU_ASSERT_EQUAL(x.r.read, requests[i].read);
        CU_ASSERT_EQUAL(x.r.kind,
                        requests[i].read ? SKETCHER_ORDERED_READ : SKETCHER_ORDERED_WRITE);
        reads += requests[i].read;
    }
    CU_ASSERT_EQUAL(rig_count(&rig, 0, SKETCHER_READS), reads);
    CU_ASSERT_EQUAL(rig_count(&rig, 0, SKETCHER_WRITES), count - reads);
    rig_close(&rig);
}

static void contended_lookups_are_misses(void) {
    static struct rig rig;
    struct rig_request x;
    rig_open(&rig, NULL);
    rig_install(&rig, "/x", 1, "A");
    rig_contended = 1;
    rig_start(&rig, &x, 1, "GET", "/x", NULL);
    CU_ASSERT_EQUAL(x.step, SKETCHER_STEP_REPLICATE);
    CU_ASSERT_EQUAL(rig_count(&rig, 1, SKETCHER_CONTENDED), 1);
    rig_start(&rig, &x, 1, "GET", "/x", NULL);
    CU_ASSERT_EQUAL(x.step, SKETCHER_STEP_FAST);
    rig_contended = 1;
    CU_ASSERT_EQUAL(rig_answer(&rig, &x, "A"), SKETCHER_STEP_REPLICATE);
    CU_ASSERT_EQUAL(rig_count(&rig, 1, SKETCHER_FAST_OVERTAKEN), 1);
    CU_ASSERT_FALSE(x.r.mismatched);
    rig_close(&rig);
}

static void whitelisted_that_fails_is_replicated(void) {
    static struct rig rig;
    static struct sketcher_policy white;
    struct rig_request x;
    char err[SKETCHER_ERROR_BYTES];
    white = (struct sketcher_policy){0};
    CU_ASSERT_TRUE(sketcher_policy_add(&white, SKETCHER_WHITELIST, "* /static/*", err));
    rig_open(&rig, NULL);
    sketcher_worker_set_policy(rig.worker[0], &white);
    rig_start(&rig, &x, 0, "HEAD", "/static/x", NULL);
    CU_ASSERT_EQUAL(x.step, SKETCHER_STEP_FAST);
    CU_ASSERT_FALSE(x.r.checked);
    CU_ASSERT_EQUAL(rig_fail(&rig, &x, SKETCHER_FAILED_TIMEOUT), SKETCHER_STEP_REPLICATE);
    CU_ASSERT_EQUAL(x.r.kind, SKETCHER_ORDERED_READ);
    CU_ASSERT_EQUAL(rig_count(&rig, 0, SKETCHER_WHITELISTED), 0);
    rig_start(&rig, &x, 0, "PUT", "/static/x", "Content-Length: 1\r\n");
    CU_ASSERT_EQUAL(x.step, SKETCHER_STEP_REPLICATE);
    CU_ASSERT_EQUAL(x.r.kind, SKETCHER_ORDERED_WRITE);
    rig_close(&rig);
}

/* A reload that changes nothing leaves fast reads alone; one that does makes them replicated. */
static void reload_during_a_fast_read(void) {
    static struct rig rig;
    static struct sketcher_policy first, same, other;
    struct rig_request x;
    char err[SKETCHER_ERROR_BYTES];
    first = same = other = (struct sketcher_policy){0};
    CU_ASSERT_TRUE(sketcher_policy_add(&first, SKETCHER_WHITELIST, "GET /a", err));
    CU_ASSERT_TRUE(sketcher_policy_add(&same, SKETCHER_WHITELIST, "GET /a", err));
    CU_ASSERT_TRUE(sketcher_policy_add(&other, SKETCHER_BLACKLIST, "GET /x", err));
    rig_open(&rig, NULL);
    sketcher_worker_set_policy(rig.worker[0], &first);
    rig_install(&rig, "/x", 1, "A");
    rig_start(&rig, &x, 0, "GET", "/x", NULL);
    sketcher_worker_set_policy(rig.worker[0], &same);
    CU_ASSERT_EQUAL(rig_answer(&rig, &x, "A"), SKETCHER_STEP_RELEASE_FAST);
    rig_start(&rig, &x, 0, "GET", "/x", NULL);
    sketcher_worker_set_policy(rig.worker[0], &other);
    CU_ASSERT_EQUAL(rig_answer(&rig, &x, "A"), SKETCHER_STEP_REPLICATE);
    CU_ASSERT_EQUAL(rig_count(&rig, 0, SKETCHER_FAST_OVERTAKEN), 1);
    rig_close(&rig);
}

static void changing_keys_are_blacklisted(void) {
    static struct rig rig;
    struct rig_options o;
    struct rig_request x;
    char body[16];
    rig_options_default(&o);
    o.blacklist_after = 3;
    rig_open(&rig, &o);
    rig_install(&rig, "/x", 1, "version 1");
    rig_start(&rig, &x, 1, "GET", "/x", NULL);
    CU_ASSERT_EQUAL(x.step, SKETCHER_STEP_FAST);
    for (unsigned int i = 2; i <= 6; i++) {
        snprintf(body, sizeof body, "version %u", i);
        rig_install(&rig, "/x", i, body);
    }
    CU_ASSERT_EQUAL(rig_answer(&rig, &x, "version 6"), SKETCHER_STEP_REPLICATE); // law 2: and lists
    CU_ASSERT_EQUAL(rig_count(&rig, 1, SKETCHER_FAST_OVERTAKEN), 1);
    rig_start(&rig, &x, 1, "GET", "/x", NULL);
    CU_ASSERT_EQUAL(x.step, SKETCHER_STEP_REPLICATE);
    CU_ASSERT_TRUE(x.r.blacklisted);
    CU_ASSERT_EQUAL(rig_count(&rig, 1, SKETCHER_AUTO_BLACKLISTED), 1);
    rig_handover(&rig, &x);
    rig_agree(&rig, rig.submitted_count - 1, 7, "version 7");
    CU_ASSERT_EQUAL(history_sigma(rig.history, 1, &x.r.key, &x.r.url), BFT_SIGMA(7, 0));
    rig.now_us += 3600 * 1000000ull; // blacklist_s is over
    rig_start(&rig, &x, 1, "GET", "/x", NULL);
    CU_ASSERT_EQUAL(x.step, SKETCHER_STEP_FAST);
    CU_ASSERT_EQUAL(rig_answer(&rig, &x, "version 7"), SKETCHER_STEP_RELEASE_FAST);
    rig_close(&rig);
}

static void injected_transitions(void) {
    static const double shares[] = {0, 0.25, 1};
    enum { READS = 4000 };
    static struct rig rig;
    struct rig_options o;
    struct rig_request x;
    for (size_t i = 0; i < sizeof shares / sizeof *shares; i++) {
        rig_options_default(&o);
        o.worker.inject_transitions = shares[i];
        rig_open(&rig, &o);
        rig_install(&rig, "/x", 1, "A");
        for (int n = 0; n < READS; n++) {
            rig_start(&rig, &x, 1, "GET", "/x", NULL);
            CU_ASSERT_EQUAL(x.step, SKETCHER_STEP_FAST);
            rig_answer(&rig, &x, "A");
        }
        double got = (double)rig_count(&rig, 1, SKETCHER_TRANSITIONS_INJECTED);
        double sigma = sqrt(READS * shares[i] * (1 - shares[i]));
        CU_ASSERT_TRUE(fabs(got - READS * shares[i]) <= 4 * sigma);
        CU_ASSERT_EQUAL(rig_count(&rig, 1, SKETCHER_FAST_READS), READS - (uint64_t)got);
        CU_ASSERT_EQUAL(rig_count(&rig, 1, SKETCHER_TRANSITIONS), 0);
        for (uint32_t replica = 0; replica < 4; replica++)
            CU_ASSERT_EQUAL(rig_replica(&rig, 1, replica).mismatches, 0);
        rig_close(&rig);
    }
}

static void injected_transitions_raise_no_suspicion(void) {
    static struct rig rig;
    struct rig_options o;
    struct rig_request x;
    rig_options_default(&o);
    o.worker.inject_transitions = 1;
    rig_open(&rig, &o);
    rig_install(&rig, "/x", 1, "A");
    rig_start(&rig, &x, 0, "GET", "/x", NULL);
    CU_ASSERT_EQUAL(rig_answer(&rig, &x, "lie"), SKETCHER_STEP_REPLICATE);
    rig_handover(&rig, &x);
    rig_agree(&rig, 1, 2, "A");
    CU_ASSERT_EQUAL(rig_verdict(&rig, &x), SKETCHER_STEP_RELEASE_AGREED);
    CU_ASSERT_FALSE(x.suspect);
    CU_ASSERT_EQUAL(rig_count(&rig, 0, SKETCHER_SUSPICIONS), 0);
    rig_close(&rig);
}

/* ---- suspicion ---- */

/* The entry is (5, A), a replica answers "lie"; then something happens, and agreement says body. */
static bool suspected(struct rig *rig, const char *write_between, uint64_t sequence,
                      const char *body) {
    struct rig_request x;
    rig_start(rig, &x, 0, "GET", "/x", NULL);
    CU_ASSERT_EQUAL(rig_answer(rig, &x, "lie"), SKETCHER_STEP_REPLICATE);
    CU_ASSERT_TRUE(x.r.mismatched);
    if (write_between != NULL)
        rig_write(rig, write_between, sequence - 1);
    rig_handover(rig, &x);
    rig_agree(rig, rig->submitted_count - 1, sequence, body);
    CU_ASSERT_EQUAL(rig_verdict(rig, &x), SKETCHER_STEP_RELEASE_AGREED);
    CU_ASSERT_EQUAL(rig_replica(rig, 0, x.r.replica).suspicions, x.suspect);
    return x.suspect;
}

static void suspicion(void) {
    static const struct {
        const char *write_between, *body;
        bool suspect;
    } rows[] = {
        {NULL, "A", true},    // the group confirms the entry
        {NULL, "B", false},   // an ordinary transition
        {"/x", "A", false},   // caught between two writes
        {"/y", "A", true},    // a write elsewhere is no excuse
        {NULL, "lie", false}, // it was ahead of us
    };
    static struct rig rig;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        rig_open(&rig, NULL);
        rig_install(&rig, "/x", 5, "A");
        CU_ASSERT_EQUAL(suspected(&rig, rows[i].write_between, 10, rows[i].body), rows[i].suspect);
        CU_ASSERT_EQUAL(rig_count(&rig, 0, SKETCHER_SUSPICIONS), rows[i].suspect);
        CU_ASSERT_EQUAL(rig_count(&rig, 0, SKETCHER_TRANSITIONS), 1);
        rig_close(&rig);
    }
}

static void no_suspicion_without_agreement(void) {
    static struct rig rig;
    struct rig_request x;
    struct sketcher_verdict v;
    rig_open(&rig, NULL);
    rig_install(&rig, "/x", 5, "A");
    for (int outcome = SKETCHER_OUT_UNORDERED; outcome <= SKETCHER_OUT_BUSY; outcome++) {
        rig_start(&rig, &x, 0, "GET", "/x", NULL);
        rig_answer(&rig, &x, "lie");
        v = (struct sketcher_verdict){.outcome = (enum sketcher_outcome)outcome,
                                      .sigma = 1ull << 40};
        v.sketch = x.r.entry_sketch;
        sketcher_verdict(rig.worker[0], &x.r, &v, rig.now_us++, &x.suspect);
        CU_ASSERT_FALSE(x.suspect);
    }
    /* An older sigma, or a table in change, proves nothing either. */
    v.outcome = SKETCHER_OUT_AGREED;
    for (int i = 0; i < 2; i++) {
        rig_start(&rig, &x, 0, "GET", "/x", NULL);
        rig_answer(&rig, &x, "lie");
        v.sigma = i == 0 ? BFT_SIGMA(5, 0) : BFT_SIGMA(6, 0);
        rig_contended = i == 0 ? 0 : 1;
        sketcher_verdict(rig.worker[0], &x.r, &v, rig.now_us++, &x.suspect);
        CU_ASSERT_FALSE(x.suspect);
    }
    rig_close(&rig);
}

static void verdicts(void) {
    static const struct {
        enum sketcher_outcome outcome;
        enum sketcher_step step;
        uint16_t status;
        enum sketcher_counter counted;
    } rows[] = {
        {SKETCHER_OUT_AGREED, SKETCHER_STEP_RELEASE_AGREED, 0, SKETCHER_AGREED},
        {SKETCHER_OUT_UNORDERED, SKETCHER_STEP_RELEASE_AGREED, 0, SKETCHER_AGREED},
        {SKETCHER_OUT_TIMED_OUT, SKETCHER_STEP_FAIL, 504, SKETCHER_TIMED_OUT},
        {SKETCHER_OUT_DISAGREED, SKETCHER_STEP_FAIL, 502, SKETCHER_DISAGREED},
        {SKETCHER_OUT_TOO_LARGE, SKETCHER_STEP_FAIL, 502, SKETCHER_TOO_LARGE},
        {SKETCHER_OUT_BUSY, SKETCHER_STEP_FAIL, 503, SKETCHER_BUSY},
    };
    static struct rig rig;
    struct rig_request x;
    rig_open(&rig, NULL);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct sketcher_verdict v = {.outcome = rows[i].outcome};
        uint64_t before = rig_count(&rig, 0, rows[i].counted);
        rig_start(&rig, &x, 0, "GET", "/x", NULL);
        x.suspect = true;
        CU_ASSERT_EQUAL(sketcher_verdict(rig.worker[0], &x.r, &v, rig.now_us++, &x.suspect),
                        rows[i].step);
        CU_ASSERT_FALSE(x.suspect);
        CU_ASSERT_EQUAL(x.r.state, SKETCHER_DONE);
        CU_ASSERT_EQUAL(x.r.fail_status, rows[i].status);
        CU_ASSERT_EQUAL(rig_count(&rig, 0, rows[i].counted), before + 1);
    }
    rig_close(&rig);
}

static void names(void) {
    for (int i = 0; i < SKETCHER_COUNTER_COUNT; i++)
        for (int j = 0; j < i; j++)
            CU_ASSERT_STRING_NOT_EQUAL(sketcher_counter_names[i], sketcher_counter_names[j]);
    for (int i = 0; i < SKETCHER_SLOW_COUNTER_COUNT; i++)
        for (int j = 0; j < i; j++)
            CU_ASSERT_STRING_NOT_EQUAL(sketcher_slow_counter_names[i],
                                       sketcher_slow_counter_names[j]);
    CU_ASSERT_STRING_EQUAL(sketcher_mode_names[SKETCHER_PR_PBFT_RO], "pr-pbft-ro");
    CU_ASSERT_STRING_EQUAL(sketcher_mode_names[SKETCHER_BALANCE], "balance");
}

const struct unit_case sketcher_worker_cases[] = {
    {"worker: mode prophecy", prophecy_mode},
    {"worker: mode balance", balance_mode},
    {"worker: modes pr-pbft and pr-pbft-ro", pr_pbft_modes},
    {"worker: reads and writes", reads_and_writes},
    {"worker: contended lookups are misses", contended_lookups_are_misses},
    {"worker: whitelisted that fails is replicated", whitelisted_that_fails_is_replicated},
    {"worker: reload during a fast read", reload_during_a_fast_read},
    {"worker: changing keys are blacklisted", changing_keys_are_blacklisted},
    {"worker: injected transitions", injected_transitions},
    {"worker: injected transitions raise no suspicion", injected_transitions_raise_no_suspicion},
    {"worker: suspicion", suspicion},
    {"worker: no suspicion without agreement", no_suspicion_without_agreement},
    {"worker: verdicts", verdicts},
    {"worker: names", names},
    {0},
};
