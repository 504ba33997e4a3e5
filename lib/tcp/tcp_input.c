/* SPDX-License-Identifier: BSD-3-Clause */
/* Arriving segments: RFC 9293 3.10.7, with the blind-attack rules of RFC 5961. */
#include "tcp/bytes.h"
#include "tcp/checksum.h"
#include "tcp/tcp_internal.h"

#define TIMESTAMP_STALE (UINT32_C(24) * 86400) // units of 2^20 us

/* True when the headers are sound and the checksum is right; counts what it refuses. */
static bool parse_segment(struct tcp_stack *s, uint32_t src, uint32_t dst, const uint8_t *p,
                          size_t len, struct segment *seg) {
    if (len < TCP_HEADER_BYTES) {
        count(s, TCP_DROP_TCP_HEADER);
        return false;
    }
    size_t header = (size_t)(p[12] >> 4) * 4;
    if (header < TCP_HEADER_BYTES || header > len) {
        count(s, TCP_DROP_TCP_HEADER);
        return false;
    }
    uint64_t sum = checksum_pseudo(src, dst, IP_PROTOCOL_TCP, (uint16_t)len);
    if (checksum_finish(checksum_add(sum, p, len)) != 0) {
        count(s, TCP_DROP_TCP_CHECKSUM);
        return false;
    }
    seg->remote_addr = src;
    seg->local_addr = dst;
    seg->remote_port = load_be16(p);
    seg->local_port = load_be16(p + 2);
    seg->seq = load_be32(p + 4);
    seg->ack = load_be32(p + 8);
    seg->flags = p[13];
    seg->window = load_be16(p + 14);
    seg->options = p + TCP_HEADER_BYTES;
    seg->option_bytes = (uint8_t)(header - TCP_HEADER_BYTES);
    seg->payload = p + header;
    seg->len = (uint32_t)(len - header);
    if (seg->remote_port == 0 || seg->local_port == 0) {
        count(s, TCP_DROP_TCP_HEADER);
        return false;
    }
    return true;
}

/* ---- acknowledgements ---- */

static void update_window(struct tcp_conn *c, const struct segment *seg) {
    uint32_t window = (uint32_t)seg->window << c->snd_scale;
    if (!seq_lt(c->snd_wl1, seg->seq) && !(c->snd_wl1 == seg->seq && seq_leq(c->snd_wl2, seg->ack)))
        return;
    if (window > c->snd_wnd && (c->sendq.len > 0 || (c->flags & CONN_FIN_QUEUED) != 0))
        conn_list_output(c);
    c->snd_wnd = window;
    c->snd_wl1 = seg->seq;
    c->snd_wl2 = seg->ack;
    c->max_wnd = max_u32(c->max_wnd, window);
}

/* Our FIN is acknowledged: RFC 9293 3.10.7.4, fifth, the cases by state. */
static void fin_acked(struct tcp_conn *c) {
    c->flags |= CONN_FIN_ACKED;
    switch (c->state) {
    case TCP_STATE_FIN_WAIT_1:
        c->state = TCP_STATE_FIN_WAIT_2;
        conn_arm(c, DEADLINE_LIFE, c->stack->now_us + c->stack->limits.fin_wait_2_us);
        break;
    case TCP_STATE_CLOSING:
        c->state = TCP_STATE_TIME_WAIT;
        conn_finish_if_done(c);
        break;
    case TCP_STATE_LAST_ACK:
        conn_finish_if_done(c);
        break;
    default:
        assert(false);
    }
}

/* Tells the owner what an acknowledgement of data means for it. */
static void tell_progress(struct tcp_conn *c) {
    const struct tcp_handlers *h = c->handlers;
    bool writable =
        (c->flags & CONN_REFUSED) != 0 && c->sendq.len < c->stack->limits.send_queue_bytes / 2 + 1;
    if (writable) {
        c->flags &= ~(uint32_t)CONN_REFUSED;
        if (h->on_writable != NULL)
            h->on_writable(c, c->user);
    }
    if (c->state != TCP_STATE_CLOSED && c->sendq.len == 0 && h->on_sent != NULL)
        h->on_sent(c, c->user);
}

/* SND.UNA < SEG.ACK =< SND.NXT. */
static void new_ack(struct tcp_conn *c, const struct segment *seg) {
    uint32_t ack = seg->ack;
    struct tcp_stack *s = c->stack;
    uint32_t acked = ack - c->snd_una;
    uint32_t flight_before = c->snd_max - c->snd_una;
    uint32_t data = min_u32(acked, c->sendq.len);
    bool fin = acked > data;
    assert(!fin || (c->flags & CONN_FIN_QUEUED) != 0);
    bool repeated = c->retries > 0 || c->board != NULL || (c->flags & CONN_RECOVERY) != 0;
    if (repeated && seg->parsed.has_timestamps && (c->flags & CONN_TIMESTAMPS) != 0)
        rtt_on_echo(c, seg->parsed.ts_echo);
    rtt_on_ack(c, ack);
    c->retries = 0;
    c->snd_una = ack;
    if (seq_lt(c->snd_nxt, ack)) {
        c->snd_nxt = ack;
        c->sendq.next = (struct send_cursor){0};
    }
    if (data > 0)
        sendq_drop(&c->sendq, s->env.pool, &s->refs, data);
    if (c->state == TCP_STATE_CLOSED)
        return;
    if (c->snd_una == c->snd_max)
        conn_disarm(c, DEADLINE_RETRANSMIT);
    else // RFC 6298 (5.3)
        conn_arm(c, DEADLINE_RETRANSMIT, s->now_us + conn_rto_us(c));
    if ((c->flags & CONN_PERSIST) != 0) {
        c->flags &= ~(uint32_t)CONN_PERSIST;
        c->backoff = 0;
    }
    if ((c->flags & CONN_SACK) != 0)
        probe_on_ack(c, seg);
    bool selective = c->board != NULL || seg->parsed.sack_count > 0;
    if (!selective || !sack_on_ack(c, seg, acked, flight_before)) {
        enum recovery_ack recovery = congestion_recovery_ack(c, ack, acked);
        if (recovery == RECOVERY_NONE)
            congestion_on_ack(c, acked, flight_before);
        else if (recovery == RECOVERY_PARTIAL)
            tcp_retransmit_head(c);
    }
    if (c->sendq.len > 0 || (c->flags & (CONN_FIN_QUEUED | CONN_FIN_ACKED)) == CONN_FIN_QUEUED)
        conn_list_output(c);
    if (data > 0)
        tell_progress(c);
    if (fin && c->state != TCP_STATE_CLOSED)
        fin_acked(c);
}

/* SEG.ACK = SND.UNA: a duplicate in the sense of RFC 5681 2, or a word from a peer with a closed
 * window. */
static void old_ack(struct tcp_conn *c, const struct segment *seg, bool window_changed) {
    if ((c->flags & CONN_PERSIST) != 0) {
        if ((c->flags & CONN_FIN_QUEUED) == 0)
            c->retries = 0;
        return;
    }
    if (sack_on_ack(c, seg, 0, c->snd_max - c->snd_una)) {
        conn_list_output(c);
        return;
    }
    if (segment_span(seg) > 0 || window_changed || c->snd_max == c->snd_una)
        return;
    congestion_on_dup_ack(c);
    conn_list_output(c);
}

/* False: the segment goes no further, because its ACK is impossible or the connection is gone. */
static bool process_ack(struct tcp_conn *c, const struct segment *seg) {
    if (seq_gt(seg->ack, c->snd_max) || seq_lt(seg->ack, c->snd_una - c->max_wnd)) {
        // Never sent, or older than any window: RFC 5961 5.2.
        count(c->stack, TCP_DROP_TCP_SEQUENCE);
        tcp_challenge_ack(c);
        return false;
    }
    if (seq_lt(seg->ack, c->snd_una))
        return true;
    uint32_t window_before = c->snd_wnd;
    update_window(c, seg);
    if (seg->ack == c->snd_una)
        old_ack(c, seg, c->snd_wnd != window_before);
    else
        new_ack(c, seg);
    return c->state != TCP_STATE_CLOSED;
}

/* ---- data and FIN ---- */

/* The peer's FIN is in order: RFC 9293 3.10.7.4, eighth. */
static void fin_received(struct tcp_conn *c) {
    c->rcv_nxt++;
    if (seq_lt(c->rcv_adv, c->rcv_nxt))
        c->rcv_adv = c->rcv_nxt;
    c->flags |= CONN_FIN_RECEIVED | CONN_ACK_DUE | CONN_ACK_NOW;
    c->flags &= ~(uint32_t)CONN_OOO_FIN;
    reassembly_free(c);
    switch (c->state) {
    case TCP_STATE_ESTABLISHED:
        c->state = TCP_STATE_CLOSE_WAIT;
        break;
    case TCP_STATE_FIN_WAIT_1: // our FIN is not acknowledged, or we would be in FIN-WAIT-2
        c->state = TCP_STATE_CLOSING;
        break;
    case TCP_STATE_FIN_WAIT_2:
        c->state = TCP_STATE_TIME_WAIT;
        conn_disarm(c, DEADLINE_LIFE);
        break;
    default:
        assert(false);
    }
    conn_list_output(c);
    receive_tell_fin(c);
    if (c->state != TCP_STATE_CLOSED)
        conn_finish_if_done(c);
}

/* In-order data arrived: when is its acknowledgement due (RFC 5681 4.2)? */
static void note_ack_due(struct tcp_conn *c, bool gap_filled) {
    c->flags |= CONN_ACK_DUE;
    if (gap_filled || c->rcv_nxt - c->rcv_acked >= 2u * c->rcv_seg_size)
        c->flags |= CONN_ACK_NOW;
    conn_list_output(c);
}

static void in_order_text(struct tcp_conn *c, const struct segment *seg) {
    bool gap = c->ooo.head != NULL;
    if (seg->len > c->rcv_seg_size)
        c->rcv_seg_size = (uint16_t)min_u32(seg->len, UINT16_MAX);
    // Two full segments of this burst wait for their acknowledgement already: this is the third.
    if ((c->flags & CONN_ACK_NOW) != 0 && c->rcv_nxt - c->rcv_acked >= 2u * c->rcv_seg_size)
        tcp_send_ack(c);
    receive_in_order(c, seg->payload, seg->len);
    if (c->state == TCP_STATE_CLOSED)
        return;
    if (gap)
        reassembly_deliver(c);
    if (c->state == TCP_STATE_CLOSED)
        return;
    note_ack_due(c, gap);
    if (c->state == TCP_STATE_FIN_WAIT_2 && (c->flags & CONN_LINGER) == 0)
        conn_arm(c, DEADLINE_LIFE, c->stack->now_us + c->stack->limits.fin_wait_2_us);
}

static void out_of_order_text(struct tcp_conn *c, const struct segment *seg) {
    count(c->stack, TCP_OUT_OF_ORDER);
    reassembly_insert(c, seg->seq, seg->payload, seg->len);
    sack_note_arrival(c, seg->seq);
    if ((seg->flags & TCP_FIN) != 0) {
        c->flags |= CONN_OOO_FIN;
        c->ooo_fin_seq = seg->seq + seg->len;
    }
    // At once and for each, so that the peer can count them (RFC 5681 4.2).
    tcp_send_ack(c);
}

static bool may_receive(const struct tcp_conn *c) {
    return c->state == TCP_STATE_ESTABLISHED || c->state == TCP_STATE_FIN_WAIT_1 ||
           c->state == TCP_STATE_FIN_WAIT_2;
}

/* RFC 9293 3.10.7.4, seventh and eighth, for a segment trimmed to the window. */
static void text_and_fin(struct tcp_conn *c, const struct segment *seg) {
    if (segment_span(seg) == 0 || !may_receive(c))
        return;
    if (seg->seq != c->rcv_nxt) {
        out_of_order_text(c, seg);
        return;
    }
    if (seg->len > 0)
        in_order_text(c, seg);
    if (!may_receive(c))
        return;
    bool fin = (seg->flags & TCP_FIN) != 0 && c->rcv_nxt == seg->seq + seg->len;
    if (fin || ((c->flags & CONN_OOO_FIN) != 0 && c->rcv_nxt == c->ooo_fin_seq))
        fin_received(c);
}

/* ---- SYN-SENT ---- */

static void enter_established(struct tcp_conn *c, const struct segment *seg) {
    c->state = TCP_STATE_ESTABLISHED;
    rtt_on_ack(c, seg->ack);
    if ((c->flags & CONN_SYN_REPEATED) != 0 && (c->flags & CONN_RTT_KNOWN) == 0) // RFC 6298 (5.7)
        c->rto_us = max_u32(c->rto_us, min_u32(3000000, c->stack->limits.rto_max_us));
    c->retries = c->backoff = 0;
    c->flags &= ~(uint32_t)CONN_TIMING;
    c->snd_una = c->snd_nxt = seg->ack;
    // Only a SYN's window is not scaled.
    c->snd_wnd = (seg->flags & TCP_SYN) != 0 ? seg->window : (uint32_t)seg->window << c->snd_scale;
    c->max_wnd = max_u32(c->max_wnd, c->snd_wnd);
    c->snd_wl1 = seg->seq;
    c->snd_wl2 = seg->ack;
    conn_disarm(c, DEADLINE_RETRANSMIT);
    congestion_init(c);
    if (c->sendq.len > 0)
        conn_list_output(c);
}

/* Tells the owner of an open that is complete; false: the connection is gone. */
static bool tell_open(struct tcp_conn *c) {
    if ((c->flags & CONN_ACTIVE) == 0) {
        if (!listen_accept(c))
            return false;
    } else if (c->handlers->on_established != NULL) {
        c->handlers->on_established(c, c->user);
    }
    return c->state != TCP_STATE_CLOSED;
}

static void syn_sent_syn(struct tcp_conn *c, struct segment *seg) {
    struct tcp_options options;
    if (!tcp_options_parse(seg->options, seg->option_bytes, &options)) {
        count(c->stack, TCP_DROP_TCP_HEADER);
        return;
    }
    tcp_options_apply(c, &options);
    // What our SYN advertised counts from here.
    c->rcv_adv += seg->seq + 1 - c->rcv_nxt;
    c->rcv_nxt = c->rcv_acked = seg->seq + 1;
    if ((seg->flags & TCP_ACK) == 0) { // simultaneous open
        c->state = TCP_STATE_SYN_RECEIVED;
        c->snd_wnd = c->max_wnd = seg->window;
        c->snd_wl1 = seg->seq;
        tcp_send_syn(c);
        return;
    }
    enter_established(c, seg);
    c->flags |= CONN_ACK_DUE | CONN_ACK_NOW; // rides on the request, if there is one
    conn_list_output(c);
    if (!tell_open(c))
        return;
    seg->flags &= (uint8_t)~TCP_SYN;
    seg->seq++;
    text_and_fin(c, seg);
}

/* RFC 9293 3.10.7.3. */
static void syn_sent_segment(struct tcp_conn *c, struct segment *seg) {
    struct tcp_stack *s = c->stack;
    bool ack = (seg->flags & TCP_ACK) != 0;
    if (ack && seg->ack != c->snd_nxt) {
        count(s, TCP_DROP_TCP_SEQUENCE);
        tcp_reset_segment(s, seg);
        return;
    }
    if ((seg->flags & TCP_RST) != 0) {
        if (!ack) {
            count(s, TCP_DROP_TCP_SEQUENCE);
            return;
        }
        count(s, TCP_RESETS_IN);
        conn_finish(c, TCP_CLOSED_REFUSED);
        return;
    }
    if ((seg->flags & TCP_SYN) != 0 && (seg->flags & TCP_FIN) == 0)
        syn_sent_syn(c, seg);
    else
        count(s, TCP_DROP_TCP_SEQUENCE);
}

/* ---- synchronized states and SYN-RECEIVED ---- */

/* RFC 9293 3.10.7.4, first: the four cases. */
static bool is_acceptable(const struct tcp_conn *c, const struct segment *seg) {
    uint32_t window = c->rcv_adv - c->rcv_nxt;
    uint32_t span = segment_span(seg);
    if (span == 0 && window == 0)
        return seg->seq == c->rcv_nxt;
    if (span == 0) // the right edge too: a peer that filled our window acknowledges from there
        return seg->seq - c->rcv_nxt <= window;
    if (window == 0)
        return false;
    return seg->seq - c->rcv_nxt < window || seg->seq + span - 1 - c->rcv_nxt < window;
}

static void refuse_unacceptable(struct tcp_conn *c, const struct segment *seg) {
    struct tcp_stack *s = c->stack;
    bool beyond = seq_geq(seg->seq, c->rcv_adv) && segment_span(seg) > 0;
    count(s, beyond ? TCP_DROP_TCP_WINDOW : TCP_DROP_TCP_SEQUENCE);
    if ((seg->flags & TCP_RST) != 0)
        return;
    bool syn_again = c->state == TCP_STATE_SYN_RECEIVED && seg->seq + 1 == c->rcv_nxt &&
                     (seg->flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;
    if (syn_again) {
        tcp_send_syn(c);
        return;
    }
    // With a closed window, ACKs are still heard (3.10.7.4, first).
    bool probe = c->rcv_adv == c->rcv_nxt && seg->seq == c->rcv_nxt && seg->len > 0;
    bool hear = probe && (seg->flags & (TCP_SYN | TCP_ACK)) == TCP_ACK &&
                c->state != TCP_STATE_SYN_RECEIVED;
    if (hear && !process_ack(c, seg))
        return;
    if (seg->len > 0 && seq_leq(seg->seq + seg->len, c->rcv_nxt))
        sack_note_duplicate(c, seg->seq, seg->seq + seg->len);
    // Empty segments may be echoes of our own answers, so those answers are limited.
    if (seg->len > 0)
        tcp_send_ack(c);
    else
        tcp_challenge_ack(c);
}

static void reset_received(struct tcp_conn *c, const struct segment *seg) {
    struct tcp_stack *s = c->stack;
    if (seg->seq != c->rcv_nxt) { // RFC 5961 3.2
        tcp_challenge_ack(c);
        return;
    }
    if (conn_is_done(c)) { // RFC 1337; and the owner shall still get what it has not read
        count(s, TCP_DROP_TCP_SEQUENCE);
        return;
    }
    count(s, TCP_RESETS_IN);
    bool refused = c->state == TCP_STATE_SYN_RECEIVED;
    conn_finish(c, refused ? TCP_CLOSED_REFUSED : TCP_CLOSED_RESET);
}

/* Cuts off what lies outside of the window; the segment is acceptable. */
static void trim(struct tcp_conn *c, struct segment *seg) {
    if (seq_lt(seg->seq, c->rcv_nxt)) {
        uint32_t old = min_u32(c->rcv_nxt - seg->seq, seg->len);
        sack_note_duplicate(c, seg->seq, seg->seq + old);
        seg->seq += old;
        seg->payload += old;
        seg->len -= old;
    }
    uint32_t end = seg->seq + segment_span(seg);
    if (seq_gt(end, c->rcv_adv)) {
        uint32_t excess = end - c->rcv_adv;
        if ((seg->flags & TCP_FIN) != 0) {
            seg->flags &= (uint8_t)~TCP_FIN;
            excess--;
        }
        seg->len -= min_u32(excess, seg->len);
    }
}

/* The ACK of SYN-RECEIVED; false: nothing more to do with the segment. */
static bool syn_received_ack(struct tcp_conn *c, const struct segment *seg) {
    if (seg->ack != c->snd_max) {
        count(c->stack, TCP_DROP_TCP_SEQUENCE);
        tcp_reset_segment(c->stack, seg);
        return false;
    }
    enter_established(c, seg);
    if (!tell_open(c))
        return false;
    if (c->state == TCP_STATE_ESTABLISHED && (c->flags & CONN_FIN_QUEUED) != 0)
        c->state = TCP_STATE_FIN_WAIT_1; // closed before it was open
    return true;
}

/* RFC 7323 5.3, R1, and 3.2 for a segment without the option; a reset is exempt. */
static bool passes_paws(const struct tcp_conn *c, const struct segment *seg) {
    if ((c->flags & CONN_TIMESTAMPS) == 0 || (seg->flags & TCP_RST) != 0)
        return true;
    if (!seg->parsed.has_timestamps)
        return false;
    if (!seq_lt(seg->parsed.ts_value, c->ts_recent))
        return true;
    // 5.5: a clock that was not seen for 24 days may have turned over.
    return (uint32_t)(c->stack->now_us >> 20) - c->ts_recent_at > TIMESTAMP_STALE;
}

/* RFC 7323 4.3 (2), 5.3 R3. */
static void take_timestamp(struct tcp_conn *c, const struct segment *seg) {
    if (!seg->parsed.has_timestamps || seq_gt(seg->seq, c->rcv_acked))
        return;
    c->ts_recent = seg->parsed.ts_value;
    c->ts_recent_at = (uint32_t)(c->stack->now_us >> 20);
}

static void refuse_timestamp(struct tcp_conn *c, const struct segment *seg) {
    count(c->stack, TCP_DROP_TCP_TIMESTAMP);
    if (!seg->parsed.has_timestamps)
        return;
    if (seg->len > 0 && seq_leq(seg->seq + seg->len, c->rcv_nxt))
        sack_note_duplicate(c, seg->seq, seg->seq + seg->len);
    if (seg->len > 0)
        tcp_send_ack(c);
    else
        tcp_challenge_ack(c);
}

static void synchronized_segment(struct tcp_conn *c, struct segment *seg) {
    if (!passes_paws(c, seg)) {
        refuse_timestamp(c, seg);
        return;
    }
    if (!is_acceptable(c, seg)) {
        refuse_unacceptable(c, seg);
        return;
    }
    take_timestamp(c, seg);
    if ((seg->flags & TCP_RST) != 0) {
        reset_received(c, seg);
        return;
    }
    if ((seg->flags & TCP_SYN) != 0) { // RFC 5961 4.2
        tcp_challenge_ack(c);
        return;
    }
    if ((seg->flags & TCP_ACK) == 0) {
        count(c->stack, TCP_DROP_TCP_HEADER);
        return;
    }
    trim(c, seg);
    if (c->state == TCP_STATE_SYN_RECEIVED) {
        if (!syn_received_ack(c, seg))
            return;
    } else if (!process_ack(c, seg)) {
        return;
    }
    text_and_fin(c, seg);
}

/* What nearly every segment of an open connection is: nothing of the above can apply to it. */
static bool is_predicted(const struct tcp_conn *c, const struct segment *seg) {
    return c->state == TCP_STATE_ESTABLISHED && seg->seq == c->rcv_nxt && passes_paws(c, seg) &&
           (seg->flags & (TCP_SYN | TCP_FIN | TCP_RST | TCP_ACK)) == TCP_ACK &&
           seg->len <= c->rcv_adv - c->rcv_nxt;
}

/* Those of a SYN are looked at where it is. False: malformed. */
static bool parse_options(const struct tcp_conn *c, struct segment *seg) {
    memset(&seg->parsed, 0, offsetof(struct tcp_options, sack));
    if (seg->option_bytes == 0 || (c->flags & (CONN_SACK | CONN_TIMESTAMPS)) == 0)
        return true;
    if (tcp_options_parse(seg->options, seg->option_bytes, &seg->parsed))
        return true;
    count(c->stack, TCP_DROP_TCP_HEADER);
    return false;
}

void conn_segment(struct tcp_conn *c, struct segment *seg) {
    if (!parse_options(c, seg))
        return;
    if (is_predicted(c, seg)) {
        take_timestamp(c, seg);
        if (process_ack(c, seg) && seg->len > 0)
            text_and_fin(c, seg);
    } else if (c->state == TCP_STATE_SYN_SENT) {
        syn_sent_segment(c, seg);
    } else {
        synchronized_segment(c, seg);
    }
}

void tcp_input(struct tcp_stack *s, unsigned int ifindex, uint32_t src, uint32_t dst,
               const uint8_t *p, size_t len) {
    struct segment seg;
    if (!parse_segment(s, src, dst, p, len, &seg))
        return;
    seg.ifindex = ifindex;
    count(s, TCP_SEGMENTS_IN);
    struct tcp_conn *c = conn_lookup(s, &seg);
    if (c != NULL)
        conn_segment(c, &seg);
    else if (!time_wait_input(s, &seg))
        listen_input(s, &seg, NULL);
}
