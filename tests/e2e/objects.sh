#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Writes with curl: preconditions, bodies in both framings up to the limit and over it, Expect: 100-continue;
# and no read after a write is stale, whichever replica or variant it meets.
. "$(dirname "$0")/case.sh"
begin "$@"
store_group
sketcher
etag_of() {
    printf '"%s"' "$(sha256sum <"$1" | cut -d' ' -f1)"
}
seq 100 >"$OUT/one"
seq 200 >"$OUT/two"

say "PUT, GET, HEAD, DELETE"
expect_get 404 /a
expect_get 201 /a -T "$OUT/one" -H 'Content-Type: text/plain'
expect_equal "the validator is of the content" "$(etag_of "$OUT/one")" "$(header etag)"
mark
for i in 1 2; do
    expect_get 200 /a
    expect_same "$OUT/one" "$OUT/body"
    expect_equal "type" text/plain "$(header content-type)"
    expect_equal "validator" "$(etag_of "$OUT/one")" "$(header etag)"
done
expect_grown replicated 1 fast_reads 1 history_tombstoned 1 # the 404 is known, and known to be old
expect_get 200 /a --head
expect_equal "length in HEAD" "$(wc -c <"$OUT/one")" "$(header content-length)"
expect_get 204 /a -X DELETE
expect_get 404 /a
expect_get 404 /a -X DELETE

say "a write on condition: the lost update is refused"
expect_get 201 /b -T "$OUT/one" -H 'If-None-Match: *'
expect_get 412 /b -T "$OUT/two" -H 'If-None-Match: *'
expect_get 412 /b -T "$OUT/two" -H 'If-Match: "0000"'
expect_get 200 /b
expect_same "$OUT/one" "$OUT/body"
expect_get 204 /b -T "$OUT/two" -H "If-Match: $(etag_of "$OUT/one")"
expect_get 412 /b -T "$OUT/one" -H "If-Match: $(etag_of "$OUT/one")"
expect_get 200 /b
expect_same "$OUT/two" "$OUT/body"
expect_get 412 /b -X DELETE -H "If-Match: $(etag_of "$OUT/one")"
expect_get 204 /b -X DELETE -H "If-Match: $(etag_of "$OUT/two")"

say "60 times: a write, then reads of two variants over two connections"
mark
clients python3 - <<'PY' || fail "a read after a write was stale"
import by_hand
def ask(s, text, body=b""):
    s[0].sendall(text.encode() + b"\r\n\r\n" + body)
    return s[1].response()
connections = []
for _ in range(2):
    s = by_hand.connect()
    connections.append((s, by_hand.Reader(s)))
a, b = connections
for i in range(60):
    body = f"value {i}".encode()
    status, _, _ = ask(a, f"PUT /counter/{i % 20} HTTP/1.1\r\nHost: h\r\nContent-Length: {len(body)}", body)
    by_hand.expect(f"status of PUT {i}", 201 if i < 20 else 204, status)
    for s, variant in (b, "gzip"), (a, "gzip"), (b, "br"), (b, "gzip"):
        status, _, got = ask(s, f"GET /counter/{i % 20} HTTP/1.1\r\nHost: h\r\nAccept-Encoding: {variant}")
        by_hand.expect(f"variant {variant} after PUT {i}", (200, body), (status, got))
PY
expect_grown writes 60 reads 240 slow_tombstones 60 fast_reads '>=60' agreement_timeouts 0 disagreed 0

say "an object that keeps changing is read by agreement for a while"
mark
for i in $(seq 12); do
    expect_get "$([ "$i" = 1 ] && echo 201 || echo 204)" /busy -X PUT -d "$i"
    expect_get 200 /busy
    expect_equal "what was written last" "$i" "$(cat "$OUT/body")"
done
expect_grown auto_blacklisted '>=1' writes 12 fast_reads 0

say "10 MiB both ways, with Content-Length and chunked"
head -c 10485760 /dev/urandom >"$OUT/large"
expect_get 201 /large -T "$OUT/large"
expect_get 204 /large -T - <"$OUT/large"
for i in 1 2 3; do
    expect_get 200 /large
    expect_same "$OUT/large" "$OUT/body"
done

say "16 MiB are taken and given back, a byte more is not, in either framing"
mark
head -c 16777216 /dev/urandom >"$OUT/most"
expect_get 201 /most -T "$OUT/most"
expect_get 200 /most
expect_same "$OUT/most" "$OUT/body"
expect_get 204 /most -T - -H 'Expect:' <"$OUT/most"
expect_grown http_body_too_large 0 writes 2
printf x >>"$OUT/most"
expect_get 413 /most -T "$OUT/most"
expect_equal "connection after 413" close "$(header connection)"
expect_get 413 /most -T - <"$OUT/most"
expect_get 413 /most -T - -H 'Expect:' <"$OUT/most"
expect_grown http_body_too_large 3 writes '3..4' drop_out_of_buffers 0
expect_get 200 /most
expect_equal "what was there before" 16777216 "$(wc -c <"$OUT/body")"

say "Expect: 100-continue is answered before the body, and not at all where the answer is known"
mark
clients python3 - <<'PY' || fail "Expect: 100-continue"
import by_hand
s = by_hand.connect()
r = by_hand.Reader(s)
for round in (1, 2): # one connection for both
    s.sendall(b"PUT /expected HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
    by_hand.expect("interim answer", 100, r.response()[0])
    s.sendall(b"hello")
    by_hand.expect("final answer", 201 if round == 1 else 204, r.response()[0])
s.sendall(b"GET /expected HTTP/1.1\r\nHost: h\r\n\r\n")
by_hand.expect("what was written", b"hello", r.response()[2])
s.sendall(b"PUT /expected HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999\r\nExpect: 100-continue\r\n\r\n")
by_hand.expect("too large", 413, r.response()[0])
assert r.ended(), "something came after 413"
PY
expect_grown http_body_too_large 1

say "all four replicas did the same"
same_state() {
    local i want
    want=$(lab_replica_counter 0 executed state_digest)
    for i in 1 2 3; do
        [ "$(lab_replica_counter $i executed state_digest)" = "$want" ] || return 1
    done
}
eventually "equal states" same_state
end
