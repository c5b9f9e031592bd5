"""The model that was chosen for a conversation."""

import sqlalchemy as sa
from alembic import op

revision = '0011'
down_revision = '0010'


def upgrade() -> None:
    op.add_column('conversations', sa.Column('model', sa.Text(), nullable=True), schema='runbell')
