"""The service on PostgreSQL: every command, faults of the server, and several instances."""

import http.client
import json
import os
import shutil
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Barrier

import pytest
from django.contrib.auth.models import User

from certificates import Authority
from cutting_proxy import cutting
from django_site import add_user, add_users, link_for
from metrics import ask_admin, scrape
from postgres import ORDINARY, PASSWORD, ROLE, Cluster, Database, django_on, migrate_site, running_cluster, running_standby
from processes import wait_until
from service import Link, Reply, Service, command, run_command, serving

NEW = "battery-staple-92-new"
CLIENTS = 8
RACERS = 50
# No answer takes longer, even if the server does not answer: half of this at most, on a machine that is not busy.
LONGEST_ANSWER = 30
# Longer than an answer at once on a busy machine, and shorter than any time limit of the service.
AT_ONCE = 4


@contextmanager
def served(database: Database, folder: Path, *options: str, port: int | None = None, **settings: str) -> Iterator[Service]:
    """Runs the service as a role with the privileges that `grants` prints. A proxy may listen on `port`."""
    folder.mkdir(exist_ok=True)
    with serving(folder, folder, *options, **(database.settings(port) | settings)) as service:
        yield service


# Commands


def test_every_command_works(postgres: Database, tmp_path: Path) -> None:
    add_user("alice", "alice@example.com")
    on_postgres = {"DATABASE_URL": postgres.socket_url}

    def run(*arguments: str, stdin: str = "") -> str:
        return run_command(tmp_path, *arguments, stdin=stdin, **on_postgres)

    assert run("migrate") == run("migrate") == "The database is up to date.\n"
    assert "alice@example.com" in run("users", "list") and "alice" in run("users", "show", "alice@example.com")
    run("users", "add", "bob", "--email", "bob@example.com", "--password-stdin", stdin=f"{NEW}\n")
    run("users", "check-password", "bob", "--password-stdin", stdin=f"{NEW}\n")
    run("users", "deactivate", "bob")
    assert User.objects.get(username="bob").is_active is False
    run("users", "activate", "bob")
    exported = run("users", "export", "--format", "jsonl")
    assert [json.loads(line)["username"] for line in exported.splitlines()] == ["alice", "bob"]
    assert run("users", "import", "-", "--format", "jsonl", stdin=exported).startswith("0 users added, 2 were there already")
    assert "frontend.example.com" in run("users", "link", "alice")
    postgres.execute(
        "INSERT INTO password_reset.outbox (kind, identifier, request_id, created_at, due_at, dead_lettered_at, last_error) "
        "VALUES ('request_email', 'alice@example.com', 'r', 1, 1, 2, '550')"
    )
    number = str(postgres.value("SELECT id FROM password_reset.outbox"))
    assert "0 waiting, 1 dead" in run("outbox", "list") and "550" in run("outbox", "show", number)
    assert run("outbox", "retry", "--dead") == "Retrying 1 job.\n"
    assert run("outbox", "purge", number) == "Deleted 1.\n"
    assert "link_printed" in run("audit")
    backup = command(tmp_path, "backup", str(tmp_path / "copy"), **on_postgres)
    assert backup.returncode == 64 and "pg_dump" in backup.stderr


def test_check_reports_what_is_missing_and_what_is_unsafe(cluster: Cluster, postgres: Database, tmp_path: Path) -> None:
    def findings(database: Database) -> dict[str, str]:
        found = json.loads(command(tmp_path, "check", "--json", DATABASE_URL=database.socket_url).stdout)
        return {finding["id"].rpartition(".")[2]: finding["message"] + finding.get("hint", "") for finding in found}

    assert {"W006", "W030"} <= set(findings(postgres))
    run_command(tmp_path, "migrate", DATABASE_URL=postgres.socket_url)
    assert not {"W006", "W030", "W031", "W032", "W035"} & set(findings(postgres))
    postgres.execute("UPDATE auth_user SET last_login = 'infinity'")
    add_user("alice", "alice@example.com")
    postgres.execute("UPDATE auth_user SET last_login = 'infinity'")
    assert "1 row" in findings(postgres)["W022"]
    latin = Database(cluster, "latin")
    postgres.execute("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    assert "UTF8" in findings(latin)["E011"]


def test_check_names_missing_and_excessive_privileges(postgres: Database, tmp_path: Path) -> None:
    settings = postgres.settings()

    def findings(**settings: str) -> dict[str, str]:
        found = json.loads(command(tmp_path, "check", "--json", **settings).stdout)
        return {finding["id"].rpartition(".")[2]: finding["message"] for finding in found}

    assert not {"E011", "E031", "W033"} & set(findings(**settings))
    assert "superuser" in findings(DATABASE_URL=postgres.socket_url)["W033"]
    for statement, missing in (
        ("REVOKE UPDATE (password) ON auth_user FROM password_reset", "UPDATE (password) on auth_user"),
        ("REVOKE SELECT (email, last_login) ON auth_user FROM password_reset", "SELECT (email, last_login) on auth_user"),
        ("REVOKE DELETE ON password_reset.outbox FROM password_reset", "DELETE on password_reset.outbox"),
        ("REVOKE USAGE ON SCHEMA password_reset FROM password_reset", "schema password_reset"),
    ):
        postgres.execute(statement)
        assert missing in findings(**settings)["E031"], statement
        done = command(tmp_path, "serve", **settings)
        assert done.returncode == 78 and missing in done.stderr
        postgres.settings()
    postgres.execute("GRANT DELETE, UPDATE ON auth_user TO password_reset")
    assert "delete users" in findings(**settings)["W033"] and "change more" in findings(**settings)["W033"]
    for arguments in (["users", "deactivate", "alice"], ["users", "add", "bob", "--email", "bob@example.com", "--password-stdin"]):
        assert command(tmp_path, *arguments, stdin=f"{NEW}\n", **settings).returncode != 0


def test_the_role_of_grants_may_use_the_schema_of_the_users_table(cluster: Cluster, tmp_path: Path) -> None:
    database = cluster.new_database()
    database.execute("CREATE SCHEMA site; CREATE TABLE site.members (id integer PRIMARY KEY, email text, password text)")
    absent = dict.fromkeys(("username", "first_name", "last_name", "last_login", "is_active", "is_staff", "is_superuser", "date_joined"))
    users = {"USERS_TABLE": "site.members", "USERS_COLUMNS": json.dumps(absent)}
    run_command(tmp_path, "migrate", DATABASE_URL=database.socket_url, **users)
    database.execute(run_command(tmp_path, "grants", "--role", ROLE, **users))
    role = {"DATABASE_URL": database.url_for(ROLE, cluster.port), "DATABASE_PASSWORD": PASSWORD}
    assert run_command(tmp_path, "check", **role, **users)


def test_no_output_shows_the_password(postgres: Database, tmp_path: Path) -> None:
    password = "correct-horse-71-canary"
    postgres.execute(f"CREATE ROLE with_password LOGIN PASSWORD '{password}'")
    url = postgres.url_for("with_password", postgres.cluster.port)
    in_url = url.replace("with_password", f"with_password:{password}")
    wrong = url.replace("with_password", "with_password:wrong-canary")
    secret = tmp_path / "secret"
    secret.write_text(f"{password}\n")
    for settings in (
        {"DATABASE_URL": in_url},
        {"DATABASE_URL": f"{url}?password={password}"},
        {"DATABASE_URL": url, "DATABASE_PASSWORD": password},
        {"DATABASE_URL": wrong, "DATABASE_PASSWORD": password},
        {"DATABASE_URL": url, "DATABASE_PASSWORD_FILE": str(secret)},
    ):
        for arguments in (["config"], ["config", "--json"], ["check"], ["migrate"]):
            done = command(tmp_path, *arguments, **settings)
            assert "canary" not in done.stdout + done.stderr, arguments
        # The role may connect, but not use the table.
        assert "lacks a privilege" in done.stderr and done.returncode == 78
    done = command(tmp_path, "migrate", DATABASE_URL=wrong)
    assert (done.returncode, "canary" in done.stderr) == (78, False)
    assert "password authentication failed" in done.stderr and "DATABASE_PASSWORD" in done.stderr


@pytest.mark.parametrize(
    ("url", "code", "remedy"),
    [
        ("postgresql://postgres@127.0.0.1:1/site", 1, "Check that the server runs"),
        ("postgresql://postgres@canary.invalid/site", 1, "Check the host"),
        ("postgresql:///site?host=/nonexistent", 1, "unix_socket_directories"),
        ("postgresql:///?service=canary", 78, "service"),
        ("postgresql://postgres@127.0.0.1:{port}/missing", 78, "Create the database"),
        ("postgresql://missing-role@127.0.0.1:{port}/postgres", 78, "password"),
        ("postgresql://postgres@127.0.0.1:{port}/postgres?sslmode=require", 78, "sslmode"),
        ("postgresql://postgres@127.0.0.1:{port}/postgres?sslmode=canary", 78, "Correct DATABASE_URL"),
        ("postgresql://postgres@127.0.0.1:{port}/postgres?target_session_attrs=standby", 1, ""),
        ("postgresql://postgres@127.0.0.1:{port}/postgres?options=-cnonsense%3D1", 78, ""),
        ("postgresql://postgres@127.0.0.1:1,127.0.0.1:{port}/missing", 78, "Create the database"),
    ],
)
def test_a_wrong_url_stops_the_start_with_the_cause_and_the_remedy(url: str, code: int, remedy: str, cluster: Cluster, tmp_path: Path) -> None:
    for arguments in (["serve"], ["users", "list"]):
        done = command(tmp_path, *arguments, DATABASE_URL=url.format(port=cluster.port))
        # Warnings about other settings come first.
        message = done.stderr.splitlines()[-1]
        assert (done.returncode, remedy in message) == (code, True), done.stderr
        assert message.startswith(CANNOT_CONNECT)


@pytest.mark.parametrize(
    ("url", "remedy"),
    [
        ("postgresql://user:100%zz-canary@127.0.0.1/site", "percent"),
        ("postgresql://user:canary/extra@127.0.0.1/site", "%2F"),
        ("postgresql://user:canary@extra@127.0.0.1/site", "%40"),
        ("postgresql://user@127.0.0.1/site?canary=1", "postgresql://user@host/database"),
    ],
)
def test_a_malformed_url_is_refused_without_its_values(url: str, remedy: str, tmp_path: Path) -> None:
    for arguments in (["serve"], ["users", "list"], ["check"]):
        done = command(tmp_path, *arguments, DATABASE_URL=url)
        output = done.stdout + done.stderr
        assert (done.returncode, remedy in output, "canary" in output) == (78, True, False), output


STRICT_PASSWORD = "correct-horse-71-strict"
CANNOT_CONNECT = "cannot connect to the PostgreSQL server that DATABASE_URL names"
STRICT_HBA = """
local all all trust
hostssl all needs_certificate 127.0.0.1/32 cert
hostnossl all needs_certificate 127.0.0.1/32 reject
host all not_listed 127.0.0.1/32 reject
host all only_sockets ::1/128 trust
host site,latin,newer all 127.0.0.1/32 scram-sha-256
"""


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Runs a server with TLS, and with roles and databases that the service cannot use."""
    with running_cluster() as cluster:
        authority = Authority(cluster.folder, "authority")
        certificate = authority.issue("localhost")
        authority.issue("needs_certificate", client=True)
        Authority(cluster.folder, "stranger")
        if os.getuid() == 0:
            os.chown(certificate, ORDINARY, ORDINARY)
        certificate.chmod(0o600)
        administration = Database(cluster, "postgres")
        (cluster.folder / "data/pg_hba.conf").write_text(STRICT_HBA)
        for statement in (
            *(f"CREATE ROLE {role} LOGIN PASSWORD '{STRICT_PASSWORD}'" for role in ("needs_certificate", "not_listed", "only_sockets", "no_connect", "usual")),
            f"CREATE ROLE no_login NOLOGIN PASSWORD '{STRICT_PASSWORD}'",
            f"CREATE ROLE no_connections LOGIN CONNECTION LIMIT 0 PASSWORD '{STRICT_PASSWORD}'",
            *(f"CREATE DATABASE {name} OWNER usual" for name in ("site", "newer", "read_only")),
            "CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0",
            "REVOKE CONNECT ON DATABASE site FROM PUBLIC",
            "GRANT CONNECT ON DATABASE site TO no_login, no_connections, needs_certificate, not_listed, only_sockets",
            f"ALTER SYSTEM SET ssl_cert_file = '{certificate}'",
            f"ALTER SYSTEM SET ssl_key_file = '{certificate}'",
            f"ALTER SYSTEM SET ssl_ca_file = '{authority.file}'",
            "ALTER SYSTEM SET ssl = on",
            "SELECT pg_reload_conf()",
        ):
            administration.execute(statement)
        run_command(cluster.folder, "migrate", DATABASE_URL=Database(cluster, "newer").socket_url.replace("user=postgres", "user=usual"))
        Database(cluster, "newer").execute("INSERT INTO password_reset.migrations (number, name) VALUES (999, 'from the future')")
        run_command(cluster.folder, "migrate", DATABASE_URL=Database(cluster, "read_only").socket_url.replace("user=postgres", "user=usual"))
        administration.execute("ALTER DATABASE read_only SET default_transaction_read_only = on")
        wait_until(lambda: administration.value("SHOW ssl") == "on", "the server to use TLS")
        yield cluster


@pytest.mark.parametrize(
    ("url", "code", "cause", "remedy"),
    [
        ("usual@localhost:{port}/site?sslmode=verify-full&sslrootcert=/nonexistent", 78, "root certificate file", "sslrootcert"),
        ("usual@localhost:{port}/site?sslmode=verify-full&sslrootcert={folder}/stranger.pem", 78, "certificate verify failed", "sslrootcert"),
        ("usual@127.0.0.1:{port}/site?sslmode=verify-full&sslrootcert={folder}/authority.pem", 78, "does not match host name", "as the host"),
        ("usual@localhost:{port}/site?sslmode=require&sslcert={folder}/authority.pem&sslkey=/nonexistent", 78, "private key", "sslkey"),
        ("needs_certificate@127.0.0.1:{port}/site?sslmode=require", 78, "client certificate", "sslcert"),
        ("needs_certificate@127.0.0.1:{port}/site?sslmode=disable", 78, "no encryption", "sslmode"),
        ("not_listed@127.0.0.1:{port}/site", 78, "pg_hba.conf rejects", "pg_hba.conf"),
        ("only_sockets@127.0.0.1:{port}/postgres", 78, "no pg_hba.conf entry", "pg_hba.conf"),
        ("no_login@127.0.0.1:{port}/site", 78, "not permitted to log in", "LOGIN"),
        ("no_connect@127.0.0.1:{port}/site", 78, "permission denied for database", "CONNECT"),
        ("no_connections@127.0.0.1:{port}/site", 1, "too many connections", "CONNECTION LIMIT"),
        ("usual:old-canary@127.0.0.1:{port}/site", 78, "password authentication failed", "DATABASE_PASSWORD"),
        ("usual@:1/site", 1, "No such file or directory", "unix_socket_directories"),
        ("usual@127.0.0.1:{http}/site", 78, "received invalid response", "another kind of server"),
        ("usual@127.0.0.1:{http}/site?sslmode=disable", 78, "", "another kind of server"),
    ],
)
def test_a_server_that_refuses_stops_the_start_with_the_cause_and_the_remedy(
    url: str, code: int, cause: str, remedy: str, strict: Cluster, tmp_path: Path
) -> None:
    settings = {} if "canary" in url else {"DATABASE_PASSWORD": STRICT_PASSWORD}
    with http_server() as http_port:
        address = "postgresql://" + url.format(port=strict.port, folder=strict.folder, http=http_port)
        for arguments in (["serve"], ["users", "list"]):
            done = command(tmp_path, *arguments, DATABASE_URL=address, **settings)
            message = done.stderr.splitlines()[-1]
            assert (done.returncode, cause in message, remedy in message) == (code, True, True), done.stderr
            assert message.startswith(CANNOT_CONNECT) and "canary" not in message


def test_each_way_to_name_a_server_and_its_password_works(strict: Cluster, tmp_path: Path) -> None:
    host, port = "127.0.0.1", strict.port
    service_file, password_file, secret = (tmp_path / name for name in ("pg_service.conf", "pgpass", "secret"))
    service_file.write_text(f"[site]\nhost={host}\nport={port}\ndbname=site\nuser=usual\n")
    password_file.write_text(f"{host}:{port}:site:usual:{STRICT_PASSWORD}\n")
    password_file.chmod(0o600)
    secret.write_text(f"{STRICT_PASSWORD}\n")
    certificate = tmp_path / "client.pem"
    shutil.copy(strict.folder / "authority-needs_certificate-valid.pem", certificate)
    certificate.chmod(0o600)
    plain = f"postgresql://usual@{host}:{port}/site"
    verified = f"sslmode=verify-full&sslrootcert={strict.folder}/authority.pem"
    ways: list[dict[str, str]] = [
        {"DATABASE_URL": plain, "DATABASE_PASSWORD": STRICT_PASSWORD},
        {"DATABASE_URL": plain, "DATABASE_PASSWORD_FILE": str(secret)},
        {"DATABASE_URL": plain, "PGPASSWORD": STRICT_PASSWORD},
        {"DATABASE_URL": plain, "PGPASSFILE": str(password_file)},
        {"DATABASE_URL": plain.replace("usual@", f"usual:{STRICT_PASSWORD}@").replace("postgresql:", "postgres:")},
        {"DATABASE_URL": "postgresql:///?service=site", "PGSERVICEFILE": str(service_file), "PGPASSFILE": str(password_file)},
        {"DATABASE_URL": f"postgresql://usual@localhost:{port}/site?{verified}", "DATABASE_PASSWORD": STRICT_PASSWORD},
        {"DATABASE_URL": f"postgresql://usual@{host}:1,{host}:{port}/site", "DATABASE_PASSWORD": STRICT_PASSWORD},
        {"DATABASE_URL": Database(strict, "site").socket_url.replace("user=postgres", "user=usual")},
    ]
    for way in ways:
        done = command(tmp_path, "migrate", **way)
        assert (done.returncode, done.stdout) == (0, "The database is up to date.\n"), (way, done.stderr)
    # This role signs in by its certificate, and may not use the tables.
    url = f"postgresql://needs_certificate@localhost:{port}/site?{verified}&sslcert={certificate}&sslkey={certificate}"
    done = command(tmp_path, "migrate", DATABASE_URL=url)
    assert (done.returncode, "lacks a privilege" in done.stderr) == (78, True), done.stderr


@contextmanager
def http_server() -> Iterator[int]:
    """Runs a server that answers like an HTTP server, on a port that an operator could take for PostgreSQL's."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(4096)
            self.request.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield int(server.server_address[1])
        server.shutdown()


@pytest.mark.parametrize(
    ("name", "code", "message"),
    [
        ("latin", 78, "create it with `ENCODING 'UTF8' TEMPLATE template0`"),
        ("newer", 78, "run that release, or restore a backup"),
    ],
)
def test_an_unusable_database_stops_the_start(name: str, code: int, message: str, strict: Cluster, tmp_path: Path) -> None:
    for arguments in (["serve"], ["migrate"]):
        url = f"postgresql://usual@127.0.0.1:{strict.port}/{name}"
        done = command(tmp_path, *arguments, DATABASE_URL=url, DATABASE_PASSWORD=STRICT_PASSWORD)
        assert (done.returncode, message in done.stderr) == (code, True), done.stderr


def test_a_read_only_database_is_reported_and_answers_503(strict: Cluster, tmp_path: Path) -> None:
    url = Database(strict, "read_only").socket_url.replace("user=postgres", "user=usual")
    found = command(tmp_path, "check", DATABASE_URL=url)
    assert "W032" in found.stdout and "read-write" in found.stdout
    with serving(tmp_path, tmp_path, DATABASE_URL=url) as service:
        assert service.request_reset(email="alice@example.com").status == 503
        assert not is_ready(service)
    # A new database cannot be set up.
    Database(strict, "postgres").execute("CREATE DATABASE empty OWNER usual")
    Database(strict, "postgres").execute("ALTER DATABASE empty SET default_transaction_read_only = on")
    done = command(tmp_path, "serve", DATABASE_URL=url.replace("read_only", "empty"))
    assert (done.returncode, "lets no one write" in done.stderr) == (1, True), done.stderr


# Faults


class Client(threading.Thread):
    """Sends one request after the other, and records the accepted ones and the longest wait for an answer."""

    def __init__(self, services: list[Service], address: str) -> None:
        super().__init__(daemon=True)
        self._services, self._address, self._stopped = services, address, threading.Event()
        self.accepted: list[str] = []
        self.refused = 0
        self.longest = 0.0
        self.wrong: list[Reply] = []

    def run(self) -> None:
        while not self._stopped.is_set():
            for service in self._services:
                start = time.monotonic()
                try:
                    reply = service.request_reset(email=self._address)
                except (OSError, http.client.HTTPException):
                    # The service was killed and is restarting.
                    self._stopped.wait(0.02)
                    continue
                self.longest = max(self.longest, time.monotonic() - start)
                if reply.status == 202:
                    self.accepted.append(reply.request_id)
                elif reply.status == 503:
                    self.refused += 1
                    self._stopped.wait(0.02)
                else:
                    self.wrong.append(reply)

    def stop(self) -> None:
        self._stopped.set()
        self.join()


@contextmanager
def clients(services: list[Service], addresses: list[str] | None = None) -> Iterator[list[Client]]:
    """Runs clients that ask for emails to the addresses, by default those of the first users of the site."""
    all_clients = [Client(services, address) for address in addresses or [user.email for user in User.objects.all()[:CLIENTS]]]
    for client in all_clients:
        client.start()
    try:
        yield all_clients
    finally:
        for client in all_clients:
            client.stop()


def assert_nothing_is_lost(database: Database, all_clients: list[Client]) -> None:
    accepted = {request for client in all_clients for request in client.accepted}
    wait_until(lambda: database.pending == 0, "the outbox to be empty", seconds=60)
    mailed = {request for (request,) in database.execute("SELECT request_id FROM password_reset.audit WHERE event = 'mailed'")}
    assert accepted - mailed == set(), "a request was accepted, but its email was not sent"
    assert [client.wrong for client in all_clients if client.wrong] == []
    assert max(client.longest for client in all_clients) < LONGEST_ANSWER


def is_ready(service: Service) -> bool:
    return ask_admin(service, "/health/ready").status == 200


@pytest.mark.slow
def test_stops_of_the_server_lose_no_accepted_request(migrated_database: Database, postgres: Database, tmp_path: Path) -> None:
    add_users(CLIENTS)
    cluster = postgres.cluster
    with served(postgres, tmp_path) as service, clients([service]) as all_clients:

        def count() -> int:
            return sum(len(client.accepted) for client in all_clients)

        for mode in ("immediate", "fast", "immediate"):
            before = count()
            wait_until(lambda: count() > before + 50, "some requests to be accepted")
            cluster.stop(mode)
            try:
                refused = sum(client.refused for client in all_clients)
                wait_until(lambda: sum(client.refused for client in all_clients) > refused + 20, "requests to be refused with 503")
                assert not is_ready(service)
            finally:
                cluster.start()
            before = count()
            wait_until(lambda: count() > before and is_ready(service), "requests to be accepted again")
        for client in all_clients:
            client.stop()
        assert_nothing_is_lost(postgres, all_clients)
        metrics = scrape(service)
        assert metrics.value("password_reset_database_connections", purpose="writes") == 1
        assert metrics.value("password_reset_database_reconnects_total", purpose="writes") >= 3


@pytest.mark.slow
def test_kills_of_the_service_lose_no_accepted_request(postgres: Database, tmp_path: Path) -> None:
    add_users(CLIENTS)
    services: list[Service] = []
    all_clients: list[Client] = []
    for number in range(10):
        with served(postgres, tmp_path) as service:
            services[:] = [service]
            if not all_clients:
                all_clients = [Client(services, f"user{client}@example.com") for client in range(CLIENTS)]
                for client in all_clients:
                    client.start()
            enough = sum(len(client.accepted) for client in all_clients) + 10 * (number % 3 + 1)
            wait_until(lambda: sum(len(client.accepted) for client in all_clients) > enough, "some requests to be accepted")
            service.kill()
    with served(postgres, tmp_path) as service:
        services[:] = [service]
        for client in all_clients:
            client.stop()
        assert_nothing_is_lost(postgres, all_clients)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_commit_whose_confirmation_was_lost_is_resolved(when: str, postgres: Database, tmp_path: Path) -> None:
    user = add_user("alice", "alice@example.com")
    with cutting(postgres.cluster.port) as proxy:
        # A worker's commits could be cut instead.
        with served(postgres, tmp_path, "--no-worker", port=proxy.port) as service:
            for number in range(5):
                proxy.cut(when)
                assert service.request_reset(email="stranger@example.com").status == 202
                wait_until(lambda: proxy.cuts > number, "the connection to be cut")
            assert (postgres.pending, postgres.audited("requested")) == (5, 5)
            before = proxy.cuts
            proxy.cut(when)
            assert service.set_password(link_for(user), NEW, NEW).status == 200
            wait_until(lambda: proxy.cuts > before, "the connection to be cut")
            # The notice that the password was changed waits as well.
            assert (postgres.pending, postgres.audited("reset")) == (6, 1)
            assert service.set_password(link_for(user), NEW, NEW).status == 400


def test_a_commit_that_cannot_be_resolved_is_refused(postgres: Database, tmp_path: Path) -> None:
    with cutting(postgres.cluster.port) as proxy:
        with served(postgres, tmp_path, port=proxy.port) as service:
            service.request_reset(email="stranger@example.com")
            proxy.cut("after")
            proxy.is_refusing = True
            start = time.monotonic()
            assert service.request_reset(email="stranger@example.com").status == 503
            assert time.monotonic() - start < LONGEST_ANSWER
            # While there is no connection, nothing waits.
            start = time.monotonic()
            assert service.request_reset(email="stranger@example.com").status == 503
            assert time.monotonic() - start < AT_ONCE
            proxy.is_refusing = False
            wait_until(lambda: service.request_reset(email="stranger@example.com").status == 202, "requests to be accepted again")
            # The first request was committed in truth, with a lease that this process does not know of.
            wait_until(lambda: postgres.pending == 0, "the outbox to be empty", seconds=60)
            # The worker's commit may have been cut instead.
            assert postgres.audited("requested") == postgres.audited("no_account") >= 2


def seconds_of(call: Callable[[], Reply], status: int) -> float:
    """Returns how long a call takes, which must be answered with this status."""
    start = time.monotonic()
    assert call().status == status
    return time.monotonic() - start


def test_a_server_that_falls_silent_delays_no_answer_for_long(postgres: Database, tmp_path: Path) -> None:
    link = link_for(add_user("alice", "alice@example.com"))
    with cutting(postgres.cluster.port) as proxy, served(postgres, tmp_path, port=proxy.port) as service:

        def request() -> Reply:
            return service.request_reset(email="stranger@example.com")

        def check() -> Reply:
            return service.check_link(link)

        assert request().status == 202 and check().status == 200
        proxy.is_silent = True
        with ThreadPoolExecutor(max_workers=8) as pool:
            waits = list(pool.map(lambda call: seconds_of(call, 503), [request, check] * 4))
        assert max(waits) < LONGEST_ANSWER
        # Each connection has noticed it now.
        wait_until(lambda: seconds_of(request, 503) < AT_ONCE and seconds_of(check, 503) < AT_ONCE, "answers at once")
        assert not is_ready(service)
        proxy.is_silent = False
        wait_until(lambda: request().status == 202 and check().status == 200 and is_ready(service), "the service to recover", seconds=10)
        wait_until(lambda: postgres.pending == 0, "the outbox to be empty")


def test_a_server_without_connections_for_all_serves_with_those_it_has(postgres: Database, tmp_path: Path) -> None:
    link = link_for(add_user("alice", "alice@example.com"))
    settings = postgres.settings()
    postgres.execute("ALTER ROLE password_reset CONNECTION LIMIT 4")
    try:
        with serving(tmp_path, tmp_path, **settings) as service:
            for _ in range(8):
                service.check_link(link)
            statuses = [service.check_link(link).status for _ in range(50)] + [service.request_reset(email="a@example.com").status for _ in range(5)]
            assert statuses == [200] * 50 + [202] * 5
    finally:
        postgres.execute("ALTER ROLE password_reset CONNECTION LIMIT -1")


@pytest.mark.slow
def test_a_failover_to_a_synchronous_standby_loses_no_accepted_request(tmp_path: Path) -> None:
    with running_cluster() as primary:
        database = primary.new_database()
        migrate_site(database)
        with django_on(database):
            add_users(CLIENTS)
            addresses = [user.email for user in User.objects.all()]
        with running_standby(primary) as standby:
            url = f"postgresql://{ROLE}@127.0.0.1:{primary.port},127.0.0.1:{standby.port}/{database.name}"
            with served(database, tmp_path, DATABASE_URL=url) as service, clients([service], addresses) as all_clients:

                def accepted() -> int:
                    return sum(len(client.accepted) for client in all_clients)

                wait_until(lambda: accepted() > 100, "some requests to be accepted")
                primary.stop("immediate")
                standby.promote()
                before = accepted()
                wait_until(lambda: accepted() > before + 50 and is_ready(service), "the standby to be used")
                for client in all_clients:
                    client.stop()
                assert_nothing_is_lost(Database(standby, database.name), all_clients)


# Several instances


@contextmanager
def instances(count: int, database: Database, folder: Path, **settings: str) -> Iterator[list[Service]]:
    with ExitStack() as stack:
        yield [stack.enter_context(served(database, folder / str(number), **settings)) for number in range(count)]


def test_of_fifty_racers_over_two_instances_one_succeeds(postgres: Database, tmp_path: Path) -> None:
    users = add_users(5)
    with instances(2, postgres, tmp_path, PASSWORD_HASHER_OPTIONS="iterations=20000", EMAIL_PASSWORD_CHANGED="false") as services:
        for user in users:
            link, start = link_for(user), Barrier(RACERS)

            def race(number: int) -> Reply:
                start.wait()
                return services[number % 2].set_password(link, f"{NEW}-{number}", f"{NEW}-{number}")

            with ThreadPoolExecutor(max_workers=RACERS) as pool:
                replies = list(pool.map(race, range(RACERS)))
            winners = [number for number, reply in enumerate(replies) if reply.status == 200]
            assert len(winners) == 1, [reply.status for reply in replies]
            assert User.objects.get(pk=user.pk).check_password(f"{NEW}-{winners[0]}")
            assert {reply.status for reply in replies} <= {200, 400, 503}
    assert postgres.audited("reset") == len(users)


def test_instances_share_the_jobs_and_an_email_limit(postgres: Database, tmp_path: Path) -> None:
    users = add_users(20)
    with instances(2, postgres, tmp_path, RATE_LIMIT_MAILS="1/h") as services:
        with ThreadPoolExecutor(max_workers=8) as pool:
            replies = list(pool.map(lambda number: services[number % 2].request_reset(email=users[number // 6].email), range(120)))
        assert {reply.status for reply in replies} == {202}
        wait_until(lambda: postgres.pending == 0, "the outbox to be empty")
    assert postgres.audited("mailed") == len(users)
    assert postgres.audited("suppressed") == 100


def test_instances_count_the_requests_of_a_client_together(postgres: Database, tmp_path: Path) -> None:
    with instances(2, postgres, tmp_path, RATE_LIMIT_REQUESTS="6/h", RATE_LIMIT_LINKS="4/h") as services:
        asked = [services[number % 2].request_reset(email="a@example.com").status for number in range(10)]
        assert asked == [202] * 6 + [429] * 4
        link = Link("MQ", "d8ary8-578199d4e42f291f0f3bce532651119e")
        assert [services[number % 2].check_link(link).status for number in range(6)] == [200] * 4 + [429] * 2
    # The addresses of clients are not in the database.
    assert postgres.value("SELECT count(*) FROM password_reset.client_limit") == 2
    assert postgres.value("SELECT count(*) FROM password_reset.client_limit WHERE client !~ '^[0-9a-f]{32}$'") == 0


def test_a_killed_instance_leaves_its_jobs_to_the_other(postgres: Database, tmp_path: Path) -> None:
    add_users(CLIENTS)
    with instances(2, postgres, tmp_path) as services:
        with clients([services[0]]) as all_clients:
            wait_until(lambda: sum(len(client.accepted) for client in all_clients) > 100, "some requests to be accepted")
            services[0].kill()
            for client in all_clients:
                client.stop()
        assert_nothing_is_lost(postgres, all_clients)


def test_a_lock_of_the_site_on_its_users_delays_no_request(postgres: Database, tmp_path: Path) -> None:
    user = add_user("alice", "alice@example.com")
    link = link_for(user)
    with served(postgres, tmp_path) as service, postgres.connect() as site:
        with site.transaction():
            site.execute("LOCK TABLE auth_user IN ACCESS EXCLUSIVE MODE")
            for _ in range(20):
                start = time.monotonic()
                assert service.request_reset(email=user.email).status == 202
                assert time.monotonic() - start < AT_ONCE
            assert service.check_link(link).status == 503
        assert service.check_link(link).body["validlink"] is True
        wait_until(lambda: postgres.pending == 0, "the outbox to be empty")
    assert postgres.audited("mailed") == 20
