/* SPDX-License-Identifier: BSD-3-Clause */
#include "datagram/header.h"

#define HEADER_MAGIC_AND_VERSION (HEADER_MAGIC << HEADER_VERSION_BITS | HEADER_VERSION)

static void put_address(struct wire_writer *w, struct datagram_address a) {
    wire_put_u16(w, a.principal);
    wire_put_u16(w, a.endpoint);
}

static struct datagram_address get_address(struct wire_reader *r) {
    struct datagram_address a;
    a.principal = wire_get_u16(r);
    a.endpoint = wire_get_u16(r);
    return a;
}

static void mac_of(struct crypto_mac *mac, const uint8_t *data, size_t len,
                   uint8_t out[CRYPTO_MAC_BYTES]) {
    crypto_mac_begin(mac);
    crypto_mac_update(mac, data, len);
    crypto_mac_final(mac, out);
}

size_t header_seal(struct crypto_mac *mac, const struct datagram_header *h, uint8_t *out,
                   size_t body_len) {
    struct wire_writer w;
    assert(body_len <= BODY_MAX_BYTES);
    wire_writer_init(&w, out, HEADER_BYTES);
    wire_put_u32(&w, HEADER_MAGIC_AND_VERSION << HEADER_TYPE_BITS | h->type);
    put_address(&w, h->from);
    put_address(&w, h->to);
    wire_put_u64(&w, h->epoch);
    wire_put_u64(&w, h->counter);
    assert(!w.failed && w.len == HEADER_BYTES);
    mac_of(mac, out, HEADER_BYTES + body_len, out + HEADER_BYTES + body_len);
    return body_len + DATAGRAM_OVERHEAD_BYTES;
}

bool header_read(struct datagram_header *h, const uint8_t *data, size_t len) {
    struct wire_reader r;
    assert(len >= DATAGRAM_OVERHEAD_BYTES);
    wire_reader_init(&r, data, HEADER_BYTES);
    uint32_t word = wire_get_u32(&r);
    h->type = (uint8_t)word;
    h->from = get_address(&r);
    h->to = get_address(&r);
    h->epoch = wire_get_u64(&r);
    h->counter = wire_get_u64(&r);
    assert(wire_reader_done(&r));
    return word >> HEADER_TYPE_BITS == HEADER_MAGIC_AND_VERSION;
}

bool header_authentic(struct crypto_mac *mac, const uint8_t *data, size_t len) {
    uint8_t expected[CRYPTO_MAC_BYTES];
    size_t covered = len - CRYPTO_MAC_BYTES;
    mac_of(mac, data, covered, expected);
    return crypto_equal(expected, data + covered, CRYPTO_MAC_BYTES);
}
