/* SPDX-License-Identifier: BSD-3-Clause */
#include "service/reply.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct http_str str(const char *s) {
    return (struct http_str){.p = s, .len = strlen(s)};
}

/* RFC 9110 8.6: no Content-Length on 1xx and 204; 304 may leave it out. */
static bool has_length(uint16_t status) {
    return status >= 200 && status != 204 && status != 304;
}

static void add(struct http_header *out, uint32_t *count, const char *name, struct http_str value) {
    if (value.len > 0)
        out[(*count)++] = (struct http_header){.name = str(name), .value = value};
}

uint32_t service_reply_headers(const struct service_reply *r, char text[24],
                               struct http_header out[SERVICE_REPLY_HEADERS_MAX]) {
    uint32_t count = 0;
    snprintf(text, 24, "%zu", r->body_len);
    add(out, &count, "allow", r->allow);
    add(out, &count, "content-type", r->content_type);
    add(out, &count, "etag", r->etag);
    if (has_length(r->status))
        add(out, &count, "content-length", str(text));
    return count;
}

void service_reply_text(struct service_reply *r, uint16_t status, bool head) {
    static const struct {
        uint16_t status;
        const char *text;
    } texts[] = {
        {400, "bad request\n"},
        {404, "not found\n"},
        {405, "method not allowed\n"},
        {411, "length required\n"},
        {412, "precondition failed\n"},
        {413, "content too large\n"},
        {414, "target too long\n"},
        {415, "unsupported content coding\n"},
        {431, "header fields too large\n"},
        {501, "not implemented\n"},
        {503, "busy\n"},
        {505, "HTTP version not supported\n"},
        {507, "insufficient storage\n"},
    };
    size_t i = 0;
    while (i < sizeof texts / sizeof texts[0] && texts[i].status != status)
        i++;
    assert(i < sizeof texts / sizeof texts[0]);
    *r = (struct service_reply){.status = status,
                                .head = head,
                                .content_type = str("text/plain; charset=utf-8"),
                                .body = (const uint8_t *)texts[i].text,
                                .body_len = strlen(texts[i].text)};
}

bool service_buffer_reserve(struct service_buffer *b, size_t len) {
    if (len <= b->cap)
        return true;
    uint8_t *data = malloc(len);
    if (data == NULL)
        return false;
    free(b->data);
    *b = (struct service_buffer){.data = data, .cap = len};
    return true;
}

size_t service_reply_canonical(const struct service_reply *r, const struct sketch_names *excluded,
                               struct service_buffer *b) {
    char text[24];
    uint8_t head[SKETCH_CANONICAL_HEAD_MAX];
    struct http_response response = {
        .status = r->status,
        .version_minor = 1,
        .keep_alive = true,
        .has_content_length = has_length(r->status),
        .content_length = has_length(r->status) ? r->body_len : 0,
        .framing = r->head || !has_length(r->status) ? HTTP_BODY_NONE : HTTP_BODY_LENGTH,
    };
    response.header_count = service_reply_headers(r, text, response.headers);
    size_t body_len = r->head ? 0 : r->body_len;
    size_t head_len = sketch_canonical_head(&response, r->head, excluded, head, sizeof head);
    assert(head_len > 0);
    if (!service_buffer_reserve(b, head_len + body_len + 12))
        return 0;
    return sketch_canonical_build(head, head_len, r->body, body_len, b->data, b->cap);
}

uint16_t service_op_parse(const uint8_t *op, size_t op_len, struct http_request *q,
                          const uint8_t **body, size_t *body_len) {
    int n = http_parse_request(op, op_len, q);
    if (n <= 0)
        return n < 0 ? (uint16_t)-n : 400;
    if (q->chunked)
        return 411;
    *body = op + n;
    *body_len = op_len - (size_t)n;
    return *body_len == q->content_length ? 0 : 400;
}
