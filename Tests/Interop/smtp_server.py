"""A mail server that keeps a journal: what came in, byte for byte, and whether it came encrypted.

A process of its own, so that a test can stop it and start another on the same port. The journal has one JSON object a
line.
"""

import argparse
import asyncio
import base64
import json
import signal
import ssl
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session


class Journal:
    def __init__(self, path: Path) -> None:
        self._file = path.open("a", encoding="utf-8")

    def add(self, event: str, **facts: Any) -> None:
        self._file.write(json.dumps({"event": event, **facts}) + "\n")
        self._file.flush()


class Recorder:
    """aiosmtpd's handler: takes every message."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

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


class JournalingSMTP(SMTP):
    def __init__(self, journal: Journal, **options: Any) -> None:
        super().__init__(Recorder(journal), hostname="localhost", enable_SMTPUTF8=True, **options)
        self._journal = journal

    @property
    def is_encrypted(self) -> bool:
        return self.transport is not None and self.transport.get_extra_info("ssl_object") is not None

    def data_received(self, data: bytes) -> None:
        self._journal.add("received", encrypted=self.is_encrypted, text=data.decode("latin-1"))
        super().data_received(data)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--journal", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True, help="0 for any")
    parser.add_argument("--tls", choices=["none", "starttls", "implicit"], required=True)
    parser.add_argument("--certificate", type=Path, help="PEM, with the key in the same file")
    parser.add_argument("--login", nargs=2, metavar=("USER", "PASSWORD"), help="offer AUTH, and demand it")
    return parser.parse_args()


def smtp_options(arguments: argparse.Namespace, context: ssl.SSLContext | None) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if arguments.tls == "starttls":
        options |= {"tls_context": context, "require_starttls": True}
    if arguments.login:
        expected = LoginPassword(*(text.encode() for text in arguments.login))

        def authenticate(_server: SMTP, _session: Session, _envelope: Envelope, _method: str, given: Any) -> AuthResult:
            return AuthResult(success=given == expected, handled=False)

        # Offered in the clear too where there is no STARTTLS: a client that means to be safe must not fall for it.
        options |= {
            "auth_required": True,
            "auth_require_tls": arguments.tls == "starttls",
            "authenticator": authenticate,
        }
    return options


async def serve(arguments: argparse.Namespace) -> None:
    journal = Journal(arguments.journal)
    context = None
    if arguments.certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(arguments.certificate)
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
