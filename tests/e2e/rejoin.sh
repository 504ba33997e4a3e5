#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# A replica of the store that was restarted does not rejoin its group, and says what to do; the group starts again
# with a new incarnation and keeps its objects.
. "$(dirname "$0")/case.sh"
begin "$@"
store_group
sketcher
expect_get 201 /a --upload-file - <<<'one'

say "replica 1 is killed and started again: it refuses"
lab_kill replica1
lab_replica 1 --service store --store-dir $LAB/store1 --store-map-bytes 268435456
if lab_ready replica1 ready; then
    fail "replica 1 rejoined"
fi
lab_stop replica1
expect_match "its last words" 'set a new incarnation' "$(tail -1 $LAB/log/replica1)"
expect_get 204 /a --upload-file - <<<'written by three'

say "the group is set up anew, from what one of the three holds"
stop sketcher
for i in 0 2 3; do
    stop replica$i
done
rm -r $LAB/store1 && cp -a $LAB/store0 $LAB/store1
lab_group
lab_replicas store || fail "the replicas do not start"
sketcher
expect_get 200 /a
expect_equal "the object" 'written by three' "$(cat "$OUT/body")"
expect_get 204 /a --upload-file - <<<'written by four'
expect_get 200 /a
expect_equal "the object" 'written by four' "$(cat "$OUT/body")"
expect_counters disagreed 0 agreement_timeouts 0
end
