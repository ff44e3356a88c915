"""Support staff manage users: they add them, set passwords, print links, import and export."""

import bz2
import fcntl
import gzip
import lzma
import re
import struct
import subprocess
import termios
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from outbox import connected
from processes import wait_until
from service import BINARY, Link, command, environment_of, serving

QUICK = {"PASSWORD_HASHER_OPTIONS": "iterations=10"}
GOOD = "a-Fine-pass-77"
NOT_FOUND = 67


@dataclass(frozen=True)
class Users:
    """The command `users` on a database that it creates."""

    database: Path

    def __call__(self, *arguments: str, stdin: str = "", **settings: str) -> subprocess.CompletedProcess[str]:
        return command(self.database, "users", *arguments, stdin=stdin, **QUICK, **settings)

    def add(self, name: str, password: str = "") -> None:
        arguments = ["--password-stdin"] if password else []
        done = self("add", name, "--email", f"{name}@example.com", *arguments, stdin=password)
        assert done.returncode == 0, done.stderr

    def accepts(self, name: str, password: str) -> bool:
        return self("check-password", name, "--password-stdin", stdin=password).returncode == 0

    def sql(self, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        with connected(self.database) as connection:
            return connection.execute(statement, parameters).fetchall()

    @property
    def names(self) -> list[str]:
        return [name for (name,) in self.sql("SELECT username FROM auth_user ORDER BY id")]


@pytest.fixture
def users(tmp_path: Path) -> Users:
    return Users(tmp_path / "db.sqlite3")


def test_a_new_database_has_no_users(users: Users, tmp_path: Path) -> None:
    """Only `serve --dev` creates a user."""
    with serving(users.database, tmp_path, **QUICK) as service:
        assert service.request_reset(email="alice@example.com").status == 202
    assert users.names == []


def test_a_user_is_added_once_and_only_the_hash_is_stored(users: Users) -> None:
    add = ["add", "alice", "--email", "Alice@EXAMPLE.com", "--first-name", "Alice", "--password-stdin"]
    assert "too short" in users(*add, stdin="1234\n").stderr
    assert users(*add, stdin=f"{GOOD}\n").returncode == 0
    twice = users(*add, stdin=f"{GOOD}\n")
    assert twice.returncode == 1 and "already" in twice.stderr
    assert users.sql("SELECT username, email, first_name FROM auth_user") == [("alice", "Alice@example.com", "Alice")]
    shown = users("show", "alice", "--json").stdout
    assert '"password":"pbkdf2_sha256"' in shown and "pbkdf2_sha256$" not in shown
    assert GOOD.encode() not in users.database.read_bytes()


@pytest.mark.parametrize("name", ["bo\x1bb", "b b", "", "b" * 151, "\ufdfa" + "b" * 140], ids=ascii)
def test_the_command_refuses_a_user_name_that_django_refuses(name: str, users: Users) -> None:
    done = users("add", name, "--email", "bob@example.com")
    assert done.returncode != 0 and "username" in done.stderr


def test_the_command_refuses_an_address_that_django_refuses(users: Users) -> None:
    done = users("add", "bob", "--email", "stranger")
    assert done.returncode != 0 and "email" in done.stderr


def test_the_list_shows_each_user_and_cannot_control_the_terminal(users: Users) -> None:
    users.add("alice", GOOD)
    users.add("bob")
    users.sql("UPDATE auth_user SET email = 'bo' || char(27) || 'b' WHERE username = 'bob'")
    _, *lines = users("list").stdout.splitlines()
    assert [" ".join(line.split()) for line in lines] == ["1 active alice alice@example.com", "2 no password bob bo\ufffdb"]


@pytest.mark.parametrize(
    "arguments", [["show"], ["activate"], ["deactivate"], ["link"], ["set-password", "--password-stdin"]], ids=" ".join
)
def test_an_unknown_user_has_an_exit_status(arguments: list[str], users: Users) -> None:
    users.add("alice")
    name, *options = arguments
    assert users(name, "stranger", *options, stdin=GOOD).returncode == NOT_FOUND


@pytest.mark.parametrize("text", ["alice", "alice@example.com", "Alice@Example.COM", "1"])
def test_a_command_finds_a_user_by_name_address_or_id(text: str, users: Users) -> None:
    users.add("alice", GOOD)
    users.add("bob")
    assert users("show", text, "--json").stdout.startswith('{"date_joined"') and '"username":"alice"' in users("show", text, "--json").stdout
    assert users("check-password", text, "--password-stdin", stdin=GOOD).returncode == 0
    assert users("set-password", text, "--password-stdin", stdin="another-Fine-78").returncode == 0
    assert users("link", text).stdout.startswith("https://frontend.example.com/reset/MQ/")
    assert users("deactivate", text).stdout == "User 1 is inactive.\n"
    assert users("activate", text).stdout == "User 1 is active.\n"
    assert "link_printed" in command(users.database, "audit", "--user", text).stdout


def test_a_user_name_comes_before_an_address_and_an_id(users: Users) -> None:
    users.add("first")
    users.add("1")
    assert users("add", "first@example.com", "--email", "third@example.com").returncode == 0
    assert '"id":2' in users("show", "1", "--json").stdout
    assert '"id":3' in users("show", "first@example.com", "--json").stdout
    assert '"id":1' in users("show", "first", "--json").stdout


@pytest.mark.parametrize("name", ["show", "link", "deactivate", "set-password", "check-password"])
def test_an_address_of_several_users_is_refused_with_their_list(name: str, users: Users) -> None:
    for user in ("alice", "bob", "carol"):
        users.add(user)
    users.sql("UPDATE auth_user SET email = iif(id = 1, 'shared@example.com', 'Shared@example.com') WHERE id < 3")
    options = ["--password-stdin"] if name.endswith("password") else []
    done = users(name, "SHARED@example.com", *options, stdin=GOOD)
    assert (done.returncode, done.stdout) == (64, "")
    assert "  1 alice\n  2 bob\n" in done.stderr and "carol" not in done.stderr
    assert users.sql("SELECT count(*) FROM auth_user WHERE is_active") == [(3,)]


@pytest.mark.parametrize(("text", "found"), [("ALI", ["alice"]), ("@example", ["alice", "bob"]), ("Smith", ["bob"]), ("%", []), ("zoe", [])])
def test_the_list_can_be_searched(text: str, found: list[str], users: Users) -> None:
    users.add("alice")
    users.add("bob")
    users.sql("UPDATE auth_user SET last_name = 'Smith' WHERE username = 'bob'")
    _, *lines = users("list", "--search", text).stdout.splitlines()
    assert [line.split()[3] for line in lines] == found


@pytest.mark.parametrize("arguments", [["list"], ["export"]], ids=" ".join)
def test_an_error_names_damaged_rows_and_the_others_are_shown(arguments: list[str], users: Users) -> None:
    for name in ("alice", "bob", "carol"):
        users.add(name)
    users.sql("UPDATE auth_user SET email = x'00' WHERE username = 'bob'")
    done = users(*arguments)
    assert done.returncode == 1 and "user 2" in done.stderr
    assert [name in done.stdout for name in ("alice", "bob", "carol")] == [True, False, True]


def test_a_new_password_follows_the_rules_and_leaves_an_audit_row_and_a_notice(users: Users) -> None:
    users.add("alice", GOOD)
    refusals = {"short": "too short", "alice@example.com": "too similar", "a\0-Fine-pass-77": "Null", "": "--password-stdin"}
    for password, words in refusals.items():
        done = users("set-password", "alice", "--password-stdin", stdin=password)
        assert done.returncode != 0 and words in done.stderr
    assert users.accepts("alice", f"{GOOD}\n")
    # Only the line end at the end does not count.
    assert users("set-password", "alice", "--password-stdin", stdin=" another-Fine-78 \n").returncode == 0
    assert [users.accepts("alice", text) for text in (" another-Fine-78 ", "another-Fine-78", GOOD)] == [True, False, False]
    left = users.sql("SELECT event FROM password_reset_audit UNION ALL SELECT kind FROM password_reset_outbox")
    assert left == [("set_by_staff",), ("changed_notice",)]


def test_the_current_password_is_refused_if_a_rule_forbids_it(users: Users) -> None:
    users.add("alice", GOOD)
    rules = {"AUTH_PASSWORD_VALIDATORS": '[{"NAME": "CurrentPasswordValidator"}]'}
    done = users("set-password", "alice", "--password-stdin", stdin=GOOD, **rules)
    assert done.returncode == 1 and "differ" in done.stderr


def test_former_passwords_are_refused_if_a_rule_forbids_them_and_nothing_shows_their_hashes(users: Users) -> None:
    users.add("alice", GOOD)
    rules = {"AUTH_PASSWORD_VALIDATORS": '[{"NAME": "PasswordHistoryValidator", "OPTIONS": {"count": 2}}]'}

    def set_password(password: str) -> subprocess.CompletedProcess[str]:
        return users("set-password", "alice", "--password-stdin", stdin=password, **rules)

    assert set_password("another-Fine-78").returncode == 0
    for password in (GOOD, "another-Fine-78"):
        done = set_password(password)
        assert done.returncode == 1 and "one of your last 2 passwords" in done.stderr
    [(former,)] = users.sql("SELECT password FROM password_reset_password_history")
    assert former.startswith("pbkdf2_sha256$")
    shown = [users(*arguments).stdout for arguments in (["list"], ["show", "alice"], ["export"])]
    shown.append(command(users.database, "audit").stdout)
    assert all(shown) and not any(former in text for text in shown)
    assert set_password("a-third-Fine-79").returncode == 0
    assert set_password(GOOD).returncode == 0


def unread(pipe: int) -> int:
    """Returns how many bytes are in the pipe."""
    (count,) = struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)))
    return count


def test_a_password_may_arrive_in_pieces(users: Users) -> None:
    arguments = ["users", "add", "alice", "--email", "alice@example.com", "--password-stdin"]
    with subprocess.Popen([BINARY, *arguments], env=environment_of(users.database, **QUICK), stdin=subprocess.PIPE) as process:
        assert process.stdin
        process.stdin.write(b"a-Fine-pass")
        process.stdin.flush()
        wait_until(lambda: unread(process.stdin.fileno()) == 0, "the first piece to be read")
        process.stdin.write(b"-in-two-pieces\n")
        process.stdin.close()
        assert process.wait(timeout=60) == 0
    assert [users.accepts("alice", text) for text in ("a-Fine-pass-in-two-pieces", "a-Fine-pass")] == [True, False]


@pytest.mark.parametrize("password", ["", "\n", "x" * 70_000], ids=["nothing", "an empty line", "too much"])
def test_standard_input_must_hold_a_password(password: str, users: Users) -> None:
    assert users("add", "bob", "--email", "bob@example.com", "--password-stdin", stdin=password).returncode != 0
    assert not users.database.exists() or users.names == []


def test_a_printed_link_works_once_and_is_audited(users: Users, tmp_path: Path) -> None:
    users.add("alice", GOOD)
    done = users("link", "alice")
    *_, uid, token, _ = done.stdout.split("/")
    assert done.stdout == f"https://frontend.example.com/reset/{uid}/{token}/\n"
    assert users.sql("SELECT event FROM password_reset_audit") == [("link_printed",)]
    link, new = Link(uid, token), "battery-staple-92-new"
    with serving(users.database, tmp_path, **QUICK) as service:
        assert service.check_link(link).body["validlink"] is True
        assert [service.set_password(link, new, new).status for _ in range(2)] == [200, 400]
    assert users.accepts("alice", new)


def test_an_inactive_user_gets_neither_a_link_nor_a_password(users: Users) -> None:
    users.add("alice")
    assert users("deactivate", "alice").returncode == 0
    for arguments in (["link", "alice"], ["set-password", "alice", "--password-stdin"]):
        done = users(*arguments, stdin=GOOD)
        assert done.returncode == 1 and "inactive" in done.stderr
    assert users("activate", "alice").returncode == 0
    assert users("link", "alice").returncode == 0


HASHES = [
    "pbkdf2_sha256$1$salt$AAAA",
    "argon2$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHQ$AAAA",
    "bcrypt$$2b$12$N9qo8uLOickgx2ZMRZoMye9fCoc9Nuz52ZBk/0FX4TNHEyyqbVRGG",
    "!unusable",
]
NAMES = ['Comma, "quoted"', "two\nlines\r\n", " blanks ", "e\u0301 😀 ,"]


@pytest.mark.parametrize("ending", ["csv", "jsonl", "json"])
def test_an_import_restores_every_character_of_an_export(ending: str, users: Users, tmp_path: Path) -> None:
    users.add("first")
    for index, (encoded, name) in enumerate(zip(HASHES, NAMES, strict=True)):
        users.sql(
            "INSERT INTO auth_user VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            *(10 + index, encoded, None if index == 0 else "2026-01-02 03:04:05.678901", index == 1),
            *(f"user{index}", name, f"u{index}@example.com", index == 2, index != 3, "2025-01-02 03:04:05", "Ä"),
        )
    before = users.sql("SELECT * FROM auth_user ORDER BY id")
    file = tmp_path / f"users.{ending}"
    assert users("export", "--output", str(file)).returncode == 0
    assert file.stat().st_mode & 0o777 == 0o600
    content = file.read_bytes()
    assert "exists" in users("export", "--output", str(file)).stderr
    assert file.read_bytes() == content

    users.sql("DELETE FROM auth_user")
    first = users("import", str(file))
    assert (first.returncode, first.stdout) == (0, "5 users added, 0 were there already, 0 refused.\n"), first.stderr
    assert users.sql("SELECT * FROM auth_user ORDER BY id") == before
    assert users("import", str(file)).stdout == "0 users added, 5 were there already, 0 refused.\n"


# The lines of a file, each with the column because of which it is refused.
IMPORTED = [
    ("username,email,password,is_staff,id,date_joined", None),
    ("alice,alice@example.com,,true,,", None),
    ("bob,stranger,,,,", "email"),
    ('"two', "username"),
    ('lines",x@example.com,,,,', None),
    ("", None),
    ("carol,carol@example.com,md5$abc$def,,,", None),
    ("dave,dave@example.com,secret-in-the-clear,,,", "password"),
    ("erin,erin@example.com,,maybe,,", "is_staff"),
    ("frank,frank@example.com,,,1,", "id"),
    ("taken,other@example.com,,,,", "username"),
    ("gina,gina@example.com", "there are 2 values"),
    ("hugo,hugo@example.com,hunter$2-in-the-clear,,,", "password"),
    ("ida,ida@example.com,,,,yesterday", "date_joined"),
    ("kim,kim@example.com,,,,2026-02-30T00:00:00Z", "date_joined"),
    ("leo,leo@example.com,,,,2026-02-03T24:00:00Z", "date_joined"),
    ("mia,mia@example.com,,,9223372036854775807,", "id"),
    (f"ned,ned@example.com,pbkdf2_sha256$1${'s' * 128}$AAAA,,,", "password"),
    ("alice,alice@example.com,,true,,", None),
    (",empty@example.com,,,,", "username"),
    ("judy,judy@example.com,!x,,-5,", "id"),
    ("Ａlan,alan@example.com,,,,", None),
]


def test_an_import_takes_the_valid_lines_and_names_the_others(users: Users, tmp_path: Path) -> None:
    users.add("taken")
    (tmp_path / "in.csv").write_text("\n".join(line for line, _ in IMPORTED))
    done = users("import", str(tmp_path / "in.csv"))
    assert (done.returncode, done.stdout) == (1, "3 users added, 1 were there already, 15 refused.\n")
    for number, (_, column) in enumerate(IMPORTED, start=1):
        assert (f"in.csv:{number}: " in done.stderr) == (column is not None)
        assert column is None or f"in.csv:{number}: {column}" in done.stderr
    assert "in-the-clear" not in done.stderr
    for name in ("bob", "dave", "erin", "taken", "ida"):
        assert f"(user {name})" in done.stderr
    assert users.names == ["taken", "alice", "carol", "Alan"]


# Files, and the text that the error must contain. Those with bob are refused from the line after him on.
BROKEN = [
    ("a.csv", "username,email\nbob,\na\rl,\n", "a.csv:3: a carriage return"),
    ("a.csv", "username\nbob\n" + "," * 5000, "a.csv:3: there are 5001 values for 1 column"),
    ("a.csv", 'username\nbob\nal\r"b\nc"\n', "a.csv:3: a carriage return"),
    ("a.csv", 'username\nbob\n"' + "a\n" * (1 << 20), "a.csv:3: the record that starts here has more than a million bytes"),
    ("a.csv", "", "a.csv:1: the file is empty"),
    ("a.jsonl", '{"username": "bob"}\n' + "a" * (2 << 20), "a.jsonl:2: the record that starts here has more than a million bytes"),
    ("a.csv", "name,email\n", 'a.csv:1: there is no column "name"; the columns are id, username'),
    ("a.csv", "Username,Email\nbob,\n", 'a.csv:1: there is no column "Username"; did you mean username?'),
    ("a.csv", "username,E-Mail\nbob,\n", 'a.csv:1: there is no column "E-Mail"; did you mean email?'),
    ("a.csv", "username, email\nbob,\n", 'a.csv:1: there is no column " email"; did you mean email?'),
    ("a.csv", "username,isActive\nbob,1\n", 'a.csv:1: there is no column "isActive"; did you mean is_active?'),
    ("a.csv", "username,mail\nbob,\n", 'a.csv:1: there is no column "mail"; did you mean email?'),
    ("a.csv", "username,phone\nbob,\n", 'a.csv:1: there is no column "phone"; the columns are id, username'),
    ("a.csv", "username,email,\nbob,,\n", 'a.csv:1: there is no column ""; the columns are id, username'),
    ("a.csv", "username;email;is_active\r\nbob;bob@example.com;WAHR\r\n", "a.csv: the columns are separated by semicolons"),
    ("a.csv", "username\temail\nbob\tb@example.com\n", "a.csv: the columns are separated by tabs"),
    ("a.csv", '"username";"email"\nbob;"a;b"\n', "a.csv: the columns are separated by semicolons"),
    ("a.jsonl", "username\nbob\n", "a.jsonl: this is not JSON; for CSV, use --format csv"),
    ("a.csv", "sep=;\r\nusername;email\r\nbob;\r\n", "a.csv: the first line is for a spreadsheet program; remove it"),
    ("a.csv", "sep=,\nusername,email\nbob,\n", "a.csv: the first line is for a spreadsheet program; remove it"),
    ("a.csv", "username,email\nbob,\n".encode("utf-16"), "a.csv: this is UTF-16"),
    ("a.csv", "username,email\nbob,\n".encode("utf-16-le"), "a.csv: this is UTF-16"),
    ("a.json", '[{"username": "bob"}]'.encode("utf-16"), "a.json: this is UTF-16"),
    ("a.csv", b"PK\x03\x04bob", "a.csv: this is a zip archive or a spreadsheet"),
    ("a.jsonl.gz", gzip.compress(b'{"username": "bob"}'), "a.jsonl.gz: this is compressed with gzip"),
    ("a.json.xz", lzma.compress(b'[{"username": "bob"}]'), "a.json.xz: this is compressed with xz"),
    ("a.json.bz2", bz2.compress(b'[{"username": "bob"}]'), "a.json.bz2: this is compressed with bzip2"),
    ("a.json.lzma", lzma.compress(b'[{"username": "bob"}]', lzma.FORMAT_ALONE), "a.json.lzma: this is compressed with lzma"),
    ("a.csv", '[{"username": "bob"}]', "a.csv: this is a JSON array, not CSV; add --format dumpdata"),
    ("a.csv", '{"username": "bob"}', "a.csv: this is JSON, not CSV; add --format jsonl"),
    ("a.jsonl", '[{"username": "bob"}]', "a.jsonl: this is a JSON array, not one object per line; add --format dumpdata"),
    ("a.json", "- model: auth.user\n  pk: 1\n  fields: {username: bob}\n", "a.json: this is YAML"),
    ("a.json", '<?xml version="1.0"?>\n<django-objects>bob', "a.json: this is XML"),
    ("a.csv", "email\n", "a.csv: the column username is missing"),
    ("a.csv", "username,username\n", "a.csv:1: each column must be named once"),
    ("a.csv", "1,bob,bob@example.com\n", "a.csv:1: the first line must name the columns; if it is a user, add --columns"),
    ("a.csv", 'username\nbob\n"al', "a.csv:3: a quote that opens"),
    ("a.csv", 'username\nbob\na"l\n', "a.csv:3: a quote is misplaced"),
    ("a.csv", 'username\nbob\n"a"l\n', "a.csv:3: a quote is misplaced"),
    ("a.csv", b"username\nbob\nb\xe9b\n", "a.csv:3: this is not UTF-8"),
    ("a.csv", 'username\nbob\n"' + "a" * (2 << 20), "a.csv:3: the record that starts here has more than a million bytes"),
    ("a.jsonl", '{"username": "bob"}\n{"username": "al", "id": 99999999999999999999999}\n', "a.jsonl:2: id has the wrong type"),
    ("a.jsonl", '{"username": "bob"}\n{"username": ["al"]}\n', "a.jsonl:2: username has the wrong type"),
    ("a.jsonl", '{"username": "bob"}\n\n{"username"\n', "a.jsonl:3: this is not a JSON object"),
    ("a.jsonl", '{"username": "bob"}\n{"username": "al", "emial": "x@y.co"}\n', 'a.jsonl:2: there is no column "emial"'),
    ("a.json", '[{"model": "accounts.user", "pk": 1, "fields": {}}]', "Skipped 1 object of other models"),
    ("a.json", "{}", "a.json: this is not a complete JSON array"),
    ("a.json", '[{"model": "auth.user"', "a.json: this is not a complete JSON array"),
    ("a.json", "[]]", "a.json: this is not a complete JSON array"),
    ("a.json", "[{}\n {}]", "a.json: this is not a complete JSON array"),
    ("a.json", "[{}]", "a.json: object 1: username is missing"),
    ("a.json", "[" + " " * (64 << 20) + "]", "a.json: the JSON array has more than 64 MiB; write the dump with `dumpdata --format jsonl`"),
    ("a.json", '[\n{"model": "auth.user", "pk": "x", "fields": {"username": "al"}}]', "a.json: object 1: id must be a number"),
    ("a.json", '[\n{"model": "auth.user", "pk": 3}]', "a.json: object 1: fields is missing"),
    ("a.txt", "", "--format"),
]


@pytest.mark.parametrize(("name", "content", "words"), BROKEN, ids=[words for _, _, words in BROKEN])
def test_an_error_names_the_line_of_a_broken_file_and_earlier_lines_are_kept(
    name: str, content: str | bytes, words: str, users: Users, tmp_path: Path
) -> None:
    content = content if isinstance(content, bytes) else content.encode()
    (tmp_path / name).write_bytes(content)
    done = users("import", str(tmp_path / name))
    assert done.returncode != 0 and words in done.stderr
    if b"bob" in content and re.search(":[23]: ", words):
        assert users.names == ["bob"]
    else:
        assert not users.database.exists() or users.names == []


@pytest.mark.parametrize("header", ["username,email", "email,username"])
def test_a_file_cannot_put_a_name_into_the_column_of_the_address(header: str, tmp_path: Path) -> None:
    database, file = tmp_path / "site.sqlite3", tmp_path / "users.csv"
    with connected(database) as connection:
        connection.execute("CREATE TABLE members (id integer PRIMARY KEY, email text, password text)")
    rows = ["alice,alice@example.com", ",bob@example.com", "carol@example.com,carol@example.com"]
    file.write_text("\n".join([header] + [row if header.startswith("username") else ",".join(reversed(row.split(","))) for row in rows]))
    settings = {"USERS_TABLE": "members", "USERS_COLUMNS": '{"username": "email", "is_active": null, "last_login": null}'}

    done = command(database, "users", "import", str(file), **settings)

    assert done.returncode == 1 and "username and email must be the same" in done.stderr
    with connected(database) as connection:
        assert [email for (email,) in connection.execute("SELECT email FROM members ORDER BY email")] == ["bob@example.com", "carol@example.com"]


def test_the_columns_of_a_file_without_a_header_are_an_option(users: Users) -> None:
    text = "7,alice,,alice@example.com\n"
    named = ("--format", "csv", "--columns", "id,username,groups,email")
    assert users("import", "-", *named, stdin=text).stdout == "1 user added, 0 were there already, 0 refused.\n"
    assert users.sql("SELECT id, username, email FROM auth_user") == [(7, "alice", "alice@example.com")]
    for options, words in [
        (("--format", "csv", "--columns", "id,name"), 'standard input: there is no column "name"'),
        (("--format", "csv", "--columns", "id,,username"), 'standard input: there is no column ""'),
        (("--format", "jsonl", "--columns", "id,username"), "--columns is only for the formats csv and mysql"),
    ]:
        done = users("import", "-", *options, stdin=text)
        assert done.returncode != 0 and words in done.stderr


def test_a_refused_format_of_an_export_leaves_no_file(users: Users, tmp_path: Path) -> None:
    file = tmp_path / "users.txt"
    for options in ((), ("--output", str(file))):
        done = users("export", "--format", "mysql", *options)
        assert done.returncode == 64 and "Use csv, jsonl or dumpdata" in done.stderr
    assert not file.exists()


# Files of MySQL, and the text that the error must contain.
BROKEN_OUTFILES = {
    "username\temail\nbob\t\nal\t": "input:3: the record that starts here is not complete",
    "username\temail\nbob\t\nkim\t\\": "input:3: the record that starts here is not complete",
    'username,first_name\nbob,""\nal,"A': "input:3: the record that starts here is not complete",
    'username,first_name\nbob,""\nal,"A""l"\n': "input:3: a quote is misplaced",
    "username\temail\nbob\t\nal\n": "input:3: there are 1 values for 2 columns",
    "username\tfirst_name\nbob\t\nal\t" + "a\\\n" * (1 << 19): "input:3: the record that starts here has more than a million bytes",
}


@pytest.mark.parametrize("text", BROKEN_OUTFILES, ids=BROKEN_OUTFILES.values())
def test_an_error_names_the_line_of_a_broken_file_of_mysql(text: str, users: Users) -> None:
    done = users("import", "-", "--format", "mysql", stdin=text)
    assert done.returncode == 1 and BROKEN_OUTFILES[text] in done.stderr
    assert users.names == ["bob"]


def test_a_backslash_in_a_file_of_mysql_escapes_the_next_character(users: Users) -> None:
    text = r'''username,first_name,last_login
a,"\\N \"q\",\n\t\
",NULL
b,\N,\N
c,a"b,"\N"
'''
    done = users("import", "-", "--format", "mysql", stdin=text)
    assert done.stdout == "2 users added, 0 were there already, 1 refused.\n" and "input:5: last_login must be a time" in done.stderr
    assert users.sql("SELECT username, first_name, last_login FROM auth_user") == [("a", '\\N "q",\n\t\n', None), ("b", "", None)]


def test_the_columns_of_an_export_of_the_admin_are_imported_or_ignored(users: Users) -> None:
    """This is the default header of django-import-export."""
    text = (
        "id,password,last_login,is_superuser,groups,user_permissions,username,first_name,last_name,email,is_staff,is_active,date_joined\n"
        '7,,,0,"1,2",3,alice,,,alice@example.com,1,1,2024-05-01 12:34:56\n'
    )
    done = users("import", "-", "--format", "csv", stdin=text)
    assert (done.returncode, done.stdout) == (0, "1 user added, 0 were there already, 0 refused.\n"), done.stderr
    assert users.sql("SELECT id, is_staff, date_joined FROM auth_user") == [(7, 1, "2024-05-01 12:34:56")]


def test_a_spreadsheets_csv_is_imported(users: Users) -> None:
    """It has a byte order mark, carriage returns, blank lines, and no end of its last line."""
    text = '\ufeffusername,email,first_name\r\nalice,"alice@example.com", Al \r\n\r\nbob,bob@example.com,"B\r\n""ob"""\r\nkim,,Kim'
    done = users("import", "-", "--format", "csv", stdin=text)
    assert (done.returncode, done.stdout) == (0, "3 users added, 0 were there already, 0 refused.\n"), done.stderr
    assert users.sql("SELECT first_name FROM auth_user ORDER BY id") == [(" Al ",), ('B\r\n"ob"',), ("Kim",)]


@pytest.mark.parametrize("name", ["nowhere.csv", "."])
def test_an_error_names_a_file_that_cannot_be_read(name: str, users: Users, tmp_path: Path) -> None:
    done = users("import", str(tmp_path / name), "--format", "csv")
    assert done.returncode == 1 and "cannot be read" in done.stderr


@pytest.mark.slow
def test_a_killed_import_leaves_complete_batches_and_the_next_completes_it(users: Users, tmp_path: Path) -> None:
    users.add("first")
    file = tmp_path / "many.csv"
    file.write_text("\n".join(["username,email", *(f"user{number},user{number}@example.com" for number in range(30_000))]))
    process = subprocess.Popen([BINARY, "users", "import", str(file)], env=environment_of(users.database, **QUICK))
    wait_until(lambda: len(users.names) > 2000, "some batches")
    process.kill()
    process.wait()
    count = len(users.names) - 1
    assert count % 1000 == 0 and count < 30_000
    assert users("import", str(file)).stdout == f"{30_000 - count} users added, {count} were there already, 0 refused.\n"
