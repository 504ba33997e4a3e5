/* SPDX-License-Identifier: BSD-3-Clause */
#include "service/service.h"

#include "service/backend_response.h"
#include "unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define MIB (1024u * 1024u)
#define MAP_BYTES (256u * MIB)

static char dir[] = "/tmp/prophecy-test-service-XXXXXX";
static struct event_base *base;
static const struct sketch_names excluded = {.count = 1, .name = {"x-served-by"}};

/* ---- the replica's side: one execution, its result kept */

struct outcome {
    uint32_t done;
    uint64_t ticket;
    bool silent, too_large;
    uint8_t *bytes;
    size_t len;
    uint32_t failures;
};
static struct outcome last;

static void on_done(void *ctx, uint64_t ticket, const uint8_t *result, size_t len) {
    const struct service_config *cfg = ctx;
    free(last.bytes);
    last.bytes = NULL;
    last.done++;
    last.ticket = ticket;
    last.silent = result == NULL;
    last.too_large = len > cfg->response_max_bytes + GROUP_HEAD_ALLOWANCE_BYTES;
    last.len = last.too_large ? 0 : len;
    if (result != NULL && !last.too_large) {
        last.bytes = malloc(len + 1);
        memcpy(last.bytes, result, len);
    }
}

static void on_failed(void *ctx, const char *why) {
    (void)ctx;
    CU_ASSERT_NOT_EQUAL(strlen(why), 0);
    last.failures++;
}

static struct service_config config = {
    .request_max_bytes = 16 * MIB,
    .response_max_bytes = 16 * MIB,
    .excluded_headers = &excluded,
    .done = on_done,
    .done_ctx = &config,
    .failed = on_failed,
};

static uint64_t next_sequence = 1;

static struct bft_execution execution(const void *op, size_t len, bool read) {
    static uint64_t ticket;
    return (struct bft_execution){
        .ticket = ++ticket,
        .sigma = BFT_SIGMA(next_sequence++, 0),
        .read = read,
        .session = {.principal = 4, .endpoint = 1, .index = 7, .epoch = 0xabc},
        .number = 42,
        .op = op,
        .op_len = len,
    };
}

static void execute_bytes(struct service *s, const void *op, size_t len, bool read) {
    struct bft_execution e = execution(op, len, read);
    uint32_t done = last.done;
    s->ops->execute(s, &e);
    CU_ASSERT_EQUAL(last.done, done + 1);
    CU_ASSERT_EQUAL(last.ticket, e.ticket);
}

static void execute(struct service *s, const char *op) {
    bool read = strncmp(op, "GET", 3) == 0 || strncmp(op, "HEAD", 4) == 0;
    execute_bytes(s, op, strlen(op), read);
}

static void put(struct service *s, const char *target, const char *type, const void *body,
                size_t len) {
    char *op = malloc(len + 1024);
    int n = snprintf(
        op, 1024, "PUT %s HTTP/1.1\r\nHost: a\r\nContent-Type: %s\r\nContent-Length: %zu\r\n\r\n",
        target, type, len);
    memcpy(op + n, body, len);
    execute_bytes(s, op, (size_t)n + len, false);
    free(op);
}

static struct sketch_view view(void) {
    struct sketch_view v = {0};
    CU_ASSERT_TRUE_FATAL(last.bytes != NULL && sketch_canonical_parse(last.bytes, last.len, &v));
    return v;
}

static void expect_header(const char *name, const char *value) {
    struct sketch_view v = view();
    struct http_str got = sketch_view_find(&v, name);
    CU_ASSERT_TRUE(http_str_eq(got, value));
    if (!http_str_eq(got, value))
        printf("\n  %s: got '%.*s', want '%s'\n", name, (int)got.len, got.len ? got.p : "", value);
}

static void expect(uint16_t status, const char *body) {
    struct sketch_view v = view();
    CU_ASSERT_EQUAL(v.status, status);
    CU_ASSERT_EQUAL(v.body_len, strlen(body));
    CU_ASSERT_TRUE(v.body_len == strlen(body) && memcmp(v.body, body, v.body_len) == 0);
    if (v.status != status)
        printf("\n  status: got %u, want %u\n", v.status, status);
}

static uint64_t counter(struct service *s, const char *name) {
    struct service_counter c[SERVICE_COUNTERS_MAX];
    uint32_t count = s->ops->counters(s, c);
    for (uint32_t i = 0; i < count; i++)
        if (strcmp(c[i].name, name) == 0)
            return c[i].value;
    CU_FAIL("no such counter");
    return UINT64_MAX;
}

/* ---- store */

static struct service *open_store(const char *name) {
    char path[128], err[GROUP_ERROR_BYTES] = "";
    snprintf(path, sizeof path, "%s/%s", dir, name);
    config.base = base;
    struct service *s = service_store_new(&config, path, MAP_BYTES, err);
    CU_ASSERT_STRING_EQUAL(err, "");
    CU_ASSERT_PTR_NOT_NULL_FATAL(s);
    return s;
}

#define GET(target) "GET " target " HTTP/1.1\r\nHost: a\r\n\r\n"
#define HEAD(target) "HEAD " target " HTTP/1.1\r\nHost: a\r\n\r\n"
#define DELETE(target) "DELETE " target " HTTP/1.1\r\nHost: a\r\n\r\n"
#define ETAG_HELLO "\"2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824\""

static void test_store_methods(void) {
    struct service *s = open_store("methods");
    execute(s, GET("/x"));
    expect(404, "not found\n");
    put(s, "/x", "text/plain", "hello", 5);
    expect(201, "");
    expect_header("etag", ETAG_HELLO);
    execute(s, GET("/x"));
    expect(200, "hello");
    expect_header("etag", ETAG_HELLO);
    expect_header("content-type", "text/plain");
    CU_ASSERT_EQUAL(view().header_count, 2);
    execute(s, HEAD("/x"));
    expect(200, "");
    expect_header("content-length", "5");
    expect_header("etag", ETAG_HELLO);
    execute(s, GET("/x?q=1")); // the query is part of the name
    expect(404, "not found\n");
    execute(s, HEAD("/y"));
    expect(404, "");
    expect_header("content-length", "10");
    put(s, "/x", "text/css", "hello", 5);
    expect(204, "");
    execute(s, GET("/x"));
    expect_header("content-type", "text/css");
    execute(s, DELETE("/x"));
    expect(204, "");
    execute(s, DELETE("/x"));
    expect(404, "not found\n");
    execute(s, GET("/x"));
    expect(404, "not found\n");
    execute(s, "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    expect(405, "method not allowed\n");
    expect_header("allow", "GET, HEAD, PUT, DELETE");
    put(s, "/empty", "a/b", "", 0);
    execute(s, GET("/empty"));
    expect(200, "");
    execute(s, "PUT /t HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nz");
    execute(s, "GET /t HTTP/1.1\r\nHost: another\r\n\r\n"); // Host is ignored
    expect(200, "z");
    expect_header("content-type", "application/octet-stream");
    s->ops->free(s);
}

static void test_store_preconditions(void) {
    struct service *s = open_store("conditions");
    execute(s, "PUT /x HTTP/1.1\r\nHost: a\r\nIf-Match: *\r\nContent-Length: 1\r\n\r\na");
    expect(412, "precondition failed\n");
    execute(s, "PUT /x HTTP/1.1\r\nHost: a\r\nIf-None-Match: *\r\nContent-Length: 5\r\n\r\nhello");
    expect(201, "");
    execute(s, "PUT /x HTTP/1.1\r\nHost: a\r\nIf-None-Match: *\r\nContent-Length: 1\r\n\r\na");
    expect(412, "precondition failed\n");
    execute(s, "PUT /x HTTP/1.1\r\nHost: a\r\nIf-Match: \"no\"\r\nContent-Length: 1\r\n\r\na");
    expect(412, "precondition failed\n");
    execute(s, "DELETE /x HTTP/1.1\r\nHost: a\r\nIf-Match: \"no\"\r\n\r\n");
    expect(412, "precondition failed\n");
    execute(s, "GET /x HTTP/1.1\r\nHost: a\r\nIf-None-Match: " ETAG_HELLO "\r\n\r\n");
    expect(304, "");
    expect_header("etag", ETAG_HELLO);
    execute(s, "GET /x HTTP/1.1\r\nHost: a\r\nIf-Match: \"no\"\r\n\r\n");
    expect(412, "precondition failed\n");
    execute(s, "GET /x HTTP/1.1\r\nHost: a\r\nRange: bytes=1-2\r\n\r\n");
    expect(200, "hello");
    execute(s, "PUT /x HTTP/1.1\r\nHost: a\r\nIf-Match: " ETAG_HELLO
               "\r\nContent-Length: 3\r\n\r\nnew");
    expect(204, "");
    execute(s, GET("/x"));
    expect(200, "new");
    s->ops->free(s);
}

static void test_store_refuses(void) {
    struct service *s = open_store("refuses");
    uint8_t before[CRYPTO_DIGEST_BYTES], after[CRYPTO_DIGEST_BYTES];
    char op[4096], target[2200];
    s->ops->state_digest(s, 1, before);
    execute(s, "PUT /x HTTP/1.1\r\nHost: a\r\n\r\n");
    expect(411, "length required\n");
    execute(s, "PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nfour");
    expect(400, "bad request\n");
    execute(s, "PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nfour");
    expect(400, "bad request\n");
    execute(s, "PUT /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    expect(411, "length required\n");
    execute(s, "nonsense");
    expect(400, "bad request\n");
    execute(s,
            "PUT /x HTTP/1.1\r\nHost: a\r\nContent-Encoding: gzip\r\nContent-Length: 1\r\n\r\na");
    expect(415, "unsupported content coding\n");
    execute(s, "PUT /x HTTP/1.1\r\nHost: a\r\nContent-Range: bytes 0-0/1\r\nContent-Length: "
               "1\r\n\r\na");
    expect(400, "bad request\n");
    memset(target, 'a', sizeof target);
    target[0] = '/';
    snprintf(op, sizeof op, "GET %.2049s HTTP/1.1\r\nHost: a\r\n\r\n", target);
    execute(s, op);
    expect(414, "target too long\n");
    snprintf(op, sizeof op, "GET %.2048s HTTP/1.1\r\nHost: a\r\n\r\n", target);
    execute(s, op);
    expect(404, "not found\n");
    // Unordered, and called a read: nothing changes.
    static const char write[] = "PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\na";
    execute_bytes(s, write, strlen(write), true);
    expect(405, "method not allowed\n");
    expect_header("allow", "GET, HEAD");
    struct bft_execution e = execution(write, strlen(write), false);
    e.sigma = 0;
    s->ops->execute(s, &e);
    expect(405, "method not allowed\n");
    s->ops->state_digest(s, 1, after);
    CU_ASSERT_EQUAL(memcmp(before, after, sizeof before), 0);
    s->ops->free(s);
}

static void test_store_large(void) {
    struct service *s = open_store("large");
    size_t len = 16 * MIB;
    uint8_t *body = malloc(len + 1);
    for (size_t i = 0; i < len; i++)
        body[i] = (uint8_t)(i * 31 + (i >> 8));
    put(s, "/ten", "a/b", body, 10 * MIB);
    expect(201, "");
    execute(s, GET("/ten"));
    CU_ASSERT_EQUAL(view().status, 200);
    CU_ASSERT_EQUAL(view().body_len, 10 * MIB);
    CU_ASSERT_EQUAL(memcmp(view().body, body, 10 * MIB), 0);
    put(s, "/sixteen", "a/b", body, len);
    expect(201, "");
    execute(s, GET("/sixteen"));
    CU_ASSERT_EQUAL(view().body_len, len);
    CU_ASSERT_EQUAL(memcmp(view().body, body, len), 0);
    CU_ASSERT_TRUE(last.len <= len + GROUP_HEAD_ALLOWANCE_BYTES);
    put(s, "/more", "a/b", body, len + 1);
    expect(413, "content too large\n");
    free(body);
    s->ops->free(s);
}

static void test_store_full(void) {
    char path[128], err[GROUP_ERROR_BYTES] = "";
    snprintf(path, sizeof path, "%s/full", dir);
    struct service *s = service_store_new(&config, path, MIB, err);
    CU_ASSERT_PTR_NOT_NULL_FATAL(s);
    uint8_t body[4096] = {0}, digest[2][CRYPTO_DIGEST_BYTES];
    uint32_t stored = 0;
    for (; stored < 200; stored++) {
        char target[16];
        snprintf(target, sizeof target, "/%u", stored);
        put(s, target, "a/b", body, sizeof body);
        if (view().status != 201)
            break;
    }
    expect(507, "insufficient storage\n");
    CU_ASSERT_EQUAL(stored, 64); // half a MiB in pages of 4 KiB, two for each
    CU_ASSERT_EQUAL(counter(s, "store_used_bytes"), MIB / 2);
    CU_ASSERT_EQUAL(counter(s, "store_full"), 1);
    s->ops->state_digest(s, 0, digest[0]);
    put(s, "/more", "a/b", body, 1);
    expect(507, "insufficient storage\n");
    s->ops->state_digest(s, 0, digest[1]);
    CU_ASSERT_EQUAL(memcmp(digest[0], digest[1], CRYPTO_DIGEST_BYTES), 0);
    // Objects can be rewritten again and again in place of themselves, and room comes back.
    for (uint32_t i = 0; i < 300; i++) {
        put(s, "/5", "a/b", body, sizeof body - i);
        expect(204, "");
    }
    execute(s, DELETE("/7"));
    expect(204, "");
    put(s, "/more", "a/b", body, 1);
    expect(201, "");
    CU_ASSERT_EQUAL(last.failures, 0);
    s->ops->free(s);
}

/* One history; returns the digest of all result bytes and of the state. */
static void run_history(struct service *s, uint8_t results[CRYPTO_DIGEST_BYTES],
                        uint8_t state[CRYPTO_DIGEST_BYTES]) {
    struct crypto_digest *d = crypto_digest_new();
    uint64_t sequence = next_sequence;
    next_sequence = 1;
    crypto_digest_begin(d);
    for (uint32_t i = 0; i < 200; i++) {
        char target[16], body[64];
        snprintf(target, sizeof target, "/%u", i * 7 % 13);
        int len = snprintf(body, sizeof body, "body %u of %s", i, target);
        if (i % 5 == 4) {
            char op[64];
            snprintf(op, sizeof op, "DELETE %s HTTP/1.1\r\nHost: a\r\n\r\n", target);
            execute(s, op);
        } else {
            put(s, target, i % 2 ? "a/b" : "c/d", body, (size_t)len);
        }
        crypto_digest_update(d, last.bytes, last.len);
        execute(s, GET("/3"));
        crypto_digest_update(d, last.bytes, last.len);
    }
    crypto_digest_final(d, results);
    crypto_digest_free(d);
    s->ops->state_digest(s, next_sequence, state);
    next_sequence = sequence;
}

static void test_store_deterministic(void) {
    uint8_t results[2][CRYPTO_DIGEST_BYTES], state[3][CRYPTO_DIGEST_BYTES];
    for (int i = 0; i < 2; i++) {
        struct service *s = open_store(i == 0 ? "twin-a" : "twin-b");
        run_history(s, results[i], state[i]);
        if (i == 1) {
            put(s, "/3", "a/b", "one more", 8);
            s->ops->state_digest(s, 0, state[2]);
        }
        s->ops->free(s);
    }
    CU_ASSERT_EQUAL(memcmp(results[0], results[1], CRYPTO_DIGEST_BYTES), 0);
    CU_ASSERT_EQUAL(memcmp(state[0], state[1], CRYPTO_DIGEST_BYTES), 0);
    CU_ASSERT_NOT_EQUAL(memcmp(state[1], state[2], CRYPTO_DIGEST_BYTES), 0);
}

static void test_store_restart(void) {
    uint8_t before[CRYPTO_DIGEST_BYTES], after[CRYPTO_DIGEST_BYTES];
    struct stat st;
    char path[160], err[GROUP_ERROR_BYTES] = "";
    config.incarnation = 0x17;
    struct service *s = open_store("restart");
    put(s, "/x", "text/plain", "hello", 5);
    put(s, "/gone", "text/plain", "hello", 5);
    execute(s, DELETE("/gone"));
    s->ops->state_digest(s, 3, before);
    uint64_t used = counter(s, "store_used_bytes");
    snprintf(path, sizeof path, "%s/restart", dir);
    CU_ASSERT_PTR_NULL(service_store_new(&config, path, MAP_BYTES, err)); // in use
    CU_ASSERT_PTR_NOT_NULL(strstr(err, "another process uses this store"));
    CU_ASSERT_TRUE(stat(path, &st) == 0 && (st.st_mode & 0777) == 0700);
    s->ops->free(s);
    snprintf(path, sizeof path, "%s/restart/data.mdb", dir);
    CU_ASSERT_TRUE(stat(path, &st) == 0 && (st.st_mode & 0777) == 0600);
    // The same incarnation again would execute its writes twice.
    snprintf(path, sizeof path, "%s/restart", dir);
    CU_ASSERT_PTR_NULL(service_store_new(&config, path, MAP_BYTES, err));
    CU_ASSERT_PTR_NOT_NULL(strstr(err, "holds writes of incarnation 0000000000000017"));
    config.incarnation = 0x18;
    s = open_store("restart");
    s->ops->state_digest(s, 3, after);
    CU_ASSERT_EQUAL(memcmp(before, after, sizeof before), 0);
    CU_ASSERT_EQUAL(counter(s, "store_used_bytes"), used);
    execute(s, GET("/x"));
    expect(200, "hello");
    execute(s, GET("/gone"));
    expect(404, "not found\n");
    s->ops->free(s);
    config.incarnation = 0;
}

static void test_store_not_usable(void) {
    char path[128], err[GROUP_ERROR_BYTES] = "";
    snprintf(path, sizeof path, "%s/file", dir);
    FILE *f = fopen(path, "w");
    CU_ASSERT_TRUE(f != NULL && fclose(f) == 0);
    CU_ASSERT_PTR_NULL(service_store_new(&config, path, MAP_BYTES, err));
    CU_ASSERT_PTR_NOT_NULL(strstr(err, "cannot be opened: Not a directory"));
    snprintf(path, sizeof path, "%s/no/where", dir);
    CU_ASSERT_PTR_NULL(service_store_new(&config, path, MAP_BYTES, err));
    CU_ASSERT_PTR_NOT_NULL(strstr(err, "cannot be made: No such file or directory"));
}

/* A disk that takes no more: no answer, the replica is told to stop, and nothing is answered from
 * then on. */
static void test_store_disk_fails(void) {
    struct service *s = open_store("disk");
    struct rlimit old, small;
    put(s, "/x", "a/b", "hello", 5);
    CU_ASSERT_EQUAL(getrlimit(RLIMIT_FSIZE, &old), 0);
    signal(SIGXFSZ, SIG_IGN);
    small = (struct rlimit){.rlim_cur = 65536, .rlim_max = old.rlim_max};
    CU_ASSERT_EQUAL(setrlimit(RLIMIT_FSIZE, &small), 0);
    char *body = calloc(1, MIB);
    put(s, "/y", "a/b", body, MIB);
    CU_ASSERT_EQUAL(setrlimit(RLIMIT_FSIZE, &old), 0);
    CU_ASSERT_TRUE(last.silent);
    CU_ASSERT_EQUAL(last.failures, 1);
    execute(s, GET("/x"));
    CU_ASSERT_TRUE(last.silent);
    CU_ASSERT_EQUAL(last.failures, 1);
    free(body);
    s->ops->free(s);
    last.failures = 0;
}

/* ---- a plain HTTP client of the listeners */

static uint16_t free_port(void) {
    struct sockaddr_in sin = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof sin;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CU_ASSERT_TRUE_FATAL(fd >= 0 && bind(fd, (struct sockaddr *)&sin, sizeof sin) == 0 &&
                         getsockname(fd, (struct sockaddr *)&sin, &len) == 0);
    close(fd);
    return ntohs(sin.sin_port);
}

struct client {
    int fd;
    struct evbuffer *in;
    struct backend_response response;
    struct service_buffer canonical;
    size_t canonical_len;
};

static void client_open(struct client *c, uint16_t port) {
    struct sockaddr_in sin = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(port)};
    *c =
        (struct client){.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), .in = evbuffer_new()};
    CU_ASSERT_EQUAL_FATAL(connect(c->fd, (struct sockaddr *)&sin, sizeof sin), 0);
}

static void client_close(struct client *c) {
    close(c->fd);
    evbuffer_free(c->in);
    free(c->response.body.data);
    free(c->canonical.data);
}

static bool client_finished(const struct client *c) {
    return c->response.state != BACKEND_HEAD && c->response.state != BACKEND_BODY;
}

static void client_read(struct client *c) {
    uint8_t buf[65536];
    ssize_t n = recv(c->fd, buf, sizeof buf, MSG_DONTWAIT);
    if (n == 0)
        backend_response_eof(&c->response);
    if (n > 0)
        evbuffer_add(c->in, buf, (size_t)n);
    size_t len = evbuffer_get_length(c->in);
    size_t used = backend_response_feed(&c->response, evbuffer_pullup(c->in, -1), len);
    evbuffer_drain(c->in, used);
}

/* The response in its canonical form, as the sketcher would make it. */
static void client_fetch(struct client *c, const char *request) {
    backend_response_begin(&c->response, strncmp(request, "HEAD", 4) == 0, 16 * MIB, &excluded);
    CU_ASSERT_EQUAL((size_t)send(c->fd, request, strlen(request), MSG_NOSIGNAL), strlen(request));
    while (!client_finished(c)) {
        event_base_loop(base, EVLOOP_NONBLOCK);
        client_read(c);
    }
    CU_ASSERT_EQUAL_FATAL(c->response.state, BACKEND_DONE);
    const struct backend_response *r = &c->response;
    CU_ASSERT_TRUE(service_buffer_reserve(&c->canonical, r->head_len + r->body_len + 12));
    c->canonical_len = sketch_canonical_build(r->head, r->head_len, r->body.data, r->body_len,
                                              c->canonical.data, c->canonical.cap);
}

/* A fast read must have exactly the canonical form of the agreed one. */
static void expect_same(struct service *s, struct client *c, const char *request) {
    execute(s, request);
    client_fetch(c, request);
    CU_ASSERT_EQUAL(c->canonical_len, last.len);
    CU_ASSERT_TRUE(c->canonical_len == last.len &&
                   memcmp(c->canonical.data, last.bytes, last.len) == 0);
    CU_ASSERT_TRUE(c->response.keep);
}

static void test_store_listener(void) {
    struct service *s = open_store("listener");
    struct group_endpoint at = {.addr = INADDR_LOOPBACK, .port = free_port()};
    struct client c;
    char err[GROUP_ERROR_BYTES] = "";
    uint8_t *large = malloc(10 * MIB);
    memset(large, 'l', 10 * MIB);
    CU_ASSERT_TRUE_FATAL(s->ops->listen(s, &at, err));
    put(s, "/x", "text/plain", "hello", 5);
    put(s, "/large", "a/b", large, 10 * MIB);
    client_open(&c, at.port);
    expect_same(s, &c, GET("/x"));
    expect_same(s, &c, HEAD("/x"));
    expect_same(s, &c, GET("/none"));
    expect_same(s, &c, HEAD("/none"));
    expect_same(s, &c, GET("/large"));
    expect_same(s, &c, HEAD("/large"));
    expect_same(s, &c, GET("/x?a=%20b"));
    expect_same(s, &c, "GET /x HTTP/1.1\r\nHost: a\r\nIf-None-Match: " ETAG_HELLO "\r\n\r\n");
    client_fetch(&c, "PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nbad");
    CU_ASSERT_EQUAL(c.canonical.data[4] << 8 | c.canonical.data[5], 405);
    CU_ASSERT_TRUE(c.response.keep);
    execute(s, GET("/x"));
    expect(200, "hello");
    CU_ASSERT_EQUAL(counter(s, "http_requests"), 9);
    CU_ASSERT_EQUAL(counter(s, "http_refused_busy"), 0);
    client_close(&c);
    free(large);
    // The address is taken: said with the address in it.
    struct service *t = open_store("listener-2");
    CU_ASSERT_FALSE(t->ops->listen(t, &at, err));
    CU_ASSERT_PTR_NOT_NULL(strstr(err, "cannot listen on TCP 127.0.0.1:"));
    CU_ASSERT_PTR_NOT_NULL(strstr(err, "Address already in use"));
    t->ops->free(t);
    s->ops->free(s);
}

/* The listener reads requests as the agreed path does: also the odd ones that a client may send. */
static void test_listener_odd_requests(void) {
    static const char *const odd[] = {
        GET("//x:y/"),
        GET("/a|b%zz"),
        GET("/?"),
        GET("/x?http://h:bad/"),
        "GET http://h/x HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /x HTTP/1.1\r\nHost: a\r\nX: \"\xff\"\r\n\r\n",
        "OPTIONS /x HTTP/1.1\r\nHost: a\r\n\r\n",
        "BREW /x HTTP/1.1\r\nHost: a\r\n\r\n",
    };
    struct service *s = open_store("odd");
    struct group_endpoint at = {.addr = INADDR_LOOPBACK, .port = free_port()};
    struct client c;
    char err[GROUP_ERROR_BYTES] = "";
    CU_ASSERT_TRUE_FATAL(s->ops->listen(s, &at, err));
    put(s, "/x", "text/plain", "hello", 5);
    client_open(&c, at.port);
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) {
        execute_bytes(s, odd[i], strlen(odd[i]), true);
        client_fetch(&c, odd[i]);
        CU_ASSERT_TRUE(c.canonical_len == last.len &&
                       memcmp(c.canonical.data, last.bytes, last.len) == 0);
        CU_ASSERT_TRUE(c.response.keep);
    }
    // Pipelined, in pieces, and HTTP/1.0.
    client_fetch(&c, GET("/x") HEAD("/x") GET("/none"));
    CU_ASSERT_EQUAL(c.response.body_len, 5);
    backend_response_begin(&c.response, true, 64, &excluded);
    while (!client_finished(&c)) {
        event_base_loop(base, EVLOOP_NONBLOCK);
        client_read(&c);
    }
    backend_response_begin(&c.response, false, 64, &excluded);
    while (!client_finished(&c)) {
        event_base_loop(base, EVLOOP_NONBLOCK);
        client_read(&c);
    }
    CU_ASSERT_EQUAL(c.response.body_len, strlen("not found\n"));
    CU_ASSERT_EQUAL(send(c.fd, "GET /x HT", 9, MSG_NOSIGNAL), 9);
    event_base_loop(base, EVLOOP_NONBLOCK);
    client_fetch(&c, "TP/1.1\r\nHost: a\r\n\r\n");
    CU_ASSERT_EQUAL(c.response.body_len, 5);
    client_fetch(&c, "GET /x HTTP/1.0\r\n\r\n");
    CU_ASSERT_EQUAL(c.response.body_len, 5);
    CU_ASSERT_FALSE(c.response.keep);
    client_close(&c);
    // Malformed, and a write whose body is not wanted: a status, then the end.
    static const struct {
        const char *request;
        uint16_t status;
    } bad[] = {
        {"GET /x HTTP/1.1\r\nHost : a\r\n\r\n", 400},
        {"GET /x HTTP/3.1\r\nHost: a\r\n\r\n", 505},
        {"PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nabc", 405},
        {"PUT /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc", 405},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        client_open(&c, at.port);
        client_fetch(&c, bad[i].request);
        CU_ASSERT_EQUAL(c.canonical.data[4] << 8 | c.canonical.data[5], bad[i].status);
        CU_ASSERT_FALSE(c.response.keep);
        client_close(&c);
    }
    CU_ASSERT_EQUAL(counter(s, "http_refused_malformed"), 2);
    while (counter(s, "http_connections") > 0)
        event_base_loop(base, EVLOOP_ONCE);
    s->ops->free(s);
}

/* Clients that take nothing cannot make the listener hold more than its limit. */
static void test_listener_limit(void) {
    struct service *s = open_store("limit");
    struct group_endpoint at = {.addr = INADDR_LOOPBACK, .port = free_port()};
    struct client c[20];
    char err[GROUP_ERROR_BYTES] = "";
    uint8_t *large = calloc(1, 16 * MIB);
    CU_ASSERT_TRUE_FATAL(s->ops->listen(s, &at, err));
    put(s, "/large", "a/b", large, 16 * MIB);
    for (int i = 0; i < 20; i++) {
        client_open(&c[i], at.port);
        CU_ASSERT_EQUAL(send(c[i].fd, GET("/large"), strlen(GET("/large")), MSG_NOSIGNAL),
                        strlen(GET("/large")));
    }
    while (counter(s, "http_requests") < 20)
        event_base_loop(base, EVLOOP_NONBLOCK);
    CU_ASSERT_EQUAL(counter(s, "http_refused_busy"), 4); // 256 MiB are 16 of them
    for (int i = 0; i < 20; i++)
        client_close(&c[i]);
    while (counter(s, "http_refused_busy") == 4) { // the bytes come back when connections end
        client_open(&c[0], at.port);
        client_fetch(&c[0], GET("/large"));
        bool whole = c[0].response.body_len == 16 * MIB;
        client_close(&c[0]);
        if (whole)
            break;
    }
    CU_ASSERT_EQUAL(counter(s, "http_refused_busy"), 4);
    free(large);
    s->ops->free(s);
}

/* ---- null */

static void test_null(void) {
    static const size_t sizes[] = {0, 1, 26, 1000, 65536, 16 * MIB};
    char err[GROUP_ERROR_BYTES] = "";
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct group_endpoint at = {.addr = INADDR_LOOPBACK, .port = free_port()};
        struct service *s = service_null_new(&config, sizes[i], i == 1 ? 50 : 0, err);
        struct client c;
        CU_ASSERT_PTR_NOT_NULL_FATAL(s);
        execute(s, GET("/"));
        CU_ASSERT_EQUAL(view().status, 200);
        CU_ASSERT_EQUAL(view().body_len, sizes[i]);
        CU_ASSERT_TRUE(sizes[i] == 0 || view().body[sizes[i] - 1] == 'a' + (sizes[i] - 1) % 26);
        execute(s, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nxx");
        CU_ASSERT_EQUAL(view().body_len, sizes[i]);
        CU_ASSERT_TRUE_FATAL(s->ops->listen(s, &at, err));
        client_open(&c, at.port);
        expect_same(s, &c, GET("/"));
        expect_same(s, &c, HEAD("/"));
        client_close(&c);
        CU_ASSERT_EQUAL(counter(s, "service_executed"), 4);
        s->ops->free(s);
    }
    CU_ASSERT_PTR_NULL(service_null_new(&config, 16 * MIB + 1, 0, err));
    CU_ASSERT_PTR_NOT_NULL(strstr(err, "--response-bytes 16777217 is over the group's"));
}

/* ---- http: a web server that follows a script */

enum then {
    KEEP,
    CLOSE,
    RESET,
};

struct step {          // one per request
    const char *reply; // NULL: silence
    enum then then;
};

struct web {
    struct evconnlistener *listener;
    struct group_endpoint at;
    const struct step *steps;
    uint32_t step, steps_count, connections;
    char seen[8][1024];
    struct bufferevent *open[8];
    uint32_t open_count;
};

static void web_forget(struct web *w, struct bufferevent *bev) {
    for (uint32_t i = 0; i < w->open_count; i++)
        if (w->open[i] == bev)
            w->open[i] = w->open[--w->open_count];
    bufferevent_free(bev);
}

static void web_event(struct bufferevent *bev, short what, void *arg) {
    if (what & (BEV_EVENT_EOF | BEV_EVENT_ERROR))
        web_forget(arg, bev);
}

static void web_written(struct bufferevent *bev, void *arg) {
    web_forget(arg, bev); // set only when the connection is to end
}

static void web_reset(struct web *w, struct bufferevent *bev) {
    struct linger hard = {.l_onoff = 1, .l_linger = 0};
    setsockopt(bufferevent_getfd(bev), SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    web_forget(w, bev);
}

static void web_request(struct bufferevent *bev, void *arg) {
    struct web *w = arg;
    struct http_request q;
    struct evbuffer *in = bufferevent_get_input(bev);
    size_t len = evbuffer_get_length(in);
    const uint8_t *data = evbuffer_pullup(in, -1);
    int n = http_parse_request(data, len, &q);
    if (n <= 0 || len < (size_t)n + q.content_length)
        return;
    CU_ASSERT_TRUE_FATAL(w->step < w->steps_count && w->step < 8);
    memcpy(w->seen[w->step], data, len < 1023 ? len : 1023);
    evbuffer_drain(in, (size_t)n + q.content_length);
    const struct step *s = &w->steps[w->step++];
    if (s->reply != NULL && s->then == RESET) {
        // Written at once, so that the reset comes after it.
        CU_ASSERT_EQUAL((size_t)write(bufferevent_getfd(bev), s->reply, strlen(s->reply)),
                        strlen(s->reply));
        web_reset(w, bev);
        return;
    }
    if (s->then == CLOSE)
        bufferevent_setcb(bev, NULL, web_written, web_event, w);
    if (s->reply != NULL)
        bufferevent_write(bev, s->reply, strlen(s->reply));
    else if (s->then == CLOSE)
        web_forget(w, bev);
}

static void web_accept(struct evconnlistener *l, evutil_socket_t fd, struct sockaddr *from, int len,
                       void *arg) {
    struct web *w = arg;
    (void)l, (void)from, (void)len;
    CU_ASSERT_TRUE_FATAL(w->open_count < 8);
    struct bufferevent *bev = bufferevent_socket_new(base, fd, BEV_OPT_CLOSE_ON_FREE);
    bufferevent_setcb(bev, web_request, NULL, web_event, w);
    bufferevent_enable(bev, EV_READ | EV_WRITE);
    w->open[w->open_count++] = bev;
    w->connections++;
}

static void web_start(struct web *w, const struct step *steps, uint32_t count) {
    struct sockaddr_in sin = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    *w = (struct web){
        .at = {.addr = INADDR_LOOPBACK, .port = free_port()}, .steps = steps, .steps_count = count};
    sin.sin_port = htons(w->at.port);
    w->listener =
        evconnlistener_new_bind(base, web_accept, w, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_REUSEABLE, 16,
                                (struct sockaddr *)&sin, sizeof sin);
    CU_ASSERT_PTR_NOT_NULL_FATAL(w->listener);
}

static void web_stop(struct web *w) {
    if (w->listener != NULL)
        evconnlistener_free(w->listener);
    while (w->open_count > 0)
        web_forget(w, w->open[0]);
}

static struct service *open_backend(const struct web *w, uint32_t timeout_ms) {
    char err[GROUP_ERROR_BYTES] = "";
    config.base = base;
    struct service *s = service_http_new(&config, &w->at, timeout_ms, err);
    CU_ASSERT_PTR_NOT_NULL_FATAL(s);
    return s;
}

static void run(struct service *s, const char *op) {
    bool read = strncmp(op, "GET", 3) == 0 || strncmp(op, "HEAD", 4) == 0;
    struct bft_execution e = execution(op, strlen(op), read);
    uint64_t ticket = e.ticket;
    uint32_t done = last.done;
    s->ops->execute(s, &e);
    memset(&e, 0xff, sizeof e); // it was borrowed for the call
    while (last.done == done)
        event_base_loop(base, EVLOOP_ONCE);
    CU_ASSERT_EQUAL(last.done, done + 1);
    CU_ASSERT_EQUAL(last.ticket, ticket);
}

static void test_http_framings(void) {
    static const struct step steps[] = {
        {"HTTP/1.1 200 OK\r\nDate: now\r\nServer: s\r\nX-Served-By: 3\r\nETag: \"e\"\r\n"
         "Content-Length: 3\r\n\r\nabc",
         KEEP},
        {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nETag: "
         "\"e\"\r\n\r\n1;x=y\r\na\r\n2\r\nbc\r\n0\r\nTrailer: t\r\n\r\n",
         KEEP},
        {"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nETag: \"e\"\r\n\r\n", KEEP}, // of HEAD
        {"HTTP/1.1 204 No Content\r\n\r\n", KEEP},
        {"HTTP/1.0 200 OK\r\nETag: \"e\"\r\n\r\nabc", CLOSE},
        {"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", KEEP},
    };
    struct web w;
    web_start(&w, steps, 6);
    struct service *s = open_backend(&w, 5000);
    static const char get[] = "GET /a?b HTTP/1.1\r\nHost: h\r\nAccept: x\r\n\r\n";
    run(s, get);
    expect(200, "abc");
    expect_header("etag", "\"e\"");
    CU_ASSERT_EQUAL(view().header_count, 1);
    CU_ASSERT_STRING_EQUAL(w.seen[0], get); // the very bytes
    uint8_t first[128];
    size_t first_len = last.len;
    CU_ASSERT_TRUE_FATAL(first_len <= sizeof first);
    memcpy(first, last.bytes, first_len);
    run(s, get);
    CU_ASSERT_TRUE(last.len == first_len && memcmp(first, last.bytes, first_len) == 0);
    run(s, "HEAD /a HTTP/1.1\r\nHost: h\r\n\r\n");
    expect(200, "");
    expect_header("content-length", "3");
    run(s, "DELETE /a HTTP/1.1\r\nHost: h\r\n\r\n");
    expect(204, "");
    CU_ASSERT_EQUAL(w.connections, 1);
    run(s, get);
    CU_ASSERT_TRUE(last.len == first_len && memcmp(first, last.bytes, first_len) == 0);
    CU_ASSERT_EQUAL(w.connections, 1);
    run(s, get); // a real 5xx is an answer
    expect(503, "");
    CU_ASSERT_EQUAL(w.connections, 2);
    CU_ASSERT_EQUAL(counter(s, "backend_requests"), 6);
    CU_ASSERT_EQUAL(counter(s, "backend_connects"), 2);
    CU_ASSERT_EQUAL(counter(s, "backend_failures"), 0);
    s->ops->free(s);
    web_stop(&w);
}

static void test_http_failures_of_reads(void) {
    static const struct step steps[] = {
        {"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", RESET}, // in mid body
        {"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", CLOSE}, // too short
        {"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nabc", KEEP},
        {NULL, KEEP}, // silence
        {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokextra", KEEP},
        {"HTTP/1.1 101 Switching Protocols\r\n\r\n", KEEP},
    };
    struct web w;
    web_start(&w, steps, 6);
    struct service *s = open_backend(&w, 200);
    for (uint32_t i = 0; i < 4; i++) {
        run(s, GET("/x"));
        CU_ASSERT_TRUE(last.silent);
        CU_ASSERT_EQUAL(w.step, i + 1);
        CU_ASSERT_EQUAL(counter(s, "backend_failures"), i + 1);
        CU_ASSERT_EQUAL(w.connections, i + 1);
    }
    CU_ASSERT_EQUAL(counter(s, "backend_timeouts"), 1);
    CU_ASSERT_EQUAL(counter(s, "backend_retries"), 0);
    run(s, GET("/x")); // good, but what follows it is not: the connection is not kept
    expect(200, "ok");
    run(s, GET("/x"));
    CU_ASSERT_TRUE(last.silent);
    CU_ASSERT_EQUAL(w.connections, 6);
    web_stop(&w);
    w.listener = NULL;
    run(s, GET("/x")); // nobody listens
    CU_ASSERT_TRUE(last.silent);
    CU_ASSERT_EQUAL(w.step, 6);
    s->ops->free(s);
}

static void test_http_stale_connection(void) {
    static const struct step steps[] = {
        {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", KEEP},
        {NULL, CLOSE}, // closed under the request, before a byte
        {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nagain", KEEP},
        {NULL, CLOSE},
        {NULL, CLOSE}, // and the new connection too: that is a failure
    };
    struct web w;
    web_start(&w, steps, 5);
    struct service *s = open_backend(&w, 5000);
    run(s, GET("/x"));
    expect(200, "ok");
    run(s, GET("/x"));
    expect(200, "again");
    CU_ASSERT_EQUAL(w.step, 3);
    CU_ASSERT_EQUAL(counter(s, "backend_retries"), 1);
    run(s, GET("/x"));
    CU_ASSERT_TRUE(last.silent);
    CU_ASSERT_EQUAL(w.step, 5);
    s->ops->free(s);
    web_stop(&w);
}

static void test_http_too_large(void) {
    static const struct step steps[] = {
        {"HTTP/1.1 200 OK\r\nContent-Length: 2049\r\n\r\n", KEEP},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n801\r\n", KEEP},
        {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", KEEP},
    };
    struct web w;
    char body[2200];
    size_t max = config.response_max_bytes;
    struct step with_body[3];
    memcpy(with_body, steps, sizeof steps);
    int n = snprintf(body, sizeof body, "%s", steps[1].reply);
    memset(body + n, 'x', 0x801);
    body[n + 0x801] = '\0';
    with_body[1].reply = body;
    config.response_max_bytes = 2048;
    web_start(&w, with_body, 3);
    struct service *s = open_backend(&w, 5000);
    run(s, GET("/x"));
    CU_ASSERT_TRUE(last.too_large && !last.silent);
    run(s, GET("/x"));
    CU_ASSERT_TRUE(last.too_large && !last.silent);
    CU_ASSERT_EQUAL(counter(s, "backend_too_large"), 2);
    run(s, GET("/x"));
    expect(200, "ok");
    CU_ASSERT_EQUAL(w.connections, 3);
    s->ops->free(s);
    web_stop(&w);
    config.response_max_bytes = max;
}

static void test_http_write_retried(void) {
    static const struct step steps[] = {
        {"HTTP/1.1 200", RESET},
        {NULL, KEEP}, // time-out
        {NULL, CLOSE},
        {"HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\noops", KEEP}, // an answer
    };
    static const char op[] = "POST /form HTTP/1.1\r\nHost: h\r\nX-Prophecy-Request: forged\r\n"
                             "Content-Type: a/b\r\nContent-Length: 4\r\n\r\nbody";
    static const char want[] = "POST /form HTTP/1.1\r\nHost: h\r\nContent-Type: a/b\r\n"
                               "Content-Length: 4\r\n"
                               "X-Prophecy-Request: abc-4-1-7-42\r\n\r\nbody";
    struct web w;
    web_start(&w, steps, 4);
    struct service *s = open_backend(&w, 200);
    run(s, op);
    expect(500, "oops");
    CU_ASSERT_EQUAL(w.step, 4);
    for (uint32_t i = 0; i < 4; i++)
        CU_ASSERT_STRING_EQUAL(w.seen[i], want);
    CU_ASSERT_EQUAL(counter(s, "backend_retries"), 3);
    CU_ASSERT_EQUAL(counter(s, "backend_timeouts"), 1);
    s->ops->free(s);
    web_stop(&w);
}

/* What must not reach the connection: it would be a second request, or change this replica alone.
 */
static void test_http_refuses(void) {
    static const struct step steps[] = {{"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", KEEP}};
    struct web w;
    web_start(&w, steps, 1);
    struct service *s = open_backend(&w, 5000);
    run(s, "GET /x HTTP/1.1\r\nHost: h\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n");
    expect(400, "bad request\n");
    static const char write[] = "DELETE /x HTTP/1.1\r\nHost: h\r\n\r\n";
    struct bft_execution e = execution(write, strlen(write), true);
    e.sigma = 0;
    s->ops->execute(s, &e);
    expect(405, "method not allowed\n");
    CU_ASSERT_EQUAL(w.step, 0);
    CU_ASSERT_EQUAL(w.connections, 0);
    run(s, GET("/x"));
    expect(200, "ok");
    s->ops->free(s);
    web_stop(&w);
}

/* Unordered reads wait behind one another; one too many gets no answer at once. */
static void test_http_queue(void) {
    static struct step steps[1];
    steps[0] = (struct step){NULL, KEEP};
    static struct bft_execution e[1025];
    struct web w;
    web_start(&w, steps, 1);
    struct service *s = open_backend(&w, 60000);
    uint32_t done = last.done;
    for (uint32_t i = 0; i < 1024; i++) {
        e[i] = execution(GET("/x"), strlen(GET("/x")), true);
        e[i].sigma = 0;
        s->ops->execute(s, &e[i]);
    }
    CU_ASSERT_EQUAL(last.done, done + 1); // the last of them: one place is for ordered ones
    CU_ASSERT_TRUE(last.silent);
    CU_ASSERT_EQUAL(counter(s, "drop_backend_queue"), 1);
    e[1024] = execution(GET("/x"), strlen(GET("/x")), true);
    s->ops->execute(s, &e[1024]);
    CU_ASSERT_EQUAL(last.done, done + 1);
    while (w.step == 0)
        event_base_loop(base, EVLOOP_ONCE);
    CU_ASSERT_EQUAL(w.connections, 1);
    s->ops->free(s); // in mid request
    CU_ASSERT_EQUAL(last.done, done + 1);
    web_stop(&w);
}

/* ---- response framing, cut anywhere */

static enum backend_state decode(struct backend_response *r, const char *text, size_t piece,
                                 bool eof) {
    size_t len = strlen(text), have = 0, used = 0;
    backend_response_begin(r, false, 64, &excluded);
    while (have < len && r->state <= BACKEND_BODY) {
        have = have + piece < len ? have + piece : len;
        used += backend_response_feed(r, (const uint8_t *)text + used, have - used);
    }
    if (eof)
        backend_response_eof(r);
    return r->state;
}

static void test_response_pieces(void) {
    static const struct {
        const char *text;
        bool eof;
        enum backend_state state;
        const char *body;
        bool keep;
    } cases[] = {
        {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", false, BACKEND_DONE, "hello", true},
        {"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello", false,
         BACKEND_DONE, "hello", false},
        {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell", false, BACKEND_BODY, "hell", true},
        {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell", true, BACKEND_BROKEN, "hell", true},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n",
         false, BACKEND_DONE, "hello", true},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n", true, BACKEND_BROKEN,
         "hel", true},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx", false, BACKEND_BROKEN, "", true},
        {"HTTP/1.1 200 OK\r\n\r\nhello", true, BACKEND_DONE, "hello", false},
        {"HTTP/1.1 200 OK\r\n\r\nhello", false, BACKEND_BODY, "hello", false},
        {"HTTP/1.1 200 OK\r\nContent-Le", true, BACKEND_BROKEN, "", false},
        {"", true, BACKEND_BROKEN, "", false},
        {"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 304 Not Modified\r\n\r\n", false,
         BACKEND_DONE, "", true},
        {"HTTP/1.1 200 OK\r\nContent-Length: 65\r\n\r\n", false, BACKEND_TOO_LARGE, "", true},
        {"SSH-2.0-x\r\n", false, BACKEND_BROKEN, "", false},
    };
    struct backend_response r = {0};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (size_t piece = 1; piece < 8; piece++) {
            enum backend_state state = decode(&r, cases[i].text, piece, cases[i].eof);
            CU_ASSERT_EQUAL(state, cases[i].state);
            CU_ASSERT_EQUAL(r.keep, cases[i].keep);
            CU_ASSERT_TRUE(r.body_len == strlen(cases[i].body) &&
                           memcmp(r.body.data == NULL ? (const uint8_t *)"" : r.body.data,
                                  cases[i].body, r.body_len) == 0);
        }
    }
    free(r.body.data);
}

static void test_response_limits(void) {
    static const char interim[] = "HTTP/1.1 103 Early Hints\r\n\r\n";
    char text[512];
    struct backend_response r = {0};
    size_t len = 0;
    for (int i = 0; i < 9; i++)
        len += (size_t)snprintf(text + len, sizeof text - len, "%s", interim);
    CU_ASSERT_EQUAL(decode(&r, text, 512, false), BACKEND_BROKEN);
    len = (size_t)snprintf(text, sizeof text, "HTTP/1.1 200 OK\r\n\r\n");
    memset(text + len, 'x', 65);
    text[len + 65] = '\0';
    CU_ASSERT_EQUAL(decode(&r, text, 512, true), BACKEND_TOO_LARGE);
    text[len + 64] = '\0';
    CU_ASSERT_EQUAL(decode(&r, text, 512, true), BACKEND_DONE);
    free(r.body.data);
}

static void remove_tree(void) {
    char command[64];
    snprintf(command, sizeof command, "rm -rf %s", dir);
    CU_ASSERT_EQUAL(system(command), 0);
}

static const struct unit_case cases[] = {
    {"store: methods", test_store_methods},
    {"store: preconditions", test_store_preconditions},
    {"store: refuses", test_store_refuses},
    {"store: 10 and 16 MiB", test_store_large},
    {"store: full", test_store_full},
    {"store: equal histories, equal bytes and digests", test_store_deterministic},
    {"store: restart", test_store_restart},
    {"store: not usable", test_store_not_usable},
    {"store: a failing disk stops the replica", test_store_disk_fails},
    {"store: fast reads equal agreed ones", test_store_listener},
    {"listener: odd requests", test_listener_odd_requests},
    {"listener: slow readers", test_listener_limit},
    {"null: sizes", test_null},
    {"http: framings", test_http_framings},
    {"http: failures of reads", test_http_failures_of_reads},
    {"http: a stale connection", test_http_stale_connection},
    {"http: too large", test_http_too_large},
    {"http: a write is retried", test_http_write_retried},
    {"http: refuses", test_http_refuses},
    {"http: queue", test_http_queue},
    {"response: in pieces", test_response_pieces},
    {"response: limits", test_response_limits},
    {"cleans up", remove_tree},
    {0},
};

int main(int argc, char **argv) {
    signal(SIGPIPE, SIG_IGN);
    base = event_base_new();
    if (base == NULL || mkdtemp(dir) == NULL)
        return 2;
    int status = unit_main("service", cases, argc, argv);
    event_base_free(base);
    free(last.bytes);
    return status;
}
