/* SPDX-License-Identifier: BSD-3-Clause */
/* What request and response heads share: version, line ends, field lines and framing fields. */
#include "http/internal.h"

#define CONTENT_LENGTH_MAX_DIGITS 19u // of 2^63 - 1

enum known_field {
    FIELD_OTHER,
    FIELD_HOST,
    FIELD_EXPECT,
    FIELD_CONNECTION,
    FIELD_CONTENT_LENGTH,
    FIELD_TRANSFER_ENCODING,
    FIELD_DISGUISED, // a framing field with "_" for "-", which gateways map to the same variable
};

/* Compares a token with a literal in lower case. Upper case letters differ from lower in one bit.
 */
static inline bool token_is(struct http_str name, const char *lower, size_t len) {
    for (size_t i = 0; i < len; i++) {
        if (((uint8_t)name.p[i] | 0x20) != (uint8_t)lower[i])
            return false;
    }
    return true;
}

/* A name that has the length of a framing field with its dash at the given place. */
static enum known_field framing_field(struct http_str name, size_t dash, const char *head,
                                      const char *tail, enum known_field field) {
    struct http_str after = {.p = name.p + dash + 1, .len = name.len - dash - 1};
    if (!token_is(name, head, dash) || !token_is(after, tail, after.len))
        return FIELD_OTHER;
    if (name.p[dash] == '-')
        return field;
    return name.p[dash] == '_' ? FIELD_DISGUISED : FIELD_OTHER;
}

static enum known_field recognise(struct http_str name) {
    uint8_t first = (uint8_t)name.p[0] | 0x20;
    switch (name.len) {
    case 4:
        return first == 'h' && token_is(name, "host", 4) ? FIELD_HOST : FIELD_OTHER;
    case 6:
        return first == 'e' && token_is(name, "expect", 6) ? FIELD_EXPECT : FIELD_OTHER;
    case 10:
        return first == 'c' && token_is(name, "connection", 10) ? FIELD_CONNECTION : FIELD_OTHER;
    case 14:
        return first == 'c' ? framing_field(name, 7, "content", "length", FIELD_CONTENT_LENGTH)
                            : FIELD_OTHER;
    case 17:
        return first == 't'
                   ? framing_field(name, 8, "transfer", "encoding", FIELD_TRANSFER_ENCODING)
                   : FIELD_OTHER;
    default:
        return FIELD_OTHER;
    }
}

static int note_host(struct http_fields *f, struct http_str value) {
    if (f->has_host || !http_valid_authority(value, false))
        return -400;
    f->has_host = true;
    f->host = value;
    return HTTP_STEP_DONE;
}

/* RFC 9110 10.1.1: ignored in 1.0; only 100-continue is an expectation that anyone can meet. */
static int note_expect(struct http_fields *f, struct http_str value) {
    if (f->version_minor == 0)
        return HTTP_STEP_DONE;
    if (!http_str_ieq(value, "100-continue"))
        return -417;
    f->expect_continue = true;
    return HTTP_STEP_DONE;
}

/*
 * Connection is a list of tokens. It must not make fields hop-by-hop without which the message
 * would mean something else further on (RFC 9110 7.6.1).
 */
static int note_connection(struct http_fields *f, struct http_str value) {
    struct http_str option;
    while (http_list_next(&value, &option)) {
        const uint8_t *p = (const uint8_t *)option.p;
        if (http_skip(p, p + option.len, HTTP_CHAR_TOKEN) != p + option.len)
            return -400;
        if (http_str_ieq(option, "close"))
            f->close = true;
        else if (http_str_ieq(option, "keep-alive"))
            f->keep_alive = true;
        else if (http_str_ieq(option, "host") || http_str_ieq(option, "content-length"))
            return -400;
    }
    return HTTP_STEP_DONE;
}

/* Decimal digits without sign, list or leading zeros, at most 2^63 - 1; once, and not beside a
 * coding. */
static int note_content_length(struct http_fields *f, struct http_str value) {
    if (f->has_content_length || f->chunked)
        return -400;
    if (value.len == 0 || value.len > CONTENT_LENGTH_MAX_DIGITS ||
        (value.p[0] == '0' && value.len > 1))
        return -400;
    uint64_t n = 0;
    for (size_t i = 0; i < value.len; i++) {
        if (!http_is_digit((uint8_t)value.p[i]))
            return -400;
        n = n * 10 + (uint64_t)(value.p[i] - '0');
    }
    if (n > INT64_MAX)
        return -400;
    f->has_content_length = true;
    f->content_length = n;
    return HTTP_STEP_DONE;
}

/* RFC 9112 6.1, 6.3: with a length, in 1.0 or twice it is an attack or a fault. */
static int note_transfer_encoding(struct http_fields *f, struct http_str value) {
    if (f->chunked || f->has_content_length || f->version_minor == 0 || value.len == 0)
        return -400;
    if (!http_str_ieq(value, "chunked"))
        return -501;
    f->chunked = true;
    return HTTP_STEP_DONE;
}

static int note_field(struct http_fields *f, const struct http_header *h) {
    switch (recognise(h->name)) {
    case FIELD_HOST:
        return f->request ? note_host(f, h->value) : HTTP_STEP_DONE;
    case FIELD_EXPECT:
        return f->request ? note_expect(f, h->value) : HTTP_STEP_DONE;
    case FIELD_CONNECTION:
        return note_connection(f, h->value);
    case FIELD_CONTENT_LENGTH:
        return note_content_length(f, h->value);
    case FIELD_TRANSFER_ENCODING:
        return note_transfer_encoding(f, h->value);
    case FIELD_DISGUISED:
        return -400;
    case FIELD_OTHER:
        break;
    }
    return HTTP_STEP_DONE;
}

int http_step_crlf(struct http_cursor *c) {
    if (c->p == c->end)
        return HTTP_STEP_MORE;
    if (c->p[0] != '\r')
        return -400;
    if (c->end - c->p < 2)
        return HTTP_STEP_MORE;
    if (c->p[1] != '\n')
        return -400;
    c->p += 2;
    return HTTP_STEP_DONE;
}

int http_step_version(struct http_cursor *c, uint8_t *minor) {
    static const char prefix[] = "HTTP/";
    const size_t prefix_len = sizeof prefix - 1;
    const size_t version_len = sizeof "HTTP/1.1" - 1;
    size_t have = (size_t)(c->end - c->p);
    if (memcmp(c->p, prefix, have < prefix_len ? have : prefix_len) != 0)
        return -400;
    if (have < version_len)
        return HTTP_STEP_MORE;
    if (!http_is_digit(c->p[5]) || c->p[6] != '.' || !http_is_digit(c->p[7]))
        return -400;
    if (c->p[5] != '1')
        return -505;
    *minor = c->p[7] == '0' ? 0 : 1;
    c->p += version_len;
    return HTTP_STEP_DONE;
}

/* One line: field-name ":" OWS field-value OWS CRLF. A line that begins with white space (obs-fold)
 * has no name. */
static int step_field_line(struct http_cursor *c, struct http_header *h) {
    const uint8_t *name = c->p;
    const uint8_t *p = http_skip(name, c->end, HTTP_CHAR_TOKEN);
    if (p == c->end)
        return HTTP_STEP_MORE;
    if (*p != ':' || p == name)
        return -400;
    h->name = http_view(name, p);
    p++;
    while (p < c->end && (*p == ' ' || *p == '\t'))
        p++;
    const uint8_t *value = p;
    c->p = http_skip_value(p, c->end);
    h->value = http_view(value, c->p);
    while (h->value.len > 0 &&
           (h->value.p[h->value.len - 1] == ' ' || h->value.p[h->value.len - 1] == '\t'))
        h->value.len--;
    return http_step_crlf(c);
}

int http_step_fields(struct http_cursor *c, struct http_fields *f,
                     struct http_header headers[HTTP_HEADERS_MAX]) {
    for (f->count = 0; c->p < c->end; f->count++) {
        if (*c->p == '\r')
            return http_step_crlf(c);
        if (f->count == HTTP_HEADERS_MAX)
            return -431;
        int step = step_field_line(c, &headers[f->count]);
        if (step > 0)
            step = note_field(f, &headers[f->count]);
        if (step <= 0)
            return step;
    }
    return HTTP_STEP_MORE;
}
