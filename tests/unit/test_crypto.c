/* SPDX-License-Identifier: BSD-3-Clause */
#include "crypto/crypto.h"
#include "unit.h"

#include <stdlib.h>

static size_t unhex(const char *hex, uint8_t *out) {
    size_t n = 0;
    for (unsigned int byte; *hex != '\0' && sscanf(hex, "%2x", &byte) == 1; hex += 2)
        out[n++] = (uint8_t)byte;
    return n;
}

static bool is_hex(const uint8_t *data, const char *hex) {
    uint8_t expected[64];
    size_t n = unhex(hex, expected);
    return n > 0 && memcmp(data, expected, n) == 0;
}

/* ---- SHA-256: FIPS 180-4 examples ---- */

static void test_digest_vectors(void) {
    static const char *const vectors[][2] = {
        {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
    };
    struct crypto_digest *d = crypto_digest_new();
    CU_ASSERT_PTR_NOT_NULL_FATAL(d);
    uint8_t out[CRYPTO_DIGEST_BYTES];
    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
        crypto_digest_once(d, vectors[i][0], strlen(vectors[i][0]), out);
        CU_ASSERT(is_hex(out, vectors[i][1]));
    }
    crypto_digest_begin(d);
    for (int i = 0; i < 1000000; i++)
        crypto_digest_update(d, "a", 1);
    crypto_digest_final(d, out);
    CU_ASSERT(is_hex(out, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"));
    crypto_digest_begin(d); // one that is never finished leaves nothing behind
    crypto_digest_update(d, "zzz", 3);
    crypto_digest_once(d, "abc", 3, out);
    CU_ASSERT(is_hex(out, vectors[1][1]));
    crypto_digest_free(d);
    crypto_digest_free(NULL);
}

/* ---- AES-128-CMAC: SP 800-38B, appendix D.1 ---- */

static const char cmac_key[] = "2b7e151628aed2a6abf7158809cf4f3c";
static const char cmac_message[] =
    "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
    "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710";

static void test_mac_vectors(void) {
    static const struct {
        size_t len;
        const char *tag;
    } vectors[] = {
        {0, "bb1d6929e95937287fa37d129b756746"},
        {16, "070a16b46b4d4144f79bdd9dd04a287c"},
        {40, "dfa66747de9ae63030ca32611497c827"},
        {64, "51f0bebf7e3b9d92fc49741779363cfe"},
    };
    uint8_t key[16], message[64], tag[CRYPTO_MAC_BYTES];
    unhex(cmac_key, key);
    unhex(cmac_message, message);
    struct crypto_mac *m = crypto_mac_new(key);
    CU_ASSERT_PTR_NOT_NULL_FATAL(m);
    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++)
        for (size_t cut = 0; cut <= vectors[i].len; cut++) {
            crypto_mac_begin(m);
            crypto_mac_update(m, message, cut);
            crypto_mac_update(m, message + cut, vectors[i].len - cut);
            crypto_mac_final(m, tag);
            CU_ASSERT(is_hex(tag, vectors[i].tag));
        }
    crypto_mac_free(m);
    crypto_mac_free(NULL);
}

/* ---- the universal hash: GCM's authentication of associated data alone ---- */

/* Multiplication in GF(2^128) as SP 800-38D 6.3 has it, bit by bit. */
static void gf_multiply(uint8_t x[16], const uint8_t h[16]) {
    uint8_t z[16] = {0}, v[16];
    memcpy(v, h, 16);
    for (int i = 0; i < 128; i++) {
        if ((x[i / 8] >> (7 - i % 8) & 1) != 0)
            for (int k = 0; k < 16; k++)
                z[k] ^= v[k];
        bool carry = (v[15] & 1) != 0;
        for (int k = 15; k > 0; k--)
            v[k] = (uint8_t)(v[k] >> 1 | v[k - 1] << 7);
        v[0] = (uint8_t)(v[0] >> 1 ^ (carry ? 0xe1 : 0));
    }
    memcpy(x, z, 16);
}

/*
 * The tag for key 0 and nonce 0: GHASH of the data and its length, under H = E(0, 0), xor E(0, 0^95
 * 1). Both constants are in test case 1 of the GCM specification.
 */
static void reference_uhash(const uint8_t *data, size_t len, uint8_t out[16]) {
    uint8_t h[16], block[16], lengths[16] = {0};
    unhex("66e94bd4ef8a2c3b884cfa59ca342b2e", h);
    memset(out, 0, 16);
    for (size_t at = 0; at < len; at += 16) {
        memset(block, 0, sizeof block);
        memcpy(block, data + at, len - at < 16 ? len - at : 16);
        for (int k = 0; k < 16; k++)
            out[k] ^= block[k];
        gf_multiply(out, h);
    }
    for (size_t i = 0; i < 8; i++)
        lengths[i] = (uint8_t)((uint64_t)len * 8 >> (56 - 8 * i));
    for (int k = 0; k < 16; k++)
        out[k] ^= lengths[k];
    gf_multiply(out, h);
    unhex("58e2fccefa7e3061367f1d57a4e7455a", block);
    for (int k = 0; k < 16; k++)
        out[k] ^= block[k];
}

static void test_uhash(void) {
    static const uint8_t key[16];
    uint8_t data[200], tag[16], expected[16];
    struct crypto_uhash *u = crypto_uhash_new(key);
    CU_ASSERT_PTR_NOT_NULL_FATAL(u);
    crypto_uhash_begin(u);
    crypto_uhash_final(u, tag);
    CU_ASSERT(is_hex(tag, "58e2fccefa7e3061367f1d57a4e7455a")); // GCM specification, test case 1
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i * 7 + 3);
    for (size_t len = 0; len <= sizeof data; len++) {
        reference_uhash(data, len, expected);
        for (size_t cut = 0; cut <= len; cut += 1 + len / 40) {
            crypto_uhash_begin(u);
            crypto_uhash_update(u, data, cut);
            crypto_uhash_update(u, data + cut, len - cut);
            crypto_uhash_final(u, tag);
            CU_ASSERT(memcmp(tag, expected, 16) == 0);
        }
    }
    crypto_uhash_free(u);
    crypto_uhash_free(NULL);
}

static void test_uhash_keys_differ(void) {
    uint8_t a[16] = {1}, b[16] = {2}, ta[16], tb[16];
    struct crypto_uhash *ua = crypto_uhash_new(a), *ub = crypto_uhash_new(b);
    crypto_uhash_begin(ua);
    crypto_uhash_begin(ub);
    crypto_uhash_update(ua, "same", 4);
    crypto_uhash_update(ub, "same", 4);
    crypto_uhash_final(ua, ta);
    crypto_uhash_final(ub, tb);
    CU_ASSERT(memcmp(ta, tb, 16) != 0);
    crypto_uhash_free(ua);
    crypto_uhash_free(ub);
}

/* ---- key derivation ---- */

/* HMAC-SHA256(00..0f, 07 "session" 00 01 02 ff), computed elsewhere. */
static void test_kdf(void) {
    uint8_t key[16], out[16], other[16];
    for (uint8_t i = 0; i < 16; i++)
        key[i] = i;
    crypto_kdf(key, "session", "\x00\x01\x02\xff", 4, out);
    CU_ASSERT(is_hex(out, "8f8ec682ef78c8a586609ee4cc86226c"));
    crypto_kdf(key, "", NULL, 0, out);
    CU_ASSERT(is_hex(out, "ec5ad48c9c1522495560b70a0a05729c"));
    // a byte that moves from the label to the context makes another key
    crypto_kdf(key, "ab", "c", 1, out);
    crypto_kdf(key, "a", "bc", 2, other);
    CU_ASSERT(memcmp(out, other, 16) != 0);
}

/* ---- the generator ---- */

static struct crypto_drbg *drbg_of(const char *seed_hex) {
    uint8_t seed[CRYPTO_SEED_BYTES];
    CU_ASSERT_EQUAL_FATAL(unhex(seed_hex, seed), CRYPTO_SEED_BYTES);
    struct crypto_drbg *d = crypto_drbg_new(seed);
    CU_ASSERT_PTR_NOT_NULL_FATAL(d);
    return d;
}

static const char drbg_seed[] = "2b7e151628aed2a6abf7158809cf4f3cf0f1f2f3f4f5f6f7f8f9fafbfcfdfeff";

/* The key stream of SP 800-38A, F.5.1 (plain text xor cipher text). */
static void test_drbg_vector(void) {
    struct crypto_drbg *d = drbg_of(drbg_seed);
    uint8_t out[64];
    crypto_drbg_bytes(d, out, sizeof out);
    CU_ASSERT(is_hex(out, "ec8cdf7398607cb0f2d21675ea9ea1e4362b7c3c6773516318a077d7fc5073ae"
                          "6a2cc3787889374fbeb4c81b17ba6c44e89c399ff0f198c6d40a31db156cabfe"));
    crypto_drbg_free(d);
    crypto_drbg_free(NULL);
}

static void test_drbg_is_deterministic(void) {
    static uint8_t whole[5000], parts[5000];
    struct crypto_drbg *d = drbg_of(drbg_seed);
    crypto_drbg_bytes(d, whole, sizeof whole);
    crypto_drbg_free(d);
    d = drbg_of(drbg_seed);
    for (size_t at = 0, n = 0; at < sizeof parts; at += n, n = (at * 7) % 61) {
        n = n < sizeof parts - at ? n : sizeof parts - at;
        crypto_drbg_bytes(d, parts + at, n == 0 ? n = 1 : n);
    }
    CU_ASSERT(memcmp(whole, parts, sizeof whole) == 0);
    crypto_drbg_free(d);
    d = drbg_of(drbg_seed);
    uint64_t first;
    memcpy(&first, whole, sizeof first);
    CU_ASSERT_EQUAL(crypto_drbg_u64(d), first);
    crypto_drbg_free(d);
    d = drbg_of("2b7e151628aed2a6abf7158809cf4f3cf0f1f2f3f4f5f6f7f8f9fafbfcfdfe00");
    crypto_drbg_bytes(d, parts, 16);
    CU_ASSERT(memcmp(whole, parts, 16) != 0);
    crypto_drbg_free(d);
}

/* Chi-square over n cells stays below mean + 5 standard deviations; the seed is fixed. */
static void test_drbg_is_uniform(void) {
    static const uint32_t cells[] = {2, 3, 4, 7, 10, 100};
    struct crypto_drbg *d = drbg_of(drbg_seed);
    for (size_t i = 0; i < sizeof cells / sizeof cells[0]; i++) {
        enum { DRAWS = 200000 };
        uint32_t n = cells[i], count[100] = {0};
        for (uint32_t k = 0; k < DRAWS; k++) {
            uint32_t v = crypto_drbg_below(d, n);
            CU_ASSERT_FATAL(v < n);
            count[v]++;
        }
        double mean = (double)DRAWS / n, chi = 0, freedom = n - 1;
        for (uint32_t v = 0; v < n; v++)
            chi += (count[v] - mean) * (count[v] - mean) / mean;
        CU_ASSERT((chi - freedom) * (chi - freedom) < 25 * 2 * freedom);
    }
    for (int i = 0; i < 100; i++)
        CU_ASSERT_EQUAL(crypto_drbg_below(d, 1), 0);
    crypto_drbg_free(d);
}

/* Above 2^31 about half of all words must be drawn again: the same words, sifted here. */
static void test_drbg_rejects(void) {
    static const uint32_t limits[] = {0x80000001u, 0xc0000000u, 0xffffffffu, 3};
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        struct crypto_drbg *d = drbg_of(drbg_seed), *words = drbg_of(drbg_seed);
        uint64_t n = limits[i], multiple = (UINT64_C(1) << 32) / n * n;
        uint32_t word, redrawn = 0;
        for (int k = 0; k < 10000; k++) {
            // 2^32 mod n words are refused: the lowest
            for (crypto_drbg_bytes(words, &word, 4); word < (UINT64_C(1) << 32) - multiple;
                 crypto_drbg_bytes(words, &word, 4))
                redrawn++;
            CU_ASSERT_EQUAL(crypto_drbg_below(d, limits[i]), word % n);
        }
        CU_ASSERT(i > 1 || redrawn > 1000);
        crypto_drbg_free(d);
        crypto_drbg_free(words);
    }
}

/* ---- the rest ---- */

static void test_equal_and_wipe(void) {
    uint8_t a[32], b[32];
    memset(a, 0x11, sizeof a);
    memcpy(b, a, sizeof b);
    CU_ASSERT(crypto_equal(a, b, sizeof a));
    for (size_t i = 0; i < sizeof b * 8; i++) {
        b[i / 8] ^= (uint8_t)(1u << i % 8);
        CU_ASSERT(!crypto_equal(a, b, sizeof a));
        b[i / 8] ^= (uint8_t)(1u << i % 8);
    }
    CU_ASSERT(crypto_equal(a, "", 0));
    crypto_wipe(a + 1, sizeof a - 2);
    memset(b, 0, sizeof b);
    b[0] = b[31] = 0x11;
    CU_ASSERT(memcmp(a, b, sizeof a) == 0);
}

static void test_random(void) {
    uint8_t a[32] = {0}, b[32] = {0}, zero[32] = {0};
    crypto_random(a, sizeof a);
    crypto_random(b, sizeof b - 4);
    CU_ASSERT(memcmp(a, b, sizeof a) != 0);
    CU_ASSERT(memcmp(a, zero, sizeof a) != 0);
    CU_ASSERT(memcmp(b + 28, zero, 4) == 0); // not beyond what was asked for
}

static const struct unit_case cases[] = {
    {"SHA-256: FIPS 180-4", test_digest_vectors},
    {"CMAC: SP 800-38B", test_mac_vectors},
    {"universal hash: GCM over associated data", test_uhash},
    {"universal hash: keys differ", test_uhash_keys_differ},
    {"key derivation", test_kdf},
    {"generator: SP 800-38A", test_drbg_vector},
    {"generator: deterministic", test_drbg_is_deterministic},
    {"generator: uniform", test_drbg_is_uniform},
    {"generator: rejects", test_drbg_rejects},
    {"equal and wipe", test_equal_and_wipe},
    {"random", test_random},
    {NULL, NULL},
};

int main(int argc, char **argv) {
    return unit_main("crypto", cases, argc, argv);
}
