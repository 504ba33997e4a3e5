/* SPDX-License-Identifier: BSD-3-Clause */
/* The cases of the http tests, by the file that holds them. */
#ifndef PROPHECY_TEST_HTTP_H
#define PROPHECY_TEST_HTTP_H

#include "http/http.h"

#include <stdlib.h>
#include <string.h>

/* A copy in an allocation of exactly its size, so that AddressSanitizer sees any read past it. */
static inline uint8_t *exact_copy(const void *bytes, size_t len) {
    uint8_t *copy = malloc(len > 0 ? len : 1);
    if (copy == NULL)
        abort();
    memcpy(copy, bytes, len);
    return copy;
}

static inline struct http_str str(const char *s) {
    return (struct http_str){.p = s, .len = strlen(s)};
}

void test_http_chunked_good(void);
void test_http_chunked_splits(void);
void test_http_chunked_hostile(void);
void test_http_chunked_overhead(void);
void test_http_chunked_largest(void);

void test_http_date_formats(void);
void test_http_date_refused(void);
void test_http_date_round_trip(void);
void test_http_date_clamped(void);

void test_http_conditions_table(void);
void test_http_conditions_ranges(void);
void test_http_conditions_repeated(void);

#endif
