"""A server with the protocol of the Pwned Passwords range API, which can also fail in many ways."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha1
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def digits_of(password: str) -> str:
    return sha1(password.encode()).hexdigest().upper()


class RangeServer(ThreadingHTTPServer):
    """Answers `GET /range/<five digits>` with the rest of the leaked hashes."""

    daemon_threads = True

    def __init__(self, leaked: list[str]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.leaked = leaked
        # Each request with its header, and the client's port, which identifies the connection.
        self.requests: list[tuple[str, dict[str, str], int]] = []
        # Replaces the usual answer.
        self.answer: Callable[[Handler], None] | None = None
        # A server that hangs ends when this is set.
        self.released = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/range/"

    def lines(self, prefix: str) -> list[str]:
        """Returns the lines for a range, padded as the API pads them: with a random suffix and the count 0."""
        suffixes = [digits[5:] for digits in map(digits_of, self.leaked) if digits.startswith(prefix)]
        padding = [f"{sha1(f'{prefix}{number}'.encode()).hexdigest().upper()[5:]}:0" for number in range(800)]
        return sorted([f"{suffix}:42" for suffix in suffixes] + padding)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: RangeServer

    def do_GET(self) -> None:
        self.server.requests.append((self.path, dict(self.headers), self.client_address[1]))
        if self.server.answer:
            self.server.answer(self)
        else:
            self.reply("\r\n".join(self.server.lines(self.path.rpartition("/")[2])).encode())

    def reply(self, body: bytes, status: int = 200, length: int | None = None, **headers: str) -> None:
        """Sends a response. `length` is the announced length if it is not that of the body; the connection then closes."""
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = length is not None

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@contextmanager
def answering(leaked: list[str]) -> Iterator[RangeServer]:
    with RangeServer(leaked) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.released.set()
            server.shutdown()
            thread.join()
