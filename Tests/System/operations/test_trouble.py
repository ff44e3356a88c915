"""The environment fails: the database is locked or interrupted, the log cannot be written, a folder is missing."""

import shutil
import socket
import sqlite3
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO

import pytest

from django_site import add_user
from processes import wait_until
from raw_http import Connection
from service import BASE_ENVIRONMENT, BINARY, Link, Service, command, run_program

LONGEST_END = 10
SETTINGS = {
    "HTTP_PORT": "0",
    "ADMIN_PORT": "0",
    "SECRET_KEY": "a-key-for-a-service-that-is-in-trouble-0123456789-0123456789",
    "EMAIL_BACKEND": "dummy",
}


@contextmanager
def locked(database: Path) -> Iterator[None]:
    """Another process holds the write lock within the block."""
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield


def test_a_stop_does_not_wait_for_a_locked_database(database: Path, serve: Callable[..., Service]) -> None:
    service = serve()
    with Connection(service.port) as client, locked(database):
        body = b'{"email": "a@example.com"}'
        client.send(b"POST /password-reset HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n")
        client.send(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
        wait_until(lambda: client.is_read, "the service to read the request")
        for _ in range(3):
            assert service.check_link(Link("MQ", "abc-0123")).body["validlink"] is False
        start = time.monotonic()
        service.process.terminate()
        assert service.process.wait(timeout=LONGEST_END + 5) == 0
        assert time.monotonic() - start < LONGEST_END


def test_commands_that_read_do_not_wait_for_a_writer(database: Path) -> None:
    assert command(database, "migrate").returncode == 0
    add_user("alice", "alice@example.com")
    with locked(database):
        for arguments in (["audit"], ["outbox", "list"], ["users", "list"], ["users", "show", "alice"], ["check"]):
            start = time.monotonic()
            done = command(database, *arguments)
            assert done.returncode == 0, done.stderr
            # SQLite would wait for five seconds.
            assert time.monotonic() - start < 4, arguments


def test_a_locked_database_is_a_temporary_failure(database: Path) -> None:
    """A supervisor does not restart after exit status 78."""
    with locked(database):
        done = command(database, "serve")
    assert (done.returncode, "locked" in done.stderr) == (1, True), done.stderr


def test_a_port_in_use_is_a_temporary_failure(database: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for name in ("HTTP_PORT", "ADMIN_PORT"):
            done = command(database, "serve", **{"ADMIN_HOST": "127.0.0.1", name: port})
            assert (done.returncode, name in done.stderr) == (1, True), done.stderr


@pytest.fixture
def cut_off(database: Path, tmp_path: Path) -> Path:
    """Returns a Django database as a power failure leaves it: half a transaction in it, and its rollback journal next
    to it.
    """
    add_user("alice", "alice@example.com")
    copy = tmp_path / "cut_off.sqlite3"
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        assert connection.execute("PRAGMA journal_mode = DELETE").fetchone() == ("delete",)
        # The cache is so small that SQLite writes pages to the file before the commit.
        connection.execute("PRAGMA cache_size = 1")
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("UPDATE auth_user SET username = 'mallory'")
        connection.execute("CREATE TABLE filler (x)")
        connection.executemany("INSERT INTO filler VALUES (?)", [("x" * 3000,)] * 100)
        shutil.copy(database, copy)
        shutil.copy(f"{database}-journal", f"{copy}-journal")
        connection.execute("ROLLBACK")
    return copy


def test_the_start_rolls_back_an_interrupted_transaction(cut_off: Path) -> None:
    done = command(cut_off, "check")
    assert (done.returncode, "W014" in done.stdout) == (0, True), done.stdout
    done = command(cut_off, "migrate")
    assert done.returncode == 0, done.stderr
    done = command(cut_off, "users", "show", "alice")
    assert done.returncode == 0, done.stderr


def test_a_refused_start_creates_no_database(tmp_path: Path) -> None:
    database = tmp_path / "db.sqlite3"
    certificate = {"HTTP_SSL_CERTFILE": "/nowhere/cert.pem", "HTTP_SSL_KEYFILE": "/nowhere/key.pem"}
    for settings in (certificate, {"EMAIL_BACKEND": "file", "EMAIL_FILE_PATH": "/proc/nowhere"}):
        done = command(database, "serve", **settings)
        assert done.returncode == 78, done.stderr
        assert not database.exists()


def test_a_missing_folder_is_an_error() -> None:
    done = run_program(BASE_ENVIRONMENT | SETTINGS | {"DATABASE_URL": "sqlite:/nowhere/db.sqlite3"}, "check")
    assert (done.returncode, "E011" in done.stdout, "W007" in done.stdout) == (78, True, False), done.stdout


@pytest.mark.parametrize("arguments", [["serve"], ["config"], ["backup", "copy.sqlite3"]], ids=" ".join)
def test_a_fault_has_its_exit_status_even_if_stderr_is_full(arguments: list[str], tmp_path: Path) -> None:
    environment = BASE_ENVIRONMENT | SETTINGS | {"EMAIL_BACKEND": "", "DATABASE_URL": "sqlite:none.sqlite3"}
    with open("/dev/full", "wb") as full:
        done = subprocess.run([BINARY, *arguments], env=environment, cwd=tmp_path, stdout=full, stderr=full, timeout=60)
    assert done.returncode == 78


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def test_lines_that_cannot_be_written_are_counted(tmp_path: Path) -> None:
    ports = {"HTTP_PORT": str(free_port()), "ADMIN_PORT": str(free_port())}
    environment = BASE_ENVIRONMENT | SETTINGS | ports | {"DATABASE_URL": "sqlite:db.sqlite3"}
    with open("/dev/full", "wb") as full, listening([BINARY, "serve"], environment, tmp_path, full):

        def lost() -> int:
            with urllib.request.urlopen(f"http://127.0.0.1:{ports['ADMIN_PORT']}/metrics", timeout=10) as response:
                lines = response.read().decode().splitlines()
            return next(int(line.split()[1]) for line in lines if line.startswith("password_reset_log_lines_lost_total "))

        wait_until(lambda: lost() > 0, "lines to be counted as lost")


def test_no_connection_gets_the_descriptor_of_a_closed_log(tmp_path: Path) -> None:
    """Otherwise a client would receive log lines."""
    ports = {"HTTP_PORT": str(free_port()), "ADMIN_PORT": str(free_port())}
    environment = BASE_ENVIRONMENT | SETTINGS | ports | {"DATABASE_URL": "sqlite:db.sqlite3"}
    closed = ["sh", "-c", 'exec "$0" serve <&- >&- 2>&-', BINARY]
    with listening(closed, environment, tmp_path, None) as process:
        streams = [str(Path(f"/proc/{process.pid}/fd/{number}").readlink()) for number in range(3)]
        assert streams == ["/dev/null"] * 3


@contextmanager
def listening(
    command: list[str], environment: Mapping[str, str], folder: Path, log: IO[bytes] | None
) -> Iterator[subprocess.Popen[bytes]]:
    """Runs a service that cannot log that it listens."""
    process = subprocess.Popen(command, env=environment, cwd=folder, stderr=log)

    def is_up() -> bool:
        assert process.poll() is None
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", int(environment["ADMIN_PORT"]))) == 0

    try:
        wait_until(is_up, "the service to listen")
        yield process
    finally:
        process.terminate()
        assert process.wait(timeout=LONGEST_END) == 0
