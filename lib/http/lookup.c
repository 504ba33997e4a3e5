/* SPDX-License-Identifier: BSD-3-Clause */
#include "http/internal.h"

bool http_str_eq(struct http_str s, const char *literal) {
    return s.len == strlen(literal) && (s.len == 0 || memcmp(s.p, literal, s.len) == 0);
}

static bool equal_fold(struct http_str s, const char *other, size_t len) {
    if (s.len != len)
        return false;
    for (size_t i = 0; i < len; i++) {
        if (http_lower((uint8_t)s.p[i]) != http_lower((uint8_t)other[i]))
            return false;
    }
    return true;
}

bool http_str_ieq(struct http_str s, const char *literal) {
    return equal_fold(s, literal, strlen(literal));
}

const struct http_header *http_find(const struct http_header *headers, uint32_t count,
                                    const char *name) {
    size_t len = strlen(name);
    for (uint32_t i = 0; i < count; i++) {
        if (equal_fold(headers[i].name, name, len))
            return &headers[i];
    }
    return NULL;
}

/* The place of the comma that ends the first element, or s.len. */
static size_t element_len(struct http_str s) {
    bool quoted = false;
    for (size_t i = 0; i < s.len; i++) {
        if (s.p[i] == '"')
            quoted = !quoted;
        else if (quoted && s.p[i] == '\\')
            i++; // quoted-pair
        else if (!quoted && s.p[i] == ',')
            return i;
    }
    return s.len;
}

bool http_list_next(struct http_str *rest, struct http_str *element) {
    while (rest->len > 0) {
        size_t len = element_len(*rest);
        *element = http_trim((struct http_str){.p = rest->p, .len = len});
        size_t step = len < rest->len ? len + 1 : len;
        rest->p += step;
        rest->len -= step;
        if (element->len > 0)
            return true;
    }
    return false;
}

static bool list_has(const struct http_header *headers, uint32_t count, const char *name,
                     const char *token, size_t token_len) {
    size_t name_len = strlen(name);
    for (uint32_t i = 0; i < count; i++) {
        if (!equal_fold(headers[i].name, name, name_len))
            continue;
        struct http_str rest = headers[i].value;
        struct http_str element;
        while (http_list_next(&rest, &element)) {
            if (equal_fold(element, token, token_len))
                return true;
        }
    }
    return false;
}

bool http_list_has(const struct http_header *headers, uint32_t count, const char *name,
                   const char *token) {
    return list_has(headers, count, name, token, strlen(token));
}

bool http_is_hop_by_hop(const struct http_header *headers, uint32_t count, struct http_str name) {
    /* RFC 9110 7.6.1 */
    static const char *const fixed[] = {"Connection", "Keep-Alive",        "TE",
                                        "Trailer",    "Transfer-Encoding", "Upgrade"};
    for (size_t i = 0; i < sizeof fixed / sizeof fixed[0]; i++) {
        if (http_str_ieq(name, fixed[i]))
            return true;
    }
    static const char proxy[] = "Proxy-";
    struct http_str start = {.p = name.p, .len = sizeof proxy - 1};
    if (name.len >= start.len && http_str_ieq(start, proxy))
        return true;
    return list_has(headers, count, "Connection", name.p, name.len);
}

const char *http_reason(uint16_t status) {
    static const struct {
        uint16_t status;
        const char *reason;
    } reasons[] = {
        {100, "Continue"},
        {101, "Switching Protocols"},
        {200, "OK"},
        {201, "Created"},
        {202, "Accepted"},
        {203, "Non-Authoritative Information"},
        {204, "No Content"},
        {205, "Reset Content"},
        {206, "Partial Content"},
        {300, "Multiple Choices"},
        {301, "Moved Permanently"},
        {302, "Found"},
        {303, "See Other"},
        {304, "Not Modified"},
        {305, "Use Proxy"},
        {307, "Temporary Redirect"},
        {308, "Permanent Redirect"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {402, "Payment Required"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {406, "Not Acceptable"},
        {407, "Proxy Authentication Required"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {410, "Gone"},
        {411, "Length Required"},
        {412, "Precondition Failed"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {415, "Unsupported Media Type"},
        {416, "Range Not Satisfiable"},
        {417, "Expectation Failed"},
        {421, "Misdirected Request"},
        {422, "Unprocessable Content"},
        {426, "Upgrade Required"},
        {428, "Precondition Required"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {502, "Bad Gateway"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {505, "HTTP Version Not Supported"},
        {507, "Insufficient Storage"},
        {511, "Network Authentication Required"},
    };
    if (status == 200)
        return "OK";
    for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++) {
        if (reasons[i].status == status)
            return reasons[i].reason;
    }
    return "";
}
