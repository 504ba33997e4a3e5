/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * PREPARE: a backup has accepted the PRE-PREPARE. And what PREPARE and COMMIT share as votes.
 */
#include "bft/internal.h"

#include <string.h>

bool bft_vote_decode(struct bft_replica *r, uint16_t from, const uint8_t *data, size_t len,
                     struct bft_vote_msg *m) {
    if (!bft_decode_vote(data, len, m)) {
        bft_count(r, BFT_REPLICA_DROP_MALFORMED);
        return false;
    }
    if (!bft_from_group(r, from, &m->h))
        return false;
    if (m->view != r->view) {
        bft_count(r, BFT_REPLICA_DROP_VIEW);
        return false;
    }
    /* Also beyond our watermarks: f+1 replicas that are further on tell us that we lag. */
    if (r->peers[from].seen < m->sequence)
        r->peers[from].seen = m->sequence;
    return true;
}

/* Records a replica's vote, once and for all; false when it had one (a different one is counted).
 */
bool bft_vote_take(struct bft_replica *r, uint16_t from, const struct bft_vote_msg *m,
                   uint8_t (*digests)[CRYPTO_DIGEST_BYTES], uint32_t *seen) {
    uint32_t bit = 1u << from;
    if ((*seen & bit) != 0) {
        if (memcmp(digests[from], m->digest, CRYPTO_DIGEST_BYTES) != 0)
            bft_count(r, BFT_REPLICA_DROP_CONFLICT);
        return false;
    }
    *seen |= bit;
    memcpy(digests[from], m->digest, CRYPTO_DIGEST_BYTES);
    return true;
}

/* The voters whose vote is for digest. */
uint32_t bft_vote_match(const struct bft_replica *r, uint8_t (*digests)[CRYPTO_DIGEST_BYTES],
                        uint32_t seen, const uint8_t digest[CRYPTO_DIGEST_BYTES]) {
    uint32_t match = 0;
    for (uint32_t i = 0; seen != 0 && i < r->cfg.group.n; i++)
        if ((seen & 1u << i) != 0 && memcmp(digests[i], digest, CRYPTO_DIGEST_BYTES) == 0)
            match |= 1u << i;
    return match;
}

size_t bft_encode_own_vote(struct bft_replica *r, const struct bft_slot *s,
                           enum bft_message_type type) {
    struct bft_vote_msg m = {
        .h = bft_header_of(r, (uint8_t)type), .view = r->view, .sequence = s->sequence};
    const uint8_t(*digests)[CRYPTO_DIGEST_BYTES] = (const uint8_t(*)[CRYPTO_DIGEST_BYTES])(
        type == BFT_MSG_PREPARE ? s->prepare_digests : s->commit_digests);
    memcpy(m.digest, digests[r->cfg.self], CRYPTO_DIGEST_BYTES);
    return bft_encode_vote(r->scratch, sizeof r->scratch, &m);
}

void bft_send_prepare(struct bft_replica *r, struct bft_slot *s) {
    uint32_t bit = 1u << r->cfg.self;
    assert(s->has_content && !s->sent_prepare);
    s->sent_prepare = true;
    s->prepare_seen |= bit;
    s->prepare_match |= bit;
    memcpy(s->prepare_digests[r->cfg.self], s->digest, CRYPTO_DIGEST_BYTES);
    size_t len = bft_encode_own_vote(r, s, BFT_MSG_PREPARE);
    r->env.broadcast(r->env.ctx, r->scratch, len);
}

void bft_on_prepare(struct bft_replica *r, uint16_t from, const uint8_t *data, size_t len) {
    struct bft_vote_msg m;
    if (!bft_vote_decode(r, from, data, len, &m))
        return;
    /* The primary's PRE-PREPARE is its vote: prepares count "from different backups". */
    if (from == bft_primary(r)) {
        bft_count(r, BFT_REPLICA_DROP_SENDER);
        return;
    }
    struct bft_slot *s = bft_slot_for(r, m.sequence);
    if (s == NULL || !bft_vote_take(r, from, &m, s->prepare_digests, &s->prepare_seen))
        return;
    if (s->has_content && memcmp(s->digest, m.digest, CRYPTO_DIGEST_BYTES) == 0) {
        s->prepare_match |= 1u << from;
        bft_slot_advance(r, s);
    }
}
