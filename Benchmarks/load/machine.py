"""Facts about the machine that affect the results."""

import importlib.metadata
import os
import platform
import re
import subprocess
import time
from pathlib import Path

from databases import Databases
from load import WRK

ROOT = Path(__file__).parents[2]


def facts(folder: Path, binary: Path, compared: Path | None, databases: Databases) -> dict[str, str]:
    """Returns the facts in the order of the report."""
    versions = {name: importlib.metadata.version(name) for name in ("Django", "dj-rest-auth", "djangorestframework", "gunicorn")}
    return {
        "time": time.strftime("%Y-%m-%d %H:%M:%S %Z"),
        "cpu": cpu_model(),
        "cores": str(len(os.sched_getaffinity(0))),
        # At the start. If it is not near 0, other programs affected the results.
        "load average": f"{os.getloadavg()[0]:.2f}",
        "kernel": platform.release(),
        "filesystem": first_line_of("findmnt", "--noheadings", "--output", "FSTYPE,SOURCE", "--target", str(folder)),
        "commit": first_line_of("git", "-C", str(ROOT), "describe", "--always", "--dirty", "--exclude", "*"),
        "binary": described(binary),
        "wrk": first_line_of(WRK, "-v").split(" [")[0].removeprefix("wrk "),
        "python": platform.python_version(),
    } | ({"compared with": described(compared)} if compared else {}) | databases.versions() | versions


def described(binary: Path) -> str:
    return f"{binary}, {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(binary.stat().st_mtime))}"


def cpu_model() -> str:
    found = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    return found[1] if found else platform.machine()


def first_line_of(*command: str) -> str:
    """Returns the first line of a command's output. The exit status is not checked, because `wrk -v` exits with 1."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=30)
    return " ".join(done.stdout.partition("\n")[0].split())
