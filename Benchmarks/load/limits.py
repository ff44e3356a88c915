"""The limits of the machine: servers in C that send a fixed response, with as many workers as there are cores."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from servers import CORES, Server, accepting, free_port

REPLY = '{"detail":"a response of about the usual length"}'

# It reads and discards the body of a POST.
NGINX = """
daemon off;
worker_processes {cores};
pid {folder}/nginx.pid;
error_log stderr;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  default_type application/json;
  keepalive_requests 1000000000;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port};
    location / {{ return 200 '{reply}'; }}
  }}
}}
"""

# Its handler of files answers no POST.
H2O = """
num-threads: {cores}
{user}
listen:
  host: 127.0.0.1
  port: {port}
hosts:
  default:
    paths:
      "/bare":
        file.file: {folder}/reply.json
"""


@contextmanager
def nginx(folder: Path) -> Iterator[Server]:
    path, port = configured("nginx", NGINX, folder)
    with accepting("nginx", port, [program("nginx", "nginx-light"), "-p", str(path.parent), "-c", str(path)], {}, folder) as server:
        yield server


@contextmanager
def h2o(folder: Path) -> Iterator[Server]:
    path, port = configured("h2o", H2O, folder)
    (path.parent / "reply.json").write_text(REPLY, encoding="utf-8")
    with accepting("h2o", port, [program("h2o", "h2o"), "-c", str(path)], {}, folder) as server:
        yield server


def configured(name: str, text: str, folder: Path) -> tuple[Path, int]:
    """Writes a configuration into a folder of the server. Returns its path and the port."""
    own, port = folder / name, free_port()
    own.mkdir()
    # As root, h2o demands a user.
    user = "user: root" if os.geteuid() == 0 else ""
    (own / "server.conf").write_text(text.format(cores=CORES, folder=own, port=port, reply=REPLY, user=user), encoding="utf-8")
    return own / "server.conf", port


def program(name: str, package: str) -> str:
    found = shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin")
    if found is None:
        raise RuntimeError(f"{name} is missing; on Debian: apt-get install {package}")
    return found
