/* SPDX-License-Identifier: BSD-3-Clause */
#include "wire/wire.h"

#include <string.h>

void wire_writer_init(struct wire_writer *w, uint8_t *data, size_t cap) {
    *w = (struct wire_writer){.data = data, .cap = cap};
}

uint8_t *wire_put_hole(struct wire_writer *w, size_t len) {
    if (w->failed || w->cap - w->len < len) {
        w->failed = true;
        return NULL;
    }
    uint8_t *p = w->data + w->len;
    w->len += len;
    return p;
}

static void put_be(struct wire_writer *w, uint64_t v, size_t width) {
    uint8_t *p = wire_put_hole(w, width);
    if (p == NULL)
        return;
    for (size_t i = 0; i < width; i++)
        p[i] = (uint8_t)(v >> (8 * (width - 1 - i)));
}

void wire_put_u8(struct wire_writer *w, uint8_t v) {
    put_be(w, v, 1);
}

void wire_put_u16(struct wire_writer *w, uint16_t v) {
    put_be(w, v, 2);
}

void wire_put_u32(struct wire_writer *w, uint32_t v) {
    put_be(w, v, 4);
}

void wire_put_u64(struct wire_writer *w, uint64_t v) {
    put_be(w, v, 8);
}

void wire_put_bytes(struct wire_writer *w, const void *data, size_t len) {
    uint8_t *p = wire_put_hole(w, len);
    if (p != NULL && len > 0)
        memcpy(p, data, len);
}

void wire_reader_init(struct wire_reader *r, const uint8_t *data, size_t len) {
    *r = (struct wire_reader){.data = data, .len = len};
}

const uint8_t *wire_get_view(struct wire_reader *r, size_t len) {
    if (r->failed || r->len - r->pos < len) {
        r->failed = true;
        return NULL;
    }
    const uint8_t *p = r->data + r->pos;
    r->pos += len;
    return p;
}

static uint64_t get_be(struct wire_reader *r, size_t width) {
    const uint8_t *p = wire_get_view(r, width);
    uint64_t v = 0;
    if (p == NULL)
        return 0;
    for (size_t i = 0; i < width; i++)
        v = v << 8 | p[i];
    return v;
}

uint8_t wire_get_u8(struct wire_reader *r) {
    return (uint8_t)get_be(r, 1);
}

uint16_t wire_get_u16(struct wire_reader *r) {
    return (uint16_t)get_be(r, 2);
}

uint32_t wire_get_u32(struct wire_reader *r) {
    return (uint32_t)get_be(r, 4);
}

uint64_t wire_get_u64(struct wire_reader *r) {
    return get_be(r, 8);
}

void wire_get_bytes(struct wire_reader *r, void *dst, size_t len) {
    const uint8_t *p = wire_get_view(r, len);
    if (len == 0)
        return;
    if (p == NULL)
        memset(dst, 0, len);
    else
        memcpy(dst, p, len);
}

size_t wire_remaining(const struct wire_reader *r) {
    return r->failed ? 0 : r->len - r->pos;
}

bool wire_reader_done(const struct wire_reader *r) {
    return !r->failed && r->pos == r->len;
}
