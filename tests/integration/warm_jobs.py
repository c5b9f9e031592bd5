"""Jobs that the warm runtime's tests run, as a user's code location has them."""

import os
import subprocess
import threading
import time
from collections.abc import Generator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import dagster as dg

from integrations.errors import InvalidInput
from integrations.messages import Address, OutboundMessage, Reply
from integrations.settings import Settings
from orchestration.arguments import Choices
from orchestration.authoring import Approval, command
from orchestration.waiting import await_approval, await_event, wait_for_approval, wait_for_event, wait_until
from orchestration.warm.assembly import open_database


class Count(dg.Config):
    start: int = 1


@dg.op
def one(config: Count) -> int:
    return config.start


@dg.op
def more(context: dg.OpExecutionContext, value: int) -> int:
    context.log.info("adding to %s", value)
    print(f"value {value} in {context.run_id}")  # noqa: T201 - captured
    return value + 1


@dg.op
def told(value: int) -> str:
    return f"it is {value}"


@dg.job(tags={"team": "tests"})
def five() -> None:
    told(more.alias("more_3")(more.alias("more_2")(more(one()))))


@dg.op(out=dg.DynamicOut(int))
def fan(count: int):
    for index in range(count):
        yield dg.DynamicOutput(index, mapping_key=f"k{index}")


@dg.op
def double(value: int) -> int:
    return value * 2


@dg.op
def total(values: list[int]) -> str:
    return f"total {sum(values)}"


@dg.job
def dynamic() -> None:
    total(fan(more(one())).map(double).collect())


@dg.job
def dynamic_leaves() -> None:
    fan(more(one())).map(told)


@dg.op(out={"left": dg.Out(int, is_required=False), "right": dg.Out(int, is_required=False)})
def either(value: int):
    yield dg.Output(value, "left")


@dg.op
def after_left(value: int) -> str:
    return f"left {value}"


@dg.op
def after_right(value: int) -> str:
    return f"right {value}"


@dg.op
def join(texts: list[str]) -> str:
    return " and ".join(texts)


@dg.job
def optional() -> None:
    left, right = either(one())
    join([after_left(left), after_right(right)])


@dg.op
def broken(value: int) -> int:
    raise ValueError(f"no good: {value}")


@dg.job
def failing() -> None:
    told(broken(one()))
    more(one.alias("another")())


@dg.op
def mended(value: int) -> int:
    """Fail until somebody has mended what is wrong."""
    if not (Path(os.environ["WARM_TEST_FOLDER"]) / "mended").exists():
        raise ValueError("still broken")
    return value


@dg.job
def mendable() -> None:
    told(mended(more(one())))


@dg.op
def refusing(value: int) -> int:
    raise InvalidInput("The start must be larger.")


@dg.job
def refused() -> None:
    refusing(one())


_tries: dict[str, int] = {}


@dg.op(retry_policy=dg.RetryPolicy(max_retries=2))
def flaky(context: dg.OpExecutionContext, value: int) -> int:
    _tries[context.run_id] = _tries.get(context.run_id, 0) + 1
    if _tries[context.run_id] < 3:
        raise RuntimeError("not yet")
    return value


@dg.job
def retrying() -> None:
    told(flaky(one()))


@dg.graph
def inner(value: int) -> int:
    return more(more.alias("again")(value))


@dg.job
def nested() -> None:
    told(inner(one()))


@dg.success_hook
def hooked(context: dg.HookContext) -> None:
    context.log.info("hook saw %s", context.op.name)


@dg.job(hooks={hooked})
def with_hooks() -> None:
    told(one())


class Tool(dg.ConfigurableResource[None]):
    label: str = "tool"

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:
        assert context.log is not None
        context.log.info("tool is put away")


@dg.op
def use(tool: Tool, value: int) -> str:
    return f"{tool.label} {value}"


@dg.job
def with_resource() -> None:
    use(value=one())


class Words(list[str]):
    """A plain object."""


@dg.op
def speak(words: dg.ResourceParam[Words]) -> str:
    return " ".join(words)


@dg.job
def with_value() -> None:
    speak()


@dg.op(ins={"start": dg.In(dg.Nothing)})
def nothing_needed() -> None:
    return None


@dg.op
def blob(value: int) -> bytes:
    return b"x" * 100_000 + bytes([value])


@dg.op
def measure(data: bytes) -> str:
    return f"{len(data)} bytes"


@dg.job
def large() -> None:
    nothing_needed(start=measure(blob(one())))


@dg.op
def waits(context: dg.OpExecutionContext, value: int) -> int:
    marker = Path(os.environ["WARM_TEST_FOLDER"]) / f"{context.run_id}.started"
    with marker.open("a") as file:
        file.write("x")
    released = marker.with_suffix(".go")
    for _ in range(6_000):
        if released.exists():
            return value
        time.sleep(0.01)
    raise TimeoutError("nobody released this op")


@dg.op
def noted(context: dg.OpExecutionContext, value: int) -> int:
    with (Path(os.environ["WARM_TEST_FOLDER"]) / f"{context.run_id}.noted").open("a") as file:
        file.write("x")
    return value


@dg.job
def waiting() -> None:
    told(waits(noted(one())))


@contextmanager
def _held(run_id: str) -> Generator[None]:
    """Say that a run is here, wait to be let go on, and say where that failed."""
    with _file(run_id, "started").open("a") as file:
        file.write("x")
    _await(run_id, "go")
    try:
        yield
    except Exception:
        _file(run_id, "failed").touch()
        raise


def _await(run_id: str, name: str) -> None:
    while not _file(run_id, name).exists():
        time.sleep(0.01)


def _file(run_id: str, name: str) -> Path:
    return Path(os.environ["WARM_TEST_FOLDER"]) / f"{run_id}.{name}"


@dg.op
def takes_an_event(context: dg.OpExecutionContext, value: int) -> int:
    with _held(context.run_id):
        return await_event("approved", timedelta(hours=1), context.run_id)["value"]


@dg.job
def taking() -> None:
    told(takes_an_event(noted(one())))


@dg.resource
def gear(context: dg.InitResourceContext) -> None:
    assert context.run is not None
    try:
        with closing(open_database(Settings())) as database, _held(context.run.run_id):
            database.runs.get("nobody")
    finally:
        _await(context.run.run_id, "back")


@dg.op(required_resource_keys={"gear"})
def geared(value: int) -> int:
    return value


@dg.job(resource_defs={"gear": gear})
def equipped() -> None:
    told(geared(noted(one())))


@dg.op
def answers(context: dg.OpExecutionContext) -> str:
    message_id = context.run.tags["runbell/message"]
    with closing(open_database(Settings())) as database:
        view = database.inbox.get(message_id)
        assert view is not None
        reply = OutboundMessage(address=view.address, text="said by the op")
        database.inbox.answer(message_id, [reply], run_id=context.run_id)
    return "not said"


@dg.job
def answering() -> None:
    answers()


@dg.op
def sleeps(value: int) -> int:
    time.sleep(60)
    return value


@dg.job
def sleeping() -> None:
    sleeps(one())


@dg.op
def chatter(context: dg.OpExecutionContext, value: int) -> str:
    for _ in range(5):
        print(f"{context.run_id} on {threading.get_ident()}")  # noqa: T201 - captured
        dg.get_dagster_logger().info("logged by %s", context.run_id)
        time.sleep(0.005)
    return context.run_id


@dg.job
def chatting() -> None:
    chatter(one())


@dg.op
def with_file(value: int) -> Reply:
    path = Path(os.environ["WARM_TEST_FOLDER"]) / "chart.txt"
    path.write_text("a chart")
    return Reply(text=f"see the chart of {value}", files=(path,))


@dg.job
def charted() -> None:
    with_file(one())


@dg.asset
def kept() -> int:
    return 41


@dg.asset
def derived(kept: int) -> int:
    return kept + 1


def _mark(context: dg.OpExecutionContext, name: str) -> None:
    with (Path(os.environ["WARM_TEST_FOLDER"]) / f"{context.run_id}.{name}").open("a") as file:
        file.write("x")


@dg.op
def order(context: dg.OpExecutionContext) -> str:
    _mark(context, "order")
    return "order-7"


@dg.op
def pay(context: dg.OpExecutionContext, approval: dict[str, object]) -> str:
    _mark(context, "pay")
    return f"approved by {approval['by']}"


@dg.job
def approving() -> None:
    pay(wait_for_event("approved", timedelta(hours=1), start=order()))


MANAGERS = Approval(approvers=("manager",), conversation=Address(channel="slack", conversation="C-office"))


@dg.op
def exact(context: dg.OpExecutionContext) -> dict[str, object]:
    _mark(context, "order")
    return {"order": 7, "amount": "12.50"}


@dg.op
def pay_out(context: dg.OpExecutionContext, order: dict[str, object], approval: dict[str, Any]) -> str:
    _mark(context, "pay")
    return f"paid {order['amount']}, approved by {approval['by'][0]['name']}"


@dg.job
def refunding() -> None:
    order = exact()
    pay_out(order, wait_for_approval("Refund this order?", MANAGERS, details=order))


BOSS = Approval(approvers=("slack:UBOSS",), conversation=Address(channel="slack", conversation="C1"))


class Order(dg.Config):
    order: str


@dg.op
def pay_order(context: dg.OpExecutionContext, config: Order) -> str:
    _mark_order(config.order)
    return f"Order {config.order} is paid."


def _mark_order(order: str) -> None:
    with (Path(os.environ["WARM_TEST_FOLDER"]) / "paid").open("a") as file:
        file.write(f"{order}\n")


@command("pay", effect="destructive", approval=BOSS)
@dg.job
def paying() -> None:
    pay_order()


def tills() -> list[str]:
    return (Path(os.environ["WARM_TEST_FOLDER"]) / "tills").read_text().split()


class Till(dg.Config):
    till: Annotated[str, Choices(tills)]


@dg.op
def count_up(config: Till) -> str:
    return config.till


@dg.job
def counting() -> None:
    count_up()


@dg.op
def look_up(config: Order) -> dict[str, object]:
    return {"order": config.order}


@dg.op
def pay_up(order: dict[str, object], approval: dict[str, Any]) -> str:
    _mark_order(str(order["order"]))
    return f"Order {order['order']} is paid, as {approval['by'][0]['reason']}."


@command("settle", effect="write")
@dg.job
def settling() -> None:
    order = look_up()
    pay_up(order, wait_for_approval("Settle this order?", BOSS, details=order))


@dg.op
def pay_if_approved(context: dg.OpExecutionContext) -> str:
    _mark(context, "tries")
    tries = (Path(os.environ["WARM_TEST_FOLDER"]) / f"{context.run_id}.tries").read_text()
    given = await_approval("Pay?", MANAGERS, {"amount": "1" if tries == "x" else "2"})
    return f"approved by {given['by'][0]['name']}"


@dg.job
def changing_its_mind() -> None:
    pay_if_approved()


@dg.job
def approving_by_key() -> None:
    pay(wait_for_event("approved", timedelta(hours=1), key=order()))


@dg.job
def expiring() -> None:
    pay(wait_for_event("approved", timedelta(seconds=1), start=order()))


@dg.op
def soon(context: dg.OpExecutionContext) -> datetime:
    _mark(context, "soon")
    return datetime.now(UTC) + timedelta(seconds=2)


@dg.op
def late(when: datetime) -> str:
    if datetime.now(UTC) < when:
        raise RuntimeError("too early")
    return "late"


@dg.op
def meanwhile(context: dg.OpExecutionContext) -> str:
    _mark(context, "meanwhile")
    return "meanwhile"


@dg.job
def timed() -> None:
    late(wait_until(soon()))
    meanwhile()


@dg.op(retry_policy=dg.RetryPolicy(max_retries=2, delay=1.5))
def slowly_flaky(context: dg.OpExecutionContext, value: int) -> int:
    _mark(context, "tried")
    if context.retry_number < 2:
        raise RuntimeError("not yet")
    return value


@dg.job
def retrying_slowly() -> None:
    told(slowly_flaky(noted(one())))


@dg.op(retry_policy=dg.RetryPolicy(max_retries=1, delay=1.2))
def pauses(context: dg.OpExecutionContext, value: int) -> int:
    if context.retry_number == 0:
        raise RuntimeError("not yet")
    return value


@dg.job
def pausing() -> None:
    told(pauses(noted(one())))


@dg.op(tags={"runbell/timeout_s": "0.5"})
def too_long(context: dg.OpExecutionContext, value: int) -> int:
    while True:
        sum(range(100))


@dg.op(tags={"runbell/timeout_s": "0.5"}, retry_policy=dg.RetryPolicy(max_retries=1))
def too_long_once(context: dg.OpExecutionContext, value: int) -> int:
    if context.retry_number == 0:
        time.sleep(60)
    return value


@dg.job
def overrunning() -> None:
    told(too_long(one()))
    told.alias("told_2")(too_long_once(one.alias("one_2")()))


@dg.op(tags={"runbell/timeout_s": "0.5"})
def in_native_code(context: dg.OpExecutionContext, value: int) -> int:
    subprocess.run(["/bin/sleep", "6"], check=True)  # interrupted only once it returns
    return value


@dg.op
def hangs(value: int) -> int:
    subprocess.run(["/bin/sleep", "6"], check=True)
    return value


@dg.job
def hanging() -> None:
    hangs(one())


@dg.op
def hangs_briefly(value: int) -> int:
    subprocess.run(["/bin/sleep", "3"], check=True)
    return value


@command(time_limit="0.5s")
@dg.job
def hanging_too_long() -> None:
    told(hangs_briefly(one()))


@dg.job
def stuck() -> None:
    told(in_native_code(noted(one())))


@dg.op
def pid(context: dg.OpExecutionContext, value: int) -> str:
    (Path(os.environ["WARM_TEST_FOLDER"]) / f"{context.run_id}.pid").write_text(str(os.getpid()))
    return "told from elsewhere"


@dg.job
def here() -> None:
    pid(one())


@dg.job(tags={"runbell/isolation": "process"})
def approving_apart() -> None:
    pay(wait_for_event("approved", timedelta(hours=1), start=order()))


@dg.job(tags={"runbell/isolation": "process"})
def waiting_apart() -> None:
    waits(noted(one()))
    pid(one.alias("before")())


@dg.job(tags={"runbell/isolation": "elsewhere"})
def isolated_wrongly() -> None:
    told(one())


@dg.job(tags={"runbell/isolation": "ray", "runbell/gpus": "8"})
def isolated_greedily() -> None:
    told(one())


@dg.job(executor_def=dg.multiprocess_executor)
def in_processes() -> None:
    told(one())


@dg.op
def a_second(value: int) -> int:
    time.sleep(1)
    return value


@command(time_limit="1.5s")
@dg.job
def limited() -> None:
    """Each op is quick enough, but not all of them together."""
    told(a_second.alias("third")(a_second.alias("second")(a_second(one()))))


@command(time_limit="0.001s")
@dg.job
def hopeless() -> None:
    """Its time is over when its first op begins."""
    told(one())


@command(allowed="finance")
@dg.job
def guarded() -> None:
    told(one())


defs = dg.Definitions(
    assets=[kept, derived],
    jobs=[
        answering,
        approving,
        approving_apart,
        approving_by_key,
        changing_its_mind,
        charted,
        counting,
        chatting,
        dynamic,
        dynamic_leaves,
        equipped,
        expiring,
        failing,
        guarded,
        hanging,
        hanging_too_long,
        here,
        paying,
        refunding,
        settling,
        five,
        in_processes,
        isolated_greedily,
        isolated_wrongly,
        large,
        limited,
        hopeless,
        mendable,
        nested,
        optional,
        refused,
        retrying,
        retrying_slowly,
        overrunning,
        pausing,
        sleeping,
        stuck,
        taking,
        timed,
        waiting,
        waiting_apart,
        with_hooks,
        with_resource,
        with_value,
        dg.define_asset_job("assets_job", selection="*"),
    ],
    resources={"tool": Tool(), "words": Words(["plain", "words"])},
)
