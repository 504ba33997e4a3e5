/* SPDX-License-Identifier: BSD-3-Clause */
/* The history table by one thread: semantics, scenarios of the consistency page, and a model. */
#include "test_history.h"
#include "history/layout.h"
#include "unit.h"

#include <stdlib.h>

/* The smallest table: one partition whose 64 slots are all candidates of every key. */
#define ALL_SLOTS 64u
#define COPIES 2u
#define NOW_S 1000u

static struct history *table(uint64_t entries, uint64_t tombstones, uint32_t partitions) {
    struct history_config cfg = {.entries = entries,
                                 .tombstones = tombstones,
                                 .copies = COPIES,
                                 .partitions = partitions,
                                 .seed = {7},
                                 .blacklist_after = 3,
                                 .blacklist_s = 60};
    struct history *h = history_new(&cfg);
    CU_ASSERT_PTR_NOT_NULL_FATAL(h);
    return h;
}

static struct sketch_tag key(uint64_t n) {
    return test_tag(1, n);
}

static struct sketch_tag url(uint64_t n) {
    return test_tag(2, n);
}

static struct sketch_tag version(uint64_t n) {
    return test_tag(3, n);
}

static bool update(struct history *h, uint64_t k, uint64_t sigma, uint64_t v) {
    struct sketch_tag q = key(k), u = url(0), s = version(v);
    return history_update(h, &q, &u, sigma, &s, NOW_S, NULL);
}

static bool invalidate(struct history *h, uint64_t k, uint64_t sigma) {
    struct sketch_tag q = key(k), u = url(0);
    return history_invalidate(h, &q, &u, sigma);
}

static bool install(struct history *h, uint64_t k, uint64_t sigma, uint64_t v) {
    struct sketch_tag q = key(k), u = url(0), s = version(v);
    return history_install(h, &q, &u, sigma, &s, NOW_S);
}

static void tombstone(struct history *h, uint64_t u, uint64_t sigma) {
    struct sketch_tag t = url(u);
    history_tombstone(h, &t, sigma);
}

static struct history_stats stats(const struct history *h) {
    struct history_stats s;
    history_stats(h, &s);
    return s;
}

/* What a lookup finds, and that it finds the same in every copy. */
static enum history_found look(struct history *h, uint64_t k, uint64_t u,
                               struct history_result *r) {
    struct sketch_tag q = key(k), t = url(u);
    enum history_found found = history_lookup(h, 0, &q, &t, NOW_S, r);
    CU_ASSERT_EQUAL(history_sigma(h, 0, &q, &t), history_sigma(h, 1, &q, &t));
    struct history_result other;
    CU_ASSERT_EQUAL(history_lookup(h, 1, &q, &t, NOW_S, &other), found);
    CU_ASSERT_EQUAL(other.sigma, r->sigma);
    CU_ASSERT_EQUAL(other.tombstone, r->tombstone);
    CU_ASSERT_EQUAL(other.blacklisted, r->blacklisted);
    CU_ASSERT(sketch_equal(&other.sketch, &r->sketch));
    return found;
}

static bool hits(struct history *h, uint64_t k, uint64_t sigma, uint64_t v) {
    struct history_result r;
    struct sketch_tag s = version(v);
    return look(h, k, 0, &r) == HISTORY_HIT && r.sigma == sigma && sketch_equal(&r.sketch, &s);
}

static bool misses(struct history *h, uint64_t k, uint64_t sigma) {
    struct history_result r;
    return look(h, k, 0, &r) == HISTORY_MISS && r.sigma == sigma;
}

static uint64_t sigma_of(struct history *h, uint64_t k) {
    struct sketch_tag q = key(k), u = url(0);
    return history_sigma(h, 0, &q, &u);
}

/* ---- configuration and memory ---- */

static void test_limits(void) {
    struct history_config good = {.entries = 100, .tombstones = 10, .copies = 1, .partitions = 3};
    CU_ASSERT(history_bytes(&good) > 0);
    struct history_config bad[8];
    for (size_t i = 0; i < 8; i++)
        bad[i] = good;
    bad[0].copies = 0;
    bad[1].copies = HISTORY_COPIES_MAX + 1;
    bad[2].partitions = 0;
    bad[3].partitions = HISTORY_PARTITIONS_MAX + 1;
    bad[4].blacklist_s = 2001;
    bad[5].blacklist_after = 32768;
    bad[6].entries = UINT64_MAX;
    bad[7].tombstones = UINT64_MAX;
    for (size_t i = 0; i < 8; i++) {
        CU_ASSERT_PTR_NULL(history_new(&bad[i]));
        CU_ASSERT_EQUAL(history_bytes(&bad[i]), 0);
    }
    history_free(NULL);
}

static void test_memory_per_entry(void) {
    struct history_config cfg = {.entries = UINT64_C(1) << 25, .copies = 1, .partitions = 4};
    cfg.tombstones = 1;
    size_t entries_only = history_bytes(&cfg);
    CU_ASSERT(entries_only - 4 * 64 - 4 * 256 == UINT64_C(1) << 30);
    cfg.tombstones = 1 << 20;
    CU_ASSERT_EQUAL(history_bytes(&cfg), entries_only - 4 * 256 + (1 << 20) / 16 * 256);
}

struct arena {
    uint32_t fail_at; // copy whose allocation fails
    uint32_t held;
    size_t bytes[HISTORY_COPIES_MAX];
};

static void *arena_alloc(void *ctx, uint32_t copy, size_t bytes) {
    struct arena *a = ctx;
    if (copy == a->fail_at)
        return NULL;
    void *p = aligned_alloc(64, bytes);
    a->bytes[copy] = bytes;
    a->held++;
    return p == NULL ? NULL : memset(p, 0, bytes);
}

static void arena_release(void *ctx, uint32_t copy, void *memory, size_t bytes) {
    struct arena *a = ctx;
    CU_ASSERT_EQUAL(bytes, a->bytes[copy]);
    a->held--;
    free(memory);
}

static void test_allocator(void) {
    struct arena a = {.fail_at = HISTORY_COPIES_MAX};
    struct history_config cfg = {.entries = 100,
                                 .tombstones = 10,
                                 .copies = 3,
                                 .partitions = 2,
                                 .alloc = arena_alloc,
                                 .release = arena_release,
                                 .ctx = &a};
    struct history *h = history_new(&cfg);
    CU_ASSERT_PTR_NOT_NULL_FATAL(h);
    CU_ASSERT_EQUAL(a.held, 3);
    for (uint32_t c = 0; c < 3; c++)
        CU_ASSERT_EQUAL(a.bytes[c], history_bytes(&cfg));
    CU_ASSERT_EQUAL(stats(h).capacity, 128);
    history_free(h);
    CU_ASSERT_EQUAL(a.held, 0);
    for (a.fail_at = 0; a.fail_at < 3; a.fail_at++) {
        CU_ASSERT_PTR_NULL(history_new(&cfg));
        CU_ASSERT_EQUAL(a.held, 0);
    }
}

/* ---- one key ---- */

static void test_absent(void) {
    struct history *h = table(1000, 100, 3);
    struct history_result r;
    for (uint64_t k = 0; k < 100; k++) {
        CU_ASSERT_EQUAL(look(h, k, k, &r), HISTORY_MISS);
        CU_ASSERT(r.sigma == 0 && r.tombstone == 0 && !r.blacklisted);
    }
    history_free(h);
}

static void test_update(void) {
    struct history *h = table(1000, 100, 1);
    struct sketch_tag q = key(1), u = url(0), a = version(1), b = version(2);
    bool changed = true;
    CU_ASSERT(history_update(h, &q, &u, 3, &a, NOW_S, &changed));
    CU_ASSERT(!changed);
    CU_ASSERT(hits(h, 1, 3, 1));
    CU_ASSERT(misses(h, 2, 0));
    changed = true;
    CU_ASSERT(history_update(h, &q, &u, 4, &a, NOW_S, &changed));
    CU_ASSERT(!changed);
    CU_ASSERT(hits(h, 1, 4, 1));
    CU_ASSERT(history_update(h, &q, &u, 5, &b, NOW_S, &changed));
    CU_ASSERT(changed);
    CU_ASSERT(hits(h, 1, 5, 2));
    CU_ASSERT(!history_update(h, &q, &u, 5, &a, NOW_S, &changed));
    CU_ASSERT(!changed);
    CU_ASSERT(!update(h, 1, 0, 1));
    CU_ASSERT(!update(h, 2, 0, 1)); // 0 is no sigma
    CU_ASSERT(misses(h, 2, 0));
    CU_ASSERT(update(h, 1, UINT64_MAX, 3));
    CU_ASSERT(hits(h, 1, UINT64_MAX, 3));
    struct history_stats s = stats(h);
    CU_ASSERT(s.entries == 1 && s.installs == 1 && s.raises == 1 && s.changes == 2 &&
              s.ignored_older == 3 && s.evictions == 0 && s.flushes == 0);
    history_free(h);
}

/* A reader that only ever meets a bucket in change gives up, and says so. */
static void test_contended(void) {
    struct history *h = table(ALL_SLOTS, 16, 1);
    struct sketch_tag q = key(1), u = url(0);
    struct history_result r;
    struct place p;
    update(h, 1, 5, 'A');
    history_place(h, &q, &u, &p);
    _Atomic uint64_t *const versions[] = {
        &h->copy[1].partitions[p.partition].epoch,
        &h->copy[1].tombstones[p.tombstone_bucket].version,
        &h->copy[1].buckets[p.bucket[0]].version,
    };
    for (size_t i = 0; i < sizeof versions / sizeof versions[0]; i++) {
        atomic_fetch_add(versions[i], 1);
        CU_ASSERT_EQUAL(history_lookup(h, 1, &q, &u, NOW_S, &r), HISTORY_CONTENDED);
        CU_ASSERT_EQUAL(r.sigma, 0);
        CU_ASSERT_EQUAL(history_lookup(h, 0, &q, &u, NOW_S, &r), HISTORY_HIT); // its own copy only
        atomic_fetch_add(versions[i], 1);
        CU_ASSERT(hits(h, 1, 5, 'A'));
    }
    history_free(h);
}

static void test_forget(void) {
    struct history *h = table(ALL_SLOTS, 16, 1);
    struct sketch_tag q = key(1), u = url(0), s = version(2);
    bool changed = true;
    update(h, 1, 10, 1);
    history_forget(h, &q, &u);
    CU_ASSERT(misses(h, 1, 10));
    CU_ASSERT(!update(h, 1, 10, 1));
    CU_ASSERT(history_update(h, &q, &u, 11, &s, NOW_S, &changed));
    CU_ASSERT(!changed); // what was forgotten is not compared with
    CU_ASSERT(hits(h, 1, 11, 2));
    q = key(2);
    history_forget(h, &q, &u); // an absent key
    CU_ASSERT(misses(h, 2, 0));
    history_free(h);
}

static void test_one_sigma_one_sketch(void) {
    struct history *h = table(ALL_SLOTS, 16, 1);
    CU_ASSERT(!install(h, 1, 5, 1)); // nothing there
    CU_ASSERT(invalidate(h, 1, 5));
    CU_ASSERT(!install(h, 1, 4, 1));
    CU_ASSERT(!install(h, 1, 6, 1));
    CU_ASSERT(misses(h, 1, 5));
    CU_ASSERT(install(h, 1, 5, 1));
    CU_ASSERT(install(h, 1, 5, 1));
    CU_ASSERT(!install(h, 1, 5, 2));
    CU_ASSERT(hits(h, 1, 5, 1));
    CU_ASSERT_EQUAL(stats(h).installs, 1);
    history_free(h);
}

/* ---- scenarios ---- */

static void test_s1(void) {
    struct history *h = table(ALL_SLOTS, 16, 1);
    CU_ASSERT(update(h, 1, 10, 'B'));
    CU_ASSERT(!update(h, 1, 5, 'A'));
    CU_ASSERT(!invalidate(h, 1, 5));
    CU_ASSERT(!install(h, 1, 5, 'A'));
    CU_ASSERT(hits(h, 1, 10, 'B'));
    history_free(h);
}

static void test_s2(void) {
    struct history *h = table(ALL_SLOTS, 16, 1);
    CU_ASSERT(update(h, 1, 3, 'A'));
    CU_ASSERT(update(h, 1, 10, 'A')); // an equal sketch raises sigma all the same
    CU_ASSERT(!update(h, 1, 7, 'B'));
    CU_ASSERT(hits(h, 1, 10, 'A'));
    history_free(h);
}

/* Fills all slots with keys from first on, whose sigmas are so too. */
static void fill(struct history *h, uint64_t first) {
    for (uint64_t k = first; k < first + ALL_SLOTS; k++)
        CU_ASSERT(update(h, k, k, k));
}

static void test_s3(void) {
    struct history *h = table(ALL_SLOTS, 16, 1);
    CU_ASSERT(update(h, 1, 10, 'B'));
    fill(h, 100);
    CU_ASSERT_EQUAL(stats(h).evictions, 1);
    CU_ASSERT(misses(h, 1, 0));
    CU_ASSERT(!update(h, 1, 5, 'A'));
    CU_ASSERT(!update(h, 1, 10, 'A'));
    CU_ASSERT(!invalidate(h, 1, 9));
    CU_ASSERT(misses(h, 1, 0));
    CU_ASSERT(update(h, 1, 11, 'C')); // above the floor: some other entry had to go
    CU_ASSERT(hits(h, 1, 11, 'C'));
    CU_ASSERT_EQUAL(stats(h).evictions, 2);
    history_free(h);
}

static void test_s4(void) {
    struct history *h = table(ALL_SLOTS, 16, 1);
    CU_ASSERT(update(h, 1, 3, 'A'));
    CU_ASSERT(invalidate(h, 1, 10));
    CU_ASSERT(misses(h, 1, 10)); // in no copy is A accepted from here on, in none yet B
    CU_ASSERT(install(h, 1, 10, 'B'));
    CU_ASSERT(hits(h, 1, 10, 'B'));
    history_free(h);
}

static void test_s9(void) {
    struct history *h = table(ALL_SLOTS, 16, 1);
    struct sketch_tag q = key(1), u = url(0);
    CU_ASSERT(update(h, 1, 10, 'B'));
    history_forget(h, &q, &u);
    CU_ASSERT(!update(h, 1, 7, 'A'));
    CU_ASSERT(misses(h, 1, 10));
    history_free(h);
}

static void test_s16(void) {
    struct history *h = table(ALL_SLOTS, 16, 1);
    struct history_result r;
    CU_ASSERT(update(h, 1, 5, 'A'));
    tombstone(h, 0, 6);
    CU_ASSERT_EQUAL(look(h, 1, 0, &r), HISTORY_TOMBSTONE);
    CU_ASSERT(r.sigma == 5 && r.tombstone == 6);
    CU_ASSERT(update(h, 1, 7, 'B'));
    CU_ASSERT(hits(h, 1, 7, 'B'));
    tombstone(h, 0, 7); // entry.sigma must be larger, not equal
    CU_ASSERT_EQUAL(look(h, 1, 0, &r), HISTORY_TOMBSTONE);
    history_free(h);
}

static void test_s18(void) {
    struct history *h = table(ALL_SLOTS, 16, 1);
    struct history_result r;
    tombstone(h, 0, 10);
    CU_ASSERT(update(h, 2, 5, 'A')); // a late variant of the URL
    CU_ASSERT_EQUAL(look(h, 2, 0, &r), HISTORY_TOMBSTONE);
    CU_ASSERT(update(h, 2, 11, 'B'));
    CU_ASSERT(hits(h, 2, 11, 'B'));
    history_free(h);
}

static void test_s19(void) {
    struct history *h = table(ALL_SLOTS, 16, 1);
    CU_ASSERT(update(h, 1, 10, 'B'));
    history_flush(h, 0);
    CU_ASSERT(misses(h, 1, 0));
    CU_ASSERT(!update(h, 1, 7, 'A'));  // its slot is still there
    CU_ASSERT(!update(h, 2, 10, 'A')); // an absent key
    CU_ASSERT(misses(h, 1, 0));
    CU_ASSERT(misses(h, 2, 0));
    CU_ASSERT(update(h, 1, 11, 'C'));
    CU_ASSERT(hits(h, 1, 11, 'C'));
    // the tombstone of URL 0 is evicted from its only bucket: a late entry below it stays out
    tombstone(h, 0, 20);
    for (uint64_t u = 1; u <= TOMBSTONE_SLOTS; u++)
        tombstone(h, u, 30 + u);
    CU_ASSERT_EQUAL(stats(h).tombstone_evictions, 1);
    CU_ASSERT(update(h, 3, 19, 'A'));
    struct history_result r;
    CU_ASSERT_EQUAL(look(h, 3, 0, &r), HISTORY_TOMBSTONE);
    CU_ASSERT_EQUAL(r.tombstone, 20);
    history_free(h);
}

static void test_s20(void) {
    struct history *h = table(ALL_SLOTS, 16, 1);
    CU_ASSERT(update(h, 1, 3, 'A'));
    CU_ASSERT(invalidate(h, 1, 10));
    CU_ASSERT(invalidate(h, 1, 12)); // passes it by
    CU_ASSERT(!install(h, 1, 10, 'B'));
    CU_ASSERT(misses(h, 1, 12));
    CU_ASSERT(install(h, 1, 12, 'C'));
    CU_ASSERT(!install(h, 1, 10, 'B'));
    CU_ASSERT(hits(h, 1, 12, 'C'));
    CU_ASSERT(!invalidate(h, 1, 11));
    CU_ASSERT(hits(h, 1, 12, 'C'));
    history_free(h);
}

static void test_s22(void) {
    struct history *h = table(ALL_SLOTS, 16, 1);
    struct history_result r;
    fill(h, 100);
    update(h, 1, 1000, 'A');
    for (uint64_t u = 0; u < 40; u++)
        tombstone(h, u, 2000 + u);
    history_flush(h, 0);
    update(h, 2, 3000, 'A');
    history_reset(h, 0);
    CU_ASSERT(stats(h).entries == 0 && stats(h).tombstones == 0);
    for (uint64_t k = 0; k < 200; k++)
        CU_ASSERT(misses(h, k, 0));
    for (uint64_t u = 0; u < 50; u++) {
        look(h, 1, u, &r);
        CU_ASSERT_EQUAL(r.tombstone, 0);
    }
    for (uint64_t k = 1; k <= ALL_SLOTS; k++)
        CU_ASSERT(update(h, k, k, k)); // sigma starts again
    CU_ASSERT(hits(h, 1, 1, 1));
    CU_ASSERT(hits(h, ALL_SLOTS, ALL_SLOTS, ALL_SLOTS));
    history_flush(h, 0); // which goes by what this incarnation has seen
    CU_ASSERT(!update(h, 1, ALL_SLOTS, 1));
    CU_ASSERT(update(h, 1, ALL_SLOTS + 1, 1));
    history_free(h);
}

/* ---- eviction ---- */

static void test_victim_is_the_smallest_sigma(void) {
    struct history *h = table(ALL_SLOTS, 16, 1);
    fill(h, 100);
    CU_ASSERT_EQUAL(stats(h).evictions, 0);
    CU_ASSERT_EQUAL(stats(h).entries, ALL_SLOTS);
    for (uint64_t k = 0; k < ALL_SLOTS; k++) {
        CU_ASSERT(update(h, 1000 + k, 1000 + k, k));
        CU_ASSERT_EQUAL(sigma_of(h, 100 + k), 0);
        CU_ASSERT_EQUAL(sigma_of(h, 1000 + k), 1000 + k);
        CU_ASSERT_EQUAL(stats(h).evictions, k + 1);
        CU_ASSERT(!update(h, 5000 + k, 100 + k, 0)); // not above the new floor
    }
    CU_ASSERT_EQUAL(stats(h).entries, ALL_SLOTS);
    history_free(h);
}

static void test_victim_is_unused(void) {
    struct history *h = table(ALL_SLOTS, 16, 1);
    struct sketch_tag q = key(100), u = url(0);
    struct history_result r;
    fill(h, 100);
    CU_ASSERT_EQUAL(history_lookup(h, 1, &q, &u, NOW_S, &r), HISTORY_HIT); // in one copy only
    CU_ASSERT(update(h, 1000, 1000, 0));
    CU_ASSERT_EQUAL(sigma_of(h, 100), 100);
    CU_ASSERT_EQUAL(sigma_of(h, 101), 0);
    for (uint64_t k = 1; k < ALL_SLOTS; k++)
        CU_ASSERT(update(h, 1000 + k, 1000 + k, 0));
    CU_ASSERT_EQUAL(sigma_of(h, 100), 0); // one read does not keep it for ever
    // all are used: the smallest sigma goes
    for (uint64_t k = 0; k < ALL_SLOTS; k++) {
        q = key(1000 + k);
        CU_ASSERT_EQUAL(history_lookup(h, 0, &q, &u, NOW_S, &r), HISTORY_HIT);
    }
    CU_ASSERT(update(h, 2000, 2000, 0));
    CU_ASSERT_EQUAL(sigma_of(h, 1000), 0);
    history_free(h);
}

static void test_lost_slot_is_not_installed(void) {
    struct history *h = table(ALL_SLOTS, 16, 1);
    CU_ASSERT(invalidate(h, 1, 10));
    fill(h, 100);
    CU_ASSERT_EQUAL(sigma_of(h, 1), 0);
    CU_ASSERT(!install(h, 1, 10, 'A'));
    CU_ASSERT(misses(h, 1, 0));
    CU_ASSERT(invalidate(h, 1, 1000));
    history_flush(h, 0);
    CU_ASSERT(!install(h, 1, 1000, 'A'));
    CU_ASSERT(misses(h, 1, 0));
    history_free(h);
}

/* 90 % of 64 Ki slots without one eviction, and every entry is found. */
static void test_fill_to_90_percent(void) {
    enum { SLOTS = 65536, KEYS = SLOTS / 10 * 9 };
    struct history *h = table(SLOTS, 16, 1);
    struct sketch_tag u = url(0);
    CU_ASSERT_EQUAL(stats(h).capacity, SLOTS);
    for (uint64_t k = 1; k <= KEYS; k++) {
        struct sketch_tag q = key(k), s = version(k);
        history_update(h, &q, &u, k, &s, NOW_S, NULL);
    }
    CU_ASSERT_EQUAL(stats(h).evictions, 0);
    CU_ASSERT_EQUAL(stats(h).installs, KEYS);
    CU_ASSERT_EQUAL(stats(h).entries, KEYS);
    uint64_t found = 0;
    for (uint64_t k = 1; k <= KEYS; k++)
        found += hits(h, k, k, k);
    CU_ASSERT_EQUAL(found, KEYS);
    history_free(h);
}

/* ---- flush ---- */

static void test_flush(void) {
    struct history *h = table(ALL_SLOTS, 16, 1);
    struct sketch_tag q = key(100), u = url(0), s = version('Z');
    bool changed = true;
    fill(h, 100);
    history_flush(h, 0);
    CU_ASSERT(stats(h).entries == 0 && stats(h).flushes == 1);
    for (uint64_t k = 100; k < 100 + ALL_SLOTS; k++)
        CU_ASSERT(misses(h, k, 0));
    CU_ASSERT(!update(h, 100, 100 + ALL_SLOTS - 1, 1)); // the floor: the largest sigma of all
    CU_ASSERT(history_update(h, &q, &u, 1000, &s, NOW_S, &changed));
    CU_ASSERT(!changed); // what was flushed is not compared with
    CU_ASSERT_EQUAL(stats(h).entries, 1);
    for (uint64_t k = 1; k < ALL_SLOTS; k++)
        CU_ASSERT(update(h, 2000 + k, 2000 + k, 0));
    CU_ASSERT_EQUAL(stats(h).evictions, 0); // flushed slots are free
    CU_ASSERT_EQUAL(stats(h).entries, ALL_SLOTS);
    tombstone(h, 9, 5000);
    history_flush(h, 0);
    CU_ASSERT(!update(h, 1, 5000, 0)); // a write's sigma counts as seen, too
    CU_ASSERT(update(h, 1, 5001, 0));
    struct history_result r;
    look(h, 1, 9, &r);
    CU_ASSERT_EQUAL(r.tombstone, 5000); // tombstones stay
    history_free(h);
}

static void test_partitions_are_separate(void) {
    enum { PARTITIONS = 5, URLS = 200 };
    struct history *h = table(10000, 1000, PARTITIONS);
    uint32_t of[PARTITIONS] = {0};
    struct history_result r;
    for (uint64_t u = 0; u < URLS; u++) {
        struct sketch_tag t = url(u), q = key(u), s = version(u);
        of[history_partition(h, &t)]++;
        CU_ASSERT(history_update(h, &q, &t, 10, &s, NOW_S, NULL));
    }
    for (uint32_t p = 0; p < PARTITIONS; p++)
        CU_ASSERT(of[p] > 0);
    history_flush(h, 1);
    history_reset(h, 3);
    for (uint64_t u = 0; u < URLS; u++) {
        struct sketch_tag t = url(u), q = key(u), s = version(u);
        uint32_t p = history_partition(h, &t);
        CU_ASSERT_EQUAL(look(h, u, u, &r), p == 1 || p == 3 ? HISTORY_MISS : HISTORY_HIT);
        CU_ASSERT_EQUAL(history_update(h, &q, &t, 9, &s, NOW_S, NULL), p == 3);
    }
    history_free(h);
}

/* ---- tombstones ---- */

/* What stands for a URL is at least its last write, and never falls; exact while nothing was
 * evicted. */
static void test_tombstones_only_grow(void) {
    enum { URLS = 100 };
    struct history *h = table(ALL_SLOTS, 32, 1);
    uint64_t last[URLS] = {0}, shown[URLS] = {0}, seed = 1;
    struct history_result r;
    for (uint64_t i = 0; i < 20000; i++) {
        uint64_t u = test_random(&seed) % URLS;
        uint64_t sigma = 1 + i + test_random(&seed) % 100; // not always the largest so far
        tombstone(h, u, sigma);
        last[u] = sigma > last[u] ? sigma : last[u];
        for (uint64_t k = u; k < URLS; k += 10) {
            look(h, 0, k, &r);
            CU_ASSERT(r.tombstone >= last[k] && r.tombstone >= shown[k] && r.tombstone <= i + 100);
            CU_ASSERT(stats(h).tombstone_evictions > 0 || r.tombstone == last[k]);
            shown[k] = r.tombstone;
        }
    }
    CU_ASSERT_EQUAL(stats(h).tombstones, 32);
    CU_ASSERT(stats(h).tombstone_evictions > 0);
    history_free(h);
}

/* One late write to a full bucket of larger ones: the floor takes it, none of them goes. */
static void test_late_tombstone(void) {
    struct history *h = table(ALL_SLOTS, 16, 1);
    struct history_result r;
    for (uint64_t u = 0; u < TOMBSTONE_SLOTS; u++)
        tombstone(h, u, 100 + u);
    tombstone(h, 50, 20);
    look(h, 0, 50, &r);
    CU_ASSERT_EQUAL(r.tombstone, 20);
    for (uint64_t u = 0; u < TOMBSTONE_SLOTS; u++) {
        look(h, 0, u, &r);
        CU_ASSERT_EQUAL(r.tombstone, 100 + u);
    }
    tombstone(h, 51, 200);
    look(h, 0, 0, &r);
    CU_ASSERT_EQUAL(r.tombstone, 100); // the smallest went; its sigma is the floor now
    look(h, 0, 50, &r);
    CU_ASSERT_EQUAL(r.tombstone, 100);
    look(h, 0, 51, &r);
    CU_ASSERT_EQUAL(r.tombstone, 200);
    history_free(h);
}

/* ---- blacklisting of keys that keep changing ---- */

static bool is_blacklisted(struct history *h, uint64_t k, uint32_t now_s) {
    struct sketch_tag q = key(k), u = url(0);
    struct history_result r;
    enum history_found found = history_lookup(h, 1, &q, &u, now_s, &r);
    CU_ASSERT_EQUAL(found, HISTORY_HIT); // sigma and sketch are kept up to date as usual
    return r.blacklisted;
}

static void change(struct history *h, uint64_t k, uint64_t sigma, uint64_t v, uint32_t now_s) {
    struct sketch_tag q = key(k), u = url(0), s = version(v);
    CU_ASSERT(history_update(h, &q, &u, sigma, &s, now_s, NULL));
}

static void test_blacklist(void) {
    static const uint32_t starts[] = {0, 1000, 32767, 32768 - 30, 65536, UINT32_MAX - 30};
    for (size_t i = 0; i < sizeof starts / sizeof starts[0]; i++) {
        struct history *h = table(ALL_SLOTS, 16, 1);
        uint32_t t = starts[i];
        change(h, 1, 1, 1, t);
        change(h, 1, 2, 2, t);
        change(h, 1, 3, 3, t);
        CU_ASSERT(!is_blacklisted(h, 1, t)); // two changes
        change(h, 1, 4, 3, t);
        change(h, 1, 5, 4, t);
        change(h, 1, 6, 5, t);
        CU_ASSERT(!is_blacklisted(h, 1, t)); // two again: an equal answer came between
        change(h, 1, 7, 6, t);
        CU_ASSERT(is_blacklisted(h, 1, t));
        CU_ASSERT(is_blacklisted(h, 1, t + 59));
        CU_ASSERT(!is_blacklisted(h, 1, t + 60));
        change(h, 1, 8, 6, t + 30);
        CU_ASSERT(is_blacklisted(h, 1, t + 59)); // it runs its time
        change(h, 1, 9, 7, t + 60);
        CU_ASSERT(!is_blacklisted(h, 1, t + 60)); // and then counting starts again
        change(h, 1, 10, 8, t + 60);
        change(h, 1, 11, 9, t + 61);
        CU_ASSERT(is_blacklisted(h, 1, t + 120));
        for (uint32_t later = 121; later < 3 * 32768; later += 30)
            CU_ASSERT(!is_blacklisted(h, 1, t + later)); // the end does not come round again
        history_free(h);
    }
}

/* Blacklisting another key of the bucket long after must not bring an old end back to life. */
static void test_blacklist_of_a_neighbour(void) {
    struct history *h = table(ALL_SLOTS, 16, 1);
    uint64_t sigma = 1;
    for (uint64_t v = 0; v < 4; v++)
        change(h, 1, sigma++, v, 100);
    CU_ASSERT(is_blacklisted(h, 1, 101));
    CU_ASSERT(!is_blacklisted(h, 1, 300));
    for (uint64_t k = 2; k < 60; k++) // some of them share its bucket
        for (uint64_t v = 0; v < 4; v++)
            change(h, k, sigma++, v, 100 + 32768);
    CU_ASSERT(is_blacklisted(h, 2, 101 + 32768));
    CU_ASSERT(!is_blacklisted(h, 1, 101 + 32768));
    history_free(h);
}

static void test_blacklist_never(void) {
    struct history_config cfg = {.entries = 64, .copies = 2, .partitions = 1, .blacklist_s = 60};
    struct history *h = history_new(&cfg);
    CU_ASSERT_PTR_NOT_NULL_FATAL(h);
    for (uint64_t v = 1; v < 100000; v++)
        change(h, 1, v, v, 5);
    CU_ASSERT(!is_blacklisted(h, 1, 5));
    history_free(h);
}

static void test_s17(void) {
    struct history *h = table(ALL_SLOTS, 16, 1);
    struct sketch_tag q = key(1), u = url(0);
    struct history_result r;
    for (uint64_t v = 1; v <= 4; v++)
        change(h, 1, v, v, NOW_S);
    change(h, 1, 5, 'A', NOW_S);
    CU_ASSERT(is_blacklisted(h, 1, NOW_S));
    change(h, 1, 10, 'B', NOW_S); // released while it is blacklisted
    CU_ASSERT(!is_blacklisted(h, 1, NOW_S + 100));
    CU_ASSERT(!update(h, 1, 7, 'A'));
    CU_ASSERT_EQUAL(history_lookup(h, 0, &q, &u, NOW_S + 100, &r), HISTORY_HIT);
    struct sketch_tag b = version('B');
    CU_ASSERT(r.sigma == 10 && sketch_equal(&r.sketch, &b)); // a stale replica's A mismatches
    history_free(h);
}

/* ---- classes of keys ---- */

struct tagged {
    uint32_t tag;
    uint32_t key;
};

static int by_tag(const void *a, const void *b) {
    const struct tagged *x = a, *y = b;
    return (x->tag > y->tag) - (x->tag < y->tag);
}

/* Keys whose tags collide share all of their buckets or none; then one slot and one sigma serve
 * both. */
static void test_colliding_tags(void) {
    enum { KEYS = 400000 };
    struct history *h = table(3 * ALL_SLOTS, 16, 1); // three buckets in each quarter
    struct sketch_tag u = url(0);
    struct tagged *keys = calloc(KEYS, sizeof *keys);
    CU_ASSERT_PTR_NOT_NULL_FATAL(keys);
    struct place p, o;
    for (uint32_t k = 0; k < KEYS; k++) {
        struct sketch_tag q = key(k);
        history_place(h, &q, &u, &p);
        keys[k] = (struct tagged){.tag = p.tag, .key = k};
    }
    qsort(keys, KEYS, sizeof *keys, by_tag);
    uint32_t classes = 0, apart = 0;
    uint64_t sigma = 10;
    for (uint32_t i = 1; i < KEYS; i++) {
        if (keys[i].tag != keys[i - 1].tag)
            continue;
        uint32_t a = keys[i - 1].key, b = keys[i].key, shared = 0;
        struct sketch_tag qa = key(a), qb = key(b);
        history_place(h, &qa, &u, &p);
        history_place(h, &qb, &u, &o);
        for (uint32_t j = 0; j < CANDIDATES; j++)
            shared += p.bucket[j] == o.bucket[j];
        CU_ASSERT(shared == 0 || shared == CANDIDATES);
        apart += shared == 0;
        classes += shared == CANDIDATES;
        CU_ASSERT(update(h, a, sigma, 1));
        if (shared == CANDIDATES) {
            CU_ASSERT(!update(h, b, sigma - 1, 2)); // the larger sigma counts for both
            CU_ASSERT(hits(h, b, sigma, 1));        // and b's responses mismatch
            CU_ASSERT(update(h, b, sigma + 1, 2));
            CU_ASSERT(hits(h, a, sigma + 1, 2));
            sigma += 2;
        } else {
            CU_ASSERT(misses(h, b, 0));
        }
        sigma++;
    }
    CU_ASSERT(classes > 0 && apart > 0);
    free(keys);
    history_free(h);
}

/* ---- against a model ---- */

#define MODEL_KEYS 600u
#define MODEL_URLS 150u
#define MODEL_PARTITIONS 2u

struct model {
    struct history *h;
    uint64_t random;
    uint64_t sigma;                 // the largest handed out
    uint64_t entry[MODEL_KEYS];     // largest sigma taken
    uint64_t version[MODEL_KEYS];   // of the sketch, 0: none
    uint64_t write[MODEL_URLS];     // last write
    uint64_t tombstone[MODEL_URLS]; // what was shown last
};

static struct sketch_tag model_url(uint64_t k) {
    return url(k % MODEL_URLS);
}

static uint32_t model_partition(const struct model *m, uint64_t k) {
    struct sketch_tag u = model_url(k);
    return history_partition(m->h, &u);
}

/* Mostly newer than all, sometimes late. */
static uint64_t model_sigma(struct model *m) {
    if (m->sigma == 0 || test_random(&m->random) % 4 != 0)
        return m->sigma += 1 + test_random(&m->random) % 3;
    uint64_t back = test_random(&m->random) % 2000;
    return m->sigma > back ? m->sigma - back : 1;
}

static void model_write_entry(struct model *m, uint64_t k, bool with_install) {
    struct sketch_tag q = key(k), u = model_url(k);
    uint64_t before = m->sigma, sigma = model_sigma(m), v = 1 + test_random(&m->random) % 3;
    struct sketch_tag s = version(v);
    bool changed = false;
    bool took = with_install ? history_update(m->h, &q, &u, sigma, &s, NOW_S, &changed)
                             : history_invalidate(m->h, &q, &u, sigma);
    if (sigma > before)
        CU_ASSERT(took); // newer than all there is
    if (!took)
        return;
    CU_ASSERT(sigma > m->entry[k]); // whatever was evicted or flushed between: sigma never falls
    if (changed)
        CU_ASSERT(m->version[k] != v);
    m->entry[k] = sigma;
    m->version[k] = with_install ? v : 0;
}

static void model_install(struct model *m, uint64_t k) {
    struct sketch_tag q = key(k), u = model_url(k);
    uint64_t sigma = m->entry[k] - test_random(&m->random) % 2, v = 1 + test_random(&m->random) % 3;
    struct sketch_tag s = version(v);
    if (sigma == 0 || !history_install(m->h, &q, &u, sigma, &s, NOW_S))
        return;
    CU_ASSERT(sigma == m->entry[k]);
    CU_ASSERT(m->version[k] == 0 || m->version[k] == v);
    m->version[k] = v;
}

static void model_tombstone(struct model *m, uint64_t k) {
    struct sketch_tag u = model_url(k);
    uint64_t sigma = model_sigma(m);
    history_tombstone(m->h, &u, sigma);
    if (sigma > m->write[k % MODEL_URLS])
        m->write[k % MODEL_URLS] = sigma;
}

static void model_forget(struct model *m, uint64_t k) {
    struct sketch_tag q = key(k), u = model_url(k);
    history_forget(m->h, &q, &u);
    m->version[k] = 0;
}

static void model_flush(struct model *m, uint32_t partition, bool reset) {
    if (reset)
        history_reset(m->h, partition);
    else
        history_flush(m->h, partition);
    for (uint64_t k = 0; k < MODEL_KEYS; k++) {
        if (model_partition(m, k) != partition)
            continue;
        m->version[k] = 0;
        if (reset)
            m->entry[k] = m->write[k % MODEL_URLS] = m->tombstone[k % MODEL_URLS] = 0;
    }
}

/* What the model demands of a lookup of any key at any time. */
static enum history_found model_look(struct model *m, uint64_t k) {
    struct history_result r;
    uint64_t u = k % MODEL_URLS;
    struct sketch_tag s = version(m->version[k]);
    enum history_found found = look(m->h, k, u, &r);
    CU_ASSERT(found != HISTORY_CONTENDED);
    CU_ASSERT(r.tombstone >= m->write[u] && r.tombstone >= m->tombstone[u]);
    CU_ASSERT(r.tombstone <= m->sigma);
    m->tombstone[u] = r.tombstone;
    CU_ASSERT(r.sigma == 0 || r.sigma == m->entry[k]);
    if (found != HISTORY_MISS) {
        CU_ASSERT(m->version[k] != 0);
        CU_ASSERT(sketch_equal(&r.sketch, &s));
        CU_ASSERT_EQUAL(found == HISTORY_HIT, r.sigma > r.tombstone);
    }
    return found;
}

static void model_step(struct model *m, uint64_t found[4]) {
    uint64_t k = test_random(&m->random) % MODEL_KEYS, op = test_random(&m->random) % 1000;
    if (op < 300)
        model_write_entry(m, k, true);
    else if (op < 350)
        model_write_entry(m, k, false);
    else if (op < 400)
        model_install(m, k);
    else if (op < 450)
        model_tombstone(m, k);
    else if (op < 470)
        model_forget(m, k);
    else if (op == 999 && test_random(&m->random) % 10 == 0)
        model_flush(m, k % MODEL_PARTITIONS, test_random(&m->random) % 4 == 0);
    found[model_look(m, op < 700 ? k : test_random(&m->random) % MODEL_KEYS)]++;
}

static void test_model(void) {
    static struct model m;
    uint64_t found[4] = {0};
    m = (struct model){.h = table(300, 64, MODEL_PARTITIONS), .random = test_seed()};
    for (uint32_t i = 0; i < 1000000; i++) {
        model_step(&m, found);
        // at times: the number of entries is what can be found of them
        if (i % 50000 != 0)
            continue;
        uint64_t entries = 0;
        struct history_result r;
        for (uint64_t k = 0; k < MODEL_KEYS; k++) {
            look(m.h, k, k % MODEL_URLS, &r);
            entries += r.sigma != 0;
        }
        CU_ASSERT_EQUAL(entries, stats(m.h).entries);
    }
    struct history_stats s = stats(m.h);
    CU_ASSERT(found[HISTORY_HIT] > 10000 && found[HISTORY_MISS] > 10000);
    CU_ASSERT(found[HISTORY_TOMBSTONE] > 10000 && found[HISTORY_CONTENDED] == 0);
    CU_ASSERT(s.evictions > 10000 && s.flushes > 5 && s.tombstone_evictions > 1000);
    CU_ASSERT(s.ignored_older > 1000 && s.changes > 1000 && s.raises > 1000);
    history_free(m.h);
}

static const struct unit_case cases[] = {
    {"limits of the configuration", test_limits},
    {"memory per entry", test_memory_per_entry},
    {"allocator", test_allocator},
    {"absent keys", test_absent},
    {"update", test_update},
    {"a bucket in change", test_contended},
    {"forget", test_forget},
    {"one sigma has one sketch", test_one_sigma_one_sketch},
    {"S1: late and older is ignored", test_s1},
    {"S2: an equal sketch raises sigma", test_s2},
    {"S3: an evicted sigma is a floor", test_s3},
    {"S4: no copy accepts the old once any may accept the new", test_s4},
    {"S9: what is forgotten leaves its sigma", test_s9},
    {"S16: an entry from before a write", test_s16},
    {"S17: a blacklisted key is kept up to date", test_s17},
    {"S18: a late variant of a written URL", test_s18},
    {"S19: flush, evicted tombstone, then late", test_s19},
    {"S20: a larger sigma passes between invalidate and install", test_s20},
    {"S22: a new incarnation", test_s22},
    {"the victim is the smallest sigma", test_victim_is_the_smallest_sigma},
    {"the victim is unused", test_victim_is_unused},
    {"a slot lost between invalidate and install", test_lost_slot_is_not_installed},
    {"64 Ki slots filled to 90 %", test_fill_to_90_percent},
    {"flush", test_flush},
    {"partitions are separate", test_partitions_are_separate},
    {"tombstones only grow", test_tombstones_only_grow},
    {"a late tombstone", test_late_tombstone},
    {"blacklist", test_blacklist},
    {"blacklist: a neighbour much later", test_blacklist_of_a_neighbour},
    {"blacklist: never", test_blacklist_never},
    {"colliding tags", test_colliding_tags},
    {"model", test_model},
    {"threads: readers and writers", test_threads},
    {"threads: a reset under readers", test_threads_reset},
    {NULL, NULL},
};

int main(int argc, char **argv) {
    return unit_main("history", cases, argc, argv);
}
