"""Debian's Postfix, strict about the name of its clients, with passwords checked by Dovecot."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email import message_from_bytes
from pathlib import Path

import pytest

from django_site import add_user
from outbox import outbox
from processes import free_port, wait_until
from service import Service, command

PASSWORD = "the-right-password-71"
RESTRICTIONS = "reject_invalid_helo_hostname, reject_non_fqdn_helo_hostname"

# `{folder}` and `{port}` are filled in. Each recipient at example.com gets the same mailbox.
DOVECOT = """
base_dir = {folder}/dovecot/run
state_dir = {folder}/dovecot/state
log_path = {folder}/dovecot/log
protocols =
ssl = no
disable_plaintext_auth = no
auth_mechanisms = {mechanisms}
passdb {{
  driver = passwd-file
  args = scheme=PLAIN {folder}/dovecot/users
}}
userdb {{
  driver = static
  args = uid=dovecot gid=dovecot home=/nonexistent
}}
service auth {{
  unix_listener {folder}/spool/private/auth {{
    mode = 0666
  }}
}}
"""
MAIN = """
compatibility_level = 3.6
queue_directory = {folder}/spool
data_directory = {folder}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
myhostname = mail.example.com
mydestination = example.com
local_recipient_maps =
local_transport = virtual
mynetworks =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
virtual_mailbox_base = {folder}/mail
virtual_mailbox_maps = static:all/
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
virtual_minimum_uid = 1
maillog_file = {folder}/log
maillog_file_prefixes = {folder}
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = private/auth
smtpd_helo_required = yes
smtpd_helo_restrictions = {restrictions}
smtpd_recipient_restrictions = permit_sasl_authenticated, reject
smtpd_relay_restrictions = permit_sasl_authenticated, reject
"""
MASTER = """
127.0.0.1:{port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
proxymap unix - - n - - proxymap
error unix - - n - - error
retry unix - - n - - error
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
"""


@dataclass(frozen=True)
class Postfix:
    folder: Path
    port: int

    @property
    def settings(self) -> dict[str, str]:
        return {
            "EMAIL_BACKEND": "smtp",
            "EMAIL_HOST": "127.0.0.1",
            "EMAIL_PORT": str(self.port),
            "EMAIL_HOST_USER": "noreply",
            "EMAIL_HOST_PASSWORD": PASSWORD,
            "DEFAULT_FROM_EMAIL": "noreply@example.com",
        }

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    def wait_for(self, count: int) -> list[bytes]:
        box = self.folder / "mail/all/new"
        wait_until(lambda: box.exists() and len(list(box.iterdir())) >= count, f"{count} emails in the mailbox")
        return [file.read_bytes() for file in box.iterdir()]


@pytest.fixture
def postfix(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Postfix]:
    if os.getuid() != 0:
        pytest.skip("only root can start Postfix")
    for program in ("postfix", "dovecot"):
        assert shutil.which(program, path="/usr/sbin"), "install Debian's postfix and dovecot-core"
    # Postfix's own users must be able to enter the folder.
    folder = Path(subprocess.run(["mktemp", "-d"], check=True, capture_output=True, text=True).stdout.strip())
    folder.chmod(0o755)
    port = free_port()
    ids = [subprocess.run(["id", flag, "postfix"], check=True, capture_output=True, text=True).stdout.strip() for flag in ("-u", "-g")]
    values = {
        "folder": folder,
        "port": port,
        "uid": ids[0],
        "gid": ids[1],
        "mechanisms": "plain login cram-md5",
        "restrictions": RESTRICTIONS,
    } | getattr(request, "param", {})
    for name in ("etc", "spool/private", "data", "dovecot", "mail/all"):
        (folder / name).mkdir(parents=True)
    for name, text in (("etc/main.cf", MAIN), ("etc/master.cf", MASTER), ("dovecot/dovecot.conf", DOVECOT)):
        (folder / name).write_text(text.format_map(values))
    (folder / "dovecot/users").write_text(f"noreply:{{PLAIN}}{PASSWORD}\n")
    for name in ("data", "mail", "mail/all", "spool/private"):
        shutil.chown(folder / name, "postfix")
    dovecot = ["dovecot", "-c", str(folder / "dovecot/dovecot.conf")]
    mail = ["postfix", "-c", str(folder / "etc")]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    try:
        subprocess.run([*mail, "check"], **quiet)
        subprocess.run(dovecot, check=True, **quiet)
        subprocess.run([*mail, "start"], check=True, **quiet)
        yield Postfix(folder, port)
    finally:
        subprocess.run([*mail, "stop"], **quiet)
        subprocess.run([*dovecot, "stop"], **quiet)
        shutil.rmtree(folder)


def test_an_email_reaches_a_mailbox_behind_postfix(postfix: Postfix, database: Path, serve: Callable[..., Service]) -> None:
    add_user("alice", "alice@example.com")
    checked = command(database, "check", "--connect", **postfix.settings)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    service = serve(**postfix.settings)
    assert service.request_reset(email="alice@example.com").status == 202
    (message,) = map(message_from_bytes, postfix.wait_for(1))
    assert message["To"] == "alice@example.com"


@pytest.mark.parametrize("postfix", [{"mechanisms": name} for name in ("plain", "login", "cram-md5", "login cram-md5")], indirect=True)
def test_each_mechanism_for_a_password_works(postfix: Postfix, database: Path) -> None:
    done = command(database, "send-test-email", "alice@example.com", **postfix.settings)
    assert done.returncode == 0, done.stderr
    assert len(postfix.wait_for(1)) == 1


@pytest.mark.parametrize(
    "postfix", [{"restrictions": "check_helo_access inline:{unwanted.example.net=REJECT}"}], indirect=True
)
def test_a_refused_client_name_delays_the_email_and_is_named(
    postfix: Postfix, database: Path, serve: Callable[..., Service]
) -> None:
    settings = postfix.settings | {"EMAIL_HELO_NAME": "unwanted.example.net"}
    checked = command(database, "check", "--connect", **settings)
    assert checked.returncode != 0
    assert "EMAIL_HELO_NAME" in checked.stdout + checked.stderr
    add_user("alice", "alice@example.com")
    service = serve(**settings)
    assert service.request_reset(email="alice@example.com").status == 202
    rows = wait_until(lambda: [row for row in outbox(database) if row.last_error], "a failed attempt")
    assert [row.dead_lettered_at for row in rows] == [None]
    assert "EMAIL_HELO_NAME" in str(rows[0].last_error)
    assert "Helo command rejected" in postfix.log
