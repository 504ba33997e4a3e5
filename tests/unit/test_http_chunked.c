/* SPDX-License-Identifier: BSD-3-Clause */
/* The chunked decoder. */
#include "test_http.h"
#include "unit.h"

struct decoded {
    struct http_chunked d;
    size_t used;
    size_t body_len;
    char body[256];
};

/* Feeds one segment from an allocation of its size until it is used up or the decoder stops. */
static void feed(struct decoded *out, const char *bytes, size_t len) {
    uint8_t *copy = exact_copy(bytes, len);
    size_t pos = 0;
    while (pos < len && out->d.state != HTTP_CHUNK_DONE && out->d.state != HTTP_CHUNK_ERROR) {
        const uint8_t *run;
        size_t run_len;
        size_t used = http_chunked_feed(&out->d, copy + pos, len - pos, &run, &run_len);
        CU_ASSERT_FATAL(used > 0 && used <= len - pos && run_len <= used);
        CU_ASSERT_FATAL(out->body_len + run_len <= sizeof out->body);
        if (run_len > 0) {
            CU_ASSERT_PTR_EQUAL(run + run_len, copy + pos + used); // a run is what was used last
            memcpy(out->body + out->body_len, run, run_len);
        }
        out->body_len += run_len;
        pos += used;
    }
    out->used += pos;
    free(copy);
}

static void decode(struct decoded *out, const char *bytes, size_t len) {
    *out = (struct decoded){0};
    http_chunked_init(&out->d);
    feed(out, bytes, len);
}

static const struct {
    const char *bytes; // all are followed by "NEXT"
    const char *body;
} good[] = {
    {"0\r\n\r\n", ""},
    {"5\r\nhello\r\n0\r\n\r\n", "hello"},
    {"1\r\na\r\n1\r\nb\r\n0000000000000000\r\n\r\n", "ab"},
    {"000000000000000A\r\n0123456789\r\n0\r\n\r\n", "0123456789"},
    {"a\r\n\r\n0\r\n\r\n\r\nX\r\n0\r\n\r\n", "\r\n0\r\n\r\n\r\nX"},
    {"3;x\r\nabc\r\n2;y=\"\\;z\" ; q\r\nde\r\n0;last\r\n\r\n", "abcde"},
    {"1\r\na\r\n0\r\nDigest: x\r\nEmpty:\r\nLatin:\t\xe9\r\n\r\n", "a"},
};

static void check_good(const struct decoded *out, size_t i) {
    CU_ASSERT_EQUAL(out->d.state, HTTP_CHUNK_DONE);
    CU_ASSERT_EQUAL(out->used, strlen(good[i].bytes));
    CU_ASSERT_EQUAL(out->body_len, strlen(good[i].body));
    CU_ASSERT_EQUAL(memcmp(out->body, good[i].body, strlen(good[i].body)), 0);
}

void test_http_chunked_good(void) {
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        char text[256];
        int len = snprintf(text, sizeof text, "%sNEXT", good[i].bytes);
        struct decoded out;
        decode(&out, text, (size_t)len);
        check_good(&out, i);
        const uint8_t *run;
        size_t run_len = 1;
        CU_ASSERT_EQUAL(http_chunked_feed(&out.d, (const uint8_t *)"x", 1, &run, &run_len), 0);
        CU_ASSERT_EQUAL(run_len, 0);
        CU_ASSERT_EQUAL(out.d.state, HTTP_CHUNK_DONE);
    }
}

void test_http_chunked_splits(void) {
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        const char *bytes = good[i].bytes;
        size_t len = strlen(bytes);
        for (size_t a = 0; a <= len; a++) {
            for (size_t b = a; b <= len; b++) { // three segments
                struct decoded out;
                decode(&out, bytes, a);
                feed(&out, bytes + a, b - a);
                if (b < len)
                    CU_ASSERT_NOT_EQUAL(out.d.state, HTTP_CHUNK_DONE);
                feed(&out, bytes + b, len - b);
                check_good(&out, i);
            }
        }
        struct decoded out; // and byte by byte
        decode(&out, bytes, 0);
        for (size_t a = 0; a < len; a++)
            feed(&out, bytes + a, 1);
        check_good(&out, i);
    }
}

#define LITERAL(s) (s), sizeof(s) - 1
static const struct {
    const char *bytes;
    size_t len;
    size_t body_len; // delivered before the fault
} hostile[] = {
    {LITERAL("\r\n"), 0},
    {LITERAL("x"), 0},
    {LITERAL(" 1\r\n"), 0},
    {LITERAL("-1\r\n"), 0},
    {LITERAL("+1\r\n"), 0},
    {LITERAL("0x1\r\n"), 0},
    {LITERAL(";x\r\n"), 0},
    {LITERAL("1 \r\n"), 0},
    {LITERAL("1 ;x\r\n"), 0},
    {LITERAL("1\t\r\n"), 0},
    {LITERAL("1_0\r\n"), 0},
    {LITERAL("1\nab"), 0},
    {LITERAL("1\r\r\n"), 0},
    {LITERAL("1\rab"), 0},
    {LITERAL("1;x\na\r\n"), 0},
    {LITERAL("1;x\0\r\n"), 0},
    {LITERAL("1;x\ry\r\n"), 0},
    {LITERAL("1;\"\n\"\r\n"), 0},
    {LITERAL("1;\x7f\r\n"), 0},
    {LITERAL("00000000000000001\r\n"), 0}, // 17 digits
    {LITERAL("10000000000000001\r\n"), 0}, // 2^64 + 1
    {LITERAL("8000000000000000\r\n"), 0},  // 2^63
    {LITERAL("ffffffffffffffff\r\n"), 0},
    {LITERAL("1\r\nab"), 1},
    {LITERAL("1\r\na\n0"), 1},
    {LITERAL("1\r\na\r0"), 1},
    {LITERAL("1\r\na\r\n\r\n"), 1},
    {LITERAL("2\r\nab\r\nx"), 2},
    {LITERAL("0\r\n\n"), 0},
    {LITERAL("0\r\n\rX"), 0},
    {LITERAL("0\r\n X: y\r\n\r\n"), 0},
    {LITERAL("0\r\n: y\r\n\r\n"), 0},
    {LITERAL("0\r\nX\r\n\r\n"), 0},
    {LITERAL("0\r\nX : y\r\n\r\n"), 0},
    {LITERAL("0\r\nX: y\n\r\n"), 0},
    {LITERAL("0\r\nX: y\rZ\r\n"), 0},
    {LITERAL("0\r\nX: y\r\n z\r\n\r\n"), 0},
    {LITERAL("0\r\nX: \0\r\n\r\n"), 0},
    {LITERAL("0\r\nGET / HTTP/1.1\r\n\r\n"), 0},
};

void test_http_chunked_hostile(void) {
    for (size_t i = 0; i < sizeof hostile / sizeof hostile[0]; i++) {
        for (size_t cut = 0; cut <= hostile[i].len; cut++) {
            struct decoded out;
            decode(&out, hostile[i].bytes, cut);
            feed(&out, hostile[i].bytes + cut, hostile[i].len - cut);
            CU_ASSERT_EQUAL(out.d.state, HTTP_CHUNK_ERROR);
            CU_ASSERT_EQUAL(out.body_len, hostile[i].body_len);
            if (out.d.state != HTTP_CHUNK_ERROR)
                fprintf(stderr, "taken: %s\n", hostile[i].bytes);
            const uint8_t *run; // and the error stays
            size_t run_len = 1;
            const uint8_t *more = (const uint8_t *)"0\r\n\r\n";
            CU_ASSERT_EQUAL(http_chunked_feed(&out.d, more, 5, &run, &run_len), 0);
            CU_ASSERT_EQUAL(run_len, 0);
            CU_ASSERT_EQUAL(out.d.state, HTTP_CHUNK_ERROR);
        }
    }
}

/* Feeds head, count bytes of fill, and tail; the state at the end. */
static enum http_chunked_state filled(const char *head, char fill, size_t count, const char *tail) {
    struct decoded out;
    decode(&out, head, strlen(head));
    for (size_t i = 0; i < count; i++)
        feed(&out, &fill, 1);
    feed(&out, tail, strlen(tail));
    return out.d.state;
}

void test_http_chunked_overhead(void) {
    const size_t max = HTTP_CHUNK_OVERHEAD_MAX_BYTES;
    /* the bytes after ";" with their CR, then the final CR */
    CU_ASSERT_EQUAL(filled("0;", 'x', max - 2, "\r\n\r\n"), HTTP_CHUNK_DONE);
    CU_ASSERT_EQUAL(filled("0;", 'x', max - 1, "\r\n\r\n"), HTTP_CHUNK_ERROR);
    /* "X", ":", fill, CR, LF, then the final CR */
    CU_ASSERT_EQUAL(filled("0\r\nX:", 'y', max - 5, "\r\n\r\n"), HTTP_CHUNK_DONE);
    CU_ASSERT_EQUAL(filled("0\r\nX:", 'y', max - 4, "\r\n\r\n"), HTTP_CHUNK_ERROR);
    CU_ASSERT_EQUAL(filled("0\r\n", 'n', max + 1, ""), HTTP_CHUNK_ERROR);
    /* spread over the chunks of one body */
    struct decoded out;
    decode(&out, "", 0);
    size_t chunks = 0;
    for (; out.d.state != HTTP_CHUNK_ERROR && chunks <= max; chunks++) {
        out.body_len = 0;
        feed(&out, "1;abc\r\nz\r\n", 10);
    }
    CU_ASSERT_EQUAL(chunks, max / 4 + 1);
}

void test_http_chunked_largest(void) {
    struct decoded out;
    decode(&out, "7fffffffffffffff\r\nabc", 21);
    CU_ASSERT_EQUAL(out.d.state, HTTP_CHUNK_DATA);
    CU_ASSERT_EQUAL(out.d.left, (uint64_t)INT64_MAX - 3);
    CU_ASSERT_EQUAL(out.body_len, 3);
}
