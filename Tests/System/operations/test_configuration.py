"""The configuration is read strictly, from the environment and one file, and is shown without its secrets."""

import json
import re
import subprocess
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zoneinfo import available_timezones

import pytest
from django.contrib.auth.tokens import PasswordResetTokenGenerator

from django_site import add_user
from paths import ROOT
from service import BASE_ENVIRONMENT, run_program

# Every value that must not be printed contains this.
CANARY = "canary"
KEY = "canary-0123456789-abcdefghijklmnopqrstuvwxyz-0123456789"
NOWHERE = "/nonexistent/canary"
# How many seconds a start may take until it is refused.
LONGEST_REFUSAL = 2


@dataclass(frozen=True)
class Bad:
    """Settings of which one is wrong; an empty one is absent."""

    key: str
    remedy: str
    settings: dict[str, str]
    # Other texts that must not be printed.
    canary: str = CANARY

    def __str__(self) -> str:
        return f"{self.key}: {self.remedy}"


def bad(key: str, value: str, remedy: str, *, canary: str = CANARY, **others: str) -> Bad:
    return Bad(key, remedy, {key: value} | others, canary)


WHOLE = "must be a whole number between"
FLAG = "must be true or false"
FILE = "names a file that cannot be read"
LIMITS = "must be rate limits separated by commas"
LINE = "must be one line, without line ends"
BLANKS = "must not begin or end with white space"
QUOTES = "must not begin and end with a quotation mark"
LIST = "must be separated by commas, not a JSON list"
ALONE = "must be only the value"

BAD = [
    bad("HTTP_PORT", "canary-8080", WHOLE),
    bad("HTTP_PORT", "70123", WHOLE, canary="70123"),
    bad("HTTP_PORT", "-7777", WHOLE, canary="7777"),
    bad("HTTP_PORT", "８０８０", WHOLE, canary="８０８０"),
    bad("ADMIN_PORT", "canary", WHOLE),
    bad("DATABASE_URL", "mysql://canary:canary@db/site", "must be sqlite:<path>"),
    bad("DATABASE_URL", "postgresql://user:canary%@db/site", "is not a URL that PostgreSQL's library can read"),
    bad("DATABASE_URL", "postgres://user:canary@db:port/site?canary", "is not a URL that PostgreSQL's library can read"),
    bad("DATABASE_URL", "postgres://user:ca/nary@db/site", "%2F", canary="nary"),
    bad("DATABASE_URL", "postgres://user:pass@canary@db/site", "%40"),
    bad("DATABASE_PASSWORD_FILE", NOWHERE, FILE),
    bad("USE_TZ", "canary", FLAG),
    bad("DATABASE_URL", "sqlite://canary.sqlite3", "must be sqlite:<path>"),
    bad("DATABASE_URL", "sqlite:///etc/passwd", "has three slashes", canary="etc/passwd"),
    bad("SECRET_KEY", "", "is required"),
    bad("SECRET_KEY", "canary-too-short", "at least 32 characters"),
    bad("SECRET_KEY_FALLBACKS", f"{KEY},canary-too-short", "at least 32 characters"),
    bad("SECRET_KEY_FALLBACKS", f"{KEY}, {KEY}", "without spaces"),
    bad("SECRET_KEY_FILE", NOWHERE, FILE, SECRET_KEY=""),
    bad("SECRET_KEY_FILE", NOWHERE, "both set"),
    bad("PASSWORD_RESET_TIMEOUT", "3600canary", WHOLE),
    bad("PASSWORD_RESET_TIMEOUT", "31536001", WHOLE, canary="31536001"),
    bad("TIME_ZONE", "Atlantic/canary", "must be a time zone"),
    bad("RESET_URL", "https://canary.example.com/reset/{uid}", "{uid} and {token}"),
    bad("RESET_URL", "http://canary.example.com/{uid}/{token}", "must begin with https://"),
    bad("RESET_URL", "https://canary.example.com/reset/{{uid}}/{{token}}", "exactly as {uid} and {token}"),
    bad("RESET_URL", "canaryapp://reset/{uid}/{token}", "must begin with https://"),
    bad("RESET_URL", 'https://canary.example.com/{uid}/{token}"', "cannot be part of a URL"),
    bad("HTTP_HOST", "127.0.0.1:8480", "must be an address", canary="8480"),
    bad("HTTP_HOST", "http://canary.example.com", "The port must be in HTTP_PORT."),
    bad("ADMIN_HOST", "[::1]", "must be an address", canary="[::1]"),
    bad("ADMIN_HOST", "canary example", "must be an address"),
    bad("ADMIN_PORT", "9471", "Each listener needs its own port.", canary="9471", HTTP_PORT="9471"),
    bad("CORS_ALLOWED_HEADERS", "canary header", "must be names of headers"),
    bad("CORS_ALLOW_CREDENTIALS", "canary", FLAG),
    bad("SITE_NAME", "canary\ncanary", "must be one line"),
    bad("LANGUAGE_CODE", "tlh-canary", "must be one of"),
    bad("DEFAULT_FROM_EMAIL", "canary@@example.com", "must be one email address"),
    bad("DEFAULT_FROM_EMAIL", "a@example.com, canary@example.com", "must be one email address"),
    bad("EMAIL_BACKEND", "", "is required"),
    bad("EMAIL_BACKEND", "canary", "must be one of"),
    bad("EMAIL_HOST", "smtp://canary.example.com", "The port must be in EMAIL_PORT."),
    bad("EMAIL_HOST", "canary.example.com:25", "The port must be in EMAIL_PORT."),
    bad("EMAIL_PORT", "25canary", WHOLE),
    bad("EMAIL_HOST_USER", "", "is required because EMAIL_HOST_PASSWORD is set", EMAIL_HOST_PASSWORD="canary-password"),
    bad("EMAIL_HOST_PASSWORD", "", "is required because EMAIL_HOST_USER is set", EMAIL_HOST_USER="canary"),
    bad("EMAIL_HOST_PASSWORD_FILE", NOWHERE, FILE, EMAIL_HOST_USER="canary"),
    bad("EMAIL_OAUTH2_TOKEN_FILE", NOWHERE, FILE, EMAIL_HOST_USER="canary"),
    bad("EMAIL_OAUTH2_TOKEN_FILE", __file__, "are both set", EMAIL_HOST_USER="canary", EMAIL_HOST_PASSWORD="canary-password"),
    bad("EMAIL_USE_TLS", "canary", FLAG),
    bad("EMAIL_USE_TLS", "true", "are both true", EMAIL_USE_SSL="true"),
    bad("EMAIL_TIMEOUT", "30canary", WHOLE),
    bad("EMAIL_SSL_CERTFILE", NOWHERE, FILE),
    bad("EMAIL_FILE_PATH", "", "is required by EMAIL_BACKEND=file", EMAIL_BACKEND="file"),
    bad("EMAIL_SENDMAIL_COMMAND", "/bin/true 'canary", "without quotation marks", EMAIL_BACKEND="sendmail"),
    bad("EMAIL_SENDMAIL_COMMAND", f"{NOWHERE} -i", "names a program that does not exist", EMAIL_BACKEND="sendmail"),
    bad("EMAIL_CONNECTIONS", "6500", WHOLE, canary="6500"),
    bad("EMAIL_RATE_LIMIT", "14/canary", "must be one rate limit"),
    bad("EMAIL_TEMPLATES_DIR", NOWHERE, "there is no such folder"),
    bad("EMAIL_EXTRA_CONTEXT", '{"support": canary', "must be a JSON object"),
    bad("EMAIL_EXTRA_CONTEXT", '{"support": ["canary"]}', "must be a JSON object"),
    bad("EMAIL_EXTRA_CONTEXT", '{"the canary": 1}', "must have names"),
    bad("EMAIL_PASSWORD_CHANGED", "canary", FLAG),
    bad("EMAIL_ACCOUNTS_PER_REQUEST", "canary", WHOLE),
    bad("EMAIL_DEAD_LETTER_DAYS", "canary", WHOLE),
    bad("AUDIT_DAYS", "canary", WHOLE),
    bad("AUDIT_DAYS", "3651", WHOLE, canary="3651"),
    bad("PASSWORD_HASHER", "md5-canary", "must be one of"),
    bad("PASSWORD_HASHER_OPTIONS", "canary=1", "has an unknown option"),
    bad("PASSWORD_HASHER_OPTIONS", "iterations=10000001", "cost that is too high", canary="10000001"),
    bad("PASSWORD_HASHER_CONCURRENCY", "canary", WHOLE),
    bad("AUTH_PASSWORD_VALIDATORS", '[{"NAME": "canary"}]', "names an unknown validator"),
    bad("AUTH_PASSWORD_VALIDATORS", "canary", "must be JSON"),
    bad("RATE_LIMIT_REQUESTS", "20/canary", LIMITS),
    bad("RATE_LIMIT_LINKS", "canary", LIMITS),
    bad("RATE_LIMIT_MAILS", "1/m;canary", LIMITS),
    bad("RATE_LIMIT_MAILS_TOTAL", "canary/d", LIMITS),
    bad("TRUSTED_PROXIES", "10.0.0.0/8,canary", "must be addresses or networks"),
    bad("CORS_ALLOWED_ORIGINS", "https://canary.example.com/path", "must be origins"),
    bad("HTTP_SSL_CERTFILE", NOWHERE, "must name a readable file", HTTP_SSL_KEYFILE=NOWHERE),
    bad("HTTP_SSL_KEYFILE", "", "is required because HTTP_SSL_CERTFILE is set", HTTP_SSL_CERTFILE=NOWHERE),
    bad("LOG_LEVEL", "canary", "must be one of"),
    bad("LOG_FORMAT", "canary", "must be one of"),
    bad("RATE_LIMIT_REQUESTS", "7 77/m", LIMITS, canary="7 77"),
    bad("SECRET_KEY", f"{KEY}\n", LINE),
    bad("SECRET_KEY", f"{KEY}\r\n", LINE),
    bad("SECRET_KEY", f"{KEY}\n{KEY}", LINE),
    bad("SECRET_KEY", f"SECRET_KEY={KEY}", ALONE),
    bad("SECRET_KEY", json.dumps({"SECRET_KEY": KEY}), ALONE),
    bad("SECRET_KEY_FALLBACKS", f"{KEY},{KEY}\n", LINE),
    bad("SECRET_KEY_FALLBACKS", json.dumps([KEY, KEY]), LIST),
    bad("SECRET_KEY_FALLBACKS", f"['{KEY}', '{KEY}']", LIST),
    bad("EMAIL_HOST_PASSWORD", "canary-password\n", LINE, EMAIL_HOST_USER="mailer"),
    bad("EMAIL_HOST_USER", "canary\n", LINE, EMAIL_HOST_PASSWORD="canary-password"),
    bad("DATABASE_URL", "sqlite:canary.sqlite3\n", LINE),
    bad("DATABASE_URL", "sqlite:canary.sqlite3 ", BLANKS),
    bad("DATABASE_URL", '"sqlite:canary.sqlite3"', QUOTES),
    bad("EMAIL_FILE_PATH", "canary\n", LINE, EMAIL_BACKEND="file"),
    bad("EMAIL_HOST", "canary.example.com\t", LINE),
    bad("EMAIL_HOST", '"canary.example.com"', "without quotation marks"),
    bad("EMAIL_HOST", "'canary.example.com'", "without quotation marks"),
    bad("HTTP_HOST", '"canary.example.com', "without quotation marks"),
    bad("DEFAULT_FROM_EMAIL", '"Canary <canary@example.com>"', QUOTES),
    bad("DEFAULT_FROM_EMAIL", "'canary@example.com'", QUOTES),
    bad("DEFAULT_FROM_EMAIL", '"Canary <canary@example.com>', "must be one email address"),
    bad("DEFAULT_FROM_EMAIL", "Canary <'canary@example.com'>", "must be one email address"),
    bad("CORS_ALLOWED_ORIGINS", '["https://canary.example.com"]', LIST),
    bad("EMAIL_HOSTS", "canary", "is not a setting"),
    bad("SECRET_KEYS", "canary", "is not a setting"),
]


def good_settings(folder: Path) -> dict[str, str]:
    """Returns settings with which the service starts."""
    return {
        "HTTP_PORT": "0",
        "ADMIN_PORT": "0",
        "DATABASE_URL": f"sqlite:{folder / 'db.sqlite3'}",
        "SECRET_KEY": KEY,
        "RESET_URL": "https://frontend.example.com/reset/{uid}/{token}/",
        "EMAIL_BACKEND": "dummy",
    }


@pytest.fixture
def good(tmp_path: Path) -> dict[str, str]:
    return good_settings(tmp_path)


def present(settings: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in settings.items() if value}


def write_settings(folder: Path, text: str) -> Path:
    """Writes a settings file that only its owner may read."""
    path = folder / "settings.yaml"
    path.touch(0o600)
    path.write_text(text)
    return path


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    return lambda text: write_settings(tmp_path, text)


def run(settings: Mapping[str, str], *arguments: str, seconds: float = 60) -> subprocess.CompletedProcess[str]:
    return run_program(BASE_ENVIRONMENT | settings, *arguments, seconds=seconds)


def assert_is_refused(done: subprocess.CompletedProcess[str], fault: Bad) -> None:
    said = done.stdout + done.stderr
    assert done.returncode == 78, said
    about = [line for line in done.stderr.splitlines() if re.search(rf"\b{fault.key}\b", line)]
    assert any(fault.remedy in line for line in about), said
    for canary in (CANARY, fault.canary):
        assert canary not in said


@dataclass(frozen=True)
class Refusals:
    """The results of the starts, in the order of `BAD`."""

    by_environment: list[Future[subprocess.CompletedProcess[str]]]
    by_file: list[Future[subprocess.CompletedProcess[str]]]


@pytest.fixture(scope="module")
def refusals(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Refusals]:
    def start(fault: Bad, by_file: bool) -> subprocess.CompletedProcess[str]:
        folder = tmp_path_factory.mktemp("bad")
        settings = present(good_settings(folder) | fault.settings)
        if by_file:
            settings = {"PASSWORD_RESET_CONFIG": str(write_settings(folder, json.dumps(settings, indent=2)))}
        return run(settings, "serve", seconds=LONGEST_REFUSAL)

    # Of two threads that ask first, both would create the folder of all folders.
    tmp_path_factory.getbasetemp()
    # No more at once than a small machine has processors, so that they do not slow each other down.
    with ThreadPoolExecutor(max_workers=2) as pool:
        yield Refusals(*([pool.submit(start, fault, by_file) for fault in BAD] for by_file in (False, True)))


NUMBERED = [pytest.param(number, id=str(fault)) for number, fault in enumerate(BAD)]


@pytest.mark.parametrize("number", NUMBERED)
def test_a_bad_environment_stops_the_start(number: int, refusals: Refusals) -> None:
    assert_is_refused(refusals.by_environment[number].result(), BAD[number])


@pytest.mark.parametrize("number", NUMBERED)
def test_a_bad_file_stops_the_start(number: int, refusals: Refusals) -> None:
    assert_is_refused(refusals.by_file[number].result(), BAD[number])


def test_the_settings_around_the_bad_ones_are_good(good: dict[str, str], write: Callable[[str], Path]) -> None:
    """Otherwise the tests above would prove nothing."""
    for settings in (good, {"PASSWORD_RESET_CONFIG": str(write(json.dumps(good)))}):
        done = run(settings, "check")
        assert done.returncode == 0, done.stdout + done.stderr


def test_all_faults_are_reported_at_once(good: dict[str, str]) -> None:
    done = run(good | {"HTTP_PORT": "canary", "EMAIL_TIMEOUT": "canary", "TIME_ZONE": "canary"}, "serve")
    assert done.returncode == 78
    for key in ("HTTP_PORT", "EMAIL_TIMEOUT", "TIME_ZONE"):
        assert key in done.stderr


@dataclass(frozen=True)
class Malformed:
    """A file that is not a mapping of settings to values."""

    what: str
    text: str | bytes = field(repr=False)
    # The lines that the message may name, from 1; none if the fault concerns the whole file.
    lines: tuple[int, ...] = ()
    names: str = ""

    def __str__(self) -> str:
        return self.what


MALFORMED = [
    Malformed("a list", "- HTTP_PORT: canary\n- canary\n"),
    Malformed("a text", "canary\n"),
    Malformed("a number", "4711"),
    Malformed("a list in JSON", '["canary"]'),
    Malformed("an unknown name", "HTTP_PORT: 0\nHTTP_PROT: canary\n", (2,), "HTTP_PROT"),
    Malformed("a name in lower case", "HTTP_PORT: 0\nSITE_NAME: site\nsecret_key: canary\n", (3,)),
    Malformed("a name that only the environment may set", "SITE_NAME: site\nPASSWORD_RESET_CONFIG: /canary\n", (2,), "PASSWORD_RESET_CONFIG"),
    Malformed("a name twice", "SITE_NAME: canary\nHTTP_PORT: 0\nSITE_NAME: canary two\n", (1, 3), "SITE_NAME"),
    Malformed("a name twice in JSON", '{\n"SITE_NAME": "canary",\n"SITE_NAME": "canary two"\n}', (2, 3), "SITE_NAME"),
    Malformed("a list as a name", "HTTP_PORT: 0\n[canary]: 1\n", (2,)),
    Malformed("a secret as a name", "HTTP_PORT: 0\ncanary-secret: 1\n", (2,)),
    Malformed("a list of lists", "HTTP_PORT: 0\nTRUSTED_PROXIES: [[canary]]\n", (2,), "TRUSTED_PROXIES"),
    Malformed("two documents", "SITE_NAME: canary\n---\nSITE_NAME: canary two\n"),
    Malformed("half a mapping of JSON", '{"HTTP_PORT": 0,\n "SECRET_KEY": "canary', (2, 3)),
    Malformed("JSON without a comma", '{"HTTP_PORT": 0\n "SECRET_KEY": "canary"}', (2,)),
    Malformed("a tab instead of blanks", "HTTP_PORT: 0\nEMAIL_EXTRA_CONTEXT:\n\tcanary: 1\n", (3,)),
    Malformed("a value that begins with a percent sign", "HTTP_PORT: 0\nSECRET_KEY: %canary\n", (2,)),
    Malformed("a quote that does not end", 'HTTP_PORT: 0\nSECRET_KEY: "canary\n', (2, 3)),
    Malformed("an alias of nothing", "HTTP_PORT: 0\nSECRET_KEY: *canary\n", (2,)),
    Malformed("a colon in a value", "HTTP_PORT: 0\nSECRET_KEY: canary: canary\n", (2,)),
    Malformed("bytes that are no UTF-8", b"SITE_NAME: canary\xff\xfe\n"),
    Malformed("NUL", b"SITE_NAME: canary\x00canary\n"),
]
PLACE = re.compile(r"line (\d+)")


@pytest.mark.parametrize("malformed", MALFORMED, ids=str)
def test_the_service_refuses_a_file_that_is(malformed: Malformed, good: dict[str, str], tmp_path: Path) -> None:
    """The message does not show the text of the line, which may be a misplaced secret."""
    file = tmp_path / "settings.yaml"
    file.touch(0o600)
    file.write_bytes(malformed.text if isinstance(malformed.text, bytes) else malformed.text.encode())
    without = {name: value for name, value in good.items() if name != "HTTP_PORT"}
    done = run(without | {"PASSWORD_RESET_CONFIG": str(file)}, "serve", seconds=LONGEST_REFUSAL)
    said = done.stdout + done.stderr
    assert done.returncode == 78, said
    assert "PASSWORD_RESET_CONFIG" in done.stderr
    assert CANARY not in said
    assert malformed.names in done.stderr
    lines = [int(place[1]) for place in PLACE.finditer(done.stderr)]
    assert not malformed.lines or set(lines) & set(malformed.lines), done.stderr


@pytest.mark.parametrize("what", ["is not there", "is a folder"])
def test_the_service_refuses_a_file_that_it_cannot_read_because_it(what: str, good: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path if what == "is a folder" else tmp_path / "missing.yaml"
    done = run(good | {"PASSWORD_RESET_CONFIG": str(path)}, "serve", seconds=LONGEST_REFUSAL)
    assert done.returncode == 78
    assert "PASSWORD_RESET_CONFIG" in done.stderr and "cannot be read" in done.stderr


@dataclass(frozen=True)
class Shown:
    """One setting in the output of `config --json`."""

    name: str
    value: str | None
    source: str
    error: str | None = None


def shown(settings: Mapping[str, str], *arguments: str, code: int = 0) -> dict[str, Shown]:
    done = run(settings, "config", "--json", *arguments)
    assert done.returncode == code, done.stderr
    entries: list[dict[str, Any]] = json.loads(done.stdout)
    found = {entry["name"]: Shown(**entry) for entry in entries}
    assert len(found) == len(entries), "a setting is shown twice"
    return found


def documented() -> list[str]:
    """Returns the settings in the table of docs/configuration.md, in order."""
    table = (ROOT / "docs/configuration.md").read_text().partition("| setting |")[2].partition("\n\n")[0]
    return re.findall(r"^\| `([A-Z0-9_]+)` \|", table, re.MULTILINE)


def test_every_documented_setting_is_shown_in_order(good: dict[str, str]) -> None:
    assert len(documented()) > 40
    assert list(shown(good)) == documented()
    lines = run(good, "config").stdout.splitlines()
    names = [line.split()[0] for line in lines if line.split()]
    assert [name for name in names if name in documented()] == documented()


def test_each_setting_is_shown_with_its_source(good: dict[str, str], write: Callable[[str], Path], tmp_path: Path) -> None:
    (tmp_path / "key").write_text(f"{KEY}\n")
    file = write(f"SITE_NAME: Example\nEMAIL_HOST_PASSWORD: canary-password\nEMAIL_HOST_USER: mailer\nSECRET_KEY_FALLBACKS: {KEY}\n")
    settings = {name: value for name, value in good.items() if name != "SECRET_KEY"}
    settings |= {"SECRET_KEY_FILE": str(tmp_path / "key"), "PASSWORD_RESET_CONFIG": str(file)}
    found = shown(settings)
    assert found["HTTP_PORT"] == Shown("HTTP_PORT", "0", "environment")
    assert found["RESET_URL"] == Shown("RESET_URL", good["RESET_URL"], "environment")
    assert found["HTTP_HOST"] == Shown("HTTP_HOST", "127.0.0.1", "default")
    assert found["PASSWORD_RESET_TIMEOUT"] == Shown("PASSWORD_RESET_TIMEOUT", "3600", "default")
    assert found["AUDIT_DAYS"] == Shown("AUDIT_DAYS", "90", "default")
    assert found["SITE_NAME"] == Shown("SITE_NAME", "Example", "file")
    assert found["SECRET_KEY"] == Shown("SECRET_KEY", "********", "SECRET_KEY_FILE")
    assert found["SECRET_KEY_FALLBACKS"] == Shown("SECRET_KEY_FALLBACKS", "********", "file")
    assert found["EMAIL_HOST_PASSWORD"] == Shown("EMAIL_HOST_PASSWORD", "********", "file")
    assert found["EMAIL_SSL_CERTFILE"] == Shown("EMAIL_SSL_CERTFILE", None, "default")


def test_secrets_are_masked_and_other_settings_are_not(good: dict[str, str], write: Callable[[str], Path]) -> None:
    settings = good | {"EMAIL_HOST_USER": "mailer", "EMAIL_HOST_PASSWORD": "canary-password"}
    for arguments in ([], ["--json"]):
        done = run(settings, "config", *arguments)
        assert done.returncode == 0, done.stderr
        assert CANARY not in done.stdout + done.stderr
        assert done.stdout.count("********") == 2 and "mailer" in done.stdout
    (key_line,) = [line for line in run(settings, "config").stdout.splitlines() if line.startswith("SECRET_KEY ")]
    assert set(key_line.split()) == {"SECRET_KEY", "********", "environment"}
    # The absence of a secret is no secret.
    assert shown(good)["EMAIL_HOST_PASSWORD"].value in (None, "")


def test_a_mask_hides_the_length(good: dict[str, str]) -> None:
    masks = {shown(good | {"SECRET_KEY": KEY[:length]})["SECRET_KEY"].value for length in (32, 40, len(KEY))}
    assert masks == {"********"}


def test_the_settings_of_development_mode_are_shown(good: dict[str, str]) -> None:
    settings = {"DATABASE_URL": good["DATABASE_URL"]}
    found = shown(settings, "--dev")
    assert found["EMAIL_BACKEND"] == Shown("EMAIL_BACKEND", "console", "development")
    assert found["SECRET_KEY"] == Shown("SECRET_KEY", "********", "development")
    assert found["LOG_FORMAT"] == Shown("LOG_FORMAT", "text", "development")
    for name in ("RATE_LIMIT_REQUESTS", "RATE_LIMIT_LINKS", "RATE_LIMIT_MAILS"):
        assert found[name] == Shown(name, "off", "development")
    assert found["DATABASE_URL"].source == "environment"
    assert shown(settings | {"EMAIL_BACKEND": "memory"}, "--dev")["EMAIL_BACKEND"] == Shown("EMAIL_BACKEND", "memory", "environment")


def test_the_default_formats_without_a_terminal_are_json(good: dict[str, str]) -> None:
    assert shown(good)["LOG_FORMAT"] == Shown("LOG_FORMAT", "json", "default")


def test_settings_that_are_wrong_or_missing_are_marked_among_the_others(good: dict[str, str]) -> None:
    wrong = good | {"HTTP_PORT": "canary", "TIME_ZONE": '"canary"', "EMAIL_HOST_USER": "mailer", "EMAIL_BACKEND": "", "SITE_NAME": "Shop"}
    found = shown(wrong, code=78)
    assert list(found) == documented()
    assert found["SITE_NAME"] == Shown("SITE_NAME", "Shop", "environment")
    for name, source in [("HTTP_PORT", "environment"), ("TIME_ZONE", "environment"), ("EMAIL_BACKEND", "default"), ("EMAIL_HOST_PASSWORD", "default")]:
        assert (found[name].value, found[name].source) == (None, source)
        assert (found[name].error or "").startswith(name)
    assert sum(setting.error is not None for setting in found.values()) == 4
    done = run(wrong, "config")
    assert done.returncode == 78 and done.stdout.count("(error)") == 4
    for text in ("HTTP_PORT must be a whole number", "EMAIL_BACKEND is required"):
        assert text in done.stdout and text in done.stderr
    assert CANARY not in done.stdout + done.stderr


def test_a_port_from_kubernetes_is_ignored_in_favor_of_the_file(good: dict[str, str], write: Callable[[str], Path]) -> None:
    settings = good | {"EMAIL_PORT": "tcp://10.96.0.7:25", "EMAIL_SERVICE_HOST": "10.96.0.7", "EMAIL_PORT_25_TCP_ADDR": "10.96.0.7"}
    assert shown(settings | {"PASSWORD_RESET_CONFIG": str(write("EMAIL_PORT: 587\n"))})["EMAIL_PORT"] == Shown("EMAIL_PORT", "587", "file")
    assert shown(settings)["EMAIL_PORT"] == Shown("EMAIL_PORT", "25", "default")
    done = run(settings, "check")
    assert done.returncode == 0 and "W017" in done.stdout and "EMAIL_PORT" in done.stdout


def test_an_unknown_option_is_wrong_usage(good: dict[str, str]) -> None:
    assert run(good, "config", "--yaml").returncode == 64


YAML = """\
# Of the site.
HTTP_PORT: 8080
RESET_URL: https://frontend.example.com/reset/{uid}/{token}/
SECRET_KEY: "%s"
EMAIL_BACKEND: smtp
EMAIL_USE_TLS: yes
EMAIL_PASSWORD_CHANGED: off
EMAIL_RATE_LIMIT: 14/s
RATE_LIMIT_MAILS: off
SITE_NAME: Café “Ünïcode”
CORS_ALLOWED_ORIGINS:
  - https://a.example
  - https://b.example
TRUSTED_PROXIES: [10.0.0.0/8, "::1"]
EMAIL_EXTRA_CONTEXT: {support: help@example.com, beta: true, floor: 3}
AUTH_PASSWORD_VALIDATORS:
  - NAME: MinimumLengthValidator
    OPTIONS: {min_length: 12}
  - NAME: CommonPasswordValidator
"""
JSON = {
    "HTTP_PORT": 8080,
    "RESET_URL": "https://frontend.example.com/reset/{uid}/{token}/",
    "SECRET_KEY": KEY,
    "EMAIL_BACKEND": "smtp",
    "EMAIL_USE_TLS": True,
    "EMAIL_PASSWORD_CHANGED": False,
    "EMAIL_RATE_LIMIT": "14/s",
    "RATE_LIMIT_MAILS": "off",
    "SITE_NAME": "Café “Ünïcode”",
    "CORS_ALLOWED_ORIGINS": ["https://a.example", "https://b.example"],
    "TRUSTED_PROXIES": ["10.0.0.0/8", "::1"],
    "EMAIL_EXTRA_CONTEXT": {"support": "help@example.com", "beta": True, "floor": 3},
    "AUTH_PASSWORD_VALIDATORS": [
        {"NAME": "MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
        {"NAME": "CommonPasswordValidator"},
    ],
}


@pytest.mark.parametrize("text", [YAML % KEY, json.dumps(JSON), json.dumps(JSON, indent=4)], ids=["YAML", "JSON", "JSON on lines"])
def test_a_file_holds_settings_as_yaml_or_json(text: str, good: dict[str, str], write: Callable[[str], Path]) -> None:
    found = shown({"PASSWORD_RESET_CONFIG": str(write(text)), "DATABASE_URL": good["DATABASE_URL"]})
    assert {name for name, setting in found.items() if setting.source == "file"} == JSON.keys()
    values = {name: found[name].value for name in JSON}
    assert values["HTTP_PORT"] == "8080"
    assert values["CORS_ALLOWED_ORIGINS"] == "https://a.example,https://b.example"
    assert values["TRUSTED_PROXIES"] == "10.0.0.0/8,::1"
    assert values["SITE_NAME"] == "Café “Ünïcode”"
    # YAML 1.1 reads `off` as false, but these limits are not booleans.
    assert values["RATE_LIMIT_MAILS"] == "off"
    assert values["EMAIL_USE_TLS"] in ("true", "yes") and values["EMAIL_PASSWORD_CHANGED"] in ("false", "off")
    for name in ("EMAIL_EXTRA_CONTEXT", "AUTH_PASSWORD_VALIDATORS"):
        assert json.loads(values[name] or "") == JSON[name]


def test_the_file_has_the_same_effect_as_the_environment(good: dict[str, str], write: Callable[[str], Path]) -> None:
    file = write(YAML % KEY)
    rules = {"PASSWORD_RESET_CONFIG": str(file), "DATABASE_URL": good["DATABASE_URL"]}
    done = run_program(
        BASE_ENVIRONMENT | rules, "users", "add", "alice", "--email", "a@example.com", "--password-stdin", stdin="eleven-long"
    )
    assert done.returncode == 1 and "12 characters" in done.stderr


def test_the_environment_overrides_the_file(good: dict[str, str], write: Callable[[str], Path]) -> None:
    file = write("SITE_NAME: of the file\nHTTP_PORT: 1\nLOG_LEVEL: error\n")
    found = shown(good | {"PASSWORD_RESET_CONFIG": str(file), "SITE_NAME": "of the environment", "LOG_LEVEL": ""})
    assert found["SITE_NAME"] == Shown("SITE_NAME", "of the environment", "environment")
    assert found["HTTP_PORT"] == Shown("HTTP_PORT", "0", "environment")
    # An empty variable counts as absent.
    assert found["LOG_LEVEL"] == Shown("LOG_LEVEL", "error", "file")


def test_the_file_may_name_the_file_of_a_secret(good: dict[str, str], write: Callable[[str], Path], tmp_path: Path) -> None:
    (tmp_path / "key").write_text(f"{KEY}\n")
    file = write(f"SECRET_KEY_FILE: {tmp_path / 'key'}\n")
    settings = {name: value for name, value in good.items() if name != "SECRET_KEY"}
    assert shown(settings | {"PASSWORD_RESET_CONFIG": str(file)})["SECRET_KEY"] == Shown("SECRET_KEY", "********", "SECRET_KEY_FILE")


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("0000000000111111111122222222223333333333444", id="that is a number with leading zeros"),
        pytest.param("1e3000000000000000000000000000000000000000000", id="that looks like a number with an exponent"),
        pytest.param("0x00000000000000000000000000000000000000000000", id="that looks like a hexadecimal number"),
        pytest.param("1_000_000_000_000_000_000_000_000_000_000_000.50", id="that looks like a fraction"),
    ],
)
def test_a_secret_is_used_exactly_as_it_is(
    text: str, database: Path, good: dict[str, str], write: Callable[[str], Path]
) -> None:
    """Otherwise a Django site with the same key would not accept its links."""
    alice = add_user("alice", "alice@example.com")
    settings = {name: value for name, value in good.items() if name != "SECRET_KEY"}
    settings |= {"DATABASE_URL": f"sqlite:{database}", "PASSWORD_RESET_CONFIG": str(write(f"SECRET_KEY: {text}\n"))}
    done = run(settings, "users", "link", "alice")
    assert done.returncode == 0, done.stderr
    generator = PasswordResetTokenGenerator()
    generator.secret = text
    assert generator.check_token(alice, done.stdout.strip().split("/")[-2])


def test_every_name_of_the_tz_database_is_a_time_zone() -> None:
    source = (ROOT / "Sources/App/Settings/TimeZoneNames.swift").read_text()
    names = set(source.split('"""')[1].split())
    assert names >= available_timezones() - {"localtime"}


@pytest.mark.parametrize("name", ["Europe/Berlin", "Etc/GMT+2", "GMT0", "EST5EDT", "America/Argentina/ComodRivadavia", "Zulu", "Asia/Kolkata"])
def test_a_time_zone_of_django_is_accepted(name: str, good: dict[str, str]) -> None:
    assert run(good | {"TIME_ZONE": name}, "check").returncode == 0


@pytest.mark.parametrize(
    "name",
    ["UTC+2", "GMT+0530", "GMT+2", "PST", "CEST", "BST", "IST", "europe/berlin", "Europe/Berlin ", "+02:00", "Z", "localtime", "posix/UTC", "EST5EDT4", "UTC0"],
)
def test_a_time_zone_that_django_refuses_is_refused(name: str, good: dict[str, str]) -> None:
    done = run(good | {"TIME_ZONE": name}, "check")
    assert done.returncode == 78 and "E003" in done.stdout and "TIME_ZONE" in done.stdout
