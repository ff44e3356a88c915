"""Passwords that have leaked are refused: by a filter, by the published list, and by the range API, and a setting decides if these fail."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from django_site import add_user
from metrics import scrape
from processes import wait_until
from range_server import Handler, answering, digits_of
from service import BINARY, Link, Service, command, run_command

LEAKED = "correct-Horse-9"
GOOD = "battery-staple-92-new"
QUICK = {"PASSWORD_HASHER_OPTIONS": "iterations=10"}
Serve = Callable[..., Service]


def setting(**options: object) -> dict[str, str]:
    """Returns the settings with a validator with these options."""
    return QUICK | {"AUTH_PASSWORD_VALIDATORS": json.dumps([{"NAME": "PwnedPasswordsValidator", "OPTIONS": options}])}


def list_of(*passwords: str) -> str:
    return "".join(f"{digits}:42\r\n" for digits in sorted(map(digits_of, passwords)))


def build(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([BINARY, "pwned", "build", *arguments], capture_output=True, text=True, timeout=60)


@pytest.fixture
def published(tmp_path: Path) -> Path:
    path = tmp_path / "pwnedpasswords.txt"
    path.write_bytes(list_of(LEAKED, *map(str, range(1000))).encode())
    return path


@pytest.fixture
def filter_file(tmp_path: Path, published: Path) -> Path:
    path = tmp_path / "pwned.filter"
    assert build(published, path).returncode == 0
    return path


@pytest.fixture
def link(database: Path) -> Link:
    add_user("alice", "alice@example.com")
    *_, uid, token, _ = run_command(database, "users", "link", "alice").split("/")
    return Link(uid, token)


def codes(service: Service, link: Link, password: str) -> list[str]:
    """Returns the codes of the errors of a password, which is only checked."""
    reply = service.check_password(link, password)
    assert reply.status == (400 if reply.errors else 200), reply
    return [error.code for error in reply.errors.get("new_password1", [])]


# The filter.


def test_a_filter_is_built_from_the_list_and_says_what_it_costs(published: Path, tmp_path: Path) -> None:
    done = build(published, tmp_path / "filter")
    size = (tmp_path / "filter").stat().st_size
    assert done.stdout.startswith(f"Wrote 1001 of 1001 passwords to {tmp_path / 'filter'} ({size} bytes).\n"), done.stdout + done.stderr
    assert f"1 in {2**48 // 1001}." in done.stdout
    # The progress is for terminals only.
    assert done.stderr == ""
    assert size == 524_360 + 4 * 1001
    passwords = f"{LEAKED}\n{GOOD}\n7\n"
    for file in (tmp_path / "filter", published):
        tested = subprocess.run([BINARY, "pwned", "test", file], input=passwords, capture_output=True, text=True, timeout=60)
        assert tested.stdout == "pwned\nclean\npwned\n", tested.stderr


def test_a_list_that_is_not_sorted_is_refused_with_its_line(published: Path, filter_file: Path) -> None:
    before = filter_file.read_bytes()
    lines = published.read_text().splitlines()
    lines[6], lines[7] = lines[7], lines[6]
    published.write_text("\n".join(lines))
    done = build(published, filter_file)
    assert (done.returncode, done.stdout) == (1, "") and f"{published}, line 8: the list is not sorted" in done.stderr
    assert filter_file.read_bytes() == before


def test_a_build_that_is_killed_leaves_the_old_filter(published: Path, filter_file: Path, tmp_path: Path) -> None:
    before = filter_file.read_bytes()
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen([BINARY, "pwned", "build", pipe, filter_file]) as process, pipe.open("wb") as writer:
        writer.write(published.read_bytes()[:20_000])
        writer.flush()
        wait_until(lambda: list(tmp_path.glob("pwned.filter.partial-*")), "the build to begin")
        process.kill()
    assert filter_file.read_bytes() == before


@pytest.mark.parametrize("source", ["filter_file", "published"])
def test_a_leaked_password_is_refused_wherever_a_password_is_set(
    source: str, request: pytest.FixtureRequest, database: Path, link: Link, serve: Serve
) -> None:
    settings = setting(file=str(request.getfixturevalue(source)))
    service = serve(**settings)
    assert codes(service, link, LEAKED) == ["password_pwned"]
    assert codes(service, link, GOOD) == []
    refused = service.set_password(link, LEAKED, LEAKED)
    assert [error.code for error in refused.errors["new_password2"]] == ["password_pwned"]
    for arguments in (["set-password", "alice"], ["add", "bob", "--email", "bob@example.com"]):
        done = command(database, "users", *arguments, "--password-stdin", stdin=LEAKED, **settings)
        assert done.returncode == 1 and "This password has appeared in a data breach." in done.stderr
    assert service.set_password(link, GOOD, GOOD).status == 200
    metrics = scrape(service)
    assert metrics.value("password_reset_pwned_checks_total", source="file", result="pwned") == 2
    assert metrics.value("password_reset_pwned_checks_total", source="file", result="clean") == 2


def test_a_filter_that_is_built_again_is_used_without_a_restart(filter_file: Path, published: Path, link: Link, serve: Serve) -> None:
    service = serve(**setting(file=str(filter_file)))
    assert codes(service, link, GOOD) == []
    published.write_text(list_of(GOOD))
    assert build(published, filter_file).returncode == 0
    assert codes(service, link, GOOD) == ["password_pwned"]
    assert codes(service, link, LEAKED) == []


def test_a_damaged_filter_prevents_the_start_and_the_check_names_it(database: Path, filter_file: Path) -> None:
    filter_file.write_bytes(filter_file.read_bytes()[:-1])
    for name in ("serve", "check"):
        done = command(database, name, **setting(file=str(filter_file)))
        text = done.stdout + done.stderr
        assert done.returncode == 78 and "AUTH_PASSWORD_VALIDATORS" in text and "it is truncated" in text and "pwned build" in text
    assert "E041" in done.stdout


def test_an_old_filter_is_reported(database: Path, filter_file: Path) -> None:
    assert "W043" not in command(database, "check", **setting(file=str(filter_file))).stdout
    os.utime(filter_file, (0, 1_500_000_000))
    assert "W043" in command(database, "check", **setting(file=str(filter_file))).stdout


# The API.


def test_the_api_learns_five_digits_and_its_connection_is_kept(link: Link, serve: Serve) -> None:
    with answering([LEAKED]) as server:
        service = serve(**setting(api=server.url))
        assert codes(service, link, LEAKED) == ["password_pwned"]
        passwords = [f"{GOOD}-{number}" for number in range(7)]
        for password in passwords:
            assert codes(service, link, password) == []
        paths = [f"/range/{digits_of(password)[:5]}" for password in (LEAKED, *passwords)]
        assert [path for path, _, _ in server.requests] == paths
        for _, headers, _ in server.requests:
            assert headers["Add-Padding"] == "true" and headers["User-Agent"].startswith("password-reset/")
        # A second connection is opened if the first one is not quite idle yet when the next request begins.
        assert len({port for _, _, port in server.requests}) <= 2


def test_a_line_that_only_pads_is_ignored(link: Link, serve: Serve) -> None:
    with answering([]) as server:
        server.answer = lambda handler: handler.reply(f"{digits_of(GOOD)[5:]}:0\r\n".encode())
        assert codes(serve(**setting(api=server.url)), link, GOOD) == []


def hang(handler: Handler) -> None:
    handler.server.released.wait()
    handler.close_connection = True


def drip(handler: Handler) -> None:
    """Sends the response byte by byte, without end."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000000")
    handler.end_headers()
    while not handler.server.released.wait(0.05):
        handler.wfile.write(b"0")
    handler.close_connection = True


LINE = f"{digits_of('another')[5:]}:1\r\n".encode()
FAULTS: dict[str, Callable[[Handler], None]] = {
    "hangs": hang,
    "drips": drip,
    "answers with 503": lambda handler: handler.reply(b"", 503),
    "answers with 404": lambda handler: handler.reply(LINE, 404),
    "redirects": lambda handler: handler.reply(b"", 302, Location="http://127.0.0.1/"),
    "answers with HTML": lambda handler: handler.reply(b"<html>Sign in</html>"),
    "answers with nothing": lambda handler: handler.reply(b""),
    "cuts its answer": lambda handler: handler.reply(LINE * 10, length=4000),
    "cuts a line": lambda handler: handler.reply(LINE + LINE[:20]),
    "answers with too much": lambda handler: handler.reply(LINE * 30_000),
    "closes the connection": lambda handler: setattr(handler, "close_connection", True),
}


@pytest.mark.parametrize("decision", ["accept", "refuse"])
@pytest.mark.parametrize("fault", FAULTS)
def test_the_setting_decides_about_a_password_if_the_api(fault: str, decision: str, link: Link, serve: Serve) -> None:
    with answering([LEAKED]) as server:
        service = serve(**setting(api=server.url, on_failure=decision))
        server.answer = FAULTS[fault]
        # Every fault lasts until the test ends, so an answer means that the service did not wait for it.
        assert codes(service, link, LEAKED) == ([] if decision == "accept" else ["password_not_checked"])
        server.answer = None
        assert codes(service, link, LEAKED) == ["password_pwned"]
        metrics = scrape(service)
        assert metrics.value("password_reset_pwned_unchecked_total", decision=decision) == 1
        assert metrics.value("password_reset_pwned_checks_total", source="api", result="failed") == 1
        lines = service.log.read_text().splitlines()
        assert [line for line in lines if "A new password was not checked" in line and decision in line]


def test_an_api_that_is_down_is_left_alone_after_three_failures(link: Link, serve: Serve) -> None:
    with answering([]) as server:
        server.answer = FAULTS["answers with 503"]
        service = serve(**setting(api=server.url, on_failure="refuse"))
        for _ in range(10):
            assert codes(service, link, GOOD) == ["password_not_checked"]
        # One more is possible on a machine that needs more than ten seconds for this.
        assert 3 <= len(server.requests) <= 5


def test_the_file_is_asked_if_the_api_is_down(filter_file: Path, link: Link, serve: Serve) -> None:
    with answering([]) as server:
        url = server.url
    service = serve(**setting(api=url, file=str(filter_file), on_failure="refuse"))
    assert codes(service, link, LEAKED) == ["password_pwned"]
    assert codes(service, link, GOOD) == []
    assert scrape(service).value("password_reset_pwned_unchecked_total", decision="refuse") == 0


def test_staff_learn_that_a_password_was_not_checked(database: Path, link: Link) -> None:
    with answering([]) as server:
        url = server.url
    for decision, status in (("accept", 0), ("refuse", 1)):
        settings = setting(api=url, on_failure=decision)
        done = command(database, "users", "set-password", "alice", "--password-stdin", stdin=GOOD, **settings)
        assert done.returncode == status and "A new password was not checked" in done.stderr


def test_the_check_asks_the_api_only_if_it_may_connect(database: Path) -> None:
    with answering([]) as server:
        asked: list[Any] = server.requests
        for options, expected in ((["check"], 0), (["check", "--connect"], 1)):
            assert "W042" not in command(database, *options, **setting(api=server.url)).stdout
            assert len(asked) == expected
    assert "W042" in command(database, "check", "--connect", **setting(api=server.url)).stdout


def test_a_settings_file_can_turn_the_api_on(database: Path, tmp_path: Path, link: Link, serve: Serve) -> None:
    with answering([LEAKED]) as server:
        file = tmp_path / "settings.yaml"
        rules = f"AUTH_PASSWORD_VALIDATORS:\n  - NAME: PwnedPasswordsValidator\n    OPTIONS:\n      api: {server.url}\n"
        file.write_text(rules)
        assert codes(serve(PASSWORD_RESET_CONFIG=str(file), **QUICK), link, LEAKED) == ["password_pwned"]
    file.write_text(rules.replace(server.url, "true"))
    shown = command(database, "config", PASSWORD_RESET_CONFIG=str(file)).stdout
    assert '"api":true' in shown.replace(" ", "")
