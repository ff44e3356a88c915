"""Mail servers that fail in unusual ways lose no mail, hold no other one up, and do not hold up the end of the service."""

import socket
import socketserver
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from django_site import add_user
from mail_server import receiving
from processes import wait_until
from service import Service, serving


class ScriptedServer(socketserver.ThreadingTCPServer):
    """Speaks SMTP by `replies`: what it says to a command, by the command's first word. None is silence, for good."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, replies: dict[str, str | None], port: int = 0) -> None:
        self.replies = {
            "greeting": "220 ready",
            "EHLO": "250 scripted",
            "MAIL": "250 OK",
            "RCPT": "250 OK",
            "DATA": "354 go on",
            ".": "250 taken",
            "QUIT": "221 bye",
        } | replies
        self.heard: list[str] = []
        self.closing = threading.Event()
        self.connections: list[socket.socket] = []
        super().__init__(("127.0.0.1", port), Conversation)

    @property
    def port(self) -> int:
        return self.server_address[1]


class Conversation(socketserver.StreamRequestHandler):
    server: ScriptedServer

    def handle(self) -> None:
        self.server.connections.append(self.connection)
        if not self.say("greeting"):
            return
        in_text = False
        for line in self.rfile:
            command = line.decode("latin-1").strip()
            if in_text and command != ".":
                continue
            word = command.split(" ")[0].upper()
            self.server.heard.append(word)
            in_text = word == "DATA"
            if not self.say(word) or word == "QUIT":
                return

    def say(self, word: str) -> bool:
        reply = self.server.replies.get(word, "502 what?")
        if reply is None:
            self.server.closing.wait()
            return False
        self.wfile.write(reply.encode() + b"\r\n")
        return True


@contextmanager
def scripted(replies: dict[str, str | None]) -> Iterator[ScriptedServer]:
    with ScriptedServer(replies) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            server.closing.set()
            server.shutdown()
            # A client may keep its connection for the next mail.
            for connection in server.connections:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            thread.join()


def outbox(database: Path) -> list[tuple[str | None, int | None]]:
    with closing(sqlite3.connect(database, timeout=5)) as connection:
        return connection.execute("SELECT last_error, buried_at FROM password_reset_outbox").fetchall()


def settings(server: ScriptedServer, **others: str) -> dict[str, str]:
    return {
        "EMAIL_BACKEND": "smtp",
        "EMAIL_HOST": "localhost",
        "EMAIL_PORT": str(server.port),
        "EMAIL_TIMEOUT": "2",
    } | others


@pytest.mark.parametrize(
    "replies",
    [
        pytest.param({"greeting": "554 no service"}, id="refuses everybody"),
        pytest.param({"greeting": "421 later"}, id="is busy"),
        pytest.param({"greeting": None}, id="says nothing"),
        pytest.param({"EHLO": "550 not you", "HELO": "550 not you"}, id="refuses our name"),
        pytest.param({"MAIL": "451 later"}, id="defers the sender"),
        pytest.param({"RCPT": "450 greylisted"}, id="defers the recipient"),
        pytest.param({"RCPT": None}, id="falls silent"),
        pytest.param({"DATA": "452 no space"}, id="has no space"),
        pytest.param({".": "451 later"}, id="defers the text"),
        pytest.param({".": None}, id="falls silent after the text"),
    ],
)
def test_a_mail_outlives_a_server_that(
    replies: dict[str, str | None], database: Path, tmp_path: Path, serve: Callable[..., Service]
) -> None:
    add_user("alice", "alice@example.com")
    with scripted(replies) as bad:
        port = bad.port
        service = serve(**settings(bad))
        assert service.request_reset(email="alice@example.com").status == 202
        wait_until(lambda: [error for error, _ in outbox(database) if error], "the outbox to note the failure")
        ((error, buried_at),) = outbox(database)
        assert buried_at is None, f"given up: {error}"
    with receiving(tmp_path / "good", port=port) as good:
        good.wait_for(1)


@pytest.mark.parametrize("word", ["MAIL", "RCPT", "DATA", "."])
def test_a_mail_that_is_refused_for_good_is_set_aside(
    word: str, database: Path, serve: Callable[..., Service]
) -> None:
    add_user("alice", "alice@example.com")
    with scripted({word: "550 no"}) as bad:
        assert serve(**settings(bad)).request_reset(email="alice@example.com").status == 202
        wait_until(lambda: [buried for _, buried in outbox(database) if buried], "the row to be set aside")
        assert bad.heard.count("MAIL") == 1


def test_a_server_that_refuses_and_falls_silent_holds_nothing_up(
    database: Path, serve: Callable[..., Service]
) -> None:
    """libcurl waits two minutes for the answer to QUIT if it is let."""
    add_user("alice", "alice@example.com")
    with scripted({"RCPT": "550 no", "QUIT": None}) as bad:
        assert serve(**settings(bad)).request_reset(email="alice@example.com").status == 202
        wait_until(lambda: [buried for _, buried in outbox(database) if buried], "the row to be set aside")
        assert bad.heard.count("RCPT") == 1


@pytest.mark.parametrize("silent", [".", "QUIT"], ids=["in the middle of a mail", "when it is taken leave of"])
def test_a_silent_server_does_not_hold_up_the_end(silent: str, database: Path, tmp_path: Path) -> None:
    add_user("alice", "alice@example.com")
    with scripted({silent: None}) as bad:
        # `serving` fails if the service does not end in time.
        with serving(database, tmp_path, **settings(bad, EMAIL_TIMEOUT="60")) as service:
            assert service.request_reset(email="alice@example.com").status == 202
            wait_until(lambda: "." in bad.heard, "the mail to be sent")
            if silent == "QUIT":
                wait_until(lambda: outbox(database) == [], "the outbox to be empty")


def test_a_server_without_login_gets_no_text_where_one_is_configured(
    database: Path, serve: Callable[..., Service]
) -> None:
    add_user("alice", "alice@example.com")
    with scripted({}) as bad:
        login = {"EMAIL_HOST_USER": "mailer", "EMAIL_HOST_PASSWORD": "secret-of-the-mailer"}
        assert serve(**settings(bad, **login)).request_reset(email="alice@example.com").status == 202
        wait_until(lambda: [error for error, _ in outbox(database) if error], "the outbox to note the failure")
        ((error, buried_at),) = outbox(database)
        assert buried_at is None and error is not None and "EMAIL_HOST_USER" in error
        assert "." not in bad.heard
