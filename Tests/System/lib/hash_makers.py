"""The password hashing of other frameworks, run as they run it."""

import json
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fastapi_users.password import PasswordHelper
from passlib.context import CryptContext
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher
from pwdlib.hashers.bcrypt import BcryptHasher

from paths import LIB
from service import BASE_ENVIRONMENT

# Cheap hashes: their cost does not matter here.
BCRYPT = {"PASSWORD_FORMAT": "crypt", "PASSWORD_HASHER": "bcrypt", "PASSWORD_HASHER_OPTIONS": "rounds=4"}
ARGON2 = {
    "PASSWORD_FORMAT": "crypt",
    "PASSWORD_HASHER": "argon2",
    "PASSWORD_HASHER_OPTIONS": "time_cost=1,memory_cost=64,parallelism=1",
}


@dataclass(frozen=True)
class Framework:
    """Makes and checks hashes as a framework does."""

    make: Callable[[Sequence[str]], list[str]]
    check: Callable[[Sequence[tuple[str, str]]], list[bool]]
    # The settings with which the service writes hashes for it.
    settings: dict[str, str] = field(default_factory=dict)

    def accepts(self, password: str, stored: str) -> bool:
        return self.check([(password, stored)]) == [True]


def program(command: Sequence[str | Path], packages: str, settings: dict[str, str], **environment: str) -> Framework:
    """Returns a framework in another language, whose program answers questions in JSON."""

    def ask(make: Sequence[str] = (), check: Sequence[tuple[str, str]] = ()) -> dict[str, list]:
        assert shutil.which(str(command[0])), f"install Debian's {packages}"
        questions = json.dumps({"make": list(make), "check": [list(pair) for pair in check]})
        done = subprocess.run(
            command, input=questions, env=BASE_ENVIRONMENT | environment, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, f"is Debian's {packages} installed? {done.stderr}"
        return json.loads(done.stdout)

    return Framework(lambda passwords: ask(make=passwords)["made"], lambda pairs: ask(check=pairs)["checked"], settings)


def python(make: Callable[[str], str], check: Callable[[str, str], bool], settings: dict[str, str]) -> Framework:
    return Framework(lambda passwords: [make(one) for one in passwords], lambda pairs: [check(*pair) for pair in pairs], settings)


def php(framework: str, algorithm: str, settings: dict[str, str]) -> Framework:
    return program(["php", LIB / "hashes/php.php", framework, algorithm], "php-cli and php-illuminate-hashing", settings)


def frameworks(folder: Path) -> dict[str, Framework]:
    """Returns the frameworks by name. `folder` is for compiled programs."""
    passlib_bcrypt = CryptContext(schemes=["bcrypt"], bcrypt__rounds=4)
    passlib_argon2 = CryptContext(schemes=["argon2"], argon2__time_cost=1, argon2__memory_cost=64, argon2__parallelism=1)
    # FastAPI-Users makes argon2id hashes, and also reads bcrypt's.
    hashes = PasswordHash((Argon2Hasher(time_cost=1, memory_cost=64, parallelism=1), BcryptHasher(rounds=4)))
    helper = PasswordHelper(hashes)
    bcrypt = BcryptHasher(rounds=4)

    def users(password: str, stored: str) -> bool:
        return helper.verify_and_update(password, stored)[0]

    as_php = BCRYPT | {"PASSWORD_FORMAT_OPTIONS": "ident=2y"}
    as_ruby = BCRYPT | {"PASSWORD_FORMAT_OPTIONS": "ident=2a"}
    return {
        "PHP, bcrypt": php("php", "bcrypt", as_php),
        "PHP, argon2id": php("php", "argon2id", ARGON2),
        "Laravel, bcrypt": php("laravel", "bcrypt", as_php),
        "Laravel, argon2id": php("laravel", "argon2id", ARGON2),
        "Rails with Devise": program(["ruby", "-W0", LIB / "hashes/devise.rb"], "ruby-devise", as_ruby),
        "Supabase": program(
            ["go", "run", LIB / "hashes/bcrypt.go"], "golang-go and golang-golang-x-crypto-dev", as_ruby,
            GO111MODULE="off", GOPATH="/usr/share/gocode", GOCACHE=str(folder / "go"),
        ),
        "passlib, bcrypt": python(passlib_bcrypt.hash, passlib_bcrypt.verify, BCRYPT),
        "passlib, argon2id": python(passlib_argon2.hash, passlib_argon2.verify, ARGON2),
        "FastAPI-Users": python(helper.hash, users, ARGON2),
        "FastAPI-Users, bcrypt": python(bcrypt.hash, users, BCRYPT),
    }  # fmt: skip
