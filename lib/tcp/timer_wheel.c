/* SPDX-License-Identifier: BSD-3-Clause */
#include "tcp/timer_wheel.h"

#include <assert.h>

static_assert(WHEEL_LEVELS * WHEEL_LEVEL_BITS + WHEEL_TICK_SHIFT >= 64, "no deadline overflows");

void wheel_init(struct timer_wheel *w, uint64_t now_us) {
    *w = (struct timer_wheel){.now_tick = now_us >> WHEEL_TICK_SHIFT};
}

static unsigned int level_of(const struct timer_wheel *w, uint64_t tick) {
    uint64_t differs = tick ^ w->now_tick;
    return differs == 0 ? 0 : (63u - (unsigned int)__builtin_clzll(differs)) / WHEEL_LEVEL_BITS;
}

static unsigned int digit_of(uint64_t tick, unsigned int level) {
    return (unsigned int)(tick >> (level * WHEEL_LEVEL_BITS)) & (WHEEL_SLOTS - 1);
}

static void slot_push(struct timer_wheel *w, struct timer *t) {
    unsigned int level = level_of(w, t->tick);
    assert(level < WHEEL_LEVELS);
    unsigned int digit = digit_of(t->tick, level);
    struct timer **slot = &w->slots[level][digit];
    t->next = *slot;
    if (t->next != NULL)
        t->next->link = &t->next;
    t->link = slot;
    *slot = t;
    w->occupied[level] |= UINT64_C(1) << digit;
}

void wheel_set(struct timer_wheel *w, struct timer *t, uint64_t at_us) {
    wheel_cancel(w, t);
    t->tick = wheel_tick_of(at_us);
    if (t->tick <= w->now_tick)
        t->tick = w->now_tick + 1;
    slot_push(w, t);
}

void wheel_cancel(struct timer_wheel *w, struct timer *t) {
    if (t->link == NULL)
        return;
    struct timer **first = &w->slots[0][0];
    struct timer **link = t->link;
    *link = t->next;
    if (t->next != NULL)
        t->next->link = link;
    else if (link >= first && link < first + WHEEL_LEVELS * WHEEL_SLOTS) {
        // It was alone in its slot.
        size_t at = (size_t)(link - first);
        w->occupied[at / WHEEL_SLOTS] &= ~(UINT64_C(1) << (at % WHEEL_SLOTS));
    }
    t->next = NULL;
    t->link = NULL;
}

/* The first occupied slot after the present: its level, and the tick at which it begins. */
static bool next_slot(const struct timer_wheel *w, unsigned int *level, uint64_t *tick) {
    for (unsigned int l = 0; l < WHEEL_LEVELS; l++) {
        unsigned int shift = l * WHEEL_LEVEL_BITS;
        if (w->occupied[l] == 0)
            continue;
        unsigned int digit = (unsigned int)__builtin_ctzll(w->occupied[l]);
        unsigned int above = shift + WHEEL_LEVEL_BITS;
        uint64_t high = above >= 64 ? 0 : w->now_tick >> above << above;
        *level = l;
        *tick = high | (uint64_t)digit << shift;
        return true;
    }
    return false;
}

/* Steps to the beginning of a slot of a higher level and spreads its timers over the lower ones. */
static void cascade(struct timer_wheel *w, unsigned int level, uint64_t tick) {
    unsigned int digit = digit_of(tick, level);
    struct timer *t = w->slots[level][digit];
    w->slots[level][digit] = NULL;
    w->occupied[level] &= ~(UINT64_C(1) << digit);
    w->now_tick = tick;
    while (t != NULL) {
        struct timer *next = t->next;
        slot_push(w, t);
        t = next;
    }
}

struct timer *wheel_expire(struct timer_wheel *w, uint64_t now_us) {
    uint64_t target = now_us >> WHEEL_TICK_SHIFT, tick;
    unsigned int level;
    while (next_slot(w, &level, &tick) && tick <= target) {
        assert(tick >= w->now_tick);
        if (level > 0) {
            cascade(w, level, tick);
            continue;
        }
        w->now_tick = tick;
        struct timer *t = w->slots[0][digit_of(tick, 0)];
        wheel_cancel(w, t);
        return t;
    }
    if (target > w->now_tick)
        w->now_tick = target;
    return NULL;
}

uint64_t wheel_next_us(const struct timer_wheel *w) {
    unsigned int level;
    uint64_t tick;
    return next_slot(w, &level, &tick) ? tick << WHEEL_TICK_SHIFT : UINT64_MAX;
}
