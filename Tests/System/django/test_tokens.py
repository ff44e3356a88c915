"""Tokens are Django's: each side accepts the tokens of the other, and refuses what the other refuses."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.contrib.auth.tokens import PasswordResetTokenGenerator, default_token_generator
from django.test import override_settings

from django_site import LateTokenGenerator, add_user, link_for
from mail_server import MailServer
from service import Link, Service

# The two moments that a test compares may differ by this much.
MARGIN = timedelta(seconds=20)
TIMEOUT = timedelta(seconds=settings.PASSWORD_RESET_TIMEOUT)
OLD_KEY = "the-key-that-was-retired-and-still-verifies"
NEW_PASSWORD = "battery-staple-92-new"

LAST_LOGINS = [
    pytest.param(None, id="never logged in"),
    pytest.param(datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC), id="logged in, with microseconds"),
    pytest.param(datetime(2026, 7, 8, 23, 59, 59, tzinfo=UTC), id="logged in on the second"),
]


@pytest.fixture(params=["UTC", "Europe/Berlin", "America/Chicago", "Asia/Kolkata"])
def time_zone(request: pytest.FixtureRequest) -> Iterator[str]:
    """Sets the time zone of Django, whose tokens count the seconds of its wall clock."""
    with override_settings(TIME_ZONE=request.param):
        # Django sets the time zone of the process, which determines the time in its tokens.
        assert time.tzname != ("UTC", "UTC") or request.param == "UTC"
        yield request.param


def check(service: Service, link: Link) -> str:
    """Returns `valid`, or the code of the reason why not; setting a password must give the same result."""
    checked = service.check_link(link)
    assert checked.status == 200
    if checked.body["validlink"]:
        return "valid"
    refused = service.set_password(link, NEW_PASSWORD, NEW_PASSWORD)
    assert (refused.status, refused.body["validlink"]) == (400, False)
    assert refused.body["code"] == checked.body["code"]
    return checked.body["code"]


def mailed_link(service: Service, mail_server: MailServer, user: User) -> Link:
    assert service.request_reset(email=user.email).status == 202
    return mail_server.wait_for(1)[0].link


@pytest.mark.parametrize("last_login", LAST_LOGINS)
def test_the_service_accepts_a_link_of_django(
    last_login: datetime | None, time_zone: str, serve: Callable[..., Service]
) -> None:
    user = add_user("alice", "alice@example.com", last_login=last_login)
    service = serve(TIME_ZONE=time_zone)

    checked = service.check_link(link_for(user))

    assert (checked.status, checked.body["validlink"]) == (200, True)
    expires_at = datetime.fromisoformat(checked.body["expires_at"])
    assert abs(expires_at - (datetime.now(UTC) + TIMEOUT)) < MARGIN


@pytest.mark.parametrize("last_login", LAST_LOGINS)
def test_django_accepts_a_link_of_the_service(
    last_login: datetime | None,
    time_zone: str,
    serve_with_mail: Callable[..., Service],
    mail_server: MailServer,
) -> None:
    user = add_user("alice", "alice@example.com", last_login=last_login)
    service = serve_with_mail(TIME_ZONE=time_zone)

    link = mailed_link(service, mail_server, user)

    assert link.uid == link_for(user).uid
    assert default_token_generator.check_token(user, link.token)
    assert check(service, link) == "valid"


def test_a_last_login_in_local_time_does_not_matter(
    serve_with_mail: Callable[..., Service], mail_server: MailServer
) -> None:
    with override_settings(USE_TZ=False, TIME_ZONE="Europe/Berlin"):
        user = add_user("alice", "alice@example.com", last_login=datetime(2026, 7, 8, 1, 2, 3, 456789))
        service = serve_with_mail(TIME_ZONE="Europe/Berlin", USE_TZ="false")
        assert check(service, link_for(user)) == "valid"
        assert default_token_generator.check_token(user, mailed_link(service, mail_server, user).token)


def test_the_service_accepts_a_link_made_with_a_retired_key(serve: Callable[..., Service]) -> None:
    user = add_user("alice", "alice@example.com")
    with override_settings(SECRET_KEY=OLD_KEY):
        link = link_for(user)

    service = serve(SECRET_KEY_FALLBACKS=f"another-key-that-was-retired-long-ago-00,{OLD_KEY}")

    assert check(service, link) == "valid"


def test_django_accepts_a_link_made_with_a_retired_key(
    serve_with_mail: Callable[..., Service], mail_server: MailServer
) -> None:
    user = add_user("alice", "alice@example.com")
    link = mailed_link(serve_with_mail(SECRET_KEY=OLD_KEY), mail_server, user)

    assert not default_token_generator.check_token(user, link.token)
    with override_settings(SECRET_KEY_FALLBACKS=[OLD_KEY]):
        assert default_token_generator.check_token(user, link.token)


def test_a_link_made_with_a_foreign_key_is_invalid(serve: Callable[..., Service]) -> None:
    user = add_user("alice", "alice@example.com")
    with override_settings(SECRET_KEY=OLD_KEY):
        link = link_for(user)

    assert check(serve(), link) == "invalid_link"


@pytest.mark.parametrize(
    ("age", "verdict"),
    [
        pytest.param(TIMEOUT - MARGIN, "valid", id="almost too old"),
        pytest.param(TIMEOUT + MARGIN, "expired_link", id="just too old"),
        pytest.param(timedelta(days=3650), "expired_link", id="ten years old"),
        pytest.param(-timedelta(hours=1), "valid", id="from a clock that is ahead"),
    ],
)
def test_both_sides_agree_on_how_old_a_link_may_be(
    age: timedelta, verdict: str, time_zone: str, serve: Callable[..., Service]
) -> None:
    user = add_user("alice", "alice@example.com")
    link = link_for(user, LateTokenGenerator(age))
    assert default_token_generator.check_token(user, link.token) == (verdict == "valid")

    assert check(serve(TIME_ZONE=time_zone), link) == verdict


def test_only_a_genuine_token_is_reported_as_expired(serve: Callable[..., Service]) -> None:
    user = add_user("alice", "alice@example.com")
    uid, token = link_for(user, LateTokenGenerator(TIMEOUT + MARGIN))
    last = "0" if token[-1] != "0" else "1"

    assert check(serve(), Link(uid, token[:-1] + last)) == "invalid_link"


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"last_login": datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC)}, id="login"),
        pytest.param({"email": "alice@example.org"}, id="address"),
        pytest.param({"password": "pbkdf2_sha256$1$othersalt$AAAA"}, id="password"),
    ],
)
def test_an_event_that_ends_a_link_for_django_ends_it_for_the_service(
    change: dict[str, object], serve: Callable[..., Service]
) -> None:
    user = add_user("alice", "alice@example.com", last_login=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    link = link_for(user)
    service = serve()
    assert check(service, link) == "valid"

    User.objects.filter(pk=user.pk).update(**change)
    user.refresh_from_db()

    assert not default_token_generator.check_token(user, link.token)
    assert check(service, link) == "invalid_link"


def variants_of(token: str) -> list[str]:
    """Returns other spellings of a token, which a lenient reader would accept as the same."""
    time_part, mac = token.split("-")
    return [
        token.upper(),
        f"0{token}",
        f"+{token}",
        f"{token}-",
        f"-{token}",
        f"{time_part}{mac}",
        f"{time_part}_{mac}",
        f"{time_part[0]}_{time_part[1:]}-{mac}",
        f"{time_part}-{mac[:-1]}",
        f"{token}0",
        f"{token} ",
        f"{time_part}-",
        f"-{mac}",
        "-",
        f"zzzzzzzzzzzzz-{mac}",
        f"zzzzzzzzzzzzzz-{mac}",
        "\N{FULLWIDTH DIGIT ONE}" + token[1:],
        "set-password",
    ]


def test_both_sides_refuse_every_other_spelling_of_a_token(serve: Callable[..., Service]) -> None:
    user = add_user("alice", "alice@example.com")
    service = serve()
    uid, token = link_for(user)
    generator: PasswordResetTokenGenerator = default_token_generator
    for variant in variants_of(token):
        assert not generator.check_token(user, variant), variant
        assert check(service, Link(uid, variant)) == "invalid_link", variant
