/* SPDX-License-Identifier: BSD-3-Clause */
/* Request and response heads, look-ups and the serialiser. */
#include "test_http.h"
#include "unit.h"

#define CRLF "\r\n"
#define HOST "Host: a.example" CRLF
#define LITERAL(s) (s), sizeof(s) - 1

/* Parses from an allocation of exactly len bytes and forgets the views. */
static int request_status(const char *bytes, size_t len) {
    struct http_request out;
    uint8_t *copy = exact_copy(bytes, len);
    int result = http_parse_request(copy, len, &out);
    free(copy);
    return result;
}

static int response_status(const char *bytes, size_t len, bool head_request) {
    struct http_response out;
    uint8_t *copy = exact_copy(bytes, len);
    int result = http_parse_response(copy, len, head_request, &out);
    free(copy);
    return result;
}

/* ---- requests that are taken ---- */

struct good_request {
    const char *head;
    const char *method, *target, *authority;
    uint64_t content_length;
    uint32_t header_count;
    enum http_method method_id;
    uint8_t minor;
    bool keep_alive, expect_continue, chunked, has_content_length;
};

static const struct good_request good_requests[] = {
    {"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n", "GET", "/", "a.example", 0, 1, HTTP_GET, 1, true,
     false, false, false},
    {"GET /a%20b?x=1&y=//{|}^`\"<>\\[] HTTP/1.1\r\nHost: a.example:8080\r\n\r\n", "GET",
     "/a%20b?x=1&y=//{|}^`\"<>\\[]", "a.example:8080", 0, 1, HTTP_GET, 1, true, false, false,
     false},
    {"GET //b.example/ HTTP/1.1\r\nhOsT:a.example\r\n\r\n", "GET", "//b.example/", "a.example", 0,
     1, HTTP_GET, 1, true, false, false, false},
    {"\r\nHEAD /x HTTP/1.1\r\nHost: a.example.\r\nConnection: close\r\n\r\n", "HEAD", "/x",
     "a.example.", 0, 2, HTTP_HEAD, 1, false, false, false, false},
    {"PUT /o HTTP/1.1\r\nHost: 10.0.0.1\r\nContent-Length: 5\r\nExpect: 100-Continue\r\n\r\n",
     "PUT", "/o", "10.0.0.1", 5, 3, HTTP_PUT, 1, true, true, false, true},
    {"POST /o HTTP/1.1\r\nHost: [::1]:80\r\nTransfer-Encoding: \tCHUNKED \t\r\n\r\n", "POST", "/o",
     "[::1]:80", 0, 2, HTTP_POST, 1, true, false, true, false},
    {"DELETE /o HTTP/1.1\r\nHost: [2001:db8::10.0.0.1]\r\ncontent-length: 0\r\n\r\n", "DELETE",
     "/o", "[2001:db8::10.0.0.1]", 0, 2, HTTP_DELETE, 1, true, false, false, true},
    {"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 9223372036854775807\r\n\r\n", "PUT", "/", "a",
     INT64_MAX, 2, HTTP_PUT, 1, true, false, false, true},
    {"OPTIONS * HTTP/1.1\r\nHost: a_b.example\r\n\r\n", "OPTIONS", "*", "a_b.example", 0, 1,
     HTTP_OPTIONS, 1, true, false, false, false},
    {"OPTIONS http://a.example HTTP/1.1\r\nHost: a.example\r\n\r\n", "OPTIONS", "*", "a.example", 0,
     1, HTTP_OPTIONS, 1, true, false, false, false},
    {"GET http://a.example HTTP/1.1\r\nHost: a.example\r\n\r\n", "GET", "/", "a.example", 0, 1,
     HTTP_GET, 1, true, false, false, false},
    {"GET HTTPS://a.example:443/p?q HTTP/1.1\r\nHost: a.example:443\r\n\r\n", "GET", "/p?q",
     "a.example:443", 0, 1, HTTP_GET, 1, true, false, false, false},
    {"GET http://a.example/ HTTP/1.0\r\n\r\n", "GET", "/", "a.example", 0, 0, HTTP_GET, 0, false,
     false, false, false},
    {"CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n", "CONNECT", "a.example:443",
     "a.example:443", 0, 1, HTTP_CONNECT, 1, true, false, false, false},
    {"TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", "TRACE", "/", "a", 0, 1, HTTP_TRACE, 1, true, false,
     false, false},
    {"PATCH / HTTP/1.2\r\nHost: a\r\n\r\n", "PATCH", "/", "a", 0, 1, HTTP_PATCH, 1, true, false,
     false, false},
    {"GET / HTTP/1.9\r\nHost: a\r\n\r\n", "GET", "/", "a", 0, 1, HTTP_GET, 1, true, false, false,
     false},
    {"get / HTTP/1.1\r\nHost: a\r\n\r\n", "get", "/", "a", 0, 1, HTTP_METHOD_OTHER, 1, true, false,
     false, false},
    {"M-SEARCH!#$%&'*+.^_`|~ / HTTP/1.1\r\nHost: a\r\n\r\n", "M-SEARCH!#$%&'*+.^_`|~", "/", "a", 0,
     1, HTTP_METHOD_OTHER, 1, true, false, false, false},
    {"GET / HTTP/1.0\r\n\r\n", "GET", "/", "", 0, 0, HTTP_GET, 0, false, false, false, false},
    {"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\nHost: a\r\n\r\n", "GET", "/", "a", 0, 2, HTTP_GET,
     0, true, false, false, false},
    {"GET / HTTP/1.0\r\nConnection: keep-alive, close\r\nExpect: what\r\n\r\n", "GET", "/", "", 0,
     2, HTTP_GET, 0, false, false, false, false},
    {"GET / HTTP/1.1\r\nHost: a\r\nConnection: , TE ,,Close,\r\n\r\n", "GET", "/", "a", 0, 2,
     HTTP_GET, 1, false, false, false, false},
    {"GET / HTTP/1.1\r\nHost: a\r\nConnection: x\r\nConnection: close\r\n\r\n", "GET", "/", "a", 0,
     3, HTTP_GET, 1, false, false, false, false},
    {"GET / HTTP/1.1\r\nHost: a\r\nEmpty:\r\nBlank: \t \r\nLatin: \xe9\tx y\r\n\r\n", "GET", "/",
     "a", 0, 4, HTTP_GET, 1, true, false, false, false},
    {"GET / HTTP/1.1\r\nHost: a:0\r\nContents-Length: x\r\nXransfer-Encoding: y\r\n\r\n", "GET",
     "/", "a:0", 0, 3, HTTP_GET, 1, true, false, false, false},
    {"GET / HTTP/1.1\r\nHost: [1:2:3:4:5:6:7:8]:65535\r\n\r\n", "GET", "/",
     "[1:2:3:4:5:6:7:8]:65535", 0, 1, HTTP_GET, 1, true, false, false, false},
    {"GET / HTTP/1.1\r\nHost: [::]\r\n\r\n", "GET", "/", "[::]", 0, 1, HTTP_GET, 1, true, false,
     false, false},
    {"GET / HTTP/1.1\r\nHost: [1::]\r\n\r\n", "GET", "/", "[1::]", 0, 1, HTTP_GET, 1, true, false,
     false, false},
    {"GET / HTTP/1.1\r\nHost: [1:2:3:4:5:6:7::]\r\n\r\n", "GET", "/", "[1:2:3:4:5:6:7::]", 0, 1,
     HTTP_GET, 1, true, false, false, false},
    {"GET / HTTP/1.1\r\nHost: [::2:3:4:5:6:7:8]\r\n\r\n", "GET", "/", "[::2:3:4:5:6:7:8]", 0, 1,
     HTTP_GET, 1, true, false, false, false},
    {"GET / HTTP/1.1\r\nHost: [1:2:3:4:5:6:255.255.255.255]\r\n\r\n", "GET", "/",
     "[1:2:3:4:5:6:255.255.255.255]", 0, 1, HTTP_GET, 1, true, false, false, false},
};

static void check_good_request(const struct good_request *g, const struct http_request *out) {
    CU_ASSERT_EQUAL(out->method, g->method_id);
    CU_ASSERT_TRUE(http_str_eq(out->method_name, g->method));
    CU_ASSERT_TRUE(http_str_eq(out->target, g->target));
    CU_ASSERT_TRUE(http_str_eq(out->authority, g->authority));
    CU_ASSERT_EQUAL(out->version_minor, g->minor);
    CU_ASSERT_EQUAL(out->keep_alive, g->keep_alive);
    CU_ASSERT_EQUAL(out->expect_continue, g->expect_continue);
    CU_ASSERT_EQUAL(out->chunked, g->chunked);
    CU_ASSERT_EQUAL(out->has_content_length, g->has_content_length);
    CU_ASSERT_EQUAL(out->content_length, g->content_length);
    CU_ASSERT_EQUAL(out->header_count, g->header_count);
}

static void test_request_good(void) {
    for (size_t i = 0; i < sizeof good_requests / sizeof good_requests[0]; i++) {
        const struct good_request *g = &good_requests[i];
        size_t len = strlen(g->head);
        uint8_t *copy = exact_copy(g->head, len);
        struct http_request out;
        memset(&out, 0xa5, sizeof out);
        int result = http_parse_request(copy, len, &out);
        CU_ASSERT_EQUAL(result, (int)len);
        if (result == (int)len)
            check_good_request(g, &out);
        else
            fprintf(stderr, "refused with %d: %s\n", result, g->head);
        free(copy);
    }
}

static void test_request_prefixes(void) {
    CU_ASSERT_EQUAL(request_status("", 0), 0);
    for (size_t i = 0; i < sizeof good_requests / sizeof good_requests[0]; i++) {
        const char *head = good_requests[i].head;
        for (size_t len = 0; len < strlen(head); len++)
            CU_ASSERT_EQUAL(request_status(head, len), 0);
    }
}

/* What follows the head is not looked at. */
static void test_request_pipelined(void) {
    static const char two[] = "GET /1 HTTP/1.1\r\n" HOST "\r\n"
                              "GET /2 HTTP/1.1\r\n" HOST "\r\n\0\n garbage";
    struct http_request out;
    const uint8_t *data = (const uint8_t *)two;
    int first = http_parse_request(data, sizeof two - 1, &out);
    CU_ASSERT_EQUAL_FATAL(first, 36);
    CU_ASSERT_TRUE(http_str_eq(out.target, "/1"));
    int second = http_parse_request(data + first, sizeof two - 1 - (size_t)first, &out);
    CU_ASSERT_EQUAL(second, 36);
    CU_ASSERT_TRUE(http_str_eq(out.target, "/2"));
}

/* ---- requests that are refused ---- */

struct hostile {
    int status; // minus it is expected
    const char *bytes;
    size_t len;
};

#define LINE "GET / HTTP/1.1\r\n"
#define BAD(status, text)                                                                          \
    { status, LITERAL(text) }
/* A request whose Host is the text. */
#define BAD_HOST(text) BAD(400, LINE "Host: " text "\r\n\r\n")
/* A good line and Host, then the text. */
#define BAD_FIELD(status, text) BAD(status, LINE HOST text "\r\n\r\n")
#define BAD_TARGET(text) BAD(400, "GET " text " HTTP/1.1\r\n" HOST "\r\n")

static const struct hostile hostile_requests[] = {
    /* the request line */
    BAD(400, "\n"),
    BAD(400, "\r\r"),
    BAD(400, "\r\n\r\n" LINE HOST "\r\n"),
    BAD(400, " GET / HTTP/1.1\r\n" HOST "\r\n"),
    BAD(400, "G\0T / HTTP/1.1\r\n"),
    BAD(400, "G(T / HTTP/1.1\r\n"),
    BAD(400, "G\x80T / HTTP/1.1\r\n"),
    BAD(400, "GET\t/ HTTP/1.1\r\n"),
    BAD(400, "GET\r\n"),
    BAD(400, "GET  / HTTP/1.1\r\n"),
    BAD(400, "GET / \r\n\r\n\r\n"),
    BAD(400, "GET /  HTTP/1.1\r\n"),
    BAD(400, "GET / HTTP/1.1 \r\n"),
    BAD(400, "GET / HTTP/1.1\n" HOST "\n"),
    BAD(400, "GET / HTTP/1.1\r" HOST "\r\n"),
    BAD(400, "GET /\r\n"), // HTTP/0.9
    BAD(400, "GET / http/1.1\r\n"),
    BAD(400, "GET / HTTP/11\r\n"),
    BAD(400, "GET / HTTP/1,1\r\n"),
    BAD(400, "GET / HTTP/1.x\r\n"),
    BAD(400, "GET / HTTP/x.1\r\n"),
    BAD(400, "GET / HTTP/1.10\r\n"),
    BAD(400, "GET / HTTP/01.1\r\n"),
    BAD(400, "GET / HTTPS/1.1\r\n"),
    BAD(400, "GET / ICY/1.1\r\n"),
    BAD(505, "GET / HTTP/0.9\r\n" HOST "\r\n"),
    BAD(505, "GET / HTTP/2.0\r\n" HOST "\r\n"),
    BAD(400, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), // the preface of HTTP/2: "*" is for OPTIONS
    BAD(400, "\x16\x03\x01\x02\x00"),             // a TLS ClientHello
    BAD(501, "ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFG"),
    /* the target */
    BAD_TARGET("x"),
    BAD_TARGET("*"),
    BAD_TARGET("/a\tb"),
    BAD_TARGET("/a\0b"),
    BAD_TARGET("/a\nb"),
    BAD_TARGET("/a\rb"),
    BAD_TARGET("/a\x7f"),
    BAD_TARGET("/\xc3\xa9"),
    BAD_TARGET("/#f"),
    BAD_TARGET("a.example:80"),
    BAD_TARGET("?x"),
    BAD(400, "OPTIONS ** HTTP/1.1\r\n" HOST "\r\n"),
    BAD(400, "CONNECT / HTTP/1.1\r\n" HOST "\r\n"),
    BAD(400, "CONNECT a.example HTTP/1.1\r\n" HOST "\r\n"),
    BAD(400, "CONNECT http://a.example:1/ HTTP/1.1\r\n" HOST "\r\n"),
    BAD_TARGET("ftp://a.example/"),
    BAD_TARGET("http:/a.example/"),
    BAD_TARGET("http://"),
    BAD_TARGET("http:///x"),
    BAD_TARGET("http://u@a.example/"),
    BAD_TARGET("http://u:p@a.example/"),
    BAD_TARGET("http://a.example:/"),
    BAD_TARGET("http://a.example:65536/"),
    BAD_TARGET("http://a.example?q"),
    BAD_TARGET("http://a.example?q/x"),
    BAD_TARGET("http://a.example\\@b.example/"),
    BAD_TARGET("http://b.example/"),    // Host says a.example
    BAD_TARGET("http://a.example:80/"), // the same server, but not the same bytes
    BAD_TARGET("http://A.example/"),    // the same
    BAD(400, "GET http://a.example/ HTTP/1.1\r\n\r\n"),
    BAD(400, "GET http://a.example/ HTTP/1.0\r\nHost: b.example\r\n\r\n"),
    /* Host */
    BAD(400, LINE "\r\n"),
    BAD(400, LINE "Accept: */*\r\n\r\n"),
    BAD(400, LINE HOST HOST "\r\n"),
    BAD(400, LINE HOST "host: b.example\r\n\r\n"),
    BAD(400, "GET / HTTP/1.0\r\nHost:\r\n\r\n"),
    BAD_HOST(""),
    BAD_HOST("  "),
    BAD_HOST("a.example b.example"),
    BAD_HOST("a.example,b.example"),
    BAD_HOST("a.example/x"),
    BAD_HOST("a.example?x"),
    BAD_HOST("u@a.example"),
    BAD_HOST("http://a.example"),
    BAD_HOST("a%2eexample"),
    BAD_HOST("\xc3\xa9.example"),
    BAD_HOST(".a.example"),
    BAD_HOST("a..example"),
    BAD_HOST("."),
    BAD_HOST(":80"),
    BAD_HOST("a.example:"),
    BAD_HOST("a.example:x"),
    BAD_HOST("a.example:-1"),
    BAD_HOST("a.example:65536"),
    BAD_HOST("a.example:000080"),
    BAD_HOST("a.example:80:80"),
    BAD_HOST("a.example: 80"),
    BAD_HOST("::1"),
    BAD_HOST("[]"),
    BAD_HOST("[::1"),
    BAD_HOST("[::1]x"),
    BAD_HOST("[::1]80"),
    BAD_HOST("[:]"),
    BAD_HOST("[:1]"),
    BAD_HOST("[1:]"),
    BAD_HOST("[:::]"),
    BAD_HOST("[::1::]"),
    BAD_HOST("[1::2::3]"),
    BAD_HOST("[12345::]"),
    BAD_HOST("[g::]"),
    BAD_HOST("[1:2:3:4:5:6:7]"),
    BAD_HOST("[1:2:3:4:5:6:7:8:9]"),
    BAD_HOST("[1:2:3:4:5:6:7:8::]"),
    BAD_HOST("[1:2:3:4:5:6:7:1.2.3.4]"),
    BAD_HOST("[::1.2.3]"),
    BAD_HOST("[::1.2.3.4.5]"),
    BAD_HOST("[::1.2.3.256]"),
    BAD_HOST("[::01.2.3.4]"),
    BAD_HOST("[::1.2.3.4:5]"),
    BAD_HOST("[::1%eth0]"),
    BAD_HOST("[v1.x]"),
    /* field lines */
    BAD(400, LINE " Host: a.example\r\n\r\n"), // white space before the first field
    BAD_FIELD(400, ": x"),
    BAD_FIELD(400, "X"),
    BAD_FIELD(400, "X : y"),
    BAD_FIELD(400, "X\t: y"),
    BAD_FIELD(400, "X y: z"),
    BAD_FIELD(400, "X\0: y"),
    BAD_FIELD(400, "X\x80: y"),
    BAD_FIELD(400, "X(: y"),
    BAD_FIELD(400, "X: y\r\n z"), // obs-fold
    BAD_FIELD(400, "X: y\r\n\tz"),
    BAD_FIELD(400, "X: y\nZ: w"),
    BAD_FIELD(400, "X: y\rZ: w"),
    BAD_FIELD(400, "X: y\r\rZ: w"),
    BAD_FIELD(400, "X: y\0z"),
    BAD_FIELD(400, "X: y\x7f"),
    BAD_FIELD(400, "X: 0123456789\x01"
                   "0123456789"),
    BAD_FIELD(400, "X: 0123456789\x1f"
                   "0123456789"),
    BAD_FIELD(400, "X: 0123456789\x7f"
                   "0123456789"),
    BAD_FIELD(400, "X: y\x0b"),
    BAD_FIELD(400, "X:\ny"),
    BAD(400, LINE HOST "\n"),
    BAD(400, LINE HOST "\rX"),
    /* Content-Length */
    BAD_FIELD(400, "Content-Length:"),
    BAD_FIELD(400, "Content-Length: x"),
    BAD_FIELD(400, "Content-Length: -1"),
    BAD_FIELD(400, "Content-Length: +1"),
    BAD_FIELD(400, "Content-Length: 1 2"),
    BAD_FIELD(400, "Content-Length: 1,1"),
    BAD_FIELD(400, "Content-Length: 1, 2"),
    BAD_FIELD(400, "Content-Length: 0x1"),
    BAD_FIELD(400, "Content-Length: 1.0"),
    BAD_FIELD(400, "Content-Length: 01"),
    BAD_FIELD(400, "Content-Length: 00"),
    BAD_FIELD(400, "Content-Length: 1;"),
    BAD_FIELD(400, "Content-Length: 9223372036854775808"),
    BAD_FIELD(400, "Content-Length: 18446744073709551616"),
    BAD_FIELD(400, "Content-Length: 18446744073709551617"),
    BAD_FIELD(400, "Content-Length: 1\r\nContent-Length: 1"),
    BAD_FIELD(400, "Content-Length: 1\r\nContent-Length: 2"),
    BAD_FIELD(400, "CONTENT-LENGTH: 1\r\ncontent-length: 1"),
    BAD_FIELD(400, "Content_Length: 1"),
    BAD_FIELD(400, "Content-Length : 1"),
    BAD_FIELD(400, "Content-Length\x0b: 1"),
    /* Transfer-Encoding */
    BAD_FIELD(400, "Content-Length: 1\r\nTransfer-Encoding: chunked"),
    BAD_FIELD(400, "Transfer-Encoding: chunked\r\nContent-Length: 1"),
    BAD_FIELD(400, "Transfer-Encoding: chunked\r\nContent-Length: 0"),
    BAD_FIELD(400, "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"),
    BAD_FIELD(400, "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity"),
    BAD_FIELD(400, "Transfer-Encoding:"),
    BAD_FIELD(400, "Transfer_Encoding: chunked"),
    BAD_FIELD(400, "Transfer-Encoding : chunked"),
    BAD_FIELD(501, "Transfer-Encoding: x\r\n chunked"), // the first fault is the coding
    BAD_FIELD(400, "Transfer-Encoding: chunked\r\n x"),
    BAD_FIELD(400, "Transfer-Encoding: \x0b"
                   "chunked"),
    BAD_FIELD(501, "Transfer-Encoding: \xff"
                   "chunked"),
    BAD_FIELD(501, "Transfer-Encoding: identity"),
    BAD_FIELD(501, "Transfer-Encoding: gzip, chunked"),
    BAD_FIELD(501, "Transfer-Encoding: chunked, gzip"),
    BAD_FIELD(501, "Transfer-Encoding: chunked, chunked"),
    BAD_FIELD(501, "Transfer-Encoding: chunked,"),
    BAD_FIELD(501, "Transfer-Encoding: ,chunked"),
    BAD_FIELD(501, "Transfer-Encoding: xchunked"),
    BAD_FIELD(501, "Transfer-Encoding: chunkedx"),
    BAD_FIELD(501, "Transfer-Encoding: \"chunked\""),
    BAD_FIELD(501, "Transfer-Encoding: chunked;q=1"),
    BAD(400, "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"),
    /* Connection and Expect */
    BAD_FIELD(400, "Connection: close;x"),
    BAD_FIELD(400, "Connection: close keep-alive"),
    BAD_FIELD(400, "Connection: \"close\""),
    BAD_FIELD(400, "Connection: close, Host"),
    BAD_FIELD(400, "Connection: content-length"),
    BAD_FIELD(417, "Expect:"),
    BAD_FIELD(417, "Expect: 200-ok"),
    BAD_FIELD(417, "Expect: 100-continue, x"),
};

/* Each is refused, and each of its prefixes is refused alike or not complete. */
static void test_request_hostile(void) {
    for (size_t i = 0; i < sizeof hostile_requests / sizeof hostile_requests[0]; i++) {
        const struct hostile *h = &hostile_requests[i];
        int result = request_status(h->bytes, h->len);
        CU_ASSERT_EQUAL(result, -h->status);
        if (result != -h->status)
            fprintf(stderr, "case %zu: %d, expected %d: %s\n", i, result, -h->status, h->bytes);
        for (size_t len = 0; len < h->len; len++) {
            int prefix = request_status(h->bytes, len);
            CU_ASSERT_TRUE(prefix == 0 || prefix == -h->status);
        }
    }
}

/* Refused at the first byte that cannot be right, without waiting for the rest. */
static void test_request_early(void) {
    CU_ASSERT_EQUAL(request_status(LITERAL("G@")), -400);
    CU_ASSERT_EQUAL(request_status(LITERAL("GET *x ")), -400);
    CU_ASSERT_EQUAL(request_status(LITERAL("GET / X")), -400);
    CU_ASSERT_EQUAL(request_status(LITERAL("GET / HTTP/2.0")), -505);
    CU_ASSERT_EQUAL(request_status(LITERAL(LINE "X y")), -400);
    CU_ASSERT_EQUAL(request_status(LITERAL(LINE "Host: a\r\nHost: b\r\n")), -400);
    CU_ASSERT_EQUAL(request_status(LITERAL(LINE "Transfer-Encoding: x\r\n")), -501);
}

/* No byte but those of the grammar is taken in a method, a target, a name or a value. */
static void test_request_every_byte(void) {
    static const char tchar[] = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"
                                "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    for (unsigned int c = 0; c < 256; c++) {
        bool token = c != 0 && strchr(tchar, (int)c) != NULL;
        bool value = c == '\t' || (c >= 0x20 && c != 0x7f);
        bool target = c > 0x20 && c < 0x7f && c != '#';
        char text[96];
        int len = snprintf(text, sizeof text, "G?T / HTTP/1.1\r\nHost: a\r\n\r\n");
        text[1] = (char)c;
        CU_ASSERT_EQUAL(request_status(text, (size_t)len), token ? len : -400);
        len = snprintf(text, sizeof text, "GET /?x HTTP/1.1\r\nHost: a\r\n\r\n");
        text[5] = (char)c;
        CU_ASSERT_EQUAL(request_status(text, (size_t)len), target ? len : -400);
        len = snprintf(text, sizeof text, "GET / HTTP/1.1\r\nHost: a\r\nX?y: z\r\n\r\n");
        text[26] = (char)c;
        CU_ASSERT_EQUAL(request_status(text, (size_t)len), token || c == ':' ? len : -400);
        for (size_t at = 0; at < 20; at++) { // each place in the groups of eight
            len = snprintf(text, sizeof text,
                           "GET / HTTP/1.1\r\nHost: a\r\nX: 01234567890123456789\r\n\r\n");
            text[28 + at] = (char)c;
            CU_ASSERT_EQUAL(request_status(text, (size_t)len), value ? len : -400);
        }
    }
}

/* ---- limits ---- */

/* "GET /aaa… HTTP/1.1", target_len bytes of target; returns the length. */
static size_t long_target(char *out, size_t target_len) {
    static const char rest[] = " HTTP/1.1\r\n" HOST "\r\n";
    memcpy(out, "GET ", 4);
    memset(out + 4, 'a', target_len);
    out[4] = '/';
    memcpy(out + 4 + target_len, rest, sizeof rest - 1);
    return 4 + target_len + sizeof rest - 1;
}

static void test_request_target_limit(void) {
    static char text[HTTP_TARGET_MAX_BYTES + 128];
    size_t len = long_target(text, HTTP_TARGET_MAX_BYTES);
    CU_ASSERT_EQUAL(request_status(text, len), (int)len);
    CU_ASSERT_EQUAL(request_status(text, 4 + HTTP_TARGET_MAX_BYTES), 0);
    len = long_target(text, HTTP_TARGET_MAX_BYTES + 1);
    CU_ASSERT_EQUAL(request_status(text, len), -414);
    CU_ASSERT_EQUAL(request_status(text, 4 + HTTP_TARGET_MAX_BYTES + 1), -414);
    CU_ASSERT_EQUAL(request_status(text, 4 + HTTP_TARGET_MAX_BYTES), 0);
}

static void test_request_method_limit(void) {
    static const char m[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEF / HTTP/1.0\r\n\r\n";
    CU_ASSERT_EQUAL(request_status(LITERAL(m)), (int)sizeof m - 1);
    CU_ASSERT_EQUAL(request_status(m, HTTP_METHOD_MAX_BYTES), 0);
}

/* A head of exactly total bytes, the last field's value making up the difference. */
static void long_head(char *out, const char *line, size_t total) {
    size_t len = strlen(line);
    memset(out, 'v', total);
    memcpy(out, line, len);
    memcpy(out + len, "X: ", 3);
    memcpy(out + total - 4, "\r\n\r\n", 4);
}

static void test_head_limit(void) {
    static char text[HTTP_HEAD_MAX_BYTES + 64];
    long_head(text, LINE HOST, HTTP_HEAD_MAX_BYTES);
    CU_ASSERT_EQUAL(request_status(text, HTTP_HEAD_MAX_BYTES), (int)HTTP_HEAD_MAX_BYTES);
    CU_ASSERT_EQUAL(request_status(text, HTTP_HEAD_MAX_BYTES - 1), 0);
    long_head(text, LINE HOST, HTTP_HEAD_MAX_BYTES + 1);
    CU_ASSERT_EQUAL(request_status(text, HTTP_HEAD_MAX_BYTES + 1), -431);
    CU_ASSERT_EQUAL(request_status(text, HTTP_HEAD_MAX_BYTES), -431);
    CU_ASSERT_EQUAL(request_status(text, HTTP_HEAD_MAX_BYTES - 1), 0);
    long_head(text, "HTTP/1.1 200 OK\r\n", HTTP_HEAD_MAX_BYTES);
    CU_ASSERT_EQUAL(response_status(text, HTTP_HEAD_MAX_BYTES, false), (int)HTTP_HEAD_MAX_BYTES);
    long_head(text, "HTTP/1.1 200 OK\r\n", HTTP_HEAD_MAX_BYTES + 1);
    CU_ASSERT_EQUAL(response_status(text, HTTP_HEAD_MAX_BYTES, false), -1);
    CU_ASSERT_EQUAL(response_status(text, HTTP_HEAD_MAX_BYTES - 1, false), 0);
}

/* line, then fields fields without a name, then the end; returns the length. */
static size_t many_fields(char *out, const char *line, size_t fields) {
    size_t len = strlen(line);
    memcpy(out, line, len);
    for (size_t i = 0; i < fields; i++, len += 5)
        memcpy(out + len, "x:y\r\n", 5);
    memcpy(out + len, "\r\n", 2);
    return len + 2;
}

static void test_field_count_limit(void) {
    char text[64 * 8];
    size_t len = many_fields(text, LINE HOST, HTTP_HEADERS_MAX - 1);
    CU_ASSERT_EQUAL(request_status(text, len), (int)len);
    len = many_fields(text, LINE HOST, HTTP_HEADERS_MAX);
    CU_ASSERT_EQUAL(request_status(text, len), -431);
    CU_ASSERT_EQUAL(request_status(text, len - 6), -431); // at the first byte of the 65th name
    CU_ASSERT_EQUAL(request_status(text, len - 7), 0);
    len = many_fields(text, "HTTP/1.1 200 \r\n", HTTP_HEADERS_MAX);
    CU_ASSERT_EQUAL(response_status(text, len, false), (int)len);
    len = many_fields(text, "HTTP/1.1 200 \r\n", HTTP_HEADERS_MAX + 1);
    CU_ASSERT_EQUAL(response_status(text, len, false), -1);
}

static void test_host_length_limit(void) {
    char text[512];
    for (size_t host_len = 254; host_len <= 256; host_len++) {
        int len = snprintf(text, sizeof text, LINE "Host: ");
        memset(text + len, 'h', host_len);
        size_t total = (size_t)len + host_len + 4;
        memcpy(text + total - 4, "\r\n\r\n", 4);
        CU_ASSERT_EQUAL(request_status(text, total), host_len <= 255 ? (int)total : -400);
    }
}

/* ---- responses ---- */

struct good_response {
    const char *head;
    uint64_t content_length;
    uint32_t header_count;
    enum http_framing framing;
    uint16_t status;
    uint8_t minor;
    bool head_request, keep_alive, has_content_length;
};

static const struct good_response good_responses[] = {
    {"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", 3, 1, HTTP_BODY_LENGTH, 200, 1, false, true,
     true},
    {"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", 3, 1, HTTP_BODY_NONE, 200, 1, true, true,
     true},
    {"HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n", 0, 1, HTTP_BODY_LENGTH, 200, 1, false, true,
     true},
    {"HTTP/1.1 404 No \xe9\tway\r\nTransfer-Encoding: chunked\r\n\r\n", 0, 1, HTTP_BODY_CHUNKED,
     404, 1, false, true, false},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 0, 1, HTTP_BODY_NONE, 200, 1, true,
     true, false},
    {"HTTP/1.1 200 OK\r\n\r\n", 0, 0, HTTP_BODY_UNTIL_CLOSE, 200, 1, false, false, false},
    {"HTTP/1.1 200 OK\r\n\r\n", 0, 0, HTTP_BODY_NONE, 200, 1, true, true, false},
    {"HTTP/1.1 204 No Content\r\n\r\n", 0, 0, HTTP_BODY_NONE, 204, 1, false, true, false},
    {"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", 0, 1, HTTP_BODY_NONE, 204, 1, false,
     true, true},
    {"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", 9, 1, HTTP_BODY_NONE, 304, 1, false,
     true, true},
    {"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n", 0, 1, HTTP_BODY_NONE, 304,
     1, false, true, false},
    {"HTTP/1.1 100 Continue\r\n\r\n", 0, 0, HTTP_BODY_NONE, 100, 1, false, true, false},
    {"HTTP/1.1 199 x\r\n\r\n", 0, 0, HTTP_BODY_NONE, 199, 1, false, true, false},
    {"HTTP/1.1 599 x\r\nConnection: close\r\nContent-Length: 1\r\n\r\n", 1, 2, HTTP_BODY_LENGTH,
     599, 1, false, false, true},
    {"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n", 1, 1, HTTP_BODY_LENGTH, 200, 0, false, false,
     true},
    {"HTTP/1.0 200 OK\r\nContent-Length: 1\r\nConnection: keep-alive\r\n\r\n", 1, 2,
     HTTP_BODY_LENGTH, 200, 0, false, true, true},
    {"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n", 0, 1, HTTP_BODY_UNTIL_CLOSE, 200, 0,
     false, false, false},
    {"HTTP/1.7 200 OK\r\nContent-Length: 1\r\n\r\n", 1, 1, HTTP_BODY_LENGTH, 200, 1, false, true,
     true},
    /* Host and Expect mean nothing in a response */
    {"HTTP/1.1 200 OK\r\nHost: ?\r\nHost: ?\r\nExpect: x\r\nContent-Length: 1\r\n\r\n", 1, 4,
     HTTP_BODY_LENGTH, 200, 1, false, true, true},
};

static void test_response_good(void) {
    for (size_t i = 0; i < sizeof good_responses / sizeof good_responses[0]; i++) {
        const struct good_response *g = &good_responses[i];
        size_t len = strlen(g->head);
        uint8_t *copy = exact_copy(g->head, len);
        struct http_response out;
        memset(&out, 0xa5, sizeof out);
        CU_ASSERT_EQUAL(http_parse_response(copy, len, g->head_request, &out), (int)len);
        free(copy);
        CU_ASSERT_EQUAL(out.status, g->status);
        CU_ASSERT_EQUAL(out.version_minor, g->minor);
        CU_ASSERT_EQUAL(out.keep_alive, g->keep_alive);
        CU_ASSERT_EQUAL(out.framing, g->framing);
        CU_ASSERT_EQUAL(out.has_content_length, g->has_content_length);
        CU_ASSERT_EQUAL(out.content_length, g->content_length);
        CU_ASSERT_EQUAL(out.header_count, g->header_count);
        for (size_t prefix = 0; prefix < len; prefix++)
            CU_ASSERT_EQUAL(response_status(g->head, prefix, g->head_request), 0);
    }
}

#define OK "HTTP/1.1 200 OK\r\n"
static const struct hostile hostile_responses[] = {
    BAD(1, "\r\n" OK "\r\n"),
    BAD(1, "http/1.1 200 OK\r\n\r\n"),
    BAD(1, "HTTP/2.0 200 OK\r\n\r\n"),
    BAD(1, "HTTP/0.9 200 OK\r\n\r\n"),
    BAD(1, "HTTP/1.1  200 OK\r\n\r\n"),
    BAD(1, "HTTP/1.1\t200 OK\r\n\r\n"),
    BAD(1, "HTTP/1.1 200\r\n\r\n"),
    BAD(1, "HTTP/1.1 20 OK\r\n\r\n"),
    BAD(1, "HTTP/1.1 2000 OK\r\n\r\n"),
    BAD(1, "HTTP/1.1 20x OK\r\n\r\n"),
    BAD(1, "HTTP/1.1 -20 OK\r\n\r\n"),
    BAD(1, "HTTP/1.1 099 OK\r\n\r\n"),
    BAD(1, "HTTP/1.1 600 OK\r\n\r\n"),
    BAD(1, "HTTP/1.1 999 OK\r\n\r\n"),
    BAD(1, "HTTP/1.1 200 O\0K\r\n\r\n"),
    BAD(1, "HTTP/1.1 200 OK\n\n"),
    BAD(1, "HTTP/1.1 200 OK\rX: y\r\n\r\n"),
    BAD(1, OK " X: y\r\n\r\n"),
    BAD(1, OK "X : y\r\n\r\n"),
    BAD(1, OK "X: y\r\n z\r\n\r\n"),
    BAD(1, OK "X: y\nZ: w\r\n\r\n"),
    BAD(1, OK "X: y\0\r\n\r\n"),
    BAD(1, OK "Content-Length: 1\r\nContent-Length: 1\r\n\r\n"),
    BAD(1, OK "Content-Length: 1, 1\r\n\r\n"),
    BAD(1, OK "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"),
    BAD(1, OK "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n"),
    BAD(1, OK "Transfer-Encoding: gzip\r\n\r\n"),
    BAD(1, OK "Transfer-Encoding: gzip, chunked\r\n\r\n"),
    BAD(1, OK "Content_Length: 1\r\n\r\n"),
    BAD(1, "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
    BAD(1, "HTTP/1.1 204 x\r\nContent-Length: 1\r\n\r\n"),
    BAD(1, "HTTP/1.1 204 x\r\nTransfer-Encoding: chunked\r\n\r\n"),
    BAD(1, "HTTP/1.1 100 x\r\nContent-Length: 1\r\n\r\n"),
    BAD(1, "HTTP/1.1 101 x\r\nTransfer-Encoding: chunked\r\n\r\n"),
};

static void test_response_hostile(void) {
    for (size_t i = 0; i < sizeof hostile_responses / sizeof hostile_responses[0]; i++) {
        const struct hostile *h = &hostile_responses[i];
        for (int head_request = 0; head_request < 2; head_request++) {
            int result = response_status(h->bytes, h->len, head_request);
            CU_ASSERT_EQUAL(result, -h->status);
            if (result != -h->status)
                fprintf(stderr, "response %zu was taken: %s\n", i, h->bytes);
            for (size_t len = 0; len < h->len; len++)
                CU_ASSERT_TRUE(response_status(h->bytes, len, head_request) <= 0);
        }
    }
}

/* ---- look-ups ---- */

static const char lookup_head[] =
    "GET / HTTP/1.1\r\nHost: a\r\nAccept: one\r\nACCEPT: two\r\nConnection: close, X-Mine\r\n"
    "Vary: \"a, b\", c\r\nVary: , d=\"\\\", e\" ,\tf\r\nConnection: x-other\r\n\r\n";

static void test_lookups(void) {
    struct http_request r;
    CU_ASSERT_FATAL(http_parse_request((const uint8_t *)lookup_head, sizeof lookup_head - 1, &r) >
                    0);
    const struct http_header *h = http_find(r.headers, r.header_count, "accept");
    CU_ASSERT_PTR_EQUAL(h, &r.headers[1]);
    CU_ASSERT_TRUE(http_str_eq(h->value, "one"));
    CU_ASSERT_TRUE(http_str_ieq(h->name, "aCCEPT"));
    CU_ASSERT_FALSE(http_str_eq(h->name, "accept"));
    CU_ASSERT_TRUE(http_str_ieq(str("@AZ[`az{"), "@az[`AZ{"));
    CU_ASSERT_FALSE(http_str_ieq(str("@["), "`{"));
    CU_ASSERT_FALSE(http_str_ieq(h->name, "Accep"));
    CU_ASSERT_FALSE(http_str_ieq(h->name, "Accepts"));
    CU_ASSERT_PTR_NULL(http_find(r.headers, r.header_count, "Accept-Encoding"));
    CU_ASSERT_PTR_NULL(http_find(r.headers, 1, "Accept"));
    static const char *const in[] = {"C", "f", "\"a, b\"", "d=\"\\\", e\""};
    for (size_t i = 0; i < sizeof in / sizeof in[0]; i++)
        CU_ASSERT_TRUE(http_list_has(r.headers, r.header_count, "vary", in[i]));
    static const char *const out[] = {"a", "b", "b\"", "e", "e\"", "d", "", "c, d"};
    for (size_t i = 0; i < sizeof out / sizeof out[0]; i++)
        CU_ASSERT_FALSE(http_list_has(r.headers, r.header_count, "vary", out[i]));
}

static void test_hop_by_hop(void) {
    struct http_request r;
    CU_ASSERT_FATAL(http_parse_request((const uint8_t *)lookup_head, sizeof lookup_head - 1, &r) >
                    0);
    static const char *const hop[] = {
        "connection", "Keep-Alive", "Proxy-Authorization", "PROXY-CONNECTION",
        "te",         "Trailer",    "transfer-encoding",   "Upgrade",
        "x-mine",     "X-Other",
    };
    for (size_t i = 0; i < sizeof hop / sizeof hop[0]; i++)
        CU_ASSERT_TRUE(http_is_hop_by_hop(r.headers, r.header_count, str(hop[i])));
    static const char *const end[] = {"Host", "Accept", "Proxy", "Trailers", "X-Min", "X-Mine2"};
    for (size_t i = 0; i < sizeof end / sizeof end[0]; i++)
        CU_ASSERT_FALSE(http_is_hop_by_hop(r.headers, r.header_count, str(end[i])));
    CU_ASSERT_FALSE(http_is_hop_by_hop(r.headers, 1, str("x-mine")));
}

/* ---- serialiser ---- */

/* The request as an upstream would get it. */
static size_t serialise(const struct http_request *r, uint8_t *out, size_t cap) {
    struct wire_writer w;
    wire_writer_init(&w, out, cap);
    wire_put_bytes(&w, r->method_name.p, r->method_name.len);
    http_put_str(&w, " ");
    wire_put_bytes(&w, r->target.p, r->target.len);
    http_put_str(&w, r->version_minor == 0 ? " HTTP/1.0\r\n" : " HTTP/1.1\r\n");
    for (uint32_t i = 0; i < r->header_count; i++) {
        char name[64];
        CU_ASSERT_FATAL(r->headers[i].name.len < sizeof name);
        memcpy(name, r->headers[i].name.p, r->headers[i].name.len);
        name[r->headers[i].name.len] = '\0';
        http_put_header(&w, name, r->headers[i].value);
    }
    http_put_str(&w, "\r\n");
    CU_ASSERT_FALSE(w.failed);
    return w.len;
}

static void test_round_trip(void) {
    for (size_t i = 0; i < sizeof good_requests / sizeof good_requests[0]; i++) {
        const struct good_request *g = &good_requests[i];
        struct http_request first, second;
        uint8_t out[1024];
        CU_ASSERT_FATAL(http_parse_request((const uint8_t *)g->head, strlen(g->head), &first) > 0);
        size_t len = serialise(&first, out, sizeof out);
        CU_ASSERT_EQUAL_FATAL(http_parse_request(out, len, &second), (int)len);
        CU_ASSERT_EQUAL(second.header_count, first.header_count);
        for (uint32_t k = 0; k < first.header_count; k++) {
            struct http_header *a = &first.headers[k], *b = &second.headers[k];
            CU_ASSERT_FATAL(a->name.len == b->name.len && a->value.len == b->value.len);
            CU_ASSERT_EQUAL(memcmp(a->name.p, b->name.p, a->name.len), 0);
            CU_ASSERT_EQUAL(memcmp(a->value.p, b->value.p, a->value.len), 0);
        }
        /* Without a Host the absolute-form's authority is lost, on purpose. */
        bool has_host = http_find(first.headers, first.header_count, "Host") != NULL;
        struct good_request expected = *g;
        expected.authority = has_host ? g->authority : "";
        expected.minor = first.version_minor;
        check_good_request(&expected, &second);
    }
}

static void test_status_lines(void) {
    for (uint16_t status = 100; status <= 599; status++) {
        uint8_t out[128];
        struct wire_writer w;
        struct http_response r;
        wire_writer_init(&w, out, sizeof out);
        http_put_status_line(&w, status);
        bool may_have_body = status >= 200 && status != 204;
        if (may_have_body)
            http_put_header_u64(&w, "Content-Length", status);
        http_put_str(&w, "\r\n");
        CU_ASSERT_FALSE(w.failed);
        CU_ASSERT_EQUAL_FATAL(http_parse_response(out, w.len, false, &r), (int)w.len);
        CU_ASSERT_EQUAL(r.status, status);
        CU_ASSERT_EQUAL(r.content_length, may_have_body ? status : 0);
    }
    CU_ASSERT_STRING_EQUAL(http_reason(404), "Not Found");
    CU_ASSERT_STRING_EQUAL(http_reason(431), "Request Header Fields Too Large");
    CU_ASSERT_STRING_EQUAL(http_reason(299), "");
}

static void expect_written(const struct wire_writer *w, const char *text) {
    CU_ASSERT_FALSE(w->failed);
    CU_ASSERT_EQUAL_FATAL(w->len, strlen(text));
    CU_ASSERT_EQUAL(memcmp(w->data, text, w->len), 0);
}

static void test_put(void) {
    uint8_t out[256];
    struct wire_writer w;
    wire_writer_init(&w, out, sizeof out);
    http_put_status_line(&w, 206);
    http_put_header_u64(&w, "Content-Length", 0);
    http_put_header_u64(&w, "Age", UINT64_MAX);
    http_put_header(&w, "X", str("a \t\xff"));
    http_put_header(&w, "Y", (struct http_str){0});
    http_put_str(&w, "\r\n");
    expect_written(&w, "HTTP/1.1 206 Partial Content\r\nContent-Length: 0\r\n"
                       "Age: 18446744073709551615\r\nX: a \t\xff\r\nY: \r\n\r\n");
    wire_writer_init(&w, out, sizeof out);
    http_put_status_line(&w, 299);
    expect_written(&w, "HTTP/1.1 299 \r\n");
}

static void test_put_fails(void) {
    static const char *const split[] = {"a\r\nX: y", "a\nb", "a\rb", "\x01", "\x7f"};
    for (size_t i = 0; i < sizeof split / sizeof split[0]; i++) {
        uint8_t out[64];
        struct wire_writer w;
        wire_writer_init(&w, out, sizeof out);
        http_put_header(&w, "X", str(split[i]));
        CU_ASSERT_TRUE(w.failed);
    }
    static const char text[] = "HTTP/1.1 200 OK\r\nX: yz\r\nAge: 12\r\n";
    for (size_t cap = 0; cap <= sizeof text - 1; cap++) {
        uint8_t *out = malloc(cap > 0 ? cap : 1);
        struct wire_writer w;
        wire_writer_init(&w, out, cap);
        http_put_status_line(&w, 200);
        http_put_header(&w, "X", str("yz"));
        http_put_header_u64(&w, "Age", 12);
        CU_ASSERT_EQUAL(w.failed, cap < sizeof text - 1);
        free(out);
    }
}

static const struct unit_case cases[] = {
    {"takes good requests", test_request_good},
    {"waits for the rest of every good request", test_request_prefixes},
    {"leaves pipelined requests alone", test_request_pipelined},
    {"refuses hostile requests, whole and cut", test_request_hostile},
    {"refuses a bad request early", test_request_early},
    {"takes no byte outside the grammar", test_request_every_byte},
    {"limits the target", test_request_target_limit},
    {"limits the method", test_request_method_limit},
    {"limits the head", test_head_limit},
    {"limits the number of fields", test_field_count_limit},
    {"limits the host", test_host_length_limit},
    {"takes good responses", test_response_good},
    {"refuses hostile responses", test_response_hostile},
    {"looks up fields and list elements", test_lookups},
    {"knows hop-by-hop fields", test_hop_by_hop},
    {"parses what it serialises", test_round_trip},
    {"writes status lines", test_status_lines},
    {"writes fields", test_put},
    {"fails on what does not fit or would split", test_put_fails},
    {"chunked: good bodies", test_http_chunked_good},
    {"chunked: every split point", test_http_chunked_splits},
    {"chunked: hostile framing", test_http_chunked_hostile},
    {"chunked: limit on extensions and trailers", test_http_chunked_overhead},
    {"chunked: the largest size", test_http_chunked_largest},
    {"dates: the three formats", test_http_date_formats},
    {"dates: refused", test_http_date_refused},
    {"dates: round trips", test_http_date_round_trip},
    {"dates: nearest to what cannot be written", test_http_date_clamped},
    {"conditions: RFC 9110 13.2.2", test_http_conditions_table},
    {"conditions: ranges", test_http_conditions_ranges},
    {"conditions: repeated fields", test_http_conditions_repeated},
    {0},
};

int main(int argc, char **argv) {
    return unit_main("http", cases, argc, argv);
}
