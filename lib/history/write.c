/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The writer's side: one thread per partition, so it may read what it wrote without more ado, and
 * it reads copy 0, as all copies hold the same. The tests build this file with HISTORY_BREAK_*
 * defined, each of which breaks one rule, to prove that they notice.
 */
#include "history/layout.h"

#include <string.h>

#define OWN(field) atomic_load_explicit(&(field), memory_order_relaxed)
#define STORE(field, value) atomic_store_explicit(&(field), (value), memory_order_release)

static uint64_t max_u64(uint64_t a, uint64_t b) {
    return a > b ? a : b;
}

static void count(struct writer *w, enum counter which, int64_t step) {
    // One writer: no read-modify-write instruction is needed.
    atomic_store_explicit(&w->count[which], OWN(w->count[which]) + (uint64_t)step,
                          memory_order_relaxed);
}

#ifdef HISTORY_BREAK_VERSION
#define STEP 0u
#else
#define STEP 1u
#endif

/* From here to change_end all stores have release order (see layout.h). */
static void change_begin(_Atomic uint64_t *version) {
    assert((OWN(*version) & 1) == 0);
    atomic_store_explicit(version, OWN(*version) + STEP, memory_order_relaxed);
}

static void change_end(_Atomic uint64_t *version) {
    STORE(*version, OWN(*version) + STEP);
}

/* ---- finding and choosing a slot ---- */

/* A slot, at the same place in every copy. */
struct at {
    uint64_t bucket;
    uint32_t slot;
};

static struct bucket *bucket_in(const struct history *h, uint32_t copy, struct at at) {
    return &h->copy[copy].buckets[at.bucket];
}

static uint64_t sigma_at(const struct history *h, struct at at) {
    return OWN(bucket_in(h, 0, at)->sigma[at.slot]);
}

static uint64_t partition_floor(const struct history *h, uint32_t partition) {
    return OWN(h->copy[0].partitions[partition].floor);
}

static bool find(const struct history *h, const struct place *p, struct at *out) {
    for (uint32_t i = 0; i < CANDIDATES; i++) {
        *out = (struct at){.bucket = p->bucket[i]};
        out->slot = history_find_tag(bucket_in(h, 0, *out)->tag, p->tag);
        if (out->slot < HISTORY_BUCKET_SLOTS)
            return true;
    }
    return false;
}

/* Stands in for the sigma of an absent class: it may have been evicted from any of its buckets. */
static uint64_t floor_of_absent(const struct history *h, const struct place *p) {
    uint64_t floor = partition_floor(h, p->partition);
    for (uint32_t i = 0; i < CANDIDATES; i++)
        floor = max_u64(floor, OWN(h->copy[0].buckets[p->bucket[i]].floor));
    return floor;
}

/* Slots that are neither empty (sigma 0) nor flushed; *free_slot becomes one that is. */
static uint32_t live_slots(const struct history *h, uint64_t bucket, uint64_t floor,
                           uint32_t *free_slot) {
    uint32_t live = 0;
    for (uint32_t i = 0; i < HISTORY_BUCKET_SLOTS; i++) {
        if (OWN(h->copy[0].buckets[bucket].sigma[i]) > floor)
            live++;
        else
            *free_slot = i;
    }
    return live;
}

/* A free slot in the emptier of the first two candidates, or of all when these are crowded. */
static bool find_free(const struct history *h, const struct place *p, struct at *out) {
    uint64_t floor = partition_floor(h, p->partition);
    uint32_t least = HISTORY_BUCKET_SLOTS;
    for (uint32_t i = 0; i < CANDIDATES; i++) {
        if (i == 2 && least < CROWDED)
            break;
        uint32_t free_slot = 0, live = live_slots(h, p->bucket[i], floor, &free_slot);
        if (live < least) {
            least = live;
            *out = (struct at){.bucket = p->bucket[i], .slot = free_slot};
        }
    }
    return least < HISTORY_BUCKET_SLOTS;
}

static uint32_t used_in_any_copy(const struct history *h, uint64_t bucket) {
    uint32_t used = 0;
    for (uint32_t c = 0; c < h->cfg.copies; c++)
        used |= OWN(h->copy[c].buckets[bucket].used);
    return used;
}

/* Not used before used, then the smallest sigma; the rest of that bucket must earn its bits anew.
 */
static struct at choose_victim(const struct history *h, const struct place *p) {
    struct at victim = {0};
    bool victim_used = true;
    uint64_t victim_sigma = UINT64_MAX;
    for (uint32_t i = 0; i < CANDIDATES; i++) {
        uint32_t used = used_in_any_copy(h, p->bucket[i]);
        for (uint32_t slot = 0; slot < HISTORY_BUCKET_SLOTS; slot++) {
            struct at at = {.bucket = p->bucket[i], .slot = slot};
            bool is_used = (used >> slot & 1) != 0;
            if (is_used != victim_used ? is_used : sigma_at(h, at) >= victim_sigma)
                continue;
            victim = at;
            victim_used = is_used;
            victim_sigma = sigma_at(h, at);
        }
    }
    for (uint32_t c = 0; c < h->cfg.copies; c++)
        atomic_store_explicit(&bucket_in(h, c, victim)->used, 0, memory_order_relaxed);
    return victim;
}

/* ---- law 4, first step ---- */

static void clear_bit(_Atomic uint16_t *bits, uint32_t slot) {
    STORE(*bits, (uint16_t)(OWN(*bits) & ~(1u << slot)));
}

/* An entry that is there becomes (sigma, no sketch). What it was stays, to be compared with. */
static void raise_entry(struct history *h, struct at at, uint64_t sigma, bool flushed) {
    for (uint32_t c = 0; c < h->cfg.copies; c++) {
        struct bucket *b = bucket_in(h, c, at);
        change_begin(&b->version);
#ifndef HISTORY_BREAK_INVALIDATE
        clear_bit(&b->valid, at.slot);
#endif
        if (flushed) {
            clear_bit(&b->known, at.slot);
            STORE(b->heat[at.slot], 0);
        }
        STORE(b->sigma[at.slot], sigma);
        change_end(&b->version);
    }
}

/* A slot is given to another class; what it held leaves its sigma behind before that (law 3). */
static void occupy(struct history *h, struct at at, uint32_t tag, uint64_t sigma) {
    for (uint32_t c = 0; c < h->cfg.copies; c++) {
        struct bucket *b = bucket_in(h, c, at);
        change_begin(&b->version);
#ifndef HISTORY_BREAK_FLOOR
        STORE(b->floor, max_u64(OWN(b->floor), OWN(b->sigma[at.slot])));
#endif
        clear_bit(&b->valid, at.slot);
        clear_bit(&b->known, at.slot);
        STORE(b->heat[at.slot], 0);
        STORE(b->sigma[at.slot], sigma);
        STORE(b->tag[at.slot], tag);
        change_end(&b->version);
        atomic_fetch_and_explicit(&b->used, ~(1u << at.slot), memory_order_relaxed);
    }
}

static void insert(struct history *h, const struct place *p, uint64_t sigma) {
    struct writer *w = &h->writer[p->partition];
    struct at at;
    if (find_free(h, p, &at)) {
        count(w, COUNT_ENTRIES, 1);
    } else {
        at = choose_victim(h, p);
        count(w, COUNT_EVICTIONS, 1);
    }
    occupy(h, at, p->tag, sigma);
}

static bool invalidate(struct history *h, const struct place *p, uint64_t sigma) {
    struct writer *w = &h->writer[p->partition];
    struct at at;
    uint64_t flushed = partition_floor(h, p->partition);
    bool found = find(h, p, &at);
    if (sigma <= (found ? max_u64(sigma_at(h, at), flushed) : floor_of_absent(h, p))) {
        count(w, COUNT_IGNORED_OLDER, 1);
        return false;
    }
    w->sigma_max = max_u64(w->sigma_max, sigma);
    if (!found) {
        insert(h, p, sigma);
        return true;
    }
    bool was_flushed = sigma_at(h, at) <= flushed;
    count(w, COUNT_ENTRIES, was_flushed);
    raise_entry(h, at, sigma, was_flushed);
    return true;
}

/* ---- law 4, second step ---- */

/* The heat of a slot after an install: changes in a row, until there are so many that it is
 * blacklisted. */
static uint16_t next_heat(const struct history *h, struct at at, bool changed, uint32_t now_s) {
    const struct bucket *b = bucket_in(h, 0, at);
    uint32_t heat = OWN(b->heat[at.slot]);
    if (history_is_blacklisted(h, heat, OWN(b->blacklisted_at_s), now_s))
        return (uint16_t)heat;
    if (!changed || h->cfg.blacklist_after == 0)
        return 0;
    heat = (heat & BLACKLISTED) != 0 ? 1 : heat + 1;
    if (heat < h->cfg.blacklist_after)
        return (uint16_t)heat;
    return (uint16_t)(BLACKLISTED | ((now_s + h->cfg.blacklist_s) & (BLACKLISTED - 1)));
}

/*
 * Ends are kept modulo 2^15 seconds. They stay unambiguous because blacklisted_at_s says when the
 * last one was set, and because those that are over are wiped before it moves on.
 */
static void set_heat(const struct history *h, struct bucket *b, uint32_t slot, uint16_t heat,
                     uint32_t now_s) {
    bool begins = (heat & BLACKLISTED) != 0 && heat != OWN(b->heat[slot]);
    for (uint32_t i = 0; begins && i < HISTORY_BUCKET_SLOTS; i++)
        if ((OWN(b->heat[i]) & BLACKLISTED) != 0 &&
            !history_is_blacklisted(h, OWN(b->heat[i]), OWN(b->blacklisted_at_s), now_s))
            STORE(b->heat[i], 0);
    if (begins)
        STORE(b->blacklisted_at_s, now_s);
    STORE(b->heat[slot], heat);
}

static bool holds(const struct bucket *b, uint32_t slot, const uint64_t sketch[2]) {
    return OWN(b->sketch[slot][0]) == sketch[0] && OWN(b->sketch[slot][1]) == sketch[1];
}

static void install_in_copy(const struct history *h, uint32_t copy, struct at at,
                            const uint64_t sketch[2], uint16_t heat, uint32_t now_s) {
    struct bucket *b = bucket_in(h, copy, at);
    uint32_t bit = 1u << at.slot;
    change_begin(&b->version);
    STORE(b->sketch[at.slot][0], sketch[0]);
    STORE(b->sketch[at.slot][1], sketch[1]);
    set_heat(h, b, at.slot, heat, now_s);
    STORE(b->known, (uint16_t)(OWN(b->known) | bit));
    STORE(b->valid, (uint16_t)(OWN(b->valid) | bit));
    change_end(&b->version);
}

static bool install(struct history *h, const struct place *p, uint64_t sigma,
                    const struct sketch_tag *sketch, uint32_t now_s, bool *changed) {
    struct writer *w = &h->writer[p->partition];
    struct at at;
    uint64_t half[2];
    memcpy(half, sketch->b, sizeof half);
    if (!find(h, p, &at) || sigma <= partition_floor(h, p->partition))
        return false;
#ifndef HISTORY_BREAK_RECHECK
    if (sigma_at(h, at) != sigma) // S20: a larger one passed by since the invalidation
        return false;
#endif
    const struct bucket *b = bucket_in(h, 0, at);
    if ((OWN(b->valid) >> at.slot & 1) != 0)
        return holds(b, at.slot, half); // one sigma has one sketch
    bool known = (OWN(b->known) >> at.slot & 1) != 0;
    *changed = known && !holds(b, at.slot, half);
    uint16_t heat = next_heat(h, at, *changed, now_s);
    for (uint32_t c = 0; c < h->cfg.copies; c++) {
        // Only this thread writes here, so what holds for one copy holds for all.
        assert(OWN(bucket_in(h, c, at)->tag[at.slot]) == p->tag);
        assert(OWN(bucket_in(h, c, at)->sigma[at.slot]) == sigma_at(h, at));
        install_in_copy(h, c, at, half, heat, now_s);
    }
    count(w, *changed ? COUNT_CHANGES : known ? COUNT_RAISES : COUNT_INSTALLS, 1);
    return true;
}

/* ---- the writer's interface ---- */

bool history_invalidate(struct history *h, const struct sketch_tag *key,
                        const struct sketch_tag *url, uint64_t sigma) {
    struct place p;
    history_place(h, key, url, &p);
    return invalidate(h, &p, sigma);
}

bool history_install(struct history *h, const struct sketch_tag *key, const struct sketch_tag *url,
                     uint64_t sigma, const struct sketch_tag *sketch, uint32_t now_s) {
    struct place p;
    bool changed = false;
    history_place(h, key, url, &p);
    return install(h, &p, sigma, sketch, now_s, &changed);
}

bool history_update(struct history *h, const struct sketch_tag *key, const struct sketch_tag *url,
                    uint64_t sigma, const struct sketch_tag *sketch, uint32_t now_s,
                    bool *changed) {
    struct place p;
    bool differs = false;
    history_place(h, key, url, &p);
    bool done = invalidate(h, &p, sigma) && install(h, &p, sigma, sketch, now_s, &differs);
    if (changed != NULL)
        *changed = differs;
    return done;
}

void history_forget(struct history *h, const struct sketch_tag *key, const struct sketch_tag *url) {
    struct place p;
    struct at at;
    history_place(h, key, url, &p);
    if (!find(h, &p, &at))
        return;
    for (uint32_t c = 0; c < h->cfg.copies; c++) {
        struct bucket *b = bucket_in(h, c, at);
        change_begin(&b->version);
        clear_bit(&b->valid, at.slot);
        clear_bit(&b->known, at.slot);
        change_end(&b->version);
    }
}

static struct tombstone_bucket *tombstones_in(const struct history *h, uint32_t copy, uint64_t i) {
    return &h->copy[copy].tombstones[i];
}

/* The slot to take for a URL that has none: the smallest sigma, so an empty one (0) first. */
static uint32_t smallest_tombstone(const struct tombstone_bucket *b) {
    uint32_t smallest = 0;
    for (uint32_t i = 1; i < TOMBSTONE_SLOTS; i++)
        if (OWN(b->sigma[i]) < OWN(b->sigma[smallest]))
            smallest = i;
    return smallest;
}

static void set_tombstone(struct history *h, const struct place *p, uint32_t slot, uint64_t floor,
                          uint64_t sigma) {
    for (uint32_t c = 0; c < h->cfg.copies; c++) {
        struct tombstone_bucket *b = tombstones_in(h, c, p->tombstone_bucket);
        change_begin(&b->version);
        STORE(b->floor, floor);
        if (slot < TOMBSTONE_SLOTS) {
            STORE(b->tag[slot], p->tombstone_tag);
            STORE(b->sigma[slot], sigma);
        }
        change_end(&b->version);
    }
}

/*
 * The floor never exceeds a tombstone that is held, so what stands for one URL, held or not, only
 * grows. The smallest of the seventeen goes, which may be the new one.
 */
void history_tombstone(struct history *h, const struct sketch_tag *url, uint64_t sigma) {
    struct place p;
    history_place(h, url, url, &p);
    struct writer *w = &h->writer[p.partition];
    const struct tombstone_bucket *b = tombstones_in(h, 0, p.tombstone_bucket);
    uint64_t floor = OWN(b->floor);
    w->sigma_max = max_u64(w->sigma_max, sigma);
    uint32_t slot = history_find_tag(b->tag, p.tombstone_tag);
    if (sigma <= (slot < TOMBSTONE_SLOTS ? OWN(b->sigma[slot]) : floor))
        return;
    if (slot == TOMBSTONE_SLOTS) {
        slot = smallest_tombstone(b);
        uint64_t victim = OWN(b->sigma[slot]);
        if (victim == 0) {
            count(w, COUNT_TOMBSTONES, 1);
        } else {
            count(w, COUNT_TOMBSTONE_EVICTIONS, 1);
            floor = max_u64(floor, victim < sigma ? victim : sigma);
            if (victim >= sigma)
                slot = TOMBSTONE_SLOTS;
        }
    }
    set_tombstone(h, &p, slot, floor, sigma);
}

void history_flush(struct history *h, uint32_t partition) {
    struct writer *w = &h->writer[partition];
    for (uint32_t c = 0; c < h->cfg.copies; c++)
        STORE(h->copy[c].partitions[partition].floor, w->sigma_max);
    count(w, COUNT_ENTRIES, -(int64_t)OWN(w->count[COUNT_ENTRIES]));
    count(w, COUNT_FLUSHES, 1);
}

/* ---- a new incarnation ---- */

static void wipe_bucket(struct bucket *b) {
    change_begin(&b->version);
    STORE(b->floor, 0);
    STORE(b->used, 0);
    STORE(b->valid, 0);
    STORE(b->known, 0);
    STORE(b->blacklisted_at_s, 0);
    for (uint32_t i = 0; i < HISTORY_BUCKET_SLOTS; i++) {
        STORE(b->heat[i], 0);
        STORE(b->tag[i], 0);
        STORE(b->sigma[i], 0);
    }
    change_end(&b->version);
}

static void wipe_tombstones(struct tombstone_bucket *b) {
    change_begin(&b->version);
    STORE(b->floor, 0);
    for (uint32_t i = 0; i < TOMBSTONE_SLOTS; i++) {
        STORE(b->tag[i], 0);
        STORE(b->sigma[i], 0);
    }
    change_end(&b->version);
}

/* All copies close before the first is wiped, and open after the last. */
void history_reset(struct history *h, uint32_t partition) {
    struct writer *w = &h->writer[partition];
    uint64_t buckets = (uint64_t)CANDIDATES * h->quarter;
    for (uint32_t c = 0; c < h->cfg.copies; c++)
        change_begin(&h->copy[c].partitions[partition].epoch);
    for (uint32_t c = 0; c < h->cfg.copies; c++) {
        for (uint64_t i = 0; i < buckets; i++)
            wipe_bucket(&h->copy[c].buckets[partition * buckets + i]);
        for (uint64_t i = 0; i < h->tombstone_buckets; i++)
            wipe_tombstones(&h->copy[c].tombstones[(uint64_t)partition * h->tombstone_buckets + i]);
        STORE(h->copy[c].partitions[partition].floor, 0);
    }
    for (uint32_t c = 0; c < h->cfg.copies; c++)
        change_end(&h->copy[c].partitions[partition].epoch);
    w->sigma_max = 0;
    count(w, COUNT_ENTRIES, -(int64_t)OWN(w->count[COUNT_ENTRIES]));
    count(w, COUNT_TOMBSTONES, -(int64_t)OWN(w->count[COUNT_TOMBSTONES]));
}
