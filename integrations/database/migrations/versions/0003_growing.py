"""Answers that grow on networks, and undelivered messages that somebody has dropped."""

import sqlalchemy as sa
from alembic import op

revision = '0003'
down_revision = '0002'
_STATES = "state in ('queued','sending','sent','unknown','failed','dead','dropped')"


def upgrade() -> None:
    op.create_table('growing',
    sa.Column('message_id', sa.Uuid(as_uuid=False), nullable=False),
    sa.Column('handle', sa.Text(), nullable=True),
    sa.Column('gateway', sa.Text(), nullable=False),
    sa.Column('lease_until', sa.DateTime(timezone=True), nullable=False),
    sa.PrimaryKeyConstraint('message_id', name=op.f('growing_pkey')),
    schema='runbell'
    )
    op.drop_constraint(op.f('outbox_state_check'), 'outbox', schema='runbell', type_='check')
    op.create_check_constraint(op.f('outbox_state_check'), 'outbox', _STATES, schema='runbell')
    op.create_index('outbox_undelivered_ix', 'outbox', ['id'], schema='runbell',
        postgresql_where=sa.text("state in ('unknown', 'failed', 'dead')"))
