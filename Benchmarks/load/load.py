"""Runs a load with Debian's load generator `wrk`, on this machine and for a limited time."""

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

WRK = "/usr/bin/wrk"
SCRIPT = Path(__file__).with_name("load.lua")
THREADS = 2
MILLISECONDS = {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0, "h": 3_600_000.0}


@dataclass(frozen=True)
class Result:
    # The number of responses.
    count: int
    # Responses per second.
    rate: float
    # Milliseconds.
    p50: float
    p99: float
    # Responses with an error status, and broken connections.
    failed: int


def run_load(ports: Sequence[int], requests: Sequence[str], connections: int, seconds: int, folder: Path) -> Result:
    """Sends the requests ("METHOD path body") repeatedly. The ports share the connections."""
    shares = [share for share in split(connections, len(ports)) if share]
    threads = 1 if connections == 1 else max(1, THREADS // len(shares))
    processes = []
    try:
        for index, (port, share) in enumerate(zip(ports, shares)):
            file = folder / f"requests-{index}.txt"
            file.write_text("".join(f"{line}\n" for line in requests[index :: len(shares)]), encoding="utf-8")
            processes.append(start(port, file, min(threads, share), share, seconds))
        outputs = [process.communicate(timeout=seconds + 60)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    return combine([parse(output) for output in outputs])


def split(total: int, parts: int) -> list[int]:
    return [total // parts + (index < total % parts) for index in range(parts)]


def start(port: int, file: Path, threads: int, connections: int, seconds: int) -> subprocess.Popen[str]:
    command = [WRK, f"-t{threads}", f"-c{connections}", f"-d{seconds}s", "--timeout", "30s", "--latency", "-s", str(SCRIPT)]
    return subprocess.Popen(
        [*command, f"http://127.0.0.1:{port}", "--", str(file), str(threads)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def parse(output: str) -> Result:
    rate, count = re.search(r"Requests/sec:\s+([0-9.]+)", output), re.search(r"(\d+) requests in ", output)
    p50, p99 = percentile(output, 50), percentile(output, 99)
    if rate is None or count is None or p50 is None or p99 is None:
        raise RuntimeError(f"the output of wrk has an unknown format:\n{output}")
    errors = re.search(r"Non-2xx or 3xx responses: (\d+)", output)
    broken = sum(int(count) for count in re.findall(r"(?:connect|read|write|timeout) (\d+)", output))
    return Result(int(count[1]), float(rate[1]), p50, p99, broken + (int(errors[1]) if errors else 0))


def percentile(output: str, percent: int) -> float | None:
    found = re.search(rf"^\s+{percent}%\s+([0-9.]+)([a-z]+)\s*$", output, re.MULTILINE)
    return float(found[1]) * MILLISECONDS[found[2]] if found else None


def combine(results: Sequence[Result]) -> Result:
    """Combines the results of several ports, with the worst percentiles."""
    return Result(
        count=sum(result.count for result in results),
        rate=sum(result.rate for result in results),
        p50=max(result.p50 for result in results),
        p99=max(result.p99 for result in results),
        failed=sum(result.failed for result in results),
    )
