/* SPDX-License-Identifier: BSD-3-Clause */
/* Names of header fields, and the keyed hashes s(q) and s(r). */
#include "sketch/sketch_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* Small fields are gathered here: a call into libcrypto costs more than hashing a few bytes. */
#define GATHER_BYTES 512u

struct hasher {
    struct crypto_uhash *uhash;
    size_t used;
    uint8_t gathered[GATHER_BYTES];
};

/* Two hashers, so that a request may be sketched while a response streams in. */
struct sketch {
    struct hasher request;
    struct hasher response;
};

/* First byte under the request key: what the tag names. */
enum { KIND_REQUEST = 1, KIND_URL = 2 };

struct sketch *sketch_new(const struct sketch_secret *secret) {
    struct sketch *s = calloc(1, sizeof *s);
    if (s == NULL)
        return NULL;
    s->request.uhash = crypto_uhash_new(secret->request_key);
    s->response.uhash = crypto_uhash_new(secret->response_key);
    if (s->request.uhash == NULL || s->response.uhash == NULL) {
        sketch_free(s);
        return NULL;
    }
    return s;
}

void sketch_free(struct sketch *s) {
    if (s == NULL)
        return;
    crypto_uhash_free(s->request.uhash);
    crypto_uhash_free(s->response.uhash);
    crypto_wipe(s, sizeof *s);
    free(s);
}

static void hash_begin(struct hasher *h) {
    crypto_uhash_begin(h->uhash);
    h->used = 0;
}

static void hash_flush(struct hasher *h) {
    crypto_uhash_update(h->uhash, h->gathered, h->used);
    h->used = 0;
}

static void hash_bytes(struct hasher *h, const void *data, size_t len) {
    if (len > GATHER_BYTES - h->used)
        hash_flush(h);
    if (len > GATHER_BYTES) {
        crypto_uhash_update(h->uhash, data, len);
    } else if (len > 0) {
        memcpy(h->gathered + h->used, data, len);
        h->used += len;
    }
}

static void hash_uint(struct hasher *h, uint64_t v, unsigned int width) {
    uint8_t be[8];
    for (unsigned int i = 0; i < width; i++)
        be[i] = (uint8_t)(v >> (8 * (width - 1 - i)));
    hash_bytes(h, be, width);
}

static void hash_str(struct hasher *h, struct http_str s) {
    hash_uint(h, s.len, 8);
    hash_bytes(h, s.p, s.len);
}

static void hash_final(struct hasher *h, struct sketch_tag *out) {
    hash_flush(h);
    crypto_uhash_final(h->uhash, out->b);
}

/*
 * u64 name_len | name | u8 there | u64 value_len | value. The name is hashed too, so that keys made
 * before and after a change of the list of key headers differ.
 */
static void hash_key_header(struct hasher *h, const struct http_request *q, const char *name) {
    struct http_str value;
    size_t joined_len = 0;
    uint32_t found = 0;
    for (uint32_t i = 0; sketch_key_value(q, name, &i, &value); found++)
        joined_len += value.len + (found > 0 ? 2 : 0);
    hash_str(h, (struct http_str){name, strlen(name)});
    hash_uint(h, found > 0, 1);
    hash_uint(h, joined_len, 8);
    found = 0;
    for (uint32_t i = 0; sketch_key_value(q, name, &i, &value); found++) {
        hash_bytes(h, ", ", found > 0 ? 2 : 0);
        hash_bytes(h, value.p, value.len);
    }
}

void sketch_request(struct sketch *s, const struct http_request *q,
                    const struct sketch_names *key_headers, struct sketch_tag *out) {
    struct hasher *h = &s->request;
    hash_begin(h);
    hash_uint(h, KIND_REQUEST, 1);
    hash_str(h, q->method_name);
    hash_str(h, q->authority);
    hash_str(h, q->target);
    hash_uint(h, key_headers->count, 4);
    for (uint32_t i = 0; i < key_headers->count; i++)
        hash_key_header(h, q, key_headers->name[i]);
    hash_final(h, out);
}

void sketch_url(struct sketch *s, const struct http_request *q, struct sketch_tag *out) {
    struct hasher *h = &s->request;
    hash_begin(h);
    hash_uint(h, KIND_URL, 1);
    hash_str(h, q->authority);
    hash_str(h, q->target);
    hash_final(h, out);
}

void sketch_response_begin(struct sketch *s, const struct sketch_tag *request, const uint8_t *head,
                           size_t head_len) {
    hash_begin(&s->response);
    hash_bytes(&s->response, request->b, sizeof request->b);
    hash_uint(&s->response, head_len, 4);
    hash_bytes(&s->response, head, head_len);
}

void sketch_response_body(struct sketch *s, const uint8_t *body, size_t len) {
    hash_bytes(&s->response, body, len);
}

void sketch_response_final(struct sketch *s, uint64_t body_len, struct sketch_tag *out) {
    hash_uint(&s->response, body_len, 8);
    hash_final(&s->response, out);
}

void sketch_canonical(struct sketch *s, const struct sketch_tag *request, const uint8_t *canonical,
                      size_t len, struct sketch_tag *out) {
    hash_begin(&s->response);
    hash_bytes(&s->response, request->b, sizeof request->b);
    hash_bytes(&s->response, canonical, len);
    hash_final(&s->response, out);
}

bool sketch_equal(const struct sketch_tag *a, const struct sketch_tag *b) {
    return crypto_equal(a->b, b->b, sizeof a->b);
}

bool sketch_is_upper(char c) {
    return c >= 'A' && c <= 'Z';
}

char sketch_lower(char c) {
    return (char)(sketch_is_upper(c) ? c + ('a' - 'A') : c);
}

/* tchar, RFC 9110 5.6.2 */
bool sketch_is_token_char(char c) {
    return (c >= 'a' && c <= 'z') || sketch_is_upper(c) || (c >= '0' && c <= '9') ||
           (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

bool sketch_name_in(struct http_str name, const char *const *list) {
    for (; *list != NULL; list++)
        if (http_str_ieq(name, *list))
            return true;
    return false;
}

static bool names_add_one(struct sketch_names *names, const char *token, size_t len) {
    char lower[SKETCH_NAME_MAX_BYTES];
    if (len >= sizeof lower)
        return false;
    for (size_t i = 0; i < len; i++) {
        if (!sketch_is_token_char(token[i]))
            return false;
        lower[i] = sketch_lower(token[i]);
    }
    lower[len] = '\0';
    for (uint32_t i = 0; i < names->count; i++)
        if (strcmp(names->name[i], lower) == 0)
            return true;
    if (names->count == SKETCH_EXCLUDED_MAX)
        return false;
    memcpy(names->name[names->count++], lower, len + 1);
    return true;
}

bool sketch_names_add(struct sketch_names *names, const char *list) {
    struct sketch_names longer = *names;
    for (;;) {
        list += strspn(list, " ,");
        size_t len = strcspn(list, " ,");
        if (len == 0)
            break;
        if (!names_add_one(&longer, list, len))
            return false;
        list += len;
    }
    *names = longer;
    return true;
}

void sketch_key_headers_default(struct sketch_names *names) {
    *names = (struct sketch_names){0};
    bool ok =
        sketch_names_add(names, "accept accept-encoding accept-language authorization cookie");
    assert(ok);
    (void)ok;
}
