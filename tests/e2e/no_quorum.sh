#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# One silent backup is nothing; f+1 silent ones stop agreement: 504 within its time-out, while pages that are in the
# table are still served; and all goes on when they speak again. A write that was told 504 may happen late,
# and is seen then.
. "$(dirname "$0")/case.sh"
begin "$@"
web_group nginx
AGREEMENT_TIMEOUT_MS=1500
sketcher
pages_ok
pages_ok

say "one backup is silent: reads that nobody made before, and writes, are agreed on"
lab_signal replica3 STOP
mark
pages_ok -H 'Accept-Language: da'
expect_get 405 /written -X PUT -d x # nginx does not take it: agreed, too
expect_grown replicated 21 agreed 21 agreement_timeouts 0

say "two are silent: what is known is served, what is not is 504"
lab_signal replica2 STOP
mark
pages_ok
expect_grown fast_reads 20 replicated 0
expect_get 504 '/p1.html?unknown'
expect_equal "connection after 504" keep-alive "$(header connection)"
expect_get 504 /written -X PUT -d x
pages_ok
expect_grown fast_reads 40 replicated 2 agreement_timeouts 2 responses 42
for i in 0 1 2 3; do
    expect_counters "replica.$i.candidate" 1 "replica.$i.suspicions" 0
done

say "one of them speaks again: agreement goes on"
mark
lab_signal replica2 CONT
expect_get 200 '/p2.html?unknown'
expect_same "$SITE/p2.html" "$OUT/body"
expect_get 200 '/p1.html?unknown'
expect_same "$SITE/p1.html" "$OUT/body"
expect_grown agreed 2 agreement_timeouts 0
eventually_grown slow_late_writes 1

say "so does the other: it catches up"
lab_signal replica3 CONT
caught_up() {
    [ "$(lab_replica_counter 3 executed)" = "$(lab_replica_counter 0 executed)" ]
}
eventually "replica 3 catches up" caught_up
mark
pages_ok -H 'Accept-Language: de'
expect_grown agreed 20 agreement_timeouts 0

say "the primary is silent: as long as there are no view changes, the same as f+1"
lab_signal replica0 STOP
mark
pages_ok
expect_get 504 '/p3.html?unknown'
lab_signal replica0 CONT
expect_get 200 '/p4.html?unknown'
expect_same "$SITE/p4.html" "$OUT/body"
expect_grown fast_reads 20 agreement_timeouts 1 agreed 1
end
