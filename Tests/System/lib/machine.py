"""A Debian machine on which packages can be installed and removed: a folder that becomes the root directory of its programs.

It is this machine, or the one in the folder that MACHINE_ROOT names, with a layer above it that takes all changes. It needs root.
"""

import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Machine:
    root: Path

    def path(self, name: str) -> Path:
        return self.root / name.lstrip("/")

    def command(self, *arguments: str, user: str = "root", environment: Mapping[str, str] | None = None) -> list[str]:
        """Returns the command that runs a program there."""
        variables = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"} | dict(environment or {})
        settings = [f"{name}={value}" for name, value in variables.items()]
        return [*as_root(), "chroot", f"--userspec={user}:", str(self.root), "env", "-i", *settings, *arguments]

    def run(self, *arguments: str, text: str = "", environment: Mapping[str, str] | None = None) -> str:
        """Runs a program as root, which must succeed, and returns its output."""
        done = subprocess.run(
            self.command(*arguments, environment=environment), input=text, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=600
        )
        assert done.returncode == 0, done.stdout
        return done.stdout


@contextmanager
def machine(folder: Path) -> Iterator[Machine]:
    """Makes a machine in the folder, and discards it at the end."""
    layers = folder / "layers"
    with ExitStack() as stack:

        def mount(target: Path, *arguments: str | Path) -> None:
            root_run("mount", *arguments, target)
            stack.callback(root_run, "umount", "--lazy", target)

        layers.mkdir()
        mount(layers, "--types=tmpfs", "machine")
        for name in ("changes", "work", "root"):
            (layers / name).mkdir()
        lower = os.environ.get("MACHINE_ROOT", "/")
        root = layers / "root"
        mount(root, "--types=overlay", f"--options=lowerdir={lower},upperdir={layers}/changes,workdir={layers}/work", "machine")
        for name in ("dev", "proc"):
            mount(root / name, "--bind", f"/{name}")
        yield Machine(root)


def as_root() -> list[str]:
    return [] if os.geteuid() == 0 else ["sudo", "--non-interactive"]


def root_run(*command: str | Path) -> None:
    subprocess.run([*as_root(), *command], check=True, timeout=60)
