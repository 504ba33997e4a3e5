/* SPDX-License-Identifier: BSD-3-Clause */
#include "datagram/window.h"

#include <string.h>

void replay_reset(struct replay_window *w) {
    memset(w, 0, sizeof *w);
}

static void advance(struct replay_window *w, uint64_t counter) {
    uint64_t from = w->newest / 64, to = counter / 64;
    uint64_t words = to - from < REPLAY_RING_WORDS ? to - from : REPLAY_RING_WORDS;
    for (uint64_t i = 0; i < words; i++)
        w->seen[(to - i) % REPLAY_RING_WORDS] = 0;
    w->newest = counter;
}

bool replay_accept(struct replay_window *w, uint64_t counter) {
    if (counter == 0)
        return false;
    if (counter > w->newest)
        advance(w, counter);
    else if (w->newest - counter >= REPLAY_WINDOW_BITS)
        return false;
    uint64_t *word = &w->seen[counter / 64 % REPLAY_RING_WORDS];
    uint64_t bit = UINT64_C(1) << (counter % 64);
    if ((*word & bit) != 0)
        return false;
    *word |= bit;
    return true;
}
