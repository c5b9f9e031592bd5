"""DingTalk's OpenAPI: the token, robot messages, cards, files and the Stream gateway; each error by its remedy.

Robot messages have no idempotency key: one that may have arrived is never repeated blindly (`Lost`).
"""

import ipaddress
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import urlsplit

import httpx
from pydantic import SecretStr

from integrations.channels.http import call, client, json_of
from integrations.channels.members import table
from integrations.channels.tokens import Token
from integrations.errors import InvalidInput, Misconfigured, RateLimited, Rejected, Unavailable

EARLY_SECONDS = 600
OLD_HOST = "https://oapi.dingtalk.com"
OURS = (".dingtalk.com",)
FILES = (".dingtalk.com", ".aliyuncs.com", ".alicdn.com")
PAUSE_SECONDS = 2.0
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class App:
    """Who we are."""

    key: str
    secret: SecretStr
    robot_code: str
    url: str

    @property
    def local(self) -> bool:
        """Whether a simulator on loopback is spoken to, which may name loopback addresses."""
        return _is_loopback(urlsplit(self.url).hostname or "")


class Api:
    """Calls for one app."""

    def __init__(self, app: App) -> None:
        self.app = app
        self._client: httpx.AsyncClient | None = None
        self._token = Token(self._login, early_s=EARLY_SECONDS)

    async def aclose(self) -> None:
        """Give the connections back."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def call(self, method: str, path: str, content: Mapping[str, object], *, repeatable: bool = False) -> Json:
        """Call an address with the token; raises Lost where nobody can tell whether it was done."""
        for attempt in (1, 2):
            token = await self._token.get()
            headers = {"x-acs-dingtalk-access-token": token}
            response = await call(
                self._http(), method, self.app.url + path, repeatable=repeatable, json=content, headers=headers
            )
            if attempt == 1 and response.status_code == 401:
                self._token.forget(token)
                continue
            _check(response)
            return json_of(response)
        raise Unavailable("DingTalk refuses every token it gives.")

    async def authenticate(self) -> None:
        """Fetch a token; raise Misconfigured where DingTalk refuses who we say we are."""
        await self._token.get()

    async def open_stream(self, subscriptions: Sequence[Mapping[str, str]]) -> tuple[str, str]:
        """Return address and ticket of a Stream connection; the ticket is good for 90 seconds, once."""
        content = {"clientId": self.app.key, "clientSecret": self.app.secret.get_secret_value()}
        body = {**content, "subscriptions": list(subscriptions), "ua": "runbell"}
        url = f"{self.app.url}/v1.0/gateway/connections/open"
        response = await call(self._http(), "POST", url, repeatable=True, json=body)
        _check(response, credentials=True)
        found = json_of(response)
        endpoint = self.checked(str(found.get("endpoint") or ""), OURS, scheme="wss")
        return endpoint, str(found.get("ticket") or "")

    async def download(self, code: str, limit: int) -> bytes:
        """Return a file of a message; raises InvalidInput where it is larger than `limit` bytes."""
        body = {"robotCode": self.app.robot_code, "downloadCode": code}
        found = await self.call("POST", "/v1.0/robot/messageFiles/download", body, repeatable=True)
        url = self.checked(str(found.get("downloadUrl") or ""), FILES)
        chunks, size = list[bytes](), 0
        try:
            async with self._http().stream("GET", url) as response:
                if response.status_code != 200:
                    raise Rejected(f"DingTalk does not give the file ({response.status_code}).")
                async for chunk in response.aiter_bytes():
                    size += len(chunk)
                    if size > limit:
                        raise InvalidInput(f"The file is larger than {limit // 1024 // 1024} MB.", field="attachments")
                    chunks.append(chunk)
        except httpx.TransportError as error:
            raise Unavailable(f"DingTalk's files can't be reached: {type(error).__name__}.") from None
        return b"".join(chunks)

    async def upload(self, name: str, data: bytes, kind: str) -> str:
        """Store a file at DingTalk; returns its media id."""
        url = f"{self.app.url if self.app.local else OLD_HOST}/media/upload"
        query = {"access_token": await self._token.get(), "type": kind}
        files = {"media": (name, data)}
        response = await call(self._http(), "POST", url, repeatable=True, params=query, files=files)
        return str(_old(response)["media_id"])

    async def reply(self, webhook: str, content: Mapping[str, object]) -> None:
        """Answer within a session, at the address that its message brought; raises Rejected for other hosts."""
        url = self.checked(webhook, OURS)
        _old(await call(self._http(), "POST", url, repeatable=False, json=content))

    def checked(self, url: str, hosts: Sequence[str], *, scheme: str = "https") -> str:
        """Return an address that we were told, if it leads to the vendor; raise Rejected otherwise."""
        parts = urlsplit(url)
        host = parts.hostname or ""
        if self.app.local and _is_loopback(host):
            return url
        if parts.scheme != scheme or not any(f".{host}".endswith(end) for end in hosts) or "@" in parts.netloc:
            raise Rejected("This address does not lead to DingTalk.")
        return url

    async def _login(self) -> tuple[str, float]:
        body = {"appKey": self.app.key, "appSecret": self.app.secret.get_secret_value()}
        response = await call(
            self._http(), "POST", f"{self.app.url}/v1.0/oauth2/accessToken", repeatable=True, json=body
        )
        _check(response, credentials=True)
        found = json_of(response)
        return str(found.get("accessToken") or ""), float(found.get("expireIn") or 0)

    def _http(self) -> httpx.AsyncClient:
        if self._client is None:
            self._client = client()
        return self._client


def written(content: Mapping[str, object]) -> str:
    """Return JSON as text, as several fields want it."""
    return json.dumps(content, ensure_ascii=False)


def _check(response: httpx.Response, *, credentials: bool = False) -> None:
    if response.status_code < 300:
        return
    found = json_of(response)
    code, said = str(found.get("code") or response.status_code), str(found.get("message") or "")[:300]
    if "Qps" in code or "Throttling" in code or "flowControl" in code:
        raise RateLimited(f"DingTalk asks for a pause ({code}).", after=PAUSE_SECONDS)
    if credentials:
        raise Misconfigured(f"DingTalk refuses app_key and app_secret ({code} {said}): copy them from the app's page.")
    if "AccessDenied" in code or response.status_code == 403:
        lacking = ", ".join(_required(found)) or f"{code} {said}"
        raise Misconfigured(f"The app lacks a permission ({lacking}): apply for it on the app's page, Permissions.")
    raise Rejected(f"DingTalk refuses this ({code} {said}).")


def _required(found: Json) -> list[str]:
    """Return the permissions that a refusal names (open-dingtalk.github.io/developerpedia, permission-deny)."""
    scopes: object = table(found, "accessdenieddetail").get("requiredScopes")
    return [str(one)[:100] for one in cast("list[object]", scopes)[:10]] if isinstance(scopes, list) else []


def _old(response: httpx.Response) -> Json:
    """Read an answer of the older API, which is 200 whatever happened."""
    found = json_of(response)
    if found.get("errcode") in (130101, 410100, 90018):
        raise RateLimited("DingTalk asks for a pause.", after=60.0)
    if response.status_code != 200 or found.get("errcode"):
        raise Rejected(f"DingTalk refuses this ({found.get('errcode')} {str(found.get('errmsg'))[:200]}).")
    return found


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
