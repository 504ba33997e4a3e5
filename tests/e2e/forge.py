# SPDX-License-Identifier: BSD-3-Clause
"""Agreement datagrams taken down on the wire, and sent again, changed or not.

  forge.py tap FILE COUNT ADDRESS PORT       COUNT payloads that pass eth0 on their way to ADDRESS:PORT
  forge.py send FILE ADDRESS PORT HOW        sends them, HOW being one of the functions below; prints how many

Offsets are those of lib/datagram/header.h.
"""
import json
import socket
import sys

MAGIC, FROM, TO, END, MAC = range(0, 3), range(4, 8), range(8, 12), 28, 16


def flipped(d, i, bit=0x80):
    return d[:i] + bytes([d[i] ^ bit]) + d[i + 1:]


def same(d):
    return [d]


def magic(d):
    return [flipped(d, i) for i in MAGIC]


def sender(d):
    return [flipped(d, i) for i in FROM]


def receiver(d):
    return [flipped(d, i) for i in TO]


def content(d):  # each byte that only the MAC covers, and of the MAC itself
    return [flipped(d, i, 0x01) for i in [3, *range(12, len(d))]]


def longer(d):
    return [d + b"\0", d + d[:MAC]]


def truncated(d):  # too short to be one
    return [d[:n] for n in range(1, END + MAC)]


def cut(d):  # long enough to be one
    return [d[:n] for n in range(END + MAC, len(d))]


def oversized(d):
    return [d + bytes(1472 - len(d))]


def noise(d):
    import random
    r = random.Random(d)
    return [r.randbytes(n) for n in range(END + MAC, 1472, 7)]


def tap(path, count, address, port):
    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    s.bind(("eth0", 0))
    print("tapped", flush=True)
    kept = []
    want = socket.inet_aton(address), int(port).to_bytes(2, "big")
    while len(kept) < int(count):
        f = s.recv(65536)
        if f[12:14] == b"\x08\x00" and f[23] == 17 and (f[30:34], f[36:38]) == want:
            kept.append(f[42:34 + int.from_bytes(f[38:40], "big")])
    with open(path, "w") as out:
        json.dump([d.hex() for d in kept], out)
    print("taken", flush=True)


def send(path, address, port, how):
    with open(path) as f:
        kept = [bytes.fromhex(d) for d in json.load(f)]
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    n = 0
    for d in kept:
        for changed in globals()[how](d):
            s.sendto(changed, (address, int(port)))
            n += 1
    print(n)


{"tap": tap, "send": send}[sys.argv[1]](*sys.argv[2:])
