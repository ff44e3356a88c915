"""The table of results, and the targets with the values that the service reached."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from results import BARE, DJANGO, INVALID, OPERATIONS, OURS, PASSWORD, REQUEST, SIDES, VALID, Results, Spread

# Most targets apply to USUAL connections. With MANY connections, no request may fail.
USUAL = 32
MANY = 256

PASSWORD_OF_BOUND = 0.95
IDLE_MEMORY = 30
MEMORY_AFTER = 80
FIRST_RESPONSE = 0.1


@dataclass(frozen=True)
class Targets:
    """The targets that depend on the database: ratios of rates, and of 99th percentiles. `None` is no target."""

    link_of_bare: float
    invalid_of_bare: float | None
    request_of_bare: float
    request_of_storage: float | None
    of_django: float
    p99_of_bare: float | None


TARGETS = {
    "sqlite": Targets(
        link_of_bare=0.75, invalid_of_bare=0.85, request_of_bare=0.65, request_of_storage=0.9, of_django=10, p99_of_bare=3
    ),
    # Another process answers every query, on the same cores.
    "postgresql": Targets(
        link_of_bare=0.45, invalid_of_bare=None, request_of_bare=0.25, request_of_storage=None, of_django=8, p99_of_bare=None
    ),
}


@dataclass(frozen=True)
class Row:
    """An operation at a number of connections. Rates are in requests per second, times in milliseconds."""

    operation: str
    connections: int
    rate: dict[str, Spread | None]
    of_bare: Spread | None
    of_django: Spread | None
    bound: Spread | None
    of_bound: Spread | None
    p99: dict[str, Spread | None]
    p99_of_bare: Spread | None
    failed: dict[str, int | None]


@dataclass(frozen=True)
class Verdict:
    target: str
    figure: str
    # `None` if it was not measured.
    is_reached: bool | None


def rows(results: Results) -> list[Row]:
    return [
        row(results, operation, connections)
        for operation in OPERATIONS
        for connections in results.connections
        if results.of(operation, OURS, connections)
    ]


def row(results: Results, operation: str, connections: int) -> Row:
    return Row(
        operation=operation,
        connections=connections,
        rate={side: results.rate(operation, side, connections) for side in SIDES},
        of_bare=results.rate_ratio(operation, BARE, connections),
        of_django=results.rate_ratio(operation, DJANGO, connections),
        bound=results.bound(operation, connections),
        of_bound=results.bound_ratio(operation, connections),
        p99={side: results.p99(operation, side, connections) for side in SIDES},
        p99_of_bare=results.p99_ratio(operation, BARE, connections),
        failed={side: results.failed(operation, side, connections) for side in SIDES},
    )


def verdicts(results: Results, targets: Targets) -> list[Verdict]:
    return [
        at_least(f"link check, of bare GET at {USUAL}", results.rate_ratio(VALID, BARE, USUAL), targets.link_of_bare),
        *(
            at_least(f"invalid link, of bare GET at {USUAL}", results.rate_ratio(INVALID, BARE, USUAL), least)
            for least in given(targets.invalid_of_bare)
        ),
        reset_request(results, targets),
        at_least(f"set password, of cores / hash time at {USUAL}", results.bound_ratio(PASSWORD, USUAL), PASSWORD_OF_BOUND),
        *(
            at_least(f"{operation}, of Django at {USUAL}", results.rate_ratio(operation, DJANGO, USUAL), targets.of_django)
            for operation in (VALID, INVALID, REQUEST)
        ),
        *(
            at_most(f"{operation}, p99 of the bare route's at {USUAL}", results.p99_ratio(operation, BARE, USUAL), most)
            for most in given(targets.p99_of_bare)
            for operation in (VALID, INVALID, REQUEST)
        ),
        no_failures(results),
        value_at_most("idle, resident MiB", results.idle_memory().resident, IDLE_MEMORY),
        value_at_most("after all loads, resident MiB", max(memory.resident for memory in results.memory), MEMORY_AFTER),
        value_at_most("first response, seconds", results.start_seconds(), FIRST_RESPONSE),
    ]


def given(target: float | None) -> list[float]:
    return [] if target is None else [target]


def at_least(what: str, ratio: Spread | None, least: float) -> Verdict:
    return Verdict(f"{what} >= {least:g}", str(ratio or "–"), ratio.median >= least if ratio else None)


def at_most(what: str, ratio: Spread | None, most: float) -> Verdict:
    return Verdict(f"{what} <= {most:g}", str(ratio or "–"), ratio.median <= most if ratio else None)


def value_at_most(what: str, value: float, most: float) -> Verdict:
    return Verdict(f"{what} <= {most:g}", f"{value:.3g}", value <= most)


def reset_request(results: Results, targets: Targets) -> Verdict:
    """Compares with storage instead of the bare route if the disk is the tighter limit."""
    bare, storage, share = results.rate(REQUEST, BARE, USUAL), results.storage_rate(USUAL), targets.request_of_storage
    if bare and storage and share and share * storage.median < targets.request_of_bare * bare.median:
        return at_least(f"reset request, of storage in batches of {USUAL}", results.bound_ratio(REQUEST, USUAL), share)
    return at_least(f"reset request, of bare POST at {USUAL}", results.rate_ratio(REQUEST, BARE, USUAL), targets.request_of_bare)


def no_failures(results: Results) -> Verdict:
    counts = [results.failed(operation, OURS, MANY) for operation in OPERATIONS]
    known = [count for count in counts if count is not None]
    return Verdict(f"failures at {MANY} = 0", str(sum(known)) if known else "–", sum(known) == 0 if known else None)


COLUMNS: dict[str, Callable[[Row], str]] = {
    "operation": lambda row: row.operation,
    "conn.": lambda row: str(row.connections),
    "bare/s": lambda row: figure(row.rate[BARE]),
    "service/s": lambda row: figure(row.rate[OURS]),
    "Django/s": lambda row: figure(row.rate[DJANGO]),
    "of bare": lambda row: str(row.of_bare or ""),
    "of Django": lambda row: str(row.of_django or ""),
    "bound/s": lambda row: figure(row.bound),
    "of bound": lambda row: str(row.of_bound or ""),
    "p99 bare": lambda row: figure(row.p99[BARE], 2),
    "service": lambda row: figure(row.p99[OURS], 2),
    "Django": lambda row: figure(row.p99[DJANGO], 2),
    "of bare ": lambda row: str(row.p99_of_bare or ""),
    "failed": lambda row: "/".join("–" if row.failed[side] is None else str(row.failed[side]) for side in SIDES),
}


def figure(value: Spread | None, digits: int = 1) -> str:
    return f"{value.median:.{digits}f}" if value else ""


def table(results: Results) -> list[str]:
    return aligned([list(COLUMNS), *([text(row) for text in COLUMNS.values()] for row in rows(results))])


def aligned(lines: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return [
        "  ".join([line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:]))]).rstrip()
        for line in lines
    ]


def verdict_lines(results: Results, targets: Targets) -> list[str]:
    words = {True: "reached", False: "NOT reached", None: "not measured"}
    return aligned([[verdict.target, verdict.figure, words[verdict.is_reached]] for verdict in verdicts(results, targets)])


def notes(results: Results) -> list[str]:
    idle, after = results.idle_memory(), results.memory
    single = results.storage_rate(1)
    storage = (
        f"SQLite alone with as many requests per commit as there are connections (one commit each: {figure(single)}/s)"
        if single
        else "not measured"
    )
    return [
        f"bound: for reset requests, {storage}; for set password, cores / time of one hash, {results.hash_seconds():.3f} s"
        " (1,500,000 iterations; Django 5.2 uses 1,000,000)",
        f"failed: {' / '.join(SIDES)}; of: median of the rounds' ratios (lowest–highest); p99 in milliseconds",
        f"start: first response after {results.start_seconds() * 1000:.0f} ms, idle memory {idle.resident:.1f} MiB"
        f" ({idle.anonymous:.1f} anonymous), medians of {len(results.starts)}",
        *(f"after all loads: {one.resident:.1f} MiB ({one.anonymous:.1f} anonymous, {one.peak:.1f} peak)" for one in after),
        *results.notes,
    ]


def as_text(results: Results, targets: Targets, facts: dict[str, str], options: dict[str, Any]) -> str:
    head = [", ".join(f"{name} {value}" for name, value in part.items()) for part in (facts, options)]
    return "\n".join([*head, "", *table(results), "", *notes(results), "", *verdict_lines(results, targets)])


def as_json(results: Results, targets: Targets, facts: dict[str, str], options: dict[str, Any]) -> dict[str, Any]:
    return {
        "machine": facts,
        "options": options,
        "table": [asdict(row) for row in rows(results)],
        "verdicts": [asdict(verdict) for verdict in verdicts(results, targets)],
        "notes": results.notes,
        **results.raw(),
    }
