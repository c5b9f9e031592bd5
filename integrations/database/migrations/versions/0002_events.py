"""Events that parked runs wait for."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = '0002'
down_revision = '0001'


def upgrade() -> None:
    op.create_table('events',
    sa.Column('id', sa.BigInteger(), sa.Identity(always=True), nullable=False),
    sa.Column('tenant', sa.Text(), nullable=False),
    sa.Column('name', sa.Text(), nullable=False),
    sa.Column('key', sa.Text(), nullable=False),
    sa.Column('event_id', sa.Text(), nullable=True),
    sa.Column('body', postgresql.JSONB(astext_type=sa.Text()), nullable=False),
    sa.Column('sent_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('taken_by', sa.Text(), nullable=True),
    sa.Column('taken_step', sa.Text(), nullable=True),
    sa.PrimaryKeyConstraint('id', name=op.f('events_pkey')),
    sa.UniqueConstraint('tenant', 'name', 'event_id', name=op.f('events_tenant_name_event_id_key')),
    schema='runbell'
    )
    op.create_index('events_open_ix', 'events', ['tenant', 'name', 'key', 'id'], schema='runbell',
        postgresql_where=sa.text('taken_by is null'))
    op.create_index('events_taken_ix', 'events', ['taken_by'], schema='runbell')
    op.create_index('events_sent_ix', 'events', ['sent_at'], schema='runbell')
    op.create_index('run_queue_parked_ix', 'run_queue', ['parked'], schema='runbell', postgresql_using='gin',
        postgresql_ops={'parked': 'jsonb_path_ops'}, postgresql_where=sa.text("state = 'parked'"))
