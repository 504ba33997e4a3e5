/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The log: a ring of slots, one per sequence number in (last_stable - retain_batches, last_stable +
 * log_window], and the chains that lead from the digest of a request to the entries which wait for
 * its body.
 */
#include "bft/internal.h"

#include <stdlib.h>
#include <string.h>

bool bft_log_init(struct bft_replica *r) {
    const struct bft_replica_config *cfg = &r->cfg;
    uint32_t n = cfg->group.n;
    r->slot_count = cfg->log_window + cfg->retain_batches;
    r->slots = calloc(r->slot_count, sizeof *r->slots);
    r->entries = calloc((size_t)r->slot_count * cfg->batch_max_requests, sizeof *r->entries);
    r->vote_digests = calloc((size_t)r->slot_count * 2 * n, sizeof *r->vote_digests);
    if (r->slots == NULL || r->entries == NULL || r->vote_digests == NULL)
        return false;
    for (uint32_t i = 0; i < r->slot_count; i++) {
        struct bft_slot *s = &r->slots[i];
        s->entries = r->entries + (size_t)i * cfg->batch_max_requests;
        s->prepare_digests = r->vote_digests + (size_t)i * 2 * n;
        s->commit_digests = s->prepare_digests + n;
        for (uint32_t k = 0; k < cfg->batch_max_requests; k++)
            s->entries[k].slot = s;
    }
    r->bodies_from = 1;
    return true;
}

void bft_log_free(struct bft_replica *r) {
    for (uint32_t i = 0; r->slots != NULL && i < r->slot_count; i++)
        bft_slot_release_bodies(r, &r->slots[i]);
    free(r->slots);
    free(r->entries);
    free(r->vote_digests);
}

struct bft_slot *bft_slot_find(const struct bft_replica *r, uint64_t sequence) {
    struct bft_slot *s = &r->slots[sequence % r->slot_count];
    return s->sequence == sequence && sequence > 0 ? s : NULL;
}

/* Empties a slot but for its arrays. */
static void slot_reset(struct bft_slot *s, uint64_t sequence) {
    *s = (struct bft_slot){.sequence = sequence,
                           .entries = s->entries,
                           .prepare_digests = s->prepare_digests,
                           .commit_digests = s->commit_digests};
}

struct bft_slot *bft_slot_for(struct bft_replica *r, uint64_t sequence) {
    /* OSDI 4.2: "the sequence number in the pre-prepare message is between a low water mark, h, and
     * a high water mark, H"; 4.2 asks the same of prepares and commits. */
    if (sequence <= r->last_stable || sequence - r->last_stable > r->cfg.log_window) {
        bft_count(r, BFT_REPLICA_DROP_WATERMARK);
        return NULL;
    }
    if (sequence <= r->last_executed)
        return NULL; // late, and no loss: it is decided
    struct bft_slot *s = &r->slots[sequence % r->slot_count];
    if (s->sequence != sequence) {
        assert(s->sequence == 0);
        slot_reset(s, sequence);
    }
    return s;
}

static struct bft_entry **wanted_bucket(struct bft_replica *r,
                                        const uint8_t digest[CRYPTO_DIGEST_BYTES]) {
    uint32_t h;
    memcpy(&h, digest, sizeof h);
    return &r->wanted[h % BFT_WANTED_BUCKETS];
}

static void wanted_add(struct bft_replica *r, struct bft_entry *e) {
    struct bft_entry **head = wanted_bucket(r, e->named.digest);
    e->wanted_next = *head;
    *head = e;
    r->wanted_count++;
}

static void wanted_remove(struct bft_replica *r, struct bft_entry *e) {
    struct bft_entry **p = wanted_bucket(r, e->named.digest);
    while (*p != e) {
        assert(*p != NULL);
        p = &(*p)->wanted_next;
    }
    *p = e->wanted_next;
    e->wanted_next = NULL;
    assert(r->wanted_count > 0);
    r->wanted_count--;
}

static bool entry_names(const struct bft_entry *e, const struct bft_session_id *session,
                        uint64_t number, const uint8_t digest[CRYPTO_DIGEST_BYTES]) {
    return memcmp(e->named.digest, digest, CRYPTO_DIGEST_BYTES) == 0 && e->named.number == number &&
           bft_same_session(&e->named.session, session);
}

bool bft_wanted(struct bft_replica *r, const struct bft_session_id *session, uint64_t number,
                const uint8_t digest[CRYPTO_DIGEST_BYTES], bool *next_batch) {
    bool wanted = false;
    *next_batch = false;
    if (r->wanted_count == 0)
        return false;
    for (const struct bft_entry *e = *wanted_bucket(r, digest); e != NULL; e = e->wanted_next) {
        if (!entry_names(e, session, number, digest))
            continue;
        wanted = true;
        *next_batch |= e->slot->sequence == r->last_executed + 1;
    }
    return wanted;
}

void bft_attach(struct bft_replica *r, struct bft_entry *e, struct bft_request *req) {
    assert(e->req == NULL && e->slot->missing > 0);
    e->req = req;
    req->refs++;
    e->slot->missing--;
    e->doubted = !req->authentic;
    if (e->doubted) {
        e->slot->doubted++;
        r->doubted_count++;
    }
}

static void stop_doubting(struct bft_replica *r, struct bft_slot *s) {
    if (s->doubted == 0)
        return;
    assert(r->doubted_count >= s->doubted);
    r->doubted_count -= s->doubted;
    s->doubted = 0;
    for (uint16_t i = 0; i < s->count; i++)
        s->entries[i].doubted = false;
}

void bft_doubt_settle(struct bft_replica *r, const struct bft_request *req) {
    if (r->doubted_count == 0)
        return;
    for (uint64_t seq = r->last_executed + 1; seq <= r->highest_accepted; seq++) {
        struct bft_slot *s = bft_slot_find(r, seq);
        bool settled = false;
        for (uint16_t i = 0; s != NULL && s->doubted > 0 && i < s->count; i++) {
            struct bft_entry *e = &s->entries[i];
            if (!e->doubted || memcmp(e->named.digest, req->digest, CRYPTO_DIGEST_BYTES) != 0)
                continue;
            e->doubted = false;
            s->doubted--;
            r->doubted_count--;
            settled = true;
        }
        if (settled)
            bft_slot_advance(r, s);
    }
}

bool bft_wanted_attach(struct bft_replica *r, struct bft_request *req) {
    struct bft_slot *touched[BFT_BATCH_MAX];
    uint32_t count = 0;
    if (r->wanted_count == 0)
        return false;
    struct bft_entry *e = *wanted_bucket(r, req->digest);
    while (e != NULL && count < BFT_BATCH_MAX) {
        struct bft_entry *next = e->wanted_next;
        if (entry_names(e, &req->session, req->number, req->digest)) {
            wanted_remove(r, e);
            bft_attach(r, e, req);
            touched[count++] = e->slot;
        }
        e = next;
    }
    for (uint32_t i = 0; i < count; i++)
        bft_slot_advance(r, touched[i]);
    return count > 0;
}

void bft_slot_set_content(struct bft_replica *r, struct bft_slot *s,
                          const uint8_t digest[CRYPTO_DIGEST_BYTES],
                          const struct bft_pre_prepare_msg *m) {
    struct wire_reader entries = m->entries;
    assert(!s->has_content && m->count <= r->cfg.batch_max_requests);
    s->has_content = true;
    memcpy(s->digest, digest, CRYPTO_DIGEST_BYTES);
    s->count = m->count;
    s->missing = m->count;
    s->doubted = 0;
    s->prepare_match = bft_vote_match(r, s->prepare_digests, s->prepare_seen, digest);
    s->commit_match = bft_vote_match(r, s->commit_digests, s->commit_seen, digest);
    for (uint16_t i = 0; i < s->count; i++) {
        struct bft_entry *e = &s->entries[i];
        bft_get_entry(&entries, &e->named);
        e->req = NULL;
        e->doubted = false;
        struct bft_pending *p = bft_pending_find(r, &e->named.session);
        if (p != NULL && entry_names(e, &p->req->session, p->req->number, p->req->digest)) {
            bft_attach(r, e, p->req);
            bft_pending_dequeue(r, p);
        } else {
            wanted_add(r, e);
        }
    }
    assert(!entries.failed);
}

/* Forgets the batch of a slot (never that we voted for it): a quorum has committed another one. */
void bft_slot_drop_content(struct bft_replica *r, struct bft_slot *s) {
    assert(s->has_content && !s->committed && !s->executed);
    for (uint16_t i = 0; i < s->count; i++) {
        struct bft_entry *e = &s->entries[i];
        if (e->req == NULL) {
            wanted_remove(r, e);
            continue;
        }
        struct bft_pending *p = bft_pending_find(r, &e->named.session);
        if (p != NULL && p->req == e->req && !p->queued)
            bft_pending_enqueue(r, p);
        bft_request_unref(r, e->req);
        e->req = NULL;
    }
    stop_doubting(r, s);
    s->has_content = s->from_primary = s->prepared = false;
    s->count = s->missing = 0;
    s->prepare_match = s->commit_match = 0;
}

void bft_slot_release_bodies(struct bft_replica *r, struct bft_slot *s) {
    for (uint16_t i = 0; i < s->count; i++) {
        if (s->entries[i].req != NULL)
            bft_request_unref(r, s->entries[i].req);
        s->entries[i].req = NULL;
    }
}

void bft_log_truncate(struct bft_replica *r, uint64_t from_stable, uint64_t to_stable) {
    /* OSDI 4.3: "the replica discards all pre-prepare, prepare, and commit messages with sequence
     * number less than or equal to n from its log" - here retain_batches later, for the sake of
     * laggards. */
    uint64_t retain = r->cfg.retain_batches;
    uint64_t first = from_stable > retain ? from_stable - retain + 1 : 1;
    for (uint64_t seq = first; seq + retain <= to_stable; seq++) {
        struct bft_slot *s = bft_slot_find(r, seq);
        if (s == NULL)
            continue;
        assert(s->executed);
        bft_slot_release_bodies(r, s);
        slot_reset(s, 0);
    }
}

uint64_t bft_log_oldest(const struct bft_replica *r) {
    uint64_t retain = r->cfg.retain_batches;
    return r->last_stable > retain ? r->last_stable - retain + 1 : 1;
}

/* Votes of other replicas for the slot's batch: with f+1 of them one is of a correct replica. */
static uint32_t vouchers(const struct bft_replica *r, const struct bft_slot *s) {
    uint32_t mask = s->prepare_match | s->commit_match;
    if (s->from_primary)
        mask |= 1u << bft_primary(r);
    return bft_votes(mask & ~(1u << r->cfg.self));
}

void bft_slot_advance(struct bft_replica *r, struct bft_slot *s) {
    if (!s->has_content || s->executed)
        return;
    /* TOCS 3.2.2: a request whose authenticator fails at one backup (a faulty client can make it
     * so) is taken for authentic when f+1 others vouch for it, so that it cannot block the
     * sequence. */
    if (s->doubted > 0 && vouchers(r, s) > r->cfg.group.f)
        stop_doubting(r, s);
    if (s->missing == 0 && s->doubted == 0) {
        if (!s->sent_prepare && s->from_primary && !bft_is_primary(r))
            bft_send_prepare(r, s);
        /* OSDI 4.2: "prepared(m, v, n, i) [is] true if and only if replica i has inserted in its
         * log: the request m, a pre-prepare for m in view v with sequence number n, and 2f prepares
         * from different backups that match the pre-prepare". */
        if (!s->prepared && s->from_primary && bft_votes(s->prepare_match) >= r->quorum - 1)
            s->prepared = true;
        if (s->prepared && !s->sent_commit)
            bft_send_commit(r, s);
    }
    /* OSDI 4.2: "committed-local(m, v, n, i) is true if and only if prepared(m, v, n, i) is true
     * and i has accepted 2f+1 commits (possibly including its own) from different replicas that
     * match the pre-prepare". 2f+1 commits alone say that f+1 correct replicas prepared: enough for
     * a laggard. */
    if (!s->committed && bft_votes(s->commit_match) >= r->quorum)
        s->committed = true;
    if (!s->committed || s->missing > 0)
        return;
    stop_doubting(r, s);
    /* Who got here without these steps takes them now: a laggard may need this very vote. It is
     * decided, so no other vote can be right. */
    if (!s->sent_prepare && !bft_is_primary(r))
        bft_send_prepare(r, s);
    if (!s->sent_commit)
        bft_send_commit(r, s);
    bft_execute(r);
}
