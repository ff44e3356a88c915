"""Names of users and sites never break an email: they are only text in it."""

import random
import re
import shutil
import sys
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from email.header import decode_header, make_header
from email.message import EmailMessage
from email.parser import BytesHeaderParser
from html.parser import HTMLParser
from pathlib import Path

import pytest
from django.contrib.auth.models import User

from django_site import add_user, on_database
from mail_server import Delivery, MailServer, receiving
from outbox import dead_letters, insert_reset_emails, pending
from processes import wait_until
from service import Service, run_command, serving

LANGUAGES = ["en", "ar", "de", "es", "fr", "ja", "pt-BR", "zh-Hans"]
SENDER = "Example <noreply@example.com>"
# The characters of text: letters, marks, digits, punctuation, symbols, blanks. Python's tables list them.
WRITING = [
    character
    for character in map(chr, range(32, sys.maxunicode + 1))
    if unicodedata.category(character)[0] in "LMNPS" or character == " "
]
INJECTIONS = [
    "alice\r\nBcc: eve@example.com",
    "alice\nBcc: eve@example.com",
    "alice\rBcc: eve@example.com",
    "alice\r\n.\r\nMAIL FROM:<eve@example.com>",
    "alice\r\n\r\n--boundary",
    "alice\u2028Bcc: eve@example.com",
    "alice\u2029Bcc: eve@example.com",
    "alice\u0085Bcc: eve@example.com",
    "{{7*7}}",
    "{{{email}}}",
    "{{>partial}}{{#user}}x{{/user}}",
    "{uid} %(uid)s %s",
    "<b>x</b>",
    '"><script>x</script>',
    "&lt;&amp;",
    "=?utf-8?q?=0D=0ABcc:_x?=",
    "eve@example.com, mallory@example.com",
    "\u202eecila",
    "alice\t\x0b\x0c\x1b[31m\x7f",
    "From alice",
    "." * 3,
    "x" * 2000,
    "é" * 1000,
]
# Exclude these, although Django's check of addresses accepts some of them.
NO_ADDRESSES = [
    "alice@example.com\r\nBcc: eve@example.com",
    "alice@example.com\nBcc: eve@example.com",
    "alice@example.com>\r\nRCPT TO:<eve@example.com",
    "alice@example.com\u2028",
    "alice@exam\u2028ple.com",
    "alice@example.com\u0085",
    "alice@example.com\0",
    "alice@example.com\0@example.org",
    "alice@example.com, eve@example.com",
    "alice@example.com,eve@example.com",
    "alice@example.com; eve@example.com",
    "all: alice@example.com, eve@example.com;",
    "Alice <alice@example.com>",
    "<alice@example.com>",
    "alice@example.com (eve@example.com)",
    "alice bob@example.com",
    "<b>x</b>@example.com",
    "=?utf-8?q?=0D=0ABcc:_x?=@example.com",
    "alice",
    "@example.com",
    "alice@",
]
ODD_ADDRESSES = [
    "{{7*7}}@example.com",
    "{{{email}}}@example.com",
    "%s@example.com",
    "-oQ@example.com",
    "a+b'c@example.com",
    "&amp@example.com",
    '"a,b"@example.com',
    '"a>b"@example.com',
    "alice@[192.0.2.1]",
    "x" * 64 + "@example.com",
]


def writing(source: random.Random, longest: int) -> str:
    """Returns random text in any scripts."""
    text = "".join(source.choices(WRITING, k=source.randint(1, longest)))
    # A space at the end would be lost where a name ends a line.
    return text.strip() or "x"


def send(
    users: Sequence[User], database: Path, folder: Path, server: MailServer, *, language: str = "en", **settings: str
) -> dict[int, Delivery]:
    """Sends a reset email to each of `users` and returns the emails; checks what all of them have in common."""
    before = datetime.now(UTC).replace(microsecond=0)
    run_command(database, "migrate")
    expected = insert_reset_emails(database, [user.pk for user in users])
    smtp = {"EMAIL_BACKEND": "smtp", "EMAIL_HOST": "localhost", "EMAIL_PORT": str(server.port)}
    with serving(database, folder, **smtp, **({"DEFAULT_FROM_EMAIL": SENDER, "LANGUAGE_CODE": language} | settings)):
        wait_until(lambda: pending(database) == 0, "the outbox to be empty")
    after = datetime.now(UTC)
    for mail in server.deliveries:
        assert before <= mail.message["Date"].datetime <= after
        check_form(mail.message, language)
        check_lengths(mail.content)
    deliveries = {mail.message["Message-ID"].split("@")[0].strip("<"): mail for mail in server.deliveries}
    counts = Counter(server.commands(encrypted=False))
    assert set(counts) <= {"EHLO", "MAIL", "RCPT", "DATA", "QUIT"}
    assert counts["MAIL"] == counts["RCPT"] == counts["DATA"] == len(deliveries) == len(server.deliveries)
    return {expected[identifier.split(".")[0]]: mail for identifier, mail in deliveries.items()}


def check_form(message: EmailMessage, language: str = "en") -> None:
    """Checks that strict parsing finds the expected headers and parts, and no fault."""
    assert Counter(message.keys()) == Counter(
        ["From", "To", "Subject", "Message-Id", "Date", "Auto-Submitted", "X-Auto-Response-Suppress", "Content-Language"]
        + ["MIME-Version", "Content-Type"]
    )
    assert message["X-Auto-Response-Suppress"] == "All"
    assert (message["Auto-Submitted"], message["Content-Language"]) == ("auto-generated", language)
    assert [part.get_content_type() for part in message.walk()] == ["multipart/alternative", "text/plain", "text/html"]
    for part in message.walk():
        assert part.defects == []
        assert [defect for header in part.values() for defect in getattr(header, "defects", [])] == []
        assert part.is_multipart() or part.get_content_charset() == "utf-8"
        if not part.is_multipart():
            check_line_ends(part.get_payload(decode=True))


def check_lengths(content: bytes) -> None:
    """Checks the limits of RFC 5322 section 2.1.1 and RFC 2047 section 2, and that only CR LF ends a line."""
    assert content.isascii() and b"\0" not in content
    check_line_ends(content)
    lines = content.split(b"\r\n")
    assert max(map(len, lines)) <= 998
    for line in lines[: lines.index(b"")]:
        words = re.findall(rb"=\?[^?\s]+\?[bBqQ]\?[^?\s]*\?=", line)
        assert all(len(word) <= 75 for word in words)
        # Nothing can fold an address.
        assert len(line) <= (76 if words else 78) or b"@" in line


def check_line_ends(content: object) -> None:
    """Checks that each line of the decoded content ends with CR LF, as email requires (RFC 2046 section 4.1.1)."""
    assert isinstance(content, bytes)
    rest = content.replace(b"\r\n", b"")
    assert b"\r" not in rest and b"\n" not in rest


class Page(HTMLParser):
    """The text that a reader of an HTML page sees, and the tags in it."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text = ""
        # The names of the attributes of each tag.
        self.tags: list[list[str]] = []
        # The attributes of the first occurrence of each tag.
        self.attributes: dict[str, dict[str, str | None]] = {}
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append([tag, *(name for name, _ in attributes)])
        self.attributes.setdefault(tag, dict(attributes))

    def handle_data(self, data: str) -> None:
        self.text += data


def page(mail: Delivery) -> Page:
    part = mail.message.get_body(("html",))
    assert part is not None
    return Page(part.get_content())


def written(name: str, address: str) -> str:
    """Returns the user name as an email shows it: with the only line end that email allows, and so that it cannot become a link."""
    text = name.replace("\r\n", "\n").replace("\r", "\n").replace("\n", "\r\n")
    if name.lower() == address.lower():
        return text
    return re.sub("[.\u3002\uff0e\uff61\u2024:/\\\\@]", "\\g<0>\u200b", text)


def check_names(mail: Delivery, user: User, site: str) -> None:
    """Checks that the names are in the email unchanged, and that the link works."""
    assert mail.message["Subject"] == f"Reset your {site} password"
    assert mail.message["From"] == SENDER
    assert (mail.sender, mail.recipients, mail.message["To"]) == ("noreply@example.com", [user.email], user.email)
    for text in (mail.text, page(mail).text):
        assert f"Hi {written(user.username, user.email)}," in text
        assert site in text
    assert mail.link.uid


@pytest.mark.parametrize("seed", range(5))
def test_two_hundred_names_in_any_script_appear_unchanged(seed: int, database: Path, tmp_path: Path, mail_server: MailServer) -> None:
    source = random.Random(seed)
    site = writing(source, 40)
    users = [
        add_user(f"{number} {writing(source, 100)}", f"user{number}@example.com", first_name=writing(source, 50))
        for number in range(200)
    ]
    mails = send(users, database, tmp_path, mail_server, SITE_NAME=site)
    assert [user.email for user in users if user.pk not in mails] == []
    for user in users:
        check_names(mails[user.pk], user, site)


def test_a_user_name_is_only_text(database: Path, tmp_path: Path, mail_server: MailServer) -> None:
    plain = add_user("alice", "alice@example.com")
    users = [
        add_user(name, f"user{number}@example.com", first_name=name, last_name=name)
        for number, name in enumerate(INJECTIONS)
    ]
    mails = send([plain, *users], database, tmp_path, mail_server, SITE_NAME="Example")
    assert len(mails) == len(users) + 1
    for user in users:
        check_names(mails[user.pk], user, "Example")
        assert page(mails[user.pk]).tags == page(mails[plain.pk]).tags


@pytest.mark.parametrize("site", ["Größe & Söhne", "x" * 300, "密码" * 60, "a " * 200 + "b", '"=?utf-8?q?x?=", <b>'], ids=lambda site: ascii(site)[:20])
@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_keeps_the_limits_with_any_name(
    language: str, site: str, database: Path, tmp_path: Path, mail_server: MailServer
) -> None:
    users = [add_user(name, f"user{number}@example.com", first_name=name[:100]) for number, name in enumerate(INJECTIONS)]
    # A sender is written as in a header, where an encoded word has a meaning.
    name = "Example" if "=?" in site else site
    sender = f'"{name}" <noreply@example.com>'
    mails = send(users, database, tmp_path, mail_server, language=language, SITE_NAME=site, DEFAULT_FROM_EMAIL=sender)
    assert len(mails) == len(users)
    for user in users:
        mail = mails[user.pk]
        assert site in str(mail.message["Subject"])
        # The parser of `mail.message` puts a space between the encoded words of a name.
        header = BytesHeaderParser().parsebytes(mail.content)["From"]
        assert str(make_header(decode_header(header))) == f"{name} <noreply@example.com>"
        for text in (mail.text, page(mail).text):
            assert written(user.username, user.email) in text and site in text


@pytest.fixture(scope="module")
def plain_tags(migrated_file: Path, tmp_path_factory: pytest.TempPathFactory) -> list[list[str]]:
    """Returns the tags of an email whose names are harmless."""
    folder = tmp_path_factory.mktemp("plain")
    shutil.copy(migrated_file, folder / "db.sqlite3")
    with on_database(folder / "db.sqlite3"), receiving(folder / "mail") as server:
        user = add_user("alice", "alice@example.com")
        return page(send([user], folder / "db.sqlite3", folder, server)[user.pk]).tags


# The configuration refuses line ends.
@pytest.mark.parametrize("site", [text for text in INJECTIONS if len(text.splitlines()) == 1], ids=ascii)
def test_the_name_of_the_site_is_only_text(
    site: str, plain_tags: list[list[str]], database: Path, tmp_path: Path, mail_server: MailServer
) -> None:
    user = add_user("alice", "alice@example.com")
    mails = send([user], database, tmp_path, mail_server, SITE_NAME=site)
    check_names(mails[user.pk], user, site)
    assert page(mails[user.pk]).tags == plain_tags


def test_an_invalid_address_gets_no_email(database: Path, tmp_path: Path, mail_server: MailServer) -> None:
    users = [add_user(f"user{number}", address) for number, address in enumerate(NO_ADDRESSES)]
    mails = send(users, database, tmp_path, mail_server)
    assert [user.email for user in users if user.pk in mails] == []
    # A value with a NUL is not an address, and its row is damaged.
    addresses = [user for user in users if "\0" not in user.email]
    assert [row.last_error for row in dead_letters(database)] == ["the stored address is not one email address"] * len(addresses)


def test_an_unusual_address_is_used_exactly_as_it_is(database: Path, tmp_path: Path, mail_server: MailServer) -> None:
    users = [add_user(address, address) for address in ODD_ADDRESSES]
    mails = send(users, database, tmp_path, mail_server, SITE_NAME="Example")
    assert [user.email for user in users if user.pk not in mails] == []
    for user in users:
        check_names(mails[user.pk], user, "Example")


def test_international_domains_are_sent_in_ascii(database: Path, tmp_path: Path, mail_server: MailServer) -> None:
    user = add_user("alice", "alice@bücher.example")
    mails = send([user], database, tmp_path, mail_server, DEFAULT_FROM_EMAIL="Straße <noreply@straße.example>")
    mail = mails[user.pk]
    assert (mail.sender, mail.recipients) == ("noreply@xn--strae-oqa.example", ["alice@xn--bcher-kva.example"])
    assert mail.message["From"] == "Straße <noreply@xn--strae-oqa.example>"
    assert mail.message["To"] == "alice@xn--bcher-kva.example"
    assert mail.message["Message-ID"].endswith("@xn--strae-oqa.example>")


@pytest.mark.parametrize("default", ["en", "de"])
def test_the_email_is_in_the_requested_language(
    default: str, database: Path, mail_server: MailServer, serve_with_mail: Callable[..., Service]
) -> None:
    user = add_user("al\u202eice & <bob>", "alice@example.com")
    service = serve_with_mail(LANGUAGE_CODE=default)
    wanted = {
        service.request_reset(email=user.email, accept_language=header, **members).request_id: language
        for header, members, language in [
            (None, {}, default),
            ("tlh, *", {}, default),
            (None, {"locale": "tlh"}, default),
            *((None, {"locale": tag}, tag) for tag in LANGUAGES),
            *((tag, {}, tag) for tag in LANGUAGES),
            ("fr", {"locale": "ja"}, "ja"),
            ("fr", {"locale": "tlh"}, "fr"),
            ("tlh, es;q=0.5, fr;q=0.8", {}, "fr"),
            (None, {"locale": "de-AT"}, "de"),
            (None, {"locale": "pt_br"}, "pt-BR"),
        ]
    }
    mails = mail_server.wait_for(len(wanted))
    assert len(mails) == len(wanted)
    for mail in mails:
        language = wanted[mail.message["Message-ID"].strip("<").split(".")[0]]
        check_form(mail.message, language)
        reader = page(mail)
        assert (reader.attributes["html"]["lang"], reader.attributes["html"]["dir"]) == (
            language,
            "rtl" if language == "ar" else "ltr",
        )
        assert user.username in mail.text and user.username in reader.text
        assert service.check_link(mail.link).body["validlink"] is True
