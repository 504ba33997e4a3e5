/* SPDX-License-Identifier: BSD-3-Clause */
/* TIME-WAIT (RFC 9293 3.6) in compact entries, oldest first. */
#include "tcp/tcp_internal.h"

#include <stdlib.h>

bool time_wait_init(struct tcp_stack *s) {
    uint32_t buckets = 16;
    while (buckets < s->limits.time_wait_max && buckets < 1u << 31)
        buckets <<= 1;
    s->time_wait_mask = buckets - 1;
    s->time_wait_free = s->time_wait_oldest = s->time_wait_newest = NO_INDEX;
    s->time_waits = calloc(max_u32(s->limits.time_wait_max, 1), sizeof *s->time_waits);
    s->time_wait_buckets = malloc(buckets * sizeof *s->time_wait_buckets);
    if (s->time_waits == NULL || s->time_wait_buckets == NULL)
        return false;
    memset(s->time_wait_buckets, 0xff, buckets * sizeof *s->time_wait_buckets);
    return true;
}

static uint32_t *bucket_of(const struct tcp_stack *s, uint32_t local_addr, uint16_t local_port,
                           uint32_t remote_addr, uint16_t remote_port) {
    uint32_t hash = table_hash(s, local_addr, local_port, remote_addr, remote_port);
    return &s->time_wait_buckets[hash & s->time_wait_mask];
}

static uint32_t find(const struct tcp_stack *s, uint32_t local_addr, uint16_t local_port,
                     uint32_t remote_addr, uint16_t remote_port) {
    uint32_t i = *bucket_of(s, local_addr, local_port, remote_addr, remote_port);
    for (; i != NO_INDEX; i = s->time_waits[i].hash_next) {
        const struct time_wait *t = &s->time_waits[i];
        if (t->remote_addr == remote_addr && t->remote_port == remote_port &&
            t->local_addr == local_addr && t->local_port == local_port)
            break;
    }
    return i;
}

static void queue_push(struct tcp_stack *s, uint32_t i) {
    struct time_wait *t = &s->time_waits[i];
    t->expires_us = s->now_us + s->limits.time_wait_us;
    t->next = NO_INDEX;
    t->prev = s->time_wait_newest;
    if (t->prev != NO_INDEX)
        s->time_waits[t->prev].next = i;
    else
        s->time_wait_oldest = i;
    s->time_wait_newest = i;
}

static void queue_remove(struct tcp_stack *s, uint32_t i) {
    const struct time_wait *t = &s->time_waits[i];
    if (t->prev != NO_INDEX)
        s->time_waits[t->prev].next = t->next;
    else
        s->time_wait_oldest = t->next;
    if (t->next != NO_INDEX)
        s->time_waits[t->next].prev = t->prev;
    else
        s->time_wait_newest = t->prev;
}

static void remove_entry(struct tcp_stack *s, uint32_t i) {
    struct time_wait *t = &s->time_waits[i];
    uint32_t *link = bucket_of(s, t->local_addr, t->local_port, t->remote_addr, t->remote_port);
    while (*link != i)
        link = &s->time_waits[*link].hash_next;
    *link = t->hash_next;
    queue_remove(s, i);
    t->hash_next = s->time_wait_free;
    s->time_wait_free = i;
    s->time_wait_count--;
}

void time_wait_add(const struct tcp_conn *c) {
    struct tcp_stack *s = c->stack;
    if (s->limits.time_wait_max == 0)
        return;
    if (s->time_wait_count == s->limits.time_wait_max)
        remove_entry(s, s->time_wait_oldest);
    uint32_t i = s->time_wait_free;
    if (i != NO_INDEX)
        s->time_wait_free = s->time_waits[i].hash_next;
    else
        i = s->time_wait_used_ever++;
    uint32_t *bucket = bucket_of(s, c->local_addr, c->local_port, c->remote_addr, c->remote_port);
    s->time_waits[i] = (struct time_wait){
        .local_addr = c->local_addr,
        .local_port = c->local_port,
        .remote_addr = c->remote_addr,
        .remote_port = c->remote_port,
        .snd_nxt = c->snd_max,
        .rcv_nxt = c->rcv_nxt,
        .window = (uint16_t)min_u32((c->rcv_adv - c->rcv_nxt) >> c->rcv_scale, UINT16_MAX),
        .ifindex = c->ifindex,
        .timestamps = (c->flags & CONN_TIMESTAMPS) != 0,
        .ts_recent = c->ts_recent,
        .hash_next = *bucket,
    };
    *bucket = i;
    queue_push(s, i);
    s->time_wait_count++;
}

bool time_wait_has(const struct tcp_stack *s, uint32_t local_addr, uint16_t local_port,
                   uint32_t remote_addr, uint16_t remote_port) {
    return find(s, local_addr, local_port, remote_addr, remote_port) != NO_INDEX;
}

/* RFC 9293 3.6.1; RFC 6191 2 where the former connection had timestamps. */
static bool is_new_incarnation(const struct time_wait *t, const struct segment *seg) {
    struct tcp_options o;
    bool beyond = seq_gt(seg->seq, t->rcv_nxt);
    if (!t->timestamps || !tcp_options_parse(seg->options, seg->option_bytes, &o) ||
        !o.has_timestamps)
        return beyond;
    return seq_gt(o.ts_value, t->ts_recent) || (beyond && o.ts_value == t->ts_recent);
}

/* RFC 9293 3.10.7.4, the parts about TIME-WAIT. */
bool time_wait_input(struct tcp_stack *s, const struct segment *seg) {
    uint32_t i = find(s, seg->local_addr, seg->local_port, seg->remote_addr, seg->remote_port);
    if (i == NO_INDEX)
        return false;
    const struct time_wait t = s->time_waits[i];
    if ((seg->flags & TCP_RST) != 0) {
        // RFC 1337: a reset must not end TIME-WAIT early.
        count(s, TCP_DROP_TCP_SEQUENCE);
        return true;
    }
    if ((seg->flags & (TCP_SYN | TCP_ACK)) == TCP_SYN && is_new_incarnation(&t, seg)) {
        // A new incarnation, which must start beyond the old one's sequence numbers (RFC
        // 9293 3.6.1).
        remove_entry(s, i);
        listen_input(s, seg, &t.snd_nxt);
        return true;
    }
    if ((seg->flags & TCP_FIN) != 0 && seg->seq + seg->len + 1 == t.rcv_nxt) {
        // Our last acknowledgement was lost: once more, and twice the segment lifetime from now on.
        queue_remove(s, i);
        queue_push(s, i);
    } else if (segment_span(seg) == 0 && seg->seq == t.rcv_nxt) {
        count(s, TCP_DROP_TCP_SEQUENCE);
        return true;
    }
    uint8_t options[TIMESTAMP_BYTES];
    uint32_t clock = timestamp_clock(s) + timestamp_offset(s, seg->local_addr, seg->local_port,
                                                           seg->remote_addr, seg->remote_port);
    tcp_options_write_timestamps(options, clock, t.ts_recent);
    tcp_send_bare(s, seg, t.snd_nxt, t.rcv_nxt, TCP_ACK, t.window, options,
                  t.timestamps ? sizeof options : 0);
    return true;
}

void time_wait_expire(struct tcp_stack *s) {
    while (s->time_wait_oldest != NO_INDEX &&
           s->time_waits[s->time_wait_oldest].expires_us <= s->now_us)
        remove_entry(s, s->time_wait_oldest);
}
