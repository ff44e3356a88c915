"""Metrics are correct after known traffic, reveal no accounts, and are only for the operator."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

import pytest

from django_site import add_user, link_for
from mail_server import MailServer, receiving
from metrics import Metrics, ask_admin, assert_is_sound, scrape
from outbox import dead_letters, connected, failures, outbox, pending
from processes import free_port, wait_until
from raw_http import Connection, exchange
from scripted_server import scripted, settings
from service import BASE_ENVIRONMENT, BINARY, Link, Service, serving

NEW = "battery-staple-92-new"
ASK = "/password-reset"
LINK = "/password-reset/{uidb64}/{token}"
REQUESTS = "password_reset_http_requests_total"
SECONDS = "password_reset_http_request_duration_seconds"

TYPES = {
    "password_reset_build_info": "gauge",
    "password_reset_database_up": "gauge",
    REQUESTS: "counter",
    SECONDS: "histogram",
    "password_reset_http_connections": "gauge",
    "password_reset_http_connections_limit": "gauge",
    "password_reset_limiter_decisions_total": "counter",
    "password_reset_outbox_jobs": "gauge",
    "password_reset_outbox_oldest_age_seconds": "gauge",
    "password_reset_emails_total": "counter",
    "password_reset_email_duration_seconds": "histogram",
    "password_reset_webhooks_total": "counter",
    "password_reset_webhook_duration_seconds": "histogram",
    "password_reset_hashing_slots": "gauge",
    "password_reset_hashing_running": "gauge",
    "password_reset_hashing_waiting": "gauge",
    "password_reset_hashing_wait_seconds": "histogram",
    "password_reset_hashing_refused_total": "counter",
    "password_reset_after_reset_failures_total": "counter",
    "password_reset_audit_lost_total": "counter",
    "password_reset_log_lines_lost_total": "counter",
    "process_start_time_seconds": "gauge",
    "process_cpu_seconds_total": "counter",
    "process_resident_memory_bytes": "gauge",
    "process_open_fds": "gauge",
    "process_max_fds": "gauge",
}


@dataclass(frozen=True)
class Flow:
    """A service after known traffic, and its metrics then."""

    service: Service
    metrics: Metrics
    # All requests that were sent, by method, route and status.
    requests: dict[tuple[str, str, str], int]


def answered(service: Service, request: str) -> list[int]:
    """Returns the statuses of the responses to requests without a body."""
    return exchange(service.port, f"{request} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()).statuses


@pytest.fixture(scope="module")
def flow(module_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flow]:
    """Runs a service that allows four requests for an email, and more link requests than are sent."""
    add_user("alice", "alice@example.com")
    folder = tmp_path_factory.mktemp("flow")
    with receiving(folder) as server, ExitStack() as stack:
        smtp = {"EMAIL_BACKEND": "smtp", "EMAIL_HOST": "localhost", "EMAIL_PORT": str(server.port)}
        limits = {"RATE_LIMIT_REQUESTS": "4/d", "RATE_LIMIT_LINKS": "1000/d", "PASSWORD_HASHER_OPTIONS": "iterations=10"}
        service = stack.enter_context(serving(module_database, folder, **smtp, **limits))
        requests = play(service, server)
        wait_until(lambda: pending(module_database) == 0, "the outbox to be empty")
        yield Flow(service, scrape(service), requests)


def play(service: Service, server: MailServer) -> dict[tuple[str, str, str], int]:
    requests: dict[tuple[str, str, str], int] = {}

    def count(method: str, route: str, *statuses: int) -> None:
        for status in statuses:
            key = (method, route, str(status))
            requests[key] = requests.get(key, 0) + 1

    count("POST", ASK, service.request_reset(email="alice@example.com").status)
    (mail,) = server.wait_for(1)
    count("POST", ASK, service.request_reset(email="stranger@example.com").status)
    count("POST", ASK, service.request_reset(email="stranger@example.com").status)
    count("POST", ASK, service.request_reset(email="stranger").status)
    count("POST", ASK, *[service.request_reset(email="alice@example.com").status for _ in range(3)])
    count("GET", LINK, *[service.check_link(mail.link).status for _ in range(5)])
    count("GET", LINK, service.check_link(Link(mail.link.uid, "abc-def")).status)
    count("POST", LINK, service.set_password(mail.link, "1234", "1234").status)
    count("POST", LINK, service.set_password(mail.link, NEW, NEW).status)
    count("POST", LINK, service.set_password(mail.link, NEW, NEW).status)
    server.wait_for(2)
    count("GET", "none", *answered(service, "GET /nowhere"), *answered(service, "GET /nowhere/else"))
    count("GET", "/health/live", *[status for _ in range(7) for status in answered(service, "GET /health/live")])
    count("GET", "/health/ready", *answered(service, "GET /health/ready"))
    count("GET", "/openapi.yaml", *answered(service, "GET /openapi.yaml"))
    assert requests[("POST", ASK, "202")] == 3 and requests[("POST", ASK, "429")] == 3, requests
    return requests


@pytest.fixture
def promtool() -> str:
    program = shutil.which("promtool")
    assert program, "there is no promtool; install Debian's package prometheus"
    return program


def test_prometheus_accepts_the_metrics(flow: Flow, promtool: str) -> None:
    done = subprocess.run(
        [promtool, "check", "metrics"], input=flow.metrics.text, env=BASE_ENVIRONMENT, text=True, capture_output=True, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_prometheus_would_refuse_invalid_metrics(flow: Flow, promtool: str) -> None:
    broken = flow.metrics.text.replace("_total", "", 1)
    done = subprocess.run([promtool, "check", "metrics"], input=broken, env=BASE_ENVIRONMENT, text=True, capture_output=True, timeout=60)
    assert done.returncode != 0


def test_every_metric_exists_with_its_type(flow: Flow) -> None:
    assert flow.metrics.types == TYPES
    # A labeled counter without counts, and a histogram without observations, may have no series.
    assert flow.metrics.names <= TYPES.keys()
    assert {name for name, kind in TYPES.items() if kind == "gauge"} <= flow.metrics.names


def test_the_metrics_are_in_the_text_format(flow: Flow) -> None:
    reply = ask_admin(flow.service, "/metrics")
    assert reply.content_type.replace(" ", "").startswith("text/plain;version=0.0.4")
    assert reply.body.endswith("\n")


def test_the_build_is_reported(flow: Flow) -> None:
    version = subprocess.run([BINARY, "--version"], env=BASE_ENVIRONMENT, text=True, capture_output=True, check=True).stdout
    assert flow.metrics.series("password_reset_build_info") == {frozenset({("version", version.strip())}): 1}


def test_requests_are_counted_by_route_and_status(flow: Flow) -> None:
    counted = {}
    for labels, value in flow.metrics.series(REQUESTS).items():
        by_name = dict(labels)
        assert by_name.keys() == {"method", "route", "status"}
        counted[by_name["method"], by_name["route"], by_name["status"]] = value
    # Connections to the admin listener may also count.
    public = {key: value for key, value in counted.items() if key in flow.requests or key[1].startswith(ASK)}
    assert public == flow.requests


def test_durations_are_counted_by_route(flow: Flow) -> None:
    for route in {route for _, route, _ in flow.requests}:
        histogram = flow.metrics.histogram(SECONDS, route=route)
        assert_is_sound(histogram)
        assert histogram.count == sum(count for (_, counted, _), count in flow.requests.items() if counted == route)
        # No request took that long.
        assert histogram.sum < 10 * histogram.count


def test_decisions_of_the_rate_limits_are_counted(flow: Flow) -> None:
    def decided(limiter: str) -> tuple[float, float]:
        allowed, throttled = (
            flow.metrics.value("password_reset_limiter_decisions_total", limiter=limiter, decision=decision)
            for decision in ("allowed", "throttled")
        )
        return allowed, throttled

    assert decided("requests") == (4, 3)
    assert decided("links") == (9, 0)


def test_emails_are_counted_by_outcome(flow: Flow) -> None:
    outcomes = {outcome: flow.metrics.value("password_reset_emails_total", outcome=outcome) for outcome in ("sent", "retried", "dead")}
    assert outcomes == {"sent": 2, "retried": 0, "dead": 0}
    durations = flow.metrics.histogram("password_reset_email_duration_seconds")
    assert_is_sound(durations)
    assert durations.count == 2
    assert flow.metrics.value("password_reset_outbox_oldest_age_seconds") == 0
    assert flow.metrics.series("password_reset_outbox_jobs") == {
        frozenset({("state", "waiting")}): 0,
        frozenset({("state", "dead")}): 0,
    }


def test_hashes_are_counted(flow: Flow) -> None:
    assert flow.metrics.value("password_reset_hashing_slots") == len(os.sched_getaffinity(0))
    assert flow.metrics.value("password_reset_hashing_running") == flow.metrics.value("password_reset_hashing_waiting") == 0
    waits = flow.metrics.histogram("password_reset_hashing_wait_seconds")
    assert_is_sound(waits)
    # A weak password and a used link cost no hash.
    assert waits.count == 1
    assert flow.metrics.value("password_reset_hashing_refused_total") == 0


def test_every_email_is_accounted_for(flow: Flow) -> None:
    assert flow.metrics.value("password_reset_audit_lost_total") == 0
    assert flow.metrics.value("password_reset_log_lines_lost_total") == 0


def test_the_process_metrics_match_the_kernel(flow: Flow) -> None:
    proc = Path(f"/proc/{flow.service.process.pid}")
    metrics = scrape(flow.service)
    start_ticks = int((proc / "stat").read_text().rpartition(")")[2].split()[19])
    uptime = float(Path("/proc/uptime").read_text().split()[0])
    started = time.time() - uptime + start_ticks / os.sysconf("SC_CLK_TCK")
    assert metrics.value("process_start_time_seconds") == pytest.approx(started, abs=2)
    assert metrics.value("process_cpu_seconds_total") == pytest.approx(flow.service.processor_time, abs=1)
    resident = int((proc / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    assert metrics.value("process_resident_memory_bytes") == pytest.approx(resident, rel=0.2)
    # The scrape's own connection, and any that was closing.
    assert metrics.value("process_open_fds") == pytest.approx(len(list((proc / "fd").iterdir())), abs=5)
    limit = next(line for line in (proc / "limits").read_text().splitlines() if line.startswith("Max open files"))
    assert metrics.value("process_max_fds") == int(limit.split()[3])


def test_connections_are_counted(flow: Flow) -> None:
    with ExitStack() as stack:
        for _ in range(10):
            client = stack.enter_context(Connection(flow.service.port))
            client.send(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert client.listen(10, responses=1).statuses == [200]
        assert scrape(flow.service).value("password_reset_http_connections") >= 10
    wait_until(lambda: scrape(flow.service).value("password_reset_http_connections") < 10, "the connections to be closed")
    assert scrape(flow.service).value("password_reset_http_connections_limit") > 100


@pytest.mark.parametrize("path", ["/metrics", "/metrics/", "/mailbox"])
def test_the_public_listener_has_no_metrics(path: str, flow: Flow) -> None:
    assert answered(flow.service, f"GET {path}") == [404]


@pytest.mark.parametrize("path", ["/metrics", "/health/live", "/health/ready"])
def test_the_admin_listener_answers_only_to_its_own_names(path: str, flow: Flow) -> None:
    port = flow.service.admin_port
    for host in ("localhost", f"localhost:{port}", "127.0.0.1", f"[::1]:{port}", f"127.0.0.2:{port}", "LOCALHOST"):
        assert ask_admin(flow.service, path, host=host).status == 200, host
    for host in ("rebinding.example.com", f"rebinding.example.com:{port}", "localhost.example.com", "127.0.0.3", "example.com#localhost"):
        refused = ask_admin(flow.service, path, host=host)
        assert 400 <= refused.status < 500, host
        assert "password_reset_" not in refused.body


@pytest.mark.parametrize("path", ["/password-reset", "/mailbox", "/openapi.yaml", "/"])
def test_the_admin_listener_serves_nothing_else(path: str, flow: Flow) -> None:
    reply = ask_admin(flow.service, path)
    assert (reply.status, reply.content_type) == (404, "application/problem+json")
    assert json.loads(reply.body)["code"] == "not_found"


def test_unknown_paths_create_no_time_series(serve: Callable[..., Service]) -> None:
    service = serve()

    def visit(number: int) -> None:
        for request in (
            f"BREW{number} /health/live",
            f"GET /nowhere/{number}",
            f"GET /password-reset/MQ/stranger-{number}",
            f"GET /password-reset/stranger{number}/abc",
            f"DELETE /password-reset?{number}",
        ):
            assert answered(service, request), request

    visit(0)
    # The second scrape shows the first one.
    scrape(service)
    before = scrape(service)
    for number in range(1, 20):
        visit(number)
    after = scrape(service)
    assert after.samples.keys() == before.samples.keys()
    assert not any(word in after.text for word in ("BREW1", "stranger", "/nowhere"))


def test_the_metrics_do_not_reveal_accounts(serve: Callable[..., Service], database: Path) -> None:
    """Metrics reveal how many emails were sent, and therefore how many requests had an account, but no names."""
    add_user("alice", "alice@example.com")
    service = serve()
    service.request_reset(email="alice@example.com")
    service.request_reset(email="stranger@example.com")
    wait_until(lambda: pending(database) == 0, "the outbox to be empty")
    text = scrape(service).text
    for word in ("no_account", "suppressed", "alice", "stranger", "example.com", "resolved"):
        assert word not in text


def test_an_outage_of_the_mail_server_is_visible_and_the_service_stays_ready(database: Path, serve: Callable[..., Service]) -> None:
    add_user("alice", "alice@example.com")
    service = serve(EMAIL_BACKEND="smtp", EMAIL_HOST="localhost", EMAIL_PORT=str(free_port()))
    start = time.time()
    for _ in range(3):
        assert service.request_reset(email="alice@example.com").status == 202
    wait_until(lambda: failures(database), "the outbox to record that the server is away")

    def oldest() -> float:
        return scrape(service).value("password_reset_outbox_oldest_age_seconds")

    wait_until(lambda: oldest() >= 2, "the oldest job to age")
    # The time by the database's clock, in milliseconds.
    assert oldest() <= time.time() - start + 0.1
    metrics = scrape(service)
    assert metrics.value("password_reset_outbox_jobs", state="waiting") == 3
    assert metrics.value("password_reset_outbox_jobs", state="dead") == 0
    assert metrics.value("password_reset_emails_total", outcome="retried") >= 1
    assert metrics.value("password_reset_emails_total", outcome="sent") == 0
    assert answered(service, "GET /health/ready") == [200]
    assert ask_admin(service, "/health/ready").status == 200


def test_a_dead_letter_is_counted(database: Path, serve: Callable[..., Service]) -> None:
    add_user("alice", "alice@example.com")
    add_user("bob", "bob@example.com")
    with scripted({"RCPT TO:<alice@example.com>": "550 no"}) as server:
        service = serve(**settings(server))
        for name in ("alice", "bob"):
            assert service.request_reset(email=f"{name}@example.com").status == 202
        wait_until(lambda: dead_letters(database) and len(outbox(database)) == 1, "one email to be sent, and one to be dead-lettered")
        # An email is counted a moment after its row is gone.
        wait_until(lambda: scrape(service).value("password_reset_emails_total", outcome="sent") == 1, "the email to be counted")
        metrics = scrape(service)
    assert metrics.value("password_reset_emails_total", outcome="dead") == 1
    assert metrics.value("password_reset_emails_total", outcome="sent") == 1
    assert metrics.value("password_reset_outbox_jobs", state="dead") == 1
    assert metrics.value("password_reset_outbox_jobs", state="waiting") == 0
    # Dead letters do not count as pending.
    assert metrics.value("password_reset_outbox_oldest_age_seconds") == 0


def test_an_overload_of_the_hashing_pool_is_visible(database: Path, tmp_path: Path) -> None:
    """One password is hashed, 32 wait, and the rest is refused."""
    link = link_for(add_user("alice", "alice@example.com"))
    body = b'{"new_password1": "%b", "new_password2": "%b"}' % (NEW.encode(), NEW.encode())
    head = f"POST /password-reset/{link.uid}/{link.token} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    request = head.encode() + b"Connection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    slow = {"PASSWORD_HASHER_CONCURRENCY": "1", "PASSWORD_HASHER_OPTIONS": "iterations=1500000"}
    with serving(database, tmp_path, **slow) as service, ExitStack() as stack:
        clients = [stack.enter_context(Connection(service.port)) for _ in range(80)]
        for client in clients:
            client.send(request)
        busy = wait_until(lambda: seen if (seen := scrape(service)).value("password_reset_hashing_refused_total") else None, "a refusal")
        assert busy.value("password_reset_hashing_slots") == 1
        assert busy.value("password_reset_hashing_running") == 1
        assert 0 < busy.value("password_reset_hashing_waiting") <= 32
        statuses = [status for client in clients for status in client.listen(60).statuses]
        done = scrape(service)
    refused = statuses.count(HTTPStatus.SERVICE_UNAVAILABLE)
    assert (len(statuses), statuses.count(HTTPStatus.OK)) == (80, 1)
    assert done.value("password_reset_hashing_refused_total") == refused > 0
    waits = done.histogram("password_reset_hashing_wait_seconds")
    assert_is_sound(waits)
    assert waits.count == done.value("password_reset_hashing_wait_seconds_bucket", le="+Inf") <= 80 - refused
    assert waits.sum > 0.1
    assert done.value("password_reset_hashing_running") == done.value("password_reset_hashing_waiting") == 0


def test_a_service_without_its_database_is_live_but_not_ready(database: Path, serve: Callable[..., Service]) -> None:
    service = serve()
    assert [ask_admin(service, f"/health/{name}").status for name in ("live", "ready")] == [200, 200]
    with connected(database) as connection:
        connection.execute("ALTER TABLE password_reset_outbox RENAME TO taken_away")
    assert answered(service, "GET /health/ready") == [503]
    assert ask_admin(service, "/health/ready").status == 503
    assert answered(service, "GET /health/live") == [200]
    assert ask_admin(service, "/health/live").status == 200
    # The other metrics are reported although this one cannot be read.
    assert scrape(service).value("process_open_fds") > 0
    with connected(database) as connection:
        connection.execute("ALTER TABLE taken_away RENAME TO password_reset_outbox")
    assert answered(service, "GET /health/ready") == [200]
    assert ask_admin(service, "/health/ready").status == 200
