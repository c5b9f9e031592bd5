"""`/retry` and `/again`: which run is meant, and whether that may be. The retry itself is `warm/retrying.py`."""

from integrations.database import Database, QueuedRun
from integrations.messages import MessageStatus
from orchestration.commands.asker import Asker

ASSISTANT = "assistant"
LOOKED_AT = 100
"""Runs of a principal among which the last failed one is looked for."""


def last_failed(database: Database, asker: Asker) -> QueuedRun | str:
    """Return the asker's last command that failed, or what to say where there is none."""
    mine = database.runs.latest(tenant=asker.principal.tenant, principal_id=asker.principal.id, limit=LOOKED_AT)
    for run in mine:
        if run.job != ASSISTANT and _outcome(database, run) is MessageStatus.FAILED:
            return run
    return asker.say("None of your last runs has failed.", "你最近的运行都没有失败。")


def last_command(database: Database, asker: Asker) -> QueuedRun | str:
    """Return the asker's last run of a command, or what to say where there is none."""
    mine = database.runs.latest(tenant=asker.principal.tenant, principal_id=asker.principal.id, limit=LOOKED_AT)
    found = next((run for run in mine if run.job != ASSISTANT), None)
    return found or asker.say("You have run no command yet. `/help` lists them.", "你还没有运行过命令。")


def retryable(database: Database, run: QueuedRun, asker: Asker) -> QueuedRun | str:
    """Return the run, or say why it can't be retried. A run without a message is judged by its worker."""
    if run.job == ASSISTANT:
        return asker.say("That was a conversation: just say it again.", "那是一次对话，请直接再说一遍。")
    outcome = _outcome(database, run)
    ended = run.state == "finished" if outcome is None else outcome.settled
    if not ended:
        return asker.say("That run has not ended yet; `/cancel` ends it.", "该运行尚未结束，可用 `/取消` 终止。")
    if outcome is MessageStatus.ANSWERED:
        return asker.say("That run has succeeded; there is nothing to retry.", "该运行已成功，无需重试。")
    return run


def _outcome(database: Database, run: QueuedRun) -> MessageStatus | None:
    """Return what its message came to: once answered a run has ended, though the queue may learn it a moment later."""
    view = database.inbox.get(run.message_id) if run.message_id else None
    return view.status if view else None
