/* SPDX-License-Identifier: BSD-3-Clause */
#include "service/listener.h"

#include "service/service.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define LISTENER_BACKLOG 1024
#define LISTENER_IDLE_S 300            // without a request
#define LISTENER_STUCK_S 30            // without progress of a response
#define LISTENER_LINGER_S 5            // for the client to see why it is refused
#define LISTENER_BODY_MAX_BYTES 65536u // of a request, read only to be refused in good order
#define LISTENER_INPUT_MAX_BYTES (HTTP_HEAD_MAX_BYTES + LISTENER_BODY_MAX_BYTES + 4096u)
#define LISTENER_COPY_MAX_BYTES 16384u // smaller bodies are copied into the connection
#define LISTENER_HEAD_MAX_BYTES 1024u  // of our responses

/* What slow readers have not taken yet. It outlives the listener: libevent frees buffers late. */
struct waiting {
    size_t bytes;
    uint32_t users;
};

struct body_copy {
    struct waiting *waiting;
    size_t len;
    uint8_t data[];
};

enum connection_state {
    CONNECTION_READING, // for the next request
    CONNECTION_WRITING, // a response is leaving
    CONNECTION_CLOSING, // the last response is leaving
    CONNECTION_LINGER,  // it has left; what still comes is thrown away
};

struct connection {
    struct service_listener *listener;
    struct connection *prev, *next;
    struct bufferevent *bev;
    enum connection_state state;
};

struct service_listener {
    struct event_base *base;
    struct evconnlistener *accept;
    service_listener_fn *answer;
    void *ctx;
    struct waiting *waiting;
    struct connection *connections;
    uint32_t connection_count;
    uint64_t requests, refused_busy, refused_malformed, refused_connections;
};

/* ---- bodies */

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

/* ---- responses */

static size_t write_head(const struct service_reply *r, const struct http_request *q, bool keep,
                         uint8_t out[LISTENER_HEAD_MAX_BYTES]) {
    char text[24], date[29];
    struct http_header headers[SERVICE_REPLY_HEADERS_MAX];
    uint32_t count = service_reply_headers(r, text, headers);
    struct wire_writer w;
    wire_writer_init(&w, out, LISTENER_HEAD_MAX_BYTES);
    http_put_status_line(&w, r->status);
    for (uint32_t i = 0; i < count; i++)
        http_put_header(&w, headers[i].name.p, headers[i].value);
    http_format_date((int64_t)time(NULL), date);
    http_put_header(&w, "Date", (struct http_str){.p = date, .len = sizeof date});
    if (!keep)
        http_put_str(&w, "Connection: close\r\n");
    else if (q->version_minor == 0)
        http_put_str(&w, "Connection: keep-alive\r\n");
    http_put_str(&w, "\r\n");
    assert(!w.failed);
    return w.len;
}

/* Puts the whole response, or nothing, into the connection's output. */
static bool put_response(struct connection *c, const struct http_request *q,
                         const struct service_reply *r, bool keep) {
    uint8_t head[LISTENER_HEAD_MAX_BYTES];
    size_t head_len = write_head(r, q, keep, head);
    struct evbuffer *whole = evbuffer_new();
    bool ok = whole != NULL && evbuffer_add(whole, head, head_len) == 0 &&
              add_body(c->listener, whole, r) && bufferevent_write_buffer(c->bev, whole) == 0;
    if (whole != NULL)
        evbuffer_free(whole);
    return ok;
}

static void respond(struct connection *c, const struct http_request *q,
                    const struct service_reply *r, bool keep) {
    if (!put_response(c, q, r, keep)) {
        struct service_reply busy;
        c->listener->refused_busy++;
        service_reply_text(&busy, 503, r->head);
        put_response(c, q, &busy, keep);
    }
    c->state = keep ? CONNECTION_WRITING : CONNECTION_CLOSING;
    if (keep)
        bufferevent_disable(c->bev, EV_READ);
}

/* ---- requests */

static void refuse(struct connection *c, const struct http_request *q, uint16_t status) {
    struct service_reply r;
    c->listener->refused_malformed++;
    service_reply_text(&r, status, false);
    respond(c, q, &r, false);
}

/* Takes one request off the input; false when it is not all there yet. */
static bool take_request(struct connection *c, struct evbuffer *in) {
    struct service_listener *l = c->listener;
    struct http_request q = {.version_minor = 1};
    struct service_reply r = {0};
    size_t len = evbuffer_get_length(in);
    const uint8_t *data = len == 0 ? NULL : evbuffer_pullup(in, -1);
    if (data == NULL)
        return false;
    int n = http_parse_request(data, len, &q);
    if (n == 0)
        return false;
    if (n < 0) {
        q.version_minor = 1;
        refuse(c, &q, (uint16_t)-n);
        return true;
    }
    bool body_fits = !q.chunked && q.content_length <= LISTENER_BODY_MAX_BYTES;
    if (body_fits && len < (size_t)n + q.content_length)
        return false;
    l->requests++;
    l->answer(l->ctx, &q, &r);
    respond(c, &q, &r, q.keep_alive && body_fits);
    // q points into the input: only now may it go.
    evbuffer_drain(in, body_fits ? (size_t)n + (size_t)q.content_length : len);
    return true;
}

/* ---- connections */

static void connection_end(struct connection *c) {
    struct service_listener *l = c->listener;
    *(c->prev != NULL ? &c->prev->next : &l->connections) = c->next;
    if (c->next != NULL)
        c->next->prev = c->prev;
    bufferevent_free(c->bev);
    free(c);
    l->connection_count--;
}

static void on_readable(struct bufferevent *bev, void *arg) {
    struct connection *c = arg;
    struct evbuffer *in = bufferevent_get_input(bev);
    if (c->state == CONNECTION_READING)
        take_request(c, in);
    else if (c->state != CONNECTION_WRITING)
        evbuffer_drain(in, evbuffer_get_length(in));
}

/* The response has left: on with what is here already (pipelining), or with reading. */
static void on_written(struct bufferevent *bev, void *arg) {
    struct connection *c = arg;
    if (c->state == CONNECTION_WRITING) {
        c->state = CONNECTION_READING;
        if (!take_request(c, bufferevent_get_input(bev)))
            bufferevent_enable(bev, EV_READ);
    } else if (c->state == CONNECTION_CLOSING) {
        // Closing with unread data would reset the connection and lose the response.
        struct timeval linger = {.tv_sec = LISTENER_LINGER_S};
        c->state = CONNECTION_LINGER;
        shutdown(bufferevent_getfd(bev), SHUT_WR);
        bufferevent_set_timeouts(bev, &linger, NULL);
        bufferevent_enable(bev, EV_READ);
    }
}

static void on_event(struct bufferevent *bev, short what, void *arg) {
    struct connection *c = arg;
    bool half_closed = (what & BEV_EVENT_EOF) != 0 && (what & BEV_EVENT_READING) != 0 &&
                       evbuffer_get_length(bufferevent_get_output(bev)) > 0;
    // The client said its last word and still wants the answer to it.
    if (half_closed && c->state != CONNECTION_LINGER) {
        c->state = CONNECTION_CLOSING;
        return;
    }
    connection_end(c);
}

static void on_accept(struct evconnlistener *accept, evutil_socket_t fd, struct sockaddr *from,
                      int len, void *arg) {
    struct service_listener *l = arg;
    struct timeval idle = {.tv_sec = LISTENER_IDLE_S}, stuck = {.tv_sec = LISTENER_STUCK_S};
    (void)accept, (void)from, (void)len;
    struct connection *c =
        l->connection_count < LISTENER_CONNECTIONS_MAX ? calloc(1, sizeof *c) : NULL;
    if (c != NULL)
        c->bev = bufferevent_socket_new(l->base, fd, BEV_OPT_CLOSE_ON_FREE);
    if (c == NULL || c->bev == NULL) {
        l->refused_connections++;
        close(fd);
        free(c);
        return;
    }
    c->listener = l;
    c->next = l->connections;
    if (c->next != NULL)
        c->next->prev = c;
    l->connections = c;
    l->connection_count++;
    bufferevent_setcb(c->bev, on_readable, on_written, on_event, c);
    bufferevent_setwatermark(c->bev, EV_READ, 0, LISTENER_INPUT_MAX_BYTES);
    bufferevent_set_timeouts(c->bev, &idle, &stuck);
    bufferevent_enable(c->bev, EV_READ | EV_WRITE);
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

struct service_listener *service_listener_new(struct event_base *base,
                                              const struct group_endpoint *at,
                                              service_listener_fn *answer, void *ctx,
                                              char err[GROUP_ERROR_BYTES]) {
    int fd = bind_socket(at, err);
    if (fd < 0)
        return NULL;
    struct service_listener *l = calloc(1, sizeof *l);
    struct waiting *waiting = calloc(1, sizeof *waiting);
    if (l != NULL && waiting != NULL)
        l->accept = evconnlistener_new(base, on_accept, l, LEV_OPT_CLOSE_ON_FREE, 0, fd);
    if (l == NULL || waiting == NULL || l->accept == NULL) {
        snprintf(err, GROUP_ERROR_BYTES, "out of memory");
        close(fd);
        free(l);
        free(waiting);
        return NULL;
    }
    waiting->users = 1;
    l->base = base;
    l->answer = answer;
    l->ctx = ctx;
    l->waiting = waiting;
    return l;
}

void service_listener_free(struct service_listener *l) {
    if (l == NULL)
        return;
    while (l->connections != NULL)
        connection_end(l->connections);
    evconnlistener_free(l->accept);
    waiting_unref(l->waiting);
    free(l);
}

uint32_t service_listener_counters(const struct service_listener *l, struct service_counter *out) {
    static const struct service_listener none;
    if (l == NULL)
        l = &none;
    out[0] = (struct service_counter){"http_requests", l->requests};
    out[1] = (struct service_counter){"http_connections", l->connection_count};
    out[2] = (struct service_counter){"http_refused_busy", l->refused_busy};
    out[3] = (struct service_counter){"http_refused_malformed", l->refused_malformed};
    out[4] = (struct service_counter){"http_refused_connections", l->refused_connections};
    return 5;
}
