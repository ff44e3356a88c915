"""Odd values of settings: `check` and `serve` agree about each, and neither crashes, hangs or prints a secret."""

import os
import random
import re
import subprocess
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from paths import ROOT
from service import BASE_ENVIRONMENT, BINARY

SEED = 20261126
SAMPLES = 400
PAIRS = 100
SECRET = "canary-0123456789-abcdefghijklmnopqrstuvwxyz-0123456789"
# Every value with this text may be a secret.
CANARY = "canary"

VALUES = [
    "", " ", "x", "0", "1", "-1", "007", "1e3", "0x10", "NaN", "inf", "99999999999999999999", "８０", "true", "False", "null", "None", "off",
    "[]", "{}", '["a"]', '{"a": 1}', '{"a": {"b": 1}}', "[[[[", '"x"', "'x'", '"', "a,b", ",", "a,", "*", "/", ".", "..", "~", "/nowhere/canary",
    "/dev/null", "/proc/self/mem", "/etc/passwd", "tcp://10.96.0.7:25", "http://canary b", "https://canary.example.com", "//", "://", "ü", "é\u0301",
    "a\nb", "a\r\n", "\t", "\u202ex", "\ufeffx", "\x7f", "\x1b[31m", "%s%n", "%00", "$(id)", "`id`", "{uid}", "{uid}{token}", "{{uid}}/{{token}}",
    "https://app.example.com/{uid}/{token}", "https://app.example.com/{{uid}}/{{token}}", "exampleapp://{uid}/{token}", "canary" * 2000, "1/s", "1/s,2/s",
    "0/m", "5/m,20/h", "localhost", "::1", "[::1]", "127.0.0.1", "127.0.0.1:80", "0.0.0.0/0", "::/0", "10.0.0.0/8,::1", "nowhere.invalid",
    "a@example.com", "Example <a@example.com>", "a@b@c", "Europe/Berlin", "UTC+2", "GMT+0530", "sqlite::memory:", "sqlite:", "sqlite:new.sqlite3",
    "sqlite:///new.sqlite3", "sqlite:/", "sqlite:/nowhere/canary", "sqlite:///etc/passwd", "postgres://canary:canary@h/d", "smtp", "SMTP", "console",
    "sendmail", "file", "django.core.mail.backends.locmem.EmailBackend", "canary.backends.EmailBackend", "argon2", "iterations=1", "time_cost=0", "a=b=c",
    "json", "text", "debug", "TRACE", "de", "pt_BR", "tlh", SECRET, f"{SECRET},{SECRET}", f"SECRET_KEY={SECRET}", f'"{SECRET}"', "-----BEGIN KEY-----",
    "x-app-version,x-tenant", "capacitor://localhost", "null", "/bin/true {sender}", "/bin/true -f{sender} {recipient}", "/bin/sh -c 'canary'",
]  # fmt: skip


def names() -> list[str]:
    """Returns the settings in docs/configuration.md, and the variables that name files with secrets."""
    found = re.findall(r"^\| `([A-Z0-9_]+)` \|", (ROOT / "docs/configuration.md").read_text(), re.MULTILINE)
    assert len(found) > 40
    return [*found, "SECRET_KEY_FILE", "SECRET_KEY_FALLBACKS_FILE", "EMAIL_HOST_PASSWORD_FILE", "SSL_CERT_FILE"]


def cases() -> list[dict[str, str]]:
    chosen = random.Random(SEED)
    single = [{chosen.choice(names()): chosen.choice(VALUES)} for _ in range(SAMPLES)]
    several = [{chosen.choice(names()): chosen.choice(VALUES) for _ in range(3)} for _ in range(PAIRS)]
    return single + several


@dataclass(frozen=True)
class Outcome:
    check: int
    # None if the service started.
    serve: int | None
    # How a service that started ended.
    end: int | None
    output: str


def listeners(process: int) -> int:
    """Returns on how many sockets the process listens."""
    try:
        targets = [os.readlink(f"/proc/{process}/fd/{number}") for number in os.listdir(f"/proc/{process}/fd")]
        tables = "".join(Path(f"/proc/{process}/net/{name}").read_text() for name in ("tcp", "tcp6"))
    except OSError:
        return 0
    listening = {line.split()[9] for line in tables.splitlines() if line.split()[3] == "0A"}
    return sum(target.removeprefix("socket:[").removesuffix("]") in listening for target in targets)


def play(folder: Path, changed: Mapping[str, str]) -> Outcome:
    good = {
        "HTTP_PORT": "0",
        "ADMIN_PORT": "0",
        "DATABASE_URL": "sqlite:db.sqlite3",
        "SECRET_KEY": SECRET,
        "RESET_URL": "https://frontend.example.com/reset/{uid}/{token}/",
        "EMAIL_BACKEND": "dummy",
        "EMAIL_FILE_PATH": "mails",
    }
    environment = BASE_ENVIRONMENT | good | changed
    check = subprocess.run([BINARY, "check"], env=environment, cwd=folder, capture_output=True, timeout=60)
    with (folder / "log").open("w+b") as log:
        process = subprocess.Popen([BINARY, "serve"], env=environment, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + 60
        while process.poll() is None and listeners(process.pid) < 2:
            assert time.monotonic() < deadline, f"{changed}: the start hangs"
            time.sleep(0.02)
        serve = process.poll()
        end = None
        if serve is None:
            process.terminate()
            end = process.wait(timeout=30)
        log.seek(0)
        output = (check.stdout + check.stderr + log.read()).decode(errors="replace")
    return Outcome(check.returncode, serve, end, output)


@pytest.mark.slow
def test_check_and_serve_agree_about_odd_settings(tmp_path: Path) -> None:
    found = cases()
    folders = [tmp_path / str(number) for number in range(len(found))]
    for folder in folders:
        folder.mkdir()
    with ThreadPoolExecutor(max_workers=4) as pool:
        outcomes = list(pool.map(play, folders, found))
    faults = []
    for changed, outcome in zip(found, outcomes):
        if outcome.check == 78:
            agrees = outcome.serve == 78
        else:
            # The address or port may be unavailable at the moment, which `check` does not try.
            may_fail = outcome.serve == 1 and "Cannot listen on" in outcome.output
            agrees = outcome.check == 0 and (outcome.serve is None and outcome.end == 0 or may_fail)
        # The message about a host that cannot be listened on shows the host.
        prints = (SECRET in outcome.output or "canary:canary" in outcome.output) and "Cannot listen on" not in outcome.output
        if not agrees or prints:
            faults.append((changed, outcome))
    assert faults == []
    assert {outcome.check for outcome in outcomes} == {0, 78}
