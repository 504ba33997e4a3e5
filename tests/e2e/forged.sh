#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Datagrams of the group's own, taken down on the wire and sent again: as they were, to somebody else, with any byte
# changed, cut short, made longer, in a later life. Each is dropped under its name, by the sketcher and by replicas.
. "$(dirname "$0")/case.sh"
begin "$@"
store_group
sketcher
expect_get 201 /object -X PUT -d one
SKETCHER="10.77.0.1 7100" REPLICA="$(lab_address 0) 7000"

# take_down FILE ADDRESS PORT: 5 datagrams that replica 0's cable carries there.
take_down() {
    rm -f $LAB/log/tap
    lab_start tap r0 python3 "$E2E/forge.py" tap "$1" 5 "$2" "$3"
    lab_ready tap tapped || fail "the tap: $(cat $LAB/log/tap)"
    for i in 1 2 3 4 5 6; do
        expect_get 204 /object -X PUT -d "$i"
    done
    lab_ready tap taken || fail "nothing passed the tap"
    lab_stop tap
    expect_equal "datagrams taken down" 5 "$(python3 -c 'import json, sys; print(len(json.load(open(sys.argv[1]))))' "$1")"
}
take_down "$OUT/replies" $SKETCHER
take_down "$OUT/requests" $REPLICA

# send FILE ADDRESS PORT HOW: $SENT datagrams, from the clients' host.
send() {
    SENT=$(clients python3 "$E2E/forge.py" send "$@") || fail "sending: $*"
    [ "$SENT" -ge 5 ] || fail "nothing was sent: $*"
}

# The same for both sides: HOW NAME-OF-THE-DROP.
hows="same:replayed magic:magic sender:unknown_peer receiver:not_for_us content:bad_mac longer:bad_mac truncated:short
    cut:bad_mac noise:magic"

say "to the sketcher"
for how in $hows; do
    mark
    send "$OUT/replies" $SKETCHER "${how%:*}"
    eventually_grown "drop_datagram_${how#*:}" "$SENT" udp_in "$SENT" messages_in 0
done
mark
send "$OUT/requests" $SKETCHER same # what it said itself comes back
eventually_grown drop_datagram_not_for_us "$SENT" messages_in 0
mark
send "$OUT/replies" 10.77.0.1 7105 same # nobody's endpoint
eventually_grown drop_udp "$SENT" messages_in 0

# expect_dropped I NAME: replica I has dropped $SENT more under this name, and no message came of them.
dropped() {
    [ "$(lab_replica_counter "$1" "datagram.$2")" = "$3" ]
}
expect_dropped() {
    local name=datagram.drop_datagram_$2
    lab_until "dropped" dropped "$1" "drop_datagram_$2" $((BEFORE + SENT)) ||
        fail "replica $1: $2: expected $SENT more than $BEFORE, got $(lab_replica_counter "$1" "$name")"
}
before() {
    BEFORE=$(lab_replica_counter "$1" "datagram.drop_datagram_$2")
}

say "to a replica"
for how in $hows; do
    before 0 "${how#*:}"
    send "$OUT/requests" $REPLICA "${how%:*}"
    expect_dropped 0 "${how#*:}"
done
before 0 not_for_us
send "$OUT/replies" $REPLICA same # what it said itself comes back
expect_dropped 0 not_for_us
before 1 not_for_us
send "$OUT/requests" "$(lab_address 1)" 7000 same # another replica's
expect_dropped 1 not_for_us

say "nothing of it was executed, all goes on"
expect_get 200 /object
expect_equal "the object" 6 "$(cat "$OUT/body")"
expect_get 204 /object -X PUT -d seven
expect_get 200 /object
expect_equal "the object" seven "$(cat "$OUT/body")"

say "to the sketcher's next life, and of its former one"
expect_no_leaks
stop sketcher
sketcher
expect_get 204 /object -X PUT -d eight
mark
send "$OUT/replies" $SKETCHER same
eventually_grown udp_in "$SENT"
before 0 old_epoch
send "$OUT/requests" $REPLICA same
python3 - "$OUT/requests" <<'PY' || fail "the tap took down other replicas' datagrams only"
import json, sys
# Those from principal 4, the sketcher: replicas' own lives have not changed.
sys.exit(not any(int(d[8:12], 16) == 4 for d in json.load(open(sys.argv[1]))))
PY
SENT=$(python3 -c 'import json, sys; print(sum(int(d[8:12], 16) == 4 for d in json.load(open(sys.argv[1]))))' "$OUT/requests")
expect_dropped 0 old_epoch
expect_get 200 /object
expect_equal "the object" eight "$(cat "$OUT/body")"
expect_counters agreed 2 agreement_timeouts 0 disagreed 0
same_state() {
    local i
    for i in 1 2 3; do
        [ "$(lab_replica_counter $i executed state_digest)" = "$(lab_replica_counter 0 executed state_digest)" ] || return 1
    done
}
eventually "equal states" same_state
end
