"""How an approval is shown: its card, the notices around it, and the answers to those who decide."""

from datetime import datetime

from integrations.approvals.policy import spoken
from integrations.approvals.values import Answer, Approval, Decision, NewApproval
from integrations.messages import Address, Card, Choice, Field, OutboundMessage, Principal

MARKS = {"pending": "⏳", "approved": "✅", "denied": "⛔", "expired": "⌛", "voided": "🚫"}
_STATES = {
    "pending": ("waits for a decision", "等待审批"),
    "approved": ("approved", "已批准"),
    "denied": ("denied", "已拒绝"),
    "expired": ("expired: nobody decided in time", "已过期：无人在期限内决定"),
    "voided": ("void", "已作废"),
}
_CARD_STATES = {
    "pending": "waiting",
    "approved": "succeeded",
    "denied": "failed",
    "expired": "failed",
    "voided": "neutral",
}


def card(approval: Approval, address: Address) -> OutboundMessage:
    """Return the message that asks, or that shows how it ended; it carries buttons only while it waits."""
    title = say(approval, f"Approval {approval.id}", f"审批 {approval.id}")
    state = say(approval, *_STATES[approval.state])
    facts = [
        Field(name=say(approval, "Asked by", "申请人"), value=approval.requester_name or "–"),
        Field(name=say(approval, "Approvers", "审批人"), value=approvers(approval)),
        *([Field(name=say(approval, "Effect", "影响"), value=approval.effect)] if approval.effect else []),
        *([Field(name=say(approval, "Until", "截止"), value=instant(approval.expires_at))] if _open(approval) else []),
        *(Field(name=_verdict(approval, one), value=_said(one), short=False) for one in approval.decisions),
        *([Field(name=say(approval, "Why", "原因"), value=approval.why, short=False)] if approval.why else []),
    ]
    head = f"{MARKS[approval.state]} **{title}** · {state}"
    body = f"```\n{approval.shown}\n```"
    lines = "\n".join(f"- {fact.name}: {fact.value}" for fact in facts)
    return OutboundMessage.model_validate(
        {
            "address": address,
            "kind": "notice",
            "text": f"{head}\n\n{body}\n\n{lines}" + (f"\n\n{_how(approval)}" if _open(approval) else ""),
            "choices": choices(approval) if _open(approval) else (),
            "card": Card.model_validate(
                {
                    "title": f"{title} · {state}",
                    "text": body,
                    "state": _CARD_STATES[approval.state],
                    "fields": tuple(facts),
                }
            ),
        }
    )


def reminder(approval: Approval) -> str:
    """Ask again, without buttons: those on the card are the ones that go once it is decided."""
    return say(
        approval,
        f"⏰ `{approval.shown}` (asked by {approval.requester_name or '–'}) still waits. {_how(approval)}",
        f"⏰ `{approval.shown}`（申请人：{approval.requester_name or '–'}）仍在等待审批。{_how(approval)}",
    )


def choices(approval: Approval) -> tuple[Choice, Choice]:
    """Return the two buttons: each says what can be typed as well."""
    return (
        Choice(label=say(approval, "Approve", "批准"), text=f"/approve {approval.id}", style="primary"),
        Choice(label=say(approval, "Deny", "拒绝"), text=f"/deny {approval.id}", style="danger"),
    )


def waits(approval: Approval) -> str:
    """Tell the requester whom their command waits for."""
    return whom(approval) + say(approval, " `/cancel` takes it back.", "`/取消` 可撤回。")


def whom(approval: Approval) -> str:
    """Tell whom something waits for."""
    return say(
        approval,
        f"⏳ `{approval.shown}` waits for approval `{approval.id}` by {approvers(approval)}, until "
        f"{instant(approval.expires_at)}.",
        f"⏳ `{approval.shown}` 正在等待审批 `{approval.id}`（{approvers(approval)}），截止 "
        f"{instant(approval.expires_at)}。",
    )


def ended(approval: Approval) -> str:
    """Tell the requester how it ended, and that nothing was run."""
    who = ", ".join(one.name for one in approval.decisions if one.verdict == "deny")
    reasons = "; ".join(one.reason for one in approval.decisions if one.verdict == "deny" and one.reason)
    why = f": {reasons or approval.why}" if reasons or approval.why else ""
    by = say(approval, f" by {who}", f"（{who}）") if who else ""
    state = say(approval, *_STATES[approval.state])
    return say(
        approval,
        f"{MARKS[approval.state]} Approval `{approval.id}` for `{approval.shown}`: {state}{by}{why}. Nothing was run.",
        f"{MARKS[approval.state]} `{approval.shown}` 的审批 `{approval.id}`：{state}{by}{why}。没有运行任何内容。",
    )


def taken_back(approval: Approval, by: Principal) -> str:
    """Tell that somebody took the request back."""
    return say(approval, f"taken back by {by.name}", f"{by.name} 已撤回")


def pointless(wanted: NewApproval) -> str:
    """Tell why an approval was not even asked for, and what to change."""
    who = spoken(wanted.policy.rules(escalated=True))
    return pick(
        wanted.language,
        f"⛔ `{wanted.shown}` was not run: it wants an approval that only you could give ({who}), and nobody decides "
        "their own request. Let somebody else be an approver (the policy's `approvers`, or who has that role in "
        "`[access]`), or set `requester_may_approve` in the policy.",
        f"⛔ 未运行 `{wanted.shown}`：只有你自己能审批它（{who}），而申请人不能审批自己的申请。请增加其他审批人"
        "（策略中的 `approvers`，或在 `[access]` 中授予该角色），或在策略中设置 `requester_may_approve`。",
    )


def approved(approval: Approval) -> str:
    """Tell the requester who agreed."""
    names = ", ".join(one.name for one in approval.said_yes)
    return say(
        approval,
        f"✅ {names} approved `{approval.shown}` (`{approval.id}`); it goes on now.",
        f"✅ {names} 已批准 `{approval.shown}`（`{approval.id}`），现在继续。",
    )


def answered(answer: Answer, approval_id: str, language: str) -> str:
    """Tell somebody what became of their word."""
    found = answer.approval
    shown = approval_id[:20]
    english, chinese = _ANSWERS[answer.outcome]
    by = [", ".join(one.name for one in found.decisions), found.why] if found else []
    values = {
        "id": shown,
        "what": found.shown if found else "",
        "state": pick(language, *_STATES[found.state]) if found else "",
        "by": f" ({', '.join(filter(None, by))})" if any(by) else "",
        "missing": found.missing if found else 0,
    }
    return pick(language, english, chinese).format(**values)


def line(approval: Approval) -> str:
    """Return one line of a list."""
    return (
        f"- {MARKS[approval.state]} `{approval.id}` `{' '.join(approval.shown.split())}` · "
        f"{approval.requester_name or '–'} · {approvers(approval)} · {instant(approval.expires_at)}"
    )


def approvers(approval: Approval) -> str:
    """Name whom it waits for."""
    policy = approval.policy
    names = spoken(policy.rules(escalated=approval.escalated))
    return names if policy.count == 1 else f"{policy.count} × {names}"


def say(approval: Approval, english: str, chinese: str) -> str:
    """Return the wording in the requester's language."""
    return pick(approval.language, english, chinese)


def pick(language: str, english: str, chinese: str) -> str:
    """Return the wording of a language."""
    return chinese if language == "zh" else english


def instant(at: datetime) -> str:
    """Write an instant."""
    return at.strftime("%Y-%m-%d %H:%M UTC")


def _open(approval: Approval) -> bool:
    return approval.state == "pending"


def _how(approval: Approval) -> str:
    reason = " REASON" if approval.policy.reason_required else ""
    return say(
        approval,
        f"Answer here or anywhere: `/approve {approval.id}{reason}` or `/deny {approval.id}{reason}`.",
        f"可在任意平台回复：`/approve {approval.id}{reason}` 或 `/deny {approval.id}{reason}`。",
    )


def _verdict(approval: Approval, one: Decision) -> str:
    return say(approval, *(("Approved", "批准") if one.verdict == "approve" else ("Denied", "拒绝")))


def _said(one: Decision) -> str:
    return f"{one.name}, {instant(one.at)}" + (f": {one.reason}" if one.reason else "")


_ANSWERS = {
    "approved": ("✅ `{id}` is approved: `{what}`", "✅ `{id}` 已批准：`{what}`"),
    "denied": ("⛔ `{id}` is denied: `{what}`", "⛔ `{id}` 已拒绝：`{what}`"),
    "counted": (
        "👍 Your approval of `{id}` counts; {missing} more wanted.",
        "👍 已记录你对 `{id}` 的批准；还需 {missing} 人。",
    ),
    "unknown": (
        "There is no approval `{id}` that you may decide. `/approvals` lists them. Nothing was changed.",
        "没有你可以决定的审批 `{id}`。`/approvals` 可查看。没有更改任何内容。",
    ),
    "withdrawn": (
        "🚫 You took your request `{id}` back: `{what}`. Nothing is run.",
        "🚫 你已撤回申请 `{id}`：`{what}`。不会运行任何内容。",
    ),
    "over": (
        "Approval `{id}` is over: {state}{by}. Your answer changed nothing.",
        "审批 `{id}` 已结束：{state}{by}。你的回答没有更改任何内容。",
    ),
    "self": (
        "You asked for `{id}` yourself, so somebody else decides. Nothing was changed; `/deny {id}` takes it back.",
        "`{id}` 是你自己申请的，须由他人决定。没有更改任何内容；`/拒绝 {id}` 可撤回。",
    ),
    "forbidden": (
        "You are not among those who may decide `{id}`. Nothing was changed.",
        "你不在 `{id}` 的审批人之列。没有更改任何内容。",
    ),
    "twice": (
        "You have answered `{id}` before; that stands. {missing} more wanted.",
        "你已对 `{id}` 作过答复，以该答复为准；还需 {missing} 人。",
    ),
    "reason": (
        "Approval `{id}` wants a reason: write `/approve {id} REASON` or `/deny {id} REASON`. Nothing was changed.",
        "审批 `{id}` 需要说明理由：`/approve {id} 理由` 或 `/deny {id} 理由`。没有更改任何内容。",
    ),
    "delegated": ("🤝 `{id}` may be decided by them as well now.", "🤝 现在对方也可以决定 `{id}`。"),
    "nobody": (
        "That is nobody I know, or `{id}` may not be handed on. Name an account as CHANNEL:ACCOUNT. "
        "Nothing was changed.",
        "找不到此人，或 `{id}` 不允许转交。请用 平台:账号 指定。没有更改任何内容。",
    ),
}
