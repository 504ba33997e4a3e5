/* SPDX-License-Identifier: BSD-3-Clause */
#include "tcp_pair.h"
#include "unit.h"

static struct pair p;

static void transfer(uint64_t up, uint64_t down, uint32_t mixed) {
    struct pair_app client, server;
    pair_init(&p, NULL, up + down);
    pair_app_init(&client, 11, 22);
    pair_app_init(&server, 22, 11);
    client.to_send = up;
    server.to_send = down;
    client.mixed = server.mixed = mixed;
    client.close_when_sent = true;
    server.close_when_sent = true;
    p.side[1].accept_app = &server;
    CU_ASSERT_TRUE_FATAL(pair_connect(&p, &client, 40000));
    pair_run_for(&p, 60000000);
    CU_ASSERT_EQUAL(client.established, 1);
    CU_ASSERT_EQUAL(server.received, up);
    CU_ASSERT_EQUAL(client.received, down);
    CU_ASSERT_EQUAL(server.hash, pair_hash(11, up));
    CU_ASSERT_EQUAL(client.hash, pair_hash(22, down));
    CU_ASSERT_EQUAL(client.fins, 1);
    CU_ASSERT_EQUAL(server.fins, 1);
    CU_ASSERT_EQUAL(client.closed, 1);
    CU_ASSERT_EQUAL(server.closed, 1);
    CU_ASSERT_EQUAL(client.why, TCP_CLOSED_NORMALLY);
    CU_ASSERT_EQUAL(server.why, TCP_CLOSED_NORMALLY);
    CU_ASSERT_EQUAL(tcp_stack_conns(p.side[0].stack), 0);
    CU_ASSERT_EQUAL(tcp_stack_conns(p.side[1].stack), 0);
    CU_ASSERT_EQUAL(p.side[0].pool.in_use, 0);
    CU_ASSERT_EQUAL(p.side[1].pool.in_use, 0);
    CU_ASSERT_EQUAL(pair_counter(&p, 0, TCP_RETRANSMITS), 0);
    CU_ASSERT_EQUAL(pair_counter(&p, 1, TCP_RETRANSMITS), 0);
    pair_free(&p);
}

static void test_transfer_sizes(void) {
    static const uint64_t sizes[] = {1, 2, 1459, 1460, 1461, 2920, 65535, 65536, 100000, 1048576};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        transfer(sizes[i], 0, 0);
        transfer(1, sizes[i], 0);
        transfer(sizes[i], sizes[i], 1);
    }
}

static void test_transfer_large(void) {
    transfer(16u << 20, 1, 0);
    transfer(1, 16u << 20, 1);
    transfer(16u << 20, 16u << 20, 1);
}

static const struct unit_case cases[] = {
    {"transfers of every size", test_transfer_sizes},
    {"transfers of 16 MiB", test_transfer_large},
    {0},
};

int main(int argc, char **argv) {
    return unit_main("tcp", cases, argc, argv);
}
