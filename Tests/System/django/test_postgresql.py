"""What PostgreSQL writes about a site's users is imported as Django would load it."""

import os
import random
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.contrib.auth.tokens import default_token_generator

from django_site import on_database
from service import command, run_command
from test_transfer import OLD_HASHES, stored

# Debian keeps the programs of the server out of PATH.
PATH = os.pathsep.join([os.environ["PATH"], *map(str, Path("/usr/lib/postgresql").glob("*/bin"))])
COUNT = 1000
# The number of a user and a group that own nothing.
ORDINARY = 65534
NAMES = ["", "Ålice", 'O"Neill', "a,b", "two\nlines", "\\N", "\\", "e\u0301 😀", " blanks ", "NULL", "'quoted'", "tab\there", "\r\n"]
ZONES = ["UTC", "Europe/Berlin", "Asia/Kolkata", "America/St_Johns"]
COLUMNS = [
    "id", "password", "last_login", "is_superuser", "username", "first_name", "last_name", "email", "is_staff", "is_active", "date_joined",
]  # fmt: skip
TABLE = """CREATE TABLE auth_user (id integer PRIMARY KEY, password varchar(128) NOT NULL, last_login timestamptz, is_superuser boolean NOT NULL,
username varchar(150) NOT NULL UNIQUE, first_name varchar(150) NOT NULL, last_name varchar(150) NOT NULL, email varchar(254) NOT NULL,
is_staff boolean NOT NULL, is_active boolean NOT NULL, date_joined timestamptz NOT NULL)"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Path]:
    """Returns the folder of a new PostgreSQL cluster. PostgreSQL refuses to run as root."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        path = Path(folder)
        if os.getuid() == 0:
            os.chown(path, ORDINARY, ORDINARY)
        run("initdb", "--pgdata", str(path / "data"), "--no-locale", "--encoding", "UTF8", "--no-sync", folder=path)
        yield path


def run(*arguments: str, folder: Path, stdin: str = "") -> None:
    program = shutil.which(arguments[0], path=PATH)
    assert program, f"{arguments[0]} is missing; on Debian: apt-get install postgresql"
    identity: dict[str, Any] = {"user": ORDINARY, "group": ORDINARY} if os.getuid() == 0 else {}
    done = subprocess.run([program, *arguments[1:]], input=stdin.encode(), capture_output=True, timeout=120, cwd=folder, **identity)
    assert done.returncode == 0 and b"ERROR" not in done.stderr, done.stderr.decode()


def execute(cluster: Path, *statements: str) -> None:
    """Runs statements without a server. Each ends with a semicolon and an empty line."""
    script = "".join(f"{statement};\n\n" for statement in statements)
    run("postgres", "--single", "-j", "-D", str(cluster / "data"), "postgres", folder=cluster, stdin=script)


def literal(value: Any) -> str:
    if value is None:
        return "NULL"
    return str(value) if isinstance(value, (bool, int)) else "'" + str(value).replace("'", "''") + "'"


def odd_users(zone: str) -> list[User]:
    chosen = random.Random(zone)

    def moment() -> datetime:
        fraction = chosen.choice([0, 1, 100_000, 123_456, 999_999, 120_000])
        return datetime(2001, 1, 1, tzinfo=UTC) + timedelta(seconds=chosen.randrange(800_000_000), microseconds=fraction)

    return [
        User(
            id=number, username=f"user{number}", email=chosen.choice(["", f"User{number}@example.com"]), password=chosen.choice(OLD_HASHES),
            first_name=chosen.choice(NAMES), last_name=chosen.choice(NAMES), is_active=chosen.random() < 0.8, is_staff=chosen.random() < 0.5,
            is_superuser=chosen.random() < 0.1, last_login=chosen.choice([None, moment()]), date_joined=moment(),
        )
        for number in range(1, COUNT + 1)
    ]  # fmt: skip


@pytest.mark.parametrize("zone", ZONES)
def test_an_export_of_postgresql_is_imported_as_django_has_it(zone: str, cluster: Path, database: Path, tmp_path: Path) -> None:
    users = odd_users(zone)
    User.objects.bulk_create(users)
    rows = ", ".join("(" + ", ".join(literal(getattr(user, column)) for column in COLUMNS) + ")" for user in users)
    file = cluster / "users.csv"
    execute(
        cluster,
        "DROP TABLE IF EXISTS auth_user",
        TABLE,
        f"INSERT INTO auth_user ({', '.join(COLUMNS)}) VALUES {rows}",
        f"SET timezone = '{zone}'",
        f"COPY auth_user TO '{file}' CSV HEADER",
    )
    own = tmp_path / "own.sqlite3"
    done = command(own, "users", "import", str(file))
    assert (done.returncode, done.stdout) == (0, f"{COUNT} users added, 0 were there already, 0 refused.\n"), done.stderr
    without = sum(user.password.startswith("!") for user in users)
    assert f"{without} added users without a password will get no reset email" in done.stderr
    assert stored(own) == stored(database)
    with on_database(own):
        for user in User.objects.filter(is_active=True).exclude(last_login=None)[:20]:
            link = run_command(own, "users", "link", str(user.pk)).strip("/\n").split("/")
            assert default_token_generator.check_token(user, link[-1])
