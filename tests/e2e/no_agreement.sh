#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# A header that differs at every replica: 502, a counter, and a record that names the header.
. "$(dirname "$0")/e2e.sh"
lab_network || fail "the network"
lab_group || fail "the group"
make_site
for i in 0 1 2 3; do
    lab_nginx $i "location /differs/ { alias $LAB/site/$i/; add_header X-Served-By replica-$i; }
        location /body/ { return 200 'body of replica $i'; }
        location /status/ { return 50$i 'no'; }"
done
for i in 0 1 2 3; do
    eventually lab_listens r$i 127.0.0.1 8080
done
lab_replicas http || fail "the replicas"
lab_sketcher || fail "the sketcher"

is "$(status /differs/page1.html)" 502
is "$(header X-Served-By)" ""
is "$(counter stats disagreed)" 1
case $(lab_counter evidence) in
*no-agreement*x-served-by*) ;;
*) fail "the record does not name the header: $(lab_counter evidence)" ;;
esac
is "$(status /body/x)" 502
is "$(status /status/x)" 502
is "$(counter stats disagreed)" 3
# A page beside it is served, and nobody is accused.
is "$(status /page1.html)" 200
is "$(counter replicas 0.named 1.named 2.named 3.named)" "0 0 0 0"

# Left out of what is compared, it does no harm, and does not come through.
for i in 0 1 2 3; do
    lab_stop replica$i || fail "replica $i ended with status $?"
done
lab_stop sketcher || fail "the sketcher ended with status $?"
lab_group "excluded-headers = x-served-by"
lab_replicas http || fail "the replicas"
lab_sketcher || fail "the sketcher"
for round in 1 2 3; do
    is "$(status /differs/page1.html)" 200
    is "$(header X-Served-By)" ""
done
is "$(counter stats fast_reads)" 2
finish
