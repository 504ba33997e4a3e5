/* SPDX-License-Identifier: BSD-3-Clause */
/* What the fuzz targets share: a check that stays in every build, and exact copies of parts of the
 * input. */
#ifndef PROPHECY_FUZZ_H
#define PROPHECY_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FUZZ_CHECK(condition)                                                                      \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition);         \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* An allocation of exactly len bytes, so that AddressSanitizer sees any read past a prefix. */
static inline uint8_t *fuzz_copy(const uint8_t *data, size_t len) {
    uint8_t *copy = malloc(len > 0 ? len : 1);
    FUZZ_CHECK(copy != NULL);
    if (len > 0)
        memcpy(copy, data, len);
    return copy;
}

/* A place to cut the input, from 0 to len, the nth of a sequence that depends on the bytes alone
 * (FNV-1a). */
static inline size_t fuzz_cut(const uint8_t *data, size_t len, unsigned int n) {
    uint64_t hash = UINT64_C(0xcbf29ce484222325) ^ n;
    for (size_t i = 0; i < len; i++)
        hash = (hash ^ data[i]) * UINT64_C(0x100000001b3);
    return (size_t)((hash ^ hash >> 32) % (len + 1));
}

#endif
