"""The service introduces itself to a mail server with a valid name, and no email is lost if the server refuses it."""

import os
import re
import subprocess

import pytest

from scripted_server import ScriptedServer, scripted, settings
from service import BASE_ENVIRONMENT, BINARY, run_program

# A domain name with a dot, or an address literal (RFC 5321 section 4.1.3).
VALID = re.compile(r"EHLO (([A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?\.)+[A-Za-z][A-Za-z0-9-]*|\[[0-9.]+\])")


def introduction(server: ScriptedServer) -> str:
    (command,) = [command for command in server.commands if command.startswith("EHLO")]
    assert VALID.fullmatch(command), command
    return command.removeprefix("EHLO ")


def send_test_email(server: ScriptedServer, **others: str) -> None:
    done = run_program(BASE_ENVIRONMENT | settings(server) | others, "send-test-email", "you@example.com")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["reset.example.com", "a.b", "[192.0.2.7]", "xn--bcher-kva.example", "3.example.com"])
def test_the_setting_is_the_name(name: str) -> None:
    with scripted({}) as server:
        send_test_email(server, EMAIL_HELO_NAME=name)
        assert introduction(server) == name


def test_an_ipv6_address_may_be_the_name() -> None:
    with scripted({}) as server:
        send_test_email(server, EMAIL_HELO_NAME="[IPv6:2001:db8::7]")
        assert "EHLO [IPv6:2001:db8::7]" in server.commands


@pytest.mark.parametrize(
    "name",
    ["password_reset_1", "a b", "reset.example.com.", "-a.example.com", "192.0.2.1", "[192.0.2]", "[::1]", "bücher.example", "a..b", "x" * 64 + ".com"],
)
def test_a_name_that_no_server_may_accept_is_refused(name: str) -> None:
    done = run_program(BASE_ENVIRONMENT | {"EMAIL_BACKEND": "smtp", "EMAIL_HELO_NAME": name}, "send-test-email", "you@example.com")
    assert done.returncode == 78 and "EMAIL_HELO_NAME must be" in done.stderr


@pytest.mark.parametrize(
    ("host", "sender", "name"),
    [
        ("reset.example.com", "noreply@example.org", "reset.example.com"),
        ("vm", "noreply@example.org", "example.org"),
        ("password_reset_1", "Example <noreply@example.org>", "example.org"),
        ("a1b2c3d4e5f6", "noreply@bücher.example", "xn--bcher-kva.example"),
        ("password_reset.example.com", "noreply@example.org", "example.org"),
        ("localhost.localdomain", "noreply@example.org", "example.org"),
        ("vm", "webmaster@localhost", None),
        ("vm", "noreply@[192.0.2.1]", None),
    ],
)
def test_the_host_or_the_sender_gives_the_name(host: str, sender: str, name: str | None) -> None:
    isolated = ["unshare", "--user", "--map-root-user", "--uts"]
    if subprocess.run([*isolated, "true"], capture_output=True).returncode:
        pytest.skip("this machine forbids namespaces, which give the program another host name")
    with scripted({}) as server:
        environment = BASE_ENVIRONMENT | settings(server, DEFAULT_FROM_EMAIL=sender) | {"LANG": os.environ.get("LANG", "C.UTF-8")}
        rename = ["sh", "-c", 'printf %s "$0" > /proc/sys/kernel/hostname && exec "$@"', host]
        done = subprocess.run([*isolated, *rename, BINARY, "send-test-email", "you@example.com"], env=environment, capture_output=True)
        assert done.returncode == 0, done.stderr
        given = introduction(server)
        assert given == name if name else given.startswith("[")


def test_the_test_email_has_the_message_id_of_real_emails() -> None:
    with scripted({}) as server:
        send_test_email(server, DEFAULT_FROM_EMAIL="Example <noreply@bücher.example>")
        (identifier,) = server.taken
        assert re.fullmatch(r"<[0-9A-F-]{36}@xn--bcher-kva\.example>", identifier)
