"""Measures the response times of honest clients while ten thousand slow clients, and some that never read, are connected.

    Benchmarks/run crowd

It takes 90 seconds, needs 12,000 file descriptors (`ulimit -Hn`), and exits with 1 if a bound does not hold. First it
measures honest clients alone: if they are slow even then, the machine is too busy for latencies to count.
Tests/System/http/test_crowd.py uses the same clients.
"""

import http.client
import json
import math
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

import system_tests  # noqa: F401
from django_site import migrate, on_database
from service import BINARY, Service, serving

SLOW = 10_000
DEAF = 20
WAVES = 3
DESCRIPTORS = 12_000
# The seconds between a slow client's bytes, and between an honest client's requests.
PAUSE = 2.0
INTERVAL = 0.02
SECONDS_ALONE = 5.0

MIB = 1024 * 1024
LARGEST_P99 = 0.020
LARGEST_GROWTH = 250 * MIB
LONGEST_ARRIVAL = 10.0
LONGEST_LIFE = 15.0
LONGEST_END = 10.0

CONTRACT = b"GET /openapi.yaml HTTP/1.1\r\nHost: localhost\r\n\r\n"
ASK = b"POST /password-reset HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


class Attack(NamedTuple):
    """The bytes that a slow client sends at once, and those that it then repeats one by one."""

    beginning: bytes
    piece: bytes


ATTACKS = [
    Attack(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nX-Field: ", b"x"),
    Attack(ASK + b"Content-Length: 100\r\n\r\n", b" "),
    Attack(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n", b"X-Field: 1\r\n"),
    Attack(ASK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
]


@dataclass(eq=False)
class SlowClient:
    socket: socket.socket
    attack: Attack
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
    """Slow clients, and deaf clients, which never read. They act while `run` runs, all in one thread."""

    # The kernel drops connections when its backlog is full, and the client then repeats the attempt a second later.
    MAXIMUM_BACKLOG = 100

    def __init__(self, port: int) -> None:
        self._port = port
        # Each source address has a separate range of ports.
        self._sources = cycle([f"127.0.0.{number}" for number in range(2, 10)])
        self._attacks = cycle(ATTACKS)
        self._selector = selectors.DefaultSelector()
        self._connecting: set[SlowClient] = set()
        # In the order of their next bytes. A closed client stays until its next byte is due.
        self._dripping: deque[SlowClient] = deque()
        self._expected = SLOW
        self.connected = 0
        self.closed: list[SlowClient] = []
        # The maximum number of slow clients at the same time.
        self.most = 0
        # The bytes that the service sent to slow clients, whose requests are never complete.
        self.received = b""
        self.deaf = [DeafClient(self._connect(receive_buffer=4096)) for _ in range(DEAF)]
        for client in self.deaf:
            self._selector.register(client.socket, selectors.EVENT_WRITE, client)

    def close(self) -> None:
        for key in list(self._selector.get_map().values()):
            key.data.socket.close()
        self._selector.close()

    def connect_all(self) -> None:
        """Connects all slow clients, or as many as the service accepts before it closes the first ones."""
        self.run(lambda: self.connected == SLOW, seconds=LONGEST_ARRIVAL)
        self._expected = self.connected + len(self._connecting)

    @property
    def slow_clients_closed(self) -> bool:
        """Whether the service has closed every slow client that connected."""
        return len(self.closed) == self._expected

    @property
    def deaf_clients_closed(self) -> bool:
        """Whether the service has closed every deaf client."""
        return all(client.closed for client in self.deaf)

    def run(self, until: Callable[[], bool], seconds: float) -> None:
        """Runs the clients until the condition is true or the time is up."""
        deadline = time.monotonic() + seconds
        while not until() and time.monotonic() < deadline:
            room = self.MAXIMUM_BACKLOG - self._backlog() - len(self._connecting)
            for _ in range(min(room, self._expected - self.connected - len(self._connecting))):
                client = SlowClient(self._connect(), next(self._attacks))
                self._connecting.add(client)
                self._selector.register(client.socket, selectors.EVENT_WRITE, client)
            for key, _ in self._selector.select(0.01):
                if isinstance(key.data, DeafClient):
                    self._send_requests(key.data)
                elif key.data in self._connecting:
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

    def _backlog(self) -> int:
        with open("/proc/net/tcp") as sockets:
            for line in sockets:
                # Listening sockets (0A) come first.
                _, local, _, state, queues, *_ = line.split()
                if state == "0A" and local.endswith(f":{self._port:04X}"):
                    return int(queues.split(":")[1], 16)
        return 0

    def _begin(self, client: SlowClient) -> None:
        self._connecting.remove(client)
        self.connected += 1
        self.most = max(self.most, self.connected - len(self.closed))
        self._selector.modify(client.socket, selectors.EVENT_READ, client)
        # If the service has closed the connection, `_listen` notices it.
        with suppress(OSError):
            client.socket.send(client.attack.beginning)
        client.first_byte = time.monotonic()
        client.next_byte = client.first_byte + PAUSE
        self._dripping.append(client)

    def _drip(self) -> None:
        now = time.monotonic()
        while self._dripping and self._dripping[0].next_byte <= now:
            client = self._dripping.popleft()
            if client.closed:
                continue
            piece = client.attack.piece
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
        self.received += data
        if not data:
            client.closed = time.monotonic()
            self.closed.append(client)
            self._leave(client)

    def _send_requests(self, client: DeafClient) -> None:
        client.rest = client.rest or CONTRACT * 100
        try:
            client.rest = client.rest[client.socket.send(client.rest) :]
            client.last_byte = time.monotonic()
        except BlockingIOError:
            pass
        except OSError:
            # Closing with unread data resets the connection, which even a client that never reads notices.
            client.closed = time.monotonic()
            self._leave(client)

    def _leave(self, client: SlowClient | DeafClient) -> None:
        self._selector.unregister(client.socket)
        client.socket.close()


@contextmanager
def crowding(service: Service) -> Iterator[Crowd]:
    """Returns a crowd whose slow clients are not connected yet."""
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


STARTED = b"started\n"


class Sample(NamedTuple):
    """A request of an honest client."""

    at: float
    path: str
    status: int
    seconds: float


@contextmanager
def honest_clients(service: Service) -> Iterator[Callable[[], list[Sample]]]:
    """Runs honest clients in another process. The returned function stops them and returns their requests."""
    command = [sys.executable, __file__, "--honest-clients", str(service.port)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        try:
            assert process.stdout.readline() == STARTED
            yield lambda: [Sample(*sample) for sample in json.loads(process.communicate(timeout=30)[0])]
        finally:
            process.kill()


def run_honest_clients(port: int) -> None:
    """Sends requests at a steady pace until standard input ends, then prints the samples."""
    started = threading.Barrier(3)
    stopped = threading.Event()
    samples: list[Sample] = []

    def send_requests(method: str, path: str, body: str | None) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        headers = {"Content-Type": "application/json"} if body else {}
        connection.connect()
        started.wait()
        due = time.monotonic()
        while not stopped.is_set():
            # After a late response, count from when this request was due. Otherwise one slow response would hide the next.
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
        threading.Thread(target=send_requests, args=("GET", "/health/live", None)),
        threading.Thread(target=send_requests, args=("POST", "/password-reset", '{"email": "unknown@example.com"}')),
    ]
    for client in clients:
        client.start()
    started.wait()
    sys.stdout.buffer.write(STARTED)
    sys.stdout.flush()
    sys.stdin.read()
    stopped.set()
    for client in clients:
        client.join()
    json.dump(samples, sys.stdout)


@dataclass(frozen=True)
class Wave:
    """The result of one crowd. Times are in seconds."""

    arrival: float
    connected: int
    most: int
    closed: int
    received: bytes
    # The longest time from a slow client's first byte until the service closed it.
    longest_life: float
    # The longest time from a deaf client's last byte until the service closed it; None if one stayed open.
    deaf_life: float | None
    # The requests of honest clients in each phase, in order.
    phases: dict[str, list[Sample]]

    @property
    def samples(self) -> list[Sample]:
        return [sample for samples in self.phases.values() for sample in samples]

    def __str__(self) -> str:
        lines = [
            f"{self.connected} slow clients connected in {self.arrival:.1f} s, at most {self.most} at the same time",
            f"the service closed {self.closed} of them, at most {self.longest_life:.1f} s after their first bytes",
            f"longest time from a deaf client's last byte until the service closed it: {format_seconds(self.deaf_life)}",
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
    """Connects a crowd and runs it until the service has closed all its connections."""
    with honest_clients(service) as end, crowding(service) as crowd:
        start = time.monotonic()
        crowd.connect_all()
        arrived = time.monotonic()
        crowd.run(lambda: crowd.slow_clients_closed, seconds=LONGEST_LIFE + 3)
        crowd.run(lambda: crowd.deaf_clients_closed, seconds=LONGEST_LIFE + 3)
        return Wave(
            arrival=arrived - start,
            connected=crowd.connected,
            most=crowd.most,
            closed=len(crowd.closed),
            received=crowd.received,
            longest_life=max((client.closed - client.first_byte for client in crowd.closed), default=0),
            deaf_life=max(client.closed - client.last_byte for client in crowd.deaf) if crowd.deaf_clients_closed else None,
            phases=split(end(), start, arrived, crowd.closed[0].closed if crowd.closed else math.inf),
        )


def split(samples: list[Sample], start: float, arrived: float, closing: float) -> dict[str, list[Sample]]:
    """Splits samples into the phases of a wave."""
    return {
        "while slow clients connect": [sample for sample in samples if start <= sample.at < arrived],
        "while all are connected": [sample for sample in samples if arrived <= sample.at < closing],
        "while the service closes them": [sample for sample in samples if max(arrived, closing) <= sample.at],
    }


def without_crowd(service: Service) -> list[Sample]:
    """Measures honest clients without a crowd."""
    with honest_clients(service) as end:
        time.sleep(SECONDS_ALONE)
        return end()


def shutdown_during_crowd(service: Service) -> float | None:
    """Returns how many seconds a shutdown takes during a crowd, or None if the service does not exit with 0."""
    with crowding(service) as crowd:
        crowd.connect_all()
        start = time.monotonic()
        service.process.terminate()
        crowd.run(lambda: service.process.poll() is not None, seconds=LONGEST_END)
        end = time.monotonic() - start if service.process.poll() == 0 else None
        service.kill()
        return end


def main() -> None:
    print(f"{BINARY}: {WAVES} waves of {SLOW} slow clients and {DEAF} deaf clients")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        database = folder / "db.sqlite3"
        with on_database(database):
            migrate()
        with serving(database, folder) as service:
            print(f"without a crowd\n{describe(without_crowd(service))}")
            growth = service.watch_memory()
            waves = []
            for _ in range(WAVES):
                waves.append(wave(service))
                print(waves[-1])
            grown = growth()
        with serving(database, folder) as service:
            ended = shutdown_during_crowd(service)
    samples = [sample for each in waves for sample in each.samples]
    p99 = percentile(latencies(samples, "/health/live"), 99)
    longest_life = max(each.longest_life for each in waves)
    deaf_lives = [each.deaf_life for each in waves]
    bounds = [
        (f"p99 of /health/live {1000 * p99:.2f} ms", p99 <= LARGEST_P99),
        ("every honest request answered", {sample.status for sample in samples} == {200, 202}),
        (f"memory grown by {grown / MIB:.1f} MiB", grown <= LARGEST_GROWTH),
        (f"{SLOW} slow clients at the same time", all(each.most == SLOW for each in waves)),
        (
            f"slow clients closed within {longest_life:.1f} s",
            all(each.closed == each.connected for each in waves) and longest_life <= LONGEST_LIFE,
        ),
        (
            f"deaf clients closed within {', '.join(map(format_seconds, deaf_lives))}",
            all(life is not None and life <= LONGEST_LIFE for life in deaf_lives),
        ),
        (f"shutdown during a crowd within {format_seconds(ended)}", ended is not None and ended <= LONGEST_END),
    ]
    for text, holds in bounds:
        print(f"{'holds ' if holds else 'BROKEN'}  {text}")
    sys.exit(0 if all(holds for _, holds in bounds) else 1)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--honest-clients"]:
        run_honest_clients(int(sys.argv[2]))
    else:
        main()
