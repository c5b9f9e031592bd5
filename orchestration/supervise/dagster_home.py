"""RUNBELL_HOME/dagster: what the webserver, the daemon, the code servers and the workers read at their start.

The database URL is not in these files: they name the environment variable that holds it.
"""

from collections.abc import Iterable
from pathlib import Path

import yaml

from orchestration.supervise.home import write_private
from orchestration.supervise.locations import Location

_WARM = "orchestration.warm"


def socket_of(location: Location, sockets: Path) -> Path:
    """Return where a location's code server listens; the same after each restart."""
    return sockets / f"code-{location.name}.sock"


def write(folder: Path, locations: Iterable[Location], sockets: Path) -> None:
    """Write dagster.yaml and workspace.yaml."""
    write_private(folder / "dagster.yaml", yaml.safe_dump(_instance(), sort_keys=False))
    entries = [
        {"grpc_server": {"socket": str(socket_of(location, sockets)), "location_name": location.name}}
        for location in locations
    ]
    write_private(folder / "workspace.yaml", yaml.safe_dump({"load_from": entries}, sort_keys=False))


def _instance() -> dict[str, object]:
    url: dict[str, object] = {"postgres_url": {"env": "RUNBELL_DATABASE__URL"}}
    return {
        "instance_class": _part("instance", "WarmInstance"),
        "run_storage": _part("storage", "WarmRunStorage", url),
        "event_log_storage": _part("storage", "WarmEventLogStorage", url),
        "schedule_storage": _part("storage", "WarmScheduleStorage", url),
        "run_launcher": _part("launcher", "WarmRunLauncher"),
        "run_coordinator": {"module": "dagster._core.run_coordinator", "class": "DefaultRunCoordinator"},
        "compute_logs": _part("logs", "WarmLogManager"),
        "telemetry": {"enabled": False},
        "nux": {"enabled": False},
        # Ticks stay for a while only: the tables must not grow for ever.
        "retention": {
            "schedule": {"purge_after_days": 30},
            "sensor": {"purge_after_days": {"skipped": 2, "failure": 30, "success": 30}},
        },
        "run_monitoring": {"enabled": False},
    }


def _part(module: str, name: str, config: dict[str, object] | None = None) -> dict[str, object]:
    part: dict[str, object] = {"module": f"{_WARM}.{module}", "class": name}
    return part | {"config": config} if config else part
