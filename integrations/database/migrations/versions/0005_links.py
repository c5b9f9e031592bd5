"""One-time codes that tie accounts to one principal, and where a tied account comes from."""

import sqlalchemy as sa
from alembic import op

revision = '0005'
down_revision = '0004'


def upgrade() -> None:
    op.add_column('accounts', sa.Column('home_id', sa.Text(), nullable=True), schema='runbell')
    op.create_table('link_codes',
    sa.Column('principal_id', sa.Text(), nullable=False),
    sa.Column('tenant', sa.Text(), nullable=False),
    sa.Column('digest', sa.LargeBinary(), nullable=False),
    sa.Column('channel', sa.Text(), nullable=False),
    sa.Column('conversation', sa.Text(), nullable=False),
    sa.Column('expires_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('used_by', sa.Text(), nullable=True),
    sa.ForeignKeyConstraint(['principal_id'], ['runbell.principals.id'],
        name=op.f('link_codes_principal_id_fkey'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('principal_id', name=op.f('link_codes_pkey')),
    sa.UniqueConstraint('digest', name=op.f('link_codes_digest_key')),
    schema='runbell'
    )
    op.create_table('link_attempts',
    sa.Column('tenant', sa.Text(), nullable=False),
    sa.Column('channel', sa.Text(), nullable=False),
    sa.Column('account', sa.Text(), nullable=False),
    sa.Column('count', sa.SmallInteger(), nullable=False),
    sa.Column('since', sa.DateTime(timezone=True), nullable=False),
    sa.PrimaryKeyConstraint('tenant', 'channel', 'account', name=op.f('link_attempts_pkey')),
    schema='runbell'
    )
