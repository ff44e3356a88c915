"""Starts `smtp_server.py` and reads its journal."""

import base64
import os
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from journal import JournalReader
from processes import running, wait_until
from service import Link

SCRIPT = Path(__file__).with_name("smtp_server.py")


@dataclass(frozen=True)
class Login:
    user: str = "mailer"
    password: str = "correct horse battery"


@dataclass(frozen=True)
class Delivery:
    """One email as the server received it."""

    sender: str
    recipients: list[str]
    encrypted: bool
    authenticated: bool
    message: EmailMessage
    # The message as it was received.
    content: bytes

    @property
    def text(self) -> str:
        """Returns the plain text part."""
        part = self.message.get_body(("plain",))
        assert part is not None
        return part.get_content()

    @property
    def link(self) -> Link:
        found = re.findall(r"/reset/([^/\s]+)/([^/\s]+)/", self.text)
        assert len(found) == 1, f"one link expected in:\n{self.text}"
        return Link(*found[0])


class MailServer:
    def __init__(self, journal: JournalReader, process: subprocess.Popen[bytes]) -> None:
        self._journal = journal
        self._process = process

    @property
    def port(self) -> int:
        return wait_until(lambda: self._events("listening"), "the mail server to listen")[0]["port"]

    @property
    def deliveries(self) -> list[Delivery]:
        return [_delivery(event) for event in self._events("message")]

    def wait_for(self, count: int) -> list[Delivery]:
        """Waits for `count` deliveries and returns all of them."""
        wait_until(lambda: len(self._events("message")) >= count, f"{count} emails at the mail server")
        return self.deliveries

    def commands(self, *, encrypted: bool) -> list[str]:
        """Returns the first word of every command line that the server received, encrypted or not."""
        conversations: dict[int, str] = defaultdict(str)
        for event in self._events("received"):
            if event["encrypted"] == encrypted:
                conversations[event["connection"]] += event["text"]
        return [word for conversation in conversations.values() for word in _commands(conversation)]

    def _events(self, name: str) -> list[dict[str, Any]]:
        assert self._process.poll() is None, "the mail server ended early"
        return self._journal.events(name)


def _commands(conversation: str) -> Iterator[str]:
    in_text = False
    for line in conversation.removesuffix("\r\n").split("\r\n"):
        if not in_text:
            yield line.split(" ")[0].upper()
        in_text = line != "." if in_text else line.upper() == "DATA"


def _delivery(event: dict[str, Any]) -> Delivery:
    content = base64.b64decode(event["content"])
    message = message_from_bytes(content, policy=policy.strict)
    assert isinstance(message, EmailMessage)
    facts = {name: event[name] for name in ("sender", "recipients", "encrypted", "authenticated")}
    return Delivery(**facts, message=message, content=content)


@contextmanager
def receiving(
    folder: Path,
    *,
    tls: str = "none",
    certificate: Path | None = None,
    client_authority: Path | None = None,
    login: Login | None = None,
    mechanisms: Sequence[str] = ("PLAIN", "LOGIN"),
    port: int = 0,
) -> Iterator[MailServer]:
    """Runs a mail server within the block. Its journal goes into `folder`, which must not have one yet.

    tls is "none", "starttls" or "implicit". If `client_authority` is given, clients must present a certificate that it
    issued. If `login` is given, they must sign in with one of the `mechanisms`.
    """
    folder.mkdir(exist_ok=True)
    journal = folder / "mail.journal"
    assert not journal.exists()
    command = [sys.executable, str(SCRIPT), "--journal", str(journal), "--port", str(port), "--tls", tls]
    if certificate:
        command += ["--certificate", str(certificate)]
    if client_authority:
        command += ["--client-authority", str(client_authority)]
    if login:
        command += ["--login", login.user, login.password, "--mechanisms", *mechanisms]
    with running(command, os.environ, folder / "mail-server.log") as process:
        server = MailServer(JournalReader(journal), process)
        wait_until(lambda: server.port, "the mail server to listen")
        yield server
