#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# A response over the group's limit: 502, counted; one just below it is served. A request over it: 413.
. "$(dirname "$0")/e2e.sh"
lab_network || fail "the network"
lab_group "response-max-bytes = 1000000" "request-max-bytes = 5000" || fail "the group"
make_site # 1m.bin has 1000000 bytes
for i in 0 1 2 3; do
    head -c 1000001 /dev/zero >$LAB/site/$i/over.bin
    touch -r $LAB/original/index.html $LAB/site/$i/over.bin
done
lab_webservers nginx || fail nginx
lab_replicas http || fail "the replicas"
lab_sketcher || fail "the sketcher"

for round in 1 2; do
    is "$(status /1m.bin)" 200
    same $LAB/body $LAB/original/1m.bin
done
is "$(status /over.bin)" 502
is "$(status /over.bin)" 502
is "$(counter stats response_too_large)" 2
is "$(status /page1.html -X POST --data-binary @<(head -c 5001 /dev/zero))" 413
is "$(status /page1.html -X POST -H 'Transfer-Encoding: chunked' --data-binary @<(head -c 5001 /dev/zero))" 413
is "$(status /page1.html)" 200
is "$(counter replicas 0.candidate 1.candidate 2.candidate 3.candidate)" "1 1 1 1"
finish
