"""A mail server that cannot be trusted gets nothing, and the email waits for one that can."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.tokens import default_token_generator

from certificates import Authority
from django_site import add_user
from mail_server import Login, receiving
from outbox import failures, outbox
from processes import wait_until
from service import Service, command

LOGIN = Login()
RETRIED = re.compile(r'"level":"(\w+)","message":"Email not sent; it will be retried","reason":"[^"]+"')
TLS_SETTING = {"starttls": "EMAIL_USE_TLS", "implicit": "EMAIL_USE_SSL"}


@dataclass(frozen=True)
class Fault:
    """A mail server with one fault, and the settings of a service that uses it."""

    name: str
    # How the service connects, and how the working server listens.
    tls: str
    # The setting that the error must name.
    remedy: str
    # How the faulty server listens, if differently.
    bad_tls: str | None = None
    host: str = "localhost"
    trusted: bool = True
    expired: bool = False
    login: Login = LOGIN

    def __str__(self) -> str:
        return f"{self.name}, {self.tls}"

    @property
    def refuses_login(self) -> bool:
        return self.login != LOGIN

    @property
    def garbles_handshake(self) -> bool:
        """Returns whether the server reads the client's TLS handshake as SMTP."""
        return (self.tls, self.bad_tls) == ("implicit", "none")

    def options(self, trusted: Authority, untrusted: Authority) -> dict[str, Any]:
        """Returns the options of the faulty server."""
        if self.bad_tls == "none":
            return {"tls": "none", "login": self.login}
        expires = datetime.now(UTC) - timedelta(hours=1) if self.expired else None
        certificate = (trusted if self.trusted else untrusted).issue(self.host, expires=expires)
        return {"tls": self.tls, "certificate": certificate, "login": self.login}


FAULTS = [
    Fault("no STARTTLS offered", "starttls", "EMAIL_USE_TLS", bad_tls="none"),
    Fault("no TLS spoken", "implicit", "EMAIL_USE_SSL", bad_tls="none"),
    *(
        fault
        for tls in TLS_SETTING
        for fault in (
            Fault("certificate of another name", tls, "EMAIL_HOST", host="mail.example.com"),
            Fault("unknown authority", tls, "SSL_CERT_FILE", trusted=False),
            Fault("expired certificate", tls, "EMAIL_HOST", expired=True),
            Fault("login refused", tls, "EMAIL_HOST_PASSWORD", login=Login(password="another password")),
        )
    ),
]


def settings(fault: Fault, port: int, authority: Authority) -> dict[str, str]:
    return {
        "EMAIL_BACKEND": "smtp",
        "EMAIL_HOST": "localhost",
        "EMAIL_PORT": str(port),
        "EMAIL_HOST_USER": LOGIN.user,
        "EMAIL_HOST_PASSWORD": LOGIN.password,
        "SSL_CERT_FILE": str(authority.file),
        TLS_SETTING[fault.tls]: "true",
    }


@pytest.fixture(scope="module")
def untrusted(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Returns an authority that the service does not trust."""
    return Authority(tmp_path_factory.mktemp("untrusted"), "untrusted")


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_an_email_waits_for_a_server_that_is_safe(
    fault: Fault,
    database: Path,
    tmp_path: Path,
    authority: Authority,
    untrusted: Authority,
    serve: Callable[..., Service],
) -> None:
    user = add_user("alice", "alice@example.com")
    with receiving(tmp_path / "bad", **fault.options(authority, untrusted)) as bad:
        port = bad.port
        service = serve(**settings(fault, port, authority))
        assert service.request_reset(email=user.email).status == 202
        wait_until(lambda: failures(database), "the outbox to record the failure")

        ((error, dead_lettered_at),) = outbox(database)
        assert dead_lettered_at is None, f"dead letter: {error}"
        assert error is not None
        assert LOGIN.password not in error
        if not fault.garbles_handshake:
            assert set(bad.commands(encrypted=False)) <= {"EHLO", "HELO", "STARTTLS", "QUIT"}
        assert not {"MAIL", "RCPT", "DATA"} & set(bad.commands(encrypted=True))
        assert ("AUTH" in bad.commands(encrypted=True)) == fault.refuses_login
        assert bad.deliveries == []
        log = wait_until(lambda: RETRIED.search(service.log.read_text()), "the failure in the log")
        assert log[1] == "warning"

    certificate = authority.issue("localhost")
    with receiving(tmp_path / "good", tls=fault.tls, certificate=certificate, login=LOGIN, port=port) as good:
        (mail,) = good.wait_for(1)
        assert (mail.encrypted, mail.authenticated, mail.recipients) == (True, True, [user.email])
        assert default_token_generator.check_token(user, mail.link.token)
        wait_until(lambda: outbox(database) == [], "the outbox to be empty")


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_a_failed_test_email_says_what_to_fix(
    fault: Fault, database: Path, tmp_path: Path, authority: Authority, untrusted: Authority
) -> None:
    with receiving(tmp_path / "bad", **fault.options(authority, untrusted)) as bad:
        done = command(database, "send-test-email", "you@example.com", **settings(fault, bad.port, authority))
        assert (done.returncode, done.stdout) == (1, "")
        assert re.search(rf"\b{fault.remedy}\b", done.stderr)
        assert LOGIN.password not in done.stderr
        assert bad.deliveries == []


@pytest.mark.parametrize("fault", [FAULTS[0], FAULTS[1]], ids=lambda fault: fault.tls)
def test_a_test_email_arrives(fault: Fault, database: Path, tmp_path: Path, authority: Authority) -> None:
    certificate = authority.issue("localhost")
    with receiving(tmp_path / "good", tls=fault.tls, certificate=certificate, login=LOGIN) as good:
        done = command(database, "send-test-email", "you@example.com", **settings(fault, good.port, authority))
        assert (done.returncode, done.stderr) == (0, "")
        (mail,) = good.wait_for(1)
        assert (mail.encrypted, mail.authenticated, mail.recipients) == (True, True, ["you@example.com"])
