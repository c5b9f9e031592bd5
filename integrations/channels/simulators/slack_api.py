"""The simulated Slack's Web API, files included, as the vendor's client calls it."""

import itertools
import time
from collections.abc import Callable
from typing import Any

from aiohttp import web

from integrations.channels.simulators.base import Ended, Fault, Simulator
from integrations.channels.simulators.slack_grants import Grants, Workspace
from integrations.channels.simulators.slack_rules import check_content, error
from integrations.channels.slack.check import SCOPES

Json = dict[str, Any]
_BEGIN = 1_700_000_000


class WebApi(Simulator):
    """What it has been told, and what it answers."""

    bot_token, app_token, signing_secret = "xoxb-simulated", "xapp-simulated", "simulated-signing-secret"

    def __init__(self) -> None:
        super().__init__()
        self.grants = Grants(self.bot_token)
        self.messages: dict[str, Json] = {}
        self.views: list[Json] = []
        self.uploads: dict[str, bytes] = {}
        self.files: dict[str, bytes] = {}
        self.scopes = set(SCOPES)
        self._opened_by: dict[str, str] = {}
        self._caller: Workspace = self.grants.workspaces["T1"]
        self._count = itertools.count(1)
        self._triggers: dict[str, float] = {}

    @property
    def channels(self) -> dict[str, str]:
        """The channels there are, and whose they are."""
        return self.grants.channels

    async def _api(self, request: web.Request) -> web.StreamResponse:
        method = request.match_info["method"]
        said: Json = await request.json() if request.content_type == "application/json" else dict(await request.post())
        fault = await self.meet(request, method, said, key=str(said.get("channel", "")))
        if method == "oauth.v2.access":
            return self._answered(request, self.grants.access(request, said), fault)
        self._authenticate(request, method)
        if method.startswith("chat.") and "chat:write" not in self.scopes:
            raise error("missing_scope", needed="chat:write", provided=",".join(self.scopes))
        handler: Callable[[Json], Json] | None = getattr(self, "_" + method.replace(".", "_"), None)
        if handler is None:
            raise error("unknown_method")
        return self._answered(request, handler(said), fault)

    def _authenticate(self, request: web.Request, method: str) -> None:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if method == "apps.connections.open":
            if token != self.app_token:
                raise error("invalid_auth")
            return
        self._caller = self.grants.team(token)  # Nothing is awaited before it is used.
        self.grants.used.append((method, token))

    def _answered(self, request: web.Request, answer: Json, fault: Fault | None) -> web.StreamResponse:
        self.changed()
        headers = {"X-OAuth-Scopes": ",".join(sorted(self.scopes))}
        return self.faulty(request, fault) if fault else web.json_response({"ok": True, **answer}, headers=headers)

    def limited(self, wait_s: float) -> web.StreamResponse:
        """Answer as Slack does, in whole seconds."""
        headers = {"Retry-After": str(max(1, round(wait_s)))}
        return web.json_response({"ok": False, "error": "ratelimited"}, status=429, headers=headers)

    def _auth_test(self, _: Json) -> Json:
        of = self._caller
        return {"user_id": of.bot, "team_id": of.id, "team": of.name, "bot_id": "B1", "url": f"{self.url}/"}

    def _auth_revoke(self, _: Json) -> Json:
        self.grants.revoke(self._caller.id)
        return {"revoked": True}

    def _apps_connections_open(self, _: Json) -> Json:
        return {"url": f"{self.ws_url}/socket?ticket={self._trigger()}"}

    def _chat_postMessage(self, said: Json) -> Json:  # noqa: N802 - the method's name
        self._known(said)
        check_content(said)
        stamp = self._stamp()
        self.messages[stamp] = {**said, "ts": stamp}
        return {"ts": stamp, "channel": said["channel"]}

    def _chat_update(self, said: Json) -> Json:
        if said.get("ts") not in self.messages:
            raise error("message_not_found")
        if self.messages[said["ts"]].get("streaming"):
            raise error("streaming_state_conflict")
        check_content(said)
        kept = {k: v for k, v in self.messages[said["ts"]].items() if k in {"channel", "thread_ts", "ts"}}
        self.messages[said["ts"]] = {**said, **kept}
        return {"ts": said["ts"], "channel": said["channel"]}

    def _chat_postEphemeral(self, said: Json) -> Json:  # noqa: N802
        self._known(said)
        return {"message_ts": self._stamp()}

    def _chat_startStream(self, said: Json) -> Json:  # noqa: N802
        self._known(said)
        if not said.get("thread_ts"):
            raise error("invalid_thread_ts")
        if not said["channel"].startswith("D") and not (
            said.get("recipient_user_id") and said.get("recipient_team_id")
        ):
            raise error("missing_recipient_user_id")
        stamp = self._stamp()
        self.messages[stamp] = {**said, "ts": stamp, "streaming": True}
        return {"ts": stamp, "channel": said["channel"]}

    def _chat_appendStream(self, said: Json) -> Json:  # noqa: N802
        message = self._streaming(said)
        if len(said["markdown_text"]) > 12_000:
            raise error("msg_too_long")
        message["markdown_text"] = message.get("markdown_text", "") + said["markdown_text"]
        return {"ts": said["ts"]}

    def _chat_stopStream(self, said: Json) -> Json:  # noqa: N802
        self._streaming(said)["streaming"] = False
        return {"ts": said["ts"]}

    def _views_open(self, said: Json) -> Json:
        opened_at = self._triggers.get(said.get("trigger_id", ""))
        if opened_at is None or time.monotonic() - opened_at > 3:
            raise error("expired_trigger_id")
        view = said["view"]
        if len(view["title"]["text"]) > 24 or len(view["private_metadata"]) > 3000 or not view["blocks"]:
            raise error("invalid_arguments")
        self.views.append({**view, "id": f"V{next(self._count)}"})
        self._opened_by[self.views[-1]["id"]] = self._caller.id
        return {"view": self.views[-1]}

    def _files_getUploadURLExternal(self, _: Json) -> Json:  # noqa: N802
        file_id = f"F{next(self._count)}"
        return {"upload_url": f"{self.url}/upload/{file_id}", "file_id": file_id}

    def _files_completeUploadExternal(self, said: Json) -> Json:  # noqa: N802
        if any(file["id"] not in self.uploads for file in said["files"]):
            raise error("file_not_found")
        return {"files": said["files"]}

    async def _upload(self, request: web.Request) -> web.StreamResponse:
        self.uploads[request.match_info["id"]] = await request.read()
        return web.Response(text="OK")

    async def _authorize(self, request: web.Request) -> web.StreamResponse:
        return self.grants.authorize(request)

    async def _file(self, request: web.Request) -> web.StreamResponse:
        try:
            self.grants.team(request.headers.get("Authorization", "").removeprefix("Bearer "))
        except Ended:
            return web.Response(text="<html>sign in</html>", content_type="text/html")
        return web.Response(body=self.files[request.match_info["name"]])

    def _streaming(self, said: Json) -> Json:
        message = self.messages.get(said["ts"], {})
        if not message.get("streaming"):
            raise error("message_not_in_streaming_state")
        return message

    def _known(self, said: Json) -> None:
        if self.channels.get(said.get("channel", "")) != self._caller.id:
            raise error("channel_not_found")

    def _stamp(self) -> str:
        return f"{_BEGIN}.{next(self._count):06d}"

    def _trigger(self) -> str:
        trigger = f"{next(self._count)}.trigger"
        self._triggers[trigger] = time.monotonic()
        return trigger
