"""Both emails have a link with which their reader cancels all reset links, in each language."""

import json
import re
from pathlib import Path
from urllib.request import urlopen

import pytest
from django.contrib.auth.models import User

from django_site import add_user, link_for
from processes import wait_until
from service import ADMIN_HOST, Link, Service, run_command, serving

LANGUAGES = ["en", "ar", "de", "es", "fr", "ja", "pt-BR", "zh-Hans"]
CANCEL_URL = "https://frontend.example.com/cancel#{uid}/{token}"
NEW = "battery-staple-92-new"


@pytest.fixture
def user(database: Path) -> User:
    return add_user("alice", "alice@example.com")


def emails(service: Service) -> list[dict[str, str]]:
    with urlopen(f"http://{ADMIN_HOST}:{service.admin_port}/mailbox") as response:
        messages: list[dict[str, str]] = json.load(response)["messages"]
        return messages


def cancel_link_of(email: dict[str, str]) -> Link:
    found = re.fullmatch(r"https://frontend\.example\.com/cancel#(\w+)/([\w-]+)", email["cancel_url"])
    assert found
    return Link(*found.groups())


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_reset_email_and_a_notice_have_a_cancel_link(language: str, user: User, database: Path, tmp_path: Path) -> None:
    settings = {"EMAIL_BACKEND": "memory", "CANCEL_URL": CANCEL_URL, "PASSWORD_HASHER_OPTIONS": "iterations=10"}
    with serving(database, tmp_path, "--dev", **settings) as service:
        service.request_reset(email="alice@example.com", locale=language)
        (reset,) = wait_until(lambda: emails(service), "the email")
        assert service.set_password(link_for(user), NEW, NEW).status == 200
        # Its language is that of the request that set the password.
        _, notice = wait_until(lambda: (found := emails(service))[1:] and found, "the notice")
        another = link_for(User.objects.get())
        assert service.check_link(another).body["validlink"]
        for email in (reset, notice):
            assert f"\n\n{email['cancel_url']}\n\n" in email["text"]
            assert f'href="{email["cancel_url"]}"' in email["html"]
            reply = service.cancel_links(cancel_link_of(email), accept_language=language)
            assert reply.status == 200
        assert not service.check_link(another).body["validlink"]


@pytest.mark.parametrize("mail", ["password_reset", "password_changed"])
@pytest.mark.parametrize("language", LANGUAGES)
def test_the_sentence_and_the_link_are_there_exactly_if_there_is_a_page(mail: str, language: str, database: Path, tmp_path: Path) -> None:
    def parts(**settings: str) -> tuple[str, str]:
        file = tmp_path / "mail.html"
        run_command(database, "mail", "preview", mail, "--language", language, "--html", str(file), **settings)
        return run_command(database, "mail", "preview", mail, "--language", language, **settings), file.read_text()

    sentences = json.loads((Path(__file__).parents[3] / f"Sources/Localization/Languages/{language}.json").read_text())["mail"][mail]
    for part in parts(CANCEL_URL=CANCEL_URL):
        assert sentences["cancel"] in part and "https://frontend.example.com/cancel#MQ/" in part
    for part in parts():
        assert sentences["cancel"] not in part and "/cancel" not in part


def test_a_template_without_the_link_works_and_one_with_it_shows_it(database: Path, tmp_path: Path) -> None:
    file = tmp_path / "password_changed_email.txt"

    def preview(text: str, **settings: str) -> str:
        file.write_text(text)
        return run_command(database, "mail", "preview", "password_changed", EMAIL_TEMPLATES_DIR=str(tmp_path), **settings)

    assert preview("It was changed.", CANCEL_URL=CANCEL_URL).endswith("\n\nIt was changed.")
    assert "[https://frontend.example.com/cancel#MQ/" in preview("{{#cancel_url}}[{{cancel_url}}]{{/cancel_url}}.", CANCEL_URL=CANCEL_URL)
    assert preview("{{#cancel_url}}[{{cancel_url}}]{{/cancel_url}}.").endswith("\n\n.")
