/* SPDX-License-Identifier: BSD-3-Clause */
#include "tcp/tcp_internal.h"

static void tuple_words(uint64_t words[2], uint32_t local_addr, uint16_t local_port,
                        uint32_t remote_addr, uint16_t remote_port) {
    words[0] = (uint64_t)remote_addr << 32 | local_addr;
    words[1] = (uint64_t)remote_port << 16 | local_port;
}

/* RFC 6528 3: ISN = M + F(local, remote, secret), M ticking every 4 us. */
uint32_t isn_choose(const struct tcp_stack *s, uint32_t local_addr, uint16_t local_port,
                    uint32_t remote_addr, uint16_t remote_port) {
    uint64_t words[2];
    tuple_words(words, local_addr, local_port, remote_addr, remote_port);
    return (uint32_t)(s->now_us >> 2) + (uint32_t)siphash(&s->isn_key, words, 2, 2, 4);
}

/* The clock ticks in milliseconds, as RFC 7323 5.4 allows; what it shows depends on the tuple, so
 * that it tells nothing of other connections or of the time since the start. */
uint32_t timestamp_offset(const struct tcp_stack *s, uint32_t local_addr, uint16_t local_port,
                          uint32_t remote_addr, uint16_t remote_port) {
    uint64_t words[2];
    tuple_words(words, local_addr, local_port, remote_addr, remote_port);
    return (uint32_t)siphash(&s->timestamp_key, words, 2, 2, 4);
}

/* Hash values never leave the process, so the lighter SipHash-1-3 is enough against chosen
 * collisions. */
uint32_t table_hash(const struct tcp_stack *s, uint32_t local_addr, uint16_t local_port,
                    uint32_t remote_addr, uint16_t remote_port) {
    uint64_t words[2];
    tuple_words(words, local_addr, local_port, remote_addr, remote_port);
    return (uint32_t)siphash(&s->table_key, words, 2, 1, 3);
}
