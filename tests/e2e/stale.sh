#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# A page changes at all replicas but one: once somebody has seen the new version, nobody sees the old one.
. "$(dirname "$0")/case.sh"
begin "$@"
web_group nginx
sketcher
repeat_ok 20 /p7.html

say "version 2 at replicas 0, 1 and 2"
for i in 0 1 2; do
    echo "version 2 of page 7" >"$LAB/site/$i/p7.html"
    touch -d '2024-06-06 07:08:09 UTC' "$LAB/site/$i/p7.html"
done
seen=no
for ((i = 0; i < 60; i++)); do
    get /p7.html
    expect_equal "status" 200 "$STATUS"
    if cmp -s "$LAB/site/0/p7.html" "$OUT/body"; then
        seen=yes
    else
        # Before the first sight of the new one the stale replica may still be believed (delay-once).
        expect_equal "the new version was seen before the old one" no $seen
        expect_same "$SITE/p7.html" "$OUT/body"
    fi
done
expect_equal "the new version was seen" yes $seen
expect_counters replica.3.suspicions '>=3' replica.3.named 1 replica.0.named 0 replica.1.named 0 replica.2.named 0
expect_counters replica.0.suspicions 0 replica.1.suspicions 0 replica.2.suspicions 0
end
