#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Large agreed responses that nobody reads are held up to a limit; then they are refused, and small ones are not.
. "$(dirname "$0")/case.sh"
begin "$@"
store_group
UPSTREAM_IDLE_MS=300
sketcher "results-max-bytes = 40000000"
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

say "and there is room again"
expect_get 200 /large -H 'Accept-Language: again'
expect_same "$OUT/large" "$OUT/body"
end
