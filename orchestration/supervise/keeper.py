"""Keeps one process running, or gets one step done: again and again, with back-off, until it is told to stop."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from integrations.errors import RunbellError
from orchestration.supervise.backoff import Backoff
from orchestration.supervise.board import Row
from orchestration.supervise.child import Child, describe_end
from orchestration.supervise.output import Output
from orchestration.supervise.ports import require_free
from orchestration.supervise.spec import Probe, Spec, Step

WATCH_S = 5.0


@dataclass(frozen=True)
class Clock:
    """Time and chance, so that tests can do without either."""

    now: Callable[[], float] = time.time
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    random: Callable[[], float] = random.random
    watch_s: float = WATCH_S


class Gate:
    """Open while something is ready."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def set(self, *, open_: bool) -> None:
        """Open or close."""
        self._event.set() if open_ else self._event.clear()

    @property
    def is_open(self) -> bool:
        """Whether one may pass."""
        return self._event.is_set()

    async def passed(self) -> None:
        """Wait until it is open."""
        await self._event.wait()


class Died(Exception):
    """A process ended, or is as good as dead; the text says how."""


@dataclass
class Keeper:
    """Keeps what `what` describes; `keep` runs until it is cancelled, and leaves no process behind."""

    what: Spec | Step
    row: Row
    output: Output
    needs: Mapping[str, Gate]
    env: Mapping[str, str]
    clock: Clock = field(default_factory=Clock)
    gate: Gate = field(default_factory=Gate)

    def __post_init__(self) -> None:
        self._backoff = Backoff(self.clock.random)

    async def keep(self) -> None:
        """Live one life after the other."""
        try:
            while True:
                await self._dependencies()
                began, reason = self.clock.now(), ""
                try:
                    await self._life()
                except (Died, RunbellError, OSError) as error:
                    reason = str(error)
                delay = self._backoff.after(self.clock.now() - began)
                self.row.restarts, self.row.died = self.row.restarts + 1, reason
                self._tell("restarting", f"{reason}; again in {delay:.1f} s")
                await self.clock.sleep(delay)
        except asyncio.CancelledError:
            self._tell("stopped", "")
            raise

    async def _dependencies(self) -> None:
        for name, gate in self.needs.items():
            if not gate.is_open:
                self._tell("waiting", f"waiting for {name}")
                await gate.passed()

    async def _life(self) -> None:
        """Return never for a step or process that is well; raise for one that is not."""
        self.row.began_at = self.clock.now()
        if isinstance(self.what, Step):
            await self._accomplish(self.what)
            await asyncio.Event().wait()
        else:
            await self._run(self.what)
            await asyncio.Event().wait()

    async def _accomplish(self, step: Step) -> None:
        self._tell("starting", "")
        try:
            await step.do(self._report)
        finally:
            self.row.progress = None
        self._done()

    def _done(self) -> None:
        self._tell("done", "")
        self.row.ready_at = self.clock.now()
        self.gate.set(open_=True)

    async def _run(self, spec: Spec) -> None:
        self._tell("starting", "starting")
        if spec.port_setting is not None:
            require_free(spec.port_setting)
        if spec.prepare is not None:
            await asyncio.to_thread(spec.prepare)
        self.output.forget()
        env = {**self.env, **spec.env, "RUNBELL_PROCESS": spec.name}
        child = await Child.start(spec.argv, env, self.output, nice=spec.nice)
        self.row.pid = child.pid
        ended = asyncio.create_task(child.ended())
        watching = asyncio.create_task(self._watch(spec))
        try:
            await asyncio.wait([ended, watching], return_when=asyncio.FIRST_COMPLETED)
            if not ended.done():
                watching.result()
            elif ended.result() or not spec.once:
                raise Died(self._epitaph(ended.result()))
        finally:
            self.gate.set(open_=False)
            watching.cancel()
            self._tell("stopping", "")
            await child.stop(spec.stop_signal, spec.grace_s)
            ended.cancel()
            self.row.pid = self.row.ready_at = self.row.problem = None
        self._done()

    async def _watch(self, spec: Spec) -> None:
        if spec.ready is None:
            await asyncio.Event().wait()
            return
        await self._until_ready(spec, spec.ready)
        self.row.ready_at = well_at = self.clock.now()
        self._tell("ready", "")
        self.gate.set(open_=True)
        while True:
            await self.clock.sleep(self.clock.watch_s)
            problem = await spec.ready()
            now = self.clock.now()
            self.row.problem = problem or self.output.problem
            if problem is None:
                well_at = now
            elif spec.hung_after_s is not None and now - well_at > spec.hung_after_s:
                raise Died(f"did not answer for {now - well_at:.0f} s ({problem})")

    async def _until_ready(self, spec: Spec, ready: Probe) -> None:
        deadline = self.clock.now() + spec.start_within_s
        while (missing := await ready()) is not None:
            self._tell("starting", missing)
            if self.clock.now() > deadline:
                raise Died(f"was not ready within {spec.start_within_s:.0f} s ({missing})")
            await self.clock.sleep(spec.poll_s)

    def _epitaph(self, status: int) -> str:
        words = describe_end(status)
        return f"{words}: {self.output.last}" if self.output.last else words

    def _report(self, doing: str, share: float | None) -> None:
        self.row.detail, self.row.progress = doing, share

    def _tell(self, state: str, detail: str) -> None:
        self.row.state, self.row.detail = state, detail  # pyright: ignore[reportAttributeAccessIssue]
