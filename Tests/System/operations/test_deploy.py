"""The programs that read the files in deploy/ accept them; these files and the Dockerfile name only things that exist.
"""

import json
import re
import shutil
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPSConnection
from pathlib import Path
from typing import Any

import pytest
import yaml

from certificates import Authority
from django_site import add_user, link_for
from metrics import SUFFIX, scrape
from paths import ROOT
from processes import free_port, running, wait_until
from service import BASE_ENVIRONMENT, BINARY, Service

DEPLOY = ROOT / "deploy"
UNIT = DEPLOY / "password-reset.service"
ALERTS = DEPLOY / "prometheus/alerts.yaml"

# The Debian package of each validator.
PACKAGES = {
    "docker-compose": "docker-compose",
    "nginx": "nginx-light",
    "promtool": "prometheus",
    "systemd-analyze": "systemd",
}


def validate(program: str, *arguments: str | Path, folder: Path = DEPLOY) -> str:
    """Returns the output of the validator, which must accept its input."""
    done = subprocess.run(
        [path_of(program), *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def path_of(program: str) -> str:
    """Returns the path of the program. A missing program is a failure, because unchecked files become wrong."""
    path = shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin")
    if not path:
        pytest.fail(f"{program} is missing; on Debian: apt-get install {PACKAGES[program]}")
    return path


def adapted(text: str, replacements: dict[str, str]) -> str:
    """Returns an example in which names of this machine replace the given ones, each of which it must contain."""
    for old, new in replacements.items():
        assert old in text, f"there is no {old}"
        text = text.replace(old, new)
    return text


@pytest.fixture(scope="session")
def settings() -> set[str]:
    """Returns the settings that docs/configuration.md lists, with the `_FILE` of each secret."""
    rows = re.findall(r"^\| `([A-Z_]+)` \| ([^|]*) \|", (ROOT / "docs/configuration.md").read_text(), re.MULTILINE)
    assert len(rows) > 40
    return {name for name, _ in rows} | {f"{name}_FILE" for name, default in rows if "*" in default}


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    """Returns a folder with the secrets that the examples name."""
    folder = tmp_path / "secrets"
    folder.mkdir(mode=0o700)
    for name in ("secret-key", "smtp-password"):
        file = folder / name
        file.touch(mode=0o600)
        file.write_text("correct-horse-battery-staple-71-of-these-tests-alone\n")
    return folder


def check(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Returns the service's findings about its configuration."""
    command = [BINARY, "check"]
    return subprocess.run(
        command, env=BASE_ENVIRONMENT | environment, capture_output=True, text=True, timeout=60, check=False
    )


# Dockerfile


def instructions(name: str) -> list[str]:
    """Returns the arguments of each such instruction of the Dockerfile, with continued lines joined."""
    text = re.sub(r"\\\n", " ", re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE))
    return re.findall(rf"^{name} +(.+)$", text, re.MULTILINE)


def make_variable(name: str) -> list[str]:
    match = re.search(rf"^{name} *:= *(.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert match
    return match[1].split()


def test_the_image_is_built_with_the_libraries_of_the_makefile() -> None:
    installed = set(instructions("RUN")[0].split())
    # The Swift image has a compiler and certificates.
    needed = {package for package in make_variable("PACKAGES") if package.endswith("-dev") or package == "pkg-config"}
    assert needed and needed <= installed


def test_the_image_copies_only_files_that_exist() -> None:
    copied = [path for line in instructions("COPY") if "--from" not in line for path in line.split()[:-1]]
    assert [path for path in copied if not (ROOT / path).exists()] == []
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert {path.partition("/")[0] for path in copied} == allowed


def test_the_image_builds_the_product_of_the_package() -> None:
    flags = next(line for line in instructions("ENV") if "SWIFT_FLAGS" in line)
    product = re.search(r"--product ([\w-]+)", flags)
    assert product and f'.executable(name: "{product[1]}"' in (ROOT / "Package.swift").read_text()
    assert " ".join(make_variable("SWIFT_FLAGS")) in flags
    entry = json.loads(instructions("ENTRYPOINT")[0])
    assert entry == [product[1]] and any(line.endswith(f"/usr/local/bin/{product[1]}") for line in instructions("COPY"))


def test_the_toolchain_of_the_image_can_build_the_package() -> None:
    tools = re.match(r"// swift-tools-version: (\d+)\.(\d+)", (ROOT / "Package.swift").read_text())
    image = re.search(r"BUILD_IMAGE=swift:(\d+)\.(\d+)", " ".join(instructions("ARG")))
    assert tools and image
    assert tuple(map(int, image.groups())) >= tuple(map(int, tools.groups()))


def test_the_image_runs_only_commands_that_exist() -> None:
    health = json.loads(instructions("HEALTHCHECK")[0].partition("CMD ")[2])
    program, *arguments = [*json.loads(instructions("ENTRYPOINT")[0]), *json.loads(instructions("CMD")[0])]
    assert health[0] == program
    for command in (health[1:], arguments):
        assert subprocess.run([BINARY, *command, "--help"], env=BASE_ENVIRONMENT, capture_output=True).returncode == 0


def test_the_image_names_only_settings_that_exist(settings: set[str]) -> None:
    names = set(re.findall(r"(\w+)=", instructions("ENV")[-1])) - {"PATH"}
    assert names and names - settings == set()


# compose.yaml and compose.postgresql.yaml

COMPOSE_FILES = ["compose.yaml", "compose.postgresql.yaml"]
compose_files = pytest.mark.parametrize("file", COMPOSE_FILES)


def compose_services(file: str) -> dict[str, Any]:
    """Returns the services of a Compose file, with their settings."""
    return dict(yaml.safe_load((DEPLOY / file).read_text())["services"])


@compose_files
def test_docker_compose_accepts_its_file(file: str) -> None:
    validate("docker-compose", "--file", file, "config", "--quiet")


@compose_files
def test_the_compose_file_runs_an_init_process(file: str) -> None:
    assert all(service["init"] is True for service in compose_services(file).values())


@compose_files
def test_the_compose_file_names_only_settings_and_commands_that_exist(file: str, settings: set[str]) -> None:
    for service in compose_services(file).values():
        assert service["environment"].keys() - settings == set()
        health = service.get("healthcheck", {"test": ["CMD", "password-reset", "health"]})["test"]
        for command in (service.get("command", ["serve"]), health[2:]):
            assert subprocess.run([BINARY, *command, "--help"], env=BASE_ENVIRONMENT, capture_output=True, check=False).returncode == 0


@compose_files
def test_the_service_accepts_the_settings_of_the_compose_file(file: str, secrets: Path, tmp_path: Path) -> None:
    for service in compose_services(file).values():
        environment = {name: text.replace("/run/secrets", str(secrets)) for name, text in service["environment"].items()}
        names = {Path(path).name for name, path in environment.items() if name.endswith("_FILE")}
        assert names == set(service["secrets"])
        # `check` would connect to the database of the example.
        environment |= {"DATABASE_URL": f"sqlite:{tmp_path}/password-reset.sqlite3", "DATABASE_PASSWORD_FILE": ""}
        done = check({name: text for name, text in environment.items() if text})
        assert done.returncode == 0, done.stdout + done.stderr


# password-reset.service and password-reset.yaml


def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / UNIT.name
    unit.write_text(adapted(UNIT.read_text(), {"/usr/bin/password-reset": BINARY}))
    # An unknown key is only a warning.
    assert validate("systemd-analyze", "verify", "--man=no", unit) == ""


def test_the_unit_is_exposed_no_more_than_necessary() -> None:
    # 1.5 of 10; the network itself accounts for half a point.
    validate("systemd-analyze", "security", "--offline=true", "--threshold=15", UNIT)


def test_systemd_does_not_restart_the_unit_after_a_wrong_configuration() -> None:
    statuses = re.findall(r"^RestartPreventExitStatus=(.*)$", UNIT.read_text(), re.MULTILINE)
    assert [status.split() for status in statuses] == [["64", "78"]]


def test_the_unit_and_its_configuration_file_name_only_settings_that_exist(settings: set[str]) -> None:
    names = set(re.findall(r"^Environment=(\w+)=", UNIT.read_text(), re.MULTILINE))
    example = yaml.safe_load((DEPLOY / "password-reset.yaml").read_text())
    assert names and example
    assert (names | set(example)) - settings == set()


def test_the_service_accepts_the_configuration_file(secrets: Path, tmp_path: Path) -> None:
    file = tmp_path / "password-reset.yaml"
    file.write_text(
        adapted(
            (DEPLOY / file.name).read_text(),
            {"/var/lib/password-reset/": f"{tmp_path}/", "/etc/password-reset/": f"{secrets}/"},
        )
    )
    done = check({"PASSWORD_RESET_CONFIG": str(file)})
    assert done.returncode == 0, done.stdout + done.stderr


# nginx.conf


@dataclass(frozen=True)
class Proxy:
    """nginx with deploy/nginx.conf, in front of a service."""

    folder: Path
    port: int
    authority: Authority

    @property
    def configuration(self) -> Path:
        return self.folder / "main.conf"

    def prepare(self, upstream: int) -> None:
        pair = str(self.authority.issue("localhost"))
        (self.folder / "password-reset.conf").write_text(
            adapted(
                (DEPLOY / "nginx.conf").read_text(),
                {
                    "127.0.0.1:8080": f"127.0.0.1:{upstream}",
                    "listen 443 ": f"listen 127.0.0.1:{self.port} ",
                    "listen [::]:443 ssl http2;": "",
                    "/etc/ssl/reset.example.com/fullchain.pem": pair,
                    "/etc/ssl/reset.example.com/privkey.pem": pair,
                    "/var/log/nginx": str(self.folder),
                },
            )
        )
        folders = "".join(
            f"{name}_temp_path {self.folder / name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        self.configuration.write_text(f"""
            daemon off;
            master_process off;
            pid {self.folder}/nginx.pid;
            error_log {self.folder}/error.log info;
            events {{}}
            http {{
                {folders}
                include {self.folder}/password-reset.conf;
            }}
            """)

    @property
    def arguments(self) -> list[str]:
        return ["-p", str(self.folder), "-e", str(self.folder / "error.log"), "-c", str(self.configuration)]

    def ask(self, method: str, path: str, body: str | None = None, **headers: str) -> tuple[int, dict[str, str]]:
        """Returns the status and the headers of the response."""
        return self.response(method, path, body, **headers)[:2]

    def response(
        self, method: str, path: str, body: str | None = None, **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        """Returns the status, the headers and the body of the response."""
        context = ssl.create_default_context(cafile=self.authority.file)
        connection = HTTPSConnection("localhost", self.port, context=context, timeout=30)
        try:
            content = {"Content-Type": "application/json"} if body is not None else {}
            connection.request(
                method, path, body, content | {name.replace("_", "-"): headers[name] for name in headers}
            )
            response = connection.getresponse()
            return response.status, dict(response.headers), response.read()
        finally:
            connection.close()

    @property
    def is_listening(self) -> bool:
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", self.port)) == 0

    @property
    def statuses(self) -> list[str]:
        """Returns the statuses in the access log."""
        return [line.split(" ")[3] for line in (self.folder / "password-reset.access.log").read_text().splitlines()]


@pytest.fixture
def proxy(tmp_path: Path, authority: Authority) -> Proxy:
    (tmp_path / "nginx").mkdir()
    return Proxy(tmp_path / "nginx", free_port(), authority)


@contextmanager
def serving_through(proxy: Proxy, upstream: int) -> Iterator[None]:
    proxy.prepare(upstream)
    command = [path_of("nginx"), *proxy.arguments]
    with running(command, {}, proxy.folder / "output"):
        wait_until(lambda: proxy.is_listening, "nginx to listen")
        yield


def test_nginx_accepts_its_file(proxy: Proxy) -> None:
    proxy.prepare(upstream=8080)
    assert "[warn]" not in validate("nginx", "-t", *proxy.arguments)


def test_no_log_of_nginx_contains_a_token(proxy: Proxy, database: Path, serve: Callable[..., Service]) -> None:
    link = link_for(add_user("alice", "alice@example.com"))
    path = f"/password-reset/{link.uid}/{link.token}"
    service = serve(TRUSTED_PROXIES="127.0.0.1")
    with serving_through(proxy, service.port):
        assert proxy.ask("GET", path)[0] == 200
        assert proxy.ask("GET", "/", Referer=f"https://reset.example.com{path}")[0] == 404
        service.kill()
        assert proxy.ask("GET", path)[0] == 503
        wait_until(lambda: proxy.statuses == ["200", "404", "503"], "the requests to be in the log")
    for file in proxy.folder.glob("*"):
        assert file.is_dir() or link.token not in file.read_text()


def test_a_client_behind_nginx_cannot_impersonate_others(proxy: Proxy, serve: Callable[..., Service]) -> None:
    service = serve(TRUSTED_PROXIES="127.0.0.1", RATE_LIMIT_REQUESTS="2/h")
    body = '{"email": "alice@example.com"}'
    with serving_through(proxy, service.port):
        addresses = ["192.0.2.1", "192.0.2.2", "192.0.2.3"]
        statuses = [proxy.ask("POST", "/password-reset", body, X_Forwarded_For=address)[0] for address in addresses]
    assert statuses == [202, 202, 429]


def test_nginx_passes_the_largest_body_that_the_service_accepts(
    proxy: Proxy, serve: Callable[..., Service]
) -> None:
    service = serve(TRUSTED_PROXIES="127.0.0.1")
    largest = '{"email": "alice@example.com"}'.ljust(16 * 1024)
    with serving_through(proxy, service.port):
        assert proxy.ask("POST", "/password-reset", largest)[0] == 202
        status, _, body = proxy.response("POST", "/password-reset", largest + " ")
    assert (status, json.loads(body)["code"]) == (413, "payload_too_large")


def test_nginx_answers_for_a_service_that_is_away_with_a_problem_document(proxy: Proxy) -> None:
    with serving_through(proxy, free_port()):
        status, headers, body = proxy.response("GET", "/password-reset/MQ/x-y")
    assert (status, headers["Retry-After"], headers["Content-Type"]) == (503, "5", "application/problem+json")
    assert headers["Strict-Transport-Security"] == "max-age=31536000"
    problem = json.loads(body)
    assert (problem["status"], problem["code"]) == (503, "unavailable")
    assert re.fullmatch("[0-9a-f]{32}", problem["request_id"])


def test_cookies_of_the_site_do_not_reach_the_service(proxy: Proxy, serve: Callable[..., Service]) -> None:
    service = serve(TRUSTED_PROXIES="127.0.0.1")
    with serving_through(proxy, service.port):
        assert proxy.ask("GET", "/health/live", Cookie="a=" + 7000 * "x")[0] == 200


def test_responses_through_nginx_keep_their_headers(proxy: Proxy, serve: Callable[..., Service]) -> None:
    service = serve(TRUSTED_PROXIES="127.0.0.1")
    with serving_through(proxy, service.port):
        _, headers = proxy.ask("POST", "/password-reset", '{"email": "alice@example.com"}')
    assert headers["Strict-Transport-Security"] == "max-age=31536000"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cache-Control"] == "no-store"


# prometheus/


def test_prometheus_accepts_the_alerts() -> None:
    validate("promtool", "check", "rules", ALERTS)


def test_prometheus_accepts_the_scrape_example() -> None:
    validate("promtool", "check", "config", DEPLOY / "prometheus/scrape.yaml")


def test_each_alert_fires_only_when_it_should() -> None:
    tests = DEPLOY / "prometheus/alerts_test.yaml"
    validate("promtool", "test", "rules", tests, folder=tests.parent)
    # promtool ignores an alert without a test.
    tested = set(re.findall(r'{alertname="(\w+)"', tests.read_text()))
    assert tested == {rule["alert"] for rule in alerts()}


def test_each_alert_says_what_to_do() -> None:
    for rule in alerts():
        assert rule["labels"].keys() == {"severity"} and rule["labels"]["severity"] in {"page", "ticket"}
        assert rule["annotations"].keys() == {"summary", "description", "action"}, rule["alert"]


def test_the_alerts_name_only_metrics_that_exist(serve: Callable[..., Service]) -> None:
    # Prometheus itself creates `up`; the series of a histogram are named after it.
    named = {
        SUFFIX.sub("", name)
        for rule in alerts()
        for name in re.findall(r"\b(?:password_reset|process)_\w+", rule["expr"])
    }
    service = serve()
    # The counters of requests exist from the first request on.
    assert service.request_reset(email="alice@example.com").status == 202
    assert named and named - scrape(service).types.keys() == set()


def alerts() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load(ALERTS.read_text())["groups"]
    return list(group["rules"])
