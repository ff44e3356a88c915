"""`serve --no-worker` and `worker`: one process answers requests, others send the emails."""

import signal
import socket
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from django_site import add_users
from mail_server import Delivery, MailServer
from metrics import ask_admin, scrape
from outbox import audited, connected, pending
from processes import free_port, running, wait_until
from service import ADMIN_HOST, BINARY, Service, environment_of, run_program, serving

USERS = 40
ADDRESSES = {f"user{number}@example.com" for number in range(USERS)}


@contextmanager
def working(database: Path, folder: Path, **settings: str) -> Iterator[Service]:
    """Runs a worker on `database`, with its log in `folder`, until its admin listener is ready and then for the block."""
    folder.mkdir()
    log = folder / "worker.log"
    with running([BINARY, "worker"], environment_of(database, **settings), log) as process:
        worker = Service(0, process, log)
        wait_until(lambda: process.poll() is None and worker.admin_port, "the worker to start")
        yield worker


@pytest.fixture
def smtp(mail_server: MailServer) -> Mapping[str, str]:
    return {"EMAIL_BACKEND": "smtp", "EMAIL_HOST": "localhost", "EMAIL_PORT": str(mail_server.port)}


@pytest.fixture
def users(database: Path) -> None:
    add_users(USERS)


def ask_for_all(service: Service) -> None:
    for address in ADDRESSES:
        assert service.request_reset(email=address).status == 202


def recipients(deliveries: Iterable[Delivery]) -> set[str]:
    return {recipient for delivery in deliveries for recipient in delivery.recipients}


def test_emails_wait_for_a_worker(
    users: None, database: Path, tmp_path: Path, mail_server: MailServer, smtp: Mapping[str, str]
) -> None:
    with serving(database, tmp_path, "--no-worker", **smtp) as service:
        ask_for_all(service)
        with connected(database) as connection:
            claimed = connection.execute("SELECT count(*) FROM password_reset_outbox WHERE owner IS NOT NULL OR attempts > 0").fetchone()
        assert (pending(database), claimed, mail_server.deliveries) == (USERS, (0,), [])
        assert scrape(service).value("password_reset_outbox_jobs", state="waiting") == USERS
        with working(database, tmp_path / "worker", **smtp):
            deliveries = mail_server.wait_for(USERS)
            assert recipients(deliveries) == ADDRESSES
            wait_until(lambda: pending(database) == 0, "the outbox to be empty")
            link = deliveries[0].link
            assert service.check_link(link).body["validlink"] is True
            assert service.set_password(link, "battery-staple-92", "battery-staple-92").status == 200
            # The worker also sends the notice about the new password.
            notice = mail_server.wait_for(USERS + 1)[-1]
            assert notice.recipients == deliveries[0].recipients
            wait_until(lambda: audited(database, "mailed") == USERS + 1, "the outcomes to be recorded")


def test_a_worker_answers_only_on_the_admin_listener(database: Path, tmp_path: Path, smtp: Mapping[str, str]) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        # The worker has the settings of a service, whose port is taken.
        port = str(taken.getsockname()[1])
        admin = str(free_port())
        settings = smtp | {"HTTP_PORT": port, "HTTP_SSL_CERTFILE": "", "ADMIN_PORT": admin}
        with working(database, tmp_path / "worker", **settings) as worker:
            assert ask_admin(worker, "/health/ready").status == 200
            assert scrape(worker).value("password_reset_outbox_jobs", state="waiting") == 0
            health = {"ADMIN_HOST": ADMIN_HOST, "ADMIN_PORT": admin}
            done = run_program(health, "health", "--admin")
            assert (done.returncode, done.stdout) == (0, "ready\n"), done.stderr
        assert run_program(health, "health", "--admin").returncode == 1


def test_workers_share_the_emails_and_one_that_dies_loses_none(
    users: None, database: Path, tmp_path: Path, mail_server: MailServer, smtp: Mapping[str, str]
) -> None:
    with serving(database, tmp_path, "--no-worker") as service:
        ask_for_all(service)
    slow = {**smtp, "EMAIL_CONNECTIONS": "1", "EMAIL_RATE_LIMIT": "10/s"}
    with working(database, tmp_path / "first", **slow) as first, working(database, tmp_path / "second", **slow):
        mail_server.wait_for(3)
        first.kill()
        wait_until(lambda: pending(database) == 0, "the other worker to send the rest", seconds=30)
    assert recipients(mail_server.deliveries) == ADDRESSES


def test_a_worker_ends_on_sigterm_with_nothing_half_done(
    users: None, database: Path, tmp_path: Path, mail_server: MailServer, smtp: Mapping[str, str]
) -> None:
    with serving(database, tmp_path, "--no-worker") as service:
        ask_for_all(service)
    with working(database, tmp_path / "worker", **smtp, EMAIL_CONNECTIONS="2", EMAIL_RATE_LIMIT="20/s") as worker:
        mail_server.wait_for(2)
        worker.process.send_signal(signal.SIGTERM)
        assert worker.process.wait(timeout=10) == 0
    assert audited(database, "mailed") == len(mail_server.deliveries)
    with connected(database) as connection:
        assert connection.execute("SELECT count(*) FROM password_reset_outbox WHERE owner IS NOT NULL").fetchone() == (0,)
    assert 0 < pending(database) == USERS - len(mail_server.deliveries)


def test_development_mode_sends_its_emails_itself(database: Path) -> None:
    done = run_program(environment_of(database), "serve", "--dev", "--no-worker")
    assert done.returncode == 64 and "exclude each other" in done.stderr
