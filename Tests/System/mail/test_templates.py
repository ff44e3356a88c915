"""A site derives its own templates from the built-in ones, and previews them."""

from pathlib import Path

from service import BASE_ENVIRONMENT, run_program

SITE = {"SITE_NAME": "Example"}


def preview(*arguments: str, **settings: str) -> str:
    done = run_program(BASE_ENVIRONMENT | SITE | settings, "mail", "preview", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_exported_templates_write_the_built_in_emails(tmp_path: Path) -> None:
    folder = tmp_path / "templates"
    assert run_program(BASE_ENVIRONMENT, "mail", "templates", str(folder)).returncode == 0
    for arguments in (["password_reset"], ["password_changed"], ["--language", "de"]):
        assert preview(*arguments, EMAIL_TEMPLATES_DIR=str(folder)) == preview(*arguments)
    again = run_program(BASE_ENVIRONMENT, "mail", "templates", str(folder))
    assert again.returncode == 1 and str(folder) in again.stderr


def test_a_preview_is_in_the_requested_language(tmp_path: Path) -> None:
    assert "Subject: Passwort für Example zurücksetzen\n" in preview("--language", "de")
    assert run_program(BASE_ENVIRONMENT, "mail", "preview", "--language", "tlh").returncode == 64


def test_a_preview_writes_the_html_part_to_a_file(tmp_path: Path) -> None:
    preview("password_changed", "--html", str(tmp_path / "mail.html"))
    assert (tmp_path / "mail.html").read_text().startswith("<!DOCTYPE html>")
