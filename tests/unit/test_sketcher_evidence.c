/* SPDX-License-Identifier: BSD-3-Clause */
/* The ring of evidence: numbers, order, wrapping, and readers beside the writer. */
#include "test_sketcher.h"

#include <pthread.h>
#include <stdatomic.h>

/* A record all of whose parts follow from one value, so that a torn one shows. */
static struct sketcher_evidence made_from(uint32_t value) {
    struct sketcher_evidence e = {
        .number = 999, // the ring's business
        .kind = value % 2 ? SKETCHER_EVIDENCE_SUSPECT : SKETCHER_EVIDENCE_NO_AGREEMENT,
        .unix_s = value,
        .replica = (uint16_t)value,
        .replica_2 = (uint16_t)~value,
        .sigma = BFT_SIGMA(value, 1),
        .length = {value, value + 1ull},
    };
    memset(e.digest, (int)(value & 0xff), sizeof e.digest);
    snprintf(e.difference, sizeof e.difference, "body byte %u", value);
    snprintf(e.target, sizeof e.target, "/page/%u", value);
    return e;
}

static bool is_made_from(const struct sketcher_evidence *e, uint32_t value) {
    struct sketcher_evidence want = made_from(value);
    return e->kind == want.kind && e->unix_s == want.unix_s && e->replica == want.replica &&
           e->replica_2 == want.replica_2 && e->sigma == want.sigma &&
           memcmp(e->digest, want.digest, sizeof want.digest) == 0 &&
           e->length[0] == want.length[0] && e->length[1] == want.length[1] &&
           strcmp(e->difference, want.difference) == 0 && strcmp(e->target, want.target) == 0;
}

static void add(struct sketcher_evidence_ring *ring, uint32_t value) {
    struct sketcher_evidence e = made_from(value);
    sketcher_evidence_add(ring, &e);
}

static void newest_first(void) {
    struct sketcher_evidence out[SKETCHER_EVIDENCE_RING + 1];
    struct sketcher_evidence_ring *ring = sketcher_evidence_new();
    CU_ASSERT_PTR_NOT_NULL_FATAL(ring);
    CU_ASSERT_EQUAL(sketcher_evidence_read(ring, out, 4), 0);
    add(ring, 1);
    add(ring, 2);
    CU_ASSERT_EQUAL(sketcher_evidence_read(ring, out, 4), 2);
    CU_ASSERT_EQUAL(out[0].number, 2);
    CU_ASSERT_TRUE(is_made_from(&out[0], 2));
    CU_ASSERT_TRUE(is_made_from(&out[1], 1));
    CU_ASSERT_EQUAL(sketcher_evidence_read(ring, out, 1), 1);
    CU_ASSERT_EQUAL(out[0].number, 2);
    for (uint32_t i = 3; i <= 200; i++)
        add(ring, i);
    CU_ASSERT_EQUAL(sketcher_evidence_read(ring, out, SKETCHER_EVIDENCE_RING + 1),
                    SKETCHER_EVIDENCE_RING);
    for (uint32_t i = 0; i < SKETCHER_EVIDENCE_RING; i++) {
        CU_ASSERT_EQUAL(out[i].number, 200 - i);
        CU_ASSERT_TRUE(is_made_from(&out[i], 200 - i));
    }
    sketcher_evidence_free(ring);
}

struct writer {
    struct sketcher_evidence_ring *ring;
    atomic_bool done;
};

static void *write_many(void *arg) {
    struct writer *w = arg;
    for (uint32_t i = 1; i <= 50000; i++)
        add(w->ring, i);
    atomic_store(&w->done, true);
    return NULL;
}

static void readers_beside_the_writer(void) {
    struct sketcher_evidence out[SKETCHER_EVIDENCE_RING];
    struct writer w = {.ring = sketcher_evidence_new()};
    pthread_t thread;
    CU_ASSERT_PTR_NOT_NULL_FATAL(w.ring);
    CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, write_many, &w), 0);
    uint32_t torn = 0, disordered = 0;
    bool last = false;
    while (!last) {
        last = atomic_load(&w.done);
        uint32_t count = sketcher_evidence_read(w.ring, out, SKETCHER_EVIDENCE_RING);
        for (uint32_t i = 0; i < count; i++) {
            torn += !is_made_from(&out[i], (uint32_t)out[i].number);
            disordered += i > 0 && out[i].number >= out[i - 1].number;
        }
    }
    pthread_join(thread, NULL);
    CU_ASSERT_EQUAL(torn, 0);
    CU_ASSERT_EQUAL(disordered, 0);
    CU_ASSERT_EQUAL(sketcher_evidence_read(w.ring, out, 1), 1);
    CU_ASSERT_EQUAL(out[0].number, 50000);
    sketcher_evidence_free(w.ring);
}

const struct unit_case sketcher_evidence_cases[] = {
    {"evidence: newest first", newest_first},
    {"evidence: readers beside the writer", readers_beside_the_writer},
    {0},
};
