"""HTTP as bytes: a client that sends whatever it is told to send, and tells what came back."""

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
        """That of a problem document."""
        return self.json["code"] if self.headers["Content-Type"] == "application/problem+json" else None

    @property
    def announces_close(self) -> bool:
        """Whether it says that the connection ends with it."""
        options = ",".join(self.headers.get_all("Connection", []))
        return "close" in [option.strip().lower() for option in options.split(",")]

    def __str__(self) -> str:
        return f"{self.status} {self.body[:200].decode(errors='replace')}"


@dataclass(frozen=True)
class Talk:
    """What came over a connection: complete responses, the bytes that are none, and whether the peer ended it."""

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
    """The complete responses in `data`, and what is left of it; `methods` are those of the requests, by default GET."""
    responses: list[Response] = []
    asked = iter(methods)
    while line := STATUS_LINE.match(data):
        head, separator, rest = data[line.end() :].partition(b"\r\n\r\n")
        # Without any field, the empty line follows the status line at once.
        if data.startswith(b"\r\n", line.end()):
            head, rest = b"", data[line.end() + 2 :]
        elif not separator:
            break
        status = int(line[1])
        headers = BytesHeaderParser().parsebytes(head)
        # An interim response (RFC 9110, 15.2) precedes the one to the same request.
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
    """A chunked body without trailer, and what follows it; None if it is not complete."""
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
    """A connection to the service; nothing is sent or read unless it is told."""

    def __init__(self, port: int, *, receive_buffer: int | None = None) -> None:
        self.socket = socket.socket()
        if receive_buffer is not None:
            # Before the connection, as the window is agreed on then.
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(10)
        self._port = port
        self.socket.connect(("127.0.0.1", port))
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
        """Sends the pieces one by one, unless the peer has ended the connection."""
        # What it said before is still to be read, and so is its end.
        with suppress(ConnectionError):
            for piece in pieces:
                self.socket.sendall(piece)

    def send_some(self, data: bytes, seconds: float) -> int:
        """How many bytes of `data` the kernel took within the time; none once the peer has ended the connection."""
        self.socket.settimeout(seconds)
        try:
            return self.socket.send(data)
        except (TimeoutError, ConnectionError):
            return 0

    def end_sending(self) -> None:
        """Half-closes the connection: the peer sees that no more comes, and may still answer."""
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)

    def listen(self, seconds: float, *, responses: int | None = None, methods: Iterable[str] = ()) -> Talk:
        """What has come once the peer has closed, as many `responses` are complete, or the time is up."""
        deadline = time.monotonic() + seconds
        asked = list(methods)
        while not self.closed and (responses is None or len(parse(self.received, asked)[0]) < responses):
            # What is there already is taken in any case.
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
        """Whether the service has taken everything that was sent, so that none of it is in the kernel's buffers."""
        (unacknowledged,) = struct.unpack("i", fcntl.ioctl(self.socket, termios.TIOCOUTQ, bytes(4)))
        return unacknowledged == 0 and self._unread_by_peer() == 0

    @property
    def is_held(self) -> bool:
        """Whether the service has accepted the connection and not closed it, told without reading what it sent."""
        return self._unread_by_peer() is not None

    def _unread_by_peer(self) -> int | None:
        """How much the kernel has for the service to read; None if it does not hold the connection."""
        ours = self.socket.getsockname()[1]
        # The table may be long, as it holds the connections of the last minute, too.
        entry = re.search(
            rb":%04X [0-9A-F]{8}:%04X .. [0-9A-F]{8}:([0-9A-F]{8}) \S+ \S+ +\d+ +\d+ (\d+) " % (self._port, ours),
            Path("/proc/net/tcp").read_bytes(),
        )
        # A socket that no process has, not yet or not any more, has no inode.
        return int(entry[1], 16) if entry and entry[2] != b"0" else None


def exchange(port: int, *pieces: bytes, seconds: float = 10, methods: Iterable[str] = ()) -> Talk:
    """Sends the pieces over a connection of their own, and listens until the peer closes it or the time is up."""
    with Connection(port) as connection:
        connection.send(*pieces)
        return connection.listen(seconds, methods=methods)


def is_alive(port: int) -> bool:
    """Whether the service answers a new client."""
    talk = exchange(port, b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    return talk.statuses == [200] and talk.closed
