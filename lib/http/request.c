/* SPDX-License-Identifier: BSD-3-Clause */
/* The request head (RFC 9112 3). */
#include "http/internal.h"

static enum http_method method_of(struct http_str name) {
    static const struct {
        const char *name;
        enum http_method method;
    } methods[] = {
        {"GET", HTTP_GET},     {"HEAD", HTTP_HEAD},     {"POST", HTTP_POST},
        {"PUT", HTTP_PUT},     {"DELETE", HTTP_DELETE}, {"OPTIONS", HTTP_OPTIONS},
        {"PATCH", HTTP_PATCH}, {"TRACE", HTTP_TRACE},   {"CONNECT", HTTP_CONNECT},
    };
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
        if (name.p[0] == methods[i].name[0] && http_str_eq(name, methods[i].name))
            return methods[i].method;
    }
    return HTTP_METHOD_OTHER;
}

/* RFC 9112 2.2: one empty line before the request line is what some clients send after a body. */
static int step_empty_line(struct http_cursor *c) {
    if (c->p == c->end)
        return HTTP_STEP_MORE;
    return *c->p == '\r' ? http_step_crlf(c) : HTTP_STEP_DONE;
}

static int step_method(struct http_cursor *c, struct http_request *out) {
    const uint8_t *start = c->p;
    c->p = http_skip(start, c->end, HTTP_CHAR_TOKEN);
    if (c->p - start > (ptrdiff_t)HTTP_METHOD_MAX_BYTES)
        return -501; // RFC 9112 3: longer than any that we implement
    if (c->p == c->end)
        return HTTP_STEP_MORE;
    if (*c->p != ' ' || c->p == start)
        return -400;
    out->method_name = http_view(start, c->p);
    out->method = method_of(out->method_name);
    c->p++;
    return HTTP_STEP_DONE;
}

/* The length of "http://" or "https://" at the start of s, or 0. */
static size_t scheme_len(struct http_str s) {
    static const char *const schemes[] = {"http://", "https://"};
    for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++) {
        struct http_str start = {.p = s.p, .len = strlen(schemes[i])};
        if (s.len > start.len && http_str_ieq(start, schemes[i]))
            return start.len;
    }
    return 0;
}

/* RFC 9112 3.2.2. Leaves the path and query in target, the rest in authority. */
static int settle_absolute_form(struct http_request *out) {
    size_t start = scheme_len(out->target);
    if (start == 0)
        return -400;
    size_t path = start;
    while (path < out->target.len && out->target.p[path] != '/')
        path++;
    /* "?" is in no authority: a query after an empty path is refused, for we have no bytes of its
     * origin-form. */
    out->authority = (struct http_str){.p = out->target.p + start, .len = path - start};
    if (!http_valid_authority(out->authority, false))
        return -400;
    out->target.p += path;
    out->target.len -= path;
    if (out->target.len == 0) // RFC 9112 3.2.1, 3.2.4
        out->target = (struct http_str){.p = out->method == HTTP_OPTIONS ? "*" : "/", .len = 1};
    return HTTP_STEP_DONE;
}

/* The four forms of RFC 9112 3.2. */
static int settle_target(struct http_request *out) {
    out->authority = (struct http_str){.p = out->target.p, .len = 0};
    if (out->method == HTTP_CONNECT)
        return http_valid_authority(out->target, true) ? HTTP_STEP_DONE : -400;
    if (out->target.p[0] == '/')
        return HTTP_STEP_DONE;
    if (out->target.p[0] == '*')
        return out->target.len == 1 && out->method == HTTP_OPTIONS ? HTTP_STEP_DONE : -400;
    return settle_absolute_form(out);
}

static int step_target(struct http_cursor *c, struct http_request *out) {
    const uint8_t *start = c->p;
    c->p = http_skip(start, c->end, HTTP_CHAR_TARGET);
    if (c->p - start > (ptrdiff_t)HTTP_TARGET_MAX_BYTES)
        return -414;
    if (c->p == c->end)
        return HTTP_STEP_MORE;
    if (*c->p != ' ' || c->p == start)
        return -400;
    out->target = http_view(start, c->p);
    c->p++;
    return settle_target(out);
}

static int step_request_line(struct http_cursor *c, struct http_request *out) {
    int step = step_empty_line(c);
    if (step > 0)
        step = step_method(c, out);
    if (step > 0)
        step = step_target(c, out);
    if (step > 0)
        step = http_step_version(c, &out->version_minor);
    if (step > 0)
        step = http_step_crlf(c);
    return step;
}

/* What can only be said of the head as a whole (RFC 9112 3.2). */
static int settle_request(const struct http_fields *f, struct http_request *out) {
    if (f->has_host) {
        if (out->authority.len == 0)
            out->authority = f->host;
        else if (out->authority.len != f->host.len ||
                 memcmp(out->authority.p, f->host.p, f->host.len) != 0)
            return -400;
    } else if (f->version_minor >= 1) {
        return -400;
    }
    out->keep_alive = http_fields_keep_alive(f);
    out->expect_continue = f->expect_continue;
    out->chunked = f->chunked;
    out->has_content_length = f->has_content_length;
    out->content_length = f->content_length;
    out->header_count = f->count;
    return HTTP_STEP_DONE;
}

int http_parse_request(const uint8_t *data, size_t len, struct http_request *out) {
    if (len == 0)
        return 0;
    size_t limit = len < HTTP_HEAD_MAX_BYTES ? len : HTTP_HEAD_MAX_BYTES;
    struct http_cursor c = {.p = data, .end = data + limit};
    struct http_fields f = {.request = true};
    int step = step_request_line(&c, out);
    if (step > 0) {
        f.version_minor = out->version_minor;
        step = http_step_fields(&c, &f, out->headers);
    }
    if (step > 0)
        step = settle_request(&f, out);
    if (step == HTTP_STEP_MORE && limit == HTTP_HEAD_MAX_BYTES)
        return -431;
    return step > 0 ? (int)(c.p - data) : step;
}
