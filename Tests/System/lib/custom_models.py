"""User models of Django sites, and the settings of the service for them."""

from custom_site import Model

# A model without a column for `is_active` needs another query than PasswordResetForm's.
OWN_ACTIVITY = """
from django.contrib.auth import get_user_model
from django.contrib.auth.forms import PasswordResetForm

class ResetForm(PasswordResetForm):
    def get_users(self, email):
        users = get_user_model().objects.active().filter(email__iexact=email)
        return (user for user in users if user.has_usable_password())
"""
# Keys for which URLs, SQL or Unicode have rules.
ODD_KEYS = ["a b", "a/b?c=d&e#f", "Jörg", "Jo\u0308rg", "it's \"so\"", "%41_\\", "42", "日本 😀", "-", "../..", "null", "A B", "x" * 64]
# `grants` reads no database, so the settings must say what a table that is not an AbstractUser lacks.
NO_NAMES = {"first_name": None, "last_name": None, "is_staff": None, "is_superuser": None, "date_joined": None}

MODELS = {
    "no user names": Model(
        """
class User(AbstractBaseUser):
    email = models.EmailField(unique=True)
    is_active = models.BooleanField(default=True)
    objects = BaseUserManager()
    USERNAME_FIELD = "email"
""",
        columns=NO_NAMES | {"username": None},
        has_usernames=False,
    ),
    "UUID": Model(
        """
class User(AbstractUser):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
"""
    ),
    "other names": Model(
        """
class User(AbstractUser):
    number = models.AutoField(primary_key=True, db_column="Select")
    username = models.CharField(max_length=150, unique=True, db_column="end")
    first_name = models.CharField(max_length=150, db_column="Vorname, kurz")
    last_name = models.CharField(max_length=150, db_column="名字")
    email = models.EmailField(db_column="E-Mail")
    password = models.CharField(max_length=128, db_column="Paßwort")
    last_login = models.DateTimeField(null=True, db_column="user")
    is_active = models.BooleanField(default=True, db_column="where")
    is_staff = models.BooleanField(default=False, db_column="desc")
    is_superuser = models.BooleanField(default=False, db_column="it's super")
    date_joined = models.DateTimeField(auto_now_add=True, db_column="From")

    class Meta:
        db_table = "order"
""",
        table="order",
        columns={
            "id": "Select", "username": "end", "first_name": "Vorname, kurz", "last_name": "名字", "email": "E-Mail", "password": "Paßwort",
            "last_login": "user", "is_active": "where", "is_staff": "desc", "is_superuser": "it's super", "date_joined": "From",
        },
        needed=("id", "email", "password", "is_active", "last_login"),
    ),
    "several columns of activity": Model(
        """
class UserManager(BaseUserManager):
    def active(self):
        return self.filter(banned=False, deleted_at=None, status__in=["new", "trusted"])

class User(AbstractBaseUser):
    username = models.CharField(max_length=30, unique=True)
    email = models.EmailField()
    banned = models.BooleanField(default=False)
    deleted_at = models.DateTimeField(null=True)
    status = models.CharField(max_length=9, default="trusted")
    objects = UserManager()
    USERNAME_FIELD = "username"

    @property
    def is_active(self):
        return not self.banned and self.deleted_at is None and self.status in ("new", "trusted")
""",
        columns=NO_NAMES | {"is_active": {"banned": False, "deleted_at": None, "status": ["new", "trusted"]}},
        needed=("is_active",),
        inactive=({"banned": True}, {"deleted_at": "2026-01-02T03:04:05Z"}, {"status": "left"}),
        forms=OWN_ACTIVITY,
    ),
    "no last login": Model(
        """
class User(AbstractUser):
    last_login = None
""",
        columns={"last_login": None},
        needed=("last_login",),
        has_last_login=False,
    ),
    "text": Model(
        """
class User(AbstractUser):
    code = models.CharField(max_length=64, primary_key=True)
""",
        columns={"id": "code"},
        needed=("id",),
        key=lambda number: ODD_KEYS[number - 1] if number <= len(ODD_KEYS) else f"key {number}",
        unfilled=("code",),
    ),
    "bigint": Model(
        """
class User(AbstractUser):
    id = models.BigIntegerField(primary_key=True)
""",
        key=lambda number: 2**62 + number,
        unfilled=("id",),
    ),
    "smallint": Model(
        """
class User(AbstractUser):
    nr = models.SmallIntegerField(primary_key=True)
""",
        columns={"id": "nr"},
        needed=("id",),
        # Django accepts 0 and negative keys.
        key=lambda number: 30 - 10 * number,
        unfilled=("nr",),
    ),
    "parent": Model(
        """
class UserManager(BaseUserManager):
    def active(self):
        return self.filter(left_at=None)

class Person(AbstractBaseUser):
    email = models.EmailField(unique=True)
    left_at = models.DateTimeField(null=True)
    USERNAME_FIELD = "email"

    @property
    def is_active(self):
        return self.left_at is None

class User(Person):
    nickname = models.CharField(max_length=30)
    objects = UserManager()
""",
        table="accounts_person",
        columns=NO_NAMES | {"username": None, "is_active": {"left_at": None}},
        needed=("is_active",),
        inactive=({"left_at": "2026-01-02T03:04:05Z"},),
        forms=OWN_ACTIVITY,
        has_usernames=False,
    ),
    "shared addresses": Model(
        """
class User(AbstractUser):
    email = models.EmailField(null=True, unique=False)
    country = models.CharField(max_length=2)
    shoe_size = models.IntegerField(default=42)
""",
        unfilled=("country", "shoe_size"),
    ),
}
