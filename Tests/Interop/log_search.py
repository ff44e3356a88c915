"""What no log may hold, at any level: secrets, tokens, passwords, addresses."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

# Those of whose values the service must be silent, in the environment or in the file that `<NAME>_FILE` names.
SECRETS = ("SECRET_KEY", "SECRET_KEY_FALLBACKS", "EMAIL_HOST_PASSWORD")
# Those that the tests set by other ways than `Service.set_password`.
USUAL_PASSWORDS = ("battery-staple-92-new", "correct-horse-71-old", "the-old-password-71")
# Shorter ones may stand in a line by chance, or as a word of ours.
SHORTEST_SECRET = 12

# A token is a time in base 36 and half of a MAC. A request id has as many digits, and nothing before it.
MAC = re.compile(r"-[0-9a-f]{32}(?![0-9A-Za-z])")
TIME = re.compile(r"(?<![0-9A-Za-z])[0-9a-z]{1,13}\Z")
NAME_OR_HOST = r"[^\s\"'`<>()\[\]{},;:=\\/|@]+"
ADDRESS = re.compile(rf"({NAME_OR_HOST})(?:@|%40)({NAME_OR_HOST})", re.IGNORECASE)
# What stands before the @ of a Message-ID: the request id, and the user's key.
MESSAGE_KEY = re.compile(r"[0-9a-f]{32}\.-?[0-9]+")
# Nobody's: in the row that stands for an unknown user, and the default of DEFAULT_FROM_EMAIL.
OF_NOBODY = ("'nobody@example.com' AS email", "webmaster@localhost")


def betrayals(text: str, secrets: Iterable[str] = ()) -> list[str]:
    """What `text` tells that it must not: each kind with the line that it stands in."""
    known = [secret for secret in secrets if len(secret) >= SHORTEST_SECRET]
    found = [f"a secret: {_line(text, at)}" for secret in known for at in _places(text, secret)]
    found += [f"a token: {_line(text, at)}" for at in _tokens(text)]
    # Most lines need no closer look.
    lines = [line for line in text.split("\n") if "@" in line or "%40" in line]
    return found + [f"an address: {line}" for line in lines if _has_address(line)]


def secrets_of(settings: Mapping[str, str]) -> set[str]:
    """The secrets that a process with these settings knows."""
    texts = [settings[name] for name in SECRETS if name in settings]
    files = [Path(settings[f"{name}_FILE"]) for name in SECRETS if f"{name}_FILE" in settings]
    texts += [file.read_text(errors="replace").strip("\r\n") for file in files if file.is_file()]
    # One of several keys is as good as all of them.
    return {secret for text in texts for secret in (text, *text.split(","))}


def is_telling(password: str) -> bool:
    """Whether a password can be told from the words and numbers of a log."""
    letters_and_digits = re.search("[^\\W\\d]", password) and re.search("[0-9]", password)
    return len(password) >= SHORTEST_SECRET and letters_and_digits is not None


def _places(text: str, secret: str) -> Iterator[int]:
    """Where the secret stands, as it is or as JSON spells it."""
    spellings = {secret, json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}
    for spelling in spellings:
        if (at := text.find(spelling)) >= 0:
            yield at


def _tokens(text: str) -> Iterator[int]:
    for mac in MAC.finditer(text):
        if TIME.search(text[max(0, mac.start() - 14) : mac.start()]):
            yield mac.start()


def _has_address(line: str) -> bool:
    for text in OF_NOBODY:
        line = line.replace(text, "")
    return any(not MESSAGE_KEY.fullmatch(address[1]) for address in ADDRESS.finditer(line))


def _line(text: str, at: int) -> str:
    return text[text.rfind("\n", 0, at) + 1 :].partition("\n")[0]
