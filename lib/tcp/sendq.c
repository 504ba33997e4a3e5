/* SPDX-License-Identifier: BSD-3-Clause */
#include "tcp/sendq.h"

#include <string.h>

static void link_chunks(struct sendq *q, struct buf *first, struct buf *last) {
    struct buf **head = q->ref_tail != NULL ? &q->ref_tail->head : &q->head;
    struct buf **tail = q->ref_tail != NULL ? &q->ref_tail->tail : &q->tail;
    if (*tail == NULL)
        *head = first;
    else
        (*tail)->next = first;
    *tail = last;
}

size_t sendq_append(struct sendq *q, struct buf_pool *pool, const uint8_t *data, size_t len) {
    size_t taken = 0;
    while (taken < len) {
        struct buf *b = q->ref_tail != NULL ? q->ref_tail->tail : q->tail;
        size_t room = b == NULL ? 0 : (size_t)(BUF_DATA_BYTES - b->off - b->len);
        if (room == 0) {
            b = buf_get(pool);
            if (b == NULL)
                break;
            link_chunks(q, b, b);
            room = BUF_DATA_BYTES;
        }
        size_t n = len - taken < room ? len - taken : room;
        memcpy(b->data + b->off + b->len, data + taken, n);
        b->len = (uint16_t)(b->len + n);
        taken += n;
    }
    q->len += (uint32_t)taken;
    return taken;
}

void sendq_append_chain(struct sendq *q, struct buf_chain *chain) {
    if (chain->head != NULL)
        link_chunks(q, chain->head, chain->tail);
    q->len += (uint32_t)chain->len;
    buf_chain_init(chain);
}

static struct send_ref *ref_get(struct send_ref_pool *pool) {
    struct send_ref *ref = pool->free;
    if (ref != NULL)
        pool->free = ref->next;
    else if (pool->used_ever < pool->count)
        ref = &pool->refs[pool->used_ever++];
    return ref;
}

bool sendq_append_ref(struct sendq *q, struct send_ref_pool *refs, const uint8_t *data, size_t len,
                      void (*release)(void *arg), void *arg) {
    struct send_ref *ref = ref_get(refs);
    if (ref == NULL)
        return false;
    *ref = (struct send_ref){.data = data, .len = len, .release = release, .arg = arg};
    if (q->ref_tail == NULL)
        q->ref_head = ref;
    else
        q->ref_tail->next = ref;
    q->ref_tail = ref;
    q->len += (uint32_t)len;
    return true;
}

static void cursor_to_start(const struct sendq *q, struct send_cursor *at) {
    if (at->buf != NULL || at->ref != NULL)
        return;
    at->buf = q->head;
    at->ref = q->head != NULL ? NULL : q->ref_head;
    at->off = q->done;
}

/* The element behind the cursor's; the caller knows that there is one. */
static void cursor_to_next(const struct sendq *q, struct send_cursor *at) {
    struct buf *next = at->buf != NULL ? at->buf->next : at->ref->head;
    if (next == NULL)
        at->ref = at->ref != NULL ? at->ref->next : q->ref_head;
    at->buf = next;
    at->off = 0;
    assert(at->buf != NULL || at->ref != NULL);
}

void sendq_read(const struct sendq *q, struct send_cursor *at, uint8_t *dst, size_t len) {
    assert(len <= q->len);
    if (len > 0)
        cursor_to_start(q, at);
    while (len > 0) {
        const uint8_t *from = at->buf != NULL ? at->buf->data + at->buf->off : at->ref->data;
        size_t have = (at->buf != NULL ? at->buf->len : at->ref->len) - at->off;
        if (have == 0) {
            cursor_to_next(q, at);
            continue;
        }
        size_t n = len < have ? len : have;
        if (dst != NULL) {
            memcpy(dst, from + at->off, n);
            dst += n;
        }
        at->off += n;
        len -= n;
    }
}

static void drop_chunk(struct sendq *q, struct buf_pool *pool) {
    struct buf *b = q->head;
    if (q->next.buf == b)
        q->next = (struct send_cursor){0};
    q->head = b->next;
    if (q->head == NULL)
        q->tail = NULL;
    q->done = 0;
    buf_put(pool, b);
}

/* Releases the first reference; the chunks behind it become the front of the queue. */
static void drop_ref(struct sendq *q, struct send_ref_pool *refs) {
    struct send_ref *ref = q->ref_head;
    assert(q->head == NULL);
    if (q->next.ref == ref) {
        // A cursor in the chunks behind the reference stays where it is.
        if (q->next.buf != NULL)
            q->next.ref = NULL;
        else
            q->next = (struct send_cursor){0};
    }
    q->head = ref->head;
    q->tail = ref->tail;
    q->ref_head = ref->next;
    if (q->ref_head == NULL)
        q->ref_tail = NULL;
    q->done = 0;
    void (*release)(void *arg) = ref->release;
    void *arg = ref->arg;
    ref->next = refs->free;
    refs->free = ref;
    if (release != NULL)
        release(arg);
}

void sendq_drop(struct sendq *q, struct buf_pool *pool, struct send_ref_pool *refs, size_t len) {
    assert(len <= q->len);
    q->len -= (uint32_t)len;
    // A release may abort the connection, and with it empty the queue under our hands.
    while (len > 0 && (q->head != NULL || q->ref_head != NULL)) {
        size_t have = (q->head != NULL ? q->head->len : q->ref_head->len) - q->done;
        if (len < have) {
            q->done += (uint32_t)len;
            return;
        }
        len -= have;
        if (q->head != NULL)
            drop_chunk(q, pool);
        else
            drop_ref(q, refs);
    }
    if (q->len == 0)
        sendq_free(q, pool, refs);
}

void sendq_free(struct sendq *q, struct buf_pool *pool, struct send_ref_pool *refs) {
    q->len = 0;
    while (q->head != NULL || q->ref_head != NULL) {
        if (q->head != NULL)
            drop_chunk(q, pool);
        else
            drop_ref(q, refs);
    }
    q->next = (struct send_cursor){0};
    q->done = 0;
}
