/* SPDX-License-Identifier: BSD-3-Clause */
/* UDP (RFC 768). */
#include "tcp/bytes.h"
#include "tcp/checksum.h"
#include "tcp/tcp_internal.h"

void udp_input(struct tcp_stack *s, unsigned int ifindex, uint32_t src, uint32_t dst,
               const uint8_t *p, size_t len) {
    size_t udp_len = len < UDP_HEADER_BYTES ? 0 : load_be16(p + 4);
    if (udp_len < UDP_HEADER_BYTES || udp_len > len || s->env.udp_input == NULL) {
        count(s, TCP_DROP_UDP);
        return;
    }
    // A checksum of zero means that the sender made none.
    uint64_t sum = checksum_pseudo(src, dst, IP_PROTOCOL_UDP, (uint16_t)udp_len);
    if (load_be16(p + 6) != 0 && checksum_finish(checksum_add(sum, p, udp_len)) != 0) {
        count(s, TCP_DROP_UDP);
        return;
    }
    count(s, TCP_UDP_IN);
    s->env.udp_input(s->env.ctx, ifindex, src, load_be16(p), dst, load_be16(p + 2),
                     p + UDP_HEADER_BYTES, udp_len - UDP_HEADER_BYTES);
}

static void write_datagram(uint8_t *p, uint32_t src, uint16_t src_port, uint32_t dst,
                           uint16_t dst_port, const uint8_t *payload, size_t len) {
    uint16_t udp_len = (uint16_t)(UDP_HEADER_BYTES + len);
    store_be16(p, src_port);
    store_be16(p + 2, dst_port);
    store_be16(p + 4, udp_len);
    store_be16(p + 6, 0);
    if (len > 0)
        memcpy(p + UDP_HEADER_BYTES, payload, len);
    uint64_t sum = checksum_pseudo(src, dst, IP_PROTOCOL_UDP, udp_len);
    uint16_t checksum = checksum_finish(checksum_add(sum, p, udp_len));
    checksum_store(p + 6, checksum == 0 ? 0xffff : checksum);
}

bool tcp_udp_send(struct tcp_stack *s, uint32_t src, uint16_t src_port, uint32_t dst,
                  uint16_t dst_port, const uint8_t *payload, size_t len, uint64_t now_us) {
    struct route route;
    struct tx tx;
    int ifindex = iface_of_addr(s, src);
    assert(ifindex >= 0);
    stack_set_now(s, now_us);
    if (len > (size_t)s->ifaces[ifindex].cfg.mtu_bytes - IP_HEADER_BYTES - UDP_HEADER_BYTES) {
        count(s, TCP_DROP_UDP);
        return false;
    }
    if (!ip_is_unicast(dst) || !ip_route(s, (unsigned int)ifindex, dst, &route)) {
        count(s, TCP_DROP_NO_ROUTE);
        return false;
    }
    if (tx_begin(s, route.ifindex, route.next_hop, NULL, &tx) != TX_READY)
        return false;
    uint8_t *ip = tx.data + ETHER_HEADER_BYTES;
    uint16_t udp_len = (uint16_t)(UDP_HEADER_BYTES + len);
    ip_write_header(s, ip, src, dst, IP_PROTOCOL_UDP, udp_len, false);
    write_datagram(ip + IP_HEADER_BYTES, src, src_port, dst, dst_port, payload, len);
    tx_finish(s, &tx, (uint16_t)(ETHER_HEADER_BYTES + IP_HEADER_BYTES + udp_len));
    return true;
}
