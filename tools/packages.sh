# SPDX-License-Identifier: BSD-3-Clause
# Debian packages, and the build. Sourced by tools/demo, tools/test and the other tools.

packages_build="build-essential meson ninja-build pkg-config libdpdk-dev libssl-dev libevent-dev
    liblmdb-dev libcunit1-dev"
packages_run="dpdk-dev util-linux procps iproute2 ethtool python3 curl wrk nginx apache2-doc"
packages_test="clang clang-format clang-tidy cppcheck apache2-bin libclang-rt-dev git"

# Installs those of the packages that are missing.
packages_install() {
    local name missing=()
    for name in "$@"; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null)" = installed ] ||
            missing+=("$name")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    if [ "$(id -u)" != 0 ]; then
        echo "missing packages: ${missing[*]}; run this as root, or: apt-get install ${missing[*]}" >&2
        return 1
    fi
    echo "== installing ${missing[*]}"
    # nginx is wanted as a program of ours, not as a service on this machine's port 80.
    local policy=/usr/sbin/policy-rc.d own=no rc=0
    if [ ! -e $policy ]; then
        own=yes
        printf '#!/bin/sh\nexit 101\n' >$policy
        chmod 755 $policy
    fi
    { apt-get -qq update &&
        DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends -y "${missing[@]}"; } \
        >"${TMPDIR:-/tmp}/prophecy-apt.$$" 2>&1 || rc=$?
    [ $own = no ] || rm -f $policy
    [ $rc = 0 ] || tail -20 "${TMPDIR:-/tmp}/prophecy-apt.$$" >&2
    rm -f "${TMPDIR:-/tmp}/prophecy-apt.$$"
    return $rc
}

# build DIR MESON-ARGUMENTS... -- NINJA-TARGETS...: quiet while all is well.
build() {
    local dir=$1 options=() log=$1/build.log
    shift
    while [ $# -gt 0 ] && [ "$1" != -- ]; do
        options+=("$1")
        shift
    done
    [ $# -eq 0 ] || shift
    mkdir -p "$dir"
    if [ -e "$dir/build.ninja" ]; then
        ninja -C "$dir" "$@" >"$log" 2>&1 || { tail -40 "$log" >&2 && return 1; }
    else
        { meson setup "$dir" "$PROPHECY_ROOT" "${options[@]}" && ninja -C "$dir" "$@"; } \
            >"$log" 2>&1 || { tail -40 "$log" >&2 && return 1; }
    fi
}
