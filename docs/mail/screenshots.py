"""Takes the screenshots in this directory.

    PASSWORD_RESET=password-reset python3 docs/mail/screenshots.py

Needs Chromium (CHROMIUM, by default /usr/bin/chromium), Debian's fonts-noto-core and fonts-noto-cjk, and playwright
from PyPI. Where pngquant is installed, it makes the files smaller.
"""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

WIDTHS = {"narrow": 360, "wide": 900}

SHOTS = [
    ("password_reset", "en", "narrow", "light"),
    ("password_reset", "en", "narrow", "dark"),
    ("password_reset", "en", "wide", "light"),
    ("password_reset", "en", "wide", "dark"),
    ("password_reset", "ar", "narrow", "light"),
    ("password_reset", "ar", "wide", "light"),
    ("password_reset", "ja", "narrow", "light"),
    ("password_changed", "en", "wide", "light"),
]


def preview(kind: str, language: str, file: Path) -> None:
    command = [os.environ.get("PASSWORD_RESET", "password-reset"), "mail", "preview", kind]
    subprocess.run([*command, "--language", language, "--html", str(file)], check=True, stdout=subprocess.DEVNULL)


def main() -> None:
    here = Path(__file__).resolve().parent
    with tempfile.TemporaryDirectory() as directory, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=os.environ.get("CHROMIUM", "/usr/bin/chromium"), args=["--no-sandbox"]
        )
        for kind, language, size, scheme in SHOTS:
            mail = Path(directory, f"{kind}-{language}.html")
            if not mail.exists():
                preview(kind, language, mail)
            page = browser.new_page(
                viewport={"width": WIDTHS[size], "height": 100}, device_scale_factor=1, color_scheme=scheme
            )
            page.goto(mail.as_uri())
            image = here / f"{kind}-{language}-{size}-{scheme}.png"
            page.screenshot(path=image, full_page=True)
            page.close()
            if shutil.which("pngquant"):
                subprocess.run(["pngquant", "--force", "--ext", ".png", "--strip", str(image)], check=True)
            print(image.name, image.stat().st_size)
        browser.close()


if __name__ == "__main__":
    main()
