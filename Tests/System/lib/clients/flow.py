"""Takes a user through the flow with the Python client of openapi-generator."""

import sys
from datetime import UTC, datetime

from reset_client import (
    ApiClient, ApiException, Configuration, FieldErrorCode, NewPassword, PasswordProblem, RequestProblem, ResetApi, ResetRequest,
)  # fmt: skip

GOOD = "battery-staple-92-new"
api = ResetApi(ApiClient(Configuration(host=sys.argv[1])))

try:
    api.request_password_reset(ResetRequest(email="alice@"))
except ApiException as error:
    assert isinstance(error.data, RequestProblem)
    assert error.data.errors.email[0].code is FieldErrorCode.INVALID
    print("refused:", error.data.code, error.data.errors.email[0].code.value)
print("accepted:", api.request_password_reset(ResetRequest(email="alice@example.com", locale="en")).detail, flush=True)
uid, token = sys.stdin.readline().split()

state = api.check_reset_link(uid, token)
assert state.expires_at > datetime.now(UTC)
print("valid:", len(state.password_rules), "rules")
try:
    api.set_password(uid, token, NewPassword(new_password1="1234", new_password2="1234"))
except ApiException as error:
    assert isinstance(error.data, PasswordProblem) and error.data.validlink
    first = error.data.errors.new_password2[0]
    assert first.code is FieldErrorCode.PASSWORD_TOO_SHORT
    print("refused:", error.data.code, first.code.value, first.params.min_length)
print("set:", api.set_password(uid, token, NewPassword(new_password1=GOOD, new_password2=GOOD)).detail)
try:
    api.set_password(uid, token, NewPassword(new_password1=GOOD, new_password2=GOOD))
except ApiException as error:
    assert isinstance(error.data, PasswordProblem) and error.data.errors is None
    print("refused:", error.data.code)
state = api.check_reset_link(uid, token)
assert not state.validlink
print("used:", state.code.value)
print("cancelled:", api.cancel_reset_links(uid, token).detail)
