"""`/forget`: remove what was said in a conversation and what was remembered of it, once confirmed."""

from typing import Protocol

from integrations.database import Database
from integrations.errors import TemporaryError
from integrations.memory.values import Scope
from orchestration.commands.asker import Asker
from orchestration.commands.retries import ASSISTANT
from orchestration.commands.vocabulary import yes_or_no


class Forgetful(Protocol):
    """The part of memory that `/forget` needs."""

    def forget(self, scope: Scope) -> int:
        """Remove everything within the scope and return how much it was."""
        ...


def forget(database: Database, memory: Forgetful | None, word: str, asker: Asker) -> str:
    """Remove the transcript and the recollections of this scope, once confirmed."""
    if not asker.direct and not asker.is_admin:
        return asker.say(
            "In a group only an administrator may make me forget, since it is everybody's conversation.",
            "群聊属于所有人，只有管理员可以让我忘记。",
        )
    if yes_or_no(word) is not True:
        return _what_would_go(asker)
    if memory is None or _is_answering(database, asker):
        return asker.say(
            "I can't forget just now: memory is not connected, or a message is still being answered and would be "
            "remembered afterwards. Nothing was removed; say it again in a moment, or `/cancel` first.",
            "现在无法忘记：记忆未连接，或有消息仍在回答中。没有删除任何内容；请稍后再试，或先 `/取消`。",
        )
    try:
        recollections = sum(memory.forget(scope) for scope in _scopes(database, asker))
    except TemporaryError as error:
        return asker.say(
            f"I could not reach my memory, so nothing was removed ({error}). Please say it again later.",
            f"无法连接记忆，没有删除任何内容（{error}）。请稍后再试。",
        )
    mine = [asker.principal.id, *database.linking.left(asker.principal.id)] if asker.direct else [None]
    entries = sum(database.transcript.forget(asker.address, principal_id=one) for one in mine)
    return asker.say(
        f"🧹 Forgotten: {entries} lines of transcript and {recollections} recollections. "
        "Runs stay in the Dagster UI until their retention ends.",
        f"🧹 已忘记：{entries} 条对话记录和 {recollections} 条记忆。运行记录在保留期内仍可在 Dagster 中查看。",
    )


def _scopes(database: Database, asker: Asker) -> list[Scope]:
    """Return all that is the asker's here: theirs, and of tied accounts what they were before."""
    left = database.linking.left(asker.principal.id) if asker.direct else []
    return [scope_of(asker), *(Scope.principal(asker.principal.tenant, one) for one in left)]


def _is_answering(database: Database, asker: Asker) -> bool:
    """Whether a message of this scope is under way, whose answer would be written after the forgetting."""
    here = database.inbox.unfinished(asker.address, limit=2)
    runs = database.runs.latest(
        tenant=asker.principal.tenant, principal_id=asker.principal.id, unfinished=True, limit=100
    )
    return len(here) > 1 or any(run.job == ASSISTANT for run in runs)


def scope_of(asker: Asker) -> Scope:
    """Return whose memory this conversation has: the person's where direct, else the group's own."""
    if asker.direct:
        return Scope.principal(asker.principal.tenant, asker.principal.id)
    return Scope.conversation(asker.principal.tenant, asker.address.channel, asker.address.conversation)


def _what_would_go(asker: Asker) -> str:
    if asker.direct:
        return asker.say(
            "This removes all that was said in your direct conversations with me, and all I remember of you. "
            "It can't be undone. To do it, write `/forget yes`.",
            "这会删除你与我所有私聊的记录，以及我记得的关于你的一切，且无法恢复。确认请输入 `/忘记 是`。",
        )
    return asker.say(
        "This removes the transcript of this group and all I remember of it. It can't be undone. "
        "To do it, write `/forget yes`.",
        "这会删除本群的对话记录和记忆，且无法恢复。确认请输入 `/忘记 是`。",
    )
