"""Emails go to a program like sendmail: without a shell, and never as options."""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from email import message_from_bytes, policy
from pathlib import Path

import pytest
from django.contrib.auth.models import User

from django_site import add_user, add_users
from outbox import audited, dead_letters, failures, insert_reset_emails, outbox, pending
from paths import LIB
from processes import wait_until
from service import Service, command, run_command

SCRIPT = LIB / "sendmail_program.py"


@dataclass(frozen=True)
class Call:
    arguments: list[str]
    text: str
    status: int


@dataclass(frozen=True)
class Program:
    """`sendmail_program.py` with its folder."""

    folder: Path

    def command(self, arguments: str = "-i -f {sender} -- {recipient}") -> str:
        return f"{sys.executable} {SCRIPT} {self.folder} {arguments}"

    def settings(self, **others: str) -> dict[str, str]:
        return {
            "EMAIL_BACKEND": "sendmail",
            "EMAIL_SENDMAIL_COMMAND": self.command(),
            "DEFAULT_FROM_EMAIL": "Example <noreply@example.com>",
        } | others

    def will_end_with(self, *statuses: int) -> None:
        (self.folder / "statuses").write_text("\n".join(map(str, statuses)))

    @property
    def calls(self) -> list[Call]:
        file = self.folder / "calls"
        return [Call(**json.loads(line)) for line in file.read_text().splitlines()] if file.exists() else []


@pytest.fixture
def program(tmp_path: Path) -> Program:
    (tmp_path / "sendmail").mkdir()
    return Program(tmp_path / "sendmail")


@pytest.fixture
def user(database: Path) -> User:
    return add_user("alice", "alice@example.com")


def test_the_program_gets_the_email(
    user: User, program: Program, database: Path, serve: Callable[..., Service]
) -> None:
    assert serve(**program.settings()).request_reset(email=user.email).status == 202
    wait_until(lambda: program.calls, "the program to be run")
    wait_until(lambda: outbox(database) == [], "the outbox to be empty")
    (call,) = program.calls
    assert call.arguments == ["-i", "-f", "noreply@example.com", "--", "alice@example.com"]
    # Such a program expects the line ends of the system.
    assert "\r" not in call.text
    message = message_from_bytes(call.text.encode("latin-1"), policy=policy.strict)
    assert (message["From"], message["To"]) == ("Example <noreply@example.com>", user.email)
    assert audited(database, "mailed") == 1


@pytest.mark.parametrize("status", [75, 1, 69, 70, 71, 77, 78, 127])
def test_an_email_is_retried_after(
    status: int, user: User, program: Program, database: Path, serve: Callable[..., Service]
) -> None:
    program.will_end_with(status, 0)
    assert serve(**program.settings()).request_reset(email=user.email).status == 202
    wait_until(lambda: len(program.calls) == 2, "the program to be run again")
    wait_until(lambda: outbox(database) == [], "the outbox to be empty")
    first, second = program.calls
    assert (first.status, second.status) == (status, 0)
    assert identifier(first) == identifier(second)


@pytest.mark.parametrize("status", [65, 67, 68])
def test_an_email_becomes_a_dead_letter_after(
    status: int, user: User, program: Program, database: Path, serve: Callable[..., Service]
) -> None:
    program.will_end_with(status)
    assert serve(**program.settings()).request_reset(email=user.email).status == 202
    wait_until(lambda: dead_letters(database), "the job to be dead-lettered")
    assert len(program.calls) == 1
    assert audited(database, "mail_failed") == 1
    assert str(status) in failures(database)[0] and user.email not in failures(database)[0]


@pytest.mark.parametrize("address", ["-oQ/tmp@example.com", "--help@example.com", "-f@example.com"])
def test_an_address_is_never_an_option(
    address: str, program: Program, database: Path, serve: Callable[..., Service]
) -> None:
    add_user("alice", address)
    assert serve(**program.settings()).request_reset(username="alice").status == 202
    wait_until(lambda: pending(database) == 0, "the outbox to be empty")
    assert [call.arguments[-2:] for call in program.calls] == [["--", address]]


@pytest.mark.parametrize(
    "address", ["$(id)@example.com", "`id`@example.com", "{sender}@example.com", "*@example.com", "$HOME@example.com"]
)
def test_no_shell_interprets_an_address(
    address: str, program: Program, database: Path, serve: Callable[..., Service]
) -> None:
    add_user("alice", address)
    assert serve(**program.settings()).request_reset(username="alice").status == 202
    wait_until(lambda: pending(database) == 0, "the outbox to be empty")
    # A value that is not exactly one address reaches no program.
    assert [call.arguments[-2:] for call in program.calls] in ([], [["--", address]])


def test_no_shell_interprets_the_command(
    user: User, program: Program, database: Path, tmp_path: Path, serve: Callable[..., Service]
) -> None:
    trap = tmp_path / "trap"
    arguments = f"-i {{recipient}} ; touch {trap} && $HOME `id` > {trap}"
    settings = program.settings(EMAIL_SENDMAIL_COMMAND=program.command(arguments))
    assert serve(**settings).request_reset(email=user.email).status == 202
    wait_until(lambda: program.calls, "the program to be run")
    (call,) = program.calls
    assert call.arguments == arguments.replace("{recipient}", user.email).split(" ")
    assert not trap.exists()


def test_a_missing_program_loses_no_email(
    user: User, database: Path, tmp_path: Path, serve: Callable[..., Service]
) -> None:
    program = tmp_path / "program"
    program.symlink_to("/bin/true")
    service = serve(EMAIL_BACKEND="sendmail", EMAIL_SENDMAIL_COMMAND=f"{program} -i {{recipient}}")
    program.unlink()
    assert service.request_reset(email=user.email).status == 202
    wait_until(lambda: failures(database), "the outbox to record the failure")
    assert dead_letters(database) == []
    assert "EMAIL_SENDMAIL_COMMAND" in failures(database)[0]


def test_a_program_that_hangs_is_killed(user: User, database: Path, serve: Callable[..., Service]) -> None:
    hanging = {"EMAIL_BACKEND": "sendmail", "EMAIL_SENDMAIL_COMMAND": "/bin/sleep 1000", "EMAIL_TIMEOUT": "1"}
    service = serve(**hanging)
    assert service.request_reset(email=user.email).status == 202
    wait_until(lambda: children(service), "the program to be run")
    (child,) = children(service)
    wait_until(lambda: child not in children(service), "the program to be ended")
    wait_until(lambda: failures(database), "the outbox to record the failure")
    assert dead_letters(database) == []
    assert "EMAIL_TIMEOUT" in failures(database)[0]


def test_a_program_may_exit_without_reading(database: Path, serve: Callable[..., Service]) -> None:
    run_command(database, "migrate")
    insert_reset_emails(database, [user.pk for user in add_users(100)])
    service = serve(EMAIL_BACKEND="sendmail", EMAIL_SENDMAIL_COMMAND="/bin/true")
    wait_until(lambda: outbox(database) == [], "the outbox to be empty")
    assert service.process.poll() is None
    assert audited(database, "mailed") == 100


def children(service: Service) -> list[str]:
    """Returns the processes that the service has started."""
    tasks = Path(f"/proc/{service.process.pid}/task").iterdir()
    return [child for task in tasks for child in (task / "children").read_text().split()]


def test_a_test_email_goes_to_the_program(program: Program, database: Path) -> None:
    done = command(database, "send-test-email", "you@example.com", **program.settings())
    assert (done.returncode, [call.arguments[-1] for call in program.calls]) == (0, ["you@example.com"])
    program.will_end_with(69)
    done = command(database, "send-test-email", "you@example.com", **program.settings())
    assert done.returncode == 1
    assert "EMAIL_SENDMAIL_COMMAND" in done.stderr


def identifier(call: Call) -> str:
    return message_from_bytes(call.text.encode("latin-1"), policy=policy.strict)["Message-ID"]
