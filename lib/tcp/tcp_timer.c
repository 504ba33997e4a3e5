/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Timers of a connection. Its deadlines move with every segment, its place in the wheel only when a
 * deadline comes to lie before it: a timer that fires early finds nothing due and goes to the next
 * deadline.
 */
#include "tcp/tcp_internal.h"

#define RTO_INITIAL_US 1000000u // RFC 6298 (2.1)
#define PERSIST_MAX_US 60000000u

void conn_arm(struct tcp_conn *c, enum conn_deadline which, uint64_t at_us) {
    c->deadlines_us[which] = at_us;
    if (!timer_is_set(&c->timer) || wheel_tick_of(at_us) < c->timer.tick)
        wheel_set(&c->stack->wheel, &c->timer, at_us);
}

void conn_disarm(struct tcp_conn *c, enum conn_deadline which) {
    c->deadlines_us[which] = NEVER;
}

uint64_t conn_rto_us(const struct tcp_conn *c) {
    const struct tcp_limits *l = &c->stack->limits;
    uint64_t rto = (uint64_t)c->rto_us << c->backoff;
    return rto < l->rto_max_us ? rto : l->rto_max_us;
}

void rtt_init(struct tcp_conn *c) {
    c->rto_us = max_u32(RTO_INITIAL_US, c->stack->limits.rto_min_us);
}

void rtt_start(struct tcp_conn *c, uint32_t seq) {
    c->flags |= CONN_TIMING;
    c->timed_seq = seq;
    c->timed_at_us = (uint32_t)c->stack->now_us;
}

static void rtt_sample(struct tcp_conn *c, uint32_t r_us) {
    const struct tcp_limits *l = &c->stack->limits;
    r_us = min_u32(r_us, l->rto_max_us);
    if ((c->flags & CONN_RTT_KNOWN) == 0) { // RFC 6298 (2.2)
        c->flags |= CONN_RTT_KNOWN;
        c->srtt_us8 = r_us * 8;
        c->rttvar_us4 = r_us * 2;
    } else { // (2.3), alpha 1/8 and beta 1/4
        uint32_t srtt = c->srtt_us8 / 8;
        uint32_t error = srtt > r_us ? srtt - r_us : r_us - srtt;
        c->rttvar_us4 = c->rttvar_us4 - c->rttvar_us4 / 4 + error;
        c->srtt_us8 = c->srtt_us8 - srtt + r_us;
    }
    uint32_t variance = max_u32(1u << WHEEL_TICK_SHIFT, c->rttvar_us4);
    c->rto_us = max_u32(l->rto_min_us, min_u32(l->rto_max_us, c->srtt_us8 / 8 + variance));
    c->backoff = 0;
    if (c->min_rtt_us == 0 || r_us < c->min_rtt_us)
        c->min_rtt_us = max_u32(r_us, 1);
}

void rtt_on_ack(struct tcp_conn *c, uint32_t ack) {
    if ((c->flags & CONN_TIMING) == 0 || !seq_gt(ack, c->timed_seq))
        return;
    c->flags &= ~(uint32_t)CONN_TIMING;
    rtt_sample(c, (uint32_t)c->stack->now_us - c->timed_at_us);
}

void rtt_on_echo(struct tcp_conn *c, uint32_t echo) {
    uint32_t age = timestamp_clock(c->stack) + c->ts_offset - echo;
    if (age <= c->stack->limits.rto_max_us / 1000) // else no clock of ours showed that
        rtt_sample(c, max_u32(age, 1) * 1000);
}

static void back_off(struct tcp_conn *c) {
    // Beyond this the bound rto_max_us holds anyway.
    if (c->backoff < 16)
        c->backoff++;
    if (c->retries < UINT8_MAX)
        c->retries++;
    // Karn: an acknowledgement may now be for either transmission.
    c->flags &= ~(uint32_t)CONN_TIMING;
}

static void syn_timeout(struct tcp_conn *c) {
    struct tcp_stack *s = c->stack;
    if (c->retries >= s->limits.syn_retries) {
        conn_finish(c, TCP_CLOSED_TIMEOUT);
        return;
    }
    back_off(c);
    c->flags |= CONN_SYN_REPEATED;
    count(s, TCP_RETRANSMITS);
    tcp_send_syn(c);
    conn_arm(c, DEADLINE_RETRANSMIT, s->now_us + conn_rto_us(c));
}

/* RFC 9293 3.8.6.1: as long as the peer answers, the connection stays, unless the owner has let go
 * of it. */
static void persist_timeout(struct tcp_conn *c) {
    struct tcp_stack *s = c->stack;
    if (c->retries >= s->limits.data_retries) {
        conn_abort(c, TCP_CLOSED_TIMEOUT);
        return;
    }
    back_off(c);
    tcp_send_probe(c);
    uint64_t wait = conn_rto_us(c);
    conn_arm(c, DEADLINE_RETRANSMIT, s->now_us + (wait < PERSIST_MAX_US ? wait : PERSIST_MAX_US));
}

static void retransmit_timeout(struct tcp_conn *c) {
    struct tcp_stack *s = c->stack;
    count(s, TCP_RTO_EXPIRED);
    if (c->retries >= s->limits.data_retries) {
        conn_abort(c, TCP_CLOSED_TIMEOUT);
        return;
    }
    congestion_on_timeout(c);
    back_off(c);
    // Everything not acknowledged counts as lost and is sent again as the window opens.
    if (sack_on_timeout(c)) {
        tcp_output(c);
    } else {
        tcp_resend_all(c);
        tcp_retransmit_head(c);
    }
    conn_arm(c, DEADLINE_RETRANSMIT, s->now_us + conn_rto_us(c));
}

static void life_timeout(struct tcp_conn *c) {
    if (c->state == TCP_STATE_FIN_WAIT_2) {
        conn_abort(c, TCP_CLOSED_TIMEOUT);
        return;
    }
    // The peer and we are done; only the owner has not taken the rest.
    receive_discard(c);
    conn_finish_if_done(c);
}

static void nudge_timeout(struct tcp_conn *c) {
    if ((c->flags & CONN_REFUSED) == 0 || c->handlers == NULL)
        return;
    c->flags &= ~(uint32_t)CONN_REFUSED;
    if (c->handlers->on_writable != NULL)
        c->handlers->on_writable(c, c->user);
}

static void deadline_passed(struct tcp_conn *c, enum conn_deadline which) {
    switch (which) {
    case DEADLINE_RETRANSMIT:
        if (c->state == TCP_STATE_SYN_SENT || c->state == TCP_STATE_SYN_RECEIVED)
            syn_timeout(c);
        else if ((c->flags & CONN_PERSIST) != 0)
            persist_timeout(c);
        else
            retransmit_timeout(c);
        break;
    case DEADLINE_DELAYED_ACK:
        tcp_send_ack(c);
        break;
    case DEADLINE_LIFE:
        life_timeout(c);
        break;
    case DEADLINE_NUDGE:
        nudge_timeout(c);
        break;
    case DEADLINE_LOSS:
        loss_timeout(c);
        break;
    case DEADLINE_COUNT:
        assert(false);
    }
}

void conn_timer(struct tcp_conn *c) {
    struct tcp_stack *s = c->stack;
    uint64_t next = NEVER;
    for (unsigned int d = 0; d < DEADLINE_COUNT; d++) {
        if (c->deadlines_us[d] > s->now_us)
            continue;
        c->deadlines_us[d] = NEVER;
        deadline_passed(c, (enum conn_deadline)d);
        if (c->state == TCP_STATE_CLOSED)
            return;
    }
    for (unsigned int d = 0; d < DEADLINE_COUNT; d++)
        next = c->deadlines_us[d] < next ? c->deadlines_us[d] : next;
    if (next != NEVER && (!timer_is_set(&c->timer) || wheel_tick_of(next) < c->timer.tick))
        wheel_set(&s->wheel, &c->timer, next);
}
