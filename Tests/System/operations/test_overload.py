"""Five times as many new passwords arrive as may wait for hashing: some are set, and the refused clients can try again."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from django_site import add_user, add_users, link_for
from metrics import scrape
from processes import wait_until
from raw_http import Connection, Response, is_alive
from raw_requests import CHEAP, all_at_once, assert_is_refused, new_password
from service import Link, Service, serving

# One is hashed and 32 more wait, as docs/configuration.md says.
CAPACITY = 33
USERS = 5 * CAPACITY
# Each takes some hundredths of a second.
SLOW = {"PASSWORD_HASHER_CONCURRENCY": "1", "PASSWORD_HASHER_OPTIONS": "iterations=50000"}


def is_hashing(service: Service) -> bool:
    return scrape(service).value("password_reset_hashing_running") > 0


def overload(service: Service, links: list[Link], meanwhile: Callable[[], None]) -> list[Response]:
    """Sets a new password with every link at once. Returns the responses; calls `meanwhile` at the first refusal."""
    with ExitStack() as stack:
        clients = [stack.enter_context(Connection(service.port)) for _ in links]
        for client, link in zip(clients, links, strict=True):
            client.send(new_password(link))
        wait_until(lambda: scrape(service).value("password_reset_hashing_refused_total") > 0, "a refusal")
        meanwhile()
        return [response for client in clients for response in client.listen(60, responses=1).responses]


def test_no_link_is_lost_when_hashing_is_overloaded(database: Path, tmp_path: Path) -> None:
    bystander = link_for(add_user("alice", "alice@example.com"))
    links = [link_for(user) for user in add_users(USERS)]
    with serving(database, tmp_path, **SLOW) as service:

        def ask_for_other_things() -> None:
            assert is_alive(service.port)
            assert service.check_link(bystander).body["validlink"] is True
            assert service.request_reset(email="alice@example.com").status == 202
            assert is_hashing(service), "the overload was over too soon"

        responses = overload(service, links, ask_for_other_things)
    assert len(responses) == USERS
    refused = [link for link, response in zip(links, responses, strict=True) if response.status == 503]
    assert_is_refused([response for response in responses if response.status != 200])
    print(f"{USERS - len(refused)} set, {len(refused)} refused")
    # A password that was set during the overload made room for another.
    assert CAPACITY <= USERS - len(refused) < USERS / 2

    (tmp_path / "later").mkdir()
    with serving(database, tmp_path / "later", **CHEAP) as service:
        for start in range(0, len(refused), CAPACITY):
            again = all_at_once(service, [[new_password(link)] for link in refused[start : start + CAPACITY]])
            assert {response.status for response in again} == {200}
