/* SPDX-License-Identifier: BSD-3-Clause */
#include "unit.h"
#include "wire/buf.h"
#include "wire/wire.h"

#include <stdlib.h>

/* ---- cursors ---- */

#define ALL_BYTES (1u + 2u + 4u + 8u + 5u + 3u)
static const uint8_t all[ALL_BYTES] = {0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08,
                                       0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f, 'h',
                                       'e',  'l',  'l',  'o',  'x',  'y',  'z'};

static void put_all(struct wire_writer *w) {
    wire_put_u8(w, 0x01);
    wire_put_u16(w, 0x0203);
    wire_put_u32(w, 0x04050607);
    wire_put_u64(w, UINT64_C(0x08090a0b0c0d0e0f));
    wire_put_bytes(w, "hello", 5);
    uint8_t *hole = wire_put_hole(w, 3);
    if (hole != NULL)
        memcpy(hole, "xyz", 3);
}

/* Exact values while they last, zeros from the first that is cut off. */
static void get_all(struct wire_reader *r, size_t have) {
    uint8_t copied[5];
    CU_ASSERT_EQUAL(wire_get_u8(r), have >= 1 ? 0x01 : 0);
    CU_ASSERT_EQUAL(wire_get_u16(r), have >= 3 ? 0x0203 : 0);
    CU_ASSERT_EQUAL(wire_get_u32(r), have >= 7 ? 0x04050607 : 0);
    CU_ASSERT_EQUAL(wire_get_u64(r), have >= 15 ? UINT64_C(0x08090a0b0c0d0e0f) : 0);
    memset(copied, 0x5a, sizeof copied);
    wire_get_bytes(r, copied, sizeof copied);
    CU_ASSERT(memcmp(copied, have >= 20 ? "hello" : "\0\0\0\0\0", 5) == 0);
    const uint8_t *view = wire_get_view(r, 3);
    CU_ASSERT_EQUAL(view != NULL, have >= 23);
    if (view != NULL)
        CU_ASSERT(memcmp(view, "xyz", 3) == 0);
}

static void test_round_trip(void) {
    uint8_t out[ALL_BYTES];
    struct wire_writer w;
    struct wire_reader r;
    wire_writer_init(&w, out, sizeof out);
    put_all(&w);
    CU_ASSERT(!w.failed);
    CU_ASSERT_EQUAL(w.len, ALL_BYTES);
    CU_ASSERT(memcmp(out, all, ALL_BYTES) == 0); // big-endian
    wire_reader_init(&r, out, w.len);
    CU_ASSERT_EQUAL(wire_remaining(&r), ALL_BYTES);
    CU_ASSERT(!wire_reader_done(&r));
    get_all(&r, ALL_BYTES);
    CU_ASSERT(wire_reader_done(&r));
    CU_ASSERT_EQUAL(wire_remaining(&r), 0);
}

/* Each in a block of its own size, so that AddressSanitizer sees a read beyond the end. */
static void test_every_truncation_of_a_reader(void) {
    for (size_t n = 0; n < ALL_BYTES; n++) {
        uint8_t *exact = malloc(n + (n == 0));
        CU_ASSERT_PTR_NOT_NULL_FATAL(exact);
        memcpy(exact, all, n);
        struct wire_reader r;
        wire_reader_init(&r, exact, n);
        get_all(&r, n);
        CU_ASSERT(r.failed);
        CU_ASSERT(!wire_reader_done(&r));
        CU_ASSERT_EQUAL(wire_remaining(&r), 0);
        free(exact);
    }
}

static void test_reader_failure_is_sticky(void) {
    struct wire_reader r;
    wire_reader_init(&r, all, 3);
    CU_ASSERT_EQUAL(wire_get_u32(&r), 0);
    CU_ASSERT(r.failed);
    CU_ASSERT_EQUAL(wire_get_u8(&r), 0); // though there are three
    CU_ASSERT_PTR_NULL(wire_get_view(&r, 0));
    CU_ASSERT(!wire_reader_done(&r));
    wire_reader_init(&r, all, 3);
    CU_ASSERT_PTR_NULL(wire_get_view(&r, SIZE_MAX)); // a length that would wrap
    CU_ASSERT(r.failed);
}

static void test_reader_that_is_not_at_the_end(void) {
    struct wire_reader r;
    wire_reader_init(&r, all, 3);
    wire_get_u16(&r);
    CU_ASSERT(!wire_reader_done(&r));
    CU_ASSERT_EQUAL(wire_remaining(&r), 1);
    wire_get_u8(&r);
    CU_ASSERT(wire_reader_done(&r));
    wire_reader_init(&r, NULL, 0);
    CU_ASSERT(wire_reader_done(&r));
    wire_get_bytes(&r, NULL, 0);
    CU_ASSERT(wire_reader_done(&r));
}

static void test_every_capacity_of_a_writer(void) {
    for (size_t cap = 0; cap < ALL_BYTES; cap++) {
        uint8_t out[ALL_BYTES];
        struct wire_writer w;
        memset(out, 0xee, sizeof out);
        wire_writer_init(&w, out, cap);
        put_all(&w);
        CU_ASSERT(w.failed);
        CU_ASSERT(w.len <= cap);
        CU_ASSERT(memcmp(out, all, w.len) == 0); // whole fields or nothing
        for (size_t i = w.len; i < sizeof out; i++)
            CU_ASSERT_EQUAL(out[i], 0xee);
    }
}

static void test_writer_failure_is_sticky(void) {
    uint8_t out[4];
    struct wire_writer w;
    wire_writer_init(&w, out, sizeof out);
    wire_put_u8(&w, 1);
    wire_put_u32(&w, 2);
    CU_ASSERT(w.failed);
    wire_put_u8(&w, 3); // would fit
    CU_ASSERT_PTR_NULL(wire_put_hole(&w, 0));
    CU_ASSERT(w.failed);
    CU_ASSERT_EQUAL(w.len, 1);
    wire_writer_init(&w, out, sizeof out);
    wire_put_bytes(&w, NULL, 0);
    CU_ASSERT(!w.failed && w.len == 0);
    CU_ASSERT_PTR_NULL(wire_put_hole(&w, SIZE_MAX));
    CU_ASSERT(w.failed);
}

/* ---- chains ---- */

#define PATTERN_BYTES (5u * BUF_DATA_BYTES)
static uint8_t pattern[PATTERN_BYTES];

static void fill_pattern(void) {
    for (size_t i = 0; i < PATTERN_BYTES; i++)
        pattern[i] = (uint8_t)(i * 31 + i / 256);
}

/* Counts of the chain are what its chunks add up to, and its bytes are those of the pattern from
 * offset on. */
static void check_chain(const struct buf_chain *c, size_t offset) {
    static uint8_t copy[PATTERN_BYTES];
    size_t len = 0;
    uint32_t count = 0;
    const struct buf *last = NULL;
    for (const struct buf *b = c->head; b != NULL; b = b->next) {
        CU_ASSERT(b->len > 0);
        CU_ASSERT(b->off + b->len <= BUF_DATA_BYTES);
        len += b->len;
        count++;
        last = b;
    }
    CU_ASSERT_EQUAL(c->len, len);
    CU_ASSERT_EQUAL(c->count, count);
    CU_ASSERT_PTR_EQUAL(c->tail, last);
    CU_ASSERT_EQUAL(buf_chain_copy(c, 0, copy, sizeof copy), len);
    CU_ASSERT(memcmp(copy, pattern + offset, len) == 0);
}

static void test_append_and_drop(void) {
    static const size_t sizes[] = {
        0, 1, 5, BUF_DATA_BYTES - 1, BUF_DATA_BYTES, BUF_DATA_BYTES + 1, 3 * BUF_DATA_BYTES};
    const size_t n = sizeof sizes / sizeof sizes[0];
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < n; k++)
            for (size_t d = 0; d < n; d++) {
                struct buf_heap_pool pool;
                struct buf_chain c;
                buf_heap_pool_init(&pool, 8);
                buf_chain_init(&c);
                size_t first = sizes[i],
                       second = sizes[k] < PATTERN_BYTES - first ? sizes[k] : PATTERN_BYTES - first;
                CU_ASSERT(buf_chain_append(&c, &pool.pool, pattern, first));
                check_chain(&c, 0);
                CU_ASSERT(buf_chain_append(&c, &pool.pool, pattern + first, second));
                check_chain(&c, 0);
                CU_ASSERT_EQUAL(c.len, first + second);
                CU_ASSERT_EQUAL(c.count, (c.len + BUF_DATA_BYTES - 1) / BUF_DATA_BYTES);
                size_t drop = sizes[d] < c.len ? sizes[d] : c.len;
                buf_chain_drop(&c, &pool.pool, drop);
                check_chain(&c, drop);
                CU_ASSERT_EQUAL(pool.in_use, c.count);
                buf_chain_drop(&c, &pool.pool, c.len);
                CU_ASSERT_PTR_NULL(c.head);
                check_chain(&c, 0);
                CU_ASSERT_EQUAL(pool.in_use, 0);
            }
}

static void test_append_is_all_or_nothing(void) {
    for (uint32_t limit = 0; limit < 4; limit++)
        for (size_t first = 0; first <= limit * BUF_DATA_BYTES; first += BUF_DATA_BYTES / 2) {
            struct buf_heap_pool pool;
            struct buf_chain c;
            buf_heap_pool_init(&pool, limit);
            buf_chain_init(&c);
            CU_ASSERT(buf_chain_append(&c, &pool.pool, pattern, first));
            uint32_t in_use = pool.in_use;
            size_t room = limit * BUF_DATA_BYTES - first;
            CU_ASSERT(!buf_chain_append(&c, &pool.pool, pattern + first, room + 1));
            CU_ASSERT_EQUAL(c.len, first);
            CU_ASSERT_EQUAL(pool.in_use, in_use);
            check_chain(&c, 0);
            CU_ASSERT(buf_chain_append(&c, &pool.pool, pattern + first, room));
            CU_ASSERT_EQUAL(pool.in_use, limit);
            check_chain(&c, 0);
            buf_chain_free(&c, &pool.pool);
            CU_ASSERT_EQUAL(pool.in_use, 0);
        }
}

static void test_concat(void) {
    static const size_t sizes[] = {0, 1, BUF_DATA_BYTES, BUF_DATA_BYTES + 7};
    const size_t n = sizeof sizes / sizeof sizes[0];
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < n; k++) {
            struct buf_heap_pool pool;
            struct buf_chain a, b;
            buf_heap_pool_init(&pool, 8);
            buf_chain_init(&a);
            buf_chain_init(&b);
            CU_ASSERT(buf_chain_append(&a, &pool.pool, pattern, sizes[i]));
            CU_ASSERT(buf_chain_append(&b, &pool.pool, pattern + sizes[i], sizes[k]));
            buf_chain_concat(&a, &b);
            CU_ASSERT(b.head == NULL && b.tail == NULL && b.len == 0 && b.count == 0);
            CU_ASSERT_EQUAL(a.len, sizes[i] + sizes[k]);
            check_chain(&a, 0);
            // and it can still grow
            CU_ASSERT(buf_chain_append(&a, &pool.pool, pattern + a.len, 3));
            check_chain(&a, 0);
            buf_chain_free(&a, &pool.pool);
            buf_chain_free(&b, &pool.pool);
            CU_ASSERT_EQUAL(pool.in_use, 0);
        }
}

static void test_copy(void) {
    struct buf_heap_pool pool;
    struct buf_chain c;
    uint8_t out[4000];
    buf_heap_pool_init(&pool, 8);
    buf_chain_init(&c);
    CU_ASSERT_EQUAL(buf_chain_copy(&c, 0, out, sizeof out), 0);
    CU_ASSERT(buf_chain_append(&c, &pool.pool, pattern, 3 * BUF_DATA_BYTES));
    buf_chain_drop(&c, &pool.pool, 10); // so that chunks do not begin where data does
    for (size_t offset = 0; offset < c.len + 2; offset += 97) {
        size_t want = offset % sizeof out, left = offset < c.len ? c.len - offset : 0;
        memset(out, 0xee, sizeof out);
        size_t got = buf_chain_copy(&c, offset, out, want);
        CU_ASSERT_EQUAL(got, want < left ? want : left);
        CU_ASSERT(memcmp(out, pattern + 10 + offset, got) == 0);
        CU_ASSERT(got == sizeof out || out[got] == 0xee);
    }
    buf_chain_free(&c, &pool.pool);
    CU_ASSERT_EQUAL(pool.in_use, 0);
}

/* A queue under random use, byte by byte, with the pool's count as the measure of leaks. */
static void test_queue(void) {
    struct buf_heap_pool pool;
    struct buf_chain c;
    uint64_t state = 12345;
    size_t in = 0, out = 0;
    buf_heap_pool_init(&pool, 4);
    buf_chain_init(&c);
    for (uint32_t i = 0; i < 20000; i++) {
        state = state * UINT64_C(6364136223846793005) + 1442695040888963407u;
        size_t n = (size_t)(state >> 33) % 3000;
        if ((state >> 63) != 0) {
            if (in + n > PATTERN_BYTES) { // begin at the front of the pattern again
                buf_chain_free(&c, &pool.pool);
                in = out = 0;
            }
            if (buf_chain_append(&c, &pool.pool, pattern + in, n))
                in += n;
        } else {
            n = n < c.len ? n : c.len;
            buf_chain_drop(&c, &pool.pool, n);
            out += n;
        }
        CU_ASSERT_EQUAL(c.len, in - out);
        CU_ASSERT_EQUAL(pool.in_use, c.count);
        check_chain(&c, out);
    }
    buf_chain_free(&c, &pool.pool);
    CU_ASSERT_EQUAL(pool.in_use, 0);
}

static void test_single_chunks(void) {
    struct buf_heap_pool pool;
    buf_heap_pool_init(&pool, 2);
    struct buf *a = buf_get(&pool.pool), *b = buf_get(&pool.pool);
    CU_ASSERT_FATAL(a != NULL && b != NULL);
    CU_ASSERT_PTR_NULL(buf_get(&pool.pool));
    a->off = a->len = 7;
    a->tag = 9;
    a->next = b;
    buf_put(&pool.pool, a);
    a = buf_get(&pool.pool);
    CU_ASSERT_FATAL(a != NULL);
    CU_ASSERT(a->off == 0 && a->len == 0 && a->tag == 0 && a->next == NULL);
    buf_put(&pool.pool, a);
    buf_put(&pool.pool, b);
    CU_ASSERT_EQUAL(pool.in_use, 0);
}

static const struct unit_case cases[] = {
    {"round trip", test_round_trip},
    {"every truncation of a reader", test_every_truncation_of_a_reader},
    {"a reader's failure is sticky", test_reader_failure_is_sticky},
    {"a reader that is not at the end", test_reader_that_is_not_at_the_end},
    {"every capacity of a writer", test_every_capacity_of_a_writer},
    {"a writer's failure is sticky", test_writer_failure_is_sticky},
    {"chains: append and drop", test_append_and_drop},
    {"chains: append is all or nothing", test_append_is_all_or_nothing},
    {"chains: concat", test_concat},
    {"chains: copy", test_copy},
    {"chains: a queue", test_queue},
    {"single chunks", test_single_chunks},
    {NULL, NULL},
};

int main(int argc, char **argv) {
    fill_pattern();
    return unit_main("wire", cases, argc, argv);
}
