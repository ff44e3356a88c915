"""The service verifies every hash that Django makes, and Django every hash that the service makes."""

import random
from pathlib import Path

import pytest
from django.contrib.auth import authenticate
from django.contrib.auth.hashers import (
    Argon2PasswordHasher,
    BasePasswordHasher,
    BCryptPasswordHasher,
    BCryptSHA256PasswordHasher,
    PBKDF2PasswordHasher,
    PBKDF2SHA1PasswordHasher,
    ScryptPasswordHasher,
    check_password,
    identify_hasher,
)
from django.contrib.auth.models import User
from django.test import override_settings

from django_site import add_user
from service import command


class CheapPBKDF2(PBKDF2PasswordHasher):
    iterations = 1000


class CheapPBKDF2SHA1(PBKDF2SHA1PasswordHasher):
    iterations = 1000


class CheapArgon2(Argon2PasswordHasher):
    time_cost, memory_cost, parallelism = 1, 64, 1


class CheapScrypt(ScryptPasswordHasher):
    work_factor = 16


class CheapBCryptSHA256(BCryptSHA256PasswordHasher):
    rounds = 4


class CheapBCrypt(BCryptPasswordHasher):
    rounds = 4


# The cost of a hash does not matter here, except for one test of the default values.
HASHERS: dict[type[BasePasswordHasher], str] = {
    CheapPBKDF2: "iterations=1000",
    CheapPBKDF2SHA1: "iterations=1000",
    CheapArgon2: "time_cost=1,memory_cost=64,parallelism=1",
    CheapScrypt: "work_factor=16",
    CheapBCryptSHA256: "rounds=4",
    CheapBCrypt: "rounds=4",
}
# The PASSWORD_HASHERS of Django: its `check_password` finds the hasher of a hash by its name.
ALL = [f"{hasher.__module__}.{hasher.__qualname__}" for hasher in HASHERS]

SPECIAL = [
    "x",
    " ",
    "  leading and trailing  ",
    "\t\u3000",
    "é",
    "e\u0301",
    "👩‍👩‍👧‍👦",
    "😀" * 18,
    "x" * 71,
    "x" * 72,
    "x" * 73,
    "y" * 200,
    "ü" * 36,
    "ü" * 37,
    "ü" * 100,
    "$2b$04$",
    "a$b$c",
    "\x7f\x01",
    "'\"\\`;",
]
PIECES = [*"aZ1 $!", "é", "e\u0301", "ß", "\u202e", "漢", "😀", "\u200d", "\x1f"]


def passwords() -> list[str]:
    """Returns fifty passwords, the same each time."""
    chance = random.Random(20261121)
    more = ["".join(chance.choices(PIECES, k=chance.choice([1, 2, 8, 30, 60]))) for _ in range(50 - len(SPECIAL))]
    return SPECIAL + more


@pytest.fixture
def users(database: Path) -> list[User]:
    return [add_user(f"user{index}", f"user{index}@example.com") for index in range(len(passwords()))]


@pytest.fixture(autouse=True)
def all_hashers():
    with override_settings(PASSWORD_HASHERS=ALL):
        yield


def fits(hasher: type[BasePasswordHasher], password: str) -> bool:
    return hasher is not CheapBCrypt or len(password.encode()) <= 72


@pytest.mark.parametrize("hasher", HASHERS, ids=lambda hasher: hasher.algorithm)
def test_the_service_verifies_hashes_of_django(hasher: type[BasePasswordHasher], users: list[User], database: Path) -> None:
    made = [(user, password) for user, password in zip(users, passwords()) if fits(hasher, password)]
    for user, password in made:
        user.password = hasher().encode(password, hasher().salt())
        user.save()
    for user, password in made:
        for attempt, expected in [(password, 0), (password + "x", 1)]:
            if fits(hasher, attempt):
                done = command(database, "users", "check-password", user.username, "--password-stdin", stdin=attempt + "\n")
                assert done.returncode == expected, (password, attempt, done.stderr)


@pytest.mark.parametrize("hasher", HASHERS, ids=lambda hasher: hasher.algorithm)
def test_django_verifies_hashes_of_the_service(hasher: type[BasePasswordHasher], users: list[User], database: Path) -> None:
    settings = {
        "PASSWORD_HASHER": hasher.algorithm,
        "PASSWORD_HASHER_OPTIONS": HASHERS[hasher],
        "AUTH_PASSWORD_VALIDATORS": "[]",
    }
    for user, password in zip(users, passwords()):
        arguments = ["users", "set-password", user.username, "--password-stdin"]
        done = command(database, *arguments, stdin=password + "\n", **settings)
        if not fits(hasher, password):
            assert done.returncode == 1 and "72 bytes" in done.stderr
            continue
        assert done.returncode == 0, (password, done.stderr)
        user.refresh_from_db()
        assert isinstance(identify_hasher(user.password), hasher)
        assert len(user.password) <= 128
        assert check_password(password, user.password), password
        if fits(hasher, password + "x"):
            assert not check_password(password + "x", user.password)
        # The hash has exactly the configured cost. Otherwise, Django would replace it when the user next signs in.
        assert not hasher().must_update(user.password)


@pytest.mark.parametrize("cost", ["m=19456,t=2,p=1", "m=47104,t=1,p=1"])
def test_django_replaces_an_argon2_hash_with_owasps_cost_when_the_user_signs_in(cost: str, users: list[User], database: Path) -> None:
    names = {"m": "memory_cost", "t": "time_cost", "p": "parallelism"}
    options = ",".join(f"{names[part[0]]}{part[1:]}" for part in cost.split(","))
    settings = {"PASSWORD_HASHER": "argon2", "PASSWORD_HASHER_OPTIONS": options}
    done = command(database, "users", "set-password", "user0", "--password-stdin", stdin="a-Fine-pass-77", **settings)
    assert done.returncode == 0, done.stderr
    users[0].refresh_from_db()
    assert users[0].password.startswith(f"argon2$argon2id$v=19${cost}$")
    with override_settings(PASSWORD_HASHERS=["django.contrib.auth.hashers.Argon2PasswordHasher"]):
        assert authenticate(username="user0", password="a-Fine-pass-77") == users[0]
    users[0].refresh_from_db()
    assert users[0].password.startswith("argon2$argon2id$v=19$m=102400,t=2,p=8$")


@pytest.mark.parametrize("hasher", HASHERS, ids=lambda hasher: hasher.algorithm)
def test_nul_is_refused(hasher: type[BasePasswordHasher], users: list[User], database: Path) -> None:
    before = users[0].password
    settings = {"PASSWORD_HASHER": hasher.algorithm, "AUTH_PASSWORD_VALIDATORS": "[]"}
    done = command(database, "users", "set-password", "user0", "--password-stdin", stdin="a\0b", **settings)
    assert done.returncode == 1 and "Null characters are not allowed." in done.stderr
    users[0].refresh_from_db()
    assert users[0].password == before


@pytest.mark.parametrize("hasher", HASHERS, ids=lambda hasher: hasher.algorithm)
def test_the_default_costs_are_those_of_django(hasher: type[BasePasswordHasher], users: list[User], database: Path) -> None:
    """Django raises its default iterations of PBKDF2 with each release; the service has those of 6.1."""
    done = command(
        database, "users", "set-password", "user0", "--password-stdin", stdin="a-Fine-pass-77", PASSWORD_HASHER=hasher.algorithm
    )
    assert done.returncode == 0, done.stderr
    users[0].refresh_from_db()
    assert check_password("a-Fine-pass-77", users[0].password)
    usual = hasher.__base__()
    if hasattr(usual, "iterations"):
        assert usual.decode(users[0].password)["iterations"] == 1_500_000
    else:
        assert not usual.must_update(users[0].password)
