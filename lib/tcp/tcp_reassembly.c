/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Segments beyond a gap (RFC 9293 3.10.7.4, seventh). Chunks in order of sequence that do not
 * overlap; neighbours share chunks, so that small segments do not each hold 2 KiB. Bytes that we
 * have already win over later copies of them.
 */
#include "tcp/tcp_internal.h"

static uint32_t end_of(const struct buf *b) {
    return b->tag + b->len;
}

/* The last chunk that begins at or before seq; NULL when there is none. */
static struct buf *chunk_before(const struct tcp_conn *c, uint32_t seq) {
    struct buf *before = NULL;
    if (c->ooo.tail != NULL && seq_leq(c->ooo.tail->tag, seq))
        return c->ooo.tail;
    for (struct buf *b = c->ooo.head; b != NULL && seq_leq(b->tag, seq); b = b->next)
        before = b;
    return before;
}

static struct buf *new_chunk(struct tcp_conn *c, struct buf *before, uint32_t seq) {
    struct tcp_stack *s = c->stack;
    uint32_t most = (s->limits.ooo_bytes_max + BUF_DATA_BYTES - 1) / BUF_DATA_BYTES;
    if (c->ooo.chunks >= most) {
        count(s, TCP_DROP_TCP_OOO_LIMIT);
        return NULL;
    }
    struct buf *b = buf_get(s->env.pool);
    if (b == NULL) {
        count(s, TCP_DROP_TCP_NO_BUFFER);
        return NULL;
    }
    b->tag = seq;
    struct buf **link = before != NULL ? &before->next : &c->ooo.head;
    b->next = *link;
    *link = b;
    if (b->next == NULL)
        c->ooo.tail = b;
    c->ooo.chunks++;
    return b;
}

/* Puts bytes of a gap behind before; returns how many found room in one chunk, 0: no chunk to be
 * had. */
static uint32_t fill(struct tcp_conn *c, struct buf *before, uint32_t seq, const uint8_t *data,
                     uint32_t len) {
    struct buf *b = before;
    if (b == NULL || end_of(b) != seq || b->off + b->len == BUF_DATA_BYTES)
        b = new_chunk(c, before, seq);
    if (b == NULL)
        return 0;
    uint32_t n = min_u32(len, BUF_DATA_BYTES - b->off - b->len);
    memcpy(b->data + b->off + b->len, data, n);
    b->len = (uint16_t)(b->len + n);
    return n;
}

void reassembly_insert(struct tcp_conn *c, uint32_t seq, const uint8_t *data, uint32_t len) {
    while (len > 0) {
        struct buf *before = chunk_before(c, seq);
        const struct buf *after = before != NULL ? before->next : c->ooo.head;
        uint32_t n;
        if (before != NULL && seq_gt(end_of(before), seq)) {
            n = min_u32(end_of(before) - seq, len); // known already
            sack_note_duplicate(c, seq, seq + n);
        } else {
            n = after != NULL ? min_u32(len, after->tag - seq) : len;
            n = fill(c, before, seq, data, n);
            if (n == 0)
                return;
        }
        seq += n;
        data += n;
        len -= n;
    }
}

void reassembly_free(struct tcp_conn *c) {
    while (c->ooo.head != NULL) {
        struct buf *b = c->ooo.head;
        c->ooo.head = b->next;
        buf_put(c->stack->env.pool, b);
    }
    c->ooo = (struct out_of_order){0};
}
