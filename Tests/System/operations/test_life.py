"""The service starts at the same time as others, reloads templates while it runs, and shuts down without losing anything."""

import json
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from django.contrib.auth.models import User

from django_site import add_user, add_users, link_for, on_database
from log_search import leaks, secrets_of
from mail_server import MailServer
from outbox import audited, connected
from processes import running, wait_until
from raw_http import ASK, CONTRACT, LIVE, Connection, fill_buffers
from scripted_server import Fault, Replies, ScriptedServer, scripted
from scripted_server import settings as smtp_settings
from service import BASE_ENVIRONMENT, BINARY, Link, Service, command, serving

NEW = "battery-staple-92-new"
# How long the operator's tools wait before they kill the service.
LONGEST_END = 10
# A lease that is not released expires after six seconds.
LONGEST_TAKEOVER = 4
PENDING = 6
CROWD = 100


@dataclass
class Scene:
    """A service with emails in its outbox that its mail server does not accept, and the results."""

    service: Service
    database: Path
    server: ScriptedServer
    link: Link
    # The IDs of all requests that were answered with 202.
    accepted: list[str] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)

    def wait_for_end(self) -> None:
        self.service.process.wait(timeout=LONGEST_END + 5)


# Each function sets up a state. Within its block the service shuts down; afterwards the function reads the responses.
State = Callable[[Scene], AbstractContextManager[None]]


@contextmanager
def idle(scene: Scene) -> Iterator[None]:
    """One client keeps its connection, and sends no request."""
    with Connection(scene.service.port) as client:
        client.send(LIVE)
        scene.statuses += client.listen(10, responses=1).statuses
        yield
        scene.wait_for_end()


@contextmanager
def crowded(scene: Scene) -> Iterator[None]:
    """A hundred requests wait for the database when the shutdown begins."""
    body = b'{"email": "user1@example.com"}'
    with ExitStack() as stack:
        clients = [stack.enter_context(Connection(scene.service.port)) for _ in range(CROWD)]
        with closing(sqlite3.connect(scene.database, isolation_level=None, timeout=5)) as other:
            other.execute("BEGIN IMMEDIATE")
            for client in clients:
                client.send(ASK + b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
            for client in clients:
                wait_until(lambda client=client: client.is_read, "the service to read the requests")
            yield
            wait_until(lambda: not scene.service.is_listening, "the service to stop listening")
        scene.wait_for_end()
        for client in clients:
            for response in client.listen(1, responses=1).responses:
                scene.statuses.append(response.status)
                if response.status == 202:
                    scene.accepted.append(response.headers["X-Request-Id"])


@contextmanager
def mailing(scene: Scene) -> Iterator[None]:
    """The mail server has the text of an email, and has not replied to it."""
    wait_until(lambda: "DATA" in scene.server.heard, "an email to be in progress")
    yield
    scene.wait_for_end()


@contextmanager
def hashing(scene: Scene) -> Iterator[None]:
    """The service is hashing a new password."""
    body = json.dumps({"new_password1": NEW, "new_password2": NEW}).encode()
    head = f"POST /password-reset/{scene.link.uid}/{scene.link.token} HTTP/1.1\r\nHost: localhost\r\n"
    with Connection(scene.service.port) as client:
        before = scene.service.processor_time
        client.send(head.encode() + b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        wait_until(lambda: scene.service.processor_time > before + 0.2, "the hash to be in progress")
        assert client.listen(0).statuses == [], "the hash was done too soon"
        yield
        scene.wait_for_end()
        response = client.listen(1, responses=1).responses[0]
        scene.statuses.append(response.status)
        scene.accepted.append(response.headers["X-Request-Id"])


@contextmanager
def dripping(scene: Scene) -> Iterator[None]:
    """A body arrives byte by byte."""
    with Connection(scene.service.port) as client, ThreadPoolExecutor() as pool:
        client.send(ASK + b"Content-Length: 1000\r\n\r\n")
        wait_until(lambda: client.is_read, "the service to read the head")

        def drip() -> None:
            while scene.service.process.poll() is None:
                client.send_some(b" ", 0.1)
                client.listen(0.1)

        pool.submit(drip)
        yield
        scene.wait_for_end()


@contextmanager
def unread(scene: Scene) -> Iterator[None]:
    """A client does not read its responses."""
    with Connection(scene.service.port, receive_buffer=4096) as client:
        fill_buffers(client, CONTRACT, quiet=1)
        yield
        scene.wait_for_end()


@dataclass(frozen=True)
class Act:
    """A state of the service at shutdown, and what the mail server does during it."""

    what: str
    state: State
    # The statuses that its clients get.
    statuses: list[int] = field(default_factory=list)
    server: Replies = field(default_factory=lambda: {"greeting": Fault.SILENCE})

    def __str__(self) -> str:
        return self.what


ACTS = [
    Act("idle", idle, [200]),
    Act("a hundred requests in flight", crowded, [202] * CROWD),
    Act("an email before its text", mailing, server={"DATA": Fault.SILENCE}),
    Act("an email after its text", mailing, server={".": Fault.SILENCE}),
    Act("a hash in progress", hashing, [200]),
    Act("a dripped body", dripping),
    Act("an unread response", unread),
]


@dataclass(frozen=True)
class Ending:
    code: int
    seconds: float
    accepted: set[str]
    statuses: list[int]
    # The request IDs of the emails that the servers accepted, from the first and from the second service.
    sent: set[str]
    # How long after its start the second service had sent all the rest.
    takeover: float
    events: dict[str, int]


def play(act: Act, database: Path, folder: Path, link: Link) -> Ending:
    hashes = {"PASSWORD_HASHER_OPTIONS": "iterations=2000000"} if act.state is hashing else {}
    (folder / "first").mkdir()
    (folder / "second").mkdir()
    with scripted(act.server) as silent, scripted({}) as good:
        slow = smtp_settings(silent, EMAIL_TIMEOUT="60", EMAIL_CONNECTIONS="1")
        with serving(database, folder / "first", **slow, **hashes) as service:
            scene = Scene(service, database, silent, link)
            for number in range(PENDING):
                reply = service.request_reset(email=f"user{number}@example.com")
                assert reply.status == 202
                scene.accepted.append(reply.request_id)
            wait_until(lambda: silent.connections, "the first email to be in progress")
            with act.state(scene):
                start = time.monotonic()
                service.process.terminate()
            seconds = time.monotonic() - start
            code = service.process.wait()
        # Another service continues at once with the remaining emails.
        with serving(database, folder / "second", **smtp_settings(good)):
            start = time.monotonic()
            wait_until(lambda: is_done(database), "the second service to send the remaining emails")
            takeover = time.monotonic() - start
        sent = {identifier.strip("<").split(".")[0] for identifier in [*silent.taken, *good.taken]}
    events = {event: audited(database, event) for event in ("requested", "reset", "mail_failed")}
    return Ending(code, seconds, set(scene.accepted), scene.statuses, sent, takeover, events)


def is_done(database: Path) -> bool:
    with connected(database) as connection:
        ((count, dead_letters),) = connection.execute("SELECT count(*), count(dead_lettered_at) FROM password_reset_outbox")
    assert dead_letters == 0
    return count == 0


@pytest.fixture(scope="module")
def endings(migrated_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[Act, Future[Ending]]]:
    """Runs all states in parallel, because each mostly waits."""
    template = tmp_path_factory.mktemp("template") / "db.sqlite3"
    shutil.copy(migrated_file, template)
    with on_database(template):
        add_users(PENDING)
        link = link_for(User.objects.get(username="user0"))
    with ThreadPoolExecutor(max_workers=len(ACTS)) as pool:
        endings = {}
        for act in ACTS:
            folder = tmp_path_factory.mktemp("act")
            database = folder / "db.sqlite3"
            shutil.copy(template, database)
            endings[id(act)] = pool.submit(play, act, database, folder, link)
        yield {act.what: endings[id(act)] for act in ACTS}


@pytest.mark.slow
@pytest.mark.parametrize("act", ACTS, ids=str)
def test_a_shutdown_loses_nothing_in_the_state(act: Act, endings: dict[str, Future[Ending]]) -> None:
    ending = endings[act.what].result()
    print(f"ended after {ending.seconds:.1f} s, taken over after {ending.takeover:.1f} s")
    assert (ending.code, ending.statuses) == (0, act.statuses)
    assert ending.seconds <= LONGEST_END
    assert ending.accepted - ending.sent == set(), "a request was accepted, but its email did not arrive"
    assert ending.takeover <= LONGEST_TAKEOVER
    resets = 1 if act.state is hashing else 0
    assert ending.events == {"requested": len(ending.accepted) - resets, "reset": resets, "mail_failed": 0}


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_service_shuts_down_quickly(sent: signal.Signals, serve: Callable[..., Service]) -> None:
    service = serve()
    start = time.monotonic()
    service.process.send_signal(sent)
    assert service.process.wait(timeout=10) == 0
    assert time.monotonic() - start < 3


@dataclass(frozen=True)
class Templates:
    folder: Path

    def put(self, subject: str) -> None:
        self.folder.mkdir(exist_ok=True)
        temporary = self.folder / "subject.new"
        temporary.write_text(subject)
        temporary.rename(self.folder / "password_reset_subject.txt")


@pytest.fixture
def templates(tmp_path: Path) -> Templates:
    made = Templates(tmp_path / "templates")
    made.put("First")
    return made


def next_subject(service: Service, mail_server: MailServer) -> str:
    before = len(mail_server.deliveries)
    assert service.request_reset(email="alice@example.com").status == 202
    return mail_server.wait_for(before + 1)[-1].message["Subject"]


def complaints(service: Service) -> list[dict[str, str]]:
    """Returns the complaints about the templates in the log."""
    lines = service.log.read_text().rpartition("\n")[0].splitlines()
    entries = [json.loads(line) for line in lines if line.startswith("{")]
    return [entry for entry in entries if entry["level"] in ("warning", "error") and "password_reset_subject.txt" in str(entry)]


def test_templates_are_reloaded_on_sighup(
    templates: Templates, mail_server: MailServer, serve_with_mail: Callable[..., Service]
) -> None:
    add_user("alice", "alice@example.com")
    service = serve_with_mail(EMAIL_TEMPLATES_DIR=str(templates.folder))
    assert next_subject(service, mail_server) == "First"

    templates.put("Second")
    assert next_subject(service, mail_server) == "First", "templates were read without a signal"
    service.process.send_signal(signal.SIGHUP)
    wait_until(lambda: next_subject(service, mail_server) == "Second", "the new template")

    templates.put("{{#broken}} without an end")
    service.process.send_signal(signal.SIGHUP)
    wait_until(lambda: complaints(service), "a complaint in the log")
    assert next_subject(service, mail_server) == "Second"

    templates.folder.rename(templates.folder.with_name("gone"))
    service.process.send_signal(signal.SIGHUP)
    wait_until(lambda: service.log.read_text().count("EMAIL_TEMPLATES_DIR") >= 2, "another complaint in the log")
    assert next_subject(service, mail_server) == "Second"

    templates.put("Third")
    service.process.send_signal(signal.SIGHUP)
    wait_until(lambda: next_subject(service, mail_server) == "Third", "the fixed template")
    assert service.process.poll() is None


def test_sighup_without_templates_costs_nothing(serve: Callable[..., Service]) -> None:
    service = serve()
    for _ in range(20):
        service.process.send_signal(signal.SIGHUP)
        assert service.request_reset(email="alice@example.com").status == 202
    assert service.process.poll() is None


def test_a_closed_terminal_ends_a_service_in_development_mode(database: Path, tmp_path: Path) -> None:
    log = tmp_path / "dev.log"
    environment = BASE_ENVIRONMENT | {"HTTP_PORT": "0", "ADMIN_PORT": "0", "DATABASE_URL": f"sqlite:{database}"}
    # A terminal starts programs with the default action. The tests may run with SIGHUP ignored (nohup).
    program = ["env", "--default-signal=HUP", BINARY, "serve", "--dev"]
    with running(program, environment, log) as process:
        wait_until(lambda: "password-reset is ready" in log.read_text(), "the service to be ready")
        process.send_signal(signal.SIGHUP)
        process.wait(timeout=10)


ROUNDS = 20
SERVICES = 3
MIGRATIONS = 3


def schema(database: Path) -> set[tuple[object, ...]]:
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return set(connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master"))


def applied(database: Path) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute("SELECT identifier FROM grdb_migrations ORDER BY identifier").fetchall()


def start_together(database: Path, folder: Path) -> None:
    """Starts six processes at once on a database that does not exist yet; all of them must start."""
    environment = BASE_ENVIRONMENT | {
        "HTTP_PORT": "0",
        "ADMIN_PORT": "0",
        "DATABASE_URL": f"sqlite:{database}",
        "SECRET_KEY": "a-key-for-processes-that-start-at-once-0123456789",
        "RESET_URL": "https://frontend.example.com/reset/{uid}/{token}/",
        "EMAIL_BACKEND": "dummy",
    }
    with ExitStack() as stack:
        services = []
        migrations = []
        for number in range(max(SERVICES, MIGRATIONS)):
            log = folder / f"service{number}.log"
            services.append((stack.enter_context(running([BINARY, "serve"], environment, log)), log))
            migrations.append(
                subprocess.Popen([BINARY, "migrate"], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            )
        for migration in migrations:
            _, said = migration.communicate(timeout=60)
            assert migration.returncode == 0, said.decode()
        for process, log in services:

            def is_up() -> bool:
                assert process.poll() is None, log.read_text()
                return "listening on 127.0.0.1" in log.read_text()

            wait_until(is_up, "all services to listen")
    assert [process.returncode for process, _ in services] == [0] * SERVICES
    for _, log in services:
        assert leaks(log.read_text(), secrets_of(environment)) == []


@pytest.mark.slow
def test_processes_may_start_at_the_same_time_on_a_new_database(tmp_path: Path) -> None:
    reference = tmp_path / "reference.sqlite3"
    assert command(reference, "migrate").returncode == 0

    def play_round(number: int) -> Path:
        folder = tmp_path / f"round{number}"
        folder.mkdir()
        start_together(folder / "db.sqlite3", folder)
        return folder / "db.sqlite3"

    # Run two rounds at a time, which varies the order of events.
    with ThreadPoolExecutor(max_workers=2) as pool:
        databases = list(pool.map(play_round, range(ROUNDS)))
    for database in databases:
        assert schema(database) == schema(reference)
        assert applied(database) == applied(reference) != []
        assert database.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("arguments", [["serve"], ["migrate"], ["users", "list"], ["outbox", "list"], ["audit"], ["check"]], ids=" ".join)
def test_a_newer_schema_is_not_changed(arguments: list[str], tmp_path: Path) -> None:
    """The database keeps its journal mode, because the newer release may have its reasons for it."""
    database = tmp_path / "db.sqlite3"
    assert command(database, "migrate").returncode == 0
    with connected(database) as connection:
        connection.execute("INSERT INTO grdb_migrations VALUES ('999 of a later release')")
        connection.execute("DROP INDEX password_reset_auth_user_email")
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("PRAGMA journal_mode = DELETE").fetchone() == ("delete",)
    before = database.read_bytes()
    done = command(database, *arguments)
    assert done.returncode == 78, done.stdout + done.stderr
    assert "newer release" in done.stdout + done.stderr
    assert database.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["db.sqlite3"]


def test_a_newer_schema_is_not_changed_in_wal_mode_either(tmp_path: Path) -> None:
    database = tmp_path / "db.sqlite3"
    assert command(database, "migrate").returncode == 0
    with connected(database) as connection:
        connection.execute("INSERT INTO grdb_migrations VALUES ('999 of a later release')")
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
    before = database.read_bytes()
    done = command(database, "serve")
    assert (done.returncode, "newer release" in done.stderr) == (78, True)
    assert database.read_bytes() == before
