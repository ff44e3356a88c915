"""A mail server that accepts every email, as fast as Python can, and records in a journal when it arrived.

It runs in its own process, so that the test does not slow it down.
"""

import argparse
import asyncio
import re
import signal
import time
from pathlib import Path

from journal import Journal

REPLIES = {b"EHLO": b"250 sink", b"DATA": b"354 go on", b"QUIT": b"221 bye"}
MESSAGE_ID = re.compile(rb"^Message-ID:\s*(\S+)", re.IGNORECASE | re.MULTILINE)


class Sink(asyncio.Protocol):
    """A connection to a client."""

    open = 0

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._buffer = b""
        self._in_text = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        Sink.open += 1
        transport.write(b"220 sink\r\n")

    def connection_lost(self, _error: Exception | None) -> None:
        Sink.open -= 1

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while True:
            part, end, rest = self._buffer.partition(b"\r\n.\r\n" if self._in_text else b"\r\n")
            if not end:
                return
            self._buffer = rest
            if self._in_text:
                self._take(part)
            else:
                self._obey(part[:4].upper())

    def _take(self, text: bytes) -> None:
        self._in_text = False
        found = MESSAGE_ID.search(text)
        identifier = found[1].decode() if found else ""
        self._journal.add("message", at=time.monotonic(), connections=Sink.open, message_id=identifier)
        self._transport.write(b"250 taken\r\n")

    def _obey(self, command: bytes) -> None:
        self._in_text = command == b"DATA"
        self._transport.write(REPLIES.get(command, b"250 OK") + b"\r\n")
        if command == b"QUIT":
            self._transport.close()


async def serve(path: Path, port: int) -> None:
    journal = Journal(path)
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stopped.set)
    server = await loop.create_server(lambda: Sink(journal), host="127.0.0.1", port=port)
    journal.add("listening", port=server.sockets[0].getsockname()[1])
    await stopped.wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--journal", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True, help="0 for any")
    arguments = parser.parse_args()
    asyncio.run(serve(arguments.journal, arguments.port))
