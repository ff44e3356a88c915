"""A mail server with scripted replies, for faults that a real server does not produce on demand."""

import enum
import socket
import socketserver
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from email.parser import BytesHeaderParser


class Fault(enum.Enum):
    """What a server may do instead of replying."""

    SILENCE = "falls silent"
    CUT = "cuts the connection"


Replies = Mapping[str, str | Fault]

WELL: Replies = {
    "greeting": "220 ready",
    "EHLO": "250 scripted",
    "MAIL": "250 OK",
    "RCPT": "250 OK",
    "DATA": "354 go on",
    ".": "250 taken",
    "RSET": "250 OK",
    "NOOP": "250 OK",
    "QUIT": "221 bye",
}


class ScriptedServer(socketserver.ThreadingTCPServer):
    """Speaks SMTP with scripted `replies`, found by the whole command or by its first word.

    Once `cured`, it works normally for everything that follows.
    """

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 100

    @property
    def conversation(self) -> type[socketserver.BaseRequestHandler]:
        """Returns the class that speaks with one client."""
        return Conversation

    def __init__(self, replies: Replies, times: int | None) -> None:
        self._replies = dict(replies)
        self._times_left = times
        self._lock = threading.Lock()
        # The first word of each command.
        self.heard: list[str] = []
        # The complete commands.
        self.commands: list[str] = []
        # The Message-ID of each email that arrived completely and was not refused.
        self.taken: list[str] = []
        self.closing = threading.Event()
        self.connections: list[socket.socket] = []
        super().__init__(("127.0.0.1", 0), self.conversation)

    @property
    def port(self) -> int:
        return self.server_address[1]

    def cure(self) -> None:
        """Ends the faults. A connection that is already silent stays silent."""
        with self._lock:
            self._replies.clear()

    def disconnect(self, farewell: bytes = b"") -> None:
        """Closes every connection, as servers do with idle ones."""
        for connection in self.connections:
            with suppress(OSError):
                connection.sendall(farewell)
                connection.shutdown(socket.SHUT_RDWR)

    @property
    def open_connections(self) -> int:
        """Returns how many connections the client has not closed."""

        def is_open(connection: socket.socket) -> bool:
            try:
                return connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) != b""
            except BlockingIOError:
                return True
            except OSError:
                return False

        return sum(map(is_open, self.connections))

    def reply(self, command: str) -> str | Fault:
        word = command.split(" ")[0].upper()
        with self._lock:
            scripted = self._replies.get(command, self._replies.get(word))
            if scripted is None:
                return WELL.get(command, WELL.get(word, "502 what?"))
            if self._times_left is not None:
                self._times_left -= 1
                if not self._times_left:
                    self._replies.clear()
            return scripted


class Conversation(socketserver.StreamRequestHandler):
    server: ScriptedServer

    def handle(self) -> None:
        self.server.connections.append(self.connection)
        # A client may close the connection at any point.
        with suppress(ConnectionError):
            self.converse()

    def converse(self) -> None:
        if not self.say(self.server.reply("greeting")):
            return
        # The file changes when TLS starts.
        while line := self.rfile.readline():
            command = line.decode("latin-1").strip()
            self.server.heard.append(command.split(" ")[0].upper())
            self.server.commands.append(command)
            if self.handled(command):
                continue
            reply = self.server.reply(command)
            if not self.say(reply) or command.upper() == "QUIT":
                return
            if command.upper() == "DATA" and isinstance(reply, str) and reply.startswith("354") and not self.take_text():
                return

    def handled(self, _command: str) -> bool:
        """Returns whether this conversation answered the command. Otherwise the script has the reply."""
        return False

    def take_text(self) -> bool:
        text = b""
        for line in self.rfile:
            if line == b".\r\n":
                break
            text += line
        else:
            return False
        self.server.heard.append(".")
        reply = self.server.reply(".")
        if isinstance(reply, Fault) or reply.startswith("2"):
            self.server.taken.append(BytesHeaderParser().parsebytes(text)["Message-ID"])
        return self.say(reply)

    def say(self, reply: str | Fault) -> bool:
        """Returns whether the conversation continues."""
        if reply is Fault.SILENCE:
            self.server.closing.wait()
        if isinstance(reply, Fault):
            return False
        self.wfile.write(reply.encode() + b"\r\n")
        # 421 announces the end of the connection (RFC 5321).
        return not reply.startswith("421")


@contextmanager
def scripted(replies: Replies, *, times: int | None = None) -> Iterator[ScriptedServer]:
    """Runs a server within the block. It uses the scripted replies at most `times` times, and then works normally."""
    with ScriptedServer(replies, times) as server, running(server):
        yield server


@contextmanager
def running(server: ScriptedServer) -> Iterator[None]:
    """Runs `server` within the block."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield
    finally:
        server.closing.set()
        server.shutdown()
        # A client may keep its connection for the next email.
        server.disconnect()
        thread.join()


def settings(server: ScriptedServer, **others: str) -> dict[str, str]:
    """Returns the settings of a service that sends through `server`."""
    return {
        "EMAIL_BACKEND": "smtp",
        "EMAIL_HOST": "localhost",
        "EMAIL_PORT": str(server.port),
        "EMAIL_TIMEOUT": "2",
    } | others
