#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# The modes, and transitions on purpose.
. "$(dirname "$0")/case.sh"
begin "$@"
web_group nginx "read-optimisation = yes"

again() {
    if lab_runs sketcher; then
        expect_no_leaks
        stop sketcher
    fi
    say "$*"
    sketcher -- "$@"
    expect_equal "mode" "$2" "$(lab_counter config mode)"
}

again --mode pr-pbft
pages_ok
pages_ok
expect_counters requests 40 fast_reads 0 fast_tried 0 replicated 40 agreed 40 replica.0.asked 0

again --mode pr-pbft-ro
executed=$(lab_replica_counter 0 executed)
pages_ok
pages_ok
expect_counters requests 40 fast_reads 0 fast_tried 0 replicated 40 replica.0.asked 0
expect_equal "ordered operations" "$executed" "$(lab_replica_counter 0 executed)"
expect_at_least "unordered ones" 40 "$(lab_replica_counter 0 bft.executed_unordered)"

again --mode balance
pages_ok
pages_ok
expect_counters requests 40 replicated 0 balanced_unchecked 40

again --mode prophecy --inject-transitions 1
pages_ok
pages_ok
expect_counters requests 40 fast_reads 0 replicated 40 transitions_injected 20

again --mode prophecy --inject-transitions 0.5
for i in 1 2 3 4 5 6; do
    pages_ok
done
expect_counters requests 120 transitions_injected 20..80 suspicions 0 # of 100; nobody's fault
for i in 0 1 2 3; do
    expect_counters replica.$i.suspicions 0 replica.$i.named 0
done
end
