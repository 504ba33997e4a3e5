#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Replica 2 lies: no client sees a wrong byte, and it is named. A plain load balancer passes the lies on.
. "$(dirname "$0")/e2e.sh"
up nginx
fetch_all 2
is $WRONG 0 "wrong bodies before"

# The last byte of each page, length and time of modification as before.
for page in $LAB/site/2/*.html $LAB/site/2/*.bin; do
    truncate -s -1 "$page" && printf '!' >>"$page" && touch -r $LAB/original/index.html "$page"
done
fetch_all 4
is $WRONG 0 "wrong bodies"
at_least "$(counter replicas 2.mismatches)" 10 mismatches
is "$(counter replicas 2.mismatches)" "$(counter replicas 2.suspicions)" "suspicions"
is "$(counter replicas 0.named 1.named 2.named 3.named)" "0 0 1 0"
is "$(counter replicas 0.mismatches 1.mismatches 3.mismatches)" "0 0 0"
evidence=$(lab_counter evidence)
case $evidence in
*'"replica": 2'*) ;;
*) fail "no record of replica 2: $evidence" ;;
esac

# The same lies, unchecked.
lab_stop sketcher || fail "the sketcher ended with status $?"
lab_sketcher -- --mode balance || fail "the sketcher"
fetch_all 4
at_least $WRONG 20 "wrong bodies in mode balance"

# Honest again: all reads are fast, and nothing is held against it that it does now.
cp -a $LAB/original/. $LAB/site/2/
lab_stop sketcher || fail "the sketcher ended with status $?"
lab_sketcher || fail "the sketcher"
fetch_all 3
is $WRONG 0 "wrong bodies after"
is "$(counter stats transitions)" 0
finish
