/* SPDX-License-Identifier: BSD-3-Clause */
#include "crypto/crypto.h"

#include <assert.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>

void crypto_random(void *buf, size_t len) {
    assert(len <= INT32_MAX);
    int ok = RAND_bytes(buf, (int)len);
    assert(ok == 1);
    (void)ok;
}

bool crypto_equal(const void *a, const void *b, size_t len) {
    return CRYPTO_memcmp(a, b, len) == 0;
}

void crypto_wipe(void *buf, size_t len) {
    OPENSSL_cleanse(buf, len);
}

void crypto_kdf(const uint8_t key[CRYPTO_KEY_BYTES], const char *label, const void *context,
                size_t context_len, uint8_t out[CRYPTO_KEY_BYTES]) {
    uint8_t message[256], tag[CRYPTO_DIGEST_BYTES];
    size_t label_len = strlen(label);
    unsigned int tag_len = sizeof tag;
    assert(label_len < 128 && 1 + label_len + context_len <= sizeof message);
    message[0] = (uint8_t)label_len;
    memcpy(message + 1, label, label_len);
    if (context_len > 0)
        memcpy(message + 1 + label_len, context, context_len);
    const uint8_t *ok = HMAC(EVP_sha256(), key, CRYPTO_KEY_BYTES, message,
                             1 + label_len + context_len, tag, &tag_len);
    assert(ok != NULL && tag_len == sizeof tag);
    (void)ok;
    memcpy(out, tag, CRYPTO_KEY_BYTES);
    crypto_wipe(tag, sizeof tag);
}

struct crypto_digest {
    EVP_MD *md;
    EVP_MD_CTX *ctx;
};

struct crypto_digest *crypto_digest_new(void) {
    struct crypto_digest *d = calloc(1, sizeof *d);
    if (d == NULL)
        return NULL;
    d->md = EVP_MD_fetch(NULL, "SHA256", NULL);
    d->ctx = EVP_MD_CTX_new();
    if (d->md == NULL || d->ctx == NULL || EVP_DigestInit_ex2(d->ctx, d->md, NULL) != 1) {
        crypto_digest_free(d);
        return NULL;
    }
    return d;
}

void crypto_digest_free(struct crypto_digest *d) {
    if (d == NULL)
        return;
    EVP_MD_CTX_free(d->ctx);
    EVP_MD_free(d->md);
    free(d);
}

void crypto_digest_begin(struct crypto_digest *d) {
    int ok = EVP_DigestInit_ex2(d->ctx, NULL, NULL);
    assert(ok == 1);
    (void)ok;
}

void crypto_digest_update(struct crypto_digest *d, const void *data, size_t len) {
    int ok = EVP_DigestUpdate(d->ctx, data, len);
    assert(ok == 1);
    (void)ok;
}

void crypto_digest_final(struct crypto_digest *d, uint8_t out[CRYPTO_DIGEST_BYTES]) {
    unsigned int n = 0;
    int ok = EVP_DigestFinal_ex(d->ctx, out, &n);
    assert(ok == 1 && n == CRYPTO_DIGEST_BYTES);
    (void)ok;
}

void crypto_digest_once(struct crypto_digest *d, const void *data, size_t len,
                        uint8_t out[CRYPTO_DIGEST_BYTES]) {
    crypto_digest_begin(d);
    crypto_digest_update(d, data, len);
    crypto_digest_final(d, out);
}

/*
 * CMAC by its definition (SP 800-38B 6.2) over one AES-CBC pass: libcrypto's own CMAC enters the
 * cipher once per block, which takes half as long again for a full datagram.
 */
#define BLOCK_BYTES 16u
#define CBC_STEP_BYTES 1536u

struct crypto_mac {
    EVP_CIPHER *cipher;
    EVP_CIPHER_CTX *ctx;
    uint8_t subkey[2][BLOCK_BYTES]; // K1 for a whole last block, K2 for a padded one
    uint8_t last[BLOCK_BYTES];      // held back: the last block is special
    size_t last_len;
};

static const uint8_t zero_block[BLOCK_BYTES];

static void cbc(struct crypto_mac *m, const uint8_t *in, size_t len, uint8_t *out) {
    int n = 0;
    int ok = EVP_EncryptUpdate(m->ctx, out, &n, in, (int)len);
    assert(ok == 1 && n == (int)len);
    (void)ok;
}

/* Multiplication by x in GF(2^128): SP 800-38B 6.1. */
static void double_block(const uint8_t in[BLOCK_BYTES], uint8_t out[BLOCK_BYTES]) {
    uint8_t carry = in[0] >> 7;
    for (size_t i = 0; i < BLOCK_BYTES; i++)
        out[i] = (uint8_t)(in[i] << 1 | (i + 1 < BLOCK_BYTES ? in[i + 1] >> 7 : 0));
    out[BLOCK_BYTES - 1] = (uint8_t)(out[BLOCK_BYTES - 1] ^ carry * 0x87);
}

struct crypto_mac *crypto_mac_new(const uint8_t key[CRYPTO_KEY_BYTES]) {
    uint8_t l[BLOCK_BYTES];
    struct crypto_mac *m = calloc(1, sizeof *m);
    if (m == NULL)
        return NULL;
    m->cipher = EVP_CIPHER_fetch(NULL, "AES-128-CBC", NULL);
    m->ctx = EVP_CIPHER_CTX_new();
    if (m->cipher == NULL || m->ctx == NULL ||
        EVP_EncryptInit_ex2(m->ctx, m->cipher, key, zero_block, NULL) != 1 ||
        EVP_CIPHER_CTX_set_padding(m->ctx, 0) != 1) {
        crypto_mac_free(m);
        return NULL;
    }
    cbc(m, zero_block, BLOCK_BYTES, l);
    double_block(l, m->subkey[0]);
    double_block(m->subkey[0], m->subkey[1]);
    crypto_wipe(l, sizeof l);
    crypto_mac_begin(m);
    return m;
}

void crypto_mac_free(struct crypto_mac *m) {
    if (m == NULL)
        return;
    EVP_CIPHER_CTX_free(m->ctx);
    EVP_CIPHER_free(m->cipher);
    crypto_wipe(m, sizeof *m);
    free(m);
}

void crypto_mac_begin(struct crypto_mac *m) {
    int ok = EVP_EncryptInit_ex2(m->ctx, NULL, NULL, zero_block, NULL);
    assert(ok == 1);
    (void)ok;
    m->last_len = 0;
}

void crypto_mac_update(struct crypto_mac *m, const void *data, size_t len) {
    const uint8_t *p = data;
    uint8_t scratch[CBC_STEP_BYTES];
    while (len > 0) {
        if (m->last_len == BLOCK_BYTES) { // more follows, so it was not the last
            cbc(m, m->last, BLOCK_BYTES, scratch);
            m->last_len = 0;
        }
        size_t whole = m->last_len == 0 ? (len - 1) / BLOCK_BYTES * BLOCK_BYTES : 0;
        if (whole > sizeof scratch)
            whole = sizeof scratch;
        if (whole > 0)
            cbc(m, p, whole, scratch);
        p += whole;
        len -= whole;
        size_t room = BLOCK_BYTES - m->last_len, n = len < room ? len : room;
        if (whole == sizeof scratch)
            continue;
        memcpy(m->last + m->last_len, p, n);
        m->last_len += n;
        p += n;
        len -= n;
    }
}

void crypto_mac_final(struct crypto_mac *m, uint8_t out[CRYPTO_MAC_BYTES]) {
    const uint8_t *subkey = m->subkey[m->last_len == BLOCK_BYTES ? 0 : 1];
    if (m->last_len < BLOCK_BYTES) {
        memset(m->last + m->last_len, 0, BLOCK_BYTES - m->last_len);
        m->last[m->last_len] = 0x80;
    }
    for (size_t i = 0; i < BLOCK_BYTES; i++)
        m->last[i] ^= subkey[i];
    cbc(m, m->last, BLOCK_BYTES, out);
}

struct crypto_uhash {
    EVP_CIPHER *cipher;
    EVP_CIPHER_CTX *ctx;
};

static const uint8_t uhash_nonce[12];

struct crypto_uhash *crypto_uhash_new(const uint8_t key[CRYPTO_KEY_BYTES]) {
    struct crypto_uhash *u = calloc(1, sizeof *u);
    if (u == NULL)
        return NULL;
    u->cipher = EVP_CIPHER_fetch(NULL, "AES-128-GCM", NULL);
    u->ctx = EVP_CIPHER_CTX_new();
    if (u->cipher == NULL || u->ctx == NULL ||
        EVP_EncryptInit_ex2(u->ctx, u->cipher, key, uhash_nonce, NULL) != 1) {
        crypto_uhash_free(u);
        return NULL;
    }
    return u;
}

void crypto_uhash_free(struct crypto_uhash *u) {
    if (u == NULL)
        return;
    EVP_CIPHER_CTX_free(u->ctx);
    EVP_CIPHER_free(u->cipher);
    free(u);
}

void crypto_uhash_begin(struct crypto_uhash *u) {
    int ok = EVP_EncryptInit_ex2(u->ctx, NULL, NULL, uhash_nonce, NULL);
    assert(ok == 1);
    (void)ok;
}

void crypto_uhash_update(struct crypto_uhash *u, const void *data, size_t len) {
    int n;
    if (len == 0)
        return;
    assert(len <= INT32_MAX);
    int ok = EVP_EncryptUpdate(u->ctx, NULL, &n, data, (int)len);
    assert(ok == 1);
    (void)ok;
}

void crypto_uhash_final(struct crypto_uhash *u, uint8_t out[16]) {
    int n;
    uint8_t none[16];
    int ok = EVP_EncryptFinal_ex(u->ctx, none, &n);
    assert(ok == 1 && n == 0);
    ok = EVP_CIPHER_CTX_ctrl(u->ctx, EVP_CTRL_AEAD_GET_TAG, 16, out);
    assert(ok == 1);
    (void)ok;
}

#define DRBG_BLOCK_BYTES 1024u

struct crypto_drbg {
    EVP_CIPHER_CTX *ctx;
    size_t used;
    uint8_t block[DRBG_BLOCK_BYTES];
};

struct crypto_drbg *crypto_drbg_new(const uint8_t seed[CRYPTO_SEED_BYTES]) {
    struct crypto_drbg *d = calloc(1, sizeof *d);
    if (d == NULL)
        return NULL;
    d->ctx = EVP_CIPHER_CTX_new();
    if (d->ctx == NULL ||
        EVP_EncryptInit_ex2(d->ctx, EVP_aes_128_ctr(), seed, seed + 16, NULL) != 1) {
        crypto_drbg_free(d);
        return NULL;
    }
    d->used = DRBG_BLOCK_BYTES;
    return d;
}

void crypto_drbg_free(struct crypto_drbg *d) {
    if (d == NULL)
        return;
    EVP_CIPHER_CTX_free(d->ctx);
    crypto_wipe(d->block, sizeof d->block);
    free(d);
}

static void drbg_refill(struct crypto_drbg *d) {
    static const uint8_t zeros[DRBG_BLOCK_BYTES];
    int n = 0;
    int ok = EVP_EncryptUpdate(d->ctx, d->block, &n, zeros, (int)sizeof zeros);
    assert(ok == 1 && n == (int)sizeof zeros);
    (void)ok;
    d->used = 0;
}

void crypto_drbg_bytes(struct crypto_drbg *d, void *out, size_t len) {
    uint8_t *p = out;
    while (len > 0) {
        if (d->used == DRBG_BLOCK_BYTES)
            drbg_refill(d);
        size_t n = DRBG_BLOCK_BYTES - d->used < len ? DRBG_BLOCK_BYTES - d->used : len;
        memcpy(p, d->block + d->used, n);
        d->used += n;
        p += n;
        len -= n;
    }
}

uint64_t crypto_drbg_u64(struct crypto_drbg *d) {
    uint64_t v;
    crypto_drbg_bytes(d, &v, sizeof v);
    return v;
}

uint32_t crypto_drbg_below(struct crypto_drbg *d, uint32_t n) {
    assert(n > 0);
    // Values below 2^32 mod n would make the low residues likelier; draw again instead.
    uint32_t reject_below = (uint32_t)(-n) % n;
    uint32_t v;
    do
        crypto_drbg_bytes(d, &v, sizeof v);
    while (v < reject_below);
    return v % n;
}
