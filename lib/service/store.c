/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The object store: GET, HEAD, PUT, DELETE on targets (exact bytes, query included). Host is
 * ignored: the store is one site. No clock and no randomness: equal histories give equal bytes.
 */
#include "service/listener.h"
#include "service/service.h"
#include "service/store_db.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ETAG_BYTES (2u + 2u * CRYPTO_DIGEST_BYTES)

struct store_service {
    struct service base;
    struct service_config cfg;
    struct store_db *db;
    struct crypto_digest *digest;
    struct service_buffer result;
    struct service_listener *listener;
    char etag[ETAG_BYTES]; // of the reply that is being made
    bool failed;
    uint64_t reads, writes, refused, full;
};

/* Who asks, and so what is allowed. */
struct store_context {
    bool may_write;
    uint64_t sigma;
};

static struct http_str literal(const char *s) {
    return (struct http_str){.p = s, .len = strlen(s)};
}

/* RFC 9110 8.8.3: a strong one, of the content alone. */
static struct http_str format_etag(struct store_service *s,
                                   const uint8_t digest[CRYPTO_DIGEST_BYTES]) {
    static const char hex[] = "0123456789abcdef";
    char *p = s->etag;
    *p++ = '"';
    for (size_t i = 0; i < CRYPTO_DIGEST_BYTES; i++) {
        *p++ = hex[digest[i] >> 4];
        *p++ = hex[digest[i] & 15];
    }
    *p = '"';
    return (struct http_str){.p = s->etag, .len = ETAG_BYTES};
}

/* The disk failed: nothing may be answered from now on, for a write is missing or may be. */
static bool stop(struct store_service *s) {
    if (!s->failed && s->cfg.failed != NULL)
        s->cfg.failed(s->cfg.done_ctx, store_db_error(s->db));
    s->failed = true;
    return false;
}

/* ---- reading */

static enum http_condition conditions(const struct http_request *q, struct http_str etag,
                                      size_t body_len) {
    uint64_t first, last;
    struct http_validators v = {.etag = etag};
    return http_evaluate_conditions(q->headers, q->header_count, HTTP_GET, &v, body_len, &first,
                                    &last);
}

/* False: no answer (the disk failed). */
static bool store_read(struct store_service *s, const struct http_request *q,
                       struct service_reply *out) {
    struct store_object o;
    bool head = q->method == HTTP_HEAD;
    enum store_result found = store_db_get(s->db, q->target, &o);
    if (found == STORE_FAILED)
        return stop(s);
    if (found == STORE_ABSENT) {
        service_reply_text(out, 404, head);
        return true;
    }
    struct http_str etag = format_etag(s, o.body_digest);
    enum http_condition c = conditions(q, etag, o.body_len);
    if (c == HTTP_COND_FAILED) {
        service_reply_text(out, 412, head);
        return true;
    }
    *out = (struct service_reply){.status = 200, .head = head, .etag = etag};
    if (c == HTTP_COND_NOT_MODIFIED) {
        out->status = 304;
        return true;
    }
    // A Range may be ignored (RFC 9110 14.2); the sketcher answers it from the validated whole.
    out->content_type = o.content_type;
    out->body = o.body;
    out->body_len = o.body_len;
    return true;
}

/* ---- writing */

/* If-Match and If-None-Match (RFC 9110 13.1.1, 13.1.2); false is 412. STORE_FAILED in *found: no
 * answer. */
static bool precondition_holds(struct store_service *s, const struct http_request *q,
                               enum store_result *found) {
    struct store_object o;
    *found = store_db_get(s->db, q->target, &o);
    if (*found == STORE_ABSENT)
        return http_find(q->headers, q->header_count, "If-Match") == NULL;
    if (*found != STORE_OK)
        return false;
    enum http_condition c = conditions(q, format_etag(s, o.body_digest), o.body_len);
    return c != HTTP_COND_FAILED && c != HTTP_COND_NOT_MODIFIED;
}

/* What a PUT must not carry, or 0: it would be lost, and the object served wrongly. */
static uint16_t put_refused(const struct store_service *s, const struct http_request *q,
                            struct http_str content_type, size_t body_len) {
    const struct http_header *coding = http_find(q->headers, q->header_count, "Content-Encoding");
    if (!q->has_content_length)
        return 411;
    if (http_find(q->headers, q->header_count, "Content-Range") != NULL) // RFC 9110 14.5
        return 400;
    if (coding != NULL && !http_str_ieq(coding->value, "identity"))
        return 415;
    if (content_type.len > STORE_TYPE_MAX_BYTES)
        return 400;
    return body_len > s->cfg.response_max_bytes || body_len > s->cfg.request_max_bytes ? 413 : 0;
}

static struct http_str media_type(const struct http_request *q) {
    const struct http_header *h = http_find(q->headers, q->header_count, "Content-Type");
    return h != NULL && h->value.len > 0 ? h->value : literal("application/octet-stream");
}

static bool store_put(struct store_service *s, const struct http_request *q, const uint8_t *body,
                      size_t body_len, uint64_t sigma, struct service_reply *out) {
    enum store_result found;
    struct store_object o = {
        .target = q->target, .content_type = media_type(q), .body = body, .body_len = body_len};
    uint16_t refused = put_refused(s, q, o.content_type, body_len);
    if (refused == 0 && !precondition_holds(s, q, &found)) {
        if (found == STORE_FAILED)
            return stop(s);
        refused = 412;
    }
    if (refused != 0) {
        s->refused++;
        service_reply_text(out, refused, false);
        return true;
    }
    crypto_digest_once(s->digest, body, body_len, o.body_digest);
    enum store_result done = store_db_put(s->db, &o, sigma);
    if (done == STORE_FAILED)
        return stop(s);
    if (done == STORE_FULL) {
        s->full++;
        service_reply_text(out, 507, false);
        return true;
    }
    *out = (struct service_reply){.status = found == STORE_ABSENT ? 201 : 204,
                                  .etag = format_etag(s, o.body_digest)};
    return true;
}

static bool store_delete(struct store_service *s, const struct http_request *q, uint64_t sigma,
                         struct service_reply *out) {
    enum store_result found;
    bool holds = precondition_holds(s, q, &found);
    if (found == STORE_FAILED)
        return stop(s);
    if (!holds || found == STORE_ABSENT) {
        s->refused++;
        service_reply_text(out, holds ? 404 : 412, false);
        return true;
    }
    if (store_db_delete(s->db, q->target, sigma) != STORE_OK)
        return stop(s);
    *out = (struct service_reply){.status = 204};
    return true;
}

/* ---- both paths */

static bool store_handle(struct store_service *s, const struct http_request *q, const uint8_t *body,
                         size_t body_len, const struct store_context *c,
                         struct service_reply *out) {
    bool read = q->method == HTTP_GET || q->method == HTTP_HEAD;
    bool write = q->method == HTTP_PUT || q->method == HTTP_DELETE;
    s->reads += read;
    s->writes += write && c->may_write;
    if (q->target.len > STORE_TARGET_MAX_BYTES) {
        service_reply_text(out, 414, q->method == HTTP_HEAD);
        return true;
    }
    if (read)
        return store_read(s, q, out);
    if (!write || !c->may_write) {
        s->refused++;
        service_reply_text(out, 405, false);
        out->allow = literal(c->may_write ? "GET, HEAD, PUT, DELETE" : "GET, HEAD");
        return true;
    }
    if (q->method == HTTP_PUT)
        return store_put(s, q, body, body_len, c->sigma, out);
    return store_delete(s, q, c->sigma, out);
}

static void store_execute(struct service *base, const struct bft_execution *e) {
    struct store_service *s = (struct store_service *)base;
    struct http_request q;
    struct service_reply r;
    const uint8_t *body = NULL;
    size_t body_len = 0, len = 0;
    // An unordered request, or one that its client calls a read, changes nothing.
    struct store_context c = {.may_write = e->sigma != 0 && !e->read, .sigma = e->sigma};
    uint16_t refused = service_op_parse(e->op, e->op_len, &q, &body, &body_len);
    bool answered = !s->failed;
    if (answered && refused != 0)
        service_reply_text(&r, refused, false);
    else if (answered)
        answered = store_handle(s, &q, body, body_len, &c, &r);
    if (answered)
        len = service_reply_canonical(&r, s->cfg.excluded_headers, &s->result);
    s->base.done(s->base.done_ctx, e->ticket, len == 0 ? NULL : s->result.data, len);
}

static void store_answer(void *ctx, const struct http_request *q, struct service_reply *out) {
    struct store_service *s = ctx;
    struct store_context c = {.may_write = false};
    if (s->failed || !store_handle(s, q, NULL, 0, &c, out))
        service_reply_text(out, 503, q->method == HTTP_HEAD);
}

static void store_digest(struct service *base, uint64_t sequence,
                         uint8_t out[CRYPTO_DIGEST_BYTES]) {
    (void)sequence;
    store_db_digest(((struct store_service *)base)->db, out);
}

static bool store_listen(struct service *base, const struct group_endpoint *at,
                         char err[GROUP_ERROR_BYTES]) {
    struct store_service *s = (struct store_service *)base;
    s->listener = service_listener_new(s->cfg.base, at, store_answer, s, err);
    return s->listener != NULL;
}

static uint32_t store_counters(const struct service *base,
                               struct service_counter out[SERVICE_COUNTERS_MAX]) {
    const struct store_service *s = (const struct store_service *)base;
    const struct service_counter own[] = {
        {"store_reads", s->reads},
        {"store_writes", s->writes},
        {"store_refused", s->refused},
        {"store_full", s->full},
        {"store_used_bytes", store_db_used_bytes(s->db)},
    };
    const uint32_t count = sizeof own / sizeof own[0];
    memcpy(out, own, sizeof own);
    return count + service_listener_counters(s->listener, out + count);
}

static void store_free(struct service *base) {
    struct store_service *s = (struct store_service *)base;
    service_listener_free(s->listener);
    store_db_close(s->db);
    crypto_digest_free(s->digest);
    free(s->result.data);
    free(s);
}

static const struct service_ops store_ops = {
    .name = "store",
    .execute = store_execute,
    .state_digest = store_digest,
    .listen = store_listen,
    .counters = store_counters,
    .free = store_free,
};

struct service *service_store_new(const struct service_config *cfg, const char *dir,
                                  uint64_t map_bytes, char err[GROUP_ERROR_BYTES]) {
    struct store_service *s = calloc(1, sizeof *s);
    if (s == NULL || (s->digest = crypto_digest_new()) == NULL) {
        snprintf(err, GROUP_ERROR_BYTES, "out of memory");
        free(s);
        return NULL;
    }
    s->base = (struct service){&store_ops, cfg->done, cfg->done_ctx};
    s->cfg = *cfg;
    s->db = store_db_open(dir, map_bytes, cfg->incarnation, err);
    if (s->db == NULL) {
        crypto_digest_free(s->digest);
        free(s);
        return NULL;
    }
    return &s->base;
}
