"""A database that cannot be written: the start is refused as `check` says, and a service that runs is not ready."""

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from http import HTTPStatus
from pathlib import Path

import pytest

import service as service_module
from metrics import ask_admin, scrape
from processes import wait_until
from service import Service, command, serving

WITHOUT_PRIVILEGES = "--bounding-set=-dac_override,-dac_read_search,-linux_immutable"


@pytest.fixture(autouse=True)
def modes_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes file modes apply to the service as to an ordinary user, even if root runs the tests."""
    if os.geteuid() == 0:
        program = tmp_path / "unprivileged"
        program.write_text(f'#!/bin/sh\nexec setpriv {WITHOUT_PRIVILEGES} "{service_module.BINARY}" "$@"\n')
        program.chmod(0o700)
        monkeypatch.setattr(service_module, "BINARY", str(program))


@pytest.fixture
def site(database: Path, tmp_path: Path) -> Iterator[Path]:
    """Creates the database in its own folder, as a crash of the service leaves it: with a log and its index."""
    folder = tmp_path / "site"
    folder.mkdir()
    site = Path(shutil.copy(database, folder / "db.sqlite3"))
    site.chmod(0o600)
    with serving(site, tmp_path) as service:
        assert service.request_reset(email="a@example.com").status == HTTPStatus.ACCEPTED
        service.kill()
    yield site
    folder.chmod(0o700)


@contextmanager
def mode(path: Path, changed: int) -> Iterator[None]:
    before = path.stat().st_mode
    path.chmod(changed)
    yield
    path.chmod(before)


@contextmanager
def read_only_file(site: Path) -> Iterator[None]:
    with mode(site, 0o400):
        yield


@contextmanager
def read_only_log(site: Path) -> Iterator[None]:
    with mode(Path(f"{site}-wal"), 0o400):
        yield


@contextmanager
def read_only_index_of_the_log(site: Path) -> Iterator[None]:
    with mode(Path(f"{site}-shm"), 0o400):
        yield


@contextmanager
def immutable_file(site: Path) -> Iterator[None]:
    """Makes the file immutable for every user, regardless of its mode, as on a read-only disk."""
    if os.geteuid() != 0 or subprocess.run(["chattr", "+i", str(site)], capture_output=True).returncode:
        pytest.skip("no file can be made immutable here")
    try:
        yield
    finally:
        subprocess.run(["chattr", "-i", str(site)], check=True)


@contextmanager
def read_only_folder_without_a_log(site: Path) -> Iterator[None]:
    with closing(sqlite3.connect(site)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    # The last connection is closed, so the file contains everything.
    assert not Path(f"{site}-wal").exists()
    with mode(site.parent, 0o500):
        yield


@contextmanager
def read_only_folder_of_a_database_without_wal(site: Path) -> Iterator[None]:
    with closing(sqlite3.connect(site)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
    with mode(site.parent, 0o500):
        yield
    # The next start turns WAL on.


@contextmanager
def folder_in_the_way_of_the_log(site: Path) -> Iterator[None]:
    with closing(sqlite3.connect(site)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
    Path(f"{site}-wal").mkdir()
    yield
    Path(f"{site}-wal").rmdir()


# Each makes a database read-only within its block.
Spoil = Callable[[Path], AbstractContextManager[None]]
WHILE_IT_RUNS: list[Spoil] = [read_only_file, read_only_log, read_only_index_of_the_log, immutable_file]


IN_THE_FOLDER: dict[Spoil, str] = {
    read_only_folder_without_a_log: "site: Permission denied",
    read_only_folder_of_a_database_without_wal: "site: Permission denied",
    folder_in_the_way_of_the_log: "db.sqlite3-wal is in the way",
}


@pytest.mark.parametrize("spoil", IN_THE_FOLDER, ids=lambda spoil: spoil.__name__)
def test_the_message_names_what_is_in_the_way(spoil: Spoil, site: Path) -> None:
    with spoil(site):
        for done in (command(site, "check"), command(site, "serve")):
            assert done.returncode == 78 and IN_THE_FOLDER[spoil] in done.stdout + done.stderr, done.stdout + done.stderr


@pytest.mark.parametrize("spoil", [*WHILE_IT_RUNS, *IN_THE_FOLDER], ids=lambda spoil: spoil.__name__)
def test_a_start_is_refused_with_the_message_of_the_check(spoil: Spoil, site: Path) -> None:
    with spoil(site):
        before = {path.name: path.read_bytes() for path in site.parent.iterdir() if path.suffix != ".sqlite3-shm" and path.is_file()}
        done = command(site, "check")
        assert (done.returncode, "E011" in done.stdout, "cannot be written" in done.stdout) == (78, True, True), done.stdout
        done = command(site, "serve")
        assert (done.returncode, "cannot be written" in done.stderr) == (78, True), done.stderr
        after = {path.name: path.read_bytes() for path in site.parent.iterdir() if path.suffix != ".sqlite3-shm" and path.is_file()}
        assert after == before
    # The database has no other fault.
    assert command(site, "check").returncode == 0


def ready(service: Service) -> list[int]:
    """Returns what each listener reports, and the metric."""
    public = service._call("GET", "/health/ready").status
    return [public, ask_admin(service, "/health/ready").status, int(scrape(service).value("password_reset_database_up"))]


@pytest.mark.parametrize("spoil", WHILE_IT_RUNS, ids=lambda spoil: spoil.__name__)
def test_a_service_is_not_ready_while_its_database_is_read_only(spoil: Spoil, site: Path, tmp_path: Path) -> None:
    with serving(site, tmp_path) as service:
        assert ready(service) == [200, 200, 1]
        with spoil(site):
            assert ready(service) == [503, 503, 0]
            assert ask_admin(service, "/health/live").status == HTTPStatus.OK
            wait_until(lambda: "cannot be written" in service.log.read_text(), "the fault in the log")
        assert ready(service) == [200, 200, 1]


def test_the_readiness_check_of_a_writable_database_writes_nothing(database: Path, tmp_path: Path) -> None:
    with serving(database, tmp_path) as service:
        assert ready(service) == [200, 200, 1]
        files = [database, Path(f"{database}-wal")]
        before = [(path.stat().st_size, path.stat().st_mtime_ns) for path in files]
        for _ in range(20):
            assert ready(service) == [200, 200, 1]
        assert [(path.stat().st_size, path.stat().st_mtime_ns) for path in files] == before
