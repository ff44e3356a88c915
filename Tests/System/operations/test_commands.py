"""Each command has a help text, and its exit status says what is wrong."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from service import BASE_ENVIRONMENT, command, run_program

COMMANDS = [
    "", "serve", "migrate", "check", "config", "backup", "audit", "health", "send-test-email",
    "users", "users add", "users list", "users show", "users set-password", "users check-password", "users activate",
    "users deactivate", "users link", "users import", "users export",
    "mail", "mail preview", "mail templates",
    "outbox", "outbox list", "outbox show", "outbox retry", "outbox purge",
]  # fmt: skip


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_help(name: str) -> None:
    done = run_program(BASE_ENVIRONMENT, *name.split(), "--help")
    assert done.returncode == 0
    assert "OVERVIEW: " in done.stdout and "USAGE: password-reset" in done.stdout


@pytest.mark.parametrize("arguments", [["nonsense"], ["users", "add"], ["serve", "--prod"]], ids=" ".join)
def test_wrong_usage_has_an_exit_status(arguments: list[str]) -> None:
    assert run_program(BASE_ENVIRONMENT, *arguments).returncode == 64


def test_a_check_creates_no_database(tmp_path: Path) -> None:
    done = command(tmp_path / "db.sqlite3", "check", EMAIL_BACKEND="console", PASSWORD_RESET_TIMEOUT="259200")
    assert done.returncode == 0
    assert "EMAIL_BACKEND" in done.stdout and "PASSWORD_RESET_TIMEOUT" in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["check", "migrate", "serve"])
def test_a_users_table_of_another_program_is_not_changed(name: str, tmp_path: Path) -> None:
    database = tmp_path / "site.sqlite3"
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("CREATE TABLE auth_user (id INTEGER PRIMARY KEY, username TEXT)")
    before = database.read_bytes()
    done = command(database, name)
    said = done.stdout + done.stderr
    assert done.returncode == 78 and "auth_user" in said and "DATABASE_URL" in said
    assert database.read_bytes() == before


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("HTTP_HOST", "nonsense.invalid", 1),
        ("EMAIL_FILE_PATH", "/proc/nowhere", 78),
        ("DATABASE_URL", "sqlite:/nowhere/at/all.sqlite3", 78),
    ],
)
def test_an_error_names_a_setting_that_only_fails_at_the_start(name: str, value: str, code: int, tmp_path: Path) -> None:
    settings = {"EMAIL_BACKEND": "file", "EMAIL_FILE_PATH": str(tmp_path)} | {name: value}
    done = command(tmp_path / "db.sqlite3", "serve", **settings)
    assert (done.returncode, name in done.stderr) == (code, True), done.stderr


def test_a_test_email_that_cannot_be_sent_says_what_to_check(tmp_path: Path) -> None:
    smtp = {"EMAIL_BACKEND": "smtp", "EMAIL_HOST": "127.0.0.1", "EMAIL_PORT": "1", "EMAIL_TIMEOUT": "5"}
    done = command(tmp_path / "db.sqlite3", "send-test-email", "a@example.com", **smtp)
    assert done.returncode == 1 and "check EMAIL_HOST and EMAIL_PORT" in done.stderr
