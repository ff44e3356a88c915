"""The intended differences from Django: the service is stricter in each."""

from typing import Any

import pytest
from django.contrib.auth.forms import SetPasswordForm
from django.contrib.auth.models import User
from django.contrib.auth.tokens import default_token_generator
from django.utils.http import urlsafe_base64_decode

from django_site import add_user, link_for
from service import FieldError, Link, Service

# JSON has these values, but a form does not. Null is not among them: it counts as missing, which forms can express.
WRONG_TYPES = [0, 1.5, True, False, [], ["alice@example.com"], {}, {"email": "alice@example.com"}]
PASSWORD = "battery-staple-92-new"


@pytest.fixture(scope="module")
def user(module_service: Service) -> User:
    return add_user("alice", "alice@example.com")


@pytest.mark.parametrize("value", WRONG_TYPES, ids=repr)
def test_an_address_must_be_text(value: Any, module_service: Service) -> None:
    reply = module_service.request_reset(email=value)
    assert (reply.status, reply.body["code"]) == (400, "validation_error")
    assert [error.code for error in reply.errors["email"]] == ["invalid"]


@pytest.mark.parametrize("value", WRONG_TYPES, ids=repr)
def test_a_password_must_be_text(value: Any, module_service: Service, user: User) -> None:
    link = link_for(user)
    reply = module_service.set_password(link, PASSWORD, value)
    assert (reply.status, reply.body["code"]) == (400, "validation_error")
    assert {field: [error.code for error in errors] for field, errors in reply.errors.items()} == {
        "new_password2": ["invalid"]
    }
    assert module_service.check_link(link).body["validlink"] is True


def test_null_is_a_missing_field(module_service: Service, user: User) -> None:
    assert module_service.request_reset(email=None).errors == {"email": [FieldError("required", "This field is required.", {})]}
    reply = module_service.set_password(link_for(user), None, None)
    assert set(reply.errors) == {"new_password1", "new_password2"}


def test_a_password_has_a_maximum_length(module_service: Service, user: User) -> None:
    password = "zyxw-717" * 128 + "z"
    assert SetPasswordForm(user, {"new_password1": password, "new_password2": password}).is_valid()
    reply = module_service.set_password(link_for(user), password, password)
    assert [error.code for error in reply.errors["new_password2"]] == ["password_too_long"]


def test_the_link_of_a_deactivated_user_is_invalid(module_service: Service) -> None:
    user = add_user("carol", "carol@example.com")
    link = link_for(user)
    assert module_service.check_link(link).body["validlink"] is True

    User.objects.filter(pk=user.pk).update(is_active=False)

    assert default_token_generator.check_token(user, link.token)
    assert module_service.check_link(link).body["code"] == "invalid_link"
    reply = module_service.set_password(link, PASSWORD, PASSWORD)
    assert (reply.status, reply.body["code"]) == (400, "invalid_link")


@pytest.mark.parametrize("padding", ["=", "==", "!"])
def test_a_user_key_has_one_spelling(padding: str, module_service: Service, user: User) -> None:
    link = link_for(user)
    spelling = link.uid + padding
    assert urlsafe_base64_decode(spelling) == urlsafe_base64_decode(link.uid)
    assert module_service.check_link(Link(spelling, link.token)).body["code"] == "invalid_link"
