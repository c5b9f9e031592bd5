"""Forms of our own page, which wait like questions."""

import sqlalchemy as sa
from alembic import op

revision = '0016'
down_revision = '0015'


def upgrade() -> None:
    op.add_column('questions', sa.Column('form', sa.Text(), nullable=True), schema='runbell')
