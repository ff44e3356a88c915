"""Prints the settings of a Django site as a settings file for password-reset, secrets included:

    (umask 077; python manage.py shell -v 0 < export_settings.py > password-reset.json)
    PASSWORD_RESET_CONFIG=password-reset.json password-reset check
"""

import json

from django.conf import settings
from django.contrib.auth.hashers import get_hasher

BACKENDS = ("smtp", "console", "file", "dummy")
COSTS = ("iterations", "rounds", "time_cost", "memory_cost", "parallelism", "work_factor", "block_size")

database = settings.DATABASES["default"]
hasher = get_hasher()
backend = str(getattr(settings, "EMAIL_BACKEND", "")).removeprefix("django.core.mail.backends.").split(".")[0]
values = {
    "DATABASE_URL": f"sqlite:{database['NAME']}" if database["ENGINE"].endswith("sqlite3") else None,
    "SECRET_KEY": settings.SECRET_KEY,
    "SECRET_KEY_FALLBACKS": ",".join(settings.SECRET_KEY_FALLBACKS),
    "TIME_ZONE": settings.TIME_ZONE,
    "PASSWORD_RESET_TIMEOUT": settings.PASSWORD_RESET_TIMEOUT,
    "PASSWORD_HASHER": hasher.algorithm,
    "PASSWORD_HASHER_OPTIONS": ",".join(f"{name}={getattr(hasher, name)}" for name in COSTS if hasattr(hasher, name)),
    "AUTH_PASSWORD_VALIDATORS": settings.AUTH_PASSWORD_VALIDATORS,
    "DEFAULT_FROM_EMAIL": settings.DEFAULT_FROM_EMAIL,
    "EMAIL_BACKEND": backend if backend in BACKENDS else None,
}
if backend == "smtp":
    names = ("HOST", "PORT", "HOST_USER", "HOST_PASSWORD", "USE_TLS", "USE_SSL", "TIMEOUT", "SSL_CERTFILE", "SSL_KEYFILE")
    values |= {f"EMAIL_{name}": getattr(settings, f"EMAIL_{name}", None) for name in names}
print(json.dumps({name: value for name, value in values.items() if value not in (None, "", False)}, indent=2))
