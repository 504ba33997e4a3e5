/* SPDX-License-Identifier: BSD-3-Clause */
#include "shell.h"

#include <rte_cycles.h>
#include <rte_pause.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

// A pointer in a frame ring carries in its lowest bit where the frame goes.
#define RING_TRANSMIT 1u
#define PUBLISH_US 2000u

const char *const shell_counter_names[SHELL_COUNTER_COUNT] = {
#define SHELL_COUNTER_NAME(id, name) name,
    SHELL_COUNTERS(SHELL_COUNTER_NAME)
#undef SHELL_COUNTER_NAME
};

uint64_t shell_now_us(void) {
    static uint64_t cycles_per_us; // the same for all lcores, from the first call at start-up
    if (unlikely(cycles_per_us == 0))
        cycles_per_us = (rte_get_tsc_hz() + 500000) / 1000000;
    return rte_rdtsc() / cycles_per_us;
}

void shell_publish(uint64_t *to, const uint64_t *from, size_t n) {
    for (size_t i = 0; i < n; i++)
        __atomic_store_n(&to[i], from[i], __ATOMIC_RELAXED);
}

/* ---- output ---- */

static void tx_vector_flush(struct lcore *l, uint32_t port) {
    struct frame_vector *v = &l->tx[port];
    if (v->count == 0)
        return;
    uint16_t sent = rte_eth_tx_burst(l->app->ports[port].id, (uint16_t)l->index, v->m, v->count);
    count_add(l, SHELL_TX, sent);
    if (unlikely(sent < v->count)) {
        count_add(l, SHELL_DROP_TX, (uint64_t)(v->count - sent));
        rte_pktmbuf_free_bulk(v->m + sent, (unsigned int)(v->count - sent));
    }
    v->count = 0;
}

static void tx_frame(struct lcore *l, uint32_t port, struct rte_mbuf *m) {
    struct frame_vector *v = &l->tx[port];
    v->m[v->count++] = m;
    if (v->count == SHELL_BURST)
        tx_vector_flush(l, port);
}

static bool ring_put(struct lcore *l, uint32_t to, struct rte_mbuf *m, uintptr_t tag) {
    void *tagged = (void *)((uintptr_t)m | tag);
    if (likely(rte_ring_sp_enqueue(l->out[to], tagged) == 0))
        return true;
    count(l, SHELL_DROP_RING);
    rte_pktmbuf_free(m);
    return false;
}

static void *frame_get(void *ctx, uint8_t **data) {
    struct lcore *l = ctx;
    struct rte_mbuf *m = rte_pktmbuf_alloc(l->frames);
    if (unlikely(m == NULL))
        return NULL;
    *data = rte_pktmbuf_mtod(m, uint8_t *);
    return m;
}

static void frame_send(void *ctx, void *frame, unsigned int ifindex, uint16_t len) {
    struct lcore *l = ctx;
    struct rte_mbuf *m = frame;
    const struct app_port *p = &l->app->ports[ifindex];
    m->data_len = len;
    m->pkt_len = len;
    m->port = (uint16_t)ifindex;
    if (l->index < p->queues) {
        tx_frame(l, ifindex, m);
        return;
    }
    if (ring_put(l, l->index % p->queues, m, RING_TRANSMIT))
        count(l, SHELL_TX_HANDED_OVER);
}

/* ---- input ---- */

/*
 * Who owns a frame (design.md §6): client flows by a hash of the tuple computed here, upstream
 * flows by the source port that names the worker, agreement datagrams by the endpoint's port.
 */
static uint32_t owner_of(const struct lcore *l, enum tcp_class class, const struct tcp_tuple *t) {
    const struct config *cfg = &l->app->cfg;
    if (class == TCP_CLASS_TCP) {
        if (t->dst_port == cfg->vip_port && t->dst == cfg->vip)
            return tcp_tuple_hash(t) % cfg->workers;
        return t->dst_port % cfg->workers;
    }
    if (class == TCP_CLASS_UDP) {
        uint32_t endpoint = (uint32_t)t->dst_port - cfg->group.client_agreement[cfg->client].port;
        if (endpoint < cfg->slow_paths)
            return cfg->workers + endpoint;
    }
    return l->index;
}

/* Every lcore has its own neighbour table: each sees each ARP frame, and the first worker answers.
 */
static void spread_arp(struct lcore *l, struct rte_mbuf *m) {
    for (uint32_t i = 0; i < l->app->lcores; i++) {
        if (i == l->index)
            continue;
        struct rte_mbuf *copy = rte_pktmbuf_copy(m, l->frames, 0, UINT32_MAX);
        if (copy == NULL) {
            count(l, SHELL_DROP_RING);
            continue;
        }
        copy->port = m->port;
        ring_put(l, i, copy, 0);
    }
}

static void stack_input(struct lcore *l, struct rte_mbuf *m) {
    tcp_stack_input(l->stack, m->port, rte_pktmbuf_mtod(m, const uint8_t *),
                    rte_pktmbuf_data_len(m), l->now_us);
    rte_pktmbuf_free(m);
}

static void receive(struct lcore *l, struct rte_mbuf *m, uint32_t port) {
    struct tcp_tuple tuple;
    m->port = (uint16_t)port;
    if (unlikely(m->nb_segs > 1)) {
        count(l, SHELL_DROP_SEGMENTS);
        rte_pktmbuf_free(m);
        return;
    }
    enum tcp_class class =
        tcp_classify(rte_pktmbuf_mtod(m, const uint8_t *), rte_pktmbuf_data_len(m), &tuple);
    if (unlikely(class == TCP_CLASS_ARP))
        spread_arp(l, m);
    uint32_t owner = owner_of(l, class, &tuple);
    if (likely(owner == l->index)) {
        stack_input(l, m);
        return;
    }
    if (ring_put(l, owner, m, 0))
        count(l, SHELL_HANDED_OVER);
}

static uint32_t poll_ports(struct lcore *l) {
    struct rte_mbuf *burst[SHELL_BURST];
    uint32_t handled = 0;
    for (uint32_t p = 0; p < l->app->cfg.port_count; p++) {
        if (l->index >= l->app->ports[p].queues)
            continue;
        uint16_t n = rte_eth_rx_burst(l->app->ports[p].id, (uint16_t)l->index, burst, SHELL_BURST);
        for (uint16_t i = 0; i < n; i++) {
            if (i + 1 < n)
                rte_prefetch0(rte_pktmbuf_mtod(burst[i + 1], void *));
            receive(l, burst[i], p);
        }
        count_add(l, SHELL_RX, n);
        handled += n;
    }
    return handled;
}

static uint32_t poll_rings(struct lcore *l) {
    uint32_t handled = 0;
    for (uint32_t i = 0; i < l->app->lcores; i++) {
        void *burst[SHELL_BURST];
        if (l->in[i] == NULL)
            continue;
        unsigned int n = rte_ring_sc_dequeue_burst(l->in[i], burst, SHELL_BURST, NULL);
        for (unsigned int k = 0; k < n; k++) {
            struct rte_mbuf *m =
                (struct rte_mbuf *)((uintptr_t)burst[k] & ~(uintptr_t)RING_TRANSMIT);
            if ((uintptr_t)burst[k] & RING_TRANSMIT)
                tx_frame(l, m->port, m);
            else
                stack_input(l, m);
        }
        handled += n;
    }
    return handled;
}

uint32_t lcore_poll(struct lcore *l) {
    l->now_us = shell_now_us();
    return poll_ports(l) + poll_rings(l);
}

void lcore_flush(struct lcore *l) {
    tcp_stack_timers(l->stack, l->now_us);
    tcp_stack_flush(l->stack, l->now_us);
    for (uint32_t p = 0; p < l->app->cfg.port_count; p++)
        tx_vector_flush(l, p);
}

/*
 * Two CPUs must be enough for everything, so an idle lcore gives its CPU away soon: a few dozen
 * empty polls, then short sleeps that grow to half a millisecond in the course of half a second.
 */
static void idle(struct lcore *l, bool busy) {
    if (busy) {
        l->idle_polls = 0;
        return;
    }
    l->idle_polls++;
    if (l->app->cfg.spin || l->idle_polls < 32) {
        rte_pause();
        return;
    }
    if (l->idle_polls < 40) {
        sched_yield();
        return;
    }
    uint32_t slept = l->idle_polls - 40;
    struct timespec pause = {.tv_nsec = slept < 128    ? 20000
                                        : slept < 1024 ? 50000
                                        : slept < 3072 ? 200000
                                                       : 500000};
    count(l, SHELL_SLEEPS);
    nanosleep(&pause, NULL);
}

uint64_t lcore_round_end(struct lcore *l, bool busy, uint64_t began) {
    if (busy)
        count_add(l, SHELL_BUSY_CYCLES, rte_rdtsc() - began);
    idle(l, busy);
    uint64_t now = rte_rdtsc();
    count_add(l, SHELL_ALL_CYCLES, now - began);
    return now;
}

void lcore_publish(struct lcore *l) {
    uint64_t tcp[TCP_COUNTER_COUNT];
    tcp_stack_counters(l->stack, tcp);
    shell_publish(l->published_tcp, tcp, TCP_COUNTER_COUNT);
    __atomic_store_n(&l->published_conns, tcp_stack_conns(l->stack), __ATOMIC_RELAXED);
    __atomic_store_n(&l->published_time_waits, tcp_stack_time_waits(l->stack), __ATOMIC_RELAXED);
    l->chunks_left = rte_mempool_avail_count(l->app->chunks);
    l->next_publish_us = l->now_us + PUBLISH_US;
}

/* ---- set-up ---- */

static struct buf *chunk_get(struct buf_pool *pool) {
    void *chunk;
    return rte_mempool_get(pool->ctx, &chunk) == 0 ? chunk : NULL;
}

static void chunk_put(struct buf_pool *pool, struct buf *b) {
    rte_mempool_put(pool->ctx, b);
}

static bool add_interfaces(struct lcore *l) {
    const struct config *cfg = &l->app->cfg;
    for (uint32_t p = 0; p < cfg->port_count; p++) {
        struct tcp_interface iface = {
            .addr = cfg->ports[p].addr,
            .prefix_len = cfg->ports[p].prefix_len,
            .gateway = cfg->ports[p].gateway,
            .mtu_bytes = 1500,
        };
        memcpy(iface.mac, l->app->ports[p].mac, TCP_MAC_BYTES);
        if (p == 0 && cfg->vip != iface.addr)
            iface.extra_addrs[0] = cfg->vip;
        if (tcp_stack_add_interface(l->stack, &iface) != (int)p)
            return false;
    }
    // What comes in on the clients' side with a replica's address is forged (design.md §2).
    if (cfg->port_count > 1)
        for (uint32_t i = 0; i < cfg->group.replicas; i++)
            if (!tcp_stack_pin_source(l->stack, cfg->group.replica_http[i].addr,
                                      app_replica_side(l->app)) ||
                !tcp_stack_pin_source(l->stack, cfg->group.replica_agreement[i].addr,
                                      app_replica_side(l->app)))
                return false;
    return true;
}

bool lcore_init(struct lcore *l, struct app *app, uint32_t index, unsigned int id,
                const struct tcp_limits *limits,
                void (*udp_input)(void *ctx, unsigned int ifindex, uint32_t src, uint16_t src_port,
                                  uint32_t dst, uint16_t dst_port, const uint8_t *payload,
                                  size_t len)) {
    uint8_t secret[16];
    l->app = app;
    l->index = index;
    l->id = id;
    l->frames = app->frames;
    l->chunks_left = app->cfg.buffers;
    l->pool = (struct buf_pool){.get = chunk_get, .put = chunk_put, .ctx = app->chunks};
    struct tcp_env env = {
        .ctx = l,
        .pool = &l->pool,
        .frame_get = frame_get,
        .frame_send = frame_send,
        .udp_input = udp_input,
    };
    crypto_random(secret, sizeof secret);
    l->stack = tcp_stack_new(&env, limits, secret);
    l->evidence = sketcher_evidence_new();
    l->now_us = shell_now_us();
    if (l->stack == NULL || l->evidence == NULL || !add_interfaces(l)) {
        fprintf(stderr, "prophecy-sketcher: lcore %u: no memory for %u connections\n", id,
                limits->conns_max);
        return false;
    }
    tcp_stack_set_arp_responder(l->stack, index == 0);
    return true;
}

void lcore_fini(struct lcore *l) {
    if (l->stack != NULL)
        tcp_stack_free(l->stack);
    for (uint32_t p = 0; p < CONFIG_PORTS_MAX; p++)
        rte_pktmbuf_free_bulk(l->tx[p].m, l->tx[p].count);
    sketcher_evidence_free(l->evidence);
}
