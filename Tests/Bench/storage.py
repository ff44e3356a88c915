"""What SQLite can do at best with what a reset request writes, by the program in storage.c."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

PROGRAM = Path(__file__).parents[2] / ".build/bench/storage"


@dataclass(frozen=True)
class StorageSample:
    round: int
    # How many requests share a commit.
    batch: int
    # Requests a second.
    rate: float


def storage_rate(database: Path, batch: int, seconds: int) -> float:
    """Requests a second on `database`, which keeps them."""
    command = [str(PROGRAM), str(database), str(batch), str(seconds)]
    return float(subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True, timeout=seconds + 60).stdout)
