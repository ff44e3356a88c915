"""A Django site with the packages whose tokens a reset can end. It runs as `allauth_project.py` does."""

import json
import os
import sys
from datetime import timedelta
from typing import Any

import django
from django.conf import settings

settings.configure(
    SECRET_KEY=os.environ["SECRET_KEY"],
    DATABASES={"default": json.loads(os.environ["DATABASE"])},
    INSTALLED_APPS=[
        "django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions", "django.contrib.messages", "rest_framework",
        "rest_framework.authtoken", "rest_framework_simplejwt", "rest_framework_simplejwt.token_blacklist", "knox", "oauth2_provider", "allauth",
        "allauth.account", "allauth.usersessions",
    ],
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware", "django.contrib.auth.middleware.AuthenticationMiddleware",
        "allauth.account.middleware.AccountMiddleware", "allauth.usersessions.middleware.UserSessionsMiddleware",
    ],
    # The site's own hasher would take a second for each password.
    PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher", "django.contrib.auth.hashers.PBKDF2PasswordHasher"],
    ROOT_URLCONF=__name__,
    ALLOWED_HOSTS=["*"],
    USE_TZ=True,
    PASSWORD_RESET_TIMEOUT=3600,
    USERSESSIONS_TRACK_ACTIVITY=True,
    OAUTH2_PROVIDER={"SCOPES": {"read": "Read"}, "PKCE_REQUIRED": False},
)  # fmt: skip
django.setup()

from django.contrib.auth.hashers import PBKDF2PasswordHasher  # noqa: E402
from django.contrib.auth.models import User  # noqa: E402
from django.contrib.auth.tokens import default_token_generator  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import connection  # noqa: E402
from django.test import Client  # noqa: E402
from django.urls import include, path  # noqa: E402
from django.utils import timezone  # noqa: E402
from django.utils.encoding import force_bytes  # noqa: E402
from django.utils.http import urlsafe_base64_encode  # noqa: E402
from knox.auth import TokenAuthentication as KnoxAuthentication  # noqa: E402
from knox.models import AuthToken  # noqa: E402
from oauth2_provider.contrib.rest_framework import OAuth2Authentication  # noqa: E402
from oauth2_provider.models import AccessToken, Application, Grant, IDToken, RefreshToken  # noqa: E402
from rest_framework.authentication import SessionAuthentication, TokenAuthentication  # noqa: E402
from rest_framework.authtoken.models import Token  # noqa: E402
from rest_framework.permissions import IsAuthenticated  # noqa: E402
from rest_framework.request import Request  # noqa: E402
from rest_framework.response import Response  # noqa: E402
from rest_framework.views import APIView  # noqa: E402
from rest_framework_simplejwt.tokens import RefreshToken as JWTRefreshToken  # noqa: E402
from rest_framework_simplejwt.views import TokenRefreshView  # noqa: E402


class WhoAmI(APIView):
    permission_classes = (IsAuthenticated,)

    def get(self, request: Request) -> Response:
        return Response({"username": request.user.get_username()})


def _view(authentication: type) -> Any:
    return WhoAmI.as_view(authentication_classes=(authentication,))


urlpatterns = [
    path("drf_tokens/", _view(TokenAuthentication)),
    path("knox/", _view(KnoxAuthentication)),
    path("oauth2_provider/", _view(OAuth2Authentication)),
    path("allauth_sessions/", _view(SessionAuthentication)),
    path("simplejwt/", TokenRefreshView.as_view()),
    path("o/", include("oauth2_provider.urls")),
    path("accounts/", include("allauth.urls")),
]
HEADERS = {"drf_tokens": "Token", "knox": "Token", "oauth2_provider": "Bearer"}
TABLES = [
    "authtoken_token", "knox_authtoken", "oauth2_provider_accesstoken", "oauth2_provider_refreshtoken", "oauth2_provider_idtoken",
    "oauth2_provider_grant", "oauth2_provider_devicegrant", "usersessions_usersession",
]  # fmt: skip


def migrate() -> None:
    call_command("migrate", verbosity=0, interactive=False)


def add_user(username: str, email: str) -> str:
    password = PBKDF2PasswordHasher().encode("the-old-password-71", salt="saltsaltsaltsaltsaltsa", iterations=1)
    return str(User.objects.create(username=username, email=email, password=password).pk)


def link_for(username: str) -> list[str]:
    user = User.objects.get(username=username)
    return [urlsafe_base64_encode(force_bytes(user.pk)), default_token_generator.make_token(user)]


def can_sign_in(username: str, password: str) -> bool:
    return User.objects.get(username=username).check_password(password)


def sign_in(username: str) -> dict[str, str]:
    """Gives the user a token of each package, and returns them by the preset's name."""
    user = User.objects.get(username=username)
    refresh = JWTRefreshToken.for_user(user)
    # A token that was blacklisted before.
    JWTRefreshToken.for_user(user).blacklist()
    browser = Client()
    browser.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    browser.get("/allauth_sessions/")
    access, refresh_token = _oauth_tokens(user)
    return {
        "drf_tokens": Token.objects.create(user=user).key, "simplejwt": str(refresh), "knox": AuthToken.objects.create(user)[1],
        "oauth2_provider": access, "oauth2_refresh": refresh_token, "allauth_sessions": str(browser.session.session_key),
    }  # fmt: skip


def _oauth_tokens(user: User) -> tuple[str, str]:
    """Adds a row to each table of django-oauth-toolkit, among them an access token that came from a refresh token."""
    application, _ = Application.objects.get_or_create(
        name="app", client_type="public", authorization_grant_type="authorization-code", redirect_uris="https://app.example.com/"
    )
    common = {"user": user, "application": application, "expires": timezone.now() + timedelta(hours=1), "scope": "read"}
    first = AccessToken.objects.create(token=f"first-{user.pk}", id_token=IDToken.objects.create(**common), **common)
    old = RefreshToken.objects.create(user=user, application=application, token=f"old-{user.pk}", access_token=first, revoked=timezone.now())
    access = AccessToken.objects.create(token=f"access-{user.pk}", source_refresh_token=old, **common)
    refresh = RefreshToken.objects.create(user=user, application=application, token=f"refresh-{user.pk}", access_token=access)
    Grant.objects.create(code=f"code-{user.pk}", redirect_uri="https://app.example.com/", **common)
    return access.token, refresh.token


def accepted(tokens: dict[str, str]) -> list[str]:
    """Returns the names of those tokens that the site accepts."""
    return sorted(name for name, token in tokens.items() if _accepts(name, token))


def _accepts(name: str, token: str) -> bool:
    browser = Client()
    if name == "simplejwt":
        return browser.post("/simplejwt/", {"refresh": token}).status_code == 200
    if name == "oauth2_refresh":
        client_id = Application.objects.get().client_id
        # The check alone: to use the token would replace it.
        return bool(RefreshToken.objects.filter(token=token, revoked__isnull=True, application__client_id=client_id))
    if name == "allauth_sessions":
        browser.cookies[settings.SESSION_COOKIE_NAME] = token
        return browser.get("/allauth_sessions/").status_code == 200
    return browser.get(f"/{name}/", headers={"Authorization": f"{HEADERS[name]} {token}"}).status_code == 200


def exchange(token: str) -> int:
    """Exchanges a refresh token of django-oauth-toolkit, and returns the status."""
    body = {"grant_type": "refresh_token", "refresh_token": token, "client_id": Application.objects.get().client_id}
    return Client().post("/o/token/", body).status_code


def rows(username: str) -> dict[str, int]:
    """Returns how many rows each table has for the user."""
    key = User.objects.get(username=username).pk
    with connection.cursor() as cursor:
        counts = {}
        for table in TABLES:
            cursor.execute(f"SELECT count(*) FROM {table} WHERE user_id = %s", [key])
            counts[table] = cursor.fetchone()[0]
        cursor.execute("SELECT count(*) FROM django_session")
        counts["django_session"] = cursor.fetchone()[0]
    return counts


if __name__ == "__main__":
    # A module's functions must not be found twice.
    sys.modules["token_project"] = sys.modules["__main__"]
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        print(json.dumps(globals()[name](*arguments)), flush=True)
