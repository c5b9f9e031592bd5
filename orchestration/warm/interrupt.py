"""Stop the thread of one run: an exception raised in it from outside, only where that is safe.

Safe is an op's own code (`exposed`). Bookkeeping, commits above all, is never cut in half: there the request
waits for the next `check`. A thread inside C code notices only once that code returns.
"""

import ctypes
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from enum import StrEnum

from orchestration.warm.internals import DagsterExecutionInterruptedError


class Reason(StrEnum):
    """Why a run is stopped."""

    CANCEL = "somebody asked to cancel the run"
    DRAIN = "the worker is shutting down; another one goes on with the run"
    LOST = "another worker holds the run now"


class Interrupt:
    """The stop switch of one run; made in the thread that executes it."""

    def __init__(self) -> None:
        self.reason: Reason | None = None
        self.ending = False
        """Set once only the answer and the queue's row are left to write: both check the lease themselves."""
        self._lock = threading.Lock()
        self._thread = threading.get_ident()
        self._exposed = False
        self._requested = threading.Event()

    def request(self, reason: Reason) -> None:
        """Stop the run as soon as it is safe; the first reason counts, except that a lost lease trumps all."""
        with self._lock:
            if self.reason is None or reason is Reason.LOST:
                self.reason = reason
            self._requested.set()
            if self._exposed:
                _raise_in(self._thread)

    def check(self) -> None:
        """Raise Dagster's interruption where a stop was requested."""
        if self.reason is not None:
            raise DagsterExecutionInterruptedError(str(self.reason))

    def wait(self, seconds: float) -> None:
        """Sleep, unless or until a stop is requested; then raise."""
        self._requested.wait(seconds)
        self.check()

    def nap(self, seconds: float) -> bool:
        """Sleep for an op in its own code, and raise where a stop comes; False where the caller must sleep."""
        if not self._exposed:
            return False
        self.wait(seconds)
        return True

    @contextmanager
    def exposed(self) -> Generator[None]:
        """Let a stop cut in at any point of this block."""
        before = self._switch(exposed=True)
        try:
            yield
        finally:
            self._switch(exposed=before)

    @contextmanager
    def shielded(self) -> Generator[None]:
        """Keep this block whole, also inside `exposed`; a stop that came meanwhile is raised at its end."""
        before = self._switch(exposed=False)
        try:
            yield
        finally:
            self._switch(exposed=before)
        if before:
            self.check()

    def cover(self) -> None:
        """Make sure that nothing cuts in: for the handler of the interruption itself."""
        self._switch(exposed=False)

    def _switch(self, *, exposed: bool) -> bool:
        with self._lock:
            before, self._exposed = self._exposed, exposed
            if exposed and not before and self.reason is not None:
                _raise_in(self._thread)
        return before


class _Current(threading.local):
    interrupt: Interrupt | None = None


_current = _Current()


@contextmanager
def interruptible() -> Generator[Interrupt]:
    """Give the calling thread a stop switch for the run that it executes in this block."""
    _current.interrupt = interrupt = Interrupt()
    try:
        yield interrupt
    finally:
        _current.interrupt = None


@contextmanager
def shielded() -> Generator[None]:
    """Keep the block whole, whichever run the calling thread executes, if any."""
    if (interrupt := _current.interrupt) is None:
        yield
        return
    with interrupt.shielded():
        yield


_sleep = time.sleep


def sleep(seconds: float) -> None:
    """Sleep as `time.sleep` does, but end at once where the run is stopped: C code would sleep on."""
    if (interrupt := _current.interrupt) is None or not interrupt.nap(seconds):
        _sleep(seconds)


def install() -> None:
    """Let ops that call `time.sleep` be stopped; for worker processes only. Idempotent."""
    time.sleep = sleep


def _raise_in(thread: int) -> None:
    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(thread), ctypes.py_object(DagsterExecutionInterruptedError)
    )
