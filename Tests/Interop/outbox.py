"""The service's mail queue, as it stands in the database."""

import sqlite3
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple


class Row(NamedTuple):
    """Of one row of the outbox what tells how it fares."""

    last_error: str | None
    buried_at: int | None


@contextmanager
def connected(database: Path) -> Iterator[sqlite3.Connection]:
    """A connection whose changes are committed at the block's end."""
    with closing(sqlite3.connect(database, timeout=5)) as connection, connection:
        yield connection


def outbox(database: Path) -> list[Row]:
    with connected(database) as connection:
        rows = connection.execute("SELECT last_error, buried_at FROM password_reset_outbox ORDER BY id")
        return [Row(*row) for row in rows]


def pending(database: Path) -> int:
    """How many rows are neither done nor set aside."""
    with connected(database) as connection:
        (count,) = connection.execute(
            "SELECT count(*) FROM password_reset_outbox WHERE buried_at IS NULL"
        ).fetchone()
        return count


def failures(database: Path) -> list[str]:
    """What the rows say went wrong last."""
    return [row.last_error for row in outbox(database) if row.last_error]


def buried(database: Path) -> list[Row]:
    return [row for row in outbox(database) if row.buried_at]


def audited(database: Path, event: str) -> int:
    """How often the audit says that `event` happened."""
    with connected(database) as connection:
        (count,) = connection.execute("SELECT count(*) FROM password_reset_audit WHERE event = ?", [event]).fetchone()
        return count


def owe(database: Path, users: Iterable[int]) -> dict[str, int]:
    """Puts a reset mail to each of `users` straight into the outbox; of each mail the request id and the user."""
    now = int(time.time() * 1000)
    owed = {uuid.uuid4().hex: user for user in users}
    with connected(database) as connection:
        connection.executemany(
            "INSERT INTO password_reset_outbox (kind, user_id, request_id, created_at, due_at)"
            " VALUES ('reset_mail', ?, ?, ?, ?)",
            [(user, request, now, now) for request, user in owed.items()],
        )
    return owed
