"""Ten thousand slow clients cost the service bounded time and memory, and cost honest clients no request.

The latency of honest clients depends on the machine, and so does the number of slow clients that are open at once: a
debug build accepts the last when it has already closed the first. `measure_crowd.py` measures both.
"""

import resource
from pathlib import Path

import pytest

from measure_crowd import DESCRIPTORS, LARGEST_GROWTH, LONGEST_END, LONGEST_LIFE, MIB, end_during_crowd, wave
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
    assert outcome.closed == outcome.came and outcome.longest_life <= LONGEST_LIFE
    assert outcome.said == b""
    assert outcome.non_reading_life is not None and outcome.non_reading_life <= LONGEST_LIFE
    assert grown <= LARGEST_GROWTH


def test_a_crowd_does_not_delay_the_shutdown(database: Path, tmp_path: Path) -> None:
    with serving(database, tmp_path) as service:
        seconds = end_during_crowd(service)
    assert seconds is not None and seconds <= LONGEST_END
