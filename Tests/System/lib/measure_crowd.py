"""Measures how honest clients fare beside ten thousand slow ones, and some that ask on and on and never read.

    PASSWORD_RESET=.build/release/password-reset .build/system-tests/newest/bin/python Tests/System/lib/measure_crowd.py

It takes a minute and a half, needs 12,000 descriptors (`ulimit -Hn`), and exits 1 if a bound does not hold. It tells
first how honest clients fare alone: where they are slow even then, the machine is too busy for latencies to count.
"""

import http.client
import json
import math
import os
import resource
import selectors
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import NamedTuple

import django

os.environ["DJANGO_SETTINGS_MODULE"] = "site_settings"
django.setup()

from django_site import migrate, on_database  # noqa: E402
from service import BINARY, Service, serving  # noqa: E402

SLOW = 10_000
DEAF = 20
WAVES = 3
DESCRIPTORS = 12_000
# A slow client sends a byte in so many seconds; an honest one asks once in so many.
PAUSE = 2.0
INTERVAL = 0.02
SECONDS_ALONE = 5.0

MIB = 1024 * 1024
LARGEST_P99 = 0.020
LARGEST_GROWTH = 250 * MIB
LONGEST_COMING = 10.0
LONGEST_LIFE = 15.0
LONGEST_END = 10.0

CONTRACT = b"GET /openapi.yaml HTTP/1.1\r\nHost: localhost\r\n\r\n"
ASK = b"POST /password-reset HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


class Manner(NamedTuple):
    """How a slow client begins, and what it goes on with, byte by byte."""

    beginning: bytes
    piece: bytes


MANNERS = [
    Manner(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nX-Field: ", b"x"),
    Manner(ASK + b"Content-Length: 100\r\n\r\n", b" "),
    Manner(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n", b"X-Field: 1\r\n"),
    Manner(ASK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
]


@dataclass(eq=False)
class SlowClient:
    socket: socket.socket
    manner: Manner
    first_byte: float = 0.0
    next_byte: float = 0.0
    sent: int = 0
    closed: float = 0.0


@dataclass(eq=False)
class DeafClient:
    socket: socket.socket
    rest: bytes = b""
    last_byte: float = 0.0
    closed: float = 0.0


class Crowd:
    """Slow clients and deaf ones, all in one thread; they come and act while `run` runs."""

    # What comes while the kernel holds too many that are not yet accepted is dropped, and comes again a second later.
    MOST_UNACCEPTED = 100

    def __init__(self, port: int) -> None:
        self._port = port
        # Each has ports of its own.
        self._sources = cycle([f"127.0.0.{number}" for number in range(2, 10)])
        self._manners = cycle(MANNERS)
        self._selector = selectors.DefaultSelector()
        self._coming: set[SlowClient] = set()
        # In the order of their next bytes; those that are closed leave when theirs is due.
        self._dripping: deque[SlowClient] = deque()
        self._invited = SLOW
        self.came = 0
        self.closed: list[SlowClient] = []
        # How many slow ones were open at the same time.
        self.most = 0
        # What the service said to slow ones, who have not asked for anything yet.
        self.said = b""
        self.deaf = [DeafClient(self._connect(receive_buffer=4096)) for _ in range(DEAF)]
        for client in self.deaf:
            self._selector.register(client.socket, selectors.EVENT_WRITE, client)

    def close(self) -> None:
        for key in list(self._selector.get_map().values()):
            key.data.socket.close()
        self._selector.close()

    def come(self) -> None:
        """Lets all slow ones come, or as many as the service accepts in the time that it leaves to the first."""
        self.run(lambda: self.came == SLOW, seconds=LONGEST_COMING)
        self._invited = self.came + len(self._coming)

    @property
    def is_gone(self) -> bool:
        """Whether every slow one that came was closed."""
        return len(self.closed) == self._invited

    @property
    def is_quiet(self) -> bool:
        """Whether every deaf one was closed."""
        return all(client.closed for client in self.deaf)

    def run(self, until: Callable[[], bool], seconds: float) -> None:
        """Lets the clients act until then, or until the time is up."""
        deadline = time.monotonic() + seconds
        while not until() and time.monotonic() < deadline:
            room = self.MOST_UNACCEPTED - self._unaccepted() - len(self._coming)
            for _ in range(min(room, self._invited - self.came - len(self._coming))):
                client = SlowClient(self._connect(), next(self._manners))
                self._coming.add(client)
                self._selector.register(client.socket, selectors.EVENT_WRITE, client)
            for key, _ in self._selector.select(0.01):
                if isinstance(key.data, DeafClient):
                    self._ask(key.data)
                elif key.data in self._coming:
                    self._begin(key.data)
                else:
                    self._listen(key.data)
            self._drip()

    def _connect(self, receive_buffer: int | None = None) -> socket.socket:
        client = socket.socket()
        if receive_buffer is not None:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        client.setblocking(False)
        client.bind((next(self._sources), 0))
        client.connect_ex(("127.0.0.1", self._port))
        return client

    def _unaccepted(self) -> int:
        with open("/proc/net/tcp") as sockets:
            for line in sockets:
                # Those that listen (0A) come first.
                _, local, _, state, queues, *_ = line.split()
                if state == "0A" and local.endswith(f":{self._port:04X}"):
                    return int(queues.split(":")[1], 16)
        return 0

    def _begin(self, client: SlowClient) -> None:
        self._coming.remove(client)
        self.came += 1
        self.most = max(self.most, self.came - len(self.closed))
        self._selector.modify(client.socket, selectors.EVENT_READ, client)
        # Whether it is closed is heard in any case.
        with suppress(OSError):
            client.socket.send(client.manner.beginning)
        client.first_byte = time.monotonic()
        client.next_byte = client.first_byte + PAUSE
        self._dripping.append(client)

    def _drip(self) -> None:
        now = time.monotonic()
        while self._dripping and self._dripping[0].next_byte <= now:
            client = self._dripping.popleft()
            if client.closed:
                continue
            piece = client.manner.piece
            at = client.sent % len(piece)
            with suppress(OSError):
                client.socket.send(piece[at : at + 1])
            client.sent += 1
            client.next_byte = now + PAUSE
            self._dripping.append(client)

    def _listen(self, client: SlowClient) -> None:
        try:
            data = client.socket.recv(4096)
        except OSError:
            data = b""
        self.said += data
        if not data:
            client.closed = time.monotonic()
            self.closed.append(client)
            self._leave(client)

    def _ask(self, client: DeafClient) -> None:
        client.rest = client.rest or CONTRACT * 100
        try:
            client.rest = client.rest[client.socket.send(client.rest) :]
            client.last_byte = time.monotonic()
        except BlockingIOError:
            pass
        except OSError:
            # What the service has not read when it closes resets the connection, which even a deaf one notices.
            client.closed = time.monotonic()
            self._leave(client)

    def _leave(self, client: SlowClient | DeafClient) -> None:
        self._selector.unregister(client.socket)
        client.socket.close()


@contextmanager
def crowding(service: Service) -> Iterator[Crowd]:
    """A crowd that has yet to come."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        crowd = Crowd(service.port)
        try:
            yield crowd
        finally:
            crowd.close()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


BEGUN = b"asking\n"


class Sample(NamedTuple):
    """One request of an honest client."""

    at: float
    path: str
    status: int
    seconds: float


@contextmanager
def asking(service: Service) -> Iterator[Callable[[], list[Sample]]]:
    """Honest clients, in a process of their own, that ask already; what is given ends them and tells how they fared."""
    command = [sys.executable, __file__, "--ask", str(service.port)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        try:
            assert process.stdout.readline() == BEGUN
            yield lambda: [Sample(*sample) for sample in json.loads(process.communicate(timeout=30)[0])]
        finally:
            process.kill()


def ask(port: int) -> None:
    """Asks at a steady pace until the standard input ends; then prints the samples."""
    begun = threading.Barrier(3)
    stopped = threading.Event()
    samples: list[Sample] = []

    def go_on(method: str, path: str, body: str | None) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        headers = {"Content-Type": "application/json"} if body else {}
        connection.connect()
        begun.wait()
        due = time.monotonic()
        while not stopped.is_set():
            # Who is late because the last response was late has been waiting since it was due.
            start = due if time.monotonic() - due > INTERVAL else time.monotonic()
            try:
                connection.request(method, path, body, headers)
                response = connection.getresponse()
                response.read()
                status = response.status
            except (OSError, http.client.HTTPException):
                connection.close()
                status = 0
            samples.append(Sample(start, path, status, time.monotonic() - start))
            due += INTERVAL
            stopped.wait(max(0.0, due - time.monotonic()))

    clients = [
        threading.Thread(target=go_on, args=("GET", "/health/live", None)),
        threading.Thread(target=go_on, args=("POST", "/password-reset", '{"email": "nobody@example.com"}')),
    ]
    for client in clients:
        client.start()
    begun.wait()
    sys.stdout.buffer.write(BEGUN)
    sys.stdout.flush()
    sys.stdin.read()
    stopped.set()
    for client in clients:
        client.join()
    json.dump(samples, sys.stdout)


@dataclass(frozen=True)
class Wave:
    """A crowd that came and went; times are in seconds."""

    coming: float
    came: int
    most: int
    closed: int
    said: bytes
    # Of the slow client that was let be longest, from its first byte.
    longest_life: float
    # Of the deaf client that was let be longest, from its last byte; None if one was not closed.
    deaf_life: float | None
    # What honest clients asked in each phase, one after the other.
    phases: dict[str, list[Sample]]

    @property
    def samples(self) -> list[Sample]:
        return [sample for samples in self.phases.values() for sample in samples]

    def __str__(self) -> str:
        lines = [
            f"{self.came} slow clients came in {self.coming:.1f} s, {self.most} were there at once",
            f"{self.closed} of them were closed, {self.longest_life:.1f} s after the first byte at the latest",
            f"the deaf ones were closed {format_seconds(self.deaf_life)} after their last bytes",
            *(f"{phase}\n{describe(samples)}" for phase, samples in self.phases.items()),
        ]
        return "\n".join(lines)


def format_seconds(seconds: float | None) -> str:
    return "never" if seconds is None else f"{seconds:.1f} s"


def latencies(samples: list[Sample], path: str) -> list[float]:
    """From the shortest to the longest."""
    return sorted(sample.seconds for sample in samples if sample.path == path)


def percentile(ordered: list[float], percent: int) -> float:
    return ordered[min(len(ordered) * percent // 100, len(ordered) - 1)]


def describe(samples: list[Sample]) -> str:
    def line(path: str) -> str:
        ordered = latencies(samples, path)
        if not ordered:
            return f"  {path:16}     no requests"
        p50, p99, longest = (1000 * percentile(ordered, percent) for percent in (50, 99, 100))
        return f"  {path:16}{len(ordered):6} requests, p50 {p50:.2f} ms, p99 {p99:.2f} ms, max {longest:.2f} ms"

    return "\n".join(map(line, ("/health/live", "/password-reset")))


def wave(service: Service) -> Wave:
    """Lets a crowd come, drip until it is closed, and the deaf ones ask until they are."""
    with asking(service) as end, crowding(service) as crowd:
        start = time.monotonic()
        crowd.come()
        there = time.monotonic()
        crowd.run(lambda: crowd.is_gone, seconds=LONGEST_LIFE + 3)
        crowd.run(lambda: crowd.is_quiet, seconds=LONGEST_LIFE + 3)
        return Wave(
            coming=there - start,
            came=crowd.came,
            most=crowd.most,
            closed=len(crowd.closed),
            said=crowd.said,
            longest_life=max((client.closed - client.first_byte for client in crowd.closed), default=0),
            deaf_life=max(client.closed - client.last_byte for client in crowd.deaf) if crowd.is_quiet else None,
            phases=split(end(), start, there, crowd.closed[0].closed if crowd.closed else math.inf),
        )


def split(samples: list[Sample], start: float, there: float, going: float) -> dict[str, list[Sample]]:
    """By the phases of a wave, each of which begins at its time."""
    return {
        "as they come": [sample for sample in samples if start <= sample.at < there],
        "while they are there": [sample for sample in samples if there <= sample.at < going],
        "as they go": [sample for sample in samples if max(there, going) <= sample.at],
    }


def alone(service: Service) -> list[Sample]:
    """How honest clients fare without a crowd."""
    with asking(service) as end:
        time.sleep(SECONDS_ALONE)
        return end()


def end_beside_crowd(service: Service) -> float | None:
    """How many seconds the service takes to end, while the crowd goes on; None if it does not, or not well."""
    with crowding(service) as crowd:
        crowd.come()
        start = time.monotonic()
        service.process.terminate()
        crowd.run(lambda: service.process.poll() is not None, seconds=LONGEST_END)
        end = time.monotonic() - start if service.process.poll() == 0 else None
        service.kill()
        return end


def main() -> None:
    print(f"{BINARY}: {WAVES} waves of {SLOW} slow clients and {DEAF} deaf ones")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        database = folder / "db.sqlite3"
        with on_database(database):
            migrate()
        with serving(database, folder) as service:
            print(f"without a crowd\n{describe(alone(service))}")
            growth = service.watch_memory()
            waves = []
            for _ in range(WAVES):
                waves.append(wave(service))
                print(waves[-1])
            grown = growth()
        with serving(database, folder) as service:
            ended = end_beside_crowd(service)
    samples = [sample for each in waves for sample in each.samples]
    p99 = percentile(latencies(samples, "/health/live"), 99)
    longest_life = max(each.longest_life for each in waves)
    deaf_lives = [each.deaf_life for each in waves]
    bounds = [
        (f"p99 of /health/live {1000 * p99:.2f} ms", p99 <= LARGEST_P99),
        ("every honest request answered", {sample.status for sample in samples} == {200, 202}),
        (f"memory grown by {grown / MIB:.1f} MiB", grown <= LARGEST_GROWTH),
        (f"{SLOW} slow clients at once", all(each.most == SLOW for each in waves)),
        (
            f"slow clients closed within {longest_life:.1f} s",
            all(each.closed == each.came for each in waves) and longest_life <= LONGEST_LIFE,
        ),
        (
            f"deaf clients closed within {', '.join(map(format_seconds, deaf_lives))}",
            all(life is not None and life <= LONGEST_LIFE for life in deaf_lives),
        ),
        (f"ended beside a crowd within {format_seconds(ended)}", ended is not None and ended <= LONGEST_END),
    ]
    for text, holds in bounds:
        print(f"{'holds ' if holds else 'BROKEN'}  {text}")
    sys.exit(0 if all(holds for _, holds in bounds) else 1)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--ask"]:
        ask(int(sys.argv[2]))
    else:
        main()
