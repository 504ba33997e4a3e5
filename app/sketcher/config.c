/* SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"

#include <errno.h>
#include <getopt.h>
#include <libgen.h>
#include <rte_cfgfile.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECTION_ENTRIES_MAX 300

static const char usage[] =
    "usage: prophecy-sketcher <EAL arguments> -- --config FILE [options]\n"
    "\n"
    "  --config FILE            sketcher.conf: addresses, group, lists, limits (doc/operation.md)\n"
    "  --mode MODE              prophecy | balance | pr-pbft | pr-pbft-ro\n"
    "  --inject-transitions P   fail this share of fast reads on purpose, 0 to 1\n"
    "  --history-copies N       copies of the history table (one per NUMA socket by default)\n"
    "  --no-join                do not join identical replicated reads (measurements)\n"
    "  --spin                   never sleep when idle\n"
    "  --check                  check the whole configuration, say what it is, and exit\n"
    "  --help, --version\n"
    "\n"
    "EAL: give 1 + workers + slow-path lcores, e.g. --lcores '0@0,1@0,2@1', and one port (one-arm) "
    "or\n"
    "two (clients, replicas). drivers-config/ has the arguments for each driver.\n";

struct reader {
    const char *path;
    struct rte_cfgfile *file;
    char err[GROUP_ERROR_BYTES];
};

static void fail(struct reader *r, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void fail(struct reader *r, const char *format, ...) {
    va_list ap;
    va_start(ap, format);
    vsnprintf(r->err, sizeof r->err, format, ap);
    va_end(ap);
}

static void join_path(const char *base_file, const char *name, char out[CONFIG_PATH_MAX]) {
    char copy[CONFIG_PATH_MAX];
    snprintf(copy, sizeof copy, "%s", base_file);
    if (name[0] == '/')
        snprintf(out, CONFIG_PATH_MAX, "%s", name);
    else
        snprintf(out, CONFIG_PATH_MAX, "%.200s/%.300s", dirname(copy), name);
}

/* ---- [sketcher]: one table of what there is, so that unknown keys and the documentation agree
 * ---- */

enum kind { KIND_U32, KIND_U64, KIND_MS, KIND_BOOL, KIND_OTHER };
struct key {
    const char *name;
    enum kind kind;
    size_t offset; // in struct config
    uint64_t min, max;
};
#define U32(key, field, low, high)                                                                 \
    { key, KIND_U32, offsetof(struct config, field), low, high }
#define MS(key, field)                                                                             \
    { key, KIND_MS, offsetof(struct config, field), 1, 3600000 }
static const struct key sketcher_keys[] = {
    {"mode", KIND_OTHER, 0, 0, 0},
    {"group", KIND_OTHER, 0, 0, 0},
    {"keys", KIND_OTHER, 0, 0, 0},
    {"vip", KIND_OTHER, 0, 0, 0},
    {"port", KIND_OTHER, 0, 0, 0},
    {"inject-transitions", KIND_OTHER, 0, 0, 0},
    U32("client", client, 0, GROUP_CLIENTS_MAX - 1),
    U32("workers", workers, 1, CONFIG_LCORES_MAX),
    U32("slow-path", slow_paths, 1, GROUP_ENDPOINTS_MAX),
    {"history-entries", KIND_U64, offsetof(struct config, history_entries), 16, 1ull << 36},
    {"history-tombstones", KIND_U64, offsetof(struct config, history_tombstones), 16, 1ull << 36},
    U32("history-copies", history_copies, 1, HISTORY_COPIES_MAX),
    U32("blacklist-after", blacklist_after, 0, 15),
    U32("blacklist-seconds", blacklist_s, 1, 2000),
    U32("clients-max", clients_max, 1, 4000000),
    U32("clients-per-source-max", clients_per_source_max, 1, 4000000),
    U32("requests-max", requests_max, 1, 1000000),
    U32("upstream-max", upstream_max, 1, 10000),
    U32("buffers", buffers, 1024, 1u << 24),
    {"results-max-bytes", KIND_U64, offsetof(struct config, results_max_bytes), 1, 1ull << 40},
    U32("frames", frames, 1024, 1u << 22),
    U32("per-source-max", per_source_max, 1, 1000000),
    U32("agreement-sessions", agreement_sessions, 1, 65536),
    U32("requests-per-connection", requests_per_connection, 1, 4000000000u),
    MS("connect-timeout-ms", connect_timeout_us),
    MS("request-timeout-ms", request_timeout_us),
    MS("response-timeout-ms", response_timeout_us),
    MS("keepalive-timeout-ms", keepalive_timeout_us),
    MS("upstream-idle-ms", upstream_idle_us),
    MS("agreement-timeout-ms", agreement_timeout_us),
    {"join", KIND_BOOL, offsetof(struct config, join), 0, 0},
    {"spin", KIND_BOOL, offsetof(struct config, spin), 0, 0},
};

static bool known(const char *name, const struct key *keys, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (strcmp(keys[i].name, name) == 0)
            return true;
    return false;
}

static const char *entry(struct reader *r, const char *section, const char *name) {
    return rte_cfgfile_get_entry(r->file, section, name);
}

static const char *required(struct reader *r, const char *section, const char *name,
                            const char *example) {
    const char *v = entry(r, section, name);
    if (v == NULL || v[0] == '\0') {
        fail(r, "%s: [%s] has no '%s'; give one, e.g. %s = %s", r->path, section, name, name,
             example);
        return NULL;
    }
    return v;
}

static bool read_key(struct reader *r, struct config *c, const struct key *k) {
    const char *v = entry(r, "sketcher", k->name);
    char where[128 + CONFIG_PATH_MAX];
    uint64_t n = 0;
    if (v == NULL || k->kind == KIND_OTHER)
        return true;
    snprintf(where, sizeof where, "%s: [sketcher] %s", r->path, k->name);
    uint8_t *field = (uint8_t *)c + k->offset;
    if (k->kind == KIND_BOOL)
        return group_parse_bool(v, where, (bool *)field, r->err);
    if (!group_parse_u64(v, where, k->min, k->max, &n, r->err))
        return false;
    if (k->kind == KIND_U64)
        *(uint64_t *)(void *)field = n;
    else
        *(uint32_t *)(void *)field = (uint32_t)(k->kind == KIND_MS ? n * 1000 : n);
    return true;
}

static bool parse_mode(struct reader *r, const char *v, const char *where,
                       enum sketcher_mode *mode) {
    for (int i = 0; i < 4; i++)
        if (strcmp(v, sketcher_mode_names[i]) == 0) {
            *mode = (enum sketcher_mode)i;
            return true;
        }
    fail(r, "%s: there is no mode '%s'; modes are prophecy, balance, pr-pbft and pr-pbft-ro", where,
         v);
    return false;
}

static bool parse_share(struct reader *r, const char *v, const char *where, double *share) {
    char *end;
    errno = 0;
    *share = strtod(v, &end);
    if (errno != 0 || end == v || *end != '\0' || !(*share >= 0 && *share <= 1)) {
        fail(r, "%s: '%s' is not a share; give a number from 0 to 1, e.g. 0.15", where, v);
        return false;
    }
    return true;
}

static bool read_names(struct reader *r, struct config *c) {
    const char *section = "sketcher", *v;
    char where[128 + CONFIG_PATH_MAX];
    if ((v = required(r, section, "group", "group.conf")) == NULL)
        return false;
    join_path(c->path, v, c->group_path);
    if ((v = required(r, section, "keys", "client-0.key")) == NULL)
        return false;
    join_path(c->path, v, c->keys_path);
    if ((v = required(r, section, "vip", "10.0.0.100")) == NULL)
        return false;
    snprintf(where, sizeof where, "%s: [sketcher] vip", r->path);
    if (!group_parse_ipv4(v, where, &c->vip, NULL, r->err))
        return false;
    if ((v = entry(r, section, "port")) != NULL) {
        uint64_t n;
        snprintf(where, sizeof where, "%s: [sketcher] port", r->path);
        if (!group_parse_u64(v, where, 1, 65535, &n, r->err))
            return false;
        c->vip_port = (uint16_t)n;
    }
    snprintf(where, sizeof where, "%s: [sketcher] mode", r->path);
    if ((v = entry(r, section, "mode")) != NULL && !parse_mode(r, v, where, &c->mode))
        return false;
    snprintf(where, sizeof where, "%s: [sketcher] inject-transitions", r->path);
    if ((v = entry(r, section, "inject-transitions")) != NULL &&
        !parse_share(r, v, where, &c->inject_transitions))
        return false;
    return true;
}

static bool only_keys(struct reader *r, const char *section, const char *const *names,
                      size_t count) {
    struct rte_cfgfile_entry entries[SECTION_ENTRIES_MAX];
    int n = rte_cfgfile_section_entries(r->file, section, entries, SECTION_ENTRIES_MAX);
    for (int i = 0; i < n; i++) {
        bool found = false;
        for (size_t k = 0; k < count; k++)
            found = found || strcmp(names[k], entries[i].name) == 0;
        if (!found) {
            fail(r, "%s: [%s] does not know '%s'; it knows: %s%s%s%s%s...", r->path, section,
                 entries[i].name, names[0], count > 1 ? ", " : "", count > 1 ? names[1] : "",
                 count > 2 ? ", " : "", count > 2 ? names[2] : "");
            return false;
        }
        for (int j = 0; j < i; j++)
            if (strcmp(entries[j].name, entries[i].name) == 0) {
                fail(r, "%s: [%s] has '%s' twice; keep one", r->path, section, entries[i].name);
                return false;
            }
    }
    return true;
}

static bool read_sketcher(struct reader *r, struct config *c) {
    size_t count = sizeof sketcher_keys / sizeof sketcher_keys[0];
    struct rte_cfgfile_entry entries[SECTION_ENTRIES_MAX];
    const char *names[sizeof sketcher_keys / sizeof sketcher_keys[0]];
    int n = rte_cfgfile_section_entries(r->file, "sketcher", entries, SECTION_ENTRIES_MAX);
    for (size_t i = 0; i < count; i++)
        names[i] = sketcher_keys[i].name;
    for (int i = 0; i < n; i++)
        if (!known(entries[i].name, sketcher_keys, count)) {
            fail(r, "%s: [sketcher] does not know '%s'; doc/operation.md lists what it knows",
                 r->path, entries[i].name);
            return false;
        }
    if (!only_keys(r, "sketcher", names, count) || !read_names(r, c))
        return false;
    for (size_t i = 0; i < count; i++)
        if (!read_key(r, c, &sketcher_keys[i]))
            return false;
    return true;
}

/* ---- [port N] and drivers-config ---- */

static bool read_driver_u16(struct reader *r, const char *section, const char *name,
                            uint16_t *out) {
    char where[128 + CONFIG_PATH_MAX];
    const char *v = entry(r, section, name);
    uint64_t n;
    if (v == NULL)
        return true;
    snprintf(where, sizeof where, "%s: [%s] %s", r->path, section, name);
    if (!group_parse_u64(v, where, 0, 32768, &n, r->err))
        return false;
    *out = (uint16_t)n;
    return true;
}

static struct rte_cfgfile *open_file(struct reader *r) {
    struct rte_cfgfile_parameters params = {.comment_character = ';'};
    FILE *probe = fopen(r->path, "r");
    if (probe == NULL) {
        fail(r, "%s: cannot be read: %s", r->path, strerror(errno));
        return NULL;
    }
    fclose(probe);
    struct rte_cfgfile *file = rte_cfgfile_load_with_params(r->path, 0, &params);
    if (file == NULL)
        fail(r,
             "%s: not a configuration file: it needs [section] lines, 'key = value' lines and "
             "';' before comments",
             r->path);
    return file;
}

static bool read_driver(const char *path, struct config_driver *d, char err[GROUP_ERROR_BYTES]) {
    struct reader r = {.path = path};
    r.file = open_file(&r);
    bool ok = r.file != NULL;
    if (ok) {
        const char *v = entry(&r, "driver", "name");
        ok = v != NULL;
        if (!ok)
            fail(&r, "%s: no [driver] name; take a file from drivers-config/", path);
        else
            snprintf(d->name, sizeof d->name, "%s", v);
        ok = ok && read_driver_u16(&r, "queues", "rx-descriptors", &d->rx_descriptors) &&
             read_driver_u16(&r, "queues", "tx-descriptors", &d->tx_descriptors) &&
             read_driver_u16(&r, "queues", "queues-max", &d->queues);
        v = ok ? entry(&r, "offloads", "promiscuous") : NULL;
        if (v != NULL) {
            char where[128 + CONFIG_PATH_MAX];
            snprintf(where, sizeof where, "%s: [offloads] promiscuous", path);
            ok = group_parse_bool(v, where, &d->promiscuous, r.err);
        }
        rte_cfgfile_close(r.file);
    }
    if (!ok)
        snprintf(err, GROUP_ERROR_BYTES, "%s", r.err);
    return ok;
}

static bool read_port(struct reader *r, struct config *c, uint32_t i) {
    static const char *const names[] = {"address", "gateway", "driver", "queues"};
    struct config_port *p = &c->ports[i];
    char section[32], where[128 + CONFIG_PATH_MAX];
    const char *v;
    snprintf(section, sizeof section, "port %u", i);
    if (!only_keys(r, section, names, 4) ||
        (v = required(r, section, "address", "10.0.0.1/24")) == NULL)
        return false;
    snprintf(where, sizeof where, "%s: [%s] address", r->path, section);
    if (!group_parse_ipv4(v, where, &p->addr, &p->prefix_len, r->err))
        return false;
    snprintf(where, sizeof where, "%s: [%s] gateway", r->path, section);
    if ((v = entry(r, section, "gateway")) != NULL &&
        !group_parse_ipv4(v, where, &p->gateway, NULL, r->err))
        return false;
    if ((v = entry(r, section, "driver")) != NULL) {
        char path[CONFIG_PATH_MAX];
        join_path(c->path, v, path);
        if (!read_driver(path, &p->driver, r->err))
            return false;
    }
    return read_driver_u16(r, section, "queues", &p->driver.queues);
}

/* ---- lists ---- */

static bool read_list(struct reader *r, struct config *c, const char *section,
                      enum sketcher_list list) {
    struct rte_cfgfile_entry entries[SECTION_ENTRIES_MAX];
    char err[SKETCHER_ERROR_BYTES];
    int n = rte_cfgfile_section_entries(r->file, section, entries, SECTION_ENTRIES_MAX);
    for (int i = 0; i < n; i++)
        if (!sketcher_policy_add(&c->policy, list, entries[i].value, err)) {
            fail(r, "%.200s: [%s] %s: %.200s", r->path, section, entries[i].name, err);
            return false;
        }
    return true;
}

static bool read_key_headers(struct reader *r, struct config *c) {
    static const char *const names[] = {"names"};
    const char *v = entry(r, "key-headers", "names");
    sketch_key_headers_default(&c->key_headers);
    if (!only_keys(r, "key-headers", names, 1))
        return false;
    if (v == NULL)
        return true;
    memset(&c->key_headers, 0, sizeof c->key_headers);
    if (!sketch_names_add(&c->key_headers, v) || c->key_headers.count > SKETCH_KEY_HEADERS_MAX) {
        fail(r, "%s: [key-headers] names: '%s' is not a list of at most %u header names", r->path,
             v, SKETCH_KEY_HEADERS_MAX);
        return false;
    }
    return true;
}

static bool only_sections(struct reader *r) {
    static const char *const known_sections[] = {"sketcher",  "port 0", "port 1",     "whitelist",
                                                 "blacklist", "write",  "key-headers"};
    int count = rte_cfgfile_num_sections(r->file, "", 0);
    char names[32][CFG_NAME_LEN], *pointers[32];
    for (int i = 0; i < 32; i++)
        pointers[i] = names[i];
    if (count <= 0 || count > 32) {
        fail(r, "%s: has %d sections; it needs [sketcher] and [port 0] at least", r->path, count);
        return false;
    }
    rte_cfgfile_sections(r->file, pointers, 32);
    for (int i = 0; i < count; i++) {
        bool found = false;
        for (size_t k = 0; k < sizeof known_sections / sizeof known_sections[0]; k++)
            found = found || strcmp(names[i], known_sections[k]) == 0;
        if (!found) {
            fail(r,
                 "%s: there is no section [%s]; sections are [sketcher], [port 0], [port 1], "
                 "[whitelist], [blacklist], [write] and [key-headers]",
                 r->path, names[i]);
            return false;
        }
    }
    return true;
}

static bool read_file(struct reader *r, struct config *c) {
    if (!only_sections(r) || !read_sketcher(r, c))
        return false;
    if (!rte_cfgfile_has_section(r->file, "port 0")) {
        fail(r, "%s: has no [port 0]; give it with its address, e.g. address = 10.0.0.1/24",
             r->path);
        return false;
    }
    c->port_count = rte_cfgfile_has_section(r->file, "port 1") ? 2 : 1;
    for (uint32_t i = 0; i < c->port_count; i++)
        if (!read_port(r, c, i))
            return false;
    // Writes first: a page with side effects must not become a fast read by another list.
    return read_list(r, c, "write", SKETCHER_WRITELIST) &&
           read_list(r, c, "blacklist", SKETCHER_BLACKLIST) &&
           read_list(r, c, "whitelist", SKETCHER_WHITELIST) && read_key_headers(r, c);
}

/* ---- what must fit together ---- */

static bool check(struct reader *r, struct config *c) {
    char err[GROUP_ERROR_BYTES];
    if (!group_read(c->group_path, &c->group, r->err))
        return false;
    if (c->client >= c->group.clients) {
        fail(r, "%s: [sketcher] client = %u, but %s has clients 0 to %u only", c->path, c->client,
             c->group_path, c->group.clients - 1);
        return false;
    }
    if (!group_keys_read(c->keys_path, &c->group, c->group.replicas + c->client, &c->keys, err)) {
        fail(r, "%s", err);
        return false;
    }
    if (c->slow_paths > c->group.client_endpoints[c->client]) {
        fail(r,
             "%s: [sketcher] slow-path = %u, but %s: [client %u] has endpoints = %u; raise one or "
             "lower the other",
             c->path, c->slow_paths, c->group_path, c->client,
             c->group.client_endpoints[c->client]);
        return false;
    }
    if (c->results_max_bytes < group_result_max_bytes(&c->group)) {
        fail(r,
             "%s: [sketcher] results-max-bytes = %ju does not hold one result of %zu bytes "
             "(response-max-bytes in %s and a head); raise one or lower the other",
             c->path, (uintmax_t)c->results_max_bytes, group_result_max_bytes(&c->group),
             c->group_path);
        return false;
    }
    uint32_t replica_side = c->ports[c->port_count - 1].addr;
    if (c->group.client_agreement[c->client].addr != replica_side) {
        fail(r,
             "%s: [port %u] address is not the address of [client %u] in %s; they must be equal, "
             "replicas send their replies there",
             c->path, c->port_count - 1, c->client, c->group_path);
        return false;
    }
    return true;
}

static void defaults(struct config *c) {
    memset(c, 0, sizeof *c);
    c->mode = SKETCHER_PROPHECY;
    c->vip_port = 80;
    c->workers = c->slow_paths = 1;
    c->history_entries = 1000000;
    c->history_tombstones = 65536;
    c->blacklist_after = 8;
    c->blacklist_s = 10;
    c->clients_max = 32768;
    c->requests_max = 8192;
    c->upstream_max = 128;
    c->buffers = 65536;
    c->results_max_bytes = 1ull << 28;
    c->frames = 16384;
    c->per_source_max = 1024;
    c->agreement_sessions = 256;
    c->requests_per_connection = 1000000;
    c->connect_timeout_us = 3000000; // a lost SYN is sent again after one second
    c->request_timeout_us = 10000000;
    c->response_timeout_us = 3000000;
    c->keepalive_timeout_us = 60000000;
    c->upstream_idle_us = 30000000;
    c->agreement_timeout_us = 10000000;
    c->join = true;
    for (uint32_t i = 0; i < CONFIG_PORTS_MAX; i++)
        c->ports[i].driver.promiscuous = false;
}

struct overrides {
    const char *config, *mode, *inject, *copies;
    bool no_join, spin, check_only;
};

static enum config_result parse_options(int argc, char **argv, struct overrides *o) {
    static const struct option options[] = {
        {"config", required_argument, NULL, 'c'},
        {"mode", required_argument, NULL, 'm'},
        {"inject-transitions", required_argument, NULL, 'i'},
        {"history-copies", required_argument, NULL, 'n'},
        {"no-join", no_argument, NULL, 'j'},
        {"spin", no_argument, NULL, 's'},
        {"check", no_argument, NULL, 'k'},
        {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'v'},
        {0},
    };
    int option;
    optind = 1;
    opterr = 0;
    while ((option = getopt_long(argc, argv, ":", options, NULL)) != -1) {
        switch (option) {
        case 'c':
            o->config = optarg;
            break;
        case 'm':
            o->mode = optarg;
            break;
        case 'i':
            o->inject = optarg;
            break;
        case 'n':
            o->copies = optarg;
            break;
        case 'j':
            o->no_join = true;
            break;
        case 's':
            o->spin = true;
            break;
        case 'k':
            o->check_only = true;
            break;
        case 'h':
            fputs(usage, stdout);
            return CONFIG_EXIT;
        case 'v':
            puts("prophecy-sketcher " PROPHECY_VERSION);
            return CONFIG_EXIT;
        case ':':
            fprintf(stderr, "prophecy-sketcher: option '%s' needs a value; see --help\n",
                    argv[optind - 1]);
            return CONFIG_ERROR;
        default:
            fprintf(stderr, "prophecy-sketcher: there is no option '%s'; see --help\n",
                    argv[optind - 1]);
            return CONFIG_ERROR;
        }
    }
    if (optind < argc) {
        fprintf(stderr, "prophecy-sketcher: '%s' is not an option; see --help\n", argv[optind]);
        return CONFIG_ERROR;
    }
    return CONFIG_RUN;
}

static bool apply(struct reader *r, struct config *c, const struct overrides *o) {
    uint64_t n;
    if (o->mode != NULL && !parse_mode(r, o->mode, "--mode", &c->mode))
        return false;
    if (o->inject != NULL &&
        !parse_share(r, o->inject, "--inject-transitions", &c->inject_transitions))
        return false;
    if (o->copies != NULL) {
        if (!group_parse_u64(o->copies, "--history-copies", 1, HISTORY_COPIES_MAX, &n, r->err))
            return false;
        c->history_copies = (uint32_t)n;
    }
    c->join = c->join && !o->no_join;
    c->spin = c->spin || o->spin;
    c->check_only = o->check_only;
    return true;
}

enum config_result config_load(struct config *c, int argc, char **argv) {
    struct overrides o = {0};
    struct reader r = {0};
    enum config_result result = parse_options(argc, argv, &o);
    if (result != CONFIG_RUN)
        return result;
    defaults(c);
    if (o.config == NULL) {
        fprintf(stderr, "prophecy-sketcher: --config FILE is missing; see --help\n");
        return CONFIG_ERROR;
    }
    if (strlen(o.config) >= CONFIG_PATH_MAX - 1) {
        fprintf(stderr, "prophecy-sketcher: --config: the path is too long\n");
        return CONFIG_ERROR;
    }
    snprintf(c->path, sizeof c->path, "%s", o.config);
    r.path = c->path;
    r.file = open_file(&r);
    bool ok = r.file != NULL && read_file(&r, c) && apply(&r, c, &o) && check(&r, c);
    if (r.file != NULL)
        rte_cfgfile_close(r.file);
    if (!ok) {
        fprintf(stderr, "prophecy-sketcher: %s\n", r.err);
        return CONFIG_ERROR;
    }
    if (c->check_only) {
        printf("%s is good: mode %s, %u replicas (f = %u), %u port(s), %u worker(s), %u slow-path "
               "lcore(s)\n",
               c->path, sketcher_mode_names[c->mode], c->group.replicas, c->group.f, c->port_count,
               c->workers, c->slow_paths);
        return CONFIG_EXIT;
    }
    return CONFIG_RUN;
}
