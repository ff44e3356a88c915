"""An email is sent soon after the clock is right again, no matter what was recorded while it was ahead."""

import time
from pathlib import Path

import pytest

from django_site import add_user
from mail_sink import sinking
from outbox import connected, insert_reset_emails, pending
from processes import wait_until
from service import run_command, serving

HOUR = 3600 * 1000

# The columns that a clock that was ahead leaves, by what happened then. `{ahead}` is a time in the future.
RECORDED = {
    "added": "created_at = {ahead}, due_at = {ahead}",
    "added and attempted": "created_at = {ahead}, due_at = {ahead} + 2000, attempts = 1, last_error = 'unavailable'",
    "attempted": "due_at = {ahead}, attempts = 3, last_error = 'unavailable'",
    "leased by a process that died": "due_at = {ahead}, owner = 'died', attempts = 1",
    "added and leased": "created_at = {ahead}, due_at = {ahead}, owner = 'died', attempts = 1",
    "called too old": "dead_lettered_at = {ahead}, last_error = 'too old to be of use'",
    "retried by the operator": "retried_at = {ahead}, due_at = {ahead}",
}


@pytest.mark.slow
@pytest.mark.parametrize("ahead", [HOUR // 6, 3 * HOUR, 100 * 24 * HOUR], ids=["10 minutes", "3 hours", "100 days"])
@pytest.mark.parametrize("recorded", RECORDED)
def test_an_email_is_sent_after_a_start_with_the_right_clock(recorded: str, ahead: int, database: Path, tmp_path: Path) -> None:
    run_command(database, "migrate")
    insert_reset_emails(database, [add_user("alice", "alice@example.com").pk])
    then = int(time.time() * 1000) + ahead
    with connected(database) as connection:
        connection.execute(f"UPDATE password_reset_outbox SET {RECORDED[recorded].format(ahead=then)}")
    with sinking(tmp_path) as sink:
        settings = {"EMAIL_BACKEND": "smtp", "EMAIL_HOST": "localhost", "EMAIL_PORT": str(sink.port)}
        with serving(database, tmp_path, **settings):
            # A lease ends six seconds after the start.
            wait_until(lambda: sink.arrivals, "the email", seconds=20)
            wait_until(lambda: pending(database) == 0, "the outbox to be empty")
        assert len(sink.arrivals) == 1
