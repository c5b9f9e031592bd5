"""Files of messages, by the SHA-256 of their bytes; messages carry references only."""

import hashlib
import mimetypes
import os
import re
import uuid
from collections.abc import Set as AbstractSet
from contextlib import suppress
from pathlib import Path

from integrations.errors import InvalidInput, NotFound
from integrations.messages import Attachment

MAX_BYTES = 20 * 1024 * 1024
_SHA = re.compile(r"[0-9a-f]{64}")
_MEDIA_TYPE = re.compile(r"[\w.+-]{1,100}/[\w.+-]{1,100}(?:;[ -~]{0,100})?", re.ASCII)


class FileStore:
    """A folder `files/<first two>/<sha256>`. Writing is atomic and idempotent."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def put(self, data: bytes, *, name: str, media_type: str | None = None) -> Attachment:
        """Store bytes under a shown name. Raises `InvalidInput` above 20 MiB."""
        if len(data) > MAX_BYTES:
            raise InvalidInput(f"{name} has {len(data)} bytes; the most is {MAX_BYTES}", field="attachments")
        sha = hashlib.sha256(data).hexdigest()
        path = self._path(sha)
        try:
            os.utime(path)  # It is used anew, so `sweep` leaves it alone.
        except FileNotFoundError:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            part = path.with_name(f"{sha}.{uuid.uuid4().hex}")
            part.write_bytes(data)
            part.chmod(0o600)
            part.replace(path)
        guessed = mimetypes.guess_type(name)[0] or "application/octet-stream"
        told = media_type if media_type and _MEDIA_TYPE.fullmatch(media_type) else guessed
        return Attachment(id=sha, name=Path(name).name, media_type=told, size=len(data))

    def add(self, path: Path) -> Attachment:
        """Store a copy of a file. Raises `InvalidInput` above 20 MiB, `NotFound`."""
        if not path.is_file():
            raise NotFound(f"there is no file {path.name}")
        if path.stat().st_size > MAX_BYTES:
            raise InvalidInput(f"{path.name} is larger than {MAX_BYTES} bytes", field="attachments")
        return self.put(path.read_bytes(), name=path.name)

    def sweep(self, referred: AbstractSet[str], before: float) -> int:
        """Delete what was last put before that instant (Unix seconds) and is not referred to; return how many went.

        A file that is put again meanwhile stays.
        """
        return sum(
            _deleted(path, before)
            for path in self._root.glob("??/*")
            if path.name not in referred and _put_at(path) < before
        )

    def path(self, file_id: str) -> Path:
        """Return where a file lies. Raises `NotFound`."""
        if not _SHA.fullmatch(file_id) or not self._path(file_id).is_file():
            raise NotFound("there is no such file")
        return self._path(file_id)

    def _path(self, sha: str) -> Path:
        return self._root / sha[:2] / sha


def _put_at(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return float("inf")


def _deleted(path: Path, before: float) -> bool:
    """Take a file away, and put it back where somebody has just used it."""
    aside = path.with_name(f"{path.name}.{uuid.uuid4().hex}")
    with suppress(FileNotFoundError):
        path.rename(aside)
        if aside.stat().st_mtime >= before:
            aside.rename(path)
            return False
        aside.unlink()
        return True
    return False
