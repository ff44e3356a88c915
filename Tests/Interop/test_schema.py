"""The users table is Django's: the service makes the same one, and leaves the one it finds alone."""

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
from service import run_command

INDEX = "password_reset_auth_user_email"
PASSWORD = "correct-horse-71-old"


def rows(database: Path, statement: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute(statement).fetchall()


def columns(database: Path) -> list[tuple[object, ...]]:
    """Position, name, type, NOT NULL, default and place in the primary key of each column of the users table."""
    return rows(database, "PRAGMA table_info(auth_user)")


def unique_columns(database: Path) -> list[list[object]]:
    indexes = rows(database, "SELECT name FROM pragma_index_list('auth_user') WHERE \"unique\"")
    return sorted(
        [row[0] for row in rows(database, f"SELECT name FROM pragma_index_info('{name}')")] for (name,) in indexes
    )


def schema(database: Path) -> set[tuple[object, ...]]:
    return set(rows(database, "SELECT type, name, tbl_name, sql FROM sqlite_master"))


def of_service(entry: tuple[object, ...]) -> bool:
    """Whether a table, or an index of one, is the service's own."""
    return str(entry[2]).startswith(("password_reset_", "grdb_"))


@pytest.fixture
def service_database(tmp_path: Path) -> Iterator[Path]:
    """A database that the service made, with Django working on it."""
    path = tmp_path / "service.sqlite3"
    run_command(path, "migrate")
    with on_database(path):
        yield path


def test_the_users_table_of_the_service_is_that_of_django(service_database: Path, migrated_file: Path) -> None:
    assert columns(service_database) == columns(migrated_file)
    assert unique_columns(service_database) == unique_columns(migrated_file) == [["username"]]


def test_both_number_their_users_alike(service_database: Path, migrated_file: Path) -> None:
    """A key must never come back after its user is deleted: an old link would be about somebody else."""
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


def test_a_user_without_a_password_is_so_for_django_too(service_database: Path) -> None:
    run_command(service_database, "users", "add", "alice", "--email", "alice@example.com")
    assert not User.objects.get(username="alice").has_usable_password()


def test_a_django_site_takes_the_users_of_the_service_over(service_database: Path) -> None:
    """`migrate --fake-initial` is no way: Django's first migration makes more tables than the users'."""
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


def test_django_can_go_on_altering_its_table(database: Path) -> None:
    run_command(database, "migrate")
    add_user("alice", "alice@example.com")

    # The last of Django's migrations of this table, undone and done again: SQLite makes the table anew for each.
    migrate("auth", "0011")
    migrate()

    run_command(database, "migrate")
    assert any(entry[1] == INDEX for entry in schema(database))
    assert "alice@example.com" in run_command(database, "users", "list")
