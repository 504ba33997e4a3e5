/* SPDX-License-Identifier: BSD-3-Clause */
/* The cases of test_tcp, by file: X(function, "name"). */
#ifndef PROPHECY_TCP_CASES_H
#define PROPHECY_TCP_CASES_H

#define TCP_CASES(X)                                                                               \
    /* test_tcp_parts.c */                                                                         \
    X(test_siphash, "siphash reference value")                                                     \
    X(test_checksum, "checksum against the plain sum")                                             \
    X(test_wheel, "timer wheel against a plain list")                                              \
    X(test_sendq, "send queue against a plain string")                                             \
    X(test_classify, "classify")                                                                   \
    X(test_tuple_hash, "tuple hash")                                                               \
    X(test_footprint, "memory of a connection")                                                    \
    /* test_tcp.c */                                                                               \
    X(test_transfer_sizes, "transfers of every size")                                              \
    X(test_transfer_large, "transfers of 16 MiB")                                                  \
    X(test_faults, "seeded faults")                                                                \
    X(test_slow_reader, "zero window and a slow reader")                                           \
    X(test_resume_inside_data, "resume inside on_data")                                            \
    X(test_piggyback, "the acknowledgement rides on the response")                                 \
    X(test_every_second_segment, "at least every second segment is acknowledged")                  \
    X(test_fast_retransmit, "fast retransmit and limited transmit")                                \
    X(test_no_frames, "no output frames for a while")                                              \
    X(test_empty_pool, "an empty pool refuses and calls back")                                     \
    X(test_abort_in_handlers, "abort from inside handlers")                                        \
    X(test_free_with_connections, "freeing an instance with open connections")                     \
    X(test_linger, "lingering close keeps the response")                                           \
    X(test_simultaneous_close, "simultaneous close")                                               \
    X(test_simultaneous_open, "simultaneous open")                                                 \
    X(test_connection_limit, "connection limit")                                                   \
    /* test_tcp_states.c */                                                                        \
    X(test_handshake_bytes, "handshake, byte by byte")                                             \
    X(test_no_listener, "reset for a closed port")                                                 \
    X(test_refused_accept, "an accept that refuses")                                               \
    X(test_connect_refused, "a connect that is refused or unanswered")                             \
    X(test_half_open, "half-open limit and time-out")                                              \
    X(test_syn_options, "hostile options in a SYN")                                                \
    X(test_window_cases, "acceptability in the four window cases")                                 \
    X(test_trimming, "trimming and overlapping segments")                                          \
    X(test_reset_rules, "reset and SYN rules of RFC 5961")                                         \
    X(test_challenge_limit, "challenge acknowledgements are limited")                              \
    X(test_ack_rules, "impossible acknowledgements")                                               \
    X(test_probe, "zero-window probes")                                                            \
    X(test_path_mtu, "path MTU")                                                                   \
    X(test_silly_window, "silly window avoidance")                                                 \
    X(test_retransmit_timer, "retransmission time-out, back-off, giving up")                       \
    X(test_recovery, "limited transmit, fast recovery, partial acknowledgements")                  \
    X(test_rto_value, "the retransmission time-out follows the round-trip time")                   \
    X(test_delayed_ack, "delayed acknowledgement")                                                 \
    X(test_fin_states, "FIN in every state")                                                       \
    X(test_fin_out_of_order, "FIN out of order")                                                   \
    X(test_fin_wait_2, "FIN-WAIT-2 ends")                                                          \
    X(test_time_wait, "TIME-WAIT and its reuse")                                                   \
    X(test_time_wait_limit, "TIME-WAIT recycles the oldest")                                       \
    X(test_out_of_order_limit, "out-of-order limit")                                               \
    X(test_unread_at_close, "data unread when both sides are done")                                \
    /* test_tcp_handshake.c */                                                                     \
    X(test_timestamp_bytes, "timestamps, byte by byte")                                            \
    X(test_timestamp_offset, "each connection has a clock of its own")                             \
    X(test_paws, "protection against wrapped sequence numbers")                                    \
    X(test_timestamp_rtt, "the round trip of a repeated segment by its echo")                      \
    X(test_timestamp_time_wait, "TIME-WAIT with timestamps")                                       \
    X(test_cookies, "SYN cookies remember the handshake")                                          \
    X(test_cookie_forgery, "SYN cookies that are forged or old")                                   \
    X(test_source_limit, "connections per source address")                                         \
    X(test_source_table, "the table of sources against a plain count")                             \
    /* test_tcp_loss.c */                                                                          \
    X(test_sack_negotiation, "SACK is negotiated")                                                 \
    X(test_sack_blocks, "SACK and D-SACK blocks of the receiver")                                  \
    X(test_sack_holes, "the scoreboard repeats exactly the holes")                                 \
    X(test_rack_lost_again, "RACK finds a lost retransmission")                                    \
    X(test_rack_reordering, "RACK bears reordering")                                               \
    X(test_sack_timeout, "a time-out with a scoreboard, and reneging")                             \
    X(test_sack_nonsense, "SACK blocks that cannot be")                                            \
    X(test_tail_loss_probe, "tail loss probe")                                                     \
    X(test_cube_root, "cube root")                                                                 \
    X(test_cubic_curve, "CUBIC follows its curve")                                                 \
    X(test_cubic_loss, "CUBIC after a loss")                                                       \
    X(test_sack_transfer, "transfers with loss need few repetitions")                              \
    /* test_tcp_wire.c */                                                                          \
    X(test_arp_answers, "ARP answers and learns")                                                  \
    X(test_arp_resolves, "ARP resolves, queues, gives up")                                         \
    X(test_arp_unasked, "ARP ignores what it did not ask for")                                     \
    X(test_arp_ages, "ARP verifies old entries")                                                   \
    X(test_arp_full, "ARP table under a flood")                                                    \
    X(test_pins, "pinned neighbours and sources")                                                  \
    X(test_announce, "gratuitous ARP")                                                             \
    X(test_gateway, "the gateway is the next hop off the link")                                    \
    X(test_icmp_echo, "ICMP echo, byte by byte")                                                   \
    X(test_udp, "UDP both ways")                                                                   \
    X(test_bad_frames, "bad frames have counters")                                                 \
    X(test_truncations, "every truncation has a counter")                                          \
    X(test_bit_flips, "flipped bits and random frames")

#define TCP_CASE_DECLARATION(function, name) void function(void);
TCP_CASES(TCP_CASE_DECLARATION)

#endif
