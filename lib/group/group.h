/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lib/group - the group file and the key files: who the principals are and what they all agreed on.
 *
 * One file, the same on every replica and on the sketcher (rte_cfgfile syntax):
 *
 *   [group]
 *   replicas = 4
 *   f = 1                               ; replicas >= 3f + 1
 *   incarnation = 8f1d6c0a52b79e34      ; of the group's state: new when the group is set up anew
 *   read-optimisation = no
 *   unordered-writes = no
 *   request-max-bytes = 16777216        ; of a body; the whole operation: group_operation_max_bytes
 *   response-max-bytes = 16777216
 *   excluded-headers = x-served-by      ; left out of the canonical response, besides the standard
 * ones checkpoint-interval = 128 log-window = 512
 *
 *   [replica 0]
 *   address = 10.0.0.10:7000            ; agreement, UDP
 *   http = 10.0.0.10:80                 ; fast reads, TCP
 *
 *   [client 0]                          ; principal replicas + 0
 *   address = 10.0.0.1:7100             ; endpoint k listens on port 7100 + k
 *   endpoints = 4
 *
 * Keys: `prophecy-replica keygen --group FILE --out DIR` writes DIR/replica-I.key and
 * DIR/client-I.key, mode 0600, each with one line "PRINCIPAL HEX" per other principal: a random
 * 128-bit key per pair. Reading refuses a key file that others than its owner can read.
 *
 * conf.h reads other files of this syntax with the same strictness.
 *
 * Errors are values: every function that can fail writes one message into err: what is wrong, where
 * (file, section, key), and what would be right.
 */
#ifndef PROPHECY_GROUP_H
#define PROPHECY_GROUP_H

#include "crypto/crypto.h"
#include "sketch/sketch.h"

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GROUP_REPLICAS_MAX 32u
#define GROUP_CLIENTS_MAX 16u
#define GROUP_ENDPOINTS_MAX 16u
#define GROUP_ENDPOINTS_TOTAL_MAX 96u // of all clients together
#define GROUP_PRINCIPALS_MAX (GROUP_REPLICAS_MAX + GROUP_CLIENTS_MAX)
#define GROUP_ERROR_BYTES 1024u

struct group_endpoint {
    uint32_t addr; // host order
    uint16_t port;
};

struct group {
    uint32_t replicas, f, clients;
    uint64_t incarnation;
    bool read_optimisation, unordered_writes;
    size_t request_max_bytes, response_max_bytes;
    uint32_t checkpoint_interval, log_window;
    struct sketch_names excluded_headers;
    struct group_endpoint replica_agreement[GROUP_REPLICAS_MAX];
    struct group_endpoint replica_http[GROUP_REPLICAS_MAX];
    struct group_endpoint client_agreement[GROUP_CLIENTS_MAX]; // endpoint 0
    uint32_t client_endpoints[GROUP_CLIENTS_MAX];
};

struct group_keys {
    uint32_t self;                                       // principal
    uint32_t count;                                      // principals
    uint8_t key[GROUP_PRINCIPALS_MAX][CRYPTO_KEY_BYTES]; // key[self] is unused
};

/*
 * request-max-bytes and response-max-bytes limit bodies. An operation is a head and a body, a
 * result a canonical response: everybody allows them this much more.
 */
#define GROUP_HEAD_ALLOWANCE_BYTES 32768u
static_assert(GROUP_HEAD_ALLOWANCE_BYTES >= SKETCH_CANONICAL_HEAD_MAX + 12u,
              "any canonical head fits besides the body");
static inline size_t group_operation_max_bytes(const struct group *g) {
    return g->request_max_bytes + GROUP_HEAD_ALLOWANCE_BYTES;
}
static inline size_t group_result_max_bytes(const struct group *g) {
    return g->response_max_bytes + GROUP_HEAD_ALLOWANCE_BYTES;
}

bool group_read(const char *path, struct group *out, char err[GROUP_ERROR_BYTES]);
/* principal: whose file it must be. Wipe the struct when done. */
bool group_keys_read(const char *path, const struct group *g, uint32_t principal,
                     struct group_keys *out, char err[GROUP_ERROR_BYTES]);
/* Makes all key files of the group; refuses to overwrite any. */
bool group_keygen(const struct group *g, const char *dir, char err[GROUP_ERROR_BYTES]);

/* "10.0.0.1:80"; where names the place for the message, e.g. "group.conf: [replica 2] address". */
bool group_parse_endpoint(const char *text, const char *where, struct group_endpoint *out,
                          char err[GROUP_ERROR_BYTES]);
/* "10.0.0.1", and "10.0.0.1/24" (prefix_len NULL: no prefix allowed). */
bool group_parse_ipv4(const char *text, const char *where, uint32_t *addr, uint8_t *prefix_len,
                      char err[GROUP_ERROR_BYTES]);
bool group_parse_u64(const char *text, const char *where, uint64_t min, uint64_t max, uint64_t *out,
                     char err[GROUP_ERROR_BYTES]);
bool group_parse_bool(const char *text, const char *where, bool *out, char err[GROUP_ERROR_BYTES]);

#endif
