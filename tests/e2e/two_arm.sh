#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Two ports: clients on one network, replicas on another.
. "$(dirname "$0")/e2e.sh"
up nginx arms=2
fetch_all 3
is $WRONG 0 "wrong bodies"
pages=$(grep -c ^url $LAB/curl.conf)
is "$(counter stats requests fast_reads replicated)" "$((3 * pages)) $((2 * pages)) $pages"
is "$(counter config ports)" 2
# There is no way around the sketcher, and it does not route.
if lab_listens clients "$(lab_address 0)" 8080 2>/dev/null; then
    fail "a client reaches a replica directly"
fi
finish
