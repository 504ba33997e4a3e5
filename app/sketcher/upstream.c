/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Fast reads: pooled persistent connections to the replicas' web servers, one request on each at a
 * time. The replica was drawn by the life cycle; nothing here ever asks another one (design.md law
 * 5, S21): a full pool makes the request wait, a kept connection found dead is replaced by a new
 * one to the same replica.
 */
#include "shell.h"

#include <rte_branch_prediction.h>
#include <string.h>

#define PORT_FIRST 10240u

static const struct tcp_handlers upstream_handlers;

static void head_release(struct upstream *u) {
    if (u->head != NULL)
        block_put(u->w, u->head);
    u->head = NULL;
    u->head_len = 0;
}

/* ---- the request's side ---- */

static void answer_drop(struct request *r) {
    if (r->answer_head != NULL)
        block_put(r->w, r->answer_head);
    r->answer_head = NULL;
    buf_chain_free(&r->answer_body, &r->w->l.pool);
}

static void request_failed(struct request *r, enum sketcher_failure why) {
    answer_drop(r);
    timed_clear(r->w, &r->timer);
    r->upstream = NULL;
    request_run(r, sketcher_fast_failed(r->w->core, &r->life, why, r->w->l.now_us));
}

/* Sends the request on an established connection. The op is kept: a replicated read may follow. */
static void upstream_send(struct upstream *u, struct request *r) {
    struct worker *w = u->w;
    u->request = r;
    r->upstream = u;
    u->state = UPSTREAM_HEAD;
    u->heard = false;
    u->asked_us = w->l.now_us;
    timed_set(w, &u->timer, LIST_UPSTREAM_RESPONSE);
    if (!r->life.read) { // a write in mode balance: nothing follows it
        tcp_send_chain(u->conn, &r->op);
        return;
    }
    for (const struct buf *b = r->op.head; b != NULL; b = b->next)
        if (tcp_send(u->conn, b->data + b->off, b->len) != b->len) {
            tcp_abort(u->conn); // on_closed fails the request
            return;
        }
}

static struct upstream *upstream_connect(struct worker *w, uint32_t replica) {
    const struct config *cfg = &w->l.app->cfg;
    const struct group_endpoint *to = &cfg->group.replica_http[replica];
    void *memory;
    if (atomic_load_explicit(&w->l.app->stop, memory_order_relaxed) ||
        rte_mempool_get(w->upstreams, &memory) != 0)
        return NULL;
    struct upstream *u = memory;
    memset(u, 0, sizeof *u);
    u->w = w;
    u->replica = (uint16_t)replica;
    u->state = UPSTREAM_CONNECTING;
    for (int tries = 0; tries < 16 && u->conn == NULL; tries++) {
        // Ports congruent to the worker's index name their owner (design.md §6).
        uint32_t port = w->next_port + cfg->workers;
        w->next_port = (uint16_t)(port > 65535 ? PORT_FIRST - PORT_FIRST % cfg->workers +
                                                     cfg->workers + w->l.index
                                               : port);
        u->conn = tcp_connect(w->l.stack, cfg->ports[app_replica_side(w->l.app)].addr, w->next_port,
                              to->addr, to->port, &upstream_handlers, u, w->l.now_us);
    }
    if (u->conn == NULL) {
        rte_mempool_put(w->upstreams, u);
        return NULL;
    }
    w->replica[replica].connections++;
    timed_set(w, &u->timer, LIST_UPSTREAM_CONNECT);
    count(&w->l, SHELL_UPSTREAM_OPENED);
    return u;
}

static bool upstream_open_for(struct request *r) {
    struct upstream *u = upstream_connect(r->w, r->life.replica);
    if (u == NULL)
        return false;
    u->request = r;
    r->upstream = u;
    return true;
}

void upstream_ask(struct request *r) {
    struct worker *w = r->w;
    struct replica_pool *pool = &w->replica[r->life.replica];
    struct upstream *u = TAILQ_FIRST(&pool->idle);
    if (likely(u != NULL)) {
        TAILQ_REMOVE(&pool->idle, u, link);
        upstream_send(u, r);
        return;
    }
    if (pool->connections < w->l.app->cfg.upstream_max && upstream_open_for(r))
        return;
    if (pool->connections == 0) {
        request_failed(r, SKETCHER_FAILED_LOCAL);
        return;
    }
    count(&w->l, SHELL_UPSTREAM_WAITED);
    TAILQ_INSERT_TAIL(&pool->waiting, r, link);
    pool->waiting_count++;
    timed_set(w, &r->timer, LIST_REQUEST_WAITING);
}

static void waiting_remove(struct request *r) {
    struct replica_pool *pool = &r->w->replica[r->life.replica];
    TAILQ_REMOVE(&pool->waiting, r, link);
    pool->waiting_count--;
    timed_clear(r->w, &r->timer);
}

void upstream_waiting_timeout(struct request *r) {
    waiting_remove(r);
    request_failed(r, SKETCHER_FAILED_LOCAL);
}

/* A connection is free, or there is room for one more. */
static void serve_waiting(struct worker *w, uint32_t replica) {
    struct replica_pool *pool = &w->replica[replica];
    struct request *r = TAILQ_FIRST(&pool->waiting);
    if (likely(r == NULL))
        return;
    struct upstream *u = TAILQ_FIRST(&pool->idle);
    if (u == NULL && pool->connections >= w->l.app->cfg.upstream_max)
        return;
    waiting_remove(r);
    upstream_ask(r);
}

static void upstream_idle(struct upstream *u) {
    struct replica_pool *pool = &u->w->replica[u->replica];
    u->state = UPSTREAM_IDLE;
    u->request = NULL;
    TAILQ_INSERT_HEAD(&pool->idle, u, link);
    timed_set(u->w, &u->timer, LIST_UPSTREAM_IDLE);
    serve_waiting(u->w, u->replica);
}

/* ---- the answer ---- */

/* A mismatched answer is kept for the record until agreement has spoken, as far as there is room.
 */
static void answer_keep(struct request *r, const struct answer *a) {
    struct worker *w = r->w;
    if (r->answer_head == NULL) {
        if ((r->answer_head = block_get(w)) == NULL)
            return;
        memcpy(r->answer_head, a->head, a->head_len);
        r->answer_head_len = (uint32_t)a->head_len;
    }
    if (a->flat != NULL && !buf_chain_append(&r->answer_body, &w->l.pool, a->flat, a->body_len)) {
        block_put(w, r->answer_head);
        r->answer_head = NULL;
    }
}

static void sketch_answer(struct request *r, const struct answer *a, struct sketch_tag *tag) {
    struct sketch *s = sketcher_worker_sketch(r->w->core);
    sketch_response_begin(s, &r->life.key, a->head, a->head_len);
    if (a->flat != NULL)
        sketch_response_body(s, a->flat, a->body_len);
    else
        for (const struct buf *b = a->chain->head; b != NULL; b = b->next)
            sketch_response_body(s, b->data + b->off, b->len);
    sketch_response_final(s, a->body_len, tag);
}

/* The replica has answered in full: Algorithm 1 between (2) and (4). */
static void answer_complete(struct request *r, struct answer *a) {
    struct worker *w = r->w;
    struct sketch_tag tag = {0};
    r->upstream = NULL;
    if (r->life.checked)
        sketch_answer(r, a, &tag);
    enum sketcher_step step = sketcher_fast_answered(w->core, &r->life, &tag, w->l.now_us);
    if (likely(step == SKETCHER_STEP_RELEASE_FAST)) {
        if (likely(r->client != NULL))
            respond_answer(r, a);
        else
            request_free(r);
        return;
    }
    if (r->life.mismatched)
        answer_keep(r, a);
    else
        answer_drop(r);
    request_run(r, step);
}

/* Ends the exchange on the connection and hands the answer on. */
static void upstream_done(struct upstream *u, struct answer *a) {
    struct request *r = u->request;
    struct tcp_conn *conn = u->conn;
    bool keep = u->keep;
    u->request = NULL;
    u->used = true;
    head_release(u);
    // First the answer: its head lies in the worker's scratch, which the next request writes over.
    answer_complete(r, a);
    if (keep)
        upstream_idle(u);
    else
        tcp_abort(conn); // all was read; nobody waits for a FIN
}

static void upstream_fail(struct upstream *u, enum sketcher_failure why) {
    struct request *r = u->request;
    u->request = NULL;
    if (r != NULL)
        request_failed(r, why);
    tcp_abort(u->conn);
}

/* A byte of the body, from data; false: over the limit or out of chunks (the exchange has ended).
 */
static bool body_append(struct upstream *u, const uint8_t *data, size_t len) {
    struct request *r = u->request;
    struct worker *w = u->w;
    if (r->answer_body.len + len > w->l.app->cfg.group.response_max_bytes) {
        upstream_fail(u, SKETCHER_FAILED_TOO_LARGE);
        return false;
    }
    // What is too large now comes by agreement, and is then sent from where it lies.
    if (!body_has_room(&w->l, r->answer_body.len) ||
        !buf_chain_append(&r->answer_body, &w->l.pool, data, len)) {
        count(&w->l, SHELL_DROP_BUFFERS);
        upstream_fail(u, SKETCHER_FAILED_LOCAL);
        return false;
    }
    return true;
}

static void body_done(struct upstream *u) {
    struct request *r = u->request;
    struct answer a = {
        .head = r->answer_head,
        .head_len = r->answer_head_len,
        .chain = &r->answer_body,
        .body_len = r->answer_body.len,
    };
    upstream_done(u, &a);
}

static size_t take_chunked(struct upstream *u, const uint8_t *data, size_t len) {
    size_t used = 0;
    while (used < len && u->chunks.state != HTTP_CHUNK_DONE) {
        const uint8_t *body;
        size_t body_len;
        used += http_chunked_feed(&u->chunks, data + used, len - used, &body, &body_len);
        if (u->chunks.state == HTTP_CHUNK_ERROR) {
            upstream_fail(u, SKETCHER_FAILED_MALFORMED);
            return len;
        }
        if (body_len > 0 && !body_append(u, body, body_len))
            return len;
    }
    if (u->chunks.state == HTTP_CHUNK_DONE) {
        u->keep = u->keep && used == len;
        body_done(u);
    }
    return len; // what comes after the end is garbage, and ended the connection
}

static void take_body(struct upstream *u, const uint8_t *data, size_t len) {
    if (u->framing == HTTP_BODY_CHUNKED) {
        take_chunked(u, data, len);
        return;
    }
    size_t n = u->framing == HTTP_BODY_LENGTH && u->body_left < len ? (size_t)u->body_left : len;
    if (!body_append(u, data, n))
        return;
    u->body_left -= u->framing == HTTP_BODY_LENGTH ? n : 0;
    if (u->framing == HTTP_BODY_LENGTH && u->body_left == 0) {
        u->keep = u->keep && n == len;
        body_done(u);
    }
}

/* The usual small answer lies whole in one frame: no copy until it goes to the client. */
static void take_whole(struct upstream *u, const uint8_t *head, size_t head_len,
                       const uint8_t *body, size_t body_len, size_t available) {
    struct answer a = {.head = head, .head_len = head_len, .flat = body, .body_len = body_len};
    u->keep = u->keep && available == body_len;
    upstream_done(u, &a);
}

static void take_parsed_head(struct upstream *u, const struct http_response *p, const uint8_t *rest,
                             size_t rest_len) {
    struct worker *w = u->w;
    struct request *r = u->request;
    const struct group *group = &w->l.app->cfg.group;
    size_t head_len = sketch_canonical_head(p, r->method == HTTP_HEAD, &group->excluded_headers,
                                            w->scratch, SHELL_BLOCK_BYTES);
    if (head_len == 0) {
        upstream_fail(u, SKETCHER_FAILED_MALFORMED);
        return;
    }
    if (p->framing == HTTP_BODY_LENGTH && p->content_length > group->response_max_bytes) {
        upstream_fail(u, SKETCHER_FAILED_TOO_LARGE);
        return;
    }
    uint64_t body_len = p->framing == HTTP_BODY_LENGTH ? p->content_length : 0;
    u->keep = p->keep_alive && p->framing != HTTP_BODY_UNTIL_CLOSE;
    if (p->framing == HTTP_BODY_NONE || (p->framing == HTTP_BODY_LENGTH && body_len <= rest_len)) {
        take_whole(u, w->scratch, head_len, rest, (size_t)body_len, rest_len);
        return;
    }
    if ((r->answer_head = block_get(w)) == NULL) {
        count(&w->l, SHELL_DROP_BUFFERS);
        upstream_fail(u, SKETCHER_FAILED_LOCAL);
        return;
    }
    memcpy(r->answer_head, w->scratch, head_len);
    r->answer_head_len = (uint32_t)head_len;
    u->state = UPSTREAM_BODY;
    u->framing = p->framing;
    u->body_left = body_len;
    http_chunked_init(&u->chunks);
    if (rest_len > 0)
        take_body(u, rest, rest_len);
}

/* Returns the length of the head at data, 0 when it is incomplete; deals with it otherwise. */
static int take_head(struct upstream *u, const uint8_t *data, size_t len) {
    struct http_response p;
    size_t skipped = 0;
    int n;
    do {
        n = http_parse_response(data + skipped, len - skipped, u->request->method == HTTP_HEAD, &p);
        if (n <= 0)
            break;
        skipped += (size_t)n;
    } while (p.status < 200); // interim answers say nothing
    if (n < 0)
        upstream_fail(u, SKETCHER_FAILED_MALFORMED);
    else if (n > 0)
        take_parsed_head(u, &p, data + skipped, len - skipped);
    return n;
}

static void head_in_pieces(struct upstream *u, const uint8_t *data, size_t len) {
    struct worker *w = u->w;
    if (u->head == NULL && (u->head = block_get(w)) == NULL) {
        count(&w->l, SHELL_DROP_BUFFERS);
        upstream_fail(u, SKETCHER_FAILED_LOCAL);
        return;
    }
    // The block also takes what follows the head in this frame.
    if (len > SHELL_BLOCK_BYTES - u->head_len) {
        upstream_fail(u, SKETCHER_FAILED_MALFORMED);
        return;
    }
    memcpy(u->head + u->head_len, data, len);
    u->head_len += (uint32_t)len;
    // upstream_done gives the block back while the body in it is still being read: keep it here.
    uint8_t *block = u->head;
    uint32_t block_len = u->head_len;
    u->head = NULL;
    u->head_len = 0;
    if (take_head(u, block, block_len) == 0) {
        u->head = block;
        u->head_len = block_len;
    } else {
        block_put(w, block);
    }
}

/* ---- events of the connection ---- */

static size_t upstream_data(struct tcp_conn *conn, void *user, const uint8_t *data, size_t len) {
    struct upstream *u = user;
    struct worker *w = u->w;
    if (unlikely(u->request == NULL)) { // an answer that nobody asked for
        count(&w->l, SHELL_UPSTREAM_GARBAGE);
        tcp_abort(conn);
        return len;
    }
    u->heard = true;
    if (w->l.now_us - u->asked_us > 10 * w->timeout_us[LIST_UPSTREAM_RESPONSE]) {
        upstream_fail(u, SKETCHER_FAILED_TIMEOUT); // it drips
        return len;
    }
    timed_set(w, &u->timer, LIST_UPSTREAM_RESPONSE);
    if (u->state == UPSTREAM_BODY)
        take_body(u, data, len);
    else if (u->head != NULL || take_head(u, data, len) == 0)
        head_in_pieces(u, data, len);
    return len;
}

static void upstream_fin(struct tcp_conn *conn, void *user) {
    struct upstream *u = user;
    if (u->request != NULL && u->state == UPSTREAM_BODY && u->framing == HTTP_BODY_UNTIL_CLOSE) {
        u->keep = false;
        body_done(u);
        return;
    }
    tcp_abort(conn);
}

static void upstream_established(struct tcp_conn *conn, void *user) {
    struct upstream *u = user;
    struct worker *w = u->w;
    struct request *r = u->request;
    (void)conn;
    if (u->probe) {
        u->probe = false;
        sketcher_probe_result(w->core, u->replica, true, w->l.now_us);
    }
    if (r != NULL)
        upstream_send(u, r);
    else
        upstream_idle(u);
}

/* May this read be asked again, of the same replica, on a new connection? */
static bool found_dead(const struct upstream *u, const struct request *r) {
    return u->used && !u->heard && !r->retried && r->life.read && r->op.len > 0;
}

static void upstream_closed(struct tcp_conn *conn, void *user, enum tcp_close_reason why) {
    struct upstream *u = user;
    struct worker *w = u->w;
    struct request *r = u->request;
    uint32_t replica = u->replica;
    bool retry = r != NULL && found_dead(u, r);
    (void)conn;
    if (u->state == UPSTREAM_IDLE)
        TAILQ_REMOVE(&w->replica[replica].idle, u, link);
    timed_clear(w, &u->timer);
    head_release(u);
    w->replica[replica].connections--;
    if (u->probe)
        sketcher_probe_result(w->core, replica, false, w->l.now_us);
    enum sketcher_failure failure = why == TCP_CLOSED_TIMEOUT         ? SKETCHER_FAILED_TIMEOUT
                                    : u->state == UPSTREAM_CONNECTING ? SKETCHER_FAILED_CONNECT
                                                                      : SKETCHER_FAILED_RESET;
    rte_mempool_put(w->upstreams, u);
    if (retry) {
        count(&w->l, SHELL_UPSTREAM_RETRIED);
        r->retried = true;
        r->upstream = NULL;
        answer_drop(r);
        if (!upstream_open_for(r))
            request_failed(r, SKETCHER_FAILED_LOCAL);
    } else if (r != NULL) {
        request_failed(r, failure);
    }
    serve_waiting(w, replica);
}

void upstream_timeout(struct upstream *u) {
    if (u->request != NULL)
        upstream_fail(u, SKETCHER_FAILED_TIMEOUT);
    else
        tcp_abort(u->conn);
}

void upstream_probe(struct worker *w, uint32_t replica) {
    struct upstream *u = upstream_connect(w, replica);
    if (u != NULL)
        u->probe = true;
    else
        sketcher_probe_result(w->core, replica, false, w->l.now_us);
}

/* One connection to each replica before the first client comes: finds their link addresses, too. */
void upstream_warm(struct worker *w) {
    for (uint32_t i = 0; i < w->l.app->cfg.group.replicas; i++)
        upstream_connect(w, i);
}

static const struct tcp_handlers upstream_handlers = {
    .on_established = upstream_established,
    .on_data = upstream_data,
    .on_fin = upstream_fin,
    .on_closed = upstream_closed,
};
