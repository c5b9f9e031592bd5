"""How the run of a message comes into the run queue; what becomes of it there is in `runs.py`."""

from dataclasses import asdict

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from integrations.database.engine import notify
from integrations.database.records import ClaimedMessage, NewRun, RunClaim
from integrations.database.run_tables import lease_tokens, run_queue, workers
from integrations.database.turns import is_free
from integrations.messages import Address


def insert_run(  # noqa: PLR0913 - what a row needs
    connection: sa.Connection,
    claimed: ClaimedMessage,
    run: NewRun,
    run_id: str,
    principal_id: str,
    worker: str | None,
    lease_s: float,
    address: Address,
) -> RunClaim | None:
    """Queue a message's run within the caller's transaction; with `worker`, already claimed by it."""
    if run.at_once is not None and not is_free(connection, address.tenant, run.at_once):
        worker = None
    token = connection.scalar(sa.select(lease_tokens.next_value())) if worker else None
    request: dict[str, object] = {"run_config": run.run_config, "tags": run.tags}
    if run.retry_of is not None:
        request["retry_of"] = run.retry_of
    if run.asked is not None:
        request["asked"] = asdict(run.asked)
    done = connection.execute(
        insert(run_queue)
        .values(
            run_id=run_id,
            location=run.location,
            job=run.job,
            request=request,
            message_id=claimed.message_id,
            tenant=address.tenant,
            principal_id=principal_id,
            priority=claimed.priority,
            state="running" if worker else "queued",
            claimed_by=worker,
            token=token,
            attempts=1 if worker else 0,
            concurrency_key=run.at_once.key if run.at_once else None,
            concurrency=run.at_once.limit if run.at_once else None,
            version=sa.select(workers.c.version).where(workers.c.id == worker).scalar_subquery() if worker else None,
            lease_until=sa.func.clock_timestamp() + sa.func.make_interval(0, 0, 0, 0, 0, 0, lease_s)
            if worker
            else None,
        )
        .on_conflict_do_nothing(index_elements=["run_id"])
    )
    if worker is None or token is None or done.rowcount == 0:
        notify(connection, "runbell_runs", run.location)
        return None
    return RunClaim(
        run_id=run_id,
        token=token,
        location=run.location,
        job=run.job,
        request=request,
        message_id=claimed.message_id,
        address=address,
        traceparent=claimed.message.traceparent,
        principal_id=principal_id,
        tenant=address.tenant,
        priority=claimed.priority,
        attempts=1,
        concurrency_key=run.at_once.key if run.at_once else None,
    )
