/* SPDX-License-Identifier: BSD-3-Clause */
/* Algorithm 1 (Prophecy, §3.3.1) as a worker lcore runs it: fast or replicated, release or not. */
#include "sketcher/internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

const char *const sketcher_mode_names[4] = {"prophecy", "balance", "pr-pbft", "pr-pbft-ro"};

const char *const sketcher_counter_names[SKETCHER_COUNTER_COUNT] = {
#define COUNTER_NAME(id, name) name,
    SKETCHER_COUNTERS(COUNTER_NAME)
#undef COUNTER_NAME
};

struct replica_counters {
    counter asked, answers, mismatches, suspicions, failures, timeouts, ejections;
};

struct sketcher_worker {
    enum sketcher_mode mode;
    struct history *history;
    uint32_t copy;
    const struct sketch_names *key_headers;
    const struct sketcher_policy *policy;
    uint32_t policy_generation;
    double inject_transitions;
    struct sketch *sketch;
    struct crypto_drbg *drbg;
    struct health health;
    counter counters[SKETCHER_COUNTER_COUNT];
    struct replica_counters replica[SKETCHER_REPLICAS_MAX];
};

/* ---- life ---- */

void sketcher_worker_config_default(struct sketcher_worker_config *cfg) {
    *cfg = (struct sketcher_worker_config){
        .mode = SKETCHER_PROPHECY,
        .replicas = 4,
        .f = 1,
        .fail_after = 3,
        .eject_us = 1000000,
        .eject_max_us = 60000000,
    };
}

struct sketcher_worker *sketcher_worker_new(const struct sketcher_worker_config *cfg) {
    assert(cfg->replicas >= 1 && cfg->replicas <= SKETCHER_REPLICAS_MAX);
    assert(cfg->replicas >= 3 * cfg->f + 1 && cfg->fail_after > 0);
    assert(cfg->history != NULL || cfg->mode != SKETCHER_PROPHECY);
    struct sketcher_worker *w = calloc(1, sizeof *w);
    if (w == NULL)
        return NULL;
    w->mode = cfg->mode;
    w->history = cfg->history;
    w->copy = cfg->copy;
    w->key_headers = cfg->key_headers;
    w->policy = cfg->policy;
    w->inject_transitions = cfg->inject_transitions;
    health_init(&w->health, cfg);
    w->sketch = sketch_new(&cfg->secret);
    w->drbg = crypto_drbg_new(cfg->seed);
    if (w->sketch == NULL || w->drbg == NULL) {
        sketcher_worker_free(w);
        return NULL;
    }
    return w;
}

void sketcher_worker_free(struct sketcher_worker *w) {
    if (w == NULL)
        return;
    if (w->sketch != NULL)
        sketch_free(w->sketch);
    if (w->drbg != NULL)
        crypto_drbg_free(w->drbg);
    free(w);
}

struct sketch *sketcher_worker_sketch(struct sketcher_worker *w) {
    return w->sketch;
}

/* A fast read under way does not outlive a change of the lists (law 2): see sketcher_fast_answered.
 */
void sketcher_worker_set_policy(struct sketcher_worker *w, const struct sketcher_policy *policy) {
    if (!BROKEN(WHITELIST) && !policy_equal(w->policy, policy))
        w->policy_generation++;
    w->policy = policy;
}

/* ---- steps ---- */

static void count(struct sketcher_worker *w, enum sketcher_counter id) {
    counter_add(&w->counters[id]);
}

static enum history_found look_up(struct sketcher_worker *w, const struct sketcher_request *r,
                                  uint64_t now_us, struct history_result *out) {
    return history_lookup(w->history, w->copy, &r->key, &r->url, (uint32_t)(now_us / 1000000), out);
}

static enum sketcher_step replicate(struct sketcher_worker *w, struct sketcher_request *r) {
    r->state = SKETCHER_REPLICATED_SENT;
    count(w, SKETCHER_REPLICATED);
    return SKETCHER_STEP_REPLICATE;
}

/* Law 5: one draw per request, from the generator and nothing else. */
static enum sketcher_step ask_one(struct sketcher_worker *w, struct sketcher_request *r) {
    uint32_t drawn = crypto_drbg_below(w->drbg, w->health.candidate_count);
    if (BROKEN(AFFINITY))
        drawn = r->key.b[0] % w->health.candidate_count;
    r->replica = w->health.candidate[drawn];
    r->state = SKETCHER_FAST_SENT;
    count(w, SKETCHER_FAST_TRIED);
    counter_add(&w->replica[r->replica].asked);
    return SKETCHER_STEP_FAST;
}

static enum sketcher_step release_fast(struct sketcher_worker *w, struct sketcher_request *r) {
    r->state = SKETCHER_DONE;
    if (r->read)
        count(w, SKETCHER_FAST_READS);
    if (!r->checked)
        count(w, w->mode == SKETCHER_BALANCE ? SKETCHER_BALANCED : SKETCHER_WHITELISTED);
    return SKETCHER_STEP_RELEASE_FAST;
}

static enum sketcher_step fail(struct sketcher_worker *w, struct sketcher_request *r,
                               uint16_t status, enum sketcher_counter why) {
    r->state = SKETCHER_DONE;
    r->fail_status = status;
    count(w, why);
    return SKETCHER_STEP_FAIL;
}

/* ---- (1) -> (2): what to do with a request ---- */

/* s(r) != null and b != blacklisted */
static enum sketcher_step start_checked(struct sketcher_worker *w, struct sketcher_request *r,
                                        uint64_t now_us) {
    struct history_result entry;
    enum history_found found = look_up(w, r, now_us, &entry);
    if (entry.blacklisted && found != HISTORY_CONTENDED) {
        r->blacklisted = true;
        count(w, SKETCHER_AUTO_BLACKLISTED);
        return replicate(w, r);
    }
    switch (found) {
    case HISTORY_HIT:
        r->checked = true;
        r->entry_sketch = entry.sketch;
        return ask_one(w, r);
    case HISTORY_MISS:
        count(w, SKETCHER_MISSES);
        break;
    case HISTORY_TOMBSTONE:
        count(w, SKETCHER_TOMBSTONED);
        break;
    case HISTORY_CONTENDED:
        count(w, SKETCHER_CONTENDED);
        break;
    }
    return replicate(w, r);
}

static enum sketcher_step start_read(struct sketcher_worker *w, struct sketcher_request *r,
                                     enum sketcher_list list, uint64_t now_us) {
    switch (list) {
    case SKETCHER_WHITELIST:
        return ask_one(w, r);
    case SKETCHER_BLACKLIST:
        r->blacklisted = true;
        count(w, SKETCHER_BLACKLISTED);
        return replicate(w, r);
    default:
        return start_checked(w, r, now_us);
    }
}

enum sketcher_step sketcher_start(struct sketcher_worker *w, struct sketcher_request *r,
                                  const struct http_request *q, bool has_body, uint64_t now_us) {
    assert(q->method != HTTP_TRACE && q->method != HTTP_CONNECT); // answered 405 by the shell
    enum sketcher_list list = sketcher_policy_match(w->policy, q);
    bool read = (q->method == HTTP_GET || q->method == HTTP_HEAD) && !has_body &&
                list != SKETCHER_WRITELIST;
    *r = (struct sketcher_request){
        .kind = read ? SKETCHER_ORDERED_READ : SKETCHER_ORDERED_WRITE,
        .read = read,
        .arrived_us = now_us,
        .policy_generation = w->policy_generation,
    };
    count(w, SKETCHER_REQUESTS);
    count(w, read ? SKETCHER_READS : SKETCHER_WRITES);
    if (w->mode == SKETCHER_BALANCE)
        return ask_one(w, r);
    sketch_url(w->sketch, q, &r->url);
    if (!read)
        return replicate(w, r);
    sketch_request(w->sketch, q, w->key_headers, &r->key);
    if (w->mode == SKETCHER_PROPHECY)
        return start_read(w, r, list, now_us);
    if (w->mode == SKETCHER_PR_PBFT_RO)
        r->kind = SKETCHER_UNORDERED_READ;
    return replicate(w, r);
}

/* ---- (2) -> (4) or (3): what came of the fast read ---- */

static bool injected(struct sketcher_worker *w) {
    if (w->inject_transitions <= 0)
        return false;
    return (double)(crypto_drbg_u64(w->drbg) >> 11) < w->inject_transitions * 0x1p53;
}

/* The entry moved, not the replica: nobody is to blame. */
static enum sketcher_step overtaken(struct sketcher_worker *w, struct sketcher_request *r) {
    count(w, SKETCHER_FAST_OVERTAKEN);
    return replicate(w, r);
}

static enum sketcher_step mismatch(struct sketcher_worker *w, struct sketcher_request *r,
                                   const struct history_result *entry) {
    r->mismatched = true;
    r->entry_sigma = entry->sigma;
    r->entry_sketch = entry->sketch;
    r->entry_tombstone = entry->tombstone;
    count(w, SKETCHER_TRANSITIONS);
    counter_add(&w->replica[r->replica].mismatches);
    return replicate(w, r);
}

static enum sketcher_step compare(struct sketcher_worker *w, struct sketcher_request *r,
                                  const struct sketch_tag *s_r, uint64_t now_us) {
    struct history_result entry;
    enum history_found found = look_up(w, r, now_us, &entry);
    if (BROKEN(SECOND_LOOKUP) && sketch_equal(s_r, &r->entry_sketch))
        return release_fast(w, r);
    if (found != HISTORY_HIT || entry.blacklisted)
        return overtaken(w, r);
    if (sketch_equal(s_r, &entry.sketch))
        return release_fast(w, r);
    if (sketch_equal(s_r, &r->entry_sketch))
        return overtaken(w, r); // what was right when it was asked
    return mismatch(w, r, &entry);
}

enum sketcher_step sketcher_fast_answered(struct sketcher_worker *w, struct sketcher_request *r,
                                          const struct sketch_tag *s_r, uint64_t now_us) {
    assert(r->state == SKETCHER_FAST_SENT);
    counter_add(&w->replica[r->replica].answers);
    health_answered(&w->health, r->replica);
    if (w->mode == SKETCHER_BALANCE)
        return release_fast(w, r);
    if (r->policy_generation != w->policy_generation)
        return overtaken(w, r); // law 2: by other lists
    if (!r->checked)
        return release_fast(w, r);
    if (injected(w)) {
        count(w, SKETCHER_TRANSITIONS_INJECTED);
        return replicate(w, r);
    }
    return compare(w, r, s_r, now_us);
}

static void record_failure(struct sketcher_worker *w, uint32_t replica, enum sketcher_failure why,
                           uint64_t now_us) {
    struct replica_counters *c = &w->replica[replica];
    if (why == SKETCHER_FAILED_TOO_LARGE || why == SKETCHER_FAILED_LOCAL)
        return; // says nothing about the replica's health
    counter_add(why == SKETCHER_FAILED_TIMEOUT ? &c->timeouts : &c->failures);
    if (health_failed(&w->health, replica, now_us))
        counter_add(&c->ejections);
}

static enum sketcher_step balance_failed(struct sketcher_worker *w, struct sketcher_request *r,
                                         enum sketcher_failure why) {
    switch (why) {
    case SKETCHER_FAILED_TIMEOUT:
        return fail(w, r, 504, SKETCHER_TIMED_OUT);
    case SKETCHER_FAILED_TOO_LARGE:
        return fail(w, r, 502, SKETCHER_TOO_LARGE);
    case SKETCHER_FAILED_LOCAL:
        return fail(w, r, 503, SKETCHER_BUSY);
    default:
        return fail(w, r, 502, SKETCHER_BAD_GATEWAY);
    }
}

enum sketcher_step sketcher_fast_failed(struct sketcher_worker *w, struct sketcher_request *r,
                                        enum sketcher_failure why, uint64_t now_us) {
    assert(r->state == SKETCHER_FAST_SENT);
    count(w, SKETCHER_FAST_FAILED);
    record_failure(w, r->replica, why, now_us);
    if (w->mode == SKETCHER_BALANCE)
        return balance_failed(w, r, why);
    if (BROKEN(SECOND_DRAW))
        return ask_one(w, r);
    return replicate(w, r);
}

/* ---- (3) -> (4): the slow path's verdict ---- */

/*
 * The fast answer did not match the entry, and the group, asked later, still says what the entry
 * says. Without a write between, the replica was faulty or lagging (design.md 5).
 */
static bool outvoted(struct sketcher_worker *w, const struct sketcher_request *r,
                     const struct sketcher_verdict *v, uint64_t now_us) {
    struct history_result now;
    if (!r->mismatched || v->outcome != SKETCHER_OUT_AGREED || v->sigma <= r->entry_sigma ||
        !sketch_equal(&v->sketch, &r->entry_sketch))
        return false;
    return look_up(w, r, now_us, &now) != HISTORY_CONTENDED && now.tombstone == r->entry_tombstone;
}

enum sketcher_step sketcher_verdict(struct sketcher_worker *w, struct sketcher_request *r,
                                    const struct sketcher_verdict *v, uint64_t now_us,
                                    bool *suspect) {
    assert(r->state == SKETCHER_REPLICATED_SENT);
    *suspect = outvoted(w, r, v, now_us);
    if (*suspect) {
        count(w, SKETCHER_SUSPICIONS);
        counter_add(&w->replica[r->replica].suspicions);
    }
    switch (v->outcome) {
    case SKETCHER_OUT_AGREED:
    case SKETCHER_OUT_UNORDERED:
        r->state = SKETCHER_DONE;
        count(w, SKETCHER_AGREED);
        return SKETCHER_STEP_RELEASE_AGREED;
    case SKETCHER_OUT_TIMED_OUT:
        return fail(w, r, 504, SKETCHER_TIMED_OUT);
    case SKETCHER_OUT_DISAGREED:
        return fail(w, r, 502, SKETCHER_DISAGREED);
    case SKETCHER_OUT_TOO_LARGE:
        return fail(w, r, 502, SKETCHER_TOO_LARGE);
    case SKETCHER_OUT_BUSY:
        break;
    }
    return fail(w, r, 503, SKETCHER_BUSY);
}

/* ---- the candidate set and figures ---- */

bool sketcher_candidate(const struct sketcher_worker *w, uint32_t replica) {
    return replica < w->health.replicas && !w->health.replica[replica].ejected;
}

int sketcher_probe_due(struct sketcher_worker *w, uint64_t now_us) {
    return health_probe_due(&w->health, now_us);
}

void sketcher_probe_result(struct sketcher_worker *w, uint32_t replica, bool ok, uint64_t now_us) {
    assert(replica < w->health.replicas);
    health_probe_result(&w->health, replica, ok, now_us);
}

uint64_t sketcher_worker_next_deadline(const struct sketcher_worker *w) {
    return health_next_deadline(&w->health);
}

void sketcher_worker_counters(const struct sketcher_worker *w,
                              uint64_t out[SKETCHER_COUNTER_COUNT]) {
    for (uint32_t i = 0; i < SKETCHER_COUNTER_COUNT; i++)
        out[i] = counter_get(&w->counters[i]);
}

void sketcher_worker_replica(const struct sketcher_worker *w, uint32_t replica,
                             struct sketcher_replica_counts *out) {
    assert(replica < w->health.replicas);
    const struct replica_counters *c = &w->replica[replica];
    *out = (struct sketcher_replica_counts){
        .asked = counter_get(&c->asked),
        .answers = counter_get(&c->answers),
        .mismatches = counter_get(&c->mismatches),
        .suspicions = counter_get(&c->suspicions),
        .failures = counter_get(&c->failures),
        .timeouts = counter_get(&c->timeouts),
        .ejections = counter_get(&c->ejections),
    };
}
