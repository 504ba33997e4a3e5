#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# The three lists, and what is in a key.
. "$(dirname "$0")/case.sh"
begin "$@"
SERVER_LINES='location /vary/ { default_type text/plain; return 200 "$http_accept_language|$http_user_agent|$http_x_mine"; }'
web_group nginx
sketcher "[whitelist]" "a = GET /p1.html" "b = * /p1?.html" "[blacklist]" "a = GET /p2*.html" \
    "[write]" "logout = GET /p3.html" "[key-headers]" "names = accept accept-language x-mine"

say "whitelisted: from one replica, unchecked, never agreed on"
grep -q "what 2 rule(s) of \[whitelist\] match is accepted from one replica, unchecked" "$LAB/log/sketcher" || fail "it is not said at start"
mark
repeat_ok 5 /p1.html
get_ok /p11.html
expect_grown requests 6 fast_reads 6 replicated 0 whitelisted_unchecked 6
tamper 0 /p1.html set_byte 3 '!'
tamper 1 /p1.html set_byte 3 '!'
repeat 40 /p1.html "$SITE/p1.html"
[ "$WRONG" -ge 1 ] && [ "$WRONG" -le 39 ] || fail "half of 40 answers must be wrong, got $WRONG"

say "blacklisted: always by agreement"
mark
repeat_ok 3 /p2.html
expect_grown requests 3 fast_reads 0 replicated 3 blacklisted 3

say "a GET with side effects: a write, each time"
mark
repeat_ok 2 /p3.html
expect_grown requests 2 replicated 2 writes 2 slow_tombstones 2

say "and it makes old what is known of its URL, here the answer to HEAD"
expect_get 200 /p3.html --head
mark
expect_get 200 /p3.html --head
expect_grown fast_reads 1
get_ok /p3.html
mark
expect_get 200 /p3.html --head
expect_grown fast_reads 0 history_tombstoned 1
expect_get 200 /p3.html --head
expect_grown fast_reads 1

say "spelt otherwise they are the same pages to the web server, and so to the lists"
mark
expect_get 200 /%703.html
expect_same "$SITE/p3.html" "$OUT/body"
expect_get 200 /static/../p2.html
expect_same "$SITE/p2.html" "$OUT/body"
expect_grown writes 1 blacklisted 1 fast_reads 0

say "a header is in the key and forwarded, or neither"
vary() {
    expect_get 200 /vary/ -H "Accept-Language: $1" -H "X-Mine: $2" -A "$3"
    expect_equal "what the web server saw" "$1||$2" "$(cat "$OUT/body")"
}
mark
vary da 1 curl
vary de 1 curl
vary da 2 curl
expect_grown replicated 3
vary da 1 another
expect_grown replicated 3 fast_reads 1
end
