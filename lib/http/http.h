/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lib/http - HTTP/1.1 message heads and framing, strict (RFC 9110, RFC 9112).
 *
 * Parsing rejects rather than repairs (design.md §5): what one parser reads differently from
 * another is how requests are smuggled. A parsed head is a set of views into the caller's
 * bytes; nothing is copied and nothing allocates, so the bytes must stay in place while the
 * struct is used. Functions are pure and may be called from any thread.
 */
#ifndef PROPHECY_HTTP_H
#define PROPHECY_HTTP_H

#include "wire/wire.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HTTP_HEADERS_MAX 64u        // header fields in one head; more is 431 (request) or an error
#define HTTP_HEAD_MAX_BYTES 16384u  // a longer head is 431 (414 when it is the request line)
#define HTTP_TARGET_MAX_BYTES 8192u // a longer target is 414
#define HTTP_METHOD_MAX_BYTES 32u   // a longer method is 501
#define HTTP_CHUNK_OVERHEAD_MAX_BYTES 8192u // extensions and trailers of one chunked body

struct http_str {
    const char *p;
    size_t len;
};

enum http_method {
    HTTP_GET,
    HTTP_HEAD,
    HTTP_POST,
    HTTP_PUT,
    HTTP_DELETE,
    HTTP_OPTIONS,
    HTTP_PATCH,
    HTTP_TRACE,
    HTTP_CONNECT,
    HTTP_METHOD_OTHER, // a valid token we have no name for
};

struct http_header {
    struct http_str name;  // as sent; compare with http_str_ieq
    struct http_str value; // without leading and trailing white space
};

struct http_request {
    enum http_method method;
    struct http_str method_name;
    struct http_str
        target; // origin-form (or "*"), exact bytes; for absolute-form its path and query
    struct http_str authority; // from the absolute-form, else Host; exact bytes; empty only in 1.0
    uint8_t version_minor;     // 0 or 1
    bool keep_alive;           // what version and Connection ask for
    bool expect_continue;      // Expect: 100-continue
    bool chunked;              // the body is chunked
    bool has_content_length;
    uint64_t content_length; // 0 when there is none
    uint32_t header_count;
    struct http_header headers[HTTP_HEADERS_MAX];
};

enum http_framing {
    HTTP_BODY_NONE,   // HEAD, 1xx, 204, 304
    HTTP_BODY_LENGTH, // content_length bytes
    HTTP_BODY_CHUNKED,
    HTTP_BODY_UNTIL_CLOSE,
};

struct http_response {
    uint16_t status;
    uint8_t version_minor;
    bool keep_alive;
    enum http_framing framing;
    bool has_content_length; // also on HEAD, where there is no body
    uint64_t content_length;
    uint32_t header_count;
    struct http_header headers[HTTP_HEADERS_MAX];
};

/*
 * Parses one request head at data. Returns
 *
 *   > 0: the head's length in bytes; *out is filled in.
 *
 *   0: the head is not complete yet; call again with more bytes. A prefix is judged already: a bad
 *   first line is refused before the rest arrives.
 *
 *   < 0: minus the status to answer before closing; *out is undefined. 405 is left to the caller,
 *   who sees TRACE and CONNECT; 413 too, who knows its limit.
 *
 * The verdict is that of the first fault in the order of the bytes, so it does not depend on how
 * they were cut into segments:
 *
 * - 400, lines: bare CR or LF, obs-fold, white space before the colon, NUL and other control bytes
 *   but HTAB in values, bytes from 0x80 on outside values, empty or bad header names.
 *
 * - 400, target: one that is not origin-form, absolute-form, "*" for OPTIONS or authority-form for
 *   CONNECT, or holds '#'. The absolute-form must be http:// or https://, must name the same bytes
 *   as Host where there is one (RFC 9112 3.2.2 would let it override), and may not have a query
 *   after an empty path. An empty path reads as "/", for OPTIONS as "*"; only then target does not
 *   point into data.
 *
 * - 400, Host: missing (in 1.1), empty, repeated or no authority. An authority is host[:port]: an
 *   IPv6 address in brackets, or a name of letters, digits, "-", "_" and single dots (IPv4 among
 *   them) of at most 255 bytes; then 1 to 5 digits up to 65535. No userinfo, no empty port, no
 *   percent-encoding.
 *
 * - 400, framing: Content-Length that is repeated (also equal, also as a list) or not plain digits
 *   (no sign, no leading zeros, at most 2^63 - 1); Transfer-Encoding that is repeated, empty,
 *   beside Content-Length or in HTTP/1.0; Content_Length and Transfer_Encoding, which gateways take
 *   for the real ones; Connection that is no list of tokens or names Host or Content-Length.
 *
 * - 414: the target is too long. 431: too many fields, or the head is too long.
 *
 * - 417: Expect is not 100-continue (in 1.1; in 1.0 it is ignored, RFC 9110 10.1.1).
 *
 * - 501: any transfer coding but "chunked", or a method of more than HTTP_METHOD_MAX_BYTES.
 *
 * - 505: a major version other than 1. HTTP/1.2 and up read as 1.1.
 *
 * Up to one empty line (CRLF) before the request line is skipped and counted in the length
 * (RFC 9112 2.2).
 */
int http_parse_request(const uint8_t *data, size_t len, struct http_request *out);

/*
 * Parses one response head. head_request: it answers a HEAD. Returns > 0, the length; 0,
 * incomplete; -1, not a response we can take (same strictness; *out is undefined). Status 100 to
 * 599. 1xx heads are returned like others, framing NONE. A 1xx or 204 that announces a body is
 * refused (Content-Length: 0 is let pass). keep_alive is false where the body ends with the
 * connection.
 */
int http_parse_response(const uint8_t *data, size_t len, bool head_request,
                        struct http_response *out);

/*
 * Incremental decoder for chunked bodies (RFC 9112 7.1). Extensions are ignored and trailers
 * dropped, both bounded by HTTP_CHUNK_OVERHEAD_MAX_BYTES. Refused: a size of no or more than 16
 * digits or beyond 2^63 - 1, white space around the size, bare CR or LF, control bytes, trailer
 * lines without a valid name. ERROR stays.
 */
enum http_chunked_state {
    HTTP_CHUNK_SIZE,
    HTTP_CHUNK_EXT,
    HTTP_CHUNK_SIZE_LF,
    HTTP_CHUNK_DATA,
    HTTP_CHUNK_DATA_CR,
    HTTP_CHUNK_DATA_LF,
    HTTP_CHUNK_TRAILER_START,
    HTTP_CHUNK_TRAILER_LINE,
    HTTP_CHUNK_TRAILER_LF,
    HTTP_CHUNK_END_LF,
    HTTP_CHUNK_DONE,
    HTTP_CHUNK_ERROR,
};
struct http_chunked {
    enum http_chunked_state state;
    uint64_t left;     // bytes left in the current chunk
    uint32_t digits;   // hex digits seen in this size; in a trailer line, 1 once its colon was seen
    uint32_t overhead; // extension and trailer bytes seen, for their limit
};
void http_chunked_init(struct http_chunked *d);
/*
 * Consumes framing from data up to and including one run of body bytes. Returns the bytes consumed,
 * and sets *body and *body_len to the run (len 0 when there was none); call again until everything
 * is consumed or d->state is DONE or ERROR.
 */
size_t http_chunked_feed(struct http_chunked *d, const uint8_t *data, size_t len,
                         const uint8_t **body, size_t *body_len);

/* ---- looking things up ---- */
bool http_str_eq(struct http_str s, const char *literal);
bool http_str_ieq(struct http_str s, const char *literal); // ASCII case ignored, no locale
/* First header of that name, or NULL. */
const struct http_header *http_find(const struct http_header *headers, uint32_t count,
                                    const char *name);
/*
 * Is token one of the comma-separated elements of any header of that name (case ignored)? An
 * element is compared as a whole, parameters included; a comma in a quoted string does not divide.
 */
bool http_list_has(const struct http_header *headers, uint32_t count, const char *name,
                   const char *token);
/* Connection, Keep-Alive, Proxy-*, TE, Trailer, Transfer-Encoding, Upgrade, and whatever Connection
 * names. */
bool http_is_hop_by_hop(const struct http_header *headers, uint32_t count, struct http_str name);
const char *http_reason(uint16_t status); // "Not Found"; "" when unknown

/*
 * ---- serialising (into a wire_writer; sticky failure when it does not fit) ----
 * A header value with a control byte fails as well: the last line against response splitting.
 */
void http_put_str(struct wire_writer *w, const char *s);
void http_put_header(struct wire_writer *w, const char *name, struct http_str value);
void http_put_header_u64(struct wire_writer *w, const char *name, uint64_t value);
/* "HTTP/1.1 200 OK\r\n" */
void http_put_status_line(struct wire_writer *w, uint16_t status);
/* IMF-fixdate (RFC 9110 5.6.7) of a Unix time: 29 bytes, no terminator. Years 0000 to 9999; beyond,
 * the nearest. */
void http_format_date(int64_t unix_s, char out[29]);
/*
 * All three date formats of RFC 9110 5.6.7; false when it is none of them, no day of the calendar,
 * or the weekday is wrong. The two-digit years of RFC 850 are 1969 to 2068, since there is no clock
 * here.
 */
bool http_parse_date(struct http_str s, int64_t *unix_s);

/* ---- preconditions and ranges, on a validated full 200 (RFC 9110 13, 14) ---- */
struct http_validators {
    struct http_str etag;          // empty when the response has none
    struct http_str last_modified; // the same
};
enum http_condition {
    HTTP_COND_SEND,          // whole, or the range below
    HTTP_COND_NOT_MODIFIED,  // 304
    HTTP_COND_FAILED,        // 412
    HTTP_COND_RANGE,         // 206: *first..*last inclusive
    HTTP_COND_UNSATISFIABLE, // 416
};
/*
 * Evaluates If-Match, If-None-Match, If-Modified-Since, If-Unmodified-Since, If-Range and Range of
 * a GET or HEAD, in the order of RFC 9110 13.2.2, against the validated 200. A Range with more than
 * one range, of another unit or malformed is ignored (the server MAY): SEND. *first and *last are
 * set for RANGE only. A suffix range of an empty body is SEND, because Content-Range cannot say it.
 * A field that should occur once and is repeated counts as malformed. Other methods: SEND.
 */
enum http_condition http_evaluate_conditions(const struct http_header *headers, uint32_t count,
                                             enum http_method method,
                                             const struct http_validators *v, uint64_t body_len,
                                             uint64_t *first, uint64_t *last);

#endif
