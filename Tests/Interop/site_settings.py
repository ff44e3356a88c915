"""The Django site that the service stands beside. Each test points the database at a file of its own."""

SECRET_KEY = "interop-secret-key-of-the-django-site-0123456789"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "set-by-each-test"}}
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes"]
MIDDLEWARE = ["django.contrib.sessions.middleware.SessionMiddleware"]
# Keeps sessions out of the database, so that it holds what auth makes and nothing else.
SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
ROOT_URLCONF = "django.contrib.auth.urls"
TIME_ZONE = "UTC"
USE_TZ = True
PASSWORD_RESET_TIMEOUT = 3600
# Those of Django's project template.
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
