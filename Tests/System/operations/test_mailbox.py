"""The mailbox of the memory backend: an application's test reads emails over HTTP and needs no mail server."""

import http.client
import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from metrics import ask_admin
from service import ADMIN_HOST, Service, command, serving


@dataclass(frozen=True)
class Answer:
    status: int
    json: dict[str, Any]


def ask(port: int, path: str, method: str = "GET", *, host: str = ADMIN_HOST, named: str | None = None) -> Answer:
    """Sends a request to `host`, under its own name or another one."""
    connection = http.client.HTTPConnection(host, port, timeout=20)
    try:
        connection.request(method, path, headers={"Connection": "close"} | ({"Host": named} if named else {}))
        response = connection.getresponse()
        return Answer(response.status, json.loads(response.read() or b"{}"))
    finally:
        connection.close()


@pytest.fixture
def developing(tmp_path: Path) -> Iterator[Service]:
    """Runs the service as `serve --dev` with the memory backend."""
    with serving(tmp_path / "db.sqlite3", tmp_path, "--dev", EMAIL_BACKEND="memory") as service:
        yield service


def test_the_newest_email_is_read_over_http(developing: Service) -> None:
    port = developing.admin_port
    assert ask(port, "/mailbox/newest").status == 404
    assert developing.request_reset(email="demo@example.com", locale="es").status == 202
    newest = ask(port, "/mailbox/newest?to=Demo%40example.com&wait=10")
    assert newest.status == 200
    assert (newest.json["to"], newest.json["language"]) == ("demo@example.com", "es")
    assert newest.json["reset_url"] in newest.json["text"] and newest.json["reset_url"] in newest.json["html"]
    for query in ("to=other@example.com", "to=other@example.com&wait=nan"):
        assert ask(port, f"/mailbox/newest?{query}").status == 404
    assert len(ask(port, "/mailbox").json["messages"]) == 1
    assert ask(port, "/mailbox", "DELETE").status == 204
    assert ask(port, "/mailbox").json["messages"] == []
    assert ask(port, "/mailbox/newest?wait=soon").status == 404


def test_a_page_whose_name_resolves_to_the_listener_cannot_read_the_mailbox(developing: Service) -> None:
    port = developing.admin_port
    assert ask(port, "/mailbox", named="evil.example").status == 404
    assert ask(port, "/mailbox", named=f"localhost:{port}").status == 200


def test_the_public_listener_has_no_mailbox(developing: Service) -> None:
    assert ask(developing.port, "/mailbox", host="127.0.0.1").status == 404


def test_there_is_no_mailbox_outside_development(tmp_path: Path) -> None:
    with serving(tmp_path / "db.sqlite3", tmp_path, EMAIL_BACKEND="memory") as service:
        statuses = {path: ask_admin(service, path).status for path in ("/mailbox", "/mailbox/newest", "/health/live")}
    assert statuses == {"/mailbox": 404, "/mailbox/newest": 404, "/health/live": 200}


def test_an_error_names_a_port_in_use(tmp_path: Path) -> None:
    with socket.create_server((ADMIN_HOST, 0)) as taken:
        done = command(tmp_path / "db.sqlite3", "serve", "--dev", EMAIL_BACKEND="memory", ADMIN_PORT=str(taken.getsockname()[1]))
    assert done.returncode == 1 and "ADMIN_PORT" in done.stderr
