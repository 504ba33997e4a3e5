/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * REQUEST: bodies come from the client itself, which broadcasts them, or from a replica that was
 * asked for one or relays one. Those that are not executed yet are kept one per session.
 */
#include "bft/internal.h"

#include <stdlib.h>
#include <string.h>

bool bft_pending_init(struct bft_replica *r) {
    struct bft_pending_table *t = &r->pending;
    uint32_t clients = r->key_count - r->cfg.group.n, buckets = 1;
    while (buckets < r->cfg.pending_max)
        buckets *= 2;
    t->all = calloc(r->cfg.pending_max, sizeof *t->all);
    t->buckets = calloc(buckets, sizeof(struct bft_pending *));
    t->of_client = calloc(clients > 0 ? clients : 1, sizeof *t->of_client);
    t->bytes_of_client = calloc(clients > 0 ? clients : 1, sizeof *t->bytes_of_client);
    if (t->all == NULL || t->buckets == NULL || t->of_client == NULL || t->bytes_of_client == NULL)
        return false;
    t->bucket_mask = buckets - 1;
    /* design.md law 9: one client cannot take what belongs to the others. */
    t->share = r->cfg.pending_max / (clients > 0 ? clients : 1);
    t->share_bytes = r->cfg.memory_max_bytes / 2 / (clients > 0 ? clients : 1);
    if (t->share == 0)
        t->share = 1;
    for (uint32_t i = 0; i < r->cfg.pending_max; i++) {
        t->all[i].hash_next = t->free;
        t->free = &t->all[i];
    }
    return true;
}

void bft_pending_free(struct bft_replica *r) {
    for (uint32_t i = 0; r->pending.all != NULL && i < r->cfg.pending_max; i++)
        if (r->pending.all[i].req != NULL)
            bft_request_unref(r, r->pending.all[i].req);
    free(r->pending.all);
    free(r->pending.buckets);
    free(r->pending.of_client);
    free(r->pending.bytes_of_client);
}

void bft_request_unref(struct bft_replica *r, struct bft_request *req) {
    assert(req->refs > 0);
    if (--req->refs > 0)
        return;
    assert(r->body_bytes >= sizeof *req + req->len);
    r->body_bytes -= sizeof *req + req->len;
    free(req);
}

static struct bft_pending **bucket_of(const struct bft_replica *r,
                                      const struct bft_session_id *id) {
    uint64_t h =
        (id->epoch ^ (uint64_t)id->principal << 48 ^ (uint64_t)id->endpoint << 32 ^ id->index) *
        UINT64_C(0x9e3779b97f4a7c15);
    return &r->pending.buckets[(h >> 32) & r->pending.bucket_mask];
}

struct bft_pending *bft_pending_find(const struct bft_replica *r, const struct bft_session_id *id) {
    for (struct bft_pending *p = *bucket_of(r, id); p != NULL; p = p->hash_next)
        if (bft_same_session(&p->req->session, id))
            return p;
    return NULL;
}

void bft_pending_enqueue(struct bft_replica *r, struct bft_pending *p) {
    struct bft_pending_table *t = &r->pending;
    assert(!p->queued);
    p->queued = true;
    p->prev = t->tail;
    p->next = NULL;
    *(t->tail != NULL ? &t->tail->next : &t->head) = p;
    t->tail = p;
}

void bft_pending_dequeue(struct bft_replica *r, struct bft_pending *p) {
    struct bft_pending_table *t = &r->pending;
    if (!p->queued)
        return;
    *(p->prev != NULL ? &p->prev->next : &t->head) = p->next;
    *(p->next != NULL ? &p->next->prev : &t->tail) = p->prev;
    p->prev = p->next = NULL;
    p->queued = false;
}

static uint32_t *count_of_client(struct bft_replica *r, const struct bft_session_id *id) {
    return &r->pending.of_client[id->principal - r->cfg.group.n];
}

static size_t *bytes_of_client(struct bft_replica *r, const struct bft_session_id *id) {
    return &r->pending.bytes_of_client[id->principal - r->cfg.group.n];
}

/* The pending entry lets go of its request. */
static void pending_release(struct bft_replica *r, struct bft_pending *p) {
    assert(*bytes_of_client(r, &p->req->session) >= p->req->len);
    *bytes_of_client(r, &p->req->session) -= p->req->len;
    bft_request_unref(r, p->req);
}

void bft_pending_remove(struct bft_replica *r, struct bft_pending *p) {
    bft_pending_dequeue(r, p);
    struct bft_pending **at = bucket_of(r, &p->req->session);
    while (*at != p) {
        assert(*at != NULL);
        at = &(*at)->hash_next;
    }
    *at = p->hash_next;
    (*count_of_client(r, &p->req->session))--;
    r->pending.count--;
    pending_release(r, p);
    *p = (struct bft_pending){.hash_next = r->pending.free};
    r->pending.free = p;
}

void bft_pending_executed(struct bft_replica *r, const struct bft_session_id *id, uint64_t number) {
    struct bft_pending *p = bft_pending_find(r, id);
    if (p != NULL && p->req->number <= number)
        bft_pending_remove(r, p);
}

/* A backup can give up a body that no batch names yet: it can ask for it when one does. */
static bool evict_pending(struct bft_replica *r, uint16_t principal, bool any) {
    struct bft_pending *p = bft_is_primary(r) ? NULL : r->pending.head;
    while (p != NULL && !any && p->req->session.principal != principal)
        p = p->next;
    if (p == NULL)
        return false;
    bft_pending_remove(r, p);
    bft_count(r, BFT_REPLICA_BODIES_EVICTED);
    return true;
}

/* Bodies of executed batches are kept for laggards only. */
static bool evict_executed(struct bft_replica *r) {
    size_t before = r->body_bytes;
    while (r->bodies_from <= r->last_executed && r->body_bytes == before) {
        struct bft_slot *s = bft_slot_find(r, r->bodies_from++);
        if (s != NULL)
            bft_slot_release_bodies(r, s);
    }
    if (r->body_bytes == before)
        return false;
    bft_count(r, BFT_REPLICA_BODIES_EVICTED);
    return true;
}

/* Copies a request; NULL when there is no room for it (must: there always is). */
static struct bft_request *request_copy(struct bft_replica *r, const struct bft_request_msg *m,
                                        const uint8_t *data, size_t len, bool must) {
    size_t need = sizeof(struct bft_request) + len, limit = r->cfg.memory_max_bytes / 2;
    while (r->body_bytes + need > limit)
        if (!evict_executed(r) && !evict_pending(r, 0, true))
            break;
    if (r->body_bytes + need > limit && !must)
        return NULL;
    struct bft_request *req = malloc(need);
    if (req == NULL)
        return NULL;
    *req = (struct bft_request){.refs = 1,
                                .full_reply = (m->h.flags & BFT_FULL_REPLY) != 0,
                                .designated = m->h.designated,
                                .flags = m->flags,
                                .op_len = m->op_len,
                                .session = m->session,
                                .number = m->number,
                                .len = len};
    memcpy(req->message, data, len);
    req->op = req->message + (m->op - data);
    r->body_bytes += need;
    return req;
}

/* Whether the client's share has room for one more of that many bytes, after an eviction perhaps.
 */
static bool share_has_room(struct bft_replica *r, const struct bft_session_id *id, size_t len) {
    const struct bft_pending_table *t = &r->pending;
    for (;;) {
        uint32_t count = *count_of_client(r, id);
        /* One request may always wait, whatever its size. */
        if (count == 0 || (count < t->share && *bytes_of_client(r, id) + len <= t->share_bytes))
            return t->free != NULL || evict_pending(r, id->principal, false);
        if (!evict_pending(r, id->principal, false))
            return false;
    }
}

static struct bft_pending *pending_new(struct bft_replica *r, const struct bft_request *req) {
    if (!share_has_room(r, &req->session, req->len))
        return NULL;
    struct bft_pending *p = r->pending.free, **bucket = bucket_of(r, &req->session);
    r->pending.free = p->hash_next;
    *p = (struct bft_pending){.hash_next = *bucket};
    *bucket = p;
    (*count_of_client(r, &req->session))++;
    r->pending.count++;
    return p;
}

/* Makes req the session's pending request, in place of an older one. */
static bool pending_put(struct bft_replica *r, struct bft_request *req) {
    struct bft_pending *p = bft_pending_find(r, &req->session);
    if (p != NULL)
        pending_release(r, p);
    else
        p = pending_new(r, req);
    if (p == NULL) {
        bft_count(r, BFT_REPLICA_DROP_QUEUE_FULL);
        return false;
    }
    p->req = req;
    req->refs++;
    *bytes_of_client(r, &req->session) += req->len;
    p->relayed_us = 0;
    if (!p->queued)
        bft_pending_enqueue(r, p);
    return true;
}

static bool authenticator_ok(struct bft_replica *r, const struct bft_request_msg *m,
                             const uint8_t digest[CRYPTO_DIGEST_BYTES]) {
    uint8_t mac[CRYPTO_MAC_BYTES];
    struct crypto_mac *key = r->request_macs[m->session.principal];
    crypto_mac_begin(key);
    crypto_mac_update(key, digest, CRYPTO_DIGEST_BYTES);
    crypto_mac_final(key, mac);
    return crypto_equal(mac, m->macs + (size_t)r->cfg.self * CRYPTO_MAC_BYTES, sizeof mac);
}

/* A copy of a request that we have: its client did not get an answer. */
static void request_again(struct bft_replica *r, struct bft_pending *p,
                          const struct bft_request_msg *m) {
    bft_count(r, BFT_REPLICA_REQUESTS_DUPLICATE);
    if ((m->h.flags & BFT_FULL_REPLY) == 0)
        return; // the network's copy, not a retransmission
    p->req->full_reply = true;
    /* OSDI 4.4: "If the request has not already been processed ... the replica relays it to the
     * primary." */
    if (bft_is_primary(r) || !p->queued || r->now_us < p->relayed_us)
        return;
    p->relayed_us = r->now_us + r->cfg.status_us + p->req->op_len / BFT_SLOW_PATH_BYTES_PER_US;
    if (bft_answer_allowed(r, bft_primary(r), p->req->len))
        r->env.send(r->env.ctx, bft_primary(r), 0, p->req->message, p->req->len);
}

/* From a replica: the answer to a FETCH, or a backup's relay to the primary. */
static void request_relayed(struct bft_replica *r, const struct bft_request_msg *m,
                            const uint8_t *data, size_t len) {
    uint8_t digest[CRYPTO_DIGEST_BYTES];
    bool next_batch, known = false;
    crypto_digest_once(r->sha, m->digested, m->digested_len, digest);
    bool wanted = bft_wanted(r, &m->session, m->number, digest, &next_batch);
    const struct bft_pending *p = bft_pending_find(r, &m->session);
    if (p != NULL && p->req->number >= m->number)
        known = true;
    if (!wanted && (known || !bft_is_primary(r))) {
        bft_count(r, BFT_REPLICA_REQUESTS_DUPLICATE);
        return;
    }
    /*
     * A request that begins an endpoint's life must have come from the client itself: what a
     * replica relays might have been kept from a former life that nothing was executed of, and
     * would cut the present one off. (The datagram layer does not let a former life speak.)
     * Vouchers can stand in, see bft_slot_advance.
     */
    bool authentic = authenticator_ok(r, m, digest);
    if (!wanted && !authentic) {
        bft_count(r, BFT_REPLICA_DROP_AUTHENTICATOR);
        return;
    }
    if (bft_session_begins_epoch(r, &m->session)) {
        if (!wanted) {
            bft_count(r, BFT_REPLICA_DROP_OLD_REQUEST);
            return;
        }
        authentic = false;
    }
    struct bft_request *req = request_copy(r, m, data, len, next_batch);
    if (req == NULL) {
        bft_count(r, BFT_REPLICA_DROP_QUEUE_FULL);
        return;
    }
    memcpy(req->digest, digest, sizeof digest);
    req->authentic = authentic;
    if (!bft_wanted_attach(r, req) && pending_put(r, req))
        bft_propose(r);
    bft_request_unref(r, req);
}

/* Gives a client's request to the batches that name it, or lets it wait for one. */
static void request_take(struct bft_replica *r, struct bft_request *req) {
    struct bft_pending *p = bft_pending_find(r, &req->session);
    if (p == NULL || p->req->number < req->number) {
        /* Pending first: it makes later copies duplicates, also while the batch is under way. */
        bool next_batch;
        if (pending_put(r, req) &&
            bft_wanted(r, &req->session, req->number, req->digest, &next_batch))
            bft_pending_dequeue(r, bft_pending_find(r, &req->session));
    }
    bft_wanted_attach(r, req);
    bft_doubt_settle(r, req);
    bft_propose(r);
}

/* From the client, and new. */
static void request_direct(struct bft_replica *r, const struct bft_request_msg *m,
                           const uint8_t *data, size_t len) {
    uint8_t digest[CRYPTO_DIGEST_BYTES];
    bool next_batch;
    crypto_digest_once(r->sha, m->digested, m->digested_len, digest);
    if (!authenticator_ok(r, m, digest)) {
        bft_count(r, BFT_REPLICA_DROP_AUTHENTICATOR);
        return;
    }
    (void)bft_wanted(r, &m->session, m->number, digest, &next_batch);
    struct bft_request *req = request_copy(r, m, data, len, next_batch);
    if (req == NULL) {
        bft_count(r, BFT_REPLICA_DROP_QUEUE_FULL);
        return;
    }
    memcpy(req->digest, digest, sizeof digest);
    req->authentic = true;
    bft_count(r, BFT_REPLICA_REQUESTS);
    if ((m->flags & BFT_UNORDERED) != 0)
        bft_execute_unordered(r, req);
    else
        request_take(r, req);
    bft_request_unref(r, req);
}

static bool request_sender_ok(struct bft_replica *r, const struct bft_request_msg *m,
                              uint16_t principal, uint16_t endpoint) {
    const struct bft_group *g = &r->cfg.group;
    if (m->session.principal < g->n || m->session.principal >= r->key_count)
        return false;
    if (principal < g->n)
        return principal != r->cfg.self && (m->flags & BFT_UNORDERED) == 0;
    return principal == m->session.principal && endpoint == m->session.endpoint;
}

/* Deals with what needs no digest: true when the request is done with. */
static bool request_known(struct bft_replica *r, const struct bft_request_msg *m, bool direct) {
    struct bft_session *session;
    switch (bft_session_check(r, &m->session, m->number, &session)) {
    case BFT_SESSION_NEXT:
        break;
    case BFT_SESSION_LAST:
        /* OSDI 4.1: "If the request has already been processed, the replicas simply re-send the
         * reply; replicas remember the last reply message they sent to each client." */
        bft_count(r, BFT_REPLICA_REQUESTS_DUPLICATE);
        if (direct && (m->flags & BFT_UNORDERED) == 0)
            bft_reply_cached(r, session, (m->h.flags & BFT_FULL_REPLY) != 0);
        return true;
    case BFT_SESSION_OLD:
        bft_count(r, BFT_REPLICA_DROP_OLD_REQUEST);
        return true;
    case BFT_SESSION_NO_ROOM:
        bft_count(r, BFT_REPLICA_DROP_SESSIONS_FULL);
        return true;
    }
    struct bft_pending *p = direct ? bft_pending_find(r, &m->session) : NULL;
    if (p == NULL || m->number > p->req->number)
        return false;
    if (m->number == p->req->number)
        request_again(r, p, m);
    else if (r->wanted_count + r->doubted_count > 0)
        return false; // overtaken, but a batch may name it
    else
        bft_count(r, BFT_REPLICA_DROP_OLD_REQUEST);
    return true;
}

void bft_on_request(struct bft_replica *r, uint16_t principal, uint16_t endpoint,
                    const uint8_t *data, size_t len) {
    const struct bft_group *g = &r->cfg.group;
    struct bft_request_msg m;
    bool direct = principal >= g->n;
    if (!bft_decode_request(data, len, g->n, &m)) {
        bft_count(r, BFT_REPLICA_DROP_MALFORMED);
        return;
    }
    if (!request_sender_ok(r, &m, principal, endpoint)) {
        bft_count(r, BFT_REPLICA_DROP_SENDER);
        return;
    }
    if (m.h.incarnation != g->incarnation) {
        bft_count(r, BFT_REPLICA_DROP_INCARNATION);
        if (direct)
            bft_reply_incarnation(r, &m);
        return;
    }
    if (m.op_len > g->request_max_bytes) {
        bft_count(r, BFT_REPLICA_DROP_TOO_LARGE);
        return;
    }
    if ((m.flags & BFT_UNORDERED) != 0 && !g->read_optimisation) {
        bft_count(r, BFT_REPLICA_DROP_TYPE);
        return;
    }
    if (request_known(r, &m, direct))
        return;
    if (direct)
        request_direct(r, &m, data, len);
    else
        request_relayed(r, &m, data, len);
}
