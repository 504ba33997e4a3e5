#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# The three lists, and what is in a key.
. "$(dirname "$0")/e2e.sh"
lab_network || fail "the network"
lab_group || fail "the group"
make_site
lab_webservers nginx 'location /vary/ { default_type text/plain; return 200 "$http_accept_language|$http_user_agent|$http_x_mine"; }' ||
    fail nginx
lab_replicas http || fail "the replicas"
lab_sketcher "[whitelist]" "a = GET /page1.html" "b = * /page1?.html" "[blacklist]" "a = GET /page2*.html" \
    "[write]" "logout = GET /page30.html" "[key-headers]" "names = accept accept-language x-mine" || fail "the sketcher"

# Whitelisted: from one replica, unchecked, never agreed on.
for i in 1 2 3 4 5; do
    get /page1.html >$LAB/tmp/page
    same $LAB/tmp/page $LAB/original/page1.html
done
get /page11.html >/dev/null
is "$(counter stats requests fast_reads replicated whitelisted_unchecked)" "6 6 0 6"

# Blacklisted: always by agreement.
for i in 1 2 3; do
    get /page21.html >$LAB/tmp/page
    same $LAB/tmp/page $LAB/original/page21.html
done
is "$(counter stats requests fast_reads replicated blacklisted)" "9 6 3 3"

# A GET with side effects: a write, each time.
get /page30.html >/dev/null
get /page30.html >/dev/null
is "$(counter stats requests replicated writes)" "11 5 2"

# Encoded otherwise it is the same page to the web server, and so to the write list and the blacklist.
get /p%61ge30.html >/dev/null
get /dir/..%2fpage21.html >/dev/null
is "$(counter stats writes blacklisted)" "3 4"

# A header is in the key and forwarded, or neither.
is "$(get /vary/ -H 'Accept-Language: da' -H 'X-Mine: 1' -A curl)" 'da||1'
is "$(get /vary/ -H 'Accept-Language: de' -H 'X-Mine: 1' -A curl)" 'de||1'
is "$(get /vary/ -H 'Accept-Language: da' -H 'X-Mine: 2' -A curl)" 'da||2'
read -r fast < <(counter stats fast_reads)
is "$(get /vary/ -H 'Accept-Language: da' -H 'X-Mine: 1' -A other)" 'da||1'
is "$(counter stats fast_reads)" $((fast + 1))
finish
