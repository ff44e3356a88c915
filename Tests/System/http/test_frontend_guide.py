"""The page of docs/guides/frontend.md, built from the guide's code and used in a browser."""

import functools
import re
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from django.contrib.auth.hashers import check_password
from django.contrib.auth.models import User
from playwright.sync_api import Page, Route, expect

from django_site import add_user, link_for
from outbox import connected
from paths import ROOT
from service import Link, Service

GUIDE = ROOT / "docs/guides/frontend.md"
# Debian's node-react and node-react-dom.
LIBRARIES = "/usr/share/nodejs"
NEW = "battery-staple-92-new"
INCOMPLETE = "This link is incomplete. Copy the whole link from the email, or request a new one."


def files_of(guide: Path) -> dict[str, str]:
    """Returns the blocks of code that follow a file's name, by that name."""
    return dict(re.findall(r"^`([\w.-]+)`[^\n]*:\n\n```\w+\n(.*?)^```$", guide.read_text(), re.MULTILINE | re.DOTALL))


class Handler(SimpleHTTPRequestHandler):
    """Serves the files, and the page for `/reset` and every address below it."""

    def do_GET(self) -> None:
        if self.path.partition("?")[0].rstrip("/") == "/reset" or self.path.startswith("/reset/"):
            self.path = "/index.html"
        elif self.path.startswith("/cancel") and not self.path.endswith(".js"):
            self.path = "/cancel.html"
        super().do_GET()

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@dataclass(frozen=True)
class Frontend:
    url: str
    user: User
    service: Service
    page: Page

    def open(self, link: Link | None = None) -> None:
        self.page.goto(f"{self.url}/reset" + (f"#{link.uid}/{link.token}" if link else ""))

    @property
    def status(self) -> object:
        return self.page.get_by_role("status")

    def submit_passwords(self, first: str, second: str) -> None:
        self.page.get_by_label("New password", exact=True).fill(first)
        self.page.get_by_label("Repeat new password").fill(second)
        self.page.get_by_role("button", name="Set password").click()

    def request(self, address: str) -> None:
        self.page.get_by_label("Email address").fill(address)
        self.page.get_by_role("button", name="Send email").click()

    def has_focus(self, selector: str) -> None:
        expect(self.page.locator(f"{selector}:focus")).to_have_count(1)

    def expect_form(self) -> None:
        expect(self.page.get_by_label("New password", exact=True)).to_be_visible()


@pytest.fixture
def build(tmp_path: Path) -> Callable[[str], Path]:
    def build(api: str) -> Path:
        folder = tmp_path / "site"
        folder.mkdir()
        for name, text in files_of(GUIDE).items():
            (folder / name).write_text(text.replace("https://api.example.com", api))
        subprocess.run(
            ["esbuild", "--bundle", "--jsx=automatic", "--format=esm", "--log-level=error", "--outfile=reset.js", "reset.jsx"],
            cwd=folder,
            env={"NODE_PATH": LIBRARIES, "PATH": "/usr/bin:/bin"},
            check=True,
        )
        return folder

    return build


@pytest.fixture
def user(database: Path) -> User:
    return add_user("alice", "alice@example.com")


# `page` comes last: while the browser runs, Django refuses to use the database.
@pytest.fixture
def frontend(
    serve: Callable[..., Service], build: Callable[[str], Path], user: User, page: Page, request: pytest.FixtureRequest
) -> Iterator[Frontend]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    url = f"http://localhost:{server.server_port}"
    settings = getattr(request, "param", {})
    service = serve(CORS_ALLOWED_ORIGINS=url, PASSWORD_HASHER_OPTIONS="iterations=10", **settings)
    folder = build(f"http://127.0.0.1:{service.port}")
    server.RequestHandlerClass = functools.partial(Handler, directory=str(folder))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield Frontend(url, user, service, page)
    # The browser keeps its connections open.
    page.close()
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_guide_has_every_file_of_the_page() -> None:
    assert set(files_of(GUIDE)) == {
        "index.html", "reset.css", "password-reset.js", "forms.jsx", "reset.jsx", "cancel.html", "cancel.js"
    }


def test_a_person_requests_an_email_and_sets_a_password(frontend: Frontend, database: Path) -> None:
    frontend.open()
    frontend.request("alice@example.com")
    expect(frontend.status).to_contain_text("If an account with this address exists")

    frontend.open(link_for(frontend.user))
    frontend.expect_form()
    # The rules of the service are next to the field.
    expect(frontend.page.get_by_role("listitem").first).to_be_visible()
    frontend.submit_passwords("alice", "alice")
    expect(frontend.page.locator("#new_password1-errors")).to_contain_text("too short")
    frontend.has_focus("#new_password1")
    frontend.submit_passwords(NEW, NEW + "x")
    expect(frontend.page.locator("#new_password2-errors")).to_contain_text("match")
    frontend.has_focus("#new_password2")
    frontend.submit_passwords(NEW, NEW)
    expect(frontend.status).to_have_text("Your password has been set. You can sign in now.")
    expect(frontend.page.get_by_role("link", name="Sign in")).to_be_visible()
    frontend.has_focus("h1")
    with connected(database) as connection:
        (stored,) = connection.execute("SELECT password FROM auth_user").fetchone()
    assert check_password(NEW, stored)

    # The link is forgotten.
    frontend.page.reload()
    expect(frontend.page.get_by_role("button", name="Send email")).to_be_visible()


def test_the_link_leaves_the_address_and_survives_a_reload(frontend: Frontend) -> None:
    link = link_for(frontend.user)
    frontend.open(link)
    frontend.expect_form()
    assert frontend.page.url == f"{frontend.url}/reset"
    frontend.page.reload()
    frontend.expect_form()
    assert link.token not in frontend.page.content()


def test_a_link_in_the_path_works_too(frontend: Frontend) -> None:
    link = link_for(frontend.user)
    for end in ("", "/"):
        frontend.page.goto(f"{frontend.url}/reset/{link.uid}/{link.token}{end}")
        frontend.expect_form()
        assert frontend.page.url == f"{frontend.url}/reset"


def test_a_link_that_is_pasted_into_the_open_page_is_used(frontend: Frontend) -> None:
    frontend.open(Link("MQ", "d8ary8-578199d4e42f291f0f3bce532651119e"))
    expect(frontend.status).to_contain_text("The password reset link was invalid")
    frontend.has_focus("h1")
    # Only the fragment differs, so the browser does not load the page again.
    frontend.open(link_for(frontend.user))
    frontend.expect_form()
    assert frontend.page.url == f"{frontend.url}/reset"


def test_a_dead_link_leads_to_a_new_request(frontend: Frontend) -> None:
    frontend.open(Link("MQ", "d8ary8-578199d4e42f291f0f3bce532651119e"))
    frontend.page.get_by_role("button", name="Request a new link").click()
    frontend.request("alice@example.com")
    expect(frontend.status).to_contain_text("If an account with this address exists")


@pytest.mark.parametrize("end", ["#MQ", "#MQ/", "#MQ/d8ary8-57/8199", "/MQ", "#/MQ/d8ary8-578199d4"])
def test_an_incomplete_link_says_so_and_leads_to_a_new_request(frontend: Frontend, end: str) -> None:
    frontend.page.goto(f"{frontend.url}/reset{end}")
    expect(frontend.status).to_have_text(INCOMPLETE)
    expect(frontend.page.get_by_role("button", name="Send email")).to_be_visible()


def test_a_check_that_failed_can_be_tried_again(frontend: Frontend) -> None:
    def fail(route: Route) -> None:
        route.abort()

    frontend.page.route("**/password-reset/**", fail)
    frontend.open(link_for(frontend.user))
    expect(frontend.status).to_have_text("The service cannot be reached. Please try again.")
    again = frontend.page.get_by_role("button", name="Try again")
    again.click()
    expect(again).to_be_visible()
    frontend.page.unroute("**/password-reset/**")
    again.click()
    frontend.expect_form()


@pytest.mark.parametrize("frontend", [{"RATE_LIMIT_REQUESTS": "1/m", "RATE_LIMIT_LINKS": "1/m"}], indirect=True)
def test_a_throttled_person_sees_the_wait_and_no_old_message(frontend: Frontend) -> None:
    frontend.open()
    frontend.request("alice@example.com")
    expect(frontend.status).to_contain_text("If an account with this address exists")
    frontend.request("alice@example.com")
    expect(frontend.page.get_by_role("alert")).to_contain_text("second")
    expect(frontend.status).to_have_text("")

    link = link_for(frontend.user)
    frontend.open(link)
    frontend.expect_form()
    frontend.page.reload()
    expect(frontend.status).to_contain_text("second")
    expect(frontend.page.get_by_role("button", name="Try again")).to_be_visible()


@pytest.mark.parametrize("separator", ["#", "/"])
def test_opening_the_page_cancels_nothing_and_its_button_does(frontend: Frontend, separator: str) -> None:
    link = link_for(frontend.user)
    frontend.page.goto(f"{frontend.url}/cancel{separator}{link.uid}/{link.token}")
    button = frontend.page.get_by_role("button", name="Cancel all links")
    expect(button).to_be_visible()
    assert frontend.page.url == f"{frontend.url}/cancel"
    assert frontend.service.check_link(link).body["validlink"]
    button.click()
    expect(frontend.status).to_contain_text("have stopped working")
    expect(button).to_be_hidden()
    assert not frontend.service.check_link(link).body["validlink"]


def test_an_incomplete_cancel_link_is_reported(frontend: Frontend) -> None:
    frontend.page.goto(f"{frontend.url}/cancel#MQ")
    expect(frontend.status).to_contain_text("This link is incomplete.")
    expect(frontend.page.get_by_role("button")).to_be_hidden()
