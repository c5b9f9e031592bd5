"""The code location `core` of an installation under fire: small jobs of every shape, without models.

Each answers with its own name and number, so that an answer tells whose it is. What acts on the outside writes one
line with its idempotency key into a file that nobody kills.
"""

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg

from benchmarks.faults.traffic import EVENT
from integrations.settings import Settings
from orchestration.resources import build
from orchestration.waiting import wait_for_event, wait_until
from serving.client import ScriptedModels

OUTSIDE = Path(os.environ.get("RUNBELL_HOME", ".runbell")) / "outside.txt"

build(Settings(), models=ScriptedModels())


class Numbered(dg.Config):
    n: int


@dg.op
def number(config: Numbered) -> int:
    time.sleep(0.1)
    return config.n


@dg.op
def step(context: dg.OpExecutionContext, value: int) -> int:
    context.log.info("at %s", value)
    print(f"step of {value}")  # captured
    time.sleep(0.2)
    return value


@dg.op
def tell(context: dg.OpExecutionContext, value: int) -> str:
    return f"{context.job_name} {value}"


@dg.job
def tally() -> None:
    """Five ops in a row."""
    tell(step.alias("third")(step.alias("second")(step(number()))))


@dg.op(tags={"runbell/acts": "true"})
def strike(context: dg.OpExecutionContext, value: int) -> int:
    # One write of a short line to a file opened for appending is whole.
    with OUTSIDE.open("a") as outside:
        outside.write(f"{context.run_id}/{context.op_handle}\n")
    time.sleep(0.15)
    return value


@dg.job
def ring() -> None:
    """Act on the outside, between two other ops."""
    tell(step(strike(number())))


@dg.op(out=dg.DynamicOut(int))
def spread(value: int) -> Iterator[dg.DynamicOutput[int]]:
    for index in range(4):
        yield dg.DynamicOutput(value, mapping_key=f"k{index}")


@dg.op
def gather(values: list[int]) -> int:
    return sum(values) // len(values)


@dg.job
def fan() -> None:
    """Fan out over four ops and gather."""
    tell(gather(spread(number()).map(step).collect()))


@dg.op(ins={"after": dg.In(dg.Nothing)})
def soon() -> datetime:
    return datetime.now(UTC) + timedelta(seconds=1.5)


@dg.op(ins={"after": dg.In(dg.Nothing)})
def value_after(value: int) -> int:
    return value


@dg.job
def pause() -> None:
    """Park until an instant."""
    value = number()
    tell(value_after(value, after=wait_until(soon(after=value))))


@dg.op
def event_key(value: int) -> str:
    return str(value)


@dg.op
def value_of(body: dict[str, int]) -> int:
    return body["n"]


@dg.job
def await_go() -> None:
    """Park until an event with the number as its key."""
    tell(value_of(wait_for_event(EVENT, timedelta(hours=1), key=event_key(number()))))


@dg.op(retry_policy=dg.RetryPolicy(max_retries=1, delay=1.5))
def stumble_later(context: dg.OpExecutionContext, value: int) -> int:
    if context.retry_number == 0:
        raise RuntimeError("not at the first time")
    return value


@dg.op(retry_policy=dg.RetryPolicy(max_retries=1))
def stumble_once(context: dg.OpExecutionContext, value: int) -> int:
    if context.retry_number == 0:
        raise RuntimeError("not at the first time")
    return value


@dg.job
def stumble() -> None:
    """Retry at once, then after a pause that parks."""
    tell(stumble_later(stumble_once(number())))


@dg.op
def stock(context: dg.OpExecutionContext, value: int) -> bytes:
    context.log_event(dg.AssetMaterialization("stock", metadata={"n": value}))
    return value.to_bytes(4) * 20_000


@dg.op
def weigh(content: bytes) -> int:
    return int.from_bytes(content[:4])


@dg.job
def store() -> None:
    """Tell of an asset, and hand on an output that is a file."""
    tell(weigh(stock(number())))


@dg.sensor(job=tally, minimum_interval_seconds=5, default_status=dg.DefaultSensorStatus.RUNNING)
def metronome(context: dg.SensorEvaluationContext) -> dg.RunRequest:
    """Ask for one run per tick; the cursor makes the run keys."""
    beat = int(context.cursor or 0) + 1
    context.update_cursor(str(beat))
    return dg.RunRequest(run_key=str(beat), run_config={"ops": {"number": {"config": {"n": beat}}}})


defs = dg.Definitions(jobs=[tally, ring, fan, pause, await_go, stumble, store], sensors=[metronome])
