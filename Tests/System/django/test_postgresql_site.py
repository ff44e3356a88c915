"""The service next to a Django site on PostgreSQL: each side accepts what the other made."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.contrib.auth import authenticate
from django.contrib.auth.forms import PasswordResetForm
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import User
from django.contrib.auth.tokens import default_token_generator
from django.db import connection
from django.test import override_settings
from django.utils import timezone

from django_site import add_user, link_for
from mail_server import MailServer
from postgres import Cluster, Database
from processes import wait_until
from service import Service, run_command, serving

ACCOUNTS = 400
SPELLINGS = 150
# Characters that are equal in some way, or that mean something in a pattern.
LETTERS = "aAsSſkK\N{KELVIN SIGN}iIıİéÉ\u0301eEßẞµμΣσς%_\\'\"ǅǆﬁ"
NEW = "battery-staple-92-new\n"
ALL_HASHERS = ["pbkdf2_sha256", "pbkdf2_sha1", "argon2", "bcrypt_sha256", "scrypt"]


@contextmanager
def served(database: Database, folder: Path, **settings: str) -> Iterator[Service]:
    with serving(folder, folder, DATABASE_URL=database.url, **settings) as service:
        yield service


def smtp(mail_server: MailServer) -> dict[str, str]:
    return {"EMAIL_BACKEND": "smtp", "EMAIL_HOST": "localhost", "EMAIL_PORT": str(mail_server.port)}


@pytest.fixture(params=[("UTC", True), ("Europe/Berlin", True), ("Europe/Berlin", False), ("America/St_Johns", False)], ids=str)
def zone(request: pytest.FixtureRequest, postgres: Database) -> Iterator[dict[str, str]]:
    """Sets Django's time zone settings, and returns the service's."""
    name, uses_utc = request.param
    with override_settings(TIME_ZONE=name, USE_TZ=uses_utc):
        connection.close()
        yield {"TIME_ZONE": name, "USE_TZ": str(uses_utc).lower()}
        connection.close()


@pytest.mark.parametrize("fraction", [None, 0, 999_999])
def test_links_are_valid_on_both_sides(
    fraction: int | None, zone: dict[str, str], postgres: Database, tmp_path: Path, mail_server: MailServer
) -> None:
    # In summer, the local time differs from the one in winter.
    moment = datetime(2026, 7, 8, 23, 30, 5, fraction or 0, tzinfo=UTC)
    local = moment if zone["USE_TZ"] == "true" else timezone.make_naive(moment, timezone.get_default_timezone())
    add_user("alice", "alice@example.com", last_login=None if fraction is None else local)
    user = User.objects.get(username="alice")
    with served(postgres, tmp_path, **zone, **smtp(mail_server)) as service:
        assert service.check_link(link_for(user)).body["validlink"] is True
        assert service.request_reset(email="alice@example.com").status == 202
        link = mail_server.wait_for(1)[0].link
        assert default_token_generator.check_token(user, link.token) and link.uid == link_for(user).uid
        assert authenticate(username="alice", password="battery-staple-92-new") is None
        assert service.set_password(link, "battery-staple-92-new", "battery-staple-92-new").status == 200
        assert authenticate(username="alice", password="battery-staple-92-new") == user
        assert service.check_link(link_for(user)).body["validlink"] is False
        assert service.check_link(link_for(User.objects.get(username="alice"))).body["validlink"] is True
        # A sign-in makes a link invalid on both sides.
        fresh = link_for(User.objects.get(username="alice"))
        User.objects.update(last_login=timezone.now())
        assert service.check_link(fresh).body["validlink"] is False


@pytest.mark.parametrize("hasher", ALL_HASHERS)
def test_hashes_are_verified_on_both_sides(hasher: str, postgres: Database, tmp_path: Path) -> None:
    on_postgres = {"DATABASE_URL": postgres.url}
    add_user("alice", "alice@example.com", password=make_password("correct-horse-71-old", hasher=hasher))
    run_command(tmp_path, "users", "check-password", "alice", "--password-stdin", stdin="correct-horse-71-old\n", **on_postgres)
    run_command(tmp_path, "users", "set-password", "alice", "--password-stdin", stdin=NEW, PASSWORD_HASHER=hasher, **on_postgres)
    assert User.objects.get().password.startswith(hasher)
    assert authenticate(username="alice", password="battery-staple-92-new") is not None


def spelling(chosen: random.Random, text: str) -> str:
    return "".join(chosen.choice([letter, letter.upper(), letter.lower(), letter.swapcase()]) for letter in text)


def test_accounts_are_selected_as_django_selects_them(postgres: Database, tmp_path: Path) -> None:
    chosen = random.Random(7)
    addresses = ["".join(chosen.choice(LETTERS) for _ in range(chosen.randint(1, 2))) + "@example.com" for _ in range(ACCOUNTS)]
    passwords = ["gibberish"] * 4 + [make_password(None)]
    User.objects.bulk_create(
        User(
            username=f"user{number}", email=address, password=chosen.choice(passwords), is_active=chosen.random() < 0.8,
        )
        for number, address in enumerate(addresses)
    )  # fmt: skip
    chosen_by_django, found = 0, 0
    with served(postgres, tmp_path, EMAIL_ACCOUNTS_PER_REQUEST="1000") as service:
        for _ in range(SPELLINGS):
            typed = spelling(chosen, chosen.choice(addresses))
            form = PasswordResetForm({"email": typed})
            if not form.is_valid():
                continue
            users = {str(user.pk) for user in form.get_users(form.cleaned_data["email"])}
            reply = service.request_reset(email=typed)
            assert reply.status == 202
            wait_until(lambda: postgres.pending == 0, "the outbox to be empty")
            rows = postgres.execute(
                f"SELECT user_id FROM password_reset.audit WHERE event = 'mailed' AND request_id = '{reply.request_id}'"
            )
            assert {user for (user,) in rows} == users, ascii(typed)
            chosen_by_django, found = chosen_by_django + len(users), found + bool(users)
    # If the test selected nothing, it would always pass.
    assert found > SPELLINGS / 10 and chosen_by_django > found


def test_the_service_creates_the_same_table_as_django(cluster: Cluster, postgres: Database, tmp_path: Path) -> None:
    own = cluster.new_database()
    assert run_command(tmp_path, "migrate", DATABASE_URL=own.url) == "The database is up to date.\n"
    columns = """
        SELECT column_name, data_type, character_maximum_length, is_nullable, is_identity, identity_generation, ordinal_position
        FROM information_schema.columns WHERE table_name = 'auth_user' ORDER BY ordinal_position"""
    indexes = "SELECT indexdef FROM pg_indexes WHERE tablename = 'auth_user' AND indexname NOT LIKE 'password_reset%' ORDER BY 1"
    constraints = "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 'auth_user'::regclass ORDER BY 1"
    for statement in (columns, indexes, constraints):
        rows = own.execute(statement)
        assert rows and rows == postgres.execute(statement)


def test_a_user_that_the_service_adds_is_one_that_django_adds(postgres: Database, tmp_path: Path) -> None:
    on_postgres = {"DATABASE_URL": postgres.url}
    run_command(tmp_path, "users", "add", "alice", "--email", "alice@example.com", "--password-stdin", stdin=NEW, **on_postgres)
    assert authenticate(username="alice", password="battery-staple-92-new") is not None
    user = User.objects.get(username="alice")
    assert abs(user.date_joined - datetime.now(UTC)) < timedelta(minutes=1)
    # An imported key must not be given to Django's next user.
    run_command(tmp_path, "users", "import", "-", "--format", "csv", stdin="id,username\n50,bob\n", **on_postgres)
    assert User.objects.create_user("carol").pk > 50
