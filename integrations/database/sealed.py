"""Secret arguments of commands: sealed, apart from messages and run configs, which only name them."""

import re
import uuid

import sqlalchemy as sa

from integrations.database.engine import Store
from integrations.database.tables import NOW, Instant, metadata
from integrations.errors import NotFound
from integrations.security.sealing import Seal

PREFIX = "sealed:"
REFERENCE = re.compile(PREFIX + r"[0-9a-f]{32}")

sealed = sa.Table(
    "sealed",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    # Whose secret it is: nobody else can make a command of theirs use it.
    sa.Column("principal_id", sa.Text, nullable=False),
    sa.Column("value", sa.LargeBinary, nullable=False),
    sa.Column("created_at", Instant, nullable=False, server_default=NOW),
)
sa.Index("sealed_created_ix", sealed.c.created_at)


class Sealed(Store):
    """Keeps them until the retention of details ends."""

    def put(self, principal_id: str, value: str, seal: Seal) -> str:
        """Keep a value and return the reference that stands for it; what is one of theirs already stays as it is."""
        if REFERENCE.fullmatch(value) and self._is_of(value, principal_id):
            return value
        sealed_id = uuid.uuid4().hex
        row = {"id": sealed_id, "principal_id": principal_id, "value": seal.close(value, _place(sealed_id))}
        with self._statement() as connection:
            connection.execute(sa.insert(sealed).values(row))
        return PREFIX + sealed_id

    def _is_of(self, reference: str, principal_id: str) -> bool:
        mine = sa.select(sealed.c.id).where(
            sealed.c.id == reference.removeprefix(PREFIX), sealed.c.principal_id == principal_id
        )
        with self._statement() as connection:
            return connection.scalar(mine) is not None

    def get(self, reference: str, seal: Seal) -> str:
        """Return the value. Raises `NotFound` where it is gone, `Misconfigured` where it was kept under another key."""
        sealed_id = reference.removeprefix(PREFIX)
        query = sa.select(sealed.c.value).where(sealed.c.id == sealed_id)
        with self._statement() as connection:
            value = connection.scalar(query)
        if value is None:
            raise NotFound("this secret argument is no longer kept (retention.detail_days); give it again")
        return seal.open(value, _place(sealed_id))


def _place(sealed_id: str) -> str:
    return f"argument {sealed_id}"
