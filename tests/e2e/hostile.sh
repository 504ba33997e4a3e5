#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Malformed and hostile HTTP: the status, then the connection is closed, and nobody else notices.
. "$(dirname "$0")/case.sh"
begin "$@"
web_group nginx
sketcher "request-timeout-ms = 2000"
pages_ok
failed=0
mark

# Somebody else's connection, all the while.
nsenter --net=/run/netns/clients -- python3 - $LAB_VIP "$SITE/p9.html" >$OUT/other 2>&1 <<'END' &
import http.client, os, signal, sys
stop = []
signal.signal(signal.SIGTERM, lambda *_: stop.append(1))
want = open(sys.argv[2], "rb").read()
c, n = http.client.HTTPConnection(sys.argv[1], timeout=30), 0
c.connect()
first = c.sock
while not stop:
    c.request("GET", "/p9.html")
    assert c.getresponse().read() == want and c.sock is first, "another connection was harmed"
    n += 1
print("unharmed", n)
END
other=$!

# answer WANTED WHAT REQUEST...
answer() {
    local got
    got=$(clients "$E2E/raw.py" $LAB_VIP 80 "${@:3}")
    [ "$got" = "$1" ] || {
        echo "$2: got '$got', wanted '$1'" >&2
        failed=$((failed + 1))
    }
}
H='Host: x\r\n'

answer '400 closed' 'garbage' '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n'
answer '400 closed' 'bare LF' "GET / HTTP/1.1\nHost: x\n\n"
answer '400 closed' 'bare CR' "GET / HTTP/1.1\r\nHost: x\rA: b\r\n\r\n"
answer '400 closed' 'no Host' 'GET / HTTP/1.1\r\n\r\n'
answer '400 closed' 'two Hosts' "GET / HTTP/1.1\r\n$H$H\r\n"
answer '400 closed' 'bad authority' 'GET / HTTP/1.1\r\nHost: a/b\r\n\r\n'
answer '400 closed' 'authority with a user' 'GET / HTTP/1.1\r\nHost: me@x\r\n\r\n'
answer '400 closed' 'absolute-form of another host' "GET http://y/ HTTP/1.1\r\n$H\r\n"
answer '400 closed' 'space before the colon' "GET / HTTP/1.1\r\n${H}A : b\r\n\r\n"
answer '400 closed' 'obs-fold' "GET / HTTP/1.1\r\n${H}A: b\r\n c\r\n\r\n"
answer '400 closed' 'NUL in a value' "GET / HTTP/1.1\r\n${H}A: b\0c\r\n\r\n"
answer '400 closed' 'NUL in the target' "GET /a\0b HTTP/1.1\r\n$H\r\n"
answer '400 closed' 'empty name' "GET / HTTP/1.1\r\n${H}: b\r\n\r\n"
answer '400 closed' 'space in the target' "GET /a b HTTP/1.1\r\n$H\r\n"
answer '400 closed' 'fragment' "GET /#a HTTP/1.1\r\n$H\r\n"
answer '400 closed' 'two lengths' "POST / HTTP/1.1\r\n${H}Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc"
answer '400 closed' 'the same length twice' "POST / HTTP/1.1\r\n${H}Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc"
answer '400 closed' 'a list of lengths' "POST / HTTP/1.1\r\n${H}Content-Length: 3, 3\r\n\r\nabc"
answer '400 closed' 'negative length' "POST / HTTP/1.1\r\n${H}Content-Length: -3\r\n\r\nabc"
answer '400 closed' 'signed length' "POST / HTTP/1.1\r\n${H}Content-Length: +3\r\n\r\nabc"
answer '400 closed' 'length in hexadecimal' "POST / HTTP/1.1\r\n${H}Content-Length: 0x3\r\n\r\nabc"
answer '400 closed' 'length beyond numbers' "POST / HTTP/1.1\r\n${H}Content-Length: 99999999999999999999\r\n\r\n"
answer '400 closed' 'length and chunked' \
    "POST / HTTP/1.1\r\n${H}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\n$H\r\n"
answer '501 closed' 'another coding' "POST / HTTP/1.1\r\n${H}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"
answer '400 closed' 'chunked in 1.0' "POST / HTTP/1.0\r\n${H}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
answer '400 closed' 'bad chunk size' "POST / HTTP/1.1\r\n${H}Transfer-Encoding: chunked\r\n\r\nzz\r\nab\r\n0\r\n\r\n"
answer '400 closed' 'chunk longer than it says' "POST / HTTP/1.1\r\n${H}Transfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\n"
answer '400 closed' 'bare LF in chunks' "POST / HTTP/1.1\r\n${H}Transfer-Encoding: chunked\r\n\r\n1\na\n0\n\n"
answer '413 closed' 'a body over the limit' "PUT /x HTTP/1.1\r\n${H}Content-Length: 17000000\r\n\r\n"
answer '414 closed' 'a long target' "GET /{a*9000} HTTP/1.1\r\n$H\r\n"
answer '431 closed' 'a long field' "GET / HTTP/1.1\r\n${H}A: {b*17000}\r\n\r\n"
answer '431 closed' 'many fields' "GET / HTTP/1.1\r\n$H{a: b\r\n*100}\r\n"
answer '501 closed' 'a long method' "{G*40} / HTTP/1.1\r\n$H\r\n"
answer '505 closed' 'version 2' "GET / HTTP/2.0\r\n$H\r\n"
answer '400 closed' 'no version' "GET /\r\n$H\r\n"
answer '405 closed' CONNECT "CONNECT x:80 HTTP/1.1\r\nHost: x:80\r\n\r\n"
answer '417 closed' 'another expectation' "PUT /x HTTP/1.1\r\n${H}Expect: miracles\r\nContent-Length: 1\r\n\r\n"
# A bad one behind good ones: those are answered first, what follows it is not.
answer '200 400 closed' 'bad after good' "GET /p1.html HTTP/1.1\r\n$H\r\nGET / HTTP/1.1\n\nGET / HTTP/1.1\r\n$H\r\n"
# Slow and unfinished ones are told so.
answer '408 closed' 'an unfinished head' "GET / HTTP/1.1\r\nHost:"
answer '408 closed' 'an unfinished body' "PUT /x HTTP/1.1\r\n${H}Content-Length: 10\r\n\r\nabc"

expect_equal "failed cases" 0 $failed
kill -TERM $other
wait $other || fail "another client's connection: $(cat $OUT/other)"
# Nothing of it reached a replica: only the other's page and that of "bad after good".
expect_grown http_rejected '>=30' slow_tickets '<=2' slow_tombstones 0
pages_ok
end
