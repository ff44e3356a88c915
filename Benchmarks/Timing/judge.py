"""Judges the times that the program Timing measured: does the response time reveal which class a request belongs to?

    judge.py FOLDER

Exits with 0 if no comparison has a difference, with 1 if one has, and with 2 if the data cannot answer the question.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy
from scipy import stats

NONE, DIFFERENCE, INCONCLUSIVE = "no difference", "difference", "inconclusive"
# The p-value that a test reaches by chance in one of a hundred thousand measurements without a difference.
SIGNIFICANCE = 1e-5
# A median difference of this many microseconds is harmless.
TOLERANCE = 1.0


@dataclass(frozen=True)
class Finding:
    """The tests of one measurement. The median difference and its 99 % interval are in microseconds."""

    pairs: int
    median: float
    low: float
    high: float
    sign_p: float
    wilcoxon_p: float

    @property
    def verdict(self) -> str:
        is_significant = min(self.sign_p, self.wilcoxon_p) < SIGNIFICANCE
        if is_significant and not self.low <= 0 <= self.high:
            return DIFFERENCE
        return NONE if not is_significant and -TOLERANCE <= self.low and self.high <= TOLERANCE else INCONCLUSIVE

    @property
    def interval(self) -> str:
        return f"{self.low:+.2f} … {self.high:+.2f}"


def read(path: Path) -> Finding:
    """Tests the differences second - first. Only the independence of the pairs is assumed, not a distribution."""
    times = numpy.loadtxt(path, delimiter=",", skiprows=1, ndmin=2)
    differences = (times[:, 1] - times[:, 0]) / 1000
    above, below = numpy.count_nonzero(differences > 0), numpy.count_nonzero(differences < 0)
    has_signs = above + below > 0
    # Without `batch`, SciPy would create all 2000 resamples in memory at the same time.
    interval = stats.bootstrap(
        (differences,), numpy.median, confidence_level=0.99, n_resamples=2000, batch=50, method="percentile", rng=1
    ).confidence_interval
    return Finding(
        pairs=len(differences),
        median=float(numpy.median(differences)),
        low=float(interval.low),
        high=float(interval.high),
        sign_p=stats.binomtest(above, above + below).pvalue if has_signs else 1.0,
        wilcoxon_p=stats.wilcoxon(differences, method="asymptotic").pvalue if has_signs else 1.0,
    )


def row(name: str, finding: Finding, verdict: str, control: str) -> str:
    return (
        f"{name:<22}{finding.pairs:>7}{finding.median:>+11.2f}  {finding.interval:<20}{finding.sign_p:>8.0e}{finding.wilcoxon_p:>12.0e}"
        f"  {verdict:<13}  {control}"
    )


def judge(folder: Path) -> int:
    """Prints a table of all comparisons and returns the exit code."""
    print(f"{'comparison':<22}{'pairs':>7}{'median µs':>11}  {'99 % interval µs':<20}{'sign p':>8}{'Wilcoxon p':>12}  {'verdict':<13}  control")
    verdicts = []
    for path in sorted(folder.glob("*.service.csv")):
        name = path.name.removesuffix(".service.csv")
        finding, control = read(path), read(folder / f"{name}.control.csv")
        is_detected = control.verdict == DIFFERENCE
        verdicts.append(finding.verdict if is_detected else INCONCLUSIVE)
        print(row(name, finding, verdicts[-1], f"{control.interval}, {'detected' if is_detected else 'not detected'} ({control.pairs} pairs)"))
    for path in sorted(folder.glob("*.information.csv")):
        finding = read(path)
        print(row(path.name.removesuffix(".information.csv"), finding, finding.verdict, "for information"))
    print(
        "\nThe control is a server whose second class takes 2 µs longer on purpose. The rows for information decide nothing: running-worker repeats"
        "\npost-known-unknown with a running worker, and aftermath is the total time of GET /health/live in the 40 ms after each of these responses."
        "\nA difference there is the worker's work on an email. A client that has the service to itself can notice it; among other clients it is lost."
    )
    if not verdicts:
        raise ValueError(f"{folder} contains no measurements (*.service.csv)")
    return 1 if DIFFERENCE in verdicts else 2 if INCONCLUSIVE in verdicts else 0


if __name__ == "__main__":
    try:
        sys.exit(judge(Path(sys.argv[1])))
    except Exception as error:  # Python itself would exit with 1, which means a difference.
        print(f"judge.py cannot judge the measurements: {error}", file=sys.stderr)
        sys.exit(2)
