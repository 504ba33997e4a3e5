/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * prophecy-sketcher: the load balancer that cannot be made to lie. Start, stop, and nothing in
 * between. The configuration is checked in full before the EAL touches a device.
 */
#include "shell.h"

#include <errno.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_lcore.h>
#include <rte_malloc.h>
#include <rte_mbuf_pool_ops.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#define FRAME_RING_ENTRIES 4096u

static struct app app;

static void on_signal(int number) {
    (void)number;
    atomic_store_explicit(&app.stop, true, memory_order_relaxed);
}

static bool complain(const char *what) {
    fprintf(stderr, "prophecy-sketcher: %s: %s\n", what, rte_strerror(rte_errno));
    return false;
}

static struct rte_ring *ring_make(const char *what, uint32_t from, uint32_t to, uint32_t entries) {
    char name[RTE_RING_NAMESIZE];
    snprintf(name, sizeof name, "%s%u-%u", what, from, to);
    // One producer, one consumer: nobody ever spins on a lcore that lost its CPU (design.md §6).
    struct rte_ring *ring = rte_ring_create(name, rte_align32pow2(entries), SOCKET_ID_ANY,
                                            RING_F_SP_ENQ | RING_F_SC_DEQ);
    if (ring == NULL)
        complain("ring");
    return ring;
}

static bool make_rings(void) {
    for (uint32_t a = 0; a < app.lcores; a++)
        for (uint32_t b = 0; b < app.lcores; b++) {
            if (a == b)
                continue;
            struct rte_ring *ring = ring_make("frames", a, b, FRAME_RING_ENTRIES);
            if (ring == NULL)
                return false;
            app_lcore(&app, a)->out[b] = app_lcore(&app, b)->in[a] = ring;
        }
    for (uint32_t w = 0; w < app.cfg.workers; w++)
        for (uint32_t s = 0; s < app.cfg.slow_paths; s++) {
            uint32_t entries = app.cfg.requests_max + 1; // every request in progress has room
            struct rte_ring *there = ring_make("tickets", w, s, entries);
            struct rte_ring *back = ring_make("verdicts", w, s, entries);
            if (there == NULL || back == NULL)
                return false;
            app.workers[w].to_slow[s] = app.slows[s].from_worker[w] = there;
            app.workers[w].from_slow[s] = app.slows[s].to_worker[w] = back;
        }
    return true;
}

static void *copy_alloc(void *ctx, uint32_t copy, size_t bytes) {
    (void)ctx;
    unsigned int sockets = rte_socket_count();
    int socket = rte_socket_id_by_idx(copy % (sockets > 0 ? sockets : 1));
    return rte_zmalloc_socket("history", bytes, 64, socket);
}

static void copy_release(void *ctx, uint32_t copy, void *memory, size_t bytes) {
    (void)ctx;
    (void)copy;
    (void)bytes;
    rte_free(memory);
}

static bool make_history(void) {
    struct history_config c = {
        .entries = app.cfg.history_entries,
        .tombstones = app.cfg.history_tombstones,
        .partitions = app.cfg.slow_paths,
        .blacklist_after = app.cfg.blacklist_after,
        .blacklist_s = app.cfg.blacklist_s,
        .alloc = copy_alloc,
        .release = copy_release,
    };
    if (app.cfg.history_copies == 0)
        app.cfg.history_copies = rte_socket_count() > 0 ? rte_socket_count() : 1;
    c.copies = app.cfg.history_copies;
    crypto_random(c.seed, sizeof c.seed);
    app.history_bytes = history_bytes(&c);
    app.history = history_new(&c);
    if (app.history == NULL)
        fprintf(stderr,
                "prophecy-sketcher: no memory for %u history tables of %zu bytes; give the EAL "
                "more (-m MEGABYTES) or lower history-entries\n",
                c.copies, history_bytes(&c));
    return app.history != NULL;
}

/*
 * As rte_pktmbuf_pool_create, but for a flag. AF_XDP's zero-copy takes the pool for frames back to
 * back. By default none of them crosses a page: with pages of 4 KiB (--no-huge) most would lie
 * behind what the kernel was told of, it would swallow each that is offered to it, and reception
 * would stop. Where devices use virtual addresses, pages do not matter.
 */
static struct rte_mempool *make_frames(void) {
    struct rte_pktmbuf_pool_private private = {.mbuf_data_room_size = RTE_MBUF_DEFAULT_BUF_SIZE};
    unsigned int flags = rte_eal_iova_mode() == RTE_IOVA_VA ? RTE_MEMPOOL_F_NO_IOVA_CONTIG : 0;
    struct rte_mempool *pool = rte_mempool_create_empty(
        "frames", app.cfg.frames, sizeof(struct rte_mbuf) + RTE_MBUF_DEFAULT_BUF_SIZE, 256,
        sizeof private, SOCKET_ID_ANY, flags);
    if (pool == NULL)
        return NULL;
    int error = rte_mempool_set_ops_byname(pool, rte_mbuf_best_mempool_ops(), NULL);
    if (error == 0) {
        rte_pktmbuf_pool_init(pool, &private);
        error = rte_mempool_populate_default(pool);
    }
    if (error < 0) {
        rte_mempool_free(pool);
        rte_errno = -error;
        return NULL;
    }
    rte_mempool_obj_iter(pool, rte_pktmbuf_init, NULL);
    return pool;
}

static bool make_memory(void) {
    app.frames = make_frames();
    if (app.frames == NULL)
        return complain("frames (mbufs); give the EAL more memory (-m MEGABYTES)");
    app.chunks = rte_mempool_create("chunks", app.cfg.buffers, sizeof(struct buf), 256, 0, NULL,
                                    NULL, NULL, NULL, SOCKET_ID_ANY, 0);
    if (app.chunks == NULL)
        return complain("buffers; give the EAL more memory (-m MEGABYTES) or lower 'buffers'");
    crypto_random(&app.secret, sizeof app.secret);
    app.workers = calloc(app.cfg.workers, sizeof *app.workers);
    app.slows = calloc(app.cfg.slow_paths, sizeof *app.slows);
    return app.workers != NULL && app.slows != NULL && make_history();
}

static bool make_lcores(void) {
    uint32_t index = 0;
    unsigned int id;
    app.lcores = app.cfg.workers + app.cfg.slow_paths;
    if (rte_lcore_count() != app.lcores + 1) {
        fprintf(
            stderr,
            "prophecy-sketcher: %u worker(s) and %u slow-path lcore(s) need %u EAL lcores with the "
            "main one, there are %u; give e.g. --lcores '0@0,1@0,2@1'\n",
            app.cfg.workers, app.cfg.slow_paths, app.lcores + 1, rte_lcore_count());
        return false;
    }
    RTE_LCORE_FOREACH_WORKER(id) {
        bool ok = index < app.cfg.workers ? worker_init(&app.workers[index], &app, index, id)
                                          : slow_init(&app.slows[index - app.cfg.workers], &app,
                                                      index - app.cfg.workers, id);
        if (!ok)
            return false;
        index++;
    }
    return make_rings();
}

static bool launch(void) {
    for (uint32_t i = 0; i < app.cfg.slow_paths; i++)
        if (rte_eal_remote_launch(slow_main, &app.slows[i], app.slows[i].l.id) != 0)
            return complain("launch");
    for (uint32_t i = 0; i < app.cfg.workers; i++)
        if (rte_eal_remote_launch(worker_main, &app.workers[i], app.workers[i].l.id) != 0)
            return complain("launch");
    return true;
}

/* Unchecked answers are an operator's decision that should be seen (design.md law 1). */
static void say_what_is_unchecked(void) {
    uint32_t whitelisted = 0;
    for (uint32_t i = 0; i < app.cfg.policy.count; i++)
        whitelisted += app.cfg.policy.rules[i].list == SKETCHER_WHITELIST;
    if (app.cfg.mode == SKETCHER_BALANCE)
        fprintf(stderr, "prophecy-sketcher: mode balance: no answer is checked\n");
    else if (app.cfg.mode == SKETCHER_PROPHECY && whitelisted > 0)
        fprintf(
            stderr,
            "prophecy-sketcher: what %u rule(s) of [whitelist] match is accepted from one replica, "
            "unchecked\n",
            whitelisted);
}

static uint64_t realtime_us(void) {
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

static bool run(void) {
    bool ok = make_memory() && ports_start(&app) && make_lcores();
    if (ok) {
        telemetry_start(&app);
        say_what_is_unchecked();
        ok = launch();
        if (ok)
            fprintf(stderr,
                    "prophecy-sketcher: ready: mode %s, %u replicas, %u worker(s), %u queue(s)\n",
                    sketcher_mode_names[app.cfg.mode], app.cfg.group.replicas, app.cfg.workers,
                    app.ports[0].queues);
        while (ok && !atomic_load_explicit(&app.stop, memory_order_relaxed))
            usleep(50000);
        atomic_store_explicit(&app.stop, true, memory_order_relaxed);
        rte_eal_mp_wait_lcore();
    }
    return ok;
}

static void tear_down(void) {
    for (uint32_t i = 0; app.workers != NULL && i < app.cfg.workers; i++)
        if (app.workers[i].l.app != NULL)
            worker_fini(&app.workers[i]);
    for (uint32_t i = 0; app.slows != NULL && i < app.cfg.slow_paths; i++)
        if (app.slows[i].l.app != NULL)
            slow_fini(&app.slows[i]);
    if (app.history != NULL)
        history_free(app.history);
    crypto_wipe(&app.cfg.keys, sizeof app.cfg.keys);
    crypto_wipe(&app.secret, sizeof app.secret);
}

/* Our own arguments are behind "--"; the EAL's come before. */
static int own_arguments(int argc, char **argv) {
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--") == 0)
            return i;
    // Without the EAL's, as in "prophecy-sketcher --help": all are ours.
    return 0;
}

int main(int argc, char **argv) {
    int own = own_arguments(argc, argv);
    switch (config_load(&app.cfg, argc - own, argv + own)) {
    case CONFIG_EXIT:
        return EXIT_SUCCESS;
    case CONFIG_ERROR:
        return 2;
    case CONFIG_RUN:
        break;
    }
    if (own == 0) {
        fprintf(stderr, "prophecy-sketcher: the EAL's arguments are missing: prophecy-sketcher "
                        "<EAL arguments> -- --config FILE\n");
        return 2;
    }
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0); // short sleeps of idle lcores are meant
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);   // keys are in memory
    app.epoch = realtime_us();
    argv[own] = argv[0];
    if (rte_eal_init(own, argv) < 0) {
        fprintf(stderr, "prophecy-sketcher: the EAL refused its arguments: %s\n",
                rte_strerror(rte_errno));
        return 2;
    }
    bool ok = run();
    telemetry_stop();
    ports_stop(&app);
    tear_down();
    rte_eal_cleanup();
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}
