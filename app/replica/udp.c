/* SPDX-License-Identifier: BSD-3-Clause */
#include "udp.h"

#include "datagram/datagram.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define UDP_BATCH 64u
#define UDP_BATCHES_PER_EVENT 8u
#define UDP_SOCKET_BUFFER_BYTES (8 * 1024 * 1024)
#define UDP_RECEIVE_BYTES (DATAGRAM_MAX_BYTES + 1) // one more shows that it was too long

const char *const udp_counter_names[UDP_COUNTER_COUNT] = {
#define UDP_COUNTER_NAME(id, name) [UDP_##id] = name,
    UDP_COUNTERS(UDP_COUNTER_NAME)
#undef UDP_COUNTER_NAME
};

struct udp {
    int fd;
    uint32_t waiting; // in the batch to send
    uint64_t counters[UDP_COUNTER_COUNT];
    struct sockaddr_in to[UDP_BATCH];
    struct iovec out_vec[UDP_BATCH], in_vec[UDP_BATCH];
    struct mmsghdr out[UDP_BATCH], in[UDP_BATCH];
    uint8_t out_data[UDP_BATCH][DATAGRAM_MAX_BYTES];
    uint8_t in_data[UDP_BATCH][UDP_RECEIVE_BYTES];
};

/* Beyond the system's limit when we may, up to it otherwise. */
static void set_buffer(int fd, int force, int plain) {
    int bytes = UDP_SOCKET_BUFFER_BYTES;
    if (setsockopt(fd, SOL_SOCKET, force, &bytes, sizeof bytes) != 0)
        setsockopt(fd, SOL_SOCKET, plain, &bytes, sizeof bytes);
}

static int bind_socket(const struct group_endpoint *at, char err[GROUP_ERROR_BYTES]) {
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_in sin = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(at->addr), .sin_port = htons(at->port)};
    if (fd >= 0 && bind(fd, (struct sockaddr *)&sin, sizeof sin) == 0) {
        set_buffer(fd, SO_RCVBUFFORCE, SO_RCVBUF);
        set_buffer(fd, SO_SNDBUFFORCE, SO_SNDBUF);
        return fd;
    }
    snprintf(err, GROUP_ERROR_BYTES, "cannot bind UDP %u.%u.%u.%u:%u: %s", at->addr >> 24,
             at->addr >> 16 & 255, at->addr >> 8 & 255, at->addr & 255, at->port, strerror(errno));
    if (fd >= 0)
        close(fd);
    return -1;
}

struct udp *udp_open(const struct group_endpoint *at, char err[GROUP_ERROR_BYTES]) {
    int fd = bind_socket(at, err);
    if (fd < 0)
        return NULL;
    struct udp *u = calloc(1, sizeof *u);
    if (u == NULL) {
        snprintf(err, GROUP_ERROR_BYTES, "out of memory");
        close(fd);
        return NULL;
    }
    u->fd = fd;
    for (uint32_t i = 0; i < UDP_BATCH; i++) {
        u->in_vec[i] = (struct iovec){u->in_data[i], UDP_RECEIVE_BYTES};
        u->in[i].msg_hdr = (struct msghdr){.msg_iov = &u->in_vec[i], .msg_iovlen = 1};
        u->out[i].msg_hdr = (struct msghdr){.msg_name = &u->to[i],
                                            .msg_namelen = sizeof u->to[i],
                                            .msg_iov = &u->out_vec[i],
                                            .msg_iovlen = 1};
    }
    return u;
}

void udp_close(struct udp *u) {
    if (u == NULL)
        return;
    close(u->fd);
    free(u);
}

int udp_fd(const struct udp *u) {
    return u->fd;
}

const uint64_t *udp_counters(const struct udp *u) {
    return u->counters;
}

void udp_flush(struct udp *u) {
    uint32_t next = 0;
    while (next < u->waiting) {
        int sent = sendmmsg(u->fd, u->out + next, u->waiting - next, MSG_DONTWAIT);
        if (sent > 0) {
            u->counters[UDP_OUT] += (uint32_t)sent;
            next += (uint32_t)sent;
        } else if (errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS) {
            u->counters[UDP_DROP_SEND_FULL] += u->waiting - next;
            break;
        } else if (errno != EINTR) { // this destination; the next may be better
            u->counters[UDP_DROP_SEND_ERROR]++;
            next++;
        }
    }
    u->waiting = 0;
}

void udp_send(struct udp *u, const struct group_endpoint *to, const uint8_t *data, size_t len) {
    assert(len <= DATAGRAM_MAX_BYTES);
    uint32_t i = u->waiting++;
    u->to[i] = (struct sockaddr_in){
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(to->addr), .sin_port = htons(to->port)};
    memcpy(u->out_data[i], data, len);
    u->out_vec[i] = (struct iovec){u->out_data[i], len};
    if (u->waiting == UDP_BATCH)
        udp_flush(u);
}

void udp_receive(struct udp *u, udp_input_fn *input, void *ctx) {
    for (uint32_t batch = 0; batch < UDP_BATCHES_PER_EVENT; batch++) {
        int count = recvmmsg(u->fd, u->in, UDP_BATCH, MSG_DONTWAIT, NULL);
        if (count < 0) {
            if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)
                u->counters[UDP_RECEIVE_ERRORS]++;
            return;
        }
        u->counters[UDP_IN] += (uint32_t)count;
        for (int i = 0; i < count; i++) {
            if (u->in[i].msg_len > DATAGRAM_MAX_BYTES)
                u->counters[UDP_DROP_TOO_LONG]++;
            else
                input(ctx, u->in_data[i], u->in[i].msg_len);
        }
        if ((uint32_t)count < UDP_BATCH)
            return;
    }
}
