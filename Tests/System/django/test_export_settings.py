"""`deploy/django/export_settings.py` prints what the service needs to know about a Django site."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.contrib.auth.tokens import default_token_generator

from django_site import add_user
from paths import LIB, ROOT
from postgres import Database
from service import BASE_ENVIRONMENT, run_program

SCRIPT = ROOT / "deploy/django/export_settings.py"


def export(folder: Path, settings: str) -> dict[str, object]:
    """Runs the script as `manage.py shell` of a site that has these settings in addition to the usual ones."""
    (folder / "exported_site.py").write_text(f"from site_settings import *\n{settings}\n")
    environment = BASE_ENVIRONMENT | {"PYTHONPATH": os.pathsep.join([str(folder), str(LIB)])}
    environment["DJANGO_SETTINGS_MODULE"] = "exported_site"
    with SCRIPT.open() as script:
        process = subprocess.run(
            [sys.executable, "-W", "ignore", "-m", "django", "shell", "-v", "0"],
            stdin=script,
            capture_output=True,
            env=environment,
            check=True,
        )
    values: dict[str, object] = json.loads(process.stdout)
    return values


@pytest.mark.parametrize("uses_utc", [True, False])
def test_the_service_uses_the_postgresql_database_of_the_site(uses_utc: bool, postgres: Database, tmp_path: Path) -> None:
    add_user("alice", "alice@example.com")
    server = {"ENGINE": "django.db.backends.postgresql", "NAME": postgres.name, "USER": "postgres", "PASSWORD": "correct-horse-71"}
    server |= {"HOST": str(postgres.cluster.folder), "PORT": postgres.cluster.port, "OPTIONS": {"application_name": "a site", "pool": False}}
    values = export(tmp_path, f'DATABASES["default"] = {server!r}\nUSE_TZ = {uses_utc}\nTIME_ZONE = "Europe/Berlin"')
    assert (values["DATABASE_PASSWORD"], values["USE_TZ"]) == ("correct-horse-71", uses_utc)
    file = tmp_path / "password-reset.json"
    file.write_text(json.dumps(values | {"EMAIL_BACKEND": "dummy"}))
    settings = BASE_ENVIRONMENT | {"PASSWORD_RESET_CONFIG": str(file)}
    assert run_program(settings, "check").returncode == 0
    assert "alice@example.com" in run_program(settings, "users", "list").stdout


def test_the_service_starts_from_the_printed_settings_and_accepts_the_links_of_the_site(
    database: Path, tmp_path: Path
) -> None:
    user = add_user("alice", "alice@example.com")
    values = export(
        tmp_path,
        f"""
DATABASES["default"] |= {{"NAME": {str(database)!r}}}
SECRET_KEY_FALLBACKS = ["an-earlier-key-of-the-site-0123456789"]
TIME_ZONE = "Europe/Berlin"
DEFAULT_FROM_EMAIL = "Example <noreply@example.com>"
EMAIL_HOST, EMAIL_PORT, EMAIL_USE_TLS = "smtp.example.com", 587, True
EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = "noreply", "correct-horse-71"
""",
    )
    assert (values["EMAIL_BACKEND"], values["EMAIL_PORT"], values["EMAIL_USE_TLS"]) == ("smtp", 587, True)
    file = tmp_path / "password-reset.json"
    file.write_text(json.dumps(values))
    settings = BASE_ENVIRONMENT | {"PASSWORD_RESET_CONFIG": str(file)}

    checked = run_program(settings, "check")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    link = run_program(settings, "users", "link", "alice").stdout.strip()
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
def test_the_first_hasher_keeps_its_cost(
    hasher: str, algorithm: str, options: set[str], database: Path, tmp_path: Path
) -> None:
    values = export(
        tmp_path,
        f"""
DATABASES["default"] |= {{"NAME": {str(database)!r}}}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.{hasher}"]
EMAIL_BACKEND = "django.core.mail.backends.console.EmailBackend"
""",
    )
    assert values["PASSWORD_HASHER"] == algorithm
    pairs = dict(pair.split("=") for pair in str(values["PASSWORD_HASHER_OPTIONS"]).split(","))
    assert set(pairs) == options
    file = tmp_path / "password-reset.json"
    file.write_text(json.dumps(values))
    checked = run_program(BASE_ENVIRONMENT | {"PASSWORD_RESET_CONFIG": str(file)}, "check")
    assert checked.returncode == 0, checked.stdout + checked.stderr
