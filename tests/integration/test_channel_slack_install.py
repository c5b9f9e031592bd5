"""Several workspaces install us over OAuth into the simulated Slack, and their tokens rotate; the database is real."""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest
import sqlalchemy as sa

from integrations.channels import Answer, Call, discover
from integrations.channels.simulators.base import CUT, Fault
from integrations.channels.simulators.slack import SimulatedSlack
from integrations.channels.slack import Slack
from integrations.channels.slack.check import check, hints
from integrations.channels.slack.install import INVITATION, Invitations
from integrations.database import Database
from integrations.errors import Forbidden, InvalidInput, Misconfigured, TemporaryError, Unauthorized, Unavailable
from integrations.messages import Address, Choice, InboundMessage, OutboundMessage, utc_now
from integrations.security.tokens import create_token
from integrations.settings import Gateway, Settings
from integrations.settings_channels import Channels
from tests.gateways import running_gateway
from tests.rig import Rig, Script, echo, rigged

HERE = "https://bell.example"


@pytest.fixture
async def slack() -> AsyncIterator[SimulatedSlack]:
    async with SimulatedSlack() as slack:
        yield slack


class Place:
    """One gateway's channel, and a browser."""

    def __init__(self, slack: SimulatedSlack, database: Database, home: Path) -> None:
        create_token(home)
        section = slack.several()
        gateway = Gateway(public_url=HERE)
        self.settings = Settings(home=home, gateway=gateway, channels=Channels(slack=section))
        channel = discover(self.settings)["slack"]
        assert isinstance(channel, Slack)
        channel.attach(database)
        self.slack = slack
        self.channel = channel

    def invitation(self, **before: float) -> str:
        return Invitations.of(self.settings).new(utc_now() - timedelta(**before))

    async def call(self, path: str, query: dict[str, str], cookie: str = "") -> Answer:
        async def receive(_: InboundMessage) -> Any:
            raise AssertionError("nobody said anything")

        return await self.channel.accept(Call({}, query, {"cookie": cookie}, b"", "GET", path), receive)

    async def to_slack(self, invitation: str) -> tuple[str, dict[str, str]]:
        """Open an invitation, and let the administrator answer at Slack; returns the cookie and what comes back."""
        begun = await self.call("/install", {"invite": invitation})
        async with httpx.AsyncClient(trust_env=False) as browser:
            sent = await browser.get(begun.headers["location"])
        cookie = begun.headers["set-cookie"].partition(";")[0]
        return cookie, dict(parse_qsl(urlsplit(sent.headers["location"]).query))

    async def install(self, team: str) -> Answer:
        self.slack.grants.consenting = team
        cookie, query = await self.to_slack(self.invitation())
        return await self.call("/oauth", query, cookie)


@asynccontextmanager
async def connected(place: Place, database: Database, script: Script = echo) -> AsyncGenerator[Rig]:
    async with rigged(database, place.channel, script) as (rig, _):
        await place.slack.until(lambda: place.slack.sockets)
        yield rig


def said(slack: SimulatedSlack, channel: str) -> list[str]:
    return [one.get("markdown_text") or one["text"] for one in slack.posted(channel)]


def to(conversation: str, text: str) -> OutboundMessage:
    return OutboundMessage(address=Address(channel="slack", conversation=conversation), text=text)


async def test_two_workspaces_are_answered_each_by_its_own_token_and_never_their_own_bots(
    slack: SimulatedSlack, database: Database, tmp_path: Path
) -> None:
    def script(message: InboundMessage) -> list[OutboundMessage]:
        choices = (Choice(label="Yes", text="/yes"),) if "ask" in message.text else ()
        answer = OutboundMessage(address=message.address, text=f"you said: {message.text}", asked=message.account)
        return [answer.model_copy(update={"choices": choices})]

    place = Place(slack, database, tmp_path)
    pages = [await place.install("T1"), await place.install("T2")]
    async with connected(place, database, script) as rig:
        await slack.say("C1", "<@UBOT> first")
        await slack.say("C9", "<@UBOT2> ask second")
        await slack.say("C9", "<@UBOT2> says the bot", user="UBOT2")
        await slack.say("D9", "privately")
        await slack.command("/runbell", "help", channel="D9")
        await slack.until(lambda: len(slack.posted()) == 4)
        await slack.press(slack.posted("C9")[0]["ts"], "Yes", user="U2")
        await slack.until(lambda: slack.called("chat.postEphemeral"))
        await slack.press(slack.posted("C9")[0]["ts"], "Yes")
        await slack.until(lambda: len(slack.posted()) == 5)
        detail = place.channel.link.detail

    assert [page.status for page in pages] == [200, 200]
    assert "second" in str(pages[1].content)
    assert said(slack, "C1") == ["you said: first"]
    assert said(slack, "C9") == ["you said: ask second", "you said: /yes"]
    assert set(said(slack, "D9")) == {"you said: privately", "you said: /help"}
    assert {message.account for message in rig.fresh} == {"T1:U1", "T2:U1"}
    assert {message.address.conversation.partition(":")[0] for message in rig.fresh} == {"T1", "T2"}
    assert "2 workspaces" in detail
    own = {token for method, token in slack.grants.used if method.startswith("chat.")}
    assert own == {slack.grants.tokens("T1")[-1], slack.grants.tokens("T2")[-1]}


async def test_tokens_rotate_in_the_middle_of_a_conversation_and_nothing_is_lost(
    slack: SimulatedSlack, database: Database, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    slack.grants.expires_in = 2.0
    place = Place(slack, database, tmp_path)
    await place.install("T1")
    async with connected(place, database) as rig:
        for number in range(6):
            await slack.say("D1", f"message {number}")
            await slack.until(lambda number=number: len(slack.posted()) == number + 1)
            await asyncio.sleep(0.7)  # Two lives of a token, in all.
        slack.grants.expire("T1")  # Earlier than was told: by Slack's clock, or since it was exchanged elsewhere.
        await slack.say("D1", "message 6")
        await slack.until(lambda: len(slack.posted()) == 7)
        undelivered = rig.outbox("failed", "dead", "unknown")

    assert said(slack, "D1") == [f"you said: message {number}" for number in range(7)]
    assert undelivered == []
    assert len(slack.grants.refreshed) >= 2
    assert slack.grants.burnt == []
    assert not any(token in caplog.text for token in ("xoxb-", "xoxe-"))


async def test_many_gateways_exchange_a_refresh_token_once(
    slack: SimulatedSlack, database: Database, tmp_path: Path
) -> None:
    slack.grants.expires_in = 3600.0
    places = [Place(slack, database, tmp_path) for _ in range(4)]
    await places[0].install("T1")
    for place in places:
        await place.channel.send(to("T1:D1", "before"))
    slack.grants.expire("T1")

    async def send(place: Place, number: int) -> None:
        for _ in range(50):
            try:
                await place.channel.send(to("T1:D1", f"after {number}"))
            except TemporaryError as error:
                await asyncio.sleep(min(error.after, 0.1))
            else:
                return

    await asyncio.gather(*(send(place, number) for number, place in enumerate(places)))

    assert sorted(said(slack, "D1")) == [*(f"after {number}" for number in range(4)), *["before"] * 4]
    assert slack.grants.refreshed == ["T1"]
    assert slack.grants.burnt == []


async def test_a_token_that_can_not_be_renewed_serves_to_its_end_and_then_asks_for_a_new_installation(
    slack: SimulatedSlack, database: Database, tmp_path: Path
) -> None:
    slack.grants.expires_in = 3600.0
    place = Place(slack, database, tmp_path)
    await place.install("T1")
    slack.fail("oauth.v2.access", CUT, Fault(200, {"ok": False, "error": "bad_client_secret"}))
    _change(database, "changed_at = now() - interval '8 hours'")  # So it is due.
    await place.channel.send(to("T1:D1", "with the old one"))
    slack.grants.expire("T1")
    with pytest.raises(Unavailable, match="token_expired"):
        await place.channel.send(to("T1:D1", "with none"))
    _change(database, "refreshing_until = now() - interval '1 second'")
    with pytest.raises(Misconfigured, match="client_secret"):
        await place.channel.send(to("T1:D1", "with none"))
    _change(database, "refreshing_until = now() - interval '1 second'")
    await place.channel.send(to("T1:D1", "with a new one"))

    assert said(slack, "D1") == ["with the old one", "with a new one"]
    assert [row.ended for row in database.installations.all("default", "slack")] == [""]


async def test_nothing_but_a_living_state_of_this_browser_installs(
    slack: SimulatedSlack, database: Database, tmp_path: Path
) -> None:
    place = Place(slack, database, tmp_path)
    for odd in ("", "é", "=", "A" * 48, "A" * 10_000, "\x00", place.invitation()[:-4], place.invitation() + "AAAA"):
        with pytest.raises(Unauthorized):
            await place.call("/install", {"invite": odd})
        with pytest.raises(Unauthorized):
            await place.call("/oauth", {"state": odd, "code": odd}, f"__Host-runbell-slack={odd}")
    with pytest.raises(Forbidden, match="ended"):
        await place.call("/install", {"invite": place.invitation(days=INVITATION.days, minutes=1)})

    cookie, query = await place.to_slack(place.invitation())
    forged = "x" * 43
    for given, brought in (
        (query | {"state": forged}, f"{cookie.partition('=')[0]}={forged}"),
        (query, ""),
        (query, f"{cookie}x"),
        (query | {"state": ""}, cookie),
    ):
        with pytest.raises(Unauthorized):
            await place.call("/oauth", given, brought)
    old_cookie, old = await place.to_slack(place.invitation())
    with database.engine.begin() as connection:
        connection.execute(
            sa.text("update runbell.invitations set state_until = now() where state = sha256(cast(:s as bytea))"),
            {"s": old["state"].encode()},
        )
    with pytest.raises(Unauthorized, match="ended"):
        await place.call("/oauth", old, old_cookie)
    assert slack.called("oauth.v2.access") == []
    assert database.installations.all("default", "slack") == []

    assert (await place.call("/oauth", query, cookie)).status == 200
    with pytest.raises(Unauthorized, match="gone already"):
        await place.call("/oauth", query, cookie)
    assert len(slack.called("oauth.v2.access")) == 1


async def test_an_invitation_installs_once_and_who_declines_may_come_again(
    slack: SimulatedSlack, database: Database, tmp_path: Path
) -> None:
    place = Place(slack, database, tmp_path)
    invitation = place.invitation()
    slack.grants.consenting = ""
    cookie, declined = await place.to_slack(invitation)
    page = await place.call("/oauth", declined, cookie)
    slack.grants.consenting = "T2"
    cookie, query = await place.to_slack(invitation)
    installed = await place.call("/oauth", query, cookie)

    assert (page.status, "access_denied" in str(page.content)) == (403, True)
    assert installed.status == 200
    with pytest.raises(Forbidden, match="used already"):
        await place.call("/install", {"invite": invitation})
    assert [row.workspace for row in database.installations.all("default", "slack")] == ["T2"]


async def test_a_whole_organisation_is_not_installed_and_its_token_revoked(
    slack: SimulatedSlack, database: Database, tmp_path: Path
) -> None:
    slack.grants.workspaces["T2"].enterprise = True
    place = Place(slack, database, tmp_path)
    with pytest.raises(InvalidInput, match="one workspace"):
        await place.install("T2")

    assert len(slack.called("auth.revoke")) == 1
    assert database.installations.all("default", "slack") == []


async def test_a_workspace_that_removed_us_is_refused_and_says_why(
    slack: SimulatedSlack, database: Database, tmp_path: Path
) -> None:
    place = Place(slack, database, tmp_path)
    await place.install("T1")
    await place.install("T2")
    async with connected(place, database) as rig:
        await slack.uninstall("T2")
        await slack.until(lambda: "T2" in place.channel.link.detail)
        await rig.post(to("T2:C9", "too late"), to("T1:C1", "still here"))
        await slack.until(lambda: rig.outbox("failed") and rig.outbox("sent"))
        await slack.command("/runbell", "help", channel="D9")
        await slack.until(lambda: any(slack.acknowledged.values()))
        failed = database.outbox.find(["failed"])
        told = place.channel.link.detail
        await place.install("T2")
        await slack.event({"type": "app_uninstalled"}, team="T2")  # It comes late: they are back.
        await slack.say("D9", "back again")
        await slack.until(lambda: slack.posted("D9"))

    assert "no longer installed in the Slack workspace second (T2)" in str(failed[0].error)
    assert "runbell connect slack" in str(failed[0].error)
    assert "1 workspace; second (T2) has ended" in told
    assert [answer["text"] for answer in slack.acknowledged.values() if answer] == [
        "Runbell is not installed in this workspace any more: ask its operator for an invitation."
    ]
    assert [message.text for message in rig.fresh] == ["back again"]


async def test_tokens_lie_sealed_and_open_with_their_own_key_and_place_only(
    slack: SimulatedSlack, database: Database, tmp_path: Path
) -> None:
    place = Place(slack, database, tmp_path / "one")
    await place.install("T1")
    with database.engine.connect() as connection:
        stored = str(connection.execute(sa.text("select * from runbell.installations")).all()).encode()
    other = Place(slack, database, tmp_path / "two")

    assert slack.grants.tokens("T1")[-1].encode() not in stored
    assert (tmp_path / "one" / "sealing_key").stat().st_mode & 0o077 == 0
    with pytest.raises(Misconfigured, match="another key"):
        await other.channel.send(to("T1:D1", "hello"))
    assert [row.ended for row in database.installations.all("default", "slack")] == [""]


async def test_the_check_explains_what_several_workspaces_need(
    slack: SimulatedSlack, database: Database, tmp_path: Path
) -> None:
    section = slack.several()
    place = Place(slack, database, tmp_path)

    assert await check(section, HERE) == []
    assert "gateway.public_url" in (await check(section, "http://bell.example"))[0]
    assert "client_id" in (await check(section.model_copy(update={"client_id": "1.2"}), HERE))[0]
    assert "client_secret" in (await check(section.model_copy(update={"client_secret": "no"}), HERE))[0]
    assert [hint.partition(": ")[2].partition("?")[0] for hint in hints(place.settings)] == [
        f"{HERE}/channels/slack/oauth",
        f"{HERE}/channels/slack/install",
    ]


async def test_a_browser_goes_to_slack_and_back_through_the_real_gateway(
    slack: SimulatedSlack, database: Database, database_url: str, tmp_path: Path
) -> None:
    place = Place(slack, database, tmp_path)
    section = {f"RUNBELL_CHANNELS__SLACK__{k.upper()}": str(v) for k, v in slack.several("http") if v is not None}
    section["RUNBELL_GATEWAY__PUBLIC_URL"] = HERE

    def browse(base: str) -> tuple[httpx.Response, ...]:
        with httpx.Client(base_url=base, trust_env=False) as browser:
            strange = browser.get("/channels/slack/install", params={"invite": "no"})
            begun = browser.get("/channels/slack/install", params={"invite": place.invitation()})
            came = browser.get(begun.headers["location"]).headers["location"]
            cookie = {"cookie": begun.headers["set-cookie"].partition(";")[0]}
            path = came.removeprefix(HERE)
            return strange, begun, browser.get(path), browser.get(path, headers=cookie)

    def visit() -> tuple[tuple[httpx.Response, ...], str]:
        with running_gateway(database_url, tmp_path, **section) as gateway:
            return browse(gateway.url), gateway.log.read_text()

    (strange, begun, without, done), log = await asyncio.to_thread(visit)

    assert (strange.status_code, begun.status_code, without.status_code, done.status_code) == (401, 302, 401, 200)
    assert "SameSite=Lax" in begun.headers["set-cookie"]
    assert "Secure; HttpOnly" in begun.headers["set-cookie"]
    assert "simulated" in done.text
    assert "xoxb-" not in log


def _change(database: Database, what: str) -> None:
    with database.engine.begin() as connection:
        connection.execute(sa.text(f"update runbell.installations set {what}"))
