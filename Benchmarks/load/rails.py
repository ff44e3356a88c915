"""Runs the Rails site with Devise in `rails_site`, with Debian's packages."""

import json
import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from data import SECRET_KEY, Link, run
from databases import Database
from limits import program
from results import RAILS
from servers import CORES, Server, listening
from sides import NEW_PASSWORDS, Side, body

SITE = Path(__file__).with_name("rails_site")
# Rails' default number of threads per worker.
THREADS = 5


def rails_links(database: Database, keys: Sequence[int], folder: Path) -> list[Link]:
    """Creates the site's table of users from Django's, and returns a link for each of the keys."""
    output = run(["ruby", str(SITE / "prepare.rb")], environment(database, folder), json.dumps(keys))
    return [Link(key, token) for key, token in json.loads(output.rpartition("links: ")[2])]


def rails_site(database: Database, email_port: int, folder: Path) -> AbstractContextManager[Server]:
    command = [program("puma", "puma"), "--environment", "production", "--bind", "tcp://127.0.0.1:0", "--preload"]
    workers = ["--workers", str(CORES), "--threads", f"{THREADS}:{THREADS}"]
    return listening("rails", [*command, *workers, str(SITE / "config.ru")], environment(database, folder, email_port), folder)


def environment(database: Database, folder: Path, email_port: int = 25) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "RAILS_ENV": "production",
        "SITE_FOLDER": str(folder),
        "DATABASE_URL": database.rails_url,
        "SECRET_KEY": SECRET_KEY,
        "EMAIL_PORT": str(email_port),
    }


def rails_side(server: Server, links: Sequence[Link], hashes: Callable[[], list[object]]) -> Side:
    return Side(
        RAILS,
        [server],
        check=lambda link: f"GET /password/{link.uid}/{link.token}",
        request=lambda address: f"POST /password {body(email=address)}",
        confirm=lambda link: f"PUT /password/{link.uid}/{link.token} {body(**NEW_PASSWORDS)}",
        hashes=hashes,
        links=links,
    )
