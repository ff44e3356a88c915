"""Users move from Django to the service and back in Django's format."""

import json
from pathlib import Path

import pytest
from django.contrib.auth import authenticate
from django.contrib.auth.models import Group, User
from django.core.management import call_command

from django_site import migrate, on_database
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
