/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lib/sketch - canonical requests and responses, and their sketches s(q), s(r) (Prophecy, §3.1).
 *
 * The canonical response is what a response *means*: status, included headers in a fixed order and
 * form, body. Replicas agree on exactly these bytes, the sketcher sketches exactly these
 * bytes, and clients are sent nothing else (design.md, laws 1 and 13). All integers big-endian:
 *
 *   u32 head_len | head | body | u64 body_len
 *   head = u16 status | u16 count | count * (u16 name_len | name | u32 value_len | value)
 *
 * Names are lower case; headers are sorted by name, those of equal name stay in order. Length
 * prefixes and the trailing body_len make it injective, and still it can be hashed
 * while the body streams in. Left out: Content-Length (body_len says it; kept for HEAD, where it
 * is meant), Date, Server, Via, Age, Connection and what it names, every hop-by-hop field, and the
 * group's excluded-headers.
 *
 * Tags are secret: keyed with a key drawn at start, they never leave the process (law 13). Requests
 * and responses have separate keys; the response sketch starts with all of s(q), so a
 * partial key tag in the history table can never let one request's response pass for another's.
 *
 * A struct sketch belongs to one thread. Nothing allocates after sketch_new.
 */
#ifndef PROPHECY_SKETCH_H
#define PROPHECY_SKETCH_H

#include "crypto/crypto.h"
#include "http/http.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SKETCH_BYTES 16u
#define SKETCH_CANONICAL_HEAD_MAX (HTTP_HEAD_MAX_BYTES + 4u + 6u * HTTP_HEADERS_MAX)
#define SKETCH_EXCLUDED_MAX 32u
#define SKETCH_KEY_HEADERS_MAX 16u
#define SKETCH_NAME_MAX_BYTES 64u

struct sketch_tag {
    uint8_t b[SKETCH_BYTES];
};

/* Secrets drawn once per process and shared by all lcores, so that their sketches compare. */
struct sketch_secret {
    uint8_t request_key[CRYPTO_KEY_BYTES];
    uint8_t response_key[CRYPTO_KEY_BYTES];
};

/* Lower-case names of one list of headers. */
struct sketch_names {
    uint32_t count;
    char name[SKETCH_EXCLUDED_MAX][SKETCH_NAME_MAX_BYTES];
};
/* Adds every name of a list separated by spaces or commas, lowered; false: bad token, too long, too
 * many.
 */
bool sketch_names_add(struct sketch_names *names, const char *list);
/* Accept, Accept-Encoding, Accept-Language, Authorization, Cookie (design.md law 6). */
void sketch_key_headers_default(struct sketch_names *names);

struct sketch;
struct sketch *sketch_new(const struct sketch_secret *secret); // NULL: no memory
void sketch_free(struct sketch *s);

/*
 * s(q): method, authority, target, and for each key header, in the list's order, whether it is
 * there and its values (several of one name are joined in order with ", "). Injective.
 */
void sketch_request(struct sketch *s, const struct http_request *q,
                    const struct sketch_names *key_headers, struct sketch_tag *out);
/* The URL that a write names: authority and target, exact bytes, query included (law 3). */
void sketch_url(struct sketch *s, const struct http_request *q, struct sketch_tag *out);

/*
 * The upstream request head of a read: method, target, Host and the key headers that are present,
 * nothing else: a function of the key (law 6). No body. Goes to a replica's web server and, the
 * same bytes, into the agreed operation.
 */
void sketch_upstream_read(struct wire_writer *w, const struct http_request *q,
                          const struct sketch_names *key_headers);
/*
 * The upstream request head of a write: all end-to-end headers as sent (no hop-by-hop, no Expect),
 * Host, and one Content-Length: body_len, when there was a body (also an empty one) or the method
 * expects one (POST, PUT, PATCH).
 */
void sketch_upstream_write(struct wire_writer *w, const struct http_request *q, bool has_body,
                           uint64_t body_len);

/* Writes the canonical head of r (without its u32 length); returns its length, 0 when it does not
 * fit. */
size_t sketch_canonical_head(const struct http_response *r, bool head_request,
                             const struct sketch_names *excluded, uint8_t *out, size_t cap);

/* s(r) while it streams: begin with s(q) and the canonical head, then the body, then final. */
void sketch_response_begin(struct sketch *s, const struct sketch_tag *request, const uint8_t *head,
                           size_t head_len);
void sketch_response_body(struct sketch *s, const uint8_t *body, size_t len);
void sketch_response_final(struct sketch *s, uint64_t body_len, struct sketch_tag *out);
/* The same over a whole canonical response in memory (already checked by sketch_canonical_parse).
 */
void sketch_canonical(struct sketch *s, const struct sketch_tag *request, const uint8_t *canonical,
                      size_t len, struct sketch_tag *out);
bool sketch_equal(const struct sketch_tag *a, const struct sketch_tag *b); // constant time

/* ---- reading a canonical response ---- */
struct sketch_view {
    uint16_t status;
    uint16_t header_count;
    const uint8_t *head;
    size_t head_len;
    const uint8_t *body;
    size_t body_len;
};
/* Checks all of it (sorted names, lower case, field characters that cannot break out of a header
 * line, lengths); false: not canonical. It comes from replicas, of which f lie. */
bool sketch_canonical_parse(const uint8_t *data, size_t len, struct sketch_view *out);
/* The same for a head alone; body is left empty. */
bool sketch_head_parse(const uint8_t *head, size_t len, struct sketch_view *out);
/* Walks the headers: start with *pos = 0; false at the end. */
bool sketch_view_next(const struct sketch_view *v, size_t *pos, struct http_str *name,
                      struct http_str *value);
struct http_str sketch_view_find(const struct sketch_view *v, const char *lower_name);

/* Wraps a head and a body into one canonical response; returns its length, 0 when cap is too small.
 */
size_t sketch_canonical_build(const uint8_t *head, size_t head_len, const uint8_t *body,
                              size_t body_len, uint8_t *out, size_t cap);

/*
 * The client's response head: status line, the canonical headers, then Date, Content-Length:
 * body_len (not on 1xx, 204, 304; for HEAD the canonical one) and Connection. Nothing a replica
 * said outside the canonical form gets in. For 206/304/416 made by the sketcher, status and extra
 * differ: pass what is to be sent.
 */
struct sketch_client_head {
    uint16_t status;
    bool head_request;
    bool keep_alive;
    bool http_1_0; // the client's version: "Connection: keep-alive" is spelt out
    uint64_t body_len;
    int64_t unix_s;            // for Date
    const char *content_range; // NULL, or the value
    bool not_modified;         // 304: only the header fields of RFC 9110 15.4.5
};
void sketch_client_head(struct wire_writer *w, const struct sketch_view *v,
                        const struct sketch_client_head *c);

/*
 * Says in at most cap bytes (with the terminator) what differs first: "status 200 and 404", "header
 * etag", "header x-served-by only in the second", "body byte 17 of 300 and 302"; "nothing" when
 * equal. Only names, offsets and lengths, never values: they may be private.
 */
void sketch_difference(const struct sketch_view *a, const struct sketch_view *b, char *out,
                       size_t cap);

#endif
