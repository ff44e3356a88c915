"""The options of `Benchmarks/run load`."""

import argparse
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from databases import PostgreSQLServer, SQLiteFiles
from results import BARE, DJANGO, H2O, NGINX, RAILS
from servers import CORES

CHECKED_LINKS = 1000
# One hash takes a quarter of a second, so a short round would count too few.
MINIMUM_PASSWORD_SECONDS = 8
# More than any core can compute per second.
HASHES_PER_SECOND = 10
# The service's queue for hashes: it refuses more.
HASHING_QUEUE = 32 * CORES
OTHERS = (BARE, NGINX, H2O, DJANGO, RAILS)
LINK, REQUESTS, PASSWORDS = "link", "request", "password"


@dataclass(frozen=True)
class Options:
    users: int
    rounds: int
    seconds: int
    connections: list[int]
    operations: list[str]
    against: list[str]
    compare: Path | None
    outbox: int
    json: Path | None
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
        return [count for count in self.connections if count <= HASHING_QUEUE] if PASSWORDS in self.operations else []

    @property
    def links_in_run(self) -> int:
        return HASHES_PER_SECOND * CORES * self.password_seconds + HASHING_QUEUE

    @property
    def links(self) -> int:
        return CHECKED_LINKS + self.rounds * len(self.password_connections) * self.links_in_run

    def described(self) -> dict[str, object]:
        names = ("database", "users", "rounds", "seconds", "outbox", "processes", "django_pool")
        lists = {name: ",".join(map(str, getattr(self, name))) for name in ("connections", "operations", "against")}
        return {name: getattr(self, name) for name in names} | lists | {"compare": str(self.compare)}


def parse_options() -> Options:
    parser = argparse.ArgumentParser(
        prog="Benchmarks/run load",
        description=(
            "Measures link checks, reset requests and new passwords of the release build: rates, processor time and latencies. In the same run it"
            " measures the limits of this machine (nginx and h2o with a fixed response, bare routes of the service's framework, SQLite alone,"
            " Postfix's smtp-source) and sites with the same API: Django with dj-rest-auth under gunicorn, and Rails with Devise under puma. Exits"
            " with 0 even if targets are missed."
        ),
        epilog=(
            "Each round runs every load once at each number of connections, in the reverse order in every second round. After each load it waits"
            f" until the server is idle. New passwords take at least {MINIMUM_PASSWORD_SECONDS} s, at no more than {HASHING_QUEUE} connections"
            " (the service refuses more hashes at the same time). Databases with users stay in .build/benchmarks and are copied for each run."
            " TMPDIR sets the folder for temporary files. With --database postgresql, a server with its data in .build/benchmarks runs on this"
            " machine, and there is no measurement of storage alone."
        ),
    )
    parser.add_argument("--users", type=positive, default=10_000, metavar="N", help="users in the database (10000)")
    parser.add_argument("--rounds", type=positive, default=3, metavar="N", help="rounds (3)")
    parser.add_argument("--seconds", type=positive, default=4, metavar="N", help="seconds per load (4)")
    parser.add_argument("--connections", type=counts, default=[1, 32, 256], metavar="N,…", help="numbers of connections (1,32,256)")
    operations = (LINK, REQUESTS, PASSWORDS)
    parser.add_argument(
        "--operations", type=names_of(operations), default=operations, metavar="NAME,…", help=f"what to measure ({','.join(operations)})"
    )
    parser.add_argument(
        "--against", type=names_of(OTHERS), default=OTHERS, metavar="NAME,…", help=f"servers to compare with ({','.join(OTHERS)}; or none)"
    )
    parser.add_argument(
        "--compare", type=program, metavar="PATH", help="another build of the service, such as an earlier release, to measure in the same rounds"
    )
    parser.add_argument("--outbox", type=not_negative, default=0, metavar="N", help="waiting jobs in the outbox, due in a day (0)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results of all rounds, and facts about the machine, to FILE")
    parser.add_argument(
        "--processes", type=int, choices=(1, 2), default=1, help="services on the same database, which share the connections (1)"
    )
    kinds = (SQLiteFiles.kind, PostgreSQLServer.kind)
    parser.add_argument("--database", choices=kinds, default=SQLiteFiles.kind, help="the database of the service and of the sites (sqlite)")
    parser.add_argument(
        "--django-pool", action="store_true", help="with PostgreSQL, Django uses its connection pool instead of one connection for each thread"
    )
    release = Path(os.environ["PASSWORD_RESET"]).parent
    parser.add_argument("--password-reset", type=program, default=release / "password-reset", metavar="PATH", help="the service")
    parser.add_argument("--bare", type=program, default=release / "BareServer", metavar="PATH", help="the program BareServer")
    return checked(parser, Options(**vars(parser.parse_args())))


def checked(parser: argparse.ArgumentParser, options: Options) -> Options:
    for path in (options.password_reset, options.bare, *([options.compare] if options.compare else [])):
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


def names_of(known: tuple[str, ...]) -> Callable[[str], list[str]]:
    """Returns a parser of a list of names, in any case."""

    def parse(text: str) -> list[str]:
        names = [] if text == "none" else text.lower().split(",")
        if unknown := set(names) - {name.lower() for name in known}:
            raise argparse.ArgumentTypeError(f"{', '.join(sorted(unknown))}: the names are {', '.join(known)}")
        return [name for name in known if name.lower() in names]

    return parse


def program(text: str) -> Path:
    return Path(text).resolve()
