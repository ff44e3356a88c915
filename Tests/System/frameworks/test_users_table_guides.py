"""The settings files in docs/users-table.md work next to the users tables of the frameworks that they name."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import create_engine, text

import site_settings
from django_users_tables import BY_EMAIL, BY_UUID, COOKIECUTTER, COOKIECUTTER_BY_EMAIL, django
from hash_makers import frameworks
from outbox import pending
from paths import ROOT
from postgres import PASSWORD, ROLE, Cluster, Database
from processes import wait_until
from service import Link, command, run_command, serving
from test_export_rails_settings import Application
from users_tables import ALICE, BOB, SUPABASE_OWNER, Place, UsersTable, devise, fastapi_users, laravel, supabase

pytestmark = pytest.mark.slow

OLD, NEW = "the-old-password-71", "battery-staple-92-new"
GUIDE = (ROOT / "docs/users-table.md").read_text().partition("\n## Complete settings\n")[2].partition("\n## ")[0]
ARGON2 = "PASSWORD_HASHERS = ['django.contrib.auth.hashers.Argon2PasswordHasher', 'django.contrib.auth.hashers.PBKDF2PasswordHasher']"


@dataclass(frozen=True)
class Guide:
    """The settings that a section has for one case, and the text of the file if it is complete."""

    name: str
    settings: dict[str, Any]
    text: str | None

    @property
    def table(self) -> str:
        """Returns the quoted name of the table."""
        return ".".join(f'"{name}"' for name in self.settings.get("USERS_TABLE", "auth_user").split("."))

    @property
    def password(self) -> str:
        return self.settings.get("USERS_COLUMNS", {}).get("password", "password")


def guides() -> Iterator[Guide]:
    """Reads the guides. A block without `DATABASE_URL` replaces settings of the first file in its section."""
    for section in GUIDE.split("\n### ")[1:]:
        title, _, rest = section.partition("\n")
        first: dict[str, Any] = {}
        for index, block in enumerate(re.findall(r"```yaml\n(.*?)```", rest, re.DOTALL)):
            settings = yaml.safe_load(block)
            is_complete = "DATABASE_URL" in settings
            first = first or settings
            yield Guide(title if index == 0 else f"{title}, {index + 1}", settings if is_complete else first | settings, block if is_complete else None)


GUIDES = {guide.name: guide for guide in guides()}


def rails(place: Place, password: str, is_lockable: bool = False) -> UsersTable:
    if isinstance(place.database, Database):
        cluster = place.database.cluster
        database = {"adapter": "postgresql", "database": place.database.name, "username": "postgres", "host": "127.0.0.1", "port": cluster.port}
    else:
        database = {"adapter": "sqlite3", "database": str(place.database)}
    (place.folder / "rails").mkdir()
    application = Application(place.folder / "rails", database)
    environment = place.folder / "rails/config/environment.rb"
    environment.write_text('require_relative "application"\nDevise.setup { |config| config.stretches = 12 }\nRails.application.initialize!\n')

    def run(code: str) -> str:
        (place.folder / "rails/code.rb").write_text(code)
        done = application.run(place.folder / "rails/code.rb")
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return devise(place, password, run, (ALICE, BOB), is_lockable)


def with_hashes(name: str, create: Callable[..., UsersTable], **options: Any) -> Callable[[Place, str], UsersTable]:
    return lambda place, password: create(place, password, frameworks(place.folder)[name], **options)


# What creates the table of each guide, and the databases that the framework supports.
BOTH, POSTGRESQL = ("SQLite", "PostgreSQL"), ("PostgreSQL",)
SITES: dict[str, tuple[Callable[[Place, str], UsersTable], tuple[str, ...]]] = {
    "Django": (partial(django, app="accounts", models=""), BOTH),
    "Django, with the address as the user name": (partial(django, app="accounts", models=BY_EMAIL), BOTH),
    "Django, with UUIDs as keys": (partial(django, app="accounts", models=BY_UUID), BOTH),
    "cookiecutter-django": (partial(django, app="users", models=COOKIECUTTER, settings=ARGON2), POSTGRESQL),
    "cookiecutter-django, 2": (partial(django, app="users", models=COOKIECUTTER_BY_EMAIL, settings=ARGON2), POSTGRESQL),
    "Rails with Devise": (rails, BOTH),
    "Rails with Devise, 2": (partial(rails, is_lockable=True), BOTH),
    "Laravel": (with_hashes("Laravel, bcrypt", laravel, has_soft_deletes=False), BOTH),
    "Laravel, 2": (with_hashes("Laravel, argon2id", laravel, has_soft_deletes=False), BOTH),
    "Laravel, 3": (with_hashes("Laravel, bcrypt", laravel, has_soft_deletes=True), BOTH),
    "FastAPI-Users": (fastapi_users, BOTH),
    "Supabase": (with_hashes("Supabase", supabase), POSTGRESQL),
}
CASES = [(name, database) for name, (_, databases) in SITES.items() for database in databases]


def rows(place: Place, table: str) -> dict[str, dict[str, Any]]:
    """Returns the users by address."""
    with place.engine.connect() as connection:
        return {row["email"]: dict(row) for row in connection.execute(text(f"SELECT * FROM {table}")).mappings()}


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    database: Path | Database = tmp_path / "site.sqlite3"
    url = f"sqlite:///{database}"
    if request.param == "PostgreSQL":
        cluster: Cluster = request.getfixturevalue("cluster")
        database = cluster.new_database()
        url = f"postgresql+psycopg://postgres@/{database.name}?host={cluster.folder}&port={cluster.port}"
    engine = create_engine(url)
    yield Place(tmp_path, database, engine)
    engine.dispose()


def service_settings(guide: Guide, place: Place) -> dict[str, str]:
    """Returns the environment of a service with the settings of the guide. Only the database, the key and the mail server are others."""
    values = {name: value for name, value in guide.settings.items() if not re.match("DATABASE_|EMAIL_|SECRET_KEY", name)}
    file = place.folder / "password-reset.json"
    file.write_text(json.dumps(values))
    settings = {"PASSWORD_RESET_CONFIG": str(file), "RESET_URL": values["RESET_URL"], "EMAIL_BACKEND": "file"}
    settings |= {"EMAIL_FILE_PATH": str(place.folder / "mails"), "SECRET_KEY": site_settings.SECRET_KEY}
    if isinstance(place.database, Path):
        return settings
    owner = settings | {"DATABASE_URL": place.database.socket_url}
    run_command(place.folder, "migrate", **owner)
    statements = [run_command(place.folder, "grants", "--role", ROLE, **owner)]
    if guide.name == "Supabase":
        # A superuser created the tables of the service. The owner of the users table gives the privileges on that one.
        ours, _, theirs = statements[0].partition("GRANT SELECT (")
        policies = re.findall(r"```sql\n(.*?)```", GUIDE, re.DOTALL)
        statements = [ours, f"SET ROLE {SUPABASE_OWNER}; GRANT SELECT ({theirs}", *(f"SET ROLE {SUPABASE_OWNER}; {each}" for each in policies)]
    for statement in statements:
        place.database.execute(statement)
    return settings | {"DATABASE_URL": place.database.url_for(ROLE, place.database.cluster.port), "DATABASE_PASSWORD": PASSWORD}


def link_to(address: str, mails: Path, pattern: str) -> Link:
    """Returns the link in the only email, which goes to this address."""
    emails = "".join(file.read_text() for file in mails.glob("*.log"))
    assert re.findall(r"^To: .*?([^<\s]+@[^>\s]+)", emails, re.MULTILINE) == [address]
    escaped = re.escape(pattern).replace(r"\{uid\}", r"([\w-]+)").replace(r"\{token\}", r"([\w-]+)")
    found = re.search(escaped, emails)
    assert found, emails
    return Link(*found.groups())


def test_each_guide_has_a_site() -> None:
    assert list(GUIDES) == list(SITES)


@pytest.mark.parametrize("guide", [guide for guide in GUIDES.values() if guide.text], ids=lambda guide: guide.name)
def test_the_service_accepts_each_setting_of_a_complete_file(guide: Guide, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text(site_settings.SECRET_KEY)
    file = tmp_path / "settings.yaml"
    file.write_text(re.sub(r"/etc/password-reset/\S+", str(secret), str(guide.text)))
    for path in (secret, file):
        path.chmod(0o600)
    done = command(tmp_path, "config", PASSWORD_RESET_CONFIG=str(file), **dict.fromkeys(("SECRET_KEY", "DATABASE_URL", "EMAIL_BACKEND", "RESET_URL"), ""))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("name", "place"), CASES, indirect=["place"])
def test_a_reset_with_the_settings_of_the_guide(name: str, place: Place) -> None:
    guide = GUIDES[name]
    site = SITES[name][0](place, OLD)
    assert site.accepts(OLD) and not site.accepts(NEW)
    if site.deactivation:
        place.execute(f"UPDATE {guide.table} SET {site.deactivation} WHERE email = '{BOB}'")
    before = rows(place, guide.table)
    place.engine.dispose()
    database = place.database if isinstance(place.database, Path) else place.folder
    settings = service_settings(guide, place)
    checked = command(database, "check", **settings)
    assert checked.returncode == 0, checked.stdout + checked.stderr

    with serving(database, place.folder, **settings) as service:
        for address in [ALICE, BOB] if site.deactivation else [ALICE]:
            assert service.request_reset(email=address).status == 202
        wait_until(lambda: (pending(database) if isinstance(place.database, Path) else place.database.pending) == 0, "the requests to be handled")
        link = link_to(ALICE, place.folder / "mails", guide.settings["RESET_URL"])
        assert site.accepts_link is None or site.accepts_link(link)
        assert service.set_password(link, NEW, NEW).status == 200
        assert site.accepts(NEW) and not site.accepts(OLD)
        again = service.set_password(link, "another-Fine-pass-8", "another-Fine-pass-8")
        assert (again.status, again.body["code"]) == (400, "invalid_link")
        assert site.accepts(NEW)

    after = rows(place, guide.table)
    assert after[ALICE].pop(guide.password) != before[ALICE].pop(guide.password)
    assert after == before
