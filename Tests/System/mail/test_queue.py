"""A long queue is sent when the mail server is back: completely, and no faster than the rate limit."""

import socket
from pathlib import Path

import pytest

from django_site import add_users
from mail_sink import sinking
from outbox import failures, insert_reset_emails, pending
from processes import wait_until
from service import run_command, serving


@pytest.fixture
def port() -> int:
    """Returns a port on which no server listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def settings(port: int, **others: str) -> dict[str, str]:
    return {"EMAIL_BACKEND": "smtp", "EMAIL_HOST": "localhost", "EMAIL_PORT": str(port)} | others


@pytest.mark.slow
def test_ten_thousand_emails_survive_an_outage(port: int, database: Path, tmp_path: Path) -> None:
    run_command(database, "migrate")
    expected = insert_reset_emails(database, [user.pk for user in add_users(10_000)])
    with serving(database, tmp_path, **settings(port, EMAIL_CONNECTIONS="3")):
        wait_until(lambda: failures(database), "the outbox to record that the server is away")
        with sinking(tmp_path, port) as sink:
            wait_until(lambda: pending(database) == 0, "the outbox to be empty", seconds=120)
            arrivals = sink.arrivals
    assert sorted(mail.message_id for mail in arrivals) == sorted(f"<{key}.{user}@localhost>" for key, user in expected.items())
    assert max(mail.connections for mail in arrivals) <= 3


@pytest.mark.slow
@pytest.mark.parametrize("connections", [1, 4])
def test_emails_are_spaced_by_the_limit(connections: int, database: Path, tmp_path: Path) -> None:
    run_command(database, "migrate")
    expected = insert_reset_emails(database, [user.pk for user in add_users(150)])
    limit = {"EMAIL_RATE_LIMIT": "50/s", "EMAIL_CONNECTIONS": str(connections)}
    with sinking(tmp_path) as sink, serving(database, tmp_path, **settings(sink.port, **limit)):
        wait_until(lambda: pending(database) == 0, "the outbox to be empty")
        times = [mail.at for mail in sink.arrivals]
    assert len(times) == len(expected)
    # The emails in progress may be delayed and then arrive together; add one, because each end has its own clock.
    slack = connections + 1
    for first, start in enumerate(times):
        for last, end in enumerate(times[first:], first):
            assert last - first <= 50 * (end - start) + slack, f"{last - first + 1} emails within {end - start:.3f} s"


def test_a_rate_limit_delays_neither_the_shutdown_nor_the_next_start(database: Path, tmp_path: Path) -> None:
    run_command(database, "migrate")
    insert_reset_emails(database, [user.pk for user in add_users(10)])
    with sinking(tmp_path) as sink:
        # `serving` fails if the service does not end in time.
        with serving(database, tmp_path, **settings(sink.port, EMAIL_RATE_LIMIT="1/h")):
            wait_until(lambda: pending(database) == 9, "one email to be sent")
        assert len(sink.arrivals) == 1
        # A waiting email becomes free at once, not when its lease expires.
        with serving(database, tmp_path, **settings(sink.port)):
            wait_until(lambda: pending(database) == 0, "the outbox to be empty")
        assert len({mail.message_id for mail in sink.arrivals}) == len(sink.arrivals) == 10
