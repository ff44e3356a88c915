"""The files that MariaDB and Django on MariaDB write about a site's users are imported as Django has the users."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pymysql
import pytest
from django.contrib.auth.models import User
from django.contrib.auth.tokens import default_token_generator
from django.core.management import call_command
from django.db import connections

from processes import running, wait_until
from service import BASE_ENVIRONMENT, command, run_command
from test_postgresql import COLUMNS, COUNT, odd_users
from test_transfer import stored

# The name of the database among Django's connections, and on the server.
SITE = "mariadb"
# mariadbd refuses to run as root unless this option asks for it.
IDENTITY = ["--user=root"] if os.getuid() == 0 else []
QUERY = f"SELECT {', '.join(COLUMNS)} FROM auth_user ORDER BY id"
NAMED = f"SELECT {', '.join(f"'{column}'" for column in COLUMNS)} UNION ALL ({QUERY})"
AS_MYSQL = ["--format", "mysql"]
WITH_COLUMNS = [*AS_MYSQL, "--columns", ",".join(COLUMNS)]


@pytest.fixture(scope="module")
def server() -> Iterator[Path]:
    """Runs a new server with the tables of a Django site and its users. Returns the server's folder, with the socket in it."""
    for program in ("mariadbd", "mariadb-install-db", "mariadb", "mariadb-dump"):
        # Debian's administrators have the folder of servers in their PATH, other users do not.
        assert shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin"), "install Debian's mariadb-server-core and mariadb-client"
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name)
        data = f"--datadir={folder}/data"
        own_users = ["--auth-root-authentication-method=normal", "--skip-test-db"]
        subprocess.run(["mariadb-install-db", "--no-defaults", data, *own_users, *IDENTITY], check=True, capture_output=True, timeout=120)
        program = shutil.which("mariadbd") or "/usr/sbin/mariadbd"
        options = ["--skip-networking", f"--socket={folder}/socket", f"--pid-file={folder}/pid", "--secure-file-priv="]
        log = folder / "server.log"
        with running([program, "--no-defaults", data, *options, *IDENTITY], BASE_ENVIRONMENT, log):
            wait_until(lambda: "ready for connections" in log.read_text(), "MariaDB to listen")
            client(folder, "mariadb", "--execute", f"CREATE DATABASE {SITE} CHARACTER SET utf8mb4")
            with connected(folder):
                call_command("migrate", database=SITE, verbosity=0)
                User.objects.using(SITE).bulk_create(odd_users(SITE))
                yield folder


@pytest.fixture(scope="module", autouse=True)
def driver() -> None:
    """Lets Django use a driver that is written in Python instead of mysqlclient, which needs a compiler."""
    pymysql.install_as_MySQLdb()


@contextmanager
def connected(folder: Path) -> Iterator[None]:
    """Adds the server to Django's databases within the block."""
    settings = {"ENGINE": "django.db.backends.mysql", "NAME": SITE, "USER": "root", "OPTIONS": {"unix_socket": f"{folder}/socket"}}
    connections.settings[SITE] = connections.configure_settings({"default": {}, SITE: settings})[SITE]
    try:
        yield
    finally:
        connections[SITE].close()
        del connections[SITE], connections.settings[SITE]


def client(folder: Path, program: str, *arguments: str) -> str:
    """Returns what a program of MariaDB prints."""
    options = ["--no-defaults", f"--socket={folder}/socket", "--user=root", "--default-character-set=utf8mb4"]
    done = subprocess.run([program, *options, *arguments], capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.decode()


def outfile(query: str, options: str = "") -> Callable[[Path, Path], Path]:
    def write(server: Path, folder: Path) -> Path:
        # The server refuses to overwrite a file.
        file = server / f"{folder.name}.txt"
        client(server, "mariadb", SITE, "--execute", f"{query} INTO OUTFILE '{file}' CHARACTER SET utf8mb4 {options}")
        return file

    return write


def batch(server: Path, folder: Path) -> Path:
    file = folder / "batch.txt"
    file.write_bytes(client(server, "mariadb", "--batch", SITE, "--execute", QUERY).encode())
    return file


def tab(server: Path, folder: Path) -> Path:
    target = server / folder.name
    target.mkdir()
    client(server, "mariadb-dump", f"--tab={target}", SITE, "auth_user")
    return target / "auth_user.txt"


QUOTED = "FIELDS TERMINATED BY ',' OPTIONALLY ENCLOSED BY '\"'"
# How the rows are written, and the options that read them.
WRITTEN = {
    "INTO OUTFILE": (outfile(QUERY), WITH_COLUMNS),
    "INTO OUTFILE with names": (outfile(NAMED), AS_MYSQL),
    "INTO OUTFILE as CSV": (outfile(QUERY, QUOTED), WITH_COLUMNS),
    "INTO OUTFILE as CSV with names": (outfile(NAMED, QUOTED), AS_MYSQL),
    "INTO OUTFILE as CSV with all values in quotes": (outfile(QUERY, "FIELDS TERMINATED BY ',' ENCLOSED BY '\"'"), WITH_COLUMNS),
    "mysqldump --tab": (tab, WITH_COLUMNS),
    "mysql --batch": (batch, AS_MYSQL),
}


def check(own: Path, database: Path, *arguments: str) -> None:
    """Imports all users. Their rows must be those of the SQLite database, and their tokens those of Django on MariaDB."""
    done = command(own, "users", "import", *arguments)
    assert (done.returncode, done.stdout) == (0, f"{COUNT} users added, 0 were there already, 0 refused.\n"), done.stderr
    assert stored(own) == stored(database)
    for user in User.objects.using(SITE).filter(is_active=True).exclude(last_login=None)[:20]:
        link = run_command(own, "users", "link", str(user.pk)).strip("/\n").split("/")
        assert default_token_generator.check_token(user, link[-1])


@pytest.mark.parametrize("way", WRITTEN)
def test_rows_of_mariadb_are_imported_as_django_has_them(way: str, server: Path, database: Path, tmp_path: Path) -> None:
    User.objects.bulk_create(odd_users(SITE))
    write, options = WRITTEN[way]
    check(tmp_path / "own.sqlite3", database, str(write(server, tmp_path)), *options)


@pytest.mark.parametrize("ending", ["json", "jsonl"])
def test_a_dump_of_django_on_mariadb_is_imported_as_django_loads_it(ending: str, server: Path, database: Path, tmp_path: Path) -> None:
    file = tmp_path / f"users.{ending}"
    call_command("dumpdata", "auth.user", database=SITE, format=ending, output=str(file), verbosity=0)
    call_command("loaddata", str(file), verbosity=0)
    check(tmp_path / "own.sqlite3", database, str(file))


REFUSED = {
    "a dump as SQL": (lambda server, _: client(server, "mariadb-dump", SITE, "auth_user"), "csv", "mysqldump --tab"),
    "tabs in CSV": (lambda server, folder: batch(server, folder).read_text(), "csv", "use --format mysql for a file of MySQL"),
    "no names": (lambda server, folder: tab(server, folder).read_text(), "mysql", "add --columns id,password,… in the order of the file"),
    "doubled quotes": (
        lambda server, folder: outfile(NAMED, f"{QUOTED} ESCAPED BY '\"'")(server, folder).read_text(), "mysql", "without ESCAPED BY",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_other_files_of_mariadb_are_refused_with_the_way_to_import_them(case: str, server: Path, tmp_path: Path) -> None:
    write, format, hint = REFUSED[case]
    done = command(tmp_path / "own.sqlite3", "users", "import", "-", "--format", format, stdin=write(server, tmp_path))
    assert done.returncode == 1 and hint in done.stderr, done.stderr
