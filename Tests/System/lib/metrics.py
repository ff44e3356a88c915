"""Reads the metrics and other responses of the admin listener."""

import http.client
import math
import re
from dataclasses import dataclass, field

from service import ADMIN_HOST, Service

SAMPLE = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"(?:,|\Z)')
SUFFIX = re.compile("_(bucket|sum|count)$")

Labels = frozenset[tuple[str, str]]


@dataclass(frozen=True)
class Histogram:
    # Cumulative counts by upper bound, ascending; the last bound is infinite.
    buckets: dict[float, float]
    sum: float
    count: float


@dataclass(frozen=True)
class Metrics:
    text: str
    # The type of each metric by its name.
    types: dict[str, str] = field(default_factory=dict)
    samples: dict[tuple[str, Labels], float] = field(default_factory=dict)

    def value(self, name: str, **labels: str) -> float:
        """Returns the value of one series, or 0 if it has no sample."""
        return self.samples.get((name, frozenset(labels.items())), 0.0)

    def series(self, name: str) -> dict[Labels, float]:
        return {labels: value for (found, labels), value in self.samples.items() if found == name}

    def histogram(self, name: str, **labels: str) -> Histogram:
        wanted = frozenset(labels.items())
        buckets = {}
        for found, value in self.series(f"{name}_bucket").items():
            bounds = [float(text) for label, text in found if label == "le"]
            if {pair for pair in found if pair[0] != "le"} == wanted:
                buckets[bounds[0]] = value
        return Histogram(
            dict(sorted(buckets.items())), self.value(f"{name}_sum", **labels), self.value(f"{name}_count", **labels)
        )

    @property
    def names(self) -> set[str]:
        """Returns the names of all metrics that have a sample."""
        found = {name for name, _ in self.samples}
        return {name if name in self.types else SUFFIX.sub("", name) for name in found}


def parse(text: str) -> Metrics:
    """Parses the text format, version 0.0.4. Each line must be valid, and each series must occur once."""
    metrics = Metrics(text)
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name not in metrics.types, f"{name} has two types"
            metrics.types[name] = kind
        elif line and not line.startswith("#"):
            match = SAMPLE.fullmatch(line)
            assert match, f"no sample: {line}"
            labels = frozenset((pair[1], pair[2]) for pair in LABEL.finditer(match[2] or ""))
            assert (match[1], labels) not in metrics.samples, f"twice: {line}"
            metrics.samples[match[1], labels] = float(match[3])
    return metrics


@dataclass(frozen=True)
class AdminReply:
    status: int
    content_type: str
    body: str


def ask_admin(service: Service, path: str, *, host: str | None = None) -> AdminReply:
    """Sends a request to the admin listener, under its own name or another `host`."""
    connection = http.client.HTTPConnection(ADMIN_HOST, service.admin_port, timeout=10)
    try:
        connection.request("GET", path, headers={"Connection": "close"} | ({"Host": host} if host else {}))
        response = connection.getresponse()
        return AdminReply(response.status, response.headers.get("Content-Type", ""), response.read().decode())
    finally:
        connection.close()


def scrape(service: Service) -> Metrics:
    reply = ask_admin(service, "/metrics")
    assert reply.status == 200, reply.body
    return parse(reply.body)


def assert_is_sound(histogram: Histogram) -> None:
    """Checks that counts never fall from one bucket to the next, and that the last bucket has all of them."""
    counts = list(histogram.buckets.values())
    assert counts == sorted(counts) and list(histogram.buckets)[-1] == math.inf
    assert counts[-1] == histogram.count
    # Each observation is within the bounds of its bucket.
    bounds = [0.0, *histogram.buckets]
    lower = sum(low * (count - before) for low, count, before in zip(bounds, counts, [0.0, *counts], strict=False))
    assert histogram.sum >= lower - 1e-6
    assert (histogram.sum > 0) == (histogram.count > 0)
