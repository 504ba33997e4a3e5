/* SPDX-License-Identifier: BSD-3-Clause */
/* The instance: configuration, peers, the timers that both directions share. */
#include "datagram/internal.h"

#include <stdlib.h>
#include <string.h>

const char *const datagram_counter_names[DATAGRAM_COUNTER_COUNT] = {
#define DATAGRAM_COUNTER_NAME(id, name) [DATAGRAM_##id] = name,
    DATAGRAM_COUNTERS(DATAGRAM_COUNTER_NAME)
#undef DATAGRAM_COUNTER_NAME
};

#define MIB ((size_t)1 << 20)
/* A transfer that stays silent is reminded at growing intervals, but still this often before its
 * end. */
#define REMINDERS_MIN 16u
/* Timers look at a transfer this often in retry_us. */
#define CHECKS_PER_RETRY 4u

void datagram_config_default(struct datagram_config *cfg) {
    *cfg = (struct datagram_config){
        .message_max_bytes = 16 * MIB + MIB / 8, // a body of 16 MiB and what is around it
        .reassembly_max_bytes = 256 * MIB,
        .send_max_bytes = 256 * MIB,
        .initial_fragments = 16,
        // 64 full datagrams still fit a socket buffer of Linux' default size.
        .window_fragments = 64,
        .retry_us = 30000,
        .give_up_us = 5000000,
    };
}

static bool config_valid(const struct datagram_config *cfg) {
    return cfg->message_max_bytes <= DATAGRAM_MESSAGE_LIMIT_BYTES && cfg->initial_fragments > 0 &&
           cfg->window_fragments > 0 && cfg->retry_us > 0 && cfg->give_up_us >= cfg->retry_us;
}

static uint32_t at_least_one(uint32_t v) {
    return v > 0 ? v : 1;
}

struct datagram *datagram_new(const struct datagram_config *cfg, const struct datagram_env *env) {
    if (!config_valid(cfg))
        return NULL;
    struct datagram *d = calloc(1, sizeof *d);
    if (d == NULL)
        return NULL;
    d->cfg = *cfg;
    d->env = *env;
    d->timers.prev = d->timers.next = &d->timers;
    d->check_period_us = at_least_one(cfg->retry_us / CHECKS_PER_RETRY);
    d->reminder_max_us = cfg->give_up_us / REMINDERS_MIN;
    if (d->reminder_max_us < cfg->retry_us)
        d->reminder_max_us = cfg->retry_us;
    d->progress_fragments = at_least_one(cfg->window_fragments / 4);
    return d;
}

static void transfer_drop(struct datagram *d, struct pending *t) {
    if (t->receiving)
        receive_drop(d, (struct receive_transfer *)t);
    else
        send_drop(d, (struct send_transfer *)t);
}

void datagram_free(struct datagram *d) {
    if (d == NULL)
        return;
    while (d->timers.next != &d->timers)
        transfer_drop(d, d->timers.next);
    assert(datagram_bytes_held(d) == 0);
    for (uint32_t i = 0; i < d->peer_count; i++)
        peer_free(d->peers[i]);
    free(d);
}

bool datagram_add_peer(struct datagram *d, struct datagram_address peer,
                       const uint8_t key[CRYPTO_KEY_BYTES]) {
    return peer_add(d, peer, key);
}

void datagram_emit(struct datagram *d, struct peer *p, enum datagram_type type, size_t body_len) {
    struct datagram_header h = {
        .type = (uint8_t)type,
        .from = d->cfg.self,
        .to = p->address,
        .epoch = d->cfg.epoch,
        .counter = ++p->counter_out,
    };
    size_t len = header_seal(p->mac_out, &h, d->out, body_len);
    count(d, DATAGRAM_SENT);
    d->env.emit(d->env.ctx, p->address, d->out, len);
}

size_t datagram_transfer_bytes(size_t message_bytes) {
    size_t fragments = (message_bytes + FRAGMENT_BYTES - 1) / FRAGMENT_BYTES;
    return TRANSFER_FIXED_BYTES + (fragments + 63) / 64 * 8 + message_bytes;
}

size_t datagram_share(const struct datagram *d, size_t max) {
    size_t one = datagram_transfer_bytes(d->cfg.message_max_bytes);
    size_t share = max / d->peer_count;
    return share > one ? share : one;
}

static void timers_append(struct datagram *d, struct pending *t) {
    t->next = &d->timers;
    t->prev = d->timers.prev;
    t->prev->next = t;
    d->timers.prev = t;
}

void pending_start(struct datagram *d, struct pending *t, uint64_t now_us) {
    t->check_at_us = now_us + d->check_period_us;
    t->quiet_since_us = now_us;
    t->give_up_at_us = now_us + d->cfg.give_up_us;
    timers_append(d, t);
}

void pending_stop(struct pending *t) {
    t->prev->next = t->next;
    t->next->prev = t->prev;
}

void pending_heard(struct pending *t, uint64_t now_us) {
    t->quiet_since_us = now_us;
    t->silences = 0;
}

/*
 * design.md law 9: who drips is cut off. A quarter of a window must be done within each give_up_us;
 * the last quarter has one give_up_us to itself.
 */
void pending_progress(struct datagram *d, struct pending *t, uint32_t done, uint64_t now_us) {
    assert(done >= t->mark && done <= t->fragments);
    if (done - t->mark < d->progress_fragments && (done < t->fragments || done == t->mark))
        return;
    t->mark = done;
    t->give_up_at_us = now_us + d->cfg.give_up_us;
}

static uint64_t reminder_after_us(const struct datagram *d, uint32_t silences) {
    uint64_t us = (uint64_t)d->cfg.retry_us << (silences < 16 ? silences : 16);
    return us < d->reminder_max_us ? us : d->reminder_max_us;
}

static void remind(struct datagram *d, struct pending *t, uint64_t now_us) {
    t->quiet_since_us = now_us;
    t->silences++;
    if (t->receiving)
        receive_repair(d, (struct receive_transfer *)t);
    else
        send_nudge(d, (struct send_transfer *)t);
}

static void give_up(struct datagram *d, struct pending *t) {
    if (t->receiving) {
        count(d, DATAGRAM_DROP_REASSEMBLY_TIMEOUT);
        receive_give_up(d, (struct receive_transfer *)t);
    } else {
        count(d, DATAGRAM_DROP_SEND_TIMEOUT);
        send_drop(d, (struct send_transfer *)t);
    }
}

static void transfer_check(struct datagram *d, struct pending *t, uint64_t now_us) {
    if (now_us >= t->give_up_at_us) {
        give_up(d, t);
        return;
    }
    pending_stop(t);
    t->check_at_us = now_us + d->check_period_us;
    timers_append(d, t);
    if (now_us >= t->quiet_since_us + reminder_after_us(d, t->silences))
        remind(d, t, now_us);
}

void datagram_timers(struct datagram *d, uint64_t now_us) {
    while (d->timers.next != &d->timers && d->timers.next->check_at_us <= now_us)
        transfer_check(d, d->timers.next, now_us);
}

uint64_t datagram_next_deadline(const struct datagram *d) {
    return d->timers.next == &d->timers ? UINT64_MAX : d->timers.next->check_at_us;
}

void datagram_counters(const struct datagram *d, uint64_t out[DATAGRAM_COUNTER_COUNT]) {
    memcpy(out, d->counters, sizeof d->counters);
}

size_t datagram_bytes_held(const struct datagram *d) {
    return d->send_bytes + d->receive_bytes;
}
