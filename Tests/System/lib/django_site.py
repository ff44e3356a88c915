"""The Django site: its database, users and links."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.contrib.auth.models import User
from django.contrib.auth.tokens import PasswordResetTokenGenerator, default_token_generator
from django.core.management import call_command
from django.core.exceptions import ValidationError
from django.db import connection
from django.forms import Form
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_encode

from service import FieldError, Link


@contextmanager
def on_database(path: Path) -> Iterator[None]:
    """Points Django at the database file `path` within the block."""
    connection.close()
    before = connection.settings_dict["NAME"]
    connection.settings_dict["NAME"] = str(path)
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict["NAME"] = before


def migrate(*arguments: str, **options: Any) -> None:
    call_command("migrate", *arguments, verbosity=0, interactive=False, **options)


def add_user(username: str, email: str, **fields: Any) -> User:
    """Adds a user whose password hash is cheap to compute."""
    user = _user(username, email, **fields)
    user.save(force_insert=True)
    return user


def add_users(count: int) -> list[User]:
    """Adds `count` such users at once: user0 with user0@example.com, and so on."""
    users = [_user(f"user{number}", f"user{number}@example.com") for number in range(count)]
    return User.objects.bulk_create(users)


def _user(username: str, email: str, **fields: Any) -> User:
    password = PBKDF2PasswordHasher().encode("the-old-password-71", salt="saltsaltsaltsaltsaltsa", iterations=1)
    return User(username=username, email=email, **({"password": password} | fields))


class LateTokenGenerator(PasswordResetTokenGenerator):
    """Makes tokens as Django made them `age` ago."""

    def __init__(self, age: timedelta) -> None:
        super().__init__()
        self._age = age

    def _now(self) -> datetime:
        return super()._now() - self._age


def link_for(user: User, generator: PasswordResetTokenGenerator = default_token_generator) -> Link:
    """Returns the link that Django would send to `user`."""
    return Link(urlsafe_base64_encode(force_bytes(user.pk)), generator.make_token(user))


def errors_of(form: Form) -> dict[str, list[FieldError]]:
    """Returns the errors of a form by field, without the user's input, which Django includes in the parameters."""

    def params(error: ValidationError) -> dict[str, Any]:
        return {name: str(value) if not isinstance(value, int) else value for name, value in (error.params or {}).items() if name != "value"}

    return {
        field: [FieldError(error.code or "", error.messages[0], params(error)) for error in errors]
        for field, errors in form.errors.as_data().items()
    }
