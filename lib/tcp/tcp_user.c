/* SPDX-License-Identifier: BSD-3-Clause */
/* The calls of the owner: RFC 9293 3.10.1 to 3.10.5. */
#include "tcp/tcp_internal.h"

static bool tuple_in_use(const struct tcp_stack *s, uint32_t src, uint16_t src_port, uint32_t dst,
                         uint16_t dst_port) {
    struct segment seg = {
        .local_addr = src, .local_port = src_port, .remote_addr = dst, .remote_port = dst_port};
    return conn_lookup(s, &seg) != NULL || time_wait_has(s, src, src_port, dst, dst_port);
}

struct tcp_conn *tcp_connect(struct tcp_stack *s, uint32_t src, uint16_t src_port, uint32_t dst,
                             uint16_t dst_port, const struct tcp_handlers *h, void *user,
                             uint64_t now_us) {
    struct route route;
    assert(h != NULL);
    stack_set_now(s, now_us);
    int ifindex = iface_of_addr(s, src);
    if (s->dying || ifindex < 0 || src_port == 0 || dst_port == 0 || !ip_is_unicast(dst))
        return NULL;
    if (!ip_route(s, (unsigned int)ifindex, dst, &route)) {
        count(s, TCP_DROP_NO_ROUTE);
        return NULL;
    }
    if (tuple_in_use(s, src, src_port, dst, dst_port))
        return NULL;
    struct tcp_conn *c = conn_new(s, route.ifindex, route.next_hop, src, src_port, dst, dst_port);
    if (c == NULL) {
        count(s, TCP_DROP_TCP_CONN_LIMIT);
        return NULL;
    }
    count(s, TCP_CONNS_OPENED);
    c->state = TCP_STATE_SYN_SENT;
    c->flags |= CONN_ACTIVE;
    c->handlers = h;
    c->user = user;
    c->snd_una = isn_choose(s, src, src_port, dst, dst_port);
    c->snd_nxt = c->snd_max = c->snd_una + 1;
    rtt_start(c, c->snd_una);
    tcp_send_syn(c);
    conn_arm(c, DEADLINE_RETRANSMIT, s->now_us + conn_rto_us(c));
    return c;
}

void tcp_conn_set_user(struct tcp_conn *c, void *user) {
    c->user = user;
}

void tcp_conn_peer(const struct tcp_conn *c, uint32_t *addr, uint16_t *port) {
    *addr = c->remote_addr;
    *port = c->remote_port;
}

void tcp_conn_local(const struct tcp_conn *c, uint32_t *addr, uint16_t *port) {
    *addr = c->local_addr;
    *port = c->local_port;
}

/* The owner has not closed, and the connection has not ended. */
static bool may_send(const struct tcp_conn *c) {
    return c->state != TCP_STATE_CLOSED && (c->flags & CONN_FIN_QUEUED) == 0;
}

size_t tcp_send(struct tcp_conn *c, const void *data, size_t len) {
    struct tcp_stack *s = c->stack;
    if (!may_send(c))
        return 0;
    size_t limit = s->limits.send_queue_bytes;
    size_t room = c->sendq.len < limit ? limit - c->sendq.len : 0;
    size_t taken = sendq_append(&c->sendq, s->env.pool, data, len < room ? len : room);
    if (taken > 0)
        conn_list_output(c);
    if (taken < len) {
        c->flags |= CONN_REFUSED;
        // The pool is empty and nothing of ours is out that could be acknowledged: ask again in a
        // moment.
        if (c->sendq.len == 0)
            conn_arm(c, DEADLINE_NUDGE, s->now_us + SEND_NUDGE_US);
    }
    return taken;
}

void tcp_send_chain(struct tcp_conn *c, struct buf_chain *chain) {
    if (!may_send(c) || chain->len == 0) {
        buf_chain_free(chain, c->stack->env.pool);
        return;
    }
    assert(chain->len <= SENDQ_BYTES_MAX - c->sendq.len);
    sendq_append_chain(&c->sendq, chain);
    conn_list_output(c);
}

bool tcp_send_ref(struct tcp_conn *c, const uint8_t *data, size_t len, void (*release)(void *arg),
                  void *arg) {
    if (!may_send(c) || len > SENDQ_BYTES_MAX - c->sendq.len)
        return false;
    if (len == 0) {
        if (release != NULL)
            release(arg);
        return true;
    }
    if (!sendq_append_ref(&c->sendq, &c->stack->refs, data, len, release, arg))
        return false;
    conn_list_output(c);
    return true;
}

size_t tcp_send_queued(const struct tcp_conn *c) {
    return c->sendq.len;
}

void tcp_recv_resume(struct tcp_conn *c) {
    if (c->state < TCP_STATE_ESTABLISHED || c->handlers == NULL)
        return;
    stack_enter(c->stack);
    receive_resume(c);
    if (c->state != TCP_STATE_CLOSED && (c->flags & CONN_DELIVERING) == 0)
        conn_finish_if_done(c);
    stack_leave(c->stack);
}

/* RFC 9293 3.10.4. */
static void close_by_state(struct tcp_conn *c) {
    switch (c->state) {
    case TCP_STATE_SYN_SENT:
        conn_finish(c, TCP_CLOSED_ABORTED);
        return;
    case TCP_STATE_SYN_RECEIVED: // goes on to FIN-WAIT-1 when it is established
        c->flags |= CONN_FIN_QUEUED;
        return;
    case TCP_STATE_ESTABLISHED:
        c->state = TCP_STATE_FIN_WAIT_1;
        break;
    case TCP_STATE_CLOSE_WAIT:
        c->state = TCP_STATE_LAST_ACK;
        break;
    default: // closed already
        return;
    }
    c->flags |= CONN_FIN_QUEUED;
    conn_list_output(c);
}

void tcp_close(struct tcp_conn *c, bool linger) {
    if (c->state == TCP_STATE_CLOSED)
        return;
    stack_enter(c->stack);
    if (linger) {
        c->flags |= CONN_LINGER;
        // Inside on_data its bytes may be those of the queue: then they go after its return.
        if ((c->flags & CONN_DELIVERING) == 0)
            receive_discard(c);
    }
    close_by_state(c);
    if (c->state != TCP_STATE_CLOSED && (c->flags & CONN_DELIVERING) == 0)
        conn_finish_if_done(c);
    stack_leave(c->stack);
}

void tcp_abort(struct tcp_conn *c) {
    if (c->state == TCP_STATE_CLOSED)
        return;
    stack_enter(c->stack);
    conn_abort(c, TCP_CLOSED_ABORTED);
    stack_leave(c->stack);
}
