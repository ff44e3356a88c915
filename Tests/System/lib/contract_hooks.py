"""Hooks for schemathesis, which cannot invent valid links and good passwords from openapi.yaml alone."""

import itertools
import os
from typing import Any

import django
from django.db import connections

os.environ["DJANGO_SETTINGS_MODULE"] = "site_settings"
django.setup()
connections.settings["default"]["NAME"] = os.environ["CONTRACT_DATABASE"]

# These imports need Django's models, so they follow `django.setup()`.
from django.contrib.auth.models import User  # noqa: E402
from django.contrib.auth.tokens import default_token_generator  # noqa: E402
from schemathesis import Case, HookContext, Response, hook  # noqa: E402
from schemathesis.core.failures import Failure  # noqa: E402
from schemathesis.openapi.checks import RejectedPositiveData  # noqa: E402

from django_site import link_for  # noqa: E402

LINK = "/password-reset/{uidb64}/{token}"
# At most a thousand characters followed by this text are a good password.
GOOD_END = " battery-staple-92"
turns = itertools.cycle([True, False])


@hook.apply_to(path=LINK)
def before_call(context: HookContext, case: Case, kwargs: dict[str, Any]) -> None:
    """Makes every other link valid, and every link whose body fits. Puts a good password into every other such body."""
    is_lucky = next(turns)
    must_fit = case.method == "POST" and case.meta is not None and case.meta.generation.mode.is_positive
    user = User.objects.get()
    link, sent = link_for(user), case.path_parameters
    # Keep a link that a check has just found valid, so that it is used.
    is_valid = sent["uidb64"] == link.uid and default_token_generator.check_token(user, sent["token"])
    if (is_lucky or must_fit) and not is_valid:
        case.path_parameters = {"uidb64": link.uid, "token": link.token}
    if is_lucky and must_fit:
        good = case.body["new_password1"][:1000] + GOOD_END
        # Copy the body, because other cases may share it.
        case.body = case.body | {"new_password1": good, "new_password2": good}


@hook.apply_to(path=LINK, method="POST")
def filter_failure(context: HookContext, failure: Failure, case: Case, response: Response) -> bool:
    """Ignores refusals of other passwords: a schema cannot express that two passwords are equal, or that one is too common."""
    # With `check_only`, the second password may be missing, and the first one has the errors.
    field = "new_password2" if case.body.get("new_password2") else "new_password1"
    if not isinstance(failure, RejectedPositiveData) or case.body[field].endswith(GOOD_END):
        return True
    errors = response.json().get("errors", {})
    return set(errors) != {field} or not all(error["code"].startswith("password_") for error in errors[field])
