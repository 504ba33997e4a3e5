/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The slow path: joins identical replicated reads, and makes agreed results into updates of the
 * history table before they are released (design.md laws 2-4; Prophecy, Algorithm 1 (3)).
 *
 *   HELD ──predecessor ends──▶ QUEUED ──a session is free──▶ IN_FLIGHT ──finished──▶ FREE
 *                                │                               └─▶ TIMED_OUT ──────┤
 *                                └─none was for too long─────────────────────────────┘
 *
 * A read that may be joined is in the table of keys while it is QUEUED or IN_FLIGHT; at most one
 * other of its key, its successor, is HELD until it ends.
 */
#include "sketcher/internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define NONE UINT32_MAX
#define INCARNATIONS_KEPT 16u

const char *const sketcher_slow_counter_names[SKETCHER_SLOW_COUNTER_COUNT] = {
#define COUNTER_NAME(id, name) name,
    SKETCHER_SLOW_COUNTERS(COUNTER_NAME)
#undef COUNTER_NAME
};

enum operation_state {
    OPERATION_FREE,
    OPERATION_HELD,
    OPERATION_QUEUED,
    OPERATION_IN_FLIGHT,
    OPERATION_TIMED_OUT // its tickets are released; agreement may still end it
};

struct operation {
    enum operation_state state;
    enum sketcher_kind kind;
    struct sketch_tag key;
    struct sketch_tag url;
    uint64_t queued_us, submitted_us;
    uint32_t first_waiter, last_waiter;
    uint32_t successor;
    uint32_t next;  // in the free list or the queue
    uint32_t chain; // in the table of keys
    bool listed;    // there
};

struct waiter {
    struct sketcher_ticket ticket;
    uint32_t next;
};

struct incarnations {
    bool known;
    uint64_t current;
    uint64_t former[INCARNATIONS_KEPT]; // the newest ones, as a ring
    uint32_t former_count;              // ever
};

struct sketcher_slow {
    struct sketcher_slow_config cfg; // its secret is wiped
    struct sketcher_slow_env env;
    struct sketch *sketch;
    struct operation *operations;
    struct waiter *waiters;
    uint32_t *keys; // first operation of each chain
    uint32_t keys_mask;
    uint32_t free_operation, free_waiter;
    uint32_t queue_first, queue_last;
    uint32_t operation_count;
    struct sources sources;
    struct incarnations incarnations;
    uint64_t highest_sigma;
    counter counters[SKETCHER_SLOW_COUNTER_COUNT];
};

static void count(struct sketcher_slow *s, enum sketcher_slow_counter id) {
    counter_add(&s->counters[id]);
}

/* ---- life ---- */

void sketcher_slow_config_default(struct sketcher_slow_config *cfg) {
    *cfg = (struct sketcher_slow_config){
        .mode = SKETCHER_PROPHECY,
        .operations_max = 4096,
        .waiters_max = 16384,
        .per_source_max = 256,
        .queue_timeout_us = 10000000,
        .join = true,
    };
}

static bool make_pools(struct sketcher_slow *s) {
    uint32_t chains = 1;
    while (chains < s->cfg.operations_max)
        chains *= 2;
    s->keys_mask = chains - 1;
    s->operations = calloc(s->cfg.operations_max, sizeof *s->operations);
    s->waiters = calloc(s->cfg.waiters_max, sizeof *s->waiters);
    s->keys = calloc(chains, sizeof *s->keys);
    if (s->operations == NULL || s->waiters == NULL || s->keys == NULL)
        return false;
    for (uint32_t i = 0; i < chains; i++)
        s->keys[i] = NONE;
    for (uint32_t i = 0; i < s->cfg.operations_max; i++)
        s->operations[i].next = i + 1 < s->cfg.operations_max ? i + 1 : NONE;
    for (uint32_t i = 0; i < s->cfg.waiters_max; i++)
        s->waiters[i].next = i + 1 < s->cfg.waiters_max ? i + 1 : NONE;
    s->queue_first = s->queue_last = NONE;
    return true;
}

struct sketcher_slow *sketcher_slow_new(const struct sketcher_slow_config *cfg,
                                        const struct sketcher_slow_env *env) {
    assert(cfg->operations_max > 0 && cfg->operations_max <= 1u << 30);
    assert(cfg->waiters_max > 0 && cfg->waiters_max <= 1u << 30 && cfg->per_source_max > 0);
    assert(cfg->history != NULL || cfg->mode != SKETCHER_PROPHECY);
    struct sketcher_slow *s = calloc(1, sizeof *s);
    if (s == NULL)
        return NULL;
    uint8_t seed[CRYPTO_KEY_BYTES];
    uint64_t source_seed;
    crypto_kdf(cfg->secret.request_key, "sketcher sources", NULL, 0, seed);
    memcpy(&source_seed, seed, sizeof source_seed);
    s->cfg = *cfg;
    crypto_wipe(&s->cfg.secret, sizeof s->cfg.secret);
    s->env = *env;
    s->sketch = sketch_new(&cfg->secret);
    if (s->sketch == NULL || !make_pools(s) ||
        !ticket_sources_init(&s->sources, cfg->waiters_max, source_seed)) {
        sketcher_slow_free(s);
        return NULL;
    }
    return s;
}

void sketcher_slow_free(struct sketcher_slow *s) {
    if (s == NULL)
        return;
    if (s->sketch != NULL)
        sketch_free(s->sketch);
    ticket_sources_fini(&s->sources);
    free(s->keys);
    free(s->waiters);
    free(s->operations);
    free(s);
}

/* ---- pools ---- */

static uint32_t take_operation(struct sketcher_slow *s, const struct sketcher_ticket *t) {
    uint32_t id = s->free_operation;
    if (id == NONE)
        return NONE;
    s->free_operation = s->operations[id].next;
    s->operation_count++;
    s->operations[id] = (struct operation){
        .state = OPERATION_HELD,
        .kind = t->kind,
        .key = t->key,
        .url = t->url,
        .first_waiter = NONE,
        .last_waiter = NONE,
        .successor = NONE,
        .next = NONE,
        .chain = NONE,
    };
    return id;
}

static void give_operation(struct sketcher_slow *s, uint32_t id) {
    struct operation *o = &s->operations[id];
    assert(o->first_waiter == NONE && o->successor == NONE && !o->listed);
    o->state = OPERATION_FREE;
    o->next = s->free_operation;
    s->free_operation = id;
    s->operation_count--;
}

static void add_waiter(struct sketcher_slow *s, struct operation *o,
                       const struct sketcher_ticket *t) {
    uint32_t id = s->free_waiter;
    assert(id != NONE);
    s->free_waiter = s->waiters[id].next;
    s->waiters[id] = (struct waiter){.ticket = *t, .next = NONE};
    if (o->first_waiter == NONE)
        o->first_waiter = id;
    else
        s->waiters[o->last_waiter].next = id;
    o->last_waiter = id;
    ticket_sources_add(&s->sources, t->source);
}

static void release_all(struct sketcher_slow *s, struct operation *o,
                        const struct sketcher_verdict *v) {
    while (o->first_waiter != NONE) {
        uint32_t id = o->first_waiter;
        struct sketcher_ticket ticket = s->waiters[id].ticket;
        o->first_waiter = s->waiters[id].next;
        s->waiters[id].next = s->free_waiter;
        s->free_waiter = id;
        ticket_sources_remove(&s->sources, ticket.source);
        s->env.release(s->env.ctx, &ticket, v);
    }
}

/* ---- the table of keys ---- */

/* s(q) is a keyed hash already: any of its bits will do. */
static uint32_t *chain_of(struct sketcher_slow *s, const struct sketch_tag *key) {
    uint32_t bits;
    memcpy(&bits, key->b, sizeof bits);
    return &s->keys[bits & s->keys_mask];
}

static uint32_t keys_find(struct sketcher_slow *s, const struct sketcher_ticket *t) {
    uint32_t id = *chain_of(s, &t->key);
    while (id != NONE) {
        const struct operation *o = &s->operations[id];
        if (o->kind == t->kind && sketch_equal(&o->key, &t->key))
            break;
        id = o->chain;
    }
    return id;
}

static void keys_insert(struct sketcher_slow *s, uint32_t id) {
    struct operation *o = &s->operations[id];
    uint32_t *first = chain_of(s, &o->key);
    o->chain = *first;
    o->listed = true;
    *first = id;
}

static void keys_remove(struct sketcher_slow *s, uint32_t id) {
    struct operation *o = &s->operations[id];
    uint32_t *link = chain_of(s, &o->key);
    while (*link != id) {
        assert(*link != NONE);
        link = &s->operations[*link].chain;
    }
    *link = o->chain;
    o->listed = false;
}

/* ---- the queue for sessions ---- */

static void queue_append(struct sketcher_slow *s, uint32_t id, uint64_t now_us) {
    s->operations[id].state = OPERATION_QUEUED;
    s->operations[id].queued_us = now_us;
    s->operations[id].next = NONE;
    if (s->queue_first == NONE)
        s->queue_first = id;
    else
        s->operations[s->queue_last].next = id;
    s->queue_last = id;
}

/* It is in flight before submit is called: agreement might end it inside. */
static bool submit_first(struct sketcher_slow *s, uint64_t now_us) {
    uint32_t id = s->queue_first;
    struct operation *o = &s->operations[id];
    struct sketcher_ticket first = s->waiters[o->first_waiter].ticket;
    uint32_t behind = o->next;

    s->queue_first = behind;
    o->state = OPERATION_IN_FLIGHT;
    o->submitted_us = now_us;
    if (s->env.submit(s->env.ctx, id, &first)) {
        count(s, SKETCHER_SLOW_OPERATIONS);
        return true;
    }
    o->state = OPERATION_QUEUED;
    s->queue_first = id;
    return false;
}

/* From here on nobody joins it; those that wait for its end are next. */
static void leave_keys(struct sketcher_slow *s, uint32_t id, uint64_t now_us) {
    struct operation *o = &s->operations[id];
    uint32_t successor = o->successor;
    if (!o->listed)
        return;
    keys_remove(s, id);
    o->successor = NONE;
    if (successor != NONE) {
        keys_insert(s, successor);
        queue_append(s, successor, now_us);
    }
}

/* Sessions may stay taken for long: a write that timed out keeps its own until it ends. Who waits
 * for one gets an answer all the same. */
static bool expire_first(struct sketcher_slow *s, uint64_t now_us) {
    uint32_t id = s->queue_first;
    struct operation *o = &s->operations[id];
    if (now_us < o->queued_us + s->cfg.queue_timeout_us)
        return false;
    s->queue_first = o->next;
    count(s, SKETCHER_SLOW_DROP_QUEUE_TIMEOUT);
    release_all(s, o, &(struct sketcher_verdict){.outcome = SKETCHER_OUT_BUSY});
    leave_keys(s, id, now_us);
    give_operation(s, id);
    return true;
}

void sketcher_slow_kick(struct sketcher_slow *s, uint64_t now_us) {
    while (s->queue_first != NONE && expire_first(s, now_us))
        ;
    while (s->queue_first != NONE && submit_first(s, now_us))
        ;
}

/* ---- tickets come in ---- */

static void refuse(struct sketcher_slow *s, const struct sketcher_ticket *t,
                   enum sketcher_slow_counter why) {
    count(s, why);
    s->env.release(s->env.ctx, t, &(struct sketcher_verdict){.outcome = SKETCHER_OUT_BUSY});
}

/*
 * Of an operation and its successor the one that the ticket may join, NONE if none: it must be
 * handed to agreement after the reader arrived, or a write acknowledged before could be missed
 * (S6).
 */
static uint32_t joinable(const struct sketcher_slow *s, uint32_t id,
                         const struct sketcher_ticket *t) {
    const struct operation *o = &s->operations[id];
    if (BROKEN(JOIN) || o->state == OPERATION_QUEUED || t->arrived_us < o->submitted_us)
        return id;
    return o->successor;
}

void sketcher_slow_handover(struct sketcher_slow *s, const struct sketcher_ticket *t,
                            uint64_t now_us) {
    count(s, SKETCHER_SLOW_TICKETS);
    if (s->cfg.mode == SKETCHER_PROPHECY)
        assert(history_partition(s->cfg.history, &t->url) == s->cfg.partition);
    if (ticket_sources_count(&s->sources, t->source) >= s->cfg.per_source_max) {
        refuse(s, t, SKETCHER_SLOW_DROP_SOURCE_LIMIT);
        return;
    }
    bool joins = s->cfg.join && t->kind != SKETCHER_ORDERED_WRITE;
    uint32_t same = joins ? keys_find(s, t) : NONE;
    uint32_t id = same != NONE ? joinable(s, same, t) : NONE;
    bool joined = id != NONE;
    if (!joined && s->free_waiter != NONE)
        id = take_operation(s, t);
    if (id == NONE || s->free_waiter == NONE) {
        refuse(s, t, SKETCHER_SLOW_DROP_QUEUE_FULL);
        return;
    }
    add_waiter(s, &s->operations[id], t);
    if (joined) {
        count(s, SKETCHER_SLOW_JOINED);
    } else if (same != NONE) {
        s->operations[same].successor = id;
    } else {
        if (joins)
            keys_insert(s, id);
        queue_append(s, id, now_us);
        sketcher_slow_kick(s, now_us);
    }
}

/* ---- agreement answers ---- */

static bool former(const struct incarnations *in, uint64_t incarnation) {
    uint32_t kept = in->former_count < INCARNATIONS_KEPT ? in->former_count : INCARNATIONS_KEPT;
    for (uint32_t i = 0; i < kept; i++)
        if (in->former[i] == incarnation)
            return true;
    return false;
}

/* S22. False: the answer is of a group that is no more. */
static bool check_incarnation(struct sketcher_slow *s, uint64_t incarnation) {
    struct incarnations *in = &s->incarnations;
    if (BROKEN(INCARNATION))
        return true;
    if (in->known && incarnation == in->current)
        return true;
    if (former(in, incarnation)) {
        count(s, SKETCHER_SLOW_OLD_INCARNATION);
        return false;
    }
    if (in->known) {
        in->former[in->former_count++ % INCARNATIONS_KEPT] = in->current;
        count(s, SKETCHER_SLOW_INCARNATION_CHANGES);
        if (s->cfg.mode == SKETCHER_PROPHECY)
            history_reset(s->cfg.history, s->cfg.partition);
        s->highest_sigma = 0;
    }
    in->known = true;
    in->current = incarnation;
    return true;
}

/*
 * Law 3. Where a write ended and agreement could not say its sigma (it took effect or not), at
 * least what is known of the URL up to now is not believed any more.
 */
static void set_tombstone(struct sketcher_slow *s, const struct operation *o, uint64_t sigma) {
    if (sigma == 0)
        sigma = s->highest_sigma;
    if (BROKEN(TOMBSTONE) || s->cfg.mode != SKETCHER_PROPHECY || sigma == 0)
        return;
    history_tombstone(s->cfg.history, &o->url, sigma);
    count(s, SKETCHER_SLOW_TOMBSTONES);
}

/* Any "*" in Vary: the response depends on what is not in the key (law 6). */
static bool varies_on_anything(const struct sketch_view *v) {
    size_t pos = 0;
    struct http_str name, value;
    while (sketch_view_next(v, &pos, &name, &value))
        if (http_str_eq(name, "vary") && value.len > 0 && memchr(value.p, '*', value.len) != NULL)
            return true;
    return false;
}

static bool installable(const struct sketch_view *v) {
    bool status = (v->status >= 200 && v->status < 400) || v->status == 404 || v->status == 410;
    return status && !varies_on_anything(v);
}

/* Law 4: history_update invalidates every copy before it installs in any. */
static void remember(struct sketcher_slow *s, const struct operation *o,
                     const struct sketch_view *view, const struct sketcher_verdict *v,
                     uint64_t now_us) {
    uint32_t now_s = (uint32_t)(now_us / 1000000);
    if (BROKEN(SIGMA))
        history_reset(s->cfg.history, s->cfg.partition);
    if (!installable(view)) {
        history_invalidate(s->cfg.history, &o->key, &o->url, v->sigma);
        count(s, SKETCHER_SLOW_NOT_INSTALLED_STATUS);
    } else if (history_update(s->cfg.history, &o->key, &o->url, v->sigma, &v->sketch, now_s,
                              NULL)) {
        count(s, SKETCHER_SLOW_INSTALLED);
    } else {
        count(s, SKETCHER_SLOW_NOT_INSTALLED_OLDER);
    }
}

/* Agreed, ordered or not. f of the replicas lie, but a result that f+1 vouch for can still be one
 * we cannot send. */
static struct sketcher_verdict agreed(struct sketcher_slow *s, const struct operation *o,
                                      const struct bft_completion *c, uint64_t now_us) {
    struct sketcher_verdict v = {.outcome = SKETCHER_OUT_DISAGREED};
    struct sketch_view view;
    bool ordered = c->outcome == BFT_AGREED;
    if (!sketch_canonical_parse(c->result, c->result_len, &view)) {
        count(s, SKETCHER_SLOW_NOT_CANONICAL);
        return v;
    }
    v.outcome = ordered ? SKETCHER_OUT_AGREED : SKETCHER_OUT_UNORDERED;
    v.sigma = ordered || BROKEN(UNORDERED) ? c->sigma : 0;
    v.result = c->result;
    v.result_len = c->result_len;
    if (o->kind == SKETCHER_ORDERED_WRITE)
        return v;
    sketch_canonical(s->sketch, &o->key, c->result, c->result_len, &v.sketch);
    if (s->cfg.mode == SKETCHER_PROPHECY && v.sigma != 0) // S15
        remember(s, o, &view, &v, now_us);
    return v;
}

static struct sketcher_verdict judge(struct sketcher_slow *s, const struct operation *o,
                                     const struct bft_completion *c, uint64_t now_us) {
    bool ordered = c->outcome == BFT_AGREED || c->outcome == BFT_AGREED_LATE;
    struct sketcher_verdict timed_out = {.outcome = SKETCHER_OUT_TIMED_OUT};
    if (ordered && !check_incarnation(s, c->incarnation))
        return timed_out;
    if (ordered && c->sigma > s->highest_sigma)
        s->highest_sigma = c->sigma;
    if (o->kind == SKETCHER_ORDERED_WRITE) {
        if (c->finished)
            set_tombstone(s, o, ordered ? c->sigma : 0);
        if (c->outcome == BFT_AGREED_LATE)
            count(s, SKETCHER_SLOW_LATE_WRITES);
    }
    switch (c->outcome) {
    case BFT_AGREED:
    case BFT_UNORDERED_AGREED:
        return agreed(s, o, c, now_us);
    case BFT_DISAGREED:
        return (struct sketcher_verdict){.outcome = SKETCHER_OUT_DISAGREED};
    case BFT_TOO_LARGE:
        return (struct sketcher_verdict){.outcome = SKETCHER_OUT_TOO_LARGE};
    case BFT_TIMED_OUT:
    case BFT_AGREED_LATE:
    case BFT_ABANDONED:
        break;
    }
    return timed_out;
}

void sketcher_slow_completed(struct sketcher_slow *s, uint32_t operation,
                             const struct bft_completion *c, uint64_t now_us) {
    assert(operation < s->cfg.operations_max);
    struct operation *o = &s->operations[operation];
    assert(o->state == OPERATION_IN_FLIGHT || o->state == OPERATION_TIMED_OUT);
    assert(c->finished || c->outcome == BFT_TIMED_OUT);
    if (BROKEN(RELEASE))
        release_all(s, o, &(struct sketcher_verdict){.outcome = SKETCHER_OUT_AGREED});
    struct sketcher_verdict v = judge(s, o, c, now_us);
    release_all(s, o, &v);
    leave_keys(s, operation, now_us);
    if (c->finished)
        give_operation(s, operation);
    else
        o->state = OPERATION_TIMED_OUT;
    sketcher_slow_kick(s, now_us);
}

void sketcher_slow_flush(struct sketcher_slow *s) {
    if (s->cfg.mode == SKETCHER_PROPHECY)
        history_flush(s->cfg.history, s->cfg.partition);
}

uint32_t sketcher_slow_operations(const struct sketcher_slow *s) {
    return s->operation_count;
}

void sketcher_slow_counters(const struct sketcher_slow *s,
                            uint64_t out[SKETCHER_SLOW_COUNTER_COUNT]) {
    for (uint32_t i = 0; i < SKETCHER_SLOW_COUNTER_COUNT; i++)
        out[i] = counter_get(&s->counters[i]);
}
