/* SPDX-License-Identifier: BSD-3-Clause */
/* The rig of test_sketcher.h, and the table of all cases of lib/sketcher. */
#include "test_sketcher.h"

#include <assert.h>
#include <stdlib.h>

uint32_t rig_contended;

enum history_found __wrap_history_lookup(struct history *h, uint32_t copy,
                                         const struct sketch_tag *key, const struct sketch_tag *url,
                                         uint32_t now_s, struct history_result *out);
enum history_found __real_history_lookup(struct history *h, uint32_t copy,
                                         const struct sketch_tag *key, const struct sketch_tag *url,
                                         uint32_t now_s, struct history_result *out);

enum history_found __wrap_history_lookup(struct history *h, uint32_t copy,
                                         const struct sketch_tag *key, const struct sketch_tag *url,
                                         uint32_t now_s, struct history_result *out) {
    if (rig_contended == 0)
        return __real_history_lookup(h, copy, key, url, now_s, out);
    rig_contended--;
    memset(out, 0, sizeof *out);
    return HISTORY_CONTENDED;
}

/* ---- opening and closing ---- */

static void *copy_alloc(void *ctx, uint32_t copy, size_t bytes) {
    (void)ctx, (void)copy;
    void *memory = aligned_alloc(64, (bytes + 63) / 64 * 64);
    return memory == NULL ? NULL : memset(memory, 0, bytes);
}

static void copy_release(void *ctx, uint32_t copy, void *memory, size_t bytes) {
    (void)ctx, (void)copy, (void)bytes;
    free(memory);
}

static bool on_submit(void *ctx, uint32_t operation, const struct sketcher_ticket *first) {
    struct rig *rig = ctx;
    if (rig->sessions == 0)
        return false;
    rig->sessions--;
    assert(rig->submitted_count < RIG_LOG);
    rig->submitted[rig->submitted_count++] = (struct rig_submitted){operation, *first};
    if (rig->complete_inside)
        rig_agree(rig, rig->submitted_count - 1, rig->next_sequence++, "inside");
    return true;
}

static void on_release(void *ctx, const struct sketcher_ticket *t,
                       const struct sketcher_verdict *v) {
    struct rig *rig = ctx;
    assert(rig->released_count < RIG_LOG);
    struct rig_released *out = &rig->released[rig->released_count++];
    out->cookie = t->cookie;
    out->verdict = *v;
    out->result = v->result;
    for (uint32_t copy = 0; copy < RIG_COPIES; copy++)
        out->found[copy] =
            history_lookup(rig->history, copy, &t->key, &t->url, 0, &out->entry[copy]);
}

void rig_options_default(struct rig_options *o) {
    memset(o, 0, sizeof *o);
    sketcher_worker_config_default(&o->worker);
    sketcher_slow_config_default(&o->slow);
    o->history_entries = 4096;
}

void rig_open(struct rig *rig, const struct rig_options *given) {
    struct rig_options o;
    rig_options_default(&o);
    if (given != NULL)
        o = *given;
    memset(rig, 0, sizeof *rig);
    rig->now_us = 1000000;
    rig->sessions = RIG_LOG;
    rig->next_sequence = 1;
    memset(&rig->secret, 0x5a, sizeof rig->secret);
    memset(rig->secret.response_key, 0xa5, sizeof rig->secret.response_key);
    sketch_key_headers_default(&rig->key_headers);
    rig->history = history_new(&(struct history_config){
        .entries = o.history_entries,
        .tombstones = 1024,
        .copies = RIG_COPIES,
        .partitions = 1,
        .seed = "rig",
        .blacklist_after = o.blacklist_after,
        .blacklist_s = 60,
        .alloc = copy_alloc,
        .release = copy_release,
    });
    rig->sketch = sketch_new(&rig->secret);
    o.worker.history = o.slow.history = rig->history;
    o.worker.key_headers = &rig->key_headers;
    o.worker.secret = o.slow.secret = rig->secret;
    for (uint32_t w = 0; w < RIG_COPIES; w++) {
        o.worker.copy = w;
        memset(o.worker.seed, (int)w + 1, sizeof o.worker.seed);
        rig->worker[w] = sketcher_worker_new(&o.worker);
    }
    rig->slow = sketcher_slow_new(&o.slow, &(struct sketcher_slow_env){rig, on_submit, on_release});
    assert(rig->history && rig->sketch && rig->worker[0] && rig->worker[1] && rig->slow);
}

void rig_close(struct rig *rig) {
    sketcher_slow_free(rig->slow);
    for (uint32_t w = 0; w < RIG_COPIES; w++)
        sketcher_worker_free(rig->worker[w]);
    sketch_free(rig->sketch);
    history_free(rig->history);
    rig_contended = 0;
}

/* ---- one request ---- */

static bool has_body(const struct http_request *q) {
    return q->chunked || q->content_length > 0;
}

void rig_start(struct rig *rig, struct rig_request *x, uint32_t w, const char *method,
               const char *target, const char *headers) {
    memset(x, 0, sizeof *x);
    int len = snprintf(x->text, sizeof x->text, "%s %s HTTP/1.1\r\nHost: www.example\r\n%s\r\n",
                       method, target, headers == NULL ? "" : headers);
    int parsed = http_parse_request((const uint8_t *)x->text, (size_t)len, &x->q);
    CU_ASSERT_EQUAL_FATAL(parsed, len);
    x->w = w;
    x->step = sketcher_start(rig->worker[w], &x->r, &x->q, has_body(&x->q), rig->now_us++);
}

enum sketcher_step rig_answer(struct rig *rig, struct rig_request *x, const char *body) {
    struct sketch_tag s_r;
    rig_sketch(rig, &x->r.key, body, &s_r);
    return x->step = sketcher_fast_answered(rig->worker[x->w], &x->r, &s_r, rig->now_us++);
}

enum sketcher_step rig_fail(struct rig *rig, struct rig_request *x, enum sketcher_failure why) {
    return x->step = sketcher_fast_failed(rig->worker[x->w], &x->r, why, rig->now_us++);
}

void rig_handover(struct rig *rig, struct rig_request *x) {
    CU_ASSERT_EQUAL(x->step, SKETCHER_STEP_REPLICATE);
    uint32_t source = x->ticket.source;
    x->ticket = (struct sketcher_ticket){
        .cookie = ++rig->next_cookie,
        .source = source,
        .kind = x->r.kind,
        .key = x->r.key,
        .url = x->r.url,
        .arrived_us = x->r.arrived_us,
    };
    sketcher_slow_handover(rig->slow, &x->ticket, rig->now_us++);
}

void rig_complete(struct rig *rig, uint32_t nth, const struct bft_completion *c) {
    CU_ASSERT_FATAL(nth < rig->submitted_count);
    if (c->finished)
        rig->sessions++;
    sketcher_slow_completed(rig->slow, rig->submitted[nth].operation, c, rig->now_us++);
}

void rig_agree(struct rig *rig, uint32_t nth, uint64_t sequence, const char *body) {
    uint8_t result[1024];
    size_t len = rig_canonical(200, NULL, body, result, sizeof result);
    rig_complete(rig, nth,
                 &(struct bft_completion){
                     .outcome = BFT_AGREED,
                     .finished = true,
                     .sigma = BFT_SIGMA(sequence, 0),
                     .incarnation = 1,
                     .result = result,
                     .result_len = len,
                 });
}

const struct rig_released *rig_released_of(const struct rig *rig, const struct rig_request *x) {
    const struct rig_released *found = NULL;
    for (uint32_t i = 0; i < rig->released_count; i++) {
        if (rig->released[i].cookie != x->ticket.cookie)
            continue;
        CU_ASSERT_PTR_NULL(found); // one verdict per ticket
        found = &rig->released[i];
    }
    return found;
}

bool rig_has_verdict(const struct rig *rig, const struct rig_request *x) {
    return rig_released_of(rig, x) != NULL;
}

enum sketcher_step rig_verdict(struct rig *rig, struct rig_request *x) {
    const struct rig_released *out = rig_released_of(rig, x);
    CU_ASSERT_PTR_NOT_NULL_FATAL(out);
    return x->step = sketcher_verdict(rig->worker[x->w], &x->r, &out->verdict, rig->now_us++,
                                      &x->suspect);
}

void rig_install(struct rig *rig, const char *target, uint64_t sequence, const char *body) {
    struct rig_request x;
    rig_start(rig, &x, 0, "GET", target, NULL);
    if (x.step == SKETCHER_STEP_FAST)
        rig_fail(rig, &x, SKETCHER_FAILED_LOCAL);
    rig_handover(rig, &x);
    rig_agree(rig, rig->submitted_count - 1, sequence, body);
    CU_ASSERT_EQUAL(rig_verdict(rig, &x), SKETCHER_STEP_RELEASE_AGREED);
}

void rig_write(struct rig *rig, const char *target, uint64_t sequence) {
    struct rig_request x;
    rig_start(rig, &x, 0, "PUT", target, "Content-Length: 3\r\n");
    rig_handover(rig, &x);
    rig_agree(rig, rig->submitted_count - 1, sequence, "written");
    CU_ASSERT_EQUAL(rig_verdict(rig, &x), SKETCHER_STEP_RELEASE_AGREED);
}

/* ---- responses and looking at the state ---- */

size_t rig_canonical(uint16_t status, const char *headers, const char *body, uint8_t *out,
                     size_t cap) {
    static const struct sketch_names none;
    char text[512];
    uint8_t head[512];
    struct http_response r;
    int len = snprintf(text, sizeof text, "HTTP/1.1 %u X\r\n%sContent-Length: %zu\r\n\r\n",
                       (unsigned int)status, headers == NULL ? "" : headers, strlen(body));
    CU_ASSERT_FATAL(http_parse_response((const uint8_t *)text, (size_t)len, false, &r) > 0);
    size_t head_len = sketch_canonical_head(&r, false, &none, head, sizeof head);
    CU_ASSERT_FATAL(head_len > 0);
    return sketch_canonical_build(head, head_len, (const uint8_t *)body, strlen(body), out, cap);
}

void rig_sketch(struct rig *rig, const struct sketch_tag *key, const char *body,
                struct sketch_tag *out) {
    uint8_t canonical[1024];
    size_t len = rig_canonical(200, NULL, body, canonical, sizeof canonical);
    sketch_canonical(rig->sketch, key, canonical, len, out);
}

enum history_found rig_lookup(struct rig *rig, uint32_t copy, const struct rig_request *x,
                              struct history_result *out) {
    return history_lookup(rig->history, copy, &x->r.key, &x->r.url, 0, out);
}

bool rig_holds(struct rig *rig, const struct rig_request *x, uint64_t sequence, const char *body) {
    struct sketch_tag want;
    struct history_result entry;
    rig_sketch(rig, &x->r.key, body, &want);
    for (uint32_t copy = 0; copy < RIG_COPIES; copy++)
        if (rig_lookup(rig, copy, x, &entry) != HISTORY_HIT ||
            entry.sigma != BFT_SIGMA(sequence, 0) || !sketch_equal(&entry.sketch, &want))
            return false;
    return true;
}

uint64_t rig_count(const struct rig *rig, uint32_t w, enum sketcher_counter id) {
    uint64_t all[SKETCHER_COUNTER_COUNT];
    sketcher_worker_counters(rig->worker[w], all);
    return all[id];
}

uint64_t rig_slow_count(const struct rig *rig, enum sketcher_slow_counter id) {
    uint64_t all[SKETCHER_SLOW_COUNTER_COUNT];
    sketcher_slow_counters(rig->slow, all);
    return all[id];
}

struct sketcher_replica_counts rig_replica(const struct rig *rig, uint32_t w, uint32_t replica) {
    struct sketcher_replica_counts out;
    sketcher_worker_replica(rig->worker[w], replica, &out);
    return out;
}

int main(int argc, char **argv) {
    const struct unit_case *tables[] = {sketcher_scenario_cases, sketcher_worker_cases,
                                        sketcher_health_cases,   sketcher_slow_cases,
                                        sketcher_policy_cases,   sketcher_evidence_cases};
    struct unit_case all[128] = {{0}};
    size_t count = 0;
    for (size_t t = 0; t < sizeof tables / sizeof *tables; t++)
        for (const struct unit_case *c = tables[t]; c->name != NULL; c++) {
            assert(count + 1 < sizeof all / sizeof *all);
            all[count++] = *c;
        }
    return unit_main("sketcher", all, argc, argv);
}
