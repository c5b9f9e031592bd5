"""Sign-in by OAuth 2.0 where a provider takes no passwords: a token from its token server, shown by XOAUTH2.

Client credentials (RFC 6749, 4.4: Microsoft 365) or a refresh token of the mailbox's owner (6: Gmail). A new refresh
token that comes along is used from then on, while this process lives.
"""

import time
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from integrations.channels import http
from integrations.channels.members import text
from integrations.channels.tokens import Token
from integrations.errors import Misconfigured, Unavailable
from integrations.security import secrets
from integrations.settings_channels import Email as Section

EARLY_SECONDS = 300.0
SHORTEST_SECONDS = 60.0


@dataclass(slots=True)
class Grant:
    """What the token server wants to hear."""

    url: str
    client_id: str
    client_secret: str = field(repr=False)
    refresh_token: str = field(repr=False)
    scope: str


class Oauth:
    """Tokens of one mailbox."""

    def __init__(self, grant: Grant) -> None:
        self._grant = grant
        self._token = Token(self._fetch, early_s=EARLY_SECONDS, now=time.monotonic)

    def __repr__(self) -> str:
        return "Oauth(…)"

    @classmethod
    def of(cls, section: Section) -> "Oauth":
        """Read the settings; raises Misconfigured for what is blank or would send secrets in the clear."""
        url = (section.oauth_token_url or "").strip()
        parts = urlsplit(url)
        if parts.scheme != "https" and parts.hostname not in ("127.0.0.1", "::1", "localhost"):
            raise Misconfigured("channels.email.oauth_token_url must be an https address.")
        if not (section.oauth_client_id or "").strip():
            raise Misconfigured("channels.email.oauth_client_id is missing.")
        names = {"oauth_client_secret": section.oauth_client_secret, "oauth_refresh_token": section.oauth_refresh_token}
        known = {
            name: secrets.resolve(value, name=f"channels.email.{name}").get_secret_value() if value is not None else ""
            for name, value in names.items()
        }
        if not any(known.values()):
            raise Misconfigured("channels.email needs oauth_client_secret, oauth_refresh_token, or both.")
        client_id = (section.oauth_client_id or "").strip()
        return cls(Grant(url, client_id, *known.values(), scope=section.oauth_scope))

    async def token(self) -> str:
        """Return a token that is good for a while; raises Misconfigured where the server refuses us."""
        return await self._token.get()

    def forget(self, token: str) -> None:
        """Ask for another token next time: a mail server refused this one."""
        self._token.forget(token)

    async def _fetch(self) -> tuple[str, float]:
        grant = self._grant
        kind = "refresh_token" if grant.refresh_token else "client_credentials"
        said = {"grant_type": kind, "client_id": grant.client_id, "client_secret": grant.client_secret}
        said |= {"refresh_token": grant.refresh_token, "scope": grant.scope}
        async with http.client() as client:
            response = await http.call(
                client, "POST", grant.url, repeatable=True, data={name: value for name, value in said.items() if value}
            )
        answer = http.json_of(response)
        token = text(answer, "access_token")
        if response.status_code != 200 or not token:
            raise _refused(response.status_code, text(answer, "error"))
        grant.refresh_token = text(answer, "refresh_token") or grant.refresh_token
        seconds = answer.get("expires_in")
        return token, max(float(seconds), SHORTEST_SECONDS) if isinstance(seconds, int | float) else SHORTEST_SECONDS


def _refused(status: int, code: str) -> Misconfigured | Unavailable:
    told = f"The token server refuses us ({code[:60] or status})"
    if code == "invalid_grant":
        return Misconfigured(f"{told}: the refresh token has ended or was withdrawn; get a new one.")
    if code in {"invalid_client", "unauthorized_client"}:
        return Misconfigured(f"{told}: look at oauth_client_id and oauth_client_secret.")
    if code in {"invalid_scope", "invalid_request"}:
        return Misconfigured(f"{told}: look at oauth_scope and oauth_token_url.")
    return Misconfigured(f"{told}.") if 400 <= status < 500 else Unavailable(f"{told}.", after=30.0)
