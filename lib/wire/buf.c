/* SPDX-License-Identifier: BSD-3-Clause */
#include "wire/buf.h"

#include <stdlib.h>
#include <string.h>

struct buf *buf_get(struct buf_pool *pool) {
    struct buf *b = pool->get(pool);
    if (b != NULL) {
        b->next = NULL;
        b->off = b->len = 0;
        b->tag = 0;
    }
    return b;
}

void buf_put(struct buf_pool *pool, struct buf *b) {
    pool->put(pool, b);
}

void buf_chain_init(struct buf_chain *c) {
    *c = (struct buf_chain){0};
}

static size_t tail_room(const struct buf_chain *c) {
    return c->tail == NULL ? 0 : BUF_DATA_BYTES - c->tail->off - c->tail->len;
}

/* Links enough empty chunks for need bytes; on failure gives back what it took. */
static bool reserve(struct buf_pool *pool, size_t need, struct buf **first) {
    struct buf *list = NULL;
    for (size_t have = 0; have < need; have += BUF_DATA_BYTES) {
        struct buf *b = buf_get(pool);
        if (b == NULL) {
            while (list != NULL) {
                struct buf *next = list->next;
                buf_put(pool, list);
                list = next;
            }
            return false;
        }
        b->next = list;
        list = b;
    }
    *first = list;
    return true;
}

static void link_tail(struct buf_chain *c, struct buf *b) {
    b->next = NULL;
    if (c->tail == NULL)
        c->head = b;
    else
        c->tail->next = b;
    c->tail = b;
    c->count++;
}

bool buf_chain_append(struct buf_chain *c, struct buf_pool *pool, const void *data, size_t len) {
    const uint8_t *src = data;
    size_t room = tail_room(c);
    struct buf *fresh = NULL;
    if (len > room && !reserve(pool, len - room, &fresh))
        return false;
    while (len > 0) {
        if (tail_room(c) == 0) {
            struct buf *b = fresh;
            fresh = b->next;
            link_tail(c, b);
        }
        size_t n = tail_room(c) < len ? tail_room(c) : len;
        memcpy(c->tail->data + c->tail->off + c->tail->len, src, n);
        c->tail->len = (uint16_t)(c->tail->len + n);
        c->len += n;
        src += n;
        len -= n;
    }
    assert(fresh == NULL);
    return true;
}

void buf_chain_concat(struct buf_chain *dst, struct buf_chain *src) {
    if (src->head == NULL)
        return;
    if (dst->tail == NULL)
        dst->head = src->head;
    else
        dst->tail->next = src->head;
    dst->tail = src->tail;
    dst->len += src->len;
    dst->count += src->count;
    buf_chain_init(src);
}

void buf_chain_drop(struct buf_chain *c, struct buf_pool *pool, size_t n) {
    assert(n <= c->len);
    c->len -= n;
    while (n > 0) {
        struct buf *b = c->head;
        if (n < b->len) {
            b->off = (uint16_t)(b->off + n);
            b->len = (uint16_t)(b->len - n);
            return;
        }
        n -= b->len;
        c->head = b->next;
        if (c->head == NULL)
            c->tail = NULL;
        c->count--;
        buf_put(pool, b);
    }
    if (c->len == 0)
        buf_chain_free(c, pool);
}

void buf_chain_truncate(struct buf_chain *c, struct buf_pool *pool, size_t len) {
    assert(len <= c->len);
    if (len == 0) {
        buf_chain_free(c, pool);
        return;
    }
    struct buf *b = c->head;
    size_t left = len;
    uint32_t kept = 1;
    for (; left > b->len; b = b->next, kept++)
        left -= b->len;
    struct buf_chain rest = {.head = b->next};
    b->len = (uint16_t)left;
    b->next = NULL;
    buf_chain_free(&rest, pool);
    c->tail = b;
    c->len = len;
    c->count = kept;
}

void buf_chain_free(struct buf_chain *c, struct buf_pool *pool) {
    for (struct buf *b = c->head; b != NULL;) {
        struct buf *next = b->next;
        buf_put(pool, b);
        b = next;
    }
    buf_chain_init(c);
}

size_t buf_chain_copy(const struct buf_chain *c, size_t offset, void *dst, size_t len) {
    size_t copied = 0;
    for (const struct buf *b = c->head; b != NULL && copied < len; b = b->next) {
        if (offset >= b->len) {
            offset -= b->len;
            continue;
        }
        size_t n = b->len - offset;
        if (n > len - copied)
            n = len - copied;
        memcpy((uint8_t *)dst + copied, b->data + b->off + offset, n);
        copied += n;
        offset = 0;
    }
    return copied;
}

static struct buf *heap_get(struct buf_pool *pool) {
    struct buf_heap_pool *p = (struct buf_heap_pool *)pool;
    if (p->in_use == p->max_chunks)
        return NULL;
    struct buf *b = malloc(sizeof *b);
    if (b != NULL)
        p->in_use++;
    return b;
}

static void heap_put(struct buf_pool *pool, struct buf *b) {
    struct buf_heap_pool *p = (struct buf_heap_pool *)pool;
    assert(p->in_use > 0);
    p->in_use--;
    free(b);
}

void buf_heap_pool_init(struct buf_heap_pool *p, uint32_t max_chunks) {
    *p = (struct buf_heap_pool){.pool = {.get = heap_get, .put = heap_put},
                                .max_chunks = max_chunks};
}
