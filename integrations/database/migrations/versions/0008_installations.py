"""Where apps were installed over OAuth, and the invitations that lead there."""

import sqlalchemy as sa
from alembic import op

revision = '0008'
down_revision = '0007'


def upgrade() -> None:
    op.create_table('installations',
    sa.Column('tenant', sa.Text(), nullable=False),
    sa.Column('channel', sa.Text(), nullable=False),
    sa.Column('workspace', sa.Text(), nullable=False),
    sa.Column('name', sa.Text(), nullable=False),
    sa.Column('bot', sa.Text(), nullable=False),
    sa.Column('sealed', sa.LargeBinary(), nullable=True),
    sa.Column('version', sa.BigInteger(), nullable=False),
    sa.Column('expires_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('refreshing_until', sa.DateTime(timezone=True), nullable=True),
    sa.Column('ended', sa.Text(), nullable=False),
    sa.Column('changed_at', sa.DateTime(timezone=True), nullable=False),
    sa.PrimaryKeyConstraint('tenant', 'channel', 'workspace', name=op.f('installations_pkey')),
    schema='runbell'
    )
    op.create_table('invitations',
    sa.Column('digest', sa.LargeBinary(), nullable=False),
    sa.Column('state', sa.LargeBinary(), nullable=True),
    sa.Column('state_until', sa.DateTime(timezone=True), nullable=False),
    sa.Column('expires_at', sa.DateTime(timezone=True), nullable=False),
    sa.PrimaryKeyConstraint('digest', name=op.f('invitations_pkey')),
    sa.UniqueConstraint('state', name=op.f('invitations_state_key')),
    schema='runbell'
    )
