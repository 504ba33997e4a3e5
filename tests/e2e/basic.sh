#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Honest replicas with nginx: every page is right, read once by agreement and then fast.
. "$(dirname "$0")/e2e.sh"
up nginx

fetch_all 1
is $WRONG 0 "wrong bodies of the first round"
pages=$(grep -c ^url $LAB/curl.conf)
is "$(counter stats requests fast_reads replicated)" "$pages 0 $pages"

fetch_all 3
is $WRONG 0 "wrong bodies"
is "$(counter stats requests fast_reads replicated)" "$((4 * pages)) $((3 * pages)) $pages"

# Draws are per request: on one connection each replica gets its share.
clients curl -sS -o /dev/null "$URL/page[0-39].html?[1-5]" || fail curl
for i in 0 1 2 3; do
    at_least "$(counter replicas $i.answers)" 10 "answers of replica $i"
    is "$(counter replicas $i.mismatches $i.suspicions $i.timeouts $i.named)" "0 0 0 0"
done

# What a client sees of a page: nothing of the replica but the page.
is "$(status /page3.html)" 200
is "$(header Content-Length)" "$(stat -c %s $LAB/original/page3.html)"
is "$(header Last-Modified)" "Mon, 06 May 2024 07:08:09 GMT"
is "$(header Server)" ""
is "$(grep -ci '^date:' $LAB/head)" 1
is "$(status /dir)" 301
is "$(header Location)" /dir/
is "$(status /nothing-here)" 404
is "$(status /nothing-here)" 404
is "$(status /empty.txt)" 200
is "$(header Content-Length)" 0

# All replicas executed the same.
executed=$(lab_replica_counter 0 executed)
for i in 1 2 3; do
    eventually eval "[ \$(lab_replica_counter $i executed) = $executed ]"
done
is "$(lab_counter stats disagreed agreement_timeouts bad_gateway)" "0 0 0"
finish
