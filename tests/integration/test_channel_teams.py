"""Teams against its simulator: signed activities, a real inbox and outbox, cards, streams, limits, faults."""

import base64
import hmac
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from integrations.channels.simulators.base import CUT, CUT_AFTERWARDS, Fault
from integrations.channels.simulators.teams import CHANNEL, DIRECT, SimulatedTeams
from integrations.channels.stream import Throttle
from integrations.channels.teams import Teams, TeamsWebhook, connect
from integrations.channels.teams.check import check
from integrations.database import Database
from integrations.errors import RateLimited, Rejected, Unavailable
from integrations.files import FileStore
from integrations.messages import Address, Card, Choice, Form, OutboundMessage, Question, Step
from integrations.security.tokens import create_token
from integrations.settings import Settings
from integrations.settings_channels import Channels
from tests.callbacks import Connection, connected


@pytest.fixture
async def teams() -> AsyncIterator[SimulatedTeams]:
    async with SimulatedTeams() as simulator:
        yield simulator


def open_channel(teams: SimulatedTeams, home: Path) -> Teams:
    create_token(home)
    found = next(iter(connect(Settings(home=home, channels=Channels(teams=teams.settings())))))
    assert isinstance(found, Teams)
    return found


@pytest.fixture
async def channel(teams: SimulatedTeams, tmp_path: Path) -> AsyncIterator[Teams]:
    found = open_channel(teams, tmp_path)
    yield found
    await found.aclose()


@pytest.fixture
async def connection(database: Database, teams: SimulatedTeams, channel: Teams) -> AsyncIterator[Connection]:
    async with connected(database, channel) as running:
        teams.callback_url = f"{running.url}/channels/teams/messages"
        yield running


def to(conversation: str, text: str, **more: object) -> OutboundMessage:
    return OutboundMessage.model_validate(
        {"address": Address(channel="teams", conversation=conversation), "text": text, **more}
    )


async def test_a_mention_in_a_channel_is_answered_in_its_thread(connection: Connection, teams: SimulatedTeams) -> None:
    thread = f"{CHANNEL};messageid=17"
    await teams.say("/status 状态 &nbsp;", conversation=thread)
    await teams.until(lambda: teams.posted)

    (message,) = connection.received
    assert (message.text, message.account, message.direct, message.mentioned) == (
        "/status 状态",
        "aad-ann",
        False,
        True,
    )
    assert (teams.posted[0]["conversation"], teams.posted[0]["text"]) == (thread, "echo: /status 状态")


async def test_edits_and_deletions_name_what_they_are_about(connection: Connection, teams: SimulatedTeams) -> None:
    said = await teams.say("first")
    await teams.push({**said, "type": "messageUpdate", "timestamp": "2026-11-21T11:00:00Z", "text": "second"})
    await teams.push({**said, "type": "messageDelete", "timestamp": "2026-11-21T12:00:00Z", "text": ""})

    assert [(m.kind, m.text, m.subject) for m in connection.received[1:]] == [
        ("edit", "second", said["id"]),
        ("delete", "", said["id"]),
    ]


async def test_bots_and_unknown_events_are_acknowledged_and_ignored(
    connection: Connection, teams: SimulatedTeams
) -> None:
    bot = teams.activity("message") | {"from": {"id": "28:other", "role": "bot"}, "text": "hello"}
    odd: list[dict[str, Any]] = [bot, teams.activity("conversationUpdate"), teams.activity("somethingNew")]
    odd.append(teams.activity("invoke") | {"name": "composeExtension/query"})

    answers = [await teams.push(activity) for activity in odd]

    assert [answer["status"] for answer in answers] == [200] * 4
    assert connection.received == []


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": "another"},
        {"iss": "https://sts.windows.net/x/"},
        {"serviceurl": "https://evil.example/"},
        {"exp": int(time.time()) - 400},  # computed when the tests are collected, long before
        {"nbf": int(time.time()) + 36_000},
    ],
)
async def test_a_token_for_something_else_is_refused(
    connection: Connection, teams: SimulatedTeams, claims: dict[str, Any]
) -> None:
    answer = await teams.push(teams.activity("message") | {"text": "x"}, teams.bearer(**claims))

    assert (answer["status"], connection.received) == (401, [])


async def test_a_key_without_endorsement_is_refused(connection: Connection, teams: SimulatedTeams) -> None:
    teams.endorsements = ["webchat"]

    assert (await teams.push(teams.activity("message") | {"text": "x"}))["status"] == 401


async def test_answers_go_to_listed_hosts_only(connection: Connection, teams: SimulatedTeams) -> None:
    elsewhere = "http://localhost:1/"
    activity = teams.activity("message") | {"text": "x", "serviceUrl": elsewhere}

    assert (await teams.push(activity, teams.bearer(serviceurl=elsewhere)))["status"] == 400
    assert connection.received == []


async def test_unknown_keys_do_not_make_us_ask_again_and_again(connection: Connection, teams: SimulatedTeams) -> None:
    await teams.say("known")
    teams.turn_key()

    for _ in range(5):
        assert (await teams.push(teams.activity("message") | {"text": "x"}))["status"] == 401

    assert len(teams.called("keys")) == 1


async def test_a_button_is_for_whom_it_asked_and_counts_once(
    connection: Connection, teams: SimulatedTeams, channel: Teams
) -> None:
    await teams.say("hello")
    await teams.until(lambda: teams.posted)
    await channel.send(to(DIRECT, "Deploy?", choices=(Choice(label="Yes", text="/approve 7"),), asked="aad-ann"))

    stranger = await teams.press(teams.posted[1], "Yes", by="eve")
    told = [(await teams.press(teams.posted[1], "Yes"))["value"] for _ in range(2)]

    assert "somebody else" in stranger["value"]
    assert told == ["✓", "✓"]
    presses = [m for m in connection.received if m.kind == "action"]
    assert {(m.text, m.account, m.event_id) for m in presses} == {("/approve 7", "aad-ann", presses[0].event_id)}


async def test_a_form_gives_the_arguments_that_were_missing(
    connection: Connection, teams: SimulatedTeams, channel: Teams
) -> None:
    questions = (Question(name="city", label="City"), Question(name="when", label="When", kind="date", required=False))
    await teams.say("hello")
    await teams.until(lambda: teams.posted)
    form = Form(title="Weather", command="weather", questions=questions, args={"unit": "C"})
    await channel.send(to(DIRECT, "", form=form))

    await teams.press(teams.posted[1], "Send", values={"city": "上海", "when": ""})

    received = connection.received[-1]
    assert (received.kind, received.command, received.args) == ("form", "weather", {"unit": "C", "city": "上海"})


async def test_a_card_is_changed_in_its_place(connection: Connection, teams: SimulatedTeams, channel: Teams) -> None:
    await teams.say("hello")
    await teams.until(lambda: teams.posted)
    card = Card(title="daily", state="running", steps=(Step(name="load", state="running"),))
    sent = await channel.send(to(DIRECT, "", card=card))

    await channel.edit(sent.platform_id or "", to(DIRECT, "", card=card.model_copy(update={"state": "succeeded"})))

    assert teams.posted[1]["attachments"][0]["content"]["body"][0]["text"] == "✅ daily"


async def test_an_answer_is_typed_and_ends_as_a_message(
    connection: Connection, teams: SimulatedTeams, channel: Teams
) -> None:
    await teams.say("hello")
    await teams.until(lambda: teams.posted)
    throttle = Throttle(await channel.open_stream(to(DIRECT, "")), 0.01)

    throttle.put("one")
    await teams.until(lambda: len(teams.called("post")) == 2)
    throttle.put("one two")
    await teams.until(lambda: len(teams.called("post")) == 3)
    await throttle.finish(to(DIRECT, "one two three"))

    infos = [call["entities"][0] for call in teams.called("post")[1:]]
    assert [info.get("streamSequence") for info in infos] == [1, 2, None]
    assert infos[-1] == {"type": "streaminfo", "streamType": "final", "streamId": infos[1]["streamId"]}
    assert teams.posted[-1]["text"] == "one two three"


async def test_a_long_answer_comes_in_parts(connection: Connection, teams: SimulatedTeams) -> None:
    text = "字" * 20_000
    await teams.say(text)
    await teams.until(lambda: len(teams.posted) == 2)

    assert "".join(sent["text"] for sent in teams.posted) == f"echo: {text}"


async def test_what_may_have_arrived_is_not_sent_twice(teams: SimulatedTeams, channel: Teams) -> None:
    await channel._services.put(DIRECT, teams.url)
    teams.fail("post", CUT_AFTERWARDS, Fault(status=502), CUT)

    states = [(await channel.send(to(DIRECT, "x"))).state for _ in range(4)]

    assert states == ["unknown", "unknown", "unknown", "sent"]


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (Fault(status=429, headers={"Retry-After": "7"}), RateLimited),
        (Fault(status=412), Unavailable),
        (Fault(status=403, body={"error": {"code": "BotDisabledByAdmin", "message": "no"}}), Rejected),
    ],
)
async def test_errors_say_what_to_do(
    teams: SimulatedTeams, channel: Teams, fault: Fault, expected: type[Exception]
) -> None:
    await channel._services.put(DIRECT, teams.url)
    teams.fail("post", fault)

    with pytest.raises(expected):
        await channel.send(to(DIRECT, "x"))


async def test_a_revoked_token_is_renewed_and_a_restart_knows_where_to_post(
    connection: Connection, teams: SimulatedTeams, channel: Teams, tmp_path: Path
) -> None:
    await teams.say("hello", conversation=f"{CHANNEL};messageid=1")
    await teams.until(lambda: teams.posted)
    teams.revoke()
    await channel.send(to(CHANNEL, "again"))
    restarted = open_channel(teams, tmp_path)
    await restarted.send(to(CHANNEL, "by another"))
    await restarted.aclose()

    assert [sent["text"] for sent in teams.posted[1:]] == ["again", "by another"]


async def test_files_are_stored_from_listed_hosts_only(
    connection: Connection, teams: SimulatedTeams, tmp_path: Path
) -> None:
    teams.files["plan.txt"] = b"the plan"
    kind = "application/vnd.microsoft.teams.file.download.info"
    good = {"contentType": kind, "name": "plan.txt", "content": {"downloadUrl": f"{teams.url}/files/plan.txt"}}
    bad = {"contentType": kind, "name": "x", "content": {"downloadUrl": "http://169.254.169.254/latest"}}

    await teams.say("see", attachments=[good, bad])

    (message,) = connection.received
    assert FileStore(tmp_path / "files").path(message.attachments[0].id).read_bytes() == b"the plan"
    assert len(message.attachments) == 1
    assert "file_hosts" in message.text


async def test_an_outgoing_webhook_is_answered_within_its_call(database: Database, tmp_path: Path) -> None:
    teams = SimulatedTeams()
    create_token(tmp_path)
    section = teams.settings(app_id=None, app_secret=None, security_token=teams.security_token)
    (channel,) = connect(Settings(home=tmp_path, channels=Channels(teams=section)))
    assert isinstance(channel, TeamsWebhook)
    body = json.dumps(teams.activity("message", conversation=CHANNEL) | {"text": "<at>Bell</at> 你好"}).encode()
    mac = hmac.digest(base64.b64decode(teams.security_token), body, "sha256")

    async with connected(database, channel) as running, httpx.AsyncClient(trust_env=False, timeout=15) as http:
        url = f"{running.url}/channels/teams-webhook/messages"
        good = await http.post(url, content=body, headers={"Authorization": f"HMAC {base64.b64encode(mac).decode()}"})
        bad = await http.post(
            url, content=body + b" ", headers={"Authorization": f"HMAC {base64.b64encode(mac).decode()}"}
        )

    assert good.json() == {"type": "message", "text": "echo: 你好"}
    assert bad.status_code == 401


async def test_an_answer_that_comes_too_late_is_not_called_sent(tmp_path: Path) -> None:
    teams = SimulatedTeams()
    section = teams.settings(app_id=None, app_secret=None, security_token=teams.security_token)
    (channel,) = connect(Settings(home=tmp_path, channels=Channels(teams=section)))

    with pytest.raises(Rejected):
        await channel.send(to(CHANNEL, "late", message_id="m1"))


async def test_what_is_not_set_up_is_told(teams: SimulatedTeams) -> None:
    fine = await check(teams.settings(), public_url="https://bell.example")
    wrong = await check(teams.settings(app_secret="wrong"), public_url="http://bell.example")

    assert fine == []
    assert ["public_url" in wrong[0], "invalid_client" in wrong[1]] == [True, True]
