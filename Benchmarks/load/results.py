"""The measurements, and their ratios. Each ratio is computed within a round, so that noise affects both sides alike."""

import statistics
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from load import Result
from servers import Memory, Start
from storage import StorageSample

BARE, OURS, DJANGO = "bare", "service", "Django"
SIDES = (BARE, OURS, DJANGO)

GET, POST = "bare GET", "bare POST"
VALID, INVALID, REQUEST, PASSWORD = "link check, valid", "link check, invalid", "reset request", "set password"
OPERATIONS = (VALID, INVALID, REQUEST, PASSWORD)
# The bare route of the same shape.
BARE_OF = {VALID: GET, INVALID: GET, REQUEST: POST}


@dataclass(frozen=True)
class Sample:
    round: int
    connections: int
    operation: str
    side: str
    result: Result


@dataclass(frozen=True)
class Spread:
    median: float
    lowest: float
    highest: float

    def __str__(self) -> str:
        digits = 1 if self.median >= 10 else 2
        return f"{self.median:.{digits}f} ({self.lowest:.{digits}f}–{self.highest:.{digits}f})"


def spread(values: Iterable[float]) -> Spread | None:
    known = list(values)
    return Spread(statistics.median(known), min(known), max(known)) if known else None


@dataclass
class Results:
    cores: int
    connections: list[int]
    samples: list[Sample] = field(default_factory=list)
    storage: list[StorageSample] = field(default_factory=list)
    # The seconds that one hash takes.
    hashes: list[float] = field(default_factory=list)
    starts: list[Start] = field(default_factory=list)
    # The memory of each process of the service after all loads.
    memory: list[Memory] = field(default_factory=list)
    # Events that may have affected a result.
    notes: list[str] = field(default_factory=list)

    def of(self, operation: str, side: str, connections: int) -> dict[int, Result]:
        """Returns the results by round."""
        name = BARE_OF.get(operation, "") if side == BARE else operation
        return {
            sample.round: sample.result
            for sample in self.samples
            if (sample.operation, sample.side, sample.connections) == (name, side, connections)
        }

    def rate(self, operation: str, side: str, connections: int) -> Spread | None:
        return spread(result.rate for result in self.of(operation, side, connections).values())

    def p99(self, operation: str, side: str, connections: int) -> Spread | None:
        return spread(result.p99 for result in self.of(operation, side, connections).values())

    def failed(self, operation: str, side: str, connections: int) -> int | None:
        results = self.of(operation, side, connections).values()
        return sum(result.failed for result in results) if results else None

    def rate_ratio(self, operation: str, other: str, connections: int) -> Spread | None:
        """Returns the ratio of the service's rate to another side's."""
        theirs = self.of(operation, other, connections)
        ours = self.of(operation, OURS, connections)
        return spread(ours[round].rate / theirs[round].rate for round in ours if round in theirs and theirs[round].rate)

    def p99_ratio(self, operation: str, other: str, connections: int) -> Spread | None:
        theirs = self.of(operation, other, connections)
        ours = self.of(operation, OURS, connections)
        return spread(ours[round].p99 / theirs[round].p99 for round in ours if round in theirs and theirs[round].p99)

    def bound(self, operation: str, connections: int) -> Spread | None:
        """Returns the rate of the necessary part of an operation alone: hashes, or rows on disk with one commit for all connections."""
        if operation == PASSWORD:
            # Each connection keeps one core busy.
            cores = min(self.cores, connections)
            return Spread(cores / self.hash_seconds(), cores / max(self.hashes), cores / min(self.hashes))
        return self.storage_rate(connections) if operation == REQUEST else None

    def bound_ratio(self, operation: str, connections: int) -> Spread | None:
        ours = self.of(operation, OURS, connections)
        if operation == PASSWORD:
            bound = self.bound(operation, connections)
            return spread(result.rate / bound.median for result in ours.values()) if bound else None
        if operation == REQUEST:
            storage = {sample.round: sample.rate for sample in self.storage if sample.batch == connections}
            return spread(result.rate / storage[round] for round, result in ours.items() if round in storage)
        return None

    def hash_seconds(self) -> float:
        return statistics.median(self.hashes)

    def storage_rate(self, batch: int) -> Spread | None:
        return spread(sample.rate for sample in self.storage if sample.batch == batch)

    def start_seconds(self) -> float:
        return statistics.median(start.seconds for start in self.starts)

    def idle_memory(self) -> Memory:
        return Memory(*(statistics.median(getattr(start.memory, name) for start in self.starts) for name in Memory.__dataclass_fields__))

    def raw(self) -> dict[str, Any]:
        samples = [
            {"round": one.round, "connections": one.connections, "operation": one.operation, "side": one.side} | asdict(one.result)
            for one in self.samples
        ]
        return {
            "samples": samples,
            "storage": [asdict(sample) for sample in self.storage],
            "hash_seconds": self.hashes,
            "starts": [start.as_dict() for start in self.starts],
            "memory_after_loads": [asdict(memory) for memory in self.memory],
        }
