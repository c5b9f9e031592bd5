"""Approvals, what was said to them, and where they are shown."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = '0007'
down_revision = '0006'

INSTANT = sa.DateTime(timezone=True)
JSONB = postgresql.JSONB(astext_type=sa.Text())
NOW = sa.text('now()')


def upgrade() -> None:
    op.create_table('approvals',
    sa.Column('id', sa.Text(), nullable=False),
    sa.Column('seq', sa.BigInteger(), sa.Identity(always=True), nullable=False),
    sa.Column('tenant', sa.Text(), nullable=False),
    sa.Column('anchor', sa.Text(), nullable=False),
    sa.Column('digest', sa.Text(), nullable=False),
    sa.Column('subject', sa.Text(), nullable=False),
    sa.Column('args', JSONB, nullable=True),
    sa.Column('shown', sa.Text(), nullable=False),
    sa.Column('effect', sa.Text(), server_default='', nullable=False),
    sa.Column('policy', JSONB, nullable=False),
    sa.Column('requester_id', sa.Text(), nullable=False),
    sa.Column('requester_name', sa.Text(), server_default='', nullable=False),
    sa.Column('origin', JSONB, nullable=True),
    sa.Column('language', sa.Text(), server_default='en', nullable=False),
    sa.Column('message_id', sa.Uuid(as_uuid=False), nullable=True),
    sa.Column('run_id', sa.Text(), nullable=True),
    sa.Column('step', sa.Text(), nullable=True),
    sa.Column('state', sa.Text(), server_default='pending', nullable=False),
    sa.Column('why', sa.Text(), server_default='', nullable=False),
    sa.Column('revision', sa.Integer(), server_default='0', nullable=False),
    sa.Column('delegates', JSONB, server_default='[]', nullable=False),
    sa.Column('reminded', sa.Integer(), server_default='0', nullable=False),
    sa.Column('escalated_at', INSTANT, nullable=True),
    sa.Column('used_at', INSTANT, nullable=True),
    sa.Column('next_at', INSTANT, nullable=False),
    sa.Column('created_at', INSTANT, server_default=NOW, nullable=False),
    sa.Column('expires_at', INSTANT, nullable=False),
    sa.Column('decided_at', INSTANT, nullable=True),
    sa.CheckConstraint("state in ('pending','approved','denied','expired','voided')",
        name=op.f('approvals_state_check')),
    sa.PrimaryKeyConstraint('id', name=op.f('approvals_pkey')),
    schema='runbell'
    )
    op.create_index('approvals_anchor_ix', 'approvals', ['anchor', 'seq'], schema='runbell')
    op.create_index('approvals_pending_ix', 'approvals', ['next_at'], schema='runbell',
        postgresql_where=sa.text("state = 'pending'"))
    op.create_index('approvals_created_ix', 'approvals', ['created_at'], schema='runbell')
    op.create_table('approval_decisions',
    sa.Column('approval_id', sa.Text(), nullable=False),
    sa.Column('principal_id', sa.Text(), nullable=False),
    sa.Column('name', sa.Text(), nullable=False),
    sa.Column('verdict', sa.Text(), nullable=False),
    sa.Column('reason', sa.Text(), server_default='', nullable=False),
    sa.Column('via', sa.Text(), server_default='', nullable=False),
    sa.Column('at', INSTANT, server_default=sa.text('clock_timestamp()'), nullable=False),
    sa.CheckConstraint("verdict in ('approve','deny')", name=op.f('approval_decisions_verdict_check')),
    sa.ForeignKeyConstraint(['approval_id'], ['runbell.approvals.id'],
        name=op.f('approval_decisions_approval_id_fkey'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('approval_id', 'principal_id', name=op.f('approval_decisions_pkey')),
    schema='runbell'
    )
    op.create_table('approval_cards',
    sa.Column('approval_id', sa.Text(), nullable=False),
    sa.Column('channel', sa.Text(), nullable=False),
    sa.Column('conversation', sa.Text(), nullable=False),
    sa.Column('key', sa.Text(), nullable=False),
    sa.ForeignKeyConstraint(['approval_id'], ['runbell.approvals.id'],
        name=op.f('approval_cards_approval_id_fkey'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('approval_id', 'channel', 'conversation', name=op.f('approval_cards_pkey')),
    schema='runbell'
    )
