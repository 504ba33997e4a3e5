#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# The sketcher starts with an empty table: after an orderly end, after kill -9, and when the group was set up
# anew while it ran, all is right and is learnt again.
. "$(dirname "$0")/case.sh"
begin "$@"
web_group nginx
sketcher
pages_ok
pages_ok
expect_counters replicated 20 fast_reads 20

say "an orderly end, and a new life"
expect_no_leaks
stop sketcher
[ ! -e /run/dpdk/sketcher/dpdk_telemetry.v2 ] || fail "its telemetry socket is left"
sketcher
expect_counters requests 0 history.entries 0
pages_ok
pages_ok
expect_counters replicated 20 fast_reads 20 history.entries 20

say "kill -9, in the middle of traffic, and a new life"
lab_start busy clients curl -s -m 5 -o /dev/null "http://$LAB_VIP/p[1-20].html?[1-1000]"
mark
eventually_grown requests '>=50'
lab_kill sketcher
lab_stop busy
sketcher
mark
pages_ok
pages_ok
# Replies to its former life may still come: they are not taken.
expect_grown requests 40 replicated 20 fast_reads 20 agreed 20 agreement_timeouts 0 disagreed 0

say "the group is set up anew, with another incarnation: what was learnt from the former one is forgotten"
for i in 0 1 2 3; do
    stop "replica$i"
done
cp $LAB/conf/group.conf "$OUT/group.conf" # keys stay, so that the running sketcher is still known
sed -i "s/^incarnation = .*/incarnation = a$RANDOM/" $LAB/conf/group.conf
for i in 0 1 2 3; do # and with other pages
    echo "the new page 5" >"$LAB/site/$i/p5.html"
    touch -d '2024-07-08 00:00:00 UTC' "$LAB/site/$i/p5.html"
done
lab_replicas http || fail "the replicas do not start again"
mark
expect_get 200 '/p1.html?other' # the first agreed answer tells of the incarnation
expect_same "$SITE/p1.html" "$OUT/body"
expect_grown slow_incarnation_changes 1
for round in 1 2; do
    repeat 20 /p5.html "$LAB/site/0/p5.html"
    expect_equal "old pages after the group was set up anew" 0 "$WRONG"
done
cp "$LAB/site/0/p5.html" "$SITE/p5.html"
pages_ok
pages_ok
expect_grown replicated 21 fast_reads 60 suspicions 0 agreement_timeouts 0 disagreed 0
end
