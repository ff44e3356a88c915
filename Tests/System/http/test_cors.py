"""Pages of allowed origins can use the service and read its responses; other pages cannot."""

import http.client
import json
import queue
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from django.contrib.auth import authenticate
from django.contrib.auth.models import User

from browser import CHROMIUM
from django_site import add_user, link_for
from outbox import connected
from processes import running, wait_until
from raw_http import exchange
from service import BASE_ENVIRONMENT, Link, Service, command, serving

ALLOWED = ["https://app.example.com", "http://localhost:3000", "capacitor://localhost"]
SETTING = {"CORS_ALLOWED_ORIGINS": ",".join(ALLOWED)}
EXPOSED = "X-Request-Id, Retry-After, RateLimit, RateLimit-Policy"

# Each resembles an allowed origin, or is a trick.
OTHERS = [
    "https://app.example.com:8443",
    "https://app.example.com:443",
    "http://app.example.com",
    "https://APP.example.com",
    "HTTPS://app.example.com",
    "https://app.example.com.",
    "https://app.example.com/",
    "https://www.app.example.com",
    "https://example.com",
    "https://app.example.com.evil.example",
    "https://app.example.community",
    "https://app.example.co",
    "https://evilapp.example.com",
    "https://appXexample.com",
    "https://app.example.com@evil.example",
    "https://user@app.example.com",
    "https://app.example.com,http://localhost:3000",
    "https://app.example.com https://evil.example",
    "app.example.com",
    "http://localhost",
    "http://localhost:300",
    "http://localhost:30000",
    "http://localhost:3001",
    "http://127.0.0.1:3000",
    "capacitor://localhost/",
    "capacitor://localhost:80",
    "capacitor://LOCALHOST",
    "Capacitor://localhost",
    "ionic://localhost",
    "https://localhost",
    "null",
    "*",
    "",
]


OLD = "correct-horse-71-old"
NEW = "battery-staple-92-new"


class Answer(NamedTuple):
    status: int
    headers: Message
    body: bytes

    @property
    def cors_headers(self) -> dict[str, str]:
        """Returns the CORS fields, each of which occurs once."""
        names = [name.lower() for name in self.headers if name.lower().startswith("access-control-")]
        assert len(names) == len(set(names))
        return {name: self.headers[name] for name in names}

    @property
    def gist(self) -> tuple[int, dict[str, str], bytes]:
        """Returns the parts of a response that must not depend on the origin."""
        differing = ("date", "vary", "x-request-id")
        headers = {name.lower(): value for name, value in self.headers.items() if name.lower() not in differing}
        others = {name: value for name, value in headers.items() if name not in self.cors_headers}
        return self.status, others, re.sub(rb'"request_id":"[0-9a-f]{32}"', b"", self.body)


@dataclass(frozen=True)
class Call:
    """A request and its response. `{link}` in `path` is replaced by a valid link."""

    method: str
    path: str
    status: int
    body: bytes | None = None
    content_type: str = "application/json"

    def __str__(self) -> str:
        return f"{self.method} {self.path} {self.status}"


LINK = "/password-reset/{link}"
WEAK = b'{"new_password1": "12345678", "new_password2": "12345678"}'

CALLS = [
    Call("POST", "/password-reset", 202, b'{"email": "stranger@example.com"}'),
    Call("POST", "/password-reset", 400, b"{"),
    Call("POST", "/password-reset", 413, b'"' + b"x" * 20_000 + b'"'),
    Call("POST", "/password-reset", 415, b'{"email": "stranger@example.com"}', "text/plain"),
    Call("DELETE", "/password-reset", 405),
    Call("OPTIONS", "/password-reset", 204),
    Call("GET", LINK, 200),
    Call("HEAD", LINK, 200),
    Call("POST", LINK, 400, WEAK),
    Call("POST", LINK, 415, WEAK, "text/plain"),
    Call("DELETE", LINK, 405),
    Call("OPTIONS", LINK, 204),
    Call("GET", "/password-reset/MQ/no-token", 200),
    Call("POST", "/password-reset/MQ/no-token", 400, WEAK),
    Call("GET", "/openapi.yaml", 200),
    Call("GET", "/health/live", 200),
    Call("GET", "/health/ready", 200),
    Call("POST", "/health/live", 405),
    Call("GET", "/nowhere", 404),
]

# The methods of each route besides HEAD and OPTIONS.
ROUTES = {
    "/password-reset": {"POST"},
    LINK: {"GET", "POST"},
    "/openapi.yaml": {"GET"},
    "/health/live": {"GET"},
    "/health/ready": {"GET"},
}


@dataclass(frozen=True)
class Target:
    """The service, and a link that is valid there."""

    port: int
    link: Link

    def ask(self, call: Call, *origins: str, **headers: str) -> Answer:
        """Sends the request from `origins`: from one at most, if the client is honest."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)) as connection:
            connection.putrequest(call.method, call.path.format(link=f"{self.link.uid}/{self.link.token}"))
            for origin in origins:
                connection.putheader("Origin", origin)
            if call.body is not None:
                connection.putheader("Content-Type", call.content_type)
                connection.putheader("Content-Length", str(len(call.body)))
            for name, value in headers.items():
                connection.putheader(name.replace("_", "-"), value)
            connection.endheaders(call.body)
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())

    def preflight(self, path: str, method: str, *origins: str, headers: str = "content-type") -> Answer:
        """Sends the request with which a browser asks for permission."""
        asked = {"Access_Control_Request_Method": method, "Access_Control_Request_Headers": headers}
        return self.ask(Call("OPTIONS", path, 204), *origins, **asked)


@pytest.fixture(scope="module")
def allowing(module_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """Runs a service that allows some origins."""
    link = link_for(add_user("alice", "alice@example.com"))
    with serving(module_database, tmp_path_factory.mktemp("allowing"), **SETTING) as service:
        yield Target(service.port, link)


@pytest.fixture(scope="module")
def allowing_none(module_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """Runs a service that allows no origins."""
    link = link_for(add_user("bob", "bob@example.com"))
    with serving(module_database, tmp_path_factory.mktemp("allowing-none")) as service:
        yield Target(service.port, link)


def headers_for(origin: str) -> dict[str, str]:
    """Returns the CORS headers that every response must have for a page of an allowed origin."""
    return {"access-control-allow-origin": origin, "access-control-expose-headers": EXPOSED}


@pytest.mark.parametrize("origin", ALLOWED)
@pytest.mark.parametrize("call", CALLS, ids=str)
def test_a_page_may_read_every_response_to(call: Call, origin: str, allowing: Target) -> None:
    answer = allowing.ask(call, origin)
    assert answer.status == call.status
    assert answer.cors_headers == headers_for(origin)
    assert answer.headers.get_all("Vary") == ["Origin"]


@pytest.mark.parametrize("call", CALLS, ids=str)
def test_other_pages_may_read_no_response(call: Call, allowing: Target) -> None:
    for origins in ([], ["https://evil.example"], ["null"]):
        answer = allowing.ask(call, *origins)
        assert answer.status == call.status
        assert answer.cors_headers == {}
        assert answer.headers.get_all("Vary") == ["Origin"]


@pytest.mark.parametrize("origin", OTHERS)
def test_a_similar_origin_is_not_allowed(origin: str, allowing: Target) -> None:
    for answer in (
        allowing.ask(Call("GET", LINK, 200), origin),
        allowing.ask(Call("POST", LINK, 400, WEAK), origin),
        allowing.preflight("/password-reset", "POST", origin),
    ):
        assert answer.cors_headers == {}
        assert answer.headers.get_all("Vary") == ["Origin"]


def test_two_origins_are_not_allowed(allowing: Target) -> None:
    for origins in ([ALLOWED[0], "https://evil.example"], ["https://evil.example", ALLOWED[0]], ALLOWED):
        assert allowing.ask(Call("GET", LINK, 200), *origins).cors_headers == {}
        assert allowing.preflight(LINK, "POST", *origins).cors_headers == {}


@pytest.mark.parametrize("call", CALLS, ids=str)
def test_a_response_does_not_depend_on_the_origin(call: Call, allowing: Target, allowing_none: Target) -> None:
    expected = allowing.ask(call).gist
    for origin in (*ALLOWED, "https://evil.example", "null"):
        assert allowing.ask(call, origin).gist == expected
    assert Target(allowing_none.port, allowing.link).ask(call, ALLOWED[0]).gist == expected


@pytest.mark.parametrize("call", CALLS, ids=str)
def test_without_the_setting_there_is_no_cors(call: Call, allowing_none: Target) -> None:
    for origins in ([], ALLOWED[:1], ["null"]):
        answer = allowing_none.ask(call, *origins)
        assert answer.status == call.status
        assert answer.cors_headers == {}
        assert answer.headers["Vary"] is None


@pytest.mark.parametrize("path", ROUTES)
def test_a_preflight_lists_what_the_route_accepts(path: str, allowing: Target) -> None:
    for origin in ALLOWED:
        # The browser compares the lists; its request does not change the response.
        for method, headers in [("POST", "content-type"), ("GET", "content-type"), ("DELETE", "content-type,x-other")]:
            answer = allowing.preflight(path, method, origin, headers=headers)
            assert (answer.status, answer.body) == (204, b"")
            assert answer.headers.get_all("Vary") == ["Origin"]
            methods = answer.cors_headers["access-control-allow-methods"].split(", ")
            assert set(methods) - {"HEAD", "OPTIONS"} == ROUTES[path]
            assert answer.cors_headers == headers_for(origin) | {
                "access-control-allow-methods": ", ".join(methods),
                "access-control-allow-headers": answer.cors_headers["access-control-allow-headers"],
                "access-control-max-age": "7200",
            }


def early(origin: str, target: bytes = b"/password-reset", *fields: bytes) -> bytes:
    """Returns a request that the connection guards reject, from a page of `origin`."""
    return b"\r\n".join([b"GET " + target + b" HTTP/1.1", b"Host: localhost", b"Origin: " + origin.encode(), *fields, b"", b""])


EARLY = {
    "a long path": (414, b"/password-reset/" + b"x" * 5_000),
    "a path longer than all headers may be": (414, b"/password-reset/" + b"x" * 20_000),
    "large cookies": (431, b"/password-reset", b"Cookie: a=".ljust(20_000, b"x")),
    "large cookies in several fields": (431, b"/password-reset", *[b"Cookie: a=".ljust(5_000, b"x")] * 4),
    "many fields": (431, b"/password-reset", *[b"X-Field: 1"] * 80),
    "two hosts": (400, b"/password-reset", b"Host: localhost"),
    "an empty host": (400, b"/password-reset", b"Host:"),
    "an absolute target": (400, b"http://localhost/password-reset"),
    "a chunk that is malformed": (400, b"/password-reset", b"Transfer-Encoding: chunked", b"", b"x"),
}


@pytest.mark.parametrize("name", EARLY)
def test_a_page_may_read_why_its_connection_ends(name: str, allowing: Target, allowing_none: Target) -> None:
    status, *request = EARLY[name]
    for origin in ALLOWED:
        (response,) = exchange(allowing.port, early(origin, *request)).responses
        assert response.status == status
        found = {name.lower(): value for name, value in response.headers.items() if name.lower().startswith("access-control-")}
        assert found == headers_for(origin) and response.headers["Vary"] == "Origin"
    for target, origin in [(allowing, "https://evil.example"), (allowing, "null"), (allowing_none, ALLOWED[0])]:
        (response,) = exchange(target.port, early(origin, *request)).responses
        assert response.status == status
        assert not [name for name in response.headers if name.lower().startswith("access-control-")]
    two = early(ALLOWED[0], *request).replace(b"Host: localhost", b"Host: localhost\r\nOrigin: " + ALLOWED[1].encode(), 1)
    (response,) = exchange(allowing.port, two).responses
    assert response.headers["Access-Control-Allow-Origin"] is None


# Headers that libraries add to a page's requests, as a browser lists them.
ADDED = [
    "authorization,content-type,sentry-trace,traceparent,x-csrftoken",
    "accept,authorization,content-type,user-agent,x-csrftoken,x-requested-with",
    "accept-encoding,dnt,origin",
    "baggage,content-type,sentry-trace",
    "traceparent,tracestate",
    "x-datadog-origin,x-datadog-parent-id,x-datadog-sampling-priority,x-datadog-trace-id",
    "b3,x-b3-sampled,x-b3-spanid,x-b3-traceid",
    "request-context,request-id",
    "newrelic",
    "content-type,x-xsrf-token",
    "cache-control,pragma,x-request-id",
]


def allowed_headers(answer: Answer) -> set[str]:
    return set(answer.cors_headers["access-control-allow-headers"].lower().split(", "))


@pytest.mark.parametrize("headers", ADDED)
def test_a_page_may_send_the_headers_that_libraries_add(headers: str, allowing: Target) -> None:
    answer = allowing.preflight(LINK, "POST", ALLOWED[0], headers=headers)
    assert set(headers.split(",")) <= allowed_headers(answer)
    assert "x-other" not in allowed_headers(answer)


def test_the_operator_can_allow_further_headers_and_credentials(database: Path, serve: Callable[..., Service]) -> None:
    service = serve(CORS_ALLOWED_HEADERS="X-App-Version, x-tenant", CORS_ALLOW_CREDENTIALS="True", **SETTING)
    target = Target(service.port, Link("MQ", "no-token"))
    for origin in ALLOWED:
        answer = target.preflight(LINK, "POST", origin)
        assert {"x-app-version", "x-tenant", "content-type"} <= allowed_headers(answer)
        assert answer.cors_headers["access-control-allow-credentials"] == "true"
        answer = target.ask(Call("GET", LINK, 200), origin, Cookie="sessionid=1")
        assert answer.cors_headers == headers_for(origin) | {"access-control-allow-credentials": "true"}
    for origin in ("https://evil.example", "null"):
        assert target.preflight(LINK, "POST", origin).cors_headers == {}
        assert target.ask(Call("GET", LINK, 200), origin).cors_headers == {}


@pytest.mark.parametrize("names", ["*", "x app", "x-app,", "x-app:1", "content-type;x", '["x-app"]'])
def test_a_setting_without_names_of_headers_stops_the_start(names: str, database: Path) -> None:
    done = command(database, "check", CORS_ALLOWED_HEADERS=names, **SETTING)
    assert (done.returncode, "CORS_ALLOWED_HEADERS" in done.stdout) == (78, True), done.stdout


@pytest.mark.parametrize("path", ROUTES)
def test_a_preflight_of_another_origin_gets_no_headers(path: str, allowing: Target, allowing_none: Target) -> None:
    for target, origins in [
        (allowing, ["https://evil.example"]),
        (allowing, ["null"]),
        (allowing, []),
        (allowing_none, [ALLOWED[0]]),
    ]:
        answer = target.preflight(path, "POST", *origins)
        assert (answer.status, answer.body) == (204, b"")
        assert answer.cors_headers == {}


def test_a_page_may_read_a_refusal_by_a_limit(database: Path, serve: Callable[..., Service]) -> None:
    link = link_for(add_user("alice", "alice@example.com"))
    target = Target(serve(RATE_LIMIT_LINKS="1/h", **SETTING).port, link)
    # Preflights do not count.
    for _ in range(3):
        assert target.preflight(LINK, "POST", ALLOWED[0]).status == 204
    answers = [target.ask(Call("GET", LINK, 0), origin) for origin in (ALLOWED[0], ALLOWED[0], "https://evil.example")]
    assert [answer.status for answer in answers] == [200, 429, 429]
    assert answers[1].cors_headers == headers_for(ALLOWED[0])
    assert answers[1].headers["Retry-After"] is not None
    assert answers[2].cors_headers == {}


@pytest.mark.parametrize(
    "origins",
    [
        "*",
        "null",
        "app.example.com",
        "https://*.example.com",
        "https://app.example.com/",
        "https://app.example.com/reset",
        "https://app.example.com,*",
        "https://app.example.com https://www.example.com",
        "ftp://app.example.com",
        "wss://app.example.com",
        "file://",
        "capacitor://",
        "capacitor:localhost",
        "capacitor://localhost/",
        "Capacitor://localhost",
        "capacitor://localhost,null",
        "1app://localhost",
        "https://app.example.com:65536",
    ],
)
def test_a_setting_without_exact_origins_stops_the_start(origins: str, database: Path) -> None:
    for arguments in (["check"], ["serve"]):
        done = command(database, *arguments, CORS_ALLOWED_ORIGINS=origins)
        assert (done.returncode, "CORS_ALLOWED_ORIGINS" in done.stdout + done.stderr) == (78, True), done.stderr


@pytest.mark.parametrize(
    "origins",
    [
        "https://localhost,capacitor://localhost,ionic://localhost,app://localhost",
        "tauri://localhost,http://tauri.localhost",
        "chrome-extension://abcdefghijklmnopabcdefghijklmnop",
        "safari-web-extension://8A1D5D4C-0F0A-4B1E-9C1E-3A7B2F6D9E01",
        "app://obsidian.md,vscode-webview://1a2b3c",
        "capacitor://localhost:8100",
        "ms-appx-web://com.example.app",
    ],
)
def test_an_exact_origin_may_have_any_scheme(origins: str, database: Path) -> None:
    done = command(database, "check", CORS_ALLOWED_ORIGINS=origins)
    assert done.returncode == 0 and "CORS_ALLOWED_ORIGINS" not in done.stdout, done.stdout


# Sends the requests that the site plans, one after the other, and reports what the page sees of the responses.
PAGE = b"""<!doctype html>
<title>A page</title>
<script type="module">
const seen = [];
for (const { url, ...options } of await (await fetch("/plan")).json()) {
  try {
    const reply = await fetch(url, options);
    const { status, type } = reply;
    seen.push({ status, type, headers: Object.fromEntries(reply.headers), text: await reply.text() });
  } catch (error) {
    seen.push({ error: String(error) });
  }
}
await fetch("/report", { method: "POST", body: JSON.stringify(seen) });
</script>
"""


@dataclass(frozen=True)
class Seen:
    """What the page saw of a response."""

    status: int = 0
    type: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    text: str = ""
    error: str | None = None


REFUSED = Seen(error="TypeError: Failed to fetch")


class Site:
    """A web site with one page, which a browser visits."""

    def __init__(self) -> None:
        self._plan: list[dict[str, Any]] = []
        self._reports: queue.SimpleQueue[list[Seen]] = queue.SimpleQueue()
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path == "/plan":
                    self._answer("application/json", json.dumps(site._plan).encode())
                else:
                    self._answer("text/html", PAGE)

            def do_POST(self) -> None:
                report = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                self._answer("text/plain", b"")
                site._reports.put([Seen(**seen) for seen in report])

            def _answer(self, content_type: str, body: bytes) -> None:
                self.send_response(200)
                self.send_header("Content-Type", content_type)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *arguments: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    @property
    def origin(self) -> str:
        return f"http://localhost:{self.server.server_port}"

    def visit(self, folder: Path, *plan: dict[str, Any]) -> list[Seen]:
        """Opens the page in Chromium. The page sends the requests of `plan`; Chromium's files go into `folder`."""
        self._plan = list(plan)
        options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
        quiet = ["--disable-background-networking", "--disable-component-update", "--no-proxy-server"]
        arguments = [CHROMIUM, *options, *quiet, f"--user-data-dir={folder / 'profile'}", self.origin]
        with running(arguments, BASE_ENVIRONMENT | {"HOME": str(folder)}, folder / "chromium.log") as process:

            def reported() -> bool:
                assert process.poll() is None, (folder / "chromium.log").read_text()
                return not self._reports.empty()

            wait_until(reported, "the page's report")
        return self._reports.get()


@contextmanager
def hosting() -> Iterator[Site]:
    site = Site()
    thread = threading.Thread(target=site.server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield site
    finally:
        site.server.shutdown()
        thread.join()
        site.server.server_close()


@pytest.fixture
def allowed_site() -> Iterator[Site]:
    with hosting() as site:
        yield site


@pytest.fixture
def other_site() -> Iterator[Site]:
    with hosting() as site:
        yield site


@dataclass(frozen=True)
class Frontend:
    """The requests of a page for one user: as JSON, which needs a preflight, or in a form without one."""

    service: Service
    user: User
    link: Link

    @property
    def asking(self) -> dict[str, Any]:
        return self._post("/password-reset", {"email": self.user.email})

    @property
    def checking(self) -> dict[str, Any]:
        return {"url": self._url(f"/password-reset/{self.link.uid}/{self.link.token}")}

    @property
    def setting(self) -> dict[str, Any]:
        path = f"/password-reset/{self.link.uid}/{self.link.token}"
        return self._post(path, {"new_password1": NEW, "new_password2": NEW})

    def _url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.service.port}{path}"

    def _post(self, path: str, members: dict[str, str]) -> dict[str, Any]:
        headers = {"Content-Type": "application/json"}
        return {"url": self._url(path), "method": "POST", "headers": headers, "body": json.dumps(members)}


def simple(request: dict[str, Any], **options: str) -> dict[str, Any]:
    """Returns the same request as plain text, which needs no preflight."""
    return request | {"headers": {"Content-Type": "text/plain"}} | options


@pytest.fixture
def frontend(serve: Callable[..., Service], allowed_site: Site) -> Frontend:
    user = User.objects.create_user("alice", "alice@example.com", OLD)
    service = serve(
        CORS_ALLOWED_ORIGINS=allowed_site.origin,
        RATE_LIMIT_REQUESTS="20/m",
        RATE_LIMIT_LINKS="60/m",
        PASSWORD_HASHER_OPTIONS="iterations=10",
    )
    return Frontend(service, user, link_for(user))


def answered(log: Path, count: int) -> list[tuple[str, int]]:
    """Waits until `count` requests have reached the service. Returns their methods and statuses."""

    def requests() -> list[tuple[str, int]]:
        # The last line may be incomplete.
        lines = log.read_text().rpartition("\n")[0].splitlines()
        entries = [json.loads(line) for line in lines if line.startswith("{")]
        return [(entry["method"], int(entry["status"])) for entry in entries if entry["message"] == "Request"]

    wait_until(lambda: len(requests()) >= count, f"{count} requests in the log")
    return requests()


def limit(*, quota: int, seconds: int) -> tuple[str, str]:
    """Returns the headers of a limit per minute after the first request; `seconds` are between one and the next."""
    return f'"minute";q={quota};w=60', f'"minute";r={quota - 1};t={seconds}'


def test_an_allowed_page_sets_a_password(frontend: Frontend, allowed_site: Site, tmp_path: Path) -> None:
    asked, checked, done, again, asked_again = allowed_site.visit(
        tmp_path, frontend.asking, frontend.checking, frontend.setting, frontend.setting, frontend.asking
    )

    assert (asked.status, asked.type) == (202, "cors")
    assert (checked.status, json.loads(checked.text)["validlink"]) == (200, True)
    assert (done.status, done.type) == (200, "cors")
    assert authenticate(username="alice", password=NEW) is not None
    assert (again.status, json.loads(again.text)["code"]) == (400, "invalid_link")
    assert asked_again.status == 202

    for seen in (asked, checked, done, again, asked_again):
        assert re.fullmatch("[0-9a-f]{32}", seen.headers["x-request-id"])
        assert "referrer-policy" not in seen.headers
    assert (asked.headers["ratelimit-policy"], asked.headers["ratelimit"]) == limit(quota=20, seconds=3)
    assert (checked.headers["ratelimit-policy"], checked.headers["ratelimit"]) == limit(quota=60, seconds=1)
    # The browser sends one preflight per URL.
    assert answered(tmp_path / "service.log", 7) == [
        ("OPTIONS", 204),
        ("POST", 202),
        ("GET", 200),
        ("OPTIONS", 204),
        ("POST", 200),
        ("POST", 400),
        ("POST", 202),
    ]


def test_another_page_cannot_use_the_service(
    frontend: Frontend, allowed_site: Site, other_site: Site, database: Path, tmp_path: Path
) -> None:
    assert other_site.origin != allowed_site.origin
    *seen, opaque = other_site.visit(
        tmp_path,
        frontend.asking,
        frontend.setting,
        frontend.checking,
        simple(frontend.asking),
        simple(frontend.setting),
        simple(frontend.setting, mode="no-cors"),
    )

    assert seen == [REFUSED] * 5
    # The page sends these requests although it cannot read the responses.
    assert opaque == Seen(type="opaque")
    # The browser did not send requests that need a preflight. The others arrived, but had no effect.
    assert answered(tmp_path / "service.log", 6) == [
        ("OPTIONS", 204),
        ("OPTIONS", 204),
        ("GET", 200),
        ("POST", 415),
        ("POST", 415),
        ("POST", 415),
    ]
    assert authenticate(username="alice", password=OLD) is not None
    assert frontend.service.check_link(frontend.link).body["validlink"] is True
    with connected(database) as connection:
        for table in ("outbox", "audit"):
            assert connection.execute(f"SELECT count(*) FROM password_reset_{table}").fetchone() == (0,)
