"""Prints the settings of a Django site as a settings file for password-reset, secrets included:

    (umask 077; python manage.py shell -v 0 < export_settings.py > password-reset.json)
    PASSWORD_RESET_CONFIG=password-reset.json password-reset check
"""

import json
from urllib.parse import quote, urlencode

from django.conf import settings
from django.contrib.auth.hashers import get_hasher

BACKENDS = ("smtp", "console", "file", "dummy")
COSTS = ("iterations", "rounds", "time_cost", "memory_cost", "parallelism", "work_factor", "block_size")



def database_settings(database: dict) -> dict:
    """Returns the settings for the site's database; none if the service does not support it."""
    if database["ENGINE"].endswith("sqlite3"):
        return {"DATABASE_URL": f"sqlite:{database['NAME']}"}
    if not database["ENGINE"].endswith(("postgresql", "postgresql_psycopg2", "postgis")):
        return {}
    # Django passes these options to PostgreSQL's library; others are its own.
    texts = {name: value for name, value in database.get("OPTIONS", {}).items() if isinstance(value, str)}
    parameters = {"user": database.get("USER"), "host": database.get("HOST"), "port": database.get("PORT")} | texts
    query = urlencode({name: value for name, value in parameters.items() if value}, quote_via=quote)
    url = f"postgresql:///{quote(str(database.get('NAME') or ''), safe='')}" + (f"?{query}" if query else "")
    return {"DATABASE_URL": url, "DATABASE_PASSWORD": database.get("PASSWORD"), "USE_TZ": settings.USE_TZ}


hasher = get_hasher()
backend = str(getattr(settings, "EMAIL_BACKEND", "")).removeprefix("django.core.mail.backends.").split(".")[0]
values = database_settings(settings.DATABASES["default"]) | {
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
# Every other setting that is false has false as its default.
print(json.dumps({name: value for name, value in values.items() if value not in (None, "", False) or name == "USE_TZ"}, indent=2))
