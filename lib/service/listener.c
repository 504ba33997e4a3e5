/* SPDX-License-Identifier: BSD-3-Clause */
#include "service/listener.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/keyvalq_struct.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#define LISTENER_BACKLOG 1024
#define LISTENER_IDLE_S 300
#define LISTENER_REQUEST_BODY_MAX_BYTES 65536   // of a write, which gets 405 whatever it holds
#define LISTENER_COPY_MAX_BYTES 16384u          // smaller bodies are copied into the connection
#define LISTENER_WAITING_MAX_BYTES (256u << 20) // larger ones, over all connections

/* What slow readers have not taken yet. It outlives the listener: libevent frees buffers late. */
struct waiting {
    size_t bytes;
    uint32_t users;
};

struct service_listener {
    struct evhttp *http;
    service_listener_fn *answer;
    void *ctx;
    struct waiting *waiting;
    struct service_listener_counters counters;
};

struct body_copy {
    struct waiting *waiting;
    size_t len;
    uint8_t data[];
};

static void waiting_unref(struct waiting *w) {
    assert(w->users > 0);
    if (--w->users == 0)
        free(w);
}

static void body_sent(const void *data, size_t len, void *arg) {
    struct body_copy *copy = arg;
    (void)data;
    assert(copy->len == len && copy->waiting->bytes >= len);
    copy->waiting->bytes -= len;
    waiting_unref(copy->waiting);
    free(copy);
}

static bool add_large_body(struct service_listener *l, struct evbuffer *out,
                           const struct service_reply *r) {
    struct waiting *w = l->waiting;
    if (r->body_len > LISTENER_WAITING_MAX_BYTES - w->bytes)
        return false;
    struct body_copy *copy = malloc(sizeof *copy + r->body_len);
    if (copy == NULL)
        return false;
    copy->waiting = w;
    copy->len = r->body_len;
    memcpy(copy->data, r->body, r->body_len);
    w->bytes += r->body_len;
    w->users++;
    if (evbuffer_add_reference(out, copy->data, copy->len, body_sent, copy) == 0)
        return true;
    body_sent(copy->data, copy->len, copy);
    return false;
}

static bool add_body(struct service_listener *l, struct evbuffer *out,
                     const struct service_reply *r) {
    if (r->head || r->body_len == 0)
        return true;
    if (r->body_len <= LISTENER_COPY_MAX_BYTES)
        return evbuffer_add(out, r->body, r->body_len) == 0;
    return add_large_body(l, out, r);
}

static bool add_header(struct evhttp_request *req, const struct http_header *h) {
    char name[64], value[512];
    if (h->name.len >= sizeof name || h->value.len >= sizeof value)
        return false;
    snprintf(name, sizeof name, "%.*s", (int)h->name.len, h->name.p);
    snprintf(value, sizeof value, "%.*s", (int)h->value.len, h->value.p);
    return evhttp_add_header(evhttp_request_get_output_headers(req), name, value) == 0;
}

static bool add_headers(struct evhttp_request *req, const struct service_reply *r) {
    char text[24];
    struct http_header headers[SERVICE_REPLY_HEADERS_MAX];
    uint32_t count = service_reply_headers(r, text, headers);
    for (uint32_t i = 0; i < count; i++)
        if (!add_header(req, &headers[i]))
            return false;
    return true;
}

static void send_reply(struct service_listener *l, struct evhttp_request *req,
                       const struct service_reply *r) {
    struct evbuffer *body = evbuffer_new();
    if (body != NULL && add_body(l, body, r) && add_headers(req, r)) {
        evhttp_send_reply(req, r->status, http_reason(r->status), body);
    } else {
        l->counters.refused_busy++;
        evhttp_clear_headers(evhttp_request_get_output_headers(req));
        evhttp_send_reply(req, 503, http_reason(503), NULL);
    }
    if (body != NULL)
        evbuffer_free(body);
}

/* ---- a request of evhttp as lib/http has it */

static enum http_method method_of(struct evhttp_request *req) {
    switch (evhttp_request_get_command(req)) {
    case EVHTTP_REQ_GET:
        return HTTP_GET;
    case EVHTTP_REQ_HEAD:
        return HTTP_HEAD;
    case EVHTTP_REQ_PUT:
        return HTTP_PUT;
    case EVHTTP_REQ_DELETE:
        return HTTP_DELETE;
    default:
        return HTTP_METHOD_OTHER;
    }
}

static bool take_request(struct evhttp_request *req, struct http_request *q) {
    memset(q, 0, sizeof *q);
    const char *target = evhttp_request_get_uri(req);
    q->method = method_of(req);
    q->target = (struct http_str){.p = target, .len = strlen(target)};
    q->version_minor = 1;
    struct evkeyval *h;
    TAILQ_FOREACH(h, evhttp_request_get_input_headers(req), next) {
        if (q->header_count == HTTP_HEADERS_MAX)
            return false;
        q->headers[q->header_count++] = (struct http_header){
            .name = {.p = h->key, .len = strlen(h->key)},
            .value = {.p = h->value, .len = strlen(h->value)},
        };
    }
    return true;
}

static void on_request(struct evhttp_request *req, void *arg) {
    struct service_listener *l = arg;
    struct http_request q;
    struct service_reply r = {0};
    l->counters.requests++;
    if (take_request(req, &q)) {
        l->answer(l->ctx, &q, &r);
    } else {
        l->counters.refused_malformed++;
        service_reply_text(&r, 431, q.method == HTTP_HEAD);
    }
    send_reply(l, req, &r);
}

/* ---- start and end */

/* Accepted connections inherit TCP_NODELAY: a response's last segment must not wait for an ACK. */
static int bind_socket(const struct group_endpoint *at, char err[GROUP_ERROR_BYTES]) {
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_in sin = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(at->addr), .sin_port = htons(at->port)};
    if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0 &&
        bind(fd, (struct sockaddr *)&sin, sizeof sin) == 0 && listen(fd, LISTENER_BACKLOG) == 0)
        return fd;
    snprintf(err, GROUP_ERROR_BYTES, "cannot listen on TCP %u.%u.%u.%u:%u: %s", at->addr >> 24,
             at->addr >> 16 & 255, at->addr >> 8 & 255, at->addr & 255, at->port, strerror(errno));
    if (fd >= 0)
        close(fd);
    return -1;
}

static bool start_http(struct service_listener *l, struct event_base *base, int fd) {
    l->http = evhttp_new(base);
    l->waiting = calloc(1, sizeof *l->waiting);
    if (l->waiting != NULL)
        l->waiting->users = 1;
    if (l->http == NULL || l->waiting == NULL || evhttp_accept_socket(l->http, fd) != 0)
        return false;
    evhttp_set_max_headers_size(l->http, HTTP_HEAD_MAX_BYTES);
    evhttp_set_max_body_size(l->http, LISTENER_REQUEST_BODY_MAX_BYTES);
    evhttp_set_timeout(l->http, LISTENER_IDLE_S);
    evhttp_set_default_content_type(l->http, NULL); // no header that is not in the canonical form
    evhttp_set_allowed_methods(l->http, EVHTTP_REQ_GET | EVHTTP_REQ_HEAD | EVHTTP_REQ_POST |
                                            EVHTTP_REQ_PUT | EVHTTP_REQ_DELETE |
                                            EVHTTP_REQ_OPTIONS | EVHTTP_REQ_PATCH);
    evhttp_set_gencb(l->http, on_request, l);
    return true;
}

struct service_listener *service_listener_new(struct event_base *base,
                                              const struct group_endpoint *at,
                                              service_listener_fn *answer, void *ctx,
                                              char err[GROUP_ERROR_BYTES]) {
    int fd = bind_socket(at, err);
    if (fd < 0)
        return NULL;
    struct service_listener *l = calloc(1, sizeof *l);
    if (l == NULL || !start_http(l, base, fd)) {
        snprintf(err, GROUP_ERROR_BYTES, "cannot start the HTTP listener: out of memory");
        close(fd);
        service_listener_free(l);
        return NULL;
    }
    l->answer = answer;
    l->ctx = ctx;
    return l;
}

void service_listener_free(struct service_listener *l) {
    if (l == NULL)
        return;
    if (l->http != NULL)
        evhttp_free(l->http);
    if (l->waiting != NULL)
        waiting_unref(l->waiting);
    free(l);
}

struct service_listener_counters service_listener_get_counters(const struct service_listener *l) {
    return l == NULL ? (struct service_listener_counters){0} : l->counters;
}
