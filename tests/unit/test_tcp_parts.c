/* SPDX-License-Identifier: BSD-3-Clause */
/* The parts of lib/tcp by themselves, each against a slow and obvious model. */
#include "tcp/checksum.h"
#include "tcp/tcp_internal.h"
#include "tcp_cases.h"
#include "tcp_pair.h"
#include "unit.h"

#include <stdlib.h>

static uint64_t random_state;

static uint64_t draw(uint64_t below) {
    struct pair p = {.random = random_state};
    uint64_t v = pair_random(&p);
    random_state = p.random;
    return v % below;
}

void test_siphash(void) {
    // SipHash-2-4, key 00..0f: the published vectors for the messages 00..07 and the empty one.
    struct hash_key key = {UINT64_C(0x0706050403020100), UINT64_C(0x0f0e0d0c0b0a0908)};
    uint64_t word = UINT64_C(0x0706050403020100);
    CU_ASSERT_EQUAL(siphash(&key, &word, 1, 2, 4), UINT64_C(0x93f5f5799a932462));
    CU_ASSERT_EQUAL(siphash(&key, &word, 0, 2, 4), UINT64_C(0x726fdb47dd0e0e31));
}

void test_checksum(void) {
    uint8_t data[2100];
    random_state = 5;
    for (unsigned int round = 0; round < 2000; round++) {
        size_t len = draw(2000), off = draw(16);
        bool extreme = round % 3 == 0;
        for (size_t i = 0; i < len; i++)
            data[off + i] = extreme ? 0xff : (uint8_t)draw(256);
        uint32_t sum = 0;
        for (size_t i = 0; i < len; i++)
            sum += (uint32_t)data[off + i] << (i % 2 == 0 ? 8 : 0);
        while (sum > 0xffff)
            sum = (sum & 0xffff) + (sum >> 16);
        uint8_t stored[2];
        checksum_store(stored, checksum_finish(checksum_add(0, data + off, len)));
        CU_ASSERT_EQUAL((uint16_t)(stored[0] << 8 | stored[1]), (uint16_t)~sum);
        // In two parts, the first of even length.
        size_t half = len / 2 & ~(size_t)1;
        uint64_t two =
            checksum_add(checksum_add(0, data + off, half), data + off + half, len - half);
        CU_ASSERT_EQUAL(checksum_finish(two), checksum_finish(checksum_add(0, data + off, len)));
    }
}

#define WHEEL_TIMERS 200u

void test_wheel(void) {
    struct timer_wheel *w = malloc(sizeof *w);
    struct timer timers[WHEEL_TIMERS] = {0};
    uint64_t due_tick[WHEEL_TIMERS] = {0}; // 0: not set
    for (uint64_t seed = 1; seed <= 20; seed++) {
        random_state = seed;
        uint64_t now = draw(UINT64_C(1) << (10 + seed * 2));
        wheel_init(w, now);
        memset(timers, 0, sizeof timers);
        memset(due_tick, 0, sizeof due_tick);
        for (unsigned int step = 0; step < 2000; step++) {
            size_t i = draw(WHEEL_TIMERS);
            if (draw(4) == 0) {
                wheel_cancel(w, &timers[i]);
                due_tick[i] = 0;
            } else {
                uint64_t at = now + draw(UINT64_C(1) << (4 + draw(36)));
                wheel_set(w, &timers[i], at);
                uint64_t tick = (at + 1023) / 1024;
                due_tick[i] = tick > now / 1024 ? tick : now / 1024 + 1;
            }
            uint64_t first = UINT64_MAX;
            for (size_t k = 0; k < WHEEL_TIMERS; k++)
                if (due_tick[k] != 0 && due_tick[k] < first)
                    first = due_tick[k];
            CU_ASSERT(wheel_next_us(w) <= (first == UINT64_MAX ? first : first * 1024));
            if (draw(3) == 0)
                now += draw(UINT64_C(1) << (4 + draw(34)));
            uint64_t last_tick = 0;
            for (struct timer *t; (t = wheel_expire(w, now)) != NULL;) {
                size_t k = (size_t)(t - timers);
                CU_ASSERT(due_tick[k] != 0 && due_tick[k] <= now / 1024);
                CU_ASSERT(due_tick[k] >= last_tick); // in order
                last_tick = due_tick[k];
                due_tick[k] = 0;
            }
            for (size_t k = 0; k < WHEEL_TIMERS; k++) {
                CU_ASSERT(due_tick[k] == 0 || due_tick[k] > now / 1024);
                CU_ASSERT_EQUAL(timer_is_set(&timers[k]), due_tick[k] != 0);
            }
        }
    }
    free(w);
}

#define SENDQ_BYTES 200000u

static unsigned int released;
static void note_release(void *arg) {
    *(bool *)arg = true;
    released++;
}

void test_sendq(void) {
    uint8_t *model = malloc(SENDQ_BYTES), *out = malloc(SENDQ_BYTES);
    bool *gone = calloc(SENDQ_BYTES, sizeof *gone);
    for (uint32_t i = 0; i < SENDQ_BYTES; i++)
        model[i] = pair_byte(99, i);
    for (uint64_t seed = 1; seed <= 50; seed++) {
        struct buf_heap_pool pool;
        struct send_ref refs[20];
        struct send_ref_pool ref_pool = {.refs = refs, .count = 20};
        struct sendq q = {0};
        uint32_t front = 0, end = 0, next = 0; // offsets in the model
        unsigned int refs_queued = 0;
        released = 0;
        random_state = seed;
        buf_heap_pool_init(&pool, 1000);
        while (end < SENDQ_BYTES - 5000 || front < end) {
            uint32_t n = (uint32_t)draw(draw(2) == 0 ? 40 : 5000);
            uint64_t what = end < SENDQ_BYTES - 5000 ? draw(5) : 3 + draw(2);
            if (what == 0) {
                CU_ASSERT_EQUAL(sendq_append(&q, &pool.pool, model + end, n), n);
                end += n;
            } else if (what == 1 && n > 0) {
                struct buf_chain chain;
                buf_chain_init(&chain);
                CU_ASSERT_TRUE(buf_chain_append(&chain, &pool.pool, model + end, n));
                sendq_append_chain(&q, &chain);
                end += n;
            } else if (what == 2 && n > 0) {
                gone[end] = false;
                if (sendq_append_ref(&q, &ref_pool, model + end, n, note_release, &gone[end])) {
                    end += n;
                    refs_queued++;
                } else {
                    CU_ASSERT_EQUAL(refs_queued - released, 20);
                }
            } else if (what == 3) {
                n = n < end - next ? n : end - next;
                sendq_read(&q, &q.next, out, n);
                CU_ASSERT_EQUAL(memcmp(out, model + next, n), 0);
                next += n;
            } else if (what == 4) {
                struct send_cursor from_start = {0};
                uint32_t have = end - front;
                sendq_read(&q, &from_start, out, have);
                CU_ASSERT_EQUAL(memcmp(out, model + front, have), 0);
                n = n < next - front ? n : next - front; // only what was sent is acknowledged
                sendq_drop(&q, &pool.pool, &ref_pool, n);
                front += n;
            }
            CU_ASSERT_EQUAL(q.len, end - front);
        }
        CU_ASSERT_EQUAL(released, refs_queued);
        CU_ASSERT_EQUAL(pool.in_use, 0);
    }
    free(model);
    free(out);
    free(gone);
}

void test_classify(void) {
    uint8_t frame[200];
    struct tcp_tuple t;
    struct hand_tcp tcp = {.src_port = 1234, .dst_port = 80, .flags = TCP_SYN};
    size_t len = hand_tcp_frame(frame, &tcp);
    CU_ASSERT_EQUAL(tcp_classify(frame, len, &t), TCP_CLASS_TCP);
    CU_ASSERT_EQUAL(t.src, PAIR_A);
    CU_ASSERT_EQUAL(t.dst, PAIR_B);
    CU_ASSERT_EQUAL(t.src_port, 1234);
    CU_ASSERT_EQUAL(t.dst_port, 80);
    for (size_t n = 0; n < 38; n++) {
        CU_ASSERT_EQUAL(tcp_classify(frame, n, &t), TCP_CLASS_OTHER);
        CU_ASSERT(t.src == 0 && t.dst == 0 && t.src_port == 0 && t.dst_port == 0);
    }
    CU_ASSERT_EQUAL(tcp_classify(frame, 38, &t), TCP_CLASS_TCP);
    frame[20] = 0x20; // more fragments
    CU_ASSERT_EQUAL(tcp_classify(frame, len, &t), TCP_CLASS_OTHER);
    frame[20] = 0x40; // do not fragment
    CU_ASSERT_EQUAL(tcp_classify(frame, len, &t), TCP_CLASS_TCP);
    frame[14] = 0x4f; // options up to beyond the end
    CU_ASSERT_EQUAL(tcp_classify(frame, len, &t), TCP_CLASS_OTHER);
    frame[14] = 0x44;
    CU_ASSERT_EQUAL(tcp_classify(frame, len, &t), TCP_CLASS_OTHER);
    frame[14] = 0x65;
    CU_ASSERT_EQUAL(tcp_classify(frame, len, &t), TCP_CLASS_OTHER);
    len = hand_udp_frame(frame, 7, 8, "x", 1, true);
    CU_ASSERT_EQUAL(tcp_classify(frame, len, &t), TCP_CLASS_UDP);
    CU_ASSERT(t.src_port == 7 && t.dst_port == 8);
    len = hand_arp_frame(frame, 1, pair_mac[0], PAIR_A, PAIR_B);
    CU_ASSERT_EQUAL(tcp_classify(frame, len, &t), TCP_CLASS_ARP);
    len = hand_icmp_frame(frame, (const uint8_t *)"\x08\0\0\0\0\0\0\0", 8);
    CU_ASSERT_EQUAL(tcp_classify(frame, len, &t), TCP_CLASS_OTHER);
}

void test_tuple_hash(void) {
    uint32_t low[64] = {0};
    struct tcp_tuple a = {1, 2, 3, 4}, b = {2, 1, 4, 3};
    CU_ASSERT_EQUAL(tcp_tuple_hash(&a), tcp_tuple_hash(&(struct tcp_tuple){1, 2, 3, 4}));
    CU_ASSERT_NOT_EQUAL(tcp_tuple_hash(&a), tcp_tuple_hash(&b));
    // Consecutive ports spread evenly over a few queues.
    for (uint32_t port = 0; port < 64000; port++) {
        struct tcp_tuple t = {PAIR_A, PAIR_B, (uint16_t)(1024 + port), 80};
        low[tcp_tuple_hash(&t) % 64]++;
    }
    for (unsigned int i = 0; i < 64; i++)
        CU_ASSERT(low[i] > 800 && low[i] < 1200);
}

void test_footprint(void) {
    CU_ASSERT(tcp_conn_bytes() <= 512);
    for (unsigned int i = 0; i < TCP_COUNTER_COUNT; i++)
        CU_ASSERT(tcp_counter_names[i] != NULL && tcp_counter_names[i][0] != '\0');
}
