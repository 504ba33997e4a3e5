#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# AF_XDP without hugepages: the driver's memory is the frames' pool as a whole, so every frame of it must be usable.
# Several times as many frames as the pool has go in and out.
export LAB_HUGE=no LAB_DRIVER=af_xdp
. "$(dirname "$0")/case.sh"
begin "$@"
web_group nginx
lab_sketcher "upstream-idle-ms = 2000" || skip "AF_XDP is not to be had here"
expect_equal "driver and memory" "af_xdp small" "$LAB_DRIVER_IN_USE $LAB_MEMORY_IN_USE"

say "10 MiB by agreement, by fast reads, by agreement again"
get_ok /large.bin
for i in 1 2 3 4 5; do
    get_ok /large.bin
done
get_ok /large.bin -H 'Accept-Language: da'
pages_ok
expect_counters fast_reads 5 replicated 22 agreement_timeouts 0
expect_counters rx_frames '>=40960' tx_frames '>=40960'
end
