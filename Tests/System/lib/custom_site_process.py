"""What a Django site with its own user model does. `custom_site` runs these functions in a separate process."""

from typing import Any

import django

django.setup()

from django.contrib.auth import authenticate, get_user_model  # noqa: E402
from django.db import connection  # noqa: E402
from django.test import Client  # noqa: E402
from django.utils.module_loading import import_string  # noqa: E402

from django_site import link_for, migrate  # noqa: E402
from service import Link  # noqa: E402


def create_tables() -> str:
    """Creates the site's tables, and returns the name of the user model."""
    migrate(run_syncdb=True)
    # PostgreSQL copies only a database without connections.
    connection.close()
    return get_user_model()._meta.label


def add_user(password: str | None, fields: dict[str, Any]) -> str:
    """Adds a user, and returns the key."""
    user = get_user_model()(**fields)
    user.set_password(password)
    user.save(force_insert=True)
    return str(user.pk)


def change_user(key: str, fields: dict[str, Any]) -> None:
    get_user_model()._default_manager.filter(pk=key).update(**fields)


def columns(key: str) -> dict[str, str]:
    (values,) = get_user_model()._default_manager.filter(pk=key).values()
    return {name: str(value) for name, value in values.items()}


def link(key: str) -> Link:
    return link_for(get_user_model()._default_manager.get(pk=key))


def accepts(link: Link) -> bool:
    """Returns whether the site's page for a new password opens."""
    return Client().get(f"/reset/{link.uid}/{link.token}/").status_code == 302


def reset(link: Link, password: str) -> str:
    """Sets the password on that page, and returns where the site then leads."""
    browser = Client()
    page = browser.get(f"/reset/{link.uid}/{link.token}/")["Location"]
    return browser.post(page, {"new_password1": password, "new_password2": password})["Location"]


def authenticated(name: str, password: str) -> str | None:
    """Returns the key of the user that has the name and the password."""
    user = authenticate(username=name, password=password)
    return user and str(user.pk)


def sign_in(name: str, password: str) -> bool:
    return Client().login(username=name, password=password)


def mailed_to(address: str) -> list[tuple[str, str]]:
    """Returns the `uidb64` and the address of each user to whom the site's form would send a link."""
    form = import_string("accounts.forms.ResetForm")({"email": address})
    assert form.is_valid()
    users = form.get_users(form.cleaned_data["email"])
    return [(link_for(user).uid, getattr(user, user.get_email_field_name())) for user in users]

