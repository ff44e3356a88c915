"""Measures how many emails per second the worker sends, compared with Postfix's load generator sending to the same sink.

    make bench-mail

It needs Debian's package postfix for smtp-sink and smtp-source; Postfix's daemon need not run.
"""

import shutil
import statistics
import tempfile
from pathlib import Path

import system_tests  # noqa: F401
from django_site import add_users, migrate, on_database
from mail_server import receiving
from outbox import connected, insert_reset_emails, pending
from postfix import sink, source_rate
from processes import wait_until
from service import BINARY, run_command, serving

ROUNDS = 3
EMAILS = 5000
SESSIONS = [1, 4]


def settings(port: int, sessions: int) -> dict[str, str]:
    return {
        "EMAIL_BACKEND": "smtp",
        "EMAIL_HOST": "127.0.0.1",
        "EMAIL_PORT": str(port),
        "EMAIL_CONNECTIONS": str(sessions),
    }


def service_rate(prepared: Path, port: int, sessions: int) -> float:
    """Returns the rate between the first and the last email in the audit trail."""
    with tempfile.TemporaryDirectory() as name:
        database = Path(name) / "db.sqlite3"
        shutil.copy(prepared, database)
        with serving(database, database.parent, **settings(port, sessions)):
            wait_until(lambda: pending(database) == 0, "the outbox to be empty", seconds=300)
        with connected(database) as connection:
            count, milliseconds = connection.execute(
                "SELECT count(*), max(at) - min(at) FROM password_reset_audit WHERE event = 'mailed'"
            ).fetchone()
    assert count == EMAILS
    return (count - 1) / milliseconds * 1000


def prepare(folder: Path) -> Path:
    """Creates a database with one pending email per user."""
    database = folder / "prepared.sqlite3"
    with on_database(database):
        migrate()
        users = add_users(EMAILS)
    run_command(database, "migrate")
    insert_reset_emails(database, [user.pk for user in users])
    return database


def size_of_email(folder: Path) -> int:
    database = folder / "one.sqlite3"
    with on_database(database):
        migrate()
        users = add_users(1)
    run_command(database, "migrate")
    insert_reset_emails(database, [user.pk for user in users])
    with receiving(folder / "mail") as server, serving(database, folder, **settings(server.port, 1)):
        (email,) = server.wait_for(1)
        return len(email.message.as_bytes())


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        size = size_of_email(folder)
        prepared = prepare(folder)
        print(f"{BINARY}: {ROUNDS} rounds of {EMAILS} emails of {size} bytes; medians, in emails per second")
        print(f"{'sessions':>8}{'service':>10}{'smtp-source -d':>16}{'ratio':>8}{'smtp-source':>14}{'ratio':>8}")
        with sink(folder) as receiver:
            port = receiver.port
            for sessions in SESSIONS:
                service, kept, single = [], [], []
                for _ in range(ROUNDS):
                    service.append(service_rate(prepared, port, sessions))
                    kept.append(source_rate(port, sessions, EMAILS, size, keeps_connections=True))
                    single.append(source_rate(port, sessions, EMAILS, size, keeps_connections=False))
                ours, theirs, plain = (statistics.median(rates) for rates in (service, kept, single))
                print(f"{sessions:8}{ours:10.0f}{theirs:16.0f}{ours / theirs:8.2f}{plain:14.0f}{ours / plain:8.2f}")


if __name__ == "__main__":
    main()
