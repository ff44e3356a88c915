"""The targets, with the values that the service reached."""

from dataclasses import dataclass

from results import BARE, DJANGO, INVALID, OPERATIONS, OURS, PASSWORD, REQUEST, VALID, Results, Spread

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
class Verdict:
    target: str
    figure: str
    # `None` if it was not measured.
    is_reached: bool | None


def verdicts(results: Results, targets: Targets) -> list[Verdict]:
    return [
        at_least(f"link check, of bare GET at {USUAL}", results.ratio("rate", VALID, BARE, USUAL), targets.link_of_bare),
        *(
            at_least(f"invalid link, of bare GET at {USUAL}", results.ratio("rate", INVALID, BARE, USUAL), least)
            for least in given(targets.invalid_of_bare)
        ),
        reset_request(results, targets),
        at_least(f"set password, of cores / hash time at {USUAL}", results.bound_ratio(PASSWORD, USUAL), PASSWORD_OF_BOUND),
        *(
            at_least(f"{operation}, of Django at {USUAL}", results.ratio("rate", operation, DJANGO, USUAL), targets.of_django)
            for operation in (VALID, INVALID, REQUEST)
        ),
        *(
            at_most(f"{operation}, p99 of the bare route's at {USUAL}", results.ratio("p99", operation, BARE, USUAL), most)
            for most in given(targets.p99_of_bare)
            for operation in (VALID, INVALID, REQUEST)
        ),
        no_failures(results),
        value_at_most("idle, resident MiB", results.idle_memory().resident, IDLE_MEMORY),
        value_at_most("after all loads, resident MiB", max(memory.resident for memory in results.memory[OURS]), MEMORY_AFTER),
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
    bare, storage, share = results.value("rate", REQUEST, BARE, USUAL), results.storage_rate(USUAL), targets.request_of_storage
    if bare and storage and share and share * storage.median < targets.request_of_bare * bare.median:
        return at_least(f"reset request, of storage in batches of {USUAL}", results.bound_ratio(REQUEST, USUAL), share)
    return at_least(f"reset request, of bare POST at {USUAL}", results.ratio("rate", REQUEST, BARE, USUAL), targets.request_of_bare)


def no_failures(results: Results) -> Verdict:
    counts = [results.failed(operation, OURS, MANY) for operation in OPERATIONS]
    known = [count for count in counts if count is not None]
    return Verdict(f"failures at {MANY} = 0", str(sum(known)) if known else "–", sum(known) == 0 if known else None)
