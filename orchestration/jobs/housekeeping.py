"""Job `housekeeping`: delete what has been kept for long enough. Runs every night; days in `[retention]`."""

import dagster as dg

from orchestration.ops.housekeeping import sweep_memory, sweep_messages, sweep_runs, told_housekeeping


@dg.job(
    executor_def=dg.in_process_executor,
    metadata={"runbell/hidden": True, "runbell/description/zh": "删除过期的数据"},
)
def housekeeping() -> None:
    """Delete what has been kept for long enough."""
    told_housekeeping(sweep_messages(), sweep_runs(), sweep_memory())
