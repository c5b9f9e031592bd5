"""What the robot says by itself: messages to one person or to a group through the OpenAPI.

POST /v1.0/robot/oToMessages/batchSend and /v1.0/robot/groupMessages/send, with `msgKey` and `msgParam`.
"""

from collections.abc import Mapping
from pathlib import Path

from integrations.channels.dingtalk.api import Api, written
from integrations.channels.dingtalk.inbound import USER
from integrations.errors import RateLimited, Rejected
from integrations.messages import Attachment

TITLE = 20


class Robot:
    """One robot."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def say(self, conversation: str, text: str) -> str:
        """Send Markdown; returns the platform's id. Raises Lost where nobody can tell."""
        title = text.strip().lstrip("#*_` ")[:TITLE] or "…"
        return await self._send(conversation, "sampleMarkdown", {"title": title, "text": text})

    async def give(self, conversation: str, file: Attachment, data: bytes) -> str:
        """Send a picture or a file."""
        if file.media_type.startswith("image/"):
            media_id = await self._api.upload(file.name, data, "image")
            return await self._send(conversation, "sampleImageMsg", {"photoURL": media_id})
        media_id = await self._api.upload(file.name, data, "file")
        ending = Path(file.name).suffix.lstrip(".") or "bin"
        content = {"mediaId": media_id, "fileName": file.name, "fileType": ending}
        return await self._send(conversation, "sampleFile", content)

    async def _send(self, conversation: str, key: str, content: Mapping[str, str]) -> str:
        body: dict[str, object] = {"robotCode": self._api.app.robot_code, "msgKey": key, "msgParam": written(content)}
        if not conversation.startswith(USER):
            found = await self._api.call(
                "POST", "/v1.0/robot/groupMessages/send", {**body, "openConversationId": conversation}
            )
            return str(found.get("processQueryKey") or "")
        staff = conversation.removeprefix(USER)
        found = await self._api.call("POST", "/v1.0/robot/oToMessages/batchSend", {**body, "userIds": [staff]})
        if found.get("flowControlledStaffIdList"):
            raise RateLimited("DingTalk holds back messages for this person.", after=5.0)
        if found.get("invalidStaffIdList"):
            raise Rejected("DingTalk knows no such person in this organization.")
        return str(found.get("processQueryKey") or "")
