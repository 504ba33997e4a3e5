/* SPDX-License-Identifier: BSD-3-Clause */
/* HTTP-date (RFC 9110 5.6.7) in the proleptic Gregorian calendar; no locale, no time zones. */
#include "http/internal.h"

#include <assert.h>

#define DAY_S 86400
#define DAYS_TO_EPOCH 719528 // from 0000-01-01 to 1970-01-01
#define DAYS_IN_400_YEARS 146097
#define FIRST_S (-(int64_t)DAYS_TO_EPOCH * DAY_S) // 0000-01-01 00:00:00
#define LAST_S INT64_C(253402300799)              // 9999-12-31 23:59:59

static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                   "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
static const char *const weekdays[7] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                        "Thursday", "Friday", "Saturday"};

struct civil {
    int year;
    int month; // 0 is January
    int day;   // from 1
    int hour, minute, second;
    int weekday; // 0 is Sunday
};

static bool leap(int year) {
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

static int days_in_month(int year, int month) {
    static const int days[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    return month == 1 && leap(year) ? 29 : days[month];
}

/* From 0000-01-01 to January 1 of year >= 0; year 0 is a leap year. */
static int64_t days_before_year(int64_t year) {
    return 365 * year + (year + 3) / 4 - (year + 99) / 100 + (year + 399) / 400;
}

static int64_t days_before(int year, int month, int day) {
    int64_t days = days_before_year(year) + day - 1;
    for (int m = 0; m < month; m++)
        days += days_in_month(year, m);
    return days;
}

static int weekday_of(int64_t days) {
    return (int)((days + 6) % 7); // 0000-01-01 was a Saturday
}

static struct civil civil_of(int64_t unix_s) {
    int64_t since_zero = unix_s - FIRST_S;
    int64_t days = since_zero / DAY_S;
    int second_of_day = (int)(since_zero % DAY_S);
    int64_t year = days * 400 / DAYS_IN_400_YEARS;
    while (days_before_year(year + 1) <= days)
        year++;
    while (days_before_year(year) > days)
        year--;
    struct civil t = {.year = (int)year,
                      .hour = second_of_day / 3600,
                      .minute = second_of_day / 60 % 60,
                      .second = second_of_day % 60,
                      .weekday = weekday_of(days)};
    int rest = (int)(days - days_before_year(year));
    while (rest >= days_in_month(t.year, t.month))
        rest -= days_in_month(t.year, t.month++);
    t.day = rest + 1;
    return t;
}

static char *put_digits(char *out, int value, int digits) {
    for (int i = digits; i-- > 0; value /= 10)
        out[i] = (char)('0' + value % 10);
    return out + digits;
}

static char *put_text(char *out, const char *s, size_t len) {
    memcpy(out, s, len);
    return out + len;
}

void http_format_date(int64_t unix_s, char out[29]) {
    if (unix_s < FIRST_S)
        unix_s = FIRST_S;
    if (unix_s > LAST_S)
        unix_s = LAST_S;
    struct civil t = civil_of(unix_s);
    char *p = put_text(out, weekdays[t.weekday], 3);
    p = put_digits(put_text(p, ", ", 2), t.day, 2);
    p = put_text(put_text(p, " ", 1), months[t.month], 3);
    p = put_digits(put_text(p, " ", 1), t.year, 4);
    p = put_digits(put_text(p, " ", 1), t.hour, 2);
    p = put_digits(put_text(p, ":", 1), t.minute, 2);
    p = put_digits(put_text(p, ":", 1), t.second, 2);
    p = put_text(p, " GMT", 4);
    assert(p == out + 29);
}

/* Takes exactly digits decimal digits off s; -1 (and s is left) when they are not there. */
static int take_digits(struct http_str *s, size_t digits) {
    int value = 0;
    if (s->len < digits)
        return -1;
    for (size_t i = 0; i < digits; i++) {
        if (!http_is_digit((uint8_t)s->p[i]))
            return -1;
        value = value * 10 + (s->p[i] - '0');
    }
    s->p += digits;
    s->len -= digits;
    return value;
}

static bool take_text(struct http_str *s, const char *text, size_t len) {
    if (s->len < len || memcmp(s->p, text, len) != 0)
        return false;
    s->p += len;
    s->len -= len;
    return true;
}

static int take_month(struct http_str *s) {
    for (int m = 0; m < 12; m++) {
        if (take_text(s, months[m], 3))
            return m;
    }
    return -1;
}

/* The day's full name or its first three letters. */
static int take_weekday(struct http_str *s, bool full) {
    for (int d = 0; d < 7; d++) {
        if (take_text(s, weekdays[d], full ? strlen(weekdays[d]) : 3))
            return d;
    }
    return -1;
}

/* hour ":" minute ":" second; bad digits show as -1 and are refused with the other fields. */
static bool take_time(struct http_str *s, struct civil *t) {
    t->hour = take_digits(s, 2);
    if (!take_text(s, ":", 1))
        return false;
    t->minute = take_digits(s, 2);
    if (!take_text(s, ":", 1))
        return false;
    t->second = take_digits(s, 2);
    return true;
}

/* "06 Nov 1994 08:49:37 GMT", after "Sun, " */
static bool take_imf_fixdate(struct http_str s, struct civil *t) {
    t->day = take_digits(&s, 2);
    if (!take_text(&s, " ", 1))
        return false;
    t->month = take_month(&s);
    if (!take_text(&s, " ", 1))
        return false;
    t->year = take_digits(&s, 4);
    return take_text(&s, " ", 1) && take_time(&s, t) && take_text(&s, " GMT", 4) && s.len == 0;
}

/* "06-Nov-94 08:49:37 GMT", after "Sunday, " */
static bool take_rfc850(struct http_str s, struct civil *t) {
    t->day = take_digits(&s, 2);
    if (!take_text(&s, "-", 1))
        return false;
    t->month = take_month(&s);
    if (!take_text(&s, "-", 1))
        return false;
    int year = take_digits(&s, 2);
    if (year < 0)
        return false;
    t->year = year + (year < 69 ? 2000 : 1900); // no clock here: the window of POSIX %y
    return take_text(&s, " ", 1) && take_time(&s, t) && take_text(&s, " GMT", 4) && s.len == 0;
}

/* "Nov  6 08:49:37 1994", after "Sun " */
static bool take_asctime(struct http_str s, struct civil *t) {
    t->month = take_month(&s);
    if (!take_text(&s, " ", 1))
        return false;
    t->day = take_text(&s, " ", 1) ? take_digits(&s, 1) : take_digits(&s, 2);
    if (!take_text(&s, " ", 1) || !take_time(&s, t) || !take_text(&s, " ", 1))
        return false;
    t->year = take_digits(&s, 4);
    return s.len == 0;
}

static bool take_any(struct http_str s, struct civil *t) {
    struct http_str rest = s;
    t->weekday = take_weekday(&rest, true);
    if (t->weekday >= 0)
        return take_text(&rest, ", ", 2) && take_rfc850(rest, t);
    t->weekday = take_weekday(&rest, false);
    if (t->weekday < 0)
        return false;
    if (take_text(&rest, ", ", 2))
        return take_imf_fixdate(rest, t);
    return take_text(&rest, " ", 1) && take_asctime(rest, t);
}

/* 60 is a leap second; it counts as the first second of the next minute. */
static bool in_range(const struct civil *t) {
    return t->year >= 0 && t->month >= 0 && t->day >= 1 &&
           t->day <= days_in_month(t->year, t->month) && t->hour >= 0 && t->hour <= 23 &&
           t->minute >= 0 && t->minute <= 59 && t->second >= 0 && t->second <= 60;
}

bool http_parse_date(struct http_str s, int64_t *unix_s) {
    struct civil t = {0};
    if (!take_any(s, &t) || !in_range(&t))
        return false;
    int64_t days = days_before(t.year, t.month, t.day);
    if (weekday_of(days) != t.weekday)
        return false;
    *unix_s = (days - DAYS_TO_EPOCH) * DAY_S + t.hour * 3600 + t.minute * 60 + t.second;
    return true;
}
