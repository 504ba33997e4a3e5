/* SPDX-License-Identifier: BSD-3-Clause */
/* What the files of lib/sketcher share: single-writer counters, the candidate set, tickets per
 * source. */
#ifndef PROPHECY_SKETCHER_INTERNAL_H
#define PROPHECY_SKETCHER_INTERNAL_H

#include "sketcher/sketcher.h"

#include <stdatomic.h>

/*
 * tests/unit builds this library again with one rule broken on purpose, to show that the tests
 * notice. In every other build BROKEN() is the constant false.
 */
enum broken_rule {
    BREAK_NOTHING,
    BREAK_SECOND_LOOKUP, // law 2: compare with the entry as it was before the fast read
    BREAK_JOIN,          // design.md 5: join whatever is in flight
    BREAK_TOMBSTONE,     // law 3: a write leaves none
    BREAK_SIGMA,         // law 3: install whatever comes last
    BREAK_RELEASE,       // law 4: release first, update the table after
    BREAK_SECOND_DRAW,   // law 5: ask another replica after a failure
    BREAK_AFFINITY,      // law 5: the key chooses the replica
    BREAK_UNORDERED,     // S15: install what has no sigma
    BREAK_INCARNATION,   // S22: do not look at it
    BREAK_WHITELIST,     // S9: what a reload took off the whitelist passes unchecked
    BREAK_FLOOR,         // law 5: eject below 2f+1
};
#ifndef SKETCHER_BREAK
#define SKETCHER_BREAK BREAK_NOTHING
#endif
#define BROKEN(rule) (SKETCHER_BREAK == BREAK_##rule)

/* One thread writes, any reads: no locked instruction needed. */
typedef _Atomic uint64_t counter;

static inline void counter_add(counter *c) {
    atomic_store_explicit(c, atomic_load_explicit(c, memory_order_relaxed) + 1,
                          memory_order_relaxed);
}

static inline uint64_t counter_get(const counter *c) {
    return atomic_load_explicit(c, memory_order_relaxed);
}

/* ---- health.c: whom fast reads are drawn from ---- */
struct health_replica {
    atomic_bool ejected; // read by other threads, too
    uint32_t failures_in_row;
    uint64_t eject_us;    // how long the next ejection lasts
    uint64_t probe_at_us; // while ejected
};
struct health {
    uint32_t replicas;
    uint32_t candidates_min; // 2f+1
    uint32_t fail_after;
    uint64_t eject_us, eject_max_us;
    uint32_t candidate_count;
    uint16_t candidate[SKETCHER_REPLICAS_MAX];
    struct health_replica replica[SKETCHER_REPLICAS_MAX];
};
void health_init(struct health *h, const struct sketcher_worker_config *cfg);
void health_answered(struct health *h, uint32_t replica);
/* Returns whether the replica left the candidate set by this. */
bool health_failed(struct health *h, uint32_t replica, uint64_t now_us);
int health_probe_due(struct health *h, uint64_t now_us);
void health_probe_result(struct health *h, uint32_t replica, bool ok, uint64_t now_us);
uint64_t health_next_deadline(const struct health *h);

/* ---- policy.c ---- */
/* NULL is the policy without rules. */
bool policy_equal(const struct sketcher_policy *a, const struct sketcher_policy *b);

/* ---- sources.c: tickets per client address; never full, as it has room for two per ticket ---- */
struct source {
    uint32_t address;
    uint32_t tickets; // 0: the place is empty
};
struct sources {
    struct source *places;
    uint32_t mask;
    uint64_t seed; // so that no client chooses its place
};
bool ticket_sources_init(struct sources *t, uint32_t tickets_max, uint64_t seed);
void ticket_sources_fini(struct sources *t);
uint32_t ticket_sources_count(const struct sources *t, uint32_t address);
void ticket_sources_add(struct sources *t, uint32_t address);
void ticket_sources_remove(struct sources *t, uint32_t address);

#endif
