"""What outlives a connection to Discord's gateway, and even this process: which session to resume, and from where.

Discord keeps a session for some minutes, so a gateway that is restarted meanwhile resumes it and misses nothing. The
file is this process's as long as it holds the lock beside it; another process of the same home begins its own session.
"""

import json
import logging
from pathlib import Path

from filelock import FileLock, Timeout

from integrations.channels.members import Json, table, text
from integrations.errors import InvalidInput
from integrations.security.documents import read_json

logger = logging.getLogger(__name__)
MAX_FILE = 10_000


class Session:
    """One session. An event counts as taken once it is stored; a later one may be stored before it."""

    def __init__(self, path: Path | None = None) -> None:
        self.id = self.url = self.bot_id = ""
        self.heard: int | None = None
        self._open: set[int] = set()
        self._path = path
        self._lock: FileLock | None = None

    def load(self) -> None:
        """Take over what an earlier process left, once."""
        if self._path is None or self._lock is not None:
            return
        self._lock = FileLock(self._path.with_suffix(".lock"), mode=0o600)
        try:
            self._lock.acquire(timeout=0)
        except (Timeout, OSError):
            self._path = None
            return
        try:
            left = read_json(self._path.read_bytes(), limit=MAX_FILE)
        except (OSError, InvalidInput):
            return
        number = left.get("seq")
        if isinstance(number, int):
            self.id, self.url, self.bot_id = text(left, "id"), text(left, "url"), text(left, "bot_id")
            self.heard = number

    def save(self) -> None:
        """Leave behind from where to resume."""
        if self._path is None or self._lock is None:
            return
        state = {"id": self.id, "url": self.url, "bot_id": self.bot_id, "seq": self.stored_up_to()}
        try:
            part = self._path.with_suffix(".part")
            part.write_text(json.dumps(state))
            part.chmod(0o600)
            part.replace(self._path)
        except OSError as error:
            logger.warning("a session can't be kept", extra={"channel": "discord", "error": type(error).__name__})

    def release(self) -> None:
        """Give the file to whoever comes next."""
        self.save()
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def begin(self, ready: Json) -> None:
        """Note what READY says."""
        self.id, self.url = text(ready, "session_id"), text(ready, "resume_gateway_url")
        self.bot_id = text(table(ready, "user"), "id")

    def forget(self) -> None:
        """Begin a new session next time."""
        self.id = self.url = ""
        self.heard = None
        self._open.clear()

    def hear(self, number: int) -> None:
        """Note an event that is being stored."""
        self.heard = max(number, self.heard or 0)
        self._open.add(number)

    def stored(self, number: int) -> None:
        """Note that an event needs not come again."""
        self._open.discard(number)

    def stored_up_to(self) -> int:
        """Return the number of the last event that is stored with all before it."""
        return min(self._open) - 1 if self._open else self.heard or 0

    def resume(self) -> int:
        """Return from where to resume; what follows it will come again."""
        self.heard = self.stored_up_to()
        self._open.clear()
        return self.heard
