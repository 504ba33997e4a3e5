#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# The embedded store: writes are ordered, reads after them are never stale; 10 MiB both ways.
. "$(dirname "$0")/e2e.sh"
up store

is "$(status /a)" 404
is "$(status /a -X PUT -H 'Content-Type: text/plain' --data-binary one)" 201
is "$(get /a)" one
is "$(status /a)" 200
is "$(header Content-Type)" text/plain
one=$(header ETag)
is "$(status /a -X PUT --data-binary two)" 204
is "$(get /a)" two
is "$(status /a)" 200
[ "$(header ETag)" != "$one" ] || fail "the ETag did not change"
is "$(status /a -H "If-None-Match: $(header ETag)")" 304

# A write with a condition goes to the store as it is.
is "$(status /a -X PUT -H "If-Match: $one" --data-binary three)" 412
is "$(get /a)" two
is "$(status /a -X PUT -H 'If-None-Match: *' --data-binary three)" 412

# Every read after a write sees it, from whichever replica (S16).
for i in $(seq 30); do
    is "$(status /counter -X PUT --data-binary $i)" "$([ "$i" = 1 ] && echo 201 || echo 204)"
    is "$(get /counter)$(get /counter)" $i$i "after write $i"
done
at_least "$(counter stats fast_reads)" 10

is "$(status /a -X DELETE)" 204
is "$(status /a)" 404
is "$(status /a)" 404
is "$(status /a -X DELETE)" 404
is "$(status /a -X PUT -H 'Transfer-Encoding: chunked' --data-binary @- <<<'in chunks')" 201
is "$(get /a)" "in chunks"
is "$(status /a -X POST --data-binary x)" 405

# 10 MiB up and down, by agreement and fast.
head -c 10485760 /dev/urandom >$LAB/tmp/10m
is "$(status /10m -T $LAB/tmp/10m)" 201
for i in 1 2 3; do
    is "$(status /10m)" 200
    same $LAB/body $LAB/tmp/10m
done
is "$(status /10m -r 5000000-5000099)" 206
cmp <(tail -c +5000001 $LAB/tmp/10m | head -c 100) $LAB/body >&2 || fail "the range differs"

# All four executed it.
for i in 1 2 3; do
    eventually eval "[ \$(lab_replica_counter $i executed) = $(lab_replica_counter 0 executed) ]"
done

# Concurrent writes to one object and to many: each answered once, the last state agreed on.
burst -X PUT --data-binary z "$URL/many/[1-200]"
burst "$URL/many/[1-200]"
is "$(get /many/77)$(get /many/200)" zz
is "$(counter stats agreement_timeouts disagreed)" "0 0"
is "$(counter replicas 0.named 1.named 2.named 3.named)" "0 0 0 0"

# A replica does not rejoin a running group yet, and says so.
lab_kill replica1
lab_replica 1 --service store --store-dir $LAB/store1 --store-map-bytes 268435456
if lab_ready replica1 ready; then
    fail "replica 1 rejoined"
fi
lab_stop replica1
grep -q 'set a new incarnation' $LAB/log/replica1 || fail "$(cat $LAB/log/replica1)"
is "$(status /a -X PUT --data-binary 'written by three')" 204

# The group starts again with a new incarnation, from what all hold.
for i in 0 2 3; do
    lab_stop replica$i || fail "replica $i ended with status $?"
done
lab_stop sketcher || fail "the sketcher ended with status $?"
rm -r $LAB/store1 && cp -a $LAB/store0 $LAB/store1
lab_group
lab_replicas store || fail "the replicas do not start again"
lab_sketcher || fail "the sketcher"
is "$(get /a)" "written by three"
is "$(status /10m)" 200
same $LAB/body $LAB/tmp/10m
is "$(get /counter)" 30
is "$(status /counter -X PUT --data-binary 31)" 204
is "$(get /counter)" 31
is "$(counter stats disagreed agreement_timeouts)" "0 0"
finish
