"""Finds text that must never be in a log, at any level: secrets, tokens, passwords, addresses."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

# Settings whose values must not be logged, from the environment or from the file that `<NAME>_FILE` names.
SECRETS = ("DATABASE_PASSWORD", "SECRET_KEY", "SECRET_KEY_FALLBACKS", "EMAIL_HOST_PASSWORD")
# Passwords that tests do not set through `Service.set_password`.
USUAL_PASSWORDS = ("battery-staple-92-new", "correct-horse-71-old", "the-old-password-71")
# A line may contain a shorter secret by chance, or as an ordinary word.
SHORTEST_SECRET = 12

# A token is a time in base 36 and half of a MAC. A request ID has as many digits as the MAC, but nothing before it.
MAC = re.compile(r"-[0-9a-f]{32}(?![0-9A-Za-z])")
TIME = re.compile(r"(?<![0-9A-Za-z])[0-9a-z]{1,13}\Z")
NAME_OR_HOST = r"[^\s\"'`<>()\[\]{},;:=\\/|@]+"
ADDRESS = re.compile(rf"({NAME_OR_HOST})(?:@|%40)({NAME_OR_HOST})", re.IGNORECASE)
# The part of a Message-ID before the @: the request ID and the user's key.
MESSAGE_KEY = re.compile(r"[0-9a-f]{32}\.-?[0-9]+")
# The default value of DEFAULT_FROM_EMAIL belongs to no user.
ADDRESSES_OF_NO_USER = ("webmaster@localhost",)


def leaks(text: str, secrets: Iterable[str] = ()) -> list[str]:
    """Returns each forbidden piece of `text`: its kind and its line."""
    known = [secret for secret in secrets if len(secret) >= SHORTEST_SECRET]
    found = [f"a secret: {_line(text, at)}" for secret in known for at in _places(text, secret)]
    found += [f"a token: {_line(text, at)}" for at in _tokens(text)]
    # Only a few lines need the expensive search.
    lines = [line for line in text.split("\n") if "@" in line or "%40" in line]
    return found + [f"an address: {line}" for line in lines if _has_address(line)]


def secrets_of(settings: Mapping[str, str]) -> set[str]:
    """Returns the secrets of a process with these settings."""
    texts = [settings[name] for name in SECRETS if name in settings]
    files = [Path(settings[f"{name}_FILE"]) for name in SECRETS if f"{name}_FILE" in settings]
    texts += [file.read_text(errors="replace").strip("\r\n") for file in files if file.is_file()]
    # Each of several keys is a secret.
    return {secret for text in texts for secret in (text, *text.split(","))}


def is_telling(password: str) -> bool:
    """Returns whether a password cannot be mistaken for the words and numbers of a log."""
    letters_and_digits = re.search("[^\\W\\d]", password) and re.search("[0-9]", password)
    return len(password) >= SHORTEST_SECRET and letters_and_digits is not None


def _places(text: str, secret: str) -> Iterator[int]:
    """Yields each position of the secret, in plain text or as JSON spells it."""
    spellings = {secret, json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}
    for spelling in spellings:
        if (at := text.find(spelling)) >= 0:
            yield at


def _tokens(text: str) -> Iterator[int]:
    for mac in MAC.finditer(text):
        if TIME.search(text[max(0, mac.start() - 14) : mac.start()]):
            yield mac.start()


def _has_address(line: str) -> bool:
    for text in ADDRESSES_OF_NO_USER:
        line = line.replace(text, "")
    return any(not MESSAGE_KEY.fullmatch(address[1]) for address in ADDRESS.finditer(line))


def _line(text: str, at: int) -> str:
    return text[text.rfind("\n", 0, at) + 1 :].partition("\n")[0]
