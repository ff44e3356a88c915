"""The table of results."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from results import METRICS, OPERATIONS, OURS, PASSWORD, REQUEST, SIDES, Results, Spread
from targets import Targets, Verdict, verdicts


@dataclass(frozen=True)
class Row:
    """A server under one operation, at a number of connections. `ratios` are the service's values divided by this server's."""

    operation: str
    connections: int
    side: str
    values: dict[str, Spread | None]
    ratios: dict[str, Spread | None]
    failed: int | None


def rows(results: Results) -> list[Row]:
    return [
        row(results, operation, connections, side)
        for operation in OPERATIONS
        for connections in results.connections
        for side in SIDES
        if results.of(operation, OURS, connections) and results.of(operation, side, connections)
    ]


def row(results: Results, operation: str, connections: int, side: str) -> Row:
    return Row(
        operation,
        connections,
        side,
        values={metric: results.value(metric, operation, side, connections) for metric in METRICS},
        ratios={metric: results.ratio(metric, operation, side, connections) for metric in METRICS} if side != OURS else {},
        failed=results.failed(operation, side, connections),
    )


def value(metric: str, digits: int) -> Callable[[Row], str]:
    return lambda row: figure(row.values[metric], digits)


def ratio(metric: str) -> Callable[[Row], str]:
    return lambda row: str(row.ratios.get(metric) or "")


COLUMNS: dict[str, Callable[[Row], str]] = {
    "operation": lambda row: row.operation,
    "conn.": lambda row: str(row.connections),
    "server": lambda row: row.side,
    "requests/s": value("rate", 1),
    "rate ÷": ratio("rate"),
    "CPU µs": value("processor", 1),
    "CPU ÷": ratio("processor"),
    "database µs": value("database_processor", 1),
    "database ÷": ratio("database_processor"),
    "p50 ms": value("p50", 2),
    "p99 ms": value("p99", 2),
    "p99 ÷": ratio("p99"),
    "emails/s": value("emails", 0),
    "emails ÷": ratio("emails"),
    "failed": lambda row: str(row.failed),
}


def figure(value: Spread | None, digits: int = 1) -> str:
    return f"{value.median:.{digits}f}" if value else ""


def table(results: Results) -> list[str]:
    cells = [[text(row) for text in COLUMNS.values()] for row in rows(results)]
    used = [index for index in range(len(COLUMNS)) if any(line[index] for line in cells)]
    return aligned([[line[index] for index in used] for line in [list(COLUMNS), *cells]])


def aligned(lines: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return [
        "  ".join([line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:]))]).rstrip()
        for line in lines
    ]


def bound_lines(results: Results) -> list[str]:
    """Compares the service with the necessary part of an operation alone."""
    lines = []
    for connections in results.connections:
        what = f"reset request, {connections} conn.: SQLite alone with {connections} requests per commit"
        lines.append((what, results.bound(REQUEST, connections), results.bound_ratio(REQUEST, connections)))
        what = f"set password, {connections} conn.: cores / time of one hash"
        lines.append((what, results.bound(PASSWORD, connections), results.bound_ratio(PASSWORD, connections)))
        what = f"emails, {connections} conn.: smtp-source"
        lines.append((what, results.source_rate(), results.source_ratio(connections)))
    known = [[what, f"{figure(bound)}/s", str(ratio)] for what, bound, ratio in lines if bound and ratio]
    return aligned([["upper bound", "", "service ÷"], *known]) if known else []


def verdict_lines(results: Results, targets: Targets) -> list[str]:
    words = {True: "reached", False: "NOT reached", None: "not measured"}
    return aligned([[verdict.target, verdict.figure, words[verdict.is_reached]] for verdict in verdicts(results, targets)])


def notes(results: Results) -> list[str]:
    lines = [
        "CPU µs: user and system time of all the server's processes per request, with its email",
        "emails/s: from the first request to the arrival of the last email; p50 and p99 in milliseconds",
        "values: medians of the rounds; ÷: the service's value divided by this server's, median of the rounds' ratios (lowest–highest)",
    ]
    if results.hashes:
        lines.append(f"one hash: {results.hash_seconds():.3f} s (1,500,000 iterations; Django 5.2 uses 1,000,000; Devise bcrypt with 12 rounds)")
    for side, starts in results.starts.items():
        idle = results.idle_memory(side)
        lines.append(
            f"{side}: first response after {results.start_seconds(side) * 1000:.0f} ms, idle memory {idle.resident:.1f} MiB"
            f" ({idle.anonymous:.1f} anonymous), medians of {len(starts)}"
        )
    for side, memories in results.memory.items():
        lines += [f"{side}, after all loads: {one.resident:.1f} MiB ({one.anonymous:.1f} anonymous, {one.peak:.1f} peak)" for one in memories]
    return lines + results.notes


def as_text(results: Results, targets: Targets, facts: dict[str, str], options: dict[str, Any]) -> str:
    head = [", ".join(f"{name} {value}" for name, value in part.items()) for part in (facts, options)]
    parts = [head, table(results), bound_lines(results), notes(results), verdict_lines(results, targets)]
    return "\n\n".join("\n".join(lines) for lines in parts if lines)


def as_json(results: Results, targets: Targets, facts: dict[str, str], options: dict[str, Any]) -> dict[str, Any]:
    found: list[Verdict] = verdicts(results, targets)
    return {
        "machine": facts,
        "options": options,
        "table": [asdict(row) for row in rows(results)],
        "verdicts": [asdict(verdict) for verdict in found],
        "notes": results.notes,
        **results.raw(),
    }
