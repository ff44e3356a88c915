"""Reads and fills the outbox in the database."""

import re
import sqlite3
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import psycopg

from service import SiteDatabase


class Row(NamedTuple):
    """The state of one job in the outbox."""

    last_error: str | None
    dead_lettered_at: int | None


class ServerConnection:
    """Runs statements that are written for SQLite on PostgreSQL, where our tables have a schema instead of a prefix."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection
        self._connection.execute("SET search_path TO password_reset, public")

    def execute(self, statement: str, values: Sequence[object] = ()) -> psycopg.Cursor[Any]:
        text = re.sub(r"\bpassword_reset_(?=[a-z])", "", statement)
        # The ids are the server's, unless a statement insists.
        text = re.sub(r"(INSERT INTO \w+ \(id,[^)]*\)) ?VALUES", r"\1 OVERRIDING SYSTEM VALUE VALUES", text)
        numbers = count(1)
        text = re.sub(r"\?(\d*)", lambda match: f"%({match[1] or next(numbers)})s", text)
        # As quoted texts in the statement, values fit columns of any type.
        names = {str(number): None if value is None else str(value) for number, value in enumerate(values, 1)}
        return psycopg.ClientCursor(self._connection).execute(text.encode(), names)

    def executemany(self, statement: str, rows: Iterable[Sequence[object]]) -> None:
        for row in rows:
            self.execute(statement, row)


@contextmanager
def connected(database: SiteDatabase) -> Iterator[sqlite3.Connection | ServerConnection]:
    """Opens a connection that commits at the end of the block."""
    if isinstance(database, Path):
        with closing(sqlite3.connect(database, timeout=5)) as connection, connection:
            yield connection
    else:
        with psycopg.connect(database.socket_url) as connection:
            yield ServerConnection(connection)


def outbox(database: SiteDatabase) -> list[Row]:
    with connected(database) as connection:
        rows = connection.execute("SELECT last_error, dead_lettered_at FROM password_reset_outbox ORDER BY id")
        return [Row(*row) for row in rows]


def pending(database: SiteDatabase) -> int:
    """Returns the number of jobs that are neither done nor dead letters."""
    with connected(database) as connection:
        (number,) = connection.execute("SELECT count(*) FROM password_reset_outbox WHERE dead_lettered_at IS NULL").fetchone()
        return number


def failures(database: SiteDatabase) -> list[str]:
    """Returns the last error of each job that has one."""
    return [row.last_error for row in outbox(database) if row.last_error]


def dead_letters(database: SiteDatabase) -> list[Row]:
    return [row for row in outbox(database) if row.dead_lettered_at]


def audited(database: SiteDatabase, event: str) -> int:
    """Returns how many audit rows have this event."""
    with connected(database) as connection:
        (number,) = connection.execute("SELECT count(*) FROM password_reset_audit WHERE event = ?", [event]).fetchone()
        return number


def insert_reset_emails(database: SiteDatabase, users: Iterable[int]) -> dict[str, int]:
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
