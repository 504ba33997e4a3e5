/* SPDX-License-Identifier: BSD-3-Clause */
/* The request heads that go to the replicas, serialised afresh from the parsed form. */
#include "sketch/sketch_internal.h"

static const char *const never_key[] = {"host",
                                        "content-length",
                                        "expect",
                                        "range",
                                        "if-match",
                                        "if-none-match",
                                        "if-modified-since",
                                        "if-unmodified-since",
                                        "if-range",
                                        NULL};

bool sketch_key_value(const struct http_request *q, const char *name, uint32_t *i,
                      struct http_str *value) {
    for (; *i < q->header_count; (*i)++) {
        const struct http_header *h = &q->headers[*i];
        if (!http_str_ieq(h->name, name) || sketch_name_in(h->name, never_key) ||
            http_is_hop_by_hop(q->headers, q->header_count, h->name))
            continue;
        *value = h->value;
        (*i)++;
        return true;
    }
    return false;
}

static void put_field(struct wire_writer *w, struct http_str name, struct http_str value) {
    wire_put_bytes(w, name.p, name.len);
    http_put_str(w, ": ");
    wire_put_bytes(w, value.p, value.len);
    http_put_str(w, "\r\n");
}

static void put_request_line_and_host(struct wire_writer *w, const struct http_request *q) {
    wire_put_bytes(w, q->method_name.p, q->method_name.len);
    http_put_str(w, " ");
    wire_put_bytes(w, q->target.p, q->target.len);
    http_put_str(w, " HTTP/1.1\r\n");
    // RFC 9112 3.2: without an authority the field is sent with an empty value.
    http_put_header(w, "Host", q->authority);
}

void sketch_upstream_read(struct wire_writer *w, const struct http_request *q,
                          const struct sketch_names *key_headers) {
    put_request_line_and_host(w, q);
    for (uint32_t k = 0; k < key_headers->count; k++) {
        struct http_str value;
        uint32_t found = 0;
        for (uint32_t i = 0; sketch_key_value(q, key_headers->name[k], &i, &value); found++) {
            http_put_str(w, found == 0 ? key_headers->name[k] : ", ");
            http_put_str(w, found == 0 ? ": " : "");
            wire_put_bytes(w, value.p, value.len);
        }
        http_put_str(w, found > 0 ? "\r\n" : "");
    }
    http_put_str(w, "\r\n");
}

void sketch_upstream_write(struct wire_writer *w, const struct http_request *q, bool has_body,
                           uint64_t body_len) {
    static const char *const remade[] = {"host", "content-length", "expect", NULL};
    put_request_line_and_host(w, q);
    for (uint32_t i = 0; i < q->header_count; i++) {
        const struct http_header *h = &q->headers[i];
        if (!sketch_name_in(h->name, remade) &&
            !http_is_hop_by_hop(q->headers, q->header_count, h->name))
            put_field(w, h->name, h->value);
    }
    if (has_body || q->method == HTTP_POST || q->method == HTTP_PUT || q->method == HTTP_PATCH)
        http_put_header_u64(w, "Content-Length", body_len);
    http_put_str(w, "\r\n");
}
