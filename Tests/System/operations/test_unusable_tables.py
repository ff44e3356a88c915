"""The service does not start on a users table in which it cannot change a password, and leaves the database as it was."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from service import command, run_command, serving

COLUMNS = {"id": "key", "email": "mail", "password": "hash", "username": None, "first_name": None, "last_login": None, "is_active": None}
NAMES = ["members", 'a"b', "'; DROP TABLE canary; --", '"; DROP TABLE canary; --', "select", "$1 %s {} ?1", "cafe\u0301", "\u202etxt", "\U0001f511" * 15]
OBSTACLES = {
    "a CHECK": ("hash TEXT CHECK (length(hash) <= 60)", ""),
    "a CHECK on the alphabet": ("hash TEXT CHECK (hash NOT GLOB '*$*')", ""),
    "a trigger that fails": ("hash TEXT", "CREATE TRIGGER t BEFORE UPDATE ON {table} BEGIN SELECT RAISE(ROLLBACK, 'never'); END"),
    "a trigger that ignores": ("hash TEXT", "CREATE TRIGGER t BEFORE UPDATE ON {table} BEGIN SELECT RAISE(IGNORE); END"),
    "a trigger that sets back": (
        "hash TEXT",
        "CREATE TRIGGER t AFTER UPDATE ON {table} BEGIN UPDATE {table} SET hash = old.hash WHERE key = old.key AND hash <> old.hash; END",
    ),
    "a column of another type": ("hash BLOB", ""),
}


def create(path: Path, name: str, column: str, then: str = "") -> dict[str, str]:
    """Creates a table with one user, and returns the settings that describe it."""
    table = '"' + name.replace('"', '""') + '"'
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE canary (value)")
        connection.execute(f"CREATE TABLE {table} (key INTEGER PRIMARY KEY, mail TEXT, {column})")
        connection.execute(f"INSERT INTO {table} VALUES (1, 'alice@example.com', 'legacy-1')")
        if then:
            connection.execute(then.format(table=table))
    return {"USERS_TABLE": name, "USERS_COLUMNS": json.dumps(COLUMNS)}


@pytest.mark.parametrize("name", NAMES[:4])
@pytest.mark.parametrize("obstacle", OBSTACLES)
def test_a_table_in_which_no_password_can_change_is_refused_unchanged(name: str, obstacle: str, tmp_path: Path) -> None:
    path = tmp_path / "site.sqlite3"
    settings = create(path, name, *OBSTACLES[obstacle])
    before = path.read_bytes()
    done = command(path, "serve", **settings)
    assert done.returncode == 78, done.stderr
    assert name in done.stderr and "password: " in done.stderr and "hash" in done.stderr
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["site.sqlite3"]


@pytest.mark.parametrize("name", NAMES)
def test_a_table_with_an_odd_name_is_served(name: str, tmp_path: Path) -> None:
    path = tmp_path / "site.sqlite3"
    settings = create(path, name, "hash VARCHAR(60)")
    with serving(path, tmp_path, **settings) as service:
        assert service.request_reset(email="alice@example.com").status == 202
    assert "alice@example.com" in run_command(path, "users", "list", **settings)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM canary").fetchone() == (0,)
