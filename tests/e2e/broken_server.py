# SPDX-License-Identifier: BSD-3-Clause
"""A web server that answers the sketcher in every wrong way.

  broken_server.py PORT BEHIND

Requests are passed to the honest server on 127.0.0.1:BEHIND. What comes back is passed on as it is, except to
an address that is not loopback and for /bad/NAME: then it is spoilt in the way of that name, and the path printed.
"""
import socket
import sys
import threading
import time

POISON = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\npoison"


def read_head(s, data):
    while b"\r\n\r\n" not in data:
        got = s.recv(65536)
        if not got:
            return None, b""
        data += got
    head, rest = data.split(b"\r\n\r\n", 1)
    return head + b"\r\n\r\n", rest


def ask_behind(port, head):
    s = socket.create_connection(("127.0.0.1", port))
    s.sendall(head)
    answer, body = read_head(s, b"")
    lines = answer[:-4].split(b"\r\n")
    headers = [line.split(b": ", 1) for line in lines[1:]]
    length = int(dict((k.lower(), v) for k, v in headers)[b"content-length"])
    while len(body) < length:
        body += s.recv(65536)
    s.close()
    return lines[0], headers, body


def joined(status, headers, body):
    return b"\r\n".join([status] + [k + b": " + v for k, v in headers]) + b"\r\n\r\n" + body


def without(headers, *names):
    return [h for h in headers if h[0].lower() not in names]


def chunked(body):
    pieces = [body[i:i + 777] for i in range(0, len(body), 777)]
    return b"".join(b"%x;x=y\r\n%s\r\n" % (len(p), p) for p in pieces) + b"0\r\nTrailer: t\r\n\r\n"


class Spoilt:
    """One method for each way; returns whether the connection may be used again."""

    def __init__(self, s, status, headers, body):
        self.s, self.status, self.headers, self.body = s, status, headers, body

    def send(self, status=None, headers=None, body=None):
        self.s.sendall(joined(status or self.status, self.headers if headers is None else headers,
                              self.body if body is None else body))

    def other_form(self):  # the same response in other clothes
        headers = [(k.upper(), b"\t " + v + b"  ") for k, v in reversed(without(self.headers, b"content-length"))]
        self.send(headers=headers + [(b"Transfer-Encoding", b"chunked"), (b"Via", b"me"), (b"Age", b"3")],
                  body=chunked(self.body))
        return True

    def until_close(self):
        self.send(headers=without(self.headers, b"content-length", b"connection"))
        return False

    def in_pieces(self):
        for b in joined(self.status, self.headers, self.body)[:400]:
            self.s.sendall(bytes([b]))
        self.s.sendall(joined(self.status, self.headers, self.body)[400:])
        return True

    def after_interim(self):
        self.s.sendall(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * 3)
        self.send()
        return True

    def extra_header(self):
        self.send(headers=self.headers + [(b"Set-Cookie", b"stolen=1")])
        return True

    def other_status(self):
        self.send(status=b"HTTP/1.1 500 Internal Server Error")
        return True

    def huge(self):
        self.send(headers=without(self.headers, b"content-length") + [(b"Content-Length", b"99999999999")])
        return False

    def endless(self):
        self.s.sendall(joined(self.status, without(self.headers, b"content-length") + [(b"Transfer-Encoding", b"chunked")], b""))
        while True:
            self.s.sendall(b"10000\r\n" + b"x" * 65536 + b"\r\n")

    def short(self):
        self.send(body=self.body[:-1])
        return False

    def two_lengths(self):
        self.send(headers=self.headers + [(b"Content-Length", b"1")])
        return True

    def bare_lf(self):
        self.s.sendall(joined(self.status, self.headers, self.body).replace(b"\r\n", b"\n"))
        return False

    def split(self):
        self.send(headers=self.headers + [(b"X-A", b"b\rSet-Cookie: c")])
        return False

    def nul(self):
        self.send(headers=self.headers + [(b"X-A", b"b\0c")])
        return False

    def many_headers(self):
        self.send(headers=self.headers + [(b"X-%d" % i, b"y") for i in range(200)])
        return False

    def long_head(self):
        self.send(headers=self.headers + [(b"X-Long", b"y" * 100000)])
        return False

    def interim_flood(self):
        while True:
            self.s.sendall(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000)

    def no_http(self):
        self.s.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
        return False

    def bad_chunk(self):
        self.s.sendall(joined(self.status, without(self.headers, b"content-length") + [(b"Transfer-Encoding", b"chunked")],
                              b"xyz\r\n" + self.body))
        return False

    def reset(self):
        self.s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        return False

    def silent(self):
        time.sleep(2)
        return False

    def stops(self):
        self.s.sendall(joined(self.status, self.headers, self.body)[:-10])
        time.sleep(2)
        return False

    def drips(self):
        for b in joined(self.status, self.headers, self.body):
            self.s.sendall(bytes([b]))
            time.sleep(0.05)
        return False

    def poison_behind(self):  # more than was asked for, in the same segment
        self.send(body=self.body + POISON)
        return True

    def poison_later(self):
        self.send()
        time.sleep(0.02)
        self.s.sendall(POISON)
        return True


def serve(s, peer, behind):
    data = b""
    try:
        while True:
            head, data = read_head(s, data)
            if head is None:
                break
            answer = ask_behind(behind, head)
            path = head.split(b" ")[1].decode()
            if path.startswith("/bad/") and not peer[0].startswith("127."):
                print(path, flush=True)
                if not getattr(Spoilt(s, *answer), path[5:])():
                    break
            else:
                s.sendall(joined(*answer))
    except OSError:
        pass
    s.close()


def main():
    listener = socket.create_server(("", int(sys.argv[1])), backlog=512)
    while True:
        s, peer = listener.accept()
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=serve, args=(s, peer, int(sys.argv[2])), daemon=True).start()


main()
