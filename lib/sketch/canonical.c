/* SPDX-License-Identifier: BSD-3-Clause */
/* The canonical response: writing, checking and comparing it. */
#include "sketch/sketch_internal.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#define HEAD_FIXED_BYTES 4u // u16 status | u16 count
static_assert(HTTP_HEAD_MAX_BYTES <= UINT16_MAX, "a name's length fits its u16");

static const char content_length[] = "content-length";

/* Made afresh by whoever sends the response; left out whatever the configuration says. */
static const char *const never_canonical[] = {"date", "server", "via", "age", NULL};

/* ---- writing ---- */

static bool excluded_by(const struct sketch_names *excluded, struct http_str name) {
    for (uint32_t i = 0; i < excluded->count; i++)
        if (http_str_ieq(name, excluded->name[i]))
            return true;
    return false;
}

/* Content-Length stays on HEAD: the parser refuses a second one and anything but plain decimals. */
static bool included(const struct http_response *r, bool head_request,
                     const struct sketch_names *excluded, struct http_str name) {
    if (http_str_ieq(name, content_length))
        return head_request;
    return !sketch_name_in(name, never_canonical) && !excluded_by(excluded, name) &&
           !http_is_hop_by_hop(r->headers, r->header_count, name);
}

static int compare_folded(struct http_str a, struct http_str b) {
    size_t len = a.len < b.len ? a.len : b.len;
    for (size_t i = 0; i < len; i++) {
        int d = (uint8_t)sketch_lower(a.p[i]) - (uint8_t)sketch_lower(b.p[i]);
        if (d != 0)
            return d;
    }
    return (a.len > b.len) - (a.len < b.len);
}

/* Insertion sort: stable, so headers of one name stay in order, and heads are short. */
static uint32_t sort_included(const struct http_response *r, bool head_request,
                              const struct sketch_names *excluded,
                              const struct http_header *sorted[HTTP_HEADERS_MAX]) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < r->header_count; i++) {
        const struct http_header *h = &r->headers[i];
        if (!included(r, head_request, excluded, h->name))
            continue;
        uint32_t at = count++;
        for (; at > 0 && compare_folded(sorted[at - 1]->name, h->name) > 0; at--)
            sorted[at] = sorted[at - 1];
        sorted[at] = h;
    }
    return count;
}

size_t sketch_canonical_head(const struct http_response *r, bool head_request,
                             const struct sketch_names *excluded, uint8_t *out, size_t cap) {
    const struct http_header *sorted[HTTP_HEADERS_MAX];
    struct wire_writer w;
    uint32_t count = sort_included(r, head_request, excluded, sorted);
    wire_writer_init(&w, out, cap);
    wire_put_u16(&w, r->status);
    wire_put_u16(&w, (uint16_t)count);
    for (uint32_t i = 0; i < count; i++) {
        const struct http_header *h = sorted[i];
        assert(h->name.len <= UINT16_MAX && h->value.len <= UINT32_MAX);
        wire_put_u16(&w, (uint16_t)h->name.len);
        uint8_t *name = wire_put_hole(&w, h->name.len);
        for (size_t k = 0; name != NULL && k < h->name.len; k++)
            name[k] = (uint8_t)sketch_lower(h->name.p[k]);
        wire_put_u32(&w, (uint32_t)h->value.len);
        wire_put_bytes(&w, h->value.p, h->value.len);
    }
    return w.failed ? 0 : w.len;
}

size_t sketch_canonical_build(const uint8_t *head, size_t head_len, const uint8_t *body,
                              size_t body_len, uint8_t *out, size_t cap) {
    struct wire_writer w;
    assert(head_len <= UINT32_MAX);
    wire_writer_init(&w, out, cap);
    wire_put_u32(&w, (uint32_t)head_len);
    wire_put_bytes(&w, head, head_len);
    wire_put_bytes(&w, body, body_len);
    wire_put_u64(&w, body_len);
    return w.failed ? 0 : w.len;
}

/* ---- reading ---- */

static bool get_header(struct wire_reader *r, struct http_str *name, struct http_str *value) {
    name->len = wire_get_u16(r);
    name->p = (const char *)wire_get_view(r, name->len);
    value->len = wire_get_u32(r);
    value->p = (const char *)wire_get_view(r, value->len);
    return !r->failed;
}

static bool valid_name(struct http_str name) {
    for (size_t i = 0; i < name.len; i++)
        if (!sketch_is_token_char(name.p[i]) || sketch_is_upper(name.p[i]))
            return false;
    return name.len > 0 && !sketch_name_in(name, never_canonical) &&
           !http_is_hop_by_hop(NULL, 0, name);
}

/* RFC 9110 5.5: no control characters but inner tabs, no white space around it. */
static bool valid_value(struct http_str value) {
    for (size_t i = 0; i < value.len; i++) {
        unsigned char c = (unsigned char)value.p[i];
        bool space = c == ' ' || c == '\t';
        if ((c < 0x20 && c != '\t') || c == 0x7f || (space && (i == 0 || i == value.len - 1)))
            return false;
    }
    return true;
}

static bool plain_decimal(struct http_str s) {
    for (size_t i = 0; i < s.len; i++)
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
    return s.len > 0 && s.len < 20 && (s.p[0] != '0' || s.len == 1);
}

static bool valid_header(struct http_str before, struct http_str name, struct http_str value) {
    if (!valid_name(name) || !valid_value(value))
        return false;
    int order = compare_folded(before, name);
    if (http_str_eq(name, content_length))
        return order < 0 && plain_decimal(value);
    return order <= 0;
}

bool sketch_head_parse(const uint8_t *head, size_t len, struct sketch_view *out) {
    struct wire_reader r;
    struct http_str name = {"", 0}, value;
    wire_reader_init(&r, head, len);
    uint16_t status = wire_get_u16(&r), count = wire_get_u16(&r);
    if (status < 100 || status > 599 || count > HTTP_HEADERS_MAX)
        return false;
    for (uint16_t i = 0; i < count; i++) {
        struct http_str before = name;
        if (!get_header(&r, &name, &value) || !valid_header(before, name, value))
            return false;
    }
    *out = (struct sketch_view){
        .status = status, .header_count = count, .head = head, .head_len = len};
    return wire_reader_done(&r);
}

bool sketch_canonical_parse(const uint8_t *data, size_t len, struct sketch_view *out) {
    struct wire_reader r;
    wire_reader_init(&r, data, len);
    size_t head_len = wire_get_u32(&r);
    const uint8_t *head = wire_get_view(&r, head_len);
    if (head == NULL || !sketch_head_parse(head, head_len, out) || wire_remaining(&r) < 8)
        return false;
    out->body_len = wire_remaining(&r) - 8;
    out->body = wire_get_view(&r, out->body_len);
    return wire_get_u64(&r) == out->body_len && wire_reader_done(&r);
}

bool sketch_view_next(const struct sketch_view *v, size_t *pos, struct http_str *name,
                      struct http_str *value) {
    struct wire_reader r;
    size_t from = *pos == 0 ? HEAD_FIXED_BYTES : *pos;
    wire_reader_init(&r, v->head, v->head_len);
    if (wire_get_view(&r, from) == NULL || wire_remaining(&r) == 0)
        return false;
    bool ok = get_header(&r, name, value);
    assert(ok); // the head was checked when the view was made
    *pos = r.pos;
    return ok;
}

struct http_str sketch_view_find(const struct sketch_view *v, const char *lower_name) {
    struct http_str name, value;
    for (size_t pos = 0; sketch_view_next(v, &pos, &name, &value);)
        if (http_str_eq(name, lower_name))
            return value;
    return (struct http_str){NULL, 0};
}

/* ---- comparing ---- */

static bool same_bytes(struct http_str a, struct http_str b) {
    return a.len == b.len && (a.len == 0 || memcmp(a.p, b.p, a.len) == 0);
}

/* Names are sorted, so of two names at the same place the smaller one is missing on the other side.
 */
static bool headers_differ(const struct sketch_view *a, const struct sketch_view *b, char *out,
                           size_t cap) {
    size_t pos_a = 0, pos_b = 0;
    for (;;) {
        struct http_str name_a, value_a, name_b, value_b;
        bool has_a = sketch_view_next(a, &pos_a, &name_a, &value_a);
        bool has_b = sketch_view_next(b, &pos_b, &name_b, &value_b);
        if (!has_a && !has_b)
            return false;
        int order = !has_b ? -1 : !has_a ? 1 : compare_folded(name_a, name_b);
        if (order == 0 && same_bytes(value_a, value_b))
            continue;
        struct http_str name = order <= 0 ? name_a : name_b;
        snprintf(out, cap, "header %.*s%s", (int)name.len, name.p,
                 order < 0   ? " only in the first"
                 : order > 0 ? " only in the second"
                             : "");
        return true;
    }
}

void sketch_difference(const struct sketch_view *a, const struct sketch_view *b, char *out,
                       size_t cap) {
    if (a->status != b->status) {
        snprintf(out, cap, "status %u and %u", a->status, b->status);
        return;
    }
    if (headers_differ(a, b, out, cap))
        return;
    size_t shorter = a->body_len < b->body_len ? a->body_len : b->body_len, at = 0;
    while (at < shorter && a->body[at] == b->body[at])
        at++;
    if (at == a->body_len && at == b->body_len)
        snprintf(out, cap, "nothing");
    else
        snprintf(out, cap, "body byte %zu of %zu and %zu", at, a->body_len, b->body_len);
}
