#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# The modes, and transitions on purpose.
. "$(dirname "$0")/e2e.sh"
GROUP=("read-optimisation = yes")
up nginx -- -- --mode pr-pbft
pages=43

again() {
    lab_stop sketcher || fail "the sketcher ended with status $?"
    lab_sketcher -- "$@" || fail "the sketcher"
    is "$(counter config mode)" "$2"
}

is "$(counter config mode)" pr-pbft
fetch_all 2
pages=$(grep -c ^url $LAB/curl.conf)
is $WRONG 0 pr-pbft
is "$(counter stats requests fast_reads fast_tried replicated)" "$((2 * pages)) 0 0 $((2 * pages))"
is "$(counter replicas 0.asked 1.asked)" "0 0"

again --mode pr-pbft-ro
executed=$(lab_replica_counter 0 executed)
fetch_all 2
is $WRONG 0 pr-pbft-ro
is "$(counter stats requests fast_reads replicated)" "$((2 * pages)) 0 $((2 * pages))"
is "$(lab_replica_counter 0 executed)" "$executed" "ordered operations for reads"
at_least "$(lab_replica_counter 0 bft.executed_unordered)" "$pages"

again --mode balance
fetch_all 2
is $WRONG 0 balance
is "$(counter stats requests replicated balanced_unchecked)" "$((2 * pages)) 0 $((2 * pages))"

again --mode prophecy --inject-transitions 1
fetch_all 2
is $WRONG 0 "all transitions"
is "$(counter stats requests fast_reads replicated transitions_injected)" "$((2 * pages)) 0 $((2 * pages)) $pages"

again --mode prophecy --inject-transitions 0.5
fetch_all 5
is $WRONG 0 "half of them transitions"
at_least "$(counter stats transitions_injected)" $((pages))
at_most "$(counter stats transitions_injected)" $((3 * pages))
# They are nobody's fault.
is "$(counter replicas 0.suspicions 1.suspicions 2.suspicions 3.suspicions)" "0 0 0 0"
finish
