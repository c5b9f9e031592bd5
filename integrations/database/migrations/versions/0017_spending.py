"""What tenants have spent by day, kept with the ledger; and what requests under way may cost, for all processes alike."""

import sqlalchemy as sa
from alembic import op

revision = '0017'
down_revision = '0016'

_KEEP = """
    create function runbell.keep_spending() returns trigger language plpgsql as $$
    begin
      insert into runbell.spending as s (tenant, day, price)
        values (new.tenant, cast(new.at at time zone 'utc' as date), new.price)
        on conflict (tenant, day) do update set price = s.price + excluded.price;
      return null;
    end $$"""
_SO_FAR = """
    insert into runbell.spending (tenant, day, price)
      select tenant, cast(at at time zone 'utc' as date), sum(price) from runbell.usage where price > 0 group by 1, 2"""
# Each statement of the function sees what was committed before the lock was given.
_HOLD = """
    create function runbell.hold(
      who text, prices float8[], per_day float8, per_month float8, seconds float8,
      out hold bigint, out remaining float8, out spent_today float8, out spent_this_month float8)
    language plpgsql as $$
    declare today date := cast(now() at time zone 'utc' as date);
    begin
      perform pg_advisory_xact_lock(hashtextextended('runbell.hold ' || who, 0));
      delete from runbell.holds where tenant = who and until < clock_timestamp();
      -- One statement: a line that takes a hold's place meanwhile is counted once, as the one or as the other.
      select spent.today, spent.this_month,
          greatest(least(per_day - spent.today, per_month - spent.this_month) - held.price, 0)
        into spent_today, spent_this_month, remaining
        from
          (select coalesce(sum(price) filter (where day = today), 0) as today, coalesce(sum(price), 0) as this_month
            from runbell.spending where tenant = who and day >= cast(date_trunc('month', today) as date)) as spent,
          (select coalesce(sum(price), 0) as price from runbell.holds where tenant = who) as held;
      insert into runbell.holds (tenant, price, until)
        select who, max(price), clock_timestamp() + make_interval(secs => seconds)
        from unnest(prices) as price where price > 0 and price <= remaining having count(*) > 0
        returning id into hold;
    end $$"""


def upgrade() -> None:
    op.create_table(
        'spending',
        sa.Column('tenant', sa.Text(), nullable=False),
        sa.Column('day', sa.Date(), nullable=False),
        sa.Column('price', sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint('tenant', 'day', name=op.f('spending_pkey')),
        schema='runbell',
    )
    op.create_table(
        'holds',
        sa.Column('id', sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column('tenant', sa.Text(), nullable=False),
        sa.Column('price', sa.Float(), nullable=False),
        sa.Column('until', sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint('id', name=op.f('holds_pkey')),
        schema='runbell',
    )
    op.create_index('holds_tenant_ix', 'holds', ['tenant'], schema='runbell')
    op.execute(_SO_FAR)
    op.execute(_KEEP)
    op.execute("""
        create trigger keep_spending after insert on runbell.usage for each row when (new.price > 0)
          execute function runbell.keep_spending()""")
    op.execute(_HOLD)
