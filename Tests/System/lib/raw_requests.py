"""Requests as bytes, sent over many connections at once."""

import json
from contextlib import ExitStack
from urllib.parse import quote

from raw_http import Connection, Response
from service import Link, Service

# Passwords are hashed quickly.
CHEAP = {"PASSWORD_HASHER_OPTIONS": "iterations=10"}
NEW = "battery-staple-92-new"


def post(path: str, body: dict[str, str]) -> bytes:
    content = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    return head.encode() + content


def new_password(link: Link, password: str = NEW) -> bytes:
    return post(f"/password-reset/{quote(link.uid)}/{quote(link.token)}", {"new_password1": password, "new_password2": password})


def all_at_once(service: Service, requests: list[list[bytes]]) -> list[Response]:
    """Sends each list of requests over its own connection, and returns all responses."""
    with ExitStack() as stack:
        clients = [stack.enter_context(Connection(service.port)) for _ in requests]
        for client, own in zip(clients, requests, strict=True):
            client.send(b"".join(own))
        responses = []
        for client, own in zip(clients, requests, strict=True):
            talk = client.listen(30, responses=len(own), methods=["POST"] * len(own))
            assert len(talk.responses) == len(own), talk
            responses += talk.responses
    return responses


def assert_is_refused(responses: list[Response]) -> None:
    for response in responses:
        assert (response.status, response.code) == (503, "unavailable"), response
        assert int(response.headers["Retry-After"]) > 0
