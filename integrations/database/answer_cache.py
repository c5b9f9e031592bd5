"""Answers of models that may be given again: each within its tenant, for as long as its route says, and bounded."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from integrations.database.engine import Store
from integrations.database.tables import NOW, Instant, metadata

MOST = 10_000
"""Answers per tenant; the oldest go."""
LONGEST = 100_000
"""Characters."""

answers = sa.Table(
    "answers",
    metadata,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("digest", sa.Text, primary_key=True),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("at", Instant, nullable=False, server_default=NOW),
    sa.Column("expires_at", Instant, nullable=False),
)
sa.Index("answers_expires_ix", answers.c.expires_at)
sa.Index("answers_tenant_ix", answers.c.tenant, answers.c.at)


class Answers(Store):
    """Exact questions and their answers. The digest covers whatever an answer depends on, and for whom it was."""

    def get(self, tenant: str, digest: str, now: datetime) -> tuple[str, str] | None:
        """Return an answer's model and text."""
        query = sa.select(answers.c.model, answers.c.text).where(
            answers.c.tenant == tenant, answers.c.digest == digest, answers.c.expires_at > now
        )
        with self._statement() as connection:
            row = connection.execute(query).first()
        return None if row is None else (row[0], row[1])

    def put(self, tenant: str, digest: str, model: str, text: str, expires_at: datetime) -> None:
        """Keep an answer in place of an older one; what is too long is not kept."""
        if len(text) > LONGEST:
            return
        told = {"model": model, "text": text, "expires_at": expires_at, "at": sa.func.clock_timestamp()}
        statement = insert(answers).values(tenant=tenant, digest=digest, **told)
        excess = (
            sa.select(answers.c.digest)
            .where(answers.c.tenant == tenant)
            .order_by(answers.c.at.desc())
            .offset(MOST)
            .scalar_subquery()
        )
        with self._transaction() as connection:
            connection.execute(statement.on_conflict_do_update(index_elements=["tenant", "digest"], set_=told))
            connection.execute(sa.delete(answers).where(answers.c.tenant == tenant, answers.c.digest.in_(excess)))
