"""Secret arguments of commands: encrypted, apart from messages and run configs, which only name them."""

import re
import uuid

import sqlalchemy as sa
from cryptography.fernet import Fernet, InvalidToken

from integrations.database.engine import Store
from integrations.database.tables import NOW, Instant, metadata
from integrations.errors import Misconfigured, NotFound

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

    def put(self, principal_id: str, value: str, key: bytes) -> str:
        """Keep a value and return the reference that stands for it; what is one of theirs already stays as it is."""
        if REFERENCE.fullmatch(value) and self._is_of(value, principal_id):
            return value
        sealed_id = uuid.uuid4().hex
        row = {"id": sealed_id, "principal_id": principal_id, "value": Fernet(key).encrypt(value.encode())}
        with self._transaction() as connection:
            connection.execute(sa.insert(sealed).values(row))
        return PREFIX + sealed_id

    def _is_of(self, reference: str, principal_id: str) -> bool:
        mine = sa.select(sealed.c.id).where(
            sealed.c.id == reference.removeprefix(PREFIX), sealed.c.principal_id == principal_id
        )
        with self._transaction() as connection:
            return connection.scalar(mine) is not None

    def get(self, reference: str, key: bytes) -> str:
        """Return the value. Raises `NotFound` where it is gone, `Misconfigured` where it was kept under another key."""
        query = sa.select(sealed.c.value).where(sealed.c.id == reference.removeprefix(PREFIX))
        with self._transaction() as connection:
            value = connection.scalar(query)
        if value is None:
            raise NotFound("this secret argument is no longer kept (retention.detail_days); give it again")
        try:
            return Fernet(key).decrypt(value).decode()
        except InvalidToken as error:
            raise Misconfigured("this secret argument was sealed with another RUNBELL_HOME/sealing_key") from error
