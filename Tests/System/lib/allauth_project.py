"""A Django site with django-allauth. It runs as a process because one process can have only one set of models.

It reads the name of a function and its arguments as one line of JSON, and writes what the function returns as another.
"""

import json
import os
import sys
from typing import Any

import django
from django.conf import settings

settings.configure(
    SECRET_KEY=os.environ["SECRET_KEY"],
    DATABASES={"default": json.loads(os.environ["DATABASE"])},
    INSTALLED_APPS=[
        "django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions", "django.contrib.messages", "allauth", "allauth.account",
        "allauth.headless", *([] if os.environ["USER_MODEL"] == "auth.User" else ["allauth_users"]),
    ],
    AUTH_USER_MODEL=os.environ["USER_MODEL"],
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware", "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware", "allauth.account.middleware.AccountMiddleware",
    ],
    TEMPLATES=[{
        "BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True,
        "OPTIONS": {"context_processors": ["django.template.context_processors.request", "django.contrib.messages.context_processors.messages"]},
    }],
    AUTHENTICATION_BACKENDS=["django.contrib.auth.backends.ModelBackend", "allauth.account.auth_backends.AuthenticationBackend"],
    # The site's own hasher would take a second for each password.
    PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher", "django.contrib.auth.hashers.PBKDF2PasswordHasher"],
    ROOT_URLCONF=__name__,
    ALLOWED_HOSTS=["*"],
    EMAIL_BACKEND="django.core.mail.backends.locmem.EmailBackend",
    USE_TZ=True,
    PASSWORD_RESET_TIMEOUT=3600,
    ACCOUNT_RATE_LIMITS=False,
    # Two users may have verified the same address.
    ACCOUNT_UNIQUE_EMAIL=False,
    **({} if os.environ["USER_MODEL"] != "allauth_users.Member" else {
        "ACCOUNT_USER_MODEL_USERNAME_FIELD": None, "ACCOUNT_USER_MODEL_EMAIL_FIELD": "mail", "ACCOUNT_LOGIN_METHODS": {"email"},
        "ACCOUNT_SIGNUP_FIELDS": ["email*", "password1*"],
    }),
)  # fmt: skip
django.setup()

from allauth.account.forms import default_token_generator  # noqa: E402
from allauth.account.models import EmailAddress  # noqa: E402
from allauth.account.utils import user_pk_to_url_str  # noqa: E402
from django.contrib.auth import authenticate, get_user_model  # noqa: E402
from django.contrib.auth.hashers import PBKDF2PasswordHasher, make_password  # noqa: E402
from django.core import mail  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.test import Client  # noqa: E402
from django.urls import include, path  # noqa: E402

User = get_user_model()
urlpatterns = [path("accounts/", include("allauth.urls")), path("_allauth/", include("allauth.headless.urls"))]


def migrate() -> None:
    call_command("migrate", verbosity=0, interactive=False, run_syncdb=True)


def add_user(username: str, email: str, fields: dict[str, Any] | None = None) -> str:
    """Adds a user, and returns the key."""
    password = PBKDF2PasswordHasher().encode("the-old-password-71", salt="saltsaltsaltsaltsaltsa", iterations=1)
    names = {User.USERNAME_FIELD: username} | {User.EMAIL_FIELD: email}
    return str(User.objects.create(**(names | {"password": password} | (fields or {}))).pk)


def find(username: str) -> Any:
    return User.objects.get_by_natural_key(username)


def make_password_unusable(username: str) -> None:
    User.objects.filter(pk=find(username).pk).update(password=make_password(None))


def add_address(username: str, email: str, verified: bool) -> None:
    EmailAddress.objects.create(user=find(username), email=email, verified=verified)


def set_verified(email: str, verified: bool) -> None:
    EmailAddress.objects.filter(email=email).update(verified=verified)


def remove_address(email: str) -> None:
    EmailAddress.objects.filter(email=email).delete()


def addresses(username: str) -> list[str]:
    return sorted(EmailAddress.objects.filter(user=find(username)).values_list("email", flat=True))


def link_for(username: str) -> list[str]:
    """Returns the two parts of the link that allauth would send."""
    user = find(username)
    return [user_pk_to_url_str(user), default_token_generator.make_token(user)]


def request_reset(email: str) -> list[list[str]]:
    """Asks allauth's page for an email. Returns the recipient and the text of each email."""
    mail.outbox = []
    assert Client().post("/accounts/password/reset/", {"email": email}).status_code == 302
    return [[message.to[0], str(message.body)] for message in mail.outbox]


def accepts(uid: str, token: str) -> bool:
    """Opens a link like a browser. allauth leads to a page without the token if it accepts the link."""
    return bool(Client().get(f"/accounts/password/reset/key/{uid}-{token}/", follow=True).redirect_chain)


def set_password(uid: str, token: str, password: str) -> bool:
    """Opens a link, and sets a password on the page that it leads to."""
    client = Client()
    opened = client.get(f"/accounts/password/reset/key/{uid}-{token}/", follow=True)
    if not opened.redirect_chain:
        return False
    done = client.post(opened.redirect_chain[-1][0], {"password1": password, "password2": password})
    return done.status_code == 302


def accepts_headless(uid: str, token: str) -> bool:
    """Checks a link with the interface for frontends."""
    response = Client().get("/_allauth/browser/v1/auth/password/reset", headers={"X-Password-Reset-Key": f"{uid}-{token}"})
    return response.status_code == 200


def can_sign_in(username: str, password: str) -> bool:
    return authenticate(username=username, password=password) is not None


if __name__ == "__main__":
    # A module's functions must not be found twice.
    sys.modules["allauth_project"] = sys.modules["__main__"]
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        print(json.dumps(globals()[name](*arguments)), flush=True)
