/* SPDX-License-Identifier: BSD-3-Clause */
#include "tcp/bytes.h"
#include "tcp/tcp_internal.h"

static const uint8_t broadcast_mac[TCP_MAC_BYTES] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

void ethernet_write_header(uint8_t *frame, const uint8_t dst[TCP_MAC_BYTES],
                           const uint8_t src[TCP_MAC_BYTES], uint16_t ethertype) {
    memcpy(frame, dst, TCP_MAC_BYTES);
    memcpy(frame + TCP_MAC_BYTES, src, TCP_MAC_BYTES);
    store_be16(frame + 12, ethertype);
}

static void ethernet_input(struct tcp_stack *s, unsigned int ifindex, const uint8_t *frame,
                           size_t len) {
    count(s, TCP_FRAMES_IN);
    if (len < ETHER_HEADER_BYTES) {
        count(s, TCP_DROP_SHORT);
        return;
    }
    uint16_t ethertype = load_be16(frame + 12);
    bool ours = memcmp(frame, s->ifaces[ifindex].cfg.mac, TCP_MAC_BYTES) == 0;
    bool broadcast = memcmp(frame, broadcast_mac, TCP_MAC_BYTES) == 0;
    if (ethertype != ETHERTYPE_IPV4 && ethertype != ETHERTYPE_ARP)
        count(s, TCP_DROP_ETHERTYPE);
    else if (ethertype == ETHERTYPE_ARP && (ours || broadcast))
        arp_input(s, ifindex, frame + ETHER_HEADER_BYTES, len - ETHER_HEADER_BYTES);
    else if (ethertype == ETHERTYPE_IPV4 && ours)
        // Nothing that we speak over IP may come by broadcast (RFC 1122 4.2.3.10).
        ip_input(s, ifindex, frame + ETHER_HEADER_BYTES, len - ETHER_HEADER_BYTES);
    else
        count(s, TCP_DROP_NOT_FOR_US);
}

void tcp_stack_input(struct tcp_stack *s, unsigned int ifindex, const uint8_t *frame, size_t len,
                     uint64_t now_us) {
    assert(ifindex < s->iface_count);
    stack_enter(s);
    stack_set_now(s, now_us);
    ethernet_input(s, ifindex, frame, len);
    stack_leave(s);
}

enum tx_result tx_begin(struct tcp_stack *s, unsigned int ifindex, uint32_t next_hop,
                        uint32_t *hint, struct tx *tx) {
    *tx = (struct tx){.ifindex = ifindex};
    if (s->dying)
        return TX_LOST;
    tx->neighbour = neighbour_resolve(s, ifindex, next_hop, hint);
    if (tx->neighbour == NULL)
        return TX_LOST;
    if (neighbour_usable(tx->neighbour)) {
        tx->frame = s->env.frame_get(s->env.ctx, &tx->data);
        if (tx->frame != NULL)
            return TX_READY;
        count(s, TCP_DROP_NO_FRAME);
        return TX_NO_FRAME;
    }
    if (neighbour_has_room(s, tx->neighbour))
        tx->held = buf_get(s->env.pool);
    if (tx->held == NULL) {
        count(s, TCP_DROP_NEIGH_QUEUE);
        return TX_LOST;
    }
    tx->data = tx->held->data;
    return TX_READY;
}

void tx_finish(struct tcp_stack *s, struct tx *tx, uint16_t len) {
    ethernet_write_header(tx->data, tx->neighbour->mac, s->ifaces[tx->ifindex].cfg.mac,
                          ETHERTYPE_IPV4);
    if (tx->held != NULL) {
        tx->held->len = len;
        neighbour_park(s, tx->neighbour, tx->held);
        return;
    }
    count(s, TCP_FRAMES_OUT);
    s->env.frame_send(s->env.ctx, tx->frame, tx->ifindex, len);
}
