/* SPDX-License-Identifier: BSD-3-Clause */
#include "options.h"

#include "bft/bft.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

#define STORE_MAP_DEFAULT_BYTES (UINT64_C(4) << 30)
#define STORE_MAP_LOW_BYTES (UINT64_C(1) << 20)
#define STORE_MAP_HIGH_BYTES (UINT64_C(1) << 44)

enum option_id {
    OPTION_GROUP = 256,
    OPTION_ID,
    OPTION_KEYS,
    OPTION_SERVICE,
    OPTION_STORE_DIR,
    OPTION_STORE_MAP_BYTES,
    OPTION_BACKEND,
    OPTION_BACKEND_TIMEOUT_MS,
    OPTION_RESPONSE_BYTES,
    OPTION_BUSY_US,
    OPTION_BATCH_MAX,
    OPTION_SESSIONS_MAX,
    OPTION_CONTROL,
    OPTION_LISTEN_HTTP,
    OPTION_USER,
    OPTION_OUT,
    OPTION_HELP,
    OPTION_VERSION,
    OPTION_END,
};

#define VALUE required_argument
static const struct option run_options[] = {
    {"group", VALUE, NULL, OPTION_GROUP},
    {"id", VALUE, NULL, OPTION_ID},
    {"keys", VALUE, NULL, OPTION_KEYS},
    {"service", VALUE, NULL, OPTION_SERVICE},
    {"store-dir", VALUE, NULL, OPTION_STORE_DIR},
    {"store-map-bytes", VALUE, NULL, OPTION_STORE_MAP_BYTES},
    {"backend", VALUE, NULL, OPTION_BACKEND},
    {"backend-timeout-ms", VALUE, NULL, OPTION_BACKEND_TIMEOUT_MS},
    {"response-bytes", VALUE, NULL, OPTION_RESPONSE_BYTES},
    {"busy-us", VALUE, NULL, OPTION_BUSY_US},
    {"batch-max", VALUE, NULL, OPTION_BATCH_MAX},
    {"sessions-max", VALUE, NULL, OPTION_SESSIONS_MAX},
    {"control", VALUE, NULL, OPTION_CONTROL},
    {"listen-http", VALUE, NULL, OPTION_LISTEN_HTTP},
    {"user", VALUE, NULL, OPTION_USER},
    {"help", no_argument, NULL, OPTION_HELP},
    {0},
};
static const struct option keygen_options[] = {
    {"group", VALUE, NULL, OPTION_GROUP},
    {"out", VALUE, NULL, OPTION_OUT},
    {"help", no_argument, NULL, OPTION_HELP},
    {0},
};

void options_help(void) {
    puts(
        "prophecy-replica - one replica of a Prophecy group\n"
        "\n"
        "  prophecy-replica keygen --group FILE --out DIR\n"
        "  prophecy-replica run --group FILE --id I --keys FILE --service store|http|null "
        "[OPTIONS]\n"
        "  prophecy-replica --help | --version\n"
        "\n"
        "keygen makes the key files of all principals, DIR/replica-I.key and DIR/client-I.key, "
        "mode\n"
        "0600. Give each principal its own and nobody another's. It overwrites none.\n"
        "\n"
        "run takes part in the agreement as replica I and executes what is agreed on:\n"
        "  --group FILE              the group file, the same everywhere\n"
        "  --id I                    which [replica I] of it this is\n"
        "  --keys FILE               its key file; only its owner may be able to read it\n"
        "  --service NAME            what is replicated: store, http or null, below\n"
        "  --batch-max N             requests ordered at once, 1 to 64\n"
        "  --sessions-max N          sessions remembered for each client; the same on all "
        "replicas\n"
        "  --control PATH            a unix stream socket: one JSON object of status and counters\n"
        "                            for each connection\n"
        "  --user NAME               give up root for this user, once the sockets are bound\n"
        "\n"
        "store: an object store with GET, HEAD, PUT and DELETE\n"
        "  --store-dir DIR           where it is kept (LMDB); made with mode 0700 when missing\n"
        "  --store-map-bytes N       room for it, default 4 GiB, half of which can be used; the "
        "same\n"
        "                            on all replicas\n"
        "  --listen-http ADDR:PORT   where it answers fast reads; default: http of [replica I]\n"
        "http: a web server behind this replica; it answers the fast reads itself\n"
        "  --backend ADDR:PORT       its address, usually on loopback\n"
        "  --backend-timeout-ms N    for one response, default 10000\n"
        "null: answers of one size, for measurements\n"
        "  --response-bytes N        their size, default 1\n"
        "  --busy-us N               processing time of each, default 0\n"
        "  --listen-http ADDR:PORT   as above\n"
        "\n"
        "It logs to standard error, \"ready\" once it takes part. SIGTERM and SIGINT end it.\n"
        "Exit status: 0 after a clean end, 1 when something failed, 2 for a wrong command line.");
}

/* ---- one option */

static bool parse_u32(const char *text, const char *where, uint64_t min, uint64_t max,
                      uint32_t *out, char err[GROUP_ERROR_BYTES]) {
    uint64_t v;
    if (!group_parse_u64(text, where, min, max, &v, err))
        return false;
    *out = (uint32_t)v;
    return true;
}

static bool parse_service(const char *text, enum service_kind *out, char err[GROUP_ERROR_BYTES]) {
    static const char *const names[] = {"store", "http", "null"};
    for (unsigned int i = 0; i < 3; i++) {
        if (strcmp(text, names[i]) == 0) {
            *out = (enum service_kind)i;
            return true;
        }
    }
    snprintf(err, GROUP_ERROR_BYTES, "--service: '%.64s' is none of store, http, null", text);
    return false;
}

static bool take_number(struct options *o, int id, const char *value, const char *where,
                        char err[GROUP_ERROR_BYTES]) {
    uint64_t bytes = 0;
    switch (id) {
    case OPTION_ID:
        return parse_u32(value, where, 0, GROUP_REPLICAS_MAX - 1, &o->id, err);
    case OPTION_STORE_MAP_BYTES:
        return group_parse_u64(value, where, STORE_MAP_LOW_BYTES, STORE_MAP_HIGH_BYTES,
                               &o->store_map_bytes, err);
    case OPTION_BACKEND_TIMEOUT_MS:
        return parse_u32(value, where, 1, 3600000, &o->backend_timeout_ms, err);
    case OPTION_RESPONSE_BYTES:
        if (!group_parse_u64(value, where, 0, UINT32_MAX, &bytes, err))
            return false;
        o->response_bytes = (size_t)bytes;
        return true;
    case OPTION_BUSY_US:
        return parse_u32(value, where, 0, 10000000, &o->busy_us, err);
    case OPTION_BATCH_MAX:
        return parse_u32(value, where, 1, BFT_BATCH_MAX, &o->batch_max, err);
    default:
        return parse_u32(value, where, 1, 1000000, &o->sessions_max, err);
    }
}

static bool take_option(struct options *o, int id, const char *value, const char *where,
                        char err[GROUP_ERROR_BYTES]) {
    switch (id) {
    case OPTION_GROUP:
        o->group = value;
        return true;
    case OPTION_KEYS:
        o->keys = value;
        return true;
    case OPTION_OUT:
        o->out = value;
        return true;
    case OPTION_CONTROL:
        o->control = value;
        return true;
    case OPTION_USER:
        o->user = value;
        return true;
    case OPTION_STORE_DIR:
        o->store_dir = value;
        return true;
    case OPTION_SERVICE:
        return parse_service(value, &o->service, err);
    case OPTION_BACKEND:
        return group_parse_endpoint(value, where, &o->backend, err);
    case OPTION_LISTEN_HTTP:
        o->has_listen_http = true;
        return group_parse_endpoint(value, where, &o->listen_http, err);
    default:
        return take_number(o, id, value, where, err);
    }
}

/* ---- all of them together */

static bool needs(const bool *given, int id, const char *name, const char *why,
                  char err[GROUP_ERROR_BYTES]) {
    if (given[id - OPTION_GROUP])
        return true;
    snprintf(err, GROUP_ERROR_BYTES, "%s is missing: %s", name, why);
    return false;
}

static bool only_for(const bool *given, int id, const char *name, const char *services,
                     char err[GROUP_ERROR_BYTES]) {
    if (!given[id - OPTION_GROUP])
        return true;
    snprintf(err, GROUP_ERROR_BYTES, "%s means nothing here: it goes with --service %s", name,
             services);
    return false;
}

static bool check_service(const struct options *o, const bool *given, char err[GROUP_ERROR_BYTES]) {
    bool store = o->service == SERVICE_STORE, http = o->service == SERVICE_HTTP;
    bool null = o->service == SERVICE_NULL;
    return (store ||
            (only_for(given, OPTION_STORE_DIR, "--store-dir", "store", err) &&
             only_for(given, OPTION_STORE_MAP_BYTES, "--store-map-bytes", "store", err))) &&
           (http ||
            (only_for(given, OPTION_BACKEND, "--backend", "http", err) &&
             only_for(given, OPTION_BACKEND_TIMEOUT_MS, "--backend-timeout-ms", "http", err))) &&
           (null || (only_for(given, OPTION_RESPONSE_BYTES, "--response-bytes", "null", err) &&
                     only_for(given, OPTION_BUSY_US, "--busy-us", "null", err))) &&
           (!http || only_for(given, OPTION_LISTEN_HTTP, "--listen-http", "store or null", err)) &&
           (!store || needs(given, OPTION_STORE_DIR, "--store-dir",
                            "the directory where the store is kept", err)) &&
           (!http || needs(given, OPTION_BACKEND, "--backend",
                           "the web server's ADDR:PORT, for example 127.0.0.1:8080", err));
}

static bool check(const struct options *o, const bool *given, char err[GROUP_ERROR_BYTES]) {
    if (!needs(given, OPTION_GROUP, "--group", "the group file", err))
        return false;
    if (o->command == COMMAND_KEYGEN)
        return needs(given, OPTION_OUT, "--out", "the directory for the key files", err);
    return needs(given, OPTION_ID, "--id", "which [replica I] of the group file this is", err) &&
           needs(given, OPTION_KEYS, "--keys", "the key file that keygen made for this replica",
                 err) &&
           needs(given, OPTION_SERVICE, "--service", "one of store, http, null", err) &&
           check_service(o, given, err);
}

static bool parse_command(const char *word, struct options *out, char err[GROUP_ERROR_BYTES]) {
    static const struct {
        const char *word;
        enum command command;
    } words[] = {
        {"run", COMMAND_RUN},           {"keygen", COMMAND_KEYGEN}, {"help", COMMAND_HELP},
        {"--help", COMMAND_HELP},       {"-h", COMMAND_HELP},       {"version", COMMAND_VERSION},
        {"--version", COMMAND_VERSION},
    };
    for (size_t i = 0; word != NULL && i < sizeof words / sizeof words[0]; i++) {
        if (strcmp(word, words[i].word) == 0) {
            out->command = words[i].command;
            return true;
        }
    }
    snprintf(err, GROUP_ERROR_BYTES,
             "%s%.64s%s; the first word is run, keygen, --help or --version",
             word == NULL ? "no command" : "unknown command '", word == NULL ? "" : word,
             word == NULL ? "" : "'");
    return false;
}

static bool parse_options(int argc, char **argv, const struct option *known, struct options *out,
                          char err[GROUP_ERROR_BYTES]) {
    bool given[OPTION_END - OPTION_GROUP] = {false};
    int id, index = 0;
    opterr = 0;
    while ((id = getopt_long(argc, argv, ":", known, &index)) != -1) {
        char where[64];
        if (id == '?' || id == ':') {
            snprintf(err, GROUP_ERROR_BYTES,
                     id == '?' ? "unknown option '%.64s' for %s; see --help"
                               : "option '%.64s' of %s needs a value",
                     argv[optind - 1], argv[0]);
            return false;
        }
        if (id == OPTION_HELP) {
            out->command = COMMAND_HELP;
            return true;
        }
        snprintf(where, sizeof where, "--%s", known[index].name);
        if (given[id - OPTION_GROUP]) {
            snprintf(err, GROUP_ERROR_BYTES, "%s is given twice", where);
            return false;
        }
        given[id - OPTION_GROUP] = true;
        if (!take_option(out, id, optarg, where, err))
            return false;
    }
    if (optind < argc) {
        snprintf(err, GROUP_ERROR_BYTES, "'%.64s' is no option; see --help", argv[optind]);
        return false;
    }
    return check(out, given, err);
}

bool options_parse(int argc, char **argv, struct options *out, char err[GROUP_ERROR_BYTES]) {
    *out = (struct options){.store_map_bytes = STORE_MAP_DEFAULT_BYTES,
                            .backend_timeout_ms = 10000,
                            .response_bytes = 1};
    if (!parse_command(argc > 1 ? argv[1] : NULL, out, err))
        return false;
    if (out->command == COMMAND_HELP || out->command == COMMAND_VERSION)
        return true;
    return parse_options(argc - 1, argv + 1,
                         out->command == COMMAND_RUN ? run_options : keygen_options, out, err);
}
