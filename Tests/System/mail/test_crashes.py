"""The service may be killed at any moment: each request that got 202 gets an email."""

import http.client
import random
import threading
from collections import Counter
from pathlib import Path

import pytest

from django_site import add_users
from mail_server import MailServer
from outbox import pending
from processes import wait_until
from service import Service, serving

KILLS = 50
# The largest number of requests that are accepted before the next kill is due.
LONGEST_LIFE = 25


class Client(threading.Thread):
    """Sends a request for one user after the other to the running service, and records the accepted ones."""

    service: Service

    def __init__(self, addresses: list[str]) -> None:
        super().__init__(daemon=True)
        self._addresses = addresses
        self._stopped = threading.Event()
        # The ID of each request that was answered with 202.
        self.accepted: list[str] = []

    def run(self) -> None:
        for address in self._addresses:
            while not self._stopped.is_set():
                try:
                    reply = self.service.request_reset(email=address)
                except (OSError, http.client.HTTPException):
                    # The service was killed and is restarting.
                    self._stopped.wait(0.01)
                    continue
                assert reply.status == 202
                self.accepted.append(reply.request_id)
                break

    def stop(self) -> None:
        self._stopped.set()
        self.join()


@pytest.mark.slow
def test_fifty_kills_lose_no_email(database: Path, tmp_path: Path, mail_server: MailServer) -> None:
    settings = {
        "EMAIL_BACKEND": "smtp",
        "EMAIL_HOST": "localhost",
        "EMAIL_PORT": str(mail_server.port),
        "EMAIL_CONNECTIONS": "1",
    }
    client = Client([user.email for user in add_users(KILLS * LONGEST_LIFE * 4)])
    for _ in range(KILLS):
        with serving(database, tmp_path, **settings) as service:
            client.service = service
            if not client.is_alive():
                client.start()
            enough = len(client.accepted) + random.randint(1, LONGEST_LIFE)
            wait_until(lambda: len(client.accepted) >= enough, "some requests to be accepted")
            service.kill()
    with serving(database, tmp_path, **settings) as service:
        client.stop()
        wait_until(lambda: pending(database) == 0, "the outbox to be empty", seconds=60)

    identifiers = [mail.message["Message-ID"] for mail in mail_server.deliveries]
    mails = Counter(identifier.strip("<").split(".")[0] for identifier in identifiers)
    assert set(client.accepted) - set(mails) == set(), "a request was accepted, but its email did not arrive"
    duplicates = len(identifiers) - len(set(identifiers))
    print(f"{KILLS} kills, {len(client.accepted)} requests accepted, {duplicates} emails came twice")
    # Only one email at a time is in progress, so a crash can leave only one in doubt.
    assert duplicates <= KILLS
