/* SPDX-License-Identifier: BSD-3-Clause */
#include "service/backend_response.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define INFORMATIONAL_MAX 8u
#define BODY_FIRST_BYTES 65536u

void backend_response_begin(struct backend_response *r, bool head_request, size_t body_max_bytes,
                            const struct sketch_names *excluded) {
    struct service_buffer body = r->body;
    *r = (struct backend_response){.state = BACKEND_HEAD,
                                   .head_request = head_request,
                                   .excluded = excluded,
                                   .body_max_bytes = body_max_bytes,
                                   .body = body};
}

static bool grow(struct service_buffer *b, size_t used, size_t need, size_t max) {
    if (need <= b->cap)
        return true;
    size_t cap = b->cap < BODY_FIRST_BYTES ? BODY_FIRST_BYTES : b->cap;
    while (cap < need)
        cap *= 2;
    cap = cap > max && max >= need ? max : cap;
    uint8_t *data = realloc(b->data, cap);
    if (data == NULL)
        return false;
    assert(used <= b->cap);
    *b = (struct service_buffer){.data = data, .cap = cap};
    return true;
}

static void append(struct backend_response *r, const uint8_t *data, size_t len) {
    if (len > r->body_max_bytes - r->body_len) {
        r->state = BACKEND_TOO_LARGE;
        return;
    }
    if (len == 0)
        return;
    if (!grow(&r->body, r->body_len, r->body_len + len, r->body_max_bytes)) {
        r->state = BACKEND_BROKEN;
        return;
    }
    memcpy(r->body.data + r->body_len, data, len);
    r->body_len += len;
}

static void take_head(struct backend_response *r, const struct http_response *head) {
    r->framing = head->framing;
    r->keep = head->keep_alive && head->framing != HTTP_BODY_UNTIL_CLOSE;
    r->left = head->framing == HTTP_BODY_LENGTH ? head->content_length : 0;
    r->head_len =
        sketch_canonical_head(head, r->head_request, r->excluded, r->head, sizeof r->head);
    http_chunked_init(&r->chunked);
    if (r->head_len == 0)
        r->state = BACKEND_BROKEN;
    else if (r->left > r->body_max_bytes)
        r->state = BACKEND_TOO_LARGE;
    else if (r->framing == HTTP_BODY_NONE || (r->framing == HTTP_BODY_LENGTH && r->left == 0))
        r->state = BACKEND_DONE;
    else
        r->state = BACKEND_BODY;
}

static size_t feed_head(struct backend_response *r, const uint8_t *data, size_t len) {
    struct http_response head;
    int n = http_parse_response(data, len, r->head_request, &head);
    if (n < 0 || (n == 0 && len > HTTP_HEAD_MAX_BYTES)) {
        r->state = BACKEND_BROKEN;
        return 0;
    }
    if (n == 0)
        return 0;
    // Interim responses are skipped (RFC 9110 15.2); nobody asked for a switch of protocols.
    if (head.status >= 100 && head.status < 200) {
        if (head.status == 101 || ++r->informational > INFORMATIONAL_MAX)
            r->state = BACKEND_BROKEN;
        return (size_t)n;
    }
    take_head(r, &head);
    return (size_t)n;
}

static size_t feed_chunked(struct backend_response *r, const uint8_t *data, size_t len) {
    const uint8_t *run;
    size_t run_len, n = http_chunked_feed(&r->chunked, data, len, &run, &run_len);
    append(r, run, run_len);
    if (r->state != BACKEND_BODY)
        return n;
    if (r->chunked.state == HTTP_CHUNK_ERROR)
        r->state = BACKEND_BROKEN;
    else if (r->chunked.state == HTTP_CHUNK_DONE)
        r->state = BACKEND_DONE;
    return n;
}

static size_t feed_body(struct backend_response *r, const uint8_t *data, size_t len) {
    if (r->framing == HTTP_BODY_CHUNKED)
        return feed_chunked(r, data, len);
    size_t n = r->framing == HTTP_BODY_LENGTH && len > r->left ? (size_t)r->left : len;
    append(r, data, n);
    if (r->framing == HTTP_BODY_LENGTH && r->state == BACKEND_BODY) {
        r->left -= n;
        if (r->left == 0)
            r->state = BACKEND_DONE;
    }
    return n;
}

size_t backend_response_feed(struct backend_response *r, const uint8_t *data, size_t len) {
    size_t used = 0;
    while (used < len && (r->state == BACKEND_HEAD || r->state == BACKEND_BODY)) {
        size_t n = r->state == BACKEND_HEAD ? feed_head(r, data + used, len - used)
                                            : feed_body(r, data + used, len - used);
        if (n == 0 && (r->state == BACKEND_HEAD || r->state == BACKEND_BODY))
            break; // an incomplete head
        used += n;
    }
    return used;
}

void backend_response_eof(struct backend_response *r) {
    if (r->state == BACKEND_BODY && r->framing == HTTP_BODY_UNTIL_CLOSE)
        r->state = BACKEND_DONE;
    else if (r->state == BACKEND_HEAD || r->state == BACKEND_BODY)
        r->state = BACKEND_BROKEN;
}
