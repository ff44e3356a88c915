"""The service behind PgBouncer, which may keep a connection for each client, or share connections between transactions."""

import json
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import psycopg
import pytest

from django_site import add_user
from mail_folder import link_in
from postgres import ORDINARY, PASSWORD, ROLE, Database
from processes import free_port, running, wait_until
from service import Service, command, run_command, serving

NEW = "battery-staple-92-new"
# A notification arrives at once; without one, the worker would find a job at its next poll.
LONGEST_NOTIFICATION = 0.4
REMEDY = "pool_mode = session"


@dataclass
class Pooler:
    folder: Path
    database: Database
    port: int
    process: Any = None

    def configure(self, mode: str, **settings: str | int) -> None:
        """Writes the configuration; a pooler that is running reads it again."""
        lines = [
            "[databases]", f"{self.database.name} = host=127.0.0.1 port={self.database.cluster.port}", "[pgbouncer]", "listen_addr = 127.0.0.1",
            f"listen_port = {self.port}", "unix_socket_dir =", "auth_type = scram-sha-256", f"auth_file = {self.folder}/users", f"pool_mode = {mode}",
            *(f"{name} = {value}" for name, value in settings.items()),
        ]  # fmt: skip
        (self.folder / "pgbouncer.ini").write_text("\n".join(lines) + "\n")
        if self.process:
            self.process.send_signal(signal.SIGHUP)

    def url(self, user: str = ROLE) -> str:
        return self.database.url_for(user, self.port)

    def is_ready(self) -> bool:
        try:
            psycopg.connect(self.url(), password=PASSWORD, connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True


@contextmanager
def pooling(database: Database, mode: str, **settings: str | int) -> Iterator[Pooler]:
    path = shutil.which("pgbouncer", path=os.environ["PATH"] + ":/usr/sbin")
    if not path:
        pytest.fail("pgbouncer is missing; on Debian: apt-get install pgbouncer")
    # It refuses to run as root. When it reads its configuration again, it is another user already.
    user = ["-u", "nobody"] if os.getuid() == 0 else []
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="prpb-") as name:
        folder = Path(name)
        if user:
            os.chown(folder, ORDINARY, ORDINARY)
        (folder / "users").write_text(f'"{ROLE}" "{PASSWORD}"\n')
        pooler = Pooler(folder, database, free_port())
        pooler.configure(mode, **settings)
        with running([path, *user, str(folder / "pgbouncer.ini")], {}, folder / "output") as process:
            pooler.process = process
            wait_until(pooler.is_ready, "PgBouncer to answer")
            yield pooler


def findings(folder: Path, **settings: str) -> dict[str, str]:
    found = json.loads(command(folder, "check", "--json", **settings).stdout)
    return {finding["id"].rpartition(".")[2]: finding["message"] + finding.get("hint", "") for finding in found}


def reset(service: Service, mails: Path) -> list[int]:
    """Requests an email, sets the password with its link twice, and returns the statuses."""
    statuses = [service.request_reset(email="alice@example.com").status]
    link = wait_until(lambda: link_in(mails), "the email")
    statuses += [service.check_link(link).status for _ in range(8)]
    return statuses + [service.set_password(link, NEW, NEW).status for _ in range(2)]


def test_with_a_connection_for_each_client_everything_works(postgres: Database, tmp_path: Path) -> None:
    user = add_user("alice", "alice@example.com")
    with pooling(postgres, "session") as pooler:
        settings = postgres.settings(pooler.port)
        assert not {"E030", "E032"} & set(findings(tmp_path, **settings))
        for number in range(2):
            mails = tmp_path / f"mails{number}"
            with serving(tmp_path, tmp_path, EMAIL_BACKEND="file", EMAIL_FILE_PATH=str(mails), **settings) as service:
                assert reset(service, mails) == [202] + [200] * 9 + [400]
                # An instance without a worker notifies the other one.
                folder = tmp_path / f"other{number}"
                folder.mkdir()
                with serving(folder, folder, "--no-worker", **settings) as other:
                    waits = []
                    for _ in range(9):
                        start = time.monotonic()
                        assert other.request_reset(email="stranger@example.com").status == 202
                        wait_until(lambda: postgres.pending == 0, "the job to be done")
                        waits.append(time.monotonic() - start)
                    assert median(waits) < LONGEST_NOTIFICATION
                assert service.request_reset(email="stranger@example.com").status == 202
                service.kill()
        with serving(tmp_path, tmp_path, **settings):
            wait_until(lambda: postgres.pending == 0, "the next process to do the job")
        user.refresh_from_db()
        assert user.check_password(NEW)
        assert postgres.audited("reset") == 2


@pytest.mark.parametrize("mode", ["transaction", "statement"])
@pytest.mark.parametrize("round_robin", [0, 1])
def test_shared_connections_are_refused_with_the_remedy(mode: str, round_robin: int, postgres: Database, tmp_path: Path) -> None:
    with pooling(postgres, mode, server_round_robin=round_robin) as pooler:
        settings = postgres.settings(pooler.port)
        for _ in range(3):
            assert REMEDY in findings(tmp_path, **settings)["E032"]
        for arguments in (["serve"], ["worker"], ["users", "list"]):
            done = command(tmp_path, *arguments, **settings)
            assert (done.returncode, REMEDY in done.stderr) == (78, True), done.stderr
        # Other clients of the pool get connections whose settings are unchanged.
        with psycopg.connect(pooler.url(), password=PASSWORD, autocommit=True, prepare_threshold=None) as client:
            assert client.execute("SELECT current_setting('enable_seqscan'), current_setting('statement_timeout')").fetchone() == ("on", "0")


def test_shared_connections_are_found_while_other_clients_are_busy(postgres: Database, tmp_path: Path) -> None:
    with pooling(postgres, "transaction") as pooler:
        settings = postgres.settings(pooler.port)
        busy = [psycopg.connect(pooler.url(), password=PASSWORD, prepare_threshold=None) for _ in range(5)]
        for client in busy:
            client.execute("SELECT 1")
        assert REMEDY in findings(tmp_path, **settings)["E032"]
        for client in busy:
            client.close()


def test_a_pool_without_a_connection_left_is_not_taken_for_a_shared_one(postgres: Database, tmp_path: Path) -> None:
    with pooling(postgres, "session", default_pool_size=1) as pooler:
        assert "E032" not in findings(tmp_path, **postgres.settings(pooler.port))


def test_a_pooler_that_begins_to_share_is_named_in_the_log(postgres: Database, tmp_path: Path) -> None:
    add_user("alice", "alice@example.com")
    mails = tmp_path / "mails"
    with pooling(postgres, "session") as pooler:
        settings = postgres.settings(pooler.port) | {"EMAIL_BACKEND": "file", "EMAIL_FILE_PATH": str(mails)}
        with serving(tmp_path, tmp_path, **settings) as service:
            assert reset(service, mails) == [202] + [200] * 9 + [400]
            pooler.configure("transaction")
            # As after a restart of the server, the service connects again.
            postgres.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{ROLE}'")
            wait_until(lambda: service.request_reset(email="alice@example.com").status == 503, "requests to be refused")
            wait_until(lambda: REMEDY in service.log.read_text(), "the remedy in the log")
            pooler.configure("session")
            wait_until(lambda: service.request_reset(email="alice@example.com").status == 202, "requests to be accepted again")


def test_what_pgbouncer_refuses_is_explained(postgres: Database, tmp_path: Path) -> None:
    run_command(tmp_path, "migrate", DATABASE_URL=postgres.socket_url)
    with pooling(postgres, "session") as pooler:
        for url, remedy in (
            (f"{pooler.url()}?options=-csearch_path%3Dpublic", "Remove it from DATABASE_URL"),
            (pooler.url("missing_role"), "password"),
            (pooler.url().replace(postgres.name, "missing"), "PgBouncer's configuration"),
        ):
            done = command(tmp_path, "serve", DATABASE_URL=url, DATABASE_PASSWORD=PASSWORD)
            assert (done.returncode, remedy in done.stderr) == (78, True), done.stderr
