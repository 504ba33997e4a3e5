/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A rig for the sketcher's two state machines: a history table of two copies with a worker on each,
 * one slow-path instance, and in place of agreement the test's script, which says when each
 * operation ends and how.
 */
#ifndef PROPHECY_TEST_SKETCHER_H
#define PROPHECY_TEST_SKETCHER_H

#include "bft/bft.h"
#include "history/history.h"
#include "sketch/sketch.h"
#include "sketcher/sketcher.h"
#include "unit.h"

#define RIG_LOG 4096
#define RIG_COPIES 2

struct rig_submitted {
    uint32_t operation;
    struct sketcher_ticket first;
};
/* What the world looked like at the moment a verdict was released. */
struct rig_released {
    uint64_t cookie;
    struct sketcher_verdict verdict; // result is not valid any more
    const uint8_t *result;           // only to be compared
    enum history_found found[RIG_COPIES];
    struct history_result entry[RIG_COPIES];
};

struct rig_options {
    struct sketcher_worker_config worker; // mode, replicas, lists ...; the rest is filled in
    struct sketcher_slow_config slow;
    uint64_t history_entries;
    uint32_t blacklist_after;
};

struct rig {
    struct history *history;
    struct sketch_names key_headers;
    struct sketch_secret secret;
    struct sketch *sketch;
    struct sketcher_worker *worker[RIG_COPIES];
    struct sketcher_slow *slow;
    uint64_t now_us;
    uint32_t sessions; // free
    struct rig_submitted submitted[RIG_LOG];
    uint32_t submitted_count;
    struct rig_released released[RIG_LOG];
    uint32_t released_count;
    uint64_t next_cookie;
    bool complete_inside; // agreement ends each operation before submit returns, sigma ascending
    uint64_t next_sequence;
};

/* One request of one client, at worker w. */
struct rig_request {
    char text[512];
    struct http_request q;
    struct sketcher_request r;
    struct sketcher_ticket ticket;
    uint32_t w;
    enum sketcher_step step;
    bool suspect;
};

void rig_options_default(struct rig_options *o);
void rig_open(struct rig *rig, const struct rig_options *o); // NULL: the defaults
void rig_close(struct rig *rig);

/* Parses "GET /x" (or with more header lines, each ended by CRLF, in headers) and starts it. */
void rig_start(struct rig *rig, struct rig_request *x, uint32_t w, const char *method,
               const char *target, const char *headers);
/* The replica answers 200 with this body. */
enum sketcher_step rig_answer(struct rig *rig, struct rig_request *x, const char *body);
enum sketcher_step rig_fail(struct rig *rig, struct rig_request *x, enum sketcher_failure why);
/* Over the ring to the slow path. */
void rig_handover(struct rig *rig, struct rig_request *x);
/* Agreement ends the n-th operation submitted (from 0) with a 200 of this body. */
void rig_agree(struct rig *rig, uint32_t nth, uint64_t sequence, const char *body);
/* ... or in another way. */
void rig_complete(struct rig *rig, uint32_t nth, const struct bft_completion *c);
/* The verdict that was released for x goes back to its worker; the step it takes. Fails when there
 * is not exactly one.
 */
enum sketcher_step rig_verdict(struct rig *rig, struct rig_request *x);
/* Whether a verdict was released for x yet. */
bool rig_has_verdict(const struct rig *rig, const struct rig_request *x);
const struct rig_released *rig_released_of(const struct rig *rig, const struct rig_request *x);
/* Start, hand over, agree, verdict of one read: afterwards the entry of target is (sequence, body).
 */
void rig_install(struct rig *rig, const char *target, uint64_t sequence, const char *body);
void rig_write(struct rig *rig, const char *target, uint64_t sequence);

/* A canonical response; returns its length. */
size_t rig_canonical(uint16_t status, const char *headers, const char *body, uint8_t *out,
                     size_t cap);
void rig_sketch(struct rig *rig, const struct sketch_tag *key, const char *body,
                struct sketch_tag *out);
enum history_found rig_lookup(struct rig *rig, uint32_t copy, const struct rig_request *x,
                              struct history_result *out);
/* Is the entry of x, in every copy, exactly (sequence, body)? */
bool rig_holds(struct rig *rig, const struct rig_request *x, uint64_t sequence, const char *body);
uint64_t rig_count(const struct rig *rig, uint32_t w, enum sketcher_counter id);
uint64_t rig_slow_count(const struct rig *rig, enum sketcher_slow_counter id);
struct sketcher_replica_counts rig_replica(const struct rig *rig, uint32_t w, uint32_t replica);

/* The next lookups say HISTORY_CONTENDED (the linker puts the rig between worker and table). */
extern uint32_t rig_contended;

extern const struct unit_case sketcher_scenario_cases[];
extern const struct unit_case sketcher_worker_cases[];
extern const struct unit_case sketcher_health_cases[];
extern const struct unit_case sketcher_slow_cases[];
extern const struct unit_case sketcher_policy_cases[];
extern const struct unit_case sketcher_evidence_cases[];

#endif
