/* SPDX-License-Identifier: BSD-3-Clause */
/* Segments without a connection: LISTEN and CLOSED (RFC 9293 3.10.7.1, 3.10.7.2). */
#include "tcp/tcp_internal.h"

static int find_listener(const struct tcp_stack *s, const struct segment *seg) {
    for (uint32_t i = 0; i < s->listener_count; i++) {
        const struct tcp_listener *l = &s->listeners[i];
        if (l->port == seg->local_port && (l->addr == 0 || l->addr == seg->local_addr))
            return (int)i;
    }
    return -1;
}

static void begin_handshake(struct tcp_conn *c, const struct segment *seg,
                            const struct tcp_options *o, const uint32_t *min_isn) {
    struct tcp_stack *s = c->stack;
    uint32_t iss = isn_choose(s, c->local_addr, c->local_port, c->remote_addr, c->remote_port);
    if (min_isn != NULL && !seq_gt(iss, *min_isn))
        iss = *min_isn + 1 + UINT16_MAX;
    c->state = TCP_STATE_SYN_RECEIVED;
    s->half_open++;
    tcp_options_apply(c, o);
    c->snd_una = iss;
    c->snd_nxt = c->snd_max = iss + 1;
    c->rcv_nxt = c->rcv_adv = c->rcv_acked = seg->seq + 1;
    c->snd_wnd = c->max_wnd = seg->window; // never scaled in a SYN (RFC 7323 2.2)
    c->snd_wl1 = seg->seq;
    rtt_start(c, iss);
    tcp_send_syn(c);
    conn_arm(c, DEADLINE_RETRANSMIT, s->now_us + conn_rto_us(c));
}

static void listen_syn(struct tcp_stack *s, int listener, const struct segment *seg,
                       const uint32_t *min_isn) {
    struct tcp_options options;
    struct route route;
    if ((seg->flags & TCP_FIN) != 0 ||
        !tcp_options_parse(seg->options, seg->option_bytes, &options)) {
        count(s, TCP_DROP_TCP_HEADER);
        return;
    }
    if (!source_has_room(s, seg->remote_addr)) {
        count(s, TCP_DROP_TCP_SOURCE_LIMIT);
        return;
    }
    if (s->half_open >= s->limits.half_open_max) {
        if (s->limits.syn_cookies)
            cookie_send(s, seg, &options);
        else
            count(s, TCP_DROP_TCP_SYN_LIMIT);
        return;
    }
    if (!ip_route(s, seg->ifindex, seg->remote_addr, &route)) {
        count(s, TCP_DROP_NO_ROUTE);
        return;
    }
    struct tcp_conn *c = conn_new(s, route.ifindex, route.next_hop, seg->local_addr,
                                  seg->local_port, seg->remote_addr, seg->remote_port);
    if (c == NULL) {
        count(s, TCP_DROP_TCP_CONN_LIMIT);
        return;
    }
    c->listener = (uint8_t)listener;
    begin_handshake(c, seg, &options, min_isn);
}

void listen_input(struct tcp_stack *s, const struct segment *seg, const uint32_t *min_isn) {
    int listener = find_listener(s, seg);
    bool syn = (seg->flags & (TCP_SYN | TCP_ACK | TCP_RST)) == TCP_SYN;
    if (listener >= 0 && !syn && cookie_input(s, listener, seg))
        return;
    if (listener < 0 || !syn) {
        count(s, TCP_DROP_TCP_NO_CONN);
        // A segment for LISTEN that is neither SYN, ACK nor RST is only dropped (3.10.7.2, fourth).
        if (listener < 0 || (seg->flags & TCP_ACK) != 0)
            tcp_reset_segment(s, seg);
        return;
    }
    listen_syn(s, listener, seg, min_isn);
}

bool listen_accept(struct tcp_conn *c) {
    struct tcp_stack *s = c->stack;
    const struct tcp_listener *l = &s->listeners[c->listener];
    s->half_open--;
    count(s, TCP_CONNS_ACCEPTED);
    if (!source_has_room(s, c->remote_addr)) {
        count(s, TCP_DROP_TCP_SOURCE_LIMIT);
        conn_abort(c, TCP_CLOSED_ABORTED);
        return false;
    }
    source_add(c);
    const struct tcp_handlers *h = l->on_accept(l->ctx, c);
    if (c->state == TCP_STATE_CLOSED)
        return false;
    if (h == NULL) {
        conn_abort(c, TCP_CLOSED_ABORTED);
        return false;
    }
    c->handlers = h;
    return true;
}
