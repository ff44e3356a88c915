"""Sites with a user model from a package: the settings that the exporter writes are enough for the service."""

import json
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import django
import pytest

from mail_folder import link_in
from paths import ROOT
from processes import wait_until
from service import ADMIN_HOST, BASE_ENVIRONMENT, Link, run_program, serving_in

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("wagtail") is not None, reason="the round with the newest Django tests these packages"),
]

SCRIPT = ROOT / "deploy/django/export_settings.py"
ALICE = "alice@example.com"
OLD, NEW, NEWEST = "the-old-password-71", "battery-staple-92-new", "battery-staple-93-newest"


@dataclass(frozen=True)
class Package:
    """A package with a user model, whose `USERNAME_FIELD` is the address, and what a new project needs in order to use it."""

    requirement: str
    app: str
    model: str
    table: str
    # The arguments of createsuperuser, in addition to the address.
    names: tuple[str, ...] = ()


PACKAGES = [
    Package("django-custom-user>=1.1,<2", "custom_user", "custom_user.EmailUser", "custom_user_emailuser"),
    Package("django-authtools>=2,<3", "authtools", "authtools.User", "authtools_user", ("--name", "Alice")),
]


@dataclass(frozen=True)
class Site:
    """A new Django project, with its own virtual environment."""

    folder: Path

    @property
    def python(self) -> Path:
        return self.folder / "venv/bin/python"

    def run(self, *command: str, code: str = "") -> str:
        script = self.folder / "stdin.py"
        script.write_text(code)
        # Django executes a script only if it is ready to be read at once.
        with script.open() as stdin:
            done = subprocess.run(
                [str(self.python), "-W", "ignore", *command],
                stdin=stdin, cwd=self.folder, capture_output=True, text=True, env=BASE_ENVIRONMENT | {"DJANGO_SUPERUSER_PASSWORD": OLD},
            )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip().rpartition("\n")[2]

    def manage(self, *arguments: str, code: str = "") -> str:
        return self.run("manage.py", *arguments, code=code)

    def accepts(self, link: Link) -> tuple[list[str], bool]:
        """Returns the passwords with which Alice can sign in to the site, and whether the site accepts the link."""
        code = f"""
import json
from django.contrib.auth import authenticate, get_user_model
from django.contrib.auth.tokens import default_token_generator
passwords = [password for password in {[OLD, NEW, NEWEST]!r} if authenticate(username={ALICE!r}, password=password)]
print(json.dumps([passwords, default_token_generator.check_token(get_user_model().objects.get(), {link.token!r})]))
"""
        passwords, is_valid = json.loads(self.manage("shell", code=code))
        return passwords, is_valid

    def link(self) -> Link:
        """Returns the link that Django's form would email."""
        code = f"""
import json
from django.contrib.auth.forms import PasswordResetForm

class Form(PasswordResetForm):
    def send_mail(self, subject_template, email_template, context, *others, **options):
        print(json.dumps([context["uid"], context["token"]]))

form = Form({{"email": {ALICE!r}}})
if form.is_valid():
    form.save(domain_override="example.com")
"""
        return Link(*json.loads(self.manage("shell", code=code)))


def create_site(folder: Path, package: Package) -> Site:
    """Installs the package, starts a project with it, and adds Alice."""
    site = Site(folder)
    venv = folder / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    pip = [sys.executable, "-m", "pip", "--python", str(site.python), "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, package.requirement, f"Django=={django.get_version()}"], check=True)
    site.run("-m", "django", "startproject", "demo", ".")
    with (folder / "demo/settings.py").open("a") as settings:
        settings.write(f"\nINSTALLED_APPS += [{package.app!r}]\nAUTH_USER_MODEL = {package.model!r}\n")
    site.manage("migrate", "-v", "0")
    site.manage("createsuperuser", "--noinput", "--email", ALICE, *package.names)
    return site


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.app)
def test_the_exported_settings_are_enough_for_a_site_with_the_users_of_a_package(package: Package, tmp_path: Path) -> None:
    site = create_site(tmp_path, package)

    site.manage("shell", code=SCRIPT.read_text())

    exported = tmp_path / "password-reset"
    values = json.loads((exported / "password-reset.json").read_text())
    assert (values["USERS_TABLE"], values["USERS_COLUMNS"]["username"]) == (package.table, "email")
    mails = tmp_path / "mails"
    mails.mkdir()
    environment = BASE_ENVIRONMENT | {
        "PASSWORD_RESET_CONFIG": str(exported / "password-reset.json"),
        "RESET_URL": "https://frontend.example.com/reset/{uid}/{token}/",
        "SITE_NAME": "Example",
        "EMAIL_BACKEND": "file",
        "EMAIL_FILE_PATH": str(mails),
        "HTTP_PORT": "0",
        "ADMIN_HOST": ADMIN_HOST,
        "ADMIN_PORT": "0",
    }
    checked = run_program(environment, "check", "--vectors", str(exported / "vectors.json"))
    assert checked.returncode == 0, checked.stdout + checked.stderr

    with serving_in(environment, tmp_path) as service:
        assert service.request_reset(email=ALICE).status == 202
        link = wait_until(lambda: link_in(mails), "the email with the link")
        assert site.accepts(link) == ([OLD], True)
        assert service.set_password(link, NEW, NEW).status == 200
        assert site.accepts(link) == ([NEW], False)
        assert not service.check_link(link).body["validlink"]
        assert service.set_password(link, NEWEST, NEWEST).body["code"] == "invalid_link"

        link = site.link()
        assert service.set_password(link, NEWEST, NEWEST).status == 200
        assert site.accepts(link) == ([NEWEST], False)
