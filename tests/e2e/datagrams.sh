#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Datagrams that nobody of the group sent: dropped under a name, by sketcher and replicas.
. "$(dirname "$0")/e2e.sh"
up store
is "$(status /a -X PUT --data-binary one)" 201

spray() {
    # From a replica's own address and port 7000, as far as that can be had, and from elsewhere.
    lab_in "$1" python3 - "$2" "$3" <<'END'
import os, random, socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
r = random.Random(7)
for size in list(range(0, 200)) + [1400] * 100:
    s.sendto(r.randbytes(size), (sys.argv[1], int(sys.argv[2])))
END
}
drops() {
    lab_replica_counter 0 datagram.drop_datagram_short datagram.drop_datagram_magic datagram.drop_datagram_bad_mac \
        datagram.drop_datagram_not_for_us datagram.drop_datagram_unknown_peer datagram.drop_datagram_malformed | tr ' ' +
}
dropped=$(($(drops)))
spray clients "$(lab_address 0)" 7000
eventually eval "[ \$((\$(drops))) -ge $((dropped + 250)) ]"
spray r1 $LAB_NET.1 7100
spray clients $LAB_NET.1 7100
sketcher_drops() {
    lab_counter drops drop_datagram_short drop_datagram_magic drop_datagram_bad_mac drop_datagram_not_for_us \
        drop_datagram_unknown_peer drop_datagram_malformed | tr ' ' +
}
eventually eval '[ $(($(sketcher_drops))) -ge 500 ]'
is "$(get /a)" one
is "$(status /a -X PUT --data-binary two)" 204
is "$(get /a)" two
is "$(counter stats agreement_timeouts disagreed)" "0 0"
finish
