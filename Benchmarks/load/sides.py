"""The servers of a run, and the requests that each receives."""

import http.client
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from data import Link
from results import BARE, DJANGO, GET, H2O, INVALID, NGINX, PASSWORD, POST, REQUEST, VALID
from servers import Server

NEW_PASSWORD = "a-Fine-pass-77"
NEW_PASSWORDS = {"new_password1": NEW_PASSWORD, "new_password2": NEW_PASSWORD}
# These receive requests of the same shape as the service's, and do nothing.
LIMITS = (NGINX, H2O, BARE)


@dataclass(frozen=True)
class Side:
    """Servers of one kind that share the connections. A request is "METHOD path body"; the functions take a link or an address."""

    name: str
    servers: Sequence[Server]
    check: Callable[[Link], str]
    request: Callable[[str], str] | None = None
    confirm: Callable[[Link], str] | None = None
    # Returns the stored hashes of the users that have a link.
    hashes: Callable[[], list[object]] = list
    # Links that only this side knows.
    links: Sequence[Link] | None = None

    @property
    def ports(self) -> list[int]:
        return [server.port for server in self.servers]

    @property
    def pids(self) -> list[int]:
        return [server.pid for server in self.servers]


def limit(name: str, server: Server) -> Side:
    has_post = name != H2O
    return Side(
        name,
        [server],
        check=lambda link: f"GET /bare/{link.uid}/{link.token}",
        request=(lambda address: f"POST /bare {body(email=address)}") if has_post else None,
    )


def service_side(name: str, servers: Sequence[Server], hashes: Callable[[], list[object]]) -> Side:
    return Side(
        name,
        servers,
        check=lambda link: f"GET /password-reset/{link.uid}/{link.token}",
        request=lambda address: f"POST /password-reset {body(email=address)}",
        confirm=lambda link: f"POST /password-reset/{link.uid}/{link.token} {body(**NEW_PASSWORDS)}",
        hashes=hashes,
    )


def django_side(server: Server, hashes: Callable[[], list[object]]) -> Side:
    return Side(
        DJANGO,
        [server],
        check=lambda link: f"GET /password/reset/{link.uid}/{link.token}/",
        request=lambda address: f"POST /password/reset/ {body(email=address)}",
        confirm=lambda link: f"POST /password/reset/confirm/ {body(**NEW_PASSWORDS, uid=link.uid, token=link.token)}",
        hashes=hashes,
    )


def body(**members: str) -> str:
    return json.dumps(members)


@dataclass(frozen=True)
class Load:
    operation: str
    side: Side
    requests: Sequence[str]


class Loads:
    """The loads of all operations. Each link sets one password; the sides have separate databases."""

    def __init__(self, sides: Sequence[Side], links: Sequence[Link], addresses: Sequence[str], checked: int, links_in_run: int) -> None:
        self._sides, self._links, self._addresses = sides, links, addresses
        self._checked, self._links_in_run = checked, links_in_run
        self._used = checked

    def check_links(self, operation: str) -> list[Load]:
        return [self._check(side, operation) for side in self._sides if operation == VALID or side.name not in LIMITS]

    def _check(self, side: Side, operation: str) -> Load:
        links = list(side.links or self._links)[: self._checked]
        if operation == INVALID:
            # A genuine token of another user takes as much work to check as a valid one.
            links = [Link(link.uid, other.token) for link, other in zip(links, links[1:] + links[:1])]
        return Load(GET if side.name in LIMITS else operation, side, [side.check(link) for link in links])

    def request_resets(self) -> list[Load]:
        return [
            Load(POST if side.name in LIMITS else REQUEST, side, [side.request(address) for address in self._addresses])
            for side in self._sides
            if side.request
        ]

    def set_passwords(self) -> list[Load]:
        """Returns loads with links that were not used before."""
        first, self._used = self._used, self._used + self._links_in_run
        return [
            Load(PASSWORD, side, [side.confirm(link) for link in list(side.links or self._links)[first : self._used]])
            for side in self._sides
            if side.confirm
        ]


def check_responses(loads: Sequence[Load]) -> None:
    """Checks one response per server, because a load of errors would look fast."""
    for load in loads:
        for server in load.side.servers:
            status, reply = send(server, load.requests[0])
            validlink = {VALID: True, INVALID: False}.get(load.operation)
            expected = {REQUEST: 202, POST: 202}.get(load.operation, 200)
            if status not in (expected, 200) or validlink not in (None, reply.get("validlink")):
                raise RuntimeError(f"{load.side.name}, {load.operation}: {status} {reply}")


def send(server: Server, request: str) -> tuple[int, dict[str, object]]:
    method, path, content = (*request.split(" ", 2), "")[:3]
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    try:
        connection.request(method, path, content or None, {"Content-Type": "application/json"} if content else {})
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()
