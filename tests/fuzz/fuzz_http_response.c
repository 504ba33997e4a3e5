/* SPDX-License-Identifier: BSD-3-Clause */
/* http_parse_response: views, prefixes, HEAD beside GET, and what is serialised parses to the same.
 */
#include "fuzz_http.h"

static void check_framing(const struct http_response *r, bool head_request) {
    bool has_length = http_find(r->headers, r->header_count, "Content-Length") != NULL;
    bool has_coding = http_find(r->headers, r->header_count, "Transfer-Encoding") != NULL;
    FUZZ_CHECK(!(has_length && has_coding));
    FUZZ_CHECK(r->has_content_length == has_length);
    FUZZ_CHECK(r->content_length <= INT64_MAX && (has_length || r->content_length == 0));
    bool none = head_request || r->status < 200 || r->status == 204 || r->status == 304;
    enum http_framing expected = none         ? HTTP_BODY_NONE
                                 : has_coding ? HTTP_BODY_CHUNKED
                                 : has_length ? HTTP_BODY_LENGTH
                                              : HTTP_BODY_UNTIL_CLOSE;
    FUZZ_CHECK(r->framing == expected);
    FUZZ_CHECK(!(r->keep_alive && r->framing == HTTP_BODY_UNTIL_CLOSE));
    FUZZ_CHECK(
        !(r->keep_alive && http_list_has(r->headers, r->header_count, "Connection", "close")));
}

static void check_round_trip(const struct http_response *r, bool head_request) {
    static uint8_t out[3 * HTTP_HEAD_MAX_BYTES];
    static struct http_response again;
    struct wire_writer w;
    wire_writer_init(&w, out, sizeof out);
    http_put_status_line(&w, r->status);
    fuzz_put_headers(&w, r->headers, r->header_count);
    int result = http_parse_response(out, w.len, head_request, &again);
    if (w.len > HTTP_HEAD_MAX_BYTES) {
        FUZZ_CHECK(result == -1);
        return;
    }
    FUZZ_CHECK(result == (int)w.len);
    FUZZ_CHECK(again.status == r->status && again.framing == r->framing);
    FUZZ_CHECK(again.has_content_length == r->has_content_length);
    FUZZ_CHECK(again.content_length == r->content_length);
    FUZZ_CHECK(again.header_count == r->header_count);
    FUZZ_CHECK(again.keep_alive == r->keep_alive || r->version_minor == 0);
    fuzz_check_same_headers(again.headers, r->headers, r->header_count);
}

static void check_prefix(const uint8_t *data, size_t cut, bool head_request, int whole) {
    static struct http_response part;
    uint8_t *copy = fuzz_copy(data, cut);
    int result = http_parse_response(copy, cut, head_request, &part);
    bool complete = whole > 0 && cut >= (size_t)whole;
    FUZZ_CHECK(complete ? result == whole : result == 0 || (whole < 0 && result == whole));
    free(copy);
}

static int check_one(const uint8_t *data, size_t len, bool head_request) {
    static struct http_response r;
    int result = http_parse_response(data, len, head_request, &r);
    for (unsigned int n = 0; n < 4; n++)
        check_prefix(data, fuzz_cut(data, len, n), head_request, result);
    if (result <= 0) {
        FUZZ_CHECK(result == 0 || result == -1);
        return result;
    }
    FUZZ_CHECK((size_t)result <= len && result <= (int)HTTP_HEAD_MAX_BYTES);
    FUZZ_CHECK(memcmp(data + result - 4, "\r\n\r\n", 4) == 0);
    FUZZ_CHECK(memmem(data, (size_t)result, "\r\n\r\n", 4) == data + result - 4);
    FUZZ_CHECK(r.status >= 100 && r.status <= 599);
    fuzz_check_headers(r.headers, r.header_count, data, (size_t)result);
    check_framing(&r, head_request);
    check_round_trip(&r, head_request);
    fuzz_check_conditions(r.headers, r.header_count, HTTP_GET, r.content_length);
    return result;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
    FUZZ_CHECK(check_one(data, len, false) == check_one(data, len, true));
    return 0;
}
