/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lib/crypto - the few primitives Prophecy needs, thin over OpenSSL libcrypto.
 *
 * A context is made once (start-up, per lcore), reused for every message and freed at
 * the end; no call below allocates except *_new. A context belongs to one thread.
 * A failure inside libcrypto after start-up is a broken machine, not bad input, and is
 * an assertion. *_new return NULL when libcrypto refuses (no memory, no such algorithm).
 */
#ifndef PROPHECY_CRYPTO_H
#define PROPHECY_CRYPTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CRYPTO_DIGEST_BYTES 32u // SHA-256
#define CRYPTO_MAC_BYTES 16u
#define CRYPTO_KEY_BYTES 16u
#define CRYPTO_SEED_BYTES 32u

/* Fills buf from the operating system's generator. Start-up only: may enter the kernel. */
void crypto_random(void *buf, size_t len);

/* Constant-time comparison. */
bool crypto_equal(const void *a, const void *b, size_t len);

/* Overwrites a secret in a way the compiler keeps. */
void crypto_wipe(void *buf, size_t len);

/* out = first 16 bytes of HMAC-SHA256(key, len(label) || label || context). Start-up only. */
void crypto_kdf(const uint8_t key[CRYPTO_KEY_BYTES], const char *label, const void *context,
                size_t context_len, uint8_t out[CRYPTO_KEY_BYTES]);

/* SHA-256, incremental: begin, update ..., final; then begin again. */
struct crypto_digest;
struct crypto_digest *crypto_digest_new(void);
void crypto_digest_free(struct crypto_digest *d);
void crypto_digest_begin(struct crypto_digest *d);
void crypto_digest_update(struct crypto_digest *d, const void *data, size_t len);
void crypto_digest_final(struct crypto_digest *d, uint8_t out[CRYPTO_DIGEST_BYTES]);
/* The three in one. */
void crypto_digest_once(struct crypto_digest *d, const void *data, size_t len,
                        uint8_t out[CRYPTO_DIGEST_BYTES]);

/* A 128-bit MAC (AES-128-CMAC, NIST SP 800-38B) whose tags may be shown to anybody. */
struct crypto_mac;
struct crypto_mac *crypto_mac_new(const uint8_t key[CRYPTO_KEY_BYTES]);
void crypto_mac_free(struct crypto_mac *m);
void crypto_mac_begin(struct crypto_mac *m);
void crypto_mac_update(struct crypto_mac *m, const void *data, size_t len);
void crypto_mac_final(struct crypto_mac *m, uint8_t out[CRYPTO_MAC_BYTES]);

/*
 * A keyed universal hash of 128 bits: AES-128-GCM over associated data only, one fixed nonce. Sound
 * only while its tags stay secret (design.md, law 13): equal inputs give equal tags, and an
 * adversary who never sees a tag makes two different inputs of L bytes collide with probability
 * about L/2^132.
 */
struct crypto_uhash;
struct crypto_uhash *crypto_uhash_new(const uint8_t key[CRYPTO_KEY_BYTES]);
void crypto_uhash_free(struct crypto_uhash *u);
void crypto_uhash_begin(struct crypto_uhash *u);
void crypto_uhash_update(struct crypto_uhash *u, const void *data, size_t len);
void crypto_uhash_final(struct crypto_uhash *u, uint8_t out[16]);

/* A deterministic generator (AES-128-CTR key stream) for draws on the packet path: no system call.
 */
struct crypto_drbg;
struct crypto_drbg *crypto_drbg_new(const uint8_t seed[CRYPTO_SEED_BYTES]);
void crypto_drbg_free(struct crypto_drbg *d);
void crypto_drbg_bytes(struct crypto_drbg *d, void *out, size_t len);
uint64_t crypto_drbg_u64(struct crypto_drbg *d);
/* Uniform in [0, n), n > 0, by rejection. */
uint32_t crypto_drbg_below(struct crypto_drbg *d, uint32_t n);

#endif
