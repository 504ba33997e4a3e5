/* SPDX-License-Identifier: BSD-3-Clause */
#include "tcp/bytes.h"
#include "tcp/tcp_internal.h"

static enum tcp_class classify_ipv4(const uint8_t *p, size_t len, struct tcp_tuple *tuple) {
    if (len < IP_HEADER_BYTES || p[0] >> 4 != 4)
        return TCP_CLASS_OTHER;
    size_t header = (size_t)(p[0] & 0x0f) * 4;
    uint8_t protocol = p[9];
    // A fragment, even the first, is nobody's: the ports of the others are missing.
    if (header < IP_HEADER_BYTES || len < header + 4 || (load_be16(p + 6) & 0x3fff) != 0)
        return TCP_CLASS_OTHER;
    if (protocol != IP_PROTOCOL_TCP && protocol != IP_PROTOCOL_UDP)
        return TCP_CLASS_OTHER;
    tuple->src = load_be32(p + 12);
    tuple->dst = load_be32(p + 16);
    tuple->src_port = load_be16(p + header);
    tuple->dst_port = load_be16(p + header + 2);
    return protocol == IP_PROTOCOL_TCP ? TCP_CLASS_TCP : TCP_CLASS_UDP;
}

enum tcp_class tcp_classify(const uint8_t *frame, size_t len, struct tcp_tuple *tuple) {
    *tuple = (struct tcp_tuple){0};
    if (len < ETHER_HEADER_BYTES)
        return TCP_CLASS_OTHER;
    switch (load_be16(frame + 12)) {
    case ETHERTYPE_ARP:
        return TCP_CLASS_ARP;
    case ETHERTYPE_IPV4:
        return classify_ipv4(frame + ETHER_HEADER_BYTES, len - ETHER_HEADER_BYTES, tuple);
    default:
        return TCP_CLASS_OTHER;
    }
}

/* Two rounds of multiply and fold; every input bit reaches every output bit. */
uint32_t tcp_tuple_hash(const struct tcp_tuple *t) {
    uint64_t h = (uint64_t)t->src << 32 | t->dst;
    h = (h ^ h >> 32) * UINT64_C(0x9e3779b97f4a7c15);
    h ^= (uint64_t)t->src_port << 16 | t->dst_port;
    h = (h ^ h >> 32) * UINT64_C(0xd6e8feb86659fd93);
    h = (h ^ h >> 32) * UINT64_C(0xd6e8feb86659fd93);
    return (uint32_t)(h ^ h >> 32);
}
