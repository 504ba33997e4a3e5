/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Execution: committed batches strictly in order, one request after the other; unordered reads
 * between.
 */
#include "bft/internal.h"

#include <stdlib.h>

/* Tickets: unordered reads have the top bit, the generation of their place, and its index. */
#define UNORDERED_TICKET (UINT64_C(1) << 63)

bool bft_unordered_init(struct bft_replica *r) {
    r->unordered = calloc(BFT_UNORDERED_MAX, sizeof *r->unordered);
    return r->unordered != NULL;
}

void bft_unordered_free(struct bft_replica *r) {
    for (uint32_t i = 0; r->unordered != NULL && i < BFT_UNORDERED_MAX; i++)
        if (r->unordered[i].req != NULL)
            bft_request_unref(r, r->unordered[i].req);
    free(r->unordered);
}

static struct bft_execution execution_of(const struct bft_request *req, uint64_t ticket,
                                         uint64_t sigma) {
    return (struct bft_execution){.ticket = ticket,
                                  .sigma = sigma,
                                  .read = (req->flags & BFT_READ) != 0,
                                  .session = req->session,
                                  .number = req->number,
                                  .op = req->op,
                                  .op_len = req->op_len};
}

/*
 * OSDI 4.2: "Each replica i executes the operation requested by m after committed-local(m, v, n, i)
 * is true and i's state reflects the sequential execution of all requests with lower sequence
 * numbers."
 */
static struct bft_slot *next_batch(const struct bft_replica *r) {
    struct bft_slot *s = bft_slot_find(r, r->last_executed + 1);
    return s != NULL && s->committed && s->has_content && s->missing == 0 ? s : NULL;
}

static void batch_executed(struct bft_replica *r, struct bft_slot *s) {
    s->executed = true;
    r->last_executed = s->sequence;
    r->execute_index = 0;
    if (s->sequence % r->cfg.checkpoint_interval == 0)
        bft_checkpoint_take(r, s->sequence);
    bft_propose(r);
}

static void execute_entry(struct bft_replica *r, struct bft_slot *s) {
    const struct bft_request *req = s->entries[r->execute_index].req;
    struct bft_session *session;
    /* A faulty primary may order a request twice: everybody skips it alike. */
    bool next = bft_session_check(r, &req->session, req->number, &session) == BFT_SESSION_NEXT;
    if (!next || (req->flags & BFT_UNORDERED) != 0) {
        r->execute_index++;
        return;
    }
    r->executing = true;
    r->ticket++;
    r->execution = execution_of(req, r->ticket, BFT_SIGMA(s->sequence, r->execute_index));
    r->env.execute(r->env.ctx, &r->execution);
}

void bft_execute(struct bft_replica *r) {
    if (r->in_execute)
        return; // called from inside: the loop below goes on
    r->in_execute = true;
    struct bft_slot *s;
    while (!r->executing && (s = next_batch(r)) != NULL) {
        if (r->execute_index < s->count)
            execute_entry(r, s);
        else
            batch_executed(r, s);
    }
    r->in_execute = false;
}

static void ordered_executed(struct bft_replica *r, const uint8_t *result, size_t len) {
    struct bft_slot *s = bft_slot_find(r, r->last_executed + 1);
    assert(s != NULL && r->execute_index < s->count);
    struct bft_request *req = s->entries[r->execute_index].req;
    uint64_t sigma = BFT_SIGMA(s->sequence, r->execute_index);
    r->executing = false;
    r->execute_index++;
    bft_count(r, BFT_REPLICA_EXECUTED);
    struct bft_session *session = bft_session_executed(r, &req->session, req->number, sigma);
    bft_reply_ordered(r, session, req, result, len);
    bft_pending_executed(r, &req->session, req->number);
    bft_execute(r);
}

void bft_execute_unordered(struct bft_replica *r, struct bft_request *req) {
    uint32_t i = 0, clients = r->key_count - r->cfg.group.n;
    struct bft_client_state *client = &r->clients[req->session.principal - r->cfg.group.n];
    while (i < BFT_UNORDERED_MAX && r->unordered[(r->unordered_hint + i) % BFT_UNORDERED_MAX].req)
        i++;
    /* design.md law 9: one client cannot take what belongs to the others. */
    if (i == BFT_UNORDERED_MAX || client->unordered >= BFT_UNORDERED_MAX / clients) {
        bft_count(r, BFT_REPLICA_DROP_QUEUE_FULL);
        return;
    }
    i = (r->unordered_hint + i) % BFT_UNORDERED_MAX;
    r->unordered_hint = i + 1;
    struct bft_unordered *u = &r->unordered[i];
    u->req = req;
    u->generation++;
    req->refs++;
    client->unordered++;
    uint64_t ticket = UNORDERED_TICKET | (uint64_t)(u->generation & 0x7fffffff) << 32 | i;
    u->execution = execution_of(req, ticket, 0);
    r->env.execute(r->env.ctx, &u->execution);
}

static void unordered_executed(struct bft_replica *r, uint64_t ticket, const uint8_t *result,
                               size_t len) {
    struct bft_unordered *u = &r->unordered[(uint32_t)ticket % BFT_UNORDERED_MAX];
    struct bft_request *req = u->req;
    assert(req != NULL && (u->generation & 0x7fffffff) == (ticket >> 32 & 0x7fffffff));
    u->req = NULL;
    r->clients[req->session.principal - r->cfg.group.n].unordered--;
    bft_count(r, BFT_REPLICA_EXECUTED_UNORDERED);
    bft_reply_unordered(r, req, result, len);
    bft_request_unref(r, req);
}

void bft_replica_executed(struct bft_replica *r, uint64_t ticket, const uint8_t *result,
                          size_t result_len, uint64_t now_us) {
    if (now_us > r->now_us)
        r->now_us = now_us;
    if ((ticket & UNORDERED_TICKET) != 0) {
        unordered_executed(r, ticket, result, result_len);
        return;
    }
    assert(r->executing && ticket == r->ticket);
    ordered_executed(r, result, result_len);
}
