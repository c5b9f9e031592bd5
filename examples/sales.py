"""`/sales [by=month|region|product]` — figures of the sample shop, with a chart in the chat."""

from pathlib import Path
from typing import Literal

import dagster as dg
from pydantic import Field

from examples.charting import draw_bars
from examples.shop import Figures, figures
from integrations.messages import Reply
from orchestration.authoring import command


class Sales(dg.Config):
    by: Literal["month", "region", "product"] = Field(
        default="month", description="What to group by", json_schema_extra={"description_zh": "按什么汇总"}
    )
    year: int = Field(
        default=2026, ge=2025, le=2026, description="Which year", json_schema_extra={"description_zh": "哪一年"}
    )


@dg.op
def query_sales(context: dg.OpExecutionContext, config: Sales) -> Figures:
    """Sum the orders in the database, which is opened read-only."""
    found = figures(config.by, config.year)
    context.add_output_metadata(
        {"rows": len(found.rows), "revenue": found.revenue, "sql": dg.MetadataValue.md(found.sql)}
    )
    return found


@dg.op
def draw_chart(context: dg.OpExecutionContext, found: Figures) -> str:
    """Draw the revenue as bars; returns the path of the picture."""
    path = draw_bars(found)
    context.add_output_metadata({"chart": dg.MetadataValue.path(path), "bytes": path.stat().st_size})
    return str(path)


@dg.op
def write_sales_report(found: Figures, chart: str) -> Reply:
    """Answer with the figures, and the chart beside them."""
    rows = [f"| {row.name} | {row.orders:,} | {row.revenue:,.2f} |" for row in found.rows]
    best = max(found.rows, key=lambda row: row.revenue)
    text = "\n".join(
        [
            f"**Sales of {found.year} by {found.by}**: {found.revenue:,.2f} in {found.orders:,} orders; "
            f"best is {best.name} with {best.revenue:,.2f}.",
            "",
            f"| {found.by} | orders | revenue |",
            "|---|---:|---:|",
            *rows,
        ]
    )
    return Reply(text=text, files=(Path(chart),))


@command(
    effect="read",
    allowed="everyone",
    description_zh="示例商店的销售报表，附图表",
    aliases=["销售", "销售报表"],
    examples=[
        "Show me the sales",
        "How much did we sell per region?",
        "Chart the revenue by product",
        "Which product sold best in 2025?",
        "看一下销售额",
        "按地区画出营收图表",
        "哪些产品卖得最好？",
    ],
)
@dg.job(executor_def=dg.in_process_executor)
def sales() -> None:
    """Report the sales of the sample shop from its database, with a chart."""
    found = query_sales()
    write_sales_report(found, draw_chart(found))
