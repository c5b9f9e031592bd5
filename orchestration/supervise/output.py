"""The log files of processes: JSON lines, rotated by size, without secrets.

Our own processes write JSON lines already; what PostgreSQL, Ray or Chroma print is wrapped into the same form.
"""

import asyncio
import json
import re
from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

from integrations.telemetry.redaction import MASK, redact

MAX_LINE = 64_000
_COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


class RotatingFile:
    """Appends lines; at `limit` bytes the file becomes NAME.1, and so on up to NAME.`keep`."""

    def __init__(self, path: Path, *, limit: int, keep: int) -> None:
        self._path = path
        self._limit = limit
        self._keep = max(1, keep)
        self._file = path.open("ab")
        path.chmod(0o600)

    def write(self, line: str) -> None:
        """Append one line. Raises OSError where the disk is full."""
        data = line.encode("utf-8", "backslashreplace") + b"\n"
        if self._file.tell() and self._file.tell() + len(data) > self._limit:
            self._rotate()
        self._file.write(data)
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _rotate(self) -> None:
        self._file.close()
        for number in range(self._keep - 1, 0, -1):
            older = self._numbered(number)
            if older.exists():
                older.replace(self._numbered(number + 1))
        self._path.replace(self._numbered(1))
        self._file = self._path.open("ab")
        self._path.chmod(0o600)

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")


class Output:
    """What one process printed: kept in its log, the last lines also in memory for messages to people."""

    def __init__(
        self, name: str, file: RotatingFile, *, now: Callable[[], datetime], secrets: Sequence[str] = ()
    ) -> None:
        self._name = name
        self._file = file
        self._now = now
        self._secrets = [secret for secret in secrets if len(secret) >= 8]
        self._last: deque[str] = deque(maxlen=20)
        self.problem: str | None = None

    @property
    def last(self) -> str:
        """The last thing said that is worth telling; empty where there is nothing."""
        return next((line for line in reversed(self._last) if line), "")

    def forget(self) -> None:
        """Start a new life: what was said before is not this process's."""
        self._last.clear()

    def say(self, text: str) -> None:
        """Log one line; a full disk must not stop the process that speaks."""
        text = _COLOURS.sub("", text).rstrip()
        if not text:
            return
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        line, heard = self._as_json(text)
        self._last.append(heard[:300])
        try:
            self._file.write(line)
        except OSError as error:
            self.problem = f"its log can't be written: {error.strerror}"
        else:
            self.problem = None

    def close(self) -> None:
        """Close the log."""
        self._file.close()

    async def pump(self, stream: asyncio.StreamReader) -> None:
        """Log everything the stream brings until it ends."""
        rest = b""
        while data := await stream.read(65_536):
            *lines, rest = (rest + data).split(b"\n")
            if len(rest) > MAX_LINE:
                lines, rest = [*lines, rest], b""
            for line in lines:
                self.say(line[:MAX_LINE].decode("utf-8", "replace"))
        self.say(rest.decode("utf-8", "replace"))

    def _as_json(self, text: str) -> tuple[str, str]:
        if text.startswith("{"):
            try:
                said: object = json.loads(text)
            except ValueError:
                said = None
            if isinstance(said, dict):
                return text, str(said.get("message", text))  # pyright: ignore[reportUnknownArgumentType]
        text = redact(text)
        record = {"time": self._now().isoformat(timespec="milliseconds"), "service": self._name, "message": text}
        return json.dumps(record, ensure_ascii=False), text
