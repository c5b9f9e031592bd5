"""The models of one installation: what is there, and is it whole. How they get there: `sources`.

A model is a folder RUNBELL_HOME/models/NAME with its files and `model.json`, their checksums. It appears in one
rename, so what is there is whole; what was being fetched stays in models/.partial and is used by the next try.
"""

import hashlib
import os
import shutil
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal, NamedTuple

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, ValidationError

from integrations.errors import Misconfigured, Overloaded

MANIFEST = "model.json"
CHUNK = 1 << 20
HASH_ALWAYS_BYTES = 1 << 30

Kind = Literal["chat", "embedder"]


class Progress(NamedTuple):
    """How far a pull is. `total` is None where nobody knows; `stage` is a word for people."""

    name: str
    stage: Literal["download", "copy", "check"]
    done: int
    total: int | None


OnProgress = Callable[[Progress], None]


class File(BaseModel):
    """One file of a model; `seen` is the time of change (ns) at which a large file was last found whole."""

    model_config = ConfigDict(frozen=True)

    size: int
    sha256: str
    seen: int | None = None


class InstalledModel(BaseModel):
    """A model that is there, as its `model.json` tells. The first file is the one an engine opens.

    `system` is said first where a request has no system message: some models need one to stay in their language.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    kind: Kind
    engine: str
    source: str
    license: str = "unknown"
    system: str | None = None
    files: dict[str, File]
    folder: Path = Path()

    @property
    def main_file(self) -> Path:
        """The path of the first file."""
        return self.folder / next(iter(self.files))

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files.values())


def installed(home: Path) -> list[InstalledModel]:
    """Return the models that are there, by name; a folder without a readable manifest is left out."""
    found = (_read(path.parent) for path in sorted(_models(home).glob(f"*/{MANIFEST}")))
    return [model for model in found if model is not None]


def find(home: Path, name: str, *, kind: Kind, engine: str | None = None) -> InstalledModel:
    """Return one model, or raise `Misconfigured` that says what to run."""
    folder = _models(home) / name
    model = _read(folder) if name and Path(name).name == name else None
    if model is None:
        raise Misconfigured(f"The model {name!r} is missing ({folder}). Run: runbell models pull {name}")
    if model.kind != kind or (engine is not None and model.engine != engine):
        raise Misconfigured(
            f"The model {name!r} is no {kind} model for this engine: {model.kind}, {model.engine}."
            " See: runbell models list"
        )
    return model


def verify(model: InstalledModel) -> None:
    """Raise `Misconfigured` when a file is missing or is not what was installed.

    Reads everything (1 GB takes about a second), but files over 1 GiB only when they changed since last time.
    """
    for name, file in model.files.items():
        path = model.folder / name
        if not path.is_file():
            raise _broken(model, path, "is missing")
        stat = path.stat()
        if stat.st_size != file.size:
            raise _broken(model, path, f"has {stat.st_size} bytes instead of {file.size}")
        if file.size > HASH_ALWAYS_BYTES and file.seen == stat.st_mtime_ns:
            continue
        if sha256(path) != file.sha256:
            raise _broken(model, path, "is corrupt (its SHA-256 differs)")


def sha256(path: Path, on_bytes: Callable[[int], None] | None = None) -> str:
    """Return the digest of a file; `on_bytes` hears how much was read so far."""
    digest, done = hashlib.sha256(), 0
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
            done += len(chunk)
            if on_bytes is not None:
                on_bytes(done)
    return digest.hexdigest()


@contextmanager
def workshop(home: Path, name: str) -> Generator[Path]:
    """Hold the lock of one model and give the folder in which its next version is put together.

    What is in it afterwards is for the next try; a folder without a file goes, with its lock.
    """
    partial = _models(home) / ".partial" / name
    lock = partial.parent / f"{name}.lock"
    partial.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(lock, timeout=0):
            partial.mkdir(exist_ok=True)  # who had the lock before may just have removed it
            try:
                yield partial
            finally:
                _tidy(partial, lock)
    except Timeout as error:
        raise Overloaded(f"The model {name} is being pulled by another process.", after=10) from error


def _tidy(partial: Path, lock: Path) -> None:
    if any(path.is_file() for path in partial.rglob("*")):
        return
    shutil.rmtree(partial, ignore_errors=True)
    lock.unlink(missing_ok=True)
    with suppress(OSError):  # other models are being pulled
        partial.parent.rmdir()


def need(folder: Path, size: int) -> None:
    """Raise `Misconfigured` when the disk has no room for `size` bytes and some air."""
    free = shutil.disk_usage(folder).free
    if free < size * 1.05:
        raise Misconfigured(
            f"{folder} has {free >> 20} MB left and {size >> 20} MB are needed. Make room and try again."
        )


def publish(home: Path, model: InstalledModel, staged: Path) -> InstalledModel:
    """Write the manifest, flush everything and move the folder to its name, in place of an older one."""
    target, old = _models(home) / model.name, _models(home) / ".partial" / f"{model.name}.old"
    seen = {
        name: file.model_copy(update={"seen": (staged / name).stat().st_mtime_ns}) for name, file in model.files.items()
    }
    model = model.model_copy(update={"files": seen, "folder": target})
    (staged / MANIFEST).write_text(model.model_dump_json(exclude={"folder"}, indent=2), encoding="utf-8")
    for path in staged.iterdir():
        with path.open("rb") as stream:
            os.fsync(stream.fileno())
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        target.rename(old)
    staged.rename(target)
    shutil.rmtree(old, ignore_errors=True)
    return model


def _models(home: Path) -> Path:
    return home / "models"


def _read(folder: Path) -> InstalledModel | None:
    try:
        model = InstalledModel.model_validate_json((folder / MANIFEST).read_bytes())
    except (OSError, ValidationError):
        return None
    # A manifest may name files of its own folder only.
    if not model.files or any(Path(name).name != name for name in model.files):
        return None
    return model.model_copy(update={"folder": folder, "name": folder.name})


def _broken(model: InstalledModel, path: Path, what: str) -> Misconfigured:
    return Misconfigured(f"{path} {what}. Run: runbell models pull {model.name}")
