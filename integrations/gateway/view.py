"""One client's view of one conversation, kept true: everything once, in order, through every disconnection.

The transcript and the stored progress are the truth; notifications only say when to look. A view subscribes first,
then reads, so nothing falls between; it remembers the last entry and the last progress of each open message, so
nothing is shown twice. Where news may be missing it looks again.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from integrations.database import MessageView, Snapshot
from integrations.gateway.frames import entry_frame, snapshot_frame
from integrations.gateway.hub import Missed, News, Posted, Progressed, Settled
from integrations.gateway.services import Services
from integrations.messages import Address

FIRST_ENTRIES = 200
PAGE = 200
SAFETY_POLL_SECONDS = 15.0
REMEMBERED = 100
Send = Callable[[dict[str, Any]], Awaitable[None]]


class View:
    """Writes frames to one client until cancelled."""

    def __init__(self, services: Services, address: Address, send: Send) -> None:
        self._services = services
        self._address = address
        self._send = send
        self._last_entry = 0
        # The progress that the client has seen of each open message, and of those settled lately: ops that
        # come after the answer go on being shown.
        self._seen: dict[str, int] = {}
        self._settled: dict[str, None] = {}

    async def run(self, after: int, ready: dict[str, Any]) -> None:
        """Greet, catch up, and follow."""
        self._last_entry = after
        with self._services.hub.subscribe(self._address) as news:
            await self._send(ready)
            answered = await self._catch_up(first=after == 0)
            still_open = await self._show_open()
            if after:
                await self._show_ends(answered - still_open)
            while True:
                try:
                    async with asyncio.timeout(SAFETY_POLL_SECONDS):
                        item = await news.queue.get()
                except TimeoutError:
                    item = Missed()  # The poll behind the notifications.
                await self._tell(item)

    async def _tell(self, item: News) -> None:
        match item:
            case Progressed():
                await self._progress(item)
            case Settled():
                await self._catch_up()
                await self._settle(item.message_id, item.status)
            case Posted():
                await self._catch_up()
            case Missed():
                await self._look_again()

    async def _progress(self, item: Progressed) -> None:
        seen = self._seen.get(item.message_id, 0)
        if seen == 0:
            # Work has begun: by now the message itself is in the transcript.
            await self._catch_up()
        if item.seq <= seen:
            return
        body = item.body
        if body is None and item.seq == seen + 1:
            body = await asyncio.to_thread(self._services.database.progress.read, item.message_id, item.seq)
        if body is None or (item.seq > seen + 1 and item.message_id not in self._settled):
            await self._snapshot(item.message_id)  # Something between was missed.
            return
        self._seen[item.message_id] = item.seq
        await self._send({"type": "progress", "message_id": item.message_id, "seq": item.seq, "body": body})

    async def _look_again(self) -> None:
        """Make up for whatever was missed."""
        await self._catch_up()
        before = self._seen.keys() - self._settled.keys()
        for message_id in before - await self._show_open():
            view = await asyncio.to_thread(self._services.database.inbox.get, message_id)
            if view is not None and view.status.settled:
                await self._settle(message_id, view.status.value)

    async def _settle(self, message_id: str, status: str) -> None:
        if message_id in self._settled:
            return
        self._settled[message_id] = None
        if len(self._settled) > REMEMBERED:
            oldest = next(iter(self._settled))
            del self._settled[oldest]
            self._seen.pop(oldest, None)
        await self._send({"type": "settled", "message_id": message_id, "status": status})

    async def _catch_up(self, *, first: bool = False) -> set[str]:
        """Send the entries that the client has not seen, a new client gets the latest; return which were answered."""
        transcript = self._services.database.transcript
        answered: set[str] = set()
        while True:
            if first:
                entries = await asyncio.to_thread(transcript.recent, self._address, limit=FIRST_ENTRIES)
            else:
                entries = await asyncio.to_thread(transcript.after, self._address, self._last_entry, limit=PAGE)
            for entry in entries:
                await self._send(entry_frame(entry, self._services.settings))
                self._last_entry = entry.id
                if entry.role == "user" and entry.message_id and not first:
                    # Open from now on: should its end be missed, the next look finds it.
                    self._seen.setdefault(entry.message_id, 0)
                elif entry.message_id:
                    answered.add(entry.message_id)
            if first or len(entries) < PAGE:
                return answered

    async def _show_ends(self, message_ids: set[str]) -> None:
        """Tell how messages ended, and how far their ops had come, to a client that was away then."""
        for message_id in message_ids:
            view = await asyncio.to_thread(self._services.database.inbox.get, message_id)
            if view is not None and view.status.settled:
                snapshot = await asyncio.to_thread(self._services.database.progress.snapshot, message_id)
                self._seen[message_id] = snapshot.seq
                await self._send(snapshot_frame(view, replace(snapshot, partial=""), self._services.settings))
                await self._settle(message_id, view.status.value)

    async def _show_open(self) -> set[str]:
        """Send a snapshot of each unfinished message that the client is behind with; return all unfinished ones."""
        views = await asyncio.to_thread(self._services.database.inbox.unfinished, self._address)
        for view in views:
            snapshot = await asyncio.to_thread(self._services.database.progress.snapshot, view.message_id)
            if self._seen.get(view.message_id, -1) < snapshot.seq:
                await self._show(view, snapshot)
        return {view.message_id for view in views}

    async def _snapshot(self, message_id: str) -> None:
        view = await asyncio.to_thread(self._services.database.inbox.get, message_id)
        if view is None or view.status.settled:
            return  # The settled notification follows, or brought us here.
        await self._show(view, await asyncio.to_thread(self._services.database.progress.snapshot, message_id))

    async def _show(self, view: MessageView, snapshot: Snapshot) -> None:
        if snapshot.seq > 0:
            await self._catch_up()  # Work has begun, perhaps after we last looked into the transcript.
        self._seen[view.message_id] = snapshot.seq
        await self._send(snapshot_frame(view, snapshot, self._services.settings))
