/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The messages of the agreement protocol, as they travel inside an authenticated datagram.
 *
 *   header      type 1, flags 1, designated 2, incarnation 8
 *   REQUEST     header, session 16, number 8, request flags 1, op length 4, op, n MACs of 16
 *   REPLY       header, view 8, session 16, number 8, sigma 8, digest 32, result length 4, result
 *   PRE-PREPARE header, view 8, sequence 8, count 2, count x (session 16, number 8, digest 32,
 * length 4) PREPARE     header, view 8, sequence 8, batch digest 32; COMMIT likewise CHECKPOINT
 * header, sequence 8, state digest 32, last stable 8, oldest kept 8 STATUS      header, view 8,
 * last executed 8, last stable 8, oldest kept 8, count 2, count x bits 1 FETCH       header,
 * sequence 8, session 16, number 8, request digest 32
 *
 * Integers are big-endian. The digest of a request covers everything from the incarnation to the
 * end of the operation: flags and designated replica of the header are hints, which a
 * retransmission may change. The digest of a batch covers everything from its count on. A decoder
 * accepts exactly one encoding of a message: unknown flags, a wrong length or a single byte too
 * many make it malformed.
 */
#ifndef PROPHECY_BFT_MESSAGES_H
#define PROPHECY_BFT_MESSAGES_H

#include "bft/bft.h"

#include <assert.h>

enum bft_message_type {
    BFT_MSG_REQUEST = 1,
    BFT_MSG_REPLY = 2,
    BFT_MSG_PRE_PREPARE = 3,
    BFT_MSG_PREPARE = 4,
    BFT_MSG_COMMIT = 5,
    BFT_MSG_CHECKPOINT = 6,
    BFT_MSG_STATUS = 7,
    BFT_MSG_FETCH_REQUEST = 8,
    /* Reserved, not spoken yet: dropped under drop_type. */
    BFT_MSG_VIEW_CHANGE = 16,
    BFT_MSG_VIEW_CHANGE_ACK = 17,
    BFT_MSG_NEW_VIEW = 18,
    BFT_MSG_FETCH_STATE = 24,
    BFT_MSG_STATE = 25,
    BFT_MSG_NEW_KEY = 32,
};

enum bft_reply_flags {
    BFT_REPLY_TENTATIVE = 1u << 0,   // executed before it committed
    BFT_REPLY_UNORDERED = 1u << 1,   // the read optimisation: no sigma
    BFT_REPLY_TOO_LARGE = 1u << 2,   // the result is over the group's limit
    BFT_REPLY_DIGEST_ONLY = 1u << 3, // no result follows
    /* Nothing was executed: the request is for another incarnation than the one in this reply. */
    BFT_REPLY_INCARNATION = 1u << 4,
    BFT_REPLY_FLAGS = (1u << 5) - 1,
};

/* What a replica has of a sequence, in STATUS. */
enum bft_status_bits {
    BFT_HAS_CONTENT = 1u << 0,
    BFT_HAS_PREPARED = 1u << 1,
    BFT_HAS_COMMITTED = 1u << 2,
    BFT_HAS_BITS = (1u << 3) - 1,
};

#define BFT_HEADER_BYTES 12u
#define BFT_DIGESTED_OFFSET 4u // of a REQUEST: the incarnation
#define BFT_SESSION_BYTES 16u
#define BFT_REQUEST_FIXED_BYTES (BFT_HEADER_BYTES + BFT_SESSION_BYTES + 8u + 1u + 4u)
#define BFT_REPLY_FIXED_BYTES (BFT_HEADER_BYTES + 8u + BFT_SESSION_BYTES + 8u + 8u + 32u + 4u)
#define BFT_ENTRY_BYTES (BFT_SESSION_BYTES + 8u + 32u + 4u)
#define BFT_BATCH_OFFSET (BFT_HEADER_BYTES + 16u)
#define BFT_PRE_PREPARE_MAX_BYTES (BFT_BATCH_OFFSET + 2u + BFT_BATCH_MAX * BFT_ENTRY_BYTES)
#define BFT_VOTE_BYTES (BFT_HEADER_BYTES + 16u + 32u)
#define BFT_CHECKPOINT_BYTES (BFT_HEADER_BYTES + 8u + 32u + 16u)
#define BFT_STATUS_SPAN_MAX 256u // sequences that one STATUS describes
#define BFT_STATUS_MAX_BYTES (BFT_HEADER_BYTES + 32u + 2u + BFT_STATUS_SPAN_MAX)
#define BFT_FETCH_BYTES (BFT_HEADER_BYTES + 8u + BFT_SESSION_BYTES + 8u + 32u)

/* A result of at most this many bytes is sent in full by every replica: a digest would save
 * nothing. */
#define BFT_INLINE_RESULT_BYTES 256u

static_assert(CRYPTO_DIGEST_BYTES == 32 && CRYPTO_MAC_BYTES == 16, "sizes in the formats above");
static_assert(BFT_REQUEST_FIXED_BYTES == 41 && BFT_REPLY_FIXED_BYTES == 88, "formats above");
static_assert(BFT_ENTRY_BYTES == 60 && BFT_VOTE_BYTES == 60, "formats above");
static_assert(BFT_BATCH_MAX <= UINT16_MAX, "the index in a batch is the low 16 bits of sigma");

/* What a slow path carries: how long a large message may take before one asks or sends again. */
#define BFT_SLOW_PATH_BYTES_PER_US 10u

struct bft_header {
    uint8_t type;
    uint8_t flags;
    uint16_t designated;
    uint64_t incarnation;
};

struct bft_request_msg {
    struct bft_header h; // flags: BFT_FULL_REPLY or 0
    struct bft_session_id session;
    uint64_t number;
    uint8_t flags; // BFT_READ, BFT_UNORDERED
    const uint8_t *op;
    uint32_t op_len;
    const uint8_t *digested; // the part that the digest covers
    size_t digested_len;
    const uint8_t *macs; // n of them
};

struct bft_reply_msg {
    struct bft_header h; // flags: enum bft_reply_flags
    uint64_t view;
    struct bft_session_id session;
    uint64_t number;
    uint64_t sigma;
    uint8_t digest[CRYPTO_DIGEST_BYTES];
    const uint8_t *result;
    uint32_t result_len;
};

struct bft_batch_entry {
    struct bft_session_id session;
    uint64_t number;
    uint8_t digest[CRYPTO_DIGEST_BYTES];
    uint32_t op_len;
};

struct bft_pre_prepare_msg {
    struct bft_header h; // designated: 0
    uint64_t view, sequence;
    uint16_t count;
    const uint8_t *batch; // the part that the batch digest covers
    size_t batch_len;
    struct wire_reader entries; // for bft_get_entry, count times
};

struct bft_vote_msg { // PREPARE and COMMIT
    struct bft_header h;
    uint64_t view, sequence;
    uint8_t digest[CRYPTO_DIGEST_BYTES];
};

struct bft_checkpoint_msg {
    struct bft_header h;
    uint64_t sequence;
    uint8_t digest[CRYPTO_DIGEST_BYTES];
    uint64_t last_stable;
    uint64_t oldest; // sequence whose messages the sender still has
};

struct bft_status_msg {
    struct bft_header h; // designated: the replica that is asked for the content of batches
    uint64_t view, last_executed, last_stable, oldest;
    uint16_t count;      // sequences from last_executed + 1 on
    const uint8_t *bits; // enum bft_status_bits each
};

struct bft_fetch_msg {
    struct bft_header h;
    uint64_t sequence;
    struct bft_session_id session;
    uint64_t number;
    uint8_t digest[CRYPTO_DIGEST_BYTES];
};

/* Encoders: bytes written, or 0 when they do not fit. */
size_t bft_encode_request_head(uint8_t *out, size_t cap, const struct bft_request_msg *m);
size_t bft_encode_reply_head(uint8_t *out, size_t cap, const struct bft_reply_msg *m);
size_t bft_encode_pre_prepare_head(uint8_t *out, size_t cap, const struct bft_pre_prepare_msg *m);
void bft_put_entry(struct wire_writer *w, const struct bft_batch_entry *e);
size_t bft_encode_vote(uint8_t *out, size_t cap, const struct bft_vote_msg *m);
size_t bft_encode_checkpoint(uint8_t *out, size_t cap, const struct bft_checkpoint_msg *m);
size_t bft_encode_status(uint8_t *out, size_t cap, const struct bft_status_msg *m);
size_t bft_encode_fetch(uint8_t *out, size_t cap, const struct bft_fetch_msg *m);

/* Decoders: false for anything that is not exactly one message of the type. Pointers go into data.
 */
bool bft_decode_header(const uint8_t *data, size_t len, struct bft_header *h);
bool bft_decode_request(const uint8_t *data, size_t len, uint32_t n, struct bft_request_msg *m);
bool bft_decode_reply(const uint8_t *data, size_t len, struct bft_reply_msg *m);
bool bft_decode_pre_prepare(const uint8_t *data, size_t len, struct bft_pre_prepare_msg *m);
void bft_get_entry(struct wire_reader *r, struct bft_batch_entry *e);
bool bft_decode_vote(const uint8_t *data, size_t len, struct bft_vote_msg *m);
bool bft_decode_checkpoint(const uint8_t *data, size_t len, struct bft_checkpoint_msg *m);
bool bft_decode_status(const uint8_t *data, size_t len, struct bft_status_msg *m);
bool bft_decode_fetch(const uint8_t *data, size_t len, struct bft_fetch_msg *m);

/* SHA-256 over whether the result is too large (one byte) and the result: what replies agree on. */
void bft_result_digest(struct crypto_digest *sha, uint8_t reply_flags, const uint8_t *result,
                       size_t len, uint8_t out[CRYPTO_DIGEST_BYTES]);

/*
 * Votes that any two quorums need in order to share a correct replica: the smallest q with
 * 2q - n > f, that is 2f+1 when n = 3f+1. n - f correct replicas always reach it, since n >= 3f+1.
 */
static inline uint32_t bft_quorum(const struct bft_group *g) {
    return (g->n + g->f) / 2 + 1;
}

static inline bool bft_same_session(const struct bft_session_id *a,
                                    const struct bft_session_id *b) {
    return a->principal == b->principal && a->endpoint == b->endpoint && a->index == b->index &&
           a->epoch == b->epoch;
}

bool bft_group_valid(const struct bft_group *g);

#endif
