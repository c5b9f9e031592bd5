"""The Bot Connector's calls: a token of Entra ID, activities sent and changed, files fetched within limits.

POST has no idempotency key, so what may have arrived is never sent again; PUT may be repeated.
learn.microsoft.com/azure/bot-service/rest-api/bot-framework-rest-connector-api-reference
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import httpx
from pydantic import SecretStr

from integrations.channels.http import Lost, call, json_of
from integrations.channels.tokens import Token
from integrations.errors import InvalidInput, Rejected, Unavailable
from integrations.messages import Delivery

SCOPE = "https://api.botframework.com/.default"
EARLY_SECONDS = 300.0
FETCH_SECONDS = 8.0


@dataclass(frozen=True, slots=True)
class App:
    """Who we are at Microsoft."""

    id: str
    secret: SecretStr = field(repr=False)
    token_url: str


class Api:
    """One app's calls."""

    def __init__(self, http: httpx.AsyncClient, app: App, now: Callable[[], float] = time.monotonic) -> None:
        self._http = http
        self._app = app
        self._token = Token(self._login, early_s=EARLY_SECONDS, now=now)

    async def aclose(self) -> None:
        """Give the connections back."""
        await self._http.aclose()

    async def post(self, service: str, conversation: str, activity: Mapping[str, Any], reply_to: str = "") -> Delivery:
        """Send an activity; raises as `Channel.send` does."""
        path = f"/v3/conversations/{quote(conversation, safe='')}/activities"
        url = f"{service}{path}/{quote(reply_to, safe='')}" if reply_to else f"{service}{path}"
        try:
            found = await self._call("POST", url, activity, repeatable=False)
        except Lost as error:
            return Delivery(state="unknown", error=str(error))
        return Delivery(state="sent", platform_id=str(found.get("id") or "") or None)

    async def put(self, service: str, conversation: str, activity_id: str, activity: Mapping[str, Any]) -> Delivery:
        """Put an activity in the place of an earlier one."""
        path = f"/v3/conversations/{quote(conversation, safe='')}/activities/{quote(activity_id, safe='')}"
        await self._call("PUT", f"{service}{path}", {**activity, "id": activity_id}, repeatable=True)
        return Delivery(state="sent", platform_id=activity_id)

    async def fetch(self, url: str, *, limit: int, authorized: bool) -> bytes:
        """Return a file of at most `limit` bytes; the caller has checked the host. Raises InvalidInput, Unavailable."""
        headers = {"Authorization": f"Bearer {await self._token.get()}"} if authorized else {}
        data = bytearray()
        try:
            async with asyncio.timeout(FETCH_SECONDS), self._http.stream("GET", url, headers=headers) as response:
                if response.status_code != 200:
                    raise InvalidInput(f"Teams answered HTTP {response.status_code} for this file.")
                async for part in response.aiter_bytes():
                    data += part
                    if len(data) > limit:
                        raise InvalidInput(f"This file has more than {limit} bytes.")
        except (httpx.HTTPError, TimeoutError) as error:
            raise InvalidInput(f"Teams did not give us this file ({type(error).__name__}).") from None
        return bytes(data)

    async def token(self) -> str:
        """Return a token that is valid for minutes still; raises Unavailable where Microsoft gives none."""
        return await self._token.get()

    async def _login(self) -> tuple[str, float]:
        form = {
            "grant_type": "client_credentials",
            "client_id": self._app.id,
            "client_secret": self._app.secret.get_secret_value(),
            "scope": SCOPE,
        }
        response = await call(self._http, "POST", self._app.token_url, repeatable=True, data=form)
        found = json_of(response)
        if response.status_code != 200 or not found.get("access_token"):
            why = str(found.get("error") or f"HTTP {response.status_code}")[:100]
            raise Unavailable(
                f"Microsoft gives this app no token ({why}): look at app_id, app_secret, app_tenant.", after=60
            )
        return str(found["access_token"]), float(found.get("expires_in") or 0)

    async def _call(self, method: str, url: str, content: Mapping[str, Any], *, repeatable: bool) -> dict[str, Any]:
        for again in (True, False):
            token = await self._token.get()
            headers = {"Authorization": f"Bearer {token}"}
            response = await call(self._http, method, url, repeatable=repeatable, json=content, headers=headers)
            if response.status_code != 401:
                break
            # The token may have been revoked before its time.
            self._token.forget(token)
            if not again:
                raise Unavailable("Teams does not take this app's token.", after=60)
        return _content(response)


def _content(response: httpx.Response) -> dict[str, Any]:
    found = json_of(response)
    if response.status_code == 412:
        raise Unavailable("Teams asks to try again (412).")
    if response.status_code == 408:
        raise Lost("Teams did not finish in time (408), so nobody can tell whether it was done.")
    if response.status_code >= 300:
        error = found.get("error")
        told = f"{error.get('code')}: {error.get('message')}" if isinstance(error, dict) else "refused"
        raise Rejected(f"HTTP {response.status_code}, {told}"[:300])
    return found
