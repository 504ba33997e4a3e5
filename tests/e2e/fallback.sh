#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Where AF_XDP or hugepages are not to be had, the lab goes on with packet sockets and without. They are taken away
# by a stand-in for the sketcher that fails on them as the EAL would.
. "$(dirname "$0")/case.sh"
begin "$@"

# without WORD...: the sketcher, as long as none of these is among its arguments.
without() {
    local bin=$LAB/bin real=$PROPHECY_BIN
    mkdir -p $bin/app/sketcher
    ln -sfn "$real/app/replica" $bin/app/replica
    cat >$bin/app/sketcher/prophecy-sketcher <<END
#!/bin/sh
for word in $*; do
    case "\$*" in
    *\$word*) echo "EAL: Cannot init \$word" >&2 && exit 1 ;;
    esac
done
exec $real/app/sketcher/prophecy-sketcher "\$@"
END
    chmod +x $bin/app/sketcher/prophecy-sketcher
    PROPHECY_BIN=$bin lab_sketcher
}

LAB_DRIVER=auto
huge=$LAB_MEMORY
web_group nginx

say "without AF_XDP"
without net_af_xdp || fail "the sketcher does not start"
expect_equal "what it runs on" "af_packet $huge" "$LAB_DRIVER_IN_USE $LAB_MEMORY_IN_USE"
pages_ok
stop sketcher
unset LAB_DRIVER_IN_USE LAB_MEMORY_IN_USE

say "without hugepages"
without --in-memory || fail "the sketcher does not start"
expect_equal "memory" small "$LAB_MEMORY_IN_USE"
pages_ok
stop sketcher
unset LAB_DRIVER_IN_USE LAB_MEMORY_IN_USE

say "without anything: it says so"
if without net_af_xdp net_af_packet 2>"$OUT/said"; then
    fail "it started"
fi
expect_match "what it says" 'does not start on af_xdp.*does not start on af_packet' "$(tr '\n' ' ' <"$OUT/said")"
end
