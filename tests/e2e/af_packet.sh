#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Packet sockets and no hugepages: slower, and right.
export LAB_DRIVER=af_packet LAB_HUGE=no
. "$(dirname "$0")/case.sh"
begin "$@"
web_group nginx
sketcher
expect_equal "what it runs on" "af_packet small" "$LAB_DRIVER_IN_USE $LAB_MEMORY_IN_USE"
pages_ok
pages_ok
pages_ok
expect_counters requests 60 fast_reads 40 replicated 20 transitions 0
get_ok /large.bin
get_ok /large.bin
end
