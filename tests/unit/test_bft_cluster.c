/* SPDX-License-Identifier: BSD-3-Clause */
#include "test_bft_cluster.h"

#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------ small things */

uint64_t cluster_random(struct cluster *c) {
    uint64_t z = c->random += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static void *must(void *p) {
    assert(p != NULL);
    return p;
}

static uint8_t *copy_bytes(const uint8_t *data, size_t len) {
    uint8_t *p = must(malloc(len > 0 ? len : 1));
    if (len > 0)
        memcpy(p, data, len);
    return p;
}

static uint32_t principals(const struct cluster *c) {
    return c->o.replica.group.n + c->o.clients;
}

const uint8_t (*cluster_keys_of(const struct cluster *c, uint16_t principal))[CRYPTO_KEY_BYTES] {
    return (const uint8_t(*)[CRYPTO_KEY_BYTES])(c->keys + (size_t)principal * principals(c));
}

static void make_keys(struct cluster *c) {
    uint32_t count = principals(c);
    c->keys = must(calloc((size_t)count * count, CRYPTO_KEY_BYTES));
    for (uint32_t a = 0; a < count; a++) {
        for (uint32_t b = 0; b <= a; b++) {
            uint8_t *key = c->keys[(size_t)a * count + b];
            for (uint32_t i = 0; i < CRYPTO_KEY_BYTES; i++)
                key[i] = (uint8_t)(a * 31 + b * 7 + i);
            memcpy(c->keys[(size_t)b * count + a], key, CRYPTO_KEY_BYTES);
        }
    }
}

/* ------------------------------------------------------------------ the network */

static bool before(const struct cluster_message *a, const struct cluster_message *b) {
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->order < b->order;
}

static void queue_push(struct cluster *c, struct cluster_message m) {
    if (c->queue_len == c->queue_cap) {
        c->queue_cap = c->queue_cap > 0 ? 2 * c->queue_cap : 256;
        c->queue = must(realloc(c->queue, c->queue_cap * sizeof *c->queue));
    }
    m.order = c->order++;
    size_t at = c->queue_len++;
    while (at > 0 && before(&m, &c->queue[(at - 1) / 2])) {
        c->queue[at] = c->queue[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    c->queue[at] = m;
}

static struct cluster_message queue_pop(struct cluster *c) {
    struct cluster_message top = c->queue[0], last = c->queue[--c->queue_len];
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= c->queue_len)
            break;
        if (child + 1 < c->queue_len && before(&c->queue[child + 1], &c->queue[child]))
            child++;
        if (!before(&c->queue[child], &last))
            break;
        c->queue[at] = c->queue[child];
        at = child;
    }
    c->queue[at] = last;
    return top;
}

static bool cut_off(const struct cluster *c, uint16_t principal) {
    return principal < c->o.replica.group.n &&
           (c->nodes[principal].crashed || c->nodes[principal].silenced);
}

static uint64_t delay(struct cluster *c) {
    uint64_t span = c->o.delay_max_us - c->o.delay_min_us;
    return c->o.delay_min_us + (span > 0 ? cluster_random(c) % (span + 1) : 0);
}

static void network_send(struct cluster *c, uint16_t from, uint16_t to, const uint8_t *data,
                         size_t len) {
    struct cluster_message m = {.from = from, .to = to, .data = copy_bytes(data, len), .len = len};
    c->messages++;
    c->bytes += len;
    if ((c->filter != NULL && !c->filter(c, &m)) || cut_off(c, from) ||
        cluster_random(c) % 1000 < c->o.loss_permille) {
        free(m.data);
        return;
    }
    if (cluster_random(c) % 1000 < c->o.duplicate_permille) {
        struct cluster_message twin = m;
        twin.data = copy_bytes(m.data, m.len);
        twin.at_us = c->now_us + delay(c) + delay(c);
        queue_push(c, twin);
    }
    m.at_us = c->now_us + delay(c);
    queue_push(c, m);
}

void cluster_post(struct cluster *c, uint16_t from, uint16_t to, const uint8_t *data, size_t len,
                  uint64_t delay_us) {
    queue_push(c, (struct cluster_message){.at_us = c->now_us + delay_us,
                                           .from = from,
                                           .to = to,
                                           .data = copy_bytes(data, len),
                                           .len = len});
}

/* ------------------------------------------------------------------ the service */

void cluster_op(uint8_t *op, size_t op_len, enum cluster_kind kind, uint64_t id,
                uint32_t result_len) {
    struct wire_writer w;
    wire_writer_init(&w, op, op_len);
    wire_put_u8(&w, (uint8_t)kind);
    wire_put_u64(&w, id);
    wire_put_u32(&w, result_len);
    assert(!w.failed);
    for (size_t i = w.len; i < op_len; i++)
        op[i] = (uint8_t)(id + i * 13);
}

uint8_t *cluster_result(uint64_t id, uint32_t result_len) {
    uint8_t *p = must(malloc(result_len > 0 ? result_len : 1));
    for (uint32_t i = 0; i < result_len; i++)
        p[i] = (uint8_t)(id * 17 + i * 3 + (i >> 8));
    return p;
}

static void append(struct cluster_node *node, uint64_t id) {
    if (node->log_len == node->log_cap) {
        node->log_cap = node->log_cap > 0 ? 2 * node->log_cap : 64;
        node->log = must(realloc(node->log, node->log_cap * sizeof *node->log));
    }
    node->log[node->log_len++] = id;
    uint8_t bytes[CRYPTO_DIGEST_BYTES + sizeof id];
    memcpy(bytes, node->chain, CRYPTO_DIGEST_BYTES);
    memcpy(bytes + CRYPTO_DIGEST_BYTES, &id, sizeof id);
    crypto_digest_once(node->cluster->sha, bytes, sizeof bytes, node->chain);
}

/* Executes: the result, malloc'ed, or NULL. */
static uint8_t *serve(struct cluster_node *node, const struct bft_execution *e, size_t *len) {
    struct cluster *c = node->cluster;
    struct wire_reader r;
    wire_reader_init(&r, e->op, e->op_len);
    uint8_t kind = wire_get_u8(&r);
    uint64_t id = wire_get_u64(&r);
    uint32_t result_len = wire_get_u32(&r);
    uint8_t *data = NULL;
    if (e->sigma != 0) {
        assert(e->sigma > node->last_sigma); // strictly in order
        node->last_sigma = e->sigma;
        node->executions++;
        if (kind == CLUSTER_WRITE)
            append(node, id);
    }
    if (kind == CLUSTER_COUNT) {
        uint64_t count = node->log_len;
        *len = sizeof count;
        data = copy_bytes((const uint8_t *)&count, sizeof count);
    } else {
        *len = result_len;
        data = cluster_result(id, result_len);
    }
    if (c->result != NULL && !c->result(c, node->id, e, &data, len)) {
        free(data);
        data = NULL;
    }
    return data;
}

static void node_execute(void *ctx, const struct bft_execution *e) {
    struct cluster_node *node = ctx;
    struct cluster *c = node->cluster;
    size_t len = 0;
    uint8_t *data = serve(node, e, &len);
    if (c->o.execute_delay_us == 0) {
        bft_replica_executed(node->replica, e->ticket, data, len, c->now_us);
        free(data);
        return;
    }
    queue_push(c, (struct cluster_message){.at_us = c->now_us + 1 +
                                                    cluster_random(c) % c->o.execute_delay_us,
                                           .to = node->id,
                                           .execution = e,
                                           .ticket = e->ticket,
                                           .data = data,
                                           .len = len});
}

static void node_state_digest(void *ctx, uint64_t sequence, uint8_t out[CRYPTO_DIGEST_BYTES]) {
    struct cluster_node *node = ctx;
    (void)sequence;
    memcpy(out, node->chain, CRYPTO_DIGEST_BYTES);
}

/* ------------------------------------------------------------------ nodes and clients */

static void node_send(void *ctx, uint16_t principal, uint16_t endpoint, const uint8_t *message,
                      size_t len) {
    struct cluster_node *node = ctx;
    (void)endpoint;
    if (principal < principals(node->cluster))
        network_send(node->cluster, node->id, principal, message, len);
}

static void node_broadcast(void *ctx, const uint8_t *message, size_t len) {
    struct cluster_node *node = ctx;
    for (uint16_t i = 0; i < node->cluster->o.replica.group.n; i++)
        if (i != node->id)
            network_send(node->cluster, node->id, i, message, len);
}

static void node_start(struct cluster *c, uint16_t id) {
    struct cluster_node *node = &c->nodes[id];
    struct bft_replica_config cfg = c->o.replica;
    cfg.self = id;
    struct bft_replica_env env = {.ctx = node,
                                  .send = node_send,
                                  .broadcast = node_broadcast,
                                  .execute = node_execute,
                                  .state_digest = node_state_digest};
    node->cluster = c;
    node->id = id;
    node->replica = must(bft_replica_new(&cfg, &env, cluster_keys_of(c, id), principals(c)));
}

static void client_send(void *ctx, uint16_t replica, const uint8_t *message, size_t len) {
    struct cluster_client *cl = ctx;
    network_send(cl->cluster, cl->principal, replica, message, len);
}

static void client_broadcast(void *ctx, const uint8_t *message, size_t len) {
    struct cluster_client *cl = ctx;
    for (uint16_t i = 0; i < cl->cluster->o.replica.group.n; i++)
        network_send(cl->cluster, cl->principal, i, message, len);
}

static void client_complete(void *ctx, const struct bft_completion *done) {
    struct cluster_client *cl = ctx;
    struct cluster_request *q = cluster_request(cl->cluster, done->cookie);
    assert(!q->finished); // never heard of again
    q->finished = done->finished;
    q->last = done->outcome;
    if (q->completions++ == 0)
        q->first = done->outcome;
    q->sigma = done->sigma;
    q->incarnation = done->incarnation;
    if (done->result != NULL) {
        q->result = copy_bytes(done->result, done->result_len);
        q->result_len = done->result_len;
    }
    for (uint32_t i = 0; i < 2; i++) {
        q->differing[i] = done->differing[i] != NULL;
        q->differing_len[i] = done->differing_len[i];
        q->differing_replica[i] = done->differing_replica[i];
    }
}

static void client_start(struct cluster *c, uint32_t i, uint64_t epoch) {
    struct cluster_client *cl = &c->clients[i];
    struct bft_client_config cfg = c->o.client;
    cl->cluster = c;
    cl->principal = (uint16_t)(c->o.replica.group.n + i);
    cfg.principal = cl->principal;
    cfg.epoch = epoch;
    cfg.seed = c->o.seed * 1000 + i;
    struct bft_client_env env = {
        .ctx = cl, .send = client_send, .broadcast = client_broadcast, .complete = client_complete};
    cl->client = must(bft_client_new(&cfg, &env, cluster_keys_of(c, cl->principal)));
}

void cluster_options_default(struct cluster_options *o, uint32_t n, uint32_t f) {
    *o = (struct cluster_options){.seed = 1, .clients = 1, .delay_min_us = 50, .delay_max_us = 150};
    bft_replica_config_default(&o->replica);
    bft_client_config_default(&o->client);
    o->replica.group.n = n;
    o->replica.group.f = f;
    o->replica.group.incarnation = 77;
    o->replica.checkpoint_interval = 8;
    o->replica.log_window = 32;
    o->replica.retain_batches = 32;
    o->replica.sessions_max = 512;
    o->replica.pending_max = 2048;
    o->client.group = o->replica.group;
}

struct cluster *cluster_new(const struct cluster_options *o) {
    struct cluster *c = must(calloc(1, sizeof *c));
    assert(o->clients <= CLUSTER_CLIENTS_MAX);
    c->o = *o;
    c->random = o->seed;
    c->sha = must(crypto_digest_new());
    make_keys(c);
    c->nodes = must(calloc(o->replica.group.n, sizeof *c->nodes));
    for (uint16_t i = 0; i < o->replica.group.n; i++)
        node_start(c, i);
    for (uint32_t i = 0; i < o->clients; i++)
        client_start(c, i, 0x1000 + i);
    return c;
}

void cluster_free(struct cluster *c) {
    for (uint32_t i = 0; i < c->o.replica.group.n; i++) {
        bft_replica_free(c->nodes[i].replica);
        free(c->nodes[i].log);
    }
    for (uint32_t i = 0; i < c->o.clients; i++)
        bft_client_free(c->clients[i].client);
    for (size_t i = 0; i < c->queue_len; i++)
        free(c->queue[i].data);
    for (size_t i = 0; i < c->request_count; i++)
        free(c->requests[i].result);
    free(c->nodes);
    free(c->queue);
    free(c->requests);
    free(c->keys);
    crypto_digest_free(c->sha);
    free(c);
}

void cluster_restart(struct cluster *c, uint16_t id) {
    struct cluster_node *node = &c->nodes[id];
    for (size_t i = 0; i < c->queue_len; i++) // executions of the former life end nowhere
        if (c->queue[i].execution != NULL && c->queue[i].to == id)
            c->queue[i].ticket = 0;
    bft_replica_free(node->replica);
    free(node->log);
    *node = (struct cluster_node){0};
    node_start(c, id);
}

void cluster_replace_client(struct cluster *c, uint32_t client, uint64_t epoch) {
    bft_client_free(c->clients[client].client);
    client_start(c, client, epoch);
}

/* ------------------------------------------------------------------ requests */

struct cluster_request *cluster_request(struct cluster *c, uint64_t cookie) {
    assert(cookie < c->request_count);
    return &c->requests[cookie];
}

uint64_t cluster_submit(struct cluster *c, uint32_t client, uint32_t flags, const uint8_t *op,
                        size_t op_len) {
    if (c->request_count == c->request_cap) {
        c->request_cap = c->request_cap > 0 ? 2 * c->request_cap : 64;
        c->requests = must(realloc(c->requests, c->request_cap * sizeof *c->requests));
    }
    uint64_t cookie = c->request_count++;
    c->requests[cookie] = (struct cluster_request){0};
    if (bft_client_submit(c->clients[client].client, cookie, flags, op, op_len, c->now_us))
        return cookie;
    c->request_count--;
    return UINT64_MAX;
}

uint64_t cluster_write(struct cluster *c, uint32_t client, uint64_t id, uint32_t result_len) {
    uint8_t op[CLUSTER_OP_BYTES];
    cluster_op(op, sizeof op, CLUSTER_WRITE, id, result_len);
    return cluster_submit(c, client, 0, op, sizeof op);
}

uint64_t cluster_read(struct cluster *c, uint32_t client, uint32_t flags, uint64_t id,
                      uint32_t result_len) {
    uint8_t op[CLUSTER_OP_BYTES];
    cluster_op(op, sizeof op, CLUSTER_READ, id, result_len);
    return cluster_submit(c, client, BFT_READ | flags, op, sizeof op);
}

/* ------------------------------------------------------------------ time */

static void deliver(struct cluster *c, const struct cluster_message *m) {
    uint32_t n = c->o.replica.group.n;
    if (m->execution != NULL) {
        if (c->nodes[m->to].crashed || m->ticket == 0)
            return;
        assert(m->execution->ticket == m->ticket); // it is valid until now
        bft_replica_executed(c->nodes[m->to].replica, m->ticket, m->data, m->len, c->now_us);
    } else if (cut_off(c, m->to)) {
        return;
    } else if (m->to < n) {
        bft_replica_input(c->nodes[m->to].replica, m->from, m->from_endpoint, m->data, m->len,
                          c->now_us);
    } else {
        bft_client_input(c->clients[m->to - n].client, m->from, m->data, m->len, c->now_us);
    }
}

static uint64_t next_deadline(const struct cluster *c) {
    uint64_t next = UINT64_MAX;
    for (uint32_t i = 0; i < c->o.replica.group.n; i++) {
        uint64_t at = bft_replica_next_deadline(c->nodes[i].replica);
        if (!c->nodes[i].crashed && at < next)
            next = at;
    }
    for (uint32_t i = 0; i < c->o.clients; i++) {
        uint64_t at = bft_client_next_deadline(c->clients[i].client);
        if (at < next)
            next = at;
    }
    return next;
}

static void run_timers(struct cluster *c) {
    for (uint32_t i = 0; i < c->o.replica.group.n; i++)
        if (!c->nodes[i].crashed && bft_replica_next_deadline(c->nodes[i].replica) <= c->now_us)
            bft_replica_timers(c->nodes[i].replica, c->now_us);
    for (uint32_t i = 0; i < c->o.clients; i++)
        if (bft_client_next_deadline(c->clients[i].client) <= c->now_us)
            bft_client_timers(c->clients[i].client, c->now_us);
}

bool cluster_step(struct cluster *c, uint64_t until_us) {
    uint64_t timer = next_deadline(c);
    if (c->queue_len > 0 && c->queue[0].at_us <= timer) {
        if (c->queue[0].at_us > until_us)
            return false;
        struct cluster_message m = queue_pop(c);
        if (c->now_us < m.at_us)
            c->now_us = m.at_us;
        deliver(c, &m);
        free(m.data);
        return true;
    }
    if (timer > until_us)
        return false;
    if (c->now_us < timer)
        c->now_us = timer;
    run_timers(c);
    return true;
}

void cluster_run(struct cluster *c, uint64_t for_us) {
    uint64_t until = c->now_us + for_us;
    while (cluster_step(c, until))
        ;
    c->now_us = until;
}

bool cluster_settle(struct cluster *c, uint64_t max_us) {
    uint64_t until = c->now_us + max_us;
    size_t first = 0;
    for (;;) {
        while (first < c->request_count && c->requests[first].finished)
            first++;
        if (first == c->request_count)
            return true;
        if (!cluster_step(c, until))
            return false;
    }
}

/* ------------------------------------------------------------------ what came of it */

bool cluster_logs_agree(const struct cluster *c) {
    const struct cluster_node *longest = &c->nodes[0];
    for (uint32_t i = 1; i < c->o.replica.group.n; i++)
        if (c->nodes[i].log_len > longest->log_len)
            longest = &c->nodes[i];
    for (uint32_t i = 0; i < c->o.replica.group.n; i++)
        for (size_t k = 0; k < c->nodes[i].log_len; k++)
            if (c->nodes[i].log[k] != longest->log[k])
                return false;
    for (size_t k = 0; k < longest->log_len; k++)
        if (cluster_times(c, longest->id, longest->log[k]) != 1)
            return false;
    return true;
}

size_t cluster_times(const struct cluster *c, uint16_t node, uint64_t id) {
    size_t times = 0;
    for (size_t k = 0; k < c->nodes[node].log_len; k++)
        times += c->nodes[node].log[k] == id;
    return times;
}

uint64_t cluster_counter(const struct cluster *c, uint16_t node, enum bft_replica_counter id) {
    uint64_t counters[BFT_REPLICA_COUNTER_COUNT];
    bft_replica_counters(c->nodes[node].replica, counters);
    return counters[id];
}

uint64_t cluster_client_counter(const struct cluster *c, uint32_t client,
                                enum bft_client_counter id) {
    uint64_t counters[BFT_CLIENT_COUNTER_COUNT];
    bft_client_counters(c->clients[client].client, counters);
    return counters[id];
}

struct bft_replica_status cluster_status(const struct cluster *c, uint16_t node) {
    struct bft_replica_status status;
    bft_replica_get_status(c->nodes[node].replica, &status);
    return status;
}
