"""A mail server that offers any mechanisms, in any spelling, and accepts only some of them."""

import base64
import hashlib
import hmac
import socketserver
import ssl
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from scripted_server import Conversation, ScriptedServer, running

USER = "mailer"
PASSWORD = "secret-of-the-mailer"
CHALLENGE = b"<1896.697170952@localhost>"


class SignInServer(ScriptedServer):
    """Lets a client sign in with the right password and one of the `accepted` mechanisms."""

    def __init__(
        self, extensions: Sequence[str], accepted: Collection[str], refusal: str, tls: ssl.SSLContext | None
    ) -> None:
        lines = ["localhost", *extensions]
        replies = {"EHLO": "\r\n".join(f"250{'-' if number < len(lines) else ' '}{line}" for number, line in enumerate(lines, 1))}
        super().__init__(replies, None)
        self.accepted = accepted
        self.refusal = refusal
        self.tls = tls
        # The mechanism of each attempt.
        self.attempts: list[str] = []

    @property
    def conversation(self) -> type[socketserver.BaseRequestHandler]:
        return SigningIn


class SigningIn(Conversation):
    server: SignInServer
    def handled(self, command: str) -> bool:
        word = command.split(" ")[0].upper()
        if word == "STARTTLS" and self.server.tls:
            self.start_tls(self.server.tls)
        elif word == "AUTH":
            self.sign_in(command)
        else:
            return False
        return True

    def start_tls(self, context: ssl.SSLContext) -> None:
        self.say("220 go on")
        self.request = context.wrap_socket(self.request, server_side=True)
        self.setup()
        self.server.connections.append(self.request)

    def finish(self) -> None:
        super().finish()
        self.request.close()

    def sign_in(self, command: str) -> None:
        _, mechanism, *initial = command.split(" ")
        mechanism = mechanism.upper()
        self.server.attempts.append(mechanism)
        answer = {"PLAIN": self.plain, "LOGIN": self.login, "CRAM-MD5": self.cram_md5}.get(mechanism)
        good = answer is not None and answer(initial) and mechanism in self.server.accepted
        self.say("235 welcome" if good else self.server.refusal)

    def ask(self, challenge: bytes) -> bytes:
        self.say(f"334 {base64.b64encode(challenge).decode()}")
        return base64.b64decode(self.rfile.readline().strip() + b"==", validate=False)

    def plain(self, initial: list[str]) -> bool:
        given = base64.b64decode(initial[0]) if initial else self.ask(b"")
        return given.split(b"\0")[1:] == [USER.encode(), PASSWORD.encode()]

    def login(self, initial: list[str]) -> bool:
        user = base64.b64decode(initial[0]) if initial else self.ask(b"Username:")
        return (user, self.ask(b"Password:")) == (USER.encode(), PASSWORD.encode())

    def cram_md5(self, _initial: list[str]) -> bool:
        digest = hmac.new(PASSWORD.encode(), CHALLENGE, hashlib.md5).hexdigest()
        return self.ask(CHALLENGE) == f"{USER} {digest}".encode()


@contextmanager
def offering(
    extensions: Sequence[str], accepted: Collection[str] = (), *, refusal: str = "535 5.7.8 no", certificate: Path | None = None
) -> Iterator[SignInServer]:
    """Runs a server within the block that writes `extensions` in its reply to EHLO, as they are."""
    tls = None
    if certificate:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificate)
    with SignInServer(extensions, accepted, refusal, tls) as server, running(server):
        yield server
