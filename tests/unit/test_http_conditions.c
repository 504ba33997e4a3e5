/* SPDX-License-Identifier: BSD-3-Clause */
/* Preconditions (RFC 9110 13) and ranges (RFC 9110 14). */
#include "test_http.h"
#include "unit.h"

#define BEFORE "Sun, 06 Nov 1994 08:49:36 GMT"
#define MODIFIED "Sun, 06 Nov 1994 08:49:37 GMT"
#define MODIFIED_850 "Sunday, 06-Nov-94 08:49:37 GMT"
#define AFTER "Sun, 06 Nov 1994 08:49:38 GMT"
#define BODY_LEN 100

struct condition_case {
    const char *etag;          // of the response; NULL: none
    const char *last_modified; // the same
    const char *fields[4][2];  // of the request
    enum http_condition get;
    enum http_condition head;
};

#define BOTH(c) c, c
#define MATCH "If-Match"
#define NONE "If-None-Match"
#define SINCE "If-Modified-Since"
#define UNMOD "If-Unmodified-Since"
#define RANGE "Range"
#define IFRANGE "If-Range"
#define SEND HTTP_COND_SEND
#define NOT_MOD HTTP_COND_NOT_MODIFIED
#define FAILED HTTP_COND_FAILED
#define PART HTTP_COND_RANGE
#define UNSAT HTTP_COND_UNSATISFIABLE

static const struct condition_case condition_cases[] = {
    {"\"a\"", MODIFIED, {{NULL}}, BOTH(SEND)},
    /* 1. If-Match: strong */
    {"\"a\"", MODIFIED, {{MATCH, "\"a\""}}, BOTH(SEND)},
    {"\"a\"", MODIFIED, {{MATCH, "\"b\""}}, BOTH(FAILED)},
    {"\"a\"", MODIFIED, {{MATCH, "\"b\", \"a\""}}, BOTH(SEND)},
    {"\"a\"", MODIFIED, {{MATCH, " , \"b\" ,,\"a\",W/\"c\""}}, BOTH(SEND)},
    {"\"a\"", MODIFIED, {{MATCH, "\"b\",\"c\""}}, BOTH(FAILED)},
    {"\"a\"", MODIFIED, {{MATCH, "W/\"a\""}}, BOTH(FAILED)},
    {"W/\"a\"", MODIFIED, {{MATCH, "\"a\""}}, BOTH(FAILED)},
    {"W/\"a\"", MODIFIED, {{MATCH, "W/\"a\""}}, BOTH(FAILED)},
    {"\"a\"", MODIFIED, {{MATCH, "*"}}, BOTH(SEND)},
    {NULL, NULL, {{MATCH, "*"}}, BOTH(SEND)},
    {NULL, NULL, {{MATCH, "\"a\""}}, BOTH(FAILED)},
    {"\"a\"", MODIFIED, {{MATCH, ""}}, BOTH(FAILED)},
    {"\"a\"", MODIFIED, {{MATCH, "a"}}, BOTH(FAILED)},
    {"\"a\"", MODIFIED, {{MATCH, "\"a"}}, BOTH(FAILED)},
    {"\"a\"", MODIFIED, {{MATCH, "x, \"a\""}}, BOTH(FAILED)},
    {"\"a\"", MODIFIED, {{MATCH, "\"a\" \"b\""}}, BOTH(FAILED)},
    {"\"a\"", MODIFIED, {{MATCH, "w/\"a\", \"a\""}}, BOTH(FAILED)},
    {"\"a, b\"", MODIFIED, {{MATCH, "\"a, b\""}}, BOTH(FAILED)}, // a space is not in an etag
    {"\"a,b\"", MODIFIED, {{MATCH, "\"x\",\"a,b\""}}, BOTH(SEND)},
    {"\"\"", MODIFIED, {{MATCH, "\"\""}}, BOTH(SEND)},
    {"\"\xff\"", MODIFIED, {{MATCH, "\"\xff\""}}, BOTH(SEND)},
    {"\"A\"", MODIFIED, {{MATCH, "\"a\""}}, BOTH(FAILED)},
    /* 2. If-Unmodified-Since, only without If-Match */
    {"\"a\"", MODIFIED, {{UNMOD, MODIFIED}}, BOTH(SEND)},
    {"\"a\"", MODIFIED, {{UNMOD, AFTER}}, BOTH(SEND)},
    {"\"a\"", MODIFIED, {{UNMOD, BEFORE}}, BOTH(FAILED)},
    {"\"a\"", MODIFIED, {{MATCH, "\"a\""}, {UNMOD, BEFORE}}, BOTH(SEND)},
    {"\"a\"", MODIFIED, {{MATCH, "\"b\""}, {UNMOD, AFTER}}, BOTH(FAILED)},
    {"\"a\"", MODIFIED, {{UNMOD, "yesterday"}}, BOTH(SEND)},
    {"\"a\"", NULL, {{UNMOD, BEFORE}}, BOTH(SEND)},
    {"\"a\"", "yesterday", {{UNMOD, BEFORE}}, BOTH(SEND)},
    /* 3. If-None-Match: weak */
    {"\"a\"", MODIFIED, {{NONE, "\"a\""}}, BOTH(NOT_MOD)},
    {"\"a\"", MODIFIED, {{NONE, "W/\"a\""}}, BOTH(NOT_MOD)},
    {"W/\"a\"", MODIFIED, {{NONE, "\"a\""}}, BOTH(NOT_MOD)},
    {"W/\"a\"", MODIFIED, {{NONE, "W/\"a\""}}, BOTH(NOT_MOD)},
    {"\"a\"", MODIFIED, {{NONE, "\"b\", W/\"c\", W/\"a\""}}, BOTH(NOT_MOD)},
    {"\"a\"", MODIFIED, {{NONE, "\"b\""}}, BOTH(SEND)},
    {"\"a\"", MODIFIED, {{NONE, "*"}}, BOTH(NOT_MOD)},
    {NULL, NULL, {{NONE, "*"}}, BOTH(NOT_MOD)},
    {NULL, MODIFIED, {{NONE, "\"a\""}}, BOTH(SEND)},
    {"a", MODIFIED, {{NONE, "a"}}, BOTH(SEND)}, // neither is an etag
    {"\"a\"", MODIFIED, {{NONE, "\"*\""}}, BOTH(SEND)},
    {"\"a\"", MODIFIED, {{NONE, "a, \"a\""}}, BOTH(SEND)},
    {"\"a\"", MODIFIED, {{"if-none-match", "\"a\""}}, BOTH(NOT_MOD)},
    {"\"a\"", MODIFIED, {{MATCH, "\"a\""}, {NONE, "\"a\""}}, BOTH(NOT_MOD)},
    {"\"a\"", MODIFIED, {{NONE, "\"a\""}, {MATCH, "\"b\""}}, BOTH(FAILED)},
    {"\"a\"", MODIFIED, {{UNMOD, BEFORE}, {NONE, "\"a\""}}, BOTH(FAILED)},
    /* 4. If-Modified-Since, only without If-None-Match */
    {"\"a\"", MODIFIED, {{SINCE, MODIFIED}}, BOTH(NOT_MOD)},
    {"\"a\"", MODIFIED, {{SINCE, MODIFIED_850}}, BOTH(NOT_MOD)},
    {"\"a\"", MODIFIED, {{SINCE, AFTER}}, BOTH(NOT_MOD)},
    {"\"a\"", MODIFIED, {{SINCE, BEFORE}}, BOTH(SEND)},
    {"\"a\"", MODIFIED, {{SINCE, "x"}}, BOTH(SEND)},
    {"\"a\"", MODIFIED, {{SINCE, ""}}, BOTH(SEND)},
    {"\"a\"", NULL, {{SINCE, AFTER}}, BOTH(SEND)},
    {"\"a\"", MODIFIED, {{SINCE, AFTER}, {NONE, "\"b\""}}, BOTH(SEND)},
    {"\"a\"", MODIFIED, {{SINCE, BEFORE}, {NONE, "\"a\""}}, BOTH(NOT_MOD)},
    {NULL, MODIFIED, {{SINCE, AFTER}, {NONE, "\"a\""}}, BOTH(SEND)},
    {"\"a\"", MODIFIED, {{SINCE, MODIFIED}, {UNMOD, BEFORE}}, BOTH(FAILED)},
    /* 5. Range and If-Range, GET only */
    {"\"a\"", MODIFIED, {{RANGE, "bytes=1-2"}}, PART, SEND},
    {"\"a\"", MODIFIED, {{RANGE, "bytes=100-"}}, UNSAT, SEND},
    {"\"a\"", MODIFIED, {{IFRANGE, "\"a\""}, {RANGE, "bytes=1-2"}}, PART, SEND},
    {"\"a\"", MODIFIED, {{IFRANGE, "\"b\""}, {RANGE, "bytes=1-2"}}, BOTH(SEND)},
    {"\"a\"", MODIFIED, {{IFRANGE, "\"b\""}, {RANGE, "bytes=100-"}}, BOTH(SEND)},
    {"\"a\"", MODIFIED, {{IFRANGE, "W/\"a\""}, {RANGE, "bytes=1-2"}}, BOTH(SEND)},
    {"W/\"a\"", MODIFIED, {{IFRANGE, "W/\"a\""}, {RANGE, "bytes=1-2"}}, BOTH(SEND)},
    {"W/\"a\"", MODIFIED, {{IFRANGE, "\"a\""}, {RANGE, "bytes=1-2"}}, BOTH(SEND)},
    {NULL, MODIFIED, {{IFRANGE, "\"a\""}, {RANGE, "bytes=1-2"}}, BOTH(SEND)},
    {"\"a\"", MODIFIED, {{IFRANGE, "\"a\", \"b\""}, {RANGE, "bytes=1-2"}}, BOTH(SEND)},
    {"\"a\"", MODIFIED, {{IFRANGE, "*"}, {RANGE, "bytes=1-2"}}, BOTH(SEND)},
    {"\"a\"", MODIFIED, {{IFRANGE, ""}, {RANGE, "bytes=1-2"}}, BOTH(SEND)},
    {"\"a\"", MODIFIED, {{IFRANGE, MODIFIED}, {RANGE, "bytes=1-2"}}, PART, SEND},
    {"\"a\"", MODIFIED, {{IFRANGE, AFTER}, {RANGE, "bytes=1-2"}}, BOTH(SEND)},
    {"\"a\"", MODIFIED, {{IFRANGE, BEFORE}, {RANGE, "bytes=1-2"}}, BOTH(SEND)},
    {"\"a\"", NULL, {{IFRANGE, MODIFIED}, {RANGE, "bytes=1-2"}}, BOTH(SEND)},
    {"\"a\"", "x", {{IFRANGE, "x"}, {RANGE, "bytes=1-2"}}, BOTH(SEND)},
    {"\"a\"", MODIFIED, {{IFRANGE, "\"a\""}}, BOTH(SEND)},
    /* together */
    {"\"a\"", MODIFIED, {{RANGE, "bytes=1-2"}, {NONE, "\"a\""}}, BOTH(NOT_MOD)},
    {"\"a\"", MODIFIED, {{RANGE, "bytes=1-2"}, {NONE, "\"b\""}}, PART, SEND},
    {"\"a\"", MODIFIED, {{RANGE, "bytes=1-2"}, {MATCH, "\"b\""}}, BOTH(FAILED)},
    {"\"a\"",
     MODIFIED,
     {{RANGE, "bytes=100-"}, {NONE, "\"b\""}, {MATCH, "\"a\""}, {IFRANGE, "\"a\""}},
     UNSAT,
     SEND},
};

static struct http_str maybe(const char *s) {
    return s == NULL ? (struct http_str){0} : str(s);
}

static enum http_condition evaluate(const struct condition_case *c, enum http_method method) {
    struct http_header headers[4];
    uint32_t count = 0;
    for (; count < 4 && c->fields[count][0] != NULL; count++)
        headers[count] = (struct http_header){str(c->fields[count][0]), str(c->fields[count][1])};
    struct http_validators v = {maybe(c->etag), maybe(c->last_modified)};
    uint64_t first = 77, last = 77;
    enum http_condition got =
        http_evaluate_conditions(headers, count, method, &v, BODY_LEN, &first, &last);
    CU_ASSERT_EQUAL(first, got == PART ? 1 : 77);
    CU_ASSERT_EQUAL(last, got == PART ? 2 : 77);
    return got;
}

void test_http_conditions_table(void) {
    for (size_t i = 0; i < sizeof condition_cases / sizeof condition_cases[0]; i++) {
        const struct condition_case *c = &condition_cases[i];
        enum http_condition get = evaluate(c, HTTP_GET);
        enum http_condition head = evaluate(c, HTTP_HEAD);
        CU_ASSERT_EQUAL(get, c->get);
        CU_ASSERT_EQUAL(head, c->head);
        CU_ASSERT_EQUAL(evaluate(c, HTTP_POST), SEND);
        if (get != c->get || head != c->head)
            fprintf(stderr, "condition case %zu: GET %d HEAD %d\n", i, (int)get, (int)head);
    }
}

static const struct {
    const char *range;
    uint64_t body_len;
    enum http_condition expected;
    uint64_t first, last;
} range_cases[] = {
    {"bytes=0-0", 100, PART, 0, 0},
    {"bytes=0-99", 100, PART, 0, 99},
    {"bytes=0-", 100, PART, 0, 99},
    {"bytes=99-", 100, PART, 99, 99},
    {"bytes=99-99", 100, PART, 99, 99},
    {"bytes=50-1000", 100, PART, 50, 99},
    {"bytes=007-0008", 100, PART, 7, 8},
    {"BYTES=1-2", 100, PART, 1, 2},
    {"bytes=0-99999999999999999999999999", 100, PART, 0, 99},
    {"bytes=-1", 100, PART, 99, 99},
    {"bytes=-100", 100, PART, 0, 99},
    {"bytes=-101", 100, PART, 0, 99},
    {"bytes=-99999999999999999999999999", 100, PART, 0, 99},
    {"bytes=100-", 100, UNSAT, 0, 0},
    {"bytes=100-200", 100, UNSAT, 0, 0},
    {"bytes=18446744073709551615-18446744073709551615", 100, UNSAT, 0, 0},
    {"bytes=99999999999999999999999998-99999999999999999999999999", 100, UNSAT, 0, 0},
    {"bytes=18446744073709551617-", 100, UNSAT, 0, 0}, // 2^64 + 1
    {"bytes=-18446744073709551617", 100, PART, 0, 99},
    {"bytes=-0", 100, UNSAT, 0, 0},
    {"bytes=0-", 0, UNSAT, 0, 0},
    {"bytes=0-0", 0, UNSAT, 0, 0},
    {"bytes=-0", 0, UNSAT, 0, 0},
    {"bytes=-5", 0, SEND, 0, 0},
    {"bytes=0-0", 1, PART, 0, 0},
    {"bytes=-1", 1, PART, 0, 0},
    {"bytes=2-1", 100, SEND, 0, 0},
    {"bytes=200-100", 100, SEND, 0, 0},
    {"bytes=1-2,4-5", 100, SEND, 0, 0},
    {"bytes=1-2,", 100, SEND, 0, 0},
    {"bytes=,1-2", 100, SEND, 0, 0},
    {"bytes=0-,-1", 100, SEND, 0, 0},
    {"bytes=", 100, SEND, 0, 0},
    {"bytes=-", 100, SEND, 0, 0},
    {"bytes=--1", 100, SEND, 0, 0},
    {"bytes=1", 100, SEND, 0, 0},
    {"bytes=1-2-3", 100, SEND, 0, 0},
    {"bytes=a-b", 100, SEND, 0, 0},
    {"bytes=1-b", 100, SEND, 0, 0},
    {"bytes=+1-2", 100, SEND, 0, 0},
    {"bytes=1 -2", 100, SEND, 0, 0},
    {"bytes= 1-2", 100, SEND, 0, 0},
    {"bytes =1-2", 100, SEND, 0, 0},
    {"bytes:1-2", 100, SEND, 0, 0},
    {"bytes", 100, SEND, 0, 0},
    {"", 100, SEND, 0, 0},
    {"lines=1-2", 100, SEND, 0, 0},
    {"1-2", 100, SEND, 0, 0},
    {"bytes=0-", UINT64_MAX, PART, 0, UINT64_MAX - 1},
};

void test_http_conditions_ranges(void) {
    for (size_t i = 0; i < sizeof range_cases / sizeof range_cases[0]; i++) {
        size_t len = strlen(range_cases[i].range);
        char *copy = (char *)exact_copy(range_cases[i].range, len);
        struct http_header h = {str("range"), {.p = copy, .len = len}};
        struct http_validators v = {{0}, {0}};
        uint64_t first = 0, last = 0;
        enum http_condition got =
            http_evaluate_conditions(&h, 1, HTTP_GET, &v, range_cases[i].body_len, &first, &last);
        free(copy);
        CU_ASSERT_EQUAL(got, range_cases[i].expected);
        CU_ASSERT_EQUAL(first, range_cases[i].first);
        CU_ASSERT_EQUAL(last, range_cases[i].last);
        if (got != range_cases[i].expected)
            fprintf(stderr, "%s: %d\n", range_cases[i].range, (int)got);
    }
}

/* List fields may come in several lines; the others count as malformed when repeated. */
void test_http_conditions_repeated(void) {
    static const struct condition_case cases[] = {
        {"\"a\"", MODIFIED, {{MATCH, "\"b\""}, {MATCH, "\"a\""}}, BOTH(SEND)},
        {"\"a\"", MODIFIED, {{NONE, "\"b\""}, {NONE, "\"a\""}}, BOTH(NOT_MOD)},
        {"\"a\"", MODIFIED, {{NONE, "\"b\""}, {NONE, "\"c\""}}, BOTH(SEND)},
        {"\"a\"", MODIFIED, {{SINCE, AFTER}, {SINCE, AFTER}}, BOTH(SEND)},
        {"\"a\"", MODIFIED, {{UNMOD, BEFORE}, {UNMOD, BEFORE}}, BOTH(SEND)},
        {"\"a\"", MODIFIED, {{RANGE, "bytes=1-2"}, {RANGE, "bytes=1-2"}}, BOTH(SEND)},
        {"\"a\"",
         MODIFIED,
         {{IFRANGE, "\"a\""}, {RANGE, "bytes=1-2"}, {IFRANGE, "\"a\""}},
         BOTH(SEND)},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        CU_ASSERT_EQUAL(evaluate(&cases[i], HTTP_GET), cases[i].get);
        CU_ASSERT_EQUAL(evaluate(&cases[i], HTTP_HEAD), cases[i].head);
    }
}
