/* SPDX-License-Identifier: BSD-3-Clause */
/* Codecs: each message comes back as it went, and nothing else than a message is accepted. */
#include "test_bft.h"

static const struct bft_session_id session = {7, 2, 0x01020304, UINT64_C(0x1112131415161718)};

static void fill_digest(uint8_t digest[CRYPTO_DIGEST_BYTES]) {
    for (uint8_t i = 0; i < CRYPTO_DIGEST_BYTES; i++)
        digest[i] = (uint8_t)(0xa0 + i);
}

static struct bft_header header(uint8_t type) {
    return (struct bft_header){.type = type, .incarnation = UINT64_C(0xc0ffee)};
}

static size_t make_request(uint8_t *out, size_t cap) {
    struct bft_request_msg m = {.h = header(BFT_MSG_REQUEST),
                                .session = session,
                                .number = 99,
                                .flags = BFT_READ,
                                .op_len = 5};
    m.h.designated = 3;
    m.h.flags = BFT_FULL_REPLY;
    size_t len = bft_encode_request_head(out, cap, &m);
    assert(len == BFT_REQUEST_FIXED_BYTES);
    memcpy(out + len, "hello", 5);
    memset(out + len + 5, 0x55, 4 * CRYPTO_MAC_BYTES);
    return len + 5 + 4 * CRYPTO_MAC_BYTES;
}

static size_t make_reply(uint8_t *out, size_t cap) {
    struct bft_reply_msg m = {.h = header(BFT_MSG_REPLY),
                              .view = 4,
                              .session = session,
                              .number = 99,
                              .sigma = BFT_SIGMA(12, 3),
                              .result_len = 3};
    m.h.flags = BFT_REPLY_TENTATIVE;
    fill_digest(m.digest);
    size_t len = bft_encode_reply_head(out, cap, &m);
    memcpy(out + len, "abc", 3);
    return len + 3;
}

static size_t make_pre_prepare(uint8_t *out, size_t cap) {
    struct bft_pre_prepare_msg m = {
        .h = header(BFT_MSG_PRE_PREPARE), .view = 4, .sequence = 12, .count = 2};
    struct wire_writer w;
    wire_writer_init(&w, out, cap);
    w.len = bft_encode_pre_prepare_head(out, cap, &m);
    for (uint32_t i = 0; i < 2; i++) {
        struct bft_batch_entry e = {.session = session, .number = 50 + i, .op_len = 1000 + i};
        fill_digest(e.digest);
        bft_put_entry(&w, &e);
    }
    assert(!w.failed);
    return w.len;
}

static size_t make_vote(uint8_t *out, size_t cap) {
    struct bft_vote_msg m = {.h = header(BFT_MSG_COMMIT), .view = 4, .sequence = 12};
    fill_digest(m.digest);
    return bft_encode_vote(out, cap, &m);
}

static size_t make_checkpoint(uint8_t *out, size_t cap) {
    struct bft_checkpoint_msg m = {
        .h = header(BFT_MSG_CHECKPOINT), .sequence = 128, .last_stable = 64, .oldest = 1};
    fill_digest(m.digest);
    return bft_encode_checkpoint(out, cap, &m);
}

static size_t make_status(uint8_t *out, size_t cap) {
    static const uint8_t bits[3] = {1, 3, 7};
    struct bft_status_msg m = {.h = header(BFT_MSG_STATUS),
                               .view = 4,
                               .last_executed = 130,
                               .last_stable = 128,
                               .oldest = 64,
                               .count = 3,
                               .bits = bits};
    m.h.designated = 2;
    return bft_encode_status(out, cap, &m);
}

static size_t make_fetch(uint8_t *out, size_t cap) {
    struct bft_fetch_msg m = {
        .h = header(BFT_MSG_FETCH_REQUEST), .sequence = 12, .session = session, .number = 99};
    fill_digest(m.digest);
    return bft_encode_fetch(out, cap, &m);
}

static bool decode(uint8_t type, const uint8_t *data, size_t len) {
    union {
        struct bft_request_msg request;
        struct bft_reply_msg reply;
        struct bft_pre_prepare_msg pre_prepare;
        struct bft_vote_msg vote;
        struct bft_checkpoint_msg checkpoint;
        struct bft_status_msg status;
        struct bft_fetch_msg fetch;
    } m;
    switch (type) {
    case BFT_MSG_REQUEST:
        return bft_decode_request(data, len, 4, &m.request);
    case BFT_MSG_REPLY:
        return bft_decode_reply(data, len, &m.reply);
    case BFT_MSG_PRE_PREPARE:
        return bft_decode_pre_prepare(data, len, &m.pre_prepare);
    case BFT_MSG_COMMIT:
        return bft_decode_vote(data, len, &m.vote);
    case BFT_MSG_CHECKPOINT:
        return bft_decode_checkpoint(data, len, &m.checkpoint);
    case BFT_MSG_STATUS:
        return bft_decode_status(data, len, &m.status);
    default:
        return bft_decode_fetch(data, len, &m.fetch);
    }
}

typedef size_t (*make_fn)(uint8_t *out, size_t cap);
static const struct {
    uint8_t type;
    make_fn make;
} kinds[] = {
    {BFT_MSG_REQUEST, make_request},         {BFT_MSG_REPLY, make_reply},
    {BFT_MSG_PRE_PREPARE, make_pre_prepare}, {BFT_MSG_COMMIT, make_vote},
    {BFT_MSG_CHECKPOINT, make_checkpoint},   {BFT_MSG_STATUS, make_status},
    {BFT_MSG_FETCH_REQUEST, make_fetch},
};
#define KINDS (sizeof kinds / sizeof kinds[0])

void test_codec_round_trip(void) {
    uint8_t out[1024], digest[CRYPTO_DIGEST_BYTES];
    fill_digest(digest);
    struct bft_request_msg request;
    CU_ASSERT_TRUE_FATAL(bft_decode_request(out, make_request(out, sizeof out), 4, &request));
    CU_ASSERT_TRUE(bft_same_session(&request.session, &session));
    CU_ASSERT_EQUAL(request.h.incarnation, 0xc0ffee);
    CU_ASSERT_EQUAL(request.h.designated, 3);
    CU_ASSERT_EQUAL(request.h.flags, BFT_FULL_REPLY);
    CU_ASSERT_EQUAL(request.number, 99);
    CU_ASSERT_EQUAL(request.flags, BFT_READ);
    CU_ASSERT_EQUAL_FATAL(request.op_len, 5);
    CU_ASSERT_EQUAL(memcmp(request.op, "hello", 5), 0);
    CU_ASSERT_EQUAL(request.macs[0], 0x55);
    CU_ASSERT_PTR_EQUAL(request.digested, out + 4);
    CU_ASSERT_PTR_EQUAL(request.digested + request.digested_len, request.macs);
    struct bft_reply_msg reply;
    CU_ASSERT_TRUE_FATAL(bft_decode_reply(out, make_reply(out, sizeof out), &reply));
    CU_ASSERT_EQUAL(reply.h.flags, BFT_REPLY_TENTATIVE);
    CU_ASSERT_EQUAL(reply.view, 4);
    CU_ASSERT_EQUAL(reply.sigma, (UINT64_C(12) << 16) + 3);
    CU_ASSERT_EQUAL(memcmp(reply.digest, digest, sizeof digest), 0);
    CU_ASSERT_EQUAL_FATAL(reply.result_len, 3);
    CU_ASSERT_EQUAL(memcmp(reply.result, "abc", 3), 0);
    struct bft_pre_prepare_msg pp;
    struct bft_batch_entry e;
    CU_ASSERT_TRUE_FATAL(bft_decode_pre_prepare(out, make_pre_prepare(out, sizeof out), &pp));
    CU_ASSERT_EQUAL(pp.view, 4);
    CU_ASSERT_EQUAL(pp.sequence, 12);
    CU_ASSERT_EQUAL(pp.count, 2);
    bft_get_entry(&pp.entries, &e);
    bft_get_entry(&pp.entries, &e);
    CU_ASSERT_TRUE(wire_reader_done(&pp.entries));
    CU_ASSERT_TRUE(bft_same_session(&e.session, &session));
    CU_ASSERT_EQUAL(e.number, 51);
    CU_ASSERT_EQUAL(e.op_len, 1001);
    CU_ASSERT_EQUAL(memcmp(e.digest, digest, sizeof digest), 0);
}

void test_codec_round_trip_votes(void) {
    uint8_t out[1024], digest[CRYPTO_DIGEST_BYTES];
    fill_digest(digest);
    struct bft_vote_msg vote;
    CU_ASSERT_TRUE_FATAL(bft_decode_vote(out, make_vote(out, sizeof out), &vote));
    CU_ASSERT_EQUAL(vote.h.type, BFT_MSG_COMMIT);
    CU_ASSERT_EQUAL(vote.view, 4);
    CU_ASSERT_EQUAL(vote.sequence, 12);
    CU_ASSERT_EQUAL(memcmp(vote.digest, digest, sizeof digest), 0);
    struct bft_checkpoint_msg c;
    CU_ASSERT_TRUE_FATAL(bft_decode_checkpoint(out, make_checkpoint(out, sizeof out), &c));
    CU_ASSERT_EQUAL(c.sequence, 128);
    CU_ASSERT_EQUAL(c.last_stable, 64);
    CU_ASSERT_EQUAL(c.oldest, 1);
    CU_ASSERT_EQUAL(memcmp(c.digest, digest, sizeof digest), 0);
    struct bft_status_msg s;
    CU_ASSERT_TRUE_FATAL(bft_decode_status(out, make_status(out, sizeof out), &s));
    CU_ASSERT_EQUAL(s.view, 4);
    CU_ASSERT_EQUAL(s.last_executed, 130);
    CU_ASSERT_EQUAL(s.last_stable, 128);
    CU_ASSERT_EQUAL(s.oldest, 64);
    CU_ASSERT_EQUAL(s.h.designated, 2);
    CU_ASSERT_EQUAL_FATAL(s.count, 3);
    CU_ASSERT_EQUAL(s.bits[2], 7);
    struct bft_fetch_msg f;
    CU_ASSERT_TRUE_FATAL(bft_decode_fetch(out, make_fetch(out, sizeof out), &f));
    CU_ASSERT_EQUAL(f.sequence, 12);
    CU_ASSERT_EQUAL(f.number, 99);
    CU_ASSERT_TRUE(bft_same_session(&f.session, &session));
    CU_ASSERT_EQUAL(memcmp(f.digest, digest, sizeof digest), 0);
}

/* Every truncation, on the heap so that a sanitizer sees a step too far, and one byte too many. */
void test_codec_truncation(void) {
    for (size_t k = 0; k < KINDS; k++) {
        uint8_t out[1024];
        size_t len = kinds[k].make(out, sizeof out);
        CU_ASSERT_TRUE_FATAL(len > BFT_HEADER_BYTES);
        CU_ASSERT_TRUE(decode(kinds[k].type, out, len));
        for (size_t cut = 0; cut <= len + 1; cut++) {
            uint8_t *part = malloc(cut > 0 ? cut : 1);
            assert(part != NULL);
            memcpy(part, out, cut < sizeof out ? cut : sizeof out);
            CU_ASSERT_EQUAL(decode(kinds[k].type, part, cut), cut == len);
            free(part);
        }
        for (size_t cap = 0; cap < BFT_HEADER_BYTES + 16; cap++)
            if (kinds[k].type != BFT_MSG_PRE_PREPARE && kinds[k].type != BFT_MSG_REQUEST &&
                kinds[k].type != BFT_MSG_REPLY)
                CU_ASSERT_EQUAL(kinds[k].make(out, cap), 0);
    }
}

/* A decoder takes no other type, no unknown flag, no value that has no meaning. */
void test_codec_strict(void) {
    uint8_t out[1024];
    for (size_t k = 0; k < KINDS; k++) {
        size_t len = kinds[k].make(out, sizeof out);
        for (uint32_t type = 0; type < 256; type++) {
            out[0] = (uint8_t)type;
            bool vote = kinds[k].type == BFT_MSG_COMMIT && type == BFT_MSG_PREPARE;
            CU_ASSERT_EQUAL(decode(kinds[k].type, out, len), type == kinds[k].type || vote);
        }
        out[0] = kinds[k].type;
        out[1] |= 0x80;
        CU_ASSERT_FALSE(decode(kinds[k].type, out, len));
    }
    size_t len = make_request(out, sizeof out);
    out[3] = 4; // designates replica 4 of 0..3
    CU_ASSERT_FALSE(decode(BFT_MSG_REQUEST, out, len));
    len = make_request(out, sizeof out);
    out[BFT_HEADER_BYTES + BFT_SESSION_BYTES + 8] = BFT_UNORDERED; // but not a read
    CU_ASSERT_FALSE(decode(BFT_MSG_REQUEST, out, len));
    len = make_request(out, sizeof out);
    memset(out + BFT_REQUEST_FIXED_BYTES - 4, 0xff, 4); // an operation of 4 GiB
    CU_ASSERT_FALSE(decode(BFT_MSG_REQUEST, out, len));
    len = make_reply(out, sizeof out);
    out[1] = BFT_REPLY_DIGEST_ONLY; // and yet a result
    CU_ASSERT_FALSE(decode(BFT_MSG_REPLY, out, len));
    len = make_reply(out, sizeof out);
    out[1] = BFT_REPLY_UNORDERED; // and yet a sigma
    CU_ASSERT_FALSE(decode(BFT_MSG_REPLY, out, len));
    len = make_status(out, sizeof out);
    out[len - 1] = 0x08;
    CU_ASSERT_FALSE(decode(BFT_MSG_STATUS, out, len));
    make_pre_prepare(out, sizeof out);
    out[BFT_BATCH_OFFSET + 1] = 0; // an empty batch
    CU_ASSERT_FALSE(decode(BFT_MSG_PRE_PREPARE, out, BFT_BATCH_OFFSET + 2));
}

void test_codec_mutations(void) {
    uint64_t random = 11;
    uint32_t accepted = 0, refused = 0;
    for (uint32_t round = 0; round < 100000; round++) {
        uint8_t out[1024];
        size_t k = round % KINDS, len = kinds[k].make(out, sizeof out);
        for (uint32_t flips = 0; flips < 3; flips++) {
            random = random * UINT64_C(6364136223846793005) + 1442695040888963407;
            out[(random >> 33) % len] = (uint8_t)(random >> 25);
        }
        if (decode(kinds[k].type, out, len))
            accepted++; // of another value
        else
            refused++;
    }
    CU_ASSERT_TRUE(accepted > 1000);
    CU_ASSERT_TRUE(refused > 1000);
}

void test_codec_quorum(void) {
    static const struct {
        uint32_t n, f, quorum;
    } groups[] = {{1, 0, 1}, {2, 0, 2}, {4, 1, 3},  {5, 1, 4},  {6, 1, 4},
                  {7, 2, 5}, {8, 2, 6}, {10, 3, 7}, {13, 4, 9}, {31, 10, 21}};
    for (size_t i = 0; i < sizeof groups / sizeof groups[0]; i++) {
        struct bft_group g = {.n = groups[i].n, .f = groups[i].f};
        uint32_t q = bft_quorum(&g);
        CU_ASSERT_EQUAL(q, groups[i].quorum);
        CU_ASSERT_TRUE(2 * q - g.n > g.f); // two quorums share a correct replica
        CU_ASSERT_TRUE(q <= g.n - g.f);    // the correct ones are one
        CU_ASSERT_TRUE(bft_group_valid(&g));
    }
    struct bft_group few = {.n = 3, .f = 1};
    CU_ASSERT_FALSE(bft_group_valid(&few));
}
