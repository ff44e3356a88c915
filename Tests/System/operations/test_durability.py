"""Acknowledged changes are on disk: the service syncs the database log before it responds, and responds with 503 if the
sync fails.
"""

import re
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from django.contrib.auth import authenticate
from django.contrib.auth.models import User

from django_site import add_user, add_users, link_for
from metrics import ask_admin
from outbox import connected
from paths import LIB
from processes import wait_until
from raw_http import Connection, Response
from raw_requests import CHEAP, NEW, all_at_once, assert_is_refused, new_password, post
from service import Service, serving

SOURCE = LIB / "order.c"
CONNECTIONS = 32
REQUESTS_EACH = 10
# The number of requests over each connection before, during and after a fault.
EACH_TIME = 5
# A sync takes so long that many requests arrive during it, and a response that does not wait for it comes far too
# early.
SLOW_DISK = {"ORDER_SYNC_MILLISECONDS": "20"}
ID = 32


@dataclass(frozen=True)
class Page:
    """A page that was written to the log."""

    place: int
    completes_transaction: bool
    # Its texts of at least 32 hexadecimal digits: IDs, alone or with adjacent digits.
    runs: list[str]


@dataclass(frozen=True)
class Sync:
    """A sync of the log that succeeded."""

    begin: int
    end: int


@dataclass(frozen=True)
class Notes:
    """The records of `order.c`, in the order of the events."""

    pages: list[Page]
    syncs: list[Sync]
    # The place of the first response to each request.
    replies: dict[tuple[int, str], int]

    @property
    def first_pages(self) -> dict[str, int]:
        """Returns, for each text of the length of an ID, the place of the first page that contained it."""
        found: dict[str, int] = {}
        seen: set[str] = set()
        for page in self.pages:
            # The next page repeats most of a page.
            for run in set(page.runs) - seen:
                seen.add(run)
                for start in range(len(run) - ID + 1):
                    found.setdefault(run[start : start + ID], page.place)
        return found


def parse(text: str) -> Notes:
    notes = Notes([], [], {})
    # Threads write their lines in any order.
    lines = [line.split(" ") for line in text.splitlines()]
    for place, kind, *facts in sorted(lines, key=lambda line: int(line[0])):
        match kind:
            case "page":
                notes.pages.append(Page(int(place), facts[0] == "1", facts[1].split(",")[:-1]))
            case "sync":
                notes.syncs.append(Sync(int(facts[0]), int(place)))
            case "reply":
                notes.replies.setdefault((int(facts[0]), facts[1]), int(place))
            case _:
                raise AssertionError(f"no note: {kind}")
    return notes


def complaints(notes: Notes, promised: dict[str, int]) -> list[str]:
    """Returns the violations for the `promised` statuses by request ID: each request must be on disk before its
    response.
    """
    first_pages = notes.first_pages
    commits = [page.place for page in notes.pages if page.completes_transaction]
    found = []
    for request, status in promised.items():
        reply = notes.replies.get((status, request))
        if reply is None:
            found.append(f"{request}: the reply was not seen")
            continue
        written = first_pages.get(request)
        commit = next((place for place in commits if written is not None and place >= written), None)
        # A sync that began before the last page was written may not cover that page.
        synced = next((sync.end for sync in notes.syncs if commit is not None and sync.begin > commit), None)
        places = {"written": written, "committed": commit, "synced": synced}
        late = [what for what, place in places.items() if place is None or place > reply]
        if late:
            found.append(f"{request}: not {late[0]} before the reply, {places} against {reply}")
    return found


@dataclass(frozen=True)
class Disk:
    """The library that records the service's calls to the kernel, and makes the disk fail."""

    library: Path
    folder: Path

    @property
    def settings(self) -> dict[str, str]:
        return {
            "LD_PRELOAD": str(self.library),
            "ORDER_LOG": str(self._notes),
            "ORDER_SYNC_FAILS": str(self._trigger("sync")),
            "ORDER_WRITE_FAILS": str(self._trigger("write")),
        }

    @property
    def notes(self) -> Notes:
        return parse(self._notes.read_text())

    @property
    def _notes(self) -> Path:
        return self.folder / "order"

    def _trigger(self, fault: str) -> Path:
        return self.folder / f"{fault}-fails"

    def fail(self, fault: str) -> None:
        self._trigger(fault).touch()

    def heal(self, fault: str) -> None:
        self._trigger(fault).unlink()


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc")
    assert compiler, "there is no C compiler; install Debian's package build-essential"
    path = tmp_path_factory.mktemp("order") / "order.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror", "-o", path, SOURCE], check=True)
    return path


@pytest.fixture
def disk(library: Path, tmp_path: Path) -> Disk:
    return Disk(library, tmp_path)


def reset_request(number: int) -> bytes:
    return post("/password-reset", {"email": f"user{number}@example.com"})


def promises(responses: list[Response], status: int) -> dict[str, int]:
    """Returns the IDs of the requests that got this status."""
    found = [response.headers["X-Request-Id"] for response in responses if response.status == status]
    assert len(set(found)) == len(found) and all(re.fullmatch("[0-9a-f]{32}", request) for request in found)
    return dict.fromkeys(found, status)


def send_many(service: Service) -> list[Response]:
    """Sends hundreds of requests over 32 connections."""
    numbers = range(CONNECTIONS)
    return all_at_once(service, [[reset_request(number)] * REQUESTS_EACH for number in numbers])


@pytest.mark.parametrize("slow", [{}, SLOW_DISK], ids=["fast", "slow"])
def test_a_request_is_on_disk_before_its_202(slow: dict[str, str], disk: Disk, serve: Callable[..., Service]) -> None:
    add_users(CONNECTIONS // 2)
    service = serve(**disk.settings, **slow)
    single = [response for number in range(5) for response in all_at_once(service, [[reset_request(number)]])]
    promised = promises(single + send_many(service), 202)
    assert len(promised) == len(single) + CONNECTIONS * REQUESTS_EACH
    assert complaints(disk.notes, promised) == []


def test_one_sync_serves_many_requests(disk: Disk, serve: Callable[..., Service]) -> None:
    service = serve(**disk.settings, **SLOW_DISK)
    before = len(disk.notes.syncs)
    promised = promises(send_many(service), 202)
    syncs = len(disk.notes.syncs) - before
    print(f"{len(promised)} requests and {syncs} syncs")
    assert len(promised) == CONNECTIONS * REQUESTS_EACH
    # Some of these syncs are for the worker, which handles the requests meanwhile.
    assert 0 < syncs < len(promised) / 2


@pytest.mark.parametrize("slow", [{}, SLOW_DISK], ids=["fast", "slow"])
def test_a_new_password_is_on_disk_before_its_200(slow: dict[str, str], disk: Disk, serve: Callable[..., Service]) -> None:
    links = [link_for(user) for user in add_users(CONNECTIONS + 5)]
    service = serve(**disk.settings, **slow, **CHEAP)
    responses = [response for link in links[:5] for response in all_at_once(service, [[new_password(link)]])]
    responses += all_at_once(service, [[new_password(link)] for link in links[5:]])
    promised = promises(responses, 200)
    assert len(promised) == len(links)
    assert complaints(disk.notes, promised) == []


def test_a_disk_that_lies_is_detected(disk: Disk, serve: Callable[..., Service]) -> None:
    """This shows that these tests would notice a service that does not sync."""
    service = serve(**disk.settings, ORDER_SKIP_SYNC="1")
    promised = promises(all_at_once(service, [[reset_request(number)] for number in range(3)]), 202)
    notes = disk.notes
    assert (len(promised), notes.syncs) == (3, [])
    assert [complaint.split(": ")[1].split(",")[0] for complaint in complaints(notes, promised)] == ["not synced before the reply"] * 3


A_REQUEST = "0123456789abcdef" * 2
ANOTHER = "f" * 32
# Notes, and the beginning of the complaint about them.
MADE_UP = {
    "in order": ("1 page 0 {id},|2 page 1 |4 sync 3|5 reply 202 {id}", None),
    "in order, next to another text": ("1 page 1 abc{id}d,|3 sync 2|4 reply 202 {id}", None),
    "in order, written again": ("1 page 1 {id},|3 sync 2|4 reply 202 {id}|5 page 1 {id},|7 sync 6", None),
    "in order, noted by another thread first": ("4 reply 202 {id}|3 sync 2|1 page 1 {id},", None),
    "a sync after the reply": ("1 page 1 {id},|3 reply 202 {id}|4 sync 2", "not synced"),
    "no sync": ("1 page 1 {id},|2 reply 202 {id}", "not synced"),
    "a sync before the page": ("2 sync 1|3 page 1 {id},|4 reply 202 {id}", "not synced"),
    "a sync that began before the page": ("2 page 1 {id},|3 sync 1|4 reply 202 {id}", "not synced"),
    "a sync in the middle of the transaction": ("1 page 0 {id},|3 sync 2|4 page 1 |5 reply 202 {id}", "not synced"),
    "a reply in the middle of the transaction": ("1 page 0 {id},|2 reply 202 {id}|3 page 1 |5 sync 4", "not committed"),
    "a transaction that does not end": ("1 page 0 {id},|3 sync 2|4 reply 202 {id}", "not committed"),
    "a page after the reply": ("1 reply 202 {id}|2 page 1 {id},|4 sync 3", "not written"),
    "another request's page": ("1 page 1 {another},|3 sync 2|4 reply 202 {id}", "not written"),
    "another status": ("1 page 1 {id},|3 sync 2|4 reply 503 {id}", "the reply was not seen"),
    "another request's reply": ("1 page 1 {id},|3 sync 2|4 reply 202 {another}", "the reply was not seen"),
}


@pytest.mark.parametrize("what", MADE_UP)
def test_a_response_before_its_sync_causes_a_complaint(what: str) -> None:
    text, complaint = MADE_UP[what]
    notes = parse(text.replace("|", "\n").format(id=A_REQUEST, another=ANOTHER))
    found = complaints(notes, {A_REQUEST: 202})
    assert len(found) == (complaint is not None)
    assert complaint is None or found[0].startswith(f"{A_REQUEST}: {complaint}")


@pytest.fixture
def no_mail_server() -> Iterator[dict[str, str]]:
    """Settings with which every email stays in the outbox: the port is bound, but no server listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield {"EMAIL_BACKEND": "smtp", "EMAIL_HOST": "localhost", "EMAIL_PORT": str(taken.getsockname()[1])}


def recorded(database: Path, table: str) -> set[str]:
    """Returns the request IDs in a table."""
    with connected(database) as connection:
        return {request for (request,) in connection.execute(f"SELECT request_id FROM {table}")}


FAULTS = {"sync": "the disk cannot sync", "write": "the disk is full"}


@pytest.fixture(params=FAULTS, ids=FAULTS.values())
def fault(request: pytest.FixtureRequest) -> str:
    return request.param


def test_accepted_requests_around_a_fault_survive_a_crash(
    fault: str, disk: Disk, database: Path, tmp_path: Path, no_mail_server: dict[str, str]
) -> None:
    add_users(CONNECTIONS)
    once = [[reset_request(number)] for number in range(CONNECTIONS)]
    with serving(database, tmp_path, **disk.settings, **no_mail_server) as service:
        before = promises(all_at_once(service, once), 202)
        disk.fail(fault)
        refused = all_at_once(service, once * 2)
        assert_is_refused(refused)
        disk.heal(fault)
        # The worker may still be in a write that met the fault, which fails the requests that wait for it.
        wait_until(lambda: ask_admin(service, "/health/ready").status == 200, "the service to be ready again")
        after = promises(all_at_once(service, once), 202)
        assert complaints(disk.notes, before | after) == []
        service.kill()
    # Read the log as another process would.
    assert recorded(database, "password_reset_audit") == set(before | after)
    assert recorded(database, "password_reset_outbox") == set(before | after)
    (tmp_path / "second").mkdir()
    with serving(database, tmp_path / "second", **no_mail_server) as service:
        again = promises(all_at_once(service, once), 202)
        assert recorded(database, "password_reset_outbox") == set(before | after | again)
    assert len(before) == len(after) == len(again) == CONNECTIONS


def test_a_fault_during_requests_loses_no_accepted_request(
    fault: str, disk: Disk, database: Path, tmp_path: Path, no_mail_server: dict[str, str]
) -> None:
    add_users(CONNECTIONS)
    # With a slow disk, a batch is in progress at any time.
    with serving(database, tmp_path, **disk.settings, **no_mail_server, **SLOW_DISK) as service, ExitStack() as stack:
        clients = [stack.enter_context(Connection(service.port)) for _ in range(CONNECTIONS)]
        send_some(clients)
        wait_until(lambda: replies(clients).count(202) >= CONNECTIONS, "some requests to be accepted")
        disk.fail(fault)
        send_some(clients)
        wait_until(lambda: 503 in replies(clients), "some requests to be refused")
        disk.heal(fault)
        send_some(clients)
        talks = [client.listen(30, responses=3 * EACH_TIME, methods=["POST"] * 3 * EACH_TIME) for client in clients]
        responses = [response for talk in talks for response in talk.responses]
        assert len(responses) == CONNECTIONS * 3 * EACH_TIME
        accepted = promises(responses, 202)
        assert_is_refused([response for response in responses if response.status != 202])
        assert complaints(disk.notes, accepted) == []
        service.kill()
    print(f"{len(accepted)} of {len(responses)} accepted")
    assert recorded(database, "password_reset_outbox") >= set(accepted)


def send_some(clients: list[Connection]) -> None:
    for number, client in enumerate(clients):
        client.send(reset_request(number) * EACH_TIME)


def replies(clients: list[Connection]) -> list[int]:
    """Returns the statuses received so far."""
    return [status for client in clients for status in client.listen(0, methods=["POST"] * 3 * EACH_TIME).statuses]


@pytest.mark.parametrize("end", ["killed", "stopped"])
@pytest.mark.parametrize("lasting", [True, False], ids=["under the fault", "after the fault"])
def test_a_refused_request_is_not_carried_out_at_shutdown(
    lasting: bool, end: str, fault: str, disk: Disk, database: Path, tmp_path: Path, no_mail_server: dict[str, str]
) -> None:
    """docs/errors.md promises this, although the log may contain all pages of a transaction whose sync failed."""
    link = link_for(add_user("alice", "alice@example.com"))
    with serving(database, tmp_path, **disk.settings, **no_mail_server, **CHEAP) as service:
        disk.fail(fault)
        assert_is_refused(all_at_once(service, [[new_password(link)]]))
        if not lasting:
            disk.heal(fault)
        if end == "killed":
            service.kill()
    assert recorded(database, "password_reset_audit") == set()
    (tmp_path / "second").mkdir()
    with serving(database, tmp_path / "second", **no_mail_server, **CHEAP) as service:
        assert service.check_link(link).body["validlink"] is True
        assert len(promises(all_at_once(service, [[new_password(link)]]), 200)) == 1


def test_a_link_survives_a_fault(fault: str, disk: Disk, serve: Callable[..., Service]) -> None:
    link = link_for(add_user("alice", "alice@example.com"))
    service = serve(**disk.settings, **CHEAP)
    disk.fail(fault)
    assert_is_refused(all_at_once(service, [[new_password(link)]]))
    assert service.check_link(link).body["validlink"] is True
    assert authenticate(username="alice", password=NEW) is None
    disk.heal(fault)
    promised = promises(all_at_once(service, [[new_password(link)]]), 200)
    assert len(promised) == 1
    assert complaints(disk.notes, promised) == []
    assert authenticate(username="alice", password=NEW) == User.objects.get()


def test_a_service_is_not_ready_while_its_disk_fails(fault: str, disk: Disk, serve: Callable[..., Service], no_mail_server: dict[str, str]) -> None:
    service = serve(**disk.settings, **no_mail_server)
    assert ask_admin(service, "/health/ready").status == 200
    disk.fail(fault)
    assert_is_refused(all_at_once(service, [[reset_request(0)]]))
    # Each check writes while the disk fails.
    assert [ask_admin(service, "/health/ready").status for _ in range(3)] == [503] * 3
    assert ask_admin(service, "/health/live").status == 200
    disk.heal(fault)
    assert ask_admin(service, "/health/ready").status == 200
    assert len(promises(all_at_once(service, [[reset_request(0)]]), 202)) == 1
