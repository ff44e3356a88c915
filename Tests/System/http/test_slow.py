"""Clients that are slow, endless, numerous, or do not read cost bounded time and memory, and do not delay the shutdown."""

import re
import shutil
import socket
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from processes import settled, wait_until
from raw_http import ASK, CONTRACT, LIVE, Connection, Talk, exchange, fill_buffers, is_alive
from service import Service, command, serving

pytestmark = pytest.mark.slow

KIB = 1024
MIB = 1024 * KIB
# The service gives a request ten seconds; the rest allows for a busy machine.
LONGEST = 15
LONGEST_END = 10

LAST = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
LAST_CONTRACT = b"GET /openapi.yaml HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
NOWHERE = b"POST /nowhere HTTP/1.1\r\nHost: localhost\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
BODY = b'{"email": "stranger@example.com"}'


@dataclass(frozen=True)
class Drip:
    """A client that begins at once, and then sends a piece every now and then."""

    what: str
    beginning: bytes = field(repr=False)
    piece: bytes = b""
    # The statuses that it gets before the connection ends.
    statuses: tuple[int, ...] = ()
    # Whether it may get none of them, because the service does not read the request to its end.
    may_be_silent: bool = False

    def __str__(self) -> str:
        return self.what


DRIPS = [
    Drip("nothing at all", b""),
    Drip("a letter and nothing more", b"G"),
    Drip("empty lines", b"\r\n", b"\r\n"),
    Drip("a request line", b"GET /health/live?", b"x"),
    Drip("a field", b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nX-Field: ", b"x"),
    Drip("fields", b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n", b"X-Field: 1\r\n"),
    Drip("a head and nothing more", ASK + b"Content-Length: 100\r\n\r\n"),
    Drip("a body", ASK + b"Content-Length: 100\r\n\r\n", b" "),
    Drip("a body that waits for leave", ASK + b"Expect: 100-continue\r\nContent-Length: 100\r\n\r\n", b" ", (100,)),
    Drip("chunks", ASK + CHUNKED, b"1\r\n \r\n"),
    Drip("a chunk", ASK + CHUNKED + b"64\r\n", b" "),
    Drip("a chunk size", ASK + CHUNKED, b"0"),
    Drip("an extension", ASK + CHUNKED + b"1;", b"x"),
    Drip("a trailer", ASK + CHUNKED + b"%x\r\n%b\r\n0\r\nX-Trailer: " % (len(BODY), BODY), b"x"),
    Drip("a second request", LIVE + b"GET /health/live?", b"x", (200,)),
    Drip("a body that is never read", NOWHERE + b"Content-Length: 100\r\n\r\n", b" ", (404,), may_be_silent=True),
    Drip("chunks that are never read", NOWHERE + CHUNKED, b"1\r\n \r\n", (404,), may_be_silent=True),
]


@dataclass(frozen=True)
class Ending:
    """How a connection ended, and how long after its first byte."""

    talk: Talk
    seconds: float


def drip(port: int, slow: Drip) -> Ending:
    with Connection(port) as connection:
        start = time.monotonic()
        connection.send(slow.beginning)
        while not (talk := connection.listen(0.5)).closed and time.monotonic() - start < LONGEST + 3:
            connection.send(slow.piece)
        return Ending(talk, time.monotonic() - start)


@dataclass(frozen=True)
class Flood:
    """A client that sends a piece again and again, as fast as the service reads it."""

    what: str
    beginning: bytes = field(repr=False)
    piece: bytes = field(repr=False)
    # The response has one of these statuses.
    statuses: tuple[int, ...]

    def __str__(self) -> str:
        return self.what


PIECE = 8 * KIB
CHUNK = b"%x\r\n%b\r\n" % (PIECE, b" " * PIECE)
FLOODS = [
    Flood("a body in chunks", ASK + CHUNKED, CHUNK, (413,)),
    Flood("a body by its length", ASK + b"Content-Length: 100000000000\r\n\r\n", b" " * PIECE, (413,)),
    Flood("a body that is never read", NOWHERE + CHUNKED, CHUNK, (404, 413)),
    Flood("a body of a GET", LIVE[:-2] + CHUNKED, CHUNK, (200, 413)),
    Flood("extensions", ASK + CHUNKED + b"1;", b"x" * PIECE, (400,)),
    Flood("a trailer", ASK + CHUNKED + b"0\r\nX-Trailer: ", b"x" * PIECE, (400, 431)),
    Flood("a URI", b"GET /", b"x" * PIECE, (414, 431)),
    Flood("a field", LIVE[:-2] + b"X-Field: ", b"x" * PIECE, (431,)),
    Flood("fields", LIVE[:-2], b"X-Field: 1\r\n" * (PIECE // 12), (431,)),
    Flood("garbage", b"\x00", b"\x00" * PIECE, (400,)),
]
# The service reads the largest body, and after a refusal another 64 KiB; at the end of each, it may read the rest of a
# piece.
LARGEST_FLOOD = (16 + 64) * KIB + 2 * len(CHUNK)


@dataclass(frozen=True)
class Flooded:
    talk: Talk
    bytes_read: int


def flood(port: int, endless: Flood) -> Flooded:
    """Sends each piece after the service has read the one before it, so that bytes in the kernel's buffers do not
    count.
    """
    with Connection(port) as connection:
        connection.send(endless.beginning)
        sent = len(endless.beginning)
        read = 0
        deadline = time.monotonic() + LONGEST
        while not (talk := connection.listen(0)).closed and time.monotonic() < deadline:
            if connection.is_read:
                read = sent
                if read > 4 * LARGEST_FLOOD:
                    break
                connection.send(endless.piece)
                sent += len(endless.piece)
            else:
                connection.listen(0.01)
        return Flooded(talk, read)


@dataclass(frozen=True)
class NonReading:
    """The result for a client that never reads."""

    was_closed: bool
    seconds: float
    growth: int


def read_nothing(service: Service) -> NonReading:
    """Requests the contract again and again, and never reads a byte."""
    # Do not count the memory that the service needs for any client.
    with Connection(service.port) as connection:
        connection.send(CONTRACT * 200)
        connection.end_sending()
        talk = connection.listen(60)
        assert set(talk.statuses) == {200} and len(talk.statuses) == 200 and talk.closed
    growth = service.watch_memory()
    with Connection(service.port, receive_buffer=4 * KIB) as connection:
        last = fill_buffers(connection, CONTRACT, quiet=LONGEST + 3)
        return NonReading(not connection.is_held, time.monotonic() - last, growth())


@dataclass(frozen=True)
class Late:
    """The result for a client that begins to read late."""

    asked: int
    # Whether the service still held the connection by then.
    was_held: bool
    talk: Talk


def read_late(service: Service, *, breaks_off: bool) -> list[Late]:
    """Makes the end of the last response wait in the service: the client does not read, so the kernel takes no more."""
    with Connection(service.port, receive_buffer=4 * KIB) as connection:
        connection.send(CONTRACT * 200)
        answered = settled(lambda: service.log.read_bytes().count(b'"Request"'), "the kernel to take no more", quiet=3)
    # The kernel may take a few more or fewer. Some of these numbers fill its buffers to within less than a response.
    with ExitStack() as stack:
        numbers = [answered // 2, *range(answered - 5, answered + 1)]
        clients = {asked: stack.enter_context(Connection(service.port, receive_buffer=4 * KIB)) for asked in numbers}
        for asked, client in clients.items():
            client.send(CONTRACT * asked if breaks_off else CONTRACT * (asked - 1) + LAST_CONTRACT)
            if breaks_off:
                client.end_sending()
        # The kernel takes every response to the first client. When that client's time to read is over, the others' must
        # not be.
        wait_until(lambda: not clients[answered // 2].is_held, "the service to close a client after it has sent every response")
        were_held = {asked: client.is_held for asked, client in clients.items()}
        for client in clients.values():
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, MIB)
        return [Late(asked, were_held[asked], client.listen(60)) for asked, client in clients.items()]


@dataclass(frozen=True)
class Guest:
    """A client that is connected when the service shuts down."""

    what: str
    beginning: bytes = field(default=b"", repr=False)
    # The piece that it sends again and again.
    piece: bytes = field(default=b"", repr=False)
    # The number of responses before the shutdown.
    responses: int = 0
    never_reads: bool = False
    # Whether it half-closes its connection during the shutdown.
    breaks_off: bool = False

    def __str__(self) -> str:
        return self.what


GUESTS = [
    Guest("says nothing"),
    Guest("is idle", LIVE, responses=1),
    Guest("drips a field", LIVE[:-2] + b"X-Field: ", b"x"),
    Guest("drips a body", ASK + b"Content-Length: 100\r\n\r\n", b" "),
    Guest("drips chunks", ASK + CHUNKED, b"1\r\n \r\n"),
    Guest("drips a body that is never read", NOWHERE + b"Content-Length: 100\r\n\r\n", b" "),
    Guest("goes on after a refusal", ASK + CHUNKED + CHUNK * 3, CHUNK, responses=1),
    Guest("goes on with requests", LIVE, LIVE, responses=1),
    Guest("reads nothing", never_reads=True),
    Guest("breaks off a field", LIVE[:-2] + b"X-Field: ", breaks_off=True),
    Guest("breaks off a body", ASK + b"Content-Length: 100\r\n\r\n{", breaks_off=True),
    Guest("breaks off a chunk", ASK + CHUNKED + b"64\r\n{", breaks_off=True),
    Guest("breaks off a second request", LIVE + b"GET /health/live?", responses=1, breaks_off=True),
    Guest("breaks off a body that is never read", NOWHERE + CHUNKED + b"64\r\n", breaks_off=True),
]


@dataclass(frozen=True)
class End:
    """The exit status of a process, and how long its shutdown took."""

    code: int | None
    seconds: float


def end_during(guest: Guest, database: Path) -> End:
    with ExitStack() as stack:
        service = stack.enter_context(serving(database, database.parent))
        buffer = 4 * KIB if guest.never_reads else None
        connection = stack.enter_context(Connection(service.port, receive_buffer=buffer))
        if guest.never_reads:
            fill_buffers(connection, CONTRACT, quiet=1)
        else:
            connection.send(guest.beginning)
            # The service may close a refused connection before it has read everything.
            wait_until(lambda: connection.is_read or not connection.is_held, "the service to read the request")
            connection.listen(10, responses=guest.responses)
        start = time.monotonic()
        service.process.terminate()
        if guest.breaks_off:
            wait_until(lambda: not service.is_listening, "the service to stop listening")
            connection.end_sending()
        while service.process.poll() is None and time.monotonic() - start < LONGEST_END:
            if guest.piece:
                connection.send_some(guest.piece, 0.1)
            if not guest.never_reads:
                connection.listen(0)
            with suppress(subprocess.TimeoutExpired):
                service.process.wait(timeout=0.1)
        end = End(service.process.poll(), time.monotonic() - start)
        service.kill()
        return end


def end_with_a_request_under_way(database: Path) -> tuple[End, Talk]:
    """Shuts the service down while a request waits for the database."""
    with serving(database, database.parent) as service, Connection(service.port) as connection:
        with closing(sqlite3.connect(database, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            connection.send(ASK + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY)
            wait_until(lambda: connection.is_read, "the service to read the request")
            start = time.monotonic()
            service.process.terminate()
            wait_until(lambda: not service.is_listening, "the service to stop listening")
        talk = connection.listen(LONGEST_END)
        code = service.process.wait(timeout=LONGEST_END)
        return End(code, time.monotonic() - start), talk


@dataclass(frozen=True)
class Full:
    """What a service does when it cannot accept another connection."""

    connections: int
    # Processor seconds per second.
    load: float
    while_full: Talk
    is_alive_after: bool


def fill(database: Path) -> Full:
    """Opens more connections than the service may have descriptors."""
    with serving(database, database.parent, limits="-n 256") as service, ExitStack() as stack:
        honest = stack.enter_context(Connection(service.port))
        honest.send(LIVE)
        honest.listen(10, responses=1)
        with ExitStack() as crowd:
            for _ in range(400):
                client = crowd.enter_context(closing(socket.socket()))
                # Clients beyond those that the service and the kernel take get no answer.
                client.setblocking(False)
                client.connect_ex(("127.0.0.1", service.port))
            held = settled(lambda: service.connections, "the service to be full", quiet=0.5)
            used = service.processor_time
            start = time.monotonic()
            # No response comes: measure the load during this time.
            honest.listen(3, responses=2)
            load = (service.processor_time - used) / (time.monotonic() - start)
            honest.send(ASK + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY)
            while_full = honest.listen(10, responses=2)
        return Full(held, load, while_full, is_alive(service.port))


def soft_and_hard_limit(database: Path) -> tuple[str, str]:
    """Returns the limits of a service that is started with a low soft limit."""
    with serving(database, database.parent, limits="-Sn 200") as service:
        limits = Path(f"/proc/{service.process.pid}/limits").read_text()
        match = re.search(r"^Max open files +(\S+) +(\S+) ", limits, re.MULTILINE)
        assert match
        return match[1], match[2]


def idle_and_ask_again(port: int) -> Talk:
    with Connection(port) as connection:
        connection.send(LIVE)
        connection.listen(12)
        connection.send(LAST)
        return connection.listen(10)


def ask_slowly(port: int) -> Talk:
    """Sends a request for an email that takes six seconds."""
    request = ASK + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY
    with Connection(port) as connection:
        for at in range(0, len(request), len(request) // 12 + 1):
            connection.listen(0.5)
            connection.send(request[at : at + len(request) // 12 + 1])
        return connection.listen(10, responses=1)


@dataclass(frozen=True)
class Plays:
    """The results of all clients. The clients run in parallel, because each mostly waits."""

    drips: dict[Drip, Future[Ending]]
    floods: dict[Flood, Future[Flooded]]
    guests: dict[Guest, Future[End]]
    request_under_way: Future[tuple[End, Talk]]
    non_reading: Future[NonReading]
    late: dict[bool, Future[list[Late]]]
    full: Future[Full]
    limits: Future[tuple[str, str]]
    idle: Future[Talk]
    slow: Future[Talk]


@pytest.fixture(scope="module")
def plays(module_service: Service, migrated_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plays]:
    port = module_service.port

    def fresh() -> Path:
        """Returns a new database for another service."""
        path = tmp_path_factory.mktemp("slow") / "db.sqlite3"
        shutil.copy(migrated_file, path)
        return path

    def play_non_reading(database: Path) -> NonReading:
        with serving(database, database.parent) as service:
            return read_nothing(service)

    def play_late(database: Path, breaks_off: bool) -> list[Late]:
        with serving(database, database.parent) as service:
            return read_late(service, breaks_off=breaks_off)

    with ThreadPoolExecutor(max_workers=64) as pool:
        yield Plays(
            # Start the longest first.
            drips={slow: pool.submit(drip, port, slow) for slow in DRIPS},
            non_reading=pool.submit(play_non_reading, fresh()),
            late={breaks_off: pool.submit(play_late, fresh(), breaks_off) for breaks_off in (False, True)},
            guests={guest: pool.submit(end_during, guest, fresh()) for guest in GUESTS},
            request_under_way=pool.submit(end_with_a_request_under_way, fresh()),
            full=pool.submit(fill, fresh()),
            limits=pool.submit(soft_and_hard_limit, fresh()),
            idle=pool.submit(idle_and_ask_again, port),
            slow=pool.submit(ask_slowly, port),
            floods={endless: pool.submit(flood, port, endless) for endless in FLOODS},
        )


@pytest.mark.parametrize("slow", DRIPS, ids=str)
def test_a_client_that_drips_is_disconnected(slow: Drip, plays: Plays) -> None:
    ending = plays.drips[slow].result()
    statuses = tuple(ending.talk.statuses)
    assert statuses == slow.statuses or (slow.may_be_silent and not statuses), str(ending.talk)
    assert ending.talk.rest == b""
    assert ending.talk.closed and ending.seconds <= LONGEST


@pytest.mark.parametrize("endless", FLOODS, ids=str)
def test_the_service_stops_reading_from_a_client_that_continues_with(endless: Flood, plays: Plays) -> None:
    flooded = plays.floods[endless].result()
    assert flooded.bytes_read <= LARGEST_FLOOD
    assert [status in endless.statuses for status in flooded.talk.statuses] == [True], str(flooded.talk)
    assert flooded.talk.responses[0].announces_close
    assert flooded.talk.closed


def test_a_client_that_reads_nothing_is_disconnected(plays: Plays) -> None:
    non_reading = plays.non_reading.result()
    print(f"closed after {non_reading.seconds:.1f} s, {non_reading.growth / MIB:.1f} MiB")
    assert non_reading.was_closed and non_reading.seconds <= LONGEST
    assert non_reading.growth < 32 * MIB


@pytest.mark.parametrize("breaks_off", [False, True], ids=["and asks for the end", "and breaks off"])
def test_a_client_that_reads_late_gets_everything(breaks_off: bool, plays: Plays) -> None:
    clients = plays.late[breaks_off].result()
    assert any(late.was_held for late in clients), "the kernel took everything"
    for late in clients:
        assert set(late.talk.statuses) == {200} and len(late.talk.statuses) == late.asked
        assert late.talk.rest == b"" and late.talk.closed


def test_a_client_may_be_idle_for_a_while(plays: Plays) -> None:
    assert plays.idle.result().statuses == [200, 200]


def test_a_client_may_be_slow(plays: Plays) -> None:
    assert plays.slow.result().statuses == [202]


def test_the_last_response_of_a_thousand_announces_the_end(module_service: Service) -> None:
    talk = exchange(module_service.port, LIVE * 1_001)
    assert talk.statuses == [200] * 1_000
    assert [response.announces_close for response in talk.responses] == [False] * 999 + [True]
    assert talk.rest == b"" and talk.closed


@pytest.mark.parametrize("guest", GUESTS, ids=str)
def test_a_client_does_not_delay_the_shutdown_if_it(guest: Guest, plays: Plays) -> None:
    end = plays.guests[guest].result()
    assert end.code == 0 and end.seconds <= LONGEST_END


def test_a_request_in_progress_is_answered_before_the_shutdown(plays: Plays) -> None:
    end, talk = plays.request_under_way.result()
    assert talk.statuses == [202], str(talk)
    assert talk.closed
    assert end.code == 0 and end.seconds <= LONGEST_END


def test_a_full_service_idles_and_serves_its_connections(plays: Plays) -> None:
    full = plays.full.result()
    # 128 of the 256 descriptors are reserved for other purposes. Up to four threads accept connections at a time, each
    # while there is one slot left.
    assert 126 <= full.connections <= 131
    assert full.load < 0.1
    assert full.while_full.statuses == [200, 202]
    assert full.is_alive_after


def test_the_soft_limit_of_descriptors_is_raised(plays: Plays) -> None:
    soft, hard = plays.limits.result()
    assert soft == hard


@pytest.mark.parametrize("limit", [100, 255])
def test_too_few_descriptors_stop_the_start(limit: int, database: Path) -> None:
    done = command(database, "serve", limits=f"-n {limit}")
    assert done.returncode == 78
    assert str(limit) in done.stderr


def test_the_service_survives_all_of_that(plays: Plays, module_service: Service) -> None:
    wait(plays.drips.values())
    wait(plays.floods.values())
    assert is_alive(module_service.port)
    assert module_service.request_reset(email="stranger@example.com").status == 202
