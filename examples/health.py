"""`/health URL…` — are these web addresses up, how fast, and how long do their certificates last?"""

import asyncio

import dagster as dg
from pydantic import Field

from examples.probing import Finding, probe
from orchestration.authoring import command

MOST = 20


class Health(dg.Config):
    urls: list[str] = Field(
        min_length=1,
        max_length=MOST,
        description="Web addresses or host names",
        json_schema_extra={"description_zh": "网址或主机名"},
    )
    timeout_s: float = Field(
        default=5.0,
        gt=0,
        le=30,
        description="Seconds that each may take",
        json_schema_extra={"description_zh": "每个最多等待的秒数"},
    )


@dg.op
def check(context: dg.OpExecutionContext, config: Health) -> list[Finding]:
    """Ask all addresses at once, each within the time limit."""
    findings = asyncio.run(_probe_all(config))
    context.add_output_metadata(
        {
            "addresses": len(findings),
            "up": sum(finding.up for finding in findings),
            "slowest_ms": max((finding.milliseconds or 0.0) for finding in findings),
        }
    )
    return findings


async def _probe_all(config: Health) -> list[Finding]:
    return await asyncio.gather(*(probe(url, timeout_s=config.timeout_s) for url in config.urls))


@dg.op
def write_health_report(context: dg.OpExecutionContext, findings: list[Finding]) -> str:
    """Put the findings into a table, what is down first."""
    up = sum(finding.up for finding in findings)
    rows = [finding.as_row() for finding in sorted(findings, key=lambda finding: finding.up)]
    table = "\n".join(["| | address | answer | time | certificate |", "|---|---|---|---|---|", *rows])
    context.add_output_metadata({"report": dg.MetadataValue.md(table)})
    return f"**{up} of {len(findings)} up**\n\n{table}"


@command(
    effect="read",
    allowed="everyone",
    description_zh="检查网址或主机是否正常、响应多快、证书何时到期",
    aliases=["体检", "健康检查"],
    examples=[
        "Is example.com up?",
        "Check whether our servers answer",
        "Which of these sites is slow or down?",
        "How long is the certificate of example.com valid?",
        "example.com 还活着吗？",
        "检查一下网站是不是挂了",
        "看看哪些网址打不开",
        "这个网站能打开吗？",
    ],
)
@dg.job(executor_def=dg.in_process_executor)
def health() -> None:
    """Check whether web sites and servers answer, how fast, and when their certificates expire."""
    write_health_report(check())
