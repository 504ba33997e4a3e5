#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# What an unmodified client gets: the right bytes, by the rules of HTTP, fast from the second time on.
. "$(dirname "$0")/case.sh"
begin "$@"
web_group nginx
sketcher

say "each page is replicated once, then read fast"
mark
pages_ok
expect_grown requests 20 replicated 20 fast_reads 0 history_misses 20 slow_installed 20
pages_ok
pages_ok
expect_grown requests 60 replicated 20 fast_reads 40 transitions 0 suspicions 0
expect_grown responses 60 clients_accepted 3 disagreed 0 agreement_timeouts 0

say "files of no byte, of one, of 10 MiB"
for path in /empty.txt /one /large.bin /static/s.css; do
    mark
    get_ok $path
    get_ok $path
    expect_grown requests 2 replicated 1 fast_reads 1
done

say "what a client is told about a page"
get_ok /p7.html
expect_equal "length" "$(wc -c <"$SITE/p7.html")" "$(header content-length)"
expect_equal "type" text/html "$(header content-type)"
expect_equal "modified" "Mon, 06 May 2024 07:08:09 GMT" "$(header last-modified)"
expect_match "the sketcher's own date" '^[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9:]{8} GMT$' "$(header date)"
expect_equal "who serves is not told" "" "$(header server)"
etag=$(header etag)
expect_match "validator" '^"[0-9a-f]+-[0-9a-f]+"$' "$etag"

say "HEAD has a key of its own"
mark
for i in 1 2; do
    get /p7.html --head
    expect_equal "status of HEAD" 200 "$STATUS"
    expect_equal "length in HEAD" "$(wc -c <"$SITE/p7.html")" "$(header content-length)"
    expect_equal "body of HEAD" 0 "$(grep -c title "$OUT/body")"
done
expect_grown replicated 1 fast_reads 1

say "preconditions and ranges are answered from the validated page"
mark
expect_get 304 /p7.html -H "If-None-Match: $etag"
expect_equal "body of 304" 0 "$(wc -c <"$OUT/body")"
expect_equal "validator in 304" "$etag" "$(header etag)"
expect_get 200 /p7.html -H 'If-None-Match: "other"'
expect_same "$SITE/p7.html" "$OUT/body"
expect_get 304 /p7.html -H 'If-Modified-Since: Mon, 06 May 2024 07:08:09 GMT'
expect_get 200 /p7.html -H 'If-Modified-Since: Sun, 05 May 2024 07:08:09 GMT'
expect_get 412 /p7.html -H 'If-Match: "other"'
expect_get 200 /p7.html -H "If-Match: $etag"
size=$(wc -c <"$SITE/p7.html")
head -c 110 "$SITE/p7.html" | tail -c 100 >"$OUT/want"
expect_get 206 /p7.html -r 10-109
expect_same "$OUT/want" "$OUT/body"
expect_equal "which bytes" "bytes 10-109/$size" "$(header content-range)"
tail -c 5 "$SITE/p7.html" >"$OUT/want"
expect_get 206 /p7.html -r -5
expect_same "$OUT/want" "$OUT/body"
expect_get 416 /p7.html -r 1000000-
expect_equal "how many there are" "bytes */$size" "$(header content-range)"
tail -c +5000001 "$SITE/large.bin" | head -c 1000000 >"$OUT/want"
expect_get 206 /large.bin -r 5000000-5999999
expect_same "$OUT/want" "$OUT/body"
expect_grown requests 10 fast_reads 10 replicated 0 responses_304 2 responses_206 3

say "Accept-Encoding splits keys, a header outside the key does not"
mark
get_ok /p8.html -H 'Accept-Encoding: gzip'
get_ok /p8.html -H 'Accept-Encoding: gzip' -H 'X-Tracking: 17'
get_ok /p8.html -H 'User-Agent: other'
expect_grown replicated 1 fast_reads 2

say "a page that is not there: the group agrees that it is not"
mark
expect_get 404 /absent.html
expect_get 404 /absent.html
expect_grown replicated 1 fast_reads 1 disagreed 0

say "HTTP/1.0, with and without keep-alive"
get_ok /p3.html --http1.0
expect_equal "connection after 1.0" close "$(header connection)"
get_ok /p3.html --http1.0 -H 'Connection: keep-alive'
expect_equal "connection after 1.0 with keep-alive" keep-alive "$(header connection)"

say "pipelined requests are answered in order, whatever the way of each"
mark
clients python3 - "$SITE" <<'PY' || fail "pipelining"
import by_hand, sys
site = lambda name: open(f"{sys.argv[1]}/{name}", "rb").read()
names = ["p1.html", "large.bin", "p2.html", "fresh?", "p3.html", "one", "large.bin", "empty.txt", "p4.html"]
s = by_hand.connect()
s.sendall(b"".join(f"GET /{n} HTTP/1.1\r\nHost: 10.77.0.100\r\nAccept: */*\r\n\r\n".encode() for n in names))
r = by_hand.Reader(s)
for n in names:
    status, _, body = r.response()
    by_hand.expect("status of " + n, 404 if n == "fresh?" else 200, status)
    if status == 200:
        assert body == site(n), f"{n}: wrong bytes"
# In pieces of one byte, and half closed after the last word.
for b in b"GET /p5.html HTTP/1.1\r\nHost: 10.77.0.100\r\nAccept: */*\r\n\r\n":
    s.sendall(bytes([b]))
s.shutdown(1)
status, headers, body = r.response()
by_hand.expect("status of p5.html", 200, status)
assert body == site("p5.html"), "p5.html: wrong bytes"
assert r.ended(), "something came after the last answer"
PY
expect_grown clients_accepted 1 requests 10 replicated 1 fast_reads 9

say "who is asked: each replica is drawn"
for i in 1 2 3; do
    pages_ok
done
for i in 0 1 2 3; do
    expect_counters "replica.$i.asked" '>=10' "replica.$i.mismatches" 0 "replica.$i.suspicions" 0
done
end
