"""A proxy in front of PostgreSQL that loses the confirmation of a commit, or falls silent."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

# The message with which the service commits. It sends it alone, when it has all results.
SYNC = b"S\x00\x00\x00\x04"


class CuttingProxy:
    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._lock = threading.Lock()
        # `before` or `after` the server commits; None forwards everything.
        self._cut: str | None = None
        self._open: set[socket.socket] = set()
        self.is_refusing = False
        # Keeps what arrives, and answers nothing.
        self.is_silent = False
        self.cuts = 0
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def cut(self, when: str) -> None:
        """Closes the connection of the next commit, before or after the server has committed."""
        with self._lock:
            self._cut = when

    def close(self) -> None:
        self.is_refusing, self.is_silent = True, False
        self._listener.close()
        for each in list(self._open):
            each.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                if self.is_refusing:
                    client.close()
                    continue
                server = socket.create_connection(("127.0.0.1", self._server_port))
                self._open |= {client, server}
                is_cut = threading.Event()
                threading.Thread(target=self._to_server, args=(client, server, is_cut), daemon=True).start()
                threading.Thread(target=self._to_client, args=(client, server, is_cut), daemon=True).start()

    def _to_server(self, client: socket.socket, server: socket.socket, is_cut: threading.Event) -> None:
        with suppress(OSError):
            while data := client.recv(1 << 16):
                self._wait()
                with self._lock:
                    when = self._cut if data == SYNC else None
                    if when:
                        self._cut = None
                if when == "before":
                    self.cuts += 1
                    break
                if when == "after":
                    # The other thread discards the confirmation, and then closes.
                    is_cut.set()
                server.sendall(data)
        if not is_cut.is_set():
            self._end(client, server)

    def _to_client(self, client: socket.socket, server: socket.socket, is_cut: threading.Event) -> None:
        with suppress(OSError):
            while data := server.recv(1 << 16):
                self._wait()
                if is_cut.is_set():
                    self.cuts += 1
                    break
                client.sendall(data)
        self._end(client, server)

    def _wait(self) -> None:
        while self.is_silent:
            time.sleep(0.01)

    def _end(self, *sockets: socket.socket) -> None:
        for each in sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
            self._open.discard(each)


@contextmanager
def cutting(server_port: int) -> Iterator[CuttingProxy]:
    proxy = CuttingProxy(server_port)
    try:
        yield proxy
    finally:
        proxy.close()
