"""Webhooks report each completed reset at least once, however the receiver answers, and lead into no private network."""

import http.client
import json
import os
import random
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from certificates import Authority
from django.contrib.auth.models import User
from django_site import add_user, add_users, link_for
from mail_server import MailServer
from metrics import scrape
from outbox import connected, pending
from paths import ROOT
from postgres import Database
from processes import free_port, running, wait_until
from service import BASE_ENVIRONMENT, BINARY, Service, command, environment_of, run_command, serving, serving_in
from webhook_receiver import Delivery, Receiver, _Handler, new_secret, receiving_webhooks

QUICK = {"PASSWORD_HASHER_OPTIONS": "iterations=10"}
# `WEBHOOK_KILLS=100` repeats the measurement in the commit that added webhooks.
KILLS = int(os.environ.get("WEBHOOK_KILLS", "15"))


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving_webhooks() as receiver:
        yield receiver


def settings_for(receiver: Receiver, secret: str, **others: str) -> dict[str, str]:
    url = f"http://127.0.0.1:{receiver.port}/hooks"
    return {"WEBHOOK_URL": url, "WEBHOOK_SECRET": secret} | QUICK | others


def set_password(service: Service, user: User, password: str = "correct-Horse-7") -> str:
    """Sets a password by a reset link, and returns the request's id."""
    reply = service.set_password(link_for(user), password, password)
    assert reply.status == 200, reply.body
    return reply.request_id


def last_error(database: Path) -> str:
    with connected(database) as connection:
        row = connection.execute("SELECT last_error FROM password_reset_outbox WHERE kind = 'webhook'").fetchone()
    return row[0] or "" if row else ""


def arrived(receiver: Receiver, count: int = 1) -> list[Delivery]:
    wait_until(lambda: len(receiver.deliveries) >= count, f"{count} webhooks")
    return receiver.deliveries


def test_a_completed_reset_is_reported_with_a_genuine_signature(database: Path, tmp_path: Path, receiver: Receiver) -> None:
    secret = new_secret()
    user = add_user("alice", "alice@example.com")
    with serving(database, tmp_path, **settings_for(receiver, secret)) as service:
        before = time.time()
        request_id = set_password(service, user)
        (delivery,) = arrived(receiver)
        wait_until(lambda: pending(database) == 0, "the outbox to be empty")
        metrics = scrape(service)
    event = delivery.verify(secret)
    assert event == {
        "type": "password_reset.completed",
        "timestamp": event["timestamp"],
        "data": {"user_id": str(user.pk), "request_id": request_id},
    }
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", event["timestamp"])
    assert int(before) <= int(delivery.headers["webhook-timestamp"]) <= time.time()
    assert delivery.path == "/hooks" and delivery.headers["content-type"] == "application/json"
    # No part of it contains an address, a name or a token.
    assert b"alice" not in delivery.body and "alice" not in str(delivery.headers)
    assert metrics.value("password_reset_webhooks_total", outcome="sent") == 1
    assert metrics.histogram("password_reset_webhook_duration_seconds").count == 1
    log = (tmp_path / "service.log").read_text()
    assert delivery.id in log and secret not in log


def test_during_rotation_each_of_the_two_secrets_verifies_a_webhook(
    database: Path, tmp_path: Path, receiver: Receiver
) -> None:
    new, old = new_secret(), new_secret()
    user = add_user("alice", "alice@example.com")
    file = tmp_path / "secret"
    file.write_text(f"{new},{old}\n")
    settings = settings_for(receiver, "", WEBHOOK_SECRET_FILE=str(file))
    with serving(database, tmp_path, **settings) as service:
        set_password(service, user)
        (delivery,) = arrived(receiver)
    assert delivery.verify(new) == delivery.verify(old)
    with pytest.raises(Exception, match="No matching signature"):
        delivery.verify(new_secret())


def reset_ids(database: Path) -> set[str]:
    with connected(database) as connection:
        rows = connection.execute("SELECT request_id FROM password_reset_audit WHERE event = 'reset'")
        return {row[0] for row in rows}


class Resetter(threading.Thread):
    """Sets the password of one user after the other at the service that runs."""

    service: Service

    def __init__(self, users: list[User]) -> None:
        super().__init__(daemon=True)
        # Made here, because Django's connection belongs to this thread.
        self._links = [link_for(user) for user in users]
        self._stopped = threading.Event()
        self.done = 0

    def run(self) -> None:
        for link in self._links:
            while not self._stopped.is_set():
                try:
                    self.service.set_password(link, "correct-Horse-7", "correct-Horse-7")
                except (OSError, http.client.HTTPException):
                    # The service was killed and is restarting.
                    self._stopped.wait(0.01)
                    continue
                self.done += 1
                break

    def stop(self) -> None:
        self._stopped.set()
        self.join()


def kill_often(resetter: Resetter, environment: dict[str, str], tmp_path: Path, is_drained: Callable[[], bool]) -> None:
    for _ in range(KILLS):
        with serving_in(environment, tmp_path) as service:
            resetter.service = service
            if not resetter.is_alive():
                resetter.start()
            enough = resetter.done + random.randint(1, 10)
            wait_until(lambda: resetter.done >= enough, "some resets")
            service.kill()
    with serving_in(environment, tmp_path):
        resetter.stop()
        wait_until(is_drained, "the outbox to be empty")


def assert_each_reset_is_reported(receiver: Receiver, secret: str, resets: set[str]) -> None:
    ids: dict[str, set[str]] = {}
    for delivery in receiver.deliveries:
        ids.setdefault(delivery.verify(secret)["data"]["request_id"], set()).add(delivery.id)
    assert resets - set(ids) == set(), "a reset was committed, but not reported"
    assert set(ids) - resets == set(), "a reset was reported, but not committed"
    assert all(len(found) == 1 for found in ids.values()), "a duplicate had another webhook-id"
    print(f"{KILLS} kills, {len(resets)} resets, {len(receiver.deliveries) - len(ids)} webhooks came twice")
    assert len(resets) >= KILLS


def test_kills_lose_no_webhook(database: Path, tmp_path: Path, receiver: Receiver) -> None:
    secret = new_secret()
    environment = environment_of(database, **settings_for(receiver, secret))
    resetter = Resetter(add_users(KILLS * 12))
    kill_often(resetter, environment, tmp_path, lambda: pending(database) == 0)
    assert_each_reset_is_reported(receiver, secret, reset_ids(database))


def test_kills_lose_no_webhook_on_postgresql(postgres: Database, tmp_path: Path, receiver: Receiver) -> None:
    secret = new_secret()
    environment = environment_of(Path("unused"), **postgres.settings(), **settings_for(receiver, secret))
    resetter = Resetter(add_users(KILLS * 12))
    kill_often(resetter, environment, tmp_path, lambda: postgres.pending == 0)
    resets = {row[0] for row in postgres.execute("SELECT request_id FROM password_reset.audit WHERE event = 'reset'")}
    assert_each_reset_is_reported(receiver, secret, resets)


def hang(handler: _Handler) -> None:
    handler.server.ended.wait()


def redirect(handler: _Handler) -> None:
    handler.reply(307, Location=f"http://127.0.0.1:{handler.server.port}/elsewhere")


def endless_body(handler: _Handler) -> None:
    handler.send_response(500)
    handler.end_headers()
    while not handler.server.ended.is_set():
        handler.wfile.write(b"x" * 65536)


def endless_header(handler: _Handler) -> None:
    handler.send_response(500)
    handler.flush_headers()
    while not handler.server.ended.is_set():
        handler.wfile.write(b"X-More: " + b"x" * 1000 + b"\r\n")


def endless_information(handler: _Handler) -> None:
    while not handler.server.ended.is_set():
        handler.wfile.write(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")


def trickle(handler: _Handler) -> None:
    handler.send_response(200)
    handler.end_headers()
    while not handler.server.ended.wait(0.5):
        handler.wfile.write(b"x")


BAD_ANSWERS: dict[str, tuple[Callable[[_Handler], None], str]] = {
    "hangs": (hang, "timed out"),
    "trickles": (trickle, "timed out"),
    "redirects": (redirect, "status 307; redirects are not followed"),
    "refuses": (lambda handler: handler.reply(400), "status 400"),
    "is gone": (lambda handler: handler.reply(410), "status 410"),
    "fails": (lambda handler: handler.reply(500, b"no"), "status 500"),
    "is busy": (lambda handler: handler.reply(503, Retry_After="3600"), "status 503"),
    "sends a body without end": (endless_body, "status 500"),
    "sends a header without end": (endless_header, "header of the reply is longer than 65536 bytes"),
    "sends information without end": (endless_information, "header of the reply is longer than 65536 bytes"),
    "speaks no HTTP": (lambda handler: handler.wfile.write(b"220 mail.example.com ESMTP\r\n"), "HTTP/0.9"),
}


@pytest.mark.parametrize("answer", BAD_ANSWERS)
def test_a_receiver_that_answers_badly_is_bounded_and_gets_the_webhook_again(
    database: Path, tmp_path: Path, receiver: Receiver, mail_server: MailServer, answer: str
) -> None:
    receiver.answer, reason = BAD_ANSWERS[answer]
    secret = new_secret()
    smtp = {"EMAIL_BACKEND": "smtp", "EMAIL_HOST": "localhost", "EMAIL_PORT": str(mail_server.port)}
    user = add_user("alice", "alice@example.com")
    others = add_users(20)
    with serving(database, tmp_path, **settings_for(receiver, secret, **smtp)) as service:
        grown = service.watch_memory()
        set_password(service, user)
        arrived(receiver)
        # Emails do not wait.
        for other in others:
            assert service.request_reset(email=other.email).status == 202
        wait_until(lambda: len(mail_server.deliveries) == len(others) + 1, "all emails and the notice")
        wait_until(lambda: reason in last_error(database), f"the error: {reason}")
        assert grown() < 64 << 20
        assert all(delivery.path == "/hooks" for delivery in receiver.deliveries)
        receiver.answer = lambda handler: handler.reply(204)
        run_command(database, "outbox", "retry", "--waiting", **settings_for(receiver, secret, **smtp))
        wait_until(lambda: pending(database) == 0, "the webhook")
    assert len({delivery.id for delivery in receiver.deliveries}) == 1
    assert receiver.deliveries[-1].verify(secret)["type"] == "password_reset.completed"


def test_a_body_that_is_too_long_does_not_change_that_the_receiver_accepted_the_webhook(
    database: Path, tmp_path: Path, receiver: Receiver
) -> None:
    receiver.answer = lambda handler: handler.reply(200, b"x" * (1 << 20))
    user = add_user("alice", "alice@example.com")
    with serving(database, tmp_path, **settings_for(receiver, new_secret())) as service:
        set_password(service, user)
        wait_until(lambda: pending(database) == 0, "the webhook")
    assert len(receiver.deliveries) == 1


def test_a_shutdown_does_not_wait_for_a_receiver_that_hangs(database: Path, tmp_path: Path, receiver: Receiver) -> None:
    receiver.answer = hang
    user = add_user("alice", "alice@example.com")
    # `serving` fails unless the service ends within ten seconds of SIGTERM.
    with serving(database, tmp_path, **settings_for(receiver, new_secret())) as service:
        set_password(service, user)
        arrived(receiver)
    with connected(database) as connection:
        assert connection.execute("SELECT count(*) FROM password_reset_outbox WHERE kind = 'webhook'").fetchone() == (1,)


def test_a_name_that_leads_to_this_machine_is_refused_unless_its_network_is_allowed(
    database: Path, tmp_path: Path, authority: Authority
) -> None:
    # libcurl knows that all names under localhost lead to this machine.
    host = "receiver.localhost"
    with receiving_webhooks(authority.issue(host)) as receiver:
        url = f"https://{host}:{receiver.port}/hooks"
        secret = new_secret()
        settings = {"WEBHOOK_URL": url, "WEBHOOK_SECRET": secret, "SSL_CERT_FILE": str(authority.file)} | QUICK
        user = add_user("alice", "alice@example.com")
        with serving(database, tmp_path, **settings) as service:
            set_password(service, user)
            wait_until(lambda: "WEBHOOK_ALLOWED_NETWORKS" in last_error(database), "the refusal")
        assert re.search(r"(127\.0\.0\.1|::1) is not a public address", last_error(database))
        assert receiver.deliveries == []
        settings["WEBHOOK_ALLOWED_NETWORKS"] = "127.0.0.0/8, ::1"
        run_command(database, "outbox", "retry", "--waiting", **settings)
        with serving(database, tmp_path, **settings):
            arrived(receiver)
        receiver.deliveries[0].verify(secret)


def test_a_certificate_of_an_unknown_authority_or_for_another_name_is_refused(
    database: Path, tmp_path: Path, authority: Authority
) -> None:
    unknown = Authority(tmp_path, "unknown")
    for issuer, host, reason in [(unknown, "localhost", "certificate"), (authority, "other.example", "certificate subject name|no alternative")]:
        with receiving_webhooks(issuer.issue(host)) as receiver:
            settings = {"WEBHOOK_URL": f"https://localhost:{receiver.port}/", "WEBHOOK_SECRET": new_secret()}
            done = command(database, "webhook", "test", SSL_CERT_FILE=str(authority.file), **settings)
            assert done.returncode == 1 and re.search(reason, done.stderr), done.stderr
            assert receiver.deliveries == []


def test_an_address_in_the_private_network_is_refused_at_the_start(database: Path) -> None:
    for url, number in [
        ("https://10.0.0.7/hooks", "E038"),
        ("https://169.254.169.254/latest", "E038"),
        ("https://[fd00::1]/hooks", "E038"),
        ("https://[::ffff:192.168.0.1]/", "E038"),
        ("https://[64:ff9b::a00:1]/", "E038"),
        ("http://www.example.com/hooks", "E037"),
        ("http://10.0.0.7/hooks", "E037"),
        ("ftp://www.example.com/", "E003"),
        ("https://user:word@www.example.com/", "E003"),
        ("https://2130706433/", "E003"),
        ("https://", "E003"),
    ]:
        done = command(database, "check", WEBHOOK_URL=url, WEBHOOK_SECRET=new_secret())
        assert done.returncode == 78 and number in done.stdout, (url, done.stdout)
    done = command(
        database, "check", WEBHOOK_URL="https://10.0.0.7/", WEBHOOK_SECRET=new_secret(), WEBHOOK_ALLOWED_NETWORKS="10.0.0.0/24"
    )
    assert "E03" not in done.stdout


def test_check_explains_webhook_settings(database: Path, receiver: Receiver) -> None:
    def found(**settings: str) -> str:
        return command(database, "check", **settings).stdout

    local = f"http://127.0.0.1:{receiver.port}/"
    assert "WEBHOOK_SECRET is required because WEBHOOK_URL is set" in found(WEBHOOK_URL=local)
    assert "whsec_" in found(WEBHOOK_URL=local, WEBHOOK_SECRET="short")
    assert "WEBHOOK_EVENTS must be events" in found(
        WEBHOOK_URL=local, WEBHOOK_SECRET=new_secret(), WEBHOOK_EVENTS="password_reset.complete"
    )
    assert "W020" in found(WEBHOOK_SECRET=new_secret())
    assert "W038" in found(WEBHOOK_URL=local, WEBHOOK_SECRET=new_secret(), WEBHOOK_ALLOWED_NETWORKS="0.0.0.0/0")
    assert "W039" in found(WEBHOOK_URL=local, WEBHOOK_SECRET=new_secret())


def test_the_test_command_prints_the_answer(database: Path, receiver: Receiver) -> None:
    secret = new_secret()
    receiver.answer = lambda handler: handler.reply(200, b"welcome \x1b[31m")
    done = command(database, "webhook", "test", **settings_for(receiver, secret))
    assert done.returncode == 0 and done.stdout.startswith("welcome \ufffd[31m\n"), done.stdout
    event = receiver.deliveries[0].verify(secret)
    assert event["type"] == "password_reset.test" and event["data"] == {"user_id": None, "request_id": "webhook test"}
    assert receiver.deliveries[0].id in done.stdout
    receiver.answer = lambda handler: handler.reply(404, b"no such hook")
    done = command(database, "webhook", "test", **settings_for(receiver, secret))
    assert done.returncode == 1 and "no such hook" in done.stdout and "status 404" in done.stderr
    assert command(database, "webhook", "test").returncode == 78
    done = command(database, "webhook", "test", WEBHOOK_URL=f"http://127.0.0.1:{free_port()}/", WEBHOOK_SECRET=secret)
    assert done.returncode == 1 and "was not sent" in done.stderr


def test_commands_of_staff_are_reported(database: Path, tmp_path: Path, receiver: Receiver) -> None:
    secret = new_secret()
    user = add_user("alice", "alice@example.com")
    settings = settings_for(receiver, secret)
    run_command(database, "users", "link", "alice", **settings)
    run_command(database, "users", "set-password", "alice", "--password-stdin", stdin="correct-Horse-7", **settings)
    # Without a receiver, nothing is added.
    run_command(database, "users", "link", "alice", **QUICK)
    shown = run_command(database, "outbox", "list", **settings)
    assert shown.count("webhook user") == 2 and "password_reset.link_printed msg_" in shown
    with serving(database, tmp_path, **settings):
        arrived(receiver, 2)
        wait_until(lambda: pending(database) == 0, "the outbox to be empty")
    events = [delivery.verify(secret) for delivery in receiver.deliveries]
    found = {event["type"]: event["data"] for event in events}
    assert found == {
        "password_reset.link_printed": {"user_id": str(user.pk), "request_id": "users link"},
        "password_reset.completed": {"user_id": str(user.pk), "request_id": "users set-password"},
    }


def test_a_dead_letter_is_shown_retried_and_purged(database: Path, tmp_path: Path, receiver: Receiver) -> None:
    settings = settings_for(receiver, new_secret())
    add_user("alice", "alice@example.com")
    for _ in range(2):
        run_command(database, "users", "link", "alice", **settings)
    with connected(database) as connection:
        connection.execute("UPDATE password_reset_outbox SET created_at = created_at - 90000000")
    with serving(database, tmp_path, **settings):
        wait_until(lambda: pending(database) == 0, "dead letters")
        assert receiver.deliveries == []
        first, second = [json.loads(line) for line in run_command(database, "outbox", "list", "--dead", "--json").splitlines()]
        shown = run_command(database, "outbox", "show", str(first["id"]))
        assert "webhook" in shown and "password_reset.link_printed msg_" in shown and "older than a day" in shown
        run_command(database, "outbox", "purge", str(second["id"]))
        run_command(database, "outbox", "retry", str(first["id"]))
        arrived(receiver)
    assert [delivery.id for delivery in receiver.deliveries] == [first["identifier"].split(" ")[1]]


def test_a_worker_sends_the_webhooks_of_a_service_without_one(database: Path, tmp_path: Path, receiver: Receiver) -> None:
    secret = new_secret()
    user = add_user("alice", "alice@example.com")
    settings = settings_for(receiver, secret)
    with serving(database, tmp_path, "--no-worker", **settings) as service:
        set_password(service, user)
        assert pending(database) == 2 and receiver.deliveries == []
        with running([BINARY, "worker"], environment_of(database, **settings), tmp_path / "worker.log"):
            arrived(receiver)
    receiver.deliveries[0].verify(secret)


def documented(language: str) -> str:
    found = re.findall(rf"```{language}\n(.*?)```", (ROOT / "docs/webhooks.md").read_text(), re.DOTALL)
    assert len(found) == 1
    return str(found[0])


@pytest.mark.parametrize(("language", "program"), [("python", [sys.executable]), ("js", ["node"])])
def test_the_receiver_in_the_documentation_works(
    database: Path, tmp_path: Path, language: str, program: list[str]
) -> None:
    file = tmp_path / ("receiver.py" if language == "python" else "receiver.mjs")
    file.write_text(documented(language))
    secret, port, log = new_secret(), free_port(), tmp_path / "receiver.log"
    user = add_user("alice", "alice@example.com")
    settings = {"WEBHOOK_URL": f"http://127.0.0.1:{port}/", "WEBHOOK_SECRET": secret} | QUICK
    with running([*program, str(file), str(port)], BASE_ENVIRONMENT | {"WEBHOOK_SECRET": secret}, log):
        wait_until(lambda: command(database, "webhook", "test", **settings).returncode == 0, "the receiver to start")
        done = command(database, "webhook", "test", **settings | {"WEBHOOK_SECRET": new_secret()})
        assert done.returncode == 1 and "status 400" in done.stderr
        with serving(database, tmp_path, **settings) as service:
            set_password(service, user)
            wait_until(lambda: pending(database) == 0, "the webhook")
    assert f"end the sessions of user {user.pk}" in log.read_text()


def test_a_receiver_that_cannot_be_reached_is_named_in_the_error(database: Path, tmp_path: Path) -> None:
    user = add_user("alice", "alice@example.com")
    settings: dict[str, Any] = {"WEBHOOK_URL": f"http://localhost:{free_port()}/", "WEBHOOK_SECRET": new_secret()} | QUICK
    with serving(database, tmp_path, **settings) as service:
        set_password(service, user)
        wait_until(lambda: "connect" in last_error(database).lower(), "the error")
    with serving(database, tmp_path, **settings | {"WEBHOOK_URL": "https://receiver.invalid/"}):
        run_command(database, "outbox", "retry", "--waiting")
        wait_until(lambda: "resolve" in last_error(database).lower(), "the error")
