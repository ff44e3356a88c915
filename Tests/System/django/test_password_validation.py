"""The service finds the same errors in a new password as Django's form."""

import random
from collections.abc import Callable

import pytest
from django.contrib.auth.forms import SetPasswordForm
from django.contrib.auth.models import User
from django.contrib.auth.password_validation import password_validators_help_texts

from django_site import add_user, errors_of, link_for
from service import Link, Service

USERS = [
    {"username": "alice", "email": "alice@example.com", "first_name": "Alice", "last_name": "Liddell"},
    {"username": "wizard", "email": "merlin.ambrosius@camelot.example.org"},
    {"username": "odysseus", "email": "ΟΔΥΣΣΕΥΣ@ιθακη.gr", "first_name": "Ὀδυσσεύς", "last_name": "Λαερτιάδης"},
    {"username": "jörg.müller-lüdenscheidt", "email": "", "first_name": "Jo\u0308rg", "last_name": "Straße"},
    {"username": "x", "email": "y@z.org", "first_name": "Ⅷ٣_", "last_name": "\u0301\u200d ... !!"},
]

# Django or both sides refuse each of these, so that the link stays usable.
PAIRS = [
    # Missing or different.
    ("", ""),
    ("abc", ""),
    ("", "abc"),
    ("a", "b"),
    ("a-long-enough-one-71", "a-long-enough-one-72"),
    ("1234", "12345"),
    ("e\u0301-long-enough-71", "\u00e9-long-enough-71"),
    ("Å-long-enough-71", "\N{ANGSTROM SIGN}-long-enough-71"),
    ("pass-word-71-x", "pass-word-71-x "),
    # NUL.
    ("x\0yzzzzzzzz", "x\0yzzzzzzzz"),
    ("x\0yzzzzzzzz", "xyzzzzzzzz-71"),
    ("xyzzzzzzzz-71", "x\0yzzzzzzzz"),
    ("\0", ""),
    ("\0", "\0"),
    ("short", "\0"),
]
SINGLES = [
    # Too short, in code points.
    "q",
    " ",
    "       ",
    "zyxw-71",
    "😀😀😀😀",
    "👩‍👩‍👧‍👦",
    "e\u0301e\u0301e\u0301",
    "ｑｗｅｒｔ",
    # Too common: compared in lower case and without surrounding blanks.
    "password",
    "PASSWORD",
    "PassWord1",
    "  password1  ",
    "\u3000password1\x85",
    "iloveyou",
    "qwertyuiop",
    "trustno1",
    # Only digits, of any script.
    "73914682",
    "1234",
    "12345678",
    "٣٤٥٦٧٨٩٠",
    "²²²²²²²²",
    "①②③④⑤⑥⑦⑧",
    "１２３４５６７８",
    "1234567٣",
    "७७७७७७७७",
    "𝟙𝟚𝟛𝟜𝟝𝟞𝟟𝟠",
    "¹2³4¹2³",
    # Numbers that are not digits.
    "½½½",
    "ⅧⅧⅧ",
    "一二三",
    "1234567 ",
    "-123456",
    "1.23456",
    # Too similar to an attribute of some user.
    "alice123",
    "ECILA",
    "alice@example.com",
    "examplecom1",
    "liddell1",
    "LIDDELL-A",
    "wizard99",
    "lizard99",
    "drawzi",
    "camelot1",
    "merlin.ambrosius",
    "ambrosius",
    "odysseus",
    "ΟΔΥΣΣΕΥΣ",
    "οδυσσευς",
    "οδυσσευσ",
    "ὀδυσσεύς",
    "λαερτιάδης",
    "ΛΑΕΡΤΙΆΔΗΣ",
    "ιθακη",
    "jörg.müller-lüdenscheidt",
    "JÖRG.MÜLLER",
    "lüdenscheidt",
    "jo\u0308rg",
    "straße",
    "STRASSE",
    "strasse",
    "z.org",
    "x",
    "y@z",
    "ⅷ٣_",
    "\u0301\u200d",
    "İİİİ",
    "ßßßßßßß",
]


@pytest.fixture(scope="module")
def users(module_service: Service) -> dict[str, tuple[User, Link]]:
    """Returns the users by name, with a link each. The service is running, so Django uses the module's database."""
    users = [add_user(**fields) for fields in USERS]
    return {user.username: (user, link_for(user)) for user in users}


def assert_same(service: Service, user: User, link: Link, pair: tuple[str, str]) -> None:
    form = SetPasswordForm(user, {"new_password1": pair[0], "new_password2": pair[1]})
    assert not form.is_valid()
    reply = service.set_password(link, *pair)
    assert reply.errors == errors_of(form)
    assert (reply.status, reply.body["code"], reply.body["validlink"]) == (400, "validation_error", True)


@pytest.mark.parametrize("pair", PAIRS, ids=ascii)
def test_both_find_the_same_errors_in_the_pair(
    pair: tuple[str, str], module_service: Service, users: dict[str, tuple[User, Link]]
) -> None:
    assert_same(module_service, *users["alice"], pair)


@pytest.mark.parametrize("password", SINGLES, ids=ascii)
def test_both_find_the_same_errors_for_every_user(
    password: str, module_service: Service, users: dict[str, tuple[User, Link]]
) -> None:
    concerned = [
        (user, link)
        for user, link in users.values()
        if not SetPasswordForm(user, {"new_password1": password, "new_password2": password}).is_valid()
    ]
    assert concerned, "Django accepts this password, so it does not belong here"
    for user, link in concerned:
        assert_same(module_service, user, link, (password, password))


NAMES = ["alice", "Wizard", "li", "x", "O'Neill", "Jo\u0308rg", "ΟΔΥΣΣΕΥΣ", "straße", "Ⅷ٣_", "van der Berg", "İrem", "ﬁne", "a-b.c", "\u0301\u200d", ""]
COMMON = ["password", "letmein", "dragon", "qwertyui", "iloveyou1", "12345678", "trustno1"]


def near(chance: random.Random, user: User) -> str:
    """Returns a password near the limit of some rule: similarity, length, digits, the common list."""
    letters = [*user.username, *user.email, *user.first_name, *user.last_name]
    kind = chance.randrange(5)
    if kind == 0:
        # Most of an attribute's characters, in another order, with some others.
        source = chance.choice([user.username, user.email, user.first_name, user.last_name, *user.email.split("@")]) or "x"
        kept = chance.sample(source, k=max(1, len(source) - chance.randrange(3)))
        return "".join(kept) + "".join(chance.choices("zq!٣²", k=chance.randrange(6)))
    if kind == 1:
        return "".join(chance.choices("0123456789٣²①½Ⅷ１ ", k=chance.randint(6, 9)))
    if kind == 2:
        word = chance.choice(COMMON)
        word = "".join(chance.choice([letter, letter.upper()]) for letter in word)
        return chance.choice(["", " ", "\u3000"]) + word + chance.choice(["", " ", "\x1c", "1"])
    if kind == 3:
        return "".join(chance.choices([*"zq!", "e\u0301", "😀", "İ", "ß"], k=chance.randint(5, 9)))
    return "".join(chance.choices(letters or ["x"], k=chance.randint(1, 14)))


def test_both_find_the_same_errors_for_random_users_and_passwords(module_service: Service) -> None:
    """Compares 2,000 pairs. The seed is fixed, so that a failure can be repeated. A password that both accept is set.
    """
    chance = random.Random(20261120)
    accepted = 0
    for index in range(50):
        first, last = chance.choice(NAMES), chance.choice(NAMES)
        fields = {"first_name": first, "last_name": last, "email": chance.choice(["", f"{first}.{last}@example.com", "y@z.org"])}
        user = add_user(f"{chance.choice(NAMES)}{index}", **fields)
        for _ in range(40):
            password = near(chance, user)
            confirmation = password if chance.random() < 0.95 else password + " "
            form = SetPasswordForm(user, {"new_password1": password, "new_password2": confirmation})
            reply = module_service.set_password(link_for(user), password, confirmation)
            assert reply.errors == errors_of(form), (fields, password)
            assert reply.status == (200 if form.is_valid() else 400)
            accepted += form.is_valid()
            user.refresh_from_db()
    assert 200 < accepted < 1800


@pytest.mark.parametrize(
    "password",
    [
        pytest.param("zyxw-717", id="eight characters"),
        pytest.param(" zyxw-7171 ", id="blanks around it"),
        pytest.param("😀ä\u0308-ſtraße-٣½", id="no ASCII"),
    ],
)
def test_both_accept_a_password_and_keep_it_unchanged(password: str, serve: Callable[..., Service]) -> None:
    user = add_user("alice", "alice@example.com")
    assert SetPasswordForm(user, {"new_password1": password, "new_password2": password}).is_valid()

    assert serve().set_password(link_for(user), password, password).status == 200

    user.refresh_from_db()
    assert user.check_password(password)
    assert password == password.strip() or not user.check_password(password.strip())


def test_the_service_lists_the_rules_of_django_and_its_own(
    module_service: Service, users: dict[str, tuple[User, Link]]
) -> None:
    _, link = users["alice"]
    rules = module_service.check_link(link).body["password_rules"]
    ours = [rule for rule in rules if rule not in password_validators_help_texts()]
    assert [rule for rule in rules if rule not in ours] == password_validators_help_texts()
    assert ours == ["Your password must contain at most 1024 characters."]
