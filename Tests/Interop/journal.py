"""What a mail server in a process of its own writes down for the test: one JSON object a line."""

import json
from pathlib import Path
from typing import Any


class Journal:
    """The server's end."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", encoding="utf-8")

    def add(self, event: str, **facts: Any) -> None:
        self._file.write(json.dumps({"event": event, **facts}) + "\n")
        self._file.flush()


class JournalReader:
    """The test's end."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._position = 0
        self._events: list[dict[str, Any]] = []

    def events(self, name: str) -> list[dict[str, Any]]:
        """All events of this name so far."""
        if self._path.exists():
            with self._path.open("rb") as file:
                file.seek(self._position)
                # The last line may still be half written.
                lines = file.read().rpartition(b"\n")
            self._position += len(lines[0]) + len(lines[1])
            self._events += [json.loads(line) for line in lines[0].splitlines()]
        return [event for event in self._events if event["event"] == name]
