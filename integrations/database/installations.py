"""Where an app was installed over OAuth: tokens, sealed by the channel, that one gateway at a time exchanges.

A refresh token works once. So a gateway first takes the right to exchange it (`take_turn`), for so long that its call
must have ended by then, and what it got is stored only over the version that it exchanged.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from integrations.database.channel_tables import installations, invitations
from integrations.database.engine import Store

TURN = timedelta(seconds=60)
"""How long one gateway may take to exchange tokens; its call to the network must end sooner."""


@dataclass(frozen=True, slots=True)
class Installation:
    """One workspace. Without `sealed` it is of no use any more, and `ended` says why."""

    tenant: str
    channel: str
    workspace: str
    name: str
    bot: str
    sealed: bytes | None
    version: int = 1
    expires_at: datetime | None = None
    changed_at: datetime | None = None
    ended: str = ""


class Installations(Store):
    """Workspaces, and the invitations that lead to them."""

    def all(self, tenant: str, channel: str) -> list[Installation]:
        """Return every workspace of a channel, those that have ended included."""
        query = sa.select(installations).where(installations.c.tenant == tenant, installations.c.channel == channel)
        with self._statement() as connection:
            return [_read(row) for row in connection.execute(query.order_by(installations.c.workspace))]

    def get(self, tenant: str, channel: str, workspace: str) -> Installation | None:
        """Return one workspace."""
        with self._statement() as connection:
            row = connection.execute(sa.select(installations).where(*_where(tenant, channel, workspace))).first()
        return _read(row) if row else None

    def save(self, one: Installation, invitation: bytes) -> bool:
        """Store a new installation and use its invitation up; False, storing nothing, where that is used already."""
        values = {
            "name": one.name,
            "bot": one.bot,
            "sealed": one.sealed,
            "expires_at": one.expires_at,
            "refreshing_until": None,
            "ended": "",
            "changed_at": sa.func.now(),
        }
        place = {"tenant": one.tenant, "channel": one.channel, "workspace": one.workspace, "version": 1}
        row = insert(installations).values(**place, **values)
        row = row.on_conflict_do_update(
            index_elements=["tenant", "channel", "workspace"],
            set_={**values, "version": installations.c.version + 1},
        )
        with self._transaction() as connection:
            if not self._use_up(connection, invitation):
                return False
            connection.execute(row)
        return True

    def take_turn(self, one: Installation) -> bool:
        """Take the right to exchange this version's tokens, for `TURN`; False where another has it or had it."""
        free = sa.or_(
            installations.c.refreshing_until.is_(None), installations.c.refreshing_until < sa.func.clock_timestamp()
        )
        taken = (
            sa.update(installations)
            .where(*_version(one), installations.c.ended == "", free)
            .values(refreshing_until=sa.func.clock_timestamp() + TURN)
        )
        with self._statement() as connection:
            return connection.execute(taken).rowcount == 1

    def renew(self, one: Installation, sealed: bytes, expires_at: datetime | None) -> bool:
        """Store what the tokens of this version were exchanged for; False where it is not the newest any more."""
        values = {"sealed": sealed, "expires_at": expires_at, "version": one.version + 1, "ended": ""}
        renewed = sa.update(installations).where(*_version(one)).values(refreshing_until=None, **values)
        with self._statement() as connection:
            return connection.execute(renewed.values(changed_at=sa.func.now())).rowcount == 1

    def give_back(self, one: Installation) -> None:
        """Let others try at once: this version's tokens were surely not exchanged."""
        with self._statement() as connection:
            connection.execute(sa.update(installations).where(*_version(one)).values(refreshing_until=None))

    def end(self, one: Installation, why: str) -> bool:
        """Forget the tokens of this version and say why; False where it is not the newest any more."""
        values = {"sealed": None, "expires_at": None, "refreshing_until": None, "ended": why[:500]}
        ended = sa.update(installations).where(*_version(one), installations.c.ended == "")
        with self._statement() as connection:
            return connection.execute(ended.values(**values, changed_at=sa.func.now())).rowcount == 1

    def open_invitation(self, digest: bytes, state: bytes, state_until: datetime, expires_at: datetime) -> bool:
        """Bind a state to an invitation, in the place of an earlier one; False where the invitation is used up."""
        row = insert(invitations).values(digest=digest, state=state, state_until=state_until, expires_at=expires_at)
        row = row.on_conflict_do_update(
            index_elements=["digest"],
            set_={"state": state, "state_until": state_until},
            where=invitations.c.state.is_not(None),
        )
        with self._statement() as connection:
            return connection.execute(row.returning(invitations.c.digest)).first() is not None

    def redeem_state(self, state: bytes, next_state: bytes) -> bytes | None:
        """Return the invitation of a living state, which no second call will find; None for every other."""
        used = (
            sa.update(invitations)
            .where(invitations.c.state == state, invitations.c.state_until > sa.func.clock_timestamp())
            .values(state=next_state)
            .returning(invitations.c.digest)
        )
        with self._statement() as connection:
            return connection.execute(used).scalar_one_or_none()

    @staticmethod
    def _use_up(connection: sa.Connection, digest: bytes) -> bool:
        used = sa.update(invitations).where(invitations.c.digest == digest, invitations.c.state.is_not(None))
        return connection.execute(used.values(state=None)).rowcount == 1


def _where(tenant: str, channel: str, workspace: str) -> tuple[sa.ColumnElement[bool], ...]:
    table = installations.c
    return table.tenant == tenant, table.channel == channel, table.workspace == workspace


def _version(one: Installation) -> tuple[sa.ColumnElement[bool], ...]:
    return *_where(one.tenant, one.channel, one.workspace), installations.c.version == one.version


def _read(row: Any) -> Installation:
    return Installation(
        tenant=row.tenant,
        channel=row.channel,
        workspace=row.workspace,
        name=row.name,
        bot=row.bot,
        sealed=row.sealed,
        version=row.version,
        expires_at=row.expires_at,
        changed_at=row.changed_at,
        ended=row.ended,
    )
