"""Job `housekeeping`: delete what has been kept for long enough. Runs every night; days in `[retention]`."""

import dagster as dg

from orchestration.authoring import command
from orchestration.ops.housekeeping import sweep_memory, sweep_messages, sweep_runs, told_housekeeping


@command(hidden=True, allowed="admin", effect="destructive", description_zh="删除过期的数据")
@dg.job(executor_def=dg.in_process_executor)
def housekeeping() -> None:
    """Delete what has been kept for long enough."""
    told_housekeeping(sweep_messages(), sweep_runs(), sweep_memory())
