"""Every way to sign in to a mail server."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User

from certificates import Authority
from django_site import add_user
from mail_server import Login, receiving
from outbox import dead_letters, failures, outbox
from processes import wait_until
from service import Service

LOGIN = Login()


@pytest.fixture
def user(database: Path) -> User:
    return add_user("alice", "alice@example.com")


def settings(port: int, authority: Authority, **others: str) -> dict[str, str]:
    return {
        "EMAIL_BACKEND": "smtp",
        "EMAIL_HOST": "localhost",
        "EMAIL_PORT": str(port),
        "EMAIL_USE_TLS": "true",
        "SSL_CERT_FILE": str(authority.file),
    } | others


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_a_password_is_sent_with_an_offered_mechanism(
    mechanism: str, user: User, tmp_path: Path, authority: Authority, serve: Callable[..., Service]
) -> None:
    certificate = authority.issue("localhost")
    with receiving(
        tmp_path / "mail", tls="starttls", certificate=certificate, login=LOGIN, mechanisms=[mechanism]
    ) as server:
        login = {"EMAIL_HOST_USER": LOGIN.user, "EMAIL_HOST_PASSWORD": LOGIN.password}
        assert serve(**settings(server.port, authority, **login)).request_reset(email=user.email).status == 202
        (mail,) = server.wait_for(1)
        assert (mail.encrypted, mail.authenticated, mail.recipients) == (True, True, [user.email])


def test_the_token_file_is_read_for_every_email(
    user: User, database: Path, tmp_path: Path, authority: Authority, serve: Callable[..., Service]
) -> None:
    options: dict[str, Any] = {"tls": "starttls", "certificate": authority.issue("localhost"), "mechanisms": ["XOAUTH2"]}
    token = tmp_path / "token"
    token.write_text("first-token\n")
    with receiving(tmp_path / "first", login=Login(password="first-token"), **options) as server:
        port = server.port
        oauth = {"EMAIL_HOST_USER": LOGIN.user, "EMAIL_OAUTH2_TOKEN_FILE": str(token)}
        service = serve(**settings(port, authority, **oauth))
        assert service.request_reset(email=user.email).status == 202
        (mail,) = server.wait_for(1)
        assert (mail.encrypted, mail.authenticated) == (True, True)
        wait_until(lambda: outbox(database) == [], "the outbox to be empty")

    with receiving(tmp_path / "second", login=Login(password="second-token"), port=port, **options) as server:
        assert service.request_reset(email=user.email).status == 202
        wait_until(lambda: failures(database), "the outbox to record that the first token is refused")
        assert dead_letters(database) == []
        assert not {"MAIL", "RCPT", "DATA"} & set(server.commands(encrypted=True))
        assert "first-token" not in failures(database)[0]

        token.write_text("second-token\n")
        (mail,) = server.wait_for(1)
        assert (mail.encrypted, mail.authenticated) == (True, True)
        wait_until(lambda: outbox(database) == [], "the outbox to be empty")


def test_a_token_is_only_sent_to_a_server_that_asks_for_one(
    user: User, database: Path, tmp_path: Path, authority: Authority, serve: Callable[..., Service]
) -> None:
    token = tmp_path / "token"
    token.write_text("the-token")
    with receiving(tmp_path / "mail", tls="starttls", certificate=authority.issue("localhost"), login=LOGIN) as server:
        oauth = {"EMAIL_HOST_USER": LOGIN.user, "EMAIL_OAUTH2_TOKEN_FILE": str(token)}
        assert serve(**settings(server.port, authority, **oauth)).request_reset(email=user.email).status == 202
        wait_until(lambda: failures(database), "the outbox to record the failure")
        assert dead_letters(database) == []
        assert "AUTH" not in server.commands(encrypted=True)
        assert server.deliveries == []


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
def test_a_server_may_demand_a_certificate(
    tls: str, user: User, database: Path, tmp_path: Path, authority: Authority, serve: Callable[..., Service]
) -> None:
    ours = str(authority.issue("client.example.com", client=True))
    with receiving(
        tmp_path / "mail", tls=tls, certificate=authority.issue("localhost"), client_authority=authority.file
    ) as server:
        security = {"EMAIL_USE_TLS": str(tls == "starttls"), "EMAIL_USE_SSL": str(tls == "implicit")}
        certificate = {"EMAIL_SSL_CERTFILE": ours, "EMAIL_SSL_KEYFILE": ours}
        service = serve(**settings(server.port, authority, **security, **certificate))
        assert service.request_reset(email=user.email).status == 202
        (mail,) = server.wait_for(1)
        assert mail.encrypted


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
def test_an_email_waits_while_the_client_certificate_is_missing(
    tls: str, user: User, database: Path, tmp_path: Path, authority: Authority, serve: Callable[..., Service]
) -> None:
    certificate = authority.issue("localhost")
    security = {"EMAIL_USE_TLS": str(tls == "starttls"), "EMAIL_USE_SSL": str(tls == "implicit")}
    with receiving(
        tmp_path / "strict", tls=tls, certificate=certificate, client_authority=authority.file
    ) as strict:
        port = strict.port
        assert serve(**settings(port, authority, **security)).request_reset(email=user.email).status == 202
        wait_until(lambda: failures(database), "the outbox to record the failure")
        assert dead_letters(database) == []
        assert not {"MAIL", "RCPT", "DATA"} & set(strict.commands(encrypted=True))
    with receiving(tmp_path / "lenient", tls=tls, certificate=certificate, port=port) as lenient:
        lenient.wait_for(1)
