"""Reads and fills the outbox in the database."""

import sqlite3
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple


class Row(NamedTuple):
    """The state of one job in the outbox."""

    last_error: str | None
    dead_lettered_at: int | None


@contextmanager
def connected(database: Path) -> Iterator[sqlite3.Connection]:
    """Opens a connection that commits at the end of the block."""
    with closing(sqlite3.connect(database, timeout=5)) as connection, connection:
        yield connection


def outbox(database: Path) -> list[Row]:
    with connected(database) as connection:
        rows = connection.execute("SELECT last_error, dead_lettered_at FROM password_reset_outbox ORDER BY id")
        return [Row(*row) for row in rows]


def pending(database: Path) -> int:
    """Returns the number of jobs that are neither done nor dead letters."""
    with connected(database) as connection:
        (count,) = connection.execute(
            "SELECT count(*) FROM password_reset_outbox WHERE dead_lettered_at IS NULL"
        ).fetchone()
        return count


def failures(database: Path) -> list[str]:
    """Returns the last error of each job that has one."""
    return [row.last_error for row in outbox(database) if row.last_error]


def dead_letters(database: Path) -> list[Row]:
    return [row for row in outbox(database) if row.dead_lettered_at]


def audited(database: Path, event: str) -> int:
    """Returns how many audit rows have this event."""
    with connected(database) as connection:
        (count,) = connection.execute("SELECT count(*) FROM password_reset_audit WHERE event = ?", [event]).fetchone()
        return count


def insert_reset_emails(database: Path, users: Iterable[int]) -> dict[str, int]:
    """Inserts a reset email for each of `users` into the outbox. Returns the user of each email by request ID."""
    now = int(time.time() * 1000)
    owed = {uuid.uuid4().hex: user for user in users}
    with connected(database) as connection:
        connection.executemany(
            "INSERT INTO password_reset_outbox (kind, user_id, request_id, created_at, due_at)"
            " VALUES ('reset_email', ?, ?, ?, ?)",
            [(user, request, now, now) for request, user in owed.items()],
        )
    return owed
