# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# What the end-to-end cases share; to be sourced. A case is a bash script that reads like a session at a
# prompt: begin, set things up, fetch, expect, end. PROPHECY_BIN is the build directory to test
# (build-test). Exit status: 0 passed, 1 failed, 77 skipped with its reason printed.
#
#   . "$(dirname "$0")/case.sh"
#   begin "$@"                       in a lab of namespaces (tools/lab.sh) of its own from here on
#   lab_network; make_site           ...
#   end                              nothing leaked, everybody ended well, no sanitizer spoke up
#
# What is asserted are bytes and counters, never how long something took.
set -u
E2E=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$E2E/../../tools/lab.sh"
PROPHECY_BIN=$(readlink -f "${PROPHECY_BIN:-$E2E/../../build-test}")
[ -x "$PROPHECY_BIN/app/sketcher/prophecy-sketcher" ] ||
    lab_die "there is no build in $PROPHECY_BIN: run tools/test, or give one as PROPHECY_BIN"
export PROPHECY_BIN PYTHONPATH=$E2E PYTHONDONTWRITEBYTECODE=1
# The interpreter itself: a wrapper of it costs more than what it is called for.
PATH=$(dirname "$(python3 -c 'import sys; print(sys.executable)')"):$PATH
CASE=$(basename "$0" .sh)
# Exit statuses of the programs tell of leaks and reports, too.
export ASAN_OPTIONS=${ASAN_OPTIONS:-abort_on_error=0:exitcode=99}
export LSAN_OPTIONS=${LSAN_OPTIONS:-suppressions=$E2E/lsan.supp:print_suppressions=0}
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1}

begin() {
    lab_enter "$@"
    OUT=$LAB/tmp/out
    mkdir -p "$OUT"
}

say() {
    echo "$CASE: $*"
}

skip() {
    say "skipped: $*"
    exit 77
}

# ---- failing

fail() {
    local i
    {
        printf '%s: FAILED: %s\n' "$CASE" "$*"
        for ((i = 1; i < ${#BASH_SOURCE[@]}; i++)); do
            [[ ${BASH_SOURCE[i]} == */case.sh ]] || echo "    at ${BASH_SOURCE[i]}:${BASH_LINENO[i - 1]}"
        done
    } >&2
    show_state
    exit 1
}

show_state() {
    local log
    for log in "$LAB"/log/*; do
        [ -s "$log" ] && lab_show_log "$(basename "$log")" 12
    done
    ! lab_runs sketcher || {
        echo "---- counters that are not zero:" >&2
        python3 "$E2E/counters.py" show >&2
        lab_counter evidence | tr -d '\n' >&2
        echo >&2
    }
}

# expect_equal WHAT WANTED GOT
expect_equal() {
    [ "$2" = "$3" ] || fail "$1: expected '$2', got '$3'"
}

# expect_at_least WHAT LEAST GOT
expect_at_least() {
    [ "$3" -ge "$2" ] 2>/dev/null || fail "$1: expected at least $2, got '$3'"
}

# expect_match WHAT EXTENDED-REGEX GOT
expect_match() {
    [[ $3 =~ $2 ]] || fail "$1: expected something like '$2', got '$3'"
}

# expect_same WANTED-FILE GOT-FILE
expect_same() {
    cmp "$1" "$2" >"$OUT/cmp" 2>&1 ||
        fail "wrong bytes: expected $(wc -c <"$1") bytes of $1, got $(wc -c <"$2"): $(cat "$OUT/cmp")"
}

# eventually WHAT COMMAND...: for what comes true on its own, at a time of its own.
eventually() {
    lab_until "$@" || fail "never came true: $1"
}

# ---- counters of the sketcher: names as counters.py has them, e.g. fast_reads, replica.2.suspicions

# The counters from which expect_grown counts.
mark() {
    python3 "$E2E/counters.py" mark "$OUT/mark" || fail "the sketcher's counters cannot be read"
}

# expect_grown NAME N NAME N...: since mark. N: 3, '>=3', '<=3', 3..5
expect_grown() {
    local said
    said=$(python3 "$E2E/counters.py" grown "$OUT/mark" "$@" 2>&1) || fail "since the mark: $said"
}

# grown NAME: by how much since mark.
grown() {
    python3 "$E2E/counters.py" by "$OUT/mark" "$1"
}

# expect_counters NAME N...: since it started.
expect_counters() {
    local said
    said=$(python3 "$E2E/counters.py" values "$@" 2>&1) || fail "$said"
}

# eventually_grown NAME N...: for what takes its time.
eventually_grown() {
    lab_until "counters" python3 "$E2E/counters.py" grown "$OUT/mark" "$@" || expect_grown "$@"
}

# ---- a site

# The site that all replicas serve: pages p1 to p20, one byte, none at all, and 10 MiB.
make_site() {
    local i
    SITE=$LAB/master
    mkdir -p "$SITE/static"
    for ((i = 1; i <= 20; i++)); do
        { echo "<title>page $i</title>" && seq $((i * 10)) $((i * i * 20)); } >"$SITE/p$i.html"
    done
    printf x >"$SITE/one"
    : >"$SITE/empty.txt"
    echo "body { color: black }" >"$SITE/static/s.css"
    head -c 10485760 /dev/urandom >"$SITE/large.bin"
    # ETags of web servers are made of it.
    find "$SITE" -exec touch -d '2024-05-06 07:08:09 UTC' {} +
}

# The usual setting: one site behind four replicas with nginx (or apache), as the http service.
# web_group nginx|apache ["KEY = VALUE" of the group...]
web_group() {
    local server=$1
    shift
    lab_network ${NETWORK:-} || fail "no network"
    [ -n "${SITE:-}" ] || make_site
    lab_site "$SITE"
    lab_group "$@" || fail "no group"
    lab_webservers "$server" ${SERVER_LINES:+"$SERVER_LINES"} && lab_replicas http || fail "the replicas do not start"
}

# The embedded store at each replica. store_group ["KEY = VALUE" of the group...]
store_group() {
    lab_network ${NETWORK:-} || fail "no network"
    lab_group "$@" || fail "no group"
    lab_replicas store || fail "the replicas do not start"
}

# sketcher ["KEY = VALUE"...] [-- OPTIONS...]: idle connections to replicas end soon, so that leaks show; agreement
# may take its time, for machines are slow and sanitizers slower.
sketcher() {
    lab_sketcher "upstream-idle-ms = ${UPSTREAM_IDLE_MS:-2000}" \
        "agreement-timeout-ms = ${AGREEMENT_TIMEOUT_MS:-60000}" "$@" || fail "the sketcher does not start"
}

# ---- requests

# get PATH [CURL OPTIONS...]: $STATUS, $OUT/head, $OUT/body
get() {
    local path=$1
    shift
    : >"$OUT/body" # curl leaves the file alone when there is no body
    STATUS=$(clients curl -sS -m 60 --path-as-is -o "$OUT/body" -D "$OUT/head" -w '%{http_code}' "$@" \
        "http://$LAB_VIP$path" 2>"$OUT/curl") || STATUS="none ($(cat "$OUT/curl"))"
}

# get_ok PATH [CURL OPTIONS...]: 200 and the file's bytes.
get_ok() {
    get "$@"
    expect_equal "status of $1" 200 "$STATUS"
    expect_same "$SITE$1" "$OUT/body"
}

# expect_get STATUS PATH [CURL OPTIONS...]
expect_get() {
    local want=$1
    shift
    get "$@"
    expect_equal "status of $*" "$want" "$STATUS"
}

# header NAME: its value in the last response.
header() {
    sed -n "s/^$1: *\(.*\)\r\$/\1/Ip" "$OUT/head"
}

# pages [CURL OPTIONS...]: p1 to p20 over one connection; $WRONG bodies that are not the file's, $STATUSES.
pages() {
    local i
    rm -rf "$OUT/pages" && mkdir "$OUT/pages"
    WRONG=0
    STATUSES=$(clients curl -sS -m 60 -o "$OUT/pages/#1" -w '%{http_code}\n' "$@" \
        "http://$LAB_VIP/p[1-20].html" 2>"$OUT/curl" | sort | uniq -c | awk '{ printf "%s%d of %s", sep, $1, $2; sep = ", " }')
    for ((i = 1; i <= 20; i++)); do
        cmp -s "$SITE/p$i.html" "$OUT/pages/$i" || WRONG=$((WRONG + 1))
    done
}

# pages_ok [CURL OPTIONS...]
pages_ok() {
    pages "$@"
    expect_equal "statuses of 20 pages" "20 of 200" "$STATUSES"
    expect_equal "wrong bodies among 20 pages" 0 "$WRONG"
}

# repeat N PATH FILE [CURL OPTIONS...]: N times over one connection; $WRONG answers that are not FILE's bytes.
repeat() {
    local i n=$1 path=$2 file=$3
    shift 3
    rm -rf "$OUT/repeat" && mkdir "$OUT/repeat"
    for ((i = 1; i <= n; i++)); do
        printf 'url = "http://%s%s"\noutput = "%s/repeat/%d"\n' "$LAB_VIP" "$path" "$OUT" "$i"
    done >"$OUT/urls"
    clients curl -sS -m 60 "$@" -K "$OUT/urls" 2>"$OUT/curl" || fail "curl: $(head -1 "$OUT/curl")"
    WRONG=0
    for ((i = 1; i <= n; i++)); do
        cmp -s "$file" "$OUT/repeat/$i" || WRONG=$((WRONG + 1))
    done
}

# repeat_ok N PATH [CURL OPTIONS...]: of the site's file.
repeat_ok() {
    repeat "$1" "$2" "$SITE$2" "${@:3}"
    expect_equal "wrong answers of $1 to $2" 0 "$WRONG"
}

# tamper REPLICA PATH COMMAND...: COMMAND changes the file (its last argument); length aside, ETag and date stay.
tamper() {
    local file=$LAB/site/$1$2
    shift 2
    "$@" "$file" || fail "cannot tamper with $file"
    touch -d '2024-05-06 07:08:09 UTC' "$file"
}

heal() {
    cp -a "$SITE$2" "$LAB/site/$1$2"
}

# set_byte OFFSET TEXT FILE
set_byte() {
    printf %s "$2" | dd of="$3" bs=1 seek="$1" conv=notrunc status=none
}

# expect_evidence KEY=VALUE...: one of the newest records has all of these; values are extended regexes.
expect_evidence() {
    lab_counter evidence >"$OUT/evidence"
    python3 - "$OUT/evidence" "$@" <<'PY' || fail "no such record among the evidence: $*"
import json, re, sys
wanted = [w.split("=", 1) for w in sys.argv[2:]]
records = json.load(open(sys.argv[1])).values()
sys.exit(not any(all(re.fullmatch(v, str(r.get(k))) for k, v in wanted) for r in records))
PY
}

# ---- the end

# Clients are gone: nothing of theirs is left, and idle connections to replicas end by themselves.
expect_no_leaks() {
    local name want="memory.clients 0 memory.requests 0 memory.operations 0 memory.results 0
        memory.chunks_in_use 0 memory.tcp_connections 0"
    # shellcheck disable=SC2086 # words are meant
    LAB_READY_S=20 lab_until "everything is given back" python3 "$E2E/counters.py" values $want ||
        expect_counters $want
    for name in "${!LAB_PID[@]}"; do
        [[ $name == replica* ]] || continue
        eventually "$name holds no message" held_nothing "${name#replica}"
    done
}

held_nothing() {
    [ "$(lab_replica_counter "$1" datagram_bytes_held)" = 0 ]
}

# stop NAME: ends it in order; its exit status must be 0.
stop() {
    local rc=0
    lab_runs "$1" || fail "$1 has ended before it was told to"
    lab_stop "$1" || rc=$?
    [ $rc = 0 ] || fail "$1 ended with status $rc"
}

expect_no_reports() {
    local found
    found=$(grep -lE 'ERROR: (Address|Leak|Thread)Sanitizer|runtime error:|Assertion .* failed' "$LAB"/log/*) || return 0
    grep -hE -A30 'Sanitizer|runtime error:|Assertion .* failed' "$LAB"/log/* | head -100 >&2
    fail "a sanitizer or an assertion spoke up: $found"
}

end() {
    local name
    if lab_runs sketcher; then
        expect_no_leaks
        stop sketcher
    fi
    for name in "${!LAB_PID[@]}"; do
        [[ $name != replica* ]] || stop "$name"
    done
    expect_no_reports
    say "passed (${LAB_DRIVER_IN_USE:-no driver}, ${LAB_MEMORY_IN_USE:-no} memory)"
    exit 0
}
