/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * store_db - the object store's data on LMDB.
 *
 * Two named databases: `objects`, SHA-256(target) -> object (LMDB keys end at 511 bytes, targets do
 * not; the object begins with its target, so that the key can be checked), and `meta`, the state's
 * digest, the last sigma, the bytes used. Object and meta change in one transaction, so that a
 * restart finds them consistent.
 *
 * Durability: MDB_NOMETASYNC. Every write is one transaction and one fdatasync of its data pages
 * (about 0.2 ms on an SSD); only the sync of the meta page is left to the next commit. A crash of
 * the process loses nothing; a crash of the machine may lose the last write but never the integrity
 * of the file, and f replicas may lose anything. Writes are not batched: the agreement hands over
 * the next execution only after the answer to the last one.
 *
 * Full is decided by used_bytes, which is part of the state, against half of the map: equal on all
 * replicas whose --store-map-bytes are equal, whatever LMDB's free list looks like.
 */
#ifndef PROPHECY_SERVICE_STORE_DB_H
#define PROPHECY_SERVICE_STORE_DB_H

#include "crypto/crypto.h"
#include "group/group.h"
#include "http/http.h"

#define STORE_TARGET_MAX_BYTES 2048u
#define STORE_TYPE_MAX_BYTES 255u
#define STORE_MAP_MIN_BYTES (1u << 20)

struct store_object {
    struct http_str target, content_type;
    uint8_t body_digest[CRYPTO_DIGEST_BYTES];
    const uint8_t *body;
    size_t body_len;
};

enum store_result {
    STORE_OK,
    STORE_ABSENT,
    STORE_FULL,   // by the accounting; nothing changed
    STORE_FAILED, // the disk or the file; see store_db_error. Nothing changed
};

struct store_db;
struct store_db *store_db_open(const char *dir, uint64_t map_bytes, uint64_t incarnation,
                               char err[GROUP_ERROR_BYTES]);
void store_db_close(struct store_db *db);
/* What *out points to is valid until the next call on db. */
enum store_result store_db_get(struct store_db *db, struct http_str target,
                               struct store_object *out);
enum store_result store_db_put(struct store_db *db, const struct store_object *o, uint64_t sigma);
enum store_result store_db_delete(struct store_db *db, struct http_str target, uint64_t sigma);
const char *store_db_error(const struct store_db *db);
/*
 * A chain over the writes that changed something: digest' = SHA-256(digest || sigma || kind ||
 * target || content type || SHA-256(body)), lengths first.
 */
void store_db_digest(const struct store_db *db, uint8_t out[CRYPTO_DIGEST_BYTES]);
uint64_t store_db_used_bytes(const struct store_db *db);

#endif
