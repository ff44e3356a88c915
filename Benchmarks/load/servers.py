"""Starts and stops the servers."""

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

from data import LINK_SECONDS, SECRET_KEY, SITE, site_environment
from databases import Database
from usage import Memory, memory, processor_seconds

T = TypeVar("T")
CORES = len(os.sched_getaffinity(0))
# gunicorn's recommendation. Its workers without threads close every connection after one response.
WORKERS = 2 * CORES + 1
THREADS = 4


def wait_until(condition: Callable[[], T | None], what: str, seconds: float = 30, pause: float = 0.02) -> T:
    """Repeats `condition` until it returns a true value, which is returned."""
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        if time.monotonic() > deadline:
            raise RuntimeError(f"waited {seconds:g} s for {what}, without success")
        time.sleep(pause)
    return result


@dataclass(frozen=True)
class Server:
    name: str
    port: int
    pid: int


@contextmanager
def running(command: Sequence[str], environment: Mapping[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Runs a child process, with its output in `log`, until the block ends."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def listening(name: str, command: Sequence[str], environment: Mapping[str, str], folder: Path) -> Iterator[Server]:
    """Runs a server whose output contains its port."""
    log = folder / f"{name}.log"
    with running(command, environment, log) as process:

        def port() -> re.Match[str] | None:
            fail_if_ended(name, process, log)
            text = log.read_text(errors="replace")
            return re.search(r"listening (?:on|at:) (?:http://)?127\.0\.0\.1:(\d+)", text, re.IGNORECASE)

        yield Server(name, int(wait_until(port, f"{name} to listen")[1]), process.pid)


@contextmanager
def accepting(name: str, port: int, command: Sequence[str], environment: Mapping[str, str], folder: Path) -> Iterator[Server]:
    """Runs a server on a port that its configuration contains."""
    log = folder / f"{name}.log"
    with running(command, environment, log) as process:

        def is_ready() -> bool:
            fail_if_ended(name, process, log)
            return accepts(port)

        wait_until(is_ready, f"{name} to listen")
        yield Server(name, port, process.pid)


def fail_if_ended(name: str, process: subprocess.Popen[bytes], log: Path) -> None:
    if process.poll() is not None:
        raise RuntimeError(f"{name} exited during its start:\n{log.read_text(errors='replace')}")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


def accepts(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def bare(program: Path, folder: Path) -> AbstractContextManager[Server]:
    """Runs the framework's routes that do nothing."""
    return listening("bare", [str(program), "serve"], {}, folder)


def service(binary: Path, database: Database, email_port: int, folder: Path, name: str = "service") -> AbstractContextManager[Server]:
    return listening(name, [str(binary), "serve"], service_environment(database, email_port), folder)


def service_environment(database: Database, email_port: int, http_port: int = 0) -> dict[str, str]:
    return {
        "HTTP_PORT": str(http_port),
        # A different address distinguishes the admin listener from the public one in the log.
        "ADMIN_HOST": "127.0.0.2",
        "ADMIN_PORT": "0",
        "DATABASE_URL": database.url,
        "SECRET_KEY": SECRET_KEY,
        "PASSWORD_RESET_TIMEOUT": str(LINK_SECONDS),
        "EMAIL_BACKEND": "smtp",
        "EMAIL_HOST": "127.0.0.1",
        "EMAIL_PORT": str(email_port),
        "RATE_LIMIT_MAILS": "off",
        "RATE_LIMIT_REQUESTS": "off",
        "RATE_LIMIT_LINKS": "off",
        "LOG_FORMAT": "json",
    }


def django_site(database: Database, email_port: int, folder: Path) -> AbstractContextManager[Server]:
    command = [sys.executable, "-m", "gunicorn", "--chdir", str(SITE), "--bind", "127.0.0.1:0", "--no-control-socket"]
    workers = ["--worker-class", "gthread", "--workers", str(WORKERS), "--threads", str(THREADS)]
    return listening("django", [*command, *workers, "wsgi:application"], site_environment(database, email_port), folder)


@dataclass(frozen=True)
class Start:
    """The seconds from the start of the process to its first response, and its memory when it is idle."""

    seconds: float
    memory: Memory

    def as_dict(self) -> dict[str, float]:
        return {"seconds": self.seconds} | asdict(self.memory)


def measure_start(binary: Path, database: Database, email_port: int, folder: Path) -> Start:
    port = free_port()
    environment = service_environment(database, email_port, port)
    begin = time.perf_counter()
    with running([str(binary), "serve"], environment, folder / "start.log") as process:
        wait_until(lambda: is_alive(port), "the service to respond", pause=0.001)
        seconds = time.perf_counter() - begin
        wait_until_idle([process.pid])
        return Start(seconds, memory(process.pid))


def wait_until_idle(pids: Sequence[int], meanwhile: Callable[[], None] = lambda: None, seconds: float = 60) -> bool:
    """Waits until processes use no processor time for half a second, and returns whether they do so in time. It calls
    `meanwhile` fifty times per second."""
    deadline = time.monotonic() + seconds
    before = processor_seconds(pids)
    while time.monotonic() < deadline:
        for _ in range(25):
            time.sleep(0.02)
            meanwhile()
        now = processor_seconds(pids)
        # The kernel counts hundredths of a second.
        if now - before <= 0.01 * len(pids):
            return True
        before = now
    return False


def is_alive(port: int) -> bool:
    with closing(socket.socket()) as client:
        client.settimeout(5)
        if client.connect_ex(("127.0.0.1", port)) != 0:
            return False
        client.sendall(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        return client.recv(64).startswith(b"HTTP/1.1 200")
