"""Add to Slack: an invitation of ours leads a workspace's administrator to Slack and back (docs.slack.dev, OAuth v2).

An invitation is signed, ends, and installs once, so that nobody else's workspace gets in. The state that goes to Slack
is bound to the browser by a cookie, lives ten minutes in the database, and is used up by the first who brings it.
"""

import asyncio
import base64
import binascii
import hashlib
import hmac
import html
import logging
import re
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import quote, urljoin

from integrations.channels import Answer, Call, Hook
from integrations.channels.members import Json, table, text
from integrations.channels.slack.api import Api, Refused
from integrations.channels.slack.check import SCOPES
from integrations.channels.slack.installed import CHANNEL, Installed, Tokens
from integrations.errors import Forbidden, InvalidInput, Misconfigured, RunbellError, Unauthorized
from integrations.security.tokens import read_token
from integrations.settings import Settings

if TYPE_CHECKING:
    from slack_sdk.oauth import OAuthStateUtils

logger = logging.getLogger(__name__)
INVITATION = timedelta(days=1)
STATE = timedelta(minutes=10)
ENDS = {"app_uninstalled", "tokens_revoked"}
_STATE = re.compile(r"[A-Za-z0-9_-]{43}")
_CODE = re.compile(r"[A-Za-z0-9._-]{1,200}")
_HEAD, _MAC = 4 + 16, 16
_PAGE = "<!doctype html><meta charset=utf-8><title>Runbell</title><h1>{}</h1><p>{}</p>"
_SAFE = {"content-security-policy": "default-src 'none'"}
NOT_HERE = "Runbell is not installed in this workspace any more: ask its operator for an invitation."


class Invitations:
    """Makes and reads invitations; every process with the same RUNBELL_HOME token understands them."""

    def __init__(self, key: bytes) -> None:
        self._key = hmac.digest(key, b"runbell slack invitation v1", "sha256")

    def __repr__(self) -> str:
        return "Invitations(…)"

    @classmethod
    def of(cls, settings: Settings) -> "Invitations":
        """Build them for an installation of Runbell."""
        return cls(read_token(settings.state).encode())

    def new(self, now: datetime) -> str:
        """Return an invitation for one workspace."""
        head = int((now + INVITATION).timestamp()).to_bytes(4, "big") + secrets.token_bytes(_HEAD - 4)
        return base64.urlsafe_b64encode(head + self._mac(head)).decode()

    def read(self, invitation: str, now: datetime) -> tuple[bytes, datetime]:
        """Return its digest and its end; raise Unauthorized for what we did not make, Forbidden for an old one."""
        try:
            data = base64.b64decode(invitation, altchars=b"-_", validate=True)
        except (binascii.Error, ValueError) as error:
            raise Unauthorized("This invitation was not made here.") from error
        head = data[:_HEAD]
        if len(data) != _HEAD + _MAC or not hmac.compare_digest(data[_HEAD:], self._mac(head)):
            raise Unauthorized("This invitation was not made here.")
        ends_at = datetime.fromtimestamp(int.from_bytes(head[:4], "big"), UTC)
        if ends_at < now:
            raise Forbidden("This invitation has ended: ask for a new one.")
        return _digest(head), ends_at

    def _mac(self, head: bytes) -> bytes:
        return hmac.digest(self._key, head, "sha256")[:_MAC]


class Install:
    """The two addresses of the way to Slack and back, and what Slack tells of installations."""

    paths = ("/install", "/oauth")
    hooks = (
        Hook("/install", "Add Runbell to a Slack workspace, by invitation", methods=("GET",)),
        Hook("/oauth", "Come back from Slack", methods=("GET",)),
    )

    def __init__(self, workspaces: Installed, invitations: Invitations, public_url: str) -> None:
        self.workspaces = workspaces
        self._invitations = invitations
        self._back = f"{public_url.rstrip('/')}/channels/{CHANNEL}/oauth"

    @classmethod
    def of(cls, settings: Settings, workspaces: Installed) -> "Install":
        """Build it; raises Misconfigured without a public address."""
        if not settings.gateway.public_url:
            raise Misconfigured("Slack leads back to us after an installation: set gateway.public_url.")
        return cls(workspaces, Invitations.of(settings), settings.gateway.public_url)

    async def accept(self, call: Call) -> Answer:
        """Serve one of the two; raises Unauthorized or Forbidden for what is not bound to one of our invitations."""
        return await (self._begin(call) if call.path == "/install" else self._end(call))

    async def refusal(self, payload: Json, team: str) -> Mapping[str, object] | None:
        """Say what a workspace hears that we are not installed in; None where we are. Raises TemporaryError."""
        event = table(payload, "event")
        if payload.get("type") == "event_callback" and event.get("type") in ENDS:
            tokens = event.get("tokens")
            if event["type"] == "app_uninstalled" or (isinstance(tokens, dict) and tokens.get("bot")):
                await self.workspaces.has_ended(team, text(event, "type"))
            return {}
        if await self.workspaces.bot(team) is not None:
            return None
        logger.warning("Slack told of a workspace that we are not installed in", extra={"team": team[:20]})
        return {"response_type": "ephemeral", "text": NOT_HERE} if "command" in payload else {}

    async def _begin(self, call: Call) -> Answer:
        now, state = self.workspaces.now(), secrets.token_urlsafe(32)
        digest, ends_at = self._invitations.read(call.query.get("invite", ""), now)
        if not await asyncio.to_thread(
            self.workspaces.store.open_invitation, digest, _digest(state.encode()), now + STATE, ends_at
        ):
            raise Forbidden("This invitation was used already: ask for a new one.")
        cookie = f"{_cookie().build_set_cookie_for_new_state(state)}; SameSite=Lax"
        return Answer(302, None, headers={"location": self._to_slack(state), "set-cookie": cookie})

    async def _end(self, call: Call) -> Answer:
        state, code = call.query.get("state", ""), call.query.get("code", "")
        if not _STATE.fullmatch(state) or not _cookie().is_valid_browser(
            state, {"cookie": call.headers.get("cookie", "")}
        ):
            raise Unauthorized("This way to Slack began in another browser, or not here: open the invitation again.")
        unknown = _digest(secrets.token_bytes(32))  # What no state has: from here on this one is used up.
        invitation = await asyncio.to_thread(self.workspaces.store.redeem_state, _digest(state.encode()), unknown)
        if invitation is None:
            raise Unauthorized("This way to Slack has ended or was gone already: open the invitation again.")
        if not _CODE.fullmatch(code):
            return _page(403, "Not installed", f"Slack says: {call.query.get('error', 'no code')[:100]}.")
        try:
            answer = await self.workspaces.app.exchange(code=code, redirect_uri=self._back)
        except Refused as error:
            return _page(403, "Not installed", f"Slack says: {error.code}. Open the invitation again.")
        return await self._installed(answer, invitation)

    async def _installed(self, answer: Json, invitation: bytes) -> Answer:
        from integrations.database import Installation

        tokens, team = Tokens.of(answer, self.workspaces.now()), table(answer, "team")
        if answer.get("is_enterprise_install") or not text(team, "id"):
            await self._revoke(tokens)
            raise InvalidInput("Install Runbell into one workspace, not into the whole organisation.")
        name, team_id = text(team, "name")[:200] or text(team, "id"), text(team, "id")[:50]
        one = Installation(
            tenant=self.workspaces.tenant,
            channel=CHANNEL,
            workspace=team_id,
            name=name,
            bot=text(answer, "bot_user_id"),
            sealed=self.workspaces.sealed(tokens, team_id),
            expires_at=tokens.expires_at,
        )
        if not await asyncio.to_thread(self.workspaces.store.save, one, invitation):
            raise Forbidden("This invitation was used already: ask for a new one.")
        logger.info("a workspace of Slack's was added", extra={"team": team_id})
        return _page(200, "Installed", f"Runbell is in the workspace {name}. Mention it, or write to it directly.")

    def _to_slack(self, state: str) -> str:
        from slack_sdk.oauth import AuthorizeUrlGenerator

        app = self.workspaces.app
        return AuthorizeUrlGenerator(
            client_id=quote(app.client_id, safe=""),
            scopes=SCOPES,
            redirect_uri=quote(self._back, safe=""),
            authorization_url=urljoin(app.api.base_url, "/oauth/v2/authorize"),
        ).generate(state)

    async def _revoke(self, tokens: Tokens) -> None:
        try:
            await Api(tokens.token, self.workspaces.app.api.base_url).form("auth.revoke", {})
        except RunbellError as error:
            logger.warning("a token that nobody needs was not revoked", extra={"error": str(error)})


def _cookie() -> "OAuthStateUtils":
    from slack_sdk.oauth import OAuthStateUtils

    return OAuthStateUtils(cookie_name="__Host-runbell-slack", expiration_seconds=int(STATE.total_seconds()))


def _digest(value: bytes) -> bytes:
    return hashlib.sha256(value).digest()


def _page(status: int, title: str, said: str) -> Answer:
    headers = {"set-cookie": _cookie().build_set_cookie_for_deletion(), **_SAFE}
    return Answer(status, _PAGE.format(html.escape(title), html.escape(said)), "text/html; charset=utf-8", headers)
