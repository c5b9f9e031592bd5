"""Stop the thread of one run: an exception raised in it from outside, only where that is safe.

Safe is an op's own code (`exposed`). Bookkeeping, commits above all, is never cut in half: there the request
waits for the next `check`. A thread inside C code notices only once that code returns.
"""

import ctypes
import math
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from enum import StrEnum

from orchestration.warm.internals import DagsterExecutionInterruptedError

WATCH_S = 0.25
"""How often the clock is looked at for ops with a time limit."""


class Reason(StrEnum):
    """Why a run is stopped."""

    CANCEL = "somebody asked to cancel the run"
    DRAIN = "the worker is shutting down; another one goes on with the run"
    LOST = "another worker holds the run now"


OP_LIMIT = "The op took longer than {seconds:g} s. Its tag `runbell/timeout_s` can allow it more."


class OpTimedOut(Exception):
    """An op took longer than it may; raised in its own code."""

    def __init__(self) -> None:
        # Raised from outside, where no argument can be given.
        super().__init__("" if _current.interrupt is None else _current.interrupt.limit_told)


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
        self.limit_s = 0.0
        self.limit_told = ""
        self._expires_at = math.inf
        self._expired = self._struck = False
        self._stop_since = math.inf

    def request(self, reason: Reason) -> None:
        """Stop the run as soon as it is safe; the first reason counts, except that a lost lease trumps all."""
        with self._lock:
            if self.reason is None or reason is Reason.LOST:
                self.reason = reason
            self._requested.set()
            self._stop_since = min(self._stop_since, time.monotonic())
            if self._exposed:
                _raise_in(self._thread, DagsterExecutionInterruptedError)

    @contextmanager
    def limited(self, seconds: float, told: str = OP_LIMIT) -> Generator[None]:
        """Stop the op that executes in this block after so many seconds, saying `told`; 0 for never."""
        if seconds <= 0:
            yield
            return
        with self._lock:
            self.limit_s, self._expires_at = seconds, time.monotonic() + seconds
            self.limit_told = told.format(seconds=seconds)
        watch(self)
        try:
            yield
        finally:
            _watched.pop(self._thread, None)
            with self._lock:
                self._expires_at = math.inf
                if self._expired:
                    self._expired = self._struck = False
                    if self.reason is None:
                        self._requested.clear()
                        self._stop_since = math.inf

    def expire(self, now: float) -> None:
        """Stop the op whose time is over; called again and again by the watch."""
        with self._lock:
            if now < self._expires_at or self._expired or self.reason is not None:
                return
            self._expired, self._stop_since = True, now
            self._requested.set()
            if self._exposed:
                self._struck = True
                _raise_in(self._thread, OpTimedOut)

    def stuck(self, grace_s: float) -> bool:
        """Tell whether the thread goes on though it was to stop so many seconds ago."""
        return time.monotonic() - self._stop_since > grace_s

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
            if exposed and not before:
                if self.reason is not None:
                    _raise_in(self._thread, DagsterExecutionInterruptedError)
                elif self._expired and not self._struck:  # once: Dagster's word of the failure must not be cut
                    self._struck = True
                    _raise_in(self._thread, OpTimedOut)
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


_watched: dict[int, Interrupt] = {}
_watching = threading.Lock()
_watcher: list[threading.Thread] = []


def watch(interrupt: Interrupt) -> None:
    """Look at the clock for the calling thread's op."""
    _watched[threading.get_ident()] = interrupt
    if not _watcher:
        with _watching:
            if not _watcher:
                _watcher.append(threading.Thread(target=_watch, name="time limits", daemon=True))
                _watcher[0].start()


def _watch() -> None:
    while True:
        _sleep(WATCH_S)
        now = time.monotonic()
        for interrupt in list(_watched.values()):
            interrupt.expire(now)


def _raise_in(thread: int, error: type[BaseException]) -> None:
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(error))
