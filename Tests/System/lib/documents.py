"""Reads the documents of the repository: their tables, and the tests that they name."""

import re
from dataclasses import dataclass
from pathlib import Path

from paths import ROOT

DOCS = ROOT / "docs"


def name_of(document: Path) -> str:
    return str(document.relative_to(ROOT))


def rows_of(document: Path, heading: str) -> list[list[str]]:
    """Returns the cells of each row of the tables under a heading."""
    _, found, rest = document.read_text().partition(f"\n## {heading}\n")
    assert found, f"{name_of(document)} has no {heading}"
    lines = re.split(r"^## ", rest, maxsplit=1, flags=re.MULTILINE)[0].splitlines()
    rows = [line.strip("|").split("|") for line in lines if line.startswith("|")]
    assert rows, f"{name_of(document)} has no table under {heading}"
    return [[cell.strip() for cell in row] for row in rows]


def first_names(rows: list[list[str]]) -> list[str]:
    """Returns the code in the first cell of each row; header rows have none."""
    return [match[1] for row in rows if (match := re.match(r"`([^`]+)`", row[0]))]


def sources(*folders: str) -> str:
    return "\n".join(path.read_text() for folder in folders for path in sorted((ROOT / "Sources" / folder).rglob("*.swift")))


@dataclass(frozen=True)
class NamedTest:
    """A test as a document names it: by its file and by its name in that file."""

    file: Path
    name: str

    def __str__(self) -> str:
        return f"{name_of(self.file)}: {self.name}"

    @property
    def exists(self) -> bool:
        if not self.file.exists():
            return False
        text = self.file.read_text()
        if self.file.suffix == ".py":
            return re.search(rf"^def {re.escape(self.name)}\(", text, re.MULTILINE) is not None
        if "TestSupport" in self.file.parts:
            return f'Promise("{self.name}")' in text
        return any(f"func {name}(" in text for name in (f"`{self.name}`", self.name))


def named_tests(cell: str) -> list[NamedTest]:
    """Returns the tests in a cell: a file, and then the names of its tests."""
    tests, file = [], None
    for code in re.findall(r"`([^`]+)`", cell):
        if code.startswith("Tests/"):
            file = ROOT / code
        else:
            assert file, f"no file has {code}"
            tests.append(NamedTest(file, code))
    return tests
