/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How many tickets each client address has waiting (design.md law 9: one flood cannot take what
 * belongs to the others). Open addressing with linear probing and removal by shifting back, so
 * there are no graves to sweep.
 */
#include "sketcher/internal.h"

#include <assert.h>
#include <stdlib.h>

bool ticket_sources_init(struct sources *t, uint32_t tickets_max, uint64_t seed) {
    uint64_t places = 2;
    while (places < 2 * (uint64_t)tickets_max)
        places *= 2;
    t->mask = (uint32_t)(places - 1);
    t->seed = seed;
    t->places = calloc(places, sizeof *t->places);
    return t->places != NULL;
}

void ticket_sources_fini(struct sources *t) {
    free(t->places);
}

static uint32_t home(const struct sources *t, uint32_t address) {
    uint64_t x = (address ^ t->seed) * 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 32) * (t->seed | 1);
    return (uint32_t)(x >> 32) & t->mask;
}

/* The address's place, or the empty one where it would be. */
static uint32_t find(const struct sources *t, uint32_t address) {
    uint32_t i = home(t, address);
    while (t->places[i].tickets != 0 && t->places[i].address != address)
        i = (i + 1) & t->mask;
    return i;
}

uint32_t ticket_sources_count(const struct sources *t, uint32_t address) {
    return t->places[find(t, address)].tickets;
}

void ticket_sources_add(struct sources *t, uint32_t address) {
    struct source *s = &t->places[find(t, address)];
    s->address = address;
    s->tickets++;
}

void ticket_sources_remove(struct sources *t, uint32_t address) {
    uint32_t hole = find(t, address);
    assert(t->places[hole].tickets > 0);
    if (--t->places[hole].tickets > 0)
        return;
    for (uint32_t i = (hole + 1) & t->mask; t->places[i].tickets != 0; i = (i + 1) & t->mask) {
        uint32_t distance = (i - home(t, t->places[i].address)) & t->mask;
        if (distance < ((i - hole) & t->mask))
            continue; // its home lies behind the hole: it is found without moving
        t->places[hole] = t->places[i];
        t->places[i].tickets = 0;
        hole = i;
    }
}
