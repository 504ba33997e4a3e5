/* SPDX-License-Identifier: BSD-3-Clause */
#include "tcp/checksum.h"

#include <endian.h>
#include <string.h>

uint64_t checksum_add(uint64_t sum, const uint8_t *data, size_t len) {
    // Halves of 32 bits cannot overflow a 64-bit accumulator below 2^32 additions, and the compiler
    // may use vectors for them.
    uint64_t low = 0, high = 0;
    for (; len >= 8; data += 8, len -= 8) {
        uint64_t v;
        memcpy(&v, data, 8);
        low += (uint32_t)v;
        high += v >> 32;
    }
    if (len > 0) {
        // Zeros behind the last byte change nothing (RFC 1071, 1).
        uint64_t v = 0;
        memcpy(&v, data, len);
        low += (uint32_t)v;
        high += v >> 32;
    }
    low = (low & 0xffffffffu) + (low >> 32);
    high = (high & 0xffffffffu) + (high >> 32);
    return sum + low + high;
}

uint64_t checksum_pseudo(uint32_t src, uint32_t dst, uint8_t protocol, uint16_t len) {
    return (uint64_t)htobe32(src) + htobe32(dst) + htobe16(protocol) + htobe16(len);
}

uint16_t checksum_finish(uint64_t sum) {
    sum = (sum & 0xffffffffu) + (sum >> 32);
    sum = (sum & 0xffffffffu) + (sum >> 32);
    uint32_t folded = (uint32_t)((sum & 0xffff) + (sum >> 16));
    folded = (folded & 0xffff) + (folded >> 16);
    return (uint16_t)~folded;
}

void checksum_store(uint8_t *p, uint16_t checksum) {
    memcpy(p, &checksum, sizeof checksum);
}
