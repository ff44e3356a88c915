"""The main journey: the service shares the database and the key of a Django site, and sends through a real mail server.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import authenticate
from django.contrib.auth.models import User
from django.test import Client

from certificates import Authority
from django_site import add_user
from mail_server import Login, MailServer, receiving
from service import Service

OLD = "correct-horse-71-old"
NEW = "battery-staple-92-new"
LOGIN = Login()
LOGIN_SETTINGS = {"EMAIL_HOST_USER": LOGIN.user, "EMAIL_HOST_PASSWORD": LOGIN.password}


@pytest.mark.parametrize(
    ("tls", "settings"),
    [
        pytest.param("none", {}, id="plain"),
        pytest.param("starttls", {"EMAIL_USE_TLS": "true"} | LOGIN_SETTINGS, id="starttls with login"),
        pytest.param("implicit", {"EMAIL_USE_SSL": "true"} | LOGIN_SETTINGS, id="implicit tls with login"),
    ],
)
def test_a_django_user_resets_the_password_by_email(
    tls: str,
    settings: dict[str, str],
    tmp_path: Path,
    authority: Authority,
    serve: Callable[..., Service],
) -> None:
    User.objects.create_user("alice", "alice@example.com", OLD)
    secure = tls != "none"
    options: dict[str, Any] = {"certificate": authority.issue("localhost"), "login": LOGIN} if secure else {}
    with receiving(tmp_path / "mail", tls=tls, **options) as server:
        service = serve(
            EMAIL_BACKEND="smtp",
            EMAIL_HOST="localhost",
            EMAIL_PORT=str(server.port),
            DEFAULT_FROM_EMAIL="Example <noreply@example.com>",
            SSL_CERT_FILE=str(authority.file),
            **settings,
        )

        asked = service.request_reset(email="alice@example.com")
        assert asked.status == 202
        assert asked.body == {
            "detail": "If an account matches, we have emailed instructions for setting a new password."
        }

        (mail,) = server.wait_for(1)
        assert (mail.encrypted, mail.authenticated) == (secure, secure)
        assert (mail.sender, mail.recipients) == ("noreply@example.com", ["alice@example.com"])
        assert (mail.message["From"], mail.message["To"]) == ("Example <noreply@example.com>", "alice@example.com")
        checked = service.check_link(mail.link)
        assert (checked.status, checked.body["validlink"]) == (200, True)

        done = service.set_password(mail.link, NEW, NEW)
        assert (done.status, done.body) == (
            200,
            {"detail": "Your password has been set. You may go ahead and log in now."},
        )
        assert authenticate(username="alice", password=NEW) is not None
        assert authenticate(username="alice", password=OLD) is None

        checked = service.check_link(mail.link)
        assert (checked.status, checked.body["validlink"], checked.body["code"]) == (200, False, "invalid_link")
        again = service.set_password(mail.link, OLD, OLD)
        assert (again.status, again.body["code"]) == (400, "invalid_link")

        _, notice = server.wait_for(2)
        assert notice.recipients == ["alice@example.com"]
        assert "was changed" in notice.message["Subject"]
        assert mail.link.token not in notice.text
        if secure:
            assert set(server.commands(encrypted=False)) <= {"EHLO", "STARTTLS"}


def test_the_link_may_lead_to_a_page_of_django(
    serve_with_mail: Callable[..., Service], mail_server: MailServer
) -> None:
    user = add_user("alice", "alice@example.com")
    service = serve_with_mail(RESET_URL="https://django.example.com/reset/{uid}/{token}/")
    service.request_reset(email=user.email)
    (mail,) = mail_server.wait_for(1)
    browser = Client()

    opened = browser.get(f"/reset/{mail.link.uid}/{mail.link.token}/")
    assert opened.status_code == 302, "Django found the link invalid"
    sent = browser.post(opened["Location"], {"new_password1": NEW, "new_password2": NEW})
    assert (sent.status_code, sent["Location"]) == (302, "/reset/done/")

    assert authenticate(username="alice", password=NEW) is not None
    assert service.check_link(mail.link).body["code"] == "invalid_link"
