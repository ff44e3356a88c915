"""HTTPS without a proxy: HTTP/2 and HTTP/1.1, at least TLS 1.2, certificates that change while the service runs."""

import http.client
import json
import re
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from django.contrib.auth import authenticate
from django.contrib.auth.models import User

from certificates import Authority
from django_site import add_user, link_for
from outbox import connected
from processes import wait_until
from service import BASE_ENVIRONMENT, Link, Service, command, serving

OLD = "correct-horse-71-old"
NEW = "battery-staple-92-new"
MAXIMUM_BODY = 16 * 1024
# Replaces a certificate or a key.
GARBAGE = b"-----BEGIN CERTIFICATE-----\nbm90IG9uZQ==\n-----END CERTIFICATE-----\n"


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, in PEM."""

    certificate: bytes
    key: bytes

    @classmethod
    def issued_by(cls, authority: Authority, *, uses_rsa: bool = False) -> "Pair":
        """Creates a new pair for localhost."""
        key, begin, certificate = authority.issue("localhost", uses_rsa=uses_rsa).read_bytes().partition(b"-----BEGIN CERTIFICATE-----")
        return cls(begin + certificate, key)

    @property
    def serial(self) -> int:
        return x509.load_pem_x509_certificate(self.certificate).serial_number

    @property
    def encrypted_key(self) -> bytes:
        key = load_pem_private_key(self.key, None)
        return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"a passphrase"))

    def is_betrayed_by(self, text: str) -> bool:
        """Returns whether a line of the key is in `text`."""
        return any(line in text for line in self.key.decode().splitlines() if not line.startswith("-----"))


@dataclass(frozen=True)
class Files:
    """The files from which the service reads its certificate and key."""

    certificate: Path
    key: Path

    @classmethod
    def with_pair(cls, folder: Path, pair: Pair) -> "Files":
        files = cls(folder / "certificate.pem", folder / "key.pem")
        files.replace(pair)
        return files

    @property
    def settings(self) -> dict[str, str]:
        return {"HTTP_SSL_CERTFILE": str(self.certificate), "HTTP_SSL_KEYFILE": str(self.key)}

    def replace(self, pair: Pair) -> None:
        """Replaces each file atomically, one after the other, as certificate renewal does."""
        put(self.key, pair.key)
        put(self.certificate, pair.certificate)


def put(path: Path, content: bytes) -> None:
    """Replaces the file `path` atomically."""
    temporary = path.with_suffix(".new")
    temporary.touch(mode=0o600)
    temporary.write_bytes(content)
    temporary.rename(path)


@pytest.fixture
def pair(authority: Authority) -> Pair:
    return Pair.issued_by(authority)


@pytest.fixture
def files(tmp_path: Path, pair: Pair) -> Files:
    return Files.with_pair(tmp_path, pair)


@pytest.fixture(scope="module")
def https(module_database: Path, tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Service]:
    """Runs the service over HTTPS, for tests that do not affect each other."""
    folder = tmp_path_factory.mktemp("https")
    files = Files.with_pair(folder, Pair.issued_by(authority))
    with serving(module_database, folder, PASSWORD_HASHER_OPTIONS="iterations=1000000", **files.settings) as service:
        yield service


CURL = ["curl", "--disable", "--no-progress-meter"]
FACTS = r"%{stderr}%{method} %{response_code} %{local_port} %{http_version} %{ssl_verify_result}\n"


@dataclass(frozen=True)
class Transfer:
    """The data that curl reports about one request."""

    method: str
    status: int
    # The client's port, which identifies the connection.
    port: int
    body: Any = None


@dataclass(frozen=True)
class Curl:
    """The curl program, which speaks one version of HTTP and trusts one authority."""

    service: Service
    authority: Authority
    version: str

    def get(self, path: str) -> Transfer:
        return self._call(path)

    def post(self, path: str, **members: Any) -> Transfer:
        return self._call(path, "--data-binary", "@-", body=json.dumps(members).encode())

    def post_bytes(self, path: str, body: bytes, *, announced: bool) -> Transfer:
        """Sends a body, with its length in a header or without."""
        return self._call(path, *(["--data-binary", "@-"] if announced else ["-X", "POST", "-T", "-"]), body=body)

    def arguments(self, path: str, *options: str) -> list[str]:
        """Returns the arguments of one request; curl prints the data about it to standard error, as a line."""
        general = ["--ipv4", "--max-time", "30", "--write-out", FACTS]
        headers = ["--header", "Content-Type: application/json"]
        own = [f"--http{self.version}", "--cacert", str(self.authority.file), *options]
        return [*general, *headers, *own, f"https://localhost:{self.service.port}{path}"]

    def transfer(self, line: str, body: str = "") -> Transfer:
        """Parses such a line, which must report the right version and a verified certificate."""
        method, status, port, version, verified = line.split()
        assert (version, verified) == (self.version, "0")
        return Transfer(method, int(status), int(port), json.loads(body) if body else None)

    def _call(self, path: str, *options: str, body: bytes = b"") -> Transfer:
        done = run_curl(*self.arguments(path, *options), body=body)
        assert done.returncode == 0, done.stderr
        return self.transfer(done.stderr, done.stdout)


def run_curl(*arguments: str, body: bytes = b"") -> subprocess.CompletedProcess[str]:
    done = subprocess.run([*CURL, *arguments], env=BASE_ENVIRONMENT, input=body, capture_output=True, timeout=60)
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


def link_in(folder: Path) -> Link | None:
    """Returns the link in the one email that has one among the files of the `file` backend."""
    text = "".join(file.read_text() for file in folder.glob("*.log"))
    found = set(re.findall(r"/reset/([\w-]+)/([\w-]+)/", text))
    assert len(found) <= 1
    return Link(*found.pop()) if found else None


@pytest.mark.parametrize("version", ["1.1", "2"])
def test_a_user_gets_a_new_password_over_https(
    version: str, files: Files, tmp_path: Path, authority: Authority, serve: Callable[..., Service]
) -> None:
    User.objects.create_user("alice", "alice@example.com", OLD)
    mails = tmp_path / "mails"
    backend = {"EMAIL_BACKEND": "file", "EMAIL_FILE_PATH": str(mails), "PASSWORD_HASHER_OPTIONS": "iterations=10"}
    curl = Curl(serve(**backend, **files.settings), authority, version)

    assert curl.post("/password-reset", email="alice@example.com").status == 202
    link = wait_until(lambda: link_in(mails), "the email")
    path = f"/password-reset/{link.uid}/{link.token}"
    checked = curl.get(path)
    assert (checked.status, checked.body["validlink"]) == (200, True)

    weak = curl.post(path, new_password1="12345678", new_password2="12345678")
    assert (weak.status, weak.body["code"]) == (400, "validation_error")
    assert curl.post(path, new_password1=NEW, new_password2=NEW).status == 200
    assert authenticate(username="alice", password=NEW) is not None
    assert authenticate(username="alice", password=OLD) is None

    again = curl.post(path, new_password1=OLD, new_password2=OLD)
    assert (again.status, again.body["code"]) == (400, "invalid_link")
    assert authenticate(username="alice", password=NEW) is not None


def test_an_unknown_authority_is_not_trusted(https: Service, tmp_path: Path) -> None:
    untrusted = Authority(tmp_path, "untrusted")
    done = run_curl(*Curl(https, untrusted, "2").arguments("/health/live"))
    assert done.returncode == 60, done.stderr


def test_many_requests_share_a_connection(https: Service, authority: Authority) -> None:
    curl = Curl(https, authority, "2")
    others = [*curl.arguments("/health/live"), "--next"] * 50
    done = run_curl("--parallel", "--parallel-max", "50", *others, *curl.arguments("/openapi.yaml"))
    assert done.returncode == 0, done.stderr
    transfers = [curl.transfer(line) for line in done.stderr.splitlines()]
    assert [transfer.status for transfer in transfers] == [200] * 51
    assert len({transfer.port for transfer in transfers}) == 1


def test_a_slow_request_does_not_delay_others_on_its_connection(https: Service, authority: Authority) -> None:
    curl = Curl(https, authority, "2")
    link = link_for(add_user("alice", "alice@example.com"))
    passwords = json.dumps({"new_password1": NEW, "new_password2": NEW})
    # Hashing a password takes time.
    slow = curl.arguments(f"/password-reset/{link.uid}/{link.token}", "--data-binary", passwords)
    done = run_curl("--parallel", *slow, "--next", *curl.arguments("/health/live"))
    assert done.returncode == 0, done.stderr
    first, second = (curl.transfer(line) for line in done.stderr.splitlines())
    assert [(transfer.method, transfer.status) for transfer in (first, second)] == [("GET", 200), ("POST", 200)]
    assert first.port == second.port


@pytest.mark.parametrize("announced", [True, False], ids=["announced", "unannounced"])
@pytest.mark.parametrize("version", ["1.1", "2"])
def test_a_body_has_a_maximum_size(version: str, announced: bool, https: Service, authority: Authority) -> None:
    curl = Curl(https, authority, version)

    def post(size: int) -> Transfer:
        body = b'{"email": "stranger@example.com"}'
        return curl.post_bytes("/password-reset", body + b" " * (size - len(body)), announced=announced)

    assert post(MAXIMUM_BODY).status == 202
    # If the service must close the connection to end a request, a client that still sends may miss the response.
    largest = 64 * 1024 if version == "1.1" else 1024 * 1024
    for size in (MAXIMUM_BODY + 1, largest):
        refused = post(size)
        assert (refused.status, refused.body["code"]) == (413, "payload_too_large")


@pytest.mark.parametrize("option", ["--tls-max=1.2", "--tlsv1.3"])
def test_the_service_speaks_tls_with(option: str, https: Service, authority: Authority) -> None:
    done = run_curl(*option.split("="), *Curl(https, authority, "2").arguments("/health/live"))
    assert done.returncode == 0, done.stderr


def test_a_client_without_alpn_gets_http_1_1(https: Service, authority: Authority) -> None:
    curl = Curl(https, authority, "1.1")
    done = run_curl("--no-alpn", *curl.arguments("/health/live"))
    assert done.returncode == 0, done.stderr
    assert curl.transfer(done.stderr).status == 200


@pytest.mark.parametrize("maximum", ["1.0", "1.1"])
def test_the_service_refuses_tls_up_to(maximum: str, https: Service, authority: Authority) -> None:
    # By default OpenSSL refuses to try such old versions.
    lenient = ["--tlsv1.0", "--ciphers", "DEFAULT:@SECLEVEL=0"]
    request = Curl(https, authority, "1.1").arguments("/health/live")
    assert run_curl(*lenient, *request).returncode == 0
    done = run_curl("--tls-max", maximum, *lenient, *request)
    assert done.returncode == 35, done.stderr
    assert "no protocols available" not in done.stderr, "curl did not try"


def test_the_service_refuses_tls_without_forward_secrecy_or_authenticated_encryption(
    authority: Authority, tmp_path: Path, database: Path, serve: Callable[..., Service]
) -> None:
    # A key of RSA, with which a client could ask for the oldest suites.
    service = serve(**Files.with_pair(tmp_path, Pair.issued_by(authority, uses_rsa=True)).settings)
    request = Curl(service, authority, "1.1").arguments("/health/live")

    def connect(suites: str) -> subprocess.CompletedProcess[str]:
        return run_curl("--tls-max", "1.2", "--ciphers", f"{suites}:@SECLEVEL=0", *request)

    for accepted in ("ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-RSA-CHACHA20-POLY1305"):
        assert connect(accepted).returncode == 0, accepted
    # RSA encrypts the key, or AES-CBC the data.
    for refused in ("AES128-GCM-SHA256", "AES256-GCM-SHA384", "AES128-SHA", "AES256-SHA", "ECDHE-RSA-AES128-SHA", "ECDHE-RSA-AES256-SHA"):
        done = connect(refused)
        assert done.returncode == 35, refused
        assert "no cipher match" not in done.stderr, "curl did not try"


@pytest.mark.parametrize("version", ["1.1", "2"])
def test_plain_http_is_not_served(version: str, files: Files, database: Path, serve: Callable[..., Service]) -> None:
    add_user("alice", "alice@example.com")
    service = serve(**files.settings)
    body = b'{"email": "alice@example.com"}'
    head = b"POST /password-reset HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    request = head + b"Content-Length: %d\r\n\r\n" % len(body) + body
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\x04" + bytes(5)
    with socket.create_connection(("127.0.0.1", service.port), timeout=15) as client:
        client.sendall(request if version == "1.1" else preface)
        reply = b""
        try:
            while data := client.recv(1024):
                reply += data
        except ConnectionResetError:
            pass
    # The service may send a TLS alert.
    assert b"HTTP" not in reply and len(reply) < 20
    with connected(database) as connection:
        for table in ("outbox", "audit"):
            assert connection.execute(f"SELECT count(*) FROM password_reset_{table}").fetchone() == (0,)


def trusting(authority: Authority, protocol: str = "http/1.1") -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=authority.file)
    context.set_alpn_protocols([protocol])
    return context


def client_hello(context: ssl.SSLContext) -> bytes:
    """Returns the first message of a client."""
    outgoing = ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost").do_handshake()
    return outgoing.read()


@dataclass(frozen=True)
class StalledClient:
    """A client that never completes a request."""

    connection: socket.socket
    # Sends these bytes one by one, two per second.
    rest: bytes = b""

    def is_disconnected(self) -> bool:
        """Returns whether the service closes the connection within 15 seconds."""
        self.connection.settimeout(0.5)
        rest = self.rest
        deadline = time.monotonic() + 15
        while time.monotonic() < deadline:
            try:
                self.connection.sendall(rest[:1])
                rest = rest[1:]
                if not self.connection.recv(1024):
                    return True
            except TimeoutError:
                continue
            except (ConnectionError, ssl.SSLError):
                return True
        return False


@contextmanager
def stalled_clients(port: int, authority: Authority) -> Iterator[dict[str, StalledClient]]:
    """Connects one client of each kind."""
    with ExitStack() as stack:

        def connect() -> socket.socket:
            return stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=15))

        def shake_hands(protocol: str) -> ssl.SSLSocket:
            connection = trusting(authority, protocol).wrap_socket(connect(), server_hostname="localhost")
            assert connection.selected_alpn_protocol() == protocol
            return stack.enter_context(connection)

        hello = client_hello(trusting(authority))
        clients = {
            "no byte": StalledClient(connect()),
            "half a ClientHello": StalledClient(connect()),
            "a ClientHello byte by byte": StalledClient(connect(), rest=hello),
            "no request": StalledClient(shake_hands("http/1.1")),
            "half a request": StalledClient(shake_hands("http/1.1")),
            "no preface of HTTP/2": StalledClient(shake_hands("h2")),
        }
        clients["half a ClientHello"].connection.sendall(hello[: len(hello) // 2])
        clients["half a request"].connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: local")
        yield clients


def test_a_client_that_never_completes_a_request_is_disconnected(https: Service, authority: Authority) -> None:
    with stalled_clients(https.port, authority) as clients, ThreadPoolExecutor(len(clients)) as pool:
        outcomes = pool.map(StalledClient.is_disconnected, clients.values())
        assert Curl(https, authority, "2").get("/health/live").status == 200
        assert dict(zip(clients, outcomes, strict=True)) == dict.fromkeys(clients, True)


# A preface, settings, and `GET /` with an authority, in frames of RFC 9113 with HPACK's static table.
SILENT_CLIENT = (
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
    + bytes([0, 0, 14, 1, 5, 0, 0, 0, 1, 0x82, 0x87, 0x84, 0x41, 9])
    + b"localhost"
)


def test_silent_http2_clients_do_not_keep_slots_from_others(
    files: Files, database: Path, tmp_path: Path, authority: Authority
) -> None:
    """The service asks a client to close and waits for the answer. It must also close without an answer."""
    with ExitStack() as stack:
        # The service has room for 172 connections.
        service = stack.enter_context(serving(database, tmp_path, limits="-n 300", **files.settings))
        clients = []
        for _ in range(120):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", service.port), timeout=15))
            client = stack.enter_context(trusting(authority, "h2").wrap_socket(connection, server_hostname="localhost"))
            client.sendall(SILENT_CLIENT)
            clients.append(client)
        wait_until(lambda: service.connections < 100, "the first of them to be closed", seconds=40)
        assert Curl(service, authority, "2").get("/health/live").status == 200


def test_the_service_ends_regardless_of_its_clients(
    files: Files, authority: Authority, serve: Callable[..., Service]
) -> None:
    service = serve(**files.settings)
    with stalled_clients(service.port, authority):
        service.process.terminate()
        assert service.process.wait(timeout=10) == 0


def served_serial(port: int, authority: Authority) -> int:
    """Returns the serial number of the certificate that a new connection gets."""
    with (
        socket.create_connection(("127.0.0.1", port), timeout=15) as connection,
        trusting(authority).wrap_socket(connection, server_hostname="localhost") as client,
    ):
        certificate = client.getpeercert(binary_form=True)
        assert certificate is not None
        return x509.load_der_x509_certificate(certificate).serial_number


def wait_for_certificate(pair: Pair, port: int, authority: Authority) -> None:
    """Waits until new connections get the certificate of `pair`."""
    wait_until(lambda: served_serial(port, authority) == pair.serial, "the new certificate", seconds=10)


class Client:
    """Checks a link over HTTPS: always on one connection, or each time on a new one."""

    def __init__(self, port: int, authority: Authority, link: Link, *, keeps_connection: bool) -> None:
        self._connection = http.client.HTTPSConnection("localhost", port, timeout=15, context=trusting(authority))
        self._path = f"/password-reset/{link.uid}/{link.token}"
        self._keeps_connection = keeps_connection
        self.served = 0

    def check(self) -> None:
        self._connection.request("GET", self._path)
        response = self._connection.getresponse()
        assert (response.status, json.loads(response.read())["validlink"]) == (200, True)
        self.served += 1
        if not self._keeps_connection:
            self.close()

    def close(self) -> None:
        self._connection.close()

    @property
    def open_socket(self) -> socket.socket | None:
        """Returns the socket of the connection."""
        return self._connection.sock


class Load(threading.Thread):
    """A client that checks again and again."""

    def __init__(self, client: Client) -> None:
        super().__init__(daemon=True)
        self._client = client
        self._stopped = threading.Event()
        self.failure: Exception | None = None

    def run(self) -> None:
        try:
            # Each new connection takes a port for a minute, so this does not run as fast as it can.
            while not self._stopped.wait(0.005):
                self._client.check()
        except (OSError, http.client.HTTPException, ValueError, AssertionError) as error:
            self.failure = error
        finally:
            self._client.close()

    def wait(self) -> None:
        """Waits until some more requests are served, the last of which was sent after this call."""
        goal = self._client.served + 2
        wait_until(lambda: self._client.served >= goal or self.failure, "a request to be served")
        assert self.failure is None

    def stop(self) -> None:
        self._stopped.set()
        self.join()
        assert self.failure is None


def test_a_new_certificate_costs_no_request(
    files: Files, pair: Pair, authority: Authority, serve: Callable[..., Service]
) -> None:
    link = link_for(add_user("alice", "alice@example.com"))
    service = serve(**files.settings)
    assert served_serial(service.port, authority) == pair.serial

    def client(*, keeps_connection: bool) -> Client:
        return Client(service.port, authority, link, keeps_connection=keeps_connection)

    loads = [Load(client(keeps_connection=number % 2 == 0)) for number in range(4)]
    for load in loads:
        load.start()
    # Checks rarely, so that its connection does not reach its maximum age.
    lasting = client(keeps_connection=True)
    lasting.check()
    first_socket = lasting.open_socket
    assert first_socket is not None
    for _ in range(5):
        renewed = Pair.issued_by(authority)
        files.replace(renewed)
        wait_for_certificate(renewed, service.port, authority)
        for load in loads:
            load.wait()
        lasting.check()
        assert lasting.open_socket is first_socket
    lasting.close()
    for load in loads:
        load.stop()


def complaints(log: Path) -> list[dict[str, str]]:
    """Returns the warnings and errors about the files in the log."""
    # The last line may be incomplete.
    lines = log.read_text().rpartition("\n")[0].splitlines()
    entries = [json.loads(line) for line in lines if line.startswith("{")]
    return [
        entry
        for entry in entries
        if entry["level"] in ("warning", "error") and any("HTTP_SSL_" in value for value in entry.values())
    ]


@pytest.mark.parametrize("fault", ["certificate of another key", "garbled certificate", "garbled key", "key removed"])
def test_invalid_certificate_files_change_nothing(
    fault: str, files: Files, pair: Pair, authority: Authority, tmp_path: Path, serve: Callable[..., Service]
) -> None:
    log = tmp_path / "service.log"
    service = serve(**files.settings)
    assert complaints(log) == []
    match fault:
        case "certificate of another key":
            put(files.certificate, Pair.issued_by(authority).certificate)
        case "garbled certificate":
            put(files.certificate, GARBAGE)
        case "garbled key":
            put(files.key, pair.key[: len(pair.key) // 2])
        case "key removed":
            files.key.unlink()
    wait_until(lambda: complaints(log), "a complaint in the log", seconds=10)
    assert served_serial(service.port, authority) == pair.serial
    assert Curl(service, authority, "2").get("/health/live").status == 200

    renewed = Pair.issued_by(authority)
    files.replace(renewed)
    wait_for_certificate(renewed, service.port, authority)
    assert Curl(service, authority, "2").get("/health/live").status == 200
    assert not pair.is_betrayed_by(log.read_text()) and not renewed.is_betrayed_by(log.read_text())


EITHER = "HTTP_SSL_(CERT|KEY)FILE"


@pytest.mark.parametrize(
    ("certificate", "key", "setting"),
    [
        pytest.param("certificate", None, "HTTP_SSL_KEYFILE", id="certificate alone"),
        pytest.param(None, "key", "HTTP_SSL_CERTFILE", id="key alone"),
        pytest.param("missing", "key", "HTTP_SSL_CERTFILE", id="certificate missing"),
        pytest.param("certificate", "missing", "HTTP_SSL_KEYFILE", id="key missing"),
        pytest.param("garbage", "key", "HTTP_SSL_CERTFILE", id="certificate garbled"),
        pytest.param("certificate", "garbage", "HTTP_SSL_KEYFILE", id="key garbled"),
        pytest.param("empty", "key", "HTTP_SSL_CERTFILE", id="certificate empty"),
        pytest.param("certificate", "empty", "HTTP_SSL_KEYFILE", id="key empty"),
        pytest.param("certificate", "other key", EITHER, id="key of another certificate"),
        pytest.param("certificate", "encrypted key", "HTTP_SSL_KEYFILE", id="key encrypted"),
        pytest.param("key", "certificate", EITHER, id="one for the other"),
    ],
)
def test_a_wrong_setting_stops_the_start(
    certificate: str | None,
    key: str | None,
    setting: str,
    pair: Pair,
    authority: Authority,
    database: Path,
    tmp_path: Path,
) -> None:
    contents = {
        "certificate": pair.certificate,
        "key": pair.key,
        "other key": Pair.issued_by(authority).key,
        "encrypted key": pair.encrypted_key,
        "garbage": GARBAGE,
        "empty": b"",
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    files = {"HTTP_SSL_CERTFILE": certificate, "HTTP_SSL_KEYFILE": key}
    settings = {name: str(tmp_path / file) for name, file in files.items() if file}
    for arguments in (["check"], ["serve"]):
        done = command(database, *arguments, **settings)
        said = done.stdout + done.stderr
        assert (done.returncode, bool(re.search(setting, said))) == (78, True), said
        assert not pair.is_betrayed_by(said)
