/* SPDX-License-Identifier: BSD-3-Clause */
#include "tcp/checksum.h"

#include <endian.h>
#include <string.h>

/* Two 64-bit lanes; every compiler and machine we build for has instructions for them. */
typedef uint64_t lanes __attribute__((vector_size(16)));

/* Whole blocks of 32 bytes. Halves of 32 bits cannot overflow 64-bit lanes below 2^32 additions. */
static uint64_t add_blocks(const uint8_t *data, size_t blocks) {
    const lanes mask = {0xffffffffu, 0xffffffffu};
    lanes low = {0, 0}, high = {0, 0};
    for (; blocks > 0; blocks--, data += 32) {
        lanes a, b;
        memcpy(&a, data, sizeof a);
        memcpy(&b, data + 16, sizeof b);
        low += (a & mask) + (b & mask);
        high += (a >> 32) + (b >> 32);
    }
    low += high;
    return (low[0] & 0xffffffffu) + (low[0] >> 32) + (low[1] & 0xffffffffu) + (low[1] >> 32);
}

uint64_t checksum_add(uint64_t sum, const uint8_t *data, size_t len) {
    size_t blocks = len / 32;
    if (blocks > 0) {
        sum += add_blocks(data, blocks);
        data += blocks * 32;
        len -= blocks * 32;
    }
    uint64_t v;
    for (; len >= 8; data += 8, len -= 8) {
        memcpy(&v, data, 8);
        sum += (uint32_t)v + (v >> 32);
    }
    if (len > 0) {
        // Zeros behind the last byte change nothing (RFC 1071, 1).
        v = 0;
        memcpy(&v, data, len);
        sum += (uint32_t)v + (v >> 32);
    }
    return sum;
}

uint64_t checksum_pseudo(uint32_t src, uint32_t dst, uint8_t protocol, uint16_t len) {
    return (uint64_t)htobe32(src) + htobe32(dst) + htobe16(protocol) + htobe16(len);
}

static uint16_t fold(uint64_t sum) {
    sum = (sum & 0xffffffffu) + (sum >> 32);
    sum = (sum & 0xffffffffu) + (sum >> 32);
    uint32_t folded = (uint32_t)((sum & 0xffff) + (sum >> 16));
    folded = (folded & 0xffff) + (folded >> 16);
    return (uint16_t)folded;
}

uint16_t checksum_finish(uint64_t sum) {
    return (uint16_t)~fold(sum);
}

uint32_t checksum_of_fields(uint64_t sum) {
    return be16toh(fold(sum));
}

uint16_t checksum_finish_fields(uint64_t sum) {
    return (uint16_t)~fold(sum);
}

void checksum_store(uint8_t *p, uint16_t checksum) {
    memcpy(p, &checksum, sizeof checksum);
}
