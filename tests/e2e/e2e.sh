# SPDX-License-Identifier: BSD-3-Clause
# What the end-to-end cases have in common. A case is a bash script that sources this file; from then on it
# runs inside a lab of its own (tools/lab.sh). Run one by hand:
#
#     tests/e2e/basic.sh                          PROPHECY_BIN=DIR: the build, otherwise build/test
#
# A case ends with `finish`, and fails with the first check that does not hold, saying where.

set -u
E2E=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$E2E/../../tools/lab.sh"
PROPHECY_BIN=${PROPHECY_BIN:-$PROPHECY_ROOT/build/test}
export PROPHECY_BIN
[ -x "$PROPHECY_BIN/app/sketcher/prophecy-sketcher" ] ||
    lab_die "there is no $PROPHECY_BIN/app/sketcher/prophecy-sketcher; run tools/test, or meson and ninja"
URL=http://$LAB_VIP

fail() {
    local frame=0 line where
    # The place in the case, not in this file.
    while read -r line _ where < <(caller $frame) && [ "$where" = "${BASH_SOURCE[0]}" ]; do
        frame=$((frame + 1))
    done
    echo "$(basename "${where:-$0}"):${line:-?}: $*" >&2
    local name
    for name in "${!LAB_PID[@]}"; do
        case $name in
        sketcher | replica*) lab_runs "$name" || { echo "$name has ended" >&2 && lab_show_log "$name" 60; } ;;
        esac
    done
    exit 1
}

# ---- checks

# is GOT WANTED [WHAT]
is() {
    [ "$1" = "$2" ] || fail "${3:+$3: }got '$1', wanted '$2'"
}

# at_least GOT WANTED [WHAT]
at_least() {
    [ "$1" -ge "$2" ] || fail "${3:+$3: }got $1, wanted $2 or more"
}

at_most() {
    [ "$1" -le "$2" ] || fail "${3:+$3: }got $1, wanted $2 or less"
}

# same FILE FILE
same() {
    cmp "$1" "$2" >&2 || fail "$1 and $2 differ"
}

# eventually COMMAND...: a counter that is published a little later, a replica that is probed back in.
eventually() {
    lab_until "$*" "$@" || fail "it never came true: $*"
}

# ---- what the clients do

get() {
    clients curl -sS --max-time 60 "$URL$1" "${@:2}"
}

# Many requests at once, the bodies thrown away.
burst() {
    clients curl -sS --parallel --parallel-max 16 --max-time 60 -o /dev/null "$@" 2>$LAB/log/curl ||
        fail "curl: $(grep '^curl:' $LAB/log/curl | head -1)"
}

# status PATH [CURL OPTIONS]: the status code; the body goes to body, the header to head.
status() {
    rm -f $LAB/body
    clients curl -sS --max-time 60 -o $LAB/body -D $LAB/head -w '%{http_code}' "$URL$1" "${@:2}"
}

# header NAME: of the response to the last status; empty when it is not there.
header() {
    awk -v name="$1" 'BEGIN { FS = ": " } tolower($1) == tolower(name) { sub(/\r$/, ""); sub(/^[^:]*: /, ""); print; exit }' $LAB/head
}

# fetch_all ROUNDS: all pages of the site, all bodies compared; leaves the number of wrong ones in WRONG.
fetch_all() {
    local i
    WRONG=0
    (cd $LAB/original && find . -xtype f -printf '/%P\n' | sort) |
        while read -r page; do
            printf 'url = "%s%s"\noutput = "%s%s"\n' $URL "$page" $LAB/got "$page"
        done >$LAB/curl.conf
    for ((i = 0; i < $1; i++)); do
        rm -rf $LAB/got
        clients curl -sS --parallel --parallel-max 8 --create-dirs --max-time 60 "${@:2}" \
            --config $LAB/curl.conf 2>$LAB/log/curl || fail "curl: $(grep '^curl:' $LAB/log/curl | head -1)"
        WRONG=$((WRONG + $(diff -rq $LAB/original $LAB/got | wc -l)))
    done
}

# ---- setting up

# A small site, the same at all replicas: original/ is what it should be.
make_site() {
    local i
    mkdir -p $LAB/original/dir
    printf 'x' >$LAB/original/one.txt
    : >$LAB/original/empty.txt
    printf '<html>start</html>' >$LAB/original/index.html
    printf '<html>dir</html>' >$LAB/original/dir/index.html
    for ((i = 0; i < 40; i++)); do
        { echo "page $i" && seq 1 $((i * 50)); } >$LAB/original/page$i.html
    done
    head -c 1000000 /dev/urandom >$LAB/original/1m.bin
    find $LAB/original -exec touch -d '2024-05-06 07:08:09 UTC' {} +
    lab_site $LAB/original
}

# up SERVICE [NAME=VALUE of lab_network...] [-- what lab_sketcher takes]
# SERVICE: store, null, nginx or apache; GROUP holds lines of [group].
up() {
    local service=$1 network=()
    shift
    while [ $# -gt 0 ] && [ "$1" != -- ]; do
        network+=("$1")
        shift
    done
    [ $# -eq 0 ] || shift
    lab_network "${network[@]}" || fail "the network"
    lab_group "${GROUP[@]}" || fail "the group"
    case $service in
    nginx | apache)
        make_site
        lab_webservers "$service" || fail "$service"
        lab_replicas http || fail "the replicas"
        ;;
    *) lab_replicas "$service" || fail "the replicas" ;;
    esac
    lab_sketcher "$@" || fail "the sketcher"
}
GROUP=()

counter() {
    # The packet path publishes its counters a few milliseconds later.
    sleep 0.1
    lab_counter "$@"
}

# counter_is COMMAND PATH VALUE, to be used with eventually.
counter_is() {
    [ "$(lab_counter "$1" "$2")" = "$3" ]
}

counter_at_least() {
    [ "$(lab_counter "$1" "$2")" -ge "$3" ]
}

# ---- the end: everybody must still be there, and go with status 0.

finish() {
    local name
    for name in "${!LAB_PID[@]}"; do
        case $name in
        sketcher | replica*)
            lab_runs "$name" || fail "$name has ended"
            lab_stop "$name" || fail "$name ended with status $?; $(lab_show_log "$name" 60 2>&1)"
            ;;
        esac
    done
    if grep -l -e 'ERROR: AddressSanitizer' -e 'runtime error:' -e 'LeakSanitizer' $LAB/log/* >&2; then
        fail "a sanitizer complains"
    fi
    exit 0
}

lab_enter "$@"
