/* SPDX-License-Identifier: BSD-3-Clause */
/* Segments that leave: RFC 9293 3.8.6 (windows, silly window avoidance), 3.10.2 (SEND). */
#include "tcp/bytes.h"
#include "tcp/checksum.h"
#include "tcp/tcp_internal.h"

#define CHALLENGES_PER_EPOCH                                                                       \
    10u // RFC 5961 7, per connection: a global count would be a side channel
#define CHALLENGE_EPOCH_US 5000000u

struct tcp_fields {
    uint32_t local_addr, remote_addr;
    uint16_t local_port, remote_port;
    uint32_t seq, ack;
    uint16_t window;
    uint8_t flags;
    uint8_t option_bytes;
    uint16_t payload_bytes;
};

static uint16_t segment_checksum(const struct tcp_fields *f, uint16_t len, uint16_t offset_flags,
                                 const uint8_t *text) {
    uint64_t pseudo =
        fields_u32(f->local_addr) + fields_u32(f->remote_addr) + IP_PROTOCOL_TCP + len;
    uint64_t header = (uint64_t)f->local_port + f->remote_port + fields_u32(f->seq) +
                      fields_u32(f->ack) + offset_flags + f->window;
    uint64_t rest = checksum_add(0, text, (size_t)f->option_bytes + f->payload_bytes);
    return checksum_finish_fields(pseudo + header + checksum_of_fields(rest));
}

/* Writes the headers before options and payload, which are in place, and sends the frame. */
static void emit(struct tcp_stack *s, struct tx *tx, const struct tcp_fields *f) {
    uint8_t *ip = tx->data + ETHER_HEADER_BYTES;
    uint8_t *p = ip + IP_HEADER_BYTES;
    uint16_t len = (uint16_t)(TCP_HEADER_BYTES + f->option_bytes + f->payload_bytes);
    uint16_t offset_flags = (uint16_t)((TCP_HEADER_BYTES + f->option_bytes) / 4 << 12 | f->flags);
    ip_write_header(s, ip, f->local_addr, f->remote_addr, IP_PROTOCOL_TCP, len, true);
    store_be16(p, f->local_port);
    store_be16(p + 2, f->remote_port);
    store_be32(p + 4, f->seq);
    store_be32(p + 8, f->ack);
    store_be16(p + 12, offset_flags);
    store_be16(p + 14, f->window);
    store_be16(p + 16, segment_checksum(f, len, offset_flags, p + TCP_HEADER_BYTES));
    store_be16(p + 18, 0); // urgent pointer
    count(s, TCP_SEGMENTS_OUT);
    tx_finish(s, tx, (uint16_t)(ETHER_HEADER_BYTES + IP_HEADER_BYTES + len));
}

/* A segment of the connection; everything but a first SYN acknowledges. */
static void emit_conn(struct tcp_conn *c, struct tx *tx, uint32_t seq, uint8_t flags,
                      uint8_t option_bytes, uint16_t payload_bytes) {
    bool syn = (flags & TCP_SYN) != 0;
    struct tcp_fields f = {
        .local_addr = c->local_addr,
        .remote_addr = c->remote_addr,
        .local_port = c->local_port,
        .remote_port = c->remote_port,
        .seq = seq,
        .ack = (flags & TCP_ACK) != 0 ? c->rcv_nxt : 0,
        .window = receive_window_field(c, syn ? 0 : c->rcv_scale),
        .flags = flags,
        .option_bytes = option_bytes,
        .payload_bytes = payload_bytes,
    };
    emit(c->stack, tx, &f);
}

static enum tx_result begin(struct tcp_conn *c, struct tx *tx) {
    return tx_begin(c->stack, c->ifindex, c->next_hop, &c->neighbour, tx);
}

static void note_acked(struct tcp_conn *c) {
    c->rcv_acked = c->rcv_nxt;
    c->flags &= ~(uint32_t)(CONN_ACK_DUE | CONN_ACK_NOW);
    conn_disarm(c, DEADLINE_DELAYED_ACK);
}

/* The sequence number of segments without data: a probe's byte beyond a closed window does not
 * count. */
static uint32_t bare_seq(const struct tcp_conn *c) {
    return (c->flags & CONN_PERSIST) != 0 ? c->snd_nxt : c->snd_max;
}

void tcp_send_syn(struct tcp_conn *c) {
    struct tcp_stack *s = c->stack;
    struct tx tx;
    bool first = c->state == TCP_STATE_SYN_SENT;
    if (begin(c, &tx) != TX_READY)
        return; // the timer tries again
    struct tcp_options o = {
        .mss = (uint16_t)(s->ifaces[c->ifindex].cfg.mtu_bytes - IP_HEADER_BYTES - TCP_HEADER_BYTES),
        .has_scale = first || (c->flags & CONN_SCALES) != 0,
        .scale = s->recv_scale,
        .sack_permitted = first || (c->flags & CONN_SACK) != 0,
        .has_timestamps = first ? s->limits.timestamps : (c->flags & CONN_TIMESTAMPS) != 0,
        .ts_value = timestamp_clock(s) + c->ts_offset,
        .ts_echo = c->ts_recent,
    };
    size_t option_bytes = tcp_options_write_syn(tx.data + TCP_PAYLOAD_OFFSET, &o);
    emit_conn(c, &tx, c->snd_una, first ? TCP_SYN : TCP_SYN | TCP_ACK, (uint8_t)option_bytes, 0);
}

void tcp_send_ack(struct tcp_conn *c) {
    struct tx tx;
    enum tx_result r = begin(c, &tx);
    if (r == TX_NO_FRAME) {
        c->flags |= CONN_ACK_DUE | CONN_ACK_NOW;
        conn_list_output(c);
        return;
    }
    if (r == TX_READY) {
        size_t n = tcp_options_write(c, tx.data + TCP_PAYLOAD_OFFSET, TCP_OPTION_BYTES_MAX);
        emit_conn(c, &tx, bare_seq(c), TCP_ACK, (uint8_t)n, 0);
    }
    note_acked(c);
}

void tcp_challenge_ack(struct tcp_conn *c) {
    uint32_t epoch = (uint32_t)(c->stack->now_us / CHALLENGE_EPOCH_US);
    if (c->challenge_epoch != epoch) {
        c->challenge_epoch = epoch;
        c->challenges = 0;
    }
    if (c->challenges == CHALLENGES_PER_EPOCH)
        return;
    c->challenges++;
    count(c->stack, TCP_CHALLENGE_ACKS);
    tcp_send_ack(c);
}

void tcp_send_reset(struct tcp_conn *c) {
    struct tx tx;
    if (begin(c, &tx) != TX_READY)
        return;
    count(c->stack, TCP_RESETS_OUT);
    emit_conn(c, &tx, bare_seq(c), TCP_RST | TCP_ACK, 0, 0);
}

void tcp_send_bare(struct tcp_stack *s, const struct segment *to, uint32_t seq, uint32_t ack,
                   uint8_t flags, uint16_t window, const uint8_t *options, size_t option_bytes) {
    struct route route;
    struct tx tx;
    if (!ip_route(s, to->ifindex, to->remote_addr, &route)) {
        count(s, TCP_DROP_NO_ROUTE);
        return;
    }
    if (tx_begin(s, route.ifindex, route.next_hop, NULL, &tx) != TX_READY)
        return;
    struct tcp_fields f = {
        .local_addr = to->local_addr,
        .remote_addr = to->remote_addr,
        .local_port = to->local_port,
        .remote_port = to->remote_port,
        .seq = seq,
        .ack = ack,
        .window = window,
        .flags = flags,
        .option_bytes = (uint8_t)option_bytes,
    };
    if (option_bytes > 0)
        memcpy(tx.data + TCP_PAYLOAD_OFFSET, options, option_bytes);
    emit(s, &tx, &f);
}

void tcp_reset_segment(struct tcp_stack *s, const struct segment *seg) {
    if ((seg->flags & TCP_RST) != 0)
        return;
    count(s, TCP_RESETS_OUT);
    if ((seg->flags & TCP_ACK) != 0)
        tcp_send_bare(s, seg, seg->ack, 0, TCP_RST, 0, NULL, 0);
    else
        tcp_send_bare(s, seg, 0, seg->seq + segment_span(seg), TCP_RST | TCP_ACK, 0, NULL, 0);
}

/* ---- data ---- */

/* Sends len bytes from the cursor on, which moves, and the flags. */
static enum tx_result send_data(struct tcp_conn *c, uint32_t seq, uint32_t len, uint8_t flags,
                                struct send_cursor *at) {
    struct tx tx;
    enum tx_result r = begin(c, &tx);
    if (r == TX_NO_FRAME)
        return r;
    if (r == TX_READY) {
        uint8_t *options = tx.data + TCP_PAYLOAD_OFFSET;
        size_t n = tcp_options_write(c, options, c->mss - min_u32(len, c->mss));
        sendq_read(&c->sendq, at, options + n, len);
        emit_conn(c, &tx, seq, flags | TCP_ACK, (uint8_t)n, (uint16_t)len);
    } else {
        sendq_read(&c->sendq, at, NULL, len);
    }
    c->sent_at_us = (uint32_t)c->stack->now_us;
    note_acked(c);
    return r;
}

/* Books what was sent from snd_nxt on. */
static void note_sent(struct tcp_conn *c, uint32_t span) {
    uint32_t end = c->snd_nxt + span;
    if (seq_lt(c->snd_nxt, c->snd_max))
        count(c->stack, TCP_RETRANSMITS);
    else if ((c->flags & CONN_TIMING) == 0)
        rtt_start(c, c->snd_nxt);
    if (c->board != NULL)
        board_note_sent(c, c->snd_nxt, end);
    c->snd_nxt = end;
    if (seq_gt(end, c->snd_max))
        c->snd_max = end;
}

static uint32_t left_of(uint32_t window, uint32_t in_flight) {
    return window > in_flight ? window - in_flight : 0;
}

static uint8_t data_flags(uint32_t len, bool last, bool fin) {
    return (uint8_t)((last && len > 0 ? TCP_PSH : 0) | (fin ? TCP_FIN : 0));
}

static bool fin_unsent(const struct tcp_conn *c) {
    return (c->flags & (CONN_FIN_QUEUED | CONN_FIN_ACKED)) == CONN_FIN_QUEUED &&
           seq_leq(c->snd_nxt, conn_queue_end(c));
}

/* What may leave next; false: nothing. The rules of RFC 9293 3.8.6.2.1 without Nagle. */
static bool next_segment(const struct tcp_conn *c, uint32_t *len, bool *fin) {
    uint32_t in_flight = c->snd_nxt - c->snd_una;
    if (in_flight > c->sendq.len) // the FIN is out
        return false;
    uint32_t unsent = c->sendq.len - in_flight;
    uint32_t window = left_of(c->snd_wnd, in_flight);
    uint32_t pipe = c->board != NULL ? board_of(c)->pipe : in_flight;
    uint32_t usable = min_u32(window, left_of(congestion_window(c), pipe));
    uint32_t n = min_u32(min_u32(unsent, c->mss), usable);
    *len = n;
    *fin = n == unsent && window > n && fin_unsent(c);
    if (n == 0)
        return unsent == 0 && *fin;
    if (n == unsent || n == c->mss)
        return true;
    // Less than a segment because of a window: only when the peer can hardly ever offer more.
    return n == window && n >= c->max_wnd / 2;
}

static void set_send_timer(struct tcp_conn *c) {
    uint64_t now = c->stack->now_us;
    if (c->snd_nxt != c->snd_una) {
        bool persisted = (c->flags & CONN_PERSIST) != 0;
        if (persisted) {
            c->flags &= ~(uint32_t)CONN_PERSIST;
            c->retries = c->backoff = 0;
        }
        if (persisted || c->deadlines_us[DEADLINE_RETRANSMIT] == NEVER)
            conn_arm(c, DEADLINE_RETRANSMIT, now + conn_rto_us(c));
    } else if (c->sendq.len > 0 || fin_unsent(c)) {
        // Nothing is on its way that could bring the news of an open window.
        if (c->deadlines_us[DEADLINE_RETRANSMIT] != NEVER)
            return;
        c->flags |= CONN_PERSIST;
        conn_arm(c, DEADLINE_RETRANSMIT, now + conn_rto_us(c));
    }
}

/* False: there is no frame. */
static bool send_next(struct tcp_conn *c, uint32_t len, bool fin) {
    bool last = c->snd_nxt + len == conn_queue_end(c);
    uint8_t flags = data_flags(len, last, fin);
    if (send_data(c, c->snd_nxt, len, flags, &c->sendq.next) == TX_NO_FRAME) {
        conn_list_output(c);
        return false;
    }
    note_sent(c, len + fin);
    return true;
}

/* Sends [seq, seq + span) of what was sent before once more; span may end with the FIN. */
static bool resend(struct tcp_conn *c, uint32_t seq, uint32_t span) {
    struct send_cursor at = {0};
    uint32_t len = min_u32(span, conn_queue_end(c) - seq);
    bool last = seq + len == conn_queue_end(c);
    sendq_read(&c->sendq, &at, NULL, seq - c->snd_una);
    c->flags &= ~(uint32_t)CONN_TIMING;
    if (send_data(c, seq, len, data_flags(len, last, span > len), &at) == TX_NO_FRAME) {
        conn_list_output(c);
        return false;
    }
    count(c->stack, TCP_RETRANSMITS);
    return true;
}

/* What the scoreboard says is lost, as far as the window allows (RFC 6675 5, NextSeg rule 1);
 * false: nothing new may follow. */
static bool resend_lost(struct tcp_conn *c) {
    struct scoreboard *b = board_of(c);
    for (uint32_t i = 0; i < b->count; i++) {
        const struct sent_range *r = &b->ranges[i];
        if ((r->flags & RANGE_LOST) == 0)
            continue;
        // The FIN is a number, but no byte of the segment.
        uint32_t span = r->end - r->start;
        if (span > c->mss && !(span == c->mss + 1u && r->end == conn_queue_end(c) + 1))
            span = c->mss;
        if (b->pipe > 0 && b->pipe + span > c->cwnd)
            return false;
        if (!resend(c, r->start, span) || !board_note_resent(c, i, span))
            return false;
    }
    return true;
}

static void send_new(struct tcp_conn *c) {
    uint32_t len;
    bool fin;
    congestion_before_send(c);
    bool may = c->board == NULL || resend_lost(c);
    uint32_t before = c->snd_max;
    while (may && next_segment(c, &len, &fin))
        may = send_next(c, len, fin);
    set_send_timer(c);
    if (c->snd_max != before)
        probe_arm(c);
}

bool tcp_send_tail(struct tcp_conn *c) {
    uint32_t in_flight = c->snd_nxt - c->snd_una, unsent = conn_queue_end(c) - c->snd_nxt;
    uint32_t len = min_u32(unsent, c->mss);
    if (in_flight <= c->sendq.len && len > 0 && left_of(c->snd_wnd, in_flight) >= len) {
        c->flags &= ~(uint32_t)CONN_PROBE_REPEATED;
        return send_next(c, len, false);
    }
    c->flags |= CONN_PROBE_REPEATED;
    uint32_t span = min_u32(c->snd_max - c->snd_una, c->mss);
    return resend(c, c->snd_max - span, span);
}

void tcp_output_to_end(struct tcp_conn *c) {
    uint32_t to = min_u32(c->snd_max - c->snd_una, c->sendq.len);
    uint32_t from = min_u32(c->snd_nxt - c->snd_una, c->sendq.len);
    sendq_read(&c->sendq, &c->sendq.next, NULL, to - from);
    c->snd_nxt = c->snd_max;
}

void tcp_output(struct tcp_conn *c) {
    if (c->state < TCP_STATE_ESTABLISHED)
        return;
    if (c->sendq.len > 0 || fin_unsent(c) || c->board != NULL)
        send_new(c);
    if ((c->flags & CONN_ACK_NOW) != 0)
        tcp_send_ack(c);
    else if ((c->flags & CONN_ACK_DUE) != 0 && c->deadlines_us[DEADLINE_DELAYED_ACK] == NEVER)
        conn_arm(c, DEADLINE_DELAYED_ACK, c->stack->now_us + c->stack->limits.delayed_ack_us);
}

void tcp_retransmit_head(struct tcp_conn *c) {
    struct send_cursor at = {0};
    uint32_t sent = c->snd_max - c->snd_una;
    uint32_t len = min_u32(min_u32(c->sendq.len, c->mss), sent);
    bool last = len == c->sendq.len;
    bool fin = last && (c->flags & CONN_FIN_QUEUED) != 0 && sent > len;
    if (len == 0 && !fin)
        return;
    c->flags &= ~(uint32_t)CONN_TIMING;
    if (send_data(c, c->snd_una, len, data_flags(len, last, fin), &at) == TX_NO_FRAME) {
        conn_list_output(c);
        return;
    }
    count(c->stack, TCP_RETRANSMITS);
    if (c->snd_nxt == c->snd_una) { // after a time-out: output goes on from here
        c->snd_nxt += len + fin;
        c->sendq.next = at;
    }
}

void tcp_resend_all(struct tcp_conn *c) {
    c->flags &= ~(uint32_t)CONN_TIMING;
    if (c->board != NULL) {
        board_mark_all_lost(c);
        conn_list_output(c);
        return;
    }
    c->snd_nxt = c->snd_una;
    c->sendq.next = (struct send_cursor){0};
    conn_list_output(c);
}

/* RFC 9293 3.8.6.1; or, with a window too small to be worth a segment, the override of 3.8.6.2.1.
 */
void tcp_send_probe(struct tcp_conn *c) {
    struct send_cursor at = {0};
    uint32_t len = min_u32(min_u32(c->sendq.len, c->mss), max_u32(c->snd_wnd, 1));
    bool last = len == c->sendq.len;
    bool fin = len == 0 && fin_unsent(c);
    assert(c->snd_nxt == c->snd_una);
    if (send_data(c, c->snd_una, len, data_flags(len, last, fin), &at) == TX_NO_FRAME)
        return;
    if (c->snd_wnd > 0 && len > 0) {
        c->sendq.next = at;
        note_sent(c, len);
        c->flags &= ~(uint32_t)CONN_PERSIST;
        return;
    }
    uint32_t end = c->snd_una + len + fin;
    if (seq_gt(end, c->snd_max))
        c->snd_max = end;
}
