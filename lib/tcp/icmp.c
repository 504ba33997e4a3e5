/* SPDX-License-Identifier: BSD-3-Clause */
/* ICMP (RFC 792): echo for our addresses, and the path MTU (RFC 1191) of our connections. */
#include "tcp/bytes.h"
#include "tcp/checksum.h"
#include "tcp/tcp_internal.h"

#define ICMP_HEADER_BYTES 8u
#define ICMP_ECHO_REPLY 0u
#define ICMP_ECHO_REQUEST 8u
#define ICMP_UNREACHABLE 3u
#define ICMP_CODE_FRAGMENTATION_NEEDED 4u
#define PATH_MTU_LEAST 552u // below, only a forger would go

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

/* The connection whose segment is quoted; NULL when the quotation does not prove that its author
 * saw a segment that is in flight (RFC 5927 4.1). */
static struct tcp_conn *quoted_conn(const struct tcp_stack *s, uint32_t own_addr, const uint8_t *ip,
                                    size_t len) {
    size_t header = (size_t)(ip[0] & 0x0f) * 4;
    if (len < IP_HEADER_BYTES || ip[0] >> 4 != 4 || header < IP_HEADER_BYTES || len < header + 8 ||
        ip[9] != IP_PROTOCOL_TCP || load_be32(ip + 12) != own_addr)
        return NULL;
    struct segment sent = {.local_addr = own_addr,
                           .remote_addr = load_be32(ip + 16),
                           .local_port = load_be16(ip + header),
                           .remote_port = load_be16(ip + header + 2)};
    struct tcp_conn *c = conn_lookup(s, &sent);
    uint32_t seq = load_be32(ip + header + 4);
    if (c == NULL || c->state < TCP_STATE_ESTABLISHED || seq_lt(seq, c->snd_una) ||
        seq_geq(seq, c->snd_max))
        return NULL;
    return c;
}

static void unreachable(struct tcp_stack *s, uint32_t own_addr, const uint8_t *p, size_t len) {
    const uint8_t *quoted = p + ICMP_HEADER_BYTES;
    uint32_t mtu = load_be16(p + 6);
    struct tcp_conn *c = NULL;
    if (p[1] == ICMP_CODE_FRAGMENTATION_NEEDED && len > ICMP_HEADER_BYTES)
        c = quoted_conn(s, own_addr, quoted, len - ICMP_HEADER_BYTES);
    mtu = max_u32(mtu, PATH_MTU_LEAST);
    uint32_t headers = IP_HEADER_BYTES + TCP_HEADER_BYTES;
    if (c != NULL && (c->flags & CONN_TIMESTAMPS) != 0)
        headers += TIMESTAMP_BYTES;
    if (c == NULL || mtu - headers >= c->mss) {
        count(s, TCP_DROP_ICMP);
        return;
    }
    count(s, TCP_ICMP_TOO_BIG);
    c->mss = (uint16_t)(mtu - headers);
    tcp_resend_all(c);
}

static void echo_request(struct tcp_stack *s, unsigned int ifindex, uint32_t src, uint32_t dst,
                         const uint8_t *p, size_t len) {
    if (p[1] != 0 || len > TCP_FRAME_MAX_BYTES - ETHER_HEADER_BYTES - IP_HEADER_BYTES) {
        count(s, TCP_DROP_ICMP);
        return;
    }
    count(s, TCP_ICMP_ECHO);
    send_echo_reply(s, ifindex, src, dst, p, len);
}

void icmp_input(struct tcp_stack *s, unsigned int ifindex, uint32_t src, uint32_t dst,
                const uint8_t *p, size_t len) {
    if (len < ICMP_HEADER_BYTES || checksum_finish(checksum_add(0, p, len)) != 0)
        count(s, TCP_DROP_ICMP);
    else if (p[0] == ICMP_ECHO_REQUEST)
        echo_request(s, ifindex, src, dst, p, len);
    else if (p[0] == ICMP_UNREACHABLE)
        unreachable(s, dst, p, len);
    else
        count(s, TCP_DROP_ICMP);
}
