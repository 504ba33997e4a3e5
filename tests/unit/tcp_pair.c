/* SPDX-License-Identifier: BSD-3-Clause */
#include "tcp_pair.h"
#include "tcp/bytes.h"
#include "tcp/checksum.h"
#include "unit.h"

#include <stdlib.h>

const uint8_t pair_mac[2][TCP_MAC_BYTES] = {{0x02, 0, 0, 0, 0, 0x0a}, {0x02, 0, 0, 0, 0, 0x0b}};

uint64_t pair_random(struct pair *p) {
    uint64_t z = (p->random += UINT64_C(0x9e3779b97f4a7c15)); // SplitMix64
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static bool chance(struct pair *p, unsigned int per_mille) {
    return per_mille > 0 && pair_random(p) % 1000 < per_mille;
}

/* ---- the wire: a binary heap by time of arrival ---- */
static bool earlier(const struct pair_frame *a, const struct pair_frame *b) {
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->order < b->order;
}

static void wire_push(struct pair *p, const struct pair_frame *f) {
    if (p->wire_count == PAIR_FRAMES)
        return; // an overlong queue loses, as real ones do
    struct pair_frame *copy = malloc(sizeof *copy);
    memcpy(copy, f, sizeof *copy);
    uint32_t i = p->wire_count++;
    while (i > 0 && earlier(copy, p->wire[(i - 1) / 2])) {
        p->wire[i] = p->wire[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    p->wire[i] = copy;
}

static struct pair_frame *wire_pop(struct pair *p) {
    struct pair_frame *first = p->wire[0];
    struct pair_frame *last = p->wire[--p->wire_count];
    uint32_t i = 0;
    for (;;) {
        uint32_t child = 2 * i + 1;
        if (child >= p->wire_count)
            break;
        if (child + 1 < p->wire_count && earlier(p->wire[child + 1], p->wire[child]))
            child++;
        if (!earlier(p->wire[child], last))
            break;
        p->wire[i] = p->wire[child];
        i = child;
    }
    if (p->wire_count > 0)
        p->wire[i] = last;
    return first;
}

static void transmit(struct pair *p, struct pair_frame *f) {
    p->sent_frames++;
    if (p->tamper != NULL && p->tamper(p, f))
        return;
    if (chance(p, p->faults.lose))
        return;
    f->at_us = p->now_us + p->delay_us;
    f->order = p->order++;
    if (chance(p, p->faults.delay))
        f->at_us += pair_random(p) % (20 * p->delay_us + 1);
    if (chance(p, p->faults.truncate))
        f->len = (uint16_t)(pair_random(p) % f->len);
    wire_push(p, f);
    if (chance(p, p->faults.repeat)) {
        f->at_us += pair_random(p) % (5 * p->delay_us + 1);
        wire_push(p, f);
    }
}

/* ---- the environment of an instance ---- */
static void *frame_get(void *ctx, uint8_t **data) {
    struct pair_side *side = ctx;
    if (side->frames_left == 0)
        return NULL;
    if (side->frames_left != UINT32_MAX)
        side->frames_left--;
    struct pair_frame *f = malloc(sizeof *f);
    memset(f, 0xee, sizeof *f);
    side->frames_out++;
    *data = f->data;
    return f;
}

static void frame_send(void *ctx, void *frame, unsigned int ifindex, uint16_t len) {
    struct pair_side *side = ctx;
    struct pair_frame *f = frame;
    CU_ASSERT_EQUAL(ifindex, 0);
    CU_ASSERT_FATAL(len <= TCP_FRAME_MAX_BYTES);
    side->frames_out--;
    f->len = len;
    f->to = 1 - side->index;
    transmit(side->pair, f);
    free(f);
}

static void udp_seen(void *ctx, unsigned int ifindex, uint32_t src, uint16_t src_port, uint32_t dst,
                     uint16_t dst_port, const uint8_t *payload, size_t len) {
    struct pair_side *side = ctx;
    (void)ifindex;
    (void)dst;
    side->udp_count++;
    side->udp_src = src;
    side->udp_src_port = src_port;
    side->udp_dst_port = dst_port;
    side->udp_len = len;
    CU_ASSERT_FATAL(len <= sizeof side->udp_data);
    memcpy(side->udp_data, payload, len);
}

/* ---- the application ---- */
uint8_t pair_byte(uint64_t pattern, uint64_t offset) {
    uint64_t z = (pattern + (offset >> 3)) * UINT64_C(0x9e3779b97f4a7c15);
    return (uint8_t)((z ^ z >> 29) >> (8 * (offset & 7)));
}

static uint64_t hash_step(uint64_t h, uint8_t byte) {
    return (h ^ byte) * UINT64_C(0x100000001b3); // FNV-1a
}

uint64_t pair_hash(uint64_t pattern, uint64_t len) {
    uint64_t h = UINT64_C(0xcbf29ce484222325);
    for (uint64_t i = 0; i < len; i++)
        h = hash_step(h, pair_byte(pattern, i));
    return h;
}

void pair_app_init(struct pair_app *app, uint64_t pattern, uint64_t expect) {
    *app = (struct pair_app){.pattern = pattern,
                             .expect = expect,
                             .take_at_most = SIZE_MAX,
                             .hash = UINT64_C(0xcbf29ce484222325)};
}

/* The pair under test: handlers are given a connection and must find its side. */
static struct pair *pair_current;

static struct pair_side *side_of(const struct tcp_conn *c) {
    uint32_t addr;
    uint16_t port;
    tcp_conn_local(c, &addr, &port); // only one side owns it
    return &pair_current->side[addr == PAIR_A ? 0 : 1];
}

struct ref_block {
    struct pair_app *app;
    uint8_t bytes[3000];
};

static void ref_released(void *arg) {
    struct ref_block *b = arg;
    b->app->refs_out--;
    memset(b->bytes, 0xdd, sizeof b->bytes);
    free(b);
}

static size_t fill_pattern(const struct pair_app *app, uint8_t *buf, size_t most) {
    size_t n = app->to_send < most ? (size_t)app->to_send : most;
    for (size_t i = 0; i < n; i++)
        buf[i] = pair_byte(app->pattern, app->sent + i);
    return n;
}

/* Queues one piece; false: nothing was taken. */
static bool pump_once(struct pair_app *app) {
    uint8_t buf[4096];
    size_t n, taken;
    unsigned int way = app->mixed == 0 ? 0 : app->mixed++ % 3;
    if (way != 0 && tcp_send_queued(app->c) > 200000)
        way = 0; // chains and references are the owner's to bound
    if (way == 1) {
        struct buf_chain chain;
        buf_chain_init(&chain);
        n = fill_pattern(app, buf, 1 + app->sent % sizeof buf);
        if (!buf_chain_append(&chain, &side_of(app->c)->pool.pool, buf, n))
            return false;
        for (struct buf *b = chain.head; b != NULL; b = b->next)
            b->tag = 0xabcdef; // the owner's to use
        tcp_send_chain(app->c, &chain);
        taken = n;
    } else if (way == 2) {
        struct ref_block *b = malloc(sizeof *b);
        b->app = app;
        n = fill_pattern(app, b->bytes, 1 + app->sent % sizeof b->bytes);
        if (!tcp_send_ref(app->c, b->bytes, n, ref_released, b)) {
            free(b);
            return true;
        }
        app->refs_out++;
        taken = n;
    } else {
        n = fill_pattern(app, buf, sizeof buf);
        taken = tcp_send(app->c, buf, n);
    }
    app->to_send -= taken;
    app->sent += taken;
    return taken > 0;
}

void pair_app_pump(struct pair_app *app) {
    while (app->c != NULL && app->to_send > 0 && pump_once(app))
        ;
    if (app->c != NULL && app->to_send == 0 && app->close_when_sent) {
        app->close_when_sent = false;
        tcp_close(app->c, app->linger);
    }
}

static void app_established(struct tcp_conn *c, void *user) {
    struct pair_app *app = user;
    CU_ASSERT_PTR_EQUAL(app->c, c);
    app->established++;
    pair_app_pump(app);
}

static size_t app_data(struct tcp_conn *c, void *user, const uint8_t *data, size_t len) {
    struct pair_app *app = user;
    CU_ASSERT_PTR_EQUAL(app->c, c);
    CU_ASSERT(len > 0);
    if (app->abort_on_data) {
        tcp_abort(c);
        return len;
    }
    size_t n = len < app->take_at_most ? len : app->take_at_most;
    for (size_t i = 0; i < n; i++) {
        app->hash = hash_step(app->hash, data[i]);
        app->wrong += data[i] != pair_byte(app->expect, app->received + i);
    }
    app->received += n;
    if (app->echo)
        app->to_send += n;
    pair_app_pump(app);
    return n;
}

static void app_fin(struct tcp_conn *c, void *user) {
    struct pair_app *app = user;
    app->fins++;
    if (app->close_on_fin)
        tcp_close(c, false);
}

static void app_writable(struct tcp_conn *c, void *user) {
    struct pair_app *app = user;
    (void)c;
    app->writable++;
    pair_app_pump(app);
}

static void app_sent(struct tcp_conn *c, void *user) {
    struct pair_app *app = user;
    CU_ASSERT_EQUAL(tcp_send_queued(c), 0);
    app->sent_events++;
}

static void app_closed(struct tcp_conn *c, void *user, enum tcp_close_reason why) {
    struct pair_app *app = user;
    CU_ASSERT_PTR_EQUAL(app->c, c);
    CU_ASSERT_EQUAL(app->refs_out, 0);
    app->closed++;
    app->why = why;
    app->c = NULL;
}

const struct tcp_handlers pair_handlers = {
    .on_established = app_established,
    .on_data = app_data,
    .on_fin = app_fin,
    .on_writable = app_writable,
    .on_sent = app_sent,
    .on_closed = app_closed,
};

static const struct tcp_handlers *app_accept(void *ctx, struct tcp_conn *c) {
    struct pair_side *side = ctx;
    struct pair_app *app = side->accept_app;
    if (app == NULL)
        return NULL;
    CU_ASSERT_PTR_NULL(app->c);
    app->c = c;
    tcp_conn_set_user(c, app);
    pair_app_pump(app);
    return &pair_handlers;
}

/* ---- running ---- */
static void side_init(struct pair *p, unsigned int index, const struct tcp_limits *limits) {
    struct pair_side *side = &p->side[index];
    uint8_t secret[16] = {(uint8_t)index, 1, 2, 3};
    *side = (struct pair_side){.pair = p, .index = index, .frames_left = UINT32_MAX};
    buf_heap_pool_init(&side->pool, 40000);
    struct tcp_env env = {.ctx = side,
                          .pool = &side->pool.pool,
                          .frame_get = frame_get,
                          .frame_send = frame_send,
                          .udp_input = udp_seen};
    side->stack = tcp_stack_new(&env, limits, secret);
    CU_ASSERT_PTR_NOT_NULL_FATAL(side->stack);
    struct tcp_interface iface = {
        .addr = index == 0 ? PAIR_A : PAIR_B, .prefix_len = 24, .mtu_bytes = 1500};
    memcpy(iface.mac, pair_mac[index], TCP_MAC_BYTES);
    if (index == 1)
        iface.extra_addrs[0] = PAIR_VIP;
    CU_ASSERT_EQUAL(tcp_stack_add_interface(side->stack, &iface), 0);
}

void pair_init(struct pair *p, const struct tcp_limits *limits, uint64_t seed) {
    struct tcp_limits defaults;
    tcp_limits_default(&defaults);
    defaults.conns_max = 64;
    defaults.time_wait_max = 64;
    memset(p, 0, sizeof *p);
    pair_current = p;
    p->now_us = 1000000 + seed % 4096;
    p->delay_us = 500;
    p->random = seed;
    side_init(p, 0, limits != NULL ? limits : &defaults);
    side_init(p, 1, limits != NULL ? limits : &defaults);
    struct tcp_listener l = {.port = PAIR_PORT, .on_accept = app_accept, .ctx = &p->side[1]};
    CU_ASSERT_EQUAL(tcp_stack_listen(p->side[1].stack, &l), 0);
}

void pair_free(struct pair *p) {
    for (unsigned int i = 0; i < 2; i++) {
        tcp_stack_free(p->side[i].stack);
        CU_ASSERT_EQUAL(p->side[i].pool.in_use, 0);
        CU_ASSERT_EQUAL(p->side[i].frames_out, 0);
    }
    while (p->wire_count > 0)
        free(wire_pop(p));
}

static void deliver(struct pair *p, struct pair_frame *f) {
    struct pair_side *side = &p->side[f->to];
    if (side->by_hand) {
        if (side->seen_count < 64)
            side->seen[side->seen_count++] = *f;
    } else {
        // An exact copy on the heap lets the sanitizer see every read beyond the frame.
        uint8_t *exact = malloc(f->len > 0 ? f->len : 1);
        memcpy(exact, f->data, f->len);
        tcp_stack_input(side->stack, 0, exact, f->len, p->now_us);
        free(exact);
    }
    free(f);
}

static uint64_t next_event(const struct pair *p) {
    uint64_t next = p->wire_count > 0 ? p->wire[0]->at_us : UINT64_MAX;
    for (unsigned int i = 0; i < 2; i++) {
        uint64_t t = tcp_stack_next_deadline(p->side[i].stack);
        next = t < next ? t : next;
    }
    return next;
}

void pair_run(struct pair *p, uint64_t until_us) {
    for (;;) {
        for (unsigned int i = 0; i < 2; i++) {
            tcp_stack_timers(p->side[i].stack, p->now_us);
            tcp_stack_flush(p->side[i].stack, p->now_us);
        }
        uint64_t next = next_event(p);
        if (next == UINT64_MAX || next > until_us)
            break;
        if (next > p->now_us)
            p->now_us = next;
        else if (p->wire_count == 0 || p->wire[0]->at_us > p->now_us)
            p->now_us++; // output that waits for a frame, or a timer of this tick
        while (p->wire_count > 0 && p->wire[0]->at_us <= p->now_us)
            deliver(p, wire_pop(p));
    }
    if (until_us != UINT64_MAX && p->now_us < until_us)
        p->now_us = until_us;
}

void pair_run_for(struct pair *p, uint64_t us) {
    pair_run(p, p->now_us + us);
}

bool pair_connect(struct pair *p, struct pair_app *client, uint16_t src_port) {
    client->c = tcp_connect(p->side[0].stack, PAIR_A, src_port, PAIR_B, PAIR_PORT, &pair_handlers,
                            client, p->now_us);
    return client->c != NULL;
}

uint64_t pair_counter(const struct pair *p, unsigned int side, enum tcp_counter id) {
    uint64_t counters[TCP_COUNTER_COUNT];
    tcp_stack_counters(p->side[side].stack, counters);
    return counters[id];
}

/* ---- frames made by hand ---- */
static size_t hand_ip(uint8_t *frame, uint8_t protocol, size_t payload) {
    memcpy(frame, pair_mac[1], 6);
    memcpy(frame + 6, pair_mac[0], 6);
    store_be16(frame + 12, 0x0800);
    uint8_t *ip = frame + 14;
    memset(ip, 0, 20);
    ip[0] = 0x45;
    store_be16(ip + 2, (uint16_t)(20 + payload));
    ip[8] = 64;
    ip[9] = protocol;
    store_be32(ip + 12, PAIR_A);
    store_be32(ip + 16, PAIR_B);
    return 34 + payload;
}

/* The slow, obvious RFC 1071, so that the tests do not trust the code they test. */
static uint16_t plain_checksum(const uint8_t *a, size_t alen, const uint8_t *b, size_t blen) {
    uint32_t sum = 0;
    for (size_t i = 0; i < alen; i++)
        sum += (uint32_t)a[i] << (i % 2 == 0 ? 8 : 0);
    for (size_t i = 0; i < blen; i++)
        sum += (uint32_t)b[i] << (i % 2 == 0 ? 8 : 0);
    while (sum > 0xffff)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~sum;
}

void hand_fix_checksums(uint8_t *frame, size_t len) {
    uint8_t *ip = frame + 14;
    size_t header = (size_t)(ip[0] & 15) * 4;
    uint8_t *p = ip + header;
    size_t n = len - 14 - header;
    store_be16(ip + 10, 0);
    store_be16(ip + 10, plain_checksum(ip, header, NULL, 0));
    uint8_t pseudo[12];
    memcpy(pseudo, ip + 12, 8);
    pseudo[8] = 0;
    pseudo[9] = ip[9];
    store_be16(pseudo + 10, (uint16_t)n);
    if (ip[9] == 6) {
        store_be16(p + 16, 0);
        store_be16(p + 16, plain_checksum(pseudo, 12, p, n));
    } else if (ip[9] == 17) {
        store_be16(p + 6, 0);
        store_be16(p + 6, plain_checksum(pseudo, 12, p, n));
    } else if (ip[9] == 1) {
        store_be16(p + 2, 0);
        store_be16(p + 2, plain_checksum(p, n, NULL, 0));
    }
}

size_t hand_tcp_frame(uint8_t *frame, const struct hand_tcp *t) {
    size_t len = hand_ip(frame, 6, 20 + t->option_bytes + t->payload_bytes);
    uint8_t *p = frame + 34;
    memset(p, 0, 20);
    store_be16(p, t->src_port);
    store_be16(p + 2, t->dst_port);
    store_be32(p + 4, t->seq);
    store_be32(p + 8, t->ack);
    p[12] = (uint8_t)((20 + t->option_bytes) << 2);
    p[13] = t->flags;
    store_be16(p + 14, t->window);
    if (t->option_bytes > 0)
        memcpy(p + 20, t->options, t->option_bytes);
    if (t->payload_bytes > 0)
        memcpy(p + 20 + t->option_bytes, t->payload, t->payload_bytes);
    hand_fix_checksums(frame, len);
    return len;
}

size_t hand_udp_frame(uint8_t *frame, uint16_t src_port, uint16_t dst_port, const void *payload,
                      size_t n, bool checksum) {
    size_t len = hand_ip(frame, 17, 8 + n);
    uint8_t *p = frame + 34;
    store_be16(p, src_port);
    store_be16(p + 2, dst_port);
    store_be16(p + 4, (uint16_t)(8 + n));
    memcpy(p + 8, payload, n);
    hand_fix_checksums(frame, len);
    if (!checksum)
        store_be16(p + 6, 0);
    return len;
}

size_t hand_icmp_frame(uint8_t *frame, const uint8_t *icmp, size_t n) {
    size_t len = hand_ip(frame, 1, n);
    memcpy(frame + 34, icmp, n);
    hand_fix_checksums(frame, len);
    return len;
}

size_t hand_arp_frame(uint8_t *frame, uint16_t op, const uint8_t *sha, uint32_t spa, uint32_t tpa) {
    memset(frame, 0xff, 6);
    memcpy(frame + 6, sha, 6);
    store_be16(frame + 12, 0x0806);
    static const uint8_t head[6] = {0, 1, 8, 0, 6, 4};
    memcpy(frame + 14, head, 6);
    store_be16(frame + 20, op);
    memcpy(frame + 22, sha, 6);
    store_be32(frame + 28, spa);
    memset(frame + 32, 0, 6);
    store_be32(frame + 38, tpa);
    return 42;
}

void hand_give(struct pair *p, unsigned int to, const uint8_t *frame, size_t len) {
    uint8_t *exact = malloc(len > 0 ? len : 1);
    memcpy(exact, frame, len);
    tcp_stack_input(p->side[to].stack, 0, exact, len, p->now_us);
    tcp_stack_flush(p->side[to].stack, p->now_us);
    free(exact);
}

uint32_t seen_u32(const struct pair_frame *f, size_t off) {
    return load_be32(f->data + off);
}

uint16_t seen_u16(const struct pair_frame *f, size_t off) {
    return load_be16(f->data + off);
}
