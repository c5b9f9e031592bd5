"""A simulated Telegram: the Bot API with long polling and webhook, towards a real client.

Updates wait until they are confirmed by `offset`, or, by webhook, until 2xx; sending refuses what Telegram refuses:
texts over 4,096 UTF-16 units, button data over 64 bytes, unknown chats, an edit that changes nothing.
"""

import asyncio
import contextlib
import itertools
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import aiohttp
from aiohttp import web

from integrations.channels.simulators.base import Ended, Simulator
from integrations.settings_channels import Telegram

Json = dict[str, Any]
BOT_ID, BOT_NAME = 999, "runbell_bot"
MAX_TEXT = 4096


class SimulatedTelegram(Simulator):
    """One bot; people write in private chats (positive ids) and groups (negative ones)."""

    token, secret_token = "123456789:simulated-token", "simulated-secret"

    def __init__(self) -> None:
        super().__init__()
        self.chats = {1, 2, -100}
        self.messages: dict[int, Json] = {}
        self.updates: list[Json] = []
        self.files: dict[str, bytes] = {}
        self.webhook_url = ""
        self.redelivery_s: tuple[float, ...] = (0.1, 0.1, 0.1, 0.1, 0.1)
        self._count = itertools.count(1)
        self._update_ids = itertools.count(10)

    def settings(self, mode: str = "polling") -> Telegram:
        """Return the section of the settings that leads here."""
        secrets = {"bot_token": self.token, "secret_token": self.secret_token}
        return Telegram.model_validate({"mode": mode, "api_url": self.url, **secrets})

    def routes(self) -> Iterable[web.RouteDef]:
        """Return what is served."""
        return [web.post("/bot{token}/{method}", self._api), web.get("/file/bot{token}/{path}", self._file)]

    # What people do.

    async def say(self, chat: int, text: str, *, user: int = 7, **more: object) -> int:
        """Say something; returns the message's id. Commands and mentions get their entities, in UTF-16 units."""
        message_id = next(self._count)
        message: Json = {"message_id": message_id, "date": 1, "text": text, "chat": _chat(chat), "from": _user(user)}
        message["entities"] = _entities(text)
        await self.update({"message": message | more})
        return message_id

    async def press(self, message_id: int, label: str, *, user: int = 7) -> None:
        """Press the button with this label."""
        shown = self.messages[message_id]
        buttons = [one for row in shown["reply_markup"]["inline_keyboard"] for one in row]
        data = next(one["callback_data"] for one in buttons if one["text"] == label)
        message = {
            "message_id": message_id,
            "date": 1,
            "chat": _chat(shown["chat_id"]),
            "from": _user(BOT_ID, bot=True),
        }
        query = {"id": str(next(self._count)), "from": _user(user), "message": message, "data": data}
        await self.update({"callback_query": query})

    async def update(self, update: Json) -> int:
        """Deliver any update; returns its id."""
        update_id = next(self._update_ids)
        await self.switches.deliver(lambda: self._push({"update_id": update_id, **update}))
        return update_id

    def texts(self, chat: int = 0) -> list[str]:
        """Return what the bot has said, in order."""
        return [one["text"] for one in self.messages.values() if not chat or one["chat_id"] == chat]

    async def _push(self, update: Json) -> None:
        if not self.webhook_url:
            self.updates.append(update)
            self.changed()
            return
        for pause in self.redelivery_s:
            with contextlib.suppress(aiohttp.ClientError):
                if 200 <= await self.post(update) < 300:
                    return
            await asyncio.sleep(pause)

    async def post(self, update: Json, secret: str = "") -> int:
        """Call the webhook; returns the status."""
        headers = {"X-Telegram-Bot-Api-Secret-Token": secret or self.secret_token}
        async with (
            aiohttp.ClientSession() as session,
            session.post(self.webhook_url, json=update, headers=headers) as response,
        ):
            return response.status

    # The Bot API.

    async def _api(self, request: web.Request) -> web.StreamResponse:
        method = request.match_info["method"]
        said = await _content(request)
        fault = await self.meet(request, method, said, key=str(said.get("chat_id", "")))
        if request.match_info["token"] != self.token:
            raise _error(401, "Unauthorized")
        if method == "getUpdates":
            return await self._updates(said)
        handler: Callable[[Json], object] | None = getattr(self, f"_{method}", None)
        if handler is None:
            raise _error(404, "Not Found")
        result = handler(said)
        self.changed()
        return self.faulty(request, fault) if fault else web.json_response({"ok": True, "result": result})

    def limited(self, wait_s: float) -> web.StreamResponse:
        """Answer as Telegram does, in whole seconds."""
        more = {"parameters": {"retry_after": max(1, round(wait_s))}}
        return _error(429, "Too Many Requests: retry after", **more).response

    async def _updates(self, said: Json) -> web.StreamResponse:
        if self.webhook_url:
            raise _error(409, "Conflict: can't use getUpdates method while webhook is active")
        self.updates = [one for one in self.updates if one["update_id"] >= said.get("offset", 0)]
        with contextlib.suppress(TimeoutError):
            await self.until(lambda: self.updates, seconds=max(said.get("timeout", 0), 0.01))
        return web.json_response({"ok": True, "result": self.updates[: said.get("limit", 100)]})

    def _getMe(self, _: Json) -> Json:  # noqa: N802 - the method's name
        return _user(BOT_ID, bot=True) | {"username": BOT_NAME}

    def _getWebhookInfo(self, _: Json) -> Json:  # noqa: N802
        return {"url": self.webhook_url, "pending_update_count": len(self.updates)}

    def _deleteWebhook(self, _: Json) -> bool:  # noqa: N802
        self.webhook_url = ""
        return True

    def _sendMessage(self, said: Json) -> Json:  # noqa: N802
        self._check(said)
        return self._keep(said)

    def _editMessageText(self, said: Json) -> Json:  # noqa: N802
        self._check(said)
        before = self.messages.get(said["message_id"])
        if before is None:
            raise _error(400, "Bad Request: message to edit not found")
        buttons = {"inline_keyboard": []}
        if before["text"] == said["text"] and before.get("reply_markup", buttons) == said.get("reply_markup", buttons):
            raise _error(400, "Bad Request: message is not modified: specified new message content is the same")
        self.messages[said["message_id"]] = before | said
        return self.messages[said["message_id"]]

    def _sendDocument(self, said: Json) -> Json:  # noqa: N802
        kept = self._keep({**said, "chat_id": int(said["chat_id"]), "text": ""})
        return {"message_id": kept["message_id"], "chat": _chat(kept["chat_id"])}

    _sendPhoto = _sendDocument  # noqa: N815

    def _answerCallbackQuery(self, said: Json) -> bool:  # noqa: N802
        if len(said.get("text", "")) > 200:
            raise _error(400, "Bad Request: MESSAGE_TOO_LONG")
        return True

    def _getFile(self, said: Json) -> Json:  # noqa: N802
        if said["file_id"] not in self.files:
            raise _error(400, "Bad Request: file is too big")
        return {"file_id": said["file_id"], "file_path": said["file_id"]}

    async def _file(self, request: web.Request) -> web.StreamResponse:
        if request.match_info["token"] != self.token:
            return web.Response(status=404)
        return web.Response(body=self.files[request.match_info["path"]])

    def _keep(self, said: Json) -> Json:
        message_id = next(self._count)
        self.messages[message_id] = {**said, "message_id": message_id}
        return self.messages[message_id]

    def _check(self, said: Json) -> None:
        if said.get("chat_id") not in self.chats:
            raise _error(400, "Bad Request: chat not found")
        if not said["text"].strip():
            raise _error(400, "Bad Request: message text is empty")
        if _units(said["text"]) > MAX_TEXT:
            raise _error(400, "Bad Request: message is too long")
        rows = said.get("reply_markup", {}).get("inline_keyboard", [])
        if any(not 0 < len(one["callback_data"].encode()) <= 64 for row in rows for one in row):
            raise _error(400, "Bad Request: BUTTON_DATA_INVALID")


async def _content(request: web.Request) -> Json:
    if request.content_type == "application/json":
        return await request.json()
    form = await request.post()
    return {name: value.file.read() if isinstance(value, web.FileField) else value for name, value in form.items()}


def _chat(chat: int) -> Json:
    return {"id": chat, "type": "private" if chat > 0 else "supergroup"}


def _user(user: int, *, bot: bool = False) -> Json:
    return {"id": user, "is_bot": bot, "first_name": "Someone"}


def _units(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


def _entities(text: str) -> list[Json]:
    found: list[Json] = []
    for word in text.split():
        kind = "bot_command" if word.startswith("/") else "mention" if word.startswith("@") else ""
        if kind:
            found.append({"type": kind, "offset": _units(text[: text.index(word)]), "length": _units(word)})
    return found


def _error(code: int, description: str, **more: Mapping[str, object]) -> Ended:
    body = {"ok": False, "error_code": code, "description": description, **more}
    return Ended(web.Response(status=code, text=json.dumps(body), content_type="application/json"))
