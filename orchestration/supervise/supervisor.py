"""Keeps everything of a plan running, in the order of its needs; stops it in the opposite order."""

import asyncio
import itertools
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from orchestration.supervise.board import Board, Phase
from orchestration.supervise.keeper import Clock, Gate, Keeper
from orchestration.supervise.output import Output
from orchestration.supervise.processes import reap
from orchestration.supervise.spec import Spec, Step

PUBLISH_S = 0.2
REAP_EVERY = 25
_log = logging.getLogger("runbell.supervisor")


class Supervisor:
    """One machine's processes."""

    def __init__(
        self,
        plan: Sequence[Spec | Step],
        board: Board,
        output: Callable[[str], Output],
        env: Mapping[str, str],
        clock: Clock | None = None,
    ) -> None:
        self._board = board
        self._clock = clock or Clock()
        gates = {what.name: Gate() for what in plan}
        self._keepers = {
            what.name: Keeper(
                what=what,
                row=board.row(what.name),
                output=output(what.name),
                needs={name: gates[name] for name in what.needs},
                env=env,
                clock=self._clock,
                gate=gates[what.name],
            )
            for what in plan
        }
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def run(self, stop: asyncio.Event) -> None:
        """Keep everything until `stop` is set; then stop everything."""
        self._phase("starting")
        self._tasks = {name: asyncio.create_task(keeper.keep()) for name, keeper in self._keepers.items()}
        publishing = asyncio.create_task(self._publish())
        try:
            await stop.wait()
            self._phase("stopping")
            await self._stop_all()
        finally:
            publishing.cancel()
            self._phase("stopped")
            self._write()
            for keeper in self._keepers.values():
                keeper.output.close()

    async def _stop_all(self) -> None:
        """Stop each once all that need it have stopped."""
        dependents: dict[str, list[str]] = {name: [] for name in self._keepers}
        for name, keeper in self._keepers.items():
            for need in keeper.what.needs:
                dependents[need].append(name)
        stopped = {name: asyncio.Event() for name in self._keepers}

        async def stop(name: str) -> None:
            for dependent in dependents[name]:
                await stopped[dependent].wait()
            self._tasks[name].cancel()
            with suppress(asyncio.CancelledError):
                await self._tasks[name]
            _log.info("%s is stopped", name)
            stopped[name].set()

        await asyncio.gather(*(stop(name) for name in self._keepers))

    async def _publish(self) -> None:
        snapshot = self._board.snapshot
        for tick in itertools.count():
            await asyncio.sleep(PUBLISH_S)
            if snapshot.phase == "starting" and snapshot.all_ready:
                self._phase("ready")
            self._check_tasks()
            if tick % REAP_EVERY == 0:
                await asyncio.to_thread(reap, [row.pid for row in snapshot.rows.values() if row.pid])
            self._write()

    def _check_tasks(self) -> None:
        """A keeper ends only by being cancelled: anything else is a bug of ours, and must be seen."""
        for name, task in self._tasks.items():
            if task.done() and not task.cancelled() and (error := task.exception()) is not None:
                self._board.row(name).problem = f"the supervisor failed: {type(error).__name__}: {error}"

    def _phase(self, phase: Phase) -> None:
        snapshot = self._board.snapshot
        if phase == "ready" and snapshot.ready_at is None:
            snapshot.ready_at = self._clock.now()
        snapshot.phase = phase
        _log.info("phase: %s", phase)

    def _write(self) -> None:
        try:
            self._board.publish(time.time())
        except OSError as error:
            _log.error("the state can't be written: %s", error.strerror)
