"""`deploy/rails/export_settings.rb` writes what the service needs to know about a Rails application with Devise."""

import json
import stat
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from paths import ROOT
from postgres import ROLE, Cluster
from service import BASE_ENVIRONMENT, run_program

SCRIPT = ROOT / "deploy/rails/export_settings.rb"
LIBRARIES = ("action_mailer/railtie", "devise", "pg", "sqlite3")

APPLICATION = """
require "rails"
require "active_record/railtie"
require "action_controller/railtie"
require "action_mailer/railtie"
require "devise"
require "devise/orm/active_record"

class Shop < Rails::Application
  config.root = File.expand_path("..", __dir__)
  config.eager_load = false
  config.secret_key_base = "x" * 64
  config.logger = Logger.new(nil)
  config.time_zone = "Berlin"
  config.action_mailer.delivery_method = :smtp
  config.action_mailer.smtp_settings = { address: "smtp.example.com", port: 587, user_name: "noreply", password: "correct-horse-71" }
end

Devise.setup do |config|
  config.mailer_sender = "Shop <noreply@example.com>"
  config.stretches = 4
  config.reset_password_within = 2.hours
end
"""
ENVIRONMENT = """
require_relative "application"
%(settings)s
Rails.application.initialize!

class Account < ActiveRecord::Base
  connection.create_table(:accounts, if_not_exists: true) { |table| table.string :email; table.string :encrypted_password }
  devise :database_authenticatable, :recoverable, :validatable %(modules)s
end

Rails.application.routes.draw { devise_for :accounts }
"""
COMMANDS = """
APP_PATH = File.expand_path("../config/application", __dir__)
require "rails/commands"
"""


class Application:
    """A Rails application in a folder."""

    def __init__(self, folder: Path, database: dict[str, Any] | None = None, settings: str = "", modules: str = "") -> None:
        self.folder = folder
        for path, text in {
            "config/application.rb": APPLICATION,
            "config/environment.rb": ENVIRONMENT % {"settings": settings, "modules": modules},
            # YAML can contain JSON.
            "config/database.yml": json.dumps({"development": database or {"adapter": "sqlite3", "database": "db.sqlite3"}}),
            "bin/rails": COMMANDS,
        }.items():
            (folder / path).parent.mkdir(exist_ok=True)
            (folder / path).write_text(text)

    def run(self, script: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["ruby", "bin/rails", "runner", str(script)], env=BASE_ENVIRONMENT, cwd=self.folder, capture_output=True, text=True
        )

    def export(self) -> dict[str, Any]:
        done = self.run(SCRIPT)
        assert done.returncode == 0, done.stderr
        return json.loads(self.file.read_text())

    @property
    def file(self) -> Path:
        return self.folder / "password-reset/password-reset.json"


@pytest.fixture
def application(tmp_path: Path) -> Callable[..., Application]:
    return partial(Application, tmp_path)


def test_the_settings_are_those_of_the_application(application: Callable[..., Application]) -> None:
    created = application()
    values = created.export()

    absent = ("is_active", "last_login", "username", "first_name", "last_name", "is_staff", "is_superuser", "date_joined")
    columns = {"password": "encrypted_password"} | dict.fromkeys(absent)
    assert (values.pop("USERS_TABLE"), values.pop("USERS_COLUMNS")) == ("accounts", columns)
    assert [values.pop(f"PASSWORD_{name}") for name in ("FORMAT", "FORMAT_OPTIONS")] == ["crypt", "ident=2a"]
    assert values == {
        "DATABASE_URL": f"sqlite:{created.folder}/db.sqlite3",
        "PASSWORD_HASHER": "bcrypt",
        "PASSWORD_HASHER_OPTIONS": "rounds=4",
        "AUTH_PASSWORD_VALIDATORS": [
            {"NAME": "MinimumLengthValidator", "OPTIONS": {"min_length": 6}},
            {"NAME": "MaximumLengthValidator", "OPTIONS": {"max_length": 128}},
        ],
        "DEFAULT_FROM_EMAIL": "Shop <noreply@example.com>",
        "EMAIL_BACKEND": "smtp",
        "EMAIL_HOST": "smtp.example.com",
        "EMAIL_PORT": 587,
        "EMAIL_HOST_USER": "noreply",
        "EMAIL_HOST_PASSWORD_FILE": f"{created.folder}/password-reset/EMAIL_HOST_PASSWORD",
        "EMAIL_USE_TLS": True,
        "PASSWORD_RESET_TIMEOUT": 7200,
        "TIME_ZONE": "Europe/Berlin",
        "LANGUAGE_CODE": "en",
        "SECRET_KEY_FILE": f"{created.folder}/password-reset/SECRET_KEY",
    }
    # The service accepts the values of the settings that do not describe the table.
    created.file.write_text(json.dumps(values))
    done = run_program(BASE_ENVIRONMENT | {"PASSWORD_RESET_CONFIG": str(created.file)}, "config")
    assert done.returncode == 0, done.stdout + done.stderr


def test_only_the_owner_may_read_the_secrets_and_a_second_run_keeps_the_key(application: Callable[..., Application]) -> None:
    created = application()
    key = Path(created.export()["SECRET_KEY_FILE"])
    before = key.read_text()
    assert len(before.strip()) == 64

    created.export()

    assert key.read_text() == before
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in created.file.parent.iterdir()}
    assert modes == {name: 0o600 for name in ("password-reset.json", "SECRET_KEY", "EMAIL_HOST_PASSWORD")}
    assert stat.S_IMODE(created.file.parent.stat().st_mode) == 0o700


def test_the_database_on_postgresql_is_that_of_the_application(cluster: Cluster, application: Callable[..., Application]) -> None:
    database = cluster.new_database()
    server = {"adapter": "postgresql", "database": database.name, "username": "postgres", "password": "correct-horse-71"}
    server |= {"host": "127.0.0.1", "port": cluster.port, "pool": 5, "sslmode": "disable", "schema_search_path": "public, extra"}
    created = application(server)

    values = created.export()

    assert Path(values["DATABASE_PASSWORD_FILE"]).read_text() == "correct-horse-71\n"
    path, _, query = values["DATABASE_URL"].partition("?")
    assert path == f"postgresql:///{database.name}"
    options = "options=-csearch_path%3Dpublic%2Cextra"
    assert sorted(query.split("&")) == sorted(["host=127.0.0.1", f"port={cluster.port}", "user=postgres", "sslmode=disable", options])
    # The service's role can be created from the settings alone.
    for arguments in (["migrate"], ["grants", "--role", ROLE]):
        done = run_program(BASE_ENVIRONMENT | {"PASSWORD_RESET_CONFIG": str(created.file)}, *arguments)
        assert done.returncode == 0, done.stderr
    database.execute(done.stdout)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ('Devise.setup { |config| config.pepper = "salt" }', "error: Devise mixes its pepper into each password"),
        ("Devise.setup { |config| config.mailer_sender = ->(_) { 'a@example.com' } }", "warning: Devise's mailer_sender is Ruby"),
        ("Shop.config.action_mailer.delivery_method = :test", "warning: the delivery method test is Ruby"),
        ("Shop.config.i18n.available_locales = [:en, :sv]; Shop.config.i18n.default_locale = :sv", "warning: the service has no emails in the language sv"),
    ],
)  # fmt: skip
def test_what_cannot_be_exported_is_named(settings: str, message: str, application: Callable[..., Application]) -> None:
    created = application(settings=settings)
    done = created.run(SCRIPT)
    assert message in done.stderr
    assert (done.returncode, created.file.exists()) == ((1, False) if message.startswith("error") else (0, True))


def test_an_account_that_a_reset_does_not_unlock_is_named(application: Callable[..., Application]) -> None:
    assert "warning: Devise unlocks an account after a reset" in application(modules=", :lockable").run(SCRIPT).stderr


def test_the_service_and_devise_accept_each_others_passwords(application: Callable[..., Application], tmp_path: Path) -> None:
    created = application()
    (tmp_path / "add.rb").write_text('Account.create!(email: "alice@example.com", password: "the-old-password-71")')
    assert created.run(tmp_path / "add.rb").returncode == 0
    created.export()
    settings = BASE_ENVIRONMENT | {"PASSWORD_RESET_CONFIG": str(created.file), "RESET_URL": "https://example.com/{uid}/{token}"}
    checked = run_program(settings, "check")
    assert checked.returncode == 0, checked.stdout + checked.stderr

    alice = ("alice@example.com", "--password-stdin")
    assert run_program(settings, "users", "check-password", *alice, stdin="the-old-password-71").returncode == 0
    assert run_program(settings, "users", "set-password", *alice, stdin="battery-staple-92-new").returncode == 0

    (tmp_path / "valid.rb").write_text('puts Account.first.valid_password?("battery-staple-92-new")')
    assert created.run(tmp_path / "valid.rb").stdout == "true\n"
