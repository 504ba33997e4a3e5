#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Clients that leave: in the middle of a head, of a body, of a response, while their request is read fast or agreed on,
# with a FIN or a reset; clients that never read. Everything of theirs is given back, and nobody else notices.
. "$(dirname "$0")/case.sh"
begin "$@"
store_group
UPSTREAM_IDLE_MS=300
sketcher "keepalive-timeout-ms = 1000" "request-timeout-ms = 1500"
head -c 10485760 /dev/urandom >"$OUT/large"
expect_get 201 /large -T "$OUT/large"
expect_get 201 /small -d @"$OUT/curl" -X PUT
expect_get 200 /large
expect_same "$OUT/large" "$OUT/body"
expect_no_leaks

# leave HOW-MANY REQUEST [BYTES TO READ FIRST]: leaves after that, in turns with a FIN and with a reset.
leave() {
    clients python3 - "$@" <<'PY' || fail "leaving: $2"
import by_hand, socket, struct, sys
count, request = int(sys.argv[1]), sys.argv[2].encode().decode("unicode_escape").encode("latin-1")
first = int(sys.argv[3]) if len(sys.argv) > 3 else 0
held = []
for i in range(count):
    s = by_hand.connect()
    s.sendall(request.replace(b"@", str(i).encode()))
    got = 0
    while got < first:
        chunk = s.recv(min(65536, first - got))
        assert chunk, "the sketcher closed before we did"
        got += len(chunk)
    if i % 2:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)) # RST
    s.close()
PY
}

say "without a word; in the middle of a head"
mark
leave 20 ''
leave 20 'GET /small HT'
leave 20 'GET /small HTTP/1.1\r\nHost: h\r\nX-Long: y'
expect_grown clients_accepted 60 requests 0
expect_no_leaks

say "in the middle of a body, of either framing"
mark
leave 20 'PUT /never HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\nsome of it'
leave 20 'PUT /never HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nsome '
expect_no_leaks
expect_grown requests 40 http_clients_gone 40 slow_tickets 0
expect_get 404 /never

say "before the answer: a fast one, one by agreement, an unknown page"
leave 40 'GET /small HTTP/1.1\r\nHost: h\r\n\r\n'
leave 20 'GET /none@ HTTP/1.1\r\nHost: h\r\n\r\n'
expect_no_leaks

say "in the middle of 10 MiB, fast and agreed; and many of them pipelined"
leave 6 'GET /large HTTP/1.1\r\nHost: h\r\n\r\n' 100000
leave 6 'GET /large?@ HTTP/1.1\r\nHost: h\r\n\r\n'
leave 4 'GET /large HTTP/1.1\r\nHost: h\r\n\r\nGET /large HTTP/1.1\r\nHost: h\r\n\r\nGET /large HTTP/1.1\r\nHost: h\r\n\r\n' 11000000
expect_no_leaks

say "a write whose client has left is done all the same"
mark
leave 20 'PUT /left@ HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\ndone'
expect_no_leaks
eventually_grown writes '18..20' # a reset may overtake the request
for i in 0 2 4; do
    expect_get 200 /left$i
    expect_equal "what was written" done "$(cat "$OUT/body")"
done

say "clients that ask and never read are cut off; one that reads slowly is not"
mark
clients python3 - "$OUT/large" <<'PY' || fail "slow readers"
import by_hand, socket, sys, time
large = open(sys.argv[1], "rb").read()
stalled = []
for _ in range(4):
    s = by_hand.connect()
    s.sendall(b"GET /large HTTP/1.1\r\nHost: h\r\n\r\n")
    stalled.append(s)
def read_slowly(more, pause):
    slow = socket.socket()
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    slow.settimeout(30)
    slow.connect(by_hand.VIP)
    slow.sendall(b"GET /large HTTP/1.1\r\nHost: h\r\n" + more + b"\r\n")
    got = b""
    while b"\r\n\r\n" not in got or len(got) < got.index(b"\r\n\r\n") + 4 + len(large):
        chunk = slow.recv(200000)
        assert chunk, f"the slow reader was cut off after {len(got)} bytes"
        got += chunk
        time.sleep(pause)
    assert got.endswith(large), "wrong bytes for the slow reader"


read_slowly(b"", 0.02)
# Longer than a request may take: closing is no reason to hurry.
read_slowly(b"Connection: close\r\n", 0.06)
for s in stalled: # what is left in the socket's buffer, then the reset
    try:
        n = 0
        while chunk := s.recv(1 << 20):
            n += len(chunk)
        raise SystemExit(f"a client that did not read was closed in order after {n} bytes")
    except ConnectionResetError:
        pass
PY
eventually_grown http_stalled_readers 4
expect_no_leaks

say "connections without a request are closed in time, in order"
mark
clients python3 - <<'PY' || fail "idle connections"
import by_hand
idle = [by_hand.connect() for _ in range(10)]
used = by_hand.connect()
used.sendall(b"GET /small HTTP/1.1\r\nHost: h\r\n\r\n")
r = by_hand.Reader(used)
by_hand.expect("status", 200, r.response()[0])
assert r.ended(), "something came on an idle connection"
for s in idle:
    answer = by_hand.Reader(s)
    first = answer.response()
    assert first is None or first[0] == 408, f"an idle connection was told {first}"
PY
expect_grown clients_accepted 11 http_keepalive_timeouts '>=1'
expect_get 200 /large
expect_same "$OUT/large" "$OUT/body"
end
