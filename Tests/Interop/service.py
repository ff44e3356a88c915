"""The service under test: a real process, spoken to over HTTP."""

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
from typing import Any, NamedTuple
from urllib.parse import quote

import site_settings
from log_search import SHORTEST_SECRET, USUAL_PASSWORDS, betrayals, is_telling, secrets_of
from processes import running, wait_until

BINARY = os.environ["PASSWORD_RESET"]

# What a process needs to start at all; a setting must not leak in from the tests' own environment.
BASE_ENVIRONMENT = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}

# The admin listener has a loopback address of its own, which tells it from the public one in the log.
ADMIN_HOST = "127.0.0.2"

# How much a service logs unless its test says so. `conftest.py` turns it up; benchmarks measure what is usual.
default_log_level = "info"


class Link(NamedTuple):
    """What stands in a reset link."""

    uid: str
    token: str


@dataclass(frozen=True)
class FieldError:
    """One error of a field."""

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
        """The errors by field, as `errors_of` gives them for a form of Django's."""
        fields = self.body.get("errors", {})
        return {field: [FieldError(**{"params": {}} | error) for error in errors] for field, errors in fields.items()}


@dataclass(frozen=True)
class Service:
    port: int
    process: subprocess.Popen[bytes]
    log: Path
    # The passwords that were sent, which must not be in the log.
    passwords: set[str] = field(default_factory=set, compare=False)

    @property
    def admin_port(self) -> int:
        """That of the listener with the metrics, on `ADMIN_HOST`."""
        return int(wait_until(lambda: _listener(self.log, ADMIN_HOST), "the admin listener to be there")[1])

    def kill(self) -> None:
        """As a crash does: at once, and with no chance to tidy up."""
        self.process.kill()
        self.process.wait()

    @property
    def connections(self) -> int:
        """How many it holds; it must have none to other servers."""
        sockets = set()
        for descriptor in (self._proc / "fd").iterdir():
            # It may be closed in the meantime.
            with suppress(FileNotFoundError):
                sockets |= set(re.findall(r"^socket:\[(\d+)\]", str(descriptor.readlink())))
        # The state and the inode are fields 4 and 10 of proc_net_tcp; 0A is one that listens.
        rows = [line.split() for line in (self._proc / "net/tcp").read_text().splitlines()]
        return len(sockets - {row[9] for row in rows if row[3] == "0A"})

    @property
    def processor_time(self) -> float:
        """How many seconds of a processor it has used."""
        # The name, in brackets, may hold anything; utime and stime are fields 14 and 15 of proc(5).
        _, _, fields = (self._proc / "stat").read_text().rpartition(")")
        user, system = fields.split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def watch_memory(self) -> Callable[[], int]:
        """What tells by how many bytes the memory has grown at most since this call."""

        def kilobytes(name: str) -> int:
            match = re.search(rf"^{name}:\s+(\d+) kB$", (self._proc / "status").read_text(), re.MULTILINE)
            assert match
            return int(match[1])

        # Sets the peak to what there is (proc(5)).
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


def _environment(database: Path, settings: dict[str, str]) -> dict[str, str]:
    defaults = {
        "HTTP_PORT": "0",
        "ADMIN_HOST": ADMIN_HOST,
        "ADMIN_PORT": "0",
        "DATABASE_URL": f"sqlite:{database}",
        "SECRET_KEY": site_settings.SECRET_KEY,
        "PASSWORD_RESET_TIMEOUT": str(site_settings.PASSWORD_RESET_TIMEOUT),
        "RESET_URL": "https://frontend.example.com/reset/{uid}/{token}/",
        "EMAIL_BACKEND": "dummy",
        # The tests ask many times for one address, and all from one.
        "RATE_LIMIT_MAILS": "off",
        "RATE_LIMIT_REQUESTS": "off",
        "RATE_LIMIT_LINKS": "off",
        "LOG_LEVEL": default_log_level,
    }
    return BASE_ENVIRONMENT | defaults | settings


def _limited(limits: str | None) -> list[str]:
    """What goes before a command for it to run under `limits`."""
    return ["sh", "-c", f'ulimit {limits} && exec "$@"', "sh"] if limits else []


@contextmanager
def serving(database: Path, folder: Path, *, limits: str | None = None, **settings: str) -> Iterator[Service]:
    """The service on `database`, with `settings` over the defaults of the tests; its log goes into `folder`.

    `limits` are as the shell's `ulimit` takes them. At the end the log must be free of what no log may hold.
    """
    log = folder / "service.log"
    environment = _environment(database, settings)
    with running([*_limited(limits), BINARY, "serve"], environment, log) as process:

        def listening() -> re.Match[str] | None:
            assert process.poll() is None, f"the service ended at its start:\n{log.read_text()}"
            return _listener(log, "127.0.0.1")

        service = Service(int(wait_until(listening, "the service to listen")[1]), process, log)
        yield service
    text = log.read_text(errors="replace")
    if environment["EMAIL_BACKEND"] == "console":
        # What is no JSON is mail.
        text = "\n".join(line for line in text.split("\n") if line.startswith("{"))
    found = betrayals(text, secrets_of(environment) | service.passwords | set(USUAL_PASSWORDS))
    assert found == [], f"the log of the service holds {found[:5]}"


def _listener(log: Path, host: str) -> re.Match[str] | None:
    """Where the log says that the service listens on `host`."""
    return re.search(rf"listening on {re.escape(host)}:(\d+)", log.read_text(errors="replace"))


def command(
    database: Path, *arguments: str, stdin: str = "", limits: str | None = None, **settings: str
) -> subprocess.CompletedProcess[str]:
    """Runs one of the service's commands on `database` to its end; `limits` are as for `serving`."""
    return run_program(_environment(database, settings), *arguments, stdin=stdin, limits=limits)


def run_program(
    environment: Mapping[str, str], *arguments: str, stdin: str = "", limits: str | None = None, seconds: float = 60
) -> subprocess.CompletedProcess[str]:
    """Runs one of the service's commands, which must end within the time and may print none of the secrets that it is told."""
    # Bytes, as text mode would change line ends.
    done = subprocess.run(
        [*_limited(limits), BINARY, *arguments], env=environment, input=stdin.encode(), capture_output=True, timeout=seconds
    )
    stdout, stderr = done.stdout.decode(), done.stderr.decode()
    printed = [secret for secret in secrets_of(environment) if len(secret) >= SHORTEST_SECRET and secret in stdout + stderr]
    assert printed == [], f"{arguments} printed secrets"
    return subprocess.CompletedProcess(done.args, done.returncode, stdout, stderr)


def run_command(database: Path, *arguments: str, stdin: str = "") -> str:
    """As `command`, which must succeed; its standard output."""
    done = command(database, *arguments, stdin=stdin)
    assert done.returncode == 0, done.stderr
    return done.stdout
