#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Replicas that fall silent one after the other: a web server that hangs, one that is gone, a cable that is pulled. They
# leave the candidate set, come back, and are not accused of anything.
. "$(dirname "$0")/case.sh"
begin "$@"
web_group nginx
sketcher "response-timeout-ms = 300" "connect-timeout-ms = 300"
pages_ok
pages_ok

candidates() {
    [ "$(lab_counter replicas 0.candidate 1.candidate 2.candidate 3.candidate)" = "$1" ]
}

say "the web server of replica 3 hangs"
lab_signal nginx3 STOP
mark
for i in 1 2 3; do
    pages_ok
done
expect_grown replica.3.timeouts '>=1' replica.3.ejections '>=1'
lab_signal nginx3 CONT
eventually "replica 3 is probed back in" candidates "1 1 1 1"
mark
pages_ok
pages_ok
expect_grown replica.3.answers '>=1' fast_reads 40

say "the web server of replica 1 is gone"
lab_stop nginx1
mark
for i in 1 2 3; do
    pages_ok
done
expect_grown replica.1.failures '>=1' replica.1.ejections '>=1'
lab_nginx 1
eventually "replica 1 is probed back in" candidates "1 1 1 1"

say "the cable of replica 2 is pulled: pages that nobody asked for before find their quorum, too"
lab_unplug 2
mark
for i in 1 2 3; do
    pages_ok
done
pages_ok -H 'Accept-Language: da'
expect_grown agreed '>=20' agreement_timeouts 0 replica.2.ejections '>=1'

say "it is put back in"
lab_plug 2
eventually "replica 2 is probed back in" candidates "1 1 1 1"
caught_up() {
    [ "$(lab_replica_counter 2 executed)" = "$(lab_replica_counter 0 executed)" ]
}
eventually "replica 2 catches up" caught_up
pages_ok
for i in 0 1 2 3; do
    expect_counters replica.$i.suspicions 0 replica.$i.named 0
done
end
