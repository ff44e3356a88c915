"""docs/asvs.md is true: each requirement is judged once, tests exist, counts are right, and inventories match the code."""

import re
import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from documents import DOCS, NamedTest, first_names, named_tests, rows_of, sources
from paths import ROOT
from service import run_command

ASVS = DOCS / "asvs.md"
CHAPTERS = re.findall(r"^## (V\d+ .+)$", ASVS.read_text(), re.MULTILINE)
# How many requirements the sections of each chapter have in the standard.
SECTIONS = {
    2: [3, 3, 5, 2], 6: [3, 12, 8, 6, 8, 4, 2, 4], 7: [3, 4, 2, 5, 3, 2], 11: [4, 5, 5, 4, 2, 2, 2], 14: [2, 8, 3], 16: [1, 5, 4, 3, 4],
}  # fmt: skip
VERDICTS = ["held", "not held", "does not apply"]
SOURCES = ROOT / "Sources"


# The requirements.


@dataclass(frozen=True)
class Judgment:
    """A row of the table: one requirement, or several that do not apply for the same reason."""

    numbers: list[tuple[int, ...]]
    verdict: str
    shown_by: str

    @property
    def tests(self) -> list[NamedTest]:
        return named_tests(self.shown_by) if self.verdict == "held" else []


def judgments(chapter: str) -> list[Judgment]:
    rows = []
    for number, _, verdict, shown_by in rows_of(ASVS, chapter):
        if number == "requirement" or set(number) <= set("-"):
            continue
        levels = re.findall(r"(\d+\.\d+\.\d+) L[123]\b", number)
        assert levels and ", ".join(re.findall(r"\S+ L[123]", number)) == number, f"not numbers with levels: {number}"
        rows.append(Judgment([tuple(map(int, text.split("."))) for text in levels], verdict, shown_by))
    return rows


ALL = [row for chapter in CHAPTERS for row in judgments(chapter)]


def test_each_requirement_is_judged_once() -> None:
    in_standard = [
        (chapter, section, number)
        for chapter, sizes in SECTIONS.items()
        for section, size in enumerate(sizes, 1)
        for number in range(1, size + 1)
    ]
    assert [number for row in ALL for number in row.numbers] == in_standard
    for chapter in CHAPTERS:
        assert {f"V{number[0]}" for row in judgments(chapter) for number in row.numbers} == {chapter.split()[0]}
    assert {row.verdict for row in ALL} == set(VERDICTS)


def test_the_counts_match_the_tables() -> None:
    expected = []
    for chapter in CHAPTERS:
        counts = Counter(row.verdict for row in judgments(chapter) for _ in row.numbers)
        expected.append([chapter, *[counts[verdict] for verdict in VERDICTS], counts.total()])
    expected.append(["all", *[sum(column) for column in list(zip(*expected))[1:]]])
    documented = [[row[0], *map(int, row[1:])] for row in rows_of(ASVS, "Result") if row[1].isdigit()]
    assert documented == expected


def test_each_requirement_that_is_held_names_a_test_that_exists() -> None:
    held = [row for row in ALL if row.verdict == "held"]
    assert [str(test) for row in held for test in row.tests if not test.exists] == []
    assert [row.numbers for row in held if not row.tests] == []


def test_each_other_verdict_has_a_reason() -> None:
    assert [row.numbers for row in ALL if row.verdict != "held" and len(row.shown_by.split()) < 4] == []
    assert [row.numbers for row in ALL if row.verdict == "held" and len(row.numbers) > 1] == []


def test_nothing_is_left_to_do() -> None:
    assert [line for line in ASVS.read_text().splitlines() if "TODO" in line] == []


# The inventories.


def files_with(pattern: str) -> set[str]:
    """Returns the source files that contain the pattern, relative to the sources."""
    found = {path for path in SOURCES.rglob("*.swift") if re.search(pattern, path.read_text(), re.MULTILINE)}
    return {str(path.relative_to(SOURCES)) for path in found}


def files_in(heading: str) -> list[str]:
    """Returns the source files in the last column of the table under a heading."""
    return [name for row in rows_of(ASVS, heading) for name in re.findall(r"`([^`]+\.swift)`", row[-1])]


# libcurl and libpq also speak TLS, so each file that uses them to connect belongs to the inventory.
CRYPTOGRAPHY = r"^(public |internal )?import (_?Crypto\w*|CArgon2|CCrypt|NIOSSL|CCurl)$|PQconnectStartParams\(|\"CRAM-MD5\""
RANDOMNESS = r"\.random\(|getentropy|UUID\(\)|shuffled\(|randomElement\("
OTHER_GENERATORS = r": RandomNumberGenerator|\busing: &|\b(rand\(\)|srand\(|srandom\(|[delmn]rand48\(|arc4random)"


def test_every_use_of_cryptography_is_in_the_inventory() -> None:
    assert sorted(set(files_in("Algorithms"))) == sorted(files_with(CRYPTOGRAPHY))


def test_every_use_of_randomness_is_in_the_inventory() -> None:
    assert sorted(set(files_in("Random numbers"))) == sorted(files_with(RANDOMNESS))


def test_random_numbers_come_from_the_operating_system_alone() -> None:
    """A call that names no generator uses the system's."""
    assert files_with(OTHER_GENERATORS) == set()
    assert re.search(OTHER_GENERATORS, "var state: RandomNumberGenerator; Int.random(in: 0..<9, using: &state)")


def test_every_key_is_in_the_inventory() -> None:
    source = (SOURCES / "App/Settings/SettingName.swift").read_text()
    names = dict(re.findall(r'^  case (\w+) = "(\w+)"$', source, re.MULTILINE))
    secret = re.search(r"var isSecret: Bool \{\n    switch self \{\n    case ([^:]+): true", source)
    assert secret
    secrets = {names[case] for case in re.findall(r"\w+", secret[1])}
    files = {name for name in names.values() if re.search(r"_(CERTFILE|KEYFILE|TOKEN_FILE)$", name)}
    assert "SECRET_KEY" in secrets and "HTTP_SSL_KEYFILE" in files
    assert sorted(first_names(rows_of(ASVS, "Keys"))) == sorted(secrets | files)


def test_every_input_has_a_rule() -> None:
    contract = yaml.safe_load((ROOT / "openapi.yaml").read_text())
    schemas = contract["components"]["schemas"]
    bodies = [
        operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
        for path in contract["paths"].values()
        for operation in path.values()
        if "requestBody" in operation
    ]
    members = {name for body in bodies for name in schemas[body]["properties"]}
    parameters = {parameter["name"] for parameter in contract["components"]["parameters"].values()}
    assert {"email", "new_password1"} <= members and "token" in parameters
    assert sorted(first_names(rows_of(ASVS, "Input"))) == sorted(members | parameters)


def test_every_column_is_classified(tmp_path: Path) -> None:
    database = tmp_path / "db.sqlite3"
    run_command(database, "migrate")
    with closing(sqlite3.connect(database)) as connection:
        tables = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table' AND name GLOB 'password_reset_*'").fetchall()
        columns = {
            f"{table.removeprefix('password_reset_')}.{column}"
            for (table,) in tables
            for (column,) in connection.execute("SELECT name FROM pragma_table_info(?)", (table,))
        }
    assert "outbox.identifier" in columns
    levels = first_names(rows_of(ASVS, "Protection levels"))
    documented = []
    for row in rows_of(ASVS, "Data"):
        if names := re.findall(r"`(\w+\.\w+)`", row[0]):
            documented += names
            assert row[1].strip("`") in levels, f"{row[0]} has no level"
    # The users table is the site's, and only PostgreSQL has a table for the rate limits of clients.
    assert sorted(name for name in documented if not name.startswith(("users.", "client_limit."))) == sorted(columns)


LOG_CALL = r'(?:\blog|\blogger)\.(?:trace|debug|info|notice|warning|error|critical)\(\s*"([^"\\]+)"|\blog\(\s*level: \w+, "([^"]+)"'


def test_every_log_message_is_in_the_inventory() -> None:
    found = {first or second for first, second in re.findall(LOG_CALL, sources("."))}
    assert {"Request", "Email not sent; it will be retried"} <= found
    assert sorted(first_names(rows_of(ASVS, "Log messages"))) == sorted(found)


@pytest.mark.parametrize("writer", [r"\bsyslog\(", r"\bopenlog\(", r"\bos_log\(", r"\bNSLog\(", r"\bsd_journal_"])
def test_no_log_goes_to_an_undocumented_place(writer: str) -> None:
    assert files_with(writer) == set()
