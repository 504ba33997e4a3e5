/* SPDX-License-Identifier: BSD-3-Clause */
/* The worker's loop: frames, timers, verdicts; and the memory it lives on. */
#include "shell.h"

#include <rte_cycles.h>
#include <rte_lcore.h>
#include <rte_malloc.h>
#include <stdio.h>
#include <string.h>

#define VERDICTS_PER_ROUND 64u

/* ---- deadlines ---- */

void timed_clear(struct worker *w, struct timed *t) {
    if (t->list == LIST_NONE)
        return;
    TAILQ_REMOVE(&w->lists[t->list], t, link);
    t->list = LIST_NONE;
}

void timed_set(struct worker *w, struct timed *t, enum worker_list list) {
    timed_clear(w, t);
    t->list = (uint8_t)list;
    t->deadline_us = w->l.now_us + w->timeout_us[list];
    TAILQ_INSERT_TAIL(&w->lists[list], t, link);
}

static void expire(struct worker *w, struct timed *t) {
    enum worker_list list = (enum worker_list)t->list;
    timed_clear(w, t);
    switch (list) {
    case LIST_CLIENT_KEEPALIVE:
    case LIST_CLIENT_REQUEST:
        client_timeout((struct client *)(void *)t);
        break;
    case LIST_CLIENT_ABORT:
        tcp_abort(((struct client *)(void *)t)->conn);
        break;
    case LIST_UPSTREAM_CONNECT:
    case LIST_UPSTREAM_RESPONSE:
    case LIST_UPSTREAM_IDLE:
        upstream_timeout((struct upstream *)(void *)t);
        break;
    case LIST_REQUEST_WAITING:
        upstream_waiting_timeout((struct request *)(void *)t);
        break;
    case LIST_NONE:
    case LIST_COUNT:
        break;
    }
}

static void run_deadlines(struct worker *w) {
    for (uint32_t i = LIST_NONE + 1; i < LIST_COUNT; i++) {
        struct timed *t;
        while ((t = TAILQ_FIRST(&w->lists[i])) != NULL && t->deadline_us <= w->l.now_us)
            expire(w, t);
    }
    int probe = sketcher_probe_due(w->core, w->l.now_us);
    if (probe >= 0)
        upstream_probe(w, (uint32_t)probe);
}

/* ---- blocks ---- */

uint8_t *block_get(struct worker *w) {
    void *block;
    return rte_mempool_get(w->blocks, &block) == 0 ? block : NULL;
}

void block_put(struct worker *w, uint8_t *block) {
    rte_mempool_put(w->blocks, block);
}

/* ---- the loop ---- */

static uint32_t take_verdicts(struct worker *w) {
    uint32_t handled = 0;
    for (uint32_t i = 0; i < w->l.app->cfg.slow_paths; i++) {
        void *burst[VERDICTS_PER_ROUND];
        unsigned int n =
            rte_ring_sc_dequeue_burst(w->from_slow[i], burst, VERDICTS_PER_ROUND, NULL);
        for (unsigned int k = 0; k < n; k++)
            request_verdict(burst[k]);
        handled += n;
    }
    return handled;
}

static void publish(struct worker *w) {
    uint64_t core[SKETCHER_COUNTER_COUNT];
    lcore_publish(&w->l);
    sketcher_worker_counters(w->core, core);
    shell_publish(w->published_core, core, SKETCHER_COUNTER_COUNT);
    __atomic_store_n(&w->published_requests, w->requests_in_use, __ATOMIC_RELAXED);
    __atomic_store_n(&w->published_clients, w->clients_in_use, __ATOMIC_RELAXED);
}

int worker_main(void *arg) {
    struct worker *w = arg;
    struct lcore *l = &w->l;
    uint64_t began = rte_rdtsc();
    l->now_us = shell_now_us();
    if (l->index == 0)
        tcp_announce(l->stack, l->now_us);
    upstream_warm(w);
    while (!atomic_load_explicit(&l->app->stop, memory_order_relaxed)) {
        uint32_t handled = lcore_poll(l) + take_verdicts(w);
        run_deadlines(w);
        lcore_flush(l);
        if (l->now_us >= l->next_publish_us)
            publish(w);
        began = lcore_round_end(l, handled > 0, began);
    }
    publish(w);
    return 0;
}

/* ---- set-up ---- */

static struct rte_mempool *pool_make(const char *what, uint32_t index, uint32_t n, size_t bytes) {
    char name[RTE_MEMPOOL_NAMESIZE];
    snprintf(name, sizeof name, "%s%u", what, index);
    // Single producer and consumer: only the worker itself takes and gives.
    struct rte_mempool *pool =
        rte_mempool_create(name, n, (unsigned int)bytes, 0, 0, NULL, NULL, NULL, NULL,
                           SOCKET_ID_ANY, RTE_MEMPOOL_F_SP_PUT | RTE_MEMPOOL_F_SC_GET);
    if (pool == NULL)
        fprintf(stderr,
                "prophecy-sketcher: no memory for %u %s of %zu bytes; give the EAL more (-m "
                "MEGABYTES) or lower the limit\n",
                n, what, bytes);
    return pool;
}

static void set_timeouts(struct worker *w) {
    const struct config *cfg = &w->l.app->cfg;
    w->timeout_us[LIST_CLIENT_KEEPALIVE] = cfg->keepalive_timeout_us;
    w->timeout_us[LIST_CLIENT_REQUEST] = cfg->request_timeout_us;
    w->timeout_us[LIST_UPSTREAM_CONNECT] = cfg->connect_timeout_us;
    w->timeout_us[LIST_UPSTREAM_RESPONSE] = cfg->response_timeout_us;
    w->timeout_us[LIST_UPSTREAM_IDLE] = cfg->upstream_idle_us;
    w->timeout_us[LIST_REQUEST_WAITING] = cfg->response_timeout_us;
    for (uint32_t i = 0; i < LIST_COUNT; i++)
        TAILQ_INIT(&w->lists[i]);
    for (uint32_t i = 0; i < SKETCHER_REPLICAS_MAX; i++) {
        TAILQ_INIT(&w->replica[i].idle);
        TAILQ_INIT(&w->replica[i].waiting);
    }
}

static bool make_pools(struct worker *w) {
    const struct config *cfg = &w->l.app->cfg;
    uint32_t i = w->l.index, upstreams = cfg->upstream_max * cfg->group.replicas;
    uint32_t blocks = cfg->requests_max / 8 + 64;
    w->clients = pool_make("clients", i, cfg->clients_max, sizeof(struct client));
    w->upstreams = pool_make("upstreams", i, upstreams, sizeof(struct upstream));
    w->requests = pool_make("requests", i, cfg->requests_max, sizeof(struct request));
    w->blocks = pool_make("heads", i, blocks, SHELL_BLOCK_BYTES);
    return w->clients != NULL && w->upstreams != NULL && w->requests != NULL && w->blocks != NULL;
}

static bool make_core(struct worker *w) {
    struct app *app = w->l.app;
    struct sketcher_worker_config c;
    sketcher_worker_config_default(&c);
    c.mode = app->cfg.mode;
    c.replicas = app->cfg.group.replicas;
    c.f = app->cfg.group.f;
    c.inject_transitions = app->cfg.inject_transitions;
    c.history = app->history;
    c.copy = w->l.index % app->cfg.history_copies;
    c.key_headers = &app->cfg.key_headers;
    c.policy = &app->cfg.policy;
    c.secret = app->secret;
    crypto_random(c.seed, sizeof c.seed);
    w->core = sketcher_worker_new(&c);
    w->digest = crypto_digest_new();
    w->scratch = rte_malloc(NULL, 2 * SHELL_BLOCK_BYTES, 64);
    return w->core != NULL && w->digest != NULL && w->scratch != NULL;
}

bool worker_init(struct worker *w, struct app *app, uint32_t index, unsigned int id) {
    const struct config *cfg = &app->cfg;
    struct tcp_limits limits;
    tcp_limits_default(&limits);
    limits.conns_max = cfg->clients_max + cfg->upstream_max * cfg->group.replicas;
    // Else one address could take every place that there is (design.md law 9).
    limits.conns_per_source_max =
        cfg->clients_per_source_max != 0 ? cfg->clients_per_source_max : (cfg->clients_max + 1) / 2;
    if (limits.send_queue_bytes < 2 * SHELL_BLOCK_BYTES)
        limits.send_queue_bytes = 2 * SHELL_BLOCK_BYTES;
    if (!lcore_init(&w->l, app, index, id, &limits, NULL))
        return false;
    set_timeouts(w);
    w->next_port = (uint16_t)(10240 - 10240 % cfg->workers + index);
    snprintf(w->vip_text, sizeof w->vip_text, "%u.%u.%u.%u", cfg->vip >> 24, cfg->vip >> 16 & 255,
             cfg->vip >> 8 & 255, cfg->vip & 255);
    struct tcp_listener listener = {
        .addr = cfg->vip,
        .port = cfg->vip_port,
        .on_accept = client_accept,
        .ctx = w,
    };
    return make_pools(w) && make_core(w) && tcp_stack_listen(w->l.stack, &listener) == 0;
}

void worker_fini(struct worker *w) {
    lcore_fini(&w->l); // ends the connections, and with them their requests
    if (w->core != NULL)
        sketcher_worker_free(w->core);
    crypto_digest_free(w->digest);
    rte_free(w->scratch);
    rte_mempool_free(w->clients);
    rte_mempool_free(w->upstreams);
    rte_mempool_free(w->requests);
    rte_mempool_free(w->blocks);
}
