/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Selective acknowledgement (RFC 2018, RFC 2883): the blocks that we tell as a receiver, and the
 * scoreboard that we keep as a sender. The scoreboard is opened by the first block and closed when
 * nothing is missing any more, so that a connection without loss holds none.
 */
#include "tcp/tcp_internal.h"

/* ---- receiver ---- */

void sack_note_arrival(struct tcp_conn *c, uint32_t seq) {
    memmove(c->sack_recent + 1, c->sack_recent, (SACK_RECENT - 1) * sizeof *c->sack_recent);
    c->sack_recent[0] = seq;
}

void sack_note_duplicate(struct tcp_conn *c, uint32_t start, uint32_t end) {
    if ((c->flags & CONN_SACK) == 0 || start == end)
        return;
    if (c->duplicate.start == c->duplicate.end)
        c->duplicate = (struct seq_range){.start = start, .end = end};
    else if (c->duplicate.end == start) // of several the first one is told
        c->duplicate.end = end;
}

static bool range_has(const struct seq_range *r, uint32_t seq) {
    return seq - r->start < r->end - r->start;
}

/* The rank of an island by what arrived last in it; SACK_RECENT: nothing of late. */
static unsigned int island_rank(const struct tcp_conn *c, const struct seq_range *island) {
    unsigned int k = 0;
    while (k < SACK_RECENT && !range_has(island, c->sack_recent[k]))
        k++;
    return k;
}

/* RFC 2018 4: first the island with the latest segment, then those told before. */
unsigned int sack_blocks(struct tcp_conn *c, struct seq_range *blocks, unsigned int most) {
    struct seq_range recent[SACK_RECENT] = {0}, other = {0};
    unsigned int n = 0;
    for (const struct buf *b = c->ooo.head; b != NULL;) {
        struct seq_range island = {.start = b->tag, .end = b->tag + b->len};
        for (b = b->next; b != NULL && b->tag == island.end; b = b->next)
            island.end += b->len;
        unsigned int rank = island_rank(c, &island);
        if (rank < SACK_RECENT)
            recent[rank] = island;
        else
            other = island;
    }
    if (c->duplicate.start != c->duplicate.end) { // RFC 2883 4
        blocks[n++] = c->duplicate;
        c->duplicate = (struct seq_range){0};
    }
    for (unsigned int k = 0; k < SACK_RECENT && n < most; k++)
        if (recent[k].start != recent[k].end)
            blocks[n++] = recent[k];
    if (n < most && other.start != other.end)
        blocks[n++] = other;
    return n;
}

/* ---- sender: the ranges ---- */

static bool mergeable(const struct sent_range *a, const struct sent_range *b) {
    if (a->flags != b->flags)
        return false;
    return (a->flags & (RANGE_SACKED | RANGE_LOST)) != 0 || a->sent_us == b->sent_us;
}

/* Joins what has become alike, and adds up what is on its way. */
static void tidy(struct scoreboard *b) {
    uint32_t kept = 0;
    b->pipe = 0;
    for (uint32_t i = 0; i < b->count; i++) {
        struct sent_range r = b->ranges[i];
        if ((r.flags & (RANGE_SACKED | RANGE_LOST)) == 0)
            b->pipe += r.end - r.start;
        if (kept > 0 && mergeable(&b->ranges[kept - 1], &r))
            b->ranges[kept - 1].end = r.end;
        else
            b->ranges[kept++] = r;
    }
    b->count = kept;
}

/* Range i ends at seq from now on, and the next one begins there. */
static bool split(struct scoreboard *b, uint32_t i, uint32_t seq, uint32_t limit) {
    if (b->count >= limit)
        return false;
    memmove(&b->ranges[i + 1], &b->ranges[i], (b->count - i) * sizeof b->ranges[0]);
    b->count++;
    b->ranges[i].end = b->ranges[i + 1].start = seq;
    return true;
}

static bool board_open(struct tcp_conn *c) {
    if (c->board != NULL)
        return true;
    if (c->snd_max == c->snd_una)
        return false;
    c->board = buf_get(c->stack->env.pool);
    if (c->board == NULL) {
        count(c->stack, TCP_DROP_TCP_NO_BUFFER);
        return false;
    }
    struct scoreboard *b = board_of(c);
    memset(b, 0, offsetof(struct scoreboard, ranges));
    b->fack = b->fack_before = c->snd_una;
    // When each of these was sent is not known any more; the last moment is the cautious answer.
    if (c->snd_nxt != c->snd_una)
        b->ranges[b->count++] =
            (struct sent_range){.start = c->snd_una, .end = c->snd_nxt, .sent_us = c->sent_at_us};
    if (c->snd_nxt != c->snd_max) // a time-out gave these up
        b->ranges[b->count++] =
            (struct sent_range){.start = c->snd_nxt, .end = c->snd_max, .flags = RANGE_LOST};
    tcp_output_to_end(c);
    prr_begin(c, b); // recovery may have begun by duplicate acknowledgements alone
    tidy(b);
    c->flags &= ~(uint32_t)CONN_PROBED;
    conn_disarm(c, DEADLINE_LOSS);
    return true;
}

void board_free(struct tcp_conn *c) {
    if (c->board == NULL)
        return;
    buf_put(c->stack->env.pool, c->board);
    c->board = NULL;
    conn_disarm(c, DEADLINE_LOSS);
}

void board_note_sent(struct tcp_conn *c, uint32_t start, uint32_t end) {
    struct scoreboard *b = board_of(c);
    uint32_t now = (uint32_t)c->stack->now_us;
    struct sent_range *last = b->count > 0 ? &b->ranges[b->count - 1] : NULL;
    assert(last == NULL || last->end == start);
    b->pipe += end - start;
    b->prr_out += end - start;
    if (last != NULL && last->flags == 0 && last->sent_us == now) {
        last->end = end;
    } else if (b->count < BOARD_RANGES_MAX) {
        b->ranges[b->count++] = (struct sent_range){.start = start, .end = end, .sent_us = now};
    } else { // no room: it shares the last one, which so counts as sent just now
        *last = (struct sent_range){.start = last->start, .end = end, .sent_us = now};
        tidy(b);
    }
}

bool board_note_resent(struct tcp_conn *c, uint32_t i, uint32_t span) {
    struct scoreboard *b = board_of(c);
    struct sent_range *r = &b->ranges[i];
    bool whole = r->end - r->start == span || split(b, i, r->start + span, BOARD_RANGES_MAX);
    b->prr_out += span;
    if (!whole) // the rest waits until acknowledgements have made room
        return false;
    r->flags = RANGE_RESENT;
    r->sent_us = (uint32_t)c->stack->now_us;
    b->pipe += span;
    return true;
}

/* Drops the ranges that the cumulative acknowledgement covers. */
static void take_cumulative(struct tcp_conn *c, struct scoreboard *b) {
    uint32_t gone = 0;
    while (gone < b->count && seq_lt(b->ranges[gone].start, c->snd_una)) {
        struct sent_range *r = &b->ranges[gone];
        struct sent_range part = *r;
        if (seq_gt(part.end, c->snd_una))
            part.end = c->snd_una;
        if ((part.flags & RANGE_SACKED) == 0)
            rack_note_delivered(c, b, &part);
        r->start = part.end;
        if (r->start != r->end)
            break;
        gone++;
    }
    b->count -= gone;
    memmove(b->ranges, b->ranges + gone, b->count * sizeof b->ranges[0]);
}

/* False: no room. */
static bool take_block(struct tcp_conn *c, struct scoreboard *b, const struct seq_range *block) {
    for (uint32_t i = 0; i < b->count && seq_lt(b->ranges[i].start, block->end); i++) {
        struct sent_range *r = &b->ranges[i];
        if (seq_leq(r->end, block->start) || (r->flags & RANGE_SACKED) != 0)
            continue;
        if (seq_lt(r->start, block->start)) { // its upper part is the next one
            if (!split(b, i, block->start, BOARD_RANGES_SACK))
                return false;
            continue;
        }
        if (seq_gt(r->end, block->end) && !split(b, i, block->end, BOARD_RANGES_SACK))
            return false;
        rack_note_delivered(c, b, r);
        r->flags = (r->flags & RANGE_RESENT) | RANGE_SACKED;
    }
    return true;
}

/* RFC 2883 4: the first block is a duplicate if it lies below the acknowledgement or inside of the
 * second one. */
static bool is_duplicate(const struct segment *seg) {
    const struct seq_range *first = seg->parsed.sack, *second = first + 1;
    if (seg->parsed.sack_count == 0)
        return false;
    if (seq_leq(first->end, seg->ack))
        return seq_lt(first->start, first->end);
    return seg->parsed.sack_count > 1 && seq_geq(first->start, second->start) &&
           seq_leq(first->end, second->end);
}

static bool is_plausible(const struct tcp_conn *c, const struct seq_range *block) {
    return seq_lt(block->start, block->end) && seq_gt(block->end, c->snd_una) &&
           seq_leq(block->end, c->snd_max) && seq_geq(block->start, c->snd_una);
}

static bool has_news(const struct tcp_conn *c, const struct segment *seg) {
    for (unsigned int i = 0; i < seg->parsed.sack_count; i++)
        if (is_plausible(c, &seg->parsed.sack[i]))
            return true;
    return false;
}

static void take_blocks(struct tcp_conn *c, struct scoreboard *b, const struct segment *seg) {
    for (unsigned int i = 0; i < seg->parsed.sack_count; i++) {
        const struct seq_range *block = &seg->parsed.sack[i];
        bool old = seq_leq(block->end, c->snd_una);
        if (!old && (!is_plausible(c, block) || !take_block(c, b, block)))
            count(c->stack, TCP_DROP_TCP_SACK);
    }
    tidy(b);
}

static bool any_has(const struct scoreboard *b, uint32_t flag) {
    for (uint32_t i = 0; i < b->count; i++)
        if ((b->ranges[i].flags & flag) != 0)
            return true;
    return false;
}

/* What the acknowledgement means for the window: RFC 5681, RFC 6937, RFC 8985 6.2, step 5. */
static void react(struct tcp_conn *c, struct scoreboard *b, uint32_t acked, uint32_t flight) {
    bool repairing = (c->flags & (CONN_RECOVERY | CONN_LOSS)) != 0;
    if (repairing && seq_gt(c->snd_una, c->recover)) {
        if ((c->flags & CONN_RECOVERY) != 0)
            c->cwnd = c->ssthresh;
        c->flags &= ~(uint32_t)(CONN_RECOVERY | CONN_LOSS);
        rack_recovery_ended(c);
        repairing = false;
        acked = 0; // recovery ends without growth
    }
    rack_detect(c, b);
    if (!repairing && any_has(b, RANGE_LOST)) {
        congestion_begin_recovery(c);
        prr_begin(c, b);
    }
    if ((c->flags & CONN_RECOVERY) != 0)
        prr_on_ack(c, b);
    else if (acked > 0)
        congestion_on_ack(c, acked, flight);
}

bool sack_on_ack(struct tcp_conn *c, const struct segment *seg, uint32_t acked,
                 uint32_t flight_before) {
    if (c->board == NULL && seg->parsed.sack_count == 0)
        return false;
    if (is_duplicate(seg))
        rack_note_duplicate(c);
    if (c->board == NULL && (!has_news(c, seg) || !board_open(c)))
        return false;
    struct scoreboard *b = board_of(c);
    b->delivered = 0;
    b->fack_before = b->fack;
    take_cumulative(c, b);
    take_blocks(c, b, seg);
    c->dup_acks = 0;
    react(c, b, acked, flight_before);
    bool repairing = (c->flags & (CONN_RECOVERY | CONN_LOSS)) != 0;
    if (c->snd_una == c->snd_max || (!repairing && !any_has(b, RANGE_SACKED)))
        board_free(c);
    return true;
}

void board_mark_all_lost(struct tcp_conn *c) {
    struct scoreboard *b = board_of(c);
    // What it has but does not acknowledge it has thrown away (RFC 2018 8).
    bool reneged = b->count > 0 && (b->ranges[0].flags & RANGE_SACKED) != 0;
    for (uint32_t i = 0; i < b->count; i++) {
        struct sent_range *r = &b->ranges[i];
        if (reneged || (r->flags & RANGE_SACKED) == 0)
            r->flags = (r->flags & RANGE_RESENT) | RANGE_LOST;
    }
    tidy(b);
}

bool sack_on_timeout(struct tcp_conn *c) {
    if ((c->flags & CONN_SACK) == 0 || !board_open(c))
        return false;
    c->flags |= CONN_LOSS;
    conn_disarm(c, DEADLINE_LOSS);
    board_mark_all_lost(c);
    return true;
}
