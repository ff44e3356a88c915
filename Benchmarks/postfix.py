"""Postfix's test programs: `smtp-sink`, which accepts every email and discards it, and its load generator `smtp-source`.

They are in Debian's package postfix. Postfix's daemon need not run.
"""

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import system_tests  # noqa: F401
from processes import free_port, running, wait_until

# More than any sender here opens.
SESSIONS = 1000


@dataclass(frozen=True)
class Sink:
    port: int
    log: Path

    def received(self) -> int:
        """Returns the number of emails so far. The program appends it to its output after each email."""
        with self.log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 200))
            counts = re.findall(rb"mesg=(\d+)\r", file.read())
        return int(counts[-1]) if counts else 0


@contextmanager
def sink(folder: Path) -> Iterator[Sink]:
    port = free_port()
    user = ["-u", "nobody"] if os.geteuid() == 0 else []
    log = folder / "sink.log"
    command = [program("smtp-sink"), *user, "-c", "-m", str(SESSIONS), f"127.0.0.1:{port}", str(SESSIONS)]
    with running(command, os.environ, log):
        wait_until(lambda: accepts(port), "smtp-sink to listen")
        yield Sink(port, log)


def accepts(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def source_rate(port: int, sessions: int, emails: int, size: int, *, keeps_connections: bool) -> float:
    """Returns how many emails of `size` bytes per second the load generator sends."""
    options = ["-d"] if keeps_connections else []
    command = [program("smtp-source"), *options, "-s", str(sessions), "-m", str(emails), "-l", str(size), f"127.0.0.1:{port}"]
    start = time.perf_counter()
    subprocess.run(command, check=True, timeout=300)
    return emails / (time.perf_counter() - start)


def program(name: str) -> str:
    found = shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin")
    if found is None:
        raise RuntimeError(f"{name} is missing; on Debian: apt-get install postfix")
    return found
