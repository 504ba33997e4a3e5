/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * backend_response - one response of a web server, from the bytes of its connection to its
 * canonical form. No I/O: bytes and the end of the stream go in.
 */
#ifndef PROPHECY_SERVICE_BACKEND_RESPONSE_H
#define PROPHECY_SERVICE_BACKEND_RESPONSE_H

#include "http/http.h"
#include "service/reply.h"
#include "sketch/sketch.h"

enum backend_state {
    BACKEND_HEAD,
    BACKEND_BODY,
    BACKEND_DONE,
    BACKEND_TOO_LARGE, // complete enough to say so; the connection cannot be kept
    BACKEND_BROKEN,    // not a response, or it ended too early
};

struct backend_response {
    enum backend_state state;
    bool head_request;
    bool keep; // after DONE: the connection can carry the next request
    const struct sketch_names *excluded;
    size_t body_max_bytes;
    uint32_t informational; // 1xx seen
    enum http_framing framing;
    uint64_t left;
    struct http_chunked chunked;
    size_t head_len, body_len;
    uint8_t head[SKETCH_CANONICAL_HEAD_MAX];
    struct service_buffer body; // kept from response to response
};

void backend_response_begin(struct backend_response *r, bool head_request, size_t body_max_bytes,
                            const struct sketch_names *excluded);
/* Consumes what it can of data; returns how much (a head is taken whole or not at all). */
size_t backend_response_feed(struct backend_response *r, const uint8_t *data, size_t len);
/* The server closed its side in good order. */
void backend_response_eof(struct backend_response *r);

#endif
