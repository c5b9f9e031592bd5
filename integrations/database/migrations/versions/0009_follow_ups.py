"""The one retry and the one repetition of a run."""

import sqlalchemy as sa
from alembic import op

revision = '0009'
down_revision = '0008'


def upgrade() -> None:
    op.add_column('run_queue', sa.Column('retried_by', sa.Text(), nullable=True), schema='runbell')
    op.add_column('run_queue', sa.Column('repeated_by', sa.Text(), nullable=True), schema='runbell')
