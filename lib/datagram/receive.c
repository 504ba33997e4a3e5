/* SPDX-License-Identifier: BSD-3-Clause */
/* The receiver's side: authentication, replay, reassembly and grants. */
#include "datagram/internal.h"

#include <stdlib.h>
#include <string.h>

static void emit_ack(struct datagram *d, struct peer *p, enum datagram_type type, uint64_t id) {
    struct wire_writer w;
    wire_writer_init(&w, d->out + HEADER_BYTES, ACK_BODY_BYTES);
    wire_put_u64(&w, id);
    assert(!w.failed && w.len == ACK_BODY_BYTES);
    datagram_emit(d, p, type, w.len);
}

static size_t transfer_bytes(const struct receive_transfer *t) {
    return sizeof *t + bitmap_bytes(t->pending.fragments) + t->len;
}

/* Takes it out of every table; the caller frees it. */
static void transfer_detach(struct receive_transfer *t) {
    struct peer *p = t->pending.peer;
    pending_stop(&t->pending);
    assert(p->receiving[t->pending.id % TRANSFER_WINDOW] == t);
    p->receiving[t->pending.id % TRANSFER_WINDOW] = NULL;
}

static void transfer_free(struct datagram *d, struct receive_transfer *t) {
    struct peer *p = t->pending.peer;
    size_t bytes = transfer_bytes(t);
    assert(p->receive_bytes >= bytes && d->receive_bytes >= bytes);
    p->receive_bytes -= bytes;
    d->receive_bytes -= bytes;
    free(t);
}

void receive_drop(struct datagram *d, struct receive_transfer *t) {
    transfer_detach(t);
    transfer_free(d, t);
}

static void id_close(struct peer *p, uint64_t id, bool refused) {
    bit_put(p->closed, id % TRANSFER_WINDOW, true);
    bit_put(p->refused, id % TRANSFER_WINDOW, refused);
}

void receive_give_up(struct datagram *d, struct receive_transfer *t) {
    id_close(t->pending.peer, t->pending.id, true);
    receive_drop(d, t);
}

static bool id_expired(const struct peer *p, uint64_t id) {
    return id <= p->receive_newest_id && p->receive_newest_id - id >= TRANSFER_WINDOW;
}

/* Makes id the newest number. What falls out of the window is forgotten; a correct sender has
 * nothing open there. */
static void ids_advance(struct datagram *d, struct peer *p, uint64_t id) {
    uint64_t steps = id - p->receive_newest_id;
    if (steps > TRANSFER_WINDOW)
        steps = TRANSFER_WINDOW;
    for (uint64_t i = 0; i < steps; i++) {
        uint64_t slot = (id - i) % TRANSFER_WINDOW;
        if (p->receiving[slot] != NULL) {
            count(d, DATAGRAM_DROP_REASSEMBLY_LIMIT);
            receive_drop(d, p->receiving[slot]);
        }
        bit_put(p->closed, slot, false);
    }
    p->receive_newest_id = id;
}

static struct receive_transfer *transfer_new(struct datagram *d, struct peer *p, uint64_t id,
                                             uint32_t len, uint64_t now_us) {
    uint32_t fragments = fragments_of(len);
    size_t bytes = sizeof(struct receive_transfer) + bitmap_bytes(fragments) + len;
    if (p->receive_bytes + bytes > datagram_share(d, d->cfg.reassembly_max_bytes) ||
        d->receive_bytes + bytes > d->cfg.reassembly_max_bytes)
        return NULL;
    struct receive_transfer *t = malloc(bytes);
    if (t == NULL)
        return NULL;
    memset(t, 0, sizeof *t + bitmap_bytes(fragments));
    t->pending.peer = p;
    t->pending.id = id;
    t->pending.fragments = fragments;
    t->pending.receiving = true;
    t->len = len;
    t->data = (uint8_t *)t->held + bitmap_bytes(fragments);
    // What the sender takes for itself; it is configured like us.
    t->granted_to = d->cfg.initial_fragments < fragments ? d->cfg.initial_fragments : fragments;
    p->receiving[id % TRANSFER_WINDOW] = t;
    p->receive_bytes += bytes;
    d->receive_bytes += bytes;
    pending_start(d, &t->pending, now_us);
    return t;
}

/* A body of GRANT up to its bitmap, which follows at the returned writer. */
static struct wire_writer grant_begin(struct datagram *d, const struct receive_transfer *t) {
    struct wire_writer w;
    wire_writer_init(&w, d->out + HEADER_BYTES, GRANT_HEADER_BYTES + GRANT_BITMAP_MAX_BYTES);
    wire_put_u64(&w, t->pending.id);
    wire_put_u32(&w, t->granted_to);
    wire_put_u32(&w, t->base);
    return w;
}

static uint32_t grant_target(const struct datagram *d, const struct receive_transfer *t) {
    uint64_t target = (uint64_t)t->received + d->cfg.window_fragments;
    if (target < t->granted_to)
        target = t->granted_to;
    return target < t->pending.fragments ? (uint32_t)target : t->pending.fragments;
}

/* Not for every fragment: a quarter of a window at a time, or the end. */
static void grant_more(struct datagram *d, struct receive_transfer *t) {
    uint32_t target = grant_target(d, t);
    if (target == t->granted_to ||
        (target - t->granted_to < d->progress_fragments && target < t->pending.fragments))
        return;
    t->granted_to = target;
    struct wire_writer w = grant_begin(d, t);
    assert(!w.failed);
    datagram_emit(d, t->pending.peer, DATAGRAM_TYPE_GRANT, w.len);
}

static void base_advance(struct receive_transfer *t) {
    while (t->base < t->pending.fragments && bit_test(t->held, t->base))
        t->base++;
}

/* After a silence: everything granted should be here; name what is not. */
void receive_repair(struct datagram *d, struct receive_transfer *t) {
    uint8_t missing[GRANT_BITMAP_MAX_BYTES] = {0};
    t->granted_to = grant_target(d, t);
    base_advance(t);
    uint32_t span = t->granted_to > t->base ? t->granted_to - t->base : 0;
    if (span > GRANT_BITMAP_MAX_BYTES * 8)
        span = GRANT_BITMAP_MAX_BYTES * 8;
    for (uint32_t i = 0; i < span; i++)
        if (!bit_test(t->held, t->base + i))
            missing[i / 8] |= (uint8_t)(0x80u >> (i % 8));
    struct wire_writer w = grant_begin(d, t);
    wire_put_bytes(&w, missing, (span + 7) / 8);
    assert(!w.failed);
    datagram_emit(d, t->pending.peer, DATAGRAM_TYPE_GRANT, w.len);
}

static void deliver(struct datagram *d, struct peer *p, const uint8_t *message, size_t len) {
    count(d, DATAGRAM_MESSAGES_DELIVERED);
    d->env.deliver(d->env.ctx, p->address, message, len);
}

static void transfer_finish(struct datagram *d, struct receive_transfer *t) {
    struct peer *p = t->pending.peer;
    transfer_detach(t);
    id_close(p, t->pending.id, false);
    emit_ack(d, p, DATAGRAM_TYPE_FINISHED, t->pending.id);
    // Still charged while the callee reads it, and may send.
    deliver(d, p, t->data, t->len);
    transfer_free(d, t);
}

struct fragment {
    uint64_t id;
    uint32_t message_len;
    uint32_t index;
    const uint8_t *data;
    size_t len;
};

static bool fragment_read(struct fragment *f, const uint8_t *body, size_t len) {
    struct wire_reader r;
    wire_reader_init(&r, body, len);
    f->id = wire_get_u64(&r);
    f->message_len = wire_get_u32(&r);
    f->index = wire_get_u32(&r);
    f->len = wire_remaining(&r);
    f->data = wire_get_view(&r, f->len);
    if (!wire_reader_done(&r) || f->id == 0)
        return false;
    // One spelling of every message: what fits one datagram never comes in fragments.
    if (f->message_len <= DATAGRAM_SINGLE_MAX_BYTES ||
        f->message_len > DATAGRAM_MESSAGE_LIMIT_BYTES)
        return false;
    return f->index < fragments_of(f->message_len) &&
           f->len == fragment_len(f->message_len, f->index);
}

/* The transfer that a fragment belongs to, started if need be; NULL when there is none (counted).
 */
static struct receive_transfer *transfer_of(struct datagram *d, struct peer *p,
                                            const struct fragment *f, uint64_t now_us) {
    struct receive_transfer *t;
    if (id_expired(p, f->id)) {
        count(d, DATAGRAM_DROP_DUPLICATE);
        emit_ack(d, p, DATAGRAM_TYPE_REFUSED, f->id);
        return NULL;
    }
    if (f->id > p->receive_newest_id)
        ids_advance(d, p, f->id);
    if (bit_test(p->closed, f->id % TRANSFER_WINDOW)) {
        bool refused = bit_test(p->refused, f->id % TRANSFER_WINDOW);
        count(d, DATAGRAM_DROP_DUPLICATE);
        emit_ack(d, p, refused ? DATAGRAM_TYPE_REFUSED : DATAGRAM_TYPE_FINISHED, f->id);
        return NULL;
    }
    t = p->receiving[f->id % TRANSFER_WINDOW];
    if (t != NULL) {
        assert(t->pending.id == f->id);
        return t;
    }
    if (f->message_len > d->cfg.message_max_bytes) {
        count(d, DATAGRAM_DROP_TOO_LARGE);
        id_close(p, f->id, true);
        emit_ack(d, p, DATAGRAM_TYPE_REFUSED, f->id);
        return NULL;
    }
    // No room is not a refusal: the sender's nudges try again until it gives up.
    t = transfer_new(d, p, f->id, f->message_len, now_us);
    if (t == NULL)
        count(d, DATAGRAM_DROP_REASSEMBLY_LIMIT);
    return t;
}

static void on_fragment(struct datagram *d, struct peer *p, const uint8_t *body, size_t len,
                        uint64_t now_us) {
    struct fragment f;
    if (!fragment_read(&f, body, len)) {
        count(d, DATAGRAM_DROP_MALFORMED);
        return;
    }
    struct receive_transfer *t = transfer_of(d, p, &f, now_us);
    if (t == NULL)
        return;
    if (t->len != f.message_len) {
        count(d, DATAGRAM_DROP_MALFORMED);
        return;
    }
    if (bit_test(t->held, f.index)) {
        count(d, DATAGRAM_DROP_DUPLICATE);
        return;
    }
    memcpy(t->data + (size_t)f.index * FRAGMENT_BYTES, f.data, f.len);
    bit_put(t->held, f.index, true);
    t->received++;
    pending_heard(&t->pending, now_us);
    pending_progress(d, &t->pending, t->received, now_us);
    if (t->received == t->pending.fragments)
        transfer_finish(d, t);
    else
        grant_more(d, t);
}

static void on_message(struct datagram *d, struct peer *p, const uint8_t *body, size_t len) {
    if (len > d->cfg.message_max_bytes)
        count(d, DATAGRAM_DROP_TOO_LARGE);
    else
        deliver(d, p, body, len);
}

/* The peer was started again: nothing of its former life will be completed. */
static void epoch_advance(struct datagram *d, struct peer *p, uint64_t epoch, uint64_t now_us) {
    for (uint32_t i = 0; i < TRANSFER_WINDOW; i++) {
        if (p->receiving[i] == NULL)
            continue;
        count(d, DATAGRAM_DROP_REASSEMBLY_EPOCH);
        receive_drop(d, p->receiving[i]);
    }
    assert(p->receive_bytes == 0);
    memset(p->closed, 0, sizeof p->closed);
    p->receive_newest_id = 0;
    // The first epoch ever heard of a peer says nothing about what it holds.
    if (p->replay.newest != 0)
        send_rewind_all(d, p, now_us);
    replay_reset(&p->replay);
    p->epoch_in = epoch;
}

/* Everything that must hold before a datagram is believed. NULL: dropped and counted. */
static struct peer *authenticate(struct datagram *d, struct datagram_header *h, const uint8_t *data,
                                 size_t len) {
    if (len < DATAGRAM_OVERHEAD_BYTES) {
        count(d, DATAGRAM_DROP_SHORT);
        return NULL;
    }
    if (len > DATAGRAM_MAX_BYTES) {
        count(d, DATAGRAM_DROP_MALFORMED);
        return NULL;
    }
    if (!header_read(h, data, len)) {
        count(d, DATAGRAM_DROP_MAGIC);
        return NULL;
    }
    if (h->to.principal != d->cfg.self.principal || h->to.endpoint != d->cfg.self.endpoint) {
        count(d, DATAGRAM_DROP_DESTINATION);
        return NULL;
    }
    struct peer *p = peer_find(d, h->from);
    if (p == NULL) {
        count(d, DATAGRAM_DROP_PEER);
        return NULL;
    }
    if (!header_authentic(p->mac_in, data, len)) {
        count(d, DATAGRAM_DROP_MAC);
        return NULL;
    }
    return p;
}

/* False: of a former life, or seen before (counted). */
static bool fresh(struct datagram *d, struct peer *p, const struct datagram_header *h,
                  uint64_t now_us) {
    if (h->epoch < p->epoch_in) {
        count(d, DATAGRAM_DROP_EPOCH);
        return false;
    }
    if (h->epoch > p->epoch_in)
        epoch_advance(d, p, h->epoch, now_us);
    if (!replay_accept(&p->replay, h->counter)) {
        count(d, DATAGRAM_DROP_REPLAY);
        return false;
    }
    return true;
}

void datagram_input(struct datagram *d, const uint8_t *data, size_t len, uint64_t now_us) {
    struct datagram_header h;
    count(d, DATAGRAM_RECEIVED);
    struct peer *p = authenticate(d, &h, data, len);
    if (p == NULL || !fresh(d, p, &h, now_us))
        return;
    const uint8_t *body = data + HEADER_BYTES;
    size_t body_len = len - DATAGRAM_OVERHEAD_BYTES;
    switch (h.type) {
    case DATAGRAM_TYPE_MESSAGE:
        on_message(d, p, body, body_len);
        break;
    case DATAGRAM_TYPE_FRAGMENT:
        on_fragment(d, p, body, body_len, now_us);
        break;
    case DATAGRAM_TYPE_GRANT:
        send_on_grant(d, p, body, body_len, now_us);
        break;
    case DATAGRAM_TYPE_FINISHED:
    case DATAGRAM_TYPE_REFUSED:
        send_on_ack(d, p, body, body_len, h.type == DATAGRAM_TYPE_REFUSED);
        break;
    default:
        count(d, DATAGRAM_DROP_MALFORMED);
    }
}
