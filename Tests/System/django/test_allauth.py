"""The service next to a live site with django-allauth: each side accepts the other's links, and both send to the same people.

The tests run on SQLite and on PostgreSQL.
"""

import json
import random
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.contrib.auth.tokens import PasswordResetTokenGenerator
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_encode

from allauth_site import RESET_URL, AllauthSite, link_in, running_site
from mail_server import MailServer
from postgres import PASSWORD, ROLE, Cluster, Database
from processes import wait_until
from service import Link, Service, command, run_command, serving

NEW = "battery-staple-92-new"
OTHER = "correct-horse-93-other"
RACERS = 30
# Characters that Python and SQL may sort or change to lowercase in different ways.
LETTERS = "aAzZ09_|.éÉßΣςİıſKﬁ\u0301😀"


@dataclass(frozen=True)
class Place:
    """Where the site's database is: as Django's setting, and as the settings of the service and of its operator."""

    django: dict[str, str]
    settings: dict[str, str]
    operator: dict[str, str]
    execute: Callable[[str], Any]


@pytest.fixture(scope="session")
def allauth_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("allauth")
    path = folder / "db.sqlite3"
    with running_site(_sqlite(path), folder) as site:
        site.migrate()
    return path


@pytest.fixture(scope="session")
def allauth_database(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Database:
    database = cluster.new_database()
    with running_site(_postgresql(database), tmp_path_factory.mktemp("allauth")) as site:
        site.migrate()
    return database


def _sqlite(path: Path) -> dict[str, str]:
    return {"ENGINE": "django.db.backends.sqlite3", "NAME": str(path)}


def _postgresql(database: Database) -> dict[str, str]:
    server = {"USER": "postgres", "HOST": str(database.cluster.folder), "PORT": str(database.cluster.port)}
    return {"ENGINE": "django.db.backends.postgresql", "NAME": database.name} | server


def _place_on_sqlite(path: Path) -> Place:
    def execute(statement: str) -> Any:
        with closing(sqlite3.connect(path)) as connection, connection:
            return connection.execute(statement).fetchall()

    settings = {"DATABASE_URL": f"sqlite:{path}"}
    return Place(_sqlite(path), settings, settings, execute)


def _place_on_postgresql(database: Database) -> Place:
    settings = {"DATABASE_URL": database.url_for(ROLE, database.cluster.port), "DATABASE_PASSWORD": PASSWORD}
    return Place(_postgresql(database), settings, {"DATABASE_URL": database.socket_url}, database.execute)


def _prepare(place: Place, folder: Path, **users: str) -> None:
    """Migrates a PostgreSQL database, and gives the service's role only the privileges that the service needs."""
    if place.settings != place.operator:
        run_command(folder, "migrate", ALLAUTH="true", **(place.operator | users))
        place.execute(run_command(folder, "grants", "--role", ROLE, ALLAUTH="true", **users))


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "sqlite":
        path = tmp_path / "db.sqlite3"
        shutil.copy(request.getfixturevalue("allauth_file"), path)
        return _place_on_sqlite(path)
    template = request.getfixturevalue("allauth_database")
    place = _place_on_postgresql(template.cluster.new_database(template=template.name))
    _prepare(place, tmp_path)
    return place


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "sqlite":
        return _place_on_sqlite(tmp_path / "db.sqlite3")
    return _place_on_postgresql(request.getfixturevalue("cluster").new_database())


@pytest.fixture
def site(place: Place, tmp_path: Path) -> Iterator[AllauthSite]:
    with running_site(place.django, tmp_path) as site:
        yield site


@pytest.fixture
def start(place: Place, mail_server: MailServer, tmp_path: Path) -> Iterator[Callable[..., Service]]:
    """Returns a function that starts the service next to the site."""
    defaults = place.settings | {
        "ALLAUTH": "true", "RESET_URL": RESET_URL, "EMAIL_BACKEND": "smtp", "EMAIL_HOST": "localhost", "EMAIL_PORT": str(mail_server.port),
        "EMAIL_PASSWORD_CHANGED": "false", "PASSWORD_HASHER_OPTIONS": "iterations=10",
    }  # fmt: skip
    with ExitStack() as stack:
        yield lambda **settings: stack.enter_context(serving(tmp_path, tmp_path, **(defaults | settings)))


def is_valid(service: Service, link: Link) -> bool:
    checked = service.check_link(link)
    assert checked.status == 200
    return bool(checked.body["validlink"])


def audited(place: Place, event: str) -> int:
    table = "password_reset_audit" if "sqlite" in place.django["ENGINE"] else "password_reset.audit"
    return int(place.execute(f"SELECT count(*) FROM {table} WHERE event = '{event}'")[0][0])


def wait_for_event(place: Place, event: str) -> None:
    wait_until(lambda: audited(place, event) == 1, f"the event {event}")


def test_a_link_of_allauth_sets_a_password_here_once(site: AllauthSite, start: Callable[..., Service]) -> None:
    site.add_user("alice", "alice@example.com")
    site.add_address("alice", "alice@example.com", True)
    service = start()
    link = site.link("alice")
    assert is_valid(service, link) and site.accepts(*link)
    assert service.set_password(link, NEW, NEW).status == 200
    assert site.can_sign_in("alice", NEW)
    assert not is_valid(service, link) and not site.accepts(*link)
    assert service.set_password(link, OTHER, OTHER).body["code"] == "invalid_link"


def test_a_link_of_the_service_sets_a_password_there_once(site: AllauthSite, start: Callable[..., Service], mail_server: MailServer) -> None:
    site.add_user("alice", "alice@example.com")
    service = start()
    assert service.request_reset(email="alice@example.com").status == 202
    (mail,) = mail_server.wait_for(1)
    link = link_in(mail)
    assert mail.recipients == ["alice@example.com"]
    assert is_valid(service, link) and site.accepts(*link) and site.accepts_headless(*link)
    assert site.set_password(*link, NEW) and site.can_sign_in("alice", NEW)
    assert not is_valid(service, link) and not site.accepts(*link) and not site.accepts_headless(*link)


def test_a_link_printed_for_support_works_on_both_sides(site: AllauthSite, start: Callable[..., Service], place: Place, tmp_path: Path) -> None:
    site.add_user("alice", "Alice@Example.com")
    service = start()
    printed = run_command(tmp_path, "users", "link", "alice", ALLAUTH="true", RESET_URL=RESET_URL, **place.operator).strip()
    prefix, suffix = RESET_URL.split("{uid}-{token}")
    uid, _, token = printed.removeprefix(prefix).removesuffix(suffix).partition("-")
    assert site.accepts(uid, token) and is_valid(service, Link(uid, token))


def test_a_verified_address_gets_the_email_at_its_stored_spelling(site: AllauthSite, start: Callable[..., Service], mail_server: MailServer) -> None:
    site.add_user("alice", "alice@example.com")
    site.add_address("alice", "alice@home.example.com", True)
    service = start()
    service.request_reset(email="Alice@HOME.example.com")
    (mail,) = mail_server.wait_for(1)
    assert mail.recipients == ["alice@home.example.com"]
    assert site.accepts(*link_in(mail)) and is_valid(service, link_in(mail))
    # allauth sends to the same address.
    ((recipient, text),) = site.request_reset("Alice@HOME.example.com")
    assert recipient == "alice@home.example.com" and "/password/reset/key/" in text


def test_an_address_that_is_not_verified_gets_nothing(
    site: AllauthSite, start: Callable[..., Service], place: Place, mail_server: MailServer
) -> None:
    """allauth itself sends to it, so that anyone can have a link to their account sent to someone else."""
    site.add_user("alice", "alice@example.com")
    site.add_address("alice", "victim@example.com", False)
    service = start()
    service.request_reset(email="victim@example.com")
    wait_for_event(place, "no_account")
    ((recipient, text),) = site.request_reset("victim@example.com")
    assert recipient == "victim@example.com" and "/password/reset/key/" in text
    # The address in the users table need not be verified, as in Django and in allauth.
    service.request_reset(email="alice@example.com")
    (mail,) = mail_server.wait_for(1)
    assert mail.recipients == ["alice@example.com"] and site.accepts(*link_in(mail))


@pytest.mark.parametrize("is_verified", [True, False], ids=["verified", "unverified"])
def test_an_address_that_is_added_ends_links_on_both_sides(is_verified: bool, site: AllauthSite, start: Callable[..., Service]) -> None:
    site.add_user("alice", "alice@example.com")
    service = start()
    link = site.link("alice")
    assert is_valid(service, link) and site.accepts(*link)
    site.add_address("alice", "alice@home.example.com", is_verified)
    assert not is_valid(service, link) and not site.accepts(*link)
    assert service.set_password(link, NEW, NEW).body["code"] == "invalid_link"
    # The token is bound to the set of addresses, and not to whether they are verified.
    site.remove_address("alice@home.example.com")
    assert is_valid(service, link) and site.accepts(*link)


def test_a_confirmed_address_ends_no_link_on_either_side(site: AllauthSite, start: Callable[..., Service]) -> None:
    site.add_user("alice", "alice@example.com")
    site.add_address("alice", "alice@home.example.com", False)
    service = start()
    link = site.link("alice")
    site.set_verified("alice@home.example.com", True)
    assert site.accepts(*link)
    assert service.set_password(link, NEW, NEW).status == 200


def test_of_two_users_with_an_address_the_one_who_verified_it_gets_the_email(
    site: AllauthSite, start: Callable[..., Service], mail_server: MailServer, place: Place
) -> None:
    alice = site.add_user("alice", "shared@example.com")
    bob = site.add_user("bob", "bob@example.com")
    site.add_address("bob", "shared@example.com", True)
    service = start()
    service.request_reset(email="shared@example.com")
    (mail,) = mail_server.wait_for(1)
    assert mail.recipients == ["shared@example.com"]
    link = link_in(mail)
    assert service.set_password(link, NEW, NEW).status == 200
    assert site.can_sign_in("bob", NEW) and not site.can_sign_in("alice", NEW)
    assert alice != bob and len(site.request_reset("shared@example.com")) == 1


def test_each_of_two_users_who_verified_an_address_gets_an_email(
    site: AllauthSite, start: Callable[..., Service], mail_server: MailServer
) -> None:
    for name in ("alice", "bob"):
        site.add_user(name, f"{name}@example.com")
        site.add_address(name, "shared@example.com", True)
    service = start()
    service.request_reset(email="shared@example.com")
    mails = mail_server.wait_for(2)
    assert [mail.recipients for mail in mails] == [["shared@example.com"]] * 2
    links = [link_in(mail) for mail in mails]
    assert links[0].uid != links[1].uid and all(site.accepts(*link) for link in links)
    assert len(site.request_reset("shared@example.com")) == 2


@pytest.mark.parametrize("case", ["inactive", "unusable"])
def test_a_user_who_may_not_reset_gets_nothing_at_a_verified_address(
    case: str, site: AllauthSite, start: Callable[..., Service], place: Place
) -> None:
    site.add_user("alice", "alice@example.com", {"is_active": case != "inactive"})
    site.add_address("alice", "alice@home.example.com", True)
    if case == "unusable":
        site.make_password_unusable("alice")
    service = start()
    service.request_reset(email="alice@home.example.com")
    wait_for_event(place, "no_account")


def test_tokens_for_users_with_unusual_addresses_are_the_same_on_both_sides(site: AllauthSite, start: Callable[..., Service]) -> None:
    chosen = random.Random(20261126)

    def address() -> str:
        return "".join(chosen.choice(LETTERS) for _ in range(chosen.randint(1, 4))) + "@example.com"

    service = start()
    for number in range(40):
        name = f"user{number}"
        own = chosen.choice([address(), address(), ""])
        site.add_user(name, own, {"last_login": chosen.choice([None, "2026-01-02T03:04:05.678901Z"])})
        rows = {address() for _ in range(chosen.randint(0, 4))} | ({own} if own and chosen.random() < 0.5 else set())
        for row in sorted(rows):
            site.add_address(name, row, chosen.random() < 0.5)
        link = site.link(name)
        assert is_valid(service, link), ascii([own, *sorted(rows)])
        assert service.set_password(link, NEW, NEW).status == 200, ascii([own, *sorted(rows)])
        assert not site.accepts(*link)


def test_a_key_has_one_spelling(site: AllauthSite, start: Callable[..., Service]) -> None:
    for number in range(40):
        site.add_user(f"user{number}", f"user{number}@example.com")
    service = start()
    uid, token = site.link("user39")
    assert len(uid) == 2 and is_valid(service, Link(uid, token))
    for other in (f"0{uid}", f"+{uid}", f"{uid}0", "-1", "0" * 14, "z" * 13, urlsafe_base64_encode(force_bytes(int(uid, 36)))):
        assert not is_valid(service, Link(other, token)), other
    # The key 10 is `a`, for which allauth also accepts `A`.
    uid, token = site.link("user9")
    assert uid.isalpha() and is_valid(service, Link(uid, token)) and not is_valid(service, Link(uid.upper(), token))


def test_a_link_is_for_one_side_only_without_the_setting(site: AllauthSite, start: Callable[..., Service], mail_server: MailServer) -> None:
    pk = site.add_user("alice", "alice@example.com")
    site.add_address("alice", "alice@home.example.com", True)
    service = start(ALLAUTH="false")
    assert not is_valid(service, site.link("alice"))
    service.request_reset(email="alice@example.com")
    (mail,) = mail_server.wait_for(1)
    uid, token = link_in(mail)
    assert uid == urlsafe_base64_encode(force_bytes(pk)) and is_valid(service, Link(uid, token)) and not site.accepts(uid, token)


def test_a_link_of_django_is_refused_with_the_setting(site: AllauthSite, start: Callable[..., Service], place: Place) -> None:
    pk = int(site.add_user("alice", "alice@example.com"))
    password, email = place.execute("SELECT password, email FROM auth_user")[0]
    token = PasswordResetTokenGenerator().make_token(User(pk=pk, password=password, email=email))
    service = start()
    uidb64 = urlsafe_base64_encode(force_bytes(pk))
    assert not is_valid(service, Link(uidb64, token)) and not is_valid(service, Link(site.link("alice").uid, token))


def test_one_of_many_concurrent_requests_with_a_link_succeeds(site: AllauthSite, start: Callable[..., Service]) -> None:
    site.add_user("alice", "alice@example.com")
    site.add_address("alice", "alice@home.example.com", True)
    service = start()
    link = site.link("alice")
    with ThreadPoolExecutor(RACERS) as racers:
        replies = list(racers.map(lambda number: service.set_password(link, f"{NEW}-{number}", f"{NEW}-{number}"), range(RACERS)))
    assert sorted(reply.status for reply in replies) == [200] + [400] * (RACERS - 1)


# User models with other keys, tables and columns, with the settings that describe them.
MODELS = {
    "allauth_users.User": {},
    "allauth_users.Member": {
        "USERS_TABLE": "members",
        "USERS_COLUMNS": json.dumps({"id": "number", "email": "mail_address", "username": None, "first_name": None, "last_name": None}),
    },
}  # fmt: skip


@pytest.mark.parametrize("model", MODELS)
def test_links_to_users_of_another_model_work_on_both_sides(model: str, empty_place: Place, tmp_path: Path, mail_server: MailServer) -> None:
    users = MODELS[model]
    smtp = {"EMAIL_BACKEND": "smtp", "EMAIL_HOST": "localhost", "EMAIL_PORT": str(mail_server.port), "EMAIL_PASSWORD_CHANGED": "false"}
    with running_site(empty_place.django, tmp_path, model) as site:
        site.migrate()
        _prepare(empty_place, tmp_path, **users)
        for name in ("bob@example.com", "alice@example.com"):
            pk = site.add_user(name, name)
        site.add_address("alice@example.com", "alice@home.example.com", True)
        link = site.link("alice@example.com")
        assert link.uid == pk.replace("-", "") and site.accepts(*link)
        with serving(tmp_path, tmp_path, ALLAUTH="true", RESET_URL=RESET_URL, **(smtp | empty_place.settings | users)) as service:
            assert is_valid(service, link) and not is_valid(service, Link(link.uid.upper(), link.token))
            assert not is_valid(service, Link(pk.removesuffix(pk[-1]), link.token)) and not is_valid(service, Link(f"{link.uid}-", link.token))
            for address in ("alice@home.example.com", "alice@example.com"):
                service.request_reset(email=address)
            mails = mail_server.wait_for(2)
            assert {mail.recipients[0] for mail in mails} == {"alice@home.example.com", "alice@example.com"}
            assert all(link_in(mail).uid == link.uid and site.accepts(*link_in(mail)) for mail in mails)
            # Another address ends the link, and its removal makes it valid again.
            site.add_address("alice@example.com", "alice@work.example.com", False)
            assert not is_valid(service, link) and not site.accepts(*link)
            site.remove_address("alice@work.example.com")
            assert service.set_password(link, NEW, NEW).status == 200
            assert site.can_sign_in("alice@example.com", NEW) and not site.can_sign_in("bob@example.com", NEW)


def test_a_table_for_users_with_another_kind_of_key_is_refused(place: Place, tmp_path: Path) -> None:
    place.execute("CREATE TABLE members (id varchar(40) NOT NULL PRIMARY KEY, email text, password text)")
    users = {"USERS_TABLE": "members", "USERS_COLUMNS": '{"is_active": null, "last_login": null}'}
    done = command(tmp_path, "check", ALLAUTH="true", **(place.operator | users))
    assert done.returncode == 78 and "E040" in done.stdout and "its column user_id is not a text" in done.stdout, done.stdout


# The check


def findings(folder: Path, **settings: str) -> set[str]:
    found = json.loads(command(folder, "check", "--json", **settings).stdout)
    return {finding["id"].removeprefix("password_reset.") for finding in found}


def test_the_check_knows_the_setting(place: Place, tmp_path: Path) -> None:
    assert "W023" in findings(tmp_path, **place.settings)
    assert not {"W023", "E040", "E031"} & findings(tmp_path, ALLAUTH="true", **place.settings)


@pytest.mark.parametrize("name", ["check", "migrate", "serve"])
def test_a_site_without_the_table_is_refused(name: str, place: Place, tmp_path: Path) -> None:
    place.execute("DROP TABLE account_emailconfirmation")
    place.execute("DROP TABLE account_emailaddress")
    done = command(tmp_path, name, ALLAUTH="true", **place.settings)
    said = done.stdout + done.stderr
    assert done.returncode == 78 and "no table account_emailaddress" in said and (name != "check" or "E040" in said), said


def test_a_table_that_lacks_a_column_is_refused(place: Place, tmp_path: Path) -> None:
    place.execute("ALTER TABLE account_emailaddress RENAME COLUMN verified TO confirmed")
    done = command(tmp_path, "check", ALLAUTH="true", **place.settings)
    assert done.returncode == 78 and "E040" in done.stdout and "verified" in done.stdout, done.stdout


def test_a_missing_privilege_on_the_table_is_named(allauth_database: Database, tmp_path: Path) -> None:
    database = allauth_database.cluster.new_database(template=allauth_database.name)
    settings = database.settings()
    assert "account_emailaddress" not in run_command(tmp_path, "grants")
    done = command(tmp_path, "check", ALLAUTH="true", **settings)
    assert done.returncode == 78 and "SELECT (id, email, verified, user_id) on account_emailaddress" in done.stdout, done.stdout
    assert command(tmp_path, "check", **settings).returncode == 0
