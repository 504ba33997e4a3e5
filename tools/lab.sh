# SPDX-License-Identifier: BSD-3-Clause
# A lab of network namespaces on one machine, for the demo and the end-to-end tests. To be sourced by a
# bash script that then calls lab_enter "$@".
#
#     clients ──┐                          one-arm                 two-arm
#     sketcher ─┤ bridges, in a namespace  10.77.0.0/24: all       10.77.0.0/24: clients, sketcher
#     r0 ... ───┘ of their own ("wires")                           10.78.0.0/24: sketcher, replicas
#
# lab_enter starts the script again inside private mount, PID and network namespaces. All that the lab
# makes lives in there: network namespaces, interfaces, processes, and every file, on a tmpfs mounted
# over the private /run. So when the script ends, however it ends, the kernel takes all of it away; the
# machine's own interfaces, mounts and files are never touched. The one thing that is the machine's is
# vm.nr_hugepages: it is raised while the lab exists, and a warden, which outlives even kill -9 of the
# script, lowers it again.
#
# Of the caller: PROPHECY_BIN, the build directory with app/sketcher and app/replica.
# Options by environment: LAB_DRIVER=auto|af_xdp|af_packet, LAB_HUGE=auto|no, LAB_KEEP_LOGS=DIR.

PROPHECY_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
LAB=/run/prophecy # inside
LAB_VIP=10.77.0.100
LAB_STATE=/run/prophecy-lab # of the machine: one directory per lab that runs
LAB_HUGEPAGES=192
LAB_READY_S=60 # until a program must be ready: generous, for slow machines and sanitizers

lab_say() {
    echo "== $*"
}

lab_die() {
    echo "$(basename "$0"): $*" >&2
    exit 1
}

# ---- outside: the namespaces, and what must be put back

lab_inside() {
    [ "${LAB_INSIDE:-}" = yes ]
}

# Adds COUNT (may be negative) to vm.nr_hugepages; prints by how much it changed.
lab_hugepages_add() {
    local file=/proc/sys/vm/nr_hugepages before after
    (
        flock 9
        before=$(cat $file)
        echo $((before + $1)) >$file
        after=$(cat $file)
        echo $((after - before))
    ) 9<$file 2>/dev/null
}

# What a lab that is dead left: its share of hugepages and its directory of state.
lab_sweep() {
    local dir pid
    for dir in "$LAB_STATE"/*; do
        pid=${dir##*/}
        [ -d "$dir" ] && [ ! -e "/proc/$pid" ] || continue
        lab_forget "$dir"
    done
}

lab_forget() {
    local pages
    pages=$(cat "$1/hugepages" 2>/dev/null || echo 0)
    [ "$pages" = 0 ] || lab_hugepages_add $((-pages)) >/dev/null
    rm -f "$1/hugepages" "$1/init" "$1/name"
    rmdir "$1" "$LAB_STATE" 2>/dev/null
}

# Hugepages for one lab; fewer than that are of no use and are given back.
lab_take_hugepages() {
    local got=0
    LAB_MEMORY=small
    [ "${LAB_HUGE:-auto}" = auto ] && [ -w /proc/sys/vm/nr_hugepages ] || return 0
    got=$(lab_hugepages_add $LAB_HUGEPAGES)
    echo "${got:-0}" >"$1/hugepages"
    if [ "${got:-0}" -eq $LAB_HUGEPAGES ]; then
        LAB_MEMORY=huge
    elif [ "${got:-0}" -gt 0 ]; then
        lab_hugepages_add $((-got)) >/dev/null
        echo 0 >"$1/hugepages"
    fi
}

lab_needs() {
    local tool
    [ "$(id -u)" = 0 ] || lab_die "needs root: it makes network namespaces"
    for tool in unshare nsenter setpriv ip ethtool python3 curl; do
        command -v $tool >/dev/null || lab_die "needs '$tool'; tools/demo and tools/test install it"
    done
    unshare --mount --net --pid --fork true 2>/dev/null ||
        lab_die "cannot make namespaces here; a container needs --privileged"
}

# Starts the script again inside, and returns only there.
lab_enter() {
    if lab_inside; then
        lab_begin
        return
    fi
    lab_needs
    lab_sweep
    local state=$LAB_STATE/$$ rc=0 warden inner
    mkdir -p "$state"
    basename "$0" >"$state/name"
    trap 'LAB_SIGNAL=INT' INT
    trap 'LAB_SIGNAL=TERM' TERM
    trap 'LAB_SIGNAL=HUP' HUP
    # The warden: reads until nobody holds the other end any more, then puts everything back.
    exec {warden}> >(trap '' INT TERM HUP && cat >/dev/null && lab_forget "$state")
    local warden_pid=$!
    lab_take_hugepages "$state"
    set -m # its own process group: signals reach it through us, once
    LAB_INSIDE=yes LAB_MEMORY=$LAB_MEMORY setpriv --pdeathsig KILL \
        unshare --mount --propagation private --net --ipc --pid --fork --kill-child=KILL --mount-proc \
        bash "$0" "$@" </dev/null {warden}>&- &
    inner=$!
    set +m
    lab_wait_for_inside "$inner" "$state" || rc=$?
    exec {warden}>&-
    wait "$warden_pid" ${LAB_KILLER:+"$LAB_KILLER"} 2>/dev/null
    trap - INT TERM HUP
    [ -z "${LAB_SIGNAL:-}" ] || kill -"$LAB_SIGNAL" $$
    exit $rc
}

lab_wait_for_inside() {
    local inner=$1 rc=0 tries=0
    # The PID of its first process as seen from here, for those who want to look into the lab.
    while [ ! -s "$2/init" ] && [ -e "/proc/$inner" ] && [ $((tries++)) -lt 100 ]; do
        pgrep -P "$inner" >"$2/init" 2>/dev/null || sleep 0.05
    done
    LAB_SIGNALLED=
    while :; do
        wait "$inner" 2>/dev/null
        rc=$?
        [ -e "/proc/$inner" ] || return $rc
        if [ -n "${LAB_SIGNAL:-}" ] && [ -z "$LAB_SIGNALLED" ]; then
            LAB_SIGNALLED=yes
            kill -TERM -- "-$inner" 2>/dev/null
            lab_kill_later "$inner" {warden}>&- &
            LAB_KILLER=$!
        fi
        [ $rc -gt 128 ] || return $rc
    done
}

# Those inside get their time to stop in order; then the kernel takes them.
lab_kill_later() {
    local tries=0
    trap '' INT TERM HUP
    while [ -e "/proc/$1" ]; do
        [ $((tries++)) -lt 150 ] || kill -KILL "$1"
        sleep 0.1
    done
}

# PIDs of the labs that scripts called NAME run.
lab_find() {
    local dir
    for dir in "$LAB_STATE"/*; do
        [ "$(cat "$dir/name" 2>/dev/null)" = "$1" ] && [ -e "/proc/${dir##*/}" ] && echo "${dir##*/}"
    done
}

# lab_visit PID NS COMMAND...: in the lab of process PID, from outside.
lab_visit() {
    local init ns=$2
    init=$(cat "$LAB_STATE/$1/init" 2>/dev/null) || lab_die "no lab of process $1 is running"
    shift 2
    exec nsenter --target "$init" --mount --pid --ipc --net="/proc/$init/root/run/netns/$ns" -- \
        env -C "$PWD" "$@"
}

# ---- inside: begin and end

declare -A LAB_PID=()

lab_begin() {
    mount -t tmpfs -o mode=755 tmpfs /run
    mkdir -p /run/netns $LAB/log $LAB/tmp $LAB/conf
    export TMPDIR=$LAB/tmp
    # Without a bpffs libxdp pins nothing (drivers-config/af_xdp.conf).
    while mountpoint -q /sys/fs/bpf; do
        umount -l /sys/fs/bpf
    done
    ulimit -c 0
    ulimit -l unlimited 2>/dev/null
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    trap 'lab_end $?' EXIT
}

# Everything that runs is stopped in order; nothing is waited for longer than it takes.
lab_end() {
    local name
    trap '' INT TERM HUP
    for name in "${!LAB_PID[@]}"; do
        lab_stop "$name" >/dev/null 2>&1
    done
    if [ -n "${LAB_KEEP_LOGS:-}" ] && [ "$1" != 0 ]; then
        mkdir -p "$LAB_KEEP_LOGS" && cp -r $LAB/log $LAB/conf "$LAB_KEEP_LOGS/" 2>/dev/null
    fi
    trap - EXIT
    exit "$1"
}

# ---- processes

# lab_in NS COMMAND...: in the foreground.
lab_in() {
    local ns=$1
    shift
    nsenter --net="/run/netns/$ns" -- "$@"
}

clients() {
    lab_in clients "$@"
}

# lab_start NAME NS COMMAND...: in the background, its output in log/NAME.
lab_start() {
    local name=$1 ns=$2
    shift 2
    [ -z "${LAB_PID[$name]:-}" ] || lab_die "$name runs already"
    [ ! -e "$LAB/log/$name" ] || mv "$LAB/log/$name" "$LAB/log/$name.until-$(date +%s.%N)"
    nsenter --net="/run/netns/$ns" -- "$@" >>"$LAB/log/$name" 2>&1 &
    LAB_PID[$name]=$!
}

lab_runs() {
    [ -n "${LAB_PID[$1]:-}" ] && [ -e "/proc/${LAB_PID[$1]}" ]
}

# lab_stop NAME: its exit status. A stopped process is continued first; one that does not end is killed.
lab_stop() {
    local pid=${LAB_PID[$1]:-} rc=0 tries=0
    [ -n "$pid" ] || return 0
    unset "LAB_PID[$1]"
    # Before TERM, for SIGCONT undoes the stop by which LeakSanitizer looks at a process that ends.
    # shellcheck disable=SC2046
    ! grep -qs '^State:.*T (stopped)' "/proc/$pid/status" || kill -CONT "$pid" $(pgrep -P "$pid") 2>/dev/null
    kill -TERM "$pid" 2>/dev/null
    while kill -0 "$pid" 2>/dev/null && [ $((tries++)) -lt 200 ]; do
        sleep 0.05
    done
    if kill -0 "$pid" 2>/dev/null; then
        {
            echo "lab: did not end within 10 s of SIGTERM and was killed; its threads:"
            grep -s -e ^Name -e ^State -e ^Tgid -e ^Tracer "/proc/$pid"/task/*/status
        } >>"$LAB/log/$1"
        kill -KILL "$pid"
    fi
    wait "$pid" 2>/dev/null || rc=$?
    return $rc
}

lab_kill() {
    local pid=${LAB_PID[$1]}
    unset "LAB_PID[$1]"
    kill -KILL "$pid"
    wait "$pid" 2>/dev/null
    return 0
}

# lab_signal NAME SIGNAL: to it and its children (a web server's workers).
lab_signal() {
    # shellcheck disable=SC2046
    kill -"$2" "${LAB_PID[$1]}" $(pgrep -P "${LAB_PID[$1]}")
}

# lab_until WHAT COMMAND...: again and again until it succeeds; it is an error when it never does.
lab_until() {
    local what=$1 end=$((SECONDS + LAB_READY_S))
    shift
    until "$@" >/dev/null 2>&1; do
        if [ $SECONDS -ge $end ]; then
            echo "waited $LAB_READY_S s in vain: $what ($*)" >&2
            return 1
        fi
        sleep 0.1
    done
}

# Does its log hold TEXT? Gives up when the process has ended.
lab_ready() {
    local name=$1 text=$2 end=$((SECONDS + LAB_READY_S))
    until grep -q -- "$text" "$LAB/log/$name"; do
        if ! lab_runs "$name" || [ $SECONDS -ge $end ]; then
            return 1
        fi
        sleep 0.05
    done
}

lab_show_log() {
    echo "---- the end of $1's log:" >&2
    grep -v -e '^EAL: ' -e '^libbpf: ' -e '^libxdp: ' "$LAB/log/$1" | tail -"${2:-15}" >&2
}

# ---- drivers-config

# lab_conf FILE SECTION KEY
lab_conf() {
    awk -v section="[$2]" -v key="$3" '
        { sub(/;.*/, ""); gsub(/^[ \t]+|[ \t]+$/, "") }
        /^\[/ { in_it = ($0 == section); next }
        in_it {
            i = index($0, "=")
            k = substr($0, 1, i - 1); v = substr($0, i + 1)
            gsub(/[ \t]+$/, "", k); gsub(/^[ \t]+/, "", v)
            if (i > 0 && k == key) { print v; exit }
        }' "$1"
}

lab_driver_file() {
    echo "$PROPHECY_ROOT/drivers-config/$1.conf"
}

# lab_host_commands DRIVER prepare|peer-prepare NS IFACE
lab_host_commands() {
    local n=1 command
    while command=$(lab_conf "$(lab_driver_file "$1")" host "$2-$n") && [ -n "$command" ]; do
        command=${command//'{iface}'/$4}
        # shellcheck disable=SC2086 # words are meant
        lab_in "$3" ${command//'{peer}'/$4} >/dev/null 2>&1
        n=$((n + 1))
    done
}

# ---- the network

# lab_attach NS BRIDGE IFACE [ADDRESS/LEN]
lab_attach() {
    local ns=$1 bridge=$2 iface=$3 q="numrxqueues $LAB_QUEUES numtxqueues $LAB_QUEUES"
    local port="$ns-$iface"
    # shellcheck disable=SC2086
    ip -n wires link add "$port" $q type veth peer name "$iface" netns "$ns" $q || return
    ip -n wires link set "$port" addrgenmode none
    ip -n "$ns" link set "$iface" addrgenmode none
    ip -n wires link set "$port" master "$bridge" up
    ip -n "$ns" link set "$iface" up
    [ -z "${4:-}" ] || ip -n "$ns" addr add "$4" dev "$iface"
    # All of them send to the sketcher's interface without a wire between.
    lab_host_commands "${LAB_DRIVER_IN_USE:-af_xdp}" peer-prepare wires "$port"
    lab_host_commands "${LAB_DRIVER_IN_USE:-af_xdp}" peer-prepare "$ns" "$iface"
}

lab_bridge() {
    ip -n wires link add "$1" type bridge mcast_snooping 0
    ip -n wires link set "$1" addrgenmode none
    ip -n wires link set "$1" up
}

# lab_network [replicas=4] [arms=1] [queues=1]
lab_network() {
    local replicas=4 arms=1 queues=1 i ns
    [ $# -eq 0 ] || local "$@"
    LAB_REPLICAS=$replicas LAB_ARMS=$arms LAB_QUEUES=$queues LAB_NET=10.77.0
    [ "$arms" = 1 ] || LAB_NET=10.78.0
    for ns in wires clients sketcher $(seq -f 'r%.0f' 0 $((replicas - 1))); do
        ip netns add "$ns" && ip -n "$ns" link set lo up || return
    done
    lab_bridge net0
    [ "$arms" = 1 ] || lab_bridge net1
    lab_attach clients net0 eth0 10.77.0.200/24 && lab_attach sketcher net0 eth0 || return
    [ "$arms" = 1 ] || lab_attach sketcher net1 eth1 || return
    for ((i = 0; i < replicas; i++)); do
        lab_attach "r$i" "net$((arms - 1))" eth0 "$(lab_address "$i")/24" || return
    done
}

lab_address() {
    echo "$LAB_NET.$((10 + $1))"
}

# Pulls a replica's cable out, and puts it back in.
lab_unplug() {
    ip -n wires link set "r$1-eth0" down
}

lab_plug() {
    ip -n wires link set "r$1-eth0" up
}

# ---- replicas

# lab_group ["KEY = VALUE"...]: conf/group.conf and all keys; the words are lines of [group].
lab_group() {
    local i line
    {
        echo "[group]"
        echo "replicas = $LAB_REPLICAS"
        echo "f = $(((LAB_REPLICAS - 1) / 3))"
        echo "incarnation = $(od -An -N8 -tx8 /dev/urandom | tr -d ' ')"
        for line in "$@"; do
            echo "$line"
        done
        for ((i = 0; i < LAB_REPLICAS; i++)); do
            printf '\n[replica %d]\naddress = %s:7000\nhttp = %s:8080\n' "$i" "$(lab_address "$i")" \
                "$(lab_address "$i")"
        done
        printf '\n[client 0]\naddress = %s.1:7100\nendpoints = 4\n' "$LAB_NET"
    } >$LAB/conf/group.conf
    rm -rf $LAB/conf/keys
    "$PROPHECY_BIN/app/replica/prophecy-replica" keygen --group $LAB/conf/group.conf \
        --out $LAB/conf/keys >/dev/null 2>$LAB/log/keygen || { cat $LAB/log/keygen >&2 && return 1; }
}

# lab_replica I OPTIONS...: started, not waited for.
lab_replica() {
    local i=$1
    shift
    lab_start "replica$i" "r$i" "$PROPHECY_BIN/app/replica/prophecy-replica" run \
        --group $LAB/conf/group.conf --id "$i" --keys "$LAB/conf/keys/replica-$i.key" \
        --control "$LAB/replica$i.sock" "$@"
}

lab_replicas_ready() {
    local i
    for ((i = 0; i < LAB_REPLICAS; i++)); do
        lab_ready "replica$i" ready && continue
        lab_show_log "replica$i"
        return 1
    done
}

# lab_replicas store|http|null [OPTIONS...]: all of them.
lab_replicas() {
    local i service=$1 own
    shift
    for ((i = 0; i < LAB_REPLICAS; i++)); do
        own=()
        [ "$service" != store ] || own=(--store-dir "$LAB/store$i" --store-map-bytes 268435456)
        [ "$service" != http ] || own=(--backend 127.0.0.1:8080)
        lab_replica "$i" --service "$service" "${own[@]}" "$@"
    done
    lab_replicas_ready
}

# ---- web servers: listen on :8080 in the replica's namespace, for fast reads from outside and for the
# replica on loopback. Replica I serves the files in site/I.

lab_nginx_conf() {
    local d=$LAB/nginx$1
    mkdir -p "$d"
    cat >"$d/nginx.conf" <<END
worker_processes 1;
daemon off;
user root;
pid $d/pid;
error_log $LAB/log/nginx$1.error;
events { worker_connections 4096; }
http {
    include /etc/nginx/mime.types;
    default_type application/octet-stream;
    access_log off;
    sendfile on;
    keepalive_requests 1000000000;
    keepalive_timeout 3600s;
    client_max_body_size 64m;
    client_body_temp_path $d/t1; proxy_temp_path $d/t2; fastcgi_temp_path $d/t3;
    uwsgi_temp_path $d/t4; scgi_temp_path $d/t5;
    server {
        listen 8080 backlog=4096;
        root $LAB/site/$1;
        # The address and port of a replica are nobody's business.
        absolute_redirect off;
        ${2:-}
    }
}
END
}

# lab_nginx I [LINES FOR THE SERVER BLOCK]
lab_nginx() {
    lab_nginx_conf "$1" "${2:-}"
    lab_start "nginx$1" "r$1" nginx -c "$LAB/nginx$1/nginx.conf" -e "$LAB/log/nginx$1.error"
}

lab_apache_conf() {
    local d=$LAB/apache$1
    mkdir -p "$d"
    cat >"$d/apache.conf" <<END
ServerRoot $d
ServerName localhost
PidFile $d/pid
Listen 8080
ErrorLog $LAB/log/apache$1.error
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule mime_module /usr/lib/apache2/modules/mod_mime.so
LoadModule dir_module /usr/lib/apache2/modules/mod_dir.so
TypesConfig /etc/mime.types
StartServers 1
KeepAliveTimeout 3600
MaxKeepAliveRequests 0
DocumentRoot $LAB/site/$1
DirectoryIndex index.html
END
    # Debian's mime.types comes with a package of its own; a copy that is enough here.
    [ -e /etc/mime.types ] || {
        printf 'text/html html htm\ntext/css css\ntext/plain txt\nimage/png png\n' >"$d/mime.types"
        sed -i "s|/etc/mime.types|$d/mime.types|" "$d/apache.conf"
    }
}

# lab_apache I
lab_apache() {
    lab_apache_conf "$1"
    lab_start "apache$1" "r$1" apache2 -d "$LAB/apache$1" -f "$LAB/apache$1/apache.conf" -D FOREGROUND
}

lab_listens() {
    # python3 rather than curl or /dev/tcp: an unanswered SYN must not hang.
    lab_in "$1" python3 -c 'import socket, sys
socket.create_connection((sys.argv[1], int(sys.argv[2])), 2)' "$2" "$3"
}

# lab_webservers nginx|apache: at all replicas, each on its copy of the directory SITE.
lab_webservers() {
    local i
    for ((i = 0; i < LAB_REPLICAS; i++)); do
        "lab_$1" "$i" "${@:2}"
    done
    for ((i = 0; i < LAB_REPLICAS; i++)); do
        lab_until "$1 of replica $i listens" lab_listens "r$i" 127.0.0.1 8080 && continue
        lab_show_log "$1$i.error"
        return 1
    done
}

# lab_site DIR: each replica gets its own copy, modification times and all, for ETags are made of them.
lab_site() {
    local i
    for ((i = 0; i < LAB_REPLICAS; i++)); do
        mkdir -p "$LAB/site/$i"
        cp -a "$1/." "$LAB/site/$i/"
    done
}

# ---- the sketcher

# lab_sketcher_conf DRIVER ["KEY = VALUE"...] ["[section]" ...]: the words are lines of [sketcher], then of
# the sections they begin.
lab_sketcher_conf() {
    local driver=$1 i
    shift
    {
        echo "[sketcher]"
        echo "group = group.conf"
        echo "keys = keys/client-0.key"
        echo "vip = $LAB_VIP"
        while [ $# -gt 0 ] && [ "${1:0:1}" != "[" ]; do
            echo "$1"
            shift
        done
        for ((i = 0; i < LAB_ARMS; i++)); do
            printf '\n[port %d]\naddress = 10.%d.0.1/24\ndriver = %s\n' "$i" $((77 + i)) \
                "$(lab_driver_file "$driver")"
        done
        printf '%s\n' "$@"
    } >$LAB/conf/sketcher.conf
}

# lab_eal DRIVER MEMORY WORKERS SLOW: the EAL's arguments, one per line. Lcores share the CPUs there are,
# the main one (which only waits) with the first worker.
lab_eal() {
    local template i queues most cpus lcores='0@0'
    cpus=$(nproc)
    for ((i = 1; i <= $3 + $4; i++)); do
        lcores+=",$i@$(((i - 1) % cpus))"
    done
    most=$(lab_conf "$(lab_driver_file "$1")" queues queues-max)
    queues=$LAB_QUEUES
    [ "${most:-0}" = 0 ] || [ "$queues" -le "$most" ] || queues=$most
    template=$(lab_conf "$(lab_driver_file "$1")" eal args)
    for ((i = 0; i < LAB_ARMS; i++)); do
        line=${template//'{index}'/$i}
        line=${line//'{iface}'/eth$i}
        [ $i = 0 ] || line=${line#--no-pci }
        printf '%s\n' ${line//'{queues}'/$queues}
    done
    printf '%s\n' --lcores "$lcores" --file-prefix sketcher
    if [ "$2" = huge ]; then
        echo --in-memory
    else
        printf '%s\n' --no-huge -m 1024
    fi
}

# lab_sketcher_try DRIVER MEMORY OPTIONS...: 0 when it is ready and answers on its VIP.
lab_sketcher_try() {
    local driver=$1 memory=$2 eal workers slow i
    shift 2
    workers=$(lab_conf $LAB/conf/sketcher.conf sketcher workers)
    slow=$(lab_conf $LAB/conf/sketcher.conf sketcher slow-path)
    mapfile -t eal < <(lab_eal "$driver" "$memory" "${workers:-1}" "${slow:-1}")
    for ((i = 0; i < LAB_ARMS; i++)); do
        lab_host_commands "$driver" prepare sketcher "eth$i"
    done
    lab_start sketcher sketcher "$PROPHECY_BIN/app/sketcher/prophecy-sketcher" "${eal[@]}" -- \
        --config $LAB/conf/sketcher.conf "$@"
    if lab_ready sketcher 'prophecy-sketcher: ready' &&
        LAB_READY_S=10 lab_until "the VIP answers" lab_listens clients $LAB_VIP 80 2>/dev/null; then
        LAB_DRIVER_IN_USE=$driver LAB_MEMORY_IN_USE=$memory
        LAB_EAL="${eal[*]}"
        return 0
    fi
    lab_stop sketcher
    return 1
}

# lab_sketcher ["KEY = VALUE"...] [-- OPTIONS...]: tries AF_XDP first, then packet sockets; hugepages
# first, then without.
lab_sketcher() {
    local lines=() driver memory drivers memories
    while [ $# -gt 0 ] && [ "$1" != -- ]; do
        lines+=("$1")
        shift
    done
    [ $# -eq 0 ] || shift
    drivers=${LAB_DRIVER_IN_USE:-${LAB_DRIVER:-auto}}
    [ "$drivers" != auto ] || drivers="af_xdp af_packet"
    memories=${LAB_MEMORY_IN_USE:-$LAB_MEMORY}
    [ "$memories" = small ] || memories="huge small"
    for driver in $drivers; do
        for memory in $memories; do
            lab_sketcher_conf "$driver" "${lines[@]}"
            lab_sketcher_try "$driver" "$memory" "$@" && return 0
        done
        echo "the sketcher does not start on $driver" >&2
    done
    lab_show_log sketcher
    return 1
}

# lab_counter COMMAND PATH...: e.g. lab_counter stats requests fast_reads; replicas 2.suspicions
lab_counter() {
    "$PROPHECY_ROOT/tools/telemetry.py" -f sketcher "/prophecy/$1" "${@:2}"
}

# lab_replica_counter I PATH...
lab_replica_counter() {
    "$PROPHECY_ROOT/tools/telemetry.py" --control "$LAB/replica$1.sock" "${@:2}"
}
