/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The Internet checksum (RFC 1071). Sums are kept in the byte order of the machine, unfolded, in 64
 * bits; one's complement addition does not care, so nothing is swapped.
 */
#ifndef PROPHECY_TCP_CHECKSUM_H
#define PROPHECY_TCP_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

/* Adds len bytes, the first of which is at an even offset of the summed string. len < 2^32. */
uint64_t checksum_add(uint64_t sum, const uint8_t *data, size_t len);
/* The pseudo header of TCP and UDP (RFC 9293 3.1); addresses in host order. */
uint64_t checksum_pseudo(uint32_t src, uint32_t dst, uint8_t protocol, uint16_t len);
/* The complement of the folded sum, to be stored with store_checksum; 0 for an intact message. */
uint16_t checksum_finish(uint64_t sum);
/* Stores what checksum_finish returned: it is in network order by construction. */
void checksum_store(uint8_t *p, uint16_t checksum);

/*
 * The other way, for headers that are being written: sums of the fields' values in host order.
 * Bytes just stored are not loaded again, which would wait for the stores.
 */
static inline uint64_t fields_u32(uint32_t v) {
    return (v >> 16) + (v & 0xffff);
}
/* What checksum_add summed, as a value to be added to fields. */
uint32_t checksum_of_fields(uint64_t sum);
/* The complement, to be stored as an integer in network order. */
uint16_t checksum_finish_fields(uint64_t sum);

#endif
