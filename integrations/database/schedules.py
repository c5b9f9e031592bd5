"""Schedules that were made in chat: what is said when, for whom, and where the answer goes.

Whether one runs is Dagster's state (`orchestration/warm/clockwork.py`); what is kept here of a pause is why.
A firing is a message in the owner's name, whose event id is the schedule and the instant: it is there once.
"""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from integrations.database.engine import Store
from integrations.database.receiving import store
from integrations.database.schedule_tables import schedules
from integrations.database.tables import outbox, principals
from integrations.errors import NotFound, Overloaded
from integrations.messages import Address, InboundMessage, Priority

MOST = 1000
"""Schedules of one installation: each is a definition that Dagster's processes hold."""
ENDED = ("sent", "unknown", "failed", "dead")
Missed = Literal["skip", "once", "all"]


@dataclass(frozen=True, slots=True)
class NewSchedule:
    """What somebody wants to be said; `said` is how they put the time."""

    address: Address
    direct: bool
    principal_id: str
    account: str
    language: str
    said: str
    cron: str
    timezone: str
    command: str
    args: dict[str, object]
    missed: Missed = "once"


@dataclass(frozen=True, slots=True)
class Schedule:
    """One schedule; `name` is what Dagster calls it. `paused_why` is set where it was not the UI that paused it."""

    id: str
    what: NewSchedule
    created_at: datetime
    fired_until: datetime
    last_message: str | None
    paused_why: str | None

    @property
    def name(self) -> str:
        """The name of the schedule in the Dagster UI."""
        word = "".join(sign if sign.isascii() and sign.isalnum() else "_" for sign in self.what.command)[:40]
        return f"{word.strip('_') or 'command'}_{self.id}"


class Schedules(Store):
    """Schedules from their making to their removal, and the time zones of those who make them."""

    def add(self, new: NewSchedule, *, made_by: str, most: int) -> Schedule:
        """Keep a schedule; the same `made_by` again returns the first. Raises `Overloaded` beyond `most`."""
        address = new.address
        with self._transaction() as connection:
            # One after another, so that the count is right.
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(727567)))
            known = connection.execute(sa.select(schedules).where(schedules.c.made_by == made_by)).first()
            if known is not None:
                return _schedule(known)
            mine = connection.scalar(_count().where(schedules.c.principal_id == new.principal_id)) or 0
            if mine >= most:
                raise Overloaded(f"{mine} schedules are kept for one person")
            if (connection.scalar(_count()) or 0) >= MOST:
                raise Overloaded(f"{MOST} schedules are kept in all")
            row = connection.execute(
                insert(schedules)
                .values(
                    id=hashlib.blake2s(made_by.encode(), digest_size=4).hexdigest(),
                    made_by=made_by,
                    **address.model_dump(),
                    direct=new.direct,
                    principal_id=new.principal_id,
                    account=new.account,
                    language=new.language,
                    said=new.said,
                    cron=new.cron,
                    timezone=new.timezone,
                    command=new.command,
                    args=new.args,
                    missed=new.missed,
                )
                .returning(schedules)
            ).one()
        return _schedule(row)

    def get(self, schedule_id: str) -> Schedule | None:
        """Return a schedule, or None where it was removed."""
        with self._statement() as connection:
            row = connection.execute(sa.select(schedules).where(schedules.c.id == schedule_id)).first()
        return _schedule(row) if row else None

    def all(self, *, tenant: str | None = None, owners: Collection[str] | None = None) -> list[Schedule]:
        """Return schedules in the order in which they were made: all, a tenant's or those of some principals."""
        query = sa.select(schedules).order_by(schedules.c.created_at).limit(MOST)
        if tenant is not None:
            query = query.where(schedules.c.tenant == tenant)
        if owners is not None:
            query = query.where(schedules.c.principal_id.in_(owners))
        with self._statement() as connection:
            return [_schedule(row) for row in connection.execute(query)]

    def generation(self) -> str:
        """Return what is another one whenever a schedule was made or removed since."""
        query = sa.select(sa.func.count(), sa.func.max(schedules.c.created_at))
        with self._statement() as connection:
            count, newest = connection.execute(query).one()
        return f"{count}/{newest}"

    def remove(self, schedule_id: str) -> bool:
        """Remove a schedule; False where there is none."""
        with self._statement() as connection:
            return connection.execute(sa.delete(schedules).where(schedules.c.id == schedule_id)).rowcount == 1

    def pause(self, schedule_id: str, why: str) -> None:
        """Note why a schedule is paused."""
        with self._statement() as connection:
            connection.execute(
                sa.update(schedules)
                .where(schedules.c.id == schedule_id)
                .values(paused_at=sa.func.now(), paused_why=why)
            )

    def resume(self, schedule_id: str) -> None:
        """Forget why it was paused."""
        with self._statement() as connection:
            connection.execute(
                sa.update(schedules).where(schedules.c.id == schedule_id).values(paused_at=None, paused_why=None)
            )

    def skip(self, schedule_id: str, until: datetime) -> None:
        """Note that the instants up to this one are dealt with."""
        with self._statement() as connection:
            connection.execute(
                sa.update(schedules)
                .where(schedules.c.id == schedule_id, schedules.c.fired_until < until)
                .values(fired_until=until)
            )

    def fire(self, schedule: Schedule, key: str, *, instant: datetime | None = None) -> str:
        """Say the command in its conversation, once for each `key`; returns the message's id.

        Raises `NotFound` where the schedule was removed.
        """
        what = schedule.what
        message = InboundMessage(
            address=what.address,
            event_id=f"schedule:{schedule.id}:{key}",
            account=what.account,
            direct=what.direct,
            text=f"⏰ {what.said} · /{what.command}",  # what is shown; the command itself goes beside it
            command=what.command,
            args=what.args,
            trigger="schedule",
            source=schedule.name,
        )
        with self._transaction() as connection:
            held = connection.scalar(
                sa.select(schedules.c.fired_until).where(schedules.c.id == schedule.id).with_for_update()
            )
            if held is None:
                raise NotFound(f"the schedule {schedule.id} was removed")
            (received,) = store(connection, [message], Priority.TIMER, None)
            values: dict[str, object] = {"last_message": received.message_id}
            if instant is not None:
                values["fired_until"] = max(held, instant)
            connection.execute(sa.update(schedules).where(schedules.c.id == schedule.id).values(values))
        assert received.message_id is not None
        return received.message_id

    def undeliverable(self, address: Address) -> str | None:
        """Return why the last message to a conversation was refused for good, None where it was not."""
        query = (
            sa.select(outbox.c.state, outbox.c.error)
            .where(
                outbox.c.tenant == address.tenant,
                outbox.c.channel == address.channel,
                outbox.c.conversation == address.conversation,
                outbox.c.state.in_(ENDED),
            )
            .order_by(outbox.c.id.desc())
            .limit(1)
        )
        with self._statement() as connection:
            row = connection.execute(query).first()
        return (row.error or row.state) if row and row.state in ("failed", "dead") else None

    def timezone(self, principal_id: str) -> str | None:
        """Return the time zone that a principal has chosen, or None."""
        with self._statement() as connection:
            return connection.scalar(sa.select(principals.c.timezone).where(principals.c.id == principal_id))

    def set_timezone(self, principal_id: str, timezone: str) -> None:
        """Remember a principal's time zone: of the schedules they make from now on."""
        with self._statement() as connection:
            connection.execute(sa.update(principals).where(principals.c.id == principal_id).values(timezone=timezone))


def _count() -> sa.Select[Any]:
    return sa.select(sa.func.count()).select_from(schedules)


def _schedule(row: Any) -> Schedule:
    return Schedule(
        id=row.id,
        what=NewSchedule(
            address=Address(tenant=row.tenant, channel=row.channel, conversation=row.conversation),
            direct=row.direct,
            principal_id=row.principal_id,
            account=row.account,
            language=row.language,
            said=row.said,
            cron=row.cron,
            timezone=row.timezone,
            command=row.command,
            args=row.args,
            missed=row.missed,
        ),
        created_at=row.created_at,
        fired_until=row.fired_until,
        last_message=row.last_message,
        paused_why=row.paused_why,
    )
