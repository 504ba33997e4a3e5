/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The inside of a replica: what its message handlers, one file each, share.
 *
 * OSDI below means Castro and Liskov, "Practical Byzantine Fault Tolerance", OSDI 1999; TOCS their
 * "Practical Byzantine Fault Tolerance and Proactive Recovery", ACM TOCS 20(4), 2002.
 */
#ifndef PROPHECY_BFT_INTERNAL_H
#define PROPHECY_BFT_INTERNAL_H

#include "bft/messages.h"

#include <assert.h>

#define BFT_ENDPOINTS_MAX 64u  // of one client principal
#define BFT_EPOCHS_RETIRED 32u // former lives of an endpoint that are remembered
#define BFT_WANTED_BUCKETS 1024u
#define BFT_CLIENTS_MAX 1024u   // principals
#define BFT_UNORDERED_MAX 1024u // unordered reads in execution at once

/* A request as it was received: the very bytes, so that it can be relayed with its authenticator.
 */
struct bft_request {
    uint32_t refs;
    bool
        authentic; // our own MAC in the authenticator is right (request.c says when that is enough)
    bool full_reply; // some copy asked every replica for the result in full
    uint16_t designated;
    uint8_t flags;
    uint32_t op_len;
    struct bft_session_id session;
    uint64_t number;
    uint8_t digest[CRYPTO_DIGEST_BYTES];
    const uint8_t *op;
    size_t len;
    uint8_t message[];
};

/* The newest request of a session that has not been executed: one per session. */
struct bft_pending {
    struct bft_request *req;
    struct bft_pending *hash_next; // or the next free one
    struct bft_pending *prev, *next;
    bool queued; // waits for a batch
    uint64_t relayed_us;
};

struct bft_pending_table {
    struct bft_pending *all;
    struct bft_pending **buckets;
    uint32_t bucket_mask;
    uint32_t count;
    struct bft_pending *free;
    struct bft_pending *head, *tail; // those that wait for a batch, in order of arrival
    uint32_t *of_client;             // per client principal
    size_t *bytes_of_client;
    uint32_t share; // of one client principal
    size_t share_bytes;
};

struct bft_entry {
    struct bft_batch_entry named;
    struct bft_request *req;       // NULL: not here yet
    bool doubted;                  // req was not authentic when it came
    struct bft_entry *wanted_next; // chain of entries without a body, by digest
    struct bft_slot *slot;
};

/* One sequence number: what this replica knows about it in the current view. */
struct bft_slot {
    uint64_t sequence; // 0: free
    uint8_t digest[CRYPTO_DIGEST_BYTES];
    bool has_content;  // digest and entries are set
    bool from_primary; // by the primary's own PRE-PREPARE, not only by a quorum of COMMITs
    bool prepared, committed, executed;
    bool sent_prepare, sent_commit;
    bool commit_digest_known; // a quorum of COMMITs agrees on commit_digest
    uint8_t commit_digest[CRYPTO_DIGEST_BYTES];
    uint16_t count;
    uint16_t missing; // bodies not here
    uint16_t doubted; // bodies here whose authenticator we could not verify
    uint8_t fetch_attempts;
    uint64_t fetch_us;
    /* Votes: bit r of seen when replica r has voted, of match when it voted for digest. */
    uint32_t prepare_seen, prepare_match;
    uint32_t commit_seen, commit_match;
    uint8_t (*prepare_digests)[CRYPTO_DIGEST_BYTES];
    uint8_t (*commit_digests)[CRYPTO_DIGEST_BYTES];
    struct bft_entry *entries;
};

struct bft_endpoint {
    uint16_t endpoint;
    uint64_t epoch;
    uint64_t floor; // largest number of a session that was evicted
    uint64_t retired[BFT_EPOCHS_RETIRED];
    uint32_t retired_count; // ever
};

/* A session with an executed request: part of the replicated state, but for the reply's bytes. */
struct bft_session {
    struct bft_session *hash_next;                   // or the next free one
    struct bft_session *older, *newer;               // in order of last execution
    struct bft_session *result_older, *result_newer; // those that hold a reply, of all principals
    struct bft_session_id id;
    uint64_t number; // last executed
    uint64_t sigma;
    uint8_t reply_flags;
    bool answered; // false: the service had no result, so there is no reply
    uint8_t digest[CRYPTO_DIGEST_BYTES];
    uint8_t *reply; // encoded in full; NULL when dropped for memory
    size_t reply_len, reply_cap;
    uint64_t resend_full_us; // not in full again before
};

struct bft_client_state {
    struct bft_endpoint *endpoints;
    uint32_t endpoint_count;
    struct bft_session *all;
    struct bft_session **buckets;
    struct bft_session *free;
    struct bft_session *oldest, *newest;
    uint32_t count;
    uint32_t unordered; // reads in execution
};

struct bft_checkpoint {
    uint64_t sequence; // 0: free
    uint8_t own[CRYPTO_DIGEST_BYTES];
    bool has_own;
    uint32_t seen;
    uint8_t digests[BFT_REPLICAS_MAX][CRYPTO_DIGEST_BYTES];
};

/* What another replica said of itself: evidence only where f+1 say it. */
struct bft_peer {
    uint64_t seen;       // largest sequence in a message of its own
    uint64_t stable;     // its low watermark
    uint64_t oldest;     // sequence that it still has
    uint64_t answer_us;  // its next STATUS is answered from then on
    uint64_t large_us;   // nothing larger than the budget before
    uint64_t budget_us;  // when its byte budget is renewed
    size_t budget_bytes; // of answers left
};

struct bft_unordered {
    struct bft_request *req; // NULL: free
    uint32_t generation;
    struct bft_execution execution;
};

struct bft_replica {
    struct bft_replica_config cfg;
    struct bft_replica_env env;
    uint32_t quorum;
    uint32_t key_count;
    uint64_t now_us;
    uint64_t counters[BFT_REPLICA_COUNTER_COUNT];
    struct crypto_digest *sha;
    struct crypto_mac **request_macs; // per principal; NULL for replicas

    uint64_t view;
    uint64_t next_sequence; // the primary's next proposal
    uint64_t last_executed, last_stable;
    uint64_t highest_accepted; // of a PRE-PREPARE
    bool diverged;             // a stable checkpoint disagrees with our state

    struct bft_slot *slots;
    uint32_t slot_count;
    struct bft_entry *entries;
    uint8_t (*vote_digests)[CRYPTO_DIGEST_BYTES];
    struct bft_entry *wanted[BFT_WANTED_BUCKETS];
    uint32_t wanted_count;
    uint32_t doubted_count; // over all slots
    uint64_t bodies_from;   // executed slots below hold no bodies any more

    struct bft_pending_table pending;
    struct bft_client_state *clients; // of principal n + i
    struct bft_session *result_oldest, *result_newest;
    uint32_t session_mask;
    size_t body_bytes, result_bytes;

    bool executing, in_execute;
    uint16_t execute_index;
    uint64_t ticket;
    struct bft_execution execution; // the ordered one that the service has
    struct bft_unordered *unordered;
    uint32_t unordered_hint;

    struct bft_checkpoint *checkpoints;
    uint32_t checkpoint_count;
    struct bft_peer peers[BFT_REPLICAS_MAX];
    uint64_t status_us, heartbeat_us, fetch_us; // deadlines
    uint64_t ticked_executed;                   // last_executed when the status timer last ran
    uint32_t status_attempts;
    uint8_t scratch[BFT_PRE_PREPARE_MAX_BYTES];
};

static_assert(BFT_PRE_PREPARE_MAX_BYTES >= BFT_STATUS_MAX_BYTES, "one scratch buffer for both");
static_assert(BFT_CLIENTS_MAX <= BFT_UNORDERED_MAX, "each has a share of one at least");
static_assert(BFT_REPLICAS_MAX <= 32, "votes are bits of a uint32_t");

static inline void bft_count(struct bft_replica *r, enum bft_replica_counter c) {
    r->counters[c]++;
}

static inline uint16_t bft_primary(const struct bft_replica *r) {
    return (uint16_t)(r->view % r->cfg.group.n);
}

static inline bool bft_is_primary(const struct bft_replica *r) {
    return bft_primary(r) == r->cfg.self;
}

static inline uint32_t bft_votes(uint32_t mask) {
    return (uint32_t)__builtin_popcount(mask);
}

static inline struct bft_header bft_header_of(const struct bft_replica *r, uint8_t type) {
    return (struct bft_header){.type = type, .incarnation = r->cfg.group.incarnation};
}

/* replica.c */
bool bft_from_group(struct bft_replica *r, uint16_t principal, const struct bft_header *h);
uint64_t bft_evidence(const struct bft_replica *r, size_t field_offset);
#define BFT_EVIDENCE(r, field) bft_evidence(r, offsetof(struct bft_peer, field))
bool bft_behind(const struct bft_replica *r);

/* log.c */
bool bft_log_init(struct bft_replica *r);
void bft_log_free(struct bft_replica *r);
struct bft_slot *bft_slot_find(const struct bft_replica *r, uint64_t sequence);
/* The slot for a message about sequence: NULL when it is executed already or outside the watermarks
 * (counted). */
struct bft_slot *bft_slot_for(struct bft_replica *r, uint64_t sequence);
void bft_slot_set_content(struct bft_replica *r, struct bft_slot *s,
                          const uint8_t digest[CRYPTO_DIGEST_BYTES],
                          const struct bft_pre_prepare_msg *m);
void bft_slot_drop_content(struct bft_replica *r, struct bft_slot *s);
void bft_slot_release_bodies(struct bft_replica *r, struct bft_slot *s);
void bft_log_truncate(struct bft_replica *r, uint64_t from_stable, uint64_t to_stable);
uint64_t bft_log_oldest(const struct bft_replica *r);
/* Gives req to every entry that waits for it; true when one did. */
bool bft_wanted_attach(struct bft_replica *r, struct bft_request *req);
bool bft_wanted(struct bft_replica *r, const struct bft_session_id *session, uint64_t number,
                const uint8_t digest[CRYPTO_DIGEST_BYTES], bool *next_batch);
/* The client itself has sent req: copies of it that were relayed are no longer in doubt. */
void bft_doubt_settle(struct bft_replica *r, const struct bft_request *req);
void bft_attach(struct bft_replica *r, struct bft_entry *e, struct bft_request *req);
/* Goes on with a slot after anything about it changed. */
void bft_slot_advance(struct bft_replica *r, struct bft_slot *s);

/* request.c */
bool bft_pending_init(struct bft_replica *r);
void bft_pending_free(struct bft_replica *r);
void bft_on_request(struct bft_replica *r, uint16_t principal, uint16_t endpoint,
                    const uint8_t *data, size_t len);
struct bft_pending *bft_pending_find(const struct bft_replica *r, const struct bft_session_id *id);
void bft_pending_enqueue(struct bft_replica *r, struct bft_pending *p);
void bft_pending_dequeue(struct bft_replica *r, struct bft_pending *p);
void bft_pending_remove(struct bft_replica *r, struct bft_pending *p);
void bft_pending_executed(struct bft_replica *r, const struct bft_session_id *id, uint64_t number);
void bft_request_unref(struct bft_replica *r, struct bft_request *req);

/* fetch.c */
void bft_on_fetch(struct bft_replica *r, uint16_t from, const uint8_t *data, size_t len);
void bft_fetch_schedule(struct bft_replica *r, struct bft_slot *s);
void bft_fetch_timer(struct bft_replica *r);

/* pre_prepare.c */
void bft_propose(struct bft_replica *r);
void bft_on_pre_prepare(struct bft_replica *r, uint16_t from, const uint8_t *data, size_t len);
size_t bft_encode_content(struct bft_replica *r, const struct bft_slot *s);

/* prepare.c */
void bft_on_prepare(struct bft_replica *r, uint16_t from, const uint8_t *data, size_t len);
bool bft_vote_take(struct bft_replica *r, uint16_t from, const struct bft_vote_msg *m,
                   uint8_t (*digests)[CRYPTO_DIGEST_BYTES], uint32_t *seen);
uint32_t bft_vote_match(const struct bft_replica *r, uint8_t (*digests)[CRYPTO_DIGEST_BYTES],
                        uint32_t seen, const uint8_t digest[CRYPTO_DIGEST_BYTES]);
bool bft_vote_decode(struct bft_replica *r, uint16_t from, const uint8_t *data, size_t len,
                     struct bft_vote_msg *m);
size_t bft_encode_own_vote(struct bft_replica *r, const struct bft_slot *s,
                           enum bft_message_type type);
void bft_send_prepare(struct bft_replica *r, struct bft_slot *s);

/* commit.c */
void bft_on_commit(struct bft_replica *r, uint16_t from, const uint8_t *data, size_t len);
void bft_send_commit(struct bft_replica *r, struct bft_slot *s);

/* execute.c */
bool bft_unordered_init(struct bft_replica *r);
void bft_unordered_free(struct bft_replica *r);
void bft_execute(struct bft_replica *r);
void bft_execute_unordered(struct bft_replica *r, struct bft_request *req);

/* reply.c */
void bft_reply_ordered(struct bft_replica *r, struct bft_session *s, const struct bft_request *req,
                       const uint8_t *result, size_t len);
void bft_reply_unordered(struct bft_replica *r, const struct bft_request *req,
                         const uint8_t *result, size_t len);
void bft_reply_cached(struct bft_replica *r, struct bft_session *s, bool full);
void bft_reply_incarnation(struct bft_replica *r, const struct bft_request_msg *m);
void bft_reply_forget(struct bft_replica *r, struct bft_session *s);

/* session.c */
enum bft_session_verdict {
    BFT_SESSION_NEXT, // not executed yet, may be
    BFT_SESSION_LAST, // the last executed one
    BFT_SESSION_OLD,
    BFT_SESSION_NO_ROOM,
};
bool bft_sessions_init(struct bft_replica *r);
void bft_sessions_free(struct bft_replica *r);
enum bft_session_verdict bft_session_check(const struct bft_replica *r,
                                           const struct bft_session_id *id, uint64_t number,
                                           struct bft_session **session);
/* Whether a request of this session would begin the life of its endpoint. */
bool bft_session_begins_epoch(const struct bft_replica *r, const struct bft_session_id *id);
struct bft_session *bft_session_executed(struct bft_replica *r, const struct bft_session_id *id,
                                         uint64_t number, uint64_t sigma);
void bft_sessions_digest(struct bft_replica *r, uint8_t out[CRYPTO_DIGEST_BYTES]);

/* checkpoint.c */
bool bft_checkpoints_init(struct bft_replica *r);
void bft_checkpoint_take(struct bft_replica *r, uint64_t sequence);
void bft_on_checkpoint(struct bft_replica *r, uint16_t from, const uint8_t *data, size_t len);
void bft_checkpoint_advance(struct bft_replica *r);
/* Sends again what a replica whose low watermark is stable may lack. */
uint32_t bft_checkpoint_resend(struct bft_replica *r, uint16_t to, uint64_t stable);

/* status.c */
void bft_on_status(struct bft_replica *r, uint16_t from, const uint8_t *data, size_t len);
void bft_status_timer(struct bft_replica *r);
bool bft_answer_allowed(struct bft_replica *r, uint16_t to, size_t bytes);

#endif
