"""Measures password hashing in the release build: each hasher compared with Python's, and 500 resets at the same time.

    make bench-passwords
"""

import http.client
import json
import os
import re
import resource
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import system_tests  # noqa: F401
from django.contrib.auth.hashers import (
    Argon2PasswordHasher,
    BCryptPasswordHasher,
    BCryptSHA256PasswordHasher,
    PBKDF2PasswordHasher,
    PBKDF2SHA1PasswordHasher,
    ScryptPasswordHasher,
)

from django_site import add_user, link_for, migrate, on_database
from hash_costs import compare_argon2, compare_pbkdf2
from service import BINARY, Link, Service, command, serving

ROUNDS = 5
LINKS = 500
PASSWORD = "a-Fine-pass-77"
BARE_SERVER = Path(BINARY).with_name("BareServer")


def python_time(hasher: object) -> float:
    times = []
    for _ in range(5):
        start = time.perf_counter()
        hasher.encode(PASSWORD, hasher.salt())
        times.append(time.perf_counter() - start)
    return statistics.median(times)


class SixOnePBKDF2(PBKDF2PasswordHasher):
    """Has the service's default cost, regardless of Django's release."""

    iterations = 1_500_000


class SixOnePBKDF2SHA1(PBKDF2SHA1PasswordHasher):
    iterations = 1_500_000


def hash_time(algorithm: str) -> float:
    return float(subprocess.check_output([BARE_SERVER, "hash", algorithm]))


def compare_hashers() -> None:
    print(f"medians of {ROUNDS} rounds, each the median of five hashes, in milliseconds; Python uses hashlib, argon2-cffi and bcrypt")
    print(f"{'hasher':16}{'service':>10}{'Python':>10}{'ratio':>8}")
    kinds = [SixOnePBKDF2, SixOnePBKDF2SHA1, Argon2PasswordHasher, ScryptPasswordHasher, BCryptSHA256PasswordHasher, BCryptPasswordHasher]
    for kind in kinds:
        ours, theirs = [], []
        for _ in range(ROUNDS):
            ours.append(hash_time(kind.algorithm))
            theirs.append(python_time(kind()))
        ours_median, theirs_median = statistics.median(ours), statistics.median(theirs)
        print(f"{kind.algorithm:16}{ours_median * 1000:10.1f}{theirs_median * 1000:10.1f}{ours_median / theirs_median:8.2f}")


def resident(pid: int) -> float:
    """Returns the resident memory of a process in MiB."""
    return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) / 1024


def confirm_all(service: Service, links: list[Link]) -> list[tuple[float, int]]:
    """Sets all passwords at the same time on separate connections. Returns when each response came, and its status."""
    replies: list[tuple[float, int]] = [(0, 0)] * len(links)
    barrier = threading.Barrier(len(links))

    def confirm(index: int) -> None:
        body = json.dumps({"new_password1": PASSWORD, "new_password2": PASSWORD})
        connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=300)
        connection.connect()
        barrier.wait()
        connection.request("POST", f"/password-reset/{links[index].uid}/{links[index].token}", body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        replies[index] = (time.perf_counter(), response.status)
        connection.close()

    threads = [threading.Thread(target=confirm, args=[index]) for index in range(len(links))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return replies


@contextmanager
def service_with_links(algorithm: str, count: int) -> Iterator[tuple[Service, list[Link]]]:
    with tempfile.TemporaryDirectory() as name:
        folder, database = Path(name), Path(name) / "db.sqlite3"
        with on_database(database):
            migrate()
            links = [link_for(add_user(f"user{index}", f"user{index}@example.com")) for index in range(count)]
        with serving(database, folder, PASSWORD_HASHER=algorithm) as service:
            service.check_link(links[0])
            yield service, links


def throughput(algorithm: str) -> None:
    """Measures as many resets as the hashing queue accepts, without other requests."""
    cores = len(os.sched_getaffinity(0))
    with service_with_links(algorithm, 32 * cores) as (service, links):
        replies = confirm_all(service, links)
    assert all(status == 200 for _, status in replies)
    # Count from the first response, because starting the clients also uses the cores.
    finished = sorted(at for at, _ in replies)
    rate = (len(finished) - 1) / (finished[-1] - finished[0])
    # One argon2 hash keeps every core busy, because it uses eight threads.
    concurrency = 1 if algorithm == "argon2" else cores
    bound = concurrency / hash_time(algorithm)
    limit = f"upper bound {bound:.1f}/s ({concurrency} hashes at the same time / time of one hash)"
    print(f"{algorithm}: {rate:.1f} resets/s; {limit}; ratio {rate / bound:.2f}")


def overload(algorithm: str) -> None:
    with service_with_links(algorithm, LINKS) as (service, links):
        pid = int(subprocess.check_output(["pgrep", "-nf", f"^{BINARY} serve"]))
        before, highest, health = resident(pid), 0.0, []
        done = threading.Event()

        def watch() -> None:
            nonlocal highest
            connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=300)
            while not done.wait(0.02):
                start = time.perf_counter()
                connection.request("GET", "/health/live")
                connection.getresponse().read()
                health.append(time.perf_counter() - start)
                highest = max(highest, resident(pid))

        watcher = threading.Thread(target=watch)
        watcher.start()
        replies = confirm_all(service, links)
        done.set()
        watcher.join()
        statuses = [status for _, status in replies]
        refused = [link for link, (_, status) in zip(links, replies) if status == 503]
        still_valid = sum(service.check_link(link).body["validlink"] for link in refused)
        others = len(statuses) - statuses.count(200) - statuses.count(503)
        p99 = statistics.quantiles(health, n=100)[98]
        assert others == 0 and still_valid == len(refused)
        each = {"pbkdf2_sha256": 1, "argon2": 100}[algorithm]
        assert highest - before < len(os.sched_getaffinity(0)) * each + 64, "memory"
        counts = f"{statuses.count(200)} responses 200, {statuses.count(503)} responses 503, {others} others"
        print(f"{algorithm}: {LINKS} resets at the same time: {counts}")
        print(f"  links that still work after a 503: {still_valid} of {len(refused)}")
        print(f"  memory {before:.0f} -> {highest:.0f} MiB; health checks: p99 {p99 * 1000:.1f} ms, {len(health)} requests")


def import_users(count: int = 100_000) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with (folder / "users.csv").open("w", encoding="utf-8") as file:
            file.write("username,email,password,is_active,date_joined\n")
            for index in range(count):
                hashed = "pbkdf2_sha256$1500000$saltsaltsaltsaltsaltsa$P4UiMPVduVWIL/oS1GzH+IofsccjJNM5hUTikBvi5to="
                file.write(f"user{index},user{index}@example.com,{hashed},true,2026-01-02T03:04:05.678901Z\n")
        for attempt in ("first", "repeated"):
            start = time.perf_counter()
            done = command(folder / "db.sqlite3", "users", "import", str(folder / "users.csv"))
            elapsed = time.perf_counter() - start
            peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
            assert done.returncode == 0, done.stderr
            print(f"import, {attempt}: {count / elapsed:.0f} users/s; highest memory of any process so far {peak:.0f} MiB: {done.stdout.strip()}")


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
    import_users()
    compare_hashers()
    print()
    compare_pbkdf2(BARE_SERVER, ROUNDS)
    print()
    compare_argon2(BARE_SERVER, ROUNDS)
    print()
    for hasher in ("pbkdf2_sha256", "argon2"):
        throughput(hasher)
    for hasher in ("pbkdf2_sha256", "argon2"):
        overload(hasher)
