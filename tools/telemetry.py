#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Counters of a running sketcher or replica as JSON.

  telemetry.py [-f PREFIX] COMMAND [PATH...]     the sketcher: its DPDK telemetry socket
  telemetry.py --control SOCKET [PATH...]        a replica: its --control socket

COMMAND is what DPDK calls it, e.g. /prophecy/stats; "/" lists all. A PATH picks a value out of
the answer, its parts joined by dots (2.suspicions); several are printed on one line in that order.
"""
import argparse
import json
import os
import socket
import sys


def ask_sketcher(prefix, command):
    """DPDK telemetry v2: a greeting, then one packet per question and per answer."""
    base = os.environ.get("RUNTIME_DIRECTORY", "/var/run" if os.geteuid() == 0 else
                          os.environ.get("XDG_RUNTIME_DIR", "/tmp"))
    path = os.path.join(base, "dpdk", prefix, "dpdk_telemetry.v2")
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
        s.settimeout(5)
        s.connect(path)
        greeting = json.loads(s.recv(1024))
        s.sendall(command.encode())
        answer = s.recv(greeting["max_output_len"])
    return json.loads(answer)[command.split(",")[0]]


def ask_replica(path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
        s.settimeout(5)
        s.connect(path)
        chunks = iter(lambda: s.recv(65536), b"")
        return json.loads(b"".join(chunks))


def pick(value, path):
    for part in path.split("."):
        value = value[int(part)] if isinstance(value, list) else value[part]
    return value


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-f", "--file-prefix", default="rte", help="as given to the EAL")
    parser.add_argument("--control", metavar="SOCKET", help="a replica's socket")
    parser.add_argument("words", nargs="*", metavar="COMMAND | PATH")
    a = parser.parse_args()
    try:
        if a.control:
            answer, paths = ask_replica(a.control), a.words
        elif a.words:
            answer, paths = ask_sketcher(a.file_prefix, a.words[0]), a.words[1:]
        else:
            parser.error("a command is missing, e.g. /prophecy/stats")
        if not paths:
            print(json.dumps(answer, indent=1))
            return 0
        values = [pick(answer, p) for p in paths]
    except (OSError, ValueError) as e:
        print(f"telemetry.py: {a.control or a.file_prefix}: {e}", file=sys.stderr)
        return 1
    except (KeyError, IndexError) as e:
        print(f"telemetry.py: there is no {e} in the answer to {a.words[0]}", file=sys.stderr)
        return 1
    print(" ".join(v if isinstance(v, str) else json.dumps(v) for v in values))
    return 0


if __name__ == "__main__":
    sys.exit(main())
