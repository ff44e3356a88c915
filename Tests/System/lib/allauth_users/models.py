"""User models of sites: with Django's table and a UUID as key, and with another table without user names and a text as key."""

import secrets
import uuid

from django.contrib.auth.models import AbstractBaseUser, AbstractUser, BaseUserManager
from django.db import models


class User(AbstractUser):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    # Their tables would need Django's tables, which are created later.
    groups = user_permissions = None

    class Meta:
        db_table = "auth_user"


class Member(AbstractBaseUser):
    number = models.CharField(primary_key=True, max_length=64, default=secrets.token_hex)
    mail = models.EmailField(unique=True, db_column="mail_address")
    is_active = models.BooleanField(default=True)
    objects = BaseUserManager()
    USERNAME_FIELD = EMAIL_FIELD = "mail"

    class Meta:
        db_table = "members"
