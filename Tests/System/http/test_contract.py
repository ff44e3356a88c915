"""openapi.yaml is right for a fuzzer, for a generated client, and for readers of its examples."""

import json
import os
import re
import subprocess
import sysconfig
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate
from openapi_spec_validator.readers import read_from_filename
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from django_site import add_user
from mail_folder import link_in
from paths import LIB, ROOT
from processes import wait_until
from service import serving

CONTRACT = ROOT / "openapi.yaml"
DOCUMENT, _ = read_from_filename(str(CONTRACT))
REGISTRY = Registry().with_resource("urn:contract", DRAFT202012.create_resource(DOCUMENT))
GOOD = "battery-staple-92-new"


def run_tool(name: str, *arguments: str | Path, cwd: Path, **environment: str | Path) -> str:
    """Runs a program of a package from PyPI, which must not find any fault. Returns its output."""
    program = Path(sysconfig.get_path("scripts")) / name
    variables = os.environ | {name: str(value) for name, value in environment.items()}
    done = subprocess.run(
        [program, *arguments], cwd=cwd, env=variables, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=600
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.mark.slow
def test_a_fuzzer_finds_nothing(database: Path, tmp_path: Path) -> None:
    add_user("alice", "alice@example.com")
    # Keep the limits on, for their headers, but out of reach.
    settings = {"RATE_LIMIT_REQUESTS": "1000000/h", "RATE_LIMIT_LINKS": "1000000/h", "PASSWORD_HASHER_OPTIONS": "iterations=10"}
    report = tmp_path / "report.har"
    with serving(database, tmp_path, **settings) as service:
        run_tool(
            "st",
            *("--config-file", LIB / "schemathesis.toml", "--no-color"),
            *("run", CONTRACT, "--url", f"http://127.0.0.1:{service.port}", "--checks", "all"),
            *("--report", "har", "--report-har-path", report),
            cwd=tmp_path,
            PYTHONPATH=LIB,
            CONTRACT_DATABASE=database,
        )

    # The fuzzer must have seen more than refusals: valid links, and passwords that were set.
    entries = json.loads(report.read_text())["log"]["entries"]
    exchanges = {(entry["request"]["method"], path_of(entry), entry["response"]["status"], code_of(entry)) for entry in entries}
    assert exchanges >= {
        ("POST", "request", 202, None),
        ("POST", "request", 400, "validation_error"),
        ("GET", "link", 200, None),
        ("GET", "link", 200, "invalid_link"),
        ("POST", "link", 200, None),
        ("POST", "link", 400, "invalid_link"),
        ("POST", "link", 400, "validation_error"),
        ("OPTIONS", "link", 204, None),
    }


def path_of(entry: dict[str, Any]) -> str:
    """Returns the path in the contract to which the path of an exchange in a HAR file leads."""
    return "link" if re.search("/password-reset/.", entry["request"]["url"]) else "request"


def code_of(entry: dict[str, Any]) -> str | None:
    text = entry["response"]["content"].get("text", "")
    return json.loads(text).get("code") if text.startswith("{") else None


@pytest.fixture
def client_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes `reset_client`, a package generated from the contract, importable."""
    # The generator cannot read the one YAML response, and warns of it unless an option declares it to be text.
    settings = {"content_type_overrides": {"application/yaml": "text/yaml"}, "post_hooks": []}
    (tmp_path / "generator.json").write_text(json.dumps(settings))
    output = run_tool(
        "openapi-python-client",
        *("generate", "--path", CONTRACT, "--config", "generator.json"),
        *("--meta", "none", "--output-path", "reset_client", "--fail-on-warning"),
        cwd=tmp_path,
    )
    assert "warning" not in output.lower()
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.usefixtures("client_package")
def test_a_generated_client_resets_a_password(database: Path, tmp_path: Path) -> None:
    from reset_client import Client, models
    from reset_client.api.reset import check_reset_link, request_password_reset, set_password

    add_user("alice", "alice@example.com")
    mails = tmp_path / "mails"
    settings = {"RATE_LIMIT_REQUESTS": "2/h", "EMAIL_BACKEND": "file", "EMAIL_FILE_PATH": str(mails)}
    with (
        serving(database, tmp_path, **settings) as service,
        Client(base_url=f"http://127.0.0.1:{service.port}", raise_on_unexpected_status=True) as client,
    ):
        mistyped = request_password_reset.sync(client=client, body=models.ResetRequest(email="alice@"))
        assert isinstance(mistyped, models.RequestProblem) and mistyped.code == models.RequestProblemCode.VALIDATION_ERROR
        assert [error.code for error in mistyped.errors.email] == [models.FieldErrorCode.INVALID]
        accepted = request_password_reset.sync(client=client, body=models.ResetRequest(email="alice@example.com"))
        assert isinstance(accepted, models.Accepted)
        throttled = request_password_reset.sync_detailed(client=client, body=models.ResetRequest(username="alice"))
        assert isinstance(throttled.parsed, models.ThrottledProblem)
        assert 0 < int(throttled.headers["Retry-After"]) <= 1800
        link = wait_until(lambda: link_in(mails), "the email with the link")

        valid = check_reset_link.sync(*link, client=client)
        assert isinstance(valid, models.LinkState) and valid.validlink
        assert timedelta(0) < valid.expires_at - datetime.now(UTC) <= timedelta(hours=1)
        assert "Your password must contain at least 8 characters." in valid.password_rules

        refused = set_password.sync(*link, client=client, body=models.NewPassword("1234", "1234"))
        assert isinstance(refused, models.PasswordProblem) and refused.validlink
        short, common, numeric = refused.errors.new_password2
        assert (short.code, short.params.min_length) == (models.FieldErrorCode.PASSWORD_TOO_SHORT, 8)
        assert short.message == "This password is too short. It must contain at least 8 characters."
        assert common.code == models.FieldErrorCode.PASSWORD_TOO_COMMON
        assert numeric.code == models.FieldErrorCode.PASSWORD_ENTIRELY_NUMERIC

        done = set_password.sync(*link, client=client, body=models.NewPassword(GOOD, GOOD, locale="de"))
        assert isinstance(done, models.PasswordSet)

        again = set_password.sync(*link, client=client, body=models.NewPassword(GOOD, GOOD))
        assert isinstance(again, models.PasswordProblem) and again.code == models.PasswordProblemCode.INVALID_LINK
        used = check_reset_link.sync(*link, client=client)
        assert isinstance(used, models.LinkState) and not used.validlink
        assert used.code == models.LinkCode.INVALID_LINK


def nodes(value: Any, pointer: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields every object in the contract, with the JSON pointer to it."""
    if isinstance(value, dict):
        yield pointer, value
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, part in parts:
        yield from nodes(part, f"{pointer}/{str(name).replace('~', '~0').replace('/', '~1')}")


def examples() -> Iterator[tuple[str, Any]]:
    """Yields every example, after the pointer to its schema."""
    for pointer, node in nodes(DOCUMENT):
        if "schema" in node:
            named = {"": {"value": node["example"]}} if "example" in node else node.get("examples", {})
            yield from ((f"{pointer}/schema", example["value"]) for example in named.values())
        elif isinstance(node.get("examples"), list):
            yield from ((pointer, value) for value in node["examples"])


@pytest.mark.parametrize(("schema", "value"), list(examples()))
def test_an_example_fits_its_schema(schema: str, value: Any) -> None:
    reference = {"$ref": f"urn:contract#{quote(schema)}"}
    Draft202012Validator(reference, registry=REGISTRY, format_checker=Draft202012Validator.FORMAT_CHECKER).validate(value)


def test_the_contract_is_well_formed() -> None:
    validate(DOCUMENT)


def test_no_boolean_has_a_fixed_value() -> None:
    """Generators make an enumeration of strings from it, or a class that no response fits."""
    fixed = [pointer for pointer, node in nodes(DOCUMENT) if node.get("type") == "boolean" and node.keys() & {"const", "enum"}]
    assert fixed == []


def test_no_schema_is_a_choice() -> None:
    """Generators make types of it that no response fits, or that need more libraries."""
    assert [pointer for pointer, node in nodes(DOCUMENT) if node.keys() & {"oneOf", "anyOf", "allOf"}] == []


def test_no_integer_has_a_fixed_value() -> None:
    """Generators make an enumeration from it, with members such as `_400`."""
    assert [pointer for pointer, node in nodes(DOCUMENT) if node.get("type") == "integer" and node.keys() & {"const", "enum"}] == []


def test_the_state_of_a_link_is_one_object() -> None:
    """Clients in languages without union types can read it."""
    schema = DOCUMENT["paths"]["/password-reset/{uidb64}/{token}"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    state = REGISTRY.resolver().lookup(f"urn:contract{schema['$ref']}").contents
    assert state["required"] == ["validlink"]
    assert state["properties"].keys() == {"validlink", "expires_at", "password_rules", "code", "detail"}


def test_every_body_has_an_example() -> None:
    media = [(pointer, node) for pointer, node in nodes(DOCUMENT) if re.search("/content/[^/]+json$", pointer)]
    assert [pointer for pointer, node in media if not node.keys() & {"example", "examples"}] == []


def test_every_code_has_an_example() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    codes = [schema["properties"]["code"] for schema in schemas.values() if "request_id" in schema.get("properties", {})]
    shown = {node["code"] for _, example in examples() for _, node in nodes(example) if "code" in node}
    listed = {value for code in codes for value in code.get("enum", [code.get("const")])}
    assert shown == listed.union(schemas["FieldErrorCode"]["enum"], schemas["LinkCode"]["enum"])
