"""Django sites with their own user models. Each runs in a separate process, because a process has only one user model."""

import json
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import pytest

import custom_site_process as django_process
import outbox
from mail_server import Delivery, MailServer, receiving
from postgres import Cluster, Database
from processes import wait_until
from service import Link, Service, run_command, serving

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

SETTINGS = """
from site_settings import *
DATABASES = {{"default": {database!r}}}
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "accounts"]
AUTH_USER_MODEL = "accounts.User"
MIGRATION_MODULES = dict.fromkeys(["auth", "contenttypes", "accounts"])
PASSWORD_HASHERS = ["accounts.hashers.QuickHasher"]
TEMPLATES = [{{
    "BACKEND": "django.template.backends.django.DjangoTemplates",
    "OPTIONS": {{"loaders": [("django.template.loaders.locmem.Loader", {{"registration/password_reset_confirm.html": "{{{{ form.errors }}}}"}})]}},
}}]
"""
HASHERS = """
from django.contrib.auth.hashers import PBKDF2PasswordHasher

class QuickHasher(PBKDF2PasswordHasher):
    iterations = 10
"""
MODELS = """
import uuid
from django.contrib.auth.models import AbstractBaseUser, AbstractUser, BaseUserManager
from django.db import models

"""
OLD, NEW = "correct-horse-71-old", "battery-staple-92-new"


@dataclass(frozen=True)
class Model:
    """A user model, and the settings of the service for it."""

    source: str
    table: str = "accounts_user"
    # USERS_COLUMNS, or None if the table needs none.
    columns: dict[str, Any] | None = None
    # The columns without which the table is refused, under Django's names.
    needed: tuple[str, ...] = ()
    has_usernames: bool = True
    has_last_login: bool = True
    # Changes that each make a user inactive.
    inactive: tuple[dict[str, Any], ...] = ({"is_active": False},)
    # The key of the user with a number, unless the database chooses it.
    key: Callable[[int], Any] | None = None
    # The columns of which `users add` has no value.
    unfilled: tuple[str, ...] = ()
    forms: str = "from django.contrib.auth.forms import PasswordResetForm as ResetForm"

    @property
    def settings(self) -> dict[str, str]:
        columns = {"USERS_COLUMNS": json.dumps(self.columns, ensure_ascii=False)} if self.columns else {}
        return {"USERS_TABLE": self.table} | columns


@dataclass(frozen=True)
class Databases:
    """The database of a site, and a copy from before the service used it."""

    used: Path | Database
    untouched: Path | Database


@dataclass
class Site:
    """A Django site and the service on its database."""

    model: Model
    # The settings of the service, and of a command that may also change users.
    settings: dict[str, str]
    operator: dict[str, str]
    folder: Path
    databases: Databases
    mail_server: MailServer
    service: Service
    _process: ProcessPoolExecutor
    _count: int = field(default=0)

    def django(self, function: Callable[Arguments, Result], *arguments: Arguments.args, **options: Arguments.kwargs) -> Result:
        """Calls a function of `custom_site_process` in the site."""
        return self._process.submit(function, *arguments, **options).result(timeout=60)

    def add_user(self, email: str | None = None, password: str | None = OLD, **fields: Any) -> "Account":
        """Adds a user with an address or, if there is none, a new one."""
        self._count += 1
        account = Account(self, "", f"user{self._count}", email or f"user{self._count}@example.com")
        values: dict[str, Any] = {"email": account.email}
        if self.model.has_usernames:
            values["username"] = account.username
        if self.model.key:
            values["pk"] = self.model.key(self._count)
        account.key = self.django(django_process.add_user, password, values | fields)
        return account

    def run(self, *arguments: str, stdin: str = "") -> str:
        return run_command(self.folder, *arguments, stdin=stdin, **self.operator)

    def copy(self) -> dict[str, str]:
        """Copies the site from before the service used it, and returns the settings of a command on the copy."""
        untouched, path = self.databases.untouched, self.folder / "copy.sqlite3"
        if isinstance(untouched, Database):
            copy = untouched.cluster.new_database(template=untouched.name)
            return copy.settings(**self.model.settings) | copy.operator_settings(**self.model.settings) | self.model.settings
        shutil.copy(untouched, path)
        return self.operator | {"DATABASE_URL": f"sqlite:{path}"}

    def wait_for_mails(self) -> list[Delivery]:
        """Waits until the outbox is empty, and returns all emails."""
        database = self.databases.used
        wait_until(lambda: (outbox.pending(database) if isinstance(database, Path) else database.pending) == 0, "the outbox to be empty")
        return self.mail_server.deliveries


@dataclass
class Account:
    """A user of a site."""

    site: Site
    key: str
    username: str
    email: str

    @property
    def name(self) -> str:
        """Returns what the user types to sign in."""
        return self.username if self.site.model.has_usernames else self.email

    @property
    def link(self) -> Link:
        return self.site.django(django_process.link, self.key)

    def asks_for_link(self, **member: str) -> Link:
        """Asks the service for a link, and returns the one in the email. No other user has this address."""
        before = len(self.site.mail_server.deliveries)
        assert self.site.service.request_reset(**(member or {"email": self.email})).status == 202
        mails = wait_until(lambda: [mail for mail in self.site.mail_server.deliveries[before:] if mail.recipients == [self.email]], "the email")
        return mails[0].link

    def has_password(self, password: str) -> bool:
        return self.site.django(django_process.authenticated, self.name, password) == self.key

    @property
    def columns(self) -> dict[str, str]:
        """Returns what the database has about the user."""
        return self.site.django(django_process.columns, self.key)

    def change(self, **fields: Any) -> None:
        self.site.django(django_process.change_user, self.key, fields)


@contextmanager
def _django(model: Model, folder: Path, database: dict[str, str]) -> Iterator[ProcessPoolExecutor]:
    """Writes a site, and runs it within the block."""
    app = folder / "accounts"
    app.mkdir(parents=True)
    (folder / "custom_settings.py").write_text(SETTINGS.format(database=database))
    for name, text in {"__init__": "", "models": MODELS + model.source, "forms": model.forms, "hashers": HASHERS}.items():
        (app / f"{name}.py").write_text(text)
    with ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn")) as process:
        # The new process gets the environment and the path for modules of this moment.
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("DJANGO_SETTINGS_MODULE", "custom_settings")
            patch.syspath_prepend(folder)
            created = process.submit(django_process.create_tables)
        assert created.result(timeout=60) == "accounts.User"
        yield process


@contextmanager
def _served(
    model: Model, process: ProcessPoolExecutor, folder: Path, databases: Databases, settings: dict[str, str], operator: dict[str, str]
) -> Iterator[Site]:
    quick = model.settings | {"PASSWORD_HASHER_OPTIONS": "iterations=10"}
    with receiving(folder / "mail") as mail_server:
        smtp = {"EMAIL_BACKEND": "smtp", "EMAIL_HOST": "localhost", "EMAIL_PORT": str(mail_server.port)}
        with serving(folder, folder, **settings, **smtp, **quick) as service:
            yield Site(model, settings | quick, operator | quick, folder, databases, mail_server, service, process)


@contextmanager
def on_sqlite(model: Model, folder: Path) -> Iterator[Site]:
    """Runs a site and the service on a new SQLite file."""
    databases = Databases(folder / "db.sqlite3", folder / "untouched.sqlite3")
    with _django(model, folder, {"ENGINE": "django.db.backends.sqlite3", "NAME": str(databases.used)}) as process:
        shutil.copy(databases.used, databases.untouched)
        settings = {"DATABASE_URL": f"sqlite:{databases.used}"}
        with _served(model, process, folder, databases, settings, settings) as site:
            yield site


@contextmanager
def on_postgres(model: Model, folder: Path, cluster: Cluster) -> Iterator[Site]:
    """Runs a site and the service on a new PostgreSQL database. The service has only the privileges that it needs."""
    database = cluster.new_database()
    server = {"NAME": database.name, "USER": "postgres", "HOST": str(cluster.folder), "PORT": str(cluster.port)}
    with _django(model, folder, {"ENGINE": "django.db.backends.postgresql"} | server) as process:
        databases = Databases(database, cluster.new_database(template=database.name))
        settings, operator = database.settings(**model.settings), database.operator_settings(**model.settings)
        with _served(model, process, folder, databases, settings, operator) as site:
            yield site
