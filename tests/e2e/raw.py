#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""raw.py ADDRESS PORT REQUEST...: sends bytes that no decent client would.

Each REQUEST may hold \\r \\n \\0 \\xHH; {A*N} is N times A. They are sent in order on one connection, then
what comes back is read until it is closed, or nothing more comes for TIMEOUT seconds (environment, 10).
Prints the status codes of the responses, then "closed", "reset" or "open".
"""
import os
import re
import socket
import sys


def raw(text):
    text = re.sub(r"\{(.+?)\*(\d+)\}", lambda m: m.group(1) * int(m.group(2)), text)
    return text.encode("latin-1").decode("unicode_escape").encode("latin-1")


def main():
    end = None
    answer = b""
    with socket.create_connection((sys.argv[1], int(sys.argv[2])), 10) as s:
        s.settimeout(float(os.environ.get("TIMEOUT", "10")))
        try:
            for request in sys.argv[3:]:
                s.sendall(raw(request))
            while end is None:
                chunk = s.recv(65536)
                answer += chunk
                end = None if chunk else "closed"
        except socket.timeout:
            end = "open"
        except (ConnectionResetError, BrokenPipeError):
            end = "reset"
    print(*re.findall(r"^HTTP/1\.[01] (\d{3}) ", answer.decode("latin-1"), re.M), end)


main()
