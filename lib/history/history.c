/* SPDX-License-Identifier: BSD-3-Clause */
/* Memory, placement and figures of the history table. */
#include "history/layout.h"

#include <stdlib.h>
#include <string.h>

static void *heap_alloc(void *ctx, uint32_t copy, size_t bytes) {
    (void)ctx, (void)copy;
    void *memory = aligned_alloc(64, bytes);
    return memory == NULL ? NULL : memset(memory, 0, bytes);
}

static void heap_release(void *ctx, uint32_t copy, void *memory, size_t bytes) {
    (void)ctx, (void)copy, (void)bytes;
    free(memory);
}

/* How many units of so many slots give each partition its share; at least one. */
static uint64_t share(uint64_t wanted, uint32_t partitions, uint64_t slots) {
    uint64_t per = partitions * slots;
    return wanted == 0 ? 1 : wanted / per + (wanted % per != 0);
}

static uint64_t quarter_of(const struct history_config *cfg) {
    return share(cfg->entries, cfg->partitions, CANDIDATES * HISTORY_BUCKET_SLOTS);
}

static uint64_t tombstone_buckets_of(const struct history_config *cfg) {
    return share(cfg->tombstones, cfg->partitions, TOMBSTONE_SLOTS);
}

static bool config_is_sound(const struct history_config *cfg) {
    return cfg->copies >= 1 && cfg->copies <= HISTORY_COPIES_MAX && cfg->partitions >= 1 &&
           cfg->partitions <= HISTORY_PARTITIONS_MAX && cfg->blacklist_s <= BLACKLIST_MAX_S &&
           cfg->blacklist_after < BLACKLISTED && quarter_of(cfg) <= UINT32_MAX / CANDIDATES &&
           tombstone_buckets_of(cfg) <= UINT32_MAX;
}

size_t history_bytes(const struct history_config *cfg) {
    if (!config_is_sound(cfg))
        return 0;
    return cfg->partitions *
           (sizeof(struct partition_line) + CANDIDATES * quarter_of(cfg) * sizeof(struct bucket) +
            tombstone_buckets_of(cfg) * sizeof(struct tombstone_bucket));
}

static bool copy_new(struct history *h, uint32_t c) {
    struct copy *copy = &h->copy[c];
    uint8_t *memory = h->cfg.alloc(h->cfg.ctx, c, history_bytes(&h->cfg));
    if (memory == NULL)
        return false;
    assert((uintptr_t)memory % 64 == 0);
    copy->memory = memory;
    copy->partitions = (void *)memory;
    memory += h->cfg.partitions * sizeof(struct partition_line);
    copy->buckets = (void *)memory;
    memory += (uint64_t)h->cfg.partitions * CANDIDATES * h->quarter * sizeof(struct bucket);
    copy->tombstones = (void *)memory;
    return true;
}

struct history *history_new(const struct history_config *cfg) {
    if (!config_is_sound(cfg))
        return NULL;
    struct history *h = heap_alloc(NULL, 0, (sizeof *h + 63) / 64 * 64);
    if (h == NULL)
        return NULL;
    h->cfg = *cfg;
    if (cfg->alloc == NULL) {
        h->cfg.alloc = heap_alloc;
        h->cfg.release = heap_release;
    }
    h->quarter = (uint32_t)quarter_of(cfg);
    h->tombstone_buckets = (uint32_t)tombstone_buckets_of(cfg);
    memcpy(h->seed, cfg->seed, sizeof h->seed);
    h->seed[0] ^= UINT64_C(0x9e3779b97f4a7c15); // so that a seed of zeros mixes as well
    h->seed[1] ^= UINT64_C(0xd1b54a32d192ed03);
    for (uint32_t c = 0; c < cfg->copies; c++)
        if (!copy_new(h, c)) {
            history_free(h);
            return NULL;
        }
    return h;
}

void history_free(struct history *h) {
    if (h == NULL)
        return;
    for (uint32_t c = 0; c < h->cfg.copies; c++)
        if (h->copy[c].memory != NULL)
            h->cfg.release(h->cfg.ctx, c, h->copy[c].memory, history_bytes(&h->cfg));
    free(h);
}

/* ---- placement ---- */

/* 128 bits to 64: the two halves of the product of both halves, folded. */
static uint64_t fold(const struct history *h, const struct sketch_tag *t) {
    uint64_t half[2];
    static_assert(sizeof half == sizeof t->b, "a tag is two words");
    memcpy(half, t->b, sizeof half);
    unsigned __int128 product = (unsigned __int128)(half[0] ^ h->seed[0]) * (half[1] ^ h->seed[1]);
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint64_t mix(uint64_t v) {
    v = (v ^ v >> 32) * UINT64_C(0xd6e8feb86659fd93);
    v = (v ^ v >> 32) * UINT64_C(0xd6e8feb86659fd93);
    return v ^ v >> 32;
}

/* Maps 32 random bits to [0, n) without a division. */
static uint32_t reduce(uint64_t bits, uint32_t n) {
    return (uint32_t)((uint64_t)(uint32_t)bits * n >> 32);
}

static uint32_t nonzero(uint64_t bits) {
    return (uint32_t)bits == 0 ? 1 : (uint32_t)bits;
}

uint32_t history_partition(const struct history *h, const struct sketch_tag *url) {
    return reduce(fold(h, url) >> 32, h->cfg.partitions);
}

void history_place(const struct history *h, const struct sketch_tag *key,
                   const struct sketch_tag *url, struct place *out) {
    uint64_t u = fold(h, url), k = fold(h, key);
    out->partition = history_partition(h, url);
    out->tombstone_tag = nonzero(mix(u));
    out->tombstone_bucket =
        (uint64_t)out->partition * h->tombstone_buckets + reduce(u, h->tombstone_buckets);
    out->tag = nonzero(k);
    // Offsets come from the tag alone: that makes classes (see layout.h).
    uint64_t m = mix(out->tag), n = mix(m ^ 1);
    uint32_t offset[CANDIDATES] = {0, reduce(m, h->quarter), reduce(m >> 32, h->quarter),
                                   reduce(n, h->quarter)};
    uint64_t base = (uint64_t)out->partition * CANDIDATES * h->quarter;
    uint64_t first = reduce(k >> 32, h->quarter);
    for (uint32_t i = 0; i < CANDIDATES; i++) {
        uint32_t part = (uint32_t)((n >> 32) + i) % CANDIDATES;
        out->bucket[i] = base + part * (uint64_t)h->quarter + (first + offset[part]) % h->quarter;
    }
}

/* ---- figures ---- */

void history_stats(const struct history *h, struct history_stats *out) {
    uint64_t sum[COUNTERS] = {0};
    for (uint32_t p = 0; p < h->cfg.partitions; p++)
        for (uint32_t i = 0; i < COUNTERS; i++)
            sum[i] += atomic_load_explicit(&h->writer[p].count[i], memory_order_relaxed);
    *out = (struct history_stats){
        .capacity = (uint64_t)h->cfg.partitions * CANDIDATES * h->quarter * HISTORY_BUCKET_SLOTS,
        .entries = sum[COUNT_ENTRIES],
        .installs = sum[COUNT_INSTALLS],
        .raises = sum[COUNT_RAISES],
        .changes = sum[COUNT_CHANGES],
        .ignored_older = sum[COUNT_IGNORED_OLDER],
        .evictions = sum[COUNT_EVICTIONS],
        .tombstones = sum[COUNT_TOMBSTONES],
        .tombstone_evictions = sum[COUNT_TOMBSTONE_EVICTIONS],
        .flushes = sum[COUNT_FLUSHES],
    };
}
