/* SPDX-License-Identifier: BSD-3-Clause */
#include "datagram_net.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

// splitmix64: small, and any seed will do.
static uint64_t mix(uint64_t *state) {
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

uint64_t net_random(struct net *n, uint64_t below) {
    return mix(&n->rng) % below;
}

void net_init(struct net *n, uint64_t seed) {
    memset(n, 0, sizeof *n);
    n->rng = seed;
    n->now_us = 1000000;
    n->delay_min_us = n->delay_max_us = 50;
}

void net_key(uint16_t a, uint16_t b, uint8_t key[CRYPTO_KEY_BYTES]) {
    memset(key, 0x5a, CRYPTO_KEY_BYTES);
    key[0] = (uint8_t)(a < b ? a : b);
    key[1] = (uint8_t)(a < b ? b : a);
}

void net_fill(uint8_t *message, size_t len, uint32_t tag) {
    uint64_t state = (uint64_t)tag << 32 | len;
    for (size_t i = 0; i < len; i += 8) {
        uint64_t v = mix(&state);
        memcpy(message + i, &v, len - i < 8 ? len - i : 8);
    }
    if (len >= NET_TAG_BYTES)
        memcpy(message, &tag, NET_TAG_BYTES);
}

static bool packet_before(const struct net_packet *a, const struct net_packet *b) {
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->number < b->number;
}

static void heap_push(struct net *n, struct net_packet p) {
    if (n->heap_len == n->heap_cap) {
        n->heap_cap = n->heap_cap == 0 ? 64 : n->heap_cap * 2;
        n->heap = realloc(n->heap, n->heap_cap * sizeof *n->heap);
        assert(n->heap != NULL);
    }
    size_t i = n->heap_len++;
    for (; i > 0 && packet_before(&p, &n->heap[(i - 1) / 2]); i = (i - 1) / 2)
        n->heap[i] = n->heap[(i - 1) / 2];
    n->heap[i] = p;
}

bool net_take(struct net *n, struct net_packet *out) {
    if (n->heap_len == 0)
        return false;
    *out = n->heap[0];
    struct net_packet p = n->heap[--n->heap_len];
    size_t i = 0;
    for (size_t child = 1; child < n->heap_len; child = 2 * i + 1) {
        if (child + 1 < n->heap_len && packet_before(&n->heap[child + 1], &n->heap[child]))
            child++;
        if (!packet_before(&n->heap[child], &p))
            break;
        n->heap[i] = n->heap[child];
        i = child;
    }
    if (n->heap_len > 0)
        n->heap[i] = p;
    return true;
}

static void transmit(struct net *n, struct datagram_address to, const uint8_t *data, size_t len) {
    if (net_random(n, 100) < n->loss_percent)
        return;
    struct net_packet p = {.number = n->emitted, .to = to, .len = len, .data = malloc(len)};
    assert(p.data != NULL);
    memcpy(p.data, data, len);
    p.at_us = n->now_us + n->delay_min_us + net_random(n, n->delay_max_us - n->delay_min_us + 1);
    heap_push(n, p);
}

static void on_emit(void *ctx, struct datagram_address to, const uint8_t *data, size_t len) {
    struct net_node *node = ctx;
    struct net *n = node->net;
    assert(len <= DATAGRAM_MAX_BYTES);
    n->emitted++;
    transmit(n, to, data, len);
    if (net_random(n, 100) < n->duplicate_percent)
        transmit(n, to, data, len);
}

static void on_deliver(void *ctx, struct datagram_address from, const uint8_t *message,
                       size_t len) {
    struct net_node *node = ctx;
    uint32_t tag = 0;
    node->delivered++;
    node->delivered_bytes += len;
    node->last = message;
    node->last_len = len;
    node->last_from = from;
    free(node->copy);
    node->copy = malloc(len + 1);
    assert(node->copy != NULL);
    if (len < NET_TAG_BYTES) {
        memcpy(node->copy, message, len);
        return;
    }
    memcpy(&tag, message, NET_TAG_BYTES);
    net_fill(node->copy, len, tag);
    node->wrong += memcmp(node->copy, message, len) != 0;
    if (node->times != NULL && tag < node->times_count)
        node->times[tag]++;
}

struct datagram_env net_env(struct net_node *node) {
    return (struct datagram_env){.ctx = node, .emit = on_emit, .deliver = on_deliver};
}

struct net_node *net_add(struct net *n, const struct datagram_config *cfg) {
    assert(n->node_count < NET_NODES_MAX);
    struct net_node *node = &n->nodes[n->node_count];
    struct datagram_config own = *cfg;
    struct datagram_env env = net_env(node);
    memset(node, 0, sizeof *node);
    node->net = n;
    node->address = (struct datagram_address){(uint16_t)n->node_count, 7};
    own.self = node->address;
    node->d = datagram_new(&own, &env);
    assert(node->d != NULL);
    for (uint32_t i = 0; i < n->node_count; i++) {
        uint8_t key[CRYPTO_KEY_BYTES];
        net_key(node->address.principal, n->nodes[i].address.principal, key);
        bool ok = datagram_add_peer(node->d, n->nodes[i].address, key) &&
                  datagram_add_peer(n->nodes[i].d, node->address, key);
        assert(ok);
    }
    n->node_count++;
    return node;
}

void net_free(struct net *n) {
    struct net_packet p;
    while (net_take(n, &p))
        free(p.data);
    free(n->heap);
    for (uint32_t i = 0; i < n->node_count; i++) {
        datagram_free(n->nodes[i].d);
        free(n->nodes[i].copy);
    }
}

static void arrive(struct net *n) {
    struct net_packet p;
    bool taken = net_take(n, &p);
    assert(taken && p.to.principal < n->node_count);
    struct net_node *node = &n->nodes[p.to.principal];
    if (!node->deaf)
        datagram_input(node->d, p.data, p.len, n->now_us);
    free(p.data);
}

void net_run(struct net *n, uint64_t limit_us) {
    for (;;) {
        uint64_t next = n->heap_len > 0 ? n->heap[0].at_us : UINT64_MAX;
        struct net_node *due = NULL;
        for (uint32_t i = 0; i < n->node_count; i++) {
            uint64_t deadline = datagram_next_deadline(n->nodes[i].d);
            if (deadline < next) {
                next = deadline;
                due = &n->nodes[i];
            }
        }
        if (next == UINT64_MAX || next > limit_us)
            break;
        if (next > n->now_us)
            n->now_us = next;
        if (due != NULL)
            datagram_timers(due->d, n->now_us);
        else
            arrive(n);
    }
    if (limit_us != UINT64_MAX && limit_us > n->now_us)
        n->now_us = limit_us;
}

uint64_t net_counter(const struct net_node *node, enum datagram_counter c) {
    uint64_t counters[DATAGRAM_COUNTER_COUNT];
    datagram_counters(node->d, counters);
    return counters[c];
}

size_t net_bytes_held(const struct net *n) {
    size_t total = 0;
    for (uint32_t i = 0; i < n->node_count; i++)
        total += datagram_bytes_held(n->nodes[i].d);
    return total;
}
