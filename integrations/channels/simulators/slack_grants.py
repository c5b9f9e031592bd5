"""The simulated Slack's workspaces and tokens: OAuth v2, rotation, revocation (docs.slack.dev/authentication).

A code works once. With `expires_in` set, tokens rotate: an access token is refused after its end, a refresh token works
once, and who brings one twice is noted in `burnt`.
"""

import base64
import itertools
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from aiohttp import web

from integrations.channels.simulators.slack_rules import error

Json = dict[str, Any]
FIRST, APP = "T1", "A1"


@dataclass(slots=True)
class Workspace:
    """One workspace: our user in it, and whether its people may come from others (`enterprise`)."""

    id: str
    name: str
    bot: str
    enterprise: bool = False


@dataclass(slots=True)
class _Grant:
    team: str
    ends_at: float | None


class Grants:
    """Who may speak where. `consenting` is the workspace whose administrator sits at the browser; blank: declines."""

    client_id, client_secret = "10.20", "simulated-client-secret"

    def __init__(self, bot_token: str) -> None:
        self.workspaces = {FIRST: Workspace(FIRST, "simulated", "UBOT"), "T2": Workspace("T2", "second", "UBOT2")}
        self.channels = {"C1": FIRST, "C2": FIRST, "D1": FIRST, "D2": FIRST, "C9": "T2", "D9": "T2"}
        self.expires_in: float | None = None
        self.consenting = FIRST
        self.burnt: list[str] = []
        self.refreshed: list[str] = []
        self.used: list[tuple[str, str]] = []
        self._tokens = {bot_token: _Grant(FIRST, None)}
        self._ended: set[str] = set()
        self._codes: dict[str, tuple[str, str]] = {}
        self._refresh: dict[str, str] = {}
        self._count = itertools.count(1)

    def team(self, token: str) -> Workspace:
        """Return whose token this is; it is refused as Slack would refuse it."""
        grant = self._tokens.get(token)
        if grant is None:
            raise error("token_revoked" if token in self._ended else "invalid_auth")
        if grant.ends_at is not None and time.monotonic() > grant.ends_at:
            raise error("token_expired")
        return self.workspaces[grant.team]

    def tokens(self, team: str) -> list[str]:
        """Return the access tokens of a workspace, the newest last."""
        return [token for token, grant in self._tokens.items() if grant.team == team]

    def expire(self, team: str) -> None:
        """Let all access tokens of a workspace end now."""
        for token in self.tokens(team):
            self._tokens[token].ends_at = 0.0

    def revoke(self, team: str) -> None:
        """End all tokens of a workspace."""
        for token in self.tokens(team):
            del self._tokens[token]
            self._ended.add(token)
        self._refresh = {token: of for token, of in self._refresh.items() if of != team}

    def authorize(self, request: web.Request) -> web.StreamResponse:
        """Ask the administrator, who says yes or no at once."""
        asked = request.query
        if asked.get("client_id") != self.client_id or not asked.get("scope"):
            return web.Response(status=400, text="Invalid client_id parameter, or no scope")
        answer = {"state": asked.get("state", "")}
        if self.consenting:
            code = f"{next(self._count)}.code"
            self._codes[code] = (self.consenting, asked["redirect_uri"])
            answer["code"] = code
        else:
            answer["error"] = "access_denied"
        raise web.HTTPFound(f"{asked['redirect_uri']}?{urlencode(answer)}")

    def access(self, request: web.Request, said: Mapping[str, Any]) -> Json:
        """Exchange a code or a refresh token."""
        self._authenticated(request, said)
        if said.get("grant_type") == "refresh_token":
            team = self._exchanged(str(said.get("refresh_token", "")))
        else:
            team, back = self._codes.pop(str(said.get("code", "")), ("", ""))
            if not team:
                raise error("invalid_code")
            if back != said.get("redirect_uri"):
                raise error("bad_redirect_uri")
        return self._granted(self.workspaces[team])

    def _exchanged(self, token: str) -> str:
        team = self._refresh.pop(token, "")
        if not team:
            self.burnt.append(token)
            raise error("invalid_refresh_token")
        self.refreshed.append(team)
        return team

    def _authenticated(self, request: web.Request, said: Mapping[str, Any]) -> None:
        given = said.get("client_id"), said.get("client_secret")
        scheme, _, basic = request.headers.get("Authorization", "").partition(" ")
        if scheme == "Basic":
            name, _, secret = base64.b64decode(basic).decode().partition(":")
            given = name, secret
        if given[0] != self.client_id:
            raise error("invalid_client_id")
        if given[1] != self.client_secret:
            raise error("bad_client_secret")

    def _granted(self, workspace: Workspace) -> Json:
        number, rotates = next(self._count), self.expires_in is not None
        token = f"{'xoxe.' if rotates else ''}xoxb-{workspace.id}-{number}"
        self._tokens[token] = _Grant(workspace.id, time.monotonic() + self.expires_in if self.expires_in else None)
        granted: Json = {
            "access_token": token,
            "token_type": "bot",
            "bot_user_id": workspace.bot,
            "app_id": APP,
            "scope": "chat:write",
            "authed_user": {"id": "U1"},
            "team": None if workspace.enterprise else {"id": workspace.id, "name": workspace.name},
            "enterprise": {"id": "E1", "name": "organisation"} if workspace.enterprise else None,
            "is_enterprise_install": workspace.enterprise,
        }
        if rotates:
            refresh = f"xoxe-1-{workspace.id}-{number}"
            self._refresh[refresh] = workspace.id
            granted |= {"refresh_token": refresh, "expires_in": self.expires_in}
        return granted
