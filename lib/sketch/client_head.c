/* SPDX-License-Identifier: BSD-3-Clause */
/* The response head that a client gets: canonical headers and what the sketcher makes itself. */
#include "sketch/sketch_internal.h"

static const char content_length[] = "content-length";

/* RFC 9110 15.4.5 (Date is made here, see below) */
static const char *const on_not_modified[] = {
    "cache-control", "content-location", "etag", "expires", "vary", NULL};

static void put_canonical_headers(struct wire_writer *w, const struct sketch_view *v,
                                  const struct sketch_client_head *c) {
    struct http_str name, value;
    for (size_t pos = 0; sketch_view_next(v, &pos, &name, &value);) {
        bool remade = http_str_eq(name, content_length) ||
                      (c->content_range != NULL && http_str_eq(name, "content-range"));
        if (remade || (c->not_modified && !sketch_name_in(name, on_not_modified)))
            continue;
        wire_put_bytes(w, name.p, name.len);
        http_put_str(w, ": ");
        wire_put_bytes(w, value.p, value.len);
        http_put_str(w, "\r\n");
    }
}

/* RFC 9110 8.6. The canonical length belongs to the canonical status: a 412 to HEAD has none of its
 * own. */
static void put_content_length(struct wire_writer *w, const struct sketch_view *v,
                               const struct sketch_client_head *c) {
    if (c->status < 200 || c->status == 204 || c->status == 304)
        return;
    if (!c->head_request) {
        http_put_header_u64(w, "Content-Length", c->body_len);
        return;
    }
    struct http_str said = sketch_view_find(v, content_length);
    if (said.p != NULL && c->status == v->status)
        http_put_header(w, "Content-Length", said);
}

void sketch_client_head(struct wire_writer *w, const struct sketch_view *v,
                        const struct sketch_client_head *c) {
    char date[29];
    http_put_status_line(w, c->status);
    put_canonical_headers(w, v, c);
    if (c->content_range != NULL) {
        http_put_str(w, "Content-Range: ");
        http_put_str(w, c->content_range);
        http_put_str(w, "\r\n");
    }
    http_format_date(c->unix_s, date);
    http_put_header(w, "Date", (struct http_str){date, sizeof date});
    put_content_length(w, v, c);
    if (!c->keep_alive)
        http_put_str(w, "Connection: close\r\n");
    else if (c->http_1_0)
        http_put_str(w, "Connection: keep-alive\r\n");
    http_put_str(w, "\r\n");
}
