"""Settings of the Django site that shares its database with the service. Each test sets its own database file."""

SECRET_KEY = "system-tests-secret-key-of-the-site-0123456789"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "set-by-each-test"}}
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes"]
MIDDLEWARE = ["django.contrib.sessions.middleware.SessionMiddleware"]
# Keep sessions out of the database, so that it has only the tables of `auth`.
SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
ROOT_URLCONF = "django.contrib.auth.urls"
TIME_ZONE = "UTC"
USE_TZ = True
PASSWORD_RESET_TIMEOUT = 3600
# The validators of Django's project template.
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
