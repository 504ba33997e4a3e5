# SPDX-License-Identifier: BSD-3-Clause
"""The sketcher's counters for the end-to-end cases, read when they have settled.

  counters.py show                    those that are not zero
  counters.py mark FILE               keeps all
  counters.py by FILE NAME            how much it has grown since
  counters.py grown FILE NAME N ...   how much they have grown since; N: 3, ">=3", "<=3", 3..5
  counters.py values NAME N ...       what they are

Lcores publish what they count every few milliseconds: what is read are values that stood still.
"""
import json
import os
import re
import socket
import sys
import time

# These move while nothing happens.
RESTLESS = re.compile(r"(busy|all)_cycles|idle_sleeps|[rt]x_frames|frames_(in|out|handed.*|sent.*)|arp_in|"
                      r"drop_(ethertype|not_for_us|ip_protocol|arp.*)|memory.frames_in_use|memory.tcp_time_waits")
COMMANDS = {"stats": "", "drops": "", "replicas": "replica.", "memory": "memory.", "history": "history."}


class Telemetry:
    def __init__(self, prefix="sketcher"):
        base = os.environ.get("RUNTIME_DIRECTORY", "/var/run")
        self.s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.s.settimeout(5)
        self.s.connect(os.path.join(base, "dpdk", prefix, "dpdk_telemetry.v2"))
        self.max = json.loads(self.s.recv(1024))["max_output_len"]

    def ask(self, command):
        self.s.sendall(command.encode())
        return json.loads(self.s.recv(self.max))[command]

    def all(self):
        out = {}
        for command, prefix in COMMANDS.items():
            flatten(out, prefix, self.ask("/prophecy/" + command))
        return out


def flatten(out, prefix, value):
    for key, v in value.items():
        if isinstance(v, dict):
            flatten(out, f"{prefix}{key}.", v)
        else:
            out[prefix + key] = v


def settled():
    """Five equal readings, each after the lcores have made rounds since the one before."""
    telemetry, last, same = Telemetry(), None, 0
    for _ in range(500):
        now = telemetry.all()
        quiet = {k: v for k, v in now.items() if not RESTLESS.fullmatch(k)}
        moved = last is not None and now["all_cycles"] > last[0]
        if last is None or quiet != last[1]:
            last, same = (now["all_cycles"], quiet), 0
        elif moved:
            last, same = (now["all_cycles"], quiet), same + 1
            if same == 5:
                return now
        time.sleep(0.01)
    return now  # traffic goes on: as good as any


def holds(want, got):
    if want.startswith(">="):
        return got >= int(want[2:])
    if want.startswith("<="):
        return got <= int(want[2:])
    if ".." in want:
        low, high = want.split("..")
        return int(low) <= got <= int(high)
    return got == int(want)


def judge(values, words):
    wrong = []
    if len(words) % 2:
        sys.exit("counters.py: a name without a number: " + words[-1])
    for name, want in zip(words[::2], words[1::2]):
        if name not in values:
            wrong.append(f"there is no counter {name}")
        elif not holds(want, values[name]):
            wrong.append(f"{name}: expected {want}, got {values[name]}")
    if wrong:
        print("; ".join(wrong))
    return 1 if wrong else 0


def main():
    what, words = sys.argv[1], sys.argv[2:]
    try:
        now = settled()
    except (OSError, ValueError) as e:
        print(f"counters.py: telemetry does not answer: {e}")
        return 1
    if what == "show":
        print(" ".join(f"{k}={v}" for k, v in now.items() if v))
    elif what == "mark":
        with open(words[0], "w") as f:
            json.dump(now, f)
    elif what == "by":
        with open(words[0]) as f:
            print(now[words[1]] - json.load(f).get(words[1], 0))
    elif what == "grown":
        with open(words[0]) as f:
            then = json.load(f)
        return judge({k: v - then.get(k, 0) for k, v in now.items()}, words[1:])
    else:
        return judge(now, words)
    return 0


sys.exit(main())
