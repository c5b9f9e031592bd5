"""What runs, what needs what, and what each process is told: from the settings to a list of specs and steps."""

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from integrations.security.secrets import resolve
from integrations.settings import LOOPBACK, Settings
from orchestration.supervise import dagster_home, postgres, probes, ray_head
from orchestration.supervise.home import Home, read_json, write_private
from orchestration.supervise.locations import Location, read_locations
from orchestration.supervise.models import pull_wanted
from orchestration.supervise.ports import PortSetting, free_port
from orchestration.supervise.spec import Report, Spec, Step, python

HUNG_S = 60.0
BEHIND = 5
"""Niceness of what answers no chat message: on few cores, answers go first, and so does getting ready."""


@dataclass(frozen=True)
class Endpoints:
    """Where the parts listen; chosen at the start, kept over restarts of single processes."""

    database_url: str
    chroma_port: int
    ray_port: int

    @property
    def ray_address(self) -> str:
        """Where drivers connect."""
        return f"127.0.0.1:{self.ray_port}"


def choose_endpoints(settings: Settings, home: Home) -> Endpoints:
    """Choose ports, the last start's where they are free, and write endpoints.json."""
    last = read_json(home.endpoints)
    chroma = settings.memory.port or free_port(_port_in(last.get("chroma")))
    ray = free_port(_port_in(last.get("ray")))
    reference = settings.database.url
    url = resolve(reference, name="database.url").get_secret_value() if reference else postgres.url(home.sockets)
    endpoints = Endpoints(database_url=url, chroma_port=chroma, ray_port=ray)
    write_private(home.endpoints, _as_json(settings, endpoints))
    return endpoints


def environment(home: Home, endpoints: Endpoints) -> dict[str, str]:
    """Return what every child is told, so that `Settings()` is complete in it."""
    telemetry_off = {
        "ORT_DISABLE_TELEMETRY": "1",
        "DAGSTER_DISABLE_TELEMETRY": "yes",
        "ANONYMIZED_TELEMETRY": "False",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "DO_NOT_TRACK": "1",
    }
    return {
        **os.environ,
        **telemetry_off,
        **ray_head.environment(endpoints.ray_address, home.ray_token),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "PYTHONUNBUFFERED": "1",
        "RUNBELL_HOME": str(home.path),
        "RUNBELL_DATABASE__URL": endpoints.database_url,
        "RUNBELL_MEMORY__PORT": str(endpoints.chroma_port),
        "DAGSTER_HOME": str(home.path / "dagster"),
    }


def make_plan(settings: Settings, home: Home, endpoints: Endpoints) -> list[Spec | Step]:
    """Return everything to be kept, in the order in which people should read it."""
    locations = read_locations(settings.dagster.workspace)
    dagster_home.write(settings, home.path / "dagster", locations, home.sockets)
    return [
        _database(settings, home, endpoints),
        Step("models", lambda report: pull_wanted(settings, home.path, report)),
        *_chroma(settings, home, endpoints),
        _ray(home, endpoints),
        Spec(
            name="tables",
            argv=python("orchestration.supervise.prepare"),
            needs=("database",),
            once=True,
        ),
        *_serving(home, settings),
        *_dagster(settings, home, locations, endpoints.database_url),
        Spec(
            name="workers",
            argv=python("orchestration.warm.pool"),
            ready=probes.workers(endpoints.database_url, [location.name for location in locations]),
            needs=("ray", "tables"),
            poll_s=0.5,
            grace_s=30.0,
            start_within_s=180.0,
        ),
        _gateway(settings),
        _readiness(settings),
    ]


def _database(settings: Settings, home: Home, endpoints: Endpoints) -> Spec | Step:
    ready = probes.postgres(endpoints.database_url)
    if settings.database.url:
        return Step("database", lambda report: _reach(ready, report))
    data = home.path / "postgres"
    return Spec(
        name="database",
        argv=postgres.command(data, home.sockets),
        ready=ready,
        prepare=lambda: postgres.prepare(data, home.sockets),
        # PostgreSQL's "fast" shutdown: breaks sessions off and writes everything.
        stop_signal=signal.SIGINT,
        grace_s=60.0,
    )


async def _reach(ready: probes.Probe, report: Report) -> None:
    from integrations.errors import Unavailable

    missing = await ready()
    report(missing or "", None)
    if missing:
        raise Unavailable(f"{missing}: check RUNBELL_DATABASE__URL")


def _chroma(settings: Settings, home: Home, endpoints: Endpoints) -> list[Spec | Step]:
    host, port = settings.memory.host, endpoints.chroma_port
    if host not in LOOPBACK:
        return []
    program = shutil.which("chroma", path=str(Path(sys.executable).parent)) or "chroma"
    fixed = PortSetting("127.0.0.1", port, "RUNBELL_MEMORY__PORT", "memory.port")
    return [
        Spec(
            name="chroma",
            argv=(program, "run", "--path", str(home.path / "chroma"), "--host", "127.0.0.1", "--port", str(port)),
            ready=probes.http("127.0.0.1", port, "/api/v2/heartbeat"),
            port=port,
            port_setting=fixed,
            hung_after_s=HUNG_S,
        )
    ]


def _ray(home: Home, endpoints: Endpoints) -> Spec:
    return Spec(
        name="ray",
        argv=ray_head.command(home.ray, endpoints.ray_port),
        ready=probes.ray_node(home.ray, endpoints.ray_port),
        prepare=lambda: ray_head.prepare(home.ray),
        port=endpoints.ray_port,
        # It waits for workers that are gone already; nothing in it is worth more time.
        grace_s=4.0,
        start_within_s=ray_head.NODE_S + 30.0,
        # On an overloaded machine the raylet gives up on its agent after 15 s, and the head may linger without it.
        hung_after_s=20.0,
    )


def _serving(home: Home, settings: Settings) -> list[Spec | Step]:
    serving = settings.serving
    return [
        Spec(
            name="serving",
            argv=python("serving.app", "--accounts", "orchestration.ledger:of_this_installation"),
            ready=probes.file(home.serving_ready, home.serving_problem, "waiting for the models to load"),
            needs=("ray", "models"),
            prepare=home.forget_serving,
            port=serving.port,
            port_setting=PortSetting(serving.host, serving.port, "RUNBELL_SERVING__PORT", "serving.port"),
            grace_s=20.0,
            start_within_s=serving.load_timeout_s + 60,
        )
    ]


def _dagster(settings: Settings, home: Home, locations: Sequence[Location], url: str) -> list[Spec | Step]:
    workspace = str(home.path / "dagster" / "workspace.yaml")
    servers = [_code_server(location, home) for location in locations]
    needs = ("tables", *(server.name for server in servers))
    dagster = settings.dagster
    webserver = Spec(
        name="webserver",
        argv=(
            *(sys.executable, "-m", "dagster_webserver", "--host", dagster.host, "--port", str(dagster.port)),
            *("--workspace", workspace, "--log-level", "warning", "--dagster-log-level", "warning"),
        ),
        ready=probes.http(dagster.host, dagster.port, "/server_info"),
        needs=needs,
        port=dagster.port,
        port_setting=PortSetting(dagster.host, dagster.port, "RUNBELL_DAGSTER__PORT", "dagster.port"),
        hung_after_s=HUNG_S,
        nice=BEHIND,
    )
    heartbeat = probes.DaemonHeartbeat(url)
    daemon = Spec(
        name="daemon",
        argv=(sys.executable, "-m", "dagster._daemon", "run", "--workspace", workspace, "--log-level", "warning"),
        ready=heartbeat.probe,
        needs=needs,
        prepare=heartbeat.begin,
        poll_s=0.5,
        grace_s=15.0,
        nice=BEHIND,
    )
    return [*servers, webserver, daemon]


def _code_server(location: Location, home: Home) -> Spec:
    socket = dagster_home.socket_of(location, home.sockets)
    return Spec(
        name=f"code-{location.name}",
        argv=location.command(socket),
        ready=probes.unix(socket),
        needs=("tables",),
        prepare=lambda: socket.unlink(missing_ok=True),
        nice=BEHIND,
    )


def _gateway(settings: Settings) -> Spec:
    gateway = settings.gateway
    return Spec(
        name="gateway",
        argv=python("integrations.gateway"),
        ready=probes.http(gateway.host, gateway.port, "/healthz"),
        needs=("tables",),
        port=gateway.port,
        port_setting=PortSetting(gateway.host, gateway.port, "RUNBELL_GATEWAY__PORT", "gateway.port"),
        grace_s=15.0,
        hung_after_s=HUNG_S,
    )


def _readiness(settings: Settings) -> Step:
    """Return the last step: the gateway itself says that a message can be answered."""
    ready = probes.http(settings.gateway.host, settings.gateway.port, "/readyz")

    async def wait(report: Report) -> None:
        while (missing := await ready()) is not None:
            report(missing, None)
            await asyncio.sleep(0.3)

    return Step("readiness", wait, needs=("gateway", "serving", "workers"))


def _port_in(value: object) -> int:
    if not isinstance(value, Mapping):
        return 0
    found = cast("Mapping[str, object]", value)
    port = found.get("port")
    return port if isinstance(port, int) else 0


def _as_json(settings: Settings, endpoints: Endpoints) -> str:
    import json

    return json.dumps(
        {
            "database_url": endpoints.database_url,
            "chroma": {"host": settings.memory.host, "port": endpoints.chroma_port},
            "ray": {"address": endpoints.ray_address, "port": endpoints.ray_port},
            "gateway": {"url": settings.gateway_url},
            "dagster": {"url": settings.dagster_url},
        }
    )
