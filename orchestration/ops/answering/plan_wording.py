"""How a plan is shown before anything of it happens, and what is told of it afterwards: facts, by template."""

from orchestration.actions import Effect
from orchestration.commands.language import Language, pick
from orchestration.ops.answering.plans import Intended, Plan, Result

_EFFECTS: dict[Effect, tuple[str, str]] = {
    "read": ("reads", "只读"),
    "write": ("changes something", "会修改"),
    "destructive": ("destroys", "会破坏"),
}
_OUTCOMES = {"done": ("✓ done", "✓ 已完成"), "failed": ("✗ failed", "✗ 失败"), "refused": ("⛔ refused", "⛔ 已拒绝")}
LONGEST_REASON = 300


def asked(plan: Plan) -> str:
    """Return the question for a yes: each action with its effect, exact arguments and what it may cost."""
    say = plan.language
    before = [_result(one, say) for one in plan.results]
    head = pick(say, "So far:", "目前：")
    actions = "\n\n".join(_intended(place, one, say) for place, one in enumerate(plan.waiting, 1))
    return "\n\n".join(
        [
            *(["\n".join([head, *before])] if before else []),
            pick(say, "Shall I do this?", "要执行以下操作吗？"),
            actions,
            pick(say, "Answer **yes** (to all of it) or **no**.", "请回答**是**（全部执行）或**否**。"),
        ]
    )


def told(plan: Plan) -> str:
    """Return what was done and what was not, whatever the model says of it; nothing where all of it only read."""
    facts = [one for one in plan.results if one.outcome != "done" or one.effect != "read"]
    return "\n".join(_result(one, plan.language) for one in facts)


def _intended(place: int, one: Intended, language: Language) -> str:
    facts = [pick(language, *_EFFECTS[one.effect])]
    if one.approve:
        facts.append(pick(language, "an approver is asked as well", "还需审批人批准"))
    if one.quote:
        facts.append(pick(language, f"costs up to {one.quote}", f"费用至多 {one.quote}"))
    return f"{place}. **{one.title}** ({'; '.join(facts)}): {one.preview}\n```\n{one.shown}\n```"


def _result(one: Result, language: Language) -> str:
    why = f": {' '.join(one.text.split())[:LONGEST_REASON]}" if one.outcome != "done" else ""
    shown = f" `{one.shown[:200]}`" if one.shown else ""
    return f"- {pick(language, *_OUTCOMES[one.outcome])}: {one.title}{shown}{why}"
