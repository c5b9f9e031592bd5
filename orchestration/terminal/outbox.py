"""`runbell outbox`: what was not delivered; once more, or never."""

import sys
from pathlib import Path

from integrations.database import OutboxItem
from integrations.gateway.installation import program
from integrations.settings import Settings
from orchestration.terminal.shared import print_json
from orchestration.terminal.store import opened

_MEANING = {
    "failed": "The network refused it for good.",
    "dead": "It was tried as often and as long as it may be.",
    "unknown": "It may have arrived: nobody can tell. Queued again, it may be seen twice.",
}


def show_undelivered(settings: Settings, endpoints: Path, *, as_json: bool) -> None:
    """Print the latest messages that failed, died or whose delivery is unknown."""
    with opened(settings, endpoints) as database:
        items = database.outbox.find()
    if as_json:
        print_json({"items": [_json(item) for item in items]})
        return
    if not items:
        print("Everything was delivered.")
    for item in items:
        address = item.message.address
        print(f"{item.id}  {item.state}  {address.channel} {address.conversation}  {item.error or ''}".rstrip())
    if items:
        print(f"One with its text: {program()} outbox show ID. Again: … replay ID. Never: … drop ID")


def show(settings: Settings, endpoints: Path, item_id: int, *, as_json: bool) -> int:
    """Print one message of the outbox, whatever its state; return the exit status."""
    with opened(settings, endpoints) as database:
        item = database.outbox.get(item_id)
    if item is None:
        return _none(item_id)
    if as_json:
        print_json({**_json(item), "message": item.message.model_dump(mode="json")})
        return 0
    told = _json(item)
    for name in ("state", "channel", "conversation", "attempts", "created_at", "error"):
        print(f"{name + ':':<14}{told[name] if told[name] is not None else ''}".rstrip())
    print(_MEANING.get(item.state, ""), end="\n\n" if item.state in _MEANING else "")
    print(item.message.text)
    return 0


def replay(settings: Settings, endpoints: Path, item_id: int) -> int:
    """Queue one again; return the exit status."""
    with opened(settings, endpoints) as database:
        if database.outbox.replay(item_id):
            print(f"{item_id} is queued again.")
            return 0
    return _none(item_id)


def drop(settings: Settings, endpoints: Path, item_id: int) -> int:
    """Give one up; return the exit status."""
    with opened(settings, endpoints) as database:
        if database.outbox.drop(item_id):
            print(f"{item_id} is given up.")
            return 0
    return _none(item_id)


def _none(item_id: int) -> int:
    print(f"There is no undelivered message {item_id}. See: {program()} outbox list", file=sys.stderr)
    return 1


def _json(item: OutboxItem) -> dict[str, object]:
    address = item.message.address
    return {
        "id": item.id,
        "state": item.state,
        "channel": address.channel,
        "conversation": address.conversation,
        "attempts": item.attempts,
        "error": item.error,
        "created_at": item.created_at.isoformat(),
    }
