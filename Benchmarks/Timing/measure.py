"""Runs the program Timing, on SQLite or with a PostgreSQL server, and exits with its status.

    measure.py PROGRAM FOLDER [--database postgresql] [--key uuid] [PAIRS]
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))
from postgresql import running_cluster  # noqa: E402


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="Benchmarks/run timing", description="Measures whether response times reveal which accounts exist.")
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite", help="the service's database (sqlite)")
    parser.add_argument("--key", choices=("integer", "uuid", "text"), default="integer", help="the kind of the users' keys (integer)")
    parser.add_argument("pairs", nargs="?", metavar="PAIRS", help="minimum number of pairs of requests, from 100 to 20000 (10000)")
    return parser.parse_args(sys.argv[3:])


def memory() -> str | None:
    """Returns a folder in memory, unless TMPDIR names another: commits then do not wait for the disk, whose speed varies."""
    return "/dev/shm" if "TMPDIR" not in os.environ and os.path.isdir("/dev/shm") else None


def main() -> int:
    options = parse_options()
    command = [*sys.argv[1:3], *([options.pairs] if options.pairs else [])]
    os.environ["TIMING_KEY"] = options.key
    # Exit normally, so that the server stops.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if options.database == "sqlite":
        return subprocess.run(command).returncode
    with tempfile.TemporaryDirectory(dir=memory(), prefix="password-reset-timing-") as folder:
        # PostgreSQL refuses to run as root, and another user must reach its data.
        os.chmod(folder, 0o711)
        with running_cluster(Path(folder) / "postgresql", shared_buffers="256MB") as cluster:
            return subprocess.run([*command, cluster.server_url]).returncode


if __name__ == "__main__":
    sys.exit(main())
