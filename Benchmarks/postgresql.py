"""Starts a PostgreSQL server for a benchmark, with the help of the system tests."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import system_tests  # noqa: F401
from postgres import Cluster

SETTINGS = "benchmark.conf"


@dataclass
class BenchmarkCluster(Cluster):
    """A server on the loopback interface that syncs its disk, with PostgreSQL's default settings except for its memory."""

    shared_buffers: str = "1GB"

    def create(self) -> None:
        super().create()
        with (self.folder / "data/postgresql.conf").open("a") as file:
            file.write(f"include '{SETTINGS}'\n")

    def start(self) -> None:
        settings = {
            "port": self.port,
            # The path of a socket in this folder could be too long.
            "unix_socket_directories": "",
            "shared_buffers": self.shared_buffers,
            "fsync": "on",
            "synchronous_commit": "on",
        }
        text = "".join(f"{name} = '{value}'\n" for name, value in settings.items())
        (self.folder / "data" / SETTINGS).write_text(text)
        super().start()

    @property
    def server_url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}"


@contextmanager
def running_cluster(folder: Path, shared_buffers: str) -> Iterator[BenchmarkCluster]:
    """Runs a server within the block. Its data remains in `folder`, and a later run uses it again."""
    cluster = BenchmarkCluster(folder, shared_buffers=shared_buffers)
    if not (folder / "data" / SETTINGS).exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        cluster.create()
    cluster.start()
    try:
        yield cluster
    finally:
        cluster.stop()
