"""Telegram's Bot API by a thin client: JSON methods, files, and its errors translated.

The token is part of every address, so no error and no log line may show one. Nothing has an idempotency key.
"""

import json
import logging
from collections.abc import Mapping
from typing import cast

import httpx

from integrations.channels.http import trust
from integrations.errors import InvalidInput, Misconfigured, RateLimited, Rejected, RunbellError, Unavailable

Json = Mapping[str, object]
TIMEOUT = httpx.Timeout(20.0, connect=10.0)
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


def _has_no_token(record: logging.LogRecord) -> bool:
    return "/bot" not in record.getMessage()


logging.getLogger("httpx").addFilter(_has_no_token)  # It logs whole addresses.


class Unclear(RunbellError):
    """The request went out and nobody can tell what became of it."""


class Api:
    """Calls methods by name."""

    def __init__(self, token: str, base_url: str) -> None:
        self._token = token
        self._base_url = base_url.rstrip("/")
        self._http = httpx.AsyncClient(timeout=TIMEOUT, verify=trust())

    def __repr__(self) -> str:
        return f"Api({self._base_url!r})"

    async def aclose(self) -> None:
        """Close the connections to Telegram."""
        await self._http.aclose()

    async def call(
        self, method: str, arguments: Json, *, files: Mapping[str, tuple[str, bytes]] | None = None, wait_s: float = 0.0
    ) -> object:
        """Call a method; `wait_s` is how long it may take by itself.

        Raises RateLimited, Unavailable (nothing happened), Unclear (perhaps something did), Rejected, Misconfigured.
        """
        timeout = httpx.Timeout(TIMEOUT.read + wait_s, connect=TIMEOUT.connect) if TIMEOUT.read else TIMEOUT
        url = f"{self._base_url}/bot{self._token}/{method}"
        try:
            if files is None:
                response = await self._http.post(url, json=dict(arguments), timeout=timeout)
            else:
                data = {name: v if isinstance(v, str) else json.dumps(v) for name, v in arguments.items()}
                response = await self._http.post(url, data=data, files=dict(files), timeout=timeout)
        except _NOT_SENT as error:
            raise Unavailable(f"Telegram can't be reached: {type(error).__name__}.", after=2.0) from None
        except (httpx.HTTPError, OSError) as error:
            raise Unclear(f"The connection to Telegram broke during {method}: {type(error).__name__}.") from None
        return _result(response, method)

    async def download(self, file_id: str, limit: int) -> bytes:
        """Return a file's bytes; raises InvalidInput where it is too large or gone, Unavailable."""
        try:
            found = cast("Json", await self.call("getFile", {"file_id": file_id}))
        except Rejected as error:
            raise InvalidInput("Telegram does not give this file: 20 MB is the most.") from error
        except Unclear as error:
            raise Unavailable(str(error)) from error
        path = found.get("file_path")
        if not isinstance(path, str) or ".." in path or path.startswith("/"):
            raise InvalidInput("Telegram does not give this file.")
        data = bytearray()
        try:
            async with self._http.stream("GET", f"{self._base_url}/file/bot{self._token}/{path}") as response:
                if response.status_code != 200:
                    raise Unavailable("Telegram does not give the file now.")
                async for chunk in response.aiter_bytes():
                    data += chunk
                    if len(data) > limit:
                        raise InvalidInput(f"The file has more than {limit} bytes.")
        except (httpx.HTTPError, OSError) as error:
            raise Unavailable(f"Telegram does not give the file now: {type(error).__name__}.") from None
        return bytes(data)


def _result(response: httpx.Response, method: str) -> object:
    try:
        answer: object = response.json()
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise Unclear(f"Telegram answered {method} with HTTP {response.status_code}.")
    told = cast("Json", answer)
    if told.get("ok") is True:
        return told.get("result")
    return _refused(told, response.status_code)


def _refused(told: Json, status: int) -> object:
    code, why = told.get("error_code", status), str(told.get("description", ""))[:300]
    if code == 429:
        parameters = told.get("parameters")
        after = cast("Json", parameters).get("retry_after") if isinstance(parameters, dict) else None
        raise RateLimited("Telegram asked for a pause.", after=float(after) if isinstance(after, int | float) else 5.0)
    if code in {401, 404}:
        raise Misconfigured("Telegram does not know the bot token: ask @BotFather for it.")
    if code == 409:
        raise Unavailable(f"Telegram: {why}", after=10.0)
    if isinstance(code, int) and code >= 500:
        raise Unclear(f"Telegram failed: {why or code}.")
    raise Rejected(f"Telegram refuses this: {why}")
