/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The inside of a client: sessions and the votes of replicas on what they have outstanding.
 */
#ifndef PROPHECY_BFT_CLIENT_INTERNAL_H
#define PROPHECY_BFT_CLIENT_INTERNAL_H

#include "bft/messages.h"

enum bft_vote_state {
    BFT_VOTE_NONE,
    BFT_VOTE_VALID,
    BFT_VOTE_INVALID, // an answer that cannot be right: it counts as one, for nothing
};

/* What a reply says, apart from who says it: replies agree when these are equal. */
struct bft_value {
    uint64_t sigma;
    uint8_t flags; // BFT_REPLY_UNORDERED, BFT_REPLY_TOO_LARGE
    uint8_t digest[CRYPTO_DIGEST_BYTES];
};

struct bft_vote {
    enum bft_vote_state state;
    bool tentative;
    uint64_t view;
    struct bft_value value;
    /* Its result in full, when it has come: ours, or the caller's during bft_client_input. */
    const uint8_t *full;
    size_t full_len;
    uint8_t *owned; // full, when it is ours
    bool verified;  // full has the digest of value
};

enum bft_client_session_state {
    BFT_CS_FREE,
    BFT_CS_BUSY,
    BFT_CS_LATE, // its owner was told BFT_TIMED_OUT; it may be agreed on yet
};

struct bft_client_session {
    enum bft_client_session_state state;
    uint32_t index;
    uint32_t heap_at;
    uint32_t next_free;
    uint64_t number;
    uint64_t incarnation; // that the request is for
    uint64_t cookie;
    uint8_t flags; // BFT_READ, BFT_UNORDERED as it was last sent
    uint8_t *message;
    size_t message_len;
    uint32_t op_len;
    uint64_t deadline_us, retry_at_us, give_up_us, submitted_us;
    uint32_t retry_us;
    uint32_t answered;      // votes that are not BFT_VOTE_NONE
    bool disagreement;      // no quorum is possible: asked for full results for the record
    uint32_t stalled_votes; // answered at the last retry that found n - f answers and no agreement
    struct bft_vote *votes; // n
    /* The last agreement of the session, for replies that come after it. */
    uint64_t done_number;
    struct bft_value done;
};

struct bft_client {
    struct bft_client_config cfg;
    struct bft_client_env env;
    uint32_t quorum;
    uint64_t now_us;
    uint64_t incarnation;
    uint64_t next_number; // one counter for all sessions of the endpoint: session.c of the replica
                          // says why
    uint64_t random;
    uint64_t counters[BFT_CLIENT_COUNTER_COUNT];
    uint64_t wrong[BFT_REPLICAS_MAX];
    uint64_t noticed[BFT_REPLICAS_MAX];  // incarnation that a replica says is the group's; 0: none
    size_t full_bytes[BFT_REPLICAS_MAX]; // of each replica's results that are kept
    size_t full_share_bytes;
    struct bft_client_session *sessions;
    struct bft_vote *votes;
    uint32_t free_head, free_count;
    uint32_t *heap; // sessions by deadline
    uint32_t heap_len;
    struct crypto_digest *sha;
    struct crypto_mac *macs[BFT_REPLICAS_MAX];
};

static inline void bft_client_count(struct bft_client *c, enum bft_client_counter id) {
    c->counters[id]++;
}

/* client.c */
uint64_t bft_client_random(struct bft_client *c);
/* Numbers, authenticates and broadcasts the session's operation, as a new request. */
void bft_client_issue(struct bft_client *c, struct bft_client_session *s);
void bft_client_retransmit(struct bft_client *c, struct bft_client_session *s);
/* Ends the session's request with this outcome; calls complete. */
void bft_client_finish(struct bft_client *c, struct bft_client_session *s,
                       struct bft_completion *completion);
void bft_client_schedule(struct bft_client *c, struct bft_client_session *s);

/* client_reply.c */
void bft_vote_clear(struct bft_client *c, struct bft_client_session *s, uint32_t replica);
void bft_client_disagreed(struct bft_client *c, struct bft_client_session *s);
/* A retry found the request without agreement: true when that ended it. */
bool bft_client_stalled(struct bft_client *c, struct bft_client_session *s);
/* A replica, drawn among those that voted for a value with enough votes but have not sent it in
 * full; -1: none. */
int bft_client_full_source(struct bft_client *c, const struct bft_client_session *s);
void bft_client_order(struct bft_client *c, struct bft_client_session *s);

#endif
