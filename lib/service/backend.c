/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The http service: each agreed request goes to a real web server, one after the other over one
 * persistent connection (libevent), and the response is reduced to its canonical form.
 *
 *   IDLE -> SENT -> (response) -> IDLE
 *   SENT -> (failure of a read) -> no result -> IDLE
 *   SENT -> (failure of a write) -> WAIT -> SENT ...
 *
 * A failure is a connection that cannot be made or ends, bytes that are no response, or the
 * time-out. Any complete response is an answer, 5xx too: the web server said so, and the group
 * agrees on it or not. A request that fails on a kept connection before the first byte of an answer
 * is sent once more on a new one at once: the server may close an idle connection when it likes
 * (RFC 9112 9.3.1).
 */
#include "service/backend_response.h"
#include "service/service.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define QUEUE_MAX 1024u // unordered reads that wait, and the one ordered execution
#define BACKOFF_FIRST_MS 50u
#define BACKOFF_MAX_MS 5000u
#define REQUEST_HEAD_EXTRA_BYTES 128u // our own header line

enum backend_phase {
    PHASE_IDLE,
    PHASE_SENT, // waiting for the response
    PHASE_WAIT, // a write, before it is tried again
};

/* An execution and, from the moment it is sent, its request head as the backend gets it. */
struct backend_service {
    struct service base;
    struct service_config cfg;
    struct sockaddr_in address;
    uint32_t timeout_ms, backoff_ms;
    struct bufferevent *connection;
    struct event *timer; // time-out in SENT, back-off in WAIT, the next start in IDLE
    enum backend_phase phase;
    bool connection_used;                  // has carried a response: may be closed under us
    bool got_bytes;                        // of this response
    struct bft_execution queue[QUEUE_MAX]; // the operations themselves stay where they are
    uint32_t head, count;
    struct http_request request;
    const uint8_t *body;
    size_t body_len;
    struct backend_response response;
    struct service_buffer result, request_head;
    uint64_t requests, connects, retries, failures, timeouts, too_large, dropped;
};

static void start_next(struct backend_service *s);

static void arm(struct backend_service *s, uint32_t ms) {
    struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = (suseconds_t)(ms % 1000) * 1000};
    evtimer_add(s->timer, &tv);
}

static const struct bft_execution *current(const struct backend_service *s) {
    assert(s->count > 0);
    return &s->queue[s->head];
}

static void close_connection(struct backend_service *s) {
    if (s->connection != NULL)
        bufferevent_free(s->connection);
    s->connection = NULL;
    s->connection_used = false;
}

/* The end of the current execution. The next starts from the event loop, not from inside done. */
static void finish(struct backend_service *s, const uint8_t *result, size_t len) {
    uint64_t ticket = current(s)->ticket;
    s->head = (s->head + 1) % QUEUE_MAX;
    s->count--;
    s->phase = PHASE_IDLE;
    s->backoff_ms = BACKOFF_FIRST_MS;
    if (s->count > 0)
        arm(s, 0);
    else
        evtimer_del(s->timer);
    s->base.done(s->base.done_ctx, ticket, result, len);
}

static void finish_reply(struct backend_service *s, const struct service_reply *r) {
    size_t len = service_reply_canonical(r, s->cfg.excluded_headers, &s->result);
    finish(s, len == 0 ? NULL : s->result.data, len);
}

/* ---- the request */

static void put_id(struct wire_writer *w, const struct bft_execution *e) {
    char line[REQUEST_HEAD_EXTRA_BYTES];
    int n = snprintf(
        line, sizeof line, "X-Prophecy-Request: %" PRIx64 "-%u-%u-%" PRIu32 "-%" PRIu64 "\r\n",
        e->session.epoch, e->session.principal, e->session.endpoint, e->session.index, e->number);
    assert(n > 0 && (size_t)n < sizeof line);
    wire_put_bytes(w, line, (size_t)n);
}

/* The head of a write: as agreed, but the request's identity is ours to say. */
static bool write_head(struct backend_service *s, const struct bft_execution *e, size_t *len) {
    const struct http_request *q = &s->request;
    size_t op_head = e->op_len - s->body_len;
    struct wire_writer w;
    // Each line may grow by the space after its colon.
    if (!service_buffer_reserve(&s->request_head,
                                op_head + HTTP_HEADERS_MAX + 2 * REQUEST_HEAD_EXTRA_BYTES))
        return false;
    wire_writer_init(&w, s->request_head.data, s->request_head.cap);
    wire_put_bytes(&w, q->method_name.p, q->method_name.len);
    wire_put_bytes(&w, " ", 1);
    wire_put_bytes(&w, q->target.p, q->target.len);
    http_put_str(&w, " HTTP/1.1\r\n");
    for (uint32_t i = 0; i < q->header_count; i++) {
        const struct http_header *h = &q->headers[i];
        if (http_str_ieq(h->name, "x-prophecy-request"))
            continue;
        wire_put_bytes(&w, h->name.p, h->name.len);
        http_put_str(&w, ": ");
        wire_put_bytes(&w, h->value.p, h->value.len);
        http_put_str(&w, "\r\n");
    }
    put_id(&w, e);
    http_put_str(&w, "\r\n");
    *len = w.len;
    return !w.failed;
}

static bool send_request(struct backend_service *s) {
    const struct bft_execution *e = current(s);
    struct evbuffer *out = bufferevent_get_output(s->connection);
    if (e->read) // the very bytes: a read's upstream request is a function of its key
        return evbuffer_add(out, e->op, e->op_len) == 0;
    size_t head_len;
    return write_head(s, e, &head_len) && evbuffer_add(out, s->request_head.data, head_len) == 0 &&
           evbuffer_add(out, s->body, s->body_len) == 0;
}

/* ---- the connection */

static void on_readable(struct bufferevent *bev, void *arg);
static void on_event(struct bufferevent *bev, short what, void *arg);

static bool connect_backend(struct backend_service *s) {
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    s->connects++;
    if (connect(fd, (const struct sockaddr *)&s->address, sizeof s->address) == 0 ||
        errno == EINPROGRESS)
        s->connection = bufferevent_socket_new(s->cfg.base, fd,
                                               BEV_OPT_CLOSE_ON_FREE | BEV_OPT_DEFER_CALLBACKS);
    if (s->connection == NULL) {
        close(fd);
        return false;
    }
    bufferevent_setcb(s->connection, on_readable, NULL, on_event, s);
    return bufferevent_enable(s->connection, EV_READ | EV_WRITE) == 0;
}

/* ---- failure */

/* Of this attempt. A write is tried until it is answered; a read is not answered at all. */
static void attempt_failed(struct backend_service *s) {
    bool stale = s->connection_used && !s->got_bytes;
    close_connection(s);
    s->failures++;
    if (!stale && current(s)->read) {
        finish(s, NULL, 0);
        return;
    }
    s->retries++;
    s->phase = PHASE_WAIT;
    arm(s, stale ? 0 : s->backoff_ms);
    if (!stale && s->backoff_ms < BACKOFF_MAX_MS)
        s->backoff_ms *= 2;
}

static void attempt(struct backend_service *s) {
    s->requests++;
    s->got_bytes = false;
    s->phase = PHASE_SENT;
    backend_response_begin(&s->response, s->request.method == HTTP_HEAD, s->cfg.response_max_bytes,
                           s->cfg.excluded_headers);
    arm(s, s->timeout_ms);
    if ((s->connection == NULL && !connect_backend(s)) || !send_request(s))
        attempt_failed(s);
}

/* ---- the response */

static void finish_response(struct backend_service *s) {
    struct backend_response *r = &s->response;
    // Bytes behind the response belong to no request: the connection is out of step.
    bool keep = r->keep && evbuffer_get_length(bufferevent_get_input(s->connection)) == 0 &&
                evbuffer_get_length(bufferevent_get_output(s->connection)) == 0;
    if (keep)
        s->connection_used = true;
    else
        close_connection(s);
    if (!service_buffer_reserve(&s->result, r->head_len + r->body_len + 12)) {
        finish(s, NULL, 0);
        return;
    }
    size_t len = sketch_canonical_build(r->head, r->head_len, r->body.data, r->body_len,
                                        s->result.data, s->result.cap);
    assert(len > 0);
    finish(s, s->result.data, len);
}

/* A result that is over any limit: the replica says so in place of it (service.h). */
static void finish_too_large(struct backend_service *s) {
    static const uint8_t none;
    close_connection(s);
    s->too_large++;
    finish(s, &none, SIZE_MAX);
}

static void judge(struct backend_service *s) {
    switch (s->response.state) {
    case BACKEND_HEAD:
    case BACKEND_BODY:
        break;
    case BACKEND_DONE:
        finish_response(s);
        break;
    case BACKEND_TOO_LARGE:
        finish_too_large(s);
        break;
    case BACKEND_BROKEN:
        attempt_failed(s);
        break;
    }
}

static void feed(struct backend_service *s, struct evbuffer *in) {
    while (evbuffer_get_length(in) > 0) {
        size_t want = s->response.state == BACKEND_HEAD ? HTTP_HEAD_MAX_BYTES + 1
                                                        : evbuffer_get_contiguous_space(in);
        size_t have = evbuffer_get_length(in);
        size_t len = want < have ? want : have;
        const uint8_t *data = evbuffer_pullup(in, (ev_ssize_t)len);
        size_t used = data == NULL ? 0 : backend_response_feed(&s->response, data, len);
        if (used == 0)
            return;
        evbuffer_drain(in, used);
        if (s->response.state != BACKEND_HEAD && s->response.state != BACKEND_BODY)
            return;
    }
}

static void on_readable(struct bufferevent *bev, void *arg) {
    struct backend_service *s = arg;
    struct evbuffer *in = bufferevent_get_input(bev);
    assert(bev == s->connection);
    if (s->phase != PHASE_SENT) { // an answer that nobody asked for
        if (evbuffer_get_length(in) > 0)
            close_connection(s);
        return;
    }
    s->got_bytes = s->got_bytes || evbuffer_get_length(in) > 0;
    feed(s, in);
    judge(s);
}

static void on_event(struct bufferevent *bev, short what, void *arg) {
    struct backend_service *s = arg;
    assert(bev == s->connection);
    if ((what & (BEV_EVENT_EOF | BEV_EVENT_ERROR)) == 0)
        return;
    if (s->phase != PHASE_SENT) {
        close_connection(s);
        return;
    }
    if (what & BEV_EVENT_EOF)
        backend_response_eof(&s->response);
    else
        s->response.state = BACKEND_BROKEN;
    judge(s);
}

static void on_timer(evutil_socket_t fd, short what, void *arg) {
    struct backend_service *s = arg;
    (void)fd;
    (void)what;
    if (s->phase == PHASE_IDLE) {
        start_next(s);
    } else if (s->phase == PHASE_WAIT) {
        attempt(s);
    } else {
        s->timeouts++;
        s->got_bytes = true; // the server is slow, not gone: no second attempt for a read
        attempt_failed(s);
    }
}

/* ---- executions */

static void start_next(struct backend_service *s) {
    const struct bft_execution *e = current(s);
    struct service_reply r;
    uint16_t refused = service_op_parse(e->op, e->op_len, &s->request, &s->body, &s->body_len);
    bool safe = s->request.method == HTTP_GET || s->request.method == HTTP_HEAD;
    if (refused == 0 && e->sigma == 0 && !safe)
        refused = 405; // unordered, it would change this replica alone
    if (refused == 0) {
        attempt(s);
        return;
    }
    service_reply_text(&r, refused, false);
    finish_reply(s, &r);
}

static void backend_execute(struct service *base, const struct bft_execution *e) {
    struct backend_service *s = (struct backend_service *)base;
    // One place is kept for the ordered execution, of which there is one at a time.
    if (s->count == QUEUE_MAX || (s->count == QUEUE_MAX - 1 && e->sigma == 0)) {
        assert(e->sigma == 0);
        s->dropped++;
        s->base.done(s->base.done_ctx, e->ticket, NULL, 0);
        return;
    }
    s->queue[(s->head + s->count) % QUEUE_MAX] = *e;
    s->count++;
    if (s->phase == PHASE_IDLE && s->count == 1)
        start_next(s);
}

/* The state is the web server's; nobody here can see it. */
static void backend_digest(struct service *base, uint64_t sequence,
                           uint8_t out[CRYPTO_DIGEST_BYTES]) {
    (void)base;
    (void)sequence;
    memset(out, 0, CRYPTO_DIGEST_BYTES);
}

static uint32_t backend_counters(const struct service *base,
                                 struct service_counter out[SERVICE_COUNTERS_MAX]) {
    const struct backend_service *s = (const struct backend_service *)base;
    const struct service_counter all[] = {
        {"backend_requests", s->requests},  {"backend_connects", s->connects},
        {"backend_retries", s->retries},    {"backend_failures", s->failures},
        {"backend_timeouts", s->timeouts},  {"backend_too_large", s->too_large},
        {"drop_backend_queue", s->dropped},
    };
    static_assert(sizeof all / sizeof all[0] <= SERVICE_COUNTERS_MAX, "they fit");
    memcpy(out, all, sizeof all);
    return sizeof all / sizeof all[0];
}

static void backend_free(struct service *base) {
    struct backend_service *s = (struct backend_service *)base;
    close_connection(s);
    if (s->timer != NULL)
        event_free(s->timer);
    free(s->response.body.data);
    free(s->result.data);
    free(s->request_head.data);
    free(s);
}

static const struct service_ops backend_ops = {
    .name = "http",
    .execute = backend_execute,
    .state_digest = backend_digest,
    .listen = NULL,
    .counters = backend_counters,
    .free = backend_free,
};

struct service *service_http_new(const struct service_config *cfg,
                                 const struct group_endpoint *backend, uint32_t timeout_ms,
                                 char err[GROUP_ERROR_BYTES]) {
    struct backend_service *s = calloc(1, sizeof *s);
    if (s != NULL) {
        s->base = (struct service){&backend_ops, cfg->done, cfg->done_ctx};
        s->cfg = *cfg;
        s->timeout_ms = timeout_ms;
        s->backoff_ms = BACKOFF_FIRST_MS;
        s->address = (struct sockaddr_in){.sin_family = AF_INET,
                                          .sin_addr.s_addr = htonl(backend->addr),
                                          .sin_port = htons(backend->port)};
        s->timer = evtimer_new(cfg->base, on_timer, s);
    }
    if (s == NULL || s->timer == NULL) {
        snprintf(err, GROUP_ERROR_BYTES, "out of memory");
        free(s);
        return NULL;
    }
    return &s->base;
}
