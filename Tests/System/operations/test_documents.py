"""The documents are true: links, commands and scripts work, and lists match the code."""

import json
import os
import re
import shutil
import subprocess
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
import yaml

from documents import DOCS, NamedTest, first_names, name_of, named_tests, rows_of, sources
from paths import ROOT
from service import BASE_ENVIRONMENT, BINARY

DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "SECURITY.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "Benchmarks/README.md",
    ROOT / "deploy/README.md",
    *sorted(DOCS.rglob("*.md")),
]
# The program's name may also be the name of a container or an image, in which case the program follows it.
COMMAND = re.compile(r"\bpassword-reset((?: (?!password-reset)[a-z][a-z-]*)+)([^|&;\n]*)")


@dataclass(frozen=True)
class Block:
    """A block of code in a document."""

    document: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{name_of(self.document)}:{self.line}"


def blocks_of(document: Path) -> Iterator[Block]:
    text = document.read_text()
    for match in re.finditer(r"^( *)```(\w*)\n(.*?)^\1```$", text, re.MULTILINE | re.DOTALL):
        yield Block(document, text.count("\n", 0, match.start()) + 1, match[2], textwrap.dedent(match[3]))


BLOCKS = [block for document in DOCUMENTS for block in blocks_of(document)]
SCRIPTS = [block for block in BLOCKS if block.language in ("sh", "bash")]


def prose_of(document: Path) -> str:
    """Returns the text without the blocks of code."""
    return re.sub(r"^( *)```.*?^\1```$", "", document.read_text(), flags=re.MULTILINE | re.DOTALL)


# The threat model.


def claims() -> Iterator[tuple[str, list[NamedTest]]]:
    """Returns each claim with the tests that it names."""
    for row in rows_of(DOCS / "threat-model.md", "Claims"):
        if row[-1] != "test" and not set(row[-1]) <= set("-"):
            yield row[-2], named_tests(row[-1])


def test_every_test_that_the_threat_model_names_exists() -> None:
    found = list(claims())
    assert len(found) > 60
    assert [claim for claim, tests in found if not tests] == []
    assert [str(test) for _, tests in found for test in tests if not test.exists] == []


def test_a_missing_test_would_be_noticed() -> None:
    test, *_ = next(claims())[1]
    assert test.exists
    assert not any(NamedTest(test.file, name).exists for name in (test.name + "x", test.name[1:]))
    assert not NamedTest(test.file.with_suffix(".txt"), test.name).exists


# Links.


def anchors_of(document: Path) -> set[str]:
    """Returns the anchors that GitHub creates from headings."""
    headings = re.findall(r"^#+ (.+)$", prose_of(document), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_link_leads_somewhere(document: Path) -> None:
    dead = []
    for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`]*`", "", prose_of(document))):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = document.parent / path if path else document
        if not file.exists() or (anchor and anchor not in anchors_of(file)):
            dead.append(target)
    assert dead == []


# Lists that must match the code.


def test_the_documented_problem_codes_match_the_contract() -> None:
    schemas = yaml.safe_load((ROOT / "openapi.yaml").read_text())["components"]["schemas"]
    problems = [schema["properties"] for name, schema in schemas.items() if name.endswith("Problem") and "properties" in schema]
    rows = [row for row in rows_of(DOCS / "errors.md", "Problem codes") if row[0].startswith("`")]
    documented = {(row[0].strip("`"), int(row[1])) for row in rows}
    codes = [(properties["code"], properties["status"]["minimum"]) for properties in problems]
    assert documented == {(value, status) for code, status in codes for value in code.get("enum", [code.get("const")])}
    assert len(documented) == len(rows)


def test_the_documented_field_codes_match_the_contract() -> None:
    schemas = yaml.safe_load((ROOT / "openapi.yaml").read_text())["components"]["schemas"]
    documented = first_names(rows_of(DOCS / "errors.md", "Field codes"))
    assert sorted(documented) == sorted(schemas["FieldErrorCode"]["enum"])


def test_the_documented_findings_match_the_code() -> None:
    numbers = sorted(set(re.findall(r'"([EW]0\d\d)"', sources("App"))))
    assert numbers
    assert first_names(rows_of(DOCS / "errors.md", "Findings")) == numbers


def test_the_documented_metrics_match_the_code() -> None:
    defined = re.findall(r'\.(?:counter|gauge|histogram)\(\s*"([a-z_]+)"', sources("."))
    assert "password_reset_build_info" in defined
    assert sorted(first_names(rows_of(DOCS / "operations.md", "Metrics"))) == sorted(defined)


def test_the_documented_audit_events_match_the_code() -> None:
    declaration = re.search(r"enum AuditEvent: String.*?\n}", sources("PasswordReset"), re.DOTALL)
    assert declaration
    events = [raw or name for name, raw in re.findall(r'^ +case (\w+)(?: = "(\w+)")?$', declaration[0], re.MULTILINE)]
    rows = [row for row in rows_of(DOCS / "operations.md", "Audit") if row[0].startswith("`")]
    assert sorted(name for row in rows for name in re.findall(r"`(\w+)`", row[0])) == sorted(events)


# Commands and scripts.


@cache
def help_of(*command: str) -> str:
    done = subprocess.run([BINARY, *command, "--help"], env=BASE_ENVIRONMENT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"there is no command {' '.join(command)}: {done.stderr}"
    return done.stdout


def subcommands(*command: str) -> set[str]:
    return set(re.findall(r"^  ([a-z][a-z-]*) {2,}", help_of(*command).partition("SUBCOMMANDS:")[2], re.MULTILINE))


def commands_of(document: Path) -> Iterator[tuple[list[str], str]]:
    """Returns the words of each command in scripts and in the text, with the words that follow."""
    scripts = [re.sub(r"(^|\s)#.*$", "", block.text, flags=re.MULTILINE) for block in SCRIPTS if block.document == document]
    for code in [*scripts, *re.findall(r"`([^`\n]+)`", prose_of(document))]:
        for match in COMMAND.finditer(re.sub(r"\\\n\s*", " ", code)):
            yield match[1].split(), match[2]


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_command_exists_with_its_options(document: Path) -> None:
    for words, rest in commands_of(document):
        command: list[str] = []
        while words and (not command or subcommands(*command)):
            assert words[0] in subcommands(*command), f"there is no command {' '.join([*command, words[0]])}"
            command.append(words.pop(0))
        for option in re.findall(r"(?<=\s)(--[a-z-]+)", rest):
            assert re.search(rf"{option}\b", help_of(*command)), f"{' '.join(command)} has no {option}"


def test_every_command_is_documented() -> None:
    named = {words[0] for document in DOCUMENTS for words, _ in commands_of(document)}
    assert subcommands() - named == set()


@pytest.mark.parametrize("script", SCRIPTS, ids=str)
def test_every_script_is_valid(script: Block) -> None:
    done = subprocess.run(["bash", "-n"], input=script.text, capture_output=True, text=True, timeout=10)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.language == "json"], ids=str)
def test_every_json_block_is_well_formed(block: Block) -> None:
    json.loads(block.text)


def test_the_script_for_integration_tests_passes(tmp_path: Path) -> None:
    for program in ("curl", "jq"):
        assert shutil.which(program), f"{program} is missing; on Debian: apt-get install {program}"
    (script,) = [block for block in blocks_of(DOCS / "guides/testing.md") if block.language == "bash"]
    environment = BASE_ENVIRONMENT | {"PASSWORD_RESET": BINARY, "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        ["bash", "-c", script.text], env=environment, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL
    )
    assert (done.returncode, done.stdout) == (0, "all right\n"), done.stderr
    assert os.listdir(tmp_path) == []
