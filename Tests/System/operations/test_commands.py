"""Each command has a help text, and its exit status says what is wrong."""

import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from service import BASE_ENVIRONMENT, BINARY, command, environment_of, run_program

COMMANDS = [
    "", "serve", "worker", "migrate", "check", "config", "grants", "backup", "audit", "health", "send-test-email",
    "users", "users add", "users list", "users show", "users set-password", "users check-password", "users activate",
    "users deactivate", "users link", "users import", "users export",
    "pwned", "pwned build", "pwned test",
    "mail", "mail preview", "mail templates",
    "outbox", "outbox list", "outbox show", "outbox retry", "outbox purge",
]  # fmt: skip


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_help(name: str) -> None:
    done = run_program(BASE_ENVIRONMENT, *name.split(), "--help")
    assert done.returncode == 0
    assert "OVERVIEW: " in done.stdout and "USAGE: password-reset" in done.stdout


@pytest.mark.parametrize("name", ["", "users", "pwned", "mail", "outbox"])
def test_a_command_without_its_subcommand_is_wrong_usage(name: str) -> None:
    done = run_program(BASE_ENVIRONMENT, *name.split())
    assert (done.returncode, done.stdout) == (64, "")
    assert f"USAGE: password-reset {name}".rstrip() in done.stderr and "SUBCOMMANDS:" in done.stderr
    for arguments in (["--help"], ["-h"]):
        assert run_program(BASE_ENVIRONMENT, *name.split(), *arguments).returncode == 0
    assert run_program(BASE_ENVIRONMENT, "help", *name.split()).returncode == 0


SETENV = """
#include <stdio.h>
#include <stdlib.h>

__attribute__((constructor)) static void add_variables(void) {
  char name[32];
  for (int i = 0; i < %d; i++) {
    snprintf(name, sizeof name, "ADDED_%%d", i);
    setenv(name, "a value", 1);
  }
}
"""


@pytest.fixture(scope="module", params=[1, 200])
def agent(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Compiles a library that adds variables to the environment before the program starts, as monitoring agents do."""
    folder = tmp_path_factory.mktemp("agent")
    (folder / "agent.c").write_text(SETENV % request.param)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", folder / "agent.so", folder / "agent.c"], check=True)
    return str(folder / "agent.so")


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        ([], 64, "USAGE: password-reset"),
        (["nonsense"], 64, "nonsense"),
        (["--version"], 0, "0."),
        (["check", "--json"], 78, "E002"),
        (["users", "show", "", "--json"], 67, "There is no user"),
        (["mail", "preview", "password_reset", "--language", "pt BR ü"], 64, "pt BR ü"),
    ],
)
def test_the_arguments_arrive_although_a_library_changed_the_environment(
    arguments: list[str], code: int, text: str, agent: str, tmp_path: Path
) -> None:
    settings = BASE_ENVIRONMENT | {"LD_PRELOAD": agent, "DATABASE_URL": f"sqlite:{tmp_path / 'none'}"}
    done = run_program(settings, *arguments)
    plain = run_program({name: value for name, value in settings.items() if name != "LD_PRELOAD"}, *arguments)
    assert (done.returncode, done.stdout, done.stderr) == (plain.returncode, plain.stdout, plain.stderr)
    assert done.returncode == code and text in done.stdout + done.stderr, done.stdout + done.stderr


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


LOSSLESS = [
    "--help", "--version", "users --help", "check", "check --json", "config", "config --json", "migrate", "users list", "users list --json",
    "users show alice", "users show alice --json", "users link alice", "users activate alice", "users export", "users export --format jsonl",
    "outbox list", "outbox list --json", "outbox show 1", "outbox retry --dead", "outbox purge --older-than 0", "audit", "audit --json",
    "mail preview", "send-test-email a@example.com",
]  # fmt: skip


@pytest.mark.parametrize("is_closed", [False, True], ids=["full", "closed"])
@pytest.mark.parametrize("arguments", LOSSLESS)
def test_a_command_fails_if_its_result_cannot_be_written(arguments: str, is_closed: bool, tmp_path: Path) -> None:
    database = tmp_path / "db.sqlite3"
    environment = environment_of(database)
    run_program(environment, "users", "add", "alice", "--email", "alice@example.com")
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute(
            "INSERT INTO password_reset_outbox (id, kind, request_id, created_at, due_at) VALUES (1, 'request_email', 'r', 1, 1)"
        )
        connection.execute("INSERT INTO password_reset_audit (at, event, request_id) VALUES (1, 'requested', 'r')")
    target = ">&-" if is_closed else ">/dev/full"
    done = subprocess.run(
        ["sh", "-c", f'exec "$0" "$@" {target}', BINARY, *arguments.split()], env=environment, capture_output=True, timeout=60
    )
    assert done.returncode != 0 and b"annot write" in done.stderr, done.stderr


def test_a_test_email_that_cannot_be_sent_says_what_to_check(tmp_path: Path) -> None:
    smtp = {"EMAIL_BACKEND": "smtp", "EMAIL_HOST": "127.0.0.1", "EMAIL_PORT": "1", "EMAIL_TIMEOUT": "5"}
    done = command(tmp_path / "db.sqlite3", "send-test-email", "a@example.com", **smtp)
    assert done.returncode == 1 and "check EMAIL_HOST and EMAIL_PORT" in done.stderr
