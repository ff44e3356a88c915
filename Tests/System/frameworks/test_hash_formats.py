"""With PASSWORD_FORMAT=crypt, other frameworks verify the service's hashes, and the service verifies theirs."""

import csv
import io
from pathlib import Path

import pytest

from hash_makers import ARGON2, BCRYPT, Framework, frameworks
from mail_folder import link_in
from outbox import audited, connected, pending
from processes import wait_until
from service import Link, command, run_command, serving

OLD, NEW = "the-old-password-71", "battery-staple-92-new"
PASSWORDS = [
    NEW, " leading and trailing ", "x" * 72, "ü" * 36, "😀" * 18, "e\u0301\u00e9", "'\"\\`;$2b$04$", "\x7f\x01", "ἓν οἶδα ὅτι οὐδὲν",
]  # fmt: skip
NAMES = [
    "PHP, bcrypt", "PHP, argon2id", "Laravel, bcrypt", "Laravel, argon2id", "Rails with Devise", "Supabase", "passlib, bcrypt", "passlib, argon2id",
    "FastAPI-Users", "FastAPI-Users, bcrypt",
]  # fmt: skip


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Framework]:
    known = frameworks(tmp_path_factory.mktemp("programs"))
    assert list(known) == NAMES
    return known


@pytest.fixture
def framework(known: dict[str, Framework], request: pytest.FixtureRequest) -> Framework:
    return known[request.param]


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Returns a database with one user, who has no password."""
    path = tmp_path / "db.sqlite3"
    run_command(path, "users", "add", "alice", "--email", "alice@example.com", **BCRYPT)
    return path


def wrong(password: str) -> str:
    """Returns a password that differs in its first character, because PHP ignores all after the 72nd byte."""
    return ("~" if password[0] != "~" else "-") + password[1:]


def stored(database: Path, username: str = "alice") -> str:
    with connected(database) as connection:
        return connection.execute("SELECT password FROM auth_user WHERE username = ?", [username]).fetchone()[0]


def store(database: Path, text: str, username: str = "alice") -> None:
    with connected(database) as connection:
        connection.execute("UPDATE auth_user SET password = ? WHERE username = ?", [text, username])


def set_password(database: Path, password: str, **settings: str) -> str:
    """Returns what is stored after the command set the password."""
    run_command(database, "users", "set-password", "alice", "--password-stdin", stdin=password + "\n", AUTH_PASSWORD_VALIDATORS="[]", **settings)
    return stored(database)


def accepts(database: Path, password: str, **settings: str) -> bool:
    done = command(database, "users", "check-password", "alice", "--password-stdin", stdin=password + "\n", **settings)
    assert done.returncode in (0, 1), done.stderr
    return done.returncode == 0


@pytest.mark.parametrize("framework", NAMES, indirect=True)
def test_the_framework_verifies_hashes_of_the_service(framework: Framework, site: Path) -> None:
    made = [(password, set_password(site, password, **framework.settings)) for password in PASSWORDS]
    assert framework.check(made) == [True] * len(made)
    assert framework.check([(wrong(password), text) for password, text in made]) == [False] * len(made)


@pytest.mark.parametrize("framework", NAMES, indirect=True)
def test_the_service_verifies_hashes_of_the_framework(framework: Framework, site: Path) -> None:
    for password, text in zip(PASSWORDS, framework.make(PASSWORDS), strict=True):
        store(site, text)
        assert accepts(site, password, **framework.settings), (password, text)
        assert not accepts(site, wrong(password), **framework.settings), (password, text)
        # The format django knows only Django's encodings.
        assert not accepts(site, password)


def test_spring_security_gets_its_prefix_and_a_stored_one_is_read(known: dict[str, Framework], site: Path) -> None:
    bcrypt = BCRYPT | {"PASSWORD_FORMAT_OPTIONS": "ident=2a,prefix={bcrypt}"}
    text = set_password(site, NEW, **bcrypt)
    assert text.startswith("{bcrypt}$2a$04$") and known["Supabase"].accepts(NEW, text.removeprefix("{bcrypt}"))
    assert accepts(site, NEW, **bcrypt) and not accepts(site, OLD, **bcrypt)
    argon2 = ARGON2 | {"PASSWORD_FORMAT_OPTIONS": "prefix={argon2@SpringSecurity_v5_8}"}
    text = set_password(site, OLD, **argon2)
    assert text.startswith("{argon2@SpringSecurity_v5_8}$argon2id$v=19$m=64,t=1,p=1$")
    assert known["FastAPI-Users"].accepts(OLD, text.removeprefix("{argon2@SpringSecurity_v5_8}"))
    # The service reads both algorithms, no matter which of them makes new hashes.
    assert accepts(site, OLD, **argon2) and accepts(site, OLD, **bcrypt)


@pytest.mark.parametrize("name", ["Laravel, bcrypt", "Rails with Devise", "FastAPI-Users"])
def test_a_reset_replaces_a_hash_of_the_framework_once(name: str, known: dict[str, Framework], site: Path, tmp_path: Path) -> None:
    framework = known[name]
    store(site, framework.make([OLD])[0])
    assert framework.accepts(OLD, stored(site))
    mails = tmp_path / "mails"
    with serving(site, tmp_path, EMAIL_BACKEND="file", EMAIL_FILE_PATH=str(mails), **framework.settings) as service:
        assert service.request_reset(email="alice@example.com").status == 202
        link = wait_until(lambda: link_in(mails), "the email with the link")
        assert service.set_password(link, NEW, NEW).status == 200
        assert not framework.accepts(OLD, stored(site)) and framework.accepts(NEW, stored(site))
        again = service.set_password(link, "another-Fine-pass-8", "another-Fine-pass-8")
        assert (again.status, again.body["code"]) == (400, "invalid_link")
        assert framework.accepts(NEW, stored(site))


def test_the_current_password_is_refused_in_the_format_of_the_framework(known: dict[str, Framework], site: Path) -> None:
    store(site, known["PHP, bcrypt"].make([OLD])[0])
    rules = {"AUTH_PASSWORD_VALIDATORS": '[{"NAME": "CurrentPasswordValidator"}]'}
    done = command(site, "users", "set-password", "alice", "--password-stdin", stdin=OLD, **BCRYPT, **rules)
    assert done.returncode == 1 and "different from your current password" in done.stderr


@pytest.mark.parametrize("text", ["", "!" + "a" * 40])
def test_a_user_without_a_password_gets_no_email_but_can_get_a_password(text: str, site: Path, tmp_path: Path) -> None:
    store(site, text)
    run_command(site, "users", "add", "bob", "--email", "bob@example.com", "--password-stdin", stdin=OLD, **BCRYPT)
    mails = tmp_path / "mails"
    with serving(site, tmp_path, EMAIL_BACKEND="file", EMAIL_FILE_PATH=str(mails), **BCRYPT) as service:
        assert service.request_reset(email="alice@example.com").status == 202
        assert service.request_reset(email="bob@example.com").status == 202
        wait_until(lambda: pending(site) == 0, "both requests to be handled")
        sent = "".join(file.read_text() for file in mails.glob("*.log"))
        assert "bob@example.com" in sent and "alice@example.com" not in sent
        assert audited(site, "no_account") == 1
        assert not accepts(site, OLD, **BCRYPT) and not accepts(site, text or " ", **BCRYPT)
        assert "no password" in run_command(site, "users", "list", "--search", "alice", **BCRYPT)
        assert '"password":"none"' in run_command(site, "users", "show", "alice", "--json", **BCRYPT)
        # A link of the support staff works once.
        printed = run_command(site, "users", "link", "alice", **BCRYPT).strip().rstrip("/").split("/")
        link = Link(printed[-2], printed[-1])
        assert service.set_password(link, NEW, NEW).status == 200
        assert service.set_password(link, OLD, OLD).status == 400
    assert accepts(site, NEW, **BCRYPT)
    assert '"password":"bcrypt"' in run_command(site, "users", "show", "alice", "--json", **BCRYPT)
    store(site, text)
    assert set_password(site, OLD, **BCRYPT).startswith("$2b$04$") and accepts(site, OLD, **BCRYPT)


def test_users_are_added_imported_and_exported_in_the_format(known: dict[str, Framework], site: Path, tmp_path: Path) -> None:
    assert stored(site) == ""
    hashes = [known["PHP, bcrypt"].make([OLD])[0], "{argon2@SpringSecurity_v5_8}" + known["FastAPI-Users"].make([OLD])[0]]
    lines = [f"laravel,{hashes[0]}", f'spring,"{hashes[1]}"', "none,", 'empty,""', "django,!unusable", "old,$1$salt$qJH7.N4xYta3aEG/dfqo/0"]
    file = tmp_path / "users.csv"
    file.write_text("\n".join(["username,password", *lines, "clear,hunter2"]) + "\n")
    done = command(site, "users", "import", str(file), **BCRYPT)
    assert done.returncode == 1 and "6 users added" in done.stdout
    assert "users.csv:8: password must be a hash of at most 255 characters" in done.stderr
    assert "3 added users without a password will get no reset email" in done.stderr
    assert "No password matches the hashes of 1 added user" in done.stderr
    assert [stored(site, name) for name in ("laravel", "spring", "none", "empty", "django")] == [*hashes, "", "", "!unusable"]
    exported = csv.DictReader(io.StringIO(run_command(site, "users", "export", **BCRYPT)))
    assert {row["username"]: row["password"] for row in exported}["spring"] == hashes[1]
    done = command(site, "users", "import", str(file), "--first-password-by-email", **BCRYPT)
    assert done.returncode == 64 and "PASSWORD_FORMAT" in done.stderr


def test_a_hash_that_costs_too_much_is_refused_at_once(known: dict[str, Framework], site: Path) -> None:
    for text in ["$2b$31$" + "a" * 53, "{argon2}$argon2id$v=19$m=8388608,t=1,p=1$c2FsdHNhbHQ$AAAA"]:
        store(site, text)
        assert not accepts(site, OLD, **BCRYPT)


def test_a_hasher_without_a_string_is_refused_with_both_settings_named(site: Path) -> None:
    done = command(site, "users", "list", PASSWORD_FORMAT="crypt", PASSWORD_HASHER="scrypt")
    assert done.returncode == 78
    assert "PASSWORD_FORMAT" in done.stderr and "Set PASSWORD_HASHER to bcrypt or argon2" in done.stderr
    done = command(site, "check", PASSWORD_FORMAT="crypt", PASSWORD_HASHER="scrypt")
    assert done.returncode == 78 and "E006" in done.stdout


def test_the_demo_user_has_a_hash_in_the_format(tmp_path: Path) -> None:
    database = tmp_path / "demo.sqlite3"
    with serving(database, tmp_path, "--dev", **BCRYPT):
        assert stored(database, "demo").startswith("$2b$04$")
