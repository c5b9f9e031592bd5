"""The Dagster instance of this platform, and the dagster.yaml that describes it."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from integrations.settings import Settings
from orchestration.warm.internals import InstanceRef
from orchestration.warm.storage import WarmEventLogStorage


class WarmInstance(dg.DagsterInstance):
    """Dagster's instance, made for many runs at once in the threads of one process."""

    def __init__(self, *args: Any, **options: Any) -> None:  # noqa: ANN401 - Dagster's own, handed on
        super().__init__(*args, **options)
        self._handlers: Sequence[logging.Handler] | None = None
        self.parked: set[str] = set()

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

    def run_will_resume(self, run_id: str) -> bool:
        """Tell that an interrupted run is parked, so that Dagster records no failure."""
        return run_id in self.parked


def dagster_yaml(settings: Settings) -> dict[str, Any]:
    """Return the content of dagster.yaml. The database's URL is read from RUNBELL_DATABASE__URL, not written."""
    url = {"postgres_url": {"env": "RUNBELL_DATABASE__URL"}}
    storage = "orchestration.warm.storage"
    return {
        "instance_class": {"module": "orchestration.warm.instance", "class": "WarmInstance"},
        "run_storage": {"module": storage, "class": "WarmRunStorage", "config": url},
        "event_log_storage": {"module": storage, "class": "WarmEventLogStorage", "config": url},
        "schedule_storage": {"module": storage, "class": "WarmScheduleStorage", "config": url},
        "compute_logs": {"module": "orchestration.warm.logs", "class": "OpLogs"},
        "run_launcher": {"module": "orchestration.warm.launcher", "class": "WarmRunLauncher"},
        # The default coordinator hands runs to the launcher at once; the queued one looks every five seconds.
        "run_coordinator": {"module": "dagster.core.run_coordinator", "class": "DefaultRunCoordinator"},
        "local_artifact_storage": {
            "module": "dagster.core.storage.root",
            "class": "LocalArtifactStorage",
            "config": {"base_dir": str(settings.state / "dagster")},
        },
        # Leases find dead workers within seconds; monitoring is the net beneath. Waiting in the queue is no fault.
        "run_monitoring": {
            "enabled": True,
            "start_timeout_seconds": 0,
            "cancel_timeout_seconds": 60,
            "max_resume_run_attempts": 3,
            "poll_interval_seconds": 30,
        },
        "run_retries": {"enabled": False},
        # Ticks stay for a while only: the tables must not grow for ever.
        "retention": {
            "schedule": {"purge_after_days": 30},
            "sensor": {"purge_after_days": {"skipped": 2, "failure": 30, "success": 30}},
        },
        "telemetry": {"enabled": False},
        "nux": {"enabled": False},
    }
