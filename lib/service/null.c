/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The null service (Prophecy, §7): every request gets the same number of bytes after the same
 * busy-wait, on the agreed path and on its listener.
 */
#include "service/listener.h"
#include "service/service.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct null_service {
    struct service base;
    struct service_config cfg;
    uint32_t busy_us;
    uint8_t *body;
    size_t body_len;
    struct service_buffer result;
    struct service_listener *listener;
    uint64_t executed;
};

static uint64_t monotonic_ns(void) {
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void busy_wait(uint32_t us) {
    uint64_t end = monotonic_ns() + us * UINT64_C(1000);
    while (us > 0 && monotonic_ns() < end)
        ;
}

static void null_answer(void *ctx, const struct http_request *q, struct service_reply *out) {
    static const char type[] = "application/octet-stream";
    struct null_service *s = ctx;
    busy_wait(s->busy_us);
    *out = (struct service_reply){.status = 200,
                                  .head = q->method == HTTP_HEAD,
                                  .content_type = {.p = type, .len = sizeof type - 1},
                                  .body = s->body,
                                  .body_len = s->body_len};
}

static void null_execute(struct service *base, const struct bft_execution *e) {
    struct null_service *s = (struct null_service *)base;
    struct http_request q;
    struct service_reply r;
    const uint8_t *body;
    size_t body_len;
    uint16_t refused = service_op_parse(e->op, e->op_len, &q, &body, &body_len);
    if (refused != 0)
        service_reply_text(&r, refused, false);
    else
        null_answer(s, &q, &r);
    s->executed++;
    size_t len = service_reply_canonical(&r, s->cfg.excluded_headers, &s->result);
    s->base.done(s->base.done_ctx, e->ticket, len == 0 ? NULL : s->result.data, len);
}

/* There is no state. */
static void null_digest(struct service *base, uint64_t sequence, uint8_t out[CRYPTO_DIGEST_BYTES]) {
    (void)base;
    (void)sequence;
    memset(out, 0, CRYPTO_DIGEST_BYTES);
}

static bool null_listen(struct service *base, const struct group_endpoint *at,
                        char err[GROUP_ERROR_BYTES]) {
    struct null_service *s = (struct null_service *)base;
    s->listener = service_listener_new(s->cfg.base, at, null_answer, s, err);
    return s->listener != NULL;
}

static uint32_t null_counters(const struct service *base,
                              struct service_counter out[SERVICE_COUNTERS_MAX]) {
    const struct null_service *s = (const struct null_service *)base;
    out[0] = (struct service_counter){"service_executed", s->executed};
    return 1 + service_listener_counters(s->listener, out + 1);
}

static void null_free(struct service *base) {
    struct null_service *s = (struct null_service *)base;
    service_listener_free(s->listener);
    free(s->result.data);
    free(s->body);
    free(s);
}

static const struct service_ops null_ops = {
    .name = "null",
    .execute = null_execute,
    .state_digest = null_digest,
    .listen = null_listen,
    .counters = null_counters,
    .free = null_free,
};

struct service *service_null_new(const struct service_config *cfg, size_t response_bytes,
                                 uint32_t busy_us, char err[GROUP_ERROR_BYTES]) {
    if (response_bytes > cfg->response_max_bytes) {
        snprintf(err, GROUP_ERROR_BYTES,
                 "--response-bytes %zu is over the group's response-max-bytes %zu", response_bytes,
                 cfg->response_max_bytes);
        return NULL;
    }
    struct null_service *s = calloc(1, sizeof *s);
    uint8_t *body = malloc(response_bytes + 1);
    if (s == NULL || body == NULL) {
        snprintf(err, GROUP_ERROR_BYTES, "out of memory");
        free(s);
        free(body);
        return NULL;
    }
    for (size_t i = 0; i < response_bytes; i++)
        body[i] = (uint8_t)('a' + i % 26);
    *s = (struct null_service){.base = {&null_ops, cfg->done, cfg->done_ctx},
                               .cfg = *cfg,
                               .busy_us = busy_us,
                               .body = body,
                               .body_len = response_bytes};
    return &s->base;
}
