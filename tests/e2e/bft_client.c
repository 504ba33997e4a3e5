/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bft_client - a direct client of a group, for tests: one request (or many of the same) through the
 * agreement client and the datagrams over a kernel UDP socket.
 *
 *   bft_client --group FILE --keys FILE --client I [--endpoint K] [--count N] [--concurrency C]
 *              [--timeout-ms T] METHOD TARGET [BODY-FILE]
 *
 * GET and HEAD go as reads. The body of the last response goes to standard output; standard error
 * gets one line "agreed=N timed_out=N disagreed=N too_large=N status=S sigma=X retransmitted=N
 * wrong_replies=A,B,..". Exit status 0 when all were agreed on.
 */
#include "bft/bft.h"
#include "datagram/datagram.h"
#include "group/group.h"
#include "sketch/sketch.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

struct options {
    const char *group, *keys, *method, *target, *body;
    uint64_t client, endpoint, count, concurrency, timeout_ms;
};

struct client {
    struct group group;
    struct group_keys keys;
    struct options options;
    int fd;
    struct datagram *datagram;
    struct bft_client *bft;
    struct datagram_address replicas[GROUP_REPLICAS_MAX];
    uint8_t *op;
    size_t op_len;
    uint32_t flags;
    uint64_t submitted, finished, agreed, timed_out, disagreed, too_large;
    uint16_t status;
    uint64_t sigma;
    uint8_t *body; // of the last response
    size_t body_len;
};

static void die(const char *what) {
    fprintf(stderr, "bft_client: %s\n", what);
    exit(2);
}

static uint64_t clock_us(clockid_t id) {
    struct timespec ts;
    clock_gettime(id, &ts);
    return (uint64_t)ts.tv_sec * 1000000u + (uint64_t)ts.tv_nsec / 1000u;
}

static uint64_t now_us(void) {
    return clock_us(CLOCK_MONOTONIC);
}

/* ---- between the cores and the socket */

static void emit(void *ctx, struct datagram_address to, const uint8_t *data, size_t len) {
    struct client *c = ctx;
    const struct group_endpoint *at = &c->group.replica_agreement[to.principal];
    struct sockaddr_in sin = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(at->addr), .sin_port = htons(at->port)};
    // Lost is lost: the protocols above retransmit.
    ssize_t sent = sendto(c->fd, data, len, MSG_DONTWAIT, (struct sockaddr *)&sin, sizeof sin);
    (void)sent;
}

static void deliver(void *ctx, struct datagram_address from, const uint8_t *message, size_t len) {
    struct client *c = ctx;
    bft_client_input(c->bft, from.principal, message, len, now_us());
}

static void send_one(void *ctx, uint16_t replica, const uint8_t *message, size_t len) {
    struct client *c = ctx;
    datagram_send(c->datagram, c->replicas[replica], message, len, now_us());
}

static void send_all(void *ctx, const uint8_t *message, size_t len) {
    struct client *c = ctx;
    datagram_send_many(c->datagram, c->replicas, c->group.replicas, message, len, now_us());
}

/* ---- requests */

static void submit(struct client *c) {
    while (c->submitted < c->options.count && c->submitted - c->finished < c->options.concurrency) {
        if (!bft_client_submit(c->bft, c->submitted, c->flags, c->op, c->op_len, now_us()))
            die("the request is refused: too large, or no session is free");
        c->submitted++;
    }
}

static void keep_response(struct client *c, const struct bft_completion *done) {
    struct sketch_view v;
    if (!sketch_canonical_parse(done->result, done->result_len, &v))
        die("the agreed result is no canonical response");
    free(c->body);
    c->body = malloc(v.body_len + 1);
    assert(c->body != NULL);
    memcpy(c->body, v.body, v.body_len);
    c->body_len = v.body_len;
    c->status = v.status;
    c->sigma = done->sigma;
}

static void complete(void *ctx, const struct bft_completion *done) {
    struct client *c = ctx;
    switch (done->outcome) {
    case BFT_AGREED:
    case BFT_UNORDERED_AGREED:
        c->agreed++;
        keep_response(c, done);
        break;
    case BFT_DISAGREED:
        c->disagreed++;
        break;
    case BFT_TOO_LARGE:
        c->too_large++;
        break;
    case BFT_TIMED_OUT:
        c->timed_out++;
        break;
    case BFT_AGREED_LATE:
    case BFT_ABANDONED:
        return; // counted when it timed out
    }
    c->finished++;
}

static uint8_t *read_body(const char *path, size_t *len) {
    uint8_t *body = NULL;
    size_t cap = 0, n;
    FILE *f = fopen(path, "rb");
    *len = 0;
    if (f == NULL)
        die("the body file cannot be read");
    do {
        cap += 1u << 20;
        body = realloc(body, cap);
        assert(body != NULL);
        n = fread(body + *len, 1, cap - *len, f);
        *len += n;
    } while (n > 0);
    fclose(f);
    return body;
}

static void make_op(struct client *c) {
    const struct options *o = &c->options;
    size_t body_len = 0;
    uint8_t *body = o->body == NULL ? NULL : read_body(o->body, &body_len);
    bool read = strcmp(o->method, "GET") == 0 || strcmp(o->method, "HEAD") == 0;
    c->flags = read ? BFT_READ : 0;
    c->op = malloc(strlen(o->target) + strlen(o->method) + 256 + body_len);
    assert(c->op != NULL);
    int n = sprintf((char *)c->op, "%s %s HTTP/1.1\r\nHost: test\r\n", o->method, o->target);
    if (body != NULL)
        n += sprintf((char *)c->op + n, "Content-Length: %zu\r\n", body_len);
    n += sprintf((char *)c->op + n, "\r\n");
    if (body_len > 0)
        memcpy(c->op + n, body, body_len);
    c->op_len = (size_t)n + body_len;
    free(body);
}

/* ---- set-up */

static void bind_socket(struct client *c) {
    const struct group_endpoint *at = &c->group.client_agreement[c->options.client];
    struct sockaddr_in sin = {.sin_family = AF_INET,
                              .sin_addr.s_addr = htonl(at->addr),
                              .sin_port = htons((uint16_t)(at->port + c->options.endpoint))};
    int bytes = 8 << 20;
    c->fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || bind(c->fd, (struct sockaddr *)&sin, sizeof sin) != 0)
        die("the client's UDP address cannot be bound");
    setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
    setsockopt(c->fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
}

static void make_datagram(struct client *c, uint16_t principal) {
    struct datagram_config d;
    struct datagram_env env = {.ctx = c, .emit = emit, .deliver = deliver};
    datagram_config_default(&d);
    d.self = (struct datagram_address){principal, (uint16_t)c->options.endpoint};
    d.epoch = clock_us(CLOCK_REALTIME);
    size_t op = group_operation_max_bytes(&c->group), result = group_result_max_bytes(&c->group);
    d.message_max_bytes = (op > result ? op : result) + 65536;
    d.reassembly_max_bytes = d.send_max_bytes = 16 * d.message_max_bytes;
    c->datagram = datagram_new(&d, &env);
    if (c->datagram == NULL)
        die("out of memory");
    for (uint16_t r = 0; r < c->group.replicas; r++) {
        c->replicas[r] = (struct datagram_address){.principal = r};
        if (!datagram_add_peer(c->datagram, c->replicas[r], c->keys.key[r]))
            die("out of memory");
    }
}

static void make_bft(struct client *c, uint16_t principal) {
    struct bft_client_config b;
    struct bft_client_env env = {
        .ctx = c, .send = send_one, .broadcast = send_all, .complete = complete};
    bft_client_config_default(&b);
    b.group = (struct bft_group){
        .n = c->group.replicas,
        .f = c->group.f,
        .incarnation = c->group.incarnation,
        .read_optimisation = c->group.read_optimisation,
        .unordered_writes = c->group.unordered_writes,
        .request_max_bytes = group_operation_max_bytes(&c->group),
        .result_max_bytes = group_result_max_bytes(&c->group),
    };
    b.principal = principal;
    b.endpoint = (uint16_t)c->options.endpoint;
    crypto_random(&b.epoch, sizeof b.epoch);
    crypto_random(&b.seed, sizeof b.seed);
    b.sessions = (uint32_t)c->options.concurrency;
    b.timeout_us = (uint32_t)c->options.timeout_ms * 1000;
    if (b.abandon_us < b.timeout_us)
        b.abandon_us = b.timeout_us;
    if (b.memory_max_bytes < 16 * b.group.result_max_bytes)
        b.memory_max_bytes = 16 * b.group.result_max_bytes;
    c->bft = bft_client_new(&b, &env, c->keys.key);
    if (c->bft == NULL)
        die("out of memory");
}

/* ---- running */

static void receive(struct client *c) {
    uint8_t buf[DATAGRAM_MAX_BYTES + 1];
    for (int i = 0; i < 256; i++) {
        ssize_t n = recv(c->fd, buf, sizeof buf, MSG_DONTWAIT);
        if (n < 0)
            return;
        datagram_input(c->datagram, buf, (size_t)n, now_us());
    }
}

static int wait_ms(const struct client *c) {
    uint64_t a = bft_client_next_deadline(c->bft), b = datagram_next_deadline(c->datagram);
    uint64_t deadline = a < b ? a : b, now = now_us();
    if (deadline == UINT64_MAX)
        return 1000;
    return deadline > now ? (int)((deadline - now) / 1000 + 1) : 0;
}

static void run(struct client *c) {
    submit(c);
    while (c->finished < c->options.count) {
        struct pollfd p = {.fd = c->fd, .events = POLLIN};
        poll(&p, 1, wait_ms(c));
        receive(c);
        datagram_timers(c->datagram, now_us());
        bft_client_timers(c->bft, now_us());
        submit(c);
    }
}

static int report(const struct client *c) {
    uint64_t counters[BFT_CLIENT_COUNTER_COUNT];
    bft_client_counters(c->bft, counters);
    fprintf(stderr,
            "agreed=%" PRIu64 " timed_out=%" PRIu64 " disagreed=%" PRIu64 " too_large=%" PRIu64
            " status=%u sigma=%" PRIu64 " retransmitted=%" PRIu64 " wrong_replies=",
            c->agreed, c->timed_out, c->disagreed, c->too_large, c->status, c->sigma,
            counters[BFT_CLIENT_RETRANSMITTED]);
    for (uint16_t r = 0; r < c->group.replicas; r++)
        fprintf(stderr, "%s%" PRIu64, r == 0 ? "" : ",", bft_client_wrong_replies(c->bft, r));
    fprintf(stderr, "\n");
    if (c->body_len > 0)
        fwrite(c->body, 1, c->body_len, stdout);
    return c->agreed == c->options.count ? 0 : 1;
}

static void parse(int argc, char **argv, struct options *o) {
    static const struct option known[] = {
        {"group", required_argument, NULL, 'g'},      {"keys", required_argument, NULL, 'k'},
        {"client", required_argument, NULL, 'c'},     {"endpoint", required_argument, NULL, 'e'},
        {"count", required_argument, NULL, 'n'},      {"concurrency", required_argument, NULL, 'p'},
        {"timeout-ms", required_argument, NULL, 't'}, {0}};
    int id;
    *o = (struct options){.count = 1, .concurrency = 1, .timeout_ms = 10000};
    while ((id = getopt_long(argc, argv, "", known, NULL)) != -1) {
        uint64_t *number = id == 'c'   ? &o->client
                           : id == 'e' ? &o->endpoint
                           : id == 'n' ? &o->count
                           : id == 'p' ? &o->concurrency
                                       : &o->timeout_ms;
        char err[GROUP_ERROR_BYTES];
        if (id == '?')
            exit(2);
        if (id == 'g')
            o->group = optarg;
        else if (id == 'k')
            o->keys = optarg;
        else if (!group_parse_u64(optarg, "a number", 0, 1000000, number, err))
            die(err);
    }
    if (o->group == NULL || o->keys == NULL || argc - optind < 2 || argc - optind > 3)
        die("usage: --group FILE --keys FILE --client I METHOD TARGET [BODY-FILE]");
    o->method = argv[optind];
    o->target = argv[optind + 1];
    o->body = argv[optind + 2]; // or the terminating NULL
}

int main(int argc, char **argv) {
    static struct client c;
    char err[GROUP_ERROR_BYTES];
    parse(argc, argv, &c.options);
    if (!group_read(c.options.group, &c.group, err))
        die(err);
    if (c.options.client >= c.group.clients ||
        c.options.endpoint >= c.group.client_endpoints[c.options.client])
        die("no such client or endpoint in the group file");
    uint16_t principal = (uint16_t)(c.group.replicas + c.options.client);
    if (!group_keys_read(c.options.keys, &c.group, principal, &c.keys, err))
        die(err);
    bind_socket(&c);
    make_datagram(&c, principal);
    make_bft(&c, principal);
    crypto_wipe(&c.keys, sizeof c.keys);
    make_op(&c);
    run(&c);
    int status = report(&c);
    bft_client_free(c.bft);
    datagram_free(c.datagram);
    close(c.fd);
    free(c.op);
    free(c.body);
    return status;
}
