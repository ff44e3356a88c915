"""Reads users' keys as JSON, and prints the link that Django makes for each, as [uid, token]."""

import json
import sys

import django

django.setup()

from django.contrib.auth.models import User  # noqa: E402
from django.contrib.auth.tokens import default_token_generator  # noqa: E402
from django.utils.http import urlsafe_base64_encode  # noqa: E402

keys = json.load(sys.stdin)
users = User.objects.in_bulk(keys)
links = [(urlsafe_base64_encode(str(key).encode()), default_token_generator.make_token(users[key])) for key in keys]
json.dump(links, sys.stdout)
