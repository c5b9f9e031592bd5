"""Commands with every kind of argument, for the table of utterances and for fuzzing."""

from enum import Enum
from typing import Annotated, Literal

import dagster as dg
from pydantic import Field

from orchestration.arguments import Amount, Choices, Day, Duration, File, Instant, Person
from orchestration.authoring import command


def regions() -> list[str]:
    return ["EU", "US", "亚太"]


class Speed(Enum):
    SLOW = "slow"
    FAST = "fast"


class Refund(dg.Config):
    order: int = Field(ge=1, description="Order number")
    amount: Amount = Field(json_schema_extra={"minimum": 0})
    region: Annotated[str, Choices(regions)] = "EU"
    on: Day | None = None


class Remind(dg.Config):
    who: Person
    when: Instant
    text: str


class Deploy(dg.Config):
    environment: Literal["staging", "production"]
    version: str = "latest"
    dry_run: bool = False
    tags: list[str] = Field(default=[], max_length=3)
    speed: Speed = Speed.SLOW
    ratio: float = Field(default=1.0, gt=0, le=1)


class Upload(dg.Config):
    file: File
    keep: Duration = "P7D"


class Report(dg.Config):
    since: Day
    until: Day | None = None
    days: list[int] = Field(default=[])


class Later(dg.Config):
    at: Instant = "tomorrow 9am"
    every: Duration = "1h"


@dg.op
def do_refund(config: Refund) -> str:
    return f"{config.order} {config.amount} {config.region} {config.on}"


@dg.op
def do_remind(config: Remind) -> str:
    return f"{config.who} {config.when} {config.text}"


@dg.op
def do_deploy(config: Deploy) -> str:
    return f"{config.environment} {config.speed}"


@dg.op
def do_upload(config: Upload) -> str:
    return f"{config.file} {config.keep}"


@dg.op
def do_report(config: Report) -> str:
    return f"{config.since} {config.until}"


@dg.op
def do_later(config: Later) -> str:
    return f"{config.at} {config.every}"


@command(aliases=["退款"], description_zh="退款")
@dg.job
def refund() -> None:
    """Pay an order back."""
    do_refund()


@command(aliases=["提醒"])
@dg.job
def remind() -> None:
    """Remind somebody."""
    do_remind()


@command(aliases=["部署", "ship"])
@dg.job
def deploy() -> None:
    """Bring a version out."""
    do_deploy()


@command(aliases=["上传"])
@dg.job
def upload() -> None:
    """Keep a file."""
    do_upload()


@command("period-report", aliases=["报表"])
@dg.job
def period_report() -> None:
    """Report on a period."""
    do_report()


@command()
@dg.job
def later() -> None:
    """Do it later."""
    do_later()


defs = dg.Definitions(jobs=[refund, remind, deploy, upload, period_report, later])
