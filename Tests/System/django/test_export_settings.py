"""`deploy/django/export_settings.py` writes what the service needs to know about a Django site, and `check` proves it."""

import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import django
import pytest
from django.contrib.auth.tokens import default_token_generator
from django.test import override_settings

from django_site import add_user
from paths import LIB, ROOT
from postgres import Database
from service import BASE_ENVIRONMENT, run_program

SCRIPT = ROOT / "deploy/django/export_settings.py"
# No check of these tests is about where the links lead, or what sends the emails.
QUIET = {"RESET_URL": "https://example.com/reset/{uid}/{token}/", "EMAIL_BACKEND": "dummy"}


@dataclass(frozen=True)
class Site:
    """A Django site in a folder: its settings extend the usual ones, and its app `accounts` may have a user model."""

    folder: Path

    def run(self, *arguments: str, code: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        paths = {"PYTHONPATH": os.pathsep.join([str(self.folder), str(LIB)]), "DJANGO_SETTINGS_MODULE": "exported_site"}
        command = [sys.executable, "-W", "ignore", "-m", "django", *arguments]
        stdin = self.folder / "stdin.py"
        stdin.write_text(code)
        # Django executes a script only if it is ready to be read at once.
        with stdin.open() as script:
            return subprocess.run(
                command, stdin=script, capture_output=True, text=True, env=BASE_ENVIRONMENT | paths | environment, cwd=self.folder
            )

    def shell(self, code: str) -> str:
        done = self.run("shell", "-v", "0", code=code)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def export(self) -> "Export":
        done = self.run("shell", code=SCRIPT.read_text())
        assert done.returncode == 0, done.stderr
        return Export(self.folder / "password-reset", done.stdout, done.stderr)


@dataclass(frozen=True)
class Export:
    """The folder that the script wrote, and what it printed."""

    folder: Path
    stdout: str
    stderr: str

    @property
    def file(self) -> Path:
        return self.folder / "password-reset.json"

    @property
    def vectors(self) -> Path:
        return self.folder / "vectors.json"

    @property
    def values(self) -> dict[str, Any]:
        return json.loads(self.file.read_text())

    def secret(self, name: str) -> str:
        return Path(self.values[f"{name}_FILE"]).read_text().removesuffix("\n")

    def password_reset(self, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        return run_program(BASE_ENVIRONMENT | {"PASSWORD_RESET_CONFIG": str(self.file)} | settings, *arguments)

    def check(self, **settings: str) -> dict[str, str]:
        """Returns the findings of `check --vectors`: the message for each number."""
        done = self.password_reset("check", "--json", "--vectors", str(self.vectors), **(QUIET | settings))
        findings = {entry["id"].removeprefix("password_reset."): entry["message"] for entry in json.loads(done.stdout)}
        assert done.returncode == (78 if any(number.startswith("E") for number in findings) else 0), done.stderr
        return findings


def create_site(folder: Path, settings: str = "", models: str = "") -> Site:
    if models:
        (folder / "accounts").mkdir()
        (folder / "accounts/__init__.py").touch()
        (folder / "accounts/models.py").write_text(f"{MODEL_IMPORTS}\n{models}")
        settings = f'INSTALLED_APPS += ["accounts"]\nAUTH_USER_MODEL = "accounts.User"\n{settings}'
    database = f'DATABASES["default"] |= {{"NAME": {str(folder / "db.sqlite3")!r}}}'
    (folder / "exported_site.py").write_text(f"from site_settings import *\n{database}\n{settings}\n")
    return Site(folder)


@pytest.fixture
def site(tmp_path: Path) -> Callable[..., Site]:
    """Returns a function that creates a site."""
    return partial(create_site, tmp_path)


# The files


def test_only_the_owner_may_read_what_the_script_writes(site: Callable[..., Site]) -> None:
    exported = site('EMAIL_HOST_PASSWORD = "correct-horse-71"').export()

    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in [exported.folder, *exported.folder.iterdir()]}

    names = {"password-reset", "password-reset.json", "vectors.json", "SECRET_KEY", "EMAIL_HOST_PASSWORD"}
    assert modes == {name: 0o700 if name == "password-reset" else 0o600 for name in names}
    assert exported.secret("EMAIL_HOST_PASSWORD") == "correct-horse-71"
    secrets = [exported.secret(name) for name in ("SECRET_KEY", "EMAIL_HOST_PASSWORD")]
    written = exported.file.read_text() + exported.vectors.read_text() + exported.stdout + exported.stderr
    assert [secret for secret in secrets if secret in written] == []


def test_a_second_run_closes_a_file_that_others_could_read(site: Callable[..., Site]) -> None:
    exported = site().export()
    exported.file.chmod(0o644)
    again = Site(exported.folder.parent).export()
    assert stat.S_IMODE(again.file.stat().st_mode) == 0o600


def test_the_script_prints_the_command_that_checks_the_result(site: Callable[..., Site]) -> None:
    created = site()
    assert created.run("migrate", "-v", "0").returncode == 0
    exported = created.export()
    lines = exported.stdout.splitlines()
    (setting,) = [line.strip().removeprefix("export PASSWORD_RESET_CONFIG=") for line in lines if "export " in line]
    (command,) = [line.strip().split() for line in lines if line.startswith("  password-reset ")]
    assert "RESET_URL, SITE_NAME" in exported.stdout

    done = run_program(BASE_ENVIRONMENT | {"PASSWORD_RESET_CONFIG": setting}, *command[1:])

    assert (done.returncode, "agree with these settings" in done.stdout) == (0, True), done.stdout + done.stderr


def test_the_folder_can_be_chosen_and_the_settings_can_be_printed(site: Callable[..., Site], tmp_path: Path) -> None:
    created = site()
    assert created.run("shell", code=SCRIPT.read_text(), EXPORT_FOLDER=str(tmp_path / "etc/service")).returncode == 0
    chosen = Export(tmp_path / "etc/service", "", "")
    assert created.run("migrate", "-v", "0").returncode == 0
    assert chosen.check().keys().isdisjoint({"E033", "E007"})

    printed = json.loads(created.run("shell", "-v", "0", code=SCRIPT.read_text(), EXPORT_FOLDER="-").stdout)

    assert printed == {name: value for name, value in chosen.values.items() if name != "SECRET_KEY_FILE"} | {
        "SECRET_KEY": chosen.secret("SECRET_KEY")
    }
    assert not (tmp_path / "password-reset").exists()


# The settings


@pytest.mark.parametrize("uses_utc", [True, False])
def test_the_service_uses_the_postgresql_database_of_the_site(uses_utc: bool, postgres: Database, site: Callable[..., Site]) -> None:
    add_user("alice", "alice@example.com")
    server = {"ENGINE": "django.db.backends.postgresql", "NAME": postgres.name, "USER": "postgres", "PASSWORD": "correct-horse-71"}
    server |= {"HOST": str(postgres.cluster.folder), "PORT": postgres.cluster.port}
    server |= {"OPTIONS": {"application_name": "a site", "pool": False, "connect_timeout": 7}}
    exported = site(f'DATABASES["default"] = {server!r}\nUSE_TZ = {uses_utc}\nTIME_ZONE = "Europe/Berlin"').export()

    assert (exported.secret("DATABASE_PASSWORD"), exported.values["USE_TZ"]) == ("correct-horse-71", uses_utc)
    assert "connect_timeout=7" in exported.values["DATABASE_URL"]
    assert "E033" not in exported.check()
    assert "alice@example.com" in exported.password_reset("users", "list", **QUIET).stdout
    # The site prints the last sign-in in one of two zones.
    assert "last sign-in" in exported.check(USE_TZ=str(not uses_utc))["E033"]


OTHER_ENGINE = """
from django.db.backends.sqlite3 import base

class DatabaseWrapper(base.DatabaseWrapper):
    vendor = "mysql"
"""


def test_a_database_that_the_service_does_not_have_is_named(site: Callable[..., Site], tmp_path: Path) -> None:
    (tmp_path / "other_engine").mkdir()
    (tmp_path / "other_engine/base.py").write_text(OTHER_ENGINE)
    exported = site('DATABASES["default"]["ENGINE"] = "other_engine"').export()
    assert "warning: the users are in mysql; the service supports SQLite and PostgreSQL." in exported.stderr
    assert "DATABASE_URL" not in exported.values
    assert "Add to password-reset.json what is missing: DATABASE_URL," in exported.stdout


def test_the_users_may_be_in_another_database_of_the_site(site: Callable[..., Site], tmp_path: Path) -> None:
    router = "class Router:\n    def db_for_write(self, model, **hints):\n        return 'people'"
    (tmp_path / "site_router.py").write_text(router)
    people = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(tmp_path / "people.sqlite3")}
    exported = site(f'DATABASES["people"] = {people}\nDATABASE_ROUTERS = ["site_router.Router"]').export()
    assert exported.values["DATABASE_URL"] == f"sqlite:{tmp_path}/people.sqlite3"


def test_the_service_starts_from_the_settings_and_accepts_the_links_of_the_site(database: Path, site: Callable[..., Site]) -> None:
    user = add_user("alice", "alice@example.com")
    exported = site(
        """
SECRET_KEY_FALLBACKS = ["an-earlier-key-of-the-site-0123456789", "a-short-key"]
TIME_ZONE = "Europe/Berlin"
LANGUAGE_CODE = "de-at"
DEFAULT_FROM_EMAIL = "Example <noreply@example.com>"
EMAIL_HOST, EMAIL_PORT, EMAIL_USE_TLS = "smtp.example.com", 587, True
EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = "noreply", "correct-horse-71"
"""
    ).export()
    values = exported.values
    assert (values["EMAIL_BACKEND"], values["EMAIL_PORT"], values["EMAIL_USE_TLS"]) == ("smtp", 587, True)
    assert (values["LANGUAGE_CODE"], values["DEFAULT_FROM_EMAIL"]) == ("de", "Example <noreply@example.com>")
    assert exported.secret("SECRET_KEY_FALLBACKS") == "an-earlier-key-of-the-site-0123456789"
    assert "SECRET_KEY_FALLBACKS is left out" in exported.stderr

    checked = exported.password_reset("check")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    link = exported.password_reset("users", "link", "alice").stdout.strip()
    assert default_token_generator.check_token(user, link.rpartition("/")[2])


@pytest.mark.parametrize(
    ("hasher", "algorithm", "options"),
    [
        ("PBKDF2PasswordHasher", "pbkdf2_sha256", {"iterations"}),
        ("PBKDF2SHA1PasswordHasher", "pbkdf2_sha1", {"iterations"}),
        ("Argon2PasswordHasher", "argon2", {"time_cost", "memory_cost", "parallelism"}),
        ("ScryptPasswordHasher", "scrypt", {"work_factor", "block_size", "parallelism"}),
        ("BCryptSHA256PasswordHasher", "bcrypt_sha256", {"rounds"}),
        ("BCryptPasswordHasher", "bcrypt", {"rounds"}),
    ],
)
def test_the_first_hasher_keeps_its_cost(hasher: str, algorithm: str, options: set[str], site: Callable[..., Site]) -> None:
    created = site(f'PASSWORD_HASHERS = ["django.contrib.auth.hashers.{hasher}"]')
    assert created.run("migrate", "-v", "0").returncode == 0
    exported = created.export()

    assert exported.values["PASSWORD_HASHER"] == algorithm
    pairs = dict(pair.split("=") for pair in exported.values["PASSWORD_HASHER_OPTIONS"].split(","))
    assert set(pairs) == options
    assert [number for number in exported.check() if number.startswith("E")] == []


def test_a_hasher_that_the_service_does_not_have_is_named(site: Callable[..., Site]) -> None:
    hashers = [f"django.contrib.auth.hashers.{name}" for name in ("MD5PasswordHasher", "ScryptPasswordHasher")]
    exported = site(f"PASSWORD_HASHERS = {hashers}").export()
    assert exported.values["PASSWORD_HASHER"] == "scrypt"
    assert "warning: the service does not have the first hasher, md5;" in exported.stderr


@pytest.mark.parametrize("attributes", ['{"name", "email"}', '["name", "email"]'])
def test_attributes_that_the_service_does_not_have_are_left_out_and_named(attributes: str, site: Callable[..., Site]) -> None:
    similarity = "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"
    created = site(f'AUTH_PASSWORD_VALIDATORS = [{{"NAME": {similarity!r}, "OPTIONS": {{"user_attributes": {attributes}, "max_similarity": 0.6}}}}]')
    assert created.run("migrate", "-v", "0").returncode == 0

    exported = created.export()

    (validator,) = exported.values["AUTH_PASSWORD_VALIDATORS"]
    assert validator == {"NAME": similarity, "OPTIONS": {"user_attributes": ["email"], "max_similarity": 0.6}}
    assert "warning: the service does not compare new passwords with name, as the site does." in exported.stderr
    assert [number for number in exported.check() if number.startswith("E")] == []


@pytest.mark.skipif(django.VERSION < (6, 1), reason="MAILERS is a setting of Django 6.1")
def test_the_default_mailer_is_the_mail_server(site: Callable[..., Site]) -> None:
    options = {"host": "smtp.example.com", "use_tls": True, "username": "noreply", "password": "correct-horse-71", "timeout": 9}
    created = site(f'MAILERS = {{"default": {{"OPTIONS": {options}}}}}')
    assert created.run("migrate", "-v", "0").returncode == 0
    exported = created.export()

    mail = {name: value for name, value in exported.values.items() if name.startswith("EMAIL_") and not name.endswith("_FILE")}
    expected = {"BACKEND": "smtp", "HOST": "smtp.example.com", "USE_TLS": True, "HOST_USER": "noreply", "TIMEOUT": 9}
    assert mail == {f"EMAIL_{name}": value for name, value in expected.items()}
    assert exported.secret("EMAIL_HOST_PASSWORD") == "correct-horse-71"
    assert exported.password_reset("check").returncode == 0
    config = dict(line.split(maxsplit=1) for line in exported.password_reset("config").stdout.splitlines())
    assert config["EMAIL_PORT"].split() == ["default", "587"]


def test_emails_in_files_stay_in_files_and_a_backend_in_python_is_named(site: Callable[..., Site], tmp_path: Path) -> None:
    in_files = f'EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"\nEMAIL_FILE_PATH = {str(tmp_path)!r}'
    values = site(in_files).export().values
    assert (values["EMAIL_BACKEND"], values["EMAIL_FILE_PATH"]) == ("file", str(tmp_path))

    exported = site('EMAIL_BACKEND = "anymail.backends.mailgun.EmailBackend"').export()
    assert "warning: the email backend anymail.backends.mailgun.EmailBackend is Python" in exported.stderr
    assert "EMAIL_BACKEND" not in exported.values


@pytest.mark.slow
def test_the_sites_framework_gives_the_name_and_the_link(site: Callable[..., Site]) -> None:
    created = site('INSTALLED_APPS += ["django.contrib.sites"]\nSITE_ID = 1')
    assert created.run("migrate", "-v", "0").returncode == 0
    assert {"SITE_NAME", "RESET_URL"}.isdisjoint(created.export().values)
    created.shell(
        "from django.contrib.sites.models import Site\nSite.objects.filter(pk=1).update(domain='shop.example.org', name='Zoës Shop')"
    )
    exported = created.export()

    assert exported.values["SITE_NAME"] == "Zoës Shop"
    assert exported.values["RESET_URL"] == "https://shop.example.org/reset/{uid}/{token}/"
    shown = exported.password_reset("config").stdout
    assert "https://shop.example.org/reset/{uid}/{token}/" in shown and "Zoës Shop" in shown


ALLAUTH_URLS = """
from django.urls import path

urlpatterns = [path("accounts/password/reset/key/<uidb36>-<key>/", lambda request: None, name="account_reset_password_from_key")]
"""


@pytest.mark.slow
def test_the_link_of_a_site_with_allauth_leads_to_its_page(site: Callable[..., Site], tmp_path: Path) -> None:
    for folder in (tmp_path / "allauth", tmp_path / "allauth/account"):
        folder.mkdir()
        (folder / "__init__.py").touch()
    (tmp_path / "site_urls.py").write_text(ALLAUTH_URLS)
    created = site('INSTALLED_APPS += ["django.contrib.sites", "allauth.account"]\nSITE_ID = 1\nROOT_URLCONF = "site_urls"')
    assert created.run("migrate", "-v", "0").returncode == 0
    created.shell("from django.contrib.sites.models import Site\nSite.objects.filter(pk=1).update(domain='shop.example.org')")
    exported = created.export()

    assert exported.values["RESET_URL"] == "https://shop.example.org/accounts/password/reset/key/{uid}-{token}/"
    assert "{uid}-{token}/" in exported.password_reset("config").stdout


OWN_CODE = """
from django.contrib.auth.forms import PasswordResetForm
from django.contrib.auth.tokens import PasswordResetTokenGenerator
from django.contrib.auth.views import PasswordResetConfirmView, PasswordResetView
from django.urls import include, path

class OwnGenerator(PasswordResetTokenGenerator):
    key_salt = "of the site"

class OwnForm(PasswordResetForm):
    def get_users(self, email):
        return []

class OwnView(PasswordResetView):
    form_class = OwnForm

urlpatterns = [
    path("reset/", OwnView.as_view()),
    path("nested/", include([path("<uidb64>/<token>/", PasswordResetConfirmView.as_view(token_generator=OwnGenerator()))])),
]
"""


def test_python_of_the_site_that_the_service_does_not_run_is_named(site: Callable[..., Site], tmp_path: Path) -> None:
    (tmp_path / "site_urls.py").write_text(OWN_CODE)
    validator = '[{"NAME": "accounts.validators.NotTheDog"}]'
    exported = site(f'ROOT_URLCONF = "site_urls"\nPASSWORD_RESET_EXPIRE_HOURS = 3\nAUTH_PASSWORD_VALIDATORS = {validator}').export()

    for text in (
        "the token generator OwnGenerator is not Django's",
        "the form OwnForm chooses its users itself",
        "PASSWORD_RESET_EXPIRE_HOURS is not a setting of Django",
        "the validator accounts.validators.NotTheDog is Python",
    ):
        assert f"warning: {text}" in exported.stderr
    assert len(exported.stderr.splitlines()) == 4


def test_an_ordinary_site_has_no_warnings(site: Callable[..., Site]) -> None:
    assert site().export().stderr == ""


PACKAGES = {
    "allauth.account": "",
    "knox": "",
    "rest_framework.authtoken": "",
    "oauth2_provider": "warning: oauth2_provider has other models (OAUTH2_PROVIDER_GRANT_MODEL): "
    "add an entry with sql for their tables to AFTER_RESET.",
    "axes": "note: axes is installed: a user whom it has locked out stays locked out after a reset.",
}


def test_packages_that_a_reset_concerns_are_named(site: Callable[..., Site], tmp_path: Path) -> None:
    for name in ("allauth", "rest_framework", *PACKAGES):
        folder = tmp_path / name.replace(".", "/")
        folder.mkdir()
        (folder / "__init__.py").touch()
    exported = site(f'INSTALLED_APPS += {list(PACKAGES)}\nOAUTH2_PROVIDER_GRANT_MODEL = "own.Grant"').export()
    assert exported.values["ALLAUTH"] is True
    assert exported.values["AFTER_RESET"] == [{"preset": "drf_tokens"}, {"preset": "knox"}]
    assert sorted(exported.stderr.splitlines()) == sorted(filter(None, PACKAGES.values()))


# The users table

MODEL_IMPORTS = """
import uuid
from django.contrib.auth.models import AbstractBaseUser, AbstractUser, BaseUserManager
from django.db import models

class Manager(BaseUserManager):
    def create_user(self, email, password):
        user = self.model(email=email)
        user.set_password(password)
        user.save()
        return user
"""

BY_EMAIL = """
class User(AbstractBaseUser):
    email = models.EmailField(unique=True)
    is_active = models.BooleanField(default=True)
    USERNAME_FIELD = EMAIL_FIELD = "email"
    objects = Manager()
"""
UUID_KEY = """
class User(AbstractUser):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    class Meta:
        db_table = "people"
"""
OWN_COLUMNS = """
class User(AbstractBaseUser):
    number = models.AutoField(primary_key=True, db_column="person_no")
    password = models.CharField(max_length=128, db_column="pw_hash")
    last_login = None
    login = models.CharField(max_length=50, unique=True)
    contact = models.EmailField(db_column="mail_address")
    first_name = models.CharField(max_length=50, db_column="forename")
    USERNAME_FIELD, EMAIL_FIELD = "login", "contact"
    class Meta:
        db_table = 'staff"."person'
"""
IN_TWO_TABLES = """
class Person(AbstractUser):
    pass

class User(Person):
    phone = models.CharField(max_length=20)
"""
ACTIVE_IN_PYTHON = """
class User(AbstractBaseUser):
    email = models.EmailField(unique=True)
    blocked = models.BooleanField(default=False)
    USERNAME_FIELD = EMAIL_FIELD = "email"

    @property
    def is_active(self):
        return not self.blocked
"""

# What a model has only if it extends AbstractUser. The statements of `grants` must not name columns that are not there.
OF_ABSTRACT_USER = dict.fromkeys(("first_name", "last_name", "is_staff", "is_superuser", "date_joined"))
EXPECTED = {
    "email as user name": (BY_EMAIL, {"USERS_TABLE": "accounts_user", "USERS_COLUMNS": OF_ABSTRACT_USER | {"username": "email"}}),
    "UUID": (UUID_KEY, {"USERS_TABLE": "people"}),
    "other names": (
        OWN_COLUMNS,
        {
            "USERS_TABLE": "staff.person",
            "USERS_COLUMNS": OF_ABSTRACT_USER
            | {
                "id": "person_no",
                "email": "mail_address",
                "password": "pw_hash",
                "username": "login",
                "first_name": "forename",
                "is_active": None,
                "last_login": None,
            },
        },
    ),
    "a parent table": (IN_TWO_TABLES, {"USERS_TABLE": "accounts_person"}),
    "activity in Python": (
        ACTIVE_IN_PYTHON,
        {"USERS_TABLE": "accounts_user", "USERS_COLUMNS": OF_ABSTRACT_USER | {"username": "email", "is_active": None}},
    ),
}


BY_STATUS = """
class User(AbstractBaseUser):
    email = models.EmailField(unique=True)
    is_active = models.CharField(max_length=10, db_column="status")
    USERNAME_FIELD = EMAIL_FIELD = "email"
"""


@pytest.mark.parametrize("name", EXPECTED)
def test_the_table_and_columns_are_those_of_the_user_model(name: str, site: Callable[..., Site]) -> None:
    models, expected = EXPECTED[name]
    exported = site(models=models).export()
    assert {setting: value for setting, value in exported.values.items() if setting.startswith("USERS_")} == expected
    # The keys of the users are part of the vectors.
    key = "00000000-0000-0000-0000-000000000000" if name == "UUID" else "0"
    assert {vector["id"] for vector in json.loads(exported.vectors.read_text()) if vector["kind"] == "token"} == {key}
    assert "E033" not in exported.check()
    assert "E033" in exported.check(SECRET_KEY="another-key-than-that-of-the-site-0123456789")


def test_a_site_with_its_own_idea_of_activity_is_warned(site: Callable[..., Site]) -> None:
    assert "warning: the site decides in Python who is active" in site(models=ACTIVE_IN_PYTHON).export().stderr


def test_a_site_without_a_column_for_activity_is_warned(site: Callable[..., Site]) -> None:
    assert "warning: the users table has no column is_active, so every user counts as active" in site(models=OWN_COLUMNS).export().stderr


def test_a_site_whose_active_users_have_another_value_is_warned(site: Callable[..., Site]) -> None:
    exported = site(models=BY_STATUS).export()
    assert exported.values["USERS_COLUMNS"] == OF_ABSTRACT_USER | {"username": "email", "is_active": "status"}
    assert 'is_active is not a yes or no. Write the values that mean active into USERS_COLUMNS: {"is_active": {"status":' in exported.stderr


REFUSED = {
    "the password and the address in two tables": (
        """
class Login(AbstractBaseUser):
    name = models.CharField(max_length=50, unique=True)
    USERNAME_FIELD = "name"

class User(Login):
    email = models.EmailField()
""",
        "error: the table accounts_login has the passwords, but not email;",
    ),
    "no address": (
        """
class User(AbstractBaseUser):
    phone = models.CharField(max_length=20, unique=True)
    USERNAME_FIELD = "phone"
""",
        "error: the model User has no column for email,",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_table_that_the_service_cannot_use_is_an_error(name: str, site: Callable[..., Site]) -> None:
    models, message = REFUSED[name]
    created = site(models=models)
    done = created.run("shell", code=SCRIPT.read_text())
    assert (done.returncode, done.stderr.startswith(message)) == (1, True), done.stderr
    assert not (created.folder / "password-reset").exists()


@pytest.mark.parametrize("models", [BY_EMAIL, UUID_KEY, IN_TWO_TABLES], ids=["email as user name", "UUID", "a parent table"])
def test_the_service_and_a_site_with_its_own_users_accept_each_others_links(models: str, site: Callable[..., Site]) -> None:
    created = site(models=models)
    assert created.run("migrate", "-v", "0", "--run-syncdb").returncode == 0
    names = "'alice@example.com'" if models == BY_EMAIL else "'alice', 'alice@example.com'"
    created.shell(f"from accounts.models import User\nUser.objects.create_user({names}, password='the-old-password-71')")
    exported = created.export()
    assert [number for number in exported.check() if number.startswith("E")] == []

    link = exported.password_reset("users", "link", "alice@example.com", **QUIET).stdout.strip().rstrip("/")

    uid, token = link.split("/")[-2:]
    code = """
from accounts.models import User
from django.contrib.auth.tokens import default_token_generator
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_encode
user = User.objects.get()
"""
    checks = f"print(urlsafe_base64_encode(force_bytes(user.pk)), default_token_generator.check_token(user, {token!r}))"
    assert created.shell(code + checks) == f"{uid} True"


def test_check_lists_the_columns_of_another_table(site: Callable[..., Site]) -> None:
    created = site(models=BY_EMAIL)
    assert created.run("migrate", "-v", "0", "--run-syncdb").returncode == 0

    lines = created.export().password_reset("check", **QUIET).stdout.splitlines()

    assert lines[0] == "The users are in the table accounts_user:"
    columns = dict(line.split(maxsplit=1) for line in lines if line.startswith("  ") and "hint:" not in line)
    assert columns["username"] == "email"
    assert (columns["first_name"], columns["last_login"], columns["is_superuser"]) == ("none", "last_login", "none")


# The vectors


@pytest.fixture(scope="module")
def export_in_local_time(tmp_path_factory: pytest.TempPathFactory) -> Export:
    """The settings of a site without `USE_TZ`."""
    settings = 'USE_TZ = False\nTIME_ZONE = "Europe/Berlin"\nSECRET_KEY_FALLBACKS = ["an-earlier-key-of-the-site-0123456789"]'
    created = create_site(tmp_path_factory.mktemp("site"), settings)
    assert created.run("migrate", "-v", "0").returncode == 0
    return created.export()


@pytest.fixture
def exported(export_in_local_time: Export, tmp_path: Path) -> Export:
    """A copy of these, which a test can change. The secrets are those of the original."""
    shutil.copytree(export_in_local_time.folder, tmp_path / "copy")
    return Export(tmp_path / "copy", "", "")


def test_the_five_vectors_agree(exported: Export) -> None:
    assert [number for number in exported.check() if number.startswith("E")] == []
    kinds = [vector["kind"] for vector in json.loads(exported.vectors.read_text())]
    assert kinds == ["token", "token", "hash", "address", "address"]


def test_the_vectors_have_no_token_and_no_hash_of_a_user(database: Path, site: Callable[..., Site]) -> None:
    user = add_user("alice", "alice@example.com")
    before = database.read_bytes()
    vectors = json.loads(site().export().vectors.read_text())
    assert database.read_bytes() == before
    # One of the invented users has her address.
    assert "alice@example.com" in [vector.get("email") for vector in vectors]
    assert user.password not in json.dumps(vectors)
    tokens = [vector["token"] for vector in vectors if vector["kind"] == "token"]
    with override_settings(PASSWORD_RESET_TIMEOUT=10**9):
        assert [token for token in tokens if default_token_generator.check_token(user, token)] == []


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("SECRET_KEY", "another-key-than-that-of-the-site-0123456789", "The token of vector 2 differs from the site's."),
        ("SECRET_KEY", "an-earlier-key-of-the-site-0123456789", "The token of vector 2 differs from the site's."),
        ("TIME_ZONE", "UTC", "The time in the token of vector 2 differs from the site's."),
        # In winter, London has the time of UTC.
        ("TIME_ZONE", "Africa/Lagos", "The time in the token of vector 2 differs from the site's."),
    ],
)
def test_a_setting_that_is_not_the_sites_is_found(setting: str, value: str, message: str, exported: Export) -> None:
    assert exported.check(**{setting: value})["E033"] == message


def test_another_validity_of_links_is_a_warning(exported: Export) -> None:
    assert "PASSWORD_RESET_TIMEOUT is not the site's" in exported.check(PASSWORD_RESET_TIMEOUT="600")["W036"]
    assert "W036" not in exported.check()


@pytest.mark.parametrize(
    ("number", "member", "value", "message"),
    [
        (1, "uidb64", "1", "The uidb64 of vector 1 differs from the site's."),
        (1, "email", "bob@example.com", "The token of vector 1 differs from the site's."),
        (2, "last_login", "2001-01-01 00:00:00", "The token of vector 2 differs from the site's."),
        (3, "password", "another password", "The hash of vector 3 differs from the site's."),
        (3, "hash", "argon3$unknown", "The hash of vector 3 differs from the site's."),
        (3, "matches", False, "The hash of vector 3 differs from the site's."),
        (4, "same", False, "The comparison of addresses of vector 4 differs from the site's."),
        (5, "same", True, "The comparison of addresses of vector 5 differs from the site's."),
    ],
)
def test_a_result_that_is_not_the_sites_is_found(number: int, member: str, value: Any, message: str, exported: Export) -> None:
    vectors = json.loads(exported.vectors.read_text())
    vectors[number - 1][member] = value
    exported.vectors.write_text(json.dumps(vectors))
    assert exported.check()["E033"] == message


@pytest.mark.parametrize("content", ["", "[]", "{}", '[{"kind": "token"}]', '[{"kind": "other"}]'])
def test_a_file_without_vectors_is_an_error(content: str, exported: Export) -> None:
    exported.vectors.write_text(content)
    assert exported.check()["E033"] == "--vectors names a file that has no vectors of a site."
    exported.vectors.unlink()
    assert "E007" in exported.check()


def test_wrong_settings_do_not_hide_that_a_vector_differs(exported: Export) -> None:
    findings = exported.check(SECRET_KEY="another-key-than-that-of-the-site-0123456789", PASSWORD_HASHER="unknown")
    assert {"E003", "E033"} <= set(findings)
