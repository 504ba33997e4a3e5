/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What clients are sent. Everything here was vouched for by the caller (design.md law 1): an
 * accepted fast answer, an agreed result, or a status of the sketcher's own making.
 */
#include "shell.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static int64_t unix_now(void) {
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME_COARSE, &ts); // vDSO: no system call
    return ts.tv_sec;
}

static void give_up(struct client *c, struct buf_chain *chain) {
    count(&c->w->l, SHELL_DROP_BUFFERS);
    buf_chain_free(chain, &c->w->l.pool);
    client_abort(c);
}

void respond_status(struct client *c, uint16_t status, bool keep) {
    char date[29], body[64], text[384];
    struct buf_chain chain;
    int body_len = snprintf(body, sizeof body, "%u %s\n", status, http_reason(status));
    http_format_date(unix_now(), date);
    int n = snprintf(text, sizeof text,
                     "HTTP/1.1 %u %s\r\nContent-Type: text/plain\r\n%s%sDate: %.29s\r\n"
                     "Content-Length: %d\r\nConnection: %s\r\n\r\n%s",
                     status, http_reason(status),
                     status == 405 ? "Allow: GET, HEAD, POST, PUT, DELETE, OPTIONS, PATCH\r\n" : "",
                     status == 503 ? "Retry-After: 1\r\n" : "", date, body_len,
                     keep ? "keep-alive" : "close", body);
    assert(n > 0 && (size_t)n < sizeof text);
    buf_chain_init(&chain);
    if (!buf_chain_append(&chain, &c->w->l.pool, text, (size_t)n)) {
        give_up(c, &chain);
        return;
    }
    tcp_send_chain(c->conn, &chain);
    client_answered(c, keep);
}

void respond_continue(struct client *c) {
    static const char interim[] = "HTTP/1.1 100 Continue\r\n\r\n";
    tcp_send(c->conn, interim, sizeof interim - 1);
}

/* ---- an accepted answer ---- */

struct range {
    enum http_condition condition;
    uint64_t first, len; // of the body to be sent
    char content_range[64];
};

static void select_range(const struct request *r, const struct sketch_view *v,
                         const struct answer *a, struct range *out) {
    uint64_t last = 0;
    *out = (struct range){.condition = HTTP_COND_SEND, .len = a->body_len};
    if (r->condition_count == 0 || v->status != 200)
        return;
    struct http_validators validators = {
        .etag = sketch_view_find(v, "etag"),
        .last_modified = sketch_view_find(v, "last-modified"),
    };
    out->condition = http_evaluate_conditions(r->condition, r->condition_count, r->method,
                                              &validators, a->body_len, &out->first, &last);
    if (out->condition == HTTP_COND_RANGE) {
        out->len = last - out->first + 1;
        snprintf(out->content_range, sizeof out->content_range, "bytes %ju-%ju/%zu",
                 (uintmax_t)out->first, (uintmax_t)last, a->body_len);
    } else if (out->condition == HTTP_COND_UNSATISFIABLE) {
        snprintf(out->content_range, sizeof out->content_range, "bytes */%zu", a->body_len);
    }
    if (out->condition != HTTP_COND_SEND && out->condition != HTTP_COND_RANGE)
        out->first = out->len = 0;
}

static uint16_t status_of(const struct range *range, uint16_t status) {
    switch (range->condition) {
    case HTTP_COND_NOT_MODIFIED:
        return 304;
    case HTTP_COND_FAILED:
        return 412;
    case HTTP_COND_RANGE:
        return 206;
    case HTTP_COND_UNSATISFIABLE:
        return 416;
    case HTTP_COND_SEND:
        break;
    }
    return status;
}

void result_release(void *arg) {
    struct result *result = arg;
    atomic_fetch_sub_explicit(&result->users, 1, memory_order_release);
}

/* Adds the body to the head's chain, or sends it behind it without a copy. */
static bool send_body(struct client *c, struct buf_chain *chain, const struct answer *a,
                      const struct range *range) {
    struct buf_pool *pool = &c->w->l.pool;
    if (range->len == 0) {
        tcp_send_chain(c->conn, chain);
        return true;
    }
    if (a->flat == NULL) { // keep what was received, cut to the range
        buf_chain_drop(a->chain, pool, range->first);
        buf_chain_truncate(a->chain, pool, range->len);
        buf_chain_concat(chain, a->chain);
        tcp_send_chain(c->conn, chain);
        return true;
    }
    if (a->result != NULL && range->len > SHELL_COPY_MAX_BYTES) {
        tcp_send_chain(c->conn, chain);
        atomic_fetch_add_explicit(&a->result->users, 1, memory_order_relaxed);
        if (tcp_send_ref(c->conn, a->flat + range->first, range->len, result_release, a->result))
            return true;
        result_release(a->result);
    }
    if (!buf_chain_append(chain, pool, a->flat + range->first, range->len))
        return false;
    tcp_send_chain(c->conn, chain);
    return true;
}

void respond_answer(struct request *r, const struct answer *a) {
    struct client *c = r->client;
    struct worker *w = r->w;
    struct sketch_view v;
    struct range range;
    struct wire_writer out;
    struct buf_chain chain;
    bool keep = r->keep_alive, parsed = sketch_head_parse(a->head, a->head_len, &v);
    assert(parsed && c != NULL); // made or checked by lib/sketch before it was accepted
    (void)parsed;
    select_range(r, &v, a, &range);
    uint16_t status = status_of(&range, v.status);
    struct sketch_client_head head = {
        .status = status,
        .head_request = r->method == HTTP_HEAD,
        .keep_alive = keep && !c->peer_fin,
        .http_1_0 = r->http_1_0,
        .body_len = range.len,
        .unix_s = unix_now(),
        .content_range = range.content_range[0] != '\0' ? range.content_range : NULL,
        .not_modified = status == 304,
    };
    wire_writer_init(&out, w->scratch + SHELL_BLOCK_BYTES, SHELL_BLOCK_BYTES);
    sketch_client_head(&out, &v, &head);
    buf_chain_init(&chain);
    if (status == 304)
        count(&w->l, SHELL_NOT_MODIFIED);
    else if (status == 206)
        count(&w->l, SHELL_PARTIAL);
    bool complete = !out.failed &&
                    buf_chain_append(&chain, &w->l.pool, w->scratch + SHELL_BLOCK_BYTES, out.len) &&
                    send_body(c, &chain, a, &range);
    request_free(r);
    if (complete)
        client_answered(c, keep);
    else
        give_up(c, &chain);
}

/* ---- who lied ---- */

static void put_u32(struct crypto_digest *d, uint32_t v) {
    uint8_t b[4] = {(uint8_t)(v >> 24), (uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v};
    crypto_digest_update(d, b, sizeof b);
}

/* SHA-256 of the fast answer's canonical response, whose body lies in chunks. */
static void digest_answer(struct worker *w, const struct request *r,
                          uint8_t out[CRYPTO_DIGEST_BYTES]) {
    uint64_t len = r->answer_body.len;
    crypto_digest_begin(w->digest);
    put_u32(w->digest, r->answer_head_len);
    crypto_digest_update(w->digest, r->answer_head, r->answer_head_len);
    for (const struct buf *b = r->answer_body.head; b != NULL; b = b->next)
        crypto_digest_update(w->digest, b->data + b->off, b->len);
    put_u32(w->digest, (uint32_t)(len >> 32));
    put_u32(w->digest, (uint32_t)len);
    crypto_digest_final(w->digest, out);
}

/* First body byte that differs, or the shorter length. */
static size_t first_difference(const struct buf_chain *chain, const uint8_t *flat, size_t len) {
    size_t at = 0;
    for (const struct buf *b = chain->head; b != NULL; b = b->next)
        for (size_t i = 0; i < b->len; i++, at++)
            if (at >= len || b->data[b->off + i] != flat[at])
                return at;
    return at;
}

static void describe(const struct request *r, const struct sketch_view *agreed,
                     struct sketcher_evidence *e) {
    struct sketch_view suspect, head = *agreed;
    if (!sketch_head_parse(r->answer_head, r->answer_head_len, &suspect)) {
        snprintf(e->difference, sizeof e->difference, "head");
        return;
    }
    head.body = NULL;
    head.body_len = 0;
    sketch_difference(&suspect, &head, e->difference, sizeof e->difference);
    if (strcmp(e->difference, "nothing") == 0)
        snprintf(e->difference, sizeof e->difference, "body byte %zu of %zu and %zu",
                 first_difference(&r->answer_body, agreed->body, agreed->body_len),
                 r->answer_body.len, agreed->body_len);
}

void evidence_suspect(struct request *r) {
    struct worker *w = r->w;
    struct sketcher_evidence e = {
        .kind = SKETCHER_EVIDENCE_SUSPECT,
        .unix_s = unix_now(),
        .replica = r->life.replica,
        .sigma = r->verdict.sigma,
    };
    struct sketch_view agreed;
    if (r->answer_head == NULL || r->result == NULL ||
        !sketch_canonical_parse(r->result->data, r->result->len, &agreed))
        return; // no room was left to keep the answer: the suspicion itself is counted
    digest_answer(w, r, e.digest[0]);
    crypto_digest_once(w->digest, r->result->data, r->result->len, e.digest[1]);
    e.length[0] = 4 + r->answer_head_len + r->answer_body.len + 8;
    e.length[1] = r->result->len;
    describe(r, &agreed, &e);
    if (r->op.head != NULL) {
        const struct buf *b = r->op.head;
        const char *line = (const char *)b->data + b->off;
        const char *end = memchr(line, '\r', b->len);
        int n = end == NULL ? 0 : (int)(end - line);
        snprintf(e.target, sizeof e.target, "%.*s", n < 120 ? n : 120, line);
    }
    sketcher_evidence_add(w->l.evidence, &e);
}
