/* SPDX-License-Identifier: BSD-3-Clause */
/* Properties that hold for every head that lib/http takes. */
#ifndef PROPHECY_FUZZ_HTTP_H
#define PROPHECY_FUZZ_HTTP_H

#include "fuzz.h"
#include "http/http.h"

static inline bool fuzz_inside(struct http_str s, const uint8_t *data, size_t len) {
    const char *start = (const char *)data;
    return s.p >= start && s.p + s.len <= start + len;
}

static inline bool fuzz_same(struct http_str a, struct http_str b) {
    return a.len == b.len && (a.len == 0 || memcmp(a.p, b.p, a.len) == 0);
}

static inline bool fuzz_is_white(char c) {
    return c == ' ' || c == '\t';
}

/* Said independently of the parser's tables. */
static inline void fuzz_check_header(const struct http_header *h) {
    FUZZ_CHECK(h->name.len > 0);
    for (size_t i = 0; i < h->name.len; i++)
        FUZZ_CHECK(h->name.p[i] > ' ' && h->name.p[i] < 0x7f &&
                   strchr("\"(),/:;<=>?@[\\]{}", h->name.p[i]) == NULL);
    for (size_t i = 0; i < h->value.len; i++) {
        uint8_t c = (uint8_t)h->value.p[i];
        FUZZ_CHECK(c == '\t' || (c >= ' ' && c != 0x7f));
    }
    if (h->value.len > 0) {
        FUZZ_CHECK(!fuzz_is_white(h->value.p[0]));
        FUZZ_CHECK(!fuzz_is_white(h->value.p[h->value.len - 1]));
    }
}

/* Each header is a view into the head, in the order of the bytes, and look-ups agree with them. */
static inline void fuzz_check_headers(const struct http_header *headers, uint32_t count,
                                      const uint8_t *data, size_t len) {
    FUZZ_CHECK(count <= HTTP_HEADERS_MAX);
    const char *before = (const char *)data;
    for (uint32_t i = 0; i < count; i++) {
        const struct http_header *h = &headers[i];
        FUZZ_CHECK(fuzz_inside(h->name, data, len) && fuzz_inside(h->value, data, len));
        FUZZ_CHECK(h->name.p >= before && h->value.p > h->name.p + h->name.len);
        before = h->value.p + h->value.len;
        fuzz_check_header(h);
        char name[256];
        if (h->name.len < sizeof name) {
            memcpy(name, h->name.p, h->name.len);
            name[h->name.len] = '\0';
            const struct http_header *found = http_find(headers, count, name);
            FUZZ_CHECK(found != NULL && found <= h);
            FUZZ_CHECK(http_list_has(headers, count, "Connection", name) == false ||
                       http_is_hop_by_hop(headers, count, h->name));
        }
    }
}

static inline void fuzz_check_date(struct http_str s) {
    int64_t unix_s, back;
    char text[29];
    if (!http_parse_date(s, &unix_s))
        return;
    http_format_date(unix_s, text);
    FUZZ_CHECK(http_parse_date((struct http_str){.p = text, .len = sizeof text}, &back));
    FUZZ_CHECK(back == unix_s || unix_s == INT64_C(253402300800)); // 9999's last leap second
}

/* Conditions of this head, with its own ETag and Last-Modified as the representation's. */
static inline void fuzz_check_conditions(const struct http_header *headers, uint32_t count,
                                         enum http_method method, uint64_t body_len) {
    const struct http_header *etag = http_find(headers, count, "ETag");
    const struct http_header *modified = http_find(headers, count, "Last-Modified");
    struct http_validators v = {{0}, {0}};
    if (etag != NULL)
        v.etag = etag->value;
    if (modified != NULL) {
        v.last_modified = modified->value;
        fuzz_check_date(modified->value);
    }
    uint64_t first = UINT64_MAX, last = 0;
    enum http_condition c =
        http_evaluate_conditions(headers, count, method, &v, body_len, &first, &last);
    if (c == HTTP_COND_RANGE)
        FUZZ_CHECK(method == HTTP_GET && first <= last && last < body_len);
    else
        FUZZ_CHECK(first == UINT64_MAX && last == 0);
}

/* name ": " value CRLF for each, then the empty line. */
static inline void fuzz_put_headers(struct wire_writer *w, const struct http_header *headers,
                                    uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        char *name = calloc(1, headers[i].name.len + 1);
        FUZZ_CHECK(name != NULL);
        memcpy(name, headers[i].name.p, headers[i].name.len);
        http_put_header(w, name, headers[i].value);
        free(name);
    }
    http_put_str(w, "\r\n");
    FUZZ_CHECK(!w->failed);
}

static inline void fuzz_check_same_headers(const struct http_header *a, const struct http_header *b,
                                           uint32_t count) {
    for (uint32_t i = 0; i < count; i++)
        FUZZ_CHECK(fuzz_same(a[i].name, b[i].name) && fuzz_same(a[i].value, b[i].value));
}

#endif
