/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A network of datagram instances in memory, with a virtual clock. Datagrams are delayed, lost,
 * reordered and duplicated as a seed says; the same seed gives the same run.
 */
#ifndef PROPHECY_TEST_DATAGRAM_NET_H
#define PROPHECY_TEST_DATAGRAM_NET_H

#include "datagram/datagram.h"

#define NET_NODES_MAX 24u
/* A message of the tests starts with this, so that its receiver can tell which one it is. */
#define NET_TAG_BYTES 4u

struct net;

struct net_node {
    struct net *net;
    struct datagram *d;
    struct datagram_address address;
    bool deaf; // datagrams to it vanish
    uint64_t delivered;
    uint64_t delivered_bytes;
    uint64_t wrong;      // delivered, but not the bytes that were sent
    const uint8_t *last; // borrowed; valid only during a delivery
    size_t last_len;
    struct datagram_address last_from;
    uint8_t *copy;   // of the last message
    uint32_t *times; // per tag, how often it was delivered; may be NULL
    uint32_t times_count;
};

struct net_packet {
    uint64_t at_us;
    uint64_t number; // order of equal times, so that runs repeat
    struct datagram_address to;
    size_t len;
    uint8_t *data;
};

struct net {
    uint64_t now_us;
    uint64_t rng;
    uint32_t loss_percent;
    uint32_t duplicate_percent;
    uint64_t delay_min_us, delay_max_us;
    uint64_t emitted;
    uint32_t node_count;
    struct net_node nodes[NET_NODES_MAX];
    struct net_packet *heap;
    size_t heap_len, heap_cap;
};

void net_init(struct net *n, uint64_t seed);
/* A node of principal node_count, endpoint 7; it becomes a peer of all those before it. */
struct net_node *net_add(struct net *n, const struct datagram_config *cfg);
/* Frees all; the queue too. */
void net_free(struct net *n);
uint64_t net_random(struct net *n, uint64_t below);
/* The secret of a pair of principals. */
void net_key(uint16_t a, uint16_t b, uint8_t key[CRYPTO_KEY_BYTES]);
/* Fills a message that its receiver can check by itself: tag, then bytes that follow from tag and
 * len. */
void net_fill(uint8_t *message, size_t len, uint32_t tag);
/* Runs until nothing is on the way and no deadline is left, or until limit_us. */
void net_run(struct net *n, uint64_t limit_us);
/* Takes the packet that would arrive next out of the network; false: none. The caller frees data.
 */
bool net_take(struct net *n, struct net_packet *out);
/* The callbacks of a node, for an instance that takes the place of its former one. */
struct datagram_env net_env(struct net_node *node);
uint64_t net_counter(const struct net_node *node, enum datagram_counter c);
size_t net_bytes_held(const struct net *n);

#endif
