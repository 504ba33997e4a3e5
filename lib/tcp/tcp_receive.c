/* SPDX-License-Identifier: BSD-3-Clause */
/* From the window to the owner: delivery, the receive queue, and the window we advertise. */
#include "tcp/tcp_internal.h"

/* Offers bytes; returns how many the owner took. The connection may be gone afterwards. */
static uint32_t offer(struct tcp_conn *c, const uint8_t *data, uint32_t len) {
    if ((c->flags & CONN_LINGER) != 0 || c->handlers->on_data == NULL)
        return len;
    c->flags |= CONN_DELIVERING;
    size_t taken = c->handlers->on_data(c, c->user, data, len);
    c->flags &= ~(uint32_t)CONN_DELIVERING;
    assert(taken <= len);
    return (uint32_t)taken;
}

/* The owner called tcp_recv_resume or closed inside on_data. */
static void after_offer(struct tcp_conn *c) {
    if ((c->flags & CONN_LINGER) != 0)
        receive_discard(c);
    if ((c->flags & CONN_RESUME) != 0)
        receive_resume(c);
}

void receive_in_order(struct tcp_conn *c, const uint8_t *data, uint32_t len) {
    uint32_t taken = 0;
    if (c->recvq.len == 0) {
        taken = offer(c, data, len);
        if (c->state == TCP_STATE_CLOSED)
            return;
    }
    c->rcv_nxt += taken;
    if (taken < len) {
        // What finds no chunk is not acknowledged and so comes again.
        if (buf_chain_append(&c->recvq, c->stack->env.pool, data + taken, len - taken))
            c->rcv_nxt += len - taken;
        else
            count(c->stack, TCP_DROP_TCP_NO_BUFFER);
    }
    after_offer(c);
}

/* Keeps a chunk, in the room of the last one if it fits, so that at worst half of the memory is
 * used. */
static void queue_chunk(struct tcp_conn *c, struct buf *b) {
    struct buf_pool *pool = c->stack->env.pool;
    const struct buf *tail = c->recvq.tail;
    size_t room = tail == NULL ? 0 : (size_t)(BUF_DATA_BYTES - tail->off - tail->len);
    if (b->len <= room) {
        bool fits = buf_chain_append(&c->recvq, pool, b->data + b->off, b->len);
        assert(fits);
        (void)fits;
        buf_put(pool, b);
        return;
    }
    b->next = NULL;
    struct buf_chain one = {.head = b, .tail = b, .len = b->len, .count = 1};
    buf_chain_concat(&c->recvq, &one);
}

/* Takes the chunk over; its first byte is at rcv_nxt. */
static void receive_chunk(struct tcp_conn *c, struct buf *b) {
    uint32_t taken = 0;
    if (c->recvq.len == 0) {
        taken = offer(c, b->data + b->off, b->len);
        if (c->state == TCP_STATE_CLOSED) {
            buf_put(c->stack->env.pool, b);
            return;
        }
    }
    c->rcv_nxt += b->len;
    b->off = (uint16_t)(b->off + taken);
    b->len = (uint16_t)(b->len - taken);
    if (b->len > 0)
        queue_chunk(c, b);
    else
        buf_put(c->stack->env.pool, b);
    after_offer(c);
}

void reassembly_deliver(struct tcp_conn *c) {
    while (c->state != TCP_STATE_CLOSED && c->ooo.head != NULL &&
           seq_leq(c->ooo.head->tag, c->rcv_nxt)) {
        struct buf *b = c->ooo.head;
        uint32_t known = c->rcv_nxt - b->tag;
        c->ooo.head = b->next;
        if (c->ooo.head == NULL)
            c->ooo.tail = NULL;
        c->ooo.chunks--;
        sack_note_duplicate(c, b->tag, b->tag + min_u32(known, b->len));
        if (known >= b->len) {
            buf_put(c->stack->env.pool, b);
            continue;
        }
        b->off = (uint16_t)(b->off + known);
        b->len = (uint16_t)(b->len - known);
        receive_chunk(c, b);
    }
}

void receive_resume(struct tcp_conn *c) {
    if ((c->flags & CONN_DELIVERING) != 0) {
        c->flags |= CONN_RESUME;
        return;
    }
    bool again = true;
    c->flags &= ~(uint32_t)CONN_RESUME;
    while (again && c->recvq.len > 0) {
        const struct buf *b = c->recvq.head;
        uint16_t have = b->len;
        uint32_t taken = offer(c, b->data + b->off, have);
        if (c->state == TCP_STATE_CLOSED)
            return;
        // A resume from inside counts only with progress, or an owner could keep us here for ever.
        again = taken == have || (taken > 0 && (c->flags & CONN_RESUME) != 0);
        c->flags &= ~(uint32_t)CONN_RESUME;
        buf_chain_drop(&c->recvq, c->stack->env.pool, taken);
        if ((c->flags & CONN_LINGER) != 0)
            receive_discard(c);
    }
    if (receive_window_opens(c)) {
        c->flags |= CONN_ACK_DUE | CONN_ACK_NOW;
        conn_list_output(c);
    }
    receive_tell_fin(c);
}

void receive_tell_fin(struct tcp_conn *c) {
    if ((c->flags & (CONN_FIN_RECEIVED | CONN_FIN_TOLD)) != CONN_FIN_RECEIVED || c->recvq.len > 0 ||
        (c->flags & CONN_DELIVERING) != 0)
        return;
    c->flags |= CONN_FIN_TOLD;
    if ((c->flags & CONN_LINGER) == 0 && c->handlers->on_fin != NULL)
        c->handlers->on_fin(c, c->user);
}

void receive_discard(struct tcp_conn *c) {
    buf_chain_free(&c->recvq, c->stack->env.pool);
}

/* ---- the window, RFC 9293 3.8.6 ---- */

static uint32_t window_limit(const struct tcp_conn *c, uint8_t scale) {
    return min_u32(c->stack->limits.recv_window_bytes, (uint32_t)UINT16_MAX << scale);
}

static uint32_t free_space(const struct tcp_conn *c, uint8_t scale) {
    uint32_t limit = window_limit(c, scale);
    return c->recvq.len < limit ? limit - (uint32_t)c->recvq.len : 0;
}

/* By how much an advertisement now would move the right edge. */
static uint32_t window_gain(const struct tcp_conn *c, uint8_t scale) {
    uint32_t promised = c->rcv_adv - c->rcv_nxt, space = free_space(c, scale);
    return space > promised ? space - promised : 0;
}

uint16_t receive_window_field(struct tcp_conn *c, uint8_t scale) {
    uint32_t promised = c->rcv_adv - c->rcv_nxt;
    uint32_t unit = (1u << scale) - 1, field;
    // Silly window avoidance (3.8.6.2.2): the edge moves by a full segment or half of the buffer.
    if (window_gain(c, scale) >= min_u32(window_limit(c, scale) / 2, c->mss))
        field = free_space(c, scale) >> scale;
    else // rounded up, as what was promised stays promised
        field = (promised + unit) >> scale;
    field = min_u32(field, UINT16_MAX);
    uint32_t edge = c->rcv_nxt + (field << scale);
    if (seq_gt(edge, c->rcv_adv))
        c->rcv_adv = edge;
    return (uint16_t)field;
}

bool receive_window_opens(const struct tcp_conn *c) {
    uint32_t limit = window_limit(c, c->rcv_scale);
    if ((c->flags & CONN_FIN_RECEIVED) != 0) // nothing more can come
        return false;
    return window_gain(c, c->rcv_scale) >= min_u32(limit / 2, 2u * c->mss);
}
