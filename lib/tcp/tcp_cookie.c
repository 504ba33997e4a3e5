/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * SYN cookies (RFC 4987 3.6): under a flood the handshake is remembered by the peer. Our initial
 * sequence number is a keyed hash with the MSS in its low bits; window scale and SACK are in the
 * low bits of our timestamp, which the peer echoes.
 */
#include "tcp/tcp_internal.h"

#define EPOCH_SHIFT 26u // 67 s; a cookie is good in its epoch and the next one
#define MSS_BITS 3u
#define MSS_MASK ((1u << MSS_BITS) - 1)
#define OPTION_BITS_MASK 31u
#define BITS_SCALE 15u // the value 15: no window scale
#define BITS_SACK 16u
#define BITS_NO_TIMESTAMPS 32u

static const uint16_t mss_values[1u << MSS_BITS] = {88, 536, 1024, 1220, 1360, 1400, 1440, 1460};

static uint32_t cookie(const struct tcp_stack *s, const struct segment *seg, uint32_t peer_isn,
                       uint32_t mss_index, uint32_t bits, uint64_t epoch) {
    uint64_t words[4] = {
        (uint64_t)seg->remote_addr << 32 | seg->local_addr,
        (uint64_t)seg->remote_port << 16 | seg->local_port,
        (uint64_t)peer_isn << 32 | mss_index << 8 | bits,
        epoch,
    };
    return ((uint32_t)siphash(&s->cookie_key, words, 4, 2, 4) & ~MSS_MASK) | mss_index;
}

static uint32_t mss_index_for(uint16_t mss) {
    uint32_t i = MSS_MASK;
    while (i > 0 && mss_values[i] > (mss == 0 ? 536 : mss))
        i--;
    return i;
}

/* The latest moment that our clock has shown whose low bits are these. */
static uint32_t clock_with_bits(uint32_t clock, uint32_t bits) {
    uint32_t value = (clock & ~OPTION_BITS_MASK) | bits;
    return seq_gt(value, clock) ? value - (OPTION_BITS_MASK + 1) : value;
}

static uint16_t syn_window(const struct tcp_stack *s) {
    return (uint16_t)min_u32(s->limits.recv_window_bytes, UINT16_MAX);
}

void cookie_send(struct tcp_stack *s, const struct segment *seg, const struct tcp_options *o) {
    uint8_t options[TCP_OPTION_BYTES_MAX];
    uint32_t bits = BITS_NO_TIMESTAMPS, index = mss_index_for(o->mss);
    struct tcp_options own = {.mss = (uint16_t)(s->ifaces[seg->ifindex].cfg.mtu_bytes -
                                                IP_HEADER_BYTES - TCP_HEADER_BYTES)};
    if (o->has_timestamps && s->limits.timestamps) {
        bits = (o->has_scale ? o->scale : BITS_SCALE) | (o->sack_permitted ? BITS_SACK : 0);
        uint32_t offset = timestamp_offset(s, seg->local_addr, seg->local_port, seg->remote_addr,
                                           seg->remote_port);
        own.has_timestamps = true;
        own.ts_value = clock_with_bits(timestamp_clock(s) + offset, bits);
        own.ts_echo = o->ts_value;
        own.has_scale = o->has_scale;
        own.scale = s->recv_scale;
        own.sack_permitted = o->sack_permitted;
    }
    uint32_t isn = cookie(s, seg, seg->seq, index, bits, s->now_us >> EPOCH_SHIFT);
    count(s, TCP_SYN_COOKIES_SENT);
    s->cookies_until_us = s->now_us + (UINT64_C(2) << EPOCH_SHIFT);
    tcp_send_bare(s, seg, isn, seg->seq + 1, TCP_SYN | TCP_ACK, syn_window(s), options,
                  tcp_options_write_syn(options, &own));
}

/* What the SYN had asked for, as far as the cookie remembers; false: it is none of ours. */
static bool cookie_check(const struct tcp_stack *s, const struct segment *seg,
                         struct tcp_options *asked) {
    struct tcp_options o;
    uint32_t isn = seg->ack - 1, index = isn & MSS_MASK, bits = BITS_NO_TIMESTAMPS;
    uint64_t epoch = s->now_us >> EPOCH_SHIFT;
    if (!tcp_options_parse(seg->options, seg->option_bytes, &o))
        return false;
    if (o.has_timestamps && s->limits.timestamps)
        bits = o.ts_echo & OPTION_BITS_MASK;
    if (cookie(s, seg, seg->seq - 1, index, bits, epoch) != isn &&
        (epoch == 0 || cookie(s, seg, seg->seq - 1, index, bits, epoch - 1) != isn))
        return false;
    *asked = (struct tcp_options){.mss = mss_values[index]};
    if (bits != BITS_NO_TIMESTAMPS) {
        asked->has_timestamps = true;
        asked->ts_value = o.ts_value;
        asked->sack_permitted = (bits & BITS_SACK) != 0;
        asked->has_scale = (bits & BITS_SCALE) != BITS_SCALE;
        asked->scale = asked->has_scale ? (uint8_t)(bits & BITS_SCALE) : 0;
    }
    return true;
}

/* The state that begin_handshake would have made, after our SYN-ACK. */
static void resume_handshake(struct tcp_conn *c, const struct segment *seg,
                             const struct tcp_options *asked) {
    struct tcp_stack *s = c->stack;
    c->state = TCP_STATE_SYN_RECEIVED;
    s->half_open++;
    tcp_options_apply(c, asked);
    c->snd_una = seg->ack - 1;
    c->snd_nxt = c->snd_max = seg->ack;
    c->rcv_nxt = c->rcv_acked = seg->seq;
    c->rcv_adv = seg->seq + syn_window(s);
    c->snd_wl1 = seg->seq - 1;
}

bool cookie_input(struct tcp_stack *s, int listener, const struct segment *seg) {
    struct tcp_options asked;
    struct route route;
    if ((seg->flags & (TCP_SYN | TCP_ACK | TCP_RST)) != TCP_ACK || s->now_us > s->cookies_until_us)
        return false;
    if (!cookie_check(s, seg, &asked)) {
        count(s, TCP_DROP_TCP_SYN_COOKIE);
        return false;
    }
    if (!ip_route(s, seg->ifindex, seg->remote_addr, &route)) {
        count(s, TCP_DROP_NO_ROUTE);
        return true;
    }
    struct tcp_conn *c = conn_new(s, route.ifindex, route.next_hop, seg->local_addr,
                                  seg->local_port, seg->remote_addr, seg->remote_port);
    if (c == NULL) { // the peer's data comes again
        count(s, TCP_DROP_TCP_CONN_LIMIT);
        return true;
    }
    count(s, TCP_SYN_COOKIES_ACCEPTED);
    c->listener = (uint8_t)listener;
    resume_handshake(c, seg, &asked);
    struct segment first = *seg;
    conn_segment(c, &first);
    return true;
}
