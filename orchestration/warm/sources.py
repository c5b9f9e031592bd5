"""The files that the code of a location consists of, and whether they changed: its version is what they hold.

Beside Python they may be YAML: workflows without Python (`orchestration/flows`), and components of Dagster's.
"""

import hashlib
import os
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

FILES = 5_000
"""More are not looked at."""
_PLATFORM = frozenset({"orchestration", "assets", "integrations", "serving"})
_ENDINGS = (".py", ".yaml", ".yml")
_SKIPPED = frozenset({"__pycache__", "site-packages", "node_modules"})


def loaded_roots(within: Iterable[Path], target: str) -> frozenset[Path]:
    """Return the top-level packages and modules that this process has loaded from these folders.

    Runbell's own count only where `target`, the location's module or file, is one of them: the rest of them is shared
    with processes that only a restart of the platform renews.
    """
    folders = [folder.resolve() for folder in within]
    own = target.partition(".")[0]
    roots = {Path(target).resolve()} if Path(target).is_file() else set[Path]()
    for name in {name.partition(".")[0] for name in list(sys.modules)}:
        if name in _PLATFORM and name != own:
            continue
        roots |= {root for root in _files_of(name) if any(_belongs(root, folder) for folder in folders)}
    return frozenset(roots)


def _files_of(name: str) -> Iterator[Path]:
    module = sys.modules.get(name)
    packages: Iterable[str] = getattr(module, "__path__", None) or ()
    file = getattr(module, "__file__", None)
    if packages:
        yield from (Path(package).resolve() for package in packages)
    elif file and name != "__main__":
        yield Path(file).resolve()


def _belongs(root: Path, folder: Path) -> bool:
    return root.is_relative_to(folder) and not any(_skipped(part) for part in root.relative_to(folder).parts)


def _skipped(name: str) -> bool:
    return name.startswith(".") or name in _SKIPPED


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a worker has loaded: from where, and what tells it from other states of the same files."""

    roots: tuple[str, ...]
    fingerprint: str

    @property
    def label(self) -> str:
        """What runs are marked with: the application's version and that of the code."""
        return f"{version('runbell')}+{self.fingerprint[:8]}"


def loaded(roots: Iterable[Path], began: float) -> Loaded:
    """Return what was loaded from these roots since the instant (Unix seconds)."""
    sources = Sources(roots)
    fingerprint = sources.fingerprint()
    if sources.changed_within(began, time.time()):
        # Nobody knows which of it was read before: it is like no state of the files.
        fingerprint = hashlib.sha256(f"{fingerprint} {began}".encode()).hexdigest()
    return Loaded(tuple(str(root) for root in sources.roots), fingerprint)


class Sources:
    """The Python and YAML files below some roots. `fingerprint` reads only what is newer than at its last call."""

    def __init__(self, roots: Iterable[Path]) -> None:
        self.roots = tuple(sorted(roots))
        self._known: dict[str, tuple[tuple[int, int], str]] = {}

    def fingerprint(self) -> str:
        """Return what tells one state of the files from another; the same in all processes that see the same files."""
        found = {path: self._digest(path, stat) for path, stat in self._files()}
        self._known = {path: known for path, known in self._known.items() if path in found}
        return hashlib.sha256(repr(sorted(found.items())).encode()).hexdigest()

    def changed_within(self, began: float, ended: float) -> bool:
        """Tell whether a file was written between two instants (Unix seconds)."""
        return any(began < stat.st_mtime <= ended for _, stat in self._files())

    def _digest(self, path: str, stat: os.stat_result) -> str:
        seen = (stat.st_mtime_ns, stat.st_size)
        known = self._known.get(path)
        if known is None or known[0] != seen:
            try:
                known = (seen, hashlib.sha256(Path(path).read_bytes()).hexdigest())
            except OSError:  # it has just gone: the next look tells
                known = (seen, "")
            self._known[path] = known
        return known[1]

    def _files(self) -> Iterator[tuple[str, os.stat_result]]:
        for number, entry in enumerate(entry for root in self.roots for entry in _walk(root)):
            if number >= FILES:
                return
            yield entry


def _walk(root: Path) -> Iterator[tuple[str, os.stat_result]]:
    try:
        if root.is_file():
            yield str(root), root.stat()
            return
        entries = sorted(os.scandir(root), key=lambda entry: entry.name)
    except OSError:
        return
    for entry in entries:
        if _skipped(entry.name):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(Path(entry.path))
        elif entry.name.endswith(_ENDINGS):
            try:
                yield entry.path, entry.stat()
            except OSError:
                continue
