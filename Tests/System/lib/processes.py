"""Runs child processes of the tests, and waits for their effects."""

import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


def wait_until(condition: Callable[[], T | None], what: str, seconds: float = 60) -> T:
    """Evaluates `condition` until it is true, and returns its result. Fails when the time is up."""
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds:g} s in vain for {what}")
        time.sleep(0.02)
    return result


def settled(value: Callable[[], T], what: str, *, quiet: float, seconds: float = 60) -> T:
    """Evaluates `value` until it is true and has not changed for `quiet` seconds, and returns it. Fails when the time is up."""
    result, since = value(), time.monotonic()

    def is_settled() -> bool:
        nonlocal result, since
        if (latest := value()) != result or not latest:
            result, since = latest, time.monotonic()
        return time.monotonic() - since >= quiet

    wait_until(is_settled, what, seconds)
    return result


def free_port() -> int:
    """Returns a port on which no server listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@contextmanager
def running(command: Sequence[str], environment: Mapping[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Starts a child process with its output in `log`. It must end with the block, within ten seconds of SIGTERM."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"{command[0]} did not end within ten seconds of SIGTERM") from None
