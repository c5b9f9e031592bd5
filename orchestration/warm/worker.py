"""A warm worker: a process that has loaded one code location and executes its runs in threads.

`python -m orchestration.warm.worker LOCATION` runs one without Ray, for debugging. Workers pull: NOTIFY wakes them,
a slow poll is the net beneath. Workers of `core` also route messages, and keep one thread for control commands.
"""

import logging
import os
import secrets
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from integrations.database import ClaimedMessage, Listener, RunClaim
from integrations.database.engine import patiently
from integrations.errors import LeaseLost
from orchestration.model_cache import VECTORS
from orchestration.warm import interrupt, logs
from orchestration.warm.active import ActiveRuns
from orchestration.warm.apart import carry_out
from orchestration.warm.loops import Loops
from orchestration.warm.routing import Dispatch
from orchestration.warm.runs import Runtime
from orchestration.warm.sources import Loaded
from orchestration.warm.wear import Wear

log = logging.getLogger(__name__)

INBOX, QUEUE = "runbell_inbox", "runbell_runs"
"""Where work comes from: the channels that tell of it."""
POLL_S = 2.0
"""How long a missed notification may go unnoticed."""
BEATS_PER_LEASE = 4


def worker_id(location: str) -> str:
    """Return a name that no other worker has or had."""
    return f"{location}-{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"


class Worker:
    """Claims and executes until it is drained."""

    def __init__(
        self, runtime: Runtime, dispatch: Dispatch | None = None, publish: Callable[[], None] | None = None
    ) -> None:
        self._runtime = runtime
        self._publish = publish
        self._database = runtime.database
        self._location = runtime.location.name
        self._dispatch = dispatch
        workers = runtime.settings.workers
        self._lease_s = workers.lease_s
        self._threads = workers.threads
        self._free = threading.Semaphore(self._threads)
        self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="run")
        self._active = ActiveRuns(runtime)
        self._wake, self._wake_control = threading.Event(), threading.Event()
        self._stopping = threading.Event()
        self._wear = Wear()
        self._news = {INBOX, QUEUE}
        self._queue_first, self._spare = False, 0
        self._loops = Loops(self._stopping)
        channels = [QUEUE, "runbell_cancel", *([] if dispatch is None else [INBOX])]
        self._listener = Listener(self._database.url, channels, self._heard)

    def start(self) -> "Worker":
        """Let everybody know the location's commands, and begin to work; returns at once."""
        if self._publish is not None:
            self._publish()
            self._loops.start("choices", self._publish_again)
        self._prepare()
        self._loops.start("claims", self._claim_runs)
        if self._dispatch is not None:
            self._loops.start("control", self._claim_control)
        log.info("worker is ready", extra={"worker": self._runtime.worker, "threads": self._threads})
        return self

    def _prepare(self) -> None:
        """Begin to live, without any work."""
        logs.install()
        interrupt.install()
        self._runtime.instance.warm_storage.gather()
        self._beat()
        self._listener.start()
        self._loops.start("heartbeat", self._keep_alive)

    @property
    def id(self) -> str:
        """The name under which it holds its leases."""
        return self._runtime.worker

    @property
    def busy(self) -> int:
        """Runs under way."""
        return len(self._active)

    @property
    def done(self) -> threading.Event:
        """Set once the worker shall end and be replaced."""
        return self._wear.done

    @property
    def code(self) -> Loaded | None:
        """What it has loaded."""
        return self._runtime.code

    @property
    def state(self) -> str:
        """Either `ready`, `leaving` (goes on with what it has, and then ends) or `draining`."""
        if self._stopping.is_set():
            return "draining"
        return "ready" if self._wear.fresh else "leaving"

    @property
    def load(self) -> tuple[int, int]:
        """Pieces of work under way, and how many have ended."""
        return self._wear.pieces, self._wear.runs

    def leave(self) -> None:
        """Take nothing new, go on with the runs of this version, and be done with the last of them. Idempotent."""
        self._wear.leaving = True
        self._beat()
        self._look_at(QUEUE)

    def drain(self, *, grace_s: float = 10.0) -> None:
        """Take nothing new, let runs end within the grace, hand the others back, and stop. Idempotent."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        self._wake.set()
        self._wake_control.set()
        self._active.wait_idle(grace_s)
        self._active.hand_back()
        self._active.close()
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._loops.join()
        self._listener.close()
        self._runtime.live.close()
        self._runtime.instance.warm_storage.flush()
        self._database.workers.gone(self._runtime.worker)

    def _heard(self, channel: str, payload: str) -> None:
        """Wake whom it concerns; a reconnection concerns everybody."""
        if channel in {"runbell_cancel", ""}:
            self._active.look_at_cancels()
        if self._dispatch is not None and (not payload or payload in self._dispatch.words):
            self._wake_control.set()
        if channel in {INBOX, ""} or payload == self._location:
            self._look_at(channel or QUEUE, channel or INBOX)

    def _look_at(self, *places: str) -> None:
        self._news.update(places)
        self._wake.set()

    def _claim_runs(self) -> None:
        """Wait until there may be work and a free thread; claim and hand out as much as fits."""
        if not self._wake.wait(POLL_S):
            self._news.update((INBOX, QUEUE))  # a notification may have been missed
        self._wake.clear()
        while self._news and not self._stopping.is_set() and not self._wear.hung:
            self._spare = self._take_slots()
            try:
                self._hand_out()
            finally:
                for _ in range(self._spare):
                    self._free.release()
        if not self._news:
            self._wear.idle()

    def _hand_out(self) -> None:
        """Claim for all spare threads where there is news, from inbox and queue in turns: neither starves the other."""
        sources = {INBOX: self._hand_out_messages, QUEUE: self._hand_out_runs}
        self._queue_first = not self._queue_first
        for place in sorted(sources, reverse=self._queue_first):
            if self._spare and place in self._news:
                self._news.discard(place)  # before the claim: what comes during it is looked for again
                sources[place]()
                if not self._spare:
                    self._news.add(place)

    def _hand_out_messages(self) -> None:
        if not self._wear.fresh or self._dispatch is None:
            return
        for claimed in self._database.inbox.claim(self._runtime.worker, limit=self._spare, lease_s=self._lease_s):
            self._submit(lambda claimed=claimed: self._route(claimed))

    def _hand_out_runs(self) -> None:
        for claim in self._database.runs.claim(
            self._location,
            self._runtime.worker,
            limit=self._spare,
            lease_s=self._lease_s,
            version=self._runtime.version,
            leaving=self._wear.leaving,
        ):
            self._submit(lambda claim=claim: claim)

    def _submit(self, obtain: Callable[[], RunClaim | None]) -> None:
        self._begin(obtain)
        self._spare -= 1

    def _begin(self, obtain: Callable[[], RunClaim | None]) -> None:
        self._wear.began()
        self._pool.submit(self._work, obtain)

    def _take_slots(self) -> int:
        """Wait for one free thread, and take all that are free."""
        while not self._free.acquire(timeout=0.5):
            if self._stopping.is_set():
                return 0
        taken = 1
        while self._free.acquire(blocking=False):
            taken += 1
        return taken

    def _work(self, obtain: Callable[[], RunClaim | None]) -> None:
        """Do one piece of work in a thread of the pool; this is the thread's outermost frame."""
        try:
            if (claim := obtain()) is not None:
                self._carry_out(claim)
        except LeaseLost as error:
            log.warning("left to another worker", extra={"error": str(error)})
        except Exception:
            log.exception("a piece of work failed; it will be claimed again when its lease ends")
        finally:
            self._wear.ended()
            self._free.release()
            if self._wear.leaving:
                self._look_at(QUEUE)

    def _route(self, claimed: ClaimedMessage) -> RunClaim | None:
        dispatch = self._dispatch
        assert dispatch is not None
        # What was stored though the answer was lost makes the second attempt a lost lease.
        return patiently(lambda: dispatch(claimed))

    def _carry_out(self, claim: RunClaim) -> None:
        with interrupt.interruptible() as switch, self._active.holding(claim, switch):
            waits = carry_out(self._runtime, claim, switch)
        # Only now: once parked, any worker may take the run, this one too.
        if waits:
            patiently(lambda: self._database.events.park(claim, waits))

    def _claim_control(self) -> None:
        """Answer control commands, whatever else goes on."""
        assert self._dispatch is not None
        self._wake_control.wait(POLL_S)
        self._wake_control.clear()
        while self._wear.fresh and (
            claimed := self._database.inbox.claim(
                self._runtime.worker, limit=1, lease_s=self._lease_s, words=self._dispatch.words
            )
        ):
            if (claim := self._dispatch(claimed[0])) is not None:
                self._free.acquire()
                self._begin(lambda claim=claim: claim)

    def _keep_alive(self) -> None:
        """Extend all leases in one statement, look at cancel requests, and show that the worker lives."""
        self._stopping.wait(self._lease_s / BEATS_PER_LEASE)
        self._active.extend_leases(self._lease_s)
        self._active.look_at_cancels()
        self._recycle()
        self._beat()
        if self._dispatch is not None:
            self._database.inbox.bury()
            self._database.approval_timers.look()

    def _publish_again(self) -> None:
        """Let everybody know the choices that are computed now; older code than the newest keeps still."""
        stopped = self._stopping.wait(self._runtime.settings.workers.choices_s)
        if self._publish is not None and self._wear.fresh and not stopped:
            self._publish()

    def _recycle(self) -> None:
        """Give up hanging threads; then take nothing new, and end once the other runs are done."""
        if self._active.abandon_stuck(self._runtime.settings.workers.stuck_after_s):
            self._wear.hang()
        self._wear.look(self.busy)

    def _beat(self) -> None:
        self._database.workers.beat(
            self._runtime.worker,
            location=self._location,
            pid=os.getpid(),
            threads=self._threads,
            busy=self.busy,
            version=self._runtime.version,
            state=self.state,
            texts=VECTORS.texts,
        )


if __name__ == "__main__":
    from orchestration.warm.alone import main

    main()
