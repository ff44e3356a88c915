import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import django
import pytest

os.environ["DJANGO_SETTINGS_MODULE"] = "site_settings"
django.setup()
# The assertions in these modules are the tests' own, to be explained like theirs.
pytest.register_assert_rewrite("processes", "service", "mail_server", "outbox", "scripted_server", "mail_sink", "metrics")

# Only now can these be imported: they need Django's models, or are named above.
import service  # noqa: E402
from certificates import Authority  # noqa: E402
from django_site import migrate, on_database  # noqa: E402
from mail_server import MailServer, receiving  # noqa: E402
from service import Service, serving  # noqa: E402


# Whose subject is what the service costs.
MEASURING = {"test_edge_crowd", "test_edge_slow"}


@pytest.fixture(scope="module", autouse=True)
def log_level(request: pytest.FixtureRequest) -> None:
    """Everything is logged that may ever be, as every log is searched for what must never be; see `serving`."""
    service.default_log_level = "info" if request.module.__name__ in MEASURING else "trace"


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database as Django's own migrations leave it, to be copied."""
    path = tmp_path_factory.mktemp("django") / "migrated.sqlite3"
    with on_database(path):
        migrate()
    return path


@pytest.fixture
def database(migrated_file: Path, tmp_path: Path) -> Iterator[Path]:
    """The Django site's database: fresh, and Django works on it."""
    path = tmp_path / "db.sqlite3"
    shutil.copy(migrated_file, path)
    with on_database(path):
        yield path


@pytest.fixture(scope="module")
def module_database(migrated_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """As `database`, for a module whose tests change nothing that another one sees."""
    path = tmp_path_factory.mktemp("module") / "db.sqlite3"
    shutil.copy(migrated_file, path)
    with on_database(path):
        yield path


@pytest.fixture(scope="module")
def module_service(module_database: Path) -> Iterator[Service]:
    """The service on `module_database`; it sends no mail, and hashes quickly."""
    with serving(module_database, module_database.parent, PASSWORD_HASHER_OPTIONS="iterations=10") as service:
        yield service


@pytest.fixture
def serve(database: Path, tmp_path: Path) -> Iterator[Callable[..., Service]]:
    """Starts the service on `database`, with the given settings; once in a test."""
    with ExitStack() as stack:
        yield lambda **settings: stack.enter_context(serving(database, tmp_path, **settings))


@pytest.fixture
def mail_server(tmp_path: Path) -> Iterator[MailServer]:
    """A mail server without TLS or login."""
    with receiving(tmp_path / "mail") as server:
        yield server


@pytest.fixture
def serve_with_mail(serve: Callable[..., Service], mail_server: MailServer) -> Callable[..., Service]:
    """As `serve`; mails go to `mail_server`."""
    smtp = {"EMAIL_BACKEND": "smtp", "EMAIL_HOST": "localhost", "EMAIL_PORT": str(mail_server.port)}
    return lambda **settings: serve(**smtp, **settings)


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The certificate authority that the service is told to trust."""
    return Authority(tmp_path_factory.mktemp("authority"), "authority")
