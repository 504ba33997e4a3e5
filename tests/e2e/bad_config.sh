#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Wrong options and configuration: one message that names what is wrong and where; status not 0; nothing started.
. "$(dirname "$0")/case.sh"
begin "$@"
SKETCHER=$PROPHECY_BIN/app/sketcher/prophecy-sketcher
REPLICA=$PROPHECY_BIN/app/replica/prophecy-replica
C=$LAB/conf
failed=0

complain() {
    echo "$*" >&2
    failed=$((failed + 1))
}

# refused NAME WANTED COMMAND...: exactly one line, from NAME, with WANTED in it.
refused() {
    local name=$1 wanted=$2 rc=0
    shift 2
    timeout 20 nsenter --net=/run/netns/sketcher -- "$@" >$OUT/stdout 2>$OUT/stderr || rc=$?
    case $rc in
    0) complain "'$wanted': accepted: $*" ;;
    124) complain "'$wanted': it went on running: $*" ;;
    esac
    [ "$rc" -lt 126 ] || complain "'$wanted': status $rc: $*"
    [ "$(wc -l <$OUT/stderr)" = 1 ] || complain "'$wanted': not one line: $(cat $OUT/stderr)"
    grep -qF -- "$wanted" $OUT/stderr || complain "'$wanted' is not in: $(cat $OUT/stderr)"
    grep -q "^$name: " $OUT/stderr || complain "'$wanted': not from $name: $(cat $OUT/stderr)"
    [ ! -e /run/dpdk/sketcher ] || complain "'$wanted': the EAL was started"
}

fresh() {
    lab_sketcher_conf af_packet "$@"
}

# in_sketcher_conf WANTED SED-EXPRESSION: on a good sketcher.conf.
in_sketcher_conf() {
    fresh
    sed -i -e "$2" $C/sketcher.conf
    refused prophecy-sketcher "$1" "$SKETCHER" --no-huge --no-pci --file-prefix sketcher -- --config $C/sketcher.conf
    fresh
}

# in_group WANTED SED-EXPRESSION: on a good group.conf, for both programs.
in_group() {
    cp $C/group.conf $C/good
    sed -i -e "$2" $C/group.conf
    refused prophecy-sketcher "$1" "$SKETCHER" --no-huge --no-pci --file-prefix sketcher -- --config $C/sketcher.conf
    refused prophecy-replica "$1" "$REPLICA" run --group $C/group.conf --id 0 --keys $C/keys/replica-0.key --service null
    cp $C/good $C/group.conf
}

option() {
    refused prophecy-sketcher "$1" "$SKETCHER" --no-huge --no-pci --file-prefix sketcher -- "${@:2}"
}

replica() {
    refused prophecy-replica "$1" "$REPLICA" "${@:2}"
}

lab_network || fail "the network"
lab_group || fail "the group"
fresh "workers = 1" "slow-path = 1"
"$SKETCHER" --config $C/sketcher.conf --check >$OUT/stdout || fail "a good configuration is refused"
expect_match "what --check says" 'sketcher.conf is good: mode prophecy, 4 replicas \(f = 1\), 1 port' "$(cat $OUT/stdout)"

# Options.
option --frobnicate --config $C/sketcher.conf --frobnicate
option 'needs a value' --config
option '--config FILE is missing'
option /nowhere/at.all --config /nowhere/at.all
option "no mode 'quick'" --config $C/sketcher.conf --mode quick
option "'1.5' is not a share" --config $C/sketcher.conf --inject-transitions 1.5
option "'lots' is not a share" --config $C/sketcher.conf --inject-transitions lots
option --history-copies --config $C/sketcher.conf --history-copies 0
option "'extra' is not an option" --config $C/sketcher.conf extra

# sketcher.conf.
in_sketcher_conf "does not know 'colour'" 's/^vip/colour = red\nvip/'
in_sketcher_conf "[sketcher] has no 'vip'" '/^vip/d'
in_sketcher_conf '[sketcher] vip' 's/^vip.*/vip = 10.77.0.300/'
in_sketcher_conf '[sketcher] vip' 's/^vip.*/vip = www.example.org/'
in_sketcher_conf "[sketcher] has no 'group'" '/^group/d'
in_sketcher_conf "[sketcher] has no 'keys'" '/^keys/d'
in_sketcher_conf nowhere.conf 's/^group.*/group = nowhere.conf/'
in_sketcher_conf nowhere.key 's/^keys.*/keys = nowhere.key/'
in_sketcher_conf '[sketcher] port' 's/^vip/port = 70000\nvip/'
in_sketcher_conf '[sketcher] workers' 's/^vip/workers = 0\nvip/'
in_sketcher_conf '[sketcher] workers' 's/^vip/workers = two\nvip/'
in_sketcher_conf '[sketcher] workers' 's/^vip/workers = 1 2\nvip/'
in_sketcher_conf '[sketcher] connect-timeout-ms' 's/^vip/connect-timeout-ms = -1\nvip/'
in_sketcher_conf '[sketcher] history-entries' 's/^vip/history-entries = 99999999999999999999\nvip/'
in_sketcher_conf '[sketcher] spin' 's/^vip/spin = perhaps\nvip/'
in_sketcher_conf "has 'vip' twice" 's/^vip/vip = 10.77.0.100\nvip/'
in_sketcher_conf "no mode 'best'" 's/^vip/mode = best\nvip/'
in_sketcher_conf 'client = 3' 's/^vip/client = 3\nvip/'
in_sketcher_conf 'slow-path = 9' 's/^vip/slow-path = 9\nvip/'
in_sketcher_conf 'has no [port 0]' '/^\[port 0\]/,$d'
in_sketcher_conf "[port 0] has no 'address'" '/^address/d'
in_sketcher_conf '[port 0] address' 's/^address.*/address = 10.77.0.1/'
in_sketcher_conf '[port 0] address' 's/^address.*/address = 10.77.0.1\/40/'
in_sketcher_conf '[port 0] address is not the address of [client 0]' 's/^address.*/address = 10.77.0.9\/24/'
in_sketcher_conf 'no section [port 7]' 's/^\[port 0\]/[port 7]\naddress = 1.2.3.4\/24\n[port 0]/'
in_sketcher_conf '[port 0] does not know' 's/^address/speed = 10\naddress/'
in_sketcher_conf nowhere.drv 's/^driver.*/driver = nowhere.drv/'
in_sketcher_conf '[whitelist] a' '$a[whitelist]\na = POST /x'
in_sketcher_conf '[blacklist] a' '$a[blacklist]\na = GET'
in_sketcher_conf '[write] a' '$a[write]\na = GET x'
in_sketcher_conf '[key-headers] names' '$a[key-headers]\nnames = acc:ept'
printf 'no section here\n' >$C/bad.conf
option $C/bad.conf --config $C/bad.conf
chmod 644 $C/keys/client-0.key
option client-0.key --config $C/sketcher.conf
chmod 600 $C/keys/client-0.key
fresh
sed -i 's/client-0.key/replica-1.key/' $C/sketcher.conf
option replica-1.key --config $C/sketcher.conf
fresh

# The group file.
in_group '3f + 1' 's/^replicas = 4/replicas = 3/'
in_group '3f + 1' 's/^f = 1/f = 2/'
in_group '[replica 3]' '/^\[replica 3\]/,/^http/d'
in_group '[replica 1] address' 's/^address = 10.77.0.11.*/address = 10.77.0.11/'
in_group '[replica 1] http' 's/^http = 10.77.0.11.*/http = 10.77.0.11:99999/'
in_group '[client 0]' '/^\[client 0\]/,$d'
in_group incarnation 's/^incarnation.*/incarnation = yesterday/'
in_group incarnation '/^incarnation/d'
in_group colour 's/^f = 1/f = 1\ncolour = red/'

# The replica's command line.
run=(run --group $C/group.conf --id 0 --keys $C/keys/replica-0.key)
replica 'no command'
replica "unknown command 'walk'" walk
replica --frobnicate "${run[@]}" --service null --frobnicate
replica '--group is missing' run --id 0 --keys k --service null
replica '--service' "${run[@]}"
replica "'squid' is none of" "${run[@]}" --service squid
replica --id run --group $C/group.conf --id 99 --keys $C/keys/replica-0.key --service null
replica 4 run --group $C/group.conf --id 4 --keys $C/keys/replica-0.key --service null
replica replica-1.key run --group $C/group.conf --id 0 --keys $C/keys/replica-1.key --service null
replica --backend "${run[@]}" --service http
replica --backend "${run[@]}" --service http --backend here
replica --store-dir "${run[@]}" --service store
replica --busy-us "${run[@]}" --service store --store-dir $OUT/s --busy-us 1
replica 'key files' keygen --group $C/group.conf
replica replica-0.key keygen --group $C/group.conf --out $C/keys # would overwrite

# What only shows at the start: the EAL speaks as well, and then it is one line of ours.
late() {
    local wanted=$1 rc=0
    shift
    timeout 30 nsenter --net=/run/netns/sketcher -- "$SKETCHER" --no-huge -m 512 --file-prefix sketcher "$@" -- \
        --config $C/sketcher.conf >$OUT/stdout 2>$OUT/stderr || rc=$?
    [ $rc != 0 ] && [ $rc -lt 124 ] || complain "'$wanted': status $rc"
    expect_equal "messages of '$wanted'" 1 "$(grep -c '^prophecy-sketcher: ' $OUT/stderr)"
    grep -qF -- "$wanted" $OUT/stderr || complain "'$wanted' is not in: $(grep ^proph $OUT/stderr)"
}
late 'configures 1 port(s), the EAL has 0' --no-pci --lcores '0@0,1@0,2@0'
late 'need 3 EAL lcores' --no-pci --vdev=net_af_packet0,iface=eth0 --lcores '0@0,1@0'
late 'the EAL refused' --no-pci --lcores nonsense
late 'has 0' --no-pci --vdev=net_af_packet0,iface=nowhere0 --lcores '0@0,1@0,2@0'

expect_equal "failed cases" 0 $failed
expect_equal "processes left" 0 "$(pgrep -c '^prophecy')"
end
