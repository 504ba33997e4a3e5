/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The three lists (Prophecy, §3.3.1 and §3.3.2). A pattern is compared with the path as sent and
 * with the path as a server reads it (percent-encoding, "." and ".." and empty segments resolved),
 * or a client could slip a GET with side effects past the write list as /c%67i, or anything into
 * the whitelist as /static/../x. The write list and the blacklist take either form, the whitelist
 * needs both.
 */
#include "sketcher/internal.h"

#include <fnmatch.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define METHOD_CHARS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!#$%&'*+-.^_`|~"
#define PATH_ROOM (HTTP_TARGET_MAX_BYTES + 1u)

static const char *const list_names[] = {"default", "whitelist", "blacklist", "write"};

/* ---- reading a rule ---- */

static bool __attribute__((format(printf, 2, 3)))
wrong(char err[SKETCHER_ERROR_BYTES], const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(err, SKETCHER_ERROR_BYTES, format, args);
    va_end(args);
    return false;
}

static bool check_method(const char *method, enum sketcher_list list, char *err) {
    if (strspn(method, METHOD_CHARS) != strlen(method))
        return wrong(err, "'%s' is not a method: want a name such as GET, or * for any", method);
    if (list == SKETCHER_WRITELIST || strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0 ||
        strcmp(method, "*") == 0)
        return true;
    return wrong(err, "method '%s' cannot be on the %s: only GET, HEAD or * are ever fast reads",
                 method, list_names[list]);
}

static bool check_path(const char *path, char *err) {
    if (path[0] != '/' && path[0] != '*')
        return wrong(err, "path pattern '%.200s' must start with / or *", path);
    if (strlen(path) >= SKETCHER_RULE_PATH_MAX)
        return wrong(err, "path pattern of %zu bytes is too long: at most %u", strlen(path),
                     SKETCHER_RULE_PATH_MAX - 1);
    for (const char *p = path; *p != '\0'; p++)
        if (*p <= ' ' || *p == 0x7f)
            return wrong(err, "path pattern '%.200s' holds a space or control character", path);
    return true;
}

bool sketcher_policy_add(struct sketcher_policy *p, enum sketcher_list list, const char *rule,
                         char err[SKETCHER_ERROR_BYTES]) {
    struct sketcher_rule new = {.list = list};
    if (list == SKETCHER_DEFAULT)
        return wrong(err, "no such list: want whitelist, blacklist or write");
    if (p->count == SKETCHER_RULES_MAX)
        return wrong(err, "too many rules: at most %u", SKETCHER_RULES_MAX);
    size_t method_len = strcspn(rule, " \t");
    const char *path = rule + method_len + strspn(rule + method_len, " \t");
    if (method_len == 0 || path[0] == '\0')
        return wrong(err, "rule '%.200s' is not \"METHOD PATTERN\", such as \"GET /static/*\"",
                     rule);
    if (method_len >= sizeof new.method)
        return wrong(err, "method '%.*s...' is too long: at most %zu bytes", 20, rule,
                     sizeof new.method - 1);
    memcpy(new.method, rule, method_len);
    if (!check_method(new.method, list, err) || !check_path(path, err))
        return false;
    memcpy(new.path, path, strlen(path) + 1);
    p->rules[p->count++] = new;
    return true;
}

/* ---- matching ---- */

static int hex_digit(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Decodes %XX once, in place; an encoded NUL stays as it is, being no character of a path. */
static void percent_decode(char *path) {
    char *out = path;
    for (const char *in = path; *in != '\0'; in++) {
        int high = *in == '%' ? hex_digit(in[1]) : -1;
        int low = high >= 0 ? hex_digit(in[2]) : -1;
        if (low >= 0 && (high | low) != 0) {
            *out++ = (char)(high << 4 | low);
            in += 2;
        } else {
            *out++ = *in;
        }
    }
    *out = '\0';
}

/* Removes empty, "." and ".." segments of an absolute path, in place (RFC 3986 5.2.4). */
static void remove_dots(char *path) {
    char *out = path;
    const char *in = path;
    while (*in == '/') {
        const char *segment = in + 1;
        size_t len = strcspn(segment, "/");
        bool last = segment[len] == '\0';
        in = segment + len;
        bool up = len == 2 && segment[0] == '.' && segment[1] == '.';
        if (up)
            while (out > path && *--out != '/')
                ;
        if (up || len == 0 || (len == 1 && segment[0] == '.')) {
            if (last)
                *out++ = '/';
            continue;
        }
        *out++ = '/';
        memmove(out, segment, len);
        out += len;
    }
    if (out > path)
        *out = '\0';
}

struct path_forms {
    char sent[PATH_ROOM];
    char read[PATH_ROOM]; // as a server reads it
};

static void path_forms(struct http_str target, struct path_forms *out) {
    const char *query = memchr(target.p, '?', target.len);
    size_t len = query != NULL ? (size_t)(query - target.p) : target.len;
    if (len >= PATH_ROOM)
        len = PATH_ROOM - 1; // the parser refuses such a target already
    memcpy(out->sent, target.p, len);
    out->sent[len] = '\0';
    memcpy(out->read, out->sent, len + 1);
    percent_decode(out->read);
    remove_dots(out->read);
}

static bool rule_matches(const struct sketcher_rule *rule, const struct http_request *q,
                         const struct path_forms *path) {
    if (strcmp(rule->method, "*") != 0 && !http_str_eq(q->method_name, rule->method))
        return false;
    if (rule->list != SKETCHER_WRITELIST && q->method != HTTP_GET && q->method != HTTP_HEAD)
        return false;
    bool sent = fnmatch(rule->path, path->sent, 0) == 0;
    bool read = fnmatch(rule->path, path->read, 0) == 0;
    return rule->list == SKETCHER_WHITELIST ? sent && read : sent || read;
}

enum sketcher_list sketcher_policy_match(const struct sketcher_policy *p,
                                         const struct http_request *q) {
    struct path_forms path;
    if (p == NULL || p->count == 0)
        return SKETCHER_DEFAULT;
    path_forms(q->target, &path);
    for (uint32_t i = 0; i < p->count; i++)
        if (rule_matches(&p->rules[i], q, &path))
            return p->rules[i].list;
    return SKETCHER_DEFAULT;
}

/* ---- reloads ---- */

bool policy_equal(const struct sketcher_policy *a, const struct sketcher_policy *b) {
    uint32_t a_count = a == NULL ? 0 : a->count;
    uint32_t b_count = b == NULL ? 0 : b->count;
    if (a_count != b_count)
        return false;
    for (uint32_t i = 0; i < a_count; i++)
        if (a->rules[i].list != b->rules[i].list ||
            strcmp(a->rules[i].method, b->rules[i].method) != 0 ||
            strcmp(a->rules[i].path, b->rules[i].path) != 0)
            return false;
    return true;
}

bool sketcher_policy_needs_flush(const struct sketcher_policy *old,
                                 const struct sketcher_policy *new_policy) {
    if (policy_equal(old, new_policy))
        return false;
    for (uint32_t i = 0; old != NULL && i < old->count; i++)
        if (old->rules[i].list == SKETCHER_WHITELIST)
            return true;
    return false;
}
