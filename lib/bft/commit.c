/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * COMMIT: a replica has prepared the batch. A quorum of them decides it, for good.
 */
#include "bft/internal.h"

#include <string.h>

void bft_send_commit(struct bft_replica *r, struct bft_slot *s) {
    uint32_t bit = 1u << r->cfg.self;
    assert(s->has_content && !s->sent_commit);
    s->sent_commit = true;
    s->commit_seen |= bit;
    s->commit_match |= bit;
    memcpy(s->commit_digests[r->cfg.self], s->digest, CRYPTO_DIGEST_BYTES);
    size_t len = bft_encode_own_vote(r, s, BFT_MSG_COMMIT);
    r->env.broadcast(r->env.ctx, r->scratch, len);
}

/*
 * A quorum may commit what we never accepted: its PRE-PREPARE was lost, or the primary told us
 * something else. The commits bind the content, so it may then come from any replica.
 */
static void look_for_quorum(struct bft_replica *r, struct bft_slot *s,
                            const uint8_t digest[CRYPTO_DIGEST_BYTES]) {
    uint32_t match = bft_vote_match(r, s->commit_digests, s->commit_seen, digest);
    if (s->commit_digest_known || bft_votes(match) < r->quorum)
        return;
    if (s->committed) {
        bft_count(r, BFT_REPLICA_DROP_CONFLICT); // more than f replicas lie: keep to the first
        return;
    }
    if (s->has_content)
        bft_slot_drop_content(r, s);
    s->commit_digest_known = true;
    memcpy(s->commit_digest, digest, CRYPTO_DIGEST_BYTES);
}

void bft_on_commit(struct bft_replica *r, uint16_t from, const uint8_t *data, size_t len) {
    struct bft_vote_msg m;
    if (!bft_vote_decode(r, from, data, len, &m))
        return;
    struct bft_slot *s = bft_slot_for(r, m.sequence);
    if (s == NULL || !bft_vote_take(r, from, &m, s->commit_digests, &s->commit_seen))
        return;
    if (s->has_content && memcmp(s->digest, m.digest, CRYPTO_DIGEST_BYTES) == 0) {
        s->commit_match |= 1u << from;
        bft_slot_advance(r, s);
    } else {
        look_for_quorum(r, s, m.digest);
    }
}
