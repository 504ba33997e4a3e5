/* SPDX-License-Identifier: BSD-3-Clause */
/* What the files of lib/sketch share: names of header fields and the walk over the key headers. */
#ifndef PROPHECY_SKETCH_INTERNAL_H
#define PROPHECY_SKETCH_INTERNAL_H

#include "sketch/sketch.h"

/* Is name (any case) in a list that ends with NULL? */
bool sketch_name_in(struct http_str name, const char *const *list);
/*
 * The next value of a key header from headers[*i] on; false when there are no more. Fields that
 * frame the message, belong to one hop or are evaluated here (If-*, Range) never count as key
 * headers: neither in the key nor forwarded (design.md law 6).
 */
bool sketch_key_value(const struct http_request *q, const char *name, uint32_t *i,
                      struct http_str *value);
bool sketch_is_upper(char c);
char sketch_lower(char c);
bool sketch_is_token_char(char c);

#endif
