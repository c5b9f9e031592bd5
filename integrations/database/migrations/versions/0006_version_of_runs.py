"""The version of code that a run was worked on with."""

import sqlalchemy as sa
from alembic import op

revision = '0006'
down_revision = '0005'


def upgrade() -> None:
    op.add_column('run_queue', sa.Column('version', sa.Text(), nullable=True), schema='runbell')
