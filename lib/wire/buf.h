/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * buf - chains of fixed-size chunks from a bounded pool.
 *
 * Bodies and TCP queues live in chains of 2 KiB chunks, so that a worker never
 * allocates from a heap and one connection's use of memory can be counted and capped.
 * A pool is an interface of two functions: in prophecy-sketcher it is an rte_mempool
 * (any lcore may return a chunk), in tests and in prophecy-replica a bounded heap pool.
 * A chain has one owner at a time; passing the struct on passes the ownership.
 */
#ifndef PROPHECY_BUF_H
#define PROPHECY_BUF_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BUF_CHUNK_BYTES 2048u
#define BUF_HEADER_BYTES 16u
#define BUF_DATA_BYTES (BUF_CHUNK_BYTES - BUF_HEADER_BYTES)

struct buf {
    struct buf *next;
    uint16_t off; // first valid byte in data
    uint16_t len; // valid bytes from off
    uint32_t tag; // free for the owner of the chain
    uint8_t data[BUF_DATA_BYTES];
};
static_assert(sizeof(struct buf) == BUF_CHUNK_BYTES, "a buf is one pool element");

struct buf_pool {
    struct buf *(*get)(struct buf_pool *pool); // NULL when the pool is empty
    void (*put)(struct buf_pool *pool, struct buf *b);
    void *ctx;
};

struct buf_chain {
    struct buf *head;
    struct buf *tail;
    size_t len;     // bytes
    uint32_t count; // chunks
};

/* Takes one empty chunk (off = len = 0, next = NULL); NULL when the pool is empty. */
struct buf *buf_get(struct buf_pool *pool);
void buf_put(struct buf_pool *pool, struct buf *b);

void buf_chain_init(struct buf_chain *c);
/* Copies len bytes to the end of the chain. All or nothing: false, and the chain unchanged, when
 * the pool runs out. */
bool buf_chain_append(struct buf_chain *c, struct buf_pool *pool, const void *data, size_t len);
/* Moves everything of src behind dst; src is empty afterwards. */
void buf_chain_concat(struct buf_chain *dst, struct buf_chain *src);
/* Drops n bytes from the front (n <= len), returning emptied chunks to the pool. */
void buf_chain_drop(struct buf_chain *c, struct buf_pool *pool, size_t n);
/* Keeps the first len bytes (len <= c->len) and returns the chunks behind them to the pool. */
void buf_chain_truncate(struct buf_chain *c, struct buf_pool *pool, size_t len);
void buf_chain_free(struct buf_chain *c, struct buf_pool *pool);
/* Copies up to len bytes starting at offset into dst; returns the number copied. */
size_t buf_chain_copy(const struct buf_chain *c, size_t offset, void *dst, size_t len);

/* A pool over malloc, bounded to max_chunks, single-threaded; ctx belongs to it. */
struct buf_heap_pool {
    struct buf_pool pool; // first, so that &p->pool is the pool
    uint32_t max_chunks;
    uint32_t in_use;
};
void buf_heap_pool_init(struct buf_heap_pool *p, uint32_t max_chunks);

#endif
