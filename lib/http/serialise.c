/* SPDX-License-Identifier: BSD-3-Clause */
#include "http/internal.h"

#include <assert.h>

void http_put_str(struct wire_writer *w, const char *s) {
    wire_put_bytes(w, s, strlen(s));
}

void http_put_header(struct wire_writer *w, const char *name, struct http_str value) {
    /* The last line against response splitting, wherever the value came from. */
    const uint8_t *p = (const uint8_t *)value.p;
    if (value.len > 0 && http_skip_value(p, p + value.len) != p + value.len) {
        w->failed = true;
        return;
    }
    http_put_str(w, name);
    wire_put_bytes(w, ": ", 2);
    if (value.len > 0)
        wire_put_bytes(w, value.p, value.len);
    wire_put_bytes(w, "\r\n", 2);
}

void http_put_header_u64(struct wire_writer *w, const char *name, uint64_t value) {
    char digits[20]; // of 2^64 - 1
    size_t start = sizeof digits;
    do {
        digits[--start] = (char)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    http_put_header(w, name, (struct http_str){.p = digits + start, .len = sizeof digits - start});
}

void http_put_status_line(struct wire_writer *w, uint16_t status) {
    assert(status >= 100 && status <= 999);
    char line[] = "HTTP/1.1 000 ";
    line[9] = (char)('0' + status / 100);
    line[10] = (char)('0' + status / 10 % 10);
    line[11] = (char)('0' + status % 10);
    wire_put_bytes(w, line, sizeof line - 1);
    http_put_str(w, http_reason(status));
    wire_put_bytes(w, "\r\n", 2);
}
