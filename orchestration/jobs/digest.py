"""Job `digest`: yesterday's messages, runs and failures. `/digest` runs it now, a schedule every morning."""

import dagster as dg

from orchestration.authoring import command
from orchestration.ops.digest import count_day, post_digest, word_digest


@command(
    effect="read",
    description_zh="昨天的消息、运行和失败情况",
    aliases=["日报", "简报"],
    examples=[
        "What happened yesterday?",
        "Give me the daily digest",
        "How many runs failed yesterday?",
        "昨天发生了什么？",
        "给我看看日报",
        "昨天有多少任务失败？",
    ],
)
@dg.job(executor_def=dg.in_process_executor)
def digest() -> None:
    """What happened on a day: messages, runs and failures."""
    post_digest(word_digest(count_day()))
