/* SPDX-License-Identifier: BSD-3-Clause */
#include "tcp/bytes.h"
#include "tcp/checksum.h"
#include "tcp/tcp_internal.h"

#define IP_VERSION_AND_LENGTH 0x4500u // version 4, five words, no type of service
#define IP_TTL 64u
#define IP_DONT_FRAGMENT 0x4000u
#define IP_FRAGMENT_MASK 0x3fffu // more fragments, and the offset

bool ip_is_unicast(uint32_t addr) {
    uint8_t first = (uint8_t)(addr >> 24);
    return first != 0 && first != 127 && first < 224;
}

bool ip_route(const struct tcp_stack *s, unsigned int ifindex, uint32_t dst, struct route *route) {
    const struct stack_interface *i = &s->ifaces[ifindex];
    route->ifindex = ifindex;
    route->next_hop = ((dst ^ i->cfg.addr) & i->mask) == 0 ? dst : i->cfg.gateway;
    return route->next_hop != 0;
}

static uint32_t pin_bit(uint32_t addr) {
    return addr * 0x9e3779b1u >> 26;
}

bool tcp_stack_pin_source(struct tcp_stack *s, uint32_t addr, unsigned int ifindex) {
    for (uint32_t i = 0; i < s->pinned_source_count; i++)
        if (s->pinned_sources[i].addr == addr) {
            s->pinned_sources[i].ifindex = ifindex;
            return true;
        }
    if (s->pinned_source_count == PINNED_SOURCES_MAX)
        return false;
    s->pinned_sources[s->pinned_source_count].addr = addr;
    s->pinned_sources[s->pinned_source_count++].ifindex = ifindex;
    s->pinned_source_filter |= UINT64_C(1) << pin_bit(addr);
    return true;
}

static bool source_pinned_elsewhere(const struct tcp_stack *s, unsigned int ifindex, uint32_t src) {
    if ((s->pinned_source_filter >> pin_bit(src) & 1) == 0)
        return false;
    for (uint32_t i = 0; i < s->pinned_source_count; i++)
        if (s->pinned_sources[i].addr == src)
            return s->pinned_sources[i].ifindex != ifindex;
    return false;
}

/* A source that no honest frame on this interface carries. */
static bool source_is_spoofed(const struct tcp_stack *s, unsigned int ifindex, uint32_t src) {
    const struct stack_interface *i = &s->ifaces[ifindex];
    bool broadcast = i->cfg.prefix_len < 31 && src == (i->cfg.addr | ~i->mask);
    return !ip_is_unicast(src) || broadcast || iface_of_addr(s, src) >= 0 ||
           source_pinned_elsewhere(s, ifindex, src);
}

void ip_input(struct tcp_stack *s, unsigned int ifindex, const uint8_t *p, size_t len) {
    if (len < IP_HEADER_BYTES) {
        count(s, TCP_DROP_SHORT);
        return;
    }
    size_t header = (size_t)(p[0] & 0x0f) * 4;
    size_t total = load_be16(p + 2); // what lies behind is padding of the link
    if (p[0] >> 4 != 4 || header < IP_HEADER_BYTES || total < header || total > len) {
        count(s, TCP_DROP_IP_HEADER);
        return;
    }
    uint32_t src = load_be32(p + 12), dst = load_be32(p + 16);
    if (checksum_finish(checksum_add(0, p, header)) != 0)
        count(s, TCP_DROP_IP_CHECKSUM);
    else if (!iface_owns(s, ifindex, dst))
        count(s, TCP_DROP_NOT_FOR_US);
    else if (source_is_spoofed(s, ifindex, src))
        count(s, TCP_DROP_SOURCE_SPOOFED);
    else if ((load_be16(p + 6) & IP_FRAGMENT_MASK) != 0)
        count(s, TCP_DROP_IP_FRAGMENT);
    else if (p[9] == IP_PROTOCOL_TCP)
        tcp_input(s, ifindex, src, dst, p + header, total - header);
    else if (p[9] == IP_PROTOCOL_UDP)
        udp_input(s, ifindex, src, dst, p + header, total - header);
    else if (p[9] == IP_PROTOCOL_ICMP)
        icmp_input(s, ifindex, src, dst, p + header, total - header);
    else
        count(s, TCP_DROP_IP_PROTOCOL);
}

void ip_write_header(struct tcp_stack *s, uint8_t *p, uint32_t src, uint32_t dst, uint8_t protocol,
                     uint16_t payload_bytes, bool dont_fragment) {
    uint16_t total = (uint16_t)(IP_HEADER_BYTES + payload_bytes);
    // The identification means nothing in a datagram that cannot be fragmented (RFC 6864 4.1).
    uint16_t id = dont_fragment ? 0 : s->ip_id++;
    uint16_t fragment = dont_fragment ? IP_DONT_FRAGMENT : 0;
    uint16_t ttl_protocol = (uint16_t)(IP_TTL << 8 | protocol);
    uint64_t sum = (uint64_t)IP_VERSION_AND_LENGTH + total + id + fragment + ttl_protocol +
                   fields_u32(src) + fields_u32(dst);
    store_be16(p, IP_VERSION_AND_LENGTH);
    store_be16(p + 2, total);
    store_be16(p + 4, id);
    store_be16(p + 6, fragment);
    store_be16(p + 8, ttl_protocol);
    store_be16(p + 10, checksum_finish_fields(sum));
    store_be32(p + 12, src);
    store_be32(p + 16, dst);
}
