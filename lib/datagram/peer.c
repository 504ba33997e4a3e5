/* SPDX-License-Identifier: BSD-3-Clause */
/* The peers: a small open-addressed table, and the directed keys. */
#include "datagram/internal.h"

#include <stdlib.h>

static bool address_equal(struct datagram_address a, struct datagram_address b) {
    return a.principal == b.principal && a.endpoint == b.endpoint;
}

// Addresses are configured, not chosen by an adversary: a multiplicative hash is enough.
static uint32_t bucket_of(struct datagram_address a) {
    uint32_t v = (uint32_t)a.principal << 16 | a.endpoint;
    return (v * 0x9e3779b1u) >> 24;
}
static_assert(PEER_BUCKETS == 256, "bucket_of gives eight bits");

struct peer *peer_find(const struct datagram *d, struct datagram_address address) {
    for (uint32_t b = bucket_of(address); d->buckets[b] != 0; b = (b + 1) % PEER_BUCKETS) {
        struct peer *p = d->peers[d->buckets[b] - 1];
        if (address_equal(p->address, address))
            return p;
    }
    return NULL;
}

/* A key for each direction: a datagram sent back to its sender is under the wrong one. */
static struct crypto_mac *directed_mac(const uint8_t key[CRYPTO_KEY_BYTES],
                                       struct datagram_address from, struct datagram_address to) {
    uint8_t context[8], directed[CRYPTO_KEY_BYTES];
    struct wire_writer w;
    wire_writer_init(&w, context, sizeof context);
    wire_put_u16(&w, from.principal);
    wire_put_u16(&w, from.endpoint);
    wire_put_u16(&w, to.principal);
    wire_put_u16(&w, to.endpoint);
    assert(!w.failed && w.len == sizeof context);
    crypto_kdf(key, "datagram", context, sizeof context, directed);
    struct crypto_mac *mac = crypto_mac_new(directed);
    crypto_wipe(directed, sizeof directed);
    return mac;
}

static void peer_insert(struct datagram *d, struct peer *p) {
    uint32_t b = bucket_of(p->address);
    while (d->buckets[b] != 0)
        b = (b + 1) % PEER_BUCKETS;
    d->peers[d->peer_count++] = p;
    d->buckets[b] = (uint8_t)d->peer_count;
}
static_assert(DATAGRAM_PEERS_MAX <= UINT8_MAX, "a bucket holds an index plus 1");

bool peer_add(struct datagram *d, struct datagram_address address,
              const uint8_t key[CRYPTO_KEY_BYTES]) {
    // With ourselves both directions would have one key.
    if (d->peer_count == DATAGRAM_PEERS_MAX || address_equal(address, d->cfg.self) ||
        peer_find(d, address) != NULL)
        return false;
    struct peer *p = calloc(1, sizeof *p);
    if (p == NULL)
        return false;
    p->address = address;
    p->send_next_id = p->send_oldest_id = 1;
    p->mac_out = directed_mac(key, d->cfg.self, address);
    p->mac_in = directed_mac(key, address, d->cfg.self);
    if (p->mac_out == NULL || p->mac_in == NULL) {
        peer_free(p);
        return false;
    }
    peer_insert(d, p);
    return true;
}

void peer_free(struct peer *p) {
    crypto_mac_free(p->mac_out);
    crypto_mac_free(p->mac_in);
    free(p);
}
