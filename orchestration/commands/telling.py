"""`/show` and `/why`: what became of one run, and where its time went."""

from collections.abc import Iterator
from datetime import datetime
from zoneinfo import ZoneInfo

from integrations.database import Database, MessageView, QueuedRun
from integrations.messages import Receipt
from integrations.settings import Settings
from orchestration.commands.asker import Asker
from orchestration.commands.costs import OF_MODELS, in_ms, together, took

LONGEST = 300
"""Characters of a text that are shown."""
_STAGES = (
    ("claimed_at", "waited for a worker", "等待工作进程"),
    ("started_at", "routed and made the run", "分派并创建运行"),
    ("first_token_at", "worked until the first word", "产生首个词"),
    ("replied_at", "worked until the answer", "产生答案"),
    ("delivered_at", "delivered it", "送达"),
)


def seen_by(asker: Asker, settings: Settings, at: datetime) -> str:
    """Write an instant in the asker's time zone, or in that of this installation."""
    zone = asker.principal.timezone or settings.schedules.timezone
    local = at.astimezone(ZoneInfo(zone)).replace(microsecond=0)
    return f"{local:%Y-%m-%d %H:%M:%S} {zone if zone == 'UTC' else f'({local.isoformat()[-6:]})'}"


def show(database: Database, settings: Settings, run: QueuedRun, asker: Asker) -> str:
    """Tell what a run is, where it stands, what was asked and answered."""
    view = database.inbox.get(run.message_id) if run.message_id else None
    say, at = asker.say, seen_by(asker, settings, run.created_at)
    status = view.status.value if view else run.state
    lines = [
        f"**{run.job}** [{run.run_id[:8]}]({settings.run_url(run.run_id)}) · {status} · {at}",
        *([say(f"Asked: {_short(view.text)}", f"请求：{_short(view.text)}")] if view and view.text else []),
        *([say(f"Waits for: {_reasons(run)}", f"等待：{_reasons(run)}")] if run.state == "parked" else []),
        *([say(f"Attempts: {run.attempts}", f"尝试次数：{run.attempts}")] if run.attempts > 1 else []),
        *([say(f"Error: {_short(view.error)}", f"错误：{_short(view.error)}")] if view and view.error else []),
        *([say(f"Answered: {_short(r.text)}", f"答复：{_short(r.text)}") for r in view.replies[:3]] if view else []),
    ]
    return "\n".join(lines)


def why(database: Database, settings: Settings, run: QueuedRun, asker: Asker) -> str:
    """Tell where the time of a run's message went, and what its model took."""
    view = database.inbox.get(run.message_id) if run.message_id else None
    if view is None or view.receipt.accepted_at is None:
        return asker.say(
            f"No message started that run; its [page]({settings.run_url(run.run_id)}) shows each op's time.",
            f"该运行不是由消息触发的；[运行页面]({settings.run_url(run.run_id)})显示每一步的时间。",
        )
    lines = [asker.say(f"**{run.job}** took {_total(view)}", f"**{run.job}** 共用时 {_total(view)}")]
    lines += [f"- {asker.say(english, chinese)}: {in_ms(taken)}" for english, chinese, taken in stages(view.receipt)]
    asked = database.usage.of_run(run.run_id)
    lines += [took(one, asker) for one in asked]
    if len(asked) > 1 and any(one.price for one in asked):
        lines.append(together(asked, asker))
    return "\n".join(lines)


def is_stage(line: str) -> bool:
    """Whether a line of `why` tells of a stage or of the model: which of them there are depends on when one asks."""
    stages = [f"- {words}: " for _, *both in _STAGES for words in both]
    return line.startswith((*stages, *OF_MODELS))


def stages(receipt: Receipt) -> Iterator[tuple[str, str, float]]:
    """Yield the stages that were reached, in English and Chinese, each with its milliseconds."""
    before = receipt.accepted_at
    for name, english, chinese in _STAGES:
        reached: datetime | None = getattr(receipt, name)
        if reached is None or before is None:
            continue
        yield english, chinese, max((reached - before).total_seconds(), 0.0) * 1000
        before = max(reached, before)


def _total(view: MessageView) -> str:
    receipt = view.receipt
    reached = [at for at in (receipt.delivered_at, receipt.replied_at, receipt.started_at) if at is not None]
    began = receipt.accepted_at
    return in_ms((reached[0] - began).total_seconds() * 1000) if reached and began else "…"


def _reasons(run: QueuedRun) -> str:
    return _short(str((run.parked or {}).get("reason", "")))


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= LONGEST else line[:LONGEST] + "…"
