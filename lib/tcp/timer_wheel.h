/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A hierarchical timer wheel: inserting, moving and cancelling cost O(1), an idle wheel costs a
 * few instructions per poll. Ticks are 1,024 us. A timer sits at the level of the highest digit
 * (base 64) in which its tick differs from the wheel's present, so every occupied slot lies ahead
 * of the present digit of its level, and a bitmap per level finds the next one at once.
 */
#ifndef PROPHECY_TIMER_WHEEL_H
#define PROPHECY_TIMER_WHEEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WHEEL_TICK_SHIFT 10u
#define WHEEL_LEVEL_BITS 6u
#define WHEEL_SLOTS (1u << WHEEL_LEVEL_BITS)
#define WHEEL_LEVELS 9u // 9 * 6 + 10 bits = the whole range of a uint64_t of microseconds

struct timer {
    struct timer *next;
    struct timer **link; // what points here; NULL: not in the wheel
    uint64_t tick;
};

struct timer_wheel {
    uint64_t now_tick;
    uint64_t occupied[WHEEL_LEVELS];
    struct timer *slots[WHEEL_LEVELS][WHEEL_SLOTS];
};

static inline bool timer_is_set(const struct timer *t) {
    return t->link != NULL;
}
/* The first tick at which at_us has passed: timers are late by up to a tick, never early. */
static inline uint64_t wheel_tick_of(uint64_t at_us) {
    uint64_t tick = at_us >> WHEEL_TICK_SHIFT;
    return (at_us & ((1u << WHEEL_TICK_SHIFT) - 1)) == 0 ? tick : tick + 1;
}

void wheel_init(struct timer_wheel *w, uint64_t now_us);
void wheel_set(struct timer_wheel *w, struct timer *t, uint64_t at_us);
void wheel_cancel(struct timer_wheel *w, struct timer *t);
/* The next timer that is due at now_us, taken out of the wheel; NULL when none is left. */
struct timer *wheel_expire(struct timer_wheel *w, uint64_t now_us);
/* No timer is due before this moment; UINT64_MAX for an empty wheel. */
uint64_t wheel_next_us(const struct timer_wheel *w);

#endif
