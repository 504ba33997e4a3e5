/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The datagram on the wire. Private to lib/datagram, its unit test and its fuzzer.
 *
 *    bits  field
 *      20  magic       0x50524
 *       4  version     1
 *       8  type        enum datagram_type
 *      32  from        principal 16, endpoint 16
 *      32  to          principal 16, endpoint 16
 *      64  epoch       of the sender
 *      64  counter     of the sender towards this peer, from 1, never twice in an epoch
 *       -  body        by type, to the end of the datagram less the MAC
 *     128  mac         AES-128-CMAC under the directed key, over everything before it
 *
 * Bodies:
 *   MESSAGE   the whole message
 *   FRAGMENT  transfer 64, message bytes 32, fragment index 32, the fragment's bytes
 *   GRANT     transfer 64, granted 32, base 32, missing: one bit per fragment from base on, the
 * first one in the highest bit of the first octet; empty when nothing is asked for again. granted
 * is cumulative: fragments 0..granted-1 may be sent FINISHED  transfer 64: all of it was received,
 * the sender may forget it REFUSED   transfer 64: it will never be received, the sender shall
 * forget it
 */
#ifndef PROPHECY_DATAGRAM_HEADER_H
#define PROPHECY_DATAGRAM_HEADER_H

#include "datagram/datagram.h"

#include <assert.h>

enum datagram_type {
    DATAGRAM_TYPE_MESSAGE = 1,
    DATAGRAM_TYPE_FRAGMENT = 2,
    DATAGRAM_TYPE_GRANT = 3,
    DATAGRAM_TYPE_FINISHED = 4,
    DATAGRAM_TYPE_REFUSED = 5,
};

enum datagram_header_bits {
    HEADER_MAGIC_BITS = 20,
    HEADER_VERSION_BITS = 4,
    HEADER_TYPE_BITS = 8,
    HEADER_PRINCIPAL_BITS = 16,
    HEADER_ENDPOINT_BITS = 16,
    HEADER_EPOCH_BITS = 64,
    HEADER_COUNTER_BITS = 64,
    HEADER_BITS = HEADER_MAGIC_BITS + HEADER_VERSION_BITS + HEADER_TYPE_BITS +
                  2 * (HEADER_PRINCIPAL_BITS + HEADER_ENDPOINT_BITS) + HEADER_EPOCH_BITS +
                  HEADER_COUNTER_BITS,
};

#define HEADER_BYTES 28u
#define HEADER_MAGIC 0x50524u
#define HEADER_VERSION 1u
/* Header and MAC: what every datagram costs. */
#define DATAGRAM_OVERHEAD_BYTES (HEADER_BYTES + CRYPTO_MAC_BYTES)
#define BODY_MAX_BYTES (DATAGRAM_MAX_BYTES - DATAGRAM_OVERHEAD_BYTES)
#define FRAGMENT_HEADER_BYTES 16u
#define GRANT_HEADER_BYTES 16u
#define ACK_BODY_BYTES 8u
#define FRAGMENT_BYTES (BODY_MAX_BYTES - FRAGMENT_HEADER_BYTES)
/* One repair names missing fragments among at most this many; the next one goes on from there. */
#define GRANT_BITMAP_MAX_BYTES 1024u

static_assert(HEADER_MAGIC_BITS + HEADER_VERSION_BITS + HEADER_TYPE_BITS == 32,
              "magic, version and type share the first word");
static_assert(HEADER_BITS == HEADER_BYTES * 8, "the header has no padding");
static_assert(HEADER_MAGIC < (1u << HEADER_MAGIC_BITS), "the magic fits");
static_assert(HEADER_VERSION < (1u << HEADER_VERSION_BITS), "the version fits");
static_assert(sizeof(((struct datagram_address *)0)->principal) * 8 == HEADER_PRINCIPAL_BITS &&
                  sizeof(((struct datagram_address *)0)->endpoint) * 8 == HEADER_ENDPOINT_BITS,
              "addresses go on the wire as they are");
static_assert(BODY_MAX_BYTES == DATAGRAM_SINGLE_MAX_BYTES, "datagram.h promises this size");
static_assert(FRAGMENT_BYTES == DATAGRAM_PAYLOAD_MAX, "datagram.h promises this size");
static_assert(GRANT_HEADER_BYTES + GRANT_BITMAP_MAX_BYTES <= BODY_MAX_BYTES, "a repair fits");

struct datagram_header {
    uint8_t type;
    struct datagram_address from;
    struct datagram_address to;
    uint64_t epoch;
    uint64_t counter;
};

/* Writes the header before, and the MAC behind, a body of body_len bytes that is already at
 * out + HEADER_BYTES. Returns the length of the datagram. */
size_t header_seal(struct crypto_mac *mac, const struct datagram_header *h, uint8_t *out,
                   size_t body_len);

/* Reads the fixed fields of a datagram of at least DATAGRAM_OVERHEAD_BYTES. False: another magic or
 * version. Nothing of it may be believed before header_authentic. */
bool header_read(struct datagram_header *h, const uint8_t *data, size_t len);
bool header_authentic(struct crypto_mac *mac, const uint8_t *data, size_t len);

#endif
