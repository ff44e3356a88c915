"""The users tables of frameworks other than Django: each framework adds the users and checks their passwords itself."""

import json
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi_users.password import PasswordHelper
from fastapi_users_db_sqlalchemy import SQLAlchemyBaseUserTableUUID
from sqlalchemy import Engine
from sqlalchemy.orm import DeclarativeBase, Session

from hash_makers import Framework
from postgres import Database
from service import Link

ALICE, BOB = "alice@example.com", "bob@example.com"


@dataclass(frozen=True)
class UsersTable:
    """A users table with two users, who have the same password."""

    accepts: Callable[[str], bool]
    """Whether the framework accepts a password of the first user."""
    accepts_link: Callable[[Link], bool] | None = None
    """Whether the framework accepts a link, if its links are those of the service."""
    deactivation: str | None = None
    """The assignment of SQL that deactivates a user."""


@dataclass(frozen=True)
class Place:
    """The folder and the database in which a framework creates its table."""

    folder: Path
    database: Path | Database
    engine: Engine

    def execute(self, *statements: str) -> None:
        with self.engine.begin() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)

    def value(self, query: str) -> str:
        with self.engine.connect() as connection:
            return connection.exec_driver_sql(query).scalar_one()

    def insert(self, table: str, **values: Any) -> None:
        names, texts = ", ".join(values), ", ".join(f"'{value}'" for value in values.values())
        self.execute(f"INSERT INTO {table} ({names}) VALUES ({texts})")


# Laravel: what the framework's `create_users_table` creates.

LARAVEL_SQLITE = """
CREATE TABLE "users" ("id" integer primary key autoincrement not null, "name" varchar not null, "email" varchar not null,
  "email_verified_at" datetime, "password" varchar not null, "remember_token" varchar, "created_at" datetime, "updated_at" datetime)
"""
LARAVEL_POSTGRESQL = """
CREATE TABLE "users" ("id" bigserial not null primary key, "name" varchar(255) not null, "email" varchar(255) not null,
  "email_verified_at" timestamp(0) without time zone null, "password" varchar(255) not null, "remember_token" varchar(100) null,
  "created_at" timestamp(0) without time zone null, "updated_at" timestamp(0) without time zone null)
"""


def laravel(place: Place, password: str, hashes: Framework, has_soft_deletes: bool) -> UsersTable:
    is_postgresql = isinstance(place.database, Database)
    place.execute(LARAVEL_POSTGRESQL if is_postgresql else LARAVEL_SQLITE, 'CREATE UNIQUE INDEX "users_email_unique" ON "users" ("email")')
    if has_soft_deletes:
        place.execute(f"ALTER TABLE users ADD COLUMN deleted_at {'timestamp(0) without time zone' if is_postgresql else 'datetime'} NULL")
    for email, text in zip((ALICE, BOB), hashes.make([password] * 2), strict=True):
        times = dict.fromkeys(("created_at", "updated_at"), "2025-06-01 10:00:00")
        place.insert("users", name="A person", email=email, password=text, remember_token="x" * 60, **times)
    deactivation = "deleted_at = '2025-07-01 10:00:00'" if has_soft_deletes else None
    return UsersTable(lambda password: hashes.accepts(password, place.value(f"SELECT password FROM users WHERE email = '{ALICE}'")), None, deactivation)


# FastAPI-Users


class Base(DeclarativeBase):
    pass


class User(SQLAlchemyBaseUserTableUUID, Base):
    pass


def fastapi_users(place: Place, password: str) -> UsersTable:
    Base.metadata.create_all(place.engine)
    helper = PasswordHelper()
    with Session(place.engine) as session, session.begin():
        session.add_all([User(email=email, hashed_password=helper.hash(password)) for email in (ALICE, BOB)])

    def accepts(password: str) -> bool:
        with Session(place.engine) as session:
            stored = session.query(User).filter_by(email=ALICE).one().hashed_password
        # The service has the cost of the framework.
        assert stored.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
        return helper.verify_and_update(password, stored)[0]

    return UsersTable(accepts, None, "is_active = false")


# Supabase: the columns of its table that matter here, on PostgreSQL.

SUPABASE = """
CREATE TABLE auth.users (
  instance_id uuid, id uuid NOT NULL PRIMARY KEY, aud varchar(255), role varchar(255), email varchar(255), encrypted_password varchar(255),
  email_confirmed_at timestamptz, recovery_token varchar(255), recovery_sent_at timestamptz, last_sign_in_at timestamptz,
  raw_app_meta_data jsonb, raw_user_meta_data jsonb, is_super_admin boolean, created_at timestamptz, updated_at timestamptz,
  phone text UNIQUE DEFAULT NULL, banned_until timestamptz, is_sso_user boolean NOT NULL DEFAULT false, deleted_at timestamptz,
  is_anonymous boolean NOT NULL DEFAULT false
)
"""
SUPABASE_OWNER = "supabase_auth_admin"


def supabase(place: Place, password: str, hashes: Framework) -> UsersTable:
    place.execute(
        f"DO $$ BEGIN IF to_regrole('{SUPABASE_OWNER}') IS NULL THEN CREATE ROLE {SUPABASE_OWNER} NOINHERIT CREATEROLE LOGIN; END IF; END $$",
        f"CREATE SCHEMA auth AUTHORIZATION {SUPABASE_OWNER}", SUPABASE, f"ALTER TABLE auth.users OWNER TO {SUPABASE_OWNER}",
        "CREATE UNIQUE INDEX users_email_partial_key ON auth.users (email) WHERE is_sso_user = false",
        "ALTER TABLE auth.users ENABLE ROW LEVEL SECURITY",
    )  # fmt: skip
    for email, text in zip((ALICE, BOB), hashes.make([password] * 2), strict=True):
        data = json.dumps({"provider": "email"})
        times = dict.fromkeys(("created_at", "updated_at", "last_sign_in_at"), "2025-06-01 10:00:00.123456+00")
        place.insert("auth.users", id=uuid.uuid4(), aud="authenticated", email=email, encrypted_password=text, raw_app_meta_data=data, **times)
    stored = f"SELECT encrypted_password FROM auth.users WHERE email = '{ALICE}'"
    return UsersTable(lambda password: hashes.accepts(password, place.value(stored)), None, "banned_until = '2999-01-01'")


# Rails with Devise


DEVISE = """
class CreateUsers < ActiveRecord::Migration[6.1]
  def change
    create_table :users do |t|
      t.string :email, null: false, default: ""
      t.string :encrypted_password, null: false, default: ""
      t.string :reset_password_token
      t.datetime :reset_password_sent_at
      t.datetime :remember_created_at
      %(columns)s
      t.timestamps null: false
    end
    add_index :users, :email, unique: true
  end
end
ActiveRecord::Migration.suppress_messages { CreateUsers.new.change }
class User < ActiveRecord::Base
  devise :database_authenticatable, :recoverable, :rememberable, :validatable
end
User.create!(%(emails)s.map { |email| { email: email, password: %(password)s } })
"""


def devise(place: Place, password: str, run: Callable[[str], str], emails: Sequence[str], is_lockable: bool) -> UsersTable:
    """A Rails application. `run` runs Ruby in it."""
    columns = "t.integer :failed_attempts, default: 0, null: false; t.string :unlock_token; t.datetime :locked_at" if is_lockable else ""
    run(DEVISE % {"columns": columns, "emails": json.dumps(list(emails)), "password": json.dumps(password)})
    model = "class User < ActiveRecord::Base; devise :database_authenticatable; end\n"
    return UsersTable(
        lambda password: run(f"{model}puts User.find_by!(email: {json.dumps(ALICE)}).valid_password?({json.dumps(password)})") == "true",
        None, "locked_at = '2025-07-01 10:00:00'" if is_lockable else None,
    )  # fmt: skip
