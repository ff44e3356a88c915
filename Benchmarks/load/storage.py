"""Runs the program of storage.c: how fast SQLite can write the rows of reset requests."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

PROGRAM = Path(__file__).parents[2] / ".build/benchmarks/storage"


@dataclass(frozen=True)
class StorageSample:
    round: int
    # The number of requests per commit.
    batch: int
    # Requests per second.
    rate: float


def storage_rate(database: Path, batch: int, seconds: int) -> float:
    """Returns the requests per second. They stay in `database`."""
    command = [str(PROGRAM), str(database), str(batch), str(seconds)]
    return float(subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True, timeout=seconds + 60).stdout)
