#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Wrong options and configuration: one message that names what is wrong and where; status not 0; nothing started.
. "$(dirname "$0")/e2e.sh"
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
    timeout 20 nsenter --net=/run/netns/sketcher -- "$@" >$LAB/tmp/out 2>$LAB/tmp/err || rc=$?
    case $rc in
    0) complain "'$wanted': accepted: $*" ;;
    124) complain "'$wanted': it went on running: $*" ;;
    esac
    [ "$rc" -lt 126 ] || complain "'$wanted': status $rc: $*"
    [ "$(wc -l <$LAB/tmp/err)" = 1 ] || complain "'$wanted': not one line: $(cat $LAB/tmp/err)"
    grep -qF -- "$wanted" $LAB/tmp/err || complain "'$wanted' is not in: $(cat $LAB/tmp/err)"
    grep -q "^$name: " $LAB/tmp/err || complain "'$wanted': not from $name: $(cat $LAB/tmp/err)"
    [ ! -e /run/dpdk/sketcher ] || complain "'$wanted': the EAL was started"
}

fresh() {
    lab_sketcher_conf af_packet "$@"
}

# sketcher WANTED SED-EXPRESSION: on a good sketcher.conf.
sketcher() {
    fresh
    sed -i -e "$2" $C/sketcher.conf
    refused prophecy-sketcher "$1" "$SKETCHER" --no-huge --no-pci --file-prefix sketcher -- --config $C/sketcher.conf
    fresh
}

# group WANTED SED-EXPRESSION: on a good group.conf, for both programs.
group() {
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
"$SKETCHER" --config $C/sketcher.conf --check >$LAB/tmp/out || fail "a good configuration is refused"
is "$(grep -c 'sketcher.conf is good: mode prophecy, 4 replicas (f = 1), 1 port' $LAB/tmp/out)" 1

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
sketcher "does not know 'colour'" 's/^vip/colour = red\nvip/'
sketcher "[sketcher] has no 'vip'" '/^vip/d'
sketcher '[sketcher] vip' 's/^vip.*/vip = 10.77.0.300/'
sketcher '[sketcher] vip' 's/^vip.*/vip = www.example.org/'
sketcher "[sketcher] has no 'group'" '/^group/d'
sketcher "[sketcher] has no 'keys'" '/^keys/d'
sketcher nowhere.conf 's/^group.*/group = nowhere.conf/'
sketcher nowhere.key 's/^keys.*/keys = nowhere.key/'
sketcher '[sketcher] port' 's/^vip/port = 70000\nvip/'
sketcher '[sketcher] workers' 's/^vip/workers = 0\nvip/'
sketcher '[sketcher] workers' 's/^vip/workers = two\nvip/'
sketcher '[sketcher] workers' 's/^vip/workers = 1 2\nvip/'
sketcher '[sketcher] connect-timeout-ms' 's/^vip/connect-timeout-ms = -1\nvip/'
sketcher '[sketcher] history-entries' 's/^vip/history-entries = 99999999999999999999\nvip/'
sketcher '[sketcher] spin' 's/^vip/spin = perhaps\nvip/'
sketcher "has 'vip' twice" 's/^vip/vip = 10.77.0.100\nvip/'
sketcher "no mode 'best'" 's/^vip/mode = best\nvip/'
sketcher 'client = 3' 's/^vip/client = 3\nvip/'
sketcher 'slow-path = 9' 's/^vip/slow-path = 9\nvip/'
sketcher 'has no [port 0]' '/^\[port 0\]/,$d'
sketcher "[port 0] has no 'address'" '/^address/d'
sketcher '[port 0] address' 's/^address.*/address = 10.77.0.1/'
sketcher '[port 0] address' 's/^address.*/address = 10.77.0.1\/40/'
sketcher '[port 0] address is not the address of [client 0]' 's/^address.*/address = 10.77.0.9\/24/'
sketcher 'no section [port 7]' 's/^\[port 0\]/[port 7]\naddress = 1.2.3.4\/24\n[port 0]/'
sketcher '[port 0] does not know' 's/^address/speed = 10\naddress/'
sketcher nowhere.drv 's/^driver.*/driver = nowhere.drv/'
sketcher '[whitelist] a' '$a[whitelist]\na = POST /x'
sketcher '[blacklist] a' '$a[blacklist]\na = GET'
sketcher '[write] a' '$a[write]\na = GET x'
sketcher '[key-headers] names' '$a[key-headers]\nnames = acc:ept'
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
group '3f + 1' 's/^replicas = 4/replicas = 3/'
group '3f + 1' 's/^f = 1/f = 2/'
group '[replica 3]' '/^\[replica 3\]/,/^http/d'
group '[replica 1] address' 's/^address = 10.77.0.11.*/address = 10.77.0.11/'
group '[replica 1] http' 's/^http = 10.77.0.11.*/http = 10.77.0.11:99999/'
group '[client 0]' '/^\[client 0\]/,$d'
group incarnation 's/^incarnation.*/incarnation = yesterday/'
group incarnation '/^incarnation/d'
group colour 's/^f = 1/f = 1\ncolour = red/'

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
replica --busy-us "${run[@]}" --service store --store-dir $LAB/tmp/s --busy-us 1
replica 'key files' keygen --group $C/group.conf
replica replica-0.key keygen --group $C/group.conf --out $C/keys # would overwrite

# What only shows at the start: the EAL speaks as well, and then it is one line of ours.
late() {
    local wanted=$1 rc=0
    shift
    timeout 30 nsenter --net=/run/netns/sketcher -- "$SKETCHER" --no-huge -m 512 --file-prefix sketcher "$@" -- \
        --config $C/sketcher.conf >$LAB/tmp/out 2>$LAB/tmp/err || rc=$?
    [ $rc != 0 ] && [ $rc -lt 124 ] || complain "'$wanted': status $rc"
    is "$(grep -c '^prophecy-sketcher: ' $LAB/tmp/err)" 1 "messages of '$wanted'"
    grep -qF -- "$wanted" $LAB/tmp/err || complain "'$wanted' is not in: $(grep ^proph $LAB/tmp/err)"
}
late 'configures 1 port(s), the EAL has 0' --no-pci --lcores '0@0,1@0,2@0'
late 'need 3 EAL lcores' --no-pci --vdev=net_af_packet0,iface=eth0 --lcores '0@0,1@0'
late 'the EAL refused' --no-pci --lcores nonsense
late 'has 0' --no-pci --vdev=net_af_packet0,iface=nowhere0 --lcores '0@0,1@0,2@0'

is $failed 0 "failed cases"
is "$(pgrep -c prophecy)" 0 "processes left"
finish
