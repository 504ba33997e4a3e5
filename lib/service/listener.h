/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * listener - the HTTP server of an embedded service, for fast reads (libevent's evhttp).
 *
 * The bytes that wait for slow readers are limited over all connections (503 beyond, which matches
 * no sketch); the number of connections is limited by the process's file descriptors.
 */
#ifndef PROPHECY_SERVICE_LISTENER_H
#define PROPHECY_SERVICE_LISTENER_H

#include "group/group.h"
#include "service/reply.h"

struct event_base;
struct service_listener;

/* Fills in the reply; what it points to must stay valid until the call returns to the event loop.
 */
typedef void service_listener_fn(void *ctx, const struct http_request *q,
                                 struct service_reply *out);

struct service_listener *service_listener_new(struct event_base *base,
                                              const struct group_endpoint *at,
                                              service_listener_fn *answer, void *ctx,
                                              char err[GROUP_ERROR_BYTES]);
void service_listener_free(struct service_listener *l);

struct service_listener_counters {
    uint64_t requests, refused_busy, refused_malformed;
};
struct service_listener_counters service_listener_get_counters(const struct service_listener *l);

#endif
