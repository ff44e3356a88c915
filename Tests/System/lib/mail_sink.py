"""Starts `sink_server.py` and reads its journal."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from journal import JournalReader
from processes import running, wait_until

SCRIPT = Path(__file__).with_name("sink_server.py")


@dataclass(frozen=True)
class Arrival:
    """An email that arrived completely."""

    # The time of arrival in seconds, by the clock of the server.
    at: float
    # The number of connected clients.
    connections: int
    message_id: str


class Sink:
    def __init__(self, journal: JournalReader) -> None:
        self._journal = journal

    @property
    def port(self) -> int:
        return wait_until(lambda: self._journal.events("listening"), "the sink to listen")[0]["port"]

    @property
    def arrivals(self) -> list[Arrival]:
        events = self._journal.events("message")
        return [Arrival(event["at"], event["connections"], event["message_id"]) for event in events]


@contextmanager
def sinking(folder: Path, port: int = 0) -> Iterator[Sink]:
    """Runs a sink within the block. Its journal goes into `folder`."""
    journal = folder / "sink.journal"
    command = [sys.executable, str(SCRIPT), "--journal", str(journal), "--port", str(port)]
    with running(command, os.environ, folder / "sink.log"):
        sink = Sink(JournalReader(journal))
        wait_until(lambda: sink.port, "the sink to listen")
        yield sink
