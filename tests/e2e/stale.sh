#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# A page changes at all replicas but one: once somebody has seen the new version, nobody sees the old one.
. "$(dirname "$0")/e2e.sh"
up nginx
for i in $(seq 20); do
    get /page7.html >/dev/null
done

for i in 0 1 2; do # replica 3 keeps the old one
    echo "version 2 of page 7" >$LAB/site/$i/page7.html
    touch -d '2024-06-06 07:08:09 UTC' $LAB/site/$i/page7.html
done
old=0 seen=no
for i in $(seq 60); do
    page=$(get /page7.html)
    if [ "$page" = "version 2 of page 7" ]; then
        seen=yes
    else
        # Before the first sight of the new one the stale replica may still be believed (delay-once).
        is $seen no "the old version after the new one was seen"
        is "$page" "$(cat $LAB/original/page7.html)"
        old=$((old + 1))
    fi
done
is $seen yes
at_least "$(counter replicas 3.suspicions)" 3
is "$(counter replicas 0.named 1.named 2.named 3.named)" "0 0 0 1"
finish
