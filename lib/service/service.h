/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lib/service - what is replicated. One interface, three services.
 *
 * An operation is the upstream HTTP/1.1 request (head and body with Content-Length) that the
 * sketcher serialised; a result is a canonical response (lib/sketch). `store` and `null` execute at
 * once; `http` hands the request to a real web server and completes later.
 *
 * store  an object store on LMDB: GET, HEAD, PUT, DELETE; strong content ETag (SHA-256); the media
 * type is kept. Deterministic: no clock, no randomness, so equal histories give equal bytes. http
 * the web server on loopback, one persistent connection, strictly serial; a response is reduced to
 * its canonical form. A failed or timed-out read yields no result (the replica stays silent); a
 *        write is tried again until the server answers: at least once, with
 *        X-Prophecy-Request: EPOCH-PRINCIPAL-ENDPOINT-INDEX-NUMBER so that the application can drop
 * repeats. null   a fixed response size and a busy-wait, for measurements (Prophecy, §7).
 *
 * One thread (the replica's event loop) per instance.
 */
#ifndef PROPHECY_SERVICE_H
#define PROPHECY_SERVICE_H

#include "bft/bft.h"
#include "group/group.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct event_base;
struct service;

/*
 * Called exactly once per execute, possibly from inside it. result is borrowed for the call.
 * result NULL: no answer could be had, the replica stays silent. result_len > response_max_bytes +
 * GROUP_HEAD_ALLOWANCE_BYTES: the response is over the group's limit; its bytes are not there (the
 * length alone is the answer).
 */
typedef void service_done_fn(void *ctx, uint64_t ticket, const uint8_t *result, size_t result_len);

struct service_counter {
    const char *name;
    uint64_t value;
};
#define SERVICE_COUNTERS_MAX 16u

struct service_ops {
    const char *name;
    /* e is borrowed for the call; e->op stays valid until done is called. */
    void (*execute)(struct service *s, const struct bft_execution *e);
    void (*state_digest)(struct service *s, uint64_t sequence, uint8_t out[CRYPTO_DIGEST_BYTES]);
    /* Starts answering fast reads on its own HTTP listener; NULL: the service has a server of its
     * own. */
    bool (*listen)(struct service *s, const struct group_endpoint *at, char err[GROUP_ERROR_BYTES]);
    /* Fills in up to SERVICE_COUNTERS_MAX counters; returns how many. */
    uint32_t (*counters)(const struct service *s, struct service_counter out[SERVICE_COUNTERS_MAX]);
    void (*free)(struct service *s);
};

struct service {
    const struct service_ops *ops;
    service_done_fn *done;
    void *done_ctx;
};

struct service_config {
    struct event_base *base;
    size_t request_max_bytes, response_max_bytes; // of a body
    uint64_t incarnation;                         // of the group's state; 0: do not check
    const struct sketch_names *excluded_headers;  // stays valid
    service_done_fn *done;
    void *done_ctx;
    /*
     * The service can no longer execute (its disk is full or broken): the replica must stop, for
     * going on without a write would make it a faulty one. May be NULL.
     */
    void (*failed)(void *done_ctx, const char *why);
};

struct service *service_store_new(const struct service_config *cfg, const char *dir,
                                  uint64_t map_bytes, char err[GROUP_ERROR_BYTES]);
struct service *service_http_new(const struct service_config *cfg,
                                 const struct group_endpoint *backend, uint32_t timeout_ms,
                                 char err[GROUP_ERROR_BYTES]);
struct service *service_null_new(const struct service_config *cfg, size_t response_bytes,
                                 uint32_t busy_us, char err[GROUP_ERROR_BYTES]);

#endif
