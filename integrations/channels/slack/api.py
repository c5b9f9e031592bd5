"""Slack's Web API through the vendor's client; its errors are translated here, and only here.

Nothing has an idempotency key (docs.slack.dev), so the client's own retries are off: what may have been posted is not
posted again.
"""

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit

import aiohttp

from integrations.errors import InvalidInput, Misconfigured, RateLimited, Rejected, RunbellError, Unavailable

if TYPE_CHECKING:
    from slack_sdk.errors import SlackApiError
    from slack_sdk.web.async_client import AsyncWebClient

Json = Mapping[str, object]
TIMEOUT_SECONDS = 20
_TOKEN_REFUSED = {"invalid_auth", "not_authed", "account_inactive", "token_revoked", "token_expired"}
_quiet = logging.getLogger(f"{__name__}.client")
_quiet.setLevel(logging.WARNING)  # At DEBUG the vendor's client logs what it sends and gets, tokens included.
_PERHAPS = {"fatal_error", "internal_error", "request_timeout"}
_NOT_NOW = {"service_unavailable", "team_added_to_org", "ratelimited", "rate_limited"}


class Unclear(RunbellError):
    """The request went out and nobody can tell what became of it."""


class TokenRefused(Misconfigured):
    """Slack does not take this token (any more); `code` says why. Nothing was done."""

    def __init__(self, code: str) -> None:
        super().__init__(f"Slack refuses us: {code}. See docs/channels/slack.md.")
        self.code = code


class Refused(Rejected):
    """Slack refuses what was asked; `code` says why."""

    def __init__(self, code: str) -> None:
        super().__init__(f"Slack refuses this: {code}.")
        self.code = code


class Api:
    """Calls methods by name."""

    def __init__(self, token: str, base_url: str) -> None:
        self.token = token
        self.base_url = base_url if base_url.endswith("/") else f"{base_url}/"
        self._client: AsyncWebClient | None = None

    def __repr__(self) -> str:
        return f"Api({self.base_url!r})"

    @property
    def client(self) -> "AsyncWebClient":
        """The vendor's client, made on first use."""
        if self._client is None:
            from slack_sdk.web.async_client import AsyncWebClient

            self._client = AsyncWebClient(
                self.token, base_url=self.base_url, timeout=TIMEOUT_SECONDS, retry_handlers=[], logger=_quiet
            )
        return self._client

    async def call(self, method: str, arguments: Json) -> Json:
        """Call a method.

        Raises RateLimited, Unavailable (nothing happened), Unclear (perhaps something did), Rejected, Misconfigured.
        """
        from slack_sdk.errors import SlackApiError, SlackClientError

        try:
            response = await self.client.api_call(method, json=dict(arguments))
        except SlackApiError as error:
            raise self._translated(error) from error
        except aiohttp.ClientConnectorError as error:
            raise Unavailable(f"Slack can't be reached: {type(error).__name__}.", after=2.0) from error
        except (aiohttp.ClientError, TimeoutError, SlackClientError, OSError) as error:
            raise Unclear(f"The connection to Slack broke during {method}: {type(error).__name__}.") from error
        return cast("Json", response.data)

    async def download(self, url: str, limit: int) -> bytes:
        """Return the bytes of a file of Slack's; raises InvalidInput for another's address, or for too many."""
        if not self.is_slacks(url):
            raise InvalidInput("The file's address is not Slack's.")
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.get(url, headers={"Authorization": f"Bearer {self.token}"}, allow_redirects=False) as response,
            ):
                if response.status >= 500 or response.status == 429:
                    raise Unavailable("Slack does not give the file now.")
                if response.status != 200 or response.content_type == "text/html":
                    raise InvalidInput("Slack does not give the file: the app needs the scope files:read.")
                return await _bounded(response, limit)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unavailable(f"Slack does not give the file now: {type(error).__name__}.") from error

    async def upload(self, name: str, data: bytes) -> str:
        """Store a file at Slack without showing it to anybody; returns its id. Can be repeated harmlessly."""
        given = await self.form("files.getUploadURLExternal", {"filename": name, "length": str(len(data))})
        url = str(given["upload_url"])
        if not self.is_slacks(url):
            raise Rejected("Slack named an address for the upload that is not its own.")
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.post(url, data=data, allow_redirects=False) as response,
            ):
                if response.status != 200:
                    raise Unavailable(f"Slack did not take the file {name}: HTTP {response.status}.")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unavailable(f"Slack did not take the file {name}: {type(error).__name__}.") from error
        return str(given["file_id"])

    async def form(self, method: str, arguments: Mapping[str, str]) -> Json:
        """Call a method that wants a form, and that may be repeated."""
        from slack_sdk.errors import SlackApiError, SlackClientError

        try:
            response = await self.client.api_call(method, data=dict(arguments))
        except SlackApiError as error:
            raise self._translated(error) from error
        except (aiohttp.ClientError, TimeoutError, SlackClientError, OSError) as error:
            raise Unavailable(f"Slack can't be reached: {type(error).__name__}.", after=2.0) from error
        return cast("Json", response.data)

    def _translated(self, error: "SlackApiError") -> RunbellError:
        return translated(error)

    def is_slacks(self, url: str) -> bool:
        """Tell whether our token may be sent there: Slack's own hosts, or the server the API was set to."""
        parts, own = urlsplit(url), urlsplit(self.base_url)
        if (parts.scheme, parts.netloc) == (own.scheme, own.netloc):
            return True
        host = parts.hostname or ""
        return (
            parts.scheme == "https" and "@" not in parts.netloc and (host == "slack.com" or host.endswith(".slack.com"))
        )


def translated(error: "SlackApiError") -> RunbellError:
    """Return what a refusal of Slack's means."""
    response = error.response
    status = int(response.status_code if hasattr(response, "status_code") else response.get("status", 0))
    data: object = response.data if hasattr(response, "data") else response
    code = str(cast("Json", data).get("error", "")) if isinstance(data, dict) else ""
    headers = {str(name).lower(): str(value) for name, value in dict(getattr(response, "headers", {})).items()}
    if status == 429 or code in {"ratelimited", "rate_limited"}:
        return RateLimited("Slack asked for a pause.", after=_seconds(headers.get("retry-after", "")))
    if code in _TOKEN_REFUSED:
        return TokenRefused(code)
    if code == "missing_scope":
        needed = cast("Json", data).get("needed")
        return Misconfigured(f"Slack refuses us: {code} (needed: {needed}). See docs/channels/slack.md.")
    if status == 503 or code in _NOT_NOW:
        return Unavailable("Slack is not available now.", after=5.0)
    if status >= 500 or code in _PERHAPS or not code:
        return Unclear(f"Slack failed: {code or status}.")
    return Refused(code)


def _seconds(text: str) -> float:
    try:
        return min(max(float(text), 0.1), 3600.0)
    except ValueError:
        return 30.0


async def _bounded(response: aiohttp.ClientResponse, limit: int) -> bytes:
    data = bytearray()
    async for chunk in response.content.iter_chunked(65_536):
        data += chunk
        if len(data) > limit:
            raise InvalidInput(f"The file has more than {limit} bytes.")
    return bytes(data)
