/* SPDX-License-Identifier: BSD-3-Clause */
/* The chunked transfer coding (RFC 9112 7.1), one byte of framing at a time, body bytes in runs. */
#include "http/internal.h"

#define SIZE_MAX_DIGITS 16u

static enum http_chunked_state expect(uint8_t byte, uint8_t wanted, enum http_chunked_state then) {
    return byte == wanted ? then : HTTP_CHUNK_ERROR;
}

/* 1*HEXDIG, then an extension or the end of the line; no white space in between. */
static enum http_chunked_state step_size(struct http_chunked *d, uint8_t byte) {
    int digit = http_hex_value(byte);
    if (digit >= 0) {
        if (d->digits == SIZE_MAX_DIGITS || d->left > (uint64_t)INT64_MAX >> 4)
            return HTTP_CHUNK_ERROR;
        d->digits++;
        d->left = d->left << 4 | (uint64_t)digit;
        return HTTP_CHUNK_SIZE;
    }
    if (d->digits == 0)
        return HTTP_CHUNK_ERROR;
    if (byte == ';')
        return HTTP_CHUNK_EXT;
    return expect(byte, '\r', HTTP_CHUNK_SIZE_LF);
}

/* An extension or a trailer ends at its CR; no other control byte may be in it. */
static enum http_chunked_state step_text(uint8_t byte, enum http_chunked_state here,
                                         enum http_chunked_state after_cr) {
    return http_is(byte, HTTP_CHAR_VALUE) ? here : expect(byte, '\r', after_cr);
}

/* field-name ":" field-value; digits is not 0 once the colon was seen. */
static enum http_chunked_state step_trailer(struct http_chunked *d, uint8_t byte) {
    if (d->digits != 0)
        return step_text(byte, HTTP_CHUNK_TRAILER_LINE, HTTP_CHUNK_TRAILER_LF);
    if (byte == ':')
        d->digits = 1;
    else if (!http_is(byte, HTTP_CHAR_TOKEN))
        return HTTP_CHUNK_ERROR;
    return HTTP_CHUNK_TRAILER_LINE;
}

static enum http_chunked_state step_trailer_start(struct http_chunked *d, uint8_t byte) {
    if (byte == '\r')
        return HTTP_CHUNK_END_LF;
    d->digits = 0;
    return http_is(byte, HTTP_CHAR_TOKEN) ? HTTP_CHUNK_TRAILER_LINE : HTTP_CHUNK_ERROR;
}

static enum http_chunked_state after_size(const struct http_chunked *d) {
    return d->left == 0 ? HTTP_CHUNK_TRAILER_START : HTTP_CHUNK_DATA;
}

static enum http_chunked_state step_data_lf(struct http_chunked *d, uint8_t byte) {
    d->digits = 0;
    return expect(byte, '\n', HTTP_CHUNK_SIZE);
}

static bool counts_as_overhead(enum http_chunked_state state) {
    return state == HTTP_CHUNK_EXT || state == HTTP_CHUNK_TRAILER_START ||
           state == HTTP_CHUNK_TRAILER_LINE || state == HTTP_CHUNK_TRAILER_LF;
}

/* The state after one byte of framing. */
static enum http_chunked_state step(struct http_chunked *d, uint8_t byte) {
    switch (d->state) {
    case HTTP_CHUNK_SIZE:
        return step_size(d, byte);
    case HTTP_CHUNK_EXT:
        return step_text(byte, HTTP_CHUNK_EXT, HTTP_CHUNK_SIZE_LF);
    case HTTP_CHUNK_SIZE_LF:
        return expect(byte, '\n', after_size(d));
    case HTTP_CHUNK_DATA_CR:
        return expect(byte, '\r', HTTP_CHUNK_DATA_LF);
    case HTTP_CHUNK_DATA_LF:
        return step_data_lf(d, byte);
    case HTTP_CHUNK_TRAILER_START:
        return step_trailer_start(d, byte);
    case HTTP_CHUNK_TRAILER_LINE:
        return step_trailer(d, byte);
    case HTTP_CHUNK_TRAILER_LF:
        return expect(byte, '\n', HTTP_CHUNK_TRAILER_START);
    case HTTP_CHUNK_END_LF:
        return expect(byte, '\n', HTTP_CHUNK_DONE);
    case HTTP_CHUNK_DATA:
    case HTTP_CHUNK_DONE:
    case HTTP_CHUNK_ERROR:
        break;
    }
    return HTTP_CHUNK_ERROR;
}

void http_chunked_init(struct http_chunked *d) {
    *d = (struct http_chunked){.state = HTTP_CHUNK_SIZE};
}

size_t http_chunked_feed(struct http_chunked *d, const uint8_t *data, size_t len,
                         const uint8_t **body, size_t *body_len) {
    size_t used = 0;
    *body = NULL;
    *body_len = 0;
    while (used < len && d->state != HTTP_CHUNK_DONE && d->state != HTTP_CHUNK_ERROR) {
        if (d->state == HTTP_CHUNK_DATA) {
            size_t run = len - used < d->left ? len - used : (size_t)d->left;
            *body = data + used;
            *body_len = run;
            d->left -= run;
            if (d->left == 0)
                d->state = HTTP_CHUNK_DATA_CR;
            return used + run;
        }
        bool over = counts_as_overhead(d->state) && ++d->overhead > HTTP_CHUNK_OVERHEAD_MAX_BYTES;
        d->state = over ? HTTP_CHUNK_ERROR : step(d, data[used]);
        used++;
    }
    return used;
}
