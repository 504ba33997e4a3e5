#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# A response over the group's limit: 502, counted; one at the limit is served. The replicas stay candidates.
. "$(dirname "$0")/case.sh"
begin "$@"
make_site
head -c 1000000 /dev/urandom >"$SITE/most.bin"
head -c 1000001 /dev/urandom >"$SITE/over.bin"
touch -r "$SITE/p1.html" "$SITE/most.bin" "$SITE/over.bin"
web_group nginx "response-max-bytes = 1000000" "request-max-bytes = 5000"
sketcher
get_ok /most.bin
get_ok /most.bin
expect_counters fast_reads 1
expect_get 502 /over.bin
expect_get 502 /over.bin
expect_get 502 /large.bin
expect_counters response_too_large 3

say "requests have their limit, too"
head -c 5001 /dev/zero >"$OUT/over"
mark
expect_get 413 /p1.html -X POST --data-binary "@$OUT/over"
expect_get 413 /p1.html -X POST -H 'Transfer-Encoding: chunked' --data-binary "@$OUT/over"
expect_grown http_body_too_large 2 slow_tickets 0
pages_ok
for i in 0 1 2 3; do
    expect_counters replica.$i.candidate 1 replica.$i.named 0
done
end
