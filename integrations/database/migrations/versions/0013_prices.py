"""What calls of models cost, and by which route they went."""

import sqlalchemy as sa
from alembic import op

revision = '0013'
down_revision = '0012'


def upgrade() -> None:
    op.add_column('usage', sa.Column('route', sa.Text(), nullable=True), schema='runbell')
    op.add_column('usage', sa.Column('job', sa.Text(), nullable=True), schema='runbell')
    for name, kind, default in (
        ('tokens_cached', sa.Integer(), '0'),
        ('gpu_s', sa.Float(), '0'),
        ('price', sa.Float(), '0'),
        ('currency', sa.Text(), 'USD'),
    ):
        column = sa.Column(name, kind, nullable=False, server_default=default)
        op.add_column('usage', column, schema='runbell')
    op.create_index('usage_tenant_ix', 'usage', ['tenant', 'at'], schema='runbell')
