"""`password-reset health`, as a container or a supervisor runs it."""

import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from outbox import connected
from processes import free_port, running, wait_until
from service import BASE_ENVIRONMENT, BINARY, Service, environment_of, run_program


def health(port: int, seconds: float = 10, **settings: str) -> subprocess.CompletedProcess[str]:
    return run_program(BASE_ENVIRONMENT | {"HTTP_PORT": str(port)} | settings, "health", seconds=seconds)


def test_the_exit_status_is_the_health_of_the_service(database: Path, serve: Callable[..., Service]) -> None:
    service = serve()
    for settings in ({}, {"HTTP_HOST": "0.0.0.0"}, {"HTTP_HOST": "127.0.0.1", "SECRET_KEY": "short", "EMAIL_TIMEOUT": "never"}):
        done = health(service.port, **settings)
        assert (done.returncode, done.stdout) == (0, "ready\n"), done.stderr
    with connected(database) as connection:
        connection.execute("ALTER TABLE password_reset_outbox RENAME TO taken_away")
    ill = health(service.port)
    assert ill.returncode == 1 and "503" in ill.stdout + ill.stderr
    with connected(database) as connection:
        connection.execute("ALTER TABLE taken_away RENAME TO password_reset_outbox")
    assert health(service.port).returncode == 0
    service.process.terminate()
    service.process.wait()
    dead = health(service.port)
    assert dead.returncode == 1 and dead.stdout + dead.stderr != ""


def test_an_asterisk_listens_on_all_addresses(database: Path, tmp_path: Path) -> None:
    port = free_port()
    environment = environment_of(database, HTTP_HOST="*", HTTP_PORT=str(port), ADMIN_HOST="*")
    with running([BINARY, "serve"], environment, tmp_path / "log"):
        wait_until(lambda: health(port, HTTP_HOST="*").returncode == 0, "the service to be ready")
        for host in ("127.0.0.1", "127.0.0.3", "localhost", "::1"):
            done = health(port, HTTP_HOST=host)
            assert (done.returncode, done.stdout) == (0, "ready\n"), done.stderr


def test_a_service_that_hangs_is_reported_in_time(serve: Callable[..., Service]) -> None:
    service = serve()
    service.process.send_signal(signal.SIGSTOP)
    try:
        start = time.monotonic()
        done = health(service.port)
        assert done.returncode == 1
        assert time.monotonic() - start < 5
    finally:
        service.process.send_signal(signal.SIGCONT)


@pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY", "ALL_PROXY"])
def test_the_health_command_ignores_proxies(name: str, serve: Callable[..., Service]) -> None:
    assert health(serve().port, **{name: "http://127.0.0.1:1"}).returncode == 0


def test_a_service_that_accepts_connections_but_does_not_answer_is_not_ready() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        done = health(silent.getsockname()[1])
    assert done.returncode == 1 and "Timeout was reached" in done.stderr


def test_the_health_command_reads_only_the_settings_of_the_listener() -> None:
    assert health(1, EMAIL_BACKEND="pigeon", SECRET_KEY="short").returncode == 1
    unknown = health(0)
    assert unknown.returncode == 1 and "HTTP_PORT is 0" in unknown.stderr
    wrong = run_program(BASE_ENVIRONMENT | {"HTTP_PORT": "x"}, "health")
    assert wrong.returncode == 78 and "HTTP_PORT" in wrong.stderr
