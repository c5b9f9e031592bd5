"""What caches have saved: answers given again in the ledger, and texts whose vectors a worker still knew."""

import sqlalchemy as sa
from alembic import op

revision = '0015'
down_revision = '0014'


def upgrade() -> None:
    op.add_column('usage', sa.Column('from_cache', sa.Boolean(), nullable=True), schema='runbell')
    for name in ('texts', 'texts_known'):
        column = sa.Column(name, sa.BigInteger(), nullable=False, server_default='0')
        op.add_column('workers', column, schema='runbell')
