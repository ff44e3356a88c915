"""Operators list, retry and delete what is in the outbox."""

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from django_site import add_user, add_users
from mail_server import MailServer
from mail_sink import sinking
from outbox import connected, dead_letters, insert_reset_emails, pending
from processes import free_port, settled, wait_until
from service import Service, command, run_command, serving

DAY = 86_400_000

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(database: Path) -> Run:
    """Runs `outbox` on three rows: the first waits for ten minutes after ten attempts, the others are dead letters, of today and 40 days old."""
    run_command(database, "migrate")
    add_user("user3", "user3@example.com")
    add_user("user1", "user1@example.com")
    now = int(time.time() * 1000)
    rows = [(1, now, now + DAY // 144, None, None), (2, now, now, "RCPT failed: 550", now)]
    rows += [(3, now - 40 * DAY, now - 40 * DAY, "\x1b[31mred", now - 40 * DAY)]
    with connected(database) as connection:
        connection.executemany(
            "INSERT INTO password_reset_outbox (id, kind, identifier, locale, request_id, created_at, due_at, last_error, dead_lettered_at, attempts)"
            " VALUES (?1, 'request_email', 'user' || ?1 || '@example.com', 'de', 'r' || ?1, ?2, ?3, ?4, ?5, 10)",
            rows,
        )
    return lambda *arguments: command(database, "outbox", *arguments)


def ids(database: Path) -> list[int]:
    with connected(database) as connection:
        return [number for (number,) in connection.execute("SELECT id FROM password_reset_outbox ORDER BY id")]


def test_the_list_shows_waiting_jobs_and_dead_letters(run: Run) -> None:
    done = run("list")
    assert done.returncode == 0 and "\x1b" not in done.stdout
    for words in ("request_email user1@example.com", "RCPT failed: 550", "\n1 waiting, 2 "):
        assert words in done.stdout
    rows = [json.loads(line) for line in run("list", "--dead", "--json").stdout.splitlines()]
    assert [row["id"] for row in rows] == [2, 3] and len({row["state"] for row in rows}) == 1


def test_a_row_is_shown(run: Run) -> None:
    shown = " ".join(run("show", "2").stdout.split())
    assert "identifier user2@example.com" in shown and "language de" in shown and "RCPT failed: 550" in shown
    assert run("show", "99").returncode == 1


@pytest.mark.parametrize("arguments", [["retry"], ["purge"]], ids=" ".join)
def test_a_command_must_say_which_rows(arguments: list[str], run: Run) -> None:
    assert run(*arguments).returncode == 64


@pytest.mark.parametrize(
    ("arguments", "is_found", "waiting"),
    [(["3"], True, 2), (["3", "99"], True, 2), (["99"], False, 1), (["--dead"], True, 3), (["--waiting"], True, 1), (["--dead", "--waiting"], True, 3)],
    ids=str,
)
def test_dead_letters_are_retried(arguments: list[str], is_found: bool, waiting: int, run: Run, database: Path) -> None:
    done = run("retry", *arguments)
    assert done.returncode == (0 if is_found else 1)
    assert ("1 not found" in done.stdout) == (arguments == ["3", "99"])
    assert (pending(database), len(dead_letters(database))) == (waiting, 3 - waiting)


def test_a_retried_job_is_sent_regardless_of_its_age(
    run: Run, serve_with_mail: Callable[..., Service], mail_server: MailServer
) -> None:
    assert run("retry", "3").returncode == 0
    serve_with_mail()
    mail_server.wait_for(1)
    assert [mail.message["To"] for mail in mail_server.deliveries] == ["user3@example.com"]


def test_all_that_wait_are_sent_as_soon_as_the_operator_asks(
    run: Run, database: Path, serve_with_mail: Callable[..., Service], mail_server: MailServer
) -> None:
    """The job would otherwise wait for ten minutes."""
    serve_with_mail()
    assert run("retry", "--waiting").stdout == "Retrying 1 job.\n"
    mail_server.wait_for(1)
    assert run("retry", "--waiting").stdout == "Retrying 0 jobs.\n"


def test_a_retry_does_not_wait_for_the_next_probe_of_the_mail_server(database: Path, tmp_path: Path) -> None:
    """After some failed probes, the service waits for up to a minute and a half before the next one."""
    run_command(database, "migrate")
    insert_reset_emails(database, [user.pk for user in add_users(8)])
    smtp = {"EMAIL_BACKEND": "smtp", "EMAIL_HOST": "localhost", "EMAIL_PORT": str(free_port()), "EMAIL_CONNECTIONS": "2"}
    with serving(database, tmp_path, **smtp) as service:
        settled(lambda: service.log.read_text().count("will be retried"), "a long wait before the next probe", quiet=8)
        with sinking(tmp_path, int(smtp["EMAIL_PORT"])) as sink:
            assert command(database, "outbox", "retry", "--waiting").returncode == 0
            wait_until(lambda: pending(database) == 0, "the outbox to be empty", seconds=10)
            assert len(sink.arrivals) == 8


@pytest.mark.parametrize(
    ("arguments", "left"),
    [(["1"], [2, 3]), (["99"], [1, 2, 3]), (["--older-than", "30"], [1, 2]), (["--older-than", "0"], [1])],
    ids=str,
)
def test_rows_are_deleted_by_number_or_age(arguments: list[str], left: list[int], run: Run, database: Path) -> None:
    done = run("purge", *arguments)
    assert done.returncode == (1 if len(left) == 3 else 0)
    assert len(left) == 3 or done.stdout == f"Deleted {3 - len(left)}.\n"
    assert ids(database) == left


def test_a_missing_database_is_not_created(tmp_path: Path) -> None:
    assert command(tmp_path / "none.sqlite3", "outbox", "list").returncode == 78
    assert list(tmp_path.iterdir()) == []
