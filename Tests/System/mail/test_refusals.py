"""A refusal that concerns every recipient alike costs no email: all wait, and the reason names the setting to change."""

from collections.abc import Callable
from pathlib import Path

import pytest

from django_site import add_user
from outbox import dead_letters, failures, pending
from processes import wait_until
from scripted_server import Fault, Replies, scripted, settings
from service import BASE_ENVIRONMENT, Service, command, run_program

HELO_REFUSED = "504 5.5.2 <vm>: Helo command rejected: need fully-qualified hostname"
REFUSALS = [
    ({"RCPT": HELO_REFUSED}, "EMAIL_HELO_NAME"),
    ({"RCPT": "550 Access denied - Invalid HELO name (See RFC2821 4.1.1.1)"}, "EMAIL_HELO_NAME"),
    ({"MAIL": "504 5.5.2 vm"}, "EMAIL_HELO_NAME"),
    ({"EHLO": "501 5.5.4 Invalid domain name", "HELO": "501 5.5.4 Invalid domain name"}, "EMAIL_HELO_NAME"),
    ({"EHLO": "421 4.7.0 Try again later, closing connection. (EHLO)"}, "EMAIL_HELO_NAME"),
    ({"EHLO": Fault.CUT}, "EMAIL_HELO_NAME"),
    ({"RCPT": "550 5.7.1 relaying denied " + "x" * 9000}, "EMAIL_HOST_USER"),
    ({"EHLO": "550-5.7.1 who\r\n550 5.7.1 are you?", "HELO": "550 5.7.1 no"}, "EMAIL_HELO_NAME"),
    ({"MAIL": "530 5.7.0 Must issue a STARTTLS command first"}, "EMAIL_USE_TLS"),
    ({"MAIL": "530 5.7.57 Client not authenticated to send mail"}, "EMAIL_HOST_USER"),
    ({"RCPT": "550 5.7.1 Authentication required"}, "EMAIL_HOST_USER"),
    ({"MAIL": "550 5.7.1 no"}, "DEFAULT_FROM_EMAIL"),
    ({"RCPT": "553 5.7.1 <noreply@example.com>: Sender address rejected: not owned by user mailer"}, "DEFAULT_FROM_EMAIL"),
    ({"RCPT": "550 Sender verify failed"}, "DEFAULT_FROM_EMAIL"),
    ({"RCPT": "550 5.1.8 <noreply@example.com>: domain not found"}, "DEFAULT_FROM_EMAIL"),
    ({".": "550 5.7.60 SMTP; Client does not have permissions to send as this sender"}, "DEFAULT_FROM_EMAIL"),
    ({".": "554 5.2.0 STOREDRV.Submission.Exception:SendAsDeniedException.MapiExceptionSendAsDenied"}, "DEFAULT_FROM_EMAIL"),
    ({".": "550-5.7.26 This mail has been blocked because the sender is unauthenticated.\r\n550 5.7.26 SPF"}, "DEFAULT_FROM_EMAIL"),
    ({"RCPT": "554 5.7.1 <user0@example.com>: Relay access denied"}, "EMAIL_HOST_USER"),
    ({"RCPT": "550 relay not permitted"}, "EMAIL_HOST_USER"),
    ({"RCPT": "550 5.7.54 SMTP; Unable to relay recipient in non-accepted domain"}, "EMAIL_HOST_USER"),
    ({"RCPT": "554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.example.org"}, "EMAIL_HOST"),
    ({".": "550 5.4.5 Daily user sending limit exceeded"}, "EMAIL_RATE_LIMIT"),
]


@pytest.mark.parametrize(("replies", "setting"), REFUSALS, ids=lambda value: str(value)[:60])
def test_every_email_waits_and_the_reason_names(
    replies: Replies, setting: str, database: Path, serve: Callable[..., Service]
) -> None:
    with scripted(replies) as server:
        service = serve(**settings(server))
        for number in range(3):
            add_user(f"user{number}", f"user{number}@example.com")
            assert service.request_reset(email=f"user{number}@example.com").status == 202
        wait_until(lambda: failures(database), "the outbox to record the failure")
        assert all(setting in reason for reason in failures(database))
        assert dead_letters(database) == []
        server.cure()
        wait_until(lambda: pending(database) == 0, "the outbox to be empty")
        assert dead_letters(database) == [] and len(server.taken) == 3


@pytest.mark.parametrize(("replies", "setting"), [case for case in REFUSALS if "." not in case[0]], ids=lambda value: str(value)[:60])
def test_check_finds_what_would_be_refused(replies: Replies, setting: str, database: Path) -> None:
    with scripted(replies) as server:
        done = command(database, "check", "--connect", **settings(server, DEFAULT_FROM_EMAIL="noreply@example.com"))
        assert done.returncode == 78 and "password_reset.E016" in done.stdout and setting in done.stdout
        assert "DATA" not in server.heard


@pytest.mark.parametrize("reply", ["250 OK", "550 5.1.1 <noreply@example.com>: User unknown", "450 4.2.0 Greylisted", "252 maybe"])
def test_check_needs_no_mailbox_of_the_sender(reply: str, database: Path) -> None:
    with scripted({"RCPT": reply}) as server:
        done = command(database, "check", "--connect", **settings(server, DEFAULT_FROM_EMAIL="noreply@example.com"))
        assert "password_reset.E016" not in done.stdout
        assert ("MAIL FROM:<noreply@example.com>" in server.commands, "RCPT TO:<noreply@example.com>" in server.commands) == (True, True)
        assert server.heard[-1] == "QUIT" and "DATA" not in server.heard


def test_a_test_email_explains_a_refusal_of_the_name() -> None:
    with scripted({"RCPT": HELO_REFUSED}) as server:
        environment = BASE_ENVIRONMENT | settings(server, EMAIL_HELO_NAME="vm")
        done = run_program(environment, "send-test-email", "you@example.com")
        assert done.returncode != 0
        assert "RCPT failed: 504" in done.stderr and "the client name vm" in done.stderr and "EMAIL_HELO_NAME" in done.stderr


UTF8 = {"EHLO": "250-localhost\r\n250-8BITMIME\r\n250 SMTPUTF8"}


@pytest.mark.parametrize("address", ["jürgen@example.com", "用户@example.com", "rené+x@bücher.example"])
def test_an_address_that_needs_smtputf8_is_sent_only_to_a_server_that_offers_it(
    address: str, database: Path, serve: Callable[..., Service]
) -> None:
    add_user("international", address)
    add_user("alice", "alice@example.com")
    with scripted({}) as server:
        service = serve(**settings(server, EMAIL_CONNECTIONS="1"))
        for name in ("alice", "international", "alice"):
            assert service.request_reset(username=name).status == 202
        wait_until(lambda: pending(database) == 0, "the outbox to be empty")
        (letter,) = dead_letters(database)
        assert letter.last_error is not None and "SMTPUTF8" in letter.last_error and address not in letter.last_error
        assert len(server.taken) == 2
        assert all(command.isascii() for command in server.commands)


@pytest.mark.parametrize("offer", [UTF8["EHLO"], UTF8["EHLO"].lower()], ids=["in upper case", "in lower case"])
def test_an_address_that_needs_smtputf8_reaches_a_server_that_offers_it(
    offer: str, database: Path, serve: Callable[..., Service]
) -> None:
    add_user("international", "jürgen@example.com")
    with scripted({"EHLO": offer}) as server:
        assert serve(**settings(server)).request_reset(username="international").status == 202
        wait_until(lambda: pending(database) == 0, "the outbox to be empty")
        assert dead_letters(database) == [] and len(server.taken) == 1
        (mail,) = [line for line in server.commands if line.startswith("MAIL")]
        assert "SMTPUTF8" in mail.split()


def test_a_sender_that_needs_smtputf8_costs_no_email(database: Path, serve: Callable[..., Service]) -> None:
    add_user("alice", "alice@example.com")
    with scripted({}) as server:
        service = serve(**settings(server, DEFAULT_FROM_EMAIL="jürgen@example.com"))
        assert service.request_reset(email="alice@example.com").status == 202
        wait_until(lambda: failures(database), "the outbox to record the failure")
        assert dead_letters(database) == []
        assert all("SMTPUTF8" in reason and "DEFAULT_FROM_EMAIL" in reason for reason in failures(database))


@pytest.mark.parametrize(
    "content",
    ['{"access_token": "ya29.token-of-the-mailer", "expires_in": 3599}', "Bearer ya29.token-of-the-mailer", "ya29.one\nya29.two", "ya29.tökén", '"ya29.token"', "access_token=ya29.x&expires_in=3599", "\0\1"],
)
def test_a_file_that_cannot_be_a_token_is_named_and_not_shown(
    content: str, database: Path, tmp_path: Path, serve: Callable[..., Service]
) -> None:
    file = tmp_path / "token"
    file.write_text("ya29.good-token~+/==\n")
    add_user("alice", "alice@example.com")
    with scripted({"EHLO": "250-localhost\r\n250 AUTH XOAUTH2"}) as server:
        oauth = settings(server, EMAIL_HOST_USER="mailer", EMAIL_OAUTH2_TOKEN_FILE=str(file))
        assert command(database, "check", **oauth).returncode == 0
        service = serve(**oauth)
        file.write_text(content)
        done = command(database, "check", **oauth)
        assert done.returncode == 78 and "EMAIL_OAUTH2_TOKEN_FILE names a file whose content cannot be an access token" in done.stdout
        assert service.request_reset(email="alice@example.com").status == 202
        wait_until(lambda: failures(database), "the outbox to record the failure")
        assert dead_letters(database) == [] and "AUTH" not in server.heard
        for text in (done.stdout, *failures(database)):
            assert "ya29" not in text and "expires_in" not in text
