/* SPDX-License-Identifier: BSD-3-Clause */
#include "control.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/listener.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define CONTROL_CONNECTIONS_MAX 16u
#define CONTROL_TIMEOUT_S 5

struct connection {
    struct control *control;
    struct bufferevent *bev;
};

struct control {
    struct node *node;
    struct evconnlistener *listener;
    struct sockaddr_un address;
    uint32_t count;
    struct connection connections[CONTROL_CONNECTIONS_MAX];
};

/* ---- what is told */

static void put_counters(struct evbuffer *out, const char *name, const char *const *names,
                         const uint64_t *values, size_t count) {
    evbuffer_add_printf(out, ",\"%s\":{", name);
    for (size_t i = 0; i < count; i++)
        evbuffer_add_printf(out, "%s\"%s\":%" PRIu64, i == 0 ? "" : ",", names[i], values[i]);
    evbuffer_add_printf(out, "}");
}

static void put_service(const struct node *n, struct evbuffer *out) {
    struct service_counter c[SERVICE_COUNTERS_MAX];
    const char *names[SERVICE_COUNTERS_MAX];
    uint64_t values[SERVICE_COUNTERS_MAX];
    uint32_t count = n->service->ops->counters(n->service, c);
    for (uint32_t i = 0; i < count; i++) {
        names[i] = c[i].name;
        values[i] = c[i].value;
    }
    put_counters(out, "service_counters", names, values, count);
}

static void put_status(const struct node *n, struct evbuffer *out) {
    struct bft_replica_status s;
    uint8_t digest[CRYPTO_DIGEST_BYTES];
    bft_replica_get_status(n->bft, &s);
    n->service->ops->state_digest(n->service, s.last_executed, digest);
    evbuffer_add_printf(out,
                        "{\"id\":%u,\"incarnation\":\"%016" PRIx64 "\",\"view\":%" PRIu64
                        ",\"executed\":%" PRIu64 ",\"stable\":%" PRIu64 ",\"highest_seen\":%" PRIu64
                        ",\"pending\":%" PRIu32 ",\"behind\":%s,\"service\":\"%s\"",
                        n->self, n->group.incarnation, s.view, s.last_executed, s.last_stable,
                        s.highest_seen, s.pending, s.behind ? "true" : "false",
                        n->service->ops->name);
    evbuffer_add_printf(out, ",\"state_digest\":\"");
    for (size_t i = 0; i < sizeof digest; i++)
        evbuffer_add_printf(out, "%02x", digest[i]);
    evbuffer_add_printf(out, "\",\"datagram_bytes_held\":%zu,\"drop_unknown_endpoint\":%" PRIu64,
                        datagram_bytes_held(n->datagram), n->drop_unknown_endpoint);
}

static void put_all(const struct node *n, struct evbuffer *out) {
    uint64_t bft[BFT_REPLICA_COUNTER_COUNT], datagram[DATAGRAM_COUNTER_COUNT];
    bft_replica_counters(n->bft, bft);
    datagram_counters(n->datagram, datagram);
    put_status(n, out);
    put_counters(out, "bft", bft_replica_counter_names, bft, BFT_REPLICA_COUNTER_COUNT);
    put_counters(out, "datagram", datagram_counter_names, datagram, DATAGRAM_COUNTER_COUNT);
    put_counters(out, "udp", udp_counter_names, udp_counters(n->udp), UDP_COUNTER_COUNT);
    put_service(n, out);
    evbuffer_add_printf(out, "}\n");
}

/* ---- connections */

static void connection_end(struct connection *c) {
    bufferevent_free(c->bev);
    c->bev = NULL;
    c->control->count--;
}

static void on_written(struct bufferevent *bev, void *arg) {
    (void)bev;
    connection_end(arg);
}

static void on_event(struct bufferevent *bev, short what, void *arg) {
    (void)bev;
    (void)what; // end, error or time-out
    connection_end(arg);
}

static void on_accept(struct evconnlistener *l, evutil_socket_t fd, struct sockaddr *from, int len,
                      void *arg) {
    struct control *c = arg;
    struct timeval timeout = {.tv_sec = CONTROL_TIMEOUT_S};
    uint32_t i = 0;
    (void)l, (void)from, (void)len;
    while (i < CONTROL_CONNECTIONS_MAX && c->connections[i].bev != NULL)
        i++;
    struct bufferevent *bev = i < CONTROL_CONNECTIONS_MAX
                                  ? bufferevent_socket_new(c->node->base, fd, BEV_OPT_CLOSE_ON_FREE)
                                  : NULL;
    if (bev == NULL) {
        close(fd);
        return;
    }
    c->connections[i] = (struct connection){.control = c, .bev = bev};
    c->count++;
    bufferevent_setcb(bev, NULL, on_written, on_event, &c->connections[i]);
    bufferevent_set_timeouts(bev, NULL, &timeout);
    put_all(c->node, bufferevent_get_output(bev));
    bufferevent_enable(bev, EV_WRITE);
}

/* ---- the socket */

/* A socket file that nobody listens on was left behind by a process that was killed. */
static void remove_stale(const struct sockaddr_un *address) {
    struct stat st;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    if (lstat(address->sun_path, &st) == 0 && S_ISSOCK(st.st_mode) &&
        connect(fd, (const struct sockaddr *)address, sizeof *address) != 0 &&
        errno == ECONNREFUSED)
        unlink(address->sun_path);
    close(fd);
}

static int bind_path(const struct sockaddr_un *address, const struct user *owner,
                     char err[GROUP_ERROR_BYTES]) {
    remove_stale(address);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    mode_t old = umask(0177);
    bool bound = fd >= 0 && bind(fd, (const struct sockaddr *)address, sizeof *address) == 0;
    int saved = errno;
    umask(old);
    if (bound && (!owner->given || chown(address->sun_path, owner->uid, owner->gid) == 0) &&
        listen(fd, (int)CONTROL_CONNECTIONS_MAX) == 0)
        return fd;
    snprintf(err, GROUP_ERROR_BYTES, "--control: cannot listen on %s: %s", address->sun_path,
             strerror(bound ? errno : saved));
    if (bound)
        unlink(address->sun_path);
    if (fd >= 0)
        close(fd);
    return -1;
}

struct control *control_open(struct node *n, const char *path, const struct user *owner,
                             char err[GROUP_ERROR_BYTES]) {
    struct control *c = calloc(1, sizeof *c);
    if (c == NULL || strlen(path) >= sizeof c->address.sun_path) {
        snprintf(err, GROUP_ERROR_BYTES, "--control: %s",
                 c == NULL ? "out of memory" : "the path is too long: at most 107 characters");
        free(c);
        return NULL;
    }
    c->node = n;
    c->address.sun_family = AF_UNIX;
    memcpy(c->address.sun_path, path, strlen(path));
    int fd = bind_path(&c->address, owner, err);
    if (fd >= 0) {
        c->listener = evconnlistener_new(n->base, on_accept, c, LEV_OPT_CLOSE_ON_FREE, 0, fd);
        if (c->listener != NULL)
            return c;
        snprintf(err, GROUP_ERROR_BYTES, "out of memory");
        unlink(path);
        close(fd);
    }
    free(c);
    return NULL;
}

void control_close(struct control *c) {
    if (c == NULL)
        return;
    for (uint32_t i = 0; i < CONTROL_CONNECTIONS_MAX; i++)
        if (c->connections[i].bev != NULL)
            connection_end(&c->connections[i]);
    evconnlistener_free(c->listener);
    unlink(c->address.sun_path);
    free(c);
}
