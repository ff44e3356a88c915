"""The databases with up to millions of users, waiting jobs, and links."""

import base64
import hashlib
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from databases import CACHE, Database, Databases, Row

SITE = Path(__file__).with_name("site")
DAY = 86_400
# Only this benchmark uses it.
SECRET_KEY = "the-secret-key-of-the-benchmark-that-signs-nothing-else"
LINK_SECONDS = DAY


@dataclass(frozen=True)
class Link:
    uid: str
    token: str


def site_environment(database: Database, email_port: int = 25) -> dict[str, str]:
    """Returns the environment of the Django site in `site`."""
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(SITE),
        "PYTHONPYCACHEPREFIX": str(CACHE / "pycache"),
        "DJANGO_SETTINGS_MODULE": "settings",
        "DATABASE": json.dumps(database.django),
        "SECRET_KEY": SECRET_KEY,
        "PASSWORD_RESET_TIMEOUT": str(LINK_SECONDS),
        "EMAIL_PORT": str(email_port),
    }


def run(command: list[str], environment: Mapping[str, str], stdin: str = "", seconds: float = 600) -> str:
    done = subprocess.run(command, env=environment, input=stdin, capture_output=True, text=True, timeout=seconds)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def migrate(binary: Path, database: Database) -> None:
    """Creates the service's schema, as the binary under test defines it."""
    run([str(binary), "migrate"], {"DATABASE_URL": database.url})


def database_with_users(databases: Databases, binary: Path, users: int) -> Database:
    """Returns a database with users under Django's schema and the service's."""

    def fill(database: Database) -> None:
        print(f"creating a database with {users} users …", file=sys.stderr, flush=True)
        start = time.monotonic()
        run([sys.executable, "-m", "django", "migrate", "--verbosity", "0"], site_environment(database))
        migrate(binary, database)
        database.add_users(user_rows(users))
        print(f"created in {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)

    return databases.kept(f"users-{users}", fill)


def user_rows(count: int) -> Iterator[Row]:
    """Returns users with the key n, the name `user<n>` and the address `user<n>@example.com`. Half of them have signed in before."""
    for number in range(1, count + 1):
        digest = hashlib.sha512(b"%d" % number).digest()
        salt = digest[32:43].hex()
        password = f"pbkdf2_sha256$1500000${salt}${base64.b64encode(digest[:32]).decode()}"
        last_login = "2026-02-03 04:05:06.789012" if number % 2 else None
        name = f"user{number}"
        yield number, password, last_login, False, name, "", "", f"{name}@example.com", False, True, "2026-01-02 03:04:05.678901"


def waiting_rows(count: int) -> Iterator[Row]:
    """Returns jobs that are due in a day, as during an outage of the mail server."""
    now = int(time.time() * 1000)
    for number in range(count):
        yield "request_email", f"waiting{number}@example.com", "en", f"{number:032x}", now, now + DAY * 1000 + number


def some_keys(users: int, count: int) -> list[int]:
    """Returns the keys of different users from the whole table, in random order."""
    return random.Random(1).sample(range(1, users + 1), count)


def links_of(database: Database, keys: Sequence[int]) -> list[Link]:
    """Returns the links that Django makes for users."""
    output = run([sys.executable, str(SITE / "links.py")], site_environment(database), json.dumps(keys))
    return [Link(uid, token) for uid, token in json.loads(output)]


def addresses(users: int, maximum: int = 20_000) -> list[str]:
    """Returns the addresses of all users, or of as many as wrk can hold, from the whole table."""
    count = min(users, maximum)
    return [f"user{1 + index * users // count}@example.com" for index in range(count)]
