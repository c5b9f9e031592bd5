"""What all sources share: which files make a model up, is it one, and onto the shelf with it."""

import contextlib
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Generator, Iterable, Mapping, Sequence
from pathlib import Path

from integrations.errors import InvalidInput, Rejected
from serving.shelf import File, InstalledModel, Kind, OnProgress, Progress, publish, sha256
from serving.sources import safetensors_folder

POLL_S = 0.2
TRY_OUT_S = 600.0
PREFERRED = "q4_k_m"
GGUF = b"GGUF"
"""How each GGUF file begins."""
FOLDER = "safetensors"
"""What is asked for where there are GGUF files and a folder of safetensors."""


def choose(files: Sequence[str], wanted: str) -> list[str]:
    """Return the files that are meant: one GGUF file with its parts, or a folder's of safetensors.

    `wanted` is a GGUF file's name or a part of it, or `safetensors`; nothing means GGUF where there is any.
    """
    models = sorted(file for file in files if file.lower().endswith(".gguf"))
    folder = safetensors_folder.files_of(files)
    if folder and (wanted.lower() == FOLDER or (not wanted and not models)):
        return folder
    match = [file for file in models if wanted.lower() in file.lower()]
    if not wanted and len(_first_parts(match)) > 1:
        match = [file for file in models if PREFERRED in file.lower()]
    first = _first_parts(match)
    if len(first) != 1:
        names = [Path(file).name for file in _first_parts(models)] + ([FOLDER] if folder else [])
        offer = ", ".join(names) or "no GGUF file, and no folder of safetensors"
        raise InvalidInput(f"Say which file, as in owner/repository:Q4_K_M. There is: {offer}", field="reference")
    stem = re.sub(r"-00001-of-(\d{5})\.gguf$", "", first[0])
    return [file for file in match if file.startswith(stem)] if stem != first[0] else first


def _first_parts(files: Iterable[str]) -> list[str]:
    return [file for file in files if not re.search(r"-(?!00001)\d{5}-of-\d{5}\.gguf$", file)]


def check(name: str, path: Path, expected: str | None, on_progress: OnProgress) -> File:
    """Return a file's size and digest. Raises `Rejected`, and removes it, where it is not the expected one."""
    size = path.stat().st_size
    digest = sha256(path, lambda done: on_progress(Progress(name, "check", done, size)))
    if expected is not None and digest != expected.lower():
        path.unlink()
        raise Rejected(
            f"{path.name} is not what its checksum promises, and was removed: it arrived damaged, or is another file."
            " Pull again; if that does not help, ask who publishes it."
        )
    return File(size=size, sha256=digest)


def shelve(home: Path, name: str, source: str, staged: Path, files: Mapping[str, File]) -> InstalledModel:
    """Try the staged model out and publish it. Raises `InvalidInput`, and removes its workshop, where it is none."""
    path = staged / next(iter(files))
    try:
        kind, engine = _opened(path, embeds=safetensors_folder.KEPT_POOLING in files)
    except InvalidInput:
        shutil.rmtree(staged.parent)
        raise
    model = InstalledModel(name=name, kind=kind, engine=engine, source=source, files=dict(files))
    return publish(home, model, staged)


def _opened(path: Path, *, embeds: bool) -> tuple[Kind, str]:
    """Return what a model is for and which engine opens it, after a try."""
    if path.suffix.lower() == ".gguf":
        with path.open("rb") as file:
            if file.read(len(GGUF)) != GGUF:
                raise InvalidInput(f"{path.name} is no GGUF file, whatever its name says.", field="reference")
        _try_out(path, "llama_cpp")
        return "chat", "llama_cpp"
    safetensors_folder.check(path.parent)
    if not embeds:
        return "chat", "transformers"
    safetensors_folder.check_embedder(path.parent)
    _try_out(path.parent, "minilm")
    return "embedder", "minilm"


def _try_out(path: Path, engine: str) -> None:
    """Load it where it can do no harm: a damaged GGUF file can abort the process that reads it."""
    code = f"import sys; from serving.engines.{engine} import try_out; try_out(sys.argv[1])"
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(  # noqa: S603 - our own interpreter and module; the path is an argument
        [sys.executable, "-c", code, str(path)],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        timeout=TRY_OUT_S,
        cwd=root,
    )
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.strip()]
        name, what = (path.name, "llama.cpp") if path.is_file() else ("it", f"The engine {engine}")
        plain = re.sub(r"^(\w+\.)*[A-Z]\w*: ", "", said[-1]).rstrip(".") if said else ""
        reason = plain if plain and done.returncode > 0 else "it crashes of it, as of a damaged file"
        raise InvalidInput(f"{what} can't load {name}: {reason}.", field="reference")


@contextlib.contextmanager
def watched(folder: Path, name: str, total: int | None, on_progress: OnProgress) -> Generator[None]:
    """Report how much lies in the folder, several times a second: neither pip nor the hub's client tells."""
    over = threading.Event()

    def look() -> None:
        while not over.wait(POLL_S):
            done = sum(_size(path) for path in folder.rglob("*"))
            on_progress(Progress(name, "download", done if total is None else min(done, total), total))

    thread = threading.Thread(target=look, name="pull-progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _size(path: Path) -> int:
    with contextlib.suppress(OSError):  # temporary files come and go
        return path.stat().st_size if path.is_file() else 0
    return 0


def fresh(folder: Path) -> Path:
    """Return the folder, empty."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def name_of(stem: str) -> str:
    """Return the name on the shelf of what is called so elsewhere."""
    return re.sub(r"[^a-z0-9._-]+", "-", re.sub(r"-00001-of-\d{5}$", "", stem).lower()).strip("-.") or "model"
