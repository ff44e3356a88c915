"""A PostgreSQL server for the tests, in a temporary folder, on a Unix socket and a loopback port."""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
from django.db import connections

from django_site import migrate
from processes import free_port, wait_until
from service import run_command

# The number of a user and a group that own nothing. PostgreSQL refuses to run as root.
ORDINARY = 65534
ROLE, OPERATOR, PASSWORD = "password_reset", "operator", "correct-horse-71-role"
_numbers = count(1)


def _binaries() -> Path:
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: float(folder.parent.name))
    found = shutil.which("initdb")
    assert folders or found, "PostgreSQL is not installed; `make test` installs Debian's package postgresql"
    return folders[-1] if folders else Path(str(found)).parent


@dataclass
class Cluster:
    folder: Path
    port: int = field(default_factory=free_port)

    def _run(self, program: str, *arguments: str) -> None:
        identity: dict[str, Any] = {"user": ORDINARY, "group": ORDINARY} if os.getuid() == 0 else {}
        # The server must not keep a pipe of the tests open.
        with (self.folder / "output").open("ab") as output:
            done = subprocess.run(
                [str(_binaries() / program), *arguments], stdin=subprocess.DEVNULL, stdout=output, stderr=output, timeout=120, cwd=self.folder, **identity
            )
        assert done.returncode == 0, (self.folder / "output").read_text()

    def create(self) -> None:
        if os.getuid() == 0:
            os.chown(self.folder, ORDINARY, ORDINARY)
        self._run("initdb", "--pgdata=data", "--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync")
        settings = [
            "listen_addresses = '127.0.0.1'", f"port = {self.port}", f"unix_socket_directories = '{self.folder}'", "shared_buffers = 32MB",
            "max_connections = 200",
        ]  # fmt: skip
        with (self.folder / "data/postgresql.conf").open("a") as file:
            file.write("\n".join(settings) + "\n")
        # Passwords are checked only for connections over the network.
        hba = ["local all all trust", "local replication all trust", "host all postgres 127.0.0.1/32 trust", "host all all 127.0.0.1/32 scram-sha-256"]
        (self.folder / "data/pg_hba.conf").write_text("\n".join(hba) + "\n")

    def start(self) -> None:
        self._run("pg_ctl", "start", "--pgdata=data", "--log=log", "--wait")

    def add_roles(self) -> None:
        """Adds the roles of the service and of its commands, which have no privileges yet."""
        for role in (ROLE, OPERATOR):
            Database(self, "postgres").execute(f"CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'")

    def stop(self, mode: str = "fast") -> None:
        self._run("pg_ctl", "stop", "--pgdata=data", f"--mode={mode}", "--wait")

    def promote(self) -> None:
        """Makes a standby accept writes."""
        self._run("pg_ctl", "promote", "--pgdata=data", "--wait")

    def create_standby_of(self, primary: "Cluster") -> None:
        """Copies the primary, and makes its commits wait until the copy has them."""
        if os.getuid() == 0:
            os.chown(self.folder, ORDINARY, ORDINARY)
        source = f"host={primary.folder} port={primary.port} user=postgres"
        self._run("pg_basebackup", "--pgdata=data", f"--dbname={source}", "--write-recovery-conf", "--checkpoint=fast", "--no-sync")
        with (self.folder / "data/postgresql.conf").open("a") as file:
            file.write(f"port = {self.port}\nunix_socket_directories = '{self.folder}'\n")
        self.start()
        administration = Database(primary, "postgres")
        administration.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
        administration.execute("SELECT pg_reload_conf()")
        state = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'"
        wait_until(lambda: administration.value(state) == 1, "the standby to be in step with the primary")

    def new_database(self, template: str = "template1") -> "Database":
        name = f"test{next(_numbers)}"
        Database(self, "postgres").execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return Database(self, name)


@dataclass(frozen=True)
class Database:
    cluster: Cluster
    name: str

    @property
    def url(self) -> str:
        return self.url_for("postgres", self.cluster.port)

    def url_for(self, user: str, port: int) -> str:
        return f"postgresql://{user}@127.0.0.1:{port}/{self.name}"

    @property
    def socket_url(self) -> str:
        return f"postgresql:///{self.name}?host={quote(str(self.cluster.folder), safe='')}&port={self.cluster.port}&user=postgres"

    def settings(self, port: int | None = None, **users: str) -> dict[str, str]:
        """Returns the settings of a service whose role has only the privileges that the service needs.

        `users` are the settings for the users table.
        """
        owner = {"DATABASE_URL": self.socket_url} | users
        run_command(self.cluster.folder, "migrate", **owner)
        self.execute(run_command(self.cluster.folder, "grants", "--role", ROLE, **users))
        return {"DATABASE_URL": self.url_for(ROLE, port or self.cluster.port), "DATABASE_PASSWORD": PASSWORD}

    def operator_settings(self, **users: str) -> dict[str, str]:
        """Returns the settings of a command whose role also has the privileges for commands that change users."""
        grants = run_command(self.cluster.folder, "grants", "--role", OPERATOR, **users).replace("-- GRANT", "GRANT")
        for statement in grants.splitlines():
            sequence = re.search("ON SEQUENCE (.*) TO", statement)
            if not sequence or self.value(f"SELECT to_regclass('{sequence[1]}') IS NOT NULL"):
                self.execute(statement)
        return {"DATABASE_URL": self.url_for(OPERATOR, self.cluster.port), "DATABASE_PASSWORD": PASSWORD}

    def connect(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self.socket_url, autocommit=True)

    def execute(self, statement: str) -> list[tuple[Any, ...]]:
        with self.connect() as connection:
            cursor = connection.execute(statement)  # type: ignore[arg-type]
            return cursor.fetchall() if cursor.description else []

    def value(self, statement: str) -> Any:
        return self.execute(statement)[0][0]

    @property
    def pending(self) -> int:
        return int(self.value("SELECT count(*) FROM password_reset.outbox WHERE dead_lettered_at IS NULL"))

    def audited(self, event: str) -> int:
        return int(self.value(f"SELECT count(*) FROM password_reset.audit WHERE event = '{event}'"))


@contextmanager
def _folder() -> Iterator[Cluster]:
    """Returns a new cluster, which is stopped and removed after the block."""
    # The path of a Unix socket has at most 107 characters.
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="prpg-", ignore_cleanup_errors=True) as folder:
        cluster = Cluster(Path(folder))
        try:
            yield cluster
        finally:
            if (cluster.folder / "data/postmaster.pid").exists():
                cluster.stop("immediate")


@contextmanager
def running_cluster() -> Iterator[Cluster]:
    """Runs a server within the block."""
    with _folder() as cluster:
        cluster.create()
        cluster.start()
        cluster.add_roles()
        yield cluster


@contextmanager
def running_standby(primary: Cluster) -> Iterator[Cluster]:
    """Runs a synchronous standby of a server within the block."""
    with _folder() as cluster:
        cluster.create_standby_of(primary)
        yield cluster


@contextmanager
def django_on(database: Database) -> Iterator[None]:
    """Points Django at a PostgreSQL database within the block."""
    usual, before = connections["default"], connections.settings["default"]
    usual.close()
    server = {"NAME": database.name, "USER": "postgres", "HOST": str(database.cluster.folder), "PORT": str(database.cluster.port)}
    connections.settings["default"] = before | server | {"ENGINE": "django.db.backends.postgresql"}
    del connections["default"]
    try:
        yield
    finally:
        connections["default"].close()
        connections.settings["default"] = before
        connections["default"] = usual


def migrate_site(database: Database) -> None:
    """Creates the tables of a Django site."""
    with django_on(database):
        migrate()
