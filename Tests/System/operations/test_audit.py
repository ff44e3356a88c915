"""The audit records each event once and without addresses, and operators can find it again."""

import json
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from django_site import LateTokenGenerator, add_user, link_for
from outbox import audited, dead_letters, connected, pending
from processes import wait_until
from scripted_server import scripted, settings
from postgres import Cluster
from service import BASE_ENVIRONMENT, BINARY, Link, command, environment_of, run_command, run_program, serving

NEW = "battery-staple-92-new"
EVENTS = {
    "requested", "no_account", "suppressed", "mailed", "mail_failed", "link_invalid", "link_expired", "reset", "set_by_staff", "link_printed",
    "cancelled",
}  # fmt: skip


@dataclass(frozen=True)
class Line:
    """One line of `audit --json`."""

    text: str

    @property
    def event(self) -> str:
        return json.loads(self.text)["event"]


def audit(database: Path, *arguments: str, **others: str) -> list[Line]:
    done = command(database, "audit", "--json", *arguments, **others)
    assert done.returncode == 0, done.stderr
    return [Line(line) for line in done.stdout.splitlines()]


def events(database: Path, *arguments: str, **others: str) -> list[str]:
    return [line.event for line in audit(database, *arguments, **others)]


def insert(database: Path, *rows: tuple[int, str, int | None, str]) -> None:
    """Inserts lines with their times in milliseconds, events, users and request IDs."""
    with connected(database) as connection:
        connection.executemany(
            "INSERT INTO password_reset_audit (at, event, user_id, request_id) VALUES (?, ?, ?, ?)", rows
        )


def milliseconds_ago(**span: float) -> int:
    return int((time.time() - timedelta(**span).total_seconds()) * 1000)


@dataclass(frozen=True)
class Story:
    database: Path
    # The request IDs by the name of the request.
    requests: dict[str, str]


@pytest.fixture(scope="module")
def story(module_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """Runs a service in which each kind of event happens once."""
    database = module_database
    alice = add_user("alice", "alice@example.com")
    add_user("bob", "bob@example.com")
    requests = {}
    with scripted({"RCPT TO:<bob@example.com>": "550 no"}) as server, ExitStack() as stack:
        hasher = {"PASSWORD_HASHER_OPTIONS": "iterations=10"}
        limit = {"RATE_LIMIT_MAILS": "1/d"}
        service = stack.enter_context(serving(database, tmp_path_factory.mktemp("story"), **settings(server), **hasher, **limit))

        def ask(what: str, address: str) -> None:
            reply = service.request_reset(email=address)
            assert reply.status == 202
            requests[what] = reply.request_id
            wait_until(lambda: pending(database) == 0, "the outbox to be empty")

        ask("mailed", "Alice@Example.com")
        ask("suppressed", "alice@example.com")
        ask("no_account", "stranger@example.com")
        ask("mail_failed", "bob@example.com")
        assert len(dead_letters(database)) == 1
        requests["link_invalid"] = service.check_link(Link(link_for(alice).uid, "abc-def")).request_id
        late = link_for(alice, LateTokenGenerator(timedelta(hours=2)))
        requests["link_expired"] = service.check_link(late).request_id
        done = service.set_password(link_for(alice), NEW, NEW)
        assert done.status == 200
        requests["reset"] = done.request_id
        assert command(database, "users", "link", "bob").returncode == 0
        piped = command(database, "users", "set-password", "bob", "--password-stdin", stdin="another-good-one-93", **hasher)
        assert piped.returncode == 0, piped.stderr
        assert "Cancelled the reset links" in run_command(database, "users", "cancel-links", "bob")
        wait_until(lambda: audited(database, "link_expired"), "the check of the old link to be recorded")
        wait_until(lambda: pending(database) == 0, "the outbox to be empty")
    yield Story(database, requests)


def test_each_event_is_recorded_as_often_as_it_happened(story: Story) -> None:
    found = events(story.database, "--limit", "1000")
    assert set(found) == EVENTS
    counts = {event: found.count(event) for event in EVENTS}
    # One email per request, and one per password that was set; the one to bob is refused twice.
    expected = dict.fromkeys(EVENTS, 1) | {"requested": 4, "mailed": 2, "mail_failed": 2}
    assert counts == expected


@pytest.mark.parametrize("what", ["mailed", "suppressed", "no_account", "mail_failed", "link_invalid", "link_expired", "reset"])
def test_an_event_is_found_by_its_request(what: str, story: Story) -> None:
    lines = audit(story.database, "--request-id", story.requests[what])
    assert all(story.requests[what] in line.text for line in lines)
    first = ["requested"] if what in ("mailed", "suppressed", "no_account", "mail_failed") else []
    last = ["mailed"] if what == "reset" else []
    assert [line.event for line in lines] == [*first, what, *last]


@pytest.mark.parametrize("event", sorted(EVENTS))
def test_events_are_found_by_their_name(event: str, story: Story) -> None:
    found = events(story.database, "--event", event)
    assert found and set(found) == {event}


def test_the_newest_line_is_last(story: Story) -> None:
    with connected(story.database) as connection:
        rows = connection.execute("SELECT event, request_id FROM password_reset_audit ORDER BY at, id").fetchall()
    assert [line.event for line in audit(story.database)] == [event for event, _ in rows]
    newest = audit(story.database, "--limit", "2")
    assert [line.event for line in newest] == [event for event, _ in rows[-2:]]


@pytest.mark.parametrize("spelling", ["alice@example.com", "ALICE@EXAMPLE.COM", "Alice@Example.Com", "aLICE@example.com"])
def test_an_address_finds_its_lines_regardless_of_case(spelling: str, story: Story) -> None:
    found = events(story.database, "--identifier", spelling)
    # Both requests with their results, and the notice of the new password.
    assert sorted(set(found)) == ["mailed", "requested", "suppressed"]
    assert (found.count("requested"), found.count("suppressed")) == (2, 1)
    assert found == events(story.database, "--identifier", "alice@example.com")


def test_an_unknown_address_finds_nothing(story: Story) -> None:
    assert audit(story.database, "--identifier", "mallory@example.com") == []
    assert events(story.database, "--identifier", "stranger@example.com") == ["requested", "no_account"]


def test_an_address_is_also_found_with_a_former_key(story: Story) -> None:
    """If the key was changed in the meantime, the old one is a fallback."""
    key = "another-key-of-the-same-site-9876543210"
    assert audit(story.database, "--identifier", "alice@example.com", SECRET_KEY=key) == []
    former = "system-tests-secret-key-of-the-site-0123456789"
    found = events(story.database, "--identifier", "alice@example.com", SECRET_KEY=key, SECRET_KEY_FALLBACKS=former)
    assert found == events(story.database, "--identifier", "alice@example.com") != []


def test_a_user_is_found_by_name(story: Story) -> None:
    found = events(story.database, "--user", "bob")
    assert sorted(found) == ["cancelled", "link_printed", "mail_failed", "mail_failed", "set_by_staff"]
    assert {"reset", "mailed", "link_expired"} <= set(events(story.database, "--user", "alice"))
    assert command(story.database, "audit", "--user", "mallory").returncode in (0, 67)


def test_filters_narrow_each_other(story: Story) -> None:
    both = events(story.database, "--identifier", "alice@example.com", "--event", "requested", "--limit", "1")
    assert both == ["requested"]
    assert events(story.database, "--user", "bob", "--event", "reset") == []


def test_a_client_is_found_by_its_key_and_by_its_address(story: Story) -> None:
    of_client = ["requested", "requested", "requested", "requested", "link_invalid", "link_expired", "reset"]
    found = audit(story.database, "--client-address", "127.0.0.1")
    assert sorted(line.event for line in found) == sorted(of_client)
    (key,) = {json.loads(line.text)["client_key"] for line in found}
    assert re.fullmatch("[0-9a-f]{32}", key)
    assert audit(story.database, "--client", key) == found
    assert audit(story.database, "--client-address", "::ffff:127.0.0.1") == found
    assert audit(story.database, "--client-address", "127.0.0.2") == audit(story.database, "--client", "0" * 32) == []
    assert key in run_command(story.database, "audit")
    # No hash of an address without the key leads there.
    assert audit(story.database, "--client-address", "127.0.0.1", SECRET_KEY="another-key-of-the-same-site-9876543210") == []


def test_the_table_has_no_address(story: Story) -> None:
    with connected(story.database) as connection:
        rows = connection.execute("SELECT * FROM password_reset_audit").fetchall()
        keys = [key for (key,) in connection.execute("SELECT identifier_key FROM password_reset_audit WHERE identifier_key IS NOT NULL")]
    text = repr(rows).lower()
    for word in ("@", "alice", "bob", "stranger", "example"):
        assert word not in text
    # The identifiers are keyed hashes, so a list of addresses does not help without the key.
    assert keys and all(re.fullmatch("[0-9a-f]{32}", key) for key in keys)
    shown = command(story.database, "audit", "--limit", "1000").stdout
    assert "@" not in shown


def test_the_audit_can_be_printed_as_a_table(story: Story) -> None:
    heading, *lines = run_command(story.database, "audit", "--limit", "1000").splitlines()
    assert heading.split() == ["TIME", "EVENT", "USER", "IDENTIFIER", "CLIENT", "REQUEST", "DETAIL"]
    assert [line.split()[1] for line in lines] == events(story.database, "--limit", "1000")
    assert story.requests["reset"] in "\n".join(lines)


@pytest.fixture
def aged(tmp_path: Path) -> Path:
    """Returns a database whose audit has one line of each of several ages."""
    database = tmp_path / "db.sqlite3"
    run_command(database, "migrate")
    ages = {"a-minute": timedelta(minutes=1), "an-hour": timedelta(hours=1), "a-day": timedelta(hours=23), "a-week": timedelta(days=6)}
    for request, age in ages.items():
        insert(database, (milliseconds_ago(seconds=age.total_seconds()), "reset", None, request))
    return database


def requests_of(database: Path, *arguments: str) -> list[str]:
    known = ["a-minute", "an-hour", "a-day", "a-week"]
    lines = audit(database, *arguments)
    return [next(request for request in known if request in line.text) for line in lines]


@pytest.mark.parametrize(
    ("since", "count"),
    [("10m", 1), ("90m", 2), ("24h", 3), ("7d", 4), ("5d", 3)],
)
def test_since_takes_a_duration(since: str, count: int, aged: Path) -> None:
    assert requests_of(aged, "--since", since) == ["a-week", "a-day", "an-hour", "a-minute"][4 - count :]


def test_since_takes_a_day_or_a_time(aged: Path) -> None:
    now = datetime.now(UTC)
    assert requests_of(aged, "--since", (now - timedelta(days=4)).strftime("%Y-%m-%d")) == ["a-day", "an-hour", "a-minute"]
    assert requests_of(aged, "--since", (now - timedelta(minutes=30)).strftime("%Y-%m-%dT%H:%M:%SZ")) == ["a-minute"]
    assert requests_of(aged, "--since", (now + timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["--since", "yesterday"],
        ["--since", "-1h"],
        ["--since", ""],
        ["--since", "7w"],
        ["--since", "2026-13-01"],
        ["--since", "2026-02-30"],
        ["--since", "2026-05-01T25:00"],
        ["--since", "2026-05-01T12:00+1:00"],
        ["--since", "٣h"],
        ["--since", "99999999999d"],
        ["--event", "stolen"],
        ["--limit", "0"],
        ["--limit", "100001"],
        ["--limit", "all"],
        ["--client-address", "203.0.113"],
        ["--client-address", "203.0.113.7", "--client", "0"],
    ],
    ids=" ".join,
)
def test_wrong_usage_has_an_exit_status(arguments: list[str], aged: Path) -> None:
    done = command(aged, "audit", *arguments)
    assert (done.returncode, arguments[0] in done.stderr) == (64, True), done.stderr


@pytest.mark.parametrize(
    ("since", "is_shown"),
    [
        ("2026-05-01", True), ("2026-05-01T12:00", True), ("2026-05-01 12:00:00", True), ("2026-05-01T12:00:00.000Z", True),
        ("2026-05-01T14:00:00+02:00", True), ("2026-05-01T06:30:00-05:30", True), ("2026-05-02", False),
        ("2026-05-01T12:00:01Z", False), ("2026-05-01T14:00:01+02:00", False), ("2026-05-01T06:31-05:30", False),
    ],
)  # fmt: skip
def test_a_time_may_have_any_zone(since: str, is_shown: bool, tmp_path: Path) -> None:
    database = tmp_path / "db.sqlite3"
    run_command(database, "migrate")
    noon = datetime(2026, 5, 1, 12, tzinfo=UTC)
    insert(database, (int(noon.timestamp() * 1000), "reset", 1, "r1"))
    assert events(database, "--since", since) == ["reset"] * is_shown


def test_a_request_id_is_never_sql(aged: Path) -> None:
    assert audit(aged, "--request-id", "' OR 1 = 1 --") == []


def test_only_an_address_needs_a_key(aged: Path) -> None:
    environment = BASE_ENVIRONMENT | {"DATABASE_URL": f"sqlite:{aged}"}
    done = run_program(environment, "audit", "--identifier", "alice@example.com")
    assert (done.returncode, done.stdout, "SECRET_KEY" in done.stderr) == (78, "", True)
    assert run_program(environment, "audit", "--event", "reset").stdout.count("reset") == 4


def test_a_line_cannot_control_the_terminal_and_may_come_from_another_release(tmp_path: Path) -> None:
    database = tmp_path / "db.sqlite3"
    run_command(database, "migrate")
    insert(database, (0, "pigeon_sent", 7, "\x1b[31mred"))
    _, line = run_command(database, "audit").splitlines()
    assert line.split() == ["1970-01-01T00:00:00Z", "pigeon_sent", "7", "-", "-", "\ufffd[31mred"]
    row = json.loads(run_command(database, "audit", "--json"))
    assert (row["at"], row["event"], row["user_id"], row["request_id"]) == ("1970-01-01T00:00:00Z", "pigeon_sent", 7, "\x1b[31mred")


def test_a_hundred_lines_are_shown_by_default(aged: Path) -> None:
    insert(aged, *[(milliseconds_ago(seconds=1), "reset", None, "a-minute") for _ in range(300)])
    assert [len(audit(aged, *arguments)) for arguments in ([], ["--limit", "250"], ["--limit", "1"])] == [100, 250, 1]


def test_a_missing_database_is_not_created(tmp_path: Path) -> None:
    assert command(tmp_path / "db.sqlite3", "audit").returncode == 78
    assert list(tmp_path.iterdir()) == []


def test_old_lines_are_deleted_and_recent_ones_stay(tmp_path: Path) -> None:
    database = tmp_path / "db.sqlite3"
    run_command(database, "migrate")
    old = [(milliseconds_ago(hours=25 + number % 1000), "reset", None, "old") for number in range(1200)]
    young = [(milliseconds_ago(hours=number / 100), "reset", None, "young") for number in range(1200)]
    insert(database, *old, *young)

    def left() -> dict[str, int]:
        with connected(database) as connection:
            return dict(connection.execute("SELECT request_id, count(*) FROM password_reset_audit GROUP BY request_id"))

    # The default value keeps much older lines.
    with serving(database, tmp_path) as service:
        assert service.request_reset(email="stranger@example.com").status == 202
        wait_until(lambda: audited(database, "no_account"), "the service to be running")
        assert left()["old"] == 1200
    with serving(database, tmp_path, AUDIT_DAYS="1"):
        wait_until(lambda: "old" not in left(), "the old lines to be deleted")
        assert left()["young"] == 1200



@dataclass(frozen=True)
class Follower:
    """A running `audit --follow` and the lines that it has printed."""

    process: subprocess.Popen[str]
    lines: list[str]

    @property
    def requests(self) -> list[str]:
        return [json.loads(line)["request_id"] for line in list(self.lines)]

    def wait_for(self, *requests: str) -> None:
        wait_until(lambda: len(self.lines) >= len(requests), f"{len(requests)} lines")
        assert self.requests == list(requests)


@contextmanager
def following(database: Path, *arguments: str, **settings: str) -> Iterator[Follower]:
    """Follows the audit until the end of the block."""
    environment = environment_of(database, **settings)
    process = subprocess.Popen(
        [BINARY, "audit", "--follow", "--json", *arguments],
        env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout
    follower = Follower(process, [])

    def read(output: Iterator[str]) -> None:
        for line in output:
            follower.lines.append(line.rstrip("\n"))

    reader = threading.Thread(target=read, args=[process.stdout])
    reader.start()
    try:
        yield follower
    finally:
        process.kill()
        reader.join()
        process.wait()
        process.stdout.close()
        assert process.stderr
        process.stderr.close()


def recent(request: str, event: str = "reset") -> tuple[int, str, int | None, str]:
    return (milliseconds_ago(seconds=0), event, None, request)


def test_following_shows_each_new_event_once(tmp_path: Path) -> None:
    database = tmp_path / "db.sqlite3"
    run_command(database, "migrate")
    insert(database, *[recent(f"old{number}") for number in range(5)])
    with following(database, "--limit", "2") as follower:
        follower.wait_for("old3", "old4")
        for number in range(3):
            insert(database, recent(f"new{number}"))
            follower.wait_for("old3", "old4", *[f"new{index}" for index in range(number + 1)])
        # Another process adds many at once.
        insert(database, *[recent(f"many{number}") for number in range(2500)])
        wait_until(lambda: len(follower.lines) >= 2505, "all lines")
        assert follower.requests[5:] == [f"many{number}" for number in range(2500)]
        # A batch that is read later shows that no line came twice.
        insert(database, recent("last"))
        wait_until(lambda: follower.requests[-1] == "last", "the last line")
        assert len(follower.lines) == 2506


def test_following_shows_what_the_filters_select(tmp_path: Path) -> None:
    database = tmp_path / "db.sqlite3"
    with serving(database, tmp_path) as service, following(database, "--client-address", "127.0.0.1") as follower:
        insert(database, recent("of no client"))
        first = service.request_reset(email="stranger@example.com").request_id
        follower.wait_for(first)
        second = service.check_link(Link("MQ", "1-2")).request_id
        follower.wait_for(first, second)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_following_ends_with_a_signal_without_a_message(number: signal.Signals, tmp_path: Path) -> None:
    database = tmp_path / "db.sqlite3"
    run_command(database, "migrate")
    insert(database, recent("r"))
    with following(database) as follower:
        follower.wait_for("r")
        follower.process.send_signal(number)
        assert follower.process.wait(timeout=60) == 0
        assert follower.process.stderr and follower.process.stderr.read() == ""
        assert follower.requests == ["r"]


def test_following_ends_when_its_reader_goes_away(tmp_path: Path) -> None:
    database = tmp_path / "db.sqlite3"
    run_command(database, "migrate")
    insert(database, recent("r"))
    done = subprocess.run(
        f"'{BINARY}' audit --follow --json | head -n 1", shell=True, env=environment_of(database), capture_output=True, timeout=60
    )
    assert (done.stdout.count(b"\n"), done.stderr) == (1, b"")


def test_following_survives_an_outage_of_the_database(tmp_path: Path, cluster: Cluster) -> None:
    database = cluster.new_database()
    settings = {"DATABASE_URL": database.socket_url}
    run_command(tmp_path, "migrate", **settings)

    def add(request: str) -> None:
        database.execute(f"INSERT INTO password_reset.audit (at, event, request_id) VALUES (0, 'reset', '{request}')")

    add("before")
    with following(tmp_path, **settings) as follower:
        follower.wait_for("before")
        cluster.stop()
        assert follower.process.stderr
        assert "Cannot read the audit" in follower.process.stderr.readline()
        cluster.start()
        add("after")
        follower.wait_for("before", "after")
