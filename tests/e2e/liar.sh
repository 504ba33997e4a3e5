#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Replica 2 lies about some pages: no client gets a wrong byte, the replica is named, and the record says
# which byte it was. A plain load balancer passes the lies on.
. "$(dirname "$0")/case.sh"
begin "$@"
make_site
mkdir "$SITE/bare" && seq 1000 >"$SITE/bare/list" && touch -r "$SITE/p1.html" "$SITE/bare/list"
SERVER_LINES='location /bare/ { etag off; }'
web_group nginx
sketcher
pages_ok
pages_ok
get_ok /large.bin
get_ok /bare/list

honest() {
    local i
    for i in 0 1 3; do
        expect_counters "replica.$i.mismatches" 0 "replica.$i.suspicions" 0 "replica.$i.outvoted" 0 "replica.$i.named" 0
    done
}

say "one byte of a page, its length as before"
mark
tamper 2 /p5.html set_byte 100 '!'
repeat_ok 60 /p5.html
expect_grown requests 60 replica.2.suspicions '>=3'
expect_counters replica.2.named 1
honest
expect_evidence kind=suspect replica=2 'request=GET /p5.html HTTP/1.1' \
    "difference=body byte 100 of $(wc -c <"$SITE/p5.html") and $(wc -c <"$SITE/p5.html")" \
    'suspect_sha256=[0-9a-f]{64}' 'agreed_sha256=[0-9a-f]{64}' 'sigma=[1-9][0-9]*'
# Agreement outvotes it, too: its vote for a new key of that page is wrong.
expect_get 200 '/p5.html?new'
expect_same "$SITE/p5.html" "$OUT/body"
eventually_grown replica.2.outvoted '>=1'

say "a page of another length, the headers as before but for Content-Length"
mark
tamper 2 /bare/list truncate -s 200
repeat_ok 60 /bare/list
expect_grown replica.2.suspicions '>=1'
expect_evidence replica=2 'request=GET /bare/list HTTP/1.1' "difference=body byte 200 of 200 and $(wc -c <"$SITE/bare/list")"

say "a page of another length, and so of another ETag"
mark
tamper 2 /p6.html truncate -s +7
repeat_ok 60 /p6.html
expect_grown replica.2.suspicions '>=1'
expect_evidence replica=2 'request=GET /p6.html HTTP/1.1' 'difference=header etag'

say "a page that it says is not there"
mark
rm "$LAB/site/2/p7.html"
repeat_ok 60 /p7.html
expect_grown replica.2.suspicions '>=1'
expect_evidence replica=2 'request=GET /p7.html HTTP/1.1' 'difference=status 404 and 200'

say "the last byte of 10 MiB"
mark
last=$(($(wc -c <"$SITE/large.bin") - 1))
other=$([ "$(tail -c 1 "$SITE/large.bin")" = x ] && echo y || echo x)
tamper 2 /large.bin set_byte $last "$other"
for ((round = 0; round < 12; round++)); do
    repeat_ok 5 /large.bin
    [ "$(grown replica.2.suspicions)" = 0 ] || break
done
expect_grown replica.2.suspicions '>=1'
expect_evidence replica=2 'request=GET /large.bin HTTP/1.1' "difference=body byte $last of 10485760 and 10485760"
honest

say "all its other pages are as good as anybody's"
mark
repeat_ok 40 /p9.html
expect_grown fast_reads 40 replica.2.answers '>=1' replica.2.mismatches 0

say "healed: its answers are taken again"
for path in /p5.html /p6.html /p7.html /bare/list /large.bin; do
    heal 2 $path
done
mark
pages_ok
repeat_ok 20 /p5.html
expect_grown requests 40 fast_reads 40 transitions 0 suspicions 0

say "the same lie through mode balance: clients get it"
expect_no_leaks
stop sketcher
expect_no_reports
tamper 2 /p5.html set_byte 100 '!'
sketcher "mode = balance"
mark
repeat 80 /p5.html "$SITE/p5.html"
[ "$WRONG" -ge 5 ] && [ "$WRONG" -le 40 ] || fail "about a quarter of 80 answers must be wrong, got $WRONG"
expect_grown requests 80 balanced_unchecked 80 replicated 0 replica.2.answers "$WRONG" suspicions 0
end
