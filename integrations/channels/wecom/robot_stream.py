"""An answer of the robot that grows: frames with the whole text so far under one stream id, then the last one.

A stream answers one message, over the connection that brought it, and ends six minutes after it at the latest
(documented for the robot's callback, taken to hold for the connection too [U]). Where it can't be ended any more the
answer is a new message.
"""

import uuid
from collections.abc import Awaitable, Callable
from typing import Any

from integrations.channels.http import Lost
from integrations.channels.wecom.robot_socket import Line
from integrations.errors import Rejected, Unavailable
from integrations.messages import Delivery, OutboundMessage

RESPOND = "aibot_respond_msg"
Json = dict[str, Any]
Send = Callable[[OutboundMessage], Awaitable[Delivery]]
Build = Callable[[OutboundMessage, str], Json]


class RobotStream:
    """One growing answer; without a line it shows nothing until the end."""

    def __init__(self, line: Line | None, request_id: str, send: Send, build: Build) -> None:
        self._line = line
        self._request_id = request_id
        self._send = send
        self._build = build
        self._id = uuid.uuid4().hex
        self._shown = False

    @property
    def handle(self) -> str | None:
        """The stream's id."""
        return self._id if self._shown else None

    async def update(self, text: str) -> None:
        """Show the whole text so far."""
        if self._line is None or not text.strip():
            return
        try:
            await self._line.call(RESPOND, frame(self._id, text, finish=False), self._request_id)
        except Lost as error:
            raise Unavailable(str(error)) from error
        self._shown = True

    async def finish(self, message: OutboundMessage) -> Delivery:
        """End the stream with the final message; where it has ended by itself, that is a new one."""
        if self._line is None:
            return await self._send(message)
        try:
            await self._line.call(RESPOND, self._build(message, self._id), self._request_id)
        except (Rejected, Unavailable):
            self._line = None
            return await self._send(message)
        except Lost as error:
            return Delivery(state="unknown", platform_id=self._id, error=str(error))
        return Delivery(state="sent", platform_id=self._id)


def frame(stream_id: str, text: str, *, finish: bool, card: Json | None = None) -> Json:
    """Return the body that shows so much of a stream, at its end with a card below it."""
    stream = {"id": stream_id, "finish": finish, "content": text or "…"}
    if card is None:
        return {"msgtype": "stream", "stream": stream}
    return {"msgtype": "stream_with_template_card", "stream": stream, "template_card": card}
