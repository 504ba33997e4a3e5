#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Several workers and slow-path lcores: behind one queue (AF_XDP on veth), and with a queue each.
. "$(dirname "$0")/e2e.sh"

try() {
    fetch_all 3
    is $WRONG 0 "wrong bodies ($1)"
    pages=$(grep -c ^url $LAB/curl.conf)
    is "$(counter stats requests fast_reads replicated)" "$((3 * pages)) $((2 * pages)) $pages"
    echo lies >$LAB/site/3/page9.html
    for i in $(seq 60); do
        get /page9.html | cmp - $LAB/original/page9.html >&2 || fail "a lie ($1)"
    done
    eventually counter_is replicas 3.named 1
    cp -a $LAB/original/page9.html $LAB/site/3/page9.html
    # The tables agree: two copies, with one slow-path lcore writing each bucket.
    is "$(counter config workers slow_paths)" "2 2"
    is "$(counter history copies)" 2
}

up nginx queues=1 -- "workers = 2" "slow-path = 2" "history-copies = 2"
try "one queue"
is "$(counter config queues)" 1
at_least "$(counter stats frames_handed_over)" 1
lab_stop sketcher || fail "the sketcher ended with status $?"

# Packet sockets have several queues on a veth; AF_XDP has not.
unset LAB_DRIVER_IN_USE
LAB_DRIVER=af_packet LAB_QUEUES=2
lab_sketcher "workers = 2" "slow-path = 2" "history-copies = 2" || fail "the sketcher"
try "two queues"
is "$(counter config queues)" 2
finish
