"""A Django site whose schema has more than plain tables."""

import sqlite3
from contextlib import closing
from pathlib import Path

from django.apps import apps
from django.db import connection, models
from django.db.models.functions import Lower


class Preference(models.Model):
    """Has the CHECK of a JSONField, one of a constraint, and an index on an expression."""

    data = models.JSONField(default=dict)
    code = models.CharField(max_length=20, default="x1")
    level = models.IntegerField(default=1)

    class Meta:
        app_label = "auth"
        managed = False
        db_table = "prefs_preference"
        constraints = [
            models.CheckConstraint(name="level_is_positive", condition=models.Q(level__gt=0)),
            # Only Django's connections have the SQLite function REGEXP.
            models.CheckConstraint(name="code_matches", condition=models.Q(code__regex="^x")),
        ]
        indexes = [models.Index(Lower("code"), name="preference_code_lower")]


# The site's own apps stay unchanged for other tests.
apps.all_models["auth"].pop("preference", None)
apps.clear_cache()

# SQL that a site may add itself.
BY_SQL = """
CREATE TABLE site_event (id integer PRIMARY KEY, data text, kind text GENERATED ALWAYS AS (json_extract(data, '$.kind')) STORED);
CREATE INDEX site_event_kind ON site_event (json_extract(data, '$.kind'));
CREATE VIEW site_active AS SELECT username, json_object('email', email) AS data FROM auth_user WHERE is_active;
CREATE VIEW site_left_over AS SELECT word FROM a_table_that_is_no_more;
CREATE VIRTUAL TABLE site_search USING fts5(username, content='auth_user', content_rowid='id');
INSERT INTO site_search (site_search) VALUES ('rebuild');
CREATE TRIGGER site_search_insert AFTER INSERT ON auth_user BEGIN
  INSERT INTO site_search (rowid, username) VALUES (new.id, new.username);
END;
CREATE TRIGGER site_search_update AFTER UPDATE ON auth_user BEGIN
  INSERT INTO site_search (site_search, rowid, username) VALUES ('delete', old.id, old.username);
  INSERT INTO site_search (rowid, username) VALUES (new.id, new.username);
END;
CREATE TABLE site_change (data text CHECK (json_valid(data)));
CREATE TRIGGER site_change_update AFTER UPDATE ON auth_user BEGIN
  INSERT INTO site_change VALUES (json_object('user', new.id));
END;
CREATE INDEX auth_user_name ON auth_user (lower(last_name), json_array(first_name));
CREATE TABLE site_parent (id integer PRIMARY KEY);
CREATE TABLE site_child (parent_id integer REFERENCES site_parent (id));
-- Foreign keys are off here, as in many tools: the row refers to nothing.
INSERT INTO site_child VALUES (7);
"""


def enrich(database: Path) -> None:
    """Adds all of that to the site on `database`, which Django uses."""
    with connection.schema_editor() as editor:
        editor.create_model(Preference)
    Preference.objects.create(data={"theme": "dark"})
    connection.close()
    with closing(sqlite3.connect(database)) as plain, plain:
        plain.executescript(BY_SQL)
        plain.create_collation("of_the_site", lambda a, b: (a > b) - (a < b))
        plain.execute("CREATE TABLE site_word (word text COLLATE of_the_site PRIMARY KEY)")
        plain.execute("INSERT INTO site_word VALUES ('a'), ('b')")
