/* SPDX-License-Identifier: BSD-3-Clause */
/* HTTP-date. */
#include "test_http.h"
#include "unit.h"

static const struct {
    const char *text;
    int64_t unix_s;
} dates[] = {
    {"Sun, 06 Nov 1994 08:49:37 GMT", 784111777},
    {"Sunday, 06-Nov-94 08:49:37 GMT", 784111777},
    {"Sun Nov  6 08:49:37 1994", 784111777},
    {"Wed Nov 16 08:49:37 1994", 784975777},
    {"Thu, 01 Jan 1970 00:00:00 GMT", 0},
    {"Wed, 31 Dec 1969 23:59:59 GMT", -1},
    {"Thu, 01 Jan 1970 00:00:60 GMT", 60},
    {"Sat, 31 Dec 2016 23:59:60 GMT", 1483228800},
    {"Tue, 29 Feb 2000 00:00:00 GMT", 951782400},
    {"Wednesday, 01-Jan-69 00:00:00 GMT", -31536000},
    {"Saturday, 01-Jan-00 00:00:00 GMT", 946684800},
    {"Sunday, 01-Jan-68 00:00:00 GMT", 3092601600},
    {"Tue, 19 Jan 2038 03:14:08 GMT", INT64_C(2147483648)},
    {"Fri, 31 Dec 9999 23:59:59 GMT", INT64_C(253402300799)},
    {"Sat, 01 Jan 0000 00:00:00 GMT", INT64_C(-62167219200)},
};

void test_http_date_formats(void) {
    for (size_t i = 0; i < sizeof dates / sizeof dates[0]; i++) {
        size_t len = strlen(dates[i].text);
        char *copy = (char *)exact_copy(dates[i].text, len);
        int64_t unix_s = INT64_MIN;
        CU_ASSERT_TRUE(http_parse_date((struct http_str){.p = copy, .len = len}, &unix_s));
        CU_ASSERT_EQUAL(unix_s, dates[i].unix_s);
        if (unix_s != dates[i].unix_s)
            fprintf(stderr, "%s: %lld\n", dates[i].text, (long long)unix_s);
        free(copy);
        for (size_t cut = 0; cut < len; cut++) { // every truncation is refused
            copy = (char *)exact_copy(dates[i].text, cut);
            CU_ASSERT_FALSE(http_parse_date((struct http_str){.p = copy, .len = cut}, &unix_s));
            free(copy);
        }
    }
}

void test_http_date_refused(void) {
    static const char *const refused[] = {
        "",
        "0",
        "784111777",
        "Mon, 06 Nov 1994 08:49:37 GMT", // it was a Sunday
        "Monday, 06-Nov-94 08:49:37 GMT",
        "Mon Nov  6 08:49:37 1994",
        "sun, 06 Nov 1994 08:49:37 GMT",
        "Sun, 06 nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sun, 06 Nov 1994 08:49:37 +0000",
        "Sun, 06 Nov 1994 08:49:37 GMT ",
        " Sun, 06 Nov 1994 08:49:37 GMT",
        "Sun, 6 Nov 1994 08:49:37 GMT",
        "Sun,  6 Nov 1994 08:49:37 GMT",
        "Sun 06 Nov 1994 08:49:37 GMT",
        "Sun, 06-Nov-1994 08:49:37 GMT",
        "Sun, 06 Nov 94 08:49:37 GMT",
        "Sunday, 06-Nov-1994 08:49:37 GMT",
        "Sunday, 06 Nov 1994 08:49:37 GMT",
        "Sun Nov 06 08:49:37 94",
        "Sun Nov 6 08:49:37 1994",
        "Sun Nov  6 08:49:37 1994 GMT",
        "Sun, 06 Nov 1994 24:00:00 GMT",
        "Sun, 06 Nov 1994 08:60:00 GMT",
        "Sun, 06 Nov 1994 08:49:61 GMT",
        "Sun, 06 Nov 1994 08:4x:37 GMT",
        "Sun, 06 Nov 1994 -8:49:37 GMT",
        "Sun, 00 Nov 1994 08:49:37 GMT",
        "Thu, 31 Nov 1994 08:49:37 GMT",
        "Wed, 29 Feb 1995 00:00:00 GMT",
        "Thu, 29 Feb 1900 00:00:00 GMT",
        "Sun, 06 Foo 1994 08:49:37 GMT",
        "Sun, 06 Nov -994 08:49:37 GMT",
    };
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        int64_t unix_s;
        CU_ASSERT_FALSE(http_parse_date(str(refused[i]), &unix_s));
        if (http_parse_date(str(refused[i]), &unix_s))
            fprintf(stderr, "taken: %s\n", refused[i]);
    }
}

/* One time in the three formats, as far as the format can say it. */
static void check_round_trip(int64_t unix_s) {
    static const char *const days[] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                       "Thursday", "Friday", "Saturday"};
    char imf[30] = {0};
    http_format_date(unix_s, imf);
    int64_t back = INT64_MIN;
    CU_ASSERT_TRUE(http_parse_date(str(imf), &back));
    CU_ASSERT_EQUAL(back, unix_s);
    char other[64]; // "Sun, 06 Nov 1994 08:49:37 GMT" -> "Sun Nov  6 08:49:37 1994"
    snprintf(other, sizeof other, "%.3s %.3s %c%c %.8s %.4s", imf, imf + 8,
             imf[5] == '0' ? ' ' : imf[5], imf[6], imf + 17, imf + 12);
    CU_ASSERT_TRUE(http_parse_date(str(other), &back));
    CU_ASSERT_EQUAL(back, unix_s);
    if (unix_s < -31536000 || unix_s >= INT64_C(3124224000)) // 1969 to 2068
        return;
    size_t day = 0;
    while (strncmp(days[day], imf, 3) != 0)
        day++;
    snprintf(other, sizeof other, "%s, %.2s-%.3s-%.2s %.8s GMT", days[day], imf + 5, imf + 8,
             imf + 14, imf + 17);
    CU_ASSERT_TRUE(http_parse_date(str(other), &back));
    CU_ASSERT_EQUAL(back, unix_s);
}

void test_http_date_round_trip(void) {
    /* Every day of 1960 to 2110 at changing hours, then strides through all years that can be
     * written. */
    int64_t second_of_day = 0;
    for (int64_t day = -3653; day <= 51134; day++) {
        check_round_trip(day * 86400 + second_of_day);
        second_of_day = (second_of_day + 7919) % 86400;
    }
    for (int64_t t = INT64_C(-62167219200); t <= INT64_C(253402300799); t += 86400 * 97 + 12345)
        check_round_trip(t);
}

void test_http_date_clamped(void) {
    char out[29];
    http_format_date(INT64_MAX, out);
    CU_ASSERT_EQUAL(memcmp(out, "Fri, 31 Dec 9999 23:59:59 GMT", 29), 0);
    http_format_date(INT64_MIN, out);
    CU_ASSERT_EQUAL(memcmp(out, "Sat, 01 Jan 0000 00:00:00 GMT", 29), 0);
}
