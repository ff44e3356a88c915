"""The tests' end of `smtp_server.py`."""

import base64
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from processes import running, wait_until
from service import Link

SCRIPT = Path(__file__).with_name("smtp_server.py")


@dataclass(frozen=True)
class Login:
    user: str = "mailer"
    password: str = "correct horse battery"


@dataclass(frozen=True)
class Delivery:
    """One message as it reached the server."""

    sender: str
    recipients: list[str]
    encrypted: bool
    authenticated: bool
    message: EmailMessage

    @property
    def text(self) -> str:
        return self.message.get_content()

    @property
    def link(self) -> Link:
        found = re.findall(r"/reset/([^/\s]+)/([^/\s]+)/", self.text)
        assert len(found) == 1, f"one link expected in:\n{self.text}"
        return Link(*found[0])


class MailServer:
    def __init__(self, journal: Path, process: subprocess.Popen[bytes]) -> None:
        self._journal = journal
        self._process = process

    @property
    def port(self) -> int:
        return wait_until(lambda: self._events("listening"), "the mail server to listen")[0]["port"]

    @property
    def deliveries(self) -> list[Delivery]:
        return [_delivery(event) for event in self._events("message")]

    def wait_for(self, count: int) -> list[Delivery]:
        """All deliveries, when there are `count`."""
        wait_until(lambda: len(self._events("message")) >= count, f"{count} mails at the mail server")
        return self.deliveries

    def commands(self, *, encrypted: bool) -> list[str]:
        """The first word of every line that came, in the clear or encrypted; of a message's text, too."""
        text = "".join(event["text"] for event in self._events("received") if event["encrypted"] == encrypted)
        return [line.split(" ")[0].upper() for line in text.splitlines()]

    def _events(self, name: str) -> list[dict[str, Any]]:
        assert self._process.poll() is None, "the mail server ended early"
        if not self._journal.exists():
            return []
        # The last line may still be half written.
        lines = self._journal.read_text(encoding="utf-8").split("\n")[:-1]
        return [event for line in lines if (event := json.loads(line))["event"] == name]


def _delivery(event: dict[str, Any]) -> Delivery:
    message = message_from_bytes(base64.b64decode(event["content"]), policy=policy.strict)
    assert isinstance(message, EmailMessage)
    facts = {name: event[name] for name in ("sender", "recipients", "encrypted", "authenticated")}
    return Delivery(**facts, message=message)


@contextmanager
def receiving(
    folder: Path, *, tls: str = "none", certificate: Path | None = None, login: Login | None = None, port: int = 0
) -> Iterator[MailServer]:
    """A mail server that runs for the block; its journal goes into `folder`, which must have none yet.

    tls is "none", "starttls" or "implicit".
    """
    folder.mkdir(exist_ok=True)
    journal = folder / "mail.journal"
    assert not journal.exists()
    command = [sys.executable, str(SCRIPT), "--journal", str(journal), "--port", str(port), "--tls", tls]
    if certificate:
        command += ["--certificate", str(certificate)]
    if login:
        command += ["--login", login.user, login.password]
    with running(command, os.environ, folder / "mail-server.log") as process:
        server = MailServer(journal, process)
        wait_until(lambda: server.port, "the mail server to listen")
        yield server
