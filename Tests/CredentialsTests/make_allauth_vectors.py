"""Writes allauth_vectors.json next to this file: django-allauth's answers, which Credentials must match.

    python3 -m venv .venv && .venv/bin/pip install Django==6.1.3 django-allauth==65.22.1 && .venv/bin/python make_allauth_vectors.py
"""

import json
import random
import sys
from datetime import datetime, timedelta, timezone
from importlib.metadata import version
from pathlib import Path

import django
from django.conf import settings

settings.configure(
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "allauth", "allauth.account"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    MIDDLEWARE=["allauth.account.middleware.AccountMiddleware"],
    SECRET_KEY="django-insecure-test-key-0123456789",
    USE_TZ=True,
)
django.setup()

from allauth.account.forms import EmailAwarePasswordResetTokenGenerator  # noqa: E402
from allauth.account.models import EmailAddress  # noqa: E402
from allauth.account.utils import user_pk_to_url_str  # noqa: E402
from django.contrib.auth.models import User  # noqa: E402
from django.core.management import call_command  # noqa: E402

random.seed(20261126)
EPOCH = datetime(2001, 1, 1)
# Letters that Python and Swift may sort, compare or change to lowercase in different ways.
ADDRESSES = [
    "alice@example.com", "Alice@Example.COM", "", "zoe@example.com", "_@example.com", "{@example.com", "|@example.com", "é@example.com",
    "e\u0301@example.com", "ÉÜß@example.com", "ΟΔΟΣ@example.com", "İ@example.com", "ﬁ@example.com", "\uff41@example.com", "😀@example.com",
]


def tokens():
    for index in range(60):
        user = User.objects.create(
            pk=random.choice([1, 35, 36, 2**31, 2**63 - 1]),
            password=random.choice(["pbkdf2_sha256$1500000$saltsaltsaltsaltsaltsa$AAAA", "!unusable", "", "garbage"]),
            email=random.choice(ADDRESSES),
            last_login=random.choice([None, datetime(2026, 1, 2, 3, 4, 5, 678901, timezone.utc)]),
        )
        addresses = random.sample([address for address in ADDRESSES if address], random.randint(0, 5))
        EmailAddress.objects.bulk_create(EmailAddress(user=user, email=address, verified=random.random() < 0.5) for address in addresses)
        generator = EmailAwarePasswordResetTokenGenerator()
        seconds = random.choice([0, 35, 800000000, 1234567890])
        generator._now = lambda: EPOCH + timedelta(seconds=seconds)
        login = user.last_login and user.last_login.replace(microsecond=0, tzinfo=None)
        yield {
            "id": user.pk, "uid": user_pk_to_url_str(user), "password": user.password, "email": user.email, "last_login": login and str(login),
            "addresses": addresses, "seconds": seconds, "token": generator.make_token(user),
        }  # fmt: skip
        user.delete()


call_command("migrate", verbosity=0)
vectors = {
    "made_with": f"django-allauth {version('django-allauth')}, Django {django.get_version()}, Python {sys.version.split()[0]}",
    "tokens": list(tokens()),
}
Path(__file__).with_name("allauth_vectors.json").write_text(json.dumps(vectors, ensure_ascii=True, indent=0) + "\n")
