"""Signed webhooks as events: those of a source with `events = true` in `[channels.webhook.NAME]`."""

import json
import time
from dataclasses import dataclass
from typing import cast

from integrations.database import Database
from integrations.errors import Misconfigured
from integrations.settings import Settings
from orchestration.events.seam import MOST, Batch, Event

LATEST_S = 60.0
"""How much later than a larger number an event may become visible: no transaction that stores takes so long."""


@dataclass(frozen=True)
class Hook:
    """A source of signed webhooks."""

    name: str
    from_start: bool = False

    @property
    def kind(self) -> str:
        """What it is called in the Dagster UI."""
        return f"webhook {self.name}"

    def problem(self, settings: Settings) -> str | None:
        """Return that the source is not set up for events."""
        configured = settings.channels.webhook.get(self.name)
        if configured is not None and configured.events:
            return None
        return f"There are no events of {self.name!r}: set events = true in [channels.webhook.{self.name}]."

    def look(self, cursor: str | None, database: Database, settings: Settings) -> Batch:
        """Return what was posted since; an event's fields are the document as it was posted."""
        if problem := self.problem(settings):
            raise Misconfigured(problem)
        if cursor is None and not self.from_start:
            return Batch(json.dumps([database.hooked.end(), {}]))
        low, recent = cast("tuple[int, dict[str, float]]", tuple(json.loads(cursor))) if cursor else (0, {})
        found = database.hooked.since(settings.tenant, self.name, low, without=[int(seq) for seq in recent], limit=MOST)
        now = time.time()
        recent |= {str(event.seq): round(now - event.age_s, 1) for event in found}
        old = [int(seq) for seq, at in recent.items() if at < now - LATEST_S]
        low = max([low, *old])
        recent = {seq: at for seq, at in recent.items() if int(seq) > low}
        return Batch(json.dumps([low, recent]), [Event(event.event_id, event.document) for event in found])


def webhook(name: str, *, from_start: bool = False) -> Hook:
    """Return a source of the events that `POST /channels/webhook/NAME` takes, signed as its settings say."""
    return Hook(name, from_start)
