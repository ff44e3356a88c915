"""Every request has one meaning or is refused, and no client can smuggle a second request into the first."""

import re
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from outbox import connected
from raw_http import Connection, Response, Talk, exchange, is_alive
from service import ADMIN_HOST, Service

# The number of the case replaces NNNN, so that each case has its own addresses.
BODY = b'{"email": "first-NNNN@example.com"}'
SMUGGLED_BODY = b'{"email": "smuggled-NNNN@example.com"}'
LARGEST_BODY = 16 * 1024

# The service reads for at most two seconds after an early response.
SECONDS_TO_CLOSE = 6


def numbered(request: bytes, number: int) -> bytes:
    return request.replace(b"NNNN", b"%04d" % number)


def lines(*them: bytes) -> bytes:
    """Returns the head of a request."""
    return b"\r\n".join(them) + b"\r\n\r\n"


def post(*fields: bytes, path: bytes = b"/password-reset", version: bytes = b"HTTP/1.1") -> bytes:
    """Returns the head of a request for an email. The fields must include one that delimits the body."""
    return lines(b"POST %s %s" % (path, version), b"Host: localhost", b"Content-Type: application/json", *fields)


def get(*fields: bytes, target: bytes = b"/health/live", version: bytes = b"HTTP/1.1") -> bytes:
    """Returns a complete request with a Host."""
    return lines(b"GET %s %s" % (target, version), b"Host: localhost", *fields)


def length(body: bytes) -> bytes:
    return b"Content-Length: %d" % len(body)


def chunks(*them: bytes, extension: bytes = b"", trailer: bytes = b"") -> bytes:
    """Returns a chunked body whose chunk sizes all have the extension."""
    return b"".join(b"%x%s\r\n%s\r\n" % (len(data), extension, data) for data in them) + b"0\r\n" + trailer + b"\r\n"


def in_bytes(data: bytes) -> list[bytes]:
    """Returns each byte separately, except for the placeholder of the number."""
    return re.findall(rb"NNNN|(?s:.)", data)


def padded(size: int) -> bytes:
    """Returns the body of a request for an email, padded with spaces to the size."""
    return BODY + b" " * (size - len(BODY))


UPGRADE = [b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAAQAAP__"]
CHUNKED = b"Transfer-Encoding: chunked"
SMUGGLED = post(length(SMUGGLED_BODY)) + SMUGGLED_BODY
LAST = get(b"Connection: close")


@dataclass(frozen=True)
class Refusal:
    """A request that the service refuses with one of the codes; a complete and well-formed one follows it at once."""

    what: str
    request: bytes = field(repr=False)
    codes: tuple[str, ...] = ("malformed_request",)

    def __str__(self) -> str:
        return self.what

    def on(self, target: bytes) -> "Refusal":
        """Returns the refusal of the request for another target."""
        return replace(self, request=self.request.replace(b"/health/live", target, 1))


STATUSES = {"malformed_request": 400, "payload_too_large": 413, "uri_too_long": 414, "headers_too_large": 431}


def by_length(what: str, *fields: bytes) -> Refusal:
    return Refusal(what, post(*fields) + BODY)


def by_chunks(what: str, *fields: bytes) -> Refusal:
    return Refusal(what, post(*fields) + chunks(BODY))


def with_body(what: str, body: bytes, *codes: str) -> Refusal:
    """Builds a request with an invalid chunked body."""
    return Refusal(what, post(CHUNKED) + body, codes or ("malformed_request",))


def with_fields(what: str, *fields: bytes) -> Refusal:
    return Refusal(what, get(*fields))


def with_host(what: str, *fields: bytes) -> Refusal:
    return Refusal(what, lines(b"GET /health/live HTTP/1.1", *fields))


def with_line(what: str, line: bytes) -> Refusal:
    return Refusal(what, lines(line, b"Host: localhost"))


TWO_LENGTHS = [
    by_chunks("Transfer-Encoding before Content-Length", CHUNKED, length(chunks(BODY))),
    by_chunks("Content-Length before Transfer-Encoding", length(chunks(BODY)), CHUNKED),
    by_chunks("Transfer-Encoding before a Content-Length of nothing", CHUNKED, b"Content-Length: 0"),
    by_chunks("Content-Length of nothing before Transfer-Encoding", b"Content-Length: 0", CHUNKED),
    by_chunks("Content-Length with another Transfer-Encoding", length(chunks(BODY)), b"Transfer-Encoding: xchunked"),
    by_length("Content-Length twice, equal", length(BODY), length(BODY)),
    by_length("Content-Length twice, the first of nothing", b"Content-Length: 0", length(BODY)),
    by_length("Content-Length twice, the second of nothing", length(BODY), b"Content-Length: 0"),
    by_length("Content-Length twice, apart", length(BODY), b"X-Between: 1", length(BODY + SMUGGLED)),
    by_length("Content-Length as a list of equals", b"Content-Length: %d, %d" % (len(BODY), len(BODY))),
    by_length("Content-Length as a list", b"Content-Length: %d, 0" % len(BODY)),
    by_length("Content-Length with a comma", b"Content-Length: %d," % len(BODY)),
]

LENGTHS = [
    by_length("Content-Length with a plus", b"Content-Length: +%d" % len(BODY)),
    by_length("Content-Length with a minus", b"Content-Length: -%d" % len(BODY)),
    by_length("Content-Length in hexadecimal", b"Content-Length: 0x%x" % len(BODY)),
    by_length("Content-Length of two numbers", b"Content-Length:  %d %d" % (len(BODY), len(BODY))),
    by_length("Content-Length with a fraction", b"Content-Length: %d.0" % len(BODY)),
    by_length("Content-Length with a vertical tab", b"Content-Length: \x0b%d" % len(BODY)),
    by_length("Content-Length with a no-break space", b"Content-Length: \xa0%d" % len(BODY)),
    by_length("Content-Length in other digits", "Content-Length: ٣٥".encode()),
    by_length("Content-Length with nothing", b"Content-Length: "),
    by_length("Content-Length in words", b"Content-Length: all"),
    Refusal("Content-Length of 65 bits", post(b"Content-Length: 18446744073709551651") + BODY, tuple(STATUSES)[:2]),
    Refusal("Content-Length of 60 digits", post(b"Content-Length: " + b"9" * 60) + BODY, tuple(STATUSES)[:2]),
]

ENCODINGS = [
    Refusal("Transfer-Encoding in HTTP/1.0", post(CHUNKED, version=b"HTTP/1.0") + chunks(BODY)),
    Refusal(
        "Transfer-Encoding with Content-Length in HTTP/1.0",
        post(CHUNKED, length(chunks(BODY)), version=b"HTTP/1.0") + chunks(BODY),
    ),
    by_chunks("Transfer-Encoding gzip, chunked", b"Transfer-Encoding: gzip, chunked"),
    by_chunks("Transfer-Encoding chunked, gzip", b"Transfer-Encoding: chunked, gzip"),
    by_chunks("Transfer-Encoding chunked, chunked", b"Transfer-Encoding: chunked, chunked"),
    by_chunks("Transfer-Encoding twice", CHUNKED, CHUNKED),
    by_chunks("Transfer-Encoding twice, the second of another", CHUNKED, b"Transfer-Encoding: identity"),
    by_chunks("Transfer-Encoding twice, the first of another", b"Transfer-Encoding: identity", CHUNKED),
    by_chunks("Transfer-Encoding xchunked", b"Transfer-Encoding: xchunked"),
    by_chunks("Transfer-Encoding chunkedx", b"Transfer-Encoding: chunkedx"),
    by_chunks("Transfer-Encoding identity", b"Transfer-Encoding: identity"),
    by_chunks("Transfer-Encoding with nothing", b"Transfer-Encoding: "),
    by_chunks("Transfer-Encoding with a comma", b"Transfer-Encoding: chunked,"),
    by_chunks("Transfer-Encoding with a parameter", b"Transfer-Encoding: chunked;q=1"),
    by_chunks("Transfer-Encoding in quotes", b'Transfer-Encoding: "chunked"'),
    by_chunks("Transfer-Encoding with a vertical tab", b"Transfer-Encoding: \x0bchunked"),
    by_chunks("Transfer-Encoding with a NUL", b"Transfer-Encoding: chunked\x00"),
    by_chunks("a space before the colon of Transfer-Encoding", b"Transfer-Encoding : chunked"),
    by_chunks("a tab before the colon of Transfer-Encoding", b"Transfer-Encoding\t: chunked"),
    by_chunks("a folded Transfer-Encoding", b"Transfer-Encoding:\r\n chunked"),
    by_chunks("a Transfer-Encoding that is folded into another field", b"X-Folded: 1\r\n Transfer-Encoding: chunked"),
    by_chunks("a Transfer-Encoding after a bare LF", b"X-Split: 1\nTransfer-Encoding: chunked"),
    by_chunks("a Transfer-Encoding after a bare CR", b"X-Split: 1\rTransfer-Encoding: chunked"),
]

FIELDS = [
    Refusal("bare LF throughout", get().replace(b"\r\n", b"\n")),
    Refusal("bare CR throughout", get().replace(b"\r\n", b"\r")),
    Refusal("a bare LF after the request line", get().replace(b"\r\n", b"\n", 1)),
    Refusal("a bare LF at the end of the head", get()[:-2] + b"\n"),
    with_fields("a bare LF after a field", b"X-Field: 1\nX-Other: 2"),
    with_fields("a bare CR within a field", b"X-Field: 1\r2"),
    with_fields("a CR before the CRLF", b"X-Field: 1\r"),
    with_fields("a NUL within a field", b"X-Field: a\x00b"),
    with_fields("a NUL within a name", b"X-Fi\x00eld: 1"),
    with_fields("a folded field", b"X-Field: 1,\r\n 2"),
    with_fields("a field folded by a tab", b"X-Field: 1,\r\n\t2"),
    with_host("a first field that begins with a space", b" Host: localhost"),
    with_host("a space before the colon of Host", b"Host : localhost"),
    with_fields("a space before the colon", b"X-Field : 1"),
    with_fields("a space within a name", b"X Field: 1"),
    with_fields("a name of nothing", b": 1"),
    with_fields("a field without a colon", b"X-Field"),
    with_fields("a name in other letters", "X-Fïeld: 1".encode()),
    with_fields("a name with brackets", b"X(Field): 1"),
]

HOSTS = [
    with_host("no Host", b"X-Field: 1"),
    Refusal("no field at all", lines(b"GET /health/live HTTP/1.1")),
    with_host("two equal Hosts", b"Host: localhost", b"Host: localhost"),
    Refusal("two equal Hosts in HTTP/1.0", get(b"Host: localhost", version=b"HTTP/1.0")),
    Refusal("an empty Host in HTTP/1.0", lines(b"GET /health/live HTTP/1.0", b"Host:")),
    with_host("two Hosts", b"Host: localhost", b"Host: evil.example"),
    with_host("an empty Host", b"Host: "),
    with_host("a Host with a path", b"Host: localhost/password-reset"),
    with_host("a Host with a query", b"Host: localhost?x"),
    with_host("a Host with a fragment", b"Host: localhost#x"),
    with_host("a Host with a space", b"Host: local host"),
    with_host("a list of Hosts", b"Host: localhost, evil.example"),
    with_host("a Host with a user", b"Host: user@localhost"),
    with_host("a Host with a scheme", b"Host: http://localhost"),
    with_host("a Host with a port that is no number", b"Host: localhost:http"),
    with_host("a Host with a port alone", b"Host: :80"),
    with_host("a Host with two ports", b"Host: localhost:80:80"),
    with_host("a Host with an open bracket", b"Host: [::1"),
    with_host("a Host in other letters", "Host: löcalhost".encode()),
    with_host("a Host with a backslash", b"Host: localhost\\x"),
]

TARGETS = [
    with_line("a target in absolute form", b"GET http://localhost/health/live HTTP/1.1"),
    with_line("a target in absolute form of another host", b"GET https://evil.example/health/live HTTP/1.1"),
    with_line("a target in authority form", b"GET localhost:80 HTTP/1.1"),
    with_line("CONNECT", b"CONNECT localhost:443 HTTP/1.1"),
    with_line("CONNECT of a path", b"CONNECT /health/live HTTP/1.1"),
    with_line("a target without a slash", b"GET health/live HTTP/1.1"),
    with_line("a target with a fragment", b"GET /health/live#x HTTP/1.1"),
    with_line("a target in Latin-1", b"GET /health/l\xefve HTTP/1.1"),
    with_line("a target in UTF-8", "GET /health/lïve HTTP/1.1".encode()),
    with_line("a target with a space", b"GET /health/live x HTTP/1.1"),
    with_line("a target with a tab", b"GET /health/live\tx HTTP/1.1"),
    with_line("a target with a NUL", b"GET /health/live\x00 HTTP/1.1"),
    with_line("a target with a DEL", b"GET /health/live\x7f HTTP/1.1"),
    with_line("no target", b"GET HTTP/1.1"),
    with_line("a target of nothing", b"GET  HTTP/1.1"),
    with_line("a space after the version", b"GET /health/live HTTP/1.1 "),
    with_line("a space before the method", b" GET /health/live HTTP/1.1"),
    with_line("a method that is no token", b"GE(T /health/live HTTP/1.1"),
]

VERSIONS = [
    Refusal("HTTP/0.9", b"GET /health/live\r\n"),
    with_line("HTTP/0.9 by name", b"GET /health/live HTTP/0.9"),
    with_line("HTTP/1.2", b"GET /health/live HTTP/1.2"),
    with_line("HTTP/2.0", b"GET /health/live HTTP/2.0"),
    with_line("HTTP/1", b"GET /health/live HTTP/1"),
    with_line("HTTP/11.1", b"GET /health/live HTTP/11.1"),
    with_line("HTTP/1.10", b"GET /health/live HTTP/1.10"),
    with_line("http/1.1", b"GET /health/live http/1.1"),
    Refusal("the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    Refusal("a greeting of TLS", bytes.fromhex("16030100c8010000c40303") + b"\x5a" * 194),
]

SIZE = b"%x" % len(BODY)
END = b"0\r\n\r\n"

CHUNKS = [
    with_body("a chunk size with a plus", b"+%b\r\n%b\r\n" % (SIZE, BODY) + END),
    with_body("a chunk size with a minus", b"-%b\r\n%b\r\n" % (SIZE, BODY) + END),
    with_body("a chunk size after a space", b" %b\r\n%b\r\n" % (SIZE, BODY) + END),
    with_body("a chunk size before a space", b"%b \r\n%b\r\n" % (SIZE, BODY) + END),
    with_body("a chunk size with 0x", b"0x%b\r\n%b\r\n" % (SIZE, BODY) + END),
    with_body("a chunk size of nothing", b"\r\n%b\r\n" % BODY + END),
    with_body("a chunk size with another letter", b"%bg\r\n%b\r\n" % (SIZE, BODY) + END),
    with_body("a chunk size in quotes", b'"%b"\r\n%b\r\n' % (SIZE, BODY) + END),
    with_body("an extension without a size", b";%b\r\n%b\r\n" % (SIZE, BODY) + END),
    with_body("a chunk size of 17 digits", b"1%b\r\n%b\r\n" % (SIZE.rjust(16, b"0"), BODY) + END, *tuple(STATUSES)[:2]),
    with_body("no CRLF after a chunk", b"%b\r\n%b" % (SIZE, BODY) + END),
    with_body("more than the chunk size says", b"%b\r\n%b\r\n" % (SIZE, BODY + b" ") + END),
    with_body("a bare LF after the chunk size", b"%b\n%b\r\n" % (SIZE, BODY) + END),
    with_body("a bare CR after the chunk size", b"%b\r%b\r\n" % (SIZE, BODY) + END),
    with_body("a bare LF after the chunk", b"%b\r\n%b\n" % (SIZE, BODY) + END),
    with_body("a bare LF within an extension", b"%b;a\nb\r\n%b\r\n" % (SIZE, BODY) + END),
    with_body("a bare LF at the end of the body", b"%b\r\n%b\r\n0\r\n\n" % (SIZE, BODY)),
    with_body("bare LF throughout the body", b"%b\n%b\n0\n\n" % (SIZE, BODY)),
    with_body("a chunk extension of 20 kB", chunks(BODY, extension=b";a=" + b"x" * 20_000)),
    with_body("many extensions", chunks(*in_bytes(BODY), extension=b";a=" + b"x" * 700)),
    with_body("many tiny chunks", chunks(*[b" "] * 5_000, BODY)),
    with_body("a trailer without a colon", chunks(BODY, trailer=b"X-Trailer\r\n")),
    with_body("a trailer with a bare LF", chunks(BODY, trailer=b"X-Trailer: 1\n")),
    with_body("a trailer with a space before the colon", chunks(BODY, trailer=b"X-Trailer : 1\r\n")),
    with_body("a folded trailer", chunks(BODY, trailer=b"X-Trailer: 1\r\n 2\r\n")),
    with_body(
        "a trailer of 20 kB",
        chunks(BODY, trailer=b"X-Trailer: %b\r\n" % (b"x" * 20_000)),
        "malformed_request",
        "headers_too_large",
    ),
]


def too_large(what: str, *fields: bytes) -> Refusal:
    return Refusal(what, get(*fields), ("headers_too_large",))


LIMITS = [
    Refusal("a URI of 5,000 bytes", get(target=b"/health/live?".ljust(5_000, b"x")), ("uri_too_long",)),
    Refusal("a URI of 4,097 bytes", get(target=b"/health/live?".ljust(4_097, b"x")), ("uri_too_long",)),
    Refusal("a path of 8,000 bytes", get(target=b"/password-reset/MQ/".ljust(8_000, b"x")), ("uri_too_long",)),
    Refusal("a path of 20,000 bytes", get(target=b"/password-reset/MQ/".ljust(20_000, b"x")), ("uri_too_long",)),
    # The parser treats a longer path like any other part of the head.
    Refusal("a path of 40,000 bytes", get(target=b"/password-reset/MQ/".ljust(40_000, b"x")), ("headers_too_large",)),
    too_large("a field of 17,000 bytes", b"X-Field: ".ljust(17_000, b"x")),
    too_large("a field of 40,000 bytes", b"X-Field: ".ljust(40_000, b"x")),
    too_large("a name of 17,000 bytes", b"X-Field".ljust(17_000, b"x") + b": 1"),
    too_large("cookies of 20,000 bytes", b"Cookie: session=".ljust(20_000, b"x")),
    too_large("a path of 4,000 and a field of 13,000 bytes", b"X-Field: ".ljust(13_000, b"x")).on(b"/health/live?".ljust(4_000, b"x")),
    # Host is the other field.
    too_large("65 fields", *[b"X-Field: 1"] * 64),
    too_large("100 fields", *[b"X-Field: 1"] * 99),
    too_large("200 fields", *[b"X-Field: 1"] * 199),
    too_large("20 kB of fields", *[b"X-Field: ".ljust(5_000, b"x")] * 4),
    Refusal(
        "a body over 16 KiB", post(length(padded(LARGEST_BODY + 1))) + padded(LARGEST_BODY + 1), ("payload_too_large",)
    ),
    Refusal("a body of an announced gigabyte", post(b"Content-Length: 1000000000"), ("payload_too_large",)),
    Refusal(
        "a body over 16 KiB that would be waited for",
        post(length(padded(LARGEST_BODY + 1)), b"Expect: 100-continue"),
        ("payload_too_large",),
    ),
    with_body("a chunk over 16 KiB", chunks(padded(LARGEST_BODY + 1)), "payload_too_large"),
    with_body("chunks over 16 KiB", chunks(padded(LARGEST_BODY), b" "), "payload_too_large"),
    with_body("many chunks over 16 KiB", chunks(BODY, *[b" " * 1_000] * 17), "payload_too_large"),
]

REFUSALS = [*TWO_LENGTHS, *LENGTHS, *ENCODINGS, *FIELDS, *HOSTS, *TARGETS, *VERSIONS, *CHUNKS, *LIMITS]


@dataclass(frozen=True)
class Acceptance:
    """A request that gets the status, and leaves the connection usable."""

    what: str
    request: bytes = field(repr=False)
    status: int = 200

    def __str__(self) -> str:
        return self.what


def accepted(what: str, *fields: bytes, body: bytes = BODY) -> Acceptance:
    """Builds a request for an email."""
    return Acceptance(what, post(*fields) + body, 202)


ACCEPTANCES = [
    accepted("a body by its length", length(BODY)),
    accepted("a body of 16 KiB", length(padded(LARGEST_BODY)), body=padded(LARGEST_BODY)),
    accepted("a chunked body", CHUNKED, body=chunks(BODY)),
    accepted("a chunked body of 16 KiB", CHUNKED, body=chunks(padded(LARGEST_BODY))),
    accepted("a chunked body of 16 KiB in sixteen", CHUNKED, body=chunks(padded(1_024), *[b" " * 1_024] * 15)),
    accepted("a body in chunks of a byte", CHUNKED, body=chunks(*in_bytes(BODY))),
    accepted("a small extension", CHUNKED, body=chunks(BODY, extension=b';a=1;b="2"')),
    accepted("a trailer", CHUNKED, body=chunks(BODY, trailer=b"X-Trailer: 1\r\n")),
    accepted("a chunk size with zeros", CHUNKED, body=b"000%b\r\n%b\r\n000\r\n\r\n" % (SIZE, BODY)),
    accepted("a chunk size in capitals", CHUNKED, body=b"AB\r\n%b\r\n0\r\n\r\n" % padded(0xAB)),
    accepted("Chunked", b"Transfer-Encoding: Chunked", body=chunks(BODY)),
    accepted("cHuNkEd", b"tRaNsFeR-eNcOdInG: cHuNkEd", body=chunks(BODY)),
    accepted("CHUNKED amid white space", b"Transfer-Encoding: \t CHUNKED  ", body=chunks(BODY)),
    accepted("Content-Length amid white space", b"content-length: \t %d  " % len(BODY)),
    Acceptance("a line end before the request line", b"\r\n" + get()),
    Acceptance("a line end after the request", get() + b"\r\n"),
    Acceptance("a URI of 4,000 bytes", get(target=b"/health/live?".ljust(4_000, b"x"))),
    Acceptance("a URI of 4,096 bytes", get(target=b"/health/live?".ljust(4_096, b"x"))),
    Acceptance("a field of 8,000 bytes", get(b"X-Field: ".ljust(8_000, b"x"))),
    Acceptance("a field of 16,000 bytes", get(b"X-Field: ".ljust(16_000, b"x"))),
    Acceptance("a cookie of 12,000 bytes", get(b"Cookie: session=".ljust(12_000, b"x"))),
    Acceptance("a Referer and an Authorization of 7,000 bytes", get(b"Referer: ".ljust(7_000, b"x"), b"Authorization: ".ljust(7_000, b"x"))),
    Acceptance("15 kB of fields", get(*[b"X-Field: ".ljust(5_000, b"x")] * 3)),
    Acceptance("64 fields", get(*[b"X-Field: 1"] * 63)),
    Acceptance("a field of nothing", get(b"X-Field:")),
    Acceptance("a field in Latin-1", get(b"X-Field: caf\xe9")),
    Acceptance("a field in UTF-8", get("X-Field: café".encode())),
    Acceptance("a Host with a port", lines(b"GET /health/live HTTP/1.1", b"Host: localhost:8080")),
    Acceptance("a Host with an empty port", lines(b"GET /health/live HTTP/1.1", b"Host: localhost:")),
    Acceptance("a Host in IPv4", lines(b"GET /health/live HTTP/1.1", b"Host: 127.0.0.1:8080")),
    Acceptance("a Host in IPv6", lines(b"GET /health/live HTTP/1.1", b"Host: [::1]:8080")),
    Acceptance("a Host of another name", lines(b"GET /health/live HTTP/1.1", b"hOST: Evil.Example")),
    Acceptance("a Content-Length of nothing", get(b"Content-Length: 0")),
    Acceptance("OPTIONS of all", lines(b"OPTIONS * HTTP/1.1", b"Host: localhost"), 404),
]


@dataclass(frozen=True)
class Outcome:
    talk: Talk
    # The requests under the number of the case that the service accepted: "first", "smuggled".
    number: int


@pytest.fixture(scope="module")
def asked(module_service: Service, module_database: Path) -> Path:
    """Returns the database. A trigger copies each accepted request, because the worker deletes its row."""
    with connected(module_database) as connection:
        connection.executescript(
            """
            CREATE TABLE asked (identifier TEXT);
            CREATE TRIGGER ask AFTER INSERT ON password_reset_outbox
            BEGIN INSERT INTO asked VALUES (new.identifier); END;
            """
        )
    return module_database


def asked_for(database: Path, number: int) -> list[str]:
    """Returns those of the case's two addresses that the service accepted."""
    with connected(database) as connection:
        names = connection.execute(
            "SELECT replace(identifier, ?, '') FROM asked WHERE identifier LIKE ? ORDER BY rowid",
            [f"-{number:04}@example.com", f"%-{number:04}@%"],
        )
        return [name for (name,) in names]


@pytest.fixture(scope="module")
def outcomes(module_service: Service, asked: Path) -> Iterator[dict[Refusal, Future[Outcome]]]:
    """Returns the outcome of every refusal. The cases run in parallel, because each may wait for the end of its
    connection.
    """
    with ThreadPoolExecutor(max_workers=64) as pool:

        def play(number: int, request: bytes) -> Outcome:
            return Outcome(exchange(module_service.port, numbered(request, number), seconds=SECONDS_TO_CLOSE), number)

        yield {
            refusal: pool.submit(play, number, refusal.request + SMUGGLED) for number, refusal in enumerate(REFUSALS)
        }


USUAL_FIELDS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Content-Language": "en",
    "Content-Type": "application/problem+json",
}


@pytest.mark.parametrize("refusal", REFUSALS, ids=str)
def test_the_service_refuses_once_and_closes(
    refusal: Refusal, outcomes: dict[Refusal, Future[Outcome]], asked: Path, module_service: Service
) -> None:
    outcome = outcomes[refusal].result()
    talk = outcome.talk
    assert [(response.status, response.code) for response in talk.responses] in [
        [(STATUSES[code], code)] for code in refusal.codes
    ], str(talk)
    assert talk.rest == b""
    assert talk.closed, "the service did not close the connection"
    assert asked_for(asked, outcome.number) == []
    (response,) = talk.responses
    assert {name: response.headers[name] for name in USUAL_FIELDS} == USUAL_FIELDS
    assert response.headers["X-Request-Id"] == response.json["request_id"]
    assert response.json["status"] == response.status
    # Another release may not have this option.
    assert response.announces_close or b" HTTP/1.1\r\n" not in refusal.request
    assert is_alive(module_service.port)


def converse(service: Service, requests: bytes, *, responses: int, methods: Iterable[str] = ()) -> Talk:
    """Sends the requests, and after that many responses one that announces the end of the connection."""
    with Connection(service.port) as connection:
        connection.send(requests)
        connection.listen(10, responses=responses, methods=methods)
        connection.send(LAST)
        return connection.listen(10, methods=methods)


@pytest.mark.parametrize("acceptance", ACCEPTANCES, ids=str)
def test_the_service_understands_a_request_with(acceptance: Acceptance, asked: Path, module_service: Service) -> None:
    number = 5_000 + ACCEPTANCES.index(acceptance)
    talk = converse(module_service, numbered(acceptance.request, number), responses=1)
    assert talk.statuses == [acceptance.status, 200], str(talk)
    assert talk.rest == b"" and talk.closed
    assert not talk.responses[0].announces_close
    assert asked_for(asked, number) == (["first"] if acceptance.status == 202 else [])
    assert is_alive(module_service.port)


@pytest.mark.parametrize(
    "request_, status",
    [
        (post(length(BODY), b"Connection: Upgrade, HTTP2-Settings", *UPGRADE) + BODY, 202),
        (get(b"Connection: Upgrade", b"Upgrade: websocket"), 200),
    ],
    ids=["HTTP/2", "WebSocket"],
)
def test_an_upgrade_is_ignored_and_the_connection_closed(
    request_: bytes, status: int, module_service: Service
) -> None:
    with Connection(module_service.port) as connection:
        connection.send(request_)
        talk = connection.listen(10)
    assert talk.statuses == [status] and talk.closed and talk.responses[0].announces_close


def test_requests_in_one_segment_are_answered_in_order(module_service: Service) -> None:
    requests = [get(), get(target=b"/nowhere"), post(length(BODY)) + BODY, get(target=b"/openapi.yaml"), SMUGGLED]
    statuses = [200, 404, 202, 200, 202]
    talk = converse(module_service, b"".join(requests * 20), responses=100)
    assert talk.statuses == statuses * 20 + [200], str(talk)
    assert talk.closed


def test_the_last_request_may_be_in_the_same_segment(module_service: Service) -> None:
    talk = exchange(module_service.port, get() + post(length(BODY)) + BODY + LAST + get())
    assert talk.statuses == [200, 202, 200], str(talk)
    assert talk.rest == b"" and talk.closed


def test_the_service_understands_a_request_byte_by_byte(module_service: Service) -> None:
    request = b"\r\n" + post(CHUNKED) + chunks(*in_bytes(BODY), extension=b";a=1", trailer=b"X-Trailer: 1\r\n")
    with Connection(module_service.port) as connection:
        connection.send(*in_bytes(request + post(length(BODY)) + BODY))
        connection.listen(10, responses=2)
        connection.send(*in_bytes(LAST))
        talk = connection.listen(10)
    assert talk.statuses == [202, 202, 200], str(talk)
    assert talk.closed


@pytest.mark.parametrize("refusal", [TWO_LENGTHS[0], ENCODINGS[0], FIELDS[0], HOSTS[0], CHUNKS[0]], ids=str)
def test_the_service_refuses_a_request_byte_by_byte(refusal: Refusal, module_service: Service) -> None:
    talk = exchange(module_service.port, *in_bytes(refusal.request + SMUGGLED))
    assert [response.code for response in talk.responses] == ["malformed_request"], str(talk)
    assert talk.closed


@pytest.mark.parametrize("refusal", [TWO_LENGTHS[0], FIELDS[0], HOSTS[0], TARGETS[0], CHUNKS[0], LIMITS[0]], ids=str)
def test_a_refusal_follows_the_responses_to_earlier_requests(refusal: Refusal, module_service: Service) -> None:
    request = get() + post(length(BODY)) + BODY + refusal.request + SMUGGLED
    talk = exchange(module_service.port, request, seconds=SECONDS_TO_CLOSE)
    assert talk.statuses == [200, 202, STATUSES[refusal.codes[0]]], str(talk)
    assert talk.closed


@pytest.mark.parametrize("option", [b"close", b"Close", b"keep-alive, close", b"close, x"], ids=bytes.decode)
def test_nothing_after_an_announced_end_is_answered(option: bytes, module_service: Service) -> None:
    talk = exchange(module_service.port, get(b"Connection: " + option) + get())
    assert talk.statuses == [200], str(talk)
    assert talk.closed


def test_http_1_0_ends_with_its_response(module_service: Service) -> None:
    request = post(length(BODY), version=b"HTTP/1.0") + BODY
    talk = exchange(module_service.port, request + get(version=b"HTTP/1.0"))
    assert talk.statuses == [202], str(talk)
    assert talk.rest == b"" and talk.closed


def test_http_1_0_may_be_kept_alive(module_service: Service) -> None:
    """A service does not have to keep the connection, but must keep it if it says so."""
    with Connection(module_service.port) as connection:
        connection.send(post(length(BODY), b"Connection: keep-alive", version=b"HTTP/1.0") + BODY)
        (response,) = connection.listen(10, responses=1).responses
        promised = response.headers.get("Connection", "").lower() == "keep-alive"
        connection.send(get(version=b"HTTP/1.0"))
        talk = connection.listen(10)
    assert talk.statuses == [202, 200] or (not promised and talk.statuses == [202]), str(talk)
    assert talk.rest == b"" and talk.closed


def test_a_client_that_waits_for_100_continue_gets_it(module_service: Service) -> None:
    with Connection(module_service.port) as connection:
        connection.send(post(length(BODY), b"Expect: 100-continue"))
        assert connection.listen(10, responses=1).statuses == [100]
        connection.send(BODY)
        assert connection.listen(10, responses=2).statuses == [100, 202]
        connection.send(LAST)
        assert connection.listen(10).statuses == [100, 202, 200]


def test_a_body_is_read_although_the_client_does_not_wait_for_100_continue(module_service: Service) -> None:
    with Connection(module_service.port) as connection:
        connection.send(post(length(BODY), b"Expect: 100-continue") + BODY)
        connection.end_sending()
        talk = connection.listen(10)
    # The service may send 100 Continue or not if the body has already arrived (RFC 9110, 10.1.1).
    assert [status for status in talk.statuses if status != 100] == [202], str(talk)


def test_http_1_0_never_gets_100_continue(module_service: Service) -> None:
    talk = exchange(module_service.port, post(length(BODY), b"Expect: 100-continue", version=b"HTTP/1.0"), BODY)
    assert talk.statuses == [202], str(talk)


@pytest.mark.parametrize(
    "request_",
    [get(), post(length(BODY)) + BODY, post(CHUNKED) + chunks(BODY), get(target=b"/openapi.yaml")],
    ids=["GET", "POST by length", "POST in chunks", "a long reply"],
)
def test_a_client_that_stops_sending_gets_its_response(request_: bytes, module_service: Service) -> None:
    with Connection(module_service.port) as connection:
        connection.send(request_)
        connection.end_sending()
        talk = connection.listen(10)
    assert [status // 100 for status in talk.statuses] == [2], str(talk)
    assert talk.closed


@pytest.mark.parametrize(
    "beginning",
    [b"", b"GET /health/live HT", post(length(BODY)), post(length(BODY)) + BODY[:-1], post(CHUNKED) + b"5\r\n12"],
    ids=["nothing", "a line", "a head", "a body", "a chunk"],
)
def test_an_incomplete_request_has_no_effect(beginning: bytes, module_service: Service) -> None:
    with Connection(module_service.port) as connection:
        connection.send(beginning)
        connection.end_sending()
        talk = connection.listen(10)
    assert all(status // 100 == 4 for status in talk.statuses), str(talk)
    assert talk.closed


@dataclass(frozen=True)
class EarlyAnswer:
    """A request that the service can answer before it has read the body."""

    what: str
    head: bytes = field(repr=False)
    status: int

    def __str__(self) -> str:
        return self.what


EARLY_ANSWERS = [
    EarlyAnswer("GET", b"GET /health/live HTTP/1.1\r\n", 200),
    EarlyAnswer("a path that is not there", b"POST /nowhere HTTP/1.1\r\n", 404),
    EarlyAnswer("a method that is not taken", b"PUT /password-reset HTTP/1.1\r\n", 405),
    EarlyAnswer("another type", b"POST /password-reset HTTP/1.1\r\nContent-Type: text/plain\r\n", 415),
    EarlyAnswer("OPTIONS", b"OPTIONS /password-reset HTTP/1.1\r\n", 204),
]


@pytest.mark.parametrize("chunked", [False, True], ids=["by length", "in chunks"])
@pytest.mark.parametrize("early", EARLY_ANSWERS, ids=str)
def test_an_unread_body_is_not_parsed_as_a_request(
    early: EarlyAnswer, chunked: bool, module_service: Service, asked: Path
) -> None:
    number = 9_000 + 2 * EARLY_ANSWERS.index(early) + chunked
    smuggled = numbered(SMUGGLED, number)
    body = lines(b"Host: localhost", CHUNKED) + chunks(smuggled)
    if not chunked:
        body = lines(b"Host: localhost", length(smuggled)) + smuggled
    talk = converse(module_service, early.head + body + get(), responses=2)
    first, *others = talk.responses
    assert first.status == early.status
    assert [response.status for response in others] == ([] if first.announces_close else [200, 200])
    assert talk.rest == b"" and talk.closed
    assert asked_for(asked, number) == []


def answers(service: Service, *requests: bytes, methods: Iterable[str] = ()) -> list[Response]:
    """Returns the response to each of the requests, which share one connection and leave it usable."""
    talk = converse(service, b"".join(requests), responses=len(requests), methods=methods)
    assert len(talk.responses) == len(requests) + 1 and talk.statuses[-1] == 200, str(talk)
    assert talk.rest == b"" and talk.closed
    return talk.responses[:-1]


INVALID_LINK = b"/password-reset/MQ/abcdef-0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize(
    "path",
    [
        b"/",
        b"//",
        b"/nowhere",
        b"/password-reset/",
        b"//password-reset",
        b"/password-reset//",
        b"/Password-Reset",
        b"/password%2dreset",
        b"/password-reset;x",
        b"/password-reset/MQ",
        b"/password-reset/MQ/",
        b"/password-reset//token",
        b"/password-reset/MQ//token",
        b"/password-reset/MQ/token/",
        b"/password-reset/MQ/token/x",
        b"//password-reset/MQ/token",
        b"/password-reset/./token",
        b"/password-reset/../token",
        b"/password-reset/MQ/.",
        b"/password-reset/MQ/..",
        b"/./password-reset",
        b"/x/../password-reset",
        b"/password-reset/../health/live",
        b"/password-reset/MQ/../../health/live",
        b"/health",
        b"/health/",
        b"/health/live/",
        b"/health//live",
        b"//health/live",
        b"/health/./live",
        b"/health/../health/live",
        b"/health/live/.",
        b"/health/Live",
        b"/health/liv%65",
        b"/health%2flive",
        b"/health/live;x",
        b"/health/live&x",
        b"/health\\live",
        b"/openapi.yaml/",
        b"/openapi.yml",
        b"/openapi",
        b"/metrics",
        b"/{path}",
        b"/*",
    ],
    ids=bytes.decode,
)
def test_there_is_no_route_at(path: bytes, module_service: Service) -> None:
    requests = [get(target=path), get(target=path + b"?x=1"), post(b"Content-Length: 0", path=path)]
    responses = answers(module_service, *requests)
    assert [response.code for response in responses] == ["not_found"] * 3
    assert all("Allow" not in response.headers for response in responses)


@pytest.mark.parametrize(
    "path",
    [
        INVALID_LINK,
        b"/password-reset/MQ/token",
        b"/password-reset/live/live",
        b"/password-reset/{uidb64}/{token}",
        b"/password-reset/:uidb64/:token",
        b"/password-reset/*/**",
        b"/password-reset/.../...",
        b"/password-reset/%2e/%2e%2e",
        b"/password-reset/MQ/a%2fb",
        b"/password-reset/%00/%0d%0a",
        b"/password-reset/%ff/%",
        b"/password-reset/%4d%51/token",
        b"/password-reset/MQ;x/token;x",
        b"/password-reset/\\/'\"<>`|^~",
        b"/password-reset/MQ/".ljust(4_000, b"x"),
    ],
    ids=lambda path: path.decode()[:50],
)
def test_a_link_is_not_found_at(path: bytes, module_service: Service) -> None:
    body = b'{"new_password1": "correct-horse-71", "new_password2": "correct-horse-71"}'
    checked, confirmed = answers(module_service, get(target=path), post(length(body), path=path) + body)
    assert (checked.status, checked.json["validlink"], checked.json["code"]) == (200, False, "invalid_link")
    assert (confirmed.status, confirmed.json["validlink"], confirmed.code) == (400, False, "invalid_link")


METHODS = {
    b"/password-reset": ["POST", "OPTIONS"],
    INVALID_LINK: ["GET", "HEAD", "POST", "OPTIONS"],
    b"/health/live": ["GET", "HEAD", "OPTIONS"],
    b"/health/ready": ["GET", "HEAD", "OPTIONS"],
    b"/openapi.yaml": ["GET", "HEAD", "OPTIONS"],
}
paths = pytest.mark.parametrize("path", METHODS, ids=bytes.decode)


def asking(method: str, target: bytes) -> bytes:
    return lines(b"%b %b HTTP/1.1" % (method.encode(), target), b"Host: localhost")


def allowed(response: Response) -> list[str]:
    return sorted(response.headers["Allow"].split(", "))


@pytest.mark.parametrize("query", [b"", b"?", b"?x=1"], ids=["bare", "with ?", "with a query"])
@paths
def test_a_refused_method_gets_the_allowed_ones(path: bytes, query: bytes, module_service: Service) -> None:
    others = [method for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "TRACE") if method not in METHODS[path]]
    refused = answers(module_service, *[asking(method, path + query) for method in others])
    assert [response.code for response in refused] == ["method_not_allowed"] * len(others)
    assert [allowed(response) for response in refused] == [sorted(METHODS[path])] * len(others)


@paths
def test_options_lists_the_methods(path: bytes, module_service: Service) -> None:
    (options,) = answers(module_service, asking("OPTIONS", path))
    assert (options.status, allowed(options)) == (204, sorted(METHODS[path]))
    # RFC 9110, 8.6: a response without content has no length.
    assert "Content-Length" not in options.headers and "Transfer-Encoding" not in options.headers
    assert "Content-Type" not in options.headers


@pytest.mark.parametrize("path", [*METHODS, b"/nowhere"], ids=bytes.decode)
def test_head_is_get_without_a_body(path: bytes, module_service: Service) -> None:
    # HEAD is refused where GET is; then only the method differs.
    methods = ["GET", "HEAD"]
    got, head = answers(module_service, *[asking(method, path) for method in methods], methods=methods)

    def fields(response: Response) -> list[tuple[str, str]]:
        # These fields differ in each response.
        return sorted((name, value) for name, value in response.headers.items() if name not in ("Date", "X-Request-Id"))

    assert (head.status, fields(head)) == (got.status, fields(got))
    assert head.headers["Content-Length"] == str(len(got.body))


def test_head_is_refused_where_only_post_is_allowed(module_service: Service) -> None:
    (head,) = answers(module_service, asking("HEAD", b"/password-reset"), methods=["HEAD"])
    assert (head.status, allowed(head)) == (405, ["OPTIONS", "POST"])


HOST_OF = {"public": "127.0.0.1", "admin": ADMIN_HOST}


def over(listener: str, service: Service, request: bytes) -> Talk:
    """Sends the request to the listener, and reads until it closes the connection."""
    port = service.admin_port if listener == "admin" else service.port
    with Connection(port, host=HOST_OF[listener]) as connection:
        connection.send(request)
        return connection.listen(10, methods=[request.split()[0].decode()])


@pytest.mark.parametrize("listener", HOST_OF)
@pytest.mark.parametrize(
    "request_, status",
    [
        pytest.param(lines(b"GET /health/ready HTTP/1.0"), 200, id="GET"),
        pytest.param(lines(b"HEAD /health/ready HTTP/1.0"), 200, id="HEAD"),
        pytest.param(lines(b"GET /health/live HTTP/1.0", b"User-Agent: check_http", b"Accept: */*"), 200, id="fields"),
        pytest.param(lines(b"GET /health/live HTTP/1.0", b"Connection: close"), 200, id="close"),
        pytest.param(lines(b"OPTIONS /health/ready HTTP/1.0"), 204, id="OPTIONS"),
        pytest.param(lines(b"GET / HTTP/1.0"), 404, id="another path"),
    ],
)
def test_a_health_check_in_http_1_0_needs_no_host(request_: bytes, status: int, listener: str, module_service: Service) -> None:
    """Load balancers send it to either listener."""
    talk = over(listener, module_service, request_)
    assert talk.statuses == [status] and talk.closed and talk.rest == b"", str(talk)


@pytest.mark.parametrize("listener", HOST_OF)
def test_a_request_in_http_1_1_needs_a_host(listener: str, module_service: Service) -> None:
    talk = over(listener, module_service, lines(b"GET /health/ready HTTP/1.1"))
    assert [response.code for response in talk.responses] == ["malformed_request"] and talk.closed, str(talk)
