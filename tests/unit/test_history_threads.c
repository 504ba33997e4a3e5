/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Readers on two copies against one writer per partition. What must hold is said in shared atomics
 * before a lookup begins, and compared with what it finds: accepted[key]    the largest sigma that
 * any reader accepted or that was released (law 4, S4, S20) written[url]     the sigma of the last
 * write that was acknowledged (law 3, S16) flushed[part]    the largest sigma flushed (S19) Faults
 * are counted, and asserted on by the main thread alone.
 */
#include "test_history.h"
#include "unit.h"

#include <pthread.h>
#include <stdatomic.h>

#define PARTITIONS 2u
#define READERS 3u
#define KEYS 500u
#define URLS 100u
#if defined(__SANITIZE_THREAD__)
#define WRITES 60000u
#else
#define WRITES 400000u
#endif

enum fault { TORN, FELL, OVERTAKEN, FLUSHED, FAULTS };

static struct {
    struct history *h;
    _Atomic uint32_t writers_left;
    _Atomic uint64_t accepted[KEYS];
    _Atomic uint64_t written[URLS];
    _Atomic uint64_t flushed[PARTITIONS];
    _Atomic uint64_t faults[FAULTS];
    _Atomic uint64_t found[4];
} shared;

static void raise_to(_Atomic uint64_t *at_least, uint64_t value) {
    uint64_t now = atomic_load(at_least);
    while (now < value && !atomic_compare_exchange_weak(at_least, &now, value))
        ;
}

static struct sketch_tag key(uint64_t k) {
    return test_tag(1, k);
}

static struct sketch_tag url_of(uint64_t k) {
    return test_tag(2, k % URLS);
}

/* The sketch says of which key and sigma it is, so that a torn pair shows. */
static struct sketch_tag sketch_of(uint64_t k, uint64_t sigma) {
    return test_tag(3, k << 40 ^ sigma);
}

static void check(const struct history_result *r, bool hit, uint64_t k, uint64_t accepted,
                  uint64_t written, uint64_t flushed) {
    struct sketch_tag expected = sketch_of(k, r->sigma);
    if (!sketch_equal(&expected, &r->sketch))
        atomic_fetch_add(&shared.faults[TORN], 1);
    if (r->sigma < accepted)
        atomic_fetch_add(&shared.faults[FELL], 1);
    if (r->tombstone < written || (hit && r->sigma <= written))
        atomic_fetch_add(&shared.faults[OVERTAKEN], 1);
    if (r->sigma <= flushed)
        atomic_fetch_add(&shared.faults[FLUSHED], 1);
}

static void read_once(uint32_t copy, uint64_t k) {
    struct sketch_tag q = key(k), u = url_of(k);
    struct history_result r;
    uint64_t flushed = atomic_load(&shared.flushed[history_partition(shared.h, &u)]);
    uint64_t written = atomic_load(&shared.written[k % URLS]);
    uint64_t accepted = atomic_load(&shared.accepted[k]);
    enum history_found found = history_lookup(shared.h, copy, &q, &u, 0, &r);
    atomic_fetch_add(&shared.found[found], 1);
    if (found != HISTORY_HIT && found != HISTORY_TOMBSTONE)
        return;
    check(&r, found == HISTORY_HIT, k, accepted, written, flushed);
    raise_to(&shared.accepted[k], r.sigma);
}

static void *reader(void *arg) {
    uint32_t id = *(const uint32_t *)arg;
    uint64_t random = id + 1;
    // Few keys are read often, so that lookups of one key meet on both copies.
    while (atomic_load(&shared.writers_left) > 0)
        for (uint32_t i = 0; i < 100; i++)
            read_once((id + i) % 2, test_random(&random) % (i % 2 != 0 ? 8 : KEYS));
    for (uint64_t k = 0; k < KEYS; k++)
        read_once(id % 2, k);
    return NULL;
}

static void write_entry(uint64_t k, uint64_t sigma) {
    struct sketch_tag q = key(k), u = url_of(k), s = sketch_of(k, sigma);
    if (history_update(shared.h, &q, &u, sigma, &s, 0, NULL))
        raise_to(&shared.accepted[k], sigma); // now its response may be released
}

static void write_tombstone(uint64_t k, uint64_t sigma) {
    struct sketch_tag u = url_of(k);
    history_tombstone(shared.h, &u, sigma);
    raise_to(&shared.written[k % URLS], sigma);
}

/* Writes only to the URLs of its partition: late ones, evictions, tombstones and a flush at times.
 */
static void *writer(void *arg) {
    uint32_t partition = *(const uint32_t *)arg;
    uint64_t random = 100 + partition;
    for (uint64_t sigma = 2; sigma < WRITES; sigma++) {
        uint64_t k = test_random(&random) % (sigma % 2 != 0 ? 8 : KEYS);
        struct sketch_tag u = url_of(k);
        if (history_partition(shared.h, &u) != partition)
            continue;
        uint64_t op = test_random(&random) % 100;
        if (op < 10) {
            write_tombstone(k, sigma);
        } else if (op < 20) {
            write_entry(k, sigma - sigma % 100); // late: mostly refused
        } else if (op == 20 && sigma % 8 == 0) {
            history_flush(shared.h, partition);
            raise_to(&shared.flushed[partition], sigma - 100);
        } else {
            write_entry(k, sigma);
        }
    }
    atomic_fetch_sub(&shared.writers_left, 1);
    return NULL;
}

static struct history *table(uint64_t entries) {
    struct history_config cfg = {
        .entries = entries, .tombstones = 64, .copies = 2, .partitions = PARTITIONS};
    memset(&shared, 0, sizeof shared);
    shared.h = history_new(&cfg);
    CU_ASSERT_PTR_NOT_NULL_FATAL(shared.h);
    return shared.h;
}

static void run(void *(*write)(void *), void *(*read)(void *)) {
    static const uint32_t ids[READERS > PARTITIONS ? READERS : PARTITIONS] = {0, 1, 2};
    pthread_t writers[PARTITIONS], readers[READERS];
    atomic_store(&shared.writers_left, PARTITIONS);
    for (uint32_t i = 0; i < READERS; i++)
        CU_ASSERT_EQUAL_FATAL(pthread_create(&readers[i], NULL, read, (void *)(uintptr_t)&ids[i]),
                              0);
    for (uint32_t i = 0; i < PARTITIONS; i++)
        CU_ASSERT_EQUAL_FATAL(pthread_create(&writers[i], NULL, write, (void *)(uintptr_t)&ids[i]),
                              0);
    for (uint32_t i = 0; i < PARTITIONS; i++)
        pthread_join(writers[i], NULL);
    for (uint32_t i = 0; i < READERS; i++)
        pthread_join(readers[i], NULL);
}

void test_threads(void) {
    struct history_stats s;
    struct history *h = table(256);
    run(writer, reader);
    CU_ASSERT_EQUAL(shared.faults[TORN], 0);
    CU_ASSERT_EQUAL(shared.faults[FELL], 0);
    CU_ASSERT_EQUAL(shared.faults[OVERTAKEN], 0);
    CU_ASSERT_EQUAL(shared.faults[FLUSHED], 0);
    CU_ASSERT(shared.found[HISTORY_HIT] > 0);
    CU_ASSERT(shared.found[HISTORY_MISS] > 0);
    CU_ASSERT(shared.found[HISTORY_TOMBSTONE] > 0);
    history_stats(h, &s);
    CU_ASSERT(s.evictions > 0 && s.flushes > 0 && s.ignored_older > 0);
    printf("%llu hits, %llu contended ", (unsigned long long)shared.found[HISTORY_HIT],
           (unsigned long long)shared.found[HISTORY_CONTENDED]);
    history_free(h);
}

/*
 * A reset makes tombstones smaller. The entry is always older than the write to its URL, so no
 * reader may ever have a hit, also not one that read the entry before and the tombstone after.
 */
static uint64_t key_of_partition(uint32_t partition) {
    for (uint64_t k = 0;; k++) {
        struct sketch_tag u = url_of(k);
        if (history_partition(shared.h, &u) == partition)
            return k;
    }
}

static void *resetting_writer(void *arg) {
    uint32_t partition = *(const uint32_t *)arg;
    uint64_t k = key_of_partition(partition);
    struct sketch_tag q = key(k), u = url_of(k), s = sketch_of(k, 5);
    for (uint32_t i = 0; i < WRITES / 8; i++) {
        history_tombstone(shared.h, &u, 10);
        history_update(shared.h, &q, &u, 5, &s, 0, NULL);
        history_reset(shared.h, partition);
    }
    history_tombstone(shared.h, &u, 10);
    history_update(shared.h, &q, &u, 5, &s, 0, NULL);
    atomic_fetch_sub(&shared.writers_left, 1);
    return NULL;
}

static void *resetting_reader(void *arg) {
    uint32_t id = *(const uint32_t *)arg;
    uint64_t k = key_of_partition(id % PARTITIONS);
    struct sketch_tag q = key(k), u = url_of(k);
    for (bool last = false; !last;) {
        struct history_result r;
        last = atomic_load(&shared.writers_left) == 0;
        atomic_fetch_add(&shared.found[history_lookup(shared.h, id % 2, &q, &u, 0, &r)], 1);
    }
    return NULL;
}

void test_threads_reset(void) {
    struct history *h = table(64);
    run(resetting_writer, resetting_reader);
    CU_ASSERT_EQUAL(shared.found[HISTORY_HIT], 0);
    CU_ASSERT(shared.found[HISTORY_TOMBSTONE] >= READERS);
    history_free(h);
}
