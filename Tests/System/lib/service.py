"""The service under test: a real process that tests talk to over HTTP."""

import http.client
import json
import os
import re
import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol
from urllib.parse import quote

import site_settings
from log_search import SHORTEST_SECRET, USUAL_PASSWORDS, is_telling, leaks, secrets_of
from processes import running, wait_until

BINARY = os.environ["PASSWORD_RESET"]

# Settings without which a process cannot start. None may leak in from the environment of the tests.
BASE_ENVIRONMENT = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}

# The admin listener has its own loopback address, which distinguishes it from the public listener in the log.
ADMIN_HOST = "127.0.0.2"

# The log level of a service unless its test sets one. `conftest.py` raises it; benchmarks use this default value.
default_log_level = "info"


class Link(NamedTuple):
    """The two parts of a reset link."""

    uid: str
    token: str


@dataclass(frozen=True)
class FieldError:
    """An error of a field."""

    code: str
    message: str
    params: dict[str, Any]


@dataclass(frozen=True)
class Reply:
    status: int
    body: Any
    request_id: str

    @property
    def errors(self) -> dict[str, list[FieldError]]:
        """Returns the errors by field, as `errors_of` does for a Django form."""
        fields = self.body.get("errors", {})
        return {field: [FieldError(**{"params": {}} | error) for error in errors] for field, errors in fields.items()}


@dataclass(frozen=True)
class Service:
    port: int
    process: subprocess.Popen[bytes]
    log: Path
    # The passwords that were sent. The log must not contain them.
    passwords: set[str] = field(default_factory=set, compare=False)

    @property
    def admin_port(self) -> int:
        """Returns the port of the admin listener, on `ADMIN_HOST`."""
        return int(wait_until(lambda: _listener(self.log, ADMIN_HOST), "the admin listener to start")[1])

    def kill(self) -> None:
        """Ends the process like a crash: at once, without cleanup."""
        self.process.kill()
        self.process.wait()

    @property
    def connections(self) -> int:
        """Returns how many connections the service holds. It must not have any to other servers."""
        sockets = set()
        for descriptor in (self._proc / "fd").iterdir():
            # The descriptor may have been closed in the meantime.
            with suppress(FileNotFoundError):
                sockets |= set(re.findall(r"^socket:\[(\d+)\]", str(descriptor.readlink())))
        # The state and the inode are fields 4 and 10 of /proc/net/tcp; 0A is a listening socket.
        rows = [line.split() for line in (self._proc / "net/tcp").read_text().splitlines()]
        return len(sockets - {row[9] for row in rows if row[3] == "0A"})

    @property
    def processor_time(self) -> float:
        """Returns how many seconds of processor time the service has used."""
        # The name, in parentheses, may contain anything; utime and stime are fields 14 and 15 (see proc(5)).
        _, _, fields = (self._proc / "stat").read_text().rpartition(")")
        user, system = fields.split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def watch_memory(self) -> Callable[[], int]:
        """Returns a function that returns how many bytes the peak memory has grown since this call."""

        def kilobytes(name: str) -> int:
            match = re.search(rf"^{name}:\s+(\d+) kB$", (self._proc / "status").read_text(), re.MULTILINE)
            assert match
            return int(match[1])

        # Resets the peak to the current value (see proc(5)).
        (self._proc / "clear_refs").write_text("5")
        before = kilobytes("VmRSS")
        return lambda: (kilobytes("VmHWM") - before) * 1024

    @property
    def _proc(self) -> Path:
        return Path(f"/proc/{self.process.pid}")

    @property
    def is_listening(self) -> bool:
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", self.port)) == 0

    def request_reset(self, *, accept_language: str | None = None, **members: Any) -> Reply:
        headers = {"Accept-Language": accept_language} if accept_language else {}
        return self._call("POST", "/password-reset", members, headers)

    def check_link(self, link: Link) -> Reply:
        return self._call("GET", self._path(link))

    def set_password(self, link: Link, new_password1: Any, new_password2: Any) -> Reply:
        body = {"new_password1": new_password1, "new_password2": new_password2}
        self.passwords.update(value for value in body.values() if isinstance(value, str) and is_telling(value))
        return self._call("POST", self._path(link), body)

    def check_password(self, link: Link, new_password1: str) -> Reply:
        """Asks whether the link could set the password, without setting it."""
        if is_telling(new_password1):
            self.passwords.add(new_password1)
        return self._call("POST", self._path(link), {"new_password1": new_password1, "check_only": True})

    def cancel_links(self, link: Link, *, accept_language: str | None = None) -> Reply:
        """Cancels all links of a user, by a request without a body."""
        return self._call("POST", self._path(link) + "/cancel", None, {"Accept-Language": accept_language} if accept_language else {})

    def _path(self, link: Link) -> str:
        return f"/password-reset/{quote(link.uid)}/{quote(link.token)}"

    def _call(
        self, method: str, path: str, body: dict[str, Any] | None = None, extra_headers: Mapping[str, str] = MappingProxyType({})
    ) -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            content_type = {"Content-Type": "application/json"} if body is not None else {}
            headers = {"Connection": "close", **content_type, **extra_headers}
            connection.request(method, path, json.dumps(body) if body is not None else None, headers)
            response = connection.getresponse()
            return Reply(response.status, json.loads(response.read()), response.headers["X-Request-Id"])
        finally:
            connection.close()


class OnServer(Protocol):
    """A database on a PostgreSQL server."""

    @property
    def socket_url(self) -> str: ...


# A file is an SQLite database.
SiteDatabase = Path | OnServer


def environment_of(database: SiteDatabase, **settings: str) -> dict[str, str]:
    """Returns the environment of a process on `database`, with `settings` over the default values of the tests."""
    defaults = {
        "HTTP_PORT": "0",
        "ADMIN_HOST": ADMIN_HOST,
        "ADMIN_PORT": "0",
        "DATABASE_URL": f"sqlite:{database}" if isinstance(database, Path) else database.socket_url,
        "SECRET_KEY": site_settings.SECRET_KEY,
        "PASSWORD_RESET_TIMEOUT": str(site_settings.PASSWORD_RESET_TIMEOUT),
        "RESET_URL": "https://frontend.example.com/reset/{uid}/{token}/",
        "EMAIL_BACKEND": "dummy",
        # Tests send many requests for one email address, and all from one IP address.
        "RATE_LIMIT_MAILS": "off",
        "RATE_LIMIT_REQUESTS": "off",
        "RATE_LIMIT_LINKS": "off",
        "LOG_LEVEL": default_log_level,
    }
    return BASE_ENVIRONMENT | defaults | settings


def _limited(limits: str | None) -> list[str]:
    """Returns the prefix with which a command runs under `limits`."""
    return ["sh", "-c", f'ulimit {limits} && exec "$@"', "sh"] if limits else []


@contextmanager
def serving(database: SiteDatabase, folder: Path, *options: str, limits: str | None = None, **settings: str) -> Iterator[Service]:
    """Runs the service on `database`, with `settings` over the default values of the tests. Its log goes into `folder`.

    `limits` are arguments of the shell's `ulimit`. At the end, the log must not contain anything that `log_search` finds.
    """
    with serving_in(environment_of(database, **settings), folder, *options, limits=limits) as service:
        yield service


@contextmanager
def serving_in(environment: Mapping[str, str], folder: Path, *options: str, limits: str | None = None) -> Iterator[Service]:
    """Like `serving`, with no settings but those in `environment`."""
    log = folder / "service.log"
    with running([*_limited(limits), BINARY, "serve", *options], environment, log) as process:

        def listening() -> re.Match[str] | None:
            assert process.poll() is None, f"the service ended at its start:\n{log.read_text()}"
            return _listener(log, "127.0.0.1")

        service = Service(int(wait_until(listening, "the service to listen")[1]), process, log)
        yield service
    text = log.read_text(errors="replace")
    if environment["EMAIL_BACKEND"] == "console" or "--dev" in options:
        # Lines that are not JSON are emails, or hints for a developer.
        text = "\n".join(line for line in text.split("\n") if line.startswith("{"))
    found = leaks(text, secrets_of(environment) | service.passwords | set(USUAL_PASSWORDS))
    assert found == [], f"the log of the service holds {found[:5]}"


def _listener(log: Path, host: str) -> re.Match[str] | None:
    """Returns the match for the port of the listener on `host` in the log."""
    return re.search(rf"listening on {re.escape(host)}:(\d+)", log.read_text(errors="replace"))


def command(
    database: SiteDatabase, *arguments: str, stdin: str = "", limits: str | None = None, **settings: str
) -> subprocess.CompletedProcess[str]:
    """Runs a command on `database` until it ends. `limits` are as for `serving`."""
    return run_program(environment_of(database, **settings), *arguments, stdin=stdin, limits=limits)


def run_program(
    environment: Mapping[str, str], *arguments: str, stdin: str = "", limits: str | None = None, seconds: float = 60
) -> subprocess.CompletedProcess[str]:
    """Runs a command, which must end within the time and must not print a secret from its environment."""
    # Use bytes, because text mode would change line ends.
    done = subprocess.run(
        [*_limited(limits), BINARY, *arguments], env=environment, input=stdin.encode(), capture_output=True, timeout=seconds
    )
    stdout, stderr = done.stdout.decode(), done.stderr.decode()
    printed = [secret for secret in secrets_of(environment) if len(secret) >= SHORTEST_SECRET and secret in stdout + stderr]
    assert printed == [], f"{arguments} printed secrets"
    return subprocess.CompletedProcess(done.args, done.returncode, stdout, stderr)


def run_command(database: SiteDatabase, *arguments: str, stdin: str = "", **settings: str) -> str:
    """Runs a command that must succeed, and returns its standard output."""
    done = command(database, *arguments, stdin=stdin, **settings)
    assert done.returncode == 0, done.stderr
    return done.stdout
