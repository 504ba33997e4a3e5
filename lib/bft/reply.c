/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * REPLY: in full from the designated replica, and as a digest from the others; kept per session,
 * within memory, for copies of the request.
 */
#include "bft/internal.h"

#include <stdlib.h>
#include <string.h>

/*
 * Small replies are always kept (sessions_max bounds them), so that one client's large results
 * cannot take them. Only the others count as memory and are listed for eviction.
 */
#define SMALL_REPLY_BYTES (BFT_REPLY_FIXED_BYTES + BFT_INLINE_RESULT_BYTES)

static bool is_listed(const struct bft_session *s) {
    return s->reply != NULL && s->reply_cap > SMALL_REPLY_BYTES;
}

static void list_remove(struct bft_replica *r, struct bft_session *s) {
    *(s->result_older != NULL ? &s->result_older->result_newer : &r->result_oldest) =
        s->result_newer;
    *(s->result_newer != NULL ? &s->result_newer->result_older : &r->result_newest) =
        s->result_older;
    s->result_older = s->result_newer = NULL;
}

static void list_append(struct bft_replica *r, struct bft_session *s) {
    s->result_older = r->result_newest;
    s->result_newer = NULL;
    *(r->result_newest != NULL ? &r->result_newest->result_newer : &r->result_oldest) = s;
    r->result_newest = s;
}

void bft_reply_forget(struct bft_replica *r, struct bft_session *s) {
    if (is_listed(s)) {
        list_remove(r, s);
        assert(r->result_bytes >= s->reply_cap);
        r->result_bytes -= s->reply_cap;
    }
    free(s->reply);
    s->reply = NULL;
    s->reply_len = s->reply_cap = 0;
}

static bool make_room(struct bft_replica *r, size_t len) {
    size_t limit = r->cfg.memory_max_bytes / 2;
    while (r->result_bytes + len > limit && r->result_oldest != NULL) {
        bft_reply_forget(r, r->result_oldest);
        bft_count(r, BFT_REPLICA_RESULTS_EVICTED);
    }
    return r->result_bytes + len <= limit;
}

/* Room for a reply of len bytes in the session; false when memory does not allow to keep it. */
static bool reply_reserve(struct bft_replica *r, struct bft_session *s, size_t len) {
    if (len > s->reply_cap || s->reply_cap > 4 * len + SMALL_REPLY_BYTES)
        bft_reply_forget(r, s);
    if (s->reply == NULL) {
        size_t cap = len < SMALL_REPLY_BYTES ? SMALL_REPLY_BYTES : len;
        if ((cap > SMALL_REPLY_BYTES && !make_room(r, cap)) || (s->reply = malloc(cap)) == NULL) {
            bft_count(r, BFT_REPLICA_RESULTS_EVICTED);
            return false;
        }
        s->reply_cap = cap;
        r->result_bytes += is_listed(s) ? cap : 0;
    } else if (is_listed(s)) {
        list_remove(r, s);
    }
    if (is_listed(s))
        list_append(r, s);
    return true;
}

static void send_head(struct bft_replica *r, struct bft_reply_msg *m) {
    uint8_t out[BFT_REPLY_FIXED_BYTES];
    m->result_len = 0;
    size_t len = bft_encode_reply_head(out, sizeof out, m);
    assert(len == sizeof out);
    bft_count(r, BFT_REPLICA_REPLIES);
    r->env.send(r->env.ctx, m->session.principal, m->session.endpoint, out, len);
}

static struct bft_reply_msg reply_msg(const struct bft_replica *r, const struct bft_session_id *id,
                                      uint64_t number, uint64_t sigma, uint8_t flags) {
    struct bft_reply_msg m = {.h = bft_header_of(r, BFT_MSG_REPLY),
                              .view = r->view,
                              .session = *id,
                              .number = number,
                              .sigma = sigma};
    m.h.flags = flags;
    return m;
}

static struct bft_reply_msg reply_of_session(const struct bft_replica *r,
                                             const struct bft_session *s) {
    struct bft_reply_msg m = reply_msg(r, &s->id, s->number, s->sigma, s->reply_flags);
    memcpy(m.digest, s->digest, sizeof m.digest);
    return m;
}

/* OSDI 5.1: "A client request designates a replica to send the result; all other replicas send
 * replies containing just the digest of the result"; a retransmission requests "all replicas to
 * send full replies". */
static bool in_full(const struct bft_replica *r, const struct bft_request *req, size_t len) {
    return req->full_reply || req->designated == r->cfg.self || len <= BFT_INLINE_RESULT_BYTES;
}

static void send_full(struct bft_replica *r, struct bft_session *s) {
    s->resend_full_us = r->now_us + s->reply_len / BFT_SLOW_PATH_BYTES_PER_US;
    bft_count(r, BFT_REPLICA_REPLIES);
    r->env.send(r->env.ctx, s->id.principal, s->id.endpoint, s->reply, s->reply_len);
}

/* Encodes a reply in full into out: head and result. */
static size_t encode_full(uint8_t *out, size_t cap, struct bft_reply_msg *m, const uint8_t *result,
                          size_t len) {
    m->result_len = (uint32_t)len;
    size_t head = bft_encode_reply_head(out, cap, m);
    assert(head == BFT_REPLY_FIXED_BYTES && cap - head >= len);
    if (len > 0)
        memcpy(out + head, result, len);
    return head + len;
}

void bft_reply_ordered(struct bft_replica *r, struct bft_session *s, const struct bft_request *req,
                       const uint8_t *result, size_t len) {
    s->answered = result != NULL;
    s->reply_flags = 0;
    if (result == NULL) {
        /* design.md 5: a replica whose backend fails stays silent; that is never a reply. */
        bft_reply_forget(r, s);
        bft_count(r, BFT_REPLICA_EXECUTE_FAILED);
        return;
    }
    if (len > r->cfg.group.result_max_bytes) {
        s->reply_flags = BFT_REPLY_TOO_LARGE;
        len = 0;
    }
    bft_result_digest(r->sha, s->reply_flags, result, len, s->digest);
    struct bft_reply_msg m = reply_of_session(r, s);
    bool full = in_full(r, req, len);
    if (reply_reserve(r, s, BFT_REPLY_FIXED_BYTES + len)) {
        s->reply_len = encode_full(s->reply, s->reply_cap, &m, result, len);
        if (full) {
            send_full(r, s);
            return;
        }
    }
    m.h.flags |= BFT_REPLY_DIGEST_ONLY;
    send_head(r, &m);
}

void bft_reply_cached(struct bft_replica *r, struct bft_session *s, bool full) {
    if (!s->answered)
        return;
    bft_count(r, BFT_REPLICA_REPLIES_CACHED);
    size_t result_len = s->reply_len - BFT_REPLY_FIXED_BYTES;
    bool inlined = s->reply != NULL && result_len <= BFT_INLINE_RESULT_BYTES;
    if (s->reply != NULL && (inlined || (full && r->now_us >= s->resend_full_us))) {
        send_full(r, s);
        return;
    }
    struct bft_reply_msg m = reply_of_session(r, s);
    m.h.flags |= BFT_REPLY_DIGEST_ONLY;
    send_head(r, &m);
}

void bft_reply_unordered(struct bft_replica *r, const struct bft_request *req,
                         const uint8_t *result, size_t len) {
    if (result == NULL) {
        bft_count(r, BFT_REPLICA_EXECUTE_FAILED);
        return;
    }
    struct bft_reply_msg m = reply_msg(r, &req->session, req->number, 0, BFT_REPLY_UNORDERED);
    if (len > r->cfg.group.result_max_bytes) {
        m.h.flags |= BFT_REPLY_TOO_LARGE;
        len = 0;
    }
    bft_result_digest(r->sha, m.h.flags, result, len, m.digest);
    size_t cap = BFT_REPLY_FIXED_BYTES + len;
    uint8_t small[BFT_REPLY_FIXED_BYTES + BFT_INLINE_RESULT_BYTES];
    uint8_t *out = NULL;
    if (in_full(r, req, len))
        out = cap <= sizeof small ? small : malloc(cap);
    if (out == NULL) {
        m.h.flags |= BFT_REPLY_DIGEST_ONLY;
        send_head(r, &m);
        return;
    }
    size_t out_len = encode_full(out, cap, &m, result, len);
    bft_count(r, BFT_REPLICA_REPLIES);
    r->env.send(r->env.ctx, req->session.principal, req->session.endpoint, out, out_len);
    if (out != small)
        free(out);
}

/* Tells a client which incarnation this group is: with f+1 of these it knows. Nothing was executed.
 */
void bft_reply_incarnation(struct bft_replica *r, const struct bft_request_msg *req) {
    struct bft_reply_msg m =
        reply_msg(r, &req->session, req->number, 0, BFT_REPLY_INCARNATION | BFT_REPLY_DIGEST_ONLY);
    send_head(r, &m);
}
