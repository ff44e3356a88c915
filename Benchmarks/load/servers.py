"""Starts and stops the servers, and reads their CPU time and memory from the kernel."""

import os
import re
import shutil
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

T = TypeVar("T")
IDLE_TIMEOUT = 60.0
# gunicorn's recommendation. Its workers without threads close every connection after one response.
WORKERS = 2 * len(os.sched_getaffinity(0)) + 1
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
class Memory:
    """Sizes in MiB."""

    resident: float
    anonymous: float
    peak: float


@dataclass(frozen=True)
class Server:
    name: str
    port: int
    pid: int

    def cpu_ticks(self) -> int:
        """Returns user and system time, including children, in hundredths of a second (proc_pid_stat(5), fields 14 and 15)."""
        return sum(ticks(pid) for pid in [self.pid, *children(self.pid)])

    def memory(self) -> Memory:
        status = Path(f"/proc/{self.pid}/status").read_text()

        def field(name: str) -> float:
            found = re.search(rf"{name}:\s+(\d+)", status)
            assert found, name
            return int(found[1]) / 1024

        return Memory(field("VmRSS"), field("RssAnon"), field("VmHWM"))


def ticks(pid: int) -> int:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return int(fields[11]) + int(fields[12])


def children(pid: int) -> list[int]:
    return [int(child) for file in Path(f"/proc/{pid}/task").glob("*/children") for child in file.read_text().split()]


def settle(servers: Sequence[Server]) -> bool:
    """Waits until the servers are idle, because emails and hashes of one load would slow down the next. Returns whether they are."""
    deadline = time.monotonic() + IDLE_TIMEOUT
    before = sum(server.cpu_ticks() for server in servers)
    while time.monotonic() < deadline:
        time.sleep(0.5)
        now = sum(server.cpu_ticks() for server in servers)
        if now - before <= len(servers):
            return True
        before = now
    return False


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
            text = log.read_text(errors="replace")
            if process.poll() is not None:
                raise RuntimeError(f"{name} exited during its start:\n{text}")
            return re.search(r"listening (?:on|at:) (?:http://)?127\.0\.0\.1:(\d+)", text, re.IGNORECASE)

        yield Server(name, int(wait_until(port, f"{name} to listen")[1]), process.pid)


@contextmanager
def sink(folder: Path) -> Iterator[int]:
    """Runs Postfix's sink, which accepts every email and discards it, and returns its port."""
    program = shutil.which("smtp-sink", path=os.environ["PATH"] + ":/usr/sbin")
    if program is None:
        raise RuntimeError("smtp-sink is missing; on Debian: apt-get install postfix")
    port = free_port()
    user = ["-u", "nobody"] if os.geteuid() == 0 else []
    with running([program, *user, f"127.0.0.1:{port}", "1000"], os.environ, folder / "sink.log"):
        wait_until(lambda: accepts(port), "smtp-sink to listen")
        yield port


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
        server = Server("start", port, process.pid)
        settle([server])
        return Start(seconds, server.memory())


def is_alive(port: int) -> bool:
    with closing(socket.socket()) as client:
        client.settimeout(5)
        if client.connect_ex(("127.0.0.1", port)) != 0:
            return False
        client.sendall(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        return client.recv(64).startswith(b"HTTP/1.1 200")
