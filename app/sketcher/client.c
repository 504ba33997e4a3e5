/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The HTTP server side: request heads and bodies from client connections, one request in progress
 * per connection (pipelined ones wait in the connection's receive queue, so responses keep their
 * order).
 */
#include "shell.h"

#include <rte_branch_prediction.h>
#include <string.h>

/* ---- requests ---- */

struct request *request_new(struct worker *w) {
    void *memory;
    if (rte_mempool_get(w->requests, &memory) != 0) {
        count(&w->l, SHELL_DROP_REQUEST_LIMIT);
        return NULL;
    }
    struct request *r = memory;
    memset(r, 0, offsetof(struct request, condition));
    memset(&r->ticket, 0, sizeof *r - offsetof(struct request, ticket));
    r->w = w;
    w->requests_in_use++;
    return r;
}

void request_free(struct request *r) {
    struct worker *w = r->w;
    timed_clear(w, &r->timer);
    buf_chain_free(&r->op, &w->l.pool);
    buf_chain_free(&r->body, &w->l.pool);
    buf_chain_free(&r->answer_body, &w->l.pool);
    if (r->conditions != NULL)
        buf_put(&w->l.pool, r->conditions);
    if (r->answer_head != NULL)
        block_put(w, r->answer_head);
    if (r->client != NULL)
        r->client->request = NULL;
    assert(r->upstream == NULL && r->result == NULL);
    w->requests_in_use--;
    rte_mempool_put(w->requests, r);
}

/* ---- the connection's end ---- */

static void client_close(struct client *c) {
    c->state = CLIENT_CLOSING;
    c->queued_before = UINT32_MAX;
    timed_set(c->w, &c->timer, LIST_CLIENT_REQUEST);
    // Lingering: a RST for unread data would destroy the response on its way (design.md §6).
    tcp_close(c->conn, true);
}

void client_abort(struct client *c) {
    c->state = CLIENT_CLOSING;
    timed_set(c->w, &c->timer, LIST_CLIENT_ABORT);
}

static void release_head(struct client *c) {
    if (c->head != NULL)
        block_put(c->w, c->head);
    c->head = NULL;
    c->head_len = 0;
}

static void reject(struct client *c, uint16_t status) {
    count(&c->w->l, SHELL_HTTP_REJECTED);
    release_head(c);
    if (c->request != NULL)
        request_free(c->request);
    respond_status(c, status, false);
}

/* ---- a complete request ---- */

static void hand_over(struct request *r) {
    struct worker *w = r->w;
    struct app *app = w->l.app;
    uint32_t slow = history_partition(app->history, &r->life.url);
    r->ticket = (struct sketcher_ticket){
        .cookie = (uint64_t)(uintptr_t)r,
        .source = r->client != NULL ? r->client->addr : 0,
        .kind = r->life.kind,
        .key = r->life.key,
        .url = r->life.url,
        .arrived_us = r->life.arrived_us,
    };
    if (unlikely(rte_ring_sp_enqueue(w->to_slow[slow], r) != 0)) {
        count(&w->l, SHELL_DROP_SLOW_RING);
        r->verdict = (struct sketcher_verdict){.outcome = SKETCHER_OUT_BUSY};
        request_verdict(r);
    }
}

static void request_fail(struct request *r) {
    struct client *c = r->client;
    uint16_t status = r->life.fail_status;
    bool keep = r->keep_alive;
    request_free(r);
    if (c != NULL)
        respond_status(c, status, keep);
}

/* Takes the step the life cycle decided on. RELEASE steps are taken where the answer is at hand. */
void request_run(struct request *r, enum sketcher_step step) {
    if (r->client == NULL && r->life.read) {
        request_free(r); // nobody waits, and a read changes nothing
        return;
    }
    switch (step) {
    case SKETCHER_STEP_FAST:
        upstream_ask(r);
        return;
    case SKETCHER_STEP_REPLICATE:
        hand_over(r);
        return;
    case SKETCHER_STEP_FAIL:
        request_fail(r);
        return;
    case SKETCHER_STEP_RELEASE_FAST:
    case SKETCHER_STEP_RELEASE_AGREED:
        break;
    }
    assert(false && "a release needs its answer");
}

void request_verdict(struct request *r) {
    struct worker *w = r->w;
    bool suspect = false;
    struct result *result = r->result;
    enum sketcher_step step =
        sketcher_verdict(w->core, &r->life, &r->verdict, w->l.now_us, &suspect);
    if (suspect)
        evidence_suspect(r);
    r->result = NULL;
    if (step == SKETCHER_STEP_RELEASE_AGREED && r->client != NULL) {
        struct sketch_view v;
        bool canonical = sketch_canonical_parse(result->data, result->len, &v);
        assert(canonical); // checked on the slow path
        (void)canonical;
        struct answer a = {
            .head = v.head,
            .head_len = v.head_len,
            .flat = v.body,
            .body_len = v.body_len,
            .result = result,
        };
        respond_answer(r, &a);
    } else if (step == SKETCHER_STEP_FAIL) {
        request_fail(r);
    } else {
        request_free(r);
    }
    if (result != NULL)
        result_release(result);
}

/* ---- heads ---- */

static bool is_condition(struct http_str name) {
    return (name.len > 3 && (name.p[0] | 0x20) == 'i' && (name.p[1] | 0x20) == 'f' &&
            name.p[2] == '-') ||
           http_str_ieq(name, "range");
}

/* Keeps the preconditions of a read for the validated response; false: they do not fit. */
static bool keep_conditions(struct request *r, const struct http_request *q) {
    for (uint32_t i = 0; i < q->header_count; i++) {
        const struct http_header *h = &q->headers[i];
        if (likely(!is_condition(h->name)))
            continue;
        if (r->conditions == NULL && (r->conditions = buf_get(&r->w->l.pool)) == NULL)
            return false;
        struct buf *b = r->conditions;
        if (r->condition_count == REQUEST_CONDITIONS_MAX ||
            h->name.len + h->value.len > BUF_DATA_BYTES - b->len)
            return false;
        char *p = (char *)b->data + b->len;
        memcpy(p, h->name.p, h->name.len);
        memcpy(p + h->name.len, h->value.p, h->value.len);
        b->len = (uint16_t)(b->len + h->name.len + h->value.len);
        r->condition[r->condition_count++] = (struct http_header){
            .name = {p, h->name.len},
            .value = {p + h->name.len, h->value.len},
        };
    }
    return true;
}

/* Serialises what goes upstream, a function of the key for reads (design.md law 6). */
static bool serialise_op(struct request *r, const struct http_request *q, bool has_body,
                         uint64_t body_len) {
    struct worker *w = r->w;
    struct wire_writer out;
    wire_writer_init(&out, w->scratch, SHELL_BLOCK_BYTES);
    if (r->life.read)
        sketch_upstream_read(&out, q, &w->l.app->cfg.key_headers);
    else
        sketch_upstream_write(&out, q, has_body, body_len);
    return !out.failed && buf_chain_append(&r->op, &w->l.pool, w->scratch, out.len);
}

static void request_begin_body(struct client *c, const struct http_request *q) {
    c->state = CLIENT_BODY;
    c->chunked = q->chunked;
    c->body_left = q->content_length;
    http_chunked_init(&c->chunks);
    timed_set(c->w, &c->timer, LIST_CLIENT_REQUEST);
    if (q->expect_continue && q->version_minor > 0)
        respond_continue(c);
}

static void request_ready(struct client *c) {
    struct request *r = c->request;
    c->state = CLIENT_WAIT;
    timed_clear(c->w, &c->timer);
    request_run(r, r->step);
}

/* The status to refuse a well-formed head with, or 0. */
static uint16_t refuse(const struct client *c, const struct http_request *q) {
    if (q->method == HTTP_TRACE || q->method == HTTP_CONNECT)
        return 405;
    if (q->has_content_length && q->content_length > c->w->l.app->cfg.group.request_max_bytes)
        return 413;
    return 0;
}

static void request_begin(struct client *c, struct http_request *q, const uint8_t *head,
                          size_t head_len) {
    struct worker *w = c->w;
    bool has_body = q->chunked || q->content_length > 0;
    uint16_t status = refuse(c, q);
    if (status != 0) {
        if (status == 413)
            count(&w->l, SHELL_BODY_TOO_LARGE);
        reject(c, status);
        return;
    }
    struct request *r = request_new(w);
    if (r == NULL) {
        reject(c, 503);
        return;
    }
    if (q->authority.len == 0) // HTTP/1.0 without Host
        q->authority = (struct http_str){w->vip_text, strlen(w->vip_text)};
    c->request = r;
    r->client = c;
    r->method = q->method;
    r->http_1_0 = q->version_minor == 0;
    r->keep_alive = q->keep_alive && ++c->served < w->l.app->cfg.requests_per_connection;
    // The time of this very moment: stamped any earlier, a read could join one that a write
    // overtook (S6).
    r->step = sketcher_start(w->core, &r->life, q, has_body, shell_now_us());
    bool fits = (!r->life.read || keep_conditions(r, q));
    if (!q->chunked)
        fits = fits && serialise_op(r, q, q->has_content_length, q->content_length);
    else if (c->head == NULL && (c->head = block_get(w)) != NULL)
        memcpy(c->head, head, head_len); // parsed again when the length is known
    if (!fits || (q->chunked && c->head == NULL)) {
        count(&w->l, SHELL_DROP_BUFFERS);
        reject(c, 503);
        return;
    }
    c->head_len = (uint32_t)head_len;
    if (!q->chunked)
        release_head(c);
    if (has_body)
        request_begin_body(c, q);
    else
        request_ready(c);
}

/* A head lies whole in data, or its beginning does. Returns the bytes taken. */
static size_t take_head(struct client *c, const uint8_t *data, size_t len) {
    struct http_request q;
    struct worker *w = c->w;
    if (likely(c->head_len == 0)) {
        int n = http_parse_request(data, len, &q);
        if (likely(n > 0)) {
            request_begin(c, &q, data, (size_t)n);
            return (size_t)n;
        }
        if (n < 0) {
            reject(c, (uint16_t)-n);
            return len;
        }
    }
    if (c->head == NULL && (c->head = block_get(w)) == NULL) {
        count(&w->l, SHELL_DROP_BUFFERS);
        reject(c, 503);
        return len;
    }
    if (c->head_len == 0)
        timed_set(w, &c->timer, LIST_CLIENT_REQUEST);
    size_t room = SHELL_BLOCK_BYTES - c->head_len;
    size_t taken = len < room ? len : room;
    uint32_t before = c->head_len;
    memcpy(c->head + before, data, taken);
    c->head_len += (uint32_t)taken;
    int n = http_parse_request(c->head, c->head_len, &q);
    if (n > 0) {
        request_begin(c, &q, c->head, (size_t)n);
        return (size_t)n - before;
    }
    if (n < 0)
        reject(c, (uint16_t)-n);
    return taken;
}

/* ---- bodies ---- */

static bool body_append(struct client *c, struct buf_chain *to, const uint8_t *data, size_t len) {
    struct app *app = c->w->l.app;
    // Of a body whose length was announced, request_begin has judged it.
    if (c->chunked && to->len + len > app->cfg.group.request_max_bytes) {
        count(&c->w->l, SHELL_BODY_TOO_LARGE);
        reject(c, 413);
        return false;
    }
    if (!body_has_room(&c->w->l, to->len) || !buf_chain_append(to, &c->w->l.pool, data, len)) {
        count(&c->w->l, SHELL_DROP_BUFFERS);
        reject(c, 503);
        return false;
    }
    return true;
}

static void chunked_body_done(struct client *c) {
    struct request *r = c->request;
    struct http_request q;
    int n = http_parse_request(c->head, c->head_len, &q);
    assert(n > 0); // it was accepted before
    (void)n;
    if (q.authority.len == 0)
        q.authority = (struct http_str){c->w->vip_text, strlen(c->w->vip_text)};
    if (!serialise_op(r, &q, true, r->body.len)) {
        count(&c->w->l, SHELL_DROP_BUFFERS);
        reject(c, 503);
        return;
    }
    release_head(c);
    buf_chain_concat(&r->op, &r->body);
    request_ready(c);
}

static size_t take_chunked(struct client *c, const uint8_t *data, size_t len) {
    size_t used = 0;
    while (used < len && c->state == CLIENT_BODY) {
        const uint8_t *body;
        size_t body_len;
        used += http_chunked_feed(&c->chunks, data + used, len - used, &body, &body_len);
        if (body_len > 0 && !body_append(c, &c->request->body, body, body_len))
            break;
        if (c->chunks.state == HTTP_CHUNK_ERROR)
            reject(c, 400);
        else if (c->chunks.state == HTTP_CHUNK_DONE)
            chunked_body_done(c);
    }
    return used;
}

static size_t take_body(struct client *c, const uint8_t *data, size_t len) {
    timed_set(c->w, &c->timer, LIST_CLIENT_REQUEST);
    if (c->chunked)
        return take_chunked(c, data, len);
    size_t n = len < c->body_left ? len : (size_t)c->body_left;
    if (!body_append(c, &c->request->op, data, n))
        return len;
    c->body_left -= n;
    if (c->body_left == 0)
        request_ready(c);
    return n;
}

/* ---- events of the connection ---- */

static size_t client_data(struct tcp_conn *conn, void *user, const uint8_t *data, size_t len) {
    struct client *c = user;
    size_t used = 0;
    (void)conn;
    c->in_data = true;
    while (used < len) {
        if (c->state == CLIENT_HEAD)
            used += take_head(c, data + used, len - used);
        else if (c->state == CLIENT_BODY)
            used += take_body(c, data + used, len - used);
        else
            break;
    }
    c->in_data = false;
    return c->state == CLIENT_CLOSING ? len : used;
}

static void client_fin(struct tcp_conn *conn, void *user) {
    struct client *c = user;
    (void)conn;
    c->peer_fin = true;
    if (c->state == CLIENT_HEAD || c->state == CLIENT_BODY) {
        if (c->head_len > 0 || c->state == CLIENT_BODY)
            count(&c->w->l, SHELL_CLIENT_GONE);
        if (c->request != NULL)
            request_free(c->request);
        release_head(c);
        client_close(c);
    }
}

/* After an answer: the next request, which may be waiting in the receive queue already. */
static void client_next(struct client *c) {
    if (c->peer_fin) {
        client_close(c);
        return;
    }
    c->state = CLIENT_HEAD;
    c->queued_before = UINT32_MAX;
    timed_set(c->w, &c->timer, LIST_CLIENT_KEEPALIVE);
    if (!c->in_data)
        tcp_recv_resume(c->conn);
}

void client_answered(struct client *c, bool keep) {
    count(&c->w->l, SHELL_RESPONSES);
    if (!keep) {
        client_close(c);
    } else if (tcp_send_queued(c->conn) > SHELL_DRAIN_BYTES) {
        c->state = CLIENT_DRAIN;
        c->queued_before = UINT32_MAX;
        timed_set(c->w, &c->timer, LIST_CLIENT_KEEPALIVE);
    } else {
        client_next(c);
    }
}

static void client_sent(struct tcp_conn *conn, void *user) {
    struct client *c = user;
    (void)conn;
    if (c->state == CLIENT_DRAIN)
        client_next(c);
}

static void client_closed(struct tcp_conn *conn, void *user, enum tcp_close_reason why) {
    struct client *c = user;
    struct worker *w = c->w;
    (void)conn;
    (void)why;
    timed_clear(w, &c->timer);
    release_head(c);
    if (c->request != NULL) {
        struct request *r = c->request;
        count(&w->l, SHELL_CLIENT_GONE);
        if (c->state == CLIENT_BODY) {
            request_free(r);
        } else { // in flight: it ends without its client
            r->client = NULL;
            c->request = NULL;
        }
    }
    w->clients_in_use--;
    rte_mempool_put(w->clients, c);
}

void client_timeout(struct client *c) {
    struct lcore *l = &c->w->l;
    size_t queued = tcp_send_queued(c->conn);
    bool between = c->state == CLIENT_HEAD && c->head_len == 0;
    if (queued > 0 && (between || c->state == CLIENT_DRAIN || c->state == CLIENT_CLOSING)) {
        // Still taking its response: it may go on as long as there is progress.
        if (queued < c->queued_before) {
            c->queued_before = (uint32_t)queued;
            timed_set(c->w, &c->timer, LIST_CLIENT_KEEPALIVE);
            return;
        }
        count(l, SHELL_CLIENT_STALLED);
        tcp_abort(c->conn);
        return;
    }
    if (c->state == CLIENT_CLOSING) { // its FIN never came
        tcp_abort(c->conn);
        return;
    }
    if (between) {
        count(l, SHELL_KEEPALIVE_TIMEOUT);
        client_close(c);
        return;
    }
    count(l, SHELL_REQUEST_TIMEOUT);
    reject(c, 408);
}

static const struct tcp_handlers client_handlers = {
    .on_data = client_data,
    .on_fin = client_fin,
    .on_sent = client_sent,
    .on_closed = client_closed,
};

const struct tcp_handlers *client_accept(void *ctx, struct tcp_conn *conn) {
    struct worker *w = ctx;
    void *memory;
    uint16_t port;
    if (w->clients_in_use >= w->l.app->cfg.clients_max ||
        rte_mempool_get(w->clients, &memory) != 0) {
        count(&w->l, SHELL_DROP_CLIENT_LIMIT);
        return NULL;
    }
    struct client *c = memory;
    memset(c, 0, sizeof *c);
    c->w = w;
    c->conn = conn;
    c->state = CLIENT_HEAD;
    c->queued_before = UINT32_MAX;
    w->clients_in_use++;
    tcp_conn_peer(conn, &c->addr, &port);
    tcp_conn_set_user(conn, c);
    timed_set(w, &c->timer, LIST_CLIENT_REQUEST);
    count(&w->l, SHELL_CLIENTS);
    return &client_handlers;
}
