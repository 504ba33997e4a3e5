/* SPDX-License-Identifier: BSD-3-Clause */
#include "service/store_db.h"

#include "wire/wire.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define STORE_FORMAT 1u
#define META_BYTES (4u + CRYPTO_DIGEST_BYTES + 8u + 8u + 8u)
#define OBJECT_FIXED_BYTES (2u + 1u + CRYPTO_DIGEST_BYTES)
#define PAGE_BYTES 4096u
#define NODE_BYTES (CRYPTO_DIGEST_BYTES + 32u) // key, node and page headers

enum write_kind {
    WRITE_PUT = 1,
    WRITE_DELETE = 2,
};

struct store_meta {
    uint8_t digest[CRYPTO_DIGEST_BYTES];
    uint64_t incarnation;
    uint64_t sigma; // of the last write
    uint64_t used_bytes;
};

struct store_db {
    int lock_fd;
    MDB_env *env;
    MDB_txn *read; // reset while it is not used
    bool reading;
    MDB_dbi objects, meta_db;
    struct crypto_digest *digest;
    uint64_t capacity_bytes;
    uint64_t incarnation;
    struct store_meta meta;
    char error[128];
};

static MDB_val value_of(const void *data, size_t len) {
    union {
        const void *in;
        void *out; // LMDB does not write through keys and values that it is given
    } u = {.in = data};
    return (MDB_val){.mv_size = len, .mv_data = u.out};
}

static enum store_result fail(struct store_db *db, const char *what, int rc) {
    snprintf(db->error, sizeof db->error, "store: %s: %s", what, mdb_strerror(rc));
    return STORE_FAILED;
}

const char *store_db_error(const struct store_db *db) {
    return db->error;
}

/* ---- encoding */

static size_t object_bytes(const struct store_object *o) {
    return OBJECT_FIXED_BYTES + o->target.len + o->content_type.len + o->body_len;
}

static void encode_object(const struct store_object *o, uint8_t *out, size_t len) {
    struct wire_writer w;
    wire_writer_init(&w, out, len);
    wire_put_u16(&w, (uint16_t)o->target.len);
    wire_put_bytes(&w, o->target.p, o->target.len);
    wire_put_u8(&w, (uint8_t)o->content_type.len);
    wire_put_bytes(&w, o->content_type.p, o->content_type.len);
    wire_put_bytes(&w, o->body_digest, CRYPTO_DIGEST_BYTES);
    wire_put_bytes(&w, o->body, o->body_len);
    assert(!w.failed && w.len == len);
}

static struct http_str get_str(struct wire_reader *r, size_t len) {
    return (struct http_str){.p = (const char *)wire_get_view(r, len), .len = len};
}

static bool decode_object(MDB_val v, struct store_object *o) {
    struct wire_reader r;
    wire_reader_init(&r, v.mv_data, v.mv_size);
    o->target = get_str(&r, wire_get_u16(&r));
    o->content_type = get_str(&r, wire_get_u8(&r));
    wire_get_bytes(&r, o->body_digest, CRYPTO_DIGEST_BYTES);
    o->body_len = wire_remaining(&r);
    o->body = wire_get_view(&r, o->body_len);
    return wire_reader_done(&r);
}

static void encode_meta(const struct store_meta *m, uint8_t out[META_BYTES]) {
    struct wire_writer w;
    wire_writer_init(&w, out, META_BYTES);
    wire_put_u32(&w, STORE_FORMAT);
    wire_put_bytes(&w, m->digest, CRYPTO_DIGEST_BYTES);
    wire_put_u64(&w, m->incarnation);
    wire_put_u64(&w, m->sigma);
    wire_put_u64(&w, m->used_bytes);
    assert(!w.failed && w.len == META_BYTES);
}

static bool decode_meta(MDB_val v, struct store_meta *m) {
    struct wire_reader r;
    wire_reader_init(&r, v.mv_data, v.mv_size);
    uint32_t format = wire_get_u32(&r);
    wire_get_bytes(&r, m->digest, CRYPTO_DIGEST_BYTES);
    m->incarnation = wire_get_u64(&r);
    m->sigma = wire_get_u64(&r);
    m->used_bytes = wire_get_u64(&r);
    return wire_reader_done(&r) && format == STORE_FORMAT;
}

/* Whole pages, as LMDB stores values of more than half a page, with key and headers. */
static uint64_t account_bytes(size_t object_len) {
    return (object_len + NODE_BYTES + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
}

/* ---- reading */

static void end_read(struct store_db *db) {
    if (db->reading)
        mdb_txn_reset(db->read);
    db->reading = false;
}

static void object_key(struct store_db *db, struct http_str target,
                       uint8_t key[CRYPTO_DIGEST_BYTES]) {
    crypto_digest_once(db->digest, target.p, target.len, key);
}

static enum store_result find(struct store_db *db, MDB_txn *txn, struct http_str target,
                              struct store_object *out, size_t *stored_bytes) {
    uint8_t digest[CRYPTO_DIGEST_BYTES];
    object_key(db, target, digest);
    MDB_val key = value_of(digest, sizeof digest), value;
    int rc = mdb_get(txn, db->objects, &key, &value);
    if (rc == MDB_NOTFOUND)
        return STORE_ABSENT;
    if (rc != 0)
        return fail(db, "reading an object", rc);
    if (!decode_object(value, out) || out->target.len != target.len ||
        memcmp(out->target.p, target.p, target.len) != 0)
        return fail(db, "an object is damaged", MDB_CORRUPTED);
    *stored_bytes = value.mv_size;
    return STORE_OK;
}

enum store_result store_db_get(struct store_db *db, struct http_str target,
                               struct store_object *out) {
    size_t stored;
    end_read(db);
    int rc = mdb_txn_renew(db->read);
    if (rc != 0)
        return fail(db, "beginning to read", rc);
    db->reading = true;
    return find(db, db->read, target, out, &stored);
}

/* ---- writing */

static void digest_str(struct store_db *db, const void *data, size_t len) {
    uint8_t prefix[8];
    struct wire_writer w;
    wire_writer_init(&w, prefix, sizeof prefix);
    wire_put_u64(&w, len);
    crypto_digest_update(db->digest, prefix, sizeof prefix);
    crypto_digest_update(db->digest, data, len);
}

static void chain(struct store_db *db, struct store_meta *m, enum write_kind kind,
                  const struct store_object *o) {
    uint8_t fixed[9];
    struct wire_writer w;
    wire_writer_init(&w, fixed, sizeof fixed);
    wire_put_u64(&w, m->sigma);
    wire_put_u8(&w, (uint8_t)kind);
    crypto_digest_begin(db->digest);
    crypto_digest_update(db->digest, m->digest, CRYPTO_DIGEST_BYTES);
    crypto_digest_update(db->digest, fixed, sizeof fixed);
    digest_str(db, o->target.p, o->target.len);
    if (kind == WRITE_PUT) {
        digest_str(db, o->content_type.p, o->content_type.len);
        digest_str(db, o->body_digest, CRYPTO_DIGEST_BYTES);
    }
    crypto_digest_final(db->digest, m->digest);
}

static int put_meta(struct store_db *db, MDB_txn *txn, const struct store_meta *m) {
    uint8_t bytes[META_BYTES];
    encode_meta(m, bytes);
    MDB_val key = value_of("state", 5), value = value_of(bytes, sizeof bytes);
    return mdb_put(txn, db->meta_db, &key, &value, 0);
}

static int put_object(struct store_db *db, MDB_txn *txn, const struct store_object *o) {
    uint8_t digest[CRYPTO_DIGEST_BYTES];
    object_key(db, o->target, digest);
    MDB_val key = value_of(digest, sizeof digest);
    MDB_val value = {.mv_size = object_bytes(o), .mv_data = NULL};
    int rc = mdb_put(txn, db->objects, &key, &value, MDB_RESERVE);
    if (rc == 0)
        encode_object(o, value.mv_data, value.mv_size);
    return rc;
}

static int delete_object(struct store_db *db, MDB_txn *txn, struct http_str target) {
    uint8_t digest[CRYPTO_DIGEST_BYTES];
    object_key(db, target, digest);
    MDB_val key = value_of(digest, sizeof digest);
    return mdb_del(txn, db->objects, &key, NULL);
}

/* The new state after a write; STORE_FULL, STORE_ABSENT when it may not happen. */
static enum store_result next_meta(struct store_db *db, MDB_txn *txn, enum write_kind kind,
                                   const struct store_object *o, uint64_t sigma,
                                   struct store_meta *next) {
    struct store_object old;
    size_t old_bytes = 0;
    enum store_result found = find(db, txn, o->target, &old, &old_bytes);
    if (found == STORE_FAILED || (found == STORE_ABSENT && kind == WRITE_DELETE))
        return found;
    uint64_t freed = found == STORE_OK ? account_bytes(old_bytes) : 0;
    uint64_t taken = kind == WRITE_PUT ? account_bytes(object_bytes(o)) : 0;
    assert(db->meta.used_bytes >= freed);
    *next = db->meta;
    next->used_bytes += taken - freed;
    next->sigma = sigma;
    next->incarnation = db->incarnation;
    if (taken > 0 && next->used_bytes > db->capacity_bytes)
        return STORE_FULL;
    chain(db, next, kind, o);
    return STORE_OK;
}

static enum store_result write_object(struct store_db *db, enum write_kind kind,
                                      const struct store_object *o, uint64_t sigma) {
    MDB_txn *txn;
    struct store_meta next;
    end_read(db);
    int rc = mdb_txn_begin(db->env, NULL, 0, &txn);
    if (rc != 0)
        return fail(db, "beginning to write", rc);
    enum store_result may = next_meta(db, txn, kind, o, sigma, &next);
    if (may != STORE_OK) {
        mdb_txn_abort(txn);
        return may;
    }
    rc = kind == WRITE_PUT ? put_object(db, txn, o) : delete_object(db, txn, o->target);
    if (rc == 0)
        rc = put_meta(db, txn, &next);
    if (rc != 0) {
        mdb_txn_abort(txn);
        return fail(db, "writing", rc);
    }
    rc = mdb_txn_commit(txn);
    if (rc != 0)
        return fail(db, "committing a write", rc);
    db->meta = next;
    return STORE_OK;
}

enum store_result store_db_put(struct store_db *db, const struct store_object *o, uint64_t sigma) {
    assert(o->target.len <= STORE_TARGET_MAX_BYTES && o->content_type.len <= STORE_TYPE_MAX_BYTES);
    return write_object(db, WRITE_PUT, o, sigma);
}

enum store_result store_db_delete(struct store_db *db, struct http_str target, uint64_t sigma) {
    struct store_object o = {.target = target};
    return write_object(db, WRITE_DELETE, &o, sigma);
}

void store_db_digest(const struct store_db *db, uint8_t out[CRYPTO_DIGEST_BYTES]) {
    memcpy(out, db->meta.digest, CRYPTO_DIGEST_BYTES);
}

uint64_t store_db_used_bytes(const struct store_db *db) {
    return db->meta.used_bytes;
}

/* ---- opening */

/* The directory, ours alone: LMDB itself would let a second process in. */
static bool lock_dir(struct store_db *db, const char *dir, char err[GROUP_ERROR_BYTES]) {
    if (mkdir(dir, 0700) != 0 && errno != EEXIST) {
        snprintf(err, GROUP_ERROR_BYTES, "%s: cannot be made: %s", dir, strerror(errno));
        return false;
    }
    db->lock_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (db->lock_fd < 0) {
        snprintf(err, GROUP_ERROR_BYTES, "%s: cannot be opened: %s", dir, strerror(errno));
        return false;
    }
    if (flock(db->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        snprintf(err, GROUP_ERROR_BYTES,
                 "%s: another process uses this store: give each replica its own directory", dir);
        return false;
    }
    return true;
}

static int open_env(struct store_db *db, const char *dir, uint64_t map_bytes) {
    int rc = mdb_env_create(&db->env);
    if (rc == 0)
        rc = mdb_env_set_maxdbs(db->env, 2);
    if (rc == 0)
        rc = mdb_env_set_mapsize(db->env, map_bytes);
    if (rc == 0)
        rc = mdb_env_open(db->env, dir, MDB_NOMETASYNC | MDB_NOTLS, 0600);
    return rc;
}

static int load_meta(struct store_db *db, MDB_txn *txn) {
    MDB_val key = value_of("state", 5), value;
    int rc = mdb_get(txn, db->meta_db, &key, &value);
    if (rc == MDB_NOTFOUND)
        return 0; // new: all zero
    if (rc != 0)
        return rc;
    return decode_meta(value, &db->meta) ? 0 : MDB_VERSION_MISMATCH;
}

static int open_databases(struct store_db *db) {
    MDB_txn *txn;
    int rc = mdb_txn_begin(db->env, NULL, 0, &txn);
    if (rc != 0)
        return rc;
    rc = mdb_dbi_open(txn, "objects", MDB_CREATE, &db->objects);
    if (rc == 0)
        rc = mdb_dbi_open(txn, "meta", MDB_CREATE, &db->meta_db);
    if (rc == 0)
        rc = load_meta(db, txn);
    if (rc != 0) {
        mdb_txn_abort(txn);
        return rc;
    }
    rc = mdb_txn_commit(txn);
    if (rc == 0)
        rc = mdb_txn_begin(db->env, NULL, MDB_RDONLY, &db->read);
    if (rc == 0)
        mdb_txn_reset(db->read);
    return rc;
}

/*
 * Agreement starts at sequence 1 with every process: a store that already executed writes of
 * this incarnation would execute them twice, and sigma would fall (design.md law 3).
 */
static bool check_incarnation(const struct store_db *db, const char *dir,
                              char err[GROUP_ERROR_BYTES]) {
    if (db->incarnation == 0 || db->meta.incarnation != db->incarnation)
        return true;
    snprintf(err, GROUP_ERROR_BYTES,
             "%s: holds writes of incarnation %016" PRIx64 " up to sequence %" PRIu64
             ", and a replica cannot rejoin a running group yet; stop all replicas, set a new "
             "incarnation in the group file, and start them together",
             dir, db->meta.incarnation, db->meta.sigma >> 16);
    return false;
}

struct store_db *store_db_open(const char *dir, uint64_t map_bytes, uint64_t incarnation,
                               char err[GROUP_ERROR_BYTES]) {
    struct store_db *db = calloc(1, sizeof *db);
    if (db == NULL || (db->digest = crypto_digest_new()) == NULL) {
        snprintf(err, GROUP_ERROR_BYTES, "out of memory");
        free(db);
        return NULL;
    }
    db->lock_fd = -1;
    db->incarnation = incarnation;
    db->capacity_bytes = map_bytes / 2;
    bool ok = lock_dir(db, dir, err);
    int rc = ok ? open_env(db, dir, map_bytes) : 0;
    if (ok && rc == 0)
        rc = open_databases(db);
    if (rc != 0)
        snprintf(err, GROUP_ERROR_BYTES, "%s: is not a usable store: %s", dir, mdb_strerror(rc));
    if (!ok || rc != 0 || !check_incarnation(db, dir, err)) {
        store_db_close(db);
        return NULL;
    }
    return db;
}

void store_db_close(struct store_db *db) {
    if (db == NULL)
        return;
    if (db->read != NULL)
        mdb_txn_abort(db->read);
    if (db->env != NULL) {
        mdb_env_sync(db->env, 1);
        mdb_env_close(db->env);
    }
    if (db->lock_fd >= 0)
        close(db->lock_fd);
    crypto_digest_free(db->digest);
    free(db);
}
