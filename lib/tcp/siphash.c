/* SPDX-License-Identifier: BSD-3-Clause */
/* SipHash (Aumasson, Bernstein 2012) over whole 64-bit words: the keyed function of tables and
 * ISNs. */
#include "tcp/tcp_internal.h"

static inline uint64_t rotl(uint64_t v, unsigned int bits) {
    return v << bits | v >> (64 - bits);
}

static inline void sip_round(uint64_t v[4]) {
    v[0] += v[1];
    v[1] = rotl(v[1], 13) ^ v[0];
    v[0] = rotl(v[0], 32);
    v[2] += v[3];
    v[3] = rotl(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = rotl(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = rotl(v[1], 17) ^ v[2];
    v[2] = rotl(v[2], 32);
}

uint64_t siphash(const struct hash_key *key, const uint64_t *words, unsigned int count,
                 unsigned int compress_rounds, unsigned int final_rounds) {
    uint64_t v[4] = {
        key->k0 ^ UINT64_C(0x736f6d6570736575),
        key->k1 ^ UINT64_C(0x646f72616e646f6d),
        key->k0 ^ UINT64_C(0x6c7967656e657261),
        key->k1 ^ UINT64_C(0x7465646279746573),
    };
    for (unsigned int i = 0; i <= count; i++) {
        // The last word holds the length in bytes alone, as the message is whole words.
        uint64_t m = i < count ? words[i] : (uint64_t)(count * 8u) << 56;
        v[3] ^= m;
        for (unsigned int r = 0; r < compress_rounds; r++)
            sip_round(v);
        v[0] ^= m;
    }
    v[2] ^= 0xff;
    for (unsigned int r = 0; r < final_rounds; r++)
        sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}
