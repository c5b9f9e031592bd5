"""The run queue: every run that a warm worker executes has a row here, which holds its lease.

How a message's run comes in is in `requesting.py`.
"""

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from integrations.database.engine import Store, notify
from integrations.database.records import QueuedRun, RunClaim
from integrations.database.run_tables import run_queue
from integrations.database.tables import inbox
from integrations.database.turns import ITS_TURN, AtOnce, wake_next
from integrations.errors import LeaseLost
from integrations.messages import Address

NEVER = datetime(9999, 1, 1, tzinfo=UTC)
"""When a parked run without a time goes on by itself; Python can't hold PostgreSQL's `infinity`."""

KEPT_S = 10.0
"""How long a run waits for a live worker with the code that it began with; then any takes it."""

# Queued runs, parked ones whose time has come, and running ones whose worker is gone; fewest running of the same
# principal first within the first thousand. A worker that goes on with what it has takes only runs of its version.
_CLAIM = sa.text(f"""
    with busy as (
      select tenant, principal_id, count(*) as n from runbell.run_queue where state = 'running' group by 1, 2
    ), window_ as (
      select q.run_id, q.tenant, q.principal_id, q.priority, q.seq from runbell.run_queue q
      where q.location = :location and {ITS_TURN} and (
        (q.state in ('queued', 'parked') and q.available_at <= clock_timestamp())
        or (q.state = 'running' and q.lease_until < clock_timestamp())
        or (q.state = 'parked' and q.cancel_requested_at is not null))
        and (q.version = :version or not :leaving and (q.version is null or :version is null
          or greatest(q.available_at, q.lease_until) < clock_timestamp() - make_interval(secs => :kept)
          or not exists (select 1 from runbell.workers w where w.location = q.location and w.version = q.version
            and w.heartbeat_at > clock_timestamp() - interval '15 s')))
      order by q.priority, q.seq limit 1000
    ), ready as (
      select q.run_id, q.version from runbell.run_queue q join window_ w on w.run_id = q.run_id
      left join busy b on b.tenant = w.tenant and b.principal_id is not distinct from w.principal_id
      where q.state in ('queued', 'parked') or q.lease_until < clock_timestamp()
      order by w.priority, case when w.principal_id is null then 0 else coalesce(b.n, 0) end, w.seq
      limit :limit for update of q skip locked
    ), claimed as (
      update runbell.run_queue as q set state = 'running', claimed_by = :worker,
        token = nextval('runbell.lease_tokens'), attempts = q.attempts + 1,
        version = coalesce(:version, q.version),
        lease_until = clock_timestamp() + make_interval(secs => :lease)
      from ready where q.run_id = ready.run_id returning q.*, ready.version as began_version
    )
    select c.*, i.channel as channel, i.conversation as conversation, i.traceparent as traceparent
    from claimed c left join runbell.inbox i on i.id = c.message_id order by c.priority, c.seq
""").bindparams(  # noqa: S608 - constants
    sa.bindparam("version", type_=sa.Text), sa.bindparam("leaving", type_=sa.Boolean)
)
_BEAT = sa.text("""
    update runbell.run_queue as q set lease_until = clock_timestamp() + make_interval(secs => :lease)
    from unnest(cast(:runs as text[]), cast(:tokens as bigint[])) as h(run_id, token)
    where q.run_id = h.run_id and q.token = h.token and q.state = 'running'
    returning q.run_id
""")


class RunQueue(Store):
    """Runs from their request to their end."""

    def submit(
        self,
        run_id: str,
        *,
        location: str,
        job: str,
        tenant: str = "default",
        priority: int = 10,
        at_once: AtOnce | None = None,
    ) -> bool:
        """Queue a run that Dagster has created (launchpad, schedule, sensor); False where it is queued already.

        A finished row is queued anew: Dagster resumes runs under their own id. Whoever takes it looks for the run.
        """
        anew = {
            "state": "queued",
            "finished_at": None,
            "cancel_requested_at": None,
            "attempts": 0,
            "request": sa.null(),
        }
        turns = {"concurrency_key": at_once.key, "concurrency": at_once.limit} if at_once else {}
        values = {"run_id": run_id, "location": location, "job": job, "tenant": tenant, "priority": priority, **turns}
        row = insert(run_queue).values(values)
        with self._transaction() as connection:
            done = connection.execute(
                row.on_conflict_do_update(
                    index_elements=["run_id"],
                    set_=anew,
                    where=run_queue.c.state == "finished",
                )
            )
            notify(connection, "runbell_runs", location)
        return done.rowcount == 1

    def claim(
        self,
        location: str,
        worker: str,
        *,
        limit: int = 1,
        lease_s: float = 15.0,
        version: str | None = None,
        leaving: bool = False,
    ) -> list[RunClaim]:
        """Lease runs of a code location, also those whose worker is gone (`attempts` > 1).

        A run that began with another version is left for a while to live workers of that one; a worker that is
        `leaving` gets only what began with its own.
        """
        values = {"location": location, "worker": worker, "limit": limit, "lease": lease_s, "kept": KEPT_S}
        with self._statement() as connection:
            return [
                _claim(row) for row in connection.execute(_CLAIM, {**values, "version": version, "leaving": leaving})
            ]

    def heartbeat(self, claims: Mapping[str, int], *, lease_s: float = 15.0) -> set[str]:
        """Extend the leases of these runs (run id → token) and return those that were lost."""
        if not claims:
            return set()
        values = {"runs": list(claims), "tokens": list(claims.values()), "lease": lease_s}
        with self._statement() as connection:
            kept = set(connection.scalars(_BEAT, values))
        return set(claims) - kept

    def finish(self, claim: RunClaim) -> None:
        """Record that a run has ended. Raises `LeaseLost`."""
        self._leave(claim, {"state": "finished", "finished_at": sa.func.clock_timestamp()})

    def release(self, claim: RunClaim, *, after_s: float = 0.0) -> None:
        """Hand a run back unfinished, for any worker to go on with. Raises `LeaseLost`."""
        later = sa.func.clock_timestamp() + sa.func.make_interval(0, 0, 0, 0, 0, 0, after_s)
        self._leave(claim, {"state": "queued", "available_at": later})

    def park(self, claim: RunClaim, reason: dict[str, object], *, until: datetime | None) -> None:
        """Leave a run waiting, held by nobody, until the instant or until it is woken. Raises `LeaseLost`."""
        self._leave(claim, {"state": "parked", "parked": reason, "available_at": until or NEVER})

    def wake(self, run_id: str) -> bool:
        """Let a parked run go on now; False where it is not parked."""
        with self._transaction() as connection:
            location = connection.execute(
                sa.update(run_queue)
                .where(run_queue.c.run_id == run_id, run_queue.c.state == "parked")
                .values(available_at=sa.func.now())
                .returning(run_queue.c.location)
            ).scalar_one_or_none()
            if location is not None:
                notify(connection, "runbell_runs", location)
        return location is not None

    def request_cancel(self, run_id: str) -> bool:
        """Ask whoever holds the run to cancel it; False where it has ended or is not known."""
        with self._transaction() as connection:
            location = connection.execute(
                sa.update(run_queue)
                .where(run_queue.c.run_id == run_id, run_queue.c.state != "finished")
                .values(cancel_requested_at=sa.func.coalesce(run_queue.c.cancel_requested_at, sa.func.now()))
                .returning(run_queue.c.location)
            ).scalar_one_or_none()
            if location is not None:
                notify(connection, "runbell_cancel", run_id)
                notify(connection, "runbell_runs", location)
        return location is not None

    def cancels(self, run_ids: Collection[str]) -> set[str]:
        """Return those of these runs that somebody asked to cancel."""
        query = sa.select(run_queue.c.run_id).where(
            run_queue.c.run_id.in_(run_ids), run_queue.c.cancel_requested_at.is_not(None)
        )
        with self._statement() as connection:
            return set(connection.scalars(query))

    def get(self, run_id: str) -> QueuedRun | None:
        """Return where a run stands, or None."""
        with self._statement() as connection:
            row = connection.execute(sa.select(run_queue).where(run_queue.c.run_id == run_id)).first()
        return _queued(row) if row else None

    def latest(
        self, *, tenant: str, principal_id: str | None = None, unfinished: bool = False, limit: int = 10
    ) -> list[QueuedRun]:
        """Return the latest runs of a tenant or one of its principals, newest first."""
        query = sa.select(run_queue).where(run_queue.c.tenant == tenant)
        if principal_id is not None:
            query = query.where(run_queue.c.principal_id == principal_id)
        if unfinished:
            query = query.where(run_queue.c.state != "finished")
        with self._statement() as connection:
            rows = connection.execute(query.order_by(run_queue.c.seq.desc()).limit(limit)).all()
        return [_queued(row) for row in rows]

    def running_in(self, address: Address) -> list[QueuedRun]:
        """Return the unfinished runs of a conversation's messages, newest first."""
        query = (
            sa.select(run_queue)
            .join(inbox, inbox.c.id == run_queue.c.message_id)
            .where(
                inbox.c.tenant == address.tenant,
                inbox.c.channel == address.channel,
                inbox.c.conversation == address.conversation,
                run_queue.c.state != "finished",
            )
            .order_by(run_queue.c.seq.desc())
            .limit(20)
        )
        with self._statement() as connection:
            return [_queued(row) for row in connection.execute(query)]

    def _leave(self, claim: RunClaim, values: dict[str, object]) -> None:
        with self._transaction() as connection:
            done = connection.execute(
                sa.update(run_queue)
                .where(
                    run_queue.c.run_id == claim.run_id,
                    run_queue.c.token == claim.token,
                    run_queue.c.state == "running",
                )
                .values(claimed_by=None, lease_until=None, **values)
            )
            if done.rowcount != 1:
                raise LeaseLost(f"run {claim.run_id} is no longer this worker's")
            if values["state"] == "queued":
                notify(connection, "runbell_runs", claim.location)
            elif values["state"] == "finished" and claim.concurrency_key is not None:
                wake_next(connection, claim.tenant, claim.concurrency_key)


def _claim(row: Any) -> RunClaim:
    has_address = row.channel is not None
    return RunClaim(
        run_id=row.run_id,
        token=row.token,
        location=row.location,
        job=row.job,
        request=row.request,
        message_id=str(row.message_id) if row.message_id else None,
        address=Address(tenant=row.tenant, channel=row.channel, conversation=row.conversation) if has_address else None,
        traceparent=row.traceparent,
        principal_id=row.principal_id,
        tenant=row.tenant,
        priority=row.priority,
        attempts=row.attempts,
        cancel_requested=row.cancel_requested_at is not None,
        parked=row.parked,
        began_version=row.began_version,
        concurrency_key=row.concurrency_key,
    )


def _queued(row: Any) -> QueuedRun:
    return QueuedRun(
        run_id=row.run_id,
        location=row.location,
        job=row.job,
        state=row.state,
        claimed_by=row.claimed_by,
        message_id=row.message_id,
        principal_id=row.principal_id,
        created_at=row.created_at,
        lease_until=row.lease_until,
        cancel_requested=row.cancel_requested_at is not None,
        parked=row.parked,
        attempts=row.attempts,
        version=row.version,
        concurrency_key=row.concurrency_key,
    )
