# SPDX-License-Identifier: BSD-3-Clause
"""HTTP by hand, for what no well-behaved client sends."""
import socket

VIP = ("10.77.0.100", 80)


def connect():
    s = socket.create_connection(VIP, 10)
    s.settimeout(30)
    return s


class Reader:
    """Responses from a connection, one after the other."""

    def __init__(self, s):
        self.s, self.data = s, b""

    def more(self):
        got = self.s.recv(65536)
        self.data += got
        return len(got) > 0

    def response(self, head=False):
        """(status, headers, body); None at the end of the connection."""
        while b"\r\n\r\n" not in self.data:
            if not self.more():
                assert not self.data, f"the connection ended inside a head: {self.data!r}"
                return None
        top, self.data = self.data.split(b"\r\n\r\n", 1)
        lines = top.decode().split("\r\n")
        status = int(lines[0].split(" ")[1])
        headers = {k.lower(): v.strip() for k, v in (line.split(":", 1) for line in lines[1:])}
        none = head or status in (204, 304) or status < 200
        want = 0 if none else int(headers["content-length"])
        while len(self.data) < want:
            assert self.more(), f"the connection ended {want - len(self.data)} bytes early"
        body, self.data = self.data[:want], self.data[want:]
        return status, headers, body

    def ended(self):
        """Does nothing more come but the end (an orderly one or, after an error, a reset)?"""
        try:
            while self.more():
                pass
        except ConnectionResetError:
            pass
        return self.data == b""


def expect(what, want, got):
    assert want == got, f"{what}: expected {want!r}, got {got!r}"
