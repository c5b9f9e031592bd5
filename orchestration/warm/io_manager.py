"""Where op outputs live: small ones in PostgreSQL, committed with their step events, larger ones as files.

Keyed by run, step and output, so that a resumed run and a re-execution from failure find them. The value of an asset
is not a run's: it lies where stock Dagster puts it, by asset key, for later runs of any job.
"""

import hashlib
import os
import pickle
from pathlib import Path
from typing import Any, cast

import dagster as dg

from integrations.errors import NotFound
from orchestration.warm.internals import PickledObjectFilesystemIOManager
from orchestration.warm.interrupt import shielded
from orchestration.warm.outputs import Outputs
from orchestration.warm.storage import WarmEventLogStorage

INLINE_BYTES = 65_536
"""A larger value becomes a file."""


class DurableIOManager(dg.IOManager):
    """Keeps every output until the run is deleted."""

    def __init__(self, outputs: Outputs, folder: Path) -> None:
        self._outputs = outputs
        self._folder = folder / "outputs"
        self._assets = PickledObjectFilesystemIOManager(base_dir=str(folder))

    def handle_output(self, context: dg.OutputContext, obj: object) -> None:
        """Store a value."""
        if context.has_asset_key:
            self._assets.handle_output(context, obj)
            return
        run_id, step_key, output = _key(context)
        value = pickle.dumps(obj, protocol=pickle.HIGHEST_PROTOCOL)
        with shielded():
            if len(value) <= INLINE_BYTES:
                self._outputs.put(run_id, step_key, output, value)
            else:
                path = self._write(run_id, step_key, output, value)
                self._outputs.put(run_id, step_key, output, None, path.as_uri())

    def load_input(self, context: dg.InputContext) -> Any:  # noqa: ANN401 - whatever was put out
        """Return a value that an op of this run, or of the run that it re-executes, has put out."""
        upstream = context.upstream_output
        if context.has_asset_key or upstream is None or upstream.has_asset_key:
            return self._assets.load_input(context)
        run_id, step_key, output = _key(upstream)
        found = self._outputs.get(run_id, step_key, output)
        if found is None:
            raise NotFound(
                f"the output {output} of {step_key} in run {run_id} is gone; re-execute the whole job instead"
            )
        value, url = found
        if value is None:
            value = Path(cast("str", url).removeprefix("file://")).read_bytes()
        return pickle.loads(value)  # noqa: S301 - only this manager writes these values

    def _write(self, run_id: str, step_key: str, output: str, value: bytes) -> Path:
        # Mapping keys can hold what users wrote: no name but a digest reaches the disk.
        name = hashlib.sha256(f"{step_key}\0{output}".encode()).hexdigest()
        path = self._folder / run_id[:2] / run_id / name
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        part = path.with_suffix(f".{os.getpid()}.part")
        with part.open("wb") as file:
            file.write(value)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
        return path


@dg.io_manager(description="Outputs up to 64 KB in PostgreSQL, larger ones as files; kept with the run.")
def durable_io_manager(context: dg.InitResourceContext) -> dg.IOManager:
    """Return the durable manager; under an instance without our storage, stock Dagster's files."""
    if context.instance is None:
        raise dg.DagsterInvariantViolationError("the durable IO manager needs a Dagster instance")
    return manager_of(context.instance)


def manager_of(instance: dg.DagsterInstance) -> dg.IOManager:
    """Return the manager of an instance's runs."""
    folder = Path(instance.storage_directory())
    storage = instance.event_log_storage
    if not isinstance(storage, WarmEventLogStorage):
        return PickledObjectFilesystemIOManager(base_dir=str(folder))
    return DurableIOManager(storage.outputs, folder)


def _key(context: dg.OutputContext) -> tuple[str, str, str]:
    run_id, step_key, *output = context.get_identifier()
    return run_id, step_key, "/".join(output)
