"""The database file is removed or replaced while the service runs: the service answers nothing from a file that no
longer has that name.
"""

import json
import os
import re
import shutil
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from http import HTTPStatus
from pathlib import Path

import pytest

from django_site import add_user, link_for
from mail_server import MailServer
from metrics import ask_admin, scrape
from outbox import audited, connected, pending
from processes import wait_until
from raw_http import Connection
from service import Link, Service, run_command, serving

SUFFIXES = ("", "-wal", "-shm")
CHEAP = {"PASSWORD_HASHER_OPTIONS": "iterations=10"}
CLIENTS = 16


def copy_of(database: Path) -> Path:
    """Returns a consistent copy next to the database, like that of a restore."""
    copy = database.with_name("restored.sqlite3")
    with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
    return copy


def remove(database: Path) -> None:
    for suffix in SUFFIXES:
        Path(f"{database}{suffix}").unlink()


def remove_alone(database: Path) -> None:
    database.unlink()


def create_again(database: Path) -> None:
    copy = copy_of(database)
    remove(database)
    shutil.copy(copy, database)


def rename_over(database: Path) -> None:
    copy_of(database).replace(database)


def rename_over_without_a_log(database: Path) -> None:
    copy_of(database).replace(database)
    for suffix in ("-wal", "-shm"):
        Path(f"{database}{suffix}").unlink()


def remove_the_log(database: Path) -> None:
    Path(f"{database}-wal").unlink()


def remove_the_index_of_the_log(database: Path) -> None:
    Path(f"{database}-shm").unlink()


def truncate(database: Path) -> None:
    os.truncate(database, 0)


def replace_the_folder(database: Path) -> None:
    """Replaces the folder with one that has a complete database."""
    folder, copy = database.parent, copy_of(database)
    folder.rename(folder.with_name("before"))
    folder.mkdir()
    shutil.copy(folder.with_name("before") / copy.name, database)


Happen = Callable[[Path], None]
HAPPENINGS: list[Happen] = [
    remove, remove_alone, create_again, rename_over, rename_over_without_a_log, remove_the_log, remove_the_index_of_the_log, truncate,
    replace_the_folder,
]


@pytest.fixture
def site(database: Path, tmp_path: Path) -> Path:
    """Creates the database in its own folder, apart from the log of the service."""
    folder = tmp_path / "site"
    folder.mkdir()
    return Path(shutil.copy(database, folder / "db.sqlite3"))


def at_once(service: Service, request: bytes, method: str) -> list[int]:
    """Returns the statuses of enough simultaneous requests to use all of the service's database connections."""
    barrier = threading.Barrier(CLIENTS)
    statuses: list[int] = []

    def ask() -> None:
        with Connection(service.port) as client:
            barrier.wait()
            client.send(request)
            statuses.extend(client.listen(30, methods=[method]).statuses)

    threads = [threading.Thread(target=ask) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return statuses


def check_of(link: Link) -> bytes:
    return f"GET /password-reset/{link.uid}/{link.token} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()


def request_for(address: str) -> bytes:
    body = json.dumps({"email": address})
    head = "POST /password-reset HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()


def reports(service: Service) -> list[dict[str, str]]:
    """Returns the lines of the log that report the replaced file."""
    # The last line may be incomplete.
    lines = service.log.read_text().rpartition("\n")[0].splitlines()
    entries = [json.loads(line) for line in lines if line.startswith("{")]
    return [entry for entry in entries if entry["message"] == "The database cannot be used any more"]


@pytest.mark.parametrize("happen", HAPPENINGS, ids=lambda happen: happen.__name__)
def test_no_request_is_answered_from_a_replaced_file(happen: Happen, database: Path, site: Path, tmp_path: Path) -> None:
    link = link_for(add_user("alice", "alice@example.com"))
    shutil.copy(database, site)
    with serving(site, tmp_path, **CHEAP) as service:
        assert at_once(service, check_of(link), "GET") == [HTTPStatus.OK] * CLIENTS
        assert service.request_reset(email="alice@example.com").status == HTTPStatus.ACCEPTED
        happen(site)
        there = site.exists()
        refused = [HTTPStatus.SERVICE_UNAVAILABLE] * CLIENTS
        assert at_once(service, check_of(link), "GET") == refused
        assert at_once(service, request_for("alice@example.com"), "POST") == refused
        assert service.set_password(link, "battery-staple-92-new", "battery-staple-92-new").status == HTTPStatus.SERVICE_UNAVAILABLE
        assert [ask_admin(service, f"/health/{name}").status for name in ("live", "ready")] == [200, 503]
        assert service._call("GET", "/health/ready").status == HTTPStatus.SERVICE_UNAVAILABLE
        assert scrape(service).value("password_reset_database_up") == 0
        (report,) = wait_until(lambda: reports(service), "the report in the log")
        assert report["level"] == "error"
        assert str(site) in report["reason"] and "replaced or removed" in report["reason"]
        # The service must not create a file there.
        assert site.exists() == there


def test_a_refusal_does_not_say_why(site: Path, tmp_path: Path) -> None:
    """The reason has the path of the file. It belongs in the log, not in a response to a stranger."""
    with serving(site, tmp_path, **CHEAP) as service:
        remove(site)
        refused = service.request_reset(email="alice@example.com")
        assert refused.body == {
            "type": "urn:password-reset:problem:unavailable",
            "title": "Service unavailable",
            "status": 503,
            "code": "unavailable",
            "detail": "The service is temporarily unavailable. Please try again in a few seconds.",
            "request_id": refused.request_id,
        }
        lines = rf'.*"Request refused".*{refused.request_id}.*\n'
        (line,) = wait_until(lambda: re.findall(lines, service.log.read_text()), "the reason in the log")
        assert str(site) in json.loads(line)["reason"]


def test_a_link_to_another_database_counts_as_replaced(database: Path, site: Path, tmp_path: Path) -> None:
    """A symbolic link to the current release may change like this; no open file has changed then."""
    name = tmp_path / "current.sqlite3"
    name.symlink_to(site)
    with serving(name, tmp_path) as service:
        assert service.request_reset(email="a@example.com").status == HTTPStatus.ACCEPTED
        name.unlink()
        name.symlink_to(database)
        assert service.request_reset(email="a@example.com").status == HTTPStatus.SERVICE_UNAVAILABLE
        assert ask_admin(service, "/health/ready").status == HTTPStatus.SERVICE_UNAVAILABLE
    assert audited(site, "requested") == 1


def test_a_refused_request_is_not_in_the_file_that_was_moved_away(site: Path, tmp_path: Path) -> None:
    away = site.parent / "away"
    with serving(site, tmp_path) as service:
        assert service.request_reset(email="a@example.com").status == HTTPStatus.ACCEPTED
        for suffix in SUFFIXES:
            Path(f"{site}{suffix}").rename(f"{away}{suffix}")
        for _ in range(3):
            assert service.request_reset(email="a@example.com").status == HTTPStatus.SERVICE_UNAVAILABLE
        # The service does not trust a file that comes back: another program may have used it under the other name.
        for suffix in SUFFIXES:
            Path(f"{away}{suffix}").rename(f"{site}{suffix}")
        assert service.request_reset(email="a@example.com").status == HTTPStatus.SERVICE_UNAVAILABLE
    assert audited(site, "requested") == 1
    with serving(site, tmp_path) as service:
        assert service.request_reset(email="a@example.com").status == HTTPStatus.ACCEPTED
    assert audited(site, "requested") == 2


def test_the_worker_sends_nothing_from_a_replaced_file(
    database: Path, mail_server: MailServer, serve_with_mail: Callable[..., Service]
) -> None:
    """It sends nothing from the new one either: the job in it is for the process that opens it next."""
    add_user("alice", "alice@example.com")
    service = serve_with_mail()
    rename_over(database)
    run_command(database, "outbox", "list")
    with connected(database) as connection:
        (user,) = connection.execute("SELECT id FROM auth_user").fetchone()
        connection.execute(
            "INSERT INTO password_reset_outbox (kind, user_id, request_id, created_at, due_at)"
            " VALUES ('reset_email', ?, 'r', unixepoch() * 1000, unixepoch() * 1000)",
            [user],
        )
    assert service.request_reset(email="alice@example.com").status == HTTPStatus.SERVICE_UNAVAILABLE
    wait_until(lambda: "Cannot claim jobs" in service.log.read_text(), "the worker to fail to claim jobs")
    assert pending(database) == 1
    assert mail_server.deliveries == []


def test_changes_by_other_programs_do_not_count_as_replaced(site: Path, tmp_path: Path) -> None:
    with serving(site, tmp_path) as service:
        assert service.request_reset(email="a@example.com").status == HTTPStatus.ACCEPTED
        with closing(sqlite3.connect(site, isolation_level=None)) as other:
            other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            assert Path(f"{site}-wal").stat().st_size == 0
            assert ask_admin(service, "/health/ready").status == HTTPStatus.OK
            other.execute("VACUUM")
            other.execute("CREATE TABLE notes AS SELECT randomblob(1000000) AS note")
        run_command(site, "users", "list")
        os.link(site, site.with_name("another_name"))
        os.utime(site)
        assert service.request_reset(email="a@example.com").status == HTTPStatus.ACCEPTED
        assert ask_admin(service, "/health/ready").status == HTTPStatus.OK
    assert reports(service) == []
    assert audited(site, "requested") == 2
