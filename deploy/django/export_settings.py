"""Writes the settings of a Django site (4.2 or newer) for password-reset, with its secrets, and with vectors that prove them:

    python manage.py shell < export_settings.py

This creates the folder `password-reset`, which only its owner may read: `password-reset.json` has the settings, each secret
is in its own file, and `vectors.json` has tokens, a hash and comparisons that this Django made for an invented user. It
prints warnings about what it cannot export, and the command that checks the result.

`EXPORT_FOLDER=/etc/password-reset` chooses another folder. With `EXPORT_FOLDER=-`, the settings are printed instead, with
the secrets in them. Nothing in the site's database is changed.
"""

import json
import os
import re
import shlex
import sys
from datetime import datetime, timezone
from pathlib import Path
from urllib.parse import quote, urlencode
from zoneinfo import ZoneInfo

import django
from django.apps import apps
from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.forms import PasswordResetForm, _unicode_ci_compare
from django.contrib.auth.hashers import check_password, get_hashers, make_password
from django.contrib.auth.tokens import PasswordResetTokenGenerator
from django.contrib.auth.views import PasswordResetConfirmView, PasswordResetView
from django.core.exceptions import FieldDoesNotExist
from django.db import DatabaseError, connections, router
from django.db.models import BooleanField
from django.urls import NoReverseMatch, get_resolver, reverse
from django.utils.encoding import force_bytes
from django.utils.functional import Promise
from django.utils.http import urlsafe_base64_encode

SECRETS = ("DATABASE_PASSWORD", "SECRET_KEY", "SECRET_KEY_FALLBACKS", "EMAIL_HOST_PASSWORD")
LANGUAGES = ("en", "ar", "de", "es", "fr", "ja", "pt-BR", "zh-Hans")
COSTS = {
    "pbkdf2_sha256": ("iterations",),
    "pbkdf2_sha1": ("iterations",),
    "argon2": ("time_cost", "memory_cost", "parallelism"),
    "scrypt": ("work_factor", "block_size", "parallelism"),
    "bcrypt_sha256": ("rounds",),
    "bcrypt": ("rounds",),
}
# Options of a PostgreSQL connection that Django keeps for itself; it passes the others to PostgreSQL's library.
OPTIONS_OF_DJANGO = ("assume_role", "cursor_factory", "isolation_level", "pool", "server_side_binding")
BACKENDS = {"smtp": "smtp", "console": "console", "filebased": "file", "dummy": "dummy"}
# The options of a mailer in MAILERS, with the settings that mean the same.
MAIL_OPTIONS = {
    "host": "EMAIL_HOST",
    "port": "EMAIL_PORT",
    "username": "EMAIL_HOST_USER",
    "password": "EMAIL_HOST_PASSWORD",
    "use_tls": "EMAIL_USE_TLS",
    "use_ssl": "EMAIL_USE_SSL",
    "timeout": "EMAIL_TIMEOUT",
    "ssl_certfile": "EMAIL_SSL_CERTFILE",
    "ssl_keyfile": "EMAIL_SSL_KEYFILE",
}
COLUMNS = ("id", "email", "password", "username", "first_name", "last_name")
COLUMNS += ("last_login", "is_active", "is_staff", "is_superuser", "date_joined")
# The columns that decide who gets a link and whether it is valid.
DECIDING_COLUMNS = ("email", "password", "username", "last_login", "is_active")
# Packages whose logins or locks a reset does not end.
PACKAGES = {
    "rest_framework_simplejwt": "its access tokens stay valid after a reset, until they expire",
    "axes": "a user whom it has locked out stays locked out after a reset",
}
# Packages whose tokens or sessions AFTER_RESET ends, each with the preset and the settings that name other models.
PRESETS = {
    "rest_framework.authtoken": ("drf_tokens", ()),
    "rest_framework_simplejwt.token_blacklist": ("simplejwt", ()),
    "knox": ("knox", ("KNOX_TOKEN_MODEL",)),
    "oauth2_provider": (
        "oauth2_provider",
        tuple(f"OAUTH2_PROVIDER_{name}_MODEL" for name in ("ACCESS_TOKEN", "REFRESH_TOKEN", "ID_TOKEN", "GRANT")),
    ),
    "allauth.usersessions": ("allauth_sessions", ()),
}

User = get_user_model()
connection = connections[router.db_for_write(User)]


def warn(text: str) -> None:
    """Prints what a person should know, in one line on standard error."""
    print(f"warning: {text}", file=sys.stderr)


def refuse(text: str) -> None:
    """Ends the script, before it has written anything."""
    raise SystemExit(f"error: {text} Nothing was written.")


# Settings


def database_settings() -> dict:
    """Returns the settings for the database that has the site's users."""
    database = connection.settings_dict
    if connection.vendor == "sqlite":
        return {"DATABASE_URL": f"sqlite:{os.path.abspath(database['NAME'])}"}
    if connection.vendor != "postgresql":
        warn(f"the users are in {connection.vendor}; the service supports SQLite and PostgreSQL. DATABASE_URL is missing.")
        return {}
    if database.get("OPTIONS", {}).get("assume_role"):
        warn("assume_role in the OPTIONS of the database is not exported: create a role for the service instead.")
    parameters = {"user": database.get("USER"), "host": database.get("HOST"), "port": database.get("PORT")}
    parameters |= {name: value for name, value in database.get("OPTIONS", {}).items() if name not in OPTIONS_OF_DJANGO}
    query = urlencode({name: value for name, value in parameters.items() if value not in (None, "")}, quote_via=quote)
    url = f"postgresql:///{quote(str(database.get('NAME') or ''), safe='')}" + (f"?{query}" if query else "")
    return {"DATABASE_URL": url, "DATABASE_PASSWORD": database.get("PASSWORD")}


def token_settings() -> dict:
    """Returns the settings that decide which tokens are valid."""
    usable = [key for key in settings.SECRET_KEY_FALLBACKS if len(key) >= 32 and not re.search(r"[,\s]", key)]
    if len(usable) < len(settings.SECRET_KEY_FALLBACKS):
        warn("a key in SECRET_KEY_FALLBACKS is left out, because it has fewer than 32 characters, a comma or a space; its links are invalid.")
    if not settings.TIME_ZONE:
        warn("the site has no TIME_ZONE, so its tokens have the local time of its machine. Set TIME_ZONE to that zone.")
    return {
        "SECRET_KEY": settings.SECRET_KEY,
        "SECRET_KEY_FALLBACKS": ",".join(usable),
        "TIME_ZONE": settings.TIME_ZONE,
        "USE_TZ": settings.USE_TZ,
        "PASSWORD_RESET_TIMEOUT": settings.PASSWORD_RESET_TIMEOUT,
    }


def first_hasher():
    """Returns the first of the site's hashers that the service has, or `None`."""
    return next((hasher for hasher in get_hashers() if hasher.algorithm in COSTS), None)


def compared_attributes(attributes) -> list:
    """Returns our names for the attributes with which the site compares new passwords. Warns if the service lacks some."""
    ours = {name: name for name in ("username", "first_name", "last_name", "email")}
    ours |= {User.USERNAME_FIELD: "username"} | {getattr(User, "EMAIL_FIELD", "email"): "email"}
    # Django also takes a set, whose order changes with each run.
    ordered = sorted(attributes) if isinstance(attributes, (set, frozenset)) else attributes
    missing = [name for name in ordered if name not in ours]
    if missing:
        warn(f"the service does not compare new passwords with {', '.join(missing)}, as the site does.")
    return [ours[name] for name in ordered if name in ours]


PWNED_PASSWORDS = "pwned_passwords_django.validators.PwnedPasswordsValidator"


def exported_pwned_validator(options: dict) -> dict:
    """Returns the validator of the package pwned-passwords-django with the options that the service has."""
    texts = {name: str(options[name]) for name in ("error_message", "help_message") if isinstance(options.get(name), (str, Promise))}
    kept = {name: text for name, text in texts.items() if "%(" not in text}
    dropped = sorted(options.keys() - kept)
    if dropped:
        warn(f"the service ignores {', '.join(dropped)} of PwnedPasswordsValidator, and asks the API itself.")
    return {"NAME": PWNED_PASSWORDS, "OPTIONS": kept}


def exported_validator(validator: dict) -> dict:
    """Returns a validator with names of attributes that the service knows."""
    options = validator.get("OPTIONS") or {}
    if validator["NAME"] == PWNED_PASSWORDS:
        return exported_pwned_validator(options)
    if "user_attributes" not in options:
        return validator
    return validator | {"OPTIONS": options | {"user_attributes": compared_attributes(options["user_attributes"])}}


def password_settings() -> dict:
    """Returns the hasher for new passwords, with its cost, and the rules for them."""
    hasher, preferred = first_hasher(), get_hashers()[0]
    if hasher is None:
        warn("the service has none of the PASSWORD_HASHERS, so the site could not check new passwords. Add Django's PBKDF2PasswordHasher.")
    elif hasher is not preferred:
        warn(f"the service does not have the first hasher, {preferred.algorithm}; new passwords get the next one, {hasher.algorithm}.")
    for validator in settings.AUTH_PASSWORD_VALIDATORS:
        if validator["NAME"] != PWNED_PASSWORDS and not validator["NAME"].startswith("django.contrib.auth.password_validation."):
            warn(f"the validator {validator['NAME']} is Python; the service does not start until you remove it from password-reset.json.")
    values = {"AUTH_PASSWORD_VALIDATORS": [exported_validator(validator) for validator in settings.AUTH_PASSWORD_VALIDATORS]}
    if hasher:
        values["PASSWORD_HASHER"] = hasher.algorithm
        values["PASSWORD_HASHER_OPTIONS"] = ",".join(f"{name}={getattr(hasher, name)}" for name in COSTS[hasher.algorithm])
    return values


def mailer() -> tuple:
    """Returns the path of the site's email backend, and the backend's options under the names of settings."""
    if django.VERSION >= (6, 1) and hasattr(settings, "MAILERS"):
        default = settings.MAILERS.get("default", {})
        options = default.get("OPTIONS", {})
        values = {setting: options.get(name) for name, setting in MAIL_OPTIONS.items()}
        path = default.get("BACKEND", "django.core.mail.backends.smtp.EmailBackend")
        return path, values | {"EMAIL_FILE_PATH": options.get("file_path")}
    values = {setting: getattr(settings, setting) for setting in MAIL_OPTIONS.values()}
    return settings.EMAIL_BACKEND, values | {"EMAIL_FILE_PATH": getattr(settings, "EMAIL_FILE_PATH", None)}


def mail_settings() -> dict:
    """Returns the sender, and the settings of the mail server or of another backend."""
    path, options = mailer()
    module, _, _ = path.removeprefix("django.core.mail.backends.").partition(".")
    values = {"DEFAULT_FROM_EMAIL": settings.DEFAULT_FROM_EMAIL}
    if module not in BACKENDS:
        warn(f"the email backend {path} is Python, so EMAIL_BACKEND is missing. Set it to smtp, with the server of your provider.")
        return values
    values["EMAIL_BACKEND"] = BACKENDS[module]
    if module == "smtp":
        values |= {name: options[name] for name in MAIL_OPTIONS.values()}
    if module == "filebased":
        values["EMAIL_FILE_PATH"] = options["EMAIL_FILE_PATH"]
    return values


def language_settings() -> dict:
    """Returns the language for people whose own is not available: Django's `en-us` is `en` here."""
    wanted = {"zh-cn": "zh-hans"}.get(settings.LANGUAGE_CODE.lower(), settings.LANGUAGE_CODE.lower())
    names = {name.lower(): name for name in LANGUAGES}
    language = names.get(wanted) or names.get(wanted.split("-")[0])
    if language is None:
        warn(f"the service has no emails in the language {settings.LANGUAGE_CODE}; they are in English until you add it (docs/mail.md).")
        return {}
    return {"LANGUAGE_CODE": language}


def site_settings() -> dict:
    """Returns the site's name and the link to its page for new passwords, if the sites framework knows the site."""
    if not apps.is_installed("django.contrib.sites"):
        return {}
    from django.contrib.sites.models import Site  # Only an installed app has models.

    try:
        site = Site.objects.filter(pk=getattr(settings, "SITE_ID", None)).first() or Site.objects.first()
    except DatabaseError:
        site = None
    # Django itself creates a site with this domain.
    if site is None or site.domain == "example.com":
        return {}
    name, user, token = "password_reset_confirm", "uidb64", "token"
    if apps.is_installed("allauth.account"):
        name, user, token = "account_reset_password_from_key", "uidb36", "key"
    try:
        path = reverse(name, kwargs={user: "UIDB64", token: "1token-1token"})
    except NoReverseMatch:
        return {"SITE_NAME": site.name}
    path = path.replace("UIDB64", "{uid}").replace("1token-1token", "{token}")
    return {"SITE_NAME": site.name, "RESET_URL": f"https://{site.domain}{path}"}


# The users table


def user_field(name: str):
    """Returns the field of the user model with this name, or `None` if it is not one with a column."""
    try:
        field = User._meta.get_field(name)
    except FieldDoesNotExist:
        return None
    return field if getattr(field, "column", None) else None


def user_fields() -> dict:
    """Returns the field for each of our columns, all of one table. Ends the script if no single table has them."""
    names = {"email": getattr(User, "EMAIL_FIELD", "email"), "username": User.USERNAME_FIELD}
    fields = {name: user_field(names.get(name, name)) for name in COLUMNS}
    for name in ("email", "password"):
        if fields[name] is None:
            refuse(f"the model {User.__name__} has no column for {name}, which the service needs.")
    owner = fields["password"].model
    others = [name for name in DECIDING_COLUMNS if fields[name] and fields[name].model is not owner]
    if others:
        names = ", ".join(others)
        refuse(f"the table {owner._meta.db_table} has the passwords, but not {names}; the service needs them in one table.")
    if not getattr(owner._meta.pk, "column", None):
        refuse(f"the primary key of the table {owner._meta.db_table} has several columns; the service needs one.")
    return {name: field if field and field.model is owner else None for name, field in fields.items()} | {"id": owner._meta.pk}


def warn_of_activity(field) -> None:
    """Warns if the site's code decides which users are active."""
    if isinstance(field, BooleanField):
        return
    if field:
        example = as_json({"is_active": {field.column: ["a value"]}}, indent=None)
        warn(f"is_active is not a yes or no. Write the values that mean active into USERS_COLUMNS: {example}.")
    elif isinstance(getattr(User, "is_active", None), bool):
        warn("the users table has no column is_active, so every user counts as active, as in the site.")
    else:
        example = as_json({"is_active": {"column": "value"}}, indent=None)
        warn(f"the site decides in Python who is active, and every user is active here. If a column decides, write {example} into USERS_COLUMNS.")


def users_settings() -> dict:
    """Returns the table and the columns of the users where they are not Django's."""
    fields = user_fields()
    warn_of_activity(fields["is_active"])
    # Some sites quote the name themselves, to name a schema: '"accounts"."user"' or 'accounts"."user'.
    table = fields["password"].model._meta.db_table.strip('"').replace('"."', ".")
    columns = {name: field.column for name, field in fields.items() if field and field.column != name}
    # The service wants to read that the table lacks a column that protects accounts, and `grants` names all others.
    columns |= {name: None for name in COLUMNS if fields[name] is None}
    return ({"USERS_TABLE": table} if table != "auth_user" else {}) | ({"USERS_COLUMNS": columns} if columns else {})


# What else the site does


def package_settings() -> dict:
    """Returns the settings for packages that a reset concerns, and prints a note about what the service does not do for them."""
    installed = {name for name in PACKAGES for app in apps.get_app_configs() if f"{app.name}.".startswith(f"{name}.")}
    if "rest_framework_simplejwt" in str(getattr(settings, "REST_FRAMEWORK", "")):
        installed.add("rest_framework_simplejwt")
    for name in sorted(installed):
        print(f"note: {name} is installed: {PACKAGES[name]}.", file=sys.stderr)
    return after_reset_settings() | (allauth_settings() if apps.is_installed("allauth.account") else {})


def after_reset_settings() -> dict:
    """Returns the setting for packages whose tokens or sessions are to end with a reset."""
    entries = []
    for package, (preset, models) in PRESETS.items():
        if not apps.is_installed(package):
            continue
        others = [name for name in models if hasattr(settings, name)]
        if others:
            warn(f"{package} has other models ({', '.join(others)}): add an entry with sql for their tables to AFTER_RESET.")
        elif preset == "allauth_sessions" and not settings.SESSION_ENGINE.endswith((".db", ".cached_db")):
            warn("allauth.usersessions lists sessions that are not in the database, so AFTER_RESET cannot end them.")
        else:
            entries.append({"preset": preset})
    return {"AFTER_RESET": entries} if entries else {}


def allauth_settings() -> dict:
    """Returns the setting for django-allauth, and warns about settings of allauth that change its links."""
    if hasattr(settings, "ACCOUNT_PASSWORD_RESET_TOKEN_GENERATOR"):
        warn("ACCOUNT_PASSWORD_RESET_TOKEN_GENERATOR makes tokens of the site's own, which the service can neither make nor accept.")
    if getattr(settings, "ACCOUNT_PASSWORD_RESET_BY_CODE_ENABLED", False):
        warn("ACCOUNT_PASSWORD_RESET_BY_CODE_ENABLED is set, so allauth has no page for links: set RESET_URL to a page of the frontend.")
    return {"ALLAUTH": True}


def views(patterns):
    """Yields each class-based view in a site's URL patterns, with the arguments of its `as_view`."""
    for pattern in patterns:
        if hasattr(pattern, "url_patterns"):
            yield from views(pattern.url_patterns)
        elif hasattr(pattern.callback, "view_class"):
            yield pattern.callback.view_class, getattr(pattern.callback, "view_initkwargs", {})


def warn_of_own_code() -> None:
    """Warns about Python of the site that changes Django's flow, and that the service does not run."""
    found = set()
    for view, arguments in views(get_resolver().url_patterns):
        if issubclass(view, (PasswordResetView, PasswordResetConfirmView)):
            generator = type(arguments.get("token_generator", view.token_generator))
            if generator is not PasswordResetTokenGenerator:
                found.add(f"the token generator {generator.__qualname__} is not Django's: each side refuses the other's links.")
        if issubclass(view, PasswordResetView):
            form = arguments.get("form_class", view.form_class)
            if getattr(form, "get_users", None) is not PasswordResetForm.get_users:
                found.add(f"the form {form.__qualname__} chooses its users itself; the service chooses them as Django does.")
    for name in dir(settings):
        if name.startswith("PASSWORD_RESET_") and name != "PASSWORD_RESET_TIMEOUT":
            found.add(f"{name} is not a setting of Django, and is not exported.")
    for text in sorted(found):
        warn(text)


# Vectors, with which `password-reset check --vectors` proves the settings. Sources/App/Checks/SiteVectors.swift describes them.


def token_vector(moment: datetime, signed_in: "datetime | None", email: str) -> dict:
    """Returns the token that Django made at `moment` for an invented user, who is not in the database."""

    class Generator(PasswordResetTokenGenerator):
        def _now(self) -> datetime:
            # Django dates tokens by the local time of the process, which has the site's TIME_ZONE.
            return datetime.fromtimestamp(moment.timestamp())

    signed_in = signed_in if user_field("last_login") else None
    user = User()
    user.pk = User._meta.pk.to_python(0)
    user.password = "pbkdf2_sha256$1$invented$bm90IGEgaGFzaCBvZiBhbnkgcGFzc3dvcmQ="
    # Django reads the time of the last sign-in from the database in this zone.
    user.last_login = signed_in and signed_in.astimezone(ZoneInfo(connection.timezone_name))
    setattr(user, getattr(User, "EMAIL_FIELD", "email"), email)
    text = user.last_login and str(user.last_login.replace(microsecond=0, tzinfo=None))
    return {
        "kind": "token",
        "id": str(user.pk),
        "uidb64": urlsafe_base64_encode(force_bytes(user.pk)),
        "password": user.password,
        "email": email,
        "signed_in_at": signed_in and int(signed_in.timestamp()),
        "last_login": text,
        "made_at": int(moment.timestamp()),
        "clock": Generator()._num_seconds(Generator()._now()),
        "timeout": settings.PASSWORD_RESET_TIMEOUT,
        "token": Generator().make_token(user),
    }


def hash_vector() -> dict:
    """Returns the hash that Django made of a known password, which is no user's."""
    password = "correct horse battery staple 71"
    hasher = first_hasher()
    encoded = make_password(password, hasher=hasher.algorithm if hasher else "default")
    return {"kind": "hash", "password": password, "hash": encoded, "matches": check_password(password, encoded)}


def address_vector(first: str, second: str) -> dict:
    """Returns whether Django considers two addresses the same."""
    return {"kind": "address", "first": first, "second": second, "same": _unicode_ci_compare(first, second)}


def vectors() -> list:
    """Returns five vectors: a token of winter and one of summer, a hash, and two pairs of addresses."""
    year = datetime.now().year
    winter, summer = (datetime(year, month, 15, 12, 30, tzinfo=timezone.utc) for month in (1, 7))
    return [
        token_vector(winter, None, "alice@example.com"),
        token_vector(summer, winter, "Zoë@Example.com"),
        hash_vector(),
        address_vector("Straße@EXAMPLE.com", "STRASSE@example.com"),
        address_vector("mike@example.org", "mıke@example.org"),
    ]


# Output


def write(path: Path, text: str) -> None:
    """Writes a file that only its owner may read."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "w", encoding="utf-8") as file:
        os.fchmod(descriptor, 0o600)
        file.write(f"{text}\n")


def as_json(value, indent: "int | None" = 2) -> str:
    """Returns JSON, in which paths and translations are texts."""
    # YAML, as which the service reads the file, does not have all the escapes of JSON.
    return json.dumps(value, indent=indent, default=str, ensure_ascii=False)


def move_secrets(values: dict, folder: Path) -> dict:
    """Writes each secret into its own file, and returns the settings with the names of these files."""
    moved = {}
    for name, value in values.items():
        if name in SECRETS:
            write(folder / name, value)
            moved[f"{name}_FILE"] = str(folder / name)
        else:
            moved[name] = value
    return moved


def export(values: dict, folder: Path) -> None:
    """Writes the settings, the secrets and the vectors into the folder, and prints what to do next."""
    proof = as_json(vectors())
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    write(folder / "password-reset.json", as_json(move_secrets(values, folder)))
    write(folder / "vectors.json", proof)
    print(f"Wrote password-reset.json, the secrets and vectors.json into {folder}. Only you may read them.")
    missing = [name for name in ("DATABASE_URL", "EMAIL_BACKEND", "RESET_URL", "SITE_NAME") if name not in values]
    if missing:
        print(f"Add to password-reset.json what is missing: {', '.join(missing)}.")
    if "RESET_URL" in values:
        print(f"Emails lead to the site's own page, {values['RESET_URL']}. Change it when your frontend has one.")
    print("Prove the settings before the first email:")
    print(f"  export PASSWORD_RESET_CONFIG={shlex.quote(str(folder / 'password-reset.json'))}")
    print(f"  password-reset check --vectors {shlex.quote(str(folder / 'vectors.json'))}")


exported = database_settings() | users_settings() | token_settings() | password_settings() | mail_settings()
exported |= language_settings() | site_settings() | package_settings()
warn_of_own_code()
# Every other setting that is false has false as its default.
exported = {name: value for name, value in exported.items() if value not in (None, "", False) or name == "USE_TZ"}
if os.environ.get("EXPORT_FOLDER") == "-":
    print(as_json(exported))
else:
    export(exported, Path(os.environ.get("EXPORT_FOLDER") or "password-reset").absolute())
