#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Apache behind the replicas instead of nginx.
. "$(dirname "$0")/case.sh"
begin "$@"
web_group apache
sketcher
pages_ok
pages_ok
pages_ok
expect_counters requests 60 fast_reads 40 replicated 20 transitions 0 disagreed 0

say "files of no byte, of one, of 10 MiB; HEAD, 304, 404"
for path in /empty.txt /one /large.bin; do
    get_ok $path
    get_ok $path
done
expect_equal "who serves is not told" "" "$(header server)"
get_ok /p5.html
expect_get 304 /p5.html -H "If-None-Match: $(header etag)"
expect_get 200 /p5.html --head
expect_get 404 /missing

say "one of them lies"
tamper 1 /p5.html set_byte 50 '!'
repeat_ok 60 /p5.html
expect_counters replica.1.named 1 replica.0.named 0 replica.2.named 0 replica.3.named 0
end
