/* SPDX-License-Identifier: BSD-3-Clause */
/* The instance: its tables, its interfaces, its clock. */
#include "crypto/crypto.h"
#include "tcp/tcp_internal.h"

#include <stdlib.h>

#define SEND_REFS_MIN 256u
#define SEND_REFS_MAX 65536u

const char *const tcp_counter_names[TCP_COUNTER_COUNT] = {
#define TCP_COUNTER_NAME(id, name) [TCP_##id] = name,
    TCP_COUNTERS(TCP_COUNTER_NAME)
#undef TCP_COUNTER_NAME
};

void tcp_limits_default(struct tcp_limits *limits) {
    *limits = (struct tcp_limits){
        .conns_max = 65536,
        .half_open_max = 4096,
        .time_wait_max = 65536,
        .send_queue_bytes = 256 * 1024,
        .recv_window_bytes = 256 * 1024,
        .ooo_bytes_max = 256 * 1024,
        .rto_min_us = 200000,
        .rto_max_us = 60000000,
        .syn_retries = 5,
        .data_retries = 10,
        .time_wait_us = 60000000,
        .fin_wait_2_us = 60000000,
        .delayed_ack_us = 40000,
        .syn_cookies = true,
        .timestamps = true,
        .congestion_accepted = TCP_CONGESTION_CUBIC,
        .congestion_opened = TCP_CONGESTION_NEWRENO,
    };
}

static uint32_t power_of_two_from(uint32_t n) {
    uint32_t p = 16;
    while (p < n && p < 1u << 31)
        p <<= 1;
    return p;
}

static bool conns_init(struct tcp_stack *s) {
    uint32_t buckets = power_of_two_from(s->limits.conns_max);
    s->conn_mask = buckets - 1;
    // calloc of this size is a fresh mapping: a connection never used costs no memory.
    s->conns = calloc(s->limits.conns_max, sizeof *s->conns);
    s->conn_buckets = malloc(buckets * sizeof *s->conn_buckets);
    if (s->conns == NULL || s->conn_buckets == NULL)
        return false;
    memset(s->conn_buckets, 0xff, buckets * sizeof *s->conn_buckets);
    return true;
}

static bool refs_init(struct tcp_stack *s) {
    s->refs.count = max_u32(SEND_REFS_MIN, min_u32(SEND_REFS_MAX, s->limits.conns_max));
    s->refs.refs = calloc(s->refs.count, sizeof *s->refs.refs);
    return s->refs.refs != NULL;
}

static uint8_t scale_for(uint32_t window) {
    uint8_t scale = 0;
    while (scale < 14 && window >> scale > UINT16_MAX)
        scale++;
    return scale;
}

static void derive_key(const uint8_t secret[16], const char *label, struct hash_key *key) {
    uint8_t derived[CRYPTO_KEY_BYTES];
    crypto_kdf(secret, label, NULL, 0, derived);
    memcpy(&key->k0, derived, 8);
    memcpy(&key->k1, derived + 8, 8);
    crypto_wipe(derived, sizeof derived);
}

static void stack_destroy(struct tcp_stack *s) {
    neighbours_free(s);
    free(s->refs.refs);
    free(s->sources);
    free(s->time_waits);
    free(s->time_wait_buckets);
    free(s->conns);
    free(s->conn_buckets);
    crypto_wipe(&s->table_key, sizeof s->table_key);
    crypto_wipe(&s->isn_key, sizeof s->isn_key);
    crypto_wipe(&s->cookie_key, sizeof s->cookie_key);
    crypto_wipe(&s->timestamp_key, sizeof s->timestamp_key);
    free(s);
}

struct tcp_stack *tcp_stack_new(const struct tcp_env *env, const struct tcp_limits *limits,
                                const uint8_t secret[16]) {
    assert(env->pool != NULL && env->frame_get != NULL && env->frame_send != NULL);
    assert(limits->conns_max > 0 && limits->rto_min_us > 0);
    assert(limits->rto_max_us >= limits->rto_min_us);
    struct tcp_stack *s = calloc(1, sizeof *s);
    if (s == NULL)
        return NULL;
    s->env = *env;
    s->limits = *limits;
    s->arp_responder = true;
    s->recv_scale = scale_for(limits->recv_window_bytes);
    derive_key(secret, "tcp table", &s->table_key);
    derive_key(secret, "tcp isn", &s->isn_key);
    derive_key(secret, "tcp syn cookies", &s->cookie_key);
    derive_key(secret, "tcp timestamps", &s->timestamp_key);
    if (!conns_init(s) || !sources_init(s) || !time_wait_init(s) || !neighbours_init(s) ||
        !refs_init(s)) {
        stack_destroy(s);
        return NULL;
    }
    return s;
}

void tcp_stack_free(struct tcp_stack *s) {
    if (s == NULL)
        return;
    assert(s->depth == 0);
    s->dying = true;
    stack_enter(s);
    for (uint32_t i = 0; i < s->conns_used_ever; i++)
        if (s->conns[i].state != TCP_STATE_CLOSED)
            conn_finish(&s->conns[i], TCP_CLOSED_ABORTED);
    stack_leave(s);
    assert(s->conn_count == 0);
    stack_destroy(s);
}

void stack_enter(struct tcp_stack *s) {
    s->depth++;
}

void stack_leave(struct tcp_stack *s) {
    assert(s->depth > 0);
    if (--s->depth == 0 && s->conns_ended != NULL)
        conn_reap(s);
}

void stack_set_now(struct tcp_stack *s, uint64_t now_us) {
    if (!s->started) {
        s->started = true;
        s->now_us = now_us;
        wheel_init(&s->wheel, now_us);
    } else if (now_us > s->now_us) {
        s->now_us = now_us;
    }
}

int tcp_stack_add_interface(struct tcp_stack *s, const struct tcp_interface *iface) {
    assert(iface->prefix_len <= 32 && iface->mtu_bytes <= 1500 && iface->mtu_bytes >= 576);
    if (s->iface_count == TCP_INTERFACES_MAX)
        return -1;
    struct stack_interface *i = &s->ifaces[s->iface_count];
    i->cfg = *iface;
    i->mask = iface->prefix_len == 0 ? 0 : UINT32_MAX << (32 - iface->prefix_len);
    return (int)s->iface_count++;
}

int tcp_stack_listen(struct tcp_stack *s, const struct tcp_listener *l) {
    if (s->listener_count == LISTENERS_MAX)
        return -1;
    s->listeners[s->listener_count++] = *l;
    return 0;
}

bool iface_owns(const struct tcp_stack *s, unsigned int ifindex, uint32_t addr) {
    const struct tcp_interface *cfg = &s->ifaces[ifindex].cfg;
    if (addr == cfg->addr)
        return true;
    for (unsigned int i = 0; i < EXTRA_ADDRS; i++)
        if (cfg->extra_addrs[i] == addr && addr != 0)
            return true;
    return false;
}

int iface_of_addr(const struct tcp_stack *s, uint32_t addr) {
    for (unsigned int i = 0; i < s->iface_count; i++)
        if (iface_owns(s, i, addr))
            return (int)i;
    return -1;
}

/* A timer belongs to the array in which it lies. */
static void run_timer(struct tcp_stack *s, struct timer *t) {
    uint8_t *at = (uint8_t *)t;
    uint8_t *conns = (uint8_t *)s->conns;
    if (at >= conns && at < conns + (size_t)s->limits.conns_max * sizeof *s->conns)
        conn_timer((struct tcp_conn *)(void *)(at - offsetof(struct tcp_conn, timer)));
    else
        neighbour_timer(s, (struct neighbour *)(void *)t);
}

void tcp_stack_timers(struct tcp_stack *s, uint64_t now_us) {
    struct timer *t;
    stack_enter(s);
    stack_set_now(s, now_us);
    time_wait_expire(s);
    while ((t = wheel_expire(&s->wheel, s->now_us)) != NULL)
        run_timer(s, t);
    stack_leave(s);
}

void tcp_stack_flush(struct tcp_stack *s, uint64_t now_us) {
    stack_set_now(s, now_us);
    if (s->output_head == NULL)
        return;
    stack_enter(s);
    // Whatever finds no frame lists itself anew and waits for the next flush.
    struct tcp_conn *last = s->output_tail;
    for (bool more = true; more && s->output_head != NULL;) {
        struct tcp_conn *c = s->output_head;
        more = c != last;
        conn_unlist_output(c);
        tcp_output(c);
    }
    stack_leave(s);
}

uint64_t tcp_stack_next_deadline(const struct tcp_stack *s) {
    if (s->output_head != NULL)
        return s->now_us;
    uint64_t next = wheel_next_us(&s->wheel);
    if (s->time_wait_oldest != NO_INDEX) {
        uint64_t expires = s->time_waits[s->time_wait_oldest].expires_us;
        next = expires < next ? expires : next;
    }
    return next;
}

void tcp_stack_counters(const struct tcp_stack *s, uint64_t out[TCP_COUNTER_COUNT]) {
    memcpy(out, s->counters, sizeof s->counters);
}

uint32_t tcp_stack_conns(const struct tcp_stack *s) {
    return s->conn_count;
}

uint32_t tcp_stack_time_waits(const struct tcp_stack *s) {
    return s->time_wait_count;
}

size_t tcp_conn_bytes(void) {
    // With its share of the hash table, which has at most two buckets per connection.
    return sizeof(struct tcp_conn) + 2 * sizeof(uint32_t);
}
