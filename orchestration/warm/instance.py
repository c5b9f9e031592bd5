"""The Dagster instance of this platform; `dagster_yaml` describes it."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from orchestration.warm.internals import InstanceRef
from orchestration.warm.storage import WarmEventLogStorage, WarmRunStorage


class WarmInstance(dg.DagsterInstance):
    """Dagster's instance, made for many runs at once in the threads of one process."""

    def __init__(self, *args: Any, **options: Any) -> None:  # noqa: ANN401 - Dagster's own, handed on
        super().__init__(*args, **options)
        self._handlers: Sequence[logging.Handler] | None = None
        self.parked: set[str] = set()
        if isinstance(self.run_storage, WarmRunStorage) and isinstance(self.event_log_storage, WarmEventLogStorage):
            self.run_storage.events = self.event_log_storage

    @classmethod
    def config_schema(cls) -> Mapping[str, Any]:
        """Return what dagster.yaml may hold beyond Dagster's own: nothing."""
        return {}

    @classmethod
    def config_defaults(cls, base_dir: str) -> Mapping[str, Any]:
        """Return the defaults for sections that dagster.yaml leaves out: Dagster's own."""
        return InstanceRef.config_defaults(base_dir)

    @property
    def warm_storage(self) -> WarmEventLogStorage:
        """The event storage, which commits in groups."""
        storage = self.event_log_storage
        if not isinstance(storage, WarmEventLogStorage):
            raise dg.DagsterInvariantViolationError("dagster.yaml names another event storage than WarmEventLogStorage")
        return storage

    def get_yaml_python_handlers(self) -> Sequence[logging.Handler]:
        """Return the handlers of dagster.yaml, configured once per process.

        Dagster calls `logging.config.dictConfig` at the start of every run: with threads that deadlocks.
        """
        if self._handlers is None:
            self._handlers = list(super().get_yaml_python_handlers())
        return self._handlers

    def forget(self, run_id: str) -> None:
        """Drop what Dagster keeps of a run as long as the process lives: an entry for listeners to its events."""
        self._subscribers.pop(run_id, None)

    def run_will_resume(self, run_id: str) -> bool:
        """Tell that an interrupted run is parked, so that Dagster records no failure."""
        return run_id in self.parked
