#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Two ports: clients on one network, replicas on another.
. "$(dirname "$0")/case.sh"
begin "$@"
NETWORK="arms=2"
web_group nginx
sketcher
pages_ok
pages_ok
pages_ok
expect_counters requests 60 fast_reads 40 replicated 20 transitions 0
get_ok /large.bin
get_ok /large.bin
expect_equal "ports" 2 "$(lab_counter config ports)"

say "there is no way around the sketcher, and it does not route"
ip -n clients route add 10.78.0.0/24 via 10.77.0.1
if lab_listens clients "$(lab_address 0)" 8080 2>/dev/null; then
    fail "a client reaches a replica directly"
fi
end
