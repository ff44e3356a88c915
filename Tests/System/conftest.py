import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import django
import pytest
from playwright.sync_api import Page

os.environ["DJANGO_SETTINGS_MODULE"] = "site_settings"
django.setup()
# pytest explains failed assertions in these modules as it does in tests.
pytest.register_assert_rewrite(
    "custom_site", "mail_folder", "mail_server", "mail_sink", "metrics", "outbox", "postgres", "processes", "raw_requests", "scripted_server", "service",
    "webhook_receiver"
)

# These imports need Django's models or the rewritten assertions above.
import service  # noqa: E402
from browser import browsing  # noqa: E402
from certificates import Authority  # noqa: E402
from django_site import migrate, on_database  # noqa: E402
from mail_server import MailServer, receiving  # noqa: E402
from postgres import Cluster, Database, django_on, migrate_site, running_cluster  # noqa: E402
from service import Service, SiteDatabase, run_command, serving  # noqa: E402


STORES = ["SQLite", "PostgreSQL"]
# These modules test what the store could change.
ON_BOTH_STORES = {
    "test_cancel_links", "test_clock", "test_crashes", "test_health", "test_outbox", "test_reset_by_mail", "test_tokens", "test_two_services",
    "test_worker",
}  # fmt: skip

# These modules measure what the service costs.
MEASURING = {"test_crowd", "test_slow"}


@pytest.fixture(scope="module", autouse=True)
def log_level(request: pytest.FixtureRequest) -> None:
    """Logs at trace level, because `serving` searches every log for text that it must never contain."""
    service.default_log_level = "info" if request.module.__name__ in MEASURING else "trace"


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a database that Django migrated. Tests copy it."""
    path = tmp_path_factory.mktemp("django") / "migrated.sqlite3"
    with on_database(path):
        migrate()
    return path


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "database" in metafunc.fixturenames and metafunc.module.__name__ in ON_BOTH_STORES:
        metafunc.parametrize("store", STORES)


@pytest.fixture
def store() -> str:
    return STORES[0]


@pytest.fixture
def database(store: str, request: pytest.FixtureRequest) -> SiteDatabase:
    """Returns a new database of the Django site, which Django uses."""
    if store == STORES[0]:
        return request.getfixturevalue("sqlite")
    database: Database = request.getfixturevalue("postgres")
    run_command(database, "migrate")
    return database


@pytest.fixture
def sqlite(migrated_file: Path, tmp_path: Path) -> Iterator[Path]:
    """Returns a new SQLite database of the Django site, which Django uses."""
    path = tmp_path / "db.sqlite3"
    shutil.copy(migrated_file, path)
    with on_database(path):
        yield path


@pytest.fixture(scope="module")
def module_database(migrated_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Like `database`, for a module whose tests do not depend on each other's changes."""
    path = tmp_path_factory.mktemp("module") / "db.sqlite3"
    shutil.copy(migrated_file, path)
    with on_database(path):
        yield path


@pytest.fixture(scope="module")
def module_service(module_database: Path) -> Iterator[Service]:
    """The service on `module_database`. It sends no email, and hashes passwords quickly."""
    with serving(module_database, module_database.parent, PASSWORD_HASHER_OPTIONS="iterations=10") as service:
        yield service


@pytest.fixture
def serve(database: SiteDatabase, tmp_path: Path) -> Iterator[Callable[..., Service]]:
    """Returns a function that starts the service on `database` with the given settings. Call it once per test."""
    with ExitStack() as stack:
        yield lambda **settings: stack.enter_context(serving(database, tmp_path, **settings))


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Runs a PostgreSQL server. A test that stops it must start it again."""
    with running_cluster() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def migrated_database(cluster: Cluster) -> Database:
    """Returns a PostgreSQL database that Django migrated. Tests copy it."""
    database = cluster.new_database()
    migrate_site(database)
    return database


@pytest.fixture
def postgres(cluster: Cluster, migrated_database: Database) -> Iterator[Database]:
    """Returns a new PostgreSQL database of the Django site, which Django uses."""
    database = cluster.new_database(template=migrated_database.name)
    with django_on(database):
        yield database


@pytest.fixture
def page() -> Iterator[Page]:
    """Returns a page of a new browser. While it is open, Django refuses to use the database from this thread."""
    with browsing() as page:
        yield page


@pytest.fixture
def mail_server(tmp_path: Path) -> Iterator[MailServer]:
    """Runs a mail server without TLS or authentication."""
    with receiving(tmp_path / "mail") as server:
        yield server


@pytest.fixture
def serve_with_mail(serve: Callable[..., Service], mail_server: MailServer) -> Callable[..., Service]:
    """Like `serve`, for a service that sends through `mail_server`."""
    smtp = {"EMAIL_BACKEND": "smtp", "EMAIL_HOST": "localhost", "EMAIL_PORT": str(mail_server.port)}
    return lambda **settings: serve(**smtp, **settings)


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Returns the certificate authority that the service trusts."""
    return Authority(tmp_path_factory.mktemp("authority"), "authority")
