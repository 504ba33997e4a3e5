/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lib/history - the lock-free history table (Prophecy, §3.3; design.md laws 2-4).
 *
 * Maps s(q) to (sigma, s(r)) in one copy per NUMA socket, and the URLs of writes to tombstones.
 * Any number of readers, each on its socket's copy; readers never wait and never write shared
 * lines but a "recently used" bit. Writes: the table is divided into partitions by URL, and all
 * writes of a partition, in every copy, are made by one thread (its slow-path lcore).
 * A reader that meets a bucket in change tries a few times and then reports a miss.
 *
 * Layout: buckets of 16 slots of 28 bytes (32-bit key tag, sigma, sketch) in 512 bytes, so at most
 * 32 bytes per entry; four candidate buckets inside the partition of the URL, the last two for when
 * the first two are crowded; nothing ever moves. A victim's sigma is left behind as its bucket's
 * floor; a flush leaves a floor for the partition; for a key that is absent the largest of the
 * floors stands in (law 3). Slots lie at the same place in every copy. Keys that share a bucket and
 * a tag share one slot and one sigma, which is safe: the sketch covers all of s(q), so they
 * mismatch (see layout.h).
 *
 * Sequence numbers are sigma = agreed sequence << 16 | index in the batch; 0 means none.
 */
#ifndef PROPHECY_HISTORY_H
#define PROPHECY_HISTORY_H

#include "sketch/sketch.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HISTORY_BUCKET_SLOTS 16u
#define HISTORY_BUCKET_BYTES 512u
#define HISTORY_COPIES_MAX 8u
#define HISTORY_PARTITIONS_MAX 64u
#define HISTORY_READ_TRIES 4u

struct history;

struct history_config {
    uint64_t entries;    // capacity wanted; rounded up to 64 slots (four buckets) per partition
    uint64_t tombstones; // the same for tombstones
    uint32_t copies;     // 1..HISTORY_COPIES_MAX
    uint32_t partitions; // 1..HISTORY_PARTITIONS_MAX: the number of slow-path lcores
    uint8_t seed[16];    // keys the placement
    uint32_t blacklist_after; // changes in a row that blacklist a key (< 2^15); 0: never
    uint32_t blacklist_s;     // for so long (<= 2,000)
    /* Zeroed memory for one copy, 64-byte aligned, on whatever socket is meant; and its release.
     * NULL: the heap. */
    void *(*alloc)(void *ctx, uint32_t copy, size_t bytes);
    void (*release)(void *ctx, uint32_t copy, void *memory, size_t bytes);
    void *ctx;
};

size_t history_bytes(const struct history_config *cfg);        // per copy; 0: a limit is exceeded
struct history *history_new(const struct history_config *cfg); // NULL: no memory, or the same
void history_free(struct history *h);
/* The partition, and so the one writer, of a URL. */
uint32_t history_partition(const struct history *h, const struct sketch_tag *url);

/* ---- readers ---- */
enum history_found {
    HISTORY_MISS,      // no entry, an entry without a sketch, or one below a floor
    HISTORY_HIT,       // sigma and sketch are set
    HISTORY_TOMBSTONE, // an entry, but a write to its URL came later
    HISTORY_CONTENDED, // the bucket kept changing; treat as a miss
};
struct history_result {
    uint64_t sigma;           // of the entry, also when it has no sketch; 0: none
    struct sketch_tag sketch; // valid for HIT and TOMBSTONE
    uint64_t tombstone;       // sigma of the last known write to the URL, or its bucket's floor
    bool blacklisted; // it keeps changing: do not try a fast read (the entry may still be a HIT)
};
/*
 * Looks up key in copy. The tombstone is read after the entry, so that an entry accepted was not
 * overtaken by an acknowledged write at the time it was read. now_s: any seconds, used for the
 * blacklist only.
 */
enum history_found history_lookup(struct history *h, uint32_t copy, const struct sketch_tag *key,
                                  const struct sketch_tag *url, uint32_t now_s,
                                  struct history_result *out);

/* ---- the partition's writer ---- */
/*
 * Law 4 in two steps, which history_update does one after the other:
 * invalidate: in every copy, if sigma is larger than the entry's (an absent key: than its floors),
 * the entry becomes (sigma, no sketch), evicting a victim where needed. Returns false, and changes
 * nothing, when sigma is not larger: the caller must not install then. install: in every copy, sets
 * the sketch where the slot still holds exactly this sigma (and, as one sigma has one sketch, no
 * other sketch yet). Returns whether the slot holds it now.
 */
bool history_invalidate(struct history *h, const struct sketch_tag *key,
                        const struct sketch_tag *url, uint64_t sigma);
bool history_install(struct history *h, const struct sketch_tag *key, const struct sketch_tag *url,
                     uint64_t sigma, const struct sketch_tag *sketch, uint32_t now_s);
/* Both. An equal sketch still raises sigma (law 3). When *changed is not NULL it says whether a
 * former sketch differed: a transition. */
bool history_update(struct history *h, const struct sketch_tag *key, const struct sketch_tag *url,
                    uint64_t sigma, const struct sketch_tag *sketch, uint32_t now_s, bool *changed);
/* A write to the URL took effect at sigma: set in every copy before its response is released. */
void history_tombstone(struct history *h, const struct sketch_tag *url, uint64_t sigma);
/* Drops the sketch of one key; its sigma stays. */
void history_forget(struct history *h, const struct sketch_tag *key, const struct sketch_tag *url);
/*
 * Drops every entry of a partition; the largest sigma seen in it stays behind as the partition's
 * floor, so that nothing older comes back (S19). Cheap: O(1).
 */
void history_flush(struct history *h, uint32_t partition);
/* A new incarnation of the group: entries, tombstones and floors of the partition are gone (S22).
 * O(size). */
void history_reset(struct history *h, uint32_t partition);

/* ---- figures ---- */
/* entries and tombstones are what is held now, the others count events since the start. */
struct history_stats {
    uint64_t capacity, entries, installs, raises, changes, ignored_older, evictions, tombstones,
        tombstone_evictions, flushes;
};
/* Sums over partitions; any thread, approximate while writers run. */
void history_stats(const struct history *h, struct history_stats *out);
/* For tests and the figures: the entry's sigma in one copy as its slot holds it. */
uint64_t history_sigma(const struct history *h, uint32_t copy, const struct sketch_tag *key,
                       const struct sketch_tag *url);

#endif
