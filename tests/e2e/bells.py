"""A code location for the whole-platform tests: jobs that can be watched, killed and timed."""

import os
import time
from datetime import timedelta
from pathlib import Path

import dagster as dg

from integrations.database import Database
from integrations.messages import Address, OutboundMessage
from integrations.settings import Settings
from orchestration.authoring import Approval, command
from orchestration.events import Event, files, on_event
from orchestration.resources import build
from orchestration.waiting import wait_for_approval, wait_for_event

MARKS = Path(os.environ.get("RUNBELL_HOME", ".runbell")) / "marks"


class Marked(dg.Config):
    """Where to leave marks, and how long to take."""

    name: str
    seconds: float = 0.0


@dg.op
def first(config: Marked) -> str:
    """Leave a mark."""
    MARKS.mkdir(exist_ok=True)
    with (MARKS / config.name).open("a") as marks:
        marks.write("first\n")
    return config.name


@dg.op
def linger(context: dg.OpExecutionContext, name: str) -> str:
    """Wait until the file NAME.go is there; says so on stdout."""
    print("lingering")  # noqa: T201 - captured and shown in the UI
    context.log.info("waiting for %s.go", name)
    until = time.monotonic() + 60
    while not (MARKS / f"{name}.go").exists() and time.monotonic() < until:
        time.sleep(0.02)
    return name


@dg.op
def last(name: str) -> str:
    """Leave a mark and answer with all marks."""
    with (MARKS / name).open("a") as marks:
        marks.write("last\n")
    return "marks: " + " ".join((MARKS / name).read_text().split())


@dg.job(description="Leave a mark, wait for a signal, leave another.")
def marks() -> None:
    """Leave two marks."""
    last(linger(first()))


@dg.op
def burst() -> str:
    """Fail with a secret-looking text."""
    raise ValueError("the boiler burst")


@dg.job(description="Always fails.")
def boiler() -> None:
    """Fail."""
    burst()


@dg.op
def allowed(context: dg.OpExecutionContext, name: str, approval: dict[str, str]) -> str:
    """Leave a mark once somebody has said yes."""
    with (MARKS / name).open("a") as marks:
        marks.write("allowed\n")
    return f"{context.run_id} was allowed by {approval['by']}"


@dg.job(description="Leave a mark, wait for a yes for days, leave another.")
def asking() -> None:
    """Wait for the event `bell-approved` with the name as its key."""
    name = first()
    allowed(name, wait_for_event("bell-approved", timedelta(days=3), key=name))


BOSSES = Approval(approvers=["slack:UBOSS", "slack:UDEPUTY"], conversation=Address(channel="slack", conversation="C1"))
CASHIER = Approval(approvers=["telegram:8"], conversation=Address(channel="telegram", conversation="2"))


class Order(dg.Config):
    """What is paid."""

    order: int


@dg.op
def pay(config: Order) -> str:
    """Leave a mark for each payment."""
    return paid(config.order)


def paid(order: int) -> str:
    MARKS.mkdir(exist_ok=True)
    with (MARKS / "paid").open("a") as marks:
        marks.write(f"{order}\n")
    return f"Order {order} is paid."


@command("pay", effect="destructive", approval=CASHIER)
@dg.job
def paying() -> None:
    """Pay an order, once the cashier on Telegram agrees."""
    pay()


@dg.op
def look_up(config: Order) -> dict[str, int]:
    """Look the order up."""
    return {"order": config.order}


@dg.op
def pay_up(order: dict[str, int], approval: dict[str, object]) -> str:
    """Leave a mark for each payment."""
    return paid(order["order"])


@command("settle", effect="destructive")
@dg.job
def settling() -> None:
    """Pay an order, once a boss on Slack agrees in the middle of the run."""
    order = look_up()
    pay_up(order, wait_for_approval("Settle this order?", BOSSES, details=order))


@dg.op
def fetch() -> str:
    """Bring the part."""
    return "the clapper"


@dg.op
def mend(part: str) -> str:
    """Fail until the file `mended` is there."""
    if not (MARKS / "mended").exists():
        raise ValueError(f"{part} is still cracked")
    return part


@dg.op
def fit(part: str) -> str:
    """Put the part in its place."""
    return f"{part} is fitted"


@dg.job(description="Fails until something is mended.")
def repair() -> None:
    """Fetch, mend, fit."""
    fit(mend(fetch()))


@dg.op
def strike(context: dg.OpExecutionContext, database: dg.ResourceParam[Database]) -> None:
    """Post into the tower's conversation, once per run."""
    message = OutboundMessage(address=Address(channel="web", conversation="tower"), text="dong", kind="post")
    database.outbox.post(message, key=f"strike:{context.run_id}")


@dg.job(description="Strike the hour into the conversation web/tower.")
def clock() -> None:
    """Strike."""
    strike()


@dg.schedule(job=clock, cron_schedule="* * * * *", default_status=dg.DefaultScheduleStatus.RUNNING)
def every_minute() -> dg.RunRequest:
    """Strike every minute."""
    return dg.RunRequest()


@dg.job
def noted() -> None:
    """Leave one mark."""
    first()


@on_event(files(f"{MARKS.absolute()}/arrived/*.txt", from_start=True), job=noted)
def note_arrived(event: Event) -> dict[str, object]:
    """Note each file that arrives."""
    return {"name": f"{event['name']}.seen"}


defs = dg.Definitions(
    jobs=[marks, asking, paying, settling, boiler, repair, clock, noted],
    schedules=[every_minute],
    sensors=[note_arrived],
    resources=build(Settings()),
)
