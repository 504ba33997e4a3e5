#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# However a lab ends, nothing of it is left: after its own end, a failure, Ctrl-C, TERM, HUP, and kill -9.
set -u
self=$(readlink -f "$0")
# Started in the background of a script, SIGINT is ignored, and bash cannot undo that by itself.
[ -n "${DEFAULT_SIGNALS:-}" ] || DEFAULT_SIGNALS=yes exec env --default-signal=INT "$self" "$@"
if [ "${1:-}" = lab ]; then
    . "$(dirname "$self")/case.sh"
    begin "$@"
    store_group
    sketcher
    echo up
    case $2 in
    fine) end ;;
    failed) fail "on purpose" ;;
    *) sleep 1000 ;;
    esac
fi

set -m # or the labs would be started with SIGINT ignored
out=$(mktemp)
trap 'rm -f "$out"' EXIT
wrong=0

complain() {
    echo "cleanup: FAILED: after $*" >&2
    wrong=1
}

# What the machine has of what is in a lab, by the names it has there. (Others may have theirs.)
machine() {
    local names='wires|clients|sketcher|r[0-9]+'
    ip -o link | grep -oE " (($names)-eth[01]|net[01])[@:]"
    ip netns list | grep -E "^($names)( |$)"
    grep -E "/netns/($names) |prophecy" /proc/self/mountinfo
    ls -d /var/run/dpdk/sketcher /run/prophecy /dev/hugepages/sketchermap_* 2>/dev/null
    true
}

# leaves_nothing HOW WANTED-STATUS STATUS PID
leaves_nothing() {
    local tries=0
    [ "$2" = "$3" ] || complain "$1: status $3, wanted $2: $(cat "$out")"
    # After kill -9 the kernel and the warden need a moment.
    while [ -e "/run/prophecy-lab/$4" ]; do
        sleep 0.05
        [ $((tries++)) -lt 200 ] || break
    done
    [ ! -e "/run/prophecy-lab/$4" ] || complain "$1: /run/prophecy-lab/$4 is left"
    [ "$(machine)" = "$before" ] || complain "$1: $(diff <(echo "$before") <(machine))"
    [ "$(ls /run/prophecy-lab 2>/dev/null)" ] || [ "$(cat /proc/sys/vm/nr_hugepages)" = "$pages" ] ||
        complain "$1: $(cat /proc/sys/vm/nr_hugepages) hugepages, there were $pages"
    pids_gone "$1"
}

# Those inside, by the PIDs that the machine saw.
pids_gone() {
    local pid tries=0
    for pid in $inside; do
        # A moment for what is dead and not yet buried.
        while [ -e "/proc/$pid" ] && [ $((tries++)) -lt 200 ]; do
            sleep 0.05
        done
        [ ! -e "/proc/$pid" ] || complain "$1: process $pid is left: $(tr '\0' ' ' <"/proc/$pid/cmdline")"
    done
}

descendants() {
    local pid
    for pid in $(pgrep -P "$1"); do
        echo "$pid"
        descendants "$pid"
    done
}

for how in fine failed INT TERM HUP KILL; do
    echo "cleanup: a lab that ends by $how"
    ls /run/prophecy-lab >/dev/null 2>&1 || pages=$(cat /proc/sys/vm/nr_hugepages)
    pages=${pages:-0} before=$(machine) inside= status=0
    "$self" lab $how >"$out" 2>&1 &
    pid=$!
    if [ $how != fine ] && [ $how != failed ]; then
        until grep -q '^up' "$out" || [ ! -e /proc/$pid ]; do
            sleep 0.1
        done
        inside=$(descendants $pid)
        [ "$(echo "$inside" | wc -l)" -ge 8 ] || complain "the start: only $inside runs: $(cat "$out")"
        kill -$how $pid
    fi
    wait $pid 2>/dev/null
    status=$?
    case $how in
    fine) leaves_nothing $how 0 $status $pid ;;
    failed) leaves_nothing $how 1 $status $pid ;;
    *) leaves_nothing $how $((128 + $(kill -l $how))) $status $pid ;;
    esac
done
[ $wrong = 0 ] && echo "cleanup: passed"
exit $wrong
