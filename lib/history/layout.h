/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The table's memory, what of it readers may touch, and where a key lies.
 *
 * Versions. A bucket's version is odd while it changes. All that readers read is _Atomic; a writer
 * stores with release between the two steps of the version, a reader loads with acquire between two
 * looks at it. A reader that got any value from inside a change therefore also sees the odd
 * version, or a later one, in its second look; no fence is needed.
 *
 * Classes. The second to fourth candidate bucket follow from the first and the 32-bit tag, and so
 * does the first from any of them. Two keys with equal tags that share a bucket share all four:
 * they are one class, with one slot and one sigma, the larger of both. Hence a class is never in
 * two places, and a collision of tags costs a mismatch at worst: the sketch in the slot covers all
 * of s(q) (design.md law 13).
 *
 * Placement. s(q) is a secret keyed hash already, so no client can aim at a bucket; the seed is
 * mixed in so that this does not hang on how its bits are made.
 */
#ifndef PROPHECY_HISTORY_LAYOUT_H
#define PROPHECY_HISTORY_LAYOUT_H

#include "history/history.h"

#include <assert.h>
#include <stdalign.h>
#include <stdatomic.h>

#define CANDIDATES 4u
/*
 * The third and fourth candidates are looked at for a new key when the better of the first two
 * holds so many. Measured over 2^21 buckets: two candidates alone evict from 83 % of the slots on,
 * these four from 91 %, and a reader needs 1.45 buckets on average to find a key that is there.
 */
#define CROWDED 12u
#define BLACKLISTED 0x8000u // in heat: the other bits are the second when it ends, modulo 2^15
#define BLACKLIST_MAX_S 2000u

struct bucket {
    _Atomic uint64_t version;
    _Atomic uint64_t floor; // largest sigma evicted from here
    _Atomic uint32_t used;  // bit per slot: read since the last eviction here
    _Atomic uint16_t valid; // bit per slot: the sketch may be accepted
    _Atomic uint16_t known; // bit per slot: the sketch is one that was agreed, if out of date
    _Atomic uint32_t blacklisted_at_s; // when a slot of this bucket was last blacklisted
    uint32_t spare;
    _Atomic uint16_t heat[HISTORY_BUCKET_SLOTS]; // changes in a row, or BLACKLISTED | end
    _Atomic uint32_t tag[HISTORY_BUCKET_SLOTS];  // 0: the slot was never used
    _Atomic uint64_t sigma[HISTORY_BUCKET_SLOTS];
    _Atomic uint64_t sketch[HISTORY_BUCKET_SLOTS][2];
};
static_assert(sizeof(struct bucket) == HISTORY_BUCKET_BYTES, "one bucket is eight cache lines");
static_assert(offsetof(struct bucket, tag) == 64, "readers find a tag in the second line");
static_assert(HISTORY_BUCKET_BYTES / HISTORY_BUCKET_SLOTS <= 32, "at most 32 bytes per entry");
static_assert(ATOMIC_LLONG_LOCK_FREE == 2, "readers never wait");

#define TOMBSTONE_SLOTS 16u
struct tombstone_bucket {
    alignas(64) _Atomic uint64_t version;
    _Atomic uint64_t floor; // stands in for every URL that has no slot here
    uint64_t spare[6];
    _Atomic uint32_t tag[TOMBSTONE_SLOTS];
    _Atomic uint64_t sigma[TOMBSTONE_SLOTS];
};
static_assert(sizeof(struct tombstone_bucket) == 256, "four cache lines");

/* What a flush or a reset says to the readers of one partition; in every copy, so that it is near.
 */
struct partition_line {
    alignas(64) _Atomic uint64_t epoch; // odd while the partition is reset
    _Atomic uint64_t floor;             // entries up to here were flushed
};
static_assert(sizeof(struct partition_line) == 64, "one cache line");

struct copy {
    void *memory;
    struct partition_line *partitions;
    struct bucket *buckets;
    struct tombstone_bucket *tombstones;
};

enum counter {
    COUNT_ENTRIES, // a level, like COUNT_TOMBSTONES
    COUNT_INSTALLS,
    COUNT_RAISES,
    COUNT_CHANGES,
    COUNT_IGNORED_OLDER,
    COUNT_EVICTIONS,
    COUNT_TOMBSTONES,
    COUNT_TOMBSTONE_EVICTIONS,
    COUNT_FLUSHES,
    COUNTERS
};

/* What the one writer of a partition owns; others may read the counters. */
struct writer {
    alignas(64) uint64_t sigma_max; // the largest sigma seen, of entries and tombstones
    _Atomic uint64_t count[COUNTERS];
};

struct history {
    struct history_config cfg;
    uint32_t quarter;           // buckets in one of the four parts of a partition
    uint32_t tombstone_buckets; // in a partition
    uint64_t seed[2];
    struct copy copy[HISTORY_COPIES_MAX];
    struct writer writer[HISTORY_PARTITIONS_MAX];
};

struct place {
    uint32_t partition;
    uint32_t tag;
    uint32_t tombstone_tag;
    uint64_t tombstone_bucket;   // index in a copy
    uint64_t bucket[CANDIDATES]; // indices in a copy, in the order in which to look
};
void history_place(const struct history *h, const struct sketch_tag *key,
                   const struct sketch_tag *url, struct place *out);

/* Index of tag among 16, or 16. */
static inline uint32_t history_find_tag(const _Atomic uint32_t *tags, uint32_t tag) {
    uint32_t i = 0;
    while (i < HISTORY_BUCKET_SLOTS && atomic_load_explicit(&tags[i], memory_order_acquire) != tag)
        i++;
    return i;
}
static_assert(TOMBSTONE_SLOTS == HISTORY_BUCKET_SLOTS, "one search for both");

/* Does this heat keep its key from fast reads? A second of skew between lcores does not matter. */
static inline bool history_is_blacklisted(const struct history *h, uint32_t heat,
                                          uint32_t blacklisted_at_s, uint32_t now_s) {
    uint32_t left_s = (heat - now_s) & (BLACKLISTED - 1);
    return (heat & BLACKLISTED) != 0 && left_s > 0 && left_s <= h->cfg.blacklist_s &&
           (int32_t)(now_s - blacklisted_at_s) <= (int32_t)h->cfg.blacklist_s;
}

#endif
