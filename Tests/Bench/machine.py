"""What the figures depend on beside the code."""

import importlib.metadata
import os
import platform
import re
import sqlite3
import subprocess
import time
from pathlib import Path

from load import WRK

ROOT = Path(__file__).parents[2]


def facts(folder: Path, binary: Path) -> dict[str, str]:
    """By name, in the order in which they are to be told."""
    versions = {name: importlib.metadata.version(name) for name in ("Django", "dj-rest-auth", "djangorestframework", "gunicorn")}
    return {
        "time": time.strftime("%Y-%m-%d %H:%M:%S %Z"),
        "cpu": cpu_model(),
        "cores": str(len(os.sched_getaffinity(0))),
        # At the start: what is not near 0 took its share of the figures.
        "load average": f"{os.getloadavg()[0]:.2f}",
        "kernel": platform.release(),
        "filesystem": said_by("findmnt", "--noheadings", "--output", "FSTYPE,SOURCE", "--target", str(folder)),
        "commit": said_by("git", "-C", str(ROOT), "describe", "--always", "--dirty", "--exclude", "*"),
        "binary": f"{binary}, {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(binary.stat().st_mtime))}",
        "wrk": said_by(WRK, "-v").split(" [")[0].removeprefix("wrk "),
        "sqlite": sqlite3.sqlite_version,
        "python": platform.python_version(),
    } | versions


def cpu_model() -> str:
    found = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    return found[1] if found else platform.machine()


def said_by(*command: str) -> str:
    """The first line of its output; `wrk -v` exits 1."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=30)
    return " ".join(done.stdout.partition("\n")[0].split())
