/* SPDX-License-Identifier: BSD-3-Clause */
/* The readers' side: see layout.h for the versions. */
#include "history/layout.h"

#include <string.h>

#define LOAD(field) atomic_load_explicit(&(field), memory_order_acquire)

/* True when nothing changed since the first look, which gave version. */
static bool unchanged(const _Atomic uint64_t *version, uint64_t first) {
    return (first & 1) == 0 && atomic_load_explicit(version, memory_order_relaxed) == first;
}

struct slot {
    uint32_t index; // HISTORY_BUCKET_SLOTS: the tag is not here
    uint64_t sigma;
    bool valid;
    bool blacklisted;
    struct sketch_tag sketch;
};

static void copy_slot(const struct history *h, const struct bucket *b, uint32_t now_s,
                      struct slot *out) {
    uint32_t i = out->index;
    uint64_t half[2] = {LOAD(b->sketch[i][0]), LOAD(b->sketch[i][1])};
    memcpy(out->sketch.b, half, sizeof half);
    out->sigma = LOAD(b->sigma[i]);
    out->valid = (LOAD(b->valid) >> i & 1) != 0;
    out->blacklisted =
        history_is_blacklisted(h, LOAD(b->heat[i]), LOAD(b->blacklisted_at_s), now_s);
}

/* False when the bucket kept changing. */
static bool read_slot(const struct history *h, const struct bucket *b, uint32_t tag, uint32_t now_s,
                      struct slot *out) {
    for (uint32_t try = 0; try < HISTORY_READ_TRIES; try++) {
        uint64_t version = LOAD(b->version);
        out->index = history_find_tag(b->tag, tag);
        if (out->index < HISTORY_BUCKET_SLOTS)
            copy_slot(h, b, now_s, out);
        if (unchanged(&b->version, version))
            return true;
    }
    return false;
}

/* Sets *at to the bucket that has the class, or NULL. A class that moves meanwhile is a miss. */
static bool read_entry(const struct history *h, const struct copy *copy, const struct place *p,
                       uint32_t now_s, struct bucket **at, struct slot *out) {
    *at = NULL;
    for (uint32_t i = 0; i < CANDIDATES; i++) {
        struct bucket *b = &copy->buckets[p->bucket[i]];
        if (!read_slot(h, b, p->tag, now_s, out))
            return false;
        if (out->index < HISTORY_BUCKET_SLOTS) {
            *at = b;
            return true;
        }
    }
    return true;
}

static bool read_tombstone(const struct copy *copy, const struct place *p, uint64_t *sigma) {
    const struct tombstone_bucket *b = &copy->tombstones[p->tombstone_bucket];
    for (uint32_t try = 0; try < HISTORY_READ_TRIES; try++) {
        uint64_t version = LOAD(b->version);
        uint32_t i = history_find_tag(b->tag, p->tombstone_tag);
        *sigma = i < TOMBSTONE_SLOTS ? LOAD(b->sigma[i]) : LOAD(b->floor);
        if (unchanged(&b->version, version))
            return true;
    }
    return false;
}

static void mark_used(struct bucket *b, uint32_t index) {
    uint32_t bit = 1u << index;
    // Looked at first: a line that is only read stays shared among the cores.
    if ((atomic_load_explicit(&b->used, memory_order_relaxed) & bit) == 0)
        atomic_fetch_or_explicit(&b->used, bit, memory_order_relaxed);
}

/*
 * The entry is read first, then the partition's floor and the tombstone. Both only grow, so
 * when the entry is above what they are now it was above what they were at the moment it was
 * read: all of the answer is true at that one moment, and whatever flush or write ended
 * before the lookup began is seen. Only a reset makes them smaller, hence its epoch around it all.
 */
enum history_found history_lookup(struct history *h, uint32_t copy, const struct sketch_tag *key,
                                  const struct sketch_tag *url, uint32_t now_s,
                                  struct history_result *out) {
    struct place p;
    struct slot slot;
    struct bucket *at;
    history_place(h, key, url, &p);
    const struct copy *mine = &h->copy[copy];
    const struct partition_line *line = &mine->partitions[p.partition];
    __builtin_prefetch(&mine->buckets[p.bucket[0]].version);
    __builtin_prefetch(&mine->buckets[p.bucket[0]].tag);
    __builtin_prefetch(&mine->tombstones[p.tombstone_bucket].version);
    __builtin_prefetch(&mine->tombstones[p.tombstone_bucket].tag);
    *out = (struct history_result){0};

    uint64_t epoch = LOAD(line->epoch);
    bool ok = read_entry(h, mine, &p, now_s, &at, &slot);
    uint64_t floor = LOAD(line->floor);
    ok = ok && read_tombstone(mine, &p, &out->tombstone);
    if (!ok || !unchanged(&line->epoch, epoch))
        return HISTORY_CONTENDED;
    if (at == NULL || slot.sigma <= floor)
        return HISTORY_MISS;
    out->sigma = slot.sigma;
    out->blacklisted = slot.blacklisted;
    if (!slot.valid)
        return HISTORY_MISS;
    out->sketch = slot.sketch;
    mark_used(at, slot.index);
    return slot.sigma > out->tombstone ? HISTORY_HIT : HISTORY_TOMBSTONE;
}

uint64_t history_sigma(const struct history *h, uint32_t copy, const struct sketch_tag *key,
                       const struct sketch_tag *url) {
    struct place p;
    struct slot slot;
    struct bucket *at;
    history_place(h, key, url, &p);
    while (!read_entry(h, &h->copy[copy], &p, 0, &at, &slot))
        ; // for tests and figures: a change takes a writer some nanoseconds
    return at == NULL ? 0 : slot.sigma;
}
