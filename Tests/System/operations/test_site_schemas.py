"""The service works next to any schema that Django and SQLite accept, and never reports such a database as damaged."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from django.contrib.auth import authenticate

from django_site import add_user, link_for
from rich_site import Preference, enrich
from service import Service, command, run_command

NEW = "battery-staple-92-new"
QUICK = {"PASSWORD_HASHER_OPTIONS": "iterations=10"}

# The outbox as the release before migration 4 created it.
BEFORE_MIGRATION_4 = """
CREATE TABLE grdb_migrations (identifier TEXT NOT NULL PRIMARY KEY);
INSERT INTO grdb_migrations VALUES ('1 auth_user'), ('2 outbox'), ('3 audit');
CREATE TABLE password_reset_outbox (
  id INTEGER PRIMARY KEY, kind TEXT NOT NULL, identifier TEXT, user_id INTEGER, locale TEXT, request_id TEXT NOT NULL,
  created_at INTEGER NOT NULL, due_at INTEGER NOT NULL, attempts INTEGER NOT NULL DEFAULT 0, last_error TEXT, buried_at INTEGER
) STRICT;
CREATE INDEX password_reset_outbox_due ON password_reset_outbox (due_at) WHERE buried_at IS NULL;
CREATE TABLE password_reset_mail_window (
  address_key TEXT NOT NULL, request_id TEXT NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (address_key, request_id)
) STRICT, WITHOUT ROWID;
CREATE TABLE password_reset_audit (
  id INTEGER PRIMARY KEY, at INTEGER NOT NULL, event TEXT NOT NULL, user_id INTEGER, identifier_key TEXT, request_id TEXT NOT NULL
) STRICT;
INSERT INTO password_reset_outbox VALUES (7, 'request_email', 'a@example.com', NULL, 'de', 'r7', 1, 2, 3, '451', 9);
"""


def execute(database: Path, script: str) -> None:
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.executescript(script)


def errors(database: Path) -> list[str]:
    """Returns the errors that `check` finds in the database."""
    done = command(database, "check", "--json")
    return [finding["message"] for finding in json.loads(done.stdout) if finding["level"] == "error"]


def test_each_command_works_next_to_a_rich_schema(database: Path, tmp_path: Path) -> None:
    enrich(database)
    assert errors(database) == []
    run_command(database, "migrate")
    assert errors(database) == []
    assert "1" in run_command(database, "users", "add", "alice", "--email", "alice@example.com")
    assert "alice@example.com" in run_command(database, "users", "list")
    backup = tmp_path / "backup.sqlite3"
    run_command(database, "backup", str(backup))
    with closing(sqlite3.connect(backup)) as connection:
        assert connection.execute("SELECT count(*) FROM prefs_preference").fetchone() == (1,)


@pytest.mark.parametrize("has_site", [False, True], ids=["plain tables", "a rich schema"])
def test_a_database_from_before_the_rename_is_migrated(has_site: bool, database: Path) -> None:
    if has_site:
        enrich(database)
    execute(database, BEFORE_MIGRATION_4)
    run_command(database, "migrate")
    rows = json.loads(run_command(database, "outbox", "list", "--json"))
    assert rows["id"] == 7


def test_a_view_of_the_outbox_does_not_stop_the_migration(database: Path) -> None:
    """A site may have views of the service's tables."""
    execute(database, BEFORE_MIGRATION_4 + "CREATE VIEW site_outbox AS SELECT id FROM password_reset_outbox;")
    run_command(database, "migrate")
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("SELECT id FROM site_outbox").fetchall() == [(7,)]


def test_a_password_is_set_next_to_a_rich_schema(database: Path, serve: Callable[..., Service]) -> None:
    enrich(database)
    alice = add_user("alice", "alice@example.com")
    service = serve(**QUICK)
    assert service.request_reset(email="alice@example.com").status == 202
    assert service.set_password(link_for(alice), NEW, NEW).status == 200
    assert authenticate(username="alice", password=NEW) is not None


def test_the_site_may_migrate_to_a_rich_schema_while_the_service_runs(database: Path, serve: Callable[..., Service]) -> None:
    """Every connection reloads the schema after such a change."""
    alice = add_user("alice", "alice@example.com")
    service = serve(**QUICK)
    assert service.check_link(link_for(alice)).status == 200
    enrich(database)
    assert service.check_link(link_for(alice)).status == 200
    assert service.request_reset(email="alice@example.com").status == 202
    assert service.set_password(link_for(alice), NEW, NEW).status == 200
    assert Preference.objects.count() == 1


def test_a_schema_that_this_sqlite_cannot_read_is_not_reported_as_damage(database: Path, tmp_path: Path) -> None:
    """A newer SQLite may have written it. The owner of a healthy site must not restore a backup because of it."""
    execute(
        database,
        """
        CREATE VIEW site_view AS SELECT 1;
        PRAGMA writable_schema = ON;
        UPDATE sqlite_master SET sql = 'CREATE VIEW site_view AS SELECT 1 OF THE FUTURE' WHERE name = 'site_view';
        PRAGMA writable_schema = OFF;
        """,
    )
    for arguments in (["check"], ["serve"], ["migrate"], ["users", "list"], ["backup", str(tmp_path / "backup.sqlite3")]):
        done = command(database, *arguments)
        said = done.stdout + done.stderr
        assert done.returncode == 78, said
        assert "malformed database schema (site_view)" in said
        assert "damaged" not in said and "restore" not in said


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        ("ALTER TABLE auth_user RENAME TO real_user; CREATE VIEW auth_user AS SELECT * FROM real_user", "a view"),
        ("DROP TABLE auth_user; CREATE VIRTUAL TABLE auth_user USING fts5 (id, username, email, password)", "a virtual table"),
        ("DROP TABLE auth_user; CREATE VIEW Auth_User AS SELECT 1 AS id", "a view"),
        ("DROP TABLE auth_user; CREATE TABLE t (id); CREATE INDEX auth_user ON t (id)", "an index"),
        ("DROP TABLE auth_user; CREATE TABLE t (id); CREATE TRIGGER auth_user AFTER INSERT ON t BEGIN SELECT 1; END", "a trigger"),
    ],
    ids=["view", "virtual table", "view in capitals", "index", "trigger"],
)
@pytest.mark.parametrize("name", ["check", "serve", "migrate", "users list"])
def test_a_users_table_that_is_no_ordinary_table_is_refused(name: str, script: str, kind: str, database: Path) -> None:
    execute(database, f"PRAGMA foreign_keys = OFF; PRAGMA legacy_alter_table = ON; {script}")
    before = database.read_bytes()
    done = command(database, *name.split())
    assert done.returncode == 78 and f"auth_user cannot be used: it is {kind}, not an ordinary table" in done.stdout + done.stderr
    assert name != "check" or "E014" in done.stdout
    assert database.read_bytes() == before


# Parts of a schema that need a function of Django's connections when a password is set, and what the error must name.
MISSING = [
    ("CREATE TRIGGER t AFTER UPDATE ON auth_user BEGIN SELECT django_date_trunc('day', new.last_login, NULL, NULL); END", "trigger t", "auth_user"),
    ("CREATE TRIGGER t BEFORE UPDATE OF password ON auth_user BEGIN SELECT md5(new.password); END", "trigger t", "auth_user"),
    ("CREATE TRIGGER t AFTER UPDATE ON auth_user WHEN new.email REGEXP 'a' BEGIN SELECT 1; END", "trigger t", "auth_user"),
    ("CREATE TRIGGER t AFTER UPDATE ON auth_user BEGIN INSERT INTO log VALUES (1); END;"
     "CREATE TRIGGER u AFTER INSERT ON log BEGIN SELECT sha256(new.a); END", "trigger u", "log"),
    ("CREATE INDEX i ON auth_user (password) WHERE password <> ''; CREATE TRIGGER t AFTER UPDATE ON auth_user"
     " BEGIN UPDATE log SET a = bitxor(a, 1); END", "trigger t", "auth_user"),
]  # fmt: skip


@pytest.mark.parametrize(("script", "caller", "table"), MISSING, ids=[caller + str(index) for index, (_, caller, _) in enumerate(MISSING)])
@pytest.mark.parametrize("name", ["check", "serve"])
def test_a_trigger_that_needs_a_function_of_the_site_is_refused(name: str, script: str, caller: str, table: str, database: Path) -> None:
    execute(database, f"CREATE TABLE log (a); {script}")
    done = command(database, name)
    said = done.stdout + done.stderr
    assert done.returncode == 78 and f"the {caller} of the table {table} calls the function" in said, said


def test_a_trigger_on_what_the_service_does_not_change_is_accepted(database: Path, serve: Callable[..., Service]) -> None:
    execute(database, "CREATE TRIGGER t AFTER UPDATE OF last_login ON auth_user BEGIN SELECT django_date_trunc('day', 1, 2, 3); END")
    assert errors(database) == []
    alice = add_user("alice", "alice@example.com")
    assert serve(**QUICK).set_password(link_for(alice), NEW, NEW).status == 200


@pytest.mark.parametrize("column", ["username", "email"])
def test_an_error_names_the_function_that_a_check_of_the_users_table_needs(column: str, database: Path) -> None:
    """A password can be set all the same, because SQLite then evaluates no CHECK of another column."""
    with closing(sqlite3.connect(database)) as connection:
        ((table,),) = connection.execute("SELECT sql FROM sqlite_master WHERE name = 'auth_user'").fetchall()
    table = f"{table.rstrip()[:-1]}, CONSTRAINT c CHECK ({column} REGEXP '^[a-z]+$'))"
    with closing(sqlite3.connect(database)) as connection:
        # SQLite creates such a table only if the function is there, as on Django's connections.
        connection.create_function("regexp", 2, lambda pattern, text: True)
        connection.executescript(f"PRAGMA foreign_keys = OFF; DROP TABLE auth_user; {table}")
    assert errors(database) == []
    for arguments in (["users", "add", "bob", "--email", "bob@example.com"], ["users", "import", "-", "--format", "csv"]):
        done = command(database, *arguments, stdin="username\nbob\n")
        assert done.returncode == 1, done.stderr
        assert "a CHECK or a column of the table auth_user calls the function REGEXP" in done.stderr and "the site's tools" in done.stderr


def test_a_site_with_allauth_gets_a_warning_and_works(database: Path) -> None:
    def warnings() -> list[str]:
        found = json.loads(command(database, "check", "--json").stdout)
        return [finding["message"] for finding in found if finding["id"] == "password_reset.W023"]

    assert warnings() == []
    execute(database, "CREATE TABLE account_emailaddress (id integer PRIMARY KEY, email varchar(254), verified bool, user_id integer);")
    (message,) = warnings()
    assert "django-allauth" in message
    run_command(database, "migrate")
