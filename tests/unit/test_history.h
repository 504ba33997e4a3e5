/* SPDX-License-Identifier: BSD-3-Clause */
/* What the files of the history table's test share. */
#ifndef PROPHECY_TEST_HISTORY_H
#define PROPHECY_TEST_HISTORY_H

#include "history/history.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A reproducible generator (SplitMix64); the state is the seed. */
static inline uint64_t test_random(uint64_t *state) {
    uint64_t v = (*state += UINT64_C(0x9e3779b97f4a7c15));
    v = (v ^ v >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    v = (v ^ v >> 27) * UINT64_C(0x94d049bb133111eb);
    return v ^ v >> 31;
}

/* PROPHECY_TEST_SEED, or one from the system; said, so that a failure can be repeated. */
static inline uint64_t test_seed(void) {
    uint64_t seed = 0;
    const char *given = getenv("PROPHECY_TEST_SEED");
    if (given != NULL)
        seed = strtoull(given, NULL, 0);
    else
        crypto_random(&seed, sizeof seed);
    printf("PROPHECY_TEST_SEED=%llu ", (unsigned long long)seed);
    fflush(stdout);
    return seed;
}

/* The n-th tag of a kind; as random as those of lib/sketch. */
static inline struct sketch_tag test_tag(uint64_t kind, uint64_t n) {
    uint64_t state = kind << 56 ^ n, half[2] = {test_random(&state), test_random(&state)};
    struct sketch_tag t;
    memcpy(t.b, half, sizeof t.b);
    return t;
}

void test_threads(void);
void test_threads_reset(void);

#endif
