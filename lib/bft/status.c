/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * STATUS: OSDI 4.2 has replicas retransmit until a message arrives; TOCS 5.2 has the receiver say
 * what it lacks, and the others send that again. A replica speaks up when it makes no progress
 * although there is something to do, and now and then in any case, for it may be the one that
 * everything passed by.
 */
#include "bft/internal.h"

#include <string.h>

#define HEARTBEAT_INTERVALS 16u // STATUS of a replica that lacks nothing
#define ANSWER_SEQUENCES 128u   // described by one answer
#define REPROPOSE_MAX 8u
#define ANSWER_BYTES (1u << 20) // to one replica in one interval

/* Answers to one replica are limited in bytes (law 9): a liar cannot make us flood the net. */
bool bft_answer_allowed(struct bft_replica *r, uint16_t to, size_t bytes) {
    struct bft_peer *peer = &r->peers[to];
    if (bytes > ANSWER_BYTES) { // a large body, and then the time that it takes to carry it
        if (r->now_us < peer->large_us) {
            bft_count(r, BFT_REPLICA_DROP_RATE);
            return false;
        }
        peer->large_us = r->now_us + bytes / BFT_SLOW_PATH_BYTES_PER_US;
        return true;
    }
    if (r->now_us >= peer->budget_us) {
        peer->budget_us = r->now_us + r->cfg.status_us;
        peer->budget_bytes = ANSWER_BYTES;
    }
    if (peer->budget_bytes < bytes) {
        bft_count(r, BFT_REPLICA_DROP_RATE);
        return false;
    }
    peer->budget_bytes -= bytes;
    return true;
}

static uint64_t highest_known(const struct bft_replica *r) {
    uint64_t evidence = BFT_EVIDENCE(r, seen);
    return evidence > r->highest_accepted ? evidence : r->highest_accepted;
}

static uint8_t bits_of(const struct bft_slot *s) {
    if (s == NULL || !s->has_content)
        return 0;
    return (uint8_t)(BFT_HAS_CONTENT | (s->prepared ? BFT_HAS_PREPARED : 0) |
                     (s->committed ? BFT_HAS_COMMITTED : 0));
}

static void send_status(struct bft_replica *r) {
    uint8_t out[BFT_STATUS_MAX_BYTES], bits[BFT_STATUS_SPAN_MAX];
    uint64_t end = highest_known(r);
    if (end > r->last_stable + r->cfg.log_window)
        end = r->last_stable + r->cfg.log_window;
    struct bft_status_msg m = {.h = bft_header_of(r, BFT_MSG_STATUS),
                               .view = r->view,
                               .last_executed = r->last_executed,
                               .last_stable = r->last_stable,
                               .oldest = bft_log_oldest(r),
                               .bits = bits};
    while (m.count < BFT_STATUS_SPAN_MAX && r->last_executed + 1 + m.count <= end) {
        bits[m.count] = bits_of(bft_slot_find(r, r->last_executed + 1 + m.count));
        m.count++;
    }
    /* The content of a batch that commits bind may come from anybody: the primary first, then in
     * turn. */
    m.h.designated = (uint16_t)((bft_primary(r) + r->status_attempts) % r->cfg.group.n);
    size_t len = bft_encode_status(out, sizeof out, &m);
    bft_count(r, BFT_REPLICA_STATUS_SENT);
    r->env.broadcast(r->env.ctx, out, len);
}

/* Whether execution waits for a message: not for the service, and not for nothing. */
static bool stuck(const struct bft_replica *r) {
    uint64_t k = r->cfg.checkpoint_interval;
    if (r->ticked_executed / k * k > r->last_stable)
        return true; // our checkpoint does not become stable
    /* The primary keeps pipeline_max batches under way: who lacks more is not waiting but lagging.
     */
    uint64_t highest = highest_known(r);
    bool lagging = highest > r->last_executed + 2 * (uint64_t)r->cfg.pipeline_max;
    if (highest <= r->last_executed || (r->ticked_executed != r->last_executed && !lagging))
        return false;
    const struct bft_slot *s = bft_slot_find(r, r->last_executed + 1);
    return s == NULL || !s->committed || s->missing > 0;
}

/* The primary's PRE-PREPARE may be lost to everybody, who then cannot know what they lack. */
static void repropose(struct bft_replica *r) {
    uint32_t sent = 0;
    if (!bft_is_primary(r))
        return;
    for (uint64_t seq = r->last_executed + 1; seq < r->next_sequence && sent < REPROPOSE_MAX;
         seq++) {
        const struct bft_slot *s = bft_slot_find(r, seq);
        if (s == NULL || !s->from_primary || s->prepared)
            continue;
        size_t len = bft_encode_content(r, s);
        bft_count(r, BFT_REPLICA_RETRANSMITTED);
        r->env.broadcast(r->env.ctx, r->scratch, len);
        sent++;
    }
}

void bft_status_timer(struct bft_replica *r) {
    if (r->now_us < r->status_us)
        return;
    bool is_stuck = stuck(r) && !bft_behind(r); // who is behind asks now and then only
    if (is_stuck) {
        repropose(r);
        r->status_attempts++;
    } else {
        r->status_attempts = 0;
    }
    if (is_stuck || r->now_us >= r->heartbeat_us) {
        send_status(r);
        r->heartbeat_us = r->now_us + (uint64_t)r->cfg.status_us * HEARTBEAT_INTERVALS;
    }
    r->ticked_executed = r->last_executed;
    r->status_us = r->now_us + r->cfg.status_us;
}

static uint32_t resend(struct bft_replica *r, uint16_t to, size_t len) {
    if (!bft_answer_allowed(r, to, len))
        return 0;
    r->env.send(r->env.ctx, to, 0, r->scratch, len);
    return 1;
}

static uint32_t answer_sequence(struct bft_replica *r, uint16_t to, uint8_t has, bool asked,
                                const struct bft_slot *s) {
    uint32_t sent = 0;
    bool ours = bft_is_primary(r) ? s->from_primary || s->committed : asked && s->committed;
    if ((has & BFT_HAS_CONTENT) == 0 && s->has_content && ours)
        sent += resend(r, to, bft_encode_content(r, s));
    if ((has & BFT_HAS_PREPARED) == 0 && s->sent_prepare)
        sent += resend(r, to, bft_encode_own_vote(r, s, BFT_MSG_PREPARE));
    if ((has & BFT_HAS_COMMITTED) == 0 && s->sent_commit)
        sent += resend(r, to, bft_encode_own_vote(r, s, BFT_MSG_COMMIT));
    return sent;
}

static void answer(struct bft_replica *r, uint16_t to, const struct bft_status_msg *m) {
    uint32_t sent = bft_checkpoint_resend(r, to, m->last_stable);
    uint64_t next = m->last_executed + 1, end = m->last_stable + r->cfg.log_window;
    if (next < bft_log_oldest(r))
        end = 0; // the checkpoint said that what it needs is gone: the rest is of no use to it
    for (uint32_t i = 0; i < ANSWER_SEQUENCES && next + i <= end; i++) {
        const struct bft_slot *s = bft_slot_find(r, next + i);
        if (s != NULL)
            sent += answer_sequence(r, to, i < m->count ? m->bits[i] : 0,
                                    m->h.designated == r->cfg.self, s);
    }
    r->counters[BFT_REPLICA_RETRANSMITTED] += sent;
}

void bft_on_status(struct bft_replica *r, uint16_t from, const uint8_t *data, size_t len) {
    struct bft_status_msg m;
    if (!bft_decode_status(data, len, &m) || m.h.designated >= r->cfg.group.n) {
        bft_count(r, BFT_REPLICA_DROP_MALFORMED);
        return;
    }
    if (!bft_from_group(r, from, &m.h))
        return;
    if (m.view != r->view) {
        bft_count(r, BFT_REPLICA_DROP_VIEW);
        return;
    }
    struct bft_peer *peer = &r->peers[from];
    if (peer->seen < m.last_executed)
        peer->seen = m.last_executed;
    if (peer->stable < m.last_stable)
        peer->stable = m.last_stable;
    if (peer->oldest < m.oldest)
        peer->oldest = m.oldest;
    bft_checkpoint_advance(r);
    if (r->now_us < peer->answer_us) {
        bft_count(r, BFT_REPLICA_DROP_RATE);
        return;
    }
    peer->answer_us = r->now_us + r->cfg.status_us / 2;
    answer(r, from, &m);
}
