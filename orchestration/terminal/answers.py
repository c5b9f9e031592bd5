"""Answers, runs and commands on the terminal."""

import json
import sys
from collections.abc import Mapping, Sequence
from typing import cast

from integrations.gateway.client import SETTLED, Json

ANSWERED, FAILED = 0, 1


def show_message(state: Json, *, as_json: bool) -> int:
    """Print a message's answers; return the exit status."""
    status = str(state.get("status"))
    if as_json:
        print_json(state)
        return ANSWERED if status == "answered" else FAILED
    replies = cast("Sequence[Json]", state.get("replies") or ())
    for reply in replies:
        print(reply.get("text", ""))
        for attachment in cast("Sequence[Json]", reply.get("attachments") or ()):
            print(f"📎 {attachment.get('name')} {attachment.get('url')}")
    if status == "answered":
        return ANSWERED
    if status not in SETTLED:
        print(f"There is no answer yet ({status}). It goes on; look at {state.get('run_url') or 'runbell status'}.")
    elif not replies:
        print(f"This message failed: {state.get('error') or status}.", file=sys.stderr)
    if state.get("run_url"):
        print(f"Run: {state['run_url']}", file=sys.stderr)
    return FAILED


def show_run(state: Json, *, as_json: bool) -> int:
    """Print what a run answered; return the exit status."""
    message = state.get("message")
    told = cast("Json", message) if isinstance(message, Mapping) else {}
    if as_json:
        print_json(state)
        return ANSWERED if told.get("status") == "answered" else FAILED
    return show_message({"run_url": state.get("run_url"), **told}, as_json=False)


def show_commands(commands: Sequence[Json], *, as_json: bool) -> None:
    """Print commands with their arguments."""
    if as_json:
        print_json({"commands": list(commands)})
        return
    if not commands:
        print("There are no commands yet: workers publish them when they start.")
    for command in commands:
        print(f"/{command['name']} {_form(command)}".rstrip())
        if description := str(command.get("description") or ""):
            print(f"    {description.splitlines()[0]}")


def print_json(value: object) -> None:
    """Print one JSON object."""
    print(json.dumps(value, ensure_ascii=False, default=str))


def _form(command: Json) -> str:
    schema = cast("Json", command.get("schema") or {})
    required = cast("Sequence[str]", schema.get("required") or ())
    names = list(cast("Json", schema.get("properties") or {}))
    return " ".join(f"{name}=…" if name in required else f"[{name}=…]" for name in names)
