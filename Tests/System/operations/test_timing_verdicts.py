"""The verdict of `make timing` detects a difference of two microseconds, and nothing smaller than the noise."""

import subprocess
import sys
from pathlib import Path

import numpy
import pytest

from paths import ROOT

JUDGE = ROOT / "Benchmarks/Timing/judge.py"
NOISE, TWO_MICROSECONDS = 0, 2000


def write(path: Path, shift: int, pairs: int = 300) -> None:
    """Writes response times around 100 µs with some 3 µs of noise; those of the second class are longer by `shift` nanoseconds."""
    noise = numpy.random.default_rng(5).triangular(-6000, 0, 6000, pairs)
    times = numpy.column_stack([numpy.full(pairs, 100_000), 100_000 + shift + noise])
    numpy.savetxt(path, times, fmt="%d", delimiter=",", header="first,second", comments="")


def judge(folder: Path, service: int, control: int, pairs: int = 300) -> tuple[int, str]:
    """Returns the exit code, and the row of the only comparison."""
    write(folder / "comparison.service.csv", service, pairs)
    write(folder / "comparison.control.csv", control, pairs)
    done = subprocess.run([sys.executable, JUDGE, folder], capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    return done.returncode, done.stdout.splitlines()[1]


@pytest.mark.parametrize(
    ("shift", "code", "verdict"), [(NOISE, 0, "no difference"), (TWO_MICROSECONDS, 1, "difference"), (-TWO_MICROSECONDS, 1, "difference")]
)
def test_a_difference_of_two_microseconds_is_detected(shift: int, code: int, verdict: str, tmp_path: Path) -> None:
    actual, row = judge(tmp_path, service=shift, control=TWO_MICROSECONDS)
    assert actual == code and f"  {verdict}  " in row and "not detected" not in row


def test_without_a_detected_control_the_verdict_is_inconclusive(tmp_path: Path) -> None:
    code, row = judge(tmp_path, service=NOISE, control=NOISE)
    assert code == 2 and "inconclusive" in row and "not detected" in row


def test_a_few_pairs_are_inconclusive(tmp_path: Path) -> None:
    code, row = judge(tmp_path, service=NOISE, control=TWO_MICROSECONDS, pairs=10)
    assert code == 2 and "inconclusive" in row


def test_times_without_any_noise_are_judged(tmp_path: Path) -> None:
    write(tmp_path / "comparison.control.csv", TWO_MICROSECONDS)
    (tmp_path / "comparison.service.csv").write_text("first,second\n" + "5000,5000\n" * 1000)
    done = subprocess.run([sys.executable, JUDGE, tmp_path], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("files", [{}, {"comparison.service.csv": "first,second\n1,2\n3,5\n"}, {"comparison.service.csv": ""}])
def test_missing_or_damaged_measurements_are_not_taken_for_a_verdict(files: dict[str, str], tmp_path: Path) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    done = subprocess.run([sys.executable, JUDGE, tmp_path], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and "cannot judge" in done.stderr
