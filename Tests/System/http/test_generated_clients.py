"""Clients that openapi-generator makes of openapi.yaml compile without a change, and take a user through the flow."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from django_site import add_user
from mail_folder import link_in
from paths import LIB, ROOT
from processes import wait_until
from service import serving

CLIENTS = LIB / "clients"
# The program in each language prints these lines.
EXPECTED = """\
refused: validation_error invalid
accepted: If an account matches, we have emailed instructions for setting a new password.
valid: 5 rules
refused: validation_error password_too_short 8
set: Your password has been set. You may go ahead and log in now.
refused: invalid_link
used: invalid_link
cancelled: If this link is valid, all password reset links that were sent to you before now have stopped working.
"""
# A wheel with Kotlin's compiler, its plugin for serialization, and the libraries of both.
KOTLIN = "kotlin-jupyter-kernel==0.19.0.944"


def run(*command: str | Path, cwd: Path, **variables: str) -> None:
    """Runs a tool, which must succeed."""
    done = subprocess.run(
        command, cwd=cwd, env=os.environ | variables, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300
    )
    assert done.returncode == 0, done.stdout


def need(program: str, package: str) -> None:
    assert shutil.which(program), f"{program} is missing; on Debian: apt-get install {package}"


def generate(generator: str, folder: Path, **properties: str) -> Path:
    """Returns the folder of a generated client."""
    need("java", "default-jre-headless")
    options = ",".join(f"{name}={value}" for name, value in properties.items())
    run(
        Path(sysconfig.get_path("scripts")) / "openapi-generator-cli",
        *("generate", "--generator-name", generator, "--input-spec", ROOT / "openapi.yaml", "--output", folder / "client"),
        *("--git-host", "example.com", "--git-user-id", "reset", "--git-repo-id", "client"),
        *(("--additional-properties", options) if options else ()),
        cwd=folder,
    )
    return folder / "client"


def python(folder: Path) -> Sequence[str | Path]:
    client = generate("python", folder, packageName="reset_client")
    shutil.copy(CLIENTS / "flow.py", client)
    return [sys.executable, client / "flow.py"]


def typescript(folder: Path) -> Sequence[str | Path]:
    need("tsc", "node-typescript")
    client = generate("typescript-fetch", folder, npmName="reset-client")
    run("tsc", "--project", client, cwd=folder)
    shutil.copytree(client / "dist", folder / "flow/client")
    shutil.copy(CLIENTS / "flow.ts", folder / "flow")
    run("tsc", *("--strict", "--target", "es2020", "--lib", "es2020,dom", "--module", "commonjs", "flow.ts"), cwd=folder / "flow")
    return ["node", folder / "flow/flow.js"]


def go(folder: Path) -> Sequence[str | Path]:
    need("go", "golang-go")
    client = generate("go", folder)
    (client / "flow").mkdir()
    shutil.copy(CLIENTS / "flow.go", client / "flow")
    # Other modules than the client's and the standard library would have to be downloaded.
    run("go", "build", "-o", folder / "program", "./flow", cwd=client, GOFLAGS="-mod=mod", GOPROXY="off", GOTOOLCHAIN="local")
    return [folder / "program"]


def swift(folder: Path) -> Sequence[str | Path]:
    client = generate("swift6", folder, projectName="ResetClient")
    sources = sorted((client / "Sources/ResetClient").rglob("*.swift"))
    library = ["-emit-library", "-static", "-emit-module", "-module-name", "ResetClient", "-o", folder / "libResetClient.a"]
    run("swiftc", "-swift-version", "6", "-parse-as-library", *library, *sources, cwd=folder)
    flow = ["-parse-as-library", CLIENTS / "flow.swift", "-I", folder, "-L", folder, "-lResetClient", "-o", folder / "program"]
    run("swiftc", "-swift-version", "6", *flow, cwd=folder)
    return [folder / "program"]


def kotlin(folder: Path) -> Sequence[str | Path]:
    """Compiles only the models: OkHttp 4, to which the rest of the client is bound, is neither in Debian nor on PyPI."""
    client = generate("kotlin", folder, serializationLibrary="kotlinx_serialization")
    jars = kotlin_jars()
    (compiler,) = jars.glob("kotlin-jupyter-kernel-*-all.jar")
    libraries = [next(jars.glob(name)) for name in ("kotlin-stdlib-*.jar", "kotlinx-serialization-core-*.jar", "kotlinx-serialization-json-*.jar")]
    classpath = ":".join(map(str, [folder / "classes", *libraries]))
    package = client / "src/main/kotlin/org/openapitools/client"
    # The compiler must not load its plugin for scripts again from the same file, so name only the plugin for serialization.
    with zipfile.ZipFile(folder / "plugin.jar", "w") as plugin:
        name = "org.jetbrains.kotlinx.serialization.compiler.extensions.SerializationComponentRegistrar"
        plugin.writestr("META-INF/services/org.jetbrains.kotlin.compiler.plugin.CompilerPluginRegistrar", name)
    infrastructure = [*package.glob("infrastructure/*Adapter.kt"), package / "infrastructure/Serializer.kt"]
    run(
        *("java", "-cp", compiler, "org.jetbrains.kotlin.cli.jvm.K2JVMCompiler", "-no-stdlib", "-no-reflect", "-nowarn"),
        *(f"-Xplugin={folder}/plugin.jar", "-classpath", classpath, "-d", folder / "classes"),
        *(*package.glob("models/*.kt"), *infrastructure, CLIENTS / "flow.kt"),
        cwd=folder,
    )
    return ["java", "-cp", classpath, "FlowKt"]


def kotlin_jars() -> Path:
    """Returns the folder of the compiler. The wheel's own requirements, a notebook server, are not necessary."""
    folder = ROOT / ".build/system-tests" / KOTLIN
    if not folder.exists():
        with tempfile.TemporaryDirectory(dir=folder.parent) as name:
            run(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", name, KOTLIN, cwd=ROOT)
            (wheel,) = Path(name).glob("*.whl")
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(f"{name}/unpacked")
            Path(f"{name}/unpacked").rename(folder)
    return folder / "run_kotlin_kernel/jars"


@pytest.mark.slow
@pytest.mark.parametrize("build", [python, typescript, go, swift, kotlin])
def test_a_client_of_openapi_generator_resets_a_password(
    build: Callable[[Path], Sequence[str | Path]], database: Path, tmp_path: Path
) -> None:
    program = build(tmp_path)
    add_user("alice", "alice@example.com")
    mails = tmp_path / "mails"
    with serving(database, tmp_path, EMAIL_BACKEND="file", EMAIL_FILE_PATH=str(mails)) as service:
        url = f"http://127.0.0.1:{service.port}"
        with subprocess.Popen([*program, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            link = wait_until(lambda: process.poll() is not None or link_in(mails), "the email with the link")
            stdout, stderr = process.communicate("" if link is True else f"{link.uid} {link.token}\n", timeout=60)
    assert (stdout, process.returncode) == (EXPECTED, 0), stderr
