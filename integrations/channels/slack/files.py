"""Files at Slack: what comes with a message is stored with us, what goes out is uploaded and then shown."""

import asyncio
from collections.abc import Iterable, Mapping

from integrations.channels import members
from integrations.channels.slack.api import Api
from integrations.errors import InvalidInput
from integrations.files import MAX_BYTES, FileStore
from integrations.messages import Attachment, InboundMessage

MAX_FILES = 10


async def with_files(
    message: InboundMessage, event: Mapping[str, object], api: Api, store: FileStore
) -> InboundMessage:
    """Return the message with the files of its event, by reference; raises Unavailable where Slack gives none now."""
    kept: list[Attachment] = []
    refused: list[str] = []
    for file in members.tables(event, "files")[:MAX_FILES]:
        name = members.text(file, "name")[:200] or "file"
        try:
            url = members.text(file, "url_private_download") or members.text(file, "url_private")
            data = await api.download(url, MAX_BYTES)
            media = members.text(file, "mimetype")[:100] or None
            kept.append(await asyncio.to_thread(store.put, data, name=name, media_type=media))
        except InvalidInput as error:
            refused.append(f"({name}: {error})")
    if not kept and not refused:
        return message
    text = "\n".join(filter(None, [message.text, *refused]))
    return message.model_copy(update={"attachments": tuple(kept), "text": text})


async def upload(file: Attachment, api: Api, store: FileStore) -> str:
    """Store a file at Slack without showing it; returns its id."""
    data = await asyncio.to_thread(store.path(file.id).read_bytes)
    return await api.upload(file.name, data)


async def share(ids: Iterable[tuple[str, str]], place: Mapping[str, object], api: Api) -> None:
    """Show files that were uploaded, by id and name."""
    files = [{"id": file_id, "title": name} for file_id, name in ids]
    thread = {"thread_ts": place["thread_ts"]} if "thread_ts" in place else {}
    await api.call("files.completeUploadExternal", {"files": files, "channel_id": place["channel"], **thread})
