"""A mail server that records in a journal what it received, byte for byte, and whether it was encrypted.

It runs in its own process, so that a test can stop it and start another on the same port.
"""

import argparse
import asyncio
import base64
import itertools
import signal
import ssl
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from journal import Journal


MECHANISMS = {"PLAIN", "LOGIN", "XOAUTH2"}


class Recorder:
    """A handler for aiosmtpd that accepts every message."""

    def __init__(self, journal: Journal, login: LoginPassword | None) -> None:
        self._journal = journal
        self._login = login

    async def handle_DATA(self, server: "JournalingSMTP", session: Session, envelope: Envelope) -> str:
        self._journal.add(
            "message",
            sender=envelope.mail_from,
            recipients=envelope.rcpt_tos,
            encrypted=server.is_encrypted,
            authenticated=bool(session.authenticated),
            content=base64.b64encode(envelope.original_content or b"").decode(),
        )
        return "250 OK"

    async def auth_XOAUTH2(self, server: SMTP, arguments: list[str]) -> AuthResult:
        """Implements the mechanism of Google and Microsoft, in which the password of the login is the token."""
        given = base64.b64decode(arguments[1]) if len(arguments) > 1 else await server.challenge_auth(b"")
        assert self._login
        if given == b"user=%s\x01auth=Bearer %s\x01\x01" % (self._login.login, self._login.password):
            return AuthResult(success=True, auth_data=self._login)
        # The server reports a failure in a challenge, and refuses the authentication after any answer.
        await server.challenge_auth(b'{"status":"401"}')
        return AuthResult(success=False, handled=False)


class JournalingSMTP(SMTP):
    numbers = itertools.count()

    def __init__(self, journal: Journal, login: LoginPassword | None, **options: Any) -> None:
        super().__init__(Recorder(journal, login), hostname="localhost", enable_SMTPUTF8=True, **options)
        self._journal = journal
        self._number = next(self.numbers)

    @property
    def is_encrypted(self) -> bool:
        return self.transport is not None and self.transport.get_extra_info("ssl_object") is not None

    def data_received(self, data: bytes) -> None:
        text = data.decode("latin-1")
        self._journal.add("received", connection=self._number, encrypted=self.is_encrypted, text=text)
        super().data_received(data)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--journal", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True, help="0 for any")
    parser.add_argument("--tls", choices=["none", "starttls", "implicit"], required=True)
    parser.add_argument("--certificate", type=Path, help="PEM, with the key in the same file")
    parser.add_argument("--client-authority", type=Path, help="demand certificates of this authority from clients")
    parser.add_argument("--login", nargs=2, metavar=("USER", "PASSWORD"), help="offer AUTH, and demand it")
    parser.add_argument("--mechanisms", nargs="+", choices=sorted(MECHANISMS), help="what AUTH offers")
    return parser.parse_args()


def tls_context(arguments: argparse.Namespace) -> ssl.SSLContext | None:
    if not arguments.certificate:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(arguments.certificate)
    if arguments.client_authority:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(arguments.client_authority)
    return context


def smtp_options(arguments: argparse.Namespace, context: ssl.SSLContext | None) -> dict[str, Any]:
    login = LoginPassword(*(text.encode() for text in arguments.login)) if arguments.login else None
    options: dict[str, Any] = {"login": login}
    if arguments.tls == "starttls":
        options |= {"tls_context": context, "require_starttls": True}
    if login:

        def authenticate(_server: SMTP, _session: Session, _envelope: Envelope, _method: str, given: Any) -> AuthResult:
            return AuthResult(success=given == login, handled=False)

        # Without STARTTLS, also offer AUTH without encryption: a client that requires TLS must not use it.
        options |= {
            "auth_required": True,
            "auth_require_tls": arguments.tls == "starttls",
            "auth_exclude_mechanism": MECHANISMS - set(arguments.mechanisms),
            "authenticator": authenticate,
        }
    return options


async def serve(arguments: argparse.Namespace) -> None:
    journal = Journal(arguments.journal)
    context = tls_context(arguments)
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stopped.set)
    server = await loop.create_server(
        lambda: JournalingSMTP(journal, loop=loop, **smtp_options(arguments, context)),
        host="127.0.0.1",
        port=arguments.port,
        ssl=context if arguments.tls == "implicit" else None,
    )
    journal.add("listening", port=server.sockets[0].getsockname()[1])
    await stopped.wait()


if __name__ == "__main__":
    asyncio.run(serve(parse_arguments()))
