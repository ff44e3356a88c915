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
# How many mails a second each of them may send while one is killed.
RATE = 50
# A worker that is gone has its mails for six seconds, another one looks for them every five, and this is what may come on top.
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
    """Which of the contenders' passwords the user has."""
    # Django's `check_password` would spend half a second on each that is wrong, as the hash is a cheap one.
    hasher = PBKDF2PasswordHasher()
    return [number for number in range(CONTENDERS) if hasher.verify(password(number), user.password)]


def contend(services: list[Service], link: Link) -> list[Reply]:
    """Returns the replies to many clients that use the link at the same time, half of them at each service, with different passwords."""
    start = Barrier(CONTENDERS)

    def use(number: int) -> Reply:
        start.wait()
        return services[number % 2].set_password(link, password(number), password(number))

    with ThreadPoolExecutor(max_workers=CONTENDERS) as pool:
        return list(pool.map(use, range(CONTENDERS)))


def test_a_link_is_used_once_by_either_service(database: Path, tmp_path: Path) -> None:
    users = add_users(LINKS)
    # Long enough for all to have found the link valid before the first is done.
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
    """A request by a user, and the id that its 202 has; none if there was no reply."""

    user: User
    request: str | None

    @property
    def message_id(self) -> str:
        return f"<{self.request}.{self.user.pk}@localhost>"


def ask(service: Service, user: User) -> Asked:
    # A killed service sends no reply.
    with suppress(OSError, http.client.HTTPException):
        reply = service.request_reset(email=user.email)
        assert reply.status == 202
        return Asked(user, reply.request_id)
    return Asked(user, None)


def ask_in_turn(pool: ThreadPoolExecutor, services: list[Service], users: list[User]) -> Iterator[Asked]:
    """Each user's request, every other one at either service, as they are answered."""
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
        # Counted as soon as they are recorded.
        wait_until(lambda: sum(map(sent_by, services)) >= REQUESTS, "all mails to be counted")
        sent = [sent_by(service) for service in services]
        arrived = Counter(mail.message_id for mail in sink.arrivals)
    assert arrived == Counter(each.message_id for each in asked)
    assert len(arrived) == REQUESTS
    assert sum(sent) == REQUESTS and min(sent) > 0, sent
    assert audited(database, "mailed") == REQUESTS


def mailed(database: Path) -> set[str]:
    """The `Message-ID` of each mail that is recorded as sent."""
    with connected(database) as connection:
        rows = connection.execute("SELECT request_id, user_id FROM password_reset_audit WHERE event = 'mailed'")
        return {f"<{request}.{user}@localhost>" for request, user in rows}


@pytest.mark.slow
def test_a_service_sends_the_emails_of_one_that_was_killed(database: Path, tmp_path: Path) -> None:
    users = add_users(REQUESTS)
    # With a limit the mails wait in the hands of either service while requests still come.
    with (
        sinking(tmp_path) as sink,
        two_serving(database, tmp_path, **settings(sink, EMAIL_RATE_LIMIT=f"{RATE}/s")) as services,
        ThreadPoolExecutor(max_workers=CLIENTS) as pool,
    ):
        replies = ask_in_turn(pool, services, users)
        asked = [next(replies) for _ in range(REQUESTS // 2)]
        services[1].kill()
        recorded = mailed(database)
        assert len(recorded) < len(asked), "the mails went out too soon"
        asked += replies
        accepted = {each.message_id for each in asked if each.request}
        # At the limit, the survivor alone takes a while for all of them.
        alone = len(accepted) / RATE
        wait_until(lambda: pending(database) == 0, "the survivor to send all mails", seconds=LONGEST_TAKEOVER + alone)
        arrived = Counter(mail.message_id for mail in sink.arrivals)
    twice = {identifier for identifier, count in arrived.items() if count > 1}
    print(f"{len(recorded)} sent before the kill, {len(accepted)} accepted in all, {len(twice)} mails came twice")
    assert accepted - set(arrived) == set(), "accepted, and no mail came"
    assert twice & recorded == set(), "sent again, although it was recorded that it had been sent"
