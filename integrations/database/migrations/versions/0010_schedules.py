"""Schedules that are made in chat, and the time zones of those who make them."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = '0010'
down_revision = '0009'


def upgrade() -> None:
    op.add_column('principals', sa.Column('timezone', sa.Text(), nullable=True), schema='runbell')
    op.create_table('schedules',
    sa.Column('id', sa.Text(), nullable=False),
    sa.Column('made_by', sa.Text(), nullable=False),
    sa.Column('tenant', sa.Text(), nullable=False),
    sa.Column('channel', sa.Text(), nullable=False),
    sa.Column('conversation', sa.Text(), nullable=False),
    sa.Column('direct', sa.Boolean(), nullable=False),
    sa.Column('principal_id', sa.Text(), nullable=False),
    sa.Column('account', sa.Text(), nullable=False),
    sa.Column('language', sa.Text(), nullable=False),
    sa.Column('said', sa.Text(), nullable=False),
    sa.Column('cron', sa.Text(), nullable=False),
    sa.Column('timezone', sa.Text(), nullable=False),
    sa.Column('command', sa.Text(), nullable=False),
    sa.Column('args', postgresql.JSONB(astext_type=sa.Text()), nullable=False),
    sa.Column('missed', sa.Text(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('clock_timestamp()'), nullable=False),
    sa.Column('fired_until', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('last_message', sa.Uuid(as_uuid=False), nullable=True),
    sa.Column('paused_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('paused_why', sa.Text(), nullable=True),
    sa.CheckConstraint("missed in ('skip','once','all')", name=op.f('schedules_missed_check')),
    sa.ForeignKeyConstraint(['principal_id'], ['runbell.principals.id'],
        name=op.f('schedules_principal_id_fkey'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('schedules_pkey')),
    sa.UniqueConstraint('made_by', name=op.f('schedules_made_by_key')),
    schema='runbell'
    )
    op.create_index('schedules_principal_ix', 'schedules', ['principal_id'], unique=False, schema='runbell')
