/* SPDX-License-Identifier: BSD-3-Clause */
#include "http/internal.h"

#define T HTTP_CHAR_TOKEN
#define G HTTP_CHAR_TARGET
#define V HTTP_CHAR_VALUE
#define N HTTP_CHAR_NAME

const uint8_t http_char_classes[256] = {
    ['\t'] = V,
    [' '] = V,
    ['!'] = T | G | V,
    ['"'] = G | V,
    ['#'] = T | V,
    ['$' ... '\''] = T | G | V,
    ['(' ... ')'] = G | V,
    ['*' ... '+'] = T | G | V,
    [','] = G | V,
    ['-' ... '.'] = T | G | V | N,
    ['/'] = G | V,
    ['0' ... '9'] = T | G | V | N,
    [':' ... '@'] = G | V,
    ['A' ... 'Z'] = T | G | V | N,
    ['[' ... ']'] = G | V,
    ['^'] = T | G | V,
    ['_'] = T | G | V | N,
    ['`'] = T | G | V,
    ['a' ... 'z'] = T | G | V | N,
    ['{'] = G | V,
    ['|'] = T | G | V,
    ['}'] = G | V,
    ['~'] = T | G | V,
    [0x80 ... 0xff] = V, // obs-text
};
