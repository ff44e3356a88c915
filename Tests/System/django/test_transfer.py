"""Users move from Django to the service and back in Django's format."""

import gzip
import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import authenticate
from django.contrib.auth.forms import PasswordResetForm
from django.contrib.auth.models import Group, User
from django.core.management import call_command

from django.contrib.auth.tokens import default_token_generator

from django_site import add_user, migrate, on_database
from service import command, run_command

PASSWORD = "correct-horse-71-old"


def users() -> list[tuple[object, ...]]:
    fields = [field.attname for field in User._meta.concrete_fields]
    return list(User.objects.order_by("pk").values_list(*fields))


@pytest.fixture
def dump(database: Path, tmp_path: Path) -> Path:
    alice = User.objects.create_user("alice", "alice@example.com", PASSWORD, first_name="Ålice", last_name='O"Neill, 😀')
    alice.groups.add(Group.objects.create(name="editors"))
    User.objects.create_superuser("root", "root@example.com", PASSWORD)
    User.objects.create_user("stranger", "", None, is_active=False)
    User.objects.get(username="stranger").delete()
    User.objects.create_user("bob", "bob@example.com", None, is_active=False)
    assert authenticate(username="alice", password=PASSWORD)
    # dumpdata truncates times to milliseconds, so the expected users come from it.
    file = tmp_path / "dump.json"
    call_command("dumpdata", "auth", output=str(file), verbosity=0)
    return file


@pytest.mark.parametrize("ending", ["json", "jsonl"])
def test_the_service_imports_what_django_dumps(ending: str, dump: Path, tmp_path: Path) -> None:
    expected = [(entry["pk"], entry["fields"]) for entry in json.loads(dump.read_text()) if entry["model"] == "auth.user"]
    own = tmp_path / "own.sqlite3"
    file = tmp_path / f"other.{ending}"
    call_command("dumpdata", "auth", format=ending, output=str(file), verbosity=0)
    assert run_command(own, "users", "import", str(file)) == "3 users added, 0 were there already, 0 refused.\n"
    with on_database(own):
        assert authenticate(username="alice", password=PASSWORD) is not None
        found = {user.pk: user for user in User.objects.all()}
        assert sorted(found) == [pk for pk, _ in expected]
        for pk, fields in expected:
            user = found[pk]
            for name in ("username", "email", "first_name", "last_name", "password", "is_active", "is_staff", "is_superuser"):
                assert getattr(user, name) == fields[name]
            assert user.date_joined.isoformat(timespec="milliseconds").replace("+00:00", "Z") == fields["date_joined"]


def test_django_loads_what_the_service_exports(dump: Path, database: Path, tmp_path: Path) -> None:
    before = users()
    exported = tmp_path / "exported.json"
    run_command(database, "users", "export", "--output", str(exported))
    other = tmp_path / "other.sqlite3"
    with on_database(other):
        migrate()
        call_command("loaddata", str(exported), verbosity=0)
        assert users() == before
        assert authenticate(username="alice", password=PASSWORD) is not None


def test_a_second_import_after_one_by_django_changes_nothing(dump: Path, database: Path) -> None:
    before = users()
    done = command(database, "users", "import", str(dump))
    assert (done.returncode, done.stdout) == (0, "0 users added, 3 were there already, 0 refused.\n")
    assert users() == before


OLD_HASHES = [
    "sha1$a6976$623ff2da148e87378026af7e6db42658d31edafe",
    "md5$a6976$cb66168736b7ff172582c6fefc58cf69",
    "9aed9022006f855fff1a0b496518fd79",
    "sha1$$0beec7b5ea3f0fdbc95d0dd47f3c5bc275da8a33",
    "pbkdf2_wrapped_sha1$1000$a6976$Zm9vYmFyYmF6cXV1eA==",
    "crypt$$ab1Hv2Lg7ltQo",
    "sha1$a$b",
    "$2y$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy",
    "{SSHA}0c0blFTXXNuAMHECS4uxrj3ZieMoWImr",
    "phpass$$P$BcVaXmqX3BQLLN4kPwa0Gqk7bGGqQd/",
    "scrypt$1152921504606846976$salt$8$1$AAAA",
    "",
    "!unusable",
]
TIMES = [
    "2024-05-01T12:34:56.123456Z",
    "2024-05-01T12:34:56Z",
    "2024-05-01 12:34:56.123456+00",
    "2024-05-01 14:34:56.1+02",
    "2019-07-01 05:30:00+05:30",
    "2024-01-01 00:30:00+0100",
    "2023-12-31 23:30:00.000001-03:30",
    "2024-02-29T23:59:59,5 +01",
    "2024-5-1 1:02Z",
    "20240501T123456Z",
    "2024-05-01T12Z",
    "0001-01-02 00:00:00+00",
    "9999-12-31 23:59:59.999999+00:00",
    "2024-05-01 12:34:56.1234567891+00:00:30",
]
FLAGS = [(1, 0), ("1", "0"), (True, False), ("t", "f"), ("True", "False")]


def fixture(**fields: Any) -> list[dict[str, Any]]:
    """Returns one user for each value of the one field that is a list, as `dumpdata` writes them."""
    ((name, values),) = [(name, value) for name, value in fields.items() if isinstance(value, list)]
    defaults = {"password": OLD_HASHES[0], "date_joined": "2020-01-01T00:00:00Z", "is_active": True}
    return [
        {
            "model": "auth.user",
            "pk": 5 + index,
            "fields": defaults | {"username": f"user{index}", "email": f"user{index}@example.com"} | fields | {name: value},
        }
        for index, value in enumerate(values)
    ]


def stored(database: Path) -> list[tuple[Any, ...]]:
    columns = "id, password, last_login, is_superuser, username, last_name, email, is_staff, is_active, date_joined, first_name"
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute(f"SELECT {columns} FROM auth_user ORDER BY id").fetchall()


def as_csv(users: list[dict[str, Any]]) -> str:
    """Returns the users as PostgreSQL writes them: NULL is nothing, and an empty text is two quotes."""
    rows = [{"id": user["pk"], **user["fields"]} for user in users]
    lines = [["" if value is None else f'"{value}"' for value in row.values()] for row in rows]
    return "\n".join(map(",".join, [list(rows[0]), *lines]))


CASES = {
    "hashes": fixture(password=OLD_HASHES),
    "times of the last login": fixture(last_login=[*TIMES, None]),
    "times of joining": fixture(date_joined=TIMES),
    "true": fixture(is_active=[flag for flag, _ in FLAGS]),
    "false": fixture(is_active=[flag for _, flag in FLAGS]),
    "staff": fixture(is_staff=[flag for pair in FLAGS for flag in pair]),
}


@pytest.mark.parametrize("ending", ["json", "jsonl", "csv"])
@pytest.mark.parametrize("case", CASES)
def test_an_import_stores_what_loaddata_stores(case: str, ending: str, database: Path, tmp_path: Path) -> None:
    users, own = CASES[case], tmp_path / "own.sqlite3"
    file = tmp_path / f"users.{ending}"
    array = json.dumps(users)
    (tmp_path / "loaded.json").write_text(array)
    call_command("loaddata", str(tmp_path / "loaded.json"), verbosity=0)
    lines = "\n".join(map(json.dumps, users)) if ending == "jsonl" else as_csv(users)
    file.write_text(array if ending == "json" else lines)
    done = command(own, "users", "import", str(file))
    assert done.returncode == 0, done.stderr
    assert stored(own) == stored(database)
    with on_database(own):
        for user in User.objects.filter(is_active=True).exclude(email=""):
            link = run_command(own, "users", "link", user.username).strip("/\n").split("/")
            assert default_token_generator.check_token(user, link[-1]), user.username


def test_imported_users_with_any_hash_get_an_email_as_in_django(tmp_path: Path) -> None:
    own = tmp_path / "own.sqlite3"
    (tmp_path / "users.csv").write_text(as_csv(CASES["hashes"]))
    done = command(own, "users", "import", str(tmp_path / "users.csv"))
    assert done.returncode == 0 and "1 added user without a password" in done.stderr, done.stderr
    listed = [json.loads(line) for line in run_command(own, "users", "list", "--json").splitlines()]
    with on_database(own):
        for user in listed:
            is_found = any(PasswordResetForm().get_users(user["email"]))
            assert is_found == (user["password"] != "none"), user


def test_times_without_a_zone_are_in_utc(tmp_path: Path) -> None:
    """That is how databases store Django's times."""
    own = tmp_path / "own.sqlite3"
    text = "username,last_login,date_joined\na,2024-05-01 12:34:56.1,2024-05-01\nb,2024-05-01 12:34,2024-5-1\nc,\\N,2024-05-01T00:00:00\n"
    assert command(own, "users", "import", "-", "--format", "csv", stdin=text).returncode == 0
    assert [(row[2], row[9]) for row in stored(own)] == [
        ("2024-05-01 12:34:56.100000", "2024-05-01 00:00:00"),
        ("2024-05-01 12:34:00", "2024-05-01 00:00:00"),
        (None, "2024-05-01 00:00:00"),
    ]


@pytest.mark.parametrize("form", ["array", "lines"])
def test_the_rows_that_sqlite3_prints_as_json_are_imported(form: str, database: Path, tmp_path: Path) -> None:
    add_user("alice", "alice@example.com", is_staff=True)
    User.objects.create_user("bob", "bob@example.com", PASSWORD, is_active=False)
    assert authenticate(username="alice", password="the-old-password-71")
    with closing(sqlite3.connect(database)) as connection:
        connection.row_factory = sqlite3.Row
        rows = [dict(row) for row in connection.execute("SELECT * FROM auth_user")]
    file = tmp_path / ("users.json" if form == "array" else "users.jsonl")
    file.write_text("[" + ",\n".join(map(json.dumps, rows)) + "]" if form == "array" else "\n".join(map(json.dumps, rows)))
    own = tmp_path / "own.sqlite3"
    assert run_command(own, "users", "import", str(file)) == "2 users added, 0 were there already, 0 refused.\n"
    assert stored(own) == stored(database)


def test_users_without_a_password_are_counted_and_may_choose_one_by_email(tmp_path: Path) -> None:
    text = "username,email,password\nalice,alice@example.com,\nbob,bob@example.com,!x\neve,eve@example.com,\"\"\n"
    for options, count, state in (([], "2 added users", "no password"), (["--first-password-by-email"], "1 added user", "active")):
        own = tmp_path / f"{len(options)}.sqlite3"
        done = command(own, "users", "import", "-", "--format", "csv", *options, stdin=text)
        assert done.returncode == 0 and f"{count} without a password will get no reset email" in done.stderr, done.stderr
        assert f"state {state}\n" in re.sub(" +", " ", run_command(own, "users", "show", "alice"))
        with on_database(own):
            found = [name for name in ("alice", "bob", "eve") if any(PasswordResetForm().get_users(f"{name}@example.com"))]
            assert found == (["alice", "eve"] if options else ["eve"])
            assert authenticate(username="eve", password="") is None


@pytest.mark.parametrize("unpacks", [False, True])
def test_a_compressed_dump_is_refused_with_the_way_to_read_it(unpacks: bool, dump: Path, tmp_path: Path) -> None:
    file = tmp_path / "users.json.gz"
    call_command("dumpdata", "auth", output=str(file), verbosity=0)
    own = tmp_path / "own.sqlite3"
    if unpacks:
        done = command(own, "users", "import", "-", "--format", "dumpdata", stdin=gzip.decompress(file.read_bytes()).decode())
        assert done.stdout.startswith("3 users added")
    else:
        done = command(own, "users", "import", str(file))
        assert done.returncode == 1 and "users.json.gz: this is compressed with gzip; unpack it first: `gunzip -c FILE" in done.stderr
        assert not own.exists()


# Values that other programs left in a row, and whether the row can be exported.
ODD_ROWS = {
    "last_login = ''": True,
    "last_login = 'never'": True,
    "last_login = '2024-05-01 12:34'": True,
    "last_login = '2024-05-01'": True,
    "last_login = '2024-05-01 12:34:56+02:00'": True,
    "password = 'sha1$a$b'": True,
    "password = ''": True,
    "is_active = 2": True,
    "is_staff = 'true'": True,
    "first_name = '\\N'": True,
    "last_login = '2024-02-30 10:00'": False,
    "date_joined = 'never'": False,
    "date_joined = '0000-00-00 00:00:00'": False,
    "email = x'c3'": False,
    "email = 'no address'": False,
    "username = 'with space'": False,
    "first_name = 'a' || char(0)": False,
    "password = 'correct horse'": False,
    "id = -1": False,
}


@pytest.mark.parametrize("ending", ["json", "jsonl", "csv"])
def test_everything_that_is_exported_can_be_read_again(ending: str, database: Path, tmp_path: Path) -> None:
    for index, change in enumerate(ODD_ROWS):
        user = add_user(f"user{index}", f"user{index}@example.com")
        with closing(sqlite3.connect(database)) as connection, connection:
            connection.execute(f"UPDATE auth_user SET {change} WHERE id = {user.pk}")
    file = tmp_path / f"users.{ending}"
    done = command(database, "users", "export", "--output", str(file))
    kept = list(ODD_ROWS.values()).count(True)
    assert done.returncode == 1 and f"Exported {kept} users." in done.stderr
    for number, is_kept in enumerate(ODD_ROWS.values(), start=1):
        number = number if "-1" not in list(ODD_ROWS)[number - 1] else -1
        assert (f"ser {number} was left out" in done.stderr or f"user {number} is damaged" in done.stderr) != is_kept, number
    own, loaded = tmp_path / "own.sqlite3", tmp_path / "loaded.sqlite3"
    assert run_command(own, "users", "import", str(file)) == f"{kept} users added, 0 were there already, 0 refused.\n"
    if ending == "json":
        with on_database(loaded):
            migrate()
            call_command("loaddata", str(file), verbosity=0)
        assert stored(own) == stored(loaded)
