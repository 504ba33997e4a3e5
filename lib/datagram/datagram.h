/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lib/datagram - authenticated messages of any size over UDP datagrams.
 *
 * A message of up to message_max_bytes goes to one peer in fragments of at most
 * DATAGRAM_PAYLOAD_MAX bytes, never in IP fragments. Every datagram carries a MAC under the pair's
 * directed key, the sender's epoch (its life) and a counter, so that forged, misdirected,
 * reflected, replayed and old ones are dropped, each under a named counter. A message of one
 * fragment is fire and forget: the agreement protocol retransmits. A larger one is pulled by its
 * receiver: the sender starts with initial_fragments, the receiver grants further ones as they
 * arrive (never more than window_fragments beyond what it holds) and names the missing ones after a
 * time-out; a finished or refused one is acknowledged so that the sender can forget it.
 *
 * What is not promised: order between messages, and delivery after a restart of either side. A
 * receiver that has restarted knows neither epoch nor counter of its peers, so datagrams recorded
 * before may be accepted once more by its new life: the protocol above must bear that.
 *
 * Pure: datagrams and now_us in; emit and deliver callbacks out. One thread per instance. Memory
 * for messages comes from malloc, within the limits below; nothing is allocated for a datagram that
 * is not authenticated.
 */
#ifndef PROPHECY_DATAGRAM_H
#define PROPHECY_DATAGRAM_H

#include "crypto/crypto.h"
#include "wire/wire.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DATAGRAM_MAX_BYTES 1472u // 1500 - IPv4 - UDP
#define DATAGRAM_PEERS_MAX 128u
#define DATAGRAM_SINGLE_MAX_BYTES 1428u         // the largest message that goes in one datagram
#define DATAGRAM_PAYLOAD_MAX 1412u              // bytes of a larger one in each of its fragments
#define DATAGRAM_MESSAGE_LIMIT_BYTES (1u << 30) // message_max_bytes is at most this

/*
 * A principal is a replica (0..n-1) or a client; an endpoint is one of its lcores or sockets.
 * Peers are (principal, endpoint).
 */
struct datagram_address {
    uint16_t principal;
    uint16_t endpoint;
};

#define DATAGRAM_COUNTERS(X)                                                                       \
    X(SENT, "datagrams_out")                                                                       \
    X(RECEIVED, "datagrams_in")                                                                    \
    X(MESSAGES_SENT, "messages_out")                                                               \
    X(MESSAGES_DELIVERED, "messages_in")                                                           \
    X(RESENT, "fragments_resent")                                                                  \
    X(DROP_SHORT, "drop_datagram_short")                                                           \
    X(DROP_MAGIC, "drop_datagram_magic")                                                           \
    X(DROP_DESTINATION, "drop_datagram_not_for_us")                                                \
    X(DROP_PEER, "drop_datagram_unknown_peer")                                                     \
    X(DROP_MAC, "drop_datagram_bad_mac")                                                           \
    X(DROP_EPOCH, "drop_datagram_old_epoch")                                                       \
    X(DROP_REPLAY, "drop_datagram_replayed")                                                       \
    X(DROP_MALFORMED, "drop_datagram_malformed")                                                   \
    X(DROP_TOO_LARGE, "drop_message_too_large")                                                    \
    X(DROP_REASSEMBLY_LIMIT, "drop_reassembly_limit")                                              \
    X(DROP_REASSEMBLY_TIMEOUT, "drop_reassembly_timeout")                                          \
    X(DROP_SEND_LIMIT, "drop_send_limit")                                                          \
    X(DROP_SEND_TIMEOUT, "drop_send_timeout")                                                      \
    X(DROP_DUPLICATE, "drop_fragment_duplicate")                                                   \
    X(DROP_REASSEMBLY_EPOCH, "drop_reassembly_peer_restarted")                                     \
    X(DROP_REFUSED, "drop_message_refused_by_peer")

enum datagram_counter {
#define DATAGRAM_COUNTER_ID(id, name) DATAGRAM_##id,
    DATAGRAM_COUNTERS(DATAGRAM_COUNTER_ID)
#undef DATAGRAM_COUNTER_ID
        DATAGRAM_COUNTER_COUNT
};
extern const char *const datagram_counter_names[DATAGRAM_COUNTER_COUNT];

/*
 * Memory. A transfer is charged datagram_transfer_bytes of its length or a little less: to its
 * peer, and to the instance (a message shared by datagram_send_many: in full to each peer, once to
 * the instance). One peer is charged at most max(limit / peers,
 * datagram_transfer_bytes(message_max_bytes)), the instance at most the limit; this holds for
 * reassembly_max_bytes and send_max_bytes alike. So when limit >= peers *
 * datagram_transfer_bytes(message_max_bytes) each peer can always have one message of maximum size,
 * whatever the others do. With a smaller limit the first come are served: a message that finds no
 * room is not refused but ignored (counted), and its sender's nudges try again until give_up_us.
 * Peers are added before traffic; a later one shrinks the shares of the others from then on.
 */
struct datagram_config {
    struct datagram_address self;
    uint64_t epoch; // of this life of the process: larger than in any earlier one
    size_t message_max_bytes;
    size_t
        reassembly_max_bytes; // over all peers; each peer at most its share, but always one message
    size_t send_max_bytes;    // large messages being sent, over all peers
    uint32_t initial_fragments; // sent before the first grant; alike on both sides
    uint32_t window_fragments;  // alike on both sides, for speed
    uint32_t retry_us;   // silence of a transfer before it is nudged; then at growing intervals
    uint32_t give_up_us; // a transfer that does not gain a quarter of a window in it is dropped
};
/* Everything but self and epoch. */
void datagram_config_default(struct datagram_config *cfg);
/* The most that a message of this size is charged while it is sent or received. */
size_t datagram_transfer_bytes(size_t message_bytes);

struct datagram_env {
    void *ctx;
    /* One UDP payload for a peer; borrowed for the call. */
    void (*emit)(void *ctx, struct datagram_address to, const uint8_t *data, size_t len);
    /* A whole, authenticated message; borrowed for the call. The callee may call datagram_send. */
    void (*deliver)(void *ctx, struct datagram_address from, const uint8_t *message, size_t len);
};

struct datagram;
/* NULL: no memory, or a configuration with a zero fragment count, retry_us of 0 or above
 * give_up_us, or message_max_bytes above DATAGRAM_MESSAGE_LIMIT_BYTES. */
struct datagram *datagram_new(const struct datagram_config *cfg, const struct datagram_env *env);
void datagram_free(struct datagram *d);
/* key: the pair's secret; directed keys are derived from it (crypto_kdf). False: too many peers, a
 * second time, ourselves, or no memory. */
bool datagram_add_peer(struct datagram *d, struct datagram_address peer,
                       const uint8_t key[CRYPTO_KEY_BYTES]);
/* Emits before it returns; no other callback. Borrows message for the call (a large one is copied
 * once, and shared by datagram_send_many). False when a limit refused it or the peer is unknown
 * (counted); send_many: for at least one peer. */
bool datagram_send(struct datagram *d, struct datagram_address to, const uint8_t *message,
                   size_t len, uint64_t now_us);
bool datagram_send_many(struct datagram *d, const struct datagram_address *to, uint32_t count,
                        const uint8_t *message, size_t len, uint64_t now_us);
/* A UDP payload from the network; whoever it says it is from is checked by the MAC, never by its
 * address. */
void datagram_input(struct datagram *d, const uint8_t *data, size_t len, uint64_t now_us);
void datagram_timers(struct datagram *d, uint64_t now_us);
uint64_t datagram_next_deadline(const struct datagram *d); // UINT64_MAX: none
void datagram_counters(const struct datagram *d, uint64_t out[DATAGRAM_COUNTER_COUNT]);
/* Bytes held for reassembly and for sending: zero when idle. */
size_t datagram_bytes_held(const struct datagram *d);

#endif
