/* SPDX-License-Identifier: BSD-3-Clause */
/* Options of SYN segments: MSS (RFC 9293 3.7.1) and window scale (RFC 7323 2). */
#include "tcp/bytes.h"
#include "tcp/tcp_internal.h"

enum {
    OPTION_END = 0,
    OPTION_NOP = 1,
    OPTION_MSS = 2,
    OPTION_SCALE = 3,
};
#define MSS_LEAST 88u      // a peer that asks for less would only cost us packets
#define SCALE_GREATEST 14u // RFC 7323 2.3

static void parse_one(const uint8_t *p, uint8_t len, struct tcp_options *o) {
    if (p[0] == OPTION_MSS && len == 4)
        o->mss = load_be16(p + 2);
    if (p[0] == OPTION_SCALE && len == 3) {
        o->has_scale = true;
        o->scale = p[2] < SCALE_GREATEST ? p[2] : SCALE_GREATEST;
    }
}

bool tcp_options_parse(const uint8_t *p, size_t len, struct tcp_options *o) {
    *o = (struct tcp_options){0};
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

size_t tcp_options_write_syn(uint8_t *p, uint16_t mss, const uint8_t *scale) {
    p[0] = OPTION_MSS;
    p[1] = 4;
    store_be16(p + 2, mss);
    if (scale == NULL)
        return 4;
    p[4] = OPTION_NOP;
    p[5] = OPTION_SCALE;
    p[6] = 3;
    p[7] = *scale;
    return 8;
}

void tcp_options_apply(struct tcp_conn *c, const struct tcp_options *o) {
    uint16_t own =
        (uint16_t)(c->stack->ifaces[c->ifindex].cfg.mtu_bytes - IP_HEADER_BYTES - TCP_HEADER_BYTES);
    uint16_t peer = o->mss == 0 ? 536 : o->mss;
    peer = peer < MSS_LEAST ? MSS_LEAST : peer;
    c->mss = peer < own ? peer : own;
    if (o->has_scale) {
        c->flags |= CONN_SCALES;
        c->snd_scale = o->scale;
        c->rcv_scale = c->stack->recv_scale;
    } else {
        c->flags &= ~(uint32_t)CONN_SCALES;
        c->snd_scale = c->rcv_scale = 0;
    }
}
