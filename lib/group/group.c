/* SPDX-License-Identifier: BSD-3-Clause */
#include "group/group.h"

#include "group/conf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_BYTES_LOW 1024u
#define MAX_BYTES_HIGH (256u * 1024u * 1024u)
#define F_MAX ((GROUP_REPLICAS_MAX - 1) / 3)

static const char *const known_sections[] = {"group", "replica #", "client #", NULL};
static const char *const group_keys_known[] = {"replicas",
                                               "f",
                                               "incarnation",
                                               "read-optimisation",
                                               "unordered-writes",
                                               "request-max-bytes",
                                               "response-max-bytes",
                                               "excluded-headers",
                                               "checkpoint-interval",
                                               "log-window",
                                               NULL};
static const char *const replica_keys_known[] = {"address", "http", NULL};
static const char *const client_keys_known[] = {"address", "endpoints", NULL};

static void section_name(char out[32], const char *kind, uint32_t i) {
    snprintf(out, 32, "%s %u", kind, i);
}

static bool value_error(const struct conf *c, const char *section, const char *key,
                        const char *what, char err[GROUP_ERROR_BYTES]) {
    char where[CONF_WHERE_BYTES];
    snprintf(err, GROUP_ERROR_BYTES, "%s: %s", conf_where(c, section, key, where), what);
    return false;
}

/* ---- [group] */

static bool need_u32(const struct conf *c, const char *key, const char *example, uint64_t min,
                     uint64_t max, uint32_t *out, char err[GROUP_ERROR_BYTES]) {
    uint64_t v = 0;
    if (conf_need(c, "group", key, example, err) == NULL ||
        !conf_u64(c, "group", key, min, max, &v, err))
        return false;
    *out = (uint32_t)v;
    return true;
}

static bool read_incarnation(const struct conf *c, uint64_t *out, char err[GROUP_ERROR_BYTES]) {
    const char *text = conf_need(c, "group", "incarnation", "8f1d6c0a52b79e34", err);
    if (text == NULL)
        return false;
    size_t len = strlen(text);
    *out =
        len <= 16 && strspn(text, "0123456789abcdefABCDEF") == len ? strtoull(text, NULL, 16) : 0;
    if (*out == 0)
        return value_error(c, "group", "incarnation",
                           "must be 1 to 16 hexadecimal digits, not all zero; write for example "
                           "8f1d6c0a52b79e34",
                           err);
    return true;
}

static bool read_size(const struct conf *c, struct group *g, char err[GROUP_ERROR_BYTES]) {
    if (!need_u32(c, "replicas", "4", 1, GROUP_REPLICAS_MAX, &g->replicas, err) ||
        !need_u32(c, "f", "1", 0, F_MAX, &g->f, err))
        return false;
    if (g->replicas < 3 * g->f + 1) {
        char what[128];
        snprintf(what, sizeof what,
                 "%u replicas are too few to bear f = %u faulty ones: at least 3f + 1 = %u",
                 g->replicas, g->f, 3 * g->f + 1);
        return value_error(c, "group", "replicas", what, err);
    }
    return true;
}

static bool read_limits(const struct conf *c, struct group *g, char err[GROUP_ERROR_BYTES]) {
    uint64_t request = 16u * 1024u * 1024u, response = request, interval = 128;
    if (!conf_u64(c, "group", "request-max-bytes", MAX_BYTES_LOW, MAX_BYTES_HIGH, &request, err) ||
        !conf_u64(c, "group", "response-max-bytes", MAX_BYTES_LOW, MAX_BYTES_HIGH, &response,
                  err) ||
        !conf_u64(c, "group", "checkpoint-interval", 1, 16384, &interval, err))
        return false;
    // A window of two intervals lets ordering go on while a checkpoint becomes stable (PBFT 4.3).
    uint64_t window = 4 * interval;
    if (!conf_u64(c, "group", "log-window", 2 * interval, 65536, &window, err))
        return false;
    g->request_max_bytes = request;
    g->response_max_bytes = response;
    g->checkpoint_interval = (uint32_t)interval;
    g->log_window = (uint32_t)window;
    return true;
}

static bool read_group_section(const struct conf *c, struct group *g, char err[GROUP_ERROR_BYTES]) {
    const char *excluded = conf_get(c, "group", "excluded-headers");
    if (!conf_has_section(c, "group"))
        return conf_need(c, "group", "replicas", "4", err) != NULL;
    if (!conf_check_keys(c, "group", group_keys_known, err) || !read_size(c, g, err) ||
        !read_incarnation(c, &g->incarnation, err) ||
        !conf_bool(c, "group", "read-optimisation", &g->read_optimisation, err) ||
        !conf_bool(c, "group", "unordered-writes", &g->unordered_writes, err) ||
        !read_limits(c, g, err))
        return false;
    if (excluded != NULL && !sketch_names_add(&g->excluded_headers, excluded))
        return value_error(c, "group", "excluded-headers",
                           "must be header names of at most 63 characters, at most 32 of them, "
                           "separated by spaces or commas",
                           err);
    return true;
}

/* ---- [replica I], [client I] */

static bool read_endpoint(const struct conf *c, const char *section, const char *key,
                          const char *example, struct group_endpoint *out,
                          char err[GROUP_ERROR_BYTES]) {
    char where[CONF_WHERE_BYTES];
    const char *text = conf_need(c, section, key, example, err);
    return text != NULL && group_parse_endpoint(text, conf_where(c, section, key, where), out, err);
}

static bool read_replica(const struct conf *c, struct group *g, uint32_t i,
                         char err[GROUP_ERROR_BYTES]) {
    char section[32];
    section_name(section, "replica", i);
    return conf_check_keys(c, section, replica_keys_known, err) &&
           read_endpoint(c, section, "address", "10.0.0.10:7000", &g->replica_agreement[i], err) &&
           read_endpoint(c, section, "http", "10.0.0.10:80", &g->replica_http[i], err);
}

static bool read_client(const struct conf *c, struct group *g, uint32_t i,
                        char err[GROUP_ERROR_BYTES]) {
    char section[32];
    uint64_t endpoints = 1;
    section_name(section, "client", i);
    if (!conf_check_keys(c, section, client_keys_known, err) ||
        !read_endpoint(c, section, "address", "10.0.0.1:7100", &g->client_agreement[i], err) ||
        !conf_u64(c, section, "endpoints", 1, GROUP_ENDPOINTS_MAX, &endpoints, err))
        return false;
    g->client_endpoints[i] = (uint32_t)endpoints;
    if (g->client_agreement[i].port + endpoints - 1 > 65535)
        return value_error(c, section, "endpoints",
                           "endpoint k listens on port + k, which goes beyond 65535: choose a "
                           "lower port",
                           err);
    return true;
}

/* The sections of one kind must be 0, 1, 2 ... without a gap and below max; counts them. */
static bool count_sections(const struct conf *c, const char *path, const char *kind, uint32_t max,
                           uint32_t *count, char err[GROUP_ERROR_BYTES]) {
    const char *name;
    size_t len = strlen(kind);
    *count = 0;
    for (uint32_t i = 0; (name = conf_section(c, i)) != NULL; i++)
        *count += strncmp(name, kind, len) == 0;
    for (uint32_t i = 0; i < *count; i++) {
        char section[32];
        section_name(section, kind, i);
        if (conf_has_section(c, section))
            continue;
        snprintf(
            err, GROUP_ERROR_BYTES,
            "%s: [%s]: is missing, and a higher one is there; number them from 0 without a gap",
            path, section);
        return false;
    }
    if (*count > max) {
        snprintf(err, GROUP_ERROR_BYTES, "%s: [%s %u]: too many, there are %u, numbered from 0",
                 path, kind, max, max);
        return false;
    }
    return true;
}

static bool read_principals(const struct conf *c, const char *path, struct group *g,
                            char err[GROUP_ERROR_BYTES]) {
    uint32_t replicas, endpoints = 0;
    if (!count_sections(c, path, "replica", g->replicas, &replicas, err) ||
        !count_sections(c, path, "client", GROUP_CLIENTS_MAX, &g->clients, err))
        return false;
    for (uint32_t i = 0; i < g->replicas; i++)
        if (!read_replica(c, g, i, err))
            return false;
    if (g->clients == 0)
        return conf_need(c, "client 0", "address", "10.0.0.1:7100", err) != NULL;
    for (uint32_t i = 0; i < g->clients; i++) {
        if (!read_client(c, g, i, err))
            return false;
        endpoints += g->client_endpoints[i];
    }
    if (endpoints > GROUP_ENDPOINTS_TOTAL_MAX) {
        snprintf(err, GROUP_ERROR_BYTES, "%s: the clients have %u endpoints together: at most %u",
                 path, endpoints, GROUP_ENDPOINTS_TOTAL_MAX);
        return false;
    }
    return true;
}

/* ---- no address twice */

struct place {
    struct group_endpoint at;
    uint32_t ports; // at.port ... at.port + ports - 1
    char section[32];
};

static bool overlap(const struct place *a, const struct place *b) {
    return a->at.addr == b->at.addr && a->at.port < b->at.port + b->ports &&
           b->at.port < a->at.port + a->ports;
}

static bool check_apart(const char *path, const char *key, const struct place *places,
                        uint32_t count, char err[GROUP_ERROR_BYTES]) {
    for (uint32_t i = 0; i < count; i++) {
        for (uint32_t j = 0; j < i; j++) {
            if (!overlap(&places[i], &places[j]))
                continue;
            snprintf(err, GROUP_ERROR_BYTES,
                     "%s: [%s] %s: the same address and port as [%s]; each needs its own", path,
                     places[i].section, key, places[j].section);
            return false;
        }
    }
    return true;
}

static bool check_addresses(const char *path, const struct group *g, char err[GROUP_ERROR_BYTES]) {
    struct place udp[GROUP_PRINCIPALS_MAX], tcp[GROUP_REPLICAS_MAX];
    for (uint32_t i = 0; i < g->replicas; i++) {
        udp[i] = (struct place){.at = g->replica_agreement[i], .ports = 1};
        tcp[i] = (struct place){.at = g->replica_http[i], .ports = 1};
        section_name(udp[i].section, "replica", i);
        section_name(tcp[i].section, "replica", i);
    }
    for (uint32_t i = 0; i < g->clients; i++) {
        struct place *p = &udp[g->replicas + i];
        *p = (struct place){.at = g->client_agreement[i], .ports = g->client_endpoints[i]};
        section_name(p->section, "client", i);
    }
    return check_apart(path, "address", udp, g->replicas + g->clients, err) &&
           check_apart(path, "http", tcp, g->replicas, err);
}

bool group_read(const char *path, struct group *out, char err[GROUP_ERROR_BYTES]) {
    memset(out, 0, sizeof *out);
    struct conf *c = conf_read(path, err);
    if (c == NULL)
        return false;
    bool ok = conf_check_sections(c, known_sections, err) && read_group_section(c, out, err) &&
              read_principals(c, path, out, err) && check_addresses(path, out, err);
    conf_free(c);
    return ok;
}
