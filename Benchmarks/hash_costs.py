"""Measures hashes in child processes: the PBKDF2 of several libraries on processors with and without SHA extensions, and
what argon2 costs with the parameters that OWASP recommends."""

import os
import re
import ssl
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.backends.openssl import backend

# The service's default value.
ITERATIONS = 1_500_000
# Each process makes as many, like the program BareServer.
HASHES = 5

HASHLIB = """
import hashlib, sys
for _ in range(int(sys.argv[1])):
    hashlib.pbkdf2_hmac("sha256", b"a-Fine-pass-77", b"x" * 22, int(sys.argv[2]))
"""
CRYPTOGRAPHY = """
import sys
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC
for _ in range(int(sys.argv[1])):
    PBKDF2HMAC(SHA256(), 32, b"x" * 22, int(sys.argv[2])).derive(b"a-Fine-pass-77")
"""

# BoringSSL and OpenSSL read this variable, which hides features of an x86 processor from them: SHA extensions (EBX bit 29 of
# CPUID leaf 7), and that Intel made it (bit 30 of the first word in their own table). Only then BoringSSL uses AVX.
PROCESSORS = {
    "this processor": {},
    "without SHA": {"OPENSSL_ia32cap": ":~0x20000000"},
    "without SHA, not Intel": {"OPENSSL_ia32cap": "~0x40000000:~0x20000000"},
}
ARGON2 = {
    "pbkdf2_sha256": [],
    "argon2": [],
    "argon2, OWASP's lower memory": ["memory_cost=19456", "time_cost=2", "parallelism=1"],
    "argon2, OWASP's higher memory": ["memory_cost=47104", "time_cost=1", "parallelism=1"],
}


@dataclass(frozen=True)
class Usage:
    # Processor time in seconds.
    processor: float
    # The highest resident memory in MiB.
    memory: float
    output: str


def usage(command: Sequence[object], environment: Mapping[str, str] = {}) -> Usage:
    process = subprocess.Popen(list(map(str, command)), env=os.environ | environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    peak = 0.0
    while not (ended := os.wait4(process.pid, os.WNOHANG))[0]:
        # The kernel's own value at the end of a process includes the memory of this one, which it has before it runs the program.
        peak = max(peak, peak_memory(process.pid))
        time.sleep(0.005)
    _, status, used = ended
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, command
    return Usage(used.ru_utime + used.ru_stime, peak, process.stdout.read())


def peak_memory(pid: int) -> float:
    found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


def seconds_of_hash(command: Sequence[object], idle: Sequence[object], environment: Mapping[str, str]) -> float:
    """Returns the processor time of one hash, without that of the start of the process."""
    return (usage(command, environment).processor - usage(idle, environment).processor) / HASHES


def compare_pbkdf2(bare_server: Path, rounds: int) -> None:
    python = [sys.executable, "-c"]
    libraries = {
        "service (BoringSSL)": ([bare_server, "hash", "pbkdf2_sha256"], [bare_server]),
        f"hashlib ({ssl.OPENSSL_VERSION})": ([*python, HASHLIB, HASHES, ITERATIONS], [*python, HASHLIB, 0, 0]),
        f"cryptography ({backend.openssl_version_text()})": ([*python, CRYPTOGRAPHY, HASHES, ITERATIONS], [*python, CRYPTOGRAPHY, 0, 0]),
    }
    has_sha = " sha_ni" in Path("/proc/cpuinfo").read_text()
    # Without the extensions, and on other architectures, there is nothing to hide.
    processors = PROCESSORS if has_sha else {"this processor": {}}
    print(f"PBKDF2-HMAC-SHA256 with {ITERATIONS:,} iterations: processor time in milliseconds, medians of {rounds} rounds (lowest–highest)")
    print(f"{'':44}" + "".join(f"{name:>26}" for name in processors))
    times: dict[tuple[str, str], list[float]] = {(library, name): [] for library in libraries for name in processors}
    for _ in range(rounds):
        for name, environment in processors.items():
            for library, (command, idle) in libraries.items():
                times[library, name].append(seconds_of_hash(command, idle, environment) * 1000)
    for library in libraries:
        print(f"{library:44}" + "".join(f"{spread(times[library, name]):>26}" for name in processors))


def compare_argon2(bare_server: Path, rounds: int) -> None:
    print(f"one hash of the service, medians of {rounds} rounds (lowest–highest)")
    print(f"{'':32}{'milliseconds':>22}{'processor ms':>22}{'memory MiB':>12}")
    idle = usage([bare_server, "hash", "pbkdf2_sha256", "iterations=1"])
    used: dict[str, list[Usage]] = {name: [] for name in ARGON2}
    for _ in range(rounds):
        for name, options in ARGON2.items():
            used[name].append(usage([bare_server, "hash", name.partition(",")[0], *options]))
    for name, usages in used.items():
        wall = spread([float(one.output) * 1000 for one in usages])
        processor = spread([(one.processor - idle.processor) / HASHES * 1000 for one in usages])
        memory = statistics.median(one.memory for one in usages) - idle.memory
        print(f"{name:32}{wall:>22}{processor:>22}{memory:12.0f}")


def spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.0f} ({min(values):.0f}–{max(values):.0f})"
