/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * FETCH-REQUEST: a batch names a request whose body has not come (law 9 bounds how often one asks
 * and what is answered). The body is usually on its way from the client, so a replica waits for it
 * a while, then asks the primary, then the others in turn.
 */
#include "bft/internal.h"

static uint64_t fetch_delay(const struct bft_replica *r, const struct bft_slot *s) {
    uint64_t bytes = 0;
    for (uint16_t i = 0; i < s->count; i++)
        if (s->entries[i].req == NULL &&
            s->entries[i].named.op_len <= r->cfg.group.request_max_bytes)
            bytes += s->entries[i].named.op_len;
    uint32_t doublings = s->fetch_attempts < 4 ? s->fetch_attempts : 4;
    return ((uint64_t)(r->cfg.status_us / 8 + 1) << doublings) + bytes / BFT_SLOW_PATH_BYTES_PER_US;
}

void bft_fetch_schedule(struct bft_replica *r, struct bft_slot *s) {
    if (s->missing == 0)
        return;
    s->fetch_us = r->now_us + fetch_delay(r, s);
    if (s->fetch_us < r->fetch_us)
        r->fetch_us = s->fetch_us;
}

static void fetch_slot(struct bft_replica *r, struct bft_slot *s) {
    uint32_t n = r->cfg.group.n;
    uint16_t to = (uint16_t)((bft_primary(r) + s->fetch_attempts) % n);
    if (to == r->cfg.self)
        to = (uint16_t)((to + 1) % n);
    if (s->fetch_attempts < UINT8_MAX)
        s->fetch_attempts++;
    else
        s->fetch_attempts = (uint8_t)n; // keeps going round
    for (uint16_t i = 0; i < s->count && to != r->cfg.self; i++) {
        const struct bft_entry *e = &s->entries[i];
        if (e->req != NULL)
            continue;
        uint8_t out[BFT_FETCH_BYTES];
        struct bft_fetch_msg m = {.h = bft_header_of(r, BFT_MSG_FETCH_REQUEST),
                                  .sequence = s->sequence,
                                  .session = e->named.session,
                                  .number = e->named.number};
        for (size_t b = 0; b < sizeof m.digest; b++)
            m.digest[b] = e->named.digest[b];
        size_t len = bft_encode_fetch(out, sizeof out, &m);
        bft_count(r, BFT_REPLICA_FETCHES_SENT);
        r->env.send(r->env.ctx, to, 0, out, len);
    }
}

void bft_fetch_timer(struct bft_replica *r) {
    if (r->now_us < r->fetch_us)
        return;
    r->fetch_us = UINT64_MAX;
    if (r->wanted_count == 0)
        return;
    uint64_t end = r->last_stable + r->cfg.log_window;
    for (uint64_t seq = r->last_executed + 1; seq <= end; seq++) {
        struct bft_slot *s = bft_slot_find(r, seq);
        if (s == NULL || s->missing == 0)
            continue;
        if (s->fetch_us <= r->now_us) {
            fetch_slot(r, s);
            bft_fetch_schedule(r, s);
        } else if (s->fetch_us < r->fetch_us) {
            r->fetch_us = s->fetch_us;
        }
    }
}

static const struct bft_request *body_of(const struct bft_replica *r,
                                         const struct bft_fetch_msg *m) {
    const struct bft_slot *s = bft_slot_find(r, m->sequence);
    for (uint16_t i = 0; s != NULL && i < s->count; i++)
        if (s->entries[i].req != NULL &&
            crypto_equal(s->entries[i].req->digest, m->digest, CRYPTO_DIGEST_BYTES))
            return s->entries[i].req;
    const struct bft_pending *p = bft_pending_find(r, &m->session);
    if (p != NULL && crypto_equal(p->req->digest, m->digest, CRYPTO_DIGEST_BYTES))
        return p->req;
    return NULL;
}

void bft_on_fetch(struct bft_replica *r, uint16_t from, const uint8_t *data, size_t len) {
    struct bft_fetch_msg m;
    if (!bft_decode_fetch(data, len, &m)) {
        bft_count(r, BFT_REPLICA_DROP_MALFORMED);
        return;
    }
    if (!bft_from_group(r, from, &m.h))
        return;
    const struct bft_request *req = body_of(r, &m);
    if (req == NULL || !bft_answer_allowed(r, from, req->len))
        return;
    bft_count(r, BFT_REPLICA_RETRANSMITTED);
    r->env.send(r->env.ctx, from, 0, req->message, req->len);
}
