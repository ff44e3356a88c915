"""Ten thousand slow clients cost the service bounded time and memory, and cost honest clients no request.

`Benchmarks/crowd.py` measures the response times and the number of slow clients at the same time. Both depend on the
machine: a debug build closes the first slow clients before it has accepted the last.
"""

import resource
from pathlib import Path

import pytest

from crowd import DESCRIPTORS, LARGEST_GROWTH, LONGEST_END, LONGEST_LIFE, MIB, shutdown_during_crowd, wave
from service import serving

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        0 <= resource.getrlimit(resource.RLIMIT_NOFILE)[1] < DESCRIPTORS,
        reason=f"the hard limit of descriptors is under {DESCRIPTORS}",
    ),
]


def test_honest_clients_are_served_during_a_crowd(database: Path, tmp_path: Path) -> None:
    with serving(database, tmp_path) as service:
        growth = service.watch_memory()
        outcome = wave(service)
        grown = growth()
        print(f"{outcome}\nmemory grown by {grown / MIB:.1f} MiB")
    answers = {(sample.path, sample.status) for sample in outcome.samples}
    assert answers == {("/health/live", 200), ("/password-reset", 202)}
    assert outcome.closed == outcome.connected and outcome.longest_life <= LONGEST_LIFE
    assert outcome.received == b""
    assert outcome.deaf_life is not None and outcome.deaf_life <= LONGEST_LIFE
    assert grown <= LARGEST_GROWTH


def test_a_crowd_does_not_delay_the_shutdown(database: Path, tmp_path: Path) -> None:
    with serving(database, tmp_path) as service:
        seconds = shutdown_during_crowd(service)
    assert seconds is not None and seconds <= LONGEST_END
