"""The measurements, and their ratios. Each ratio is computed within a round, so that noise affects both sides alike."""

import statistics
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from load import Result
from servers import Start
from storage import StorageSample
from usage import Memory

NGINX, H2O, BARE, OURS, COMPARED, DJANGO, RAILS = "nginx", "h2o", "bare", "service", "compared", "Django", "Rails"
# In the order of the table.
SIDES = (OURS, COMPARED, BARE, NGINX, H2O, DJANGO, RAILS)

GET, POST = "bare GET", "bare POST"
VALID, INVALID, REQUEST, PASSWORD = "link check, valid", "link check, invalid", "reset request", "set password"
OPERATIONS = (VALID, INVALID, REQUEST, PASSWORD)
# The operation of the same shape at a server that does nothing.
BARE_OF = {VALID: GET, INVALID: GET, REQUEST: POST}


@dataclass(frozen=True)
class Sample:
    round: int
    connections: int
    operation: str
    side: str
    result: Result
    # Microseconds of the server's processes per request, including the email that they send afterwards.
    processor: float
    # The same for the database server, if there is one.
    database_processor: float | None
    # Emails per second, from the first request to the arrival of the last email. `None` if the operation sends none.
    emails: float | None


Metric = Callable[[Sample], float | None]
METRICS: dict[str, Metric] = {
    "rate": lambda sample: sample.result.rate,
    "processor": lambda sample: sample.processor,
    "database_processor": lambda sample: sample.database_processor,
    "p50": lambda sample: sample.result.p50,
    "p99": lambda sample: sample.result.p99,
    "emails": lambda sample: sample.emails,
}


@dataclass(frozen=True)
class Spread:
    median: float
    lowest: float
    highest: float

    def __str__(self) -> str:
        digits = 1 if self.median >= 10 else 2
        return f"{self.median:.{digits}f} ({self.lowest:.{digits}f}–{self.highest:.{digits}f})"


def spread(values: Iterable[float | None]) -> Spread | None:
    known = [value for value in values if value is not None]
    return Spread(statistics.median(known), min(known), max(known)) if known else None


@dataclass
class Results:
    cores: int
    connections: list[int]
    samples: list[Sample] = field(default_factory=list)
    storage: list[StorageSample] = field(default_factory=list)
    # Emails per second of Postfix's load generator, by round.
    source: dict[int, float] = field(default_factory=dict)
    # The seconds that one hash takes.
    hashes: list[float] = field(default_factory=list)
    # The starts of the service, and of the compared build.
    starts: dict[str, list[Start]] = field(default_factory=dict)
    # The memory of each of their processes after all loads.
    memory: dict[str, list[Memory]] = field(default_factory=dict)
    # Events that may have affected a result.
    notes: list[str] = field(default_factory=list)

    def of(self, operation: str, side: str, connections: int) -> dict[int, Sample]:
        """Returns the samples by round."""
        names = (operation, BARE_OF.get(operation))
        return {
            sample.round: sample
            for sample in self.samples
            if sample.operation in names and (sample.side, sample.connections) == (side, connections)
        }

    def value(self, metric: str, operation: str, side: str, connections: int) -> Spread | None:
        return spread(map(METRICS[metric], self.of(operation, side, connections).values()))

    def ratio(self, metric: str, operation: str, other: str, connections: int) -> Spread | None:
        """Returns the service's value divided by another side's, of each round."""
        ours = _values(metric, self.of(operation, OURS, connections))
        theirs = _values(metric, self.of(operation, other, connections))
        return spread(ours[round] / theirs[round] for round in ours if theirs.get(round))

    def failed(self, operation: str, side: str, connections: int) -> int | None:
        samples = self.of(operation, side, connections).values()
        return sum(sample.result.failed for sample in samples) if samples else None

    def bound(self, operation: str, connections: int) -> Spread | None:
        """Returns the rate of the necessary part of an operation alone: hashes, or rows on disk with one commit for all connections."""
        if operation == PASSWORD and self.hashes:
            # Each connection keeps one core busy.
            cores = min(self.cores, connections)
            return Spread(cores / self.hash_seconds(), cores / max(self.hashes), cores / min(self.hashes))
        return self.storage_rate(connections) if operation == REQUEST else None

    def bound_ratio(self, operation: str, connections: int) -> Spread | None:
        ours = _values("rate", self.of(operation, OURS, connections))
        if operation == PASSWORD:
            bound = self.bound(operation, connections)
            return spread(rate / bound.median for rate in ours.values()) if bound else None
        if operation == REQUEST:
            storage = {sample.round: sample.rate for sample in self.storage if sample.batch == connections}
            return spread(rate / storage[round] for round, rate in ours.items() if round in storage)
        return None

    def source_rate(self) -> Spread | None:
        return spread(self.source.values())

    def source_ratio(self, connections: int) -> Spread | None:
        """Returns the service's emails per second divided by those of Postfix's load generator."""
        ours = _values("emails", self.of(REQUEST, OURS, connections))
        return spread(rate / self.source[round] for round, rate in ours.items() if round in self.source)

    def hash_seconds(self) -> float:
        return statistics.median(self.hashes)

    def storage_rate(self, batch: int) -> Spread | None:
        return spread(sample.rate for sample in self.storage if sample.batch == batch)

    def start_seconds(self, side: str = OURS) -> float:
        return statistics.median(start.seconds for start in self.starts[side])

    def idle_memory(self, side: str = OURS) -> Memory:
        memories = [start.memory for start in self.starts[side]]
        return Memory(*(statistics.median(getattr(memory, name) for memory in memories) for name in Memory.__dataclass_fields__))

    def raw(self) -> dict[str, Any]:
        samples = [asdict(sample) for sample in self.samples]
        return {
            "samples": samples,
            "storage": [asdict(sample) for sample in self.storage],
            "smtp_source": self.source,
            "hash_seconds": self.hashes,
            "starts": {side: [start.as_dict() for start in starts] for side, starts in self.starts.items()},
            "memory_after_loads": {side: [asdict(memory) for memory in memories] for side, memories in self.memory.items()},
        }


def _values(metric: str, samples: dict[int, Sample]) -> dict[int, float]:
    values = {round: METRICS[metric](sample) for round, sample in samples.items()}
    return {round: value for round, value in values.items() if value is not None}
