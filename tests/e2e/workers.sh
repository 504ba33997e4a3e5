#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Several workers and slow-path lcores, two copies of the history table: behind one queue (AF_XDP on veth has no more), and
# with a queue each (packet sockets).
. "$(dirname "$0")/case.sh"
begin "$@"

try() {
    local i
    # A connection per page, so that every worker has some.
    for i in 1 2 3; do
        clients curl -sS -m 60 --parallel --parallel-max 8 --parallel-immediate -o "$OUT/#1" \
            "http://$LAB_VIP/p[1-20].html" 2>"$OUT/curl" || fail "$(cat "$OUT/curl")"
        for ((page = 1; page <= 20; page++)); do
            expect_same "$SITE/p$page.html" "$OUT/$page"
        done
    done
    expect_counters requests 60 fast_reads 40 replicated 20 transitions 0 history.copies 2 history.entries 20
    expect_equal "lcores" "2 2 $1" "$(lab_counter config workers slow_paths queues)"
    get_ok /large.bin
    get_ok /large.bin
    tamper 3 /p9.html set_byte 9 '!'
    for ((i = 0; i < 12; i++)); do # on connections of different workers
        repeat_ok 5 /p9.html
    done
    expect_counters replica.3.named 1 replica.0.suspicions 0 replica.1.suspicions 0 replica.2.suspicions 0
    heal 3 /p9.html
}

say "one queue for both workers"
NETWORK="queues=1"
web_group nginx
sketcher "workers = 2" "slow-path = 2" "history-copies = 2"
try 1
expect_counters frames_handed_over '>=1'
expect_no_leaks
stop sketcher

say "a queue for each"
unset LAB_DRIVER_IN_USE
LAB_DRIVER=af_packet LAB_QUEUES=2
sketcher "workers = 2" "slow-path = 2" "history-copies = 2"
try 2
end
