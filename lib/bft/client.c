/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The client: sessions, requests, retransmission. client_reply.c weighs the answers.
 */
#include "bft/client_internal.h"

#include <stdlib.h>
#include <string.h>

#define NOT_IN_HEAP UINT32_MAX

const char *const bft_client_counter_names[BFT_CLIENT_COUNTER_COUNT] = {
#define BFT_CLIENT_COUNTER_NAME(id, name) name,
    BFT_CLIENT_COUNTERS(BFT_CLIENT_COUNTER_NAME)
#undef BFT_CLIENT_COUNTER_NAME
};

void bft_client_config_default(struct bft_client_config *cfg) {
    *cfg = (struct bft_client_config){
        .group = {.n = 4,
                  .f = 1,
                  .request_max_bytes = (16u << 20) + (64u << 10),
                  .result_max_bytes = (16u << 20) + (64u << 10)},
        .principal = 4,
        .sessions = 256,
        .retry_us = 100 * 1000,
        .retry_max_us = 1600 * 1000,
        .timeout_us = 5000 * 1000,
        .abandon_us = 60 * 1000 * 1000,
        .memory_max_bytes = 256u << 20,
    };
}

static bool config_valid(const struct bft_client_config *cfg) {
    return bft_group_valid(&cfg->group) && cfg->principal >= cfg->group.n && cfg->sessions > 0 &&
           cfg->sessions < UINT32_MAX && cfg->retry_us > 0 && cfg->retry_max_us >= cfg->retry_us &&
           cfg->timeout_us > 0 && cfg->abandon_us >= cfg->timeout_us;
}

static bool macs_init(struct bft_client *c, const uint8_t (*keys)[CRYPTO_KEY_BYTES]) {
    c->sha = crypto_digest_new();
    for (uint32_t i = 0; i < c->cfg.group.n; i++) {
        uint8_t key[CRYPTO_KEY_BYTES];
        crypto_kdf(keys[i], "request", NULL, 0, key);
        c->macs[i] = crypto_mac_new(key);
        crypto_wipe(key, sizeof key);
        if (c->macs[i] == NULL)
            return false;
    }
    return c->sha != NULL;
}

static bool sessions_init(struct bft_client *c) {
    uint32_t count = c->cfg.sessions, n = c->cfg.group.n;
    c->sessions = calloc(count, sizeof *c->sessions);
    c->votes = calloc((size_t)count * n, sizeof *c->votes);
    c->heap = calloc(count, sizeof *c->heap);
    if (c->sessions == NULL || c->votes == NULL || c->heap == NULL)
        return false;
    for (uint32_t i = 0; i < count; i++)
        c->sessions[i] = (struct bft_client_session){.index = i,
                                                     .heap_at = NOT_IN_HEAP,
                                                     .next_free = i + 1,
                                                     .votes = c->votes + (size_t)i * n};
    c->free_count = count;
    return true;
}

struct bft_client *bft_client_new(const struct bft_client_config *cfg,
                                  const struct bft_client_env *env,
                                  const uint8_t (*keys)[CRYPTO_KEY_BYTES]) {
    if (!config_valid(cfg))
        return NULL;
    struct bft_client *c = calloc(1, sizeof *c);
    if (c == NULL)
        return NULL;
    c->cfg = *cfg;
    c->env = *env;
    c->quorum = bft_quorum(&cfg->group);
    c->incarnation = cfg->group.incarnation;
    c->next_number = 1;
    c->random = cfg->seed;
    /* Law 9: a replica that fills its share with nonsense does not take the others'. */
    c->full_share_bytes = cfg->memory_max_bytes / cfg->group.n;
    if (c->full_share_bytes < cfg->group.result_max_bytes)
        c->full_share_bytes = cfg->group.result_max_bytes;
    if (!macs_init(c, keys) || !sessions_init(c)) {
        bft_client_free(c);
        return NULL;
    }
    return c;
}

void bft_client_free(struct bft_client *c) {
    if (c == NULL)
        return;
    uint32_t n = c->cfg.group.n;
    for (uint32_t i = 0; c->sessions != NULL && i < c->cfg.sessions; i++)
        free(c->sessions[i].message);
    for (size_t i = 0; c->votes != NULL && i < (size_t)c->cfg.sessions * n; i++)
        free(c->votes[i].owned);
    free(c->sessions);
    free(c->votes);
    free(c->heap);
    for (uint32_t i = 0; i < n; i++)
        crypto_mac_free(c->macs[i]);
    crypto_digest_free(c->sha);
    free(c);
}

/* splitmix64: spreads retries and designated replicas; nothing secret depends on it. */
uint64_t bft_client_random(struct bft_client *c) {
    uint64_t z = c->random += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* ------------------------------------------------------------------ deadlines: a binary heap */

static uint64_t heap_key(const struct bft_client *c, uint32_t at) {
    return c->sessions[c->heap[at]].deadline_us;
}

static void heap_set(struct bft_client *c, uint32_t at, uint32_t session) {
    c->heap[at] = session;
    c->sessions[session].heap_at = at;
}

static void heap_sift(struct bft_client *c, uint32_t at) {
    uint32_t session = c->heap[at];
    uint64_t key = c->sessions[session].deadline_us;
    while (at > 0 && heap_key(c, (at - 1) / 2) > key) {
        heap_set(c, at, c->heap[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child >= c->heap_len)
            break;
        if (child + 1 < c->heap_len && heap_key(c, child + 1) < heap_key(c, child))
            child++;
        if (heap_key(c, child) >= key)
            break;
        heap_set(c, at, c->heap[child]);
        at = child;
    }
    heap_set(c, at, session);
}

static void heap_remove(struct bft_client *c, struct bft_client_session *s) {
    uint32_t at = s->heap_at;
    if (at == NOT_IN_HEAP)
        return;
    s->heap_at = NOT_IN_HEAP;
    uint32_t last = c->heap[--c->heap_len];
    if (last == s->index)
        return;
    heap_set(c, at, last);
    heap_sift(c, at);
}

/* Puts the session's next deadline into the heap. */
void bft_client_schedule(struct bft_client *c, struct bft_client_session *s) {
    s->deadline_us = s->retry_at_us < s->give_up_us ? s->retry_at_us : s->give_up_us;
    if (s->heap_at == NOT_IN_HEAP)
        heap_set(c, c->heap_len++, s->index);
    heap_sift(c, s->heap_at);
}

/* ------------------------------------------------------------------ requests */

static void schedule_retry(struct bft_client *c, struct bft_client_session *s) {
    uint64_t wait = s->retry_us;
    wait = wait * 7 / 8 + bft_client_random(c) % (wait / 4 + 1);
    s->retry_at_us = c->now_us + wait + s->op_len / BFT_SLOW_PATH_BYTES_PER_US;
    bft_client_schedule(c, s);
}

static void encode_request(struct bft_client *c, struct bft_client_session *s) {
    uint32_t n = c->cfg.group.n;
    struct bft_request_msg m = {
        .h = {.type = BFT_MSG_REQUEST,
              .designated = (uint16_t)(bft_client_random(c) % n),
              .incarnation = s->incarnation},
        .session = {c->cfg.principal, c->cfg.endpoint, s->index, c->cfg.epoch},
        .number = s->number,
        .flags = s->flags,
        .op_len = s->op_len,
    };
    uint8_t digest[CRYPTO_DIGEST_BYTES];
    size_t head = bft_encode_request_head(s->message, s->message_len, &m);
    assert(head == BFT_REQUEST_FIXED_BYTES);
    crypto_digest_once(c->sha, s->message + BFT_DIGESTED_OFFSET,
                       head - BFT_DIGESTED_OFFSET + s->op_len, digest);
    uint8_t *mac = s->message + head + s->op_len;
    for (uint32_t i = 0; i < n; i++, mac += CRYPTO_MAC_BYTES) {
        crypto_mac_begin(c->macs[i]);
        crypto_mac_update(c->macs[i], digest, sizeof digest);
        crypto_mac_final(c->macs[i], mac);
    }
    assert(mac == s->message + s->message_len);
}

void bft_client_issue(struct bft_client *c, struct bft_client_session *s) {
    for (uint32_t i = 0; i < c->cfg.group.n; i++)
        bft_vote_clear(c, s, i);
    s->answered = 0;
    s->disagreement = false;
    s->stalled_votes = 0;
    s->number = c->next_number++;
    s->incarnation = c->incarnation;
    s->retry_us = c->cfg.retry_us;
    encode_request(c, s);
    schedule_retry(c, s);
    c->env.broadcast(c->env.ctx, s->message, s->message_len);
}

void bft_client_retransmit(struct bft_client *c, struct bft_client_session *s) {
    /* OSDI 4.1: "If the client does not receive replies soon enough, it broadcasts the request to
     * all replicas"; 5.1: and requests "all replicas to send full replies". But when only the
     * bytes are missing, because the designated replica is slow or lies, one of those that voted
     * for them is enough: four copies of a large result would crowd each other out. */
    int source = bft_client_full_source(c, s);
    s->message[1] |= BFT_FULL_REPLY;
    s->retry_us = s->retry_us < c->cfg.retry_max_us / 2 ? 2 * s->retry_us : c->cfg.retry_max_us;
    bft_client_count(c, BFT_CLIENT_RETRANSMITTED);
    schedule_retry(c, s);
    if (source >= 0)
        c->env.send(c->env.ctx, (uint16_t)source, s->message, s->message_len);
    else
        c->env.broadcast(c->env.ctx, s->message, s->message_len);
}

static uint8_t request_flags(const struct bft_client *c, uint32_t flags) {
    if ((flags & BFT_READ) == 0)
        return 0;
    return c->cfg.group.read_optimisation && (flags & BFT_UNORDERED) != 0 ? BFT_READ | BFT_UNORDERED
                                                                          : BFT_READ;
}

bool bft_client_submit(struct bft_client *c, uint64_t cookie, uint32_t flags, const uint8_t *op,
                       size_t op_len, uint64_t now_us) {
    if (now_us > c->now_us)
        c->now_us = now_us;
    if (c->free_count == 0 || op_len > c->cfg.group.request_max_bytes)
        return false;
    size_t len = BFT_REQUEST_FIXED_BYTES + op_len + (size_t)c->cfg.group.n * CRYPTO_MAC_BYTES;
    uint8_t *message = malloc(len);
    if (message == NULL)
        return false;
    struct bft_client_session *s = &c->sessions[c->free_head];
    assert(s->state == BFT_CS_FREE && s->message == NULL);
    c->free_head = s->next_free;
    c->free_count--;
    if (op_len > 0)
        memcpy(message + BFT_REQUEST_FIXED_BYTES, op, op_len);
    s->state = BFT_CS_BUSY;
    s->cookie = cookie;
    s->flags = request_flags(c, flags);
    s->message = message;
    s->message_len = len;
    s->op_len = (uint32_t)op_len;
    s->submitted_us = c->now_us;
    s->give_up_us = c->now_us + c->cfg.timeout_us;
    bft_client_count(c, BFT_CLIENT_SUBMITTED);
    bft_client_issue(c, s);
    return true;
}

/* The session is free before complete is called, which may submit; borrowed results live until it
 * returns. */
void bft_client_finish(struct bft_client *c, struct bft_client_session *s,
                       struct bft_completion *completion) {
    uint8_t *owned[BFT_REPLICAS_MAX];
    uint32_t n = c->cfg.group.n;
    for (uint32_t i = 0; i < n; i++) {
        owned[i] = s->votes[i].owned;
        s->votes[i].owned = NULL; // kept alive past bft_vote_clear, which takes it off the account
        if (owned[i] != NULL)
            c->full_bytes[i] -= s->votes[i].full_len;
        bft_vote_clear(c, s, i);
    }
    completion->cookie = s->cookie;
    completion->finished = true;
    heap_remove(c, s);
    free(s->message);
    s->message = NULL;
    s->state = BFT_CS_FREE;
    s->next_free = c->free_head;
    c->free_head = s->index;
    c->free_count++;
    c->env.complete(c->env.ctx, completion);
    for (uint32_t i = 0; i < n; i++)
        free(owned[i]);
}

/* ------------------------------------------------------------------ time */

static void give_up(struct bft_client *c, struct bft_client_session *s) {
    bool write = (s->flags & BFT_READ) == 0;
    if (s->state == BFT_CS_LATE) {
        struct bft_completion done = {.outcome = BFT_ABANDONED};
        bft_client_finish(c, s, &done);
        return;
    }
    bft_client_count(c, BFT_CLIENT_TIMEOUTS);
    struct bft_completion done = {.outcome = BFT_TIMED_OUT, .cookie = s->cookie};
    if (!write) {
        bft_client_finish(c, s, &done);
        return;
    }
    /* It may still be executed, and then its sigma matters (a tombstone): keep asking. */
    s->state = BFT_CS_LATE;
    s->give_up_us = s->submitted_us + c->cfg.abandon_us;
    bft_client_schedule(c, s);
    c->env.complete(c->env.ctx, &done);
}

static void expire(struct bft_client *c, struct bft_client_session *s) {
    if (c->now_us >= s->give_up_us)
        give_up(c, s);
    else if ((s->flags & BFT_UNORDERED) != 0)
        bft_client_order(c, s);
    else if (!bft_client_stalled(c, s))
        bft_client_retransmit(c, s);
}

void bft_client_timers(struct bft_client *c, uint64_t now_us) {
    if (now_us > c->now_us)
        c->now_us = now_us;
    /* Each session at most once a call: what it does puts its deadline into the future. */
    for (uint32_t left = c->cfg.sessions; left > 0 && c->heap_len > 0; left--) {
        struct bft_client_session *s = &c->sessions[c->heap[0]];
        if (s->deadline_us > c->now_us)
            return;
        expire(c, s);
    }
}

uint64_t bft_client_next_deadline(const struct bft_client *c) {
    return c->heap_len > 0 ? heap_key(c, 0) : UINT64_MAX;
}

uint32_t bft_client_free_sessions(const struct bft_client *c) {
    return c->free_count;
}

void bft_client_counters(const struct bft_client *c, uint64_t out[BFT_CLIENT_COUNTER_COUNT]) {
    memcpy(out, c->counters, sizeof c->counters);
}

uint64_t bft_client_wrong_replies(const struct bft_client *c, uint16_t replica) {
    return replica < c->cfg.group.n ? c->wrong[replica] : 0;
}
