/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lib/bft: codecs, the normal case, faulty networks and faulty replicas. The in-memory cluster is
 * in test_bft_cluster.c, what only concerns the client in test_bft_client.c.
 */
#include "test_bft.h"

#include <stdlib.h>
#include <string.h>

#define SECOND_US UINT64_C(1000000)

/* ------------------------------------------------------------------ normal case */

static void check_normal(uint32_t n, uint32_t f) {
    struct cluster_options o;
    cluster_options_default(&o, n, f);
    struct cluster *c = cluster_new(&o);
    for (uint64_t id = 1; id <= 20; id++) {
        uint64_t cookie = cluster_write(c, 0, id, 10);
        CU_ASSERT_TRUE_FATAL(cluster_settle(c, SECOND_US));
        const struct cluster_request *q = cluster_request(c, cookie);
        CU_ASSERT_EQUAL(q->last, BFT_AGREED);
        CU_ASSERT_EQUAL(q->completions, 1);
        CU_ASSERT_EQUAL(q->sigma, BFT_SIGMA(id, 0));
        CU_ASSERT_EQUAL(q->incarnation, 77);
        check_result(q, id, 10);
    }
    cluster_run(c, SECOND_US);
    for (uint16_t i = 0; i < n; i++) {
        struct bft_replica_status st = cluster_status(c, i);
        CU_ASSERT_EQUAL(c->nodes[i].log_len, 20);
        CU_ASSERT_EQUAL(st.last_executed, 20);
        CU_ASSERT_EQUAL(st.last_stable, 16);
        CU_ASSERT_EQUAL(st.pending, 0);
        CU_ASSERT_FALSE(st.behind);
        CU_ASSERT_EQUAL(cluster_counter(c, i, BFT_REPLICA_EXECUTED), 20);
        CU_ASSERT_EQUAL(cluster_counter(c, i, BFT_REPLICA_CHECKPOINTS_STABLE), 2);
    }
    CU_ASSERT_TRUE(cluster_logs_agree(c));
    CU_ASSERT_EQUAL(cluster_client_counter(c, 0, BFT_CLIENT_RETRANSMITTED), 0);
    CU_ASSERT_EQUAL(cluster_client_counter(c, 0, BFT_CLIENT_REPLIES_WRONG), 0);
    cluster_free(c);
}

static void test_normal_case(void) {
    check_normal(1, 0);
    check_normal(4, 1);
    check_normal(5, 1);
    check_normal(7, 2);
    check_normal(10, 3);
}

static const struct unit_case cases[] = {
    {"normal case", test_normal_case},
    {0},
};

int main(int argc, char **argv) {
    return unit_main("bft", cases, argc, argv);
}
