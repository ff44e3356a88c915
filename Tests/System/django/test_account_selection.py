"""The service sends emails to the users that Django would choose, at their stored address."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from django.contrib.auth.forms import PasswordResetForm
from django.contrib.auth.hashers import make_password

from django_site import add_user, link_for
from mail_server import MailServer, receiving
from processes import wait_until
from service import Service, serving

STORED = {
    "lower": "alice@example.com",
    "upper": "Alice@Example.COM",
    "mixed": "aLiCe.B@example.com",
    "mike": "mike@example.com",
    "mike_dotless": "mıke@example.com",
    "mike_dotted": "mİke@example.com",
    "kelvin": "kelvin@example.com",
    "kelvin_sign": "\N{KELVIN SIGN}elvin@example.com",
    "long_s": "\u017fam@example.com",
    "sam": "sam@example.com",
    "wide": "alice@\uff45xample.com",
    "composed": "alice@\u00e9xample.com",
    "decomposed": "alice@e\u0301xample.com",
    "composed_upper": "alice@\u00c9xample.com",
    "punycode": "alice@xn--bcher-kva.example",
    "sharp_s": "info@straße.example",
    "double_s": "info@strasse.example",
    "wildcard": "a_b@example.com",
    "percent": "a%b@example.com",
    "like_wildcard": "axb@example.com",
    "quoted": '"alice b"@example.com',
    "literal": "alice@[192.0.2.1]",
    "subaddress": "alice+tag@example.com",
    "blank_after": "blank@example.com ",
    "no_address": "",
}
# The recipient of an email whose stored address has an international domain: RFC 5891 gives the domain this ASCII form.
ON_THE_WIRE = {
    "alice@\uff45xample.com": "alice@example.com",
    "alice@\u00e9xample.com": "alice@xn--xample-9ua.com",
    "alice@e\u0301xample.com": "alice@xn--xample-9ua.com",
    "alice@\u00c9xample.com": "alice@xn--xample-9ua.com",
    "info@straße.example": "info@xn--strae-oqa.example",
}
TYPED = [
    "alice@example.com",
    "ALICE@EXAMPLE.COM",
    "  Alice@example.com ",
    "alice.b@example.com",
    "mike@example.com",
    "MIKE@example.com",
    "mıke@example.com",
    "mİke@example.com",
    "kelvin@example.com",
    "KELVIN@example.com",
    "\N{KELVIN SIGN}elvin@example.com",
    "\N{KELVIN SIGN}ELVIN@example.com",
    "\u017fam@example.com",
    "\u017fAM@example.com",
    "SAM@example.com",
    "alice@\uff45xample.com",
    "alice@\uff25xample.com",
    "alice@\u00e9xample.com",
    "ALICE@\u00c9xample.com",
    "alice@e\u0301xample.com",
    "alice@E\u0301xample.com",
    "alice@xn--bcher-kva.example",
    "ALICE@XN--bcher-kva.example",
    "info@straße.example",
    "info@STRASSE.example",
    "INFO@stra\u1e9ee.example",
    "a_b@example.com",
    "A%B@example.com",
    "axb@example.com",
    "alice@[192.0.2.1]",
    "alice+tag@example.com",
    "alice+other@example.com",
    "blank@example.com",
    "inactive@example.com",
    "unusable@example.com",
    "shared@example.com",
    "damaged@example.com",
    "stranger@example.com",
]


@pytest.fixture(scope="module")
def mail_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MailServer]:
    with receiving(tmp_path_factory.mktemp("mail")) as server:
        yield server


@pytest.fixture(scope="module")
def service(module_database: Path, mail_server: MailServer) -> Iterator[Service]:
    for username, email in STORED.items():
        add_user(username, email)
    add_user("inactive", "inactive@example.com", is_active=False)
    add_user("unusable", "unusable@example.com", password=make_password(None))
    add_user("shared1", "shared@example.com")
    add_user("shared2", "Shared@example.com")
    add_user("shared_inactive", "SHARED@example.com", is_active=False)
    # Django treats every hash without the mark of an unusable one as usable.
    add_user("damaged", "damaged@example.com", password="gibberish")
    smtp = {"EMAIL_BACKEND": "smtp", "EMAIL_HOST": "localhost", "EMAIL_PORT": str(mail_server.port)}
    with serving(module_database, module_database.parent, **smtp) as service:
        yield service


def outbox_is_empty(database: Path) -> bool:
    with closing(sqlite3.connect(database, timeout=5)) as connection:
        rows = connection.execute("SELECT dead_lettered_at, last_error FROM password_reset_outbox").fetchall()
    assert all(dead_lettered_at is None for dead_lettered_at, _ in rows), f"dead letter: {rows}"
    return not rows


@pytest.mark.parametrize("typed", TYPED, ids=ascii)
def test_the_service_sends_to_the_users_that_django_would(
    typed: str, module_database: Path, service: Service, mail_server: MailServer
) -> None:
    form = PasswordResetForm({"email": typed})
    assert form.is_valid()
    users = list(form.get_users(form.cleaned_data["email"]))
    before = len(mail_server.deliveries)

    assert service.request_reset(email=typed).status == 202
    wait_until(lambda: outbox_is_empty(module_database), "the outbox to be empty")

    mails = mail_server.deliveries[before:]
    assert sorted((mail.link.uid, *mail.recipients) for mail in mails) == sorted(
        (link_for(user).uid, ON_THE_WIRE.get(user.email, user.email)) for user in users
    )
    assert all([mail.message["To"]] == mail.recipients for mail in mails)


@pytest.mark.usefixtures("service")
def test_the_cases_contain_users_that_django_chooses_and_users_that_it_does_not() -> None:
    """If the table chose all users or none, the test above would always pass."""
    counts = [len(list(PasswordResetForm().get_users(typed.strip()))) for typed in TYPED]
    assert {0, 1, 2} == set(counts)
