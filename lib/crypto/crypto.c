/* SPDX-License-Identifier: BSD-3-Clause */
#include "crypto/crypto.h"

#include <assert.h>
#include <openssl/core_names.h>
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

struct crypto_mac {
    EVP_MAC *mac;
    EVP_MAC_CTX *ctx;
};

struct crypto_mac *crypto_mac_new(const uint8_t key[CRYPTO_KEY_BYTES]) {
    char cipher[] = "AES-128-CBC";
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_CIPHER, cipher, 0),
        OSSL_PARAM_construct_end(),
    };
    struct crypto_mac *m = calloc(1, sizeof *m);
    if (m == NULL)
        return NULL;
    m->mac = EVP_MAC_fetch(NULL, "CMAC", NULL);
    m->ctx = m->mac == NULL ? NULL : EVP_MAC_CTX_new(m->mac);
    if (m->ctx == NULL || EVP_MAC_init(m->ctx, key, CRYPTO_KEY_BYTES, params) != 1) {
        crypto_mac_free(m);
        return NULL;
    }
    return m;
}

void crypto_mac_free(struct crypto_mac *m) {
    if (m == NULL)
        return;
    EVP_MAC_CTX_free(m->ctx);
    EVP_MAC_free(m->mac);
    free(m);
}

void crypto_mac_begin(struct crypto_mac *m) {
    int ok = EVP_MAC_init(m->ctx, NULL, 0, NULL);
    assert(ok == 1);
    (void)ok;
}

void crypto_mac_update(struct crypto_mac *m, const void *data, size_t len) {
    if (len == 0)
        return;
    int ok = EVP_MAC_update(m->ctx, data, len);
    assert(ok == 1);
    (void)ok;
}

void crypto_mac_final(struct crypto_mac *m, uint8_t out[CRYPTO_MAC_BYTES]) {
    size_t n = 0;
    int ok = EVP_MAC_final(m->ctx, out, &n, CRYPTO_MAC_BYTES);
    assert(ok == 1 && n == CRYPTO_MAC_BYTES);
    (void)ok;
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
