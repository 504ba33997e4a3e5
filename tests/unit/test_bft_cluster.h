/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An in-memory group of replicas and its clients: the real cores of lib/bft on a virtual clock and
 * a network that loses, duplicates, delays and so reorders messages, all drawn from one seed.
 * Nothing in it waits or reads a clock, so a run is a function of its options and of what the test
 * submits.
 *
 * The service appends writes to a log and answers with bytes that depend on the operation
 * (cluster_op), or for a count with the length of its log.
 */
#ifndef TEST_BFT_CLUSTER_H
#define TEST_BFT_CLUSTER_H

#include "bft/bft.h"
#include "bft/messages.h"

#define CLUSTER_CLIENTS_MAX 8u

struct cluster_options {
    uint64_t seed;
    uint32_t clients;
    uint32_t loss_permille, duplicate_permille;
    uint32_t delay_min_us, delay_max_us;
    uint32_t execute_delay_us;         // 0: results come from inside env.execute
    struct bft_replica_config replica; // group and limits; self is set
    struct bft_client_config client;   // principal, epoch and seed are set
};

struct cluster;

/* A message under way; a filter may change its bytes. */
struct cluster_message {
    uint64_t at_us, order;
    uint16_t from, from_endpoint, to, to_endpoint;
    /* Not a message: an execution of replica `to` that ends. */
    const struct bft_execution *execution;
    uint64_t ticket;
    uint8_t *data;
    size_t len;
};

/* What became of one submitted request. */
struct cluster_request {
    bool finished;
    uint32_t completions;
    enum bft_outcome first, last;
    uint64_t sigma, incarnation;
    uint8_t *result; // copy; NULL: none
    size_t result_len;
    size_t differing_len[2];
    uint16_t differing_replica[2];
    bool differing[2];
};

struct cluster_node {
    struct cluster *cluster;
    uint16_t id;
    struct bft_replica *replica;
    bool crashed;  // neither runs nor receives
    bool silenced; // runs, but the network loses all it sends and all that is sent to it
    uint64_t *log; // identities of the writes that it executed, in order
    size_t log_len, log_cap;
    uint64_t executions; // ordered ones
    uint64_t last_sigma;
    uint8_t chain[CRYPTO_DIGEST_BYTES]; // digest of the log
};

struct cluster_client {
    struct cluster *cluster;
    uint16_t principal;
    struct bft_client *client;
};

struct cluster {
    struct cluster_options o;
    uint64_t now_us, order, random;
    struct cluster_node *nodes;
    struct cluster_client clients[CLUSTER_CLIENTS_MAX];
    struct cluster_message *queue; // heap by (at_us, order)
    size_t queue_len, queue_cap;
    struct cluster_request *requests; // by cookie
    size_t request_count, request_cap;
    uint64_t messages, bytes; // that the network has taken
    struct crypto_digest *sha;
    uint8_t (*keys)[CRYPTO_KEY_BYTES]; // pair keys, square
    /* Sees every message of a sender before the network does: false loses it. */
    bool (*filter)(struct cluster *c, struct cluster_message *m);
    void *filter_ctx;
    /* Replaces the result of a node; false: the result is NULL (its backend failed). */
    bool (*result)(struct cluster *c, uint16_t node, const struct bft_execution *e, uint8_t **data,
                   size_t *len);
};

/* What an operation of cluster_op asks for. */
enum cluster_kind { CLUSTER_WRITE = 'W', CLUSTER_READ = 'R', CLUSTER_COUNT = 'C' };
#define CLUSTER_OP_BYTES 13u

void cluster_options_default(struct cluster_options *o, uint32_t n, uint32_t f);
struct cluster *cluster_new(const struct cluster_options *o);
void cluster_free(struct cluster *c);
uint64_t cluster_random(struct cluster *c);
const uint8_t (*cluster_keys_of(const struct cluster *c, uint16_t principal))[CRYPTO_KEY_BYTES];

/* op: kind, identity 8, length of the result 4, then padding up to op_len. */
void cluster_op(uint8_t *op, size_t op_len, enum cluster_kind kind, uint64_t id,
                uint32_t result_len);
/* The result that a correct replica gives to a WRITE or READ of this identity; malloc'ed. */
uint8_t *cluster_result(uint64_t id, uint32_t result_len);

/* Submits; the cookie, or UINT64_MAX when the client refused. */
uint64_t cluster_submit(struct cluster *c, uint32_t client, uint32_t flags, const uint8_t *op,
                        size_t op_len);
uint64_t cluster_write(struct cluster *c, uint32_t client, uint64_t id, uint32_t result_len);
uint64_t cluster_read(struct cluster *c, uint32_t client, uint32_t flags, uint64_t id,
                      uint32_t result_len);
struct cluster_request *cluster_request(struct cluster *c, uint64_t cookie);

/* Sends as `from`, past the filter, with this delay and no loss. */
void cluster_post(struct cluster *c, uint16_t from, uint16_t to, const uint8_t *data, size_t len,
                  uint64_t delay_us);
/* Processes the next thing that happens, if it does at or before until_us. */
bool cluster_step(struct cluster *c, uint64_t until_us);
void cluster_run(struct cluster *c, uint64_t for_us);
/* Runs until every request finished: false when that takes longer than max_us of the virtual clock.
 */
bool cluster_settle(struct cluster *c, uint64_t max_us);
/* A replica that is there again after a crash, with nothing of what it knew. */
void cluster_restart(struct cluster *c, uint16_t node);
void cluster_replace_client(struct cluster *c, uint32_t client, uint64_t epoch);

/* Whether no write is in a log twice, and every log is a prefix of the longest one. */
bool cluster_logs_agree(const struct cluster *c);
/* Length of the log of the node; how often id is in it. */
size_t cluster_times(const struct cluster *c, uint16_t node, uint64_t id);
uint64_t cluster_counter(const struct cluster *c, uint16_t node, enum bft_replica_counter id);
uint64_t cluster_client_counter(const struct cluster *c, uint32_t client,
                                enum bft_client_counter id);
struct bft_replica_status cluster_status(const struct cluster *c, uint16_t node);

#endif
