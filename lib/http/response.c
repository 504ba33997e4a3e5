/* SPDX-License-Identifier: BSD-3-Clause */
/* The response head (RFC 9112 4) and the framing of its body (RFC 9112 6.3). */
#include "http/internal.h"

/* SP 3DIGIT SP [reason-phrase] CRLF, after the version */
static int step_status(struct http_cursor *c, uint16_t *status) {
    unsigned int value = 0;
    for (ptrdiff_t i = 0; i < 5; i++) {
        if (c->end - c->p <= i)
            return HTTP_STEP_MORE;
        uint8_t byte = c->p[i];
        bool is_space = i == 0 || i == 4;
        if (is_space ? byte != ' ' : !http_is_digit(byte))
            return -1;
        if (!is_space)
            value = value * 10 + (unsigned int)(byte - '0');
    }
    if (value < 100 || value > 599)
        return -1;
    *status = (uint16_t)value;
    c->p = http_skip_value(c->p + 5, c->end);
    return http_step_crlf(c);
}

static bool informational(uint16_t status) {
    return status < 200;
}

static enum http_framing framing_of(const struct http_fields *f, uint16_t status,
                                    bool head_request) {
    if (head_request || informational(status) || status == 204 || status == 304)
        return HTTP_BODY_NONE;
    if (f->chunked)
        return HTTP_BODY_CHUNKED;
    return f->has_content_length ? HTTP_BODY_LENGTH : HTTP_BODY_UNTIL_CLOSE;
}

static int settle_response(const struct http_fields *f, bool head_request,
                           struct http_response *out) {
    /* RFC 9110 8.6, RFC 9112 6.1: these have no body; a head that announces one is out of step. */
    if ((informational(out->status) || out->status == 204) &&
        (f->chunked || f->content_length != 0))
        return -1;
    out->framing = framing_of(f, out->status, head_request);
    out->keep_alive = http_fields_keep_alive(f) && out->framing != HTTP_BODY_UNTIL_CLOSE;
    out->has_content_length = f->has_content_length;
    out->content_length = f->content_length;
    out->header_count = f->count;
    return HTTP_STEP_DONE;
}

int http_parse_response(const uint8_t *data, size_t len, bool head_request,
                        struct http_response *out) {
    if (len == 0)
        return 0;
    size_t limit = len < HTTP_HEAD_MAX_BYTES ? len : HTTP_HEAD_MAX_BYTES;
    struct http_cursor c = {.p = data, .end = data + limit};
    struct http_fields f = {.request = false};
    int step = http_step_version(&c, &out->version_minor);
    if (step > 0)
        step = step_status(&c, &out->status);
    if (step > 0) {
        f.version_minor = out->version_minor;
        step = http_step_fields(&c, &f, out->headers);
    }
    if (step > 0)
        step = settle_response(&f, head_request, out);
    if (step < 0 || (step == HTTP_STEP_MORE && limit == HTTP_HEAD_MAX_BYTES))
        return -1;
    return step > 0 ? (int)(c.p - data) : 0;
}
