#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# HTTP at the edge: keep-alive, pipelining, HEAD, 304, 206, 1.0.
. "$(dirname "$0")/e2e.sh"
up nginx
get /page5.html >$LAB/tmp/page
same $LAB/tmp/page $LAB/original/page5.html
size=$(stat -c %s $LAB/original/page5.html)

# Keep-alive: one connection for all.
connections=$(clients curl -sS -w '%{num_connects}\n' -o /dev/null "$URL/page[0-9].html" | paste -sd+)
is "$((connections))" 1 connections

# Pipelining: answers in order, then the close that the last one asked for.
GET='GET /page%d.html HTTP/1.1\r\nHost: x\r\n\r\n'
is "$(clients "$E2E/raw.py" $LAB_VIP 80 "${GET/\%d/1}${GET/\%d/2}GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n" \
    'GET /page4.html HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')" "200 200 404 200 closed"
# A byte at a time is slow, but it is HTTP.
is "$(clients "$E2E/raw.py" $LAB_VIP 80 G E T ' ' / ' ' H T T P / 1 . 1 '\r' '\n' H o s t : x '\r' '\n' \
    'Connection: close\r\n' '\r\n')" "200 closed"
# HTTP/1.0: closed afterwards; Host is not needed.
is "$(clients "$E2E/raw.py" $LAB_VIP 80 'GET /one.txt HTTP/1.0\r\n\r\n')" "200 closed"

# HEAD has its own key, and the length that GET would have.
for round in 1 2; do
    is "$(status /page5.html --head)" 200
    is "$(header Content-Length)" "$size"
    is "$(wc -c <$LAB/head)" "$(wc -c <$LAB/body)" "a HEAD without a body"
done

# Conditions and ranges are answered from the validated whole.
is "$(status /page5.html)" 200
etag=$(header ETag)
[ -n "$etag" ] || fail "no ETag"
is "$(status /page5.html -H "If-None-Match: $etag")" 304
is "$(cat $LAB/body 2>/dev/null)" ""
is "$(status /page5.html -H 'If-None-Match: "another"')" 200
is "$(status /page5.html -H 'If-Modified-Since: Mon, 06 May 2024 07:08:09 GMT')" 304
is "$(status /page5.html -H 'If-Match: "another"')" 412
is "$(status /page5.html -r 10-29)" 206
is "$(header Content-Range)" "bytes 10-29/$size"
cmp <(tail -c +11 $LAB/original/page5.html | head -c 20) $LAB/body >&2 || fail "the range differs"
is "$(status /page5.html -r -5)" 206
cmp <(tail -c 5 $LAB/original/page5.html) $LAB/body >&2 || fail "the last five bytes differ"
is "$(status /page5.html -r 999999-)" 416
is "$(header Content-Range)" "bytes */$size"
is "$(counter stats responses_304 responses_206)" "2 2"

# None of these made a key of its own at the replicas: they were all fast.
read -r fast < <(counter stats fast_reads)
status /page5.html -r 0-0 >/dev/null
status /page5.html -H "If-None-Match: $etag" >/dev/null
is "$(counter stats fast_reads)" $((fast + 2))

is "$(status /page5.html -X OPTIONS)" 405 # nginx's answer, agreed on
is "$(status / -X TRACE)" 405
finish
