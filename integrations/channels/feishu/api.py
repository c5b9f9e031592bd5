"""Feishu's and Lark's OpenAPI: the tenant's token, calls, files; every error named by what to do next.

Sends carry a `uuid` for which Feishu keeps duplicates away for an hour, so a call that may have arrived is simply
repeated. Tokens live for two hours at most and are fetched anew ten minutes before their end.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import urlsplit

import httpx
from pydantic import SecretStr

from integrations.channels.http import trust
from integrations.channels.tokens import Token
from integrations.errors import InvalidInput, Misconfigured, RateLimited, Rejected, Unauthorized, Unavailable

TIMEOUT_SECONDS = 10.0
EARLY_SECONDS = 600
# open.feishu.cn/document/server-docs/api-call-guide/generic-error-code; 230020 per chat, 11232 per tenant.
LIMITED = {99991400, 230020, 11232}
BAD_TOKEN = {99991661, 99991663, 99991664, 99991665, 99991668, 99991671, 99991677}
NO_PERMISSION = {99991672, 99991679}
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class App:
    """Who we are, and at which of the two domains."""

    app_id: str
    secret: SecretStr
    domain: str


class Api:
    """Calls for one app. Everything raises RateLimited, Unavailable, Rejected, Unauthorized or Misconfigured."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._http: httpx.AsyncClient | None = None
        self._token = Token(self._login, early_s=EARLY_SECONDS)
        self._bot = ""

    @property
    def local(self) -> bool:
        """Whether a simulator on loopback is spoken to, which may name loopback addresses."""
        return urlsplit(self._app.domain).hostname in ("127.0.0.1", "::1", "localhost")

    async def call(
        self,
        method: str,
        path: str,
        *,
        json: Mapping[str, object] | None = None,
        query: Mapping[str, str] | None = None,
        data: Mapping[str, str] | None = None,
        files: Mapping[str, tuple[str, bytes]] | None = None,
    ) -> Json:
        """Call an address below /open-apis and return `data` (the whole where there is none)."""
        content: Mapping[str, Any] = {"json": json, "params": query, "data": data, "files": files}
        for attempt in (1, 2):
            token = await self._token.get()
            response = await self._request(method, f"/open-apis{path}", content, token=token)
            document = _document(response)
            if attempt == 1 and document.get("code") in BAD_TOKEN:
                self._token.forget(token)
                continue
            _check(response, document)
            return cast("Json", document.get("data") or document)
        raise Unavailable("Feishu refuses every token it gives.")

    async def bot(self) -> str:
        """Return the bot's own open_id, by which mentions of it are known."""
        if not self._bot:
            found = await self.call("GET", "/bot/v3/info")
            self._bot = str((found.get("bot") or {}).get("open_id") or "")
        return self._bot

    async def download(self, message_id: str, file_key: str, kind: str, limit: int) -> bytes:
        """Return a file of a message; raise InvalidInput where it is larger than `limit` bytes."""
        path = f"/open-apis/im/v1/messages/{message_id}/resources/{file_key}"
        headers = {"Authorization": f"Bearer {await self._token.get()}"}
        chunks, size = list[bytes](), 0
        try:
            async with self._client().stream("GET", path, params={"type": kind}, headers=headers) as response:
                if response.status_code != 200:
                    await response.aread()
                    _check(response, _document(response))
                async for chunk in response.aiter_bytes():
                    size += len(chunk)
                    if size > limit:
                        raise InvalidInput(f"The file is larger than {limit // 1024 // 1024} MB.", field="attachments")
                    chunks.append(chunk)
        except httpx.TransportError as error:
            raise Unavailable(f"Feishu can't be reached: {type(error).__name__}.") from error
        return b"".join(chunks)

    async def endpoint(self) -> Json:
        """Ask for the address of a long connection."""
        content = {"json": {"AppID": self._app.app_id, "AppSecret": self._app.secret.get_secret_value()}}
        response = await self._request("POST", "/callback/ws/endpoint", content)
        document = _document(response)
        _check(response, document, ask_token=True)
        return cast("Json", document.get("data") or {})

    async def aclose(self) -> None:
        """Give the connections back."""
        if self._http is not None:
            await self._http.aclose()
            self._http = None

    async def _login(self) -> tuple[str, float]:
        secret = self._app.secret.get_secret_value()
        content = {"json": {"app_id": self._app.app_id, "app_secret": secret}}
        response = await self._request("POST", "/open-apis/auth/v3/tenant_access_token/internal", content)
        document = _document(response)
        _check(response, document, ask_token=True)
        return str(document["tenant_access_token"]), float(document.get("expire") or 0)

    async def _request(self, method: str, path: str, content: Mapping[str, Any], token: str = "") -> httpx.Response:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        given = {name: value for name, value in content.items() if value is not None}
        try:
            return await self._client().request(method, path, headers=headers, **given)
        except httpx.TransportError as error:
            raise Unavailable(f"Feishu can't be reached: {type(error).__name__}.") from error

    def _client(self) -> httpx.AsyncClient:
        if self._http is None:
            # Redirects are not followed: the token goes to this host only.
            self._http = httpx.AsyncClient(base_url=self._app.domain, timeout=TIMEOUT_SECONDS, verify=trust())
        return self._http


def _document(response: httpx.Response) -> Json:
    try:
        found = response.json()
    except ValueError:
        return {}
    return cast("Json", found) if isinstance(found, dict) else {}


def _check(response: httpx.Response, document: Json, *, ask_token: bool = False) -> None:
    code, said = document.get("code"), str(document.get("msg") or response.reason_phrase)[:300]
    if response.status_code == 200 and code == 0:
        return
    if response.status_code == 429 or code in LIMITED:
        raise RateLimited(f"Feishu asks for a pause ({code}).", after=_pause(response))
    if response.status_code >= 500 or (response.status_code == 200 and code is None):
        raise Unavailable(f"Feishu answered {response.status_code} ({said}).")
    if ask_token:
        raise Misconfigured(f"Feishu refuses app_id and app_secret ({code} {said}): copy them from the app's page.")
    if code in NO_PERMISSION:
        raise Misconfigured(f"The app lacks a permission ({code} {said}): add it and publish a new version.")
    if code in BAD_TOKEN:
        raise Unauthorized(f"Feishu refuses our token ({code}).")
    raise Rejected(f"Feishu refuses this ({code} {said}).")


def _pause(response: httpx.Response) -> float:
    for name in ("x-ogw-ratelimit-reset", "retry-after"):
        try:
            return max(0.1, float(response.headers.get(name, "")))
        except ValueError:
            continue
    return 1.0
