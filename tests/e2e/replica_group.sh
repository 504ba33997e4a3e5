#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Four prophecy-replica processes on loopback with the store, and a direct client: PUT, GET, HEAD, DELETE, a 10 MiB
# object both ways, a killed backup, a frozen one, many requests at once. Then the same group with the http service, each
# replica with a web server of its own. No root needed.
#
#   tests/e2e/replica_group.sh BUILD-DIR [BASE-PORT]
set -eu

build=${1:-${PROPHECY_BIN:?usage: $0 BUILD-DIR [BASE-PORT], or PROPHECY_BIN=BUILD-DIR $0}}
base=${2:-$((20000 + $$ % 12000))}
replica=$build/app/replica/prophecy-replica
client=$build/app/replica/bft_client
dir=$(mktemp -d)
pids='' pid1='' pid3=''

cleanup() {
    status=$?
    trap - EXIT INT TERM
    for pid in $pids; do
        kill -CONT "$pid" 2>/dev/null || true
        kill -TERM "$pid" 2>/dev/null || true
    done
    for pid in $pids; do wait "$pid" 2>/dev/null || true; done
    if [ "$status" -ne 0 ]; then
        for f in "$dir"/*.log "$dir"/client.err; do echo "--- $f"; cat "$f"; done >&2
        echo "replica_group: FAILED" >&2
    fi
    rm -rf "$dir"
    exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

say() { echo "replica_group: $*"; }
die() { say "$*" >&2; exit 1; }

# request EXPECTED-STATUS [client options] METHOD TARGET [FILE]; the body is in $dir/out
request() {
    want=$1
    shift
    "$client" --group "$dir/group.conf" --keys "$dir/keys/client-0.key" --client 0 "$@" \
        >"$dir/out" 2>"$dir/client.err" || die "not agreed: $* ($(cat "$dir/client.err"))"
    got=$(sed -n 's/.* status=\([0-9]*\) .*/\1/p' "$dir/client.err")
    [ "$got" = "$want" ] || die "$*: status $got instead of $want"
}

# A replica of the group's status and counters; the field is looked up by its name.
status_of() { python3 - "$dir/$1.sock" "$2" <<'PY'
import json, socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
data = b''
while chunk := s.recv(65536):
    data += chunk
value = json.loads(data)
for key in sys.argv[2].split('.'):
    value = value[key]
print(value)
PY
}

fetch() { python3 - "$base" "$@" <<'PY'
import http.client, sys
c = http.client.HTTPConnection('127.0.0.1', int(sys.argv[1]) + 100 + int(sys.argv[2]))
c.request('GET', sys.argv[3])
r = c.getresponse()
sys.stdout.buffer.write(r.read())
sys.exit(0 if r.status == 200 else 1)
PY
}

at_least() { [ "$(status_of "$1" "$2")" -ge "$3" ]; }

# until_holds COMMAND...: tried again until it holds, for a bounded number of times
until_holds() {
    tries=0
    until "$@"; do
        tries=$((tries + 1))
        [ "$tries" -lt 100 ] || die "never came true: $*"
        sleep 0.1
    done
}

{
    echo "[group]"
    echo "replicas = 4"
    echo "f = 1"
    echo "incarnation = $(od -An -N7 -tx1 /dev/urandom | tr -d ' \n')1"
    echo "checkpoint-interval = 16"
    echo "log-window = 64"
    for i in 0 1 2 3; do
        echo "[replica $i]"
        echo "address = 127.0.0.1:$((base + i))"
        echo "http = 127.0.0.1:$((base + 100 + i))"
    done
    echo "[client 0]"
    echo "address = 127.0.0.1:$((base + 10))"
    echo "endpoints = 2"
} >"$dir/group.conf"
"$replica" keygen --group "$dir/group.conf" --out "$dir/keys" 2>"$dir/keygen.log"

say "four replicas on 127.0.0.1, ports $base and up"
for i in 0 1 2 3; do
    "$replica" run --group "$dir/group.conf" --id $i --keys "$dir/keys/replica-$i.key" \
        --service store --store-dir "$dir/store-$i" --control "$dir/$i.sock" 2>"$dir/$i.log" &
    eval "pid$i=$!"
    pids="$pids $!"
done
for i in 0 1 2 3; do until_holds grep -q "ready" "$dir/$i.log"; done

say "PUT, GET, HEAD, DELETE"
printf hello >"$dir/hello"
request 201 PUT /x "$dir/hello"
request 200 GET /x
cmp "$dir/out" "$dir/hello" || die "GET /x gave other bytes"
request 200 HEAD /x
[ ! -s "$dir/out" ] || die "HEAD has a body"
request 204 PUT /x "$dir/hello"
request 204 DELETE /x
request 404 GET /x

say "10 MiB both ways"
head -c 10485760 /dev/urandom >"$dir/large"
request 201 --timeout-ms 60000 PUT /large "$dir/large"
request 200 --timeout-ms 60000 GET /large
cmp "$dir/out" "$dir/large" || die "GET /large gave other bytes"

say "fast reads from each replica's own listener"
for i in 0 1 2 3; do
    until_holds at_least $i executed 8
    fetch $i /large | cmp - "$dir/large" || die "replica $i serves other bytes"
done

say "200 writes, 16 at once: checkpoints become stable, states are equal"
request 204 --count 200 --concurrency 16 PUT /large "$dir/hello"
same_state() {
    a=$(status_of 0 executed) && b=$(status_of 0 state_digest)
    for r in "$@"; do
        [ "$(status_of "$r" executed)" = "$a" ] && [ "$(status_of "$r" state_digest)" = "$b" ] ||
            return 1
    done
}
until_holds same_state 1 2 3
until_holds at_least 0 stable 16

say "backup 1 is frozen for 40 writes, then catches up"
kill -STOP "$pid1"
request 204 --count 40 --concurrency 1 PUT /large "$dir/hello"
kill -CONT "$pid1"
until_holds same_state 1 2 3
[ "$(status_of 1 behind)" = False ] || die "backup 1 says that it is behind"

say "backup 3 is killed, the group goes on"
kill -KILL "$pid3"
wait "$pid3" 2>/dev/null || true
request 201 PUT /y "$dir/hello"
request 200 GET /y
cmp "$dir/out" "$dir/hello" || die "GET /y gave other bytes"
request 204 --count 100 --concurrency 8 PUT /y "$dir/hello"
until_holds same_state 1 2

say "a killed replica's store refuses to be run in the same incarnation"
if "$replica" run --group "$dir/group.conf" --id 3 --keys "$dir/keys/replica-3.key" \
    --service store --store-dir "$dir/store-3" 2>"$dir/3.log"; then
    die "it ran"
fi
grep -q "cannot rejoin a running group yet" "$dir/3.log" || die "without saying why"

say "bad command lines are refused with exit status 2 and one line"
for args in "" "fly" "run --grup x" "run" "run --group" "run --group $dir/group.conf" \
    "run --group g --id 40 --keys k --service store" \
    "run --group g --id 0 --keys k --service disk" \
    "run --group g --id 0 --keys k --service http" \
    "run --group g --id 0 --keys k --service null --backend 127.0.0.1:80" \
    "run --group g --id 0 --id 1" "keygen --group g" "keygen --group g --out o extra"; do
    set +e
    # shellcheck disable=SC2086
    "$replica" $args >"$dir/out" 2>"$dir/client.err"
    code=$?
    set -e
    [ $code -eq 2 ] || die "'$args' ended with $code"
    [ "$(wc -l <"$dir/client.err")" -eq 1 ] || die "'$args' gave not one line"
done

say "a clean end"
end_replicas() {
    for i in "$@"; do
        eval "kill -TERM \$pid$i"
        eval "wait \$pid$i" || die "replica $i ended with status $?"
        [ ! -e "$dir/$i.sock" ] || die "replica $i left its control socket"
    done
    pids=
}
end_replicas 0 1 2

say "the http service: a web server behind each replica, which says what identity a write came with"
cat >"$dir/web.py" <<'PY'
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def answer(self, body):
        self.send_response(200)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_GET(self):
        self.answer(self.path.encode() * 1000)
    def do_POST(self):
        body = self.rfile.read(int(self.headers['Content-Length']))
        self.answer(self.headers['X-Prophecy-Request'].encode() + b' ' + body)
    def log_message(self, *args):
        pass
http.server.ThreadingHTTPServer(('127.0.0.1', int(sys.argv[1])), Handler).serve_forever()
PY
for i in 0 1 2 3; do
    python3 "$dir/web.py" $((base + 100 + i)) 2>"$dir/web-$i.log" &
    eval "web$i=$!"
    pids="$pids $!"
done
for i in 0 1 2 3; do
    "$replica" run --group "$dir/group.conf" --id $i --keys "$dir/keys/replica-$i.key" \
        --service http --backend "127.0.0.1:$((base + 100 + i))" --backend-timeout-ms 2000 \
        --control "$dir/$i.sock" 2>"$dir/$i.log" &
    eval "pid$i=$!"
    pids="$pids $!"
done
for i in 0 1 2 3; do until_holds grep -q "ready" "$dir/$i.log"; done
web_answers() { fetch "$1" / >/dev/null 2>&1; }
for i in 0 1 2 3; do until_holds web_answers $i; done
request 200 --count 50 --concurrency 8 GET /abc
[ "$(wc -c <"$dir/out")" -eq 4000 ] || die "GET gave other bytes"
request 200 POST /form "$dir/hello"
grep -Eqx '[0-9a-f]+-4-0-[0-9]+-[0-9]+ hello' "$dir/out" || die "the write came as: $(cat "$dir/out")"

say "one web server ends: its replica stays silent, the group answers"
# shellcheck disable=SC2154
kill "$web2"
wait "$web2" 2>/dev/null || true
request 200 --count 20 GET /abc
failed_at_2() { [ "$(status_of 2 bft.execute_failed)" -ge 20 ]; }
until_holds failed_at_2
[ "$(status_of 0 bft.execute_failed)" -eq 0 ] || die "replica 0 failed too"

say "all replicas end, web servers too"
webs=
for i in 0 1 3; do eval "webs=\"\$webs \$web$i\""; done
for pid in $webs; do kill "$pid"; done
for pid in $webs; do wait "$pid" 2>/dev/null || true; done
end_replicas 0 1 2 3
say "ok"
