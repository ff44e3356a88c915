"""A mail server in another process writes a journal for the test: one JSON object per line."""

import json
from pathlib import Path
from typing import Any


class Journal:
    """Writes the journal, in the mail server."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", encoding="utf-8")

    def add(self, event: str, **facts: Any) -> None:
        self._file.write(json.dumps({"event": event, **facts}) + "\n")
        self._file.flush()


class JournalReader:
    """Reads the journal, in the test."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._position = 0
        self._events: list[dict[str, Any]] = []

    def events(self, name: str) -> list[dict[str, Any]]:
        """Returns all events of this name so far."""
        if self._path.exists():
            with self._path.open("rb") as file:
                file.seek(self._position)
                # The last line may be incomplete.
                lines = file.read().rpartition(b"\n")
            self._position += len(lines[0]) + len(lines[1])
            self._events += [json.loads(line) for line in lines[0].splitlines()]
        return [event for event in self._events if event["event"] == name]
