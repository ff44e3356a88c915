"""Compares the service with bare routes of its framework, storage alone and a Django site, in interleaved rounds.

    Benchmarks/run load --help
"""

import argparse
import http.client
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import machine
import report
from data import Link, addresses, database_with_users, links_of_some, migrate, waiting_rows
from databases import Database, Databases, PostgreSQLServer, SQLiteFiles, databases
from load import run_load
from results import BARE, DJANGO, GET, INVALID, OURS, PASSWORD, POST, REQUEST, VALID, Results, Sample
from servers import Server, bare, django_site, measure_start, service, settle, sink
from storage import StorageSample

CORES = len(os.sched_getaffinity(0))
STARTS = 5
CHECKED_LINKS = 1000
# One hash takes a quarter of a second, so a short round would count too few.
MINIMUM_PASSWORD_SECONDS = 8
# More than any core can compute per second.
HASHES_PER_SECOND = 10
# The service's queue for hashes: it refuses more.
HASHING_QUEUE = 32 * CORES
NEW_PASSWORD = "a-Fine-pass-77"


@dataclass(frozen=True)
class Options:
    users: int
    rounds: int
    seconds: int
    connections: list[int]
    outbox: int
    json: Path | None
    without_django: bool
    processes: int
    database: str
    django_pool: bool
    password_reset: Path
    bare: Path

    @property
    def password_seconds(self) -> int:
        return max(self.seconds, MINIMUM_PASSWORD_SECONDS)

    @property
    def password_connections(self) -> list[int]:
        return [count for count in self.connections if count <= HASHING_QUEUE]

    @property
    def links_in_run(self) -> int:
        return HASHES_PER_SECOND * CORES * self.password_seconds + HASHING_QUEUE

    @property
    def links(self) -> int:
        return CHECKED_LINKS + self.rounds * len(self.password_connections) * self.links_in_run

    def described(self) -> dict[str, object]:
        names = ("database", "users", "rounds", "seconds", "outbox", "processes", "django_pool")
        return {name: getattr(self, name) for name in names} | {"connections": ",".join(map(str, self.connections))}


def parse_options() -> Options:
    parser = argparse.ArgumentParser(
        prog="Benchmarks/run load",
        description=(
            "Measures link checks, reset requests and new passwords of the release build, compared with bare routes of the same framework, with"
            " SQLite alone, and with Django with dj-rest-auth under gunicorn on the same kind of database, in one run. Exits with 0 even if targets"
            " are missed."
        ),
        epilog=(
            "Each round runs every load once at each number of connections: bare, service, Django. After each load it waits until the server"
            f" is idle. New passwords take at least {MINIMUM_PASSWORD_SECONDS} s, at no more than {HASHING_QUEUE} connections (the service"
            " refuses more hashes at the same time). Databases with users stay in .build/benchmarks and are copied for each run; remove"
            " them after a change of the schema. TMPDIR sets the folder for temporary files. With --database postgresql, a server with its"
            " data in .build/benchmarks runs on this machine, and there is no measurement of storage alone."
        ),
    )
    parser.add_argument("--users", type=positive, default=10_000, metavar="N", help="users in the database (10000)")
    parser.add_argument("--rounds", type=positive, default=3, metavar="N", help="rounds (3)")
    parser.add_argument("--seconds", type=positive, default=4, metavar="N", help="seconds per load (4)")
    parser.add_argument("--connections", type=counts, default=[1, 32, 256], metavar="N,…", help="numbers of connections (1,32,256)")
    parser.add_argument("--outbox", type=not_negative, default=0, metavar="N", help="waiting jobs in the outbox, due in a day (0)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results of all rounds, and facts about the machine, to FILE")
    parser.add_argument("--without-django", action="store_true", help="skip Django")
    parser.add_argument(
        "--processes", type=int, choices=(1, 2), default=1, help="services on the same database, which share the connections (1)"
    )
    kinds = (SQLiteFiles.kind, PostgreSQLServer.kind)
    parser.add_argument("--database", choices=kinds, default=SQLiteFiles.kind, help="the database of the service and of Django (sqlite)")
    parser.add_argument(
        "--django-pool", action="store_true", help="with PostgreSQL, Django uses its connection pool instead of one connection for each thread"
    )
    release = Path(os.environ["PASSWORD_RESET"]).parent
    parser.add_argument("--password-reset", type=program, default=release / "password-reset", metavar="PATH", help="the service")
    parser.add_argument(
        "--bare", type=program, default=release / "BareServer", metavar="PATH", help="the program BareServer"
    )
    options = Options(**vars(parser.parse_args()))
    for path in (options.password_reset, options.bare):
        if not os.access(path, os.X_OK):
            parser.error(f"there is no program {path}; make bench builds it")
    if options.django_pool and options.database != PostgreSQLServer.kind:
        parser.error("--django-pool needs --database postgresql")
    if options.users < options.links:
        parser.error(f"each link is used once, so these rounds need at least {options.links} users")
    return options


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


def not_negative(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError("must be 0 or more")
    return number


def counts(text: str) -> list[int]:
    return sorted({positive(part) for part in text.split(",")})


def program(text: str) -> Path:
    return Path(text).resolve()


@dataclass(frozen=True)
class Load:
    operation: str
    side: str
    servers: list[Server]
    requests: list[str]


class Sites:
    """The servers, and the loads to run on them."""

    def __init__(self, options: Options, bare: Server, services: list[Server], django: Server | None, links: list[Link]) -> None:
        self.bare, self.services, self.django = bare, services, django
        self._links = links[:CHECKED_LINKS]
        self._unused = iter(batches(links[CHECKED_LINKS:], options.links_in_run))
        self._addresses = [f'{{"email": "{address}"}}' for address in addresses(options.users)]
        # A genuine token of another user takes as much work to check as a valid one.
        tokens = [link.token for link in self._links]
        self._wrong = [Link(link.uid, token) for link, token in zip(self._links, tokens[1:] + tokens[:1])]

    def check_links(self) -> Iterator[Load]:
        valid, wrong = self._links, self._wrong
        yield Load(GET, BARE, [self.bare], [f"GET /bare/{link.uid}/{link.token}" for link in valid])
        yield Load(VALID, OURS, self.services, [f"GET /password-reset/{link.uid}/{link.token}" for link in valid])
        yield Load(INVALID, OURS, self.services, [f"GET /password-reset/{link.uid}/{link.token}" for link in wrong])
        if self.django:
            yield Load(VALID, DJANGO, [self.django], [f"GET /password/reset/{link.uid}/{link.token}/" for link in valid])
            yield Load(INVALID, DJANGO, [self.django], [f"GET /password/reset/{link.uid}/{link.token}/" for link in wrong])

    def request_resets(self) -> Iterator[Load]:
        yield Load(POST, BARE, [self.bare], [f"POST /bare {body}" for body in self._addresses])
        yield Load(REQUEST, OURS, self.services, [f"POST /password-reset {body}" for body in self._addresses])
        if self.django:
            yield Load(REQUEST, DJANGO, [self.django], [f"POST /password/reset/ {body}" for body in self._addresses])

    def set_passwords(self) -> Iterator[Load]:
        """Each load uses new links. The service and Django have separate databases."""
        links = next(self._unused)
        body = {"new_password1": NEW_PASSWORD, "new_password2": NEW_PASSWORD}
        ours = [f"POST /password-reset/{link.uid}/{link.token} {json.dumps(body)}" for link in links]
        yield Load(PASSWORD, OURS, self.services, ours)
        if self.django:
            theirs = [body | {"uid": link.uid, "token": link.token} for link in links]
            yield Load(PASSWORD, DJANGO, [self.django], [f"POST /password/reset/confirm/ {json.dumps(form)}" for form in theirs])


def batches(links: list[Link], size: int) -> list[list[Link]]:
    return [links[first : first + size] for first in range(0, len(links), size)]


def check_responses(sites: Sites) -> None:
    """Checks one response per server and operation first, because a load of errors would look fast."""
    expected = {GET: 200, VALID: 200, INVALID: 200, POST: 202, REQUEST: 202}
    for load in [*sites.check_links(), *sites.request_resets()]:
        for server in load.servers:
            status, body = send(server, load.requests[0])
            validlink = {VALID: True, INVALID: False}.get(load.operation)
            expected_status = 200 if load.side == DJANGO else expected[load.operation]
            if status != expected_status or validlink not in (None, body.get("validlink")):
                raise RuntimeError(f"{load.side}, {load.operation}: {status} {body}")


def send(server: Server, request: str) -> tuple[int, dict[str, object]]:
    method, path, body = (*request.split(" ", 2), "")[:3]
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    try:
        connection.request(method, path, body or None, {"Content-Type": "application/json"} if body else {})
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


class Benchmark:
    def __init__(self, options: Options, folder: Path, databases: Databases) -> None:
        self._options, self._folder, self._databases = options, folder, databases
        self.results = Results(CORES, options.connections)

    def run(self) -> None:
        options, folder, databases = self._options, self._folder, self._databases
        template = database_with_users(databases, options.password_reset, options.users)
        ours, storage = databases.copy(template, "ours"), databases.empty("storage")
        for database in (ours, storage):
            migrate(options.password_reset, database)
            database.add_waiting(waiting_rows(options.outbox))
        links = links_of_some(ours, options.users, options.links)
        with ExitStack() as stack:
            port = stack.enter_context(sink(folder))
            self._show("starting the service")
            self.results.starts = [measure_start(options.password_reset, ours, port, folder) for _ in range(STARTS)]
            services = [
                stack.enter_context(service(options.password_reset, ours, port, folder, f"service-{number}"))
                for number in range(options.processes)
            ]
            django = None
            if not options.without_django:
                django = stack.enter_context(django_site(databases.copy(template, "django"), port, folder))
            sites = Sites(options, stack.enter_context(bare(options.bare, folder)), services, django, links)
            check_responses(sites)
            self._warm_up(sites)
            for round in range(options.rounds):
                self._round(round, sites, storage)
            self._hash()
            self.results.memory = [server.memory() for server in services]

    def _warm_up(self, sites: Sites) -> None:
        """Runs short loads first: Django's workers load their views at the first request, and pages come from the disk."""
        for load in sites.check_links():
            run_load([server.port for server in load.servers], load.requests, 32, 1, self._folder)
            settle(load.servers)

    def _round(self, round: int, sites: Sites, storage: Database) -> None:
        self._hash()
        seconds = self._options.seconds
        for connections in self._options.connections:
            self._show(f"round {round + 1} of {self._options.rounds}, connections: {connections}")
            for load in sites.check_links():
                self._measure(round, connections, load, seconds)
            for load in sites.request_resets():
                self._measure(round, connections, load, seconds)
            self._measure_storage(round, connections, storage)
            if connections in self._options.password_connections:
                for load in sites.set_passwords():
                    self._measure(round, connections, load, self._options.password_seconds)
        if 1 not in self._options.connections:
            self._measure_storage(round, 1, storage)

    def _measure_storage(self, round: int, batch: int, storage: Database) -> None:
        rate = storage.storage_rate(batch, self._options.seconds)
        if rate is not None:
            self.results.storage.append(StorageSample(round, batch, rate))

    def _measure(self, round: int, connections: int, load: Load, seconds: int) -> None:
        result = run_load([server.port for server in load.servers], load.requests, connections, seconds, self._folder)
        self.results.samples.append(Sample(round, connections, load.operation, load.side, result))
        if not settle(load.servers):
            when = f"at {connections} connections, round {round + 1}"
            self.results.notes.append(f"note: after {load.operation} ({load.side}) {when}, the server did not become idle")

    def _hash(self) -> None:
        output = subprocess.run([self._options.bare, "hash", "pbkdf2_sha256"], check=True, stdout=subprocess.PIPE, timeout=60).stdout
        self.results.hashes.append(float(output))

    def _show(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)


def main() -> None:
    options = parse_options()
    # Exit normally, so that the servers stop and the folder is removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with (
        tempfile.TemporaryDirectory(prefix="password-reset-bench-") as name,
        databases(options.database, Path(name), options.django_pool) as used,
    ):
        benchmark = Benchmark(options, Path(name), used)
        facts = machine.facts(Path(name), options.password_reset, used)
        benchmark.run()
    targets = report.TARGETS[options.database]
    print(report.as_text(benchmark.results, targets, facts, options.described()))
    if options.json:
        results = report.as_json(benchmark.results, targets, facts, options.described())
        options.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    try:
        main()
    except (RuntimeError, OSError, subprocess.SubprocessError) as error:
        sys.exit(f"Benchmarks/run load: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
