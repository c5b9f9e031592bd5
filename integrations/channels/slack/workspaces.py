"""Whose token speaks where: one workspace by a token of the settings; several are in `installed`.

Where there are several, a conversation is `TEAM:CHANNEL/TS` and an account `TEAM:USER`, since Slack's ids are unique
within a workspace only. Where there is one, they are without the team.
"""

from dataclasses import dataclass
from typing import Protocol

from integrations.channels.members import Json, table, tables, text
from integrations.channels.slack.api import Api, Unclear
from integrations.errors import Unavailable


class Workspaces(Protocol):
    """The workspaces that we are installed in."""

    async def api(self, team: str) -> Api:
        """Return the way to speak there; raises Misconfigured where we are not installed (any more)."""
        ...

    async def team_id(self, team: str) -> str:
        """Return Slack's own id of a workspace."""
        ...


class One:
    """One workspace, whose team is blank."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._team = ""

    async def api(self, team: str) -> Api:  # noqa: ARG002 - there is one
        """Return the only one."""
        return self._api

    async def team_id(self, team: str) -> str:  # noqa: ARG002
        """Ask Slack once."""
        if not self._team:
            try:
                self._team = str((await self._api.call("auth.test", {}))["team_id"])
            except Unclear as error:
                raise Unavailable(str(error)) from error
        return self._team


@dataclass(frozen=True, slots=True)
class Place:
    """Where a conversation is."""

    team: str
    channel: str
    thread: str

    @property
    def arguments(self) -> dict[str, object]:
        """What Slack's methods call it."""
        return {"channel": self.channel, "thread_ts": self.thread} if self.thread else {"channel": self.channel}


def place(conversation: str) -> Place:
    """Take the name of a conversation apart."""
    head, _, thread = conversation.partition("/")
    team, _, channel = head.rpartition(":")
    return Place(team, channel, thread)


def user(account: str) -> str:
    """Return Slack's own id of an account."""
    return account.rpartition(":")[2]


def team_of(payload: Json) -> str:
    """Return whose installation a payload is for (as slack_bolt/request/internals.py: extract_team_id)."""
    view, authorizations = table(payload, "view"), tables(payload, "authorizations")
    return (
        text(view, "app_installed_team_id")
        or text(table(payload, "team"), "id")
        or (text(authorizations[0], "team_id") if authorizations else "")
        or text(payload, "team_id")
        or text(table(payload, "user"), "team_id")
        or text(view, "team_id")
    )
