"""`check` finds what is wrong before the service starts, says how to fix it, and changes nothing."""

import hashlib
import json
import shutil
import socket
import sqlite3
import subprocess
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from certificates import Authority
from log_search import SHORTEST_SECRET, leaks, secrets_of
from mail_server import Login, receiving
from outbox import connected
from processes import running, wait_until
from scripted_server import Fault, Replies, scripted
from service import BASE_ENVIRONMENT, BINARY, run_program

# Fifty characters, without any word that a message could contain.
KEY = "q8Zx-3vKp-7Rt2-Lm5d-Wc9h-Yb4n-Gs6f-Ju1e-Ta0k-Xo2i-Vz"
SIZE = 400


@dataclass(frozen=True)
class Finding:
    id: str
    level: str
    message: str
    hint: str | None = None

    @property
    def number(self) -> str:
        return self.id.removeprefix("password_reset.")


@dataclass(frozen=True)
class Site:
    """A folder with a database, and settings of a service without any fault."""

    folder: Path
    settings: dict[str, str]

    @property
    def database(self) -> Path:
        return self.folder / "db.sqlite3"

    def file(self, name: str, text: str, mode: int = 0o600) -> str:
        path = self.folder / name
        path.write_text(text)
        path.chmod(mode)
        return str(path)

    def set(self, **settings: str) -> None:
        """Sets each value that is not empty, and removes the others."""
        merged = self.settings | settings
        self.settings.clear()
        self.settings.update({name: value for name, value in merged.items() if value})

    def run(self, *arguments: str, seconds: float = 60) -> subprocess.CompletedProcess[str]:
        return run_program(BASE_ENVIRONMENT | self.settings, *arguments, seconds=seconds)

    def check(self, *arguments: str) -> list[Finding]:
        done = self.run("check", "--json", *arguments)
        findings = [Finding(**entry) for entry in json.loads(done.stdout)]
        has_error = any(finding.level == "error" for finding in findings)
        assert done.returncode == (78 if has_error else 0), done.stdout + done.stderr
        return findings

    @property
    def files(self) -> dict[str, str]:
        """Returns every file in the folder with a hash of its content."""
        return {str(path.relative_to(self.folder)): content(path) for path in sorted(self.folder.rglob("*"))}

    def still_has(self, before: dict[str, str]) -> bool:
        """Returns whether each of these files is unchanged. `test_a_check_leaves_no_files_next_to_the_database` looks
        for new files.
        """
        return before.items() <= self.files.items()


def content(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"


@pytest.fixture(scope="module")
def made_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a database as `migrate` leaves it, with some users."""
    path = tmp_path_factory.mktemp("made") / "db.sqlite3"
    done = run_program(BASE_ENVIRONMENT | {"DATABASE_URL": f"sqlite:{path}"}, "migrate")
    assert done.returncode == 0, done.stderr
    with connected(path) as connection:
        connection.executemany(
            "INSERT INTO auth_user (password, is_superuser, username, last_name, email, is_staff, is_active, date_joined, first_name)"
            " VALUES ('!', 0, ?, '', ?, 0, 1, '2026-01-01 00:00:00', '')",
            [(f"user{number}" + "x" * 100, f"user{number}@example.com") for number in range(SIZE)],
        )
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path


@pytest.fixture
def site(made_database: Path, tmp_path: Path) -> Site:
    folder = tmp_path / "site"
    folder.mkdir()
    shutil.copy(made_database, folder / "db.sqlite3")
    (folder / "db.sqlite3").chmod(0o600)
    settings = {
        "HTTP_PORT": "0",
        "ADMIN_PORT": "0",
        "DATABASE_URL": f"sqlite:{folder / 'db.sqlite3'}",
        "SECRET_KEY": KEY,
        "RESET_URL": "https://frontend.example.com/reset/{uid}/{token}/",
        "EMAIL_BACKEND": "smtp",
        "EMAIL_HOST": "localhost",
        "DEFAULT_FROM_EMAIL": "noreply@example.com",
    }
    return Site(folder, settings)


def test_a_site_without_faults_has_no_findings(site: Site) -> None:
    assert site.check() == []
    for arguments in ([], ["--fail-level", "error"], ["--fail-level", "warning"]):
        done = site.run("check", *arguments)
        assert (done.returncode, done.stdout.splitlines()[-1], done.stderr) == (0, "No problems found.", "")


Prepare = Callable[[Site], None]


def damage(site: Site) -> None:
    """Overwrites the middle of the file with garbage, as a bad disk does; its head stays intact."""
    size = site.database.stat().st_size
    assert size > 16 * 4096
    with site.database.open("r+b") as file:
        file.seek(size // 2)
        file.write(b"\xa5" * 8192)


def age(site: Site) -> None:
    with connected(site.database) as connection:
        connection.execute("INSERT INTO grdb_migrations VALUES ('999 of a later release')")
    checkpoint(site)


def checkpoint(site: Site) -> None:
    with closing(sqlite3.connect(site.database)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def put_foreign_users(site: Site) -> None:
    site.database.unlink()
    with connected(site.database) as connection:
        connection.execute("CREATE TABLE auth_user (id INTEGER PRIMARY KEY, login TEXT, mail TEXT)")
    site.database.chmod(0o600)


# Django's table without its key.
OTHER_COLUMNS = (
    "password varchar(128) NOT NULL, last_login datetime, is_superuser bool NOT NULL, username varchar(150) NOT NULL UNIQUE,"
    " last_name varchar(150) NOT NULL, email varchar(254) NOT NULL, is_staff bool NOT NULL, is_active bool NOT NULL,"
    " date_joined datetime NOT NULL, first_name varchar(150) NOT NULL"
)


def made_by(script: str) -> Prepare:
    """Returns a function that creates a database of another program, with only these tables."""

    def prepare(site: Site) -> None:
        site.database.unlink()
        with connected(site.database) as connection:
            connection.executescript(script)
        site.database.chmod(0o600)

    return prepare


def with_key(key: str) -> Prepare:
    """Creates an `auth_user` with another key."""
    return made_by(f"CREATE TABLE auth_user ({OTHER_COLUMNS}, {key})")


def put_garbage(site: Site) -> None:
    site.database.write_bytes(b"this is no database, " * 1000)


def put_folder(site: Site) -> None:
    site.database.unlink()
    site.database.mkdir()


def settings(**values: str) -> Prepare:
    return lambda site: site.set(**values)


def with_file(name: str, text: str, mode: int = 0o600, **others: str) -> Prepare:
    """Returns a setting that names a file."""
    return lambda site: site.set(**{name: site.file(name.lower(), text, mode)}, **others)


def with_secret(text: str) -> Prepare:
    """Puts the secret key into a file that is called "key file"."""
    return lambda site: site.set(SECRET_KEY="", SECRET_KEY_FILE=site.file("key file", text))


def templates(text: str) -> Prepare:
    def prepare(site: Site) -> None:
        (site.folder / "templates").mkdir()
        site.file("templates/password_reset_subject.txt", text)
        site.set(EMAIL_TEMPLATES_DIR=str(site.folder / "templates"))

    return prepare


# The number of the finding, what the message or the hint must name, and how the fault is produced.
ERRORS: dict[str, tuple[str, str, Prepare]] = {
    "an unknown setting": ("E001", "EMAIL_HOSTS", settings(EMAIL_HOSTS="mail.example.com")),
    "an unknown setting in the file": ("E001", "HTTP_PROT", with_file("PASSWORD_RESET_CONFIG", "HTTP_PROT: 8080\n")),
    "no secret key": ("E002", "SECRET_KEY", settings(SECRET_KEY="")),
    "no mail backend": ("E002", "EMAIL_BACKEND", settings(EMAIL_BACKEND="")),
    "a port that is none": ("E003", "HTTP_PORT", settings(HTTP_PORT="http")),
    "a sender in quotation marks": ("E003", "DEFAULT_FROM_EMAIL", settings(DEFAULT_FROM_EMAIL='"Example <noreply@example.com>"')),
    "a mail server in quotation marks": ("E003", "EMAIL_HOST", settings(EMAIL_HOST='"localhost"')),
    "a key with a line end": ("E003", "SECRET_KEY", settings(SECRET_KEY=f"{KEY}\n")),
    "a file with a key and its name": ("E003", "key file", with_secret(f"SECRET_KEY={KEY}\n")),
    "a file of a shell with a key": ("E003", "key file", with_secret(f"export DJANGO_SECRET_KEY='{KEY}'\n")),
    "a file of Python with a key": ("E003", "key file", with_secret(f"SECRET_KEY = '{KEY}'\n")),
    "a file of JSON with a key": ("E003", "key file", with_secret(json.dumps({"key": KEY}))),
    "a file of several lines with a key": ("E003", "key file", with_secret(f"{KEY}\n\nanother line\n")),
    "a file that is too long for a key": ("E003", "key file", with_secret(KEY * 2000)),
    "a name of a key file with a line end": ("E003", "SECRET_KEY_FILE", settings(SECRET_KEY="", SECRET_KEY_FILE="/dev/null\n")),
    "a name of the settings file in quotation marks": ("E003", "PASSWORD_RESET_CONFIG", settings(PASSWORD_RESET_CONFIG='"/dev/null"')),
    "a short secret key": ("E004", "SECRET_KEY", settings(SECRET_KEY=KEY[:31])),
    "a short former key": ("E004", "SECRET_KEY_FALLBACKS", settings(SECRET_KEY_FALLBACKS=KEY[:31])),
    "a link in the clear": ("E005", "RESET_URL", settings(RESET_URL="http://frontend.example.com/{uid}/{token}")),
    "two kinds of TLS": ("E006", "EMAIL_USE_SSL", settings(EMAIL_USE_TLS="true", EMAIL_USE_SSL="true")),
    "a key without a certificate": ("E006", "HTTP_SSL_CERTFILE", with_file("HTTP_SSL_KEYFILE", "")),
    "a user without a password": ("E006", "EMAIL_HOST_PASSWORD", settings(EMAIL_HOST_USER="mailer", EMAIL_USE_TLS="true")),
    "a missing file": ("E007", "EMAIL_SSL_CERTFILE", settings(EMAIL_SSL_CERTFILE="/nonexistent/certificate")),
    "a missing file of a secret": ("E007", "SECRET_KEY_FILE", settings(SECRET_KEY="", SECRET_KEY_FILE="/nonexistent/key")),
    "a file of settings that is none": ("E008", "PASSWORD_RESET_CONFIG", with_file("PASSWORD_RESET_CONFIG", "- SITE_NAME\n")),
    "a broken template": ("E009", "EMAIL_TEMPLATES_DIR", templates("{{#words}} without an end")),
    "a language that there is not": ("E009", "LANGUAGE_CODE", settings(LANGUAGE_CODE="tlh")),
    "a certificate that is none": ("E010", "HTTP_SSL_CERTFILE", with_file("HTTP_SSL_CERTFILE", "none", HTTP_SSL_KEYFILE="/dev/null")),
    "a database that is a folder": ("E011", "DATABASE_URL", put_folder),
    "a database in no folder": ("E011", "DATABASE_URL", settings(DATABASE_URL="sqlite:/nonexistent/folder/db.sqlite3")),
    "a database that is none": ("E011", "DATABASE_URL", put_garbage),
    "a damaged database": ("E012", "damaged", damage),
    "a newer schema": ("E013", "newer", age),
    "users that are not Django's": ("E014", "auth_user", put_foreign_users),
    "users of the site's own model": (
        "E014", "accounts_user", made_by(f"CREATE TABLE django_migrations (id integer); CREATE TABLE accounts_user (id uuid, {OTHER_COLUMNS})"),
    ),
    "users of a site that is not Django's": (
        "E014", "members", made_by("CREATE TABLE members (id integer PRIMARY KEY, Password text, Last_Login text)"),
    ),
    "a site that is not migrated yet": ("E014", "manage.py migrate", made_by("CREATE TABLE django_migrations (id integer PRIMARY KEY)")),
    "a site with content types alone": ("E014", "django_content_type", made_by("CREATE TABLE django_content_type (id integer PRIMARY KEY)")),
    "users that are a view": ("E014", "view", made_by("CREATE TABLE u (id integer); CREATE VIEW auth_user AS SELECT * FROM u")),
    "a key that is a time": ("E014", "datetime", with_key("id datetime NOT NULL PRIMARY KEY")),
    "a key that is a blob": ("E014", "BLOB", with_key("id blob NOT NULL PRIMARY KEY")),
    "a key without a type": ("E014", "no type", with_key("id PRIMARY KEY")),
    "no key": ("E014", "primary key", with_key("id integer NOT NULL")),
    "a key of two columns": ("E014", "primary key", with_key("id integer NOT NULL, PRIMARY KEY (id, username)")),
    "a trigger that only the site can run": (
        "E014", "of_the_site",
        made_by(
            f"CREATE TABLE auth_user (id integer PRIMARY KEY, {OTHER_COLUMNS});"
            " CREATE TRIGGER changed AFTER UPDATE ON auth_user BEGIN SELECT of_the_site(new.id); END"
        ),
    ),
}
WARNINGS: dict[str, tuple[str, str, Prepare]] = {
    "a backend that drops emails": ("W001", "EMAIL_BACKEND", settings(EMAIL_BACKEND="dummy")),
    "mails for the terminal": ("W001", "EMAIL_BACKEND", settings(EMAIL_BACKEND="console")),
    "a link that lives too long": ("W002", "PASSWORD_RESET_TIMEOUT", settings(PASSWORD_RESET_TIMEOUT="86401")),
    "a login in the clear": ("W003", "EMAIL_USE_TLS", settings(EMAIL_HOST_USER="mailer", EMAIL_HOST_PASSWORD="of-the-mailer")),
    "a database for everybody": ("W004", "DATABASE_URL", lambda site: site.database.chmod(0o644)),
    "a key for everybody": ("W004", "SECRET_KEY_FILE", with_file("SECRET_KEY_FILE", KEY, 0o644, SECRET_KEY="")),
    "settings for everybody": (
        "W004", "PASSWORD_RESET_CONFIG", with_file("PASSWORD_RESET_CONFIG", f"SECRET_KEY: {KEY}\n", 0o644, SECRET_KEY=""),
    ),
    "an origin in the clear": ("W005", "CORS_ALLOWED_ORIGINS", settings(CORS_ALLOWED_ORIGINS="https://a.example,http://b.example")),
    "no database yet": ("W007", "migrate", lambda site: site.database.unlink()),
    "no limit for requests": ("W008", "RATE_LIMIT_REQUESTS", settings(RATE_LIMIT_REQUESTS="off")),
    "no limit for links": ("W008", "RATE_LIMIT_LINKS", settings(RATE_LIMIT_LINKS="off")),
    "no limit for mails": ("W008", "RATE_LIMIT_MAILS", settings(RATE_LIMIT_MAILS="off")),
    "a listener for everybody": ("W009", "TRUSTED_PROXIES", settings(HTTP_HOST="0.0.0.0")),
    "no sender": ("W010", "DEFAULT_FROM_EMAIL", settings(DEFAULT_FROM_EMAIL="")),
    "a link to this machine": ("W011", "RESET_URL", settings(RESET_URL="")),
    "a key that is rather short": ("W012", "SECRET_KEY", settings(SECRET_KEY=KEY[:49])),
    "a key of few characters": ("W012", "SECRET_KEY", settings(SECRET_KEY="abcd" * 15)),
    "a key of Django's template": ("W012", "SECRET_KEY", settings(SECRET_KEY=f"django-insecure-{KEY}")),
    "an admin listener for everybody": ("W013", "ADMIN_HOST", settings(ADMIN_HOST="0.0.0.0")),
    "a key in quotation marks": ("W016", "SECRET_KEY", settings(SECRET_KEY=f'"{KEY}"')),
    "a key in quotation marks in a file": ("W016", "key file", with_secret(f"'{KEY}'\n")),
    "a key with blanks in a file": ("W016", "key file", with_secret(f"{KEY} \n")),
    "former keys in quotation marks": ("W016", "SECRET_KEY_FALLBACKS", settings(SECRET_KEY_FALLBACKS=f'"{KEY},{KEY}x"')),
    "a former key in quotation marks": ("W016", "SECRET_KEY_FALLBACKS", settings(SECRET_KEY_FALLBACKS=f"{KEY}x,'{KEY}'")),
    "a password in quotation marks": (
        "W016", "EMAIL_HOST_PASSWORD",
        settings(EMAIL_HOST_USER="mailer", EMAIL_HOST_PASSWORD="'of-the-mailer'", EMAIL_USE_TLS="true"),
    ),
    "a site name in quotation marks": ("W016", "SITE_NAME", settings(SITE_NAME='"Example"')),
}


def assert_is_found(findings: list[Finding], level: str, number: str, words: str) -> None:
    """Checks that the finding exists, has the right level, and is the only one: one mistake is one finding."""
    of_level = [finding for finding in findings if finding.level == level]
    assert [finding.number for finding in of_level] == [number], findings
    assert words in f"{of_level[0].message} {of_level[0].hint}"
    assert all(len(line) < 300 for line in of_level[0].message.splitlines())


@pytest.mark.parametrize("what", ERRORS)
def test_each_error_is_found(what: str, site: Site) -> None:
    number, words, prepare = ERRORS[what]
    prepare(site)
    before = site.files
    findings = site.check()
    assert_is_found(findings, "error", number, words)
    assert KEY[:31] not in str(findings)
    assert site.still_has(before)


@pytest.mark.parametrize("what", [what for what, (number, _, _) in ERRORS.items() if number != "E012"])
def test_the_service_refuses_to_start_with(what: str, site: Site) -> None:
    number, words, prepare = ERRORS[what]
    prepare(site)
    before = site.files
    done = site.run("serve", seconds=5)
    assert done.returncode == 78, done.stderr
    assert words in done.stderr
    # A start must not touch some databases.
    assert number not in ("E011", "E013", "E014") or site.still_has(before)


@pytest.mark.parametrize("what", [what for what, (number, _, _) in ERRORS.items() if number == "E014"])
@pytest.mark.parametrize("arguments", [["serve", "--dev"], ["migrate"], ["users", "list"], ["users", "add", "a", "--email", "a@b.co"]], ids=" ".join)
def test_no_command_changes_a_database_with_an_unusable_users_table(arguments: list[str], what: str, site: Site) -> None:
    _, words, prepare = ERRORS[what]
    prepare(site)
    before = site.files
    done = site.run(*arguments, seconds=20)
    assert done.returncode == 78, done.stdout + done.stderr
    assert words in done.stderr
    # `--dev` keeps its secret key next to the database.
    assert site.still_has(before)


@pytest.mark.parametrize("what", WARNINGS)
def test_each_warning_is_found(what: str, site: Site) -> None:
    number, words, prepare = WARNINGS[what]
    prepare(site)
    before = site.files
    findings = site.check()
    assert [finding.level for finding in findings] == ["warning"], findings
    assert_is_found(findings, "warning", number, words)
    assert not any(secret in str(findings) for secret in (KEY[:31], "of-the-mailer"))
    assert site.still_has(before)


def test_fail_level_makes_a_warning_a_failure(site: Site) -> None:
    site.set(RATE_LIMIT_LINKS="off")
    codes = [site.run("check", *arguments).returncode for arguments in ([], ["--fail-level", "error"], ["--fail-level", "warning"])]
    assert codes == [0, 0, 78]


@pytest.mark.parametrize("mode", ["DELETE", "WAL"])
@pytest.mark.parametrize("what", ["all is well", "a newer schema", "a damaged database"])
def test_a_check_leaves_no_files_next_to_the_database(what: str, mode: str, site: Site) -> None:
    """Log files that root leaves there might be unusable for the service."""
    if what != "all is well":
        ERRORS[what][2](site)
    with closing(sqlite3.connect(site.database)) as connection:
        connection.execute(f"PRAGMA journal_mode = {mode}")
    before = site.files
    assert list(before) == ["db.sqlite3"]
    site.check()
    assert site.files == before


def test_pending_migrations_are_reported_but_not_applied(site: Site, migrated_file: Path) -> None:
    shutil.copy(migrated_file, site.database)
    site.database.chmod(0o600)
    before = site.files
    assert_is_found(site.check(), "warning", "W006", "migrat")
    assert site.still_has(before)
    assert site.run("migrate").returncode == 0
    assert site.check() == []


@pytest.mark.parametrize("mode", [0o600, 0o644])
def test_only_the_service_may_read_the_key_of_its_certificate(mode: int, site: Site, authority: Authority) -> None:
    pem = authority.issue("localhost").read_text()
    key, begin, certificate = pem.partition("-----BEGIN CERTIFICATE-----")
    certificate_file = site.file("certificate", begin + certificate, 0o644)
    site.set(HTTP_SSL_CERTFILE=certificate_file, HTTP_SSL_KEYFILE=site.file("key", key, mode))
    if mode == 0o600:
        assert site.check() == []
    else:
        assert_is_found(site.check(), "warning", "W004", "HTTP_SSL_KEYFILE")


def test_every_user_may_read_settings_without_a_secret(site: Site) -> None:
    site.set(PASSWORD_RESET_CONFIG=site.file("settings", "SITE_NAME: Example\n", 0o644))
    assert site.check() == []


@pytest.mark.parametrize(
    "harmless",
    [
        pytest.param({"HTTP_HOST": "0.0.0.0", "TRUSTED_PROXIES": "10.0.0.0/8"}, id="a listener on all addresses behind a proxy"),
        pytest.param({"CORS_ALLOWED_ORIGINS": "http://localhost:3000"}, id="an origin on this machine in the clear"),
        pytest.param({"PASSWORD_RESET_TIMEOUT": "86400"}, id="a link that is valid for a day"),
        pytest.param({"ADMIN_HOST": "::1"}, id="an admin listener for this machine alone"),
        pytest.param({"RATE_LIMIT_MAILS_TOTAL": "off"}, id="no limit for all emails together"),
        pytest.param({"EMAIL_HOST_USER": "mailer", "EMAIL_HOST_PASSWORD": "of-the-mailer", "EMAIL_USE_TLS": "true"}, id="a login by TLS"),
    ],
)
def test_there_is_no_warning_about(harmless: dict[str, str], site: Site) -> None:
    site.set(**harmless)
    assert site.check() == []


def test_a_database_in_use_is_not_changed(site: Site) -> None:
    """Another process writes to the database, so its log files are next to it."""
    with closing(sqlite3.connect(site.database, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("UPDATE auth_user SET first_name = 'Alice'")
        before = content(site.database), content(site.database.with_name("db.sqlite3-wal"))
        assert site.check() == []
        assert (content(site.database), content(site.database.with_name("db.sqlite3-wal"))) == before
        connection.execute("COMMIT")
        (count,) = connection.execute("SELECT count(*) FROM auth_user WHERE first_name = 'Alice'").fetchone()
        assert count == SIZE


@pytest.fixture
def old_sqlite(tmp_path: Path) -> Path:
    """Returns a library that replaces SQLite's version number with one from 2013."""
    compiler = shutil.which("cc")
    assert compiler, "there is no C compiler; install Debian's package build-essential"
    source = tmp_path / "old.c"
    source.write_text('int sqlite3_libversion_number(void) { return 3007017; }\nconst char *sqlite3_libversion(void) { return "3.7.17"; }\n')
    library = tmp_path / "old.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source], check=True)
    return library


def test_an_sqlite_that_is_too_old_is_an_error(site: Site, old_sqlite: Path) -> None:
    site.set(LD_PRELOAD=str(old_sqlite))
    assert_is_found(site.check(), "error", "E015", "SQLite")
    done = site.run("serve", seconds=5)
    assert done.returncode == 78 and "SQLite" in done.stderr


def test_findings_are_printed_like_those_of_django(site: Site) -> None:
    site.set(HTTP_PORT="http", EMAIL_TIMEOUT="-1", EMAIL_HOSTS="mail.example.com")
    done = site.run("check")
    assert done.returncode == 78
    *lines, last = done.stdout.splitlines()
    assert "password_reset.E003 error: HTTP_PORT must be a whole number between 0 and 65535." in lines
    assert last == "3 errors, 0 warnings." or last == "3 errors."
    for line in lines:
        assert line.startswith(("password_reset.", "    hint: ", "  hint: ", "\thint: ")), line


def test_errors_and_warnings_are_counted(site: Site) -> None:
    """One wrong setting does not hide warnings about the others."""
    site.set(HTTP_PORT="http", EMAIL_TIMEOUT="-1")
    site.database.chmod(0o644)
    last = site.run("check").stdout.splitlines()[-1]
    assert last in ("2 errors, 1 warning.", "2 errors.", "2 errors, 0 warnings.")
    site.set(HTTP_PORT="0", EMAIL_TIMEOUT="30", ADMIN_HOST="0.0.0.0")
    done = site.run("check")
    assert done.stdout.splitlines()[-1].endswith("2 warnings.")
    assert done.stdout.count("warning: ") == 2


@pytest.mark.parametrize("arguments", [["--fail-level", "info"], ["--fail-level"], ["--connected"], ["now"]], ids=str)
def test_wrong_usage_has_an_exit_status(arguments: list[str], site: Site) -> None:
    assert site.run("check", *arguments).returncode == 64


def test_the_service_logs_each_warning_once(site: Site) -> None:
    site.set(PASSWORD_RESET_TIMEOUT="86401", RATE_LIMIT_LINKS="off", DEFAULT_FROM_EMAIL="")
    log = site.folder / "service.log"
    messages = [finding.message for finding in site.check()]
    assert len(messages) == 3
    with running([BINARY, "serve"], BASE_ENVIRONMENT | site.settings, log) as process:
        wait_until(lambda: process.poll() is not None or "listening on 127.0.0.1" in log.read_text(), "the service to listen")
    assert leaks(log.read_text(), secrets_of(site.settings)) == []
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    warnings = [str(entry) for entry in entries if entry["level"] == "warning"]
    for message in messages:
        name = message.split()[0]
        assert sum(name in warning for warning in warnings) == 1, warnings


# No dialogue of the check may contain these: the commands that send an email or verify an address.
FORBIDDEN = {"DATA", "BDAT", "VRFY", "EXPN", "SEND", "SAML", "SOML"}


@dataclass(frozen=True)
class ConnectionCheck:
    findings: list[Finding]
    heard: list[str]


def check_connection(site: Site, replies: Replies, **settings: str) -> ConnectionCheck:
    with scripted(replies) as server:
        site.set(EMAIL_PORT=str(server.port), EMAIL_TIMEOUT="2", **settings)
        findings = site.check("--connect")
        assert server.connections, "no client connected"
        return ConnectionCheck(findings, list(server.heard))


LOGIN = {"EMAIL_HOST_USER": "mailer", "EMAIL_HOST_PASSWORD": "password-of-the-mailer"}
OFFER = {"EHLO": "250-scripted\r\n250 AUTH PLAIN", "AUTH": "334 "}
PLAIN = b64encode(b"\0mailer\0password-of-the-mailer").decode()


@pytest.mark.parametrize(
    ("replies", "login"),
    [
        pytest.param({}, {}, id="that works"),
        pytest.param(OFFER | {PLAIN: "235 welcome"}, LOGIN, id="that accepts the login"),
    ],
)
def test_a_check_signs_in_asks_for_an_email_and_sends_none(replies: Replies, login: dict[str, str], site: Site) -> None:
    before = site.files
    seen = check_connection(site, replies, **login)
    assert [finding for finding in seen.findings if finding.level == "error"] == []
    assert {"EHLO", "MAIL", "RCPT", "RSET"} <= set(seen.heard)
    assert FORBIDDEN & set(seen.heard) == set()
    assert ("AUTH" in seen.heard) == bool(login)
    assert site.still_has(before)


@pytest.mark.parametrize(
    ("replies", "login"),
    [
        pytest.param({"greeting": "554 no service"}, {}, id="that refuses every client"),
        pytest.param({"greeting": Fault.CUT}, {}, id="that hangs up"),
        pytest.param({"greeting": Fault.SILENCE}, {}, id="that says nothing"),
        pytest.param({"EHLO": "550 not you", "HELO": "550 not you"}, {}, id="that refuses our name"),
        pytest.param(OFFER | {PLAIN: "535 no"}, LOGIN, id="that refuses the login"),
        pytest.param({}, LOGIN, id="that offers no login"),
    ],
)
def test_a_check_reports_a_mail_server(replies: Replies, login: dict[str, str], site: Site) -> None:
    seen = check_connection(site, replies, **login)
    assert_is_found(seen.findings, "error", "E016", "localhost")
    assert FORBIDDEN & set(seen.heard) == set()
    assert "password-of-the-mailer" not in str(seen.findings) and len("password-of-the-mailer") >= SHORTEST_SECRET


def test_a_check_reports_a_mail_server_that_is_down(site: Site) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    site.set(EMAIL_PORT=str(port))
    assert_is_found(site.check("--connect"), "error", "E016", "localhost")
    # Without `--connect`, the check does not know, and the service starts: emails wait.
    assert site.check() == []


@pytest.fixture
def untrusted(tmp_path: Path) -> Iterator[Path]:
    """Returns a certificate that the service has no reason to trust."""
    yield Authority(tmp_path, "untrusted").issue("localhost")


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
@pytest.mark.parametrize("is_trusted", [True, False], ids=["trusted", "not trusted"])
def test_a_check_verifies_the_certificate(
    is_trusted: bool, tls: str, site: Site, untrusted: Path, authority: Authority, tmp_path: Path
) -> None:
    certificate = authority.issue("localhost") if is_trusted else untrusted
    with receiving(tmp_path / "mail", tls=tls, certificate=certificate, login=Login()) as server:
        site.set(
            **{"EMAIL_USE_TLS" if tls == "starttls" else "EMAIL_USE_SSL": "true"},
            EMAIL_PORT=str(server.port),
            EMAIL_HOST_USER=Login().user,
            EMAIL_HOST_PASSWORD=Login().password,
            SSL_CERT_FILE=str(authority.file),
        )
        findings = site.check("--connect")
        clear, encrypted = set(server.commands(encrypted=False)), set(server.commands(encrypted=True))
        assert server.deliveries == []
    assert clear <= {"EHLO", "STARTTLS", "QUIT"}
    assert FORBIDDEN & encrypted == set()
    if is_trusted:
        assert findings == []
        assert "AUTH" in encrypted
    else:
        assert_is_found(findings, "error", "E016", "localhost")
        assert "AUTH" not in encrypted


def test_a_check_connects_only_where_needed(site: Site) -> None:
    """It does not connect without `--connect`, or if emails do not go through SMTP."""
    with scripted({}) as server:
        site.set(EMAIL_PORT=str(server.port))
        assert site.check() == []
        site.set(EMAIL_BACKEND="dummy")
        assert [finding.number for finding in site.check("--connect")] == ["W001"]
        assert server.connections == []


def test_a_directory_for_emails_that_cannot_be_written_is_found(site: Site) -> None:
    (site.folder / "a-file").touch()
    for path in (site.folder / "a-file", site.folder / "a-file" / "mails", Path("/dev/null/mails"), Path("/proc/mails")):
        site.set(EMAIL_BACKEND="file", EMAIL_FILE_PATH=str(path))
        assert "E017" in [finding.number for finding in site.check()]
        done = site.run("serve")
        assert done.returncode == 78 and "EMAIL_FILE_PATH" in done.stderr
    site.set(EMAIL_FILE_PATH=str(site.folder / "new" / "mails"))
    assert "E017" not in [finding.number for finding in site.check()]
    assert not (site.folder / "new").exists()


@pytest.mark.parametrize("host", ["nowhere.invalid", "192.0.2.1", "2001:db8::1"])
@pytest.mark.parametrize("name", ["HTTP_HOST", "ADMIN_HOST"])
def test_an_address_that_cannot_be_used_is_found(name: str, host: str, site: Site) -> None:
    site.set(**{name: host})
    found = [finding for finding in site.check() if finding.number == "W024"]
    assert len(found) == 1 and name in found[0].message
    done = site.run("serve")
    assert done.returncode == 1 and name in done.stderr


def test_no_database_can_be_created_in_a_virtual_folder(site: Site) -> None:
    site.set(DATABASE_URL="sqlite:/proc/db.sqlite3")
    assert "E011" in [finding.number for finding in site.check()]
    assert site.run("serve").returncode == 78


def test_too_few_files_are_found(site: Site) -> None:
    for arguments in (["check"], ["serve"]):
        limited = ["sh", "-c", 'ulimit -n 100 && exec "$@"', "sh", BINARY, *arguments]
        done = subprocess.run(limited, env=BASE_ENVIRONMENT | site.settings, capture_output=True, text=True, timeout=60)
        assert done.returncode == 78 and "may open only 100 files" in done.stdout + done.stderr, done.stdout + done.stderr


def test_every_part_of_the_configuration_is_checked_next_to_an_error(site: Site) -> None:
    site.set(SECRET_KEYS="x", SECRET_KEY="", EMAIL_TEMPLATES_DIR="/nowhere", RESETURL="https://example.com", EMAIL_SUBJECT_PREFIX="[Shop] ")
    certificate = site.file("cert.pem", "no certificate")
    site.set(HTTP_SSL_CERTFILE=certificate, HTTP_SSL_KEYFILE=certificate, EMAIL_BACKEND="file", EMAIL_FILE_PATH="/dev/null/mails")
    site.database.write_bytes(b"x" * 4096)
    assert {finding.number for finding in site.check()} >= {"E001", "E002", "E009", "E010", "E011", "E017", "W018", "W019"}
