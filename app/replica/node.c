/* SPDX-License-Identifier: BSD-3-Clause */
#include "node.h"

#include "control.h"

#include <assert.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Codec, authenticator and headers around an operation or a result. */
#define MESSAGE_OVERHEAD_BYTES 65536u
#define MESSAGES_IN_MEMORY 16u

static_assert(USER_ERROR_BYTES == GROUP_ERROR_BYTES, "one buffer for every message");
static_assert(GROUP_REPLICAS_MAX <= BFT_REPLICAS_MAX, "the agreement takes any group");
static_assert(GROUP_REPLICAS_MAX + GROUP_ENDPOINTS_TOTAL_MAX <= DATAGRAM_PEERS_MAX,
              "every replica and client endpoint of a group can be a peer");

void node_log(const struct node *n, const char *format, ...) {
    char line[GROUP_ERROR_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    fprintf(stderr, "prophecy-replica[%u]: %s\n", n->self, line);
}

static uint64_t clock_us(clockid_t id) {
    struct timespec ts;
    clock_gettime(id, &ts);
    return (uint64_t)ts.tv_sec * 1000000u + (uint64_t)ts.tv_nsec / 1000u;
}

static uint64_t now_us(void) {
    return clock_us(CLOCK_MONOTONIC);
}

/* ---- the event loop's side */

static void rearm(struct node *n) {
    uint64_t a = bft_replica_next_deadline(n->bft), b = datagram_next_deadline(n->datagram);
    uint64_t deadline = a < b ? a : b, now = now_us();
    if (deadline == UINT64_MAX) {
        evtimer_del(n->timer);
        return;
    }
    uint64_t wait = deadline > now ? deadline - now : 0;
    struct timeval tv = {.tv_sec = (time_t)(wait / 1000000u),
                         .tv_usec = (suseconds_t)(wait % 1000000u)};
    evtimer_add(n->timer, &tv);
}

static void enter(struct node *n) {
    n->depth++;
}

static void leave(struct node *n) {
    assert(n->depth > 0);
    if (--n->depth > 0)
        return;
    udp_flush(n->udp);
    rearm(n);
}

static void on_datagram(void *ctx, const uint8_t *data, size_t len) {
    struct node *n = ctx;
    datagram_input(n->datagram, data, len, now_us());
}

static void on_readable(evutil_socket_t fd, short what, void *arg) {
    struct node *n = arg;
    (void)fd;
    (void)what;
    enter(n);
    udp_receive(n->udp, on_datagram, n);
    leave(n);
}

static void on_timer(evutil_socket_t fd, short what, void *arg) {
    struct node *n = arg;
    (void)fd;
    (void)what;
    enter(n);
    datagram_timers(n->datagram, now_us());
    bft_replica_timers(n->bft, now_us());
    leave(n);
}

static void on_signal(evutil_socket_t fd, short what, void *arg) {
    struct node *n = arg;
    (void)what;
    node_log(n, "signal %d: ending", (int)fd);
    event_base_loopbreak(n->base);
}

/* ---- between the cores */

static struct group_endpoint address_of(const struct node *n, struct datagram_address to) {
    if (to.principal < n->group.replicas)
        return n->group.replica_agreement[to.principal];
    struct group_endpoint at = n->group.client_agreement[to.principal - n->group.replicas];
    at.port = (uint16_t)(at.port + to.endpoint);
    return at;
}

static void datagram_emit(void *ctx, struct datagram_address to, const uint8_t *data, size_t len) {
    struct node *n = ctx;
    struct group_endpoint at = address_of(n, to);
    udp_send(n->udp, &at, data, len);
}

static void datagram_deliver(void *ctx, struct datagram_address from, const uint8_t *message,
                             size_t len) {
    struct node *n = ctx;
    bft_replica_input(n->bft, from.principal, from.endpoint, message, len, now_us());
}

static bool known_peer(const struct node *n, uint16_t principal, uint16_t endpoint) {
    if (principal < n->group.replicas)
        return endpoint == 0 && principal != n->self;
    uint32_t client = principal - n->group.replicas;
    return client < n->group.clients && endpoint < n->group.client_endpoints[client];
}

static void bft_send(void *ctx, uint16_t principal, uint16_t endpoint, const uint8_t *message,
                     size_t len) {
    struct node *n = ctx;
    struct datagram_address to = {.principal = principal, .endpoint = endpoint};
    // The endpoint is what the client wrote into its request.
    if (!known_peer(n, principal, endpoint)) {
        n->drop_unknown_endpoint++;
        return;
    }
    datagram_send(n->datagram, to, message, len, now_us()); // a refusal is counted there
}

static void bft_broadcast(void *ctx, const uint8_t *message, size_t len) {
    struct node *n = ctx;
    if (n->other_count > 0)
        datagram_send_many(n->datagram, n->others, n->other_count, message, len, now_us());
}

static void bft_execute(void *ctx, const struct bft_execution *e) {
    struct node *n = ctx;
    n->service->ops->execute(n->service, e);
}

static void bft_state_digest(void *ctx, uint64_t sequence, uint8_t out[CRYPTO_DIGEST_BYTES]) {
    struct node *n = ctx;
    n->service->ops->state_digest(n->service, sequence, out);
}

static void service_done(void *ctx, uint64_t ticket, const uint8_t *result, size_t len) {
    struct node *n = ctx;
    enter(n);
    bft_replica_executed(n->bft, ticket, result, len, now_us());
    leave(n);
}

static void service_failed(void *ctx, const char *why) {
    struct node *n = ctx;
    node_log(n, "%s: this replica stops", why);
    n->failed = true;
    event_base_loopbreak(n->base);
}

/* ---- start */

static bool no_memory(char err[GROUP_ERROR_BYTES]) {
    snprintf(err, GROUP_ERROR_BYTES, "out of memory");
    return false;
}

static bool make_service(struct node *n, const struct options *o, char err[GROUP_ERROR_BYTES]) {
    struct service_config c = {
        .base = n->base,
        .request_max_bytes = n->group.request_max_bytes,
        .response_max_bytes = n->group.response_max_bytes,
        .incarnation = n->group.incarnation,
        .excluded_headers = &n->group.excluded_headers,
        .done = service_done,
        .done_ctx = n,
        .failed = service_failed,
    };
    switch (o->service) {
    case SERVICE_STORE:
        n->service = service_store_new(&c, o->store_dir, o->store_map_bytes, err);
        break;
    case SERVICE_HTTP:
        n->service = service_http_new(&c, &o->backend, o->backend_timeout_ms, err);
        break;
    case SERVICE_NULL:
        n->service = service_null_new(&c, o->response_bytes, o->busy_us, err);
        break;
    }
    return n->service != NULL;
}

static bool make_datagram(struct node *n, const struct group_keys *keys,
                          char err[GROUP_ERROR_BYTES]) {
    struct datagram_config c;
    struct datagram_env env = {.ctx = n, .emit = datagram_emit, .deliver = datagram_deliver};
    size_t op = group_operation_max_bytes(&n->group), result = group_result_max_bytes(&n->group);
    datagram_config_default(&c);
    c.self = (struct datagram_address){.principal = n->self};
    c.epoch = clock_us(CLOCK_REALTIME); // larger than in any earlier life
    c.message_max_bytes = (op > result ? op : result) + MESSAGE_OVERHEAD_BYTES;
    if (c.reassembly_max_bytes < MESSAGES_IN_MEMORY * c.message_max_bytes)
        c.reassembly_max_bytes = MESSAGES_IN_MEMORY * c.message_max_bytes;
    if (c.send_max_bytes < MESSAGES_IN_MEMORY * c.message_max_bytes)
        c.send_max_bytes = MESSAGES_IN_MEMORY * c.message_max_bytes;
    n->datagram = datagram_new(&c, &env);
    if (n->datagram == NULL)
        return no_memory(err);
    for (uint16_t p = 0; p < keys->count; p++) {
        for (uint16_t e = 0; known_peer(n, p, e); e++) {
            struct datagram_address peer = {.principal = p, .endpoint = e};
            if (!datagram_add_peer(n->datagram, peer, keys->key[p]))
                return no_memory(err);
        }
        if (p < n->group.replicas && p != n->self)
            n->others[n->other_count++] = (struct datagram_address){.principal = p};
    }
    return true;
}

static bool make_bft(struct node *n, const struct options *o, const struct group_keys *keys,
                     char err[GROUP_ERROR_BYTES]) {
    struct bft_replica_config c;
    struct bft_replica_env env = {
        .ctx = n,
        .send = bft_send,
        .broadcast = bft_broadcast,
        .execute = bft_execute,
        .state_digest = bft_state_digest,
    };
    bft_replica_config_default(&c);
    c.group = (struct bft_group){
        .n = n->group.replicas,
        .f = n->group.f,
        .incarnation = n->group.incarnation,
        .read_optimisation = n->group.read_optimisation,
        .unordered_writes = n->group.unordered_writes,
        .request_max_bytes = group_operation_max_bytes(&n->group),
        .result_max_bytes = group_result_max_bytes(&n->group),
    };
    c.self = n->self;
    c.checkpoint_interval = n->group.checkpoint_interval;
    c.log_window = n->group.log_window;
    if (o->batch_max != 0)
        c.batch_max_requests = o->batch_max;
    if (o->sessions_max != 0)
        c.sessions_max = o->sessions_max;
    size_t least = MESSAGES_IN_MEMORY * (c.group.request_max_bytes + c.group.result_max_bytes);
    if (c.memory_max_bytes < least)
        c.memory_max_bytes = least;
    n->bft = bft_replica_new(&c, &env, keys->key, keys->count);
    return n->bft != NULL || no_memory(err);
}

static bool make_events(struct node *n, char err[GROUP_ERROR_BYTES]) {
    static const int signals[2] = {SIGTERM, SIGINT};
    n->readable = event_new(n->base, udp_fd(n->udp), EV_READ | EV_PERSIST, on_readable, n);
    n->timer = evtimer_new(n->base, on_timer, n);
    bool ok = n->readable != NULL && n->timer != NULL && event_add(n->readable, NULL) == 0;
    for (int i = 0; i < 2; i++) {
        n->terminate[i] = evsignal_new(n->base, signals[i], on_signal, n);
        ok = ok && n->terminate[i] != NULL && event_add(n->terminate[i], NULL) == 0;
    }
    return ok || no_memory(err);
}

static bool listen_http(struct node *n, const struct options *o, char err[GROUP_ERROR_BYTES]) {
    const struct group_endpoint *at =
        o->has_listen_http ? &o->listen_http : &n->group.replica_http[n->self];
    return n->service->ops->listen == NULL || n->service->ops->listen(n->service, at, err);
}

/* Files are opened as the user, sockets bound as root. */
static bool make_all(struct node *n, const struct options *o, const struct group_keys *keys,
                     char err[GROUP_ERROR_BYTES]) {
    struct user user;
    if (!user_find(o->user, &user, err))
        return false;
    if (o->store_dir != NULL && !user_make_dir(&user, o->store_dir, err))
        return false;
    n->base = event_base_new();
    if (n->base == NULL)
        return no_memory(err);
    if (!user_enter(&user, err) || !make_service(n, o, err) || !user_leave(&user, err))
        return false;
    n->udp = udp_open(&n->group.replica_agreement[n->self], err);
    if (n->udp == NULL || !listen_http(n, o, err))
        return false;
    if (o->control != NULL && (n->control = control_open(n, o->control, &user, err)) == NULL)
        return false;
    return user_become(&user, err) && make_datagram(n, keys, err) && make_bft(n, o, keys, err) &&
           make_events(n, err);
}

bool node_start(struct node *n, const struct options *o, char err[GROUP_ERROR_BYTES]) {
    struct group_keys keys;
    *n = (struct node){.self = (uint16_t)o->id};
    if (!group_read(o->group, &n->group, err))
        return false;
    if (o->id >= n->group.replicas) {
        snprintf(err, GROUP_ERROR_BYTES, "--id: %u is not a replica of %s: it has 0 to %u", o->id,
                 o->group, n->group.replicas - 1);
        return false;
    }
    if (!group_keys_read(o->keys, &n->group, n->self, &keys, err))
        return false;
    bool ok = make_all(n, o, &keys, err);
    crypto_wipe(&keys, sizeof keys);
    if (!ok)
        node_stop(n);
    return ok;
}

int node_run(struct node *n) {
    rearm(n);
    node_log(n, "ready: %s service, incarnation %016llx", n->service->ops->name,
             (unsigned long long)n->group.incarnation);
    if (event_base_dispatch(n->base) < 0)
        n->failed = true;
    return n->failed ? 1 : 0;
}

void node_stop(struct node *n) {
    struct event *events[] = {n->readable, n->timer, n->terminate[0], n->terminate[1]};
    control_close(n->control);
    for (size_t i = 0; i < sizeof events / sizeof events[0]; i++)
        if (events[i] != NULL)
            event_free(events[i]);
    if (n->service != NULL)
        n->service->ops->free(n->service);
    if (n->bft != NULL)
        bft_replica_free(n->bft);
    if (n->datagram != NULL)
        datagram_free(n->datagram);
    udp_close(n->udp);
    if (n->base != NULL)
        event_base_free(n->base);
    *n = (struct node){0};
}
