/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Loss detection by time, RACK-TLP (RFC 8985), and the pace of recovery, proportional rate
 * reduction (RFC 6937).
 */
#include "tcp/tcp_internal.h"

#define REORDER_SCALE_MAX 20u
#define REORDER_KEEP 16u // recoveries, RFC 8985 6.2, step 4
#define DUP_THRESHOLD 3u
#define PROBE_LEAST_US 10000u // the peer may delay its acknowledgement a little, too

static bool later(uint32_t a_us, uint32_t b_us) {
    return (int32_t)(a_us - b_us) > 0;
}

/* RFC 8985 6.2, steps 1 to 3. */
void rack_note_delivered(struct tcp_conn *c, struct scoreboard *b, const struct sent_range *r) {
    uint32_t rtt = (uint32_t)c->stack->now_us - r->sent_us;
    bool resent = (r->flags & RANGE_RESENT) != 0;
    b->delivered += r->end - r->start;
    if (!resent && seq_lt(r->end, b->fack_before))
        c->flags |= CONN_REORDERED;
    if (seq_gt(r->end, b->fack))
        b->fack = r->end;
    if ((r->flags & RANGE_LOST) != 0 && r->sent_us == 0) // given up before the scoreboard was open
        return;
    if (resent && rtt < c->min_rtt_us) // more likely for the transmission before
        return;
    bool newer = later(r->sent_us, b->rack_sent_us) ||
                 (r->sent_us == b->rack_sent_us && seq_gt(r->end, b->rack_end));
    if (b->rack_valid && !newer)
        return;
    b->rack_valid = true;
    b->rack_sent_us = r->sent_us;
    b->rack_end = r->end;
    b->rack_rtt_us = rtt;
}

/* DupThresh segments, or as many pieces, have arrived beyond a gap (RFC 6675 4, IsLost). */
static bool many_sacked(const struct tcp_conn *c, const struct scoreboard *b) {
    uint32_t bytes = 0, pieces = 0;
    for (uint32_t i = 0; i < b->count; i++) {
        if ((b->ranges[i].flags & RANGE_SACKED) == 0)
            continue;
        bytes += b->ranges[i].end - b->ranges[i].start;
        pieces++;
    }
    return pieces >= DUP_THRESHOLD || bytes > (DUP_THRESHOLD - 1) * c->mss;
}

/* Step 4. */
static uint32_t reorder_window(const struct tcp_conn *c, const struct scoreboard *b) {
    bool repairing = (c->flags & (CONN_RECOVERY | CONN_LOSS)) != 0;
    if ((c->flags & CONN_REORDERED) == 0 && (repairing || many_sacked(c, b)))
        return 0;
    return min_u32(c->reorder_scale * (c->min_rtt_us / 4), c->srtt_us8 / 8);
}

/* Step 5. */
bool rack_detect(struct tcp_conn *c, struct scoreboard *b) {
    uint32_t now = (uint32_t)c->stack->now_us, reorder = reorder_window(c, b);
    int32_t wait = 0;
    bool found = false;
    conn_disarm(c, DEADLINE_LOSS);
    for (uint32_t i = 0; b->rack_valid && i < b->count; i++) {
        struct sent_range *r = &b->ranges[i];
        bool before = later(b->rack_sent_us, r->sent_us) ||
                      (r->sent_us == b->rack_sent_us && seq_lt(r->end, b->rack_end));
        if ((r->flags & (RANGE_SACKED | RANGE_LOST)) != 0 || !before)
            continue;
        int32_t left = (int32_t)(r->sent_us + b->rack_rtt_us + reorder - now);
        if (left <= 0) {
            r->flags |= RANGE_LOST;
            b->pipe -= r->end - r->start;
            found = true;
        } else if (left > wait) {
            wait = left;
        }
    }
    if (wait > 0)
        conn_arm(c, DEADLINE_LOSS, c->stack->now_us + (uint32_t)wait);
    return found;
}

/* A retransmission was not needed: more patience, for a while. */
void rack_note_duplicate(struct tcp_conn *c) {
    count(c->stack, TCP_DUPLICATE_SACKS);
    if (c->reorder_scale < REORDER_SCALE_MAX)
        c->reorder_scale++;
    c->reorder_keep = REORDER_KEEP;
}

void rack_recovery_ended(struct tcp_conn *c) {
    if (c->reorder_keep > 0 && --c->reorder_keep == 0)
        c->reorder_scale = 1;
}

/* ---- RFC 6937 3 ---- */

void prr_begin(struct tcp_conn *c, struct scoreboard *b) {
    b->prr_delivered = b->prr_out = 0;
    b->recover_flight = max_u32(c->snd_max - c->snd_una, 1);
}

void prr_on_ack(struct tcp_conn *c, struct scoreboard *b) {
    uint32_t send = 0;
    b->prr_delivered += b->delivered;
    if (b->pipe > c->ssthresh) {
        uint64_t share = (uint64_t)b->prr_delivered * c->ssthresh + b->recover_flight - 1;
        uint32_t allowed = (uint32_t)(share / b->recover_flight);
        send = allowed > b->prr_out ? allowed - b->prr_out : 0;
    } else { // slow start reduction bound
        uint32_t behind = b->prr_delivered > b->prr_out ? b->prr_delivered - b->prr_out : 0;
        send = min_u32(c->ssthresh - b->pipe, max_u32(behind, b->delivered) + c->mss);
    }
    if (b->prr_out == 0) // the fast retransmit itself
        send = max_u32(send, c->mss);
    c->cwnd = max_u32(b->pipe + send, c->mss);
}

/* ---- timers ---- */

static void reorder_timeout(struct tcp_conn *c) {
    struct scoreboard *b = board_of(c);
    b->delivered = 0;
    if (!rack_detect(c, b))
        return;
    if ((c->flags & (CONN_RECOVERY | CONN_LOSS)) == 0) {
        congestion_begin_recovery(c);
        prr_begin(c, b);
    }
    if ((c->flags & CONN_RECOVERY) != 0)
        prr_on_ack(c, b);
    conn_list_output(c);
}

static bool may_probe(const struct tcp_conn *c) {
    return (c->flags & (CONN_SACK | CONN_RTT_KNOWN | CONN_PROBED | CONN_RECOVERY | CONN_PERSIST)) ==
               (CONN_SACK | CONN_RTT_KNOWN) &&
           c->board == NULL && c->snd_nxt == c->snd_max;
}

/* RFC 8985 7.2. One segment alone waits for a delayed acknowledgement, that is as long as for a
 * time-out, which then does the work. */
void probe_arm(struct tcp_conn *c) {
    if (!may_probe(c) || c->snd_max - c->snd_una <= c->mss)
        return;
    uint64_t at = c->stack->now_us + max_u32(c->srtt_us8 / 4, PROBE_LEAST_US);
    if (at < c->deadlines_us[DEADLINE_RETRANSMIT])
        conn_arm(c, DEADLINE_LOSS, at);
}

void loss_timeout(struct tcp_conn *c) {
    if (c->board != NULL) {
        reorder_timeout(c);
        return;
    }
    if (!may_probe(c) || c->snd_max == c->snd_una || !tcp_send_tail(c))
        return;
    count(c->stack, TCP_TAIL_LOSS_PROBES);
    c->flags |= CONN_PROBED;
    c->probe_end = c->snd_max;
    conn_arm(c, DEADLINE_RETRANSMIT, c->stack->now_us + conn_rto_us(c));
}

/* RFC 8985 7.4: the probe repaired the loss that it probed for, unless it was a duplicate. */
void probe_on_ack(struct tcp_conn *c, const struct segment *seg) {
    if ((c->flags & CONN_PROBED) != 0 && seq_geq(seg->ack, c->probe_end)) {
        bool repaired = (c->flags & CONN_PROBE_REPEATED) != 0 && seg->parsed.sack_count == 0;
        c->flags &= ~(uint32_t)(CONN_PROBED | CONN_PROBE_REPEATED);
        if (repaired && c->board == NULL)
            congestion_on_repaired(c);
    }
    if (c->board != NULL)
        return;
    conn_disarm(c, DEADLINE_LOSS);
    probe_arm(c);
}
