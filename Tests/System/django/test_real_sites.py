"""Sites as people build them: a new Wagtail project, and Django REST framework with dj-rest-auth and djoser."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest

from service import BASE_ENVIRONMENT, Link, Service, command, run_command, serving

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("wagtail") is None, reason="these packages support the LTS release of Django only"),
]

ALICE = {"username": "alice", "email": "alice@example.com"}
NEW = "battery-staple-92-new"
QUICK = {"PASSWORD_HASHER_OPTIONS": "iterations=10"}

REST_SETTINGS = """
SECRET_KEY = "key-of-the-rest-site-0123456789-0123456789"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"}}
INSTALLED_APPS = [
    "django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions",
    "rest_framework", "rest_framework.authtoken", "dj_rest_auth", "djoser",
]
MIDDLEWARE = ["django.contrib.sessions.middleware.SessionMiddleware", "django.contrib.auth.middleware.AuthenticationMiddleware"]
ROOT_URLCONF = "site_urls"
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]
ALLOWED_HOSTS = ["*"]
PASSWORD_RESET_TIMEOUT = 3600
DJOSER = {"PASSWORD_RESET_CONFIRM_URL": "reset/{uid}/{token}"}
"""

REST_URLS = """
from django.urls import include, path

urlpatterns = [path("dj-rest-auth/", include("dj_rest_auth.urls")), path("djoser/", include("djoser.urls"))]
"""


@dataclass(frozen=True)
class Site:
    """A Django project in a separate folder, run by a separate interpreter."""

    folder: Path
    settings: str

    @property
    def database(self) -> Path:
        return self.folder / "db.sqlite3"

    def manage(self, *arguments: str) -> str:
        environment: Mapping[str, str] = BASE_ENVIRONMENT | {
            "DJANGO_SETTINGS_MODULE": self.settings,
            "PYTHONPATH": str(self.folder),
            "HOME": str(self.folder),
        }
        process = subprocess.run(
            [sys.executable, "-W", "ignore", "-m", "django", *arguments],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert process.returncode == 0, process.stdout + process.stderr
        return process.stdout

    def run(self, script: str) -> str:
        """Runs Python in the site, and returns the last line that it prints."""
        return self.manage("shell", "-v", "0", "-c", script).strip().rpartition("\n")[2]

    def add_alice(self) -> None:
        self.run(f"from django.contrib.auth.models import User; User.objects.create_user(password='the-old-password-71', **{ALICE})")

    def link(self) -> Link:
        """Returns a link as the site makes it."""
        return Link(
            *json.loads(
                self.run(
                    "import json; from django.contrib.auth.models import User;"
                    "from django.contrib.auth.tokens import default_token_generator as tokens;"
                    "from django.utils.http import urlsafe_base64_encode as encode;"
                    "user = User.objects.get(username='alice');"
                    "print(json.dumps([encode(str(user.pk).encode()), tokens.make_token(user)]))"
                )
            )
        )

    def signs_in(self, password: str) -> bool:
        return (
            self.run(
                f"from django.contrib.auth import authenticate; print(authenticate(username='alice', password={password!r}))"
            )
            == "alice"
        )

    @property
    def secret_key(self) -> str:
        return self.run("from django.conf import settings; print(settings.SECRET_KEY)")


@pytest.fixture
def wagtail(tmp_path: Path) -> Site:
    folder = tmp_path / "wagtail"
    folder.mkdir()
    subprocess.run(
        [sys.executable, "-m", "wagtail.bin.wagtail", "start", "demo", str(folder)],
        check=True,
        capture_output=True,
        env=BASE_ENVIRONMENT | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    site = Site(folder, "demo.settings.dev")
    site.manage("migrate", "-v", "0")
    site.add_alice()
    return site


@pytest.fixture
def rest(tmp_path: Path) -> Site:
    folder = tmp_path / "rest"
    folder.mkdir()
    (folder / "site_settings_rest.py").write_text(REST_SETTINGS)
    (folder / "site_urls.py").write_text(REST_URLS)
    site = Site(folder, "site_settings_rest")
    site.manage("migrate", "-v", "0")
    site.add_alice()
    return site


def sets_a_password(site: Site, service: Service) -> None:
    assert service.request_reset(email=ALICE["email"]).status == 202
    link = site.link()
    assert service.check_link(link).body["validlink"]
    assert service.set_password(link, NEW, NEW).status == 200
    assert site.signs_in(NEW)


def stays_healthy(site: Site, folder: Path) -> None:
    """The site's own commands work afterwards, and so do those of the service."""
    site.manage("migrate", "-v", "0")
    site.manage("check")
    site.manage("makemigrations", "--check", "--dry-run")
    run_command(site.database, "backup", str(folder / "backup.sqlite3"))
    assert "alice" in run_command(site.database, "users", "list")


def test_a_wagtail_site_works_with_the_service(wagtail: Site, tmp_path: Path) -> None:
    key = {"SECRET_KEY": wagtail.secret_key}
    checked = command(wagtail.database, "check", "--json", **key)
    assert checked.returncode == 0, checked.stdout
    with serving(wagtail.database, tmp_path, **key, **QUICK) as service:
        sets_a_password(wagtail, service)
        wagtail.manage("migrate", "-v", "0")
        assert service.request_reset(email=ALICE["email"]).status == 202
    stays_healthy(wagtail, tmp_path)


def test_a_site_with_dj_rest_auth_and_djoser_accepts_the_links_of_the_service(rest: Site, tmp_path: Path) -> None:
    # Django's default, which this site does not change.
    key = {"SECRET_KEY": rest.secret_key, "TIME_ZONE": "America/Chicago"}
    checked = command(rest.database, "check", "--json", **key)
    assert checked.returncode == 0, checked.stdout
    with serving(rest.database, tmp_path, **key, **QUICK) as service:
        sets_a_password(rest, service)

        # The service's links, at the routes of both packages.
        for path, password in (("dj-rest-auth/password/reset/confirm/", "first"), ("djoser/users/reset_password_confirm/", "second")):
            new = f"battery-staple-92-{password}"
            link = run_command(rest.database, "users", "link", "alice", **key).strip().rstrip("/").split("/")[-2:]
            fields = {"uid": link[0], "token": link[1], "new_password1": new, "new_password2": new, "new_password": new}
            status = rest.run(
                f"from django.test import Client; print(Client().post('/{path}', {fields!r}, content_type='application/json').status_code)"
            )
            assert status in ("200", "204")
            assert rest.signs_in(new)

        # A link that djoser has emailed.
        text = rest.run(
            "import json; from django.test import Client; from django.core import mail;"
            f"Client().post('/djoser/users/reset_password/', {{'email': {ALICE['email']!r}}}, content_type='application/json');"
            "print(json.dumps(mail.outbox[0].body))"
        )
        uid, token = json.loads(text).partition("reset/")[2].split()[0].split("/")[:2]
        assert service.check_link(Link(uid, token)).body["validlink"]
    stays_healthy(rest, tmp_path)
