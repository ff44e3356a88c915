"""A backup is complete at any time, and a service that starts on it continues from there."""

import os
import re
import shutil
import signal
import sqlite3
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from django_site import add_users, link_for
from outbox import connected
from processes import wait_until
from service import BASE_ENVIRONMENT, BINARY, Link, Service, command, run_command, serving

USERS = 600
BACKUPS = 20
# These users' passwords are not changed during the backups. One of them is tried on each backup.
SPARE = USERS - 1
NEW = "battery-staple-92-new"
RESTORED = "a-password-after-the-loss-94"
SAID = re.compile(r"Backed up ([\d,]+) users to (.+) \(([\d,]+) bytes\)\.\n")
QUICK = {"PASSWORD_HASHER_OPTIONS": "iterations=10"}


def read_only(path: Path) -> sqlite3.Connection:
    """Reads a database without creating files next to it."""
    return sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)


class Load(threading.Thread):
    """Clients that request emails and set passwords, one after the other."""

    def __init__(self, service: Service, links: list[Link]) -> None:
        super().__init__(daemon=True)
        self._service = service
        self._links = links
        self._stopped = threading.Event()
        self.asked = 0
        self.confirmed = 0
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            while not self._stopped.is_set():
                assert self._service.request_reset(email=f"user{self.asked % USERS}@example.com").status == 202
                self.asked += 1
                # Links are scarce.
                if self.asked % 5 == 0 and self._links:
                    assert self._service.set_password(self._links.pop(), NEW, NEW).status == 200
                    self.confirmed += 1
        except BaseException as error:  # noqa: BLE001 - reported to the test.
            self.failure = error

    def stop(self) -> None:
        self._stopped.set()
        self.join()
        assert self.failure is None


@dataclass(frozen=True)
class Backup:
    file: Path
    said: str
    # How many passwords had been set when the backup began, and when it was done.
    confirmed: tuple[int, int]
    # All files in its folder.
    folder: list[str]


@pytest.fixture(scope="module")
def backups(module_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Backup]]:
    """Creates backups while the service works."""
    links = [link_for(user) for user in add_users(USERS)[:SPARE]]
    folder = tmp_path_factory.mktemp("backups")
    made = []
    with serving(module_database, tmp_path_factory.mktemp("load"), **QUICK) as service:
        loads = [Load(service, links[number::2]) for number in range(2)]

        def confirmed() -> int:
            return sum(load.confirmed for load in loads)

        for load in loads:
            load.start()
        for number in range(BACKUPS):
            goal = confirmed() + 3
            wait_until(lambda: confirmed() >= goal or any(load.failure for load in loads), "some passwords to be set")
            before = confirmed()
            file = folder / f"{number}.sqlite3"
            done = command(module_database, "backup", str(file))
            assert done.returncode == 0, done.stderr
            made.append(Backup(file, done.stdout, (before, confirmed()), sorted(os.listdir(folder))))
        for load in loads:
            load.stop()
    yield made


@pytest.mark.slow
def test_a_backup_is_complete(backups: list[Backup]) -> None:
    assert len(backups) == BACKUPS
    for backup in backups:
        with closing(read_only(backup.file)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
            assert connection.execute("SELECT count(*) FROM auth_user").fetchone() == (USERS,)


@pytest.mark.slow
def test_a_backup_shows_one_moment(backups: list[Backup]) -> None:
    """A new password, its line in the audit and its notice are all in the backup, or none of them is."""
    for backup in backups:
        with closing(read_only(backup.file)) as connection:
            reset = {user for (user,) in connection.execute("SELECT user_id FROM password_reset_audit WHERE event = 'reset'")}
            changed = {user for (user,) in connection.execute("SELECT CAST(id AS TEXT) FROM auth_user WHERE password NOT LIKE '%$1$salt%'")}
            notices = connection.execute(
                "SELECT user_id FROM password_reset_outbox WHERE kind = 'changed_notice' UNION ALL"
                " SELECT user_id FROM password_reset_audit WHERE event = 'mailed'"
                " AND request_id IN (SELECT request_id FROM password_reset_audit WHERE event = 'reset')"
            ).fetchall()
        assert reset == changed == {user for (user,) in notices}
        before, after = backup.confirmed
        # Two clients may each be between the database and the response.
        assert before <= len(reset) <= after + 2


@pytest.mark.slow
def test_a_backup_reports_its_contents(backups: list[Backup]) -> None:
    for backup in backups:
        said = SAID.fullmatch(backup.said)
        assert said, backup.said
        users, file, size = said.groups()
        assert (int(users.replace(",", "")), file) == (USERS, str(backup.file))
        assert int(size.replace(",", "")) == backup.file.stat().st_size > 0


@pytest.mark.slow
def test_only_the_owner_can_read_a_backup_and_no_other_file_is_left(backups: list[Backup]) -> None:
    for number, backup in enumerate(backups):
        assert backup.file.stat().st_mode & 0o777 == 0o600
        assert backup.folder == sorted(f"{index}.sqlite3" for index in range(number + 1))


def link_in(folder: Path) -> Link | None:
    """Returns the link in the first email in the folder to the spare user."""
    text = "".join(file.read_text() for file in folder.glob("*.log"))
    # The backup's outbox may still have emails for other users.
    mails = [mail for mail in text.split("-" * 79) if f"To: user{SPARE}@example.com" in mail]
    found = [link for mail in mails for link in re.findall(r"/reset/([\w-]+)/([\w-]+)/", mail)]
    return Link(*found[0]) if found else None


def restore(backup: Backup, folder: Path) -> list[int]:
    """Starts a service on a copy of the backup. Returns the statuses of one reset on it."""
    database = folder / "restored.sqlite3"
    shutil.copy(backup.file, database)
    database.chmod(0o600)
    mails = folder / "mails"
    with serving(database, folder, EMAIL_BACKEND="file", EMAIL_FILE_PATH=str(mails), **QUICK) as service:
        asked = service.request_reset(email=f"user{SPARE}@example.com")
        link = wait_until(lambda: link_in(mails), "the email")
        replies = [asked, service.check_link(link), service.set_password(link, RESTORED, RESTORED), service.check_link(link)]
        assert [reply.body.get("validlink") for reply in replies] == [None, True, None, False]
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    return [reply.status for reply in replies]


@pytest.mark.slow
def test_a_service_can_continue_from_any_backup(backups: list[Backup], tmp_path: Path) -> None:
    def play(number: int) -> list[int]:
        folder = tmp_path / str(number)
        folder.mkdir()
        return restore(backups[number], folder)

    with ThreadPoolExecutor(max_workers=4) as pool:
        assert list(pool.map(play, range(BACKUPS))) == [[202, 200, 200, 200]] * BACKUPS


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """Returns a database with one user, in its own folder."""
    (tmp_path / "site").mkdir()
    database = tmp_path / "site" / "db.sqlite3"
    run_command(database, "users", "add", "alice", "--email", "alice@example.com")
    return database


def test_a_database_that_is_not_in_use_can_be_backed_up(made: Path, tmp_path: Path) -> None:
    # Keep the journal mode in which Django leaves it.
    with closing(sqlite3.connect(made)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
    file = tmp_path / "backup.sqlite3"
    assert SAID.fullmatch(run_command(made, "backup", str(file)))
    with closing(read_only(file)) as connection:
        assert connection.execute("SELECT username FROM auth_user").fetchall() == [("alice",)]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["backup.sqlite3", "site"]


def test_a_relative_name_is_relative_to_the_working_directory(made: Path, tmp_path: Path) -> None:
    environment = BASE_ENVIRONMENT | {"DATABASE_URL": f"sqlite:{made}"}
    done = subprocess.run([BINARY, "backup", "here.sqlite3"], env=environment, cwd=tmp_path, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    assert (tmp_path / "here.sqlite3").stat().st_size > 0


@pytest.mark.parametrize("what", ["a file", "an empty file", "a folder", "a link to nowhere"])
def test_an_existing_file_is_not_overwritten(what: str, made: Path, tmp_path: Path) -> None:
    target = tmp_path / "backup.sqlite3"
    match what:
        case "a file":
            target.write_bytes(b"yesterday's")
        case "an empty file":
            target.touch()
        case "a folder":
            target.mkdir()
        case "a link to nowhere":
            target.symlink_to(tmp_path / "nowhere")
    before = target.lstat()
    done = command(made, "backup", str(target))
    assert done.returncode == 1 and str(target) in done.stderr, done.stderr
    assert (target.lstat().st_ino, target.lstat().st_size, target.lstat().st_mtime_ns) == (before.st_ino, before.st_size, before.st_mtime_ns)
    assert what != "a file" or target.read_bytes() == b"yesterday's"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["backup.sqlite3", "site"]


@pytest.mark.parametrize("suffix", ["-wal", "-journal"])
def test_a_file_that_sqlite_would_read_as_part_of_the_backup_is_not_overwritten(suffix: str, made: Path, tmp_path: Path) -> None:
    part = tmp_path / f"backup.sqlite3{suffix}"
    part.write_text("another's")
    done = command(made, "backup", str(tmp_path / "backup.sqlite3"))
    assert (done.returncode, done.stdout, str(part) in done.stderr) == (1, "", True)
    assert part.read_text() == "another's"
    assert sorted(path.name for path in tmp_path.iterdir()) == [part.name, "site"]


def test_a_constraint_may_call_a_function_of_django(made: Path, tmp_path: Path) -> None:
    with connected(made) as connection:
        connection.create_function("regexp", 2, lambda pattern, text: True, deterministic=True)
        connection.execute("CREATE TABLE site_page (slug TEXT CHECK (slug REGEXP '^[a-z]+$'))")
        connection.execute("INSERT INTO site_page VALUES ('home')")
    file = tmp_path / "backup.sqlite3"
    assert SAID.fullmatch(run_command(made, "backup", str(file)))
    with closing(read_only(file)) as connection:
        assert connection.execute("SELECT slug FROM site_page").fetchall() == [("home",)]
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)


def test_a_database_cannot_be_backed_up_onto_itself(made: Path) -> None:
    before = made.read_bytes()
    assert command(made, "backup", str(made)).returncode == 1
    assert made.read_bytes() == before


# No user can write to /proc, not even root, who may run these tests.
@pytest.mark.parametrize("folder", ["/nonexistent", "/proc", "/dev/null"])
def test_an_error_names_a_folder_that_is_not_writable(folder: str, made: Path) -> None:
    target = f"{folder}/backup.sqlite3"
    done = command(made, "backup", target)
    assert (done.returncode, done.stdout) == (1, "")
    assert target in done.stderr


def test_a_missing_database_is_not_created(tmp_path: Path) -> None:
    done = command(tmp_path / "db.sqlite3", "backup", str(tmp_path / "backup.sqlite3"))
    assert done.returncode == 78
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_not_a_database_cannot_be_backed_up(tmp_path: Path) -> None:
    database = tmp_path / "db.sqlite3"
    database.write_text("no database at all, but long enough to be taken for one")
    done = command(database, "backup", str(tmp_path / "backup.sqlite3"))
    assert done.returncode == 78 and "DATABASE_URL" in done.stderr
    assert list(tmp_path.iterdir()) == [database]


def test_a_damaged_database_cannot_be_backed_up(made: Path, tmp_path: Path) -> None:
    """The operator must not learn of the damage only when the backup is needed."""
    with connected(made) as connection:
        connection.execute("CREATE TABLE filling (text TEXT)")
        connection.executemany("INSERT INTO filling VALUES (?)", [("x" * 1000,)] * 1000)
    with closing(sqlite3.connect(made)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with made.open("r+b") as file:
        file.seek(made.stat().st_size // 2)
        file.write(b"\xa5" * 65536)
    done = command(made, "backup", str(tmp_path / "backup.sqlite3"))
    assert done.returncode in (1, 78) and "damaged" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["site"]


@pytest.mark.parametrize("arguments", [[], [""]], ids=str)
def test_a_backup_needs_a_name(arguments: list[str]) -> None:
    assert subprocess.run([BINARY, "backup", *arguments], env=BASE_ENVIRONMENT, capture_output=True).returncode == 64


def test_an_interrupted_backup_leaves_no_file_under_its_name(made: Path, tmp_path: Path) -> None:
    with connected(made) as connection:
        connection.execute("CREATE TABLE filling (content BLOB)")
        connection.executemany("INSERT INTO filling VALUES (randomblob(?))", [(1 << 20,)] * 200)
    folder = tmp_path / "backups"
    folder.mkdir()
    target = folder / "backup.sqlite3"
    environment = BASE_ENVIRONMENT | {"DATABASE_URL": f"sqlite:{made}"}
    process = subprocess.Popen([BINARY, "backup", str(target)], env=environment, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 30
    # Check often, because copying takes a fraction of a second.
    while not any(path.stat().st_size > 1 << 20 for path in folder.iterdir()):
        assert process.poll() is None and time.monotonic() < deadline
    process.kill()
    assert process.wait() == -signal.SIGKILL, "the backup was done too soon"
    assert not target.exists()
    # The temporary file does not block the next backup, and only its owner can read it.
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in folder.iterdir())
    assert SAID.fullmatch(run_command(made, "backup", str(target)))
    with closing(read_only(target)) as connection:
        assert connection.execute("SELECT count(*) FROM filling").fetchone() == (200,)
