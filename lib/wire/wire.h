/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lib/wire - bounds-checked cursors over byte strings.
 *
 * Every codec in Prophecy reads and writes through these two cursors, so that no
 * length from the network is ever used before it has been checked. Integers are
 * big-endian (network order). Errors are sticky: after the first access beyond the
 * end, `failed` is set, reads return zeros, writes do nothing, and the caller tests
 * `failed` once at the end. Nothing here allocates; the caller owns every buffer.
 * Any thread may use its own cursor.
 */
#ifndef PROPHECY_WIRE_H
#define PROPHECY_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct wire_writer {
    uint8_t *data;
    size_t cap;
    size_t len;  // bytes written so far
    bool failed; // something did not fit
};

struct wire_reader {
    const uint8_t *data;
    size_t len;
    size_t pos;  // bytes consumed so far
    bool failed; // something was asked for beyond the end
};

void wire_writer_init(struct wire_writer *w, uint8_t *data, size_t cap);
void wire_put_u8(struct wire_writer *w, uint8_t v);
void wire_put_u16(struct wire_writer *w, uint16_t v);
void wire_put_u32(struct wire_writer *w, uint32_t v);
void wire_put_u64(struct wire_writer *w, uint64_t v);
void wire_put_bytes(struct wire_writer *w, const void *data, size_t len);
/* Reserves len bytes to be filled in later (a length, a MAC); NULL when they do not fit. */
uint8_t *wire_put_hole(struct wire_writer *w, size_t len);

void wire_reader_init(struct wire_reader *r, const uint8_t *data, size_t len);
uint8_t wire_get_u8(struct wire_reader *r);
uint16_t wire_get_u16(struct wire_reader *r);
uint32_t wire_get_u32(struct wire_reader *r);
uint64_t wire_get_u64(struct wire_reader *r);
/* Points into the buffer at len bytes and steps over them; NULL (and failed) when there are fewer.
 */
const uint8_t *wire_get_view(struct wire_reader *r, size_t len);
/* Copies len bytes out; zero-fills dst on failure. */
void wire_get_bytes(struct wire_reader *r, void *dst, size_t len);
size_t wire_remaining(const struct wire_reader *r);
/* True when everything was read, exactly to the end, without a failure. */
bool wire_reader_done(const struct wire_reader *r);

#endif
