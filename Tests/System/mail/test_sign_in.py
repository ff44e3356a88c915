"""Signs in with a password where Django's smtplib can, regardless of what else the mail server offers."""

import smtplib
from collections.abc import Callable

import pytest

from certificates import Authority
from django_site import add_user
from scripted_server import settings
from service import BASE_ENVIRONMENT, Service, run_program
from processes import wait_until
from sign_in_server import PASSWORD, USER, SignInServer, offering

LOGIN = {"EMAIL_HOST_USER": USER, "EMAIL_HOST_PASSWORD": PASSWORD}
OURS = ["PLAIN", "LOGIN", "CRAM-MD5"]
OFFERS = [
    "PLAIN",
    "LOGIN",
    "CRAM-MD5",
    "PLAIN LOGIN",
    "LOGIN PLAIN",
    "CRAM-MD5 PLAIN LOGIN",
    "DIGEST-MD5 CRAM-MD5 LOGIN",
    "NTLM LOGIN",
    "GSSAPI NTLM LOGIN",
    "GSSAPI PLAIN",
    "GSS-SPNEGO SCRAM-SHA-256-PLUS SCRAM-SHA-256 SCRAM-SHA-1 PLAIN",
    "EXTERNAL PLAIN",
    "XOAUTH2 OAUTHBEARER PLAIN-CLIENTTOKEN PLAIN LOGIN",
    "DIGEST-MD5 CRAM-MD5",
    "GSSAPI",
    "XOAUTH2 OAUTHBEARER",
]
SPELLINGS: dict[str, Callable[[str], list[str]]] = {
    "in upper case": lambda offer: [f"AUTH {offer}"],
    "in lower case": lambda offer: [f"auth {offer.lower()}"],
    "in mixed case": lambda offer: [f"Auth {offer.title()}"],
    "before RFC 2554": lambda offer: [f"AUTH={offer}"],
    "twice": lambda offer: [f"AUTH {offer}", "size 1000000", f"AUTH={offer}"],
}


def send_test_email(server: SignInServer, **others: str) -> tuple[int, str]:
    done = run_program(BASE_ENVIRONMENT | settings(server) | LOGIN | others, "send-test-email", "you@example.com")
    return done.returncode, done.stderr


def smtplib_signs_in(server: SignInServer) -> bool:
    with smtplib.SMTP("127.0.0.1", server.port) as client:
        try:
            client.login(USER, PASSWORD)
        except smtplib.SMTPException:
            return False
        client.sendmail("noreply@example.com", ["you@example.com"], "Message-ID: <1@localhost>\r\n\r\ntext")
        return True


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("offer", OFFERS)
def test_a_password_works_wherever_smtplib_can_use_it(offer: str, spelling: str) -> None:
    offered = [name for name in OURS if name in offer.split()]
    for accepted in [*([name] for name in offered), []]:
        with offering(SPELLINGS[spelling](offer), accepted) as server:
            theirs = smtplib_signs_in(server)
            server.attempts.clear()
            code, error = send_test_email(server)
        # smtplib knows the same three mechanisms.
        assert (code == 0) == bool(accepted)
        assert code == 0 or not theirs
        attempts = offered[: offered.index(accepted[0]) + 1] if accepted else offered
        assert server.attempts == attempts
        assert code == 0 or "Login denied" in error


@pytest.mark.parametrize("refusal", ["535 5.7.8 no", "534 5.7.9 too weak", "504 5.5.4 unknown", "500 what?", "454 4.7.0 later", "538 TLS", "535-no\r\n535 at all"])
def test_the_next_mechanism_follows_any_refusal(refusal: str) -> None:
    with offering(["AUTH CRAM-MD5 PLAIN LOGIN"], ["CRAM-MD5"], refusal=refusal) as server:
        code, error = send_test_email(server)
        assert code == 0, error
        assert server.attempts == ["PLAIN", "LOGIN", "CRAM-MD5"]


def test_a_wrong_password_is_tried_once_per_mechanism() -> None:
    with offering(["AUTH GSSAPI CRAM-MD5 PLAIN LOGIN"], OURS) as server:
        code, error = send_test_email(server, EMAIL_HOST_PASSWORD="another-password")
        assert code != 0 and error.count("Login denied") == 1 and "EMAIL_HOST_PASSWORD" in error
        assert server.attempts == ["PLAIN", "LOGIN", "CRAM-MD5"]


def test_the_mechanism_that_worked_is_the_first_for_the_next_connection(serve: Callable[..., Service]) -> None:
    add_user("alice", "alice@example.com")
    with offering(["AUTH PLAIN CRAM-MD5 LOGIN"], ["LOGIN"]) as server:
        service = serve(**settings(server), **LOGIN)
        for count in range(1, 4):
            assert service.request_reset(email="alice@example.com").status == 202
            wait_until(lambda count=count: len(server.taken) == count, "the email to be sent")
            server.disconnect()
        assert server.attempts == ["PLAIN", "LOGIN", "LOGIN", "LOGIN"]


def test_the_reason_lists_what_the_server_offers() -> None:
    with offering(["AUTH GSSAPI NTLM"]) as server:
        code, error = send_test_email(server)
        assert code != 0 and "the server offers GSSAPI NTLM" in error
        assert server.attempts == []


@pytest.mark.parametrize("extensions", [["starttls", "auth login plain"], ["Size 100", "StartTLS", "AUTH=GSSAPI LOGIN"], ["STARTTLS", "AUTH LOGIN"]], ids=str)
def test_starttls_is_found_in_any_case(extensions: list[str], authority: Authority) -> None:
    with offering(extensions, ["LOGIN"], certificate=authority.issue("localhost")) as server:
        code, error = send_test_email(server, EMAIL_USE_TLS="true", SSL_CERT_FILE=str(authority.file))
        assert code == 0, error
        assert server.heard.count("EHLO") == 2 * server.heard.count("STARTTLS")
        assert server.heard[:3] == ["EHLO", "STARTTLS", "EHLO"] and "LOGIN" in server.attempts


@pytest.mark.parametrize("offer", ["AUTH GSSAPI NTLM LOGIN", "auth plain"])
def test_check_signs_in_like_an_email(offer: str) -> None:
    with offering([offer], OURS) as server:
        base = {"SECRET_KEY": "x" * 20 + "0123456789-abcdefghijklmnopqrstuvwxyz", "DATABASE_URL": "sqlite:/nowhere/db.sqlite3"}
        done = run_program(BASE_ENVIRONMENT | settings(server) | LOGIN | base, "check", "--connect")
        assert "password_reset.E016" not in done.stdout
        assert [word for word in server.heard if word != "AUTH" and word.isupper()][-4:] == ["MAIL", "RCPT", "RSET", "QUIT"]
        assert "DATA" not in server.heard
