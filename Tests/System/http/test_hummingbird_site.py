"""`Examples/HummingbirdSite`: a Hummingbird application with the routes of `PasswordResetKit` below `/account`."""

import http.client
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from processes import free_port, running, wait_until
from service import BASE_ENVIRONMENT, BINARY

PASSWORD = "battery-staple-92-new"


@dataclass(frozen=True)
class Site:
    port: int
    log: Path

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}/"

    def call(self, method: str, path: str, body: dict[str, str] | None = None) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("localhost", self.port, timeout=30)
        try:
            headers = {"Content-Type": "application/json", "Connection": "close"}
            connection.request(method, path, json.dumps(body) if body else None, headers)
            response = connection.getresponse()
            return response.status, dict(response.getheaders()), response.read()
        finally:
            connection.close()

    def link(self) -> str:
        """Waits until the site has printed an email with a link, and returns the link."""
        pattern = rf"{self.url}\?uid=\S+&token=\S+"
        wait_until(lambda: re.search(pattern, self.log.read_text()), "an email with a link")
        return re.findall(pattern, self.log.read_text())[-1]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    port, log = free_port(), tmp_path / "site.log"
    program = str(Path(BINARY).resolve().parent / "HummingbirdSite")
    # The example writes its database to the current directory.
    command = ["env", f"--chdir={tmp_path}", f"PORT={port}", program]
    with running(command, BASE_ENVIRONMENT, log):
        wait_until(lambda: "listening on" in log.read_text(), "the site to start")
        yield Site(port, log)


def test_a_person_sets_a_password_on_the_page_of_the_site(site: Site, page: Page) -> None:
    answer = page.get_by_role("status")
    page.goto(site.url)
    page.get_by_label("Email address").fill("alice@example.com")
    page.get_by_role("button", name="Send me a link").click()
    expect(answer).to_have_text("If an account matches, we have emailed instructions for setting a new password.")

    link = site.link()
    page.goto(link)
    for password, reply in [("alice", "too short"), (PASSWORD, "Your password has been set.")]:
        page.get_by_label("New password").fill(password)
        page.get_by_label("Repeat it").fill(password)
        page.get_by_role("button", name="Set the password").click()
        expect(answer).to_contain_text(reply)
    # The page removes the token from the address bar.
    assert page.url == site.url

    page.goto(link)
    expect(answer).to_contain_text("The password reset link was invalid")
    expect(page.get_by_label("New password")).to_be_hidden()


def test_the_routes_answer_below_their_path_as_the_service_does(site: Site) -> None:
    status, headers, body = site.call("POST", "/account/password-reset", {"email": "stranger@example.com"})
    assert (status, headers["Cache-Control"]) == (202, "no-store")
    assert re.fullmatch("[0-9a-f]{32}", headers["X-Request-Id"])
    assert json.loads(body) == {
        "detail": "If an account matches, we have emailed instructions for setting a new password."
    }

    for path in ("/account/password-reset/MQ/x-y", "/account/password-reset/MQ/d8ary8-578199d4e42f291f0f3bce532651119e"):
        status, _, body = site.call("GET", path)
        assert (status, json.loads(body)["code"]) == (200, "invalid_link")
        assert site.call("HEAD", path)[::2] == (200, b"")
    status, headers, body = site.call("PUT", "/account/password-reset")
    assert (status, headers["Allow"], json.loads(body)["code"]) == (405, "POST, OPTIONS", "method_not_allowed")
    assert site.call("OPTIONS", "/account/password-reset/MQ/x-y")[1]["Allow"] == "GET, HEAD, POST, OPTIONS"
    status, _, body = site.call("POST", "/account/password-reset", {"email": "not an address"})
    assert (status, json.loads(body)["code"]) == (400, "validation_error")

    # Health, metrics and contract are the site's business, and so is every path elsewhere.
    for path in ("/account/health/live", "/health/ready", "/account/openapi.yaml", "/password-reset/MQ/x-y", "/account/x"):
        assert site.call("GET", path)[0] == 404


def test_the_routes_count_the_requests_of_each_client(site: Site) -> None:
    replies = [site.call("POST", "/account/password-reset", {"email": "stranger@example.com"}) for _ in range(21)]
    assert [status for status, _, _ in replies] == [202] * 20 + [429]
    assert replies[-1][1]["RateLimit-Policy"] == '"minute";q=20;w=60'
