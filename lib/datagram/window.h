/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A sliding window over counters seen (RFC 6479): a ring of bits in which the newest counter drags
 * the rest along. Private to lib/datagram.
 */
#ifndef PROPHECY_DATAGRAM_WINDOW_H
#define PROPHECY_DATAGRAM_WINDOW_H

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

#define REPLAY_RING_BITS 8192u
#define REPLAY_RING_WORDS (REPLAY_RING_BITS / 64u)
/* A word is cleared whole when the window enters it, so one word's worth is lost. */
#define REPLAY_WINDOW_BITS (REPLAY_RING_BITS - 64u)

static_assert(REPLAY_WINDOW_BITS >= 4096, "a burst of reordering must fit");
static_assert((REPLAY_RING_WORDS & (REPLAY_RING_WORDS - 1)) == 0, "indices are masked");

struct replay_window {
    uint64_t newest; // 0: none yet; counters start at 1
    uint64_t seen[REPLAY_RING_WORDS];
};

void replay_reset(struct replay_window *w);
/* Marks counter; false when it was seen before, is 0, or is too old to say. */
bool replay_accept(struct replay_window *w, uint64_t counter);

#endif
