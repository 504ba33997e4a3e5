/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The send queue of a connection: chunks and references in the order in which they were queued. Its
 * first byte is the first one that the peer has not acknowledged. A reference carries the chunks
 * queued behind it, so taking over a chain never needs a descriptor and costs O(1).
 */
#ifndef PROPHECY_SENDQ_H
#define PROPHECY_SENDQ_H

#include "wire/buf.h"

struct send_ref {
    struct send_ref *next;
    const uint8_t *data;
    size_t len;
    void (*release)(void *arg);
    void *arg;
    struct buf *head; // chunks queued behind this reference and before the next
    struct buf *tail;
};

/* The descriptors, shared by all connections of a stack. */
struct send_ref_pool {
    struct send_ref *refs;
    struct send_ref *free;
    uint32_t used_ever; // of refs; those beyond have never been touched
    uint32_t count;
};

/* A place in the queue: in a chunk (buf set) or in the bytes of a reference; all 0: the queue's
 * start. */
struct send_cursor {
    struct send_ref *ref; // NULL: before the first reference
    struct buf *buf;
    size_t off; // bytes of this element already behind
};

struct sendq {
    struct buf *head; // chunks before the first reference
    struct buf *tail;
    struct send_ref *ref_head;
    struct send_ref *ref_tail;
    uint32_t done; // acknowledged bytes of the first element
    uint32_t len;  // bytes not acknowledged
    struct send_cursor next;
};

/* Copies into chunks; returns the bytes taken, fewer than len only when the pool is empty. */
size_t sendq_append(struct sendq *q, struct buf_pool *pool, const uint8_t *data, size_t len);
void sendq_append_chain(struct sendq *q, struct buf_chain *chain);
/* False when no descriptor is left. len > 0. */
bool sendq_append_ref(struct sendq *q, struct send_ref_pool *refs, const uint8_t *data, size_t len,
                      void (*release)(void *arg), void *arg);
/* Copies len bytes from the cursor on and moves it; dst NULL only moves it. They must be there. */
void sendq_read(const struct sendq *q, struct send_cursor *at, uint8_t *dst, size_t len);
/* Removes len acknowledged bytes from the front. */
void sendq_drop(struct sendq *q, struct buf_pool *pool, struct send_ref_pool *refs, size_t len);
/* Empties the queue, releasing every reference. */
void sendq_free(struct sendq *q, struct buf_pool *pool, struct send_ref_pool *refs);

#endif
