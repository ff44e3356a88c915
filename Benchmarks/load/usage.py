"""The processor time and the memory of servers, from the kernel."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Memory:
    """Sizes in MiB."""

    resident: float
    anonymous: float
    peak: float


def memory(pid: int) -> Memory:
    status = Path(f"/proc/{pid}/status").read_text()

    def field(name: str) -> float:
        found = re.search(rf"{name}:\s+(\d+)", status)
        assert found, name
        return int(found[1]) / 1024

    return Memory(field("VmRSS"), field("RssAnon"), field("VmHWM"))


def processor_seconds(roots: Sequence[int]) -> float:
    """Returns the user and system time of processes and all their descendants, including those that have ended."""
    return sum(_ticks(pid) for root in roots for pid in _tree(root)) / TICKS_PER_SECOND


def _ticks(pid: int) -> int:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    # utime, stime, cutime and cstime are fields 14 to 17 of proc_pid_stat(5).
    return sum(map(int, fields[11:15]))


def _tree(root: int) -> list[int]:
    return [root, *(pid for child in _children(root) for pid in _tree(child))]


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for file in Path(f"/proc/{pid}/task").glob("*/children") for child in file.read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []
