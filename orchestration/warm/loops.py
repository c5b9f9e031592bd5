"""The threads of a worker that do one thing over and over, whatever goes wrong with it, until the worker stops."""

import logging
import threading
from collections.abc import Callable

from integrations.errors import TemporaryError

log = logging.getLogger(__name__)

JOIN_S = 5.0


class Loops:
    """A thread each; all end once `stopping` is set."""

    def __init__(self, stopping: threading.Event) -> None:
        self._stopping = stopping
        self._threads: list[threading.Thread] = []

    def start(self, name: str, once: Callable[[], None]) -> None:
        """Repeat `once`, which waits for its own work, in a thread of this name."""
        thread = threading.Thread(target=self._forever, args=(name, once), name=name, daemon=True)
        thread.start()
        self._threads.append(thread)

    def join(self) -> None:
        """Wait for all to end, some seconds each at most."""
        for thread in self._threads:
            thread.join(timeout=JOIN_S)

    def _forever(self, name: str, once: Callable[[], None]) -> None:
        """Repeat until the worker stops; this is the outermost loop of its thread."""
        while not self._stopping.is_set():
            try:
                once()
            except TemporaryError as error:
                log.warning("%s will try again", name, extra={"error": str(error)})
                self._stopping.wait(error.after)
            except Exception:
                log.exception("%s failed, will try again", name)
                self._stopping.wait(1.0)
