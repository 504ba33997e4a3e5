/* SPDX-License-Identifier: BSD-3-Clause */
/* The sender's side: whole messages at once, large ones as their receiver grants them. */
#include "datagram/internal.h"

#include <stdlib.h>
#include <string.h>

static size_t message_bytes(const struct send_message *m) {
    return sizeof *m + m->len;
}

static struct send_message *message_new(const uint8_t *data, size_t len) {
    struct send_message *m = malloc(sizeof *m + len);
    if (m == NULL)
        return NULL;
    m->references = 0;
    m->len = (uint32_t)len;
    memcpy(m->data, data, len);
    return m;
}

static size_t peer_charge(const struct send_message *m) {
    return sizeof(struct send_transfer) + message_bytes(m);
}

static void message_acquire(struct datagram *d, struct send_message *m) {
    if (m->references++ == 0)
        d->send_bytes += message_bytes(m);
}

static void message_release(struct datagram *d, struct send_message *m) {
    assert(m->references > 0);
    if (--m->references > 0)
        return;
    assert(d->send_bytes >= message_bytes(m));
    d->send_bytes -= message_bytes(m);
    free(m);
}

static void emit_fragment(struct datagram *d, const struct send_transfer *t, uint32_t index) {
    const struct send_message *m = t->message;
    struct wire_writer w;
    assert(index < t->pending.fragments);
    wire_writer_init(&w, d->out + HEADER_BYTES, BODY_MAX_BYTES);
    wire_put_u64(&w, t->pending.id);
    wire_put_u32(&w, m->len);
    wire_put_u32(&w, index);
    wire_put_bytes(&w, m->data + (size_t)index * FRAGMENT_BYTES, fragment_len(m->len, index));
    assert(!w.failed);
    datagram_emit(d, t->pending.peer, DATAGRAM_TYPE_FRAGMENT, w.len);
}

static void emit_up_to(struct datagram *d, struct send_transfer *t, uint32_t end) {
    assert(end <= t->pending.fragments);
    while (t->sent_to < end)
        emit_fragment(d, t, t->sent_to++);
}

static void oldest_advance(struct peer *p) {
    while (p->send_oldest_id < p->send_next_id &&
           p->sending[p->send_oldest_id % TRANSFER_WINDOW] == NULL)
        p->send_oldest_id++;
}

/* Whether one more transfer of a message of len bytes, copied already or not, is within all limits.
 */
static bool send_allowed(const struct datagram *d, const struct peer *p, size_t len, bool copied) {
    size_t message = sizeof(struct send_message) + len;
    size_t transfer = sizeof(struct send_transfer);
    if (p->send_next_id - p->send_oldest_id >= TRANSFER_WINDOW)
        return false;
    if (p->send_bytes + message + transfer > datagram_share(d, d->cfg.send_max_bytes))
        return false;
    return d->send_bytes + transfer + (copied ? 0 : message) <= d->cfg.send_max_bytes;
}

static struct send_transfer *transfer_new(struct datagram *d, struct peer *p,
                                          struct send_message *m, uint64_t now_us) {
    struct send_transfer *t = calloc(1, sizeof *t);
    if (t == NULL)
        return NULL;
    t->message = m;
    t->pending.peer = p;
    t->pending.id = p->send_next_id++;
    t->pending.fragments = fragments_of(m->len);
    assert(p->sending[t->pending.id % TRANSFER_WINDOW] == NULL);
    p->sending[t->pending.id % TRANSFER_WINDOW] = t;
    p->send_bytes += peer_charge(m);
    d->send_bytes += sizeof *t;
    message_acquire(d, m);
    pending_start(d, &t->pending, now_us);
    return t;
}

void send_drop(struct datagram *d, struct send_transfer *t) {
    struct peer *p = t->pending.peer;
    pending_stop(&t->pending);
    assert(p->sending[t->pending.id % TRANSFER_WINDOW] == t);
    p->sending[t->pending.id % TRANSFER_WINDOW] = NULL;
    oldest_advance(p);
    assert(p->send_bytes >= peer_charge(t->message) && d->send_bytes >= sizeof *t);
    p->send_bytes -= peer_charge(t->message);
    d->send_bytes -= sizeof *t;
    message_release(d, t->message);
    free(t);
}

static void send_whole(struct datagram *d, struct peer *p, const uint8_t *message, size_t len) {
    if (len > 0)
        memcpy(d->out + HEADER_BYTES, message, len);
    datagram_emit(d, p, DATAGRAM_TYPE_MESSAGE, len);
    count(d, DATAGRAM_MESSAGES_SENT);
}

/* *copy: the message's copy, made for the first peer that takes it. */
static bool send_large(struct datagram *d, struct peer *p, const uint8_t *message, size_t len,
                       struct send_message **copy, uint64_t now_us) {
    struct send_transfer *t = NULL;
    if (send_allowed(d, p, len, *copy != NULL)) {
        if (*copy == NULL)
            *copy = message_new(message, len);
        if (*copy != NULL)
            t = transfer_new(d, p, *copy, now_us);
    }
    if (t == NULL) {
        count(d, DATAGRAM_DROP_SEND_LIMIT);
        return false;
    }
    count(d, DATAGRAM_MESSAGES_SENT);
    uint32_t first = d->cfg.initial_fragments;
    emit_up_to(d, t, first < t->pending.fragments ? first : t->pending.fragments);
    pending_progress(d, &t->pending, t->sent_to, now_us);
    return true;
}

bool datagram_send_many(struct datagram *d, const struct datagram_address *to, uint32_t count_to,
                        const uint8_t *message, size_t len, uint64_t now_us) {
    struct send_message *copy = NULL;
    bool all = true;
    for (uint32_t i = 0; i < count_to; i++) {
        struct peer *p = peer_find(d, to[i]);
        if (p == NULL) {
            count(d, DATAGRAM_DROP_PEER);
            all = false;
        } else if (len > d->cfg.message_max_bytes) {
            count(d, DATAGRAM_DROP_TOO_LARGE);
            all = false;
        } else if (len <= DATAGRAM_SINGLE_MAX_BYTES) {
            send_whole(d, p, message, len);
        } else if (!send_large(d, p, message, len, &copy, now_us)) {
            all = false;
        }
    }
    // Made, and then no memory for the transfer.
    if (copy != NULL && copy->references == 0)
        free(copy);
    return all;
}

bool datagram_send(struct datagram *d, struct datagram_address to, const uint8_t *message,
                   size_t len, uint64_t now_us) {
    return datagram_send_many(d, &to, 1, message, len, now_us);
}

static struct send_transfer *transfer_find(const struct peer *p, uint64_t id) {
    struct send_transfer *t = p->sending[id % TRANSFER_WINDOW];
    return t != NULL && t->pending.id == id ? t : NULL;
}

/*
 * Sends again what the bitmap names. The receiver may lie: at most a window of fragments, and not
 * more often than a correct receiver would ask.
 */
static void repair(struct datagram *d, struct send_transfer *t, uint32_t base,
                   const uint8_t *missing, size_t missing_bytes, uint64_t now_us) {
    if (t->repaired && now_us < t->repaired_at_us + d->cfg.retry_us / 2)
        return;
    t->repaired = true;
    t->repaired_at_us = now_us;
    uint32_t budget = d->cfg.window_fragments;
    for (size_t i = 0; i < missing_bytes * 8 && budget > 0; i++) {
        if ((missing[i / 8] & (0x80u >> (i % 8))) == 0)
            continue;
        if (base + i >= t->sent_to)
            return;
        emit_fragment(d, t, (uint32_t)(base + i));
        count(d, DATAGRAM_RESENT);
        budget--;
    }
}

/* One grant never releases more than a window, however much the receiver says. */
static void send_granted(struct datagram *d, struct send_transfer *t, uint32_t granted_to) {
    uint64_t limit = (uint64_t)t->sent_to + d->cfg.window_fragments;
    emit_up_to(d, t, granted_to < limit ? granted_to : (uint32_t)limit);
}

void send_on_grant(struct datagram *d, struct peer *p, const uint8_t *body, size_t len,
                   uint64_t now_us) {
    struct wire_reader r;
    wire_reader_init(&r, body, len);
    uint64_t id = wire_get_u64(&r);
    uint32_t granted_to = wire_get_u32(&r), base = wire_get_u32(&r);
    size_t missing_bytes = wire_remaining(&r);
    if (r.failed || missing_bytes > GRANT_BITMAP_MAX_BYTES) {
        count(d, DATAGRAM_DROP_MALFORMED);
        return;
    }
    const uint8_t *missing = body + GRANT_HEADER_BYTES;
    struct send_transfer *t = transfer_find(p, id);
    if (t == NULL)
        return; // overtaken by its own acknowledgement, or given up
    if (granted_to > t->pending.fragments || base > t->pending.fragments) {
        count(d, DATAGRAM_DROP_MALFORMED);
        return;
    }
    pending_heard(&t->pending, now_us);
    if (missing_bytes > 0)
        repair(d, t, base, missing, missing_bytes, now_us);
    send_granted(d, t, granted_to);
    pending_progress(d, &t->pending, t->sent_to, now_us);
}

void send_on_ack(struct datagram *d, struct peer *p, const uint8_t *body, size_t len,
                 bool refused) {
    struct wire_reader r;
    wire_reader_init(&r, body, len);
    uint64_t id = wire_get_u64(&r);
    if (!wire_reader_done(&r)) {
        count(d, DATAGRAM_DROP_MALFORMED);
        return;
    }
    struct send_transfer *t = transfer_find(p, id);
    if (t == NULL)
        return; // acknowledged before
    if (refused)
        count(d, DATAGRAM_DROP_REFUSED);
    send_drop(d, t);
}

/* Whatever was lost (the first fragments, or the acknowledgement), the first fragment brings an
 * answer. */
void send_nudge(struct datagram *d, struct send_transfer *t) {
    emit_fragment(d, t, 0);
    count(d, DATAGRAM_RESENT);
    if (t->sent_to == 0)
        t->sent_to = 1;
}

void send_rewind_all(struct datagram *d, struct peer *p, uint64_t now_us) {
    for (uint32_t i = 0; i < TRANSFER_WINDOW; i++) {
        struct send_transfer *t = p->sending[i];
        if (t == NULL)
            continue;
        // The first reminder starts it again, so that many transfers do not burst out here.
        t->sent_to = 0;
        t->repaired = false;
        t->pending.mark = 0;
        t->pending.give_up_at_us = now_us + d->cfg.give_up_us;
        pending_heard(&t->pending, now_us);
    }
}
