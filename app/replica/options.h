/* SPDX-License-Identifier: BSD-3-Clause */
/* The command line of prophecy-replica. */
#ifndef PROPHECY_REPLICA_OPTIONS_H
#define PROPHECY_REPLICA_OPTIONS_H

#include "group/group.h"

enum command {
    COMMAND_RUN,
    COMMAND_KEYGEN,
    COMMAND_HELP,
    COMMAND_VERSION,
};

enum service_kind {
    SERVICE_STORE,
    SERVICE_HTTP,
    SERVICE_NULL,
};

struct options {
    enum command command;
    const char *group, *keys, *out, *control, *user, *store_dir; // NULL: not given
    uint32_t id;
    enum service_kind service;
    uint64_t store_map_bytes;
    struct group_endpoint backend;
    uint32_t backend_timeout_ms;
    size_t response_bytes;
    uint32_t busy_us;
    uint32_t batch_max, sessions_max; // 0: the default
    bool has_listen_http;
    struct group_endpoint listen_http;
};

/* False: err is the one message, the exit status is 2. */
bool options_parse(int argc, char **argv, struct options *out, char err[GROUP_ERROR_BYTES]);
void options_help(void);

#endif
