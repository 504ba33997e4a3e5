/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lib/sketcher - the request life cycle: Algorithm 1 (Prophecy, §3.3.1), policy lists, who lied.
 *
 * Two pure state machines. A `sketcher_worker` per worker lcore decides, for each request, between
 * a fast read at one replica drawn at random and a replicated request, and whether a fast read's
 * answer may be released. A `sketcher_slow` per slow-path lcore joins identical replicated reads,
 * and turns agreed results into updates of the history table *before* they are released (design.md
 * laws 2-5). No I/O, no clock, no allocation after *_new; one thread each. They meet only in the
 * history table and in the tickets that the shell carries over rings.
 *
 *      worker                                     slow path
 *   sketcher_start ── FAST ──▶ (fast read)
 *        │               └─ sketcher_fast_answered / sketcher_fast_failed ─▶ RELEASE_FAST
 *        └─ REPLICATE ◀──────────────┘
 *             └──── ticket ────▶ sketcher_slow_handover ─▶ env.submit ─▶ (agreement)
 *   sketcher_verdict ◀── env.release ◀── sketcher_slow_completed (history updated)
 *        └─▶ RELEASE_AGREED / FAIL
 */
#ifndef PROPHECY_SKETCHER_H
#define PROPHECY_SKETCHER_H

#include "bft/bft.h"
#include "history/history.h"
#include "http/http.h"
#include "sketch/sketch.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SKETCHER_REPLICAS_MAX BFT_REPLICAS_MAX
#define SKETCHER_RULES_MAX 256u
#define SKETCHER_RULE_PATH_MAX 200u
#define SKETCHER_ERROR_BYTES 512u
#define SKETCHER_NAME_AFTER 3u // suspicions without a write between that name a replica

/* ------------------------------------------------------------------ policy */

enum sketcher_mode {
    SKETCHER_PROPHECY,
    SKETCHER_BALANCE,   // a plain random load balancer: nothing is checked
    SKETCHER_PR_PBFT,   // every request is ordered
    SKETCHER_PR_PBFT_RO // reads by the read optimisation
};
extern const char *const sketcher_mode_names[4];

enum sketcher_list { SKETCHER_DEFAULT, SKETCHER_WHITELIST, SKETCHER_BLACKLIST, SKETCHER_WRITELIST };

struct sketcher_rule {
    enum sketcher_list list;
    char method[24];                   // "*": any
    char path[SKETCHER_RULE_PATH_MAX]; // glob (fnmatch) over the target without its query
};
/* First match wins. Plain data: a reload swaps a pointer. */
struct sketcher_policy {
    uint32_t count;
    struct sketcher_rule rules[SKETCHER_RULES_MAX];
};
/* rule: "METHOD GLOB", e.g. "GET /static/" followed by a star. A message in err names what is wrong
 * with it. Only GET and HEAD (or "*") make sense on the white- and blacklist: others are refused.
 */
bool sketcher_policy_add(struct sketcher_policy *p, enum sketcher_list list, const char *rule,
                         char err[SKETCHER_ERROR_BYTES]);
/*
 * The pattern is compared with the path as sent and as a server reads it (percent-encoding and dot
 * segments resolved): the write list and the blacklist take either form, the whitelist needs both.
 * White- and blacklist apply to GET and HEAD only. p may be NULL: no rules.
 */
enum sketcher_list sketcher_policy_match(const struct sketcher_policy *p,
                                         const struct http_request *q);
/*
 * Does a reload from old to new want a sketcher_slow_flush on every slow-path lcore (S9)? While a
 * key was whitelisted its clients may have seen newer responses than its entry; which keys those
 * are nobody knows. Flush first, then set the new policy on the workers: what is installed between
 * is agreed and new.
 */
bool sketcher_policy_needs_flush(const struct sketcher_policy *old,
                                 const struct sketcher_policy *new_policy);

/* ------------------------------------------------------------------ worker */

#define SKETCHER_COUNTERS(X)                                                                       \
    X(REQUESTS, "requests")                                                                        \
    X(READS, "reads")                                                                              \
    X(WRITES, "writes")                                                                            \
    X(FAST_READS, "fast_reads") /* reads released after a fast read, also unchecked */             \
    X(FAST_TRIED, "fast_tried")                                                                    \
    X(REPLICATED, "replicated")   /* handed to the slow path */                                    \
    X(TRANSITIONS, "transitions") /* fast reads whose answer did not match */                      \
    X(TRANSITIONS_INJECTED, "transitions_injected")                                                \
    X(FAST_FAILED, "fast_failed")       /* no answer: connect, time-out, malformed */              \
    X(FAST_OVERTAKEN, "fast_overtaken") /* entry, tombstone or lists moved meanwhile */            \
    X(MISSES, "history_misses")                                                                    \
    X(TOMBSTONED, "history_tombstoned")                                                            \
    X(CONTENDED, "history_contended")                                                              \
    X(BLACKLISTED, "blacklisted")                                                                  \
    X(AUTO_BLACKLISTED, "auto_blacklisted")                                                        \
    X(WHITELISTED, "whitelisted_unchecked")                                                        \
    X(BALANCED, "balanced_unchecked")                                                              \
    X(SUSPICIONS, "suspicions")                                                                    \
    X(AGREED, "agreed")                                                                            \
    X(TIMED_OUT, "agreement_timeouts")                                                             \
    X(DISAGREED, "disagreed")                                                                      \
    X(TOO_LARGE, "response_too_large")                                                             \
    X(BUSY, "busy")                                                                                \
    X(BAD_GATEWAY, "bad_gateway")

enum sketcher_counter {
#define SKETCHER_COUNTER_ID(id, name) SKETCHER_##id,
    SKETCHER_COUNTERS(SKETCHER_COUNTER_ID)
#undef SKETCHER_COUNTER_ID
        SKETCHER_COUNTER_COUNT
};
extern const char *const sketcher_counter_names[SKETCHER_COUNTER_COUNT];

struct sketcher_replica_counts {
    uint64_t asked;      // fast reads sent
    uint64_t answers;    // complete answers
    uint64_t mismatches; // answers that did not match the entry
    uint64_t suspicions; // ... and agreement then confirmed the entry
    uint64_t failures;   // connect refused, reset, malformed
    uint64_t timeouts;
    uint64_t ejections; // times it left the candidate set
};

struct sketcher_worker_config {
    enum sketcher_mode mode;
    uint32_t replicas, f;
    double inject_transitions; // share of fast reads to fail on purpose (§7.2)
    uint32_t fail_after;       // consecutive failures that eject a replica (3)
    uint32_t eject_us;         // first ejection; doubles up to eject_max_us
    uint32_t eject_max_us;
    struct history *history;
    uint32_t copy;                          // of the history table: this lcore's socket
    const struct sketch_names *key_headers; // stays valid
    const struct sketcher_policy *policy;   // stays valid until replaced
    struct sketch_secret secret;
    uint8_t seed[CRYPTO_SEED_BYTES]; // of the draws
};
void sketcher_worker_config_default(struct sketcher_worker_config *cfg);

enum sketcher_kind { SKETCHER_ORDERED_READ, SKETCHER_ORDERED_WRITE, SKETCHER_UNORDERED_READ };

enum sketcher_state {
    SKETCHER_IDLE,
    SKETCHER_FAST_SENT,
    SKETCHER_REPLICATED_SENT,
    SKETCHER_DONE,
};

/* One request at the sketcher. Lives in the shell's connection; opaque to it but for the commented
 * fields. */
struct sketcher_request {
    enum sketcher_state state;
    enum sketcher_kind kind; // what to hand over on REPLICATE
    uint16_t replica;        // whom to ask on FAST
    uint16_t fail_status;    // what to answer on FAIL: 502, 503, 504
    bool read;
    bool checked;     // false: whitelisted or balance, released unchecked
    bool blacklisted; // by a list, or because the key keeps changing
    bool mismatched;  // a fast answer is worth keeping for the record until the verdict
    uint32_t policy_generation;
    struct sketch_tag key; // s(q); of reads only, and not in mode balance
    struct sketch_tag url; // not in mode balance
    uint64_t arrived_us;
    uint64_t entry_sigma;           // what the answer was compared with
    struct sketch_tag entry_sketch; // first the one that made it fast
    uint64_t entry_tombstone;
};

/* What the shell does next. */
enum sketcher_step {
    SKETCHER_STEP_FAST,           // ask request->replica, and only it
    SKETCHER_STEP_REPLICATE,      // hand a ticket to the slow path
    SKETCHER_STEP_RELEASE_FAST,   // release the fast answer
    SKETCHER_STEP_RELEASE_AGREED, // release the agreed result
    SKETCHER_STEP_FAIL,           // answer request->fail_status
};

/* What came of a replicated request; crosses the ring back to the worker. */
enum sketcher_outcome {
    SKETCHER_OUT_AGREED,
    SKETCHER_OUT_UNORDERED, // read optimisation: agreed, but has no sigma
    SKETCHER_OUT_TIMED_OUT, // 504
    SKETCHER_OUT_DISAGREED, // 502
    SKETCHER_OUT_TOO_LARGE, // 502
    SKETCHER_OUT_BUSY,      // 503: a limit
};
struct sketcher_verdict {
    enum sketcher_outcome outcome;
    uint64_t sigma;
    struct sketch_tag sketch; // s(r) of an agreed read
    const uint8_t *result;    // canonical, checked; NULL unless agreed
    size_t result_len;
};

enum sketcher_failure {
    SKETCHER_FAILED_CONNECT,
    SKETCHER_FAILED_TIMEOUT,
    SKETCHER_FAILED_RESET,
    SKETCHER_FAILED_MALFORMED,
    SKETCHER_FAILED_TOO_LARGE, // not the replica's health: goes to agreement, which will say so
    SKETCHER_FAILED_LOCAL,     // pool full, out of buffers: not the replica's fault either
};

struct sketcher_worker;
struct sketcher_worker *sketcher_worker_new(const struct sketcher_worker_config *cfg);
void sketcher_worker_free(struct sketcher_worker *w);
/* The worker's own sketch context, for the streaming s(r) of fast answers (one at a time). */
struct sketch *sketcher_worker_sketch(struct sketcher_worker *w);
/* Both the old and the new one must be valid during the call. */
void sketcher_worker_set_policy(struct sketcher_worker *w, const struct sketcher_policy *policy);

/*
 * Prophecy, Algorithm 1 (1)-(2): fills in *r (key, url, kind, ...) and decides. has_body: GET and
 * HEAD with a body are not fast. Steps: FAST, REPLICATE. now_us must be read after the request's
 * last byte came from the port (not at the start of the loop's turn): the slow path joins by it
 * (S6).
 */
enum sketcher_step sketcher_start(struct sketcher_worker *w, struct sketcher_request *r,
                                  const struct http_request *q, bool has_body, uint64_t now_us);
/*
 * The replica answered in full; s_r is the sketch of its canonical response under r->key (ignored
 * when r->checked is false). Looks the entry up again (law 2). Steps: RELEASE_FAST, REPLICATE; in
 * mode balance always RELEASE_FAST.
 */
enum sketcher_step sketcher_fast_answered(struct sketcher_worker *w, struct sketcher_request *r,
                                          const struct sketch_tag *s_r, uint64_t now_us);
/* No answer to take. Steps: REPLICATE; in mode balance FAIL (502, 504; 503 when LOCAL). Never a
 * second draw (law 5, S21). */
enum sketcher_step sketcher_fast_failed(struct sketcher_worker *w, struct sketcher_request *r,
                                        enum sketcher_failure why, uint64_t now_us);
/*
 * The slow path's verdict. *suspect says whether the fast answer was outvoted: agreement confirmed
 * the entry that it did not match, no write between: the shell then records the evidence. Steps:
 * RELEASE_AGREED, FAIL.
 */
enum sketcher_step sketcher_verdict(struct sketcher_worker *w, struct sketcher_request *r,
                                    const struct sketcher_verdict *v, uint64_t now_us,
                                    bool *suspect);
/* Is this replica drawn from at the moment? Any thread may ask. */
bool sketcher_candidate(const struct sketcher_worker *w, uint32_t replica);
/* An ejected replica whose time is up, to be probed by the shell (a connect); -1: none. Each is
 * returned once per ejection period; then report the result. */
int sketcher_probe_due(struct sketcher_worker *w, uint64_t now_us);
void sketcher_probe_result(struct sketcher_worker *w, uint32_t replica, bool ok, uint64_t now_us);
uint64_t sketcher_worker_next_deadline(const struct sketcher_worker *w);

/* Counters may be read by another thread (relaxed atomics). */
void sketcher_worker_counters(const struct sketcher_worker *w,
                              uint64_t out[SKETCHER_COUNTER_COUNT]);
void sketcher_worker_replica(const struct sketcher_worker *w, uint32_t replica,
                             struct sketcher_replica_counts *out);

/* ------------------------------------------------------------------ slow path */

struct sketcher_ticket {
    uint64_t cookie; // the shell's: worker and request
    uint32_t source; // client address, for the limit per source
    enum sketcher_kind kind;
    struct sketch_tag key;
    struct sketch_tag url;
    uint64_t arrived_us; // r->arrived_us, on the clock, shared by all lcores, of now_us below
};

#define SKETCHER_SLOW_COUNTERS(X)                                                                  \
    X(TICKETS, "slow_tickets")                                                                     \
    X(JOINED, "slow_joined")                                                                       \
    X(OPERATIONS, "slow_operations")                                                               \
    X(INSTALLED, "slow_installed")                                                                 \
    X(NOT_INSTALLED_STATUS, "slow_not_installed_status")                                           \
    X(NOT_INSTALLED_OLDER, "slow_not_installed_older")                                             \
    X(NOT_CANONICAL, "slow_agreed_not_canonical")                                                  \
    X(TOMBSTONES, "slow_tombstones")                                                               \
    X(LATE_WRITES, "slow_late_writes")                                                             \
    X(INCARNATION_CHANGES, "slow_incarnation_changes")                                             \
    X(OLD_INCARNATION, "slow_old_incarnation")                                                     \
    X(DROP_SOURCE_LIMIT, "drop_source_limit")                                                      \
    X(DROP_QUEUE_FULL, "drop_slow_queue_full")                                                     \
    X(DROP_QUEUE_TIMEOUT, "drop_slow_queue_timeout")

enum sketcher_slow_counter {
#define SKETCHER_SLOW_COUNTER_ID(id, name) SKETCHER_SLOW_##id,
    SKETCHER_SLOW_COUNTERS(SKETCHER_SLOW_COUNTER_ID)
#undef SKETCHER_SLOW_COUNTER_ID
        SKETCHER_SLOW_COUNTER_COUNT
};
extern const char *const sketcher_slow_counter_names[SKETCHER_SLOW_COUNTER_COUNT];

struct sketcher_slow_config {
    enum sketcher_mode mode; // only PROPHECY writes the table
    struct history *history;
    uint32_t partition; // all tickets given to this instance have URLs of this partition
    struct sketch_secret secret;
    uint32_t operations_max;   // in flight and queued
    uint32_t waiters_max;      // tickets, over all operations
    uint32_t per_source_max;   // tickets of one source; beyond: BUSY
    uint32_t queue_timeout_us; // without a free session; then BUSY, nothing was sent
    bool join;                 // identical reads (off in measurements)
};
void sketcher_slow_config_default(struct sketcher_slow_config *cfg);

struct sketcher_slow_env {
    void *ctx;
    /*
     * Starts the operation (the op's bytes belong to `first`, whose cookie leads to them; `first`
     * is always a ticket not released yet, so keep an op's bytes until then even if its client is
     * gone); false: no session free now, it is offered again by sketcher_slow_kick, before all that
     * came later.
     */
    bool (*submit)(void *ctx, uint32_t operation, const struct sketcher_ticket *first);
    /* Verdict for one ticket; v->result is borrowed for the call and is the same for all tickets of
     * one operation. */
    void (*release)(void *ctx, const struct sketcher_ticket *t, const struct sketcher_verdict *v);
};

struct sketcher_slow;
struct sketcher_slow *sketcher_slow_new(const struct sketcher_slow_config *cfg,
                                        const struct sketcher_slow_env *env);
void sketcher_slow_free(struct sketcher_slow *s);
/*
 * A ticket came over the ring: joins it, submits it, queues it, or releases it BUSY at once. A
 * reader joins only an operation that is handed to agreement after the reader arrived (design.md
 * §5; S6): while one for its key is in flight it waits, with all that come after it, for one more
 * that is submitted when that one ends. "Handed over" is the now_us of the call that submitted it,
 * "arrived" the ticket's arrived_us. Writes are never joined.
 */
void sketcher_slow_handover(struct sketcher_slow *s, const struct sketcher_ticket *t,
                            uint64_t now_us);
/*
 * Agreement's answer. Checks the result is canonical, updates the history table (invalidate
 * everywhere, install everywhere; a write's tombstone), and only then releases the waiting tickets.
 * Agreed 2xx, 3xx, 404, 410 without "Vary: *" are installed; any other agreed status only raises
 * sigma. A timed-out write is released with 504 but stays until it ends (BFT_AGREED_LATE or
 * BFT_ABANDONED). A new incarnation resets the partition first; answers of a former one are treated
 * as timed out (the last 16 are remembered). A write that ends without a known sigma (abandoned,
 * disagreed, too large) sets a tombstone at the largest sigma seen, so that the next read is
 * replicated.
 */
void sketcher_slow_completed(struct sketcher_slow *s, uint32_t operation,
                             const struct bft_completion *c, uint64_t now_us);
/* Sessions became free, or time went by: releases BUSY what has waited too long for a session, and
 * submits the rest as far as there are any. Call it every round. */
void sketcher_slow_kick(struct sketcher_slow *s, uint64_t now_us);
/* Drops the partition's entries (their sigma stays): an operator's flush, or a reload, see
 * sketcher_policy_needs_flush. */
void sketcher_slow_flush(struct sketcher_slow *s);
uint32_t sketcher_slow_operations(const struct sketcher_slow *s); // in flight and queued
void sketcher_slow_counters(const struct sketcher_slow *s,
                            uint64_t out[SKETCHER_SLOW_COUNTER_COUNT]);

/* ------------------------------------------------------------------ evidence */

/* A record of who differed from what (law 13: SHA-256, never sketches or values). */
enum sketcher_evidence_kind { SKETCHER_EVIDENCE_SUSPECT, SKETCHER_EVIDENCE_NO_AGREEMENT };
struct sketcher_evidence {
    uint64_t number; // counts up from 1
    enum sketcher_evidence_kind kind;
    int64_t unix_s;
    uint16_t replica;                       // the suspect; of NO_AGREEMENT the first of two
    uint16_t replica_2;                     // NO_AGREEMENT: the second
    uint64_t sigma;                         // of the agreed response
    uint8_t digest[2][CRYPTO_DIGEST_BYTES]; // suspect's and agreed canonical response; or the two
                                            // that differ
    uint64_t length[2];
    char difference[96]; // sketch_difference
    char target[128];    // of the request, cut
};
#define SKETCHER_EVIDENCE_RING 64u
/* One writer (its lcore), any readers; a reader skips what is being overwritten. */
struct sketcher_evidence_ring;
struct sketcher_evidence_ring *sketcher_evidence_new(void);
void sketcher_evidence_free(struct sketcher_evidence_ring *ring);
void sketcher_evidence_add(struct sketcher_evidence_ring *ring, const struct sketcher_evidence *e);
/* Copies up to max of the newest records, newest first; returns how many. */
uint32_t sketcher_evidence_read(const struct sketcher_evidence_ring *ring,
                                struct sketcher_evidence *out, uint32_t max);

#endif
