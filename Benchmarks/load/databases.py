"""The databases of a run: SQLite files, or databases of a PostgreSQL server."""

import os
import sqlite3
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from storage import storage_rate

sys.path.append(str(Path(__file__).parents[1]))
from postgresql import BenchmarkCluster, running_cluster  # noqa: E402

CACHE = Path(__file__).parents[2] / ".build/benchmarks"
INDEX = "password_reset_auth_user_email"
ROWS_IN_TRANSACTION = 200_000
USER_COLUMNS = (
    "id", "password", "last_login", "is_superuser", "username", "first_name", "last_name", "email", "is_staff", "is_active", "date_joined",
)  # fmt: skip
WAITING_COLUMNS = ("kind", "identifier", "locale", "request_id", "created_at", "due_at")

Row = tuple[object, ...]


class Database(ABC):
    """A database for the service or for Django."""

    @property
    @abstractmethod
    def url(self) -> str:
        """The service's `DATABASE_URL`."""

    @property
    @abstractmethod
    def django(self) -> dict[str, Any]:
        """Django's settings for it."""

    @property
    @abstractmethod
    def rails_url(self) -> str:
        """The `DATABASE_URL` of Rails."""

    @abstractmethod
    def add_users(self, rows: Iterable[Row]) -> None:
        """Adds rows of USER_COLUMNS, and brings the table into the state that it has in a site of this size."""

    @abstractmethod
    def add_waiting(self, rows: Iterable[Row]) -> None:
        """Adds rows of WAITING_COLUMNS to the outbox."""

    @abstractmethod
    def remove_service(self) -> None:
        """Removes the service's tables, so that another release of it can create its own. The index on the users remains."""

    @abstractmethod
    def column(self, table: str, column: str, keys: Sequence[int]) -> list[object]:
        """Returns a column of the rows with these keys, in the order of their keys."""

    def storage_rate(self, batch: int, seconds: int) -> float | None:
        """Returns how many reset requests per second the storage alone can write, or `None` if there is no measurement of it."""
        return None


class Databases(ABC):
    """Creates and copies databases."""

    # The name in `--database`.
    kind: str

    @abstractmethod
    def kept(self, name: str, fill: Callable[[Database], None]) -> Database:
        """Returns a database that later runs reuse, and fills it if it is new."""

    @abstractmethod
    def empty(self, name: str) -> Database:
        """Creates an empty database for this run."""

    @abstractmethod
    def copy(self, source: Database, name: str) -> Database:
        """Copies a database for this run, and waits until the copy is on disk, so that late writes do not disturb the first load."""

    @abstractmethod
    def versions(self) -> dict[str, str]:
        """Returns the versions of the server and of Django's driver."""

    @property
    def pids(self) -> list[int]:
        """The processes of the database server, if there is one."""
        return []


@dataclass(frozen=True)
class SQLiteDatabase(Database):
    path: Path

    @property
    def url(self) -> str:
        return f"sqlite:{self.path}"

    @property
    def django(self) -> dict[str, Any]:
        options = {"transaction_mode": "IMMEDIATE", "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL"}
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": str(self.path), "CONN_MAX_AGE": None, "OPTIONS": options}

    @property
    def rails_url(self) -> str:
        return f"sqlite3:{self.path}"

    def add_users(self, rows: Iterable[Row]) -> None:
        with closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            # Durability does not matter: an incomplete file has another name and is never used.
            connection.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -500000")
            ((index,),) = connection.execute("SELECT sql FROM sqlite_master WHERE name = ?", [INDEX]).fetchall()
            connection.execute(f"DROP INDEX {INDEX}")
            remaining = iter(rows)
            while part := list(islice(remaining, ROWS_IN_TRANSACTION)):
                connection.execute("BEGIN")
                connection.executemany(insert("auth_user", USER_COLUMNS), part)
                connection.execute("COMMIT")
            connection.execute(index)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def add_waiting(self, rows: Iterable[Row]) -> None:
        with closing(sqlite3.connect(self.path)) as connection, connection:
            connection.executemany(insert("password_reset_outbox", WAITING_COLUMNS), rows)

    def remove_service(self) -> None:
        with closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
            for (name,) in tables:
                if name.startswith("password_reset_") or name == "grdb_migrations":
                    connection.execute(f"DROP TABLE {name}")

    def column(self, table: str, column: str, keys: Sequence[int]) -> list[object]:
        with closing(sqlite3.connect(self.path, timeout=60)) as connection:
            return [row[0] for row in connection.execute(select(table, column, keys))]

    def storage_rate(self, batch: int, seconds: int) -> float | None:
        return storage_rate(self.path, batch, seconds)


def insert(table: str, columns: tuple[str, ...]) -> str:
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' for _ in columns)})"


def select(table: str, column: str, keys: Sequence[int]) -> str:
    return f"SELECT {column} FROM {table} WHERE id IN ({', '.join(map(str, keys))}) ORDER BY id"


@dataclass(frozen=True)
class SQLiteFiles(Databases):
    # Removed after the run.
    folder: Path
    kind = "sqlite"

    def kept(self, name: str, fill: Callable[[Database], None]) -> Database:
        database = CACHE / f"{name}.sqlite3"
        if not database.exists():
            partial = database.with_suffix(".partial")
            for suffix in ("", "-wal", "-shm"):
                Path(f"{partial}{suffix}").unlink(missing_ok=True)
            fill(SQLiteDatabase(partial))
            partial.rename(database)
        return SQLiteDatabase(database)

    def empty(self, name: str) -> Database:
        return SQLiteDatabase(self.folder / f"{name}.sqlite3")

    def copy(self, source: Database, name: str) -> Database:
        assert isinstance(source, SQLiteDatabase)
        target = self.folder / f"{name}.sqlite3"
        subprocess.run(["cp", "--reflink=auto", str(source.path), str(target)], check=True, timeout=600)
        with target.open("rb") as file:
            os.fsync(file.fileno())
        return SQLiteDatabase(target)

    def versions(self) -> dict[str, str]:
        return {"sqlite": sqlite3.sqlite_version}


@dataclass(frozen=True)
class PostgreSQLDatabase(Database):
    cluster: BenchmarkCluster
    name: str
    # Whether Django uses its connection pool, instead of a persistent connection for each of its threads.
    has_pool: bool

    @property
    def url(self) -> str:
        return f"{self.cluster.server_url}/{self.name}"

    @property
    def django(self) -> dict[str, Any]:
        connections = {"CONN_MAX_AGE": 0, "OPTIONS": {"pool": True}} if self.has_pool else {"CONN_MAX_AGE": None}
        server = {"HOST": "127.0.0.1", "PORT": str(self.cluster.port), "USER": "postgres"}
        return {"ENGINE": "django.db.backends.postgresql", "NAME": self.name} | server | connections

    @property
    def rails_url(self) -> str:
        return self.url

    def connect(self) -> psycopg.Connection[Row]:
        return psycopg.connect(self.url, autocommit=True)

    def add_users(self, rows: Iterable[Row]) -> None:
        with self.connect() as connection:
            index = connection.execute("SELECT indexdef FROM pg_indexes WHERE indexname = %s", [INDEX]).fetchall()[0][0]
            connection.execute(sql.SQL("DROP INDEX {}").format(sql.Identifier(INDEX)))
            load(connection, sql.Identifier("auth_user"), USER_COLUMNS, rows)
            connection.execute(str(index).encode())
            connection.execute("SELECT setval(pg_get_serial_sequence('auth_user', 'id'), max(id)) FROM auth_user")
            connection.execute("VACUUM (FREEZE, ANALYZE)")

    def add_waiting(self, rows: Iterable[Row]) -> None:
        with self.connect() as connection:
            load(connection, sql.Identifier("password_reset", "outbox"), WAITING_COLUMNS, rows)
            connection.execute("VACUUM ANALYZE password_reset.outbox")

    def remove_service(self) -> None:
        with self.connect() as connection:
            connection.execute("DROP SCHEMA IF EXISTS password_reset CASCADE")

    def column(self, table: str, column: str, keys: Sequence[int]) -> list[object]:
        with self.connect() as connection:
            return [row[0] for row in connection.execute(select(table, column, keys).encode())]


def load(connection: psycopg.Connection[Row], table: sql.Identifier, columns: tuple[str, ...], rows: Iterable[Row]) -> None:
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    with connection.cursor() as cursor, cursor.copy(sql.SQL("COPY {} ({}) FROM STDIN").format(table, names)) as copy:
        for row in rows:
            copy.write_row(row)


@dataclass(frozen=True)
class PostgreSQLServer(Databases):
    cluster: BenchmarkCluster
    has_pool: bool
    kind = "postgresql"
    _copies: set[str] = field(default_factory=set)

    def kept(self, name: str, fill: Callable[[Database], None]) -> Database:
        with self._maintain() as server:
            if not server.execute("SELECT FROM pg_database WHERE datname = %s", [name]).fetchall():
                fill(self._create("partial", "template1"))
                server.execute(sql.SQL("ALTER DATABASE partial RENAME TO {}").format(sql.Identifier(name)))
        return self._database(name)

    def empty(self, name: str) -> Database:
        self._copies.add(name)
        return self._create(name, "template1")

    def copy(self, source: Database, name: str) -> Database:
        assert isinstance(source, PostgreSQLDatabase)
        self._copies.add(name)
        copied = self._create(name, source.name)
        with self._maintain() as server:
            server.execute("CHECKPOINT")
        return copied

    def drop_copies(self) -> None:
        with self._maintain() as server:
            for name in self._copies:
                server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    def _create(self, name: str, template: str) -> PostgreSQLDatabase:
        with self._maintain() as server:
            server.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
            server.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template)))
        return self._database(name)

    def _database(self, name: str) -> PostgreSQLDatabase:
        return PostgreSQLDatabase(self.cluster, name, self.has_pool)

    @property
    def pids(self) -> list[int]:
        return [int((self.cluster.folder / "data/postmaster.pid").read_text().split()[0])]

    @contextmanager
    def _maintain(self) -> Iterator[psycopg.Connection[Row]]:
        with self._database("postgres").connect() as connection:
            yield connection

    def versions(self) -> dict[str, str]:
        with self._maintain() as server:
            release = str(server.execute("SHOW server_version").fetchall()[0][0]).split(" ")[0]
        return {"postgresql": release, "psycopg": version("psycopg")}


@contextmanager
def databases(kind: str, folder: Path, has_pool: bool) -> Iterator[Databases]:
    """Makes databases available within the block. On PostgreSQL it runs a server, whose data remains for later runs."""
    if kind == SQLiteFiles.kind:
        yield SQLiteFiles(folder)
        return
    with running_cluster(CACHE / "postgresql", shared_buffers="1GB") as cluster:
        server = PostgreSQLServer(cluster, has_pool)
        yield server
        server.drop_copies()
