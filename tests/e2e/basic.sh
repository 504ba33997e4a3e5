#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# A real site of some thousand files, behind honest replicas: every page right, agreed on once and then fast; and
# all replicas executed the same.
. "$(dirname "$0")/case.sh"
begin "$@"
SITE=/usr/share/doc/apache2-doc/manual
[ -d $SITE ] || skip "Debian's apache2-doc is not installed"
web_group nginx
sketcher

say "every page, many at once, twice"
(cd $SITE && find . -xtype f -printf '/%P\n' | sort) >"$OUT/list"
count=$(wc -l <"$OUT/list")
[ "$count" -ge 900 ] || fail "only $count pages in $SITE"
while read -r page; do
    printf 'url = "http://%s%s"\noutput = "%s/site%s"\n' $LAB_VIP "$page" "$OUT" "$page"
done <"$OUT/list" >"$OUT/urls"
for round in 1 2; do
    rm -rf "$OUT/site"
    mark
    clients curl -sS -m 120 --parallel --parallel-max 12 --create-dirs -K "$OUT/urls" 2>"$OUT/curl" || fail "$(cat "$OUT/curl")"
    diff -rq $SITE "$OUT/site" >"$OUT/diff" # dangling links have no page
    expect_equal "pages that differ" 0 "$(grep -c '^Files .* differ$' "$OUT/diff")"
    expect_equal "pages fetched" "$count" "$(find "$OUT/site" -type f | wc -l)"
    [ $round = 2 ] || expect_grown requests "$count" replicated "$count" fast_reads 0
done
expect_grown requests "$count" replicated 0 fast_reads "$count" transitions 0

say "a directory without its slash is a redirection to nobody's address"
expect_get 301 /en
expect_equal "location" /en/ "$(header location)"

say "all replicas executed the same"
equal() {
    local i want
    want=$(lab_replica_counter 0 executed)
    for i in 1 2 3; do
        [ "$(lab_replica_counter $i executed)" = "$want" ] || return 1
    done
}
eventually "equal numbers" equal
for i in 0 1 2 3; do
    expect_counters replica.$i.answers '>=100' replica.$i.mismatches 0 replica.$i.outvoted 0 replica.$i.timeouts 0 replica.$i.named 0
done
expect_counters disagreed 0 agreement_timeouts 0 bad_gateway 0
end
