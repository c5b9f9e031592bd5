"""Warm workers for tests: the jobs of `tests/integration/warm_jobs.py`, a home and a database of their own."""

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy as sa
import yaml

from integrations.database import Database, MessageView, RunClaim
from integrations.messages import Address, InboundMessage
from integrations.settings import Settings
from orchestration.commands.dispatch import Dispatcher
from orchestration.warm import assembly
from orchestration.warm.clockwork import Clockwork
from orchestration.warm.dagster_yaml import dagster_yaml
from orchestration.warm.instance import WarmInstance
from orchestration.warm.location import load_location
from orchestration.warm.runs import Runtime
from orchestration.warm.worker import Worker, worker_id

JOBS = Path(__file__).parent / "integration" / "warm_jobs.py"
ENDED = ("SUCCESS", "FAILURE", "CANCELED")
LEASE_S = 2.0


class WarmHome:
    """One installation without its supervisor."""

    def __init__(self, folder: Path, url: str, database: Database, patch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.database = database
        workspace = folder / "workspace.yaml"
        entries = [{"python_file": {"relative_path": str(JOBS), "location_name": name}} for name in ("jobs", "core")]
        workspace.write_text(yaml.safe_dump({"load_from": entries}))
        (folder / "dagster").mkdir()
        self.environment = {
            "RUNBELL_HOME": str(folder),
            "RUNBELL_DATABASE__URL": url,
            "RUNBELL_DAGSTER__WORKSPACE": str(workspace),
            "RUNBELL_WORKERS__LEASE_S": str(LEASE_S),
            "DAGSTER_HOME": str(folder / "dagster"),
            "DAGSTER_DISABLE_TELEMETRY": "yes",
            "WARM_TEST_FOLDER": str(folder),
        }
        for name, value in self.environment.items():
            patch.setenv(name, value)
        self.settings = Settings()
        (folder / "dagster" / "dagster.yaml").write_text(yaml.safe_dump(dagster_yaml(self.settings)))
        self.instance: WarmInstance = assembly.open_instance(self.settings)

    @contextmanager
    def worker(self, location: str = "jobs", **options: object) -> Iterator[Worker]:
        """Run a worker in this process; one of `core` also routes messages."""
        settings = self.settings.model_copy(update={"workers": self.settings.workers.model_copy(update=options)})
        runtime = Runtime(
            settings=settings,
            database=self.database,
            instance=assembly.open_instance(settings),
            location=load_location(settings, location),
            worker=worker_id(location),
            version="test",
        )
        dispatch = publish = None
        if location == "core":
            publish = assembly.Publishing(self.database, runtime.location)
            dispatch = Dispatcher(
                self.database,
                settings,
                location=location,
                worker=runtime.worker,
                switches=Clockwork(runtime.instance, settings),
            )
        worker = Worker(runtime, dispatch, publish).start()
        try:
            yield worker
        finally:
            worker.drain(grace_s=1.0)
            runtime.instance.dispose()

    @contextmanager
    def worker_process(self) -> Iterator[subprocess.Popen[bytes]]:
        """Run a worker as a process of its own; killed at the end."""
        process = subprocess.Popen(
            [sys.executable, "-m", "orchestration.warm.worker", "jobs"],
            env={**os.environ, **self.environment},
            start_new_session=True,
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(timeout=10)

    def request(
        self,
        job: str,
        run_config: dict[str, object] | None = None,
        *,
        run_id: str | None = None,
        location: str = "jobs",
        tags: dict[str, str] | None = None,
        **more: object,
    ) -> str:
        """Queue a run that the worker shall create; `more` of the request."""
        run_id = run_id or str(uuid.uuid4())
        with self.database.engine.begin() as connection:
            connection.execute(
                sa.text(
                    "insert into runbell.run_queue (run_id, location, job, request)"
                    " values (:run, :location, :job, cast(:request as jsonb))"
                ),
                {
                    "run": run_id,
                    "location": location,
                    "job": job,
                    "request": _json({"run_config": run_config or {}, "tags": tags or {}, **more}),
                },
            )
            connection.execute(sa.text("select pg_notify('runbell_runs', :location)"), {"location": location})
        return run_id

    def message(self, job: str, run_config: dict[str, object] | None = None) -> tuple[str, str]:
        """Receive a message and start its run; returns message id and run id."""
        from integrations.database import NewRun
        from integrations.messages import run_id_for

        address = Address(channel="rest", conversation=uuid.uuid4().hex)
        message = InboundMessage(address=address, event_id=uuid.uuid4().hex, account="ada", text=f"/{job}")
        self.database.inbox.receive([message])
        claimed = self.database.inbox.claim("test", limit=1)[0]
        run = NewRun("jobs", job, run_config or {}, {"runbell/message": claimed.message_id})
        ada = self.database.principals.resolve("default", "rest", "ada")
        self.database.inbox.start(claimed, run, principal_id=ada.id, worker=None)
        return claimed.message_id, run_id_for(claimed.message_id)

    def say(self, text: str, conversation: str = "") -> str:
        """Receive a message as the gateway does; returns its id."""
        address = Address(channel="rest", conversation=conversation or uuid.uuid4().hex)
        message = InboundMessage(address=address, event_id=uuid.uuid4().hex, account="ada", text=text)
        (received,) = self.database.inbox.receive([message])
        assert received.message_id is not None
        return received.message_id

    def answered(self, message_id: str, within_s: float = 30.0) -> MessageView:
        """Return a message once it is settled."""

        def view() -> MessageView:
            found = self.database.inbox.get(message_id)
            assert found is not None
            return found

        eventually(lambda: view().status.settled, f"message {message_id} is settled", within_s)
        return view()

    def claim(self, job: str, worker: str = "someone") -> RunClaim:
        """Queue a run and claim it for a worker that is not there."""
        self.request(job)
        return self.database.runs.claim("jobs", worker, lease_s=LEASE_S)[0]

    def ended(self, run_id: str, within_s: float = 30.0) -> str:
        """Return the status that a run ends with."""
        eventually(lambda: self.status(run_id) in ENDED, f"run {run_id} ends", within_s)
        eventually(lambda: self.queue_state(run_id) == "finished", f"run {run_id} leaves the queue", within_s)
        return str(self.status(run_id))

    def status(self, run_id: str) -> str | None:
        """Return a run's status in Dagster."""
        run = self.instance.get_run_by_id(run_id)
        return run.status.value if run else None

    def queue_state(self, run_id: str) -> str | None:
        """Return a run's state in the queue."""
        queued = self.database.runs.get(run_id)
        return queued.state if queued else None

    def events(self, run_id: str) -> list[dg.DagsterEvent]:
        """Return a run's events as stored."""
        return [entry.get_dagster_event() for entry in self.instance.all_logs(run_id) if entry.is_dagster_event]

    def kinds(self, run_id: str) -> list[tuple[str, str | None]]:
        """Return a run's events as (type, step), without engine events."""
        return [
            (event.event_type_value, event.step_key)
            for event in self.events(run_id)
            if event.event_type_value != "ENGINE_EVENT"
        ]


@pytest.fixture
def warm(tmp_path: Path, database_url: str, database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[WarmHome]:
    home = WarmHome(tmp_path, database_url, database, monkeypatch)
    yield home
    home.instance.dispose()


def eventually(holds: Callable[[], object], what: str, within_s: float = 30.0) -> None:
    """Wait until it holds."""
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline, f"not within {within_s:.0f} s: {what}"
        time.sleep(0.02)


def _json(value: object) -> str:
    import json

    return json.dumps(value)
