"""Writes vectors.json next to this file: Django's answers, which Credentials must match.

    python3 -m venv .venv && .venv/bin/pip install 'Django[argon2,bcrypt]==6.1.3' && .venv/bin/python make_vectors.py
"""

import json
import random
import sys
import unicodedata
from datetime import datetime, timedelta, timezone
from pathlib import Path

import argon2
import bcrypt
import django
from django.conf import settings

VALIDATORS = ["UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator", "NumericPasswordValidator"]
settings.configure(
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes"],
    SECRET_KEY="django-insecure-test-key-0123456789",
    AUTH_PASSWORD_VALIDATORS=[{"NAME": "django.contrib.auth.password_validation." + name} for name in VALIDATORS],
)
django.setup()

from django.contrib.auth.hashers import (  # noqa: E402
    Argon2PasswordHasher,
    BCryptPasswordHasher,
    BCryptSHA256PasswordHasher,
    PBKDF2PasswordHasher,
    PBKDF2SHA1PasswordHasher,
    ScryptPasswordHasher,
)
from django.contrib.auth.models import User  # noqa: E402
from django.contrib.auth.password_validation import validate_password  # noqa: E402
from django.contrib.auth.tokens import PasswordResetTokenGenerator  # noqa: E402
from django.core.exceptions import ValidationError  # noqa: E402
from django.utils.encoding import force_bytes  # noqa: E402
from django.utils.http import urlsafe_base64_encode  # noqa: E402

random.seed(20261120)
EPOCH = datetime(2001, 1, 1)


def tokens():
    for index in range(60):
        user = User(
            pk=random.choice([1, 42, 100, 2**31, 2**63 - 1]),
            password=random.choice(["pbkdf2_sha256$1500000$saltsaltsaltsaltsaltsa$AAAA", "!unusable", "", "garbage", "argon2$ü"]),
            email=random.choice(["alice@example.com", "", "ünï@exämple.com"]),
            last_login=random.choice([None, datetime(2026, 1, 2, 3, 4, 5, 678901, timezone.utc), datetime(999, 1, 1, tzinfo=timezone.utc)]),
        )
        secret = random.choice(["django-insecure-test-key-0123456789", "ключ" * 10])
        seconds = random.choice([0, 1, 35, 36, 800000000, 1234567890])
        generator = PasswordResetTokenGenerator()
        generator.secret = secret
        generator._now = lambda: EPOCH + timedelta(seconds=seconds)
        login = user.last_login and user.last_login.replace(microsecond=0, tzinfo=None)
        yield {
            "id": user.pk, "password": user.password, "email": user.email, "last_login": login and str(login),
            "secret": secret, "seconds": seconds, "token": generator.make_token(user),
        }


def hashes():
    """Makes hashes with every hasher, at costs that do not slow tests down, and one each at the default cost."""
    passwords = ["lètmein", "a", " spaces ", "e\u0301", "é", "😀" * 8, "x" * 72, "x" * 73, "ü" * 100, "p" * 200, "a\0b"]
    salts = ["seasalt", "saltsaltsaltsaltsaltsa", "sæl/+ ="]
    cheap = []
    for hasher in [PBKDF2PasswordHasher(), PBKDF2SHA1PasswordHasher()]:
        cheap += [lambda p, h=hasher, n=n: h.encode(p, random.choice(salts), n) for n in [1, 1000]]
    scrypt = ScryptPasswordHasher()
    cheap += [lambda p, n=n, r=r, k=k: scrypt.encode(p, random.choice(salts), n, r, k) for n, r, k in [(2, 1, 1), (16, 8, 3), (1024, 8, 5)]]
    for kind in [argon2.Type.ID, argon2.Type.I, argon2.Type.D]:
        for version in [0x10, 0x13]:
            cheap.append(
                lambda p, kind=kind, version=version: "argon2"
                + argon2.low_level.hash_secret(p.encode(), b"saltsaltsaltsaltsaltsa", 2, 64, 2, 32, kind, version).decode()
            )
    sha256 = BCryptSHA256PasswordHasher()
    cheap += [lambda p, prefix=prefix: sha256.encode(p, bcrypt.gensalt(4, prefix)) for prefix in [b"2a", b"2b"]]
    for encode in cheap:
        for password in passwords:
            yield {"password": password, "encoded": encode(password)}
    for password in passwords:
        # bcrypt 5 refuses longer passwords, and C implementations cannot hash a NUL.
        if len(password.encode()) <= 72 and "\0" not in password:
            yield {"password": password, "encoded": BCryptPasswordHasher().encode(password, bcrypt.gensalt(4))}
    for hasher in [PBKDF2PasswordHasher, PBKDF2SHA1PasswordHasher, ScryptPasswordHasher, Argon2PasswordHasher, BCryptSHA256PasswordHasher]:
        yield {"password": "lètmein", "encoded": hasher().encode("lètmein", hasher().salt())}


def uids():
    for key in [0, 1, 9, 10, 42, 99, 100, 12345, 2**31, 2**63 - 1]:
        yield {"id": key, "uidb64": urlsafe_base64_encode(force_bytes(key))}


ALPHABET = "aAkKsSiIıİſßẞ\u212aΣσςéÉe\u0301ﬁ①ＡａЖжǅʼnŉΐǰ\u200b\u00ad.@"


def caseless():
    """Returns whether Django's _unicode_ci_compare finds the texts equal."""
    texts = ["mike@x.com", "mıke@x.com", "MİKE@x.com", "straße", "STRASSE", "STRAẞE", "ﬁ", "FI", "Å", "Å", "ΑΣ", "ας", "ασ", "Ꭰ", "ꭰ"]
    texts += ["".join(random.choices(ALPHABET, k=random.randint(1, 3))) for _ in range(60)]
    fold = lambda text: unicodedata.normalize("NFKC", text).casefold()  # noqa: E731
    for a in texts:
        for b in texts:
            if fold(a) == fold(b) or random.random() < 0.03:
                yield {"a": a, "b": b, "equal": fold(a) == fold(b)}


def lower():
    texts = ["ΑΣ", "ΑΣ.", "ΑΣΑ", "Σ", ".Σ", "ΑΣ\u0301", "Α\u0301Σ", "İ", "ẞ", "ΑΣ\u00adΑ", "ΑΣ'Α", "ǅ"]
    texts += ["".join(random.choices(ALPHABET + "ΣΑ'", k=6)) for _ in range(60)]
    for text in texts:
        yield {"text": text, "lower": text.lower(), "stripped": text.strip()}
    for blank in [" ", "\x1c", "\x1f", "\u00a0", "\u200b", "\u2028", "\t", "\x00", "\ufeff"]:
        yield {"text": blank + "a" + blank, "lower": blank + "a" + blank, "stripped": (blank + "a" + blank).strip()}


PIECES = ["alice", "Alice", "wonder", "land", "example", "com", "1234", "٣٤٥", "²²", "password", "letmein", "qwerty", "-", "_", " ", "é", "e\u0301", "😀", "Σ", "ß"]


def validations():
    for _ in range(600):
        user = {
            "username": random.choice(["alice", "Wonder.Land", "", "al_ice", "ΣΑΣ", "x"]),
            "first_name": random.choice(["", "Alice", "Renée", "e\u0301lan"]),
            "last_name": random.choice(["", "O'Neill Smith", "Straße"]),
            "email": random.choice(["alice@example.com", "", "wonder@exämple.org"]),
        }
        source = random.choice(list(user.values())) or "zzz"
        password = random.choice(
            [
                "".join(random.choices(PIECES, k=random.randint(1, 4))),
                source + "".join(random.choices("0123456789xyz", k=random.randint(0, 7))),
                "".join(random.sample(source, len(source))) + str(random.randint(0, 999)),
            ]
        )
        try:
            validate_password(password, User(**user))
            errors = []
        except ValidationError as error:
            errors = [{"code": e.code, "message": e.messages[0]} for e in error.error_list]
        yield {"user": user, "password": password, "errors": errors}


vectors = {
    "made_with": f"Django {django.get_version()}, Python {sys.version.split()[0]}",
    "tokens": list(tokens()), "hashes": list(hashes()), "uids": list(uids()), "caseless": list(caseless()), "lower": list(lower()),
    "validations": list(validations()),
}
Path(__file__).with_name("vectors.json").write_text(json.dumps(vectors, ensure_ascii=True, indent=0) + "\n")
