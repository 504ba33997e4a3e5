/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * reply - a response of an embedded service, in the two forms it takes: the canonical response that
 * the group agrees on, and (listener.h) HTTP on a connection. Both come from the same struct, so
 * that a fast read's sketch equals the agreed one.
 */
#ifndef PROPHECY_SERVICE_REPLY_H
#define PROPHECY_SERVICE_REPLY_H

#include "http/http.h"
#include "sketch/sketch.h"

struct service_reply {
    uint16_t status;
    bool head; // answers a HEAD: the header fields of the GET and no body
    struct http_str content_type, etag, allow; // empty: not sent
    const uint8_t *body;
    size_t body_len;
};

#define SERVICE_REPLY_HEADERS_MAX 4u
/* The header fields that go out, Content-Length included; text holds its digits. */
uint32_t service_reply_headers(const struct service_reply *r, char text[24],
                               struct http_header out[SERVICE_REPLY_HEADERS_MAX]);

/* status with its reason as a short text body. */
void service_reply_text(struct service_reply *r, uint16_t status, bool head);

/* A buffer that grows and is kept. */
struct service_buffer {
    uint8_t *data;
    size_t cap;
};
bool service_buffer_reserve(struct service_buffer *b, size_t len); // contents are lost on growth

/* The canonical response in b; its length, 0: no memory. */
size_t service_reply_canonical(const struct service_reply *r, const struct sketch_names *excluded,
                               struct service_buffer *b);

/*
 * An operation taken apart: 0, or the status to answer it with (deterministic, like all of it).
 * Refused besides what http_parse_request refuses: a chunked body, a body that is not
 * Content-Length long, since what follows it would become a request of its own on a backend's
 * connection.
 */
uint16_t service_op_parse(const uint8_t *op, size_t op_len, struct http_request *q,
                          const uint8_t **body, size_t *body_len);

#endif
