"""Which schedules of the core location are on: Dagster's own state, the one that its UI shows and switches.

Nothing of ours is kept beside it, so that the chat and the UI can't disagree.
"""

import time
from collections.abc import Callable, Sequence

import dagster as dg

from integrations.settings import Settings
from orchestration.warm.internals import (
    InstigatorState,
    InstigatorStatus,
    InstigatorType,
    RemoteInstigatorOrigin,
    RemoteRepositoryOrigin,
    ScheduleInstigatorData,
)
from orchestration.warm.location import served_origin
from orchestration.warm.routing import CORE

REPOSITORY = "__repository__"
"""What Dagster calls the definitions of a location that names them `defs`."""


class Clockwork:
    """Switches schedules on and off. Thread-safe; blocks on the database."""

    def __init__(self, instance: dg.DagsterInstance, settings: Settings, now: Callable[[], float] = time.time) -> None:
        self._instance = instance
        self._settings = settings
        self._now = now

    def on(self, name: str, cron: str) -> None:
        """Let the daemon evaluate a schedule from now on. Idempotent."""
        self._set(name, InstigatorStatus.RUNNING, cron)

    def off(self, name: str, cron: str) -> None:
        """Let the daemon leave a schedule alone. Idempotent."""
        self._set(name, InstigatorStatus.STOPPED, cron)

    def forget(self, name: str) -> None:
        """Drop the state of a schedule that was removed."""
        state = self._state(name, InstigatorStatus.STOPPED, "0 0 1 1 *")
        if self._instance.get_instigator_state(state.instigator_origin_id, state.selector_id) is not None:
            self._instance.delete_instigator_state(state.instigator_origin_id, state.selector_id)

    def since(self, name: str) -> float | None:
        """Return since when (Unix seconds) a schedule is on, or None where it is off."""
        wanted = self._state(name, InstigatorStatus.STOPPED, "0 0 1 1 *")
        state = self._instance.get_instigator_state(wanted.instigator_origin_id, wanted.selector_id)
        if state is None or not state.is_running or not isinstance(state.instigator_data, ScheduleInstigatorData):
            return None
        return state.instigator_data.start_timestamp or 0.0

    def running(self, names: Sequence[str]) -> set[str]:
        """Return those of these schedules that are on."""
        return {name for name in names if self.since(name) is not None}

    def _set(self, name: str, status: InstigatorStatus, cron: str) -> None:
        wanted = self._state(name, status, cron)
        known = self._instance.get_instigator_state(wanted.instigator_origin_id, wanted.selector_id)
        if known is None:
            self._instance.add_instigator_state(wanted)
        elif known.status is not status:
            self._instance.update_instigator_state(
                wanted if status is InstigatorStatus.RUNNING else known.with_status(status)
            )

    def _state(self, name: str, status: InstigatorStatus, cron: str) -> InstigatorState:
        place = RemoteRepositoryOrigin(
            code_location_origin=served_origin(self._settings, CORE), repository_name=REPOSITORY
        )
        data = ScheduleInstigatorData(cron, self._now() if status is InstigatorStatus.RUNNING else None)
        return InstigatorState(RemoteInstigatorOrigin(place, name), InstigatorType.SCHEDULE, status, data)
