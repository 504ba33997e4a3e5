/* SPDX-License-Identifier: BSD-3-Clause */
#include "group/group.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Decimal digits only: no sign, no white space, no hexadecimal. */
static bool decimal(const char *text, uint64_t *out) {
    size_t len = strlen(text);
    if (len == 0 || len > 20 || strspn(text, "0123456789") != len)
        return false;
    errno = 0;
    *out = strtoull(text, NULL, 10);
    return errno == 0;
}

bool group_parse_u64(const char *text, const char *where, uint64_t min, uint64_t max, uint64_t *out,
                     char err[GROUP_ERROR_BYTES]) {
    uint64_t v;
    if (!decimal(text, &v) || v < min || v > max) {
        snprintf(err, GROUP_ERROR_BYTES,
                 "%s: '%.64s' is not a whole number from %" PRIu64 " to %" PRIu64, where, text, min,
                 max);
        return false;
    }
    *out = v;
    return true;
}

bool group_parse_bool(const char *text, const char *where, bool *out, char err[GROUP_ERROR_BYTES]) {
    if (strcmp(text, "yes") != 0 && strcmp(text, "no") != 0) {
        snprintf(err, GROUP_ERROR_BYTES, "%s: '%.64s' is neither yes nor no", where, text);
        return false;
    }
    *out = text[0] == 'y';
    return true;
}

static bool parse_address(const char *text, size_t len, uint32_t *addr) {
    char copy[INET_ADDRSTRLEN];
    struct in_addr in;
    if (len >= sizeof copy)
        return false;
    memcpy(copy, text, len);
    copy[len] = '\0';
    if (inet_pton(AF_INET, copy, &in) != 1)
        return false;
    *addr = ntohl(in.s_addr);
    return true;
}

bool group_parse_endpoint(const char *text, const char *where, struct group_endpoint *out,
                          char err[GROUP_ERROR_BYTES]) {
    const char *colon = strchr(text, ':');
    uint64_t port = 0;
    uint32_t addr = 0;
    if (colon == NULL || !parse_address(text, (size_t)(colon - text), &addr) ||
        !decimal(colon + 1, &port) || port < 1 || port > 65535) {
        snprintf(err, GROUP_ERROR_BYTES,
                 "%s: '%.64s' is not an IPv4 address and port; write for example 10.0.0.10:7000",
                 where, text);
        return false;
    }
    if (addr == 0 || addr >> 28 >= 0xe) {
        snprintf(err, GROUP_ERROR_BYTES, "%s: '%.64s' is not the address of one host", where, text);
        return false;
    }
    *out = (struct group_endpoint){.addr = addr, .port = (uint16_t)port};
    return true;
}

bool group_parse_ipv4(const char *text, const char *where, uint32_t *addr, uint8_t *prefix_len,
                      char err[GROUP_ERROR_BYTES]) {
    const char *slash = strchr(text, '/');
    size_t len = slash == NULL ? strlen(text) : (size_t)(slash - text);
    uint64_t prefix = 0;
    uint32_t a = 0;
    bool ok = parse_address(text, len, &a) && (slash != NULL) == (prefix_len != NULL);
    if (ok && slash != NULL)
        ok = decimal(slash + 1, &prefix) && prefix >= 1 && prefix <= 32;
    if (!ok) {
        snprintf(err, GROUP_ERROR_BYTES,
                 "%s: '%.64s' is not an IPv4 address%s; write for example %s", where, text,
                 prefix_len != NULL ? " with a prefix length" : "",
                 prefix_len != NULL ? "10.0.0.1/24" : "10.0.0.1");
        return false;
    }
    *addr = a;
    if (prefix_len != NULL)
        *prefix_len = (uint8_t)prefix;
    return true;
}
