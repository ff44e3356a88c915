"""HTTP as bytes: a client that sends exactly the given bytes, and parses what it receives."""

import fcntl
import json
import re
import socket
import struct
import termios
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from email.message import Message
from email.parser import BytesHeaderParser
from pathlib import Path
from types import TracebackType
from typing import Any

from processes import wait_until

LIVE = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"
CONTRACT = b"GET /openapi.yaml HTTP/1.1\r\nHost: localhost\r\n\r\n"
ASK = b"POST /password-reset HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"

STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})(?: [^\r\n]*)?\r\n")
CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]+)\r\n")


@dataclass(frozen=True)
class Response:
    status: int
    headers: Message
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str | None:
        """Returns the code of a problem document."""
        return self.json["code"] if self.headers["Content-Type"] == "application/problem+json" else None

    @property
    def announces_close(self) -> bool:
        """Returns whether it announces the end of the connection."""
        options = ",".join(self.headers.get_all("Connection", []))
        return "close" in [option.strip().lower() for option in options.split(",")]

    def __str__(self) -> str:
        return f"{self.status} {self.body[:200].decode(errors='replace')}"


@dataclass(frozen=True)
class Talk:
    """What a client received: complete responses, remaining bytes, and whether the peer closed the connection."""

    responses: list[Response]
    rest: bytes
    closed: bool

    @property
    def statuses(self) -> list[int]:
        return [response.status for response in self.responses]

    def __str__(self) -> str:
        responses = ", ".join(map(str, self.responses)) or "no response"
        rest = f", then {self.rest[:200]!r}" if self.rest else ""
        return f"{responses}{rest}, {'closed' if self.closed else 'left open'}"


def parse(data: bytes, methods: Iterable[str] = ()) -> tuple[list[Response], bytes]:
    """Returns the complete responses in `data` and the remaining bytes. `methods` are those of the requests, by default
    GET.
    """
    responses: list[Response] = []
    asked = iter(methods)
    while line := STATUS_LINE.match(data):
        head, separator, rest = data[line.end() :].partition(b"\r\n\r\n")
        # Without fields, the empty line directly follows the status line.
        if data.startswith(b"\r\n", line.end()):
            head, rest = b"", data[line.end() + 2 :]
        elif not separator:
            break
        status = int(line[1])
        headers = BytesHeaderParser().parsebytes(head)
        # An interim response (RFC 9110, 15.2) precedes the final response to the same request.
        method = next(asked, "GET") if status >= 200 else "GET"
        if method == "HEAD" or status < 200 or status in (204, 304):
            body, after = b"", rest
        elif headers["Transfer-Encoding"] is not None:
            chunks = _chunks(rest)
            if chunks is None:
                break
            body, after = chunks
        else:
            length = int(headers.get("Content-Length", "0"))
            if len(rest) < length:
                break
            body, after = rest[:length], rest[length:]
        responses.append(Response(status, headers, body))
        data = after
    return responses, data


def _chunks(data: bytes) -> tuple[bytes, bytes] | None:
    """Returns a chunked body without trailers, and the bytes after it; None if the body is incomplete."""
    body = b""
    while size := CHUNK_SIZE.match(data):
        end = size.end() + int(size[1], 16)
        if data[end : end + 2] != b"\r\n":
            return None
        if end == size.end():
            return body, data[end + 2 :]
        body += data[size.end() : end]
        data = data[end + 2 :]
    return None


class Connection:
    """A connection to the service that sends and reads only on request."""

    def __init__(self, port: int, *, host: str = "127.0.0.1", receive_buffer: int | None = None) -> None:
        self.socket = socket.socket()
        if receive_buffer is not None:
            # Set it before connecting, because the handshake negotiates the window.
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(10)
        self._port = port
        self.socket.connect((host, port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.received = b""
        self.closed = False

    def __enter__(self) -> "Connection":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.socket.close()

    def send(self, *pieces: bytes) -> None:
        """Sends the pieces one by one, unless the peer has closed the connection."""
        # The response and the end of the connection can still be read.
        with suppress(ConnectionError):
            for piece in pieces:
                self.socket.sendall(piece)

    def send_some(self, data: bytes, seconds: float) -> int:
        """Returns how many bytes of `data` the kernel took within the time, or 0 once the peer has closed the connection."""
        self.socket.settimeout(seconds)
        try:
            return self.socket.send(data)
        except (TimeoutError, ConnectionError):
            return 0

    def end_sending(self) -> None:
        """Half-closes the connection: the peer sees the end of the data and can still respond."""
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)

    def listen(self, seconds: float, *, responses: int | None = None, methods: Iterable[str] = ()) -> Talk:
        """Reads until the peer closes, that many `responses` are complete, or the time is up."""
        deadline = time.monotonic() + seconds
        asked = list(methods)
        while not self.closed and (responses is None or len(parse(self.received, asked)[0]) < responses):
            # Read what has already arrived even if the time is up.
            self.socket.settimeout(max(0.0, deadline - time.monotonic()))
            try:
                data = self.socket.recv(65536)
            except (TimeoutError, BlockingIOError):
                break
            except ConnectionError:
                data = b""
            self.received += data
            self.closed = data == b""
        return Talk(*parse(self.received, asked), self.closed)

    @property
    def is_read(self) -> bool:
        """Returns whether the service has read everything that the client sent, so that the kernel buffers nothing."""
        (unacknowledged,) = struct.unpack("i", fcntl.ioctl(self.socket, termios.TIOCOUTQ, bytes(4)))
        return unacknowledged == 0 and self._unread_by_peer() == 0

    @property
    def is_held(self) -> bool:
        """Returns whether the service has accepted the connection and not closed it. Works before the service has read
        anything.
        """
        return self._unread_by_peer() is not None

    def _unread_by_peer(self) -> int | None:
        """Returns how many bytes the service has not read yet; None if it does not hold the connection."""
        ours = self.socket.getsockname()[1]
        # The table may be long, because it also lists the connections of the last minute.
        entry = re.search(
            rb":%04X [0-9A-F]{8}:%04X .. [0-9A-F]{8}:([0-9A-F]{8}) \S+ \S+ +\d+ +\d+ (\d+) " % (self._port, ours),
            Path("/proc/net/tcp").read_bytes(),
        )
        # A socket that no process holds has no inode.
        return int(entry[1], 16) if entry and entry[2] != b"0" else None


def exchange(port: int, *pieces: bytes, seconds: float = 10, methods: Iterable[str] = ()) -> Talk:
    """Sends the pieces over a new connection, and reads until the peer closes it or the time is up."""
    with Connection(port) as connection:
        connection.send(*pieces)
        return connection.listen(seconds, methods=methods)


def is_alive(port: int) -> bool:
    """Returns whether the service responds to a new client."""
    talk = exchange(port, b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    return talk.statuses == [200] and talk.closed


def fill_buffers(connection: Connection, request: bytes, *, quiet: float) -> float:
    """Sends the request repeatedly until the service takes no byte for `quiet` seconds. Returns when it took the last one."""
    wait_until(lambda: connection.is_held, "the connection to be accepted")
    last = time.monotonic()
    deadline = last + 30
    rest = b""
    while connection.is_held and time.monotonic() < min(last + quiet, deadline):
        rest = rest or request * 100
        taken = connection.send_some(rest, 0.1)
        rest = rest[taken:]
        if taken:
            last = time.monotonic()
    return last
