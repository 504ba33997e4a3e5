/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Two instances back to back over a virtual wire with a virtual clock, for the tests of lib/tcp.
 * The wire loses, repeats, delays, reorders and truncates by a seed. Either side may instead be
 * played by hand: frames are then taken from and given to the wire by the test.
 */
#ifndef PROPHECY_TCP_PAIR_H
#define PROPHECY_TCP_PAIR_H

#include "tcp/tcp.h"

#define PAIR_A 0x0a000001u // 10.0.0.1
#define PAIR_B 0x0a000002u
#define PAIR_VIP 0x0a000064u
#define PAIR_PORT 80u
#define PAIR_FRAMES 8192u // on the wire at a time

struct pair_frame {
    uint64_t at_us;
    uint64_t order;
    unsigned int to; // 0: A, 1: B
    uint16_t len;
    uint8_t data[TCP_FRAME_MAX_BYTES];
};

struct pair_faults { // per 1,000 frames
    unsigned int lose, repeat, delay, truncate;
};

struct pair_app;

struct pair_side {
    struct pair *pair;
    unsigned int index;
    struct tcp_stack *stack;
    struct buf_heap_pool pool;
    uint32_t frames_left; // NULL from frame_get at 0; UINT32_MAX: never
    uint32_t frames_out;  // taken with frame_get and not sent
    uint32_t udp_count;
    uint32_t udp_src;
    uint16_t udp_src_port, udp_dst_port;
    uint8_t udp_data[2048];
    size_t udp_len;
    struct pair_app *accept_app; // what the listener hands out; NULL: refuse
    bool by_hand;                // frames to this side stay in `seen`
    uint32_t seen_count;
    struct pair_frame seen[64];
};

struct pair {
    uint64_t now_us;
    uint64_t delay_us;
    uint64_t order;
    uint64_t random;
    struct pair_faults faults;
    uint32_t wire_count;
    struct pair_frame *wire[PAIR_FRAMES]; // a heap by (at_us, order)
    struct pair_side side[2];
    uint64_t sent_frames;
    bool (*tamper)(struct pair *p, struct pair_frame *f); // true: lose it
    void *tamper_ctx;
};

/* One end of a connection in a test. */
struct pair_app {
    struct tcp_conn *c; // NULL after on_closed
    uint64_t to_send;   // bytes of the pattern still to be queued
    uint64_t sent;
    uint64_t received;
    uint64_t hash; // of what was received
    uint32_t established, fins, writable, sent_events, closed;
    enum tcp_close_reason why;
    bool close_when_sent, close_on_fin, linger, echo;
    size_t take_at_most; // per on_data; SIZE_MAX: all
    uint64_t pattern;    // of what is sent
    uint32_t mixed;      // tcp_send, chains and references in turn
    uint32_t refs_out;
    bool abort_on_data;
    uint64_t wrong; // received bytes that differ from the pattern expect
    uint64_t expect;
};

extern const struct tcp_handlers pair_handlers;

void pair_init(struct pair *p, const struct tcp_limits *limits, uint64_t seed);
/* Frees both instances and asserts that nothing leaked. */
void pair_free(struct pair *p);
/* Runs the wire and the clock until nothing moves any more or until_us is reached. */
void pair_run(struct pair *p, uint64_t until_us);
/* Runs for so long. */
void pair_run_for(struct pair *p, uint64_t us);
void pair_app_init(struct pair_app *app, uint64_t pattern, uint64_t expect);
/* A connects to B; returns false when tcp_connect refuses. */
bool pair_connect(struct pair *p, struct pair_app *client, uint16_t src_port);
void pair_app_pump(struct pair_app *app);
uint64_t pair_counter(const struct pair *p, unsigned int side, enum tcp_counter id);
uint64_t pair_random(struct pair *p);
uint8_t pair_byte(uint64_t pattern, uint64_t offset);
uint64_t pair_hash(uint64_t pattern, uint64_t len);

/* ---- frames made by hand ---- */
struct hand_tcp {
    uint32_t seq, ack;
    uint8_t flags;
    uint16_t window;
    uint16_t src_port, dst_port;
    const uint8_t *options;
    size_t option_bytes;
    const void *payload;
    size_t payload_bytes;
};
/* A frame from A's address to B's; returns its length. */
size_t hand_tcp_frame(uint8_t *frame, const struct hand_tcp *t);
size_t hand_udp_frame(uint8_t *frame, uint16_t src_port, uint16_t dst_port, const void *payload,
                      size_t len, bool checksum);
size_t hand_icmp_frame(uint8_t *frame, const uint8_t *icmp, size_t len);
size_t hand_arp_frame(uint8_t *frame, uint16_t op, const uint8_t *sha, uint32_t spa, uint32_t tpa);
/* Recomputes the checksums of an IPv4 frame that a test has changed. */
void hand_fix_checksums(uint8_t *frame, size_t len);
void hand_give(struct pair *p, unsigned int to, const uint8_t *frame, size_t len);
/* Fields of a frame that was seen. */
uint32_t seen_u32(const struct pair_frame *f, size_t off);
uint16_t seen_u16(const struct pair_frame *f, size_t off);
extern const uint8_t pair_mac[2][TCP_MAC_BYTES];

#endif
