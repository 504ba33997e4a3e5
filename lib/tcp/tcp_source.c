/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Accepted connections per remote address, so that one address cannot take every place. Half-open
 * ones do not count: their address may be forged, and an attacker could shut others out. The table
 * is open addressing with linear probing, at most half full.
 */
#include "tcp/tcp_internal.h"

#include <stdlib.h>

bool sources_init(struct tcp_stack *s) {
    uint32_t places = 16;
    if (s->limits.conns_per_source_max == 0)
        return true;
    while (places < 2 * (uint64_t)s->limits.conns_max && places < 1u << 31)
        places <<= 1;
    s->source_mask = places - 1;
    s->sources = calloc(places, sizeof *s->sources);
    return s->sources != NULL;
}

static uint32_t home_of(const struct tcp_stack *s, uint32_t addr) {
    uint64_t word = addr;
    return (uint32_t)siphash(&s->table_key, &word, 1, 1, 3) & s->source_mask;
}

/* The place of the address, or the free one where it would be. */
static uint32_t find(const struct tcp_stack *s, uint32_t addr) {
    uint32_t i = home_of(s, addr);
    while (s->sources[i].count > 0 && s->sources[i].addr != addr)
        i = (i + 1) & s->source_mask;
    return i;
}

bool source_has_room(const struct tcp_stack *s, uint32_t addr) {
    return s->sources == NULL || s->sources[find(s, addr)].count < s->limits.conns_per_source_max;
}

void source_add(struct tcp_conn *c) {
    struct tcp_stack *s = c->stack;
    if (s->sources == NULL)
        return;
    struct source *at = &s->sources[find(s, c->remote_addr)];
    at->addr = c->remote_addr;
    at->count++;
    c->flags |= CONN_SOURCE_COUNTED;
}

/* Closes the gap at i: what was pushed beyond it by probing moves back. */
static void vacate(struct tcp_stack *s, uint32_t i) {
    for (uint32_t k = (i + 1) & s->source_mask; s->sources[k].count > 0;
         k = (k + 1) & s->source_mask) {
        uint32_t from_home = (k - home_of(s, s->sources[k].addr)) & s->source_mask;
        if (from_home >= ((k - i) & s->source_mask)) {
            s->sources[i] = s->sources[k];
            i = k;
        }
    }
    s->sources[i].count = 0;
}

void source_remove(struct tcp_conn *c) {
    struct tcp_stack *s = c->stack;
    if ((c->flags & CONN_SOURCE_COUNTED) == 0)
        return;
    c->flags &= ~(uint32_t)CONN_SOURCE_COUNTED;
    uint32_t i = find(s, c->remote_addr);
    assert(s->sources[i].count > 0);
    if (s->sources[i].count > 1)
        s->sources[i].count--;
    else
        vacate(s, i);
}
