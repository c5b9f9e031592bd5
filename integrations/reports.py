"""How a program that is closed in (`sandbox.py`) tells more than it prints: lines, through a descriptor it inherits."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import IO


class Reports:
    """A pipe that a program may write lines to; they are handed to `hear` as they come, in the thread of `sandbox.run`.

    One for each program. Their bytes are bounded as its output is; a line that has no end counts as none. `modules` is
    a folder with the Python modules, and no others, that it needs for that.
    """

    def __init__(self, hear: Callable[[bytes], None], modules: Path) -> None:
        self.modules = modules
        self._reader, self._writer = os.pipe()
        self._ours = {self._reader, self._writer}
        self._hear = hear
        self._begun = bytearray()

    @property
    def path(self) -> str:
        """The file that the program writes to; an inherited descriptor, so no folder has to be open to it."""
        return f"/dev/fd/{self._writer}"

    def give(self, user: int) -> None:
        """Let the program's user open it."""
        os.fchown(self._writer, user, user)

    @property
    def inherited(self) -> int:
        """The descriptor that the program inherits."""
        return self._writer

    def reader(self) -> IO[bytes]:
        """Return our end, once the program has begun: the other end is its own then. Whoever calls closes it."""
        self._ours.clear()
        os.close(self._writer)
        os.set_blocking(self._reader, False)
        return os.fdopen(self._reader, "rb", buffering=0)

    def close(self) -> None:
        """Close it where no program ever began."""
        while self._ours:
            os.close(self._ours.pop())

    def take(self, chunk: bytes) -> None:
        """Hand over the lines that are whole."""
        self._begun += chunk
        *lines, rest = self._begun.split(b"\n")
        self._begun = bytearray(rest)
        for line in lines:
            self._hear(bytes(line))
