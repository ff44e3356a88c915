"""The users tables of Django and of custom user models. Django creates each in a separate project."""

import os
import subprocess
import sys

from paths import LIB
from postgres import Database
from service import BASE_ENVIRONMENT
from users_tables import ALICE, BOB, Place, UsersTable

ABSTRACT = """
import uuid
from django.contrib.auth.models import AbstractUser, BaseUserManager
from django.db import models


class Manager(BaseUserManager):
    def create_user(self, email, password):
        user = self.model(email=email)
        user.set_password(password)
        user.save()
"""
BY_EMAIL = ABSTRACT + """
class User(AbstractUser):
    username = None
    email = models.EmailField(unique=True)
    USERNAME_FIELD = "email"
    REQUIRED_FIELDS = []
    objects = Manager()
"""
BY_UUID = ABSTRACT + """
class User(AbstractUser):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
"""
# As cookiecutter-django generates the model in 2025.
COOKIECUTTER = ABSTRACT + """
class User(AbstractUser):
    name = models.CharField("Name of User", blank=True, max_length=255)
    first_name = None
    last_name = None
"""
COOKIECUTTER_BY_EMAIL = COOKIECUTTER + """
    email = models.EmailField("email address", unique=True)
    username = None
    USERNAME_FIELD = "email"
    REQUIRED_FIELDS = []
    objects = Manager()
"""
USER = "from django.contrib.auth import authenticate, get_user_model as m; from django.contrib.auth.tokens import default_token_generator as t\n"


def django(place: Place, password: str, app: str, models: str, settings: str = "") -> UsersTable:
    """A Django site, whose user model is Django's own unless `models` has another one."""
    database = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(place.database)}
    if isinstance(place.database, Database):
        cluster = place.database.cluster
        database = {"NAME": place.database.name, "USER": "postgres", "HOST": str(cluster.folder), "PORT": str(cluster.port)}
        database["ENGINE"] = "django.db.backends.postgresql"
    (place.folder / app / "migrations").mkdir(parents=True)
    for package in (app, f"{app}/migrations"):
        (place.folder / package / "__init__.py").touch()
    (place.folder / app / "models.py").write_text(models)
    custom = f"INSTALLED_APPS += [{app!r}]; AUTH_USER_MODEL = '{app}.User'\nDEFAULT_AUTO_FIELD = 'django.db.models.BigAutoField'\n" if models else ""
    lines = f"from site_settings import *\nDATABASES = {{'default': {database}}}\n{custom}{settings}\n"
    (place.folder / "guide_settings.py").write_text(lines)
    paths = {"PYTHONPATH": os.pathsep.join([str(place.folder), str(LIB)]), "DJANGO_SETTINGS_MODULE": "guide_settings"}

    def run(*arguments: str) -> str:
        command = [sys.executable, "-W", "ignore", "-m", "django", *arguments, "-v", "0"]
        done = subprocess.run(command, capture_output=True, text=True, env=BASE_ENVIRONMENT | paths, cwd=place.folder, stdin=subprocess.DEVNULL)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    if models:
        run("makemigrations", app)
    run("migrate")
    named = "" if "username = None" in models else "username=email.split('@')[0], "
    run("shell", "-c", f"{USER}for email in {[ALICE, BOB]}: m().objects.create_user({named}email=email, password={password!r})")
    login = "alice" if named else ALICE
    return UsersTable(
        lambda password: run("shell", "-c", f"{USER}print(authenticate(username={login!r}, password={password!r}) is not None)") == "True",
        lambda link: run("shell", "-c", f"{USER}print(t.check_token(m().objects.get(email={ALICE!r}), {link.token!r}))") == "True",
        "is_active = false",
    )  # fmt: skip
