/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The candidate set: a replica that fails several times in a row is not drawn for a while. Only
 * silence and broken answers count, never a mismatch: a liar that is ejected for lying would choose
 * who is asked. The set never shrinks below 2f+1 (design.md law 5), or f replicas that slow the
 * others down would be left alone.
 */
#include "sketcher/internal.h"

#include <assert.h>

void health_init(struct health *h, const struct sketcher_worker_config *cfg) {
    *h = (struct health){
        .replicas = cfg->replicas,
        .candidates_min = BROKEN(FLOOR) ? 1 : 2 * cfg->f + 1,
        .fail_after = cfg->fail_after,
        .eject_us = cfg->eject_us,
        .eject_max_us = cfg->eject_max_us,
        .candidate_count = cfg->replicas,
    };
    for (uint32_t i = 0; i < h->replicas; i++) {
        h->candidate[i] = (uint16_t)i;
        h->replica[i].eject_us = h->eject_us;
    }
}

static void list_candidates(struct health *h) {
    h->candidate_count = 0;
    for (uint32_t i = 0; i < h->replicas; i++)
        if (!h->replica[i].ejected)
            h->candidate[h->candidate_count++] = (uint16_t)i;
    assert(h->candidate_count >= h->candidates_min);
}

/* The next ejection lasts twice as long, unless an answer comes between. */
static void set_probe(struct health *h, struct health_replica *r, uint64_t now_us) {
    r->probe_at_us = now_us + r->eject_us;
    r->eject_us = 2 * r->eject_us < h->eject_max_us ? 2 * r->eject_us : h->eject_max_us;
}

void health_answered(struct health *h, uint32_t replica) {
    struct health_replica *r = &h->replica[replica];
    r->failures_in_row = 0;
    if (!r->ejected)
        r->eject_us = h->eject_us;
}

bool health_failed(struct health *h, uint32_t replica, uint64_t now_us) {
    struct health_replica *r = &h->replica[replica];
    if (r->ejected)
        return false; // a request sent before
    r->failures_in_row++;
    if (r->failures_in_row < h->fail_after || h->candidate_count <= h->candidates_min)
        return false;
    r->ejected = true;
    set_probe(h, r, now_us);
    list_candidates(h);
    return true;
}

/* A probe whose result is never reported is due again after one more ejection period. */
int health_probe_due(struct health *h, uint64_t now_us) {
    for (uint32_t i = 0; i < h->replicas; i++) {
        struct health_replica *r = &h->replica[i];
        if (r->ejected && r->probe_at_us <= now_us) {
            r->probe_at_us = now_us + r->eject_us;
            return (int)i;
        }
    }
    return -1;
}

void health_probe_result(struct health *h, uint32_t replica, bool ok, uint64_t now_us) {
    struct health_replica *r = &h->replica[replica];
    if (!r->ejected)
        return;
    if (!ok) {
        set_probe(h, r, now_us);
        return;
    }
    r->ejected = false;
    r->failures_in_row = 0;
    list_candidates(h);
}

uint64_t health_next_deadline(const struct health *h) {
    uint64_t next = UINT64_MAX;
    for (uint32_t i = 0; i < h->replicas; i++)
        if (h->replica[i].ejected && h->replica[i].probe_at_us < next)
            next = h->replica[i].probe_at_us;
    return next;
}
