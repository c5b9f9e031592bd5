"""First tables."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = '0001'
down_revision = None


def upgrade() -> None:
    op.execute('create sequence runbell.lease_tokens as bigint')
    op.create_table('commands',
    sa.Column('name', sa.Text(), nullable=False),
    sa.Column('location', sa.Text(), nullable=False),
    sa.Column('job', sa.Text(), nullable=False),
    sa.Column('spec', postgresql.JSONB(astext_type=sa.Text()), nullable=False),
    sa.Column('updated_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.PrimaryKeyConstraint('name', name=op.f('commands_pkey')),
    schema='runbell'
    )
    op.create_table('conversations',
    sa.Column('tenant', sa.Text(), nullable=False),
    sa.Column('channel', sa.Text(), nullable=False),
    sa.Column('conversation', sa.Text(), nullable=False),
    sa.Column('direct', sa.Boolean(), server_default=sa.text('true'), nullable=False),
    sa.Column('principal_id', sa.Text(), nullable=True),
    sa.Column('title', sa.Text(), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('active_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.PrimaryKeyConstraint('tenant', 'channel', 'conversation', name=op.f('conversations_pkey')),
    schema='runbell'
    )
    op.create_table('inbox',
    sa.Column('id', sa.Uuid(as_uuid=False), nullable=False),
    sa.Column('seq', sa.BigInteger(), sa.Identity(always=True), nullable=False),
    sa.Column('tenant', sa.Text(), nullable=False),
    sa.Column('channel', sa.Text(), nullable=False),
    sa.Column('event_id', sa.Text(), nullable=False),
    sa.Column('conversation', sa.Text(), nullable=False),
    sa.Column('account', sa.Text(), nullable=False),
    sa.Column('principal_id', sa.Text(), nullable=True),
    sa.Column('body', postgresql.JSONB(astext_type=sa.Text()), nullable=False),
    sa.Column('word', sa.Text(), nullable=True),
    sa.Column('priority', sa.SmallInteger(), server_default='0', nullable=False),
    sa.Column('state', sa.Text(), server_default='received', nullable=False),
    sa.Column('attempts', sa.SmallInteger(), server_default='0', nullable=False),
    sa.Column('claimed_by', sa.Text(), nullable=True),
    sa.Column('token', sa.BigInteger(), nullable=True),
    sa.Column('lease_until', sa.DateTime(timezone=True), nullable=True),
    sa.Column('run_id', sa.Text(), nullable=True),
    sa.Column('error', sa.Text(), nullable=True),
    sa.Column('traceparent', sa.Text(), nullable=True),
    sa.Column('accepted_at', sa.DateTime(timezone=True), server_default=sa.text('clock_timestamp()'), nullable=False),
    sa.Column('claimed_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('started_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('first_token_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('replied_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('delivered_at', sa.DateTime(timezone=True), nullable=True),
    sa.CheckConstraint("state in ('received','running','waiting','answered','failed','dead')", name=op.f('inbox_state_check')),
    sa.PrimaryKeyConstraint('id', name=op.f('inbox_pkey')),
    sa.UniqueConstraint('seq', name=op.f('inbox_seq_key')),
    sa.UniqueConstraint('tenant', 'channel', 'event_id', name=op.f('inbox_tenant_channel_event_id_key')),
    schema='runbell'
    )
    op.create_index('inbox_accepted_ix', 'inbox', ['accepted_at'], unique=False, schema='runbell')
    op.create_index('inbox_ready_ix', 'inbox', ['priority', 'seq'], unique=False, schema='runbell', postgresql_where=sa.text("state = 'received'"))
    op.create_index('inbox_run_ix', 'inbox', ['run_id'], unique=False, schema='runbell')
    op.create_index('inbox_turn_ix', 'inbox', ['tenant', 'channel', 'conversation', 'seq'], unique=False, schema='runbell', postgresql_where=sa.text("state IN ('received', 'running')"))
    op.create_table('op_logs',
    sa.Column('run_id', sa.Text(), nullable=False),
    sa.Column('key', sa.Text(), nullable=False),
    sa.Column('stream', sa.Text(), nullable=False),
    sa.Column('seq', sa.Integer(), nullable=False),
    sa.Column('data', sa.LargeBinary(), nullable=False),
    sa.Column('at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.PrimaryKeyConstraint('run_id', 'key', 'stream', 'seq', name=op.f('op_logs_pkey')),
    schema='runbell'
    )
    op.create_index('op_logs_at_ix', 'op_logs', ['at'], unique=False, schema='runbell')
    op.create_table('op_outputs',
    sa.Column('run_id', sa.Text(), nullable=False),
    sa.Column('step_key', sa.Text(), nullable=False),
    sa.Column('output', sa.Text(), nullable=False),
    sa.Column('value', sa.LargeBinary(), nullable=True),
    sa.Column('url', sa.Text(), nullable=True),
    sa.Column('at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.PrimaryKeyConstraint('run_id', 'step_key', 'output', name=op.f('op_outputs_pkey')),
    schema='runbell'
    )
    op.create_index('op_outputs_at_ix', 'op_outputs', ['at'], unique=False, schema='runbell')
    op.create_table('outbox',
    sa.Column('id', sa.BigInteger(), sa.Identity(always=True), nullable=False),
    sa.Column('key', sa.Text(), nullable=False),
    sa.Column('tenant', sa.Text(), nullable=False),
    sa.Column('channel', sa.Text(), nullable=False),
    sa.Column('conversation', sa.Text(), nullable=False),
    sa.Column('message_id', sa.Uuid(as_uuid=False), nullable=True),
    sa.Column('run_id', sa.Text(), nullable=True),
    sa.Column('body', postgresql.JSONB(astext_type=sa.Text()), nullable=False),
    sa.Column('state', sa.Text(), server_default='queued', nullable=False),
    sa.Column('attempts', sa.SmallInteger(), server_default='0', nullable=False),
    sa.Column('available_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('claimed_by', sa.Text(), nullable=True),
    sa.Column('lease_until', sa.DateTime(timezone=True), nullable=True),
    sa.Column('platform_id', sa.Text(), nullable=True),
    sa.Column('error', sa.Text(), nullable=True),
    sa.Column('traceparent', sa.Text(), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('clock_timestamp()'), nullable=False),
    sa.Column('delivered_at', sa.DateTime(timezone=True), nullable=True),
    sa.CheckConstraint("state in ('queued','sending','sent','unknown','failed','dead')", name=op.f('outbox_state_check')),
    sa.PrimaryKeyConstraint('id', name=op.f('outbox_pkey')),
    sa.UniqueConstraint('key', name=op.f('outbox_key_key')),
    schema='runbell'
    )
    op.create_index('outbox_message_ix', 'outbox', ['message_id'], unique=False, schema='runbell')
    op.create_index('outbox_ready_ix', 'outbox', ['channel', 'available_at', 'id'], unique=False, schema='runbell', postgresql_where=sa.text("state IN ('queued', 'sending')"))
    op.create_index('outbox_turn_ix', 'outbox', ['tenant', 'channel', 'conversation', 'id'], unique=False, schema='runbell', postgresql_where=sa.text("state IN ('queued', 'sending')"))
    op.create_table('principals',
    sa.Column('id', sa.Text(), nullable=False),
    sa.Column('tenant', sa.Text(), nullable=False),
    sa.Column('name', sa.Text(), nullable=False),
    sa.Column('roles', postgresql.ARRAY(sa.Text()), server_default='{user}', nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('disabled_at', sa.DateTime(timezone=True), nullable=True),
    sa.PrimaryKeyConstraint('id', name=op.f('principals_pkey')),
    schema='runbell'
    )
    op.create_table('progress',
    sa.Column('message_id', sa.Uuid(as_uuid=False), nullable=False),
    sa.Column('seq', sa.Integer(), nullable=False),
    sa.Column('body', postgresql.JSONB(astext_type=sa.Text()), nullable=False),
    sa.Column('at', sa.DateTime(timezone=True), server_default=sa.text('clock_timestamp()'), nullable=False),
    sa.PrimaryKeyConstraint('message_id', 'seq', name=op.f('progress_pkey')),
    schema='runbell'
    )
    op.create_index('progress_at_ix', 'progress', ['at'], unique=False, schema='runbell')
    op.create_table('proposals',
    sa.Column('id', sa.Uuid(as_uuid=False), nullable=False),
    sa.Column('tenant', sa.Text(), nullable=False),
    sa.Column('channel', sa.Text(), nullable=False),
    sa.Column('conversation', sa.Text(), nullable=False),
    sa.Column('principal_id', sa.Text(), nullable=False),
    sa.Column('command', sa.Text(), nullable=False),
    sa.Column('args', postgresql.JSONB(astext_type=sa.Text()), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('expires_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('decided_at', sa.DateTime(timezone=True), nullable=True),
    sa.PrimaryKeyConstraint('id', name=op.f('proposals_pkey')),
    schema='runbell'
    )
    op.create_index('proposals_open_ix', 'proposals', ['tenant', 'channel', 'conversation', 'principal_id'], unique=False, schema='runbell', postgresql_where=sa.text('decided_at IS NULL'))
    op.create_table('transcript',
    sa.Column('id', sa.BigInteger(), sa.Identity(always=True), nullable=False),
    sa.Column('tenant', sa.Text(), nullable=False),
    sa.Column('channel', sa.Text(), nullable=False),
    sa.Column('conversation', sa.Text(), nullable=False),
    sa.Column('message_id', sa.Uuid(as_uuid=False), nullable=True),
    sa.Column('run_id', sa.Text(), nullable=True),
    sa.Column('principal_id', sa.Text(), nullable=True),
    sa.Column('role', sa.Text(), nullable=False),
    sa.Column('body', postgresql.JSONB(astext_type=sa.Text()), nullable=False),
    sa.Column('at', sa.DateTime(timezone=True), server_default=sa.text('clock_timestamp()'), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('transcript_pkey')),
    schema='runbell'
    )
    op.create_index('transcript_conversation_ix', 'transcript', ['tenant', 'channel', 'conversation', 'id'], unique=False, schema='runbell')
    op.create_index('transcript_principal_ix', 'transcript', ['principal_id'], unique=False, schema='runbell')
    op.create_table('usage',
    sa.Column('id', sa.BigInteger(), sa.Identity(always=True), nullable=False),
    sa.Column('tenant', sa.Text(), nullable=False),
    sa.Column('principal_id', sa.Text(), nullable=True),
    sa.Column('message_id', sa.Uuid(as_uuid=False), nullable=True),
    sa.Column('run_id', sa.Text(), nullable=True),
    sa.Column('op', sa.Text(), nullable=True),
    sa.Column('model', sa.Text(), nullable=False),
    sa.Column('tokens_in', sa.Integer(), nullable=False),
    sa.Column('tokens_out', sa.Integer(), nullable=False),
    sa.Column('first_token_ms', sa.Float(), nullable=True),
    sa.Column('total_ms', sa.Float(), nullable=False),
    sa.Column('at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('usage_pkey')),
    schema='runbell'
    )
    op.create_index('usage_at_ix', 'usage', ['at'], unique=False, schema='runbell')
    op.create_table('workers',
    sa.Column('id', sa.Text(), nullable=False),
    sa.Column('location', sa.Text(), nullable=False),
    sa.Column('pid', sa.Integer(), nullable=False),
    sa.Column('threads', sa.SmallInteger(), nullable=False),
    sa.Column('busy', sa.SmallInteger(), server_default='0', nullable=False),
    sa.Column('version', sa.Text(), server_default='', nullable=False),
    sa.Column('state', sa.Text(), server_default='ready', nullable=False),
    sa.Column('started_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('heartbeat_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('workers_pkey')),
    schema='runbell'
    )
    op.create_table('accounts',
    sa.Column('tenant', sa.Text(), nullable=False),
    sa.Column('channel', sa.Text(), nullable=False),
    sa.Column('account', sa.Text(), nullable=False),
    sa.Column('principal_id', sa.Text(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.ForeignKeyConstraint(['principal_id'], ['runbell.principals.id'], name=op.f('accounts_principal_id_fkey'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('tenant', 'channel', 'account', name=op.f('accounts_pkey')),
    schema='runbell'
    )
    op.create_table('run_queue',
    sa.Column('run_id', sa.Text(), nullable=False),
    sa.Column('seq', sa.BigInteger(), sa.Identity(always=True), nullable=False),
    sa.Column('location', sa.Text(), nullable=False),
    sa.Column('job', sa.Text(), nullable=False),
    sa.Column('request', postgresql.JSONB(astext_type=sa.Text()), nullable=True),
    sa.Column('message_id', sa.Uuid(as_uuid=False), nullable=True),
    sa.Column('tenant', sa.Text(), server_default='default', nullable=False),
    sa.Column('principal_id', sa.Text(), nullable=True),
    sa.Column('priority', sa.SmallInteger(), server_default='0', nullable=False),
    sa.Column('state', sa.Text(), server_default='queued', nullable=False),
    sa.Column('attempts', sa.SmallInteger(), server_default='0', nullable=False),
    sa.Column('claimed_by', sa.Text(), nullable=True),
    sa.Column('token', sa.BigInteger(), nullable=True),
    sa.Column('lease_until', sa.DateTime(timezone=True), nullable=True),
    sa.Column('available_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('cancel_requested_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('parked', postgresql.JSONB(astext_type=sa.Text()), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('finished_at', sa.DateTime(timezone=True), nullable=True),
    sa.CheckConstraint("state in ('queued','running','parked','finished')", name=op.f('run_queue_state_check')),
    sa.ForeignKeyConstraint(['message_id'], ['runbell.inbox.id'], name=op.f('run_queue_message_id_fkey'), ondelete='SET NULL'),
    sa.PrimaryKeyConstraint('run_id', name=op.f('run_queue_pkey')),
    schema='runbell'
    )
    op.create_index('run_queue_message_ix', 'run_queue', ['message_id'], unique=False, schema='runbell')
    op.create_index('run_queue_ready_ix', 'run_queue', ['location', 'priority', 'seq'], unique=False, schema='runbell', postgresql_where=sa.text("state != 'finished'"))


def downgrade() -> None:
    op.drop_index('run_queue_ready_ix', table_name='run_queue', schema='runbell', postgresql_where=sa.text("state != 'finished'"))
    op.drop_index('run_queue_message_ix', table_name='run_queue', schema='runbell')
    op.drop_table('run_queue', schema='runbell')
    op.drop_table('accounts', schema='runbell')
    op.drop_table('workers', schema='runbell')
    op.drop_index('usage_at_ix', table_name='usage', schema='runbell')
    op.drop_table('usage', schema='runbell')
    op.drop_index('transcript_principal_ix', table_name='transcript', schema='runbell')
    op.drop_index('transcript_conversation_ix', table_name='transcript', schema='runbell')
    op.drop_table('transcript', schema='runbell')
    op.drop_index('proposals_open_ix', table_name='proposals', schema='runbell', postgresql_where=sa.text('decided_at IS NULL'))
    op.drop_table('proposals', schema='runbell')
    op.drop_index('progress_at_ix', table_name='progress', schema='runbell')
    op.drop_table('progress', schema='runbell')
    op.drop_table('principals', schema='runbell')
    op.drop_index('outbox_turn_ix', table_name='outbox', schema='runbell', postgresql_where=sa.text("state IN ('queued', 'sending')"))
    op.drop_index('outbox_ready_ix', table_name='outbox', schema='runbell', postgresql_where=sa.text("state IN ('queued', 'sending')"))
    op.drop_index('outbox_message_ix', table_name='outbox', schema='runbell')
    op.drop_table('outbox', schema='runbell')
    op.drop_index('op_outputs_at_ix', table_name='op_outputs', schema='runbell')
    op.drop_table('op_outputs', schema='runbell')
    op.drop_index('op_logs_at_ix', table_name='op_logs', schema='runbell')
    op.drop_table('op_logs', schema='runbell')
    op.drop_index('inbox_turn_ix', table_name='inbox', schema='runbell', postgresql_where=sa.text("state IN ('received', 'running')"))
    op.drop_index('inbox_run_ix', table_name='inbox', schema='runbell')
    op.drop_index('inbox_ready_ix', table_name='inbox', schema='runbell', postgresql_where=sa.text("state = 'received'"))
    op.drop_index('inbox_accepted_ix', table_name='inbox', schema='runbell')
    op.drop_table('inbox', schema='runbell')
    op.drop_table('conversations', schema='runbell')
    op.drop_table('commands', schema='runbell')
    op.execute('drop sequence runbell.lease_tokens')
