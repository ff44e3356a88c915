"""Two services work on one database: each link is used once, and each email is sent once."""

import http.client
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Barrier

import pytest
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.contrib.auth.models import User

from django_site import add_users, link_for
from mail_sink import Sink, sinking
from metrics import scrape
from outbox import audited, connected, pending
from processes import wait_until
from service import Link, Reply, Service, serving

LINKS = 10
CONTENDERS = 12
REQUESTS = 200
CLIENTS = 16
# How many emails per second each of them may send while one is killed.
RATE = 50
# The leases of a killed worker last six seconds, another one polls every five, and the rest is a margin.
LONGEST_TAKEOVER = 6 + 5 + 4


@contextmanager
def two_serving(database: Path, folder: Path, **settings: str) -> Iterator[list[Service]]:
    folders = [folder / "first", folder / "second"]
    for each in folders:
        each.mkdir()
    with serving(database, folders[0], **settings) as first, serving(database, folders[1], **settings) as second:
        yield [first, second]


def password(number: int) -> str:
    return f"battery-staple-{number}-new"


def passwords_of(user: User) -> list[int]:
    """Returns which of the contenders' passwords the user has."""
    # Django's `check_password` would spend half a second on each wrong one, because the hash is a cheap one.
    hasher = PBKDF2PasswordHasher()
    return [number for number in range(CONTENDERS) if hasher.verify(password(number), user.password)]


def contend(services: list[Service], link: Link) -> list[Reply]:
    """Lets many clients use the link at the same time with different passwords, half of them at each service. Returns
    the responses.
    """
    start = Barrier(CONTENDERS)

    def use(number: int) -> Reply:
        start.wait()
        return services[number % 2].set_password(link, password(number), password(number))

    with ThreadPoolExecutor(max_workers=CONTENDERS) as pool:
        return list(pool.map(use, range(CONTENDERS)))


def test_only_one_service_accepts_a_link(database: Path, tmp_path: Path) -> None:
    users = add_users(LINKS)
    # Hashing takes so long that every client has found the link valid before the first has finished.
    with two_serving(database, tmp_path, PASSWORD_HASHER_OPTIONS="iterations=20000") as services:
        for user in users:
            replies = contend(services, link_for(user))
            winners = [number for number, reply in enumerate(replies) if reply.status == 200]
            assert len(winners) == 1, replies
            losers = [reply for number, reply in enumerate(replies) if number not in winners]
            assert {(reply.status, reply.body["code"]) for reply in losers} == {(400, "invalid_link")}
            assert passwords_of(User.objects.get(pk=user.pk)) == winners
    assert audited(database, "reset") == LINKS


def settings(sink: Sink, **others: str) -> dict[str, str]:
    return {"EMAIL_BACKEND": "smtp", "EMAIL_HOST": "localhost", "EMAIL_PORT": str(sink.port)} | others


@dataclass(frozen=True)
class Asked:
    """A request by a user, and the ID in its 202; None if there was no response."""

    user: User
    request: str | None

    @property
    def message_id(self) -> str:
        return f"<{self.request}.{self.user.pk}@localhost>"


def ask(service: Service, user: User) -> Asked:
    # A killed service sends no response.
    with suppress(OSError, http.client.HTTPException):
        reply = service.request_reset(email=user.email)
        assert reply.status == 202
        return Asked(user, reply.request_id)
    return Asked(user, None)


def ask_in_turn(pool: ThreadPoolExecutor, services: list[Service], users: list[User]) -> Iterator[Asked]:
    """Sends each user's request, alternating between the services. Yields each as it is answered."""
    return pool.map(ask, [services[number % 2] for number in range(len(users))], users)


def sent_by(service: Service) -> float:
    return scrape(service).value("password_reset_emails_total", outcome="sent")


def test_two_services_send_each_email_once(database: Path, tmp_path: Path) -> None:
    users = add_users(REQUESTS)
    with (
        sinking(tmp_path) as sink,
        two_serving(database, tmp_path, **settings(sink)) as services,
        ThreadPoolExecutor(max_workers=CLIENTS) as pool,
    ):
        asked = list(ask_in_turn(pool, services, users))
        wait_until(lambda: pending(database) == 0, "the outbox to be empty")
        # The emails are counted as soon as they are recorded.
        wait_until(lambda: sum(map(sent_by, services)) >= REQUESTS, "all emails to be counted")
        sent = [sent_by(service) for service in services]
        arrived = Counter(mail.message_id for mail in sink.arrivals)
    assert arrived == Counter(each.message_id for each in asked)
    assert len(arrived) == REQUESTS
    assert sum(sent) == REQUESTS and min(sent) > 0, sent
    assert audited(database, "mailed") == REQUESTS


def mailed(database: Path) -> set[str]:
    """Returns the `Message-ID` of each email that is recorded as sent."""
    with connected(database) as connection:
        rows = connection.execute("SELECT request_id, user_id FROM password_reset_audit WHERE event = 'mailed'")
        return {f"<{request}.{user}@localhost>" for request, user in rows}


@pytest.mark.slow
def test_a_service_sends_the_emails_of_one_that_was_killed(database: Path, tmp_path: Path) -> None:
    users = add_users(REQUESTS)
    # With a limit, both services hold leases on waiting emails while requests still arrive.
    with (
        sinking(tmp_path) as sink,
        two_serving(database, tmp_path, **settings(sink, EMAIL_RATE_LIMIT=f"{RATE}/s")) as services,
        ThreadPoolExecutor(max_workers=CLIENTS) as pool,
    ):
        replies = ask_in_turn(pool, services, users)
        asked = [next(replies) for _ in range(REQUESTS // 2)]
        services[1].kill()
        recorded = mailed(database)
        assert len(recorded) < len(asked), "the emails were sent too soon"
        asked += replies
        accepted = {each.message_id for each in asked if each.request}
        # Within the limit, the remaining service alone needs a while for all of them.
        alone = len(accepted) / RATE
        wait_until(lambda: pending(database) == 0, "the remaining service to send all emails", seconds=LONGEST_TAKEOVER + alone)
        arrived = Counter(mail.message_id for mail in sink.arrivals)
    twice = {identifier for identifier, count in arrived.items() if count > 1}
    print(f"{len(recorded)} sent before the kill, {len(accepted)} accepted in all, {len(twice)} emails came twice")
    assert accepted - set(arrived) == set(), "a request was accepted, but its email did not arrive"
    assert twice & recorded == set(), "an email was sent again although it was recorded as sent"
