#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Apache behind the replicas instead of nginx.
. "$(dirname "$0")/e2e.sh"
up apache
fetch_all 3
is $WRONG 0 "wrong bodies"
pages=$(grep -c ^url $LAB/curl.conf)
is "$(counter stats requests fast_reads replicated)" "$((3 * pages)) $((2 * pages)) $pages"
is "$(status /page5.html)" 200
is "$(header Server)" ""
is "$(status /page5.html -H "If-None-Match: $(header ETag)")" 304
is "$(status /page5.html --head)" 200
is "$(status /missing)" 404

echo lies >$LAB/site/1/page5.html
for i in $(seq 40); do
    get /page5.html | cmp - $LAB/original/page5.html >&2 || fail "a lie"
done
eventually counter_is replicas 1.named 1
finish
