/* SPDX-License-Identifier: BSD-3-Clause */
/* ICMP (RFC 792): echo for our addresses. */
#include "tcp/bytes.h"
#include "tcp/checksum.h"
#include "tcp/tcp_internal.h"

#define ICMP_HEADER_BYTES 8u
#define ICMP_ECHO_REPLY 0u
#define ICMP_ECHO_REQUEST 8u

static void send_echo_reply(struct tcp_stack *s, unsigned int ifindex, uint32_t src, uint32_t dst,
                            const uint8_t *p, size_t len) {
    struct route route;
    struct tx tx;
    if (!ip_route(s, ifindex, src, &route)) {
        count(s, TCP_DROP_NO_ROUTE);
        return;
    }
    if (tx_begin(s, route.ifindex, route.next_hop, NULL, &tx) != TX_READY)
        return;
    uint8_t *icmp = tx.data + ETHER_HEADER_BYTES + IP_HEADER_BYTES;
    ip_write_header(s, tx.data + ETHER_HEADER_BYTES, dst, src, IP_PROTOCOL_ICMP, (uint16_t)len,
                    false);
    memcpy(icmp, p, len);
    icmp[0] = ICMP_ECHO_REPLY;
    store_be16(icmp + 2, 0);
    checksum_store(icmp + 2, checksum_finish(checksum_add(0, icmp, len)));
    tx_finish(s, &tx, (uint16_t)(ETHER_HEADER_BYTES + IP_HEADER_BYTES + len));
}

void icmp_input(struct tcp_stack *s, unsigned int ifindex, uint32_t src, uint32_t dst,
                const uint8_t *p, size_t len) {
    bool fits = len >= ICMP_HEADER_BYTES &&
                len <= TCP_FRAME_MAX_BYTES - ETHER_HEADER_BYTES - IP_HEADER_BYTES;
    if (!fits || checksum_finish(checksum_add(0, p, len)) != 0 || p[0] != ICMP_ECHO_REQUEST ||
        p[1] != 0) {
        count(s, TCP_DROP_ICMP);
        return;
    }
    count(s, TCP_ICMP_ECHO);
    send_echo_reply(s, ifindex, src, dst, p, len);
}
