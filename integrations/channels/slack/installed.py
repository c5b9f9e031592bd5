"""Several workspaces that installed us over OAuth: their tokens lie sealed in the database and are renewed in time.

Slack's refresh tokens work once (docs.slack.dev/authentication/using-token-rotation), so the database lets one gateway
at a time exchange them; the others go on with the token they have, which stays good until its end. A token that Slack
refuses is looked at again before the next use: it was renewed elsewhere, or the installation has ended.
"""

import asyncio
import json
import logging
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, cast

from integrations.channels.slack.api import Api, Json, Refused, TokenRefused, Unclear
from integrations.errors import Misconfigured, RateLimited, Rejected, RunbellError, TemporaryError, Unavailable
from integrations.messages import utc_now
from integrations.security.sealing import Seal

if TYPE_CHECKING:
    from slack_sdk.errors import SlackApiError

    from integrations.database import Installation
    from integrations.database.installations import Installations

logger = logging.getLogger(__name__)
CHANNEL = "slack"
EARLY = timedelta(hours=2)
"""How long before its end a token is renewed, as Bolt does; never before half of its life."""
LOOK_SECONDS = 60.0
WAIT_SECONDS = 10.0
POLL_SECONDS = 0.2
HOW = "Install it again: `runbell connect slack --check` prints an address for that."


class TeamApi(Api):
    """Speaks for one workspace, and remembers that its token was refused: what it was to do may be tried again."""

    refused = ""

    def _translated(self, error: "SlackApiError") -> RunbellError:
        found = super()._translated(error)
        if not isinstance(found, TokenRefused):
            return found
        self.refused = found.code
        return Unavailable(f"Slack refuses the workspace's token ({found.code}); it is looked at again.", after=0.5)


@dataclass(frozen=True, slots=True)
class App:
    """Our app at Slack; `api` has no token."""

    api: Api
    client_id: str
    client_secret: str = field(repr=False)

    async def exchange(self, **grant: str) -> Json:
        """Exchange a code or a refresh token; raises as `Api.form` does."""
        # Not by HTTP's own way, which the SDK would take: aiohttp is about to drop what it needs for that.
        client = {"client_id": self.client_id, "client_secret": self.client_secret}
        return await self.api.form("oauth.v2.access", {**client, **grant})


@dataclass(frozen=True, slots=True)
class Tokens:
    """What an installation gave us."""

    token: str = field(repr=False)
    refresh: str = field(default="", repr=False)
    expires_at: datetime | None = None

    @classmethod
    def of(cls, answer: Json, now: datetime) -> "Tokens":
        """Read Slack's answer; raises Rejected where it holds no bot's token."""
        token, seconds = str(answer.get("access_token") or ""), answer.get("expires_in")
        if answer.get("token_type") != "bot" or not token:
            raise Rejected("Slack gave no bot's token: the app asks for no bot scopes.")
        ends_at = now + timedelta(seconds=float(seconds)) if isinstance(seconds, int | float) else None
        return cls(token, str(answer.get("refresh_token") or ""), ends_at)


@dataclass(frozen=True, slots=True)
class _Held:
    row: "Installation"
    api: TeamApi
    refresh: str = field(repr=False)

    def is_due(self, now: datetime) -> bool:
        ends_at, began_at = self.row.expires_at, self.row.changed_at
        if ends_at is None or began_at is None or not self.refresh:
            return False
        return now >= ends_at - min(EARLY, (ends_at - began_at) / 2)

    def is_over(self, now: datetime) -> bool:
        return self.api.refused == "token_expired" or (self.row.expires_at is not None and now >= self.row.expires_at)


class Installed:
    """The workspaces of one tenant."""

    def __init__(self, app: App, seal: Seal, tenant: str, now: Callable[[], datetime] = utc_now) -> None:
        self.app = app
        self._seal = seal
        self.tenant = tenant
        self.now = now
        self.detail = ""
        self._store: Installations | None = None
        self._held: dict[str, _Held] = {}
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    def attach(self, store: "Installations") -> None:
        """Take the place where they are kept."""
        self._store = store

    @property
    def store(self) -> "Installations":
        """Where they are kept."""
        if self._store is None:
            raise Unavailable("Slack's workspaces are known to a gateway only.")
        return self._store

    async def api(self, team: str) -> Api:
        """Return the way to speak there, its token good for a while.

        Raises Misconfigured where we are not installed (any more), Unavailable while that can't be told.
        """
        held = self._held.get(team)
        if held is None or held.api.refused or held.is_due(self.now()):
            async with self._locks[team]:
                held = await self._looked_at(team)
        return held.api

    async def team_id(self, team: str) -> str:
        """Return it: a team's name here is Slack's own."""
        return team

    async def bot(self, team: str) -> str | None:
        """Return our user id there; None where we are not installed."""
        held = self._held.get(team)
        if held is not None:
            return held.row.bot
        row = await asyncio.to_thread(self.store.get, self.tenant, CHANNEL, team)
        return None if row is None or row.ended else row.bot

    async def has_ended(self, team: str, why: str) -> None:
        """Look whether what Slack tells is so: it may be late, and we be installed anew. Raises TemporaryError."""
        row = await asyncio.to_thread(self.store.get, self.tenant, CHANNEL, team)
        if row is None or row.ended:
            return
        try:
            await Api(self._open(row).api.token, self.app.api.base_url).call("auth.test", {})
        except TokenRefused as error:
            await self._end(row, f"{why} ({error.code})")
        except Unclear as error:
            raise Unavailable(str(error)) from error

    def sealed(self, tokens: Tokens, team: str) -> bytes:
        """Return tokens as they are stored."""
        return self._seal.close(json.dumps([tokens.token, tokens.refresh]), self._place(team))

    async def watch(self) -> None:
        """Renew tokens before anybody needs them, and know how the workspaces are; until cancelled."""
        while True:
            try:
                await self._look()
            except TemporaryError as error:
                logger.info("Slack's workspaces could not be looked at", extra={"error": str(error)})
            await asyncio.sleep(LOOK_SECONDS)

    async def _look(self) -> None:
        rows = await asyncio.to_thread(self.store.all, self.tenant, CHANNEL)
        for row in rows:
            if not row.ended:
                try:
                    await self.api(row.workspace)
                except Misconfigured as error:
                    logger.warning("a workspace of Slack's is lost", extra={"team": row.workspace, "error": str(error)})
        self.detail = told(await asyncio.to_thread(self.store.all, self.tenant, CHANNEL))

    async def _looked_at(self, team: str) -> _Held:
        """Return the newest there is, renewed where it is time."""
        row = await asyncio.to_thread(self.store.get, self.tenant, CHANNEL, team)
        if row is None or row.ended:
            self._held.pop(team, None)
            raise Misconfigured(_missing(team, row))
        held = self._held.get(team)
        if held is None or held.row.version != row.version:
            held = self._held[team] = self._open(row)
        if held.api.refused and not (held.refresh and held.api.refused == "token_expired"):
            await self._end(row, held.api.refused)
            raise Misconfigured(_missing(team, row))
        if held.is_due(self.now()) or held.api.refused:
            held = self._held[team] = await self._renewed(held)
        return held

    async def _renewed(self, held: _Held) -> _Held:
        if not await asyncio.to_thread(self.store.take_turn, held.row):
            return held if not held.is_over(self.now()) else await self._renewed_elsewhere(held)
        try:
            answer = await self.app.exchange(grant_type="refresh_token", refresh_token=held.refresh)
            tokens = Tokens.of(answer, self.now())
        except RunbellError as error:
            return await self._not_renewed(held, error)
        return await self._stored(held, tokens)

    async def _not_renewed(self, held: _Held, error: RunbellError) -> _Held:
        """Go on with the token that there is, while it is good; raise what stands in the way after that."""
        logger.warning("a token of Slack's was not renewed", extra={"team": held.row.workspace, "error": str(error)})
        if isinstance(error, RateLimited):
            await asyncio.to_thread(self.store.give_back, held.row)
        if not held.is_over(self.now()):
            return held
        if not isinstance(error, Refused):
            raise error
        if error.code != "invalid_refresh_token":
            raise Misconfigured(f"Slack renews no token ({error.code}): look at client_id and client_secret.")
        if await self._end(held.row, "its token could not be renewed"):
            raise Misconfigured(_missing(held.row.workspace, held.row))
        return await self._renewed_elsewhere(held)

    async def _stored(self, held: _Held, tokens: Tokens) -> _Held:
        """Store new tokens. The old refresh token is gone, so this is not given up before it is done."""
        sealed = self.sealed(tokens, held.row.workspace)
        while True:
            try:
                await asyncio.to_thread(self.store.renew, held.row, sealed, tokens.expires_at)
                row = await asyncio.to_thread(self.store.get, self.tenant, CHANNEL, held.row.workspace)
            except TemporaryError as error:
                logger.warning("new tokens of Slack's wait for the database", extra={"error": str(error)})
                await asyncio.sleep(error.after)
                continue
            if row is None or row.ended:
                raise Misconfigured(_missing(held.row.workspace, row))
            return self._open(row)

    async def _renewed_elsewhere(self, held: _Held) -> _Held:
        """Wait for the gateway that exchanges the tokens."""
        team = held.row.workspace
        for _ in range(int(WAIT_SECONDS / POLL_SECONDS)):
            row = await asyncio.to_thread(self.store.get, self.tenant, CHANNEL, team)
            if row is None or row.ended:
                raise Misconfigured(_missing(team, row))
            if row.version != held.row.version:
                return self._open(row)
            await asyncio.sleep(POLL_SECONDS)
        raise Unavailable(f"Another gateway renews the token of the Slack workspace {team}.", after=5.0)

    async def _end(self, row: "Installation", why: str) -> bool:
        ended = await asyncio.to_thread(self.store.end, row, why)
        if ended:
            self._held.pop(row.workspace, None)
            self.detail = told(await asyncio.to_thread(self.store.all, self.tenant, CHANNEL))
            logger.warning("a workspace of Slack's has ended", extra={"team": row.workspace, "why": why})
        return ended

    def _open(self, row: "Installation") -> _Held:
        opened = json.loads(self._seal.open(row.sealed or b"", self._place(row.workspace)))
        token, refresh = cast("list[str]", opened)
        return _Held(row, TeamApi(token, self.app.api.base_url), refresh)

    def _place(self, team: str) -> str:
        return f"{self.tenant} {CHANNEL} {team}"


def told(rows: "list[Installation]") -> str:
    """Say in a line how the workspaces are."""
    well = [row for row in rows if not row.ended]
    count = f"{len(well)} workspace{'' if len(well) == 1 else 's'}" if well else "installed in no workspace yet"
    return "; ".join([count, *(f"{row.name} ({row.workspace}) has ended: {row.ended}" for row in rows if row.ended)])


def _missing(team: str, row: "Installation | None") -> str:
    name = f"{row.name} ({team})" if row else team or "that this conversation is of"
    why = f": {row.ended}" if row and row.ended else ""
    return f"Runbell is {'no longer' if row else 'not'} installed in the Slack workspace {name}{why}. {HOW}"
