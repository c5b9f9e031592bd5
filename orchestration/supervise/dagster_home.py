"""RUNBELL_HOME/dagster: what the webserver, the daemon, the code servers and the workers read at their start.

The database URL is not in these files: they name the environment variable that holds it.
"""

from collections.abc import Iterable
from pathlib import Path

import yaml

from integrations.settings import Settings
from orchestration.supervise.home import write_private
from orchestration.supervise.locations import Location
from orchestration.warm.dagster_yaml import dagster_yaml


def socket_of(location: Location, sockets: Path) -> Path:
    """Return where a location's code server listens; the same after each restart."""
    return sockets / f"code-{location.name}.sock"


def write(settings: Settings, folder: Path, locations: Iterable[Location], sockets: Path) -> None:
    """Write dagster.yaml and workspace.yaml."""
    write_private(folder / "dagster.yaml", yaml.safe_dump(dagster_yaml(settings), sort_keys=False))
    entries = [
        {"grpc_server": {"socket": str(socket_of(location, sockets)), "location_name": location.name}}
        for location in locations
    ]
    write_private(folder / "workspace.yaml", yaml.safe_dump({"load_from": entries}, sort_keys=False))
