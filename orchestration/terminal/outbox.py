"""`runbell outbox`: what was not delivered, and once more."""

import sys
from pathlib import Path

from integrations.settings import Settings
from orchestration.terminal.answers import print_json
from orchestration.terminal.store import opened


def show_undelivered(settings: Settings, endpoints: Path, *, as_json: bool) -> None:
    """Print the latest messages that failed, died or whose delivery is unknown."""
    with opened(settings, endpoints) as database:
        items = database.outbox.find()
    if as_json:
        print_json(
            {
                "items": [
                    {
                        "id": item.id,
                        "state": item.state,
                        "channel": item.message.address.channel,
                        "conversation": item.message.address.conversation,
                        "attempts": item.attempts,
                        "error": item.error,
                        "created_at": item.created_at.isoformat(),
                    }
                    for item in items
                ]
            }
        )
        return
    if not items:
        print("Everything was delivered.")
    for item in items:
        address = item.message.address
        print(f"{item.id}  {item.state}  {address.channel} {address.conversation}  {item.error or ''}".rstrip())
    if items:
        print("Again: runbell outbox replay ID")


def replay(settings: Settings, endpoints: Path, item_id: int) -> int:
    """Queue one again; return the exit status."""
    with opened(settings, endpoints) as database:
        if database.outbox.replay(item_id):
            print(f"{item_id} is queued again.")
            return 0
    print(f"There is no undelivered message {item_id}. See: runbell outbox list", file=sys.stderr)
    return 1
