"""The Debian package contains what an operator needs, is the same each time it is built, and keeps the database.

It is built from the program under test. `make package-test` runs these tests with a release on a clean Debian 12.
"""

import configparser
import gzip
import hashlib
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

import pytest
import yaml
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from machine import Machine, as_root, machine
from paths import ROOT
from processes import free_port, running, wait_until
from service import BINARY

SETTINGS = "/etc/password-reset/password-reset.yaml"
DATABASE = "/var/lib/password-reset/password-reset.sqlite3"
ROOT_COMMANDS = {"PASSWORD_RESET_CONFIG": SETTINGS}
DOCUMENTS = "usr/share/doc/password-reset"
IS_DEBUG_BUILD = "/debug/" in str(Path(BINARY).resolve())


def run(*command: str | Path, **options: object) -> str:
    """Returns the output of a program, which must succeed."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=600, **options)  # type: ignore[call-overload]
    assert done.returncode == 0, done.stdout
    return str(done.stdout)


def build(binary: str | Path, folder: Path, umask: int = 0o022, **environment: str) -> Path:
    """Builds the package, without compression. A debug build loads Swift's libraries, which no Debian package has."""
    environment |= {"COMPRESSION": "none", "SHLIBDEPS": "--ignore-missing-info" if IS_DEBUG_BUILD else ""}
    run(ROOT / "deploy/debian/build", binary, folder, env=os.environ | environment, umask=umask)
    return next(folder.glob("*.deb"))


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(BINARY, tmp_path_factory.mktemp("package"))


@pytest.fixture(scope="module")
def files(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a folder with the files of the package."""
    folder = tmp_path_factory.mktemp("files")
    run("dpkg-deb", "--raw-extract", package, folder)
    return folder


def field(package: Path, name: str) -> str:
    return run("dpkg-deb", "--field", package, name).strip()


# What it contains


def test_the_package_has_the_program_its_unit_its_settings_and_their_documentation(files: Path) -> None:
    present = {str(path.relative_to(files)) for path in files.rglob("*") if path.is_file()}
    assert present >= {
        "usr/bin/password-reset",
        "lib/systemd/system/password-reset.service",
        "etc/password-reset/password-reset.yaml",
        "usr/share/man/man1/password-reset.1.gz",
        "usr/share/bash-completion/completions/password-reset",
        "usr/share/zsh/vendor-completions/_password-reset",
        "usr/share/fish/vendor_completions.d/password-reset.fish",
        *(f"{DOCUMENTS}/{name}" for name in ("NOTICE", "README.md", "changelog.gz", "copyright", "docs/configuration.md", "password-reset.cdx.json")),
    }
    assert (files / "DEBIAN/conffiles").read_text().split() == [SETTINGS]
    for name, target in {"password-reset.service": "lib/systemd/system", "password-reset.yaml": "etc/password-reset"}.items():
        assert (ROOT / "deploy" / name).read_bytes() == (files / target / name).read_bytes()


def test_the_version_of_the_package_begins_with_that_of_the_program(package: Path) -> None:
    release = run(BINARY, "--version").strip()
    assert re.fullmatch(re.escape(release) + r"([~+]git\d{8}\.[0-9a-f]{7,}(\.dirty)?)?-1", field(package, "Version"))


def test_lintian_has_no_objections(package: Path) -> None:
    # Only the package under test is not compressed. A debug build names the folder of Swift's libraries.
    suppressed = ["uses-no-compression-for-control-tarball", "uses-no-compression-for-data-tarball", "custom-library-search-path"]
    tags = suppressed if IS_DEBUG_BUILD else suppressed[:2]
    run("lintian", "--allow-root", "--fail-on=error,warning", f"--suppress-tags={','.join(tags)}", package)


def test_the_package_depends_on_the_libraries_that_the_program_loads(package: Path) -> None:
    dependencies = {dependency.split()[0] for dependency in field(package, "Depends").split(",")}
    libraries = {"libargon2-1", "libc6", "libcrypt1", "libcsv3", "libcurl4", "libglib2.0-0", "libgmime-3.0-0", "libpq5", "libsqlite3-0", "libstdc++6"}
    assert dependencies >= libraries | {"adduser", "ca-certificates", "tzdata"}
    # The image and the instructions name the same libraries.
    assert {name for name in re.findall(r" (lib[\w.+-]+)", instruction_of_the_image())} <= dependencies


def instruction_of_the_image() -> str:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    return next(line for line in lines if "--no-install-recommends ca-certificates" in line)


def test_the_manual_describes_every_command_and_option(files: Path, tmp_path: Path) -> None:
    page = tmp_path / "password-reset.1"
    page.write_bytes(gzip.decompress((files / "usr/share/man/man1/password-reset.1.gz").read_bytes()))
    assert run("mandoc", "-T", "lint", "-W", "warning", page) == ""
    shown = run("mandoc", "-T", "utf8", "-O", "width=200", page)
    shown = " ".join(re.sub(".\b", "", shown).split())
    commands = [json.loads(run(BINARY, "--experimental-dump-help"))["command"]]
    count = 0
    while commands:
        command = commands.pop()
        commands += [child for child in command.get("subcommands", []) if child["commandName"] != "help"]
        path = " ".join([*command.get("superCommands", [])[1:], command["commandName"]])
        assert path in shown
        for argument in command["arguments"]:
            for name in argument.get("names", []):
                assert name["name"] in shown
            assert " ".join(argument["abstract"].split()) in shown, (path, argument)
            count += 1
    assert count > 50


@pytest.mark.parametrize("shell,file", [("bash", "bash-completion/completions/password-reset"), ("zsh", "zsh/vendor-completions/_password-reset")])
def test_a_shell_accepts_its_completions(shell: str, file: str, files: Path) -> None:
    run(shell, "-n", files / "usr/share" / file)
    assert "send-test-email" in (files / "usr/share" / file).read_text()


def test_fish_accepts_its_completions(files: Path) -> None:
    run("fish", "--no-execute", files / "usr/share/fish/vendor_completions.d/password-reset.fish")


def test_the_list_of_components_is_valid_and_complete(files: Path) -> None:
    text = (files / DOCUMENTS / "password-reset.cdx.json").read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    components = {component["name"]: component for component in json.loads(text)["components"]}
    pins = {pin["location"].removesuffix(".git").rpartition("/")[2]: pin["state"]["version"] for pin in resolved_packages()}
    assert {name: components[name]["version"] for name in pins} == pins
    assert {"BoringSSL in swift-crypto", "BoringSSL in swift-nio-ssl", "ICU in Foundation", "Swift", "libc6", "libcurl4", "libpq5"} <= components.keys()
    assert all(component["version"] and component["licenses"] for component in components.values())
    copyright_text = (files / DOCUMENTS / "copyright").read_text()
    for name, component in components.items():
        if component["description"] == "linked into the program":
            assert f"Files: {name.replace(' ', '-')}/*\n" in copyright_text
    # Each license that a paragraph names has its text at the end.
    for license_name in re.findall(r"^Files: .*\nCopyright: .+\nLicense: (.*)$", copyright_text, re.MULTILINE):
        for part in license_name.split(" and "):
            assert f"\n\nLicense: {part}\n " in copyright_text


def resolved_packages() -> list[dict[str, object]]:
    return list(json.loads((ROOT / "Package.resolved").read_text())["pins"])


def test_the_same_program_gives_the_same_package(package: Path, tmp_path: Path) -> None:
    # Another path, modification time and mode.
    copy = tmp_path / "copy"
    shutil.copy(BINARY, copy)
    copy.chmod(0o700)
    second = build(copy, tmp_path, umask=0o027, TZ="Asia/Tokyo")
    assert second.name == package.name
    assert hashlib.sha256(second.read_bytes()).digest() == hashlib.sha256(package.read_bytes()).digest()


# What happens when it is installed


@pytest.fixture(scope="module")
def debian(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with machine(tmp_path_factory.mktemp("machine")) as debian:
        yield debian


def install(debian: Machine, package: Path) -> str:
    target = debian.path("/tmp/package.deb")
    subprocess.run([*as_root(), "cp", package, target], check=True)
    # Without a terminal, dpkg cannot ask whether to keep changed settings; keeping them is the default answer.
    dpkg_options = [f"--option=Dpkg::Options::=--{option}" for option in ("no-triggers", "force-confdef", "force-confold")]
    output = debian.run("apt-get", "install", "--yes", "--no-install-recommends", *dpkg_options, "/tmp/package.deb")
    subprocess.run([*as_root(), "rm", target], check=True)
    return output


def next_version(files: Path, folder: Path) -> Path:
    """Returns the package with a later version and changed example settings."""
    tree = folder / "tree"
    shutil.copytree(files, tree)
    control = tree / "DEBIAN/control"
    control.write_text(re.sub(r"^Version: .*$", "Version: 99.0-1", control.read_text(), flags=re.MULTILINE))
    with (tree / SETTINGS[1:]).open("a") as settings:
        settings.write("# A later release.\n")
    run("dpkg-deb", "--root-owner-group", "-Znone", "--build", tree, folder / "next.deb")
    return folder / "next.deb"


@contextmanager
def unit_running(debian: Machine, folder: Path, port: int) -> Iterator[None]:
    """Runs the program as its unit says, because systemd does not run in a folder: command, user, environment and credentials."""
    unit = configparser.RawConfigParser(strict=False, delimiters="=")
    text = debian.path("/lib/systemd/system/password-reset.service").read_text()
    unit.read_string(text)
    service = unit["Service"]
    user = service["User"]
    for name, source in re.findall(r"^LoadCredential=(.*):(.*)$", text, re.MULTILINE):
        debian.run("install", "-D", f"--owner={user}", "--mode=0400", source, f"/tmp/credentials/{name}")
    environment = dict(line.split("=", 1) for line in re.findall(r"^Environment=(.*)$", text, re.MULTILINE))
    environment = {name: value.replace("%d", "/tmp/credentials") for name, value in environment.items()}
    directory = service["WorkingDirectory"].replace("%S", "/var/lib")
    start = ["sh", "-c", f"cd {directory} && umask {service['UMask']} && exec {service['ExecStart']}"]
    with running(debian.command(*start, user=user, environment=environment), os.environ, folder / "log"):
        wait_until(lambda: status_of(port), "the service to be ready")
        yield


def status_of(port: int) -> bool:
    try:
        return request(port, "GET", "/health/ready")[0] == 200
    except OSError:
        return False


def request(port: int, method: str, path: str, body: object = None) -> tuple[int, bytes]:
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path, json.dumps(body) if body else None, {"Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def edit_settings(debian: Machine, port: int, admin_port: int) -> None:
    """Edits the one file that an operator must edit: emails go to a folder, without a mail server."""
    settings = yaml.safe_load(debian.path(SETTINGS).read_text())
    for name in [name for name in settings if name.startswith("EMAIL_HOST") or name in ("EMAIL_PORT", "EMAIL_USE_TLS")]:
        del settings[name]
    folder = "/var/lib/password-reset/mail"
    settings |= {"EMAIL_BACKEND": "file", "EMAIL_FILE_PATH": folder, "HTTP_PORT": port, "ADMIN_PORT": admin_port, "PASSWORD_HASHER_OPTIONS": "iterations=10"}
    debian.run("sh", "-c", f"cat > {SETTINGS}", text=yaml.safe_dump(settings))


def emails(debian: Machine) -> str:
    return debian.run("find", "/var/lib/password-reset", "-path", "*/mail/*", "-exec", "cat", "{}", "+")


def test_the_package_is_installed_used_upgraded_and_removed_without_loss_of_the_database(
    debian: Machine, package: Path, files: Path, tmp_path: Path
) -> None:
    port, admin_port = free_port(), free_port()

    output = install(debian, package)
    assert f"Edit {SETTINGS}, then run: systemctl enable --now password-reset" in output
    assert not debian.path("/etc/systemd/system/multi-user.target.wants/password-reset.service").is_symlink()
    assert debian.run("stat", "--format=%U %a", "/var/lib/password-reset").strip() == "password-reset 700"
    secrets = "/etc/password-reset/secret-key", "/etc/password-reset/smtp-password"
    assert debian.run("stat", "--format=%U:%G %a %s", *secrets).splitlines() == ["root:root 600 64", "root:root 600 0"]
    secret_key = debian.run("cat", secrets[0])
    assert debian.run("password-reset", "--version") == run(BINARY, "--version")
    assert debian.run("ldd", "/usr/bin/password-reset").count("not found") == 0

    edit_settings(debian, port, admin_port)
    with unit_running(debian, tmp_path, port):
        add = ["password-reset", "users", "add", "alice", "--email", "alice@example.com", "--password-stdin"]
        debian.run(*add, text="before-the-reset-7", environment=ROOT_COMMANDS)
        assert request(port, "POST", "/password-reset", {"email": "alice@example.com"})[0] == 202
        link = wait_until(lambda: re.search(r"https://example\.com/reset#(\S+/\S+)", emails(debian)), "the email")[1]
        assert json.loads(request(port, "GET", f"/password-reset/{link}")[1])["validlink"] is True
        new = {"new_password1": "correct-horse-9", "new_password2": "correct-horse-9"}
        assert request(port, "POST", f"/password-reset/{link}", new)[0] == 200
    assert debian.run("stat", "--format=%U %a", DATABASE).strip() == "password-reset 600"

    check = ["password-reset", "users", "check-password", "alice", "--password-stdin"]
    settings = debian.path(SETTINGS).read_text()
    install(debian, next_version(files, tmp_path))
    assert "99.0-1" in debian.run("dpkg-query", "--show", "password-reset")
    assert (debian.path(SETTINGS).read_text(), debian.run("cat", secrets[0])) == (settings, secret_key)
    debian.run(*check, text="correct-horse-9", environment=ROOT_COMMANDS)

    debian.run("apt-get", "remove", "--yes", "password-reset")
    assert (debian.path(SETTINGS).read_text(), debian.run("cat", secrets[0])) == (settings, secret_key)
    database = debian.run("sha256sum", DATABASE)

    output = debian.run("apt-get", "purge", "--yes", "password-reset")
    assert "The database stays in /var/lib/password-reset." in output
    assert debian.run("sha256sum", DATABASE) == database
    assert not debian.path("/etc/password-reset").exists()

    install(debian, package)
    edit_settings(debian, port, admin_port)
    with unit_running(debian, tmp_path, port):
        debian.run(*check, text="correct-horse-9", environment=ROOT_COMMANDS)
