"""`AFTER_RESET` next to a live site whose packages give out tokens: they end with a reset, or the reset does not happen.

The tests run on SQLite and on PostgreSQL.
"""

import json
import re
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any

import psycopg
import pytest

from allauth_site import AllauthSite, running_site
from metrics import scrape
from postgres import PASSWORD, ROLE, Cluster, Database
from processes import wait_until
from service import Link, Service, command, run_command, serving

SCRIPT = Path(__file__).parents[1] / "lib/token_project.py"
NEW = "battery-staple-92-new"
PRESETS = ["drf_tokens", "simplejwt", "knox", "oauth2_provider", "allauth_sessions"]
ALL = json.dumps([{"preset": name} for name in PRESETS])
# The tables in which the presets delete rows, in the order in which they do it, and the one in which they insert some.
DELETED = [
    "authtoken_token", "knox_authtoken", "oauth2_provider_refreshtoken", "oauth2_provider_accesstoken", "oauth2_provider_idtoken",
    "oauth2_provider_grant", "django_session", "usersessions_usersession",
]  # fmt: skip
INSERTED = "token_blacklist_blacklistedtoken"


@dataclass(frozen=True)
class Place:
    """Where the site's database is: as Django's setting, and as the settings of the service and of its operator."""

    django: dict[str, str]
    settings: dict[str, str]
    operator: dict[str, str]
    execute: Callable[[str], Any]

    @property
    def is_sqlite(self) -> bool:
        return "sqlite" in self.django["ENGINE"]

    def table(self, name: str) -> str:
        return f"password_reset_{name}" if self.is_sqlite else f"password_reset.{name}"

    def state(self) -> Any:
        """Returns what a reset of alice changes: the password, tokens, audit and jobs."""
        return {
            "password": self.execute("SELECT password FROM auth_user WHERE username = 'alice'"),
            "tables": [self.execute(f"SELECT count(*) FROM {table}") for table in [*DELETED, INSERTED]],
            "audit": self.execute(f"SELECT count(*) FROM {self.table('audit')} WHERE event = 'reset'"),
            "outbox": self.execute(f"SELECT count(*) FROM {self.table('outbox')}"),
        }

    @contextmanager
    def failing(self, table: str, when: str) -> Iterator[None]:
        """Makes a change of a table fail within the block."""
        if self.is_sqlite:
            self.execute(f"CREATE TRIGGER fault BEFORE {when} ON {table} BEGIN SELECT RAISE(ABORT, 'fault'); END")
        else:
            self.execute("CREATE FUNCTION fault() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'fault'; END $$")
            self.execute(f"CREATE TRIGGER fault BEFORE {when} ON {table} FOR EACH ROW EXECUTE FUNCTION fault()")
        try:
            yield
        finally:
            self.execute("DROP TRIGGER fault" + ("" if self.is_sqlite else f" ON {table}"))
            if not self.is_sqlite:
                self.execute("DROP FUNCTION fault")


def _sqlite(path: Path) -> dict[str, str]:
    # With SQLite's own mode, Django fails at once if the service writes between a read and a write of one transaction.
    options = {"transaction_mode": "IMMEDIATE", "timeout": 30}
    return {"ENGINE": "django.db.backends.sqlite3", "NAME": str(path), "OPTIONS": options}  # type: ignore[dict-item]


def _postgresql(database: Database) -> dict[str, str]:
    server = {"USER": "postgres", "HOST": str(database.cluster.folder), "PORT": str(database.cluster.port)}
    return {"ENGINE": "django.db.backends.postgresql", "NAME": database.name} | server


@pytest.fixture(scope="session")
def token_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokens")
    path = folder / "db.sqlite3"
    with running_site(_sqlite(path), folder, script=SCRIPT) as site:
        site.migrate()
    return path


@pytest.fixture(scope="session")
def token_database(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Database:
    database = cluster.new_database()
    with running_site(_postgresql(database), tmp_path_factory.mktemp("tokens"), script=SCRIPT) as site:
        site.migrate()
    return database


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "sqlite":
        path = tmp_path / "db.sqlite3"
        shutil.copy(request.getfixturevalue("token_file"), path)

        def execute(statement: str) -> Any:
            with closing(sqlite3.connect(path, timeout=30)) as connection, connection:
                return connection.execute(statement).fetchall()

        settings = {"DATABASE_URL": f"sqlite:{path}"}
        return Place(_sqlite(path), settings, settings, execute)
    template = request.getfixturevalue("token_database")
    database = template.cluster.new_database(template=template.name)
    settings = {"DATABASE_URL": database.url_for(ROLE, database.cluster.port), "DATABASE_PASSWORD": PASSWORD}
    return Place(_postgresql(database), settings, {"DATABASE_URL": database.socket_url}, database.execute)


@pytest.fixture
def site(place: Place, tmp_path: Path) -> Iterator[AllauthSite]:
    with running_site(place.django, tmp_path, script=SCRIPT) as site:
        site.add_user("alice", "alice@example.com")
        site.add_user("bob", "bob@example.com")
        yield site


@contextmanager
def served(place: Place, folder: Path, after_reset: str = ALL, *options: str) -> Iterator[Service]:
    """Runs the service, on PostgreSQL with a role that has only the privileges that `grants` prints."""
    if not place.is_sqlite:
        run_command(folder, "migrate", **place.operator)
        place.execute(run_command(folder, "grants", "--role", ROLE, AFTER_RESET=after_reset))
    settings = place.settings | {"AFTER_RESET": after_reset, "PASSWORD_HASHER_OPTIONS": "iterations=10"}
    with serving(folder, folder, *options, **settings) as service:
        yield service


def detail(place: Place, event: str) -> Any:
    return json.loads(place.execute(f"SELECT detail FROM {place.table('audit')} WHERE event = '{event}'")[0][0])


def audited(place: Place, event: str) -> int:
    return int(place.execute(f"SELECT count(*) FROM {place.table('audit')} WHERE event = '{event}'")[0][0])


def test_a_token_of_each_package_is_accepted_until_the_reset(place: Place, site: AllauthSite, tmp_path: Path) -> None:
    names = sorted([*PRESETS, "oauth2_refresh"])
    tokens, others = site.sign_in("alice"), site.sign_in("bob")
    with served(place, tmp_path) as service:
        assert site.accepted(tokens) == site.accepted(others) == names
        assert service.set_password(site.link("alice"), NEW, NEW).status == 200
        assert site.can_sign_in("alice", NEW)
        assert site.accepted(tokens) == []
        assert site.exchange(tokens["oauth2_refresh"]) == 400
        assert set(site.rows("alice").values()) == {0, 1}, "the only row left is bob's session"
        # Another user's tokens stay.
        assert site.accepted(others) == names
        assert site.exchange(others["oauth2_refresh"]) == 200
    counts = {result["preset"]: result["rows"] for result in detail(place, "reset")["after_reset"]}
    assert counts == {"drf_tokens": 1, "simplejwt": 1, "knox": 1, "oauth2_provider": 6, "allauth_sessions": 2}
    line = json.loads(run_command(tmp_path, "audit", "--event", "reset", "--json", **place.operator))
    assert line["detail"]["after_reset"][0] == {"preset": "drf_tokens", "rows": 1}
    assert '"preset":"knox"' in run_command(tmp_path, "audit", "--event", "reset", **place.operator)


def test_a_failure_in_any_table_keeps_everything_and_the_link(place: Place, site: AllauthSite, tmp_path: Path) -> None:
    tokens = site.sign_in("alice")
    tables = [(table, "DELETE") for table in DELETED] + [(INSERTED, "INSERT"), (place.table("audit"), "INSERT"), (place.table("outbox"), "INSERT")]
    with served(place, tmp_path, ALL, "--no-worker") as service:
        link = site.link("alice")
        before = place.state()
        for number, (table, when) in enumerate(tables):
            with place.failing(table, when):
                reply = service.set_password(link, NEW, NEW)
                assert (reply.status, reply.body["code"]) == (503, "unavailable"), table
            assert place.state() == before, table
            expected = min(number + 1, len(DELETED) + 1)
            wait_until(lambda: audited(place, "after_reset_failed") == expected, "the failure in the audit")
            # An error of our own tables is none of AFTER_RESET.
            assert scrape(service).value("password_reset_after_reset_failures_total") == expected
        assert site.accepted(tokens) == sorted(tokens)
        assert service.set_password(link, NEW, NEW).status == 200
        assert site.accepted(tokens) == []
    assert "AFTER_RESET failed, so nothing was changed: entry 1: " in (tmp_path / "service.log").read_text()


@contextmanager
def held(place: Place, table: str) -> Iterator[Callable[[], bool]]:
    """Makes a reset stop at the table within the block. Returns a function that says whether one has come that far."""
    when = "INSERT" if table == INSERTED else "DELETE"
    if place.is_sqlite:
        # The trigger reads 10,000,000,000 rows, which takes longer than any test.
        place.execute("CREATE TABLE slow AS SELECT value FROM json_each('[' || substr(replace(hex(zeroblob(50)), '0', ',1'), 2) || ']')")
        rows = ", ".join(f"slow AS s{number}" for number in range(5))
        place.execute(f"CREATE TRIGGER slow_{table} BEFORE {when} ON {table} BEGIN SELECT sum(s0.value + s4.value) FROM {rows}; END")
        try:
            yield lambda: is_locked(place)
        finally:
            place.execute(f"DROP TRIGGER slow_{table}")
            place.execute("DROP TABLE slow")
        return
    with psycopg.connect(host=place.django["HOST"], port=place.django["PORT"], user="postgres", dbname=place.django["NAME"]) as connection:
        connection.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")  # type: ignore[arg-type]
        query = f"SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = '{table}'::regclass"
        yield lambda: connection.execute(query).fetchone() == (1,)  # type: ignore[arg-type]


def is_locked(place: Place) -> bool:
    """Returns whether another process is in a transaction that writes."""
    with closing(sqlite3.connect(place.django["NAME"], timeout=0, isolation_level=None)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return True
        connection.execute("ROLLBACK")
        return False


def try_to_reset(service: Service, link: Link) -> None:
    """Sends a request that gets no reply, because the service is killed."""
    with suppress(OSError, HTTPException):
        service.set_password(link, NEW, NEW)


@pytest.mark.parametrize("table", [*DELETED, INSERTED])
def test_a_crash_in_the_middle_keeps_everything_and_the_link(table: str, place: Place, site: AllauthSite, tmp_path: Path) -> None:
    tokens = site.sign_in("alice")
    with served(place, tmp_path, ALL, "--no-worker") as service:
        link = site.link("alice")
        before = place.state()
        with held(place, table) as is_waiting:
            caller = threading.Thread(target=try_to_reset, args=(service, link))
            caller.start()
            wait_until(is_waiting, "the reset to come that far")
            service.kill()
            caller.join()
    assert place.state() == before and site.accepted(tokens) == sorted(tokens)
    with served(place, tmp_path, ALL, "--no-worker") as service:
        assert service.set_password(link, NEW, NEW).status == 200
    assert site.accepted(tokens) == []


def test_a_lock_of_the_site_on_a_table_ends_in_503(place: Place, site: AllauthSite, tmp_path: Path) -> None:
    if place.is_sqlite:
        pytest.skip("SQLite has one lock for all tables")
    tokens = site.sign_in("alice")
    with served(place, tmp_path) as service:
        link = site.link("alice")
        with held(place, "knox_authtoken"):
            assert service.set_password(link, NEW, NEW).status == 503
        assert site.accepted(tokens) == sorted(tokens)
        assert service.set_password(link, NEW, NEW).status == 200
        assert site.accepted(tokens) == []


@pytest.mark.parametrize("arguments", [["set-password", "alice", "--password-stdin"], ["deactivate", "alice"]], ids=lambda value: value[0])
def test_a_command_ends_the_tokens_as_well(arguments: list[str], place: Place, site: AllauthSite, tmp_path: Path) -> None:
    tokens = site.sign_in("alice")
    run_command(tmp_path, "migrate", **place.operator)
    settings = place.operator | {"AFTER_RESET": ALL, "PASSWORD_HASHER_OPTIONS": "iterations=10"}
    with place.failing("knox_authtoken", "DELETE"):
        done = command(tmp_path, "users", *arguments, stdin=NEW, **settings)
        assert done.returncode == 1 and "AFTER_RESET failed, so nothing was changed: entry 3: " in done.stderr
    assert site.accepted(tokens) == sorted(tokens)
    assert audited(place, "after_reset_failed") == 1 and "error" in detail(place, "after_reset_failed")
    run_command(tmp_path, "users", *arguments, stdin=NEW, **settings)
    assert place.execute("SELECT count(*) FROM knox_authtoken") == place.execute("SELECT count(*) FROM authtoken_token") == [(0,)]
    run_command(tmp_path, "users", "activate", "alice", **settings)
    assert site.accepted(tokens) == []


def test_a_missing_privilege_stops_the_start_with_its_name(place: Place, tmp_path: Path) -> None:
    if place.is_sqlite:
        pytest.skip("SQLite has no privileges")
    entries = json.dumps([{"preset": "knox"}, {"sql": "DELETE FROM django_session WHERE session_key = :user_id::text"}])
    run_command(tmp_path, "migrate", **place.operator)
    place.execute(run_command(tmp_path, "grants", "--role", ROLE))
    settings = place.settings | {"AFTER_RESET": entries}
    done = command(tmp_path, "check", **settings)
    assert done.returncode == 78 and "E031" in done.stdout
    assert "DELETE on knox_authtoken; SELECT (user_id) on knox_authtoken, for AFTER_RESET" in done.stdout
    grants = run_command(tmp_path, "grants", "--role", ROLE, AFTER_RESET=entries)
    assert "-- Entry 2 is your own statement" in grants
    place.execute(grants)
    done = command(tmp_path, "serve", **settings)
    assert done.returncode == 78 and "permission denied for table django_session, for entry 2 of AFTER_RESET" in done.stderr
    place.execute(f"GRANT SELECT (session_key), DELETE ON django_session TO {ROLE}")
    assert "E031" not in command(tmp_path, "check", **settings).stdout


def test_check_names_tokens_that_a_reset_does_not_end(place: Place, tmp_path: Path) -> None:
    run_command(tmp_path, "migrate", **place.operator)
    entries = json.dumps([{"preset": "knox"}, {"sql": "DELETE FROM authtoken_token WHERE user_id = :user_id"}])
    found = json.loads(command(tmp_path, "check", "--json", AFTER_RESET=entries, **place.operator).stdout)
    hints = [finding["hint"] for finding in found if finding["id"] == "password_reset.W037"]
    assert [re.findall(r'"preset": "(\w+)"', hint) for hint in hints] == [["simplejwt"], ["oauth2_provider"]]


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ('[{"preset": "laravel_tokens"}]', "entry 1: the preset laravel_tokens needs the table personal_access_tokens"),
        ('[{"preset": "knox"}, {"sql": "DELETE FROM nothing WHERE user_id = :user_id"}]', "entry 2: "),
        ('[{"set": {"session_nonce": "random:12"}}]', "entry 1: the table auth_user has no column session_nonce"),
        # The site's rows do not allow it.
        ('[{"set": {"last_login": "now", "is_active": null}}]', "AFTER_RESET was tried for a user, and rolled back: entry 1: "),
    ],
)
def test_a_refused_start_leaves_nothing_behind(entries: str, message: str, place: Place, site: AllauthSite, tmp_path: Path) -> None:
    done = command(tmp_path, "serve", AFTER_RESET=entries, **place.operator)
    assert done.returncode == 78 and message in done.stderr
    names = "SELECT name FROM sqlite_master" if place.is_sqlite else "SELECT nspname FROM pg_namespace UNION SELECT relname FROM pg_class"
    assert [name for (name,) in place.execute(names) if "password_reset" in name or "grdb" in name] == []
