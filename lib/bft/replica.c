/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The replica's frame: making one, handing its input to the handlers, its timers.
 */
#include "bft/internal.h"

#include <stdlib.h>
#include <string.h>

const char *const bft_replica_counter_names[BFT_REPLICA_COUNTER_COUNT] = {
#define BFT_REPLICA_COUNTER_NAME(id, name) name,
    BFT_REPLICA_COUNTERS(BFT_REPLICA_COUNTER_NAME)
#undef BFT_REPLICA_COUNTER_NAME
};

void bft_replica_config_default(struct bft_replica_config *cfg) {
    *cfg = (struct bft_replica_config){
        .group = {.n = 4,
                  .f = 1,
                  .request_max_bytes = (16u << 20) + (64u << 10),
                  .result_max_bytes = (16u << 20) + (64u << 10)},
        .checkpoint_interval = 128,
        .log_window = 256,
        .batch_max_requests = BFT_BATCH_MAX,
        .pipeline_max = 4,
        .sessions_max = 4096,
        .pending_max = 8192,
        .memory_max_bytes = 256u << 20,
        .status_us = 50 * 1000,
        .retain_batches = 2048,
    };
}

static bool config_valid(const struct bft_replica_config *cfg, uint32_t key_count) {
    return bft_group_valid(&cfg->group) && cfg->self < cfg->group.n && key_count >= cfg->group.n &&
           key_count <= cfg->group.n + BFT_CLIENTS_MAX && cfg->checkpoint_interval > 0 &&
           cfg->log_window >= 2 * cfg->checkpoint_interval && cfg->log_window <= 65536 &&
           cfg->retain_batches <= 65536 && cfg->batch_max_requests > 0 &&
           cfg->batch_max_requests <= BFT_BATCH_MAX && cfg->pipeline_max > 0 &&
           cfg->sessions_max > 0 && cfg->pending_max > 0 && cfg->status_us > 0;
}

static bool macs_init(struct bft_replica *r, const uint8_t (*keys)[CRYPTO_KEY_BYTES]) {
    r->sha = crypto_digest_new();
    r->request_macs = calloc(r->key_count, sizeof(struct crypto_mac *));
    if (r->sha == NULL || r->request_macs == NULL)
        return false;
    for (uint32_t p = r->cfg.group.n; p < r->key_count; p++) {
        uint8_t key[CRYPTO_KEY_BYTES];
        crypto_kdf(keys[p], "request", NULL, 0, key);
        r->request_macs[p] = crypto_mac_new(key);
        crypto_wipe(key, sizeof key);
        if (r->request_macs[p] == NULL)
            return false;
    }
    return true;
}

struct bft_replica *bft_replica_new(const struct bft_replica_config *cfg,
                                    const struct bft_replica_env *env,
                                    const uint8_t (*keys)[CRYPTO_KEY_BYTES], uint32_t key_count) {
    if (!config_valid(cfg, key_count))
        return NULL;
    struct bft_replica *r = calloc(1, sizeof *r);
    if (r == NULL)
        return NULL;
    r->cfg = *cfg;
    r->env = *env;
    r->key_count = key_count;
    r->quorum = bft_quorum(&cfg->group);
    r->next_sequence = 1;
    r->fetch_us = UINT64_MAX;
    if (!macs_init(r, keys) || !bft_log_init(r) || !bft_pending_init(r) || !bft_sessions_init(r) ||
        !bft_unordered_init(r) || !bft_checkpoints_init(r)) {
        bft_replica_free(r);
        return NULL;
    }
    return r;
}

void bft_replica_free(struct bft_replica *r) {
    if (r == NULL)
        return;
    bft_unordered_free(r);
    bft_pending_free(r);
    bft_log_free(r);
    bft_sessions_free(r);
    free(r->checkpoints);
    for (uint32_t p = 0; r->request_macs != NULL && p < r->key_count; p++)
        crypto_mac_free(r->request_macs[p]);
    free(r->request_macs);
    crypto_digest_free(r->sha);
    free(r);
}

/* What the handlers of replicas' messages check first: another replica, of the same incarnation. */
bool bft_from_group(struct bft_replica *r, uint16_t principal, const struct bft_header *h) {
    if (principal >= r->cfg.group.n || principal == r->cfg.self) {
        bft_count(r, BFT_REPLICA_DROP_SENDER);
        return false;
    }
    if (h->incarnation != r->cfg.group.incarnation) {
        bft_count(r, BFT_REPLICA_DROP_INCARNATION);
        return false;
    }
    return true;
}

/*
 * The (f+1)-th largest of what the other replicas say of themselves, a field of struct bft_peer: at
 * least one correct replica says that much or more.
 */
uint64_t bft_evidence(const struct bft_replica *r, size_t field_offset) {
    uint64_t top[BFT_REPLICAS_MAX];
    uint32_t count = 0, rank = r->cfg.group.f;
    for (uint32_t i = 0; i < r->cfg.group.n; i++) {
        uint64_t v;
        if (i == r->cfg.self)
            continue;
        memcpy(&v, (const uint8_t *)&r->peers[i] + field_offset, sizeof v);
        uint32_t at = count++;
        while (at > 0 && top[at - 1] < v) {
            top[at] = top[at - 1];
            at--;
        }
        top[at] = v;
    }
    return rank < count ? top[rank] : 0;
}

/*
 * Others have truncated what we need next: so many that the rest and we are no quorum any more. Or
 * a quorum disagrees with our state.
 */
bool bft_behind(const struct bft_replica *r) {
    uint32_t gone = 0;
    for (uint32_t i = 0; i < r->cfg.group.n; i++)
        if (i != r->cfg.self && r->peers[i].oldest > r->last_executed + 1)
            gone++;
    return r->diverged || r->cfg.group.n - gone < r->quorum;
}

static void input(struct bft_replica *r, uint16_t principal, uint16_t endpoint,
                  const uint8_t *message, size_t len) {
    struct bft_header h;
    if (!bft_decode_header(message, len, &h)) {
        bft_count(r, BFT_REPLICA_DROP_MALFORMED);
        return;
    }
    switch (h.type) {
    case BFT_MSG_REQUEST:
        bft_on_request(r, principal, endpoint, message, len);
        break;
    case BFT_MSG_PRE_PREPARE:
        bft_on_pre_prepare(r, principal, message, len);
        break;
    case BFT_MSG_PREPARE:
        bft_on_prepare(r, principal, message, len);
        break;
    case BFT_MSG_COMMIT:
        bft_on_commit(r, principal, message, len);
        break;
    case BFT_MSG_CHECKPOINT:
        bft_on_checkpoint(r, principal, message, len);
        break;
    case BFT_MSG_STATUS:
        bft_on_status(r, principal, message, len);
        break;
    case BFT_MSG_FETCH_REQUEST:
        bft_on_fetch(r, principal, message, len);
        break;
    default:
        bft_count(r, BFT_REPLICA_DROP_TYPE);
    }
}

void bft_replica_input(struct bft_replica *r, uint16_t principal, uint16_t endpoint,
                       const uint8_t *message, size_t len, uint64_t now_us) {
    if (now_us > r->now_us)
        r->now_us = now_us;
    input(r, principal, endpoint, message, len);
}

void bft_replica_timers(struct bft_replica *r, uint64_t now_us) {
    if (now_us > r->now_us)
        r->now_us = now_us;
    bft_fetch_timer(r);
    bft_status_timer(r);
}

uint64_t bft_replica_next_deadline(const struct bft_replica *r) {
    return r->status_us < r->fetch_us ? r->status_us : r->fetch_us;
}

void bft_replica_counters(const struct bft_replica *r, uint64_t out[BFT_REPLICA_COUNTER_COUNT]) {
    memcpy(out, r->counters, sizeof r->counters);
}

void bft_replica_get_status(const struct bft_replica *r, struct bft_replica_status *out) {
    uint64_t evidence = BFT_EVIDENCE(r, seen);
    *out = (struct bft_replica_status){
        .view = r->view,
        .last_executed = r->last_executed,
        .last_stable = r->last_stable,
        .highest_seen = evidence > r->highest_accepted ? evidence : r->highest_accepted,
        .pending = r->pending.count,
        .behind = bft_behind(r)};
}
