/* SPDX-License-Identifier: BSD-3-Clause */
#include "bft/messages.h"

#include <string.h>

static void put_header(struct wire_writer *w, const struct bft_header *h) {
    wire_put_u8(w, h->type);
    wire_put_u8(w, h->flags);
    wire_put_u16(w, h->designated);
    wire_put_u64(w, h->incarnation);
}

static void put_session(struct wire_writer *w, const struct bft_session_id *s) {
    wire_put_u16(w, s->principal);
    wire_put_u16(w, s->endpoint);
    wire_put_u32(w, s->index);
    wire_put_u64(w, s->epoch);
}

static size_t written(const struct wire_writer *w) {
    return w->failed ? 0 : w->len;
}

size_t bft_encode_request_head(uint8_t *out, size_t cap, const struct bft_request_msg *m) {
    struct wire_writer w;
    wire_writer_init(&w, out, cap);
    put_header(&w, &m->h);
    put_session(&w, &m->session);
    wire_put_u64(&w, m->number);
    wire_put_u8(&w, m->flags);
    wire_put_u32(&w, m->op_len);
    return written(&w);
}

size_t bft_encode_reply_head(uint8_t *out, size_t cap, const struct bft_reply_msg *m) {
    struct wire_writer w;
    wire_writer_init(&w, out, cap);
    put_header(&w, &m->h);
    wire_put_u64(&w, m->view);
    put_session(&w, &m->session);
    wire_put_u64(&w, m->number);
    wire_put_u64(&w, m->sigma);
    wire_put_bytes(&w, m->digest, sizeof m->digest);
    wire_put_u32(&w, m->result_len);
    return written(&w);
}

size_t bft_encode_pre_prepare_head(uint8_t *out, size_t cap, const struct bft_pre_prepare_msg *m) {
    struct wire_writer w;
    wire_writer_init(&w, out, cap);
    put_header(&w, &m->h);
    wire_put_u64(&w, m->view);
    wire_put_u64(&w, m->sequence);
    wire_put_u16(&w, m->count);
    return written(&w);
}

void bft_put_entry(struct wire_writer *w, const struct bft_batch_entry *e) {
    put_session(w, &e->session);
    wire_put_u64(w, e->number);
    wire_put_bytes(w, e->digest, sizeof e->digest);
    wire_put_u32(w, e->op_len);
}

size_t bft_encode_vote(uint8_t *out, size_t cap, const struct bft_vote_msg *m) {
    struct wire_writer w;
    wire_writer_init(&w, out, cap);
    put_header(&w, &m->h);
    wire_put_u64(&w, m->view);
    wire_put_u64(&w, m->sequence);
    wire_put_bytes(&w, m->digest, sizeof m->digest);
    return written(&w);
}

size_t bft_encode_checkpoint(uint8_t *out, size_t cap, const struct bft_checkpoint_msg *m) {
    struct wire_writer w;
    wire_writer_init(&w, out, cap);
    put_header(&w, &m->h);
    wire_put_u64(&w, m->sequence);
    wire_put_bytes(&w, m->digest, sizeof m->digest);
    wire_put_u64(&w, m->last_stable);
    wire_put_u64(&w, m->oldest);
    return written(&w);
}

size_t bft_encode_status(uint8_t *out, size_t cap, const struct bft_status_msg *m) {
    struct wire_writer w;
    wire_writer_init(&w, out, cap);
    put_header(&w, &m->h);
    wire_put_u64(&w, m->view);
    wire_put_u64(&w, m->last_executed);
    wire_put_u64(&w, m->last_stable);
    wire_put_u64(&w, m->oldest);
    wire_put_u16(&w, m->count);
    wire_put_bytes(&w, m->bits, m->count);
    return written(&w);
}

size_t bft_encode_fetch(uint8_t *out, size_t cap, const struct bft_fetch_msg *m) {
    struct wire_writer w;
    wire_writer_init(&w, out, cap);
    put_header(&w, &m->h);
    wire_put_u64(&w, m->sequence);
    put_session(&w, &m->session);
    wire_put_u64(&w, m->number);
    wire_put_bytes(&w, m->digest, sizeof m->digest);
    return written(&w);
}

static void get_header(struct wire_reader *r, struct bft_header *h) {
    h->type = wire_get_u8(r);
    h->flags = wire_get_u8(r);
    h->designated = wire_get_u16(r);
    h->incarnation = wire_get_u64(r);
}

/* Whether the header is of that type and has no more than those flags; designated only where it has
 * a meaning. */
static bool header_is(const struct bft_header *h, enum bft_message_type type, uint8_t flags,
                      bool designated) {
    return h->type == type && (h->flags & ~flags) == 0 && (designated || h->designated == 0);
}

static void get_session(struct wire_reader *r, struct bft_session_id *s) {
    s->principal = wire_get_u16(r);
    s->endpoint = wire_get_u16(r);
    s->index = wire_get_u32(r);
    s->epoch = wire_get_u64(r);
}

bool bft_decode_header(const uint8_t *data, size_t len, struct bft_header *h) {
    struct wire_reader r;
    wire_reader_init(&r, data, len);
    get_header(&r, h);
    return !r.failed;
}

bool bft_decode_request(const uint8_t *data, size_t len, uint32_t n, struct bft_request_msg *m) {
    struct wire_reader r;
    wire_reader_init(&r, data, len);
    get_header(&r, &m->h);
    get_session(&r, &m->session);
    m->number = wire_get_u64(&r);
    m->flags = wire_get_u8(&r);
    m->op_len = wire_get_u32(&r);
    m->op = wire_get_view(&r, m->op_len);
    size_t digested_end = r.pos;
    m->macs = wire_get_view(&r, (size_t)n * CRYPTO_MAC_BYTES);
    if (!wire_reader_done(&r))
        return false;
    m->digested = data + BFT_DIGESTED_OFFSET;
    m->digested_len = digested_end - BFT_DIGESTED_OFFSET;
    bool flags_ok = m->flags == 0 || m->flags == BFT_READ || m->flags == (BFT_READ | BFT_UNORDERED);
    return header_is(&m->h, BFT_MSG_REQUEST, BFT_FULL_REPLY, true) && flags_ok &&
           m->h.designated < n && m->number > 0;
}

bool bft_decode_reply(const uint8_t *data, size_t len, struct bft_reply_msg *m) {
    struct wire_reader r;
    wire_reader_init(&r, data, len);
    get_header(&r, &m->h);
    m->view = wire_get_u64(&r);
    get_session(&r, &m->session);
    m->number = wire_get_u64(&r);
    m->sigma = wire_get_u64(&r);
    wire_get_bytes(&r, m->digest, sizeof m->digest);
    m->result_len = wire_get_u32(&r);
    m->result = wire_get_view(&r, m->result_len);
    if (!wire_reader_done(&r) || !header_is(&m->h, BFT_MSG_REPLY, BFT_REPLY_FLAGS, false))
        return false;
    /* No result in a reply that says it has none, and a sigma exactly where there is an order. */
    uint8_t none = BFT_REPLY_DIGEST_ONLY | BFT_REPLY_TOO_LARGE | BFT_REPLY_INCARNATION;
    bool ordered = (m->h.flags & (BFT_REPLY_UNORDERED | BFT_REPLY_INCARNATION)) == 0;
    return ((m->h.flags & none) == 0 || m->result_len == 0) && ordered == (m->sigma != 0);
}

bool bft_decode_pre_prepare(const uint8_t *data, size_t len, struct bft_pre_prepare_msg *m) {
    struct wire_reader r;
    wire_reader_init(&r, data, len);
    get_header(&r, &m->h);
    m->view = wire_get_u64(&r);
    m->sequence = wire_get_u64(&r);
    m->count = wire_get_u16(&r);
    m->entries = r;
    if (m->count == 0 || m->count > BFT_BATCH_MAX)
        return false;
    (void)wire_get_view(&r, (size_t)m->count * BFT_ENTRY_BYTES);
    if (!wire_reader_done(&r) || !header_is(&m->h, BFT_MSG_PRE_PREPARE, 0, false))
        return false;
    m->batch = data + BFT_BATCH_OFFSET;
    m->batch_len = len - BFT_BATCH_OFFSET;
    return m->sequence > 0;
}

void bft_get_entry(struct wire_reader *r, struct bft_batch_entry *e) {
    get_session(r, &e->session);
    e->number = wire_get_u64(r);
    wire_get_bytes(r, e->digest, sizeof e->digest);
    e->op_len = wire_get_u32(r);
}

bool bft_decode_vote(const uint8_t *data, size_t len, struct bft_vote_msg *m) {
    struct wire_reader r;
    wire_reader_init(&r, data, len);
    get_header(&r, &m->h);
    m->view = wire_get_u64(&r);
    m->sequence = wire_get_u64(&r);
    wire_get_bytes(&r, m->digest, sizeof m->digest);
    return wire_reader_done(&r) && m->sequence > 0 &&
           (header_is(&m->h, BFT_MSG_PREPARE, 0, false) ||
            header_is(&m->h, BFT_MSG_COMMIT, 0, false));
}

bool bft_decode_checkpoint(const uint8_t *data, size_t len, struct bft_checkpoint_msg *m) {
    struct wire_reader r;
    wire_reader_init(&r, data, len);
    get_header(&r, &m->h);
    m->sequence = wire_get_u64(&r);
    wire_get_bytes(&r, m->digest, sizeof m->digest);
    m->last_stable = wire_get_u64(&r);
    m->oldest = wire_get_u64(&r);
    return wire_reader_done(&r) && header_is(&m->h, BFT_MSG_CHECKPOINT, 0, false) &&
           m->sequence > 0;
}

bool bft_decode_status(const uint8_t *data, size_t len, struct bft_status_msg *m) {
    struct wire_reader r;
    wire_reader_init(&r, data, len);
    get_header(&r, &m->h);
    m->view = wire_get_u64(&r);
    m->last_executed = wire_get_u64(&r);
    m->last_stable = wire_get_u64(&r);
    m->oldest = wire_get_u64(&r);
    m->count = wire_get_u16(&r);
    m->bits = wire_get_view(&r, m->count);
    if (!wire_reader_done(&r) || !header_is(&m->h, BFT_MSG_STATUS, 0, true) ||
        m->count > BFT_STATUS_SPAN_MAX)
        return false;
    for (uint16_t i = 0; i < m->count; i++)
        if ((m->bits[i] & ~BFT_HAS_BITS) != 0)
            return false;
    return true;
}

bool bft_decode_fetch(const uint8_t *data, size_t len, struct bft_fetch_msg *m) {
    struct wire_reader r;
    wire_reader_init(&r, data, len);
    get_header(&r, &m->h);
    m->sequence = wire_get_u64(&r);
    get_session(&r, &m->session);
    m->number = wire_get_u64(&r);
    wire_get_bytes(&r, m->digest, sizeof m->digest);
    return wire_reader_done(&r) && header_is(&m->h, BFT_MSG_FETCH_REQUEST, 0, false) &&
           m->sequence > 0;
}

void bft_result_digest(struct crypto_digest *sha, uint8_t reply_flags, const uint8_t *result,
                       size_t len, uint8_t out[CRYPTO_DIGEST_BYTES]) {
    uint8_t too_large = (reply_flags & BFT_REPLY_TOO_LARGE) != 0;
    crypto_digest_begin(sha);
    crypto_digest_update(sha, &too_large, 1);
    if (len > 0)
        crypto_digest_update(sha, result, len);
    crypto_digest_final(sha, out);
}

bool bft_group_valid(const struct bft_group *g) {
    return g->n > 0 && g->n <= BFT_REPLICAS_MAX && g->f < g->n / 3 + 1 && g->n >= 3 * g->f + 1 &&
           g->request_max_bytes <= UINT32_MAX - 65536 && g->result_max_bytes <= UINT32_MAX - 65536;
}
