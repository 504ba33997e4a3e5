/* SPDX-License-Identifier: BSD-3-Clause */
/* host [":" port] of RFC 3986 3.2.2, narrowed to what names a web server. */
#include "http/internal.h"

#define HOST_MAX_BYTES 255u
#define PORT_MAX_DIGITS 5u
#define PORT_MAX 65535u
#define IPV6_GROUPS 8u

/* dec-octet "." dec-octet "." dec-octet "." dec-octet, without leading zeros */
static bool valid_ipv4(const uint8_t *p, const uint8_t *end) {
    for (unsigned int octets = 1;; octets++) {
        const uint8_t *start = p;
        unsigned int value = 0;
        while (p < end && http_is_digit(*p) && p - start < 3)
            value = value * 10 + (unsigned int)(*p++ - '0');
        if (p == start || value > 255 || (*start == '0' && p - start > 1))
            return false;
        if (octets == 4)
            return p == end;
        if (p == end || *p++ != '.')
            return false;
    }
}

static bool valid_ipv6(const uint8_t *p, const uint8_t *end) {
    unsigned int groups = 0;
    bool elided = false; // "::" was seen
    if (end - p >= 2 && p[0] == ':' && p[1] == ':') {
        elided = true;
        p += 2;
    }
    while (p < end && groups < IPV6_GROUPS) {
        const uint8_t *group = p;
        while (p < end && http_hex_value(*p) >= 0 && p - group < 4)
            p++;
        if (p < end && *p == '.') {
            if (!valid_ipv4(group, end))
                return false;
            groups += 2;
            p = end;
            break;
        }
        if (p == group)
            return false;
        groups++;
        if (p == end)
            break;
        if (*p++ != ':' || p == end)
            return false;
        if (*p == ':') {
            if (elided)
                return false;
            elided = true;
            p++;
        }
    }
    return p == end && (elided ? groups < IPV6_GROUPS : groups == IPV6_GROUPS);
}

/* The end of a valid host at the start of [p, end), or NULL. */
static const uint8_t *skip_host(const uint8_t *p, const uint8_t *end) {
    if (p < end && *p == '[') {
        const uint8_t *close = memchr(p, ']', (size_t)(end - p));
        return close != NULL && valid_ipv6(p + 1, close) ? close + 1 : NULL;
    }
    const uint8_t *host = p;
    uint8_t before = '.'; // an empty label is refused; one dot at the very end is the root
    for (; p < end && http_is(*p, HTTP_CHAR_NAME); before = *p++) {
        if (*p == '.' && before == '.')
            return NULL;
    }
    return p != host && (size_t)(p - host) <= HOST_MAX_BYTES ? p : NULL;
}

bool http_valid_authority(struct http_str s, bool port_required) {
    if (s.len == 0)
        return false;
    const uint8_t *end = (const uint8_t *)s.p + s.len;
    const uint8_t *p = skip_host((const uint8_t *)s.p, end);
    if (p == NULL)
        return false;
    if (p == end)
        return !port_required;
    if (*p++ != ':' || p == end || end - p > (ptrdiff_t)PORT_MAX_DIGITS)
        return false;
    unsigned int port = 0;
    for (; p < end; p++) {
        if (!http_is_digit(*p))
            return false;
        port = port * 10 + (unsigned int)(*p - '0');
    }
    return port <= PORT_MAX;
}
