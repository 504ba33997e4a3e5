/* SPDX-License-Identifier: BSD-3-Clause */
/* What the files of test_bft share, and their cases. */
#ifndef TEST_BFT_H
#define TEST_BFT_H

#include "test_bft_cluster.h"
#include "unit.h"

#include <stdlib.h>

#define SECOND_US UINT64_C(1000000)

static inline void check_result(const struct cluster_request *q, uint64_t id, uint32_t len) {
    uint8_t *expected = cluster_result(id, len);
    CU_ASSERT_PTR_NOT_NULL_FATAL(q->result);
    CU_ASSERT_EQUAL_FATAL(q->result_len, len);
    CU_ASSERT_EQUAL(memcmp(q->result, expected, len), 0);
    free(expected);
}

/* test_bft_codec.c */
void test_codec_round_trip(void);
void test_codec_round_trip_votes(void);
void test_codec_truncation(void);
void test_codec_strict(void);
void test_codec_mutations(void);
void test_codec_quorum(void);

/* test_bft_client.c */
void test_client_agreement(void);
void test_client_full_result(void);
void test_client_digest_lie(void);
void test_client_liars(void);
void test_client_tentative(void);
void test_client_unordered(void);
void test_client_needed(void);
void test_client_disagreement(void);
void test_client_disagreement_digests(void);
void test_client_disagreement_silent(void);
void test_client_too_large(void);
void test_client_timeout_read(void);
void test_client_timeout_write(void);
void test_client_abandon(void);
void test_client_retransmission(void);
void test_client_incarnation(void);
void test_client_drops(void);
void test_client_memory(void);
void test_client_resubmit(void);
void test_client_mutations(void);

/* test_bft_faults.c */
void test_seeds(void);
extern uint64_t test_only_seed; // 0: all
void test_crashed_backups(void);
void test_silenced_within_window(void);
void test_silenced_beyond_window(void);
void test_restarted_backup(void);
void test_caught_up_helps(void);
void test_restarted_primary(void);
void test_lying_replica(void);
void test_noisy_replica(void);
void test_equivocating_primary(void);
void test_repeating_primary(void);
void test_vote_counts(void);
void test_senders(void);
void test_lost_proposal(void);
void test_bad_authenticator(void);
void test_bad_authenticators(void);
void test_diverged_replica(void);
void test_failing_backend(void);
void test_stale_replica_unordered(void);

#endif
