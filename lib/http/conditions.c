/* SPDX-License-Identifier: BSD-3-Clause */
/* Conditional requests (RFC 9110 13) and byte ranges (RFC 9110 14), on a validated full 200. */
#include "http/internal.h"

struct entity_tag {
    struct http_str opaque; // with its quotes
    bool weak;
};

/* Takes an entity-tag (RFC 9110 8.8.3) off the start of s. */
static bool take_entity_tag(struct http_str *s, struct entity_tag *tag) {
    size_t pos = 0;
    tag->weak = s->len >= 2 && s->p[0] == 'W' && s->p[1] == '/';
    if (tag->weak)
        pos = 2;
    size_t start = pos;
    if (pos == s->len || s->p[pos++] != '"')
        return false;
    while (pos < s->len && s->p[pos] != '"') {
        uint8_t c = (uint8_t)s->p[pos++];
        if (c <= 0x20 || c == 0x7f)
            return false;
    }
    if (pos++ == s->len)
        return false;
    tag->opaque = (struct http_str){.p = s->p + start, .len = pos - start};
    s->p += pos;
    s->len -= pos;
    return true;
}

static bool read_entity_tag(struct http_str s, struct entity_tag *tag) {
    return take_entity_tag(&s, tag) && s.len == 0;
}

/* RFC 9110 8.8.3.2 */
static bool tags_match(const struct entity_tag *a, const struct entity_tag *b, bool strong) {
    if (strong && (a->weak || b->weak))
        return false;
    return a->opaque.len == b->opaque.len && memcmp(a->opaque.p, b->opaque.p, a->opaque.len) == 0;
}

static void skip_white(struct http_str *s) {
    while (s->len > 0 && (s->p[0] == ' ' || s->p[0] == '\t'))
        s->p++, s->len--;
}

/* Does one field line of entity-tags name the current one? Reading stops at what is no entity-tag.
 */
static bool line_names(struct http_str line, const struct entity_tag *current, bool strong) {
    struct entity_tag tag;
    for (;;) {
        skip_white(&line);
        while (line.len > 0 && line.p[0] == ',') { // empty elements (RFC 9110 5.6.1)
            line.p++, line.len--;
            skip_white(&line);
        }
        if (!take_entity_tag(&line, &tag))
            return false;
        skip_white(&line);
        if (line.len > 0 && line.p[0] != ',')
            return false;
        if (tags_match(&tag, current, strong))
            return true;
    }
}

/* If-Match (strong) or If-None-Match (weak): does any line of that name match the representation?
 */
static bool field_names(const struct http_header *headers, uint32_t count, const char *name,
                        struct http_str etag, bool strong) {
    struct entity_tag current;
    bool has_current = read_entity_tag(etag, &current);
    for (uint32_t i = 0; i < count; i++) {
        if (!http_str_ieq(headers[i].name, name))
            continue;
        if (http_str_eq(headers[i].value, "*"))
            return true; // there is a current representation: the 200
        if (has_current && line_names(headers[i].value, &current, strong))
            return true;
    }
    return false;
}

/* The only header of that name; NULL when there is none or, with *repeated set, more than one. */
static const struct http_header *find_single(const struct http_header *headers, uint32_t count,
                                             const char *name, bool *repeated) {
    const struct http_header *found = http_find(headers, count, name);
    *repeated = false;
    if (found == NULL)
        return NULL;
    uint32_t after = (uint32_t)(found - headers) + 1;
    *repeated = http_find(found + 1, count - after, name) != NULL;
    return *repeated ? NULL : found;
}

/*
 * The date of a field and the representation's own; false when the field is to be ignored: absent,
 * repeated, no date, or nothing to compare it with (RFC 9110 13.1.3, 13.1.4).
 */
static bool dates_to_compare(const struct http_header *headers, uint32_t count, const char *name,
                             const struct http_validators *v, int64_t *asked_s, int64_t *own_s) {
    bool repeated;
    const struct http_header *h = find_single(headers, count, name, &repeated);
    return h != NULL && http_parse_date(h->value, asked_s) &&
           http_parse_date(v->last_modified, own_s);
}

/* Steps 1 and 2 of RFC 9110 13.2.2: false is 412. */
static bool precondition_holds(const struct http_header *headers, uint32_t count,
                               const struct http_validators *v) {
    int64_t asked_s, own_s;
    if (http_find(headers, count, "If-Match") != NULL)
        return field_names(headers, count, "If-Match", v->etag, true);
    if (dates_to_compare(headers, count, "If-Unmodified-Since", v, &asked_s, &own_s))
        return own_s <= asked_s;
    return true;
}

/* Steps 3 and 4: true is 304. */
static bool not_modified(const struct http_header *headers, uint32_t count,
                         const struct http_validators *v) {
    int64_t asked_s, own_s;
    if (http_find(headers, count, "If-None-Match") != NULL)
        return field_names(headers, count, "If-None-Match", v->etag, false);
    if (dates_to_compare(headers, count, "If-Modified-Since", v, &asked_s, &own_s))
        return own_s <= asked_s;
    return false;
}

/* Step 5: may the Range be used? RFC 9110 13.1.5: a strong entity-tag or exactly the date of
 * Last-Modified. */
static bool range_allowed(const struct http_header *headers, uint32_t count,
                          const struct http_validators *v) {
    bool repeated;
    const struct http_header *h = find_single(headers, count, "If-Range", &repeated);
    if (h == NULL)
        return !repeated;
    struct entity_tag asked, own;
    if (read_entity_tag(h->value, &asked))
        return read_entity_tag(v->etag, &own) && tags_match(&asked, &own, true);
    int64_t asked_s, own_s;
    return http_parse_date(h->value, &asked_s) && http_parse_date(v->last_modified, &own_s) &&
           asked_s == own_s;
}

/* Takes digits off s; a number too large for 64 bits reads as the largest. False when there are
 * none. */
static bool take_number(struct http_str *s, uint64_t *value) {
    size_t pos = 0;
    *value = 0;
    for (; pos < s->len && http_is_digit((uint8_t)s->p[pos]); pos++) {
        uint64_t digit = (uint64_t)(s->p[pos] - '0');
        *value = *value > (UINT64_MAX - digit) / 10 ? UINT64_MAX : *value * 10 + digit;
    }
    s->p += pos;
    s->len -= pos;
    return pos > 0;
}

/* "-" suffix-length (RFC 9110 14.1.2) */
static enum http_condition suffix_range(struct http_str s, uint64_t body_len, uint64_t *first,
                                        uint64_t *last) {
    uint64_t suffix;
    if (!take_number(&s, &suffix) || s.len != 0)
        return HTTP_COND_SEND;
    if (suffix == 0)
        return HTTP_COND_UNSATISFIABLE;
    if (body_len == 0)
        return HTTP_COND_SEND; // satisfiable, but no Content-Range can say so
    *first = suffix < body_len ? body_len - suffix : 0;
    *last = body_len - 1;
    return HTTP_COND_RANGE;
}

/* first-pos "-" [ last-pos ] (RFC 9110 14.1.1) */
static enum http_condition int_range(struct http_str s, uint64_t body_len, uint64_t *first,
                                     uint64_t *last) {
    uint64_t from, to = UINT64_MAX;
    if (!take_number(&s, &from) || s.len == 0 || s.p[0] != '-')
        return HTTP_COND_SEND;
    s.p++, s.len--;
    if (s.len > 0 && (!take_number(&s, &to) || s.len != 0 || to < from))
        return HTTP_COND_SEND;
    if (from >= body_len)
        return HTTP_COND_UNSATISFIABLE;
    *first = from;
    *last = to < body_len ? to : body_len - 1;
    return HTTP_COND_RANGE;
}

static enum http_condition evaluate_range(const struct http_header *headers, uint32_t count,
                                          uint64_t body_len, uint64_t *first, uint64_t *last) {
    static const char unit[] = "bytes=";
    const size_t unit_len = sizeof unit - 1;
    bool repeated;
    const struct http_header *h = find_single(headers, count, "Range", &repeated);
    if (h == NULL || h->value.len <= unit_len ||
        !http_str_ieq((struct http_str){.p = h->value.p, .len = unit_len}, unit))
        return HTTP_COND_SEND;
    struct http_str s = {.p = h->value.p + unit_len, .len = h->value.len - unit_len};
    if (s.p[0] != '-')
        return int_range(s, body_len, first, last);
    s.p++, s.len--;
    return suffix_range(s, body_len, first, last);
}

enum http_condition http_evaluate_conditions(const struct http_header *headers, uint32_t count,
                                             enum http_method method,
                                             const struct http_validators *v, uint64_t body_len,
                                             uint64_t *first, uint64_t *last) {
    if (method != HTTP_GET && method != HTTP_HEAD)
        return HTTP_COND_SEND;
    if (!precondition_holds(headers, count, v))
        return HTTP_COND_FAILED;
    if (not_modified(headers, count, v))
        return HTTP_COND_NOT_MODIFIED;
    if (method != HTTP_GET ||
        !range_allowed(headers, count, v)) // RFC 9110 14.2: only GET has ranges
        return HTTP_COND_SEND;
    return evaluate_range(headers, count, body_len, first, last);
}
