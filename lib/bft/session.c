/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The table of sessions: what exactly-once execution needs to know. It is part of the replicated
 * state, so it changes only when an ordered request was executed, in the order of sigma: every
 * replica evicts the same session. (Only the bytes of cached replies are a replica's own affair.)
 *
 * A session that was evicted must not run its last request again when a copy of it turns up.
 * Clients number the requests of all their sessions from one counter, so an endpoint remembers the
 * largest number that it ever evicted and refuses a session that it does not know at or below it.
 * Likewise an endpoint remembers its former epochs: a request of a former life is old.
 */
#include "bft/internal.h"

#include <stdlib.h>
#include <string.h>

bool bft_sessions_init(struct bft_replica *r) {
    uint32_t clients = r->key_count - r->cfg.group.n, buckets = 1;
    while (buckets < r->cfg.sessions_max)
        buckets *= 2;
    r->session_mask = buckets - 1;
    r->clients = calloc(clients > 0 ? clients : 1, sizeof *r->clients);
    if (r->clients == NULL)
        return false;
    for (uint32_t i = 0; i < clients; i++) {
        struct bft_client_state *c = &r->clients[i];
        c->endpoints = calloc(BFT_ENDPOINTS_MAX, sizeof *c->endpoints);
        c->all = calloc(r->cfg.sessions_max, sizeof *c->all);
        c->buckets = calloc(buckets, sizeof(struct bft_session *));
        if (c->endpoints == NULL || c->all == NULL || c->buckets == NULL)
            return false;
        for (uint32_t k = 0; k < r->cfg.sessions_max; k++) {
            c->all[k].hash_next = c->free;
            c->free = &c->all[k];
        }
    }
    return true;
}

void bft_sessions_free(struct bft_replica *r) {
    uint32_t clients = r->key_count - r->cfg.group.n;
    for (uint32_t i = 0; r->clients != NULL && i < clients; i++) {
        struct bft_client_state *c = &r->clients[i];
        for (uint32_t k = 0; c->all != NULL && k < r->cfg.sessions_max; k++)
            free(c->all[k].reply);
        free(c->endpoints);
        free(c->all);
        free(c->buckets);
    }
    free(r->clients);
}

static struct bft_client_state *client_of(const struct bft_replica *r,
                                          const struct bft_session_id *id) {
    assert(id->principal >= r->cfg.group.n && id->principal < r->key_count);
    return &r->clients[id->principal - r->cfg.group.n];
}

static struct bft_endpoint *endpoint_find(const struct bft_client_state *c, uint16_t endpoint) {
    for (uint32_t i = 0; i < c->endpoint_count; i++)
        if (c->endpoints[i].endpoint == endpoint)
            return &c->endpoints[i];
    return NULL;
}

static bool epoch_retired(const struct bft_endpoint *ep, uint64_t epoch) {
    uint32_t count = ep->retired_count;
    if (count > BFT_EPOCHS_RETIRED)
        count = BFT_EPOCHS_RETIRED;
    for (uint32_t i = 0; i < count; i++)
        if (ep->retired[i] == epoch)
            return true;
    return false;
}

static struct bft_session **bucket_of(const struct bft_replica *r, const struct bft_client_state *c,
                                      const struct bft_session_id *id) {
    uint64_t h = ((uint64_t)id->endpoint << 32 | id->index) * UINT64_C(0x9e3779b97f4a7c15);
    return &c->buckets[(h >> 32) & r->session_mask];
}

static struct bft_session *session_find(const struct bft_replica *r,
                                        const struct bft_client_state *c,
                                        const struct bft_session_id *id) {
    for (struct bft_session *s = *bucket_of(r, c, id); s != NULL; s = s->hash_next)
        if (bft_same_session(&s->id, id))
            return s;
    return NULL;
}

enum bft_session_verdict bft_session_check(const struct bft_replica *r,
                                           const struct bft_session_id *id, uint64_t number,
                                           struct bft_session **session) {
    const struct bft_client_state *c = client_of(r, id);
    const struct bft_endpoint *ep = endpoint_find(c, id->endpoint);
    *session = NULL;
    if (ep == NULL)
        return c->endpoint_count < BFT_ENDPOINTS_MAX ? BFT_SESSION_NEXT : BFT_SESSION_NO_ROOM;
    if (ep->epoch != id->epoch)
        return epoch_retired(ep, id->epoch) ? BFT_SESSION_OLD : BFT_SESSION_NEXT;
    *session = session_find(r, c, id);
    if (*session == NULL)
        return number > ep->floor ? BFT_SESSION_NEXT : BFT_SESSION_OLD;
    /* OSDI 4.1: "timestamps for c's requests are totally ordered such that later requests have
     * higher timestamps than earlier ones" and replicas "discard requests whose timestamp is lower
     * than the timestamp in the last reply they sent to the client to guarantee exactly-once
     * semantics". */
    if (number == (*session)->number)
        return BFT_SESSION_LAST;
    return number > (*session)->number ? BFT_SESSION_NEXT : BFT_SESSION_OLD;
}

bool bft_session_begins_epoch(const struct bft_replica *r, const struct bft_session_id *id) {
    const struct bft_endpoint *ep = endpoint_find(client_of(r, id), id->endpoint);
    return ep == NULL || ep->epoch != id->epoch;
}

static void lru_unlink(struct bft_client_state *c, struct bft_session *s) {
    *(s->older != NULL ? &s->older->newer : &c->oldest) = s->newer;
    *(s->newer != NULL ? &s->newer->older : &c->newest) = s->older;
    s->older = s->newer = NULL;
}

static void lru_append(struct bft_client_state *c, struct bft_session *s) {
    s->older = c->newest;
    s->newer = NULL;
    *(c->newest != NULL ? &c->newest->newer : &c->oldest) = s;
    c->newest = s;
}

static void session_remove(struct bft_replica *r, struct bft_client_state *c,
                           struct bft_session *s) {
    struct bft_session **p = bucket_of(r, c, &s->id);
    while (*p != s) {
        assert(*p != NULL);
        p = &(*p)->hash_next;
    }
    *p = s->hash_next;
    lru_unlink(c, s);
    bft_reply_forget(r, s);
    assert(c->count > 0);
    c->count--;
    *s = (struct bft_session){.hash_next = c->free};
    c->free = s;
}

/* A life of the endpoint ends: its sessions go, and its epoch is remembered as a former one. */
static void epoch_retire(struct bft_replica *r, struct bft_client_state *c,
                         struct bft_endpoint *ep) {
    struct bft_session *next;
    for (struct bft_session *s = c->oldest; s != NULL; s = next) {
        next = s->newer;
        if (s->id.endpoint == ep->endpoint)
            session_remove(r, c, s);
    }
    ep->retired[ep->retired_count++ % BFT_EPOCHS_RETIRED] = ep->epoch;
    ep->floor = 0;
}

static struct bft_session *session_add(struct bft_replica *r, struct bft_client_state *c,
                                       const struct bft_session_id *id) {
    if (c->count == r->cfg.sessions_max) {
        struct bft_session *victim = c->oldest;
        struct bft_endpoint *ep = endpoint_find(c, victim->id.endpoint);
        assert(ep != NULL && ep->epoch == victim->id.epoch);
        if (ep->floor < victim->number)
            ep->floor = victim->number;
        session_remove(r, c, victim);
        bft_count(r, BFT_REPLICA_SESSIONS_EVICTED);
    }
    struct bft_session *s = c->free;
    assert(s != NULL);
    c->free = s->hash_next;
    *s = (struct bft_session){.id = *id};
    struct bft_session **bucket = bucket_of(r, c, id);
    s->hash_next = *bucket;
    *bucket = s;
    c->count++;
    return s;
}

struct bft_session *bft_session_executed(struct bft_replica *r, const struct bft_session_id *id,
                                         uint64_t number, uint64_t sigma) {
    struct bft_client_state *c = client_of(r, id);
    struct bft_endpoint *ep = endpoint_find(c, id->endpoint);
    if (ep == NULL) {
        assert(c->endpoint_count < BFT_ENDPOINTS_MAX);
        ep = &c->endpoints[c->endpoint_count++];
        *ep = (struct bft_endpoint){.endpoint = id->endpoint, .epoch = id->epoch};
    } else if (ep->epoch != id->epoch) {
        epoch_retire(r, c, ep);
        ep->epoch = id->epoch;
    }
    struct bft_session *s = session_find(r, c, id);
    if (s == NULL)
        s = session_add(r, c, id);
    else
        lru_unlink(c, s);
    assert(number > s->number);
    lru_append(c, s);
    s->number = number;
    s->sigma = sigma;
    s->resend_full_us = 0;
    return s;
}

static void digest_u64(struct crypto_digest *sha, uint64_t v) {
    uint8_t bytes[8];
    struct wire_writer w;
    wire_writer_init(&w, bytes, sizeof bytes);
    wire_put_u64(&w, v);
    crypto_digest_update(sha, bytes, sizeof bytes);
}

static void digest_session(struct crypto_digest *sha, const struct bft_session *s) {
    uint8_t bytes[24];
    struct wire_writer w;
    wire_writer_init(&w, bytes, sizeof bytes);
    wire_put_u32(&w, s->id.endpoint);
    wire_put_u32(&w, s->id.index);
    wire_put_u64(&w, s->number);
    wire_put_u64(&w, s->sigma);
    assert(!w.failed && w.len == sizeof bytes);
    crypto_digest_update(sha, bytes, sizeof bytes);
}

/*
 * Everything that decides whether a request is executed, in an order that all replicas share. Not
 * the replies: a replica whose backend failed has none.
 */
void bft_sessions_digest(struct bft_replica *r, uint8_t out[CRYPTO_DIGEST_BYTES]) {
    crypto_digest_begin(r->sha);
    for (uint32_t i = 0; i < r->key_count - r->cfg.group.n; i++) {
        const struct bft_client_state *c = &r->clients[i];
        digest_u64(r->sha, c->endpoint_count);
        for (uint32_t k = 0; k < c->endpoint_count; k++) {
            const struct bft_endpoint *ep = &c->endpoints[k];
            digest_u64(r->sha, ep->endpoint);
            digest_u64(r->sha, ep->epoch);
            digest_u64(r->sha, ep->floor);
            digest_u64(r->sha, ep->retired_count);
            for (uint32_t e = 0; e < ep->retired_count && e < BFT_EPOCHS_RETIRED; e++)
                digest_u64(r->sha, ep->retired[e]);
        }
        digest_u64(r->sha, c->count);
        for (const struct bft_session *s = c->oldest; s != NULL; s = s->newer)
            digest_session(r->sha, s);
    }
    crypto_digest_final(r->sha, out);
}
