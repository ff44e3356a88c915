"""Django sites with their own user models: each side accepts what the other made, in every such table."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import custom_site_process as django
from custom_models import MODELS, ODD_KEYS
from custom_site import NEW, OLD, Account, Site, on_postgres, on_sqlite
from postgres import Database
from service import Link, command, run_command


@pytest.fixture(scope="module", params=[(name, kind) for name in MODELS for kind in ("SQLite", "PostgreSQL")], ids=" on ".join)
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    name, kind = request.param
    folder = tmp_path_factory.mktemp("site")
    if kind == "SQLite":
        running = on_sqlite(MODELS[name], folder)
    else:
        running = on_postgres(MODELS[name], folder, request.getfixturevalue("cluster"))
    with running as site:
        yield site


def assert_password_was_set(user: Account) -> None:
    assert user.has_password(NEW) and not user.has_password(OLD)


def test_a_link_of_django_sets_the_password_once(site: Site) -> None:
    # One user for each kind of key.
    for user in [site.add_user() for _ in range(len(ODD_KEYS) if site.model.key else 2)]:
        link = user.link
        assert site.service.check_link(link).body["validlink"] is True, user.key
        assert user.has_password(OLD)
        assert site.service.set_password(link, NEW, NEW).status == 200
        assert_password_was_set(user)
        assert site.service.check_link(link).body["code"] == "invalid_link"
        assert not site.django(django.accepts, link)


def test_a_link_of_the_service_sets_the_password_once(site: Site) -> None:
    user = site.add_user()
    link = user.asks_for_link()
    assert link.uid == user.link.uid and site.django(django.accepts, link)
    assert site.django(django.reset, link, NEW) == "/reset/done/"
    assert_password_was_set(user)
    assert site.service.check_link(link).body["code"] == "invalid_link"
    assert not site.django(django.accepts, link)


def test_a_sign_in_ends_a_link_on_both_sides_if_the_site_records_it(site: Site) -> None:
    earlier = {"last_login": "2026-01-02T03:04:05.678901Z"} if site.model.has_last_login else {}
    for user in (site.add_user(), site.add_user(**earlier)):
        links = [user.link, user.asks_for_link()]
        assert all(site.service.check_link(link).body["validlink"] is True and site.django(django.accepts, link) for link in links)
        assert site.django(django.sign_in, user.name, OLD)
        is_alive = not site.model.has_last_login
        for link in links:
            assert site.service.check_link(link).body["validlink"] is is_alive
            assert site.django(django.accepts, link) is is_alive
        for link in (user.link, user.asks_for_link()):
            assert site.service.check_link(link).body["validlink"] is True and site.django(django.accepts, link)


def test_the_service_mails_to_the_users_that_the_form_of_the_site_chooses(site: Site) -> None:
    site.add_user("Mixed.Case@example.com")
    for number, change in enumerate(site.model.inactive):
        site.add_user(f"inactive{number}@example.com", **change)
    site.add_user("unusable@example.com", password=None)
    site.add_user("shared@example.com")
    site.add_user("Shared@Example.com")
    site.add_user("sHared@example.com", **site.model.inactive[0])
    if site.model is MODELS["shared addresses"]:
        site.add_user("shared@example.com", country="DE")
        site.add_user().change(email=None)
    names = ["mixed.case", "MIXED.CASE", "unusable", "SHARED", *[f"inactive{number}" for number in range(len(site.model.inactive))]]
    typed = [f"{name}@Example.com" for name in names]
    chosen = [site.django(django.mailed_to, address) for address in typed]
    # If the form chose all users or none, the test would always pass.
    assert {len(users) for users in chosen} in ({0, 1, 2}, {0, 1, 3})

    before = len(site.wait_for_mails())
    for address in typed:
        assert site.service.request_reset(email=address).status == 202
    mails = site.wait_for_mails()[before:]
    assert sorted((mail.link.uid, *mail.recipients) for mail in mails) == sorted(sum(chosen, []))


def test_a_user_name_is_accepted_only_by_a_site_with_user_names(site: Site) -> None:
    user = site.add_user()
    if site.model.has_usernames:
        assert user.asks_for_link(username=user.username).uid == user.link.uid
    else:
        reply = site.service.request_reset(username=user.username)
        assert (reply.status, reply.body["code"]) == (400, "validation_error")
        assert [error.code for error in reply.errors["email"]] == ["required"]


def test_commands_for_one_user_work(site: Site) -> None:
    user = site.add_user()
    for name in (user.name, user.email, user.key):
        shown = json.loads(site.run("users", "show", "--json", "--", name))
        assert (str(shown["id"]), shown["email"]) == (user.key, user.email)
    assert user.email in site.run("users", "show", "--", user.key)

    site.run("users", "set-password", "--password-stdin", "--", user.key, stdin=NEW)
    assert_password_was_set(user)
    site.run("users", "check-password", "--password-stdin", "--", user.key, stdin=NEW)
    wrong = command(site.folder, "users", "check-password", "--password-stdin", "--", user.key, stdin=OLD, **site.operator)
    assert wrong.returncode == 1

    link = Link(*site.run("users", "link", "--", user.key).strip().strip("/").split("/")[-2:])
    assert site.django(django.accepts, link) and site.service.check_link(link).body["validlink"]
    before = user.columns
    site.run("users", "deactivate", "--", user.key)
    assert not user.has_password(NEW) and not site.service.check_link(link).body["validlink"]
    assert site.django(django.mailed_to, user.email) == []
    site.run("users", "activate", "--", user.key)
    assert user.columns == before
    assert user.has_password(NEW) and site.service.check_link(link).body["validlink"]


def exported_users(site: Site, settings: dict[str, str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run_command(site.folder, "users", "export", "--format", "jsonl", **settings).splitlines()]


def test_users_are_listed_and_exported(site: Site) -> None:
    users = [site.add_user() for _ in range(12)]
    listed = [json.loads(line) for line in site.run("users", "list", "--json").splitlines()]
    found = [json.loads(line) for line in site.run("users", "list", "--json", "--search", users[0].email.upper()).splitlines()]
    exported = exported_users(site, site.operator)
    keys = [str(user["id"]) for user in listed]
    assert keys == [str(user["id"]) for user in exported] and len(set(keys)) == len(keys) >= 12
    assert {user.key for user in users} <= set(keys) and [str(user["id"]) for user in found] == [users[0].key]
    shown = exported[keys.index(users[0].key)]
    assert shown["password"].startswith("pbkdf2_sha256$10$")
    absent = {name for name, column in (site.model.columns or {}).items() if column is None}
    assert {name for name, value in shown.items() if value is None} == absent | {"last_login"}


def test_an_export_is_imported_into_another_site(site: Site) -> None:
    site.add_user(**site.model.inactive[0])
    file = site.folder / "export.jsonl"
    site.run("users", "export", "--output", str(file))
    copy = site.copy()
    done = command(site.folder, "users", "import", str(file), **copy)
    unfilled = [column for column in site.model.unfilled if column != (site.model.columns or {}).get("id", "id")]
    if unfilled:
        assert done.returncode == 1 and f"no default: {', '.join(unfilled)}." in done.stderr
    else:
        assert done.returncode == 0, done.stderr
        assert exported_users(site, copy) == exported_users(site, site.operator)
        again = run_command(site.folder, "users", "import", str(file), **copy)
        assert again.startswith("0 users added, ") and again.endswith(" were there already, 0 refused.\n")


def test_a_user_is_added_unless_columns_are_in_the_way(site: Site) -> None:
    name = ["added"] if site.model.has_usernames else []
    arguments = ["users", "add", *name, "--email", "added@example.com", "--password-stdin"]
    done = command(site.folder, *arguments, stdin=NEW, **site.operator)
    if site.model.unfilled:
        assert done.returncode == 1 and f"no default: {', '.join(site.model.unfilled)}." in done.stderr
    else:
        assert done.returncode == 0, done.stderr
        key = done.stdout.removeprefix("Added user ").removesuffix(".\n")
        user = Account(site, key, "added", "added@example.com")
        # Django finds no user in the child's table.
        assert user.has_password(NEW) or site.model is MODELS["parent"]
        # A key that the service used is not in the way of the next user.
        assert site.add_user().key != key


def test_the_check_finds_no_error(site: Site) -> None:
    done = command(site.folder, "check", "--json", **site.settings)
    assert done.returncode == 0, done.stdout
    assert [finding for finding in json.loads(done.stdout) if finding["level"] == "error"] == []


def content(database: Path | Database) -> Any:
    """Returns what a process that is refused could have changed."""
    if isinstance(database, Database):
        return database.execute("SELECT oid, relname, relnatts, relfilenode, relacl::text FROM pg_class ORDER BY oid")
    with closing(sqlite3.connect(database)) as connection:
        return list(connection.iterdump())


def test_a_table_that_the_settings_do_not_describe_is_refused_and_stays_unchanged(site: Site) -> None:
    untouched = site.databases.untouched
    before = content(untouched)
    url = {"DATABASE_URL": untouched.socket_url if isinstance(untouched, Database) else f"sqlite:{untouched}"}
    attempts = [(url, ["the database has no table auth_user; "])]
    if site.model.needed:
        attempts.append((url | {"USERS_TABLE": site.model.table}, [f"the table has no column {column};" for column in site.model.needed]))
    for settings, texts in attempts:
        for arguments in (["serve"], ["migrate"]):
            done = command(site.folder, *arguments, **settings)
            assert done.returncode == 78 and all(text in done.stdout + done.stderr for text in texts), done.stdout + done.stderr
    assert content(untouched) == before

