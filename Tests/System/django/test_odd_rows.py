"""Rows that another program wrote: the service treats each as Django does, and no value crashes anything."""

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import django
import pytest
from django.contrib.auth.forms import PasswordResetForm
from django.contrib.auth.models import User
from django.contrib.auth.tokens import default_token_generator
from django.utils.http import urlsafe_base64_decode

from django_site import add_user, link_for
from mail_server import MailServer, receiving
from outbox import connected, dead_letters, pending
from processes import wait_until
from service import Link, Service, command, serving

QUICK = {"PASSWORD_HASHER_OPTIONS": "iterations=10"}
SECRET = "pbkdf2_sha256$1$salt$a-secret-hash"
LAST_LOGINS = [
    "'2024-05-01 12:34'", "'2024-05-01'", "'2024-05-01T12:34:56'", "'2024-05-01 12:34:56+02:00'", "'2024-05-01 12:34:56.5 -0330'",
    "'2024-5-1 1:2'", "'2024-5-1'", "'20240501'", "20240501", "1714566896", "17.5", "'20240501T123456Z'", "'2024-05-01x12:34'",
    "'2024-05-01 123456'", "'2024-05-01 12:34.5'", "'2024-05-01 12:34:56 '", "'2024-05-01 12:34:56.1234567891234'", "'2024-02-30'",
    "'2024-05-01 12:34:56+00:99'", "'2024-05-01 12:34:56+02:00:30'", "'2024-05-01 12:34:56+05:'", "'2024-05-01 12'", "'2024-05-01T12Z'",
    "''", "'never'", "'infinity'", "x'323032342d30352d3031'", "x''", "x'00'", "NULL", "9223372036854775807",
]  # fmt: skip
FLAGS = ["0", "1", "2", "-1", "'true'", "'1'", "1.0", "1.5", "x'31'", "''"]
# Django fails when it reads one of these.
UNREADABLE = [
    "last_login = '2024-02-30 10:00'", "last_login = '0000-00-00 00:00:00'", "last_login = '2024-05-01 12:34:60'", "last_login = x'c3'",
    "last_login = '2024-05-01 12:34:56+24:00'", "last_login = '2024-05-01 24:00'", "password = cast(x'c3' AS text)",
]  # fmt: skip


@pytest.fixture(scope="module")
def mail_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MailServer]:
    with receiving(tmp_path_factory.mktemp("mail")) as server:
        yield server


@pytest.fixture(scope="module")
def service(module_database: Path, mail_server: MailServer) -> Iterator[Service]:
    smtp = {"EMAIL_BACKEND": "smtp", "EMAIL_HOST": "localhost", "EMAIL_PORT": str(mail_server.port)}
    with serving(module_database, module_database.parent, **smtp, **QUICK) as service:
        yield service


def change(database: Path, username: str, assignment: str) -> None:
    with connected(database) as connection:
        connection.execute(f"UPDATE auth_user SET {assignment} WHERE username = ?", [username])


@pytest.mark.parametrize(
    ("column", "values"), [("last_login", LAST_LOGINS), ("is_active", FLAGS)], ids=["last_login", "is_active"]
)
def test_the_same_users_get_the_same_token_as_in_django(
    column: str, values: list[str], module_database: Path, service: Service, mail_server: MailServer
) -> None:
    before = len(mail_server.deliveries)
    expected: dict[int, str] = {}
    for number, value in enumerate(values):
        name = f"{column}{number}"
        user = add_user(name, f"{name}@example.com")
        change(module_database, name, f"{column} = {value}")
        expected |= {found.pk: value for found in PasswordResetForm().get_users(user.email)}
        assert service.request_reset(email=user.email).status == 202
    if column == "is_active" and django.VERSION < (6,):
        # Django 5.2 takes every number other than 0 for true in SQL. The service does as later releases do.
        with connected(module_database) as connection:
            active = {pk for (pk,) in connection.execute("SELECT id FROM auth_user WHERE is_active = 1")}
        expected = {pk: value for pk, value in expected.items() if pk in active}
    assert len(expected) >= 3 and (column == "last_login") == (len(expected) == len(values))
    wait_until(lambda: pending(module_database) == 0, "the outbox to be empty")
    links = [mail.link for mail in mail_server.deliveries[before:]]
    assert {int(urlsafe_base64_decode(link.uid)) for link in links} == set(expected)
    new = "battery-staple-92-new"
    for link in links:
        user = User.objects.get(pk=int(urlsafe_base64_decode(link.uid)))
        assert default_token_generator.check_token(user, link.token), expected[user.pk]
        assert service.check_link(link_for(user)).body["validlink"] is True, expected[user.pk]
        assert service.set_password(link, new, new).status == 200, expected[user.pk]
        assert User.objects.get(pk=user.pk).check_password(new)


def test_a_row_that_django_cannot_read_is_reported_and_becomes_a_dead_letter(module_database: Path, service: Service) -> None:
    """The audit must not say that there is no such account."""
    users: dict[int, str] = {}
    for number, assignment in enumerate(UNREADABLE):
        name = f"unreadable{number}"
        users[add_user(name, f"{name}@example.com").pk] = name
        change(module_database, name, assignment)
        with pytest.raises(Exception):  # noqa: B017, PT011
            list(PasswordResetForm().get_users(f"{name}@example.com"))
        assert service.request_reset(email=f"{name}@example.com").status == 202
    wait_until(lambda: pending(module_database) == 0, "the outbox to be empty")
    reasons = [row.last_error or "" for row in dead_letters(module_database)]
    assert sorted(reasons) == sorted(f"the row of user {pk} is damaged; fix it, then retry this job" for pk in users)
    with connected(module_database) as connection:
        events = connection.execute("SELECT event, user_id FROM password_reset_audit WHERE event IN ('no_account', 'mail_failed')")
        assert {("mail_failed", str(pk)) for pk in users} <= set(events.fetchall())
    done = command(module_database, "users", "list")
    assert done.returncode == 1 and all(f"The row of user {pk} is damaged" in done.stderr for pk in users)
    shown = command(module_database, "users", "show", users[min(users)])
    assert shown.returncode == 1 and f"The row of user {min(users)} is damaged" in shown.stderr
    findings = json.loads(command(module_database, "check", "--json").stdout)
    assert any(finding["id"] == "password_reset.W022" and f"{len(users)} rows" in finding["message"] for finding in findings)
    # After the row is fixed, the dead letter can be retried.
    change(module_database, users[min(users)], "last_login = NULL")
    assert command(module_database, "users", "show", users[min(users)]).returncode == 0


ODD_VALUES = [
    "x'00ff'", "x''", "x'c3'", "cast(x'c328' AS text)", "''", "char(0)", "'a' || char(0) || 'b'", "17.5", "1e300", "-1e308 * 10", "0", "-1",
    "9223372036854775807", "-9223372036854775808", "'%s%n{}\"'", "char(0x202e, 27, 10)", "zeroblob(100000)", "printf('%.100000c', 'a')",
    "'2024-02-30 10:00'",
]  # fmt: skip
COLUMNS = [
    "id", "username", "email", "first_name", "last_name", "password", "last_login", "is_active", "is_staff", "is_superuser", "date_joined",
]  # fmt: skip
# Commands on all users, and on one user.
COMMANDS = [
    ["check"], ["users", "list"], ["users", "list", "--json"], ["users", "list", "--search", "a"], ["users", "export"],
    ["users", "export", "--format", "jsonl"], ["users", "export", "--format", "dumpdata"], ["outbox", "list"], ["audit"],
]  # fmt: skip


def add_odd_users(database: Path) -> None:
    """Adds a user for each odd value in each column, as far as the table's constraints allow it."""
    add_user("template", "template@example.com", password=SECRET)
    with connected(database) as connection:
        number = 1000
        for column in COLUMNS:
            for value in ODD_VALUES:
                number += 1
                row: dict[str, Any] = {name: name for name in COLUMNS}
                row |= {"id": number, "username": f"'odd{number}'", "email": f"'odd{number}@example.com'", column: value}
                try:
                    connection.execute(
                        f"INSERT INTO auth_user ({', '.join(row)}) SELECT {', '.join(map(str, row.values()))} FROM auth_user WHERE username = 'template'"
                    )
                except sqlite3.Error:
                    continue
        (count,) = connection.execute("SELECT count(*) FROM auth_user").fetchone()
        assert count > 150


def checked(database: Path, arguments: list[str], stdin: str = "") -> None:
    done = command(database, *arguments, stdin=stdin, **QUICK)
    assert done.returncode in (0, 1, 64, 67), (arguments, done.returncode, done.stderr[-2000:])
    assert "a-secret-hash" not in done.stderr and "@example.com" not in done.stderr, (arguments, done.stderr)


def test_no_value_in_any_row_crashes_a_command(database: Path) -> None:
    add_odd_users(database)
    command(database, "migrate")
    for arguments in COMMANDS:
        checked(database, arguments)
    with connected(database) as connection:
        connection.text_factory = bytes
        ids = [number for (number,) in connection.execute("SELECT id FROM auth_user ORDER BY random() LIMIT 30")]
    for number in ids:
        checked(database, ["users", "show", f"{number}"])
    for subcommand in (["link"], ["deactivate"], ["activate"], ["set-password", "--password-stdin"], ["check-password", "--password-stdin"]):
        for number in ids[:5]:
            name, *options = subcommand
            checked(database, ["users", name, *options, "--", f"{number}"], stdin="battery-staple-92-new")


def test_no_value_in_any_row_stops_the_service(database: Path, tmp_path: Path) -> None:
    add_odd_users(database)
    with serving(database, tmp_path, **QUICK) as service:
        with connected(database) as connection:
            connection.text_factory = lambda data: data.decode(errors="replace")
            rows = connection.execute("SELECT id, username, email FROM auth_user").fetchall()
        for number, username, email in rows:
            for member, value in (("username", username), ("email", email)):
                if isinstance(value, str) and len(value) < 300:
                    assert service.request_reset(**{member: value}).status in (202, 400), (member, value)
            link = link_for(User(pk=number, password=SECRET))
            assert service.check_link(link).status == 200
            assert service.set_password(Link(link.uid, link.token), "battery-staple-92-new", "battery-staple-92-new").status in (200, 400)
        wait_until(lambda: pending(database) == 0, "the outbox to be empty")
        assert service.request_reset(email="alice@example.com").status == 202


# Values that the STRICT tables of the service accept.
ODD_JOBS = [
    {"kind": "''"}, {"kind": "char(0)"}, {"kind": "cast(x'c3' AS text)"}, {"identifier": "char(0)"}, {"identifier": "NULL"},
    {"identifier": "printf('%.100000c', 'a')"}, {"identifier": "cast(x'c328' AS text)"}, {"kind": "'reset_email'", "user_id": "'no key'"},
    {"kind": "'reset_email'", "user_id": "'-9223372036854775808'"}, {"kind": "'reset_email'", "user_id": "''"},
    {"kind": "'changed_notice'", "user_id": "'1'", "identifier": "'no address'"}, {"locale": "'../../etc'"}, {"locale": "char(0)"},
    {"request_id": "''"}, {"request_id": "char(13, 10)"}, {"created_at": "-(1 << 53) + 1"}, {"created_at": "(1 << 53) - 1"},
    {"due_at": "-(1 << 53) + 1"}, {"attempts": "1 << 31"}, {"retried_at": "-(1 << 53) + 1"}, {"retried_at": "(1 << 53) - 1"},
    {"owner": "''"}, {"last_error": "cast(x'c3' AS text)"}, {"id": "-9223372036854775808"}, {"id": "9223372036854775806"},
]  # fmt: skip


def test_no_job_in_the_outbox_stops_the_service_or_crashes_a_command(database: Path, tmp_path: Path) -> None:
    command(database, "migrate")
    add_user("alice", "alice@example.com", password=SECRET)
    now = int(time.time() * 1000)
    with connected(database) as connection:
        for job in ODD_JOBS:
            row = {"kind": "'request_email'", "identifier": "'alice@example.com'", "request_id": "'r'", "created_at": now, "due_at": now} | job
            connection.execute(f"INSERT INTO password_reset_outbox ({', '.join(row)}) VALUES ({', '.join(map(str, row.values()))})")
        for value in ("-9223372036854775808", "9223372036854775807"):
            connection.execute(f"INSERT INTO password_reset_audit (at, event, user_id, request_id) VALUES ({value}, char(0), '', '')")
            connection.execute(f"INSERT INTO password_reset_mail_window VALUES ('{value}', '', '', {value})")
    for arguments in (["outbox", "list"], ["outbox", "list", "--json"], ["audit"], ["audit", "--json"], ["check"]):
        assert command(database, *arguments).returncode in (0, 78), arguments
    with serving(database, tmp_path, **QUICK) as service:
        wait_until(lambda: pending(database) == 0, "each job to be done or a dead letter")
        assert service.request_reset(email="alice@example.com").status == 202
    with closing(sqlite3.connect(database)) as connection:
        for (number,) in connection.execute("SELECT id FROM password_reset_outbox"):
            assert command(database, "outbox", "show", "--", f"{number}").returncode == 0
    assert command(database, "outbox", "retry", "--dead", "--waiting").returncode == 0
    assert command(database, "outbox", "purge", "--older-than", "0").returncode == 0
