/* SPDX-License-Identifier: BSD-3-Clause */
/* What the files of test_bft share. */
#ifndef TEST_BFT_H
#define TEST_BFT_H

#include "test_bft_cluster.h"
#include "unit.h"

#include <stdlib.h>

static inline void check_result(const struct cluster_request *q, uint64_t id, uint32_t len) {
    uint8_t *expected = cluster_result(id, len);
    CU_ASSERT_PTR_NOT_NULL_FATAL(q->result);
    CU_ASSERT_EQUAL_FATAL(q->result_len, len);
    CU_ASSERT_EQUAL(memcmp(q->result, expected, len), 0);
    free(expected);
}

#endif
