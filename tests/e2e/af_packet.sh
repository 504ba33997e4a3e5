#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Packet sockets and no hugepages: slower, and right.
export LAB_DRIVER=af_packet LAB_HUGE=no
. "$(dirname "$0")/e2e.sh"
up nginx
is "$LAB_DRIVER_IN_USE $LAB_MEMORY_IN_USE" "af_packet small"
fetch_all 3
is $WRONG 0 "wrong bodies"
pages=$(grep -c ^url $LAB/curl.conf)
is "$(counter stats requests fast_reads replicated)" "$((3 * pages)) $((2 * pages)) $pages"
finish
