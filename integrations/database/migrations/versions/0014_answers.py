"""Answers of models that may be given again."""

import sqlalchemy as sa
from alembic import op

revision = '0014'
down_revision = '0013'


def upgrade() -> None:
    op.create_table(
        'answers',
        sa.Column('tenant', sa.Text(), nullable=False),
        sa.Column('digest', sa.Text(), nullable=False),
        sa.Column('model', sa.Text(), nullable=False),
        sa.Column('text', sa.Text(), nullable=False),
        sa.Column('at', sa.DateTime(timezone=True), nullable=False, server_default=sa.text('now()')),
        sa.Column('expires_at', sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint('tenant', 'digest'),
        schema='runbell',
    )
    op.create_index('answers_expires_ix', 'answers', ['expires_at'], schema='runbell')
    op.create_index('answers_tenant_ix', 'answers', ['tenant', 'at'], schema='runbell')
