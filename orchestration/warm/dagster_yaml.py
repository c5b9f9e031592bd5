"""The content of dagster.yaml; kept apart from `instance` so that writing it needs no Dagster."""

from typing import Any

from integrations.settings import Settings


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
            # Not 0: Dagster's monitor then takes every run that is just starting for an error of its own.
            "start_timeout_seconds": 7 * 24 * 3600,
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
