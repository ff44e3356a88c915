"""Measures how ten thousand slow clients, and some that never read, affect honest clients.

    PASSWORD_RESET=.build/release/password-reset .build/system-tests/newest/bin/python Tests/System/lib/measure_crowd.py

It takes a minute and a half, needs 12,000 descriptors (`ulimit -Hn`), and exits with 1 if a bound does not hold. It
first reports how fast honest clients are served alone: if they are slow even then, the machine is too busy for the
latencies to count.
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
NON_READING = 20
WAVES = 3
DESCRIPTORS = 12_000
# A slow client sends one byte per `PAUSE`; an honest client sends one request per `INTERVAL`.
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


class Behavior(NamedTuple):
    """How a slow client begins, and the piece that it then sends again and again, byte by byte."""

    beginning: bytes
    piece: bytes


BEHAVIORS = [
    Behavior(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nX-Field: ", b"x"),
    Behavior(ASK + b"Content-Length: 100\r\n\r\n", b" "),
    Behavior(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n", b"X-Field: 1\r\n"),
    Behavior(ASK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
]


@dataclass(eq=False)
class SlowClient:
    socket: socket.socket
    behavior: Behavior
    first_byte: float = 0.0
    next_byte: float = 0.0
    sent: int = 0
    closed: float = 0.0


@dataclass(eq=False)
class NonReadingClient:
    socket: socket.socket
    rest: bytes = b""
    last_byte: float = 0.0
    closed: float = 0.0


class Crowd:
    """Slow clients and clients that never read, all in one thread. They connect and act while `run` runs."""

    # The kernel drops connections while its queue of unaccepted ones is full; a client then retries a second later.
    MOST_UNACCEPTED = 100

    def __init__(self, port: int) -> None:
        self._port = port
        # Each source address has its own ports.
        self._sources = cycle([f"127.0.0.{number}" for number in range(2, 10)])
        self._behaviors = cycle(BEHAVIORS)
        self._selector = selectors.DefaultSelector()
        self._coming: set[SlowClient] = set()
        # Ordered by the time of the next byte. A closed client is removed when its next byte is due.
        self._dripping: deque[SlowClient] = deque()
        self._invited = SLOW
        self.came = 0
        self.closed: list[SlowClient] = []
        # The largest number of slow clients that were open at the same time.
        self.most = 0
        # What the service sent to slow clients, none of which has completed a request.
        self.said = b""
        self.non_reading = [NonReadingClient(self._connect(receive_buffer=4096)) for _ in range(NON_READING)]
        for client in self.non_reading:
            self._selector.register(client.socket, selectors.EVENT_WRITE, client)

    def close(self) -> None:
        for key in list(self._selector.get_map().values()):
            key.data.socket.close()
        self._selector.close()

    def come(self) -> None:
        """Connects all slow clients, or as many as the service accepts before it closes the first."""
        self.run(lambda: self.came == SLOW, seconds=LONGEST_COMING)
        self._invited = self.came + len(self._coming)

    @property
    def is_gone(self) -> bool:
        """Returns whether the service has closed every slow client that connected."""
        return len(self.closed) == self._invited

    @property
    def is_quiet(self) -> bool:
        """Returns whether the service has closed every client that never reads."""
        return all(client.closed for client in self.non_reading)

    def run(self, until: Callable[[], bool], seconds: float) -> None:
        """Lets the clients act until the condition holds or the time is up."""
        deadline = time.monotonic() + seconds
        while not until() and time.monotonic() < deadline:
            room = self.MOST_UNACCEPTED - self._unaccepted() - len(self._coming)
            for _ in range(min(room, self._invited - self.came - len(self._coming))):
                client = SlowClient(self._connect(), next(self._behaviors))
                self._coming.add(client)
                self._selector.register(client.socket, selectors.EVENT_WRITE, client)
            for key, _ in self._selector.select(0.01):
                if isinstance(key.data, NonReadingClient):
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
                # Listening sockets (state 0A) come first.
                _, local, _, state, queues, *_ = line.split()
                if state == "0A" and local.endswith(f":{self._port:04X}"):
                    return int(queues.split(":")[1], 16)
        return 0

    def _begin(self, client: SlowClient) -> None:
        self._coming.remove(client)
        self.came += 1
        self.most = max(self.most, self.came - len(self.closed))
        self._selector.modify(client.socket, selectors.EVENT_READ, client)
        # The selector reports a closed connection in any case.
        with suppress(OSError):
            client.socket.send(client.behavior.beginning)
        client.first_byte = time.monotonic()
        client.next_byte = client.first_byte + PAUSE
        self._dripping.append(client)

    def _drip(self) -> None:
        now = time.monotonic()
        while self._dripping and self._dripping[0].next_byte <= now:
            client = self._dripping.popleft()
            if client.closed:
                continue
            piece = client.behavior.piece
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

    def _ask(self, client: NonReadingClient) -> None:
        client.rest = client.rest or CONTRACT * 100
        try:
            client.rest = client.rest[client.socket.send(client.rest) :]
            client.last_byte = time.monotonic()
        except BlockingIOError:
            pass
        except OSError:
            # Data that the service has not read when it closes resets the connection. Even a client that never reads
            # notices that.
            client.closed = time.monotonic()
            self._leave(client)

    def _leave(self, client: SlowClient | NonReadingClient) -> None:
        self._selector.unregister(client.socket)
        client.socket.close()


@contextmanager
def new_crowd(service: Service) -> Iterator[Crowd]:
    """Creates a crowd that has not connected yet."""
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
def honest_clients(service: Service) -> Iterator[Callable[[], list[Sample]]]:
    """Runs honest clients in a separate process. Yields a function that stops them and returns their samples."""
    command = [sys.executable, __file__, "--ask", str(service.port)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        try:
            assert process.stdout.readline() == BEGUN
            yield lambda: [Sample(*sample) for sample in json.loads(process.communicate(timeout=30)[0])]
        finally:
            process.kill()


def ask(port: int) -> None:
    """Sends requests at a steady pace until the standard input ends; then prints the samples."""
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
            # A client that is late because the last response was late has been waiting since its request was due.
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
        threading.Thread(target=go_on, args=("POST", "/password-reset", '{"email": "stranger@example.com"}')),
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
    """The results of one crowd, from the first connection to the last; times are in seconds."""

    coming: float
    came: int
    most: int
    closed: int
    said: bytes
    # The longest time from the first byte of a slow client until it was closed.
    longest_life: float
    # The longest time from the last byte of a client that never reads until it was closed; None if one was not closed.
    non_reading_life: float | None
    # The requests of honest clients in each phase, in order.
    phases: dict[str, list[Sample]]

    @property
    def samples(self) -> list[Sample]:
        return [sample for samples in self.phases.values() for sample in samples]

    def __str__(self) -> str:
        lines = [
            f"{self.came} slow clients connected in {self.coming:.1f} s, {self.most} were open at once",
            f"{self.closed} of them were closed, {self.longest_life:.1f} s after the first byte at the latest",
            f"clients that never read were closed {format_seconds(self.non_reading_life)} after their last bytes",
            *(f"{phase}\n{describe(samples)}" for phase, samples in self.phases.items()),
        ]
        return "\n".join(lines)


def format_seconds(seconds: float | None) -> str:
    return "never" if seconds is None else f"{seconds:.1f} s"


def latencies(samples: list[Sample], path: str) -> list[float]:
    """Returns the latencies in ascending order."""
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
    """Connects a crowd, waits until the service has closed its slow clients, and then those that never read."""
    with honest_clients(service) as end, new_crowd(service) as crowd:
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
            non_reading_life=max(client.closed - client.last_byte for client in crowd.non_reading) if crowd.is_quiet else None,
            phases=split(end(), start, there, crowd.closed[0].closed if crowd.closed else math.inf),
        )


def split(samples: list[Sample], start: float, there: float, going: float) -> dict[str, list[Sample]]:
    """Groups the samples by the phase of the wave in which they started."""
    return {
        "as they come": [sample for sample in samples if start <= sample.at < there],
        "while they are there": [sample for sample in samples if there <= sample.at < going],
        "as they go": [sample for sample in samples if max(there, going) <= sample.at],
    }


def alone(service: Service) -> list[Sample]:
    """Measures honest clients without a crowd."""
    with honest_clients(service) as end:
        time.sleep(SECONDS_ALONE)
        return end()


def end_during_crowd(service: Service) -> float | None:
    """Returns how many seconds the service takes to shut down during a crowd; None if it fails or takes too long."""
    with new_crowd(service) as crowd:
        crowd.come()
        start = time.monotonic()
        service.process.terminate()
        crowd.run(lambda: service.process.poll() is not None, seconds=LONGEST_END)
        end = time.monotonic() - start if service.process.poll() == 0 else None
        service.kill()
        return end


def main() -> None:
    print(f"{BINARY}: {WAVES} waves of {SLOW} slow clients and {NON_READING} that never read")
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
            ended = end_during_crowd(service)
    samples = [sample for each in waves for sample in each.samples]
    p99 = percentile(latencies(samples, "/health/live"), 99)
    longest_life = max(each.longest_life for each in waves)
    non_reading_lives = [each.non_reading_life for each in waves]
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
            f"clients that never read closed within {', '.join(map(format_seconds, non_reading_lives))}",
            all(life is not None and life <= LONGEST_LIFE for life in non_reading_lives),
        ),
        (f"ended during a crowd within {format_seconds(ended)}", ended is not None and ended <= LONGEST_END),
    ]
    for text, holds in bounds:
        print(f"{'holds ' if holds else 'BROKEN'}  {text}")
    sys.exit(0 if all(holds for _, holds in bounds) else 1)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--ask"]:
        ask(int(sys.argv[2]))
    else:
        main()
