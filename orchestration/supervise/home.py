"""RUNBELL_HOME: where everything of one installation lives, and who may read it."""

import hashlib
import json
import os
import shutil
import stat
import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import cast

from integrations.errors import Misconfigured
from integrations.security.tokens import create_token

SHORT = 35
"""Longest path of RUNBELL_HOME under which Ray's sockets still fit into the 107 characters of a socket's name."""
FOLDERS = ("run", "logs", "chroma", "dagster", "models", "ray", "files")


@dataclass(frozen=True)
class Home:
    """The folder of one installation; `path` is absolute."""

    path: Path

    @cached_property
    def sockets(self) -> Path:
        """Where unix sockets and Ray's session live: RUNBELL_HOME/run, or a short folder where that is too long."""
        if len(str(self.path)) <= SHORT:
            return self.path / "run"
        name = hashlib.sha256(str(self.path).encode()).hexdigest()[:10]
        return Path(tempfile.gettempdir()) / f"runbell-{os.getuid()}-{name}"

    @property
    def ray(self) -> Path:
        """Ray's sessions."""
        return self.path / "ray" if len(str(self.path)) <= SHORT else self.sockets / "ray"

    @property
    def ray_token(self) -> Path:
        """What every Ray process must present."""
        return self.path / "run" / "ray.token"

    @property
    def lock(self) -> Path:
        """Held by the supervisor as long as it lives."""
        return self.path / "run" / "supervisor.lock"

    @property
    def state(self) -> Path:
        """What the supervisor knows, written by it alone."""
        return self.path / "run" / "state.json"

    @property
    def endpoints(self) -> Path:
        """Where the parts listen in this start."""
        return self.path / "run" / "endpoints.json"

    @property
    def serving_ready(self) -> Path:
        """Present while the models answer."""
        return self.path / "run" / "serving.ready"

    @property
    def serving_problem(self) -> Path:
        """Holds one line that says why the models don't answer."""
        return self.path / "run" / "serving.problem"

    @property
    def workers(self) -> Path:
        """What the pool says of the warm workers, about each second."""
        return self.path / "run" / "workers.json"

    def remove_sockets(self) -> None:
        """Remove the short folder, where there is one: nothing outside RUNBELL_HOME outlives a stop."""
        if self.path not in self.sockets.parents:
            shutil.rmtree(self.sockets, ignore_errors=True)

    def forget_serving(self) -> None:
        """Remove what an earlier serving process said of itself."""
        self.serving_ready.unlink(missing_ok=True)
        self.serving_problem.unlink(missing_ok=True)

    def log(self, name: str) -> Path:
        """Return the log of a process."""
        return self.path / "logs" / f"{name}.log"

    def create(self) -> None:
        """Make what is missing, private to this user, with the two tokens. Idempotent."""
        try:
            private_folder(self.path)
            for name in FOLDERS:
                private_folder(self.path / name)
            private_folder(self.sockets)
            private_folder(self.ray)
            create_token(self.path)
            if not self.ray_token.exists():
                write_private(self.ray_token, os.urandom(32).hex())
        except OSError as error:
            raise Misconfigured(
                f"{self.path} can't be written ({error.strerror}). Set RUNBELL_HOME to a folder of your own, "
                "or free its disk."
            ) from error


def private_folder(path: Path) -> None:
    """Make a folder that only this user may enter; refuse one that someone else owns."""
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) and not path.is_dir():
        raise Misconfigured(f"{path} is in the way: remove it.")
    if found.st_uid != os.getuid():
        raise Misconfigured(f"{path} belongs to another user (uid {found.st_uid}): remove it, or set RUNBELL_HOME.")
    if found.st_mode & 0o077 and not path.is_symlink():
        path.chmod(0o700)


def write_private(path: Path, text: str) -> None:
    """Replace a file as a whole; mode 0600."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def read_json(path: Path) -> dict[str, object]:
    """Return a JSON object from a file; empty where there is none or it is damaged."""
    try:
        found: object = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return cast("dict[str, object]", found) if isinstance(found, dict) else {}
