/* SPDX-License-Identifier: BSD-3-Clause */
/* RFC 5681, RFC 6582, RFC 3042, RFC 6928; growth counts bytes (RFC 3465, L = 2). Where CUBIC is
 * chosen it takes the place of halving and of linear growth. */
#include "tcp/tcp_internal.h"

#define CWND_MAX_BYTES (16u * 1024 * 1024)
#define DUP_ACK_THRESHOLD 3u

static uint32_t initial_window(const struct tcp_conn *c) // RFC 6928 2
{
    if ((c->flags & CONN_SYN_REPEATED) != 0)
        return c->mss; // RFC 5681 3.1
    return min_u32(10u * c->mss, max_u32(2u * c->mss, 14600));
}

static uint32_t reduced_window(struct tcp_conn *c) {
    uint32_t flight = c->snd_max - c->snd_una;
    uint32_t window = (c->flags & CONN_CUBIC) != 0 ? cubic_on_loss(c, flight) : flight / 2;
    return max_u32(window, 2u * c->mss); // RFC 5681 (4)
}

void congestion_init(struct tcp_conn *c) {
    c->cwnd = initial_window(c);
    c->ssthresh = CWND_MAX_BYTES;
    enum tcp_congestion chosen = (c->flags & CONN_ACTIVE) != 0
                                     ? c->stack->limits.congestion_opened
                                     : c->stack->limits.congestion_accepted;
    if (chosen == TCP_CONGESTION_CUBIC)
        c->flags |= CONN_CUBIC;
    c->recover = c->snd_una - 2; // before the SYN: no loss has been seen
}

uint32_t congestion_window(const struct tcp_conn *c) {
    // With a scoreboard the segments that left the network are not in the pipe anyway.
    bool limited_transmit = (c->flags & CONN_RECOVERY) == 0 && c->dup_acks < DUP_ACK_THRESHOLD;
    return c->cwnd + (limited_transmit ? (uint32_t)c->dup_acks * c->mss : 0);
}

void congestion_before_send(struct tcp_conn *c) {
    bool idle = c->snd_nxt == c->snd_una && c->snd_max == c->snd_una && c->sendq.len > 0;
    if (idle && (uint32_t)c->stack->now_us - c->sent_at_us > c->rto_us) // RFC 5681 4.1
        c->cwnd = min_u32(c->cwnd, initial_window(c));
}

void congestion_on_ack(struct tcp_conn *c, uint32_t acked, uint32_t flight_before) {
    c->dup_acks = 0;
    // A window that was not used tells nothing about the path.
    bool unused = flight_before + c->mss < c->cwnd && c->cwnd >= c->ssthresh;
    if (unused || flight_before < c->cwnd / 2) {
        c->flags &= ~(uint32_t)CONN_CUBIC_EPOCH; // nor does the time that passed meanwhile
        return;
    }
    if (c->cwnd < c->ssthresh) {
        c->cwnd += min_u32(acked, 2u * c->mss);
    } else if ((c->flags & CONN_CUBIC) != 0) {
        cubic_on_ack(c, acked);
    } else {
        c->cwnd_credit += acked;
        if (c->cwnd_credit >= c->cwnd) {
            c->cwnd_credit -= c->cwnd;
            c->cwnd += c->mss;
        }
    }
    c->cwnd = min_u32(c->cwnd, CWND_MAX_BYTES);
}

/* RFC 6582 3.2, step 3; snd_una has moved already. */
enum recovery_ack congestion_recovery_ack(struct tcp_conn *c, uint32_t ack, uint32_t acked) {
    if ((c->flags & CONN_RECOVERY) == 0)
        return RECOVERY_NONE;
    if (seq_gt(ack, c->recover)) {
        c->flags &= ~(uint32_t)CONN_RECOVERY;
        uint32_t flight = c->snd_max - c->snd_una;
        c->cwnd = min_u32(c->ssthresh, max_u32(flight, c->mss) + c->mss);
        c->cwnd_credit = 0;
        c->dup_acks = 0;
        return RECOVERY_ENDS;
    }
    c->cwnd -= min_u32(acked, c->cwnd - c->mss);
    if (acked >= c->mss)
        c->cwnd += c->mss;
    return RECOVERY_PARTIAL;
}

void congestion_begin_recovery(struct tcp_conn *c) {
    count(c->stack, TCP_FAST_RETRANSMITS);
    c->ssthresh = reduced_window(c);
    c->recover = c->snd_max - 1;
    c->dup_acks = 0;
    c->cwnd_credit = 0;
    c->flags |= CONN_RECOVERY;
}

static void enter_recovery(struct tcp_conn *c) {
    congestion_begin_recovery(c);
    tcp_retransmit_head(c);
    c->cwnd = c->ssthresh + DUP_ACK_THRESHOLD * c->mss;
}

void congestion_on_dup_ack(struct tcp_conn *c) {
    if (c->dup_acks < UINT8_MAX)
        c->dup_acks++;
    if ((c->flags & CONN_RECOVERY) != 0)
        c->cwnd = min_u32(c->cwnd + c->mss, CWND_MAX_BYTES);
    else if (c->dup_acks == DUP_ACK_THRESHOLD && seq_gt(c->snd_una - 1, c->recover))
        enter_recovery(c);
}

/* A loss that is repaired already costs the window what another would. */
void congestion_on_repaired(struct tcp_conn *c) {
    c->ssthresh = reduced_window(c);
    c->cwnd = min_u32(c->cwnd, c->ssthresh);
    c->cwnd_credit = 0;
}

void congestion_on_timeout(struct tcp_conn *c) {
    // Only the first time-out of a segment tells of the window it was sent in (RFC 5681 3.1).
    if (c->retries == 0)
        c->ssthresh = reduced_window(c);
    if ((c->flags & CONN_CUBIC) != 0)
        cubic_on_timeout(c);
    c->cwnd = c->mss;
    c->cwnd_credit = 0;
    c->recover = c->snd_max - 1;
    c->dup_acks = 0;
    c->flags &= ~(uint32_t)CONN_RECOVERY;
}
