/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lib/tcp - Ethernet, ARP, IPv4, ICMP, UDP and TCP on raw frames; one instance per lcore.
 *
 * Pure: frames and `now_us` go in, frames come out through struct tcp_env, events go to the
 * struct tcp_handlers of the connection. No globals, no clock, no I/O, no allocation after
 * tcp_stack_new (connections, TIME_WAIT entries and hash table are sized by the limits; payload
 * sits in chunks of the buf_pool). One thread per instance.
 *
 * Time is microseconds on any monotonic scale the caller keeps to.
 * IPv4 addresses are host-order uint32_t; ports are host-order.
 *
 * Received payload: in-order bytes are offered straight from the frame by on_data; what the
 * handler does not consume is copied into the connection's receive queue (bounded; the advertised
 * window shrinks) and offered again after tcp_recv_resume. Out-of-order segments are kept, bounded.
 * Sent payload: tcp_send copies into chunks; tcp_send_chain takes a chain over; tcp_send_ref
 * sends from memory of the caller's until everything of it is acknowledged, then calls release.
 * Frames are built by copying from the queue, so a retransmission never touches a frame that
 * a driver still holds.
 *
 * doc: lib/tcp/rfc.md lists what is implemented of which RFC.
 */
#ifndef PROPHECY_TCP_H
#define PROPHECY_TCP_H

#include "wire/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TCP_FRAME_MAX_BYTES 1514u // Ethernet header + 1500; no frame built here is longer
#define TCP_INTERFACES_MAX 4u
#define TCP_MAC_BYTES 6u

struct tcp_stack;
struct tcp_conn;

/* Every reason for dropping something has a name: X(identifier, "name-in-metrics"). */
#define TCP_COUNTERS(X)                                                                            \
    X(FRAMES_IN, "frames_in")                                                                      \
    X(FRAMES_OUT, "frames_out")                                                                    \
    X(SEGMENTS_IN, "tcp_segments_in")                                                              \
    X(SEGMENTS_OUT, "tcp_segments_out")                                                            \
    X(CONNS_ACCEPTED, "tcp_accepted")                                                              \
    X(CONNS_OPENED, "tcp_opened")                                                                  \
    X(CONNS_CLOSED, "tcp_closed")                                                                  \
    X(RETRANSMITS, "tcp_retransmits")                                                              \
    X(RTO_EXPIRED, "tcp_rto_expired")                                                              \
    X(FAST_RETRANSMITS, "tcp_fast_retransmits")                                                    \
    X(OUT_OF_ORDER, "tcp_out_of_order")                                                            \
    X(TAIL_LOSS_PROBES, "tcp_tail_loss_probes")                                                    \
    X(DUPLICATE_SACKS, "tcp_duplicate_sacks")                                                      \
    X(CHALLENGE_ACKS, "tcp_challenge_acks")                                                        \
    X(RESETS_IN, "tcp_resets_in")                                                                  \
    X(RESETS_OUT, "tcp_resets_out")                                                                \
    X(SYN_COOKIES_SENT, "tcp_syn_cookies_sent")                                                    \
    X(SYN_COOKIES_ACCEPTED, "tcp_syn_cookies_accepted")                                            \
    X(ARP_IN, "arp_in")                                                                            \
    X(ICMP_ECHO, "icmp_echo")                                                                      \
    X(ICMP_TOO_BIG, "icmp_fragmentation_needed")                                                   \
    X(UDP_IN, "udp_in")                                                                            \
    X(DROP_SHORT, "drop_frame_short")                                                              \
    X(DROP_ETHERTYPE, "drop_ethertype")                                                            \
    X(DROP_NOT_FOR_US, "drop_not_for_us")                                                          \
    X(DROP_ARP, "drop_arp_malformed")                                                              \
    X(DROP_IP_HEADER, "drop_ip_header")                                                            \
    X(DROP_IP_CHECKSUM, "drop_ip_checksum")                                                        \
    X(DROP_IP_FRAGMENT, "drop_ip_fragment")                                                        \
    X(DROP_IP_PROTOCOL, "drop_ip_protocol")                                                        \
    X(DROP_SOURCE_SPOOFED, "drop_source_spoofed")                                                  \
    X(DROP_ICMP, "drop_icmp")                                                                      \
    X(DROP_UDP, "drop_udp")                                                                        \
    X(DROP_TCP_HEADER, "drop_tcp_header")                                                          \
    X(DROP_TCP_CHECKSUM, "drop_tcp_checksum")                                                      \
    X(DROP_TCP_NO_CONN, "drop_tcp_no_connection")                                                  \
    X(DROP_TCP_SEQUENCE, "drop_tcp_sequence")                                                      \
    X(DROP_TCP_WINDOW, "drop_tcp_beyond_window")                                                   \
    X(DROP_TCP_OOO_LIMIT, "drop_tcp_out_of_order_limit")                                           \
    X(DROP_TCP_NO_BUFFER, "drop_tcp_no_buffer")                                                    \
    X(DROP_TCP_CONN_LIMIT, "drop_tcp_connection_limit")                                            \
    X(DROP_TCP_SYN_LIMIT, "drop_tcp_half_open_limit")                                              \
    X(DROP_TCP_SACK, "drop_tcp_sack_block")                                                        \
    X(DROP_TCP_TIMESTAMP, "drop_tcp_timestamp")                                                    \
    X(DROP_TCP_SYN_COOKIE, "drop_tcp_syn_cookie")                                                  \
    X(DROP_TCP_SOURCE_LIMIT, "drop_tcp_source_limit")                                              \
    X(DROP_NO_FRAME, "drop_no_output_frame")                                                       \
    X(DROP_NO_ROUTE, "drop_no_neighbour")                                                          \
    X(DROP_NEIGH_QUEUE, "drop_neighbour_queue_full")

enum tcp_counter {
#define TCP_COUNTER_ID(id, name) TCP_##id,
    TCP_COUNTERS(TCP_COUNTER_ID)
#undef TCP_COUNTER_ID
        TCP_COUNTER_COUNT
};
extern const char *const tcp_counter_names[TCP_COUNTER_COUNT];

/* How frames leave. Both functions are called only from inside tcp_* calls. */
struct tcp_env {
    void *ctx;
    struct buf_pool *pool;
    /* An output frame with room for TCP_FRAME_MAX_BYTES at *data; NULL when there is none just now.
     */
    void *(*frame_get)(void *ctx, uint8_t **data);
    /* Takes the frame back, filled with len bytes, to be sent on interface ifindex. */
    void (*frame_send)(void *ctx, void *frame, unsigned int ifindex, uint16_t len);
    /* A UDP datagram for one of our addresses; payload is borrowed for the call. May be NULL. */
    void (*udp_input)(void *ctx, unsigned int ifindex, uint32_t src, uint16_t src_port,
                      uint32_t dst, uint16_t dst_port, const uint8_t *payload, size_t len);
};

struct tcp_interface {
    uint8_t mac[TCP_MAC_BYTES];
    uint32_t addr;           // own address
    uint8_t prefix_len;      // on-link prefix
    uint32_t gateway;        // 0: none
    uint16_t mtu_bytes;      // <= 1500
    uint32_t extra_addrs[4]; // further own addresses (the VIP), 0 = unused
};

enum tcp_congestion {
    TCP_CONGESTION_CUBIC,
    TCP_CONGESTION_NEWRENO,
};

struct tcp_limits {
    uint32_t conns_max;     // established and half-open together
    uint32_t half_open_max; // passive, in SYN-RECEIVED
    uint32_t time_wait_max; // entries; the oldest is recycled
    uint32_t
        send_queue_bytes; // tcp_send refuses beyond (chains and refs are the caller's to bound)
    uint32_t recv_window_bytes; // largest window advertised
    uint32_t ooo_bytes_max;     // out-of-order bytes kept per connection
    uint32_t rto_min_us;        // 200,000 by default
    uint32_t rto_max_us;
    uint32_t syn_retries; // then on_closed(TIMEOUT)
    uint32_t data_retries;
    uint32_t time_wait_us;
    uint32_t fin_wait_2_us;
    uint32_t delayed_ack_us;
    uint32_t conns_per_source_max; // accepted and not yet closed, per remote address; 0: no limit
    bool syn_cookies; // beyond half_open_max SYNs are answered without state, not dropped
    enum tcp_congestion congestion_accepted; // of connections that peers open: CUBIC by default
    enum tcp_congestion congestion_opened;   // ... that we open: NewReno by default
    bool timestamps;                         // offered and accepted (RFC 7323)
};
/* The defaults, to be changed member by member. */
void tcp_limits_default(struct tcp_limits *limits);

enum tcp_close_reason {
    TCP_CLOSED_NORMALLY, // both FINs seen and ours acknowledged (or TIME_WAIT entered)
    TCP_CLOSED_RESET,    // RST from the peer
    TCP_CLOSED_REFUSED,  // RST to our SYN
    TCP_CLOSED_TIMEOUT,  // retries used up
    TCP_CLOSED_ABORTED,  // tcp_abort by the owner
};

/*
 * Events of a connection. `user` is what tcp_conn_set_user stored. After on_closed the conn is
 * gone: it is the last event of every connection, also of one the owner aborted. Handlers may call
 * any tcp_conn function on any connection of the stack, tcp_abort of the connection at hand
 * included.
 */
struct tcp_handlers {
    void (*on_established)(struct tcp_conn *c, void *user); // active opens only
    /* In-order payload; returns the bytes consumed (<= len). */
    size_t (*on_data)(struct tcp_conn *c, void *user, const uint8_t *data, size_t len);
    void (*on_fin)(struct tcp_conn *c,
                   void *user); // the peer will send no more; once, after all data
    void (*on_writable)(struct tcp_conn *c,
                        void *user);                 // send queue fell below half after a refusal
    void (*on_sent)(struct tcp_conn *c, void *user); // everything queued is acknowledged
    void (*on_closed)(struct tcp_conn *c, void *user, enum tcp_close_reason why);
};

struct tcp_listener {
    uint32_t addr; // 0: any own address
    uint16_t port;
    /*
     * A handshake is complete. Returns the handlers of the new connection (and may set its user),
     * or NULL to refuse it with RST.
     */
    const struct tcp_handlers *(*on_accept)(void *ctx, struct tcp_conn *c);
    void *ctx;
};

/* secret: 16 random bytes for initial sequence numbers (RFC 6528) and hash tables. NULL: no memory.
 */
struct tcp_stack *tcp_stack_new(const struct tcp_env *env, const struct tcp_limits *limits,
                                const uint8_t secret[16]);
/* Frees without sending anything; every on_closed(ABORTED) is called. */
void tcp_stack_free(struct tcp_stack *s);
/* Returns the ifindex (0, 1, ...) or -1 when there are too many. */
int tcp_stack_add_interface(struct tcp_stack *s, const struct tcp_interface *iface);
int tcp_stack_listen(struct tcp_stack *s, const struct tcp_listener *l); // -1: too many (4)

/* A frame from the wire, borrowed for the call. */
void tcp_stack_input(struct tcp_stack *s, unsigned int ifindex, const uint8_t *frame, size_t len,
                     uint64_t now_us);
/* Runs what is due. Call often; cheap when nothing is due. */
void tcp_stack_timers(struct tcp_stack *s, uint64_t now_us);
/* Sends delayed output (ACKs that found nothing to ride on, segments held for coalescing): call
 * once per burst after the last tcp_stack_input. */
void tcp_stack_flush(struct tcp_stack *s, uint64_t now_us);
uint64_t tcp_stack_next_deadline(const struct tcp_stack *s); // UINT64_MAX: none
void tcp_stack_counters(const struct tcp_stack *s, uint64_t out[TCP_COUNTER_COUNT]);
/* In use now: connections, TIME_WAIT entries. */
uint32_t tcp_stack_conns(const struct tcp_stack *s);
uint32_t tcp_stack_time_waits(const struct tcp_stack *s);
/* sizeof one connection, for the documentation and the limit of 2 KiB per idle client. */
size_t tcp_conn_bytes(void);

/* Active open; events follow. src_port is the caller's choice (it names the owner, design.md §6).
 * NULL: no room, or the four-tuple is in use (TIME_WAIT included). */
struct tcp_conn *tcp_connect(struct tcp_stack *s, uint32_t src, uint16_t src_port, uint32_t dst,
                             uint16_t dst_port, const struct tcp_handlers *h, void *user,
                             uint64_t now_us);
void tcp_conn_set_user(struct tcp_conn *c, void *user);
void tcp_conn_peer(const struct tcp_conn *c, uint32_t *addr, uint16_t *port);
void tcp_conn_local(const struct tcp_conn *c, uint32_t *addr, uint16_t *port);

/*
 * What the three calls queue, and the FIN of tcp_close, leaves at the next tcp_stack_flush at the
 * latest, so that head and body of a response share segments and carry the acknowledgement. After
 * tcp_close they refuse.
 */
/* Queues a copy; returns the bytes taken (0 when the queue is full: on_writable will follow). */
size_t tcp_send(struct tcp_conn *c, const void *data, size_t len);
/* Queues the whole chain and owns it from now on; never refuses (see limits). */
void tcp_send_chain(struct tcp_conn *c, struct buf_chain *chain);
/* Queues len bytes at data without a copy; release(arg) is called exactly once: when all is
 * acknowledged or the connection ends. False (and nothing queued, release not called) when no
 * descriptor is left. */
bool tcp_send_ref(struct tcp_conn *c, const uint8_t *data, size_t len, void (*release)(void *arg),
                  void *arg);
size_t tcp_send_queued(const struct tcp_conn *c); // bytes not yet acknowledged
/* Offers what the receive queue holds again (on_data is called from inside). */
void tcp_recv_resume(struct tcp_conn *c);
/* FIN after everything queued. Received data is still delivered until on_fin. With linger the
 * data is discarded and acknowledged instead, so that no RST destroys the response on its way;
 * on_data and on_fin are not called any more. A connection that is not open yet ends at once
 * (on_closed(ABORTED)). */
void tcp_close(struct tcp_conn *c, bool linger);
void tcp_abort(struct tcp_conn *c); // RST; on_closed(ABORTED) is called before this returns

/* UDP from one of our addresses, resolved through ARP like everything else; false when it could not
 * be sent or queued (counted). len <= mtu - 28. */
bool tcp_udp_send(struct tcp_stack *s, uint32_t src, uint16_t src_port, uint32_t dst,
                  uint16_t dst_port, const uint8_t *payload, size_t len, uint64_t now_us);
/* Gratuitous ARP for every own address. */
void tcp_announce(struct tcp_stack *s, uint64_t now_us);
/* Frames on any interface with this source address are dropped unless they come in on ifindex:
 * keeps clients from forging replicas (design.md §2). Up to 64 addresses; false when full. */
bool tcp_stack_pin_source(struct tcp_stack *s, uint32_t addr, unsigned int ifindex);
/* Where every ARP frame is given to several instances, only one should answer requests. Default:
 * true. */
void tcp_stack_set_arp_responder(struct tcp_stack *s, bool on);
/* A fixed neighbour, never changed by ARP. */
bool tcp_stack_pin_neighbour(struct tcp_stack *s, unsigned int ifindex, uint32_t addr,
                             const uint8_t mac[TCP_MAC_BYTES]);

/* ---- classification for the shell, stateless ---- */
enum tcp_class {
    TCP_CLASS_TCP,
    TCP_CLASS_UDP,
    TCP_CLASS_ARP,
    TCP_CLASS_OTHER,
};
struct tcp_tuple {
    uint32_t src, dst;
    uint16_t src_port, dst_port;
};
/* Looks just far enough into a frame to say who should get it; never trusts a length. */
enum tcp_class tcp_classify(const uint8_t *frame, size_t len, struct tcp_tuple *tuple);
/* Symmetric in nothing; equal for equal tuples on every lcore. */
uint32_t tcp_tuple_hash(const struct tcp_tuple *t);

#endif
