/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * PRE-PREPARE: the primary gives a batch of requests a sequence number; backups accept it or not.
 */
#include "bft/internal.h"

#include <string.h>

/* OSDI 4.2: the primary "does not start the protocol immediately if the number of messages for
 * which the protocol is in progress exceeds a given maximum. In this case, it buffers the request",
 * and so batches form. */
static bool may_propose(struct bft_replica *r) {
    if (!bft_is_primary(r) || r->pending.head == NULL)
        return false;
    if (r->next_sequence <= r->last_executed)
        r->next_sequence = r->last_executed + 1;
    /* f+1 replicas have voted for what we do not remember proposing: we lost our memory in a
     * restart. Go on only after what they have, once we have executed it too. */
    uint64_t evidence = BFT_EVIDENCE(r, seen);
    if (evidence >= r->next_sequence) {
        if (r->last_executed < evidence)
            return false;
        r->next_sequence = evidence + 1;
    }
    return r->next_sequence - r->last_executed <= r->cfg.pipeline_max &&
           r->next_sequence - r->last_stable <= r->cfg.log_window;
}

/* Moves requests from the queue into the slot, first come first served; the bytes of their bodies
 * are limited too. */
static void fill_batch(struct bft_replica *r, struct bft_slot *s) {
    uint64_t bytes = 0;
    struct bft_session *session;
    while (r->pending.head != NULL && s->count < r->cfg.batch_max_requests) {
        struct bft_pending *p = r->pending.head;
        struct bft_request *req = p->req;
        if (bft_session_check(r, &req->session, req->number, &session) != BFT_SESSION_NEXT) {
            bft_pending_remove(r, p);
            continue;
        }
        bytes += req->op_len;
        if (s->count > 0 && bytes > r->cfg.group.request_max_bytes)
            return;
        struct bft_entry *e = &s->entries[s->count++];
        s->missing++;
        e->named = (struct bft_batch_entry){
            .session = req->session, .number = req->number, .op_len = req->op_len};
        memcpy(e->named.digest, req->digest, CRYPTO_DIGEST_BYTES);
        e->req = NULL;
        bft_attach(r, e, req);
        bft_pending_dequeue(r, p);
    }
}

size_t bft_encode_content(struct bft_replica *r, const struct bft_slot *s) {
    struct bft_pre_prepare_msg m = {.h = bft_header_of(r, BFT_MSG_PRE_PREPARE),
                                    .view = r->view,
                                    .sequence = s->sequence,
                                    .count = s->count};
    struct wire_writer w;
    wire_writer_init(&w, r->scratch, sizeof r->scratch);
    w.len = bft_encode_pre_prepare_head(r->scratch, sizeof r->scratch, &m);
    for (uint16_t i = 0; i < s->count; i++)
        bft_put_entry(&w, &s->entries[i].named);
    assert(!w.failed && w.len > BFT_BATCH_OFFSET);
    return w.len;
}

static void propose_one(struct bft_replica *r) {
    struct bft_slot *s = bft_slot_for(r, r->next_sequence);
    assert(s != NULL);
    r->next_sequence++;
    if (s->has_content || s->commit_digest_known)
        return; // a quorum went on without us
    fill_batch(r, s);
    if (s->count == 0) {
        r->next_sequence--;
        return;
    }
    size_t len = bft_encode_content(r, s);
    crypto_digest_once(r->sha, r->scratch + BFT_BATCH_OFFSET, len - BFT_BATCH_OFFSET, s->digest);
    s->has_content = s->from_primary = true;
    s->prepare_match = bft_vote_match(r, s->prepare_digests, s->prepare_seen, s->digest);
    s->commit_match = bft_vote_match(r, s->commit_digests, s->commit_seen, s->digest);
    if (r->highest_accepted < s->sequence)
        r->highest_accepted = s->sequence;
    bft_count(r, BFT_REPLICA_BATCHES);
    r->env.broadcast(r->env.ctx, r->scratch, len);
    bft_slot_advance(r, s);
}

void bft_propose(struct bft_replica *r) {
    while (may_propose(r))
        propose_one(r);
}

/* Whether the slot may take this content from that sender; counts why not. */
static bool acceptable(struct bft_replica *r, struct bft_slot *s, uint16_t from,
                       const uint8_t digest[CRYPTO_DIGEST_BYTES]) {
    bool committed_to =
        s->commit_digest_known && memcmp(s->commit_digest, digest, CRYPTO_DIGEST_BYTES) == 0;
    if (from != bft_primary(r) && !committed_to) {
        bft_count(r, BFT_REPLICA_DROP_SENDER);
        return false;
    }
    /* OSDI 4.2: a backup accepts a pre-prepare provided "it has not accepted a pre-prepare message
     * for view v and sequence number n containing a different digest". */
    bool same = s->has_content && memcmp(s->digest, digest, CRYPTO_DIGEST_BYTES) == 0;
    if ((s->has_content && !same) || (s->commit_digest_known && !committed_to)) {
        bft_count(r, BFT_REPLICA_DROP_CONFLICT);
        return false;
    }
    return true;
}

void bft_on_pre_prepare(struct bft_replica *r, uint16_t from, const uint8_t *data, size_t len) {
    struct bft_pre_prepare_msg m;
    uint8_t digest[CRYPTO_DIGEST_BYTES];
    if (!bft_decode_pre_prepare(data, len, &m) || m.count > r->cfg.batch_max_requests) {
        bft_count(r, BFT_REPLICA_DROP_MALFORMED);
        return;
    }
    if (!bft_from_group(r, from, &m.h))
        return;
    if (m.view != r->view) {
        bft_count(r, BFT_REPLICA_DROP_VIEW);
        return;
    }
    struct bft_slot *s = bft_slot_for(r, m.sequence);
    if (s == NULL)
        return;
    crypto_digest_once(r->sha, m.batch, m.batch_len, digest);
    if (!acceptable(r, s, from, digest))
        return;
    if (!s->has_content) {
        bft_slot_set_content(r, s, digest, &m);
        bft_fetch_schedule(r, s);
    }
    if (from == bft_primary(r)) {
        s->from_primary = true;
        if (r->peers[from].seen < m.sequence)
            r->peers[from].seen = m.sequence;
    }
    if (r->highest_accepted < m.sequence)
        r->highest_accepted = m.sequence;
    bft_slot_advance(r, s);
}
