/* SPDX-License-Identifier: BSD-3-Clause */
/* What the files of lib/datagram share. */
#ifndef PROPHECY_DATAGRAM_INTERNAL_H
#define PROPHECY_DATAGRAM_INTERNAL_H

#include "datagram/header.h"
#include "datagram/window.h"

/*
 * Transfers of a peer in one direction are numbered from 1 and live in a ring of slots. The sender
 * keeps its open ones within TRANSFER_WINDOW of each other, so the receiver needs to remember the
 * fate of that many.
 */
#define TRANSFER_WINDOW 1024u
#define PEER_BUCKETS 256u

static_assert(TRANSFER_WINDOW % 64 == 0, "fates are kept in words");
static_assert((TRANSFER_WINDOW & (TRANSFER_WINDOW - 1)) == 0, "numbers may wrap around the ring");
static_assert(PEER_BUCKETS >= 2 * DATAGRAM_PEERS_MAX, "probe sequences stay short");

struct peer;

/*
 * What a transfer needs to notice silence. All transfers of an instance hang in one list and are
 * looked at in turn, each check_period after the last look: the constant period keeps the list in
 * order of time without a heap, at the price of noticing up to one period late.
 */
struct pending {
    struct pending *prev, *next;
    struct peer *peer;
    uint64_t id;
    uint64_t check_at_us;
    uint64_t quiet_since_us; // the other side was heard, or reminded
    uint64_t give_up_at_us;
    uint32_t silences; // reminders since it was heard
    uint32_t mark;     // fragments done when give_up_at_us was last put off
    uint32_t fragments;
    bool receiving;
};

/* A large message, shared by the transfers that send it. */
struct send_message {
    uint32_t references;
    uint32_t len;
    uint8_t data[];
};

struct send_transfer {
    struct pending pending; // first
    struct send_message *message;
    uint64_t repaired_at_us;
    uint32_t sent_to; // fragments 0..sent_to-1 were sent
    bool repaired;
};

struct receive_transfer {
    struct pending pending; // first
    uint32_t len;
    uint32_t received;   // fragments held
    uint32_t granted_to; // cumulative, as in GRANT
    uint32_t base;       // all before it are held; moved up when a repair needs it
    uint8_t *data;
    uint64_t held[]; // one bit per fragment, then the data
};

/* What one transfer is charged besides its message and bitmap, on either side. */
#define TRANSFER_FIXED_BYTES 160u
static_assert(sizeof(struct receive_transfer) <= TRANSFER_FIXED_BYTES, "see above");
static_assert(sizeof(struct send_transfer) + sizeof(struct send_message) <= TRANSFER_FIXED_BYTES,
              "see above");

struct peer {
    struct datagram_address address;
    struct crypto_mac *mac_out;
    struct crypto_mac *mac_in;
    uint64_t counter_out;
    uint64_t epoch_in; // the largest authenticated one
    struct replay_window replay;

    uint64_t send_next_id;
    uint64_t send_oldest_id; // no older one is open
    size_t send_bytes;       // charged in full for every shared message
    struct send_transfer *sending[TRANSFER_WINDOW];

    uint64_t receive_newest_id;
    size_t receive_bytes;
    uint64_t closed[TRANSFER_WINDOW / 64];  // finished or refused
    uint64_t refused[TRANSFER_WINDOW / 64]; // which of the two
    struct receive_transfer *receiving[TRANSFER_WINDOW];
};

struct datagram {
    struct datagram_config cfg;
    struct datagram_env env;
    uint64_t counters[DATAGRAM_COUNTER_COUNT];
    struct pending timers; // head of the ring
    uint64_t check_period_us;
    uint64_t reminder_max_us;
    uint32_t progress_fragments;
    size_t send_bytes; // every shared message once
    size_t receive_bytes;
    uint32_t peer_count;
    uint8_t buckets[PEER_BUCKETS]; // index into peers plus 1; 0: free
    struct peer *peers[DATAGRAM_PEERS_MAX];
    uint8_t out[DATAGRAM_MAX_BYTES]; // the datagram being built; its body starts at HEADER_BYTES
};

static inline uint32_t fragments_of(uint32_t message_len) {
    return (uint32_t)(((uint64_t)message_len + FRAGMENT_BYTES - 1) / FRAGMENT_BYTES);
}

/* Bytes of fragment index of a message of len bytes that has it. */
static inline uint32_t fragment_len(uint32_t message_len, uint32_t index) {
    uint32_t rest = message_len - index * FRAGMENT_BYTES;
    return rest < FRAGMENT_BYTES ? rest : FRAGMENT_BYTES;
}

static inline size_t bitmap_bytes(uint32_t fragments) {
    return ((size_t)fragments + 63) / 64 * 8;
}

static inline bool bit_test(const uint64_t *words, uint64_t i) {
    return (words[i / 64] >> (i % 64) & 1) != 0;
}

static inline void bit_put(uint64_t *words, uint64_t i, bool value) {
    uint64_t bit = UINT64_C(1) << (i % 64);
    words[i / 64] = value ? words[i / 64] | bit : words[i / 64] & ~bit;
}

static inline void count(struct datagram *d, enum datagram_counter c) {
    d->counters[c]++;
}

/* datagram.c */
/* Seals the body of body_len bytes at d->out + HEADER_BYTES and emits it. */
void datagram_emit(struct datagram *d, struct peer *p, enum datagram_type type, size_t body_len);
/* How much of max one peer may be charged: its equal share, or one message of maximum size if that
 * is more. */
size_t datagram_share(const struct datagram *d, size_t max);
void pending_start(struct datagram *d, struct pending *t, uint64_t now_us);
void pending_stop(struct pending *t);
void pending_heard(struct pending *t, uint64_t now_us);
/* Puts off the end of the transfer when enough was done since the last time. */
void pending_progress(struct datagram *d, struct pending *t, uint32_t done, uint64_t now_us);

/* peer.c */
struct peer *peer_find(const struct datagram *d, struct datagram_address address);
bool peer_add(struct datagram *d, struct datagram_address address,
              const uint8_t key[CRYPTO_KEY_BYTES]);
void peer_free(struct peer *p);

/* send.c */
void send_on_grant(struct datagram *d, struct peer *p, const uint8_t *body, size_t len,
                   uint64_t now_us);
void send_on_ack(struct datagram *d, struct peer *p, const uint8_t *body, size_t len, bool refused);
void send_nudge(struct datagram *d, struct send_transfer *t);
void send_drop(struct datagram *d, struct send_transfer *t);
/* The peer has a new life that holds nothing of what was sent: begin again. */
void send_rewind_all(struct datagram *d, struct peer *p, uint64_t now_us);

/* receive.c */
void receive_repair(struct datagram *d, struct receive_transfer *t);
void receive_drop(struct datagram *d, struct receive_transfer *t);
/* Drops it and refuses its late fragments. */
void receive_give_up(struct datagram *d, struct receive_transfer *t);

#endif
