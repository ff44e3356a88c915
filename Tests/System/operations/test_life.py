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
# What the operator's tools wait for before they kill.
LONGEST_END = 10
# A lease that is not given back ends after six seconds.
LONGEST_TAKEOVER = 4
OWED = 6
CROWD = 100


@dataclass
class Scene:
    """A service that owes mails which its mail server does not take, and what happens to it."""

    service: Service
    database: Path
    server: ScriptedServer
    link: Link
    # The request ids of all that was answered 202.
    accepted: list[str] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)

    def wait_for_end(self) -> None:
        self.service.process.wait(timeout=LONGEST_END + 5)


# What is set up when the block begins; in the block the service is told to end, and what it said is read afterwards.
State = Callable[[Scene], AbstractContextManager[None]]


@contextmanager
def idle(scene: Scene) -> Iterator[None]:
    """One client keeps its connection, and asks nothing."""
    with Connection(scene.service.port) as client:
        client.send(LIVE)
        scene.statuses += client.listen(10, responses=1).statuses
        yield
        scene.wait_for_end()


@contextmanager
def crowded(scene: Scene) -> Iterator[None]:
    """A hundred requests wait for the database when the end is told."""
    body = b'{"email": "user1@example.com"}'
    with ExitStack() as stack:
        clients = [stack.enter_context(Connection(scene.service.port)) for _ in range(CROWD)]
        with closing(sqlite3.connect(scene.database, isolation_level=None, timeout=5)) as other:
            other.execute("BEGIN IMMEDIATE")
            for client in clients:
                client.send(ASK + b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
            for client in clients:
                wait_until(lambda client=client: client.is_read, "the requests to be read")
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
    """The mail server has the text of a mail, and has not said what becomes of it."""
    wait_until(lambda: "DATA" in scene.server.heard, "a mail to be under way")
    yield
    scene.wait_for_end()


@contextmanager
def hashing(scene: Scene) -> Iterator[None]:
    """A new password is being hashed."""
    body = json.dumps({"new_password1": NEW, "new_password2": NEW}).encode()
    head = f"POST /password-reset/{scene.link.uid}/{scene.link.token} HTTP/1.1\r\nHost: localhost\r\n"
    with Connection(scene.service.port) as client:
        before = scene.service.processor_time
        client.send(head.encode() + b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        wait_until(lambda: scene.service.processor_time > before + 0.2, "the hash to be under way")
        assert client.listen(0).statuses == [], "the hash was done too soon"
        yield
        scene.wait_for_end()
        response = client.listen(1, responses=1).responses[0]
        scene.statuses.append(response.status)
        scene.accepted.append(response.headers["X-Request-Id"])


@contextmanager
def dripping(scene: Scene) -> Iterator[None]:
    """A body comes byte by byte."""
    with Connection(scene.service.port) as client, ThreadPoolExecutor() as pool:
        client.send(ASK + b"Content-Length: 1000\r\n\r\n")
        wait_until(lambda: client.is_read, "the head to be read")

        def drip() -> None:
            while scene.service.process.poll() is None:
                client.send_some(b" ", 0.1)
                client.listen(0.1)

        pool.submit(drip)
        yield
        scene.wait_for_end()


@contextmanager
def unread(scene: Scene) -> Iterator[None]:
    """A client reads nothing of what it asked for."""
    with Connection(scene.service.port, receive_buffer=4096) as client:
        fill_buffers(client, CONTRACT, quiet=1)
        yield
        scene.wait_for_end()


@dataclass(frozen=True)
class Act:
    """A state in which the end may come, and what the mail server does meanwhile."""

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
    Act("a mail before its text", mailing, server={"DATA": Fault.SILENCE}),
    Act("a mail after its text", mailing, server={".": Fault.SILENCE}),
    Act("a hash under way", hashing, [200]),
    Act("a dripped body", dripping),
    Act("an unread response", unread),
]


@dataclass(frozen=True)
class Ending:
    code: int
    seconds: float
    accepted: set[str]
    statuses: list[int]
    # The request ids of the mails that the servers took, those of the first and those of the second service.
    sent: set[str]
    # How long after its start the second service had none left to send.
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
            for number in range(OWED):
                reply = service.request_reset(email=f"user{number}@example.com")
                assert reply.status == 202
                scene.accepted.append(reply.request_id)
            wait_until(lambda: silent.connections, "the first mail to be under way")
            with act.state(scene):
                start = time.monotonic()
                service.process.terminate()
            seconds = time.monotonic() - start
            code = service.process.wait()
        # Another takes on at once what is left.
        with serving(database, folder / "second", **smtp_settings(good)):
            start = time.monotonic()
            wait_until(lambda: is_done(database), "the second service to send what is left")
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
    """All at the same time, as each is mostly waiting."""
    template = tmp_path_factory.mktemp("template") / "db.sqlite3"
    shutil.copy(migrated_file, template)
    with on_database(template):
        add_users(OWED)
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
def test_the_end_loses_nothing_in_the_state_of(act: Act, endings: dict[str, Future[Ending]]) -> None:
    ending = endings[act.what].result()
    print(f"ended after {ending.seconds:.1f} s, taken over after {ending.takeover:.1f} s")
    assert (ending.code, ending.statuses) == (0, act.statuses)
    assert ending.seconds <= LONGEST_END
    assert ending.accepted - ending.sent == set(), "accepted, and no mail came"
    assert ending.takeover <= LONGEST_TAKEOVER
    resets = 1 if act.state is hashing else 0
    assert ending.events == {"requested": len(ending.accepted) - resets, "reset": resets, "mail_failed": 0}


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_the_end_is_quick_where_nothing_is_to_be_done(sent: signal.Signals, serve: Callable[..., Service]) -> None:
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
    """What the log has to say against the templates."""
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
    assert next_subject(service, mail_server) == "First", "read without being told"
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
    wait_until(lambda: next_subject(service, mail_server) == "Third", "the mended template")
    assert service.process.poll() is None


def test_sighup_without_templates_costs_nothing(serve: Callable[..., Service]) -> None:
    service = serve()
    for _ in range(20):
        service.process.send_signal(signal.SIGHUP)
        assert service.request_reset(email="alice@example.com").status == 202
    assert service.process.poll() is None


def test_a_closed_terminal_ends_the_service_of_a_developer(database: Path, tmp_path: Path) -> None:
    log = tmp_path / "dev.log"
    environment = BASE_ENVIRONMENT | {"HTTP_PORT": "0", "ADMIN_PORT": "0", "DATABASE_URL": f"sqlite:{database}"}
    # As a terminal starts it; whoever runs the tests may have them ignore the signal (nohup).
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
    """Six processes at once on a database that there is not yet; all of them must come up."""
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
def test_processes_may_start_at_once_on_a_new_database(tmp_path: Path) -> None:
    reference = tmp_path / "reference.sqlite3"
    assert command(reference, "migrate").returncode == 0

    def play_round(number: int) -> Path:
        folder = tmp_path / f"round{number}"
        folder.mkdir()
        start_together(folder / "db.sqlite3", folder)
        return folder / "db.sqlite3"

    # Two rounds at a time, which makes the order of things less regular.
    with ThreadPoolExecutor(max_workers=2) as pool:
        databases = list(pool.map(play_round, range(ROUNDS)))
    for database in databases:
        assert schema(database) == schema(reference)
        assert applied(database) == applied(reference) != []
        assert database.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("arguments", [["serve"], ["migrate"], ["users", "list"], ["outbox", "list"], ["audit"], ["check"]], ids=" ".join)
def test_a_newer_schema_is_left_alone(arguments: list[str], tmp_path: Path) -> None:
    """It stays in the journal mode it has, as the newer release may have its reasons."""
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


def test_the_schema_is_newer_for_a_service_that_runs_in_wal_mode_too(tmp_path: Path) -> None:
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
