/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * node - a replica put together: the agreement core, the datagrams, the socket, the service, and
 * the one timer that wakes for whichever of them is next. Everything runs in one libevent loop, one
 * thread.
 *
 *   socket -> datagram_input -> bft_replica_input -> service->execute
 *   socket <- datagram_send  <- bft_replica_executed <- service's done
 */
#ifndef PROPHECY_REPLICA_NODE_H
#define PROPHECY_REPLICA_NODE_H

#include "bft/bft.h"
#include "datagram/datagram.h"
#include "group/group.h"
#include "options.h"
#include "service/service.h"
#include "udp.h"
#include "user.h"

#include <event2/event.h>

struct control;

struct node {
    struct group group;
    uint16_t self;
    struct event_base *base;
    struct event *readable, *timer, *terminate[2];
    struct udp *udp;
    struct datagram *datagram;
    struct bft_replica *bft;
    struct service *service;
    struct control *control;
    struct datagram_address others[GROUP_REPLICAS_MAX]; // the other replicas
    uint32_t other_count;
    uint32_t
        depth; // of calls into the cores: what they sent is flushed at the end of the outermost
    uint64_t drop_unknown_endpoint; // replies to an endpoint that the group file does not have
    bool failed;
};

/* All or nothing: on failure err says why and *n holds nothing. */
bool node_start(struct node *n, const struct options *o, char err[GROUP_ERROR_BYTES]);
/* Runs until a signal or a failure; the exit status. */
int node_run(struct node *n);
void node_stop(struct node *n);
void node_log(const struct node *n, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
