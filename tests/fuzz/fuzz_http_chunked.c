/* SPDX-License-Identifier: BSD-3-Clause */
/* The chunked decoder: the same body, state and end however the bytes are cut; what it delivers
 * encodes back. */
#include "fuzz_http.h"

struct decoded {
    struct http_chunked d;
    size_t used;
    uint8_t *body; // of the input's length, which no body exceeds
    size_t body_len;
};

static bool stopped(const struct decoded *out) {
    return out->d.state == HTTP_CHUNK_DONE || out->d.state == HTTP_CHUNK_ERROR;
}

static void feed(struct decoded *out, const uint8_t *data, size_t len) {
    uint8_t *copy = fuzz_copy(data, len);
    size_t pos = 0;
    while (pos < len && !stopped(out)) {
        const uint8_t *run;
        size_t run_len;
        size_t used = http_chunked_feed(&out->d, copy + pos, len - pos, &run, &run_len);
        FUZZ_CHECK(used > 0 && used <= len - pos && run_len <= used);
        FUZZ_CHECK(out->d.overhead <= HTTP_CHUNK_OVERHEAD_MAX_BYTES + 1);
        if (run_len > 0) {
            FUZZ_CHECK(run >= copy + pos && run + run_len <= copy + pos + used);
            memcpy(out->body + out->body_len, run, run_len);
        }
        out->body_len += run_len;
        pos += used;
    }
    out->used += pos;
    free(copy);
}

static struct decoded decoder(size_t len) {
    struct decoded out = {.body = malloc(len + 1)};
    FUZZ_CHECK(out.body != NULL);
    http_chunked_init(&out.d);
    return out;
}

static void check_same(const struct decoded *a, const struct decoded *b) {
    FUZZ_CHECK(a->d.state == b->d.state && a->used == b->used && a->body_len == b->body_len);
    FUZZ_CHECK(a->d.left == b->d.left && a->d.overhead == b->d.overhead);
    FUZZ_CHECK(memcmp(a->body, b->body, a->body_len) == 0);
}

/* The body as one chunk decodes to itself. */
static void check_encoded(const struct decoded *whole) {
    size_t cap = whole->body_len + 64;
    char *text = malloc(cap);
    FUZZ_CHECK(text != NULL);
    size_t len = 0;
    if (whole->body_len > 0) {
        len = (size_t)snprintf(text, cap, "%zX\r\n", whole->body_len);
        memcpy(text + len, whole->body, whole->body_len);
        len += whole->body_len;
        memcpy(text + len, "\r\n", 2);
        len += 2;
    }
    memcpy(text + len, "0\r\n\r\n", 5);
    struct decoded again = decoder(len + 5);
    feed(&again, (const uint8_t *)text, len + 5);
    FUZZ_CHECK(again.d.state == HTTP_CHUNK_DONE && again.used == len + 5);
    FUZZ_CHECK(again.body_len == whole->body_len);
    FUZZ_CHECK(memcmp(again.body, whole->body, whole->body_len) == 0);
    free(again.body);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
    struct decoded whole = decoder(len);
    feed(&whole, data, len);
    for (unsigned int n = 0; n < 3; n++) {
        size_t cut = fuzz_cut(data, len, n);
        struct decoded parts = decoder(len);
        feed(&parts, data, cut);
        if (!stopped(&parts))
            feed(&parts, data + cut, len - cut);
        check_same(&whole, &parts);
        free(parts.body);
    }
    struct decoded bytes = decoder(len);
    for (size_t i = 0; i < len && !stopped(&bytes); i++)
        feed(&bytes, data + i, 1);
    check_same(&whole, &bytes);
    if (whole.d.state == HTTP_CHUNK_DONE)
        check_encoded(&whole);
    free(bytes.body);
    free(whole.body);
    return 0;
}
