"""Whether a worker still takes new work, and when it may end: it was told to leave, or a thread of it hangs."""

import threading
import time

RECYCLE_S = 60.0
"""How long the other runs of a worker with a hanging thread may take to end; then other workers go on with them."""


class Wear:
    """Thread-safe."""

    def __init__(self) -> None:
        self.done = threading.Event()
        """Set once the worker shall end: it takes nothing new, and what it had is done."""
        self.leaving = False
        self.runs = 0
        """Pieces of work that have ended."""
        self.pieces = 0
        """Pieces of work under way."""
        self._hung_at: float | None = None
        self._lock = threading.Lock()

    @property
    def hung(self) -> bool:
        """Whether a thread hangs; then nothing at all is taken."""
        return self._hung_at is not None

    @property
    def fresh(self) -> bool:
        """Whether the worker takes new work."""
        return not self.leaving and not self.hung

    def began(self) -> None:
        """Count a piece of work that a thread will do."""
        with self._lock:
            self.pieces += 1

    def ended(self) -> None:
        """Count a piece of work that has ended, well or not."""
        with self._lock:
            self.pieces -= 1
            self.runs += 1

    def idle(self) -> None:
        """Take note, between two claims, that nothing was claimed: a worker that leaves ends when it has nothing."""
        if self.leaving and self.pieces == 0:
            self.done.set()

    def hang(self) -> None:
        """Take note that a thread was given up."""
        self._hung_at = self._hung_at or time.monotonic()

    def look(self, busy: int) -> None:
        """Let a worker with a hanging thread end once its other runs are done, or took too long."""
        if self._hung_at is not None and (not busy or time.monotonic() - self._hung_at > RECYCLE_S):
            self.done.set()
