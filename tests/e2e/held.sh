#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Large bodies that nobody reads or nobody finishes are held up to a limit; what is small finds room all the same.
. "$(dirname "$0")/case.sh"
begin "$@"
store_group
UPSTREAM_IDLE_MS=300
sketcher "results-max-bytes = 40000000" "buffers = 16384" "clients-per-source-max = 600"
head -c 10485760 /dev/urandom >"$OUT/large"
expect_get 201 /large -T "$OUT/large"
expect_get 201 /small -X PUT -d "small"

say "three of ten MiB fit"
mark
clients python3 - <<'PY' || fail "what was held"
import by_hand
held, statuses = [], []
for i in range(6):
    s = by_hand.connect()
    held.append(s)
    # Another key each, so each is agreed on by itself.
    s.sendall(b"GET /large HTTP/1.1\r\nHost: h\r\nAccept-Language: x%d\r\n\r\n" % i)
    statuses.append(s.recv(12)[9:])
by_hand.expect("statuses", [b"200"] * 3 + [b"503"] * 3, statuses)
s = by_hand.connect()
s.sendall(b"GET /small HTTP/1.1\r\nHost: h\r\n\r\n")
by_hand.expect("a small one meanwhile", 200, by_hand.Reader(s).response()[0])
PY
expect_grown drop_results_limit 3 busy 3
expect_no_leaks

say "bodies that are not finished, and fast answers that are not read, leave the last chunks to small ones"
head -c 50000 /dev/urandom >"$OUT/page"
expect_get 201 /page -T "$OUT/page"
expect_get 200 /page
expect_get 200 /large
mark
clients python3 - "$OUT/page" <<'PY' || fail "chunks"
import by_hand, sys
page, held = open(sys.argv[1], "rb").read(), []
for _ in range(2):
    s = by_hand.connect()
    held.append(s)
    s.sendall(b"GET /large HTTP/1.1\r\nHost: h\r\n\r\n")
    by_hand.expect("a large one", b"200", s.recv(12)[9:])
for size in [8 << 20] * 3 + [1 << 20] * 10 + [200 << 10] * 30 + [20 << 10] * 200 + [1900] * 300:
    s = by_hand.connect()
    held.append(s)
    try:
        s.sendall(b"PUT /never HTTP/1.1\r\nHost: h\r\nContent-Length: 16777216\r\n\r\n" + bytes(size))
    except (BrokenPipeError, ConnectionResetError):
        pass # it was refused
for _ in range(40):
    s = by_hand.connect()
    s.sendall(b"GET /page HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
    status, _, body = by_hand.Reader(s).response()
    assert status == 200 and body == page, f"the page meanwhile: {status}, {len(body)} bytes"
PY
expect_grown drop_out_of_buffers '>=1'
expect_no_leaks

say "an address has its share of the connections, and other addresses have theirs"
ip -n clients addr add 10.77.0.201/24 dev eth0
mark
clients python3 - <<'PY' || fail "connections"
import by_hand, socket
held = [by_hand.connect() for _ in range(600)]
try:
    socket.create_connection(by_hand.VIP, 1.5)
    raise SystemExit("one more than its share was accepted")
except TimeoutError:
    pass
s = socket.create_connection(by_hand.VIP, 30, ("10.77.0.201", 0))
s.sendall(b"GET /small HTTP/1.1\r\nHost: h\r\n\r\n")
by_hand.expect("the other address", 200, by_hand.Reader(s).response()[0])
PY
expect_grown drop_tcp_source_limit '>=1' clients_accepted 601
expect_no_leaks

say "and there is room again"
expect_get 200 /large -H 'Accept-Language: again'
expect_same "$OUT/large" "$OUT/body"
end
