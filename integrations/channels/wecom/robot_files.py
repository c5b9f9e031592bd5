"""Files that the robot sends: uploaded over its connection in pieces, then shown by messages of their own.

`aibot_upload_media_init` {type, filename, total_size, total_chunks, md5} gives an upload_id, `…_chunk` {upload_id,
chunk_index, base64_data} takes pieces of at most 512 KiB, `…_finish` {upload_id} gives the media_id. WeCom's own page
could not be read; several programs in use agree on this [U].
"""

import asyncio
import base64
import hashlib
from collections.abc import Callable
from typing import Any

from integrations.channels import members
from integrations.channels.http import Lost
from integrations.channels.wecom.app import MAX_PICTURE, PICTURES
from integrations.channels.wecom.cards import file_body
from integrations.channels.wecom.robot_socket import Line
from integrations.channels.wecom.robot_stream import RobotStream
from integrations.errors import Rejected, RunbellError, Unavailable
from integrations.files import FileStore
from integrations.messages import Attachment, Delivery, OutboundMessage

PIECE = 512 * 1024
Body = dict[str, Any]
Now = Callable[[], Line]
"""Return the present connection; raises Unavailable where there is none."""


async def bodies(message: OutboundMessage, now: Now, store: FileStore) -> list[Body]:
    """Upload the files of a message, showing nothing yet, and return what shows them. Can be repeated harmlessly."""
    found: list[Body] = []
    for file in message.attachments:
        data = await asyncio.to_thread(store.path(file.id).read_bytes)
        kind = "image" if file.media_type in PICTURES and len(data) <= MAX_PICTURE else "file"
        try:
            found.append(file_body(kind, await _upload(now(), kind, file, data)))
        except Lost as error:
            raise Unavailable(str(error)) from error
    return found


class WithFiles:
    """An answer that may have grown, and its files after it."""

    def __init__(self, stream: RobotStream, now: Now, store: FileStore) -> None:
        self._stream = stream
        self._now = now
        self._store = store

    @property
    def handle(self) -> str | None:
        """The stream's id."""
        return self._stream.handle

    async def update(self, text: str) -> None:
        """Show the whole text so far."""
        await self._stream.update(text)

    async def finish(self, message: OutboundMessage) -> Delivery:
        """Show the final text, then the files."""
        shown = await bodies(message, self._now, self._store)
        if shown and not (message.text.strip() or message.choices or message.card or self.handle):
            delivery = Delivery(state="sent")
        else:
            delivery = await self._stream.finish(message)
        for index, body in enumerate(shown if delivery.state == "sent" else ()):
            try:
                await self._now().call("aibot_send_msg", {"chatid": message.address.conversation, **body})
            except RunbellError as error:
                if index == 0 and not message.text.strip() and not isinstance(error, Lost):
                    raise
                told = f"The text arrived, not all of its files did: {error}"
                return Delivery(state="unknown", platform_id=delivery.platform_id, error=told)
        return delivery


async def _upload(line: Line, kind: str, file: Attachment, data: bytes) -> str:
    pieces = [data[start : start + PIECE] for start in range(0, len(data), PIECE)]
    told: Body = {"type": kind, "filename": file.name, "total_size": len(data), "total_chunks": len(pieces)}
    digest = hashlib.md5(data, usedforsecurity=False).hexdigest()
    upload = members.text(await line.call("aibot_upload_media_init", {**told, "md5": digest}), "upload_id")
    for index, piece in enumerate(pieces):
        body = {"upload_id": upload, "chunk_index": index, "base64_data": base64.b64encode(piece).decode()}
        await line.call("aibot_upload_media_chunk", body)
    media = members.text(await line.call("aibot_upload_media_finish", {"upload_id": upload}), "media_id")
    if not media:
        raise Rejected(f"WeCom gave no id for the file {file.name}.")
    return media
