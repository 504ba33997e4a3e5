/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the files of lib/tcp share: the instance, the connection, and the functions by which one RFC
 * concern calls another.
 *
 * Reentrancy: a handler may end any connection at any moment. So a connection that ended keeps its
 * memory (state TCP_STATE_CLOSED) until the outermost call into the library returns
 * (stack_enter/leave), and whoever has called a handler looks at conn->state before touching the
 * connection further.
 */
#ifndef PROPHECY_TCP_INTERNAL_H
#define PROPHECY_TCP_INTERNAL_H

#include "tcp/sendq.h"
#include "tcp/tcp.h"
#include "tcp/timer_wheel.h"

#include <assert.h>
#include <string.h>

#define ETHER_HEADER_BYTES 14u
#define ETHERTYPE_IPV4 0x0800u
#define ETHERTYPE_ARP 0x0806u
#define IP_HEADER_BYTES 20u
#define IP_PROTOCOL_ICMP 1u
#define IP_PROTOCOL_TCP 6u
#define IP_PROTOCOL_UDP 17u
#define UDP_HEADER_BYTES 8u
#define TCP_HEADER_BYTES 20u
#define TCP_PAYLOAD_OFFSET (ETHER_HEADER_BYTES + IP_HEADER_BYTES + TCP_HEADER_BYTES)

#define LISTENERS_MAX 4u
#define PINNED_SOURCES_MAX 64u
#define EXTRA_ADDRS 4u
#define SEND_NUDGE_US 10000u
#define SENDQ_BYTES_MAX (1u << 30) // sequence numbers of one queue stay comparable
#define NO_INDEX UINT32_MAX
#define NEVER UINT64_MAX

static_assert(BUF_DATA_BYTES >= TCP_FRAME_MAX_BYTES, "a frame that waits for ARP fits a chunk");

/* ---- sequence arithmetic, RFC 9293 3.4 ---- */
static inline bool seq_lt(uint32_t a, uint32_t b) {
    return (int32_t)(a - b) < 0;
}
static inline bool seq_leq(uint32_t a, uint32_t b) {
    return (int32_t)(a - b) <= 0;
}
static inline bool seq_gt(uint32_t a, uint32_t b) {
    return (int32_t)(a - b) > 0;
}
static inline bool seq_geq(uint32_t a, uint32_t b) {
    return (int32_t)(a - b) >= 0;
}
static inline uint32_t min_u32(uint32_t a, uint32_t b) {
    return a < b ? a : b;
}
static inline uint32_t max_u32(uint32_t a, uint32_t b) {
    return a > b ? a : b;
}

/* ---- connection ---- */
enum tcp_state { // RFC 9293 3.3.2; LISTEN is struct tcp_listener
    TCP_STATE_CLOSED,
    TCP_STATE_SYN_SENT,
    TCP_STATE_SYN_RECEIVED,
    TCP_STATE_ESTABLISHED,
    TCP_STATE_FIN_WAIT_1,
    TCP_STATE_FIN_WAIT_2,
    TCP_STATE_CLOSE_WAIT,
    TCP_STATE_CLOSING,
    TCP_STATE_LAST_ACK,
    TCP_STATE_TIME_WAIT, // only while the owner has not taken all data; then a struct time_wait
};

enum tcp_flag { // of the TCP header
    TCP_FIN = 0x01,
    TCP_SYN = 0x02,
    TCP_RST = 0x04,
    TCP_PSH = 0x08,
    TCP_ACK = 0x10,
};

enum conn_flag {
    CONN_ACTIVE = 1u << 0,     // opened by tcp_connect
    CONN_ACK_DUE = 1u << 1,    // received data not acknowledged yet; may be delayed
    CONN_ACK_NOW = 1u << 2,    // ... may not be delayed beyond the next flush
    CONN_FIN_QUEUED = 1u << 3, // the owner closed
    CONN_FIN_ACKED = 1u << 4,  // the peer has our FIN
    CONN_FIN_RECEIVED = 1u << 5,
    CONN_FIN_TOLD = 1u << 6,    // on_fin was called
    CONN_LINGER = 1u << 7,      // received data is discarded
    CONN_PERSIST = 1u << 8,     // the retransmission timer runs for a zero-window probe
    CONN_REFUSED = 1u << 9,     // on_writable is owed
    CONN_DELIVERING = 1u << 10, // inside on_data
    CONN_RESUME = 1u << 11,     // tcp_recv_resume was called inside on_data
    CONN_TIMING = 1u << 12,     // one segment is being timed (Karn: never a retransmitted one)
    CONN_RECOVERY = 1u << 13,   // fast recovery, RFC 6582
    CONN_OOO_FIN = 1u << 14,    // the FIN came out of order, at ooo_fin_seq
    CONN_SYN_REPEATED = 1u << 15,
    CONN_RTT_KNOWN = 1u << 16,
    CONN_SCALES = 1u << 17,         // both sides sent the window scale option
    CONN_SACK = 1u << 18,           // both sides permit SACK (RFC 2018)
    CONN_LOSS = 1u << 19,           // a time-out's losses are being repaired by the scoreboard
    CONN_REORDERED = 1u << 20,      // reordering was seen (RFC 8985 6.2, step 3)
    CONN_PROBED = 1u << 21,         // a tail loss probe is out, up to probe_end
    CONN_PROBE_REPEATED = 1u << 22, // ... and was a retransmission
    CONN_SOURCE_COUNTED = 1u << 24,
    CONN_CUBIC = 1u << 25,       // else NewReno
    CONN_CUBIC_EPOCH = 1u << 26, // a stage of congestion avoidance is under way
    CONN_TIMESTAMPS = 1u << 23,  // both sides sent the option
};

enum conn_deadline {
    DEADLINE_RETRANSMIT, // or persist
    DEADLINE_DELAYED_ACK,
    DEADLINE_LIFE,  // FIN-WAIT-2, or data that the owner does not take
    DEADLINE_NUDGE, // on_writable, when no acknowledgement can cause it
    DEADLINE_LOSS,  // reordering has had its time, or the tail loss probe (RFC 8985 6.3, 7.2)
    DEADLINE_COUNT
};

struct seq_range { // [start, end) of sequence numbers; empty when equal
    uint32_t start, end;
};
#define SACK_RECENT 3u

struct cubic {                // RFC 9438 4.1.2; windows in bytes
    uint32_t max_window;      // W_max
    uint32_t prior_window;    // cwnd_prior
    uint32_t friendly_window; // W_est
    uint32_t k_ms;
    uint32_t epoch_ms; // begin of this stage, by the clock of timestamps
};

struct out_of_order { // chunks in order of sequence; buf.tag is the sequence number of the first
                      // byte
    struct buf *head;
    struct buf *tail;
    uint32_t chunks;
};

/* What an arriving segment touches first comes first. */
struct tcp_conn {
    uint32_t local_addr, remote_addr;
    uint16_t local_port, remote_port;
    uint32_t hash_next; // index of the next connection in the bucket
    uint8_t state;
    uint8_t ifindex;
    uint8_t snd_scale, rcv_scale;
    uint32_t flags;
    uint32_t rcv_nxt;
    uint32_t rcv_adv;      // right edge of the window that we advertised; never moves left
    uint32_t rcv_acked;    // rcv_nxt when we last sent an acknowledgement
    uint16_t rcv_seg_size; // the largest segment seen: two of these make an acknowledgement due
    uint16_t mss;          // payload bytes of our largest segment
    uint32_t snd_una, snd_nxt;
    uint32_t snd_max; // one beyond the highest sequence number ever sent
    uint32_t snd_wnd, snd_wl1, snd_wl2;
    uint32_t max_wnd; // largest window that the peer ever offered

    const struct tcp_handlers *handlers; // NULL until accepted
    void *user;
    struct tcp_stack *stack;
    struct sendq sendq;

    uint32_t cwnd, ssthresh;
    uint32_t recover;     // RFC 6582: the highest sequence number sent when the loss was noticed
    uint32_t cwnd_credit; // acknowledged bytes not yet turned into growth of cwnd
    uint8_t dup_acks;
    uint8_t retries; // time-outs since the last progress
    uint8_t backoff; // doublings of rto_us
    uint8_t challenges;
    uint32_t challenge_epoch;
    uint32_t rto_us, srtt_us8, rttvar_us4; // scaled by 8 and 4
    uint32_t timed_seq, timed_at_us;
    uint32_t sent_at_us; // of the last data segment, modulo 2^32
    uint32_t next_hop;
    uint32_t neighbour; // where next_hop was found last

    struct timer timer; // the earliest of the deadlines, or earlier
    uint64_t deadlines_us[DEADLINE_COUNT];
    struct tcp_conn *output_prev,
        *output_next; // listed for the next flush when output_prev != NULL
    struct buf_chain recvq;
    struct out_of_order ooo;
    uint32_t ooo_fin_seq;
    uint8_t listener;

    uint8_t reorder_scale; // of the reordering window, in quarters of the RTT
    uint8_t reorder_keep;  // recoveries until it is 1 again
    uint32_t min_rtt_us;   // 0: not known
    struct cubic cubic;
    uint32_t ts_offset; // of our clock (RFC 7323 5.4)
    uint32_t ts_recent; // the peer's clock, and when we took it (2^20 us)
    uint32_t ts_recent_at;
    uint32_t probe_end;                // snd_max after the tail loss probe
    struct buf *board;                 // struct scoreboard; NULL: no loss or reordering is known
    struct seq_range duplicate;        // arrived twice, to be told (RFC 2883)
    uint32_t sack_recent[SACK_RECENT]; // latest first, a number in each island told last
};
static_assert(sizeof(struct tcp_conn) < 504, "an idle connection stays below 512 bytes");

/* ---- the sender's scoreboard (tcp_sack.c, tcp_rack.c) ---- */
enum range_flag {
    RANGE_SACKED = 1,
    RANGE_LOST = 2,
    RANGE_RESENT = 4,
};
struct sent_range {
    uint32_t start, end;
    uint32_t sent_us; // last transmission, modulo 2^32
    uint32_t flags;
};
#define BOARD_RANGES_MAX 122u
#define BOARD_RANGES_SACK (BOARD_RANGES_MAX - 8u) // the last ones are for what we send
/* Everything from snd_una to snd_max, in order, without gaps; in a chunk of its own that is only
 * held while something is missing. */
struct scoreboard {
    uint32_t count;
    uint32_t pipe;      // bytes that are thought to be on their way (RFC 6675)
    uint32_t delivered; // by the acknowledgement at hand (RFC 6937)
    uint32_t rack_sent_us, rack_end, rack_rtt_us; // RFC 8985 5.2
    bool rack_valid;
    uint32_t fack, fack_before; // highest number known to be delivered
    uint32_t prr_delivered, prr_out, recover_flight;
    struct sent_range ranges[BOARD_RANGES_MAX];
};
static_assert(sizeof(struct scoreboard) <= BUF_DATA_BYTES, "the scoreboard is one chunk");
static inline struct scoreboard *board_of(const struct tcp_conn *c) {
    return (struct scoreboard *)(void *)c->board->data;
}

/* A connection in TIME-WAIT has nothing left but what answers a stray segment. */
struct time_wait {
    uint32_t local_addr, remote_addr;
    uint16_t local_port, remote_port;
    uint32_t snd_nxt, rcv_nxt;
    uint16_t window;
    uint8_t ifindex;
    bool timestamps;
    uint32_t ts_recent;
    uint32_t hash_next;
    uint32_t prev, next; // in order of expiry
    uint64_t expires_us;
};

/* ---- neighbours ---- */
enum neighbour_state {
    NEIGHBOUR_FREE,
    NEIGHBOUR_INCOMPLETE, // being asked for; frames wait
    NEIGHBOUR_REACHABLE,
    NEIGHBOUR_PROBE, // aged; used while it is being verified
    NEIGHBOUR_PINNED,
};

struct neighbour {
    struct timer timer; // first, and the connections' timers are told from these by address
    uint32_t addr;
    uint32_t hash_next;
    uint8_t mac[TCP_MAC_BYTES];
    uint8_t ifindex;
    uint8_t state;
    uint8_t tries;
    uint8_t queued;
    bool used; // since the replacement clock's hand passed
    uint64_t confirmed_us;
    struct buf *queue_head, *queue_tail; // whole frames but for the destination
};

/* ---- instance ---- */
struct hash_key {
    uint64_t k0, k1;
};

struct stack_interface {
    struct tcp_interface cfg;
    uint32_t mask;
};

/* How many accepted connections a remote address has; count 0: a free place. */
struct source {
    uint32_t addr;
    uint32_t count;
};

struct tcp_stack {
    struct tcp_env env;
    struct tcp_limits limits;
    uint64_t now_us;
    uint64_t counters[TCP_COUNTER_COUNT];
    struct stack_interface ifaces[TCP_INTERFACES_MAX];
    uint32_t iface_count;
    struct tcp_listener listeners[LISTENERS_MAX];
    uint32_t listener_count;
    uint32_t depth; // of calls into the library
    bool started;   // the wheel knows the time
    bool dying;     // tcp_stack_free is at work: nothing is sent or opened
    bool arp_responder;
    uint8_t recv_scale; // window scale that we offer
    uint16_t ip_id;

    struct hash_key table_key, isn_key, timestamp_key, cookie_key;
    struct tcp_conn *conns;
    uint32_t *conn_buckets;
    uint32_t conn_mask;
    uint32_t conns_used_ever; // those beyond have never been touched
    uint32_t conn_count;
    uint32_t half_open;
    uint64_t cookies_until_us; // acknowledgements may carry cookies until then
    struct source *sources;    // NULL: no limit per source
    uint32_t source_mask;
    struct tcp_conn *conns_free;
    struct tcp_conn *conns_ended; // become free when the outermost call returns
    struct tcp_conn *output_head; // sentinel-less list; see conn_list_output
    struct tcp_conn *output_tail;

    struct time_wait *time_waits;
    uint32_t *time_wait_buckets;
    uint32_t time_wait_mask;
    uint32_t time_wait_used_ever;
    uint32_t time_wait_count;
    uint32_t time_wait_free;
    uint32_t time_wait_oldest, time_wait_newest;

    struct neighbour *neighbours;
    uint32_t *neighbour_buckets;
    uint32_t neighbour_used_ever;
    uint32_t neighbour_free;
    uint32_t neighbour_hand;
    uint32_t neighbour_incomplete;
    uint32_t neighbour_queued; // frames that wait, all together

    struct send_ref_pool refs;
    struct timer_wheel wheel;

    struct {
        uint32_t addr;
        uint32_t ifindex;
    } pinned_sources[PINNED_SOURCES_MAX];
    uint32_t pinned_source_count;
    uint64_t pinned_source_filter; // one bit per hash of a pinned address
};

static inline void count(struct tcp_stack *s, enum tcp_counter id) {
    s->counters[id]++;
}

/* stack.c */
void stack_enter(struct tcp_stack *s);
void stack_leave(struct tcp_stack *s);
void stack_set_now(struct tcp_stack *s, uint64_t now_us);
/* The address is one of the interface's own. */
bool iface_owns(const struct tcp_stack *s, unsigned int ifindex, uint32_t addr);
/* The interface that owns addr; -1 when none does. */
int iface_of_addr(const struct tcp_stack *s, uint32_t addr);

/* siphash.c */
uint64_t siphash(const struct hash_key *key, const uint64_t *words, unsigned int count,
                 unsigned int compress_rounds, unsigned int final_rounds);
/* isn.c */
uint32_t isn_choose(const struct tcp_stack *s, uint32_t local_addr, uint16_t local_port,
                    uint32_t remote_addr, uint16_t remote_port);
uint32_t timestamp_offset(const struct tcp_stack *s, uint32_t local_addr, uint16_t local_port,
                          uint32_t remote_addr, uint16_t remote_port);
/* Our clock without its offset. */
static inline uint32_t timestamp_clock(const struct tcp_stack *s) {
    return (uint32_t)(s->now_us / 1000);
}
/* The hash of a connection or TIME-WAIT entry in the tables. */
uint32_t table_hash(const struct tcp_stack *s, uint32_t local_addr, uint16_t local_port,
                    uint32_t remote_addr, uint16_t remote_port);

/* ---- output of frames (ethernet.c) ---- */
struct tx {
    uint8_t *data;    // the frame, Ethernet header first; NULL: nothing can be written
    void *frame;      // the environment's frame, or NULL when the neighbour is not known yet:
    struct buf *held; // then it waits in this chunk
    struct neighbour *neighbour;
    unsigned int ifindex;
};
enum tx_result {
    TX_READY,
    TX_NO_FRAME, // none just now: try again at the next flush
    TX_LOST,     // no neighbour, no room in its queue: as if lost on the way
};
/* Finds a frame or a place to wait for next_hop. hint is where the neighbour was found last (may be
 * NULL). */
enum tx_result tx_begin(struct tcp_stack *s, unsigned int ifindex, uint32_t next_hop,
                        uint32_t *hint, struct tx *tx);
/* Sends or parks the frame of len bytes whose IP packet the caller has written behind the Ethernet
 * header. */
void tx_finish(struct tcp_stack *s, struct tx *tx, uint16_t len);
void ethernet_write_header(uint8_t *frame, const uint8_t dst[TCP_MAC_BYTES],
                           const uint8_t src[TCP_MAC_BYTES], uint16_t ethertype);

/* ---- arp.c ---- */
bool neighbours_init(struct tcp_stack *s);
void neighbours_free(struct tcp_stack *s);
void arp_input(struct tcp_stack *s, unsigned int ifindex, const uint8_t *p, size_t len);
/* The entry of next_hop, made and asked for when there is none; NULL (counted) when there is no
 * room. */
struct neighbour *neighbour_resolve(struct tcp_stack *s, unsigned int ifindex, uint32_t next_hop,
                                    uint32_t *hint);
bool neighbour_usable(const struct neighbour *n);
/* Parks a frame until the neighbour is known; room was checked by neighbour_has_room. */
bool neighbour_has_room(const struct tcp_stack *s, const struct neighbour *n);
void neighbour_park(struct tcp_stack *s, struct neighbour *n, struct buf *b);
void neighbour_timer(struct tcp_stack *s, struct neighbour *n);

/* ---- ip.c ---- */
struct route {
    unsigned int ifindex;
    uint32_t next_hop;
};
/* The way from one of our addresses to dst (strong end system model, RFC 1122 3.3.4.2). */
bool ip_route(const struct tcp_stack *s, unsigned int ifindex, uint32_t dst, struct route *route);
void ip_input(struct tcp_stack *s, unsigned int ifindex, const uint8_t *p, size_t len);
void ip_write_header(struct tcp_stack *s, uint8_t *p, uint32_t src, uint32_t dst, uint8_t protocol,
                     uint16_t payload_bytes, bool dont_fragment);
/* Unicast addresses that may be a peer's. */
bool ip_is_unicast(uint32_t addr);

/* ---- icmp.c, udp.c: p is the payload of an intact packet for one of our addresses ---- */
void icmp_input(struct tcp_stack *s, unsigned int ifindex, uint32_t src, uint32_t dst,
                const uint8_t *p, size_t len);
void udp_input(struct tcp_stack *s, unsigned int ifindex, uint32_t src, uint32_t dst,
               const uint8_t *p, size_t len);

/* ---- TCP: segments ---- */
#define SACK_BLOCKS_MAX 4u
struct tcp_options {
    uint16_t mss; // 0: not given
    uint8_t scale;
    bool has_scale;
    bool sack_permitted;
    bool has_timestamps;
    uint32_t ts_value, ts_echo;
    uint8_t sack_count;
    struct seq_range sack[SACK_BLOCKS_MAX];
};

struct segment {
    uint32_t remote_addr, local_addr;
    uint16_t remote_port, local_port;
    uint32_t seq, ack;
    uint8_t flags;
    uint8_t option_bytes;
    uint16_t window; // as on the wire
    uint32_t len;    // payload bytes
    const uint8_t *options;
    const uint8_t *payload;
    unsigned int ifindex;
    struct tcp_options parsed; // of segments of a connection
};
static inline uint32_t segment_span(const struct segment *seg) // SEG.LEN of RFC 9293
{
    return seg->len + ((seg->flags & TCP_SYN) != 0) + ((seg->flags & TCP_FIN) != 0);
}

/* tcp_input.c */
void tcp_input(struct tcp_stack *s, unsigned int ifindex, uint32_t src, uint32_t dst,
               const uint8_t *p, size_t len);
/* tcp_listen.c: a segment for which there is no connection; min_isn is NULL or the sequence number
 * that a former connection of the tuple ended with. */
void conn_segment(struct tcp_conn *c, struct segment *seg);
void listen_input(struct tcp_stack *s, const struct segment *seg, const uint32_t *min_isn);
/* Tells the listener; false: the connection is gone. */
bool listen_accept(struct tcp_conn *c);

/* tcp_cookie.c */
void cookie_send(struct tcp_stack *s, const struct segment *seg, const struct tcp_options *o);
/* An acknowledgement without a connection, for a listener. True when it carried a cookie of ours
 * and needs no other answer. */
bool cookie_input(struct tcp_stack *s, int listener, const struct segment *seg);

/* tcp_source.c */
bool sources_init(struct tcp_stack *s);
/* The address may have one more. */
bool source_has_room(const struct tcp_stack *s, uint32_t addr);
void source_add(struct tcp_conn *c);
void source_remove(struct tcp_conn *c);

/* tcp_options.c */
#define TCP_OPTION_BYTES_MAX 40u
#define TIMESTAMP_BYTES 12u // with the padding of RFC 7323 appendix A
void tcp_options_write_timestamps(uint8_t *p, uint32_t value, uint32_t echo);
/* False when the options are malformed. */
bool tcp_options_parse(const uint8_t *p, size_t len, struct tcp_options *o);
/* Those of a SYN or SYN-ACK: all that o holds. */
size_t tcp_options_write_syn(uint8_t *p, const struct tcp_options *o);
/* Those of any other segment; SACK blocks only as far as room allows. */
size_t tcp_options_write(struct tcp_conn *c, uint8_t *p, uint32_t room);
/* Takes over what a SYN or SYN-ACK says. */
void tcp_options_apply(struct tcp_conn *c, const struct tcp_options *o);

/* tcp_conn.c: the table and the life of a connection */
struct tcp_conn *conn_lookup(const struct tcp_stack *s, const struct segment *seg);
/* A connection in the table, its timers off, with room; NULL when conns_max is reached. */
struct tcp_conn *conn_new(struct tcp_stack *s, unsigned int ifindex, uint32_t next_hop,
                          uint32_t local_addr, uint16_t local_port, uint32_t remote_addr,
                          uint16_t remote_port);
/* The end: out of the table, everything queued released, on_closed called. The memory stays for
 * now. */
void conn_finish(struct tcp_conn *c, enum tcp_close_reason why);
/* Sends RST where RFC 9293 3.10.5 asks for it, and ends. */
void conn_abort(struct tcp_conn *c, enum tcp_close_reason why);
/* Ends a connection whose both directions are done, unless data still waits for the owner. */
void conn_finish_if_done(struct tcp_conn *c);
void conn_list_output(struct tcp_conn *c);
void conn_unlist_output(struct tcp_conn *c);
void conn_reap(struct tcp_stack *s);

/* tcp_timer.c */
void conn_arm(struct tcp_conn *c, enum conn_deadline which, uint64_t at_us);
void conn_disarm(struct tcp_conn *c, enum conn_deadline which);
void conn_timer(struct tcp_conn *c);
/* rto_us with its back-off, bounded. */
uint64_t conn_rto_us(const struct tcp_conn *c);
void rtt_init(struct tcp_conn *c);
void rtt_start(struct tcp_conn *c, uint32_t seq);
/* ack covers the segment being timed? Then takes the sample (RFC 6298). */
void rtt_on_ack(struct tcp_conn *c, uint32_t ack);
/* An acknowledgement of repeated segments: only the echoed timestamp tells them apart. */
void rtt_on_echo(struct tcp_conn *c, uint32_t echo);

/* tcp_time_wait.c */
bool time_wait_init(struct tcp_stack *s);
void time_wait_add(const struct tcp_conn *c);
bool time_wait_has(const struct tcp_stack *s, uint32_t local_addr, uint16_t local_port,
                   uint32_t remote_addr, uint16_t remote_port);
/* True when a TIME-WAIT entry took the segment. */
bool time_wait_input(struct tcp_stack *s, const struct segment *seg);
void time_wait_expire(struct tcp_stack *s);

/* tcp_receive.c: data for the owner */
/* In-order bytes at rcv_nxt. The connection may be gone afterwards. */
void receive_in_order(struct tcp_conn *c, const uint8_t *data, uint32_t len);
/* Offers the receive queue. */
void receive_resume(struct tcp_conn *c);
/* Calls on_fin when its time has come. */
void receive_tell_fin(struct tcp_conn *c);
void receive_discard(struct tcp_conn *c);
/* The window to advertise now, in bytes; what it promises is remembered. scale: of the field it
 * goes into. */
uint16_t receive_window_field(struct tcp_conn *c, uint8_t scale);
/* An advertisement would open the window enough to be worth a segment (RFC 9293 3.8.6.2.2). */
bool receive_window_opens(const struct tcp_conn *c);

/* tcp_sack.c: what the receiver tells */
void sack_note_arrival(struct tcp_conn *c, uint32_t seq);
void sack_note_duplicate(struct tcp_conn *c, uint32_t start, uint32_t end);
/* The blocks to send, at most `most`; the duplicate counts as told. */
unsigned int sack_blocks(struct tcp_conn *c, struct seq_range *blocks, unsigned int most);
/* ... and what the sender makes of it. True when the scoreboard has dealt with the acknowledgement
 * (snd_una has moved already); false: there is none, proceed without. */
bool sack_on_ack(struct tcp_conn *c, const struct segment *seg, uint32_t acked,
                 uint32_t flight_before);
/* True: everything outstanding is marked lost and will be sent again by tcp_output. */
bool sack_on_timeout(struct tcp_conn *c);
void board_mark_all_lost(struct tcp_conn *c);
void board_note_sent(struct tcp_conn *c, uint32_t start, uint32_t end);
/* The first bytes of range i were sent again. */
bool board_note_resent(struct tcp_conn *c, uint32_t i, uint32_t span);
void board_free(struct tcp_conn *c);
/* The end of what was sent becomes the place where output goes on. */
void tcp_output_to_end(struct tcp_conn *c);

/* tcp_rack.c: RFC 8985 and RFC 6937 */
void rack_note_delivered(struct tcp_conn *c, struct scoreboard *b, const struct sent_range *r);
/* Marks what must be lost; true when there is something new. Sets the timer for the rest. */
bool rack_detect(struct tcp_conn *c, struct scoreboard *b);
void rack_note_duplicate(struct tcp_conn *c);
void rack_recovery_ended(struct tcp_conn *c);
void prr_begin(struct tcp_conn *c, struct scoreboard *b);
void prr_on_ack(struct tcp_conn *c, struct scoreboard *b);
void loss_timeout(struct tcp_conn *c);
/* The tail loss probe is due after a while without news. */
void probe_arm(struct tcp_conn *c);
void probe_on_ack(struct tcp_conn *c, const struct segment *seg);

/* tcp_reassembly.c */
void reassembly_insert(struct tcp_conn *c, uint32_t seq, const uint8_t *data, uint32_t len);
/* Delivers what has become in-order. */
void reassembly_deliver(struct tcp_conn *c);
void reassembly_free(struct tcp_conn *c);

/* tcp_output.c */
/* Sends what windows allow, and the acknowledgement that is due; called from the flush. */
void tcp_output(struct tcp_conn *c);
void tcp_send_syn(struct tcp_conn *c);
void tcp_send_ack(struct tcp_conn *c);
/* The first unacknowledged segment again, windows or not. */
void tcp_retransmit_head(struct tcp_conn *c);
/* Sends something new or the last segment again, to get word of the tail. */
bool tcp_send_tail(struct tcp_conn *c);
/* Everything unacknowledged again, as far as the windows allow, from the next flush on. */
void tcp_resend_all(struct tcp_conn *c);
void tcp_send_probe(struct tcp_conn *c);
void tcp_send_reset(struct tcp_conn *c);
/* RFC 5961 7: an acknowledgement that a forger may ask for, limited. */
void tcp_challenge_ack(struct tcp_conn *c);
/* A segment of no connection: RST, SYN-ACK with a cookie, or TIME-WAIT's
 * acknowledgement. */
void tcp_send_bare(struct tcp_stack *s, const struct segment *to, uint32_t seq, uint32_t ack,
                   uint8_t flags, uint16_t window, const uint8_t *options, size_t option_bytes);
/* The RST that answers a segment without a connection (RFC 9293 3.10.7.1). */
void tcp_reset_segment(struct tcp_stack *s, const struct segment *seg);
/* Both directions are over; only the owner may still have to read. */
static inline bool conn_is_done(const struct tcp_conn *c) {
    return c->state == TCP_STATE_TIME_WAIT ||
           (c->state == TCP_STATE_LAST_ACK && (c->flags & CONN_FIN_ACKED) != 0);
}
static inline uint32_t conn_queue_end(const struct tcp_conn *c) // the FIN's sequence number
{
    return c->snd_una + c->sendq.len;
}

/* tcp_cubic.c */
/* A loss: the new ssthresh. */
uint32_t cubic_on_loss(struct tcp_conn *c, uint32_t flight);
/* A time-out's loss (RFC 9438 4.8): the next stage begins without memory of a maximum. */
void cubic_on_timeout(struct tcp_conn *c);
/* Congestion avoidance. */
void cubic_on_ack(struct tcp_conn *c, uint32_t acked);
uint32_t cube_root(uint64_t n);

/* tcp_congestion.c */
void congestion_init(struct tcp_conn *c);
void congestion_on_ack(struct tcp_conn *c, uint32_t acked, uint32_t flight_before);
enum recovery_ack {
    RECOVERY_NONE,    // there is no recovery
    RECOVERY_PARTIAL, // the next segment is lost, too
    RECOVERY_ENDS,
};
enum recovery_ack congestion_recovery_ack(struct tcp_conn *c, uint32_t ack, uint32_t acked);
void congestion_on_dup_ack(struct tcp_conn *c);
void congestion_on_timeout(struct tcp_conn *c);
void congestion_on_repaired(struct tcp_conn *c);
void congestion_before_send(struct tcp_conn *c);
/* A loss: the new ssthresh, and nothing below c->recover is another one. */
void congestion_begin_recovery(struct tcp_conn *c);
/* Bytes that may be in flight now, limited transmit (RFC 3042) included. */
uint32_t congestion_window(const struct tcp_conn *c);

#endif
