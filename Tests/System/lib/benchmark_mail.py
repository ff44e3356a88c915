"""Measures how many emails per second the worker sends, compared with Postfix's load generator and the same sink.

    Tests/System/run .build/release/password-reset --benchmark-mail

It needs Debian's package postfix for smtp-sink and smtp-source; its daemon does not have to run.
"""

import os
import shutil
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import django

os.environ["DJANGO_SETTINGS_MODULE"] = "site_settings"
django.setup()

from django_site import add_users, migrate, on_database  # noqa: E402
from mail_server import receiving  # noqa: E402
from outbox import connected, insert_reset_emails, pending  # noqa: E402
from processes import running, wait_until  # noqa: E402
from service import BINARY, run_command, serving  # noqa: E402

ROUNDS = 3
MAILS = 5000
SESSIONS = [1, 4]
PATH = os.environ["PATH"] + ":/usr/sbin"


def program(name: str) -> str:
    found = shutil.which(name, path=PATH)
    assert found, f"{name} is missing; on Debian: apt-get install postfix"
    return found


@contextmanager
def sink(folder: Path) -> Iterator[int]:
    """Runs Postfix's sink, which accepts every email and keeps none. Yields its port."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    user = ["-u", "nobody"] if os.geteuid() == 0 else []
    command = [program("smtp-sink"), *user, f"127.0.0.1:{port}", "100"]
    with running(command, os.environ, folder / "sink.log"):
        wait_until(lambda: accepts(port), "the sink to listen")
        yield port


def accepts(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def settings(port: int, sessions: int) -> dict[str, str]:
    return {
        "EMAIL_BACKEND": "smtp",
        "EMAIL_HOST": "127.0.0.1",
        "EMAIL_PORT": str(port),
        "EMAIL_CONNECTIONS": str(sessions),
    }


def service_rate(prepared: Path, port: int, sessions: int) -> float:
    """Returns how many emails per second the service sends, between the first and the last time in the audit."""
    with tempfile.TemporaryDirectory() as name:
        database = Path(name) / "db.sqlite3"
        shutil.copy(prepared, database)
        with serving(database, database.parent, **settings(port, sessions)):
            wait_until(lambda: pending(database) == 0, "the outbox to be empty", seconds=300)
        with connected(database) as connection:
            count, milliseconds = connection.execute(
                "SELECT count(*), max(at) - min(at) FROM password_reset_audit WHERE event = 'mailed'"
            ).fetchone()
    assert count == MAILS
    return (count - 1) / milliseconds * 1000


def source_rate(port: int, sessions: int, size: int, *, keeps_connections: bool) -> float:
    options = ["-d"] if keeps_connections else []
    command = [program("smtp-source"), *options, "-s", str(sessions), "-m", str(MAILS), "-l", str(size), f"127.0.0.1:{port}"]
    start = time.perf_counter()
    subprocess.run(command, check=True, timeout=300)
    return MAILS / (time.perf_counter() - start)


def prepare(folder: Path) -> Path:
    """Returns a database whose outbox has a reset email for each of `MAILS` users."""
    database = folder / "prepared.sqlite3"
    with on_database(database):
        migrate()
        users = add_users(MAILS)
    run_command(database, "migrate")
    insert_reset_emails(database, [user.pk for user in users])
    return database


def size_of_mail(folder: Path) -> int:
    database = folder / "one.sqlite3"
    with on_database(database):
        migrate()
        users = add_users(1)
    run_command(database, "migrate")
    insert_reset_emails(database, [user.pk for user in users])
    with receiving(folder / "mail") as server, serving(database, folder, **settings(server.port, 1)):
        (mail,) = server.wait_for(1)
        return len(mail.message.as_bytes())


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        size = size_of_mail(folder)
        prepared = prepare(folder)
        print(f"{BINARY}: {ROUNDS} rounds of {MAILS} emails of {size} bytes; medians, in emails per second")
        print(f"{'sessions':>8}{'here':>10}{'smtp-source -d':>16}{'ratio':>8}{'smtp-source':>14}{'ratio':>8}")
        with sink(folder) as port:
            for sessions in SESSIONS:
                here, kept, single = [], [], []
                for _ in range(ROUNDS):
                    here.append(service_rate(prepared, port, sessions))
                    kept.append(source_rate(port, sessions, size, keeps_connections=True))
                    single.append(source_rate(port, sessions, size, keeps_connections=False))
                ours, theirs, plain = (statistics.median(rates) for rates in (here, kept, single))
                print(f"{sessions:8}{ours:10.0f}{theirs:16.0f}{ours / theirs:8.2f}{plain:14.0f}{ours / plain:8.2f}")


if __name__ == "__main__":
    main()
