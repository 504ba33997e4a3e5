/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The shell of prophecy-sketcher: lcores, ports, rings, and what a worker keeps per connection. All
 * protocol decisions are in lib/; this only carries bytes between them.
 *
 * Threads. Lcore 0 of the EAL (main) configures, answers telemetry and waits. Workers 0..W-1 each
 * own a tcp_stack, the client connections whose tuple hashes to them, and their own upstream
 * pool. Slow-path lcores W..W+S-1 each own a partition of the history table and an agreement
 * client. Between any two lcores there is one single-producer single-consumer ring for frames and,
 * between a worker and a slow-path lcore, one for messages. Queue q of a port belongs to worker q;
 * who owns no queue sends through one who does.
 */
#ifndef PROPHECY_APP_SHELL_H
#define PROPHECY_APP_SHELL_H

#include "config.h"

#include "datagram/datagram.h"
#include "sketcher/sketcher.h"
#include "tcp/tcp.h"
#include "wire/buf.h"

#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>
#include <rte_ring.h>
#include <stdatomic.h>
#include <sys/queue.h>

#define SHELL_BURST 32u
#define SHELL_BLOCK_BYTES 17408u // a whole head, canonical or not, in one piece
#define SHELL_COPY_MAX_BYTES                                                                       \
    BUF_DATA_BYTES // an agreed body up to this is copied, a larger one sent in place
#define SHELL_SMALL_BODY_BYTES (64u << 10) // up to here a body may take the last chunks
#define SHELL_DRAIN_BYTES                                                                          \
    (1u << 20) // unacknowledged response bytes at which a client's next request waits

static_assert(SHELL_BLOCK_BYTES >= SKETCH_CANONICAL_HEAD_MAX, "a canonical head fits in a block");
static_assert(SHELL_BLOCK_BYTES >= HTTP_HEAD_MAX_BYTES + 1024, "a client head fits in a block");

#define SHELL_COUNTERS(X)                                                                          \
    X(RX, "rx_frames")                                                                             \
    X(TX, "tx_frames")                                                                             \
    X(HANDED_OVER, "frames_handed_over")                                                           \
    X(TX_HANDED_OVER, "frames_sent_through_another_lcore")                                         \
    X(CLIENTS, "clients_accepted")                                                                 \
    X(RESPONSES, "responses")                                                                      \
    X(NOT_MODIFIED, "responses_304")                                                               \
    X(PARTIAL, "responses_206")                                                                    \
    X(HTTP_REJECTED, "http_rejected")                                                              \
    X(BODY_TOO_LARGE, "http_body_too_large")                                                       \
    X(REQUEST_TIMEOUT, "http_request_timeouts")                                                    \
    X(KEEPALIVE_TIMEOUT, "http_keepalive_timeouts")                                                \
    X(CLIENT_STALLED, "http_stalled_readers")                                                      \
    X(CLIENT_GONE, "http_clients_gone")                                                            \
    X(UPSTREAM_OPENED, "upstream_opened")                                                          \
    X(UPSTREAM_RETRIED, "upstream_retried_same_replica")                                           \
    X(UPSTREAM_WAITED, "upstream_waited_for_connection")                                           \
    X(UPSTREAM_GARBAGE, "upstream_garbage")                                                        \
    X(BUSY_CYCLES, "busy_cycles")                                                                  \
    X(ALL_CYCLES, "all_cycles")                                                                    \
    X(SLEEPS, "idle_sleeps")                                                                       \
    X(DROP_RING, "drop_lcore_ring_full")                                                           \
    X(DROP_TX, "drop_tx_queue_full")                                                               \
    X(DROP_SEGMENTS, "drop_rx_multi_segment")                                                      \
    X(DROP_UDP_PORT, "drop_udp_port")                                                              \
    X(DROP_REQUEST_LIMIT, "drop_request_limit")                                                    \
    X(DROP_CLIENT_LIMIT, "drop_client_limit")                                                      \
    X(DROP_BUFFERS, "drop_out_of_buffers")                                                         \
    X(DROP_SLOW_RING, "drop_slow_path_ring_full")                                                  \
    X(DROP_RESULTS, "drop_results_limit")

enum shell_counter {
#define SHELL_COUNTER_ID(id, name) SHELL_##id,
    SHELL_COUNTERS(SHELL_COUNTER_ID)
#undef SHELL_COUNTER_ID
        SHELL_COUNTER_COUNT
};
extern const char *const shell_counter_names[SHELL_COUNTER_COUNT];

struct app;
struct worker;
struct client;
struct upstream;
struct request;

/*
 * An agreed result on its way to clients. Its slow-path lcore made it and frees it, when it finds
 * no user left; workers only count themselves out (result_release).
 */
struct result {
    TAILQ_ENTRY(result) link;
    _Atomic uint32_t users;
    size_t len;
    uint8_t data[];
};
TAILQ_HEAD(result_head, result);
void result_release(void *result);

/* ------------------------------------------------------------------ lcore: frames in and out */

struct frame_vector {
    uint16_t count;
    struct rte_mbuf *m[SHELL_BURST];
};

struct lcore {
    struct app *app;
    uint32_t index;  // 0..W-1 workers, W..W+S-1 slow path
    unsigned int id; // the EAL's
    struct tcp_stack *stack;
    struct rte_mempool *frames;
    struct buf_pool pool;
    struct frame_vector tx[CONFIG_PORTS_MAX]; // towards queue `index` of the port
    struct rte_ring *in[CONFIG_LCORES_MAX];   // frames from each other lcore; NULL for oneself
    struct rte_ring *out[CONFIG_LCORES_MAX];
    uint64_t now_us;
    uint64_t next_publish_us;
    uint32_t idle_polls;
    uint32_t
        chunks_left; // in the pool, when last counted: that takes a look at every lcore's cache
    uint64_t count[SHELL_COUNTER_COUNT];
    struct sketcher_evidence_ring *evidence;
    /* Snapshots for telemetry, written every few milliseconds with relaxed stores. */
    uint64_t published_tcp[TCP_COUNTER_COUNT];
    uint64_t published_conns, published_time_waits;
};

static inline void count(struct lcore *l, enum shell_counter which) {
    __atomic_store_n(&l->count[which], l->count[which] + 1, __ATOMIC_RELAXED);
}

static inline void count_add(struct lcore *l, enum shell_counter which, uint64_t n) {
    __atomic_store_n(&l->count[which], l->count[which] + n, __ATOMIC_RELAXED);
}

/* Makes the lcore's stack with its interfaces; message on stderr and false on failure. */
bool lcore_init(struct lcore *l, struct app *app, uint32_t index, unsigned int id,
                const struct tcp_limits *limits,
                void (*udp_input)(void *ctx, unsigned int ifindex, uint32_t src, uint16_t src_port,
                                  uint32_t dst, uint16_t dst_port, const uint8_t *payload,
                                  size_t len));
void lcore_fini(struct lcore *l);
/* One round: polls own queues and rings into the stack. Returns the frames handled. */
uint32_t lcore_poll(struct lcore *l);
/* Timers and delayed output of the stack, then everything to the ports. */
void lcore_flush(struct lcore *l);
/*
 * Ends a round that began at this cycle: accounts for its cycles and, when there was nothing to do,
 * backs off in steps, pause, yield, sleep, unless told to spin. Returns the cycle at which the next
 * one begins.
 */
uint64_t lcore_round_end(struct lcore *l, bool busy, uint64_t began);
void lcore_publish(struct lcore *l);
uint64_t shell_now_us(void);
/* Copies n counters for readers on other threads. */
void shell_publish(uint64_t *to, const uint64_t *from, size_t n);

/* ------------------------------------------------------------------ worker */

/* Deadlines: one list per constant time-out, so each list is sorted by itself. */
struct timed {
    TAILQ_ENTRY(timed) link;
    uint64_t deadline_us;
    uint8_t list; // WORKER_LIST_NONE: in none
};
TAILQ_HEAD(timed_head, timed);

enum worker_list {
    LIST_NONE,
    LIST_CLIENT_KEEPALIVE,
    LIST_CLIENT_REQUEST,
    LIST_CLIENT_ABORT, // at the next round: aborting from inside an event would free it under its
                       // feet
    LIST_UPSTREAM_CONNECT,
    LIST_UPSTREAM_RESPONSE,
    LIST_UPSTREAM_IDLE,
    LIST_REQUEST_WAITING,
    LIST_COUNT
};

enum client_state {
    CLIENT_HEAD,    // between requests, or a head has begun
    CLIENT_BODY,    // a request body comes in
    CLIENT_WAIT,    // its request is being answered
    CLIENT_DRAIN,   // answered, but the response is not yet acknowledged: the next one waits
    CLIENT_CLOSING, // what still comes in is discarded
};

struct client {
    struct timed timer; // first
    struct tcp_conn *conn;
    struct worker *w;
    struct request *request; // in CLIENT_BODY and CLIENT_WAIT
    uint8_t *head; // block holding a head that came in pieces, or that of a chunked request
    uint32_t head_len;
    uint32_t addr;
    uint32_t served;
    uint32_t queued_before; // unacknowledged bytes when the time-out last looked
    enum client_state state;
    bool in_data;  // on_data is on the stack: do not resume from inside
    bool peer_fin; // half closed
    bool chunked;
    uint64_t body_left;
    struct http_chunked chunks;
};

enum upstream_state { UPSTREAM_CONNECTING, UPSTREAM_IDLE, UPSTREAM_HEAD, UPSTREAM_BODY };

struct upstream {
    struct timed timer;         // first
    TAILQ_ENTRY(upstream) link; // of the replica's idle list
    struct tcp_conn *conn;
    struct worker *w;
    struct request *request;
    uint8_t *head; // block with a response head that came in pieces
    uint32_t head_len;
    uint16_t replica;
    enum upstream_state state;
    enum http_framing framing;
    bool used; // has answered before: may be found dead
    bool keep;
    bool probe;
    bool heard; // a byte of the present answer has come
    uint64_t body_left;
    struct http_chunked chunks;
    uint64_t asked_us;
};
TAILQ_HEAD(upstream_head, upstream);

#define REQUEST_CONDITIONS_MAX 6u

struct request {
    struct timed timer;        // first
    TAILQ_ENTRY(request) link; // of the replica's waiting list
    struct sketcher_request life;
    struct worker *w;
    struct client *client; // NULL: it left
    struct upstream *upstream;
    enum sketcher_step step; // decided at the head, taken when the body is complete
    enum http_method method;
    bool keep_alive, http_1_0, retried;
    struct buf_chain op;   // the upstream request, for a replica or for agreement
    struct buf_chain body; // of a chunked request, until its length is known
    /* The fast answer: kept while it comes in, and after a mismatch for the record. */
    uint8_t *answer_head; // canonical, in a block
    uint32_t answer_head_len;
    struct buf_chain answer_body;
    struct buf *conditions; // the If-* and Range fields: name, value, ...
    uint32_t condition_count;
    struct http_header condition[REQUEST_CONDITIONS_MAX];
    /* While with the slow path. */
    struct sketcher_ticket ticket;
    struct sketcher_verdict verdict;
    struct result *result;
};
TAILQ_HEAD(request_head, request);

struct replica_pool {
    struct upstream_head idle;
    struct request_head waiting;
    uint32_t connections;
    uint32_t waiting_count;
};

struct worker {
    struct lcore l; // first
    struct sketcher_worker *core;
    struct crypto_digest *digest;
    struct rte_mempool *clients, *upstreams, *requests, *blocks;
    struct replica_pool replica[SKETCHER_REPLICAS_MAX];
    struct timed_head lists[LIST_COUNT];
    uint64_t timeout_us[LIST_COUNT];
    uint32_t requests_in_use, clients_in_use;
    uint16_t next_port;
    uint8_t *scratch; // SHELL_BLOCK_BYTES twice: canonical head, client head
    struct rte_ring *to_slow[CONFIG_LCORES_MAX];   // struct request *
    struct rte_ring *from_slow[CONFIG_LCORES_MAX]; // struct request *
    char vip_text[24];
    uint64_t published_core[SKETCHER_COUNTER_COUNT];
    uint64_t published_requests, published_clients;
};

bool worker_init(struct worker *w, struct app *app, uint32_t index, unsigned int id);
void worker_fini(struct worker *w);
int worker_main(void *arg); // struct worker *
void timed_set(struct worker *w, struct timed *t, enum worker_list list);
void timed_clear(struct worker *w, struct timed *t);
uint8_t *block_get(struct worker *w); // NULL: none left
void block_put(struct worker *w, uint8_t *block);

/* client.c: the HTTP server side. */
const struct tcp_handlers *client_accept(void *ctx, struct tcp_conn *conn);
void client_timeout(struct client *c);
/* Nothing can be sent any more: the connection is reset at the next round. */
void client_abort(struct client *c);
/* Its response has been queued; keep says whether another request may follow. */
void client_answered(struct client *c, bool keep);
void request_run(struct request *r, enum sketcher_step step);
struct request *request_new(struct worker *w);
void request_free(struct request *r);
/* The verdict came back over the ring. */
void request_verdict(struct request *r);

/* upstream.c: fast reads. */
void upstream_ask(struct request *r);
void upstream_timeout(struct upstream *u);
void upstream_waiting_timeout(struct request *r);
void upstream_probe(struct worker *w, uint32_t replica);
void upstream_warm(struct worker *w);

/* respond.c: what clients are sent. */
struct answer {
    const uint8_t *head; // canonical
    size_t head_len;
    const uint8_t *flat; // the body in one piece, or NULL:
    struct buf_chain *chain;
    size_t body_len;
    struct result *result; // flat lies in it
};
void respond_answer(struct request *r, const struct answer *a);
void respond_status(struct client *c, uint16_t status, bool keep);
void respond_continue(struct client *c);
void evidence_suspect(struct request *r);

/* ------------------------------------------------------------------ slow path */

struct slow {
    struct lcore l;      // first
    uint32_t slow_index; // partition, endpoint
    struct sketcher_slow *core;
    struct bft_client *bft;
    struct datagram *datagram;
    struct crypto_digest *digest;
    uint8_t *scratch; // one operation in one piece
    size_t scratch_bytes;
    struct result *shared; // of the completion being released: made on first use
    struct rte_ring *from_worker[CONFIG_LCORES_MAX];
    struct rte_ring *to_worker[CONFIG_LCORES_MAX];
    struct result_head results;
    uint64_t results_out; // not freed yet
    size_t results_bytes; // of those that are sent in place
    uint64_t published_core[SKETCHER_SLOW_COUNTER_COUNT];
    uint64_t published_bft[BFT_CLIENT_COUNTER_COUNT];
    uint64_t published_datagram[DATAGRAM_COUNTER_COUNT];
    uint64_t published_wrong[SKETCHER_REPLICAS_MAX];
    uint64_t published_operations, published_results;
};

bool slow_init(struct slow *s, struct app *app, uint32_t slow_index, unsigned int id);
void slow_fini(struct slow *s);
int slow_main(void *arg); // struct slow *

/* ------------------------------------------------------------------ app */

struct app_port {
    uint16_t id;
    uint16_t queues;
    uint8_t mac[TCP_MAC_BYTES];
};

struct app {
    struct config cfg;
    _Atomic bool stop;
    uint32_t lcores; // workers + slow paths
    struct app_port ports[CONFIG_PORTS_MAX];
    struct rte_mempool *frames;
    struct rte_mempool *chunks;
    struct sketch_secret secret;
    struct history *history;
    size_t history_bytes;   // of one copy, tombstones included
    struct worker *workers; // [cfg.workers]
    struct slow *slows;     // [cfg.slow_paths]
    uint64_t epoch;         // of this life: datagrams
};

static inline struct lcore *app_lcore(struct app *app, uint32_t index) {
    return index < app->cfg.workers ? &app->workers[index].l
                                    : &app->slows[index - app->cfg.workers].l;
}
/* The port that leads to the replicas. */
static inline uint32_t app_replica_side(const struct app *app) {
    return app->cfg.port_count - 1;
}

/*
 * May a body that holds so many bytes take more chunks? The last quarter of them is for small ones:
 * a client that sends or fetches a few large bodies and takes its time must not leave nothing for
 * the pages of all others.
 */
static inline bool body_has_room(const struct lcore *l, size_t bytes) {
    return bytes < SHELL_SMALL_BODY_BYTES || l->chunks_left > l->app->cfg.buffers / 4;
}

bool ports_start(struct app *app);
void ports_stop(struct app *app);
void telemetry_start(struct app *app);
/* Commands are refused from here on; returns when none is being answered. */
void telemetry_stop(void);

#endif
