/* SPDX-License-Identifier: BSD-3-Clause */
/* CUBIC (RFC 9438) in integers: windows in bytes, time in milliseconds, C = 0.4, beta = 0.7. */
#include "tcp/tcp_internal.h"

#define BETA_NUM 7u
#define BETA_DEN 10u
#define ALPHA_NUM 9u // 3 (1 - beta) / (1 + beta) = 9 / 17
#define ALPHA_DEN 17u
#define CUBE_MS_MAX 60000 // the cube of more would not fit, nor matter

/* The largest r with r^3 <= n, bit by bit. */
uint32_t cube_root(uint64_t n) {
    uint64_t root = 0;
    for (uint64_t bit = UINT64_C(1) << 20; bit != 0; bit >>= 1) {
        uint64_t r = root | bit;
        if (r * r * r <= n)
            root = r;
    }
    return (uint32_t)root;
}

uint32_t cubic_on_loss(struct tcp_conn *c, uint32_t flight) {
    struct cubic *q = &c->cubic;
    // Fast convergence (4.7): who lost before reaching the old maximum leaves room for others.
    if (flight < q->max_window)
        q->max_window = (uint32_t)((uint64_t)flight * (BETA_DEN + BETA_NUM) / (2 * BETA_DEN));
    else
        q->max_window = flight;
    q->prior_window = flight;
    c->flags &= ~(uint32_t)CONN_CUBIC_EPOCH;
    return (uint32_t)((uint64_t)flight * BETA_NUM / BETA_DEN);
}

void cubic_on_timeout(struct tcp_conn *c) {
    c->cubic.max_window = 0;
    c->flags &= ~(uint32_t)CONN_CUBIC_EPOCH;
}

static void begin_stage(struct tcp_conn *c) {
    struct cubic *q = &c->cubic;
    c->flags |= CONN_CUBIC_EPOCH;
    q->epoch_ms = timestamp_clock(c->stack);
    q->friendly_window = c->cwnd;
    c->cwnd_credit = 0;
    if (q->max_window <= c->cwnd) {
        q->max_window = c->cwnd;
        q->k_ms = 0;
    } else { // K = cbrt((W_max - cwnd) / C), in segments and seconds
        uint64_t missing = q->max_window - c->cwnd;
        q->k_ms = cube_root(missing * UINT64_C(2500000000) / c->mss);
    }
}

/* W_cubic(t) = C (t - K)^3 + W_max (4.2). */
static uint32_t window_at(const struct tcp_conn *c, uint32_t t_ms) {
    int64_t dt = (int64_t)t_ms - c->cubic.k_ms;
    dt = dt > CUBE_MS_MAX ? CUBE_MS_MAX : dt < -CUBE_MS_MAX ? -CUBE_MS_MAX : dt;
    int64_t window = dt * dt * dt * c->mss / INT64_C(2500000000) + c->cubic.max_window;
    if (window < c->mss)
        return c->mss;
    return window > SENDQ_BYTES_MAX ? SENDQ_BYTES_MAX : (uint32_t)window;
}

/* W_est (4.3): what NewReno with the same beta would have. */
static void grow_friendly(struct tcp_conn *c, uint32_t acked) {
    struct cubic *q = &c->cubic;
    uint64_t step = (uint64_t)acked * c->mss / c->cwnd;
    if (q->friendly_window < q->prior_window)
        step = step * ALPHA_NUM / ALPHA_DEN;
    q->friendly_window += (uint32_t)step;
}

void cubic_on_ack(struct tcp_conn *c, uint32_t acked) {
    if ((c->flags & CONN_CUBIC_EPOCH) == 0)
        begin_stage(c);
    grow_friendly(c, acked);
    uint32_t t_ms = timestamp_clock(c->stack) - c->cubic.epoch_ms;
    if (window_at(c, t_ms) < c->cubic.friendly_window) { // the region of 4.3
        c->cwnd = max_u32(c->cwnd, c->cubic.friendly_window);
        return;
    }
    // 4.4: towards where the curve will be a round trip later.
    uint32_t target = window_at(c, t_ms + c->srtt_us8 / 8000);
    target = min_u32(target, c->cwnd + c->cwnd / 2);
    if (target <= c->cwnd)
        return;
    uint64_t credit = (uint64_t)(target - c->cwnd) * acked + c->cwnd_credit;
    c->cwnd_credit = (uint32_t)(credit % c->cwnd);
    c->cwnd += (uint32_t)(credit / c->cwnd);
}
