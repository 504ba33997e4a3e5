/* SPDX-License-Identifier: BSD-3-Clause */
/* Ethernet, ARP, IPv4, ICMP and UDP of one instance (B), and hostile frames. */
#include "tcp/bytes.h"
#include "tcp/tcp_internal.h"
#include "tcp_cases.h"
#include "tcp_pair.h"
#include "unit.h"

#include <stdlib.h>

static struct pair p;
static struct pair_side *a;
static uint8_t frame[TCP_FRAME_MAX_BYTES + 600];

static void init(void) {
    pair_init(&p, NULL, 4);
    a = &p.side[0];
    a->by_hand = true;
}

static void give(size_t len) {
    hand_give(&p, 1, frame, len);
    pair_run_for(&p, 600);
}

static uint64_t counter(enum tcp_counter id) {
    return pair_counter(&p, 1, id);
}

static bool udp_to(uint32_t dst) {
    return tcp_udp_send(p.side[1].stack, PAIR_B, 9, dst, 10, (const uint8_t *)"datagram", 8,
                        p.now_us);
}

static void expect_arp(const struct pair_frame *f, const uint8_t *ether_dst, uint16_t op,
                       uint32_t spa, const uint8_t *tha, uint32_t tpa) {
    CU_ASSERT_EQUAL(f->len, 42);
    CU_ASSERT_EQUAL(memcmp(f->data, ether_dst, 6), 0);
    CU_ASSERT_EQUAL(memcmp(f->data + 6, pair_mac[1], 6), 0);
    static const uint8_t fixed[] = {8, 6, 0, 1, 8, 0, 6, 4};
    CU_ASSERT_EQUAL(memcmp(f->data + 12, fixed, 8), 0);
    CU_ASSERT_EQUAL(seen_u16(f, 20), op);
    CU_ASSERT_EQUAL(memcmp(f->data + 22, pair_mac[1], 6), 0);
    CU_ASSERT_EQUAL(seen_u32(f, 28), spa);
    CU_ASSERT_EQUAL(memcmp(f->data + 32, tha, 6), 0);
    CU_ASSERT_EQUAL(seen_u32(f, 38), tpa);
}

static const uint8_t broadcast[6] = {255, 255, 255, 255, 255, 255}, nobody[6] = {0};

void test_arp_answers(void) {
    init();
    give(hand_arp_frame(frame, 1, pair_mac[0], PAIR_A, PAIR_B));
    CU_ASSERT_EQUAL_FATAL(a->seen_count, 1);
    expect_arp(&a->seen[0], pair_mac[0], 2, PAIR_B, pair_mac[0], PAIR_A);
    give(hand_arp_frame(frame, 1, pair_mac[0], PAIR_A, PAIR_VIP));
    CU_ASSERT_EQUAL_FATAL(a->seen_count, 2);
    expect_arp(&a->seen[1], pair_mac[0], 2, PAIR_VIP, pair_mac[0], PAIR_A);
    // It has learnt: no question before the datagram.
    CU_ASSERT_TRUE(udp_to(PAIR_A));
    pair_run_for(&p, 600);
    CU_ASSERT_EQUAL_FATAL(a->seen_count, 3);
    CU_ASSERT_EQUAL(seen_u16(&a->seen[2], 12), 0x0800);
    CU_ASSERT_EQUAL(memcmp(a->seen[2].data, pair_mac[0], 6), 0);
    // Addresses of others; a silent instance; probes without a sender.
    give(hand_arp_frame(frame, 1, pair_mac[0], PAIR_A, PAIR_B + 1));
    CU_ASSERT_EQUAL(a->seen_count, 3);
    CU_ASSERT_EQUAL(counter(TCP_DROP_NOT_FOR_US), 1);
    tcp_stack_set_arp_responder(p.side[1].stack, false);
    static const uint8_t other[6] = {2, 2, 2, 2, 2, 2};
    give(hand_arp_frame(frame, 1, other, PAIR_A + 6, PAIR_B));
    CU_ASSERT_EQUAL(a->seen_count, 3);
    CU_ASSERT_TRUE(udp_to(PAIR_A + 6)); // but it learns
    pair_run_for(&p, 600);
    CU_ASSERT_EQUAL_FATAL(a->seen_count, 4);
    CU_ASSERT_EQUAL(memcmp(a->seen[3].data, other, 6), 0);
    tcp_stack_set_arp_responder(p.side[1].stack, true);
    give(hand_arp_frame(frame, 1, pair_mac[0], 0, PAIR_B));
    CU_ASSERT_EQUAL_FATAL(a->seen_count, 5);
    expect_arp(&a->seen[4], pair_mac[0], 2, PAIR_B, pair_mac[0], 0);
    // Somebody who claims our address.
    give(hand_arp_frame(frame, 1, pair_mac[0], PAIR_B, PAIR_B));
    CU_ASSERT_EQUAL(counter(TCP_DROP_SOURCE_SPOOFED), 1);
    CU_ASSERT_EQUAL(a->seen_count, 5);
    CU_ASSERT_EQUAL(counter(TCP_ARP_IN), 6);
    pair_free(&p);
}

void test_arp_resolves(void) {
    init();
    for (unsigned int i = 0; i < 10; i++)
        CU_ASSERT_EQUAL(udp_to(PAIR_A), i < 8); // eight wait
    CU_ASSERT_EQUAL(counter(TCP_DROP_NEIGH_QUEUE), 2);
    pair_run_for(&p, 600);
    CU_ASSERT_EQUAL_FATAL(a->seen_count, 1); // one question for all
    expect_arp(&a->seen[0], broadcast, 1, PAIR_B, nobody, PAIR_A);
    a->seen_count = 0;
    size_t len = hand_arp_frame(frame, 2, pair_mac[0], PAIR_A, PAIR_B);
    memcpy(frame, pair_mac[1], 6);
    give(len);
    CU_ASSERT_EQUAL_FATAL(a->seen_count, 8);
    for (unsigned int i = 0; i < 8; i++) {
        CU_ASSERT_EQUAL(a->seen[i].len, 14 + 20 + 8 + 8);
        CU_ASSERT_EQUAL(memcmp(a->seen[i].data, pair_mac[0], 6), 0);
        CU_ASSERT_EQUAL(memcmp(a->seen[i].data + 42, "datagram", 8), 0);
    }
    CU_ASSERT_EQUAL(p.side[1].pool.in_use, 0);
    // Nobody answers: three questions a second apart, then what waited is dropped by name.
    a->seen_count = 0;
    CU_ASSERT_TRUE(udp_to(PAIR_A + 9));
    CU_ASSERT_TRUE(udp_to(PAIR_A + 9));
    pair_run_for(&p, 10000000);
    CU_ASSERT_EQUAL(a->seen_count, 3);
    CU_ASSERT(a->seen[1].at_us - a->seen[0].at_us >= 1000000);
    CU_ASSERT_EQUAL(counter(TCP_DROP_NO_ROUTE), 2);
    CU_ASSERT_EQUAL(p.side[1].pool.in_use, 0);
    CU_ASSERT_EQUAL(tcp_stack_next_deadline(p.side[1].stack), UINT64_MAX);
    // A SYN from an unknown neighbour: the SYN-ACK waits for ARP.
    struct pair_app server;
    pair_app_init(&server, 1, 1);
    p.side[1].accept_app = &server;
    struct hand_tcp t = {.src_port = 5, .dst_port = PAIR_PORT, .flags = TCP_SYN, .window = 100};
    len = hand_tcp_frame(frame, &t);
    store_be32(frame + 26, PAIR_A + 20);
    hand_fix_checksums(frame, len);
    a->seen_count = 0;
    give(len);
    CU_ASSERT_EQUAL_FATAL(a->seen_count, 1);
    expect_arp(&a->seen[0], broadcast, 1, PAIR_B, nobody, PAIR_A + 20);
    len = hand_arp_frame(frame, 2, pair_mac[0], PAIR_A + 20, PAIR_B);
    give(len);
    CU_ASSERT_EQUAL_FATAL(a->seen_count, 2);
    CU_ASSERT_EQUAL(a->seen[1].data[47], TCP_SYN | TCP_ACK);
    pair_free(&p);
}

void test_arp_unasked(void) {
    static const uint8_t evil[6] = {2, 6, 6, 6, 6, 6}, group[6] = {1, 0, 0, 0, 0, 1};
    init();
    // A reply that nobody asked for makes no entry ...
    give(hand_arp_frame(frame, 2, evil, PAIR_A, PAIR_B));
    udp_to(PAIR_A);
    pair_run_for(&p, 600);
    CU_ASSERT_EQUAL(a->seen_count, 1);
    CU_ASSERT_EQUAL(seen_u16(&a->seen[0], 12), 0x0806);
    give(hand_arp_frame(frame, 2, pair_mac[0], PAIR_A, PAIR_B));
    // ... and changes none.
    give(hand_arp_frame(frame, 2, evil, PAIR_A, PAIR_B));
    a->seen_count = 0;
    udp_to(PAIR_A);
    pair_run_for(&p, 600);
    CU_ASSERT_EQUAL_FATAL(a->seen_count, 1);
    CU_ASSERT_EQUAL(memcmp(a->seen[0].data, pair_mac[0], 6), 0);
    // Requests among others, gratuitous ones, group addresses, foreign networks teach nothing.
    give(hand_arp_frame(frame, 1, evil, PAIR_A, PAIR_A));
    give(hand_arp_frame(frame, 1, evil, PAIR_A, PAIR_B + 1));
    a->seen_count = 0;
    udp_to(PAIR_A);
    pair_run_for(&p, 600);
    CU_ASSERT_EQUAL(memcmp(a->seen[0].data, pair_mac[0], 6), 0);
    give(hand_arp_frame(frame, 1, group, PAIR_A, PAIR_B));
    CU_ASSERT_EQUAL(counter(TCP_DROP_ARP), 1);
    static const struct {
        size_t at;
        uint8_t value;
    } broken[] = {{15, 2}, {17, 1}, {18, 5}, {19, 6}, {21, 3}, {20, 1}};
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        size_t len = hand_arp_frame(frame, 1, evil, PAIR_A, PAIR_B);
        frame[broken[i].at] = broken[i].value;
        give(len);
    }
    CU_ASSERT_EQUAL(counter(TCP_DROP_ARP), 7);
    pair_free(&p);
}

void test_arp_ages(void) {
    init();
    give(hand_arp_frame(frame, 1, pair_mac[0], PAIR_A, PAIR_B));
    pair_run_for(&p, 31000000);
    a->seen_count = 0;
    udp_to(PAIR_A); // still used, and verified by unicast meanwhile
    udp_to(PAIR_A);
    pair_run_for(&p, 600);
    CU_ASSERT_EQUAL_FATAL(a->seen_count, 3);
    expect_arp(&a->seen[0], pair_mac[0], 1, PAIR_B, pair_mac[0], PAIR_A);
    CU_ASSERT_EQUAL(seen_u16(&a->seen[1], 12), 0x0800);
    static const uint8_t moved[6] = {2, 7, 7, 7, 7, 7};
    give(hand_arp_frame(frame, 2, moved, PAIR_A, PAIR_B));
    a->seen_count = 0;
    udp_to(PAIR_A);
    pair_run_for(&p, 600);
    CU_ASSERT_EQUAL_FATAL(a->seen_count, 1);
    CU_ASSERT_EQUAL(memcmp(a->seen[0].data, moved, 6), 0);
    // Without an answer the entry goes after three probes, and the search begins anew.
    pair_run_for(&p, 31000000);
    a->seen_count = 0;
    udp_to(PAIR_A);
    pair_run_for(&p, 5000000);
    CU_ASSERT_EQUAL(a->seen_count, 4); // a datagram and three probes
    a->seen_count = 0;
    udp_to(PAIR_A);
    pair_run_for(&p, 600);
    CU_ASSERT_EQUAL_FATAL(a->seen_count, 1);
    expect_arp(&a->seen[0], broadcast, 1, PAIR_B, nobody, PAIR_A);
    pair_free(&p);
}

void test_arp_full(void) {
    struct tcp_limits l;
    tcp_limits_default(&l);
    pair_init(&p, &l, 4);
    a = &p.side[0];
    a->by_hand = true;
    struct tcp_interface wide = {.addr = 0x0b000001, .prefix_len = 8, .mtu_bytes = 1500};
    memcpy(wide.mac, pair_mac[1], 6);
    // A second interface of B with a large network; its frames are not looked at here.
    CU_ASSERT_EQUAL(tcp_stack_add_interface(p.side[1].stack, &wide), 1);
    give(hand_arp_frame(frame, 1, pair_mac[0], PAIR_A, PAIR_B));
    udp_to(PAIR_A); // in use
    for (uint32_t i = 0; i < 5000; i++) {
        size_t len = hand_arp_frame(frame, 1, pair_mac[0], 0x0b000100 + i, 0x0b000001);
        tcp_stack_set_arp_responder(p.side[1].stack, false);
        tcp_stack_input(p.side[1].stack, 1, frame, len, p.now_us);
        if (i % 500 == 0)
            udp_to(PAIR_A);
    }
    pair_run_for(&p, 600);
    a->seen_count = 0;
    udp_to(PAIR_A);
    pair_run_for(&p, 600);
    CU_ASSERT_EQUAL_FATAL(a->seen_count, 1);
    CU_ASSERT_EQUAL(seen_u16(&a->seen[0], 12), 0x0800); // the entry in use survived
    // Unanswered questions are bounded; frames that wait are, too.
    for (uint32_t i = 0; i < 1000; i++)
        tcp_udp_send(p.side[1].stack, PAIR_B, 9, PAIR_A + 2 + i % 250, 10, (const uint8_t *)"x", 1,
                     p.now_us);
    CU_ASSERT(p.side[1].pool.in_use <= 512);
    CU_ASSERT(counter(TCP_DROP_NEIGH_QUEUE) > 0);
    pair_free(&p);
}

void test_pins(void) {
    static const uint8_t evil[6] = {2, 6, 6, 6, 6, 6};
    init();
    CU_ASSERT_TRUE(tcp_stack_pin_neighbour(p.side[1].stack, 0, PAIR_A, pair_mac[0]));
    give(hand_arp_frame(frame, 1, evil, PAIR_A, PAIR_B));
    pair_run_for(&p, 100000000);
    a->seen_count = 0;
    udp_to(PAIR_A);
    pair_run_for(&p, 600);
    CU_ASSERT_EQUAL_FATAL(a->seen_count, 1);
    CU_ASSERT_EQUAL(memcmp(a->seen[0].data, pair_mac[0], 6), 0);
    // A source that belongs to another interface.
    CU_ASSERT_TRUE(tcp_stack_pin_source(p.side[1].stack, PAIR_A, 1));
    give(hand_udp_frame(frame, 1, 2, "x", 1, true));
    CU_ASSERT_EQUAL(counter(TCP_DROP_SOURCE_SPOOFED), 1);
    CU_ASSERT_EQUAL(p.side[1].udp_count, 0);
    CU_ASSERT_TRUE(tcp_stack_pin_source(p.side[1].stack, PAIR_A, 0));
    give(hand_udp_frame(frame, 1, 2, "x", 1, true));
    CU_ASSERT_EQUAL(p.side[1].udp_count, 1);
    for (uint32_t i = 1; i < 64; i++)
        CU_ASSERT_TRUE(tcp_stack_pin_source(p.side[1].stack, 1000 + i, 1));
    CU_ASSERT_FALSE(tcp_stack_pin_source(p.side[1].stack, 5000, 1));
    pair_free(&p);
}

void test_announce(void) {
    init();
    tcp_announce(p.side[1].stack, p.now_us);
    pair_run_for(&p, 600);
    CU_ASSERT_EQUAL_FATAL(a->seen_count, 2);
    expect_arp(&a->seen[0], broadcast, 1, PAIR_B, nobody, PAIR_B);
    expect_arp(&a->seen[1], broadcast, 1, PAIR_VIP, nobody, PAIR_VIP);
    pair_free(&p);
}

void test_gateway(void) {
    init();
    struct tcp_interface iface = {
        .addr = 0x0c000001, .prefix_len = 24, .gateway = 0x0c0000fe, .mtu_bytes = 1500};
    memcpy(iface.mac, pair_mac[1], 6);
    CU_ASSERT_EQUAL(tcp_stack_add_interface(p.side[1].stack, &iface), 1);
    static const uint8_t gateway[6] = {2, 9, 9, 9, 9, 9};
    CU_ASSERT_TRUE(tcp_stack_pin_neighbour(p.side[1].stack, 1, 0x0c0000fe, gateway));
    CU_ASSERT_FALSE(udp_to(0x08080808)); // interface 0 has none
    CU_ASSERT_EQUAL(counter(TCP_DROP_NO_ROUTE), 1);
    // The environment of the pair knows interface 0 only, so look before the frame leaves.
    struct route route;
    CU_ASSERT_TRUE(ip_route(p.side[1].stack, 1, 0x08080808, &route));
    CU_ASSERT_EQUAL(route.next_hop, 0x0c0000fe);
    CU_ASSERT_TRUE(ip_route(p.side[1].stack, 1, 0x0c000042, &route));
    CU_ASSERT_EQUAL(route.next_hop, 0x0c000042);
    // An address of the other interface is not ours here (strong end system).
    size_t len = hand_udp_frame(frame, 1, 2, "x", 1, true);
    store_be32(frame + 30, 0x0c000001);
    hand_fix_checksums(frame, len);
    give(len);
    CU_ASSERT_EQUAL(counter(TCP_DROP_NOT_FOR_US), 1);
    CU_ASSERT_EQUAL(tcp_stack_add_interface(p.side[1].stack, &iface), 2);
    CU_ASSERT_EQUAL(tcp_stack_add_interface(p.side[1].stack, &iface), 3);
    CU_ASSERT_EQUAL(tcp_stack_add_interface(p.side[1].stack, &iface), -1);
    pair_free(&p);
}

void test_icmp_echo(void) {
    init();
    give(hand_arp_frame(frame, 1, pair_mac[0], PAIR_A, PAIR_B));
    a->seen_count = 0;
    uint8_t echo[64] = {8, 0, 0, 0, 0x12, 0x34, 0, 7};
    for (size_t i = 8; i < sizeof echo; i++)
        echo[i] = (uint8_t)(i * 3);
    give(hand_icmp_frame(frame, echo, 63)); // an odd length
    CU_ASSERT_EQUAL_FATAL(a->seen_count, 1);
    const struct pair_frame *f = &a->seen[0];
    CU_ASSERT_EQUAL(f->len, 14 + 20 + 63);
    CU_ASSERT_EQUAL(seen_u32(f, 26), PAIR_B);
    CU_ASSERT_EQUAL(seen_u32(f, 30), PAIR_A);
    CU_ASSERT_EQUAL(f->data[34], 0);
    CU_ASSERT_EQUAL(memcmp(f->data + 38, echo + 4, 59), 0);
    uint8_t checked[200];
    memcpy(checked, f->data, f->len);
    hand_fix_checksums(checked, f->len);
    CU_ASSERT_EQUAL(memcmp(checked, f->data, f->len), 0);
    CU_ASSERT_EQUAL(counter(TCP_ICMP_ECHO), 1);
    // Others: another type, a broken checksum, too short.
    echo[0] = 3;
    give(hand_icmp_frame(frame, echo, 63));
    echo[0] = 8;
    size_t len = hand_icmp_frame(frame, echo, 63);
    frame[len - 1] ^= 1;
    give(len);
    give(hand_icmp_frame(frame, echo, 7));
    CU_ASSERT_EQUAL(counter(TCP_DROP_ICMP), 3);
    CU_ASSERT_EQUAL(a->seen_count, 1);
    pair_free(&p);
}

void test_udp(void) {
    pair_init(&p, NULL, 4);
    uint8_t data[1472];
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i * 7);
    for (size_t len = 0; len <= sizeof data; len += 92) {
        CU_ASSERT_TRUE(
            tcp_udp_send(p.side[0].stack, PAIR_A, 111, PAIR_VIP, 222, data, len, p.now_us));
        pair_run_for(&p, 3000);
        CU_ASSERT_EQUAL(p.side[1].udp_len, len);
        CU_ASSERT_EQUAL(memcmp(p.side[1].udp_data, data, len), 0);
        CU_ASSERT(p.side[1].udp_src_port == 111 && p.side[1].udp_dst_port == 222);
        CU_ASSERT_EQUAL(p.side[1].udp_src, PAIR_A);
        CU_ASSERT_TRUE(tcp_udp_send(p.side[1].stack, PAIR_VIP, 1, PAIR_A, 2, data, len, p.now_us));
        pair_run_for(&p, 3000);
        CU_ASSERT_EQUAL(p.side[0].udp_len, len);
        CU_ASSERT_EQUAL(p.side[0].udp_src, PAIR_VIP);
    }
    CU_ASSERT_EQUAL(p.side[1].udp_count, 17);
    CU_ASSERT_EQUAL(p.side[0].udp_count, 17);
    CU_ASSERT_FALSE(tcp_udp_send(p.side[0].stack, PAIR_A, 1, PAIR_B, 2, data, 1473, p.now_us));
    CU_ASSERT_EQUAL(pair_counter(&p, 0, TCP_DROP_UDP), 1);
    pair_free(&p);
    init();
    give(hand_udp_frame(frame, 5, 6, "no checksum", 11, false));
    CU_ASSERT_EQUAL(p.side[1].udp_count, 1);
    CU_ASSERT_EQUAL(memcmp(p.side[1].udp_data, "no checksum", 11), 0);
    size_t len = hand_udp_frame(frame, 5, 6, "payload", 7, true);
    frame[len - 1] ^= 0x40;
    give(len);
    len = hand_udp_frame(frame, 5, 6, "payload", 7, true);
    store_be16(frame + 38, 100); // longer than the packet
    give(len);
    store_be16(frame + 38, 7); // shorter than its header
    give(len);
    CU_ASSERT_EQUAL(counter(TCP_DROP_UDP), 3);
    CU_ASSERT_EQUAL(p.side[1].udp_count, 1);
    pair_free(&p);
}

static size_t plain_syn(void) {
    struct hand_tcp t = {.src_port = 5, .dst_port = PAIR_PORT, .flags = TCP_SYN, .window = 100};
    return hand_tcp_frame(frame, &t);
}

void test_bad_frames(void) {
    init();
    size_t len = plain_syn();
    frame[24] ^= 1; // IP checksum
    give(len);
    CU_ASSERT_EQUAL(counter(TCP_DROP_IP_CHECKSUM), 1);
    len = plain_syn();
    frame[50] ^= 1; // TCP checksum
    give(len);
    CU_ASSERT_EQUAL(counter(TCP_DROP_TCP_CHECKSUM), 1);
    len = plain_syn();
    frame[14] = 0x65; // version
    give(len);
    len = plain_syn();
    frame[14] = 0x44; // header length
    give(len);
    len = plain_syn();
    store_be16(frame + 16, (uint16_t)(len - 14 + 1)); // longer than the frame
    give(len);
    CU_ASSERT_EQUAL(counter(TCP_DROP_IP_HEADER), 3);
    static const uint16_t fragments[] = {0x2000, 0x0001, 0x2001, 0x6000};
    for (size_t i = 0; i < 4; i++) {
        len = plain_syn();
        store_be16(frame + 20, fragments[i]);
        hand_fix_checksums(frame, len);
        give(len);
    }
    CU_ASSERT_EQUAL(counter(TCP_DROP_IP_FRAGMENT), 4);
    len = plain_syn();
    frame[23] = 47;
    hand_fix_checksums(frame, len);
    give(len);
    CU_ASSERT_EQUAL(counter(TCP_DROP_IP_PROTOCOL), 1);
    static const uint32_t spoofed[] = {0,          0x7f000001, 0xe0000001, 0xffffffff,
                                       0x0a0000ff, PAIR_B,     PAIR_VIP,   0xf0000001};
    for (size_t i = 0; i < 8; i++) {
        len = plain_syn();
        store_be32(frame + 26, spoofed[i]);
        hand_fix_checksums(frame, len);
        give(len);
    }
    CU_ASSERT_EQUAL(counter(TCP_DROP_SOURCE_SPOOFED), 8);
    len = plain_syn();
    store_be32(frame + 30, PAIR_B + 1);
    hand_fix_checksums(frame, len);
    give(len);
    len = plain_syn();
    frame[5] ^= 1; // another station
    give(len);
    len = plain_syn();
    memset(frame, 0xff, 6); // TCP by broadcast
    give(len);
    CU_ASSERT_EQUAL(counter(TCP_DROP_NOT_FOR_US), 3);
    len = plain_syn();
    store_be16(frame + 12, 0x86dd);
    give(len);
    CU_ASSERT_EQUAL(counter(TCP_DROP_ETHERTYPE), 1);
    len = plain_syn();
    frame[46] = 4 << 4; // TCP header length
    hand_fix_checksums(frame, len);
    give(len);
    len = plain_syn();
    frame[46] = 6 << 4; // beyond the end
    hand_fix_checksums(frame, len);
    give(len);
    len = plain_syn();
    store_be16(frame + 34, 0); // port 0
    hand_fix_checksums(frame, len);
    give(len);
    len = plain_syn();
    frame[47] = TCP_SYN | TCP_FIN;
    hand_fix_checksums(frame, len);
    give(len);
    CU_ASSERT_EQUAL(counter(TCP_DROP_TCP_HEADER), 4);
    CU_ASSERT_EQUAL(a->seen_count, 0);
    CU_ASSERT_EQUAL(tcp_stack_conns(p.side[1].stack), 0);
    // IP options are stepped over; padding of the link is not payload.
    struct hand_tcp t = {.src_port = 5, .dst_port = PAIR_PORT, .flags = TCP_SYN, .window = 100};
    len = hand_tcp_frame(frame, &t);
    memmove(frame + 42, frame + 34, len - 34);
    memset(frame + 34, 1, 8);
    frame[14] = 0x47;
    store_be16(frame + 16, (uint16_t)(len - 14 + 8));
    hand_fix_checksums(frame, len + 8);
    memset(frame + len + 8, 0xaa, 10);
    give(len + 18);
    CU_ASSERT_EQUAL(tcp_stack_conns(p.side[1].stack), 1);
    pair_free(&p);
}

/* Everything that counts one received frame: a drop, or the arrival itself. */
static uint64_t all_drops(void) {
    uint64_t c[TCP_COUNTER_COUNT], sum = 0;
    tcp_stack_counters(p.side[1].stack, c);
    for (unsigned int i = 0; i < TCP_COUNTER_COUNT; i++)
        if (strncmp(tcp_counter_names[i], "drop_", 5) == 0)
            sum += c[i];
    return sum;
}

static void truncate_each(size_t len) {
    uint8_t whole[sizeof frame];
    memcpy(whole, frame, len);
    for (size_t n = 0; n < len; n++) {
        uint64_t before = all_drops();
        hand_give(&p, 1, whole, n);
        CU_ASSERT_EQUAL(all_drops(), before + 1);
    }
    uint64_t before = all_drops();
    hand_give(&p, 1, whole, len);
    CU_ASSERT_EQUAL(all_drops(), before); // the whole is fine
}

void test_truncations(void) {
    static const uint8_t options[] = {2, 4, 5, 0xb4, 1, 3, 3, 7};
    struct pair_app server;
    init();
    pair_app_init(&server, 1, 1);
    p.side[1].accept_app = &server;
    tcp_stack_pin_neighbour(p.side[1].stack, 0, PAIR_A, pair_mac[0]);
    struct hand_tcp t = {.src_port = 5,
                         .dst_port = PAIR_PORT,
                         .flags = TCP_SYN,
                         .window = 100,
                         .options = options,
                         .option_bytes = 8};
    truncate_each(hand_tcp_frame(frame, &t));
    CU_ASSERT_EQUAL(tcp_stack_conns(p.side[1].stack), 1);
    uint8_t echo[40] = {8};
    truncate_each(hand_icmp_frame(frame, echo, sizeof echo));
    truncate_each(hand_udp_frame(frame, 1, 2, "payload", 7, true));
    truncate_each(hand_arp_frame(frame, 1, pair_mac[0], PAIR_A, PAIR_B));
    CU_ASSERT_EQUAL(counter(TCP_ICMP_ECHO), 1);
    CU_ASSERT_EQUAL(counter(TCP_UDP_IN), 1);
    pair_free(&p);
}

/* A conversation with one frame in three damaged, its checksums mended: everything behind them is
 * reached. */
static bool flip(struct pair *pair, struct pair_frame *f) {
    if (pair_random(pair) % 3 != 0 || f->data[12] != 8 || f->data[13] != 0)
        return false;
    unsigned int flips = 1 + (unsigned int)(pair_random(pair) % 4);
    for (unsigned int i = 0; i < flips; i++)
        f->data[14 + pair_random(pair) % (f->len - 14u)] ^= (uint8_t)(1 << pair_random(pair) % 8);
    size_t header = (size_t)(f->data[14] & 15) * 4;
    if (header >= 20 && f->len >= 14 + header + 20)
        hand_fix_checksums(f->data, f->len);
    return false;
}

void test_bit_flips(void) {
    struct tcp_limits l;
    tcp_limits_default(&l);
    l.conns_max = 8;
    l.half_open_max = 4;
    l.time_wait_max = 4;
    uint64_t accepted = 0, dropped = 0;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        struct pair_app client, server;
        pair_init(&p, &l, seed);
        a = &p.side[0];
        pair_app_init(&client, 1, 2);
        pair_app_init(&server, 2, 1);
        client.to_send = server.to_send = 30000;
        client.mixed = server.mixed = 1;
        client.close_when_sent = server.close_when_sent = true;
        p.side[1].accept_app = &server;
        p.tamper = flip;
        pair_connect(&p, &client, 1000);
        for (unsigned int i = 0; i < 40; i++) {
            pair_run_for(&p, 300000);
            p.side[1].accept_app = server.c == NULL ? &server : NULL;
            size_t len = 34 + pair_random(&p) % 100;
            for (size_t k = 0; k < len; k++) // noise behind a sound IP header
                frame[k] = (uint8_t)pair_random(&p);
            static const uint8_t kinds[] = {1, 6, 17};
            uint8_t kind = kinds[pair_random(&p) % 3];
            uint8_t saved[200];
            memcpy(saved, frame + 34, len - 34);
            hand_icmp_frame(frame, saved, len - 34);
            frame[23] = kind;
            if (len >= 54)
                hand_fix_checksums(frame, len);
            hand_give(&p, 1, frame, len);
        }
        accepted += pair_counter(&p, 1, TCP_CONNS_ACCEPTED);
        dropped += all_drops();
        pair_free(&p); // nothing leaked, whatever happened
    }
    CU_ASSERT(accepted > 50);
    CU_ASSERT(dropped > 1000);
}
