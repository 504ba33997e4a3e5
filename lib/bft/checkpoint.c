/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * CHECKPOINT: every K sequences replicas compare their states, and what a quorum has reached is
 * dropped from the log.
 */
#include "bft/internal.h"

#include <stdlib.h>
#include <string.h>

bool bft_checkpoints_init(struct bft_replica *r) {
    r->checkpoint_count = r->cfg.log_window / r->cfg.checkpoint_interval + 2;
    r->checkpoints = calloc(r->checkpoint_count, sizeof *r->checkpoints);
    return r->checkpoints != NULL;
}

static struct bft_checkpoint *checkpoint_at(const struct bft_replica *r, uint64_t sequence) {
    return &r->checkpoints[sequence / r->cfg.checkpoint_interval % r->checkpoint_count];
}

static struct bft_checkpoint *checkpoint_find(const struct bft_replica *r, uint64_t sequence) {
    struct bft_checkpoint *c = checkpoint_at(r, sequence);
    return c->sequence == sequence && sequence > 0 ? c : NULL;
}

/* The votes for sequence, above the low watermark; takes the place of one that is below it. */
static struct bft_checkpoint *checkpoint_open(struct bft_replica *r, uint64_t sequence) {
    struct bft_checkpoint *c = checkpoint_at(r, sequence);
    if (c->sequence != sequence) {
        assert(c->sequence <= r->last_stable);
        c->sequence = sequence;
        c->has_own = false;
        c->seen = 0;
    }
    return c;
}

static size_t encode_own(const struct bft_replica *r, const struct bft_checkpoint *c, uint8_t *out,
                         size_t cap) {
    struct bft_checkpoint_msg m = {.h = bft_header_of(r, BFT_MSG_CHECKPOINT),
                                   .sequence = c->sequence,
                                   .last_stable = r->last_stable,
                                   .oldest = bft_log_oldest(r)};
    memcpy(m.digest, c->own, sizeof m.digest);
    return bft_encode_checkpoint(out, cap, &m);
}

/* What two replicas in the same state have in common: the service's state and who has executed
 * what. */
static void state_digest(struct bft_replica *r, uint64_t sequence,
                         uint8_t out[CRYPTO_DIGEST_BYTES]) {
    uint8_t parts[8 + 2 * CRYPTO_DIGEST_BYTES];
    struct wire_writer w;
    wire_writer_init(&w, parts, sizeof parts);
    wire_put_u64(&w, sequence);
    bft_sessions_digest(r, wire_put_hole(&w, CRYPTO_DIGEST_BYTES));
    r->env.state_digest(r->env.ctx, sequence, wire_put_hole(&w, CRYPTO_DIGEST_BYTES));
    assert(!w.failed);
    crypto_digest_once(r->sha, parts, sizeof parts, out);
}

void bft_checkpoint_take(struct bft_replica *r, uint64_t sequence) {
    uint8_t out[BFT_CHECKPOINT_BYTES];
    struct bft_checkpoint *c = checkpoint_open(r, sequence);
    state_digest(r, sequence, c->own);
    c->has_own = true;
    c->seen |= 1u << r->cfg.self;
    memcpy(c->digests[r->cfg.self], c->own, CRYPTO_DIGEST_BYTES);
    size_t len = encode_own(r, c, out, sizeof out);
    r->env.broadcast(r->env.ctx, out, len);
    bft_checkpoint_advance(r);
}

/* Largest number of equal votes; *own: they equal ours. */
static uint32_t agreement(const struct bft_replica *r, struct bft_checkpoint *c, bool *own) {
    uint32_t best = 0;
    for (uint32_t i = 0; i < r->cfg.group.n; i++) {
        if ((c->seen & 1u << i) == 0)
            continue;
        uint32_t votes = bft_votes(bft_vote_match(r, c->digests, c->seen, c->digests[i]));
        if (votes <= best)
            continue;
        best = votes;
        *own = memcmp(c->digests[i], c->own, CRYPTO_DIGEST_BYTES) == 0;
    }
    return best;
}

static void make_stable(struct bft_replica *r, uint64_t sequence) {
    uint64_t before = r->last_stable;
    r->last_stable = sequence;
    bft_count(r, BFT_REPLICA_CHECKPOINTS_STABLE);
    bft_log_truncate(r, before, sequence);
    bft_propose(r);
}

/*
 * OSDI 4.3: 2f+1 checkpoint messages "for sequence number n with the same digest d signed by
 * different replicas" are the proof that a checkpoint is stable. Only what we have executed
 * ourselves: else we should need a state transfer. A laggard may come too late for those messages;
 * then f+1 replicas whose own low watermark is at or above n will do, for one of them is correct.
 */
void bft_checkpoint_advance(struct bft_replica *r) {
    uint64_t k = r->cfg.checkpoint_interval, attested = BFT_EVIDENCE(r, stable);
    uint64_t reached = r->last_executed / k * k;
    for (uint64_t seq = reached; seq > r->last_stable; seq -= k) {
        struct bft_checkpoint *c = checkpoint_find(r, seq);
        bool own = true;
        if (c == NULL || !c->has_own)
            continue;
        bool quorum = agreement(r, c, &own) >= r->quorum;
        if (quorum && !own) {
            bft_count(r, BFT_REPLICA_CHECKPOINT_MISMATCH);
            r->diverged = true;
        }
        if (!quorum && attested < seq)
            continue;
        make_stable(r, seq);
        return;
    }
}

void bft_on_checkpoint(struct bft_replica *r, uint16_t from, const uint8_t *data, size_t len) {
    struct bft_checkpoint_msg m;
    if (!bft_decode_checkpoint(data, len, &m) || m.sequence % r->cfg.checkpoint_interval != 0) {
        bft_count(r, BFT_REPLICA_DROP_MALFORMED);
        return;
    }
    if (!bft_from_group(r, from, &m.h))
        return;
    struct bft_peer *peer = &r->peers[from];
    if (peer->seen < m.sequence)
        peer->seen = m.sequence;
    if (peer->stable < m.last_stable)
        peer->stable = m.last_stable;
    if (peer->oldest < m.oldest)
        peer->oldest = m.oldest;
    if (m.sequence > r->last_stable &&
        m.sequence - r->last_stable <= r->cfg.log_window + r->cfg.checkpoint_interval) {
        struct bft_checkpoint *c = checkpoint_open(r, m.sequence);
        if ((c->seen & 1u << from) == 0) {
            c->seen |= 1u << from;
            memcpy(c->digests[from], m.digest, CRYPTO_DIGEST_BYTES);
        } else if (memcmp(c->digests[from], m.digest, CRYPTO_DIGEST_BYTES) != 0) {
            bft_count(r, BFT_REPLICA_DROP_CONFLICT);
        }
    }
    bft_checkpoint_advance(r);
}

uint32_t bft_checkpoint_resend(struct bft_replica *r, uint16_t to, uint64_t stable) {
    uint32_t sent = 0;
    for (uint32_t i = 0; i < r->checkpoint_count; i++) {
        uint8_t out[BFT_CHECKPOINT_BYTES];
        const struct bft_checkpoint *c = &r->checkpoints[i];
        if (c->sequence <= stable || !c->has_own)
            continue;
        size_t len = encode_own(r, c, out, sizeof out);
        r->env.send(r->env.ctx, to, 0, out, len);
        sent++;
    }
    return sent;
}
