"""Compares the service with the limits of the machine, other builds of it and other sites, in interleaved rounds.

    Benchmarks/run load --help
"""

import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from pathlib import Path

import machine
import report
from data import addresses, database_with_users, links_of, migrate, some_keys, waiting_rows
from databases import Database, Databases, databases
from limits import h2o, nginx
from load import run_load
from mail_server import receiving
from options import CHECKED_LINKS, LINK, REQUESTS, Options, parse_options
from postfix import Sink, sink, source_rate
from rails import rails_links, rails_side, rails_site
from results import BARE, COMPARED, DJANGO, H2O, INVALID, NGINX, OURS, PASSWORD, RAILS, REQUEST, VALID, Results, Sample
from servers import CORES, Server, bare, django_site, measure_start, service, wait_until_idle
from sides import LIMITS, Load, Loads, Side, check_responses, django_side, limit, send, service_side
from storage import StorageSample
from targets import TARGETS
from usage import memory, processor_seconds

STARTS = 5
# smtp-source sends them with as many sessions as the service's EMAIL_CONNECTIONS has by default.
EMAILS = 20_000
EMAIL_SESSIONS = 4


class Benchmark:
    def __init__(self, options: Options, folder: Path, databases: Databases) -> None:
        self._options, self._folder, self._databases = options, folder, databases
        self.results = Results(CORES, options.connections)

    def run(self) -> None:
        options = self._options
        self._template = database_with_users(self._databases, options.password_reset, options.users)
        builds = {OURS: options.password_reset} | ({COMPARED: options.compare} if options.compare else {})
        used = {side: self._prepared(side.lower(), binary) for side, binary in builds.items()}
        self._storage = self._databases.empty("storage")
        migrate(options.password_reset, self._storage)
        self._storage.add_waiting(waiting_rows(options.outbox))
        self._keys = some_keys(options.users, options.links)
        links = links_of(used[OURS], self._keys)
        self._email_size = self._size_of_email(builds[OURS], used[OURS])
        with ExitStack() as stack:
            self._sink = stack.enter_context(sink(self._folder))
            self._measure_starts(builds, used)
            sides = [
                *self._limits(stack),
                *(self._services(stack, side, binary, used[side]) for side, binary in builds.items()),
                *self._sites(stack),
            ]
            loads = Loads(sides, links, addresses(options.users), CHECKED_LINKS, options.links_in_run)
            check_responses([*loads.check_links(VALID), *loads.check_links(INVALID), *loads.request_resets()])
            self._warm_up(loads)
            for round in range(options.rounds):
                self._round(round, loads)
            self._hash()
            self.results.memory = {side.name: [memory(pid) for pid in side.pids] for side in sides if side.name in builds}

    def _prepared(self, name: str, binary: Path) -> Database:
        """Returns a copy of the database with the schema of this build of the service."""
        database = self._databases.copy(self._template, name)
        database.remove_service()
        migrate(binary, database)
        database.add_waiting(waiting_rows(self._options.outbox))
        return database

    def _size_of_email(self, binary: Path, database: Database) -> int:
        with (
            receiving(self._folder / "mail") as receiver,
            service(binary, database, receiver.port, self._folder, "first-email") as server,
        ):
            send(server, 'POST /password-reset {"email": "user1@example.com"}')
            (email,) = receiver.wait_for(1)
            return len(email.content)

    def _measure_starts(self, builds: dict[str, Path], used: dict[str, Database]) -> None:
        self._show("starting the service")
        for _ in range(STARTS):
            for side, binary in builds.items():
                start = measure_start(binary, used[side], self._sink.port, self._folder)
                self.results.starts.setdefault(side, []).append(start)

    def _limits(self, stack: ExitStack) -> list[Side]:
        against, folder = self._options.against, self._folder
        starters: dict[str, Callable[[Path], AbstractContextManager[Server]]] = {
            NGINX: nginx,
            H2O: h2o,
            BARE: lambda folder: bare(self._options.bare, folder),
        }
        return [limit(name, stack.enter_context(start(folder))) for name, start in starters.items() if name in against]

    def _services(self, stack: ExitStack, side: str, binary: Path, database: Database) -> Side:
        names = [f"{side}-{number}" for number in range(self._options.processes)]
        servers = [stack.enter_context(service(binary, database, self._sink.port, self._folder, name)) for name in names]
        return service_side(side, servers, partial(database.column, "auth_user", "password", self._keys))

    def _sites(self, stack: ExitStack) -> list[Side]:
        sites = []
        if DJANGO in self._options.against:
            database = self._databases.copy(self._template, "django")
            server = stack.enter_context(django_site(database, self._sink.port, self._folder))
            sites.append(django_side(server, partial(database.column, "auth_user", "password", self._keys)))
        if RAILS in self._options.against:
            database = self._databases.copy(self._template, "rails")
            links = rails_links(database, self._keys, self._folder)
            server = stack.enter_context(rails_site(database, self._sink.port, self._folder))
            sites.append(rails_side(server, links, partial(database.column, "users", "encrypted_password", self._keys)))
        return sites

    def _warm_up(self, loads: Loads) -> None:
        """Runs short loads first: the sites' workers load their code at the first request, and pages come from the disk."""
        for load in loads.check_links(VALID):
            run_load(load.side.ports, load.requests, 32, 1, self._folder)
            wait_until_idle(load.side.pids)

    def _round(self, round: int, loads: Loads) -> None:
        self._hash()
        options = self._options
        if REQUESTS in options.operations:
            rate = source_rate(self._sink.port, EMAIL_SESSIONS, EMAILS, self._email_size, keeps_connections=True)
            self.results.source[round] = rate
        for connections in options.connections:
            self._show(f"round {round + 1} of {options.rounds}, connections: {connections}")
            if LINK in options.operations:
                self._measure_all(round, connections, loads.check_links(VALID), options.seconds)
                self._measure_all(round, connections, loads.check_links(INVALID), options.seconds)
            if REQUESTS in options.operations:
                self._measure_all(round, connections, loads.request_resets(), options.seconds)
                self._measure_storage(round, connections)
            if connections in options.password_connections:
                self._measure_all(round, connections, loads.set_passwords(), options.password_seconds)

    def _measure_all(self, round: int, connections: int, loads: Sequence[Load], seconds: int) -> None:
        # An effect of the order is then not always to the advantage of the same side.
        for load in loads if round % 2 == 0 else reversed(loads):
            self.results.samples.append(self._measure(round, connections, load, seconds))

    def _measure(self, round: int, connections: int, load: Load, seconds: int) -> Sample:
        side = load.side
        database_pids = [] if side.name in LIMITS else self._databases.pids
        hashes = side.hashes() if load.operation == PASSWORD else []
        arrivals = Arrivals(self._sink)
        before, database_before = processor_seconds(side.pids), processor_seconds(database_pids)
        result = run_load(side.ports, load.requests, connections, seconds, self._folder)
        arrivals.look()
        if not wait_until_idle(side.pids, meanwhile=arrivals.look):
            when = f"at {connections} connections, round {round + 1}"
            self.results.notes.append(f"note: after {load.operation} ({side.name}) {when}, the server did not become idle")
        used, database_used = processor_seconds(side.pids) - before, processor_seconds(database_pids) - database_before
        # Servers complete requests that were in progress when the load ended. Count those by their effects.
        changed = sum(old != new for old, new in zip(hashes, side.hashes())) if hashes else 0
        requests = max(1, result.count, arrivals.count, changed)
        return Sample(
            round,
            connections,
            load.operation,
            side.name,
            result,
            processor=used / requests * 1e6,
            database_processor=database_used / requests * 1e6 if database_pids else None,
            emails=arrivals.rate if load.operation == REQUEST else None,
        )

    def _measure_storage(self, round: int, batch: int) -> None:
        rate = self._storage.storage_rate(batch, self._options.seconds)
        if rate is not None:
            self.results.storage.append(StorageSample(round, batch, rate))

    def _hash(self) -> None:
        if not self._options.password_connections:
            return
        output = subprocess.run([self._options.bare, "hash", "pbkdf2_sha256"], check=True, stdout=subprocess.PIPE, timeout=60).stdout
        self.results.hashes.append(float(output))

    def _show(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)


class Arrivals:
    """Counts the emails that arrive from now on."""

    def __init__(self, sink: Sink) -> None:
        self._sink, self._before, self._start = sink, sink.received(), time.monotonic()
        self.count, self._last = 0, self._start

    def look(self) -> None:
        count = self._sink.received() - self._before
        if count != self.count:
            self.count, self._last = count, time.monotonic()

    @property
    def rate(self) -> float:
        """Emails per second until the last one that arrived."""
        return self.count / (self._last - self._start) if self.count else 0.0


def main() -> None:
    options = parse_options()
    # Exit normally, so that the servers stop and the folder is removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with (
        tempfile.TemporaryDirectory(prefix="password-reset-bench-") as name,
        databases(options.database, Path(name), options.django_pool) as used,
    ):
        benchmark = Benchmark(options, Path(name), used)
        facts = machine.facts(Path(name), options.password_reset, options.compare, used)
        benchmark.run()
    targets = TARGETS[options.database]
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
