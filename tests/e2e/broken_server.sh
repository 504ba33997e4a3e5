#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# The web server of replica 2 answers the sketcher in every wrong way (broken_server.py): malformed, too much, too
# little, too slow, things that nobody asked for. No client gets a wrong byte, the reason is counted, nothing leaks.
. "$(dirname "$0")/case.sh"
begin "$@"
make_site
mkdir "$SITE/bad"
right="other_form until_close in_pieces after_interim"
suspect="extra_header other_status"
failure="short two_lengths bare_lf split nul many_headers long_head interim_flood no_http bad_chunk reset"
slow="silent stops drips"
large="huge endless"
poison="poison_behind poison_later"
for name in $right $suspect $failure $slow $large $poison; do
    { echo "$name" && seq 300; } >"$SITE/bad/$name"
    touch -r "$SITE/p1.html" "$SITE/bad/$name"
done
web_group nginx "response-max-bytes = 1000000"
stop nginx2
sed -i 's/listen 8080/listen 8081/' $LAB/nginx2/nginx.conf
lab_start behind2 r2 nginx -c $LAB/nginx2/nginx.conf -e $LAB/log/nginx2.error
lab_start broken2 r2 python3 "$E2E/broken_server.py" 8080 8081
eventually "the broken server listens" lab_listens r2 127.0.0.1 8080
sketcher "response-timeout-ms = 200"
mark
pages_ok
get_ok /one
for name in $right $suspect $failure $slow $large $poison; do
    get_ok "/bad/$name"
done
expect_grown fast_reads 0 disagreed 0

# met NAME [TIMES]: fetches /bad/NAME, with good pages between, until replica 2 was asked for it; no body may be wrong.
met() {
    local i times=${2:-1}
    eventually "replica 2 is a candidate" candidate 2
    : >$LAB/log/broken2
    mark
    while [ "$(grep -c "/bad/$1" $LAB/log/broken2)" -lt "$times" ]; do
        rm -rf "$OUT/met" && mkdir "$OUT/met"
        for i in 1 2 3 4; do
            printf 'url = "http://%s%s"\noutput = "%s/met/%s"\n' \
                $LAB_VIP "/bad/$1" "$OUT" "bad$i" $LAB_VIP /one "$OUT" "one$i" $LAB_VIP /p2.html "$OUT" "two$i"
        done >"$OUT/urls"
        clients curl -sS -m 60 -K "$OUT/urls" || fail "$1: curl"
        for i in 1 2 3 4; do
            expect_same "$SITE/bad/$1" "$OUT/met/bad$i"
            expect_same "$SITE/one" "$OUT/met/one$i"
            expect_same "$SITE/p2.html" "$OUT/met/two$i"
        done
    done
}

candidate() {
    [ "$(lab_counter replicas "$1.candidate")" = 1 ]
}

say "the same response in other clothes is the same response: $right"
for name in $right; do
    met "$name"
    expect_grown fast_failed 0 transitions 0 replicated 0
done

say "another response is a mismatch: $suspect"
for name in $suspect; do
    met "$name"
    expect_grown replica.2.suspicions '>=1' fast_failed 0
done
expect_evidence replica=2 'request=GET /bad/other_status HTTP/1.1' 'difference=status 500 and 200'

say "what is no response is a failure of the replica: $failure"
for name in $failure; do
    met "$name"
    expect_grown replica.2.failures '>=1' replica.2.suspicions 0 replica.2.timeouts 0
done

say "too slow: $slow"
for name in $slow; do
    met "$name"
    expect_grown replica.2.timeouts '>=1' replica.2.suspicions 0
done

say "too large is for agreement to say, and does not count against the replica: $large"
for name in $large; do
    met "$name"
    expect_grown fast_failed '>=1' replica.2.suspicions 0 replica.2.failures 0 replica.2.timeouts 0 response_too_large 0
done

say "more than was asked for reaches nobody: $poison"
for name in $poison; do
    met "$name" 6
done
expect_counters upstream_garbage '>=1'

say "nobody else is blamed, and agreement was not disturbed"
for i in 0 1 3; do
    expect_counters replica.$i.mismatches 0 replica.$i.failures 0 replica.$i.outvoted 0 replica.$i.ejections 0
done
expect_counters disagreed 0 agreement_timeouts 0 replica.2.outvoted 0
end
