/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * udp - one non-blocking UDP socket, read and written in batches (recvmmsg, sendmmsg).
 *
 * Sending never waits and never tries again: what the kernel does not take is dropped and counted,
 * and the protocols above retransmit.
 */
#ifndef PROPHECY_REPLICA_UDP_H
#define PROPHECY_REPLICA_UDP_H

#include "group/group.h"

#define UDP_COUNTERS(X)                                                                            \
    X(IN, "udp_in")                                                                                \
    X(OUT, "udp_out")                                                                              \
    X(DROP_TOO_LONG, "drop_udp_too_long")                                                          \
    X(DROP_SEND_FULL, "drop_udp_send_buffer_full")                                                 \
    X(DROP_SEND_ERROR, "drop_udp_send_error")                                                      \
    X(RECEIVE_ERRORS, "udp_receive_errors")

enum udp_counter {
#define UDP_COUNTER_ID(id, name) UDP_##id,
    UDP_COUNTERS(UDP_COUNTER_ID)
#undef UDP_COUNTER_ID
        UDP_COUNTER_COUNT
};
extern const char *const udp_counter_names[UDP_COUNTER_COUNT];

struct udp;
typedef void udp_input_fn(void *ctx, const uint8_t *data, size_t len);

struct udp *udp_open(const struct group_endpoint *at, char err[GROUP_ERROR_BYTES]);
void udp_close(struct udp *u);
int udp_fd(const struct udp *u);
/* Copies the datagram into the batch; sends the batch when it is full. */
void udp_send(struct udp *u, const struct group_endpoint *to, const uint8_t *data, size_t len);
void udp_flush(struct udp *u);
/* Reads what is there, up to a few batches so that other events get their turn. */
void udp_receive(struct udp *u, udp_input_fn *input, void *ctx);
const uint64_t *udp_counters(const struct udp *u);

#endif
