"""Ops of the job `housekeeping`: delete what has been kept for long enough, and report what runs take up."""

from datetime import timedelta
from pathlib import Path

import dagster as dg

from integrations.database import Database, Keep
from integrations.memory import Memory
from integrations.messages import utc_now
from integrations.settings import Settings
from orchestration.warm import retention
from orchestration.warm.storage import WarmEventLogStorage

UNUSED_FILE_DAYS = 8
"""Days for which a file that nothing refers to is kept: buttons refer to texts in files, and live for seven."""


@dg.op
def sweep_messages(
    context: dg.OpExecutionContext, database: dg.ResourceParam[Database], settings: dg.ResourceParam[Settings]
) -> int:
    """Delete old messages, transcripts, logs and the like, then the files that nothing refers to any longer."""
    days = settings.retention
    gone = database.retention.sweep(Keep(detail=days.detail_days, summary=days.summary_days, failed=days.failed_days))
    unused = utc_now() - timedelta(days=UNUSED_FILE_DAYS)
    gone["files"] = database.files.sweep(database.retention.files(), unused.timestamp())
    context.add_output_metadata(dict(gone))
    return sum(gone.values())


@dg.op
def sweep_runs(context: dg.OpExecutionContext, settings: dg.ResourceParam[Settings]) -> int:
    """Delete the detail of old runs, then the runs, and the files of their outputs."""
    storage, days = context.instance.event_log_storage, settings.retention
    if not isinstance(storage, WarmEventLogStorage):
        raise dg.Failure("This needs the storage of the platform's dagster.yaml.", allow_retries=False)
    keep = retention.KeepRuns(days.detail_days, days.failed_days, days.summary_days)
    gone = retention.sweep(storage.engine, keep, utc_now().timestamp())
    outputs = Path(context.instance.storage_directory()) / "outputs"
    gone["output folders"] = retention.sweep_files(storage.engine, outputs, days.detail_days)
    context.add_output_metadata({**gone, "bytes_per_run": retention.bytes_per_run(storage.engine)})
    return sum(gone.values())


@dg.op
def sweep_memory(
    context: dg.OpExecutionContext, memory: dg.ResourceParam[Memory], settings: dg.ResourceParam[Settings]
) -> int:
    """Forget what is older than the memory's retention."""
    gone = memory.expire(utc_now() - timedelta(days=settings.memory.retention_days))
    context.add_output_metadata({"passages": gone})
    return gone


@dg.op
def told_housekeeping(messages: int, runs: int, passages: int) -> str:
    """Sum up."""
    return f"Deleted {messages} rows of messages, {runs} of runs and {passages} passages of memory."
