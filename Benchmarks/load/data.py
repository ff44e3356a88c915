"""The databases with up to millions of users, waiting jobs, and links."""

import base64
import hashlib
import json
import os
import random
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

CACHE = Path(__file__).parents[2] / ".build/benchmarks"
SITE = Path(__file__).with_name("site")
INDEX = "password_reset_auth_user_email"
ROWS_IN_TRANSACTION = 200_000
DAY = 86_400
# Only this benchmark uses it.
SECRET_KEY = "the-secret-key-of-the-benchmark-that-signs-nothing-else"
LINK_SECONDS = DAY


@dataclass(frozen=True)
class Link:
    uid: str
    token: str


def site_environment(database: Path, email_port: int = 25) -> dict[str, str]:
    """Returns the environment of the Django site in `site`."""
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(SITE),
        "PYTHONPYCACHEPREFIX": str(CACHE / "pycache"),
        "DJANGO_SETTINGS_MODULE": "settings",
        "DATABASE": str(database),
        "SECRET_KEY": SECRET_KEY,
        "PASSWORD_RESET_TIMEOUT": str(LINK_SECONDS),
        "EMAIL_PORT": str(email_port),
    }


def run(command: list[str], environment: Mapping[str, str], stdin: str = "", seconds: float = 600) -> str:
    done = subprocess.run(command, env=environment, input=stdin, capture_output=True, text=True, timeout=seconds)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def migrate(binary: Path, database: Path) -> None:
    """Creates the service's schema, as the binary under test defines it."""
    run([str(binary), "migrate"], {"DATABASE_URL": f"sqlite:{database}"})


def database_with_users(binary: Path, users: int) -> Path:
    """Returns a database with users under Django's schema and the service's. Later runs reuse the file; remove it to create it again."""
    CACHE.mkdir(parents=True, exist_ok=True)
    database = CACHE / f"users-{users}.sqlite3"
    if not database.exists():
        partial = database.with_suffix(".partial")
        for suffix in ("", "-wal", "-shm"):
            Path(f"{partial}{suffix}").unlink(missing_ok=True)
        print(f"creating {database} …", file=sys.stderr, flush=True)
        start = time.monotonic()
        run([sys.executable, "-m", "django", "migrate", "--verbosity", "0"], site_environment(partial))
        migrate(binary, partial)
        add_users(partial, users)
        partial.rename(database)
        print(f"created in {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
    return database


def add_users(database: Path, count: int) -> None:
    """Adds users with the key n, the name `user<n>` and the address `user<n>@example.com`. Half of them have signed in before."""
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        # Durability does not matter: an incomplete file has another name and is never used.
        connection.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -500000")
        ((index,),) = connection.execute("SELECT sql FROM sqlite_master WHERE name = ?", [INDEX]).fetchall()
        connection.execute(f"DROP INDEX {INDEX}")
        for first in range(1, count + 1, ROWS_IN_TRANSACTION):
            connection.execute("BEGIN")
            connection.executemany(
                """
                INSERT INTO auth_user
                  (id, password, last_login, is_superuser, username, first_name, last_name, email, is_staff, is_active, date_joined)
                VALUES (?, ?, ?, 0, ?, '', '', ?, 0, 1, '2026-01-02 03:04:05.678901')
                """,
                user_rows(first, min(first + ROWS_IN_TRANSACTION, count + 1)),
            )
            connection.execute("COMMIT")
        connection.execute(index)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def user_rows(first: int, end: int) -> Iterator[tuple[int, str, str | None, str, str]]:
    for number in range(first, end):
        digest = hashlib.sha512(b"%d" % number).digest()
        salt = digest[32:43].hex()
        password = f"pbkdf2_sha256$1500000${salt}${base64.b64encode(digest[:32]).decode()}"
        last_login = "2026-02-03 04:05:06.789012" if number % 2 else None
        yield number, password, last_login, f"user{number}", f"user{number}@example.com"


def copy(source: Path, target: Path) -> None:
    """Copies a file and waits until it is on disk, so that late writes do not disturb the first load."""
    subprocess.run(["cp", "--reflink=auto", str(source), str(target)], check=True, timeout=600)
    with target.open("rb") as file:
        os.fsync(file.fileno())


def add_waiting(database: Path, count: int) -> None:
    """Adds jobs to the outbox that are due in a day, as during an outage of the mail server."""
    now = int(time.time() * 1000)
    rows = (
        (f"waiting{number}@example.com", f"{number:032x}", now, now + DAY * 1000 + number) for number in range(count)
    )
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.executemany(
            """
            INSERT INTO password_reset_outbox (kind, identifier, locale, request_id, created_at, due_at)
            VALUES ('request_email', ?, 'en', ?, ?, ?)
            """,
            rows,
        )


def links_of_some(database: Path, users: int, count: int) -> list[Link]:
    """Returns links of different users from the whole table, in random order."""
    keys = random.Random(1).sample(range(1, users + 1), count)
    output = run([sys.executable, str(SITE / "links.py")], site_environment(database), json.dumps(keys))
    return [Link(uid, token) for uid, token in json.loads(output)]


def addresses(users: int, maximum: int = 20_000) -> list[str]:
    """Returns the addresses of all users, or of as many as wrk can hold, from the whole table."""
    count = min(users, maximum)
    return [f"user{1 + index * users // count}@example.com" for index in range(count)]
