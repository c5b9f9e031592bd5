"""Models that lie on this machine already: a GGUF file, or a folder of safetensors."""

import shutil
from pathlib import Path

from integrations.errors import InvalidInput, NotFound
from serving.shelf import CHUNK, InstalledModel, OnProgress, Progress, need, workshop
from serving.sources import safetensors_folder
from serving.sources.shelving import check, fresh, name_of, shelve


def from_path(home: Path, path: Path, on_progress: OnProgress) -> InstalledModel:
    """Copy a GGUF file, or a folder's files, look whether it is a model, and keep it."""
    path = path.expanduser().resolve()
    chosen = _chosen(path)
    name = name_of(path.name if path.is_dir() else path.stem)
    with workshop(home, name) as shop:
        total, done = sum(file.stat().st_size for file in chosen.values()), 0
        need(shop, total)
        staged = fresh(shop / "staged")
        for kept, file in chosen.items():
            with file.open("rb") as source, (staged / kept).open("wb") as copy:
                while chunk := source.read(CHUNK):
                    done += copy.write(chunk)
                    on_progress(Progress(name, "copy", done, total))
        files = {kept: check(name, staged / kept, None, on_progress) for kept in chosen}
        model = shelve(home, name, f"file:{path}", staged, files)
        shutil.rmtree(shop)
        return model


def _chosen(path: Path) -> dict[str, Path]:
    """Return the files by their names on the shelf."""
    if path.is_dir():
        there = [file for file in (*path.iterdir(), path / safetensors_folder.POOLING) if file.is_file()]
        names = safetensors_folder.files_of([str(file.relative_to(path)) for file in there])
        if not names:
            raise InvalidInput(f"{path} has no config.json with *.safetensors beside it.", field="reference")
        return {safetensors_folder.kept_as(name): path / name for name in names}
    if not path.exists():
        raise NotFound(f"There is no file {path}.")
    if path.suffix.lower() != ".gguf" or not path.is_file():
        raise InvalidInput(f"{path} is not a GGUF file (*.gguf).", field="reference")
    return {path.name: path}
