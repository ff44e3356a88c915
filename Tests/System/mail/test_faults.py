"""Mail servers that fail in unusual ways lose no email, delay no other, and do not delay the shutdown."""

from base64 import b64encode
from collections.abc import Callable
from pathlib import Path

import pytest

from django_site import add_user
from mail_server import receiving
from outbox import dead_letters, failures, insert_reset_emails, outbox, pending
from processes import wait_until
from scripted_server import Fault, Replies, scripted, settings
from service import Service, run_command, serving


@pytest.mark.slow
@pytest.mark.parametrize(
    "replies",
    [
        pytest.param({"greeting": "554 no service"}, id="refuses every client"),
        pytest.param({"greeting": "421 later"}, id="is busy"),
        pytest.param({"greeting": Fault.SILENCE}, id="says nothing"),
        pytest.param({"EHLO": "550 not you", "HELO": "550 not you"}, id="refuses our name"),
        pytest.param({"MAIL": "451 later"}, id="defers the sender"),
        pytest.param({"MAIL": "550 no"}, id="refuses the sender"),
        pytest.param({"RCPT": "450 greylisted"}, id="defers the recipient"),
        pytest.param({"RCPT": Fault.SILENCE}, id="falls silent"),
        pytest.param({"DATA": "452 no space"}, id="has no space"),
        pytest.param({".": "451 later"}, id="defers the text"),
        pytest.param({".": Fault.SILENCE}, id="falls silent after the text"),
    ],
)
def test_an_email_survives_a_server_that(
    replies: Replies, database: Path, tmp_path: Path, serve: Callable[..., Service]
) -> None:
    add_user("alice", "alice@example.com")
    with scripted(replies) as bad:
        port = bad.port
        service = serve(**settings(bad))
        assert service.request_reset(email="alice@example.com").status == 202
        wait_until(lambda: failures(database), "the outbox to record the failure")
        ((error, dead_lettered_at),) = outbox(database)
        assert dead_lettered_at is None, f"dead letter: {error}"
    with receiving(tmp_path / "good", port=port) as good:
        good.wait_for(1)


@pytest.mark.parametrize(
    ("word", "reply"),
    [
        ("MAIL", "552 5.3.4 too large"),
        ("RCPT", "550 no"),
        ("RCPT", "550 5.1.1 <relay@example.com>: Recipient address rejected: User unknown"),
        ("RCPT", "550 helo: no such user; relay@example.com is no sender"),
        ("RCPT", "554 5.7.1 <relay@example.com>: Recipient address rejected: Access denied"),
        ("RCPT", "552 5.2.2 mailbox of the sender is full"),
        ("DATA", "550 no"),
        (".", "550 no"),
        (".", "554 5.7.1 spam, sender on a block list"),
    ],
)
def test_a_permanently_refused_email_becomes_a_dead_letter(
    word: str, reply: str, database: Path, serve: Callable[..., Service]
) -> None:
    add_user("alice", "relay@example.com" if "relay" in reply else "helo@example.com")
    with scripted({word: reply}) as bad:
        assert serve(**settings(bad)).request_reset(username="alice").status == 202
        wait_until(lambda: dead_letters(database), "the job to be dead-lettered")
        assert bad.heard.count("MAIL") == 1


def test_a_server_that_refuses_and_falls_silent_delays_no_other_email(
    database: Path, serve: Callable[..., Service]
) -> None:
    """libcurl by default waits two minutes for the answer to QUIT."""
    add_user("alice", "alice@example.com")
    with scripted({"RCPT": "550 no", "QUIT": Fault.SILENCE}) as bad:
        assert serve(**settings(bad)).request_reset(email="alice@example.com").status == 202
        wait_until(lambda: dead_letters(database), "the job to be dead-lettered")
        assert bad.heard.count("RCPT") == 1


@pytest.mark.slow
@pytest.mark.parametrize("silent", [".", "QUIT"], ids=["in the middle of an email", "at the end of the session"])
def test_a_silent_server_does_not_delay_the_shutdown(silent: str, database: Path, tmp_path: Path) -> None:
    add_user("alice", "alice@example.com")
    with scripted({silent: Fault.SILENCE}) as bad:
        # `serving` fails if the service does not end in time.
        with serving(database, tmp_path, **settings(bad, EMAIL_TIMEOUT="60")) as service:
            assert service.request_reset(email="alice@example.com").status == 202
            wait_until(lambda: "." in bad.heard, "the email to be sent")
            if silent == "QUIT":
                wait_until(lambda: outbox(database) == [], "the outbox to be empty")


def test_the_service_sends_no_more_emails_during_a_shutdown(database: Path, tmp_path: Path) -> None:
    users = [add_user(f"user{number}", f"user{number}@example.com") for number in range(8)]
    with scripted({".": Fault.SILENCE}) as bad:
        with serving(database, tmp_path, **settings(bad, EMAIL_TIMEOUT="60", EMAIL_CONNECTIONS="1")) as service:
            for user in users:
                assert service.request_reset(email=user.email).status == 202
            wait_until(lambda: "." in bad.heard, "the first email to be sent")
            service.process.terminate()
            wait_until(lambda: not service.is_listening, "the service to stop listening")
            bad.cure()
            bad.disconnect()
        assert bad.heard.count("MAIL") == 1
    assert len(outbox(database)) == len(users)


def test_a_new_token_leaves_no_old_connection(database: Path, tmp_path: Path, serve: Callable[..., Service]) -> None:
    add_user("alice", "alice@example.com")
    file = tmp_path / "token"
    tokens = [f"token-{number}" for number in range(4)]
    logins = {b64encode(f"user=mailer\1auth=Bearer {token}\1\1".encode()).decode(): "235 welcome" for token in tokens}
    with scripted({"EHLO": "250-scripted\r\n250 AUTH XOAUTH2", "AUTH": "334 "} | logins) as server:
        file.write_text(tokens[0])
        oauth = {"EMAIL_HOST_USER": "mailer", "EMAIL_OAUTH2_TOKEN_FILE": str(file), "EMAIL_CONNECTIONS": "1"}
        service = serve(**settings(server, **oauth))
        for number, token in enumerate(tokens):
            file.write_text(token)
            assert service.request_reset(email="alice@example.com").status == 202
            wait_until(lambda: len(server.taken) > number, "the email to be sent")
        assert server.heard.count("AUTH") == len(tokens)
        wait_until(lambda: server.open_connections == 1, "the old connections to be closed")


def test_a_server_without_authentication_gets_no_email_if_a_login_is_set(
    database: Path, serve: Callable[..., Service]
) -> None:
    add_user("alice", "alice@example.com")
    with scripted({}) as bad:
        login = {"EMAIL_HOST_USER": "mailer", "EMAIL_HOST_PASSWORD": "secret-of-the-mailer"}
        assert serve(**settings(bad, **login)).request_reset(email="alice@example.com").status == 202
        wait_until(lambda: failures(database), "the outbox to record the failure")
        ((error, dead_lettered_at),) = outbox(database)
        assert dead_lettered_at is None and error is not None and "EMAIL_HOST_USER" in error
        assert "." not in bad.heard


@pytest.mark.parametrize("fault", ["451 later", Fault.SILENCE], ids=["is always deferred", "always meets silence"])
def test_other_recipients_get_their_emails_when_one_recipient(fault: str | Fault, database: Path, tmp_path: Path) -> None:
    run_command(database, "migrate")
    poison, *others = [add_user(f"user{number}", f"user{number}@example.com").pk for number in range(100)]
    (waiting,) = insert_reset_emails(database, [poison])
    expected = insert_reset_emails(database, others)
    with scripted({"RCPT TO:<user0@example.com>": fault}) as server:
        with serving(database, tmp_path, **settings(server, EMAIL_TIMEOUT="1")):
            wait_until(lambda: len(outbox(database)) == 1 and failures(database), "only one email to be pending")
        assert dead_letters(database) == []
        assert sorted(server.taken) == sorted(f"<{request}.{user}@localhost>" for request, user in expected.items())
        assert not any(waiting in identifier for identifier in server.taken)


@pytest.mark.parametrize("farewell", [b"", b"421 you were idle\r\n"], ids=["silently", "with a word"])
def test_the_server_may_close_an_idle_connection(farewell: bytes, database: Path, serve: Callable[..., Service]) -> None:
    add_user("alice", "alice@example.com")
    with scripted({}) as server:
        service = serve(**settings(server))
        requests = []
        for count in range(1, 4):
            requests.append(service.request_reset(email="alice@example.com").request_id)
            wait_until(lambda: pending(database) == 0, "the email to be sent")
            assert len(server.taken) == count
            server.disconnect(farewell)
        assert [identifier.strip("<").split(".")[0] for identifier in server.taken] == requests
