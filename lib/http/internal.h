/* SPDX-License-Identifier: BSD-3-Clause */
/* What the files of lib/http share among themselves; nothing outside includes this. */
#ifndef PROPHECY_HTTP_INTERNAL_H
#define PROPHECY_HTTP_INTERNAL_H

#include "http/http.h"

#include <string.h>

enum http_char_class {
    HTTP_CHAR_TOKEN = 1,  // tchar (RFC 9110 5.6.2)
    HTTP_CHAR_TARGET = 2, // visible ASCII except '#'
    HTTP_CHAR_VALUE = 4,  // field-vchar, SP, HTAB (RFC 9110 5.5)
    HTTP_CHAR_NAME = 8,   // what we take in a registered name: letters, digits, "-", ".", "_"
};
extern const uint8_t http_char_classes[256];

static inline bool http_is(uint8_t c, enum http_char_class class) {
    return (http_char_classes[c] & (uint8_t) class) != 0;
}

static inline bool http_is_digit(uint8_t c) {
    return (uint8_t)(c - '0') <= 9;
}

/* The value of a hexadecimal digit, or -1. */
static inline int http_hex_value(uint8_t c) {
    if (http_is_digit(c))
        return c - '0';
    uint8_t lower = c | 0x20;
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

static inline uint8_t http_lower(uint8_t c) {
    return (uint8_t)(c - 'A') < 26 ? c | 0x20 : c;
}

static inline const uint8_t *http_skip(const uint8_t *p, const uint8_t *end,
                                       enum http_char_class class) {
    while (p < end && http_is(*p, class))
        p++;
    return p;
}

/* Steps over field value bytes, eight at a time while none of them is a control byte. */
static inline const uint8_t *http_skip_value(const uint8_t *p, const uint8_t *end) {
    const uint64_t ones = UINT64_C(0x0101010101010101);
    while (end - p >= 8) {
        uint64_t v;
        memcpy(&v, p, sizeof v);
        uint64_t below_space = (v - ones * 0x20) & ~v;
        uint64_t del = v ^ ones * 0x7f; // a zero byte where v holds DEL
        del = (del - ones) & ~del;
        if (((below_space | del) & ones * 0x80) != 0)
            break;
        p += 8;
    }
    return http_skip(p, end, HTTP_CHAR_VALUE);
}

static inline struct http_str http_view(const uint8_t *from, const uint8_t *to) {
    return (struct http_str){.p = (const char *)from, .len = (size_t)(to - from)};
}

static inline struct http_str http_trim(struct http_str s) {
    while (s.len > 0 && (s.p[0] == ' ' || s.p[0] == '\t'))
        s.p++, s.len--;
    while (s.len > 0 && (s.p[s.len - 1] == ' ' || s.p[s.len - 1] == '\t'))
        s.len--;
    return s;
}

/*
 * Takes the next element of a comma-separated list off *rest (RFC 9110 5.6.1), trimmed; a comma in
 * a quoted string does not divide. Empty elements are skipped. False at the end.
 */
bool http_list_next(struct http_str *rest, struct http_str *element);

/*
 * Is s a host with an optional port (always with one when port_required)? The host is a bracketed
 * IPv6 address or a name of letters, digits, "-", "_" and single dots, IPv4 included; no userinfo,
 * no empty port.
 */
bool http_valid_authority(struct http_str s, bool port_required);

/* A head being read. Steps return > 0 done, 0 more bytes are needed, < 0 minus the status. */
struct http_cursor {
    const uint8_t *p;
    const uint8_t *end;
};
#define HTTP_STEP_DONE 1
#define HTTP_STEP_MORE 0

/* "HTTP/1.x": sets *minor to 0 or 1. */
int http_step_version(struct http_cursor *c, uint8_t *minor);
int http_step_crlf(struct http_cursor *c);

/* What the fields that govern framing and the connection said. */
struct http_fields {
    bool request;          // in: Host and Expect mean something
    uint8_t version_minor; // in
    bool has_host;
    bool has_content_length;
    bool chunked;
    bool close;           // Connection: close
    bool keep_alive;      // Connection: keep-alive
    bool expect_continue; // Expect: 100-continue
    struct http_str host;
    uint64_t content_length;
    uint32_t count; // of headers
};
/* The field lines and the empty line after them. */
int http_step_fields(struct http_cursor *c, struct http_fields *f,
                     struct http_header headers[HTTP_HEADERS_MAX]);

/* RFC 9112 9.3 */
static inline bool http_fields_keep_alive(const struct http_fields *f) {
    return !f->close && (f->version_minor >= 1 || f->keep_alive);
}

#endif
