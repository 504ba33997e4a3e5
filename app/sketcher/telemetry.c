/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Counters through rte_telemetry: /prophecy/... Runs on the telemetry thread and only reads
 * snapshots, which are at most a few milliseconds old.
 */
#include "shell.h"

#include <pthread.h>
#include <rte_common.h>
#include <rte_telemetry.h>
#include <stdio.h>
#include <string.h>

static struct app *the_app; // rte_telemetry's callbacks carry no context
// Its thread outlives the EAL's clean-up: nothing may be freed under a command that is being
// answered.
static pthread_mutex_t stopping = PTHREAD_MUTEX_INITIALIZER;

static uint64_t get(const uint64_t *p) {
    return __atomic_load_n(p, __ATOMIC_RELAXED);
}

struct sum {
    struct rte_tel_data *d;
    bool drops; // only the names that begin with "drop_", or only the others
};

static void add(const struct sum *s, const char *name, uint64_t value) {
    if ((strncmp(name, "drop_", 5) == 0) == s->drops)
        rte_tel_data_add_dict_u64(s->d, name, value);
}

static void add_workers(const struct sum *s) {
    for (uint32_t c = 0; c < SKETCHER_COUNTER_COUNT; c++) {
        uint64_t total = 0;
        for (uint32_t i = 0; i < the_app->cfg.workers; i++)
            total += get(&the_app->workers[i].published_core[c]);
        add(s, sketcher_counter_names[c], total);
    }
}

#define ADD_SLOW(s, field, names, n)                                                               \
    for (uint32_t c = 0; c < (n); c++) {                                                           \
        uint64_t total = 0;                                                                        \
        for (uint32_t i = 0; i < the_app->cfg.slow_paths; i++)                                     \
            total += get(&the_app->slows[i].field[c]);                                             \
        add(s, (names)[c], total);                                                                 \
    }

static void add_lcores(const struct sum *s) {
    for (uint32_t c = 0; c < SHELL_COUNTER_COUNT; c++) {
        uint64_t total = 0;
        for (uint32_t i = 0; i < the_app->lcores; i++)
            total += get(&app_lcore(the_app, i)->count[c]);
        add(s, shell_counter_names[c], total);
    }
    for (uint32_t c = 0; c < TCP_COUNTER_COUNT; c++) {
        uint64_t total = 0;
        for (uint32_t i = 0; i < the_app->lcores; i++)
            total += get(&app_lcore(the_app, i)->published_tcp[c]);
        add(s, tcp_counter_names[c], total);
    }
}

static int all(struct rte_tel_data *d, bool drops) {
    struct sum s = {.d = d, .drops = drops};
    rte_tel_data_start_dict(d);
    add_workers(&s);
    ADD_SLOW(&s, published_core, sketcher_slow_counter_names, SKETCHER_SLOW_COUNTER_COUNT)
    ADD_SLOW(&s, published_bft, bft_client_counter_names, BFT_CLIENT_COUNTER_COUNT)
    ADD_SLOW(&s, published_datagram, datagram_counter_names, DATAGRAM_COUNTER_COUNT)
    add_lcores(&s);
    return 0;
}

static int handle_stats(struct rte_tel_data *d) {
    return all(d, false);
}

static int handle_drops(struct rte_tel_data *d) {
    return all(d, true);
}

static void add_replica(struct rte_tel_data *d, uint32_t replica) {
    struct sketcher_replica_counts total = {0}, one;
    uint64_t wrong = 0, candidate = 0;
    for (uint32_t i = 0; i < the_app->cfg.workers; i++) {
        sketcher_worker_replica(the_app->workers[i].core, replica, &one);
        total.asked += one.asked;
        total.answers += one.answers;
        total.mismatches += one.mismatches;
        total.suspicions += one.suspicions;
        total.failures += one.failures;
        total.timeouts += one.timeouts;
        total.ejections += one.ejections;
        candidate += sketcher_candidate(the_app->workers[i].core, replica);
    }
    for (uint32_t i = 0; i < the_app->cfg.slow_paths; i++)
        wrong += get(&the_app->slows[i].published_wrong[replica]);
    rte_tel_data_start_dict(d);
    rte_tel_data_add_dict_u64(d, "asked", total.asked);
    rte_tel_data_add_dict_u64(d, "answers", total.answers);
    rte_tel_data_add_dict_u64(d, "mismatches", total.mismatches);
    rte_tel_data_add_dict_u64(d, "suspicions", total.suspicions);
    rte_tel_data_add_dict_u64(d, "outvoted", wrong);
    rte_tel_data_add_dict_u64(d, "failures", total.failures);
    rte_tel_data_add_dict_u64(d, "timeouts", total.timeouts);
    rte_tel_data_add_dict_u64(d, "ejections", total.ejections);
    rte_tel_data_add_dict_u64(d, "candidate", candidate == the_app->cfg.workers);
    rte_tel_data_add_dict_u64(d, "named", total.suspicions >= SKETCHER_NAME_AFTER);
}

static int handle_replicas(struct rte_tel_data *d) {
    rte_tel_data_start_dict(d);
    for (uint32_t i = 0; i < the_app->cfg.group.replicas; i++) {
        struct rte_tel_data *one = rte_tel_data_alloc();
        char name[16];
        if (one == NULL)
            return -1;
        snprintf(name, sizeof name, "%u", i);
        add_replica(one, i);
        rte_tel_data_add_dict_container(d, name, one, 0);
    }
    return 0;
}

static void hex(char *to, const uint8_t *from, size_t n) {
    for (size_t i = 0; i < n; i++)
        snprintf(to + 2 * i, 3, "%02x", from[i]);
}

static void add_evidence(struct rte_tel_data *d, const struct sketcher_evidence *e) {
    char digest[2 * CRYPTO_DIGEST_BYTES + 1];
    bool suspect = e->kind == SKETCHER_EVIDENCE_SUSPECT;
    rte_tel_data_start_dict(d);
    rte_tel_data_add_dict_string(d, "kind", suspect ? "suspect" : "no-agreement");
    rte_tel_data_add_dict_u64(d, "time", (uint64_t)e->unix_s);
    rte_tel_data_add_dict_u64(d, suspect ? "replica" : "replica_1", e->replica);
    if (!suspect)
        rte_tel_data_add_dict_u64(d, "replica_2", e->replica_2);
    rte_tel_data_add_dict_u64(d, "sigma", e->sigma);
    for (int i = 0; i < 2; i++) {
        hex(digest, e->digest[i], CRYPTO_DIGEST_BYTES);
        rte_tel_data_add_dict_string(d,
                                     suspect ? (i == 0 ? "suspect_sha256" : "agreed_sha256")
                                             : (i == 0 ? "sha256_1" : "sha256_2"),
                                     digest);
        rte_tel_data_add_dict_u64(d,
                                  suspect ? (i == 0 ? "suspect_bytes" : "agreed_bytes")
                                          : (i == 0 ? "bytes_1" : "bytes_2"),
                                  e->length[i]);
    }
    rte_tel_data_add_dict_string(d, "difference", e->difference);
    rte_tel_data_add_dict_string(d, "request", e->target);
}

/* The newest records, of all lcores; at most a telemetry message's worth. */
static int handle_evidence(struct rte_tel_data *d) {
    struct sketcher_evidence records[4];
    rte_tel_data_start_dict(d);
    for (uint32_t i = 0; i < the_app->lcores; i++) {
        uint32_t n = sketcher_evidence_read(app_lcore(the_app, i)->evidence, records, 4);
        for (uint32_t k = 0; k < n; k++) {
            struct rte_tel_data *one = rte_tel_data_alloc();
            char name[32];
            if (one == NULL)
                return -1;
            snprintf(name, sizeof name, "%u_%ju", i, (uintmax_t)records[k].number);
            add_evidence(one, &records[k]);
            rte_tel_data_add_dict_container(d, name, one, 0);
        }
    }
    return 0;
}

static int handle_memory(struct rte_tel_data *d) {
    uint64_t conns = 0, waits = 0, requests = 0, clients = 0, operations = 0, results = 0;
    for (uint32_t i = 0; i < the_app->lcores; i++) {
        conns += get(&app_lcore(the_app, i)->published_conns);
        waits += get(&app_lcore(the_app, i)->published_time_waits);
    }
    for (uint32_t i = 0; i < the_app->cfg.workers; i++) {
        requests += get(&the_app->workers[i].published_requests);
        clients += get(&the_app->workers[i].published_clients);
    }
    for (uint32_t i = 0; i < the_app->cfg.slow_paths; i++) {
        operations += get(&the_app->slows[i].published_operations);
        results += get(&the_app->slows[i].published_results);
    }
    rte_tel_data_start_dict(d);
    rte_tel_data_add_dict_u64(d, "tcp_connections", conns);
    rte_tel_data_add_dict_u64(d, "tcp_time_waits", waits);
    rte_tel_data_add_dict_u64(d, "clients", clients);
    rte_tel_data_add_dict_u64(d, "requests", requests);
    rte_tel_data_add_dict_u64(d, "operations", operations);
    rte_tel_data_add_dict_u64(d, "results", results);
    rte_tel_data_add_dict_u64(d, "frames_in_use", rte_mempool_in_use_count(the_app->frames));
    rte_tel_data_add_dict_u64(d, "chunks_in_use", rte_mempool_in_use_count(the_app->chunks));
    rte_tel_data_add_dict_u64(d, "bytes_per_idle_client", tcp_conn_bytes() + sizeof(struct client));
    rte_tel_data_add_dict_u64(d, "bytes_per_request", sizeof(struct request));
    return 0;
}

static int handle_history(struct rte_tel_data *d) {
    struct history_stats s;
    history_stats(the_app->history, &s);
    rte_tel_data_start_dict(d);
    rte_tel_data_add_dict_u64(d, "copies", the_app->cfg.history_copies);
    rte_tel_data_add_dict_u64(d, "bytes_per_copy", the_app->history_bytes);
    rte_tel_data_add_dict_u64(d, "bytes_per_entry", HISTORY_BUCKET_BYTES / HISTORY_BUCKET_SLOTS);
    rte_tel_data_add_dict_u64(d, "capacity", s.capacity);
    rte_tel_data_add_dict_u64(d, "entries", s.entries);
    rte_tel_data_add_dict_u64(d, "installs", s.installs);
    rte_tel_data_add_dict_u64(d, "raises", s.raises);
    rte_tel_data_add_dict_u64(d, "changes", s.changes);
    rte_tel_data_add_dict_u64(d, "ignored_older", s.ignored_older);
    rte_tel_data_add_dict_u64(d, "evictions", s.evictions);
    rte_tel_data_add_dict_u64(d, "tombstones", s.tombstones);
    rte_tel_data_add_dict_u64(d, "tombstone_evictions", s.tombstone_evictions);
    return 0;
}

static int handle_config(struct rte_tel_data *d) {
    const struct config *cfg = &the_app->cfg;
    rte_tel_data_start_dict(d);
    rte_tel_data_add_dict_string(d, "mode", sketcher_mode_names[cfg->mode]);
    rte_tel_data_add_dict_u64(d, "replicas", cfg->group.replicas);
    rte_tel_data_add_dict_u64(d, "f", cfg->group.f);
    rte_tel_data_add_dict_u64(d, "workers", cfg->workers);
    rte_tel_data_add_dict_u64(d, "slow_paths", cfg->slow_paths);
    rte_tel_data_add_dict_u64(d, "ports", cfg->port_count);
    rte_tel_data_add_dict_u64(d, "queues", the_app->ports[0].queues);
    rte_tel_data_add_dict_u64(d, "rules", cfg->policy.count);
    rte_tel_data_add_dict_u64(d, "inject_transitions_ppm",
                              (uint64_t)(cfg->inject_transitions * 1e6));
    return 0;
}

static const struct {
    const char *command;
    int (*handle)(struct rte_tel_data *d);
    const char *help;
} commands[] = {
    {"/prophecy/stats", handle_stats, "All counters but drops, summed."},
    {"/prophecy/drops", handle_drops, "Drops by name, summed."},
    {"/prophecy/replicas", handle_replicas, "What each replica did."},
    {"/prophecy/evidence", handle_evidence, "Who differed from what."},
    {"/prophecy/memory", handle_memory, "What is in use."},
    {"/prophecy/history", handle_history, "The history table."},
    {"/prophecy/config", handle_config, "The configuration in force."},
};

static int dispatch(const char *command, const char *params, struct rte_tel_data *d) {
    int rc = -1;
    (void)params;
    pthread_mutex_lock(&stopping);
    for (size_t i = 0; the_app != NULL && i < RTE_DIM(commands); i++)
        if (strcmp(command, commands[i].command) == 0)
            rc = commands[i].handle(d);
    pthread_mutex_unlock(&stopping);
    return rc;
}

void telemetry_start(struct app *app) {
    the_app = app;
    for (size_t i = 0; i < RTE_DIM(commands); i++)
        rte_telemetry_register_cmd(commands[i].command, dispatch, commands[i].help);
}

void telemetry_stop(void) {
    pthread_mutex_lock(&stopping);
    the_app = NULL;
    pthread_mutex_unlock(&stopping);
}
