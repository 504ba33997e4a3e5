/* SPDX-License-Identifier: BSD-3-Clause */
#include "sketch/sketch.h"
#include "unit.h"

#include <assert.h>
#include <stdlib.h>

static const struct sketch_secret secret = {
    .request_key = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16},
    .response_key = {16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1},
};
static struct sketch *sk;
static struct sketch_names key_headers;
static const struct sketch_names no_names;

/* ---- short hands ---- */

static struct http_request parse(const char *text) {
    struct http_request q;
    memset(&q, 0, sizeof q);
    int n = http_parse_request((const uint8_t *)text, strlen(text), &q);
    CU_ASSERT_EQUAL_FATAL(n, (int)strlen(text));
    return q;
}

static struct sketch_tag key_of(const char *text) {
    struct http_request q = parse(text);
    struct sketch_tag t;
    sketch_request(sk, &q, &key_headers, &t);
    return t;
}

static struct sketch_tag url_of(const char *text) {
    struct http_request q = parse(text);
    struct sketch_tag t;
    sketch_url(sk, &q, &t);
    return t;
}

static bool same(struct sketch_tag a, struct sketch_tag b) {
    CU_ASSERT_EQUAL(sketch_equal(&a, &b), memcmp(a.b, b.b, sizeof a.b) == 0);
    return sketch_equal(&a, &b);
}

struct text {
    char p[4096];
    size_t len;
};

static struct text text_of(const struct wire_writer *w) {
    struct text t = {.len = w->len};
    CU_ASSERT_FATAL(!w->failed && w->len < sizeof t.p);
    memcpy(t.p, w->data, w->len);
    return t;
}

static struct text upstream_read(const char *request) {
    uint8_t out[4096];
    struct wire_writer w;
    struct http_request q = parse(request);
    wire_writer_init(&w, out, sizeof out);
    sketch_upstream_read(&w, &q, &key_headers);
    return text_of(&w);
}

static struct text upstream_write(const char *request, bool has_body, uint64_t body_len) {
    uint8_t out[4096];
    struct wire_writer w;
    struct http_request q = parse(request);
    wire_writer_init(&w, out, sizeof out);
    sketch_upstream_write(&w, &q, has_body, body_len);
    return text_of(&w);
}

struct head {
    uint8_t p[SKETCH_CANONICAL_HEAD_MAX];
    size_t len;
};

static struct head canonical(const char *response, bool head_request,
                             const struct sketch_names *excluded) {
    struct http_response r;
    struct head h;
    memset(&h, 0, sizeof h);
    int n = http_parse_response((const uint8_t *)response, strlen(response), head_request, &r);
    CU_ASSERT_EQUAL_FATAL(n, (int)strlen(response));
    h.len = sketch_canonical_head(&r, head_request, excluded, h.p, sizeof h.p);
    CU_ASSERT_FATAL(h.len > 0);
    return h;
}

static bool same_head(struct head a, struct head b) {
    return a.len == b.len && memcmp(a.p, b.p, a.len) == 0;
}

#define GET(path, headers) "GET " path " HTTP/1.1\r\nHost: h\r\n" headers "\r\n"
#define ASSERT_TEXT(t, expected)                                                                   \
    do {                                                                                           \
        struct text got_ = (t);                                                                    \
        CU_ASSERT_EQUAL(got_.len, strlen(expected));                                               \
        CU_ASSERT_STRING_EQUAL(got_.p, expected);                                                  \
    } while (0)

/* ---- names ---- */

static void test_names(void) {
    struct sketch_names n = {0};
    CU_ASSERT(sketch_names_add(&n, " ETag, X-Served-By  last-modified,,etag "));
    CU_ASSERT_EQUAL(n.count, 3);
    CU_ASSERT_STRING_EQUAL(n.name[0], "etag");
    CU_ASSERT_STRING_EQUAL(n.name[1], "x-served-by");
    CU_ASSERT_STRING_EQUAL(n.name[2], "last-modified");
    CU_ASSERT(sketch_names_add(&n, ""));
    CU_ASSERT(!sketch_names_add(&n, "good b:ad"));
    CU_ASSERT(!sketch_names_add(&n, "b\x80"));
    CU_ASSERT(!sketch_names_add(&n, "a\tb"));
    CU_ASSERT_EQUAL(n.count, 3); // a list that is refused changes nothing
    char longest[SKETCH_NAME_MAX_BYTES + 1];
    memset(longest, 'a', sizeof longest);
    longest[SKETCH_NAME_MAX_BYTES] = '\0';
    CU_ASSERT(!sketch_names_add(&n, longest));
    longest[SKETCH_NAME_MAX_BYTES - 1] = '\0';
    CU_ASSERT(sketch_names_add(&n, longest));
    for (unsigned int i = n.count; i < SKETCH_EXCLUDED_MAX; i++) {
        char name[8];
        snprintf(name, sizeof name, "n%u", i);
        CU_ASSERT(sketch_names_add(&n, name));
    }
    CU_ASSERT_EQUAL(n.count, SKETCH_EXCLUDED_MAX);
    CU_ASSERT(!sketch_names_add(&n, "one-more"));
    sketch_key_headers_default(&n);
    CU_ASSERT_EQUAL(n.count, 5);
    CU_ASSERT_STRING_EQUAL(n.name[4], "cookie");
}

/* ---- requests ---- */

static void test_key_is_injective(void) {
    static const char *const different[] = {
        GET("/ab", ""),
        GET("/a", ""),
        GET("/a?b", ""),
        GET("/A", ""),
        "HEAD /a HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: ha\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: H\r\n\r\n",
        "GETX /a HTTP/1.1\r\nHost: h\r\n\r\n",
        GET("/a", "Accept: x\r\n"),
        GET("/a", "Accept:\r\n"),
        GET("/a", "Accept-Encoding: x\r\n"),
        GET("/a", "Accept-Language: x\r\n"),
        GET("/a", "Authorization: x\r\n"),
        GET("/a", "Cookie: x\r\n"),
        GET("/a", "Accept: x\r\nCookie: x\r\n"),
        GET("/a", "Accept: xx\r\n"),
        GET("/a", "Accept: x\r\nAccept: x\r\n"),
        GET("/a", "Accept: x\r\nAccept-Encoding: y\r\n"),
        GET("/a", "Accept: xy\r\nAccept-Encoding:\r\n"),
        GET("/a", "Accept:\r\nAccept-Encoding: xy\r\n"),
    };
    const size_t count = sizeof different / sizeof different[0];
    for (size_t i = 0; i < count; i++) {
        CU_ASSERT(same(key_of(different[i]), key_of(different[i])));
        for (size_t k = 0; k < i; k++)
            CU_ASSERT_FALSE(same(key_of(different[i]), key_of(different[k])));
    }
}

/* A boundary that moves by any number of bytes between two neighbouring fields changes the tag. */
static void test_boundaries_count(void) {
    static const char bytes[] = "abcdefghijkl";
    const size_t len = sizeof bytes - 1;
    struct sketch_tag seen[3 * sizeof bytes];
    size_t n = 0;
    struct http_request q = parse(GET("/x", ""));
    q.header_count = 2;
    q.headers[0].name = (struct http_str){"accept", 6};
    q.headers[1].name = (struct http_str){"accept-encoding", 15};
    for (size_t cut = 0; cut <= len; cut++) {
        struct http_str left = {bytes, cut}, right = {bytes + cut, len - cut};
        struct http_str fixed = {"/", 1};
        q.method_name = left, q.authority = right, q.target = fixed;
        q.headers[0].value = fixed, q.headers[1].value = fixed;
        sketch_request(sk, &q, &key_headers, &seen[n++]);
        q.method_name = fixed, q.authority = left, q.target = right;
        sketch_request(sk, &q, &key_headers, &seen[n++]);
        q.authority = fixed, q.target = fixed;
        q.headers[0].value = left, q.headers[1].value = right;
        sketch_request(sk, &q, &key_headers, &seen[n++]);
    }
    CU_ASSERT_EQUAL(n, sizeof seen / sizeof seen[0]);
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < i; k++)
            CU_ASSERT_FALSE(same(seen[i], seen[k]));
}

static void test_key_joins_values(void) {
    struct sketch_tag joined = key_of(GET("/a", "Accept: x, y\r\n"));
    CU_ASSERT(same(joined, key_of(GET("/a", "Accept: x\r\naCCEPT: y\r\n"))));
    CU_ASSERT(same(joined, key_of(GET("/a", "accept: x\r\nZ: 1\r\nCookie-x: 2\r\nAccept: y\r\n"))));
    CU_ASSERT_FALSE(same(joined, key_of(GET("/a", "Accept: y\r\nAccept: x\r\n"))));
    CU_ASSERT_FALSE(same(joined, key_of(GET("/a", "Accept: x,y\r\n"))));
}

/* After a reload with another list of key headers no old key may be met again. */
static void test_key_depends_on_list(void) {
    struct http_request q = parse(GET("/a", ""));
    struct sketch_names a = {0}, b = {0}, none = {0};
    struct sketch_tag ta, tb, tn;
    sketch_names_add(&a, "x-a");
    sketch_names_add(&b, "x-b");
    sketch_request(sk, &q, &a, &ta);
    sketch_request(sk, &q, &b, &tb);
    sketch_request(sk, &q, &none, &tn);
    CU_ASSERT_FALSE(same(ta, tb));
    CU_ASSERT_FALSE(same(ta, tn));
}

static void test_url(void) {
    struct sketch_tag url = url_of(GET("/a?b", ""));
    CU_ASSERT(same(url, url_of("PUT /a?b HTTP/1.1\r\nHost: h\r\nCookie: c\r\n\r\n")));
    CU_ASSERT(same(url, url_of("DELETE http://h/a?b HTTP/1.1\r\nHost: h\r\n\r\n")));
    CU_ASSERT_FALSE(same(url, url_of(GET("/a?c", ""))));
    CU_ASSERT_FALSE(same(url, url_of(GET("/a", ""))));
    CU_ASSERT_FALSE(same(url, url_of("GET /a?b HTTP/1.1\r\nHost: i\r\n\r\n")));
    struct sketch_names none = {0};
    struct http_request q = parse(GET("/a?b", ""));
    struct sketch_tag t;
    sketch_request(sk, &q, &none, &t);
    CU_ASSERT_FALSE(same(url, t));
}

static void test_secrets(void) {
    struct sketch_secret other = secret;
    other.request_key[0] ^= 1;
    struct sketch *o = sketch_new(&other);
    struct http_request q = parse(GET("/a", ""));
    struct sketch_tag a, b, ra, rb;
    sketch_request(sk, &q, &key_headers, &a);
    sketch_request(o, &q, &key_headers, &b);
    CU_ASSERT_FALSE(same(a, b));
    sketch_canonical(sk, &a, (const uint8_t *)"x", 1, &ra);
    sketch_canonical(o, &a, (const uint8_t *)"x", 1, &rb);
    CU_ASSERT(same(ra, rb)); // the response key is the same
    sketch_free(o);
    other = secret;
    other.response_key[15] ^= 1;
    o = sketch_new(&other);
    sketch_request(o, &q, &key_headers, &b);
    CU_ASSERT(same(a, b));
    sketch_canonical(o, &a, (const uint8_t *)"x", 1, &rb);
    CU_ASSERT_FALSE(same(ra, rb));
    sketch_free(o);
    sketch_free(NULL);
}

/* ---- upstream heads ---- */

static void test_upstream_read(void) {
    ASSERT_TEXT(
        upstream_read(GET("/a?b", "X-Any: 1\r\nCookie: k=v\r\nACCEPT: t/h\r\nAccept: t/i\r\n"
                                  "If-None-Match: \"e\"\r\nRange: bytes=0-1\r\n"
                                  "User-Agent: u\r\nExpect: 100-continue\r\n")),
        "GET /a?b HTTP/1.1\r\nHost: h\r\naccept: t/h, t/i\r\ncookie: k=v\r\n\r\n");
    ASSERT_TEXT(upstream_read("HEAD http://g:81/p HTTP/1.1\r\nHost: g:81\r\nAccept:\r\n\r\n"),
                "HEAD /p HTTP/1.1\r\nHost: g:81\r\naccept: \r\n\r\n");
    ASSERT_TEXT(upstream_read("GET / HTTP/1.0\r\n\r\n"), "GET / HTTP/1.1\r\nHost: \r\n\r\n");
    uint8_t out[20];
    struct wire_writer w;
    struct http_request q = parse(GET("/a", ""));
    wire_writer_init(&w, out, sizeof out);
    sketch_upstream_read(&w, &q, &key_headers);
    CU_ASSERT(w.failed);
}

/* Whatever a client sends: equal keys give equal upstream bytes, different bytes come from
 * different keys. */
static void test_s23_upstream_is_a_function_of_the_key(void) {
    static const char *const requests[] = {
        GET("/a", ""),
        GET("/a", "User-Agent: one\r\n"),
        GET("/a", "User-Agent: two\r\nX-Forwarded-For: 10.0.0.1\r\nTE: trailers\r\n"),
        GET("/a", "Range: bytes=0-5\r\nIf-Modified-Since: x\r\nIf-Match: *\r\n"),
        GET("/a", "Connection: cookie\r\nCookie: hop=1\r\n"),
        GET("/a", "Content-Length: 0\r\n"),
        GET("/a", "Cookie: c\r\n"),
        GET("/a", "X: y\r\ncOOKIE: c\r\n"),
        GET("/a", "Accept: x\r\nAccept: y\r\n"),
        GET("/a", "Accept: x, y\r\nFrom: z\r\n"),
        "GET http://h/a HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET http://h/a HTTP/1.0\r\n\r\n",
        "GET /a HTTP/1.0\r\nHost: h\r\n\r\n",
        "GET /a HTTP/1.0\r\n\r\n",
        "HEAD /a HTTP/1.1\r\nHost: h\r\n\r\n",
    };
    const size_t count = sizeof requests / sizeof requests[0];
    size_t equal = 0;
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < i; k++) {
            struct text a = upstream_read(requests[i]), b = upstream_read(requests[k]);
            bool same_bytes = a.len == b.len && memcmp(a.p, b.p, a.len) == 0;
            CU_ASSERT_EQUAL(same(key_of(requests[i]), key_of(requests[k])), same_bytes);
            equal += same_bytes;
        }
    CU_ASSERT_EQUAL(equal, 9 * 8 / 2 + 1 + 1); // the nine plain GETs, two cookies, two accepts
}

/* Fields that frame the message or are evaluated here stay out, even when the configuration names
 * them. */
static void test_key_headers_that_may_not_be(void) {
    struct sketch_names odd = {0};
    uint8_t out[512];
    struct wire_writer w;
    CU_ASSERT(sketch_names_add(&odd, "host connection content-length transfer-encoding range "
                                     "if-none-match expect te upgrade x-real"));
    struct http_request q =
        parse(GET("/a", "Content-Length: 0\r\nConnection: keep-alive\r\nTE: t\r\n"
                        "Range: bytes=0-1\r\nUpgrade: h2c\r\nX-Real: r\r\n"
                        "If-None-Match: *\r\nExpect: 100-continue\r\n"));
    struct http_request plain = parse(GET("/a", "X-Real: r\r\n"));
    wire_writer_init(&w, out, sizeof out);
    sketch_upstream_read(&w, &q, &odd);
    ASSERT_TEXT(text_of(&w), "GET /a HTTP/1.1\r\nHost: h\r\nx-real: r\r\n\r\n");
    struct sketch_tag a, b;
    sketch_request(sk, &q, &odd, &a);
    sketch_request(sk, &plain, &odd, &b);
    CU_ASSERT(same(a, b));
}

static void test_s12_keys_are_separate(void) {
    static const char *const variants[] = {
        GET("/x", ""),
        "HEAD /x HTTP/1.1\r\nHost: h\r\n\r\n",
        GET("/x", "Accept-Encoding: gzip\r\n"),
        GET("/x", "Accept-Language: de\r\n"),
        GET("/x", "Cookie: s=1\r\n"),
        GET("/x", "Authorization: Basic eA==\r\n"),
    };
    for (size_t i = 0; i < sizeof variants / sizeof variants[0]; i++) {
        CU_ASSERT(same(url_of(variants[i]), url_of(variants[0])));
        for (size_t k = 0; k < i; k++)
            CU_ASSERT_FALSE(same(key_of(variants[i]), key_of(variants[k])));
    }
    // 206 and 304 are made from the full response: these have the key of the plain GET
    CU_ASSERT(same(key_of(GET("/x", "Range: bytes=0-9\r\n")), key_of(variants[0])));
    CU_ASSERT(same(key_of(GET("/x", "If-None-Match: \"e\"\r\n")), key_of(variants[0])));
}

static void test_upstream_write(void) {
    ASSERT_TEXT(
        upstream_write("POST /p HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: a\r\nIf-Match: *\r\n"
                       "Connection: close, x-hop\r\nX-Hop: 1\r\nTE: trailers\r\n"
                       "Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n"
                       "Cookie: a\r\nCookie: b\r\n\r\n",
                       true, 12),
        "POST /p HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: a\r\nIf-Match: *\r\nCookie: a\r\n"
        "Cookie: b\r\nContent-Length: 12\r\n\r\n");
    ASSERT_TEXT(upstream_write("PUT /p HTTP/1.1\r\nContent-Length: 0\r\nHost: h\r\n\r\n", true, 0),
                "PUT /p HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n");
    ASSERT_TEXT(upstream_write("PATCH /p HTTP/1.1\r\nHost: h\r\n\r\n", false, 0),
                "PATCH /p HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n");
    ASSERT_TEXT(upstream_write("DELETE /p HTTP/1.1\r\nHost: h\r\n\r\n", false, 0),
                "DELETE /p HTTP/1.1\r\nHost: h\r\n\r\n");
    ASSERT_TEXT(
        upstream_write("OPTIONS * HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\n", true, 3),
        "OPTIONS * HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\n");
}

/* ---- canonical heads ---- */

#define OK_LINE "HTTP/1.1 200 OK\r\n"

static void test_canonical_form(void) {
    static const uint8_t expected[] = "\x00\xc8\x00\x03"
                                      "\x00\x01"
                                      "a\x00\x00\x00\x01"
                                      "1"
                                      "\x00\x01"
                                      "b\x00\x00\x00\x02"
                                      "z2"
                                      "\x00\x01"
                                      "b\x00\x00\x00\x00";
    struct head h =
        canonical(OK_LINE "B: z2 \r\nA:1\r\nb:\r\nContent-Length: 0\r\n\r\n", false, &no_names);
    CU_ASSERT_EQUAL(h.len, sizeof expected - 1);
    CU_ASSERT(memcmp(h.p, expected, sizeof expected - 1) == 0);
}

static void test_canonical_equalities(void) {
    struct sketch_names excluded = {0};
    sketch_names_add(&excluded, "x-served-by, set-cookie");
    struct head plain = canonical(OK_LINE "ETag: e\r\nVary: v\r\n\r\n", false, &excluded);
    static const char *const same_meaning[] = {
        OK_LINE "vary: v\r\netag: e\r\n\r\n",
        "HTTP/1.0 200 Fine, thanks\r\nVARY:v\r\nETAG:  e  \r\n\r\n",
        OK_LINE "Date: d\r\nServer: s\r\nVia: v\r\nAge: 1\r\nETag: e\r\nVary: v\r\n\r\n",
        OK_LINE
        "Content-Length: 10\r\nETag: e\r\nVary: v\r\nX-Served-By: 3\r\nSet-Cookie: q\r\n\r\n",
        OK_LINE "Transfer-Encoding: chunked\r\nTrailer: t\r\nETag: e\r\nVary: v\r\n\r\n",
        OK_LINE "Connection: close, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nUpgrade: h2\r\n"
                "Proxy-Authenticate: x\r\nETag: e\r\nVary: v\r\n\r\n",
    };
    for (size_t i = 0; i < sizeof same_meaning / sizeof same_meaning[0]; i++)
        CU_ASSERT(same_head(plain, canonical(same_meaning[i], false, &excluded)));
    static const char *const other_meaning[] = {
        "HTTP/1.1 203 OK\r\nETag: e\r\nVary: v\r\n\r\n",
        OK_LINE "ETag: E\r\nVary: v\r\n\r\n",
        OK_LINE "ETag: e\r\n\r\n",
        OK_LINE "ETag: e\r\nVary: v\r\nVary: v\r\n\r\n",
        OK_LINE "ETag: e\r\nVary: v\r\nX: y\r\n\r\n",
        OK_LINE "Connection: etag\r\nETag: e\r\nVary: v\r\n\r\n",
        OK_LINE "ETag: v\r\nVary: e\r\n\r\n",
        OK_LINE "ETag: e\r\nVar: yv\r\n\r\n",
    };
    for (size_t i = 0; i < sizeof other_meaning / sizeof other_meaning[0]; i++)
        CU_ASSERT_FALSE(same_head(plain, canonical(other_meaning[i], false, &excluded)));
    // the order among headers of one name is part of the meaning
    CU_ASSERT_FALSE(same_head(canonical(OK_LINE "W: 1\r\nW: 2\r\n\r\n", false, &excluded),
                              canonical(OK_LINE "W: 2\r\nW: 1\r\n\r\n", false, &excluded)));
}

static void test_canonical_content_length_of_head(void) {
    static const char response[] = OK_LINE "Content-Length: 10\r\nETag: e\r\n\r\n";
    struct sketch_view v;
    struct head h = canonical(response, true, &no_names);
    CU_ASSERT(sketch_head_parse(h.p, h.len, &v));
    CU_ASSERT(http_str_eq(sketch_view_find(&v, "content-length"), "10"));
    h = canonical(response, false, &no_names);
    CU_ASSERT(sketch_head_parse(h.p, h.len, &v));
    CU_ASSERT_PTR_NULL(sketch_view_find(&v, "content-length").p);
    CU_ASSERT(http_str_eq(sketch_view_find(&v, "etag"), "e"));
}

static void test_canonical_capacity(void) {
    static const char response[] = OK_LINE "ETag: e\r\nX: y\r\n\r\n";
    struct http_response r;
    uint8_t out[64], guard = 0x5a;
    http_parse_response((const uint8_t *)response, strlen(response), false, &r);
    size_t need = sketch_canonical_head(&r, false, &no_names, out, sizeof out);
    CU_ASSERT_EQUAL(need, 4 + 6 + 4 + 1 + 6 + 1 + 1);
    for (size_t cap = 0; cap < need; cap++) {
        memset(out, guard, sizeof out);
        CU_ASSERT_EQUAL(sketch_canonical_head(&r, false, &no_names, out, cap), 0);
        CU_ASSERT_EQUAL(out[cap], guard);
    }
    CU_ASSERT_EQUAL(sketch_canonical_head(&r, false, &no_names, out, need), need);
    uint8_t whole[64];
    CU_ASSERT_EQUAL(sketch_canonical_build(out, need, out, 3, whole, need + 15), need + 15);
    CU_ASSERT_EQUAL(sketch_canonical_build(out, need, out, 3, whole, need + 14), 0);
}

/* The largest head that the parser takes fits SKETCH_CANONICAL_HEAD_MAX. */
static void test_canonical_largest(void) {
    static char text[HTTP_HEAD_MAX_BYTES + 1];
    size_t n = (size_t)sprintf(text, OK_LINE);
    size_t each = (HTTP_HEAD_MAX_BYTES - n - 2) / HTTP_HEADERS_MAX;
    for (unsigned int i = 0; i < HTTP_HEADERS_MAX; i++) {
        n += (size_t)sprintf(text + n, "h%02u:", 99 - i);
        memset(text + n, 'v', each - 6);
        n += each - 6;
        n += (size_t)sprintf(text + n, "\r\n");
    }
    sprintf(text + n, "\r\n");
    struct head h = canonical(text, false, &no_names);
    struct sketch_view v;
    CU_ASSERT(sketch_head_parse(h.p, h.len, &v));
    CU_ASSERT_EQUAL(v.header_count, HTTP_HEADERS_MAX);
}

/* ---- parsing ---- */

static size_t whole_response(uint8_t *out, size_t cap) {
    struct head h = canonical(OK_LINE "ETag: \"a\"\r\nVary: x\r\nVary: y\r\nX: a\tb c\x80\r\n\r\n",
                              false, &no_names);
    size_t len = sketch_canonical_build(h.p, h.len, (const uint8_t *)"hello", 5, out, cap);
    CU_ASSERT_FATAL(len == 4 + h.len + 5 + 8);
    return len;
}

static void test_parse(void) {
    uint8_t data[256];
    struct sketch_view v;
    struct http_str name, value;
    size_t len = whole_response(data, sizeof data), pos = 0;
    CU_ASSERT_FATAL(sketch_canonical_parse(data, len, &v));
    CU_ASSERT_EQUAL(v.status, 200);
    CU_ASSERT_EQUAL(v.header_count, 4);
    CU_ASSERT_EQUAL(v.body_len, 5);
    CU_ASSERT(memcmp(v.body, "hello", 5) == 0);
    static const char *const expected[][2] = {
        {"etag", "\"a\""}, {"vary", "x"}, {"vary", "y"}, {"x", "a\tb c\x80"}};
    for (size_t i = 0; i < 4; i++) {
        CU_ASSERT(sketch_view_next(&v, &pos, &name, &value));
        CU_ASSERT(http_str_eq(name, expected[i][0]));
        CU_ASSERT(http_str_eq(value, expected[i][1]));
    }
    CU_ASSERT(!sketch_view_next(&v, &pos, &name, &value));
    CU_ASSERT(http_str_eq(sketch_view_find(&v, "vary"), "x"));
    CU_ASSERT_PTR_NULL(sketch_view_find(&v, "var").p);
    // no header, no body
    CU_ASSERT(
        sketch_canonical_parse((const uint8_t *)"\0\0\0\4\x01\x94\0\0\0\0\0\0\0\0\0\0", 16, &v));
    CU_ASSERT_EQUAL(v.status, 404);
    CU_ASSERT_EQUAL(v.body_len, 0);
    pos = 0;
    CU_ASSERT(!sketch_view_next(&v, &pos, &name, &value));
}

/* Each in a block of its own size, so that AddressSanitizer sees a read beyond the end. */
static bool parses(const uint8_t *data, size_t len) {
    struct sketch_view v;
    uint8_t *exact = malloc(len == 0 ? 1 : len);
    assert(exact != NULL);
    memcpy(exact, data, len);
    bool ok = sketch_canonical_parse(exact, len, &v);
    free(exact);
    return ok;
}

static void test_parse_refuses_truncation_and_trailers(void) {
    uint8_t data[256];
    size_t len = whole_response(data, sizeof data);
    CU_ASSERT(parses(data, len));
    for (size_t n = 0; n < len; n++)
        CU_ASSERT_FALSE(parses(data, n));
    data[len] = 0;
    CU_ASSERT_FALSE(parses(data, len + 1));
    struct head h = canonical(OK_LINE "ETag: e\r\nX: y\r\n\r\n", false, &no_names);
    struct sketch_view v;
    for (size_t n = 0; n < h.len; n++)
        CU_ASSERT_FALSE(sketch_head_parse(h.p, n, &v));
    h.p[h.len] = 'x';
    CU_ASSERT_FALSE(sketch_head_parse(h.p, h.len + 1, &v));
}

/* Any change of a length or count field by any single byte value is noticed. */
static void test_parse_refuses_lying_lengths(void) {
    uint8_t data[256], bad[256];
    size_t len = whole_response(data, sizeof data);
    size_t at[64], n = 0;
    for (size_t i = 0; i < 4; i++)
        at[n++] = i;          // head_len
    at[n++] = 6, at[n++] = 7; // count
    for (size_t i = 8, h = 0; h < 4; h++) {
        size_t name_len = (size_t)data[i] << 8 | data[i + 1];
        at[n++] = i, at[n++] = i + 1;
        i += 2 + name_len;
        size_t value_len = data[i + 3];
        for (size_t k = 0; k < 4; k++)
            at[n++] = i + k;
        i += 4 + value_len;
    }
    for (size_t i = 0; i < 8; i++)
        at[n++] = len - 8 + i; // body_len
    for (size_t i = 0; i < n; i++)
        for (unsigned int x = 1; x < 256; x++) {
            memcpy(bad, data, len);
            bad[at[i]] ^= (uint8_t)x;
            CU_ASSERT_FALSE(parses(bad, len));
        }
}

struct raw_header {
    const char *name;
    size_t name_len;
    const char *value;
    size_t value_len;
};

static bool parses_headers(uint16_t status, const struct raw_header *h, uint16_t count) {
    uint8_t head[1024];
    struct sketch_view v;
    struct wire_writer w;
    wire_writer_init(&w, head, sizeof head);
    wire_put_u16(&w, status);
    wire_put_u16(&w, count);
    for (uint16_t i = 0; i < count; i++) {
        wire_put_u16(&w, (uint16_t)h[i].name_len);
        wire_put_bytes(&w, h[i].name, h[i].name_len);
        wire_put_u32(&w, (uint32_t)h[i].value_len);
        wire_put_bytes(&w, h[i].value, h[i].value_len);
    }
    CU_ASSERT_FATAL(!w.failed);
    return sketch_head_parse(head, w.len, &v);
}

#define RAW(n, v)                                                                                  \
    { n, sizeof(n) - 1, v, sizeof(v) - 1 }
static bool parses_one(const struct raw_header h) {
    return parses_headers(200, &h, 1);
}

static void test_parse_refuses_what_is_not_canonical(void) {
    struct raw_header sorted[] = {RAW("a", "2"), RAW("a", "1"), RAW("ab", ""), RAW("b", "x")};
    struct raw_header unsorted[] = {RAW("b", "x"), RAW("a", "1")};
    struct raw_header longer_first[] = {RAW("ab", ""), RAW("a", "1")};
    CU_ASSERT(parses_headers(200, sorted, 4));
    CU_ASSERT(parses_headers(100, sorted, 4));
    CU_ASSERT(parses_headers(599, sorted, 4));
    CU_ASSERT_FALSE(parses_headers(99, sorted, 4));
    CU_ASSERT_FALSE(parses_headers(600, sorted, 4));
    CU_ASSERT_FALSE(parses_headers(65535, sorted, 4));
    CU_ASSERT_FALSE(parses_headers(200, unsorted, 2));
    CU_ASSERT_FALSE(parses_headers(200, longer_first, 2));
    CU_ASSERT_FALSE(parses_one((struct raw_header)RAW("", "x")));
    CU_ASSERT_FALSE(parses_one((struct raw_header)RAW("A", "x")));
    CU_ASSERT_FALSE(parses_one((struct raw_header)RAW("x", " a")));
    CU_ASSERT_FALSE(parses_one((struct raw_header)RAW("x", "a\t")));
    static const char *const never[] = {
        "connection", "keep-alive", "te",  "trailer", "upgrade",          "date",
        "server",     "via",        "age", "proxy-x", "transfer-encoding"};
    for (size_t i = 0; i < sizeof never / sizeof never[0]; i++)
        CU_ASSERT_FALSE(parses_one((struct raw_header){never[i], strlen(never[i]), "x", 1}));
    CU_ASSERT(parses_one((struct raw_header)RAW("content-length", "0")));
    CU_ASSERT(parses_one((struct raw_header)RAW("content-length", "1234567890123456789")));
    CU_ASSERT_FALSE(parses_one((struct raw_header)RAW("content-length", "")));
    CU_ASSERT_FALSE(parses_one((struct raw_header)RAW("content-length", "01")));
    CU_ASSERT_FALSE(parses_one((struct raw_header)RAW("content-length", "+1")));
    CU_ASSERT_FALSE(parses_one((struct raw_header)RAW("content-length", "12345678901234567890")));
    struct raw_header twice[] = {RAW("content-length", "1"), RAW("content-length", "1")};
    CU_ASSERT_FALSE(parses_headers(200, twice, 2));
}

/* Every byte value in the middle of a name and of a value, against the grammar of RFC 9110. */
static void test_parse_characters(void) {
    for (int c = 0; c < 256; c++) {
        char bytes[3] = {'a', (char)c, 'a'};
        bool token = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
                     (c > 0 && strchr("!#$%&'*+-.^_`|~", c) != NULL);
        CU_ASSERT_EQUAL(parses_one((struct raw_header){bytes, 3, "v", 1}), token);
        bool value = c == '\t' || (c >= 0x20 && c != 0x7f);
        CU_ASSERT_EQUAL(parses_one((struct raw_header){"n", 1, bytes, 3}), value);
    }
}

static void test_parse_refuses_too_many(void) {
    struct raw_header many[HTTP_HEADERS_MAX + 1];
    for (size_t i = 0; i <= HTTP_HEADERS_MAX; i++)
        many[i] = (struct raw_header)RAW("n", "v");
    CU_ASSERT(parses_headers(200, many, HTTP_HEADERS_MAX));
    CU_ASSERT_FALSE(parses_headers(200, many, HTTP_HEADERS_MAX + 1));
}

/* ---- response sketches ---- */

static void test_streaming_equals_one_shot(void) {
    enum { BODY = 1400 };
    static uint8_t body[BODY], data[2048];
    for (size_t i = 0; i < BODY; i++)
        body[i] = (uint8_t)(i * 7 + (i >> 8));
    struct head h = canonical(OK_LINE "ETag: e\r\n\r\n", false, &no_names);
    struct sketch_tag q = key_of(GET("/a", "")), whole, split, other;
    size_t len = sketch_canonical_build(h.p, h.len, body, BODY, data, sizeof data);
    sketch_canonical(sk, &q, data, len, &whole);
    for (size_t cut = 0; cut <= BODY; cut++) {
        sketch_response_begin(sk, &q, h.p, h.len);
        sketch_response_body(sk, body, cut);
        other = key_of(GET("/between", "")); // a request may be sketched in the middle
        sketch_response_body(sk, body + cut, BODY - cut);
        sketch_response_final(sk, BODY, &split);
        CU_ASSERT(sketch_equal(&whole, &split));
    }
    CU_ASSERT(same(other, key_of(GET("/between", ""))));
    sketch_response_begin(sk, &q, h.p, h.len);
    for (size_t i = 0; i < BODY; i++)
        sketch_response_body(sk, body + i, 1);
    sketch_response_final(sk, BODY, &split);
    CU_ASSERT(same(whole, split));
}

static struct sketch_tag response_tag(struct sketch_tag q, const char *head, const char *body) {
    uint8_t data[512];
    struct sketch_tag t;
    struct head h = canonical(head, false, &no_names);
    size_t len =
        sketch_canonical_build(h.p, h.len, (const uint8_t *)body, strlen(body), data, sizeof data);
    sketch_canonical(sk, &q, data, len, &t);
    return t;
}

static void test_response_sketch_separates(void) {
    struct sketch_tag q = key_of(GET("/a", "")), p = key_of(GET("/b", ""));
    struct sketch_tag t = response_tag(q, OK_LINE "A: b\r\n\r\n", "body");
    CU_ASSERT(same(t, response_tag(q, OK_LINE "a: b\r\nDate: x\r\n\r\n", "body")));
    CU_ASSERT_FALSE(same(t, response_tag(p, OK_LINE "A: b\r\n\r\n", "body"))); // covers all of s(q)
    for (size_t i = 0; i < sizeof q.b; i++) {
        struct sketch_tag near = q;
        near.b[i] ^= 1;
        CU_ASSERT_FALSE(same(t, response_tag(near, OK_LINE "A: b\r\n\r\n", "body")));
    }
    CU_ASSERT_FALSE(same(t, response_tag(q, OK_LINE "A: bb\r\n\r\n", "ody")));
    CU_ASSERT_FALSE(same(t, response_tag(q, OK_LINE "A: b\r\n\r\n", "bodY")));
    CU_ASSERT_FALSE(same(t, response_tag(q, OK_LINE "A: b\r\n\r\n", "body ")));
    CU_ASSERT_FALSE(same(t, response_tag(q, OK_LINE "A: b\r\n\r\n", "")));
    CU_ASSERT_FALSE(same(t, response_tag(q, "HTTP/1.1 404 N\r\nA: b\r\n\r\n", "body")));
}

/* A body that looks like the end of one response and the beginning of another. */
static void test_response_length_is_covered(void) {
    struct head h = canonical(OK_LINE "\r\n", false, &no_names);
    struct sketch_tag q = key_of(GET("/a", "")), a, b;
    uint8_t zeros[64] = {0};
    sketch_response_begin(sk, &q, h.p, h.len);
    sketch_response_final(sk, 0, &a);
    for (size_t n = 1; n <= sizeof zeros; n++) {
        sketch_response_begin(sk, &q, h.p, h.len);
        sketch_response_body(sk, zeros, n);
        sketch_response_final(sk, n, &b);
        CU_ASSERT_FALSE(same(a, b));
    }
}

/* ---- client heads ---- */

#define SUNDAY INT64_C(784111777) // Sun, 06 Nov 1994 08:49:37 GMT, the example of RFC 9110
#define DATE_LINE "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"

static struct text client_head(const char *response, struct sketch_client_head c) {
    struct head h = canonical(response, c.head_request, &no_names);
    struct sketch_view v;
    uint8_t out[2048];
    struct wire_writer w;
    CU_ASSERT_FATAL(sketch_head_parse(h.p, h.len, &v));
    if (c.status == 0)
        c.status = v.status;
    c.unix_s = SUNDAY;
    wire_writer_init(&w, out, sizeof out);
    sketch_client_head(&w, &v, &c);
    return text_of(&w);
}

static const char full[] =
    "HTTP/1.1 200 Told you\r\nServer: evil\r\nDate: never\r\nX-A: 1\r\nETag: \"e\"\r\n"
    "Vary: v\r\nContent-Type: t/h\r\nConnection: x-b\r\nX-B: 2\r\n"
    "Cache-Control: c\r\nContent-Length: 77\r\n\r\n";

static void test_client_head(void) {
    ASSERT_TEXT(client_head(full, (struct sketch_client_head){.keep_alive = true, .body_len = 5}),
                "HTTP/1.1 200 OK\r\ncache-control: c\r\ncontent-type: t/h\r\netag: \"e\"\r\n"
                "vary: v\r\nx-a: 1\r\n" DATE_LINE "Content-Length: 5\r\n\r\n");
    ASSERT_TEXT(client_head("HTTP/1.1 404 x\r\n\r\n", (struct sketch_client_head){.body_len = 0}),
                "HTTP/1.1 404 Not Found\r\n" DATE_LINE
                "Content-Length: 0\r\nConnection: close\r\n\r\n");
    ASSERT_TEXT(client_head("HTTP/1.1 204 x\r\n\r\n",
                            (struct sketch_client_head){.keep_alive = true, .http_1_0 = true}),
                "HTTP/1.1 204 No Content\r\n" DATE_LINE "Connection: keep-alive\r\n\r\n");
    ASSERT_TEXT(client_head("HTTP/1.1 299 x\r\n\r\n",
                            (struct sketch_client_head){.keep_alive = false, .http_1_0 = true}),
                "HTTP/1.1 299 \r\n" DATE_LINE "Content-Length: 0\r\nConnection: close\r\n\r\n");
}

static void test_client_head_of_head(void) {
    struct sketch_client_head c = {.head_request = true, .keep_alive = true, .body_len = 5};
    ASSERT_TEXT(client_head(OK_LINE "Content-Length: 77\r\nA: b\r\n\r\n", c),
                "HTTP/1.1 200 OK\r\na: b\r\n" DATE_LINE "Content-Length: 77\r\n\r\n");
    ASSERT_TEXT(client_head(OK_LINE "A: b\r\n\r\n", c),
                "HTTP/1.1 200 OK\r\na: b\r\n" DATE_LINE "\r\n");
    c.status = 412;
    ASSERT_TEXT(client_head(OK_LINE "Content-Length: 77\r\n\r\n", c),
                "HTTP/1.1 412 Precondition Failed\r\n" DATE_LINE "\r\n");
}

static void test_client_head_made_here(void) {
    ASSERT_TEXT(client_head(full, (struct sketch_client_head){.status = 206,
                                                              .keep_alive = true,
                                                              .body_len = 2,
                                                              .content_range = "bytes 0-1/77"}),
                "HTTP/1.1 206 Partial Content\r\ncache-control: c\r\ncontent-type: t/h\r\n"
                "etag: \"e\"\r\nvary: v\r\nx-a: 1\r\nContent-Range: bytes 0-1/77\r\n" DATE_LINE
                "Content-Length: 2\r\n\r\n");
    ASSERT_TEXT(client_head(full, (struct sketch_client_head){.status = 304,
                                                              .keep_alive = true,
                                                              .not_modified = true}),
                "HTTP/1.1 304 Not Modified\r\ncache-control: c\r\netag: \"e\"\r\n"
                "vary: v\r\n" DATE_LINE "\r\n");
    ASSERT_TEXT(client_head(full, (struct sketch_client_head){.status = 304,
                                                              .head_request = true,
                                                              .keep_alive = true,
                                                              .not_modified = true}),
                "HTTP/1.1 304 Not Modified\r\ncache-control: c\r\netag: \"e\"\r\n"
                "vary: v\r\n" DATE_LINE "\r\n");
}

static void test_client_head_overflow(void) {
    struct head h = canonical(full, false, &no_names);
    struct sketch_view v;
    uint8_t out[256];
    CU_ASSERT(sketch_head_parse(h.p, h.len, &v));
    struct sketch_client_head c = {.status = 200, .keep_alive = true};
    for (size_t cap = 0; cap < 100; cap++) {
        struct wire_writer w;
        wire_writer_init(&w, out, cap);
        sketch_client_head(&w, &v, &c);
        CU_ASSERT(w.failed);
    }
}

/* ---- differences ---- */

static const char *difference(const char *head_a, const char *body_a, const char *head_b,
                              const char *body_b, size_t cap) {
    static char out[128];
    uint8_t data[2][512];
    struct sketch_view v[2];
    const char *const heads[] = {head_a, head_b}, *const bodies[] = {body_a, body_b};
    for (size_t i = 0; i < 2; i++) {
        struct head h = canonical(heads[i], false, &no_names);
        size_t len = sketch_canonical_build(h.p, h.len, (const uint8_t *)bodies[i],
                                            strlen(bodies[i]), data[i], sizeof data[i]);
        CU_ASSERT_FATAL(sketch_canonical_parse(data[i], len, &v[i]));
    }
    memset(out, '#', sizeof out);
    sketch_difference(&v[0], &v[1], out, cap);
    CU_ASSERT(memchr(out, '\0', cap) != NULL);
    CU_ASSERT_EQUAL(out[cap], '#');
    return out;
}

static void test_difference(void) {
    static const char ab[] = OK_LINE "A: secret1\r\nB: y\r\n\r\n";
    CU_ASSERT_STRING_EQUAL(difference(ab, "x", ab, "x", 96), "nothing");
    CU_ASSERT_STRING_EQUAL(difference(ab, "x", "HTTP/1.1 404 N\r\n\r\n", "x", 96),
                           "status 200 and 404");
    CU_ASSERT_STRING_EQUAL(difference(ab, "x", OK_LINE "A: secret2\r\nB: z\r\n\r\n", "x", 96),
                           "header a");
    CU_ASSERT_STRING_EQUAL(difference(ab, "x", OK_LINE "B: y\r\n\r\n", "x", 96),
                           "header a only in the first");
    CU_ASSERT_STRING_EQUAL(
        difference(ab, "x", OK_LINE "A: secret1\r\nAb: 1\r\nB: y\r\n\r\n", "x", 96),
        "header ab only in the second");
    CU_ASSERT_STRING_EQUAL(
        difference(ab, "x", OK_LINE "A: secret1\r\nB: y\r\nC: q\r\n\r\n", "x", 96),
        "header c only in the second");
    CU_ASSERT_STRING_EQUAL(difference(ab, "abcd", ab, "abXd", 96), "body byte 2 of 4 and 4");
    CU_ASSERT_STRING_EQUAL(difference(ab, "abc", ab, "ab", 96), "body byte 2 of 3 and 2");
    CU_ASSERT_STRING_EQUAL(difference(ab, "", ab, "x", 96), "body byte 0 of 0 and 1");
    CU_ASSERT_STRING_EQUAL(difference(ab, "abc", ab, "ab", 10), "body byte");
    CU_ASSERT_STRING_EQUAL(difference(ab, "abc", ab, "ab", 1), "");
}

static const struct unit_case cases[] = {
    {"names of a list", test_names},
    {"s(q) is injective", test_key_is_injective},
    {"s(q): boundaries between fields count", test_boundaries_count},
    {"s(q) joins values of one name", test_key_joins_values},
    {"s(q) depends on the list of key headers", test_key_depends_on_list},
    {"URL of a write", test_url},
    {"separate secrets", test_secrets},
    {"upstream read", test_upstream_read},
    {"S23: the upstream read is a function of the key", test_s23_upstream_is_a_function_of_the_key},
    {"key headers that may not be", test_key_headers_that_may_not_be},
    {"S12: keys are separate", test_s12_keys_are_separate},
    {"upstream write", test_upstream_write},
    {"canonical form, byte for byte", test_canonical_form},
    {"canonical form: what is equal and what is not", test_canonical_equalities},
    {"canonical form: Content-Length of HEAD", test_canonical_content_length_of_head},
    {"canonical form: capacity", test_canonical_capacity},
    {"canonical form: the largest head", test_canonical_largest},
    {"parse", test_parse},
    {"parse refuses every truncation and trailing bytes",
     test_parse_refuses_truncation_and_trailers},
    {"parse refuses lying lengths", test_parse_refuses_lying_lengths},
    {"parse refuses what is not canonical", test_parse_refuses_what_is_not_canonical},
    {"parse: every character", test_parse_characters},
    {"parse refuses too many headers", test_parse_refuses_too_many},
    {"s(r): streaming equals one shot for every split", test_streaming_equals_one_shot},
    {"s(r) separates requests and responses", test_response_sketch_separates},
    {"s(r) covers the length", test_response_length_is_covered},
    {"client head", test_client_head},
    {"client head for HEAD", test_client_head_of_head},
    {"client head for 206 and 304", test_client_head_made_here},
    {"client head that does not fit", test_client_head_overflow},
    {"difference", test_difference},
    {NULL, NULL},
};

int main(int argc, char **argv) {
    sk = sketch_new(&secret);
    if (sk == NULL)
        return 2;
    sketch_key_headers_default(&key_headers);
    int status = unit_main("sketch", cases, argc, argv);
    sketch_free(sk);
    return status;
}
