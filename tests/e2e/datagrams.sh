#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Datagrams that nobody of the group sent, or that somebody took down and sends again: dropped under a name, by the
# sketcher and by replicas; and work goes on.
. "$(dirname "$0")/case.sh"
begin "$@"
store_group
sketcher
expect_get 201 /a --upload-file - <<<'one'

# spray NAMESPACE ADDRESS PORT: 300 datagrams of all sizes up to 200 bytes, and large ones.
spray() {
    lab_in "$1" python3 - "$2" "$3" <<'PY'
import random, socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
r = random.Random(7)
for size in list(range(200)) + [1400] * 100:
    s.sendto(r.randbytes(size), (sys.argv[1], int(sys.argv[2])))
PY
}

replica_drops() {
    echo $(($(lab_replica_counter 0 drop_unknown_endpoint datagram.drop_datagram_{short,magic,bad_mac,not_for_us,unknown_peer,malformed} |
        tr ' ' +)))
}
more_drops() {
    [ "$(replica_drops)" -ge $1 ]
}
sketcher_drops() {
    echo $(($(lab_counter drops drop_datagram_{short,magic,bad_mac,not_for_us,unknown_peer,malformed} | tr ' ' +)))
}
more_sketcher_drops() {
    [ "$(sketcher_drops)" -ge $1 ]
}

say "noise for a replica, from outside the group"
before=$(replica_drops)
spray clients "$(lab_address 0)" 7000
eventually "they are counted" more_drops $((before + 250))

say "noise for the sketcher, from a replica's host and from outside"
before=$(sketcher_drops)
spray r1 $LAB_NET.1 7100
spray clients $LAB_NET.1 7100
eventually "they are counted" more_sketcher_drops $((before + 500))

say "what replica 0 was sent is taken down, and all of it sent again by somebody else on the wire"
lab_start tap r0 python3 -c '
import socket, sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.ntohs(3))
s.bind(("eth0", 0))
print("tapped", flush=True)
kept = []
while len(kept) < 20:
    frame, where = s.recvfrom(65536)
    if where[2] == socket.PACKET_HOST and frame[12:14] == b"\x08\x00" and frame[23] == 17 and frame[36:38] == (7000).to_bytes(2, "big"):
        kept.append(frame.hex())
open(sys.argv[1], "w").write("\n".join(kept))
print("taken down", flush=True)
' "$OUT/frames"
lab_ready tap tapped || fail "the tap"
for ((i = 1; i <= 8; i++)); do
    expect_get "$([ $i = 1 ] && echo 201 || echo 204)" /b --upload-file - <<<"$i"
done
lab_ready tap "taken down" || fail "the tap"
lab_stop tap
replayed() {
    [ "$(lab_replica_counter 0 datagram.drop_datagram_replayed)" -ge $1 ]
}
before=$(lab_replica_counter 0 datagram.drop_datagram_replayed)
clients python3 - "$OUT/frames" <<'PY'
import socket, sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind(("eth0", 0))
mine = s.getsockname()[4]
for line in open(sys.argv[1]):
    frame = bytes.fromhex(line)
    s.send(frame[:6] + mine + frame[12:])
PY
eventually "they are counted" replayed $((before + 20))
expect_get 200 /b
expect_equal "the object" 8 "$(cat "$OUT/body")"

say "nobody minds"
expect_get 200 /a
expect_equal "the object" one "$(cat "$OUT/body")"
expect_get 204 /a --upload-file - <<<'two'
expect_get 200 /a
expect_equal "the object" two "$(cat "$OUT/body")"
expect_counters agreement_timeouts 0 disagreed 0
end
