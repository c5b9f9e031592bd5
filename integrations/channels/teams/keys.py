"""The Bot Framework's signing keys, fetched by its OpenID metadata and kept for a day."""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import cast
from urllib.parse import urlsplit

import httpx

from integrations.channels.http import call, json_of
from integrations.channels.teams.verify import BotFrameworkToken, UnknownKey
from integrations.errors import Unavailable

KEPT_SECONDS = 24 * 3600.0
AGAIN_SECONDS = 300.0
"""How often at most an unknown key makes us ask again: strangers must not make us ask for each of their tokens."""
Jwks = Mapping[str, object]


class Keys:
    """The current key set; one fetch at a time."""

    def __init__(self, http: httpx.AsyncClient, metadata_url: str, now: Callable[[], float] = time.monotonic) -> None:
        self._http = http
        self._metadata_url = metadata_url
        self._now = now
        self._lock = asyncio.Lock()
        self._keys: Jwks | None = None
        self._fetched_at = 0.0

    async def get(self) -> Jwks:
        """Return the keys; raises Unavailable where there are none and none can be had."""
        return await self._older_than(KEPT_SECONDS)

    async def renewed(self) -> Jwks:
        """Return the keys after a token named one that we don't know."""
        return await self._older_than(AGAIN_SECONDS)

    async def _older_than(self, seconds: float) -> Jwks:
        async with self._lock:
            if self._keys is None or self._now() - self._fetched_at > seconds:
                self._fetched_at = self._now()
                try:
                    self._keys = await self._fetch()
                except Unavailable:
                    # Old keys are better than none: what they don't fit is refused all the same.
                    if self._keys is None:
                        raise
            return self._keys

    async def _fetch(self) -> Jwks:
        metadata = json_of(await call(self._http, "GET", self._metadata_url, repeatable=True))
        address = str(metadata.get("jwks_uri") or "")
        if urlsplit(address)[:2] != urlsplit(self._metadata_url)[:2]:
            raise Unavailable("The Bot Framework's metadata names no key set on its own host.", after=60)
        found = json_of(await call(self._http, "GET", address, repeatable=True))
        if not isinstance(found.get("keys"), list):
            raise Unavailable("The Bot Framework's key set is empty.", after=60)
        return cast("Jwks", found)


class Proof:
    """Tells authentic activities from others: the token's checks with the current keys."""

    def __init__(self, token: BotFrameworkToken, keys: Keys) -> None:
        self._token = token
        self._keys = keys

    async def verify(self, authorization: str, activity: Mapping[str, object], now: float) -> None:
        """Raise Unauthorized unless Microsoft sent this for us; Unavailable where its keys can't be had."""
        try:
            self._token.verify(authorization, activity, await self._keys.get(), now)
        except UnknownKey:
            self._token.verify(authorization, activity, await self._keys.renewed(), now)
