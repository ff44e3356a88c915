"""The users table is Django's: the service creates the same one, and does not change an existing one."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from django.contrib.auth import authenticate
from django.contrib.auth.models import Group, User
from django.db import connection

from django_site import add_user, migrate, on_database
from service import command, run_command

INDEX = "password_reset_auth_user_email"
PASSWORD = "correct-horse-71-old"


def rows(database: Path, statement: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute(statement).fetchall()


def columns(database: Path) -> list[tuple[object, ...]]:
    """Returns position, name, type, NOT NULL, default and place in the primary key of each column of the users table.
    """
    return rows(database, "PRAGMA table_info(auth_user)")


def unique_columns(database: Path) -> list[list[object]]:
    indexes = rows(database, "SELECT name FROM pragma_index_list('auth_user') WHERE \"unique\"")
    return sorted(
        [row[0] for row in rows(database, f"SELECT name FROM pragma_index_info('{name}')")] for (name,) in indexes
    )


def schema(database: Path) -> set[tuple[object, ...]]:
    return set(rows(database, "SELECT type, name, tbl_name, sql FROM sqlite_master"))


def of_service(entry: tuple[object, ...]) -> bool:
    """Returns whether a table, or the table of an index, belongs to the service."""
    return str(entry[2]).startswith(("password_reset_", "grdb_"))


@pytest.fixture
def service_database(tmp_path: Path) -> Iterator[Path]:
    """Returns a database that the service created. Django uses it."""
    path = tmp_path / "service.sqlite3"
    run_command(path, "migrate")
    with on_database(path):
        yield path


def test_the_users_table_of_the_service_matches_django(service_database: Path, migrated_file: Path) -> None:
    assert columns(service_database) == columns(migrated_file)
    assert unique_columns(service_database) == unique_columns(migrated_file) == [["username"]]


def test_both_number_their_users_in_the_same_way(service_database: Path, migrated_file: Path) -> None:
    """The key of a deleted user must never be used again: an old link would then be for another user."""
    for database in (service_database, migrated_file):
        ((table,),) = rows(database, "SELECT sql FROM sqlite_master WHERE name = 'auth_user'")
        assert "AUTOINCREMENT" in str(table)


def test_django_works_with_the_users_of_the_service(service_database: Path) -> None:
    run_command(
        service_database, "users", "add", "alice", "--email", "alice@example.com", "--password-stdin", stdin=PASSWORD
    )
    alice = authenticate(username="alice", password=PASSWORD)
    assert alice is not None
    assert alice.email == "alice@example.com"
    assert alice.date_joined.tzinfo is not None
    assert (alice.is_active, alice.is_staff, alice.is_superuser, alice.last_login) == (True, False, False, None)

    User.objects.create_user("bob", "bob@example.com", PASSWORD, first_name="Bob", last_name="Builder")
    assert authenticate(username="bob", password=PASSWORD) is not None
    listed = [json.loads(line) for line in run_command(service_database, "users", "list", "--json").splitlines()]
    assert [(user["username"], user["email"], user["first_name"], user["is_active"]) for user in listed] == [
        ("alice", "alice@example.com", "", True),
        ("bob", "bob@example.com", "Bob", True),
    ]


def test_django_recognizes_a_user_without_a_password(service_database: Path) -> None:
    run_command(service_database, "users", "add", "alice", "--email", "alice@example.com")
    assert not User.objects.get(username="alice").has_usable_password()


def test_a_django_site_can_adopt_the_users_of_the_service(service_database: Path) -> None:
    """`migrate --fake-initial` does not help: Django's first migration creates more tables than the users table."""
    run_command(service_database, "users", "add", "alice", "--email", "alice@example.com")
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE auth_user RENAME TO old_user")
        migrate()
        cursor.execute("INSERT INTO auth_user SELECT * FROM old_user")
        cursor.execute("DROP TABLE old_user")

    alice = User.objects.get(username="alice")
    alice.groups.add(Group.objects.create(name="editors"))
    assert [group.name for group in alice.groups.all()] == ["editors"]
    assert "alice@example.com" in run_command(service_database, "users", "list")


def test_the_service_adds_one_index_to_the_users_table_of_django(database: Path) -> None:
    add_user("alice", "alice@example.com")
    before, users = schema(database), rows(database, "SELECT * FROM auth_user")

    run_command(database, "migrate")

    added = {entry for entry in schema(database) - before if not of_service(entry)}
    assert before <= schema(database)
    assert [entry[:3] for entry in added] == [("index", INDEX, "auth_user")]
    assert rows(database, "SELECT * FROM auth_user") == users


def test_a_second_migration_changes_nothing(database: Path) -> None:
    run_command(database, "migrate")
    before = schema(database)
    run_command(database, "migrate")
    assert schema(database) == before


def test_django_can_still_alter_its_table(database: Path) -> None:
    run_command(database, "migrate")
    add_user("alice", "alice@example.com")

    # Undo and repeat Django's last migration of this table: SQLite creates a new table for each.
    migrate("auth", "0011")
    migrate()

    run_command(database, "migrate")
    assert any(entry[1] == INDEX for entry in schema(database))
    assert "alice@example.com" in run_command(database, "users", "list")


# A value that no release of Django writes, and the resulting row.
DAMAGE = [
    "password = x'00ff'",
    "password = 17.5",
    "email = 7",
    "email = x'c3'",
    "username = x'616c'",
    "first_name = 1e300",
    "last_login = 9223372036854775807",
    "last_login = x'00'",
    "last_login = ''",
    "date_joined = 'never'",
    "date_joined = -1",
    "is_active = 'maybe'",
    "is_staff = x'01'",
    "is_superuser = 1e300",
    "id = -9223372036854775807",
    "id = 9223372036854775807",
]
SECRET = "pbkdf2_sha256$1$salt$a-secret-hash"


@pytest.mark.parametrize("damage", DAMAGE)
def test_no_value_in_a_row_crashes_a_command_or_is_shown_in_an_error(damage: str, service_database: Path) -> None:
    add_user("alice", "alice@example.com", password=SECRET)
    with closing(sqlite3.connect(service_database)) as plain, plain:
        plain.execute(f"UPDATE auth_user SET {damage}")
    for arguments in (
        ["check"],
        ["users", "list"],
        ["users", "list", "--json"],
        ["users", "show", "alice"],
        ["users", "link", "alice"],
        ["users", "deactivate", "alice"],
        ["users", "export"],
        ["users", "export", "--format", "dumpdata"],
    ):
        done = command(service_database, *arguments)
        assert done.returncode in (0, 1, 67), (arguments, done.stderr)
        assert "a-secret-hash" not in done.stderr and "alice@example.com" not in done.stderr, (arguments, done.stderr)


def test_a_row_whose_key_is_not_an_integer_is_named_and_skipped(service_database: Path) -> None:
    """SQLite keeps text in an integer column, unless the column is the row ID."""
    add_user("alice", "alice@example.com", password=SECRET)
    add_user("bob", "bob@example.com", password=SECRET)
    with closing(sqlite3.connect(service_database)) as plain, plain:
        ((table,),) = plain.execute("SELECT sql FROM sqlite_master WHERE name = 'auth_user'").fetchall()
        table = table.replace('"id" integer NOT NULL PRIMARY KEY AUTOINCREMENT', '"id" bigint NOT NULL PRIMARY KEY')
        plain.executescript(f"ALTER TABLE auth_user RENAME TO old_user; {table}; INSERT INTO auth_user SELECT * FROM old_user")
        plain.execute("UPDATE auth_user SET id = '8f14e45fceea467fa8d79b1f0c2d3e4f' WHERE username = 'alice'")
        plain.execute("DROP TABLE old_user")
    for arguments in (["users", "list"], ["users", "export"]):
        done = command(service_database, *arguments)
        assert (done.returncode, "bob@example.com" in done.stdout) == (1, True), done.stderr
        assert "1 row whose key is not a whole number" in done.stderr
        assert "a-secret-hash" not in done.stderr and "alice@example.com" not in done.stderr


@pytest.mark.parametrize("at", [-(2**63), -1, 2**63 - 1])
def test_no_time_in_a_row_of_the_service_crashes_a_command(at: int, service_database: Path) -> None:
    with closing(sqlite3.connect(service_database)) as plain, plain:
        plain.execute("INSERT INTO password_reset_audit (id, at, event, request_id) VALUES (1, ?, 'no event', 'r')", [at])
        plain.execute(
            "INSERT INTO password_reset_outbox (id, kind, identifier, request_id, created_at, due_at, dead_lettered_at)"
            " VALUES (1, 'request_email', 'a@b.co', 'r', 1, 1, ?)", [at],
        )
    for arguments in (["audit"], ["audit", "--json"], ["outbox", "list"], ["outbox", "list", "--json"], ["outbox", "show", "1"]):
        done = command(service_database, *arguments)
        assert done.returncode == 0, (arguments, done.stderr)
