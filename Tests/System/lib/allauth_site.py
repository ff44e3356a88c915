"""Runs `allauth_project.py`, or another script like it, and calls its functions."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import site_settings
from mail_server import Delivery
from service import BASE_ENVIRONMENT, Link

SCRIPT = Path(__file__).with_name("allauth_project.py")
# The address of allauth's own page.
RESET_URL = "https://site.example.com/accounts/password/reset/key/{uid}-{token}/"


class AllauthSite:
    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any) -> Any:
            assert self._process.stdin and self._process.stdout
            self._process.stdin.write(json.dumps([name, *arguments]) + "\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
            assert answer, f"the site ended in {name}"
            return json.loads(answer)

        return call

    def link(self, username: str) -> Link:
        return Link(*self.link_for(username))


@contextmanager
def running_site(
    database: dict[str, str], folder: Path, user_model: str = "auth.User", script: Path = SCRIPT
) -> Iterator[AllauthSite]:
    """Runs the site on `database`, which has the form of Django's setting."""
    site = {"SECRET_KEY": site_settings.SECRET_KEY, "DATABASE": json.dumps(database), "USER_MODEL": user_model}
    environment = BASE_ENVIRONMENT | site | {"HOME": str(folder)}
    with (folder / "site.log").open("a") as log:
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore", str(script)], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
        )
        with process:
            yield AllauthSite(process)
            assert process.stdin
            process.stdin.close()


def link_in(mail: Delivery) -> Link:
    """Returns the link to allauth's page in an email."""
    found = re.findall(r"/password/reset/key/([0-9A-Za-z]+)-([^/\s]+)/", mail.text)
    assert len(found) == 1, f"one link expected in:\n{mail.text}"
    return Link(*found[0])
