"""Slack's own streaming: `chat.startStream`, `appendStream`, `stopStream` (docs.slack.dev). Thread replies only.

Text is only ever appended. An answer that turns out otherwise than it grew is put right by `chat.update` at the end.
"""

from collections.abc import Awaitable, Callable, Mapping

from integrations.channels.slack.api import Api, Unclear
from integrations.errors import Rejected, Unavailable
from integrations.messages import Delivery, OutboundMessage

Finish = Callable[[str, OutboundMessage], Awaitable[Delivery]]
MAX_APPEND = 11_900


class SlackStream:
    """One streamed answer. `begin` is what `startStream` needs; `replace` edits, `post` sends anew."""

    def __init__(
        self,
        api: Api,
        begin: Mapping[str, object],
        replace: Finish,
        post: Callable[[OutboundMessage], Awaitable[Delivery]],
    ) -> None:
        self._api = api
        self._begin = begin
        self._replace = replace
        self._post = post
        self._stamp = ""
        self._shown = ""
        self._stopped = False

    @property
    def handle(self) -> str | None:
        """The time stamp of the streamed message."""
        return self._stamp or None

    async def update(self, text: str) -> None:
        """Append what is new."""
        new = text[len(self._shown) :] if text.startswith(self._shown) else ""
        if not new:
            return
        try:
            await self._append(new[:MAX_APPEND])
        except Unclear as error:
            # Whether it was appended or not, the end puts it right.
            raise Unavailable(str(error)) from error

    async def finish(self, message: OutboundMessage) -> Delivery:
        """Stop, and let it say exactly the message."""
        if not self._stamp:
            return await self._post(message)
        if not self._stopped:
            await self._stop()
        if message.text == self._shown and not (message.choices or message.card or message.form):
            return Delivery(state="sent", platform_id=self._stamp)
        return await self._replace(self._stamp, message)

    async def _append(self, new: str) -> None:
        channel = self._begin["channel"]
        if not self._stamp:
            begun = await self._api.call("chat.startStream", {**self._begin, "markdown_text": new})
            self._stamp = str(begun["ts"])
        else:
            await self._api.call("chat.appendStream", {"channel": channel, "ts": self._stamp, "markdown_text": new})
        self._shown += new

    async def _stop(self) -> None:
        if not await stop(self._api, self._begin["channel"], self._stamp):
            self._shown = ""
        self._stopped = True


async def stop(api: Api, channel: object, stamp: str) -> bool:
    """End a stream; False where it had ended by itself or was removed: the update that follows tells which."""
    try:
        await api.call("chat.stopStream", {"channel": channel, "ts": stamp})
    except Unclear as error:
        raise Unavailable(str(error)) from error
    except Rejected:
        return False
    return True
