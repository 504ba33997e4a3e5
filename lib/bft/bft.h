/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lib/bft - PBFT (Castro and Liskov, OSDI 1999): replica and client as pure state machines.
 *
 * Messages of authenticated peers and `now_us` go in; messages, executions and results come out
 * through callbacks. No I/O, no clock, no threads, no globals; one thread per instance; the same
 * code runs in prophecy-replica, on the sketcher's slow-path lcores, in the in-memory cluster of
 * the tests and in the simulator. lib/datagram (or a test) has authenticated the sender of every
 * message before it comes in here; besides, a REQUEST carries an authenticator, a vector of MACs
 * over its digest, one per replica, so that it can be relayed.
 *
 * Normal case: request, pre-prepare, prepare, commit, reply; batches; checkpoints and truncation
 * between watermarks; retransmission by STATUS. Large request bodies travel apart from the
 * ordering: the client sends them to all replicas, a PRE-PREPARE names digests only. Digest
 * replies: one designated replica answers in full, the others with the result's digest. View
 * changes, state transfer and recovery have their place (bft_replica's `view`, message types
 * reserved in messages.h) but not their code yet.
 *
 * sigma = sequence << 16 | index in the batch (design.md law 3). Sequences start at 1.
 *
 * Exactly once: a request is bound to the incarnation, its session and its number. A client numbers
 * the requests of all its sessions from one counter, so that a replica may forget an idle session
 * (the least recently executed one, the same at every replica) and still refuse its old requests.
 * A client must therefore not have more sessions in flight than sessions_max: a request that is
 * overtaken by so many others is taken for an old one.
 *
 * A replica that restarts has nothing: no log, no sessions, and the service's state must be as
 * empty. It asks the others with STATUS and, while they still keep everything from sequence 1,
 * executes all of it again; otherwise it says `behind` and is like a crashed one: it executes and
 * answers nothing, and what is new is above its watermarks. It does not remember its votes: until
 * it has caught up count it among the f faulty ones. A primary that restarts
 * proposes nothing that f+1 others have seen numbers for before it has executed up to there. When
 * more than f replicas restart together, sequences may begin again: set the group up anew, with a
 * new incarnation.
 */
#ifndef PROPHECY_BFT_H
#define PROPHECY_BFT_H

#include "crypto/crypto.h"
#include "wire/wire.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BFT_REPLICAS_MAX 32u
#define BFT_BATCH_MAX 64u
#define BFT_SIGMA(seq, index) ((uint64_t)(seq) << 16 | (uint64_t)(index))

/* A logical session of a client endpoint: one request outstanding, numbers ascending. */
struct bft_session_id {
    uint16_t principal; // >= n: clients
    uint16_t endpoint;
    uint32_t index; // of the session within the endpoint
    uint64_t epoch; // random, of this life of the client (law 12)
};

enum bft_request_flags {
    BFT_READ = 1u << 0, // does not change state: may be answered unordered when the group allows it
    BFT_UNORDERED = 1u << 1,  // the read optimisation: executed at once, reply without sigma
    BFT_FULL_REPLY = 1u << 2, // a retransmission: every replica answers in full
};

struct bft_group {
    uint32_t n, f;            // n >= 3f + 1
    uint64_t incarnation;     // of the group's state (law 3)
    bool read_optimisation;   // then everybody waits for 2f+1 (design.md §4)
    bool unordered_writes;    // replicated reads need 2f+1
    size_t request_max_bytes; // of an operation
    size_t result_max_bytes;
};

/* ------------------------------------------------------------------ replica */

#define BFT_REPLICA_COUNTERS(X)                                                                    \
    X(REQUESTS, "requests")                                                                        \
    X(REQUESTS_DUPLICATE, "requests_duplicate")                                                    \
    X(BATCHES, "batches")                                                                          \
    X(EXECUTED, "executed")                                                                        \
    X(EXECUTED_UNORDERED, "executed_unordered")                                                    \
    X(EXECUTE_FAILED, "execute_failed")                                                            \
    X(REPLIES, "replies")                                                                          \
    X(REPLIES_CACHED, "replies_from_cache")                                                        \
    X(CHECKPOINTS_STABLE, "checkpoints_stable")                                                    \
    X(CHECKPOINT_MISMATCH, "checkpoint_mismatch")                                                  \
    X(RETRANSMITTED, "retransmitted")                                                              \
    X(DROP_MALFORMED, "drop_malformed")                                                            \
    X(DROP_TYPE, "drop_type")                                                                      \
    X(DROP_AUTHENTICATOR, "drop_authenticator")                                                    \
    X(DROP_SENDER, "drop_sender")                                                                  \
    X(DROP_INCARNATION, "drop_incarnation")                                                        \
    X(DROP_VIEW, "drop_view")                                                                      \
    X(DROP_WATERMARK, "drop_watermark")                                                            \
    X(DROP_CONFLICT, "drop_conflict")                                                              \
    X(DROP_OLD_REQUEST, "drop_old_request")                                                        \
    X(DROP_TOO_LARGE, "drop_too_large")                                                            \
    X(DROP_QUEUE_FULL, "drop_queue_full")                                                          \
    X(DROP_SESSIONS_FULL, "drop_sessions_full")                                                    \
    X(DROP_RATE, "drop_rate")                                                                      \
    X(SESSIONS_EVICTED, "sessions_evicted")                                                        \
    X(RESULTS_EVICTED, "results_evicted")                                                          \
    X(BODIES_EVICTED, "bodies_evicted")                                                            \
    X(STATUS_SENT, "status_sent")                                                                  \
    X(FETCHES_SENT, "fetches_sent")

enum bft_replica_counter {
#define BFT_REPLICA_COUNTER_ID(id, name) BFT_REPLICA_##id,
    BFT_REPLICA_COUNTERS(BFT_REPLICA_COUNTER_ID)
#undef BFT_REPLICA_COUNTER_ID
        BFT_REPLICA_COUNTER_COUNT
};
extern const char *const bft_replica_counter_names[BFT_REPLICA_COUNTER_COUNT];

struct bft_replica_config {
    struct bft_group group;
    uint16_t self;
    uint32_t checkpoint_interval; // K
    uint32_t log_window;          // L: high watermark = low + L
    uint32_t batch_max_requests;  // <= BFT_BATCH_MAX
    uint32_t pipeline_max;   // batches in agreement at once; further requests wait and so batch up
    uint32_t sessions_max;   // per client principal; the longest idle one is evicted
    uint32_t pending_max;    // requests waiting to be ordered, over all sessions
    size_t memory_max_bytes; // request bodies and cached replies
    uint32_t status_us;      // interval of STATUS while something is missing
    uint32_t retain_batches; // executed batches kept below the low watermark for laggards
};
void bft_replica_config_default(struct bft_replica_config *cfg);

/* One execution asked of the service. Valid until bft_replica_executed is called for its ticket. */
struct bft_execution {
    uint64_t ticket;
    uint64_t sigma; // 0 for an unordered read
    bool read;
    struct bft_session_id session;
    uint64_t number; // of the request in its session
    const uint8_t *op;
    size_t op_len;
};

struct bft_replica_env {
    void *ctx;
    /* To a replica (endpoint 0) or a client endpoint; message borrowed for the call. */
    void (*send)(void *ctx, uint16_t principal, uint16_t endpoint, const uint8_t *message,
                 size_t len);
    /* The same message to every other replica. */
    void (*broadcast)(void *ctx, const uint8_t *message, size_t len);
    /*
     * Execute. Ordered executions are handed over strictly one after the other, in order of sigma;
     * the next comes only after bft_replica_executed of the last (which may be called from inside).
     * Unordered reads may come at any time between.
     */
    void (*execute)(void *ctx, const struct bft_execution *e);
    /* SHA-256 of the service's state after everything executed so far: for a CHECKPOINT. */
    void (*state_digest)(void *ctx, uint64_t sequence, uint8_t out[CRYPTO_DIGEST_BYTES]);
};

struct bft_replica;
/* NULL: no memory, or a configuration that makes no sense (fewer than 3f+1, log_window < 2K, ...).
 * keys[p]: the pair key with principal p (only its MAC for requests is derived here), for
 * principals 0..key_count-1. Copied. */
struct bft_replica *bft_replica_new(const struct bft_replica_config *cfg,
                                    const struct bft_replica_env *env,
                                    const uint8_t (*keys)[CRYPTO_KEY_BYTES], uint32_t key_count);
void bft_replica_free(struct bft_replica *r);
void bft_replica_input(struct bft_replica *r, uint16_t principal, uint16_t endpoint,
                       const uint8_t *message, size_t len, uint64_t now_us);
/* The result of an execution; borrowed. result NULL: the service could not (its backend failed): no
 * reply is ever sent for it, and execution goes on (design.md §5: a silent replica, never a reply).
 */
void bft_replica_executed(struct bft_replica *r, uint64_t ticket, const uint8_t *result,
                          size_t result_len, uint64_t now_us);
void bft_replica_timers(struct bft_replica *r, uint64_t now_us);
uint64_t bft_replica_next_deadline(const struct bft_replica *r);
void bft_replica_counters(const struct bft_replica *r, uint64_t out[BFT_REPLICA_COUNTER_COUNT]);

struct bft_replica_status {
    uint64_t view;
    uint64_t last_executed; // sequence
    uint64_t last_stable;   // low watermark
    uint64_t highest_seen;  // sequence of the newest authenticated PRE-PREPARE or vote quorum
    uint32_t pending;
    bool behind; // others have truncated what this replica needs: only a state transfer helps
};
void bft_replica_get_status(const struct bft_replica *r, struct bft_replica_status *out);

/* ------------------------------------------------------------------ client */

#define BFT_CLIENT_COUNTERS(X)                                                                     \
    X(SUBMITTED, "submitted")                                                                      \
    X(COMPLETED, "completed")                                                                      \
    X(RETRANSMITTED, "retransmitted")                                                              \
    X(TIMEOUTS, "timeouts")                                                                        \
    X(DISAGREED, "disagreed")                                                                      \
    X(UNORDERED_FAILED, "unordered_failed")                                                        \
    X(REPLIES_IN, "replies_in")                                                                    \
    X(REPLIES_WRONG, "replies_wrong")                                                              \
    X(DROP_MALFORMED, "drop_reply_malformed")                                                      \
    X(DROP_SENDER, "drop_reply_sender")                                                            \
    X(DROP_SESSION, "drop_reply_unknown_session")                                                  \
    X(DROP_EPOCH, "drop_reply_old_epoch")                                                          \
    X(DROP_NUMBER, "drop_reply_old_number")                                                        \
    X(DROP_TOO_LARGE, "drop_reply_too_large")

enum bft_client_counter {
#define BFT_CLIENT_COUNTER_ID(id, name) BFT_CLIENT_##id,
    BFT_CLIENT_COUNTERS(BFT_CLIENT_COUNTER_ID)
#undef BFT_CLIENT_COUNTER_ID
        BFT_CLIENT_COUNTER_COUNT
};
extern const char *const bft_client_counter_names[BFT_CLIENT_COUNTER_COUNT];

struct bft_client_config {
    struct bft_group group;
    uint16_t principal;
    uint16_t endpoint;
    uint64_t epoch;    // random
    uint32_t sessions; // requests in flight at most
    uint32_t retry_us; // first retransmission; doubles, with jitter, up to retry_max_us
    uint32_t retry_max_us;
    uint32_t
        timeout_us; // then BFT_TIMED_OUT is reported (a write's session stays busy until it ends)
    uint32_t abandon_us;     // and then even that session is given up, its number never used again
    size_t memory_max_bytes; // full replies kept for matching
    uint64_t seed;           // of the jitter and the choice of the designated replica
};
void bft_client_config_default(struct bft_client_config *cfg);

enum bft_outcome {
    BFT_AGREED,           // result, sigma, incarnation are set
    BFT_UNORDERED_AGREED, // 2f+1 equal unordered replies: result; no sigma
    /* Not enough replies in time. A write may still execute: it ends in one of the others later. */
    BFT_TIMED_OUT,
    /* A timed-out write ended after all: its sigma matters (tombstone), nobody waits. */
    BFT_AGREED_LATE,
    /* No quorum of equal results is possible, or n-f answers differ and the rest stay silent. */
    BFT_DISAGREED,
    BFT_TOO_LARGE, // the group says: result over the limit
    BFT_ABANDONED, // a timed-out request is given up
};

struct bft_completion {
    enum bft_outcome outcome;
    uint64_t cookie;
    bool finished; // the cookie will not be heard of again
    /*
     * Of what was agreed on, BFT_TOO_LARGE included; on BFT_DISAGREED the sigma that f+1 replicas
     * name although they differ in the result; 0 when there is none.
     */
    uint64_t sigma;
    uint64_t incarnation;
    const uint8_t *result; // borrowed for the call; NULL unless agreed (and not too large)
    size_t result_len;
    /* On BFT_DISAGREED: up to two full results that differ, for the record; borrowed. */
    const uint8_t *differing[2];
    size_t differing_len[2];
    uint16_t differing_replica[2];
};

struct bft_client_env {
    void *ctx;
    void (*send)(void *ctx, uint16_t replica, const uint8_t *message, size_t len);
    void (*broadcast)(void *ctx, const uint8_t *message, size_t len); // to all replicas
    /* May call bft_client_submit. */
    void (*complete)(void *ctx, const struct bft_completion *c);
};

struct bft_client;
/*
 * keys[r]: the pair key with replica r. NULL: no memory, or a configuration that makes no sense.
 * Requests are for the incarnation of cfg->group until f+1 replicas say that theirs is another one
 * (the group was set up anew): then for that one, reads under way included; writes under way are
 * left to time out, for nobody can say whether the new state holds them already.
 */
struct bft_client *bft_client_new(const struct bft_client_config *cfg,
                                  const struct bft_client_env *env,
                                  const uint8_t (*keys)[CRYPTO_KEY_BYTES]);
void bft_client_free(struct bft_client *c);
uint32_t bft_client_free_sessions(const struct bft_client *c);
/* Starts op (copied) with BFT_READ / BFT_UNORDERED flags; false when no session is free or it is
 * too large. */
bool bft_client_submit(struct bft_client *c, uint64_t cookie, uint32_t flags, const uint8_t *op,
                       size_t op_len, uint64_t now_us);
void bft_client_input(struct bft_client *c, uint16_t replica, const uint8_t *message, size_t len,
                      uint64_t now_us);
void bft_client_timers(struct bft_client *c, uint64_t now_us);
uint64_t bft_client_next_deadline(const struct bft_client *c);
void bft_client_counters(const struct bft_client *c, uint64_t out[BFT_CLIENT_COUNTER_COUNT]);
/* Replies per replica that were outvoted by an agreed result. */
uint64_t bft_client_wrong_replies(const struct bft_client *c, uint16_t replica);

#endif
