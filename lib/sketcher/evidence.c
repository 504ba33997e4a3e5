/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The record of who differed from what. Each slot has a version, odd while it is written. The words
 * are atomic, stored with release and loaded with acquire: a reader that has seen any word of a
 * newer record also sees the newer version when it looks again.
 */
#include "sketcher/internal.h"

#include <stdlib.h>
#include <string.h>

#define RECORD_WORDS ((sizeof(struct sketcher_evidence) + 7) / 8)

struct evidence_slot {
    _Atomic uint64_t version; // 2 * number when complete, one less while it is written
    _Atomic uint64_t words[RECORD_WORDS];
};
struct sketcher_evidence_ring {
    _Atomic uint64_t newest; // number of the newest complete record
    struct evidence_slot slots[SKETCHER_EVIDENCE_RING];
};

struct sketcher_evidence_ring *sketcher_evidence_new(void) {
    return calloc(1, sizeof(struct sketcher_evidence_ring));
}

void sketcher_evidence_free(struct sketcher_evidence_ring *ring) {
    free(ring);
}

void sketcher_evidence_add(struct sketcher_evidence_ring *ring, const struct sketcher_evidence *e) {
    uint64_t number = atomic_load_explicit(&ring->newest, memory_order_relaxed) + 1;
    struct evidence_slot *slot = &ring->slots[number % SKETCHER_EVIDENCE_RING];
    struct sketcher_evidence numbered = *e;
    uint64_t words[RECORD_WORDS] = {0};

    numbered.number = number;
    memcpy(words, &numbered, sizeof numbered);
    atomic_store_explicit(&slot->version, 2 * number - 1, memory_order_relaxed);
    for (size_t i = 0; i < RECORD_WORDS; i++)
        atomic_store_explicit(&slot->words[i], words[i], memory_order_release);
    atomic_store_explicit(&slot->version, 2 * number, memory_order_release);
    atomic_store_explicit(&ring->newest, number, memory_order_release);
}

static bool read_record(const struct sketcher_evidence_ring *ring, uint64_t number,
                        struct sketcher_evidence *out) {
    const struct evidence_slot *slot = &ring->slots[number % SKETCHER_EVIDENCE_RING];
    uint64_t words[RECORD_WORDS];

    if (atomic_load_explicit(&slot->version, memory_order_acquire) != 2 * number)
        return false;
    for (size_t i = 0; i < RECORD_WORDS; i++)
        words[i] = atomic_load_explicit(&slot->words[i], memory_order_acquire);
    if (atomic_load_explicit(&slot->version, memory_order_relaxed) != 2 * number)
        return false;
    memcpy(out, words, sizeof *out);
    return true;
}

uint32_t sketcher_evidence_read(const struct sketcher_evidence_ring *ring,
                                struct sketcher_evidence *out, uint32_t max) {
    uint64_t newest = atomic_load_explicit(&ring->newest, memory_order_acquire);
    uint32_t count = 0;
    for (uint32_t age = 0; age < SKETCHER_EVIDENCE_RING && age < newest && count < max; age++)
        if (read_record(ring, newest - age, &out[count]))
            count++;
    return count;
}
