/* SPDX-License-Identifier: BSD-3-Clause */
/* Options: MSS (RFC 9293 3.7.1), window scale (RFC 7323 2), SACK (RFC 2018 2, 3),
 * timestamps (RFC 7323 3). */
#include "tcp/bytes.h"
#include "tcp/tcp_internal.h"

enum {
    OPTION_END = 0,
    OPTION_NOP = 1,
    OPTION_MSS = 2,
    OPTION_SCALE = 3,
    OPTION_SACK_PERMITTED = 4,
    OPTION_SACK = 5,
    OPTION_TIMESTAMPS = 8,
};
#define TIMESTAMP_HEAD                                                                             \
    (OPTION_NOP << 24 | OPTION_NOP << 16 | OPTION_TIMESTAMPS << 8 | 10) // RFC 7323 appendix A
#define MSS_LEAST 88u      // a peer that asks for less would only cost us packets
#define SCALE_GREATEST 14u // RFC 7323 2.3

static void parse_sack(const uint8_t *p, uint8_t len, struct tcp_options *o) {
    if ((len - 2) % 8 != 0)
        return;
    for (uint8_t at = 2; at < len && o->sack_count < SACK_BLOCKS_MAX; at = (uint8_t)(at + 8))
        o->sack[o->sack_count++] =
            (struct seq_range){.start = load_be32(p + at), .end = load_be32(p + at + 4)};
}

static void parse_one(const uint8_t *p, uint8_t len, struct tcp_options *o) {
    if (p[0] == OPTION_MSS && len == 4)
        o->mss = load_be16(p + 2);
    if (p[0] == OPTION_SCALE && len == 3) {
        o->has_scale = true;
        o->scale = p[2] < SCALE_GREATEST ? p[2] : SCALE_GREATEST;
    }
    if (p[0] == OPTION_SACK_PERMITTED && len == 2)
        o->sack_permitted = true;
    if (p[0] == OPTION_TIMESTAMPS && len == 10) {
        o->has_timestamps = true;
        o->ts_value = load_be32(p + 2);
        o->ts_echo = load_be32(p + 6);
    }
    if (p[0] == OPTION_SACK)
        parse_sack(p, len, o);
}

bool tcp_options_parse(const uint8_t *p, size_t len, struct tcp_options *o) {
    // The blocks themselves are only read up to sack_count.
    memset(o, 0, offsetof(struct tcp_options, sack));
    if (len == TIMESTAMP_BYTES && load_be32(p) == TIMESTAMP_HEAD) { // as in nearly every segment
        o->has_timestamps = true;
        o->ts_value = load_be32(p + 4);
        o->ts_echo = load_be32(p + 8);
        return true;
    }
    while (len > 0 && p[0] != OPTION_END) {
        if (p[0] == OPTION_NOP) {
            p++;
            len--;
            continue;
        }
        if (len < 2 || p[1] < 2 || p[1] > len)
            return false;
        uint8_t option_len = p[1];
        parse_one(p, option_len, o);
        p += option_len;
        len -= option_len;
    }
    return true;
}

void tcp_options_write_timestamps(uint8_t *p, uint32_t value, uint32_t echo) {
    store_be32(p, TIMESTAMP_HEAD);
    store_be32(p + 4, value);
    store_be32(p + 8, echo);
}

size_t tcp_options_write_syn(uint8_t *p, const struct tcp_options *o) {
    size_t n = 4;
    p[0] = OPTION_MSS;
    p[1] = 4;
    store_be16(p + 2, o->mss);
    if (o->sack_permitted) {
        p[n] = p[n + 1] = OPTION_NOP;
        p[n + 2] = OPTION_SACK_PERMITTED;
        p[n + 3] = 2;
        n += 4;
    }
    if (o->has_timestamps) {
        tcp_options_write_timestamps(p + n, o->ts_value, o->ts_echo);
        n += TIMESTAMP_BYTES;
    }
    if (o->has_scale) {
        p[n] = OPTION_NOP;
        p[n + 1] = OPTION_SCALE;
        p[n + 2] = 3;
        p[n + 3] = o->scale;
        n += 4;
    }
    return n;
}

static size_t write_sack(struct tcp_conn *c, uint8_t *p, uint32_t room) {
    struct seq_range blocks[SACK_BLOCKS_MAX];
    unsigned int most = room < 12 ? 0 : min_u32((room - 4) / 8, SACK_BLOCKS_MAX);
    unsigned int n = most == 0 ? 0 : sack_blocks(c, blocks, most);
    if (n == 0)
        return 0;
    p[0] = p[1] = OPTION_NOP;
    p[2] = OPTION_SACK;
    p[3] = (uint8_t)(2 + 8 * n);
    for (unsigned int i = 0; i < n; i++) {
        store_be32(p + 4 + 8 * i, blocks[i].start);
        store_be32(p + 8 + 8 * i, blocks[i].end);
    }
    return 4 + 8 * (size_t)n;
}

size_t tcp_options_write(struct tcp_conn *c, uint8_t *p, uint32_t room) {
    size_t n = 0;
    uint32_t most = TCP_OPTION_BYTES_MAX;
    if ((c->flags & CONN_TIMESTAMPS) != 0) {
        tcp_options_write_timestamps(p, timestamp_clock(c->stack) + c->ts_offset, c->ts_recent);
        n = TIMESTAMP_BYTES;
        most -= TIMESTAMP_BYTES;
    }
    bool sack = (c->flags & CONN_SACK) != 0 &&
                (c->ooo.head != NULL || c->duplicate.start != c->duplicate.end);
    if (sack)
        n += write_sack(c, p + n, min_u32(room, most));
    return n;
}

void tcp_options_apply(struct tcp_conn *c, const struct tcp_options *o) {
    uint16_t own =
        (uint16_t)(c->stack->ifaces[c->ifindex].cfg.mtu_bytes - IP_HEADER_BYTES - TCP_HEADER_BYTES);
    uint16_t peer = o->mss == 0 ? 536 : o->mss;
    peer = peer < MSS_LEAST ? MSS_LEAST : peer;
    c->mss = peer < own ? peer : own;
    if (o->has_timestamps && c->stack->limits.timestamps) {
        c->flags |= CONN_TIMESTAMPS;
        c->mss = (uint16_t)(c->mss - TIMESTAMP_BYTES); // RFC 6691 2
        c->ts_recent = o->ts_value;
        c->ts_recent_at = (uint32_t)(c->stack->now_us >> 20);
    } else {
        c->flags &= ~(uint32_t)CONN_TIMESTAMPS;
    }
    if (o->has_scale) {
        c->flags |= CONN_SCALES;
        c->snd_scale = o->scale;
        c->rcv_scale = c->stack->recv_scale;
    } else {
        c->flags &= ~(uint32_t)CONN_SCALES;
        c->snd_scale = c->rcv_scale = 0;
    }
    if (o->sack_permitted)
        c->flags |= CONN_SACK;
    else
        c->flags &= ~(uint32_t)CONN_SACK;
}
