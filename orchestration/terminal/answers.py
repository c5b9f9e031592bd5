"""Answers, runs and commands on the terminal."""

import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from typing import cast

from integrations.gateway.client import SETTLED, Json
from integrations.gateway.installation import program
from orchestration.terminal.shared import print_json
from orchestration.terminal.usage import form

ANSWERED, FAILED = 0, 1
_TAG = re.compile(r"\s+#[0-9a-f]{8}$")


def show_message(state: Json, url: str, *, as_json: bool) -> int:
    """Print a message's answers, and how to answer them; `url` is the gateway's. Return the exit status."""
    status = str(state.get("status"))
    if as_json:
        print_json(state)
        return ANSWERED if status == "answered" else FAILED
    replies = cast("Sequence[Json]", state.get("replies") or ())
    _show_replies(replies, str(state.get("conversation")), url)
    if status == "answered":
        return ANSWERED
    if status == "waiting":
        print(_waits(cast("Json", state.get("waits_for") or {})))
    elif status not in SETTLED:
        print(
            f"There is no answer yet ({status}). It goes on; look at {state.get('run_url') or f'{program()} status'}."
        )
    elif not replies:
        print(f"This message failed: {state.get('error') or status}.", file=sys.stderr)
    if state.get("run_url"):
        print(f"Run: {state['run_url']}", file=sys.stderr)
    return FAILED


def _waits(wait: Json) -> str:
    if wait.get("approval_id"):
        return f"It waits for an approval. {program()} send /approvals shows what waits, and how it is decided."
    return f"It waits: {wait.get('text') or 'for its time or an event'}. It goes on by itself, also when you leave."


class Waiting:
    """Tells once, on standard error, of each thing that a message waits for, and how to answer it."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    def __call__(self, message: Json) -> None:
        """Take the state of a message that waits."""
        wait = cast("Json", message.get("waits_for") or {})
        text, approval_id = str(wait.get("text") or ""), wait.get("approval_id")
        if not text or text in self._told:
            return
        self._told.add(text)
        print(text if approval_id else f"⏳ {text}", file=sys.stderr)
        if approval_id:
            print(
                f"Approvers answer on any network or the web page: /approve {approval_id} or /deny {approval_id}\n"
                f"You take it back by: {program()} send '/deny {approval_id}'. It goes on waiting if you leave.",
                file=sys.stderr,
            )


def show_run(state: Json, url: str, *, as_json: bool) -> int:
    """Print what a run answered; return the exit status."""
    message = state.get("message")
    told = cast("Json", message) if isinstance(message, Mapping) else {}
    if as_json:
        print_json(state)
        return ANSWERED if told.get("status") == "answered" else FAILED
    return show_message({"run_url": state.get("run_url"), **told}, url, as_json=False)


def show_commands(commands: Sequence[Json], *, as_json: bool) -> None:
    """Print commands with their arguments."""
    if as_json:
        print_json({"commands": list(commands)})
        return
    if not commands:
        print("There are no commands yet: workers publish them when they start.")
    for command in commands:
        print(f"/{command['name']} {form(command)}".rstrip())
        if description := str(command.get("description") or ""):
            print(f"    {description.splitlines()[0]}")


def file_line(attachment: Json, url: str) -> str:
    """Show a file, with the full address that a browser takes."""
    path = str(attachment.get("url"))
    return f"📎 {attachment.get('name')} {url.rstrip('/') + path if path.startswith('/') else path}"


def spoken(reply: Json) -> list[str]:
    """Return what may be said to an answer's choices: a person needs no `#id` to say yes to what stands above."""
    choices = cast("Sequence[Json]", reply.get("choices") or ())
    return [
        _TAG.sub("", str(choice.get("text"))) for choice in choices if choice.get("text") and not choice.get("optional")
    ]


def _show_replies(replies: Sequence[Json], conversation: str, url: str) -> None:
    for reply in replies:
        print(reply.get("text", ""))
        for attachment in cast("Sequence[Json]", reply.get("attachments") or ()):
            print(file_line(attachment, url))
    if replies and (said := spoken(replies[-1])):
        again = f"{program()} send --conversation {shlex.quote(conversation)}"
        others = "".join(f" (or: {shlex.quote(text)})" for text in said[1:])
        print(f"Answer with: {again} {shlex.quote(said[0])}{others}")
