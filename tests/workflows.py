"""Plain Dagster jobs with every kind of config that a command can take, for tests."""

from enum import Enum
from typing import Literal

import dagster as dg
from pydantic import Field

from orchestration.authoring import command, not_a_command


class Region(Enum):
    EUROPE = "eu"
    AMERICA = "us"
    ASIA = "亚洲"


class Greet(dg.Config):
    name: str = Field(description="Whom to greet.", json_schema_extra={"description_zh": "要问候的人。"})
    times: int = Field(default=1, ge=1, le=3)


class Report(dg.Config):
    region: Region
    days: int = Field(default=7, ge=1, le=31)
    ratio: float = Field(default=0.5, gt=0, le=1)
    style: Literal["short", "long"] = "short"
    tags: list[str] = Field(default=[], max_length=3)
    weights: list[float] = Field(default=[])
    chart: bool = True
    note: str | None = None
    limit: int | None = None
    extra: dict[str, int] = Field(default={})


class Secretive(dg.Config):
    key: str = Field(json_schema_extra={"dagster__is_secret": True}, min_length=8)


@dg.op
def greet_op(config: Greet) -> str:
    return ", ".join(["Hello " + config.name] * config.times)


@dg.op
def report_op(config: Report) -> str:
    return repr(config)


@dg.op
def secretive_op(config: Secretive) -> str:
    return str(len(config.key))


@dg.op(config_schema={"url": str, "tries": dg.Field(int, default_value=3, description="How often")})
def legacy_op(context: dg.OpExecutionContext) -> str:
    return str(context.op_config)


@dg.op(config_schema={"how": dg.Selector({"fast": int, "slow": str})})
def selective_op(context: dg.OpExecutionContext) -> str:
    return str(context.op_config)


@dg.op
def word_op(config: str) -> str:
    return config


@dg.op
def second_greet_op(config: Greet) -> str:
    return config.name


@dg.graph
def nested():
    return greet_op()


@command(
    examples=["Greet Ada", "向小王问好"],
    aliases=["hi", "问好"],
    description_zh="打招呼",
)
@dg.job
def greet() -> None:
    """Say hello to somebody."""
    greet_op()


@dg.job
def report() -> None:
    report_op()


@dg.job(config={"ops": {"report_op": {"config": {"region": "ASIA", "days": 3}}}})
def weekly() -> None:
    report_op()


@dg.job
def legacy() -> None:
    legacy_op()


@dg.job
def selective() -> None:
    selective_op()


@dg.job
def echo() -> None:
    word_op()


@dg.job
def deep() -> None:
    nested()


@dg.job
def both() -> None:
    greet_op()
    second_greet_op()


@dg.job
def secretive() -> None:
    secretive_op()


@command(hidden=True)
@dg.job
def hidden() -> None:
    greet_op()


@not_a_command
@dg.job
def internal() -> None:
    greet_op()


@dg.job
def status() -> None:
    greet_op()


@dg.job(partitions_def=dg.StaticPartitionsDefinition(["a", "b"]))
def partitioned() -> None:
    greet_op()


@dg.config_mapping
def simplified(config: Greet) -> dg.RunConfig:
    return dg.RunConfig(ops={"greet_op": Greet(name=config.name.upper(), times=config.times)})


@dg.job(config=simplified)
def mapped() -> None:
    greet_op()


class Place(dg.ConfigurableResource):
    endpoint: str


@dg.op
def needs_resource(place: Place) -> str:
    return place.endpoint


@dg.job(resource_defs={"place": Place.configure_at_launch()})
def unreachable() -> None:
    needs_resource()


defs = dg.Definitions(
    jobs=[
        greet,
        report,
        weekly,
        legacy,
        selective,
        echo,
        deep,
        both,
        secretive,
        hidden,
        internal,
        status,
        partitioned,
        mapped,
        unreachable,
    ]
)
