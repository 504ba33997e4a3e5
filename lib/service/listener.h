/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * listener - the HTTP server of an embedded service, for fast reads.
 *
 * libevent does the connections, lib/http reads the requests: the very parser that reads agreed
 * operations, for if the two paths disagreed about any request that a client can send, its fast
 * read would differ from the agreed result and an honest replica would be suspected (design.md §5).
 *
 * Limits: connections, and the bytes that wait for slow readers over all of them (503 beyond, which
 * matches no sketch). A connection reads its next request when the last response has left.
 */
#ifndef PROPHECY_SERVICE_LISTENER_H
#define PROPHECY_SERVICE_LISTENER_H

#include "group/group.h"
#include "service/reply.h"

struct event_base;
struct service_listener;

#define LISTENER_CONNECTIONS_MAX 4096u
#define LISTENER_WAITING_MAX_BYTES ((size_t)256 << 20)

/* Fills in the reply; what it points to must stay valid until the call returns to the event loop.
 */
typedef void service_listener_fn(void *ctx, const struct http_request *q,
                                 struct service_reply *out);

struct service_listener *service_listener_new(struct event_base *base,
                                              const struct group_endpoint *at,
                                              service_listener_fn *answer, void *ctx,
                                              char err[GROUP_ERROR_BYTES]);
void service_listener_free(struct service_listener *l);

struct service_counter;
/* Adds its counters to out; returns how many. l may be NULL. */
uint32_t service_listener_counters(const struct service_listener *l, struct service_counter *out);

#endif
