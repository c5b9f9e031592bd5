"""An answer that grows: throttled updates whose final state always arrives.

Updates are the whole text so far, so one that is skipped is contained in the next. A failed or limited update is
forgotten; the final state is not: `finish` is retried by the outbox like any message.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

from integrations.channels import Channel, Editing, Stream, Streaming
from integrations.errors import RateLimited, Rejected, RunbellError, TemporaryError
from integrations.messages import Delivery, OutboundMessage

logger = logging.getLogger(__name__)
MARK = " ▌"
EDITED = "message:"
LONGEST_WAIT_SECONDS = 20.0


class _Editable(Protocol):
    """A channel that can change what it sent."""

    async def send(self, message: OutboundMessage) -> Delivery: ...

    async def edit(self, platform_id: str, message: OutboundMessage) -> Delivery: ...


class _Native(Protocol):
    """A channel with a stream of its own."""

    async def send(self, message: OutboundMessage) -> Delivery: ...

    async def open_stream(self, message: OutboundMessage) -> Stream: ...


class EditedStream:
    """A stream for channels without one of their own: one message, edited.

    `shape` makes the message that shows a text which is not the whole yet; without it, a mark follows the text.
    `handle` is that of a stream of this kind that another process left: this one goes on with its message.
    """

    def __init__(
        self,
        channel: _Editable,
        opening: OutboundMessage,
        shape: Callable[[str], OutboundMessage] | None = None,
        handle: str | None = None,
    ) -> None:
        self._channel = channel
        self._opening = opening
        self._shape = shape or self._marked
        self._platform_id = None if handle is None else handle.removeprefix(EDITED)

    @property
    def handle(self) -> str | None:
        """The growing message's platform id, behind what tells it from a stream of the channel's own."""
        return None if self._platform_id is None else EDITED + self._platform_id

    async def update(self, text: str) -> None:
        """Send the first text, then edit it."""
        shown = self._shape(text)
        if self._platform_id is not None:
            await self._channel.edit(self._platform_id, shown)
            return
        self._platform_id = (await self._channel.send(shown)).platform_id
        if self._platform_id is None:
            raise RunbellError("Nobody can tell whether the growing message arrived, so it does not grow.")

    async def finish(self, message: OutboundMessage) -> Delivery:
        """Put the final message in the place of the growing one; a new message where there is none (any longer)."""
        if self._platform_id is not None:
            try:
                return await replace(self._channel, self._platform_id, message)
            except Rejected as error:
                logger.info("a growing message is gone, so a new one is sent", extra={"error": str(error)})
        return await self._channel.send(message)

    def _marked(self, text: str) -> OutboundMessage:
        return self._opening.model_copy(update={"text": text + MARK})


class InheritedStream:
    """The end of an answer that another process, now gone, has begun to show under `handle`."""

    def __init__(self, channel: Channel, handle: str) -> None:
        self._channel = channel
        self.handle = handle

    async def update(self, text: str) -> None:
        """Show nothing: only the end is left."""

    async def finish(self, message: OutboundMessage) -> Delivery:
        """Put the final message in its place; a new message where that can't be done."""
        channel = self._channel
        try:
            if isinstance(channel, Editing) and self.handle.startswith(EDITED):
                return await replace(channel, self.handle.removeprefix(EDITED), message)
            if isinstance(channel, Streaming):
                return await channel.take_over(self.handle, message)
        except Rejected as error:
            logger.info("a half answer can't be replaced, so a new one is sent", extra={"error": str(error)})
        return await channel.send(message)


class OpenedStream:
    """A stream of the channel's own, opened when the first text is there."""

    def __init__(self, channel: _Native, opening: OutboundMessage) -> None:
        self._channel = channel
        self._opening = opening
        self._stream: Stream | None = None

    @property
    def handle(self) -> str | None:
        """That of the channel's own stream."""
        return self._stream.handle if self._stream else None

    async def update(self, text: str) -> None:
        """Open the stream for the first text, then update it."""
        if self._stream is None:
            self._stream = await self._channel.open_stream(self._opening)
        await self._stream.update(text)

    async def finish(self, message: OutboundMessage) -> Delivery:
        """End the stream with the final message; a new message where nothing has grown."""
        if self._stream is None:
            return await self._channel.send(message)
        return await self._stream.finish(message)


async def replace(channel: _Editable, platform_id: str, message: OutboundMessage) -> Delivery:
    """Put a message in the place of another; its files follow, since most networks can't add them. Raises as `edit`."""
    if not message.attachments:
        return await channel.edit(platform_id, message)
    text = message.text.strip() or ", ".join(f"📎 {file.name}" for file in message.attachments)
    bare: dict[str, object] = {"text": "", "choices": (), "card": None, "form": None}
    files = message.model_copy(update={**bare, "key": message.key and f"{message.key}/files"})
    edited = await channel.edit(platform_id, message.model_copy(update={"text": text, "attachments": ()}))
    sent = await channel.send(files)
    return edited if sent.state == "sent" else sent


class Throttle:
    """Calls a stream at most every `interval` seconds, one call at a time, with the newest text."""

    def __init__(
        self,
        stream: Stream,
        interval: float,
        *,
        limit: Callable[[str], str] = str,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._stream = stream
        self._interval = interval
        self._limit = limit
        self._now = now
        self._sleep = sleep
        self._text = ""
        self._shown = ""
        self._next_at = 0.0
        self._broken = False
        self._pausing = False
        self._task: asyncio.Task[None] | None = None

    def put(self, text: str) -> None:
        """Show this text, the whole so far, as soon as the network's pace allows it. Returns at once."""
        self._text = self._limit(text)
        if not self._broken and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._run())

    async def finish(self, message: OutboundMessage) -> Delivery:
        """Stop updating, then show the final state; raises as the channel's `send` does."""
        await self.stop()
        pause = self._next_at - self._now()
        if pause > LONGEST_WAIT_SECONDS:
            raise RateLimited("The network's own limit is reached; this waits its turn.", after=pause)
        if pause > 0:
            await self._sleep(pause)
        return await self._stream.finish(message)

    async def stop(self) -> None:
        """Let the update that is on its way end, and begin none."""
        self._broken = True
        if self._task is not None:
            if self._pausing:
                self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while self._text != self._shown and not self._broken:
            pause = self._next_at - self._now()
            if pause > 0:
                self._pausing = True
                await self._sleep(pause)
                self._pausing = False
                continue
            await self._show(self._text)

    async def _show(self, text: str) -> None:
        after = self._interval
        try:
            await self._stream.update(text)
            self._shown = text
        except TemporaryError as error:
            after = max(after, error.after)
        except Rejected as error:
            # What the network refuses in the middle, an unclosed mark say, may be fine at the end.
            logger.debug("an update was refused", extra={"error": str(error)})
            self._shown = text
        except RunbellError as error:
            logger.warning("an answer can't be streamed any longer", extra={"error": str(error)})
            self._broken = True
        self._next_at = self._now() + after
