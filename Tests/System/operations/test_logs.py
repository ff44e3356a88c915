"""Each line of the log is one JSON object, regardless of the request; it has no secret, and a slow reader blocks no
request.
"""

import json
import os
import pty
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pytest

import site_settings
from django_site import add_user, link_for
from log_search import leaks, secrets_of
from mail_folder import link_in
from mail_server import receiving
from metrics import scrape
from outbox import pending
from processes import wait_until
from raw_http import Connection, exchange
from service import ADMIN_HOST, BASE_ENVIRONMENT, BINARY, Service, serving

NEW = "battery-staple-92-new"
ROUTES = {"none", "/password-reset", "/password-reset/{uidb64}/{token}", "/openapi.yaml", "/health/live", "/health/ready", "/metrics"}

# Texts that might start a line, end a string, move the cursor, or be read as another field.
HOSTILE = [
    '","level":"error","message":"forged',
    "\\",
    "\\u000a",
    "%0A%0D%00%22",
    '\n{"level":"error","message":"forged"}\n',
    "\x1b[31mcrimson\x1b[0m\x1b]0;heading\x07",
    "\u2028{}\u2029",
    "\x85\x0b\x0c",
    "${jndi:ldap://127.0.0.1/x} %s %n {{7*7}}",
    "alice@example.com",
    "'; DROP TABLE auth_user; --",
    "\ud83d",
    "x" * 3000,
]


def hostile_requests() -> list[bytes]:
    """Yields requests with each text in a path, in a query, in a field's name and value, in the host, and in a body."""
    requests = []
    for text in HOSTILE:
        data = text.encode("utf-8", "surrogatepass")
        body = json.dumps({"email": text, "locale": text, text: text}).encode()
        form = json.dumps({"new_password1": text, "new_password2": text}).encode()
        ask = b"POST /password-reset HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        requests += [
            b"GET /%b HTTP/1.1\r\nHost: localhost\r\n\r\n" % data.replace(b" ", b"%20"),
            b"GET /password-reset/%b/%b HTTP/1.1\r\nHost: localhost\r\n\r\n" % (data[:50], data[:50]),
            b"GET /health/live?%b HTTP/1.1\r\nHost: localhost\r\n\r\n" % data,
            b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nUser-Agent: %b\r\nX-Request-Id: %b\r\n\r\n" % (data, data),
            b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n%b: 1\r\n\r\n" % data,
            b"GET /health/live HTTP/1.1\r\nHost: %b\r\n\r\n" % data,
            b"%b /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n" % data,
            ask + b"Content-Length: %d\r\n\r\n%b" % (len(body), body),
            ask + b"Content-Length: %d\r\n\r\n%b" % (len(data), data),
            ask + b"Accept-Language: %b\r\nX-Forwarded-For: %b\r\nContent-Length: 2\r\n\r\n{}" % (data, data),
            b"POST /password-reset/MQ/abc-%b HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
            % (data[:50], len(form), form),
        ]
    return requests


@dataclass(frozen=True)
class Logged:
    """The log after hostile requests and a few honest ones."""

    text: str
    # The X-Request-Id of each response, and its status.
    replies: list[tuple[str, int]]

    @property
    def entries(self) -> list[dict[str, str]]:
        return [json.loads(line) for line in self.text.rstrip("\n").split("\n")]

    @property
    def requests(self) -> list[dict[str, str]]:
        return [entry for entry in self.entries if entry["message"] == "Request"]


@pytest.fixture(scope="module")
def logged(module_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Logged:
    alice = add_user("alice", "alice@example.com")
    folder = tmp_path_factory.mktemp("logged")
    replies = []
    with receiving(folder) as server:
        smtp = {"EMAIL_BACKEND": "smtp", "EMAIL_HOST": "localhost", "EMAIL_PORT": str(server.port)}
        with serving(module_database, folder, PASSWORD_HASHER_OPTIONS="iterations=10", **smtp) as service:
            for request in hostile_requests():
                for response in exchange(service.port, request.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)).responses:
                    replies.append((response.headers["X-Request-Id"], response.status))
            link = link_for(alice)
            for reply in (
                service.request_reset(email="alice@example.com"),
                service.check_link(link),
                service.set_password(link, "1234", "1234"),
                service.set_password(link, NEW, NEW),
                service.check_link(link),
            ):
                replies.append((reply.request_id, reply.status))
            server.wait_for(2)
            wait_until(lambda: pending(module_database) == 0, "the outbox to be empty")
    return Logged(service.log.read_text(), replies)


def test_each_line_is_one_json_object(logged: Logged) -> None:
    # Readers may treat any of Unicode's line ends as one.
    assert logged.text.splitlines() == logged.text.rstrip("\n").split("\n")
    assert re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029]", logged.text) is None
    assert len(logged.entries) > 300
    for entry in logged.entries:
        assert isinstance(entry, dict) and {"time", "level", "message"} <= entry.keys()
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", entry["time"])
        assert entry["level"] in ("trace", "debug", "info", "notice", "warning", "error", "critical")
    assert "forged" not in logged.text


def test_each_request_is_logged_with_its_route_and_status(logged: Logged) -> None:
    assert {entry["route"] for entry in logged.requests} <= ROUTES
    assert {"none", "/password-reset", "/password-reset/{uidb64}/{token}", "/health/live"} <= {entry["route"] for entry in logged.requests}
    for entry in logged.requests:
        assert 200 <= int(entry["status"]) < 600
        assert 0 <= float(entry["duration_ms"]) < 60_000
        assert len(entry["method"]) <= 16


def test_each_log_line_has_the_request_id_of_the_response(logged: Logged) -> None:
    """The log may describe a refusal before there was a request in another way, but with its ID."""
    by_id = {entry["request_id"]: int(entry["status"]) for entry in logged.requests}
    replied = dict(logged.replies)
    assert len(replied) == len(logged.replies) > len(HOSTILE)
    assert by_id.items() <= replied.items()
    assert all(re.fullmatch("[0-9a-f]{32}", request) for request in replied)
    honest = logged.replies[-5:]
    assert [status for _, status in honest] == [202, 200, 400, 200, 200]
    assert dict(honest).items() <= by_id.items()


def test_later_log_lines_have_the_id_of_the_request(logged: Logged) -> None:
    asked = logged.replies[-5][0]
    events = [entry.get("event") for entry in logged.entries if entry.get("request_id") == asked]
    assert "mailed" in events


def test_no_input_is_repeated(logged: Logged) -> None:
    for text in ("alice", "auth_user; --", "jndi", "xxxxxxxx", "crimson", "heading", NEW):
        assert text not in logged.text, text


def test_a_live_token_is_only_in_the_email(database: Path, tmp_path: Path) -> None:
    """`serving` searches the log, which at trace level has the SQL. This test also reads the files of the database."""
    add_user("alice", "alice@example.com")
    mails = tmp_path / "mails"
    hasher = {"PASSWORD_HASHER_OPTIONS": "iterations=10"}
    with serving(database, tmp_path, EMAIL_BACKEND="file", EMAIL_FILE_PATH=str(mails), LOG_LEVEL="trace", **hasher) as service:
        assert service.request_reset(email="alice@example.com").status == 202
        link = wait_until(lambda: link_in(mails), "the email")
        assert [service.set_password(link, text, text).status for text in ("weak", NEW, NEW)] == [400, 200, 400]
        # The log is written a moment after the response.
        wait_until(lambda: re.search(r'UPDATE \\?"auth_user', service.log.read_text()), "the statement in the log")
        mac = link.token.rpartition("-")[2].encode()
        files = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
        assert len(mac) == 32 and len(files) > 2
        assert [name for name, content in files.items() if mac in content] == []


def test_a_terminal_gets_text(database: Path, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    environment = BASE_ENVIRONMENT | {
        "HTTP_PORT": "0",
        "ADMIN_PORT": "0",
        "DATABASE_URL": f"sqlite:{database}",
        "SECRET_KEY": site_settings.SECRET_KEY,
        "RESET_URL": "https://frontend.example.com/reset/{uid}/{token}/",
        "EMAIL_BACKEND": "dummy",
    }
    process = subprocess.Popen([BINARY, "serve"], env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=theirs)
    os.close(theirs)
    text = ""
    try:
        while "listening on 127.0.0.1" not in text:
            text += os.read(ours, 65536).decode()
    finally:
        process.terminate()
        assert process.wait(timeout=10) == 0
        os.close(ours)
    lines = [line for line in text.splitlines() if "listening on" in line]
    assert lines and not any(line.startswith("{") for line in lines)


LOST = re.compile(r"(\d+) log lines? (?:was|were) lost because the reader of the log stalled")


class Reader:
    """Reads the log from a pipe, but only on request."""

    def __init__(self, pipe: IO[bytes]) -> None:
        os.set_blocking(pipe.fileno(), False)
        self._pipe = pipe
        self.read = b""

    def read_on(self) -> bytes:
        """Reads everything available so far."""
        while data := self._pipe.read(65536):
            self.read += data
        return self.read

    def wait_for(self, pattern: str, what: str) -> re.Match[bytes]:
        return wait_until(lambda: re.search(pattern.encode(), self.read_on()), what)


@contextmanager
def logging_to_pipe(database: Path, folder: Path) -> Iterator[tuple[Service, Reader]]:
    """Runs a service at trace level. Its log is only read on request."""
    environment = BASE_ENVIRONMENT | {
        "HTTP_PORT": "0",
        "ADMIN_HOST": ADMIN_HOST,
        "ADMIN_PORT": "0",
        "DATABASE_URL": f"sqlite:{database}",
        "SECRET_KEY": site_settings.SECRET_KEY,
        "RESET_URL": "https://frontend.example.com/reset/{uid}/{token}/",
        "EMAIL_BACKEND": "dummy",
        "RATE_LIMIT_LINKS": "off",
        "LOG_LEVEL": "trace",
    }
    process = subprocess.Popen(
        [BINARY, "serve"], env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, bufsize=0
    )
    assert process.stderr
    reader = Reader(process.stderr)
    try:
        port = int(reader.wait_for(r"listening on 127\.0\.0\.1:(\d+)", "the service to listen")[1])
        reader.wait_for(rf"listening on {re.escape(ADMIN_HOST)}:\d+", "the admin listener to be there")
        # `Service.admin_port` reads this file.
        log = folder / "start.log"
        log.write_bytes(reader.read)
        yield Service(port, process, log), reader
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def check_links(service: Service, count: int) -> float:
    """Returns the longest duration of a hundred checks."""
    longest = 0.0
    for _ in range(count // 100):
        with Connection(service.port) as connection:
            start = time.monotonic()
            connection.send(b"GET /password-reset/MQ/abc-def HTTP/1.1\r\nHost: localhost\r\n\r\n" * 100)
            assert connection.listen(20, responses=100).statuses == [200] * 100
            longest = max(longest, time.monotonic() - start)
    return longest


@pytest.mark.slow
def test_a_stalled_log_reader_blocks_no_request(database: Path, tmp_path: Path) -> None:
    add_user("alice", "alice@example.com")
    with logging_to_pipe(database, tmp_path) as (service, reader):
        growth = service.watch_memory()
        longest = 0.0
        deadline = time.monotonic() + 90
        # Far above the duration of the first check.
        while scrape(service).value("password_reset_log_lines_lost_total") < 1000:
            assert time.monotonic() < deadline, "no line was lost; does the log wait without a bound?"
            longest = max(longest, check_links(service, 500))
        print(f"a hundred checks took at most {longest:.2f} s; {growth() / 2**20:.1f} MiB more")
        assert longest < 10
        # The queue for the reader is bounded.
        assert growth() < 64 * 2**20
        assert service.request_reset(email="alice@example.com").status == 202
        lost = scrape(service).value("password_reset_log_lines_lost_total")

        read_before = len(reader.read)
        found = reader.wait_for(LOST.pattern, "the line that says how many were lost")
        assert int(found[1]) >= lost >= 1000
        text = reader.read[read_before:].decode(errors="replace")
        # The first line may have begun earlier, and the last one may be incomplete.
        lines = text.split("\n")[1:-1]
        notices = [json.loads(line)["message"] for line in lines if LOST.search(line)]
        assert len(notices) == 1
        assert all(isinstance(json.loads(line), dict) for line in lines)

        # Logging continues as before, and loses no more lines.
        request = service.request_reset(email="alice@example.com").request_id
        reader.wait_for(request, "a line of a new request")

        # More than the pipe's capacity again.
        check_links(service, 500)
        service.process.terminate()
        assert service.process.wait(timeout=10) == 0
        assert leaks(reader.read_on().decode(errors="replace"), [site_settings.SECRET_KEY]) == []


def test_the_service_survives_a_closed_log(database: Path, tmp_path: Path) -> None:
    """The reader closes its end of the pipe, as when a log collector crashes."""
    with logging_to_pipe(database, tmp_path) as (service, _):
        assert service.process.stderr
        service.process.stderr.close()
        for _ in range(20):
            assert service.request_reset(email="alice@example.com").status == 202
        service.process.terminate()
        assert service.process.wait(timeout=10) == 0


KEY = "d1f0e5-a-former-key-of-this-site-0123456789"
MAC = "dd90583a66a7338a04dbe53564483756"
LINE = '{"level":"info","message":"%s","time":"2026-11-21T18:50:27.009Z"}'
PLANTED = {
    "the secret key": site_settings.SECRET_KEY,
    "a former key": KEY,
    "the password of the mail server": "correct horse battery",
    "a password with a quote": r"a \"quoted\" password-71",
    "a password with an umlaut": "ein-schönes-passwort-71",
    "the same as an escape": r"ein-sch\u00f6nes-passwort-71",
    "a token": f"diepo1-{MAC}",
    "a token in a path": f"/password-reset/MQ/diepo1-{MAC}/",
    "a token of long ago": f"0-{MAC}",
    "a token with a time of thirteen digits": f"zzzzzzzzzzzzz-{MAC}",
    "an address": "alice@example.com",
    "an address in a text": "no such user <alice+tag@mail.example.com>; ask again",
    "an address in an URL": "?email=alice%40example.com&x=1",
    "an address of another script": "δοκιμή@παράδειγμα.gr",
    "an address of this machine": "alice@localhost",
    "an address with a number": f"{'0' * 32}@example.com",
}
HARMLESS = {
    "a request id": MAC,
    "a request id after a word": f"request {MAC}",
    "a request id in an underscore": f"hb_{MAC}",
    "a UUID": "8f14e45f-ceea-467f-a8d7-9b1f0c2d3e4f",
    "a longer hash": f"sha256-{MAC}{MAC}",
    "a message id": f"<{MAC}.17@localhost>",
    "a message id of a site": f"<{MAC}.1@example.com>",
    "the usual sender": "DEFAULT_FROM_EMAIL is webmaster@localhost",
    "a route": "/password-reset/{uidb64}/{token}",
    "a time": "2026-11-21T18:50:27.009Z",
    "a path": "/tmp/pytest-of-root/pytest-71/test_a_secret_is_found0/db.sqlite3",
}
SECRETS = [site_settings.SECRET_KEY, KEY, "correct horse battery", 'a "quoted" password-71', "ein-schönes-passwort-71", "short"]


@pytest.mark.parametrize("what", PLANTED)
def test_the_search_finds(what: str) -> None:
    text = "\n".join([LINE % "before", LINE % PLANTED[what], LINE % "after"])
    (found,) = leaks(text, SECRETS)
    assert found.endswith(LINE % PLANTED[what])


@pytest.mark.parametrize("what", HARMLESS)
def test_the_search_ignores(what: str) -> None:
    assert leaks("\n".join([LINE % "before, and in short", LINE % HARMLESS[what]]), SECRETS) == []


def test_the_secrets_of_a_service_are_known(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("of the file\n")
    settings = {"SECRET_KEY_FILE": str(tmp_path / "key"), "SECRET_KEY_FALLBACKS": "first,second", "EMAIL_HOST_PASSWORD": "third"}
    assert secrets_of(settings) == {"of the file", "first,second", "first", "second", "third"}


@pytest.mark.parametrize("what", ["token", "address", "secret", "password"])
def test_every_log_of_these_tests_is_searched(what: str, database: Path, tmp_path: Path) -> None:
    planted = {"token": f"diepo1-{MAC}", "address": "alice@example.com", "secret": site_settings.SECRET_KEY, "password": "a-password-of-2026"}
    link = link_for(add_user("alice", "alice@example.com"))
    with pytest.raises(AssertionError, match=re.escape(planted[what])):
        with serving(database, tmp_path, PASSWORD_HASHER_OPTIONS="iterations=10") as service:
            assert service.set_password(link, planted["password"], planted["password"]).status == 200
            # After its end, no process overwrites it.
            service.kill()
            with service.log.open("a") as log:
                log.write(LINE % planted[what] + "\n")


def test_these_services_log_everything_they_can(database: Path, serve: Callable[..., Service]) -> None:
    """Otherwise the search would have little to find."""
    service = serve()
    assert service.request_reset(email="alice@example.com").status == 202
    wait_until(lambda: '"trace"' in service.log.read_text() and "INSERT INTO" in service.log.read_text(), "a statement in the log")
