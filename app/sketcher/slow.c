/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A slow-path lcore: tickets from workers, the agreement client over datagrams built here, verdicts
 * back. It is the only writer of its partition of the history table.
 */
#include "shell.h"

#include <rte_cycles.h>
#include <rte_malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TICKETS_PER_ROUND 32u

static struct slow *slow_of(void *ctx) {
    return ctx;
}

static struct request *request_of(const struct sketcher_ticket *t) {
    return (struct request *)(uintptr_t)t->cookie;
}

/* ---- the life cycle's side ---- */

/* Puts the operation in one piece and starts it. The op stays with its request when it is small:
 * the record of a suspicion names the target. */
static bool submit(void *ctx, uint32_t operation, const struct sketcher_ticket *first) {
    struct slow *s = slow_of(ctx);
    struct request *r = request_of(first);
    uint32_t flags = first->kind == SKETCHER_ORDERED_WRITE    ? 0
                     : first->kind == SKETCHER_UNORDERED_READ ? BFT_READ | BFT_UNORDERED
                                                              : BFT_READ;
    if (bft_client_free_sessions(s->bft) == 0)
        return false;
    size_t len = buf_chain_copy(&r->op, 0, s->scratch, s->scratch_bytes);
    assert(len == r->op.len); // the limits of requests were checked by the worker
    if (!bft_client_submit(s->bft, operation, flags, s->scratch, len, s->l.now_us))
        return false;
    if (r->op.count > 1)
        buf_chain_free(&r->op, &s->l.pool);
    return true;
}

/*
 * What a result counts for against results-max-bytes. A small one is copied into its clients'
 * queues and given back at once; a large one is sent in place and stays for as long as its slowest
 * reader takes.
 */
static size_t result_weight(size_t len) {
    return len > SHELL_COPY_MAX_BYTES ? len : 0;
}

/* One copy of an agreed result serves all who waited for it. NULL: there is no room for it. */
static struct result *result_share(struct slow *s, const struct sketcher_verdict *v) {
    if (s->shared == NULL) {
        size_t weight = result_weight(v->result_len), taken = s->results_bytes;
        struct result *result = NULL;
        if (weight == 0 || weight <= s->l.app->cfg.results_max_bytes - taken)
            result = malloc(sizeof *result + v->result_len);
        if (result == NULL) {
            count(&s->l, SHELL_DROP_RESULTS);
            return NULL;
        }
        s->results_bytes += weight;
        atomic_init(&result->users, 1); // the completion itself, until all are released
        result->len = v->result_len;
        memcpy(result->data, v->result, v->result_len);
        TAILQ_INSERT_TAIL(&s->results, result, link);
        s->results_out++;
        s->shared = result;
    }
    atomic_fetch_add_explicit(&s->shared->users, 1, memory_order_relaxed);
    return s->shared;
}

static void release(void *ctx, const struct sketcher_ticket *t, const struct sketcher_verdict *v) {
    struct slow *s = slow_of(ctx);
    struct request *r = request_of(t);
    r->verdict = *v;
    r->result = NULL;
    if (v->result != NULL && (r->result = result_share(s, v)) == NULL)
        r->verdict = (struct sketcher_verdict){.outcome = SKETCHER_OUT_BUSY};
    r->verdict.result = NULL; // it lies in r->result now
    // Sized for every request in progress, so it cannot be full.
    int full = rte_ring_sp_enqueue(s->to_worker[r->w->l.index], r);
    assert(full == 0);
    (void)full;
}

static void reap_results(struct slow *s) {
    struct result *result = TAILQ_FIRST(&s->results);
    while (result != NULL) {
        struct result *next = TAILQ_NEXT(result, link);
        if (atomic_load_explicit(&result->users, memory_order_acquire) == 0) {
            TAILQ_REMOVE(&s->results, result, link);
            s->results_out--;
            s->results_bytes -= result_weight(result->len);
            free(result);
        }
        result = next;
    }
}

/* ---- agreement's side ---- */

static void evidence_disagreement(struct slow *s, const struct bft_completion *c) {
    struct sketcher_evidence e = {
        .kind = SKETCHER_EVIDENCE_NO_AGREEMENT,
        .unix_s = time(NULL),
        .replica = c->differing_replica[0],
        .replica_2 = c->differing_replica[1],
    };
    struct sketch_view v[2];
    for (int i = 0; i < 2; i++) {
        if (c->differing[i] == NULL)
            return;
        e.length[i] = c->differing_len[i];
        crypto_digest_once(s->digest, c->differing[i], c->differing_len[i], e.digest[i]);
    }
    if (sketch_canonical_parse(c->differing[0], c->differing_len[0], &v[0]) &&
        sketch_canonical_parse(c->differing[1], c->differing_len[1], &v[1]))
        sketch_difference(&v[0], &v[1], e.difference, sizeof e.difference);
    else
        snprintf(e.difference, sizeof e.difference, "not a canonical response");
    sketcher_evidence_add(s->l.evidence, &e);
}

static void complete(void *ctx, const struct bft_completion *c) {
    struct slow *s = slow_of(ctx);
    if (c->outcome == BFT_DISAGREED)
        evidence_disagreement(s, c);
    sketcher_slow_completed(s->core, (uint32_t)c->cookie, c, s->l.now_us);
    if (s->shared != NULL) {
        result_release(s->shared);
        s->shared = NULL;
    }
}

static void send_one(void *ctx, uint16_t replica, const uint8_t *message, size_t len) {
    struct slow *s = slow_of(ctx);
    datagram_send(s->datagram, (struct datagram_address){.principal = replica}, message, len,
                  s->l.now_us);
}

static void send_all(void *ctx, const uint8_t *message, size_t len) {
    struct slow *s = slow_of(ctx);
    struct datagram_address to[BFT_REPLICAS_MAX];
    uint32_t n = s->l.app->cfg.group.replicas;
    for (uint32_t i = 0; i < n; i++)
        to[i] = (struct datagram_address){.principal = (uint16_t)i};
    datagram_send_many(s->datagram, to, n, message, len, s->l.now_us);
}

/* ---- the datagrams' side ---- */

static uint16_t endpoint_port(const struct slow *s) {
    const struct config *cfg = &s->l.app->cfg;
    return (uint16_t)(cfg->group.client_agreement[cfg->client].port + s->slow_index);
}

static void emit(void *ctx, struct datagram_address to, const uint8_t *data, size_t len) {
    struct slow *s = slow_of(ctx);
    const struct config *cfg = &s->l.app->cfg;
    const struct group_endpoint *at = &cfg->group.replica_agreement[to.principal];
    tcp_udp_send(s->l.stack, cfg->group.client_agreement[cfg->client].addr, endpoint_port(s),
                 at->addr, at->port, data, len, s->l.now_us); // a loss is counted by the stack
}

static void deliver(void *ctx, struct datagram_address from, const uint8_t *message, size_t len) {
    struct slow *s = slow_of(ctx);
    bft_client_input(s->bft, from.principal, message, len, s->l.now_us);
}

static void udp_input(void *ctx, unsigned int ifindex, uint32_t src, uint16_t src_port,
                      uint32_t dst, uint16_t dst_port, const uint8_t *payload, size_t len) {
    struct slow *s = slow_of(ctx);
    (void)ifindex;
    (void)src; // who it is from is for its MAC to say
    (void)src_port;
    (void)dst;
    if (dst_port != endpoint_port(s)) {
        count(&s->l, SHELL_DROP_UDP_PORT);
        return;
    }
    datagram_input(s->datagram, payload, len, s->l.now_us);
}

/* ---- the loop ---- */

static uint32_t take_tickets(struct slow *s) {
    uint32_t handled = 0;
    for (uint32_t i = 0; i < s->l.app->cfg.workers; i++) {
        void *burst[TICKETS_PER_ROUND];
        unsigned int n =
            rte_ring_sc_dequeue_burst(s->from_worker[i], burst, TICKETS_PER_ROUND, NULL);
        for (unsigned int k = 0; k < n; k++) {
            struct request *r = burst[k];
            sketcher_slow_handover(s->core, &r->ticket, s->l.now_us);
        }
        handled += n;
    }
    return handled;
}

static void publish(struct slow *s) {
    uint64_t core[SKETCHER_SLOW_COUNTER_COUNT], bft[BFT_CLIENT_COUNTER_COUNT];
    uint64_t datagram[DATAGRAM_COUNTER_COUNT];
    lcore_publish(&s->l);
    sketcher_slow_counters(s->core, core);
    bft_client_counters(s->bft, bft);
    datagram_counters(s->datagram, datagram);
    shell_publish(s->published_core, core, SKETCHER_SLOW_COUNTER_COUNT);
    shell_publish(s->published_bft, bft, BFT_CLIENT_COUNTER_COUNT);
    shell_publish(s->published_datagram, datagram, DATAGRAM_COUNTER_COUNT);
    for (uint32_t i = 0; i < s->l.app->cfg.group.replicas; i++)
        __atomic_store_n(&s->published_wrong[i], bft_client_wrong_replies(s->bft, (uint16_t)i),
                         __ATOMIC_RELAXED);
    __atomic_store_n(&s->published_operations, sketcher_slow_operations(s->core), __ATOMIC_RELAXED);
    __atomic_store_n(&s->published_results, s->results_out, __ATOMIC_RELAXED);
}

int slow_main(void *arg) {
    struct slow *s = arg;
    struct lcore *l = &s->l;
    uint64_t began = rte_rdtsc();
    while (!atomic_load_explicit(&l->app->stop, memory_order_relaxed)) {
        uint32_t handled = lcore_poll(l) + take_tickets(s);
        bft_client_timers(s->bft, l->now_us);
        datagram_timers(s->datagram, l->now_us);
        sketcher_slow_kick(s->core, l->now_us);
        lcore_flush(l);
        if (l->now_us >= l->next_publish_us) {
            reap_results(s);
            publish(s);
        }
        began = lcore_round_end(l, handled > 0, began);
    }
    publish(s);
    return 0;
}

/* ---- set-up ---- */

static bool make_bft(struct slow *s) {
    const struct config *cfg = &s->l.app->cfg;
    struct bft_client_config c;
    struct bft_client_env env = {
        .ctx = s,
        .send = send_one,
        .broadcast = send_all,
        .complete = complete,
    };
    bft_client_config_default(&c);
    c.group = (struct bft_group){
        .n = cfg->group.replicas,
        .f = cfg->group.f,
        .incarnation = cfg->group.incarnation,
        .read_optimisation = cfg->group.read_optimisation,
        .unordered_writes = cfg->group.unordered_writes,
        .request_max_bytes = group_operation_max_bytes(&cfg->group),
        .result_max_bytes = group_result_max_bytes(&cfg->group),
    };
    c.principal = (uint16_t)(cfg->group.replicas + cfg->client);
    c.endpoint = (uint16_t)s->slow_index;
    crypto_random(&c.epoch, sizeof c.epoch);
    crypto_random(&c.seed, sizeof c.seed);
    c.sessions = cfg->agreement_sessions;
    c.timeout_us = cfg->agreement_timeout_us;
    c.retry_us = 200000; // a busy group is not a lossy one
    s->bft = bft_client_new(&c, &env, cfg->keys.key);
    return s->bft != NULL;
}

static bool make_datagram(struct slow *s) {
    const struct config *cfg = &s->l.app->cfg;
    struct datagram_config c;
    struct datagram_env env = {.ctx = s, .emit = emit, .deliver = deliver};
    datagram_config_default(&c);
    c.self = (struct datagram_address){
        .principal = (uint16_t)(cfg->group.replicas + cfg->client),
        .endpoint = (uint16_t)s->slow_index,
    };
    c.epoch = s->l.app->epoch;
    size_t op = group_operation_max_bytes(&cfg->group);
    size_t result = group_result_max_bytes(&cfg->group);
    c.message_max_bytes = (op > result ? op : result) + SHELL_BLOCK_BYTES;
    s->datagram = datagram_new(&c, &env);
    if (s->datagram == NULL)
        return false;
    for (uint32_t i = 0; i < cfg->group.replicas; i++)
        if (!datagram_add_peer(s->datagram, (struct datagram_address){.principal = (uint16_t)i},
                               cfg->keys.key[i]))
            return false;
    return true;
}

static bool make_core(struct slow *s) {
    const struct config *cfg = &s->l.app->cfg;
    struct sketcher_slow_config c;
    struct sketcher_slow_env env = {.ctx = s, .submit = submit, .release = release};
    sketcher_slow_config_default(&c);
    c.mode = cfg->mode;
    c.history = s->l.app->history;
    c.partition = s->slow_index;
    c.secret = s->l.app->secret;
    c.operations_max = c.waiters_max = cfg->requests_max * cfg->workers;
    c.per_source_max = cfg->per_source_max;
    c.queue_timeout_us = cfg->agreement_timeout_us;
    c.join = cfg->join;
    s->core = sketcher_slow_new(&c, &env);
    return s->core != NULL;
}

bool slow_init(struct slow *s, struct app *app, uint32_t slow_index, unsigned int id) {
    struct tcp_limits limits;
    tcp_limits_default(&limits);
    limits.conns_max = limits.half_open_max = limits.time_wait_max = 1; // UDP only
    s->slow_index = slow_index;
    TAILQ_INIT(&s->results);
    if (!lcore_init(&s->l, app, app->cfg.workers + slow_index, id, &limits, udp_input))
        return false;
    s->scratch_bytes = group_operation_max_bytes(&app->cfg.group);
    s->scratch = malloc(s->scratch_bytes);
    s->digest = crypto_digest_new();
    if (s->scratch == NULL || s->digest == NULL || !make_bft(s) || !make_datagram(s) ||
        !make_core(s)) {
        fprintf(stderr, "prophecy-sketcher: no memory for slow-path lcore %u\n", id);
        return false;
    }
    return true;
}

void slow_fini(struct slow *s) {
    if (s->core != NULL)
        sketcher_slow_free(s->core);
    if (s->bft != NULL)
        bft_client_free(s->bft);
    if (s->datagram != NULL)
        datagram_free(s->datagram);
    crypto_digest_free(s->digest);
    free(s->scratch);
    lcore_fini(&s->l);
    struct result *result;
    while ((result = TAILQ_FIRST(&s->results)) != NULL) {
        TAILQ_REMOVE(&s->results, result, link);
        free(result);
    }
}
