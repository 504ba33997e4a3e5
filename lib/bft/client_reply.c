/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * REPLY at the client: one vote per replica and request, and when enough of them agree.
 */
#include "bft/client_internal.h"

#include <stdlib.h>
#include <string.h>

void bft_vote_clear(struct bft_client *c, struct bft_client_session *s, uint32_t replica) {
    struct bft_vote *v = &s->votes[replica];
    if (v->owned != NULL) {
        assert(c->full_bytes[replica] >= v->full_len);
        c->full_bytes[replica] -= v->full_len;
        free(v->owned);
    }
    *v = (struct bft_vote){.state = BFT_VOTE_NONE};
}

static bool same_value(const struct bft_value *a, const struct bft_value *b) {
    return a->sigma == b->sigma && a->flags == b->flags &&
           memcmp(a->digest, b->digest, CRYPTO_DIGEST_BYTES) == 0;
}

/* Its answer is taken away, but not the right to have given one. */
static void invalidate(struct bft_client *c, struct bft_client_session *s, uint32_t replica) {
    bft_vote_clear(c, s, replica);
    s->votes[replica].state = BFT_VOTE_INVALID;
}

/* Whether the vote's full result is what its digest says; a replica that lies about that loses its
 * vote. */
static bool verify_full(struct bft_client *c, struct bft_client_session *s, uint32_t replica) {
    struct bft_vote *v = &s->votes[replica];
    uint8_t digest[CRYPTO_DIGEST_BYTES];
    if (v->full == NULL || v->verified)
        return v->full != NULL;
    bft_result_digest(c->sha, v->value.flags, v->full, v->full_len, digest);
    v->verified = memcmp(digest, v->value.digest, sizeof digest) == 0;
    if (!v->verified)
        invalidate(c, s, replica);
    return v->verified;
}

/* ------------------------------------------------------------------ weighing */

/* Equal replies that an ordered or unordered request needs, of those that are committed. */
static uint32_t needed(const struct bft_client *c, const struct bft_client_session *s) {
    const struct bft_group *g = &c->cfg.group;
    /* design.md 4: with the read optimisation every client's writes and ordered reads wait for
     * 2f+1, and so do replicated reads when something writes past the group. */
    if (g->read_optimisation || (g->unordered_writes && (s->flags & BFT_READ) != 0))
        return c->quorum;
    /* OSDI 4.1: "The client waits for f+1 replies ... from different replicas ... with the same t
     * and r". */
    return g->f + 1;
}

/* Votes for the value of vote i: the committed ones, and the tentative ones of its view. */
static void tally(const struct bft_client *c, const struct bft_client_session *s, uint32_t i,
                  uint32_t *committed, uint32_t *tentative) {
    const struct bft_vote *mine = &s->votes[i];
    *committed = *tentative = 0;
    for (uint32_t k = 0; k < c->cfg.group.n; k++) {
        const struct bft_vote *v = &s->votes[k];
        if (v->state != BFT_VOTE_VALID || !same_value(&v->value, &mine->value))
            continue;
        if (!v->tentative)
            (*committed)++;
        else if (mine->tentative && v->view == mine->view)
            (*tentative)++;
    }
}

static bool has_quorum(const struct bft_client *c, const struct bft_client_session *s, uint32_t i) {
    uint32_t committed, tentative;
    if (s->votes[i].state != BFT_VOTE_VALID)
        return false;
    tally(c, s, i, &committed, &tentative);
    /* OSDI 5.1: tentative executions count only when 2f+1 of one view say so: f+1 could be rolled
     * back. */
    return committed >= needed(c, s) || (tentative > 0 && committed + tentative >= c->quorum);
}

int bft_client_full_source(struct bft_client *c, const struct bft_client_session *s) {
    uint32_t n = c->cfg.group.n, first = (uint32_t)(bft_client_random(c) % n);
    for (uint32_t k = 0; k < n; k++) {
        uint32_t i = (first + k) % n;
        if (s->votes[i].full == NULL && has_quorum(c, s, i))
            return (int)i;
    }
    return -1;
}

/* Whether some value can still reach what is needed, with the answers to come. */
static bool quorum_possible(const struct bft_client *c, const struct bft_client_session *s) {
    uint32_t n = c->cfg.group.n, open = n - s->answered;
    for (uint32_t i = 0; i < n; i++)
        open += s->votes[i].state == BFT_VOTE_VALID && s->votes[i].tentative;
    if (open >= needed(c, s))
        return true;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t committed, tentative;
        if (s->votes[i].state != BFT_VOTE_VALID)
            continue;
        tally(c, s, i, &committed, &tentative);
        if (committed + open >= needed(c, s))
            return true;
    }
    return false;
}

static void count_wrong(struct bft_client *c, uint32_t replica) {
    c->wrong[replica]++;
    bft_client_count(c, BFT_CLIENT_REPLIES_WRONG);
}

/* Ends the request with the value of vote i; full: the vote with its result, or n when it has none.
 */
static void agree(struct bft_client *c, struct bft_client_session *s, uint32_t i, uint32_t full) {
    const struct bft_value *value = &s->votes[i].value;
    bool unordered = (value->flags & BFT_REPLY_UNORDERED) != 0;
    struct bft_completion done = {.outcome = unordered ? BFT_UNORDERED_AGREED : BFT_AGREED,
                                  .sigma = value->sigma,
                                  .incarnation = s->incarnation};
    if (s->state == BFT_CS_LATE)
        done.outcome = BFT_AGREED_LATE;
    else if ((value->flags & BFT_REPLY_TOO_LARGE) != 0)
        done.outcome = BFT_TOO_LARGE;
    if (full < c->cfg.group.n) {
        /* An empty result is a result: not NULL. */
        done.result = s->votes[full].full;
        done.result_len = s->votes[full].full_len;
    }
    for (uint32_t k = 0; k < c->cfg.group.n && !unordered; k++)
        if (s->votes[k].state == BFT_VOTE_INVALID ||
            (s->votes[k].state == BFT_VOTE_VALID && !same_value(&s->votes[k].value, value)))
            count_wrong(c, k);
    s->done_number = unordered ? 0 : s->number;
    s->done = *value;
    bft_client_count(c, BFT_CLIENT_COMPLETED);
    bft_client_finish(c, s, &done);
}

/* Looks for a value with a quorum and, unless it is too large, its result in full: true when that
 * ended it. */
static bool weigh(struct bft_client *c, struct bft_client_session *s) {
    uint32_t n = c->cfg.group.n;
    for (uint32_t i = 0; i < n; i++) {
        if (!has_quorum(c, s, i))
            continue;
        if ((s->votes[i].value.flags & BFT_REPLY_TOO_LARGE) != 0) {
            agree(c, s, i, n);
            return true;
        }
        const struct bft_value value = s->votes[i].value;
        for (uint32_t k = 0; k < n; k++) {
            struct bft_vote *v = &s->votes[k];
            if (v->state != BFT_VOTE_VALID || v->full == NULL || !same_value(&v->value, &value))
                continue;
            if (!verify_full(c, s, k))
                return weigh(c, s); // one vote less: start over, at most n times
            agree(c, s, k, k);
            return true;
        }
    }
    return false;
}

/* ------------------------------------------------------------------ disagreement */

void bft_client_order(struct bft_client *c, struct bft_client_session *s) {
    assert((s->flags & BFT_UNORDERED) != 0);
    bft_client_count(c, BFT_CLIENT_UNORDERED_FAILED);
    s->flags = BFT_READ;
    bft_client_issue(c, s);
}

/* Up to two full results that differ, for the record. */
static uint32_t find_differing(struct bft_client *c, struct bft_client_session *s,
                               struct bft_completion *done) {
    uint32_t found = 0, first = 0;
    for (uint32_t i = 0; i < c->cfg.group.n && found < 2; i++) {
        if (s->votes[i].state != BFT_VOTE_VALID || !verify_full(c, s, i))
            continue;
        const struct bft_vote *v = &s->votes[i];
        if (found == 1 &&
            memcmp(s->votes[first].value.digest, v->value.digest, CRYPTO_DIGEST_BYTES) == 0)
            continue;
        first = found == 0 ? i : first;
        done->differing[found] = v->full;
        done->differing_len[found] = v->full_len;
        done->differing_replica[found] = (uint16_t)i;
        found++;
    }
    return found;
}

/* The sigma that f+1 replicas name, though not what came of it: a write's tombstone needs it. 0:
 * none. */
static uint64_t agreed_sigma(const struct bft_client *c, const struct bft_client_session *s) {
    for (uint32_t i = 0; i < c->cfg.group.n; i++) {
        uint32_t votes = 0;
        if (s->votes[i].state != BFT_VOTE_VALID || s->votes[i].tentative)
            continue;
        for (uint32_t k = 0; k < c->cfg.group.n; k++)
            votes += s->votes[k].state == BFT_VOTE_VALID && !s->votes[k].tentative &&
                     s->votes[k].value.sigma == s->votes[i].value.sigma;
        if (votes > c->cfg.group.f)
            return s->votes[i].value.sigma;
    }
    return 0;
}

void bft_client_disagreed(struct bft_client *c, struct bft_client_session *s) {
    struct bft_completion done = {
        .outcome = BFT_DISAGREED, .sigma = agreed_sigma(c, s), .incarnation = s->incarnation};
    (void)find_differing(c, s, &done);
    bft_client_count(c, BFT_CLIENT_DISAGREED);
    bft_client_finish(c, s, &done);
}

/* No value can reach what it needs any more. The record wants two results in full: ask once, if
 * they are not here. */
static void disagree(struct bft_client *c, struct bft_client_session *s) {
    struct bft_completion scratch = {0};
    if ((s->flags & BFT_UNORDERED) != 0) {
        bft_client_order(c, s);
    } else if (find_differing(c, s, &scratch) == 2) {
        bft_client_disagreed(c, s);
    } else if (!s->disagreement) {
        s->disagreement = true;
        bft_client_retransmit(c, s);
    }
}

bool bft_client_stalled(struct bft_client *c, struct bft_client_session *s) {
    const struct bft_group *g = &c->cfg.group;
    bool open = s->answered < g->n - g->f || needed(c, s) > g->f + 1;
    for (uint32_t i = 0; i < g->n && !open; i++)
        open = has_quorum(c, s, i) || s->votes[i].tentative;
    /*
     * n - f answers hold f+1 of correct replicas, which agree unless the service is not
     * deterministic. The rest may still make an agreement, so give them one interval more; then say
     * so rather than let the request time out.
     */
    bool stalled = s->disagreement || (!open && s->stalled_votes == s->answered);
    if (stalled) {
        bft_client_disagreed(c, s);
        return true;
    }
    s->stalled_votes = open ? 0 : s->answered;
    return false;
}

/* ------------------------------------------------------------------ input */

/* f+1 replicas say that the group has another incarnation: from now on requests are for that one.
 */
static void adopt_incarnation(struct bft_client *c, uint64_t incarnation) {
    c->incarnation = incarnation;
    memset(c->noticed, 0, sizeof c->noticed);
    for (uint32_t i = 0; i < c->cfg.sessions; i++) {
        struct bft_client_session *s = &c->sessions[i];
        /* A write may have been executed in the former life, of which the new one may have come: it
         * is left to time out. A read can be asked again. */
        if (s->state == BFT_CS_BUSY && (s->flags & BFT_READ) != 0)
            bft_client_issue(c, s);
    }
}

static void take_notice(struct bft_client *c, uint32_t replica, uint64_t incarnation) {
    uint32_t votes = 0;
    if (incarnation == c->incarnation)
        return;
    c->noticed[replica] = incarnation;
    for (uint32_t i = 0; i < c->cfg.group.n; i++)
        votes += c->noticed[i] == incarnation;
    if (votes > c->cfg.group.f)
        adopt_incarnation(c, incarnation);
}

/* Remembers a vote; false when it changes nothing. */
static bool take_vote(struct bft_client *c, struct bft_client_session *s, uint32_t replica,
                      const struct bft_reply_msg *m) {
    struct bft_vote *v = &s->votes[replica];
    uint8_t kept = BFT_REPLY_UNORDERED | BFT_REPLY_TOO_LARGE;
    struct bft_value value = {.sigma = m->sigma, .flags = m->h.flags & kept};
    memcpy(value.digest, m->digest, sizeof value.digest);
    bool tentative = (m->h.flags & BFT_REPLY_TENTATIVE) != 0;
    bool unordered = (m->h.flags & BFT_REPLY_UNORDERED) != 0;
    bool valid =
        m->h.incarnation == s->incarnation && unordered == ((s->flags & BFT_UNORDERED) != 0);
    if (v->state == BFT_VOTE_NONE) {
        s->answered++;
    } else if (v->state == BFT_VOTE_INVALID) {
        return false;
    } else if (valid && same_value(&v->value, &value) && v->tentative == tentative &&
               v->view == m->view) {
        return true; // again, perhaps in full this time
    } else if (!v->tentative) {
        /* One vote and no second: only what was tentative may be replaced. (A committed reply that
         * is sent again in a later view is the same vote.) */
        return valid && same_value(&v->value, &value);
    }
    bft_vote_clear(c, s, replica);
    v->state = valid ? BFT_VOTE_VALID : BFT_VOTE_INVALID;
    v->tentative = tentative;
    v->view = m->view;
    v->value = value;
    return true;
}

/* Whether a verified full result of this value is here, of another replica. */
static bool have_full(struct bft_client *c, struct bft_client_session *s, uint32_t replica,
                      const struct bft_value *value) {
    for (uint32_t k = 0; k < c->cfg.group.n; k++)
        if (k != replica && s->votes[k].state == BFT_VOTE_VALID && s->votes[k].full != NULL &&
            same_value(&s->votes[k].value, value) && verify_full(c, s, k))
            return true;
    return false;
}

/* The vote's borrowed result becomes ours, or is dropped when its replica's share is used up. */
static void keep_full(struct bft_client *c, struct bft_client_session *s, uint32_t replica) {
    struct bft_vote *v = &s->votes[replica];
    if (v->state != BFT_VOTE_VALID || v->full == NULL || v->owned != NULL)
        return;
    bool room = c->full_bytes[replica] + v->full_len <= c->full_share_bytes;
    if (room && !have_full(c, s, replica, &v->value))
        v->owned = malloc(v->full_len > 0 ? v->full_len : 1);
    else if (!room)
        bft_client_count(c, BFT_CLIENT_DROP_TOO_LARGE);
    if (v->owned != NULL) {
        if (v->full_len > 0)
            memcpy(v->owned, v->full, v->full_len);
        c->full_bytes[replica] += v->full_len;
    } else {
        v->full_len = 0;
        v->verified = false;
    }
    v->full = v->owned;
}

static void vote(struct bft_client *c, struct bft_client_session *s, uint32_t replica,
                 const struct bft_reply_msg *m) {
    struct bft_vote *v = &s->votes[replica];
    uint8_t none = BFT_REPLY_DIGEST_ONLY | BFT_REPLY_TOO_LARGE;
    if (!take_vote(c, s, replica, m))
        return;
    if (v->state == BFT_VOTE_VALID && (m->h.flags & none) == 0 && v->full == NULL) {
        v->full = m->result;
        v->full_len = m->result_len;
    }
    if (weigh(c, s))
        return;
    keep_full(c, s, replica);
    if (!quorum_possible(c, s))
        disagree(c, s);
}

/* A reply that comes after the agreement: it can still be a lie to count. */
static void late_reply(struct bft_client *c, struct bft_client_session *s, uint32_t replica,
                       const struct bft_reply_msg *m) {
    struct bft_value value = {.sigma = m->sigma, .flags = m->h.flags & BFT_REPLY_TOO_LARGE};
    memcpy(value.digest, m->digest, sizeof value.digest);
    if (m->h.incarnation != c->incarnation || !same_value(&value, &s->done))
        count_wrong(c, replica);
}

static struct bft_client_session *session_of(struct bft_client *c, const struct bft_reply_msg *m) {
    const struct bft_session_id *id = &m->session;
    enum bft_client_counter why = BFT_CLIENT_DROP_SESSION;
    if (id->principal == c->cfg.principal && id->endpoint == c->cfg.endpoint &&
        id->epoch != c->cfg.epoch)
        why = BFT_CLIENT_DROP_EPOCH; // design.md law 12: of a former life
    else if (id->principal == c->cfg.principal && id->endpoint == c->cfg.endpoint &&
             id->index < c->cfg.sessions)
        return &c->sessions[id->index];
    bft_client_count(c, why);
    return NULL;
}

void bft_client_input(struct bft_client *c, uint16_t replica, const uint8_t *message, size_t len,
                      uint64_t now_us) {
    struct bft_reply_msg m;
    if (now_us > c->now_us)
        c->now_us = now_us;
    if (replica >= c->cfg.group.n) {
        bft_client_count(c, BFT_CLIENT_DROP_SENDER);
        return;
    }
    if (!bft_decode_reply(message, len, &m)) {
        bft_client_count(c, BFT_CLIENT_DROP_MALFORMED);
        return;
    }
    struct bft_client_session *s = session_of(c, &m);
    if (s == NULL)
        return;
    if (m.result_len > c->cfg.group.result_max_bytes) {
        bft_client_count(c, BFT_CLIENT_DROP_TOO_LARGE);
        return;
    }
    bft_client_count(c, BFT_CLIENT_REPLIES_IN);
    if (s->state != BFT_CS_FREE && m.number == s->number) {
        if ((m.h.flags & BFT_REPLY_INCARNATION) != 0)
            take_notice(c, replica, m.h.incarnation);
        else
            vote(c, s, replica, &m);
    } else if (m.number == s->done_number) {
        late_reply(c, s, replica, &m);
    } else {
        bft_client_count(c, BFT_CLIENT_DROP_NUMBER);
    }
}
