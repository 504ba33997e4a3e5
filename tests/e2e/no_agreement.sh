#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# A header or a body that differs at every replica: 502, a counter, and a record that names what differs.
. "$(dirname "$0")/case.sh"
begin "$@"

up() {
    local i
    lab_group "$@" || fail "no group"
    lab_replicas http || fail "the replicas do not start"
    sketcher
}

lab_network || fail "no network"
make_site
lab_site "$SITE"
for i in 0 1 2 3; do
    lab_nginx $i "location /differs/ { alias $LAB/site/$i/; add_header X-Served-By replica-$i; }
        location /body/ { return 200 'body of replica $i'; }
        location /status/ { return 50$i 'no'; }"
done
for i in 0 1 2 3; do
    eventually "nginx $i listens" lab_listens r$i 127.0.0.1 8080
done
up

say "a header"
expect_get 502 /differs/p1.html
expect_equal "the header" "" "$(header x-served-by)"
expect_counters disagreed 1
expect_evidence kind=no-agreement 'difference=header x-served-by'

say "a body; a status"
expect_get 502 /body/x
expect_get 502 /status/x
expect_counters disagreed 3 fast_reads 0
expect_evidence kind=no-agreement 'difference=body byte 16 .*'
expect_evidence kind=no-agreement 'difference=status 50[0-3] and 50[0-3]'

say "a page beside it is served, and nobody is accused"
get_ok /p1.html
for i in 0 1 2 3; do
    expect_counters replica.$i.named 0 replica.$i.suspicions 0
done
expect_no_leaks
stop sketcher
for i in 0 1 2 3; do
    stop replica$i
done

say "the header is left out of what is compared: it does no harm, and does not come through"
up "excluded-headers = x-served-by"
for round in 1 2 3; do
    expect_get 200 /differs/p1.html
    expect_same "$SITE/p1.html" "$OUT/body"
    expect_equal "the header" "" "$(header x-served-by)"
done
expect_counters fast_reads 2 replicated 1 disagreed 0
end
