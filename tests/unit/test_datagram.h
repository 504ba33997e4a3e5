/* SPDX-License-Identifier: BSD-3-Clause */
/* Cases of test_datagram that live in a file of their own. */
#ifndef PROPHECY_TEST_DATAGRAM_H
#define PROPHECY_TEST_DATAGRAM_H

/* test_datagram_network.c */
void test_large_messages(void);
void test_window_is_kept(void);
void test_seeded_networks(void);
void test_runs_repeat(void);
void test_many_peers_little_memory(void);
void test_share_is_guaranteed(void);
void test_deaf_peer_does_not_block(void);
void test_receiver_restarts(void);
void test_sender_restarts(void);
void test_many_transfers_at_once(void);

#endif
