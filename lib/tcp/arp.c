/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ARP (RFC 826) and the neighbour table. An entry is made only because we want to send to the
 * address, or because the address asks for one of ours; so nobody can fill or change the table by
 * answers that we did not ask for. Entries age: one that is used after NEIGHBOUR_FRESH_US is
 * verified by unicast requests (RFC 1122 2.3.2.1 (2)) while traffic goes on.
 */
#include "tcp/bytes.h"
#include "tcp/tcp_internal.h"
#include "wire/wire.h"

#include <stdlib.h>

#define ARP_BYTES 28u
#define ARP_REQUEST 1u
#define ARP_REPLY 2u
#define NEIGHBOURS_MAX 1024u
#define NEIGHBOUR_BUCKETS 1024u
#define NEIGHBOURS_INCOMPLETE_MAX 256u // unanswered questions at a time
#define NEIGHBOUR_QUEUE_MAX 8u         // frames that wait for one neighbour
#define NEIGHBOURS_QUEUED_MAX 512u     // ... and for all
#define NEIGHBOUR_TRIES 3u
#define NEIGHBOUR_RETRY_US 1000000u // one request per second (RFC 1122 2.3.2.1)
#define NEIGHBOUR_FRESH_US 30000000u

static const uint8_t broadcast_mac[TCP_MAC_BYTES] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
static const uint8_t no_mac[TCP_MAC_BYTES];

bool neighbours_init(struct tcp_stack *s) {
    s->neighbours = calloc(NEIGHBOURS_MAX, sizeof *s->neighbours);
    s->neighbour_buckets = malloc(NEIGHBOUR_BUCKETS * sizeof *s->neighbour_buckets);
    s->neighbour_free = NO_INDEX;
    if (s->neighbours == NULL || s->neighbour_buckets == NULL)
        return false;
    memset(s->neighbour_buckets, 0xff, NEIGHBOUR_BUCKETS * sizeof *s->neighbour_buckets);
    return true;
}

static void queue_free(struct tcp_stack *s, struct neighbour *n) {
    while (n->queue_head != NULL) {
        struct buf *b = n->queue_head;
        n->queue_head = b->next;
        buf_put(s->env.pool, b);
    }
    n->queue_tail = NULL;
    s->neighbour_queued -= n->queued;
    n->queued = 0;
}

void neighbours_free(struct tcp_stack *s) {
    for (uint32_t i = 0; s->neighbours != NULL && i < s->neighbour_used_ever; i++)
        queue_free(s, &s->neighbours[i]);
    free(s->neighbours);
    free(s->neighbour_buckets);
}

bool neighbour_usable(const struct neighbour *n) {
    return n->state >= NEIGHBOUR_REACHABLE;
}

static uint32_t *bucket_of(const struct tcp_stack *s, unsigned int ifindex, uint32_t addr) {
    uint64_t word = (uint64_t)ifindex << 32 | addr;
    return &s->neighbour_buckets[siphash(&s->table_key, &word, 1, 1, 3) % NEIGHBOUR_BUCKETS];
}

static uint32_t index_of(const struct tcp_stack *s, const struct neighbour *n) {
    return (uint32_t)(n - s->neighbours);
}

static struct neighbour *find(const struct tcp_stack *s, unsigned int ifindex, uint32_t addr) {
    uint32_t i = *bucket_of(s, ifindex, addr);
    while (i != NO_INDEX && (s->neighbours[i].addr != addr || s->neighbours[i].ifindex != ifindex))
        i = s->neighbours[i].hash_next;
    return i == NO_INDEX ? NULL : &s->neighbours[i];
}

/* Takes an entry out of the table; what waited for it is lost, and counted. */
static void forget(struct tcp_stack *s, struct neighbour *n) {
    uint32_t *link = bucket_of(s, n->ifindex, n->addr);
    while (*link != index_of(s, n))
        link = &s->neighbours[*link].hash_next;
    *link = n->hash_next;
    wheel_cancel(&s->wheel, &n->timer);
    s->counters[TCP_DROP_NO_ROUTE] += n->queued;
    queue_free(s, n);
    if (n->state == NEIGHBOUR_INCOMPLETE)
        s->neighbour_incomplete--;
    n->state = NEIGHBOUR_FREE;
    n->addr = 0;
    n->hash_next = s->neighbour_free;
    s->neighbour_free = index_of(s, n);
}

/* Second chance: an entry goes that was not used since the hand last passed it. */
static void recycle_one(struct tcp_stack *s) {
    for (uint32_t step = 0; step < 2 * NEIGHBOURS_MAX; step++) {
        struct neighbour *n = &s->neighbours[s->neighbour_hand];
        s->neighbour_hand = (s->neighbour_hand + 1) % NEIGHBOURS_MAX;
        if (n->state != NEIGHBOUR_REACHABLE && n->state != NEIGHBOUR_PROBE)
            continue;
        if (!n->used) {
            forget(s, n);
            return;
        }
        n->used = false;
    }
}

static struct neighbour *make(struct tcp_stack *s, unsigned int ifindex, uint32_t addr) {
    if (s->neighbour_free == NO_INDEX && s->neighbour_used_ever == NEIGHBOURS_MAX)
        recycle_one(s);
    uint32_t i = s->neighbour_free;
    if (i != NO_INDEX)
        s->neighbour_free = s->neighbours[i].hash_next;
    else if (s->neighbour_used_ever < NEIGHBOURS_MAX)
        i = s->neighbour_used_ever++;
    else
        return NULL;
    uint32_t *bucket = bucket_of(s, ifindex, addr);
    s->neighbours[i] =
        (struct neighbour){.addr = addr, .ifindex = (uint8_t)ifindex, .hash_next = *bucket};
    *bucket = i;
    return &s->neighbours[i];
}

static void send_arp(struct tcp_stack *s, unsigned int ifindex, uint16_t op,
                     const uint8_t ether_dst[TCP_MAC_BYTES], uint32_t sender_addr,
                     const uint8_t target_mac[TCP_MAC_BYTES], uint32_t target_addr) {
    uint8_t *frame;
    struct wire_writer w;
    const uint8_t *own_mac = s->ifaces[ifindex].cfg.mac;
    void *handle = s->env.frame_get(s->env.ctx, &frame);
    if (handle == NULL) {
        count(s, TCP_DROP_NO_FRAME);
        return;
    }
    ethernet_write_header(frame, ether_dst, own_mac, ETHERTYPE_ARP);
    wire_writer_init(&w, frame + ETHER_HEADER_BYTES, ARP_BYTES);
    wire_put_u16(&w, 1); // Ethernet
    wire_put_u16(&w, ETHERTYPE_IPV4);
    wire_put_u8(&w, TCP_MAC_BYTES);
    wire_put_u8(&w, 4);
    wire_put_u16(&w, op);
    wire_put_bytes(&w, own_mac, TCP_MAC_BYTES);
    wire_put_u32(&w, sender_addr);
    wire_put_bytes(&w, target_mac, TCP_MAC_BYTES);
    wire_put_u32(&w, target_addr);
    assert(!w.failed && w.len == ARP_BYTES);
    count(s, TCP_FRAMES_OUT);
    s->env.frame_send(s->env.ctx, handle, ifindex, ETHER_HEADER_BYTES + ARP_BYTES);
}

/* Asks: everybody for an unknown address, the neighbour itself for one that has only aged. */
static void ask(struct tcp_stack *s, struct neighbour *n) {
    bool verifying = n->state == NEIGHBOUR_PROBE;
    n->tries++;
    send_arp(s, n->ifindex, ARP_REQUEST, verifying ? n->mac : broadcast_mac,
             s->ifaces[n->ifindex].cfg.addr, verifying ? n->mac : no_mac, n->addr);
    wheel_set(&s->wheel, &n->timer, s->now_us + NEIGHBOUR_RETRY_US);
}

void neighbour_timer(struct tcp_stack *s, struct neighbour *n) {
    if (n->tries < NEIGHBOUR_TRIES)
        ask(s, n);
    else
        forget(s, n);
}

struct neighbour *neighbour_resolve(struct tcp_stack *s, unsigned int ifindex, uint32_t next_hop,
                                    uint32_t *hint) {
    struct neighbour *n = NULL;
    if (hint != NULL && *hint < s->neighbour_used_ever)
        n = &s->neighbours[*hint];
    if (n == NULL || n->addr != next_hop || n->ifindex != ifindex)
        n = find(s, ifindex, next_hop);
    if (n == NULL) {
        if (s->neighbour_incomplete < NEIGHBOURS_INCOMPLETE_MAX)
            n = make(s, ifindex, next_hop);
        if (n == NULL) {
            count(s, TCP_DROP_NEIGH_QUEUE);
            return NULL;
        }
        n->state = NEIGHBOUR_INCOMPLETE;
        s->neighbour_incomplete++;
        ask(s, n);
    } else if (n->state == NEIGHBOUR_REACHABLE &&
               s->now_us - n->confirmed_us > NEIGHBOUR_FRESH_US) {
        n->state = NEIGHBOUR_PROBE;
        n->tries = 0;
        ask(s, n);
    }
    n->used = true;
    if (hint != NULL)
        *hint = index_of(s, n);
    return n;
}

bool neighbour_has_room(const struct tcp_stack *s, const struct neighbour *n) {
    return n->queued < NEIGHBOUR_QUEUE_MAX && s->neighbour_queued < NEIGHBOURS_QUEUED_MAX;
}

void neighbour_park(struct tcp_stack *s, struct neighbour *n, struct buf *b) {
    if (n->queue_tail == NULL)
        n->queue_head = b;
    else
        n->queue_tail->next = b;
    n->queue_tail = b;
    n->queued++;
    s->neighbour_queued++;
}

static void send_parked(struct tcp_stack *s, struct neighbour *n) {
    for (struct buf *b = n->queue_head; b != NULL; b = b->next) {
        uint8_t *frame;
        void *handle = s->env.frame_get(s->env.ctx, &frame);
        if (handle == NULL) {
            count(s, TCP_DROP_NO_FRAME);
            continue;
        }
        memcpy(frame, b->data, b->len);
        memcpy(frame, n->mac, TCP_MAC_BYTES);
        count(s, TCP_FRAMES_OUT);
        s->env.frame_send(s->env.ctx, handle, n->ifindex, b->len);
    }
    queue_free(s, n);
}

static void confirm(struct tcp_stack *s, struct neighbour *n, const uint8_t mac[TCP_MAC_BYTES]) {
    if (n->state == NEIGHBOUR_PINNED)
        return;
    if (n->state == NEIGHBOUR_INCOMPLETE)
        s->neighbour_incomplete--;
    memcpy(n->mac, mac, TCP_MAC_BYTES);
    n->state = NEIGHBOUR_REACHABLE;
    n->confirmed_us = s->now_us;
    n->tries = 0;
    wheel_cancel(&s->wheel, &n->timer);
    send_parked(s, n);
}

static bool on_link(const struct tcp_stack *s, unsigned int ifindex, uint32_t addr) {
    const struct stack_interface *i = &s->ifaces[ifindex];
    return ((addr ^ i->cfg.addr) & i->mask) == 0;
}

struct arp_message {
    uint16_t op;
    const uint8_t *sender_mac;
    uint32_t sender, target;
};

static bool parse(const uint8_t *p, size_t len, struct arp_message *m) {
    struct wire_reader r;
    wire_reader_init(&r, p, len);
    bool ok = wire_get_u16(&r) == 1;
    ok &= wire_get_u16(&r) == ETHERTYPE_IPV4;
    ok &= wire_get_u8(&r) == TCP_MAC_BYTES;
    ok &= wire_get_u8(&r) == 4;
    m->op = wire_get_u16(&r);
    m->sender_mac = wire_get_view(&r, TCP_MAC_BYTES);
    m->sender = wire_get_u32(&r);
    wire_get_view(&r, TCP_MAC_BYTES);
    m->target = wire_get_u32(&r);
    if (!ok || r.failed || (m->op != ARP_REQUEST && m->op != ARP_REPLY))
        return false;
    // A group address is nobody's own.
    return (m->sender_mac[0] & 1) == 0 && memcmp(m->sender_mac, no_mac, TCP_MAC_BYTES) != 0;
}

static void handle_request(struct tcp_stack *s, unsigned int ifindex, const struct arp_message *m) {
    if (s->arp_responder)
        send_arp(s, ifindex, ARP_REPLY, m->sender_mac, m->target, m->sender_mac, m->sender);
    // A probe (RFC 5227 2.1.1) has no sender; one off the link is of no use to us.
    if (m->sender == 0 || !on_link(s, ifindex, m->sender) || !ip_is_unicast(m->sender))
        return;
    struct neighbour *n = find(s, ifindex, m->sender);
    if (n == NULL)
        n = make(s, ifindex, m->sender);
    if (n != NULL)
        confirm(s, n, m->sender_mac);
}

static void handle_reply(struct tcp_stack *s, unsigned int ifindex, const struct arp_message *m) {
    struct neighbour *n = find(s, ifindex, m->sender);
    if (n != NULL && (n->state == NEIGHBOUR_INCOMPLETE || n->state == NEIGHBOUR_PROBE))
        confirm(s, n, m->sender_mac);
}

void arp_input(struct tcp_stack *s, unsigned int ifindex, const uint8_t *p, size_t len) {
    struct arp_message m;
    count(s, TCP_ARP_IN);
    if (len < ARP_BYTES) {
        count(s, TCP_DROP_SHORT);
        return;
    }
    if (!parse(p, len, &m)) {
        count(s, TCP_DROP_ARP);
        return;
    }
    if (iface_owns(s, ifindex, m.sender)) // somebody claims to be us
        count(s, TCP_DROP_SOURCE_SPOOFED);
    else if (!iface_owns(s, ifindex, m.target))
        count(s, TCP_DROP_NOT_FOR_US);
    else if (m.op == ARP_REQUEST)
        handle_request(s, ifindex, &m);
    else
        handle_reply(s, ifindex, &m);
}

void tcp_announce(struct tcp_stack *s, uint64_t now_us) {
    stack_set_now(s, now_us);
    for (unsigned int i = 0; i < s->iface_count; i++) {
        const struct tcp_interface *cfg = &s->ifaces[i].cfg;
        send_arp(s, i, ARP_REQUEST, broadcast_mac, cfg->addr, no_mac, cfg->addr);
        for (unsigned int e = 0; e < EXTRA_ADDRS; e++)
            if (cfg->extra_addrs[e] != 0)
                send_arp(s, i, ARP_REQUEST, broadcast_mac, cfg->extra_addrs[e], no_mac,
                         cfg->extra_addrs[e]);
    }
}

bool tcp_stack_pin_neighbour(struct tcp_stack *s, unsigned int ifindex, uint32_t addr,
                             const uint8_t mac[TCP_MAC_BYTES]) {
    struct neighbour *n = find(s, ifindex, addr);
    if (n == NULL)
        n = make(s, ifindex, addr);
    if (n == NULL)
        return false;
    confirm(s, n, mac);
    memcpy(n->mac, mac, TCP_MAC_BYTES);
    n->state = NEIGHBOUR_PINNED;
    return true;
}

void tcp_stack_set_arp_responder(struct tcp_stack *s, bool on) {
    s->arp_responder = on;
}
