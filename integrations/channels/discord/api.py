"""Discord's REST API as one bot; its answers in our words.

A 429 says how long to wait. Requests that are refused count: 10,000 of them in ten minutes shut the whole address out,
so a wrong token is asked about once a minute at most (discord.com/developers/docs/topics/rate-limits).
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import httpx

from integrations.channels import http
from integrations.channels.members import rows
from integrations.errors import Misconfigured, RateLimited, Rejected

AGENT = "DiscordBot (https://github.com/runbell, 0.1)"
REFUSED_SECONDS = 60.0
MAX_FILE = 20 * 1024 * 1024
FILE_HOSTS = frozenset({"cdn.discordapp.com", "media.discordapp.net"})
File = tuple[str, bytes, str]


class Api:
    """Calls as one bot."""

    def __init__(self, base: str, token: str, *, now: Callable[[], float] = time.monotonic) -> None:
        self.base = base.rstrip("/")
        self.token = token
        self._now = now
        self._http = http.client()
        self._refused_until = 0.0

    def __repr__(self) -> str:
        return "Api(…)"

    @property
    def origins(self) -> tuple[str, ...]:
        """Where a simulated Discord may lie besides the real hosts: with its API, on this machine."""
        own = httpx.URL(self.base)
        return (f"{own.scheme}://{own.netloc.decode()}",) if own.host in ("127.0.0.1", "localhost") else ()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def call(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        *,
        repeatable: bool,
        files: Sequence[File] = (),
    ) -> dict[str, Any]:
        """Call and return the object that comes back; raises as `Channel.send` does, and Lost."""
        if self._now() < self._refused_until:
            raise Misconfigured("Discord refuses bot_token: copy it from the application's Bot page.")
        request: dict[str, Any] = {} if body is None else {"json": body}
        if files:
            parts = {f"files[{index}]": file for index, file in enumerate(files)}
            request = {"data": {"payload_json": json.dumps(body)}, "files": parts}
        headers = {"Authorization": f"Bot {self.token}", "User-Agent": AGENT}
        response = await http.call(
            self._http, method, self.base + path, repeatable=repeatable, headers=headers, **request
        )
        self._check(response)
        return http.json_of(response)

    async def rows(self, path: str) -> list[Mapping[str, Any]]:
        """Ask for something that comes as a list of objects."""
        headers = {"Authorization": f"Bot {self.token}", "User-Agent": AGENT}
        response = await http.call(self._http, "GET", self.base + path, repeatable=True, headers=headers)
        self._check(response)
        try:
            return list(rows(response.json()))
        except ValueError:
            return []

    async def download(self, url: str) -> bytes:
        """Return a file of Discord's; Rejected for any other host, and above 20 MiB."""
        address = httpx.URL(url)
        own = httpx.URL(self.base)
        simulated = own.host == "127.0.0.1" and (address.host, address.port) == (own.host, own.port)
        if not simulated and (address.scheme != "https" or address.host not in FILE_HOSTS or address.port):
            raise Rejected("The file does not lie with Discord.")
        content = bytearray()
        async with self._http.stream("GET", address) as response:
            if response.status_code != 200:
                raise Rejected(f"The file is gone (HTTP {response.status_code}).")
            async for chunk in response.aiter_bytes():
                content += chunk
                if len(content) > MAX_FILE:
                    raise Rejected("The file is larger than 20 MiB.")
        return bytes(content)

    def _check(self, response: httpx.Response) -> None:
        status = response.status_code
        if status < 300:
            return
        answer = http.json_of(response)
        text = f"Discord refused ({status}, {answer.get('code', '?')}): {str(answer.get('message', ''))[:200]}"
        if status == 401:
            self._refused_until = self._now() + REFUSED_SECONDS
            raise Misconfigured("Discord refuses bot_token: copy it from the application's Bot page.")
        if answer.get("code") == 20028:
            raise RateLimited(text, after=5.0)
        raise Rejected(text)
