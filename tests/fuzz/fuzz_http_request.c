/* SPDX-License-Identifier: BSD-3-Clause */
/* http_parse_request: views, verdicts on prefixes, and what is serialised parses to the same. */
#include "fuzz_http.h"

static void check_view(const struct http_request *r, const uint8_t *data, size_t len) {
    FUZZ_CHECK(fuzz_inside(r->method_name, data, len) && r->method_name.len > 0);
    FUZZ_CHECK(fuzz_inside(r->target, data, len) || http_str_eq(r->target, "/") ||
               http_str_eq(r->target, "*"));
    FUZZ_CHECK(r->target.len > 0 && r->target.len <= HTTP_TARGET_MAX_BYTES);
    FUZZ_CHECK(fuzz_inside(r->authority, data, len));
    FUZZ_CHECK(r->authority.len > 0 || r->version_minor == 0);
    FUZZ_CHECK(memchr(r->authority.p, '@', r->authority.len) == NULL);
    FUZZ_CHECK(r->target.p[0] == '/' || r->method == HTTP_OPTIONS || r->method == HTTP_CONNECT);
    for (size_t i = 0; i < r->target.len; i++)
        FUZZ_CHECK(r->target.p[i] > ' ' && r->target.p[i] < 0x7f && r->target.p[i] != '#');
    fuzz_check_headers(r->headers, r->header_count, data, len);
}

/* Framing as one would find it with a plain search over the headers. */
static void check_framing(const struct http_request *r) {
    bool has_length = http_find(r->headers, r->header_count, "Content-Length") != NULL;
    bool has_coding = http_find(r->headers, r->header_count, "Transfer-Encoding") != NULL;
    FUZZ_CHECK(!(has_length && has_coding));
    FUZZ_CHECK(r->has_content_length == has_length && r->chunked == has_coding);
    FUZZ_CHECK(!r->chunked || r->version_minor == 1);
    FUZZ_CHECK(r->content_length <= INT64_MAX && (has_length || r->content_length == 0));
    bool close = http_list_has(r->headers, r->header_count, "Connection", "close");
    bool keep = http_list_has(r->headers, r->header_count, "Connection", "keep-alive");
    FUZZ_CHECK(r->keep_alive == (!close && (r->version_minor == 1 || keep)));
}

/* The head ends at the first empty line after the request line. */
static void check_end(const uint8_t *data, size_t len) {
    const uint8_t *start = data[0] == '\r' ? data + 2 : data;
    const uint8_t *end = memmem(start, (size_t)(data + len - start), "\r\n\r\n", 4);
    FUZZ_CHECK(end != NULL && end + 4 == data + len);
    FUZZ_CHECK(memchr(start, '\0', (size_t)(end - start)) == NULL);
}

static void check_round_trip(const struct http_request *r) {
    static uint8_t out[3 * HTTP_HEAD_MAX_BYTES];
    static struct http_request again;
    struct wire_writer w;
    wire_writer_init(&w, out, sizeof out);
    wire_put_bytes(&w, r->method_name.p, r->method_name.len);
    http_put_str(&w, " ");
    wire_put_bytes(&w, r->target.p, r->target.len);
    http_put_str(&w, r->version_minor == 0 ? " HTTP/1.0\r\n" : " HTTP/1.1\r\n");
    fuzz_put_headers(&w, r->headers, r->header_count);
    int result = http_parse_request(out, w.len, &again);
    if (w.len > HTTP_HEAD_MAX_BYTES) { // the blanks after the colons made it too long
        FUZZ_CHECK(result == -431);
        return;
    }
    FUZZ_CHECK(result == (int)w.len);
    FUZZ_CHECK(fuzz_same(again.method_name, r->method_name) && again.method == r->method);
    FUZZ_CHECK(fuzz_same(again.target, r->target));
    FUZZ_CHECK(fuzz_same(again.authority, r->authority) || again.authority.len == 0);
    FUZZ_CHECK(again.version_minor == r->version_minor && again.keep_alive == r->keep_alive);
    FUZZ_CHECK(again.expect_continue == r->expect_continue && again.chunked == r->chunked);
    FUZZ_CHECK(again.has_content_length == r->has_content_length);
    FUZZ_CHECK(again.content_length == r->content_length);
    FUZZ_CHECK(again.header_count == r->header_count);
    fuzz_check_same_headers(again.headers, r->headers, r->header_count);
}

/* A prefix is not complete or has the verdict of the whole, wherever the bytes were cut. */
static void check_prefix(const uint8_t *data, size_t cut, int whole) {
    static struct http_request part;
    uint8_t *copy = fuzz_copy(data, cut);
    int result = http_parse_request(copy, cut, &part);
    bool complete = whole > 0 && cut >= (size_t)whole;
    FUZZ_CHECK(complete ? result == whole : result == 0 || (whole < 0 && result == whole));
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
    static struct http_request r;
    int result = http_parse_request(data, len, &r);
    for (unsigned int n = 0; n < 4; n++)
        check_prefix(data, fuzz_cut(data, len, n), result);
    if (result <= 0) {
        FUZZ_CHECK(result == 0 || result == -400 || result == -414 || result == -417 ||
                   result == -431 || result == -501 || result == -505);
        return 0;
    }
    FUZZ_CHECK((size_t)result <= len && result <= (int)HTTP_HEAD_MAX_BYTES);
    check_view(&r, data, (size_t)result);
    check_framing(&r);
    check_end(data, (size_t)result);
    check_round_trip(&r);
    fuzz_check_conditions(r.headers, r.header_count, r.method, len - (size_t)result);
    return 0;
}
