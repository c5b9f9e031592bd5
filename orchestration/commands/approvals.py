"""`/approve`, `/deny` and `/approvals`: what a button on a card says can be typed as well, anywhere."""

from integrations.approvals import words
from integrations.approvals.values import Verdict
from integrations.database import Database
from integrations.database.approvals import Word
from orchestration.commands.asker import Asker

_HAND_ON = frozenset({"delegate", "转交", "委托"})


def decide(database: Database, verdict: Verdict, said: str, asker: Asker) -> str:
    """Take the asker's word to an approval, and tell what became of it."""
    approval_id, _, reason = said.strip().partition(" ")
    if not approval_id:
        return listed(database, "", asker)
    word = Word(approval_id, asker.principal, verdict, reason, via=asker.address.channel)
    return words.answered(database.approvals.decide(word), approval_id.strip("`#"), asker.language)


def listed(database: Database, said: str, asker: Asker) -> str:
    """List what waits for the asker, or for others on the asker's behalf; show one; or hand one on."""
    first, _, rest = said.strip().partition(" ")
    if first.casefold() in _HAND_ON:
        return _hand_on(database, rest.split(), asker)
    if first:
        return _shown(database, first, asker)
    found = database.approvals.concerning(asker.principal)
    if not found:
        return asker.say("Nothing waits for an approval of yours.", "没有需要你处理的审批。")
    mine = [one for one in found if one.requester_id == asker.principal.id]
    others = [one for one in found if one not in mine]
    parts = [
        *([asker.say("**Waiting for a decision**", "**等待决定**")] if others else []),
        *map(words.line, others),
        *([asker.say("**Asked by you**", "**你的申请**")] if mine else []),
        *map(words.line, mine),
        asker.say("`/approve ID [reason]` or `/deny ID [reason]`", "`/批准 ID [理由]` 或 `/拒绝 ID [理由]`")
        if others
        else asker.say("`/deny ID` takes it back.", "`/拒绝 ID` 可撤回。"),
    ]
    return "\n".join(parts)


def take_back(database: Database, word: str, asker: Asker) -> str | None:
    """Void what the asker wanted here, or under this id; None where nothing of theirs waits for an approval."""
    if word:
        found = database.approvals.get(word, asker.principal.tenant)
    else:
        found = database.approvals.pending_of(asker.address, asker.principal.id)
    if found is None or found.state != "pending" or found.run_id is not None:
        return None
    if found.requester_id != asker.principal.id and not asker.is_admin:
        return None
    why = words.taken_back(found, asker.principal)
    if not database.approvals.void(found.id, why):
        return None
    return asker.say(f"⏹ `{found.id}` is taken back.", f"⏹ 已撤回 `{found.id}`。")


def _shown(database: Database, word: str, asker: Asker) -> str:
    found = database.approvals.get(word, asker.principal.tenant)
    if found is None or found.id not in {one.id for one in database.approvals.concerning(asker.principal, state=None)}:
        return asker.say(f"There is no approval `{word[:20]}` of yours.", f"没有与你有关的审批 `{word[:20]}`。")
    return words.card(found, asker.address).text


def _hand_on(database: Database, said: list[str], asker: Asker) -> str:
    if len(said) != 2:
        return asker.say(
            "Write `/approvals delegate ID CHANNEL:ACCOUNT`, as in `slack:U024BE7LH`.",
            "写法：`/审批 转交 ID 平台:账号`，例如 `slack:U024BE7LH`。",
        )
    approval_id, whom = said
    to = database.principals.named(asker.principal.tenant, whom.strip("`"))
    answer = database.approvals.delegate(approval_id, asker.principal, to)
    return words.answered(answer, approval_id.strip("`#"), asker.language)
