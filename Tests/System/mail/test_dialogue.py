"""A mail server may fail anywhere in the dialogue: each email arrives once when the server works again, unless the server refused it."""

import shutil
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from django_site import add_user, on_database
from outbox import audited, dead_letters, failures, pending
from processes import wait_until
from scripted_server import Fault, Replies, scripted, settings
from service import serving

USERS = 3
# Where the server fails: at its greeting, at a command, or after the text.
POINTS = ["greeting", "EHLO", "MAIL", "RCPT", "DATA", "."]
TEMPORARY: list[str | Fault] = [Fault.CUT, Fault.SILENCE, "421 closing", "451 later"]
PERMANENT = ["550 no", "552 no space"]


@dataclass(frozen=True)
class Case:
    point: str
    fault: str | Fault

    def __str__(self) -> str:
        return f"{self.point} {self.fault if isinstance(self.fault, str) else self.fault.value}"

    @property
    def replies(self) -> Replies:
        # A client whose EHLO is refused tries HELO.
        return {self.point: self.fault} | ({"HELO": self.fault} if self.point == "EHLO" else {})

    @property
    def refuses_one_email(self) -> bool:
        # A refusal of MAIL concerns the sender, and so every email, unless this email is too large.
        common = ("greeting", "EHLO", "MAIL") if self.fault == PERMANENT[0] else ("greeting", "EHLO")
        return self.fault in PERMANENT and self.point not in common

    @property
    def is_ambiguous(self) -> bool:
        """Returns whether the client cannot know that the server accepted the email."""
        return self.point == "." and isinstance(self.fault, Fault)


CASES = [
    *(Case(point, fault) for point in POINTS for fault in TEMPORARY),
    *(Case(point, "550 no") for point in POINTS),
    *(Case(point, "552 no space") for point in POINTS[2:]),
]


@dataclass(frozen=True)
class Outcome:
    # The ID of each request that was answered with 202.
    accepted: list[str]
    # The Message-ID of each email that the server accepted, over all connections.
    taken: list[str]
    # The first word of each command.
    heard: list[str]
    dead_letters: int
    mail_failed: int

    @property
    def mails(self) -> Counter[str]:
        """Returns how many emails arrived per request."""
        return Counter(identifier.strip("<").split(".")[0] for identifier in self.taken)


def play(case: Case, database: Path) -> Outcome:
    """Requests some emails while the server fails, cures the server, and waits until no job is pending."""
    with scripted(case.replies, times=1 if case.refuses_one_email else None) as server:
        with serving(database, database.parent, **settings(server, EMAIL_TIMEOUT="1")) as service:
            replies = [service.request_reset(email=f"user{number}@example.com") for number in range(USERS)]
            assert [reply.status for reply in replies] == [202] * USERS
            wait_until(lambda: failures(database), "the outbox to record the failure")
            server.cure()
            wait_until(lambda: pending(database) == 0, "the outbox to be empty")
        accepted = [reply.request_id for reply in replies]
        return Outcome(accepted, server.taken, server.heard, len(dead_letters(database)), audited(database, "mail_failed"))


@pytest.fixture(scope="module")
def outcomes(migrated_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[Case, Future[Outcome]]]:
    """Returns the outcome of every case. The cases run in parallel, because each mostly waits."""
    folder = tmp_path_factory.mktemp("dialogue")
    shutil.copy(migrated_file, folder / "users.sqlite3")
    with on_database(folder / "users.sqlite3"):
        for number in range(USERS):
            add_user(f"user{number}", f"user{number}@example.com")
    with ThreadPoolExecutor(max_workers=6) as pool:

        def start(number: int, case: Case) -> Future[Outcome]:
            database = folder / str(number) / "db.sqlite3"
            database.parent.mkdir()
            shutil.copy(folder / "users.sqlite3", database)
            return pool.submit(play, case, database)

        yield {case: start(number, case) for number, case in enumerate(CASES)}


@pytest.mark.slow
@pytest.mark.parametrize("case", [case for case in CASES if not case.refuses_one_email], ids=str)
def test_no_email_is_lost_when_the_server_answers(case: Case, outcomes: dict[Case, Future[Outcome]]) -> None:
    outcome = outcomes[case].result()
    assert (outcome.dead_letters, outcome.mail_failed) == (0, 0)
    assert set(outcome.mails) == set(outcome.accepted)
    if case.is_ambiguous:
        # An email may arrive more than once if the server's reply was lost, but always with the same Message-ID.
        assert len(set(outcome.taken)) == USERS
    else:
        assert set(outcome.mails.values()) == {1}


@pytest.mark.slow
@pytest.mark.parametrize("case", [case for case in CASES if case.refuses_one_email], ids=str)
def test_only_one_email_becomes_a_dead_letter_when_the_server_answers(case: Case, outcomes: dict[Case, Future[Outcome]]) -> None:
    outcome = outcomes[case].result()
    assert (outcome.dead_letters, outcome.mail_failed) == (1, 1)
    assert outcome.heard.count("MAIL") == USERS, "the refused email was tried again"
    assert len(outcome.mails) == USERS - 1
    assert set(outcome.mails) < set(outcome.accepted)
    assert set(outcome.mails.values()) == {1}
