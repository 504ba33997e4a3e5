/* SPDX-License-Identifier: BSD-3-Clause */
/* The three lists: what a rule may say, what it matches, what slips past it (nothing). */
#include "test_sketcher.h"

static void good_and_bad_rules(void) {
    static const struct {
        enum sketcher_list list;
        const char *rule;
        const char *complaint; // NULL: taken
    } rows[] = {
        {SKETCHER_WHITELIST, "GET /static/*", NULL},
        {SKETCHER_BLACKLIST, "*\t/live", NULL},
        {SKETCHER_WRITELIST, "GET   *.cgi", NULL},
        {SKETCHER_WRITELIST, "POST /x", NULL},
        {SKETCHER_BLACKLIST, "HEAD /x", NULL},
        {SKETCHER_WHITELIST, "", "METHOD PATTERN"},
        {SKETCHER_WHITELIST, "GET", "METHOD PATTERN"},
        {SKETCHER_WHITELIST, "GET ", "METHOD PATTERN"},
        {SKETCHER_WHITELIST, " /x", "METHOD PATTERN"},
        {SKETCHER_WHITELIST, "POST /x", "'POST' cannot be on the whitelist"},
        {SKETCHER_BLACKLIST, "get /x", "'get' cannot be on the blacklist"},
        {SKETCHER_WRITELIST, "GE(T /x", "not a method"},
        {SKETCHER_WRITELIST, "GET x", "must start with / or *"},
        {SKETCHER_WRITELIST, "GET /x y", "space or control"},
        {SKETCHER_WRITELIST, "GET /x\n", "space or control"},
        {SKETCHER_WRITELIST, "ABCDEFGHIJKLMNOPQRSTUVWXYZ /x", "too long: at most 23"},
        {SKETCHER_DEFAULT, "GET /x", "no such list"},
    };
    static struct sketcher_policy p;
    char err[SKETCHER_ERROR_BYTES];
    p = (struct sketcher_policy){0};
    uint32_t taken = 0;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        bool ok = sketcher_policy_add(&p, rows[i].list, rows[i].rule, err);
        CU_ASSERT_EQUAL(ok, rows[i].complaint == NULL);
        taken += ok;
        CU_ASSERT_EQUAL(p.count, taken);
        if (!ok)
            CU_ASSERT_PTR_NOT_NULL(strstr(err, rows[i].complaint));
    }
    CU_ASSERT_STRING_EQUAL(p.rules[2].path, "*.cgi");
}

static void limits(void) {
    static struct sketcher_policy p;
    char err[SKETCHER_ERROR_BYTES], rule[2 * SKETCHER_RULE_PATH_MAX] = "GET /";
    p = (struct sketcher_policy){0};
    memset(rule + 5, 'a', SKETCHER_RULE_PATH_MAX - 2);
    CU_ASSERT_TRUE(sketcher_policy_add(&p, SKETCHER_WRITELIST, rule, err));
    strcat(rule, "a");
    CU_ASSERT_FALSE(sketcher_policy_add(&p, SKETCHER_WRITELIST, rule, err));
    CU_ASSERT_PTR_NOT_NULL(strstr(err, "too long"));
    while (p.count < SKETCHER_RULES_MAX)
        CU_ASSERT_TRUE_FATAL(sketcher_policy_add(&p, SKETCHER_WRITELIST, "GET /x", err));
    CU_ASSERT_FALSE(sketcher_policy_add(&p, SKETCHER_WRITELIST, "GET /x", err));
    CU_ASSERT_PTR_NOT_NULL(strstr(err, "at most 256"));
}

static enum sketcher_list match(const struct sketcher_policy *p, const char *method,
                                const char *target) {
    char text[2 * HTTP_TARGET_MAX_BYTES];
    struct http_request q;
    int len = snprintf(text, sizeof text, "%s %s HTTP/1.1\r\nHost: h\r\n\r\n", method, target);
    CU_ASSERT_EQUAL_FATAL(http_parse_request((const uint8_t *)text, (size_t)len, &q), len);
    return sketcher_policy_match(p, &q);
}

static void matching(void) {
    static const struct {
        const char *method, *target;
        enum sketcher_list list;
    } rows[] = {
        {"GET", "/static/a/b.css", SKETCHER_WHITELIST},
        {"GET", "/static/a?q=/live", SKETCHER_WHITELIST},
        {"GET", "/static", SKETCHER_DEFAULT},
        {"HEAD", "/static/a", SKETCHER_DEFAULT}, // the rule says GET
        {"POST", "/static/a", SKETCHER_DEFAULT},
        {"GET", "/static/live/x", SKETCHER_BLACKLIST}, // the first that matches
        {"HEAD", "/live", SKETCHER_BLACKLIST},
        {"PUT", "/live", SKETCHER_DEFAULT},
        {"GET", "/cgi/x", SKETCHER_WRITELIST},
        {"POST", "/cgi/x", SKETCHER_WRITELIST},
        {"GET", "/a/b.do", SKETCHER_WRITELIST},
        {"GET", "/a?x=b.do", SKETCHER_DEFAULT},
        {"OPTIONS", "*", SKETCHER_DEFAULT},
        {"GET", "/cafe%CC%81", SKETCHER_WRITELIST},
        /* What a server reads as /cgi/x is /cgi/x. */
        {"GET", "/%63gi/x", SKETCHER_WRITELIST},
        {"GET", "/%63%67%69%2fx", SKETCHER_WRITELIST},
        {"GET", "/a/../cgi/x", SKETCHER_WRITELIST},
        {"GET", "/a/%2e%2E/cgi/x", SKETCHER_WRITELIST},
        {"GET", "//cgi/./x", SKETCHER_WRITELIST},
        {"GET", "/../../cgi/x", SKETCHER_WRITELIST},
        {"GET", "/l%69ve", SKETCHER_BLACKLIST},
        /* ... and the whitelist lets in only what lies below /static/ by either reading. */
        {"GET", "/static/../private", SKETCHER_DEFAULT},
        {"GET", "/static/%2e%2e/private", SKETCHER_DEFAULT},
        {"GET", "/static/..%2fprivate", SKETCHER_DEFAULT},
        {"GET", "/static/%00/../../private", SKETCHER_DEFAULT},
        {"GET", "/st%61tic/a", SKETCHER_DEFAULT},
        {"GET", "/static/caf%C3%A9", SKETCHER_WHITELIST},
        {"GET", "/static/%zz%0", SKETCHER_WHITELIST},
        {"GET", "/static/%00", SKETCHER_WHITELIST},
    };
    static struct sketcher_policy p;
    char err[SKETCHER_ERROR_BYTES];
    p = (struct sketcher_policy){0};
    CU_ASSERT_TRUE(sketcher_policy_add(&p, SKETCHER_BLACKLIST, "* *live*", err));
    CU_ASSERT_TRUE(sketcher_policy_add(&p, SKETCHER_WHITELIST, "GET /static/*", err));
    CU_ASSERT_TRUE(sketcher_policy_add(&p, SKETCHER_WRITELIST, "* /cgi/*", err));
    CU_ASSERT_TRUE(sketcher_policy_add(&p, SKETCHER_WRITELIST, "GET *.do", err));
    CU_ASSERT_TRUE(sketcher_policy_add(&p, SKETCHER_WRITELIST, "GET /cafe%CC%81", err));
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        enum sketcher_list got = match(&p, rows[i].method, rows[i].target);
        if (got != rows[i].list)
            fprintf(stderr, "%s %s: list %d\n", rows[i].method, rows[i].target, (int)got);
        CU_ASSERT_EQUAL(got, rows[i].list);
    }
    CU_ASSERT_EQUAL(match(NULL, "GET", "/x"), SKETCHER_DEFAULT);
}

static void longest_target(void) {
    static struct sketcher_policy p;
    static char target[HTTP_TARGET_MAX_BYTES + 1];
    char err[SKETCHER_ERROR_BYTES];
    p = (struct sketcher_policy){0};
    CU_ASSERT_TRUE(sketcher_policy_add(&p, SKETCHER_BLACKLIST, "GET /*z", err));
    memset(target, 'a', HTTP_TARGET_MAX_BYTES);
    target[0] = '/';
    CU_ASSERT_EQUAL(match(&p, "GET", target), SKETCHER_DEFAULT);
    target[HTTP_TARGET_MAX_BYTES - 1] = 'z';
    CU_ASSERT_EQUAL(match(&p, "GET", target), SKETCHER_BLACKLIST);
    for (size_t i = 0; i + 3 < HTTP_TARGET_MAX_BYTES; i += 3)
        memcpy(target + i, "/..", 3);
    CU_ASSERT_EQUAL(match(&p, "GET", target), SKETCHER_BLACKLIST);
}

static void reloads_that_flush(void) {
    static struct sketcher_policy white, same, black, none;
    char err[SKETCHER_ERROR_BYTES];
    white = same = black = none = (struct sketcher_policy){0};
    CU_ASSERT_TRUE(sketcher_policy_add(&white, SKETCHER_WHITELIST, "GET /x", err));
    CU_ASSERT_TRUE(sketcher_policy_add(&same, SKETCHER_WHITELIST, "GET /x", err));
    CU_ASSERT_TRUE(sketcher_policy_add(&black, SKETCHER_BLACKLIST, "GET /x", err));
    CU_ASSERT_FALSE(sketcher_policy_needs_flush(&white, &same));
    CU_ASSERT_TRUE(sketcher_policy_needs_flush(&white, &none));
    CU_ASSERT_TRUE(sketcher_policy_needs_flush(&white, &black));
    CU_ASSERT_TRUE(sketcher_policy_needs_flush(&white, NULL));
    CU_ASSERT_FALSE(sketcher_policy_needs_flush(&none, &white));
    CU_ASSERT_FALSE(sketcher_policy_needs_flush(&black, &none));
    CU_ASSERT_FALSE(sketcher_policy_needs_flush(NULL, &white));
    CU_ASSERT_FALSE(sketcher_policy_needs_flush(NULL, &none));
}

const struct unit_case sketcher_policy_cases[] = {
    {"policy: good and bad rules", good_and_bad_rules},
    {"policy: limits", limits},
    {"policy: matching", matching},
    {"policy: longest target", longest_target},
    {"policy: reloads that flush", reloads_that_flush},
    {0},
};
