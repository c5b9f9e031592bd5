"""Commands of all code locations, proposals that wait for a yes, and live workers."""

import uuid
from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from integrations.database.engine import Store, notify
from integrations.database.records import Demand, Proposal, StoredCommand, WorkerState
from integrations.database.run_tables import run_queue, workers
from integrations.database.tables import commands, inbox, proposals
from integrations.database.turns import ITS_TURN
from integrations.messages import Address

# Claimable runs of every location, and conversations whose next message may be claimed (by workers of `core`).
_DEMAND = sa.text(f"""
    select location, count(*), max(extract(epoch from clock_timestamp() - since))::float from (
      select location, greatest(available_at, lease_until) as since from runbell.run_queue q
      where (state in ('queued', 'parked') and available_at <= clock_timestamp() and {ITS_TURN})
        or (state = 'running' and lease_until < clock_timestamp())
      union all
      select 'core', min(i.accepted_at) from runbell.inbox i
      where i.state = 'received' and (i.lease_until is null or i.lease_until < clock_timestamp())
        and not exists (select 1 from runbell.inbox r where r.state = 'running' and r.tenant = i.tenant
          and r.channel = i.channel and r.conversation = i.conversation)
      group by i.tenant, i.channel, i.conversation
    ) as due group by location
""")  # noqa: S608 - constants


class Commands(Store):
    """The catalogue, compiled by the workers so that nobody else needs user code."""

    def replace(self, location: str, wanted: Sequence[StoredCommand]) -> None:
        """Make these the commands of a code location; a name taken by another location is left to it."""
        with self._transaction() as connection:
            connection.execute(
                sa.delete(commands).where(
                    commands.c.location == location, commands.c.name.not_in([c.name for c in wanted])
                )
            )
            for command in wanted:
                row = insert(commands).values(name=command.name, location=location, job=command.job, spec=command.spec)
                connection.execute(
                    row.on_conflict_do_update(
                        index_elements=["name"],
                        set_={"job": command.job, "spec": command.spec, "updated_at": sa.func.now()},
                        where=commands.c.location == location,
                    )
                )

    def keep(self, locations: Collection[str]) -> int:
        """Remove the commands of all other code locations; returns how many went."""
        with self._statement() as connection:
            return connection.execute(sa.delete(commands).where(commands.c.location.not_in(list(locations)))).rowcount

    def of_job(self, location: str, job: str) -> StoredCommand | None:
        """Return the command of a job, or None where it is none."""
        query = sa.select(commands).where(commands.c.location == location, commands.c.job == job)
        with self._statement() as connection:
            row = connection.execute(query).first()
        return StoredCommand(row.name, row.location, row.job, row.spec) if row is not None else None

    def all(self) -> list[StoredCommand]:
        """Return every command, by name."""
        with self._statement() as connection:
            rows = connection.execute(sa.select(commands).order_by(commands.c.name)).all()
        return [StoredCommand(row.name, row.location, row.job, row.spec) for row in rows]


class Proposals(Store):
    """Commands that were shown and run only after the principal's yes."""

    def put(
        self,
        address: Address,
        principal_id: str,
        command: str,
        args: dict[str, object],
        *,
        ttl_s: float = 600.0,
    ) -> Proposal:
        """Store a proposal; it replaces an earlier one of the same principal in this conversation."""
        proposal_id = str(uuid.uuid4())
        expires = sa.func.now() + timedelta(seconds=ttl_s)
        with self._transaction() as connection:
            connection.execute(
                sa.update(proposals).where(*_open(address, principal_id)).values(decided_at=sa.func.now())
            )
            row = connection.execute(
                sa.insert(proposals)
                .values(
                    id=proposal_id,
                    tenant=address.tenant,
                    channel=address.channel,
                    conversation=address.conversation,
                    principal_id=principal_id,
                    command=command,
                    args=args,
                    expires_at=expires,
                )
                .returning(proposals.c.created_at, proposals.c.expires_at)
            ).one()
        return Proposal(proposal_id, address, principal_id, command, args, row.created_at, row.expires_at)

    def open(self, address: Address, principal_id: str) -> Proposal | None:
        """Return the proposal that waits for this principal here, or None."""
        query = sa.select(proposals).where(*_open(address, principal_id), proposals.c.expires_at > sa.func.now())
        with self._statement() as connection:
            row = connection.execute(query.order_by(proposals.c.created_at.desc()).limit(1)).first()
        return None if row is None else _proposal(row)

    def get(self, proposal_id: str) -> Proposal | None:
        """Return a proposal, decided or not."""
        with self._statement() as connection:
            row = connection.execute(sa.select(proposals).where(proposals.c.id == proposal_id)).first()
        return None if row is None else _proposal(row)

    def decide(self, proposal_id: str) -> bool:
        """Close a proposal; False where it was decided or has expired: only one yes counts."""
        with self._transaction() as connection:
            return close_proposal(connection, proposal_id)


def close_proposal(connection: sa.Connection, proposal_id: str) -> bool:
    """Close a proposal within the caller's transaction; False where it was decided or has expired."""
    done = connection.execute(
        sa.update(proposals)
        .where(
            proposals.c.id == proposal_id,
            proposals.c.decided_at.is_(None),
            proposals.c.expires_at > sa.func.now(),
        )
        .values(decided_at=sa.func.now())
    )
    return done.rowcount == 1


def _proposal(row: Any) -> Proposal:
    address = Address(tenant=row.tenant, channel=row.channel, conversation=row.conversation)
    return Proposal(row.id, address, row.principal_id, row.command, row.args, row.created_at, row.expires_at)


def _open(address: Address, principal_id: str) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        proposals.c.tenant == address.tenant,
        proposals.c.channel == address.channel,
        proposals.c.conversation == address.conversation,
        proposals.c.principal_id == principal_id,
        proposals.c.decided_at.is_(None),
    )


class Workers(Store):
    """Live workers and their heartbeats."""

    def beat(  # noqa: PLR0913 - a row
        self,
        worker: str,
        *,
        location: str,
        pid: int,
        threads: int,
        busy: int,
        version: str = "",
        state: str = "ready",
        texts: tuple[int, int] = (0, 0),
    ) -> None:
        """Record that a worker lives; `texts` were asked for, and known, in its cache of vectors."""
        told = {"busy": busy, "state": state, "texts": texts[0], "texts_known": texts[1]}
        row = insert(workers).values(id=worker, location=location, pid=pid, threads=threads, version=version, **told)
        with self._statement() as connection:
            connection.execute(
                row.on_conflict_do_update(
                    index_elements=["id"],
                    set_={**told, "heartbeat_at": sa.func.clock_timestamp()},
                )
            )

    def gone(self, worker: str) -> None:
        """Record that a worker has stopped."""
        with self._statement() as connection:
            connection.execute(sa.delete(workers).where(workers.c.id == worker))

    def lost(self, worker: str) -> int:
        """End the leases of a worker that has died, so that others take its work over at once; returns how many.

        Should it live after all, its token stops it from writing as soon as somebody has taken over.
        """
        ended = {"lease_until": sa.func.clock_timestamp() - timedelta(milliseconds=1)}
        with self._transaction() as connection:
            connection.execute(sa.delete(workers).where(workers.c.id == worker))
            locations = connection.scalars(
                sa.update(run_queue)
                .where(run_queue.c.claimed_by == worker, run_queue.c.state == "running")
                .values(ended)
                .returning(run_queue.c.location)
            ).all()
            messages = connection.execute(
                sa.update(inbox).where(inbox.c.claimed_by == worker, inbox.c.state == "received").values(ended)
            ).rowcount
            for location in set(locations):
                notify(connection, "runbell_runs", location)
            if messages:
                notify(connection, "runbell_inbox")
        return len(locations) + messages

    def demand(self) -> dict[str, Demand]:
        """Return what waits for a worker, by code location; a location without any is left out."""
        with self._statement() as connection:
            return {row[0]: Demand(row[1], row[2] or 0.0) for row in connection.execute(_DEMAND)}

    def live(self, *, within_s: float = 15.0) -> list[WorkerState]:
        """Return the workers whose heartbeat is fresh."""
        query = sa.select(workers).where(
            workers.c.heartbeat_at > sa.func.clock_timestamp() - timedelta(seconds=within_s)
        )
        with self._statement() as connection:
            rows = connection.execute(query.order_by(workers.c.location, workers.c.id)).all()
        return [WorkerState(*row) for row in rows]
