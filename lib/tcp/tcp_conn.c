/* SPDX-License-Identifier: BSD-3-Clause */
/* The table of connections, and how one begins and ends. */
#include "tcp/tcp_internal.h"

static uint32_t index_of(const struct tcp_stack *s, const struct tcp_conn *c) {
    return (uint32_t)(c - s->conns);
}

static uint32_t *bucket_of(const struct tcp_stack *s, uint32_t local_addr, uint16_t local_port,
                           uint32_t remote_addr, uint16_t remote_port) {
    uint32_t hash = table_hash(s, local_addr, local_port, remote_addr, remote_port);
    return &s->conn_buckets[hash & s->conn_mask];
}

static bool is_tuple(const struct tcp_conn *c, const struct segment *seg) {
    return c->remote_addr == seg->remote_addr && c->remote_port == seg->remote_port &&
           c->local_addr == seg->local_addr && c->local_port == seg->local_port;
}

struct tcp_conn *conn_lookup(const struct tcp_stack *s, const struct segment *seg) {
    uint32_t i =
        *bucket_of(s, seg->local_addr, seg->local_port, seg->remote_addr, seg->remote_port);
    while (i != NO_INDEX && !is_tuple(&s->conns[i], seg))
        i = s->conns[i].hash_next;
    return i == NO_INDEX ? NULL : &s->conns[i];
}

static struct tcp_conn *take_free(struct tcp_stack *s) {
    struct tcp_conn *c = s->conns_free;
    if (c != NULL)
        s->conns_free = c->output_next;
    else if (s->conns_used_ever < s->limits.conns_max)
        c = &s->conns[s->conns_used_ever++];
    return c;
}

struct tcp_conn *conn_new(struct tcp_stack *s, unsigned int ifindex, uint32_t next_hop,
                          uint32_t local_addr, uint16_t local_port, uint32_t remote_addr,
                          uint16_t remote_port) {
    struct tcp_conn *c = take_free(s);
    if (c == NULL)
        return NULL;
    uint32_t *bucket = bucket_of(s, local_addr, local_port, remote_addr, remote_port);
    *c = (struct tcp_conn){
        .local_addr = local_addr,
        .local_port = local_port,
        .remote_addr = remote_addr,
        .remote_port = remote_port,
        .hash_next = *bucket,
        .stack = s,
        .ifindex = (uint8_t)ifindex,
        .next_hop = next_hop,
        .neighbour = NO_INDEX,
        .rcv_seg_size = 536,
        .reorder_scale = 1,
        .ts_offset = timestamp_offset(s, local_addr, local_port, remote_addr, remote_port),
        .mss = 536, // RFC 9293 3.7.1: without the option
    };
    for (unsigned int d = 0; d < DEADLINE_COUNT; d++)
        c->deadlines_us[d] = NEVER;
    *bucket = index_of(s, c);
    s->conn_count++;
    rtt_init(c);
    return c;
}

static void remove_from_table(struct tcp_conn *c) {
    struct tcp_stack *s = c->stack;
    uint32_t *link = bucket_of(s, c->local_addr, c->local_port, c->remote_addr, c->remote_port);
    while (*link != index_of(s, c))
        link = &s->conns[*link].hash_next;
    *link = c->hash_next;
    s->conn_count--;
}

void conn_finish(struct tcp_conn *c, enum tcp_close_reason why) {
    struct tcp_stack *s = c->stack;
    assert(s->depth > 0 && c->state != TCP_STATE_CLOSED);
    remove_from_table(c);
    source_remove(c);
    if (c->state == TCP_STATE_SYN_RECEIVED && (c->flags & CONN_ACTIVE) == 0)
        s->half_open--;
    else
        count(s, TCP_CONNS_CLOSED);
    c->state = TCP_STATE_CLOSED;
    wheel_cancel(&s->wheel, &c->timer);
    conn_unlist_output(c);
    c->output_next = s->conns_ended;
    s->conns_ended = c;
    board_free(c);
    sendq_free(&c->sendq, s->env.pool, &s->refs);
    if (c->handlers != NULL && c->handlers->on_closed != NULL)
        c->handlers->on_closed(c, c->user, why);
}

void conn_reap(struct tcp_stack *s) {
    while (s->conns_ended != NULL) {
        struct tcp_conn *c = s->conns_ended;
        s->conns_ended = c->output_next;
        // Not earlier: the owner may have ended the connection while it read these very bytes.
        buf_chain_free(&c->recvq, s->env.pool);
        reassembly_free(c);
        c->output_next = s->conns_free;
        s->conns_free = c;
    }
}

void conn_abort(struct tcp_conn *c, enum tcp_close_reason why) {
    if (c->state != TCP_STATE_SYN_SENT && c->state != TCP_STATE_TIME_WAIT)
        tcp_send_reset(c);
    conn_finish(c, why);
}

void conn_finish_if_done(struct tcp_conn *c) {
    if (!conn_is_done(c))
        return;
    if (c->recvq.len > 0) {
        // The owner has closed but not yet read; it has that long to take the rest.
        if (c->deadlines_us[DEADLINE_LIFE] == NEVER)
            conn_arm(c, DEADLINE_LIFE, c->stack->now_us + c->stack->limits.fin_wait_2_us);
        return;
    }
    if ((c->flags & (CONN_ACK_DUE | CONN_ACK_NOW)) != 0)
        tcp_send_ack(c);
    if (c->state == TCP_STATE_TIME_WAIT)
        time_wait_add(c);
    conn_finish(c, TCP_CLOSED_NORMALLY);
}

void conn_list_output(struct tcp_conn *c) {
    struct tcp_stack *s = c->stack;
    if (c->output_prev != NULL || c->state == TCP_STATE_CLOSED)
        return;
    // The first of the list points to itself, so that output_prev also says "is listed".
    c->output_next = NULL;
    c->output_prev = s->output_tail != NULL ? s->output_tail : c;
    if (s->output_tail != NULL)
        s->output_tail->output_next = c;
    else
        s->output_head = c;
    s->output_tail = c;
}

void conn_unlist_output(struct tcp_conn *c) {
    struct tcp_stack *s = c->stack;
    if (c->output_prev == NULL)
        return;
    bool first = c->output_prev == c;
    if (c->output_next != NULL)
        c->output_next->output_prev = first ? c->output_next : c->output_prev;
    else
        s->output_tail = first ? NULL : c->output_prev;
    if (first)
        s->output_head = c->output_next;
    else
        c->output_prev->output_next = c->output_next;
    c->output_prev = c->output_next = NULL;
}
