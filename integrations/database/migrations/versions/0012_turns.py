"""Runs that take turns, and secret arguments apart from their runs."""

import sqlalchemy as sa
from alembic import op

revision = '0012'
down_revision = '0011'


def upgrade() -> None:
    op.add_column('run_queue', sa.Column('concurrency_key', sa.Text(), nullable=True), schema='runbell')
    op.add_column('run_queue', sa.Column('concurrency', sa.Integer(), nullable=True), schema='runbell')
    op.create_index(
        'run_queue_turns_ix',
        'run_queue',
        ['tenant', 'concurrency_key'],
        schema='runbell',
        postgresql_where=sa.text("concurrency_key is not null and state <> 'finished'"),
    )
    op.create_table(
        'sealed',
        sa.Column('id', sa.Text(), nullable=False),
        sa.Column('principal_id', sa.Text(), nullable=False),
        sa.Column('value', sa.LargeBinary(), nullable=False),
        sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
        sa.PrimaryKeyConstraint('id', name=op.f('sealed_pkey')),
        schema='runbell',
    )
    op.create_index('sealed_created_ix', 'sealed', ['created_at'], schema='runbell')
