/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Configuration of prophecy-sketcher: the file (rte_cfgfile) and the options after "--", checked in
 * full before anything is started.
 */
#ifndef PROPHECY_APP_CONFIG_H
#define PROPHECY_APP_CONFIG_H

#include "group/group.h"
#include "sketcher/sketcher.h"

#define CONFIG_PORTS_MAX 2u
#define CONFIG_LCORES_MAX 32u
#define CONFIG_PATH_MAX 512u

/* What a file of drivers-config/ says about a port's driver; the EAL arguments in it are for the
 * tools. */
struct config_driver {
    char name[32];
    uint16_t queues;         // 0: as many as there are workers and the port has
    uint16_t rx_descriptors; // 0: the driver's preference
    uint16_t tx_descriptors;
    bool promiscuous;
};

struct config_port {
    uint32_t addr;
    uint8_t prefix_len;
    uint32_t gateway;
    struct config_driver driver;
};

struct config {
    char path[CONFIG_PATH_MAX];
    char group_path[CONFIG_PATH_MAX];
    char keys_path[CONFIG_PATH_MAX];
    uint32_t client; // which [client I] of the group we are
    enum sketcher_mode mode;
    double inject_transitions;
    uint32_t vip;
    uint16_t vip_port;
    uint32_t workers, slow_paths;
    uint32_t port_count;
    struct config_port ports[CONFIG_PORTS_MAX];

    uint64_t history_entries, history_tombstones;
    uint32_t history_copies;
    uint32_t blacklist_after, blacklist_s;

    uint32_t clients_max;            // connections per worker
    uint32_t clients_per_source_max; // of one address; 0: half of clients_max
    uint32_t requests_max;           // in progress per worker
    uint32_t upstream_max;           // connections per worker and replica
    uint32_t buffers;                // 2 KiB chunks, all lcores
    uint64_t results_max_bytes;      // large agreed results on their way, per slow-path lcore
    uint32_t frames;                 // mbufs, all lcores
    uint32_t per_source_max;         // replicated requests of one client address at once
    uint32_t agreement_sessions;     // per slow-path lcore
    uint32_t requests_per_connection;

    uint32_t connect_timeout_us;
    uint32_t request_timeout_us;   // from the first byte of a request to its head's end; body:
                                   // between bytes
    uint32_t response_timeout_us;  // replica: silence, and ten times that in all
    uint32_t keepalive_timeout_us; // client, between requests
    uint32_t upstream_idle_us;
    uint32_t agreement_timeout_us;

    bool join;
    bool spin;       // never sleep when idle
    bool check_only; // --check
    struct sketch_names key_headers;
    struct sketcher_policy policy;
    struct group group;
    struct group_keys keys;
};

enum config_result {
    CONFIG_RUN,
    CONFIG_EXIT,  // --help, --version, --check: done, status 0
    CONFIG_ERROR, // the message has been written to stderr
};
/* argv[0] is skipped: what rte_eal_init left over. */
enum config_result config_load(struct config *c, int argc, char **argv);

#endif
