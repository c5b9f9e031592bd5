"""What a command of a plan gave: its answer; or, in words, why there is none. Data for the model, whatever it says."""

from datetime import timedelta

from integrations.database import MessageView
from integrations.durations import show_duration
from integrations.messages import MessageStatus
from orchestration.ops.answering.plans import Ended
from orchestration.ops.answering.values import Heard


def result_of(view: MessageView, heard: Heard, waited: timedelta) -> tuple[Ended, str]:
    """Return how a command ended, and its answer; it is told to the conversation and person that it was started for.

    A message that is not settled has been waited for as long as may be; it goes on by itself.
    """
    if view.address != heard.address or view.principal_id not in {None, heard.principal_id}:
        return "failed", "it ran for somebody else, whose its answer is"
    said = "\n\n".join(filter(None, [*(reply.text for reply in view.replies), _files(view)]))
    if not view.status.settled:
        why = f" {view.waits_for}" if view.waits_for else ""
        after = show_duration(waited)
        return "failed", f"it had not ended after {after}; it goes on, and answers for itself.{why}"
    if view.status is MessageStatus.ANSWERED and view.run_id is None:
        return "failed", f"it did not run: {said}"
    if view.status is MessageStatus.ANSWERED:
        return "done", said or "it is done, and said nothing"
    return "failed", said or view.error or "it failed, and nobody said why"


def _files(view: MessageView) -> str:
    names = [file.name for reply in view.replies for file in reply.attachments]
    return f"(files: {', '.join(names)})" if names else ""
