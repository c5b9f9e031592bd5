"""A proposed command: how it is shown, and which message is the yes to it."""

import hashlib
import json
import re
from datetime import datetime

from integrations.database import Proposal
from integrations.messages import Choice
from orchestration.commands.help import command_line, visible
from orchestration.commands.language import Language, pick
from orchestration.commands.spec import CommandSpec
from orchestration.commands.vocabulary import yes_or_no

PLAN = "(plan)"
"""Stands in the place of the command where a plan is proposed; no command can be called that."""
SHOWN_ID = 8
_DECISION = re.compile(rf"(?P<word>\S+)\s+#(?P<id>[0-9a-f]{{{SHOWN_ID}}})")


def present(
    spec: CommandSpec, args: dict[str, object], proposal_id: str, language: Language
) -> tuple[str, tuple[Choice, ...]]:
    """Return the question with the exact arguments, and its buttons."""
    line = visible(command_line(spec, args))
    text = pick(
        language,
        f"Shall I run this?\n\n```\n{line}\n```\n\nAnswer **yes** or **no**.",
        f"要运行这个命令吗？\n\n```\n{line}\n```\n\n请回答**是**或**否**。",
    )
    secrets = ", ".join(one.name for one in spec.arguments if one.required and one.secret and one.name not in args)
    then = pick(language, f" After a yes I ask for the secret {secrets}.", f"回答“是”之后会询问机密参数 {secrets}。")
    return f"{text}{then if secrets else ''}", choices(proposal_id, language)


def choices(proposal_id: str, language: Language) -> tuple[Choice, ...]:
    """Return the buttons of a proposal.

    They say `yes #ID`, so that pressing those of an older question can't answer a newer one.
    """
    tag = f"#{proposal_id[:SHOWN_ID]}"
    yes, no = pick(language, "Yes", "是"), pick(language, "No", "否")
    return Choice(label=yes, text=f"{yes.lower()} {tag}"), Choice(label=no, text=f"{no.lower()} {tag}")


def decision(text: str, proposal: Proposal, said_at: datetime | None) -> bool | None:
    """Return whether the message says yes or no to this proposal; None where it is about something else.

    A bare yes counts only if it was said after the proposal was made: one cannot agree to what one has not seen.
    Both instants are the database's own.
    """
    text = text.strip()
    if match := _DECISION.fullmatch(text[:100]):
        return yes_or_no(match["word"]) if proposal.id.startswith(match["id"]) else None
    answer = yes_or_no(text)
    if answer is True and (said_at is None or said_at < proposal.created_at):
        return None
    return answer


def is_decision(text: str) -> bool:
    """Whether the message answers some proposal by its id, as its buttons do."""
    match = _DECISION.fullmatch(text.strip()[:100])
    return match is not None and yes_or_no(match["word"]) is not None


def names_another(text: str, proposal: Proposal | None) -> bool:
    """Whether the message answers a proposal that no longer waits."""
    match = _DECISION.fullmatch(text.strip()[:100])
    if match is None or not is_decision(text):
        return False
    return proposal is None or not proposal.id.startswith(match["id"])


def digest(args: object) -> str:
    """Return what a yes is bound to: all of what was proposed, in canonical form."""
    text = json.dumps(args, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
